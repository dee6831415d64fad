//! Every metric, declared once with its meaning.
//!
//! Each node has a registry of its own, because several nodes may live in one process, and says its name with every
//! series. Handles are resolved when the
//! metrics are made (or once per peer): nothing looks a label up per frame.

mod canary;
mod clients;
mod data;
mod deletion;
mod discovery;
#[cfg(test)]
mod documented;
mod messages;
mod peer;
mod peer_auth;
mod process;
mod refused;
mod served;
mod store;
mod traces;

pub use canary::{CanaryMetrics, CanaryOf};
pub use clients::{ClientMetrics, Closed, Heard};
pub use data::DataMetrics;
pub use deletion::Deletions;
pub use discovery::DiscoveryMetrics;
pub use messages::MessageMetrics;
pub use peer::{CallMetrics, PeerMetrics};
pub use peer_auth::PeerAuthMetrics;
pub use refused::{RefusedConnections, RefusedRequests};
pub use served::ServedMetrics;
pub use store::StoreMetrics;
pub use traces::TraceMetrics;

use crate::http::ops::Stage;
use chat_protocol::ids::NodeId;
use prometheus::core::Collector;
use prometheus::{
    Counter, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};
use std::collections::HashMap;
use tokio::runtime::Handle;

/// Seconds for what takes a millisecond when all is well and ten seconds when it is given up: from 100 µs to 10 s, three bounds per
/// power of ten.
const FAST: [f64; 16] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Seconds for what may wait for others: from 1 ms to 30 s.
const SLOW: [f64; 14] = [
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// The label that every series has: the node's id.
pub const NODE: &str = "node";

/// The metrics of one node. Clones share the same numbers.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// Connections of clients and what comes and goes on them.
    pub clients: ClientMetrics,
    /// The path of messages.
    pub messages: MessageMetrics,
    /// Messages of the node itself.
    pub canary: CanaryMetrics,
    /// What becomes of spans.
    pub traces: TraceMetrics,
    /// Requests of clients that were refused, by code.
    pub requests_refused: RefusedRequests,
    /// Rooms in memory.
    pub rooms_active: IntGauge,
    /// Commits of the store.
    pub store: StoreMetrics,
    /// Deletions of rooms.
    pub deletions: Deletions,
    /// How other nodes are found.
    pub discovery: DiscoveryMetrics,
    /// How calls of other nodes are judged.
    pub peer_auth: PeerAuthMetrics,
    /// Calls of other nodes.
    pub served: ServedMetrics,
    /// The data directory.
    pub data: DataMetrics,
    /// When a node that stops must have ended, in seconds since 1970; 0 before it stops.
    pub stop_deadline: IntGauge,
    /// 1 for the stage that the node is in.
    stages: [IntGauge; Stage::ALL.len()],
    peers: peer::Families,
    runtime: Option<process::Runtime>,
}

impl Metrics {
    /// Declares all metrics of a node in a new registry.
    #[must_use]
    pub fn new(node: &NodeId) -> Self {
        let labels = HashMap::from([(NODE.to_owned(), node.to_string())]);
        let registry = Registry::new_custom(None, Some(labels)).expect("there is no prefix that could be empty");
        let declare = Declare(&registry);
        let stage = declare.gauges(
            "chat_stage",
            "1 for the stage that the node is in, 0 for the others.",
            &["stage"],
        );
        declare
            .gauges(
                "chat_build_info",
                "Always 1; the label tells the version.",
                &["version"],
            )
            .with_label_values(&[crate::VERSION])
            .set(1);
        Self {
            clients: ClientMetrics::declare(&declare),
            messages: MessageMetrics::declare(&declare),
            canary: CanaryMetrics::declare(&declare),
            traces: TraceMetrics::declare(&declare),
            requests_refused: RefusedRequests::declare(&declare),
            rooms_active: declare.gauge("chat_rooms_active", "Rooms in memory."),
            store: StoreMetrics::declare(&declare),
            deletions: Deletions::declare(&declare),
            discovery: DiscoveryMetrics::declare(&declare),
            peer_auth: PeerAuthMetrics::declare(&declare),
            served: ServedMetrics::declare(&declare),
            data: DataMetrics::declare(&declare),
            stop_deadline: declare.gauge(
                "chat_stop_deadline_timestamp_seconds",
                "When a node that stops cuts whoever is left, and ends; 0 as long as nobody asked it to stop.",
            ),
            stages: Stage::ALL.map(|other| stage.with_label_values(&[other.label()])),
            peers: peer::Families::declare(&declare),
            runtime: None,
            registry,
        }
    }

