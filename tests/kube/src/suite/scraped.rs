//! A real Prometheus on a real cluster: it finds the nodes by itself, every query of the dashboards has an answer, and alerts fire for
//! what is wrong and for nothing else.
//!
//! It runs beside the suite and reaches the nodes through the API server (`kubectl proxy`), so that any cluster will do. Some builds of
//! Prometheus cannot ask Kubernetes (Debian's is one); those are given the list of pods, which is said.

use super::hooks::{Done, Machines};
use super::load::{Load, Plan};
use super::release::{NODES, Namespace, QUICK, Release, kubectl};
use super::wire;
use super::{LONG, SHORT, Suite, seconds};
use crate::dashboards;
use crate::repository;
use crate::tools::{self, Beside, throughout, until};
use serde_json::{Value as Json, json};
use std::io::Write as _;
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// Seconds of load while queries are asked.
const LOAD: u32 = 60;

/// What stands for Grafana's interval for rates.
const INTERVAL: &str = "1m";

/// Longest time until an alert fires that waits for three minutes, or until it is gone.
const ALERT: Duration = Duration::from_secs(300);

/// How long after a change nothing may fire: longer than any alert about a lost node waits.
const QUIET: Duration = Duration::from_secs(240);

/// A server that watches one namespace.
struct Prometheus {
    url: String,
    namespace: String,
    /// Where it reads the list of pods, if it cannot ask for it.
    list: Option<tempfile::NamedTempFile>,
    _server: Beside,
    _proxy: Beside,
    _files: (tempfile::NamedTempFile, tempfile::TempDir),
}

