//! The program as an operator runs it: killed at any moment, stopped by signals, misconfigured.

use chat_client::{ConnectOptions, Connection, RawConnection, RawFrame, request};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(30);

/// A running program.
struct Node {
    child: Child,
    url: String,
    operations: String,
}

impl Node {
    /// Starts it on free ports and waits until it says that it is ready.
    fn start(data: &Path) -> Self {
        let mut child = command(data).spawn().expect("the program starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let ready = lines
            .by_ref()
            .map(|line| line.expect("the log is text"))
            .find(|line| line.contains("\"ready\""))
            .expect("the node becomes ready");
        // Nobody reads the rest; the pipe must not fill up.
        std::thread::spawn(move || lines.for_each(drop));
        let ready: Value = serde_json::from_str(&ready).expect("the log is JSON");
        let field = |name: &str| ready[name].as_str().expect("an address").to_owned();
        Self {
            child,
            url: format!("ws://{}", field("clients")),
            operations: field("operations"),
        }
    }

    fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(status.expect("kill exists").success());
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                return status;
            }
            assert!(std::time::Instant::now() < deadline, "the program ends in time");
            std::thread::yield_now();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-node"));
    command
        .args([
            "--websocket-host",
            "127.0.0.1",
            "--xmlrpc-host",
            "127.0.0.1",
            "--operations-host",
            "127.0.0.1",
        ])
        .args(["--websocket-port", "0", "--xmlrpc-port", "0", "--operations-port", "0"])
        .args(["--node-id", "node1", "--log-format", "json", "--log-level", "info"])
        .arg("--data-dir")
        .arg(data)
        .env_clear()
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// An acknowledged message: id and content by number.
type Acked = BTreeMap<u64, (String, String)>;

/// Sends until the connection ends; every acknowledgement is noted and told.
async fn talk(url: String, room: String, user: String, acked: Arc<Mutex<Acked>>, told: mpsc::Sender<()>) {
    let options = ConnectOptions {
        ping_every: None,
        ..ConnectOptions::default()
    };
    let Ok((connection, events)) = Connection::connect(&url, &options).await else {
        return;
    };
    drop(events);
    if connection.join(&room, &user).await.is_err() {
        return;
    }
    for n in 0.. {
        let content = format!("{user} says {n}");
        let Ok(sent) = connection.send(&room, &user, &content).await else {
            return;
        };
        acked
            .lock()
            .expect("no talker panics")
            .insert(sent.seq, (sent.message_id, content));
        let _round_is_over = told.send(()).await.is_err();
    }
}

/// The whole history of a room as a new member sees it, after the node is asked for nothing more.
async fn history(url: &str, room: &str, round: usize) -> Vec<Value> {
    let end = format!("end of round {round}");
    let options = ConnectOptions {
        ping_every: None,
        ..ConnectOptions::default()
    };
    let mut reader = RawConnection::connect(url, &options).await.expect("the node is up");
    for text in [
        request::join_room(room, "reader"),
        request::send_message(room, "reader", &end),
    ] {
        reader.queue_text(text).expect("taken");
    }
    reader.flush().await.expect("open");
    let mut messages = Vec::new();
    loop {
        let frame = match tokio::time::timeout(PATIENCE, reader.next()).await.expect("in time") {
            RawFrame::Text(text) => serde_json::from_str::<Value>(text.as_str()).expect("JSON"),
            other => panic!("{other:?}"),
        };
        match frame["type"].as_str() {
            Some("new_message") if frame["data"]["content"] == end => return messages,
            Some("new_message") => messages.push(frame["data"].clone()),
            Some("join_room_error") => panic!("an acknowledged room is there: {frame}"),
            _ => {}
        }
    }
}

/// The classic history holds 1,000 messages, so a room lives for a few rounds only.
const ROUNDS_PER_ROOM: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_a_kill_is_there_after_it_twenty_times() {
    let data = tempfile::tempdir().expect("a directory");
    let mut rooms: Vec<(String, Arc<Mutex<Acked>>)> = Vec::new();
    for round in 0..20_usize {
        let node = Node::start(data.path());
        if round % ROUNDS_PER_ROOM == 0 {
            let (creator, _) = Connection::connect(&node.url, &ConnectOptions::default())
                .await
                .expect("up");
            rooms.clear();
            for name in ["hall", "chess"] {
                let created = creator
                    .create_room(&format!("{name} {round}"), "ines", None)
                    .await
                    .expect("created");
                rooms.push((created.room_id, Arc::default()));
            }
        }
        let (told, mut tellings) = mpsc::channel(1_024);
        let mut talkers = Vec::new();
        for (room, acked) in &rooms {
            for talker in 0..3 {
                let user = format!("talker {round}.{talker}");
                talkers.push(tokio::spawn(talk(
                    node.url.clone(),
                    room.clone(),
                    user,
                    Arc::clone(acked),
                    told.clone(),
                )));
            }
        }
        drop(told);
        // A different moment each round, in the middle of the talk.
        for _ in 0..20 + 17 * (round % 5) {
            tellings.recv().await.expect("the node acknowledges");
        }
        node.kill();
        for talker in talkers {
            talker.await.expect("a talker ends with its connection");
        }
        let node = Node::start(data.path());
        for (room, acked) in &rooms {
            let history = history(&node.url, room, round).await;
            for (i, message) in history.iter().enumerate() {
                assert_eq!(message["sequence_number"], i + 1, "round {round}: numbers have no hole");
            }
            let mut contents: Vec<_> = history.iter().map(|m| m["content"].as_str().expect("text")).collect();
            contents.sort_unstable();
            assert!(
                contents.windows(2).all(|pair| pair[0] != pair[1]),
                "round {round}: nothing is there twice"
            );
            for (number, (id, content)) in &*acked.lock().expect("no talker panics") {
                let found = usize::try_from(*number).ok().and_then(|n| history.get(n - 1));
                let found = found.unwrap_or_else(|| panic!("round {round}: message {number} was lost"));
                assert_eq!(
                    (&found["message_id"], &found["content"]),
                    (&id.as_str().into(), &content.as_str().into())
                );
            }
        }
        node.kill();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_closes_with_1012_and_exits_with_0() {
    let data = tempfile::tempdir().expect("a directory");
    let mut node = Node::start(data.path());
    let mut client = RawConnection::connect(&node.url, &ConnectOptions::default())
        .await
        .expect("up");
    node.signal("-TERM");
    let code = loop {
        if let RawFrame::Closed(closed) = client.next().await {
            break closed.code;
        }
    };
    assert_eq!(code, Some(1012));
    assert_eq!(node.wait().code(), Some(0));
}

#[test]
fn the_operations_port_says_ready() {
    let data = tempfile::tempdir().expect("a directory");
    let node = Node::start(data.path());
    let mut socket = std::net::TcpStream::connect(&node.operations).expect("up");
    std::io::Write::write_all(
        &mut socket,
        b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    .expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn all_mistakes_of_a_configuration_are_told_at_once_with_status_64() {
    let data = tempfile::tempdir().expect("a directory");
    let output = command(data.path())
        .args(["--websocket-port", "http", "--store", "paper", "--no-such-flag"])
        .env("PEER_NODES", "node2:http://node2:9090,:::")
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{text}");
    for mistake in ["websocket-port", "store", "no-such-flag", "PEER_NODES"] {
        assert!(text.contains(mistake), "{mistake} is not in\n{text}");
    }
    assert!(
        std::fs::read_dir(data.path()).expect("readable").next().is_none(),
        "nothing was begun"
    );
}

#[test]
fn a_data_directory_in_use_ends_the_second_process_with_78() {
    let data = tempfile::tempdir().expect("a directory");
    let _first = Node::start(data.path());
    let second = command(data.path()).output().expect("it runs");
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(78), "{text}");
    assert!(text.contains("in use by another process"), "{text}");
}

/// Ports of `dev` lie at fixed distances from one base; a base is free if the ones that `count` nodes need are.
fn free_base(count: u16) -> u16 {
    let free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    (20_000..50_000)
        .step_by(37)
        .find(|base| (1..=count).all(|n| [n, n + 1_010, n + 1_020].into_iter().all(|offset| free(base + offset))))
        .expect("some ports are free")
}

#[test]
fn dev_runs_as_many_nodes_as_asked_for_and_stops_with_status_0() {
    let base = free_base(2);
    let data = tempfile::tempdir().expect("a directory");
    let mut child = Command::new(env!("CARGO_BIN_EXE_chat-node"))
        .args(["dev", "--nodes", "2", "--base-port", &base.to_string(), "--data-dir"])
        .arg(data.path())
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let told: Vec<String> = lines
        .by_ref()
        .map(|line| line.expect("text"))
        .take_while(|line| !line.contains("Ctrl-C"))
        .collect();
    for n in 1..=2 {
        let url = format!("ws://127.0.0.1:{}", base + n);
        assert!(told.iter().any(|line| line.contains(&url)), "{url} is not in {told:?}");
        // The announcement is made when the ports are bound; the nodes open their directories behind it.
        let deadline = std::time::Instant::now() + PATIENCE;
        while !data.path().join(format!("node{n}")).is_dir() {
            assert!(std::time::Instant::now() < deadline, "node{n} has its own directory");
            std::thread::yield_now();
        }
    }
    assert!(!told.iter().any(|line| line.contains("node3")), "{told:?}");
    let mut node = Node {
        child,
        url: String::new(),
        operations: String::new(),
    };
    node.signal("-INT");
    assert_eq!(node.wait().code(), Some(0));
}
