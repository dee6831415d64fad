//! Peers that do not behave: silent, senseless, original, or behind a wire that was cut.

use chat_client::request;
use chat_node::config::Config;
use chat_protocol::ids::NodeId;
use chat_protocol::limits::MAX_REQUEST_BODY;
use chat_protocol::peer_xml::{self, XmlLimits};
use chat_tests::proxy::{Proxy, Wire};
use chat_tests::{Client, PATIENCE, TestCluster, TestNode};
use dxr::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// What a strange peer does with a call.
#[derive(Clone)]
pub(crate) enum Habit {
    /// Takes it and says nothing.
    Silent,
    /// Answers with these bytes.
    Says(&'static str),
    /// Begins an answer and never ends it.
    Stalls,
    /// Knows what an original node knows; notes what was called.
    Original(Arc<Mutex<Vec<String>>>),
}

/// Starts a peer on a free port. It lives as long as the runtime of the test.
pub(crate) async fn peer(habit: Habit) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, habit.clone()));
        }
    });
    address
}

async fn serve(stream: TcpStream, habit: Habit) {
    let mut stream = BufReader::new(stream);
    while let Some(body) = read_request(&mut stream).await {
        let answer = match &habit {
            Habit::Silent => continue,
            Habit::Says(bytes) => (*bytes).to_owned(),
            Habit::Stalls => "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n<?xml".to_owned(),
            Habit::Original(calls) => {
                let call = peer_xml::read_call(&body, XmlLimits::REQUEST).unwrap();
                calls.lock().unwrap().push(call.method.clone());
                let body = original(&call.method);
                format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/xml\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                )
            }
        };
        if stream.get_mut().write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The body of the next request, if the connection has one.
async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    assert!(length <= MAX_REQUEST_BODY);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(body)
}

fn original(method: &str) -> String {
    let text = |text: &str| Value::String(text.to_owned());
    match method {
        "heartbeat" => peer_xml::write_response(&Value::Struct(BTreeMap::from([
            ("status".to_owned(), text("ok")),
            ("node_id".to_owned(), text("node3")),
            ("timestamp".to_owned(), text("2026-01-01T00:00:00Z")),
        ]))),
        "get_hosted_rooms" => peer_xml::write_response(&Value::Array(Vec::new())),
        other => peer_xml::write_fault(1, &format!("<class 'Exception'>:method \"{other}\" is not supported")),
    }
}

/// `ines` at node 1 and `otto` at node 2 in a room of node 1; node 3 is at `address`.
async fn two_beside(address: SocketAddr) -> (TestCluster, Client, Client, String) {
    let cluster = TestCluster::start_with(2, |config| {
        let url = format!("http://{address}/").parse().unwrap();
        config.peers.insert(NodeId::parse("node3").unwrap(), url);
    })
    .await;
    let (ines, otto, room) = two_in_a_room(&cluster).await;
    (cluster, ines, otto, room)
}

