//! Everything that the engine can ask for: the table of contents of the system.
//!
//! Effects are performed in the order of the list. That order carries promises: a delivery stands before the answer that
//! acknowledges it, an unsubscription before the event that its owner must not see.

use crate::deletion::AbortReason;
use crate::deletion::coordinator::Word;
use crate::room::roster::Seat;
use crate::stored::{Append, BeginDeletion, DecideDeletion, Trim};
use chat_protocol::client_frame::Position;
use chat_protocol::deletion::Progress;
use chat_protocol::ids::{
    ClientMsgId, Epoch, Generation, MessageId, NodeId, RoomName, SeatKey, Seq, SessionId, TransactionId, UserName,
};
use chat_protocol::message_frame::MessageFrame;
use chat_protocol::peer_item::PeerBody;
use chat_protocol::reject::Reject;
use chat_protocol::server_frame::{MemberEvent, ResyncReason, RoomInfo};
use chat_protocol::timestamp::Timestamp;
use std::sync::Arc;

/// Who asked, and for which of its requests the answer is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The node whose client asked.
    pub node: NodeId,
    /// The client's connection there.
    pub session: SessionId,
    /// Chosen by that node; repeated in the answer.
    pub request: u64,
}

/// How a connection joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Terms {
    /// It gets the newest messages, numbered from 1 if need be; when it closes, it has left.
    Classic,
    /// It knows where it stands, and may come back.
    Extended {
        /// By what its seat is recognised.
        key: SeatKey,
        /// What it has.
        from: Option<Position>,
        /// How many of the newest messages it wants otherwise.
        history: u64,
    },
}

impl Terms {
    /// By what the seat is recognised if its session comes back.
    #[must_use]
    pub const fn key(&self) -> Option<&SeatKey> {
        match self {
            Self::Classic => None,
            Self::Extended { key, .. } => Some(key),
        }
    }
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The user is a member, and this is the room at that moment.
    Joined(Joined),
    /// The join was refused.
    JoinRefused(Reject),
    /// The user is not in the room any more, if it ever was.
    Left,
    /// The message is committed.
    Sent {
        /// Which message.
        message_id: MessageId,
        /// Its place.
        seq: Seq,
        /// When it was accepted.
        timestamp: Timestamp,
        /// True if an earlier sending put it there.
        duplicate: bool,
    },
    /// The message was refused: it is not in the room and will not be.
    SendRefused(Reject),
    /// Nobody knows whether the message is in the room. The same sending may be tried again.
    SendUnknown,
    /// Whoever was to leave was not in the room; only original nodes are told so.
    NotIn,
    /// The deletion has begun. Not the last answer.
    DeletionInitiated {
        /// Which attempt it is.
        transaction: TransactionId,
        /// Who wants it.
        initiator: UserName,
    },
    /// How far the deletion is. Not the last answer.
    DeletionProgress(Progress),
    /// The room is deleted.
    Deleted {
        /// Which attempt it was.
        transaction: TransactionId,
        /// What the connection is told behind it, because it was in the room.
        farewell: Option<Notice>,
    },
    /// The room was not deleted, or nobody knows.
    DeleteRefused {
        /// Why.
        reject: Reject,
        /// Which attempt it was, if it had begun.
        transaction: Option<TransactionId>,
    },
}

/// What the members of a room hear of its deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// It has begun.
    Initiated {
        /// Who wants it.
        initiator: UserName,
    },
    /// It was given up.
    Cancelled {
        /// Which attempt.
        transaction: TransactionId,
    },
    /// The room is gone.
    Deleted {
        /// What it was called.
        room_name: RoomName,
        /// Which attempt it was; not said behind the admin node.
        transaction: Option<TransactionId>,
    },
}

/// How an attempt to delete a room ended, for whoever counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeletionEnd {
    /// The room is deleted.
    Committed,
    /// The room stays.
    Aborted(AbortReason),
    /// It did not begin.
    NotBegun,
    /// It was committed in an earlier life of this node, and is told again.
    Retold,
}

