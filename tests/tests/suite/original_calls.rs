//! The calls of the original system, one by one, against a peer that plays it from a script.

use chat_client::request;
use chat_protocol::ids::NodeId;
use chat_tests::scripted_peer::{Says, ScriptedPeer, as_struct, call, hasten, members, send_call, text};
use chat_tests::{Client, PATIENCE, TestNode};
use dxr::Value;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// Node 1 and a peer of the original that it knows as `node3`.
pub(crate) async fn node_beside(peer: &ScriptedPeer) -> TestNode {
    node_with(peer, |_| {}).await
}

pub(crate) async fn node_with(peer: &ScriptedPeer, change: impl FnOnce(&mut chat_node::config::Limits)) -> TestNode {
    let node = TestNode::start_with(|config| {
        let url = format!("http://{}/RPC2", peer.address).parse().unwrap();
        config.peers.insert(NodeId::parse("node3").unwrap(), url);
        hasten(&mut config.limits);
        change(&mut config.limits);
    })
    .await;
    // It is known for what it is when its rooms are listed.
    let mut client = node.client().await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let list = client.ask(&request::discover_rooms()).await;
        if list["data"]["nodes_available"] == json!(["node1", "node3"]) {
            return node;
        }
        assert!(Instant::now() < deadline, "{list}");
    }
}

pub(crate) async fn in_a_room(node: &TestNode) -> (Client, String) {
    let mut ines = node.client().await;
    let room = ines.create("hall").await;
    ines.join(&room, "ines").await;
    (ines, room)
}

/// A call of the peer to node 1 about a room; the struct that it answers.
pub(crate) async fn ask(node: &TestNode, method: &str, params: &[&str]) -> Value {
    let params: Vec<_> = params.iter().map(|param| text(param)).collect();
    call(node.addresses.xmlrpc, method, &params).await.unwrap()
}

fn number(value: &Value) -> i32 {
    match value {
        Value::Integer(number) => *number,
        other => panic!("a number, not {other:?}"),
    }
}

