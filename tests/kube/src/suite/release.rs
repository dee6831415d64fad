//! A release of the chart in a namespace of its own.

use super::hooks::Hook;
use super::{LONG, SHORT};
use crate::helm::chart;
use crate::tools::{self, Beside, Said, until};
use chat_node::telemetry::metrics::without_node;
use serde_json::Value as Json;
use std::time::{Duration, Instant};

/// How many nodes the chart's default values ask for.
pub(super) const NODES: usize = 3;

/// Values under which a pod that is to go goes quickly; everything else has its default.
pub(super) const QUICK: [&str; 4] = [
    "--set",
    "drain.endpointDelaySeconds=0",
    "--set",
    "drain.windowSeconds=1",
];

/// The namespace goes when it is dropped; [`Self::remove`] also waits for that.
#[derive(Debug)]
pub(super) struct Namespace {
    pub(super) name: String,
}

impl Namespace {
    /// Makes one that enforces the *restricted* standard, after removing what an interrupted run may have left.
    pub(super) fn restricted(name: &str) -> Result<Self, String> {
        kubectl(&[
            "delete",
            "namespace",
            name,
            "--ignore-not-found",
            "--wait=true",
            "--timeout=180s",
        ])?;
        kubectl(&["create", "namespace", name])?;
        let this = Self { name: name.to_owned() };
        let labels = ["enforce", "warn"].map(|mode| format!("pod-security.kubernetes.io/{mode}=restricted"));
        kubectl(&["label", "namespace", name, &labels[0], &labels[1]])?;
        until("the namespace has its default account", SHORT, || {
            kubectl(&["get", "serviceaccount", "default", "--namespace", name])
        })?;
        Ok(this)
    }

    /// The same one, for a further release in it.
    pub(super) fn again(&self) -> Self {
        Self {
            name: self.name.clone(),
        }
    }

    /// Removes it with all that is in it, and waits.
    pub(super) fn remove(self) -> Result<(), String> {
        self.delete(true)?;
        until("nothing is left", SHORT, || {
            if Hook::Reclaim.command().is_some() {
                Hook::Reclaim.call(&[])?;
            }
            left(&self.name)
        })
    }

    fn delete(&self, wait: bool) -> Result<(), String> {
        // Only to be faster: the namespace would wait for the grace period of the pods.
        let orphan = [
            "delete",
            "statefulsets",
            "--all",
            "--cascade=orphan",
            "--namespace",
            &self.name,
        ];
        let kill = ["delete", "pods", "--all", "--grace-period=1", "--namespace", &self.name];
        for hurry in [&orphan[..], &kill[..]] {
            let _tried = tools::run("kubectl", hurry, "", SHORT);
        }
        let wait = format!("--wait={wait}");
        kubectl(&[
            "delete",
            "namespace",
            &self.name,
            "--ignore-not-found",
            &wait,
            "--timeout=180s",
        ])
        .map(drop)
    }
}

/// Looks whether a removed namespace left anything that would be in the way of the next.
fn left(namespace: &str) -> Result<(), String> {
    let read = |kind: &str| -> Result<Vec<Json>, String> {
        let list = kubectl(&["get", kind, "--output=json"])?;
        let list: Json = serde_json::from_str(&list).map_err(|why| why.to_string())?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    };
    let mut found = Vec::new();
    let volumes = read("persistentvolumes")?;
    found.extend(volumes.iter().filter(|volume| {
        // Without the hook it is the storage of the cluster that decides what becomes of a volume.
        Hook::Reclaim.command().is_some() && volume["spec"]["claimRef"]["namespace"] == namespace
    }));
    let namespaces = read("namespaces")?;
    found.extend(namespaces.iter().filter(|other| other["metadata"]["name"] == namespace));
    let machines = read("nodes")?;
    found.extend(
        machines
            .iter()
            .filter(|machine| machine["spec"]["unschedulable"] == true),
    );
    if found.is_empty() {
        Ok(())
    } else {
        let names: Vec<String> = found
            .iter()
            .map(|object| format!("{} {}", object["kind"], object["metadata"]["name"]))
            .collect();
        Err(format!("{namespace} left: {}", names.join(", ")))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // What it leaves is removed by the next run.
        let _tried = self.delete(false);
    }
}

