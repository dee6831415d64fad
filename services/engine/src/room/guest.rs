//! A room of a node of the original system, as a member node of ours sees it.
//!
//! The admin node there keeps no log, says every message once and names nobody's connection. So this machine is a
//! [`super::follower`] that has less to go by:
//!
//! * It is in the room once per name. Joins are asked of the admin node for every connection, because its answer tells who is
//!   in the room; leaves only for the last connection of a name.
//! * The join is noted before it is asked, and messages that come before its answer are held: between the two nothing is lost.
//! * Numbers are delivered without a hole. What is missing for a second is asked for by joining again under a name that is in
//!   the room, which changes nothing there and is answered with the newest messages. What those do not hold is lost: numbers
//!   of classic connections are lowered by the hole, extended ones are told.
//! * A message is forwarded once. If the call breaks nobody knows whether the message is in the room; if it turns up later,
//!   a repeat of the same sending is recognised.
//! * A seat of an extended session waits here for a while when its connection closes. Before it is given up the other nodes of
//!   ours are asked, because the admin node cannot know that the session came back at one of them.
//! * A room there lives as long as its node: when that node fails, classic connections are out at once.

mod asked;
pub mod deletion;
mod fates;
mod log;
mod loss;
mod waiting;

use super::RoomLimits;
use super::audience::{Audience, Offer, Start};
use super::backlog::Backlog;
use super::follower;
use crate::effect::{Answer, Ask, Effect, Effects, Joined, Origin, Terms};
use crate::time::{Millis, Now};
use chat_protocol::ids::{
    ClientMsgId, Epoch, Generation, MessageId, NodeId, RoomId, SeatKey, Seq, SessionId, UserName,
};
use chat_protocol::limits::{MAX_MESSAGE_FRAME, ORIGINAL_HISTORY};
use chat_protocol::message_frame::{Message, MessageFrame};
use chat_protocol::reject::Reject;
use chat_protocol::server_frame::{LeaveReason, MemberEvent, RoomInfo};
use chat_protocol::timestamp::Timestamp;
use deletion::{DeletionInput, Ending};
use fates::{Fate, Fates};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use waiting::Waiting;

/// What can happen to a room of an original node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// What happens to every followed room: requests of connections, pages, the health of the admin node. What only a
    /// link brings is ignored.
    Asked(follower::Input),
    /// A call came back.
    Answered {
        /// Which.
        request: u64,
        /// How.
        reply: Reply,
    },
    /// The admin node shows a message.
    Said(Message),
    /// The admin node says that somebody came or went.
    Member(MemberEvent),
    /// The admin node is none of the original any more: what it had is lost.
    Gone,
    /// Somebody says something about the room's deletion.
    Deletion(DeletionInput),
    /// Another node of ours asks whether a name is in the room because of a connection here.
    Inquiry {
        /// Who asks.
        node: NodeId,
        /// To be repeated in the answer.
        question: u64,
        /// Which name.
        user: UserName,
    },
    /// So many nodes were asked.
    Inquired {
        /// What.
        question: u64,
        /// How many.
        nodes: usize,
    },
    /// One of them answers.
    Holds {
        /// What it was asked.
        question: u64,
        /// True if the name is in the room because of a connection there.
        holds: bool,
    },
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The user is a member.
    Joined {
        /// It was one before.
        again: bool,
        /// The room.
        info: RoomInfo,
        /// Its newest messages.
        messages: Vec<Message>,
    },
    /// The message has its place.
    Sent {
        /// Which message.
        message_id: MessageId,
        /// Its place.
        seq: Seq,
        /// When it was accepted.
        timestamp: Timestamp,
    },
    /// The admin node said no.
    Refused(Reject),
    /// The call was not made.
    Undone,
    /// Nobody knows whether the call was executed.
    Unknown,
}

#[derive(Debug)]
enum Pending {
    Join {
        origin: Origin,
        user: UserName,
        terms: Terms,
        /// It asked to leave meanwhile.
        left: bool,
        /// Another node was told that the name is here, and has left its goodbye to this one.
        vouched: bool,
    },
    Send {
        /// Whom to answer; several if the sending was repeated meanwhile, none if they are gone.
        origins: Vec<Origin>,
        user: UserName,
        content: Arc<str>,
        /// How a repeat would be recognised, if there can be one.
        id: Option<ClientMsgId>,
        /// What was delivered when it was sent.
        after: Seq,
        /// Since when it is waited for; `None` if nobody waits any more.
        since: Option<Millis>,
    },
    /// A name that is in the room joined again, to see what is there.
    Check(UserName),
}

/// A confirmation whose message is still missing here.
#[derive(Debug)]
struct Early {
    seq: Seq,
    to: Origin,
    answer: Answer,
    since: Millis,
}

