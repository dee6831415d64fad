//! The connections of this node that follow a room, and how far each has been served.
//!
//! One cursor serves first join, slow reader and repair alike: a connection that is *live* gets what is delivered; any
//! other has a `next`, is sent pages of history from there, and becomes live when `next` has passed the last delivered
//! message. Deliveries meanwhile cost it nothing: they only move the end that it is heading for.

use crate::effect::{Answer, Effect, Effects, Origin, Terms};
use chat_protocol::ids::{Generation, SeatKey, Seq, SessionId, UserName};
use chat_protocol::limits::CLASSIC_HISTORY;
use chat_protocol::server_frame::ResyncReason;
use std::collections::BTreeMap;

/// What a room has to offer to whoever joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Which life of the numbering.
    pub generation: Generation,
    /// The first message that is kept.
    pub floor: Seq,
    /// The last committed message.
    pub head: Seq,
    /// The last message that was delivered here.
    pub delivered: Seq,
}

/// Where a cursor begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// The first message to be sent.
    pub first: Seq,
    /// Why that is not where the client wanted to go on.
    pub resync: Option<ResyncReason>,
}

impl Offer {
    /// The first of the newest `count` messages that are kept; one after the last message if there is none.
    #[must_use]
    pub fn newest(&self, count: u64) -> Seq {
        Seq((self.head.0 + 1).saturating_sub(count).max(self.floor.0).max(1))
    }
}

impl Start {
    /// Where a connection begins that joins on `terms`.
    #[must_use]
    pub fn of(terms: &Terms, offer: Offer) -> Self {
        let newest = |count: u64| offer.newest(count);
        let Terms::Extended { from, history, .. } = terms else {
            let first = newest(CLASSIC_HISTORY);
            return Self { first, resync: None };
        };
        let Some(from) = from else {
            let first = newest(*history);
            return Self { first, resync: None };
        };
        let resync = if from.generation != offer.generation {
            Some(ResyncReason::Generation)
        } else if from.seq > offer.head {
            Some(ResyncReason::Ahead)
        } else if from.seq.next() < offer.floor {
            Some(ResyncReason::Trimmed)
        } else {
            None
        };
        let first = if resync.is_some() {
            newest(*history)
        } else {
            from.seq.next()
        };
        Self { first, resync }
    }
}

#[derive(Debug)]
struct Listener {
    user: UserName,
    key: Option<SeatKey>,
    shift: u64,
    /// `None`: live. `Some(next)`: behind, a page from `next` is on its way.
    next: Option<Seq>,
    /// Acknowledgements that must not overtake the message that they acknowledge.
    held: Vec<(Seq, Origin, Answer)>,
}

/// All connections of this node in one room.
#[derive(Debug, Default)]
pub struct Audience {
    listeners: BTreeMap<SessionId, Listener>,
}

impl Audience {
    /// The name under which a connection listens.
    #[must_use]
    pub fn user_of(&self, session: SessionId) -> Option<&UserName> {
        self.listeners.get(&session).map(|l| &l.user)
    }

