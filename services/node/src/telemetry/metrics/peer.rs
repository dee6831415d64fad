//! Metrics that exist once per peer.

use super::Declare;
use chat_protocol::ids::NodeId;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

/// The families that have a peer as a label. Peers are bounded in number, and have no series once they are forgotten.
#[derive(Debug, Clone)]
pub(super) struct Families {
    health: IntGaugeVec,
    unbelieved: IntGaugeVec,
    heartbeats: IntCounterVec,
    link_queue_bytes: IntGaugeVec,
    original_queue_bytes: IntGaugeVec,
    original_given_up: IntCounterVec,
    calls: IntCounterVec,
}

impl Families {
    pub(super) fn declare(declare: &Declare<'_>) -> Self {
        Self {
            health: declare.gauges(
                "chat_peer_health",
                "Health of a peer: 0 failed, 1 degraded, 2 healthy.",
                &["peer"],
            ),
            unbelieved: declare.gauges(
                "chat_peer_unbelieved",
                "1 while a peer refuses what this node signs, or its answers are not signed as they must be.",
                &["peer"],
            ),
            heartbeats: declare.counters(
                "chat_heartbeats_total",
                "Heartbeats sent to a peer, by result.",
                &["peer", "result"],
            ),
            link_queue_bytes: declare.gauges("chat_link_queue_bytes", "Bytes that wait for a peer.", &["peer"]),
            original_queue_bytes: declare.gauges(
                "chat_original_queue_bytes",
                "Bytes that wait for a peer of the original system.",
                &["peer"],
            ),
            original_given_up: declare.counters(
                "chat_original_given_up_total",
                "Messages and events that a peer of the original system was not told.",
                &["peer"],
            ),
            calls: declare.counters(
                "chat_peer_calls_total",
                "Calls to a peer, by method and result.",
                &["peer", "method", "result"],
            ),
        }
    }

    /// Removes every series of a peer. A handle that is still held counts where nobody looks.
    pub(super) fn forget(&self, id: &NodeId) {
        // A series that is not there need not be removed.
        let peer = id.as_str();
        drop(self.health.remove_label_values(&[peer]));
        drop(self.unbelieved.remove_label_values(&[peer]));
        drop(self.link_queue_bytes.remove_label_values(&[peer]));
        drop(self.original_queue_bytes.remove_label_values(&[peer]));
        drop(self.original_given_up.remove_label_values(&[peer]));
        for result in ["ok", "failed"] {
            drop(self.heartbeats.remove_label_values(&[peer, result]));
        }
        for method in chat_protocol::peer_call::method::ALL
            .into_iter()
            .chain(chat_protocol::original_call::method::ALL)
        {
            for result in ["ok", "fault", "timeout", "error", "unbelieved"] {
                drop(self.calls.remove_label_values(&[peer, method, result]));
            }
        }
    }

    pub(super) fn of(&self, id: &NodeId) -> PeerMetrics {
        let peer = id.as_str();
        PeerMetrics {
            health: self.health.with_label_values(&[peer]),
            unbelieved: self.unbelieved.with_label_values(&[peer]),
            heartbeats_ok: self.heartbeats.with_label_values(&[peer, "ok"]),
            heartbeats_failed: self.heartbeats.with_label_values(&[peer, "failed"]),
            link_queue_bytes: self.link_queue_bytes.with_label_values(&[peer]),
            original_queue_bytes: self.original_queue_bytes.with_label_values(&[peer]),
            original_given_up: self.original_given_up.with_label_values(&[peer]),
            calls: self.calls.clone(),
            id: id.clone(),
        }
    }
}

/// The handles for one peer.
#[derive(Debug, Clone)]
pub struct PeerMetrics {
    id: NodeId,
    /// 0 failed, 1 degraded, 2 healthy.
    pub health: IntGauge,
    /// 1 while it and this node do not believe each other.
    pub unbelieved: IntGauge,
    /// Heartbeats that were answered.
    pub heartbeats_ok: IntCounter,
    /// Heartbeats that were not.
    pub heartbeats_failed: IntCounter,
    /// Bytes that wait for the peer.
    pub link_queue_bytes: IntGauge,
    /// Bytes that wait for the peer as a node of the original.
    pub original_queue_bytes: IntGauge,
    /// What it was not told as such.
    pub original_given_up: IntCounter,
    calls: IntCounterVec,
}

impl PeerMetrics {
    /// The handles for calls of one method. To be asked for once per method and kept.
    #[must_use]
    pub fn calls(&self, method: &'static str) -> CallMetrics {
        let counter = |result| self.calls.with_label_values(&[self.id.as_str(), method, result]);
        CallMetrics {
            ok: counter("ok"),
            fault: counter("fault"),
            timeout: counter("timeout"),
            error: counter("error"),
            unbelieved: counter("unbelieved"),
        }
    }
}

/// Calls of one method to one peer, by result.
#[derive(Debug, Clone)]
pub struct CallMetrics {
    /// Answered.
    pub ok: IntCounter,
    /// Answered with a fault.
    pub fault: IntCounter,
    /// Not answered in time.
    pub timeout: IntCounter,
    /// Not answered: no connection, or nonsense on it.
    pub error: IntCounter,
    /// Refused for its signature, or answered without one.
    pub unbelieved: IntCounter,
}
