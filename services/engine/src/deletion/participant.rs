//! A member node's side of a deletion.
//!
//! What it promised is kept in memory only. Whoever is in doubt asks the room's admin node, and what that answers is
//! believed whatever was said before.

use super::DeletionLimits;
use crate::time::Millis;
use chat_protocol::deletion::{Fate, Vote};
use chat_protocol::ids::{RoomName, TransactionId};

/// What the participant wants, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Answer a PREPARE.
    Vote(TransactionId, Vote),
    /// Answer a COMMIT.
    Done(TransactionId),
    /// Ask the admin node how an attempt ended; comes back as [`Participant::fate`].
    Ask {
        /// Which attempt.
        transaction: TransactionId,
        /// Which question: each is another one.
        question: u64,
    },
    /// An attempt has begun: the members are told.
    Initiated,
    /// The attempt was given up: the members are told, and what was held goes on.
    Cancelled(TransactionId),
    /// The room is gone: the members are told, and what was held is refused.
    Deleted {
        /// By which attempt.
        transaction: TransactionId,
        /// What the room was called.
        room_name: RoomName,
    },
    /// The admin node does not know the room: it is lost to the members here.
    Dismissed,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Prepared {
    transaction: TransactionId,
    since: Millis,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Asking {
    transaction: TransactionId,
    question: u64,
    /// When to ask again; `None` while the answer is awaited.
    at: Option<Millis>,
}

/// A room at a member node, as far as its deletion is concerned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Participant {
    limits: DeletionLimits,
    prepared: Option<Prepared>,
    asking: Option<Asking>,
    questions: u64,
    /// A COMMIT that nobody announced, to be asked about when the question under way is answered.
    claimed: Option<TransactionId>,
    /// The last attempt that was given up: a late PREPARE of it is not believed.
    cancelled: Option<TransactionId>,
    /// The room is gone.
    deleted: bool,
}

impl Participant {
    /// A room about which nothing was said yet.
    #[must_use]
    pub const fn new(limits: DeletionLimits) -> Self {
        Self {
            limits,
            prepared: None,
            asking: None,
            questions: 0,
            claimed: None,
            cancelled: None,
            deleted: false,
        }
    }

    /// True if joins and sends are to be held.
    #[must_use]
    pub const fn is_prepared(&self) -> bool {
        self.prepared.is_some()
    }

