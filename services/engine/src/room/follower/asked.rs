//! What connections of this node ask: to come, to go, and to send. All of it is decided by the admin node.

use super::*;

impl Follower {
    pub(super) fn on_join(&mut self, origin: Origin, user: UserName, terms: Terms, effects: &mut Effects) {
        if self
            .audience
            .user_of(origin.session)
            .is_some_and(|known| *known != user)
        {
            effects.push(Effect::Answer {
                to: origin,
                answer: Answer::JoinRefused(Reject::OtherUser),
            });
            return;
        }
        if self.failed_since.is_some() {
            effects.push(Effect::Answer {
                to: origin,
                answer: Answer::JoinRefused(Reject::AdminUnavailable),
            });
            return;
        }
        let session = origin.session;
        let key = terms.key().cloned();
        let request = self.request(Pending::Join {
            origin,
            user: user.clone(),
            terms,
            left: false,
        });
        let join = PeerBody::Join {
            request,
            session,
            user,
            key,
        };
        self.tell(join, effects);
    }

    /// Whether a connection whose join is under way has asked to leave, if there is such a join.
    fn joining(&mut self, of: SessionId, name: &UserName) -> Option<&mut bool> {
        self.pending.values_mut().find_map(|pending| match pending {
            Pending::Join { origin, user, left, .. } if origin.session == of && user == name && !*left => Some(left),
            _ => None,
        })
    }

    pub(super) fn on_leave(&mut self, origin: Origin, user: &UserName, effects: &mut Effects) {
        let session = origin.session;
        let joining = self.joining(session, user);
        let waiting = joining.is_some();
        if let Some(left) = joining {
            // The answer to the join is on its way; it will find that nobody wants it.
            *left = true;
        }
        if waiting || self.audience.user_of(session) == Some(user) {
            self.audience.leave(session, effects);
            self.tell(
                PeerBody::Leave {
                    session,
                    user: user.clone(),
                    closed: false,
                },
                effects,
            );
        }
        effects.push(Effect::Answer {
            to: origin,
            answer: Answer::Left,
        });
    }

    pub(super) fn on_closed(&mut self, session: SessionId, effects: &mut Effects) {
        let user = self.audience.user_of(session).cloned();
        self.audience.leave(session, effects);
        // A join on its way will be undone by the leave behind it.
        let mut joining = None;
        self.pending.retain(|_, pending| match pending {
            Pending::Join { origin, user, .. } if origin.session == session => {
                joining = Some(user.clone());
                false
            }
            Pending::Send { origin, .. } => origin.session != session,
            Pending::Delete(deleting) => deleting.origin.session != session,
            Pending::Join { .. } => true,
        });
        self.early.retain(|(_, origin, _)| origin.session != session);
        if let Some(user) = user.or(joining) {
            self.tell(
                PeerBody::Leave {
                    session,
                    user,
                    closed: true,
                },
                effects,
            );
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
        // What follows a join on the link is judged by the admin node.
        let refusal = if !is_in && self.joining(origin.session, &user).is_none() {
            Some(Reject::NotMember)
        } else if self.failed_since.is_some() {
            Some(Reject::AdminUnavailable)
        } else if self.pending.len() >= self.limits.sequencer.waiting {
            Some(Reject::Busy)
        } else {
            None
        };
        if let Some(reject) = refusal {
            effects.push(Effect::Answer {
                to: origin,
                answer: Answer::SendRefused(reject),
            });
            return;
        }
        let session = origin.session;
        let request = self.request(Pending::Send {
            origin,
            since: now.mono,
        });
        self.tell(
            PeerBody::Forward {
                request,
                session,
                user,
                content,
                client_msg_id,
            },
            effects,
        );
    }
}
