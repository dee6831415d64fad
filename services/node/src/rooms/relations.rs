//! What other nodes do to the rooms of a shard: their items, their health, their lives.

use super::ShardInput;
use super::deletion::from_item;
use super::entry::{Completion, Machine};
use super::shard::{Shard, new_message_id};
use chat_engine::effect::{Answer, Joined, Origin, Submission, Terms};
use chat_engine::membership::Health;
use chat_engine::room::roster::Seat;
use chat_engine::room::{self, follower, guest};
use chat_engine::time::Now;
use chat_protocol::ids::{Incarnation, NodeId, RoomId, Seq, SessionId};
use chat_protocol::peer_item::{DeletionItem, PeerBody, PeerItem};

/// For which of the machines a body is.
pub(super) enum For {
    Admin(room::Input),
    Member(follower::Input),
    /// The one that follows a room of an original node, whichever node of ours says it.
    Guest(guest::Input),
}

impl Shard {
    pub(super) fn on_items(&mut self, now: Now, from: &NodeId, items: Vec<PeerItem>) {
        for PeerItem { room, body, traces } in items {
            // Whoever is to be told "no" needs a machine that says so; whoever leaves needs none.
            let opens = matches!(
                body,
                PeerBody::Join { .. }
                    | PeerBody::Forward { .. }
                    | PeerBody::Seats(_)
                    | PeerBody::Deletion(DeletionItem::Delete { .. })
            );
            let body = self.answer_for_nobody(from, &room, body);
            let Some(body) = body.and_then(|body| self.answer_inquiry(from, &room, body)) else {
                continue;
            };
            match input(from, body) {
                For::Admin(input) => {
                    if opens {
                        self.open(now, &room);
                    }
                    if let Some(entry) = self.rooms.get_mut(&room).filter(|_| !traces.is_empty()) {
                        entry
                            .traced
                            .forwarded(&self.outside.shared.traces, &room, &traces, &input);
                        let log = entry.traced.log();
                        log.in_scope(|| {
                            tracing::debug!(%room, %from, "a forwarded message is traced");
                            self.feed(now, &room, Completion::Admin(input));
                        });
                        continue;
                    }
                    self.feed(now, &room, Completion::Admin(input));
                }
                For::Member(input) => {
                    let theirs = match self.rooms.get(&room).map(|entry| &entry.machine) {
                        Some(Machine::Member(machine)) => machine.admin() == from,
                        _ => false,
                    };
                    // Only the admin node of a room speaks for it.
                    if theirs {
                        if let Some(entry) = self.rooms.get_mut(&room).filter(|_| !traces.is_empty()) {
                            entry.traced.arrived(&self.outside.shared.traces, &room, &traces);
                        }
                        self.feed(now, &room, Completion::Member(input));
                    }
                }
                For::Guest(input) => self.feed(now, &room, Completion::Guest(input)),
            }
        }
    }

    /// Answers an inquiry about a room that nobody here is in; gives back what is for a machine. Where somebody is about to get
    /// in, the inquiry waits behind the join until the room is found.
    fn answer_inquiry(&mut self, from: &NodeId, room: &RoomId, body: PeerBody) -> Option<PeerBody> {
        let PeerBody::Inquiry { question, .. } = body else {
            return Some(body);
        };
        if let Some(waiting) = self.locating.get_mut(room) {
            waiting.push_back(ShardInput::Items {
                from: from.clone(),
                items: vec![PeerItem::new(room.clone(), body)],
            });
            return None;
        }
        if let Some(Machine::Guest(_)) = self.rooms.get(room).map(|entry| &entry.machine) {
            return Some(body);
        }
        let nobody = PeerBody::Holds { question, holds: false };
        self.outside.peers.tell(from, room, nobody);
        None
    }

    pub(super) fn followed(&mut self, node: &NodeId, all: bool) -> Vec<RoomId> {
        let mut found = Vec::new();
        for (room, entry) in &mut self.rooms {
            if let Machine::Member(machine) = &mut entry.machine
                && machine.admin() == node
                && (machine.take_traffic() || all)
            {
                found.push(room.clone());
            }
        }
        found
    }

    pub(super) fn on_tails(&mut self, now: Now, from: &NodeId, tails: Vec<(RoomId, Seq)>) {
        for (room, tail) in tails {
            if let Some(Machine::Member(machine)) = self.rooms.get(&room).map(|entry| &entry.machine)
                && machine.admin() == from
            {
                self.feed(now, &room, Completion::Member(follower::Input::Tail(tail)));
            }
        }
    }

    pub(super) fn on_peer_restarted(&mut self, now: Now, node: &NodeId, life: Incarnation) {
        let first = SessionId::first_of(life);
        let restarted = |node| room::Input::NodeRestarted { node, first };
        self.each(now, node, || follower::Input::AdminReset, restarted);
    }

