//! What becomes of a node's messages to itself and to its peers.

use super::{Declare, FAST};
use chat_protocol::ids::NodeId;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};

/// The families, which have the node that was sent to as a label: a peer, or the node itself.
#[derive(Debug, Clone)]
pub struct CanaryMetrics {
    seconds: HistogramVec,
    messages: IntCounterVec,
    missed: IntCounterVec,
}

/// The handles for one node.
#[derive(Debug, Clone)]
pub struct CanaryOf {
    seconds: Histogram,
    ok: IntCounter,
    late: IntCounter,
    error: IntCounter,
    missed: IntCounter,
}

impl CanaryMetrics {
    pub(super) fn declare(declare: &Declare<'_>) -> Self {
        Self {
            seconds: declare.histograms(
                "chat_canary_seconds",
                "From a message of this node to a hidden room of the named node until it came back to this one.",
                &FAST,
                &["to"],
            ),
            messages: declare.counters(
                "chat_canary_messages_total",
                "Messages of this node to a hidden room of the named node: ok, late if they did not come back in time, error if they were refused or their connection broke.",
                &["to", "result"],
            ),
            missed: declare.counters(
                "chat_canary_missed_total",
                "Numbers that were missing between two messages of a hidden room of the named node.",
                &["to"],
            ),
        }
    }

    /// The handles for a node. To be asked for once and kept.
    #[must_use]
    pub fn of(&self, node: &NodeId) -> CanaryOf {
        let to = node.as_str();
        let messages = |result| self.messages.with_label_values(&[to, result]);
        CanaryOf {
            seconds: self.seconds.with_label_values(&[to]),
            ok: messages("ok"),
            late: messages("late"),
            error: messages("error"),
            missed: self.missed.with_label_values(&[to]),
        }
    }

    /// Removes every series of a node.
    pub fn forget(&self, node: &NodeId) {
        // A series that is not there need not be removed.
        let to = node.as_str();
        drop(self.seconds.remove_label_values(&[to]));
        drop(self.missed.remove_label_values(&[to]));
        for result in ["ok", "late", "error"] {
            drop(self.messages.remove_label_values(&[to, result]));
        }
    }
}

impl CanaryOf {
    /// A message came back after so many seconds.
    pub fn came_back(&self, seconds: f64) {
        self.ok.inc();
        self.seconds.observe(seconds);
    }

    /// A message did not come back.
    pub fn failed(&self, late: bool) {
        let counter = if late { &self.late } else { &self.error };
        counter.inc();
    }

    /// So many numbers are missing.
    pub fn missed(&self, count: u64) {
        if count > 0 {
            self.missed.inc_by(count);
        }
    }
}
