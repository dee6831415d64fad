//! Nodes that get too little of a machine: slow, or started again, and nothing is lost.

use super::load::{Load, Plan};
use super::release::{NODES, Namespace, QUICK, Release, apply};
use super::{LONG, Suite, seconds};
use crate::tools::until;
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};

/// Seconds of load on nodes with little CPU time.
const CPU_LOAD: u32 = 60;

/// Seconds of load around a node that reaches its memory limit.
const MEMORY_LOAD: u32 = 90;

/// Memory that is enough for the load and not for the crowd.
const MEMORY: &str = "32Mi";

/// Connections of the crowd.
const CROWD: u32 = 6_000;

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

pub(super) fn of_memory(suite: &mut Suite<'_>) -> Result<(), String> {
    let limit = format!("resources.limits.memory={MEMORY},resources.requests.memory={MEMORY}");
    let args = [&QUICK[..], &["--set", &limit]].concat();
    let release = Release::install("chat", Namespace::restricted("chat-kube-starved-memory")?, &args)?;
    release.found_each_other()?;
    let load = Load::start(
        &release,
        Plan {
            seconds: MEMORY_LOAD,
            resumes: 0,
            rejoins: true,
            ..Plan::default()
        },
    )?;
    let victim = release.pod_names()?.pop().ok_or("no pods")?;
    let since = Instant::now();
    let made = apply(
        &["--namespace", &release.namespace.name],
        &crowd(&release, &victim).to_string(),
    )?;
    if !made.ok {
        return Err(format!("no crowd: {made:?}"));
    }
    until("the node reaches its limit and is killed", LONG, || {
        let pod = release.pod(&victim)?;
        let last = &pod["status"]["containerStatuses"][0]["lastState"]["terminated"];
        if last["reason"] == "OOMKilled" {
            Ok(())
        } else {
            Err(pod["status"].to_string())
        }
    })?;
    let killed = since.elapsed();
    release.kubectl(&["delete", "job", "crowd", "--wait=false"])?;
    release.ready(NODES)?;
    release.found_each_other()?;
    let back = since.elapsed();
    load.lasts(Duration::from_secs(5))?;
    let kept = load.verdict(&release)?;
    let restarts = restarts(&release)?;
    release.remove()?;
    suite.figure("a crowd to a node of 32 MiB killed by its limit", seconds(killed));
    suite.figure("a crowd to healthy peers", seconds(back));
    suite.figure("restarts", restarts);
    kept.tell(suite);
    Ok(())
}

/// How often nodes were started again.
fn restarts(release: &Release) -> Result<u64, String> {
    let count = |pod: &Json| pod["status"]["containerStatuses"][0]["restartCount"].as_u64();
    Ok(release.pods()?.iter().filter_map(count).sum())
}

/// Connections that do nothing, more than a node has memory for.
fn crowd(release: &Release, victim: &str) -> Json {
    let target = format!("ws://{victim}.chat-headless.{}.svc:8080", release.namespace.name);
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "crowd"},
        "spec": {"backoffLimit": 100, "template": {"spec": {
            "restartPolicy": "OnFailure",
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65_532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "crowd",
                "image": format!("docker.io/library/chat-tools:{}", env!("CARGO_PKG_VERSION")),
                "imagePullPolicy": "Never",
                "command": ["/usr/bin/chat-load"],
                "args": ["idle", format!("--target={target}"), format!("--connections={CROWD}")],
                "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"memory": "512Mi"}},
                "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]}},
            }],
        }}},
    })
}
