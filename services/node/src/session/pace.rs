//! A bound on how often something may happen: so many times a second, and as many at once after a pause. Zero bounds nothing.

use std::time::Duration;
use tokio::time::Instant;

/// Counts one kind of event.
#[derive(Debug)]
pub struct Pace {
    per_second: u32,
    /// When everything that happened would have happened at an even pace.
    paid: Instant,
}

impl Pace {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second, paid: now }
    }

    /// It happened once more.
    pub fn count(&mut self, now: Instant) {
        if let Some(gap) = self.gap() {
            self.paid = self.paid.max(now) + gap;
        }
    }

    /// When it may happen again, if that is later than `now`.
    #[must_use]
    pub fn wait(&self, now: Instant) -> Option<Instant> {
        let gap = self.gap()?;
        // A second's worth may come at once.
        let again = self.paid.checked_sub(Duration::from_secs(1).saturating_sub(gap))?;
        (again > now).then_some(again)
    }

    fn gap(&self) -> Option<Duration> {
        Duration::from_secs(1).checked_div(self.per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_s_worth_may_come_at_once_and_then_the_pace_counts() {
        let start = Instant::now() + Duration::from_secs(3_600);
        let mut pace = Pace::new(10, start);
        for _ in 0..10 {
            assert_eq!(pace.wait(start), None);
            pace.count(start);
        }
        let tenth = Duration::from_millis(100);
        assert_eq!(pace.wait(start), Some(start + tenth));
        assert_eq!(pace.wait(start + tenth), None);
        pace.count(start + tenth);
        assert_eq!(pace.wait(start + tenth), Some(start + 2 * tenth));
        // A pause saves up no more than a second.
        let later = start + Duration::from_secs(60);
        for _ in 0..10 {
            assert_eq!(pace.wait(later), None);
            pace.count(later);
        }
        assert!(pace.wait(later).is_some());
    }

    #[test]
    fn without_a_bound_nothing_waits() {
        let now = Instant::now();
        let mut pace = Pace::new(0, now);
        for _ in 0..100_000 {
            pace.count(now);
        }
        assert_eq!(pace.wait(now), None);
    }
}
