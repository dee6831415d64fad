//! Cells of the deletion's crash matrix with real processes: the step is held on the wire between two nodes, somebody dies or
//! stands still exactly there, and in the end the room is gone everywhere or whole everywhere.
//!
//! Node 0 administers the room, nodes 1 and 2 have members in it. A cell that is not hit fails: each waits until the word that
//! it is about was caught on the wire.

use chat_client::{ConnectOptions, RawConnection, RawFrame, request};
use chat_tests::chaos::doomed::{Doomed, End, settled};
use chat_tests::chaos::nodes::Nodes;
use chat_tests::snare::Snare;
use chat_tests::{Client, PATIENCE};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

const PREPARE: &str = r#""kind":"delete_prepare""#;
const VOTE: &str = r#""kind":"delete_vote""#;
const COMMIT: &str = r#""kind":"delete_commit""#;
const DONE: &str = r#""kind":"delete_done""#;
const ASK: &str = "chat.deletion_status";

/// Within this time after everything is mended a room is gone or whole.
const BOUND: Duration = Duration::from_secs(20);

/// Three processes and a room with a member at each.
struct Cell {
    name: &'static str,
    nodes: Nodes,
    doomed: Doomed,
    ines: Client,
    members: [Client; 3],
}

impl Cell {
    /// Nobody is taken for failed while a cell is held: whoever is killed is recognised by its next life.
    async fn new(name: &'static str) -> Self {
        let settings = [
            "--heartbeat-interval-ms=100",
            "--heartbeat-failed-ms=20000",
            "--peer-call-timeout-ms=1000",
        ];
        let nodes = Nodes::start_with(Path::new(env!("CARGO_BIN_EXE_chat-node")), None, &settings).await;
        let nodes = nodes.expect("three nodes start");
        for n in 0..nodes.len() {
            let mut client = connect(&nodes, n).await;
            let deadline = Instant::now() + PATIENCE;
            loop {
                let list = client.ask(&request::discover_rooms()).await;
                if list["data"]["nodes_available"]
                    .as_array()
                    .is_some_and(|there| there.len() == nodes.len())
                {
                    break;
                }
                assert!(Instant::now() < deadline, "{list}");
            }
        }
        let room = connect(&nodes, 0).await.create("hall").await;
        let mut members = [
            connect(&nodes, 0).await,
            connect(&nodes, 1).await,
            connect(&nodes, 2).await,
        ];
        let mut said = Vec::new();
        for (n, member) in members.iter_mut().enumerate() {
            member.say(&request::join_room(&room, &format!("member {n}"))).await;
            see(member, "join_room_success").await;
            let text = format!("from {n}");
            member
                .say(&request::send_message(&room, &format!("member {n}"), &text))
                .await;
            see(member, "message_sent").await;
            said.push(text);
        }
        let mut ines = connect(&nodes, 0).await;
        let hello = json!({"type": "hello", "data": {"protocol": 2, "user": "ines"}});
        assert_eq!(ines.ask(&hello.to_string()).await["type"], "welcome");
        let doomed = Doomed {
            room,
            said,
            confirmed: false,
        };
        Self {
            name,
            nodes,
            doomed,
            ines,
            members,
        }
    }

    fn keep(&self, from: usize, to: usize, word: &str) -> Snare {
        self.nodes.wire(from, to).snares().keep(word)
    }

    async fn delete(&mut self) {
        let wish = json!({"type": "delete_room", "id": "d", "data": {"room_id": self.doomed.room}});
        self.ines.say(&wish.to_string()).await;
    }

    /// Waits until so many votes are counted.
    async fn until_ready(&mut self, count: usize) {
        loop {
            let frame = self.ines.next().await;
            let ready = frame["data"]["ready"].as_array().map_or(0, Vec::len);
            if frame["data"]["phase"] == "preparing" && ready == count {
                return;
            }
            let kind = frame["type"].as_str().expect("a type");
            assert!(
                ["delete_room_initiated", "delete_room_progress"].contains(&kind),
                "{frame}"
            );
        }
    }

