//! Three real processes, with a wire that can be cut from each to each other.

use crate::port::Port;
use crate::proxy::Proxy;
use crate::{PATIENCE, signals};
use chat_node::telemetry::metrics::without_node;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

const COUNT: usize = 3;
/// Between two looks at a process.
const LOOK: Duration = Duration::from_millis(5);

struct Node {
    clients: Port,
    peers: Port,
    operations: Port,
    data: PathBuf,
    log: PathBuf,
    peer_nodes: String,
    child: Option<Child>,
}

/// The processes. They end with it.
pub struct Nodes {
    program: PathBuf,
    settings: Vec<String>,
    nodes: Vec<Node>,
    /// From each node to each other, in order.
    wires: Vec<((usize, usize), Proxy)>,
    filler: Option<PathBuf>,
    /// A directory of this run on the small disk.
    small: Option<tempfile::TempDir>,
    work: Option<tempfile::TempDir>,
}

fn reserve() -> Result<Port, String> {
    Port::reserve().map_err(|why| format!("no free port: {why}"))
}

impl Nodes {
    /// Starts three nodes and waits until they are ready. The third has its data on `small_disk` if there is one.
    ///
    /// # Errors
    /// Why they did not become ready.
    pub async fn start(program: &Path, small_disk: Option<&Path>) -> Result<Self, String> {
        Self::start_with(program, small_disk, &[]).await
    }

    /// As [`Self::start`], with further arguments of the program.
    ///
    /// # Errors
    /// Why they did not become ready.
    pub async fn start_with(program: &Path, small_disk: Option<&Path>, settings: &[&str]) -> Result<Self, String> {
        let work = tempfile::tempdir().map_err(|why| format!("no directory: {why}"))?;
        let small = small_disk.map(tempfile::tempdir_in).transpose();
        let small = small.map_err(|why| format!("no directory on the small disk: {why}"))?;
        let mut nodes = Vec::new();
        for n in 0..COUNT {
            let on_small_disk = small.as_ref().filter(|_| n == COUNT - 1);
            let data = on_small_disk.unwrap_or(&work).path().join(format!("node{}", n + 1));
            nodes.push(Node {
                clients: reserve()?,
                peers: reserve()?,
                operations: reserve()?,
                data,
                log: work.path().join(format!("node{}.log", n + 1)),
                peer_nodes: String::new(),
                child: None,
            });
        }
        let mut wires = Vec::new();
        for from in 0..COUNT {
            let mut peers = Vec::new();
            for to in (0..COUNT).filter(|to| *to != from) {
                let wire = Proxy::to(nodes[to].peers.address());
                peers.push(format!("node{}:http://{}", to + 1, wire.address()));
                wires.push(((from, to), wire));
            }
            nodes[from].peer_nodes = peers.join(",");
        }
        let mut this = Self {
            program: program.to_owned(),
            settings: settings.iter().map(|&setting| setting.to_owned()).collect(),
            nodes,
            wires,
            filler: small.as_ref().map(|disk| disk.path().join("filler")),
            small,
            work: Some(work),
        };
        for n in 0..COUNT {
            this.launch(n)?;
        }
        for n in 0..COUNT {
            this.wait_until_ready(n).await?;
        }
        Ok(this)
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Never true; here because clippy expects it beside `len`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Where clients of a node connect.
    #[must_use]
    pub fn url(&self, n: usize) -> String {
        format!("ws://{}", self.nodes[n].clients.address())
    }

    /// Where clients connect, node by node.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        (0..self.len()).map(|n| self.url(n)).collect()
    }

