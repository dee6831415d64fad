//! Which texts were there already, in little memory if they end in counters that go up.

use std::collections::{BTreeMap, HashMap, HashSet};

/// A set of texts. Those that differ only in the number behind their last space are kept as runs of numbers.
#[derive(Debug, Default)]
pub(super) struct Contents {
    plain: HashSet<String>,
    /// By what stands before the number: the first number of each run, and its last.
    counted: HashMap<String, BTreeMap<u64, u64>>,
}

impl Contents {
    /// Adds a text. False if it was there.
    pub(super) fn insert(&mut self, text: &str) -> bool {
        let Some((stem, number)) = counted(text) else {
            return self.plain.insert(text.to_owned());
        };
        let runs = match self.counted.get_mut(stem) {
            Some(runs) => runs,
            None => self.counted.entry(stem.to_owned()).or_default(),
        };
        let before = runs.range(..=number).next_back().map(|(first, last)| (*first, *last));
        let first = match before {
            Some((_, last)) if last >= number => return false,
            Some((first, last)) if last + 1 == number => first,
            _ => number,
        };
        let last = number.checked_add(1).and_then(|next| runs.remove(&next));
        runs.insert(first, last.unwrap_or(number));
        true
    }

    /// How many runs and plain texts are kept.
    #[cfg(test)]
    fn size(&self) -> usize {
        self.plain.len() + self.counted.values().map(BTreeMap::len).sum::<usize>()
    }
}

/// What stands before the number, and the number. Only numbers as they are printed: `07` is a text of its own.
fn counted(text: &str) -> Option<(&str, u64)> {
    let (stem, digits) = text.rsplit_once(' ')?;
    let number: u64 = digits.parse().ok()?;
    (number.to_string() == digits).then_some((stem, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_new_once() {
        let mut contents = Contents::default();
        for text in [
            "a",
            "a 0",
            "a 1",
            "a 01",
            "a b",
            "",
            "b 7",
            "a 18446744073709551615",
            "a 5",
        ] {
            assert!(contents.insert(text), "{text}");
        }
        for text in [
            "a",
            "a 0",
            "a 1",
            "a 01",
            "a b",
            "",
            "b 7",
            "a 18446744073709551615",
            "a 5",
        ] {
            assert!(!contents.insert(text), "{text} again");
        }
        for number in [3, 2, 4] {
            assert!(contents.insert(&format!("a {number}")));
            assert!(!contents.insert(&format!("a {number}")), "{number} again");
        }
    }

    #[test]
    fn counters_that_go_up_cost_nothing() {
        let mut contents = Contents::default();
        // In pairs that change places, as messages of several connections may.
        for number in 0_u64..10_000 {
            assert!(contents.insert(&format!("ines 0 {}", number ^ 1)));
        }
        assert_eq!(contents.size(), 1);
    }
}
