//! Metrics of the key between nodes.

use super::Declare;
use chat_protocol::peer_auth::Refusal;
use prometheus::{IntCounter, IntGauge};

/// How calls of other nodes are judged.
#[derive(Debug, Clone)]
pub struct PeerAuthMetrics {
    refused: [IntCounter; Refusal::ALL.len()],
    /// Keys in use; 0 means that everybody is believed.
    pub keys: IntGauge,
    /// Changes of the key file that were taken.
    pub reloads_ok: IntCounter,
    /// Changes that were not.
    pub reloads_failed: IntCounter,
}

impl PeerAuthMetrics {
    pub(super) fn declare(declare: &Declare<'_>) -> Self {
        let refused = declare.counters(
            "chat_peer_calls_refused_total",
            "Calls of others that were not believed, by reason.",
            &["reason"],
        );
        let reloads = declare.counters(
            "chat_peer_key_reloads_total",
            "Changes of the key file, by result.",
            &["result"],
        );
        Self {
            refused: Refusal::ALL.map(|refusal| refused.with_label_values(&[refusal.label()])),
            keys: declare.gauge(
                "chat_peer_keys",
                "Keys in use between nodes; 0 means that calls are not signed.",
            ),
            reloads_ok: reloads.with_label_values(&["ok"]),
            reloads_failed: reloads.with_label_values(&["failed"]),
        }
    }

    /// Counts a call that was not believed.
    pub fn refused(&self, refusal: Refusal) {
        let index = Refusal::ALL.iter().position(|other| *other == refusal);
        self.refused[index.unwrap_or_default()].inc();
    }
}
