//! Metrics that exist once per peer.

use super::{Declare, SLOW};
use chat_protocol::ids::NodeId;
use prometheus::{Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

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
    round_trip: GaugeVec,
    missed: IntGaugeVec,
    last_heard: GaugeVec,
    link_lag: GaugeVec,
    /// By method only: with peers there would be a dozen series for each pair.
    call_seconds: HistogramVec,
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
            round_trip: declare.float_gauges(
                "chat_heartbeat_round_trip_seconds",
                "How long the last heartbeat that a peer answered took.",
                &["peer"],
            ),
            missed: declare.gauges(
                "chat_heartbeats_missed",
                "How many heartbeats in a row a peer did not answer, up to now.",
                &["peer"],
            ),
            last_heard: declare.float_gauges(
                "chat_heartbeat_last_success_timestamp_seconds",
                "When a peer last answered a heartbeat; 0 if never.",
                &["peer"],
            ),
            link_lag: declare.float_gauges(
                "chat_link_lag_seconds",
                "How long what waits for a peer has waited without any of it being taken.",
                &["peer"],
            ),
            call_seconds: declare.histograms(
                "chat_peer_call_seconds",
                "How long calls to peers took, by method; those without an answer as long as they were waited for.",
                &SLOW,
                &["method"],
            ),
        }
    }

    /// Removes every series of a peer. A handle that is still held counts where nobody looks.
    pub(super) fn forget(&self, id: &NodeId) {
        // A series that is not there need not be removed.
        let peer = id.as_str();
        drop(self.health.remove_label_values(&[peer]));
        drop(self.unbelieved.remove_label_values(&[peer]));
        drop(self.round_trip.remove_label_values(&[peer]));
        drop(self.missed.remove_label_values(&[peer]));
        drop(self.last_heard.remove_label_values(&[peer]));
        drop(self.link_lag.remove_label_values(&[peer]));
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
            round_trip: self.round_trip.with_label_values(&[peer]),
            missed: self.missed.with_label_values(&[peer]),
            last_heard: self.last_heard.with_label_values(&[peer]),
            link_lag: self.link_lag.with_label_values(&[peer]),
            call_seconds: self.call_seconds.clone(),
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
    /// How long what waits for it has waited, in seconds.
    pub link_lag: Gauge,
    round_trip: Gauge,
    missed: IntGauge,
    last_heard: Gauge,
    calls: IntCounterVec,
    call_seconds: HistogramVec,
}

impl PeerMetrics {
    /// A heartbeat was answered after so many seconds, at a time in seconds since 1970.
    pub fn heard(&self, took: f64, now: f64) {
        self.heartbeats_ok.inc();
        self.round_trip.set(took);
        self.last_heard.set(now);
        self.missed.set(0);
    }

    /// A heartbeat was not answered.
    pub fn missed(&self) {
        self.heartbeats_failed.inc();
        self.missed.inc();
    }

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
            seconds: self.call_seconds.with_label_values(&[method]),
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
    /// How long they took, in seconds.
    pub seconds: Histogram,
}