/// The numbers of the messages in an answer to a join.
fn numbers(joined: &Value) -> Vec<i32> {
    let Value::Array(messages) = &as_struct(joined)["messages"] else {
        panic!("{joined:?}")
    };
    messages
        .iter()
        .map(|message| number(&as_struct(message)["sequence_number"]))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_of_ours_is_joined_spoken_in_and_left_by_classic_calls() {
    let peer = ScriptedPeer::start("node3").await;
    let node = node_beside(&peer).await;
    let (mut ines, room) = in_a_room(&node).await;
    let joined = ask(&node, "join_room", &[&room, "otto", "node3"]).await;
    let answer = as_struct(&joined);
    assert_eq!(answer.len(), 4);
    assert_eq!(
        (&answer["success"], &answer["message"], &answer["messages"]),
        (
            &Value::Boolean(true),
            &text("Successfully joined room"),
            &Value::Array(vec![])
        )
    );
    assert_eq!(
        answer["room_info"],
        members([
            ("room_id", text(&room)),
            ("room_name", text("hall")),
            ("description", Value::Nil),
            ("members", Value::Array(vec![text("ines"), text("otto")])),
            ("member_count", Value::Integer(2)),
            ("admin_node", text("node1")),
        ])
    );
    assert_eq!(ines.next().await["data"]["username"], "otto");

    let sent = ask(&node, "forward_message", &[&room, "otto", "ahoy\r\n<&>", "node3"]).await;
    let shown = ines.next().await;
    assert_eq!(shown["data"]["content"], "ahoy\n<&>");
    let sent = as_struct(&sent);
    assert_eq!((sent.len(), &sent["success"]), (4, &Value::Boolean(true)));
    assert_eq!(
        (&sent["sequence_number"], &sent["message_id"], &sent["timestamp"]),
        (
            &Value::Integer(1),
            &text(shown["data"]["message_id"].as_str().unwrap()),
            &text(shown["data"]["timestamp"].as_str().unwrap())
        )
    );
    let pushed = peer.next_of("receive_message_broadcast").await;
    assert_eq!(pushed[0], text(&room));
    let pushed = as_struct(&pushed[1]);
    assert_eq!((pushed.len(), &pushed["content"]), (6, &text("ahoy\n<&>")));

    // Another user behind the node, of whom the first one hears.
    ask(&node, "join_room", &[&room, "vera", "node3"]).await;
    let (_, params) = loop {
        let called = peer.next_call().await;
        if called.0 == "receive_member_event_broadcast" {
            break called;
        }
    };
    assert_eq!(params[1], text("member_joined"));
    let event = as_struct(&params[2]);
    assert_eq!(
        (event.len(), &event["username"], &event["member_count"]),
        (4, &text("vera"), &Value::Integer(3))
    );
    assert_eq!(ines.next().await["data"]["username"], "vera");

    let left = ask(&node, "leave_room", &[&room, "otto", "node3"]).await;
    assert_eq!(as_struct(&left)["message"], text("Successfully left room"));
    let left = ines.next().await;
    assert_eq!(
        (&left["data"]["username"], left["data"].get("reason")),
        (&json!("otto"), None)
    );
    let gone = ask(
        &node,
        "notify_member_disconnect",
        &[&room, "vera", "node3", "User disconnected"],
    )
    .await;
    assert_eq!(as_struct(&gone)["message"], text("Member removed successfully"));
    assert_eq!(ines.next().await["data"]["reason"], "User disconnected");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_have_the_words_of_the_original() {
    let peer = ScriptedPeer::start("node3").await;
    let node = node_beside(&peer).await;
    let (_ines, room) = in_a_room(&node).await;
    let long = "x".repeat(5_001);
    let code = |answer: &Value, text_in: &str| {
        let all = as_struct(answer);
        let word = |name: &str| match all.get(name) {
            Some(Value::String(text)) => text.clone(),
            other => format!("{other:?}"),
        };
        (all["success"].clone(), word(text_in), word("error_code"))
    };
    for (content, user, room, text, error_code) in [
        (
            "",
            "zed",
            "nowhere",
            "Message content cannot be empty",
            "INVALID_CONTENT",
        ),
        (
            long.as_str(),
            "zed",
            room.as_str(),
            "Message content too long (max 5000 characters)",
            "INVALID_CONTENT",
        ),
        ("hi", "zed", "nowhere", "Room not found", "ROOM_NOT_FOUND"),
        ("hi", "zed", "", "Room not found", "ROOM_NOT_FOUND"),
        ("hi", "ines", &room, "You are not a member of this room", "NOT_MEMBER"),
    ] {
        let answer = ask(&node, "forward_message", &[room, user, content, "node3"]).await;
        assert_eq!(
            code(&answer, "error"),
            (Value::Boolean(false), text.into(), error_code.into())
        );
    }
    let answer = ask(&node, "join_room", &["nowhere", "otto", "node3"]).await;
    assert_eq!(
        code(&answer, "message"),
        (Value::Boolean(false), "Room not found".into(), "ROOM_NOT_FOUND".into())
    );
    assert_eq!(as_struct(&answer)["room_info"], Value::Nil);
    // Nobody could tell a node that is no peer what happens in the room.
    let answer = ask(&node, "join_room", &[&room, "otto", "node9"]).await;
    assert_eq!(as_struct(&answer)["success"], Value::Boolean(false));
    for (method, room, message) in [
        ("leave_room", "nowhere", "Room not found"),
        ("leave_room", &room, "Not in room"),
        ("notify_member_disconnect", "nowhere", "Room not found"),
        ("notify_member_disconnect", &room, "User not in room"),
    ] {
        let answer = ask(&node, method, &[room, "zed", "node3"]).await;
        assert_eq!(as_struct(&answer)["message"], text(message), "{method}");
    }
    let number = [text(&room), text("otto"), Value::Integer(5), text("node3")];
    assert!(call(node.addresses.xmlrpc, "forward_message", &number).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_room_begins_at_one_for_whoever_comes_through_an_original_node() {
    let peer = ScriptedPeer::start("node3").await;
    let node = node_beside(&peer).await;
    let (mut ines, room) = in_a_room(&node).await;
    for n in 1..=150 {
        assert_eq!(ines.send(&room, "ines", &format!("t{n}")).await, n);
    }
    let joined = ask(&node, "join_room", &[&room, "otto", "node3"]).await;
    assert_eq!(numbers(&joined), (1..=100).collect::<Vec<_>>());
    ines.next().await;
    ines.send(&room, "ines", "live").await;
    assert_eq!(peer.next_message().await, (101, "live".into()));
    let sent = ask(&node, "forward_message", &[&room, "otto", "ahoy", "node3"]).await;
    assert_eq!(as_struct(&sent)["sequence_number"], Value::Integer(102));
    assert_eq!(ines.next().await["data"]["sequence_number"], 152);
    // Whoever comes later through the same node gets everything since.
    let again = ask(&node, "join_room", &[&room, "otto", "node3"]).await;
    assert_eq!(numbers(&again), (1..=102).collect::<Vec<_>>());
    assert_eq!(as_struct(&again)["message"], text("Already in room, re-registered"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_while_a_node_subscribed_its_client_is_said_again() {
    let peer = ScriptedPeer::start("node3").await;
    let node = node_beside(&peer).await;
    let (mut ines, room) = in_a_room(&node).await;
    ines.send(&room, "ines", "before").await;
    let joined = ask(&node, "join_room", &[&room, "otto", "node3"]).await;
    assert_eq!(numbers(&joined), [1]);
    ines.next().await;
    ines.send(&room, "ines", "two").await;
    ines.send(&room, "ines", "three").await;
    for expected in [(2, "two"), (3, "three"), (2, "two"), (3, "three")] {
        let (number, content) = peer.next_message().await;
        assert_eq!((number, content.as_str()), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_answer_was_lost_is_the_same_message_when_it_comes_again() {
    let peer = ScriptedPeer::start("node3").await;
    let node = node_beside(&peer).await;
    let (mut ines, room) = in_a_room(&node).await;
    ask(&node, "join_room", &[&room, "otto", "node3"]).await;
    ines.next().await;
    for round in 1..=30 {
        let content = format!("ahoy {round}");
        call(node.addresses.xmlrpc, "get_hosted_rooms", &[]).await.unwrap();
        let params = [text(&room), text("otto"), text(&content), text("node3")];
        // The connection goes before the answer arrives. Whether the call was executed nobody knows.
        drop(send_call(node.addresses.xmlrpc, "forward_message", &params).await);
        if round % 2 == 0 {
            // Another node may look meanwhile.
            call(node.addresses.xmlrpc, "get_hosted_rooms", &[]).await.unwrap();
        }
        let sent = ask(&node, "forward_message", &[&room, "otto", &content, "node3"]).await;
        assert_eq!(number(&as_struct(&sent)["sequence_number"]), round);
        let shown = ines.next().await;
        assert_eq!(
            (&shown["data"]["content"], &shown["data"]["sequence_number"]),
            (&json!(content), &json!(round))
        );
    }
    // Whoever has the answer, looks for the room and says the same again means it.
    for next in 31..=40 {
        call(node.addresses.xmlrpc, "get_hosted_rooms", &[]).await.unwrap();
        let sent = ask(&node, "forward_message", &[&room, "otto", "ahoy 30", "node3"]).await;
        assert_eq!(number(&as_struct(&sent)["sequence_number"]), next);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_hangs_stops_nobody_and_gets_everything_when_it_goes_on() {
    let peer = ScriptedPeer::start("node3").await;
    let node = node_with(&peer, |limits| {
        // It hangs for longer than a call may take, not for so long that it has failed.
        limits.original_call_timeout = Duration::from_millis(500);
        limits.original_failed = PATIENCE;
        // Not everything finds room in its queue.
        limits.original_queue_bytes = 32 << 10;
    })
    .await;
    let (mut ines, room) = in_a_room(&node).await;
    ask(&node, "join_room", &[&room, "otto", "node3"]).await;
    ines.next().await;
    peer.hang(true);
    for n in 1..=300 {
        let began = Instant::now();
        assert_eq!(ines.send(&room, "ines", &format!("t{n}")).await, n);
        assert!(began.elapsed() < Duration::from_millis(500), "{n}");
        if n == 1 {
            peer.next_message().await;
        }
    }
    // A list that was made just before is given out for a second.
    let deadline = Instant::now() + PATIENCE;
    while ines.ask(&request::discover_rooms()).await["data"]["nodes_unavailable"] != json!(["node3"]) {
        assert!(Instant::now() < deadline);
    }
    peer.hang(false);
    // Some may come twice, none is missing.
    let mut last = 0;
    while last < 300 {
        let (number, content) = peer.next_message().await;
        assert!(number <= last + 1, "{number} after {last}");
        assert_eq!(content, format!("t{number}"));
        last = last.max(number);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_broadcast_is_repeated_and_then_passed_over() {
    let peer = ScriptedPeer::start("node3").await;
    let node = node_beside(&peer).await;
    let (mut ines, room) = in_a_room(&node).await;
    ask(&node, "join_room", &[&room, "otto", "node3"]).await;
    ines.next().await;
    let ok = Says::Value(Value::Boolean(true));
    peer.says(
        "receive_message_broadcast",
        [Says::Fault("a closing connection"), ok.clone(), Says::HangsUp, ok],
    );
    ines.send(&room, "ines", "one").await;
    assert_eq!(peer.next_message().await.0, 1);
    assert_eq!(peer.next_message().await.0, 1);
    ines.send(&room, "ines", "two").await;
    assert_eq!(peer.next_message().await.0, 2);
    assert_eq!(peer.next_message().await.0, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_behind_an_original_node_that_failed_are_gone() {
    let peer = ScriptedPeer::start("node3").await;
    let node = node_with(&peer, |limits| limits.original_failed = Duration::from_millis(300)).await;
    let (mut ines, room) = in_a_room(&node).await;
    ask(&node, "join_room", &[&room, "otto", "node3"]).await;
    ines.next().await;
    drop(peer);
    let left = ines.next().await;
    assert_eq!(
        (&left["data"]["username"], &left["data"]["reason"]),
        (&json!("otto"), &json!("Node unreachable")),
        "{left}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_known_by_its_own_id_although_it_is_configured_under_another() {
    let peer = ScriptedPeer::start("the-third").await;
    let node = node_beside(&peer).await;
    let (mut ines, room) = in_a_room(&node).await;
    let joined = ask(&node, "join_room", &[&room, "otto", "the-third"]).await;
    assert_eq!(as_struct(&joined)["success"], Value::Boolean(true), "{joined:?}");
    ines.next().await;
    ines.send(&room, "ines", "hi").await;
    assert_eq!(peer.next_message().await, (1, "hi".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_can_show_anything_to_members_of_a_room_of_ours() {
    let peer = ScriptedPeer::start("node3").await;
    let node = node_beside(&peer).await;
    let (mut ines, room) = in_a_room(&node).await;
    let forged = members([
        ("message_id", text("m")),
        ("room_id", text(&room)),
        ("username", text("ines")),
        ("content", text("forged")),
        ("sequence_number", Value::Integer(1)),
        ("timestamp", text("2026-01-01T00:00:00Z")),
    ]);
    let at = node.addresses.xmlrpc;
    let shown = call(at, "receive_message_broadcast", &[text(&room), forged.clone()]).await;
    assert_eq!(shown, Ok(Value::Boolean(true)));
    for kind in ["member_left", "room_deleted"] {
        let shown = call(
            at,
            "receive_member_event_broadcast",
            &[text(&room), text(kind), forged.clone()],
        )
        .await;
        assert_eq!(shown, Ok(Value::Boolean(true)));
    }
    assert!(
        call(at, "receive_message_broadcast", &[text(&room), text("no struct")])
            .await
            .is_err()
    );
    assert_eq!(ines.send(&room, "ines", "true").await, 1);
}
