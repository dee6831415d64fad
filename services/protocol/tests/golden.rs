//! The frozen text of the client wire. A change here is a change for every client there is.
// A value that a test makes is valid, or the test is wrong.
#![allow(clippy::unwrap_used)]

use chat_protocol::client_frame::ClientFrame;
use chat_protocol::codec::{encode, parse};
use chat_protocol::deletion::Phase;
use chat_protocol::ids::{MessageId, NodeId, RoomId, RoomName, Seq, TransactionId, UserName};
use chat_protocol::message_frame::{Message, MessageFrame};
use chat_protocol::reject::{Code, Reject};
use chat_protocol::server_frame::{LeaveReason, MemberEvent, RoomInfo, RoomSummary, ServerFrame};
use chat_protocol::timestamp::Timestamp;
use chat_protocol::ws_frame;

fn room() -> RoomId {
    RoomId::parse("r-1").unwrap()
}
fn name(text: &str) -> UserName {
    UserName::parse(text).unwrap()
}
fn node(text: &str) -> NodeId {
    NodeId::parse(text).unwrap()
}
const AT: Timestamp = Timestamp(1_933_308_428_123_456);

fn text(frame: &ServerFrame) -> String {
    String::from_utf8(ws_frame::payload(&encode(frame)).to_vec()).unwrap()
}

fn summary(address: Option<&str>) -> RoomSummary {
    RoomSummary {
        room_id: room(),
        room_name: RoomName::parse("hall").unwrap(),
        description: address.map(|_| "by the \"sea\"".into()),
        member_count: 2,
        admin_node: node("node1"),
        creator_id: name("ines"),
        node_address: address.map(Into::into),
    }
}

#[test]
fn lists() {
    assert_eq!(
        text(&ServerFrame::RoomsList {
            rooms: vec![summary(None)],
            total: 1
        }),
        r#"{"type":"rooms_list","data":{"rooms":[{"room_id":"r-1","room_name":"hall","description":null,"member_count":2,"admin_node":"node1","creator_id":"ines"}],"total_count":1}}"#
    );
    let global = ServerFrame::GlobalRoomsList {
        rooms: vec![summary(Some("http://node1:9090"))],
        total: 7,
        available: vec![node("node2"), node("node1")],
        unavailable: vec![node("node3")],
    };
    assert_eq!(
        text(&global),
        r#"{"type":"global_rooms_list","data":{"rooms":[{"room_id":"r-1","room_name":"hall","description":"by the \"sea\"","member_count":2,"admin_node":"node1","creator_id":"ines","node_address":"http://node1:9090"}],"total_count":7,"truncated":true,"nodes_queried":["node2","node1","node3"],"nodes_available":["node2","node1"],"nodes_unavailable":["node3"]}}"#
    );
}

#[test]
fn rooms() {
    let created = ServerFrame::RoomCreated {
        room_id: room(),
        room_name: RoomName::parse("hall").unwrap(),
        admin_node: node("node1"),
        created_at: AT,
    };
    assert_eq!(
        text(&created),
        r#"{"type":"room_created","data":{"room_id":"r-1","room_name":"hall","admin_node":"node1","members":[],"created_at":"2031-04-07T06:07:08.123456+00:00"}}"#
    );
    assert_eq!(
        text(&ServerFrame::RoomNotCreated(
            "Room with name 'hall' already exists".into()
        )),
        r#"{"type":"room_created","data":{"success":false,"message":"Room with name 'hall' already exists"}}"#
    );
    let info = RoomInfo {
        room_id: room(),
        room_name: RoomName::parse("hall").unwrap(),
        description: None,
        members: vec![name("ines"), name("öttö")],
        admin_node: node("node1"),
    };
    assert_eq!(
        text(&ServerFrame::JoinRoomSuccess(info)),
        r#"{"type":"join_room_success","data":{"room_id":"r-1","room_name":"hall","description":null,"members":["ines","öttö"],"member_count":2,"admin_node":"node1"}}"#
    );
    assert_eq!(
        text(&ServerFrame::LeaveRoomSuccess {
            room_id: "r-1".into(),
            username: "ines".into()
        }),
        r#"{"type":"leave_room_success","data":{"room_id":"r-1","username":"ines"}}"#
    );
    assert_eq!(
        text(&ServerFrame::DeleteRoomFailed {
            room_id: "r-1".into(),
            reject: Reject::Internal("no".into()),
            transaction: None
        }),
        r#"{"type":"delete_room_failed","data":{"room_id":"r-1","reason":"no","error_code":"INTERNAL_ERROR"}}"#
    );
}

