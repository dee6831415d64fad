//! The XML-RPC methods between nodes, as typed requests and answers.
//!
//! `heartbeat` and `get_hosted_rooms` are those of the original (its other methods are in [`crate::original_call`]); the
//! others are ours. Integers that may exceed 32 bits
//! are decimal texts. Members that a release does not know are ignored, so that the next one may add some.

use crate::ids::{Incarnation, NodeId, RoomId, Seq};
use crate::limits::MAX_LINK_INDEX;
use crate::message_frame::MessageFrame;
use crate::original_call::lenient;
use crate::peer_fault::PeerFault;
use crate::peer_item::{PeerItem, join_frames, split_frames};
use crate::peer_xml;
use crate::server_frame::RoomSummary;
use crate::timestamp::Timestamp;
use dxr::Value;
use std::collections::BTreeMap;

pub mod deletion;

/// Method names.
pub mod method {
    /// Is the node alive? No parameters.
    pub const HEARTBEAT: &str = "heartbeat";
    /// The rooms that the node administers. No parameters.
    pub const GET_HOSTED_ROOMS: &str = "get_hosted_rooms";
    /// Names of all methods. No parameters.
    pub const LIST_METHODS: &str = "system.listMethods";
    /// What the node can do beyond the original. No parameters.
    pub const CAPABILITIES: &str = "chat.capabilities";
    /// Items of a link, in order.
    pub const EXCHANGE: &str = "chat.exchange";
    /// Does the node administer a room?
    pub const LOCATE: &str = "chat.locate";
    /// Committed messages of a room that the node administers.
    pub const READ_RANGE: &str = "chat.read_range";
    /// Where rooms that the node administers stand.
    pub const HEADS: &str = "chat.heads";

    /// How did an attempt to delete a room end?
    pub const DELETION_STATUS: &str = "chat.deletion_status";
    /// The original's: may the room go?
    pub const PREPARE_DELETE_ROOM: &str = "prepare_delete_room";
    /// The original's: the room is gone.
    pub const COMMIT_DELETE_ROOM: &str = "commit_delete_room";
    /// The original's: the room stays.
    pub const ROLLBACK_DELETE_ROOM: &str = "rollback_delete_room";

    /// All of them.
    pub const ALL: [&str; 12] = [
        HEARTBEAT,
        GET_HOSTED_ROOMS,
        LIST_METHODS,
        CAPABILITIES,
        EXCHANGE,
        LOCATE,
        READ_RANGE,
        HEADS,
        DELETION_STATUS,
        PREPARE_DELETE_ROOM,
        COMMIT_DELETE_ROOM,
        ROLLBACK_DELETE_ROOM,
    ];
}

/// The answer to `heartbeat`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Who answers.
    pub node_id: NodeId,
    /// Which of its lives; an original node has none.
    pub incarnation: Option<Incarnation>,
    /// Its clock, for people.
    pub timestamp: Timestamp,
}

/// The answer to `chat.capabilities`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Who answers.
    pub node_id: NodeId,
    /// Which of its lives.
    pub incarnation: Incarnation,
    /// Versions of the link that it speaks; 1 is the only one so far.
    pub versions: Vec<i32>,
}

/// The parameters of `chat.exchange`: items of one life of one node for one life of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Who sends.
    pub sender: NodeId,
    /// In which life.
    pub sender_incarnation: Incarnation,
    /// For which life of the receiver.
    pub receiver_incarnation: Incarnation,
    /// The index of the first item. Indexes of one pair of lives go up by one per item; a jump says that items between
    /// were given up.
    pub first_index: u64,
    /// In order. Items of kinds that this release does not know are left out, but counted.
    pub items: Vec<Option<PeerItem>>,
}

/// The answer to `chat.read_range`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// Committed messages from the asked number on, without a hole; none if the room has none there or is not here.
    pub frames: Vec<MessageFrame>,
    /// The first message that is kept, if the asked one was trimmed away; then it is the first frame.
    pub floor: Option<Seq>,
}

type Members = BTreeMap<String, Value>;

fn string(value: impl ToString) -> Value {
    Value::String(value.to_string())
}

fn members<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Struct(
        pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}

fn as_struct(value: &Value) -> Result<&Members, PeerFault> {
    if let Value::Struct(members) = value {
        Ok(members)
    } else {
        Err(PeerFault::InvalidParams)
    }
}

