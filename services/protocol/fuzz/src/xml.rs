//! Documents of nodes.

use super::fits;
use chat_protocol::deletion::Vote;
use chat_protocol::ids::{NodeId, RoomId, Seq, TransactionId};
use chat_protocol::limits::{MAX_MESSAGE_FRAME, MAX_REFUSAL_BYTES, MAX_XML_DEPTH};
use chat_protocol::message_frame::{Message, MessageFrame};
use chat_protocol::original_call::{self, Asked, Disconnected, ForwardAnswer, Forwarded, JoinAnswer};
use chat_protocol::peer_call::deletion::{self, OriginalDeletion};
use chat_protocol::peer_call::{self, Capabilities, Exchange, Heartbeat, Range};
use chat_protocol::peer_fault::PeerFault;
use chat_protocol::peer_xml::{
    RemoteFault, XmlError, XmlLimits, read_call, read_response, write_call, write_fault, write_response,
};
use chat_protocol::reject::Reject;
use chat_protocol::server_frame::{RoomSummary, ServerFrame};
use dxr::Value;

/// Elements around the values of a document: the call, its list of parameters, the parameter.
const AROUND: usize = 3;

/// A body that arrives at the peer port.
pub fn xml_request(bytes: &[u8]) {
    let call = match read_call(bytes, XmlLimits::REQUEST) {
        Ok(call) => call,
        Err(why) => return silent(why),
    };
    for (limits, refusal) in smaller(bytes, XmlLimits::REQUEST) {
        assert_eq!(read_call(bytes, limits), Err(refusal));
    }
    let mut size = Size::default();
    call.params.iter().for_each(|param| size.add(param, 1));
    size.check(bytes, XmlLimits::REQUEST);
    let params: Vec<_> = call.params.iter().map(as_written).collect();
    let again = write_call(&call.method, &params);
    match read_call(again.as_bytes(), XmlLimits::RESPONSE) {
        Ok(read) => assert_eq!(
            (&read.method, &read.params),
            (&call.method, &params),
            "written as {again}"
        ),
        Err(why) => assert!(may_grow_out(why, &size), "{why}: {again}"),
    }
    understood_params(&call.params);
}

/// A body that answers a call.
pub fn xml_response(bytes: &[u8]) {
    let answer = match read_response(bytes, XmlLimits::RESPONSE) {
        Ok(answer) => answer,
        Err(why) => return silent(why),
    };
    for (limits, refusal) in smaller(bytes, XmlLimits::RESPONSE) {
        assert_eq!(read_response(bytes, limits), Err(refusal));
    }
    match answer {
        Ok(value) => {
            let mut size = Size::default();
            size.add(&value, 1);
            size.check(bytes, XmlLimits::RESPONSE);
            let value = as_written(&value);
            let again = write_response(&value);
            match read_response(again.as_bytes(), XmlLimits::RESPONSE) {
                Ok(read) => assert_eq!(read, Ok(value.clone()), "written as {again}"),
                Err(why) => assert!(may_grow_out(why, &size), "{why}: {again}"),
            }
            understood_answer(&value);
        }
        Err(fault) => {
            assert!(fault.text.len() <= 1_000);
            let again = write_fault(fault.code, &fault.text);
            assert_eq!(read_response(again.as_bytes(), XmlLimits::RESPONSE), Ok(Err(fault)));
        }
    }
}

/// A refusal is one of a few texts, none of which has anything of the document in it.
fn silent(why: XmlError) {
    let fault = PeerFault::InvalidRequest;
    let told = RemoteFault {
        code: fault.code(),
        text: fault.text().into(),
    };
    assert!(why.to_string().starts_with("the document ") || why.to_string().starts_with(|first| "ad".contains(first)));
    let answer = write_fault(fault.code(), fault.text());
    assert_eq!(read_response(answer.as_bytes(), XmlLimits::RESPONSE), Ok(Err(told)));
}

/// Bounds that a document which was read breaks, and how that is said.
fn smaller(bytes: &[u8], limits: XmlLimits) -> [(XmlLimits, XmlError); 2] {
    let shorter = XmlLimits {
        bytes: bytes.len() - 1,
        ..limits
    };
    let fewer = XmlLimits { elements: 1, ..limits };
    [(shorter, XmlError::TooLarge), (fewer, XmlError::TooMany)]
}

/// What a value takes.
#[derive(Default)]
struct Size {
    depth: usize,
    values: usize,
    text: usize,
}

