//! Figures that nobody counts as they change: looked at now and then, so that a scrape waits for nothing.

use super::metrics::{ClientMetrics, DataMetrics};
use crate::peers::Peers;
use crate::session::registry::Registry;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// Between two looks at the data directory.
const DATA: Duration = Duration::from_secs(10);

/// Between two looks at what waits: a look at each connection takes a fraction of a microsecond.
const WAITING: Duration = Duration::from_secs(2);

/// Looks at the data directory as long as what it gives is held. A look waits for the disk, so it has a thread of its own, and there
/// is one at a time.
pub fn data(path: &Path, metrics: &DataMetrics) -> AbortOnDropHandle<()> {
    let (path, metrics) = (path.to_owned(), metrics.clone());
    let watch = async move {
        loop {
            let (path, metrics) = (path.clone(), metrics.clone());
            match tokio::task::spawn_blocking(move || metrics.sample(&path)).await {
                Ok(Ok(())) => {}
                Ok(Err(why)) => tracing::debug!(%why, "the data directory cannot be looked at"),
                // The runtime is ending.
                Err(_) => return,
            }
            tokio::time::sleep(DATA).await;
        }
    };
    AbortOnDropHandle::new(tokio::spawn(watch))
}

/// Looks at what waits for clients and peers, as long as what it gives is held.
pub fn waiting(registry: Arc<Registry>, peers: Peers, metrics: ClientMetrics) -> AbortOnDropHandle<()> {
    let gauge = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
    let watch = async move {
        loop {
            let (all, longest) = registry.waiting();
            metrics.queue_bytes.set(gauge(all));
            metrics.longest_queue_bytes.set(gauge(longest));
            peers.sample_links();
            tokio::time::sleep(WAITING).await;
        }
    };
    AbortOnDropHandle::new(tokio::spawn(watch))
}
