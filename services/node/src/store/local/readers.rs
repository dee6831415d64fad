//! Threads that read, each with its own connection: a read sees the last commit and waits for no writer.

use super::error::OpenError;
use crate::store::StoreError;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use tokio::sync::oneshot;

/// Reads that may wait. Each belongs to a request under way or to a page, which are bounded; this bounds their sum.
const QUEUE: usize = 4_096;

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// The way to the reading threads. They end when it is dropped.
#[derive(Debug)]
pub(super) struct Readers {
    jobs: mpsc::SyncSender<Job>,
}

impl Readers {
    pub(super) fn start(database: &Path, count: usize) -> Result<Self, OpenError> {
        let (jobs, queue) = mpsc::sync_channel::<Job>(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..count.max(1) {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(database, flags).map_err(OpenError::database)?;
            let queue = Arc::clone(&queue);
            let work = move || {
                loop {
                    // The lock is held while waiting: one thread waits for work, the others for the lock.
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    match job {
                        Ok(job) => job(&connection),
                        Err(mpsc::RecvError) => return,
                    }
                }
            };
            std::thread::Builder::new()
                .name("store-reader".into())
                .spawn(work)
                .map_err(OpenError::Io)?;
        }
        Ok(Self { jobs })
    }

    /// Runs `read` on one of the threads. Refused at once if too many wait.
    pub(super) fn submit<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> oneshot::Receiver<Result<T, StoreError>> {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(move |connection: &Connection| {
            let result = read(connection).map_err(|why| StoreError::Unavailable(why.to_string()));
            // Whoever asked may be gone.
            drop(answer.send(result));
        });
        // A job that is not taken drops its answer, which whoever asked sees as a failure.
        drop(self.jobs.try_send(job));
        answered
    }
}
