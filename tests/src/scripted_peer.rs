//! A peer that plays a node of the original system from a script.
//!
//! It takes one connection at a time, answers one call on it and closes it, as the original does: while it hangs, nobody
//! else is served. What it was asked is kept.

use crate::PATIENCE;
use chat_protocol::peer_xml::{self, XmlLimits};
use dxr::Value;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// What the peer does with a call.
#[derive(Debug, Clone)]
pub enum Says {
    /// It answers.
    Value(Value),
    /// It refuses.
    Fault(&'static str),
    /// It closes the connection without an answer.
    HangsUp,
}

#[derive(Debug)]
struct State {
    /// Calls that nobody has looked at, without those that keep the cluster together.
    calls: Mutex<VecDeque<(String, Vec<Value>)>>,
    called: Notify,
    /// What is said next to a method; the last one stays.
    script: Mutex<HashMap<&'static str, VecDeque<Says>>>,
    hangs: watch::Sender<bool>,
}

/// The peer.
#[derive(Debug)]
pub struct ScriptedPeer {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
    serving: JoinHandle<()>,
}

impl Drop for ScriptedPeer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A text.
#[must_use]
pub fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// A struct.
#[must_use]
pub fn members<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    let pairs = pairs.into_iter().map(|(name, value)| (name.to_owned(), value));
    Value::Struct(pairs.collect())
}

/// The members of a struct.
///
/// # Panics
/// If it is none.
#[must_use]
pub fn as_struct(value: &Value) -> &BTreeMap<String, Value> {
    match value {
        Value::Struct(members) => members,
        other => panic!("a struct, not {other:?}"),
    }
}

impl ScriptedPeer {
    /// A peer that calls itself `id`, knows no room, and agrees with everything it is told.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn start(id: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self::on(listener, id)
    }

    fn on(listener: TcpListener, id: &str) -> Self {
        let address = listener.local_addr().expect("a bound port has an address");
        let heartbeat = members([
            ("status", text("ok")),
            ("node_id", text(id)),
            ("timestamp", text("2026-01-01T00:00:00Z")),
        ]);
        let script = HashMap::from([
            ("heartbeat", VecDeque::from([Says::Value(heartbeat)])),
            (
                "get_hosted_rooms",
                VecDeque::from([Says::Value(Value::Array(Vec::new()))]),
            ),
            (
                "receive_message_broadcast",
                VecDeque::from([Says::Value(Value::Boolean(true))]),
            ),
            (
                "receive_member_event_broadcast",
                VecDeque::from([Says::Value(Value::Boolean(true))]),
            ),
        ]);
        let state = Arc::new(State {
            calls: Mutex::default(),
            called: Notify::new(),
            script: Mutex::new(script),
            hangs: watch::Sender::new(false),
        });
        let serving = {
            let state = Arc::clone(&state);
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    serve(stream, &state).await;
                }
            })
        };
        Self {
            address,
            state,
            serving,
        }
    }

    /// What the peer says to the next calls of a method, in order; the last one is said for ever.
    pub fn says(&self, method: &'static str, what: impl IntoIterator<Item = Says>) {
        lock(&self.state.script).insert(method, what.into_iter().collect());
    }

    /// From now on the peer takes calls and answers none, or goes on with the one that it has taken.
    pub fn hang(&self, hangs: bool) {
        self.state.hangs.send_replace(hangs);
    }

    /// The next call that was not looked at, without heartbeats, questions for rooms and for capabilities.
    ///
    /// # Panics
    /// If there is none in time.
    pub async fn next_call(&self) -> (String, Vec<Value>) {
        let next = async {
            loop {
                let called = self.state.called.notified();
                if let Some(call) = lock(&self.state.calls).pop_front() {
                    return call;
                }
                called.await;
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("a call in time")
    }

    /// The next call, which is of this method; its parameters.
    ///
    /// # Panics
    /// If it is another one.
    pub async fn next_of(&self, method: &str) -> Vec<Value> {
        let (name, params) = self.next_call().await;
        assert_eq!(name, method, "{params:?}");
        params
    }

    /// The next message that the peer is to show: its number and its content.
    ///
    /// # Panics
    /// If the next call is another one.
    pub async fn next_message(&self) -> (i32, String) {
        let params = self.next_of("receive_message_broadcast").await;
        let message = as_struct(&params[1]);
        match (&message["sequence_number"], &message["content"]) {
            (Value::Integer(number), Value::String(content)) => (*number, content.clone()),
            other => panic!("a message, not {other:?}"),
        }
    }

    /// True if no call waits to be looked at.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        lock(&self.state.calls).is_empty()
    }
}

