//! A stand-in for an original node: a process in Python, see `tests/original/README.md`.

use crate::port::Port;
use crate::{Client, PATIENCE, options, signals};
use chat_client::RawConnection;
use chat_protocol::peer_xml::{RemoteFault, XmlLimits, read_response, write_call};
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, sleep, timeout};

/// Names the Python that has the library `websockets`.
const PYTHON: &str = "CHAT_ORIGINAL_PYTHON";
const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/original");
const HOW_TO_INSTALL: &str = "These tests run a stand-in for an original node, which needs Python 3.11 or newer and its library \
    websockets. On Debian 12:\n    sudo apt-get install python3 python3-venv\n    \
    python3 -m venv ~/.cache/chat-node/python\n    \
    ~/.cache/chat-node/python/bin/pip install -r tests/original/requirements.txt\n    \
    export CHAT_ORIGINAL_PYTHON=~/.cache/chat-node/python/bin/python3";
/// Between two looks at something that has to happen.
const LOOK: Duration = Duration::from_millis(5);
/// Answers that nobody has fetched yet. Each order waits for its own, so there is never more than one.
const ANSWERS: usize = 4;

/// A stand-in. It is killed when it is dropped.
pub struct Original {
    id: String,
    options: Vec<String>,
    websocket: Port,
    xmlrpc: Port,
    peers: Vec<(String, String)>,
    process: Option<Process>,
}

impl Original {
    /// Starts one that knows nobody, at ports that stay its own while it is down.
    ///
    /// # Panics
    /// If it cannot be started; the text says what to install.
    pub async fn start(id: &str) -> Self {
        Self::start_with(id, &[]).await
    }

    /// Starts one with command-line options.
    ///
    /// # Panics
    /// As [`Original::start`].
    pub async fn start_with(id: &str, options: &[&str]) -> Self {
        let mut this = Self {
            id: id.to_owned(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            websocket: Port::reserve().expect("a free port"),
            xmlrpc: Port::reserve().expect("a free port"),
            peers: Vec::new(),
            process: None,
        };
        this.restart().await;
        this
    }

    /// Its node id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where clients connect.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://{}", self.websocket.address())
    }

    /// Where other nodes call it.
    #[must_use]
    pub fn rpc_url(&self) -> String {
        format!("http://{}", self.xmlrpc.address())
    }

    /// A new client.
    ///
    /// # Panics
    /// If it is not taken.
    pub async fn client(&self) -> Client {
        let connection = RawConnection::connect(&self.url(), &options()).await;
        Client(connection.expect("the stand-in accepts clients"))
    }

    /// Other nodes are these from now on, ids and URLs, after a restart as well.
    ///
    /// # Panics
    /// If it does not run.
    pub async fn set_peers(&mut self, peers: Vec<(String, String)>) {
        self.peers = peers;
        self.tell_peers().await;
    }

    async fn tell_peers(&self) {
        let words: Vec<_> = self.peers.iter().map(|(id, url)| format!(" {id}={url}")).collect();
        self.order(&format!("peers{}", words.concat())).await;
    }

    /// Gives an order (a line, see `tests/original/README.md`), and the answer when it is done. Whoever stops waiting
    /// leaves the answer to the next order.
    ///
    /// # Panics
    /// If it does not run, does not answer, or does not understand.
    pub async fn order(&self, line: &str) -> Value {
        let process = self.process.as_ref().expect("the stand-in runs");
        let answer = process.order(line).await;
        let answer = answer.unwrap_or_else(|why| panic!("{}: {line}: {why}", self.id));
        assert!(answer["error"].is_null(), "{}: {answer}", self.id);
        answer
    }

    /// What it was called (`received`: method → number), what it called (`made`: method → `ok` and `failed`), how others
    /// are (`health`: node → text) and its `rooms` (room → `state` and `members`, name → node).
    pub async fn report(&self) -> Value {
        self.order("report").await
    }