/// The only life of the numbering: an original node that begins anew has other rooms.
const GENERATION: Generation = Generation(1);
/// Milliseconds that a hole may take to close by itself.
const HOLE_PATIENCE: u64 = 1_000;
/// Milliseconds between two looks at what the room has, for what no hole shows: a last message, a lost membership.
const CHECK_EVERY: u64 = 30_000;
/// Most messages that wait behind a hole. What comes beyond is read from the room when the hole is closed.
const MAX_AHEAD: usize = 1_000;
/// Most bytes of them.
const MAX_AHEAD_BYTES: usize = 4 << 20;
/// Bytes of frames that are kept at least: the hundred messages that the admin node has.
const HISTORY_BYTES: usize = 100 * MAX_MESSAGE_FRAME;
const _: () = assert!(ORIGINAL_HISTORY == 100);

/// A room of an original node.
#[derive(Debug)]
pub struct Guest {
    room_id: RoomId,
    admin: NodeId,
    limits: RoomLimits,
    next_request: u64,
    pending: BTreeMap<u64, Pending>,
    /// The last message delivered here; `None` before the first answer.
    delivered: Option<Seq>,
    audience: Audience,
    /// Seats of extended sessions that may come back, by what they are recognised.
    detached: BTreeMap<SeatKey, Waiting>,
    /// Numbers what other nodes are asked, upwards over all machines of the room: no late answer is for another question.
    question: u64,
    backlog: Backlog,
    /// Messages beyond a hole, or before the first answer.
    ahead: BTreeMap<Seq, Message>,
    ahead_bytes: usize,
    /// Since when there is a hole that nobody asked for.
    hole_since: Option<Millis>,
    early: Vec<Early>,
    fates: Fates,
    check_at: Option<Millis>,
    /// The name under which the room was looked at last.
    checked: Option<UserName>,
    /// Counts changes of the members, upwards over all machines of the room.
    version: u64,
    failed: bool,
    ending: Ending,
}

impl Guest {
    /// A room administered by `admin` that nobody here is in yet.
    #[must_use]
    pub fn new(now: Now, room_id: RoomId, admin: NodeId, limits: RoomLimits) -> Self {
        // The admin node does not count. A clock for people is good enough for what only grows.
        let counted = u64::try_from(now.wall.0).unwrap_or(0);
        Self {
            room_id,
            admin,
            limits,
            next_request: 1,
            pending: BTreeMap::new(),
            delivered: None,
            audience: Audience::default(),
            detached: BTreeMap::new(),
            question: counted,
            backlog: Backlog::new(limits.backlog_bytes.max(HISTORY_BYTES)),
            ahead: BTreeMap::new(),
            ahead_bytes: 0,
            hole_since: None,
            early: Vec::new(),
            fates: Fates::default(),
            check_at: None,
            checked: None,
            version: counted,
            failed: false,
            ending: Ending::default(),
        }
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Now, input: Input, effects: &mut Effects) {
        match input {
            Input::Asked(asked) => self.on_asked(now, asked, effects),
            Input::Answered { request, reply } => self.on_answered(now, request, reply, effects),
            Input::Said(message) => self.on_said(now, message, effects),
            Input::Member(event) => self.on_member(event, effects),
            Input::Gone => self.on_gone(now, effects),
            Input::Deletion(input) => self.on_deletion(now, input, effects),
            Input::Inquiry { node, question, user } => self.on_inquiry(node, question, &user, effects),
            Input::Inquired { question, nodes } => self.on_inquired(question, nodes, effects),
            Input::Holds { question, holds } => self.on_holds(question, holds, effects),
        }
        self.finish(now, effects);
    }

