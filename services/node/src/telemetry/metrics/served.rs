//! Calls of other nodes that this one served.

use super::{Declare, SLOW};
use chat_protocol::{original_call, peer_call};
use prometheus::{Histogram, IntCounter};
use std::collections::HashMap;
use std::time::Duration;

/// Served calls by method. All labels are fixed: whoever calls chooses no name.
#[derive(Debug, Clone)]
pub struct ServedMetrics {
    methods: HashMap<&'static str, Served>,
    unknown: Served,
}

#[derive(Debug, Clone)]
struct Served {
    ok: IntCounter,
    fault: IntCounter,
    seconds: Histogram,
}

/// The method of calls that name none of ours.
const UNKNOWN: &str = "unknown";

impl ServedMetrics {
    pub(super) fn declare(declare: &Declare<'_>) -> Self {
        let served = declare.counters(
            "chat_peer_calls_served_total",
            "Calls of other nodes that were executed here, by method and result.",
            &["method", "result"],
        );
        let seconds = declare.histograms(
            "chat_peer_calls_served_seconds",
            "How long the execution of calls of other nodes took, by method.",
            &SLOW,
            &["method"],
        );
        let of = |method: &'static str| Served {
            ok: served.with_label_values(&[method, "ok"]),
            fault: served.with_label_values(&[method, "fault"]),
            seconds: seconds.with_label_values(&[method]),
        };
        let all = peer_call::method::ALL.into_iter().chain(original_call::method::ALL);
        Self {
            methods: all.map(|method| (method, of(method))).collect(),
            unknown: of(UNKNOWN),
        }
    }

    /// Counts a call.
    pub fn count(&self, method: &str, ok: bool, took: Duration) {
        let served = self.methods.get(method).unwrap_or(&self.unknown);
        let counter = if ok { &served.ok } else { &served.fault };
        counter.inc();
        served.seconds.observe(took.as_secs_f64());
    }
}
