//! The room's deletion at its admin node: what the coordinator wants becomes effects, and what members want meanwhile waits.
//!
//! From the request on, joins and sends are held, in their order: an attempt that is given up was a pause. The attempt begins
//! when the append in flight is settled, so that whatever was acknowledged is in the log, and nothing is in flight when it
//! is decided. What is held for too long is refused, definitely.

use super::*;
use crate::deletion::coordinator::{Act, Coordinator, Word};
use crate::deletion::held::Held;
use crate::effect::{DeletionEnd, Notice};
use crate::stored::{BeginDeletion, BeginOutcome, DecideDeletion, DecideOutcome, RoomState};
use chat_protocol::deletion::Vote;
use chat_protocol::ids::{RoomName, TransactionId};
use chat_protocol::peer_item::DeletionItem;
use std::collections::BTreeSet;

/// What can happen to the deletion of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeletionInput {
    /// The store answered to the beginning.
    Begun(BeginDeletion, BeginOutcome),
    /// The store answered to the decision.
    Decided(DecideDeletion, DecideOutcome),
    /// A node voted.
    Voted {
        /// Which node.
        node: NodeId,
        /// On which attempt.
        transaction: TransactionId,
        /// How.
        vote: Vote,
    },
    /// A node has told its members.
    Done {
        /// Which node.
        node: NodeId,
        /// Of which attempt.
        transaction: TransactionId,
    },
    /// A node of the original gave no answer: it is not waited for.
    Silent {
        /// Which node.
        node: NodeId,
        /// On which attempt.
        transaction: TransactionId,
    },
    /// Some of the deleted room was removed from the disk; true if there is more.
    Purged(Result<bool, String>),
}

/// What of a deleted room is still on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purge {
    UnderWay,
    RetryAt(Millis),
    Done,
}

/// Milliseconds before a purge that failed is tried again.
const PURGE_PAUSE: u64 = 5_000;

/// The attempt under way, and who waits for it.
#[derive(Debug)]
pub(super) struct Deletion {
    attempt: Option<Coordinator>,
    requester: Option<Origin>,
    /// The requester was in the room here and hears later that it is gone.
    farewell: Option<Notice>,
    held: Held<Input>,
    /// Participants that are nodes of the original; known also when nobody is in the room any more.
    originals: BTreeSet<NodeId>,
}

impl Deletion {
    pub(super) const fn new(limits: &DeletionLimits) -> Self {
        Self {
            attempt: None,
            requester: None,
            farewell: None,
            held: Held::new(limits.held, limits.held_bytes),
            originals: BTreeSet::new(),
        }
    }

    pub(super) const fn is_under_way(&self) -> bool {
        self.attempt.is_some()
    }

    /// `accepted`: messages were accepted before the request and wait for a number.
    pub(super) fn next_deadline(&self, limits: &DeletionLimits, accepted: bool) -> Option<Millis> {
        let held = self.held.oldest().map(|since| since.plus(limits.hold));
        let attempt = self.attempt.as_ref().and_then(Coordinator::next_deadline);
        let asked = self.attempt.as_ref().filter(|_| accepted).map(Coordinator::asked);
        let accepted = asked.map(|asked| asked.plus(limits.hold));
        held.into_iter().chain(attempt).chain(accepted).min()
    }
}

fn seat_of(input: &Input) -> Option<(&NodeId, SessionId)> {
    match input {
        Input::Join { origin, .. } => Some((&origin.node, origin.session)),
        Input::Send(submission) => Some((&submission.origin.node, submission.origin.session)),
        _ => None,
    }
}

impl Room {
    // === holding

    /// Keeps what must wait for the end of the deletion; gives back what need not.
    pub(super) fn hold(&mut self, now: Now, input: Input, effects: &mut Effects) -> Option<Input> {
        if !self.deletion.is_under_way() {
            return Some(input);
        }
        let bytes = match &input {
            Input::Join { .. } => 0,
            Input::Send(submission) => submission.content.len(),
            // Whoever goes does not wait for what it wanted before.
            Input::Closed(seat) => {
                let (node, session) = (seat.node.clone(), seat.session);
                self.refuse_held(
                    &Reject::being_deleted(),
                    |input| seat_of(input) == Some((&node, session)),
                    effects,
                );
                return Some(input);
            }
            Input::Leave { origin, .. } => {
                let (node, session) = (origin.node.clone(), origin.session);
                self.refuse_held(
                    &Reject::being_deleted(),
                    |input| seat_of(input) == Some((&node, session)),
                    effects,
                );
                return Some(input);
            }
            // A node of the original stands still until it is answered.
            Input::Original(original::Input::Join { .. } | original::Input::Forward { .. }) => {
                refuse(input, &Reject::being_deleted(), effects);
                return None;
            }
            // Connections of a life that is over, or whose node has told them that their join was lost, would be seated for ever.
            Input::NodeLost(lost) | Input::NodeRestarted { node: lost, .. } | Input::Seats { node: lost, .. } => {
                let lost = lost.clone();
                let behind = |input: &Input| seat_of(input).is_some_and(|(node, _)| *node == lost);
                self.refuse_held(&Reject::AdminUnavailable, behind, effects);
                return Some(input);
            }
            _ => return Some(input),
        };
        if let Err(input) = self.deletion.held.push(now.mono, bytes, input) {
            refuse(input, &Reject::Busy, effects);
        }
        None
    }

