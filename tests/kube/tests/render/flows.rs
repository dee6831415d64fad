//! Who may talk to whom under the NetworkPolicy: a table of flows, judged as the network of a cluster would.

use super::{helm, items, only};
use chat_kube::helm::Render;
use serde_json::{Map, Value as Json, json};

/// One end of a flow.
#[derive(Debug, Clone)]
enum End {
    /// A pod with these labels, in this namespace.
    Pod(Json, &'static str),
    /// Something outside of the cluster.
    Outside(&'static str),
}

/// The release is in the namespace `talk`; every namespace has its name as a label, as Kubernetes gives it.
const HOME: &str = "talk";

fn node() -> End {
    End::Pod(
        json!({"app.kubernetes.io/name": "chat", "app.kubernetes.io/instance": "chat"}),
        HOME,
    )
}

fn node_of_another_release() -> End {
    End::Pod(
        json!({"app.kubernetes.io/name": "chat", "app.kubernetes.io/instance": "other"}),
        HOME,
    )
}

fn test_pod() -> End {
    End::Pod(
        json!({"app.kubernetes.io/name": "chat-test", "app.kubernetes.io/instance": "chat"}),
        HOME,
    )
}

fn stranger(namespace: &'static str) -> End {
    End::Pod(json!({"app": "stranger"}), namespace)
}

/// Whether a label selector matches labels.
fn matches(selector: &Json, labels: &Json) -> bool {
    assert!(selector["matchExpressions"].is_null(), "not understood: {selector}");
    let wanted = selector["matchLabels"].as_object();
    wanted.into_iter().flatten().all(|(key, value)| &labels[key] == value)
}

fn in_block(block: &Json, address: &str) -> bool {
    assert!(block["except"].is_null(), "not understood: {block}");
    let (network, bits) = block["cidr"].as_str().unwrap().split_once('/').unwrap();
    let number = |text: &str| u32::from(text.parse::<std::net::Ipv4Addr>().unwrap());
    let mask = u32::MAX.checked_shl(32 - bits.parse::<u32>().unwrap()).unwrap_or(0);
    number(network) & mask == number(address) & mask
}

/// Whether one entry of `from` or `to` means this end.
fn means(peer: &Json, end: &End) -> bool {
    let known: Map<String, Json> = peer.as_object().unwrap().clone();
    assert!(
        known
            .keys()
            .all(|key| ["podSelector", "namespaceSelector", "ipBlock"].contains(&key.as_str()))
    );
    match end {
        End::Outside(address) => !peer["ipBlock"].is_null() && in_block(&peer["ipBlock"], address),
        End::Pod(labels, namespace) => {
            let right_namespace = if peer["namespaceSelector"].is_null() {
                *namespace == HOME
            } else {
                matches(
                    &peer["namespaceSelector"],
                    &json!({"kubernetes.io/metadata.name": namespace}),
                )
            };
            peer["ipBlock"].is_null() && right_namespace && matches(&peer["podSelector"], labels)
        }
    }
}

/// Whether some rule lets a flow through: between the node and `end`, to `port` of whoever accepts.
fn allowed(rules: &Json, direction: &str, end: &End, port: u16, protocol: &str) -> bool {
    let named = |port: u16| match port {
        8080 => "client",
        9090 => "peer",
        9100 => "operations",
        _ => "",
    };
    items(rules).iter().any(|rule| {
        let ports = items(&rule["ports"]);
        let right_port = ports.is_empty()
            || ports.iter().any(|item| {
                let same = item["port"] == port || item["port"] == named(port);
                same && item["protocol"].as_str().unwrap_or("TCP") == protocol
            });
        let ends = items(&rule[direction]);
        right_port && (ends.is_empty() || ends.iter().any(|peer| means(peer, end)))
    })
}

/// The rules for the nodes under these values.
fn policy(args: &[&str]) -> Json {
    let objects = Render::with(&["--set", "networkPolicy.enabled=true"])
        .and(args)
        .objects()
        .unwrap();
    let policy = only(&objects, "NetworkPolicy")["spec"].clone();
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    let labels = &only(&objects, "StatefulSet")["spec"]["template"]["metadata"]["labels"];
    assert!(matches(&policy["podSelector"], labels), "it is about the nodes");
    let test = &only(&objects, "Pod")["metadata"]["labels"];
    assert!(!matches(&policy["podSelector"], test), "it is not about the test");
    policy
}

#[test]
fn by_default_clients_and_scrapers_come_in_and_only_nodes_reach_the_peer_port() {
    if !helm() {
        return;
    }
    let policy = policy(&[]);
    for (from, port, expected) in [
        (node(), 9090, true),
        (node_of_another_release(), 9090, false),
        (test_pod(), 9090, false),
        (stranger(HOME), 9090, false),
        (stranger("elsewhere"), 9090, false),
        (End::Outside("203.0.113.9"), 9090, false),
        (stranger(HOME), 8080, true),
        (stranger("elsewhere"), 8080, true),
        (End::Outside("203.0.113.9"), 8080, true),
        (test_pod(), 8080, true),
        (stranger("monitoring"), 9100, true),
        (test_pod(), 9100, true),
        (End::Outside("203.0.113.9"), 9100, false),
        (stranger(HOME), 22, false),
    ] {
        assert_eq!(
            allowed(&policy["ingress"], "from", &from, port, "TCP"),
            expected,
            "{from:?} to {port}"
        );
    }
}

#[test]
fn clients_and_scrapers_may_be_limited_and_the_test_still_comes_in() {
    if !helm() {
        return;
    }
    let namespace = |name: &str| {
        format!("[{{\"namespaceSelector\": {{\"matchLabels\": {{\"kubernetes.io/metadata.name\": \"{name}\"}}}}}}]")
    };
    let clients = format!("networkPolicy.clientsFrom={}", namespace("gateways"));
    let metrics = format!("networkPolicy.metricsFrom={}", namespace("monitoring"));
    let policy = policy(&["--set-json", &clients, "--set-json", &metrics]);
    for (from, port, expected) in [
        (stranger("gateways"), 8080, true),
        (stranger("monitoring"), 8080, false),
        (stranger(HOME), 8080, false),
        (End::Outside("203.0.113.9"), 8080, false),
        (test_pod(), 8080, true),
        (stranger("monitoring"), 9100, true),
        (stranger("gateways"), 9100, false),
        (test_pod(), 9100, true),
        (node(), 9090, true),
        (stranger("gateways"), 9090, false),
    ] {
        assert_eq!(
            allowed(&policy["ingress"], "from", &from, port, "TCP"),
            expected,
            "{from:?} to {port}"
        );
    }
}

#[test]
fn nodes_reach_each_other_the_resolver_the_api_server_and_nothing_else() {
    if !helm() {
        return;
    }
    let plain = policy(&[]);
    for (to, port, protocol, expected) in [
        (node(), 9090, "TCP", true),
        (node_of_another_release(), 9090, "TCP", false),
        (node(), 8080, "TCP", false),
        (stranger("kube-system"), 53, "UDP", true),
        (stranger("kube-system"), 53, "TCP", true),
        (End::Outside("10.0.0.10"), 53, "UDP", true),
        (End::Outside("203.0.113.9"), 443, "TCP", true),
        (End::Outside("203.0.113.9"), 6443, "TCP", true),
        (End::Outside("203.0.113.9"), 80, "TCP", false),
        (stranger(HOME), 5432, "TCP", false),
    ] {
        assert_eq!(
            allowed(&plain["egress"], "to", &to, port, protocol),
            expected,
            "{to:?} at {port}"
        );
    }
    let asks = |args: &[&str], address| allowed(&policy(args)["egress"], "to", &End::Outside(address), 443, "TCP");
    assert!(!asks(&["--set", "discovery=dns"], "203.0.113.9"), "nobody asks it");
    let known = ["--set-json", "networkPolicy.apiServerCidrs=[\"198.51.100.0/24\"]"];
    assert!(asks(&known, "198.51.100.7") && !asks(&known, "203.0.113.9"));
    let more = "networkPolicy.extraEgress=[{\"to\": [{\"ipBlock\": {\"cidr\": \"192.0.2.0/24\"}}], \"ports\": [{\"port\": 4318}]}]";
    let policy = policy(&["--set-json", more]);
    for (address, expected) in [("192.0.2.77", true), ("192.0.3.1", false)] {
        let to = End::Outside(address);
        assert_eq!(
            allowed(&policy["egress"], "to", &to, 4318, "TCP"),
            expected,
            "{address}"
        );
    }
}
