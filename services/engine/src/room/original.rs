//! Nodes of the original system that have members in a room of this node.
//!
//! To such a node a member is a name, so its seats are (name, node) pairs without connections. What it is told of the room is
//! not a link's business but one call per message, and its clients show only what continues number 1 without a hole:
//!
//! * All numbers that the node sees are lowered by a *shift*, fixed at its first seat and dropped with its last.
//! * It is served by a cursor, as a slow reader is: messages go to its queue as long as that takes them, then pages from the
//!   log. So a node that was away for a while gets everything, and nothing of it waits in memory.
//! * After each answer to a join the messages since the answer was made are said once more, because between the answer and
//!   the moment at which the node subscribes its client they reach nobody. Its clients drop what they know.
//! * A message that is forwarded again because the answer to it was lost is recognised: by the answer that did not arrive, or
//!   because the node did not look for the room before.
//! * A node that fails loses its seats at once: it cannot announce them again, and was watched patiently before.

mod nodes;

use super::*;
use crate::effect::Recalled;
use chat_protocol::ids::{ClientMsgId, MessageId};
use chat_protocol::limits::{CLASSIC_HISTORY, ORIGINAL_HISTORY};
use nodes::Forward;
use std::sync::Arc;

pub(super) use nodes::Originals;
pub use nodes::{is_original, shift_of};

/// What an original node asks of a room of this node, and what becomes of what it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A user there wants in.
    Join {
        /// Comes back in the answer.
        request: u64,
        /// The node.
        node: NodeId,
        /// The user.
        user: UserName,
    },
    /// The answer to a join, which said that the room ends at `head`, is on its way.
    Replied {
        /// The node.
        node: NodeId,
        /// The last message of the answer.
        head: Seq,
    },
    /// A user there wants out, or is gone.
    Leave {
        /// Comes back in the answer.
        request: u64,
        /// The node.
        node: NodeId,
        /// The user.
        user: UserName,
        /// What the others are told.
        reason: LeaveReason,
    },
    /// A user there has something to say.
    Forward {
        /// Comes back in the answer.
        request: u64,
        /// The node.
        node: NodeId,
        /// The user.
        user: UserName,
        /// What.
        content: Arc<str>,
        /// The id of the message if it is new.
        message_id: MessageId,
        /// The id of the sending if it is new.
        client_msg_id: ClientMsgId,
        /// How often anybody had looked for rooms here when it came. A node of the original looks before every call, but
        /// not before it makes one again.
        looks: u64,
    },
    /// The answer to a forwarded message was given to the node: the same words are another message from here on.
    Told {
        /// The node.
        node: NodeId,
        /// The user.
        user: UserName,
        /// What it said.
        content: Arc<str>,
    },
    /// The queue to the node did not take the message `next` of a broadcast, nor any later one.
    Lagged {
        /// The node.
        node: NodeId,
        /// What it has not got.
        next: Seq,
    },
    /// A page was queued for the node; the next begins at `next`.
    Passed {
        /// The node.
        node: NodeId,
        /// Where the page began.
        from: Seq,
        /// Where it ended.
        next: Seq,
    },
    /// A page could not be read.
    PageFailed {
        /// The node.
        node: NodeId,
        /// Where it should have begun.
        from: Seq,
    },
    /// The node failed, or is none of the original any more.
    Gone(NodeId),
}

impl Room {
    pub(super) fn on_original(&mut self, now: Now, input: Input, effects: &mut Effects) {
        match input {
            Input::Join { request, node, user } => self.original_join(now, request, node, user, effects),
            Input::Replied { node, head } => self.originals.repeat_later(&node, head, now.mono),
            Input::Leave {
                request,
                node,
                user,
                reason,
            } => self.original_leave(now, request, node, &user, reason, effects),
            Input::Forward {
                request,
                node,
                user,
                content,
                message_id,
                client_msg_id,
                looks,
            } => {
                let forward = Forward {
                    user,
                    content,
                    id: client_msg_id,
                    looks,
                    at: now.mono,
                    told: false,
                };
                self.original_forward(now, (node, request), forward, message_id, effects);
            }
            Input::Told { node, user, content } => self.originals.told(&node, &user, &content),
            Input::Lagged { node, next } => {
                if self.originals.lagged(&node, next) {
                    self.serve_original(now, &node, next, effects);
                }
            }
            Input::Passed { node, from, next } => {
                if self.originals.is_at(&node, from) {
                    self.serve_original(now, &node, next.max(from), effects);
                }
            }
            Input::PageFailed { node, from } => {
                if self.originals.is_at(&node, from) {
                    self.serve_original(now, &node, from, effects);
                }
            }
            Input::Gone(node) => self.lose_original(now, &node, effects),
        }
    }

    /// Says messages again that were said while a node subscribed a client.
    pub(super) fn repeat_to_originals(&mut self, now: Now, effects: &mut Effects) {
        for (node, from) in self.originals.due(now.mono) {
            self.serve_original(now, &node, from, effects);
        }
    }

    /// A node is served from `next` on. If that is not kept any more its clients can never be shown anything again.
    fn serve_original(&mut self, now: Now, node: &NodeId, next: Seq, effects: &mut Effects) {
        if next < self.history.floor() {
            self.lose_original(now, node, effects);
        } else {
            self.originals.advance(node, next, self.delivered, effects);
        }
    }

