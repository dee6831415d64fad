//! A node's messages to itself and its peers: they go the way of all messages, nobody sees their rooms, and what is wrong shows.

use chat_client::request;
use chat_tests::extended::Extended;
use chat_tests::{TestCluster, TestNode};
use serde_json::json;
use std::time::Duration;

async fn cluster(count: usize) -> TestCluster {
    TestCluster::start_with(count, |config| {
        config.limits.canary_interval = Duration::from_millis(50)
    })
    .await
}

async fn wait_for_line(node: &TestNode, start: &str, wanted: impl Fn(u64) -> bool) {
    let deadline = tokio::time::Instant::now() + chat_tests::PATIENCE;
    loop {
        let metrics = node.metrics().await;
        let value = metrics
            .lines()
            .find_map(|line| line.strip_prefix(start)?.trim().parse().ok());
        if value.is_some_and(&wanted) {
            return;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "{start} {value:?} in\n{metrics}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn count(node: &TestNode, start: &str) -> u64 {
    let metrics = node.metrics().await;
    let value = metrics.lines().find_map(|line| line.strip_prefix(start));
    value.unwrap().trim().parse().unwrap()
}

fn came_back(to: usize) -> String {
    format!("chat_canary_messages_total{{result=\"ok\",to=\"node{to}\"}}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_node_hears_its_own_messages_from_all_nodes_and_nobody_sees_their_rooms() {
    let cluster = cluster(3).await;
    for from in 1..=3 {
        for to in 1..=3 {
            wait_for_line(cluster.node(from), &came_back(to), |count| count >= 3).await;
        }
    }
    let mut ines = cluster.node(1).client().await;
    let room = ines.create("hall").await;
    let own = ines.ask(&request::list_rooms()).await;
    assert_eq!(
        (&own["data"]["total_count"], &own["data"]["rooms"][0]["room_id"]),
        (&json!(1), &json!(room))
    );
    let all = ines.ask(&request::discover_rooms()).await;
    let ids: Vec<_> = all["data"]["rooms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|room| &room["room_id"])
        .collect();
    assert_eq!(
        (&all["data"]["total_count"], ids),
        (&json!(1), vec![&json!(room)]),
        "{all}"
    );
    for (from, to) in [(1, 1), (1, 2), (3, 1)] {
        let missed = format!("chat_canary_missed_total{{to=\"node{to}\"}}");
        wait_for_line(cluster.node(from), &missed, |count| count == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_gone_shows_at_the_others_and_only_for_it() {
    let mut cluster = cluster(2).await;
    wait_for_line(cluster.node(1), &came_back(2), |count| count >= 1).await;
    cluster.crash(2).await;
    wait_for_line(
        cluster.node(1),
        "chat_canary_messages_total{result=\"error\",to=\"node2\"}",
        |count| count >= 1,
    )
    .await;
    let before = count(cluster.node(1), &came_back(1)).await;
    wait_for_line(cluster.node(1), &came_back(1), |count| count > before).await;
    cluster.restart(2).await;
    let back = count(cluster.node(1), &came_back(2)).await;
    wait_for_line(cluster.node(1), &came_back(2), |count| count > back).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_without_a_hidden_room_is_left_alone() {
    let cluster = TestCluster::start_with(2, |config| {
        if config.node_id.as_str() == "node1" {
            config.limits.canary_interval = Duration::from_millis(50);
        }
    })
    .await;
    wait_for_line(cluster.node(1), &came_back(1), |count| count >= 5).await;
    let metrics = cluster.node(1).metrics().await;
    for result in ["ok", "late", "error"] {
        let line = format!("chat_canary_messages_total{{result=\"{result}\",to=\"node2\"}} 0");
        assert!(
            metrics.lines().any(|found| found == line),
            "{line} is missing in\n{metrics}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_deletes_a_hidden_room_and_it_keeps_few_messages() {
    let cluster = TestCluster::start_with(1, |config| config.limits.canary_interval = Duration::from_millis(20)).await;
    wait_for_line(cluster.node(1), &came_back(1), |count| count >= 200).await;
    let mut ines = cluster.node(1).client().await;
    let delete = json!({"type": "delete_room", "data": {"room_id": "canary-node1", "username": "canary-node1"}});
    let answer = ines.ask(&delete.to_string()).await;
    assert_eq!(answer["type"], "delete_room_failed", "{answer}");
    // 64 are kept, and at most a tenth more until they are removed.
    let mut otto = Extended::new(cluster.node(1), "otto").await;
    otto.join("canary-node1", None).await;
    let deadline = tokio::time::Instant::now() + chat_tests::PATIENCE;
    loop {
        let page = json!({"room_id": "canary-node1", "after_seq": 0, "limit": 1});
        let answer = otto.ask_with("read_history", page, &mut Vec::new()).await;
        // 200 were said.
        if answer["data"]["messages"][0]["sequence_number"].as_u64() >= Some(100) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{answer}");
    }
}
