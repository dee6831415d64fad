//! What the store writes, and how long that takes.

use super::{Declare, FAST};
use prometheus::{Histogram, IntCounter, IntGauge};

/// Commits of the store.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    rooms: IntGauge,
    /// Commits that succeeded.
    pub commits: IntCounter,
    /// Rows that they wrote.
    pub rows: IntCounter,
    /// How many commands one of them executed.
    pub batch: Histogram,
    /// How many bytes of messages one of them wrote.
    pub bytes: Histogram,
    /// How long they took, in seconds.
    pub seconds: Histogram,
    /// Commits that failed.
    pub failures: IntCounter,
}

impl StoreMetrics {
    pub(super) fn declare(declare: &Declare<'_>) -> Self {
        Self {
            rooms: declare.gauge("chat_rooms_owned", "Rooms that this node administers."),
            commits: declare.counter("chat_store_commits_total", "Commits of the store that succeeded."),
            rows: declare.counter("chat_store_rows_total", "Rows written by commits of the store."),
            batch: declare.histogram(
                "chat_store_batch_commands",
                "How many commands a commit of the store executed.",
                &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0],
            ),
            bytes: declare.histogram(
                "chat_store_batch_bytes",
                "How many bytes of messages a commit of the store wrote; what the store adds to them is not counted.",
                &[
                    64.0,
                    256.0,
                    1_024.0,
                    4_096.0,
                    16_384.0,
                    65_536.0,
                    262_144.0,
                    1_048_576.0,
                ],
            ),
            seconds: declare.histogram(
                "chat_store_commit_seconds",
                "How long a commit of the store took.",
                &FAST,
            ),
            failures: declare.counter("chat_store_failures_total", "Commits of the store that failed."),
        }
    }
    /// The node has so many rooms.
    pub fn count_rooms(&self, rooms: usize) {
        self.rooms.set(i64::try_from(rooms).unwrap_or(i64::MAX));
    }
}
