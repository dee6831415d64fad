//! Files that are made, and versions that must agree.

use super::value_files;
use chat_kube::helm::chart;
use chat_kube::{generated, settings, tools};
use std::time::Duration;

#[test]
fn the_readme_and_the_schema_say_what_the_values_and_the_settings_of_the_node_say() {
    let outdated = generated::outdated().unwrap();
    assert!(outdated.is_empty(), "`just generate` makes anew: {outdated:?}");
}

#[test]
fn the_chart_is_for_the_version_that_it_is_with() {
    let chart = std::fs::read_to_string(chart().join("Chart.yaml")).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    for line in [
        format!("appVersion: \"{version}\""),
        format!("      image: docker.io/library/chat-node:{version}"),
    ] {
        assert!(chart.lines().any(|found| found == line), "{line} is not in\n{chart}");
    }
}

#[test]
fn bounds_are_read_from_the_help_of_the_node() {
    let bounds = settings::bounds().unwrap();
    let connections = bounds.iter().find(|bound| bound.name == "MAX_CONNECTIONS").unwrap();
    assert_eq!(
        (connections.default.as_str(), connections.unit.as_str()),
        ("10000", "connections")
    );
    assert_eq!((connections.min, connections.max), (1, 1_000_000));
    // What the chart sets itself is no bound.
    for other in ["NODE_ID", "DATA_DIR", "GRACE_MS", "LOG_LEVEL", "TARGETS", "BASE_PORT"] {
        assert!(bounds.iter().all(|bound| bound.name != other), "{other}");
    }
    assert!(bounds.len() > 30, "{}", bounds.len());
}

#[test]
fn helm_finds_nothing_to_complain_about() {
    if !super::helm() {
        return;
    }
    let chart = chart();
    for file in value_files() {
        let values = chart.join(&file);
        let args = [
            "lint",
            &chart.to_string_lossy(),
            "--strict",
            "--kube-version",
            "1.34.0",
            "--values",
        ];
        let mut args = args.to_vec();
        let values = values.to_string_lossy();
        args.push(&values);
        let said = tools::output("helm", &args, Duration::from_secs(60)).unwrap();
        // One thing is recommended and not there: a picture.
        let remarks: Vec<&str> = said.lines().filter(|line| line.starts_with('[')).collect();
        assert_eq!(remarks, ["[INFO] Chart.yaml: icon is recommended"], "{file}");
    }
}
