//! Whether and when to come back after a close. A pure function: time and chance come as arguments.

use chat_protocol::close::{ComeBack, come_back};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Longest wait before the second attempt; the bound doubles with each attempt.
pub const BASE: Duration = Duration::from_millis(250);

/// Longest wait before any attempt, the pause of [`LATER`] aside.
pub const CAP: Duration = Duration::from_secs(30);

/// What is added when the node asked for a pause.
pub const LATER: Duration = Duration::from_secs(5);

/// Attempts after which a client stops: about three minutes on average.
pub const MAX_ATTEMPTS: u32 = 16;

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    /// Trying again is useless: the same would happen, or it happened often enough.
    GiveUp,
    /// Try again after this time.
    Wait(Duration),
}

/// What to do after a close with `close_code` (`None`: no connection, or broken without a close frame) when `attempt`
/// attempts in a row have failed before. `jitter` is a random number from 0 (inclusive) to 1.
///
/// Waits are exponential with full jitter: a crowd that lost its node at one moment comes back spread over the whole
/// interval, and not in waves.
#[must_use]
pub fn next_step(close_code: Option<u16>, attempt: u32, jitter: f64) -> NextStep {
    let pause = match come_back(close_code) {
        ComeBack::No => return NextStep::GiveUp,
        ComeBack::Now => Duration::ZERO,
        ComeBack::Later => LATER,
    };
    if attempt >= MAX_ATTEMPTS {
        return NextStep::GiveUp;
    }
    let longest = BASE.saturating_mul(1 << attempt).min(CAP);
    // A number that is none (or out of range) must not become a panic.
    let share = if jitter.is_finite() {
        jitter.clamp(0.0, 1.0)
    } else {
        1.0
    };
    NextStep::Wait(pause + longest.mul_f64(share))
}

/// A random number from 0 to 1, good enough to spread waits.
#[must_use]
pub fn random_jitter() -> f64 {
    // The seeds of hash maps are random per process and differ per call; 32 bits are enough.
    let bits = RandomState::new().hash_one(0_u8);
    f64::from(u32::try_from(bits >> 32).unwrap_or_default()) / 4_294_967_296.0
}

const _: () = assert!(MAX_ATTEMPTS < u32::BITS);

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(millis: u64) -> NextStep {
        NextStep::Wait(Duration::from_millis(millis))
    }

    #[test]
    fn waits_double_up_to_the_cap() {
        let longest = [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000];
        for (attempt, millis) in (0_u32..).zip(longest) {
            assert_eq!(next_step(None, attempt, 1.0), wait(millis));
            assert_eq!(next_step(Some(1012), attempt, 0.5), wait(millis / 2));
            assert_eq!(next_step(Some(1011), attempt, 0.0), wait(0));
        }
        assert_eq!(next_step(None, MAX_ATTEMPTS - 1, 1.0), wait(30_000));
    }

    #[test]
    fn a_node_that_asks_for_a_pause_gets_it() {
        assert_eq!(next_step(Some(1013), 0, 0.0), wait(5_000));
        assert_eq!(next_step(Some(1013), 1, 0.5), wait(5_250));
    }

    #[test]
    fn useless_attempts_are_not_made() {
        for code in [1000, 1002, 1003, 1007, 1008, 1009, 1010] {
            assert_eq!(next_step(Some(code), 0, 0.5), NextStep::GiveUp, "{code}");
        }
        assert_eq!(next_step(None, MAX_ATTEMPTS, 0.0), NextStep::GiveUp);
        assert_eq!(next_step(Some(1012), u32::MAX, 0.0), NextStep::GiveUp);
    }

    #[test]
    fn chance_stays_in_its_range() {
        assert_eq!(next_step(None, 0, f64::NAN), wait(250));
        assert_eq!(next_step(None, 0, -3.0), wait(0));
        assert_eq!(next_step(None, 0, 7.0), wait(250));
        assert!((0..100).all(|_| (0.0..1.0).contains(&random_jitter())));
    }
}
