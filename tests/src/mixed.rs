//! A cluster of nodes of ours and stand-ins for original ones, all of which know each other.

mod member;

use crate::original::Original;
use crate::{Client, PATIENCE, TestCluster};
use chat_client::request;
use chat_node::config::Config;
use chat_protocol::ids::NodeId;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep};

pub use member::{Event, Member};

/// One of the nodes, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `node1` and so on, in this process.
    Ours(usize),
    /// `original1` and so on, a process each.
    Original(usize),
}

impl Place {
    /// The node id.
    #[must_use]
    pub fn id(self) -> String {
        match self {
            Self::Ours(n) => format!("node{n}"),
            Self::Original(n) => format!("original{n}"),
        }
    }
}

/// Nodes of both kinds.
pub struct MixedCluster {
    /// Ours.
    pub ours: TestCluster,
    /// The others.
    pub originals: Vec<Original>,
    counts: (usize, usize),
}

impl MixedCluster {
    /// So many of ours and so many stand-ins.
    ///
    /// # Panics
    /// If they cannot be started.
    pub async fn start(ours: usize, originals: usize) -> Self {
        Self::start_with(ours, originals, &[], |_| {}).await
    }

    /// A cluster whose stand-ins have options and whose nodes have changed configurations.
    ///
    /// Stand-ins ask after the nodes of their members every 100 ms instead of 30 s, and nodes of ours after them every
    /// 250 ms. These wait longer for an answer than those of [`TestCluster`], because Python serves one call at a time on
    /// a machine that runs many tests.
    ///
    /// # Panics
    /// If it cannot be started.
    pub async fn start_with(ours: usize, originals: usize, options: &[&str], change: impl Fn(&mut Config)) -> Self {
        let mut all_options = vec!["--heartbeat-seconds", "0.1"];
        all_options.extend(options);
        let mut started = Vec::new();
        for n in 1..=originals {
            started.push(Original::start_with(&Place::Original(n).id(), &all_options).await);
        }
        let cluster = TestCluster::start_with(ours, |config| {
            config.limits.heartbeat_interval = Duration::from_millis(250);
            config.limits.heartbeat_failed = Duration::from_millis(2_500);
            config.limits.original_heartbeat = Duration::from_millis(250);
            config.limits.original_failed = Duration::from_millis(2_500);
            for original in &started {
                let id = NodeId::parse(original.id()).expect("valid");
                let url = format!("{}/", original.rpc_url()).parse().expect("a URL");
                config.peers.insert(id, url);
            }
            change(config);
        })
        .await;
        let mut this = Self {
            ours: cluster,
            originals: started,
            counts: (ours, originals),
        };
        let addresses: Vec<_> = this.places().map(|place| (place.id(), this.rpc_url(place))).collect();
        for original in &mut this.originals {
            let others = addresses.iter().filter(|(id, _)| id != original.id());
            original.set_peers(others.cloned().collect()).await;
        }
        this.wait_until_connected().await;
        this
    }

    /// All nodes, ours first, whether they run or not.
    pub fn places(&self) -> impl Iterator<Item = Place> + use<> {
        let (ours, originals) = self.counts;
        let ours = (1..=ours).map(Place::Ours);
        ours.chain((1..=originals).map(Place::Original))
    }

    /// A stand-in, counted from 1.
    #[must_use]
    pub fn original(&self, n: usize) -> &Original {
        &self.originals[n - 1]
    }

    /// Where other nodes call a node that runs.
    #[must_use]
    pub fn rpc_url(&self, place: Place) -> String {
        match place {
            Place::Ours(n) => format!("http://{}", self.ours.node(n).addresses.xmlrpc),
            Place::Original(n) => self.original(n).rpc_url(),
        }
    }

    /// A new client of a node.
    ///
    /// # Panics
    /// If it is not taken.
    pub async fn client(&self, place: Place) -> Client {
        match place {
            Place::Ours(n) => self.ours.node(n).client().await,
            Place::Original(n) => self.original(n).client().await,
        }
    }

    /// A room with a name that no other room has, of `ines`, who is not in it yet.
    ///
    /// # Panics
    /// If there is none.
    pub async fn room(&self, admin: Place) -> String {
        static ROOMS: AtomicU64 = AtomicU64::new(0);
        let name = format!("hall {}", ROOMS.fetch_add(1, Ordering::Relaxed));
        self.client(admin).await.create(&name).await
    }

    /// Ends a node without any farewell.
    ///
    /// # Panics
    /// If it does not run.
    pub async fn kill(&mut self, place: Place) {
        match place {
            Place::Ours(n) => self.ours.crash(n).await,
            Place::Original(n) => self.originals[n - 1].kill(),
        }
    }

    /// Starts a node again at its old addresses: one of ours with its disk, a stand-in with nothing.
    ///
    /// # Panics
    /// If it cannot be started.
    pub async fn restart(&mut self, place: Place) {
        match place {
            Place::Ours(n) => self.ours.restart(n).await,
            Place::Original(n) => self.originals[n - 1].restart().await,
        }
    }

    /// Waits until each node reaches each.
    ///
    /// # Panics
    /// If that does not happen, or one does not run.
    pub async fn wait_until_connected(&self) {
        let all: Vec<_> = self.places().map(Place::id).collect();
        for place in self.places() {
            self.wait_until_reached(place, &all).await;
        }
    }

    /// Waits until a node reaches exactly these, in any order; it counts itself.
    ///
    /// # Panics
    /// If that does not happen.
    pub async fn wait_until_reached(&self, place: Place, wanted: &[String]) {
        let mut client = self.client(place).await;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let list = client.ask(&request::discover_rooms()).await;
            let mut available: Vec<_> = list["data"]["nodes_available"]
                .as_array()
                .into_iter()
                .flatten()
                .collect();
            available.sort_by_key(|id| id.as_str());
            let mut wanted: Vec<_> = wanted.iter().map(String::as_str).collect();
            wanted.sort_unstable();
            if available.iter().filter_map(|id| id.as_str()).eq(wanted) {
                return;
            }
            assert!(Instant::now() < deadline, "{place:?}: {list}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}
