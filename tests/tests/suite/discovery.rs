//! Nodes that are found, not configured.

use chat_client::request;
use chat_node::config::{Config, Discovery, StoreKind};
use chat_protocol::ids::NodeId;
use chat_tests::{PATIENCE, TestCluster, TestNode};
use serde_json::json;
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A way to find nodes that finds none: the name can never exist.
fn in_vain(config: &mut Config, data_dir: &Path) {
    config.store = StoreKind::Local;
    config.limits.heartbeat_interval = Duration::from_millis(50);
    config.data_dir = data_dir.to_owned();
    config.discovery = Discovery::Dns {
        name: "_peer._tcp.nobody.invalid".into(),
    };
}

/// The disk of a node3 that has lived before and had these peers.
async fn lived_before(data_dir: &Path, peers: &[(&str, String)]) {
    let first_life = TestNode::start_with(|config| {
        config.node_id = NodeId::parse("node3").unwrap();
        config.store = StoreKind::Local;
        config.data_dir = data_dir.to_owned();
    })
    .await;
    // Whoever takes clients has a store.
    drop(first_life.client().await);
    first_life.stop().await.unwrap();
    let peers: serde_json::Map<_, _> = peers.iter().map(|(id, at)| ((*id).to_owned(), json!(at))).collect();
    std::fs::write(data_dir.join("peers.json"), json!({ "peers": peers }).to_string()).unwrap();
}

/// Waits for a line of the metrics of a node.
async fn wait_for(node: &TestNode, line: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics = node.metrics().await;
        if metrics.lines().any(|other| other == line) {
            return;
        }
        assert!(Instant::now() < deadline, "no {line} in {metrics}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_while_nobody_can_be_asked_finds_the_peers_of_its_last_life() {
    let cluster = TestCluster::start(2).await;
    let mut ines = cluster.node(1).client().await;
    let room = ines.create("hall").await;
    let disk = tempfile::tempdir().unwrap();
    let at = |n: usize| format!("http://{}/RPC2", cluster.node(n).addresses.xmlrpc);
    lived_before(disk.path(), &[("node1", at(1)), ("node2", at(2)), ("node3", at(1))]).await;
    let node = TestNode::start_with(|config| {
        config.node_id = NodeId::parse("node3").unwrap();
        in_vain(config, disk.path());
    })
    .await;
    // Itself it does not call, whatever the file says.
    wait_for(&node, "chat_peers{state=\"healthy\"} 2").await;
    wait_for(&node, "chat_discovery_last_sync_timestamp_seconds 0").await;
    assert!(
        node.operations("/ready").await.contains("200"),
        "discovery is no matter of readiness"
    );
    let mut otto = node.client().await;
    let rooms = otto.ask(&request::discover_rooms()).await;
    assert_eq!(rooms["data"]["rooms"][0]["room_id"], json!(room), "{rooms}");
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_answers_under_the_name_of_another_one_is_no_peer() {
    let cluster = TestCluster::start(1).await;
    let disk = tempfile::tempdir().unwrap();
    // The address went to another node meanwhile.
    let at = format!("http://{}/RPC2", cluster.node(1).addresses.xmlrpc);
    lived_before(disk.path(), &[("node9", at)]).await;
    let node = TestNode::start_with(|config| {
        config.node_id = NodeId::parse("node3").unwrap();
        in_vain(config, disk.path());
    })
    .await;
    wait_for(&node, "chat_peers{state=\"failed\"} 1").await;
    wait_for(&node, "chat_heartbeats_total{peer=\"node9\",result=\"failed\"} 3").await;
    let metrics = node.metrics().await;
    assert!(
        metrics.contains("chat_heartbeats_total{peer=\"node9\",result=\"ok\"} 0"),
        "{metrics}"
    );
    node.stop().await.unwrap();
}
