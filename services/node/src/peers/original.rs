//! Nodes of the original system as peers.
//!
//! Such a node takes one call at a time and answers nobody else meanwhile; a connection without a request stops it. So
//! each one has a queue of its own ([`queue`]), one call in flight, and a new connection for every call. A peer is taken for
//! one only while its last answer to "what can you do?" was that it does not know that method: after every failure it is
//! asked again, and the queue waits.

pub(super) mod hosted;
mod inbound;
pub(crate) mod queue;
pub(super) mod replies;

use super::backoff::Backoff;
use super::call::{CallError, Caller};
use super::calling::count;
use super::{Dialect, Peers, lock};
use crate::config::Limits;
use crate::telemetry::metrics::PeerMetrics;
use chat_engine::effect::Recalled;
use chat_protocol::ids::{NodeId, RoomId, UserName};
use chat_protocol::message_frame::MessageFrame;
use chat_protocol::server_frame::MemberEvent;
use dxr::Value;
use hosted::Listing;
use http::Uri;
use queue::{Done, Ended, Follow, Job, NoAnswer, Often, Queue, Waiter, What};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Longest sleep of a queue that waits for its peer.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// The way to one peer as long as it is a node of the original.
#[derive(Debug)]
pub(crate) struct Outbound {
    node: NodeId,
    address: Mutex<Uri>,
    queue: Mutex<Queue>,
    wake: Notify,
    /// Something that was in flight is not any more.
    landed: Notify,
    /// The id under which the node speaks of itself.
    alias: Mutex<Option<NodeId>>,
    listing: Listing,
    wait: Duration,
    call_timeout: Duration,
    metrics: PeerMetrics,
}

impl Outbound {
    pub(super) fn new(node: NodeId, address: Uri, limits: &Limits, metrics: PeerMetrics) -> Self {
        Self {
            node,
            address: Mutex::new(address),
            queue: Mutex::new(Queue::new(limits.original_queue_bytes)),
            wake: Notify::new(),
            landed: Notify::new(),
            alias: Mutex::default(),
            listing: Listing::default(),
            wait: limits.original_wait,
            call_timeout: limits.original_call_timeout,
            metrics,
        }
    }

    pub(super) fn set_address(&self, address: Uri) {
        *lock(&self.address) = address;
    }

    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// The node called itself by this id.
    pub(super) fn note_alias(&self, id: &NodeId) {
        if *id != self.node {
            *lock(&self.alias) = Some(id.clone());
        }
    }

    /// Changes the queue and tells whom it concerns.
    fn with<T>(&self, change: impl FnOnce(&mut Queue, &mut Follow) -> T) -> T {
        let mut follow = Follow::default();
        let mut queue = lock(&self.queue);
        let result = change(&mut queue, &mut follow);
        self.metrics
            .original_queue_bytes
            .set(i64::try_from(queue.bytes()).unwrap_or(i64::MAX));
        drop(queue);
        self.metrics.original_given_up.inc_by(follow.given_up);
        follow.tell();
        result
    }

    /// Queues a message for the clients of the node, its number lowered by `shift`. False if there is no room.
    pub(crate) fn say(&self, room: &RoomId, frame: MessageFrame, shift: u64) -> bool {
        let job = Job::new(room.clone(), What::Message(frame, shift));
        let taken = self.with(|queue, _| queue.push(job).is_ok());
        self.wake();
        taken
    }

    /// True if [`Self::say`] would find room.
    pub(crate) fn has_room(&self) -> bool {
        lock(&self.queue).has_room()
    }

    /// Calls `waiter` when there is room again, which may be at once.
    pub(crate) fn when_drained(&self, waiter: Waiter) {
        let at_once = lock(&self.queue).when_drained(waiter);
        if let Some(waiter) = at_once {
            waiter();
        }
    }

    /// Queues an event for the clients of the node.
    pub(crate) fn tell(&self, room: &RoomId, event: MemberEvent) {
        let job = Job::new(room.clone(), What::Event(event));
        self.with(|queue, follow| {
            if queue.push(job).is_err() {
                // Later events win; a bound that is reached was reached by a node that does not listen.
                follow.given_up += 1;
            }
        });
        self.wake();
    }

    /// Calls a method once, in its turn. If its turn does not come within the bound on waiting, it is not called.
    pub(crate) fn ask(&self, room: &RoomId, method: &'static str, params: Vec<Value>, done: Done) {
        let until = Instant::now() + self.wait;
        self.push_request(room, What::Request(method, params, Often::Once(until, done)));
    }

    /// Calls a method, in its turn, until it is answered.
    pub(crate) fn insist(&self, room: &RoomId, method: &'static str, params: Vec<Value>) {
        self.push_request(room, What::Request(method, params, Often::UntilAnswered(None)));
    }

