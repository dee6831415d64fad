//! What holds for every pod: probes, security, stopping, storage.

use super::{all_sets, containers, helm, items, node, of_kind, only, pod_specs, texts};
use chat_kube::helm::Render;
use serde_json::{Value as Json, json};

#[test]
fn the_three_probes_ask_different_questions_and_leave_no_threshold_to_kubernetes() {
    if !helm() {
        return;
    }
    for (file, objects) in all_sets() {
        let node = node(&objects);
        for (probe, path) in [
            ("startupProbe", "/startup"),
            ("readinessProbe", "/ready"),
            ("livenessProbe", "/live"),
        ] {
            let probe = &node[probe];
            assert_eq!(probe["httpGet"], json!({"path": path, "port": "operations"}), "{file}");
            for threshold in [
                "initialDelaySeconds",
                "periodSeconds",
                "timeoutSeconds",
                "successThreshold",
                "failureThreshold",
            ] {
                assert!(probe[threshold].is_u64(), "{file}: {path}: {threshold}");
            }
        }
    }
}

#[test]
fn every_pod_satisfies_the_restricted_standard() {
    if !helm() {
        return;
    }
    for (file, objects) in all_sets() {
        for pod in pod_specs(&objects) {
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{file}");
            assert_eq!(pod["securityContext"]["runAsUser"], 65_532, "{file}");
            assert_eq!(
                pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault",
                "{file}"
            );
            for host in ["hostNetwork", "hostPID", "hostIPC"] {
                assert!(pod[host].is_null(), "{file}: {host}");
            }
            for container in containers(pod) {
                let security = &container["securityContext"];
                assert_eq!(security["allowPrivilegeEscalation"], false, "{file}");
                assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}), "{file}");
                assert_eq!(security["readOnlyRootFilesystem"], true, "{file}");
            }
        }
    }
}

#[test]
fn only_a_node_that_watches_has_a_token_and_no_pod_the_addresses_of_services() {
    if !helm() {
        return;
    }
    for (file, objects) in all_sets() {
        for pod in pod_specs(&objects) {
            assert_eq!(pod["automountServiceAccountToken"], false, "{file}");
            assert_eq!(pod["enableServiceLinks"], false, "{file}");
        }
        for account in of_kind(&objects, "ServiceAccount") {
            assert_eq!(account["automountServiceAccountToken"], false, "{file}");
        }
        let watches = config(&objects)["DISCOVERY"] == "kubernetes";
        let tokens = pod_specs(&objects).into_iter().flat_map(|pod| items(&pod["volumes"]));
        let tokens: Vec<&Json> = tokens.filter(|volume| !volume["projected"].is_null()).collect();
        assert_eq!(tokens.len(), usize::from(watches), "{file}");
        assert_eq!(of_kind(&objects, "Role").len(), tokens.len(), "{file}");
        for token in tokens {
            assert_eq!(
                token["projected"]["sources"][0],
                json!({"serviceAccountToken": {"path": "token", "expirationSeconds": 3_607}}),
                "{file}"
            );
            for container in pod_specs(&objects).into_iter().flat_map(containers) {
                let mounted = items(&container["volumeMounts"])
                    .iter()
                    .any(|mount| mount["name"] == token["name"]);
                assert_eq!(mounted, container["name"] == "node", "{file}: {}", container["name"]);
            }
        }
    }
}

#[test]
fn no_pod_writes_anywhere_but_to_its_volume() {
    if !helm() {
        return;
    }
    for (file, objects) in all_sets() {
        for pod in pod_specs(&objects) {
            for volume in items(&pod["volumes"]) {
                assert!(
                    volume["emptyDir"].is_null() && volume["hostPath"].is_null(),
                    "{file}: {volume}"
                );
            }
        }
        let claims = &only(&objects, "StatefulSet")["spec"]["volumeClaimTemplates"];
        let config = config(&objects);
        if config["STORE"] == "local" {
            assert_eq!(items(claims).len(), 1, "{file}");
            // A directory of its own: a volume has lost+found beside it.
            assert_eq!(config["DATA_DIR"], "/data/chat", "{file}");
            assert!(
                texts(&node(&objects)["volumeMounts"], "mountPath").contains(&"/data"),
                "{file}"
            );
        } else {
            assert!(
                claims.is_null()
                    && items(&node(&objects)["volumeMounts"])
                        .iter()
                        .all(|mount| mount["readOnly"] == true),
                "{file}"
            );
        }
    }
}

