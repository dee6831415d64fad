//! What connections ask of a room of an original node, and what is answered.

use super::*;

impl Guest {
    pub(super) fn on_join(&mut self, origin: Origin, user: UserName, terms: Terms, effects: &mut Effects) {
        let known = self.audience.user_of(origin.session);
        let refusal = if known.is_some_and(|known| *known != user) {
            Some(Reject::OtherUser)
        } else if self.failed {
            Some(Reject::AdminUnavailable)
        } else {
            None
        };
        if let Some(reject) = refusal {
            effects.push(Effect::Answer {
                to: origin,
                answer: Answer::JoinRefused(reject),
            });
            return;
        }
        // Noted before it is asked: whatever the admin node says from here on is kept.
        let request = self.request(Pending::Join {
            origin,
            user: user.clone(),
            terms,
            left: false,
            vouched: false,
        });
        self.ask(Ask::Join { request, user }, effects);
    }

    pub(super) fn on_leave(&mut self, origin: Origin, user: &UserName, effects: &mut Effects) {
        let session = origin.session;
        let mut was_in = self.audience.user_of(session) == Some(user);
        for pending in self.pending.values_mut() {
            if let Pending::Join {
                origin,
                user: name,
                left,
                ..
            } = pending
                && origin.session == session
                && name == user
                && !*left
            {
                // The answer to the join is on its way; it will find that nobody wants it.
                *left = true;
                was_in = true;
            }
        }
        if was_in {
            self.audience.leave(session, effects);
            if !self.is_here(user) {
                self.ask(Ask::Leave { user: user.clone() }, effects);
            }
        }
        effects.push(Effect::Answer {
            to: origin,
            answer: Answer::Left,
        });
    }

    /// A seat of an extended session waits for it here; any other is gone with its connection.
    pub(super) fn on_closed(&mut self, now: Now, session: SessionId, effects: &mut Effects) {
        let key = self.audience.key_of(session).cloned();
        let mut gone = self.audience.user_of(session).map(|user| (user.clone(), key));
        self.audience.leave(session, effects);
        self.pending.retain(|_, pending| match pending {
            Pending::Join {
                origin,
                user,
                terms,
                left,
                ..
            } if origin.session == session => {
                // The join may be executed all the same, so the session may come back to it.
                let key = terms.key().filter(|_| !*left);
                gone.get_or_insert_with(|| (user.clone(), key.cloned()));
                false
            }
            _ => true,
        });
        for pending in self.pending.values_mut() {
            if let Pending::Send { origins, .. } = pending {
                origins.retain(|origin| origin.session != session);
            }
        }
        self.early.retain(|early| early.to.session != session);
        if let Some((user, key)) = gone {
            self.part(now.mono, user, key, effects);
        }
    }

    pub(super) fn on_send(
        &mut self,
        now: Now,
        origin: Origin,
        user: UserName,
        content: Arc<str>,
        client_msg_id: ClientMsgId,
        effects: &mut Effects,
    ) {
        let is_in = self.audience.user_of(origin.session) == Some(&user);
        let joins = |p: &Pending| {
            matches!(p, Pending::Join { origin: joiner, user: name, left: false, .. }
                if joiner.session == origin.session && *name == user)
        };
        // A classic sending is made once; only what an extended session sends can come again.
        let repeatable = self.is_extended(origin.session);
        let answer = if !is_in && !self.pending.values().any(joins) {
            Some(Answer::SendRefused(Reject::NotMember))
        } else if self.failed {
            Some(Answer::SendRefused(Reject::AdminUnavailable))
        } else if repeatable {
            self.answer_to_repeat(&user, &content, &client_msg_id)
        } else {
            None
        };
        let answer = match answer {
            None if self.pending.len() >= self.limits.sequencer.waiting => Some(Answer::SendRefused(Reject::Busy)),
            answer => answer,
        };
        if let Some(answer) = answer {
            effects.push(Effect::Answer { to: origin, answer });
            return;
        }
        if repeatable && self.joins_pending(&origin, &user, &client_msg_id) {
            return;
        }
        let request = self.request(Pending::Send {
            origins: vec![origin],
            user: user.clone(),
            content: Arc::clone(&content),
            id: repeatable.then_some(client_msg_id),
            after: self.delivered(),
            since: Some(now.mono),
        });
        self.ask(Ask::Forward { request, user, content }, effects);
    }

    fn is_extended(&self, session: SessionId) -> bool {
        let joins = |p: &Pending| matches!(p, Pending::Join { origin, terms: Terms::Extended { .. }, .. } if origin.session == session);
        self.audience.key_of(session).is_some() || self.pending.values().any(joins)
    }

    /// What is known of an earlier sending with the same id, if that is an answer.
    fn answer_to_repeat(&self, user: &UserName, content: &str, id: &ClientMsgId) -> Option<Answer> {
        let conflicts = self.pending.values().any(|pending| {
            matches!(pending, Pending::Send { user: name, id: Some(known), content: said, .. }
                if name == user && known == id && **said != *content)
        });
        if conflicts {
            return Some(Answer::SendRefused(Reject::IdConflict));
        }
        match self.fates.get(user, id)? {
            Fate::Placed { content: said, .. } | Fate::Unsure { content: said, .. } if **said != *content => {
                Some(Answer::SendRefused(Reject::IdConflict))
            }
            Fate::Placed {
                message_id,
                seq,
                timestamp,
                ..
            } => Some(Answer::Sent {
                message_id: message_id.clone(),
                seq: *seq,
                timestamp: *timestamp,
                duplicate: true,
            }),
            // It has not turned up. Whoever sends it again wants it said rather than not.
            Fate::Unsure { .. } => None,
        }
    }

