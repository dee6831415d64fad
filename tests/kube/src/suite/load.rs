//! A load inside of the cluster: a Job that runs `chat-load endure` against several pods. Its status is the verdict, and the
//! message with which its container ends holds the figures: unlike its log it is kept by the API server.

use super::release::{Release, apply};
use super::{LONG, SHORT, Suite};
use crate::tools::until;
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};

/// Fewest messages that must be acknowledged for a run to show anything.
const ACKNOWLEDGED: u64 = 1_000;

/// Where a container leaves the message with which it ends, unless a pod says otherwise.
const MESSAGE: &str = "/dev/termination-log";

/// A load to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan<'a> {
    /// How long it talks.
    pub(super) seconds: u32,
    /// How often each extended session must come back, or the run shows nothing.
    pub(super) resumes: u64,
    /// Whether sessions may have to join anew: for faults that keep one away for more than ten seconds.
    pub(super) rejoins: bool,
    /// The machine that it runs on.
    pub(super) machine: Option<&'a str>,
    /// Whether it calls the nodes by the addresses that they have now, where names may not resolve.
    pub(super) by_address: bool,
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Self {
            seconds: 60,
            resumes: 1,
            rejoins: false,
            machine: None,
            by_address: false,
        }
    }
}

/// A running load.
pub(super) struct Load {
    name: String,
    since: Instant,
    length: Duration,
    resumes: u64,
}

/// What a load found: nothing lost, doubled or out of order, or it would be an error.
#[derive(Debug, PartialEq)]
pub(super) struct Kept {
    /// Messages that were acknowledged.
    pub(super) acknowledged: u64,
    /// Messages that were shown to members.
    delivered: u64,
    /// How often the session that came back least often came back, and the one that came back most often.
    resumes: (u64, u64),
    /// How often one had to join anew.
    rejoins: u64,
    /// The longest time without an acknowledgement in each room, in seconds. The rooms are on one node after the other.
    pub(super) pauses: Vec<f64>,
    /// By room, how long the longest but one in a hundred acknowledgements took, in milliseconds, of sessions that began at each node;
    /// `None` of those who had none.
    p99: Vec<Vec<Option<f64>>>,
}

impl Load {
    /// Starts sessions of both dialects on all nodes of a release.
    pub(super) fn start(release: &Release, plan: Plan<'_>) -> Result<Self, String> {
        let name = format!("load-{}", release.name);
        let job = job(&name, &targets(release, plan.by_address)?, plan);
        let made = apply(&["--namespace", &release.namespace.name], &job.to_string())?;
        if !made.ok {
            return Err(format!("no load: {made:?}"));
        }
        let this = Self {
            name,
            since: Instant::now(),
            length: Duration::from_secs(plan.seconds.into()),
            resumes: plan.resumes,
        };
        until("the load runs", SHORT, || {
            let pod = this.pod(release)?;
            match pod["status"]["phase"].as_str() {
                Some("Running") => Ok(()),
                _ => Err(format!("its pod: {}", pod["status"])),
            }
        })?;
        Ok(this)
    }

    /// Whether what was to be done under load was done while it lasted, with `margin` left to come back in.
    pub(super) fn lasts(&self, margin: Duration) -> Result<(), String> {
        let (took, length) = (self.since.elapsed(), self.length);
        if took + margin <= length {
            Ok(())
        } else {
            Err(format!("after {took:.0?} a load of {length:.0?} is too short"))
        }
    }

