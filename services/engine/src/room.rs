//! A room at its admin node: who is in it, what was said, and in which order.
//!
//! The machine is cut into handlers that own what they may change: [`roster`] who is a member, [`sequencer`] numbers,
//! [`audience`] the connections here, [`original`] the nodes of the original system, [`backlog`] the newest frames,
//! [`deletion`] how the room ends. This file connects them. [`follower`] is the same room as a member node sees it,
//! [`guest`] a room of an original node.

pub mod audience;
pub mod backlog;
pub mod deletion;
pub mod follower;
pub mod guest;
pub mod history;
mod input;
mod membership;
pub mod original;
pub mod roster;
pub mod sendings;
pub mod sequencer;
mod tenure;

use crate::deletion::DeletionLimits;
use crate::effect::{Answer, Effect, Effects, Joined, Origin, Submission, Terms};
use crate::stored::{AppendOutcome, ClaimedRoom, Repeat, RoomProfile, RoomState, StoredSeat, TrimOutcome};
use crate::time::{Millis, Now};
use audience::{Audience, Offer, Start};
use backlog::Backlog;
use chat_protocol::ids::{Epoch, Generation, NodeId, RoomId, Seq, SessionId, TransactionId, UserName};
use chat_protocol::message_frame::{Message, MessageFrame};
use chat_protocol::peer_item::{AnnouncedSeat, PeerBody};
use chat_protocol::reject::Reject;
use chat_protocol::server_frame::{LeaveReason, MemberEvent, RoomInfo};
use deletion::{Deletion, DeletionInput, Purge};
use history::{History, HistoryLimits};
pub use input::Input;
use original::Originals;
use roster::{Rehomed, Roster, Seat};
use sequencer::{Admission, Batch, Sequencer, SequencerLimits};
use std::collections::VecDeque;

/// Bounds and patience of a room; milliseconds and bytes.
#[derive(Debug, Clone, Copy)]
pub struct RoomLimits {
    /// Numbering.
    pub sequencer: SequencerLimits,
    /// Bytes of the newest frames that are kept.
    pub backlog_bytes: usize,
    /// What becomes of old messages.
    pub history: HistoryLimits,
    /// A member that neither joins nor sends for so long is removed; 0 switches it off.
    pub inactivity: u64,
    /// How long an unknown outcome is kept from a sender.
    pub unknown_after: u64,
    /// How long the seats behind a lost node wait for it.
    pub seat_grace: u64,
    /// How long another node has to say whether it has a name; whoever takes longer has failed.
    pub answer_patience: u64,
    /// How long members wait for a failed admin node before they are told that they are out.
    pub unreachable_after: u64,
    /// Most requests that wait for the first claim.
    pub warming: usize,
    /// Patience of a deletion, and what it holds.
    pub deletion: DeletionLimits,
}

impl Default for RoomLimits {
    fn default() -> Self {
        Self {
            sequencer: SequencerLimits::default(),
            backlog_bytes: 1 << 20,
            history: HistoryLimits::default(),
            inactivity: 900_000,
            unknown_after: 10_000,
            seat_grace: 10_000,
            answer_patience: 3_000,
            unreachable_after: 60_000,
            warming: 1_024,
            deletion: DeletionLimits::default(),
        }
    }
}

#[derive(Debug)]
enum Stage {
    /// The store was asked for the room; requests wait.
    Claiming {
        waiting: VecDeque<Input>,
        retry_at: Option<Millis>,
        attempts: u32,
    },
    /// A new tenure began over a batch whose fate must be read first; requests wait in the sequencer.
    Settling {
        /// Where the log ended when the tenure began.
        target: Seq,
        retry_at: Option<Millis>,
    },
    /// Serving.
    Active,
    /// There is no such room.
    Gone,
    /// The room is deleted: whoever has not heard of it is told.
    Deleted {
        /// By which attempt.
        transaction: TransactionId,
        /// What is still on disk.
        purge: Purge,
    },
}

/// How often a claim that fails is tried before the waiting requests are refused.
const CLAIM_ATTEMPTS: u32 = 3;
/// Milliseconds between two tries.
const RETRY_PAUSE: u64 = 200;