async fn two_in_a_room(cluster: &TestCluster) -> (Client, Client, String) {
    let mut ines = cluster.node(1).client().await;
    let mut otto = cluster.node(2).client().await;
    let room = ines.create("hall").await;
    ines.join(&room, "ines").await;
    otto.join(&room, "otto").await;
    assert_eq!(ines.next().await["data"]["username"], "otto");
    (ines, otto, room)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_silent_senseless_or_slow_harms_nobody_else() {
    let habits = [
        Habit::Silent,
        Habit::Stalls,
        Habit::Says("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"),
        Habit::Says("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n"),
        Habit::Says("no HTTP at all\r\n\r\n"),
    ];
    for habit in habits {
        let (_cluster, mut ines, mut otto, room) = two_beside(peer(habit).await).await;
        for n in 1..=5 {
            assert_eq!(otto.send(&room, "otto", &format!("from otto {n}")).await, 2 * n - 1);
            assert_eq!(ines.next().await["type"], "new_message");
            assert_eq!(ines.send(&room, "ines", &format!("from ines {n}")).await, 2 * n);
            assert_eq!(otto.next().await["type"], "new_message");
        }
        // Nobody can say that this room does not exist: one node was not heard.
        let refused = otto.ask(&request::join_room("nowhere", "otto")).await;
        assert_eq!(refused["data"]["error_code"], "ADMIN_NODE_UNAVAILABLE", "{refused}");
        let list = otto.ask(&request::discover_rooms()).await;
        assert_eq!(
            list["data"]["nodes_unavailable"],
            serde_json::json!(["node3"]),
            "{list}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_original_peer_is_asked_once_what_it_speaks_and_for_its_rooms() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let address = peer(Habit::Original(Arc::clone(&calls))).await;
    let node = TestNode::start_with(|config| {
        let url = format!("http://{address}/RPC2").parse().unwrap();
        config.peers.insert(NodeId::parse("node3").unwrap(), url);
        config.limits.heartbeat_interval = Duration::from_millis(20);
        config.limits.original_heartbeat = Duration::from_millis(20);
    })
    .await;
    let count = |name: &str| calls.lock().unwrap().iter().filter(|call| *call == name).count();
    let deadline = Instant::now() + PATIENCE;
    while count("heartbeat") < 5 {
        assert!(Instant::now() < deadline, "{:?}", calls.lock().unwrap());
        tokio::task::yield_now().await;
    }
    // Its list of rooms says what it has.
    let mut ines = node.client().await;
    let refused = ines.ask(&request::join_room("nowhere", "ines")).await;
    assert_eq!(refused["data"]["error_code"], "ROOM_NOT_FOUND", "{refused}");
    let list = ines.ask(&request::discover_rooms()).await;
    assert_eq!(
        list["data"]["nodes_available"],
        serde_json::json!(["node1", "node3"]),
        "{list}"
    );
    assert_eq!(count("chat.capabilities"), 1);
    let known = ["heartbeat", "chat.capabilities", "get_hosted_rooms"];
    let all = calls.lock().unwrap().clone();
    assert!(all.iter().all(|call| known.contains(&call.as_str())), "{all:?}");
}

/// The wire from node 1 to node 2 can be cut; a cut wire is not taken for a failed node.
async fn two_with_a_wire(change: impl Fn(&mut Config)) -> (TestCluster, Arc<Mutex<Vec<Proxy>>>) {
    let wires = Arc::new(Mutex::new(Vec::new()));
    let cluster = TestCluster::start_with(2, |config| {
        config.limits.heartbeat_failed = PATIENCE;
        config.limits.seat_grace = PATIENCE;
        change(config);
        let Some(url) = config.peers.get_mut(&NodeId::parse("node2").unwrap()) else {
            return;
        };
        let target = url.authority().unwrap().as_str().parse().unwrap();
        let wire = Proxy::to(target);
        *url = format!("http://{}/", wire.address()).parse().unwrap();
        wires.lock().unwrap().push(wire);
    })
    .await;
    (cluster, wires)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_link_gave_up_is_read_from_the_log() {
    let (cluster, wires) = two_with_a_wire(|config| {
        (config.limits.link_queue_bytes, config.limits.exchange_bytes) = (64 << 10, 32 << 10);
    })
    .await;
    let (mut ines, mut otto, room) = two_in_a_room(&cluster).await;
    assert_eq!(ines.send(&room, "ines", "before").await, 1);
    assert_eq!(otto.next().await["data"]["sequence_number"], 1);
    wires.lock().unwrap()[0].set(Wire::Silent);
    let long = "x".repeat(2_000);
    for n in 2..=120 {
        assert_eq!(ines.send(&room, "ines", &format!("{n} {long}")).await, n);
    }
    wires.lock().unwrap()[0].set(Wire::Open);
    for n in 2..=120 {
        let frame = otto.next().await;
        assert_eq!(frame["data"]["sequence_number"], n, "{frame}");
        assert_eq!(frame["data"]["content"], format!("{n} {long}"));
    }
    // Otto is still a member, and nobody heard that he was not.
    assert_eq!(otto.send(&room, "otto", "after").await, 121);
    assert_eq!(ines.next().await["data"]["content"], "after");
}

/// A call that its receiver finds too long would be sent again for ever, and everything behind it would wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_xml_makes_five_times_as_long_do_not_stop_a_link() {
    let (cluster, wires) = two_with_a_wire(|config| config.limits.tail_check = PATIENCE).await;
    let (mut ines, mut otto, room) = two_in_a_room(&cluster).await;
    wires.lock().unwrap()[0].set(Wire::Silent);
    let awkward = "&".repeat(5_000);
    for n in 1..=100 {
        assert_eq!(ines.send(&room, "ines", &awkward).await, n);
    }
    wires.lock().unwrap()[0].set(Wire::Open);
    for n in 1..=100 {
        let frame = otto.next().await;
        assert_eq!(frame["data"]["sequence_number"], n);
        assert_eq!(frame["data"]["content"], awkward);
    }
    assert_eq!(otto.send(&room, "otto", "after").await, 101);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followed_rooms_with_traffic_are_compared_with_their_admin() {
    let cluster = TestCluster::start_with(2, |config| config.limits.tail_check = Duration::from_millis(20)).await;
    let (mut ines, mut otto, room) = two_in_a_room(&cluster).await;
    assert_eq!(ines.send(&room, "ines", "hi").await, 1);
    assert_eq!(otto.next().await["type"], "new_message");
    let wanted = r#"chat_peer_calls_total{method="chat.heads",peer="node1",result="ok"}"#;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics = cluster.node(2).metrics().await;
        let line = metrics.lines().find(|line| line.starts_with(wanted));
        if line.is_some_and(|line| !line.ends_with(" 0")) {
            return;
        }
        assert!(Instant::now() < deadline, "{metrics}");
    }
}
