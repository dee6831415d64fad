//! What was promised about one room, compared with what the room holds.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// A message as somebody saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its number.
    pub seq: u64,
    /// Its id.
    pub message_id: String,
    /// What it says. Contents of a test are unique.
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
    /// The same content stands in the room twice.
    Doubled(String, u64, u64),
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
            Self::Doubled(content, a, b) => write!(f, "doubled: {content} stands at {a} and at {b}"),
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
    log: Vec<Seen>,
    holes: Vec<u64>,
    by_content: HashMap<String, u64>,
    doubled: Vec<(String, u64, u64)>,
    acknowledged: HashMap<String, u64>,
    last_of: BTreeMap<usize, u64>,
}

impl Room {
    /// A room that was not read yet.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            log: Vec::new(),
            holes: Vec::new(),
            by_content: HashMap::new(),
            doubled: Vec::new(),
            acknowledged: HashMap::new(),
            last_of: BTreeMap::new(),
        }
    }

    /// The last number that was read.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.log.len() as u64
    }

    /// Adds what was read behind the last message.
    pub fn extend(&mut self, fresh: Vec<Seen>) {
        for seen in fresh {
            let due = self.head() + 1;
            if seen.seq != due {
                self.holes.push(due);
                continue;
            }
            if let Some(before) = self.by_content.insert(seen.content.clone(), seen.seq) {
                self.doubled.push((seen.content.clone(), before, seen.seq));
            }
            self.log.push(seen);
        }
    }

    /// The message with a number.
    #[must_use]
    pub fn at(&self, seq: u64) -> Option<&Seen> {
        self.log.get(usize::try_from(seq.checked_sub(1)?).ok()?)
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
            match self.at(ack.seq) {
                Some(seen) if seen.message_id == ack.message_id && seen.content == ack.content => {}
                Some(seen) if seen.message_id == ack.message_id => {
                    found.push(Violation::Changed(ack.clone(), seen.content.clone()));
                }
                _ => found.push(Violation::Lost(ack.clone())),
            }
            if let Some(before) = self.acknowledged.insert(ack.content.clone(), ack.seq)
                && before != ack.seq
            {
                found.push(Violation::AcknowledgedTwice(ack.content.clone(), before, ack.seq));
            }
            if let Some(last) = self.last_of.insert(ack.sender, ack.seq)
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
mod tests {
    use super::*;

    fn seen(seq: u64, content: &str) -> Seen {
        Seen {
            seq,
            message_id: format!("m-{content}"),
            content: content.into(),
        }
    }

    fn ack(seq: u64, content: &str) -> Acknowledged {
        Acknowledged {
            sender: 0,
            seq,
            message_id: format!("m-{content}"),
            content: content.into(),
        }
    }

    fn room(contents: &[&str]) -> Room {
        let mut room = Room::new("r");
        room.extend((1..).zip(contents).map(|(seq, content)| seen(seq, content)).collect());
        room
    }

    #[test]
    fn a_good_history_is_good() {
        let mut room = room(&["a", "b", "c"]);
        assert_eq!(room.check_log(), []);
        assert_eq!(room.check_acknowledged(&[ack(1, "a"), ack(3, "c")]), []);
        assert_eq!(
            room.check_shown("x", 1, &[seen(1, "a"), seen(2, "b"), seen(3, "c")]),
            []
        );
        assert_eq!(room.find("m-b"), Some(2));
        assert_eq!(room.find("m-z"), None);
    }

    #[test]
    fn one_lost_is_found() {
        let mut room = room(&["a", "c"]);
        assert_eq!(
            room.check_acknowledged(&[ack(1, "a"), ack(2, "b"), ack(3, "d")]),
            [Violation::Lost(ack(2, "b")), Violation::Lost(ack(3, "d"))]
        );
    }

    #[test]
    fn one_doubled_is_found() {
        let mut room = room(&["a", "b", "a"]);
        assert_eq!(room.check_log(), [Violation::Doubled("a".into(), 1, 3)]);
        assert_eq!(room.check_log(), [], "once");
    }

    #[test]
    fn two_swapped_are_found() {
        let mut room = room(&["b", "a"]);
        assert_eq!(
            room.check_acknowledged(&[ack(2, "a"), ack(1, "b")]),
            [Violation::Reordered(2, 1)]
        );
        assert_eq!(
            room.check_shown("x", 1, &[seen(2, "a"), seen(1, "b")]),
            [
                Violation::Skipped("x".into(), 1, 2),
                Violation::Skipped("x".into(), 3, 1)
            ]
        );
    }

    #[test]
    fn one_changed_is_found() {
        let mut room = Room::new("r");
        room.extend(vec![Seen {
            content: "A".into(),
            ..seen(1, "a")
        }]);
        assert_eq!(
            room.check_acknowledged(&[ack(1, "a")]),
            [Violation::Changed(ack(1, "a"), "A".into())]
        );
        assert_eq!(
            room.check_shown("x", 1, &[seen(1, "a")]),
            [Violation::ShownUncommitted("x".into(), seen(1, "a"))]
        );
    }

    #[test]
    fn one_shown_before_its_commit_is_found() {
        let room = room(&["a", "c"]);
        assert_eq!(
            room.check_shown("x", 2, &[seen(2, "b")]),
            [Violation::ShownUncommitted("x".into(), seen(2, "b"))]
        );
    }

    #[test]
    fn one_acknowledged_twice_with_different_numbers_is_found() {
        let mut room = room(&["a", "b", "a"]);
        assert_eq!(
            room.check_acknowledged(&[ack(1, "a"), ack(3, "a")]),
            [Violation::AcknowledgedTwice("a".into(), 1, 3)]
        );
    }

    #[test]
    fn a_hole_is_found() {
        let mut room = Room::new("r");
        room.extend(vec![seen(1, "a"), seen(3, "c")]);
        assert_eq!(room.check_log(), [Violation::Hole(2)]);
    }
}
