//! How other nodes are found: by configuration, by DNS, or by the Kubernetes API.
//!
//! A [`Source`] reports lists; the [`Directory`] decides what they mean; the peers are watched accordingly. Nothing here
//! judges whether a node lives, and nothing here decides whether this node is live or ready: as long as the nodes reach
//! each other they do not need to be found.

mod dns;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod remembered;

use crate::config::{Config, Discovery, StoreKind};
use crate::peers::Peers;
use crate::rooms::RoomsHandle;
use crate::telemetry::metrics::DiscoveryMetrics;
use chat_engine::directory::{Directory, List, Listed, Step};
use chat_engine::membership::Health;
use futures_util::future::BoxFuture;
use http::Uri;
use remembered::Remembered;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// Between two looks at who is to be forgotten, and at the health of all peers.
const LOOK: Duration = Duration::from_secs(1);
/// Reports that nobody has read yet; a source that has more to say waits.
const REPORTS: usize = 4;

/// Where peers are looked for, as metrics call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The configuration.
    Fixed,
    /// SRV records.
    Dns,
    /// Endpoint slices.
    Kubernetes,
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fixed, Self::Dns, Self::Kubernetes];

    /// Its label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Dns => "dns",
            Self::Kubernetes => "kubernetes",
        }
    }
}

/// Why a source has no list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It may not be asked.
    Forbidden,
    /// It was not reached, or not in time.
    Unreachable,
    /// It said that it cannot.
    Refused,
    /// Its answer lists nobody, or not this node itself.
    Incomplete,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Forbidden, Self::Unreachable, Self::Refused, Self::Incomplete];

    /// Its label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Incomplete => "incomplete",
        }
    }
}

/// What a source reports.
#[derive(Debug)]
enum Report {
    /// All that there are.
    List(List),
    /// It does not know for now.
    Trouble(Reason, String),
}

/// Something that knows peers. It runs until it is dropped and sees to its own delays.
trait Source: Send {
    /// Reports whatever it learns. Ends when nobody listens.
    fn run(self: Box<Self>, reports: mpsc::Sender<Report>) -> BoxFuture<'static, ()>;
}

/// Whether this build can find nodes in such a way.
///
/// # Errors
/// What it lacks.
pub const fn in_this_build(discovery: &Discovery) -> Result<(), &'static str> {
    match discovery {
        Discovery::Kubernetes { .. } if !cfg!(feature = "kubernetes") => {
            Err("access to the Kubernetes API (DISCOVERY=kubernetes needs the feature \"kubernetes\")")
        }
        _ => Ok(()),
    }
}

/// Watches the peers of a node, and whom the configured source finds, until it is aborted.
pub async fn run(config: Config, peers: Peers, rooms: RoomsHandle) {
    for (node, address) in &config.peers {
        peers.watch(node, address, &rooms);
    }
    let metrics = rooms.shared().metrics.discovery.clone();
    let mut sources = JoinSet::new();
    let (reports, mut primary) = mpsc::channel(REPORTS);
    let (backup_reports, mut backup) = mpsc::channel(REPORTS);
    let (backup_wanted, wanted) = watch::channel(false);
    let place = start(&config, &mut sources, (reports, backup_reports), wanted);
    let mut finder = Finder {
        directory: Directory::new(config.node_id.clone(), millis(config.limits.peer_forgotten)),
        place,
        synced: false,
        metrics,
        peers,
        rooms,
        remembered: None,
    };
    finder.metrics.configure(place);
    if config.store == StoreKind::Local && place != Place::Fixed {
        let (remembered, list) = Remembered::open(&config.data_dir).await;
        finder.remembered = Some(remembered);
        let mut steps = Vec::new();
        finder.directory.seen(list, &mut steps);
        finder.perform(steps, &config);
    }
    let mut clock = interval(LOOK);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut steps = Vec::new();
        tokio::select! {
            Some(report) = primary.recv() => finder.heard(report, &mut steps),
            Some(report) = backup.recv() => finder.heard_backup(report, &mut steps),
            _ = clock.tick() => finder.look(&mut steps),
        }
        let _unchanged =
            backup_wanted.send_if_modified(|wanted| std::mem::replace(wanted, !finder.synced) == finder.synced);
        finder.perform(steps, &config);
        if let Some(remembered) = &mut finder.remembered {
            remembered.keep(finder.directory.addresses()).await;
        }
    }
}

/// Starts the sources that are configured; which of them counts.
fn start(
    config: &Config,
    sources: &mut JoinSet<()>,
    (reports, backup): (mpsc::Sender<Report>, mpsc::Sender<Report>),
    wanted: watch::Receiver<bool>,
) -> Place {
    // Only the API has a backup.
    #[cfg(not(feature = "kubernetes"))]
    drop((backup, wanted));
    match &config.discovery {
        Discovery::Fixed => Place::Fixed,
        Discovery::Dns { name } => {
            sources.spawn(Box::new(dns::Dns::always(name.clone())).run(reports));
            Place::Dns
        }
        #[cfg(feature = "kubernetes")]
        Discovery::Kubernetes { service, namespace } => {
            let source = kubernetes::Kubernetes::new(service.clone(), namespace.clone());
            sources.spawn(Box::new(source).run(reports));
            let name = format!("_{}._tcp.{service}.{namespace}.svc", kubernetes::PORT_NAME);
            sources.spawn(Box::new(dns::Dns::while_wanted(name, wanted)).run(backup));
            Place::Kubernetes
        }
        // Refused before anything else.
        #[cfg(not(feature = "kubernetes"))]
        Discovery::Kubernetes { .. } => Place::Kubernetes,
    }
}

