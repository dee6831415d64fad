//! One room of a shard: its machine, who listens, what is under way, and what comes back to it.

use super::originals::BroadcastPage;
use super::shard::Outside;
use super::traced::Traced;
use super::traffic::Traffic;
use crate::peers::Located;
use crate::session::Session;
use bytes::Bytes;
use chat_engine::effect::{Answer, Effect, Effects};
use chat_engine::room::backlog::Backlog;
use chat_engine::room::follower::{self, Follower};
use chat_engine::room::guest::{self, Guest};
use chat_engine::room::{self, Room};
use chat_engine::time::{Millis, Now};
use chat_protocol::client_frame::RequestId;
use chat_protocol::ids::{ClientMsgId, Generation, RoomId, Seq, SessionId, UserName};
use chat_protocol::peer_call::Range;
use chat_protocol::reject::Reject;
use chat_protocol::server_frame::History;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

/// What comes back from something that a shard started.
#[derive(Debug)]
pub(super) enum Completion {
    /// For the machine of an administered room.
    Admin(room::Input),
    /// For the machine of a followed room, whoever administers it.
    Member(follower::Input),
    /// For the machine of a room of an original node.
    Guest(guest::Input),
    /// A page for an original node, read or to be read.
    Broadcast(BroadcastPage),
    /// Frames of a page for a connection.
    Page {
        session: SessionId,
        page: u64,
        from: Seq,
        range: Result<Range, String>,
    },
    /// A connection that had no room for a page has room again.
    Drained {
        session: SessionId,
        page: u64,
        from: Seq,
        to: Seq,
    },
    /// Messages that a connection asked for.
    History {
        session: SessionId,
        request: u64,
        page: Result<History, Reject>,
    },
    /// Where a room is.
    Located(Located),
}

/// A room's machine.
#[derive(Debug)]
pub(super) enum Machine {
    /// This node administers the room.
    Admin(Box<Room>),
    /// Another node does.
    Member(Box<Follower>),
    /// A node of the original does.
    Guest(Box<Guest>),
}

impl Machine {
    /// The life of the numbering and the last message, if they are known.
    pub(super) fn head(&self) -> Option<(Generation, Seq)> {
        match self {
            Self::Admin(machine) => machine.head(),
            Self::Member(machine) => machine.head(),
            Self::Guest(machine) => machine.head(),
        }
    }

    /// The newest frames.
    pub(super) const fn backlog(&self) -> &Backlog {
        match self {
            Self::Admin(machine) => machine.backlog(),
            Self::Member(machine) => machine.backlog(),
            Self::Guest(machine) => machine.backlog(),
        }
    }

    /// True if the admin node is another one and does not answer.
    pub(super) const fn is_degraded(&self) -> bool {
        match self {
            Self::Admin(_) => false,
            Self::Member(machine) => machine.is_degraded(),
            Self::Guest(machine) => machine.is_degraded(),
        }
    }
}

/// A connection that gets deliveries.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) session: Arc<Session>,
    pub(super) shift: u64,
    /// Earlier messages are not for it.
    pub(super) first: Seq,
    pub(super) live: bool,
    /// The page that it waits for; 0 for none. Any other is one of a cursor that it had before.
    pub(super) page: u64,
    /// It was live once and could not take a delivery.
    pub(super) lagged: bool,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) session: Arc<Session>,
    pub(super) user: UserName,
    pub(super) re: Option<RequestId>,
    pub(super) client_msg_id: Option<ClientMsgId>,
    /// When it was asked.
    pub(super) since: Instant,
    /// The answer, while an earlier request of the connection has none yet.
    pub(super) ready: Option<Bytes>,
    /// What the connection is told behind the answer.
    pub(super) farewell: Option<Bytes>,
}

