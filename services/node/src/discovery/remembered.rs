//! The peers of the last life, in a file of the data directory: a node that starts while nobody can be asked finds them.

use chat_engine::directory::{List, Listed};
use chat_protocol::ids::NodeId;
use chat_protocol::limits::MAX_PEERS;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Its name in the data directory.
const FILE: &str = "peers.json";
/// Most bytes that are read of it; that many peers take a tenth.
const MAX_BYTES: u64 = 1 << 20;

pub(super) struct Remembered {
    path: PathBuf,
    /// What the file says.
    kept: BTreeMap<NodeId, String>,
}

impl Remembered {
    /// Reads what an earlier life kept. A file that cannot be read is as good as none.
    pub(super) async fn open(data_dir: &Path) -> (Self, List) {
        let path = data_dir.join(FILE);
        let from = path.clone();
        let kept = match tokio::task::spawn_blocking(move || read(&from)).await {
            Ok(Ok(kept)) => kept,
            Ok(Err(why)) if why.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Ok(Err(why)) => {
                tracing::warn!(path = %path.display(), %why, "the peers of the last life cannot be read");
                BTreeMap::new()
            }
            Err(_) => BTreeMap::new(),
        };
        let list = kept.iter().map(|(node, address)| {
            let listed = Listed {
                address: address.clone(),
                uid: None,
                leaving: false,
            };
            (node.clone(), listed)
        });
        let list = list.collect();
        (Self { path, kept }, list)
    }

    /// Keeps these, if they are others than before. A disk that takes nothing costs only the memory.
    pub(super) async fn keep(&mut self, peers: impl Iterator<Item = (&NodeId, &str)>) {
        let peers: BTreeMap<NodeId, String> = peers.map(|(node, at)| (node.clone(), at.to_owned())).collect();
        if peers == self.kept {
            return;
        }
        let (path, text) = (self.path.clone(), text(&peers));
        if let Ok(Err(why)) = tokio::task::spawn_blocking(move || write(&path, &text)).await {
            tracing::warn!(path = %self.path.display(), %why, "the peers cannot be remembered");
        }
        // Also after a failure: the next change tries again, not the next second.
        self.kept = peers;
    }
}

fn text(peers: &BTreeMap<NodeId, String>) -> String {
    let peers: Map<String, Value> = peers
        .iter()
        .map(|(node, address)| (node.to_string(), json!(address)))
        .collect();
    format!("{:#}\n", json!({ "peers": peers }))
}

fn read(path: &Path) -> io::Result<BTreeMap<NodeId, String>> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_BYTES).read_to_string(&mut text)?;
    let value: Value = serde_json::from_str(&text)?;
    let peers = value["peers"].as_object().into_iter().flatten();
    let peer = |(node, address): (&String, &Value)| Some((NodeId::parse(node).ok()?, address.as_str()?.to_owned()));
    Ok(peers.filter_map(peer).take(MAX_PEERS).collect())
}

/// Whole or not at all, whatever ends the process in between.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|why| why.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str) -> NodeId {
        NodeId::parse(id).unwrap()
    }

    #[tokio::test]
    async fn another_life_finds_the_peers_of_the_last_one() {
        let directory = tempfile::tempdir().unwrap();
        let (mut remembered, list) = Remembered::open(directory.path()).await;
        assert_eq!(list, List::new());
        let (one, two) = (node("chat-1"), node("chat-2"));
        remembered
            .keep([(&one, "http://10.0.0.1:9090/RPC2"), (&two, "http://10.0.0.2:9090/RPC2")].into_iter())
            .await;
        remembered.keep([(&two, "http://10.0.0.3:9090/RPC2")].into_iter()).await;
        let (_, list) = Remembered::open(directory.path()).await;
        let found: Vec<_> = list.iter().map(|(node, l)| format!("{node}={}", l.address)).collect();
        assert_eq!(found, ["chat-2=http://10.0.0.3:9090/RPC2"]);
        // Nothing else is left behind.
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_file_of_nonsense_is_as_good_as_none() {
        for nonsense in [
            "",
            "[]",
            "{\"peers\": 7}",
            "{\"peers\": {\"\": \"x\", \"c\": 7}}",
            "\u{0}",
        ] {
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join(FILE), nonsense).unwrap();
            let (_, list) = Remembered::open(directory.path()).await;
            assert_eq!(list, List::new(), "{nonsense:?}");
        }
    }
}