    fn refuse_held(&mut self, reject: &Reject, which: impl Fn(&Input) -> bool, effects: &mut Effects) {
        for input in self.deletion.held.take(which) {
            refuse(input, reject, effects);
        }
    }

    /// Goes on with what was held.
    fn release(&mut self, now: Now, effects: &mut Effects) {
        self.sequencer.thaw();
        if matches!(self.stage, Stage::Active) {
            self.sequencer.start_batch(effects);
        }
        for input in self.deletion.held.take_all() {
            self.on_request(now, input, effects);
        }
    }

    // === the attempt

    pub(super) fn on_delete(
        &mut self,
        now: Now,
        origin: Origin,
        user: &UserName,
        transaction: TransactionId,
        effects: &mut Effects,
    ) {
        let creator = self.profile.as_ref().map(|profile| &profile.creator_id);
        let reject = match &self.deletion.attempt {
            _ if creator != Some(user) => Reject::Unauthorized,
            Some(attempt) => Reject::deleted_already(attempt.phase()),
            None => {
                self.sequencer.freeze();
                self.deletion.attempt = Some(Coordinator::new(now.mono, transaction, self.limits.deletion));
                self.deletion.requester = Some(origin);
                return;
            }
        };
        let answer = Answer::DeleteRefused {
            reject,
            transaction: None,
        };
        effects.push(Effect::Answer { to: origin, answer });
    }

    /// Begins the attempt that waits for the log to come to rest, if it has.
    pub(super) fn begin_deletion(&mut self, now: Now, effects: &mut Effects) {
        let quiet = matches!(self.stage, Stage::Active) && self.sequencer.in_flight().is_none();
        if quiet && self.deletion.attempt.as_ref().is_some_and(Coordinator::is_quieting) {
            let epoch = self.sequencer.epoch();
            let participants = self.roster.nodes_with_seats(&self.me);
            self.deletion.originals = self.originals.nodes().into_iter().collect();
            self.coordinate(now, effects, |attempt, acts| attempt.quiet(epoch, participants, acts));
        }
    }

    pub(super) fn on_deletion(&mut self, now: Now, input: DeletionInput, effects: &mut Effects) {
        match input {
            DeletionInput::Begun(asked, outcome) => {
                self.coordinate(now, effects, |attempt, acts| {
                    attempt.begun(now.mono, &asked, outcome, acts)
                });
            }
            DeletionInput::Decided(asked, outcome) => {
                self.coordinate(now, effects, |attempt, acts| {
                    attempt.decided(now.mono, &asked, outcome, acts)
                });
            }
            DeletionInput::Voted {
                node,
                transaction,
                vote,
            } => self.coordinate(now, effects, |attempt, acts| {
                attempt.voted(now.mono, &node, &transaction, vote, acts);
            }),
            DeletionInput::Done { node, transaction } => {
                self.coordinate(now, effects, |attempt, acts| attempt.done(&node, &transaction, acts));
            }
            DeletionInput::Silent { node, transaction } => self.coordinate(now, effects, |attempt, acts| {
                if *attempt.transaction() == transaction {
                    attempt.lost(now.mono, &node, acts);
                }
            }),
            DeletionInput::Purged(result) => self.on_purged(now, &result, effects),
        }
    }

    /// What a node's coming and going means for the attempt.
    pub(super) fn note_node(&mut self, now: Now, input: &Input, effects: &mut Effects) {
        match input {
            Input::NodeLost(node) | Input::NodeRestarted { node, .. } => {
                self.coordinate(now, effects, |attempt, acts| attempt.lost(now.mono, node, acts));
            }
            Input::NodeReset(node) => self.coordinate(now, effects, |attempt, acts| attempt.repeat(node, acts)),
            Input::Seats { node, .. } => self.coordinate(now, effects, |attempt, acts| attempt.present(node, acts)),
            _ => {}
        }
    }

