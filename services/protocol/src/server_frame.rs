//! What a node may say to a client, except `new_message` (see [`crate::message_frame`]).
//!
//! The order of fields is the order on the wire. The texts are frozen by `tests/golden.rs`.

use crate::client_frame::RequestId;
use crate::deletion::Progress;
use crate::ids::{ClientMsgId, Generation, MessageId, NodeId, RoomId, RoomName, Seq, TransactionId, UserName};
use crate::message_frame::MessageFrame;
use crate::reject::{Code, Reject};
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
    /// Counts the changes of the roster; only extended sessions are told.
    pub version: u64,
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
    /// A deletion has begun: for whoever asked, with the transaction, and for the members, without.
    DeleteRoomInitiated {
        /// Which room.
        room_id: RoomId,
        /// Who asked.
        initiator: UserName,
        /// Which attempt.
        transaction: Option<TransactionId>,
    },
    /// The room is deleted: for whoever asked.
    DeleteRoomSuccess {
        /// Which room.
        room_id: RoomId,
        /// Which attempt it was.
        transaction: TransactionId,
    },
    /// The room was not deleted.
    DeleteRoomFailed {
        /// What was asked for, as it came.
        room_id: String,
        /// Why.
        reject: Reject,
        /// Which attempt it was, if there was one.
        transaction: Option<TransactionId>,
    },
    /// The room is deleted: for its members. Those behind its admin node get a sentence, the others the transaction.
    RoomDeleted {
        /// Which room.
        room_id: RoomId,
        /// What it was called.
        room_name: RoomName,
        /// Which attempt it was.
        transaction: Option<TransactionId>,
    },
    /// The room stays after all: for its members.
    DeleteRoomCancelled {
        /// Which room.
        room_id: RoomId,
        /// Which attempt it was.
        transaction: TransactionId,
    },
    /// Somebody came or went.
    Member(MemberEvent),
    // === only in the extended dialect
    /// The request was refused, with a code.
    Refused {
        /// Why, for programs.
        code: Code,
        /// Why, for people.
        message: Arc<str>,
    },
    /// A request about a room that has no refusal of its own was refused.
    RequestRefused {
        /// What was asked for, as it came.
        room_id: String,
        /// Why.
        reject: Reject,
    },
    /// The answer to `hello`.
    Welcome(Welcome),
    /// The position of the session in a room is void: it is sent messages from another one on.
    Resync {
        /// Which room.
        room_id: RoomId,
        /// The life of the numbering that counts now.
        generation: Generation,
        /// The first message that follows.
        from: Seq,
        /// Why.
        reason: ResyncReason,
    },
    /// The answer to `read_history`.
    History(History),
    /// The admin node of a room does not answer, or does again.
    Trouble {
        /// Which room.
        room_id: RoomId,
        /// True: sends and joins fail for now. False: that is over.
        degraded: bool,
    },
    /// How far the deletion is that the session asked for.
    DeleteRoomProgress {
        /// Which room.
        room_id: RoomId,
        /// How far.
        progress: Progress,
    },
    /// The node is about to close the session.
    Reconnect {
        /// When the client had better be gone.
        after_ms: u64,
    },
}

impl ServerFrame {
    /// The code of a refusal. Some refusals of the classic dialect have none; what refuses nothing has none, either.
    #[must_use]
    pub const fn refusal(&self) -> Option<Code> {
        match self {
            Self::JoinRoomError { reject, .. }
            | Self::MessageError { reject, .. }
            | Self::DeleteRoomFailed { reject, .. }
            | Self::RequestRefused { reject, .. } => Some(reject.kind()),
            Self::Refused { code, .. } => Some(*code),
            Self::Error(_)
            | Self::RoomsList { .. }
            | Self::GlobalRoomsList { .. }
            | Self::RoomCreated { .. }
            | Self::RoomNotCreated(_)
            | Self::JoinRoomSuccess(_)
            | Self::LeaveRoomSuccess { .. }
            | Self::MessageSent { .. }
            | Self::DeleteRoomInitiated { .. }
            | Self::DeleteRoomSuccess { .. }
            | Self::RoomDeleted { .. }
            | Self::DeleteRoomCancelled { .. }
            | Self::Member(_)
            | Self::Welcome(_)
            | Self::Resync { .. }
            | Self::History(_)
            | Self::Trouble { .. }
            | Self::DeleteRoomProgress { .. }
            | Self::Reconnect { .. } => None,
        }
    }
}

/// The answer to `hello`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// What this session is called in logs.
    pub session: String,
    /// By what the session is recognised when it comes back.
    pub resume: Arc<str>,
    /// True if the token of `hello` was taken. Whether a seat is still there is said by each join.
    pub resumed: bool,
    /// Who speaks.
    pub node: NodeId,
    /// Seconds between two pings of the node.
    pub ping_seconds: u64,
}

/// Why a position is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResyncReason {
    /// The room has another life of its numbering.
    Generation,
    /// The position is beyond the last message.
    Ahead,
    /// Messages behind the position are not kept any more.
    Trimmed,
}

impl ResyncReason {
    /// The `reason` on the wire.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Generation => "generation",
            Self::Ahead => "ahead",
            Self::Trimmed => "trimmed",
        }
    }
}

/// The answer to `read_history`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Which room.
    pub room_id: RoomId,
    /// Which life of its numbering.
    pub generation: Generation,
    /// Ascending, without a hole.
    pub messages: Vec<MessageFrame>,
    /// The last message of the room, as far as this node knows.
    pub head: Seq,
    /// True if there are more in the direction of the request.
    pub more: bool,
    /// True if the admin node does not answer: what this node holds may not be all.
    pub stale: bool,
}

/// What an extended session is told beyond the frame that a classic one gets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Extra {
    /// Nothing.
    #[default]
    None,
    /// With `join_room_success`.
    Joined {
        /// Which life of the numbering.
        generation: Generation,
        /// The first message that follows, one after the head if there is none.
        first: Seq,
        /// The last message at this moment.
        head: Seq,
        /// Counts changes of the members.
        member_version: u64,
        /// True if the seat of an earlier connection was kept.
        resumed: bool,
    },
    /// With `message_sent`.
    Sent {
        /// As it came; absent if none came.
        client_msg_id: Option<ClientMsgId>,
        /// Which life of the numbering.
        generation: Generation,
        /// True if this is the answer to a repeat.
        duplicate: bool,
    },
    /// With `message_error`.
    SendRefused {
        /// As it came; absent if none came.
        client_msg_id: Option<ClientMsgId>,
        /// True if nobody knows whether the message is in the room.
        unknown: bool,
        /// When trying again may help.
        retry_after_ms: Option<u64>,
    },
    /// With `member_joined` and `member_left`.
    Member {
        /// Counts changes of the members.
        version: u64,
    },
    /// With a list that goes on.
    Next(Arc<str>),
}

/// A frame as an extended session gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtendedFrame<'a> {
    /// The id of the request that it answers.
    pub re: Option<&'a RequestId>,
    /// What a classic session would get.
    pub frame: &'a ServerFrame,
    /// What that one must not see.
    pub extra: &'a Extra,
}
