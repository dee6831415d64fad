//! Metrics, dashboards, alerts and their pages are held against each other. What Prometheus has to say needs `promtool`, what
//! Helm reads needs Helm, and what Grafana reads needs Go for its schema; without them such a test says SKIPPED, and fails if `CHAT_KUBE_ALL` is 1.

// A test says enough by failing at the line.
#![allow(clippy::unwrap_used)]

use chat_kube::dashboards::{self, Dashboard, Kind, Panel, SELECTOR};
use chat_kube::{helm, repository, suite, tools};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
/// For what has to be fetched and built.
const BUILD: Duration = Duration::from_secs(300);
const RULES: &str = "deploy/alerts/chat.rules.yaml";
const TESTS: &str = "deploy/alerts/tests";

/// Whether a program is there. A test that needs it does nothing else without it.
// Whoever looks at the output of the tests shall see it.
#[allow(clippy::print_stderr)]
fn there(program: &str) -> bool {
    let there = tools::exists(program);
    assert!(
        there || !suite::must_run_all(),
        "{program} is not on PATH, and CHAT_KUBE_ALL is 1"
    );
    if !there {
        eprintln!("SKIPPED: {program} is not on PATH");
    }
    there
}

fn read(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

/// Metrics by name, with their types: of the page, which a test of the node holds against the program.
fn declared() -> BTreeMap<String, String> {
    let page = read("docs/metrics.md");
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        Some((cells.next()?.trim_end_matches('`').to_owned(), cells.next()?.to_owned()))
    });
    let all: BTreeMap<String, String> = rows.collect();
    assert!(all.len() > 60, "{all:?}");
    all
}

/// The names of metrics in an expression.
fn names(expression: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = expression.split(|c| !is_part(c));
    let ours = words.filter(|word| word.starts_with("chat_") || word.starts_with("process_"));
    ours.map(str::to_owned).collect()
}

/// The metric that a series is of.
fn metric_of<'a>(series: &'a str, declared: &BTreeMap<String, String>) -> &'a str {
    let histogram = ["_bucket", "_sum", "_count"]
        .iter()
        .find_map(|suffix| series.strip_suffix(suffix))
        .filter(|name| declared.get(*name).is_some_and(|kind| kind == "histogram"));
    histogram.unwrap_or(series)
}

fn panels(dashboard: &Dashboard) -> impl Iterator<Item = &Panel> {
    dashboard.rows.iter().flat_map(|row| &row.panels)
}

fn expressions() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (file, dashboard) in dashboards::all() {
        for panel in panels(&dashboard) {
            for (expression, _) in &panel.queries {
                all.push((format!("{file}: {}", panel.title), expression.clone()));
            }
        }
    }
    all
}

/// The alerts, as Helm reads their file.
fn alerts() -> Vec<Json> {
    let rules = helm::objects(&read(RULES)).unwrap();
    let groups = rules[0]["groups"].as_array().unwrap();
    groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap().clone())
        .collect()
}

fn name(alert: &Json) -> String {
    alert["alert"].as_str().unwrap().to_owned()
}

#[test]
fn every_metric_is_on_a_dashboard_and_no_dashboard_has_another() {
    let declared = declared();
    let mut shown = BTreeSet::new();
    for (place, expression) in expressions() {
        for series in names(&expression) {
            let metric = metric_of(&series, &declared).to_owned();
            assert!(
                declared.contains_key(&metric),
                "{place} shows {series}, which no node says"
            );
            shown.insert(metric);
        }
    }
    let hidden: Vec<&String> = declared.keys().filter(|name| !shown.contains(*name)).collect();
    assert!(hidden.is_empty(), "on no dashboard: {hidden:?}");
}

#[test]
fn every_selector_of_a_dashboard_is_by_the_chosen_nodes_and_counters_are_rates() {
    let declared = declared();
    for (place, expression) in expressions() {
        let mut rest = expression.as_str();
        while let Some(at) = rest.find("chat_").into_iter().chain(rest.find("process_")).min() {
            let series: String = rest[at..]
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            let (before, behind) = (&rest[..at], &rest[at + series.len()..]);
            assert!(
                behind.starts_with(&format!("{{{SELECTOR}")),
                "{place}: {series} of whatever nodes"
            );
            let grows = series.ends_with("_total") || metric_of(&series, &declared) != series;
            if grows {
                assert!(
                    before.ends_with("rate(") || before.ends_with("increase("),
                    "{place}: {series} grows for ever"
                );
            }
            rest = behind;
        }
    }
}

