//! What is said while a room is being deleted: votes, progress, and how it ended.

use crate::ids::{NodeId, RoomName, TransactionId};
use std::sync::Arc;

/// What a member node answers when it is asked to prepare.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Vote {
    /// The room may go.
    Ready,
    /// It may not; the reason is for people.
    Abort(Option<Arc<str>>),
}

/// How far a deletion is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The member nodes are asked whether the room may go.
    Preparing,
    /// It goes: the member nodes are told.
    Committing,
    /// It stays: the member nodes are told.
    RollingBack,
}

impl Phase {
    /// The `phase` on the wire.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Committing => "committing",
            Self::RollingBack => "rolling_back",
        }
    }

    /// The reverse of [`Self::text`].
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Preparing, Self::Committing, Self::RollingBack]
            .into_iter()
            .find(|phase| phase.text() == text)
    }

    /// What the original calls a room in this phase.
    #[must_use]
    pub const fn room_state(self) -> &'static str {
        match self {
            Self::Preparing => "DELETION_PENDING",
            Self::Committing => "COMMITTING",
            Self::RollingBack => "ROLLING_BACK",
        }
    }
}

/// What whoever asked for a deletion is told meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Progress {
    /// How far it is.
    pub phase: Phase,
    /// Nodes that have answered in this phase.
    pub ready: Vec<NodeId>,
    /// Nodes that are waited for.
    pub waiting_for: Vec<NodeId>,
}

/// What the node of a room says about an attempt to delete it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// It is not decided yet.
    Pending,
    /// The room stays.
    Aborted,
    /// The room is gone; by this attempt, whichever was asked for.
    Committed {
        /// Which attempt.
        transaction: TransactionId,
        /// What the room was called.
        room_name: RoomName,
    },
    /// The node has never had the room, or knows nothing of it any more.
    NoRoom,
}
