//! The items of a deletion.

use super::wire::{Wire, reject};
use super::{NotAnItem, in_fields};
use crate::deletion::{Phase, Progress, Vote};
use crate::ids::{NodeId, RoomName, SessionId, TransactionId, UserName};
use crate::limits::MAX_PROGRESS_NODES;
use crate::reject::Reject;
use crate::text::explanation;

/// What an item says about a deletion. The first three go to the admin node of the room, the others come from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeletionItem {
    /// A client wants the room to be deleted.
    Delete {
        /// Comes back in every answer.
        request: u64,
        /// Which connection of the sending node.
        session: SessionId,
        /// Who wants it.
        user: UserName,
    },
    /// The answer to `Prepare`.
    Vote {
        /// Of which attempt.
        transaction: TransactionId,
        /// What.
        vote: Vote,
    },
    /// The answer to `Commit`.
    Done {
        /// Of which attempt.
        transaction: TransactionId,
        /// False if the node administers the room itself and so does nothing.
        obeyed: bool,
    },
    /// May the room go? From here on the node holds what its clients want of it.
    Prepare {
        /// Which attempt.
        transaction: TransactionId,
        /// Who wants it.
        initiator: UserName,
        /// What the room is called.
        room_name: RoomName,
    },
    /// The room is gone.
    Commit {
        /// Which attempt.
        transaction: TransactionId,
        /// What the room was called.
        room_name: RoomName,
    },
    /// The room stays.
    Rollback {
        /// Which attempt.
        transaction: TransactionId,
    },
    /// The deletion that a client wanted has begun.
    Initiated {
        /// To which request.
        request: u64,
        /// Which attempt it is.
        transaction: TransactionId,
        /// Who wants it.
        initiator: UserName,
    },
    /// How far it is.
    Progress {
        /// To which request.
        request: u64,
        /// How far.
        progress: Progress,
    },
    /// It is done: the last answer.
    Deleted {
        /// To which request.
        request: u64,
        /// Which attempt it was.
        transaction: TransactionId,
    },
    /// The room was not deleted: the last answer.
    Refused {
        /// To which request.
        request: u64,
        /// Why.
        reject: Reject,
        /// Which attempt it was, if there was one.
        transaction: Option<TransactionId>,
    },
}

fn texts(nodes: &[NodeId]) -> Vec<String> {
    nodes.iter().take(MAX_PROGRESS_NODES).map(ToString::to_string).collect()
}

fn nodes(texts: &[String]) -> Result<Vec<NodeId>, NotAnItem> {
    if texts.len() > MAX_PROGRESS_NODES {
        return Err(NotAnItem);
    }
    texts
        .iter()
        .map(|text| NodeId::parse(text).map_err(|_| NotAnItem))
        .collect()
}

fn transaction(text: &str) -> Result<TransactionId, NotAnItem> {
    TransactionId::parse(text).map_err(|_| NotAnItem)
}

impl DeletionItem {
    /// Most bytes that its texts take.
    pub(super) fn size(&self) -> usize {
        let id = |transaction: &TransactionId| in_fields(transaction.as_str());
        match self {
            Self::Delete { user, .. } => in_fields(user.as_str()),
            Self::Vote { transaction, vote } => match vote {
                Vote::Abort(Some(reason)) => id(transaction) + in_fields(reason),
                Vote::Ready | Vote::Abort(None) => id(transaction),
            },
            Self::Done { transaction, .. } | Self::Rollback { transaction } | Self::Deleted { transaction, .. } => {
                id(transaction)
            }
            Self::Prepare {
                transaction,
                initiator,
                room_name,
            } => id(transaction) + in_fields(initiator.as_str()) + in_fields(room_name.as_str()),
            Self::Commit { transaction, room_name } => id(transaction) + in_fields(room_name.as_str()),
            Self::Initiated {
                transaction, initiator, ..
            } => id(transaction) + in_fields(initiator.as_str()),
            Self::Progress { progress, .. } => {
                let both = progress.ready.iter().chain(&progress.waiting_for);
                both.map(|node| in_fields(node.as_str()) + 3).sum()
            }
            Self::Refused {
                reject, transaction, ..
            } => in_fields(&reject.text()) + transaction.as_ref().map_or(0, id),
        }
    }