    /// A repeat of something under way waits for the same outcome.
    fn joins_pending(&mut self, origin: &Origin, user: &UserName, id: &ClientMsgId) -> bool {
        for pending in self.pending.values_mut() {
            if let Pending::Send {
                origins,
                user: name,
                id: Some(known),
                ..
            } = pending
                && name == user
                && known == id
            {
                origins.push(origin.clone());
                return true;
            }
        }
        false
    }

    // === what the admin node answers

    pub(super) fn on_answered(&mut self, now: Now, request: u64, reply: Reply, effects: &mut Effects) {
        match self.pending.remove(&request) {
            Some(Pending::Join {
                origin,
                user,
                terms,
                left,
                vouched,
            }) => {
                let joiner = Joiner {
                    origin,
                    user,
                    terms,
                    left,
                    vouched,
                };
                self.on_join_answered(now, joiner, reply, effects);
            }
            Some(Pending::Send {
                origins,
                user,
                content,
                id,
                after,
                ..
            }) => {
                let sending = Sending {
                    user,
                    content,
                    id,
                    after,
                };
                self.on_send_answered(now, origins, sending, reply, effects);
            }
            Some(Pending::Check(user)) => self.on_looked(now, &user, reply, effects),
            // A connection that closed meanwhile; what the answer shows is still true.
            None => {
                if let Reply::Joined { messages, .. } = reply
                    && self.delivered.is_some()
                {
                    self.learn(now, messages, effects);
                }
            }
        }
    }

    fn on_join_answered(&mut self, now: Now, joiner: Joiner, reply: Reply, effects: &mut Effects) {
        let Joiner {
            origin,
            user,
            terms,
            left,
            vouched,
        } = joiner;
        let Reply::Joined { again, info, messages } = reply else {
            let unknown = reply == Reply::Unknown;
            let reject = match reply {
                Reply::Refused(reject) => reject,
                _ => Reject::AdminUnavailable,
            };
            let no_room = reject == Reject::RoomNotFound;
            effects.push(Effect::Answer {
                to: origin,
                answer: Answer::JoinRefused(reject),
            });
            if no_room {
                self.on_gone(now, effects);
            } else if unknown || vouched {
                // It may have been let in without anybody here.
                let key = terms.key().filter(|_| !left);
                self.part_unseated(now.mono, user, key.cloned(), effects);
            }
            return;
        };
        self.learn(now, messages, effects);
        self.ending.name(&info.room_name);
        let session = origin.session;
        let key = terms.key();
        let had_seat = key.is_some_and(|key| self.reclaim_seat(key, &user, session, effects));
        // Whoever was not in the room any more came anew, and the others were told.
        let resumed = had_seat && again;
        let offer = self.offer();
        let start = Start::of(&terms, offer);
        let joined = Joined {
            info,
            generation: GENERATION,
            epoch: Epoch(0),
            head: offer.head,
            floor: offer.floor,
            version: self.version,
            resumed,
            first: start.first,
        };
        effects.push(Effect::Answer {
            to: origin,
            answer: Answer::Joined(joined),
        });
        self.audience.join(session, user, &terms, start, offer, effects);
        if left {
            self.audience.leave(session, effects);
        }
    }

    fn on_send_answered(
        &mut self,
        now: Now,
        origins: Vec<Origin>,
        sending: Sending,
        reply: Reply,
        effects: &mut Effects,
    ) {
        let Sending {
            user,
            content,
            id,
            after,
        } = sending;
        let answer = match reply {
            Reply::Sent {
                message_id,
                seq,
                timestamp,
            } => {
                if let Some(id) = id {
                    let fate = Fate::Placed {
                        message_id: message_id.clone(),
                        seq,
                        timestamp,
                        content: Arc::clone(&content),
                    };
                    self.fates.note(user.clone(), id, fate);
                }
                // Whoever sent it sees it before it is confirmed, also if the admin node's own word of it was lost.
                let message = Message {
                    message_id: message_id.clone(),
                    room_id: self.room_id.clone(),
                    username: user,
                    content,
                    seq,
                    timestamp,
                };
                self.on_said(now, message, effects);
                self.confirm(now.mono, seq, origins, &message_id, timestamp, effects);
                return;
            }
            Reply::Refused(reject) => {
                self.answer_all(origins, &Answer::SendRefused(reject.clone()), effects);
                match reject {
                    Reject::RoomNotFound => self.on_gone(now, effects),
                    Reject::NotMember => self.lose_member(now, &user, effects),
                    _ => {}
                }
                return;
            }
            Reply::Undone => Answer::SendRefused(Reject::AdminUnavailable),
            Reply::Unknown | Reply::Joined { .. } => {
                if let Some(id) = id {
                    self.fates.note(user, id, Fate::Unsure { content, after });
                }
                Answer::SendUnknown
            }
        };
        self.answer_all(origins, &answer, effects);
    }

    pub(super) fn answer_all(&self, origins: Vec<Origin>, answer: &Answer, effects: &mut Effects) {
        effects.extend(origins.into_iter().map(|to| Effect::Answer {
            to,
            answer: answer.clone(),
        }));
    }
}

/// A connection that waits to get in.
struct Joiner {
    origin: Origin,
    user: UserName,
    terms: Terms,
    left: bool,
    vouched: bool,
}

/// A message on its way to the admin node.
struct Sending {
    user: UserName,
    content: Arc<str>,
    id: Option<ClientMsgId>,
    after: Seq,
}