    /// The last answer to whoever asked.
    async fn answer(&mut self) -> Value {
        loop {
            let frame = self.ines.next().await;
            let kind = frame["type"].as_str().expect("a type");
            if !["delete_room_initiated", "delete_room_progress"].contains(&kind) {
                self.doomed.confirmed = kind == "delete_room_success";
                return frame;
            }
        }
    }

    async fn kill(&mut self, which: &[usize]) {
        for n in which {
            self.nodes.signal(*n, "KILL");
        }
        for n in which {
            self.nodes.wait_for_end(*n).await.expect("whoever is killed ends");
        }
    }

    async fn start(&mut self, which: &[usize]) {
        for n in which {
            self.nodes.launch(*n).expect("it starts");
        }
        for n in which {
            self.nodes.wait_until_ready(*n).await.expect("it is ready");
        }
    }

    /// Everything is mended: the room comes to this end everywhere, all members that are still there hear of it, and nobody is in doubt.
    /// `counts` are metrics of node 0.
    async fn ends(mut self, expected: End, counts: &[(&str, u64)]) {
        let looked = settled(&self.nodes.urls(), &self.doomed, BOUND).await;
        let (end, took) = looked.unwrap_or_else(|why| panic!("{}: {why}", self.name));
        assert_eq!(end, expected, "{}", self.name);
        for (n, member) in self.members.iter_mut().enumerate() {
            hears(member, &self.doomed.room, n, end).await;
        }
        for (name, count) in counts {
            assert_eq!(self.nodes.metric(0, name).await, Ok(*count), "{}: {name}", self.name);
        }
        for n in 0..self.nodes.len() {
            let deadline = Instant::now() + BOUND;
            while self.nodes.metric(n, "chat_deletions_in_doubt").await != Ok(0) {
                assert!(Instant::now() < deadline, "{}: node {n} is in doubt", self.name);
                sleep(Duration::from_millis(10)).await;
            }
        }
        #[allow(clippy::print_stdout)] // Which cell was hit, and how long it took to settle, is for people, too.
        {
            println!(
                "hit: {}: {end:?} at all nodes after {:.2} s",
                self.name,
                took.as_secs_f64()
            );
        }
    }
}

async fn connect(nodes: &Nodes, n: usize) -> Client {
    let options = ConnectOptions {
        ping_every: None,
        ..ConnectOptions::default()
    };
    Client(
        RawConnection::connect(&nodes.url(n), &options)
            .await
            .expect("the node takes clients"),
    )
}

/// Reads up to a frame of this type.
async fn see(client: &mut Client, kind: &str) -> Value {
    loop {
        let frame = client.next().await;
        if frame["type"] == kind {
            return frame;
        }
        let harmless = [
            "new_message",
            "member_joined",
            "member_left",
            "delete_room_initiated",
            "delete_room_cancelled",
        ];
        assert!(harmless.iter().any(|kind| frame["type"] == *kind), "{frame}");
    }
}

/// A member is told the end, or has lost its node.
async fn hears(member: &mut Client, room: &str, n: usize, end: End) {
    if end == End::Whole {
        let text = request::send_message(room, &format!("member {n}"), "still here");
        if member.0.queue_text(text).is_err() || member.0.flush().await.is_err() {
            return;
        }
    }
    let awaited = if end == End::Whole {
        "message_sent"
    } else {
        "room_deleted"
    };
    loop {
        match timeout(PATIENCE, member.0.next())
            .await
            .expect("a member hears how it ends")
        {
            RawFrame::Text(text) if request::type_of(&text) == awaited => return,
            RawFrame::Text(text) => assert_ne!(request::type_of(&text), "message_error", "{text:?}"),
            RawFrame::Binary(_) => {}
            RawFrame::Closed(_) => return,
        }
    }
}

const STARTED: &str = "chat_deletions_started_total";
const COMMITTED: &str = "chat_deletions_committed_total";
const RECOVERED: &str = "chat_deletions_recovered_total";
const GIVEN_UP: &str = r#"chat_deletions_aborted_total{reason="recovered"}"#;
const TIMED_OUT: &str = r#"chat_deletions_aborted_total{reason="timed_out"}"#;

