//! Which nodes live, and which of their lives it is.
//!
//! A peer is *healthy* after one answer, *degraded* after one miss, *failed* after a time without any answer. A node that
//! was late itself accuses nobody: its own silence looks like everybody's. Fixed thresholds, because an error costs
//! little either way (the store decides what is true) and because they make tests exact.

pub mod detector;

use crate::time::Millis;
use chat_protocol::ids::{Incarnation, NodeId};
use detector::Detector;
use std::collections::BTreeMap;

/// Health of a peer as this node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// No answer for so long that its rooms and seats are considered lost.
    Failed,
    /// The last heartbeat was not answered.
    Degraded,
    /// The last heartbeat was answered.
    Healthy,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The peer has this health now.
    Health(NodeId, Health),
    /// The peer lives another life: whatever it knew is gone.
    Restarted(NodeId, Incarnation),
}

/// Thresholds; milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct MembershipLimits {
    /// Silence after which a peer has failed.
    pub failed_after: u64,
    /// Own lag beyond which misses are not counted.
    pub own_lag: u64,
}

impl Default for MembershipLimits {
    fn default() -> Self {
        Self {
            failed_after: 3_000,
            own_lag: 500,
        }
    }
}

/// All peers, keyed by node id; the newest incarnation wins.
#[derive(Debug)]
pub struct Membership {
    limits: MembershipLimits,
    peers: BTreeMap<NodeId, Peer>,
}

#[derive(Debug)]
struct Peer {
    detector: Detector,
    incarnation: Option<Incarnation>,
}

impl Membership {
    /// Nobody is known yet.
    #[must_use]
    pub const fn new(limits: MembershipLimits) -> Self {
        Self {
            limits,
            peers: BTreeMap::new(),
        }
    }

    /// Begins to watch a peer. It counts as failed until it answers for the first time.
    pub fn watch(&mut self, peer: NodeId) {
        self.peers.entry(peer).or_insert_with(|| Peer {
            detector: Detector::new(),
            incarnation: None,
        });
    }

    /// Stops watching a peer; if it is watched again it is a new one.
    pub fn forget(&mut self, peer: &NodeId) {
        self.peers.remove(peer);
    }

