//! What operators see: log lines and metrics.

pub mod metrics;
pub mod sampler;

use crate::config::{LogFormat, Logging};
use std::io::IsTerminal;

/// Sends log lines to standard error, for the whole process. To be called once, by `main`.
///
/// # Errors
/// Logging is already set up.
pub fn init_logging(logging: Logging) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let lines = tracing_subscriber::fmt()
        .with_max_level(logging.level)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match logging.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    }
}