    pub(super) fn on_peer_reset(&mut self, now: Now, node: &NodeId) {
        self.each(now, node, || follower::Input::AdminReset, room::Input::NodeReset);
    }

    pub(super) fn on_peer_health(&mut self, now: Now, node: &NodeId, health: Health) {
        match health {
            Health::Failed => self.each(now, node, || follower::Input::AdminFailed, room::Input::NodeLost),
            Health::Healthy => self.each(now, node, || follower::Input::AdminBack, room::Input::NodeBack),
            Health::Degraded => {}
        }
    }

    /// Gives every followed room of `node` one input and every administered room another.
    fn each(
        &mut self,
        now: Now,
        node: &NodeId,
        member: impl Fn() -> follower::Input,
        admin: impl Fn(NodeId) -> room::Input,
    ) {
        let all: Vec<RoomId> = self.rooms.keys().cloned().collect();
        // A node of the original that took the place of one of ours knows no room that is followed over a link.
        let is_lost = member() == follower::Input::AdminBack && self.outside.peers.is_original(node);
        for room in all {
            let input = match self.rooms.get(&room).map(|entry| &entry.machine) {
                Some(Machine::Member(machine)) if machine.admin() == node && is_lost => continue,
                Some(Machine::Member(machine)) if machine.admin() == node => Completion::Member(member()),
                Some(Machine::Guest(machine)) if machine.admin() == node => Completion::Member(member()),
                Some(Machine::Admin(_)) => Completion::Admin(admin(node.clone())),
                _ => continue,
            };
            self.feed(now, &room, input);
        }
    }
}

fn input(from: &NodeId, body: PeerBody) -> For {
    let origin = |session: SessionId, request: u64| Origin {
        node: from.clone(),
        session,
        request,
    };
    match body {
        PeerBody::Join {
            request,
            session,
            user,
            key,
        } => For::Admin(room::Input::Join {
            origin: origin(session, request),
            user,
            // Where the connection goes on is known to its own node.
            terms: key.map_or(Terms::Classic, |key| Terms::Extended {
                key,
                from: None,
                history: 0,
            }),
        }),
        PeerBody::Leave {
            session, closed: true, ..
        } => For::Admin(room::Input::Closed(Seat {
            node: from.clone(),
            session,
        })),
        PeerBody::Leave {
            session,
            user,
            closed: false,
        } => For::Admin(room::Input::Leave {
            origin: origin(session, 0),
            user,
        }),
        PeerBody::Forward {
            request,
            session,
            user,
            content,
            client_msg_id,
        } => For::Admin(room::Input::Send(Submission {
            origin: origin(session, request),
            user,
            content,
            client_msg_id: Some(client_msg_id),
            message_id: new_message_id(),
        })),
        PeerBody::Seats(seats) => For::Admin(room::Input::Seats {
            node: from.clone(),
            seats,
        }),
        PeerBody::Joined {
            request,
            info,
            generation,
            epoch,
            head,
            floor,
            version,
            resumed,
        } => {
            let answer = Answer::Joined(Joined {
                info,
                generation,
                epoch,
                head,
                floor,
                version,
                resumed,
                first: Seq::ZERO,
            });
            For::Member(follower::Input::Answered { request, answer })
        }
        PeerBody::JoinRefused { request, reject } => For::Member(follower::Input::Answered {
            request,
            answer: Answer::JoinRefused(reject),
        }),
        PeerBody::Sent {
            request,
            message_id,
            seq,
            timestamp,
            duplicate,
        } => {
            let answer = Answer::Sent {
                message_id,
                seq,
                timestamp,
                duplicate,
            };
            For::Member(follower::Input::Answered { request, answer })
        }
        PeerBody::SendRefused {
            request,
            reject,
            unknown,
        } => For::Member(follower::Input::Answered {
            request,
            answer: if unknown {
                Answer::SendUnknown
            } else {
                Answer::SendRefused(reject)
            },
        }),
        PeerBody::Unseat { session } => For::Member(follower::Input::Unseated(session)),
        PeerBody::Deliver {
            generation,
            epoch,
            frames,
        } => For::Member(follower::Input::Delivered {
            generation,
            epoch,
            frames,
        }),
        PeerBody::Member(event) => For::Member(follower::Input::Member(event)),
        PeerBody::Head {
            generation,
            epoch,
            head,
        } => For::Member(follower::Input::Head {
            generation,
            epoch,
            head,
        }),
        PeerBody::Deletion(item) => from_item(from, item),
        PeerBody::Inquiry { question, user } => For::Guest(guest::Input::Inquiry {
            node: from.clone(),
            question,
            user,
        }),
        PeerBody::Holds { question, holds } => For::Guest(guest::Input::Holds { question, holds }),
    }
}
