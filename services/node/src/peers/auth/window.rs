//! Which counters of one sender were seen: a sliding window as IPsec has it (RFC 4303, section 3.4.3), as a ring of words of
//! which whole ones are cleared when it moves (RFC 6479).

use chat_protocol::limits::REPLAY_WINDOW;

const BITS: u64 = u64::BITS as u64;
/// One word more than the window needs, so that the one that is cleared is never one that counts.
const WORDS: u64 = REPLAY_WINDOW / BITS + 1;

/// The window. A counter below it counts as seen.
#[derive(Debug)]
pub(super) struct Window {
    highest: u64,
    words: Box<[u64]>,
}

impl Window {
    /// Nothing was seen. Counters begin at 1.
    pub(super) fn new() -> Self {
        Self {
            highest: 0,
            words: vec![0; usize::try_from(WORDS).unwrap_or(1)].into(),
        }
    }

    /// Takes a counter. False if it was taken before, or is too old to know.
    pub(super) fn take(&mut self, counter: u64) -> bool {
        if counter == 0 || self.highest.saturating_sub(counter) >= REPLAY_WINDOW {
            return false;
        }
        let word = counter / BITS;
        let top = self.highest / BITS;
        if counter > self.highest {
            for passed in 1..=(word - top).min(WORDS) {
                *self.word(top + passed) = 0;
            }
            self.highest = counter;
        }
        let bit = 1 << (counter % BITS);
        let word = self.word(word);
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }

    fn word(&mut self, number: u64) -> &mut u64 {
        // The remainder is below a few hundred.
        &mut self.words[usize::try_from(number % WORDS).unwrap_or(0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_counter_is_taken_once_in_whatever_order() {
        let mut window = Window::new();
        for counter in [5, 3, 4, 1, 200, 2, 199] {
            assert!(window.take(counter), "{counter}");
            assert!(!window.take(counter), "{counter} again");
        }
        assert!(!window.take(0));
    }

    #[test]
    fn what_is_as_old_as_the_window_is_refused_and_what_is_a_little_younger_is_not() {
        let mut window = Window::new();
        let top = 10 * REPLAY_WINDOW;
        assert!(window.take(top));
        assert!(!window.take(top - REPLAY_WINDOW));
        assert!(window.take(top - REPLAY_WINDOW + 1));
        assert!(!window.take(top - REPLAY_WINDOW + 1));
        assert!(window.take(top + 1));
    }

    #[test]
    fn a_leap_forgets_what_it_passes_and_ends_nowhere_wrong() {
        let mut window = Window::new();
        assert!(window.take(1));
        assert!(window.take(u64::MAX));
        assert!(!window.take(u64::MAX));
        assert!(window.take(u64::MAX - REPLAY_WINDOW + 1));
        assert!(!window.take(1));
    }

    #[test]
    fn the_window_says_what_a_set_of_all_counters_would_say() {
        let mut window = Window::new();
        let mut seen = BTreeSet::new();
        let mut highest = 0_u64;
        // A fixed sequence that looks like chance: steps on, back, and far on.
        let mut state = 1_u64;
        for _ in 0..100_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let step = (state >> 33) % (REPLAY_WINDOW + 500);
            let counter = match (state >> 60) & 3 {
                0 => highest + 1,
                1 => highest + step % 300,
                _ => highest.saturating_sub(step),
            };
            let expected = counter != 0 && counter + REPLAY_WINDOW > highest && seen.insert(counter);
            assert_eq!(window.take(counter), expected, "{counter} below {highest}");
            highest = highest.max(counter);
        }
    }
}