#[test]
fn a_panel_says_what_it_shows_in_which_unit() {
    for (file, dashboard) in dashboards::all() {
        let mut titles = BTreeSet::new();
        for row in &dashboard.rows {
            for panel in &row.panels {
                assert!(
                    !panel.queries.is_empty() && !panel.unit.is_empty(),
                    "{file}: {}",
                    panel.title
                );
                assert!(panel.description.ends_with('.'), "{file}: {}", panel.description);
                assert!(titles.insert((row.title, panel.title)), "{file}: {} twice", panel.title);
            }
            let width: u32 = row.panels.iter().map(|panel| panel.width).sum();
            assert!(width.is_multiple_of(24), "{file}: {} leaves a hole", row.title);
        }
    }
}

/// What Grafana needs to take a file as it is, and to keep it apart from others.
#[test]
fn a_dashboard_is_complete_for_grafana() {
    let mut uids = BTreeSet::new();
    for (file, dashboard) in dashboards::all() {
        let json = dashboard.to_json();
        assert!(json["id"].is_null() && json["__inputs"].is_null(), "{file}");
        assert!(uids.insert(json["uid"].as_str().unwrap().to_owned()), "{file}");
        assert_eq!(json["editable"], false, "{file}");
        let variables: Vec<&str> = json["templating"]["list"]
            .as_array()
            .unwrap()
            .iter()
            .map(|variable| variable["name"].as_str().unwrap())
            .collect();
        assert_eq!(
            variables,
            ["datasource", "job", "namespace", "instance", "node"],
            "{file}"
        );
        let panels = json["panels"].as_array().unwrap();
        let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
        assert_eq!(ids.len(), panels.len(), "{file}: numbers of panels");
        let mut taken = BTreeSet::new();
        for panel in panels {
            let place = &panel["gridPos"];
            let number = |field: &str| place[field].as_u64().unwrap();
            assert!(number("x") + number("w") <= 24, "{file}: {}", panel["title"]);
            for x in number("x")..number("x") + number("w") {
                for y in number("y")..number("y") + number("h") {
                    assert!(taken.insert((x, y)), "{file}: {} lies over another", panel["title"]);
                }
            }
            for target in panel["targets"].as_array().into_iter().flatten() {
                assert_eq!(
                    target["datasource"]["uid"], "${datasource}",
                    "{file}: {}",
                    panel["title"]
                );
            }
        }
        let other = json["links"][0]["url"]
            .as_str()
            .unwrap()
            .trim_start_matches("/d/")
            .to_owned();
        assert!(
            dashboards::all().iter().any(|(_, other_one)| other_one.uid == other),
            "{file} leads to {other}"
        );
    }
}

#[test]
fn health_is_shown_as_its_three_states() {
    let all = dashboards::all();
    let states = all.iter().flat_map(|(_, dashboard)| panels(dashboard));
    let states: Vec<&Panel> = states.filter(|panel| panel.kind == Kind::Health).collect();
    assert!(!states.is_empty());
    for panel in states {
        assert!(
            panel
                .queries
                .iter()
                .all(|(query, _)| query.contains("chat_peer_health")),
            "{}",
            panel.title
        );
    }
}

/// Grafana itself reads more than its schema has; whoever reads the schema strictly finds what a typo makes.
#[test]
fn dashboards_are_what_the_schema_of_grafana_has() {
    if !there("go") {
        return;
    }
    let program = repository("tests/kube/grafana").display().to_string();
    let check = |files: &[String]| {
        let mut args = vec!["-C", &program, "run", "."];
        args.extend(files.iter().map(String::as_str));
        // It may have to be fetched and built.
        tools::run("go", &args, "", BUILD).unwrap()
    };
    let files = ["chat-overview", "chat-node"].map(|name| {
        let path = repository(&format!("deploy/dashboards/{name}.json"));
        path.display().to_string()
    });
    let said = check(&files);
    assert!(said.ok, "{}{}", said.out, said.err);

    let mut wrong = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
    let text = read("deploy/dashboards/chat-node.json");
    let typo = text.replacen("\"legendFormat\"", "\"legendFromat\"", 1);
    assert_ne!(typo, text);
    wrong.write_all(typo.as_bytes()).unwrap();
    let said = check(&[wrong.path().display().to_string()]);
    assert!(
        !said.ok && said.err.contains("legendFromat"),
        "{}{}",
        said.out,
        said.err
    );
}

