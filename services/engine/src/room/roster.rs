//! Who is in a room: the members, and the seats that make them so.
//!
//! A member is a user name. A seat is one connection of one node that is in the room under that name. A name is a member
//! as long as it has a seat. A seat with a key outlives its connection for a while: the session may come back on another
//! connection, on any node, and nobody hears that it was gone.

use crate::time::Millis;
use chat_protocol::ids::{NodeId, SeatKey, SessionId, UserName};
use std::collections::{BTreeMap, BTreeSet};

/// One connection in the room.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seat {
    /// Where it is connected.
    pub node: NodeId,
    /// Which connection there.
    pub session: SessionId,
}

#[derive(Debug)]
struct Member {
    seats: BTreeSet<Seat>,
    active: Millis,
}

#[derive(Debug)]
struct Taken {
    user: UserName,
    key: Option<SeatKey>,
    /// Since when nobody sits on it. It waits for its session to come back.
    detached: Option<Millis>,
    /// Set while somebody may or may not sit on it.
    doubt: Option<Doubt>,
}

/// Why it is not known whether a connection is still there.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    since: Millis,
    /// Its node lives another life, in which this connection never was.
    other_life: bool,
}

/// What became of a join with a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Rehomed {
    /// No seat is recognised by the key.
    Unknown,
    /// The seat was free: its session had closed.
    Detached(Seat),
    /// Another connection sat on it.
    Occupied(Seat),
}

/// Members and seats, each findable from the other.
#[derive(Debug, Default)]
pub struct Roster {
    members: BTreeMap<UserName, Member>,
    seats: BTreeMap<Seat, Taken>,
    /// Seats by what they are recognised by.
    keys: BTreeMap<SeatKey, Seat>,
    /// Seats that wait for their session, oldest first.
    detached: BTreeSet<(Millis, Seat)>,
    /// Occupied seats per node.
    nodes: BTreeMap<NodeId, usize>,
    /// Seats that are in doubt, oldest first.
    doubtful: BTreeSet<(Millis, Seat)>,
    /// No member was last active before this moment. It lags behind, so that a message costs no look at every member.
    idle_floor: Millis,
}

impl Roster {
    /// Seats `user`. True if the others must hear of it: the name was no member before, or only by seats that were noted in
    /// an earlier life of this node and that nobody can claim. Whether the others saw those go is not known. A seat that
    /// waited for its session is occupied again.
    pub fn sit(&mut self, seat: Seat, user: UserName, key: Option<SeatKey>, now: Millis) -> bool {
        self.occupy(seat, user, key, None, now)
    }

    /// A seat that was noted in an earlier life of this node: it waits for its session.
    pub fn restore(&mut self, seat: Seat, user: UserName, key: Option<SeatKey>, now: Millis) {
        self.occupy(seat, user, key, Some(now), now);
    }

    fn occupy(
        &mut self,
        seat: Seat,
        user: UserName,
        key: Option<SeatKey>,
        detached: Option<Millis>,
        now: Millis,
    ) -> bool {
        if self.members.is_empty() {
            self.idle_floor = now;
        }
        let is_new = self.members.get(&user).is_none_or(|member| {
            let mut seats = member.seats.iter();
            seats.all(|known| *known != seat && self.is_unclaimable(known))
        });
        self.forget_place(&seat);
        match detached {
            None => *self.nodes.entry(seat.node.clone()).or_default() += 1,
            Some(since) => drop(self.detached.insert((since, seat.clone()))),
        }
        if let Some(key) = &key {
            self.keys.insert(key.clone(), seat.clone());
        }
        let taken = Taken {
            user: user.clone(),
            key,
            detached,
            doubt: None,
        };
        self.seats.insert(seat.clone(), taken);
        match self.members.get_mut(&user) {
            Some(member) => {
                member.active = now;
                member.seats.insert(seat);
            }
            None => {
                let seats = BTreeSet::from([seat]);
                self.members.insert(user, Member { seats, active: now });
            }
        }
        is_new
    }

    fn is_unclaimable(&self, seat: &Seat) -> bool {
        let taken = self.seats.get(seat);
        taken.is_some_and(|taken| taken.detached.is_some() && taken.key.is_none())
    }

    /// Takes a seat out of everything but the list of members.
    fn forget_place(&mut self, seat: &Seat) -> Option<Taken> {
        let taken = self.seats.remove(seat)?;
        match taken.detached {
            Some(since) => drop(self.detached.remove(&(since, seat.clone()))),
            None => self.leave_node(&seat.node),
        }
        if let Some(doubt) = taken.doubt {
            self.doubtful.remove(&(doubt.since, seat.clone()));
        }
        if let Some(key) = &taken.key
            && self.keys.get(key) == Some(seat)
        {
            self.keys.remove(key);
        }
        Some(taken)
    }