    /// Waits until the report is as wanted, and gives it.
    ///
    /// # Panics
    /// If that does not happen.
    pub async fn report_until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let report = self.report().await;
            if wanted(&report) {
                return report;
            }
            assert!(Instant::now() < deadline, "{}: {report}", self.id);
            sleep(LOOK).await;
        }
    }

    /// Calls one of its methods as another node would.
    ///
    /// # Errors
    /// It answered a fault.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn call(&self, method: &str, params: &[dxr::Value]) -> Result<dxr::Value, RemoteFault> {
        let body = write_call(method, params);
        let head = format!(
            "POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let exchange = async {
            let mut stream = TcpStream::connect(self.xmlrpc.address()).await?;
            stream.write_all(format!("{head}{body}").as_bytes()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            std::io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        let answer = timeout(PATIENCE, exchange).await.expect("an answer in time");
        let answer = answer.expect("the stand-in takes calls");
        let (_, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        read_response(body.as_bytes(), XmlLimits::RESPONSE).expect("an XML-RPC answer")
    }

    /// Kills it: no farewell, and it forgets everything.
    ///
    /// # Panics
    /// If it does not run.
    pub fn kill(&mut self) {
        drop(self.process.take().expect("the stand-in runs"));
    }

    /// Lets it end in an orderly way: clients are closed with 1001, other nodes are not told.
    ///
    /// # Panics
    /// If it does not run, or does not end.
    pub async fn stop(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("the stand-in runs");
        process.signal("INT");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = process.child.try_wait().expect("a child can be looked at") {
                return status;
            }
            assert!(Instant::now() < deadline, "{} does not end", self.id);
            sleep(LOOK).await;
        }
    }

    /// Starts it again at its old addresses, with nothing but its peers and the options it was started with.
    ///
    /// # Panics
    /// If it cannot be started.
    pub async fn restart(&mut self) {
        assert!(self.process.is_none(), "a stand-in that runs cannot be started");
        match self.launch().await {
            Ok(process) => self.process = Some(process),
            Err(why) => panic!("{}: {why}", self.id),
        }
        self.tell_peers().await;
    }

    async fn launch(&self) -> Result<Process, String> {
        let environment = [
            ("NODE_ID", self.id.clone()),
            ("WEBSOCKET_HOST", self.websocket.address().ip().to_string()),
            ("WEBSOCKET_PORT", self.websocket.address().port().to_string()),
            ("XMLRPC_HOST", self.xmlrpc.address().ip().to_string()),
            ("XMLRPC_PORT", self.xmlrpc.address().port().to_string()),
            ("XMLRPC_ADDRESS", self.rpc_url()),
            ("PEER_NODES", String::new()),
        ];
        Process::launch(&python(), &environment, &self.options).await
    }

    /// It stands still from now on: its ports take connections, and that is all.
    ///
    /// # Panics
    /// If it does not run.
    pub async fn freeze(&self) {
        let process = self.process.as_ref().expect("the stand-in runs");
        signals::freeze(process.child.id()).await;
    }

    /// It goes on.
    ///
    /// # Panics
    /// If it does not run.
    pub fn thaw(&self) {
        self.process.as_ref().expect("the stand-in runs").signal("CONT");
    }
}

/// The Python that is named, or the one where the page of the stand-in says to make it, or whatever there is.
fn python() -> OsString {
    let made = || {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache")))?;
        let python = cache.join("chat-node/python/bin/python3");
        python.exists().then(|| python.into_os_string())
    };
    std::env::var_os(PYTHON)
        .filter(|named| !named.is_empty())
        .or_else(made)
        .unwrap_or_else(|| OsString::from("python3"))
}

struct Process {
    child: Child,
    lines: Mutex<(ChildStdin, mpsc::Receiver<String>)>,
    log: NamedTempFile,
}

