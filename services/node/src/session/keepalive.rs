//! Pings: a client that vanished without a word is noticed after one interval and one timeout.

use std::time::Duration;
use tokio::time::Instant;

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Send a ping.
    Ping,
    /// The client did not answer the last ping.
    GiveUp,
}

/// When to ping and when to give up.
#[derive(Debug)]
pub struct Keepalive {
    interval: Duration,
    timeout: Duration,
    next: Instant,
    waiting: bool,
}

impl Keepalive {
    /// The first ping is due after `interval`.
    #[must_use]
    pub fn new(now: Instant, interval: Duration, timeout: Duration) -> Self {
        Self {
            interval,
            timeout,
            next: now + interval,
            waiting: false,
        }
    }

    /// When [`Self::due`] has something to say.
    #[must_use]
    pub const fn deadline(&self) -> Instant {
        self.next
    }

    /// The client sent something: it lives.
    pub fn heard(&mut self, now: Instant) {
        if self.waiting {
            self.waiting = false;
            self.next = now + self.interval;
        }
    }

    /// What is due at `now`, if the deadline has passed.
    pub fn due(&mut self, now: Instant) -> Option<Due> {
        if now < self.next {
            return None;
        }
        if self.waiting {
            return Some(Due::GiveUp);
        }
        self.waiting = true;
        self.next = now + self.timeout;
        Some(Due::Ping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_client_is_pinged_once_and_then_given_up() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut keepalive = Keepalive::new(start, 20 * second, 20 * second);
        assert_eq!(keepalive.due(start + 19 * second), None);
        assert_eq!(keepalive.due(start + 20 * second), Some(Due::Ping));
        assert_eq!(keepalive.due(start + 39 * second), None);
        assert_eq!(keepalive.due(start + 40 * second), Some(Due::GiveUp));
    }

    #[test]
    fn any_word_after_a_ping_counts_as_an_answer() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut keepalive = Keepalive::new(start, 20 * second, 20 * second);
        keepalive.due(start + 20 * second);
        keepalive.heard(start + 30 * second);
        assert_eq!(keepalive.due(start + 49 * second), None);
        assert_eq!(keepalive.due(start + 50 * second), Some(Due::Ping));
    }
}
