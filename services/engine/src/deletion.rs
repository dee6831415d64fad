//! Deleting a room that several nodes have members in: two-phase commit, with a decision that is written down.
//!
//! ```text
//!  coordinator (the room's admin node)                    participant (a node with members in the room)
//!  ACTIVE
//!    │ nothing is in flight; begin(T)         [durable]    IDLE
//!  DELETING(T) ── PREPARE(T) ────────────────────────────▶  │ hold joins and sends
//!    │            ◀─ READY or ABORT ──────────────────────  PREPARED(T)
//!    ├─ all ready ──▶ decide(T, COMMIT)       [durable]     │
//!    │    DELETED(T) ── COMMIT(T) ───────────────────────▶  ├─ tell the members ─▶ gone
//!    │            ◀─ DONE ────────────────────────────────  │
//!    └─ ABORT, 5 s ─▶ decide(T, ABORT)        [durable]     │
//!         ACTIVE ──── ROLLBACK(T) ───────────────────────▶  ├─ let go what was held ─▶ IDLE
//!                                                           └─ no word for 10 s: ask the admin node, and keep asking
//! ```
//!
//! * The state in the store is the whole log of the transaction. A tenure that finds DELETING decides to abort: whoever had
//!   decided to commit would have left DELETED. One that finds DELETED says COMMIT again.
//! * A node that is failed or not heard of since a restart is not waited for. It learns the end from its link, or when it
//!   announces its seats, or when it asks.
//! * What a participant promises by READY is kept in memory: a life that is over has no members who could notice.
//! * A COMMIT that no PREPARE announced is believed only after the room's admin node has confirmed it.
//!
//! The two machines here decide; [`crate::room`] and its follower translate what they want into effects.

pub mod coordinator;
pub mod held;
pub mod participant;

use crate::stored::{RoomState, StoredDeletion};
use chat_protocol::deletion::{Fate, Vote};
use chat_protocol::ids::{NodeId, TransactionId};
use std::sync::Arc;

/// Patience of both sides; milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeletionLimits {
    /// How long the votes may take, and before them the log's coming to rest.
    pub prepare: u64,
    /// How long whoever asked waits for the nodes that are told of a commit.
    pub commit: u64,
    /// How long a prepared node waits for a word before it asks. Also how long whoever asked waits for the store.
    pub doubt: u64,
    /// Pause between two questions of a node.
    pub ask: u64,
    /// Longest time for which a join or a send is held; then it is refused.
    pub hold: u64,
    /// Most of them.
    pub held: usize,
    /// Most bytes of them.
    pub held_bytes: usize,
}

impl Default for DeletionLimits {
    fn default() -> Self {
        Self {
            prepare: 5_000,
            commit: 5_000,
            doubt: 10_000,
            ask: 1_000,
            hold: 7_500,
            held: 1_024,
            held_bytes: 1 << 20,
        }
    }
}

/// Why a deletion was given up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AbortReason {
    /// A node did not vote in time.
    TimedOut(NodeId),
    /// A node voted against it.
    Refused(NodeId, Option<Arc<str>>),
    /// The store did not take it.
    Store,
    /// The tenure that began it is over.
    Recovered,
}

impl AbortReason {
    /// What whoever asked is told.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::TimedOut(node) => format!("Node {node} timed out"),
            Self::Refused(node, None) => format!("Node {node} voted ABORT"),
            Self::Refused(_, Some(reason)) => reason.to_string(),
            Self::Store | Self::Recovered => "Deletion failed".into(),
        }
    }
}

/// What the node of a room answers to whoever asks for the attempt `asked`, by what its store has.
///
/// A participant knows of an attempt only if it was begun, so one that is not under way any more is over; and what is not
/// committed is aborted.
#[must_use]
pub fn fate(stored: Option<StoredDeletion>, asked: &TransactionId) -> Fate {
    match stored {
        None => Fate::NoRoom,
        Some(StoredDeletion { state, room_name }) => match state {
            RoomState::Deleted(transaction) => Fate::Committed { transaction, room_name },
            RoomState::Deleting(transaction) if transaction == *asked => Fate::Pending,
            RoomState::Deleting(_) | RoomState::Active => Fate::Aborted,
        },
    }
}

/// The vote of a node that administers the room itself: only an admin node coordinates, and it is no participant.
#[must_use]
pub fn vote_of_the_admin(me: &NodeId) -> Vote {
    Vote::Abort(Some(format!("Room is administered by {me}").into()))
}

#[cfg(test)]
mod tests;
