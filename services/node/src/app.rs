//! A node, built from the bottom up and taken down in reverse.

use crate::aside::{Aside, Priority};
use crate::canary;
use crate::config::{Config, PeerKey, StoreKind};
use crate::discovery;
use crate::http::ops::{OpsRuntime, OpsState, Pulses, Readiness, Stage};
use crate::http::peer_rpc::{PeerPort, serve_peers};
use crate::http::{self, ClientPort};
use crate::lifecycle::{self, DrainTimes, Shutdown};
use crate::peers::Peers;
use crate::peers::auth::Auth;
use crate::peers::auth::keys::{self, KeyRing, Keys};
use crate::peers::inbound::Inbound;
use crate::rooms::{Clock, MemberCounts, RoomsHandle, Shared};
use crate::session::intake::Pool;
use crate::session::registry::Registry;
use crate::store::Store;
use crate::store::local::{LocalLimits, LocalStore, OpenError};
use crate::store::memory::MemoryStore;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::sampler;
use crate::telemetry::traces::Traces;
use chat_protocol::ids::Incarnation;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Between two looks at a data directory that another process has.
const LOCKED_PAUSE: Duration = Duration::from_millis(100);

/// The bound ports of a node. Binding comes before everything else, so that a port in use is known at once.
#[derive(Debug)]
pub struct Listeners {
    /// Clients.
    pub websocket: TcpListener,
    /// Other nodes.
    pub xmlrpc: TcpListener,
    /// Operators.
    pub operations: TcpListener,
}

/// Where a node listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// Clients.
    pub websocket: SocketAddr,
    /// Other nodes.
    pub xmlrpc: SocketAddr,
    /// Operators.
    pub operations: SocketAddr,
}

impl Listeners {
    /// Binds the three ports of a configuration.
    ///
    /// # Errors
    /// [`RunError::Bind`] names the port.
    pub fn bind(config: &Config) -> Result<Self, RunError> {
        let bind = |name: &'static str, listen: &crate::config::Listen| {
            let failed = |why: io::Error| RunError::Bind {
                name,
                at: format!("{}:{}", listen.host, listen.port),
                why,
            };
            let address = (listen.host.as_str(), listen.port)
                .to_socket_addrs()
                .map_err(failed)?
                .next()
                .ok_or_else(|| failed(io::Error::other("the host has no address")))?;
            listen_on(address).map_err(failed)
        };
        Ok(Self {
            websocket: bind("clients", &config.websocket)?,
            xmlrpc: bind("peers", &config.xmlrpc)?,
            operations: bind("operations", &config.operations)?,
        })
    }

    /// Where they are.
    ///
    /// # Errors
    /// The system does not say.
    pub fn addresses(&self) -> io::Result<Addresses> {
        Ok(Addresses {
            websocket: self.websocket.local_addr()?,
            xmlrpc: self.xmlrpc.local_addr()?,
            operations: self.operations.local_addr()?,
        })
    }
}

/// Connections that wait to be accepted. The default of 128 is a burst of clients that come back.
const BACKLOG: i32 = 1_024;

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Why a node did not start or could not go on. Each has the exit status that `main` gives.
#[derive(Debug)]
pub enum RunError {
    /// A port cannot be bound.
    Bind {
        /// Which.
        name: &'static str,
        /// Where.
        at: String,
        /// Why not.
        why: io::Error,
    },
    /// The settings ask for what this build does not have.
    Build(&'static str),
    /// The store cannot be opened: the data directory is not usable.
    Open(OpenError),
    /// The key between nodes cannot be used.
    Key(String),
    /// The store cannot go on; what was acknowledged is safe, nothing more can be.
    Store(String),
    /// The system refused something else.
    System(io::Error),
}

impl RunError {
    /// The exit status, in the numbers of `sysexits.h`: 69 unavailable, 71 system error, 74 input/output error, 75 for
    /// now (another process has the data), 78 configuration.
    #[must_use]
    pub const fn exit_status(&self) -> u8 {
        match self {
            Self::Bind { .. } => 69,
            Self::Open(OpenError::Locked(_)) => 75,
            Self::Build(_) | Self::Open(_) | Self::Key(_) => 78,
            Self::Store(_) => 74,
            Self::System(_) => 71,
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { name, at, why } => write!(f, "cannot listen on {at} for {name}: {why}"),
            Self::Build(what) => write!(f, "this build has no {what}"),
            Self::Open(why) => write!(f, "cannot open the store: {why}"),
            Self::Key(why) => write!(f, "cannot use the key between nodes: {why}"),
            Self::Store(why) => write!(f, "the store failed: {why}"),
            Self::System(why) => write!(f, "the system refused: {why}"),
        }
    }
}

impl std::error::Error for RunError {}

impl From<io::Error> for RunError {
    fn from(why: io::Error) -> Self {
        Self::System(why)
    }
}

/// Opens the store on a thread of its own: after a crash of a large store it takes its time. A process that was killed may still have
/// it, and its successor on the same machine then waits instead of being started again and again with longer and longer pauses.
async fn open_store(config: &Config, metrics: &Metrics) -> Result<Arc<dyn Store>, RunError> {
    let deadline = tokio::time::Instant::now() + config.limits.data_dir_wait;
    let mut told = false;
    loop {
        let (config, metrics) = (config.clone(), metrics.clone());
        let opened = tokio::task::spawn_blocking(move || open_store_here(&config, metrics)).await;
        match opened.unwrap_or_else(|panic| Err(RunError::System(io::Error::other(panic)))) {
            Err(RunError::Open(why @ OpenError::Locked(_))) if tokio::time::Instant::now() < deadline => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%why, "waiting for it");
                }
                tokio::time::sleep(LOCKED_PAUSE).await;
            }
            opened => return opened,
        }
    }
}

