//! Neighbours that do harm: connections to a node's ports that use everything that it holds for others, as long as it lets
//! them. Run beside `run`, it shows what they cost the good ones.
//!
//! Each kind of misbehaviour is one function that goes on until the server ends the connection or nothing is left to try;
//! then the next connection of the kind does it again.

mod clients;
mod peers;
mod wire;

use crate::CannotRun;
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

/// Arguments of `hostile`.
#[derive(Debug, Clone, Args)]
pub struct HostileArgs {
    /// The client port of a node.
    #[arg(long, default_value = "ws://127.0.0.1:8080")]
    pub clients: String,
    /// The peer port of the node; without it only clients misbehave.
    #[arg(long)]
    pub peers: Option<String>,
    /// From this address of this machine, say 127.0.0.2.
    #[arg(long)]
    pub from: Option<IpAddr>,
    /// Connections that are open, or trying to be, at the same time; the kinds of misbehaviour take turns.
    #[arg(long, default_value_t = 200)]
    pub connections: usize,
    /// For so long.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Milliseconds between two things that one connection does: a ping, a bomb, a byte.
    #[arg(long, default_value_t = 500)]
    pub pace_ms: u64,
    /// Only these kinds, separated by commas; see the report for their names.
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// Report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// A kind of misbehaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A client that says nothing.
    SilentClient,
    /// A client that sends its HTTP head byte by byte.
    SlowHead,
    /// A frame of a mebibyte that lacks its last byte.
    HalfFrame,
    /// A message in fragments that never ends, with pings between them.
    HalfMessage,
    /// Pings, and nothing else.
    PingsOnly,
    /// Joins rooms and asks for lists, and never reads.
    NeverReads,
    /// Frames that announce more than is allowed.
    OversizedFrame,
    /// A mebibyte of JSON that would take a hundred in memory.
    JsonBomb,
    /// A peer that says nothing.
    SilentPeer,
    /// A peer that sends the body of a call byte by byte.
    SlowBody,
    /// Documents that would take much more than their size.
    XmlBomb,
    /// Calls whose answers are never read.
    GreedyPeer,
    /// Calls that ask for as much as a call may.
    LongCalls,
}

/// Those that a client port is enough for.
const OF_CLIENTS: [Kind; 8] = [
    Kind::SilentClient,
    Kind::SlowHead,
    Kind::HalfFrame,
    Kind::HalfMessage,
    Kind::PingsOnly,
    Kind::NeverReads,
    Kind::OversizedFrame,
    Kind::JsonBomb,
];

const OF_PEERS: [Kind; 5] = [
    Kind::SilentPeer,
    Kind::SlowBody,
    Kind::XmlBomb,
    Kind::GreedyPeer,
    Kind::LongCalls,
];

impl Kind {
    /// As it is called in reports and in `--only`.
    #[must_use]
    pub fn name(self) -> String {
        serde_json::to_value(self)
            .ok()
            .and_then(|name| name.as_str().map(str::to_owned))
            .unwrap_or_default()
    }
}

/// What the connections of one kind did.
#[derive(Debug, Default)]
struct Count {
    connected: AtomicU64,
    failed: AtomicU64,
    acts: AtomicU64,
    answers: AtomicU64,
    ended: AtomicU64,
}

impl Count {
    fn acted(&self) {
        self.acts.fetch_add(1, Ordering::Relaxed);
    }

    fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }
}

/// The same, for people and for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct KindReport {
    /// Connections that were opened.
    pub connected: u64,
    /// Connections that could not be opened.
    pub failed: u64,
    /// Bytes, pings, frames, documents: whatever the kind does.
    pub acts: u64,
    /// Answers that came.
    pub answers: u64,
    /// Connections that the server ended.
    pub ended_by_server: u64,
}

/// The result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostileReport {
    /// By kind.
    pub kinds: BTreeMap<String, KindReport>,
}

/// Where and how fast.
#[derive(Debug)]
struct Attack {
    clients: String,
    peers: Option<String>,
    from: Option<IpAddr>,
    pace: Duration,
}

/// Misbehaves for the time that was asked for.
///
/// # Errors
/// If an address or a kind is none, or no connection at all could be opened.
pub async fn attack(args: &HostileArgs) -> Result<HostileReport, CannotRun> {
    let attack = Arc::new(Attack {
        clients: authority(&args.clients, "ws://")?,
        peers: args.peers.as_deref().map(|url| authority(url, "http://")).transpose()?,
        from: args.from,
        pace: Duration::from_millis(args.pace_ms.max(1)),
    });
    let kinds = chosen(args)?;
    let counts: BTreeMap<Kind, Arc<Count>> = kinds.iter().map(|kind| (*kind, Arc::default())).collect();
    let deadline = Instant::now() + Duration::try_from_secs_f64(args.seconds).unwrap_or_default();
    let mut tasks = JoinSet::new();
    for (kind, count) in kinds
        .iter()
        .cycle()
        .take(args.connections)
        .map(|kind| (*kind, &counts[kind]))
    {
        let (attack, count) = (Arc::clone(&attack), Arc::clone(count));
        tasks.spawn(timeout_at(deadline, again_and_again(kind, attack, count)));
    }
    while tasks.join_next().await.is_some() {}
    let report = HostileReport::new(&counts);
    if report.kinds.values().all(|kind| kind.connected == 0) {
        return Err(CannotRun(format!("{} takes no connection", args.clients)));
    }
    Ok(report)
}

