//! Rooms that a peer of the original administers, against a peer that plays it from a script.

use super::original_calls::{node_beside, node_with};
use chat_client::request;
use chat_tests::scripted_peer::{Says, ScriptedPeer, call, members, text};
use chat_tests::{Client, PATIENCE, TestNode};
use dxr::Value;
use serde_json::json;
use std::time::Duration;

/// The peer has a room `r-1` with these messages, in which `users` are.
pub(crate) fn host(peer: &ScriptedPeer, users: &[&str], messages: &[(i32, &str)]) {
    host_at(peer, "http://127.0.0.1:1", users, messages);
}

/// The same, and the peer says that the room is to be found at `address`, which nobody must ever call.
pub(crate) fn host_at(peer: &ScriptedPeer, address: &str, users: &[&str], messages: &[(i32, &str)]) {
    let entry = members([
        ("room_id", text("r-1")),
        ("room_name", text("old hall")),
        ("description", Value::Nil),
        ("member_count", Value::Integer(0)),
        ("admin_node", text("node3")),
        ("creator_id", text("olga")),
        ("node_address", text(address)),
    ]);
    peer.says("get_hosted_rooms", [Says::Value(Value::Array(vec![entry]))]);
    peer.says(
        "join_room",
        [Says::Value(members([
            ("success", Value::Boolean(true)),
            ("message", text("Successfully joined room")),
            (
                "room_info",
                members([
                    ("room_id", text("r-1")),
                    ("room_name", text("old hall")),
                    ("description", Value::Nil),
                    ("members", Value::Array(users.iter().map(|name| text(name)).collect())),
                    ("member_count", Value::Integer(i32::try_from(users.len()).unwrap())),
                    ("admin_node", text("node3")),
                ]),
            ),
            (
                "messages",
                Value::Array(
                    messages
                        .iter()
                        .map(|(number, content)| said(*number, "olga", content))
                        .collect(),
                ),
            ),
        ]))],
    );
    let done = members([("success", Value::Boolean(true)), ("message", text("done"))]);
    peer.says("leave_room", [Says::Value(done.clone())]);
    peer.says("notify_member_disconnect", [Says::Value(done)]);
}

fn said(number: i32, user: &str, content: &str) -> Value {
    members([
        ("message_id", text(&format!("m-{number}"))),
        ("room_id", text("r-1")),
        ("username", text(user)),
        ("content", text(content)),
        ("sequence_number", Value::Integer(number)),
        ("timestamp", text("2026-01-01T00:00:00.000001+00:00")),
    ])
}

async fn show(node: &TestNode, number: i32, user: &str, content: &str) {
    let params = [text("r-1"), said(number, user, content)];
    let shown = call(node.addresses.xmlrpc, "receive_message_broadcast", &params).await;
    assert_eq!(shown, Ok(Value::Boolean(true)));
}