    pub(super) fn time_deletion(&mut self, now: Now, effects: &mut Effects) {
        for node in self.deletion.originals.clone() {
            self.coordinate(now, effects, |attempt, acts| attempt.excuse(now.mono, &node, acts));
        }
        self.coordinate(now, effects, |attempt, acts| attempt.timeout(now.mono, acts));
        let hold = self.limits.deletion.hold;
        for input in self.deletion.held.take_old(now.mono, hold) {
            refuse(input, &Reject::being_deleted(), effects);
        }
        let asked = self.deletion.attempt.as_ref().map(Coordinator::asked);
        if asked.is_some_and(|asked| now.mono.since(asked) >= hold) {
            // Messages that were accepted before the request and found no place.
            let senders = self.sequencer.abandon_waiting();
            refuse_all(senders.into_iter(), &Reject::being_deleted(), effects);
        }
        if let Stage::Deleted { purge, .. } = &mut self.stage
            && matches!(*purge, Purge::RetryAt(at) if at <= now.mono)
        {
            *purge = Purge::UnderWay;
            effects.push(Effect::Purge);
        }
    }

    /// A new tenure began: what it found of a deletion is ended.
    pub(super) fn resume_deletion(&mut self, now: Now, epoch: Epoch, state: RoomState, effects: &mut Effects) {
        self.deletion.originals.extend(self.originals.nodes());
        match (&self.deletion.attempt, state) {
            (Some(_), state) => {
                self.coordinate(now, effects, |attempt, acts| {
                    attempt.tenure(now.mono, epoch, state, acts)
                });
            }
            (None, RoomState::Active) => {}
            (None, RoomState::Deleting(transaction)) => {
                self.sequencer.freeze();
                let nodes = self.roster.nodes_with_seats(&self.me).into_keys();
                let (mut acts, limits) = (Vec::new(), self.limits.deletion);
                let attempt = Coordinator::recover(now.mono, transaction, limits, epoch, nodes, &mut acts);
                self.deletion.attempt = Some(attempt);
                self.act(now, acts, effects);
            }
            (None, RoomState::Deleted(transaction)) => {
                let nodes: Vec<NodeId> = self.roster.nodes_with_seats(&self.me).into_keys().collect();
                if !nodes.is_empty() {
                    let end = DeletionEnd::Retold;
                    effects.push(Effect::DeletionEnded { end, took: 0 });
                }
                for node in nodes {
                    self.tell(node, Word::Commit, transaction.clone(), effects);
                }
                self.bury(transaction, effects);
            }
        }
    }

    fn coordinate(&mut self, now: Now, effects: &mut Effects, feed: impl FnOnce(&mut Coordinator, &mut Vec<Act>)) {
        if let Some(attempt) = &mut self.deletion.attempt {
            let mut acts = Vec::new();
            feed(attempt, &mut acts);
            self.act(now, acts, effects);
        }
    }

    fn act(&mut self, now: Now, acts: Vec<Act>, effects: &mut Effects) {
        for act in acts {
            let Some(attempt) = &self.deletion.attempt else { return };
            let (transaction, asked) = (attempt.transaction().clone(), attempt.asked());
            match act {
                Act::Begin(begin) => effects.push(Effect::BeginDeletion(begin)),
                Act::Decide(decide) => effects.push(Effect::DecideDeletion(decide)),
                Act::Tell(node, word) => self.tell(node, word, transaction, effects),
                Act::Initiated => self.tell_initiated(transaction, effects),
                Act::Progress(progress) => {
                    if let Some(to) = self.deletion.requester.clone() {
                        let answer = Answer::DeletionProgress(progress);
                        effects.push(Effect::Answer { to, answer });
                    }
                }
                Act::Committed => {
                    end(DeletionEnd::Committed, asked, now, effects);
                    self.on_committed(transaction, effects);
                }
                Act::Finished => {
                    self.deletion.attempt = None;
                    let farewell = self.deletion.farewell.take();
                    self.answer_requester(Answer::Deleted { transaction, farewell }, effects);
                }
                Act::RolledBack(why) => {
                    self.deletion.attempt = None;
                    let answer = Answer::DeleteRefused {
                        reject: Reject::DeletionFailed(why.text()),
                        transaction: Some(transaction.clone()),
                    };
                    self.answer_requester(answer, effects);
                    let notice = Notice::Cancelled { transaction };
                    effects.push(Effect::Notify { notice, except: None });
                    end(DeletionEnd::Aborted(why), asked, now, effects);
                    self.release(now, effects);
                }
                Act::NotBegun => {
                    self.deletion.attempt = None;
                    let answer = Answer::DeleteRefused {
                        reject: Reject::DeletionNotStarted,
                        transaction: None,
                    };
                    self.answer_requester(answer, effects);
                    end(DeletionEnd::NotBegun, asked, now, effects);
                    self.release(now, effects);
                }
                Act::Unsure => {
                    let answer = Answer::DeleteRefused {
                        reject: Reject::AdminUnavailable,
                        transaction: Some(transaction),
                    };
                    self.answer_requester(answer, effects);
                }
                Act::Reclaim => self.reclaim(effects),
            }
        }
    }