    /// True if nothing is to be waited for.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.prepared.is_none() && self.asking.is_none()
    }

    /// True if it is prepared and has heard nothing for too long.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        let asked = self.asking.as_ref().map(|asking| &asking.transaction);
        self.prepared.as_ref().is_some_and(|p| Some(&p.transaction) == asked)
    }

    fn is_prepared_for(&self, transaction: &TransactionId) -> bool {
        self.prepared.as_ref().is_some_and(|p| p.transaction == *transaction)
    }

    /// The admin node asks whether the room may go.
    pub fn prepare(&mut self, now: Millis, transaction: TransactionId, acts: &mut Vec<Act>) {
        let over = self.cancelled.as_ref() == Some(&transaction);
        if over || self.deleted {
            let state = if over { "ACTIVE" } else { "DELETED" };
            let reason = format!("Room in {state} state");
            acts.push(Act::Vote(transaction, Vote::Abort(Some(reason.into()))));
            return;
        }
        if !self.is_prepared_for(&transaction) {
            // A room has one attempt at a time: an earlier one is over, and the word of it was lost. If that was COMMIT, it is
            // found out when it is repeated; until then what is held stays held.
            if let Some(earlier) = self.prepared.take() {
                self.stop_asking(now, &earlier.transaction, acts);
            }
            // An answer that is on its way may be older than this PREPARE.
            self.stop_asking(now, &transaction, acts);
            self.prepared = Some(Prepared {
                transaction: transaction.clone(),
                since: now,
            });
            acts.push(Act::Initiated);
        }
        acts.push(Act::Vote(transaction, Vote::Ready));
    }

    /// The admin node says that the room is gone. Without a PREPARE before it, it is asked.
    pub fn commit(&mut self, transaction: TransactionId, room_name: RoomName, acts: &mut Vec<Act>) {
        if self.deleted {
            acts.push(Act::Done(transaction));
        } else if self.is_prepared_for(&transaction) {
            self.delete(transaction, room_name, acts);
        } else {
            self.claim(transaction, acts);
        }
    }

    /// Somebody says that the room is gone. The admin node is asked.
    pub fn claim(&mut self, transaction: TransactionId, acts: &mut Vec<Act>) {
        if self.deleted {
            return;
        }
        match &self.asking {
            Some(Asking { at: None, .. }) => self.claimed = Some(transaction),
            _ => self.ask(transaction, acts),
        }
    }

    /// The admin node says that the room stays.
    pub fn rollback(&mut self, now: Millis, transaction: TransactionId, acts: &mut Vec<Act>) {
        if self.is_prepared_for(&transaction) {
            self.prepared = None;
            self.stop_asking(now, &transaction, acts);
            self.cancelled = Some(transaction.clone());
            acts.push(Act::Cancelled(transaction));
        }
    }

    fn delete(&mut self, transaction: TransactionId, room_name: RoomName, acts: &mut Vec<Act>) {
        *self = Self {
            deleted: true,
            ..self.afresh()
        };
        acts.push(Act::Deleted {
            transaction: transaction.clone(),
            room_name,
        });
        acts.push(Act::Done(transaction));
    }

    /// Without anything that was said, but for the answers that are on their way.
    fn afresh(&self) -> Self {
        Self {
            questions: self.questions,
            ..Self::new(self.limits)
        }
    }

    fn ask(&mut self, transaction: TransactionId, acts: &mut Vec<Act>) {
        self.questions += 1;
        let question = self.questions;
        acts.push(Act::Ask {
            transaction: transaction.clone(),
            question,
        });
        self.asking = Some(Asking {
            transaction,
            question,
            at: None,
        });
    }

    /// The question about an attempt is pointless; the next one is asked.
    fn stop_asking(&mut self, now: Millis, about: &TransactionId, acts: &mut Vec<Act>) {
        if self.asking.as_ref().is_some_and(|asking| asking.transaction == *about) {
            self.asking = None;
            self.ask_next(now, acts);
        }
    }

    fn ask_next(&mut self, now: Millis, acts: &mut Vec<Act>) {
        let overdue = |p: &Prepared| now.since(p.since) >= self.limits.doubt;
        let next = match self.claimed.take() {
            None => self
                .prepared
                .as_ref()
                .filter(|p| overdue(p))
                .map(|p| p.transaction.clone()),
            claimed => claimed,
        };
        if let Some(transaction) = next {
            self.ask(transaction, acts);
        }
    }

    /// The admin node answered a question, or did not.
    pub fn fate(&mut self, now: Millis, question: u64, fate: Result<Fate, String>, acts: &mut Vec<Act>) {
        if self.deleted {
            return;
        }
        let awaited = |asking: &&Asking| asking.question == question && asking.at.is_none();
        let asked = self
            .asking
            .as_ref()
            .filter(awaited)
            .map(|asking| asking.transaction.clone());
        let (asked, fate) = match (asked, fate) {
            // True whatever was asked.
            (_, Ok(Fate::Committed { transaction, room_name })) => return self.delete(transaction, room_name, acts),
            // What happened since is newer than the answer.
            (None, _) => return,
            (Some(asked), fate) => (asked, fate),
        };
        match fate {
            Ok(Fate::NoRoom) => {
                *self = self.afresh();
                acts.push(Act::Dismissed);
            }
            Ok(Fate::Aborted) if self.is_prepared_for(&asked) => self.rollback(now, asked, acts),
            Ok(Fate::Pending) if self.is_prepared_for(&asked) => self.ask_later(now),
            Err(_) => self.ask_later(now),
            // Whoever said COMMIT had no right to. A commit is returned above.
            Ok(_) => {
                self.asking = None;
                self.ask_next(now, acts);
            }
        }
    }

    fn ask_later(&mut self, now: Millis) {
        if let Some(asking) = &mut self.asking {
            asking.at = Some(now.plus(self.limits.ask));
        }
    }

    /// The admin node is there again, or something on the way from it was lost: whoever waits asks at once.
    pub fn recheck(&mut self, acts: &mut Vec<Act>) {
        let waits = self.asking.as_ref().is_none_or(|asking| asking.at.is_some());
        if let Some(prepared) = &self.prepared
            && waits
        {
            let transaction = prepared.transaction.clone();
            self.ask(transaction, acts);
        }
    }

    /// Does what is due at `now`.
    pub fn timeout(&mut self, now: Millis, acts: &mut Vec<Act>) {
        match &self.asking {
            Some(Asking {
                transaction,
                at: Some(at),
                ..
            }) if *at <= now => {
                let transaction = transaction.clone();
                self.ask(transaction, acts);
            }
            Some(_) => {}
            None => self.ask_next(now, acts),
        }
    }

    /// When [`Self::timeout`] is due, if nothing arrives before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        match &self.asking {
            Some(asking) => asking.at,
            None => self.prepared.as_ref().map(|p| p.since.plus(self.limits.doubt)),
        }
    }
}
