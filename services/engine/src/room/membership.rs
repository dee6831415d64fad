//! The room's coming and going: joins, leaves, lost nodes, inactivity.

use super::*;
use chat_protocol::ids::SeatKey;
use std::collections::BTreeSet;

impl Room {
    pub(super) fn on_request(&mut self, now: Now, input: Input, effects: &mut Effects) {
        let Some(input) = self.hold(now, input, effects) else {
            return;
        };
        self.note_node(now, &input, effects);
        match input {
            Input::Join { origin, user, terms } => self.on_join(now, origin, user, &terms, effects),
            Input::Leave { origin, user } => self.on_leave(now, origin, &user, effects),
            Input::Closed(seat) => self.on_closed(now, &seat, effects),
            Input::Send(submission) => self.on_send(now, submission, effects),
            Input::Lagged { session, next } => self.audience.lagged(session, next, self.delivered, effects),
            Input::PageSent { session, from, next } => {
                self.audience.page_sent(session, from, next, self.delivered, effects);
            }
            Input::PageFailed { session, from } => self.audience.page_failed(session, from, self.delivered, effects),
            Input::PageTrimmed { session, from, floor } => {
                let offer = self.offer();
                self.audience.page_trimmed(session, from, floor, offer, effects);
            }
            Input::NodeLost(node) => {
                self.lose_original(now, &node, effects);
                self.roster.orphan(&node, now.mono);
            }
            Input::NodeRestarted { node, first } => self.roster.bereave(&node, first, now.mono),
            Input::NodeBack(node) => self.roster.adopt(&node),
            Input::NodeReset(node) => self.tell_head(now, node, effects),
            Input::Seats { node, seats } => self.on_seats(now, node, seats, effects),
            Input::Original(input) => self.on_original(now, input, effects),
            Input::Delete {
                origin,
                user,
                transaction,
            } => self.on_delete(now, origin, &user, transaction, effects),
            Input::Claimed(_) | Input::Appended { .. } | Input::Reread(_) | Input::Trimmed(_) | Input::Deletion(_) => {}
        }
    }

    /// The node announces its seats again if it is one that should; until then they are not certain.
    fn tell_head(&mut self, now: Now, node: NodeId, effects: &mut Effects) {
        if self.roster.seats_behind(&node).next().is_some() && !self.originals.contains(&node) {
            self.roster.orphan(&node, now.mono);
            let (generation, epoch) = (self.generation, self.sequencer.epoch());
            effects.push(Effect::TellHead {
                nodes: vec![node],
                generation,
                epoch,
                head: self.delivered,
            });
        }
    }

    fn on_join(&mut self, now: Now, origin: Origin, user: UserName, terms: &Terms, effects: &mut Effects) {
        self.speaks_as_we_do(now, &origin.node, effects);
        let seat = Seat {
            node: origin.node.clone(),
            session: origin.session,
        };
        if self.roster.user_of(&seat).is_some_and(|known| *known != user) {
            effects.push(Effect::Answer {
                to: origin,
                answer: Answer::JoinRefused(Reject::OtherUser),
            });
            return;
        }
        let resumed = self.take_seat(now, &seat, &user, terms.key(), effects);
        let here = origin.node == self.me;
        let (offer, mut joined) = (self.offer(), self.joined());
        let start = Start::of(terms, offer);
        joined.resumed = resumed;
        if here {
            joined.first = start.first;
        }
        effects.push(Effect::Answer {
            to: origin.clone(),
            answer: Answer::Joined(joined),
        });
        if here {
            self.audience.join(origin.session, user, terms, start, offer, effects);
        }
    }

