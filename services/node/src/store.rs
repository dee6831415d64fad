//! The store: what survives.
//!
//! One trait, several engines, one suite of behaviour (`conformance`) that all of them pass. The store is the only
//! judge of what was said: it accepts an append only under the room's current epoch and only at the room's next number.
//! Every mutation may be repeated with the same arguments.

#[cfg(test)]
mod conformance;
pub mod local;
pub mod memory;

use chat_engine::room::roster::Seat;
use chat_engine::stored::{
    Append, Appended, BeginDeletion, BeginOutcome, ClaimedRoom, DecideDeletion, DecideOutcome, RoomProfile,
    StoredDeletion, StoredSeat, Trim, TrimOutcome,
};
use chat_protocol::ids::{Incarnation, NodeId, RoomId, Seq};
use chat_protocol::message_frame::Message;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use tokio::sync::mpsc;

/// A future of a store call. Dropping it does not undo the call.
pub type StoreFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// Why a call failed. Reads may be repeated; a failed creation is [`CreateError`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// Nothing happened and the text says why.
    Unavailable(String),
    /// Nobody knows whether it happened.
    Unknown,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(why) => write!(f, "store unavailable: {why}"),
            Self::Unknown => f.write_str("store did not answer"),
        }
    }
}

impl std::error::Error for StoreError {}

/// Why a room was not created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreateError {
    /// A room of this node has the name.
    NameTaken,
    /// There was a room with this id, and it was deleted. Ids are not used again.
    Deleted,
    /// The store failed.
    Store(StoreError),
}

/// A page of rooms in order of creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomPage {
    /// At most as many as asked for.
    pub rooms: Vec<RoomProfile>,
    /// All rooms there are.
    pub total: usize,
    /// What to pass as `after` to get the next page; `None` at the end.
    pub next: Option<u64>,
}

/// Hands appends to the store; outcomes come back on the channel given to [`Store::appender`].
pub trait Appender: Send {
    /// Queues `appends`. Never waits: the caller keeps at most one append per room in flight, which bounds the queue.
    /// An item whose `client_msg_id` the same sender has used in the room before is never written a second time: the
    /// whole append is answered with `Repeats`. Each append has exactly one outcome; outcomes of one commit come as one vector.
    fn append(&mut self, appends: Vec<Append>);
}

/// A durable, linearisable, conditional store of rooms and messages.
pub trait Store: Send + Sync + 'static {
    /// The life of this node that began when the store was opened; durable before anything else.
    fn incarnation(&self) -> Incarnation;

    /// Creates a room with epoch 0, generation 1 and no messages. The name must be free on this node.
    /// Creating the same room (same id) again succeeds, unless it was deleted.
    fn create_room(&self, room: RoomProfile) -> StoreFuture<Result<(), CreateError>>;

    /// Begins a new tenure of a room: raises its epoch by one, and says who sat in it and where it stands. `None` if there is
    /// no such room. A deleted one has no new tenure; it has the seats that are not removed yet, and no messages.
    fn claim(&self, room_id: RoomId) -> StoreFuture<Result<Option<ClaimedRoom>, StoreError>>;

    /// A way to append whose outcomes go to `outcomes`. One per shard.
    fn appender(&self, outcomes: mpsc::UnboundedSender<Vec<Appended>>) -> Box<dyn Appender>;

    /// Notes that a connection sits in a room. Nobody waits for it; notes of one room are taken in their order.
    fn keep_seat(&self, room_id: RoomId, seat: StoredSeat);

    /// Forgets a seat.
    fn drop_seat(&self, room_id: RoomId, seat: Seat);

    /// Rooms with seats, for a node that starts.
    fn seated_rooms(&self) -> StoreFuture<Result<Vec<RoomId>, StoreError>>;

    /// Gives up the oldest messages of a room: they are not read any more. May be repeated; the floor never goes down.
    fn trim(&self, room_id: RoomId, trim: Trim) -> StoreFuture<Result<TrimOutcome, StoreError>>;

    /// Begins an attempt to delete a room: durable, and nothing is appended from here on. The same attempt may begin again;
    /// one that was decided does not.
    fn begin_deletion(&self, room_id: RoomId, begin: BeginDeletion) -> StoreFuture<BeginOutcome>;

    /// Decides an attempt. Committed, the room is gone: it is in no list, its name is free, its messages are not read. Given
    /// up, the room is as before. An attempt that the store has never heard of may be given up: then it cannot begin any more.
    fn decide_deletion(&self, room_id: RoomId, decide: DecideDeletion) -> StoreFuture<DecideOutcome>;

    /// Removes some of what a deleted room left behind. True if there is more. Of any other room, nothing is removed.
    fn purge(&self, room_id: RoomId) -> StoreFuture<Result<bool, StoreError>>;

    /// Where a room stands; `None` if it was never here.
    fn deletion(&self, room_id: RoomId) -> StoreFuture<Result<Option<StoredDeletion>, StoreError>>;

    /// Rooms whose deletion is not decided, or that left something behind, for a node that starts.
    fn unfinished_deletions(&self) -> StoreFuture<Result<Vec<RoomId>, StoreError>>;

    /// Committed messages of a room from number `from` on, ascending, without a hole, at most `limit` and at most about
    /// `max_bytes` of content, but at least one if there is one. Empty if the room has none there or does not exist. If
    /// the message `from` was trimmed away, the first one is the first that is kept: only then it has another number.
    fn read(
        &self,
        room_id: RoomId,
        from: Seq,
        limit: usize,
        max_bytes: usize,
    ) -> StoreFuture<Result<Vec<Message>, StoreError>>;

    /// The head of each room that exists, in the order asked.
    fn heads(&self, rooms: Vec<RoomId>) -> StoreFuture<Result<Vec<(RoomId, Seq)>, StoreError>>;

    /// Rooms in order of creation, at most `limit` after the position `after` of an earlier page.
    fn rooms(&self, after: Option<u64>, limit: usize) -> StoreFuture<Result<RoomPage, StoreError>>;

    /// True if this store has the room, and it is not deleted.
    fn has_room(&self, room_id: RoomId) -> StoreFuture<Result<bool, StoreError>>;

    /// A room as it was created, if it is here and not deleted.
    fn profile(&self, room_id: RoomId) -> StoreFuture<Result<Option<RoomProfile>, StoreError>>;

    /// Notes which node administers a room that is not here. Nobody waits for it; a loss costs a better error text.
    fn remember_location(&self, room_id: RoomId, node: NodeId);

    /// Where a room was found last, in this life or an earlier one.
    fn location(&self, room_id: RoomId) -> StoreFuture<Result<Option<NodeId>, StoreError>>;

    /// Resolves, with the reason, when the store cannot go on and the process must end (status 74). May never resolve.
    fn fatal(&self) -> StoreFuture<String>;

    /// Finishes what is queued, releases the data directory. Further calls fail.
    fn close(&self) -> StoreFuture<()>;
}
