//! From nothing to ready nodes that know each other.

use super::release::{NODES, Namespace, Release, apply, kubectl};
use super::{SHORT, Suite};
use crate::tools::{throughout, until};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// For how long nodes that have nothing to say are listened to.
const QUIET: Duration = Duration::from_secs(30);

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
    let looks = say_nothing(release)?;
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
    suite.figure(
        "log lines, all JSON, one start and each change of a peer once",
        format!("{lines} of {logs} nodes"),
    );
    suite.figure(
        "without anything to say, lines in 30 s",
        format!("0 in each of {looks} looks"),
    );
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

/// How often a node is started again for a log at most.
const AGAIN: usize = 10;

/// What a kubelet says instead of a log that its machine does not have any more.
const NO_LOG: &str = "failed to try resolving symlinks";

/// How many lines the nodes logged, each of which is JSON, and of how many nodes.
///
/// Kubelets that share a disk clean up each other's logs, about once a minute. What is gone cannot be judged; if everything is, a
/// node is started again for a new log, a few times.
fn check_logs(release: &Release) -> Result<(usize, usize), String> {
    let names = release.pod_names()?;
    let mut counts = Vec::new();
    for name in &names {
        counts.extend(check_log(release, name)?);
    }
    let mut again = names.iter().cycle().take(AGAIN);
    while counts.is_empty() {
        let name = again.next().ok_or("no machine has a log")?;
        release.kubectl(&["delete", "pod", name, "--grace-period=1"])?;
        release.found_each_other()?;
        counts.extend(check_log(release, name)?);
    }
    Ok((counts.iter().sum(), counts.len()))
}

/// How many lines a node logged whose peers are healthy; `None` if its log is gone.
fn check_log(release: &Release, name: &str) -> Result<Option<usize>, String> {
    let judge = |log: &str| {
        let lines = parse(log).map_err(|why| format!("{name} {why}"))?;
        judge(&lines, NODES - 1).map_err(|why| format!("{name} {why}:\n{log}"))?;
        Ok(lines.len())
    };
    // A line may take a moment from the node to the kubelet.
    until("the log of a node whose peers are healthy", SHORT, || {
        let Some(log) = log_of(release, name)? else {
            return Ok(None);
        };
        judge(&log).map(Some)
    })
}

/// The log of a node; `None` if it is gone.
fn log_of(release: &Release, name: &str) -> Result<Option<String>, String> {
    let log = release.kubectl(&["logs", name])?;
    // A node that is ready has said so, so a log without anything has lost it.
    Ok((!log.is_empty() && !log.starts_with(NO_LOG)).then_some(log))
}

/// Nodes whose peers are healthy and that nobody speaks to log nothing; how often they were looked at.
fn say_nothing(release: &Release) -> Result<u32, String> {
    let mut before = BTreeMap::new();
    for name in release.pod_names()? {
        if let Some(log) = log_of(release, &name)? {
            before.insert(name, log);
        }
    }
    throughout(QUIET, || {
        for (name, before) in &before {
            match log_of(release, name)? {
                Some(log) if log != *before && log.starts_with(before) => {
                    return Err(format!(
                        "{name} logs although nothing happens: {}",
                        &log[before.len()..]
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    })
}

fn parse(log: &str) -> Result<Vec<Json>, String> {
    let line = |line| serde_json::from_str(line).map_err(|why| format!("logs what is no JSON ({why}): {line}"));
    log.lines().map(line).collect()
}

/// One start that says what started, and each change of a peer once.
fn judge(lines: &[Json], peers: usize) -> Result<(), String> {
    let named = |name: &'static str| lines.iter().filter(move |line| line["message"] == name);
    let starts: Vec<&Json> = named("ready").collect();
    let [start] = starts.as_slice() else {
        return Err(format!("says {} times that it has started", starts.len()));
    };
    let told = [
        "version",
        "node",
        "clients",
        "calls",
        "operations",
        "discovery",
        "peers",
    ];
    if let Some(missing) = told.iter().find(|field| start[**field].is_null()) {
        return Err(format!("does not say with which {missing} it has started"));
    }
    let mut health: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for fields in named("peer health") {
        let (peer, now) = (fields["peer"].as_str(), fields["health"].as_str());
        let said = health.entry(peer.unwrap_or_default()).or_default();
        if said.last().copied() == now {
            return Err(format!("says twice in a row of {peer:?} that it is {now:?}"));
        }
        said.extend(now);
    }
    let healthy = health.values().filter(|said| said.last() == Some(&"Healthy")).count();
    if healthy == peers {
        Ok(())
    } else {
        Err(format!("says of {healthy} peers that they are healthy, not of {peers}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = r#"{"message":"ready","version":"1","node":"a","clients":"x","calls":"y","operations":"z","discovery":"dns","peers":""}"#;

    fn health(peer: &str, now: &str) -> String {
        format!(r#"{{"message":"peer health","peer":"{peer}","health":"{now}"}}"#)
    }

    fn judged(lines: &[&str]) -> Result<(), String> {
        judge(&parse(&lines.join("\n")).unwrap(), 1)
    }

    #[test]
    fn a_log_has_one_start_and_each_change_once() {
        let (well, ill) = (health("b", "Healthy"), health("b", "Degraded"));
        assert_eq!(judged(&[START, &well]), Ok(()));
        assert_eq!(judged(&[START, &well, &ill, &well]), Ok(()));
        assert!(judged(&[START, &well, &well]).unwrap_err().contains("twice in a row"));
        assert!(judged(&[START, &well, &ill]).unwrap_err().contains("says of 0 peers"));
        assert!(judged(&[&well]).unwrap_err().contains("0 times"));
        assert!(judged(&[START, START, &well]).unwrap_err().contains("2 times"));
        let nameless = START.replace(r#""version":"1","#, "");
        assert!(judged(&[&nameless, &well]).unwrap_err().contains("which version"));
        assert!(parse("no JSON").unwrap_err().contains("no JSON"));
    }
}