    /// The same, and says when it was answered, or given up.
    pub(crate) fn insist_and_tell(&self, room: &RoomId, method: &'static str, params: Vec<Value>, done: Done) {
        self.push_request(room, What::Request(method, params, Often::UntilAnswered(Some(done))));
    }

    /// What finds no room in the queue is given up.
    fn push_request(&self, room: &RoomId, what: What) {
        let job = Job::new(room.clone(), what);
        self.with(|queue, follow| {
            if let Err(job) = queue.push(job) {
                follow.drop_job(job, Err(NoAnswer::Undone));
            }
        });
        self.wake();
    }

    /// Takes back what waits and would do harm now.
    pub(crate) fn recall(&self, room: &RoomId, what: &Recalled) {
        self.with(|queue, follow| queue.recall(room, what, follow));
    }

    /// Waits until no departure of this user is on its way to the node, at most `limit`: one that arrives behind the
    /// answer to a join would throw out who has just come. Cancel safe.
    pub(crate) async fn departure_landed(&self, room: &RoomId, user: &UserName, limit: Duration) {
        let what = Recalled::Departure(user.clone());
        let landed = async {
            loop {
                let landed = self.landed.notified();
                if !lock(&self.queue).is_in_flight(room, &what) {
                    return;
                }
                landed.await;
            }
        };
        drop(tokio::time::timeout(limit, landed).await);
    }

    /// The node failed.
    pub(super) fn fail(&self) {
        self.with(Queue::fail);
    }

    /// Another program is at the node's address.
    pub(super) fn clear(&self) {
        self.with(Queue::clear);
    }

    fn begin(&self) -> Option<(&'static str, Vec<Value>)> {
        self.with(|queue, follow| queue.begin(Instant::now(), follow))
    }

    fn end(&self, ended: Ended) -> bool {
        let again = self.with(|queue, follow| queue.end(ended, follow));
        self.landed.notify_waiters();
        again
    }

    /// How long the queue may sleep although it cannot call anybody: requests expire.
    fn expire(&self) -> Duration {
        self.with(|queue, follow| {
            let now = Instant::now();
            queue.expire(now, follow);
            let next = queue.next_expiry().map(|at| at.saturating_duration_since(now));
            next.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP)
        })
    }
}

/// Calls what waits for a peer, until the task is aborted.
pub(super) async fn run(peers: Peers, outbound: Arc<Outbound>) {
    let mut backoff = Backoff::default();
    loop {
        let listens = peers.dialect(&outbound.node) == Dialect::Original;
        let call = if listens { outbound.begin() } else { None };
        let Some((method, params)) = call else {
            let sleep = outbound.expire();
            drop(tokio::time::timeout(sleep, outbound.wake.notified()).await);
            continue;
        };
        let called = peers.call_original(&outbound, method, &params).await;
        let (ended, failed) = match called {
            Ok(value) => (Ended::Answered(value), false),
            Err(CallError::Fault(fault)) => {
                tracing::debug!(peer = %outbound.node, method, text = %fault.text, "an original node refused a call");
                (Ended::Fault, false)
            }
            Err(why) => {
                tracing::debug!(peer = %outbound.node, method, %why, "a call to an original node failed");
                let ended = if matches!(why, CallError::Unreachable(_)) {
                    Ended::Undone
                } else {
                    Ended::Unknown
                };
                (ended, true)
            }
        };
        let again = outbound.end(ended);
        if failed {
            // It may be another program by now: it is asked before anything else is said to it.
            peers.doubt(&outbound.node);
        }
        if failed || again {
            tokio::time::sleep(backoff.next()).await;
        } else {
            backoff.reset();
        }
    }
}

impl Peers {
    /// The way to a node of the original; `None` for a node that is not configured.
    pub(crate) fn original(&self, node: &NodeId) -> Option<Arc<Outbound>> {
        self.ways().originals.get(node).cloned()
    }

    /// The configured id of a node that calls itself `id`.
    pub(crate) fn configured(&self, id: &NodeId) -> Option<NodeId> {
        let ways = self.ways();
        if ways.originals.contains_key(id) {
            return Some(id.clone());
        }
        let is_it = |outbound: &&Arc<Outbound>| lock(&outbound.alias).as_ref() == Some(id);
        ways.originals
            .values()
            .find(is_it)
            .map(|outbound| outbound.node.clone())
    }

    /// One call on a connection of its own.
    async fn call_original(
        &self,
        outbound: &Outbound,
        method: &'static str,
        params: &[Value],
    ) -> Result<Value, CallError> {
        let caller: &Caller = &self.0.one_shot;
        let address = lock(&outbound.address).clone();
        let since = Instant::now();
        let result = caller
            .call(&address, None, method, params, outbound.call_timeout, None)
            .await;
        count(&outbound.metrics, method, &result, since.elapsed());
        result
    }
}
