//! Deletions of rooms that this node administers: how many, and how they ended.

use super::{Declare, SLOW};
use chat_engine::deletion::AbortReason;
use chat_engine::effect::DeletionEnd;
use prometheus::{Histogram, IntCounter, IntGauge};

/// Deletions, by what became of them. All labels are fixed.
#[derive(Debug, Clone)]
pub struct Deletions {
    /// Attempts that began.
    pub started: IntCounter,
    /// Rooms that were deleted.
    pub committed: IntCounter,
    /// Attempts that were given up because a node did not answer in time.
    pub timed_out: IntCounter,
    /// Because a node voted against.
    pub refused: IntCounter,
    /// Because of the store.
    pub store: IntCounter,
    /// Because the life of the node that began it was over.
    pub recovered: IntCounter,
    /// Because they could not begin.
    pub not_begun: IntCounter,
    /// Ends that a later life of this node found: decided by it, or told again.
    pub resumed: IntCounter,
    /// Calls to delete a room of this node by whoever has no right to.
    pub forged: IntCounter,
    /// Rooms of other nodes whose deletion this node was asked to prepare and has not heard the end of for too long.
    pub in_doubt: IntGauge,
    /// From the request to the decision, in seconds.
    pub seconds: Histogram,
}

impl Deletions {
    pub(super) fn declare(declare: &Declare<'_>) -> Self {
        let aborted = declare.counters(
            "chat_deletions_aborted_total",
            "Attempts to delete a room of this node that were given up, by reason.",
            &["reason"],
        );
        let aborted = |reason| aborted.with_label_values(&[reason]);
        Self {
            started: declare.counter(
                "chat_deletions_started_total",
                "Attempts to delete a room of this node that began.",
            ),
            committed: declare.counter(
                "chat_deletions_committed_total",
                "Rooms of this node that were deleted.",
            ),
            timed_out: aborted("timed_out"),
            refused: aborted("refused"),
            store: aborted("store"),
            recovered: aborted("recovered"),
            not_begun: aborted("not_begun"),
            resumed: declare.counter(
                "chat_deletions_recovered_total",
                "Deletions of an earlier life of this node that a later one ended or told again.",
            ),
            forged: declare.counter(
                "chat_deletions_forged_total",
                "Calls of other nodes to delete a room of this node, all of which are refused.",
            ),
            in_doubt: declare.gauge(
                "chat_deletions_in_doubt",
                "Rooms of other nodes whose deletion was prepared here and of whose end nothing is heard.",
            ),
            seconds: declare.histogram(
                "chat_deletion_seconds",
                "From the request to delete a room to the decision.",
                &SLOW,
            ),
        }
    }

    /// An attempt ended, `took` milliseconds after it was asked for.
    pub fn ended(&self, end: &DeletionEnd, took: u64) {
        let counter = match end {
            DeletionEnd::Committed => &self.committed,
            DeletionEnd::NotBegun => &self.not_begun,
            DeletionEnd::Retold => {
                self.resumed.inc();
                return;
            }
            DeletionEnd::Aborted(AbortReason::TimedOut(_)) => &self.timed_out,
            DeletionEnd::Aborted(AbortReason::Refused(..)) => &self.refused,
            DeletionEnd::Aborted(AbortReason::Store) => &self.store,
            DeletionEnd::Aborted(AbortReason::Recovered) => {
                self.resumed.inc();
                &self.recovered
            }
        };
        counter.inc();
        // Milliseconds of minutes are exact.
        #[allow(clippy::cast_precision_loss)]
        self.seconds.observe(took as f64 / 1_000.0);
    }
}
