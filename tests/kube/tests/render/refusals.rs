//! What the schema and the chart refuse, one by one, with words that say what is wrong.

use super::helm;
use chat_kube::helm::{Render, chart};
use serde_json::Value as Json;

/// Values that cannot be, each with what the refusal must name.
const REFUSED: &[(&str, &str)] = &[
    // Misspelt or misplaced.
    ("replicaCount=3", "replicaCount"),
    ("image.repo=x", "repo"),
    ("persistence.storageClassName=x", "storageClassName"),
    ("drain.window=3", "window"),
    ("probes.liveness.period=3", "period"),
    ("networkPolicy.enable=true", "enable"),
    ("metrics.serviceMonitor.label.a=b", "label"),
    ("config.MAX_CONECTIONS=5", "MAX_CONECTIONS"),
    // What follows from other values.
    ("config.PEER_NODES=x", "PEER_NODES"),
    ("config.GRACE_MS=1", "GRACE_MS"),
    ("config.LOG_LEVEL=debug", "LOG_LEVEL"),
    // Out of bounds.
    ("replicas=0", "/replicas"),
    ("replicas=65", "/replicas"),
    ("replicas=2.5", "/replicas"),
    ("config.MAX_CONNECTIONS=0", "/config/MAX_CONNECTIONS"),
    ("config.MAX_CONNECTIONS=1000001", "/config/MAX_CONNECTIONS"),
    ("service.port=0", "/service/port"),
    ("service.port=65536", "/service/port"),
    ("drain.endpointDelaySeconds=-1", "/drain/endpointDelaySeconds"),
    ("drain.windowSeconds=3601", "/drain/windowSeconds"),
    ("probes.startup.periodSeconds=0", "/probes/startup/periodSeconds"),
    ("probes.startup.successThreshold=2", "/probes/startup/successThreshold"),
    (
        "probes.liveness.successThreshold=2",
        "/probes/liveness/successThreshold",
    ),
    (
        "probes.readiness.failureThreshold=0",
        "/probes/readiness/failureThreshold",
    ),
    ("updateStrategy.partition=-1", "/updateStrategy/partition"),
    ("test.patienceSeconds=0", "/test/patienceSeconds"),
    // Of the wrong type or form.
    ("replicas=three", "/replicas"),
    ("config.MAX_CONNECTIONS=many", "/config/MAX_CONNECTIONS"),
    ("persistence.enabled=maybe", "/persistence/enabled"),
    ("image.repository=", "/image/repository"),
    ("image.tag=a:b", "/image/tag"),
    ("image.digest=sha256:abc", "/image/digest"),
    ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
    ("image.pullSecrets[0]=registry", "/image/pullSecrets/0"),
    ("persistence.size=2GB", "/persistence/size"),
    ("persistence.accessMode=ReadWriteMany", "/persistence/accessMode"),
    (
        "persistence.retention.whenDeleted=Keep",
        "/persistence/retention/whenDeleted",
    ),
    ("service.type=ExternalName", "/service/type"),
    ("service.ipFamilyPolicy=DualStack", "/service/ipFamilyPolicy"),
    ("discovery=magic", "/discovery"),
    ("listenHost=localhost", "/listenHost"),
    ("log.level=verbose", "/log/level"),
    ("log.format=xml", "/log/format"),
    ("antiAffinity=medium", "/antiAffinity"),
    ("topologySpreadConstraints=none", "/topologySpreadConstraints"),
    (
        "metrics.serviceMonitor.enabled=perhaps",
        "/metrics/serviceMonitor/enabled",
    ),
    (
        "metrics.serviceMonitor.interval=often",
        "/metrics/serviceMonitor/interval",
    ),
    ("alerts.enabled=perhaps", "/alerts/enabled"),
    ("alerts.disabled={NodeDown}", "/alerts/disabled/0"),
    ("dashboards.enabled=1", "/dashboards/enabled"),
    ("dashboards.label=x", "/dashboards"),
    ("nameOverride=Chat", "/nameOverride"),
    (
        "fullnameOverride=this-name-is-longer-than-kubernetes-can-append-to-for-sure",
        "/fullnameOverride",
    ),
    ("extraEnv[0].value=x", "/extraEnv/0"),
    ("podLabels.a[0]=b", "/podLabels/a"),
];

