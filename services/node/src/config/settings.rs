//! Settings as meant.

use super::limits::Limits;
use super::peer_auth::PeerAuth;
use super::peers::{parse_peers, parse_url};
use super::raw;
use super::reading::Reading;
use super::traces::TraceSettings;
use chat_protocol::ids::NodeId;
use http::Uri;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tracing::level_filters::LevelFilter;

/// Everything that one node needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Who it is.
    pub node_id: NodeId,
    /// Where it accepts clients.
    pub websocket: Listen,
    /// Where it accepts peers.
    pub xmlrpc: Listen,
    /// Where it serves metrics and probes.
    pub operations: Listen,
    /// The URL that it tells peers; empty tells them to use their own entry.
    pub xmlrpc_address: String,
    /// The other nodes and where they accept peers, never the node itself. Every URL is http, has a host and a path.
    pub peers: BTreeMap<NodeId, Uri>,
    /// By what they believe each other.
    pub peer_auth: PeerAuth,
    /// How further nodes are found.
    pub discovery: Discovery,
    /// The directory of the local store.
    pub data_dir: PathBuf,
    /// Where messages are kept.
    pub store: StoreKind,
    /// What is logged, and how. It counts once per process.
    pub logging: Logging,
    /// What is traced, and where traces go.
    pub traces: TraceSettings,
    /// Every bound.
    pub limits: Limits,
}

/// A host name or address of this machine, and a port (0 for a free one).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Never empty.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// How nodes are found besides those of [`Config::peers`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discovery {
    /// There are no others.
    Fixed,
    /// By SRV records.
    Dns {
        /// Whose.
        name: String,
    },
    /// By the endpoint slices of a headless Service. Only a build with the feature `kubernetes` can.
    Kubernetes {
        /// Its name.
        service: String,
        /// Its namespace, which is that of the pod.
        namespace: String,
    },
}

impl Discovery {
    /// Its name.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Dns { .. } => "dns",
            Self::Kubernetes { .. } => "kubernetes",
        }
    }
}

/// Where messages are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// On disk, in the data directory.
    Local,
    /// Nowhere: a restart forgets them.
    Memory,
}

/// What is logged, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logging {
    /// The least important level that is shown.
    pub level: LevelFilter,
    /// The form.
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl Listen {
    /// The host by which this machine itself reaches it.
    pub(super) fn host_from_here(&self) -> &str {
        match self.host.as_str() {
            "0.0.0.0" => "127.0.0.1",
            "::" => "::1",
            host => host,
        }
    }
}

impl Config {
    /// A node for tests: free ports on the loopback address, the memory store, no peers, quiet, default limits.
    #[must_use]
    pub fn test(node_id: NodeId) -> Self {
        let local = Listen {
            host: "127.0.0.1".into(),
            port: 0,
        };
        Self {
            node_id,
            websocket: local.clone(),
            xmlrpc: local.clone(),
            operations: local,
            xmlrpc_address: String::new(),
            peers: BTreeMap::new(),
            peer_auth: PeerAuth::none(),
            discovery: Discovery::Fixed,
            data_dir: PathBuf::new(),
            store: StoreKind::Memory,
            logging: Logging {
                level: LevelFilter::OFF,
                format: LogFormat::Text,
            },
            traces: TraceSettings::off(),
            limits: Limits {
                // Tests count what they send.
                canary_interval: Duration::ZERO,
                ..Limits::default()
            },
        }
    }

    pub(super) fn read(reading: &mut Reading<'_>) -> Self {
        let node_id = read_node_id(reading);
        let xmlrpc = read_listen(reading, &raw::XMLRPC_HOST, &raw::XMLRPC_PORT);
        Self {
            websocket: read_listen(reading, &raw::WEBSOCKET_HOST, &raw::WEBSOCKET_PORT),
            operations: read_listen(reading, &raw::OPERATIONS_HOST, &raw::OPERATIONS_PORT),
            xmlrpc_address: read_xmlrpc_address(reading, &node_id, xmlrpc.port),
            peers: read_peers(reading, &node_id),
            peer_auth: PeerAuth::read(reading),
            discovery: Discovery::read(reading),
            data_dir: read_data_dir(reading).unwrap_or_else(|| PathBuf::from("data")),
            store: StoreKind::read(reading),
            logging: Logging::read(reading),
            traces: TraceSettings::read(reading),
            limits: Limits::read(reading),
            node_id,
            xmlrpc,
        }
    }
}

