//! Traces as the collector of OpenTelemetry itself takes them, with the configuration of the compose file.

use crate::traces::{room, traced};
use chat_node::config::Share;
use chat_tests::port::Port;
use chat_tests::{PATIENCE, TestCluster};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Names the program that `tests/opentelemetry` is built to.
const PROGRAM: &str = "CHAT_COLLECTOR";

/// A running collector and what it prints. It is killed when it is dropped.
struct Collector {
    process: Child,
    printed: tempfile::NamedTempFile,
}

impl Drop for Collector {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Collector {
    fn start(program: &Path, port: &Port) -> Self {
        let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/observability/collector.yaml");
        let printed = tempfile::NamedTempFile::new().unwrap();
        let process = Command::new(program)
            .arg(format!("--config={config}"))
            .arg(format!(
                "--set=receivers.otlp.protocols.http.endpoint={}",
                port.address()
            ))
            // It would listen at a port of its own.
            .arg("--set=service.telemetry.metrics.level=none")
            .stdin(Stdio::null())
            .stdout(printed.reopen().unwrap())
            .stderr(printed.reopen().unwrap())
            .spawn()
            .unwrap_or_else(|why| panic!("{}: {why}", program.display()));
        Self { process, printed }
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.printed.path()).unwrap()
    }

    async fn wait_until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.text();
            if wanted(&text) {
                return text;
            }
            assert!(
                Instant::now() < deadline,
                "the collector does not print {what}:\n{text}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The spans that were printed: which node made one of which name, by trace.
fn spans(text: &str) -> BTreeMap<String, BTreeSet<(String, String)>> {
    let mut found: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
    let (mut node, mut trace) = (String::new(), String::new());
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("-> service.instance.id: Str(") {
            node = rest.trim_end_matches(')').to_owned();
        }
        match line.split_once(':').map(|(key, value)| (key.trim(), value.trim())) {
            Some(("Trace ID", id)) => trace = id.to_owned(),
            Some(("Name", name)) => {
                let spans = found.entry(trace.clone()).or_default();
                spans.insert((node.clone(), name.to_owned()));
            }
            _ => {}
        }
    }
    found
}

// Whoever looks at the output of the tests shall see it.
#[allow(clippy::print_stderr)]
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_of_opentelemetry_reads_one_trace_over_three_nodes() {
    let Some(program) = std::env::var_os(PROGRAM) else {
        eprintln!("SKIPPED: {PROGRAM} names no collector; `go -C tests/opentelemetry build -o <path> .` makes one");
        return;
    };
    let port = Port::reserve().unwrap();
    let collector = Collector::start(Path::new(&program), &port);
    collector
        .wait_until("that it is ready", |text| text.contains("Everything is ready"))
        .await;
    let url = format!("http://{}/v1/traces", port.address());
    let cluster = TestCluster::start_with(3, traced(&url, Share::ALL)).await;
    let (room, mut ines, mut otto) = room(&cluster).await;
    ines.send(&room, "ines", "hello").await;
    assert_eq!(otto.next().await["data"]["content"], "hello");
    let wanted = [
        ("node1", "send_message"),
        ("node1", "forward"),
        ("node1", "chat.exchange"),
        ("node2", "chat.exchange"),
        ("node2", "commit"),
        ("node2", "relay"),
        ("node3", "chat.exchange"),
        ("node3", "deliver"),
        ("node1", "deliver"),
    ]
    .map(|(node, name)| (node.to_owned(), name.to_owned()));
    let complete = |text: &str| {
        spans(text)
            .values()
            .any(|trace| wanted.iter().all(|one| trace.contains(one)))
    };
    let text = collector.wait_until("one trace with all spans", complete).await;
    assert_eq!(spans(&text).len(), 1, "{text}");
}
