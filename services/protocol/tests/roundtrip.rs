//! What is true of every input, not of chosen ones.
// A value that a test makes is valid, or the test is wrong.
#![allow(clippy::unwrap_used)]

use chat_protocol::codec::{encode, parse};
use chat_protocol::ids::{MessageId, NodeId, RoomId, RoomName, Seq, UserName};
use chat_protocol::limits::{MAX_OUTBOUND_FRAME, MAX_SEQ};
use chat_protocol::message_frame::{Message, MessageFrame};
use chat_protocol::peer_xml::{XmlLimits, read_call, read_response, write_call, write_fault, write_response};
use chat_protocol::server_frame::{RoomInfo, RoomSummary, ServerFrame};
use chat_protocol::timestamp::Timestamp;
use chat_protocol::{text, ws_frame};
use dxr::Value;
use proptest::prelude::*;

/// Text that may be said: nothing that XML forbids, line ends as we keep them.
fn sayable() -> impl Strategy<Value = String> {
    any::<Vec<char>>().prop_map(|chars| {
        let kept: String = chars
            .into_iter()
            .filter(|c| !text::is_forbidden(*c) && *c != '\r')
            .collect();
        if kept.is_empty() { "x".into() } else { kept }
    })
}

fn message() -> impl Strategy<Value = Message> {
    (sayable(), "[a-z]{1,20}", 1..=MAX_SEQ, any::<i32>()).prop_map(|(content, user, seq, time)| Message {
        message_id: MessageId::parse("m-1").unwrap(),
        room_id: RoomId::parse("r-1").unwrap(),
        username: UserName::parse(&user).unwrap(),
        content: content.into(),
        seq: Seq(seq),
        timestamp: Timestamp(i64::from(time) * 1_000_000),
    })
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i32>().prop_map(Value::Integer),
        any::<bool>().prop_map(Value::Boolean),
        sayable().prop_map(Value::String),
        Just(Value::Nil),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::btree_map("[a-z]{1,8}", inner, 0..5).prop_map(Value::Struct),
        ]
    })
}

