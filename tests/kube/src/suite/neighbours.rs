//! Releases that share a namespace: each keeps to itself, also when the list of its peers lies.

use super::load::{Load, Plan};
use super::release::{Namespace, QUICK, Release, apply};
use super::{LONG, SHORT, Suite, seconds};
use crate::tools::{throughout, until};
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};

/// Seconds of load on both releases.
const LOAD: u32 = 40;

/// For how long nodes that are not believed are watched.
const WATCHED: Duration = Duration::from_secs(15);

pub(super) fn two_releases(suite: &mut Suite<'_>) -> Result<(), String> {
    let namespace = Namespace::restricted("chat-kube-two-releases")?;
    let again = namespace.again();
    let one = Release::install("one", namespace, &QUICK)?;
    let two = Release::install("two", again, &QUICK)?;
    let plan = Plan {
        seconds: LOAD,
        resumes: 0,
        ..Plan::default()
    };
    one.found_each_other()?;
    two.found_each_other()?;
    let loads = (Load::start(&one, plan)?, Load::start(&two, plan)?);
    let mut pairs = 0;
    for (release, other) in [(&one, &two), (&two, &one)] {
        let strangers = other.pod_names()?;
        for pod in release.pod_names()? {
            let metrics = release.metrics(&pod)?;
            if let Some(line) = strangers.iter().find_map(|name| {
                let label = format!("peer=\"{name}\"");
                metrics.lines().find(|line| line.contains(&label))
            }) {
                return Err(format!("{pod} knows a node of another release: {line}"));
            }
            pairs += strangers.len();
        }
    }
    let kept = (loads.0.verdict(&one)?, loads.1.verdict(&two)?);
    one.remove()?;
    suite.figure("pairs of nodes that do not know each other", pairs);
    for kept in [kept.0, kept.1] {
        kept.tell(suite);
    }
    Ok(())
}

/// A release whose list of peers also has a node of a release with another key, and one of a release with the same key.
pub(super) fn impostors(suite: &mut Suite<'_>) -> Result<(), String> {
    let namespace = Namespace::restricted("chat-kube-impostor")?;
    let (second, third) = (namespace.again(), namespace.again());
    let one_node = [&QUICK[..], &["--set", "replicas=1"]].concat();
    let same_key = [&one_node[..], &["--set", "peerKey.existingSecret=one-chat-peer-key"]].concat();
    // Two of them, so that it is seen that they go on.
    let two_nodes = [&QUICK[..], &["--set", "replicas=2"]].concat();
    let one = Release::install("one", namespace, &two_nodes)?;
    let other_key = Release::install("two", second, &one_node)?;
    let other_release = Release::install("three", third, &same_key)?;
    one.found_each_other()?;
    let strangers = [(&other_key, "unknown_key"), (&other_release, "other_cluster")];
    let slice = slice(&one, &strangers.map(|(release, _)| release))?;
    let made = apply(&["--namespace", &one.namespace.name], &slice.to_string())?;
    if !made.ok {
        return Err(format!("no list: {made:?}"));
    }
    let since = Instant::now();
    let names = one.pod_names()?;
    let mut counted = Vec::new();
    for (release, reason) in strangers {
        let stranger = release.pod_names()?.pop().ok_or("no pods")?;
        until("the stranger refuses, and its refusal is known", LONG, || {
            if refused(release, &stranger, reason)? == 0 {
                return Err(format!("{stranger} refused nothing as {reason}"));
            }
            names
                .iter()
                .try_for_each(|name| one.says(name, &format!("chat_peer_unbelieved{{peer=\"{stranger}\"}} 1")))
        })?;
        counted.push((release, stranger, reason, since.elapsed()));
    }
    let looks = throughout(WATCHED, || {
        one.all_healthy(&names)?;
        for (_, stranger, _, _) in &counted {
            for name in &names {
                if one.health(name, stranger)? == 2 {
                    return Err(format!("{name} takes {stranger} for a peer"));
                }
            }
        }
        Ok(())
    })?;
    let mut figures = Vec::new();
    for (release, stranger, reason, after) in counted {
        // It never knew of them.
        for name in &names {
            if release.health(&stranger, name).is_ok() {
                return Err(format!("{stranger} took {name} for a peer"));
            }
        }
        let count = refused(release, &stranger, reason)?;
        figures.push((reason, format!("{count} calls, the first within {}", seconds(after))));
    }
    one.remove()?;
    for (reason, figure) in figures {
        suite.figure(&format!("refused as {reason}"), figure);
    }
    suite.figure("looks in which no stranger was a peer, and the own ones healthy", looks);
    Ok(())
}

/// How many calls a node refused for a reason.
fn refused(release: &Release, pod: &str, reason: &str) -> Result<u64, String> {
    let start = format!("chat_peer_calls_refused_total{{reason=\"{reason}\"}} ");
    let metrics = release.metrics(pod)?;
    let count = metrics.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok());
    count.ok_or_else(|| format!("{pod} does not count what it refuses as {reason}"))
}

/// A list of addresses of the peers of a release that leads to the nodes of others.
fn slice(release: &Release, others: &[&Release]) -> Result<Json, String> {
    let mut endpoints = Vec::new();
    for other in others {
        let pods = until("addresses of the others", SHORT, || other.pods())?;
        endpoints.extend(pods.iter().map(|pod| {
            json!({
                "addresses": [pod["status"]["podIP"]],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "targetRef": {"kind": "Pod", "name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"],
                    "uid": pod["metadata"]["uid"]},
            })
        }));
    }
    Ok(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "by-hand", "labels": {
            "kubernetes.io/service-name": format!("{}-chat-headless", release.name),
            "endpointslice.kubernetes.io/managed-by": "chat-kube",
        }},
        "addressType": "IPv4",
        "ports": [{"name": "peer", "port": 9090, "protocol": "TCP"}],
        "endpoints": endpoints,
    }))
}
