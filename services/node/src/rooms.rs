//! All rooms that this node serves, behind one handle.
//!
//! A few shards own the machines; a room always belongs to the same shard, so nothing about a room is ever locked. What
//! is not about one room (lists, creation) is answered by [`lists`] on tasks of its own.

mod answers;
mod counting;
mod deletion;
mod entry;
mod history;
pub mod lists;
mod originals;
mod perform;
mod relations;
mod shard;
mod traced;
pub mod traffic;

pub use deletion::OriginalWord;

use crate::config::Limits;
use crate::http::ops::Pulses;
use crate::peers::Peers;
use crate::session::Session;
use crate::store::Store;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::{Active, Traces};
use chat_engine::effect::{Answer, Terms};
use chat_engine::membership::Health;
use chat_engine::room::RoomLimits;
use chat_engine::room::history::HistoryLimits;
use chat_engine::room::sequencer::SequencerLimits;
use chat_engine::room::{guest, original};
use chat_engine::time::{Millis, Now};
use chat_protocol::client_frame::{HistoryFrom, RequestId};
use chat_protocol::ids::{ClientMsgId, Incarnation, NodeId, RoomId, Seq, SessionId, UserName};
use chat_protocol::peer_item::PeerItem;
use chat_protocol::server_frame::LeaveReason;
use chat_protocol::timestamp::Timestamp;
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use traffic::Busy;

/// What a connection asks of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Let me in.
    Join {
        /// Under which name.
        user: UserName,
        /// How.
        terms: Terms,
    },
    /// Let me out.
    Leave {
        /// Under which name.
        user: UserName,
    },
    /// Say this.
    Send {
        /// Under which name.
        user: UserName,
        /// What.
        content: Arc<str>,
        /// Recognises a repeat.
        client_msg_id: Option<ClientMsgId>,
    },
    /// Show me what was said.
    History {
        /// Under which name.
        user: UserName,
        /// From where.
        from: HistoryFrom,
        /// At most so many.
        limit: usize,
    },
    /// Delete the room.
    Delete {
        /// Under which name.
        user: UserName,
    },
}

impl Request {
    /// Who asks.
    #[must_use]
    pub const fn user(&self) -> &UserName {
        match self {
            Self::Join { user, .. }
            | Self::Leave { user }
            | Self::Send { user, .. }
            | Self::History { user, .. }
            | Self::Delete { user } => user,
        }
    }
}

/// What a node of the original asks of a room of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Let a user in.
    Join {
        /// The node.
        node: NodeId,
        /// The user.
        user: UserName,
    },
    /// A user is out.
    Leave {
        /// The node.
        node: NodeId,
        /// The user.
        user: UserName,
        /// Why.
        reason: LeaveReason,
    },
    /// A user says something.
    Forward {
        /// The node.
        node: NodeId,
        /// The user.
        user: UserName,
        /// What.
        content: Arc<str>,
        /// How often anybody had looked for rooms here.
        looks: u64,
    },
}

