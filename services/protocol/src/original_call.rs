//! The calls that nodes of the original system make and answer, as typed requests and answers.
//!
//! A request keeps its texts as they came: what is wrong with a name is answered by the method, in its own words. What an
//! original node sends is read leniently (see [`lenient`]): it limits nothing but the length of a message, and one odd name
//! must not cost a message. Nothing but what the original knows is put into a struct, because its nodes hand structs on
//! to their clients as they are.

pub(crate) mod lenient;

use crate::ids::{MessageId, NodeId, RoomId, RoomName, Seq, UserName};
use crate::message_frame::Message;
use crate::peer_fault::PeerFault;
use crate::reject::Reject;
use crate::server_frame::{LeaveReason, MemberEvent, RoomInfo};
use crate::text::explanation;
use crate::timestamp::Timestamp;
use dxr::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

pub use lenient::{read_message, read_room_info};

/// Method names.
pub mod method {
    /// A member node asks the admin node of a room to let a user in: room, user, own id.
    pub const JOIN_ROOM: &str = "join_room";
    /// A member node tells the admin node that a user left: room, user, own id.
    pub const LEAVE_ROOM: &str = "leave_room";
    /// A member node asks the admin node to number a message: room, user, content, own id.
    pub const FORWARD_MESSAGE: &str = "forward_message";
    /// A member node tells the admin node that a user's connection is gone: room, user, own id and, optionally, why.
    pub const NOTIFY_MEMBER_DISCONNECT: &str = "notify_member_disconnect";
    /// An admin node shows a message to a member node: room, message.
    pub const RECEIVE_MESSAGE_BROADCAST: &str = "receive_message_broadcast";
    /// An admin node shows an event to a member node: room, type of the frame, its data.
    pub const RECEIVE_MEMBER_EVENT_BROADCAST: &str = "receive_member_event_broadcast";

    /// All of them; `heartbeat` and `get_hosted_rooms` stand with our own methods.
    pub const ALL: [&str; 6] = [
        JOIN_ROOM,
        LEAVE_ROOM,
        FORWARD_MESSAGE,
        NOTIFY_MEMBER_DISCONNECT,
        RECEIVE_MESSAGE_BROADCAST,
        RECEIVE_MEMBER_EVENT_BROADCAST,
    ];
}

/// Who asks about which room: the parameters of `join_room` and `leave_room`, and the first ones of others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Asked {
    /// Which room.
    pub room_id: String,
    /// Which user.
    pub username: String,
    /// The node that calls.
    pub node_id: String,
}

/// The parameters of `forward_message`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Forwarded {
    /// Who asks.
    pub asked: Asked,
    /// What is to be said; empty if it was nothing at all.
    pub content: String,
}

/// The parameters of `notify_member_disconnect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnected {
    /// Who asks.
    pub asked: Asked,
    /// Why the member is gone. A text that is none of ours counts as a closed connection.
    pub reason: LeaveReason,
}

/// The answer to `join_room`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinAnswer {
    /// The user is a member.
    Joined {
        /// It was one before.
        again: bool,
        /// The room.
        info: RoomInfo,
        /// The newest messages, ascending.
        messages: Vec<Message>,
    },
    /// It is not.
    Refused(Reject),
}

/// The answer to `leave_room`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaveAnswer {
    /// The user left.
    Left,
    /// It was not in the room.
    NotInRoom,
    /// There is no such room.
    NoRoom,
}

/// The answer to `notify_member_disconnect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisconnectAnswer {
    /// The member is removed.
    Removed,
    /// It was not in the room.
    NotInRoom,
    /// There is no such room.
    NoRoom,
}

/// The answer to `forward_message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardAnswer {
    /// The message has its place.
    Sent {
        /// Which message.
        message_id: MessageId,
        /// Its place.
        seq: Seq,
        /// When it was accepted.
        timestamp: Timestamp,
    },
    /// It will not be in the room.
    Refused(Reject),
}

