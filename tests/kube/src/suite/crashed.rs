//! All machines with nodes crash at once: nobody is left who knows anything but what is on the disks.

use super::hooks::{Done, Machines};
use super::load::{Load, Plan};
use super::release::{NODES, Namespace, Release};
use super::{LONG, Suite, seconds, setting};
use crate::tools::until;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How often, unless `CHAT_KUBE_CRASHES` says otherwise.
const ROUNDS: u32 = 2;

/// Seconds of load for each time.
const ROUND: u32 = 20;

pub(super) fn at_once(suite: &mut Suite<'_>) -> Result<(), String> {
    let rounds = match setting("CHAT_KUBE_CRASHES") {
        Some(text) => text.parse().map_err(|why| format!("CHAT_KUBE_CRASHES={text}: {why}"))?,
        None => ROUNDS,
    };
    let machines = Machines::find()?;
    // The load must live through it, so it has a machine for itself.
    let spared = machines.last()?;
    let elsewhere = elsewhere(spared);
    let release = Release::install(
        "chat",
        Namespace::restricted("chat-kube-crashed")?,
        &["--set-json", &elsewhere],
    )?;
    release.found_each_other()?;
    let used: BTreeSet<String> = release.places()?.into_iter().map(|(_, machine)| machine).collect();
    let crash: Vec<usize> = used
        .iter()
        .map(|name| machines.number(name))
        .collect::<Result<_, _>>()?;
    let load = Load::start(
        &release,
        Plan {
            seconds: ROUND * rounds + 15,
            rejoins: true,
            machine: Some(spared),
            ..Plan::default()
        },
    )?;
    let mut back = Vec::new();
    for _ in 0..rounds {
        back.push(round(&release, &crash)?);
    }
    load.lasts(Duration::from_secs(10))?;
    let kept = load.verdict(&release)?;
    release.remove()?;
    suite.figure(
        "crashes at once",
        format!("{} machines with {NODES} nodes, {rounds} times", crash.len()),
    );
    back.sort_unstable();
    suite.figure(
        "crash to all nodes healthy peers again",
        format!(
            "{}, at most {}",
            seconds(back.get(back.len() / 2).copied().unwrap_or_default()),
            seconds(back.last().copied().unwrap_or_default())
        ),
    );
    kept.tell(suite);
    Ok(())
}

/// A value of the chart that keeps the nodes off a machine.
pub(super) fn elsewhere(machine: &str) -> String {
    let not =
        json!({"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": [machine]}]});
    let affinity =
        json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [not]}}});
    format!("affinity={affinity}")
}

/// Crashes the machines and starts them again; how long until all nodes are healthy peers.
fn round(release: &Release, machines: &[usize]) -> Result<Duration, String> {
    let before = containers(release)?;
    let since = Instant::now();
    Done::crashed(machines)?.undo()?;
    until("every node runs in another container and is ready", LONG, || {
        let pods = release.pods()?;
        let again = |pod: &Json| {
            let status = &pod["status"]["containerStatuses"][0];
            status["ready"] == true && status["containerID"].as_str().is_some_and(|id| !before.contains(id))
        };
        let count = pods.iter().filter(|pod| again(pod)).count();
        if count == NODES {
            Ok(())
        } else {
            Err(format!("{count} of {NODES}"))
        }
    })?;
    release.found_each_other()?;
    Ok(since.elapsed())
}

/// The containers of the nodes.
fn containers(release: &Release) -> Result<BTreeSet<String>, String> {
    let id = |pod: &Json| {
        pod["status"]["containerStatuses"][0]["containerID"]
            .as_str()
            .map(str::to_owned)
    };
    Ok(release.pods()?.iter().filter_map(id).collect())
}
