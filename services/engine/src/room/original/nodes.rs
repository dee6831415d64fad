//! What a room remembers of the original nodes with members in it.

use super::*;
use std::collections::BTreeMap;

/// No connection has a number with this bit.
const MARK: u64 = 1 << 62;
/// In an answer to a name behind an original node that has no seat.
pub(super) const NOWHERE: SessionId = SessionId(MARK);
/// Bits for a seat's own number, and as many for the shift above it; both are less than the highest message number.
const NUMBER_BITS: u32 = 31;

/// True if a seat is a name behind an original node. Its number also tells the shift of its node, so that this is still
/// known after a restart.
#[must_use]
pub const fn is_original(session: SessionId) -> bool {
    session.0 & MARK != 0
}

const fn seat_number(shift: u64, number: u64) -> SessionId {
    SessionId(MARK | (shift << NUMBER_BITS) | (number & ((1 << NUMBER_BITS) - 1)))
}

/// What is subtracted from every number that the node of such a seat sees.
#[must_use]
pub const fn shift_of(session: SessionId) -> u64 {
    (session.0 & !MARK) >> NUMBER_BITS
}

/// Milliseconds after the answer to a join until its messages are said again: within this time the node has subscribed.
const REPEAT_AFTER: u64 = 1_000;
/// Most answers that are waited for per node; beyond, the last one stands for all.
const MAX_REPEATS: usize = 64;
/// Milliseconds within which the same words, whose first answer was lost, are the same sending: the longest wait for a
/// commit and the time of a second try.
const SAME_WITHIN: u64 = 5_000;
/// Most forwarded messages per node that are remembered for that.
const MAX_FORWARDS: usize = 256;

/// A message that an original node forwarded.
#[derive(Debug)]
pub(super) struct Forward {
    pub(super) user: UserName,
    pub(super) content: Arc<str>,
    pub(super) id: ClientMsgId,
    pub(super) looks: u64,
    pub(super) at: Millis,
    /// The node has the answer.
    pub(super) told: bool,
}

#[derive(Debug)]
struct Node {
    shift: u64,
    seats: BTreeMap<UserName, SessionId>,
    /// The first message that was not handed over.
    next: Seq,
    /// True: what is delivered goes to its queue. False: a page from `next` is on its way there.
    live: bool,
    /// When to say messages again, and from which on; in order of time.
    repeats: VecDeque<(Millis, Seq)>,
    forwards: VecDeque<Forward>,
}

/// All original nodes with members in the room.
#[derive(Debug, Default)]
pub(in crate::room) struct Originals {
    nodes: BTreeMap<NodeId, Node>,
    last_seat: u64,
}

impl Originals {
    pub(in crate::room) fn contains(&self, node: &NodeId) -> bool {
        self.nodes.contains_key(node)
    }

    pub(in crate::room) fn nodes(&self) -> Vec<NodeId> {
        self.nodes.keys().cloned().collect()
    }

    pub(super) fn seat_of(&self, node: &NodeId, user: &UserName) -> Option<SessionId> {
        self.nodes.get(node)?.seats.get(user).copied()
    }

    /// The seat of a user behind a node, made if there is none. A first seat fixes the shift so that `first` has number 1.
    pub(super) fn seat(&mut self, node: &NodeId, user: &UserName, first: Seq, delivered: Seq) -> SessionId {
        let known = self.nodes.entry(node.clone()).or_insert_with(|| Node {
            shift: first.0 - 1,
            seats: BTreeMap::new(),
            next: delivered.next(),
            live: true,
            repeats: VecDeque::new(),
            forwards: VecDeque::new(),
        });
        let last = &mut self.last_seat;
        *known.seats.entry(user.clone()).or_insert_with(|| {
            *last += 1;
            seat_number(known.shift, *last)
        })
    }

    /// A seat from an earlier life. Whatever that life had not handed over is in the newest messages.
    pub(super) fn restore(&mut self, seat: &Seat, user: &UserName, delivered: Seq) {
        let shift = shift_of(seat.session);
        let newest = (delivered.0 + 1).saturating_sub(ORIGINAL_HISTORY);
        let known = self.nodes.entry(seat.node.clone()).or_insert_with(|| Node {
            shift,
            seats: BTreeMap::new(),
            next: Seq(newest.max(shift + 1)),
            live: false,
            repeats: VecDeque::new(),
            forwards: VecDeque::new(),
        });
        known.seats.insert(user.clone(), seat.session);
        self.last_seat = self.last_seat.max(seat.session.0 & ((1 << NUMBER_BITS) - 1));
    }

    /// A seat is taken away. With the last one of its node go the shift and what still waits under it.
    pub(in crate::room) fn stand(&mut self, seat: &Seat, effects: &mut Effects) {
        if !is_original(seat.session) {
            return;
        }
        let Some(node) = self.nodes.get_mut(&seat.node) else {
            return;
        };
        node.seats.retain(|_, number| *number != seat.session);
        if node.seats.is_empty() {
            self.nodes.remove(&seat.node);
            effects.push(Effect::Recall {
                node: seat.node.clone(),
                what: Recalled::Messages,
            });
        }
    }

    pub(in crate::room) fn deliver(&mut self, frames: &[MessageFrame], effects: &mut Effects) {
        for (node, known) in self.nodes.iter_mut().filter(|(_, known)| known.live) {
            let frames: Vec<_> = frames.iter().filter(|f| f.seq() >= known.next).cloned().collect();
            let Some(last) = frames.last() else { continue };
            known.next = last.seq().next();
            effects.push(Effect::Broadcast {
                node: node.clone(),
                shift: known.shift,
                frames,
            });
        }
    }

