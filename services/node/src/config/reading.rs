//! From text to values, noting mistakes instead of stopping at the first.

use super::raw::{Fallback, Kind, Setting, Written};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::time::Duration;

/// A pass over what was written. A reader that finds a mistake notes it and goes on with the default.
pub(super) struct Reading<'a> {
    written: &'a Written,
    mistakes: Vec<String>,
    /// Settings with a mistake: what relates to them is not judged.
    bad: BTreeSet<&'static str>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(written: &'a Written) -> Self {
        Self {
            written,
            mistakes: written.mistakes().to_vec(),
            bad: BTreeSet::new(),
        }
    }

    /// Everything that was wrong.
    pub(super) fn into_mistakes(self) -> Vec<String> {
        self.mistakes
    }

    /// What was given, if anything was.
    pub(super) fn given(&self, setting: &Setting) -> Option<&'a str> {
        self.written.value(setting)
    }

    /// What was given, else the default of the table (empty if that is derived).
    pub(super) fn text(&self, setting: &Setting) -> &'a str {
        self.given(setting).unwrap_or(match setting.default {
            Fallback::Text(text) => text,
            Fallback::Derived(_) => "",
        })
    }

    /// A whole number within the bounds of the table.
    pub(super) fn number(&mut self, setting: &'static Setting) -> u64 {
        let (min, max, unit) = match setting.kind {
            Kind::Number(min, max, unit) => (min, max, unit),
            Kind::Text | Kind::Choice(_) => (0, u64::MAX, "any unit"),
        };
        let text = self.text(setting);
        match text.trim().parse() {
            Ok(number) if (min..=max).contains(&number) => number,
            _ => {
                self.mistake(
                    setting,
                    format_args!("{text:?} is not a whole number from {min} to {max} ({unit})"),
                );
                match setting.default {
                    Fallback::Text(text) => text.parse().unwrap_or(min),
                    Fallback::Derived(_) => min,
                }
            }
        }
    }

    /// A number of bytes, frames or the like.
    pub(super) fn count(&mut self, setting: &'static Setting) -> usize {
        usize::try_from(self.number(setting)).unwrap_or(usize::MAX)
    }

    /// So many a second.
    pub(super) fn rate(&mut self, setting: &'static Setting) -> u32 {
        // The table bounds it.
        u32::try_from(self.number(setting)).unwrap_or(u32::MAX)
    }

    /// A port.
    pub(super) fn port(&mut self, setting: &'static Setting) -> u16 {
        // The table bounds it.
        u16::try_from(self.number(setting)).unwrap_or(u16::MAX)
    }

    /// A wait in milliseconds.
    pub(super) fn millis(&mut self, setting: &'static Setting) -> Duration {
        Duration::from_millis(self.number(setting))
    }

    /// One of the words of the table, in lower case.
    pub(super) fn choice(&mut self, setting: &'static Setting) -> &'static str {
        let words = match setting.kind {
            Kind::Choice(words) => words,
            Kind::Text | Kind::Number(..) => &[],
        };
        let text = self.text(setting);
        let found = words.iter().find(|word| word.eq_ignore_ascii_case(text.trim()));
        found.copied().unwrap_or_else(|| {
            self.mistake(setting, format_args!("{text:?} is none of {}", words.join(", ")));
            words.first().copied().unwrap_or_default()
        })
    }

    /// Notes that the value of `setting` is wrong.
    pub(super) fn mistake(&mut self, setting: &'static Setting, what: impl Display) {
        self.bad.insert(setting.env);
        self.mistakes.push(format!("{}: {what}", self.written.name(setting)));
    }

    /// Notes a broken relation between `settings`, unless one of them is wrong by itself.
    pub(super) fn relation(&mut self, holds: bool, settings: &[&'static Setting], expected: &str) {
        if holds || settings.iter().any(|setting| self.bad.contains(setting.env)) {
            return;
        }
        let given: Vec<String> = settings
            .iter()
            .map(|setting| format!("{}={}", self.written.name(setting), self.text(setting)))
            .collect();
        self.mistakes.push(format!("{}: {expected}", given.join(", ")));
    }
}
