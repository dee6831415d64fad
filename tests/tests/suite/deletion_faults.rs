//! A deletion during which a node dies or a wire is cut: in the end the room is whole everywhere or gone everywhere, and what
//! was confirmed in a room that stays is in it.

use super::deletion::{delete, is_gone};
use chat_client::request;
use chat_tests::extended::Extended;
use chat_tests::proxy::{Proxy, Wire};
use chat_tests::{Client, PATIENCE, TestCluster};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// A room that node 1 administers, with `anna` there and `otto` at node 2, who both said something; `ines`, who created it and
/// may delete it, is connected to node 1. Every wire between two nodes can be cut, and no node takes a cut for a failure.
struct Drill {
    cluster: TestCluster,
    wires: BTreeMap<(usize, usize), Proxy>,
    room: String,
    ines: Extended,
    anna: Client,
    otto: Client,
    /// What was confirmed.
    said: Vec<String>,
}

impl Drill {
    async fn new(count: usize) -> Self {
        Self::with_failure_after(count, Duration::from_secs(20)).await
    }

    async fn with_failure_after(count: usize, failure: Duration) -> Self {
        let wires = RefCell::new(BTreeMap::new());
        let number = |id: &str| id.trim_start_matches("node").parse::<usize>().unwrap();
        let cluster = TestCluster::start_with(count, |config| {
            config.limits.heartbeat_failed = failure;
            config.limits.peer_call_timeout = Duration::from_secs(1);
            let me = number(config.node_id.as_str());
            for (peer, url) in &mut config.peers {
                let wire = Proxy::to(url.authority().unwrap().as_str().parse().unwrap());
                *url = format!("http://{}/", wire.address()).parse().unwrap();
                wires.borrow_mut().insert((me, number(peer.as_str())), wire);
            }
        })
        .await;
        let ines = Extended::new(cluster.node(1), "ines").await;
        let (mut anna, mut otto) = (cluster.node(1).client().await, cluster.node(2).client().await);
        let room = anna.create("hall").await;
        anna.join(&room, "anna").await;
        otto.join(&room, "otto").await;
        anna.next().await;
        otto.send(&room, "otto", "from otto").await;
        anna.next().await;
        anna.send(&room, "anna", "from anna").await;
        otto.next().await;
        let said = vec!["from otto".to_owned(), "from anna".to_owned()];
        Self {
            cluster,
            wires: wires.into_inner(),
            room,
            ines,
            anna,
            otto,
            said,
        }
    }

    fn set(&self, from: usize, to: usize, wire: Wire) {
        self.wires[&(from, to)].set(wire);
    }

    fn mend(&self) {
        for wire in self.wires.values() {
            wire.set(Wire::Open);
        }
    }

    async fn delete(&mut self) {
        let data = json!({"room_id": self.room});
        self.ines.say("d", "delete_room", data).await;
    }

    /// Waits until the requester is told that the deletion is in this phase.
    async fn until_phase(&mut self, phase: &str) {
        loop {
            let frame = self.ines.next().await;
            if frame["type"] == "delete_room_progress" && frame["data"]["phase"] == phase {
                return;
            }
            assert!(
                ["delete_room_initiated", "delete_room_progress"].contains(&frame["type"].as_str().unwrap()),
                "{frame}"
            );
        }
    }

    /// The last answer to the requester.
    async fn answer(&mut self) -> Value {
        loop {
            let frame = self.ines.next().await;
            if !["delete_room_initiated", "delete_room_progress"].contains(&frame["type"].as_str().unwrap()) {
                return frame;
            }
        }
    }

    /// PREPARE reaches node 2, and its vote does not come back.
    async fn prepare_and_hold_the_vote(&mut self) {
        self.set(2, 1, Wire::Silent);
        self.delete().await;
        see(&mut self.otto, "delete_room_initiated").await;
    }

    /// It is decided that the room goes, and node 2 does not hear of it.
    async fn decide_and_hold_the_commit(&mut self) {
        self.prepare_and_hold_the_vote().await;
        self.set(1, 2, Wire::Silent);
        self.set(2, 1, Wire::Open);
        self.until_phase("committing").await;
    }

    async fn restart(&mut self, n: usize) {
        self.cluster.restart(n).await;
    }

    /// The room is there on every node with all that was confirmed, and goes on.
    async fn is_whole(&mut self, count: usize) {
        let mut readers = Vec::new();
        for n in 1..=count {
            let mut client = self.cluster.node(n).client().await;
            let user = format!("reader{n}");
            let deadline = Instant::now() + PATIENCE;
            while client.ask(&request::join_room(&self.room, &user)).await["type"] != "join_room_success" {
                assert!(Instant::now() < deadline, "node {n} has no room");
            }
            let text = format!("goes on at {n}");
            client.say(&request::send_message(&self.room, &user, &text)).await;
            self.said.push(text.clone());
            let before = read(&mut client, self.said.len()).await;
            assert_eq!(before, self.said, "at node {n}");
            see(&mut client, "message_sent").await;
            readers.push(client);
        }
        assert!(self.count("chat_deletions_committed_total").await == 0);
    }