fn read_node_id(reading: &mut Reading<'_>) -> NodeId {
    let (text, origin) = match reading.given(&raw::NODE_ID) {
        Some(text) => (text.to_owned(), ""),
        None => (
            rustix::system::uname().nodename().to_string_lossy().into_owned(),
            "the host name ",
        ),
    };
    NodeId::parse(&text).unwrap_or_else(|why| {
        reading.mistake(&raw::NODE_ID, format_args!("{origin}{text:?} {why}"));
        NodeId::parse("unnamed").expect("it is a valid id")
    })
}

pub(super) fn read_listen(
    reading: &mut Reading<'_>,
    host: &'static raw::Setting,
    port: &'static raw::Setting,
) -> Listen {
    let text = reading.text(host).trim();
    if text.contains(char::is_whitespace) {
        reading.mistake(host, format_args!("{text:?} is not a host name or address"));
    }
    let text = if text.is_empty() { "0.0.0.0" } else { text };
    Listen {
        host: text.to_owned(),
        port: reading.port(port),
    }
}

fn read_xmlrpc_address(reading: &mut Reading<'_>, node_id: &NodeId, port: u16) -> String {
    let Some(text) = reading.given(&raw::XMLRPC_ADDRESS).map(str::trim) else {
        // Nobody can dial port 0, and the free port is not known yet.
        if port == 0 {
            return String::new();
        }
        let derived = format!("http://{node_id}:{port}");
        if parse_url(&derived).is_err() {
            let what = format_args!("\"{node_id}\" is no host name, so XMLRPC_ADDRESS must be set (it may be empty)");
            reading.mistake(&raw::NODE_ID, what);
        }
        return derived;
    };
    if !text.is_empty()
        && let Err(why) = parse_url(text)
    {
        reading.mistake(
            &raw::XMLRPC_ADDRESS,
            format_args!("{text:?} {why} (expected http://host:port or nothing)"),
        );
    }
    text.to_owned()
}

fn read_peers(reading: &mut Reading<'_>, own: &NodeId) -> BTreeMap<NodeId, Uri> {
    let (mut peers, mistakes) = parse_peers(reading.text(&raw::PEER_NODES));
    for mistake in mistakes {
        reading.mistake(&raw::PEER_NODES, mistake);
    }
    // One list may serve all nodes of a cluster.
    peers.remove(own);
    peers
}

impl Discovery {
    fn read(reading: &mut Reading<'_>) -> Self {
        match reading.choice(&raw::DISCOVERY) {
            "dns" => Self::Dns {
                name: read_name(reading, &raw::DISCOVERY_NAME, "dns"),
            },
            "kubernetes" => Self::Kubernetes {
                service: read_name(reading, &raw::DISCOVERY_SERVICE, "kubernetes"),
                namespace: read_name(reading, &raw::DISCOVERY_NAMESPACE, "kubernetes"),
            },
            _ => Self::Fixed,
        }
    }
}

/// A name that the chosen way to find nodes needs.
fn read_name(reading: &mut Reading<'_>, setting: &'static raw::Setting, way: &str) -> String {
    let text = reading.text(setting).trim();
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() {
        reading.mistake(setting, format_args!("is empty, and DISCOVERY={way} needs it"));
    } else if text.len() > 253 || !text.chars().all(sound) {
        reading.mistake(setting, format_args!("{text:?} is no name of DNS"));
    }
    text.to_owned()
}

/// The given directory, if one is given.
pub(super) fn read_data_dir(reading: &mut Reading<'_>) -> Option<PathBuf> {
    let text = reading.given(&raw::DATA_DIR)?;
    if text.is_empty() {
        reading.mistake(&raw::DATA_DIR, "is empty (expected a directory)");
    }
    Some(PathBuf::from(text))
}

impl StoreKind {
    pub(super) fn read(reading: &mut Reading<'_>) -> Self {
        if reading.choice(&raw::STORE) == "memory" {
            Self::Memory
        } else {
            Self::Local
        }
    }
}

impl Logging {
    pub(super) fn read(reading: &mut Reading<'_>) -> Self {
        let level = reading.choice(&raw::LOG_LEVEL).parse().unwrap_or(LevelFilter::INFO);
        let format = if reading.choice(&raw::LOG_FORMAT) == "json" {
            LogFormat::Json
        } else {
            LogFormat::Text
        };
        Self { level, format }
    }
}
