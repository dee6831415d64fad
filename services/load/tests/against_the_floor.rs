//! Whole runs against the yardstick over real sockets: a good one passes, a bad one is found out.

use chat_load::args::{Cli, Command, IdleArgs};
use chat_load::floor::{Fault, serve};
use chat_load::report::Report;
use chat_load::scenario::Scenario;
use chat_load::violations::Kind;
use chat_load::{CannotRun, idle, run};
use clap::Parser;
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// A floor on a port of its own, on a thread of its own; dropping it ends it.
struct Floor {
    url: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Floor {
    fn start(fault: Fault) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket without blocking");
        let url = format!("ws://{}", listener.local_addr().expect("a bound socket"));
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                serve(listener, fault, async { stopped.await.unwrap_or(()) }).await;
            });
        });
        Self {
            url,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    fn run(&self, line: &str) -> Result<Report, CannotRun> {
        let words = format!("chat-load run --target {} --warmup 0.1 --seconds 0.4 {line}", self.url);
        match Cli::parse_from(words.split_whitespace()).command {
            Command::Run(args) => run(&Scenario::new(&args).map_err(CannotRun)?),
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there shows up in the test's own assertions.
            let _ended = thread.join();
        }
    }
}

#[test]
fn a_good_server_keeps_all_promises_at_a_rate() {
    let floor = Floor::start(Fault::None);
    let report = floor
        .run("--rooms 3 --members 5 --senders 2 --rate 600 --threads 2")
        .unwrap();
    assert!(report.promises_kept(), "{}", report.to_text());
    assert!((299..=301).contains(&report.sent), "{}", report.sent);
    assert_eq!((report.acked, report.delivered), (report.sent, 5 * report.sent));
    assert_eq!(report.ack_latency_ms.count, report.send_lag_ms.count);
    assert!(report.refused.is_empty());
}

#[test]
fn a_good_server_keeps_all_promises_without_a_rate() {
    let floor = Floor::start(Fault::None);
    let pid = std::process::id();
    let report = floor
        .run(&format!(
            "--closed --rooms 2 --members 3 --senders 3 --server-pid {pid}"
        ))
        .unwrap();
    assert!(report.promises_kept(), "{}", report.to_text());
    assert!(report.acked > 6 && report.acked == report.sent && report.delivered == 3 * report.sent);
    assert!(report.server.is_some_and(|server| server.rss_bytes > 0));
}

#[test]
fn a_server_that_loses_deliveries_is_found_out() {
    let floor = Floor::start(Fault::LoseEvery(100));
    let report = floor.run("--members 5 --rate 400 --drain 0.2").unwrap();
    assert!(
        report.violations.counts.contains_key(&Kind::Hole),
        "{}",
        report.to_text()
    );
}

#[test]
fn a_server_that_loses_only_the_last_delivery_is_found_out() {
    // 20 messages to 5 members are 100 deliveries.
    let floor = Floor::start(Fault::LoseEvery(100));
    let report = floor.run("--members 5 --rate 40 --drain 0.2").unwrap();
    assert_eq!(
        (report.sent, report.violations.counts.get(&Kind::Missing)),
        (20, Some(&1)),
        "{}",
        report.to_text()
    );
}

#[test]
fn a_server_that_doubles_deliveries_is_found_out() {
    let floor = Floor::start(Fault::DoubleEvery(50));
    let report = floor.run("--members 5 --rate 400").unwrap();
    assert!(
        report.violations.counts.contains_key(&Kind::Repeated),
        "{}",
        report.to_text()
    );
    assert_eq!(report.violations.counts.len(), 1, "{}", report.to_text());
}

#[test]
fn a_server_that_confirms_a_wrong_number_is_found_out() {
    let floor = Floor::start(Fault::MisnumberEvery(50));
    let report = floor.run("--members 2 --rate 400 --drain 0.2").unwrap();
    assert!(
        report.violations.counts.contains_key(&Kind::WrongAck),
        "{}",
        report.to_text()
    );
}

#[test]
fn a_run_without_a_server_says_so() {
    let floor = Floor::start(Fault::None);
    assert!(
        floor
            .run("--target ws://127.0.0.1:1 --create-on 1")
            .unwrap_err()
            .0
            .contains("cannot connect")
    );
    assert!(
        floor
            .run("--server-pid 4294967295")
            .unwrap_err()
            .0
            .contains("/proc/4294967295")
    );
}

#[test]
fn idle_connections_are_counted_and_divided() {
    let floor = Floor::start(Fault::None);
    let args = IdleArgs {
        target: floor.url.clone(),
        connections: 50,
        server_pids: vec![std::process::id()],
        json: true,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let report = runtime.block_on(idle::measure(&args)).unwrap();
    assert_eq!(report.connections, 50);
    assert_eq!(
        report.rss_per_connection_bytes,
        (report.rss_after_bytes - report.rss_before_bytes) / 50
    );
    assert!(report.to_json().contains("\"connections\":50"));
}
