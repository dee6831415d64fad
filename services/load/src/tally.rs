//! What is counted and timed during a run.

use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Most refusal codes that are told apart.
const CODES: usize = 32;

/// The time of a run: µs since its start, and which of them are measured.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    pub(crate) start: Instant,
    pub(crate) window: Range<u64>,
}

impl Clock {
    pub(crate) fn new(start: Instant, warmup: Duration, measured: Duration) -> Self {
        Self {
            start,
            window: micros(warmup)..micros(warmup + measured),
        }
    }

    pub(crate) fn now(&self) -> u64 {
        micros(self.start.elapsed())
    }

    pub(crate) fn at(&self, micros: u64) -> Instant {
        self.start + Duration::from_micros(micros)
    }
}

pub(crate) fn micros(time: Duration) -> u64 {
    time.as_secs()
        .saturating_mul(1_000_000)
        .saturating_add(time.subsec_micros().into())
}

/// The counts of one thread, or of all.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Over the whole run.
    pub(crate) sent: u64,
    pub(crate) acked: u64,
    pub(crate) delivered: u64,
    pub(crate) refused: BTreeMap<String, u64>,
    /// Within the measured window, by the time of arrival.
    pub(crate) acked_in_window: u64,
    pub(crate) delivered_in_window: u64,
    /// In µs, of messages that were due within the measured window.
    pub(crate) ack_latency: Histogram<u64>,
    pub(crate) delivery_latency: Histogram<u64>,
    /// In µs, from the intended time until the message was handed to the socket.
    pub(crate) send_lag: Histogram<u64>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        // One µs to ten minutes, three digits; what is longer counts as ten minutes.
        let histogram = || Histogram::new_with_bounds(1, 600_000_000, 3).expect("the bounds are valid");
        Self {
            sent: 0,
            acked: 0,
            delivered: 0,
            refused: BTreeMap::new(),
            acked_in_window: 0,
            delivered_in_window: 0,
            ack_latency: histogram(),
            delivery_latency: histogram(),
            send_lag: histogram(),
        }
    }

    pub(crate) fn sent(&mut self, clock: &Clock, intended: u64, now: u64) {
        self.sent += 1;
        if clock.window.contains(&intended) {
            self.send_lag.saturating_record(now.saturating_sub(intended));
        }
    }

    pub(crate) fn acked(&mut self, clock: &Clock, intended: u64, now: u64) {
        self.acked += 1;
        self.acked_in_window += u64::from(clock.window.contains(&now));
        if clock.window.contains(&intended) {
            self.ack_latency.saturating_record(now.saturating_sub(intended));
        }
    }

    pub(crate) fn delivered(&mut self, clock: &Clock, intended: u64, now: u64) {
        self.delivered += 1;
        self.delivered_in_window += u64::from(clock.window.contains(&now));
        if clock.window.contains(&intended) {
            self.delivery_latency.saturating_record(now.saturating_sub(intended));
        }
    }

    pub(crate) fn refused(&mut self, code: &str) {
        let code = if self.refused.len() < CODES || self.refused.contains_key(code) {
            code
        } else {
            "others"
        };
        *self.refused.entry(code.to_owned()).or_default() += 1;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.acked += other.acked;
        self.delivered += other.delivered;
        self.acked_in_window += other.acked_in_window;
        self.delivered_in_window += other.delivered_in_window;
        for (code, times) in &other.refused {
            *self.refused.entry(code.clone()).or_default() += times;
        }
        for (mine, theirs) in [
            (&mut self.ack_latency, &other.ack_latency),
            (&mut self.delivery_latency, &other.delivery_latency),
            (&mut self.send_lag, &other.send_lag),
        ] {
            mine.add(theirs).expect("all histograms have the same bounds");
        }
    }
}

/// The longest time without any confirmation within the window, over all threads.
#[derive(Debug)]
pub(crate) struct Pulse {
    window: Range<u64>,
    last: AtomicU64,
    longest: AtomicU64,
}

impl Pulse {
    pub(crate) fn new(window: Range<u64>) -> Self {
        Self {
            last: AtomicU64::new(window.start),
            longest: AtomicU64::new(0),
            window,
        }
    }

    pub(crate) fn beat(&self, now: u64) {
        if self.window.contains(&now) {
            let last = self.last.fetch_max(now, Ordering::Relaxed);
            self.longest.fetch_max(now.saturating_sub(last), Ordering::Relaxed);
        }
    }

    /// In µs, the time until the end of the window included.
    pub(crate) fn longest(&self) -> u64 {
        let last = self.window.end.saturating_sub(self.last.load(Ordering::Relaxed));
        self.longest.load(Ordering::Relaxed).max(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> Clock {
        Clock::new(Instant::now(), Duration::from_millis(1), Duration::from_millis(9))
    }

    #[test]
    fn latency_counts_from_the_intended_time_and_only_within_the_window() {
        let (clock, mut tally) = (clock(), Tally::new());
        assert_eq!(clock.window, 1_000..10_000);
        // Due in the warm-up, answered in the window: counts for the rate only.
        tally.acked(&clock, 900, 1_500);
        // Due in the window, answered long after: the wait counts in full.
        tally.acked(&clock, 9_999, 1_000_000_000);
        tally.acked(&clock, 2_000, 2_700);
        assert_eq!((tally.acked, tally.acked_in_window, tally.ack_latency.len()), (3, 2, 2));
        assert_eq!(tally.ack_latency.min(), 700);
        assert!(tally.ack_latency.max() >= 600_000_000);
        tally.delivered(&clock, 2_000, 2_100);
        tally.delivered(&clock, 10_000, 10_001);
        assert_eq!(
            (tally.delivered, tally.delivered_in_window, tally.delivery_latency.len()),
            (2, 1, 1)
        );
    }

    #[test]
    fn threads_add_up() {
        let (clock, mut all) = (clock(), Tally::new());
        for _ in 0..2 {
            let mut part = Tally::new();
            part.sent(&clock, 1_000, 1_010);
            part.acked(&clock, 1_000, 1_100);
            part.refused("BUSY");
            all.merge(&part);
        }
        assert_eq!(
            (all.sent, all.acked, all.ack_latency.len(), all.send_lag.max()),
            (2, 2, 2, 10)
        );
        assert_eq!(all.refused, BTreeMap::from([("BUSY".to_owned(), 2)]));
    }

    #[test]
    fn codes_from_outside_cost_bounded_memory() {
        let mut tally = Tally::new();
        (0..1_000).for_each(|n| tally.refused(&n.to_string()));
        assert_eq!(tally.refused.len(), CODES + 1);
        assert_eq!(tally.refused["others"], 1_000 - CODES as u64);
    }

    #[test]
    fn a_pause_is_the_longest_time_between_two_confirmations() {
        let pulse = Pulse::new(1_000..10_000);
        [500, 1_100, 4_000, 3_900, 4_100, 20_000]
            .into_iter()
            .for_each(|now| pulse.beat(now));
        assert_eq!(pulse.longest(), 5_900);
        pulse.beat(9_990);
        assert_eq!(pulse.longest(), 5_890);
        assert_eq!(Pulse::new(5..9).longest(), 4);
    }
}