    /// Seats a connection: on the seat that its key is known by, or on a new one. True if it had one.
    fn take_seat(
        &mut self,
        now: Now,
        seat: &Seat,
        user: &UserName,
        key: Option<&SeatKey>,
        effects: &mut Effects,
    ) -> bool {
        let rehomed = key.map_or(Rehomed::Unknown, |key| self.roster.rehome(key, user, seat, now.mono));
        let old = match rehomed {
            Rehomed::Unknown => {
                let is_new = self.roster.sit(seat.clone(), user.clone(), key.cloned(), now.mono);
                self.keep(seat, user, key, effects);
                if is_new {
                    let except = Some(seat.session).filter(|_| seat.node == self.me);
                    self.announce(now, user.clone(), None, except, effects);
                }
                return false;
            }
            Rehomed::Occupied(old) => {
                if old != *seat {
                    self.evict(&old, effects);
                }
                old
            }
            Rehomed::Detached(old) => old,
        };
        if old != *seat {
            effects.push(Effect::DropSeat(old));
            self.keep(seat, user, key, effects);
        }
        true
    }

    pub(super) fn keep(&self, seat: &Seat, user: &UserName, key: Option<&SeatKey>, effects: &mut Effects) {
        effects.push(Effect::KeepSeat {
            seat: seat.clone(),
            user: user.clone(),
            key: key.cloned(),
        });
    }

    /// The seat of this connection belongs to another one now.
    fn evict(&mut self, old: &Seat, effects: &mut Effects) {
        if old.node == self.me {
            self.audience.leave(old.session, effects);
            effects.push(Effect::Replaced { session: old.session });
        } else {
            effects.push(Effect::Tell {
                node: old.node.clone(),
                item: PeerBody::Unseat { session: old.session },
            });
        }
    }

    /// A seat with a key waits for its session; any other is gone with its connection.
    fn on_closed(&mut self, now: Now, seat: &Seat, effects: &mut Effects) {
        if self.roster.detach(seat, now.mono) {
            if seat.node == self.me {
                self.audience.leave(seat.session, effects);
            }
        } else {
            self.vacate(now, seat, LeaveReason::Disconnected, effects);
        }
    }

    pub(super) fn offer(&self) -> Offer {
        Offer {
            generation: self.generation,
            floor: self.history.floor(),
            head: self.delivered,
            delivered: self.delivered,
        }
    }

    pub(super) fn joined(&self) -> Joined {
        let info = self.profile.as_ref().map(|profile| RoomInfo {
            room_id: self.room_id.clone(),
            room_name: profile.room_name.clone(),
            description: profile.description.clone(),
            members: self.roster.members().cloned().collect(),
            admin_node: self.me.clone(),
        });
        Joined {
            // Only a claimed room is joined.
            info: info.expect("a room that serves has a profile"),
            generation: self.generation,
            epoch: self.sequencer.epoch(),
            head: self.delivered,
            floor: self.history.floor(),
            version: self.version,
            resumed: false,
            first: Seq::ZERO,
        }
    }

    fn on_leave(&mut self, now: Now, origin: Origin, user: &UserName, effects: &mut Effects) {
        let seat = Seat {
            node: origin.node.clone(),
            session: origin.session,
        };
        if self.roster.user_of(&seat) == Some(user) {
            self.vacate(now, &seat, LeaveReason::Left, effects);
        }
        effects.push(Effect::Answer {
            to: origin,
            answer: Answer::Left,
        });
    }

    /// Takes a seat away; whoever has none left is gone, and everybody else is told.
    pub(super) fn vacate(&mut self, now: Now, seat: &Seat, reason: LeaveReason, effects: &mut Effects) {
        let mut originals = self.originals.nodes();
        let gone = self.roster.stand(seat);
        self.originals.stand(seat, effects);
        effects.push(Effect::DropSeat(seat.clone()));
        if seat.node == self.me {
            self.audience.leave(seat.session, effects);
        }
        if let Some(user) = gone {
            // Whoever did not ask to leave is to see that it is out, also as the last one behind its node.
            if matches!(reason, LeaveReason::Left | LeaveReason::Disconnected) {
                originals = self.originals.nodes();
            }
            self.announce_to(now, user, Some(reason), None, originals, effects);
        }
    }

    /// Nodes of ours with members in the room, except this one.
    pub(super) fn linked_nodes(&self) -> Vec<NodeId> {
        let mut nodes = self.roster.nodes_except(&self.me);
        nodes.retain(|node| !self.originals.contains(node));
        nodes
    }

