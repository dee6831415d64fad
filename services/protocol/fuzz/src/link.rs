//! Items of a link.

use super::fits;
use chat_protocol::deletion::Vote;
use chat_protocol::ids::RoomId;
use chat_protocol::limits::{MAX_CONTENT_CHARS, MAX_DESCRIPTION_CHARS, MAX_MESSAGE_FRAME, MAX_REFUSAL_BYTES, MAX_SEQ};
use chat_protocol::message_frame::MessageFrame;
use chat_protocol::peer_item::{DeletionItem, PeerBody, PeerItem};
use chat_protocol::peer_xml::{XmlLimits, read_call, write_call};
use chat_protocol::reject::Reject;
use chat_protocol::server_frame::{RoomInfo, ServerFrame};
use chat_protocol::{text, ws_frame};
use dxr::Value;
use std::collections::BTreeMap;

/// An item: its fields, and behind a NUL its frames, if it has some.
pub fn link_item(bytes: &[u8]) {
    let Ok(all) = std::str::from_utf8(bytes) else { return };
    let (fields, frames) = match all.split_once('\0') {
        Some((fields, frames)) => (fields, Some(frames)),
        None => (all, None),
    };
    let mut members = BTreeMap::from([
        ("room".to_owned(), Value::String("r-1".into())),
        ("fields".to_owned(), Value::String(fields.into())),
    ]);
    members.extend(frames.map(|frames| ("frames".to_owned(), Value::String(frames.into()))));
    let Ok(item) = PeerItem::from_value(&Value::Struct(members)) else {
        return;
    };
    within_limits(&item);
    let value = item.to_value();
    assert_eq!(PeerItem::from_value(&value), Ok(item.clone()), "{value:?}");
    let call = write_call("m", std::slice::from_ref(&value));
    let read = read_call(call.as_bytes(), XmlLimits::RESPONSE).expect("what we write can be read");
    assert_eq!(read.params, [value]);
    let around = write_call("m", &[Value::Nil]).len();
    assert!(
        call.len() <= around + item.size(),
        "{} bytes, not {}",
        call.len(),
        item.size()
    );
}

fn within_limits(item: &PeerItem) {
    assert_eq!(item.room, RoomId::parse("r-1").expect("a valid id"));
    match &item.body {
        PeerBody::Forward { content, .. } => {
            assert!(!content.is_empty() && content.chars().count() <= MAX_CONTENT_CHARS);
            sayable(content);
        }
        PeerBody::Joined { info, head, floor, .. } => {
            assert!(head.0 <= MAX_SEQ && floor.0 <= MAX_SEQ + 1);
            told(info);
        }
        PeerBody::JoinRefused { reject, .. } => {
            fits(&ServerFrame::JoinRoomError {
                room_id: item.room.to_string(),
                reject: reject.clone(),
            });
        }
        PeerBody::SendRefused { reject, .. } => {
            fits(&ServerFrame::MessageError {
                room_id: item.room.to_string(),
                reject: reject.clone(),
            });
        }
        PeerBody::Deliver { frames, .. } => frames.iter().for_each(shown),
        PeerBody::Sent { seq, .. } => assert!((1..=MAX_SEQ).contains(&seq.0)),
        PeerBody::Head { head, .. } => assert!(head.0 <= MAX_SEQ),
        PeerBody::Deletion(item) => deleted(item),
        PeerBody::Member(event) => fits(&ServerFrame::Member(event.clone())),
        PeerBody::Join { .. }
        | PeerBody::Leave { .. }
        | PeerBody::Seats(_)
        | PeerBody::Unseat { .. }
        | PeerBody::Inquiry { .. }
        | PeerBody::Holds { .. } => {}
    }
}

fn deleted(item: &DeletionItem) {
    let room_id = RoomId::parse("r-1").expect("a valid id");
    match item.clone() {
        DeletionItem::Initiated {
            transaction, initiator, ..
        } => fits(&ServerFrame::DeleteRoomInitiated {
            room_id,
            initiator,
            transaction: Some(transaction),
        }),
        DeletionItem::Commit { transaction, room_name } => fits(&ServerFrame::RoomDeleted {
            room_id,
            room_name,
            transaction: Some(transaction),
        }),
        DeletionItem::Progress { progress, .. } => fits(&ServerFrame::DeleteRoomProgress { room_id, progress }),
        DeletionItem::Refused {
            reject, transaction, ..
        } => fits(&ServerFrame::DeleteRoomFailed {
            room_id: room_id.to_string(),
            reject,
            transaction,
        }),
        DeletionItem::Vote {
            transaction,
            vote: Vote::Abort(Some(reason)),
        } => {
            assert!(reason.len() <= MAX_REFUSAL_BYTES, "{} bytes", reason.len());
            fits(&ServerFrame::DeleteRoomFailed {
                room_id: room_id.to_string(),
                reject: Reject::DeletionFailed(reason.to_string()),
                transaction: Some(transaction),
            });
        }
        // Nobody is shown anything of these.
        DeletionItem::Delete { .. }
        | DeletionItem::Vote { .. }
        | DeletionItem::Done { .. }
        | DeletionItem::Prepare { .. }
        | DeletionItem::Rollback { .. }
        | DeletionItem::Deleted { .. } => {}
    }
}

fn sayable(said: &str) {
    assert_eq!(text::first_forbidden(said), None);
    assert!(!said.contains('\r'));
}

fn told(info: &RoomInfo) {
    if let Some(description) = &info.description {
        assert!(description.chars().count() <= MAX_DESCRIPTION_CHARS);
        sayable(description);
    }
    fits(&ServerFrame::JoinRoomSuccess(info.clone()));
}

fn shown(frame: &MessageFrame) {
    assert!((1..=MAX_SEQ).contains(&frame.seq().0));
    assert!(frame.payload().len() <= MAX_MESSAGE_FRAME);
    assert_eq!(MessageFrame::from_payload(frame.payload()), Ok(frame.clone()));
    let shifted = frame.bytes(frame.seq().0 - 1);
    let shifted = std::str::from_utf8(ws_frame::payload(&shifted)).expect("a text stays a text");
    assert_eq!(MessageFrame::from_payload(shifted).map(|frame| frame.seq().0), Ok(1));
}
