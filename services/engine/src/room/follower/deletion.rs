//! The room's deletion at a member node: what the participant wants becomes effects, and what connections here want
//! meanwhile waits. A request to delete the room travels to the admin node, and its answers come back.

use super::*;
use crate::deletion::participant::Act;
use crate::effect::Notice;
use chat_protocol::deletion::Fate;
use chat_protocol::ids::{RoomName, TransactionId};
use chat_protocol::peer_item::DeletionItem;

/// What can happen to the deletion of a followed room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeletionInput {
    /// The admin node asks whether the room may go.
    Prepare {
        /// Which attempt.
        transaction: TransactionId,
        /// Who wants it.
        initiator: UserName,
    },
    /// The admin node says that the room is gone.
    Commit {
        /// By which attempt.
        transaction: TransactionId,
        /// What it was called.
        room_name: RoomName,
    },
    /// Somebody else says so.
    Claimed(TransactionId),
    /// The admin node says that the room stays.
    Rollback(TransactionId),
    /// The admin node said how an attempt ended, or could not be asked.
    Fate {
        /// The answer to which question.
        question: u64,
        /// How.
        fate: Result<Fate, String>,
    },
}

/// A request of a connection here to delete the room.
#[derive(Debug)]
pub(super) struct Deleting {
    pub(super) origin: Origin,
    since: Millis,
    transaction: Option<TransactionId>,
    /// The room is gone by this attempt.
    done: bool,
    /// What the connection hears behind its success.
    farewell: Option<Notice>,
}

impl Deleting {
    /// The last answer, if the admin node gives none any more.
    pub(super) fn last_answer(self) -> (Origin, Answer) {
        let answer = match (self.done, self.transaction) {
            (true, Some(transaction)) => Answer::Deleted {
                transaction,
                farewell: self.farewell,
            },
            (_, transaction) => Answer::DeleteRefused {
                reject: Reject::AdminUnavailable,
                transaction,
            },
        };
        (self.origin, answer)
    }
}

impl Follower {
    // === holding

    /// Keeps what must wait for the end of the deletion; gives back what need not.
    pub(super) fn hold(&mut self, now: Now, input: Input, effects: &mut Effects) -> Option<Input> {
        if !self.participant.is_prepared() || self.failed_since.is_some() {
            return Some(input);
        }
        let bytes = match &input {
            Input::Join { .. } => 0,
            Input::Send { content, .. } => content.len(),
            Input::Leave { origin, .. } => {
                let session = origin.session;
                self.refuse_held(
                    &Reject::being_deleted(),
                    |input| session_of(input) == Some(session),
                    effects,
                );
                return Some(input);
            }
            Input::Closed(session) => {
                let session = *session;
                self.refuse_held(
                    &Reject::being_deleted(),
                    |input| session_of(input) == Some(session),
                    effects,
                );
                return Some(input);
            }
            _ => return Some(input),
        };
        if let Err(input) = self.held.push(now.mono, bytes, input) {
            refuse(input, &Reject::Busy, effects);
        }
        None
    }

    pub(super) fn refuse_held(&mut self, reject: &Reject, which: impl Fn(&Input) -> bool, effects: &mut Effects) {
        for input in self.held.take(which) {
            refuse(input, reject, effects);
        }
    }

    // === what the admin node, or somebody else, says

    pub(super) fn on_deletion(&mut self, now: Now, input: DeletionInput, effects: &mut Effects) {
        let mut acts = Vec::new();
        let mut initiator = None;
        match input {
            DeletionInput::Prepare {
                transaction,
                initiator: who,
            } => {
                initiator = Some(who);
                self.participant.prepare(now.mono, transaction, &mut acts);
            }
            DeletionInput::Commit { transaction, room_name } => {
                self.participant.commit(transaction, room_name, &mut acts);
            }
            DeletionInput::Claimed(transaction) => self.participant.claim(transaction, &mut acts),
            DeletionInput::Rollback(transaction) => self.participant.rollback(now.mono, transaction, &mut acts),
            DeletionInput::Fate { question, fate } => {
                self.participant.fate(now.mono, question, fate, &mut acts);
            }
        }
        self.act(now, acts, initiator, effects);
    }

    pub(super) fn recheck_deletion(&mut self, now: Now, effects: &mut Effects) {
        let mut acts = Vec::new();
        self.participant.recheck(&mut acts);
        self.act(now, acts, None, effects);
    }

