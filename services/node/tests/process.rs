//! The program as an operator runs it: killed at any moment, stopped by signals, misconfigured.

use chat_client::{ConnectOptions, Connection, RawConnection, RawFrame, request};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
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

/// Joins a room on a node that has just begun and says whether it is there. A room that is there takes messages.
async fn is_whole(url: &str, room: &str) -> bool {
    let options = ConnectOptions {
        ping_every: None,
        ..ConnectOptions::default()
    };
    let (connection, events) = Connection::connect(url, &options).await.expect("the node is up");
    drop(events);
    match connection.join(room, "reader").await {
        Ok(_) => {
            connection
                .send(room, "reader", "still here")
                .await
                .expect("a room is whole");
            true
        }
        Err(why) => {
            assert!(why.to_string().contains("Room not found"), "{why}");
            false
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_any_moment_of_a_deletion_leaves_the_room_whole_or_gone_and_gone_if_that_was_said() {
    let data = tempfile::tempdir().expect("a directory");
    let options = ConnectOptions {
        ping_every: None,
        ..ConnectOptions::default()
    };
    let mut seen = [0, 0];
    for round in 0..20_u32 {
        let node = Node::start(data.path());
        let mut ines = RawConnection::connect(&node.url, &options)
            .await
            .expect("the node is up");
        let mut frame = async |text: Option<String>| {
            if let Some(text) = text {
                ines.queue_text(text).expect("taken");
                ines.flush().await.expect("open");
            }
            match tokio::time::timeout(PATIENCE, ines.next()).await.expect("in time") {
                RawFrame::Text(text) => serde_json::from_str::<Value>(text.as_str()).expect("JSON"),
                other => panic!("{other:?}"),
            }
        };
        let created = frame(Some(request::create_room(&format!("hall {round}"), "ines", None))).await;
        let room = created["data"]["room_id"].as_str().expect("an id").to_owned();
        frame(Some(request::join_room(&room, "ines"))).await;
        let delete = format!(r#"{{"type":"delete_room","data":{{"room_id":"{room}","username":"ines"}}}}"#);
        let said = if round % 4 == 0 {
            // Up to the last answer.
            assert_eq!(frame(Some(delete)).await["type"], "delete_room_initiated");
            while frame(None).await["type"] != "delete_room_success" {}
            true
        } else {
            ines.queue_text(delete).expect("taken");
            ines.flush().await.expect("open");
            // Each round a little later.
            tokio::time::sleep(Duration::from_micros(u64::from(round) * 300)).await;
            false
        };
        node.kill();
        let node = Node::start(data.path());
        let whole = is_whole(&node.url, &room).await;
        assert!(!(said && whole), "a room that was said to be deleted is there again");
        seen[usize::from(whole)] += 1;
        node.kill();
    }
    assert!(seen[0] >= 5, "{seen:?}");
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
fn a_data_directory_in_use_ends_the_second_process_with_75() {
    let data = tempfile::tempdir().expect("a directory");
    let _first = Node::start(data.path());
    let second = command(data.path()).output().expect("it runs");
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(75), "{text}");
    assert!(text.contains("in use by another process"), "{text}");
}

#[test]
fn a_data_directory_that_is_used_for_a_moment_more_is_waited_for() {
    let data = tempfile::tempdir().expect("a directory");
    let first = Node::start(data.path());
    let mut second = command(data.path());
    let mut second = second
        .env("DATA_DIR_WAIT_MS", "60000")
        .spawn()
        .expect("the program starts");
    let lines = BufReader::new(second.stderr.take().expect("piped")).lines();
    let mut lines = lines.map(|line| line.expect("the log is text"));
    lines
        .find(|line| line.contains("waiting for it"))
        .expect("it says that it waits");
    drop(first);
    let next = lines.find(|line| line.contains("\"ready\"")).expect("it becomes ready");
    assert!(!next.contains("waiting"), "it says so once");
    second.kill().expect("it runs");
    second.wait().expect("it ends");
}

#[cfg(not(feature = "kubernetes"))]
#[test]
fn a_build_that_cannot_ask_the_kubernetes_api_says_so_with_78_instead_of_finding_nobody() {
    let data = tempfile::tempdir().expect("a directory");
    let asked = [
        ("DISCOVERY", "kubernetes"),
        ("DISCOVERY_SERVICE", "chat"),
        ("DISCOVERY_NAMESPACE", "talk"),
    ];
    let output = command(data.path()).envs(asked).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{text}");
    assert!(text.contains("the feature \"kubernetes\""), "{text}");
    assert!(
        std::fs::read_dir(data.path()).expect("readable").next().is_none(),
        "nothing was begun"
    );
}

/// Ports of `dev` lie at fixed distances from one base; a base is free if the ones that `count` nodes need are. Tests
/// that run at the same time look in different places, below the ports that the system hands out by itself.
fn free_base(count: u16) -> u16 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let start = std::process::id().wrapping_mul(131).wrapping_add(call * 1_117) % 11_000;
    (0..11_000)
        .step_by(37)
        .map(|step| 20_000 + u16::try_from((start + step) % 11_000).expect("less than 11,000"))
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
        until(&format!("node{n} has its own directory"), || {
            data.path().join(format!("node{n}")).is_dir()
        });
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

/// Runs a command of the program; its status and everything that it says.
fn command_line(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_chat-node"))
        .args(args)
        .env_clear()
        .output()
        .expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn health_says_yes_while_a_node_serves_and_no_when_nobody_does() {
    let data = tempfile::tempdir().expect("a directory");
    let node = Node::start(data.path());
    let port = node.operations.rsplit(':').next().expect("a port").to_owned();
    for (probe, answer) in [("ready", "ready\n"), ("live", "live\n"), ("startup", "started\n")] {
        let args = [
            "health",
            "--operations-host=127.0.0.1",
            "--operations-port",
            &port,
            "--probe",
            probe,
        ];
        assert_eq!(command_line(&args), (Some(0), answer.to_owned()));
    }
    node.kill();
    let (status, said) = command_line(&["health", "--operations-host=127.0.0.1", "--operations-port", &port]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("no answer to /ready from 127.0.0.1"), "{said}");
    assert_eq!(command_line(&["health", "--probe=well"]).0, Some(64));
}

#[test]
fn selftest_chats_on_one_node_again_and_again() {
    let data = tempfile::tempdir().expect("a directory");
    let node = Node::start(data.path());
    let metrics = format!("--metrics=http://{}/metrics", node.operations);
    for _ in 0..2 {
        let (status, said) = command_line(&["selftest", "--targets", &node.url, &metrics]);
        assert_eq!(status, Some(0), "{said}");
        assert!(
            said.contains("2 messages confirmed") && said.ends_with("passed\n"),
            "{said}"
        );
    }
    node.kill();
}

#[test]
fn selftest_chats_over_the_nodes_of_a_cluster_that_has_just_started() {
    let base = free_base(3);
    let data = tempfile::tempdir().expect("a directory");
    let child = Command::new(env!("CARGO_BIN_EXE_chat-node"))
        .args(["dev", "--base-port", &base.to_string(), "--data-dir"])
        .arg(data.path())
        .env_clear()
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let _cluster = Node {
        child,
        url: String::new(),
        operations: String::new(),
    };
    let targets: Vec<String> = (1..=3).map(|n| format!("ws://127.0.0.1:{}", base + n)).collect();
    let (status, said) = command_line(&["selftest", "--targets", &targets.join(",")]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("3 messages confirmed"), "{said}");
}

#[test]
fn selftest_says_with_whom_it_could_not_talk() {
    let port = free_base(1) + 1;
    let target = format!("--targets=ws://127.0.0.1:{port}");
    let (status, said) = command_line(&["selftest", &target, "--patience-ms=300"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.contains("connect: not done after 300 ms") && said.contains(&port.to_string()),
        "{said}"
    );
}

/// Does a probe of a node on this port say yes? What it says besides.
fn probe(port: u16, probe: &str) -> (Option<i32>, String) {
    let (port, probe) = (format!("--operations-port={port}"), format!("--probe={probe}"));
    command_line(&["health", "--operations-host=127.0.0.1", &port, &probe])
}

/// A node whose store takes its time to open, once its probes are answered, and their port. Reading the mark of the directory blocks until
/// somebody writes it.
fn opening(data: &Path) -> (Node, u16) {
    let made = Command::new("mkfifo").arg(data.join("NODE")).status();
    assert!(made.expect("mkfifo exists").success());
    let port = free_base(1) + 1;
    let child = command(data)
        .args(["--operations-port", &port.to_string()])
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let node = Node {
        child,
        url: String::new(),
        operations: String::new(),
    };
    until("the probes are answered first of all", || {
        probe(port, "live").0 == Some(0)
    });
    (node, port)
}

/// Waits for a condition that has to come.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_node_whose_store_takes_its_time_to_open_is_live_but_neither_started_nor_ready() {
    let data = tempfile::tempdir().expect("a directory");
    Node::start(data.path()).kill();
    let mark = data.path().join("NODE");
    let id = std::fs::read(&mark).expect("a mark");
    std::fs::remove_file(&mark).expect("removed");
    let (mut node, port) = opening(data.path());
    for question in ["startup", "ready"] {
        let (status, said) = probe(port, question);
        assert_eq!((status, said.as_str()), (Some(1), "chat-node: starting\n"));
    }
    std::fs::write(&mark, id).expect("the node reads it");
    until("a node becomes ready when its store is open", || {
        probe(port, "ready").0 == Some(0)
    });
    assert_eq!(probe(port, "startup"), (Some(0), "started\n".into()));
    node.signal("-TERM");
    assert_eq!(node.wait().code(), Some(0));
}

#[test]
fn a_node_that_is_stopped_while_its_store_opens_stops() {
    let data = tempfile::tempdir().expect("a directory");
    let (mut node, _) = opening(data.path());
    node.signal("-TERM");
    assert_eq!(node.wait().code(), Some(0));
}
