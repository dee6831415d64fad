//! Bad input of clients: the classic error to the requester only, the connection lives, nobody else notices.

use chat_client::request;
use chat_tests::TestNode;
use serde_json::json;

#[tokio::test]
async fn every_bad_request_is_answered_and_the_next_good_one_too() {
    let node = TestNode::start().await;
    let (mut ines, mut otto) = (node.client().await, node.client().await);
    let room = ines.create("hall").await;
    ines.join(&room, "ines").await;
    otto.join(&room, "otto").await;
    assert_eq!(ines.next().await["type"], "member_joined");

    let send = |content: &str| json!({"type": "send_message", "data": {"room_id": room, "username": "otto", "content": content}});
    let cases: Vec<(String, &str, &str)> = vec![
        ("".into(), "error", ""),
        ("no json".into(), "error", ""),
        ("[1]".into(), "error", ""),
        (format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)), "error", ""),
        (r#"{"type":"dance"}"#.into(), "error", ""),
        (r#"{"type":["join_room"]}"#.into(), "error", ""),
        (r#"{"type":"join_room","data":null}"#.into(), "error", ""),
        (
            r#"{"type":"join_room","data":{"room_id":7,"username":"x"}}"#.into(),
            "join_room_error",
            "INVALID_REQUEST",
        ),
        (r#"{"type":"join_room"}"#.into(), "join_room_error", "INVALID_REQUEST"),
        (
            request::join_room(&room, "a\u{1}"),
            "join_room_error",
            "INVALID_REQUEST",
        ),
        (request::join_room(&room, "vera"), "join_room_error", "INVALID_REQUEST"),
        (
            request::join_room("nowhere", "otto"),
            "join_room_error",
            "ROOM_NOT_FOUND",
        ),
        (send("").to_string(), "message_error", "INVALID_CONTENT"),
        (send(&"x".repeat(5_001)).to_string(), "message_error", "INVALID_CONTENT"),
        (send("a\u{0}b").to_string(), "message_error", "INVALID_CONTENT"),
        (
            send("lone").to_string().replace("lone", "\\ud800"),
            "message_error",
            "INVALID_CONTENT",
        ),
        (
            request::send_message(&room, "ines", "not me"),
            "message_error",
            "NOT_MEMBER",
        ),
        (
            request::send_message("nowhere", "otto", "hi"),
            "message_error",
            "NOT_MEMBER",
        ),
        (r#"{"type":"create_room","data":[]}"#.into(), "room_created", ""),
        (r#"{"type":"leave_room","data":{}}"#.into(), "error", ""),
    ];
    for (text, kind, code) in cases {
        let shown = &text[..text.len().min(80)];
        let answer = otto.ask(&text).await;
        assert_eq!(answer["type"], kind, "{shown} → {answer}");
        assert_eq!(
            answer["data"]["error_code"].as_str().unwrap_or_default(),
            code,
            "{shown} → {answer}"
        );
    }
    // Content of exactly the longest length is no bad input.
    assert_eq!(otto.send(&room, "otto", &"ä".repeat(5_000)).await, 1);
    assert_eq!(ines.next().await["data"]["username"], "otto");
}

#[tokio::test]
async fn a_message_that_is_too_big_closes_only_its_own_connection() {
    let node = TestNode::start().await;
    let (mut ines, mut otto) = (node.client().await, node.client().await);
    otto.0.queue_text("x".repeat((1 << 20) + 1)).expect("taken");
    // The node may close while the rest is still being written.
    drop(otto.0.flush().await);
    assert_eq!(otto.close_code().await, Some(1009));
    assert_eq!(ines.ask(&request::list_rooms()).await["type"], "rooms_list");
}

#[tokio::test]
async fn the_largest_message_is_read() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    let head = r#"{"type":"list_rooms","pad":""#;
    let text = format!("{head}{}\"}}", "x".repeat((1 << 20) - head.len() - 2));
    assert_eq!(text.len(), 1 << 20);
    assert_eq!(client.ask(&text).await["type"], "rooms_list");
}

#[tokio::test]
async fn line_ends_are_the_same_for_everybody() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    let room = client.create("hall").await;
    client.join(&room, "ines").await;
    let shown = client.ask(&request::send_message(&room, "ines", "a\r\nb\rc\nd")).await;
    assert_eq!(shown["data"]["content"], "a\nb\nc\nd");
}
