//! Whole nodes for tests: started in this process on free ports, talked to over real sockets.

pub mod chaos;
pub mod collector;
pub mod extended;
pub mod mixed;
pub mod original;
pub mod port;
pub mod proxy;
pub mod scripted_peer;
pub mod signals;
pub mod snare;
pub mod terminal;

use chat_client::{ConnectOptions, RawConnection, RawFrame, request};
use chat_node::config::{Config, StoreKind};
use chat_node::telemetry::metrics::{Metrics, without_node};
use chat_node::{Addresses, Listeners, RunError, Shutdown};
use chat_protocol::ids::{Incarnation, NodeId};
use port::Port;
use serde_json::Value;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Longest wait for anything in a test. Reaching it is a failure, so it is generous.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running node.
pub struct TestNode {
    /// Where it listens.
    pub addresses: Addresses,
    /// Stops it.
    pub shutdown: Shutdown,
    running: JoinHandle<Result<(), RunError>>,
}

impl TestNode {
    /// A node with the memory store and default limits.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// A node whose configuration was changed first.
    ///
    /// # Panics
    /// If it cannot be started.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::test(NodeId::parse("node1").expect("valid"));
        change(&mut config);
        let listeners = Listeners::bind(&config).expect("free ports can be bound");
        Self::run(config, listeners)
    }

    fn run(config: Config, listeners: Listeners) -> Self {
        let addresses = listeners.addresses().expect("bound ports have addresses");
        let shutdown = Shutdown::default();
        let metrics = Metrics::new(&config.node_id);
        let running = tokio::spawn(chat_node::run(config, listeners, shutdown.clone(), metrics));
        Self {
            addresses,
            shutdown,
            running,
        }
    }

    /// Where clients connect.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://{}", self.addresses.websocket)
    }

    /// A new client.
    ///
    /// # Panics
    /// If the node does not take it.
    pub async fn client(&self) -> Client {
        self.client_at("/").await
    }

    /// A new client on a path.
    ///
    /// # Panics
    /// If the node does not take it.
    pub async fn client_at(&self, path: &str) -> Client {
        let url = format!("{}{path}", self.url());
        Client(
            RawConnection::connect(&url, &options())
                .await
                .expect("the node accepts clients"),
        )
    }

    /// What the operations port says at a path; head and body.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn operations(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.addresses.operations)
            .await
            .expect("the port is open");
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream
            .write_all(request.as_bytes())
            .await
            .expect("the request is taken");
        let mut answer = String::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await;
        read.expect("the port answers in time").expect("the answer is text");
        answer
    }

    /// What `/metrics` says, without the label that every series has.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn metrics(&self) -> String {
        without_node(&self.operations("/metrics").await)
    }

    /// What `/metrics` says of one figure, summed up over its labels.
    ///
    /// # Panics
    /// If it does not answer, or has no such figure.
    pub async fn metric(&self, name: &str) -> u64 {
        let metrics = self.metrics().await;
        let series = metrics.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with([' ', '{']))
        });
        let values = series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok());
        let values: Vec<u64> = values.collect();
        assert!(!values.is_empty(), "{name} is missing");
        values.into_iter().sum()
    }

    /// Waits until a figure, summed up over its labels, is at least this.
    ///
    /// # Panics
    /// If it stays below.
    pub async fn wait_for_metric(&self, name: &str, least: u64) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.metric(name).await < least {
            assert!(tokio::time::Instant::now() < deadline, "{name} stays below {least}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Stops the node and waits for its end.
    ///
    /// # Errors
    /// How it ended.
    ///
    /// # Panics
    /// If it does not end.
    pub async fn stop(self) -> Result<(), RunError> {
        self.shutdown.request();
        self.ended().await
    }

    /// Waits for the end of a node that was told to stop.
    ///
    /// # Errors
    /// How it ended.
    ///
    /// # Panics
    /// If it does not end.
    pub async fn ended(self) -> Result<(), RunError> {
        let ended = tokio::time::timeout(PATIENCE, self.running).await;
        ended
            .expect("a node that is told to stop ends")
            .expect("a node does not panic")
    }
}

/// Several nodes that know each other.
pub struct TestCluster {
    configs: Vec<Config>,
    nodes: Vec<Option<TestNode>>,
    /// They stay the nodes' own while those are down.
    _ports: Vec<Port>,
    _data: tempfile::TempDir,
}

impl TestCluster {
    /// `count` nodes, `node1` and so on, with the local store, heartbeats every 50 ms and failure after 300 ms.
    ///
    /// # Panics
    /// If they cannot be started.
    pub async fn start(count: usize) -> Self {
        Self::start_with(count, |_| {}).await
    }

    /// A cluster whose configurations were changed first.
    ///
    /// # Panics
    /// If it cannot be started.
    pub async fn start_with(count: usize, change: impl Fn(&mut Config)) -> Self {
        let data = tempfile::tempdir().expect("a directory");
        let id = |n: usize| NodeId::parse(&format!("node{n}")).expect("valid");
        let mut configs: Vec<_> = (1..=count).map(|n| Config::test(id(n))).collect();
        let ports: Vec<_> = std::iter::repeat_with(|| Port::reserve().expect("a free port"))
            .take(3 * count)
            .collect();
        let own: Vec<_> = ports
            .chunks(3)
            .map(|own| own.iter().map(Port::address).collect::<Vec<_>>())
            .collect();
        for (n, config) in configs.iter_mut().enumerate() {
            config.store = StoreKind::Local;
            config.data_dir = data.path().join(config.node_id.as_str());
            config.limits.heartbeat_interval = Duration::from_millis(50);
            config.limits.heartbeat_failed = Duration::from_millis(300);
            config.limits.seat_grace = Duration::from_millis(1_000);
            config.websocket.port = own[n][0].port();
            config.xmlrpc.port = own[n][1].port();
            config.operations.port = own[n][2].port();
            config.xmlrpc_address = format!("http://{}", own[n][1]);
            for (other, of) in own.iter().enumerate().filter(|(other, _)| *other != n) {
                let url = format!("http://{}/", of[1]).parse().expect("a URL");
                config.peers.insert(id(other + 1), url);
            }
            change(config);
        }
        let start = |config: &Config| {
            let listeners = Listeners::bind(config).expect("reserved ports can be bound");
            Some(TestNode::run(config.clone(), listeners))
        };
        let nodes = configs.iter().map(start).collect();
        let this = Self {
            configs,
            nodes,
            _ports: ports,
            _data: data,
        };
        for n in 1..=count {
            this.wait_until_connected(n, count).await;
        }
        this
    }

    /// A node, counted from 1.
    ///
    /// # Panics
    /// If it does not run.
    #[must_use]
    pub fn node(&self, n: usize) -> &TestNode {
        self.nodes[n - 1].as_ref().expect("the node runs")
    }

    /// Ends a node without any farewell to its peers.
    ///
    /// # Panics
    /// If it does not end.
    pub async fn crash(&mut self, n: usize) {
        let node = self.nodes[n - 1].take().expect("the node runs");
        node.shutdown.force();
        node.ended().await.expect("a forced stop is no failure");
    }

    /// A node that does not run has an empty data directory from now on.
    ///
    /// # Panics
    /// If the old one cannot be removed.
    pub fn lose_disk(&self, n: usize) {
        assert!(self.nodes[n - 1].is_none(), "a node that runs keeps its disk");
        std::fs::remove_dir_all(&self.configs[n - 1].data_dir).expect("the directory can be removed");
    }

    /// The last life of a node that does not run was this one, whatever its clock says now.
    ///
    /// # Panics
    /// If the node has no database.
    pub fn pretend_former_life(&self, n: usize, life: Incarnation) {
        let path = self.configs[n - 1].data_dir.join("chat.db");
        let database = rusqlite::Connection::open(path).expect("there is a database");
        let sql = "UPDATE meta SET value = ?1 WHERE name = 'incarnation'";
        let changed = database.execute(sql, [life.to_string()]).expect("it can be written");
        assert_eq!(changed, 1, "there was a life before");
    }

    /// Starts a node again, at its old addresses, on what its disk holds.
    ///
    /// # Panics
    /// If it cannot be started.
    pub async fn restart(&mut self, n: usize) {
        let config = self.configs[n - 1].clone();
        let listeners = Listeners::bind(&config).expect("the old ports are reserved");
        self.nodes[n - 1] = Some(TestNode::run(config, listeners));
        let running = self.nodes.iter().flatten().count();
        self.wait_until_connected(n, running).await;
    }

    /// Waits until a node sees that so many nodes of this cluster are there.
    ///
    /// # Panics
    /// If that does not happen.
    pub async fn wait_until_connected(&self, n: usize, count: usize) {
        let mut client = self.node(n).client().await;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let list = client.ask(&request::discover_rooms()).await;
            let available = list["data"]["nodes_available"].as_array();
            let ours = |id: &&Value| self.configs.iter().any(|c| id.as_str() == Some(c.node_id.as_str()));
            if available.is_some_and(|nodes| nodes.iter().filter(ours).count() == count) {
                return;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "node{n} does not see {count} nodes: {list}"
            );
            tokio::task::yield_now().await;
        }
    }
}

