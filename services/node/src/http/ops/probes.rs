//! What the probes look at: how far the node is, and whether its event loops still turn.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How far a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Not yet ready.
    Starting = 0,
    /// Serves clients.
    Ready = 1,
    /// Serves only those that are there, if at all.
    Stopping = 2,
}

impl Stage {
    /// All of them, in their order.
    pub const ALL: [Self; 3] = [Self::Starting, Self::Ready, Self::Stopping];

    /// Its name in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Stopping => "stopping",
        }
    }
}

/// The stage of a node, shared between who sets it and who tells it.
#[derive(Debug, Default)]
pub struct Readiness(AtomicU8);

impl Readiness {
    /// The stage.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self.0.load(Ordering::Acquire) {
            0 => Stage::Starting,
            1 => Stage::Ready,
            _ => Stage::Stopping,
        }
    }

    /// Goes on to `stage`. A stage never goes back: a node that stops does not become ready.
    pub fn advance(&self, stage: Stage) {
        self.0.fetch_max(stage as u8, Ordering::AcqRel);
    }
}

/// Longest silence of an event loop that counts as alive.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);

/// How often a live event loop beats at least.
pub(crate) const BEAT: Duration = Duration::from_secs(1);

/// The pulses of all event loops that must move: the main runtime and every shard of rooms.
#[derive(Debug)]
pub struct Pulses {
    /// Of the main runtime.
    pub main: Pulse,
    /// Of each shard.
    pub shards: Vec<Pulse>,
}

impl Pulses {
    /// The main runtime beats now; shards count from their first beat, because they start when the store is open.
    #[must_use]
    pub fn new(shards: usize) -> Self {
        Self {
            main: Pulse::default(),
            shards: std::iter::repeat_with(Pulse::not_yet).take(shards).collect(),
        }
    }

    /// Whether everything has beaten within the last ten seconds.
    ///
    /// # Errors
    /// Who has not, and for how long.
    pub fn check(&self) -> Result<(), (&'static str, Duration)> {
        self.main.check().map_err(|silence| ("the main runtime", silence))?;
        let silent = self.shards.iter().filter_map(|shard| shard.check().err()).max();
        silent.map_or(Ok(()), |silence| Err(("a shard of rooms", silence)))
    }
}

/// A sign of life: one event loop beats, another looks.
#[derive(Debug)]
pub struct Pulse {
    origin: Instant,
    /// Milliseconds from the origin to the last beat.
    last: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Self {
        Self::beating_since(Instant::now())
    }
}

impl Pulse {
    /// A pulse whose first beat was at `origin`.
    #[must_use]
    pub const fn beating_since(origin: Instant) -> Self {
        Self {
            origin,
            last: AtomicU64::new(0),
        }
    }

    /// A pulse that may take its time for its first beat.
    #[must_use]
    pub fn not_yet() -> Self {
        Self {
            origin: Instant::now(),
            last: AtomicU64::new(u64::MAX),
        }
    }

    /// One beat.
    pub fn beat(&self) {
        self.last.store(self.now(), Ordering::Release);
    }

    /// Beats once a second for as long as it is polled: a task for the runtime that is watched.
    pub async fn keep_beating(&self) {
        let mut clock = tokio::time::interval(BEAT);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            self.beat();
        }
    }

    /// Whether the last beat is less than ten seconds ago.
    ///
    /// # Errors
    /// How long ago it is.
    pub fn check(&self) -> Result<(), Duration> {
        let silence = Duration::from_millis(self.now().saturating_sub(self.last.load(Ordering::Acquire)));
        if silence < LONGEST_SILENCE {
            Ok(())
        } else {
            Err(silence)
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