fn as_text(value: Option<&Value>) -> Result<&str, PeerFault> {
    if let Some(Value::String(text)) = value {
        Ok(text)
    } else {
        Err(PeerFault::InvalidParams)
    }
}

fn as_number(value: Option<&Value>) -> Result<u64, PeerFault> {
    match value {
        Some(Value::String(text)) => text.parse().map_err(|_| PeerFault::InvalidParams),
        Some(Value::Integer(number)) => u64::try_from(*number).map_err(|_| PeerFault::InvalidParams),
        _ => Err(PeerFault::InvalidParams),
    }
}

fn parsed<T, E>(text: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<T, PeerFault> {
    parse(text).map_err(|_| PeerFault::InvalidParams)
}

/// Checks that a method without parameters got none.
///
/// # Errors
/// [`PeerFault::InvalidParams`].
pub fn no_params(params: &[Value]) -> Result<(), PeerFault> {
    if params.is_empty() {
        Ok(())
    } else {
        Err(PeerFault::InvalidParams)
    }
}

impl Heartbeat {
    /// As an answer.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let Value::Struct(mut all) = members([
            ("status", string("ok")),
            ("node_id", string(&self.node_id)),
            ("timestamp", string(self.timestamp)),
        ]) else {
            return Value::Nil;
        };
        if let Some(incarnation) = self.incarnation {
            all.insert("incarnation".into(), string(incarnation));
        }
        Value::Struct(all)
    }

    /// From an answer.
    ///
    /// # Errors
    /// [`PeerFault::InvalidParams`] if it is none, or its status is not `ok`.
    pub fn from_value(value: &Value) -> Result<Self, PeerFault> {
        let all = as_struct(value)?;
        if as_text(all.get("status"))? != "ok" {
            return Err(PeerFault::InvalidParams);
        }
        Ok(Self {
            node_id: parsed(as_text(all.get("node_id"))?, NodeId::parse)?,
            incarnation: match all.get("incarnation") {
                None | Some(Value::Nil) => None,
                some => Some(Incarnation(as_number(some)?)),
            },
            timestamp: all
                .get("timestamp")
                .and_then(|t| as_text(Some(t)).ok())
                .and_then(Timestamp::parse)
                .unwrap_or_default(),
        })
    }
}

impl Capabilities {
    /// As an answer.
    #[must_use]
    pub fn to_value(&self) -> Value {
        members([
            ("node_id", string(&self.node_id)),
            ("incarnation", string(self.incarnation)),
            (
                "versions",
                Value::Array(self.versions.iter().map(|v| Value::Integer(*v)).collect()),
            ),
        ])
    }

    /// From an answer.
    ///
    /// # Errors
    /// [`PeerFault::InvalidParams`] if it is none.
    pub fn from_value(value: &Value) -> Result<Self, PeerFault> {
        let all = as_struct(value)?;
        let Some(Value::Array(versions)) = all.get("versions") else {
            return Err(PeerFault::InvalidParams);
        };
        Ok(Self {
            node_id: parsed(as_text(all.get("node_id"))?, NodeId::parse)?,
            incarnation: Incarnation(as_number(all.get("incarnation"))?),
            versions: versions
                .iter()
                .filter_map(|v| if let Value::Integer(v) = v { Some(*v) } else { None })
                .collect(),
        })
    }
}

impl Exchange {
    /// As parameters.
    #[must_use]
    pub fn to_params(&self) -> Vec<Value> {
        vec![
            string(&self.sender),
            string(self.sender_incarnation),
            string(self.receiver_incarnation),
            string(self.first_index),
            Value::Array(self.items.iter().flatten().map(PeerItem::to_value).collect()),
        ]
    }

    /// Whose items the parameters say that they are; `None` if they are no parameters.
    #[must_use]
    pub fn sender_of(params: &[Value]) -> Option<(NodeId, Incarnation)> {
        let sender = parsed(as_text(params.first()).ok()?, NodeId::parse).ok()?;
        Some((sender, Incarnation(as_number(params.get(1)).ok()?)))
    }