    fn original_join(&mut self, now: Now, request: u64, node: NodeId, user: UserName, effects: &mut Effects) {
        let offer = self.offer();
        let first = self
            .originals
            .first(&node)
            .unwrap_or_else(|| offer.newest(ORIGINAL_HISTORY));
        let origin = |session| Origin {
            node: node.clone(),
            session,
            request,
        };
        if first < self.history.floor() || self.delivered.0 + 1 - first.0 > CLASSIC_HISTORY {
            effects.push(Effect::Answer {
                to: origin(nodes::NOWHERE),
                answer: Answer::JoinRefused(Reject::Internal(TOO_LONG.into())),
            });
            return;
        }
        let again = self.roster.seats_of(&user).next().is_some();
        let session = self.originals.seat(&node, &user, first, self.delivered);
        let seat = Seat {
            node: node.clone(),
            session,
        };
        self.roster.adopt(&node);
        if self.roster.user_of(&seat).is_some() {
            self.roster.touch(&user, now.mono);
        } else {
            self.roster.sit(seat.clone(), user.clone(), None, now.mono);
            self.keep(&seat, &user, None, effects);
        }
        if !again {
            let others = self.originals.nodes_with_others(&node);
            self.announce_to(now, user.clone(), None, None, others, effects);
        }
        // An earlier leave of the same name, if it is still on its way there, would throw out who has just come.
        effects.push(Effect::Recall {
            node: node.clone(),
            what: Recalled::Departure(user),
        });
        let mut joined = self.joined();
        (joined.resumed, joined.first) = (again, first);
        effects.push(Effect::Answer {
            to: origin(session),
            answer: Answer::Joined(joined),
        });
    }

    fn original_leave(
        &mut self,
        now: Now,
        request: u64,
        node: NodeId,
        user: &UserName,
        reason: LeaveReason,
        effects: &mut Effects,
    ) {
        let (session, answer) = match self.originals.seat_of(&node, user) {
            Some(session) => {
                let seat = Seat {
                    node: node.clone(),
                    session,
                };
                self.vacate(now, &seat, reason, effects);
                (session, Answer::Left)
            }
            // Whoever is in the room by another way stays in it.
            None => (nodes::NOWHERE, Answer::NotIn),
        };
        let to = Origin { node, session, request };
        effects.push(Effect::Answer { to, answer });
    }

    fn original_forward(
        &mut self,
        now: Now,
        (node, request): (NodeId, u64),
        forward: Forward,
        message_id: MessageId,
        effects: &mut Effects,
    ) {
        let (user, content) = (forward.user.clone(), Arc::clone(&forward.content));
        let Some(session) = self.originals.seat_of(&node, &user) else {
            effects.push(Effect::Answer {
                to: Origin {
                    node,
                    session: nodes::NOWHERE,
                    request,
                },
                answer: Answer::SendRefused(Reject::NotMember),
            });
            return;
        };
        let id = self.originals.recognise(&node, forward);
        let submission = Submission {
            origin: Origin { node, session, request },
            user,
            content,
            client_msg_id: Some(id),
            message_id,
        };
        self.on_send(now, submission, effects);
    }

    /// All seats behind a node are gone. Its own clients are told as well, if it ever listens again.
    pub(super) fn lose_original(&mut self, now: Now, node: &NodeId, effects: &mut Effects) {
        for session in self.originals.seats(node) {
            let seat = Seat {
                node: node.clone(),
                session,
            };
            self.vacate(now, &seat, LeaveReason::NodeUnreachable, effects);
        }
    }

    /// Seats that were noted in an earlier life stand, if their node answers within the grace: it does not announce them.
    pub(super) fn restore_original(&mut self, now: Now, seat: &Seat, user: UserName) -> bool {
        if !is_original(seat.session) {
            return false;
        }
        self.originals.restore(seat, &user, self.delivered);
        self.roster.sit(seat.clone(), user, None, now.mono);
        self.roster.orphan(&seat.node, now.mono);
        true
    }

    /// Whatever restored nodes have not been told is told.
    pub(super) fn serve_restored(&mut self, now: Now, effects: &mut Effects) {
        for (node, next) in self.originals.behind() {
            self.serve_original(now, &node, next.max(self.history.floor()), effects);
        }
    }

    /// Something came over a link from a node: it is none of the original, whatever it was before.
    pub(super) fn speaks_as_we_do(&mut self, now: Now, node: &NodeId, effects: &mut Effects) {
        if self.originals.contains(node) {
            self.lose_original(now, node, effects);
        }
    }

    /// The original nodes with members in the room.
    #[must_use]
    pub fn original_nodes(&self) -> Vec<NodeId> {
        self.originals.nodes()
    }

    pub(super) fn check_originals(&self) {
        for (node, user, session) in self.originals.iter() {
            let seat = Seat {
                node: node.clone(),
                session,
            };
            assert_eq!(
                self.roster.user_of(&seat),
                Some(user),
                "a name behind an original node has a seat"
            );
        }
        self.originals.check(self.delivered);
    }
}

/// Why a join through a node is refused whose numbers begin too long ago.
const TOO_LONG: &str = "Too much was said in this room since this node came to it, join through another node";

/// Answers a request of an original node that cannot be served.
pub(super) fn refuse(input: Input, reject: &Reject, effects: &mut Effects) {
    let (node, request, answer) = match input {
        Input::Join { request, node, .. } | Input::Leave { request, node, .. } => {
            (node, request, Answer::JoinRefused(reject.clone()))
        }
        Input::Forward { request, node, .. } => (node, request, Answer::SendRefused(reject.clone())),
        _ => return,
    };
    let to = Origin {
        node,
        session: nodes::NOWHERE,
        request,
    };
    effects.push(Effect::Answer { to, answer });
}
