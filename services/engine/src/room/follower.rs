//! A room as a member node sees it: connections here, numbers from there.
//!
//! The machine forwards what its connections ask and delivers what the admin node numbered: contiguous numbers only. A
//! hole is filled by reading the range from the admin node; what arrives meanwhile only moves the end of the range. When
//! the admin node or the link to it is lost, the fate of forwarded messages is unknown: they are never sent again here,
//! the sender is told. Connections stay, and are announced again when the admin node is back.

mod asked;
pub mod deletion;
mod input;
mod loss;
mod numbers;

use super::RoomLimits;
use super::audience::{Audience, Offer, Start};
use super::backlog::Backlog;
use crate::deletion::held::Held;
use crate::deletion::participant::Participant;
use crate::effect::{Answer, Effect, Effects, Joined, Origin, Terms};
use crate::time::{Millis, Now};
use chat_protocol::ids::{ClientMsgId, Epoch, Generation, NodeId, RoomId, Seq, SessionId, UserName};
use chat_protocol::message_frame::MessageFrame;
use chat_protocol::peer_call::Range;
use chat_protocol::peer_item::PeerBody;
use chat_protocol::reject::Reject;
use chat_protocol::server_frame::{LeaveReason, MemberEvent};
use deletion::Deleting;
use std::collections::BTreeMap;
use std::sync::Arc;

pub use input::Input;

#[derive(Debug)]
enum Pending {
    Join {
        origin: Origin,
        user: UserName,
        terms: Terms,
        /// It asked to leave meanwhile.
        left: bool,
    },
    Send {
        origin: Origin,
        since: Millis,
    },
    Delete(Deleting),
}

/// Where the room stands, as far as this node knows.
#[derive(Debug)]
struct Position {
    generation: Generation,
    epoch: Epoch,
    /// The last message delivered here.
    delivered: Seq,
    /// The last message known to be committed.
    head: Seq,
}

/// What was wrong with the numbers that came, since it was last asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Holes that began.
    pub gaps: u64,
    /// Holes that were closed.
    pub repaired: u64,
    /// Messages that came although they had been delivered.
    pub doubled: u64,
}

/// Milliseconds between two tries of a repair.
const RETRY_PAUSE: u64 = 200;

/// A room at a member node.
#[derive(Debug)]
pub struct Follower {
    room_id: RoomId,
    admin: NodeId,
    limits: RoomLimits,
    next_request: u64,
    pending: BTreeMap<u64, Pending>,
    position: Option<Position>,
    audience: Audience,
    backlog: Backlog,
    repairing: bool,
    repair_at: Option<Millis>,
    /// What a tail check saw that was not delivered then.
    missing: Option<Seq>,
    /// Confirmations of messages that are still missing here: none overtakes its message.
    early: Vec<(Seq, Origin, Answer)>,
    /// What was delivered when traffic was last asked for.
    checked: Seq,
    failed_since: Option<Millis>,
    participant: Participant,
    /// What waits for the end of a deletion.
    held: Held<Input>,
    /// When classic connections are told that they are out, because the admin node does not come back.
    dismiss_at: Option<Millis>,
    /// Something is missing.
    in_gap: bool,
    seen: Seen,
}

impl Follower {
    /// A room administered by `admin` that nobody here is in yet.
    #[must_use]
    pub fn new(room_id: RoomId, admin: NodeId, limits: RoomLimits) -> Self {
        Self {
            room_id,
            admin,
            limits,
            next_request: 1,
            pending: BTreeMap::new(),
            position: None,
            audience: Audience::default(),
            backlog: Backlog::new(limits.backlog_bytes),
            repairing: false,
            repair_at: None,
            missing: None,
            early: Vec::new(),
            checked: Seq::ZERO,
            failed_since: None,
            participant: Participant::new(limits.deletion),
            held: Held::new(limits.deletion.held, limits.deletion.held_bytes),
            dismiss_at: None,
            in_gap: false,
            seen: Seen::default(),
        }
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Now, input: Input, effects: &mut Effects) {
        if let Some(input) = self.hold(now, input, effects) {
            self.apply(now, input, effects);
        }
        self.finish(effects);
    }