    /// From parameters.
    ///
    /// # Errors
    /// [`PeerFault::InvalidParams`] if they are none.
    pub fn from_params(params: &[Value]) -> Result<Self, PeerFault> {
        let [sender, sender_life, receiver_life, first, Value::Array(items)] = params else {
            return Err(PeerFault::InvalidParams);
        };
        Ok(Self {
            sender: parsed(as_text(Some(sender))?, NodeId::parse)?,
            sender_incarnation: Incarnation(as_number(Some(sender_life))?),
            receiver_incarnation: Incarnation(as_number(Some(receiver_life))?),
            first_index: Some(as_number(Some(first))?)
                .filter(|index| *index <= MAX_LINK_INDEX)
                .ok_or(PeerFault::InvalidParams)?,
            items: items.iter().map(|item| PeerItem::from_value(item).ok()).collect(),
        })
    }
}

/// The answer to `chat.exchange`: the index that is expected next.
#[must_use]
pub fn accepted(next_index: u64) -> Value {
    members([("next", string(next_index))])
}

/// Reads the answer to `chat.exchange`.
///
/// # Errors
/// [`PeerFault::InvalidParams`] if it is none.
pub fn read_accepted(value: &Value) -> Result<u64, PeerFault> {
    as_number(as_struct(value)?.get("next"))
}

/// The room that `chat.locate` asks for.
///
/// # Errors
/// [`PeerFault::InvalidParams`].
pub fn locate_from_params(params: &[Value]) -> Result<RoomId, PeerFault> {
    let [room] = params else {
        return Err(PeerFault::InvalidParams);
    };
    parsed(as_text(Some(room))?, RoomId::parse)
}

/// What a node knows of a room that it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It administers the room.
    Hosted,
    /// It administered the room, which is deleted: nobody else can have it.
    Deleted,
    /// It has never had it.
    Elsewhere,
}

/// The answer to `chat.locate`.
#[must_use]
pub fn located(place: Place) -> Value {
    let hosted = ("hosted", Value::Boolean(place == Place::Hosted));
    match place {
        Place::Hosted | Place::Elsewhere => members([hosted]),
        Place::Deleted => members([hosted, ("deleted", Value::Boolean(true))]),
    }
}

/// Reads the answer to `chat.locate`.
///
/// # Errors
/// [`PeerFault::InvalidParams`] if it is none.
pub fn read_located(value: &Value) -> Result<Place, PeerFault> {
    let all = as_struct(value)?;
    match (all.get("hosted"), all.get("deleted")) {
        (Some(Value::Boolean(true)), _) => Ok(Place::Hosted),
        (Some(Value::Boolean(false)), Some(Value::Boolean(true))) => Ok(Place::Deleted),
        (Some(Value::Boolean(false)), _) => Ok(Place::Elsewhere),
        _ => Err(PeerFault::InvalidParams),
    }
}

/// The parameters of `chat.read_range`: the room, the first number, and how many at most.
#[must_use]
pub fn range_params(room: &RoomId, from: Seq, limit: usize) -> Vec<Value> {
    vec![string(room), string(from), string(limit)]
}

/// Reads the parameters of `chat.read_range`.
///
/// # Errors
/// [`PeerFault::InvalidParams`].
pub fn range_from_params(params: &[Value]) -> Result<(RoomId, Seq, usize), PeerFault> {
    let [room, from, limit] = params else {
        return Err(PeerFault::InvalidParams);
    };
    let limit = usize::try_from(as_number(Some(limit))?).map_err(|_| PeerFault::InvalidParams)?;
    Ok((
        parsed(as_text(Some(room))?, RoomId::parse)?,
        Seq(as_number(Some(from))?),
        limit,
    ))
}

impl Range {
    /// What a log that has no hole gave for the numbers from `from` on: if it begins later, the rest was trimmed away.
    #[must_use]
    pub fn of(from: Seq, frames: Vec<MessageFrame>) -> Self {
        let floor = frames.first().map(MessageFrame::seq).filter(|first| *first > from);
        Self { frames, floor }
    }

    /// As an answer.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let frames = Value::String(join_frames(&self.frames));
        match self.floor {
            None => members([("frames", frames)]),
            Some(floor) => members([("frames", frames), ("floor", string(floor))]),
        }
    }

    /// From an answer.
    ///
    /// # Errors
    /// [`PeerFault::InvalidParams`] if it is none.
    pub fn from_value(value: &Value) -> Result<Self, PeerFault> {
        let all = as_struct(value)?;
        let frames = split_frames(as_text(all.get("frames"))?).map_err(|_| PeerFault::InvalidParams)?;
        let floor = all.get("floor").map(|floor| as_number(Some(floor))).transpose()?;
        Ok(Self {
            frames,
            floor: floor.map(Seq),
        })
    }
}