    /// The room is nowhere, and its name is free.
    async fn is_gone(&self, count: usize) {
        for n in 1..=count {
            is_gone(self.cluster.node(n), &self.room).await;
        }
        assert_ne!(self.cluster.node(1).client().await.create("hall").await, self.room);
    }

    /// What a metric of node 1 says.
    async fn count(&self, name: &str) -> u64 {
        self.count_at(1, name).await
    }

    async fn count_at(&self, n: usize, name: &str) -> u64 {
        self.cluster.node(n).metric(name).await
    }
}

/// Reads so many messages, which are numbered from 1 on; who comes and goes meanwhile is passed over.
async fn read(client: &mut Client, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < count {
        let frame = see(client, "new_message").await;
        texts.push(frame["data"]["content"].as_str().unwrap().to_owned());
        assert_eq!(frame["data"]["sequence_number"], texts.len());
    }
    texts
}

/// Reads up to a frame of this type.
async fn see(client: &mut Client, kind: &str) -> Value {
    loop {
        let frame = client.next().await;
        if frame["type"] == kind {
            return frame;
        }
        let harmless = ["new_message", "member_joined", "member_left", "delete_room_initiated"];
        assert!(harmless.contains(&frame["type"].as_str().unwrap()), "{frame}");
    }
}

// === the admin node dies

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_node_dies_before_its_question_is_heard_and_the_room_stays() {
    let mut drill = Drill::new(2).await;
    drill.set(1, 2, Wire::Silent);
    drill.delete().await;
    drill.until_phase("preparing").await;
    drill.cluster.crash(1).await;
    drill.mend();
    drill.restart(1).await;
    drill.is_whole(2).await;
    assert_eq!(drill.count("chat_deletions_recovered_total").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_node_dies_while_a_vote_is_on_its_way_and_the_room_stays() {
    let mut drill = Drill::new(2).await;
    drill.prepare_and_hold_the_vote().await;
    drill.cluster.crash(1).await;
    drill.mend();
    drill.restart(1).await;
    see(&mut drill.otto, "delete_room_cancelled").await;
    drill.is_whole(2).await;
    assert_eq!(
        drill.count("chat_deletions_aborted_total{reason=\"recovered\"}").await,
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_node_dies_when_it_has_decided_and_nobody_has_heard_of_it_and_the_room_goes() {
    let mut drill = Drill::new(2).await;
    drill.decide_and_hold_the_commit().await;
    drill.cluster.crash(1).await;
    drill.mend();
    drill.restart(1).await;
    see(&mut drill.otto, "room_deleted").await;
    drill.is_gone(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_node_dies_when_its_decision_was_heard_and_the_room_goes() {
    let mut drill = Drill::new(2).await;
    drill.delete().await;
    see(&mut drill.otto, "room_deleted").await;
    drill.cluster.crash(1).await;
    drill.restart(1).await;
    drill.is_gone(2).await;
}

// === a member node dies

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_node_that_is_down_is_not_waited_for_and_finds_the_room_gone() {
    let mut drill = Drill::with_failure_after(2, Duration::from_millis(300)).await;
    drill.cluster.crash(2).await;
    drill.delete().await;
    assert_eq!(drill.answer().await["type"], "delete_room_success");
    see(&mut drill.anna, "room_deleted").await;
    drill.restart(2).await;
    drill.is_gone(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_node_dies_when_it_is_prepared_and_the_room_goes_without_it() {
    let mut drill = Drill::new(2).await;
    drill.prepare_and_hold_the_vote().await;
    drill.cluster.crash(2).await;
    drill.mend();
    drill.restart(2).await;
    assert_eq!(drill.answer().await["type"], "delete_room_success");
    see(&mut drill.anna, "room_deleted").await;
    drill.is_gone(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_node_dies_when_it_has_told_its_members_and_the_room_is_gone() {
    let mut drill = Drill::with_failure_after(2, Duration::from_millis(300)).await;
    drill.delete().await;
    see(&mut drill.otto, "room_deleted").await;
    drill.cluster.crash(2).await;
    assert_eq!(drill.answer().await["type"], "delete_room_success");
    drill.restart(2).await;
    drill.is_gone(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_nodes_die_after_the_decision_and_the_room_is_gone() {
    let mut drill = Drill::new(2).await;
    drill.decide_and_hold_the_commit().await;
    drill.cluster.crash(1).await;
    drill.cluster.crash(2).await;
    drill.mend();
    drill.restart(2).await;
    drill.restart(1).await;
    drill.cluster.wait_until_connected(2, 2).await;
    drill.is_gone(2).await;
}

// === words are late or lost

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_cannot_be_asked_in_time_keeps_the_room_and_what_was_held_is_said() {
    let mut drill = Drill::new(2).await;
    drill.set(1, 2, Wire::Silent);
    drill.delete().await;
    drill.until_phase("preparing").await;
    // Meanwhile nobody is let in, and nothing is confirmed.
    let mut late = drill.cluster.node(1).client().await;
    late.say(&request::join_room(&drill.room, "late")).await;
    let text = request::send_message(&drill.room, "anna", "meanwhile");
    drill.anna.say(&text).await;
    let mut again = drill.cluster.node(1).client().await;
    let refused = again.ask(&delete(&drill.room, "ines")).await;
    assert_eq!(
        refused,
        json!({"type": "delete_room_failed", "data": {"room_id": drill.room, "error_code": "INVALID_STATE",
               "reason": "Room is in DELETION_PENDING state, cannot delete"}})
    );
    let failed = drill.answer().await;
    assert_eq!(
        (
            &failed["type"],
            &failed["data"]["error_code"],
            &failed["data"]["reason"]
        ),
        (
            &json!("delete_room_failed"),
            &json!("DELETION_FAILED"),
            &json!("Node node2 timed out")
        )
    );
    see(&mut drill.anna, "delete_room_cancelled").await;
    see(&mut drill.anna, "message_sent").await;
    drill.said.push("meanwhile".into());
    see(&mut late, "join_room_success").await;
    drill.mend();
    assert_eq!(
        see(&mut drill.otto, "delete_room_cancelled").await["data"]["room_id"],
        drill.room
    );
    drill.is_whole(2).await;
    assert_eq!(
        drill.count("chat_deletions_aborted_total{reason=\"timed_out\"}").await,
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vote_that_does_not_come_keeps_the_room_and_what_was_held_elsewhere_is_said() {
    let mut drill = Drill::new(2).await;
    drill.prepare_and_hold_the_vote().await;
    let text = request::send_message(&drill.room, "otto", "meanwhile");
    drill.otto.say(&text).await;
    assert_eq!(drill.answer().await["data"]["error_code"], "DELETION_FAILED");
    // What is behind the vote comes behind it.
    see(&mut drill.otto, "delete_room_cancelled").await;
    drill.mend();
    see(&mut drill.otto, "message_sent").await;
    drill.said.push("meanwhile".into());
    drill.is_whole(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_late_is_not_waited_for_for_ever_and_is_told_when_the_wire_is_mended() {
    let mut drill = Drill::new(2).await;
    drill.decide_and_hold_the_commit().await;
    let text = request::send_message(&drill.room, "otto", "too late");
    drill.otto.say(&text).await;
    assert_eq!(drill.answer().await["type"], "delete_room_success");
    is_gone(drill.cluster.node(1), &drill.room).await;
    drill.mend();
    // What it said in between was held, and is refused.
    let refused = see(&mut drill.otto, "message_error").await;
    assert_eq!(refused["data"]["error_code"], "ROOM_NOT_FOUND", "{refused}");
    see(&mut drill.otto, "room_deleted").await;
    drill.is_gone(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_prepared_and_hears_nothing_asks_and_goes_on() {
    let mut drill = Drill::new(2).await;
    drill.prepare_and_hold_the_vote().await;
    drill.set(1, 2, Wire::Silent);
    assert_eq!(drill.answer().await["data"]["error_code"], "DELETION_FAILED");
    // It asks in vain.
    let deadline = Instant::now() + PATIENCE;
    while drill.count_at(2, "chat_deletions_in_doubt").await == 0 {
        assert!(Instant::now() < deadline, "node 2 is not in doubt");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // It can ask, and is not told anything.
    drill.set(2, 1, Wire::Open);
    see(&mut drill.otto, "delete_room_cancelled").await;
    assert_eq!(drill.count_at(2, "chat_deletions_in_doubt").await, 0);
    drill.mend();
    drill.is_whole(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_joins_from_a_third_node_in_between_waits_for_the_end_and_is_told() {
    let mut drill = Drill::new(3).await;
    drill.prepare_and_hold_the_vote().await;
    let mut vera = drill.cluster.node(3).client().await;
    vera.say(&request::join_room(&drill.room, "vera")).await;
    // The room hears of both in some order; neither is let in.
    let mut otto = drill.cluster.node(1).client().await;
    otto.say(&request::join_room(&drill.room, "late")).await;
    drill.set(2, 1, Wire::Open);
    assert_eq!(drill.answer().await["type"], "delete_room_success");
    for client in [&mut vera, &mut otto] {
        let refused = see(client, "join_room_error").await;
        assert_eq!(refused["data"]["error_code"], "ROOM_NOT_FOUND", "{refused}");
    }
    see(&mut drill.otto, "room_deleted").await;
    drill.is_gone(3).await;
}
