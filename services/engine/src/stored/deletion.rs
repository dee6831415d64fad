//! What the engine and a store say to each other about deletions.

use chat_protocol::ids::{Epoch, RoomName, TransactionId};

/// Where a room stands, as the store has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoomState {
    /// It can be written to.
    Active,
    /// An attempt to delete it has begun and is not decided.
    Deleting(TransactionId),
    /// It is gone, for ever. What remains is that it was.
    Deleted(TransactionId),
}

/// Begin an attempt to delete a room.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BeginDeletion {
    /// Under which tenure.
    pub epoch: Epoch,
    /// Which attempt.
    pub transaction: TransactionId,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BeginOutcome {
    /// It is durable: nothing is appended any more unless the attempt is given up.
    Begun,
    /// A later tenure began; nothing was done.
    Fenced(Epoch),
    /// Nothing was done: the room is deleted, or another attempt is under way, or (`Active`) this one was given up before.
    BadState(RoomState),
    /// There is no such room.
    NoRoom,
    /// Nothing was written and nothing will be.
    Refused(String),
    /// Nobody knows whether it was written. The same may be tried again.
    Unknown,
}

/// How an attempt ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decision {
    /// The room is deleted.
    Commit,
    /// The room stays.
    Abort,
}

/// Decide an attempt. It is decided once; the same decision may be made again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DecideDeletion {
    /// Under which tenure; not necessarily the one that began it.
    pub epoch: Epoch,
    /// Which attempt.
    pub transaction: TransactionId,
    /// How it ends.
    pub decision: Decision,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DecideOutcome {
    /// It is durable.
    Decided,
    /// A later tenure began; nothing was done.
    Fenced(Epoch),
    /// Nothing was done, because the room is in this state. An attempt that was never begun can be given up, but not committed.
    BadState(RoomState),
    /// There is no such room.
    NoRoom,
    /// Nothing was written and nothing will be.
    Refused(String),
    /// Nobody knows whether it was written. The same may be tried again.
    Unknown,
}

/// What a store knows of a room's deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDeletion {
    /// Where the room stands.
    pub state: RoomState,
    /// What it is or was called.
    pub room_name: RoomName,
}
