//! Parts of the cluster that stop: the API server, the controllers, the names, a kubelet. Nodes that know each other go on.

use super::hooks::Done;
use super::load::{Load, Plan};
use super::release::{NODES, Namespace, QUICK, Release};
use super::{SHORT, Suite, seconds};
use crate::tools::until;
use std::time::{Duration, Instant};

/// Seconds of load around controllers that are gone.
const CONTROLLERS_LOAD: u32 = 75;

pub(super) fn controllers(suite: &mut Suite<'_>) -> Result<(), String> {
    let release = Release::install("chat", Namespace::restricted("chat-kube-controllers-stopped")?, &QUICK)?;
    release.found_each_other()?;
    let load = Load::start(
        &release,
        Plan {
            seconds: CONTROLLERS_LOAD,
            resumes: 0,
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
    load.lasts(Duration::from_secs(10))?;
    let kept = load.verdict(&release)?;
    release.remove()?;
    suite.figure("killed to failed on the others, though still listed", seconds(noticed));
    suite.figure("controllers started to healthy peers", seconds(back));
    kept.tell(suite);
    Ok(())
}