/// What can reach a shard from outside.
#[derive(Debug)]
pub enum ShardInput {
    /// A connection asks something of a room.
    Request {
        /// Who asks.
        session: Arc<Session>,
        /// Of which room.
        room: RoomId,
        /// What.
        request: Request,
        /// What the answer repeats.
        re: Option<RequestId>,
        /// Its span, if it is traced.
        trace: Option<Active>,
    },
    /// A room of this node has seats, or a deletion, from an earlier life: its machine looks after them.
    Open(RoomId),
    /// A connection that was, or might be, in a room is gone.
    Closed {
        /// Which connection.
        session: SessionId,
        /// Which room.
        room: RoomId,
    },
    /// Another node says something about rooms of this shard.
    Items {
        /// Which node.
        from: NodeId,
        /// What, in its order.
        items: Vec<PeerItem>,
    },
    /// Which rooms of a node are followed here? Only those with traffic since the last question, or all.
    Followed {
        /// Which node.
        node: NodeId,
        /// All of them.
        all: bool,
        /// Where the answer goes.
        answer: oneshot::Sender<Vec<RoomId>>,
    },
    /// Which rooms of this shard are the busiest?
    Busiest(oneshot::Sender<Vec<Busy>>),
    /// A node says where rooms of this shard end.
    Tails {
        /// Which node.
        from: NodeId,
        /// The last committed number of each.
        tails: Vec<(RoomId, Seq)>,
    },
    /// A node lives another life: its connections are gone, and what was asked of it is uncertain.
    PeerRestarted(NodeId, Incarnation),
    /// A link with a node lost something.
    PeerReset(NodeId),
    /// Another program is at the address of a node, one of the original where ours was or the other way round.
    PeerReplaced(NodeId),
    /// A node of the original asks something of a room of this node.
    Call {
        /// Of which room.
        room: RoomId,
        /// What.
        call: Call,
        /// Where the answer goes.
        answer: oneshot::Sender<Answer>,
    },
    /// Something about a node of the original that a room of this node remembers.
    Note {
        /// Which room.
        room: RoomId,
        /// What.
        input: original::Input,
    },
    /// A node of the original shows something of a room of its own.
    Show {
        /// Which room.
        room: RoomId,
        /// What.
        input: guest::Input,
        /// Told when the room has taken it.
        taken: oneshot::Sender<()>,
    },
    /// A node of the original says something about the deletion of a room that it may administer.
    OriginalWord {
        /// Which room.
        room: RoomId,
        /// What.
        said: OriginalWord,
    },
    /// The health of a node changed.
    PeerHealth {
        /// Which node.
        node: NodeId,
        /// How it is now.
        health: Health,
    },
}

/// The clocks of a node: one that never goes back, one for people.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Clock {
    /// Both clocks now.
    #[must_use]
    pub fn now(&self) -> Now {
        let wall = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            mono: self.mono(),
            wall: Timestamp(i64::try_from(wall.as_micros()).unwrap_or(i64::MAX)),
        }
    }

    /// The one that never goes back.
    #[must_use]
    pub fn mono(&self) -> Millis {
        Millis(u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// The instant at which [`Self::mono`] will say `at`.
    fn instant(&self, at: Millis) -> Instant {
        self.origin + Duration::from_millis(at.0)
    }
}

/// How many members each active room has, for lists. Rooms that are not here have none.
#[derive(Debug, Default)]
pub struct MemberCounts(Mutex<HashMap<RoomId, u32>>);

impl MemberCounts {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<RoomId, u32>> {
        // A map is whole between two of its calls.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, room: &RoomId, count: u32) {
        let mut counts = self.lock();
        if count == 0 {
            counts.remove(room);
        } else {
            counts.insert(room.clone(), count);
        }
    }

    /// Members of a room that this node administers.
    #[must_use]
    pub fn get(&self, room: &RoomId) -> u32 {
        self.lock().get(room).copied().unwrap_or(0)
    }
}

/// What all shards, lists and peers of a node share.
#[derive(Debug)]
pub struct Shared {
    /// This node.
    pub me: NodeId,
    /// What peers are told as this node's address.
    pub address: Arc<str>,
    /// Bounds.
    pub limits: Arc<Limits>,
    /// Numbers for people.
    pub metrics: Metrics,
    /// Makes the spans of messages that are traced.
    pub traces: Traces,
    /// Time.
    pub clock: Clock,
    /// Members of active rooms.
    pub counts: MemberCounts,
    /// The store has the hidden room of this node.
    pub has_canary: AtomicBool,
    /// Counts the rooms that were created or deleted: a list of before is not given out after.
    pub rooms_changed: AtomicU64,
    /// Signs of life, one of each shard.
    pub pulses: Arc<Pulses>,
}

struct Inner {
    shared: Arc<Shared>,
    store: Arc<dyn Store>,
    peers: Peers,
    shards: Vec<mpsc::Sender<ShardInput>>,
    hasher: BuildHasherDefault<DefaultHasher>,
}

/// The way into the rooms. Clones share everything.
#[derive(Clone)]
pub struct RoomsHandle(Arc<Inner>);

/// A way to the rooms that does not keep them: they end although somebody has it.
#[derive(Clone)]
pub struct WeakRooms(Weak<Inner>);

impl WeakRooms {
    /// The rooms, unless they have ended.
    #[must_use]
    pub fn upgrade(&self) -> Option<RoomsHandle> {
        self.0.upgrade().map(RoomsHandle)
    }
}

impl std::fmt::Debug for RoomsHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoomsHandle")
            .field("shards", &self.0.shards.len())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for WeakRooms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WeakRooms").finish_non_exhaustive()
    }
}

