//! Reading what an original node wrote, however odd: its nodes limit neither the length nor the type of a name.
//!
//! What has no place here is cut to what has one: a message with a cut name is shown, one that is refused would be a hole
//! in its room for ever.

use super::{
    Arc, BTreeMap, Message, MessageId, NodeId, PeerFault, RoomId, RoomInfo, RoomName, Seq, Timestamp, UserName,
};
use crate::limits::{MAX_CONTENT_CHARS, MAX_DESCRIPTION_CHARS, MAX_ID_BYTES, MAX_NAME_CHARS};
use crate::text::{is_forbidden, normalise_newlines, prefix};
use dxr::Value;

/// Stands where a text is empty that must not be.
const NAMELESS: &str = "?";

/// A message about `room`.
///
/// # Errors
/// [`PeerFault::InvalidParams`] if it is no struct or has no number: then it has no place.
pub fn read_message(value: &Value, room: &RoomId) -> Result<Message, PeerFault> {
    let all = members(value)?;
    let seq = seq(all.get("sequence_number"))?;
    let id = any_text(all.get("message_id"));
    let id = prefix(&id, MAX_ID_BYTES);
    Ok(Message {
        // A message without an id of its own is recognised by its number.
        message_id: MessageId::parse(id)
            .or_else(|_| MessageId::parse(&format!("{NAMELESS}{seq}")))
            .map_err(|_| PeerFault::InvalidParams)?,
        room_id: room.clone(),
        username: user(all.get("username")),
        content: Arc::from(chars(&any_text(all.get("content")), MAX_CONTENT_CHARS)),
        seq,
        timestamp: timestamp(all.get("timestamp")),
    })
}

/// What a joiner is told about `room`.
///
/// # Errors
/// [`PeerFault::InvalidParams`] if it is no struct.
pub fn read_room_info(value: &Value, room: &RoomId) -> Result<RoomInfo, PeerFault> {
    let all = members(value)?;
    let mut users: Vec<UserName> = match all.get("members") {
        Some(Value::Array(users)) => users.iter().map(|name| user(Some(name))).collect(),
        _ => Vec::new(),
    };
    // The original gives them in any order.
    users.sort();
    users.dedup();
    let admin = any_text(all.get("admin_node"));
    Ok(RoomInfo {
        room_id: room.clone(),
        room_name: room_name(all.get("room_name")),
        description: description(all.get("description")),
        members: users,
        admin_node: NodeId::parse(prefix(&admin, MAX_ID_BYTES))
            .or_else(|_| NodeId::parse(NAMELESS))
            .map_err(|_| PeerFault::InvalidParams)?,
    })
}

fn members(value: &Value) -> Result<&BTreeMap<String, Value>, PeerFault> {
    if let Value::Struct(members) = value {
        Ok(members)
    } else {
        Err(PeerFault::InvalidParams)
    }
}

/// The place of a message.
///
/// # Errors
/// [`PeerFault::InvalidParams`] if it is no positive number.
pub(super) fn seq(value: Option<&Value>) -> Result<Seq, PeerFault> {
    match value {
        Some(Value::Integer(number)) if *number > 0 => {
            Ok(Seq(u64::try_from(*number).map_err(|_| PeerFault::InvalidParams)?))
        }
        _ => Err(PeerFault::InvalidParams),
    }
}

/// A time; the beginning of all times if it is none.
pub(super) fn timestamp(value: Option<&Value>) -> Timestamp {
    match value {
        Some(Value::String(text)) => Timestamp::parse(text).unwrap_or_default(),
        _ => Timestamp::default(),
    }
}

/// How many; 0 if it is no number.
pub(crate) fn count(value: Option<&Value>) -> u32 {
    match value {
        Some(Value::Integer(number)) => u32::try_from(*number).unwrap_or(0),
        _ => 0,
    }
}

/// A user name.
pub(crate) fn user(value: Option<&Value>) -> UserName {
    let text = name(value);
    UserName::parse(&text).unwrap_or_else(|_| UserName::parse(NAMELESS).expect("a valid name"))
}

/// The name of a room.
pub(crate) fn room_name(value: Option<&Value>) -> RoomName {
    let text = name(value);
    RoomName::parse(&text).unwrap_or_else(|_| RoomName::parse(NAMELESS).expect("a valid name"))
}

/// A description; nothing if it is none.
pub(crate) fn description(value: Option<&Value>) -> Option<Arc<str>> {
    match value {
        None | Some(Value::Nil) => None,
        some => Some(Arc::from(chars(&any_text(some), MAX_DESCRIPTION_CHARS))),
    }
}

/// An address, which is shown and never dialled; nothing if it is no text.
pub(crate) fn address(value: Option<&Value>) -> Option<Arc<str>> {
    match value {
        Some(Value::String(text)) if !text.contains(is_forbidden) => Some(Arc::from(text.as_str())),
        _ => None,
    }
}

fn name(value: Option<&Value>) -> String {
    let text = any_text(value);
    let name = chars(&text, MAX_NAME_CHARS);
    if name.is_empty() {
        NAMELESS.to_owned()
    } else {
        name.to_owned()
    }
}

/// At most `max` code points of a text.
fn chars(text: &str, max: usize) -> &str {
    text.char_indices().nth(max).map_or(text, |(end, _)| &text[..end])
}

/// A value as its clients would see it.
fn any_text(value: Option<&Value>) -> String {
    let text = match value {
        Some(Value::String(text)) => normalise_newlines(text).into_owned(),
        Some(Value::Integer(number)) => number.to_string(),
        Some(Value::Long(number)) => number.to_string(),
        Some(Value::Double(number)) => number.to_string(),
        Some(Value::Boolean(yes)) => yes.to_string(),
        _ => String::new(),
    };
    if text.contains(is_forbidden) {
        text.replace(is_forbidden, "\u{FFFD}")
    } else {
        text
    }
}