#[test]
fn the_schema_refuses_each_of_these_by_name() {
    if !helm() {
        return;
    }
    for (set, named) in REFUSED {
        let why = Render::with(&["--set", set]).refusal().unwrap();
        assert!(
            why.contains("values don't meet the specifications of the schema"),
            "{set}: {why}"
        );
        assert!(why.contains(named), "{set}: {why}");
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    if !helm() {
        return;
    }
    let render = Render::with(&[
        "--set",
        "replicas=0",
        "--set",
        "log.level=loud",
        "--set",
        "replicaCount=3",
    ]);
    let why = render.refusal().unwrap();
    for part in ["/replicas", "/log/level", "replicaCount"] {
        assert!(why.contains(part), "{part} is not in {why}");
    }
}

#[test]
fn what_contradicts_something_else_is_refused_with_all_the_rest() {
    if !helm() {
        return;
    }
    let contradictions = [
        (
            "extraEnv[0].name=XMLRPC_ADDRESS",
            "extraEnv: XMLRPC_ADDRESS is set by the chart",
        ),
        ("extraEnv[1].name=GRACE_MS", "extraEnv: GRACE_MS is set by the chart"),
        (
            "extraVolumes[0].name=data",
            "extraVolumes: the name \"data\" is the chart's",
        ),
        ("extraContainers[0].name=node", "the name \"node\" is the chart's"),
        ("ingress.enabled=true", "ingress.hosts: an Ingress needs a host name"),
        (
            "httpRoute.enabled=true",
            "httpRoute.parentRefs: a route needs a gateway",
        ),
        (
            "service.nodePort=30000",
            "service.nodePort: a Service of type ClusterIP has none",
        ),
        (
            "serviceAccount.create=false",
            "serviceAccount.name: rbac.create would give rights",
        ),
        (
            "service.ipFamilyPolicy=PreferDualStack",
            "listenHost: dual stack needs \"::\"",
        ),
    ];
    let mut all = Vec::new();
    for (set, named) in contradictions {
        let set = set.replace("extraEnv[1]", "extraEnv[0]");
        let why = Render::with(&["--set", &set]).refusal().unwrap();
        assert!(
            why.contains("These values cannot be:") && why.contains(named),
            "{set}: {why}"
        );
    }
    for (set, _) in &contradictions {
        all.extend(["--set", set]);
    }
    let why = Render::with(&all).refusal().unwrap();
    for (_, named) in contradictions {
        assert!(why.contains(named), "{named} is not in {why}");
    }
    let digit = Render {
        release: "1".into(),
        ..Render::default()
    };
    assert!(digit.refusal().unwrap().contains("begins with a letter"));
}

#[test]
fn a_kubernetes_that_is_too_old_is_refused() {
    if !helm() {
        return;
    }
    let why = Render::with(&["--kube-version", "1.30.9"]).refusal().unwrap();
    assert!(why.contains("kubeVersion: >=1.31.0-0"), "{why}");
}

/// Values whose inside is Kubernetes' own: the API server judges it.
const OPEN: &[&str] = &[
    "resources",
    "affinity",
    "podSecurityContext",
    "securityContext",
    "global",
];

#[test]
fn the_schema_is_closed_at_every_level_that_is_the_charts_own() {
    let text = std::fs::read_to_string(chart().join("values.schema.json")).unwrap();
    let schema: Json = serde_json::from_str(&text).unwrap();
    let mut objects = 0;
    check_closed("", &schema, &mut objects);
    assert!(objects > 15, "{objects}");
}

fn check_closed(name: &str, schema: &Json, objects: &mut usize) {
    if !name.is_empty() && schema["properties"].is_null() {
        assert!(schema["description"].is_string(), "{name} has no description");
    }
    if schema["type"] != "object" || OPEN.contains(&name) {
        return;
    }
    *objects += 1;
    let others = &schema["additionalProperties"];
    assert!(others == false || others["type"] == "string", "{name} is open");
    for (inner, schema) in schema["properties"].as_object().into_iter().flatten() {
        check_closed(inner, schema, objects);
    }
}