impl Prometheus {
    fn watch(namespace: &str) -> Result<Self, String> {
        let mut proxy = Beside::start("kubectl proxy --port=0")?;
        let told = proxy.hear("Starting to serve on ", SHORT)?;
        let api = told.rsplit(' ').next().unwrap_or_default().to_owned();
        let failed = |why: std::io::Error| why.to_string();
        let asking = format!(
            r#"kubernetes_sd_configs: [{{role: pod, api_server: "http://{api}", namespaces: {{names: [{namespace}]}}}}]"#
        );
        let mut file = config(&api, &asking)?;
        let mut list = None;
        let path = |file: &tempfile::NamedTempFile| file.path().display().to_string();
        let checked = tools::run(
            "promtool",
            &["check", "config", "--syntax-only", &path(&file)],
            "",
            SHORT,
        )?;
        if !checked.ok {
            let given = tempfile::Builder::new().suffix(".json").tempfile().map_err(failed)?;
            file = config(
                &api,
                &format!("file_sd_configs: [{{files: [{}]}}]", Json::from(path(&given))),
            )?;
            list = Some(given);
        }
        let data = tempfile::tempdir().map_err(failed)?;
        // Nobody else takes it between here and there, or the server says so.
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|free| free.local_addr())
            .map_err(failed)?;
        let server = Beside::start(&format!(
            "prometheus --config.file={} --storage.tsdb.path={} --web.listen-address={port}",
            file.path().display(),
            data.path().display()
        ))?;
        let this = Self {
            url: format!("http://{port}"),
            namespace: namespace.to_owned(),
            list,
            _server: server,
            _proxy: proxy,
            _files: (file, data),
        };
        until("Prometheus answers", SHORT, || this.ask("vector(1)").map(drop))?;
        Ok(this)
    }

    /// How it finds the nodes.
    const fn source(&self) -> &'static str {
        if self.list.is_some() {
            "a list that it was given: this build of Prometheus cannot ask Kubernetes"
        } else {
            "the API server"
        }
    }

    /// Brings the list of pods up to date, ready or not, if it cannot ask for it.
    fn give_list(&self) -> Result<(), String> {
        let Some(list) = &self.list else { return Ok(()) };
        let selector = "--selector=app.kubernetes.io/name=chat";
        let pods = kubectl(&["get", "pods", "--namespace", &self.namespace, selector, "--output=json"])?;
        let pods: Json = serde_json::from_str(&pods).map_err(|why| why.to_string())?;
        let has_port = |pod: &&Json| {
            pod["spec"]["containers"][0]["ports"]
                .to_string()
                .contains("\"operations\"")
        };
        let targets = pods["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(has_port)
            .map(|pod| {
                json!({"targets": [format!("{}:9100", pod["status"]["podIP"].as_str().unwrap_or_default())], "labels": {
                    "__meta_kubernetes_namespace": self.namespace,
                    "__meta_kubernetes_pod_name": pod["metadata"]["name"],
                    "__meta_kubernetes_pod_label_app_kubernetes_io_name": "chat",
                    "__meta_kubernetes_pod_container_port_name": "operations",
                }})
            });
        let text = Json::from_iter(targets).to_string();
        if std::fs::read_to_string(list.path()).is_ok_and(|before| before == text) {
            return Ok(());
        }
        std::fs::write(list.path(), text).map_err(|why| why.to_string())
    }

    /// The series that a query has now.
    fn ask(&self, query: &str) -> Result<Vec<Json>, String> {
        self.give_list()?;
        let (query, url) = (format!("query={query}"), format!("{}/api/v1/query", self.url));
        let text = tools::output(
            "curl",
            &["-sS", "--max-time", "10", "--data-urlencode", &query, &url],
            SHORT,
        )?;
        let answer: Json = serde_json::from_str(&text).map_err(|why| format!("{why}: {text}"))?;
        if answer["status"] != "success" {
            return Err(format!("{query}: {answer}"));
        }
        Ok(answer["data"]["result"].as_array().cloned().unwrap_or_default())
    }

    /// The value of a query that has one.
    fn value(&self, query: &str) -> Result<String, String> {
        match self.ask(query)?.as_slice() {
            [series] => Ok(series["value"][1].as_str().unwrap_or_default().to_owned()),
            other => Err(format!("{query} has {} series", other.len())),
        }
    }

    /// Alerts in a state, by name.
    fn alerts(&self, state: &str) -> Result<Vec<String>, String> {
        let series = self.ask(&format!("ALERTS{{alertstate=\"{state}\"}}"))?;
        let mut names: Vec<String> = series
            .iter()
            .map(|one| one["metric"]["alertname"].as_str().unwrap_or_default().to_owned())
            .collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Nothing fires.
    fn quiet(&self) -> Result<(), String> {
        match self.alerts("firing")?.as_slice() {
            [] => Ok(()),
            names => Err(format!("alerts fire: {names:?}")),
        }
    }

    /// Asks every query of every panel until it has an answer: how many queries, and how many series they have together.
    fn answer_all(&self) -> Result<(usize, usize), String> {
        let (mut queries, mut series) = (0, 0);
        for (file, dashboard) in dashboards::all() {
            let panels = dashboard.rows.into_iter().flat_map(|row| row.panels);
            for (query, _) in panels.flat_map(|panel| panel.queries) {
                // Rates need two scrapes, and what is refused a moment.
                series += until(&format!("{file} has an answer to {query}"), SHORT, || {
                    match self.ask(&substitute(&query))?.len() {
                        0 => Err("nothing".into()),
                        count => Ok(count),
                    }
                })?;
                queries += 1;
            }
        }
        Ok((queries, series))
    }

    fn targets(&self, up: usize, of: usize) -> Result<(), String> {
        let value = |query: &str| self.value(query).unwrap_or_else(|_| "0".into());
        let found = (value("count(up == 1)"), value("count(up)"));
        if found == (up.to_string(), of.to_string()) {
            Ok(())
        } else {
            Err(format!("{} of {} targets answer, not {up} of {of}", found.0, found.1))
        }
    }
}

/// What Prometheus reads, with one way to find pods.
fn config(api: &str, finding: &str) -> Result<tempfile::NamedTempFile, String> {
    let rules = repository("deploy/alerts/chat.rules.yaml");
    let config = format!(
        r#"
global: {{scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 2s}}
rule_files: [{}]
scrape_configs:
  - job_name: chat
    {finding}
    relabel_configs:
      - source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_name, __meta_kubernetes_pod_container_port_name]
        regex: chat;operations
        action: keep
      - {{source_labels: [__meta_kubernetes_namespace], target_label: namespace}}
      - {{source_labels: [__meta_kubernetes_pod_name], target_label: pod}}
      - {{source_labels: [__address__], target_label: instance}}
      - source_labels: [__meta_kubernetes_namespace, __meta_kubernetes_pod_name]
        separator: /pods/
        target_label: __metrics_path__
        replacement: /api/v1/namespaces/$1:9100/proxy/metrics
      - {{target_label: __address__, replacement: "{api}"}}
"#,
        Json::from(rules.display().to_string())
    );
    let failed = |why: std::io::Error| why.to_string();
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().map_err(failed)?;
    file.write_all(config.as_bytes()).map_err(failed)?;
    Ok(file)
}

