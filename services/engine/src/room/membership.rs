//! The room's coming and going: joins, leaves, lost nodes, inactivity.

use super::*;

impl Room {
    pub(super) fn on_request(&mut self, now: Now, input: Input, effects: &mut Effects) {
        match input {
            Input::Join { origin, user } => self.on_join(now, origin, user, effects),
            Input::Leave { origin, user } => self.on_leave(now, origin, &user, effects),
            Input::Closed(seat) => {
                self.vacate(now, &seat, LeaveReason::Disconnected, effects);
            }
            Input::Send(submission) => self.on_send(now, submission, effects),
            Input::Lagged { session, next } => self.audience.lagged(session, next, self.delivered, effects),
            Input::PageSent { session, from, next } => {
                self.audience.page_sent(session, from, next, self.delivered, effects);
            }
            Input::PageFailed { session, from } => self.audience.page_failed(session, from, self.delivered, effects),
            Input::NodeLost(node) => self.roster.orphan(&node, now.mono),
            Input::NodeBack(node) => self.roster.adopt(&node),
            Input::NodeReset(node) => self.tell_head(now, node, effects),
            Input::Seats { node, seats } => self.on_seats(now, node, seats, effects),
            Input::Claimed(_) | Input::Appended { .. } | Input::Reread(_) => {}
        }
    }

    /// The node announces its seats again if it is one that should; until then they are not certain.
    fn tell_head(&mut self, now: Now, node: NodeId, effects: &mut Effects) {
        if self.roster.seats_behind(&node).next().is_some() {
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

    fn on_join(&mut self, now: Now, origin: Origin, user: UserName, effects: &mut Effects) {
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
        self.roster.adopt(&seat.node);
        let is_new = self.roster.sit(seat, user.clone(), now.mono);
        if is_new {
            self.announce(
                now,
                user.clone(),
                None,
                Some(origin.session).filter(|_| origin.node == self.me),
                effects,
            );
        }
        let joined = self.joined();
        effects.push(Effect::Answer {
            to: origin.clone(),
            answer: Answer::Joined(joined),
        });
        if origin.node == self.me {
            self.audience.join(origin.session, user, self.delivered, effects);
        }
    }

    fn joined(&self) -> Joined {
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
    fn vacate(&mut self, now: Now, seat: &Seat, reason: LeaveReason, effects: &mut Effects) {
        let gone = self.roster.stand(seat);
        if seat.node == self.me {
            self.audience.leave(seat.session, effects);
        }
        if let Some(user) = gone {
            self.announce(now, user, Some(reason), None, effects);
        }
    }

    fn announce(
        &self,
        now: Now,
        username: UserName,
        left: Option<LeaveReason>,
        except: Option<SessionId>,
        effects: &mut Effects,
    ) {
        let member_count = u32::try_from(self.roster.len()).unwrap_or(u32::MAX);
        let event = MemberEvent {
            room_id: self.room_id.clone(),
            username,
            member_count,
            timestamp: now.wall,
            left,
        };
        effects.push(Effect::Announce {
            event,
            except,
            nodes: self.roster.nodes_except(&self.me),
        });
    }

    /// A node announces all its connections in the room: after a restart of ours, or after its link lost something.
    fn on_seats(&mut self, now: Now, node: NodeId, seats: Vec<(SessionId, UserName)>, effects: &mut Effects) {
        let announced: Vec<SessionId> = seats.iter().map(|(session, _)| *session).collect();
        let stale: Vec<Seat> = self
            .roster
            .seats_behind(&node)
            .filter(|(seat, _)| !announced.contains(&seat.session))
            .map(|(seat, _)| seat.clone())
            .collect();
        for (session, user) in seats {
            let seat = Seat {
                node: node.clone(),
                session,
            };
            if self.roster.user_of(&seat).is_none() && self.roster.sit(seat, user.clone(), now.mono) {
                self.announce(now, user, None, None, effects);
            }
        }
        for seat in stale {
            self.vacate(now, &seat, LeaveReason::Disconnected, effects);
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
        for node in self.roster.orphans(Millis(since)) {
            let seats: Vec<Seat> = self.roster.seats_behind(&node).map(|(seat, _)| seat.clone()).collect();
            for seat in seats {
                self.vacate(now, &seat, LeaveReason::NodeUnreachable, effects);
            }
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
            let nodes_before = self.roster.nodes_except(&self.me);
            let seats: Vec<Seat> = self.roster.seats_of(&user).cloned().collect();
            for seat in &seats {
                self.roster.stand(seat);
            }
            // The removed member sees its own removal, also behind another node: there the event itself unseats it.
            self.announce(now, user, Some(LeaveReason::Inactivity), None, effects);
            if let Some(Effect::Announce { nodes, .. }) = effects.last_mut() {
                *nodes = nodes_before;
            }
            for seat in seats.iter().filter(|seat| seat.node == self.me) {
                self.audience.leave(seat.session, effects);
            }
        }
    }
}