    pub(super) fn to_wire(&self) -> Wire {
        match self {
            Self::Delete { request, session, user } => Wire::Delete {
                request: *request,
                session: session.0,
                user: user.to_string(),
            },
            Self::Vote { transaction, vote } => Wire::DeleteVote {
                transaction: transaction.to_string(),
                ready: *vote == Vote::Ready,
                reason: match vote {
                    Vote::Ready => None,
                    Vote::Abort(reason) => reason.as_deref().map(str::to_owned),
                },
            },
            Self::Done { transaction, obeyed } => Wire::DeleteDone {
                transaction: transaction.to_string(),
                obeyed: *obeyed,
            },
            Self::Prepare {
                transaction,
                initiator,
                room_name,
            } => Wire::DeletePrepare {
                transaction: transaction.to_string(),
                initiator: initiator.to_string(),
                name: room_name.to_string(),
            },
            Self::Commit { transaction, room_name } => Wire::DeleteCommit {
                transaction: transaction.to_string(),
                name: room_name.to_string(),
            },
            Self::Rollback { transaction } => Wire::DeleteRollback {
                transaction: transaction.to_string(),
            },
            Self::Initiated {
                request,
                transaction,
                initiator,
            } => Wire::DeleteInitiated {
                request: *request,
                transaction: transaction.to_string(),
                initiator: initiator.to_string(),
            },
            Self::Progress { request, progress } => Wire::DeleteProgress {
                request: *request,
                phase: progress.phase.text().into(),
                ready: texts(&progress.ready),
                waiting_for: texts(&progress.waiting_for),
            },
            Self::Deleted { request, transaction } => Wire::Deleted {
                request: *request,
                transaction: transaction.to_string(),
            },
            Self::Refused {
                request,
                reject,
                transaction,
            } => Wire::DeleteRefused {
                request: *request,
                code: reject.code().into(),
                text: reject.text(),
                transaction: transaction.as_ref().map(ToString::to_string),
            },
        }
    }

    pub(super) fn from_wire(wire: Wire) -> Result<Self, NotAnItem> {
        let user = |text: &str| UserName::parse(text).map_err(|_| NotAnItem);
        let name = |text: &str| RoomName::parse(text).map_err(|_| NotAnItem);
        Ok(match wire {
            Wire::Delete {
                request,
                session,
                user: who,
            } => Self::Delete {
                request,
                session: SessionId(session),
                user: user(&who)?,
            },
            Wire::DeleteVote {
                transaction: id,
                ready,
                reason,
            } => Self::Vote {
                transaction: transaction(&id)?,
                vote: if ready {
                    Vote::Ready
                } else {
                    Vote::Abort(reason.map(|reason| explanation(&reason).into()))
                },
            },
            Wire::DeleteDone {
                transaction: id,
                obeyed,
            } => Self::Done {
                transaction: transaction(&id)?,
                obeyed,
            },
            Wire::DeletePrepare {
                transaction: id,
                initiator,
                name: room,
            } => Self::Prepare {
                transaction: transaction(&id)?,
                initiator: user(&initiator)?,
                room_name: name(&room)?,
            },
            Wire::DeleteCommit {
                transaction: id,
                name: room,
            } => Self::Commit {
                transaction: transaction(&id)?,
                room_name: name(&room)?,
            },
            Wire::DeleteRollback { transaction: id } => Self::Rollback {
                transaction: transaction(&id)?,
            },
            Wire::DeleteInitiated {
                request,
                transaction: id,
                initiator,
            } => Self::Initiated {
                request,
                transaction: transaction(&id)?,
                initiator: user(&initiator)?,
            },
            Wire::DeleteProgress {
                request,
                phase,
                ready,
                waiting_for,
            } => Self::Progress {
                request,
                progress: Progress {
                    phase: Phase::from_text(&phase).ok_or(NotAnItem)?,
                    ready: nodes(&ready)?,
                    waiting_for: nodes(&waiting_for)?,
                },
            },
            Wire::Deleted {
                request,
                transaction: id,
            } => Self::Deleted {
                request,
                transaction: transaction(&id)?,
            },
            Wire::DeleteRefused {
                request,
                code,
                text,
                transaction: id,
            } => Self::Refused {
                request,
                reject: reject(&code, &text),
                transaction: id.as_deref().map(transaction).transpose()?,
            },
            _ => return Err(NotAnItem),
        })
    }
}