fn string(value: impl ToString) -> Value {
    Value::String(value.to_string())
}

fn members<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    let pairs = pairs.into_iter().map(|(name, value)| (name.to_owned(), value));
    Value::Struct(pairs.collect())
}

/// A number as the original can carry it: 32 bits with a sign.
fn int(number: impl TryInto<i32>) -> Value {
    Value::Integer(number.try_into().unwrap_or(i32::MAX))
}

fn as_struct(value: &Value) -> Result<&BTreeMap<String, Value>, PeerFault> {
    if let Value::Struct(members) = value {
        Ok(members)
    } else {
        Err(PeerFault::InvalidParams)
    }
}

fn text(value: Option<&Value>) -> Option<&str> {
    match value {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

impl Asked {
    /// As parameters.
    #[must_use]
    pub fn to_params(&self) -> Vec<Value> {
        vec![string(&self.room_id), string(&self.username), string(&self.node_id)]
    }

    /// From parameters.
    ///
    /// # Errors
    /// [`PeerFault::InvalidParams`] if they are not three texts.
    pub fn from_params(params: &[Value]) -> Result<Self, PeerFault> {
        let [Value::String(room_id), Value::String(username), Value::String(node_id)] = params else {
            return Err(PeerFault::InvalidParams);
        };
        let (room_id, username, node_id) = (room_id.clone(), username.clone(), node_id.clone());
        Ok(Self {
            room_id,
            username,
            node_id,
        })
    }
}

impl Forwarded {
    /// As parameters.
    #[must_use]
    pub fn to_params(&self) -> Vec<Value> {
        let mut params = self.asked.to_params();
        params.insert(2, string(&self.content));
        params
    }

    /// From parameters. No content counts as an empty one.
    ///
    /// # Errors
    /// [`PeerFault::InvalidParams`] if they are none.
    pub fn from_params(params: &[Value]) -> Result<Self, PeerFault> {
        let [room, user, content, node] = params else {
            return Err(PeerFault::InvalidParams);
        };
        let content = match content {
            Value::String(content) => content.clone(),
            Value::Nil => String::new(),
            _ => return Err(PeerFault::InvalidParams),
        };
        let asked = Asked::from_params(&[room.clone(), user.clone(), node.clone()])?;
        Ok(Self { asked, content })
    }
}

impl Disconnected {
    /// As parameters.
    #[must_use]
    pub fn to_params(&self) -> Vec<Value> {
        let mut params = self.asked.to_params();
        params.push(string(
            self.reason
                .text()
                .or(LeaveReason::Disconnected.text())
                .unwrap_or_default(),
        ));
        params
    }

    /// From three or four parameters.
    ///
    /// # Errors
    /// [`PeerFault::InvalidParams`] if they are none.
    pub fn from_params(params: &[Value]) -> Result<Self, PeerFault> {
        let reason = match params.get(3) {
            None => LeaveReason::Disconnected,
            Some(Value::String(reason)) => LeaveReason::from_text(Some(reason)).unwrap_or(LeaveReason::Disconnected),
            Some(_) => return Err(PeerFault::InvalidParams),
        };
        if params.len() > 4 {
            return Err(PeerFault::InvalidParams);
        }
        let asked = Asked::from_params(params.get(..3).unwrap_or_default())?;
        Ok(Self { asked, reason })
    }
}

impl JoinAnswer {
    /// As an answer. Numbers are lowered by `shift`.
    #[must_use]
    pub fn to_value(&self, shift: u64) -> Value {
        match self {
            Self::Joined { again, info, messages } => {
                let message = if *again {
                    JOINED_AGAIN
                } else {
                    "Successfully joined room"
                };
                members([
                    ("success", Value::Boolean(true)),
                    ("message", string(message)),
                    ("room_info", room_info(info)),
                    (
                        "messages",
                        Value::Array(messages.iter().map(|m| message_value(m, shift)).collect()),
                    ),
                ])
            }
            Self::Refused(reject) => members([
                ("success", Value::Boolean(false)),
                ("message", string(reject.text())),
                ("error_code", string(reject.code())),
                ("room_info", Value::Nil),
            ]),
        }
    }

    /// From an answer about a room. Messages that cannot be placed are left out.
    ///
    /// # Errors
    /// [`PeerFault::InvalidParams`] if it is none.
    pub fn from_value(value: &Value, room: &RoomId) -> Result<Self, PeerFault> {
        let all = as_struct(value)?;
        if !success(all)? {
            return Ok(Self::Refused(refusal(all, "message")));
        }
        let info = read_room_info(all.get("room_info").unwrap_or(&Value::Nil), room)?;
        let messages = match all.get("messages") {
            Some(Value::Array(messages)) => messages.iter().filter_map(|m| read_message(m, room).ok()).collect(),
            _ => Vec::new(),
        };
        Ok(Self::Joined {
            again: text(all.get("message")) == Some(JOINED_AGAIN),
            info,
            messages,
        })
    }
}

/// What a member that joins again is told. Clients of the original look for exactly this.
const JOINED_AGAIN: &str = "Already in room, re-registered";

fn success(all: &BTreeMap<String, Value>) -> Result<bool, PeerFault> {
    match all.get("success") {
        Some(Value::Boolean(yes)) => Ok(*yes),
        _ => Err(PeerFault::InvalidParams),
    }
}

fn room_info(info: &RoomInfo) -> Value {
    members([
        ("room_id", string(&info.room_id)),
        ("room_name", string(&info.room_name)),
        ("description", info.description.as_ref().map_or(Value::Nil, string)),
        ("members", Value::Array(info.members.iter().map(string).collect())),
        ("member_count", int(info.members.len())),
        ("admin_node", string(&info.admin_node)),
    ])
}

/// A message as the original writes it, its number lowered by `shift`.
#[must_use]
pub fn message_value(message: &Message, shift: u64) -> Value {
    members([
        ("message_id", string(&message.message_id)),
        ("room_id", string(&message.room_id)),
        ("username", string(&message.username)),
        ("content", string(&message.content)),
        ("sequence_number", int(message.seq.0.saturating_sub(shift))),
        ("timestamp", string(message.timestamp)),
    ])
}

/// The refusal in an answer. Its text is kept where the code has more than one, as far as a client can be shown it.
fn refusal(all: &BTreeMap<String, Value>, text_member: &str) -> Reject {
    let said = text(all.get(text_member)).unwrap_or("The administrator node refused");
    let said = explanation(said);
    match text(all.get("error_code")) {
        Some("ROOM_NOT_FOUND") => Reject::RoomNotFound,
        Some("NOT_MEMBER" | "NOT_IN_ROOM") => Reject::NotMember,
        Some("INVALID_CONTENT") => Reject::InvalidContent(said),
        Some("INVALID_REQUEST") => Reject::InvalidField(said),
        Some("ADMIN_NODE_UNAVAILABLE") => Reject::AdminUnavailable,
        _ => Reject::Internal(said),
    }
}

impl LeaveAnswer {
    /// As an answer.
    #[must_use]
    pub fn to_value(self) -> Value {
        let refused = |message: &str, code: &str| {
            members([
                ("success", Value::Boolean(false)),
                ("message", string(message)),
                ("error_code", string(code)),
            ])
        };
        match self {
            Self::Left => members([
                ("success", Value::Boolean(true)),
                ("message", string("Successfully left room")),
            ]),
            Self::NotInRoom => refused("Not in room", "NOT_IN_ROOM"),
            Self::NoRoom => refused("Room not found", "ROOM_NOT_FOUND"),
        }
    }
}

impl DisconnectAnswer {
    /// As an answer.
    #[must_use]
    pub fn to_value(self) -> Value {
        let (success, message) = match self {
            Self::Removed => (true, "Member removed successfully"),
            Self::NotInRoom => (true, "User not in room"),
            Self::NoRoom => (false, "Room not found"),
        };
        members([("success", Value::Boolean(success)), ("message", string(message))])
    }
}

impl ForwardAnswer {
    /// As an answer. The number is lowered by `shift`.
    #[must_use]
    pub fn to_value(&self, shift: u64) -> Value {
        match self {
            Self::Sent {
                message_id,
                seq,
                timestamp,
            } => members([
                ("success", Value::Boolean(true)),
                ("message_id", string(message_id)),
                ("sequence_number", int(seq.0.saturating_sub(shift))),
                ("timestamp", string(timestamp)),
            ]),
            Self::Refused(reject) => members([
                ("success", Value::Boolean(false)),
                ("error", string(reject.text())),
                ("error_code", string(reject.code())),
            ]),
        }
    }

    /// From an answer.
    ///
    /// # Errors
    /// [`PeerFault::InvalidParams`] if it is none.
    pub fn from_value(value: &Value) -> Result<Self, PeerFault> {
        let all = as_struct(value)?;
        if !success(all)? {
            return Ok(Self::Refused(refusal(all, "error")));
        }
        let id = text(all.get("message_id")).ok_or(PeerFault::InvalidParams)?;
        Ok(Self::Sent {
            message_id: MessageId::parse(id).map_err(|_| PeerFault::InvalidParams)?,
            seq: lenient::seq(all.get("sequence_number"))?,
            timestamp: lenient::timestamp(all.get("timestamp")),
        })
    }
}

/// The parameters of `receive_message_broadcast`.
#[must_use]
pub fn message_params(message: &Message, shift: u64) -> Vec<Value> {
    vec![string(&message.room_id), message_value(message, shift)]
}

/// Reads the parameters of `receive_message_broadcast`.
///
/// # Errors
/// [`PeerFault::InvalidParams`] if they are no room and a message with a number.
pub fn message_from_params(params: &[Value]) -> Result<Message, PeerFault> {
    let [Value::String(room), message] = params else {
        return Err(PeerFault::InvalidParams);
    };
    let room = RoomId::parse(room).map_err(|_| PeerFault::InvalidParams)?;
    read_message(message, &room)
}

/// The parameters of `receive_member_event_broadcast` for somebody who came or went.
#[must_use]
pub fn event_params(event: &MemberEvent) -> Vec<Value> {
    let Value::Struct(mut data) = members([
        ("room_id", string(&event.room_id)),
        ("username", string(&event.username)),
        ("member_count", int(event.member_count)),
        ("timestamp", string(event.timestamp)),
    ]) else {
        return Vec::new();
    };
    if let Some(reason) = event.left.and_then(LeaveReason::text) {
        data.insert("reason".into(), string(reason));
    }
    let kind = if event.left.is_some() {
        "member_left"
    } else {
        "member_joined"
    };
    vec![string(&event.room_id), string(kind), Value::Struct(data)]
}

/// Reads the parameters of `receive_member_event_broadcast`. `None` is an event of another type.
///
/// # Errors
/// [`PeerFault::InvalidParams`] if they are no room, text and struct.
pub fn event_from_params(params: &[Value]) -> Result<Option<MemberEvent>, PeerFault> {
    let [Value::String(room), Value::String(kind), Value::Struct(data)] = params else {
        return Err(PeerFault::InvalidParams);
    };
    let left = match kind.as_str() {
        "member_joined" => None,
        "member_left" => {
            let reason = LeaveReason::from_text(text(data.get("reason")));
            Some(reason.unwrap_or(LeaveReason::Disconnected))
        }
        _ => return Ok(None),
    };
    Ok(Some(MemberEvent {
        room_id: RoomId::parse(room).map_err(|_| PeerFault::InvalidParams)?,
        username: lenient::user(data.get("username")),
        member_count: lenient::count(data.get("member_count")),
        timestamp: lenient::timestamp(data.get("timestamp")),
        left,
        version: 0,
    }))
}
