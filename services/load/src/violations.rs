//! Broken promises, counted by kind; only the first few are told in words, so that memory stays bounded.

use serde::Serialize;
use std::collections::BTreeMap;

/// How many are told in words.
pub const TOLD: usize = 20;

/// Which promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A member got a number before the one that was due.
    Hole,
    /// A number that was skipped came later.
    OutOfOrder,
    /// A member got a number twice.
    Repeated,
    /// Two members got different messages under one number.
    Conflict,
    /// One message got two numbers, or the messages of one sender changed places.
    SenderOrder,
    /// A message that nobody of this run sent to this room.
    Foreign,
    /// A confirmation came before the sender had its own message, or for another message.
    WrongAck,
    /// A confirmed message did not reach a member until the end.
    Missing,
    /// A message was neither confirmed nor refused until the end.
    Unanswered,
    /// The server closed a connection, or it broke.
    ConnectionLost,
    /// Too many messages waited for some member to be compared.
    NotCompared,
}

/// What was broken so far.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Violations {
    /// How often, by kind.
    pub counts: BTreeMap<Kind, u64>,
    /// The first [`TOLD`] in words.
    pub first: Vec<String>,
}

impl Violations {
    /// Counts `times` cases of a kind.
    pub fn add(&mut self, kind: Kind, times: u64, words: impl FnOnce() -> String) {
        if times == 0 {
            return;
        }
        self.count(kind, times);
        if self.first.len() < TOLD {
            self.first.push(words());
        }
    }

    /// Adds those of another part of the run.
    pub fn merge(&mut self, other: Self) {
        for (kind, times) in other.counts {
            self.count(kind, times);
        }
        let room = TOLD.saturating_sub(self.first.len());
        self.first.extend(other.first.into_iter().take(room));
    }

    fn count(&mut self, kind: Kind, times: u64) {
        let count = self.counts.entry(kind).or_default();
        // A wild number may skip nearly all numbers there are.
        *count = count.saturating_add(times);
    }

    /// Whether every promise was kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_few_are_told() {
        let mut all = Violations::default();
        all.add(Kind::Hole, 0, || unreachable!());
        assert!(all.is_empty());
        for _ in 0..3 {
            let mut part = Violations::default();
            (0..15).for_each(|n| part.add(Kind::Hole, 2, || n.to_string()));
            all.merge(part);
        }
        assert_eq!(all.counts, BTreeMap::from([(Kind::Hole, 90)]));
        assert_eq!(all.first.len(), TOLD);
    }
}
