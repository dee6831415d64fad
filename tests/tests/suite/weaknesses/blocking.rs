//! Waiting for others, and doing more than needed.

use super::*;
use crate::odd_peers::{Habit, peer};
use chat_tests::TestNode;
use std::time::Duration;
use tokio::net::TcpStream;

/// A node one of whose peers takes every call and answers none.
async fn beside_a_frozen_peer(call_timeout: Duration) -> TestNode {
    let frozen = peer(Habit::Silent).await;
    TestNode::start_with(|config| {
        let url = format!("http://{frozen}/").parse().unwrap();
        config.peers.insert(NodeId::parse("node3").unwrap(), url);
        config.limits.peer_call_timeout = call_timeout;
        config.limits.peer_connect_timeout = call_timeout;
        config.limits.heartbeat_failed = PATIENCE;
        config.limits.classic_unreachable = PATIENCE;
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w13_nobody_waits_for_a_frozen_peer_but_who_asks_for_it() {
    let node = beside_a_frozen_peer(PATIENCE / 2).await;
    let (mut asks, mut chats) = (node.client().await, node.client().await);
    let room = chats.create("hall").await;
    chats.join(&room, "ines").await;
    asks.say(&request::discover_rooms()).await;
    asks.say(&request::join_room("not-here", "otto")).await;
    for n in 1..=100 {
        assert_eq!(chats.send(&room, "ines", "hi").await, n);
        assert_eq!(chats.ask(&request::list_rooms()).await["type"], "rooms_list");
    }
    let list = next_of(&mut asks, "global_rooms_list").await;
    assert_eq!(
        list["data"]["nodes_unavailable"],
        serde_json::json!(["node3"]),
        "{list}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w14_a_call_that_takes_too_long_ends_when_its_time_is_over() {
    let node = beside_a_frozen_peer(Duration::from_millis(100)).await;
    let mut client = node.client().await;
    for _ in 0..3 {
        let list = client.ask(&request::discover_rooms()).await;
        assert_eq!(
            list["data"]["nodes_unavailable"],
            serde_json::json!(["node3"]),
            "{list}"
        );
    }
}

/// Calls of one method to a peer so far, whatever became of them.
async fn calls(node: &TestNode, method: &str, peer: &str) -> u64 {
    let metrics = node.metrics().await;
    let start = format!("chat_peer_calls_total{{method=\"{method}\",peer=\"{peer}\"");
    let counts = metrics.lines().filter(|line| line.starts_with(&start));
    counts
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w15_a_node_without_members_of_a_room_hears_nothing_of_it() {
    let cluster = TestCluster::start(3).await;
    let (mut ines, mut otto, room) = two_in_a_room(&cluster).await;
    tokio::join!(
        converse(&mut ines, &room, "ines", 50, 100),
        converse(&mut otto, &room, "otto", 50, 100)
    );
    assert!(calls(cluster.node(1), "chat.exchange", "node2").await > 0);
    for n in [1, 2] {
        assert_eq!(calls(cluster.node(n), "chat.exchange", "node3").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w16_a_room_is_looked_for_once_and_not_with_every_message() {
    let cluster = TestCluster::start(2).await;
    let (_ines, mut otto, room) = two_in_a_room(&cluster).await;
    let lists = calls(cluster.node(2), "get_hosted_rooms", "node1").await;
    let located = calls(cluster.node(2), "chat.locate", "node1").await;
    converse(&mut otto, &room, "otto", 50, 50).await;
    otto.ask(&request::leave_room(&room, "otto")).await;
    otto.join(&room, "otto").await;
    assert_eq!(calls(cluster.node(2), "get_hosted_rooms", "node1").await, lists);
    let again = calls(cluster.node(2), "chat.locate", "node1").await;
    assert!(
        again <= located + 1,
        "{located} before, {again} after: only the second join may ask"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w17_idle_connections_to_the_peer_port_stop_no_peer() {
    let cluster = TestCluster::start(2).await;
    let mut idle = Vec::new();
    for n in 0..50 {
        let node = cluster.node(1 + n % 2);
        idle.push(TcpStream::connect(node.addresses.xmlrpc).await.unwrap());
    }
    let (mut ines, mut otto, room) = two_in_a_room(&cluster).await;
    let (said, heard) = tokio::join!(
        converse(&mut ines, &room, "ines", 50, 100),
        converse(&mut otto, &room, "otto", 50, 100)
    );
    assert_eq!(said, heard);
    drop(idle);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w18_a_member_that_does_not_read_stalls_nobody() {
    let cluster = TestCluster::start_with(2, |config| config.limits.outbound_bytes = 16 << 10).await;
    let (mut ines, mut otto, room) = two_in_a_room(&cluster).await;
    let mut deaf = Vec::new();
    for n in [1, 2] {
        let mut client = cluster.node(n).client().await;
        client.join(&room, &format!("deaf{n}")).await;
        deaf.push(client);
    }
    let long = "x".repeat(4_900);
    for n in 1..=1_500 {
        ines.say(&request::send_message(&room, "ines", &long)).await;
        let sent = next_of(&mut ines, "message_sent").await;
        assert_eq!(sent["data"]["sequence_number"], n);
    }
    for n in 1..=1_500 {
        let shown = next_of(&mut otto, "new_message").await;
        assert_eq!(shown["data"]["sequence_number"], n);
    }
    drop(deaf);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w21_a_list_of_more_rooms_than_fit_is_cut_and_says_so() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    let long = "d".repeat(1_000);
    for n in 0..1_200 {
        let made = client
            .ask(&request::create_room(&format!("room {n}"), "ines", Some(&long)))
            .await;
        assert_eq!(made["type"], "room_created", "{made}");
    }
    for ask in [request::list_rooms(), request::discover_rooms()] {
        client.say(&ask).await;
        let frame = client.next().await;
        assert!(frame.to_string().len() < 1 << 20);
        assert_eq!(frame["data"]["total_count"], 1_200);
        assert_eq!(frame["data"]["truncated"], true);
        let listed = frame["data"]["rooms"].as_array().unwrap().len();
        assert!((800..1_200).contains(&listed), "{listed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w23_connections_rooms_of_one_and_messages_that_wait_are_bounded() {
    let node = TestNode::start_with(|config| {
        config.limits.max_connections = 2;
        config.limits.max_rooms_per_connection = 2;
    })
    .await;
    let (mut first, _second) = (node.client().await, node.client().await);
    let mut rooms = Vec::new();
    for n in 0..3 {
        rooms.push(first.create(&format!("room {n}")).await);
    }
    first.join(&rooms[0], "ines").await;
    first.join(&rooms[1], "ines").await;
    let third = first.ask(&request::join_room(&rooms[2], "ines")).await;
    assert_eq!(third["type"], "join_room_error", "{third}");
    let refused = chat_client::RawConnection::connect(&node.url(), &chat_tests::options()).await;
    assert!(refused.is_err(), "a third connection");
    let name = "n".repeat(129);
    let refused = first.ask(&request::create_room(&name, "ines", None)).await;
    assert_eq!(refused["data"]["success"], false, "{refused}");
    let refused = first
        .ask(&request::send_message(&rooms[0], "ines", &"x".repeat(5_001)))
        .await;
    assert_eq!(refused["data"]["error_code"], "INVALID_CONTENT", "{refused}");
}