struct Finder {
    directory: Directory,
    place: Place,
    /// The primary source has a complete list.
    synced: bool,
    metrics: DiscoveryMetrics,
    peers: Peers,
    rooms: RoomsHandle,
    remembered: Option<Remembered>,
}

impl Finder {
    fn heard(&mut self, report: Report, steps: &mut Vec<Step>) {
        match report {
            // Whoever is not on its own list looks at another one, or too early.
            Report::List(list) if !list.contains_key(&self.rooms.shared().me) => {
                self.directory.seen(list, steps);
                self.trouble(self.place, Reason::Incomplete, "the list does not have this node");
            }
            Report::List(list) => {
                let now = self.rooms.shared().clock.now();
                self.directory.listed(now.mono, list, steps);
                self.metrics.last_sync.set(now.wall.0.div_euclid(1_000_000));
                if !self.synced {
                    tracing::info!(source = self.place.label(), "discovery has a list");
                }
                self.synced = true;
                self.metrics.set_source(self.place);
            }
            Report::Trouble(reason, why) => self.trouble(self.place, reason, &why),
        }
    }

    fn trouble(&mut self, place: Place, reason: Reason, why: &str) {
        self.metrics.error(place, reason);
        if place != self.place {
            tracing::debug!(source = place.label(), why, "discovery has no list either");
            return;
        }
        if self.synced {
            tracing::warn!(source = place.label(), why, "discovery lost its list");
        } else {
            tracing::debug!(source = place.label(), why, "discovery has no list");
        }
        self.synced = false;
        self.directory.unsure();
    }

    fn heard_backup(&mut self, report: Report, steps: &mut Vec<Step>) {
        match report {
            // It may come late.
            _ if self.synced => {}
            Report::List(list) => {
                self.directory.seen(list, steps);
                self.metrics.set_source(Place::Dns);
            }
            Report::Trouble(reason, why) => self.trouble(Place::Dns, reason, &why),
        }
    }

    fn look(&mut self, steps: &mut Vec<Step>) {
        let peers = &self.peers;
        let failed = |node: &_| peers.health(node) == Health::Failed;
        self.directory.tick(self.rooms.shared().clock.mono(), failed, steps);
        self.metrics.set_peers(&self.peers.healths());
    }

    fn perform(&self, steps: Vec<Step>, config: &Config) {
        for step in steps {
            match step {
                Step::Watch(node, address) => {
                    if let Some(address) = uri(&address) {
                        tracing::info!(peer = %node, %address, "found a peer");
                        self.peers.watch(&node, &address, &self.rooms);
                    }
                }
                // What is configured is not found, and stays where it is.
                Step::Redial(node, _) | Step::Forget(node) if config.peers.contains_key(&node) => {}
                Step::Redial(node, address) => {
                    if let Some(address) = uri(&address) {
                        tracing::info!(peer = %node, %address, "a peer is another instance or elsewhere");
                        self.peers.redial(&node, &address);
                    }
                }
                Step::Leaving(node, leaving) => tracing::info!(peer = %node, leaving, "a peer is about to go"),
                Step::Forget(node) => {
                    tracing::info!(peer = %node, "forgot a peer that failed and is not listed any more");
                    self.peers.forget(&node, &self.rooms);
                }
                Step::TooMany(node) => tracing::warn!(peer = %node, "not watched: there are too many peers"),
            }
        }
    }
}

/// An address of a source; sources make them from parts that they have checked.
fn uri(address: &str) -> Option<Uri> {
    let parsed = address.parse().ok();
    if parsed.is_none() {
        tracing::warn!(address, "an address that is none");
    }
    parsed
}

/// The entry of a peer at an address.
fn listed(address: std::net::IpAddr, port: u16, uid: Option<String>, leaving: bool) -> Listed {
    Listed {
        address: format!("http://{}/RPC2", std::net::SocketAddr::new(address, port)),
        uid,
        leaving,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A delay of about that long, so that many nodes do not ask at the same moment.
fn about(time: Duration) -> Duration {
    let random = uuid::Uuid::new_v4().as_u128();
    let part = u32::try_from(random & 0xff).unwrap_or_default();
    time.mul_f64(0.8) + (time * part) / 640
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_differ_by_a_fifth_at_most() {
        for _ in 0..1_000 {
            let delay = about(Duration::from_secs(10));
            assert!((8_000..=12_000).contains(&delay.as_millis()), "{delay:?}");
        }
    }

    #[test]
    fn addresses_of_both_families_are_urls() {
        let at = |ip: &str| listed(ip.parse().unwrap(), 9090, None, false).address;
        assert_eq!(at("10.244.1.5"), "http://10.244.1.5:9090/RPC2");
        assert_eq!(at("fd00::5"), "http://[fd00::5]:9090/RPC2");
        assert!(uri(&at("fd00::5")).is_some() && uri("http://a b/").is_none());
    }
}
