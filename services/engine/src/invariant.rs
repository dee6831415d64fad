//! What must hold after every step of every machine. On in debug builds, so every test checks it all the time.
//!
//! * Whoever listens is a member; whoever is a member has a seat; a seat belongs to one member and one node.
//! * Only what is committed is delivered, and what is committed is delivered, in one order, without a hole.
//! * A batch in flight has no hole and as many origins as items.
//! * A follower delivers contiguous numbers only; nobody waits for a number that was delivered.

/// Runs `check` in debug builds.
#[inline]
pub(crate) fn after_step(check: impl FnOnce()) {
    if cfg!(debug_assertions) {
        check();
    }
}
