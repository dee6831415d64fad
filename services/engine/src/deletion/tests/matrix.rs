//! Every order of everything: each message lost, doubled or late, each node crashing, at every step.
//!
//! A search over all worlds that can be reached with a bounded number of faults. Each world is entered once. From each, a run
//! without further faults must come to an end.

use super::world::{Budget, Flaw, World};
use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

/// What a search has seen.
#[derive(Debug, Default)]
struct Seen {
    /// Worlds, each a different one.
    worlds: usize,
    /// Steps between them: a step is one cell of the matrix.
    steps: usize,
    /// Worlds that were brought to their end without further faults.
    endings: usize,
}

/// Two of a million worlds have the same mark once in forty million searches; then one of them is not looked at.
fn mark(world: &World) -> u64 {
    let mut mixer = Mixer(0);
    world.hash(&mut mixer);
    mixer.finish()
}

/// Fast where nothing is optimised: eight bytes at a time.
struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = (mixed ^ (mixed >> 29))
            .wrapping_mul(0xbf58_476d_1ce4_e5b9)
            .rotate_left(23);
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(byte.into());
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(number.unsigned_abs() as u64);
    }
}

/// Longest way to the end; a run that takes longer goes in circles.
const LONGEST: usize = 200;

fn search(budget: Budget, flaw: Flaw) -> Seen {
    let first = World::new(budget, flaw);
    let mut known = BTreeSet::from([mark(&first)]);
    let mut mirrored = known.clone();
    let mut ending = BTreeSet::new();
    let mut open = vec![first];
    let mut seen = Seen::default();
    while let Some(world) = open.pop() {
        seen.worlds += 1;
        end(&world, &mut ending, &mut seen);
        for step in world.steps() {
            seen.steps += 1;
            let mut next = world.clone();
            next.go(step);
            if known.insert(mark(&next)) {
                let next = next.canonical();
                if mirrored.insert(mark(&next)) {
                    open.push(next);
                }
            }
        }
    }
    seen
}

/// Without further faults, everything ends. Worlds that are known to are not followed again.
fn end(world: &World, ending: &mut BTreeSet<u64>, seen: &mut Seen) {
    let mut last = world.clone();
    for _ in 0..LONGEST {
        if !last.close() {
            last.check_end();
            return;
        }
        if !ending.insert(mark(&last)) {
            return;
        }
        seen.endings += 1;
    }
    panic!("no end after {LONGEST} steps: {last:#?}");
}

const NOTHING: Budget = Budget {
    crashes: 0,
    losses: 0,
    forged: 0,
    timers: (0, 0),
    attempts: 1,
};

/// Searches, says what was seen, and fails if it was less than it should be.
fn explore(budget: Budget, at_least: usize) {
    let seen = search(budget, Flaw::None);
    #[allow(clippy::print_stdout)] // What a search covers is for people, too.
    {
        println!("{budget:?}: {seen:?}");
    }
    assert!(seen.steps >= at_least, "the search has become small: {seen:?}");
}

#[test]
fn whichever_node_crashes_at_whatever_step_nobody_deletes_alone_and_everybody_ends() {
    let budget = Budget {
        crashes: 1,
        timers: (1, 1),
        ..NOTHING
    };
    explore(budget, 400_000);
}

#[test]
fn whatever_two_words_are_lost_doubled_or_late_nobody_deletes_alone_and_everybody_ends() {
    let budget = Budget {
        losses: 2,
        timers: (1, 1),
        ..NOTHING
    };
    explore(budget, 250_000);
}

#[test]
fn whatever_is_lost_when_a_node_crashes_nobody_deletes_alone_and_everybody_ends() {
    let budget = Budget {
        crashes: 1,
        losses: 1,
        ..NOTHING
    };
    explore(budget, 150_000);
}

#[test]
fn a_second_attempt_is_not_mixed_up_with_what_is_late_of_the_first() {
    let budget = Budget {
        losses: 1,
        timers: (1, 0),
        attempts: 2,
        ..NOTHING
    };
    explore(budget, 100_000);
}

#[test]
fn no_forged_word_deletes_anything_or_keeps_anybody_waiting() {
    let budget = Budget {
        forged: 1,
        losses: 1,
        ..NOTHING
    };
    explore(budget, 5_000);
    let budget = Budget {
        forged: 1,
        timers: (0, 1),
        ..NOTHING
    };
    explore(budget, 5_000);
}

// The search finds what it is there to find.

#[test]
#[should_panic(expected = "COMMIT follows the decision")]
fn a_coordinator_that_says_commit_before_it_is_decided_is_found() {
    search(NOTHING, Flaw::Hasty);
}

#[test]
#[should_panic(expected = "no end after")]
fn a_tenure_that_does_not_decide_what_it_finds_is_found() {
    search(Budget { crashes: 1, ..NOTHING }, Flaw::Forgetful);
}

#[test]
#[should_panic(expected = "a node deletes what is deleted")]
fn a_node_that_believes_every_commit_is_found() {
    search(Budget { forged: 1, ..NOTHING }, Flaw::Gullible);
}

#[test]
#[should_panic(expected = "a node waits for ever")]
fn a_node_that_is_in_doubt_and_does_not_ask_is_found() {
    let budget = Budget {
        losses: 2,
        timers: (1, 0),
        ..NOTHING
    };
    search(budget, Flaw::Patient);
}