/// As Grafana does with every variable on All.
fn substitute(expression: &str) -> String {
    expression
        .replace("$__rate_interval", INTERVAL)
        .replace("$namespace", ".*")
        .replace("$job", ".+")
        .replace("$instance", ".+")
        .replace("$node", ".+")
}

pub(super) fn every_query(suite: &mut Suite<'_>) -> Result<(), String> {
    let release = Release::install("chat", Namespace::restricted("chat-kube-scraped")?, &QUICK)?;
    release.found_each_other()?;
    let prometheus = Prometheus::watch(&release.namespace.name)?;
    until("every node is a target that answers", SHORT, || {
        prometheus.targets(NODES, NODES)
    })?;
    let found = release.age();
    let plan = Plan {
        seconds: LOAD,
        resumes: 0,
        ..Plan::default()
    };
    let load = Load::start(&release, plan)?;
    // Somebody is refused, so that there is something to show.
    let first = release.pod_names()?.into_iter().next().ok_or("no pods")?;
    let (_forward, url) = release.forward(&first)?;
    for _ in 0..3 {
        if let Ok(confirmed) = wire::send_to(&url, "no-such-room", "emil") {
            return Err(format!("a room that nobody made takes a message: {confirmed:?}"));
        }
    }
    let (queries, series) = prometheus.answer_all()?;
    let kept = load.verdict(&release)?;
    prometheus.quiet()?;
    let unready = unready_pods_are_seen(&release, &prometheus)?;
    release.remove()?;
    suite.figure("Prometheus finds nodes by", prometheus.source());
    suite.figure("install to every node a target that answers", seconds(found));
    suite.figure("queries of the dashboards with an answer", queries);
    suite.figure("series in them", series);
    suite.figure("one of the pods never ready, and targets that answer", unready);
    kept.tell(suite);
    Ok(())
}

