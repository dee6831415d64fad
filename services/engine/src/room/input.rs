//! What can happen to a room at its admin node.

use super::*;

/// What can happen to a room at its admin node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The claim was answered: the room, or nothing if there is none, or an error.
    Claimed(Result<Option<ClaimedRoom>, String>),
    /// A connection wants in.
    Join {
        /// Whom to answer.
        origin: Origin,
        /// Under which name.
        user: UserName,
        /// How.
        terms: Terms,
    },
    /// A connection wants out.
    Leave {
        /// Whom to answer.
        origin: Origin,
        /// Under which name.
        user: UserName,
    },
    /// A connection is gone.
    Closed(Seat),
    /// A connection has something to say.
    Send(Submission),
    /// An append came back.
    Appended {
        /// Which.
        token: u64,
        /// How.
        outcome: AppendOutcome,
    },
    /// Committed messages came back, or could not be read.
    Reread(Result<Vec<Message>, String>),
    /// A live connection could not take the delivery from `next` on.
    Lagged {
        /// Which connection.
        session: SessionId,
        /// What it has not got.
        next: Seq,
    },
    /// A page of history was taken; the next begins at `next`.
    PageSent {
        /// Which connection.
        session: SessionId,
        /// Where the page began.
        from: Seq,
        /// Where it ended.
        next: Seq,
    },
    /// A page could not be read.
    PageFailed {
        /// Which connection.
        session: SessionId,
        /// Where it should have begun.
        from: Seq,
    },
    /// A page could not be read from where it should have begun: the first message that is kept is `floor`.
    PageTrimmed {
        /// Which connection.
        session: SessionId,
        /// Where the page should have begun.
        from: Seq,
        /// Where it can begin.
        floor: Seq,
    },
    /// A trim came back, or failed.
    Trimmed(Result<TrimOutcome, String>),
    /// A node failed: its seats wait for it to answer again, or to announce them.
    NodeLost(NodeId),
    /// A node lives another life. Seats of the one before are kept for their time of grace only: their users may come back.
    NodeRestarted {
        /// Which node.
        node: NodeId,
        /// The first number that a connection of this life can have.
        first: SessionId,
    },
    /// A node that was lost answers again: its seats stand, except those of an earlier life.
    NodeBack(NodeId),
    /// A node may have missed something: it is told where the room stands.
    NodeReset(NodeId),
    /// A node says which connections it has in the room. Answered like a join with request 0.
    Seats {
        /// Which node.
        node: NodeId,
        /// All of them.
        seats: Vec<AnnouncedSeat>,
    },
    /// Something about a node of the original system.
    Original(original::Input),
    /// Somebody wants the room to be deleted.
    Delete {
        /// Whom to answer.
        origin: Origin,
        /// Who wants it.
        user: UserName,
        /// What the attempt is called if it is made.
        transaction: TransactionId,
    },
    /// Something about the room's deletion.
    Deletion(DeletionInput),
}