    pub(super) fn advance(&mut self, node: &NodeId, next: Seq, delivered: Seq, effects: &mut Effects) {
        let Some(known) = self.nodes.get_mut(node) else { return };
        known.next = next;
        known.live = next > delivered;
        if !known.live {
            effects.push(Effect::BroadcastPage {
                node: node.clone(),
                shift: known.shift,
                from: next,
                to: delivered,
            });
        }
    }

    /// True if a page from `from` is what the node waits for; late news about others mean nothing.
    pub(super) fn is_at(&self, node: &NodeId, from: Seq) -> bool {
        self.nodes
            .get(node)
            .is_some_and(|known| !known.live && known.next == from)
    }

    pub(super) fn repeat_later(&mut self, node: &NodeId, head: Seq, now: Millis) {
        let Some(known) = self.nodes.get_mut(node) else { return };
        let (mut from, at) = (head.next(), now.plus(REPEAT_AFTER));
        if known.repeats.len() == MAX_REPEATS
            && let Some((_, last)) = known.repeats.pop_back()
        {
            from = from.min(last);
        }
        known.repeats.push_back((at, from));
    }

    /// Nodes to which messages are to be said again, and from which on.
    pub(super) fn due(&mut self, now: Millis) -> Vec<(NodeId, Seq)> {
        let mut due = Vec::new();
        for (node, known) in &mut self.nodes {
            let count = known.repeats.iter().take_while(|(at, _)| *at <= now).count();
            if let Some(from) = known.repeats.drain(..count).map(|(_, from)| from).min()
                && from < known.next
            {
                due.push((node.clone(), from));
            }
        }
        due
    }

    pub(in crate::room) fn next_deadline(&self) -> Option<Millis> {
        let first = |known: &Node| known.repeats.front().map(|(at, _)| *at);
        self.nodes.values().filter_map(first).min()
    }

    /// The id of a sending: that of an earlier one with the same words whose answer nobody got, or that nobody can have meant
    /// as another; else its own.
    pub(super) fn recognise(&mut self, node: &NodeId, forward: Forward) -> ClientMsgId {
        let id = forward.id.clone();
        let Some(known) = self.nodes.get_mut(node) else {
            return id;
        };
        let same = |earlier: &&Forward| {
            (!earlier.told || earlier.looks == forward.looks)
                && (&earlier.user, &earlier.content) == (&forward.user, &forward.content)
                && forward.at.since(earlier.at) <= SAME_WITHIN
        };
        // The newest: of two messages with these words it is the second that may be repeated.
        if let Some(earlier) = known.forwards.iter().rev().find(same) {
            return earlier.id.clone();
        }
        if known.forwards.len() == MAX_FORWARDS {
            known.forwards.pop_front();
        }
        known.forwards.push_back(forward);
        id
    }

    /// The answer to a forwarded message was given.
    pub(super) fn told(&mut self, node: &NodeId, user: &UserName, content: &str) {
        let forwards = self
            .nodes
            .get_mut(node)
            .into_iter()
            .flat_map(|known| &mut known.forwards);
        for forward in forwards.filter(|f| f.user == *user && *f.content == *content) {
            forward.told = true;
        }
    }

    /// The message that has number 1 for a node; `None` if it has nobody in the room.
    pub(super) fn first(&self, node: &NodeId) -> Option<Seq> {
        self.nodes.get(node).map(|known| Seq(known.shift + 1))
    }

    /// All seats behind a node.
    pub(super) fn seats(&self, node: &NodeId) -> Vec<SessionId> {
        let known = self.nodes.get(node);
        known
            .map(|known| known.seats.values().copied().collect())
            .unwrap_or_default()
    }

    /// All nodes, but `node` only if more than one name behind it is in the room.
    pub(super) fn nodes_with_others(&self, node: &NodeId) -> Vec<NodeId> {
        let told = self
            .nodes
            .iter()
            .filter(|(id, known)| *id != node || known.seats.len() > 1);
        told.map(|(id, _)| id.clone()).collect()
    }

    /// A node that was live is not any more. False if it was not.
    pub(super) fn lagged(&mut self, node: &NodeId, next: Seq) -> bool {
        match self.nodes.get_mut(node) {
            // A broadcast may have been followed by more before its fate was known.
            Some(known) if known.live || next < known.next => {
                known.next = next;
                true
            }
            _ => false,
        }
    }

    /// Nodes that are not live, and where they are.
    pub(super) fn behind(&self) -> Vec<(NodeId, Seq)> {
        let behind = self.nodes.iter().filter(|(_, known)| !known.live);
        behind.map(|(node, known)| (node.clone(), known.next)).collect()
    }

    /// Every name behind every node.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&NodeId, &UserName, SessionId)> {
        self.nodes
            .iter()
            .flat_map(|(node, known)| known.seats.iter().map(move |(user, seat)| (node, user, *seat)))
    }

    /// What must hold about a room whose last delivered message is `delivered`.
    ///
    /// # Panics
    /// If it does not.
    pub(super) fn check(&self, delivered: Seq) {
        for (node, known) in &self.nodes {
            assert!(!known.seats.is_empty(), "{node} is here without a seat");
            assert!(
                known.seats.values().all(|seat| shift_of(*seat) == known.shift),
                "all seats behind {node} have its shift"
            );
            assert_eq!(
                known.live,
                known.next > delivered,
                "{node} is live if it was told everything"
            );
        }
    }
}
