//! Requests that two could read as two things, and others that are none, over raw sockets, at each of the three ports: each has
//! one answer or none, does nothing, and is the last on its connection.

use cases::{head, length, wrong_anywhere, wrong_for_a_node};
use chat_client::request;
use chat_protocol::peer_xml::write_call;
use chat_tests::scripted_peer::{ScriptedPeer, text};
use chat_tests::{Client, PATIENCE, TestNode};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[path = "malformed_heads/cases.rs"]
mod cases;

/// Sends bytes and reads until the node closes, which it does by itself.
async fn answers(to: SocketAddr, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(to).await.expect("accepted");
    // The node may have had enough already.
    drop(socket.write_all(bytes).await);
    let mut all = Vec::new();
    let read = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut all));
    drop(read.await.expect("the node closes the connection"));
    String::from_utf8_lossy(&all).into_owned()
}

/// The statuses of all answers, in order.
fn statuses(answers: &str) -> Vec<&str> {
    let heads = answers.match_indices("HTTP/1.").map(|(at, _)| &answers[at..]);
    heads.filter_map(|head| head.split(' ').nth(1)).collect()
}

/// A node with a room, in which somebody listens who would hear whatever a call does.
struct PeerPort {
    node: TestNode,
    listens: Client,
    room: String,
    _peer: ScriptedPeer,
}

impl PeerPort {
    async fn start() -> Self {
        let peer = ScriptedPeer::start("node3").await;
        let node = super::original_calls::node_beside(&peer).await;
        let (listens, room) = super::original_calls::in_a_room(&node).await;
        Self {
            node,
            listens,
            room,
            _peer: peer,
        }
    }

    /// A call by which somebody would come into the room.
    fn join(&self, user: &str) -> String {
        write_call("join_room", &[text(&self.room), text(user), text("node3")])
    }

    fn whole(&self, user: &str) -> String {
        let body = self.join(user);
        format!("{}{body}", head("POST / HTTP/1.1", &["Host: x", &length(&body)]))
    }

