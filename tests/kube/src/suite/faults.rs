//! Nodes that end, in all the ways a cluster ends them, while sessions talk.

use super::load::{Load, Plan};
use super::release::{NODES, Namespace, Release};
use super::{LONG, Suite};
use crate::tools::until;
use std::time::{Duration, Instant};

/// How often a pod is killed.
const KILLS: usize = 20;

/// The status of a node whose data directory another process has.
pub(super) const IN_USE: i64 = 75;

/// Seconds of load around the kills; those who came back need some of them to talk again.
const KILL_LOAD: u32 = 220;

/// Seconds of load around a rolling restart.
const ROLLING_LOAD: u32 = 75;

pub(super) fn killed(suite: &mut Suite<'_>) -> Result<(), String> {
    let release = Release::install("chat", Namespace::restricted("chat-kube-killed")?, &[])?;
    release.found_each_other()?;
    let load = Load::start(
        &release,
        Plan {
            seconds: KILL_LOAD,
            ..Plan::default()
        },
    )?;
    let since = Instant::now();
    let names = release.pod_names()?;
    let (mut back, mut refused) = (Vec::new(), 0);
    for name in names.iter().cycle().take(KILLS) {
        let (after, attempts) = kill(&release, name)?;
        back.push(after);
        refused += attempts;
    }
    let lasted = since.elapsed();
    load.lasts(Duration::from_secs(10))?;
    let kept = load.verdict(&release)?;
    release.remove()?;
    back.sort_unstable();
    let middle = back.get(back.len() / 2).copied().unwrap_or_default();
    suite.figure(
        "pods killed without grace",
        format!("{KILLS} in {:.0} s", lasted.as_secs_f64()),
    );
    suite.figure(
        "kill to ready again",
        format!(
            "{:.1} s, at most {:.1} s",
            middle.as_secs_f64(),
            back.last().copied().unwrap_or_default().as_secs_f64()
        ),
    );
    suite.figure("starts that found the volume in use, and gave up", refused);
    kept.tell(suite);
    Ok(())
}

pub(super) fn rolling(suite: &mut Suite<'_>) -> Result<(), String> {
    let release = Release::install(
        "chat",
        Namespace::restricted("chat-kube-rolling")?,
        &[
            "--set",
            "drain.windowSeconds=3",
            "--set",
            "drain.endpointDelaySeconds=2",
        ],
    )?;
    release.found_each_other()?;
    let load = Load::start(
        &release,
        Plan {
            seconds: ROLLING_LOAD,
            ..Plan::default()
        },
    )?;
    let since = Instant::now();
    release.kubectl(&["rollout", "restart", "statefulset/chat"])?;
    release.kubectl(&["rollout", "status", "statefulset/chat", "--timeout=180s"])?;
    let lasted = since.elapsed();
    load.lasts(Duration::from_secs(5))?;
    let kept = load.verdict(&release)?;
    release.remove()?;
    suite.figure("all nodes replaced", format!("in {:.0} s", lasted.as_secs_f64()));
    kept.tell(suite);
    Ok(())
}

/// Kills a pod without grace; how long until another one of its name is ready, and how often that one gave up before because the
/// volume was still in use. There is no other reason to start twice.
pub(super) fn kill(release: &Release, name: &str) -> Result<(Duration, u64), String> {
    let before = release.pod(name)?["metadata"]["uid"].clone();
    let since = Instant::now();
    release.kubectl(&["delete", "pod", name, "--grace-period=0", "--force"])?;
    let status = until("the next pod of the name is ready", LONG, || {
        let pod = release.pod(name)?;
        let status = &pod["status"]["containerStatuses"][0];
        if pod["metadata"]["uid"] != before && status["ready"] == true {
            Ok(status.clone())
        } else {
            Err(pod["status"].to_string())
        }
    })?;
    let (back, starts) = (since.elapsed(), status["restartCount"].as_u64().unwrap_or_default());
    if starts > 0 && status["lastState"]["terminated"]["exitCode"] != IN_USE {
        return Err(format!("{name} did not start at once: {status}"));
    }
    release.ready(NODES)?;
    Ok((back, starts))
}
