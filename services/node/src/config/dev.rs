//! `chat-node dev`: the settings of a whole cluster in one process.

use super::limits::Limits;
use super::peer_auth::PeerAuth;
use super::peers::parse_url;
use super::raw;
use super::reading::Reading;
use super::settings::{Config, Discovery, Listen, Logging, StoreKind, read_data_dir};
use super::traces::TraceSettings;
use chat_protocol::ids::NodeId;
use std::path::{Path, PathBuf};

const HOST: &str = "127.0.0.1";

/// What the nodes of a cluster on one machine have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevOptions {
    /// How many nodes: 1 to 10.
    pub nodes: u16,
    /// Where their directories are made; `None` asks for a temporary directory that goes when they stop.
    pub data_dir: Option<PathBuf>,
    /// P: node i (from 1) has the ports P+i for clients, P+1010+i for peers and P+1020+i for operations.
    pub base_port: u16,
    /// Where messages are kept.
    pub store: StoreKind,
    /// What is logged, and how.
    pub logging: Logging,
    /// What is traced, and where traces go.
    pub traces: TraceSettings,
    /// The bounds of every node.
    pub limits: Limits,
}

impl DevOptions {
    pub(super) fn read(reading: &mut Reading<'_>) -> Self {
        Self {
            nodes: reading.port(&raw::NODES),
            data_dir: read_data_dir(reading),
            base_port: reading.port(&raw::BASE_PORT),
            store: StoreKind::read(reading),
            logging: Logging::read(reading),
            traces: TraceSettings::read(reading),
            limits: Limits::read(reading),
        }
    }

    /// One configuration per node: `node1`, `node2`, … on the loopback address, each a peer of all others, with its
    /// directory in `data_dir` (the option's, or the temporary one that the caller made). They have no key yet.
    #[must_use]
    pub fn configs(&self, data_dir: &Path) -> Vec<Config> {
        (1..=self.nodes).map(|i| self.config(i, data_dir)).collect()
    }

    fn config(&self, i: u16, data_dir: &Path) -> Config {
        let id = node_id(i);
        let listen = |offset: u16| Listen {
            host: HOST.into(),
            port: self.base_port.saturating_add(offset + i),
        };
        let others = (1..=self.nodes).filter(|&other| other != i);
        Config {
            websocket: listen(0),
            xmlrpc: listen(1010),
            operations: listen(1020),
            xmlrpc_address: self.peer_address(i),
            peers: others
                .map(|other| {
                    (
                        node_id(other),
                        parse_url(&self.peer_address(other)).expect("it is an http URL"),
                    )
                })
                .collect(),
            peer_auth: PeerAuth::none(),
            discovery: Discovery::Fixed,
            data_dir: data_dir.join(id.as_str()),
            store: self.store,
            logging: self.logging,
            traces: self.traces.clone(),
            limits: self.limits.clone(),
            node_id: id,
        }
    }

    fn peer_address(&self, i: u16) -> String {
        format!("http://{HOST}:{}", self.base_port.saturating_add(1010 + i))
    }
}

fn node_id(i: u16) -> NodeId {
    NodeId::parse(&format!("node{i}")).expect("it is a valid id")
}
