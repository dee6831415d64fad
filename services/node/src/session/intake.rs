//! What clients have sent and nobody has made sense of yet: unfinished messages and requests that wait, bounded for all
//! clients together.
//!
//! No request that means anything is longer than [`FREE`], so that much is everybody's own. The rest comes from a pool; a
//! connection that wants more than is left in it is closed. What a connection once needed it keeps: the WebSocket library
//! never gives the buffer of a long message back while the connection lives.

use crate::aside::Aside;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// Bytes that each connection may hold without asking. The longest request is a message of 5,000 characters, each of which a
/// client may write as twelve bytes (`\ud83d\ude00`).
pub const FREE: usize = 64 << 10;

/// Bytes around the payload of a control frame of a client: its header and its mask.
const AROUND_CONTROL: usize = 6;

/// What is left for long messages of all clients.
#[derive(Debug)]
pub struct Pool {
    left: AtomicUsize,
    /// Where long messages are made sense of, one at a time.
    aside: Aside,
}

impl Pool {
    /// A pool of so many bytes, whose long messages are made sense of on a thread of their own.
    #[must_use]
    pub fn new(bytes: usize, aside: Aside) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicUsize::new(bytes),
            aside,
        })
    }

    fn take(&self, bytes: usize) -> bool {
        let less = |left: usize| left.checked_sub(bytes);
        self.left
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, less)
            .is_ok()
    }

    fn give(&self, bytes: usize) {
        self.left.fetch_add(bytes, Ordering::AcqRel);
    }
}

/// What one connection holds.
#[derive(Debug)]
pub struct Intake {
    pool: Arc<Pool>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes of the message that is not finished.
    unfinished: usize,
    /// Since when it is not.
    since: Option<Instant>,
    /// Bytes of the longest message so far, which the buffer keeps.
    longest: usize,
    /// Bytes of finished messages that wait.
    waiting: usize,
    /// Bytes that were taken from the pool.
    taken: usize,
}

impl Intake {
    /// A connection that has sent nothing.
    #[must_use]
    pub fn new(pool: Arc<Pool>) -> Self {
        Self {
            pool,
            state: Mutex::default(),
        }
    }

    /// So many bytes came. False if that is more than there is room for.
    #[must_use]
    pub fn received(&self, bytes: usize) -> bool {
        let mut state = self.state();
        state.unfinished += bytes;
        if state.since.is_none() && bytes > 0 {
            state.since = Some(Instant::now());
        }
        state.longest = state.longest.max(state.unfinished);
        self.settle(&mut state)
    }

    /// Where long messages of all connections are made sense of.
    #[must_use]
    pub fn aside(&self) -> &Aside {
        &self.pool.aside
    }

    /// A control frame with such a payload was among what came; it may stand inside of a message.
    pub fn control(&self, payload: usize) {
        let mut state = self.state();
        state.unfinished = state.unfinished.saturating_sub(payload + AROUND_CONTROL);
        if state.unfinished == 0 {
            state.since = None;
        }
    }

    /// A message is finished.
    pub fn finished(&self) {
        let mut state = self.state();
        state.unfinished = 0;
        state.since = None;
    }

    /// Messages of so many bytes wait. False if that is more than there is room for.
    #[must_use]
    pub fn waiting(&self, bytes: usize) -> bool {
        let mut state = self.state();
        state.waiting = bytes;
        self.settle(&mut state)
    }

    /// Since when a message is unfinished.
    #[must_use]
    pub fn unfinished_since(&self) -> Option<Instant> {
        self.state().since
    }

    fn settle(&self, state: &mut State) -> bool {
        let wanted = (state.longest + state.waiting).saturating_sub(FREE);
        if wanted > state.taken {
            if !self.pool.take(wanted - state.taken) {
                return false;
            }
        } else {
            self.pool.give(state.taken - wanted);
        }
        state.taken = wanted;
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Numbers; nothing panics between two that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        let taken = self.state().taken;
        self.pool.give(taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(bytes: usize) -> Arc<Pool> {
        Pool::new(
            bytes,
            Aside::start("long-texts", crate::aside::Priority::Idle).expect("a thread"),
        )
    }

    #[test]
    fn short_messages_take_nothing_from_the_others() {
        let pool = pool(0);
        let intake = Intake::new(Arc::clone(&pool));
        for _ in 0..100 {
            assert!(intake.received(FREE));
            assert!(intake.unfinished_since().is_some());
            intake.finished();
            assert!(intake.unfinished_since().is_none());
        }
        assert!(!intake.received(FREE + 1));
    }

    #[test]
    fn what_one_connection_holds_another_cannot_until_it_ends() {
        let pool = pool(1_000);
        let (first, second) = (Intake::new(Arc::clone(&pool)), Intake::new(Arc::clone(&pool)));
        assert!(first.received(FREE + 700));
        // The buffer of a long message stays.
        first.finished();
        assert!(second.received(FREE + 300));
        assert!(!second.received(1));
        drop(first);
        assert!(second.received(1));
        drop(second);
        assert_eq!(pool.left.load(Ordering::Acquire), 1_000);
    }

    #[test]
    fn requests_that_wait_are_given_back_when_they_are_taken() {
        let pool = pool(1_000);
        let intake = Intake::new(Arc::clone(&pool));
        assert!(intake.waiting(FREE + 1_000));
        assert!(!intake.waiting(FREE + 1_001));
        assert!(intake.waiting(0));
        assert_eq!(pool.left.load(Ordering::Acquire), 1_000);
    }

    #[test]
    fn pings_between_two_messages_are_no_message() {
        let intake = Intake::new(pool(0));
        for _ in 0..10_000 {
            assert!(intake.received(125 + AROUND_CONTROL));
            intake.control(125);
            assert!(intake.unfinished_since().is_none());
        }
        // Inside of a message they do not make it any younger.
        assert!(intake.received(100));
        let since = intake.unfinished_since();
        assert!(intake.received(AROUND_CONTROL));
        intake.control(0);
        assert_eq!(intake.unfinished_since(), since);
    }
}
