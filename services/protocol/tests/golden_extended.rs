//! The frozen text of the extended dialect.
// A value that a test makes is valid, or the test is wrong.
#![allow(clippy::unwrap_used)]

use chat_protocol::client_frame::{ClientFrame, Hello, HistoryFrom, ListPage, Position, RequestId};
use chat_protocol::codec::{encode, encode_extended, hello, parse_extended};
use chat_protocol::deletion::{Phase, Progress};
use chat_protocol::ids::{ClientMsgId, Generation, MessageId, NodeId, RoomId, RoomName, Seq, UserName};
use chat_protocol::message_frame::{Message, MessageFrame};
use chat_protocol::reject::{Code, Reject};
use chat_protocol::server_frame::{
    ExtendedFrame, Extra, History, MemberEvent, ResyncReason, RoomInfo, ServerFrame, Welcome,
};
use chat_protocol::timestamp::Timestamp;
use chat_protocol::ws_frame;

const AT: Timestamp = Timestamp(1_933_308_428_123_456);

fn room() -> RoomId {
    RoomId::parse("r-1").unwrap()
}
fn ines() -> UserName {
    UserName::parse("ines").unwrap()
}
fn id(text: &str) -> ClientMsgId {
    ClientMsgId::parse(text).unwrap()
}

fn payload(frame: &[u8]) -> String {
    let frame = bytes::Bytes::copy_from_slice(frame);
    String::from_utf8(ws_frame::payload(&frame).to_vec()).unwrap()
}

fn text(re: Option<&RequestId>, frame: &ServerFrame, extra: &Extra) -> String {
    payload(&encode_extended(ExtendedFrame { re, frame, extra }))
}

fn plain(frame: &ServerFrame) -> String {
    text(None, frame, &Extra::None)
}

