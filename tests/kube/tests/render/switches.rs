//! What is optional, and what turns it on.

use super::{helm, of_kind, only};
use chat_kube::helm::Render;
use serde_json::{Value as Json, json};

fn kinds(args: &[&str]) -> Vec<String> {
    let mut kinds: Vec<String> = Render::with(args)
        .objects()
        .unwrap()
        .iter()
        .map(|object| object["kind"].as_str().unwrap().to_owned())
        .collect();
    kinds.sort();
    kinds
}

#[test]
fn without_a_word_the_chart_makes_these_objects_and_no_other() {
    if !helm() {
        return;
    }
    let expected = [
        "ConfigMap",
        "Pod",
        "PodDisruptionBudget",
        "Role",
        "RoleBinding",
        "Secret",
        "Service",
        "Service",
        "ServiceAccount",
        "StatefulSet",
    ];
    assert_eq!(kinds(&[]), expected);
}

#[test]
fn each_switch_turns_on_its_object() {
    if !helm() {
        return;
    }
    for (set, kind) in [
        ("networkPolicy.enabled=true", "NetworkPolicy"),
        ("ingress.enabled=true,ingress.hosts={a.example.org}", "Ingress"),
        (
            "httpRoute.enabled=true,httpRoute.parentRefs[0].name=gateway",
            "HTTPRoute",
        ),
        ("metrics.serviceMonitor.enabled=true", "ServiceMonitor"),
        ("alerts.enabled=true", "PrometheusRule"),
    ] {
        assert!(!kinds(&[]).contains(&kind.to_owned()), "{kind}");
        assert!(kinds(&["--set", set]).contains(&kind.to_owned()), "{set}");
    }
    for (set, kind) in [
        ("podDisruptionBudget.enabled=false", "PodDisruptionBudget"),
        ("rbac.create=false", "Role"),
        ("rbac.create=false", "RoleBinding"),
        ("rbac.create=false,serviceAccount.create=false", "ServiceAccount"),
    ] {
        assert!(!kinds(&["--set", set]).contains(&kind.to_owned()), "{set}");
    }
}

#[test]
fn a_monitor_that_is_made_automatically_needs_its_kind() {
    if !helm() {
        return;
    }
    let auto = ["--set", "metrics.serviceMonitor.enabled=auto"];
    assert!(!kinds(&auto).contains(&"ServiceMonitor".to_owned()));
    let known = ["--api-versions", "monitoring.coreos.com/v1/ServiceMonitor"];
    assert!(kinds(&[auto, known].concat()).contains(&"ServiceMonitor".to_owned()));
    assert!(
        !kinds(&known).contains(&"ServiceMonitor".to_owned()),
        "not without being asked for"
    );
}

#[test]
fn a_monitor_selects_one_service_by_a_port_that_it_has() {
    if !helm() {
        return;
    }
    let objects = Render::with(&["--set", "metrics.serviceMonitor.enabled=true"])
        .objects()
        .unwrap();
    let monitor = &only(&objects, "ServiceMonitor")["spec"];
    let wanted = monitor["selector"]["matchLabels"].as_object().unwrap();
    let fits = |service: &&Json| {
        wanted
            .iter()
            .all(|(key, value)| &service["metadata"]["labels"][key] == value)
    };
    // Each node once: the Service of the clients has the same pods behind it.
    let services: Vec<&Json> = of_kind(&objects, "Service").into_iter().filter(fits).collect();
    assert_eq!(services.len(), 1);
    let ports = services[0]["spec"]["ports"].as_array().unwrap();
    assert!(
        ports
            .iter()
            .any(|port| port["name"] == monitor["endpoints"][0]["port"] && port["port"] == 9100)
    );
}

#[test]
fn the_annotations_of_prometheus_are_there_unless_they_are_refused() {
    if !helm() {
        return;
    }
    let annotations = |args: &[&str]| {
        let objects = Render::with(args).objects().unwrap();
        only(&objects, "StatefulSet")["spec"]["template"]["metadata"]["annotations"].clone()
    };
    let found = annotations(&[]);
    assert_eq!(
        [
            &found["prometheus.io/scrape"],
            &found["prometheus.io/port"],
            &found["prometheus.io/path"]
        ],
        [&json!("true"), &json!("9100"), &json!("/metrics")]
    );
    assert!(annotations(&["--set", "metrics.annotations=false"])["prometheus.io/scrape"].is_null());
}

#[test]
fn ways_from_outside_lead_to_the_service_of_the_clients() {
    if !helm() {
        return;
    }
    let objects = Render::values("ci/everything-values.yaml").objects().unwrap();
    let service = of_kind(&objects, "Service")
        .into_iter()
        .find(|service| service["spec"]["type"] == "LoadBalancer")
        .unwrap();
    let name = &service["metadata"]["name"];
    assert_eq!(service["spec"]["ports"][0]["appProtocol"], "kubernetes.io/ws");
    assert_eq!(service["spec"]["trafficDistribution"], "PreferClose");
    let ingress = only(&objects, "Ingress");
    for rule in ingress["spec"]["rules"].as_array().unwrap() {
        assert_eq!(&rule["http"]["paths"][0]["backend"]["service"]["name"], name);
    }
    let route = &only(&objects, "HTTPRoute")["spec"];
    assert_eq!(&route["rules"][0]["backendRefs"][0]["name"], name);
    assert_eq!(
        route["rules"][0]["backendRefs"][0]["port"],
        service["spec"]["ports"][0]["port"]
    );
    assert_eq!(route["rules"][0]["timeouts"], json!({"request": "0s"}));
    let plain = Render::with(&["--set", "httpRoute.enabled=true,httpRoute.parentRefs[0].name=gateway"]).objects();
    // Some gateways refuse a route that has any.
    assert!(only(&plain.unwrap(), "HTTPRoute")["spec"]["rules"][0]["timeouts"].is_null());
}