/// A room with what belongs to it here.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) room_id: RoomId,
    pub(super) machine: Machine,
    pub(super) subscribers: BTreeMap<SessionId, Subscriber>,
    /// Requests under way, those of one connection in their order: one of a classic one, up to 16 of an extended one.
    pub(super) asking: BTreeMap<(SessionId, u64), Asking>,
    /// Calls of original nodes under way.
    pub(super) calls: BTreeMap<u64, oneshot::Sender<Answer>>,
    pub(super) idle: bool,
    pub(super) members: u32,
    /// Messages that the room is known to have and that were not delivered here.
    pub(super) lag: i64,
    pub(super) traffic: Traffic,
    /// Messages that are traced, of which there are nearly always none.
    pub(super) traced: Traced,
    /// It is prepared for a deletion of whose end it hears nothing.
    pub(super) in_doubt: bool,
    pub(super) deadline: Option<Millis>,
}

impl Entry {
    pub(super) fn new(room_id: RoomId, machine: Machine) -> Self {
        Self {
            room_id,
            machine,
            subscribers: BTreeMap::new(),
            asking: BTreeMap::new(),
            calls: BTreeMap::new(),
            idle: false,
            members: 0,
            in_doubt: false,
            deadline: None,
            lag: 0,
            traffic: Traffic::default(),
            traced: Traced::default(),
        }
    }

    pub(super) fn take(&mut self, now: Now, input: Completion, effects: &mut Effects, outside: &mut Outside) {
        if let Completion::Page { session, page, .. } | Completion::Drained { session, page, .. } = &input
            && self.subscribers.get(session).is_none_or(|s| s.page != *page)
        {
            // It belongs to a connection that left, or that left and came back and gets everything anew.
            return;
        }
        match (&mut self.machine, input) {
            (Machine::Admin(machine), Completion::Admin(input)) => machine.handle(now, input, effects),
            (Machine::Member(machine), Completion::Member(input)) => machine.handle(now, input, effects),
            (Machine::Guest(machine), Completion::Member(input)) => {
                machine.handle(now, guest::Input::Asked(input), effects);
            }
            (Machine::Guest(machine), Completion::Guest(input)) => machine.handle(now, input, effects),
            (Machine::Admin(_), Completion::Broadcast(page)) => {
                let room = self.room_id.clone();
                outside.broadcast_page(&room, self, page);
            }
            (
                _,
                Completion::Page {
                    session, from, range, ..
                },
            ) => {
                let input = outside.send_page(self, session, from, range);
                self.take(now, input, effects, outside);
            }
            (_, Completion::History { session, request, page }) => outside.answer_history(self, session, request, page),
            (_, Completion::Drained { session, from, to, .. }) => {
                effects.push(Effect::SendPage { session, from, to });
            }
            // What belonged to a machine that is gone means nothing to its successor.
            _ => {}
        }
    }

    pub(super) const fn room_id(&self) -> &RoomId {
        &self.room_id
    }

    /// A page input for whichever machine this is.
    pub(super) fn page_sent(&self, session: SessionId, from: Seq, next: Seq) -> Completion {
        match self.machine {
            Machine::Admin(_) => Completion::Admin(room::Input::PageSent { session, from, next }),
            Machine::Member(_) | Machine::Guest(_) => {
                Completion::Member(follower::Input::PageSent { session, from, next })
            }
        }
    }

    pub(super) fn page_failed(&self, session: SessionId, from: Seq) -> Completion {
        match self.machine {
            Machine::Admin(_) => Completion::Admin(room::Input::PageFailed { session, from }),
            Machine::Member(_) | Machine::Guest(_) => Completion::Member(follower::Input::PageFailed { session, from }),
        }
    }

    pub(super) fn page_trimmed(&self, session: SessionId, from: Seq, floor: Seq) -> Completion {
        match self.machine {
            Machine::Admin(_) => Completion::Admin(room::Input::PageTrimmed { session, from, floor }),
            Machine::Member(_) | Machine::Guest(_) => {
                Completion::Member(follower::Input::PageTrimmed { session, from, floor })
            }
        }
    }

    pub(super) fn lagged(&self, session: SessionId, next: Seq) -> Completion {
        match self.machine {
            Machine::Admin(_) => Completion::Admin(room::Input::Lagged { session, next }),
            Machine::Member(_) | Machine::Guest(_) => Completion::Member(follower::Input::Lagged { session, next }),
        }
    }
}