impl Size {
    fn add(&mut self, value: &Value, depth: usize) {
        self.depth = self.depth.max(depth);
        self.values += 1;
        match value {
            Value::String(text) => self.text += text.len(),
            Value::Array(values) => values.iter().for_each(|value| self.add(value, depth + 3)),
            Value::Struct(members) => {
                for (name, value) in members {
                    self.text += name.len();
                    self.add(value, depth + 3);
                }
            }
            Value::Double(number) => assert!(number.is_finite(), "a number that is none"),
            _ => {}
        }
    }

    fn check(&self, bytes: &[u8], limits: XmlLimits) {
        assert!(self.depth + AROUND <= MAX_XML_DEPTH, "depth {}", self.depth);
        assert!(self.values <= limits.elements, "{} values", self.values);
        assert!(
            self.text <= bytes.len(),
            "{} bytes of text from {}",
            self.text,
            bytes.len()
        );
    }
}

/// A value as another node sees it: a number beyond 32 bits travels as text.
fn as_written(value: &Value) -> Value {
    match value {
        Value::Long(number) => Value::String(number.to_string()),
        Value::Array(values) => Value::Array(values.iter().map(as_written).collect()),
        Value::Struct(members) => Value::Struct(
            members
                .iter()
                .map(|(name, value)| (name.clone(), as_written(value)))
                .collect(),
        ),
        other => other.clone(),
    }
}

/// We write every text with its type, which takes an element more than leaving it out, and escape what need not be.
fn may_grow_out(why: XmlError, size: &Size) -> bool {
    match why {
        XmlError::TooDeep => size.depth + AROUND + 1 > MAX_XML_DEPTH,
        XmlError::TooMany | XmlError::TooLarge => size.values > 100_000 || size.text > 500_000,
        _ => false,
    }
}

fn understood_params(params: &[Value]) {
    if let Ok(exchange) = Exchange::from_params(params) {
        let known = exchange.items.iter().flatten().cloned().map(Some).collect();
        let expected = Exchange {
            items: known,
            ..exchange.clone()
        };
        assert_eq!(Exchange::from_params(&exchange.to_params()), Ok(expected));
    }
    if let Ok((room, from, limit)) = peer_call::range_from_params(params) {
        let again = peer_call::range_params(&room, from, limit);
        assert_eq!(peer_call::range_from_params(&again), Ok((room, from, limit)));
    }
    if let Ok(rooms) = peer_call::heads_from_params(params) {
        assert_eq!(
            peer_call::heads_from_params(&peer_call::heads_params(&rooms)),
            Ok(rooms)
        );
    }
    if let Ok(room) = peer_call::locate_from_params(params) {
        assert_eq!(params, [Value::String(room.to_string())]);
    }
    if let Ok((room, transaction)) = deletion::status_from_params(params) {
        assert_eq!(deletion::status_params(&room, &transaction), params);
    }
    understood_original(params);
}

/// Calls of original nodes, of whom nearly anything is taken.
fn understood_original(params: &[Value]) {
    if let Ok(asked) = Asked::from_params(params) {
        assert_eq!(asked.to_params(), params);
    }
    if let Ok(forwarded) = Forwarded::from_params(params) {
        assert_eq!(Forwarded::from_params(&forwarded.to_params()), Ok(forwarded));
    }
    if let Ok(gone) = Disconnected::from_params(params) {
        assert_eq!(Disconnected::from_params(&gone.to_params()), Ok(gone));
    }
    if let Ok(asked) = OriginalDeletion::from_params(params) {
        assert_eq!(OriginalDeletion::from_params(&asked.to_params()), Ok(asked));
    }
    if let Ok(message) = original_call::message_from_params(params) {
        shown(&message);
        let again = original_call::message_params(&message, 0);
        assert_eq!(original_call::message_from_params(&again), Ok(message));
    }
    if let Ok(Some(event)) = original_call::event_from_params(params) {
        fits(&ServerFrame::Member(event.clone()));
        let again = original_call::event_params(&event);
        assert_eq!(original_call::event_from_params(&again), Ok(Some(event)));
    }
}

