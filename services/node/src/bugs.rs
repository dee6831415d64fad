//! Deliberate bugs, for the proof that the kill test finds them, and deliberate pauses.
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

/// Begins `work`; in a build with the feature `pause-points` only after as many milliseconds as the environment variable
/// `CHAT_PAUSE` names for this point (`<point>=<milliseconds>`), which holds a moment open that is over at once otherwise. For
/// tests of what happens in it, see `prepared` in `docs/kubernetes.md`.
// A switch of tests, not a setting.
#[allow(clippy::disallowed_methods)]
#[cfg(feature = "pause-points")]
pub async fn held<F: Future>(point: &str, work: impl FnOnce() -> F) -> F::Output {
    static PAUSE: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| std::env::var("CHAT_PAUSE").unwrap_or_default());
    let pause = PAUSE.split_once('=').filter(|(at, _)| *at == point);
    if let Some(ms) = pause.and_then(|(_, ms)| ms.parse().ok()) {
        tracing::warn!(point, ms, "paused, as a test wants it");
        tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
    }
    work().await
}

/// Begins `work`, at once.
#[cfg(not(feature = "pause-points"))]
pub fn held<F: Future>(_point: &str, work: impl FnOnce() -> F) -> F {
    work()
}