/// A room at its admin node.
#[derive(Debug)]
pub struct Room {
    room_id: RoomId,
    me: NodeId,
    limits: RoomLimits,
    stage: Stage,
    profile: Option<RoomProfile>,
    generation: Generation,
    roster: Roster,
    sequencer: Sequencer,
    audience: Audience,
    originals: Originals,
    backlog: Backlog,
    history: History,
    deletion: Deletion,
    /// Counts the changes of the roster, upwards over all tenures.
    version: u64,
    /// The last message that was delivered here; behind the sequencer's head only while a tenure is being settled.
    delivered: Seq,
}

impl Room {
    /// Begins to serve a room: asks the store for it.
    #[must_use]
    pub fn open(room_id: RoomId, me: NodeId, limits: RoomLimits, effects: &mut Effects) -> Self {
        effects.push(Effect::Claim);
        Self {
            sequencer: Sequencer::new(room_id.clone(), limits.sequencer),
            room_id,
            me,
            limits,
            stage: Stage::Claiming {
                waiting: VecDeque::new(),
                retry_at: None,
                attempts: 0,
            },
            profile: None,
            generation: Generation(0),
            roster: Roster::default(),
            audience: Audience::default(),
            originals: Originals::default(),
            backlog: Backlog::new(limits.backlog_bytes),
            history: History::new(limits.history),
            deletion: Deletion::new(&limits.deletion),
            version: 0,
            delivered: Seq::ZERO,
        }
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Now, input: Input, effects: &mut Effects) {
        match input {
            Input::Claimed(result) => self.on_claimed(now, result, effects),
            Input::Appended { token, outcome } => self.on_appended(now, token, outcome, effects),
            Input::Reread(result) => self.on_reread(now, result, effects),
            Input::Trimmed(result) => self.on_trimmed(now, result, effects),
            Input::Deletion(input) => self.on_deletion(now, input, effects),
            request => match &mut self.stage {
                Stage::Claiming { waiting, .. } if waiting.len() < self.limits.warming => waiting.push_back(request),
                Stage::Claiming { .. } => refuse(request, &Reject::Busy, effects),
                Stage::Gone => refuse(request, &Reject::RoomNotFound, effects),
                Stage::Deleted { .. } => self.on_request_of_deleted(now, request, effects),
                Stage::Active | Stage::Settling { .. } => self.on_request(now, request, effects),
            },
        }
        self.begin_deletion(now, effects);
        self.finish(effects);
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Now, effects: &mut Effects) {
        match &mut self.stage {
            Stage::Claiming { retry_at, .. } if retry_at.is_some_and(|at| at <= now.mono) => {
                *retry_at = None;
                effects.push(Effect::Claim);
            }
            Stage::Settling { retry_at, .. } if retry_at.is_some_and(|at| at <= now.mono) => {
                *retry_at = None;
                self.ask_for_fate(effects);
            }
            _ => {}
        }
        self.sequencer.retry(now.mono, effects);
        for origin in self.sequencer.give_up_waiting(now.mono, self.limits.unknown_after) {
            effects.push(Effect::Answer {
                to: origin,
                answer: Answer::SendUnknown,
            });
        }
        self.repeat_to_originals(now, effects);
        self.remove_unclaimed(now, effects);
        self.remove_inactive(now, effects);
        self.time_deletion(now, effects);
        self.finish(effects);
    }

