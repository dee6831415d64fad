//! What the API server thinks of the rendered objects.

use super::release::{Namespace, apply, kubectl};
use super::{SHORT, Suite};
use crate::helm::{Render, chart};
use crate::repository;
use crate::tools;
use std::fs;

/// Kinds of others that the chart makes objects of: their definitions are stood in for where the cluster has none.
const STRANGERS: [(&str, &str); 3] = [
    (
        "servicemonitors.monitoring.coreos.com",
        "tests/kube/crds/servicemonitor.yaml",
    ),
    (
        "prometheusrules.monitoring.coreos.com",
        "tests/kube/crds/prometheusrule.yaml",
    ),
    ("httproutes.gateway.networking.k8s.io", "tests/kube/crds/httproute.yaml"),
];

/// Stand-ins that this run made; they go with it.
struct StandIns(Vec<&'static str>);

impl Drop for StandIns {
    fn drop(&mut self) {
        for kind in &self.0 {
            let args = [
                "delete",
                "crd",
                kind,
                "--ignore-not-found",
                "--wait=true",
                "--timeout=60s",
            ];
            let _tried = tools::run("kubectl", &args, "", SHORT);
        }
    }
}

pub(super) fn every_object(suite: &mut Suite<'_>) -> Result<(), String> {
    let namespace = Namespace::restricted("chat-kube-accepted")?;
    let mut stand_ins = StandIns(Vec::new());
    let known = |kind: &str| kubectl(&["get", "crd", kind]).is_ok();
    let (monitor, _) = STRANGERS[0];
    if known(monitor) {
        suite.figure(
            "the cluster knows ServiceMonitors, so their absence is not tested",
            monitor,
        );
    } else if monitored(&namespace)? {
        return Err("a ServiceMonitor is made although its kind is unknown".into());
    }
    for (kind, file) in STRANGERS {
        if !known(kind) {
            stand_ins.0.push(kind);
            let text = fs::read_to_string(repository(file)).map_err(|why| format!("{file}: {why}"))?;
            let said = apply(&[], &text)?;
            if !said.ok {
                return Err(said.err);
            }
            kubectl(&["wait", "--for=condition=Established", "crd", kind, "--timeout=60s"])?;
        }
    }
    tools::until("a ServiceMonitor is made where its kind is known", SHORT, || {
        if monitored(&namespace)? {
            Ok(())
        } else {
            Err("none".into())
        }
    })?;
    let mut count = 0;
    for file in value_files()? {
        let mut render = Render::values(&file);
        render.namespace.clone_from(&namespace.name);
        let render = render.and(&[
            "--api-versions",
            "monitoring.coreos.com/v1/ServiceMonitor,monitoring.coreos.com/v1/PrometheusRule",
        ]);
        let args = [
            "--dry-run=server",
            "--validate=strict",
            "--output=name",
            "--namespace",
            &namespace.name,
        ];
        let said = apply(&args, &render.yaml()?)?;
        // A warning would be about something deprecated, or a pod that the namespace would refuse.
        if !said.ok || said.err.contains("Warning") {
            return Err(format!("{file}:\n{}", said.err));
        }
        count += said.out.lines().count();
    }
    suite.figure("objects accepted without a warning", count);
    drop(stand_ins);
    namespace.remove()
}

/// Whether an install on this cluster with `auto` would make a ServiceMonitor.
fn monitored(namespace: &Namespace) -> Result<bool, String> {
    let chart = chart();
    let chart = chart.to_string_lossy();
    let text = tools::output(
        "helm",
        &[
            "install",
            "chat",
            &chart,
            "--namespace",
            &namespace.name,
            "--dry-run=server",
            "--set=metrics.serviceMonitor.enabled=auto",
        ],
        SHORT,
    )?;
    Ok(text.contains("kind: ServiceMonitor"))
}

/// All files of values that the chart has.
fn value_files() -> Result<Vec<String>, String> {
    let mut files = vec!["values-kind.yaml".to_owned(), "values-ha.yaml".to_owned()];
    let directory = fs::read_dir(chart().join("ci")).map_err(|why| why.to_string())?;
    for entry in directory {
        let entry = entry.map_err(|why| why.to_string())?;
        files.push(format!("ci/{}", entry.file_name().to_string_lossy()));
    }
    files.sort();
    Ok(files)
}