    /// Waits for its end and its verdict.
    ///
    /// # Errors
    /// Whatever the load found wrong, or that it shows too little.
    pub(super) fn verdict(self, release: &Release) -> Result<Kept, String> {
        let limit = self.length.saturating_sub(self.since.elapsed()) + LONG;
        let ended = until("the load ends", limit, || {
            let pod = self.pod(release)?;
            let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
            match ended["exitCode"].as_i64() {
                Some(status) => Ok((status, ended["message"].as_str().unwrap_or_default().to_owned())),
                None => Err("it runs".into()),
            }
        });
        let (status, message) = ended.map_err(|why| format!("{why}: {:?}", self.pod(release)))?;
        if status != 0 {
            return Err(format!("the load ended with {status}:\n{message}"));
        }
        let kept = Kept::read(&message)?;
        if kept.acknowledged < ACKNOWLEDGED || kept.resumes.0 < self.resumes {
            return Err(format!(
                "{ACKNOWLEDGED} acknowledged messages and {} resumes of each session are needed to show anything:\n{message}",
                self.resumes
            ));
        }
        Ok(kept)
    }

    fn pod(&self, release: &Release) -> Result<Json, String> {
        let selector = format!("batch.kubernetes.io/job-name={}", self.name);
        let text = release.kubectl(&["get", "pods", "--selector", &selector, "--output=json"])?;
        let list: Json = serde_json::from_str(&text).map_err(|why| why.to_string())?;
        Ok(list["items"][0].clone())
    }
}

impl Kept {
    /// Reads the lines that the load left.
    fn read(message: &str) -> Result<Self, String> {
        let values = |name: &str| {
            let named = message.lines().filter_map(|line| line.split_once(' '));
            let named = named.filter(|(found, _)| *found == name);
            named.map(|(_, value)| value.to_owned()).collect::<Vec<String>>()
        };
        let number = |name: &str| {
            let value = values(name).first().and_then(|value| value.parse::<u64>().ok());
            value.ok_or_else(|| format!("no {name} in what the load left:\n{message}"))
        };
        if values("verdict") != ["kept"] || number("broken")? != 0 {
            return Err(format!("the load does not say that all is well:\n{message}"));
        }
        let pauses: Vec<f64> = values("pause_ms")
            .iter()
            .filter_map(|value| value.parse::<f64>().ok())
            .map(|ms| ms / 1_000.0)
            .collect();
        if pauses.is_empty() {
            return Err(format!("no rooms in what the load left:\n{message}"));
        }
        let p99 = values("p99_ms").into_iter().map(|line| {
            let of_home = |ms: &str| if ms == "-" { Ok(None) } else { ms.parse().map(Some) };
            line.split(' ').map(of_home).collect::<Result<_, _>>()
        });
        let p99: Vec<Vec<Option<f64>>> = p99
            .collect::<Result<_, _>>()
            .map_err(|why| format!("a p99 that is no number ({why}):\n{message}"))?;
        if p99.len() != pauses.len() {
            return Err(format!("not every room has its p99:\n{message}"));
        }
        Ok(Self {
            acknowledged: number("acknowledged")?,
            delivered: number("delivered")?,
            resumes: (number("resumes_min")?, number("resumes_max")?),
            rejoins: number("rejoins")?,
            pauses,
            p99,
        })
    }

    /// The longest p99 of acknowledgements, in milliseconds, of sessions that began at any but one node in rooms of any but that one.
    pub(super) fn p99_apart_from(&self, node: usize) -> f64 {
        let others = |all: usize| (0..all).filter(move |nth| *nth != node);
        let all = others(self.p99.len())
            .flat_map(|room| others(self.p99[room].len()).filter_map(move |home| self.p99[room][home]));
        all.fold(0.0, f64::max)
    }

    /// The longest time without an acknowledgement in any room, in seconds.
    pub(super) fn longest_pause(&self) -> f64 {
        self.pauses.iter().copied().fold(0.0, f64::max)
    }

    /// Prints the figures.
    pub(super) fn tell(&self, suite: &mut Suite<'_>) {
        suite.figure(
            "acknowledged",
            format!("{}; lost, doubled or out of order: 0", self.acknowledged),
        );
        suite.figure("delivered", self.delivered);
        let (fewest, most) = self.resumes;
        suite.figure("resumes per client", format!("{fewest} to {most}"));
        suite.figure("rejoins", self.rejoins);
        let pauses: Vec<String> = self.pauses.iter().map(|pause| format!("{pause:.1}")).collect();
        suite.figure("longest write gap per room", format!("{} s", pauses.join(", ")));
    }
}

