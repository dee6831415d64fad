//! Bad input of clients: the classic error to the requester only, the connection lives, nobody else notices.

use chat_client::request;
use chat_tests::TestNode;
use chat_tests::extended::Extended;
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

/// What nobody counts, nobody is woken by.
#[tokio::test]
async fn every_refusal_counts_under_the_code_that_the_client_was_told() {
    let node = TestNode::start().await;
    let mut odd = node.client().await;
    let refused = odd.ask(r#"{"type":"hello","data":{"protocol":9,"user":"x"}}"#).await;
    assert_eq!(refused["data"]["error_code"], "UNSUPPORTED_PROTOCOL", "{refused}");
    let mut ines = Extended::new(&node, "ines").await;
    let made = ines.ask("create_room", json!({"room_name": "hall"})).await;
    let room = made["data"]["room_id"].as_str().expect("a room").to_owned();
    for (kind, data, code) in [
        ("dance", json!({}), "INVALID_REQUEST"),
        ("join_room", json!({"room_id": "nowhere"}), "ROOM_NOT_FOUND"),
        ("read_history", json!({"room_id": room, "after_seq": 0}), "NOT_MEMBER"),
        (
            "send_message",
            json!({"room_id": room, "content": ""}),
            "INVALID_CONTENT",
        ),
    ] {
        let refused = ines.ask(kind, data).await;
        assert_eq!(refused["data"]["error_code"], code, "{refused}");
    }
    ines.join(&room, None).await;
    ines.send(&room, "hi", "c-1").await;
    let refused = ines.send(&room, "ho", "c-1").await;
    assert_eq!(refused["data"]["error_code"], "CLIENT_MSG_ID_CONFLICT", "{refused}");
    let mut otto = Extended::new(&node, "otto").await;
    let refused = otto.ask("delete_room", json!({"room_id": room})).await;
    assert_eq!(refused["data"]["error_code"], "UNAUTHORIZED", "{refused}");
    let metrics = node.metrics().await;
    let counted = metrics.lines().filter_map(|line| {
        line.strip_prefix("chat_requests_refused_total{code=\"")?
            .strip_suffix("\"} 1")
    });
    let mut counted: Vec<_> = counted.collect();
    counted.sort_unstable();
    assert_eq!(
        counted,
        [
            "CLIENT_MSG_ID_CONFLICT",
            "INVALID_CONTENT",
            "INVALID_REQUEST",
            "NOT_MEMBER",
            "ROOM_NOT_FOUND",
            "UNAUTHORIZED",
            "UNSUPPORTED_PROTOCOL",
        ],
        "{metrics}"
    );
}
