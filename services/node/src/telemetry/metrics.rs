//! Every metric, declared once with its meaning.
//!
//! Each node has a registry of its own, because several nodes may live in one process, and says its name with every
//! series. Handles are resolved when the
//! metrics are made (or once per peer): nothing looks a label up per frame.

mod data;
mod deletion;
mod discovery;
mod peer;
mod peer_auth;
mod process;
mod refused;

pub use data::DataMetrics;
pub use deletion::Deletions;
pub use discovery::DiscoveryMetrics;
pub use peer::{CallMetrics, PeerMetrics};
pub use peer_auth::PeerAuthMetrics;
pub use refused::{RefusedConnections, RefusedRequests};

use crate::http::ops::Stage;
use chat_protocol::ids::NodeId;
use prometheus::core::Collector;
use prometheus::{
    Counter, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
    exponential_buckets,
};
use std::collections::HashMap;
use tokio::runtime::Handle;

/// The label that every series has: the node's id.
pub const NODE: &str = "node";

/// The metrics of one node. Clones share the same numbers.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// Open connections of clients.
    pub connections: IntGauge,
    /// Connections of clients that were accepted.
    pub connections_total: IntCounter,
    /// Connections of clients that were refused, by reason.
    pub connections_refused: RefusedConnections,
    /// Frames received from clients.
    pub frames_received: IntCounter,
    /// Frames sent to clients.
    pub frames_sent: IntCounter,
    /// Bytes sent to clients.
    pub bytes_sent: IntCounter,
    /// Messages that were committed for a client of this node.
    pub messages_accepted: IntCounter,
    /// Messages handed to sessions of this node, one per session.
    pub messages_delivered: IntCounter,
    /// Requests of clients that were refused, by code.
    pub requests_refused: RefusedRequests,
    /// Sequence numbers given by this node as the admin of a room.
    pub sequence_numbers_assigned: IntCounter,
    /// Rooms in memory.
    pub rooms_active: IntGauge,
    /// Commits of the store that succeeded.
    pub store_commits: IntCounter,
    /// Rows that they wrote.
    pub store_rows: IntCounter,
    /// How long they took, in seconds.
    pub store_commit_seconds: Histogram,
    /// Commits of the store that failed.
    pub store_failures: IntCounter,
    /// Slow readers that caught up.
    pub slow_readers_recovered: IntCounter,
    /// Slow readers that were closed.
    pub slow_readers_closed: IntCounter,
    /// Deletions of rooms.
    pub deletions: Deletions,
    /// How other nodes are found.
    pub discovery: DiscoveryMetrics,
    /// How calls of other nodes are judged.
    pub peer_auth: PeerAuthMetrics,
    /// The data directory.
    pub data: DataMetrics,
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
        let slow_readers = declare.counters(
            "chat_slow_readers_total",
            "Clients that read too slowly, by what became of them.",
            &["outcome"],
        );
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
            connections: declare.gauge("chat_connections", "Open connections of clients."),
            connections_total: declare.counter("chat_connections_total", "Connections of clients accepted."),
            connections_refused: RefusedConnections::declare(&declare),
            frames_received: declare.counter("chat_frames_received_total", "Frames received from clients."),
            frames_sent: declare.counter("chat_frames_sent_total", "Frames sent to clients."),
            bytes_sent: declare.counter("chat_bytes_sent_total", "Bytes sent to clients."),
            messages_accepted: declare.counter(
                "chat_messages_accepted_total",
                "Messages committed for clients of this node.",
            ),
            messages_delivered: declare.counter(
                "chat_messages_delivered_total",
                "Messages handed to sessions of this node, one per session.",
            ),
            requests_refused: RefusedRequests::declare(&declare),
            sequence_numbers_assigned: declare.counter(
                "chat_sequence_numbers_assigned_total",
                "Sequence numbers given by this node as the admin of a room.",
            ),
            rooms_active: declare.gauge("chat_rooms_active", "Rooms in memory."),
            store_commits: declare.counter("chat_store_commits_total", "Commits of the store that succeeded."),
            store_rows: declare.counter("chat_store_rows_total", "Rows written by commits of the store."),
            store_commit_seconds: declare.commit_seconds(),
            store_failures: declare.counter("chat_store_failures_total", "Commits of the store that failed."),
            slow_readers_recovered: slow_readers.with_label_values(&["recovered"]),
            slow_readers_closed: slow_readers.with_label_values(&["closed"]),
            deletions: Deletions::declare(&declare),
            discovery: DiscoveryMetrics::declare(&declare),
            peer_auth: PeerAuthMetrics::declare(&declare),
            data: DataMetrics::declare(&declare),
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

    /// From 100 µs, a fast local disk, doubling up to 1.6 s, a network volume in trouble.
    fn commit_seconds(&self) -> Histogram {
        let buckets = exponential_buckets(0.000_1, 2.0, 15).expect("the start, the factor and the count are positive");
        let options = HistogramOpts::new("chat_store_commit_seconds", "How long a commit of the store took.");
        self.register(Histogram::with_opts(options.buckets(buckets)).expect("the name is valid"))
    }

    /// From 1 ms, one node and a fast disk, doubling up to 16 s, a deletion that waited for everybody.
    fn deletion_seconds(&self) -> Histogram {
        let buckets = exponential_buckets(0.001, 2.0, 15).expect("the start, the factor and the count are positive");
        let options = HistogramOpts::new(
            "chat_deletion_seconds",
            "From the request to delete a room to the decision.",
        );
        self.register(Histogram::with_opts(options.buckets(buckets)).expect("the name is valid"))
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
            "chat_frames_received_total 0",
            "chat_frames_sent_total 0",
            "chat_bytes_sent_total 0",
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
        one.connections_total.inc();
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
        peer.heartbeats_failed.inc();
        peer.link_queue_bytes.set(17);
        peer.calls("exchange").timeout.inc();
        let text = text(&metrics);
        for line in [
            "chat_peer_health{peer=\"node2\"} 2",
            "chat_heartbeats_total{peer=\"node2\",result=\"failed\"} 1",
            "chat_heartbeats_total{peer=\"node2\",result=\"ok\"} 0",
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
