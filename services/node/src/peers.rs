//! The other nodes: who they are, how they are, and the ways to them.
//!
//! Each ordered pair of nodes has one [`link`]: a bounded queue and one call in flight. Bulk reads go beside it. A node of
//! the [`original`] system has a queue of another kind. Nothing here is ever waited for inside a room.

pub(crate) mod auth;
mod backoff;
mod call;
mod calling;
mod heartbeat;
pub mod inbound;
mod link;
pub(crate) mod original;
mod questions;
mod tail;

use crate::config::Limits;
use crate::rooms::{RoomsHandle, ShardInput, Shared};
use crate::telemetry::traces::{Active, Traces};
use auth::Auth;
use auth::seal::Seal;
use call::{CallError, Caller};
use chat_engine::effect::Answer;
use chat_engine::membership::{Change, Health, Membership, MembershipLimits};
use chat_engine::time::Millis;
use chat_protocol::ids::{Epoch, Generation, Incarnation, NodeId, RoomId, Seq};
use chat_protocol::message_frame::MessageFrame;
use chat_protocol::peer_item::{DeletionItem, PeerBody, PeerItem};
use chat_protocol::reject::Reject;
use chat_protocol::server_frame::MemberEvent;
use http::Uri;
use link::Link;
use original::Outbound;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use tokio::task::JoinSet;

pub use questions::{Hosted, Located};

/// What a peer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Dialect {
    /// Nobody knows yet.
    #[default]
    Unknown,
    /// As we do.
    Ours,
    /// As the original does.
    Original,
}

/// What is known of a peer's dialect.
#[derive(Debug, Clone, Copy, Default)]
struct Spoken {
    /// As of its last answer, if nothing failed since.
    now: Dialect,
    /// When that was last known.
    last: Dialect,
}

/// The ways to all peers. They change only when a peer is found or forgotten.
#[derive(Debug, Default)]
struct Ways {
    links: BTreeMap<NodeId, Arc<Link>>,
    /// One for each link: it is used while the peer is a node of the original.
    originals: BTreeMap<NodeId, Arc<Outbound>>,
}

#[derive(Debug)]
struct Inner {
    me: NodeId,
    incarnation: Incarnation,
    limits: Arc<Limits>,
    traces: Traces,
    /// `None` if calls are not signed.
    auth: Option<Arc<Auth>>,
    caller: Caller,
    /// For whoever may be a node of the original.
    one_shot: Caller,
    ways: RwLock<Ways>,
    /// What runs for each peer; it ends when it is taken out.
    tasks: Mutex<BTreeMap<NodeId, JoinSet<()>>>,
    membership: Mutex<Membership>,
    dialects: Mutex<BTreeMap<NodeId, Spoken>>,
    /// Where rooms were found. A remembered place says "unavailable" where nobody can say "not found".
    locations: Mutex<HashMap<RoomId, NodeId>>,
}

