//! Seats of extended sessions that wait for them, and how they are given up.
//!
//! The admin node knows one list of names and no sessions. A session that comes back at another node of ours is the same name to
//! it, so a goodbye from here would throw it out there. Before a name is said to be gone because its session did not come back,
//! the other nodes of ours are asked whether they have it. If one does, the goodbye is its business from then on, and here the
//! seat is only forgotten. An answer counts for the one question that it repeats: what is late means nothing.
//!
//! A node that asks about its own seat does not vouch for it: so of two nodes that wait for the same session neither relies on
//! the other for ever.

use super::*;
use chat_protocol::peer_item::PeerBody;

/// A seat without its connection.
#[derive(Debug)]
pub(super) struct Waiting {
    user: UserName,
    since: Millis,
    /// Its grace is over, and the other nodes are asked.
    inquiry: Option<Inquiry>,
}

#[derive(Debug)]
struct Inquiry {
    question: u64,
    since: Millis,
    /// Nodes that have not answered; `None` until it is known how many were asked.
    silent: Option<usize>,
}

impl Waiting {
    pub(super) const fn user(&self) -> &UserName {
        &self.user
    }

    /// When it is decided what becomes of the seat, or asked.
    pub(super) fn deadline(&self, limits: &RoomLimits) -> Millis {
        match &self.inquiry {
            None => self.since.plus(limits.seat_grace),
            Some(inquiry) => inquiry.since.plus(limits.answer_patience),
        }
    }
}

impl Guest {
    /// A name has lost a connection: a seat of an extended session waits for it here, any other is gone.
    pub(super) fn part(&mut self, now: Millis, user: UserName, key: Option<SeatKey>, effects: &mut Effects) {
        match key {
            Some(key) => {
                let waiting = Waiting {
                    user,
                    since: now,
                    inquiry: None,
                };
                self.detached.insert(key, waiting);
            }
            None => self.say_goodbye(&user, effects),
        }
    }

    /// Tells the admin node that a name is gone, unless another connection here has it.
    pub(super) fn say_goodbye(&self, user: &UserName, effects: &mut Effects) {
        if !self.is_here(user) {
            self.ask(Ask::Disconnect { user: user.clone() }, effects);
        }
    }

    /// True if the seat behind `key` waited here, or is taken from a connection here that did not know it was dead.
    pub(super) fn reclaim_seat(
        &mut self,
        key: &SeatKey,
        user: &UserName,
        to: SessionId,
        effects: &mut Effects,
    ) -> bool {
        if self.detached.get(key).is_some_and(|waiting| waiting.user == *user) {
            self.detached.remove(key);
            return true;
        }
        let held = |(session, name): (SessionId, &UserName)| {
            (session != to && name == user && self.audience.key_of(session) == Some(key)).then_some(session)
        };
        let Some(session) = self.audience.iter().find_map(held) else {
            return self.audience.key_of(to) == Some(key);
        };
        self.audience.leave(session, effects);
        effects.push(Effect::Replaced { session });
        true
    }

    /// Whose session did not come back is asked for elsewhere; whoever is not known there, either, is given up.
    pub(super) fn end_grace(&mut self, now: Millis, effects: &mut Effects) {
        let due = |waiting: &Waiting| waiting.deadline(&self.limits) <= now;
        let over = self.detached.iter().filter(|(_, waiting)| due(waiting));
        let over: Vec<SeatKey> = over.map(|(key, _)| key.clone()).collect();
        for key in over {
            let Some(waiting) = self.detached.remove(&key) else {
                continue;
            };
            if waiting.inquiry.is_some() {
                self.say_goodbye(&waiting.user, effects);
            } else if !self.is_here(&waiting.user) {
                self.inquire(now, key, waiting, effects);
            }
        }
    }

    fn inquire(&mut self, now: Millis, key: SeatKey, waiting: Waiting, effects: &mut Effects) {
        self.question += 1;
        effects.push(Effect::Inquire {
            question: self.question,
            user: waiting.user.clone(),
        });
        let inquiry = Some(Inquiry {
            question: self.question,
            since: now,
            silent: None,
        });
        self.detached.insert(key, Waiting { inquiry, ..waiting });
    }

    fn asked_by(&mut self, question: u64) -> Option<(&SeatKey, &mut Inquiry)> {
        self.detached.iter_mut().find_map(|(key, waiting)| {
            let inquiry = waiting.inquiry.as_mut()?;
            (inquiry.question == question).then_some((key, inquiry))
        })
    }

    /// So many nodes were asked.
    pub(super) fn on_inquired(&mut self, question: u64, nodes: usize, effects: &mut Effects) {
        let Some((key, inquiry)) = self.asked_by(question) else {
            return;
        };
        inquiry.silent = Some(nodes);
        if nodes == 0 {
            let key = key.clone();
            self.give_up(&key, effects);
        }
    }

    /// A node that was asked has the name, or has not.
    pub(super) fn on_holds(&mut self, question: u64, holds: bool, effects: &mut Effects) {
        let Some((key, inquiry)) = self.asked_by(question) else {
            return;
        };
        let key = key.clone();
        if holds {
            self.detached.remove(&key);
            return;
        }
        inquiry.silent = inquiry.silent.map(|nodes| nodes.saturating_sub(1));
        if inquiry.silent == Some(0) {
            self.give_up(&key, effects);
        }
    }

    fn give_up(&mut self, key: &SeatKey, effects: &mut Effects) {
        if let Some(waiting) = self.detached.remove(key) {
            self.say_goodbye(&waiting.user, effects);
        }
    }

    /// Another node would say goodbye for a name. From a "yes" on that is left to this one, also if the join that it relies on
    /// should fail.
    pub(super) fn on_inquiry(&mut self, node: NodeId, question: u64, user: &UserName, effects: &mut Effects) {
        let waits = |waiting: &Waiting| waiting.user == *user && waiting.inquiry.is_none();
        let mut holds = self.audience.iter().any(|(_, name)| name == user) || self.detached.values().any(waits);
        for pending in self.pending.values_mut() {
            if let Pending::Join {
                user: name,
                left: false,
                vouched,
                ..
            } = pending
                && name == user
            {
                (*vouched, holds) = (true, true);
            }
        }
        let item = PeerBody::Holds { question, holds };
        effects.push(Effect::Tell { node, item });
    }

    /// Names that another node relies on, although their joins have not been answered.
    pub(super) fn vouched(&self) -> Vec<(UserName, Option<SeatKey>)> {
        let names = self.pending.values().filter_map(|pending| match pending {
            Pending::Join {
                user,
                terms,
                left: false,
                vouched: true,
                ..
            } => Some((user.clone(), terms.key().cloned())),
            _ => None,
        });
        names.collect()
    }

    /// A join came to nothing, but its name may be in the room because of it, or is relied on to be.
    pub(super) fn part_unseated(&mut self, now: Millis, user: UserName, key: Option<SeatKey>, effects: &mut Effects) {
        if !self.is_here(&user) {
            self.part(now, user, key, effects);
        }
    }
}
