//! Who is in a room: the members, and the seats that make them so.
//!
//! A member is a user name. A seat is one connection of one node that is in the room under that name. A name is a member
//! as long as it has a seat.

use crate::time::Millis;
use chat_protocol::ids::{NodeId, SessionId, UserName};
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

/// Members and seats, each findable from the other.
#[derive(Debug, Default)]
pub struct Roster {
    members: BTreeMap<UserName, Member>,
    seats: BTreeMap<Seat, UserName>,
    nodes: BTreeMap<NodeId, usize>,
    /// Nodes whose seats nobody has confirmed since this moment.
    orphaned: BTreeMap<NodeId, Millis>,
    /// No member was last active before this moment. It lags behind, so that a message costs no look at every member.
    idle_floor: Millis,
}

impl Roster {
    /// Seats `user`. True if the name was no member before.
    pub fn sit(&mut self, seat: Seat, user: UserName, now: Millis) -> bool {
        if self.members.is_empty() {
            self.idle_floor = now;
        }
        let known = self.members.get_mut(&user);
        let is_new = known.is_none();
        if self.seats.insert(seat.clone(), user.clone()).is_none() {
            *self.nodes.entry(seat.node.clone()).or_default() += 1;
        }
        match known {
            Some(member) => {
                member.active = now;
                member.seats.insert(seat);
            }
            None => {
                self.members.insert(
                    user,
                    Member {
                        seats: BTreeSet::from([seat]),
                        active: now,
                    },
                );
            }
        }
        is_new
    }

    /// Takes a seat away. The name if it has no seat left and so is no member any more.
    pub fn stand(&mut self, seat: &Seat) -> Option<UserName> {
        let user = self.seats.remove(seat)?;
        if let Some(count) = self.nodes.get_mut(&seat.node) {
            *count -= 1;
            if *count == 0 {
                self.nodes.remove(&seat.node);
                self.orphaned.remove(&seat.node);
            }
        }
        let member = self.members.get_mut(&user)?;
        member.seats.remove(seat);
        if !member.seats.is_empty() {
            return None;
        }
        self.members.remove(&user);
        Some(user)
    }

    /// The name under which a connection is in the room.
    #[must_use]
    pub fn user_of(&self, seat: &Seat) -> Option<&UserName> {
        self.seats.get(seat)
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

    /// The seats behind a node.
    pub fn seats_behind(&self, node: &NodeId) -> impl Iterator<Item = (&Seat, &UserName)> {
        self.seats.iter().filter(move |(seat, _)| seat.node == *node)
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

    /// Starts the clock for the seats behind a node, unless it runs or the node has none.
    pub fn orphan(&mut self, node: &NodeId, now: Millis) {
        if self.nodes.contains_key(node) {
            self.orphaned.entry(node.clone()).or_insert(now);
        }
    }

    /// The node is back: its seats stand.
    pub fn adopt(&mut self, node: &NodeId) {
        self.orphaned.remove(node);
    }

    /// Nodes that were orphaned at `since` or before.
    #[must_use]
    pub fn orphans(&self, since: Millis) -> Vec<NodeId> {
        self.orphaned
            .iter()
            .filter(|(_, at)| **at <= since)
            .map(|(node, _)| node.clone())
            .collect()
    }

    /// When the longest orphaned node became so.
    #[must_use]
    pub fn longest_orphaned(&self) -> Option<Millis> {
        self.orphaned.values().min().copied()
    }

    /// What must hold between members, seats and nodes.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) fn check(&self) {
        let by_member: usize = self.members.values().map(|m| m.seats.len()).sum();
        assert_eq!(by_member, self.seats.len(), "a seat belongs to exactly one member");
        assert_eq!(
            self.nodes.values().sum::<usize>(),
            self.seats.len(),
            "a seat is counted at exactly one node"
        );
        for (user, member) in &self.members {
            assert!(!member.seats.is_empty(), "{user} is a member without a seat");
            assert!(
                member.active >= self.idle_floor,
                "{user} may be idle for longer than is known"
            );
        }
        for node in self.orphaned.keys() {
            assert!(self.nodes.contains_key(node), "{node} is orphaned without a seat");
        }
    }
}
