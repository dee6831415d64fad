//! Who may do what, and what is told to whom; what survives.

use super::*;
use crate::original_calls::node_beside;
use crate::original_rooms::host_at;
use crate::peer_port::post;
use chat_tests::TestNode;
use chat_tests::scripted_peer::{Says, ScriptedPeer, members, text};
use dxr::Value;
use futures_util::FutureExt;
use serde_json::json;
use tokio::net::TcpListener;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w49_a_connection_speaks_and_leaves_under_the_name_with_which_it_joined() {
    let cluster = TestCluster::start(2).await;
    let (mut ines, mut otto, room) = two_in_a_room(&cluster).await;
    for (client, other) in [(&mut ines, "otto"), (&mut otto, "ines")] {
        let refused = client.ask(&request::send_message(&room, other, "not me")).await;
        assert_eq!(refused["data"]["error_code"], "NOT_MEMBER", "{refused}");
        let answer = client.ask(&request::leave_room(&room, other)).await;
        assert_eq!(answer["type"], "leave_room_success");
    }
    assert_eq!(ines.send(&room, "ines", "still here").await, 1);
    assert_eq!(otto.next().await["type"], "new_message");
    assert_eq!(otto.send(&room, "otto", "me too").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w52_an_address_that_a_peer_names_is_never_called() {
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", trap.local_addr().unwrap());
    let peer = ScriptedPeer::start("node3").await;
    host_at(&peer, &address, &["otto", "olga"], &[(1, "one")]);
    let refusal = [("success", Value::Boolean(false)), ("error", text("no"))];
    peer.says("forward_message", [Says::Value(members(refusal))]);
    let node = node_beside(&peer).await;
    let mut otto = node.client().await;
    let list = otto.ask(&request::discover_rooms()).await;
    assert_eq!(list["data"]["rooms"][0]["node_address"], address, "{list}");
    // Everything for which the original looks for an address: a join, a message, a leave, a connection that closes.
    otto.join("r-1", "otto").await;
    peer.next_of("join_room").await;
    assert_eq!(otto.next().await["data"]["content"], "one");
    assert_eq!(
        otto.ask(&request::send_message("r-1", "otto", "two")).await["type"],
        "message_error"
    );
    peer.next_of("forward_message").await;
    otto.ask(&request::leave_room("r-1", "otto")).await;
    peer.next_of("leave_room").await;
    otto.join("r-1", "otto").await;
    peer.next_of("join_room").await;
    drop(otto);
    peer.next_of("notify_member_disconnect").await;
    // Whoever would have called is in the backlog by now.
    assert!(trap.accept().now_or_never().is_none());
}

#[tokio::test]
async fn w53_a_document_that_would_grow_is_refused_before_it_does() {
    let node = TestNode::start().await;
    let bombs = [
        r#"<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><methodCall><methodName>&b;</methodName></methodCall>"#.to_owned(),
        format!("<methodCall><methodName>heartbeat</methodName><params>{}", "<param>".repeat(100_000)),
        format!(
            "<methodCall><methodName>heartbeat</methodName><params><param><value>{}</value></param></params></methodCall>",
            "<array><data><value>".repeat(10_000)
        ),
    ];
    for bomb in bombs {
        let answer = post(&node, "/", &bomb).await;
        let beginning: String = bomb.chars().take(80).collect();
        assert!(answer.contains("faultCode"), "{beginning}: {answer}");
        assert!(answer.len() < 1_000, "{beginning}: {answer}");
    }
    let mut client = node.client().await;
    assert_eq!(client.ask(&request::list_rooms()).await["type"], "rooms_list");
}

#[tokio::test]
async fn w54_no_text_of_the_inside_reaches_a_client() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    for bad in [
        "{",
        "[]",
        "7",
        r#"{"type":5}"#,
        r#"{"type":"join_room","data":{"room_id":5,"username":{}}}"#,
        r#"{"type":"join_room","data":[]}"#,
        r#"{"type":"send_message","data":{"room_id":[],"username":"x","content":7}}"#,
    ] {
        let answer = client.ask(bad).await.to_string();
        for inside in [
            "line",
            "column",
            "expected",
            ".rs",
            "panicked",
            "serde",
            "Option",
            "invalid type",
            "sqlite",
        ] {
            assert!(!answer.contains(inside), "{bad}: {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w56_a_restart_loses_no_room_no_message_and_no_member_that_is_still_there() {
    let mut cluster = TestCluster::start(2).await;
    let (mut ines, mut otto, room) = two_in_a_room(&cluster).await;
    ines.send(&room, "ines", "kept").await;
    assert_eq!(otto.next().await["type"], "new_message");
    cluster.crash(1).await;
    cluster.restart(1).await;
    let mut late = cluster.node(1).client().await;
    let list = late.ask(&request::list_rooms()).await;
    assert_eq!(list["data"]["rooms"][0]["room_id"], room, "{list}");
    cluster.wait_until_connected(2, 2).await;
    let joined = late.join(&room, "late").await;
    let members = joined["data"]["members"].as_array().unwrap();
    assert!(members.contains(&json!("otto")), "{joined}");
    assert_eq!(late.next().await["data"]["content"], "kept");
}

#[tokio::test]
async fn w58_a_node_that_is_asked_to_stop_says_good_bye() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    assert_eq!(client.ask(&request::list_rooms()).await["type"], "rooms_list");
    node.shutdown.request();
    assert_eq!(client.close_code().await, Some(1012));
    assert!(node.ended().await.is_ok());
}

#[tokio::test]
async fn w60_a_node_tells_how_it_is() {
    let node = TestNode::start().await;
    // Whoever serves is ready; before, the probes say that it is not.
    let list = node.client().await.ask(&request::list_rooms()).await;
    assert_eq!(list["type"], "rooms_list");
    let metrics = node.metrics().await;
    for family in ["chat_connections", "chat_rooms_active", "chat_store_commits_total"] {
        assert!(metrics.lines().any(|line| line.starts_with(family)), "{family}");
    }
    for probe in ["/live", "/ready", "/startup"] {
        assert!(node.operations(probe).await.starts_with("HTTP/1.1 200"), "{probe}");
    }
}
