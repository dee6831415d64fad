//! Deliberate bugs, for the proof that the kill test finds them.
//!
//! A build with `--cfg chat_bugs` has the one that the environment variable `CHAT_BUG` names; every other build has none, and
//! what they would do is compiled away. See `tests/prove-checker.sh`.

/// True if this process is to have the bug `name`.
#[cfg(chat_bugs)]
#[must_use]
pub fn has(name: &str) -> bool {
    static BUG: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| std::env::var("CHAT_BUG").unwrap_or_default());
    *BUG == name
}

/// True if this process is to have the bug `name`: never.
#[cfg(not(chat_bugs))]
#[must_use]
pub const fn has(_name: &str) -> bool {
    false
}