proptest! {
    #[test]
    fn a_message_survives_the_way_to_clients_and_to_nodes(message in message(), shift in 0..3_u64) {
        let frame = MessageFrame::encode(&message);
        prop_assert_eq!(MessageFrame::from_payload(frame.payload()), Ok(frame.clone()));
        prop_assert!(!frame.payload().contains('\n'), "a line feed separates frames on a link");
        let shift = shift.min(message.seq.0 - 1);
        let json: serde_json::Value = serde_json::from_slice(ws_frame::payload(&frame.bytes(shift))).unwrap();
        prop_assert_eq!(json["data"]["content"].as_str(), Some(&*message.content));
        prop_assert_eq!(json["data"]["sequence_number"].as_u64(), Some(message.seq.0 - shift));
    }

    #[test]
    fn no_text_makes_the_parser_panic_and_every_answer_fits(text in ".*") {
        if let Err(answer) = parse(&text) {
            prop_assert!(ws_frame::payload(&encode(&answer)).len() <= MAX_OUTBOUND_FRAME);
        }
    }

    #[test]
    fn a_damaged_request_is_answered(at in 0..80_usize, with in any::<char>(), content in sayable()) {
        let good = serde_json::json!({"type": "send_message",
            "data": {"room_id": "r-1", "username": "ines", "content": content}}).to_string();
        let damaged: String = good.chars().enumerate().map(|(i, c)| if i == at { with } else { c }).collect();
        if let Err(answer) = parse(&damaged) {
            prop_assert!(serde_json::from_slice::<serde_json::Value>(ws_frame::payload(&encode(&answer))).is_ok());
        }
    }

    #[test]
    fn a_damaged_frame_of_a_node_is_taken_or_refused(message in message(), at in 0..400_usize, with in any::<char>()) {
        let frame = MessageFrame::encode(&message);
        let damaged: String = frame.payload().chars().enumerate().map(|(i, c)| if i == at { with } else { c }).collect();
        if let Ok(taken) = MessageFrame::from_payload(&damaged) {
            prop_assert_eq!(taken.payload(), damaged);
        }
    }

    #[test]
    fn values_survive_a_call_and_an_answer(params in prop::collection::vec(value(), 0..4)) {
        let call = read_call(write_call("some.method", &params).as_bytes(), XmlLimits::REQUEST).unwrap();
        prop_assert_eq!(&call.method, "some.method");
        prop_assert_eq!(&call.params, &params);
        for value in params {
            let answer = read_response(write_response(&value).as_bytes(), XmlLimits::RESPONSE).unwrap();
            prop_assert_eq!(answer, Ok(value));
        }
    }

    #[test]
    fn no_document_makes_the_reader_panic(bytes in any::<Vec<u8>>()) {
        let _any_result = read_call(&bytes, XmlLimits::REQUEST).is_ok();
        let _any_result = read_response(&bytes, XmlLimits::RESPONSE).is_ok();
    }

    #[test]
    fn a_damaged_call_is_read_or_refused(value in value(), at in 0..300_usize, with in any::<char>()) {
        let good = write_call("m", &[value]);
        let damaged: String = good.chars().enumerate().map(|(i, c)| if i == at { with } else { c }).collect();
        let _any_result = read_call(damaged.as_bytes(), XmlLimits::REQUEST).is_ok();
        let cut: String = good.chars().take(at).collect();
        if cut.len() < good.len() {
            prop_assert!(read_call(cut.as_bytes(), XmlLimits::REQUEST).is_err());
        }
    }

    #[test]
    fn any_text_makes_a_well_formed_fault(text in any::<String>()) {
        let fault = read_response(write_fault(7, &text).as_bytes(), XmlLimits::RESPONSE).unwrap();
        prop_assert_eq!(fault.unwrap_err().code, 7);
    }
}

#[test]
fn a_list_that_is_too_long_is_cut_and_says_so() {
    let room = |n: usize| RoomSummary {
        room_id: RoomId::parse(&format!("r-{n}")).unwrap(),
        room_name: RoomName::parse(&"n".repeat(100)).unwrap(),
        description: Some("d".repeat(1_000).into()),
        member_count: 1,
        admin_node: NodeId::parse("node1").unwrap(),
        creator_id: UserName::parse("ines").unwrap(),
        node_address: None,
    };
    let frame = encode(&ServerFrame::RoomsList {
        rooms: (0..2_000).map(room).collect(),
        total: 2_000,
    });
    let payload = ws_frame::payload(&frame);
    assert!(payload.len() <= MAX_OUTBOUND_FRAME);
    let json: serde_json::Value = serde_json::from_slice(payload).unwrap();
    assert_eq!(
        (&json["data"]["total_count"], &json["data"]["truncated"]),
        (&2_000.into(), &true.into())
    );
    assert!(json["data"]["rooms"].as_array().unwrap().len() > 500);
}

#[test]
fn a_room_with_more_members_than_a_frame_holds_can_be_joined() {
    let members = (0..20_000)
        .map(|n| UserName::parse(&format!("{n:0>100}")).unwrap())
        .collect();
    let frame = encode(&ServerFrame::JoinRoomSuccess(RoomInfo {
        room_id: RoomId::parse("r").unwrap(),
        room_name: RoomName::parse("n").unwrap(),
        description: None,
        members,
        admin_node: NodeId::parse("a").unwrap(),
    }));
    let payload = ws_frame::payload(&frame);
    assert!(payload.len() <= MAX_OUTBOUND_FRAME);
    let json: serde_json::Value = serde_json::from_slice(payload).unwrap();
    assert_eq!(
        (&json["data"]["member_count"], &json["data"]["truncated"]),
        (&20_000.into(), &true.into())
    );
}
