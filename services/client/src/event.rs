//! What a node says without being asked, typed.

use serde::Deserialize;
use std::fmt;

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message of a joined room: live, or history after a join.
    NewMessage(NewMessage),
    /// Somebody came.
    MemberJoined(MemberChange),
    /// Somebody went. With the own name: this user was removed from the room.
    MemberLeft(MemberChange),
    /// The connection is at its end; nothing follows.
    Closed(Closed),
    /// A frame that this library does not know, or an answer that nobody waits for.
    Other {
        /// Its `type`; `""` if it has none.
        kind: String,
        /// All of it.
        text: String,
    },
}

/// A numbered message.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct NewMessage {
    /// Which message.
    pub message_id: String,
    /// Where.
    pub room_id: String,
    /// Who said it.
    pub username: String,
    /// What.
    pub content: String,
    /// Its place in the order of the room.
    #[serde(rename = "sequence_number")]
    pub seq: u64,
    /// When, as the node wrote it (UTC).
    pub timestamp: String,
}

/// A change of who is in a room.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct MemberChange {
    /// Which room.
    pub room_id: String,
    /// Who.
    pub username: String,
    /// How many are in it afterwards.
    pub member_count: u64,
    /// When, as the node wrote it (UTC).
    pub timestamp: String,
    /// Why somebody went; absent after a leave.
    #[serde(default)]
    pub reason: Option<String>,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The close code; 1005 for a close frame without one, `None` if the connection broke without a close frame.
    pub code: Option<u16>,
    /// What the node or the system said about it.
    pub reason: String,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.reason.as_str()) {
            (Some(code), "") => write!(f, "closed with {code}"),
            (Some(code), reason) => write!(f, "closed with {code}: {reason}"),
            (None, reason) => write!(f, "connection broken: {reason}"),
        }
    }
}
