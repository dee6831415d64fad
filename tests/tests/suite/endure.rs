//! `chat-load endure` against whole clusters: what happens to nodes must not happen to messages.

use chat_load::args::{Cli, Command};
use chat_load::endure::Endurance;
use chat_load::endure::plan::Plan;
use chat_load::endure::report::Verdict;
use chat_tests::{PATIENCE, TestCluster};
use clap::Parser;
use std::time::Duration;

async fn cluster() -> TestCluster {
    // As in production: a slow machine must not make sessions too late for their seats.
    TestCluster::start_with(3, |config| config.limits.seat_grace = Duration::from_secs(10)).await
}

fn plan(cluster: &TestCluster, line: &str) -> Plan {
    let targets: Vec<String> = (1..=3).map(|n| cluster.node(n).url()).collect();
    let line = format!("chat-load endure --target {} --pace 5 {line}", targets.join(","));
    let Command::Endure(args) = Cli::parse_from(line.split_whitespace()).command else {
        panic!("not endure")
    };
    Plan::new(&args).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_crashes_under_sessions_of_both_dialects_costs_no_message() {
    let mut cluster = cluster().await;
    let mut run = Endurance::start(plan(&cluster, "--min-acknowledged 50")).await.unwrap();
    run.crowd().everybody_sends(PATIENCE).await.unwrap();
    // The comparison under load forgets; nothing may be missing at the end.
    run.hold(cluster.crash(2), |_| {}).await;
    cluster.restart(2).await;
    run.crowd().everybody_sends(PATIENCE).await.unwrap();
    let report = run.finish().await;
    assert_eq!(report.verdict, Verdict::Kept, "{}", report.to_text());
    assert!(
        report.resumes_max >= 1,
        "whoever was at node 2 came back: {}",
        report.to_text()
    );
    assert!(report.acknowledged >= 4 * 18, "{}", report.to_text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_whose_node_stays_away_is_undecided_and_the_others_are_compared() {
    let mut cluster = cluster().await;
    let run = Endurance::start(plan(&cluster, "--patience 1")).await.unwrap();
    run.crowd().everybody_sends(PATIENCE).await.unwrap();
    cluster.crash(3).await;
    let report = run.finish().await;
    assert_eq!(report.verdict, Verdict::Undecided, "{}", report.to_text());
    assert_eq!(report.undecided.len(), 1, "{}", report.to_text());
    assert!(
        report.undecided[0].starts_with("room 2: the log of"),
        "{}",
        report.to_text()
    );
}
