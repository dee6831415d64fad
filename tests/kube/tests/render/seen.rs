//! Dashboards and alerts as the chart brings them to those who show them.

use super::{helm, of_kind, only};
use chat_kube::helm::Render;
use chat_kube::{dashboards, helm as reader, repository};
use serde_json::{Value as Json, json};
use std::fs;

fn alerts(objects: &[Json]) -> Vec<&Json> {
    let groups = only(objects, "PrometheusRule")["spec"]["groups"].as_array().unwrap();
    groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap())
        .collect()
}

#[test]
fn dashboards_come_to_the_sidecar_to_the_last_byte() {
    if !helm() {
        return;
    }
    let objects = Render::with(&["--set", "dashboards.enabled=true"]).objects().unwrap();
    let maps: Vec<&Json> = of_kind(&objects, "ConfigMap")
        .into_iter()
        .filter(|map| map["metadata"]["labels"]["grafana_dashboard"] == "1")
        .collect();
    assert_eq!(maps.len(), dashboards::all().len());
    for (file, _) in dashboards::all() {
        let map = maps.iter().find(|map| !map["data"][file].is_null());
        let map = map.unwrap_or_else(|| panic!("{file} is in no ConfigMap"));
        let here = fs::read_to_string(repository("deploy/dashboards").join(file)).unwrap();
        assert_eq!(map["data"][file], here.as_str(), "{file}");
        assert_eq!(map["metadata"]["annotations"], json!({"grafana_folder": "Chat"}));
        assert_eq!(map["metadata"]["namespace"], "talk");
    }
    let elsewhere = Render::with(&["--set", "dashboards.enabled=true,dashboards.namespace=grafana"]);
    let elsewhere = elsewhere.objects().unwrap();
    let moved = of_kind(&elsewhere, "ConfigMap");
    let moved = moved.iter().filter(|map| map["metadata"]["namespace"] == "grafana");
    assert_eq!(moved.count(), dashboards::all().len());
}

#[test]
fn alerts_are_those_of_the_file_less_those_that_are_turned_off() {
    if !helm() {
        return;
    }
    let rules = fs::read_to_string(repository("deploy/alerts/chat.rules.yaml")).unwrap();
    let file = reader::objects(&rules).unwrap();
    let groups = file[0]["groups"].as_array().unwrap();
    let expected: Vec<&Json> = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap())
        .collect();
    let all = Render::with(&["--set", "alerts.enabled=true"]).objects().unwrap();
    assert_eq!(alerts(&all).len(), expected.len());
    for (alert, wanted) in alerts(&all).into_iter().zip(&expected) {
        for field in ["alert", "expr", "for", "keep_firing_for", "labels"] {
            assert_eq!(alert[field], wanted[field], "{}", wanted["alert"]);
        }
        let mut annotations = wanted["annotations"].clone();
        let runbook = annotations.as_object_mut().unwrap().remove("runbook").unwrap();
        annotations["runbook_url"] = runbook;
        assert_eq!(alert["annotations"], annotations, "{}", wanted["alert"]);
    }
    let fewer = Render::with(&[
        "--set",
        "alerts.enabled=true,alerts.disabled={ChatBusy,ChatDeletionInDoubt,ChatDeletionsAborted,ChatDeletionForged},alerts.alertLabels.team=chat",
        "--set",
        "alerts.runbookUrl=https://example.org/chat/",
    ]);
    let fewer = fewer.objects().unwrap();
    let names: Vec<&str> = alerts(&fewer)
        .iter()
        .map(|alert| alert["alert"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), expected.len() - 4, "{names:?}");
    assert!(!names.contains(&"ChatBusy"));
    let groups = only(&fewer, "PrometheusRule")["spec"]["groups"].as_array().unwrap();
    assert!(
        groups.iter().all(|group| group["name"] != "chat-deletions"),
        "no group without a rule"
    );
    for alert in alerts(&fewer) {
        assert_eq!(alert["labels"]["team"], "chat");
        let name = alert["alert"].as_str().unwrap();
        let url = format!("https://example.org/chat/docs/runbooks/{name}.md");
        assert_eq!(alert["annotations"]["runbook_url"], url.as_str());
    }
}

#[test]
fn alerts_that_are_made_automatically_need_their_kind() {
    if !helm() {
        return;
    }
    let auto = ["--set", "alerts.enabled=auto"];
    let unknown = Render::with(&auto).objects().unwrap();
    assert!(of_kind(&unknown, "PrometheusRule").is_empty());
    let known = Render::with(&auto).and(&["--api-versions", "monitoring.coreos.com/v1/PrometheusRule"]);
    only(&known.objects().unwrap(), "PrometheusRule");
}
