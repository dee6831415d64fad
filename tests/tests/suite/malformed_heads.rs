//! Requests that two could read as two things, and others that are none, over raw sockets, at each of the three ports: each has
//! one answer or none, does nothing, and is the last on its connection.

use chat_client::request;
use chat_protocol::peer_xml::write_call;
use chat_tests::scripted_peer::{ScriptedPeer, text};
use chat_tests::{Client, PATIENCE, TestNode};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

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

/// A head: its first line and its fields, as they are.
fn head(first: &str, fields: &[&str]) -> String {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!("{first}\r\n{fields}\r\n")
}

/// What is wrong with a request, the request, and the status that answers it.
type Case = (&'static str, Vec<u8>, &'static str);

/// What is wrong whatever the port. `first` is a good first line, `others` are good fields that say nothing of a body, and
/// `body` is the body that belongs to them, if one does.
fn wrong_anywhere(first: &str, others: &str, body: &str) -> Vec<Case> {
    let mut words = first.split(' ');
    let (method, target) = (words.next().expect("a method"), words.next().expect("a target"));
    let length = length(body);
    let wrong = |first: &str, fields: &[&str]| format!("{}{body}", head(first, fields)).into_bytes();
    let line = |line: String| wrong(&line, &["Host: x", others, &length]);
    // Nothing else says how long the body is.
    let sizes = |sizes: &[&str]| wrong(first, &[&["Host: x", others], sizes].concat());
    let fields = |fields: &[&str]| wrong(first, &[&["Host: x", others, length.as_str()], fields].concat());
    let feeds = |feed: &str, good: &str| {
        let whole = format!("{}{body}", head(first, &["Host: x", others, &length]));
        whole.replacen(good, feed, 1).into_bytes()
    };
    let long = "x".repeat(70_000);
    let many: Vec<String> = (0..200).map(|n| format!("F{n}: x")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    vec![
        (
            "a length and a chunked body",
            sizes(&["Content-Length: 3", "Transfer-Encoding: chunked"]),
            "400",
        ),
        (
            "a chunked body and a length",
            sizes(&["Transfer-Encoding: chunked", "Content-Length: 3"]),
            "400",
        ),
        (
            "two lengths that differ",
            sizes(&["Content-Length: 3", "Content-Length: 4"]),
            "400",
        ),
        (
            "the same length twice",
            sizes(&["Content-Length: 3", "content-length: 3"]),
            "400",
        ),
        ("a list of lengths", sizes(&["Content-Length: 3, 3"]), "400"),
        ("a length with a sign", sizes(&["Content-Length: +3"]), "400"),
        ("a length below nothing", sizes(&["Content-Length: -3"]), "400"),
        ("a length in another base", sizes(&["Content-Length: 0x3"]), "400"),
        ("a length of nothing at all", sizes(&["Content-Length:"]), "400"),
        (
            "a length beyond all numbers",
            sizes(&["Content-Length: 99999999999999999999"]),
            "400",
        ),
        (
            "a coding that is not chunked",
            sizes(&["Transfer-Encoding: gzip"]),
            "400",
        ),
        (
            "chunked, and then something else",
            sizes(&["Transfer-Encoding: chunked, identity"]),
            "400",
        ),
        (
            "a chunked body of HTTP/1.0",
            wrong(&format!("{method} {target} HTTP/1.0"), &["Transfer-Encoding: chunked"]),
            "400",
        ),
        (
            "a field that goes on in the next line",
            fields(&["Folded: a", " b"]),
            "400",
        ),
        (
            "a first field that is folded",
            wrong(first, &[" Host: x", others, &length]),
            "400",
        ),
        ("a length that is folded", sizes(&["Content-Length:", "\t3"]), "400"),
        ("a blank before the colon", fields(&["Spaced : a"]), "400"),
        (
            "a length with a blank before the colon",
            sizes(&["Content-Length : 3"]),
            "400",
        ),
        ("a line without a colon", fields(&["nothing"]), "400"),
        ("a field without a name", fields(&[": nothing"]), "400"),
        ("a NUL in a value", fields(&["Nul: a\0b"]), "400"),
        ("a NUL in a name", fields(&["N\0l: a"]), "400"),
        (
            "a NUL in the target",
            line(format!("{method} {target}\0 HTTP/1.1")),
            "400",
        ),
        ("a control character in a value", fields(&["Bell: \u{7}"]), "400"),
        ("letters beyond ASCII in a name", fields(&["N\u{e4}me: a"]), "400"),
        ("a carriage return alone", fields(&["A: a\rB: b"]), "400"),
        (
            "a line feed alone behind the first line",
            feeds("HTTP/1.1\nHost", "HTTP/1.1\r\nHost"),
            "400",
        ),
        (
            "a line feed alone behind a field",
            feeds("Host: x\n", "Host: x\r\n"),
            "400",
        ),
        (
            "a line feed alone at the end of the head",
            feeds("\r\n\n", "\r\n\r\n"),
            "400",
        ),
        (
            "nothing but line feeds",
            head(first, &["Host: x", others, &length])
                .replace('\r', "")
                .into_bytes(),
            "400",
        ),
        ("a line feed in front", feeds(&format!("\n{method}"), method), "400"),
        (
            "empty lines in front",
            feeds(&format!("\r\n\r\n{method}"), method),
            "400",
        ),
        ("no host", wrong(first, &[others, &length]), "400"),
        ("two hosts", fields(&["Host: y"]), "400"),
        ("twice the same host", fields(&["host: x"]), "400"),
        (
            "a field that is longer than all heads together may be",
            fields(&[&format!("Long: {long}")]),
            "431",
        ),
        (
            "a target that is longer than a head may be",
            line(format!("{method} {target}{long} HTTP/1.1")),
            "431",
        ),
        ("too many fields", fields(&many), "431"),
        ("a method that is none", line(format!("P@ST {target} HTTP/1.1")), "400"),
        ("a blank in front of the method", line(format!(" {first}")), "400"),
        (
            "two blanks in the first line",
            line(format!("{method}  {target} HTTP/1.1")),
            "400",
        ),
        ("HTTP/0.9", format!("{method} {target}\r\n").into_bytes(), "400"),
        ("HTTP/1.2", line(format!("{method} {target} HTTP/1.2")), "400"),
        ("HTTP/2.0 by name", line(format!("{method} {target} HTTP/2.0")), "400"),
        (
            "the beginning of HTTP/2",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            "400",
        ),
        (
            "the beginning of TLS",
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec(),
            "400",
        ),
        ("a greeting of something else", b"EHLO mail.example\r\n".to_vec(), "400"),
    ]
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

fn length(body: &str) -> String {
    format!("Content-Length: {}", body.len())
}

fn wrong_for_a_node(body: &str) -> Vec<Case> {
    let length = length(body);
    let whole = |first: &str, fields: &[&str]| {
        let mut all = vec![length.as_str()];
        all.extend(fields);
        format!("{}{body}", head(first, &all)).into_bytes()
    };
    let call = |fields: &[&str]| {
        let mut all = vec!["Host: x"];
        all.extend(fields);
        whole("POST / HTTP/1.1", &all)
    };
    let line = |first: &str| whole(first, &["Host: x"]);
    let chunked = |chunks: &str| {
        let head = head("POST / HTTP/1.1", &["Host: x", "Transfer-Encoding: chunked"]);
        format!("{head}{chunks}").into_bytes()
    };
    let one_chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    vec![
        ("a body in chunks", chunked(&one_chunk), "411"),
        ("a chunk of no size", chunked("\r\n"), "411"),
        (
            "a chunk of a size that is no number",
            chunked("five\r\nabcde\r\n0\r\n\r\n"),
            "411",
        ),
        (
            "a chunk of a size beyond all numbers",
            chunked("fffffffffffffffff\r\n"),
            "411",
        ),
        ("no length", head("POST / HTTP/1.1", &["Host: x"]).into_bytes(), "411"),
        (
            "a body that is too long",
            head("POST / HTTP/1.1", &["Host: x", "Content-Length: 99999999"]).into_bytes(),
            "413",
        ),
        ("a host that is none", whole("POST / HTTP/1.1", &["Host: x y"]), "400"),
        ("a host of nothing", whole("POST / HTTP/1.1", &["Host:"]), "400"),
        (
            "another host in the target",
            line("POST http://elsewhere.example/RPC2 HTTP/1.1"),
            "400",
        ),
        (
            "another port in the target",
            line("POST http://x:1/RPC2 HTTP/1.1"),
            "400",
        ),
        ("another path", line("POST /other HTTP/1.1"), "404"),
        ("a path with more behind it", line("POST /RPC2/more HTTP/1.1"), "404"),
        ("a path by detours", line("POST /RPC2/../RPC2 HTTP/1.1"), "404"),
        ("everything for a path", line("POST * HTTP/1.1"), "404"),
        ("a GET", line("GET / HTTP/1.1"), "405"),
        ("a PUT", line("PUT /RPC2 HTTP/1.1"), "405"),
        ("a DELETE", line("DELETE / HTTP/1.1"), "405"),
        ("a TRACE", line("TRACE / HTTP/1.1"), "405"),
        (
            "what a browser asks before it posts",
            line("OPTIONS /RPC2 HTTP/1.1"),
            "405",
        ),
        ("a method in small letters", line("post / HTTP/1.1"), "405"),
        (
            "a method that nobody has heard of",
            line("FROBNICATE / HTTP/1.1"),
            "405",
        ),
        ("what is asked of a proxy", line("CONNECT x:80 HTTP/1.1"), "405"),
        ("a page of another site", call(&["Origin: http://evil.example"]), "403"),
        (
            "a page whose site was made to lead here",
            whole(
                "POST / HTTP/1.1",
                &["Host: evil.example", "Origin: http://evil.example"],
            ),
            "403",
        ),
        ("a page that hides where it is from", call(&["Origin: null"]), "403"),
        ("an expectation that nobody meets", call(&["Expect: a miracle"]), "417"),
    ]
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
async fn what_the_callers_that_there_are_send_is_taken() {
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
