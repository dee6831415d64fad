//! What a node may say to a client, except `new_message` (see [`crate::message_frame`]).
//!
//! The order of fields is the order on the wire. The texts are frozen by `tests/golden.rs`.

use crate::ids::{MessageId, NodeId, RoomId, RoomName, Seq, UserName};
use crate::reject::Reject;
use crate::timestamp::Timestamp;
use std::sync::Arc;

/// One room in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomSummary {
    /// Which room.
    pub room_id: RoomId,
    /// What people call it.
    pub room_name: RoomName,
    /// Free text.
    pub description: Option<Arc<str>>,
    /// Distinct user names in the room, on all nodes.
    pub member_count: u32,
    /// Who administers it.
    pub admin_node: NodeId,
    /// Who may delete it.
    pub creator_id: UserName,
    /// Where its admin node answers peers; only in lists that cross nodes.
    pub node_address: Option<Arc<str>>,
}

/// What a joiner learns about a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomInfo {
    /// Which room.
    pub room_id: RoomId,
    /// What people call it.
    pub room_name: RoomName,
    /// Free text.
    pub description: Option<Arc<str>>,
    /// Who is in it, the joiner included, in name order.
    pub members: Vec<UserName>,
    /// Who administers it.
    pub admin_node: NodeId,
}

/// Why a member is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaveReason {
    /// It asked to; nothing on the wire.
    Left,
    /// Its last connection closed.
    Disconnected,
    /// Its node failed.
    NodeUnreachable,
    /// It neither joined nor sent for too long.
    Inactivity,
}

impl LeaveReason {
    /// The text on the wire, if there is one.
    #[must_use]
    pub const fn text(self) -> Option<&'static str> {
        match self {
            Self::Left => None,
            Self::Disconnected => Some("User disconnected"),
            Self::NodeUnreachable => Some("Node unreachable"),
            Self::Inactivity => Some("Inactivity"),
        }
    }

    /// The reverse of [`Self::text`]; `None` for a text that is none of ours.
    #[must_use]
    pub fn from_text(text: Option<&str>) -> Option<Self> {
        [Self::Left, Self::Disconnected, Self::NodeUnreachable, Self::Inactivity]
            .into_iter()
            .find(|r| r.text() == text)
    }
}

/// A change of who is in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberEvent {
    /// Which room.
    pub room_id: RoomId,
    /// Whose coming or going.
    pub username: UserName,
    /// How many are in it afterwards.
    pub member_count: u32,
    /// When the admin node changed the roster.
    pub timestamp: Timestamp,
    /// `None`: came. `Some`: went, and why.
    pub left: Option<LeaveReason>,
}

/// A frame for one client or for the members of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerFrame {
    /// The request could not be understood at all.
    Error(String),
    /// Answer to `list_rooms`. `total` counts the rooms that exist, also those that did not fit.
    RoomsList {
        /// In order of creation.
        rooms: Vec<RoomSummary>,
        /// All there are.
        total: usize,
    },
    /// Answer to `discover_rooms`.
    GlobalRoomsList {
        /// Own rooms, then those of the peers in order of their answers.
        rooms: Vec<RoomSummary>,
        /// All there are on the nodes that answered.
        total: usize,
        /// Nodes that answered, this one first.
        available: Vec<NodeId>,
        /// Nodes that did not.
        unavailable: Vec<NodeId>,
    },
    /// A room was created for the requester.
    RoomCreated {
        /// Which room.
        room_id: RoomId,
        /// Its name.
        room_name: RoomName,
        /// This node.
        admin_node: NodeId,
        /// When.
        created_at: Timestamp,
    },
    /// No room was created; the same frame type, told apart by `success`.
    RoomNotCreated(String),
    /// The requester is in.
    JoinRoomSuccess(RoomInfo),
    /// The requester is not in.
    JoinRoomError {
        /// What was asked for, as it came.
        room_id: String,
        /// Why not.
        reject: Reject,
    },
    /// The requester is out, whatever was before.
    LeaveRoomSuccess {
        /// As it came.
        room_id: String,
        /// As it came.
        username: String,
    },
    /// The requester's message is committed and numbered.
    MessageSent {
        /// Where.
        room_id: RoomId,
        /// Which.
        message_id: MessageId,
        /// Its place.
        seq: Seq,
        /// When.
        timestamp: Timestamp,
    },
    /// The requester's message was refused.
    MessageError {
        /// What was asked for, as it came.
        room_id: String,
        /// Why.
        reject: Reject,
    },
    /// The room was not deleted.
    DeleteRoomFailed {
        /// What was asked for, as it came.
        room_id: String,
        /// Why.
        reject: Reject,
    },
    /// Somebody came or went.
    Member(MemberEvent),
}