    /// Somebody comes, and nobody came before.
    async fn nobody_came_before(&mut self, user: &str, after: &str) {
        let call = self.whole(user).replacen("\r\n", "\r\nConnection: close\r\n", 1);
        let answer = answers(self.node.addresses.xmlrpc, call.as_bytes()).await;
        assert_eq!(statuses(&answer), ["200"], "the node serves after {after}: {answer}");
        let event = self.listens.next().await;
        assert_eq!(event["data"]["username"], user, "after {after}: {event}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_with_a_malformed_head_is_refused_and_nothing_behind_it_is_executed() {
    let mut port = PeerPort::start().await;
    let body = port.join("mallory");
    let mut cases = wrong_anywhere("POST / HTTP/1.1", "Content-Type: text/xml", &body);
    cases.extend(wrong_for_a_node(&body));
    let behind = port.whole("mallory");
    for (nth, (wrong, request, status)) in cases.iter().enumerate() {
        let all = [request, behind.as_bytes()].concat();
        let answer = answers(port.node.addresses.xmlrpc, &all).await;
        assert_eq!(statuses(&answer), [*status], "{wrong}: {answer}");
        port.nobody_came_before(&format!("guest {nth}"), wrong).await;
    }
}

/// What comes before a malformed head is whole, and is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_before_a_malformed_head_are_executed_and_those_behind_it_are_not() {
    let mut port = PeerPort::start().await;
    let good = port.whole("otto");
    let wrong = port.whole("mallory").replacen("Host: x\r\n", "Host: x\n", 1);
    let answer = answers(port.node.addresses.xmlrpc, format!("{good}{wrong}{good}").as_bytes()).await;
    assert_eq!(statuses(&answer), ["200", "400"], "{answer}");
    assert_eq!(port.listens.next().await["data"]["username"], "otto");
    port.nobody_came_before("vera", "a malformed head").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_inside_the_body_of_another_is_not_executed() {
    let mut port = PeerPort::start().await;
    let inside = port.whole("mallory");
    let outside = format!("{}{inside}", head("POST / HTTP/1.1", &["Host: x", &length(&inside)]));
    let close = port.whole("otto").replacen("\r\n", "\r\nConnection: close\r\n", 1);
    let answer = answers(port.node.addresses.xmlrpc, format!("{outside}{close}").as_bytes()).await;
    assert_eq!(statuses(&answer), ["200", "200"], "{answer}");
    assert_eq!(answer.matches("faultCode").count(), 1, "{answer}");
    assert_eq!(port.listens.next().await["data"]["username"], "otto");
    port.nobody_came_before("vera", "a call in a body").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_nodes_that_there_are_send_is_taken() {
    let mut port = PeerPort::start().await;
    let close = "Connection: close";
    for (nth, (who, first, fields, expected)) in [
        // What xmlrpc.client of Python sends.
        (
            "a node of the original",
            "POST /RPC2 HTTP/1.1",
            &[
                "Host: chat_node_1:9090",
                "Accept-Encoding: gzip",
                "Content-Type: text/xml",
                "User-Agent: Python-xmlrpc/3.11",
                close,
            ][..],
            &["200"][..],
        ),
        ("a caller of HTTP/1.0 without a host", "POST / HTTP/1.0", &[], &["200"]),
        (
            "a caller of HTTP/1.0 with one",
            "POST /RPC2 HTTP/1.0",
            &["Host: 10.0.0.1:9090"],
            &["200"],
        ),
        (
            "an address of IPv6",
            "POST / HTTP/1.1",
            &["Host: [::1]:9090", close],
            &["200"],
        ),
        (
            "a caller that goes through a proxy",
            "POST http://x:9090/RPC2 HTTP/1.1",
            &["Host: x:9090", close],
            &["200"],
        ),
        (
            "a caller that waits to be told to go on",
            "POST / HTTP/1.1",
            &["Host: x", "Expect: 100-continue", close],
            &["100", "200"],
        ),
        (
            "a caller that would rather speak HTTP/2",
            "POST / HTTP/1.1",
            &[
                "Host: x",
                "Upgrade: h2c",
                "HTTP2-Settings: AAMAAABkAAQAoAAA",
                "Connection: Upgrade, HTTP2-Settings, close",
            ],
            &["200"],
        ),
        (
            "letters beyond ASCII in a value",
            "POST / HTTP/1.1",
            &["hOST: x", "Via: \u{e4}", close],
            &["200"],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let user = format!("guest {nth}");
        let body = port.join(&user);
        let length = length(&body);
        let mut all = vec![length.as_str()];
        all.extend(fields);
        let call = format!("{}{body}", head(first, &all));
        let answer = answers(port.node.addresses.xmlrpc, call.as_bytes()).await;
        assert_eq!(statuses(&answer), expected, "{who}: {answer}");
        assert_eq!(port.listens.next().await["data"]["username"], user, "{who}");
    }
    // A connection serves one call after the other, also if a careless caller writes an empty line behind a body.
    let (first, last) = (port.whole("otto"), port.whole("vera"));
    let last = last.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    let answer = answers(port.node.addresses.xmlrpc, format!("{first}\r\n{last}").as_bytes()).await;
    assert_eq!(statuses(&answer), ["200", "200"], "{answer}");
    assert_eq!(port.listens.next().await["data"]["username"], "otto");
    assert_eq!(port.listens.next().await["data"]["username"], "vera");
}

/// The fields that make a WebSocket.
const UPGRADE: [&str; 4] = [
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

#[tokio::test]
async fn what_the_clients_that_there_are_send_becomes_a_session() {
    let node = TestNode::start().await;
    let key = UPGRADE[3];
    for (who, fields) in [
        (
            "websockets of Python",
            &[
                "Host: localhost:8080",
                "Upgrade: websocket",
                "Connection: Upgrade",
                key,
                "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
                "User-Agent: Python/3.11 websockets/12.0",
            ][..],
        ),
        (
            "a browser",
            &[
                "Host: chat.example",
                "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
                "Accept-Encoding: gzip, deflate, br, zstd",
                "Sec-WebSocket-Version: 13",
                "Origin: https://chat.example",
                key,
                "Connection: keep-alive, Upgrade",
                "Cookie: a=b; c=d",
                "Upgrade: websocket",
            ],
        ),
        (
            "a proxy",
            &[
                "Host: chat_nodes",
                "Upgrade: websocket",
                "Connection: upgrade",
                "X-Real-IP: 10.0.0.1",
                "X-Forwarded-For: 10.0.0.1, 10.0.0.2",
                "sec-websocket-version: 13",
                key,
                "Content-Length: 0",
            ],
        ),
    ] {
        // With a close behind it, so that the node closes the connection.
        let request = [
            head("GET /ws?x=y HTTP/1.1", fields).as_bytes(),
            &[0x88, 0x80, 0, 0, 0, 0],
        ]
        .concat();
        let answer = answers(node.addresses.websocket, &request).await;
        assert_eq!(statuses(&answer), ["101"], "{who}: {answer}");
    }
    assert_eq!(connections(&node).await, "3");
}

async fn connections(node: &TestNode) -> String {
    let metrics = node.metrics().await;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("chat_connections_total "));
    line.expect("it is counted").to_owned()
}

#[tokio::test]
async fn a_handshake_with_a_malformed_head_makes_no_session_nor_does_one_behind_it() {
    let node = TestNode::start().await;
    let upgrade = UPGRADE.join("\r\n");
    let mut cases = wrong_anywhere("GET / HTTP/1.1", &upgrade, "");
    let with = |first: &str, fields: &[&str]| {
        let mut all = vec![upgrade.as_str()];
        all.extend(fields);
        head(first, &all).into_bytes()
    };
    cases.extend([
        (
            "a body",
            with("GET / HTTP/1.1", &["Host: x", "Content-Length: 3"]),
            "400",
        ),
        (
            "a body in chunks",
            with("GET / HTTP/1.1", &["Host: x", "Transfer-Encoding: chunked"]),
            "400",
        ),
        ("a POST", with("POST / HTTP/1.1", &["Host: x"]), "426"),
        ("a host that is none", with("GET / HTTP/1.1", &["Host: x y"]), "426"),
        (
            "another host in the target",
            with("GET http://elsewhere.example/ HTTP/1.1", &["Host: x"]),
            "426",
        ),
        (
            "a page and no WebSocket",
            head("GET / HTTP/1.1", &["Host: x"]).into_bytes(),
            "426",
        ),
    ]);
    let behind = with("GET / HTTP/1.1", &["Host: x"]);
    for (wrong, request, status) in &cases {
        let before = connections(&node).await;
        let answer = answers(node.addresses.websocket, &[request.as_slice(), &behind].concat()).await;
        assert_eq!(statuses(&answer), [*status], "{wrong}: {answer}");
        assert_eq!(connections(&node).await, before, "{wrong}: a session");
        let mut client = node.client().await;
        assert_eq!(
            client.ask(&request::list_rooms()).await["type"],
            "rooms_list",
            "after {wrong}"
        );
    }
}

#[tokio::test]
async fn the_operations_port_says_nothing_to_a_malformed_head_nor_to_one_behind_it() {
    let node = TestNode::start().await;
    let mut cases = wrong_anywhere("GET /metrics HTTP/1.1", "Accept: */*", "");
    let field = |field: &str| head("GET /metrics HTTP/1.1", &["Host: x", field]).into_bytes();
    cases.extend([
        ("a body", field("Content-Length: 3"), "400"),
        ("a body in chunks", field("Transfer-Encoding: chunked"), "400"),
        (
            "a POST",
            head("POST /metrics HTTP/1.1", &["Host: x"]).into_bytes(),
            "405",
        ),
        (
            "another host in the target",
            head("GET http://elsewhere.example/metrics HTTP/1.1", &["Host: x"]).into_bytes(),
            "400",
        ),
        (
            "another path",
            head("GET /metric HTTP/1.1", &["Host: x"]).into_bytes(),
            "404",
        ),
    ]);
    let behind = head("GET /metrics HTTP/1.1", &["Host: x"]);
    for (wrong, request, status) in &cases {
        let answer = answers(node.addresses.operations, &[request, behind.as_bytes()].concat()).await;
        assert_eq!(statuses(&answer), [*status], "{wrong}: {answer}");
        assert!(!answer.contains("chat_connections"), "{wrong}: {answer}");
        assert!(node.operations("/live").await.ends_with("live\n"), "after {wrong}");
    }
}

#[tokio::test]
async fn probes_and_scrapes_as_there_are_get_their_answers() {
    let node = TestNode::start().await;
    let ready = async {
        while !node.operations("/ready").await.ends_with("\r\n\r\nready\n") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, ready).await.expect("it starts");
    let kubelet = ["User-Agent: kube-probe/1.31", "Accept: */*", "Connection: close"];
    for (who, first, fields, says) in [
        (
            "Kubernetes",
            "GET /ready HTTP/1.1",
            &[&["Host: 10.244.0.7:9100"], &kubelet[..]].concat()[..],
            "ready",
        ),
        (
            "Kubernetes with IPv6",
            "GET /live HTTP/1.1",
            &[&["Host: [fd00:10:244::7]:9100"], &kubelet[..]].concat(),
            "live",
        ),
        (
            "Prometheus",
            "GET /metrics HTTP/1.1",
            &[
                "Host: chat-0.chat-peers.default.svc.cluster.local:9100",
                "User-Agent: Prometheus/2.53.0",
                "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1",
                "Accept-Encoding: gzip",
                "X-Prometheus-Scrape-Timeout-Seconds: 10",
            ],
            "chat_connections_total",
        ),
        (
            "curl",
            "GET /startup HTTP/1.1",
            &["Host: localhost:9100", "User-Agent: curl/8.5.0", "Accept: */*"],
            "started",
        ),
        ("chat-node health", "GET /ready HTTP/1.0", &["Host: [::1]"], "ready"),
        ("a check of a proxy", "GET /ready HTTP/1.0", &[], "ready"),
    ] {
        let answer = answers(node.addresses.operations, head(first, fields).as_bytes()).await;
        assert_eq!(statuses(&answer), ["200"], "{who}: {answer}");
        assert!(answer.contains(says), "{who}: {answer}");
    }
}
