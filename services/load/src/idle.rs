//! What a connection costs that does nothing.

use crate::args::IdleArgs;
use crate::limits::local_address;
use crate::{CannotRun, proc_stat};
use chat_client::{ConnectOptions, RawConnection, request};
use futures_util::{StreamExt, TryStreamExt};
use serde::Serialize;
use std::time::Instant;

/// Connections that are opened at the same time.
const AT_ONCE: usize = 64;

/// The result.
#[derive(Debug, Clone, Serialize)]
pub struct IdleReport {
    /// Connections that were open together.
    pub connections: usize,
    /// Time to open them all and to have each answered once.
    pub seconds: f64,
    /// Memory of the servers before, in bytes; 0 without process ids.
    pub rss_before_bytes: u64,
    /// Memory of the servers with all connections open.
    pub rss_after_bytes: u64,
    /// The difference for each connection.
    pub rss_per_connection_bytes: u64,
}

/// Opens the connections, each of which asks for the rooms once, and measures while all are open.
///
/// # Errors
/// If one of them cannot be opened or is not answered.
pub async fn measure(args: &IdleArgs) -> Result<IdleReport, CannotRun> {
    let before = proc_stat::of_all(&args.server_pids)?;
    let start = Instant::now();
    let open: Vec<RawConnection> = futures_util::stream::iter(0..args.connections)
        .map(|index| open(args, index))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let seconds = start.elapsed().as_secs_f64();
    let after = proc_stat::of_all(&args.server_pids)?;
    let grown = after.rss_bytes.saturating_sub(before.rss_bytes);
    Ok(IdleReport {
        connections: open.len(),
        seconds,
        rss_before_bytes: before.rss_bytes,
        rss_after_bytes: after.rss_bytes,
        rss_per_connection_bytes: grown.checked_div(open.len() as u64).unwrap_or_default(),
    })
}

async fn open(args: &IdleArgs, index: usize) -> Result<RawConnection, CannotRun> {
    let options = ConnectOptions {
        local_address: local_address(&args.target, args.connections, index),
        ..ConnectOptions::default()
    };
    let fail = |what: String| CannotRun(format!("connection {index} to {}: {what}", args.target));
    let mut raw = RawConnection::connect(&args.target, &options)
        .await
        .map_err(|e| fail(e.to_string()))?;
    raw.request_text(&request::list_rooms(), options.answer_deadline)
        .await
        .map_err(|e| fail(e.to_string()))?;
    Ok(raw)
}

impl IdleReport {
    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!(
            "connections      {}\nopened in        {:.2} s\nserver memory    {:.1} MiB before, {:.1} MiB after\nper connection   {:.2} KiB",
            self.connections,
            self.seconds,
            self.rss_before_bytes as f64 / 1_048_576.0,
            self.rss_after_bytes as f64 / 1_048_576.0,
            self.rss_per_connection_bytes as f64 / 1_024.0,
        )
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
