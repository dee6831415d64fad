//! What the writer is asked, and what it answers once that is on disk, or is not.

use crate::store::{CreateError, StoreError};
use chat_engine::room::roster::Seat;
use chat_engine::stored::{
    Append, AppendOutcome, Appended, BeginDeletion, BeginOutcome, ClaimedRoom, DecideDeletion, DecideOutcome,
    RoomProfile, StoredSeat, Trim, TrimOutcome,
};
use chat_protocol::ids::{NodeId, RoomId};
use tokio::sync::{mpsc, oneshot};

pub(super) type Outcomes = mpsc::UnboundedSender<Vec<Appended>>;
pub(super) type Answer<T> = oneshot::Sender<T>;

/// What the writer is asked to do.
pub(super) enum Command {
    Do(Work),
    /// Finish what came before, then end.
    Close,
}

/// One part of a transaction.
pub(super) enum Work {
    Append {
        appends: Vec<Append>,
        outcomes: Outcomes,
    },
    Create {
        profile: RoomProfile,
        answer: Answer<Result<(), CreateError>>,
    },
    Claim {
        room_id: RoomId,
        answer: Answer<Result<Option<ClaimedRoom>, StoreError>>,
    },
    Trim {
        room_id: RoomId,
        trim: Trim,
        answer: Answer<Result<TrimOutcome, StoreError>>,
    },
    Begin {
        room_id: RoomId,
        begin: BeginDeletion,
        answer: Answer<BeginOutcome>,
    },
    Decide {
        room_id: RoomId,
        decide: DecideDeletion,
        answer: Answer<DecideOutcome>,
    },
    Purge {
        room_id: RoomId,
        answer: Answer<Result<bool, StoreError>>,
    },
    // Nobody waits for these.
    Location {
        room_id: RoomId,
        node: NodeId,
    },
    KeepSeat {
        room_id: RoomId,
        seat: StoredSeat,
    },
    DropSeat {
        room_id: RoomId,
        seat: Seat,
    },
}

/// What to say after the commit.
pub(super) enum Reply {
    Appended {
        appended: Vec<Appended>,
        outcomes: Outcomes,
    },
    Created {
        result: Result<(), CreateError>,
        answer: Answer<Result<(), CreateError>>,
    },
    Claimed {
        result: Option<ClaimedRoom>,
        answer: Answer<Result<Option<ClaimedRoom>, StoreError>>,
    },
    Trimmed {
        result: TrimOutcome,
        answer: Answer<Result<TrimOutcome, StoreError>>,
    },
    Begun {
        outcome: BeginOutcome,
        answer: Answer<BeginOutcome>,
    },
    Decided {
        outcome: DecideOutcome,
        answer: Answer<DecideOutcome>,
    },
    Purged {
        more: bool,
        answer: Answer<Result<bool, StoreError>>,
    },
    Nobody,
}

impl Reply {
    /// It is committed.
    pub(super) fn send(self) {
        // Whoever does not listen any more has no use for it.
        match self {
            Self::Appended { appended, outcomes } => drop(outcomes.send(appended)),
            Self::Created { result, answer } => drop(answer.send(result)),
            Self::Claimed { result, answer } => drop(answer.send(Ok(result))),
            Self::Trimmed { result, answer } => drop(answer.send(Ok(result))),
            Self::Begun { outcome, answer } => drop(answer.send(outcome)),
            Self::Decided { outcome, answer } => drop(answer.send(outcome)),
            Self::Purged { more, answer } => drop(answer.send(Ok(more))),
            Self::Nobody => {}
        }
    }

    /// It is not, or nobody knows.
    pub(super) fn fail(self, why: &str, in_doubt: bool) {
        let error = if in_doubt {
            StoreError::Unknown
        } else {
            StoreError::Unavailable(why.to_owned())
        };
        match self {
            Self::Appended { mut appended, outcomes } => {
                for one in &mut appended {
                    one.outcome = if in_doubt {
                        AppendOutcome::Unknown
                    } else {
                        AppendOutcome::Refused(why.to_owned())
                    };
                }
                drop(outcomes.send(appended));
            }
            Self::Created { answer, .. } => drop(answer.send(Err(CreateError::Store(error)))),
            Self::Claimed { answer, .. } => drop(answer.send(Err(error))),
            Self::Trimmed { answer, .. } => drop(answer.send(Err(error))),
            Self::Begun { answer, .. } => drop(answer.send(if in_doubt {
                BeginOutcome::Unknown
            } else {
                BeginOutcome::Refused(why.to_owned())
            })),
            Self::Decided { answer, .. } => drop(answer.send(if in_doubt {
                DecideOutcome::Unknown
            } else {
                DecideOutcome::Refused(why.to_owned())
            })),
            Self::Purged { answer, .. } => drop(answer.send(Err(error))),
            Self::Nobody => {}
        }
    }
}
