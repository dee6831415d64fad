//! Connections: slow readers, vanished clients, bounds, and the end of a node.

use chat_client::request;
use chat_node::config::Config;
use chat_node::telemetry::metrics::Metrics;
use chat_node::{Listeners, Shutdown};
use chat_protocol::ids::NodeId;
use chat_tests::TestNode;
use chat_tests::port::Port;
use serde_json::json;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn small_queues(config: &mut Config) {
    config.limits.outbound_bytes = 16 << 10;
    config.limits.backlog_bytes = 32 << 10;
}

/// Enough to fill the buffers of both kernels and the queue of the node.
const FLOOD: usize = 3_000;

#[tokio::test]
async fn a_slow_reader_delays_nobody_and_misses_nothing() {
    let node = TestNode::start_with(small_queues).await;
    let (mut ines, mut slow) = (node.client().await, node.client().await);
    let room = ines.create("hall").await;
    slow.join(&room, "slow").await;
    ines.join(&room, "ines").await;
    let content = "x".repeat(4_000);
    for number in 1..=FLOOD {
        assert_eq!(ines.send(&room, "ines", &content).await, number as u64);
    }
    assert_eq!(slow.next().await["type"], "member_joined");
    for number in 1..=FLOOD {
        assert_eq!(slow.next().await["data"]["sequence_number"], number);
    }
    // It has caught up: what is said now reaches it as it is said.
    ines.send(&room, "ines", "now").await;
    assert_eq!(slow.next().await["data"]["content"], "now");
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_closed_as_slow() {
    let node = TestNode::start_with(|config| {
        small_queues(config);
        config.limits.slow_reader = Duration::from_millis(300);
    })
    .await;
    let (mut ines, mut slow) = (node.client().await, node.client().await);
    let room = ines.create("hall").await;
    slow.join(&room, "slow").await;
    ines.join(&room, "ines").await;
    let content = "x".repeat(4_000);
    loop {
        ines.say(&request::send_message(&room, "ines", &content)).await;
        let frame = ines.next().await;
        if frame["type"] == "member_left" {
            assert_eq!(frame["data"]["username"], "slow");
            break;
        }
    }
    // What was in the kernel's buffers comes first; a connection that was cut between two frames has no code.
    assert!(matches!(slow.close_code().await, Some(1013) | None));
}

#[tokio::test]
async fn a_client_that_vanished_is_noticed_by_its_silence() {
    let node = TestNode::start_with(|config| {
        config.limits.ping_interval = Duration::from_millis(100);
        config.limits.pong_timeout = Duration::from_millis(100);
    })
    .await;
    let (mut ines, mut silent) = (node.client().await, node.client().await);
    let room = ines.create("hall").await;
    silent.join(&room, "silent").await;
    ines.join(&room, "ines").await;
    // Whoever reads answers pings; `silent` is not polled any more.
    assert_eq!(ines.next().await["type"], "member_left");
    assert_eq!(ines.send(&room, "ines", "still here").await, 1);
}

#[tokio::test]
async fn no_more_clients_than_the_bound_are_taken() {
    let node = TestNode::start_with(|config| config.limits.max_connections = 2).await;
    let (mut first, _second) = (node.client().await, node.client().await);
    // An answer proves that both are counted.
    assert_eq!(first.ask(&request::list_rooms()).await["type"], "rooms_list");
    let refused = chat_client::RawConnection::connect(&node.url(), &chat_tests::options()).await;
    assert!(refused.is_err());
    assert_eq!(first.ask(&request::list_rooms()).await["type"], "rooms_list");
}

#[tokio::test]
async fn a_connection_that_sends_no_head_is_dropped() {
    let node = TestNode::start_with(|config| config.limits.header_timeout = Duration::from_millis(100)).await;
    let mut silent = TcpStream::connect(node.addresses.websocket).await.expect("accepted");
    let mut rest = Vec::new();
    // Ends, with or without an answer.
    drop(
        tokio::time::timeout(chat_tests::PATIENCE, silent.read_to_end(&mut rest))
            .await
            .expect("dropped in time"),
    );
}

#[tokio::test]
async fn a_request_that_is_no_websocket_is_told_what_this_port_speaks() {
    let node = TestNode::start().await;
    let mut browser = TcpStream::connect(node.addresses.websocket).await.expect("accepted");
    browser
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .expect("written");
    let mut answer = String::new();
    browser.read_to_string(&mut answer).await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{answer}");
}

#[tokio::test]
async fn a_node_that_stops_closes_its_sessions_with_1012_and_ends() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    let room = client.create("hall").await;
    client.join(&room, "ines").await;
    node.shutdown.request();
    assert_eq!(client.close_code().await, Some(1012));
    node.ended().await.expect("a stop that was asked for is no failure");
}

#[tokio::test]
async fn a_second_signal_does_not_wait_for_anybody() {
    let node = TestNode::start_with(|config| config.limits.drain_accept = Duration::from_secs(3_600)).await;
    let _client = node.client().await;
    node.shutdown.request();
    node.shutdown.force();
    node.ended().await.expect("a forced stop is no failure");
}

