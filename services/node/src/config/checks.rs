//! `chat-node health`, `selftest` and `log-level`: the settings of commands that look at running nodes.

use super::raw;
use super::reading::Reading;
use super::settings::read_listen;
use http::Uri;
use std::time::Duration;

/// What `chat-node health` asks, and whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthOptions {
    /// Host name or address of the operations port, as this machine reaches it.
    pub host: String,
    /// The operations port.
    pub port: u16,
    /// What is asked.
    pub probe: Probe,
    /// Longest wait for the answer, the connection included.
    pub patience: Duration,
}

/// A question that a node answers with yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Does it take clients?
    Ready,
    /// Do its event loops move?
    Live,
    /// Has it started?
    Startup,
}

impl Probe {
    /// Its path on the operations port.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Ready => "/ready",
            Self::Live => "/live",
            Self::Startup => "/startup",
        }
    }
}

impl HealthOptions {
    pub(super) fn read(reading: &mut Reading<'_>) -> Self {
        let listen = read_listen(reading, &raw::OPERATIONS_HOST, &raw::OPERATIONS_PORT);
        Self {
            host: listen.host_from_here().to_owned(),
            port: listen.port,
            probe: match reading.choice(&raw::PROBE) {
                "live" => Probe::Live,
                "startup" => Probe::Startup,
                _ => Probe::Ready,
            },
            patience: reading.millis(&raw::ANSWER_TIMEOUT_MS),
        }
    }
}

/// What `chat-node log-level` asks for, and whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLevelOptions {
    /// Host name or address of the operations port, as this machine reaches it.
    pub host: String,
    /// The operations port.
    pub port: u16,
    /// The new level; `None` only asks.
    pub level: Option<&'static str>,
}

impl LogLevelOptions {
    pub(super) fn read(reading: &mut Reading<'_>) -> Self {
        let listen = read_listen(reading, &raw::OPERATIONS_HOST, &raw::OPERATIONS_PORT);
        Self {
            host: listen.host_from_here().to_owned(),
            port: listen.port,
            level: Some(reading.choice(&raw::NEW_LEVEL)).filter(|level| *level != "ask"),
        }
    }
}

/// With whom `chat-node selftest` talks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelftestOptions {
    /// At least one `ws` URL, not more than [`MOST_TARGETS`].
    pub targets: Vec<String>,
    /// URLs of metrics that must be readable, not more than [`MOST_TARGETS`]; every one is http and has a host.
    pub metrics: Vec<Uri>,
    /// Longest time for all of it.
    pub patience: Duration,
}

/// Most nodes that one conversation is held on: each of them is a member that hears all others.
pub const MOST_TARGETS: usize = 64;

impl SelftestOptions {
    pub(super) fn read(reading: &mut Reading<'_>) -> Self {
        let listen = read_listen(reading, &raw::WEBSOCKET_HOST, &raw::WEBSOCKET_PORT);
        let mut targets = Vec::new();
        for (text, url) in urls(reading, &raw::TARGETS, "ws") {
            if url.is_some() {
                targets.push(text);
            }
        }
        if reading.given(&raw::TARGETS).is_none() {
            let host = listen.host_from_here();
            let host = if host.contains(':') {
                format!("[{host}]")
            } else {
                host.to_owned()
            };
            targets.push(format!("ws://{host}:{}", listen.port));
        } else if reading.text(&raw::TARGETS).trim().is_empty() {
            reading.mistake(&raw::TARGETS, "is empty (expected ws://host:port)");
        }
        let metrics = urls(reading, &raw::METRICS, "http");
        Self {
            targets,
            metrics: metrics.into_iter().filter_map(|(_, url)| url).collect(),
            patience: reading.millis(&raw::PATIENCE_MS),
        }
    }
}

/// The entries of a list, with what they mean if they are URLs of `scheme`; the others are noted as mistakes.
fn urls(reading: &mut Reading<'_>, setting: &'static raw::Setting, scheme: &str) -> Vec<(String, Option<Uri>)> {
    let entries: Vec<&str> = reading
        .text(setting)
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .collect();
    if entries.len() > MOST_TARGETS {
        reading.mistake(setting, format_args!("has more than {MOST_TARGETS} entries"));
    }
    entries
        .into_iter()
        .take(MOST_TARGETS)
        .map(|entry| {
            let url = entry.parse::<Uri>().ok();
            let url =
                url.filter(|url| url.scheme_str() == Some(scheme) && url.host().is_some_and(|host| !host.is_empty()));
            if url.is_none() {
                reading.mistake(
                    setting,
                    format_args!("{entry:?} is no URL that begins with {scheme}://host"),
                );
            }
            (entry.to_owned(), url)
        })
        .collect()
}
