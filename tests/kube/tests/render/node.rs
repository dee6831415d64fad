//! Whether the programs understand what the chart tells them.

use super::{all_sets, helm, items, node, only, texts};
use chat_kube::helm::Render;
use chat_node::config::{Command, Config, Discovery, StoreKind};
use serde_json::Value as Json;
use std::time::Duration;

/// The variables of a container, as the kubelet of the pod would give them.
fn environment(container: &Json, objects: &[Json], pod: &str) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    for source in items(&container["envFrom"]) {
        let name = &source["configMapRef"]["name"];
        let map = objects
            .iter()
            .find(|object| object["kind"] == "ConfigMap" && &object["metadata"]["name"] == name);
        for (name, value) in map.into_iter().flat_map(|map| map["data"].as_object().unwrap()) {
            variables.push((name.clone(), value.as_str().unwrap().to_owned()));
        }
    }
    for variable in items(&container["env"]) {
        let name = variable["name"].as_str().unwrap().to_owned();
        let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
            Some("metadata.name") => pod.to_owned(),
            Some(other) => other.to_owned(),
            None => variable["value"].as_str().unwrap().replace("$(NODE_ID)", pod),
        };
        variables.push((name, value));
    }
    variables
}

fn load(args: &[&str], environment: &[(String, String)]) -> Command {
    let find = |name: &str| {
        environment
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    };
    Config::load(args.iter().map(|&arg| arg.to_owned()), find).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

#[test]
fn every_node_understands_its_settings_and_knows_or_finds_all_others() {
    if !helm() {
        return;
    }
    for (file, objects) in all_sets() {
        let set = only(&objects, "StatefulSet");
        let name = set["metadata"]["name"].as_str().unwrap();
        let replicas = set["spec"]["replicas"].as_u64().unwrap();
        for number in 0..replicas {
            let pod = format!("{name}-{number}");
            let Command::Serve(config) = load(&[], &environment(node(&objects), &objects, &pod)) else {
                panic!("{file}: it does not serve")
            };
            assert_eq!(config.node_id.as_str(), pod, "{file}");
            let headless = set["spec"]["serviceName"].as_str().unwrap();
            assert_eq!(
                config.xmlrpc_address,
                format!("http://{pod}.{headless}.talk.svc:9090"),
                "{file}"
            );
            match &config.discovery {
                Discovery::Fixed => assert_eq!(config.peers.len() as u64, replicas - 1, "{file}"),
                Discovery::Dns { name } => assert_eq!(*name, format!("_peer._tcp.{headless}.talk.svc"), "{file}"),
                Discovery::Kubernetes { service, namespace } => {
                    assert_eq!((service.as_str(), namespace.as_str()), (headless, "talk"), "{file}");
                }
            }
            assert!(
                config.discovery == Discovery::Fixed || config.peers.is_empty(),
                "{file}"
            );
            for (peer, address) in &config.peers {
                let expected = format!("http://{peer}.{headless}.talk.svc:9090/RPC2");
                assert_eq!(address.to_string(), expected, "{file}");
            }
            let ports = [&config.websocket, &config.xmlrpc, &config.operations].map(|listen| u64::from(listen.port));
            let named: Vec<u64> = items(&node(&objects)["ports"])
                .iter()
                .map(|port| port["containerPort"].as_u64().unwrap())
                .collect();
            assert_eq!(ports.to_vec(), named, "{file}");
        }
    }
}

#[test]
fn large_bounds_arrive_as_they_were_given() {
    if !helm() {
        return;
    }
    let objects = Render::values("ci/everything-values.yaml").objects().unwrap();
    let Command::Serve(config) = load(&[], &environment(node(&objects), &objects, "chat-talk-0")) else {
        panic!("it does not serve")
    };
    // Helm reads numbers as floating ones and would write the first as 1e+06.
    assert_eq!(config.limits.max_connections, 1_000_000);
    assert_eq!(config.limits.outbound_bytes, 1_048_576);
    assert_eq!(config.limits.inactivity, Duration::ZERO);
    assert_eq!(config.limits.drain_window, Duration::from_secs(60));
    assert_eq!(config.websocket.host, "::");
    assert_eq!(config.store, StoreKind::Local);
}

#[test]
fn the_test_understands_its_targets() {
    if !helm() {
        return;
    }
    for (file, objects) in all_sets() {
        let test = &only(&objects, "Pod")["spec"]["containers"][0];
        let args: Vec<&str> = items(&test["args"]).iter().filter_map(Json::as_str).collect();
        let Command::Selftest(options) = load(&args, &environment(test, &objects, "")) else {
            panic!("{file}: it is no test")
        };
        let replicas = only(&objects, "StatefulSet")["spec"]["replicas"].as_u64().unwrap();
        assert_eq!(options.targets.len() as u64, replicas, "{file}");
        assert_eq!(options.metrics.len() as u64, replicas, "{file}");
    }
}

#[test]
fn a_change_of_a_bound_restarts_the_nodes() {
    if !helm() {
        return;
    }
    let checksum = |args: &[&str]| {
        let objects = Render::with(args).objects().unwrap();
        let annotations = &only(&objects, "StatefulSet")["spec"]["template"]["metadata"]["annotations"];
        annotations["checksum/config"].as_str().unwrap().to_owned()
    };
    assert_eq!(checksum(&[]), checksum(&["--set", "service.port=80"]));
    assert_ne!(checksum(&[]), checksum(&["--set", "config.MAX_CONNECTIONS=5"]));
}

#[test]
fn another_number_of_nodes_restarts_only_those_that_have_a_list_of_them() {
    if !helm() {
        return;
    }
    let template = |discovery: &str, replicas: &str| {
        let (discovery, replicas) = (format!("discovery={discovery}"), format!("replicas={replicas}"));
        let objects = Render::with(&["--set", &discovery, "--set", &replicas])
            .objects()
            .unwrap();
        only(&objects, "StatefulSet")["spec"]["template"].clone()
    };
    assert_eq!(template("kubernetes", "3"), template("kubernetes", "5"));
    assert_eq!(template("dns", "3"), template("dns", "5"));
    assert_ne!(template("fixed", "3"), template("fixed", "5"));
}

#[test]
fn variables_of_the_user_come_with_those_of_the_chart() {
    if !helm() {
        return;
    }
    let objects = Render::values("ci/everything-values.yaml").objects().unwrap();
    assert_eq!(
        texts(&node(&objects)["env"], "name"),
        ["NODE_ID", "XMLRPC_ADDRESS", "TZ", "POD_IP"]
    );
}