/// A node that is not ready is the one that somebody wants to see. This one runs, and a gate that nobody opens keeps it from being ready.
fn unready_pods_are_seen(release: &Release, prometheus: &Prometheus) -> Result<String, String> {
    let patch = |gates: &str| {
        let patch = format!(r#"{{"spec":{{"template":{{"spec":{{"readinessGates":{gates}}}}}}}}}"#);
        release.kubectl(&["patch", "statefulset/chat", "--type=merge", "--patch", &patch])
    };
    patch(r#"[{"conditionType":"chat.example/never"}]"#)?;
    let last = format!("chat-{}", NODES - 1);
    let condition = r#"--output=jsonpath={.spec.readinessGates[*].conditionType} {.status.conditions[?(@.type=="Ready")].status} {.status.conditions[?(@.type=="ContainersReady")].status}"#;
    until("a pod runs and is not ready", LONG, || {
        let said = release.kubectl(&["get", "pod", &last, condition])?;
        if said == "chat.example/never False True" {
            Ok(())
        } else {
            Err(said)
        }
    })?;
    until("every node is a target that answers, ready or not", SHORT, || {
        prometheus.targets(NODES, NODES)
    })?;
    let answer = prometheus.value("count(up == 1)")?;
    patch("null")?;
    // The controller waits for it to be ready before it replaces it.
    release.kubectl(&["delete", "pod", &last])?;
    release.ready(NODES)?;
    Ok(answer)
}

pub(super) fn alerts(suite: &mut Suite<'_>) -> Result<(), String> {
    let machines = Machines::find()?;
    let release = Release::install("chat", Namespace::restricted("chat-kube-alerts")?, &QUICK)?;
    release.found_each_other()?;
    let prometheus = Prometheus::watch(&release.namespace.name)?;
    until("every node is a target that answers", SHORT, || {
        prometheus.targets(NODES, NODES)
    })?;

    // One node less, and one more: that is wanted.
    release.scale(NODES - 1)?;
    release.ready(NODES - 1)?;
    let looks = throughout(QUIET, || prometheus.quiet())?;
    release.scale(NODES)?;
    release.ready(NODES)?;
    release.kubectl(&["rollout", "restart", "statefulset/chat"])?;
    release.kubectl(&["rollout", "status", "statefulset/chat", "--timeout=180s"])?;
    release.found_each_other()?;
    let rolled = throughout(Duration::from_secs(30), || prometheus.quiet())?;
    until("every node is a target that answers", SHORT, || {
        prometheus.targets(NODES, NODES)
    })?;

    // The last pod is on one of them; its machine crashes and is not started again for a while.
    let (name, machine) = release.places()?.pop().ok_or("no pods")?;
    let since = Instant::now();
    let down = Done::crashed(&[machines.number(&machine)?])?;
    // What the panels show of it first, while it lasts.
    let others = (NODES - 1).to_string();
    let mut shown = Vec::new();
    for (what, query) in [
        (
            "taken for failed by all others",
            format!("count(chat_peer_health{{peer=\"{name}\"}} == 0)"),
        ),
        (
            "messages of all others to it do not come back",
            format!(
                "count(sum by (node, to) (rate(chat_canary_messages_total{{result!=\"ok\",to=\"{name}\"}}[1m])) > 0)"
            ),
        ),
    ] {
        until(&format!("{name} is shown: {what}"), SHORT, || {
            let nodes = prometheus.value(&query)?;
            if nodes == others {
                Ok(())
            } else {
                Err(format!("{nodes} of {others}"))
            }
        })?;
        shown.push(format!("{what} after {}", seconds(since.elapsed())));
    }
    let mut fired = Vec::new();
    for alert in ["ChatNodeDown", "ChatNodeFailed", "ChatCanaryFailing"] {
        until(&format!("{alert} fires for {name}"), ALERT, || {
            let firing = prometheus.alerts("firing")?;
            if firing.iter().any(|name| name == alert) {
                Ok(())
            } else {
                Err(format!("{firing:?}"))
            }
        })?;
        fired.push(format!("{alert} after {}", seconds(since.elapsed())));
    }
    let all = prometheus.alerts("firing")?;
    let (queries, _) = prometheus.answer_all()?;
    down.undo()?;
    let started = Instant::now();
    until("nothing fires any more", LONG + ALERT, || prometheus.quiet())?;
    let resolved = started.elapsed();
    release.remove()?;
    suite.figure("a node less, and looks over four minutes in which nothing fired", looks);
    suite.figure("all nodes replaced, and looks in which nothing fired", rolled);
    suite.figure("a machine crashed, as the dashboards show it", shown.join(", "));
    suite.figure("what fired", fired.join(", "));
    suite.figure("what fired at the end of that", all.join(", "));
    suite.figure("queries of the dashboards with an answer meanwhile", queries);
    suite.figure("machine started to nothing that fires", seconds(resolved));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_as_with_all_chosen() {
        assert_eq!(
            substitute(
                r#"rate(a{job=~"$job",namespace=~"$namespace",instance=~"$instance",node=~"$node"}[$__rate_interval])"#
            ),
            r#"rate(a{job=~".+",namespace=~".*",instance=~".+",node=~".+"}[1m])"#
        );
    }
}