    fn leave_node(&mut self, node: &NodeId) {
        if let Some(count) = self.nodes.get_mut(node) {
            *count -= 1;
            if *count == 0 {
                self.nodes.remove(node);
            }
        }
    }

    /// Takes a seat away. The name if it has no seat left and so is no member any more.
    pub fn stand(&mut self, seat: &Seat) -> Option<UserName> {
        let user = self.forget_place(seat)?.user;
        let member = self.members.get_mut(&user)?;
        member.seats.remove(seat);
        if !member.seats.is_empty() {
            return None;
        }
        self.members.remove(&user);
        Some(user)
    }

    /// The connection of a seat closed. True if the seat now waits for its session, false if it cannot be recognised.
    pub fn detach(&mut self, seat: &Seat, now: Millis) -> bool {
        let Some(taken) = self.seats.get_mut(seat).filter(|taken| taken.key.is_some()) else {
            return false;
        };
        if taken.detached.is_none() {
            taken.detached = Some(now);
            if let Some(doubt) = taken.doubt.take() {
                self.doubtful.remove(&(doubt.since, seat.clone()));
            }
            self.detached.insert((now, seat.clone()));
            self.leave_node(&seat.node);
        }
        true
    }

    /// Gives the seat with `key`, if there is one and it is `user`'s, to the connection `to`.
    pub fn rehome(&mut self, key: &SeatKey, user: &UserName, to: &Seat, now: Millis) -> Rehomed {
        let Some(from) = self.keys.get(key).cloned() else {
            return Rehomed::Unknown;
        };
        let Some(taken) = self.seats.get(&from).filter(|taken| taken.user == *user) else {
            return Rehomed::Unknown;
        };
        let free = taken.detached.is_some();
        // The new seat first, so that the name never is without one.
        self.sit(to.clone(), user.clone(), Some(key.clone()), now);
        if from != *to {
            self.stand(&from);
        }
        if free {
            Rehomed::Detached(from)
        } else {
            Rehomed::Occupied(from)
        }
    }

    /// True if the seat with `key` is occupied by another connection than `seat`.
    #[must_use]
    pub fn is_elsewhere(&self, key: &SeatKey, seat: &Seat) -> bool {
        self.keys
            .get(key)
            .is_some_and(|at| at != seat && self.seats.get(at).is_some_and(|taken| taken.detached.is_none()))
    }

    /// Seats that have waited since `since` or longer.
    #[must_use]
    pub fn abandoned(&self, since: Millis) -> Vec<Seat> {
        self.detached
            .iter()
            .take_while(|(at, _)| *at <= since)
            .map(|(_, seat)| seat.clone())
            .collect()
    }

    /// Since when the seat that has waited longest waits.
    #[must_use]
    pub fn longest_detached(&self) -> Option<Millis> {
        self.detached.first().map(|(at, _)| *at)
    }

    /// The name under which a connection is in the room. Nobody is connected to a seat that waits.
    #[must_use]
    pub fn user_of(&self, seat: &Seat) -> Option<&UserName> {
        self.seats
            .get(seat)
            .filter(|taken| taken.detached.is_none())
            .map(|taken| &taken.user)
    }

    /// Notes that a member did something.
    pub fn touch(&mut self, user: &UserName, now: Millis) {
        if let Some(member) = self.members.get_mut(user) {
            member.active = now;
        }
    }

    /// The seats of a member.
    pub fn seats_of(&self, user: &UserName) -> impl Iterator<Item = &Seat> {
        self.members.get(user).into_iter().flat_map(|m| &m.seats)
    }

    /// The occupied seats behind a node.
    pub fn seats_behind(&self, node: &NodeId) -> impl Iterator<Item = &Seat> {
        self.seats
            .iter()
            .filter(move |(seat, taken)| seat.node == *node && taken.detached.is_none())
            .map(|(seat, _)| seat)
    }

    /// The seats behind a node that were noted in an earlier life of this one and wait to be announced.
    pub fn waiting_behind(&self, node: &NodeId) -> impl Iterator<Item = &Seat> {
        self.detached
            .iter()
            .map(|(_, seat)| seat)
            .filter(move |seat| seat.node == *node)
    }

    /// Members in name order.
    pub fn members(&self) -> impl Iterator<Item = &UserName> {
        self.members.keys()
    }

    /// How many members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// True if nobody is in the room.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Nodes with seats, except `me`.
    #[must_use]
    pub fn nodes_except(&self, me: &NodeId) -> Vec<NodeId> {
        self.nodes.keys().filter(|node| *node != me).cloned().collect()
    }

