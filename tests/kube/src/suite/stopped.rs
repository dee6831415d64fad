//! Parts of the cluster that stop: the API server, the controllers, the names, a kubelet. Nodes that know each other go on.

use super::faults::kill;
use super::hooks::{Done, Hook, Machines};
use super::load::{Load, Plan};
use super::release::{NODES, Namespace, QUICK, Release, kubectl};
use super::{LONG, SHORT, Suite, seconds};
use crate::tools::{throughout, until};
use serde_json::Value as Json;
use std::time::{Duration, Instant};

/// How long the API server stays away while containers are killed.
const API_AWAY: Duration = Duration::from_secs(120);

/// Seconds of load around that.
const API_LOAD: u32 = 150;

/// How long names and the API server stay away.
const NAMES_AWAY: Duration = Duration::from_secs(60);

/// Seconds of load around that.
const NAMES_LOAD: u32 = 90;

/// For how long a node whose kubelet is gone is looked at.
const UNTENDED: Duration = Duration::from_secs(30);

/// Seconds of load around a kubelet that is gone.
const KUBELET_LOAD: u32 = 100;

/// Seconds of load around controllers that are gone.
const CONTROLLERS_LOAD: u32 = 110;

pub(super) fn api(suite: &mut Suite<'_>) -> Result<(), String> {
    let release = Release::install("chat", Namespace::restricted("chat-kube-container-killed")?, &QUICK)?;
    release.found_each_other()?;
    let load = Load::start(
        &release,
        Plan {
            seconds: API_LOAD,
            ..Plan::default()
        },
    )?;
    let killed = kill_meanwhile(&release, &["apiserver"], API_AWAY)?;
    release.ready(NODES)?;
    release.found_each_other()?;
    let kept = load.verdict(&release)?;
    release.remove()?;
    suite.figure("the API server away", seconds(API_AWAY));
    suite.figure("containers killed to their next ones, meanwhile", killed);
    kept.tell(suite);
    within(kept.longest_pause(), API_AWAY)
}

pub(super) fn names(suite: &mut Suite<'_>) -> Result<(), String> {
    let release = Release::install("chat", Namespace::restricted("chat-kube-dns-stopped")?, &QUICK)?;
    release.found_each_other()?;
    let load = Load::start(
        &release,
        Plan {
            seconds: NAMES_LOAD,
            by_address: true,
            ..Plan::default()
        },
    )?;
    let killed = kill_meanwhile(&release, &["dns", "apiserver"], NAMES_AWAY)?;
    release.ready(NODES)?;
    release.found_each_other()?;
    let kept = load.verdict(&release)?;
    release.remove()?;
    suite.figure("names and the API server away", seconds(NAMES_AWAY));
    suite.figure("containers killed to their next ones, meanwhile", killed);
    kept.tell(suite);
    // It found its peers while nobody could be asked, or its rooms would have waited.
    within(kept.longest_pause(), NAMES_AWAY)
}

/// Stops parts for a while and kills the container of one node after the other meanwhile, so that every session loses its node once;
/// what the kubelets say about that.
fn kill_meanwhile(release: &Release, parts: &[&str], away: Duration) -> Result<String, String> {
    let pods = release.pod_names()?;
    let stopped = parts
        .iter()
        .map(|part| Done::stopped(part))
        .collect::<Result<Vec<_>, _>>()?;
    let since = Instant::now();
    for (pod, turn) in pods.iter().zip(1..) {
        Hook::Kill.call(&[&release.namespace.name, pod])?;
        // Nobody can be asked meanwhile; the load goes on.
        let next = away * turn / u32::try_from(pods.len()).unwrap_or(u32::MAX);
        throughout(next.saturating_sub(since.elapsed()), || Ok(()))?;
    }
    stopped.into_iter().rev().try_for_each(Done::undo)?;
    until("the API server answers", LONG, || kubectl(&["get", "--raw", "/readyz"]))?;
    let gaps = pods
        .iter()
        .map(|pod| gap(release, pod, away).map(|gap| gap.to_string()))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(format!("{} s, as the kubelets round", gaps.join(", ")))
}

/// Seconds between the end of a container and the begin of the next one.
fn gap(release: &Release, pod: &str, away: Duration) -> Result<u64, String> {
    // The kubelet tells what happened as soon as it can.
    let status = until("the kubelet tells of the next container", SHORT, || {
        let pod = release.pod(pod)?;
        let status = pod["status"]["containerStatuses"][0].clone();
        if status["restartCount"] == 1 {
            Ok(status)
        } else {
            Err(status.to_string())
        }
    })?;
    let ended = second_of_day(&status["lastState"]["terminated"]["finishedAt"])?;
    let began = second_of_day(&status["state"]["running"]["startedAt"])?;
    let gap = (began + DAY - ended) % DAY;
    // Half of what the last one would have had to wait for the API server.
    if gap >= away.as_secs() / 6 {
        return Err(format!("the next container came only with the API server: {status}"));
    }
    Ok(gap)
}

const DAY: u64 = 86_400;