/// Options of a client that pings nobody.
#[must_use]
pub fn options() -> ConnectOptions {
    ConnectOptions {
        ping_every: None,
        ..ConnectOptions::default()
    }
}

/// A client that looks at every frame.
pub struct Client(pub RawConnection);

impl Client {
    /// Sends a text.
    ///
    /// # Panics
    /// If the connection is gone.
    pub async fn say(&mut self, text: &str) {
        self.0.queue_text(text.to_owned()).expect("the connection takes a text");
        self.0.flush().await.expect("the connection is open");
    }

    /// The next frame as JSON.
    ///
    /// # Panics
    /// If there is none, or it is no JSON.
    pub async fn next(&mut self) -> Value {
        match tokio::time::timeout(PATIENCE, self.0.next())
            .await
            .expect("a frame comes in time")
        {
            RawFrame::Text(text) => serde_json::from_str(text.as_str()).expect("a frame is JSON"),
            other => panic!("expected a text frame, got {other:?}"),
        }
    }

    /// The close code with which the connection ends; frames before it are skipped.
    ///
    /// # Panics
    /// If it does not end.
    pub async fn close_code(&mut self) -> Option<u16> {
        loop {
            match tokio::time::timeout(PATIENCE, self.0.next())
                .await
                .expect("the connection ends in time")
            {
                RawFrame::Closed(closed) => return closed.code,
                RawFrame::Text(_) | RawFrame::Binary(_) => {}
            }
        }
    }

