//! What a client may ask, parsed once and then trusted.

use crate::ids::{RoomId, RoomName, UserName};
use std::sync::Arc;

/// A valid request of the classic dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientFrame {
    /// The rooms that this node administers.
    ListRooms,
    /// The rooms of all nodes.
    DiscoverRooms,
    /// A new room, administered by this node.
    CreateRoom {
        /// Its name, unique on this node.
        room_name: RoomName,
        /// Who may delete it.
        creator_id: UserName,
        /// Free text.
        description: Option<Arc<str>>,
    },
    /// Become a member and receive the room's messages on this connection.
    JoinRoom {
        /// Which room.
        room_id: RoomId,
        /// Under which name.
        username: UserName,
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
    },
    /// Delete a room that the user created.
    DeleteRoom {
        /// Which room.
        room_id: RoomId,
        /// Who asks.
        username: UserName,
    },
}
