//! Neighbours that hold what others need: each loses it, and the others are served.

use super::peer_port::{call, post};
use chat_client::{RawConnection, request};
use chat_protocol::limits::MAX_HEADS;
use chat_protocol::peer_xml::write_call;
use chat_tests::{PATIENCE, TestNode};
use dxr::Value;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// Longer than any test.
const FOR_EVER: Duration = Duration::from_secs(3_600);

/// A connection that sends its bytes as it likes.
struct Rude(TcpStream);

impl Rude {
    async fn connect(to: SocketAddr) -> Self {
        Self(TcpStream::connect(to).await.expect("accepted"))
    }

    /// A WebSocket.
    async fn client(node: &TestNode) -> Self {
        let mut this = Self::connect(node.addresses.websocket).await;
        this.send(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(
                timeout(PATIENCE, this.0.read_u8())
                    .await
                    .expect("in time")
                    .expect("a head"),
            );
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "));
        this
    }

    async fn send(&mut self, bytes: &[u8]) {
        // The node may have had enough already.
        drop(self.0.write_all(bytes).await);
    }

    /// The header of a text of so many bytes, masked with zeros.
    async fn announce(&mut self, bytes: u64) {
        let mut header = vec![0x81, 0xff];
        header.extend_from_slice(&bytes.to_be_bytes());
        header.extend_from_slice(&[0; 4]);
        self.send(&header).await;
    }

    /// The last code and text with which the node says good-bye.
    async fn farewell(&mut self) -> String {
        let mut rest = Vec::new();
        drop(
            timeout(PATIENCE, self.0.read_to_end(&mut rest))
                .await
                .expect("ended in time"),
        );
        let close = rest.iter().rposition(|byte| *byte == 0x88).expect("a close frame");
        let code = u16::from_be_bytes([rest[close + 2], rest[close + 3]]);
        format!("{code} {}", String::from_utf8_lossy(&rest[close + 4..]))
    }
}

async fn still_served(node: &TestNode) {
    let mut client = node.client().await;
    assert_eq!(client.ask(&request::list_rooms()).await["type"], "rooms_list");
}

async fn refused(node: &TestNode, reason: &str) -> u64 {
    let metrics = node.metrics().await;
    let wanted = format!("chat_connections_refused_total{{reason=\"{reason}\"}} ");
    let count = metrics.lines().find_map(|line| line.strip_prefix(&wanted));
    count.expect("it is counted").parse().expect("a number")
}

#[tokio::test]
async fn a_message_that_is_begun_and_not_finished_ends_its_connection() {
    let node = TestNode::start_with(|config| config.limits.message_timeout = Duration::from_millis(200)).await;
    let mut rude = Rude::client(&node).await;
    rude.announce(1_000).await;
    rude.send(b"{").await;
    // A ping inside of a message does not make it younger.
    rude.send(&[0x89, 0x80, 0, 0, 0, 0]).await;
    assert_eq!(rude.farewell().await, "1013 message took too long");
    still_served(&node).await;
}

#[tokio::test]
async fn whoever_pings_and_says_nothing_is_in_the_middle_of_no_message() {
    let node = TestNode::start_with(|config| config.limits.message_timeout = Duration::from_millis(100)).await;
    let mut rude = Rude::client(&node).await;
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(300) {
        rude.send(&[0x89, 0x80, 0, 0, 0, 0]).await;
        let mut pong = [0; 2];
        timeout(PATIENCE, rude.0.read_exact(&mut pong))
            .await
            .expect("in time")
            .expect("a pong");
        assert_eq!(pong, [0x8a, 0]);
    }
}

#[tokio::test]
async fn a_message_for_which_there_is_no_memory_ends_its_own_connection_only() {
    let node = TestNode::start_with(|config| config.limits.inbound_total_bytes = 200 << 10).await;
    let mut first = Rude::client(&node).await;
    first.announce(1 << 20).await;
    first.send(&[b' '; 200 << 10]).await;
    let mut second = Rude::client(&node).await;
    second.announce(1 << 20).await;
    second.send(&[b' '; 300 << 10]).await;
    assert_eq!(second.farewell().await, "1013 node is overloaded");
    still_served(&node).await;
    // What the first one held is there for others when it has gone.
    drop(first);
    let mut client = node.client().await;
    let long = format!("{{\"type\":\"list_rooms\",\"pad\":\"{}\"}}", "x".repeat(200 << 10));
    let deadline = Instant::now() + PATIENCE;
    loop {
        client.say(&long).await;
        match client.0.next().await {
            chat_client::RawFrame::Text(_) => break,
            _ => client = node.client().await,
        }
        assert!(Instant::now() < deadline, "the memory of a connection that is gone");
    }
}

#[tokio::test]
async fn whoever_pings_and_does_not_read_the_pongs_is_closed() {
    let node = TestNode::start_with(|config| config.limits.outbound_bytes = 64 << 10).await;
    let mut rude = Rude::client(&node).await;
    let mut ping = vec![0x89, 0x80 | 125, 0, 0, 0, 0];
    ping.extend_from_slice(&[b'p'; 125]);
    let pings = ping.repeat(1_000);
    let closed = timeout(PATIENCE, async { while rude.0.write_all(&pings).await.is_ok() {} });
    closed.await.expect("in time");
    still_served(&node).await;
}

#[tokio::test]
async fn an_address_has_no_more_connections_than_its_bound() {
    let node = TestNode::start_with(|config| config.limits.max_connections_per_address = 2).await;
    let (mut first, second) = (node.client().await, node.client().await);
    assert!(
        RawConnection::connect(&node.url(), &chat_tests::options())
            .await
            .is_err()
    );
    assert_eq!(refused(&node, "address").await, 1);
    assert_eq!(first.ask(&request::list_rooms()).await["type"], "rooms_list");
    drop(second);
    let deadline = Instant::now() + PATIENCE;
    while RawConnection::connect(&node.url(), &chat_tests::options())
        .await
        .is_err()
    {
        assert!(Instant::now() < deadline, "a connection that is gone still counts");
    }
}

#[tokio::test]
async fn silent_connections_make_way_for_a_client() {
    let node = TestNode::start_with(|config| {
        config.limits.max_handshakes = 2;
        config.limits.header_timeout = FOR_EVER;
        config.limits.handshake_timeout = FOR_EVER;
    })
    .await;
    let silent = [
        Rude::connect(node.addresses.websocket).await,
        Rude::connect(node.addresses.websocket).await,
    ];
    still_served(&node).await;
    assert_eq!(refused(&node, "handshakes").await, 1);
    drop(silent);
}

#[tokio::test]
async fn clients_come_and_speak_no_faster_than_the_bounds_of_their_rates() {
    let node = TestNode::start_with(|config| {
        config.limits.connections_per_second = 20;
        config.limits.requests_per_second = 20;
    })
    .await;
    let begin = Instant::now();
    let mut clients = Vec::new();
    for _ in 0..30 {
        clients.push(node.client().await);
    }
    // Twenty at once, and ten at the pace of twenty a second.
    assert!(begin.elapsed() >= Duration::from_millis(450), "{:?}", begin.elapsed());
    let begin = Instant::now();
    let client = &mut clients[0];
    for _ in 0..30 {
        client.0.queue_text(request::list_rooms()).expect("taken");
    }
    client.0.flush().await.expect("open");
    for _ in 0..30 {
        assert_eq!(client.next().await["type"], "rooms_list");
    }
    assert!(begin.elapsed() >= Duration::from_millis(450), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn silent_peers_make_way_for_one_that_speaks() {
    let node = TestNode::start_with(|config| {
        config.limits.peer_connections = 2;
        config.limits.header_timeout = FOR_EVER;
    })
    .await;
    let silent = [
        Rude::connect(node.addresses.xmlrpc).await,
        Rude::connect(node.addresses.xmlrpc).await,
    ];
    assert!(call(&node, "heartbeat", &[]).await.is_ok());
    drop(silent);
}

#[tokio::test]
async fn no_address_takes_all_connections_of_peers() {
    let node = TestNode::start_with(|config| config.limits.peer_connections_per_address = 2).await;
    let silent = [
        Rude::connect(node.addresses.xmlrpc).await,
        Rude::connect(node.addresses.xmlrpc).await,
    ];
    let mut third = Rude::connect(node.addresses.xmlrpc).await;
    let mut rest = Vec::new();
    // Closed, or reset.
    drop(
        timeout(PATIENCE, third.0.read_to_end(&mut rest))
            .await
            .expect("in time"),
    );
    assert!(rest.is_empty());
    // Another address has its own. All of 127.0.0.0/8 is this machine.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 2], 0).into()).expect("an address");
    let mut other = Rude(socket.connect(node.addresses.xmlrpc).await.expect("accepted"));
    let body = write_call("heartbeat", &[]);
    let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    other.send(format!("{head}{body}").as_bytes()).await;
    let mut answer = [0; 15];
    timeout(PATIENCE, other.0.read_exact(&mut answer))
        .await
        .expect("in time")
        .expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    drop(silent);
}

#[tokio::test]
async fn whoever_calls_and_does_not_read_the_answers_is_given_up() {
    let node = TestNode::start_with(|config| config.limits.header_timeout = Duration::from_millis(200)).await;
    let mut greedy = Rude::connect(node.addresses.xmlrpc).await;
    let body = write_call("system.listMethods", &[]);
    let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    let calls = format!("{head}{body}").repeat(100);
    let given_up = timeout(PATIENCE, async {
        while greedy.0.write_all(calls.as_bytes()).await.is_ok() {}
    });
    given_up.await.expect("in time");
    assert!(call(&node, "heartbeat", &[]).await.is_ok());
}

#[tokio::test]
async fn a_page_in_a_browser_cannot_call_a_node() {
    let node = TestNode::start().await;
    let body = write_call("heartbeat", &[]);
    let mut page = Rude::connect(node.addresses.xmlrpc).await;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.example\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    page.send(format!("{head}{body}").as_bytes()).await;
    let mut answer = String::new();
    page.0.read_to_string(&mut answer).await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}

#[tokio::test]
async fn one_call_asks_for_no_more_rooms_than_its_bound() {
    let node = TestNode::start().await;
    let rooms = |count| [Value::Array(vec![Value::String("r".into()); count])];
    assert!(call(&node, "chat.heads", &rooms(MAX_HEADS)).await.is_ok());
    assert!(call(&node, "chat.heads", &rooms(MAX_HEADS + 1)).await.is_err());
}

#[tokio::test]
async fn the_list_of_rooms_is_the_same_for_all_who_ask_and_has_a_new_room_at_once() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    let list = write_call("get_hosted_rooms", &[]);
    let before = post(&node, "/", &list).await;
    assert_eq!(post(&node, "/", &list).await, before);
    client.create("hall").await;
    assert!(post(&node, "/", &list).await.contains("hall"));
    // It takes no parameters.
    assert!(call(&node, "get_hosted_rooms", &[Value::Nil]).await.is_err());
}