    fn apply(&mut self, now: Now, input: Input, effects: &mut Effects) {
        match input {
            Input::Join { origin, user, terms } => self.on_join(origin, user, terms, effects),
            Input::Leave { origin, user } => self.on_leave(origin, &user, effects),
            Input::Closed(session) => self.on_closed(session, effects),
            Input::Send {
                origin,
                user,
                content,
                client_msg_id,
            } => {
                self.on_send(now, origin, user, content, client_msg_id, effects);
            }
            Input::Lagged { session, next } => self.audience.lagged(session, next, self.delivered(), effects),
            Input::PageSent { session, from, next } => {
                self.audience.page_sent(session, from, next, self.delivered(), effects);
            }
            Input::PageFailed { session, from } => {
                self.audience.page_failed(session, from, self.delivered(), effects);
            }
            Input::PageTrimmed { session, from, floor } => {
                let offer = self.offer(floor);
                self.audience.page_trimmed(session, from, floor, offer, effects);
            }
            Input::Answered { request, answer } => self.on_answered(now, request, answer, effects),
            Input::Delivered {
                generation,
                epoch,
                frames,
            } => self.on_delivered(generation, epoch, frames, effects),
            Input::Head {
                generation,
                epoch,
                head,
            } => {
                self.on_head(generation, epoch, head, effects);
            }
            Input::Tail(tail) => self.on_tail(tail, effects),
            Input::Member(event) => self.on_member(event, effects),
            Input::Unseated(session) => {
                if self.audience.user_of(session).is_some() {
                    self.audience.leave(session, effects);
                    effects.push(Effect::Replaced { session });
                }
            }
            Input::RangeRead(result) => self.on_range(now, result, effects),
            Input::Delete { origin, user } => self.on_delete(now, origin, user, effects),
            Input::Deletion(input) => self.on_deletion(now, input, effects),
            Input::AdminReset => {
                self.on_reset(effects);
                self.recheck_deletion(now, effects);
            }
            Input::AdminFailed => {
                self.refuse_held(&Reject::AdminUnavailable, |_| true, effects);
                if self.failed_since.is_none() {
                    self.failed_since = Some(now.mono);
                    self.dismiss_at = Some(now.mono.plus(self.limits.unreachable_after));
                    self.tell_trouble(true, effects);
                }
                self.refuse_pending(effects);
            }
            Input::AdminBack => {
                self.dismiss_at = None;
                if self.failed_since.take().is_some() {
                    self.tell_trouble(false, effects);
                }
                self.recheck_deletion(now, effects);
            }
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Now, effects: &mut Effects) {
        if self.repair_at.is_some_and(|at| at <= now.mono) {
            self.repair_at = None;
            self.repair(effects);
        }
        let patience = self.limits.unknown_after;
        let overdue = |p: &Pending| matches!(p, Pending::Send { since, .. } if now.mono.since(*since) >= patience);
        let late: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, p)| overdue(p))
            .map(|(request, _)| *request)
            .collect();
        for request in late {
            if let Some(Pending::Send { origin, .. }) = self.pending.remove(&request) {
                effects.push(Effect::Answer {
                    to: origin,
                    answer: Answer::SendUnknown,
                });
            }
        }
        if self.dismiss_at.is_some_and(|at| at <= now.mono) {
            self.dismiss_at = None;
            self.dismiss(now, |key| key.is_none(), effects);
        }
        self.time_deletion(now, effects);
        self.finish(effects);
    }

    /// When [`Self::handle_timeout`] is due, if nothing arrives before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        let oldest = self.pending.values().filter_map(|p| match p {
            Pending::Send { since, .. } => Some(since.plus(self.limits.unknown_after)),
            Pending::Join { .. } | Pending::Delete(_) => None,
        });
        oldest
            .chain(self.repair_at)
            .chain(self.deletion_deadline())
            .chain(self.dismiss_at.filter(|_| !self.audience.is_empty()))
            .min()
    }

    /// Who administers the room.
    #[must_use]
    pub const fn admin(&self) -> &NodeId {
        &self.admin
    }

    /// The newest frames, for pages.
    #[must_use]
    pub const fn backlog(&self) -> &Backlog {
        &self.backlog
    }

    /// Where the room stands as far as this node knows: its generation and its last message.
    #[must_use]
    pub fn head(&self) -> Option<(Generation, Seq)> {
        self.position.as_ref().map(|p| (p.generation, p.head))
    }

    /// True if this node was asked to prepare the room's deletion, and has not heard how it ended for too long.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.participant.is_in_doubt()
    }

    /// True if the admin node does not answer.
    #[must_use]
    pub const fn is_degraded(&self) -> bool {
        self.failed_since.is_some()
    }

    /// What was seen since the last call.
    pub const fn take_seen(&mut self) -> Seen {
        std::mem::replace(
            &mut self.seen,
            Seen {
                gaps: 0,
                repaired: 0,
                doubled: 0,
            },
        )
    }

    /// How many messages the room is known to have that were not delivered here.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.position.as_ref().map_or(0, |p| p.head.0 - p.delivered.0)
    }

    /// A hole begins when something is missing, and is closed when nothing is.
    fn watch_gap(&mut self) {
        let missing = self.lag() > 0;
        if missing != self.in_gap {
            self.in_gap = missing;
            let count = if missing {
                &mut self.seen.gaps
            } else {
                &mut self.seen.repaired
            };
            *count += 1;
        }
    }

    fn delivered(&self) -> Seq {
        self.position.as_ref().map_or(Seq::ZERO, |p| p.delivered)
    }

    fn tell(&self, item: PeerBody, effects: &mut Effects) {
        effects.push(Effect::Tell {
            node: self.admin.clone(),
            item,
        });
    }

    fn request(&mut self, pending: Pending) -> u64 {
        let request = self.next_request;
        self.next_request += 1;
        self.pending.insert(request, pending);
        request
    }

    // === what the admin node says

    fn on_answered(&mut self, now: Now, request: u64, answer: Answer, effects: &mut Effects) {
        let Some(answer) = self.on_deletion_answer(request, answer, effects) else {
            return;
        };
        match (self.pending.remove(&request), answer) {
            (
                Some(Pending::Join {
                    origin,
                    user,
                    terms,
                    left,
                }),
                Answer::Joined(mut joined),
            ) => {
                self.on_joined(&joined, effects);
                let session = origin.session;
                let offer = self.offer_of(&joined);
                let start = Start::of(&terms, offer);
                joined.first = start.first;
                effects.push(Effect::Answer {
                    to: origin,
                    answer: Answer::Joined(joined),
                });
                self.audience.join(session, user, &terms, start, offer, effects);
                if left {
                    self.audience.leave(session, effects);
                }
            }
            (
                Some(Pending::Send { origin, .. }),
                Answer::Sent {
                    message_id,
                    seq,
                    timestamp,
                    duplicate,
                },
            ) => {
                let answer = Answer::Sent {
                    message_id,
                    seq,
                    timestamp,
                    duplicate,
                };
                if seq > self.delivered() {
                    self.early.push((seq, origin, answer));
                } else {
                    self.audience.acknowledge(seq, origin, answer, effects);
                }
            }
            (Some(Pending::Join { origin, .. } | Pending::Send { origin, .. }), refusal) => {
                effects.push(Effect::Answer {
                    to: origin,
                    answer: refusal,
                });
            }
            // Its answers are taken above.
            (Some(Pending::Delete(_)), _) => {}
            (None, Answer::Joined(joined)) if request == 0 => self.on_joined(&joined, effects),
            (None, Answer::JoinRefused(Reject::RoomNotFound)) if request == 0 => self.dismiss(now, |_| true, effects),
            (None, _) => {}
        }
    }

    fn offer_of(&self, joined: &Joined) -> Offer {
        let (head, delivered) = match &self.position {
            Some(position) => (position.head, position.delivered),
            None => (joined.head, joined.head),
        };
        Offer {
            generation: joined.generation,
            floor: joined.floor,
            head,
            delivered,
        }
    }

    fn tell_trouble(&self, degraded: bool, effects: &mut Effects) {
        if !self.audience.is_empty() {
            effects.push(Effect::Trouble { degraded });
        }
    }

    fn on_joined(&mut self, joined: &Joined, effects: &mut Effects) {
        if self.position.is_none() {
            self.position = Some(Position {
                generation: joined.generation,
                epoch: joined.epoch,
                delivered: joined.head,
                head: joined.head,
            });
        }
        self.on_head(joined.generation, joined.epoch, joined.head, effects);
    }

    /// What comes from a former tenure, or about a room that nobody here is in, is dropped.
    fn on_member(&mut self, event: MemberEvent, effects: &mut Effects) {
        let gone = event.left.is_some().then(|| event.username.clone());
        effects.push(Effect::Announce {
            event,
            except: None,
            nodes: Vec::new(),
        });
        // Whoever is no member any more has no seat: its connections here saw the event and hear nothing more.
        let Some(user) = gone else { return };
        let unseated: Vec<SessionId> = self
            .audience
            .iter()
            .filter(|(_, name)| **name == user)
            .map(|(session, _)| session)
            .collect();
        for session in unseated {
            self.audience.leave(session, effects);
        }
    }

    fn finish(&mut self, effects: &mut Effects) {
        self.watch_gap();
        let nobody = self.audience.is_empty() && self.pending.is_empty() && self.early.is_empty();
        if nobody && self.held.is_empty() && self.participant.is_idle() {
            effects.push(Effect::Idle);
        }
        crate::invariant::after_step(|| self.assert_consistent());
    }

    /// What must hold after every step; see [`crate::invariant`].
    pub(crate) fn assert_consistent(&self) {
        self.audience.check(self.delivered());
        if let Some(position) = &self.position {
            assert!(
                position.delivered <= position.head,
                "nothing is delivered beyond the head"
            );
            let repairs = self.repairing || self.repair_at.is_some();
            assert!(
                repairs || position.delivered == position.head,
                "a hole is being repaired"
            );
        } else {
            assert!(
                self.audience.is_empty(),
                "nobody listens to a room whose position is not known"
            );
        }
        assert!(
            self.backlog.first().is_none_or(|first| first <= self.delivered()),
            "what is kept was delivered"
        );
    }
}

#[cfg(test)]
mod tests;
