//! The tail check: does this node have the end of the rooms that a peer administers?
//!
//! A link loses nothing without saying so, so a check should never find anything. It is there for what nobody thought of:
//! one batched call per peer for the rooms with traffic since the last one, and now and then for all of them.

use super::Peers;
use super::link::Link;
use crate::rooms::RoomsHandle;
use chat_engine::membership::Health;
use chat_protocol::ids::RoomId;
use chat_protocol::limits::MAX_HEADS;
use chat_protocol::peer_call::{self, method};
use std::sync::Arc;
use tokio::time::{MissedTickBehavior, interval};

/// Every so many checks all followed rooms are asked for.
const SWEEP: u32 = 12;

/// Checks the rooms of one peer, until the task is aborted.
pub(super) async fn run(peers: Peers, link: Arc<Link>, rooms: RoomsHandle) {
    let mut clock = interval(peers.0.limits.tail_check);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut checks = 0_u32;
    loop {
        clock.tick().await;
        if peers.health(link.node()) != Health::Healthy || peers.reachable_life(&link).is_none() {
            continue;
        }
        checks = checks.wrapping_add(1);
        let followed = rooms.followed(link.node(), checks.is_multiple_of(SWEEP)).await;
        for some in followed.chunks(MAX_HEADS) {
            check(&peers, &link, &rooms, some).await;
        }
    }
}

async fn check(peers: &Peers, link: &Link, rooms: &RoomsHandle, some: &[RoomId]) {
    let answer = peers.call(link, method::HEADS, &peer_call::heads_params(some)).await;
    // Without an answer there is nothing to compare with; the next check is soon enough.
    if let Ok(value) = answer
        && let Ok(tails) = peer_call::read_heads(&value)
    {
        rooms.tails(link.node(), tails).await;
    }
}
