//! A node's own client: every few seconds it sends a message to itself and to each peer through all that a message of a user passes
//! (socket, room, store, link, fan-out, socket), and measures what comes back.
//!
//! Each node has one hidden room for it, which is in no list and keeps few messages. A peer that has none, because it is older or has
//! been told so, is left alone. Each target has a connection of its own: requests of one connection wait for each other, and an ill
//! peer must not make the others look ill.

mod probe;

use crate::lifecycle::Shutdown;
use crate::rooms::RoomsHandle;
use crate::telemetry::metrics::CanaryMetrics;
use chat_engine::room::RoomLimits;
use chat_engine::stored::RoomProfile;
use chat_protocol::ids::{NodeId, RoomId, RoomName, UserName};
use probe::Probe;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::task::AbortOnDropHandle;

/// How many messages a hidden room keeps.
const KEPT: u64 = 64;

/// How many bytes of them are kept in memory.
const KEPT_BYTES: usize = 16 << 10;

/// Wait before the hidden room is asked for again that the store could not make.
const AGAIN: Duration = Duration::from_secs(5);

/// The bounds of a room: those of all, unless it is hidden.
#[must_use]
pub fn limits_of(room: &RoomId, mut limits: RoomLimits) -> RoomLimits {
    if room.is_hidden() {
        limits.history.messages = KEPT;
        limits.backlog_bytes = KEPT_BYTES;
    }
    limits
}

/// Notes whether an earlier life of this node left a hidden room, which is in no list even if nobody uses it now.
pub async fn look_for_room(rooms: &RoomsHandle) {
    let Some(room) = RoomId::canary_of(&rooms.shared().me) else {
        return;
    };
    // A store that cannot say fails at everything else, too.
    let there = rooms.store().has_room(room).await.unwrap_or_default();
    rooms.shared().has_canary.store(there, Ordering::Release);
}

/// Begins to send, unless the settings say never; until `shutdown` is requested, or what this gives is dropped. Clients of this node
/// are served at `clients`.
#[must_use]
pub fn start(rooms: &RoomsHandle, clients: SocketAddr, shutdown: Shutdown) -> Option<AbortOnDropHandle<()>> {
    let every = rooms.limits().canary_interval;
    if every.is_zero() {
        return None;
    }
    let (rooms, url) = (rooms.clone(), format!("ws://{}", reachable(clients)));
    let canary = async move {
        tokio::select! {
            biased;
            () = shutdown.requested() => {}
            () = send_to_all(&rooms, url, every) => {}
        }
    };
    Some(AbortOnDropHandle::new(tokio::spawn(canary)))
}

/// Where this machine reaches a listener that may listen everywhere.
const fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => std::net::IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

async fn send_to_all(rooms: &RoomsHandle, url: String, every: Duration) {
    let me = rooms.shared().me.clone();
    while let Err(why) = make_room(rooms).await {
        tracing::debug!(%why, "there is no hidden room yet");
        sleep(AGAIN).await;
    }
    let metrics = rooms.metrics().canary.clone();
    let mut targets: BTreeMap<NodeId, Target> = BTreeMap::new();
    let mut clock = interval(every);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        let mut wanted = rooms.peers().ours();
        wanted.push(me.clone());
        targets.retain(|node, _| wanted.contains(node));
        for node in wanted {
            if !targets.contains_key(&node)
                && let Some(probe) = Probe::new(&me, &node, &url, every)
            {
                let target = Target::start(node.clone(), probe, every, &metrics);
                targets.insert(node, target);
            }
        }
    }
}

/// A node that is sent to. Its series go with it.
struct Target {
    node: NodeId,
    metrics: CanaryMetrics,
    _task: AbortOnDropHandle<()>,
}

impl Target {
    fn start(node: NodeId, mut probe: Probe, every: Duration, metrics: &CanaryMetrics) -> Self {
        let (metrics, series) = (metrics.clone(), metrics.of(&node));
        let task = async move {
            let mut clock = interval(every);
            clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                clock.tick().await;
                probe.send(&series).await;
            }
        };
        Self {
            node,
            metrics,
            _task: AbortOnDropHandle::new(tokio::spawn(task)),
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.metrics.forget(&self.node);
    }
}

/// Makes the hidden room of this node if there is none.
async fn make_room(rooms: &RoomsHandle) -> Result<(), String> {
    let shared = rooms.shared();
    let room_id = RoomId::canary_of(&shared.me).ok_or("the id of this node is too long")?;
    if shared.has_canary.load(Ordering::Acquire) {
        return Ok(());
    }
    let name = room_id.as_str();
    let profile = RoomProfile {
        room_name: RoomName::parse(name).map_err(|why| why.to_string())?,
        creator_id: UserName::parse(name).map_err(|why| why.to_string())?,
        description: None,
        created_at: shared.clock.now().wall,
        room_id,
    };
    let made = rooms.store().create_room(profile).await;
    made.map_err(|why| format!("{why:?}"))?;
    shared.has_canary.store(true, Ordering::Release);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_that_listens_everywhere_is_reached_at_this_machine() {
        let reached = |address: &str| reachable(address.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(reached("[::]:8080"), "[::1]:8080");
        assert_eq!(reached("10.1.2.3:8080"), "10.1.2.3:8080");
    }
}
