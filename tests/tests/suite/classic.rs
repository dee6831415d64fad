//! The classic dialect on one node: every answer, every event, in order, to the right connections.

use chat_client::request;
use chat_tests::{Client, TestNode};
use serde_json::{Value, json};

/// Replaces what differs from run to run, so that whole frames can be compared.
fn plain(mut frame: Value) -> Value {
    for key in ["room_id", "message_id", "timestamp", "created_at"] {
        if let Some(value) = frame["data"].get_mut(key)
            && value.as_str().is_some_and(|text| text.len() >= 32)
        {
            *value = format!("<{key}>").into();
        }
    }
    frame
}

async fn two_in_a_room(node: &TestNode) -> (Client, Client, String) {
    let (mut ines, mut otto) = (node.client().await, node.client().await);
    let room = ines.create("hall").await;
    ines.join(&room, "ines").await;
    otto.join(&room, "otto").await;
    assert_eq!(ines.next().await["type"], "member_joined");
    (ines, otto, room)
}

#[tokio::test]
async fn a_room_is_created_listed_and_its_name_is_taken() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    let created = client
        .ask(r#"{"type":"create_room","data":{"room_name":"hall","creator_id":"ines"}}"#)
        .await;
    assert_eq!(
        plain(created.clone()),
        json!({"type": "room_created", "data": {"room_id": "<room_id>", "room_name": "hall", "admin_node": "node1",
            "members": [], "created_at": "<created_at>"}})
    );
    assert_eq!(
        client
            .ask(r#"{"type":"create_room","data":{"room_name":"hall","creator_id":"otto"}}"#)
            .await,
        json!({"type": "room_created",
            "data": {"success": false, "message": "Room with name 'hall' already exists"}})
    );
    let room = json!({"room_id": created["data"]["room_id"], "room_name": "hall", "description": null,
        "member_count": 0, "admin_node": "node1", "creator_id": "ines"});
    assert_eq!(
        client.ask(r#"{"type":"list_rooms"}"#).await,
        json!({"type": "rooms_list", "data": {"rooms": [room], "total_count": 1}})
    );
    assert_eq!(
        client
            .ask(r#"{"type":"discover_rooms","data":{"scope":"global"}}"#)
            .await,
        json!({"type": "global_rooms_list", "data": {"rooms": [room], "total_count": 1, "nodes_queried": ["node1"],
            "nodes_available": ["node1"], "nodes_unavailable": []}})
    );
}

#[tokio::test]
async fn a_joiner_gets_the_room_then_its_history_then_what_is_said() {
    let node = TestNode::start().await;
    let mut ines = node.client().await;
    let room = ines.create("hall").await;
    assert_eq!(
        plain(ines.join(&room, "ines").await),
        json!({"type": "join_room_success", "data": {"room_id": "<room_id>", "room_name": "hall", "description": null,
            "members": ["ines"], "member_count": 1, "admin_node": "node1"}})
    );
    assert_eq!(ines.send(&room, "ines", "one").await, 1);
    assert_eq!(ines.send(&room, "ines", "two").await, 2);
    let mut otto = node.client().await;
    assert_eq!(
        otto.join(&room, "otto").await["data"]["members"],
        json!(["ines", "otto"])
    );
    for (number, content) in [(1, "one"), (2, "two")] {
        assert_eq!(
            plain(otto.next().await),
            json!({"type": "new_message", "data": {"message_id": "<message_id>", "room_id": "<room_id>",
                "username": "ines", "content": content, "sequence_number": number, "timestamp": "<timestamp>"}})
        );
    }
    assert_eq!(
        plain(ines.next().await),
        json!({"type": "member_joined", "data": {"room_id": "<room_id>", "username": "otto", "member_count": 2,
            "timestamp": "<timestamp>"}})
    );
    assert_eq!(ines.send(&room, "ines", "three").await, 3);
    assert_eq!(otto.next().await["data"]["content"], "three");
}

#[tokio::test]
async fn a_leaver_is_confirmed_and_the_others_are_told() {
    let node = TestNode::start().await;
    let (mut ines, mut otto, room) = two_in_a_room(&node).await;
    assert_eq!(
        otto.ask(&request::leave_room(&room, "otto")).await,
        json!({"type": "leave_room_success", "data": {"room_id": room, "username": "otto"}})
    );
    assert_eq!(
        plain(ines.next().await),
        json!({"type": "member_left", "data": {"room_id": "<room_id>", "username": "otto", "member_count": 1,
            "timestamp": "<timestamp>"}})
    );
    // Whoever has left is not spoken to, and may not speak.
    ines.send(&room, "ines", "alone").await;
    assert_eq!(
        otto.ask(&request::send_message(&room, "otto", "hi")).await["data"]["error_code"],
        "NOT_MEMBER"
    );
}

#[tokio::test]
async fn a_member_whose_connection_closes_is_gone() {
    let node = TestNode::start().await;
    let (mut ines, otto, _room) = two_in_a_room(&node).await;
    drop(otto);
    assert_eq!(
        plain(ines.next().await),
        json!({"type": "member_left", "data": {"room_id": "<room_id>", "username": "otto", "member_count": 1,
            "timestamp": "<timestamp>", "reason": "User disconnected"}})
    );
}

#[tokio::test]
async fn a_classic_client_that_joins_a_long_room_sees_numbers_from_one() {
    let node = TestNode::start().await;
    let mut ines = node.client().await;
    let room = ines.create("hall").await;
    ines.join(&room, "ines").await;
    for number in 1..=1_005 {
        assert_eq!(ines.send(&room, "ines", &format!("message {number}")).await, number);
    }
    let mut otto = node.client().await;
    otto.join(&room, "otto").await;
    for number in 1..=1_000 {
        let frame = otto.next().await;
        assert_eq!(frame["data"]["sequence_number"], number);
        assert_eq!(frame["data"]["content"], format!("message {}", number + 5));
    }
    assert_eq!(ines.next().await["type"], "member_joined");
    // The shift holds for what is said, for what is confirmed, and for a repeated join; nobody else has it.
    assert_eq!(otto.send(&room, "otto", "hi").await, 1_001);
    assert_eq!(ines.next().await["data"]["sequence_number"], 1_006);
    otto.join(&room, "otto").await;
    assert_eq!(otto.next().await["data"]["sequence_number"], 2);
}

#[tokio::test]
async fn joining_again_repeats_the_history_and_tells_nobody() {
    let node = TestNode::start().await;
    let (mut ines, mut otto, room) = two_in_a_room(&node).await;
    ines.send(&room, "ines", "one").await;
    assert_eq!(otto.next().await["data"]["content"], "one");
    otto.join(&room, "otto").await;
    assert_eq!(otto.next().await["data"]["content"], "one");
    // The next thing that the other member hears is the next message.
    otto.send(&room, "otto", "two").await;
    assert_eq!(ines.next().await["data"]["content"], "two");
}

#[tokio::test]
async fn requests_of_one_connection_are_answered_in_their_order() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    let room = client.create("hall").await;
    client.join(&room, "ines").await;
    for text in [
        request::send_message(&room, "ines", "one"),
        request::list_rooms(),
        request::leave_room(&room, "ines"),
        request::discover_rooms(),
        request::send_message(&room, "ines", "two"),
    ] {
        client.say(&text).await;
    }
    for expected in [
        "new_message",
        "message_sent",
        "rooms_list",
        "leave_room_success",
        "global_rooms_list",
        "message_error",
    ] {
        assert_eq!(client.next().await["type"], expected);
    }
}

#[tokio::test]
async fn any_path_upgrades_and_binary_frames_with_json_are_understood() {
    let node = TestNode::start().await;
    for path in ["/", "/ws", "/any/thing?x=1"] {
        let mut client = node.client_at(path).await;
        client
            .0
            .queue_binary(br#"{"type":"list_rooms"}"#.to_vec())
            .expect("taken");
        client.0.flush().await.expect("open");
        assert_eq!(client.next().await["type"], "rooms_list", "{path}");
    }
}

#[tokio::test]
async fn a_room_that_nobody_has_is_not_found() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    assert_eq!(
        client.ask(&request::join_room("no-such-room", "otto")).await,
        json!({"type": "join_room_error", "data": {"room_id": "no-such-room", "error": "Room not found",
            "error_code": "ROOM_NOT_FOUND"}})
    );
}

#[tokio::test]
async fn a_hello_that_is_not_the_first_frame_is_unknown() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create("hall").await;
    assert_eq!(
        client
            .ask(r#"{"type":"hello","data":{"protocol":2,"user":"ines"}}"#)
            .await,
        json!({"type": "error", "data": {"success": false, "message": "Unknown message type: hello"}})
    );
}