/// A room at the moment of a join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// What the joiner is told.
    pub info: RoomInfo,
    /// Which life of the numbering.
    pub generation: Generation,
    /// Which tenure.
    pub epoch: Epoch,
    /// The last committed message. Everything later is delivered, everything up to it is history.
    pub head: Seq,
    /// The first message that is kept.
    pub floor: Seq,
    /// Counts the changes of the roster.
    pub version: u64,
    /// True if the seat of an earlier connection was kept.
    pub resumed: bool,
    /// The first message that this connection will be sent; 0 between nodes.
    pub first: Seq,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Begin a tenure; comes back as `Claimed`.
    Claim,
    /// Make messages durable; comes back as `Appended` with the same token.
    Append(Append),
    /// Read back committed messages; comes back as `Reread`.
    Reread {
        /// The first wanted.
        from: Seq,
        /// At most so many.
        limit: usize,
    },
    /// Give up the oldest messages; comes back as `Trimmed`.
    Trim(Trim),
    /// Write down that a deletion begins; comes back as `Begun`.
    BeginDeletion(BeginDeletion),
    /// Write down how it ends; comes back as `Decided`.
    DecideDeletion(DecideDeletion),
    /// Remove some of what a deleted room has on disk; comes back as `Purged`.
    Purge,
    /// Ask the admin node how an attempt to delete the room ended; comes back as `Fate`.
    AskFate {
        /// The admin node.
        node: NodeId,
        /// Which attempt.
        transaction: TransactionId,
        /// Comes back with the answer.
        question: u64,
    },
    /// Say something about the room's deletion to an original node; comes back as `Voted`, `Done` or `Silent`.
    TellOriginal {
        /// Which node.
        node: NodeId,
        /// What.
        word: Word,
        /// Which attempt.
        transaction: TransactionId,
        /// What the room is or was called.
        room_name: RoomName,
    },
    /// Tell the audience here about the room's deletion.
    Notify {
        /// What.
        notice: Notice,
        /// A connection that hears it later.
        except: Option<SessionId>,
    },
    /// A deletion ended here.
    DeletionEnded {
        /// How.
        end: DeletionEnd,
        /// Milliseconds since it was asked for.
        took: u64,
    },
    /// Answer a request, here or on another node.
    Answer {
        /// Who asked.
        to: Origin,
        /// What it is told.
        answer: Answer,
    },
    /// The connection is in the room's audience here; not yet live.
    Subscribe {
        /// Which connection.
        session: SessionId,
        /// What to subtract from every number it sees.
        shift: u64,
        /// The first message that it wants; earlier ones are not for it.
        first: Seq,
    },
    /// The position of the connection is void; messages from another one follow.
    Resync {
        /// Which connection.
        session: SessionId,
        /// Which life of the numbering.
        generation: Generation,
        /// The first message that follows.
        from: Seq,
        /// Why.
        reason: ResyncReason,
    },
    /// From here on the connection gets every delivery.
    GoLive {
        /// Which connection.
        session: SessionId,
    },
    /// The connection gets nothing more of this room.
    Unsubscribe {
        /// Which connection.
        session: SessionId,
    },
    /// The seat of the connection went to another one, which belongs to the same client: close it.
    Replaced {
        /// Which connection.
        session: SessionId,
    },
    /// What the connection has not seen was trimmed away, and it cannot be told so: close it as a slow reader.
    Overtaken {
        /// Which connection.
        session: SessionId,
    },
    /// The admin node of the room does not answer, or does again: tell who can be told.
    Trouble {
        /// True: it does not.
        degraded: bool,
    },
    /// Note a seat, so that it is known after a restart. Nobody waits for it.
    KeepSeat {
        /// Which.
        seat: Seat,
        /// Whose.
        user: UserName,
        /// By what it is recognised.
        key: Option<SeatKey>,
    },
    /// Forget a seat.
    DropSeat(Seat),
    /// Send the connection a page of history; comes back as `PageSent` when it was taken, or `PageFailed`.
    SendPage {
        /// Which connection.
        session: SessionId,
        /// The first wanted.
        from: Seq,
        /// The last that may be sent: later ones are not committed or not known here.
        to: Seq,
    },
    /// Committed messages for everybody who is live here.
    Deliver(Vec<MessageFrame>),
    /// The same messages for other nodes.
    Relay {
        /// Nodes with members in the room.
        nodes: Vec<NodeId>,
        /// Which life of the numbering.
        generation: Generation,
        /// Under which tenure.
        epoch: Epoch,
        /// Consecutive.
        frames: Vec<MessageFrame>,
    },
    /// Somebody came or went: tell the audience here and other nodes.
    Announce {
        /// What happened.
        event: MemberEvent,
        /// A connection here that must not see it.
        except: Option<SessionId>,
        /// Nodes with members in the room.
        nodes: Vec<NodeId>,
    },
    /// The same messages for an original node, numbers lowered by a shift. What its queue does not take comes back as
    /// `Lagged`.
    Broadcast {
        /// Which node.
        node: NodeId,
        /// What to subtract from every number.
        shift: u64,
        /// Consecutive.
        frames: Vec<MessageFrame>,
    },
    /// Messages of the log for an original node; comes back as `Passed` when its queue has taken some, or `PageFailed`.
    BroadcastPage {
        /// Which node.
        node: NodeId,
        /// What to subtract from every number.
        shift: u64,
        /// The first wanted.
        from: Seq,
        /// The last that may be said.
        to: Seq,
    },
    /// Tell original nodes that somebody came or went.
    BroadcastEvent {
        /// Which nodes.
        nodes: Vec<NodeId>,
        /// What happened.
        event: MemberEvent,
    },
    /// Ask the admin node of a room of the original; what it is that has a `request` comes back as `Answered`. Calls to one
    /// node are made in this order, one at a time.
    Ask {
        /// The admin node.
        node: NodeId,
        /// What.
        ask: Ask,
    },
    /// Take back what waits for an original node and would do harm now.
    Recall {
        /// Which node.
        node: NodeId,
        /// What.
        what: Recalled,
    },
    /// Tell nodes where the room stands, so that they notice what they missed.
    TellHead {
        /// Nodes with members in the room.
        nodes: Vec<NodeId>,
        /// Which life of the numbering.
        generation: Generation,
        /// Under which tenure.
        epoch: Epoch,
        /// The last committed message.
        head: Seq,
    },
    /// Tell another node something about the room.
    Tell {
        /// Which node.
        node: NodeId,
        /// What.
        item: PeerBody,
    },
    /// In a room of an original node: ask all other nodes of ours whether this name is in it because of a connection there. How
    /// many are asked comes back as `Inquired`, each answer as `Holds`.
    Inquire {
        /// Comes back in the answers.
        question: u64,
        /// Which name.
        user: UserName,
    },
    /// Fetch committed messages from the admin node; comes back as `RangeRead`.
    ReadRange {
        /// The admin node.
        node: NodeId,
        /// The first wanted.
        from: Seq,
    },
    /// Nothing here needs this machine any more; it may be dropped.
    Idle,
}

/// What a member node asks of an original admin node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Let this user in, or say again what the room is like if it is in.
    Join {
        /// Comes back with the answer.
        request: u64,
        /// The user.
        user: UserName,
    },
    /// This user left.
    Leave {
        /// The user.
        user: UserName,
    },
    /// The connection of this user is gone.
    Disconnect {
        /// The user.
        user: UserName,
    },
    /// Number this message. Never asked twice.
    Forward {
        /// Comes back with the answer.
        request: u64,
        /// Who says it.
        user: UserName,
        /// What.
        content: Arc<str>,
    },
}

/// What is taken back from the queue to an original node, of one room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recalled {
    /// That this user left: it is back.
    Departure(UserName),
    /// All messages: their numbers mean something else from here on.
    Messages,
}

/// Which room an effect list belongs to is known by whoever runs the machine.
pub type Effects = Vec<Effect>;

/// A message that a client wants to say, as it reaches the admin node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Whom to answer.
    pub origin: Origin,
    /// Who says it.
    pub user: UserName,
    /// What.
    pub content: Arc<str>,
    /// Recognises a repeat; `None` where nobody can repeat.
    pub client_msg_id: Option<ClientMsgId>,
    /// The id that the message gets if it is new.
    pub message_id: MessageId,
}