pub(crate) async fn otto_joins(node: &TestNode) -> Client {
    let mut otto = node.client().await;
    let joined = otto.join("r-1", "otto").await;
    assert_eq!(joined["data"]["admin_node"], "node3", "{joined}");
    otto
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_of_an_original_node_is_found_joined_spoken_in_and_left() {
    let peer = ScriptedPeer::start("node3").await;
    host(&peer, &["otto", "olga"], &[(1, "one"), (2, "two")]);
    let node = node_beside(&peer).await;
    let mut otto = node.client().await;
    let list = otto.ask(&request::discover_rooms()).await;
    assert_eq!(list["data"]["rooms"][0]["room_name"], "old hall", "{list}");
    let joined = otto.join("r-1", "otto").await;
    assert_eq!(
        joined["data"],
        json!({"room_id": "r-1", "room_name": "old hall", "description": null, "members": ["olga", "otto"],
            "member_count": 2, "admin_node": "node3"})
    );
    let asked = peer.next_of("join_room").await;
    assert_eq!(asked, [text("r-1"), text("otto"), text("node1")]);
    for n in 1..=2 {
        assert_eq!(otto.next().await["data"]["sequence_number"], n);
    }
    show(&node, 3, "olga", "three").await;
    let frame = otto.next().await;
    assert_eq!(
        frame["data"],
        json!({"message_id": "m-3", "room_id": "r-1", "username": "olga", "content": "three", "sequence_number": 3,
            "timestamp": "2026-01-01T00:00:00.000001+00:00"})
    );
    peer.says(
        "forward_message",
        [Says::Value(members([
            ("success", Value::Boolean(true)),
            ("message_id", text("m-4")),
            ("sequence_number", Value::Integer(4)),
            ("timestamp", text("2026-01-01T00:00:01+00:00")),
        ]))],
    );
    assert_eq!(otto.send("r-1", "otto", "four").await, 4);
    assert_eq!(
        peer.next_of("forward_message").await,
        [text("r-1"), text("otto"), text("four"), text("node1")]
    );
    // The node's own word of it comes late and is known.
    show(&node, 4, "otto", "four").await;
    let event = members([
        ("room_id", text("r-1")),
        ("username", text("vera")),
        ("member_count", Value::Integer(3)),
        ("timestamp", text("2026-01-01T00:00:02+00:00")),
    ]);
    let at = node.addresses.xmlrpc;
    call(
        at,
        "receive_member_event_broadcast",
        &[text("r-1"), text("member_joined"), event],
    )
    .await
    .unwrap();
    let came = otto.next().await;
    assert_eq!(
        (&came["type"], &came["data"]["username"], &came["data"]["member_count"]),
        (&json!("member_joined"), &json!("vera"), &json!(3))
    );
    let left = otto.ask(&request::leave_room("r-1", "otto")).await;
    assert_eq!(left["type"], "leave_room_success");
    assert_eq!(
        peer.next_of("leave_room").await,
        [text("r-1"), text("otto"), text("node1")]
    );
    // Nobody is in the room here any more: what is shown reaches nobody.
    show(&node, 5, "olga", "five").await;
    assert_eq!(otto.ask(&request::list_rooms()).await["type"], "rooms_list");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_closes_is_told_to_the_original_admin() {
    let peer = ScriptedPeer::start("node3").await;
    host(&peer, &["otto"], &[]);
    let node = node_beside(&peer).await;
    let otto = otto_joins(&node).await;
    peer.next_of("join_room").await;
    drop(otto);
    assert_eq!(
        peer.next_of("notify_member_disconnect").await,
        [text("r-1"), text("otto"), text("node1"), text("User disconnected")]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forwarded_message_whose_call_broke_is_unknown_and_never_sent_again() {
    let peer = ScriptedPeer::start("node3").await;
    host(&peer, &["otto"], &[]);
    let node = node_beside(&peer).await;
    let mut otto = otto_joins(&node).await;
    peer.next_of("join_room").await;
    peer.says("forward_message", [Says::HangsUp]);
    let refused = otto.ask(&request::send_message("r-1", "otto", "lost?")).await;
    assert_eq!(refused["type"], "message_error", "{refused}");
    assert_eq!(refused["data"]["error_code"], "ADMIN_NODE_UNAVAILABLE");
    peer.next_of("forward_message").await;
    // It was executed after all.
    show(&node, 1, "otto", "lost?").await;
    assert_eq!(otto.next().await["data"]["content"], "lost?");
    // The next call is the next message.
    peer.says(
        "forward_message",
        [Says::Value(members([
            ("success", Value::Boolean(false)),
            ("error", text("You are not a member of this room")),
            ("error_code", text("NOT_MEMBER")),
        ]))],
    );
    let refused = loop {
        let refused = otto.ask(&request::send_message("r-1", "otto", "next")).await;
        if refused["data"]["error_code"] != "ADMIN_NODE_UNAVAILABLE" {
            break refused;
        }
    };
    assert_eq!(refused["data"]["error_code"], "NOT_MEMBER", "{refused}");
    assert_eq!(peer.next_of("forward_message").await[2], text("next"));
    // Whoever is no member any more is told so, and is out.
    let out = otto.next().await;
    assert_eq!(
        (&out["type"], &out["data"]["username"]),
        (&json!("member_left"), &json!("otto"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_the_original_admin_lost_on_the_way_is_fetched() {
    let peer = ScriptedPeer::start("node3").await;
    host(&peer, &["otto"], &[(1, "one")]);
    let node = node_beside(&peer).await;
    let mut otto = otto_joins(&node).await;
    assert_eq!(otto.next().await["data"]["sequence_number"], 1);
    host(&peer, &["otto"], &[(1, "one"), (2, "two"), (3, "three")]);
    show(&node, 3, "olga", "three").await;
    for n in 2..=3 {
        assert_eq!(otto.next().await["data"]["sequence_number"], n);
    }
    peer.next_of("join_room").await;
    assert_eq!(peer.next_of("join_room").await[1], text("otto"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_a_room_whose_original_admin_failed_are_told() {
    let peer = ScriptedPeer::start("node3").await;
    host(&peer, &["otto"], &[]);
    let node = node_with(&peer, |limits| limits.original_failed = Duration::from_millis(300)).await;
    let mut otto = otto_joins(&node).await;
    drop(peer);
    let out = otto.next().await;
    assert_eq!(
        (&out["type"], &out["data"]["username"], &out["data"]["reason"]),
        (&json!("member_left"), &json!("otto"), &json!("Node unreachable")),
        "{out}"
    );
    let refused = otto.ask(&request::join_room("r-1", "otto")).await;
    assert_eq!(refused["data"]["error_code"], "ADMIN_NODE_UNAVAILABLE");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_not_made_long_after_it_was_asked() {
    let peer = ScriptedPeer::start("node3").await;
    host(&peer, &["otto"], &[]);
    let node = node_with(&peer, |limits| {
        limits.original_call_timeout = Duration::from_secs(3);
        limits.original_wait = Duration::from_millis(200);
        limits.original_failed = PATIENCE;
    })
    .await;
    let mut otto = otto_joins(&node).await;
    peer.next_of("join_room").await;
    let mut vera = node.client().await;
    vera.join("r-1", "vera").await;
    peer.next_of("join_room").await;
    peer.hang(true);
    otto.say(&request::send_message("r-1", "otto", "first")).await;
    assert_eq!(peer.next_of("forward_message").await[2], text("first"));
    vera.say(&request::send_message("r-1", "vera", "second")).await;
    // The first call times out, the second is never made.
    for client in [&mut otto, &mut vera] {
        let refused = client.next().await;
        assert_eq!(refused["data"]["error_code"], "ADMIN_NODE_UNAVAILABLE", "{refused}");
    }
    peer.hang(false);
    vera.say(&request::leave_room("r-1", "vera")).await;
    assert_eq!(peer.next_of("leave_room").await[1], text("vera"));
}
