//! What operators see: log lines, metrics and traces.

mod log_level;
pub mod metrics;
pub mod sampler;
pub mod traces;

pub use log_level::{LevelError, log_level, set_log_level};

use crate::config::{LogFormat, Logging};
use log_level::Level;
use std::io::IsTerminal;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

/// Sends log lines to standard error, for the whole process. To be called once, by `main`.
///
/// # Errors
/// Logging is already set up.
pub fn init_logging(logging: Logging) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (log, level) = lines(logging, std::io::stderr);
    log.try_init()?;
    log_level::hold(level);
    Ok(())
}

/// A log whose level can be changed.
fn lines<W>(logging: Logging, writer: W) -> (impl tracing::Subscriber + Send + Sync, Level)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_writer(writer);
    let layer = match logging.format {
        LogFormat::Text => layer.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
    };
    let (level, handle) = reload::Layer::new(logging.level);
    (Registry::default().with(level).with(layer), handle)
}
