//! The other nodes, as rooms see them.
//!
//! This node has none yet: everything about them answers that they are not there.

use chat_engine::effect::{Answer, Upward};
use chat_protocol::ids::{Epoch, Generation, NodeId, RoomId, Seq};
use chat_protocol::message_frame::MessageFrame;
use chat_protocol::reject::Reject;
use chat_protocol::server_frame::MemberEvent;

/// Where a room is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Located {
    /// This node has it.
    Here,
    /// That node administers it.
    At(NodeId),
    /// Every known node was asked and none has it.
    Nowhere,
    /// No node that answered has it, but not all answered.
    Unavailable,
    /// The store of this node could not be asked.
    Failed(String),
}

impl Located {
    /// What whoever wanted into the room is told.
    #[must_use]
    pub fn reject(&self) -> Reject {
        match self {
            Self::Nowhere => Reject::RoomNotFound,
            Self::Failed(why) => Reject::Internal(why.clone()),
            Self::Here | Self::At(_) | Self::Unavailable => Reject::AdminUnavailable,
        }
    }
}

/// The way to the other nodes. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Peers;

impl Peers {
    /// Asks all nodes for a room.
    pub async fn locate(&self, _room: &RoomId) -> Located {
        Located::Nowhere
    }

    /// Committed messages of a room at its admin node.
    ///
    /// # Errors
    /// Why they could not be read.
    pub async fn read_range(
        &self,
        node: &NodeId,
        _room: &RoomId,
        _from: Seq,
        _limit: usize,
    ) -> Result<Vec<MessageFrame>, String> {
        Err(format!("{node} is not known"))
    }

    /// Sends messages to a node with members in the room.
    pub fn relay(&self, _to: &NodeId, _room: &RoomId, _: Generation, _: Epoch, _: Vec<MessageFrame>) {}

    /// Tells a node who came or went.
    pub fn announce(&self, _to: &NodeId, _room: &RoomId, _event: MemberEvent) {}

    /// Tells a node where a room stands.
    pub fn tell_head(&self, _to: &NodeId, _room: &RoomId, _: Generation, _: Epoch, _head: Seq) {}

    /// Answers a request of a node.
    pub fn answer(&self, _to: &NodeId, _room: &RoomId, _request: u64, _answer: Answer) {}

    /// Asks the admin node of a room for something.
    pub fn tell(&self, _to: &NodeId, _room: &RoomId, _item: Upward) {}
}
