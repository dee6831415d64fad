//! The frozen text of the calls that nodes of the original system make and answer, and how what they write is read.
// A value that a test makes is valid, or the test is wrong.
#![allow(clippy::unwrap_used)]

use chat_protocol::ids::{MessageId, NodeId, RoomId, RoomName, Seq, UserName};
use chat_protocol::message_frame::{Message, MessageFrame};
use chat_protocol::original_call::{
    self, Asked, DisconnectAnswer, Disconnected, ForwardAnswer, Forwarded, JoinAnswer, LeaveAnswer, method,
};
use chat_protocol::peer_call;
use chat_protocol::peer_fault::PeerFault;
use chat_protocol::peer_xml::{XmlLimits, read_call, read_response, write_call, write_response};
use chat_protocol::reject::Reject;
use chat_protocol::server_frame::{LeaveReason, MemberEvent, RoomInfo};
use chat_protocol::timestamp::Timestamp;
use dxr::Value;

const AT: Timestamp = Timestamp(1_933_308_428_123_456);

fn room() -> RoomId {
    RoomId::parse("r-1").unwrap()
}

fn user(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

fn message(seq: u64, content: &str) -> Message {
    Message {
        message_id: MessageId::parse("m-1").unwrap(),
        room_id: room(),
        username: user("otto"),
        content: content.into(),
        seq: Seq(seq),
        timestamp: AT,
    }
}

fn asked() -> Asked {
    Asked {
        room_id: "r-1".into(),
        username: "otto".into(),
        node_id: "node1".into(),
    }
}

fn info(members: &[&str]) -> RoomInfo {
    RoomInfo {
        room_id: room(),
        room_name: RoomName::parse("R & D <x>").unwrap(),
        description: None,
        members: members.iter().map(|name| user(name)).collect(),
        admin_node: NodeId::parse("node1").unwrap(),
    }
}

fn call(method: &str, params: &[Value]) -> String {
    let text = write_call(method, params);
    let read = read_call(text.as_bytes(), XmlLimits::REQUEST).unwrap();
    assert_eq!((read.method.as_str(), read.params.as_slice()), (method, params));
    text.strip_prefix(r#"<?xml version="1.0"?><methodCall><methodName>"#)
        .and_then(|text| text.strip_suffix("</params></methodCall>"))
        .unwrap()
        .replace("<param><value>", "(")
        .replace("</value></param>", ")")
}

fn answer(value: &Value) -> String {
    let text = write_response(value);
    assert_eq!(
        read_response(text.as_bytes(), XmlLimits::RESPONSE).unwrap().as_ref(),
        Ok(value)
    );
    text.strip_prefix(r#"<?xml version="1.0"?><methodResponse><params><param><value>"#)
        .and_then(|text| text.strip_suffix("</value></param></params></methodResponse>"))
        .unwrap()
        .to_owned()
}

#[test]
fn a_join_and_its_answers() {
    assert_eq!(
        call(method::JOIN_ROOM, &asked().to_params()),
        "join_room</methodName><params>(<string>r-1</string>)(<string>otto</string>)(<string>node1</string>)"
    );
    assert_eq!(Asked::from_params(&asked().to_params()), Ok(asked()));
    let joined = JoinAnswer::Joined {
        again: false,
        info: info(&["ines", "otto"]),
        messages: vec![message(501, "a<b")],
    };
    assert_eq!(
        answer(&joined.to_value(500)),
        "<struct><member><name>message</name><value><string>Successfully joined room</string></value></member>\
         <member><name>messages</name><value><array><data><value><struct>\
         <member><name>content</name><value><string>a&lt;b</string></value></member>\
         <member><name>message_id</name><value><string>m-1</string></value></member>\
         <member><name>room_id</name><value><string>r-1</string></value></member>\
         <member><name>sequence_number</name><value><int>1</int></value></member>\
         <member><name>timestamp</name><value><string>2031-04-07T06:07:08.123456+00:00</string></value></member>\
         <member><name>username</name><value><string>otto</string></value></member>\
         </struct></value></data></array></value></member>\
         <member><name>room_info</name><value><struct>\
         <member><name>admin_node</name><value><string>node1</string></value></member>\
         <member><name>description</name><value><nil/></value></member>\
         <member><name>member_count</name><value><int>2</int></value></member>\
         <member><name>members</name><value><array><data><value><string>ines</string></value><value><string>otto</string></value></data></array></value></member>\
         <member><name>room_id</name><value><string>r-1</string></value></member>\
         <member><name>room_name</name><value><string>R &amp; D &lt;x&gt;</string></value></member>\
         </struct></value></member>\
         <member><name>success</name><value><boolean>1</boolean></value></member></struct>"
    );
    assert_eq!(JoinAnswer::from_value(&joined.to_value(0), &room()), Ok(joined));
    let again = JoinAnswer::Joined {
        again: true,
        info: info(&["otto"]),
        messages: Vec::new(),
    };
    let text = answer(&again.to_value(0));
    assert!(
        text.contains("<name>message</name><value><string>Already in room, re-registered</string></value>")
            && text.contains("<name>messages</name><value><array><data></data></array></value>"),
        "{text}"
    );
    assert_eq!(JoinAnswer::from_value(&again.to_value(0), &room()), Ok(again));
    let refused = JoinAnswer::Refused(Reject::RoomNotFound);
    assert_eq!(
        answer(&refused.to_value(0)),
        "<struct><member><name>error_code</name><value><string>ROOM_NOT_FOUND</string></value></member>\
         <member><name>message</name><value><string>Room not found</string></value></member>\
         <member><name>room_info</name><value><nil/></value></member>\
         <member><name>success</name><value><boolean>0</boolean></value></member></struct>"
    );
    assert_eq!(JoinAnswer::from_value(&refused.to_value(0), &room()), Ok(refused));
}

#[test]
fn a_leave_a_disconnect_and_their_answers() {
    assert_eq!(
        call(method::LEAVE_ROOM, &asked().to_params()),
        "leave_room</methodName><params>(<string>r-1</string>)(<string>otto</string>)(<string>node1</string>)"
    );
    let refused = |message: &str, code: &str| {
        format!(
            "<struct><member><name>error_code</name><value><string>{code}</string></value></member>\
             <member><name>message</name><value><string>{message}</string></value></member>\
             <member><name>success</name><value><boolean>0</boolean></value></member></struct>"
        )
    };
    let said = |message: &str, success: u8| {
        format!(
            "<struct><member><name>message</name><value><string>{message}</string></value></member>\
             <member><name>success</name><value><boolean>{success}</boolean></value></member></struct>"
        )
    };
    assert_eq!(answer(&LeaveAnswer::Left.to_value()), said("Successfully left room", 1));
    assert_eq!(
        answer(&LeaveAnswer::NotInRoom.to_value()),
        refused("Not in room", "NOT_IN_ROOM")
    );
    assert_eq!(
        answer(&LeaveAnswer::NoRoom.to_value()),
        refused("Room not found", "ROOM_NOT_FOUND")
    );

    let gone = Disconnected {
        asked: asked(),
        reason: LeaveReason::NodeUnreachable,
    };
    assert_eq!(
        call(method::NOTIFY_MEMBER_DISCONNECT, &gone.to_params()),
        "notify_member_disconnect</methodName><params>(<string>r-1</string>)(<string>otto</string>)\
         (<string>node1</string>)(<string>Node unreachable</string>)"
    );
    assert_eq!(Disconnected::from_params(&gone.to_params()), Ok(gone));
    // The reason may be missing, or one of somebody else's.
    let mut params = asked().to_params();
    let closed = Disconnected {
        asked: asked(),
        reason: LeaveReason::Disconnected,
    };
    assert_eq!(Disconnected::from_params(&params).as_ref(), Ok(&closed));
    params.push(Value::String("the cat did it".into()));
    assert_eq!(Disconnected::from_params(&params).as_ref(), Ok(&closed));
    params.push(Value::Nil);
    assert_eq!(Disconnected::from_params(&params), Err(PeerFault::InvalidParams));
    assert_eq!(
        answer(&DisconnectAnswer::Removed.to_value()),
        said("Member removed successfully", 1)
    );
    assert_eq!(
        answer(&DisconnectAnswer::NotInRoom.to_value()),
        said("User not in room", 1)
    );
    assert_eq!(answer(&DisconnectAnswer::NoRoom.to_value()), said("Room not found", 0));
}

#[test]
fn a_forwarded_message_and_its_answers() {
    let forwarded = Forwarded {
        asked: asked(),
        content: "ahoy & hello".into(),
    };
    assert_eq!(
        call(method::FORWARD_MESSAGE, &forwarded.to_params()),
        "forward_message</methodName><params>(<string>r-1</string>)(<string>otto</string>)\
         (<string>ahoy &amp; hello</string>)(<string>node1</string>)"
    );
    assert_eq!(Forwarded::from_params(&forwarded.to_params()).as_ref(), Ok(&forwarded));
    // No content is an empty one, a number is a mistake.
    let mut params = forwarded.to_params();
    params[2] = Value::Nil;
    assert_eq!(Forwarded::from_params(&params).map(|f| f.content), Ok(String::new()));
    params[2] = Value::Integer(5);
    assert_eq!(Forwarded::from_params(&params), Err(PeerFault::InvalidParams));
    let sent = ForwardAnswer::Sent {
        message_id: MessageId::parse("m-1").unwrap(),
        seq: Seq(517),
        timestamp: AT,
    };
    assert_eq!(
        answer(&sent.to_value(500)),
        "<struct><member><name>message_id</name><value><string>m-1</string></value></member>\
         <member><name>sequence_number</name><value><int>17</int></value></member>\
         <member><name>success</name><value><boolean>1</boolean></value></member>\
         <member><name>timestamp</name><value><string>2031-04-07T06:07:08.123456+00:00</string></value></member></struct>"
    );
    assert_eq!(ForwardAnswer::from_value(&sent.to_value(0)), Ok(sent));
    for (reject, code, text) in [
        (Reject::NotMember, "NOT_MEMBER", "You are not a member of this room"),
        (Reject::RoomNotFound, "ROOM_NOT_FOUND", "Room not found"),
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
        (Reject::NotAdded, "INTERNAL_ERROR", "Failed to add message"),
    ] {
        let refused = ForwardAnswer::Refused(reject);
        assert_eq!(
            answer(&refused.to_value(0)),
            format!(
                "<struct><member><name>error</name><value><string>{text}</string></value></member>\
                 <member><name>error_code</name><value><string>{code}</string></value></member>\
                 <member><name>success</name><value><boolean>0</boolean></value></member></struct>"
            )
        );
        let Ok(ForwardAnswer::Refused(read)) = ForwardAnswer::from_value(&refused.to_value(0)) else {
            panic!("a refusal")
        };
        assert_eq!((read.code(), read.text().as_str()), (code, text));
    }
}

#[test]
fn broadcasts() {
    let said = message(501, "a<&>\"'é😀");
    assert_eq!(
        call(
            method::RECEIVE_MESSAGE_BROADCAST,
            &original_call::message_params(&said, 500)
        ),
        "receive_message_broadcast</methodName><params>(<string>r-1</string>)(<struct>\
         <member><name>content</name><value><string>a&lt;&amp;&gt;\"'é😀</string></value></member>\
         <member><name>message_id</name><value><string>m-1</string></value></member>\
         <member><name>room_id</name><value><string>r-1</string></value></member>\
         <member><name>sequence_number</name><value><int>1</int></value></member>\
         <member><name>timestamp</name><value><string>2031-04-07T06:07:08.123456+00:00</string></value></member>\
         <member><name>username</name><value><string>otto</string></value></member></struct>)"
    );
    assert_eq!(
        original_call::message_from_params(&original_call::message_params(&said, 0)).as_ref(),
        Ok(&said)
    );
    assert_eq!(MessageFrame::encode(&said).message(), Ok(said));
    let event = |left| MemberEvent {
        room_id: room(),
        username: user("otto"),
        member_count: 2,
        timestamp: AT,
        left,
        version: 0,
    };
    let data = "<member><name>member_count</name><value><int>2</int></value></member>";
    let rest = "<member><name>room_id</name><value><string>r-1</string></value></member>\
         <member><name>timestamp</name><value><string>2031-04-07T06:07:08.123456+00:00</string></value></member>\
         <member><name>username</name><value><string>otto</string></value></member></struct>)";
    let expected = |kind: &str, reason: &str| {
        format!(
            "receive_member_event_broadcast</methodName><params>(<string>r-1</string>)(<string>{kind}</string>)(<struct>\
             {data}{reason}{rest}"
        )
    };
    let reason = "<member><name>reason</name><value><string>Inactivity</string></value></member>";
    for (left, text) in [
        (None, expected("member_joined", "")),
        (Some(LeaveReason::Left), expected("member_left", "")),
        (Some(LeaveReason::Inactivity), expected("member_left", reason)),
    ] {
        let params = original_call::event_params(&event(left));
        assert_eq!(call(method::RECEIVE_MEMBER_EVENT_BROADCAST, &params), text);
        assert_eq!(original_call::event_from_params(&params), Ok(Some(event(left))));
    }
    // Original nodes push events of any type.
    let mut params = original_call::event_params(&event(None));
    params[1] = Value::String("made_up_event".into());
    assert_eq!(original_call::event_from_params(&params), Ok(None));
}

/// A call and an answer as a node of the original writes them: with line ends, another order, other quotes.
#[test]
fn what_an_original_node_writes_is_understood() {
    let pushed = "<?xml version='1.0'?>\n<methodCall>\n<methodName>receive_message_broadcast</methodName>\n<params>\n\
        <param>\n<value><string>r-1</string></value>\n</param>\n<param>\n<value><struct>\n\
        <member>\n<name>message_id</name>\n<value><string>m-1</string></value>\n</member>\n\
        <member>\n<name>room_id</name>\n<value><string>r-1</string></value>\n</member>\n\
        <member>\n<name>username</name>\n<value><string>otto</string></value>\n</member>\n\
        <member>\n<name>content</name>\n<value><string>a&lt;&amp;&gt;\"'é😀</string></value>\n</member>\n\
        <member>\n<name>sequence_number</name>\n<value><int>1</int></value>\n</member>\n\
        <member>\n<name>timestamp</name>\n<value><string>2031-04-07T06:07:08.123456+00:00</string></value>\n</member>\n\
        </struct></value>\n</param>\n</params>\n</methodCall>\n";
    let pushed = read_call(pushed.as_bytes(), XmlLimits::REQUEST).unwrap();
    assert_eq!(
        original_call::message_from_params(&pushed.params),
        Ok(message(1, "a<&>\"'é😀"))
    );
    let joined = "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value><struct>\n\
        <member>\n<name>success</name>\n<value><boolean>1</boolean></value>\n</member>\n\
        <member>\n<name>message</name>\n<value><string>Successfully joined room</string></value>\n</member>\n\
        <member>\n<name>room_info</name>\n<value><struct>\n\
        <member>\n<name>room_id</name>\n<value><string>r-1</string></value>\n</member>\n\
        <member>\n<name>room_name</name>\n<value><string>R &amp; D &lt;x&gt;</string></value>\n</member>\n\
        <member>\n<name>description</name>\n<value><nil/></value></member>\n\
        <member>\n<name>members</name>\n<value><array><data>\n<value><string>otto</string></value>\n\
        <value><string>ines</string></value>\n</data></array></value>\n</member>\n\
        <member>\n<name>member_count</name>\n<value><int>2</int></value>\n</member>\n\
        <member>\n<name>admin_node</name>\n<value><string>node1</string></value>\n</member>\n\
        </struct></value>\n</member>\n\
        <member>\n<name>messages</name>\n<value><array><data>\n</data></array></value>\n</member>\n\
        </struct></value>\n</param>\n</params>\n</methodResponse>\n";
    let joined = read_response(joined.as_bytes(), XmlLimits::RESPONSE).unwrap().unwrap();
    assert_eq!(
        JoinAnswer::from_value(&joined, &room()),
        Ok(JoinAnswer::Joined {
            again: false,
            info: info(&["ines", "otto"]),
            messages: Vec::new()
        })
    );
}

#[test]
fn an_odd_name_costs_no_message_and_hides_no_room() {
    let long = "x".repeat(1_000);
    let text = |text: &str| Value::String(text.into());
    let members = |pairs: &[(&str, Value)]| {
        Value::Struct(
            pairs
                .iter()
                .map(|(name, value)| ((*name).into(), value.clone()))
                .collect(),
        )
    };
    let odd = members(&[
        ("username", text(&long)),
        ("content", Value::Integer(5)),
        ("sequence_number", Value::Integer(3)),
        ("extra", Value::Nil),
    ]);
    let read = original_call::read_message(&odd, &room()).unwrap();
    assert_eq!(
        (
            read.message_id.as_str(),
            read.username.as_str().len(),
            &*read.content,
            read.seq
        ),
        ("?3", 128, "5", Seq(3))
    );
    for place in [Value::Integer(0), Value::Integer(-1), text("3"), Value::Nil] {
        let lost = members(&[("sequence_number", place)]);
        assert_eq!(
            original_call::read_message(&lost, &room()),
            Err(PeerFault::InvalidParams)
        );
    }
    let list = Value::Array(vec![members(&[
        ("room_id", text("r-1")),
        ("room_name", Value::Integer(123)),
        ("creator_id", text("")),
        ("admin_node", text("node3")),
    ])]);
    let rooms = peer_call::read_hosted_rooms(&list).unwrap();
    assert_eq!(
        (
            rooms[0].room_name.as_str(),
            rooms[0].creator_id.as_str(),
            rooms[0].member_count
        ),
        ("123", "?", 0)
    );
}