fn chosen(args: &HostileArgs) -> Result<Vec<Kind>, CannotRun> {
    let mut kinds = OF_CLIENTS.to_vec();
    if args.peers.is_some() {
        kinds.extend(OF_PEERS);
    }
    if args.only.is_empty() {
        return Ok(kinds);
    }
    let find = |name: &String| {
        let found = kinds.iter().find(|kind| kind.name() == *name).copied();
        found.ok_or_else(|| CannotRun(format!("{name} is no kind of misbehaviour at these ports")))
    };
    args.only.iter().map(find).collect()
}

/// `host:port` of a URL.
fn authority(url: &str, scheme: &str) -> Result<String, CannotRun> {
    let rest = url.strip_prefix(scheme);
    let authority = rest.map(|rest| rest.split('/').next().unwrap_or_default());
    match authority {
        Some(authority) if authority.contains(':') => Ok(authority.to_owned()),
        _ => Err(CannotRun(format!("{url} is not of the form {scheme}host:port"))),
    }
}

/// One connection after the other, for ever.
async fn again_and_again(kind: Kind, attack: Arc<Attack>, count: Arc<Count>) {
    loop {
        match once(kind, &attack, &count).await {
            // The server does not take connections, or not now.
            Err(why) if why.kind() == io::ErrorKind::ConnectionRefused => {
                count.failed.fetch_add(1, Ordering::Relaxed);
            }
            Ok(()) | Err(_) => {
                count.ended.fetch_add(1, Ordering::Relaxed);
            }
        }
        sleep(attack.pace).await;
    }
}

async fn once(kind: Kind, attack: &Attack, count: &Count) -> io::Result<()> {
    match kind {
        Kind::SilentClient => clients::silent(attack, count).await,
        Kind::SlowHead => clients::slow_head(attack, count).await,
        Kind::HalfFrame => clients::half_frame(attack, count).await,
        Kind::HalfMessage => clients::half_message(attack, count).await,
        Kind::PingsOnly => clients::pings_only(attack, count).await,
        Kind::NeverReads => clients::never_reads(attack, count).await,
        Kind::OversizedFrame => clients::oversized_frame(attack, count).await,
        Kind::JsonBomb => clients::json_bomb(attack, count).await,
        Kind::SilentPeer => peers::silent(attack, count).await,
        Kind::SlowBody => peers::slow_body(attack, count).await,
        Kind::XmlBomb => peers::xml_bomb(attack, count).await,
        Kind::GreedyPeer => peers::greedy(attack, count).await,
        Kind::LongCalls => peers::long_calls(attack, count).await,
    }
}

impl HostileReport {
    fn new(counts: &BTreeMap<Kind, Arc<Count>>) -> Self {
        let report = |count: &Count| KindReport {
            connected: count.connected.load(Ordering::Relaxed),
            failed: count.failed.load(Ordering::Relaxed),
            acts: count.acts.load(Ordering::Relaxed),
            answers: count.answers.load(Ordering::Relaxed),
            ended_by_server: count.ended.load(Ordering::Relaxed),
        };
        Self {
            kinds: counts
                .iter()
                .map(|(kind, count)| (kind.name(), report(count)))
                .collect(),
        }
    }

    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = format!(
            "{:<16}{:>10}{:>8}{:>9}{:>9}{:>9}",
            "", "connected", "failed", "acts", "answers", "ended"
        );
        for (name, kind) in &self.kinds {
            let KindReport {
                connected,
                failed,
                acts,
                answers,
                ended_by_server,
            } = kind;
            let _infallible = write!(
                out,
                "\n{name:<16}{connected:>10}{failed:>8}{acts:>9}{answers:>9}{ended_by_server:>9}"
            );
        }
        out
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &[&str]) -> HostileArgs {
        use clap::Parser;
        #[derive(Parser)]
        struct Cli {
            #[command(flatten)]
            args: HostileArgs,
        }
        Cli::parse_from(["hostile"].iter().chain(words)).args
    }

    #[test]
    fn without_a_peer_port_only_clients_misbehave() {
        assert_eq!(chosen(&args(&[])).unwrap(), OF_CLIENTS);
        assert_eq!(chosen(&args(&["--peers", "http://h:1"])).unwrap().len(), 13);
        assert_eq!(
            chosen(&args(&["--only", "slow_head,json_bomb"])).unwrap(),
            [Kind::SlowHead, Kind::JsonBomb]
        );
        assert!(chosen(&args(&["--only", "xml_bomb"])).is_err());
        assert!(chosen(&args(&["--only", "kindness"])).is_err());
    }

    #[test]
    fn an_address_has_a_scheme_and_a_port() {
        assert_eq!(authority("ws://h:1/x", "ws://"), Ok("h:1".to_owned()));
        assert!(authority("http://h:1", "ws://").is_err());
        assert!(authority("ws://h", "ws://").is_err());
    }
}
