//! Heartbeats to one peer, and finding out what it speaks.

use super::link::Link;
use super::{Dialect, Peers, lock};
use crate::rooms::RoomsHandle;
use chat_protocol::ids::Incarnation;
use chat_protocol::peer_call::{Capabilities, Heartbeat, method};
use chat_protocol::peer_fault::is_no_such_method;
use std::sync::Arc;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Asks the peer once per interval whether it lives, until the task is aborted.
pub(super) async fn run(peers: Peers, link: Arc<Link>, rooms: RoomsHandle) {
    let limits = Arc::clone(&peers.0.limits);
    let mut clock = interval(limits.heartbeat_interval);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut planned = Instant::now();
    loop {
        clock.tick().await;
        // How late this node's own loop is: whoever oversleeps must not accuse others of silence.
        let lag = Instant::now().saturating_duration_since(planned);
        let own_lag = u64::try_from(lag.as_millis()).unwrap_or(u64::MAX);
        planned = Instant::now() + limits.heartbeat_interval;
        let deadline = limits.heartbeat_interval;
        let answer = peers
            .0
            .caller
            .call(link.address(), method::HEARTBEAT, &[], deadline)
            .await;
        let alive = answer.ok().and_then(|value| Heartbeat::from_value(&value).ok());
        // The call may take an interval itself.
        planned = planned.max(Instant::now());
        let now = rooms.shared().clock.mono();
        let mut changes = Vec::new();
        match alive {
            Some(alive) => {
                link.metrics().heartbeats_ok.inc();
                learn_dialect(&peers, &link).await;
                lock(&peers.0.membership).heard(now, link.node(), alive.incarnation, &mut changes);
            }
            None => {
                link.metrics().heartbeats_failed.inc();
                // Another program may answer at the address next time.
                peers.set_dialect(link.node(), Dialect::Unknown);
                lock(&peers.0.membership).missed(now, link.node(), own_lag, &mut changes);
            }
        }
        peers.apply(changes, &rooms).await;
        link.wake();
    }
}

async fn learn_dialect(peers: &Peers, link: &Link) {
    if peers.dialect(link.node()) != Dialect::Unknown {
        return;
    }
    let deadline = peers.0.limits.heartbeat_interval;
    match peers
        .0
        .caller
        .call(link.address(), method::CAPABILITIES, &[], deadline)
        .await
    {
        Ok(value) if Capabilities::from_value(&value).is_ok_and(|c| c.versions.contains(&1)) => {
            peers.set_dialect(link.node(), Dialect::Ours);
        }
        Err(super::CallError::Fault(fault)) if is_no_such_method(&fault) => {
            peers.set_dialect(link.node(), Dialect::Original);
        }
        // Only an answer decides; it is asked again with the next heartbeat.
        _ => {}
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