/// An installed release.
#[derive(Debug)]
pub(super) struct Release {
    pub(super) name: String,
    pub(super) namespace: Namespace,
    /// From the command to its return: every node ready.
    pub(super) ready_after: Duration,
    since: Instant,
}

impl Release {
    /// Installs the chart and waits until it is ready.
    pub(super) fn install(name: &str, namespace: Namespace, args: &[&str]) -> Result<Self, String> {
        let chart = chart();
        let chart = chart.to_string_lossy();
        let mut all = vec![
            "install",
            name,
            &chart,
            "--namespace",
            &namespace.name,
            "--wait",
            "--timeout=180s",
        ];
        all.extend(args);
        let since = Instant::now();
        if let Err(why) = tools::output("helm", &all, LONG) {
            let seen = kubectl(&["get", "pods,events", "--namespace", &namespace.name]);
            return Err(format!("{why}\n{}", seen.unwrap_or_default()));
        }
        Ok(Self {
            name: name.to_owned(),
            namespace,
            ready_after: since.elapsed(),
            since,
        })
    }

    /// Changes values; those that were given before stay.
    pub(super) fn upgrade(&self, args: &[&str]) -> Result<(), String> {
        let chart = chart();
        let chart = chart.to_string_lossy();
        let mut all = vec![
            "upgrade",
            &self.name,
            &chart,
            "--namespace",
            &self.namespace.name,
            "--reuse-values",
        ];
        all.extend(args);
        tools::output("helm", &all, LONG).map(drop)
    }

    /// Goes back to a revision, and waits.
    pub(super) fn roll_back(&self, revision: u32) -> Result<(), String> {
        let revision = revision.to_string();
        let place = ["--namespace", &self.namespace.name, "--wait", "--timeout=180s"];
        let all = [&["rollback", &self.name, &revision][..], &place].concat();
        tools::output("helm", &all, LONG).map(drop)
    }

    /// Since the command to install it.
    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Runs kubectl in its namespace.
    pub(super) fn kubectl(&self, args: &[&str]) -> Result<String, String> {
        let mut all = vec!["--namespace", self.namespace.name.as_str()];
        all.extend(args);
        kubectl(&all)
    }

    /// Its pods, by name.
    pub(super) fn pods(&self) -> Result<Vec<Json>, String> {
        let selector = format!("app.kubernetes.io/name=chat,app.kubernetes.io/instance={}", self.name);
        let text = self.kubectl(&["get", "pods", "--selector", &selector, "--output=json"])?;
        let list: Json = serde_json::from_str(&text).map_err(|why| why.to_string())?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// One of them.
    pub(super) fn pod(&self, name: &str) -> Result<Json, String> {
        let mut pods = self.pods()?.into_iter();
        let pod = pods.find(|pod| pod["metadata"]["name"] == name);
        pod.ok_or_else(|| format!("there is no {name}"))
    }

    /// On which machine each of them is: the name of the pod, and that of the machine.
    pub(super) fn places(&self) -> Result<Vec<(String, String)>, String> {
        let text = |value: &Json| value.as_str().map(str::to_owned);
        let place = |pod: &Json| text(&pod["metadata"]["name"]).zip(text(&pod["spec"]["nodeName"]));
        Ok(self.pods()?.iter().filter_map(place).collect())
    }

    /// Their names.
    pub(super) fn pod_names(&self) -> Result<Vec<String>, String> {
        let name = |pod: &Json| pod["metadata"]["name"].as_str().map(str::to_owned);
        Ok(self.pods()?.iter().filter_map(name).collect())
    }

    /// The metrics of a node, asked through the API server, without the label that says whose they are.
    pub(super) fn metrics(&self, pod: &str) -> Result<String, String> {
        let path = format!(
            "/api/v1/namespaces/{}/pods/{pod}:9100/proxy/metrics",
            self.namespace.name
        );
        kubectl(&["get", "--raw", &path]).map(|text| without_node(&text))
    }

    /// Whether a node says a line of its metrics.
    pub(super) fn says(&self, pod: &str, line: &str) -> Result<(), String> {
        let metrics = self.metrics(pod)?;
        if metrics.lines().any(|found| found == line) {
            Ok(())
        } else {
            Err(format!("{pod} does not say: {line}"))
        }
    }

    /// How a node judges another one: 2 is healthy, 1 degraded, 0 failed.
    pub(super) fn health(&self, pod: &str, peer: &str) -> Result<u8, String> {
        let start = format!("chat_peer_health{{peer=\"{peer}\"}} ");
        let metrics = self.metrics(pod)?;
        let value = metrics.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok());
        value.ok_or_else(|| format!("{pod} does not know {peer}"))
    }

