//! What becomes of spans.

use super::Declare;
use prometheus::IntCounter;

/// Spans that ended here, by what became of them.
#[derive(Debug, Clone)]
pub struct TraceMetrics {
    /// A collector has them.
    pub exported: IntCounter,
    /// A collector did not take them, or was not there.
    pub failed: IntCounter,
    /// Too many waited.
    pub dropped: IntCounter,
}

impl TraceMetrics {
    pub(super) fn declare(declare: &Declare<'_>) -> Self {
        let spans = declare.counters(
            "chat_spans_total",
            "Spans of traces that ended here: exported, failed because no collector took them, or dropped because too many waited.",
            &["outcome"],
        );
        let of = |outcome: &str| spans.with_label_values(&[outcome]);
        Self {
            exported: of("exported"),
            failed: of("failed"),
            dropped: of("dropped"),
        }
    }
}
