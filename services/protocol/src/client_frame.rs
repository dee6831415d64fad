//! What a client may ask, parsed once and then trusted.
//!
//! Both dialects ask the same things. What only the extended one can say is `None` in a request of the classic one.

use crate::ids::{ClientMsgId, Generation, RoomId, RoomName, Seq, UserName};
use crate::trace_context::TraceContext;
use std::sync::Arc;

/// By what an answer is told from others: a text of at most 64 characters or an integer, repeated as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestId {
    /// A text.
    Text(Arc<str>),
    /// An integer.
    Number(i64),
}

/// The first frame of an extended session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Under which name everything on this connection happens.
    pub user: UserName,
    /// What the client calls itself.
    pub client: Option<Arc<str>>,
    /// The token of an earlier connection whose seats this one wants to keep.
    pub resume: Option<Arc<str>>,
}

/// How far a client has got in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// In which life of the numbering.
    pub generation: Generation,
    /// The last number that it has.
    pub seq: Seq,
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListPage {
    /// `next` of the page before.
    pub after: Option<Arc<str>>,
    /// Most rooms.
    pub limit: Option<usize>,
    /// How the names of the rooms begin.
    pub name: Option<Arc<str>>,
}

/// From where a page of history is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryFrom {
    /// The first message after this number.
    After(Seq),
    /// The last messages before this number.
    Before(Seq),
}

/// A valid request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientFrame {
    /// The rooms that this node administers.
    ListRooms(Option<ListPage>),
    /// The rooms of all nodes.
    DiscoverRooms(Option<ListPage>),
    /// A new room, administered by this node.
    CreateRoom {
        /// Its name, unique on this node.
        room_name: RoomName,
        /// Who may delete it.
        creator_id: UserName,
        /// Free text.
        description: Option<Arc<str>>,
        /// The same id of the same creator gives the same room.
        request_id: Option<ClientMsgId>,
    },
    /// Become a member and receive the room's messages on this connection.
    JoinRoom {
        /// Which room.
        room_id: RoomId,
        /// Under which name.
        username: UserName,
        /// What the client has.
        from: Option<Position>,
        /// How many messages it wants otherwise.
        history: Option<u64>,
    },
    /// Stop receiving, and stop being a member if no other connection of the name is in the room.
    LeaveRoom {
        /// Which room.
        room_id: RoomId,
        /// Under which name.
        username: UserName,
    },
    /// Say something.
    SendMessage {
        /// Where.
        room_id: RoomId,
        /// Under which name.
        username: UserName,
        /// What: 1 to 5,000 code points, line ends normalised.
        content: Arc<str>,
        /// Recognises a repeat.
        client_msg_id: Option<ClientMsgId>,
        /// Where in a trace the client says it; only the extended dialect can.
        trace: Option<TraceContext>,
    },
    /// Messages of a room, outside of the cursor.
    ReadHistory {
        /// Which room.
        room_id: RoomId,
        /// From where.
        from: HistoryFrom,
        /// At most so many: 1 to [`crate::limits::MAX_HISTORY_PAGE`].
        limit: usize,
    },
    /// Delete a room that the user created.
    DeleteRoom {
        /// Which room.
        room_id: RoomId,
        /// Who asks.
        username: UserName,
    },
}
