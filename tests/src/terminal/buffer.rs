//! What the original terminal client does with the messages of the room that it is in: it shows a sequence that begins at
//! 1 and has no hole, and never asks for what is missing.

use serde_json::Value;
use std::collections::{BTreeMap, HashSet, VecDeque};

/// Most messages that wait for an earlier one. Beyond, the lowest numbers are thrown away, so that the hole never closes.
pub const MAX_WAITING: usize = 1_000;

/// Ids of shown messages by which a repeat is recognised.
pub const MAX_KNOWN_IDS: usize = 5_000;

/// The messages of one visit to one room.
#[derive(Debug, Default)]
pub struct MessageBuffer {
    waiting: BTreeMap<u64, Value>,
    last_shown: u64,
    known_ids: HashSet<String>,
    /// The same ids, oldest first.
    known_order: VecDeque<String>,
}

/// What one message led to.
#[derive(Debug, Default, PartialEq)]
pub struct Taken {
    /// Messages that are shown now, in this order.
    pub shown: Vec<Value>,
    /// The message was taken for a repeat of another one, or for no message at all.
    pub dropped: bool,
    /// Messages that were waiting and never will be shown.
    pub thrown_away: Vec<Value>,
    /// Something waits for an earlier message: a line warns that the order may be wrong.
    pub warned: bool,
}

impl MessageBuffer {
    /// Takes the data of one `new_message`.
    pub fn take(&mut self, message: Value) -> Taken {
        let Some(number) = self.acceptable(&message) else {
            return Taken {
                dropped: true,
                ..Taken::default()
            };
        };
        let mut taken = Taken::default();
        self.waiting.insert(number, message);
        while self.waiting.len() > MAX_WAITING {
            taken.thrown_away.extend(self.waiting.pop_first().map(|(_, lost)| lost));
        }
        while let Some(next) = self.waiting.remove(&(self.last_shown + 1)) {
            self.last_shown += 1;
            self.remember(&next);
            taken.shown.push(next);
        }
        taken.warned = !self.waiting.is_empty();
        taken
    }

    /// The number of a message that is neither known nor too late.
    fn acceptable(&self, message: &Value) -> Option<u64> {
        let number = message["sequence_number"].as_u64().filter(|n| *n > self.last_shown)?;
        let id = &message["message_id"];
        let known = id.as_str().is_some_and(|id| self.known_ids.contains(id));
        let waits = !id.is_null() && self.waiting.values().any(|other| other["message_id"] == *id);
        (!known && !waits && !self.waiting.contains_key(&number)).then_some(number)
    }

    fn remember(&mut self, shown: &Value) {
        let Some(id) = shown["message_id"].as_str() else {
            return;
        };
        self.known_ids.insert(id.to_owned());
        self.known_order.push_back(id.to_owned());
        if self.known_order.len() > MAX_KNOWN_IDS
            && let Some(oldest) = self.known_order.pop_front()
        {
            self.known_ids.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn message(number: u64) -> Value {
        json!({"message_id": format!("m{number}"), "sequence_number": number})
    }

    /// Numbers that were shown for each of `numbers`, and whether it was dropped or warned of.
    fn outcomes(buffer: &mut MessageBuffer, numbers: &[u64]) -> Vec<(Vec<u64>, bool, bool)> {
        let outcome = |taken: Taken| {
            assert_eq!(taken.thrown_away, Vec::<Value>::new());
            let numbers = taken.shown.iter().filter_map(|m| m["sequence_number"].as_u64());
            (numbers.collect(), taken.dropped, taken.warned)
        };
        numbers.iter().map(|n| outcome(buffer.take(message(*n)))).collect()
    }

    #[test]
    fn what_comes_in_any_order_and_twice_is_shown_in_order_and_once() {
        let mut buffer = MessageBuffer::default();
        assert_eq!(
            outcomes(&mut buffer, &[1, 3, 3, 2, 2, 5]),
            [
                (vec![1], false, false),
                (vec![], false, true),
                (vec![], true, false),
                (vec![2, 3], false, false),
                (vec![], true, false),
                (vec![], false, true),
            ]
        );
    }

    #[test]
    fn a_room_that_does_not_begin_at_one_stays_silent() {
        let mut buffer = MessageBuffer::default();
        for number in 6..=6 + MAX_WAITING as u64 - 1 {
            assert_eq!(
                outcomes(&mut buffer, &[number]),
                [(vec![], false, true)],
                "{number} waits"
            );
        }
        let taken = buffer.take(message(6 + MAX_WAITING as u64));
        assert_eq!(taken.thrown_away, [message(6)], "the lowest number goes");
        assert_eq!(taken.shown, Vec::<Value>::new());
    }

    #[test]
    fn what_is_no_message_or_has_the_id_or_the_number_of_another_is_dropped() {
        let mut buffer = MessageBuffer::default();
        outcomes(&mut buffer, &[1, 3]);
        for odd in [
            json!({}),
            json!(null),
            json!({"sequence_number": "2"}),
            json!({"sequence_number": 2.0}),
            json!({"sequence_number": 0}),
            json!({"sequence_number": -2}),
            json!({"sequence_number": 2, "message_id": "m1"}),
            json!({"sequence_number": 2, "message_id": "m3"}),
            json!({"sequence_number": 3, "message_id": "another"}),
        ] {
            assert!(buffer.take(odd.clone()).dropped, "{odd}");
        }
        let nameless = json!({"sequence_number": 2});
        assert_eq!(buffer.take(nameless.clone()).shown, [nameless, message(3)]);
    }

    #[test]
    fn an_id_is_forgotten_after_five_thousand_others() {
        let mut buffer = MessageBuffer::default();
        let known = MAX_KNOWN_IDS as u64;
        outcomes(&mut buffer, &(1..=known).collect::<Vec<_>>());
        let first_again = json!({"message_id": "m1", "sequence_number": known + 2});
        assert!(buffer.take(first_again.clone()).dropped);
        outcomes(&mut buffer, &[known + 1]);
        assert_eq!(buffer.take(first_again.clone()).shown, [first_again]);
    }
}
