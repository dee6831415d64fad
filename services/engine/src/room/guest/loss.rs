//! Losing the admin node, the room, or a membership: who is out is told so, and who stays is looked after.

use super::*;

impl Guest {
    pub(super) fn on_failed(&mut self, now: Now, effects: &mut Effects) {
        if self.failed {
            return;
        }
        self.failed = true;
        self.hole_since = None;
        if !self.audience.is_empty() {
            effects.push(Effect::Trouble { degraded: true });
        }
        let vouched = self.vouched();
        self.refuse_pending(effects);
        // It was watched patiently before; classic clients have no way to wait for it.
        let classic = self.dismiss(now, |key| key.is_none(), LeaveReason::NodeUnreachable, effects);
        for (user, key) in vouched {
            self.part_unseated(now.mono, user, key, effects);
        }
        for user in classic {
            self.say_goodbye(&user, effects);
        }
    }

    /// The node is there again. It may be another life of it, or it may have given us up: each name is looked after.
    pub(super) fn on_back(&mut self, now: Now, effects: &mut Effects) {
        if !std::mem::take(&mut self.failed) {
            return;
        }
        if !self.audience.is_empty() {
            effects.push(Effect::Trouble { degraded: false });
        }
        for user in self.users() {
            self.look_as(user, effects);
        }
        self.mind_hole(now.mono);
    }

    /// The room does not exist any more.
    pub(super) fn on_gone(&mut self, now: Now, effects: &mut Effects) {
        if self.end_by_deletion(effects) {
            return;
        }
        self.refuse_pending(effects);
        self.detached.clear();
        self.ahead.clear();
        self.ahead_bytes = 0;
        self.hole_since = None;
        self.dismiss(now, |_| true, LeaveReason::NodeUnreachable, effects);
    }

    /// The admin node does not know a name that was in the room: what said so was lost.
    pub(super) fn lose_member(&mut self, now: Now, user: &UserName, effects: &mut Effects) {
        if self.is_here(user) {
            let members = u32::try_from(self.users().len()).unwrap_or(u32::MAX);
            let event = self.left(now, user.clone(), members.saturating_sub(1), LeaveReason::Disconnected);
            self.on_member(event, effects);
        }
    }

    pub(super) fn on_member(&mut self, mut event: MemberEvent, effects: &mut Effects) {
        self.version += 1;
        event.version = self.version;
        let gone = event.left.is_some().then(|| event.username.clone());
        effects.push(Effect::Announce {
            event,
            except: None,
            nodes: Vec::new(),
        });
        // Whoever is no member any more saw the event and hears nothing more.
        let Some(user) = gone else { return };
        self.detached.retain(|_, waiting| *waiting.user() != user);
        let out: Vec<SessionId> = self
            .audience
            .iter()
            .filter(|(_, name)| **name == user)
            .map(|(s, _)| s)
            .collect();
        for session in out {
            self.audience.leave(session, effects);
        }
    }

    pub(super) fn refuse_pending(&mut self, effects: &mut Effects) {
        for (_, pending) in std::mem::take(&mut self.pending) {
            match pending {
                Pending::Join { origin, .. } => effects.push(Effect::Answer {
                    to: origin,
                    answer: Answer::JoinRefused(Reject::AdminUnavailable),
                }),
                Pending::Send {
                    origins,
                    user,
                    content,
                    id,
                    after,
                    ..
                } => {
                    if let Some(id) = id {
                        self.fates.note(user, id, Fate::Unsure { content, after });
                    }
                    self.answer_all(origins, &Answer::SendUnknown, effects);
                }
                Pending::Check(_) => {}
            }
        }
        // What is confirmed is in the room, or was as long as there was one.
        let early = std::mem::take(&mut self.early);
        effects.extend(early.into_iter().map(|early| Effect::Answer {
            to: early.to,
            answer: early.answer,
        }));
    }

    fn left(&self, now: Now, username: UserName, member_count: u32, reason: LeaveReason) -> MemberEvent {
        MemberEvent {
            room_id: self.room_id.clone(),
            username,
            member_count,
            timestamp: now.wall,
            left: Some(reason),
            // Counted when it is told; what the admin node did not say is no change of its roster.
            version: 0,
        }
    }

    /// The room is lost to the connections here whose seat `who` picks: each is told that its own user is out.
    fn dismiss(
        &mut self,
        now: Now,
        who: impl Fn(Option<&SeatKey>) -> bool,
        reason: LeaveReason,
        effects: &mut Effects,
    ) -> Vec<UserName> {
        let mut users: BTreeMap<UserName, Vec<SessionId>> = BTreeMap::new();
        for (session, user) in self.audience.iter() {
            if who(self.audience.key_of(session)) {
                users.entry(user.clone()).or_default().push(session);
            }
        }
        let mut remaining = u32::try_from(users.len()).unwrap_or(u32::MAX);
        for (username, sessions) in &users {
            remaining = remaining.saturating_sub(1);
            let event = self.left(now, username.clone(), remaining, reason);
            effects.push(Effect::Announce {
                event,
                except: None,
                nodes: Vec::new(),
            });
            for session in sessions {
                self.audience.leave(*session, effects);
            }
        }
        users.into_keys().collect()
    }
}
