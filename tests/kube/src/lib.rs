//! The Helm chart under test.
//!
//! * [`values`] reads the annotated `values.yaml`, [`generated`] makes the chart's README and schema from it;
//! * [`dashboards`] makes the dashboards, for the chart and for everybody else;
//! * [`helm`] renders the chart as JSON;
//! * [`suite`] runs it on the cluster that `KUBECONFIG` names.
//!
//! Helm and kubectl are found on `PATH`; nothing else is known about where they come from.

pub mod dashboards;
pub mod generated;
pub mod helm;
pub mod settings;
pub mod suite;
pub mod tools;
pub mod values;

use std::path::{Path, PathBuf};

/// A path of this repository.
#[must_use]
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}