const COMMITTED_ONCE: [(&str, u64); 4] = [(STARTED, 1), (COMMITTED, 1), (RECOVERED, 0), (TIMED_OUT, 0)];
const GIVEN_UP_AFTER_DEATH: [(&str, u64); 4] = [(COMMITTED, 0), (RECOVERED, 1), (GIVEN_UP, 1), (TIMED_OUT, 0)];
const RETOLD: [(&str, u64); 3] = [(COMMITTED, 0), (GIVEN_UP, 0), (TIMED_OUT, 0)];
const TOO_LATE: [(&str, u64); 4] = [(STARTED, 1), (COMMITTED, 0), (RECOVERED, 0), (TIMED_OUT, 1)];

// === the admin node dies

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_node_is_killed_before_anybody_hears_prepare() {
    let mut cell = Cell::new("admin killed, PREPARE unheard").await;
    let words = [cell.keep(0, 1, PREPARE), cell.keep(0, 2, PREPARE)];
    cell.delete().await;
    for word in &words {
        word.caught(1).await;
    }
    cell.kill(&[0]).await;
    words.iter().for_each(Snare::lose);
    cell.start(&[0]).await;
    words.iter().for_each(Snare::let_go);
    cell.ends(End::Whole, &GIVEN_UP_AFTER_DEATH).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_node_is_killed_with_one_vote_of_two() {
    let mut cell = Cell::new("admin killed, one vote of two").await;
    let vote = cell.keep(2, 0, VOTE);
    cell.delete().await;
    cell.until_ready(1).await;
    vote.caught(1).await;
    cell.kill(&[0]).await;
    vote.lose();
    cell.start(&[0]).await;
    vote.let_go();
    cell.ends(End::Whole, &GIVEN_UP_AFTER_DEATH).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_node_is_killed_when_it_has_decided_and_nobody_hears_commit() {
    let mut cell = Cell::new("admin killed, decided, no COMMIT heard").await;
    let words = [cell.keep(0, 1, COMMIT), cell.keep(0, 2, COMMIT)];
    cell.delete().await;
    for word in &words {
        word.caught(1).await;
    }
    cell.kill(&[0]).await;
    words.iter().for_each(Snare::lose);
    cell.start(&[0]).await;
    words.iter().for_each(Snare::let_go);
    cell.ends(End::Gone, &RETOLD).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_node_is_killed_after_one_commit_of_two() {
    let mut cell = Cell::new("admin killed, one COMMIT of two heard").await;
    let (word, done) = (cell.keep(0, 2, COMMIT), cell.keep(1, 0, DONE));
    cell.delete().await;
    word.caught(1).await;
    done.caught(1).await;
    cell.kill(&[0]).await;
    word.lose();
    done.lose();
    cell.start(&[0]).await;
    word.let_go();
    done.let_go();
    cell.ends(End::Gone, &RETOLD).await;
}

// === a member node dies

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_node_is_killed_before_its_vote() {
    let mut cell = Cell::new("member node killed before its vote").await;
    let word = cell.keep(0, 1, PREPARE);
    cell.delete().await;
    word.caught(1).await;
    cell.kill(&[1]).await;
    word.lose();
    cell.start(&[1]).await;
    word.let_go();
    assert_eq!(cell.answer().await["type"], "delete_room_success");
    cell.ends(End::Gone, &COMMITTED_ONCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_node_is_killed_between_its_vote_and_commit() {
    let mut cell = Cell::new("member node killed between vote and COMMIT").await;
    let word = cell.keep(0, 1, COMMIT);
    cell.delete().await;
    word.caught(1).await;
    cell.kill(&[1]).await;
    word.lose();
    cell.start(&[1]).await;
    word.let_go();
    assert_eq!(cell.answer().await["type"], "delete_room_success");
    cell.ends(End::Gone, &COMMITTED_ONCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_node_is_killed_when_it_has_obeyed_and_not_said_so() {
    let mut cell = Cell::new("member node killed after COMMIT, DONE unheard").await;
    let done = cell.keep(1, 0, DONE);
    cell.delete().await;
    done.caught(1).await;
    see(&mut cell.members[1], "room_deleted").await;
    cell.kill(&[1]).await;
    done.lose();
    cell.start(&[1]).await;
    done.let_go();
    assert_eq!(cell.answer().await["type"], "delete_room_success");
    cell.ends(End::Gone, &COMMITTED_ONCE).await;
}

// === both die

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_node_and_a_member_node_are_killed_after_the_votes() {
    let mut cell = Cell::new("admin and member node killed, decided, no COMMIT heard").await;
    let words = [cell.keep(0, 1, COMMIT), cell.keep(0, 2, COMMIT)];
    cell.delete().await;
    for word in &words {
        word.caught(1).await;
    }
    cell.kill(&[0, 1]).await;
    words.iter().for_each(Snare::lose);
    cell.start(&[1, 0]).await;
    words.iter().for_each(Snare::let_go);
    cell.ends(End::Gone, &RETOLD).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_node_and_the_node_that_voted_are_killed_while_the_other_vote_is_on_its_way() {
    let mut cell = Cell::new("admin and voter killed, one vote of two").await;
    let vote = cell.keep(2, 0, VOTE);
    cell.delete().await;
    cell.until_ready(1).await;
    vote.caught(1).await;
    cell.kill(&[0, 1]).await;
    vote.lose();
    cell.start(&[0, 1]).await;
    vote.let_go();
    cell.ends(End::Whole, &GIVEN_UP_AFTER_DEATH).await;
}

// === nobody dies

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_node_stands_still_beyond_the_deadline_of_the_votes() {
    let mut cell = Cell::new("member node frozen beyond the deadline").await;
    let word = cell.keep(0, 1, PREPARE);
    cell.delete().await;
    word.caught(1).await;
    cell.nodes.freeze(1).await;
    word.let_go();
    let failed = cell.answer().await;
    assert_eq!(failed["data"]["reason"], "Node node2 timed out", "{failed}");
    cell.nodes.signal(1, "CONT");
    cell.ends(End::Whole, &TOO_LATE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_member_node_is_never_reached_and_hears_of_it_late() {
    let mut cell = Cell::new("second member node unreachable, PREPARE late").await;
    let word = cell.keep(0, 2, PREPARE);
    cell.delete().await;
    cell.until_ready(1).await;
    word.caught(2).await;
    let failed = cell.answer().await;
    assert_eq!(failed["data"]["reason"], "Node node3 timed out", "{failed}");
    // All copies arrive now, when the attempt is over.
    word.let_go();
    cell.ends(End::Whole, &TOO_LATE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prepare_and_commit_and_the_votes_come_twice() {
    let mut cell = Cell::new("every word doubled").await;
    let mut words = Vec::new();
    for (from, to, text) in [(0, 1, PREPARE), (1, 0, VOTE), (0, 1, COMMIT), (1, 0, DONE)] {
        words.push(cell.nodes.wire(from, to).snares().lose_one_answer(text));
    }
    cell.delete().await;
    assert_eq!(cell.answer().await["type"], "delete_room_success");
    for word in &words {
        word.caught(2).await;
    }
    cell.ends(End::Gone, &COMMITTED_ONCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_node_stands_still_with_all_votes_until_a_member_node_asks() {
    let mut cell = Cell::new("admin frozen, member nodes in doubt ask").await;
    let votes = [cell.keep(1, 0, VOTE), cell.keep(2, 0, VOTE)];
    cell.delete().await;
    for vote in &votes {
        vote.caught(1).await;
    }
    let question = cell.keep(1, 0, ASK);
    cell.nodes.freeze(0).await;
    votes.iter().for_each(Snare::let_go);
    // It has promised not to let anybody in, and is told nothing.
    question.caught(1).await;
    assert_eq!(cell.nodes.metric(1, "chat_deletions_in_doubt").await, Ok(1));
    question.let_go();
    cell.nodes.signal(0, "CONT");
    // The time for the votes is over, and they arrive: either is a reason to decide.
    let answer = cell.answer().await;
    let expected = if cell.doomed.confirmed { End::Gone } else { End::Whole };
    assert!(
        cell.doomed.confirmed || answer["data"]["error_code"] == "DELETION_FAILED",
        "{answer}"
    );
    let counts = if cell.doomed.confirmed {
        COMMITTED_ONCE
    } else {
        TOO_LATE
    };
    cell.ends(expected, &counts).await;
}
