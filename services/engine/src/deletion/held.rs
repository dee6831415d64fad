//! Requests that wait for the end of a deletion: in order, bounded in number, bytes and time.

use crate::time::Millis;
use std::collections::VecDeque;

/// What waits.
#[derive(Debug)]
pub struct Held<T> {
    queue: VecDeque<Waiting<T>>,
    bytes: usize,
    max: usize,
    max_bytes: usize,
}

#[derive(Debug)]
struct Waiting<T> {
    since: Millis,
    bytes: usize,
    request: T,
}

impl<T> Held<T> {
    /// Nothing waits; at most `max` requests of `max_bytes` will.
    #[must_use]
    pub const fn new(max: usize, max_bytes: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            bytes: 0,
            max,
            max_bytes,
        }
    }

    /// Takes a request of `bytes` of content.
    ///
    /// # Errors
    /// The request, if too much waits already.
    pub fn push(&mut self, now: Millis, bytes: usize, request: T) -> Result<(), T> {
        if self.queue.len() >= self.max || (self.bytes + bytes > self.max_bytes && !self.queue.is_empty()) {
            return Err(request);
        }
        self.bytes += bytes;
        self.queue.push_back(Waiting {
            since: now,
            bytes,
            request,
        });
        Ok(())
    }

    /// Everything that waits; nothing waits any more.
    pub fn take_all(&mut self) -> Vec<T> {
        self.bytes = 0;
        std::mem::take(&mut self.queue).into_iter().map(|w| w.request).collect()
    }

    /// Everything that has waited for `patience` or longer.
    pub fn take_old(&mut self, now: Millis, patience: u64) -> Vec<T> {
        let old = |w: &Waiting<T>| now.since(w.since) >= patience;
        let mut taken = Vec::new();
        while self.queue.front().is_some_and(old)
            && let Some(waiting) = self.queue.pop_front()
        {
            self.bytes -= waiting.bytes;
            taken.push(waiting.request);
        }
        taken
    }

    /// Everything that `which` picks.
    pub fn take(&mut self, which: impl Fn(&T) -> bool) -> Vec<T> {
        let (taken, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.queue)
            .into_iter()
            .partition(|w| which(&w.request));
        self.queue = rest.into();
        self.bytes -= taken.iter().map(|w| w.bytes).sum::<usize>();
        taken.into_iter().map(|w| w.request).collect()
    }

    /// Since when the first one waits.
    #[must_use]
    pub fn oldest(&self) -> Option<Millis> {
        self.queue.front().map(|w| w.since)
    }

    /// True if nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_much_is_given_back_and_what_waits_keeps_its_order() {
        let mut held = Held::new(3, 10);
        assert_eq!(held.push(Millis(1), 100, "large"), Ok(()), "the first one always fits");
        assert_eq!(held.push(Millis(2), 1, "small"), Err("small"));
        assert_eq!(held.take_all(), ["large"]);
        for (at, name) in [(1, "a"), (2, "b"), (3, "c")] {
            assert_eq!(held.push(Millis(at), 1, name), Ok(()));
        }
        assert_eq!(held.push(Millis(4), 0, "d"), Err("d"));
        assert_eq!(held.take(|name| *name == "b"), ["b"]);
        assert_eq!(held.push(Millis(4), 8, "d"), Ok(()), "bytes of what is gone are free");
        assert_eq!(held.oldest(), Some(Millis(1)));
        assert_eq!(held.take_old(Millis(12), 10), ["a"]);
        assert_eq!(held.take_old(Millis(13), 10), ["c"]);
        assert_eq!(held.take_all(), ["d"]);
        assert!(held.is_empty());
    }
}