fn open_store_here(config: &Config, metrics: Metrics) -> Result<Arc<dyn Store>, RunError> {
    let unix = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let unix_ms = u64::try_from(unix.as_millis()).unwrap_or(u64::MAX);
    match config.store {
        StoreKind::Memory => Ok(Arc::new(MemoryStore::new(Incarnation(unix_ms)))),
        StoreKind::Local => {
            let limits = LocalLimits::default();
            LocalStore::open(&config.data_dir, &config.node_id, unix_ms, limits, metrics)
                .map(|store| Arc::new(store) as Arc<dyn Store>)
                .map_err(RunError::Open)
        }
    }
}

/// The keys between nodes and the text that they are from, if there are any.
fn read_key(config: &Config, metrics: &Metrics) -> Result<Option<(Arc<KeyRing>, String)>, RunError> {
    let text = match &config.peer_auth.key {
        PeerKey::None(explicit) => {
            let why = if *explicit {
                "PEER_AUTH=none"
            } else {
                "PEER_KEY_FILE is not set"
            };
            tracing::warn!(why, "whoever reaches the port for peers is believed to be a node");
            return Ok(None);
        }
        PeerKey::Text(text) => Ok(text.clone()),
        PeerKey::File(path) => keys::read_file(path).map_err(|why| format!("{} {why}", path.display())),
    };
    let text = text.map_err(RunError::Key)?;
    let keys = Keys::parse(&text).map_err(|why| match &config.peer_auth.key {
        PeerKey::File(path) => RunError::Key(format!("{} {why}", path.display())),
        _ => RunError::Key(why),
    })?;
    let count = i64::try_from(keys.all().count()).unwrap_or(i64::MAX);
    metrics.peer_auth.keys.set(count);
    Ok(Some((Arc::new(KeyRing::new(keys)), text)))
}

/// Looks at the key file as long as what it gives is held.
fn watch_key(config: &Config, key: Option<(Arc<KeyRing>, String)>, metrics: &Metrics) -> Option<AbortOnDropHandle<()>> {
    let ((ring, text), PeerKey::File(path)) = (key?, &config.peer_auth.key) else {
        return None;
    };
    let watch = keys::watch(
        path.clone(),
        text,
        ring,
        metrics.peer_auth.clone(),
        config.limits.peer_key_poll,
    );
    Some(AbortOnDropHandle::new(tokio::spawn(watch)))
}