/// What all nodes are told.
fn config(objects: &[Json]) -> &Json {
    let ours = |object: &&Json| {
        object["metadata"]["name"]
            .as_str()
            .is_some_and(|name| name.ends_with("-config"))
    };
    &objects.iter().find(ours).unwrap()["data"]
}

#[test]
fn a_node_ends_by_itself_before_the_kubelet_ends_it() {
    if !helm() {
        return;
    }
    for (file, objects) in all_sets() {
        let config = config(&objects);
        let seconds = |name: &str| config[name].as_str().unwrap().parse::<u64>().unwrap() / 1_000;
        let hook = node(&objects)["lifecycle"]["preStop"]["sleep"]["seconds"]
            .as_u64()
            .unwrap_or(0);
        let killed = only(&objects, "StatefulSet")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
            .as_u64()
            .unwrap();
        assert_eq!(config["DRAIN_ACCEPT_MS"], "0", "{file}: the hook has waited");
        assert!(
            seconds("DRAIN_WINDOW_MS") + 5 <= seconds("GRACE_MS"),
            "{file}: the last to be closed need time"
        );
        // Five seconds are what a node gives its store to finish.
        assert!(hook + seconds("GRACE_MS") + 5 < killed, "{file}: {killed}");
    }
}

#[test]
fn a_hook_of_no_seconds_is_left_out() {
    if !helm() {
        return;
    }
    // Before 1.33 Kubernetes refuses a sleep of zero.
    let objects = Render::with(&["--set", "drain.endpointDelaySeconds=0"])
        .objects()
        .unwrap();
    assert!(node(&objects)["lifecycle"].is_null());
    let objects = Render::with(&["--set", "drain.endpointDelaySeconds=7"])
        .objects()
        .unwrap();
    assert_eq!(
        node(&objects)["lifecycle"],
        json!({"preStop": {"sleep": {"seconds": 7}}})
    );
}

#[test]
fn by_default_nodes_prefer_machines_of_their_own_and_one_machine_is_enough() {
    if !helm() {
        return;
    }
    let affinity = |args: &[&str]| {
        let objects = Render::with(args).objects().unwrap();
        only(&objects, "StatefulSet")["spec"]["template"]["spec"].clone()
    };
    let pod = affinity(&[]);
    let anti = &pod["affinity"]["podAntiAffinity"];
    assert_eq!(items(&anti["preferredDuringSchedulingIgnoredDuringExecution"]).len(), 1);
    assert!(anti["requiredDuringSchedulingIgnoredDuringExecution"].is_null());
    let spread = &pod["topologySpreadConstraints"];
    assert_eq!(
        texts(spread, "topologyKey"),
        ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    );
    assert_eq!(texts(spread, "whenUnsatisfiable"), ["ScheduleAnyway", "ScheduleAnyway"]);
    let pod = affinity(&[
        "--set",
        "antiAffinity=hard",
        "--set-json",
        "topologySpreadConstraints=[]",
    ]);
    let anti = &pod["affinity"]["podAntiAffinity"];
    assert_eq!(items(&anti["requiredDuringSchedulingIgnoredDuringExecution"]).len(), 1);
    assert!(pod["topologySpreadConstraints"].is_null());
    assert!(affinity(&["--set", "antiAffinity=none"])["affinity"].is_null());
}

#[test]
fn a_node_asks_for_little_and_is_limited_in_memory_only() {
    if !helm() {
        return;
    }
    let objects = Render::default().objects().unwrap();
    let resources = &node(&objects)["resources"];
    assert_eq!(resources["requests"], json!({"cpu": "50m", "memory": "64Mi"}));
    assert_eq!(resources["limits"], json!({"memory": "512Mi"}));
    let set = &only(&objects, "StatefulSet")["spec"];
    assert_eq!(set["podManagementPolicy"], "Parallel");
    assert_eq!(
        (&set["minReadySeconds"], &set["revisionHistoryLimit"]),
        (&json!(10), &json!(3))
    );
    assert_eq!(
        set["persistentVolumeClaimRetentionPolicy"],
        json!({"whenDeleted": "Retain", "whenScaled": "Retain"})
    );
    assert_eq!(
        set["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"],
        "2Gi"
    );
}