    /// Whether every node says that every other one is healthy.
    pub(super) fn all_healthy(&self, names: &[String]) -> Result<(), String> {
        for name in names {
            for peer in names.iter().filter(|peer| *peer != name) {
                self.says(name, &format!("chat_peer_health{{peer=\"{peer}\"}} 2"))?;
            }
        }
        Ok(())
    }

    /// Waits until every node says that every other one is healthy.
    pub(super) fn found_each_other(&self) -> Result<(), String> {
        let names = self.pod_names()?;
        until("all nodes are healthy peers of each other", SHORT, || {
            self.all_healthy(&names)
        })
    }

    /// A port-forward to the client port of a pod, and the address that leads there as long as it is kept.
    pub(super) fn forward(&self, pod: &str) -> Result<(Beside, String), String> {
        // Port 0: a free one.
        let line = format!(
            "kubectl --namespace {} port-forward pod/{pod} :8080",
            self.namespace.name
        );
        let mut forward = Beside::start(&line)?;
        let told = forward.hear("Forwarding from 127.0.0.1:", SHORT)?;
        let port = told.split(':').nth(1).and_then(|rest| rest.split_whitespace().next());
        let port = port.ok_or_else(|| format!("no port in: {told}"))?;
        Ok((forward, format!("ws://127.0.0.1:{port}")))
    }

    /// Asks for so many nodes.
    pub(super) fn scale(&self, replicas: usize) -> Result<(), String> {
        let name = self.pod_names()?.into_iter().next().ok_or("no pods")?;
        let set = name.rsplit_once('-').map_or(name.as_str(), |(set, _)| set);
        self.kubectl(&[
            "scale",
            &format!("statefulset/{set}"),
            &format!("--replicas={replicas}"),
        ])
        .map(drop)
    }

    /// Waits until there are exactly so many nodes, all ready.
    pub(super) fn ready(&self, replicas: usize) -> Result<(), String> {
        until(&format!("{replicas} ready nodes"), LONG, || {
            let pods = self.pods()?;
            let ready = |pod: &&Json| pod["status"]["containerStatuses"][0]["ready"] == true;
            let ready = pods.iter().filter(ready).count();
            if (ready, pods.len()) == (replicas, replicas) {
                Ok(())
            } else {
                Err(format!("{ready} of {} are ready", pods.len()))
            }
        })
    }

    /// Runs `helm test`; what its pod said.
    pub(super) fn test(&self) -> Result<String, String> {
        tools::output(
            "helm",
            &[
                "test",
                &self.name,
                "--namespace",
                &self.namespace.name,
                "--logs",
                "--timeout=120s",
            ],
            LONG,
        )
    }

    /// Removes it with its namespace.
    pub(super) fn remove(self) -> Result<(), String> {
        self.namespace.remove()
    }
}

/// Runs kubectl; its standard output.
pub(super) fn kubectl(args: &[&str]) -> Result<String, String> {
    tools::output("kubectl", args, LONG)
}

/// Applies objects; all that kubectl says.
pub(super) fn apply(args: &[&str], objects: &str) -> Result<Said, String> {
    let mut all = vec!["apply", "--filename", "-"];
    all.extend(args);
    tools::run("kubectl", &all, objects, SHORT)
}
