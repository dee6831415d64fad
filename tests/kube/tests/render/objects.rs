//! What holds for all objects together.

use super::{all_sets, containers, helm, items, of_kind, only, pod_specs, texts, value_files};
use chat_kube::helm::{Render, objects};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;

#[test]
fn two_renders_are_the_same_but_for_the_key_that_is_made() {
    if !helm() {
        return;
    }
    for file in value_files() {
        let render = Render::values(&file).and(&["--set", "peerKey.existingSecret=ours"]);
        assert_eq!(render.yaml().unwrap(), render.yaml().unwrap(), "{file}");
        let render = Render::values(&file).and(&["--set", "peerKey.existingSecret="]);
        let differing = |one: &str, other: &str| {
            assert_eq!(one.lines().count(), other.lines().count(), "{file}");
            one.lines()
                .zip(other.lines())
                .filter(|(one, other)| one != other)
                .count()
        };
        let made = of_kind(&render.objects().unwrap(), "Secret").len();
        assert_eq!(
            differing(&render.yaml().unwrap(), &render.yaml().unwrap()),
            made,
            "{file}"
        );
    }
}

#[test]
fn the_key_that_is_made_is_one_that_nodes_take_and_outlives_the_release() {
    if !helm() {
        return;
    }
    let objects = Render::default().objects().unwrap();
    let secret = only(&objects, "Secret");
    assert_eq!(secret["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    // 64 letters and digits, as base64.
    assert_eq!(secret["data"]["key"].as_str().unwrap().len(), 88);
    let volume = &items(&only(&objects, "StatefulSet")["spec"]["template"]["spec"]["volumes"])[0];
    assert_eq!(volume["secret"]["secretName"], secret["metadata"]["name"]);
    for own in ["peerKey.existingSecret=ours", "peerKey.enabled=false"] {
        let objects = Render::with(&["--set", own]).objects().unwrap();
        assert!(of_kind(&objects, "Secret").is_empty(), "{own}");
    }
}

#[test]
fn no_two_objects_have_one_name() {
    if !helm() {
        return;
    }
    for (file, objects) in all_sets() {
        let mut seen = BTreeSet::new();
        for object in &objects {
            let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
            assert!(seen.insert(name.clone()), "{file}: {name} is there twice");
        }
        assert!(objects.len() >= 5, "{file}");
    }
}

#[test]
fn nothing_in_a_pod_has_the_name_of_another() {
    if !helm() {
        return;
    }
    for (file, objects) in all_sets() {
        for pod in pod_specs(&objects) {
            let names = |list: Vec<&str>, what: &str| {
                let distinct: BTreeSet<&str> = list.iter().copied().collect();
                assert_eq!(distinct.len(), list.len(), "{file}: {what}: {list:?}");
            };
            names(
                containers(pod)
                    .filter_map(|container| container["name"].as_str())
                    .collect(),
                "containers",
            );
            names(texts(&pod["volumes"], "name"), "volumes");
            for container in containers(pod) {
                names(texts(&container["env"], "name"), "variables");
                names(texts(&container["ports"], "name"), "ports");
                names(texts(&container["volumeMounts"], "mountPath"), "mounts");
            }
        }
    }
}

#[test]
fn every_object_says_to_which_release_and_namespace_it_belongs() {
    if !helm() {
        return;
    }
    for (file, objects) in all_sets() {
        for object in objects.iter().filter(|object| !object["metadata"]["labels"].is_null()) {
            let metadata = &object["metadata"];
            assert_eq!(metadata["namespace"], "talk", "{file}: {metadata}");
            for label in ["name", "instance", "version", "managed-by"] {
                let label = format!("app.kubernetes.io/{label}");
                assert!(metadata["labels"][&label].is_string(), "{file}: {label}: {metadata}");
            }
        }
    }
}

#[test]
fn the_services_lead_to_the_nodes_and_never_to_the_test() {
    if !helm() {
        return;
    }
    for (file, objects) in all_sets() {
        let services = of_kind(&objects, "Service");
        assert_eq!(services.len(), 2, "{file}");
        let labels = &only(&objects, "StatefulSet")["spec"]["template"]["metadata"]["labels"];
        let test = &only(&objects, "Pod")["metadata"]["labels"];
        for service in &services {
            let selector = service["spec"]["selector"].as_object().unwrap();
            assert!(selector.iter().all(|(key, value)| &labels[key] == value), "{file}");
            assert!(selector.iter().any(|(key, value)| &test[key] != value), "{file}");
        }
        let headless: Vec<&&Json> = services
            .iter()
            .filter(|service| service["spec"]["clusterIP"] == "None")
            .collect();
        assert_eq!(headless.len(), 1, "{file}");
        let headless = headless[0];
        // Peers find those that are not ready, clients do not.
        assert_eq!(headless["spec"]["publishNotReadyAddresses"], true, "{file}");
        assert_eq!(
            only(&objects, "StatefulSet")["spec"]["serviceName"],
            headless["metadata"]["name"],
            "{file}"
        );
        let client = services
            .iter()
            .find(|service| service["spec"]["clusterIP"] != "None")
            .unwrap();
        assert!(client["spec"]["publishNotReadyAddresses"].is_null(), "{file}");
        assert_eq!(texts(&client["spec"]["ports"], "name"), ["client"], "{file}");
    }
}

#[test]
fn the_account_of_the_nodes_may_read_endpoint_slices_and_nothing_else() {
    if !helm() {
        return;
    }
    let objects = Render::default().objects().unwrap();
    let role = only(&objects, "Role");
    assert_eq!(
        role["rules"],
        json!([{"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]}])
    );
    let binding = only(&objects, "RoleBinding");
    assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
    assert_eq!(
        binding["subjects"],
        json!([{"kind": "ServiceAccount", "name": "chat", "namespace": "talk"}])
    );
    assert!(of_kind(&objects, "ClusterRole").is_empty() && of_kind(&objects, "ClusterRoleBinding").is_empty());
}

#[test]
fn one_node_may_always_be_taken_down() {
    if !helm() {
        return;
    }
    let objects = Render::default().objects().unwrap();
    let budget = &only(&objects, "PodDisruptionBudget")["spec"];
    assert_eq!(budget["maxUnavailable"], 1);
    assert_eq!(budget["unhealthyPodEvictionPolicy"], "AlwaysAllow");
    assert_eq!(budget["selector"], only(&objects, "StatefulSet")["spec"]["selector"]);
}

#[test]
fn objects_of_the_user_are_expanded() {
    if !helm() {
        return;
    }
    let objects = Render::values("ci/everything-values.yaml").objects().unwrap();
    let extra = objects
        .iter()
        .find(|object| object["metadata"]["name"] == "chat-talk-extra")
        .unwrap();
    assert_eq!(extra["data"]["of"], "chat");
}

#[test]
fn documents_are_read_as_helm_reads_them() {
    if !helm() {
        return;
    }
    let read = objects("---\n# Nothing.\n---\nkind: A\nlist: [1, {b: \"2\"}]\n--- # with a remark\nkind: B\n").unwrap();
    assert_eq!(
        read,
        [json!({"kind": "A", "list": [1, {"b": "2"}]}), json!({"kind": "B"})]
    );
    assert!(items(&json!(null)).is_empty());
}