/// The second of the day of `2031-04-05T06:07:09Z`.
fn second_of_day(time: &Json) -> Result<u64, String> {
    let number = |from: usize| time.as_str()?.get(from..from + 2)?.parse::<u64>().ok();
    match (number(11), number(14), number(17)) {
        (Some(hours), Some(minutes), Some(seconds)) => Ok(hours * 3_600 + minutes * 60 + seconds),
        _ => Err(format!("no time: {time}")),
    }
}

/// Judges the longest gap: a node that waits for a part of the cluster has one as long as that was away.
fn within(pause: f64, away: Duration) -> Result<(), String> {
    // Half of it is far from both a restart and the whole.
    if pause < away.as_secs_f64() / 2.0 {
        Ok(())
    } else {
        Err(format!("a room waited for {pause:.1} s"))
    }
}

pub(super) fn kubelet(suite: &mut Suite<'_>) -> Result<(), String> {
    let machines = Machines::find()?;
    let release = Release::install("chat", Namespace::restricted("chat-kube-kubelet-stopped")?, &QUICK)?;
    release.found_each_other()?;
    let names = release.pod_names()?;
    let places = release.places()?;
    let ((_, load_at), (_, machine)) = places.first().zip(places.last()).ok_or("no pods")?;
    let load = Load::start(
        &release,
        Plan {
            seconds: KUBELET_LOAD,
            resumes: 0,
            machine: Some(load_at),
            ..Plan::default()
        },
    )?;
    let stopped = Done::stopped(&format!("kubelet-{}", machines.number(machine)?))?;
    let since = Instant::now();
    until("the machine is not ready", LONG, || is_ready(machine, false))?;
    let noticed = since.elapsed();
    let looks = throughout(UNTENDED, || release.all_healthy(&names))?;
    stopped.undo()?;
    until("the machine is ready", LONG, || is_ready(machine, true))?;
    release.ready(NODES)?;
    load.lasts(Duration::ZERO)?;
    let restarts = release
        .pods()?
        .iter()
        .filter(|pod| pod["status"]["containerStatuses"][0]["restartCount"] != 0)
        .count();
    let kept = load.verdict(&release)?;
    release.remove()?;
    suite.figure("kubelet stopped to its machine not ready", seconds(noticed));
    suite.figure(
        "its node from then on",
        format!("{looks} looks in {}, a healthy peer in each", seconds(UNTENDED)),
    );
    suite.figure("nodes started again", restarts);
    kept.tell(suite);
    if restarts > 0 {
        return Err("a node was started again although only its kubelet was".into());
    }
    Ok(())
}

pub(super) fn controllers(suite: &mut Suite<'_>) -> Result<(), String> {
    let release = Release::install("chat", Namespace::restricted("chat-kube-controllers-stopped")?, &QUICK)?;
    release.found_each_other()?;
    let load = Load::start(
        &release,
        Plan {
            seconds: CONTROLLERS_LOAD,
            rejoins: true,
            ..Plan::default()
        },
    )?;
    let names = release.pod_names()?;
    let (killed, others) = names.split_last().ok_or("no pods")?;
    let stopped = Done::stopped("controllers")?;
    release.kubectl(&["delete", "pod", killed, "--grace-period=0", "--force"])?;
    let since = Instant::now();
    until("the others say that it has failed", SHORT, || {
        for other in others {
            if release.health(other, killed)? != 0 {
                return Err(format!("{other} does not"));
            }
        }
        Ok(())
    })?;
    let noticed = since.elapsed();
    let listed = release.kubectl(&[
        "get",
        "endpointslices",
        "--selector=kubernetes.io/service-name=chat-headless",
        "--output=jsonpath={.items[*].endpoints[*].targetRef.name}",
    ])?;
    if !listed.split_whitespace().any(|name| name == killed) {
        return Err(format!("the list is not out of date: {listed}"));
    }
    stopped.undo()?;
    let since = Instant::now();
    release.ready(NODES)?;
    release.found_each_other()?;
    let back = since.elapsed();
    // Sessions of the others lose their node, too, or they would have no reason to come back.
    for other in others {
        kill(&release, other)?;
    }
    load.lasts(Duration::from_secs(10))?;
    let kept = load.verdict(&release)?;
    release.remove()?;
    suite.figure("killed to failed on the others, though still listed", seconds(noticed));
    suite.figure("controllers started to healthy peers", seconds(back));
    kept.tell(suite);
    Ok(())
}

/// Whether a machine is ready, or is not.
fn is_ready(machine: &str, wanted: bool) -> Result<(), String> {
    let path = "--output=jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
    let status = kubectl(&["get", "node", machine, path])?;
    if (status == "True") == wanted {
        Ok(())
    } else {
        Err(format!("it says {status}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_kubelet_are_read() {
        assert_eq!(second_of_day(&"2031-04-05T06:07:09Z".into()), Ok(22_029));
        assert!(second_of_day(&Json::Null).is_err());
        assert!(second_of_day(&"soon".into()).is_err());
    }
}