    /// Adds processor time, memory and file descriptors of the process, and its main runtime. To be called once per process,
    /// because several nodes in it would each report the same numbers as theirs.
    #[must_use]
    pub fn with_process(mut self, runtime: &Handle) -> Self {
        #[cfg(target_os = "linux")]
        {
            let process = prometheus::process_collector::ProcessCollector::for_self();
            self.registry
                .register(Box::new(process))
                .expect("it is registered once");
        }
        self.runtime = Some(process::Runtime::declare(&Declare(&self.registry), runtime));
        self
    }

    /// The node is in this stage.
    pub fn set_stage(&self, stage: Stage) {
        for (gauge, other) in self.stages.iter().zip(Stage::ALL) {
            gauge.set(i64::from(other == stage));
        }
    }

    /// The handles for one peer. To be asked for once per peer and kept.
    #[must_use]
    pub fn peer(&self, id: &NodeId) -> PeerMetrics {
        self.peers.of(id)
    }

    /// Removes every series of a peer.
    pub fn forget_peer(&self, id: &NodeId) {
        self.peers.forget(id);
    }

    /// All metrics in the text format of Prometheus ([`prometheus::TEXT_FORMAT`]).
    ///
    /// # Errors
    /// A metric without a sample or a name, which the declarations rule out.
    pub fn text(&self) -> prometheus::Result<String> {
        if let Some(runtime) = &self.runtime {
            runtime.sample();
        }
        let mut text = String::new();
        TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

/// What [`Metrics::text`] says, without the label that every series of a node has: for whoever knows which node it asked.
#[must_use]
pub fn without_node(text: &str) -> String {
    let line = |line: &str| {
        let start = [(format!("{{{NODE}=\""), '{'), (format!(",{NODE}=\""), ',')]
            .into_iter()
            .find_map(|(start, before)| Some((line.find(&start)?, start.len(), before)));
        let Some((at, len, before)) = start.filter(|_| !line.starts_with('#')) else {
            return line.to_owned();
        };
        // Ids of nodes have no quotation marks.
        let (head, rest) = (
            &line[..at],
            line[at + len..].split_once('"').map_or("", |(_, rest)| rest),
        );
        match (before, rest.strip_prefix(','), rest.strip_prefix('}')) {
            ('{', Some(labels), _) => format!("{head}{{{labels}"),
            ('{', None, Some(value)) => format!("{head}{value}"),
            _ => format!("{head}{rest}"),
        }
    };
    text.lines().map(|text| line(text) + "\n").collect()
}

/// Declares metrics in a registry. Names are constants of this module, so a failure is a mistake of ours that every
/// test of the module finds.
struct Declare<'a>(&'a Registry);

impl Declare<'_> {
    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::new(name, help).expect("the name is valid"))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(Opts::new(name, help), labels).expect("the names are valid"))
    }

    fn seconds_counter(&self, name: &str, help: &str) -> Counter {
        self.register(Counter::new(name, help).expect("the name is valid"))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::new(name, help).expect("the name is valid"))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels).expect("the names are valid"))
    }

    fn float_gauges(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.register(GaugeVec::new(Opts::new(name, help), labels).expect("the names are valid"))
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(Histogram::with_opts(options).expect("the name and the buckets are valid"))
    }

    fn histograms(&self, name: &str, help: &str, buckets: &[f64], labels: &[&str]) -> HistogramVec {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(HistogramVec::new(options, labels).expect("the names and the buckets are valid"))
    }

    fn register<C: Collector + Clone + 'static>(&self, collector: C) -> C {
        self.0
            .register(Box::new(collector.clone()))
            .expect("each name is declared once");
        collector
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_protocol::reject::Code;

    fn metrics() -> Metrics {
        Metrics::new(&NodeId::parse("n1").unwrap())
    }

    /// Without the label that all have.
    fn text(metrics: &Metrics) -> String {
        without_node(&metrics.text().expect("every metric has a name"))
    }

    #[test]
    fn every_metric_without_a_peer_is_there_from_the_start() {
        let text = text(&metrics());
        for line in [
            "chat_connections 0",
            "chat_connections_total 0",
            "chat_peer_calls_refused_total{reason=\"unsigned\"} 0",
            "chat_peer_keys 0",
            "chat_peer_key_reloads_total{result=\"failed\"} 0",
            "chat_connections_refused_total{reason=\"connections\"} 0",
            "chat_frames_received_total{type=\"hello\"} 0",
            "chat_connections_closed_total{code=\"lost\"} 0",
            "chat_sessions_total{outcome=\"resumed\"} 0",
            "chat_gaps_total{state=\"seen\"} 0",
            "chat_acknowledgement_seconds_count{room=\"remote\"} 0",
            "chat_delivery_seconds_count{room=\"local\"} 0",
            "chat_frames_sent_total{type=\"message\"} 0",
            "chat_bytes_sent_total{type=\"control\"} 0",
            "chat_messages_accepted_total 0",
            "chat_messages_delivered_total 0",
            "chat_requests_refused_total{code=\"NOT_MEMBER\"} 0",
            "chat_sequence_numbers_assigned_total 0",
            "chat_rooms_active 0",
            "chat_deletions_started_total 0",
            "chat_deletions_committed_total 0",
            "chat_deletions_aborted_total{reason=\"timed_out\"} 0",
            "chat_deletions_aborted_total{reason=\"refused\"} 0",
            "chat_deletions_aborted_total{reason=\"store\"} 0",
            "chat_deletions_aborted_total{reason=\"recovered\"} 0",
            "chat_deletions_aborted_total{reason=\"not_begun\"} 0",
            "chat_deletions_recovered_total 0",
            "chat_deletions_forged_total 0",
            "chat_deletions_in_doubt 0",
            "chat_deletion_seconds_count 0",
            "chat_store_commits_total 0",
            "chat_store_rows_total 0",
            "chat_store_commit_seconds_count 0",
            "chat_store_failures_total 0",
            "chat_slow_readers_total{outcome=\"closed\"} 0",
            "chat_slow_readers_total{outcome=\"recovered\"} 0",
            &format!("chat_build_info{{version=\"{}\"}} 1", crate::VERSION),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn two_nodes_in_one_process_count_apart() {
        let (one, two) = (metrics(), metrics());
        one.clients.opened.inc();
        assert!(text(&one).contains("chat_connections_total 1"));
        assert!(text(&two).contains("chat_connections_total 0"));
    }

    /// A code that has no line is one for which nobody can have an alert.
    #[test]
    fn every_code_that_a_client_may_be_told_is_there_from_the_start_and_counts_under_its_own_name() {
        let metrics = metrics();
        let line = |code: Code, count: u64| format!("chat_requests_refused_total{{code=\"{}\"}} {count}", code.text());
        let before = text(&metrics);
        for (times, code) in (1..).zip(Code::ALL) {
            assert!(
                before.lines().any(|found| found == line(code, 0)),
                "{code:?} is missing"
            );
            (0..times).for_each(|_| metrics.requests_refused.count(code));
        }
        let after = text(&metrics);
        for (times, code) in (1..).zip(Code::ALL) {
            assert!(
                after.lines().any(|found| found == line(code, times)),
                "{code:?} in\n{after}"
            );
        }
        let lines = after
            .lines()
            .filter(|line| line.starts_with("chat_requests_refused_total{"));
        assert_eq!(lines.count(), Code::ALL.len());
    }

    #[test]
    fn each_end_of_a_deletion_counts_once_under_its_reason_and_with_its_time() {
        use chat_engine::deletion::AbortReason::{Recovered, Refused, Store, TimedOut};
        use chat_engine::effect::DeletionEnd::{Aborted, Committed, NotBegun, Retold};
        let metrics = metrics();
        let node = NodeId::parse("node2").unwrap();
        for end in [
            Committed,
            Aborted(TimedOut(node.clone())),
            Aborted(Refused(node, None)),
            Aborted(Store),
            Aborted(Recovered),
            NotBegun,
            Retold,
        ] {
            metrics.deletions.ended(&end, 250);
        }
        let text = text(&metrics);
        for line in [
            "chat_deletions_committed_total 1",
            "chat_deletions_aborted_total{reason=\"timed_out\"} 1",
            "chat_deletions_aborted_total{reason=\"refused\"} 1",
            "chat_deletions_aborted_total{reason=\"store\"} 1",
            "chat_deletions_aborted_total{reason=\"recovered\"} 1",
            "chat_deletions_aborted_total{reason=\"not_begun\"} 1",
            "chat_deletions_recovered_total 2",
            "chat_deletion_seconds_count 6",
            "chat_deletion_seconds_sum 1.5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn a_peer_has_its_own_lines() {
        let metrics = metrics();
        let peer = metrics.peer(&NodeId::parse("node2").unwrap());
        peer.health.set(2);
        peer.missed();
        peer.missed();
        peer.heard(0.25, 1_000.5);
        peer.missed();
        peer.link_queue_bytes.set(17);
        peer.calls("exchange").timeout.inc();
        let text = text(&metrics);
        for line in [
            "chat_peer_health{peer=\"node2\"} 2",
            "chat_heartbeats_total{peer=\"node2\",result=\"failed\"} 3",
            "chat_heartbeats_missed{peer=\"node2\"} 1",
            "chat_heartbeat_round_trip_seconds{peer=\"node2\"} 0.25",
            "chat_heartbeat_last_success_timestamp_seconds{peer=\"node2\"} 1000.5",
            "chat_heartbeats_total{peer=\"node2\",result=\"ok\"} 1",
            "chat_link_queue_bytes{peer=\"node2\"} 17",
            "chat_peer_calls_total{method=\"exchange\",peer=\"node2\",result=\"timeout\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn every_series_says_whose_it_is() {
        let text = metrics().text().unwrap();
        let other: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.contains("node=\"n1\"}"))
            // Where a bucket ends comes last.
            .filter(|line| !line.contains("node=\"n1\",le="))
            .collect();
        assert!(other.is_empty(), "{other:?}");
    }

    #[test]
    fn whoever_knows_whose_they_are_may_leave_the_name_out() {
        for (with, without) in [
            ("a{node=\"n\"} 1", "a 1"),
            ("a{b=\"c\",node=\"n\"} 1", "a{b=\"c\"} 1"),
            ("a{b=\"c\",node=\"n\",le=\"1\"} 2", "a{b=\"c\",le=\"1\"} 2"),
            ("a{node=\"n\",le=\"1\"} 2", "a{le=\"1\"} 2"),
            ("# HELP a {node=\"n\"}", "# HELP a {node=\"n\"}"),
            ("a 1", "a 1"),
        ] {
            assert_eq!(without_node(with), format!("{without}\n"));
        }
    }

    #[test]
    fn a_node_is_in_one_stage() {
        let metrics = metrics();
        for stage in Stage::ALL {
            metrics.set_stage(stage);
            let text = text(&metrics);
            for other in Stage::ALL {
                let line = format!("chat_stage{{stage=\"{}\"}} {}", other.label(), u8::from(other == stage));
                assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
            }
        }
    }
}
