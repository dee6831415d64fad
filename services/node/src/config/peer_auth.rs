//! By what nodes believe each other.

use super::peers::parse_ids;
use super::raw;
use super::reading::Reading;
use chat_protocol::ids::{ClusterId, NodeId};
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

/// By what nodes believe each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAuth {
    /// Where the key is.
    pub key: PeerKey,
    /// Nodes of another cluster are refused, whatever their key.
    pub cluster: ClusterId,
    /// Peers that cannot sign: nodes of the original.
    pub unsigned: BTreeSet<NodeId>,
}

/// Where the key between nodes is.
#[derive(Clone, PartialEq, Eq)]
pub enum PeerKey {
    /// There is none, and everybody is believed. True if somebody said that it should be so.
    None(bool),
    /// In this file, which is read again when it changes.
    File(PathBuf),
    /// Here, as it would stand in the file.
    Text(String),
}

impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None(explicit) => f.debug_tuple("None").field(explicit).finish(),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Text(_) => f.write_str("Text"),
        }
    }
}

impl PeerAuth {
    /// Nothing is signed, and that is meant.
    #[must_use]
    pub fn none() -> Self {
        Self::with(PeerKey::None(true))
    }

    /// A key that nobody else has, for nodes of one process.
    #[must_use]
    pub fn random() -> Self {
        let (one, two) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
        Self::with(PeerKey::Text(format!("{}{}", one.simple(), two.simple())))
    }

    /// With this key, the default cluster, and no exempt peer.
    #[must_use]
    pub fn with(key: PeerKey) -> Self {
        Self {
            key,
            cluster: default_cluster(),
            unsigned: BTreeSet::new(),
        }
    }

    pub(super) fn read(reading: &mut Reading<'_>) -> Self {
        let file = reading.given(&raw::PEER_KEY_FILE).filter(|path| !path.is_empty());
        let how = if reading.given(&raw::PEER_AUTH).is_some() {
            reading.choice(&raw::PEER_AUTH)
        } else {
            ""
        };
        let key = match (how, file) {
            ("none", Some(_)) => {
                reading.mistake(&raw::PEER_KEY_FILE, "is set, and PEER_AUTH=none would ignore it");
                PeerKey::None(true)
            }
            ("none", None) => PeerKey::None(true),
            ("key", None) => {
                reading.mistake(&raw::PEER_KEY_FILE, "is not set, and PEER_AUTH=key needs it");
                PeerKey::None(true)
            }
            (_, Some(path)) => PeerKey::File(path.into()),
            (_, None) => PeerKey::None(false),
        };
        let text = reading.text(&raw::CLUSTER_ID).trim();
        let cluster = ClusterId::parse(text).unwrap_or_else(|why| {
            reading.mistake(&raw::CLUSTER_ID, format_args!("{text:?} {why}"));
            default_cluster()
        });
        let (unsigned, mistakes) = parse_ids(reading.text(&raw::PEER_UNSIGNED));
        for mistake in mistakes {
            reading.mistake(&raw::PEER_UNSIGNED, mistake);
        }
        if !unsigned.is_empty() && matches!(key, PeerKey::None(_)) {
            reading.mistake(&raw::PEER_UNSIGNED, "exempts peers from a key, and there is none");
        }
        Self { key, cluster, unsigned }
    }
}

fn default_cluster() -> ClusterId {
    ClusterId::parse("chat").expect("it is a valid id")
}
