//! Losing and finding the admin node: what is uncertain is said to be, and who stays is announced again.

use super::*;
use chat_protocol::ids::SeatKey;
use chat_protocol::peer_item::AnnouncedSeat;

impl Follower {
    pub(super) fn refuse_pending(&mut self, effects: &mut Effects) {
        for (_, pending) in std::mem::take(&mut self.pending) {
            let (to, answer) = match pending {
                Pending::Join { origin, .. } => (origin, Answer::JoinRefused(Reject::AdminUnavailable)),
                Pending::Send { origin, .. } => (origin, Answer::SendUnknown),
                Pending::Delete(deleting) => deleting.last_answer(),
            };
            effects.push(Effect::Answer { to, answer });
        }
    }

    /// What was forwarded is uncertain. A join may be asked for twice, and is; a message may not.
    pub(super) fn on_reset(&mut self, effects: &mut Effects) {
        let again = |pending: &Pending| matches!(pending, Pending::Join { left: false, .. });
        let (joins, rest) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|(_, pending)| again(pending));
        self.pending = rest;
        self.refuse_pending(effects);
        self.pending = joins;
        if !self.audience.is_empty() {
            let seats = self
                .audience
                .iter()
                .map(|(session, user)| AnnouncedSeat {
                    session,
                    user: user.clone(),
                    key: self.audience.key_of(session).cloned(),
                })
                .collect();
            self.tell(PeerBody::Seats(seats), effects);
        }
        for (request, pending) in &self.pending {
            if let Pending::Join {
                origin, user, terms, ..
            } = pending
            {
                let join = PeerBody::Join {
                    request: *request,
                    session: origin.session,
                    user: user.clone(),
                    key: terms.key().cloned(),
                };
                self.tell(join, effects);
            }
        }
    }

    /// The room is lost to the connections here whose seat `who` picks: each is told that its own user is out.
    pub(super) fn dismiss(&mut self, now: Now, who: impl Fn(Option<&SeatKey>) -> bool, effects: &mut Effects) {
        let mut users: BTreeMap<UserName, Vec<SessionId>> = BTreeMap::new();
        for (session, user) in self.audience.iter() {
            if !who(self.audience.key_of(session)) {
                continue;
            }
            users.entry(user.clone()).or_default().push(session);
        }
        let mut remaining = u32::try_from(users.len()).unwrap_or(u32::MAX);
        for (username, sessions) in users {
            remaining = remaining.saturating_sub(1);
            let event = MemberEvent {
                room_id: self.room_id.clone(),
                username,
                member_count: remaining,
                timestamp: now.wall,
                left: Some(LeaveReason::NodeUnreachable),
                // The admin node counts; this is no change of its roster.
                version: 0,
            };
            effects.push(Effect::Announce {
                event,
                except: None,
                nodes: Vec::new(),
            });
            for session in sessions {
                self.audience.leave(session, effects);
            }
        }
    }
}