/// Reads the parameters of `chat.heads`: rooms.
///
/// # Errors
/// [`PeerFault::InvalidParams`].
pub fn heads_from_params(params: &[Value]) -> Result<Vec<RoomId>, PeerFault> {
    let [Value::Array(rooms)] = params else {
        return Err(PeerFault::InvalidParams);
    };
    rooms
        .iter()
        .map(|room| parsed(as_text(Some(room))?, RoomId::parse))
        .collect()
}

/// The answer to `chat.heads`.
#[must_use]
pub fn heads(heads: &[(RoomId, Seq)]) -> Value {
    Value::Array(
        heads
            .iter()
            .map(|(room, head)| members([("room_id", string(room)), ("head", string(head))]))
            .collect(),
    )
}

/// The parameters of `chat.heads`.
#[must_use]
pub fn heads_params(rooms: &[RoomId]) -> Vec<Value> {
    vec![Value::Array(rooms.iter().map(string).collect())]
}

/// Reads the answer to `chat.heads`. Rooms that the node does not have are not in it.
///
/// # Errors
/// [`PeerFault::InvalidParams`] if it is none.
pub fn read_heads(value: &Value) -> Result<Vec<(RoomId, Seq)>, PeerFault> {
    let Value::Array(entries) = value else {
        return Err(PeerFault::InvalidParams);
    };
    let read = |entry: &Value| {
        let all = as_struct(entry)?;
        Ok((
            parsed(as_text(all.get("room_id"))?, RoomId::parse)?,
            Seq(as_number(all.get("head"))?),
        ))
    };
    entries.iter().map(read).collect()
}

/// The answer to `get_hosted_rooms`, cut to `max_bytes` of text.
#[must_use]
pub fn hosted_rooms(rooms: &[RoomSummary], max_bytes: usize) -> Value {
    let mut bytes = 0;
    let entry = |room: &RoomSummary| {
        members([
            ("room_id", string(&room.room_id)),
            ("room_name", string(&room.room_name)),
            ("description", room.description.as_ref().map_or(Value::Nil, string)),
            (
                "member_count",
                Value::Integer(i32::try_from(room.member_count).unwrap_or(i32::MAX)),
            ),
            ("admin_node", string(&room.admin_node)),
            ("creator_id", string(&room.creator_id)),
            ("node_address", string(room.node_address.as_deref().unwrap_or_default())),
        ])
    };
    let fits = |room: &&RoomSummary| {
        let text = [
            room.room_id.as_str(),
            room.room_name.as_str(),
            room.description.as_deref().unwrap_or_default(),
            room.admin_node.as_str(),
            room.creator_id.as_str(),
            room.node_address.as_deref().unwrap_or_default(),
        ];
        // Seven members with their tags and a number take less than 560 bytes.
        bytes += 560 + text.into_iter().map(peer_xml::written_len).sum::<usize>();
        bytes <= max_bytes
    };
    Value::Array(rooms.iter().take_while(fits).map(entry).collect())
}

/// Reads the answer to `get_hosted_rooms`. Entries that are none are left out: one odd room does not hide a node.
///
/// # Errors
/// [`PeerFault::InvalidParams`] if it is no list.
pub fn read_hosted_rooms(value: &Value) -> Result<Vec<RoomSummary>, PeerFault> {
    let Value::Array(entries) = value else {
        return Err(PeerFault::InvalidParams);
    };
    Ok(entries
        .iter()
        .filter_map(|entry| read_hosted_room(entry).ok())
        .collect())
}

fn read_hosted_room(entry: &Value) -> Result<RoomSummary, PeerFault> {
    let all = as_struct(entry)?;
    Ok(RoomSummary {
        room_id: parsed(as_text(all.get("room_id"))?, RoomId::parse)?,
        room_name: lenient::room_name(all.get("room_name")),
        description: lenient::description(all.get("description")),
        member_count: lenient::count(all.get("member_count")),
        admin_node: parsed(as_text(all.get("admin_node"))?, NodeId::parse)?,
        creator_id: lenient::user(all.get("creator_id")),
        node_address: lenient::address(all.get("node_address")),
    })
}