#[test]
fn greetings() {
    let said = |text: &str| hello(text).unwrap();
    assert_eq!(
        said(r#"{"type":"hello","data":{"protocol":2,"user":"ines","client":"bot 1","resume":"t","later":1}}"#),
        Ok(Hello {
            user: ines(),
            client: Some("bot 1".into()),
            resume: Some("t".into())
        })
    );
    for other in [
        r#"{"type":"list_rooms"}"#,
        r#"{"type":"join_room","data":{"room_id":"hello"}}"#,
        "hello",
        "\"hello\"",
    ] {
        assert_eq!(hello(other), None, "{other}");
    }
    let refusal = |text: &str| plain(&said(text).unwrap_err());
    for version in ["", r#""protocol":1"#, r#""protocol":"2""#] {
        assert_eq!(
            refusal(&format!(r#"{{"type":"hello","data":{{{version}}}}}"#)),
            r#"{"type":"error","data":{"success":false,"message":"This node speaks protocol 2","error_code":"UNSUPPORTED_PROTOCOL","supported":[2]}}"#
        );
    }
    assert_eq!(
        refusal(r#"{"type":"hello","data":{"protocol":2}}"#),
        r#"{"type":"error","data":{"success":false,"message":"user is empty","error_code":"INVALID_REQUEST"}}"#
    );
    assert_eq!(
        plain(&ServerFrame::Welcome(Welcome {
            session: "node1-7".into(),
            resume: "t".into(),
            resumed: false,
            node: NodeId::parse("node1").unwrap(),
            ping_seconds: 20
        })),
        r#"{"type":"welcome","data":{"protocol":2,"session":"node1-7","resume":"t","resumed":false,"node":"node1","addresses":[],"limits":{"content_chars":5000,"frame_bytes":1048576,"requests":16,"history":500},"ping_seconds":20}}"#
    );
}

#[test]
fn requests() {
    let parse = |text: &str| parse_extended(text, &ines());
    let cases = [
        (
            r#"{"type":"join_room","id":7,"data":{"room_id":"r-1","from":{"gen":1,"seq":5},"history":0}}"#,
            Some(RequestId::Number(7)),
            ClientFrame::JoinRoom {
                room_id: room(),
                username: ines(),
                from: Some(Position {
                    generation: Generation(1),
                    seq: Seq(5),
                }),
                history: Some(0),
            },
        ),
        (
            r#"{"type":"send_message","id":"a","data":{"room_id":"r-1","content":"hi","client_msg_id":"c 1"}}"#,
            Some(RequestId::Text("a".into())),
            ClientFrame::SendMessage {
                room_id: room(),
                username: ines(),
                content: "hi".into(),
                client_msg_id: Some(id("c 1")),
                trace: None,
            },
        ),
        (
            r#"{"type":"send_message","data":{"room_id":"r-1","content":"hi",
                "traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}"#,
            None,
            ClientFrame::SendMessage {
                room_id: room(),
                username: ines(),
                content: "hi".into(),
                client_msg_id: None,
                trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().ok(),
            },
        ),
        (
            r#"{"type":"send_message","data":{"room_id":"r-1","content":"hi","traceparent":"00-0af7"}}"#,
            None,
            ClientFrame::SendMessage {
                room_id: room(),
                username: ines(),
                content: "hi".into(),
                client_msg_id: None,
                trace: None,
            },
        ),
        (
            r#"{"type":"read_history","data":{"room_id":"r-1","after_seq":0}}"#,
            None,
            ClientFrame::ReadHistory {
                room_id: room(),
                from: HistoryFrom::After(Seq(0)),
                limit: 500,
            },
        ),
        (
            r#"{"type":"read_history","data":{"room_id":"r-1","before_seq":9,"limit":2}}"#,
            None,
            ClientFrame::ReadHistory {
                room_id: room(),
                from: HistoryFrom::Before(Seq(9)),
                limit: 2,
            },
        ),
        (
            r#"{"type":"discover_rooms","data":{"after":"r-0","limit":5000,"name":"ha"}}"#,
            None,
            ClientFrame::DiscoverRooms(Some(ListPage {
                after: Some("r-0".into()),
                limit: Some(1_000),
                name: Some("ha".into()),
            })),
        ),
        (
            r#"{"type":"create_room","data":{"room_name":"hall","request_id":"q"}}"#,
            None,
            ClientFrame::CreateRoom {
                room_name: RoomName::parse("hall").unwrap(),
                creator_id: ines(),
                description: None,
                request_id: Some(id("q")),
            },
        ),
        (
            r#"{"type":"leave_room","data":{"room_id":"r-1","username":"ines"}}"#,
            None,
            ClientFrame::LeaveRoom {
                room_id: room(),
                username: ines(),
            },
        ),
    ];
    for (request, re, frame) in cases {
        let parsed = parse(request);
        assert_eq!((parsed.id, parsed.frame), (re, Ok(frame)), "{request}");
    }
}

#[test]
fn bad_requests_are_answered_exactly() {
    let error = |message: &str| {
        format!(r#"{{"type":"error","data":{{"success":false,"message":"{message}","error_code":"INVALID_REQUEST"}}}}"#)
    };
    let about_r1 = |message: &str| {
        format!(
            r#"{{"type":"error","data":{{"success":false,"message":"{message}","room_id":"r-1","error_code":"INVALID_REQUEST"}}}}"#
        )
    };
    let other_user = "This session speaks for another user";
    let cases = [
        ("nonsense", error("Invalid JSON format")),
        ("[]", error("A request must be a JSON object")),
        (r#"{"type":"dance"}"#, error("Unknown message type: dance")),
        (r#"{"type":"hello","data":{"protocol":2}}"#, error("hello was said already")),
        (r#"{"type":"list_rooms","id":[1]}"#, error("id must be an integer or a text of at most 64 characters")),
        (r#"{"type":"list_rooms","id":1.5}"#, error("id must be an integer or a text of at most 64 characters")),
        (r#"{"type":"list_rooms","data":7}"#, error("data must be an object")),
        (r#"{"type":"list_rooms","data":{"limit":0}}"#, error("limit must be 1 to 1000")),
        (
            r#"{"type":"join_room","data":{"room_id":"r-1","username":"otto"}}"#,
            format!(r#"{{"type":"join_room_error","data":{{"room_id":"r-1","error":"{other_user}","error_code":"INVALID_REQUEST"}}}}"#),
        ),
        (
            r#"{"type":"join_room","data":{"room_id":"r-1","from":{"gen":1}}}"#,
            r#"{"type":"join_room_error","data":{"room_id":"r-1","error":"from must be an object with the numbers gen and seq","error_code":"INVALID_REQUEST"}}"#.into(),
        ),
        (
            r#"{"type":"join_room","data":{"room_id":"r-1","history":1001}}"#,
            r#"{"type":"join_room_error","data":{"room_id":"r-1","error":"history must be at most 1000","error_code":"INVALID_REQUEST"}}"#.into(),
        ),
        (
            r#"{"type":"create_room","data":{"room_name":"x","creator_id":"otto"}}"#,
            format!(r#"{{"type":"room_created","data":{{"success":false,"message":"{other_user}"}}}}"#),
        ),
        (
            r#"{"type":"delete_room","data":{"room_id":"r-1","username":"otto"}}"#,
            format!(r#"{{"type":"delete_room_failed","data":{{"room_id":"r-1","reason":"{other_user}","error_code":"INVALID_REQUEST"}}}}"#),
        ),
        (
            r#"{"type":"send_message","data":{"room_id":"r-1","content":"x","client_msg_id":""}}"#,
            r#"{"type":"message_error","data":{"room_id":"r-1","error":"client_msg_id is empty","error_code":"INVALID_REQUEST"}}"#.into(),
        ),
        (
            r#"{"type":"send_message","data":{"room_id":"r-1","content":"x","client_msg_id":7}}"#,
            r#"{"type":"message_error","data":{"room_id":"r-1","error":"client_msg_id must be a string","error_code":"INVALID_REQUEST"}}"#.into(),
        ),
        (
            r#"{"type":"read_history","data":{"room_id":"r-1"}}"#,
            about_r1("after_seq or before_seq must be given, one of the two"),
        ),
        (
            r#"{"type":"read_history","data":{"room_id":"r-1","after_seq":-1}}"#,
            about_r1("after_seq must be a number that is not negative"),
        ),
        (
            r#"{"type":"read_history","data":{"room_id":"r-1","after_seq":1,"limit":501}}"#,
            about_r1("limit must be 1 to 500"),
        ),
    ];
    for (request, expected) in cases {
        let refusal = parse_extended(request, &ines()).frame.unwrap_err();
        assert_eq!(plain(&refusal), expected, "{request}");
    }
}

#[test]
fn answers_say_which_request_they_answer_and_more_than_classic_ones() {
    let re = RequestId::Text("q\"1".into());
    let join = ServerFrame::JoinRoomSuccess(RoomInfo {
        room_id: room(),
        room_name: RoomName::parse("hall").unwrap(),
        description: None,
        members: vec![ines()],
        admin_node: NodeId::parse("node1").unwrap(),
    });
    let extra = Extra::Joined {
        generation: Generation(1),
        first: Seq(4),
        head: Seq(5),
        member_version: 9,
        resumed: true,
    };
    assert_eq!(
        text(Some(&re), &join, &extra),
        r#"{"type":"join_room_success","re":"q\"1","data":{"room_id":"r-1","room_name":"hall","description":null,"members":["ines"],"member_count":1,"admin_node":"node1","gen":1,"first_seq":4,"head_seq":5,"member_version":9,"resumed":true}}"#
    );
    let sent = ServerFrame::MessageSent {
        room_id: room(),
        message_id: MessageId::parse("m-1").unwrap(),
        seq: Seq(17),
        timestamp: AT,
    };
    let extra = Extra::Sent {
        client_msg_id: Some(id("c")),
        generation: Generation(1),
        duplicate: true,
    };
    assert_eq!(
        text(Some(&RequestId::Number(-3)), &sent, &extra),
        r#"{"type":"message_sent","re":-3,"data":{"room_id":"r-1","message_id":"m-1","sequence_number":17,"timestamp":"2031-04-07T06:07:08.123456+00:00","client_msg_id":"c","gen":1,"duplicate":true}}"#
    );
    let refused = |reject| ServerFrame::MessageError {
        room_id: "r-1".into(),
        reject,
    };
    let extra = |unknown, retry_after_ms| Extra::SendRefused {
        client_msg_id: Some(id("c")),
        unknown,
        retry_after_ms,
    };
    assert_eq!(
        text(None, &refused(Reject::AdminUnavailable), &extra(true, Some(1_000))),
        r#"{"type":"message_error","data":{"room_id":"r-1","error":"Administrator node unavailable","error_code":"ADMIN_NODE_UNAVAILABLE","client_msg_id":"c","outcome":"unknown","retry_after_ms":1000}}"#
    );
    assert_eq!(
        text(None, &refused(Reject::IdConflict), &extra(false, None)),
        r#"{"type":"message_error","data":{"room_id":"r-1","error":"This client_msg_id was used for another content","error_code":"CLIENT_MSG_ID_CONFLICT","client_msg_id":"c","outcome":"definite"}}"#
    );
    let came = ServerFrame::Member(MemberEvent {
        room_id: room(),
        username: ines(),
        member_count: 1,
        timestamp: AT,
        left: None,
        version: 9,
    });
    assert_eq!(
        text(None, &came, &Extra::Member { version: 9 }),
        r#"{"type":"member_joined","data":{"room_id":"r-1","username":"ines","member_count":1,"timestamp":"2031-04-07T06:07:08.123456+00:00","member_version":9}}"#
    );
    let list = ServerFrame::RoomsList {
        rooms: Vec::new(),
        total: 0,
    };
    assert_eq!(
        text(None, &list, &Extra::Next("17".into())),
        r#"{"type":"rooms_list","data":{"rooms":[],"total_count":0,"next":"17"}}"#
    );
    // The same frames without what classic sessions must not see are those of the classic dialect.
    for frame in [join, sent, came, list, refused(Reject::NotMember)] {
        assert_eq!(plain(&frame), payload(&encode(&frame)));
    }
}

#[test]
fn what_is_pushed() {
    let resync = ServerFrame::Resync {
        room_id: room(),
        generation: Generation(2),
        from: Seq(1),
        reason: ResyncReason::Generation,
    };
    assert_eq!(
        plain(&resync),
        r#"{"type":"resync_required","data":{"room_id":"r-1","gen":2,"from_seq":1,"reason":"generation"}}"#
    );
    assert_eq!(ResyncReason::Ahead.text(), "ahead");
    assert_eq!(ResyncReason::Trimmed.text(), "trimmed");
    let trouble = |degraded| {
        plain(&ServerFrame::Trouble {
            room_id: room(),
            degraded,
        })
    };
    assert_eq!(
        trouble(true),
        r#"{"type":"degraded","data":{"room_id":"r-1","reason":"admin node unavailable"}}"#
    );
    assert_eq!(
        trouble(false),
        r#"{"type":"recovered","data":{"room_id":"r-1","reason":"admin node is back"}}"#
    );
    assert_eq!(
        plain(&ServerFrame::Reconnect { after_ms: 70 }),
        r#"{"type":"reconnect","data":{"after_ms":70,"reason":"node is restarting"}}"#
    );
    let progress = ServerFrame::DeleteRoomProgress {
        room_id: room(),
        progress: Progress {
            phase: Phase::Preparing,
            ready: vec![NodeId::parse("node2").unwrap()],
            waiting_for: vec![NodeId::parse("node3").unwrap(), NodeId::parse("node4").unwrap()],
        },
    };
    assert_eq!(
        text(Some(&RequestId::Number(7)), &progress, &Extra::None),
        r#"{"type":"delete_room_progress","re":7,"data":{"room_id":"r-1","phase":"preparing","ready":["node2"],"waiting_for":["node3","node4"]}}"#
    );
    assert_eq!(Phase::Committing.text(), "committing");
    assert_eq!(Phase::RollingBack.text(), "rolling_back");
    assert_eq!(
        plain(&ServerFrame::Refused {
            code: Code::TooManyRequests,
            message: "Too many requests are under way".into()
        }),
        r#"{"type":"error","data":{"success":false,"message":"Too many requests are under way","error_code":"TOO_MANY_REQUESTS"}}"#
    );
    let message = MessageFrame::encode(&Message {
        message_id: MessageId::parse("m-1").unwrap(),
        room_id: room(),
        username: ines(),
        content: "hi".into(),
        seq: Seq(3),
        timestamp: AT,
    });
    let history = ServerFrame::History(History {
        room_id: room(),
        generation: Generation(1),
        messages: vec![message.clone(), message],
        head: Seq(9),
        more: true,
        stale: false,
    });
    let data = r#"{"message_id":"m-1","room_id":"r-1","username":"ines","content":"hi","sequence_number":3,"timestamp":"2031-04-07T06:07:08.123456+00:00"}"#;
    assert_eq!(
        plain(&history),
        format!(
            r#"{{"type":"history","data":{{"room_id":"r-1","gen":1,"messages":[{data},{data}],"head_seq":9,"more":true,"stale":false}}}}"#
        )
    );
}
