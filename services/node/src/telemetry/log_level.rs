//! How much is logged, as it can be changed while the process runs. There is one log per process, however many nodes are in it.

use std::sync::OnceLock;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{Registry, reload};

/// Changes the level of a log.
pub(super) type Level = reload::Handle<LevelFilter, Registry>;

static LEVEL: OnceLock<Level> = OnceLock::new();

/// Why the level is not known or not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LevelError {
    /// There is no such level.
    NoLevel,
    /// The process has no log of ours.
    NoLog,
}

/// The log of this process, of which there is one.
pub(super) fn hold(level: Level) {
    drop(LEVEL.set(level));
}

/// What is logged now.
///
/// # Errors
/// The process has no log of ours.
pub fn log_level() -> Result<LevelFilter, LevelError> {
    let level = LEVEL.get().and_then(Level::clone_current);
    level.ok_or(LevelError::NoLog)
}

/// Logs so much from now on.
///
/// # Errors
/// [`LevelError`].
pub fn set_log_level(text: &str) -> Result<LevelFilter, LevelError> {
    let level = parse(text).ok_or(LevelError::NoLevel)?;
    let log = LEVEL.get().ok_or(LevelError::NoLog)?;
    let before = log_level()?;
    let say = || tracing::warn!(%before, now = %level, "the log level is changed");
    // Whichever log shows it.
    if level < LevelFilter::WARN {
        say();
    }
    log.reload(level).map_err(|_| LevelError::NoLog)?;
    if level >= LevelFilter::WARN {
        say();
    }
    Ok(level)
}

/// The words of the setting `LOG_LEVEL`, and nothing else that the library reads.
fn parse(text: &str) -> Option<LevelFilter> {
    let known = matches!(text, "off" | "error" | "warn" | "info" | "debug" | "trace");
    known.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_setting_are_the_levels() {
        assert_eq!(parse("debug"), Some(LevelFilter::DEBUG));
        assert_eq!(parse("off"), Some(LevelFilter::OFF));
        for odd in ["", "DEBUG", "5", "chat_node=debug", "verbose"] {
            assert_eq!(parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn without_a_log_there_is_no_level() {
        assert_eq!(log_level(), Err(LevelError::NoLog));
        assert_eq!(set_log_level("debug"), Err(LevelError::NoLog));
        assert_eq!(set_log_level("loud"), Err(LevelError::NoLevel));
    }
}
