//! Pauses between tries: growing, bounded, and never the same for two nodes.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(1);

/// Counts failures and says how long to wait after each.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// It worked: the next failure is the first.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// It failed: wait so long. The pause doubles from 20 ms to 1 s; half of it is chance.
    pub(super) fn next(&mut self) -> Duration {
        let full = (FIRST * 2_u32.pow(self.failures.min(6))).min(LONGEST);
        self.failures += 1;
        // A new hasher has new random keys; that is chance enough to keep two nodes apart.
        let chance = RandomState::new().hash_one(self.failures) % 1_000;
        full / 2 + full / 2 * u32::try_from(chance).unwrap_or(0) / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_second_and_begin_again_after_a_success() {
        let mut backoff = Backoff::default();
        for full in [20, 40, 80, 160, 320, 640, 1_000, 1_000] {
            let pause = backoff.next();
            assert!(
                pause >= Duration::from_millis(full / 2) && pause <= Duration::from_millis(full),
                "{pause:?}"
            );
        }
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
