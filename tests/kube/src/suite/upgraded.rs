//! Another version, back again, and an image that is no node: all of it while sessions talk.

use super::load::{Load, Plan};
use super::release::{NODES, Namespace, QUICK, Release};
use super::{LONG, Suite, seconds, setting};
use crate::tools::{throughout, until};
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// The variable that names the tag of the next version.
pub(super) const NEXT: &str = "CHAT_KUBE_NEXT";

/// Seconds of load around all of it.
const LOAD: u32 = 200;

/// For how long an image that does not work is watched.
const BROKEN: Duration = Duration::from_secs(15);

pub(super) fn and_back(suite: &mut Suite<'_>) -> Result<(), String> {
    let next = setting(NEXT).ok_or_else(|| format!("{NEXT} names no tag"))?;
    let mut args = QUICK.to_vec();
    args.extend(["--set", "minReadySeconds=3"]);
    let release = Release::install("chat", Namespace::restricted("chat-kube-upgraded")?, &args)?;
    release.found_each_other()?;
    let load = Load::start(
        &release,
        Plan {
            seconds: LOAD,
            ..Plan::default()
        },
    )?;
    let (first, old) = (images(&release)?, versions(&release)?);

    let since = Instant::now();
    release.upgrade(&["--set", &format!("image.tag={next}"), "--wait", "--timeout=180s"])?;
    let upgraded = since.elapsed();
    let second = images(&release)?;
    let tag = format!(":{next}");
    if second.len() != 1
        || !second
            .iter()
            .all(|(image, id)| image.ends_with(&tag) && first.iter().all(|(_, old)| old != id))
    {
        return Err(format!("the nodes run {second:?} after {first:?}"));
    }

    let new = versions(&release)?;
    if old.len() != 1 || new.len() != 1 || old == new {
        return Err(format!("the nodes were {old:?} and are {new:?}: not two versions"));
    }

    let since = Instant::now();
    release.roll_back(1)?;
    let back = since.elapsed();
    if images(&release)? != first || versions(&release)? != old {
        return Err(format!("the nodes run {:?} instead of {first:?}", images(&release)?));
    }

    let since = Instant::now();
    release.upgrade(&["--set", "image.repository=docker.io/library/chat-tools"])?;
    let kept = broken(&release)?;
    release.roll_back(3)?;
    release.ready(NODES)?;
    release.found_each_other()?;
    let mended = since.elapsed();
    if images(&release)? != first {
        return Err(format!("the nodes run {:?} instead of {first:?}", images(&release)?));
    }
    load.lasts(Duration::from_secs(5))?;
    let verdict = load.verdict(&release)?;
    release.remove()?;
    let names = |of: BTreeSet<String>| of.into_iter().collect::<Vec<_>>().join(", ");
    suite.figure(&format!("{} to {}", names(old), names(new)), seconds(upgraded));
    suite.figure("rolled back", seconds(back));
    suite.figure(
        "nodes that an image without a node left alone",
        format!("{kept} of {NODES}"),
    );
    suite.figure(
        "that image to healthy peers after a rollback, nothing deleted by hand",
        seconds(mended),
    );
    verdict.tell(suite);
    Ok(())
}

/// Waits until a node of the image fails, and looks how many others stay as they are meanwhile.
fn broken(release: &Release) -> Result<usize, String> {
    let sound = |pod: &Json| pod["status"]["containerStatuses"][0]["ready"] == true;
    until("a node of that image fails", LONG, || {
        let pods = release.pods()?;
        let failed = |pod: &Json| {
            let status = &pod["status"]["containerStatuses"][0];
            let image = pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
            image.contains("chat-tools") && status["restartCount"].as_u64().unwrap_or_default() > 0
        };
        if pods.iter().any(failed) {
            Ok(())
        } else {
            Err("none".into())
        }
    })?;
    let mut kept = NODES;
    throughout(BROKEN, || {
        let count = release.pods()?.iter().filter(|pod| sound(pod)).count();
        kept = kept.min(count);
        if count + 1 >= NODES {
            Ok(())
        } else {
            Err(format!("only {count} nodes are ready"))
        }
    })?;
    Ok(kept)
}

/// What the nodes say that they are.
fn versions(release: &Release) -> Result<BTreeSet<String>, String> {
    let mut versions = BTreeSet::new();
    for pod in release.pod_names()? {
        let metrics = release.metrics(&pod)?;
        let line = metrics.lines().find(|line| line.starts_with("chat_build_info{"));
        let version = line.and_then(|line| line.split_once("version=\"")?.1.split('"').next());
        versions.insert(
            version
                .ok_or_else(|| format!("{pod} does not say its version"))?
                .to_owned(),
        );
    }
    Ok(versions)
}

/// What the nodes run: the name of the image, and its identity.
fn images(release: &Release) -> Result<BTreeSet<(String, String)>, String> {
    let image = |pod: &Json| {
        let id = pod["status"]["containerStatuses"][0]["imageID"].as_str()?;
        Some((
            pod["spec"]["containers"][0]["image"].as_str()?.to_owned(),
            id.to_owned(),
        ))
    };
    Ok(release.pods()?.iter().filter_map(image).collect())
}