    /// There is no such room after all.
    pub(super) fn lose_deletion(&mut self, effects: &mut Effects) {
        self.deletion.attempt = None;
        let answer = Answer::DeleteRefused {
            reject: Reject::RoomNotFound,
            transaction: None,
        };
        self.answer_requester(answer, effects);
        self.refuse_held(&Reject::RoomNotFound, |_| true, effects);
    }

    fn answer_requester(&mut self, answer: Answer, effects: &mut Effects) {
        if let Some(to) = self.deletion.requester.take() {
            effects.push(Effect::Answer { to, answer });
        }
    }

    fn tell_initiated(&self, transaction: TransactionId, effects: &mut Effects) {
        let Some(initiator) = self.profile.as_ref().map(|profile| profile.creator_id.clone()) else {
            return;
        };
        if let Some(to) = self.deletion.requester.clone() {
            let answer = Answer::DeletionInitiated {
                transaction,
                initiator: initiator.clone(),
            };
            effects.push(Effect::Answer { to, answer });
        }
        let notice = Notice::Initiated { initiator };
        effects.push(Effect::Notify { notice, except: None });
    }

    fn tell(&self, node: NodeId, word: Word, transaction: TransactionId, effects: &mut Effects) {
        let Some(profile) = &self.profile else { return };
        let room_name = profile.room_name.clone();
        if self.deletion.originals.contains(&node) {
            effects.push(Effect::TellOriginal {
                node,
                word,
                transaction,
                room_name,
            });
            return;
        }
        let item = match word {
            Word::Prepare => DeletionItem::Prepare {
                transaction,
                // Nobody else may.
                initiator: profile.creator_id.clone(),
                room_name,
            },
            Word::Commit => DeletionItem::Commit { transaction, room_name },
            Word::Rollback => DeletionItem::Rollback { transaction },
        };
        let item = PeerBody::Deletion(item);
        effects.push(Effect::Tell { node, item });
    }

    // === the end

    /// The room is deleted, durably: nobody is in it any more.
    fn on_committed(&mut self, transaction: TransactionId, effects: &mut Effects) {
        for input in self.deletion.held.take_all() {
            refuse(input, &Reject::RoomNotFound, effects);
        }
        self.refuse_senders(&Reject::RoomNotFound, effects);
        let requester = self.deletion.requester.as_ref().filter(|origin| origin.node == self.me);
        let except = requester
            .map(|origin| origin.session)
            .filter(|session| self.audience.user_of(*session).is_some());
        if let Some(room_name) = self.room_name() {
            let notice = Notice::Deleted {
                room_name,
                transaction: None,
            };
            // It hears of its success first.
            self.deletion.farewell = except.map(|_| notice.clone());
            effects.push(Effect::Notify { notice, except });
        }
        self.audience.leave_all(effects);
        self.bury(transaction, effects);
    }

    fn room_name(&self) -> Option<RoomName> {
        self.profile.as_ref().map(|profile| profile.room_name.clone())
    }

    fn bury(&mut self, transaction: TransactionId, effects: &mut Effects) {
        self.roster = Roster::default();
        self.originals = Originals::default();
        self.backlog.clear();
        self.stage = Stage::Deleted {
            transaction,
            purge: Purge::UnderWay,
        };
        effects.push(Effect::Purge);
    }

    fn on_purged(&mut self, now: Now, result: &Result<bool, String>, effects: &mut Effects) {
        let Stage::Deleted { purge, .. } = &mut self.stage else {
            return;
        };
        match result {
            Ok(true) => effects.push(Effect::Purge),
            Ok(false) => *purge = Purge::Done,
            Err(_) => *purge = Purge::RetryAt(now.mono.plus(PURGE_PAUSE)),
        }
    }

    /// Somebody wants something of a room that is deleted.
    pub(super) fn on_request_of_deleted(&mut self, now: Now, input: Input, effects: &mut Effects) {
        self.note_node(now, &input, effects);
        match (&self.stage, input) {
            // It has not heard of it. Whatever it was before, it is one of ours.
            (Stage::Deleted { transaction, .. }, Input::Seats { node, .. }) => {
                let transaction = transaction.clone();
                self.deletion.originals.remove(&node);
                self.tell(node, Word::Commit, transaction, effects);
            }
            (_, input) => refuse(input, &Reject::RoomNotFound, effects),
        }
    }
}

fn end(end: DeletionEnd, asked: Millis, now: Now, effects: &mut Effects) {
    effects.push(Effect::DeletionEnded {
        end,
        took: now.mono.since(asked),
    });
}