#[test]
fn deletions() {
    let transaction = || TransactionId::parse("t-1").unwrap();
    let initiated = |transaction| ServerFrame::DeleteRoomInitiated {
        room_id: room(),
        initiator: name("ines"),
        transaction,
    };
    assert_eq!(
        text(&initiated(Some(transaction()))),
        r#"{"type":"delete_room_initiated","data":{"room_id":"r-1","transaction_id":"t-1","initiator":"ines","status":"in_progress"}}"#
    );
    assert_eq!(
        text(&initiated(None)),
        r#"{"type":"delete_room_initiated","data":{"room_id":"r-1","initiator":"ines","status":"in_progress"}}"#
    );
    assert_eq!(
        text(&ServerFrame::DeleteRoomSuccess {
            room_id: room(),
            transaction: transaction()
        }),
        r#"{"type":"delete_room_success","data":{"room_id":"r-1","transaction_id":"t-1","message":"Room deleted successfully"}}"#
    );
    let deleted = |transaction| ServerFrame::RoomDeleted {
        room_id: room(),
        room_name: RoomName::parse("hall").unwrap(),
        transaction,
    };
    assert_eq!(
        text(&deleted(None)),
        r#"{"type":"room_deleted","data":{"room_id":"r-1","room_name":"hall","message":"Room 'hall' has been deleted"}}"#
    );
    assert_eq!(
        text(&deleted(Some(transaction()))),
        r#"{"type":"room_deleted","data":{"room_id":"r-1","room_name":"hall","transaction_id":"t-1"}}"#
    );
    assert_eq!(
        text(&ServerFrame::DeleteRoomCancelled {
            room_id: room(),
            transaction: transaction()
        }),
        r#"{"type":"delete_room_cancelled","data":{"room_id":"r-1","transaction_id":"t-1"}}"#
    );
    for (reject, known, tail) in [
        (
            Reject::MissingIds,
            None,
            r#""reason":"Missing room_id or username","error_code":"INVALID_REQUEST""#,
        ),
        (
            Reject::RoomNotFound,
            None,
            r#""reason":"Room not found","error_code":"ROOM_NOT_FOUND""#,
        ),
        (
            Reject::Unauthorized,
            None,
            r#""reason":"Only the room creator can delete the room","error_code":"UNAUTHORIZED""#,
        ),
        (
            Reject::deleted_already(Phase::Preparing),
            None,
            r#""reason":"Room is in DELETION_PENDING state, cannot delete","error_code":"INVALID_STATE""#,
        ),
        (
            Reject::deleted_already(Phase::Committing),
            None,
            r#""reason":"Room is in COMMITTING state, cannot delete","error_code":"INVALID_STATE""#,
        ),
        (
            Reject::deleted_already(Phase::RollingBack),
            None,
            r#""reason":"Room is in ROLLING_BACK state, cannot delete","error_code":"INVALID_STATE""#,
        ),
        (
            Reject::DeletionNotStarted,
            None,
            r#""reason":"Failed to start deletion transaction","error_code":"INTERNAL_ERROR""#,
        ),
        (
            Reject::DeletionFailed("Node node3 timed out".into()),
            Some(transaction()),
            r#""reason":"Node node3 timed out","error_code":"DELETION_FAILED","transaction_id":"t-1""#,
        ),
    ] {
        let failed = ServerFrame::DeleteRoomFailed {
            room_id: "r-1".into(),
            reject,
            transaction: known,
        };
        assert_eq!(
            text(&failed),
            format!(r#"{{"type":"delete_room_failed","data":{{"room_id":"r-1",{tail}}}}}"#)
        );
    }
    let waited = ServerFrame::MessageError {
        room_id: "r-1".into(),
        reject: Reject::being_deleted(),
    };
    assert_eq!(
        text(&waited),
        r#"{"type":"message_error","data":{"room_id":"r-1","error":"Room is being deleted, try again","error_code":"INVALID_STATE"}}"#
    );
}

#[test]
fn messages_and_members() {
    let sent = ServerFrame::MessageSent {
        room_id: room(),
        message_id: MessageId::parse("m-1").unwrap(),
        seq: Seq(17),
        timestamp: AT,
    };
    assert_eq!(
        text(&sent),
        r#"{"type":"message_sent","data":{"room_id":"r-1","message_id":"m-1","sequence_number":17,"timestamp":"2031-04-07T06:07:08.123456+00:00"}}"#
    );
    let event = |left| {
        ServerFrame::Member(MemberEvent {
            room_id: room(),
            username: name("otto"),
            member_count: 1,
            timestamp: AT,
            left,
            version: 9,
        })
    };
    let common = r#""room_id":"r-1","username":"otto","member_count":1,"timestamp":"2031-04-07T06:07:08.123456+00:00""#;
    assert_eq!(
        text(&event(None)),
        format!(r#"{{"type":"member_joined","data":{{{common}}}}}"#)
    );
    assert_eq!(
        text(&event(Some(LeaveReason::Left))),
        format!(r#"{{"type":"member_left","data":{{{common}}}}}"#)
    );
    for (reason, shown) in [
        (LeaveReason::Disconnected, "User disconnected"),
        (LeaveReason::NodeUnreachable, "Node unreachable"),
        (LeaveReason::Inactivity, "Inactivity"),
    ] {
        assert_eq!(
            text(&event(Some(reason))),
            format!(r#"{{"type":"member_left","data":{{{common},"reason":"{shown}"}}}}"#)
        );
    }
}

#[test]
fn refusals_have_their_codes_and_texts() {
    for (reject, code, shown) in [
        (Reject::MissingIds, "INVALID_REQUEST", "Missing room_id or username"),
        (
            Reject::EmptyContent,
            "INVALID_CONTENT",
            "Message content cannot be empty",
        ),
        (
            Reject::ContentTooLong,
            "INVALID_CONTENT",
            "Message content too long (max 5000 characters)",
        ),
        (Reject::NotMember, "NOT_MEMBER", "You are not a member of this room"),
        (Reject::NotAdded, "INTERNAL_ERROR", "Failed to add message"),
        (Reject::RoomNotFound, "ROOM_NOT_FOUND", "Room not found"),
        (
            Reject::AdminUnavailable,
            "ADMIN_NODE_UNAVAILABLE",
            "Administrator node unavailable",
        ),
        (
            Reject::AdminFailed("timeout".into()),
            "ADMIN_NODE_UNAVAILABLE",
            "Failed to contact administrator node: timeout",
        ),
    ] {
        let data = format!(r#"{{"room_id":"r-1","error":"{shown}","error_code":"{code}"}}"#);
        assert_eq!(
            text(&ServerFrame::JoinRoomError {
                room_id: "r-1".into(),
                reject: reject.clone()
            }),
            format!(r#"{{"type":"join_room_error","data":{data}}}"#)
        );
        assert_eq!(
            text(&ServerFrame::MessageError {
                room_id: "r-1".into(),
                reject
            }),
            format!(r#"{{"type":"message_error","data":{data}}}"#)
        );
    }
}

#[test]
fn a_message_and_its_shifted_copies() {
    let message = Message {
        message_id: MessageId::parse("m-1").unwrap(),
        room_id: room(),
        username: name("ines"),
        content: "say \"sequence_number\":5, \\ tab\t line\n end".into(),
        seq: Seq(1_001),
        timestamp: AT,
    };
    let frame = MessageFrame::encode(&message);
    let expected = |number: u64| {
        format!(
            r#"{{"type":"new_message","data":{{"message_id":"m-1","room_id":"r-1","username":"ines","content":"say \"sequence_number\":5, \\ tab\t line\n end","sequence_number":{number},"timestamp":"2031-04-07T06:07:08.123456+00:00"}}}}"#
        )
    };
    assert_eq!(frame.payload(), expected(1_001));
    for shift in [0, 1, 1_000] {
        assert_eq!(
            frame.bytes(shift),
            ws_frame::text(&[expected(1_001 - shift).as_bytes()])
        );
    }
    assert_eq!(MessageFrame::from_payload(frame.payload()), Ok(frame));
}

#[test]
fn requests() {
    let ids = r#""room_id":"r-1","username":"ines""#;
    let cases = [
        (r#"{"type":"list_rooms"}"#.to_owned(), ClientFrame::ListRooms(None)),
        (
            r#"{"type":"discover_rooms","data":{"scope":"global"},"id":7}"#.to_owned(),
            ClientFrame::DiscoverRooms(None),
        ),
        (
            r#"{"type":"create_room","data":{"room_name":"hall","creator_id":"ines","description":"a\r\nb"}}"#
                .to_owned(),
            ClientFrame::CreateRoom {
                room_name: RoomName::parse("hall").unwrap(),
                creator_id: name("ines"),
                description: Some("a\nb".into()),
                request_id: None,
            },
        ),
        (
            format!(r#"{{"type":"join_room","data":{{{ids}}}}}"#),
            ClientFrame::JoinRoom {
                room_id: room(),
                username: name("ines"),
                from: None,
                history: None,
            },
        ),
        (
            format!(r#"{{"type":"leave_room","data":{{{ids}}}}}"#),
            ClientFrame::LeaveRoom {
                room_id: room(),
                username: name("ines"),
            },
        ),
        (
            format!(r#"{{"type":"send_message","data":{{{ids},"content":" "}}}}"#),
            ClientFrame::SendMessage {
                room_id: room(),
                username: name("ines"),
                content: " ".into(),
                client_msg_id: None,
                trace: None,
            },
        ),
        (
            // The classic dialect has no traces: a field of that name is one that nobody knows.
            format!(
                r#"{{"type":"send_message","data":{{{ids},"content":"hi",
                    "traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}}}"#
            ),
            ClientFrame::SendMessage {
                room_id: room(),
                username: name("ines"),
                content: "hi".into(),
                client_msg_id: None,
                trace: None,
            },
        ),
        (
            format!(r#"{{"type":"delete_room","data":{{{ids}}}}}"#),
            ClientFrame::DeleteRoom {
                room_id: room(),
                username: name("ines"),
            },
        ),
    ];
    for (request, frame) in cases {
        assert_eq!(parse(&request), Ok(frame), "{request}");
    }
}

#[test]
fn bad_requests_are_answered_exactly() {
    let error = |message: &str| format!(r#"{{"type":"error","data":{{"success":false,"message":"{message}"}}}}"#);
    let join = |error: &str, code: &str| {
        format!(r#"{{"type":"join_room_error","data":{{"room_id":"","error":"{error}","error_code":"{code}"}}}}"#)
    };
    let send = |error: &str, code: &str| {
        format!(r#"{{"type":"message_error","data":{{"room_id":"r-1","error":"{error}","error_code":"{code}"}}}}"#)
    };
    let not_created = |m: &str| format!(r#"{{"type":"room_created","data":{{"success":false,"message":"{m}"}}}}"#);
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let ids = r#""room_id":"r-1","username":"ines""#;
    let mut cases = vec![
        (String::new(), error("Invalid JSON format")),
        ("nope".into(), error("Invalid JSON format")),
        (deep, error("Invalid JSON format")),
        ("[]".into(), error("A request must be a JSON object")),
        ("7".into(), error("A request must be a JSON object")),
        ("{}".into(), error("Unknown message type: None")),
        (r#"{"type":"dance"}"#.into(), error("Unknown message type: dance")),
        (
            r#"{"type":"JOIN_ROOM"}"#.into(),
            error("Unknown message type: JOIN_ROOM"),
        ),
        (
            r#"{"type":"send_message","data":null}"#.into(),
            error("data must be an object"),
        ),
        (
            r#"{"type":"leave_room","data":{}}"#.into(),
            error("Missing room_id or username"),
        ),
        (
            r#"{"type":"join_room"}"#.into(),
            join("Missing room_id or username", "INVALID_REQUEST"),
        ),
        (
            r#"{"type":"join_room","data":{"room_id":[1],"username":"x"}}"#.into(),
            join("room_id must be a string", "INVALID_REQUEST"),
        ),
        (
            r#"{"type":"create_room","data":null}"#.into(),
            not_created("Internal server error"),
        ),
        (
            r#"{"type":"create_room","data":{"room_name":"x","creator_id":7}}"#.into(),
            not_created("creator_id must be a string"),
        ),
        (
            r#"{"type":"create_room","data":{"room_name":"\ud800","creator_id":"x"}}"#.into(),
            not_created("room_name contains forbidden characters"),
        ),
        (
            format!(r#"{{"type":"send_message","data":{{{ids},"content":7}}}}"#),
            send("Message content must be a string", "INVALID_CONTENT"),
        ),
        (
            format!(
                r#"{{"type":"send_message","data":{{{ids},"content":"{}"}}}}"#,
                "é".repeat(5_001)
            ),
            send("Message content too long (max 5000 characters)", "INVALID_CONTENT"),
        ),
        (
            format!(r#"{{"type":"send_message","data":{{{ids},"content":"\udc00\\ud800"}}}}"#),
            send("Message content contains forbidden characters", "INVALID_CONTENT"),
        ),
        (
            format!(r#"{{"type":"send_message","data":{{{ids},"content":"\u0007"}}}}"#),
            send("Message content contains forbidden characters", "INVALID_CONTENT"),
        ),
    ];
    for missing in ["null", "\"\"", "0", "false", "[]", "{}"] {
        cases.push((
            format!(r#"{{"type":"send_message","data":{{{ids},"content":{missing}}}}}"#),
            send("Message content cannot be empty", "INVALID_CONTENT"),
        ));
        cases.push((
            format!(r#"{{"type":"create_room","data":{{"room_name":{missing},"creator_id":"x"}}}}"#),
            not_created("Missing room_name or creator_id"),
        ));
    }
    for (request, expected) in cases {
        let answer = parse(&request).expect_err("a bad request is refused");
        assert_eq!(text(&answer), expected, "{}", &request[..request.len().min(200)]);
    }
}

/// Each is what a program looks for, and a label of a metric.
#[test]
fn the_codes_of_refusals_are_these() {
    assert_eq!(
        Code::ALL.map(Code::text),
        [
            "INVALID_REQUEST",
            "INVALID_CONTENT",
            "NOT_MEMBER",
            "CLIENT_MSG_ID_CONFLICT",
            "ROOM_NOT_FOUND",
            "ADMIN_NODE_UNAVAILABLE",
            "UNAUTHORIZED",
            "INVALID_STATE",
            "DELETION_FAILED",
            "INTERNAL_ERROR",
            "UNSUPPORTED_PROTOCOL",
            "TOO_MANY_REQUESTS",
        ]
    );
}
