//! The key between nodes: clusters that do not mix, a key that is changed under load, callers that are nobody.

use super::peer_port::post;
use chat_client::request;
use chat_node::config::{Config, PeerAuth, PeerKey};
use chat_protocol::ids::{ClusterId, NodeId};
use chat_protocol::peer_xml::write_call;
use chat_tests::port::Port;
use chat_tests::{PATIENCE, TestCluster, TestNode};
use dxr::Value;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

const OLD: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const NEW: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";

fn key(text: &str, cluster: &str) -> PeerAuth {
    PeerAuth {
        cluster: ClusterId::parse(cluster).unwrap(),
        ..PeerAuth::with(PeerKey::Text(text.into()))
    }
}

/// The sum of all samples of a family whose labels hold all of these texts.
fn sum(metrics: &str, family: &str, labels: &[&str]) -> u64 {
    let of_family = |line: &&str| line.starts_with(family) && labels.iter().all(|label| line.contains(label));
    let value = |line: &str| line.rsplit(' ').next()?.parse::<u64>().ok();
    metrics.lines().filter(of_family).filter_map(value).sum()
}

async fn wait_for(node: &TestNode, family: &str, labels: &[&str], at_least: u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics = node.metrics().await;
        if sum(&metrics, family, labels) >= at_least {
            return;
        }
        assert!(Instant::now() < deadline, "{family} {labels:?} stays low:\n{metrics}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Two nodes of one id scheme whose lists of peers point at each other although they have nothing to do with each other.
async fn strangers(one: PeerAuth, two: PeerAuth) -> (TestNode, TestNode) {
    let ports = [Port::reserve().unwrap(), Port::reserve().unwrap()];
    let start = async |me: usize, auth: PeerAuth| {
        let (own, other) = (ports[me].address(), ports[1 - me].address());
        TestNode::start_with(|config| {
            config.node_id = NodeId::parse(&format!("chat-{me}")).unwrap();
            config.xmlrpc.port = own.port();
            config.peer_auth = auth;
            config.limits.heartbeat_interval = Duration::from_millis(20);
            config.peers.insert(
                NodeId::parse(&format!("chat-{}", 1 - me)).unwrap(),
                format!("http://{other}/RPC2").parse().unwrap(),
            );
        })
        .await
    };
    (start(0, one).await, start(1, two).await)
}

async fn never_mix(one: PeerAuth, two: PeerAuth, reason: &str) {
    let (one, two) = strangers(one, two).await;
    let reason = format!("reason=\"{reason}\"");
    for node in [&one, &two] {
        wait_for(node, "chat_peer_calls_refused_total", &[&reason], 5).await;
        wait_for(node, "chat_peer_unbelieved", &[], 1).await;
        let metrics = node.metrics().await;
        assert_eq!(sum(&metrics, "chat_peer_health", &[]), 0, "{metrics}");
        assert_eq!(
            sum(&metrics, "chat_heartbeats_total", &["result=\"ok\""]),
            0,
            "{metrics}"
        );
        assert_eq!(
            sum(&metrics, "chat_peer_calls_total", &["result=\"ok\""]),
            0,
            "{metrics}"
        );
        let mut client = node.client().await;
        let list = client.ask(&request::discover_rooms()).await;
        assert_eq!(list["data"]["nodes_available"].as_array().unwrap().len(), 1, "{list}");
    }
}

#[tokio::test]
async fn clusters_with_other_keys_never_mix_although_each_lists_the_other() {
    never_mix(key(OLD, "shop/one"), key(NEW, "shop/two"), "unknown_key").await;
}

#[tokio::test]
async fn clusters_of_another_name_never_mix_although_they_have_the_same_key() {
    never_mix(key(OLD, "shop/one"), key(OLD, "shop/two"), "other_cluster").await;
}

#[tokio::test]
async fn a_node_with_a_key_believes_no_node_without_one_and_does_not_fail_for_it() {
    let (with, without) = strangers(key(OLD, "chat"), PeerAuth::none()).await;
    wait_for(&with, "chat_peer_calls_refused_total", &["reason=\"unsigned\""], 5).await;
    for node in [&with, &without] {
        wait_for(node, "chat_peer_unbelieved", &[], 1).await;
        let metrics = node.metrics().await;
        assert_eq!(sum(&metrics, "chat_peer_health", &[]), 0, "{metrics}");
    }
    let mut client = with.client().await;
    let room = client.create("hall").await;
    client.join(&room, "ines").await;
    assert_eq!(client.send(&room, "ines", "hello").await, 1);
}

#[tokio::test]
async fn two_nodes_with_one_key_find_each_other() {
    let (one, two) = strangers(key(OLD, "chat"), key(OLD, "chat")).await;
    for node in [&one, &two] {
        wait_for(node, "chat_peer_health", &[], 2).await;
    }
}

fn with_key(config: &mut Config) {
    config.peer_auth = key(OLD, "chat");
}

#[tokio::test]
async fn a_call_without_a_signature_is_refused_whatever_it_asks() {
    let node = TestNode::start_with(with_key).await;
    for method in [
        "heartbeat",
        "get_hosted_rooms",
        "chat.exchange",
        "chat.heads",
        "nonsense",
    ] {
        let answer = post(&node, "/RPC2", &write_call(method, &[])).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        assert!(answer.contains("x-chat-refused: unsigned\r\n"), "{answer}");
        assert!(!answer.contains(method), "{answer}");
    }
    let metrics = node.metrics().await;
    assert_eq!(
        sum(&metrics, "chat_peer_calls_refused_total", &["reason=\"unsigned\""]),
        5,
        "{metrics}"
    );
}

#[tokio::test]
async fn an_exempt_peer_may_call_the_classic_methods_and_only_for_itself() {
    let exempt = |config: &mut Config| {
        with_key(config);
        config.peers.insert(
            NodeId::parse("old").unwrap(),
            "http://127.0.0.1:9/RPC2".parse().unwrap(),
        );
        config.peers.insert(
            NodeId::parse("ours").unwrap(),
            "http://127.0.0.1:9/RPC2".parse().unwrap(),
        );
        config.peer_auth.unsigned.insert(NodeId::parse("old").unwrap());
    };
    let node = TestNode::start_with(exempt).await;
    let mut client = node.client().await;
    let room = client.create("hall").await;
    let text = |text: &str| Value::String(text.into());
    let answer = async |method: &str, params: &[Value]| post(&node, "/RPC2", &write_call(method, params)).await;
    assert!(answer("heartbeat", &[]).await.contains("<string>ok</string>"));
    assert!(answer("get_hosted_rooms", &[]).await.contains(&room));
    let join = |id: &str| [text(&room), text("otto"), text(id)];
    let joined = answer("join_room", &join("old")).await;
    assert!(joined.contains("Successfully joined room"), "{joined}");
    let forward = |id: &str| [text(&room), text("otto"), text("hello"), text(id)];
    let prepare = |id: &str| [text(&room), text("tx"), text(id)];
    for (method, params) in [
        ("join_room", join("ours").to_vec()),
        ("join_room", join("stranger").to_vec()),
        ("leave_room", join("ours").to_vec()),
        ("notify_member_disconnect", join("ours").to_vec()),
        ("forward_message", forward("ours").to_vec()),
        ("prepare_delete_room", prepare("ours").to_vec()),
        ("chat.capabilities", vec![]),
        (
            "chat.exchange",
            vec![text("old"), text("1"), text("1"), text("0"), Value::Array(vec![])],
        ),
        ("chat.heads", vec![Value::Array(vec![])]),
        ("system.listMethods", vec![]),
    ] {
        let answer = answer(method, &params).await;
        assert!(
            answer.contains("-32003") && answer.contains("not for this caller"),
            "{method}: {answer}"
        );
    }
    let metrics = node.metrics().await;
    let refused = |reason: &str| {
        sum(
            &metrics,
            "chat_peer_calls_refused_total",
            &[&format!("reason=\"{reason}\"")],
        )
    };
    assert_eq!((refused("other_identity"), refused("not_exempt")), (6, 4), "{metrics}");
}

/// Puts another file in place as a volume of Kubernetes does: by a link that points elsewhere.
fn swap(directory: &Path, generation: usize, text: &str) {
    let version = directory.join(format!("v{generation}"));
    std::fs::write(&version, text).unwrap();
    let link = directory.join("next");
    std::os::unix::fs::symlink(&version, &link).unwrap();
    std::fs::rename(&link, directory.join("key")).unwrap();
}

#[tokio::test]
async fn a_key_is_changed_under_load_without_a_failed_call_and_a_bad_file_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    swap(directory.path(), 0, OLD);
    let cluster = TestCluster::start_with(3, |config| {
        config.peer_auth = PeerAuth::with(PeerKey::File(directory.path().join("key")));
        config.limits.peer_key_poll = Duration::from_millis(10);
    })
    .await;
    for n in 1..=3 {
        cluster.wait_until_connected(n, 3).await;
    }
    let mut sender = cluster.node(1).client().await;
    let mut listener = cluster.node(3).client().await;
    let room = cluster.node(2).client().await.create("hall").await;
    listener.join(&room, "otto").await;
    sender.join(&room, "ines").await;
    assert_eq!(listener.next().await["type"], "member_joined");

    let failed = async || {
        let mut all = 0;
        for n in 1..=3 {
            let metrics = cluster.node(n).metrics().await;
            let calls = sum(&metrics, "chat_peer_calls_total", &[]);
            all += calls - sum(&metrics, "chat_peer_calls_total", &["result=\"ok\""]);
            all += sum(&metrics, "chat_heartbeats_total", &["result=\"failed\""]);
            let refused = sum(&metrics, "chat_peer_calls_refused_total", &[]);
            // The first call to a node, and only that one, is challenged.
            all += refused - sum(&metrics, "chat_peer_calls_refused_total", &["reason=\"stale\""]);
        }
        all
    };
    let before = failed().await;
    let mut number = 0;
    let steps = [
        (format!("{OLD}\n{NEW}\n"), "result=\"ok\"", 1),
        (format!("{NEW}\n{OLD}\n"), "result=\"ok\"", 2),
        ("Passw0rd\n".to_owned(), "result=\"failed\"", 1),
        (format!("{NEW}\n"), "result=\"ok\"", 3),
    ];
    for (generation, (text, result, count)) in steps.iter().enumerate() {
        swap(directory.path(), generation + 1, text);
        let deadline = Instant::now() + PATIENCE;
        let mut taken = false;
        // Once more after everybody has it.
        while !taken {
            taken = true;
            for n in 1..=3 {
                let metrics = cluster.node(n).metrics().await;
                taken &= sum(&metrics, "chat_peer_key_reloads_total", &[result]) == *count;
            }
            for _ in 0..20 {
                number += 1;
                assert_eq!(sender.send(&room, "ines", "hello").await, number);
                let heard = listener.next().await;
                assert_eq!(heard["data"]["sequence_number"], number, "{heard}");
            }
            assert!(Instant::now() < deadline, "the file {generation} is not taken");
        }
    }
    assert_eq!(failed().await, before, "a call failed");
    let metrics = cluster.node(1).metrics().await;
    assert_eq!(sum(&metrics, "chat_peer_keys", &[]), 1, "{metrics}");
    assert_eq!(sum(&metrics, "chat_peer_health", &[]), 4, "{metrics}");
}

#[tokio::test]
async fn a_node_that_starts_again_is_believed_again_by_the_others() {
    let mut cluster = TestCluster::start_with(3, with_key).await;
    cluster.crash(2).await;
    cluster.restart(2).await;
    cluster.wait_until_connected(1, 3).await;
    cluster.crash(2).await;
    cluster.lose_disk(2);
    cluster.restart(2).await;
    cluster.wait_until_connected(3, 3).await;
}