    /// True if nobody listens.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listeners.is_empty()
    }

    /// Connections and their names.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &UserName)> {
        self.listeners.iter().map(|(session, l)| (*session, &l.user))
    }

    /// By what the seat of a connection is recognised.
    #[must_use]
    pub fn key_of(&self, session: SessionId) -> Option<&SeatKey> {
        self.listeners.get(&session)?.key.as_ref()
    }

    /// A connection joins, or joins again: it is sent messages from `start` on. A classic one gets at most the newest
    /// [`CLASSIC_HISTORY`].
    ///
    /// The shift of a classic connection's numbers is fixed by a join without subscription and kept by a repeated one, so
    /// that numbers that it has seen keep their meaning.
    pub fn join(
        &mut self,
        session: SessionId,
        user: UserName,
        terms: &Terms,
        start: Start,
        offer: Offer,
        effects: &mut Effects,
    ) {
        let Start { first, resync } = start;
        let known = self.listeners.remove(&session);
        let shift = match terms {
            Terms::Classic => known.as_ref().map_or(first.0 - 1, |l| l.shift),
            Terms::Extended { .. } => 0,
        };
        let held = known.map(|l| l.held).unwrap_or_default();
        effects.push(Effect::Subscribe { session, shift, first });
        if let Some(reason) = resync {
            effects.push(Effect::Resync {
                session,
                generation: offer.generation,
                from: first,
                reason,
            });
        }
        let listener = Listener {
            user,
            key: terms.key().cloned(),
            shift,
            next: Some(first),
            held,
        };
        self.listeners.insert(session, listener);
        self.advance(session, first, offer.delivered, effects);
    }

    /// A connection stops listening. What it was still to be told after a message that it will not see, it is told now.
    pub fn leave(&mut self, session: SessionId, effects: &mut Effects) {
        if let Some(listener) = self.listeners.remove(&session) {
            let held = listener.held.into_iter();
            effects.extend(held.map(|(_, to, answer)| Effect::Answer { to, answer }));
            effects.push(Effect::Unsubscribe { session });
        }
    }

    /// Everybody stops listening.
    pub fn leave_all(&mut self, effects: &mut Effects) {
        let sessions: Vec<SessionId> = self.listeners.keys().copied().collect();
        for session in sessions {
            self.leave(session, effects);
        }
    }

    /// A live connection could not take the delivery that begins at `next`.
    pub fn lagged(&mut self, session: SessionId, next: Seq, delivered: Seq, effects: &mut Effects) {
        if let Some(listener) = self.listeners.get_mut(&session)
            && listener.next.is_none()
        {
            listener.next = Some(next);
            self.advance(session, next, delivered, effects);
        }
    }

    /// A page that ended before `next` was taken. Late news about a page of an earlier cursor are ignored.
    pub fn page_sent(&mut self, session: SessionId, from: Seq, next: Seq, delivered: Seq, effects: &mut Effects) {
        if self.is_at(session, from) {
            self.advance(session, next.max(from), delivered, effects);
        }
    }

    /// A page could not be read: it is asked for again. Whoever performs the effect paces the repeats.
    pub fn page_failed(&mut self, session: SessionId, from: Seq, delivered: Seq, effects: &mut Effects) {
        if self.is_at(session, from) {
            self.advance(session, from, delivered, effects);
        }
    }

    /// Behind `delivered`, up to which whoever is live has everything, messages below `floor` were trimmed away: whoever
    /// has not got them goes on from there, and is told so. A classic connection cannot be told; it is closed, and gets
    /// the room anew when it comes back.
    pub fn trimmed(&mut self, delivered: Seq, floor: Seq, offer: Offer, effects: &mut Effects) {
        let sessions: Vec<SessionId> = self.listeners.keys().copied().collect();
        for session in sessions {
            let Some(listener) = self.listeners.get_mut(&session) else {
                continue;
            };
            if *listener.next.get_or_insert(delivered.next()) < floor {
                self.skip(session, floor, offer, effects);
            }
        }
    }

    /// A page was to begin at `from`, but the first message that is kept is `floor`.
    pub fn page_trimmed(&mut self, session: SessionId, from: Seq, floor: Seq, offer: Offer, effects: &mut Effects) {
        if self.is_at(session, from) {
            self.skip(session, floor, offer, effects);
        }
    }

    fn skip(&mut self, session: SessionId, floor: Seq, offer: Offer, effects: &mut Effects) {
        if self.listeners.get(&session).is_some_and(|l| l.key.is_none()) {
            // Its cursor stays where it is until it is gone.
            effects.push(Effect::Overtaken { session });
            return;
        }
        effects.push(Effect::Resync {
            session,
            generation: offer.generation,
            from: floor,
            reason: ResyncReason::Trimmed,
        });
        self.advance(session, floor, offer.delivered, effects);
    }

    fn is_at(&self, session: SessionId, from: Seq) -> bool {
        self.listeners.get(&session).is_some_and(|l| l.next == Some(from))
    }

    fn advance(&mut self, session: SessionId, next: Seq, delivered: Seq, effects: &mut Effects) {
        let Some(listener) = self.listeners.get_mut(&session) else {
            return;
        };
        let live = next > delivered;
        if live {
            listener.next = None;
            effects.push(Effect::GoLive { session });
        } else {
            listener.next = Some(next);
            effects.push(Effect::SendPage {
                session,
                from: next,
                to: delivered,
            });
        }
        // What was held may go when its message has gone.
        let (free, held) = std::mem::take(&mut listener.held)
            .into_iter()
            .partition(|(seq, ..)| live || *seq < next);
        listener.held = held;
        let free: Vec<(Seq, Origin, Answer)> = free;
        effects.extend(free.into_iter().map(|(_, to, answer)| Effect::Answer { to, answer }));
    }

    /// What a connection was to be sent from `expected` on is lost up to the floor of `offer`: it goes on there. A classic
    /// connection sees no hole, its numbers are lowered by what it does not get; an extended one is told.
    pub fn pass_over(&mut self, session: SessionId, expected: Seq, offer: Offer, effects: &mut Effects) {
        let Some(listener) = self.listeners.get_mut(&session) else {
            return;
        };
        let (next, first) = (listener.next.unwrap_or(expected), offer.floor);
        if next >= first {
            return;
        }
        let is_classic = listener.key.is_none();
        if is_classic {
            listener.shift += first.0 - next.0;
        }
        effects.push(Effect::Subscribe {
            session,
            shift: listener.shift,
            first,
        });
        if !is_classic {
            effects.push(Effect::Resync {
                session,
                generation: offer.generation,
                from: first,
                reason: ResyncReason::Trimmed,
            });
        }
        self.advance(session, first, offer.delivered, effects);
    }

    /// [`Self::pass_over`] for everybody; who is live expects `expected`.
    pub fn pass_over_all(&mut self, expected: Seq, offer: Offer, effects: &mut Effects) {
        let all: Vec<SessionId> = self.listeners.keys().copied().collect();
        for session in all {
            self.pass_over(session, expected, offer, effects);
        }
    }

    /// Acknowledges the message `seq`, now if the sender has it or is about to (it is live), else after its page.
    pub fn acknowledge(&mut self, seq: Seq, to: Origin, answer: Answer, effects: &mut Effects) {
        match self.listeners.get_mut(&to.session) {
            Some(listener) if listener.next.is_some_and(|next| next <= seq) => listener.held.push((seq, to, answer)),
            _ => effects.push(Effect::Answer { to, answer }),
        }
    }

    /// What must hold about a room whose last delivered message is `delivered`.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) fn check(&self, delivered: Seq) {
        for (session, listener) in &self.listeners {
            if let Some(next) = listener.next {
                assert!(
                    next <= delivered,
                    "{session} waits for {next} although only {delivered} is delivered"
                );
                assert!(
                    listener.held.iter().all(|(seq, ..)| *seq >= next),
                    "{session} waits for what it has"
                );
            } else {
                assert!(
                    listener.held.is_empty(),
                    "{session} is live and still waits for an answer"
                );
            }
        }
    }
}