    /// A peer answered, or was heard in some other way that proves its life; `incarnation` says which, if it was told.
    pub fn heard(&mut self, now: Millis, peer: &NodeId, incarnation: Option<Incarnation>, changes: &mut Vec<Change>) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        if incarnation < known.incarnation && incarnation.is_some() {
            return; // a late word of a former life
        }
        if incarnation.is_some() && incarnation != known.incarnation {
            let first = known.incarnation.is_none();
            known.incarnation = incarnation;
            if let (false, Some(life)) = (first, incarnation) {
                changes.push(Change::Restarted(peer.clone(), life));
            }
        }
        if let Some(health) = known.detector.answered(now) {
            changes.push(Change::Health(peer.clone(), health));
        }
    }

    /// A heartbeat was not answered in its time. `own_lag` is how late this node's own loop was meanwhile.
    pub fn missed(&mut self, now: Millis, peer: &NodeId, own_lag: u64, changes: &mut Vec<Change>) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        if own_lag > self.limits.own_lag {
            known.detector.excuse(now);
        } else if let Some(health) = known.detector.missed(now, self.limits.failed_after) {
            changes.push(Change::Health(peer.clone(), health));
        }
    }

    /// As [`Self::missed`], for a peer that is rarely asked: it has failed when nothing was heard of it for
    /// `failed_after` milliseconds since its first miss.
    pub fn missed_patiently(
        &mut self,
        now: Millis,
        peer: &NodeId,
        own_lag: u64,
        failed_after: u64,
        changes: &mut Vec<Change>,
    ) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        if own_lag > self.limits.own_lag {
            known.detector.excuse(now);
        } else if let Some(health) = known.detector.missed_patiently(now, failed_after) {
            changes.push(Change::Health(peer.clone(), health));
        }
    }

    /// Health of a peer; `None` if it is not watched.
    #[must_use]
    pub fn health(&self, peer: &NodeId) -> Option<Health> {
        self.peers.get(peer).map(|p| p.detector.health())
    }

    /// The newest known life of a peer.
    #[must_use]
    pub fn incarnation(&self, peer: &NodeId) -> Option<Incarnation> {
        self.peers.get(peer)?.incarnation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str) -> NodeId {
        NodeId::parse(id).unwrap()
    }

    fn watching(id: &str) -> Membership {
        let mut membership = Membership::new(MembershipLimits::default());
        membership.watch(node(id));
        membership
    }

    fn heard(membership: &mut Membership, at: u64, life: Option<u64>) -> Vec<Change> {
        let mut changes = Vec::new();
        membership.heard(Millis(at), &node("b"), life.map(Incarnation), &mut changes);
        changes
    }

    fn missed(membership: &mut Membership, at: u64, own_lag: u64) -> Vec<Change> {
        let mut changes = Vec::new();
        membership.missed(Millis(at), &node("b"), own_lag, &mut changes);
        changes
    }

    #[test]
    fn one_miss_degrades_three_silent_seconds_fail_one_answer_heals() {
        let mut m = watching("b");
        assert_eq!(m.health(&node("b")), Some(Health::Failed));
        assert_eq!(
            heard(&mut m, 1_000, Some(7)),
            [Change::Health(node("b"), Health::Healthy)]
        );
        assert_eq!(missed(&mut m, 2_000, 0), [Change::Health(node("b"), Health::Degraded)]);
        assert_eq!(missed(&mut m, 3_000, 0), []);
        assert_eq!(missed(&mut m, 4_000, 0), [Change::Health(node("b"), Health::Failed)]);
        assert_eq!(missed(&mut m, 5_000, 0), []);
        assert_eq!(
            heard(&mut m, 6_000, Some(7)),
            [Change::Health(node("b"), Health::Healthy)]
        );
    }

    #[test]
    fn w35_the_first_miss_after_a_recovery_is_a_first_miss() {
        let mut m = watching("b");
        heard(&mut m, 1_000, Some(7));
        for at in [2_000, 3_000, 4_000] {
            missed(&mut m, at, 0);
        }
        assert_eq!(m.health(&node("b")), Some(Health::Failed));
        heard(&mut m, 5_000, Some(7));
        assert_eq!(missed(&mut m, 6_000, 0), [Change::Health(node("b"), Health::Degraded)]);
    }

    #[test]
    fn a_node_that_was_late_itself_accuses_nobody() {
        let mut m = watching("b");
        heard(&mut m, 1_000, Some(7));
        assert_eq!(missed(&mut m, 9_000, 501), []);
        assert_eq!(m.health(&node("b")), Some(Health::Healthy));
        // The silence is counted from the excuse on.
        assert_eq!(missed(&mut m, 10_000, 0), [Change::Health(node("b"), Health::Degraded)]);
        assert_eq!(missed(&mut m, 11_900, 0), []);
        assert_eq!(missed(&mut m, 12_000, 0), [Change::Health(node("b"), Health::Failed)]);
    }

    #[test]
    fn a_peer_that_is_rarely_asked_has_failed_long_after_its_first_miss() {
        let mut m = watching("b");
        heard(&mut m, 1_000, None);
        let missed = |m: &mut Membership, at: u64, own_lag: u64| {
            let mut changes = Vec::new();
            m.missed_patiently(Millis(at), &node("b"), own_lag, 30_000, &mut changes);
            changes
        };
        assert_eq!(missed(&mut m, 33_000, 501), [], "an own lag accuses nobody");
        assert_eq!(missed(&mut m, 33_000, 0), [Change::Health(node("b"), Health::Degraded)]);
        assert_eq!(missed(&mut m, 36_000, 0), []);
        assert_eq!(missed(&mut m, 62_999, 0), []);
        assert_eq!(missed(&mut m, 63_000, 0), [Change::Health(node("b"), Health::Failed)]);
        assert_eq!(
            heard(&mut m, 64_000, None),
            [Change::Health(node("b"), Health::Healthy)]
        );
        assert_eq!(missed(&mut m, 99_000, 0), [Change::Health(node("b"), Health::Degraded)]);
    }

    #[test]
    fn another_life_is_a_restart_and_a_late_word_of_a_former_life_is_nothing() {
        let mut m = watching("b");
        assert_eq!(
            heard(&mut m, 1_000, Some(7)),
            [Change::Health(node("b"), Health::Healthy)]
        );
        assert_eq!(
            heard(&mut m, 2_000, Some(9)),
            [Change::Restarted(node("b"), Incarnation(9))]
        );
        missed(&mut m, 3_000, 0);
        assert_eq!(heard(&mut m, 3_100, Some(7)), []);
        assert_eq!(m.health(&node("b")), Some(Health::Degraded));
        assert_eq!(m.incarnation(&node("b")), Some(Incarnation(9)));
    }

    #[test]
    fn a_peer_that_is_forgotten_is_a_new_one_when_it_is_watched_again() {
        let mut m = watching("b");
        heard(&mut m, 1_000, Some(7));
        m.forget(&node("b"));
        assert_eq!(heard(&mut m, 2_000, Some(7)), []);
        assert_eq!(m.health(&node("b")), None);
        m.watch(node("b"));
        assert_eq!(m.health(&node("b")), Some(Health::Failed));
        assert_eq!(
            heard(&mut m, 3_000, Some(9)),
            [Change::Health(node("b"), Health::Healthy)]
        );
    }

    #[test]
    fn nobody_learns_of_a_node_that_is_not_watched() {
        let mut m = watching("c");
        assert_eq!(heard(&mut m, 1_000, Some(7)), []);
        assert_eq!(missed(&mut m, 9_000, 0), []);
        assert_eq!(m.health(&node("b")), None);
    }
}
