//! Machines that are drained one after the other, as somebody does who maintains them.

use super::load::{Load, Plan};
use super::release::{NODES, Namespace, QUICK, Release, kubectl};
use super::{LONG, SHORT, Suite, seconds};
use crate::tools::{Beside, until};
use std::time::{Duration, Instant};

/// Seconds of load around all drains.
const LOAD: u32 = 75;

/// What `kubectl drain` says of a pod that the PodDisruptionBudget keeps.
const REFUSED: &str = "would violate the pod's disruption budget";

/// Machines that were drained take pods again when this goes.
struct Drained(Vec<String>);

impl Drop for Drained {
    fn drop(&mut self) {
        for machine in &self.0 {
            let _tried = kubectl(&["uncordon", machine]);
        }
    }
}

pub(super) fn in_turn(suite: &mut Suite<'_>) -> Result<(), String> {
    let release = Release::install("chat", Namespace::restricted("chat-kube-drained")?, &QUICK)?;
    release.found_each_other()?;
    let load = Load::start(
        &release,
        Plan {
            seconds: LOAD,
            ..Plan::default()
        },
    )?;
    let places = release.places()?;
    let guard = Drained(places.iter().map(|(_, machine)| machine.clone()).collect());
    let since = Instant::now();
    let mut blocked = Vec::new();
    let mut before: Option<&(String, String)> = None;
    for place in &places {
        let uid = release.pod(&place.0)?["metadata"]["uid"].clone();
        let mut drain = start(&place.1)?;
        if let Some((pod, machine)) = before {
            // The node before is still away: this one must not go as well.
            let asked = Instant::now();
            drain.hear(REFUSED, SHORT)?;
            let kept = release.pod(&place.0)?;
            if kept["metadata"]["uid"] != uid || !kept["metadata"]["deletionTimestamp"].is_null() {
                return Err(format!("{} goes while {pod} is away", place.0));
            }
            kubectl(&["uncordon", machine])?;
            ready(&release, pod)?;
            drain.finish(LONG)?;
            blocked.push(asked.elapsed());
        } else {
            drain.finish(LONG)?;
        }
        before = Some(place);
    }
    if let Some((pod, machine)) = before {
        kubectl(&["uncordon", machine])?;
        ready(&release, pod)?;
    }
    release.ready(NODES)?;
    let lasted = since.elapsed();
    load.lasts(Duration::from_secs(5))?;
    let kept = load.verdict(&release)?;
    drop(guard);
    release.remove()?;
    suite.figure("machines drained", format!("{} in {}", places.len(), seconds(lasted)));
    for blocked in &blocked {
        suite.figure("a drain refused until the node before was back", seconds(*blocked));
    }
    kept.tell(suite);
    Ok(())
}

/// Drains a machine of the nodes; the load stays where it is.
fn start(machine: &str) -> Result<Beside, String> {
    Beside::start(&format!(
        "kubectl drain {machine} --ignore-daemonsets --pod-selector=app.kubernetes.io/name=chat --timeout=180s"
    ))
}

fn ready(release: &Release, pod: &str) -> Result<(), String> {
    until("the node of the machine is back", LONG, || {
        let pod = release.pod(pod)?;
        if pod["status"]["containerStatuses"][0]["ready"] == true && pod["metadata"]["deletionTimestamp"].is_null() {
            Ok(())
        } else {
            Err(pod["status"].to_string())
        }
    })
}
