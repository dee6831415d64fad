//! Nodes that get too little of a machine: slow, or started again, and nothing is lost.

use super::load::{Load, Plan};
use super::release::{Namespace, QUICK, Release};
use super::{Suite, seconds};
use serde_json::Value as Json;

/// Seconds of load on nodes with little CPU time.
const CPU_LOAD: u32 = 60;

pub(super) fn of_cpu(suite: &mut Suite<'_>) -> Result<(), String> {
    let args = [&QUICK[..], &["--set", "resources.limits.cpu=100m"]].concat();
    let release = Release::install("chat", Namespace::restricted("chat-kube-starved-cpu")?, &args)?;
    release.found_each_other()?;
    let load = Load::start(
        &release,
        Plan {
            seconds: CPU_LOAD,
            resumes: 0,
            rejoins: true,
            ..Plan::default()
        },
    )?;
    let kept = load.verdict(&release)?;
    let restarts = restarts(&release)?;
    let ready_after = release.ready_after;
    release.remove()?;
    suite.figure("with a tenth of a CPU, install to ready", seconds(ready_after));
    suite.figure("restarts", restarts);
    kept.tell(suite);
    if restarts > 0 {
        return Err("a slow node was taken for a dead one".into());
    }
    Ok(())
}

/// How often nodes were started again.
fn restarts(release: &Release) -> Result<u64, String> {
    let count = |pod: &Json| pod["status"]["containerStatuses"][0]["restartCount"].as_u64();
    Ok(release.pods()?.iter().filter_map(count).sum())
}