    /// Sends a request and takes the next frame as its answer.
    pub async fn ask(&mut self, text: &str) -> Value {
        self.say(text).await;
        self.next().await
    }

    /// Creates a room and gives its id.
    ///
    /// # Panics
    /// If there is no room.
    pub async fn create(&mut self, name: &str) -> String {
        let created = self.ask(&request::create_room(name, "ines", None)).await;
        assert_eq!(created["type"], "room_created", "{created}");
        created["data"]["room_id"]
            .as_str()
            .expect("a created room has an id")
            .to_owned()
    }

    /// Joins a room and gives the answer.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn join(&mut self, room: &str, user: &str) -> Value {
        let joined = self.ask(&request::join_room(room, user)).await;
        assert_eq!(joined["type"], "join_room_success", "{joined}");
        joined
    }

    /// Sends a message and gives its number, after the message itself and the confirmation came in that order.
    ///
    /// # Panics
    /// If anything else comes.
    pub async fn send(&mut self, room: &str, user: &str, content: &str) -> u64 {
        let shown = self.ask(&request::send_message(room, user, content)).await;
        assert_eq!(
            (&shown["type"], &shown["data"]["content"]),
            (&"new_message".into(), &content.into()),
            "{shown}"
        );
        let sent = self.next().await;
        assert_eq!(sent["type"], "message_sent", "{sent}");
        assert_eq!(sent["data"]["sequence_number"], shown["data"]["sequence_number"]);
        assert_eq!(sent["data"]["message_id"], shown["data"]["message_id"]);
        sent["data"]["sequence_number"]
            .as_u64()
            .expect("a message has a number")
    }
}
