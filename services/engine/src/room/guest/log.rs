//! The messages of a room of an original node: shown once, in order, without a hole.

use super::*;

impl Guest {
    pub(super) fn offer(&self) -> Offer {
        let delivered = self.delivered();
        Offer {
            generation: GENERATION,
            floor: self.backlog.first().unwrap_or(delivered.next()),
            head: delivered,
            delivered,
        }
    }

    pub(super) fn on_said(&mut self, now: Now, message: Message, effects: &mut Effects) {
        if message.seq <= self.delivered() {
            return;
        }
        self.keep_ahead(message);
        if self.delivered.is_some() {
            self.drain(now, effects);
        }
    }

    /// Messages beyond the bound are not kept: they are in the room, and are read from there when the hole is closed.
    fn keep_ahead(&mut self, message: Message) {
        let bytes = message.content.len();
        if self.ahead.len() >= MAX_AHEAD || self.ahead_bytes + bytes > MAX_AHEAD_BYTES {
            return;
        }
        self.put_ahead(message);
    }

    fn put_ahead(&mut self, message: Message) {
        self.ahead_bytes += message.content.len();
        if let Some(known) = self.ahead.insert(message.seq, message) {
            self.ahead_bytes -= known.content.len();
        }
    }

    /// The newest messages of the room, as the admin node has them.
    pub(super) fn learn(&mut self, now: Now, messages: Vec<Message>, effects: &mut Effects) {
        let first = messages.iter().map(|message| message.seq).min();
        let is_new = self.delivered.is_none();
        let delivered = *self
            .delivered
            .get_or_insert_with(|| Seq(first.map_or(0, |first| first.0 - 1)));
        for message in messages.into_iter().filter(|message| message.seq > delivered) {
            // Not more than one answer can hold; it does not wait long.
            self.put_ahead(message);
        }
        if is_new {
            // Held for a join that was answered with them.
            self.ahead.retain(|seq, _| *seq > delivered);
            self.ahead_bytes = self.ahead.values().map(|message| message.content.len()).sum();
        }
        self.drain(now, effects);
        // What is missing before the first of the newest messages is not in the room any more.
        while let Some(first) = first
            && self.delivered().next() < first
            && let Some(next) = self.ahead.keys().next().copied()
        {
            self.jump_to(next, effects);
            self.drain(now, effects);
        }
    }

    /// Delivers what continues the last delivered message.
    fn drain(&mut self, now: Now, effects: &mut Effects) {
        let mut frames = Vec::new();
        while let Some(message) = self.ahead.remove(&self.delivered().next()) {
            self.ahead_bytes -= message.content.len();
            self.delivered = Some(message.seq);
            self.fates.turned_up(&message);
            let frame = MessageFrame::encode(&message);
            self.backlog.push(frame.clone());
            frames.push(frame);
        }
        if !frames.is_empty() && !self.audience.is_empty() {
            effects.push(Effect::Deliver(frames));
        }
        if self.ahead.is_empty() {
            self.hole_since = None;
        }
        self.mind_hole(now.mono);
        self.confirm_up_to(self.delivered(), effects);
    }

    /// A hole that nobody looks into is waited for.
    pub(super) fn mind_hole(&mut self, now: Millis) {
        if !self.ahead.is_empty() && !self.is_looking() && !self.failed {
            self.hole_since.get_or_insert(now);
        }
    }

    /// Everything between the last delivered message and `next` is lost, to everybody here.
    fn jump_to(&mut self, next: Seq, effects: &mut Effects) {
        self.backlog.clear();
        let last = Seq(next.0 - 1);
        let expected = self.delivered().next();
        self.delivered = Some(last);
        self.audience.pass_over_all(expected, self.offer(), effects);
    }

    /// A page is not here any more: its connection goes on where something is.
    pub(super) fn on_page_failed(&mut self, session: SessionId, from: Seq, effects: &mut Effects) {
        let offer = self.offer();
        if from < offer.floor {
            self.audience.pass_over(session, from, offer, effects);
        } else {
            self.audience.page_failed(session, from, offer.delivered, effects);
        }
    }

    // === confirmations

    pub(super) fn confirm(
        &mut self,
        now: Millis,
        seq: Seq,
        origins: Vec<Origin>,
        message_id: &MessageId,
        timestamp: Timestamp,
        effects: &mut Effects,
    ) {
        for to in origins {
            let answer = Answer::Sent {
                message_id: message_id.clone(),
                seq,
                timestamp,
                duplicate: false,
            };
            if seq > self.delivered() {
                self.early.push(Early {
                    seq,
                    to,
                    answer,
                    since: now,
                });
            } else {
                self.audience.acknowledge(seq, to, answer, effects);
            }
        }
    }

    fn confirm_up_to(&mut self, delivered: Seq, effects: &mut Effects) {
        let (due, early): (Vec<_>, Vec<_>) = std::mem::take(&mut self.early)
            .into_iter()
            .partition(|early| early.seq <= delivered);
        self.early = early;
        for Early { seq, to, answer, .. } in due {
            self.audience.acknowledge(seq, to, answer, effects);
        }
    }

    /// Whoever has waited too long is told what is known.
    pub(super) fn give_up_late(&mut self, now: Millis, effects: &mut Effects) {
        let patience = self.limits.unknown_after;
        for pending in self.pending.values_mut() {
            if let Pending::Send { origins, since, .. } = pending
                && since.is_some_and(|since| now.since(since) >= patience)
            {
                // The call itself stays: its answer tells the fate of the sending.
                *since = None;
                effects.extend(std::mem::take(origins).into_iter().map(|to| Effect::Answer {
                    to,
                    answer: Answer::SendUnknown,
                }));
            }
        }
        let (late, early): (Vec<_>, Vec<_>) = std::mem::take(&mut self.early)
            .into_iter()
            .partition(|early| now.since(early.since) >= patience);
        self.early = early;
        // The message is in the room, although it cannot be shown yet.
        effects.extend(late.into_iter().map(|early| Effect::Answer {
            to: early.to,
            answer: early.answer,
        }));
    }

    // === looking at the room

    pub(super) fn is_looking(&self) -> bool {
        self.pending.values().any(|p| matches!(p, Pending::Check(_)))
    }

    /// Joins again under a name that is in the room; each name in its turn, so that each is known to be in it still.
    pub(super) fn look(&mut self, effects: &mut Effects) {
        if self.is_looking() || self.failed {
            return;
        }
        let users = self.users();
        let after = |checked: &UserName| users.iter().find(|user| *user > checked);
        let Some(user) = self.checked.as_ref().and_then(after).or_else(|| users.first()).cloned() else {
            return;
        };
        self.checked = Some(user.clone());
        self.look_as(user, effects);
    }

    pub(super) fn look_as(&mut self, user: UserName, effects: &mut Effects) {
        let request = self.request(Pending::Check(user.clone()));
        self.ask(Ask::Join { request, user }, effects);
    }

    pub(super) fn on_looked(&mut self, now: Now, user: &UserName, reply: Reply, effects: &mut Effects) {
        match reply {
            Reply::Joined { again, messages, .. } => {
                self.learn(now, messages, effects);
                self.is_still_there();
                if !again && !self.is_here(user) {
                    // It had left meanwhile; the look brought it back.
                    self.ask(Ask::Leave { user: user.clone() }, effects);
                }
            }
            Reply::Refused(Reject::RoomNotFound) => self.on_gone(now, effects),
            Reply::Refused(_) | Reply::Undone | Reply::Unknown | Reply::Sent { .. } => {}
        }
        self.look_once_more(effects);
        self.mind_hole(now.mono);
    }
}
