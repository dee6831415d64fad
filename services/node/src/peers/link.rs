//! The link to one peer: items in order, one call in flight, each item taken exactly once per pair of lives.
//!
//! A call carries what queued while the last one was in flight; nothing waits for a timer. Items stay in the queue until
//! the peer has them. If the queue exceeds its bound, or the peer is taken for failed, everything in it is given up, the
//! indexes jump, and both ends begin again from what they know: seats are announced, heads are told, holes are read. A peer
//! that only stood still, or was cut off, knows nothing of what was decided without it, and would not ask.

use super::auth::seal::Seal;
use super::backoff::Backoff;
use super::{CallError, Peers, lock};
use crate::bugs;
use crate::config::Limits;
use crate::rooms::{RoomsHandle, ShardInput};
use crate::telemetry::metrics::PeerMetrics;
use crate::telemetry::traces::Active;
use chat_engine::membership::Health;
use chat_protocol::ids::{NodeId, Seq};
use chat_protocol::limits::MAX_REQUEST_BODY;
use chat_protocol::peer_call::{Exchange, method, read_accepted};
use chat_protocol::peer_fault::is_superseded;
use chat_protocol::peer_item::PeerItem;
use http::Uri;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// Longest item that a call can carry, in bytes: what a body may have, less what stands around the items.
const MAX_ITEM: usize = MAX_REQUEST_BODY - (4 << 10);

#[derive(Debug)]
struct Queued {
    item: PeerItem,
    size: usize,
    /// Of its messages that are traced, until the peer has them.
    spans: Vec<(Seq, Active)>,
}