impl RoomsHandle {
    /// A way to them that does not keep them.
    #[must_use]
    pub fn downgrade(&self) -> WeakRooms {
        WeakRooms(Arc::downgrade(&self.0))
    }

    /// Starts the shards. They end when every handle is gone.
    #[must_use]
    pub fn start(shared: Arc<Shared>, store: Arc<dyn Store>, peers: Peers) -> (Self, Vec<JoinHandle<()>>) {
        let mut shards = Vec::new();
        let mut tasks = Vec::new();
        for number in 0..shared.limits.shards {
            let (inputs, receiver) = mpsc::channel(shared.limits.shard_queue);
            let shard = shard::Shard::new(Arc::clone(&shared), Arc::clone(&store), peers.clone());
            tasks.push(tokio::spawn(shard.run(number, receiver)));
            shards.push(inputs);
        }
        let hasher = BuildHasherDefault::default();
        (
            Self(Arc::new(Inner {
                shared,
                store,
                peers,
                shards,
                hasher,
            })),
            tasks,
        )
    }

    /// Bounds.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.0.shared.limits
    }

    /// Numbers for people.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.shared.metrics
    }

    /// What all parts of the node share.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.0.store
    }

    /// The other nodes.
    #[must_use]
    pub fn peers(&self) -> &Peers {
        &self.0.peers
    }

    fn index_of(&self, room: &RoomId) -> usize {
        let count = self.0.shards.len() as u64;
        usize::try_from(self.0.hasher.hash_one(room) % count).unwrap_or(0)
    }

    /// Asks something of a room for a connection. Waits only for room in the shard's queue.
    pub async fn request(
        &self,
        session: &Arc<Session>,
        room: RoomId,
        request: Request,
        re: Option<RequestId>,
        trace: Option<Active>,
    ) {
        let shard = self.index_of(&room);
        self.send(
            shard,
            ShardInput::Request {
                session: Arc::clone(session),
                room,
                request,
                re,
                trace,
            },
        )
        .await;
    }

    /// Opens the rooms whose deletion an earlier life of this node did not end, and those in which somebody sat then.
    pub async fn reopen(&self) {
        match self.store().unfinished_deletions().await {
            Ok(rooms) => {
                for room in rooms {
                    self.send(self.index_of(&room), ShardInput::Open(room)).await;
                }
            }
            Err(why) => {
                tracing::warn!(%why, "deletions of the last life cannot be read: they end when their rooms are used")
            }
        }
        match self.store().seated_rooms().await {
            Ok(rooms) => {
                for room in rooms {
                    self.send(self.index_of(&room), ShardInput::Open(room)).await;
                }
            }
            Err(why) => tracing::warn!(%why, "the seats of the last life cannot be read: their members are not known"),
        }
    }

    /// Says that a connection is gone from a room.
    pub async fn closed(&self, session: &Session, room: RoomId) {
        let shard = self.index_of(&room);
        self.send(
            shard,
            ShardInput::Closed {
                session: session.id,
                room,
            },
        )
        .await;
    }

    /// Hands items of another node to their rooms, in their order per room.
    pub async fn items(&self, from: &NodeId, items: Vec<PeerItem>) {
        let mut per_shard: Vec<Vec<PeerItem>> = self.0.shards.iter().map(|_| Vec::new()).collect();
        for item in items {
            per_shard[self.index_of(&item.room)].push(item);
        }
        for (shard, items) in per_shard.into_iter().enumerate().filter(|(_, items)| !items.is_empty()) {
            self.send(
                shard,
                ShardInput::Items {
                    from: from.clone(),
                    items,
                },
            )
            .await;
        }
    }

    /// The rooms of `node` that are followed here; only those with traffic since the last question unless `all`.
    pub async fn followed(&self, node: &NodeId, all: bool) -> Vec<RoomId> {
        let mut found = Vec::new();
        for shard in 0..self.0.shards.len() {
            let (answer, answered) = oneshot::channel();
            let node = node.clone();
            self.send(shard, ShardInput::Followed { node, all, answer }).await;
            // A shard that is gone follows nothing.
            found.extend(answered.await.unwrap_or_default());
        }
        found
    }

    /// Hands what a node says about the ends of its rooms to whoever follows them.
    pub async fn tails(&self, from: &NodeId, tails: Vec<(RoomId, Seq)>) {
        let mut per_shard: Vec<Vec<(RoomId, Seq)>> = self.0.shards.iter().map(|_| Vec::new()).collect();
        for (room, tail) in tails {
            per_shard[self.index_of(&room)].push((room, tail));
        }
        for (shard, tails) in per_shard.into_iter().enumerate().filter(|(_, tails)| !tails.is_empty()) {
            let from = from.clone();
            self.send(shard, ShardInput::Tails { from, tails }).await;
        }
    }

    /// Asks something of a room of this node for a node of the original. Without an answer the room is gone.
    pub async fn call(&self, room: &RoomId, call: Call) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        let room = room.clone();
        self.send(self.index_of(&room), ShardInput::Call { room, call, answer })
            .await;
        answered
    }

    /// Tells a room of this node something about a node of the original.
    pub async fn note(&self, room: &RoomId, input: original::Input) {
        let room = room.clone();
        self.send(self.index_of(&room), ShardInput::Note { room, input }).await;
    }

    /// Shows a room of a node of the original what that says; nobody is told if nobody here is in it. The receiver ends when
    /// the room has taken it.
    pub async fn show(&self, room: &RoomId, input: guest::Input) -> oneshot::Receiver<()> {
        let (taken, answer) = oneshot::channel();
        let (room, shard) = (room.clone(), self.index_of(room));
        self.send(shard, ShardInput::Show { room, input, taken }).await;
        answer
    }

    /// Hands what a node of the original says about a deletion to the room; nobody is told if nobody here is in it.
    pub async fn original_word(&self, room: &RoomId, said: OriginalWord) {
        let room = room.clone();
        self.send(self.index_of(&room), ShardInput::OriginalWord { room, said })
            .await;
    }

    /// Tells every shard the same.
    pub async fn tell_all(&self, input: impl Fn() -> ShardInput) {
        for shard in 0..self.0.shards.len() {
            self.send(shard, input()).await;
        }
    }

    /// How many shards there are.
    fn shards(&self) -> usize {
        self.0.shards.len()
    }

    async fn send(&self, shard: usize, input: ShardInput) {
        // A shard that is gone belongs to a node that is stopping: its connections are being closed.
        drop(self.0.shards[shard].send(input).await);
    }
}

/// The bounds of the engine, from the configuration.
#[must_use]
pub fn room_limits(limits: &Limits) -> RoomLimits {
    let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    RoomLimits {
        sequencer: SequencerLimits {
            waiting: limits.room_pending_sends,
            waiting_bytes: limits.room_pending_bytes,
            batch_bytes: limits.batch_bytes,
            ..SequencerLimits::default()
        },
        backlog_bytes: limits.backlog_bytes,
        history: HistoryLimits {
            messages: limits.history_messages as u64,
            recognised: limits.repeat_window_messages as u64,
            recognised_for: millis(limits.repeat_window),
        },
        inactivity: millis(limits.inactivity),
        unknown_after: millis(limits.unknown_after),
        seat_grace: millis(limits.seat_grace),
        answer_patience: millis(limits.heartbeat_failed),
        unreachable_after: millis(limits.classic_unreachable),
        ..RoomLimits::default()
    }
}
