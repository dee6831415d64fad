//! What the original system suffers from, by the numbers of docs/compatibility.md, and that ours does not: each test is
//! named after one.

#[path = "weaknesses/blocking.rs"]
mod blocking;
#[path = "weaknesses/corruption.rs"]
mod corruption;
#[path = "weaknesses/deletion.rs"]
mod deletion;
#[path = "weaknesses/membership.rs"]
mod membership;
#[path = "weaknesses/security.rs"]
mod security;

use chat_client::request;
use chat_protocol::ids::NodeId;
use chat_tests::proxy::Proxy;
use chat_tests::{Client, PATIENCE, TestCluster};
use serde_json::Value;
use std::sync::{Arc, Mutex};

/// `ines` at node 1, which administers the room, and `otto` at node 2.
async fn two_in_a_room(cluster: &TestCluster) -> (Client, Client, String) {
    let (mut ines, mut otto) = (cluster.node(1).client().await, cluster.node(2).client().await);
    let room = ines.create("hall").await;
    ines.join(&room, "ines").await;
    otto.join(&room, "otto").await;
    assert_eq!(ines.next().await["data"]["username"], "otto");
    (ines, otto, room)
}

/// Two nodes, and the wire over which `from` talks to the other one. A cut wire is not taken for a failed node.
async fn two_with_a_wire(from: &str) -> (TestCluster, Proxy) {
    let wire = Arc::new(Mutex::new(None));
    let cluster = TestCluster::start_with(2, |config| {
        config.limits.heartbeat_failed = PATIENCE;
        config.limits.classic_unreachable = PATIENCE;
        config.limits.seat_grace = PATIENCE;
        config.limits.unknown_after = PATIENCE;
        if config.node_id == NodeId::parse(from).unwrap() {
            let (_, url) = config.peers.iter_mut().next().unwrap();
            let proxy = Proxy::to(url.authority().unwrap().as_str().parse().unwrap());
            *url = format!("http://{}/", proxy.address()).parse().unwrap();
            *wire.lock().unwrap() = Some(proxy);
        }
    })
    .await;
    let wire = wire.lock().unwrap().take().unwrap();
    (cluster, wire)
}

/// The next frame of a kind; others are passed over.
async fn next_of(client: &mut Client, kind: &str) -> Value {
    loop {
        let frame = client.next().await;
        if frame["type"] == kind {
            return frame;
        }
    }
}

/// Says `count` things one after the other, and reads until `total` messages came, which must be numbered without a hole.
/// Gives the contents in order, from the first number on.
async fn converse(client: &mut Client, room: &str, user: &str, count: usize, total: usize) -> Vec<String> {
    let (mut said, mut contents): (usize, Vec<String>) = (0, Vec::new());
    let mut first = None;
    if count > 0 {
        client.say(&request::send_message(room, user, &text(user, 0))).await;
    }
    while contents.len() < total || said < count {
        let frame = client.next().await;
        let data = &frame["data"];
        if data["room_id"] != room {
            continue;
        }
        match frame["type"].as_str().unwrap() {
            "message_sent" => {
                said += 1;
                if said < count {
                    client.say(&request::send_message(room, user, &text(user, said))).await;
                }
            }
            "new_message" => {
                let number = data["sequence_number"].as_u64().unwrap();
                let due = *first.get_or_insert(number) + contents.len() as u64;
                assert_eq!(number, due, "{frame}");
                contents.push(data["content"].as_str().unwrap().to_owned());
            }
            "member_joined" | "member_left" => {}
            _ => panic!("{frame}"),
        }
    }
    contents
}

/// What `user` says as its `n`th message: nothing that a frame or a call could not alter.
fn text(user: &str, n: usize) -> String {
    format!("{user} {n} <&>\"'\\ \u{e9}\u{1f600}\u{2028} {}", "x".repeat(n % 50))
}
