//! The failure detector of one peer.

use super::Health;
use crate::time::Millis;

/// Health of one peer, from answers and misses.
#[derive(Debug)]
pub struct Detector {
    health: Health,
    /// The last answer, or the moment from which silence counts.
    quiet_since: Millis,
}

impl Default for Detector {
    fn default() -> Self {
        Self::new()
    }
}

impl Detector {
    /// A peer that has not answered yet counts as failed: nothing of it is relied upon.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            health: Health::Failed,
            quiet_since: Millis(0),
        }
    }

    /// What the peer is.
    #[must_use]
    pub const fn health(&self) -> Health {
        self.health
    }

    /// The peer answered. The new health, if it changed.
    pub fn answered(&mut self, now: Millis) -> Option<Health> {
        self.quiet_since = now;
        self.turn(Health::Healthy)
    }

    /// The peer did not answer in time. The new health, if it changed.
    pub fn missed(&mut self, now: Millis, failed_after: u64) -> Option<Health> {
        if self.health == Health::Failed {
            None
        } else if now.since(self.quiet_since) >= failed_after {
            self.turn(Health::Failed)
        } else {
            self.turn(Health::Degraded)
        }
    }

    /// As [`Self::missed`], for a peer that is rarely asked: silence counts from its first miss on.
    pub fn missed_patiently(&mut self, now: Millis, failed_after: u64) -> Option<Health> {
        if self.health == Health::Healthy {
            self.quiet_since = now;
            return self.turn(Health::Degraded);
        }
        self.missed(now, failed_after)
    }

    /// A miss that says more about this node than about the peer: silence counts from now on.
    pub fn excuse(&mut self, now: Millis) {
        self.quiet_since = now;
    }

    fn turn(&mut self, health: Health) -> Option<Health> {
        (std::mem::replace(&mut self.health, health) != health).then_some(health)
    }
}
