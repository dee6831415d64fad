//! The stages of stopping: announced, closed to newcomers, emptied, flushed.

use crate::http::ops::{Readiness, Stage};
use crate::session::outbound::{Flushed, Kind};
use crate::session::registry::Registry;
use chat_protocol::close::CloseReason;
use chat_protocol::codec;
use chat_protocol::server_frame::ServerFrame;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How a node is told to stop. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    soft: CancellationToken,
    hard: CancellationToken,
}

impl Shutdown {
    /// Stop in stages: sessions are closed, everything accepted is finished.
    pub fn request(&self) {
        self.soft.cancel();
    }

    /// Stop at once. What is committed stays committed; nothing else is waited for.
    pub fn force(&self) {
        // In this order: whoever waits for both must not begin the stages before it hears that there are none.
        self.hard.cancel();
        self.soft.cancel();
    }

    /// Waits until a stop was asked for. Cancel safe.
    pub async fn requested(&self) {
        self.soft.cancelled().await;
    }

    /// Waits until an immediate stop was asked for. Cancel safe.
    pub async fn forced(&self) {
        self.hard.cancelled().await;
    }
}

/// How long each stage of a stop may take.
#[derive(Debug, Clone, Copy)]
pub struct DrainTimes {
    /// Still accepting, while `/ready` fails already.
    pub accept: Duration,
    /// Closing the sessions, spread evenly.
    pub window: Duration,
    /// All of it.
    pub grace: Duration,
}

/// Goes through the stages; returns when no session is left or the grace is over.
pub async fn drain(readiness: &Readiness, stop_accepting: &CancellationToken, registry: &Registry, times: DrainTimes) {
    readiness.advance(Stage::Stopping);
    let stages = async {
        if !registry.is_empty() {
            tokio::time::sleep(times.accept).await;
        }
        stop_accepting.cancel();
        close_all(registry, times.window).await;
        registry.emptied().await;
    };
    if tokio::time::timeout(times.grace, stages).await.is_err() {
        tracing::warn!(sessions = registry.len(), "the grace period is over, sessions are cut");
    }
    stop_accepting.cancel();
}

/// Closes every session with 1012, each at a random moment of `window`, so that the clients do not come back elsewhere
/// all at once or in step.
async fn close_all(registry: &Registry, window: Duration) {
    // A new hasher has random keys: chance enough to spread closes.
    let chance = RandomState::new();
    let mut closes: Vec<_> = registry
        .all()
        .into_iter()
        .map(|session| {
            let thousandth = u32::try_from(chance.hash_one(session.id) % 1_000).unwrap_or(0);
            (window / 1_000 * thousandth, session)
        })
        .collect();
    closes.sort_by_key(|(delay, _)| *delay);
    for (delay, session) in closes.iter().filter(|(_, session)| session.is_extended()) {
        // Who goes by itself, goes when it suits it; the close is for whoever does not.
        let after_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        let frame = codec::encode(&ServerFrame::Reconnect { after_ms });
        if session.outbound.push(Kind::Event, frame) && session.outbound.flush() != Flushed::Empty {
            session.wake();
        }
    }
    // A handful of sessions need no spreading.
    let spread = closes.len() > 16;
    let start = tokio::time::Instant::now();
    for (delay, session) in closes {
        if spread {
            tokio::time::sleep_until(start + delay).await;
        }
        session.outbound.close(CloseReason::Restart);
        session.wake();
    }
    // Whoever was let in while the others were closed.
    for session in registry.all() {
        session.outbound.close(CloseReason::Restart);
        session.wake();
    }
}
