//! Rooms that keep only their newest messages: who missed more is told so, and repeats are recognised all the same.

use super::extended::{room, talk, texts};
use chat_node::config::Config;
use chat_tests::extended::Extended;
use chat_tests::proxy::{Proxy, Wire};
use chat_tests::{PATIENCE, TestCluster};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::time::Instant;

/// Ten messages are kept, and next to nothing in memory, so that pages come from the store.
fn short(config: &mut Config) {
    config.limits.history_messages = 10;
    config.limits.backlog_bytes = 1;
    config.limits.seat_grace = PATIENCE;
}

fn resync(room: &str, from: u64) -> Value {
    json!({"type": "resync_required", "data":
        {"room_id": room, "gen": 1, "from_seq": from, "reason": "trimmed"}})
}

/// The first message that a node gives out. Trims follow their commits: waits until it is `wanted`.
async fn wait_for_floor(session: &mut Extended, room: &str, wanted: u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = session
            .ask("read_history", json!({"room_id": room, "after_seq": 0, "limit": 1}))
            .await;
        let first = page["data"]["messages"][0]["sequence_number"].as_u64();
        if first == Some(wanted) {
            return;
        }
        assert!(Instant::now() < deadline, "{page}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_that_was_trimmed_away_is_said_to_be_on_every_node_and_after_a_restart() {
    let mut cluster = TestCluster::start_with(3, short).await;
    let room = room(&cluster, 1).await;
    let mut speaker = Extended::new(cluster.node(2), "speaker").await;
    speaker.join(&room, None).await;
    let mut ines = Extended::new(cluster.node(1), "ines").await;
    ines.join(&room, None).await;
    let token = ines.token();
    drop(ines);
    talk(&mut speaker, &room, 1..=12).await;
    wait_for_floor(&mut speaker, &room, 3).await;
    for life in 1..=2 {
        // At the admin node, at a node that follows the room, and at one that does not.
        for n in [1, 2, 3] {
            for (have, missed) in [(1, true), (2, false)] {
                let mut ines = Extended::resume(cluster.node(n), "ines", &token).await;
                let joined = ines.join(&room, Some((1, have))).await;
                assert_eq!(joined["first_seq"], 3, "life {life}, node {n}: {joined}");
                assert_eq!(joined["resumed"], true, "life {life}, node {n}: {joined}");
                if missed {
                    assert_eq!(ines.next().await, resync(&room, 3));
                }
                assert_eq!(ines.messages(10).await, texts(3..=12));
            }
        }
        cluster.crash(1).await;
        cluster.restart(1).await;
        for n in [2, 3] {
            cluster.wait_until_connected(n, 3).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_begins_at_the_first_message_that_is_kept() {
    let cluster = TestCluster::start_with(2, short).await;
    let room = room(&cluster, 1).await;
    for n in [1, 2] {
        let mut ines = Extended::new(cluster.node(n), &format!("ines{n}")).await;
        ines.join(&room, None).await;
        if n == 1 {
            talk(&mut ines, &room, 1..=12).await;
        } else {
            ines.messages(10).await;
        }
        wait_for_floor(&mut ines, &room, 3).await;
        let mut page = async |range: &str, seq: u64, limit: u64| {
            let data = json!({"room_id": room, range: seq, "limit": limit});
            let page = ines.ask("read_history", data).await["data"].clone();
            let messages = page["messages"].as_array().unwrap().iter();
            let numbers: Vec<_> = messages.map(|m| m["sequence_number"].as_u64().unwrap()).collect();
            (numbers, page["more"].as_bool().unwrap())
        };
        assert_eq!(page("after_seq", 0, 4).await, (vec![3, 4, 5, 6], true), "node {n}");
        assert_eq!(page("after_seq", 6, 500).await, ((7..=12).collect(), false));
        assert_eq!(page("before_seq", 6, 2).await, (vec![4, 5], true));
        assert_eq!(page("before_seq", 6, 500).await, (vec![3, 4, 5], false));
        assert_eq!(page("before_seq", 3, 5).await, (vec![], false));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_is_done_once_although_its_message_was_trimmed_away() {
    let mut cluster = TestCluster::start_with(2, short).await;
    let room = room(&cluster, 1).await;
    let mut ines = Extended::new(cluster.node(2), "ines").await;
    ines.join(&room, None).await;
    talk(&mut ines, &room, 1..=30).await;
    for life in 1..=2 {
        let again = ines.send(&room, "m1", "id-1").await;
        assert_eq!(
            (&again["data"]["duplicate"], &again["data"]["sequence_number"]),
            (&json!(true), &json!(1)),
            "life {life}: {again}"
        );
        let other = ines.send(&room, "something else", "id-2").await;
        assert_eq!(other["data"]["error_code"], "CLIENT_MSG_ID_CONFLICT", "{other}");
        // The memory of the room is gone with its node; the store knows.
        cluster.crash(1).await;
        cluster.restart(1).await;
        cluster.wait_until_connected(2, 2).await;
        let token = ines.token();
        ines = Extended::resume(cluster.node(2), "ines", &token).await;
        ines.join(&room, Some((1, 30))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_cut_off_for_longer_than_the_room_keeps_says_what_is_gone() {
    // From node 1 to node 2 there is a wire; little waits for it.
    let wire = Arc::new(Mutex::new(None));
    let cluster = TestCluster::start_with(2, |config| {
        short(config);
        config.limits.link_queue_bytes = 2_000;
        config.limits.exchange_bytes = 1_000;
        if config.node_id.as_str() == "node1" {
            let (_, url) = config.peers.iter_mut().next().unwrap();
            let proxy = Proxy::to(url.authority().unwrap().as_str().parse().unwrap());
            *url = format!("http://{}/", proxy.address()).parse().unwrap();
            *wire.lock().unwrap() = Some(proxy);
        }
    })
    .await;
    let wire = wire.lock().unwrap().take().unwrap();
    let room = room(&cluster, 1).await;
    let mut speaker = Extended::new(cluster.node(1), "speaker").await;
    speaker.join(&room, None).await;
    let mut ines = Extended::new(cluster.node(2), "ines").await;
    ines.join(&room, None).await;
    let mut otto = cluster.node(2).client().await;
    otto.join(&room, "otto").await;
    talk(&mut speaker, &room, 1..=1).await;
    let mut seen = Vec::new();
    while seen.last() != Some(&json!("m1")) {
        seen.push(ines.next().await["data"]["content"].clone());
    }
    wire.set(Wire::Silent);
    talk(&mut speaker, &room, 2..=40).await;
    wait_for_floor(&mut speaker, &room, 31).await;
    wire.set(Wire::Open);
    // What was on the way still comes; then the hole is named, and then everything that is kept.
    let (mut last, mut told) = (1, None);
    while last < 40 {
        let frame = ines.next().await;
        let data = &frame["data"];
        match frame["type"].as_str().unwrap() {
            "new_message" => {
                assert_eq!(data["sequence_number"], last + 1, "{frame}");
                last += 1;
            }
            "resync_required" => {
                let from = data["from_seq"].as_u64().unwrap();
                assert!(from > last + 1 && from <= 31, "{frame} after {last}");
                assert_eq!((told, frame.clone()), (None, resync(&room, from)));
                (last, told) = (from - 1, Some(from));
            }
            "degraded" | "recovered" | "member_left" => {}
            _ => panic!("{frame}"),
        }
    }
    assert!(told.is_some(), "the hole was named");
    assert_eq!(otto.close_code().await, Some(1013), "a classic session cannot be told");
}
