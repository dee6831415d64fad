//! Heartbeats to one peer, and finding out what it speaks.

use super::link::Link;
use super::{CallError, Dialect, Peers, lock};
use crate::rooms::{RoomsHandle, ShardInput};
use chat_protocol::ids::Incarnation;
use chat_protocol::peer_call::{Capabilities, Heartbeat, method};
use chat_protocol::peer_fault::is_no_such_method;
use chat_protocol::timestamp::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// Longest wait for the answer of a node of the original: it takes one call at a time.
const ORIGINAL_PATIENCE: Duration = Duration::from_secs(2);

/// Asks the peer once per interval whether it lives, until the task is aborted. A node of the original is asked rarely as
/// long as it answers: each call stops it for a moment.
pub(super) async fn run(peers: Peers, link: Arc<Link>, rooms: RoomsHandle) {
    let limits = Arc::clone(&peers.0.limits);
    let mut clock = interval(limits.heartbeat_interval);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut planned = Instant::now();
    loop {
        if peers.dialect(link.node()) == Dialect::Original {
            drop(timeout(limits.original_heartbeat, link.doubted()).await);
            clock.reset();
            planned = Instant::now();
        } else {
            clock.tick().await;
        }
        // How late this node's own loop is: whoever oversleeps must not accuse others of silence.
        let lag = Instant::now().saturating_duration_since(planned);
        let own_lag = u64::try_from(lag.as_millis()).unwrap_or(u64::MAX);
        planned = Instant::now() + limits.heartbeat_interval;
        let asked = Instant::now();
        let alive = ask(&peers, &link).await;
        let took = asked.elapsed().as_secs_f64();
        // The call may take an interval itself.
        planned = planned.max(Instant::now());
        let now = rooms.shared().clock.now();
        let changes = match alive {
            Some(alive) => {
                link.metrics().heard(took, seconds_since_1970(now.wall));
                // Only nodes of ours tell their lives. Another program may be there although nothing failed meanwhile.
                let tells_life = alive.incarnation.is_some();
                if peers.dialect(link.node()) == (if tells_life { Dialect::Original } else { Dialect::Ours }) {
                    peers.set_dialect(link.node(), Dialect::Unknown);
                }
                learn_dialect(&peers, &link, &rooms).await;
                if let Some(outbound) = peers.original(link.node()) {
                    outbound.note_alias(&alive.node_id);
                }
                peers.heard(now.mono, link.node(), alive.incarnation)
            }
            None => {
                link.metrics().missed();
                // Another program may answer at the address next time.
                peers.set_dialect(link.node(), Dialect::Unknown);
                let mut changes = Vec::new();
                let mut membership = lock(&peers.0.membership);
                if peers.is_original(link.node()) {
                    let failed_after = u64::try_from(limits.original_failed.as_millis()).unwrap_or(u64::MAX);
                    membership.missed_patiently(now.mono, link.node(), own_lag, failed_after, &mut changes);
                } else {
                    membership.missed(now.mono, link.node(), own_lag, &mut changes);
                }
                drop(membership);
                changes
            }
        };
        peers.apply(changes, &rooms).await;
        link.wake();
        if let Some(outbound) = peers.original(link.node()) {
            outbound.wake();
        }
    }
}

/// What metrics take for a time.
fn seconds_since_1970(time: Timestamp) -> f64 {
    // Microseconds since 1970 are exact for three centuries.
    #[allow(clippy::cast_precision_loss)]
    let micros = time.0 as f64;
    micros / 1e6
}

async fn ask(peers: &Peers, link: &Link) -> Option<Heartbeat> {
    let answer = peers
        .caller(link.node())
        .call(
            &link.address(),
            link.seal(),
            method::HEARTBEAT,
            &[],
            patience(peers, link),
            None,
        )
        .await;
    note_trust(link, &answer);
    let alive = answer.ok().and_then(|value| Heartbeat::from_value(&value).ok())?;
    // Whoever tells its life is a node of ours and knows its own id; those of the original may call themselves otherwise.
    let other = alive.incarnation.is_some() && alive.node_id != *link.node();
    if link.is_other(other) {
        tracing::warn!(peer = %link.node(), address = %link.address(), is = %alive.node_id, "another node is at the address of a peer");
    }
    (!other).then_some(alive)
}

/// Says once when a peer and this node begin not to believe each other.
fn note_trust<T>(link: &Link, answer: &Result<T, CallError>) {
    let why = match answer {
        Ok(_) | Err(CallError::Fault(_)) => None,
        Err(why @ (CallError::Refused(_) | CallError::Unsigned)) => Some(why),
        // Whoever is silent says nothing about it.
        Err(_) => return,
    };
    if link.is_unbelieved(why.is_some())
        && let Some(why) = why
    {
        tracing::warn!(peer = %link.node(), address = %link.address(), %why, "a peer is not believed, or does not believe this node");
    }
}

fn patience(peers: &Peers, link: &Link) -> Duration {
    if peers.is_original(link.node()) {
        ORIGINAL_PATIENCE
    } else {
        peers.0.limits.heartbeat_interval
    }
}

async fn learn_dialect(peers: &Peers, link: &Link, rooms: &RoomsHandle) {
    if peers.dialect(link.node()) != Dialect::Unknown {
        return;
    }
    let answer = peers
        .caller(link.node())
        .call(
            &link.address(),
            link.seal(),
            method::CAPABILITIES,
            &[],
            patience(peers, link),
            None,
        )
        .await;
    let signs = link.seal().is_some();
    let dialect = match answer {
        // Whoever need not sign is no node of ours.
        Ok(_) if peers.is_exempt(link.node()) => return,
        Ok(value) if Capabilities::from_value(&value).is_ok_and(|c| c.versions.contains(&1)) => Dialect::Ours,
        Err(CallError::Fault(fault)) if !signs && is_no_such_method(&fault) => Dialect::Original,
        // Only an answer decides; it is asked again with the next heartbeat.
        _ => return,
    };
    if let Some(last) = peers.set_dialect(link.node(), dialect) {
        tracing::info!(peer = %link.node(), ?last, now = ?dialect, "peer is another program");
        if let Some(outbound) = peers.original(link.node()) {
            outbound.clear();
        }
        link.reset();
        rooms.tell_all(|| ShardInput::PeerReplaced(link.node().clone())).await;
    }
}

impl Peers {
    /// The life of a peer that items may be sent to: it speaks as we do and said which life it is.
    pub(super) fn reachable_life(&self, link: &Link) -> Option<Incarnation> {
        if self.dialect(link.node()) != Dialect::Ours {
            return None;
        }
        lock(&self.0.membership).incarnation(link.node())
    }
}