/// The way to the other nodes. Clones share it.
#[derive(Debug, Clone)]
pub struct Peers(Arc<Inner>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these hold is whole between two calls.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Peers {
    /// No peers yet. Calls are signed if there is `auth`.
    #[must_use]
    pub(crate) fn new(shared: &Shared, incarnation: Incarnation, auth: Option<Arc<Auth>>) -> Self {
        let limits = Arc::clone(&shared.limits);
        let failed_after = u64::try_from(limits.heartbeat_failed.as_millis()).unwrap_or(u64::MAX);
        let membership = Membership::new(MembershipLimits {
            failed_after,
            ..MembershipLimits::default()
        });
        Self(Arc::new(Inner {
            me: shared.me.clone(),
            incarnation,
            auth,
            caller: Caller::new(&limits),
            one_shot: Caller::one_shot(&limits),
            limits,
            traces: shared.traces.clone(),
            ways: RwLock::default(),
            tasks: Mutex::default(),
            membership: Mutex::new(membership),
            dialects: Mutex::default(),
            locations: Mutex::default(),
        }))
    }

    /// Begins to watch a peer and to talk to it, until it is forgotten or [`Self::stop`] is called. Does nothing for the
    /// node itself and for a peer that is watched already. Must be called within a tokio runtime.
    pub fn watch(&self, node: &NodeId, address: &Uri, rooms: &RoomsHandle) {
        // In the order in which everybody takes both: who is there, then the ways to them.
        let mut membership = lock(&self.0.membership);
        let mut ways = self.0.ways.write().unwrap_or_else(PoisonError::into_inner);
        if *node == self.0.me || ways.links.contains_key(node) {
            return;
        }
        membership.watch(node.clone());
        let metrics = rooms.shared().metrics.peer(node);
        let link = Arc::new(Link::new(
            node.clone(),
            address.clone(),
            self.seal_for(node),
            &self.0.limits,
            metrics.clone(),
        ));
        let outbound = Arc::new(Outbound::new(node.clone(), address.clone(), &self.0.limits, metrics));
        ways.links.insert(node.clone(), Arc::clone(&link));
        ways.originals.insert(node.clone(), Arc::clone(&outbound));
        drop(ways);
        drop(membership);
        let mut tasks = JoinSet::new();
        tasks.spawn(heartbeat::run(self.clone(), Arc::clone(&link), rooms.clone()));
        tasks.spawn(link::run(self.clone(), Arc::clone(&link), rooms.clone()));
        tasks.spawn(tail::run(self.clone(), link, rooms.clone()));
        tasks.spawn(original::run(self.clone(), outbound));
        lock(&self.0.tasks).insert(node.clone(), tasks);
    }

    fn seal_for(&self, node: &NodeId) -> Option<Seal> {
        let auth = self.0.auth.as_ref().filter(|_| !self.is_exempt(node))?;
        Some(Seal::new(Arc::clone(auth), node.clone()))
    }

    /// True for a peer that cannot sign, and need not.
    pub(crate) fn is_exempt(&self, node: &NodeId) -> bool {
        self.0.auth.as_ref().is_some_and(|auth| auth.exempt.contains(node))
    }

    /// A peer is at this address from now on, perhaps as another life: it is called at once.
    pub fn redial(&self, node: &NodeId, address: &Uri) {
        if let (Some(link), Some(outbound)) = (self.link(node), self.original(node)) {
            link.set_address(address.clone());
            outbound.set_address(address.clone());
            // Another program may be there. Its next heartbeat says which life it is.
            self.set_dialect(node, Dialect::Unknown);
            link.doubt();
        }
    }

    /// Nobody expects a peer back: it is not called any more and has no metrics. It may be watched again.
    pub fn forget(&self, node: &NodeId, rooms: &RoomsHandle) {
        let mut ways = self.0.ways.write().unwrap_or_else(PoisonError::into_inner);
        ways.links.remove(node);
        ways.originals.remove(node);
        drop(ways);
        drop(lock(&self.0.tasks).remove(node));
        lock(&self.0.membership).forget(node);
        lock(&self.0.dialects).remove(node);
        rooms.shared().metrics.forget_peer(node);
    }

    /// Stops calling anybody: when it returns, nothing more goes out.
    ///
    /// If it is cancelled, what is left is stopped all the same, some moments later.
    pub async fn stop(&self) {
        let all = std::mem::take(&mut *lock(&self.0.tasks));
        for mut tasks in all.into_values() {
            tasks.shutdown().await;
        }
    }

    /// The health of every peer that is watched.
    #[must_use]
    pub fn healths(&self) -> Vec<Health> {
        let membership = lock(&self.0.membership);
        let ways = self.ways();
        ways.links.keys().filter_map(|node| membership.health(node)).collect()
    }

    /// True for a peer that is watched.
    #[must_use]
    pub fn knows(&self, node: &NodeId) -> bool {
        self.ways().links.contains_key(node)
    }

    fn ways(&self) -> RwLockReadGuard<'_, Ways> {
        // Both maps change together; nothing between them can panic.
        self.0.ways.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn link(&self, node: &NodeId) -> Option<Arc<Link>> {
        self.ways().links.get(node).cloned()
    }

    /// Peers that are nodes of ours, also those that do not answer now.
    #[must_use]
    pub fn ours(&self) -> Vec<NodeId> {
        let nodes: Vec<NodeId> = self.ways().links.keys().cloned().collect();
        nodes.into_iter().filter(|node| self.is_ours(node)).collect()
    }

    /// Brings the metrics of all links up to date.
    pub fn sample_links(&self) {
        self.links().iter().for_each(|link| link.sample());
    }

    fn links(&self) -> Vec<Arc<Link>> {
        self.ways().links.values().cloned().collect()
    }

    /// Which life of this node.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.0.incarnation
    }

    /// Health of a peer; a node that is no peer has failed.
    #[must_use]
    pub fn health(&self, node: &NodeId) -> Health {
        lock(&self.0.membership).health(node).unwrap_or(Health::Failed)
    }

    fn spoken(&self, node: &NodeId) -> Spoken {
        lock(&self.0.dialects).get(node).copied().unwrap_or_default()
    }

    fn dialect(&self, node: &NodeId) -> Dialect {
        self.spoken(node).now
    }

    /// Notes what a peer speaks. What it spoke when that was last known, if it speaks something else now.
    fn set_dialect(&self, node: &NodeId, dialect: Dialect) -> Option<Dialect> {
        let mut dialects = lock(&self.0.dialects);
        let spoken = dialects.entry(node.clone()).or_default();
        let last = spoken.last;
        spoken.now = dialect;
        if dialect != Dialect::Unknown {
            spoken.last = dialect;
        }
        (last != Dialect::Unknown && spoken.last != last).then_some(last)
    }

    /// True if a peer is a node of the original, as far as is known.
    pub(crate) fn is_original(&self, node: &NodeId) -> bool {
        self.spoken(node).last == Dialect::Original
    }

    /// True if a peer is a node of ours, as far as is known.
    fn is_ours(&self, node: &NodeId) -> bool {
        self.spoken(node).last == Dialect::Ours
    }

    /// True for a node of the original that did not answer last time: nobody waits for its deadline once more.
    fn is_doubted(&self, node: &NodeId) -> bool {
        let spoken = self.spoken(node);
        spoken.last == Dialect::Original && spoken.now == Dialect::Unknown
    }

    /// A call to a node of the original failed: it is asked again what it is, at once.
    fn doubt(&self, node: &NodeId) {
        self.set_dialect(node, Dialect::Unknown);
        if let Some(link) = self.link(node) {
            link.doubt();
        }
    }

    /// A peer was heard, in this life if it said so; what that changed is to be applied.
    ///
    /// A link begins anew before anybody else learns of the other life: what is queued for the former one means nothing to
    /// it, and what is said to the new one must not be lost with it.
    fn heard(&self, now: Millis, node: &NodeId, life: Option<Incarnation>) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut membership = lock(&self.0.membership);
        membership.heard(now, node, life, &mut changes);
        let restarted = |change: &Change| matches!(change, Change::Restarted(..));
        if changes.iter().any(restarted)
            && let Some(link) = self.link(node)
        {
            link.reset();
        }
        changes
    }

    /// Tells the rooms what changed.
    async fn apply(&self, changes: Vec<Change>, rooms: &RoomsHandle) {
        for change in &changes {
            match change {
                Change::Restarted(node, life) => {
                    tracing::info!(peer = %node, incarnation = %life, "peer is another life");
                    rooms.tell_all(|| ShardInput::PeerRestarted(node.clone(), *life)).await;
                }
                Change::Health(node, health) => {
                    tracing::info!(peer = %node, ?health, "peer health");
                    if let (Health::Failed, Some(outbound)) = (health, self.original(node)) {
                        outbound.fail();
                    }
                    let health = *health;
                    rooms
                        .tell_all(|| ShardInput::PeerHealth {
                            node: node.clone(),
                            health,
                        })
                        .await;
                    // Rooms that begin again because a failed peer's link does know by then that it failed, and ask nothing of it.
                    if let Some(link) = self.link(node) {
                        link.health_changed(health);
                    }
                }
            }
        }
    }

    // === what rooms send

    /// Queues something about a room for a node. Never waits.
    pub fn tell(&self, to: &NodeId, room: &RoomId, body: PeerBody) {
        self.tell_traced(to, room, body, Vec::new());
    }

    /// As [`Self::tell`], for an item with messages that are traced: these spans end when the node has it.
    pub fn tell_traced(&self, to: &NodeId, room: &RoomId, body: PeerBody, spans: Vec<(Seq, Active)>) {
        // Rooms speak to nodes that spoke to them, and only peers do.
        if let Some(link) = self.ways().links.get(to) {
            let mut item = PeerItem::new(room.clone(), body);
            item.traces = spans.iter().map(|(seq, span)| (*seq, span.context())).collect();
            link.push(item, spans);
        }
    }

    /// Queues the same for every node that is known to be one of ours, also if it does not answer now. How many those are. Never
    /// waits.
    pub fn tell_ours(&self, room: &RoomId, body: &PeerBody) -> usize {
        let links = self.links();
        let ours = links.iter().filter(|link| self.is_ours(link.node()));
        ours.map(|link| {
            link.push(PeerItem::new(room.clone(), body.clone()), Vec::new());
        })
        .count()
    }

    /// Sends messages to a node with members in the room.
    pub fn relay(
        &self,
        to: &NodeId,
        room: &RoomId,
        (generation, epoch): (Generation, Epoch),
        frames: Vec<MessageFrame>,
        spans: Vec<(Seq, Active)>,
    ) {
        let body = PeerBody::Deliver {
            generation,
            epoch,
            frames,
        };
        self.tell_traced(to, room, body, spans);
    }

    /// Tells a node who came or went.
    pub fn announce(&self, to: &NodeId, room: &RoomId, event: MemberEvent) {
        self.tell(to, room, PeerBody::Member(event));
    }

    /// Tells a node where a room stands.
    pub fn tell_head(&self, to: &NodeId, room: &RoomId, generation: Generation, epoch: Epoch, head: Seq) {
        self.tell(
            to,
            room,
            PeerBody::Head {
                generation,
                epoch,
                head,
            },
        );
    }

    /// Answers a request of a node.
    pub fn answer(&self, to: &NodeId, room: &RoomId, request: u64, answer: Answer) {
        let body = match answer {
            Answer::Joined(joined) => PeerBody::Joined {
                request,
                info: joined.info,
                generation: joined.generation,
                epoch: joined.epoch,
                head: joined.head,
                floor: joined.floor,
                version: joined.version,
                resumed: joined.resumed,
            },
            Answer::JoinRefused(reject) => PeerBody::JoinRefused { request, reject },
            Answer::Sent {
                message_id,
                seq,
                timestamp,
                duplicate,
            } => PeerBody::Sent {
                request,
                message_id,
                seq,
                timestamp,
                duplicate,
            },
            Answer::SendRefused(reject) => PeerBody::SendRefused {
                request,
                reject,
                unknown: false,
            },
            Answer::SendUnknown => PeerBody::SendRefused {
                request,
                reject: Reject::AdminUnavailable,
                unknown: true,
            },
            // Whoever left does not wait for an answer.
            Answer::Left | Answer::NotIn => return,
            Answer::DeletionInitiated { transaction, initiator } => PeerBody::Deletion(DeletionItem::Initiated {
                request,
                transaction,
                initiator,
            }),
            Answer::DeletionProgress(progress) => PeerBody::Deletion(DeletionItem::Progress { request, progress }),
            // Behind which node the requester sits is known there.
            Answer::Deleted { transaction, .. } => PeerBody::Deletion(DeletionItem::Deleted { request, transaction }),
            Answer::DeleteRefused { reject, transaction } => PeerBody::Deletion(DeletionItem::Refused {
                request,
                reject,
                transaction,
            }),
        };
        self.tell(to, room, body);
    }
}
