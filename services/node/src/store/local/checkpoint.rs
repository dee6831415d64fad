//! Checkpoints: moving committed pages from the write-ahead log into the database, beside the writer.
//!
//! A passive checkpoint waits for nobody and keeps nobody waiting. If it cannot keep up, the log grows until the writer
//! sees that it is too long and does one itself.

use super::error::OpenError;
use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

/// Pages after which a checkpoint is worth its cost: 4 MiB.
const WORTHWHILE: u64 = 1_000;
/// Pages after which the writer waits for one: 256 MiB.
const TOO_MANY: u64 = 65_536;

/// The checkpointing thread, and how many pages wait for it.
#[derive(Debug)]
pub(super) struct Checkpointer {
    wake: mpsc::SyncSender<()>,
    pending: Arc<AtomicU64>,
}

impl Checkpointer {
    pub(super) fn start(database: &Path) -> Result<Self, OpenError> {
        let connection = Connection::open(database).map_err(OpenError::database)?;
        connection
            .pragma_update(None, "synchronous", "FULL")
            .map_err(OpenError::database)?;
        let (wake, woken) = mpsc::sync_channel(1);
        let pending = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&pending);
        let work = move || {
            while woken.recv().is_ok() {
                let before = counter.load(Ordering::Acquire);
                match run(&connection, "PASSIVE") {
                    Ok(()) => {
                        counter.fetch_sub(before, Ordering::AcqRel);
                    }
                    // The pages stay in the log, where they are as safe; the next one tries again.
                    Err(why) => tracing::warn!(%why, "a checkpoint failed"),
                }
            }
        };
        std::thread::Builder::new()
            .name("store-checkpoint".into())
            .spawn(work)
            .map_err(OpenError::Io)?;
        Ok(Self { wake, pending })
    }

    /// The writer committed about so many pages on `database`.
    pub(super) fn committed(&self, pages: u64, database: &Connection) {
        let waiting = self.pending.fetch_add(pages, Ordering::AcqRel) + pages;
        if waiting >= TOO_MANY {
            match run(database, "PASSIVE") {
                Ok(()) => self.pending.store(0, Ordering::Release),
                Err(why) => tracing::warn!(%why, "a checkpoint of the writer failed"),
            }
        } else if waiting >= WORTHWHILE {
            // Full means that it is awake already.
            let _already_awake = self.wake.try_send(()).is_err();
        }
    }
}

/// One checkpoint.
pub(super) fn run(database: &Connection, mode: &str) -> rusqlite::Result<()> {
    database.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))
}