/// Answers of original nodes.
fn understood_refusal_or_room(value: &Value) {
    let room = RoomId::parse("r-1").expect("a valid id");
    if let Ok(answer) = JoinAnswer::from_value(value, &room) {
        match &answer {
            JoinAnswer::Joined { info, messages, .. } => {
                fits(&ServerFrame::JoinRoomSuccess(info.clone()));
                messages.iter().for_each(shown);
            }
            JoinAnswer::Refused(reject) => fits(&ServerFrame::JoinRoomError {
                room_id: room.to_string(),
                reject: reject.clone(),
            }),
        }
        assert_eq!(JoinAnswer::from_value(&answer.to_value(0), &room), Ok(answer));
    }
    if let Ok(answer) = ForwardAnswer::from_value(value) {
        if let ForwardAnswer::Refused(reject) = &answer {
            fits(&ServerFrame::MessageError {
                room_id: room.to_string(),
                reject: reject.clone(),
            });
        }
        assert_eq!(ForwardAnswer::from_value(&answer.to_value(0)), Ok(answer));
    }
}

/// What a node says is as short as what a client may say.
fn shown(message: &Message) {
    let frame = MessageFrame::encode(message);
    assert!(frame.payload().len() <= MAX_MESSAGE_FRAME);
    if !message.content.is_empty() {
        assert_eq!(MessageFrame::from_payload(frame.payload()), Ok(frame));
    }
}

fn understood_answer(value: &Value) {
    if let Ok(heartbeat) = Heartbeat::from_value(value) {
        let again = Heartbeat::from_value(&heartbeat.to_value()).expect("a heartbeat");
        assert_eq!(again, heartbeat);
    }
    if let Ok(capabilities) = Capabilities::from_value(value) {
        assert_eq!(Capabilities::from_value(&capabilities.to_value()), Ok(capabilities));
    }
    if let Ok(range) = Range::from_value(value) {
        assert_eq!(Range::from_value(&range.to_value()), Ok(range.clone()));
        let served = Range::of(Seq(1), range.frames);
        assert_eq!(Range::from_value(&served.to_value()), Ok(served));
    }
    if let Ok(heads) = peer_call::read_heads(value) {
        assert_eq!(peer_call::read_heads(&peer_call::heads(&heads)), Ok(heads));
    }
    if let Ok(next) = peer_call::read_accepted(value) {
        assert_eq!(peer_call::read_accepted(&peer_call::accepted(next)), Ok(next));
    }
    if let Ok(fate) = deletion::read_status(value) {
        assert_eq!(deletion::read_status(&deletion::status(&fate)), Ok(fate));
    }
    if let Ok(vote) = deletion::read_vote(value) {
        voted(&vote);
    }
    if let Ok(hosted) = peer_call::read_located(value) {
        assert_eq!(peer_call::read_located(&peer_call::located(hosted)), Ok(hosted));
    }
    if let Ok(rooms) = peer_call::read_hosted_rooms(value) {
        listed(&rooms);
    }
    understood_refusal_or_room(value);
}

/// A vote survives, and whoever asked for the deletion can be told why a node is against it.
fn voted(vote: &Vote) {
    let (node, transaction) = (NodeId::parse("node2"), TransactionId::parse("t-1"));
    let (node, transaction) = (node.expect("a valid id"), transaction.expect("a valid id"));
    if let Vote::Abort(Some(reason)) = vote {
        assert!(reason.len() <= MAX_REFUSAL_BYTES, "{} bytes", reason.len());
        fits(&ServerFrame::DeleteRoomFailed {
            room_id: "r-1".into(),
            reject: Reject::DeletionFailed(reason.to_string()),
            transaction: Some(transaction.clone()),
        });
    }
    let again = deletion::voted(vote, &node, &transaction);
    assert_eq!(deletion::read_vote(&again).as_ref(), Ok(vote));
}

/// A list of rooms survives, and one that is cut stays below its bound.
fn listed(rooms: &[RoomSummary]) {
    let most = i32::MAX as u32;
    let expected: Vec<_> = rooms
        .iter()
        .map(|room| RoomSummary {
            member_count: room.member_count.min(most),
            node_address: Some(room.node_address.clone().unwrap_or_default()),
            ..room.clone()
        })
        .collect();
    let whole = peer_call::hosted_rooms(rooms, usize::MAX);
    assert_eq!(peer_call::read_hosted_rooms(&whole), Ok(expected));
    let around = write_response(&Value::Array(Vec::new())).len();
    for bound in [0, 1_000, 5_000] {
        let cut = write_response(&peer_call::hosted_rooms(rooms, bound));
        assert!(cut.len() <= around + bound, "{} bytes of {bound}", cut.len());
    }
}
