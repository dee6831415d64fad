//! The frozen text of the wire between nodes, and what its reader refuses.
// A value that a test makes is valid, or the test is wrong.
#![allow(clippy::unwrap_used)]

mod deletion;

use chat_protocol::deletion::{Fate, Phase, Progress, Vote};
use chat_protocol::ids::{
    ClientMsgId, Epoch, Generation, Incarnation, MessageId, NodeId, RoomId, RoomName, SeatKey, Seq, SessionId,
    TransactionId, UserName,
};
use chat_protocol::limits::MAX_ITEM_TRACES;
use chat_protocol::message_frame::{Message, MessageFrame};
use chat_protocol::peer_call::{self, Capabilities, Exchange, Heartbeat, Place, Range, method};
use chat_protocol::peer_fault::{PeerFault, is_no_such_method};
use chat_protocol::peer_item::{AnnouncedSeat, DeletionItem, PeerBody, PeerItem};
use chat_protocol::peer_xml::{
    RemoteFault, XmlError, XmlLimits, read_call, read_response, write_call, write_fault, write_response,
};
use chat_protocol::reject::Reject;
use chat_protocol::server_frame::{LeaveReason, MemberEvent, RoomInfo, RoomSummary};
use chat_protocol::timestamp::Timestamp;
use chat_protocol::trace_context::TraceContext;
use dxr::{MethodCall, MethodResponse, Value};

const AT: Timestamp = Timestamp(1_933_308_428_123_456);

fn room() -> RoomId {
    RoomId::parse("r-1").unwrap()
}
fn user(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}
fn node(id: &str) -> NodeId {
    NodeId::parse(id).unwrap()
}

fn frame(seq: u64, content: &str) -> MessageFrame {
    MessageFrame::encode(&Message {
        message_id: MessageId::parse("m-1").unwrap(),
        room_id: room(),
        username: user("otto"),
        content: content.into(),
        seq: Seq(seq),
        timestamp: AT,
    })
}

fn fields(body: PeerBody) -> String {
    let item = PeerItem::new(room(), body);
    let value = item.to_value();
    assert_eq!(PeerItem::from_value(&value), Ok(item), "an item survives");
    let Value::Struct(mut members) = value else {
        panic!("an item is a struct")
    };
    assert_eq!(members.remove("room"), Some(Value::String("r-1".into())));
    match members.remove("fields") {
        Some(Value::String(fields)) => fields,
        other => panic!("{other:?}"),
    }
}

