//! The page about metrics says what the program says: each metric with its type, its labels and its meaning, and no other.

use super::{Metrics, NODE};
use chat_protocol::ids::NodeId;
use prometheus::proto::{MetricFamily, MetricType};
use std::collections::BTreeSet;
use tokio::runtime::Runtime;

const PAGE: &str = include_str!("../../../../../docs/metrics.md");

/// Everything that a node with a peer declares.
fn families() -> Vec<MetricFamily> {
    let runtime = Runtime::new().unwrap();
    let metrics = Metrics::new(&NodeId::parse("n1").unwrap()).with_process(runtime.handle());
    let peer = metrics.peer(&NodeId::parse("n2").unwrap());
    drop(peer.calls("chat.exchange"));
    drop(metrics.canary.of(&NodeId::parse("n2").unwrap()));
    metrics.registry.gather()
}

/// As the page has it.
fn row(family: &MetricFamily) -> String {
    let kind = match family.get_field_type() {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        other => panic!("{} is a {other:?}", family.name()),
    };
    let series = family.get_metric().iter();
    let labels: BTreeSet<&str> = series
        .flat_map(|one| one.get_label())
        .map(prometheus::proto::LabelPair::name)
        .filter(|label| *label != NODE)
        .collect();
    let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
    format!(
        "| `{}` | {kind} | {} | {} |",
        family.name(),
        labels.join(", "),
        family.help()
    )
    .replace("|  |", "| |")
}

#[test]
fn the_page_has_every_metric_and_no_other() {
    let rows: BTreeSet<String> = families().iter().map(row).collect();
    let page: BTreeSet<String> = PAGE
        .lines()
        .filter(|line| line.starts_with("| `") && line.matches(" | ").count() >= 2)
        .filter(|line| line.starts_with("| `chat_") || line.starts_with("| `process_"))
        .map(str::to_owned)
        .collect();
    let missing: Vec<&String> = rows.difference(&page).collect();
    let unknown: Vec<&String> = page.difference(&rows).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "docs/metrics.md does not have\n{}\nand has what no node says:\n{}",
        missing.iter().map(|row| format!("{row}\n")).collect::<String>(),
        unknown.iter().map(|row| format!("{row}\n")).collect::<String>(),
    );
}

/// Names that tell what is counted, in units that need no conversion.
#[test]
fn names_follow_the_conventions_of_prometheus() {
    for family in families() {
        let name = family.name();
        let is_counter = family.get_field_type() == MetricType::COUNTER;
        assert!(
            name.starts_with("chat_") || name.starts_with("process_"),
            "{name} has another prefix"
        );
        assert_eq!(is_counter, name.ends_with("_total"), "{name}");
        for suffix in ["_count", "_sum", "_bucket", "_ms", "_millis", "_kb"] {
            assert!(!name.ends_with(suffix), "{name} ends with {suffix}");
        }
        assert!(
            family.help().ends_with('.') || name.starts_with("process_"),
            "{name}: {}",
            family.help()
        );
    }
}