    /// Starts a process.
    ///
    /// # Errors
    /// It could not be started.
    pub fn launch(&mut self, n: usize) -> Result<(), String> {
        let program = self.program.clone();
        let node = &mut self.nodes[n];
        let log = OpenOptions::new().create(true).append(true).open(&node.log);
        let log = log.map_err(|why| format!("no log: {why}"))?;
        let child = Command::new(&program)
            .env_clear()
            .envs(std::env::vars().filter(|(name, _)| name.starts_with("CHAT_")))
            .args(["--node-id", &format!("node{}", n + 1), "--peer-nodes", &node.peer_nodes])
            .args(["--log-level", "info", "--log-format", "text"])
            .args([
                "--websocket-host",
                "127.0.0.1",
                "--websocket-port",
                &node.clients.address().port().to_string(),
            ])
            .args([
                "--xmlrpc-host",
                "127.0.0.1",
                "--xmlrpc-port",
                &node.peers.address().port().to_string(),
            ])
            .args([
                "--operations-host",
                "127.0.0.1",
                "--operations-port",
                &node.operations.address().port().to_string(),
            ])
            .args(["--drain-window-ms", "500"])
            .args(&self.settings)
            .arg("--data-dir")
            .arg(&node.data)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|why| format!("{} does not start: {why}", program.display()))?;
        node.child = Some(child);
        Ok(())
    }

    /// Waits until a node answers that it is ready.
    ///
    /// # Errors
    /// It did not, or it ended.
    pub async fn wait_until_ready(&mut self, n: usize) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if ready(self.nodes[n].operations.address()).await {
                return Ok(());
            }
            let ended = self.nodes[n]
                .child
                .as_mut()
                .and_then(|child| child.try_wait().ok().flatten());
            if let Some(status) = ended {
                return Err(format!("node {} ended with {status}: {}", n + 1, self.last_words(n)));
            }
            if Instant::now() > deadline {
                return Err(format!("node {} is not ready: {}", n + 1, self.last_words(n)));
            }
            sleep(LOOK).await;
        }
    }

    /// Waits until a process is gone.
    ///
    /// # Errors
    /// It is not.
    pub async fn wait_for_end(&mut self, n: usize) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while let Some(child) = &mut self.nodes[n].child {
            match child.try_wait() {
                Ok(Some(_)) => self.nodes[n].child = None,
                _ if Instant::now() > deadline => return Err(format!("node {} does not end", n + 1)),
                _ => sleep(LOOK).await,
            }
        }
        Ok(())
    }

    /// Tells a process to stop, as an upgrade does, starts it again after `down`, and waits until it is ready.
    ///
    /// # Errors
    /// It did not end, or did not come back.
    pub async fn restart(&mut self, n: usize, down: Duration) -> Result<(), String> {
        self.signal(n, "TERM");
        self.wait_for_end(n).await?;
        sleep(down).await;
        self.launch(n)?;
        self.wait_until_ready(n).await
    }

    /// Sends a signal, named as for `kill -s`.
    pub fn signal(&self, n: usize, name: &str) {
        if let Some(child) = &self.nodes[n].child {
            // Whoever is gone cannot be told anything.
            let _there = signals::send(child.id(), name);
        }
    }

    /// Stops a node that runs where it stands, until it is sent `CONT`; returns when it does.
    ///
    /// # Panics
    /// If it ends, or goes on.
    pub async fn freeze(&self, n: usize) {
        if let Some(child) = &self.nodes[n].child {
            signals::freeze(child.id()).await;
        }
    }

    /// The way from one node to another.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn wire(&self, from: usize, to: usize) -> &Proxy {
        let found = self.wires.iter().find(|(ends, _)| *ends == (from, to));
        &found.expect("there is a wire between two nodes").1
    }

    /// Leaves no byte free on the small disk, and waits until its node notices: for a while it may write over what its log
    /// has room for.
    ///
    /// # Errors
    /// There is none, or the node does not notice.
    pub async fn fill_disk(&self) -> Result<(), String> {
        let before = self.store_failures(COUNT - 1).await?;
        let path = self.filler.as_ref().ok_or("there is no small disk")?;
        let mut file = File::create(path).map_err(|why| format!("cannot fill the disk: {why}"))?;
        let block = vec![0; 1 << 16];
        while file.write_all(&block).is_ok() {}
        while file.write_all(&[0]).is_ok() {}
        let deadline = Instant::now() + PATIENCE;
        while self.store_failures(COUNT - 1).await? == before {
            if Instant::now() > deadline {
                return Err("the node with the small disk writes on although its disk is full".into());
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Commits of a node that failed, in its life.
    async fn store_failures(&self, n: usize) -> Result<u64, String> {
        self.metric(n, "chat_store_failures_total").await
    }

    /// What a node says in `/metrics` under a name, with its labels.
    ///
    /// # Errors
    /// It does not answer, or says nothing of that.
    pub async fn metric(&self, n: usize, name: &str) -> Result<u64, String> {
        let metrics = ask(self.nodes[n].operations.address(), "/metrics").await;
        let metrics = metrics.map_err(|why| format!("node {} says nothing of itself: {why}", n + 1))?;
        let metrics = without_node(&metrics);
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let count = line.and_then(|count| count.trim().parse().ok());
        count.ok_or_else(|| format!("node {} has no count of {name}", n + 1))
    }

    /// The disk is as before.
    pub fn free_disk(&self) {
        if let Some(path) = &self.filler {
            drop(std::fs::remove_file(path));
        }
    }

    /// Resident memory of a node, in bytes.
    #[must_use]
    pub fn memory(&self, n: usize) -> u64 {
        let Some(child) = &self.nodes[n].child else { return 0 };
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
        kib.unwrap_or(0) << 10
    }

    /// The end of a node's log.
    fn last_words(&self, n: usize) -> String {
        let log = std::fs::read_to_string(&self.nodes[n].log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }

    /// The logs and the data stay where they are: here.
    pub fn keep_logs(&mut self) -> Option<PathBuf> {
        drop(self.small.take().map(tempfile::TempDir::keep));
        self.work.take().map(tempfile::TempDir::keep)
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.free_disk();
        for node in &mut self.nodes {
            if let Some(child) = &mut node.child {
                drop(child.kill());
                drop(child.wait());
            }
        }
    }
}

async fn ready(at: SocketAddr) -> bool {
    let answer = tokio::time::timeout(Duration::from_secs(1), ask(at, "/ready")).await;
    answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")))
}

/// What the operations port says at a path, head and body.
async fn ask(at: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(at).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
