//! What was promised about one room, compared with what the room holds.
//!
//! Whoever runs for long calls [`Room::forget`]: then a room costs the messages that are still to be compared, and no more.

use super::contents::Contents;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;

/// A message as somebody saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its number.
    pub seq: u64,
    /// Its id.
    pub message_id: String,
    /// What it says. Contents of a run are unique.
    pub content: String,
}

/// A message that was acknowledged to its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// Who sent it; sends of one sender were done one after the other.
    pub sender: usize,
    /// Its number.
    pub seq: u64,
    /// Its id.
    pub message_id: String,
    /// What was sent.
    pub content: String,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// Acknowledged, but not in the room under its number.
    Lost(Acknowledged),
    /// The same content stands in the room twice: at a number that is known unless it was forgotten, and at another one.
    Doubled(String, Option<u64>, u64),
    /// In the room under its number and id, but with another content.
    Changed(Acknowledged, String),
    /// Of one sender, the later send has the lower number.
    Reordered(u64, u64),
    /// The same content was acknowledged with two numbers.
    AcknowledgedTwice(String, u64, u64),
    /// The log has a hole.
    Hole(u64),
    /// A member was shown something that is not in the room under this number.
    ShownUncommitted(String, Seen),
    /// A member did not see the numbers one after the other.
    Skipped(String, u64, u64),
    /// A session was treated in a way that needs no comparison to be wrong.
    Irregular(String),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(ack) => write!(
                f,
                "lost: {} was acknowledged as number {} and is not there",
                ack.content, ack.seq
            ),
            Self::Doubled(content, Some(a), b) => write!(f, "doubled: {content} stands at {a} and at {b}"),
            Self::Doubled(content, None, b) => write!(f, "doubled: {content} stands at {b} and far before"),
            Self::Changed(ack, found) => write!(f, "changed: number {} was {} and is {found}", ack.seq, ack.content),
            Self::Reordered(earlier, later) => write!(f, "reordered: a sender's {later} came before its {earlier}"),
            Self::AcknowledgedTwice(content, a, b) => write!(f, "{content} was acknowledged as {a} and as {b}"),
            Self::Hole(seq) => write!(f, "the log has no number {seq}"),
            Self::ShownUncommitted(who, seen) => {
                write!(
                    f,
                    "{who} was shown {} as number {}, which is not in the room",
                    seen.content, seen.seq
                )
            }
            Self::Irregular(what) => f.write_str(what),
            Self::Skipped(who, due, came) => write!(f, "{who} was shown {came} where {due} was due"),
        }
    }
}

/// What a room holds, as far as it was read, and what was found out about it.
#[derive(Debug)]
pub struct Room {
    /// Which room.
    pub id: String,
    /// What is behind the number `forgotten`.
    log: VecDeque<Seen>,
    forgotten: u64,
    holes: Vec<u64>,
    contents: Contents,
    doubled: Vec<(String, Option<u64>, u64)>,
    /// By content; only numbers that are not forgotten.
    acknowledged: HashMap<String, u64>,
    last_of: BTreeMap<usize, u64>,
}

impl Room {
    /// A room that was not read yet.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            log: VecDeque::new(),
            forgotten: 0,
            holes: Vec::new(),
            contents: Contents::default(),
            doubled: Vec::new(),
            acknowledged: HashMap::new(),
            last_of: BTreeMap::new(),
        }
    }

    /// The last number that was read.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.forgotten + self.log.len() as u64
    }

    /// Adds what was read behind the last message.
    pub fn extend(&mut self, fresh: Vec<Seen>) {
        for seen in fresh {
            let due = self.head() + 1;
            if seen.seq != due {
                // Said once: nothing behind a hole is in its place.
                if self.holes.last() != Some(&due) {
                    self.holes.push(due);
                }
                continue;
            }
            if !self.contents.insert(&seen.content) {
                let before = self
                    .log
                    .iter()
                    .find(|old| old.content == seen.content)
                    .map(|old| old.seq);
                self.doubled.push((seen.content.clone(), before, seen.seq));
            }
            self.log.push_back(seen);
        }
    }

    /// Lets go of the messages up to a number, of which nothing is left to compare. A content that comes again is found
    /// all the same.
    pub fn forget(&mut self, up_to: u64) {
        let count = up_to.min(self.head()).saturating_sub(self.forgotten);
        self.log.drain(..usize::try_from(count).unwrap_or(self.log.len()));
        self.forgotten += count;
        let forgotten = self.forgotten;
        self.acknowledged.retain(|_, seq| *seq > forgotten);
    }

    /// The message with a number, unless it is forgotten.
    #[must_use]
    pub fn at(&self, seq: u64) -> Option<&Seen> {
        self.log
            .get(usize::try_from(seq.checked_sub(self.forgotten + 1)?).ok()?)
    }

    /// The number of the message with an id, looked for from the newest on.
    #[must_use]
    pub fn find(&self, message_id: &str) -> Option<u64> {
        self.log
            .iter()
            .rev()
            .find(|seen| seen.message_id == message_id)
            .map(|seen| seen.seq)
    }

    /// What is wrong with the log itself; said once.
    pub fn check_log(&mut self) -> Vec<Violation> {
        let holes = std::mem::take(&mut self.holes).into_iter().map(Violation::Hole);
        let doubled = std::mem::take(&mut self.doubled);
        holes
            .chain(
                doubled
                    .into_iter()
                    .map(|(content, a, b)| Violation::Doubled(content, a, b)),
            )
            .collect()
    }

    /// What is wrong with acknowledgements, in their order per sender.
    pub fn check_acknowledged(&mut self, acknowledged: &[Acknowledged]) -> Vec<Violation> {
        let mut found = Vec::new();
        for ack in acknowledged {
            let there = match self.at(ack.seq) {
                Some(seen) if seen.message_id == ack.message_id => {
                    if seen.content != ack.content {
                        found.push(Violation::Changed(ack.clone(), seen.content.clone()));
                    }
                    true
                }
                _ => {
                    found.push(Violation::Lost(ack.clone()));
                    false
                }
            };
            if let Some(before) = self.acknowledged.insert(ack.content.clone(), ack.seq)
                && before != ack.seq
            {
                found.push(Violation::AcknowledgedTwice(ack.content.clone(), before, ack.seq));
            }
            // What is lost has no place that another could be compared with.
            if there
                && let Some(last) = self.last_of.insert(ack.sender, ack.seq)
                && last >= ack.seq
            {
                found.push(Violation::Reordered(last, ack.seq));
            }
        }
        found
    }

    /// What is wrong with what a member was shown, whose first message should have had the number `due`.
    #[must_use]
    pub fn check_shown(&self, who: &str, mut due: u64, shown: &[Seen]) -> Vec<Violation> {
        let mut found = Vec::new();
        for seen in shown {
            if seen.seq != due {
                found.push(Violation::Skipped(who.to_owned(), due, seen.seq));
            }
            due = seen.seq + 1;
            if self.at(seen.seq) != Some(seen) {
                found.push(Violation::ShownUncommitted(who.to_owned(), seen.clone()));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