    pub(super) fn time_deletion(&mut self, now: Now, effects: &mut Effects) {
        let mut acts = Vec::new();
        self.participant.timeout(now.mono, &mut acts);
        self.act(now, acts, None, effects);
        // Held here means never sent: the refusal is definite.
        for input in self.held.take_old(now.mono, self.limits.deletion.hold) {
            refuse(input, &Reject::being_deleted(), effects);
        }
        let patience = self.patience_of_a_request();
        let overdue = |pending: &Pending| matches!(pending, Pending::Delete(d) if now.mono.since(d.since) >= patience);
        let late: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, p)| overdue(p))
            .map(|(r, _)| *r)
            .collect();
        for request in late {
            if let Some(Pending::Delete(deleting)) = self.pending.remove(&request) {
                let (to, answer) = deleting.last_answer();
                effects.push(Effect::Answer { to, answer });
            }
        }
    }

    /// Longer than the admin node may take for every step.
    const fn patience_of_a_request(&self) -> u64 {
        let limits = &self.limits.deletion;
        limits.prepare + limits.commit + limits.doubt
    }

    pub(super) fn deletion_deadline(&self) -> Option<Millis> {
        let held = self.held.oldest().map(|since| since.plus(self.limits.deletion.hold));
        let asked = self.pending.values().filter_map(|pending| match pending {
            Pending::Delete(deleting) => Some(deleting.since.plus(self.patience_of_a_request())),
            _ => None,
        });
        self.participant
            .next_deadline()
            .into_iter()
            .chain(held)
            .chain(asked)
            .min()
    }

    fn act(&mut self, now: Now, acts: Vec<Act>, initiator: Option<UserName>, effects: &mut Effects) {
        for act in acts {
            match act {
                Act::Vote(transaction, vote) => {
                    self.tell(PeerBody::Deletion(DeletionItem::Vote { transaction, vote }), effects);
                }
                Act::Done(transaction) => {
                    let obeyed = true;
                    self.tell(PeerBody::Deletion(DeletionItem::Done { transaction, obeyed }), effects);
                }
                Act::Ask { transaction, question } => effects.push(Effect::AskFate {
                    node: self.admin.clone(),
                    transaction,
                    question,
                }),
                Act::Initiated => {
                    if let Some(initiator) = initiator.clone() {
                        let notice = Notice::Initiated { initiator };
                        effects.push(Effect::Notify { notice, except: None });
                    }
                }
                Act::Cancelled(transaction) => {
                    let notice = Notice::Cancelled { transaction };
                    effects.push(Effect::Notify { notice, except: None });
                    for input in self.held.take_all() {
                        self.apply(now, input, effects);
                    }
                }
                Act::Deleted { transaction, room_name } => self.on_room_deleted(transaction, room_name, effects),
                Act::Dismissed => {
                    self.refuse_held(&Reject::RoomNotFound, |_| true, effects);
                    self.dismiss(now, |_| true, effects);
                }
            }
        }
    }

    /// The room is gone. What is still under way was not in it when it went.
    fn on_room_deleted(&mut self, transaction: TransactionId, room_name: RoomName, effects: &mut Effects) {
        self.refuse_held(&Reject::RoomNotFound, |_| true, effects);
        let notice = Notice::Deleted {
            room_name,
            transaction: Some(transaction.clone()),
        };
        let mut except = None;
        for (request, pending) in std::mem::take(&mut self.pending) {
            let (to, answer) = match pending {
                Pending::Join { origin, .. } => (origin, Answer::JoinRefused(Reject::RoomNotFound)),
                Pending::Send { origin, .. } => (origin, Answer::SendRefused(Reject::RoomNotFound)),
                Pending::Delete(mut deleting) if deleting.transaction.as_ref() == Some(&transaction) => {
                    // It hears of its success first, and that comes from the admin node.
                    if self.audience.user_of(deleting.origin.session).is_some() {
                        except = Some(deleting.origin.session);
                        deleting.farewell = Some(notice.clone());
                    }
                    deleting.done = true;
                    self.pending.insert(request, Pending::Delete(deleting));
                    continue;
                }
                Pending::Delete(deleting) => {
                    let answer = Answer::DeleteRefused {
                        reject: Reject::RoomNotFound,
                        transaction: None,
                    };
                    (deleting.origin, answer)
                }
            };
            effects.push(Effect::Answer { to, answer });
        }
        for (_, to, answer) in std::mem::take(&mut self.early) {
            effects.push(Effect::Answer { to, answer });
        }
        effects.push(Effect::Notify { notice, except });
        self.audience.leave_all(effects);
        self.backlog.clear();
    }

    // === a request from here

    pub(super) fn on_delete(&mut self, now: Now, origin: Origin, user: UserName, effects: &mut Effects) {
        let refusal = if self.failed_since.is_some() {
            Some(Reject::AdminUnavailable)
        } else if self.pending.len() >= self.limits.sequencer.waiting {
            Some(Reject::Busy)
        } else {
            None
        };
        if let Some(reject) = refusal {
            let answer = Answer::DeleteRefused {
                reject,
                transaction: None,
            };
            effects.push(Effect::Answer { to: origin, answer });
            return;
        }
        let session = origin.session;
        let request = self.request(Pending::Delete(Deleting {
            origin,
            since: now.mono,
            transaction: None,
            done: false,
            farewell: None,
        }));
        let item = DeletionItem::Delete { request, session, user };
        self.tell(PeerBody::Deletion(item), effects);
    }

    /// Takes the answers to a request of this kind; gives back any other.
    pub(super) fn on_deletion_answer(&mut self, request: u64, answer: Answer, effects: &mut Effects) -> Option<Answer> {
        let Some(Pending::Delete(deleting)) = self.pending.get_mut(&request) else {
            return Some(answer);
        };
        let to = deleting.origin.clone();
        let answer = match answer {
            Answer::DeletionInitiated { transaction, initiator } => {
                deleting.transaction = Some(transaction.clone());
                Answer::DeletionInitiated { transaction, initiator }
            }
            Answer::DeletionProgress(progress) => Answer::DeletionProgress(progress),
            Answer::Deleted { transaction, .. } => {
                let farewell = deleting.farewell.take();
                self.pending.remove(&request);
                Answer::Deleted { transaction, farewell }
            }
            last => {
                self.pending.remove(&request);
                last
            }
        };
        effects.push(Effect::Answer { to, answer });
        None
    }
}

fn session_of(input: &Input) -> Option<SessionId> {
    match input {
        Input::Join { origin, .. } | Input::Send { origin, .. } => Some(origin.session),
        _ => None,
    }
}

fn refuse(input: Input, reject: &Reject, effects: &mut Effects) {
    let (to, answer) = match input {
        Input::Join { origin, .. } => (origin, Answer::JoinRefused(reject.clone())),
        Input::Send { origin, .. } => (origin, Answer::SendRefused(reject.clone())),
        _ => return,
    };
    effects.push(Effect::Answer { to, answer });
}