/// Where the nodes of a release are.
fn targets(release: &Release, by_address: bool) -> Result<Vec<String>, String> {
    let text = |pod: &Json, path: &str| {
        let text = pod.pointer(path).and_then(Json::as_str).map(str::to_owned);
        text.ok_or_else(|| format!("a pod without {path}"))
    };
    let target = |pod: &Json| {
        if by_address {
            return Ok(format!("ws://{}:8080", text(pod, "/status/podIP")?));
        }
        let name = text(pod, "/metadata/name")?;
        let set = name.rsplit_once('-').map_or(name.as_str(), |(set, _)| set);
        Ok(format!(
            "ws://{name}.{set}-headless.{}.svc:8080",
            release.namespace.name
        ))
    };
    release.pods()?.iter().map(target).collect()
}

fn job(name: &str, targets: &[String], plan: Plan<'_>) -> Json {
    let mut args = vec![
        "endure".to_owned(),
        format!("--report={MESSAGE}"),
        format!("--target={}", targets.join(",")),
        format!("--seconds={}", plan.seconds),
        format!("--min-acknowledged={ACKNOWLEDGED}"),
        format!("--min-resumes={}", plan.resumes),
    ];
    args.extend(plan.rejoins.then(|| "--allow-rejoins".to_owned()));
    let selector = plan.machine.map(|machine| json!({"kubernetes.io/hostname": machine}));
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {"spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "nodeSelector": selector.unwrap_or_else(|| json!({})),
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65_532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "load",
                "image": format!("docker.io/library/chat-tools:{}", env!("CARGO_PKG_VERSION")),
                "imagePullPolicy": "Never",
                "command": ["/usr/bin/chat-load"],
                "args": args,
                "terminationMessagePath": MESSAGE,
                "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
                "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]}},
            }],
        }}},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE_OF_A_GOOD_RUN: &str = "verdict kept\nacknowledged 1234\ndelivered 7404\nresumes_min 2\nresumes_max 5\nrejoins 1\nheard 0\n\
        broken 0\npause_ms 1250\npause_ms 300\np99_ms 3.5 900.0\np99_ms - 800.0\n";

    #[test]
    fn the_figures_that_a_load_leaves_are_read() {
        assert_eq!(
            Kept::read(MESSAGE_OF_A_GOOD_RUN),
            Ok(Kept {
                acknowledged: 1_234,
                delivered: 7_404,
                resumes: (2, 5),
                rejoins: 1,
                pauses: vec![1.25, 0.3],
                p99: vec![vec![Some(3.5), Some(900.0)], vec![None, Some(800.0)]],
            })
        );
    }

    #[test]
    fn the_p99_of_the_others_leaves_out_the_rooms_and_the_sessions_of_a_node() {
        let kept = Kept::read(MESSAGE_OF_A_GOOD_RUN).expect("a good run");
        assert_eq!((kept.p99_apart_from(1), kept.p99_apart_from(0)), (3.5, 800.0));
    }

    #[test]
    fn a_load_that_leaves_nothing_or_half_of_it_shows_nothing() {
        for message in [
            "",
            "verdict kept\n",
            &MESSAGE_OF_A_GOOD_RUN.replace("broken 0", "broken 1"),
        ] {
            assert!(Kept::read(message).is_err(), "{message:?}");
        }
        let undecided = MESSAGE_OF_A_GOOD_RUN.replace("kept", "undecided");
        assert!(Kept::read(&undecided).is_err());
        let cut = MESSAGE_OF_A_GOOD_RUN.split("pause_ms").next().unwrap_or_default();
        assert!(Kept::read(cut).is_err(), "{cut:?}");
    }
}