async fn serve(stream: TcpStream, state: &State) {
    let mut stream = BufReader::new(stream);
    let Some(body) = read_body(&mut stream).await else {
        return;
    };
    let Ok(call) = peer_xml::read_call(&body, XmlLimits::REQUEST) else {
        return;
    };
    let says = {
        let mut script = lock(&state.script);
        match script.get_mut(call.method.as_str()) {
            Some(lines) if lines.len() > 1 => lines.pop_front(),
            Some(lines) => lines.front().cloned(),
            None => None,
        }
    };
    if !matches!(
        call.method.as_str(),
        "heartbeat" | "get_hosted_rooms" | "chat.capabilities"
    ) {
        lock(&state.calls).push_back((call.method.clone(), call.params));
        state.called.notify_waiters();
    }
    // The sender goes with the peer.
    drop(state.hangs.subscribe().wait_for(|hangs| !hangs).await);
    let body = match says {
        Some(Says::HangsUp) => return,
        Some(Says::Value(value)) => peer_xml::write_response(&value),
        Some(Says::Fault(why)) => peer_xml::write_fault(1, why),
        None => peer_xml::write_fault(
            1,
            &format!("<class 'Exception'>:method \"{}\" is not supported", call.method),
        ),
    };
    let head = format!(
        "HTTP/1.0 200 OK\r\nContent-type: text/xml\r\nContent-length: {}\r\n\r\n",
        body.len()
    );
    // Whoever hung up hears nothing.
    drop(stream.get_mut().write_all(format!("{head}{body}").as_bytes()).await);
    drop(stream.get_mut().shutdown().await);
}

/// The body of the next request or answer, if the connection has one.
async fn read_body(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(body)
}

/// Calls a method at the peer port of a node, as the original does: one call, one connection, which it closes when it has
/// the answer.
///
/// # Errors
/// The fault that is answered.
///
/// # Panics
/// If there is no answer in time.
pub async fn call(at: SocketAddr, method: &str, params: &[Value]) -> Result<Value, peer_xml::RemoteFault> {
    let mut stream = BufReader::new(send_call(at, method, params).await);
    let answer = tokio::time::timeout(PATIENCE, read_body(&mut stream)).await;
    let body = answer.expect("an answer in time").expect("an HTTP answer");
    peer_xml::read_response(&body, XmlLimits::RESPONSE).expect("an XML-RPC answer")
}

/// Sends a call and leaves the answer to whoever holds the connection.
///
/// # Panics
/// If the node does not take it.
pub async fn send_call(at: SocketAddr, method: &str, params: &[Value]) -> TcpStream {
    let body = peer_xml::write_call(method, params);
    let request = format!(
        "POST /RPC2 HTTP/1.1\r\nHost: node\r\nAccept-Encoding: gzip\r\nContent-Type: text/xml\r\n\
         User-Agent: Python-xmlrpc/3.11\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(at).await.expect("the port is open");
    stream.write_all(request.as_bytes()).await.expect("the call is taken");
    stream
}

/// Limits that suit tests with nodes of the original: what takes half a minute takes a moment.
pub fn hasten(limits: &mut chat_node::config::Limits) {
    limits.heartbeat_interval = Duration::from_millis(50);
    limits.original_heartbeat = Duration::from_millis(200);
    limits.original_failed = Duration::from_millis(1_500);
    limits.original_call_timeout = Duration::from_millis(1_000);
    limits.peer_connect_timeout = Duration::from_millis(500);
    limits.original_wait = Duration::from_millis(2_000);
}