impl Queued {
    fn give_up(&mut self) {
        for (_, span) in &mut self.spans {
            span.fail("given_up");
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Queued>,
    bytes: usize,
    /// The index of the first item in the queue.
    first_index: u64,
    /// Counts resets, so that an answer to a call of before is not taken for one of after.
    era: u64,
    /// Since when none of what is here was taken.
    waits_since: Option<Instant>,
    /// Something was given up since this end began again.
    given_up: bool,
    /// The peer has not heard yet that something was given up.
    jumped: bool,
}

impl Queue {
    /// The peer will miss at least one item, and so begin again, whatever it has taken of those that are here.
    fn give_up(&mut self) {
        self.first_index += self.items.len() as u64 + 1;
        self.items.iter_mut().for_each(Queued::give_up);
        self.items.clear();
        self.bytes = 0;
        self.era += 1;
        self.waits_since = None;
        self.given_up = true;
        self.jumped = true;
    }
}

/// The way to one peer.
#[derive(Debug)]
pub(super) struct Link {
    node: NodeId,
    address: Mutex<Uri>,
    max_bytes: usize,
    call_bytes: usize,
    queue: Mutex<Queue>,
    wake: Notify,
    doubted: Notify,
    /// Another node answered at the address last time.
    other: AtomicBool,
    /// Signs calls to the peer; `None` if there is no key, or the peer is exempt.
    seal: Option<Seal>,
    unbelieved: AtomicBool,
    metrics: PeerMetrics,
}

impl Link {
    pub(super) fn new(node: NodeId, address: Uri, seal: Option<Seal>, limits: &Limits, metrics: PeerMetrics) -> Self {
        let (max_bytes, call_bytes) = (limits.link_queue_bytes, limits.exchange_bytes);
        Self {
            node,
            address: Mutex::new(address),
            max_bytes,
            call_bytes,
            queue: Mutex::default(),
            wake: Notify::new(),
            doubted: Notify::new(),
            other: AtomicBool::new(false),
            seal,
            unbelieved: AtomicBool::new(false),
            metrics,
        }
    }

    pub(super) fn node(&self) -> &NodeId {
        &self.node
    }

    pub(super) fn address(&self) -> Uri {
        lock(&self.address).clone()
    }

    pub(super) fn set_address(&self, address: Uri) {
        *lock(&self.address) = address;
    }

    pub(super) fn metrics(&self) -> &PeerMetrics {
        &self.metrics
    }

    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Notes whether another node answers at the address. True if it does since now.
    pub(super) fn is_other(&self, other: bool) -> bool {
        !self.other.swap(other, Ordering::Relaxed) && other
    }

    pub(super) fn seal(&self) -> Option<&Seal> {
        self.seal.as_ref()
    }

    /// Notes whether peer and node do not believe each other. True if that is so since now.
    pub(super) fn is_unbelieved(&self, unbelieved: bool) -> bool {
        self.metrics.unbelieved.set(unbelieved.into());
        !self.unbelieved.swap(unbelieved, Ordering::Relaxed) && unbelieved
    }

    /// Something about the peer must be found out now, not with the next heartbeat.
    pub(super) fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// Waits for [`Self::doubt`]. Cancel safe.
    pub(super) async fn doubted(&self) {
        self.doubted.notified().await;
    }

    pub(super) fn health_changed(&self, health: Health) {
        self.metrics.health.set(health as i64);
        if health == Health::Failed {
            self.queue().give_up();
        }
        self.wake();
    }

    /// Queues an item. Never waits. An item that no call can carry is left out: it would stop everything behind it.
    pub(super) fn push(&self, item: PeerItem, spans: Vec<(Seq, Active)>) {
        let size = item.size();
        if size > MAX_ITEM {
            tracing::error!(peer = %self.node, room = %item.room, size, "an item is too long for a call and was left out");
            return;
        }
        let mut queue = self.queue();
        if queue.bytes + size > self.max_bytes && !queue.items.is_empty() {
            tracing::warn!(peer = %self.node, "the link's queue exceeded its bound, everything in it was given up");
            queue.give_up();
        }
        queue.bytes += size;
        queue.waits_since.get_or_insert_with(Instant::now);
        queue.items.push_back(Queued { item, size, spans });
        drop(queue);
        self.wake();
    }

    /// Another life of the peer: what is queued was for the former one, and indexes begin again.
    pub(super) fn reset(&self) {
        let mut queue = self.queue();
        queue.items.iter_mut().for_each(Queued::give_up);
        *queue = Queue {
            era: queue.era + 1,
            ..Queue::default()
        };
    }

    /// Says how much waits, and for how long.
    pub(super) fn sample(&self) {
        let queue = self.queue();
        let bytes = i64::try_from(queue.bytes).unwrap_or(i64::MAX);
        let lag = queue.waits_since.map_or(0.0, |since| since.elapsed().as_secs_f64());
        drop(queue);
        self.metrics.link_queue_bytes.set(bytes);
        self.metrics.link_lag.set(lag);
    }

    fn take_given_up(&self) -> bool {
        std::mem::take(&mut self.queue().given_up)
    }

    /// The next call's worth of items, which stay in the queue; none if there is nothing to say but that the indexes jumped.
    fn batch(&self) -> Option<(u64, u64, Vec<Option<PeerItem>>)> {
        let queue = self.queue();
        let mut bytes = 0;
        let fits = |queued: &&Queued| {
            let first = bytes == 0;
            bytes += queued.size;
            first || bytes <= self.call_bytes
        };
        let items: Vec<_> = queue
            .items
            .iter()
            .take_while(fits)
            .map(|queued| Some(queued.item.clone()))
            .collect();
        (queue.jumped || !items.is_empty()).then_some((queue.era, queue.first_index, items))
    }

    /// The peer has everything before `next`.
    fn accepted(&self, era: u64, next: u64) {
        let mut queue = self.queue();
        if queue.era != era {
            return;
        }
        queue.jumped = false;
        while queue.first_index < next
            && let Some(item) = queue.items.pop_front()
        {
            queue.bytes -= item.size;
            queue.first_index += 1;
        }
        queue.waits_since = (!queue.items.is_empty()).then(Instant::now);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Counts and items change together; nothing between them can panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Carries the items of a link, until the task is aborted.
pub(super) async fn run(peers: Peers, link: Arc<Link>, rooms: RoomsHandle) {
    let mut backoff = Backoff::default();
    loop {
        if link.take_given_up() {
            rooms.tell_all(|| ShardInput::PeerReset(link.node.clone())).await;
        }
        link.sample();
        let (Some(life), Some((era, first_index, items))) = (peers.reachable_life(&link), link.batch()) else {
            link.wake.notified().await;
            continue;
        };
        let traces = items.iter().flatten().flat_map(|item| &item.traces);
        let traces: Vec<_> = traces.map(|(_, context)| *context).collect();
        let exchange = Exchange {
            sender: peers.0.me.clone(),
            sender_incarnation: peers.0.incarnation,
            receiver_incarnation: life,
            first_index,
            items,
        };
        let params = exchange.to_params();
        match peers.call_for(&link, method::EXCHANGE, &params, traces).await {
            Ok(value) => {
                if let Ok(next) = read_accepted(&value) {
                    link.accepted(era, next);
                    backoff.reset();
                    continue;
                }
            }
            // The next heartbeat says which life it is.
            Err(CallError::Fault(fault)) if is_superseded(&fault) => {}
            Err(why) => tracing::debug!(peer = %link.node, %why, "an exchange failed"),
        }
        if bugs::has("dropped-items") {
            let mut queue = link.queue();
            queue.items.clear();
            queue.bytes = 0;
        }
        tokio::time::sleep(backoff.next()).await;
    }
}
