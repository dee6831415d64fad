//! Tests over real sockets with a client that knows no HTTP.

use super::*;
use chat_protocol::ids::NodeId;
use std::io::{Read, Write};
use std::time::Instant;

struct Port {
    runtime: OpsRuntime,
    handle: OpsHandle,
    state: OpsState,
}

fn start(pulses: Pulses) -> Port {
    let state = OpsState {
        metrics: Metrics::new(&NodeId::parse("n1").unwrap()),
        readiness: Arc::default(),
        pulses: Arc::new(pulses),
        rooms: Arc::default(),
    };
    let runtime = OpsRuntime::start().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let handle = spawn(&runtime, listener, state.clone()).unwrap();
    Port { runtime, handle, state }
}

impl Port {
    fn send(&self, request: &str) -> String {
        let mut stream = std::net::TcpStream::connect(self.handle.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Status and body of a GET.
    fn get(&self, path: &str) -> (u16, String) {
        let answer = self.send(&format!("GET {path} HTTP/1.1\r\nHost: ops\r\n\r\n"));
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|word| word.parse().ok())
            .expect("a status");
        (status, body.to_owned())
    }
}

#[test]
fn who_is_near_is_told_by_the_address() {
    let ip = |text: &str| text.parse().unwrap();
    for (own, peer, expected) in [
        ("127.0.0.1", "127.0.0.1", Caller::Near),
        ("::1", "::1", Caller::Near),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1", Caller::Near),
        ("10.244.0.7", "10.244.0.7", Caller::Near),
        ("10.244.0.7", "10.244.0.8", Caller::Far),
        ("::ffff:10.244.0.7", "::ffff:10.244.0.8", Caller::Far),
        ("10.244.0.7", "169.254.1.1", Caller::Far),
        ("fd00::7", "fd00::8", Caller::Far),
    ] {
        assert_eq!(Caller::of(Some(ip(own)), ip(peer)), expected, "{own} {peer}");
    }
    assert_eq!(Caller::of(None, ip("10.1.1.1")), Caller::Far);
}

#[test]
fn the_log_level_is_changed_by_a_put_that_is_not_of_a_page() {
    let port = start(Pulses::new(0));
    let status = |request: &str| port.send(request).split(' ').nth(1).map(str::to_owned);
    let put = |path: &str, more: &str| status(&format!("PUT {path} HTTP/1.1\r\nHost: ops\r\n{more}\r\n"));
    // The tests have no log of ours.
    assert_eq!(port.get("/log-level").0, 503);
    assert_eq!(put("/log-level/debug", "").as_deref(), Some("503"));
    assert_eq!(put("/log-level/loud", "").as_deref(), Some("400"));
    assert_eq!(
        put("/log-level/debug", "Origin: http://ops\r\n").as_deref(),
        Some("403")
    );
    assert_eq!(put("/ready", "").as_deref(), Some("405"));
    assert_eq!(port.get("/log-level/debug").0, 405, "a GET changes nothing");
}

#[test]
fn a_node_is_ready_only_between_starting_and_stopping() {
    let port = start(Pulses::new(2));
    assert_eq!(port.get("/ready"), (503, "starting\n".into()));
    assert_eq!(port.get("/startup"), (503, "starting\n".into()));
    port.state.readiness.advance(Stage::Ready);
    assert_eq!(port.get("/ready"), (200, "ready\n".into()));
    assert_eq!(port.get("/startup"), (200, "started\n".into()));
    port.state.readiness.advance(Stage::Stopping);
    assert_eq!(port.get("/ready"), (503, "stopping\n".into()));
    assert_eq!(port.get("/startup"), (200, "started\n".into()));
    port.state.readiness.advance(Stage::Ready);
    assert_eq!(port.state.readiness.stage(), Stage::Stopping);
}

/// A pulse whose last beat was too long ago.
fn silent() -> Pulse {
    let long_ago = Instant::now().checked_sub(Duration::from_secs(11));
    Pulse::beating_since(long_ago.expect("the machine runs for 11 s"))
}

#[test]
fn a_silent_main_runtime_is_not_live_until_it_beats_again() {
    let port = start(Pulses {
        main: silent(),
        shards: vec![Pulse::default()],
    });
    let (status, text) = port.get("/live");
    assert_eq!(status, 503);
    assert!(text.starts_with("the main runtime has been silent for 11"), "{text}");
    port.state.pulses.main.beat();
    assert_eq!(port.get("/live"), (200, "live\n".into()));
}

#[test]
fn one_silent_shard_is_enough_not_to_be_live() {
    let port = start(Pulses {
        main: Pulse::default(),
        shards: vec![Pulse::default(), silent()],
    });
    let (status, text) = port.get("/live");
    assert_eq!(status, 503);
    assert!(text.starts_with("a shard of rooms has been silent for 11"), "{text}");
    port.state.pulses.shards[1].beat();
    assert_eq!(port.get("/live"), (200, "live\n".into()));
}

#[test]
fn metrics_are_served_as_text_with_their_type() {
    let port = start(Pulses::new(2));
    port.state.metrics.clients.open.set(3);
    let answer = port.send("GET /metrics HTTP/1.0\r\n\r\n");
    assert!(
        answer
            .to_ascii_lowercase()
            .contains("content-type: text/plain; version=0.0.4"),
        "{answer}"
    );
    assert!(answer.contains("\nchat_connections{node=\"n1\"} 3\n"), "{answer}");
}

#[test]
fn other_paths_and_methods_are_refused() {
    let port = start(Pulses::new(2));
    assert_eq!(port.get("/").0, 404);
    assert_eq!(port.get("/metrics/more").0, 404);
    assert!(
        port.send("POST /ready HTTP/1.1\r\nHost: ops\r\nContent-Length: 0\r\n\r\n")
            .starts_with("HTTP/1.1 405")
    );
    assert!(port.send("nonsense\r\n\r\n").starts_with("HTTP/1.1 400"));
}

#[test]
fn a_stopped_port_refuses_connections_and_its_thread_runs_other_tasks() {
    let Port { runtime, handle, .. } = start(Pulses::new(2));
    handle.stop();
    let address = handle.address();
    // The listener goes when the aborted task does.
    let deadline = Instant::now() + Duration::from_secs(30);
    while std::net::TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < deadline, "the port is still open");
        std::thread::yield_now();
    }
    let (said, heard) = std::sync::mpsc::sync_channel(16);
    let speaker = runtime
        .handle()
        .spawn(async move { said.send(std::thread::current().name().map(str::to_owned)) });
    assert_eq!(heard.recv().unwrap().as_deref(), Some("operations"));
    drop(speaker);
    runtime.stop();
}

#[test]
fn stopping_the_runtime_closes_the_port_and_open_connections() {
    let Port { runtime, handle, .. } = start(Pulses::new(2));
    let mut open = std::net::TcpStream::connect(handle.address()).unwrap();
    runtime.stop();
    assert!(std::net::TcpStream::connect(handle.address()).is_err());
    open.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // End of file, or a reset if the connection had not been accepted yet.
    assert_eq!(open.read(&mut [0; 1]).unwrap_or(0), 0);
}