/// Runs one node until `shutdown` asks it to stop, or it cannot go on.
///
/// # Errors
/// [`RunError`]: what made it impossible to start or to go on.
pub async fn run(config: Config, listeners: Listeners, shutdown: Shutdown, metrics: Metrics) -> Result<(), RunError> {
    discovery::in_this_build(&config.discovery).map_err(RunError::Build)?;
    let addresses = listeners.addresses()?;
    let key = read_key(&config, &metrics)?;
    let limits = Arc::new(config.limits.clone());
    let (readiness, pulses) = (Arc::new(Readiness::default()), Arc::new(Pulses::new(limits.shards)));
    // First of all the probes: opening the store may take longer than they wait for an answer.
    let ops_runtime = OpsRuntime::start()?;
    let told: Arc<OnceLock<_>> = Arc::default();
    let ops = OpsState {
        metrics: metrics.clone(),
        readiness: Arc::clone(&readiness),
        pulses: Arc::clone(&pulses),
        rooms: Arc::clone(&told),
    };
    let ops = http::ops::spawn(&ops_runtime, listeners.operations, ops)?;
    let _beat = {
        let pulses = Arc::clone(&pulses);
        AbortOnDropHandle::new(tokio::spawn(async move { pulses.main.keep_beating().await }))
    };
    let store = tokio::select! {
        biased;
        // Whatever is half done is done again at the next start.
        () = shutdown.requested() => {
            // As at the end: whoever waited for it may take the port at once.
            ops.stop();
            ops_runtime.stop();
            return Ok(());
        }
        opened = open_store(&config, &metrics) => opened?,
    };
    let (traces, export) = Traces::start(&config.traces, &config.node_id, &metrics.traces)?;
    let shared = Arc::new(Shared {
        me: config.node_id.clone(),
        address: Arc::from(config.xmlrpc_address.as_str()),
        limits: Arc::clone(&limits),
        metrics,
        traces,
        clock: Clock::default(),
        counts: MemberCounts::default(),
        has_canary: AtomicBool::new(false),
        rooms_changed: AtomicU64::new(0),
        pulses,
    });

    let ring = key.as_ref().map(|(ring, _)| Arc::clone(ring));
    let auth = ring.map(|keys| {
        Arc::new(Auth {
            me: config.node_id.clone(),
            life: store.incarnation(),
            cluster: config.peer_auth.cluster.clone(),
            keys,
            exempt: config.peer_auth.unsigned.clone(),
            metrics: shared.metrics.peer_auth.clone(),
        })
    });
    let _data = (config.store == StoreKind::Local).then(|| sampler::data(&config.data_dir, &shared.metrics.data));
    let _watching = watch_key(&config, key, &shared.metrics);
    let peers = Peers::new(&shared, store.incarnation(), auth);
    let (rooms, shards) = RoomsHandle::start(shared, Arc::clone(&store), peers.clone());
    // Nobody else says it.
    drop(told.set(rooms.downgrade()));
    let methods = Inbound::methods(peers.clone(), rooms.clone());
    let peer_port = PeerPort::new(methods, tokio::runtime::Handle::current(), Arc::clone(&limits))?;
    let peer_task = {
        let _context = ops_runtime.handle().enter();
        let listener = tokio::net::TcpListener::from_std(listeners.xmlrpc)?;
        ops_runtime.handle().spawn(serve_peers(listener, peer_port))
    };
    let finding = tokio::spawn(discovery::run(config.clone(), peers.clone(), rooms.clone()));
    let registry = Arc::new(Registry::new(limits.max_connections, store.incarnation()));
    let _waiting = sampler::waiting(Arc::clone(&registry), peers.clone(), rooms.metrics().clients.clone());
    canary::look_for_room(&rooms).await;
    let canary = canary::start(&rooms, addresses.websocket, shutdown.clone());
    let reopening = rooms.clone();
    let reopening = tokio::spawn(async move { reopening.reopen().await });
    let stop_accepting = CancellationToken::new();
    let port = ClientPort {
        rooms: rooms.clone(),
        registry: Arc::clone(&registry),
        inbound: Pool::new(limits.inbound_total_bytes, Aside::start("long-texts", Priority::Idle)?),
        limits: Arc::clone(&limits),
    };
    let clients = tokio::net::TcpListener::from_std(listeners.websocket)?;
    let accepting = tokio::spawn(http::serve_clients(clients, port, stop_accepting.clone()));
    readiness.advance(Stage::Ready);
    // Peers that discovery finds follow one by one.
    let listed: Vec<&str> = config.peers.keys().map(|id| id.as_str()).collect();
    tracing::info!(
        version = crate::VERSION,
        node = %config.node_id,
        clients = %addresses.websocket,
        calls = %addresses.xmlrpc,
        operations = %addresses.operations,
        discovery = config.discovery.label(),
        peers = listed.join(","),
        "ready"
    );

    let times = DrainTimes {
        accept: limits.drain_accept,
        window: limits.drain_window,
        grace: limits.grace,
    };
    let result = tokio::select! {
        biased;
        why = store.fatal() => Err(RunError::Store(why)),
        () = shutdown.forced() => Ok(()),
        () = async {
            shutdown.requested().await;
            tracing::info!(node = %config.node_id, sessions = registry.len(), "stopping");
            let deadline = rooms.shared().clock.now().wall.0.div_euclid(1_000_000) + seconds(times.grace);
            rooms.metrics().stop_deadline.set(deadline);
            lifecycle::drain(&readiness, &stop_accepting, &registry, times).await;
        } => Ok(()),
    };
    stop_accepting.cancel();
    accepting.abort();
    // The peers hear nothing more before the cut, and so learn what they would learn of a crash: that the node is gone,
    // not that some of its members left and others did not, depending on who was quicker.
    peer_task.abort();
    drop(peer_task.await);
    finding.abort();
    peers.stop().await;
    // Whoever is left after the grace, or at a forced stop, is cut.
    for session in registry.all() {
        session.outbound.kill();
        session.wake();
    }
    reopening.abort();
    drop(canary);
    drop(rooms);
    if result.is_ok() {
        // What the shards have handed to the store is finished; a stuck disk does not keep the process.
        drop(tokio::time::timeout(FLUSH_PATIENCE, store.close()).await);
    }
    for shard in shards {
        shard.abort();
    }
    if let Some(export) = export {
        tokio::select! {
            biased;
            () = shutdown.forced() => {}
            () = export.finish(TRACE_PATIENCE) => {}
        }
    }
    ops.stop();
    // Waits for its tasks, and so for the ports of peers and operators.
    ops_runtime.stop();
    // Whoever waited for the end may take the port of the clients at once.
    drop(accepting.await);
    result
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// How long a collector may take for the last spans when the node stops.
const TRACE_PATIENCE: Duration = Duration::from_secs(2);

/// How long the store may take to finish when the node stops.
const FLUSH_PATIENCE: Duration = Duration::from_secs(5);
