//! What a room of another node saw of its messages, as figures of this node.

use super::entry::{Entry, Machine};
use crate::telemetry::metrics::MessageMetrics;

impl Entry {
    /// True if this node administers the room.
    pub(super) const fn is_here(&self) -> bool {
        matches!(self.machine, Machine::Admin(_))
    }

    /// Counts what a member's machine saw since it was last asked.
    pub(super) fn count(&mut self, messages: &MessageMetrics) {
        let Machine::Member(machine) = &mut self.machine else {
            return;
        };
        let seen = machine.take_seen();
        for (counter, count) in [
            (&messages.gaps, seen.gaps),
            (&messages.gaps_repaired, seen.repaired),
            (&messages.doubled, seen.doubled),
        ] {
            if count > 0 {
                counter.inc_by(count);
            }
        }
        let lag = i64::try_from(machine.lag()).unwrap_or(i64::MAX);
        if lag != self.lag {
            messages.lag.add(lag - self.lag);
            self.lag = lag;
        }
    }
}
