//! Neighbours that hold what others need: each loses it, and the others are served.

use chat_client::request;
use chat_tests::{PATIENCE, TestNode};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

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
