//! A load inside of the cluster: a Job that runs `chat-load endure` against several pods, and whose status is the verdict.

use super::release::{Release, apply};
use super::{LONG, SHORT};
use crate::tools::{Beside, until};
use serde_json::{Value as Json, json};

/// Fewest messages that must be acknowledged for a run to show anything.
pub(super) const ACKNOWLEDGED: u64 = 1_000;

/// A running load.
pub(super) struct Load {
    name: String,
    /// Follows what it prints, so that nothing is lost with its machine's log.
    log: Beside,
}

/// What a load found: nothing lost, doubled or out of order, or it would be an error.
pub(super) struct Kept {
    /// Messages that were acknowledged.
    pub(super) acknowledged: u64,
    /// Messages that were shown to members.
    pub(super) delivered: u64,
    /// How often the session that came back least often came back, and the one that came back most often.
    pub(super) resumes: (u64, u64),
    /// The longest time without an acknowledgement in any room, in seconds.
    pub(super) longest_pause: f64,
}

impl Load {
    /// Starts sessions of both dialects on all nodes of a release, which talk for so many seconds. Each extended one must
    /// come back so many times, or the run shows nothing.
    pub(super) fn start(release: &Release, seconds: u32, min_resumes: u32) -> Result<Self, String> {
        let name = "load";
        let targets: Vec<String> = release
            .pod_names()?
            .iter()
            .map(|pod| format!("ws://{pod}.chat-headless.{}.svc:8080", release.namespace.name))
            .collect();
        let args = [
            "endure".to_owned(),
            "--json".to_owned(),
            format!("--target={}", targets.join(",")),
            format!("--seconds={seconds}"),
            format!("--min-acknowledged={ACKNOWLEDGED}"),
            format!("--min-resumes={min_resumes}"),
        ];
        let job = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
            "spec": {"backoffLimit": 0, "template": {"spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": false,
                "securityContext": {"runAsNonRoot": true, "runAsUser": 65_532, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{
                    "name": "load",
                    "image": format!("docker.io/library/chat-tools:{}", env!("CARGO_PKG_VERSION")),
                    "imagePullPolicy": "Never",
                    "command": ["/usr/bin/chat-load"],
                    "args": args,
                    "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
                    "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                        "capabilities": {"drop": ["ALL"]}},
                }],
            }}},
        });
        let made = apply(&["--namespace", &release.namespace.name], &job.to_string())?;
        if !made.ok {
            return Err(format!("no load: {made:?}"));
        }
        until("the load runs", SHORT, || {
            let pod = Self::pod(release, name)?;
            match pod["status"]["phase"].as_str() {
                Some("Running") => Ok(()),
                _ => Err(format!("its pod: {}", pod["status"])),
            }
        })?;
        let line = format!(
            "kubectl --namespace {} logs --follow job/{name}",
            release.namespace.name
        );
        Ok(Self {
            name: name.to_owned(),
            log: Beside::start(&line)?,
        })
    }

    /// Waits for its end and its verdict, which is its status. `None` if that is good and the machine has lost the log with the
    /// figures, as kubelets that share a disk do to each other.
    pub(super) fn verdict(self, release: &Release) -> Result<Option<Kept>, String> {
        let status = until("the load ends", LONG, || {
            let pod = Self::pod(release, &self.name)?;
            let ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"].as_i64();
            ended.ok_or_else(|| "it runs".into())
        })?;
        let said = self.log.finish(SHORT)?;
        if status != 0 {
            return Err(format!("the load ended with {status}:\n{}", said.join("\n")));
        }
        let report = said
            .iter()
            .rev()
            .find_map(|line| serde_json::from_str::<Json>(line).ok());
        let Some(report) = report else { return Ok(None) };
        let number = |name: &str| report[name].as_u64().ok_or_else(|| format!("no {name} in {report}"));
        let pauses = report["rooms"].as_array().into_iter().flatten();
        let pauses = pauses.filter_map(|room| room["longest_pause_ms"].as_f64());
        Ok(Some(Kept {
            acknowledged: number("acknowledged")?,
            delivered: number("delivered")?,
            resumes: (number("resumes_min")?, number("resumes_max")?),
            longest_pause: pauses.fold(0.0, f64::max) / 1_000.0,
        }))
    }

    fn pod(release: &Release, job: &str) -> Result<Json, String> {
        let selector = format!("batch.kubernetes.io/job-name={job}");
        let text = release.kubectl(&["get", "pods", "--selector", &selector, "--output=json"])?;
        let list: Json = serde_json::from_str(&text).map_err(|why| why.to_string())?;
        Ok(list["items"][0].clone())
    }
}