/// `promtool` has a parser for rules only, so each query becomes one.
#[test]
fn prometheus_understands_every_query() {
    if !there("promtool") {
        return;
    }
    let mut rules = String::from("groups:\n  - name: queries\n    rules:\n");
    for (n, (_, expression)) in expressions().iter().enumerate() {
        let query = substitute(expression);
        rules.push_str(&format!(
            "      - record: query:{n}\n        expr: {}\n",
            Json::from(query)
        ));
    }
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    file.write_all(rules.as_bytes()).unwrap();
    let said = tools::run(
        "promtool",
        &["check", "rules", &file.path().to_string_lossy()],
        "",
        LIMIT,
    )
    .unwrap();
    assert!(said.ok, "{}{}", said.out, said.err);
}

/// As Grafana does with every variable on All.
fn substitute(expression: &str) -> String {
    expression
        .replace("$__rate_interval", "2m")
        .replace("$namespace", ".*")
        .replace("$job", ".+")
        .replace("$instance", ".+")
        .replace("$node", ".+")
}

#[test]
fn alerts_are_about_metrics_that_there_are() {
    if !there("helm") {
        return;
    }
    let declared = declared();
    for alert in alerts() {
        let expression = alert["expr"].as_str().unwrap();
        let series = names(expression);
        assert!(!series.is_empty(), "{alert}");
        for series in series {
            assert!(
                declared.contains_key(metric_of(&series, &declared)),
                "{}: {series}",
                name(&alert)
            );
        }
    }
}

#[test]
fn an_alert_says_how_bad_it_is_and_has_a_page() {
    if !there("helm") {
        return;
    }
    let mut pages: BTreeSet<String> = fs::read_dir(repository("docs/runbooks"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|file| file != "README.md")
        .collect();
    let index = read("docs/runbooks/README.md");
    for alert in alerts() {
        let name = name(&alert);
        let severity = alert["labels"]["severity"].as_str().unwrap_or_default();
        assert!(
            ["critical", "warning", "info"].contains(&severity),
            "{name}: {severity}"
        );
        let text = |field: &str| alert["annotations"][field].as_str().unwrap_or_default().to_owned();
        assert!(
            text("summary").ends_with('.') && !text("summary").contains("{{"),
            "{name}"
        );
        assert!(text("description").contains("{{"), "{name}");
        assert_eq!(text("runbook"), format!("docs/runbooks/{name}.md"));
        assert!(pages.remove(&format!("{name}.md")), "{name} has no page");
        let page = read(&text("runbook"));
        for heading in [&format!("# {name}\n"), "## What users notice\n", "## Look\n", "## Do\n"] {
            assert!(page.contains(heading), "{name}: no {heading}");
        }
        assert!(
            index.contains(&format!("[{name}]({name}.md)")),
            "{name} is not in the index"
        );
    }
    assert!(pages.is_empty(), "pages of no alert: {pages:?}");
}

#[test]
fn prometheus_tests_each_alert_with_a_case_that_fires_and_one_that_does_not() {
    if !there("promtool") || !there("helm") {
        return;
    }
    let rules = repository(RULES);
    let said = tools::run("promtool", &["check", "rules", &rules.to_string_lossy()], "", LIMIT).unwrap();
    assert!(said.ok, "{}{}", said.out, said.err);
    let mut cases: BTreeMap<String, [u32; 2]> = BTreeMap::new();
    for entry in fs::read_dir(repository(TESTS)).unwrap() {
        let path = entry.unwrap().path();
        let said = tools::run("promtool", &["test", "rules", &path.to_string_lossy()], "", LIMIT).unwrap();
        assert!(said.ok, "{}{}", said.out, said.err);
        let tests = helm::objects(&fs::read_to_string(&path).unwrap()).unwrap();
        for case in tests[0]["tests"].as_array().unwrap() {
            for test in case["alert_rule_test"].as_array().unwrap() {
                let fires = test["exp_alerts"].as_array().is_some_and(|alerts| !alerts.is_empty());
                let alert = test["alertname"].as_str().unwrap().to_owned();
                cases.entry(alert).or_default()[usize::from(fires)] += 1;
            }
        }
    }
    let wanted: BTreeSet<String> = alerts().iter().map(name).collect();
    let found: BTreeSet<String> = cases
        .iter()
        .filter(|(_, [quiet, fires])| *quiet > 0 && *fires > 0)
        .map(|(alert, _)| alert.clone())
        .collect();
    assert_eq!(found, wanted, "with a case of each kind, and all");
}