#[test]
fn items() {
    let (generation, epoch, head) = (Generation(1), Epoch(7), Seq(42));
    let session = SessionId(9);
    assert_eq!(
        fields(PeerBody::Join {
            request: 3,
            session,
            user: user("otto"),
            key: None
        }),
        r#"{"kind":"join","request":3,"session":9,"user":"otto"}"#
    );
    let key = SeatKey::parse("00ff").unwrap();
    assert_eq!(
        fields(PeerBody::Join {
            request: 3,
            session,
            user: user("otto"),
            key: Some(key.clone())
        }),
        r#"{"kind":"join","request":3,"session":9,"user":"otto","key":"00ff"}"#
    );
    assert_eq!(
        fields(PeerBody::Leave {
            session,
            user: user("otto"),
            closed: true
        }),
        r#"{"kind":"leave","session":9,"user":"otto","closed":true}"#
    );
    let client_msg_id = ClientMsgId::parse("c-1").unwrap();
    assert_eq!(
        fields(PeerBody::Forward {
            request: 3,
            session,
            user: user("otto"),
            content: "a\n<b>".into(),
            client_msg_id
        }),
        r#"{"kind":"forward","request":3,"session":9,"user":"otto","content":"a\n<b>","id":"c-1"}"#
    );
    assert_eq!(
        fields(PeerBody::Seats(vec![
            AnnouncedSeat {
                session,
                user: user("otto"),
                key: Some(key)
            },
            AnnouncedSeat {
                session: SessionId(10),
                user: user("ines"),
                key: None
            }
        ])),
        r#"{"kind":"seats","seats":[[9,"otto","00ff"],[10,"ines",null]]}"#
    );
    assert_eq!(fields(PeerBody::Unseat { session }), r#"{"kind":"unseat","session":9}"#);
    let info = RoomInfo {
        room_id: room(),
        room_name: RoomName::parse("hall").unwrap(),
        description: None,
        members: vec![user("ines")],
        admin_node: node("node1"),
    };
    assert_eq!(
        fields(PeerBody::Joined {
            request: 3,
            info,
            generation,
            epoch,
            head,
            floor: Seq(2),
            version: 8,
            resumed: true
        }),
        r#"{"kind":"joined","request":3,"info":{"name":"hall","description":null,"members":["ines"],"admin":"node1"},"generation":1,"epoch":7,"head":42,"floor":2,"version":8,"resumed":true}"#
    );
    assert_eq!(
        fields(PeerBody::JoinRefused {
            request: 3,
            reject: Reject::RoomNotFound
        }),
        r#"{"kind":"join_refused","request":3,"code":"ROOM_NOT_FOUND","text":"Room not found"}"#
    );
    let message_id = MessageId::parse("m-1").unwrap();
    assert_eq!(
        fields(PeerBody::Sent {
            request: 3,
            message_id,
            seq: head,
            timestamp: AT,
            duplicate: true
        }),
        r#"{"kind":"sent","request":3,"id":"m-1","seq":42,"time":1933308428123456,"duplicate":true}"#
    );
    assert_eq!(
        fields(PeerBody::SendRefused {
            request: 3,
            reject: Reject::NotMember,
            unknown: false
        }),
        r#"{"kind":"send_refused","request":3,"code":"NOT_MEMBER","text":"You are not a member of this room","unknown":false}"#
    );
    assert_eq!(
        fields(PeerBody::Deliver {
            generation,
            epoch,
            frames: vec![frame(41, "x\ny"), frame(42, "z")]
        }),
        r#"{"kind":"deliver","generation":1,"epoch":7}"#
    );
    let event = |left| {
        PeerBody::Member(MemberEvent {
            room_id: room(),
            username: user("otto"),
            member_count: 1,
            timestamp: AT,
            left,
            version: 8,
        })
    };
    assert_eq!(
        fields(event(None)),
        r#"{"kind":"member","user":"otto","count":1,"time":1933308428123456,"came":true,"reason":null,"version":8}"#
    );
    assert_eq!(
        fields(event(Some(LeaveReason::NodeUnreachable))),
        r#"{"kind":"member","user":"otto","count":1,"time":1933308428123456,"came":false,"reason":"Node unreachable","version":8}"#
    );
    assert_eq!(
        fields(PeerBody::Head {
            generation,
            epoch,
            head
        }),
        r#"{"kind":"head","generation":1,"epoch":7,"head":42}"#
    );
    let question = 1_933_308_428_123_456;
    assert_eq!(
        fields(PeerBody::Inquiry {
            question,
            user: user("otto")
        }),
        r#"{"kind":"inquiry","question":1933308428123456,"user":"otto"}"#
    );
    assert_eq!(
        fields(PeerBody::Holds { question, holds: true }),
        r#"{"kind":"holds","question":1933308428123456,"holds":true}"#
    );
}

/// A release that does not know traces looks for the members that it knows, as [`PeerItem::from_value`] does for its own.
#[test]
fn the_traces_of_an_item_are_a_member_of_their_own_that_may_be_missing_or_mean_nothing() {
    let context: TraceContext = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        .parse()
        .unwrap();
    let mut delivery = PeerItem::new(
        room(),
        PeerBody::Deliver {
            generation: Generation(1),
            epoch: Epoch(7),
            frames: vec![frame(41, "a"), frame(42, "b")],
        },
    );
    let Value::Struct(plain) = delivery.to_value() else {
        panic!("an item is a struct")
    };
    delivery.traces = vec![(Seq(41), context), (Seq(42), context)];
    let Value::Struct(mut members) = delivery.to_value() else {
        panic!("an item is a struct")
    };
    assert_eq!(
        PeerItem::from_value(&Value::Struct(members.clone())),
        Ok(delivery.clone())
    );
    let traces = members.remove("traces");
    assert_eq!(
        traces,
        Some(Value::String(format!("41:{context},42:{context}"))),
        "traces as they are written"
    );
    assert_eq!(members, plain, "nothing else is different");
    for odd in [
        "",
        ",",
        "41",
        "41:",
        "x:00",
        &format!("41:{context}x"),
        &format!("-1:{context}"),
    ] {
        members.insert("traces".into(), Value::String(odd.into()));
        let item = PeerItem::from_value(&Value::Struct(members.clone())).expect("the messages count");
        assert_eq!((item.traces.len(), &item.body), (0, &delivery.body), "{odd}");
    }
    members.insert("traces".into(), Value::Integer(1));
    assert!(PeerItem::from_value(&Value::Struct(members.clone())).is_ok());
    let many = vec![format!("1:{context}"); 10_000].join(",");
    members.insert("traces".into(), Value::String(many));
    let item = PeerItem::from_value(&Value::Struct(members)).unwrap();
    assert_eq!(item.traces.len(), MAX_ITEM_TRACES);
    let mut seats = PeerItem::new(room(), PeerBody::Seats(Vec::new()));
    seats.traces = vec![(Seq(0), context)];
    assert_eq!(
        PeerItem::from_value(&seats.to_value()).unwrap().traces,
        [],
        "only messages have traces"
    );
}

#[test]
fn an_item_with_traces_takes_no_more_bytes_than_it_says() {
    let context = TraceContext {
        trace_id: [0xff; 16],
        span_id: [0xff; 8],
        sampled: true,
    };
    let mut item = PeerItem::new(
        room(),
        PeerBody::Deliver {
            generation: Generation(1),
            epoch: Epoch(7),
            frames: Vec::new(),
        },
    );
    for count in [0, 1, 2, MAX_ITEM_TRACES, MAX_ITEM_TRACES + 1] {
        item.traces = vec![(Seq(u64::MAX), context); count];
        let written = write_call("", &[item.to_value()]).len();
        assert!(
            written <= item.size() + 200,
            "{count} traces: {written} > {}",
            item.size()
        );
        let without = PeerItem {
            traces: Vec::new(),
            ..item.clone()
        };
        let grown = written - write_call("", &[without.to_value()]).len();
        assert!(grown <= item.size() - without.size(), "{count} traces take {grown}");
    }
}

#[test]
fn an_item_of_a_later_release_is_left_out_but_counted() {
    let mut value = PeerItem::new(room(), PeerBody::Seats(Vec::new())).to_value();
    if let Value::Struct(members) = &mut value {
        members.insert("fields".into(), Value::String(r#"{"kind":"dance"}"#.into()));
    }
    let text = |text: &str| Value::String(text.into());
    let params = [
        text("node2"),
        text("20"),
        text("10"),
        text("5"),
        Value::Array(vec![value]),
    ];
    let exchange = Exchange::from_params(&params).unwrap();
    assert_eq!(exchange.items, [None]);
    assert_eq!(
        (
            exchange.sender_incarnation,
            exchange.receiver_incarnation,
            exchange.first_index
        ),
        (Incarnation(20), Incarnation(10), 5)
    );
    assert_eq!(Exchange::from_params(&params[..4]), Err(PeerFault::InvalidParams));
}

#[test]
fn calls_and_answers_as_text() {
    assert_eq!(
        write_call(method::LOCATE, &[Value::String("<r&1>".into())]),
        r#"<?xml version="1.0"?><methodCall><methodName>chat.locate</methodName><params><param><value><string>&lt;r&amp;1&gt;</string></value></param></params></methodCall>"#
    );
    let heartbeat = Heartbeat {
        node_id: node("node1"),
        incarnation: Some(Incarnation(1_933_308_428_123)),
        timestamp: AT,
    };
    assert_eq!(
        write_response(&heartbeat.to_value()),
        r#"<?xml version="1.0"?><methodResponse><params><param><value><struct><member><name>incarnation</name><value><string>1933308428123</string></value></member><member><name>node_id</name><value><string>node1</string></value></member><member><name>status</name><value><string>ok</string></value></member><member><name>timestamp</name><value><string>2031-04-07T06:07:08.123456+00:00</string></value></member></struct></value></param></params></methodResponse>"#
    );
    assert_eq!(Heartbeat::from_value(&heartbeat.to_value()), Ok(heartbeat));
    let capabilities = Capabilities {
        node_id: node("node1"),
        incarnation: Incarnation(7),
        versions: vec![1],
    };
    assert_eq!(Capabilities::from_value(&capabilities.to_value()), Ok(capabilities));
    let range = Range {
        frames: vec![frame(1, "a"), frame(2, "b")],
        floor: None,
    };
    assert_eq!(Range::of(Seq(1), range.frames.clone()), range);
    assert_eq!(Range::from_value(&range.to_value()), Ok(range));
    let trimmed = Range::of(Seq(4), vec![frame(7, "c")]);
    assert_eq!(trimmed.floor, Some(Seq(7)));
    assert_eq!(
        write_response(&trimmed.to_value()),
        r#"<?xml version="1.0"?><methodResponse><params><param><value><struct><member><name>floor</name><value><string>7</string></value></member><member><name>frames</name><value><string>{"type":"new_message","data":{"message_id":"m-1","room_id":"r-1","username":"otto","content":"c","sequence_number":7,"timestamp":"2031-04-07T06:07:08.123456+00:00"}}</string></value></member></struct></value></param></params></methodResponse>"#
    );
    assert_eq!(Range::from_value(&trimmed.to_value()), Ok(trimmed));
    let none = Range::of(Seq(4), Vec::new());
    assert_eq!(Range::from_value(&none.to_value()), Ok(none));
    assert_eq!(
        peer_call::range_from_params(&peer_call::range_params(&room(), Seq(5), 9)),
        Ok((room(), Seq(5), 9))
    );
    assert_eq!(
        write_fault(1, "a<b"),
        r#"<?xml version="1.0"?><methodResponse><fault><value><struct><member><name>faultCode</name><value><int>1</int></value></member><member><name>faultString</name><value><string>a&lt;b</string></value></member></struct></value></fault></methodResponse>"#
    );
}

#[test]
fn a_list_of_rooms_has_the_seven_members_of_the_original() {
    let room = RoomSummary {
        room_id: room(),
        room_name: RoomName::parse("hall").unwrap(),
        description: None,
        member_count: 2,
        admin_node: node("node1"),
        creator_id: user("ines"),
        node_address: Some("http://node1:9090".into()),
    };
    let value = peer_call::hosted_rooms(&[room.clone(), room.clone()], 1 << 20);
    assert_eq!(
        peer_call::read_hosted_rooms(&value),
        Ok(vec![room.clone(), room.clone()])
    );
    let Value::Array(entries) = &value else {
        panic!("a list")
    };
    let Value::Struct(members) = &entries[0] else {
        panic!("a struct")
    };
    let names: Vec<_> = members.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "admin_node",
            "creator_id",
            "description",
            "member_count",
            "node_address",
            "room_id",
            "room_name"
        ]
    );
    assert_eq!(members["member_count"], Value::Integer(2));
    assert_eq!(members["description"], Value::Nil);
    assert_eq!(
        peer_call::hosted_rooms(&[room.clone(), room], 700),
        Value::Array(vec![entries[0].clone()])
    );
}

#[test]
fn what_an_original_node_writes_is_read() {
    let call = "<?xml version='1.0'?>\n<methodCall>\n<methodName>forward_message</methodName>\n<params>\n<param>\n\
        <value><string>ahoy &amp; hello &#228;</string></value>\n</param>\n<param>\n<value><int>-5</int></value>\n</param>\n\
        <param>\n<value>untyped</value>\n</param>\n<param><value><nil/></value></param>\n\
        <param><value><boolean>1</boolean></value></param></params>\n</methodCall>\n";
    let call = read_call(call.as_bytes(), XmlLimits::REQUEST).unwrap();
    assert_eq!(call.method, "forward_message");
    assert_eq!(
        call.params,
        [
            Value::String("ahoy & hello ä".into()),
            Value::Integer(-5),
            Value::String("untyped".into()),
            Value::Nil,
            Value::Boolean(true)
        ]
    );
    for body in [
        "<methodCall><methodName>heartbeat</methodName></methodCall>",
        "<methodCall><methodName>heartbeat</methodName><params/></methodCall>",
    ] {
        assert_eq!(read_call(body.as_bytes(), XmlLimits::REQUEST).unwrap().params, []);
    }
    let fault = r#"<?xml version='1.0'?>
<methodResponse><fault><value><struct>
<member><name>faultCode</name><value><int>1</int></value></member>
<member><name>faultString</name><value><string>&lt;class 'Exception'&gt;:method "dance" is not supported</string></value></member>
</struct></value></fault></methodResponse>"#;
    let fault = read_response(fault.as_bytes(), XmlLimits::RESPONSE)
        .unwrap()
        .unwrap_err();
    assert!(is_no_such_method(&fault));
    assert!(is_no_such_method(&RemoteFault {
        code: PeerFault::NoSuchMethod.code(),
        text: String::new()
    }));
    assert!(!is_no_such_method(&RemoteFault {
        code: 1,
        text: "other".into()
    }));
}

#[test]
fn dxr_reads_what_we_write_and_we_read_what_dxr_writes() {
    let params = vec![
        Value::String("a & <b> \"c\" ä".into()),
        Value::Integer(7),
        Value::Array(vec![Value::Boolean(true), Value::Nil]),
    ];
    let written = write_call("m", &params);
    let theirs = MethodCall::from_xml(&written).unwrap();
    assert_eq!((theirs.name.as_ref(), &theirs.params), ("m", &params));
    let ours = read_call(theirs.to_xml().unwrap().as_bytes(), XmlLimits::REQUEST).unwrap();
    assert_eq!(ours.params, params);
    let answer = write_response(&params[2]);
    assert_eq!(MethodResponse::from_xml(&answer).unwrap().value, params[2]);
}

#[test]
fn hostile_documents_are_refused_before_they_cost_anything() {
    let wrap = |inner: &str| {
        format!(
            "<methodCall><methodName>m</methodName><params><param><value>{inner}</value></param></params></methodCall>"
        )
    };
    let deep = wrap(&format!(
        "{}{}",
        "<array><data><value>".repeat(10_000),
        "</value></data></array>".repeat(10_000)
    ));
    let many = wrap(&format!("<array><data>{}</data></array>", "<value/>".repeat(100_000)));
    let cases: Vec<(String, XmlError)> = vec![
        (String::new(), XmlError::NotXml),
        ("<methodCall>".into(), XmlError::NotXml),
        ("<methodCall></wrong>".into(), XmlError::NotXml),
        ("<html></html>".into(), XmlError::NotRpc),
        ("<methodResponse></methodResponse>".into(), XmlError::NotRpc),
        (format!("{}x", wrap("a")), XmlError::NotRpc),
        (format!("{}<a/>", wrap("a")), XmlError::NotRpc),
        (
            format!("<!DOCTYPE a [<!ENTITY b \"c\">]>{}", wrap("&b;")),
            XmlError::NotAllowed,
        ),
        (wrap("&b;"), XmlError::NotAllowed),
        (wrap("&#0;"), XmlError::NotXml),
        (wrap("&#xD800;"), XmlError::NotXml),
        (format!("<?php evil ?>{}", wrap("a")), XmlError::NotAllowed),
        (wrap("<int>seven</int>"), XmlError::BadValue),
        (wrap("<boolean>yes</boolean>"), XmlError::BadValue),
        (wrap("<dance/>"), XmlError::NotRpc),
        (deep, XmlError::TooDeep),
        (many, XmlError::TooMany),
        (wrap(&"x".repeat(1 << 20)), XmlError::TooLarge),
    ];
    for (document, expected) in cases {
        let shown = &document[..document.len().min(120)];
        assert_eq!(
            read_call(document.as_bytes(), XmlLimits::REQUEST),
            Err(expected),
            "{shown}"
        );
    }
    assert_eq!(read_call(b"\xff\xfe", XmlLimits::REQUEST), Err(XmlError::NotUtf8));
}
