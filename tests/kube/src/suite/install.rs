//! From nothing to ready nodes that know each other.

use super::Suite;
use super::release::{NODES, Namespace, Release, apply, kubectl};
use serde_json::Value as Json;
use std::collections::BTreeSet;

/// A pod that the *restricted* standard forbids: its refusal shows that the namespace enforces anything.
const FORBIDDEN: &str = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "forbidden"}, "spec": {
    "containers": [{"name": "c", "image": "none", "securityContext": {"privileged": true}}]}}"#;

/// The release with zero values that several scenarios use.
pub(super) fn default<'a>(suite: &'a mut Suite<'_>) -> Result<&'a Release, String> {
    if suite.default.is_none() {
        let namespace = Namespace::restricted("chat-kube-default")?;
        let refused = apply(&["--namespace", &namespace.name], FORBIDDEN)?;
        if refused.ok || !refused.err.contains("violates PodSecurity") {
            return Err(format!("a privileged pod is not refused by the namespace: {refused:?}"));
        }
        suite.default = Some(Release::install("chat", namespace, &[])?);
    }
    suite.default.as_ref().ok_or_else(|| "not installed".into())
}

pub(super) fn zero_values(suite: &mut Suite<'_>) -> Result<(), String> {
    let machines = schedulable()?;
    let release = default(suite)?;
    let ready_after = release.ready_after;
    release.found_each_other()?;
    let found_after = release.age();
    let pods = release.pods()?;
    if pods.len() != NODES {
        return Err(format!("{} pods instead of {NODES}", pods.len()));
    }
    for pod in &pods {
        check_pod(pod)?;
    }
    let used: BTreeSet<&str> = pods.iter().filter_map(|pod| pod["spec"]["nodeName"].as_str()).collect();
    if used.len() != NODES.min(machines) {
        return Err(format!(
            "{NODES} nodes run on {used:?} although there are {machines} machines"
        ));
    }
    check_claims(release)?;
    let (lines, logs) = check_logs(release)?;
    let mut steps = Vec::new();
    for _ in 0..2 {
        let said = release.test()?;
        let step = said.lines().find(|line| line.contains("all heard all of them"));
        steps.push(
            step.ok_or_else(|| format!("the test does not say what it did:\n{said}"))?
                .trim()
                .to_owned(),
        );
    }
    let used = used.len();
    suite.figure("install to ready", format!("{:.1} s", ready_after.as_secs_f64()));
    suite.figure(
        "install to every node a healthy peer of every other",
        format!("{:.1} s", found_after.as_secs_f64()),
    );
    suite.figure("machines", used);
    suite.figure("log lines, all JSON", format!("{lines} of {logs} nodes"));
    for step in steps {
        suite.figure("helm test", step);
    }
    Ok(())
}

pub(super) fn on_one_machine(suite: &mut Suite<'_>) -> Result<(), String> {
    let machine = kubectl(&["get", "nodes", "--output=jsonpath={.items[0].metadata.name}"])?;
    let namespace = Namespace::restricted("chat-kube-one-machine")?;
    // As on a cluster of one machine; everything else has its default.
    let selector = format!("nodeSelector.kubernetes\\.io/hostname={machine}");
    let release = Release::install("chat", namespace, &["--set", &selector])?;
    release.found_each_other()?;
    let found_after = release.age();
    let pods = release.pods()?;
    let there = pods
        .iter()
        .filter(|pod| pod["spec"]["nodeName"] == machine.as_str())
        .count();
    if there != NODES {
        return Err(format!("{there} of {NODES} nodes run on {machine}"));
    }
    suite.figure(
        "install to ready",
        format!("{:.1} s", release.ready_after.as_secs_f64()),
    );
    suite.figure(
        "install to every node a healthy peer of every other",
        format!("{:.1} s", found_after.as_secs_f64()),
    );
    release.remove()
}

/// Machines without a taint.
fn schedulable() -> Result<usize, String> {
    let nodes: Json =
        serde_json::from_str(&kubectl(&["get", "nodes", "--output=json"])?).map_err(|why| why.to_string())?;
    let nodes = nodes["items"].as_array().cloned().unwrap_or_default();
    let free = |node: &&Json| node["spec"]["taints"].is_null() && node["spec"]["unschedulable"].is_null();
    Ok(nodes.iter().filter(free).count())
}

fn check_pod(pod: &Json) -> Result<(), String> {
    let name = &pod["metadata"]["name"];
    let status = &pod["status"]["containerStatuses"][0];
    if status["ready"] != true || status["restartCount"] != 0 {
        return Err(format!("{name} is not ready, or not at its first start: {status}"));
    }
    let image = pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
    let expected = format!("docker.io/library/chat-node:{}", env!("CARGO_PKG_VERSION"));
    if image != expected {
        return Err(format!("{name} runs {image} instead of {expected}"));
    }
    Ok(())
}

fn check_claims(release: &Release) -> Result<(), String> {
    let text = release.kubectl(&["get", "pvc", "--output=json"])?;
    let claims: Json = serde_json::from_str(&text).map_err(|why| why.to_string())?;
    let claims = claims["items"].as_array().cloned().unwrap_or_default();
    let bound = claims.iter().filter(|claim| {
        claim["status"]["phase"] == "Bound" && claim["spec"]["resources"]["requests"]["storage"] == "2Gi"
    });
    let bound = bound.count();
    if bound != NODES || claims.len() != NODES {
        return Err(format!(
            "{bound} of {} claims are bound and ask for 2Gi, not {NODES}",
            claims.len()
        ));
    }
    Ok(())
}

/// What a kubelet says instead of a log that its machine does not have any more.
const NO_LOG: &str = "failed to try resolving symlinks";

/// How many lines the nodes logged, each of which is JSON, and of how many nodes.
///
/// Kubelets that share a disk clean up each other's logs, about once a minute. What is gone cannot be judged; if everything is, a
/// node is started again for a new log.
fn check_logs(release: &Release) -> Result<(usize, usize), String> {
    let names = release.pod_names()?;
    let mut lines = Vec::new();
    for name in &names {
        lines.extend(json_lines(release, name)?);
    }
    if lines.is_empty() {
        let name = names.first().ok_or("no pods")?;
        release.kubectl(&["delete", "pod", name, "--grace-period=1"])?;
        release.found_each_other()?;
        lines.extend(json_lines(release, name)?);
    }
    match (lines.iter().sum(), lines.len()) {
        (_, 0) => Err("no machine has a log".into()),
        (count, nodes) if count < nodes => Err(format!("{count} lines in {nodes} logs")),
        counted => Ok(counted),
    }
}

/// How many lines a node logged; `None` if its log is gone.
fn json_lines(release: &Release, name: &str) -> Result<Option<usize>, String> {
    let log = release.kubectl(&["logs", name])?;
    // A node that is ready has said so, so a log without anything has lost it.
    if log.is_empty() || log.starts_with(NO_LOG) {
        return Ok(None);
    }
    for line in log.lines() {
        let parsed: Result<Json, _> = serde_json::from_str(line);
        parsed.map_err(|why| format!("{name} logs what is no JSON ({why}): {line}"))?;
    }
    Ok(Some(log.lines().count()))
}