#[tokio::test]
async fn a_node_that_stops_says_until_when_it_has_time() {
    const DEADLINE: &str = "chat_stop_deadline_timestamp_seconds";
    let now = || {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    let node = TestNode::start_with(|config| {
        config.limits.drain_accept = Duration::from_secs(3_600);
        config.limits.grace = Duration::from_secs(7_200);
    })
    .await;
    // Nobody to wait for would be no reason to wait.
    let _client = node.client().await;
    assert_eq!(node.metric(DEADLINE).await, 0);
    let before = now();
    node.shutdown.request();
    node.wait_for_metric(DEADLINE, 1).await;
    let said = node.metric(DEADLINE).await;
    assert!((before + 7_200..=now() + 7_200).contains(&said), "{said}");
    node.shutdown.force();
    node.ended().await.expect("a forced stop is no failure");
}

#[tokio::test]
async fn no_more_rooms_than_the_bound_are_kept_in_memory() {
    let node = TestNode::start_with(|config| {
        config.limits.shards = 1;
        config.limits.max_room_machines = 1;
    })
    .await;
    let mut client = node.client().await;
    let (first, second) = (client.create("first").await, client.create("second").await);
    client.join(&first, "ines").await;
    let refused = client.ask(&request::join_room(&second, "ines")).await;
    assert_eq!(refused["data"]["error_code"], "INTERNAL_ERROR", "{refused}");
    // A room that nobody is in makes room for another.
    assert_eq!(
        client.ask(&request::leave_room(&first, "ines")).await["type"],
        "leave_room_success"
    );
    client.join(&second, "ines").await;
}

#[tokio::test]
async fn what_is_sent_is_counted() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    let room = client.create("hall").await;
    client.join(&room, "ines").await;
    client.send(&room, "ines", "hi").await;
    let text = node.metrics().await;
    for line in [
        "chat_connections 1",
        "chat_frames_received_total{type=\"create_room\"} 1",
        "chat_frames_received_total{type=\"join_room\"} 1",
        "chat_frames_received_total{type=\"send_message\"} 1",
        "chat_frames_sent_total{type=\"answer\"} 3",
        "chat_frames_sent_total{type=\"message\"} 1",
        "chat_messages_unknown_total 0",
        "chat_messages_accepted_total 1",
        "chat_messages_delivered_total 1",
        "chat_sequence_numbers_assigned_total 1",
        "chat_rooms_active 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
}

#[tokio::test]
async fn an_operator_is_told_which_rooms_are_busy() {
    let node = TestNode::start().await;
    let (mut ines, mut otto) = (node.client().await, node.client().await);
    let rooms = [
        ines.create("hall").await,
        ines.create("attic").await,
        ines.create("shed").await,
    ];
    for (room, messages) in rooms.iter().zip([1, 3, 0]) {
        ines.join(room, "ines").await;
        for _ in 0..messages {
            ines.send(room, "ines", "hi").await;
        }
    }
    otto.join(&rooms[0], "otto").await;
    let answer = node.operations("/rooms/busiest").await;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let told: serde_json::Value = serde_json::from_str(body).unwrap();
    let busy = |room: &str, sessions: u64, messages: u64| {
        json!({"room_id": room, "administered_here": true, "sessions": sessions, "messages_per_minute": messages,
            "deliveries_per_minute": messages})
    };
    // Nobody spoke in the third one, and a history is no traffic of now.
    assert_eq!(told, json!({"rooms": [busy(&rooms[1], 1, 3), busy(&rooms[0], 2, 1)]}));
}

#[tokio::test]
async fn many_sessions_are_closed_within_the_window_each_with_1012() {
    let node = TestNode::start_with(|config| config.limits.drain_window = Duration::from_millis(300)).await;
    let mut clients = Vec::new();
    for _ in 0..40 {
        clients.push(node.client().await);
    }
    // An answer on each proves that it is served, not only accepted.
    for client in &mut clients {
        assert_eq!(client.ask(&request::list_rooms()).await["type"], "rooms_list");
    }
    node.shutdown.request();
    for client in &mut clients {
        assert_eq!(client.close_code().await, Some(1012));
    }
    node.ended().await.expect("a stop that was asked for is no failure");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_ended_has_left_its_ports() {
    let ports = [(); 3].map(|()| Port::reserve().unwrap());
    let mut config = Config::test(NodeId::parse("node1").unwrap());
    config.websocket.port = ports[0].address().port();
    config.xmlrpc.port = ports[1].address().port();
    config.operations.port = ports[2].address().port();
    for _ in 0..100 {
        let listeners = Listeners::bind(&config).expect("the node before has left them");
        let shutdown = Shutdown::default();
        let running = chat_node::run(
            config.clone(),
            listeners,
            shutdown.clone(),
            Metrics::new(&config.node_id),
        );
        let running = tokio::spawn(running);
        // Callers keep the task busy that accepts them.
        let callers: Vec<_> = (0..20).map(|_| TcpStream::connect(ports[0].address())).collect();
        futures_util::future::join_all(callers).await;
        shutdown.force();
        running.await.unwrap().expect("a forced stop is no failure");
    }
}