    /// Nodes with seats of any kind, except `me`; true for those that are there: somebody sits behind them for certain.
    #[must_use]
    pub fn nodes_with_seats(&self, me: &NodeId) -> BTreeMap<NodeId, bool> {
        let mut all = BTreeMap::new();
        for (seat, taken) in self.seats.iter().filter(|(seat, _)| seat.node != *me) {
            let certain = taken.detached.is_none() && taken.doubt.is_none();
            *all.entry(seat.node.clone()).or_insert(false) |= certain;
        }
        all
    }

    /// Members that did nothing since `since`.
    #[must_use]
    pub fn idle_since(&self, since: Millis) -> Vec<UserName> {
        self.members
            .iter()
            .filter(|(_, m)| m.active <= since)
            .map(|(user, _)| user.clone())
            .collect()
    }

    /// A moment before which no member was last active: the earliest at which one may have been idle for long.
    #[must_use]
    pub fn idle_floor(&self) -> Option<Millis> {
        (!self.members.is_empty()).then_some(self.idle_floor)
    }

    /// Looks at every member to bring [`Self::idle_floor`] up to date.
    pub fn raise_idle_floor(&mut self) {
        if let Some(longest) = self.members.values().map(|m| m.active).min() {
            self.idle_floor = longest;
        }
    }

    /// The node is silent, or lost something: whoever sits behind it now is in doubt.
    pub fn orphan(&mut self, node: &NodeId, now: Millis) {
        for seat in self.seats_of_node(node) {
            self.doubt(seat, now, false);
        }
    }

    /// The node lives another life, whose connections have numbers from `first` on: it cannot vouch for those before.
    pub fn bereave(&mut self, node: &NodeId, first: SessionId, now: Millis) {
        for seat in self.seats_of_node(node) {
            if seat.session < first {
                self.doubt(seat, now, true);
            }
        }
    }

    /// The node is back: its seats stand, but not those of an earlier life.
    pub fn adopt(&mut self, node: &NodeId) {
        let doubtful = self.doubtful.iter().map(|(_, seat)| seat);
        let back: Vec<Seat> = doubtful.filter(|seat| seat.node == *node).cloned().collect();
        for seat in back {
            if let Some(taken) = self.seats.get_mut(&seat)
                && let Some(doubt) = taken.doubt.take_if(|doubt| !doubt.other_life)
            {
                self.doubtful.remove(&(doubt.since, seat));
            }
        }
    }

    fn seats_of_node(&self, node: &NodeId) -> Vec<Seat> {
        if !self.nodes.contains_key(node) {
            return Vec::new();
        }
        self.seats_behind(node).cloned().collect()
    }

    /// The doubt may grow; the clock that runs, runs on.
    fn doubt(&mut self, seat: Seat, now: Millis, other_life: bool) {
        let Some(taken) = self.seats.get_mut(&seat) else { return };
        let fresh = Doubt { since: now, other_life };
        let doubt = taken.doubt.get_or_insert(fresh);
        doubt.other_life |= other_life;
        self.doubtful.insert((doubt.since, seat));
    }

    /// Seats that have been in doubt since `since` or longer.
    #[must_use]
    pub fn lost(&self, since: Millis) -> Vec<Seat> {
        self.doubtful
            .iter()
            .take_while(|(at, _)| *at <= since)
            .map(|(_, seat)| seat.clone())
            .collect()
    }

    /// Since when the seat that has been in doubt longest is.
    #[must_use]
    pub fn longest_in_doubt(&self) -> Option<Millis> {
        self.doubtful.first().map(|(at, _)| *at)
    }

    /// What must hold between members, seats and nodes.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) fn check(&self) {
        let by_member: usize = self.members.values().map(|m| m.seats.len()).sum();
        assert_eq!(by_member, self.seats.len(), "a seat belongs to exactly one member");
        assert_eq!(
            self.nodes.values().sum::<usize>() + self.detached.len(),
            self.seats.len(),
            "a seat is occupied at exactly one node, or waits"
        );
        for (key, seat) in &self.keys {
            let taken = self.seats.get(seat);
            assert!(
                taken.is_some_and(|taken| taken.key.as_ref() == Some(key)),
                "a key belongs to a seat"
            );
        }
        for (user, member) in &self.members {
            assert!(!member.seats.is_empty(), "{user} is a member without a seat");
            assert!(
                member.active >= self.idle_floor,
                "{user} may be idle for longer than is known"
            );
        }
        for (since, seat) in &self.doubtful {
            let taken = self.seats.get(seat).filter(|taken| taken.detached.is_none());
            let doubt = taken.and_then(|taken| taken.doubt);
            assert!(
                doubt.is_some_and(|doubt| doubt.since == *since),
                "only a seat that is taken is in doubt"
            );
        }
    }
}
