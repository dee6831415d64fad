//! Metrics of how other nodes are found.

use super::Declare;
use crate::discovery::{Place, Reason};
use chat_engine::membership::Health;
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec};

/// How discovery is doing. None of it says anything about whether this node is live or ready.
#[derive(Debug, Clone)]
pub struct DiscoveryMetrics {
    source: IntGaugeVec,
    configured: IntGaugeVec,
    errors: IntCounterVec,
    peers: IntGaugeVec,
    /// When there was last a complete list, in seconds since 1970; 0 if never.
    pub last_sync: IntGauge,
}

const fn state(health: Health) -> &'static str {
    match health {
        Health::Failed => "failed",
        Health::Degraded => "degraded",
        Health::Healthy => "healthy",
    }
}

fn choose(gauges: &IntGaugeVec, place: Place) {
    for other in Place::ALL {
        let gauge = gauges.with_label_values(&[other.label()]);
        gauge.set(i64::from(other == place));
    }
}

impl DiscoveryMetrics {
    pub(super) fn declare(declare: &Declare<'_>) -> Self {
        let this = Self {
            source: declare.gauges(
                "chat_discovery_source",
                "1 for the source that peers are taken from now, 0 for the others.",
                &["source"],
            ),
            configured: declare.gauges(
                "chat_discovery_configured",
                "1 for the source that peers should be taken from, 0 for the others.",
                &["source"],
            ),
            errors: declare.counters(
                "chat_discovery_errors_total",
                "How often a source had no list of peers, by reason.",
                &["source", "reason"],
            ),
            peers: declare.gauges("chat_peers", "Peers that are watched, by health.", &["state"]),
            last_sync: declare.gauge(
                "chat_discovery_last_sync_timestamp_seconds",
                "When the configured source last had a complete list of peers; 0 if never.",
            ),
        };
        this.configure(Place::Fixed);
        this.set_peers(&[]);
        for place in [Place::Dns, Place::Kubernetes] {
            for reason in Reason::ALL {
                drop(this.errors.with_label_values(&[place.label(), reason.label()]));
            }
        }
        this
    }

    /// Peers are to be taken from this source, and are.
    pub fn configure(&self, place: Place) {
        choose(&self.configured, place);
        choose(&self.source, place);
    }

    /// Peers are taken from this source from now on.
    pub fn set_source(&self, place: Place) {
        choose(&self.source, place);
    }

    /// A source has no list.
    pub fn error(&self, place: Place, reason: Reason) {
        self.errors.with_label_values(&[place.label(), reason.label()]).inc();
    }

    /// How all peers are.
    pub fn set_peers(&self, healths: &[Health]) {
        for health in [Health::Failed, Health::Degraded, Health::Healthy] {
            let count = healths.iter().filter(|other| **other == health).count();
            let gauge = self.peers.with_label_values(&[state(health)]);
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}
