//! What the engine and a store say to each other: values that both sides trust.

use crate::room::roster::Seat;
use chat_protocol::ids::{ClientMsgId, Epoch, Generation, MessageId, RoomId, RoomName, SeatKey, Seq, UserName};
use chat_protocol::message_frame::Message;
use chat_protocol::timestamp::Timestamp;
use std::sync::Arc;

mod deletion;

pub use deletion::{BeginDeletion, BeginOutcome, DecideDeletion, DecideOutcome, Decision, RoomState, StoredDeletion};

/// A room as it was created; none of it changes later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomProfile {
    /// Which room.
    pub room_id: RoomId,
    /// What people call it.
    pub room_name: RoomName,
    /// Who may delete it.
    pub creator_id: UserName,
    /// Free text.
    pub description: Option<Arc<str>>,
    /// When.
    pub created_at: Timestamp,
}

/// A claimed room: everything its admin node needs to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedRoom {
    /// What it is.
    pub profile: RoomProfile,
    /// Which life of its numbering.
    pub generation: Generation,
    /// The tenure that this claim began: one more than any before.
    pub epoch: Epoch,
    /// The number of its last message, 0 if it has none.
    pub head: Seq,
    /// The number of the first message that is kept; 1 as long as nothing was trimmed.
    pub floor: Seq,
    /// Who sat in it when it was last heard of.
    pub seats: Vec<StoredSeat>,
    /// Whether it is being deleted, or is. A claim of a deleted room begins no tenure.
    pub state: RoomState,
}

/// A seat as it was noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSeat {
    /// Which.
    pub seat: Seat,
    /// Whose.
    pub user: UserName,
    /// By what it is recognised if its session comes back.
    pub key: Option<SeatKey>,
}

/// A message that is numbered but not yet committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// The message with its number.
    pub message: Message,
    /// How its sender would recognise it in a repeat; `None` where nobody can repeat it.
    pub client_msg_id: Option<ClientMsgId>,
}

/// One append: consecutive messages of one room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// Which room.
    pub room_id: RoomId,
    /// Chosen by the caller; comes back with the outcome.
    pub token: u64,
    /// Under which tenure.
    pub epoch: Epoch,
    /// The messages, numbered without a hole from the room's head on. Never empty.
    pub items: Arc<[NewMessage]>,
}

/// Which messages of a room are to be given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trim {
    /// Under which tenure.
    pub epoch: Epoch,
    /// Messages below this number are not read any more. The last message of a room always stays.
    pub below: Seq,
    /// So many of the last messages still tell a repeated sending from a new one, read or not.
    pub recognised: u64,
    /// Messages that were accepted at this time or later do so, too.
    pub recognised_since: Timestamp,
}

/// What became of a trim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrimOutcome {
    /// It is durable.
    Trimmed {
        /// The first message that is kept now. It never goes down.
        floor: Seq,
        /// True if the same trim would remove more from the disk: one call removes a bounded number.
        more: bool,
    },
    /// A later tenure began; nothing was done.
    Fenced(Epoch),
    /// There is no such room.
    NoRoom,
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppendOutcome {
    /// All items are durable.
    Committed,
    /// The same items were committed before, by an attempt whose answer was lost.
    Duplicate,
    /// Nothing was written: these items were committed before, by other appends, under the same `client_msg_id`. The
    /// others may be appended again without them.
    Repeats(Vec<Repeat>),
    /// A later tenure began. Definite for this attempt; an earlier attempt of the same items may have committed.
    Fenced(Epoch),
    /// The first item is not the next number; this one is.
    SeqMismatch(Seq),
    /// There is no such room.
    NoRoom,
    /// The room is being deleted. Definite for this attempt; the same append may be tried again when that was given up.
    BeingDeleted,
    /// Nothing was written and nothing will be (a full disk, for instance).
    Refused(String),
    /// Nobody knows whether it was written. The same append may be tried again.
    Unknown,
}

/// An item that is in the log already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeat {
    /// Which item of the append, from 0.
    pub index: usize,
    /// What became of the first sending.
    pub message_id: MessageId,
    /// Its place.
    pub seq: Seq,
    /// When it was accepted.
    pub timestamp: Timestamp,
    /// False if the first sending said something else.
    pub same_content: bool,
}

/// An outcome with what it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Which room.
    pub room_id: RoomId,
    /// The token of the append.
    pub token: u64,
    /// What became of it.
    pub outcome: AppendOutcome,
}