    /// When [`Self::handle_timeout`] is due, if nothing arrives before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        let stage = match &self.stage {
            Stage::Claiming { retry_at, .. } | Stage::Settling { retry_at, .. } => *retry_at,
            Stage::Deleted {
                purge: Purge::RetryAt(at),
                ..
            } => Some(*at),
            Stage::Active | Stage::Gone | Stage::Deleted { .. } => None,
        };
        let idle = self.roster.idle_floor().filter(|_| self.limits.inactivity > 0);
        [
            stage,
            self.sequencer.next_deadline(self.limits.unknown_after),
            self.roster.longest_in_doubt().map(|at| at.plus(self.limits.seat_grace)),
            self.roster.longest_detached().map(|at| at.plus(self.limits.seat_grace)),
            idle.map(|at| at.plus(self.limits.inactivity)),
            self.originals.next_deadline(),
            self.deletion
                .next_deadline(&self.limits.deletion, self.sequencer.has_waiting()),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The newest frames, for pages and range reads.
    #[must_use]
    pub const fn backlog(&self) -> &Backlog {
        &self.backlog
    }

    /// How many members.
    #[must_use]
    pub fn member_count(&self) -> usize {
        self.roster.len()
    }

    /// Where the room stands: its generation and its last delivered message; `None` before the first claim.
    #[must_use]
    pub fn head(&self) -> Option<(Generation, Seq)> {
        self.profile.as_ref().map(|_| (self.generation, self.delivered))
    }

    // === messages

    fn on_send(&mut self, now: Now, submission: Submission, effects: &mut Effects) {
        let seat = Seat {
            node: submission.origin.node.clone(),
            session: submission.origin.session,
        };
        let origin = submission.origin.clone();
        if self.roster.user_of(&seat) != Some(&submission.user) {
            effects.push(Effect::Answer {
                to: origin,
                answer: Answer::SendRefused(Reject::NotMember),
            });
            return;
        }
        self.roster.touch(&submission.user, now.mono);
        match self.sequencer.submit(now, submission) {
            Admission::Queued if matches!(self.stage, Stage::Active) => self.sequencer.start_batch(effects),
            Admission::Queued => {}
            Admission::Full => {
                effects.push(Effect::Answer {
                    to: origin,
                    answer: Answer::SendRefused(Reject::Busy),
                });
            }
            Admission::Repeat(placed) => {
                let answer = Answer::Sent {
                    message_id: placed.message_id,
                    seq: placed.seq,
                    timestamp: placed.timestamp,
                    duplicate: true,
                };
                self.confirm(placed.seq, origin, answer, effects);
            }
            Admission::Conflict => {
                effects.push(Effect::Answer {
                    to: origin,
                    answer: Answer::SendRefused(Reject::IdConflict),
                });
            }
        }
    }

    fn on_appended(&mut self, now: Now, token: u64, outcome: AppendOutcome, effects: &mut Effects) {
        if outcome == AppendOutcome::Unknown {
            self.sequencer.doubt(token, now.mono);
            return;
        }
        // An outcome of an append that is settled already is an echo of a repeat.
        let Some(batch) = self.sequencer.settle(token) else {
            return;
        };
        match outcome {
            AppendOutcome::Committed | AppendOutcome::Duplicate => {
                self.sequencer.commit(&batch.append.items);
                let frames = batch
                    .append
                    .items
                    .iter()
                    .map(|item| MessageFrame::encode(&item.message))
                    .collect();
                self.deliver(frames, effects);
                self.acknowledge(&batch, effects);
                self.sequencer.start_batch(effects);
                self.history.trim(now, self.sequencer.epoch(), self.delivered, effects);
            }
            AppendOutcome::Repeats(repeats) => {
                let known = self.sequencer.without(batch, repeats, effects);
                self.answer_repeats(known, effects);
            }
            AppendOutcome::Fenced(_) | AppendOutcome::SeqMismatch(_) | AppendOutcome::BeingDeleted => {
                // Not a failure of the messages: an earlier attempt may have committed them. A new tenure settles it, and
                // gives up a deletion that nobody here knows of.
                self.sequencer.unsettle(batch);
                self.reclaim(effects);
            }
            AppendOutcome::NoRoom => {
                self.stage = Stage::Gone;
                refuse_all(batch.origins.into_iter().flatten(), &Reject::RoomNotFound, effects);
                self.refuse_senders(&Reject::RoomNotFound, effects);
            }
            AppendOutcome::Refused(_) => {
                refuse_all(batch.origins.into_iter().flatten(), &Reject::NotAdded, effects);
                self.sequencer.start_batch(effects);
            }
            AppendOutcome::Unknown => {}
        }
    }

    fn on_trimmed(&mut self, now: Now, result: Result<TrimOutcome, String>, effects: &mut Effects) {
        // The cursors that are further back find out with their next page.
        let epoch = self.sequencer.epoch();
        self.history.on_trimmed(now, result, epoch, self.delivered, effects);
    }

    fn deliver(&mut self, frames: Vec<MessageFrame>, effects: &mut Effects) {
        let frames: Vec<_> = frames.into_iter().filter(|f| f.seq() > self.delivered).collect();
        let Some(last) = frames.last() else { return };
        self.delivered = last.seq();
        for frame in &frames {
            self.backlog.push(frame.clone());
        }
        let nodes = self.linked_nodes();
        if !nodes.is_empty() {
            let (generation, epoch) = (self.generation, self.sequencer.epoch());
            effects.push(Effect::Relay {
                nodes,
                generation,
                epoch,
                frames: frames.clone(),
            });
        }
        self.originals.deliver(&frames, effects);
        effects.push(Effect::Deliver(frames));
    }

    fn acknowledge(&mut self, batch: &Batch, effects: &mut Effects) {
        for (item, origins) in batch.append.items.iter().zip(&batch.origins) {
            let message = &item.message;
            for origin in origins {
                let answer = Answer::Sent {
                    message_id: message.message_id.clone(),
                    seq: message.seq,
                    timestamp: message.timestamp,
                    duplicate: false,
                };
                self.confirm(message.seq, origin.clone(), answer, effects);
            }
        }
    }

    /// A confirmation follows its message: here the cursor sees to that, elsewhere the order of the link.
    fn confirm(&mut self, seq: Seq, to: Origin, answer: Answer, effects: &mut Effects) {
        if to.node == self.me {
            self.audience.acknowledge(seq, to, answer, effects);
        } else {
            effects.push(Effect::Answer { to, answer });
        }
    }

    fn answer_repeats(&mut self, known: Vec<(Repeat, Vec<Origin>)>, effects: &mut Effects) {
        for (repeat, origins) in known {
            for to in origins {
                if repeat.same_content {
                    let answer = Answer::Sent {
                        message_id: repeat.message_id.clone(),
                        seq: repeat.seq,
                        timestamp: repeat.timestamp,
                        duplicate: true,
                    };
                    self.confirm(repeat.seq, to, answer, effects);
                } else {
                    let answer = Answer::SendRefused(Reject::IdConflict);
                    effects.push(Effect::Answer { to, answer });
                }
            }
        }
    }

    fn refuse_senders(&mut self, reject: &Reject, effects: &mut Effects) {
        refuse_all(self.sequencer.abandon().into_iter(), reject, effects);
    }

    fn finish(&mut self, effects: &mut Effects) {
        let needless = match &self.stage {
            Stage::Gone => true,
            Stage::Active => {
                self.roster.is_empty()
                    && self.audience.is_empty()
                    && self.sequencer.is_quiet()
                    && !self.deletion.is_under_way()
            }
            Stage::Deleted { purge, .. } => *purge == Purge::Done && !self.deletion.is_under_way(),
            Stage::Claiming { .. } | Stage::Settling { .. } => false,
        };
        if needless {
            effects.push(Effect::Idle);
        }
        self.check();
    }

    /// What must hold after every step; see [`crate::invariant`].
    pub(crate) fn assert_consistent(&self) {
        self.roster.check();
        self.sequencer.check();
        self.audience.check(self.delivered);
        self.check_originals();
        if matches!(self.stage, Stage::Active) {
            assert_eq!(self.delivered, self.sequencer.head(), "what is committed is delivered");
        }
        if matches!(self.stage, Stage::Deleted { .. }) {
            let empty = self.roster.is_empty() && self.audience.is_empty() && self.sequencer.is_quiet();
            assert!(empty, "nobody is in a deleted room");
        }
        for (session, user) in self.audience.iter() {
            let seat = Seat {
                node: self.me.clone(),
                session,
            };
            assert_eq!(
                self.roster.user_of(&seat),
                Some(user),
                "whoever listens here is a member"
            );
        }
    }

    fn check(&self) {
        crate::invariant::after_step(|| self.assert_consistent());
    }
}

fn refuse_all(origins: impl Iterator<Item = Origin>, reject: &Reject, effects: &mut Effects) {
    for to in origins {
        effects.push(Effect::Answer {
            to,
            answer: Answer::SendRefused(reject.clone()),
        });
    }
}

/// Answers a request that cannot be served; what is no request needs no answer.
fn refuse(input: Input, reject: &Reject, effects: &mut Effects) {
    let (to, answer) = match input {
        Input::Original(input) => return original::refuse(input, reject, effects),
        Input::Join { origin, .. } => (origin, Answer::JoinRefused(reject.clone())),
        Input::Send(submission) => (submission.origin, Answer::SendRefused(reject.clone())),
        Input::Leave { origin, .. } => (origin, Answer::Left),
        Input::Delete { origin, .. } => (
            origin,
            Answer::DeleteRefused {
                reject: reject.clone(),
                transaction: None,
            },
        ),
        Input::Seats { node, .. } => (
            Origin {
                node,
                session: SessionId(0),
                request: 0,
            },
            Answer::JoinRefused(reject.clone()),
        ),
        _ => return,
    };
    effects.push(Effect::Answer { to, answer });
}

#[cfg(test)]
mod tests;