    fn on_asked(&mut self, now: Now, input: follower::Input, effects: &mut Effects) {
        match input {
            follower::Input::Join { origin, user, terms } => self.on_join(origin, user, terms, effects),
            follower::Input::Leave { origin, user } => self.on_leave(origin, &user, effects),
            follower::Input::Closed(session) => self.on_closed(now, session, effects),
            follower::Input::Send {
                origin,
                user,
                content,
                client_msg_id,
            } => self.on_send(now, origin, user, content, client_msg_id, effects),
            follower::Input::Lagged { session, next } => {
                self.audience.lagged(session, next, self.delivered(), effects);
            }
            follower::Input::PageSent { session, from, next } => {
                self.audience.page_sent(session, from, next, self.delivered(), effects);
            }
            follower::Input::PageFailed { session, from } => self.on_page_failed(session, from, effects),
            follower::Input::AdminFailed => self.on_failed(now, effects),
            follower::Input::AdminBack => self.on_back(now, effects),
            // A node of the original offers no way to ask for a deletion: it says so to whoever asks elsewhere than there.
            follower::Input::Delete { origin, .. } => effects.push(Effect::Answer {
                to: origin,
                answer: Answer::DeleteRefused {
                    reject: Reject::RoomNotFound,
                    transaction: None,
                },
            }),
            // Only a link brings these.
            follower::Input::PageTrimmed { .. }
            | follower::Input::Answered { .. }
            | follower::Input::Delivered { .. }
            | follower::Input::Head { .. }
            | follower::Input::Tail(_)
            | follower::Input::Member(_)
            | follower::Input::Unseated(_)
            | follower::Input::RangeRead(_)
            | follower::Input::Deletion(_)
            | follower::Input::AdminReset => {}
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Now, effects: &mut Effects) {
        if self.hole_due().is_some_and(|at| at <= now.mono) {
            self.hole_since = None;
            self.look(effects);
            // There may be nobody yet under whose name to look.
            self.mind_hole(now.mono);
        }
        if self.check_at.is_some_and(|at| at <= now.mono) {
            self.check_at = None;
            self.look(effects);
        }
        self.time_deletion(now.mono, effects);
        self.give_up_late(now.mono, effects);
        self.end_grace(now.mono, effects);
        self.finish(now, effects);
    }

    /// When [`Self::handle_timeout`] is due, if nothing arrives before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        let patience = self.limits.unknown_after;
        let sends = self.pending.values().filter_map(|pending| match pending {
            Pending::Send { since, .. } => since.map(|since| since.plus(patience)),
            Pending::Join { .. } | Pending::Check(_) => None,
        });
        let early = self.early.iter().map(|early| early.since.plus(patience));
        let waiting = self.detached.values().map(|waiting| waiting.deadline(&self.limits));
        sends
            .chain(early)
            .chain(waiting)
            .chain(self.hole_due())
            .chain(self.check_at)
            .chain(self.ending.next_deadline())
            .min()
    }

    fn hole_due(&self) -> Option<Millis> {
        self.hole_since.map(|since| since.plus(HOLE_PATIENCE))
    }

    /// Who administers the room.
    #[must_use]
    pub const fn admin(&self) -> &NodeId {
        &self.admin
    }

    /// The newest frames, for pages: all that there is.
    #[must_use]
    pub const fn backlog(&self) -> &Backlog {
        &self.backlog
    }

    /// The life of the numbering and the last message, if they are known.
    #[must_use]
    pub fn head(&self) -> Option<(Generation, Seq)> {
        self.delivered.map(|delivered| (GENERATION, delivered))
    }

    /// True if the admin node does not answer.
    #[must_use]
    pub const fn is_degraded(&self) -> bool {
        self.failed
    }

    fn delivered(&self) -> Seq {
        self.delivered.unwrap_or(Seq::ZERO)
    }

    fn ask(&self, ask: Ask, effects: &mut Effects) {
        effects.push(Effect::Ask {
            node: self.admin.clone(),
            ask,
        });
    }

    fn request(&mut self, pending: Pending) -> u64 {
        let request = self.next_request;
        self.next_request += 1;
        self.pending.insert(request, pending);
        request
    }

    /// Names that are in the room because of connections here.
    fn users(&self) -> BTreeSet<UserName> {
        let seated = self.audience.iter().map(|(_, user)| user);
        seated
            .chain(self.detached.values().map(Waiting::user))
            .cloned()
            .collect()
    }

    /// True if the name is, or is about to be, in the room because of a connection here.
    fn is_here(&self, user: &UserName) -> bool {
        let joins =
            |pending: &Pending| matches!(pending, Pending::Join { user: name, left: false, .. } if name == user);
        self.audience.iter().any(|(_, name)| name == user)
            || self.detached.values().any(|waiting| waiting.user() == user)
            || self.pending.values().any(joins)
    }

    fn finish(&mut self, now: Now, effects: &mut Effects) {
        if self.audience.is_empty() || self.failed {
            self.check_at = None;
        } else if self.check_at.is_none() {
            self.check_at = Some(now.mono.plus(CHECK_EVERY));
        }
        if self.audience.is_empty() && self.detached.is_empty() && self.pending.is_empty() && self.early.is_empty() {
            effects.push(Effect::Idle);
        }
        crate::invariant::after_step(|| self.assert_consistent());
    }

    /// What must hold after every step; see [`crate::invariant`].
    pub(crate) fn assert_consistent(&self) {
        self.audience.check(self.delivered());
        let bytes: usize = self.ahead.values().map(|message| message.content.len()).sum();
        assert_eq!(bytes, self.ahead_bytes, "waiting bytes are counted");
        match self.delivered {
            None => assert!(
                self.audience.is_empty(),
                "nobody listens to a room whose position is not known"
            ),
            Some(delivered) => {
                assert!(
                    self.ahead.keys().next().is_none_or(|first| *first > delivered.next()),
                    "what continues the last message is delivered"
                );
                assert!(
                    self.ahead.is_empty() || self.hole_since.is_some() || self.is_looking() || self.failed,
                    "a hole is waited for or asked for"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests;