    fn announce(
        &mut self,
        now: Now,
        username: UserName,
        left: Option<LeaveReason>,
        except: Option<SessionId>,
        effects: &mut Effects,
    ) {
        let originals = self.originals.nodes();
        self.announce_to(now, username, left, except, originals, effects);
    }

    pub(super) fn announce_to(
        &mut self,
        now: Now,
        username: UserName,
        left: Option<LeaveReason>,
        except: Option<SessionId>,
        originals: Vec<NodeId>,
        effects: &mut Effects,
    ) {
        let member_count = u32::try_from(self.roster.len()).unwrap_or(u32::MAX);
        self.version += 1;
        let event = MemberEvent {
            room_id: self.room_id.clone(),
            username,
            member_count,
            timestamp: now.wall,
            left,
            version: self.version,
        };
        if !originals.is_empty() {
            effects.push(Effect::BroadcastEvent {
                nodes: originals,
                event: event.clone(),
            });
        }
        effects.push(Effect::Announce {
            event,
            except,
            nodes: self.linked_nodes(),
        });
    }

    /// A node announces all its connections in the room: after a restart of ours, or after its link lost something.
    fn on_seats(&mut self, now: Now, node: NodeId, seats: Vec<AnnouncedSeat>, effects: &mut Effects) {
        self.speaks_as_we_do(now, &node, effects);
        let announced: BTreeSet<SessionId> = seats.iter().map(|seat| seat.session).collect();
        let stale: Vec<Seat> = self
            .roster
            .seats_behind(&node)
            .chain(self.roster.waiting_behind(&node))
            .filter(|seat| !announced.contains(&seat.session))
            .cloned()
            .collect();
        for AnnouncedSeat { session, user, key } in seats {
            let seat = Seat {
                node: node.clone(),
                session,
            };
            if self.roster.user_of(&seat).is_some() {
                continue;
            }
            if key.as_ref().is_some_and(|key| self.roster.is_elsewhere(key, &seat)) {
                // Its client came back on another connection before this one was known to be dead.
                self.evict(&seat, effects);
            } else {
                self.take_seat(now, &seat, &user, key.as_ref(), effects);
            }
        }
        for seat in stale {
            self.on_closed(now, &seat, effects);
        }
        self.roster.adopt(&node);
        let to = Origin {
            node,
            session: SessionId(0),
            request: 0,
        };
        effects.push(Effect::Answer {
            to,
            answer: Answer::Joined(self.joined()),
        });
    }

    pub(super) fn remove_unclaimed(&mut self, now: Now, effects: &mut Effects) {
        let Some(since) = now.mono.0.checked_sub(self.limits.seat_grace) else {
            return;
        };
        for seat in self.roster.lost(Millis(since)) {
            self.vacate(now, &seat, LeaveReason::NodeUnreachable, effects);
        }
        for seat in self.roster.abandoned(Millis(since)) {
            self.vacate(now, &seat, LeaveReason::Disconnected, effects);
        }
    }

    pub(super) fn remove_inactive(&mut self, now: Now, effects: &mut Effects) {
        let limit = self.limits.inactivity;
        if limit == 0
            || self
                .roster
                .idle_floor()
                .is_none_or(|floor| now.mono.since(floor) < limit)
        {
            return;
        }
        self.roster.raise_idle_floor();
        for user in self.roster.idle_since(Millis(now.mono.0 - limit)) {
            let (nodes_before, originals) = (self.linked_nodes(), self.originals.nodes());
            let seats: Vec<Seat> = self.roster.seats_of(&user).cloned().collect();
            for seat in &seats {
                self.roster.stand(seat);
                self.originals.stand(seat, effects);
                effects.push(Effect::DropSeat(seat.clone()));
            }
            // The removed member sees its own removal, also behind another node: there the event itself unseats it.
            self.announce_to(now, user, Some(LeaveReason::Inactivity), None, originals, effects);
            if let Some(Effect::Announce { nodes, .. }) = effects.last_mut() {
                *nodes = nodes_before;
            }
            for seat in seats.iter().filter(|seat| seat.node == self.me) {
                self.audience.leave(seat.session, effects);
            }
        }
    }
}
