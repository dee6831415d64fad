//! Losing and finding the admin node: what is uncertain is said to be, and who stays is announced again.

use super::*;

impl Follower {
    pub(super) fn refuse_pending(&mut self, effects: &mut Effects) {
        for (_, pending) in std::mem::take(&mut self.pending) {
            let (to, answer) = match pending {
                Pending::Join { origin, .. } => (origin, Answer::JoinRefused(Reject::AdminUnavailable)),
                Pending::Send { origin, .. } => (origin, Answer::SendRefused(Reject::AdminUnavailable)),
            };
            effects.push(Effect::Answer { to, answer });
        }
    }

    pub(super) fn on_reset(&mut self, effects: &mut Effects) {
        self.refuse_pending(effects);
        if !self.audience.is_empty() {
            let seats = self
                .audience
                .iter()
                .map(|(session, user)| (session, user.clone()))
                .collect();
            self.tell(PeerBody::Seats(seats), effects);
        }
    }

    /// The room is lost to everybody here: each connection is told that its own user is out.
    pub(super) fn dismiss(&mut self, now: Now, effects: &mut Effects) {
        self.failed_since = None;
        let mut users: BTreeMap<UserName, Vec<SessionId>> = BTreeMap::new();
        for (session, user) in self.audience.iter() {
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