impl Process {
    /// Starts a process and waits until it is ready.
    async fn launch(python: &OsStr, environment: &[(&str, String)], options: &[String]) -> Result<Self, String> {
        let broken = |what: &str, why: std::io::Error| format!("{what}: {why}");
        let log = NamedTempFile::new().map_err(|why| broken("no log", why))?;
        let errors = log.reopen().map_err(|why| broken("no log", why))?;
        let child = Command::new(python)
            .args(["-B", "-m", "original_node", "--control"])
            .args(options)
            .current_dir(DIRECTORY)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn();
        let mut child = child.map_err(|why| {
            let python = python.display();
            format!("{python} cannot be started: {why}.\n{HOW_TO_INSTALL}")
        })?;
        let orders = child.stdin.take().ok_or("no standard input")?;
        let output = child.stdout.take().ok_or("no standard output")?;
        let (heard, answers) = mpsc::channel(ANSWERS);
        // Ends with the process.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if heard.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        let this = Self {
            child,
            lines: Mutex::new((orders, answers)),
            log,
        };
        match next_answer(&mut this.lines.lock().await.1).await {
            Some(ready) if ready["ready"] == true => {}
            _ => {
                let log = this.log();
                return Err(format!("it does not become ready:\n{log}\n{HOW_TO_INSTALL}"));
            }
        }
        Ok(this)
    }

    async fn order(&self, line: &str) -> Result<Value, String> {
        let mut lines = self.lines.lock().await;
        let (orders, answers) = &mut *lines;
        writeln!(orders, "{line}").map_err(|why| format!("{why}; {}", self.log()))?;
        let answer = next_answer(answers).await;
        answer.ok_or_else(|| format!("no answer; {}", self.log()))
    }

    /// What it wrote to standard error.
    fn log(&self) -> String {
        let mut text = String::new();
        match self.log.reopen().and_then(|mut log| log.read_to_string(&mut text)) {
            Ok(_) => text,
            Err(why) => format!("its log cannot be read: {why}"),
        }
    }

    fn signal(&self, name: &str) {
        assert!(signals::send(self.child.id(), name), "it is gone");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The next line, if one comes in time and is JSON.
async fn next_answer(answers: &mut mpsc::Receiver<String>) -> Option<Value> {
    let line = timeout(PATIENCE, answers.recv()).await.ok().flatten()?;
    serde_json::from_str(&line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_machine_without_python_or_the_library_is_told_what_to_install() {
        let why = Process::launch(OsStr::new("no-such-python"), &[], &[])
            .await
            .err()
            .unwrap();
        assert!(why.starts_with("no-such-python cannot be started: "), "{why}");
        assert!(why.contains("apt-get install python3"), "{why}");
        // A Python without the library says what is missing, and ends.
        let without = tempfile::tempdir().unwrap();
        std::fs::write(without.path().join("websockets.py"), "raise ImportError").unwrap();
        let environment = [("PYTHONPATH", without.path().display().to_string())];
        let why = Process::launch(&python(), &environment, &[]).await.err().unwrap();
        assert!(
            why.contains("The Python library websockets (15 or newer) is missing"),
            "{why}"
        );
        assert!(why.contains("pip install"), "{why}");
    }

    #[tokio::test]
    async fn a_stand_in_is_killed_stopped_frozen_and_started_again_at_its_addresses() {
        let mut node = Original::start("node1").await;
        node.set_peers(vec![("node2".into(), "http://127.0.0.1:1".into())])
            .await;
        let mut client = node.client().await;
        client.create("hall").await;
        assert_eq!(node.report().await["rooms"].as_object().unwrap().len(), 1);
        assert!(node.stop().await.success());
        assert_eq!(client.close_code().await, Some(1001));
        node.restart().await;
        assert_eq!(node.report().await["rooms"], serde_json::json!({}));
        assert!(node.call("heartbeat", &[]).await.is_ok());
        assert!(node.call("dance", &[]).await.is_err());
        node.order("fault heartbeat").await;
        assert!(node.call("heartbeat", &[]).await.is_err());
        node.order("calm").await;
        node.freeze().await;
        let silent = timeout(Duration::from_millis(200), node.call("heartbeat", &[])).await;
        assert!(silent.is_err(), "frozen");
        node.thaw();
        assert!(node.call("heartbeat", &[]).await.is_ok());
        node.kill();
        node.restart().await;
        // Its peers are still the same.
        let mut client = node.client().await;
        let list = client.ask(&chat_client::request::discover_rooms()).await;
        assert_eq!(
            list["data"]["nodes_unavailable"],
            serde_json::json!(["node2"]),
            "{list}"
        );
    }
}
