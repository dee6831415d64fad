//! The embedded store: SQLite in one directory, durable before anything is acknowledged.
//!
//! One thread writes. It takes whatever waits, executes it as one transaction, and answers after the commit, whose
//! `fdatasync` all of them share (WAL, `synchronous=FULL`): the busier the node, the more messages per sync, and no
//! message waits for a timer. Reads run on connections of their own and never wait for the writer; checkpoints run on a
//! thread of their own and never stop it.
//!
//! What a failure means: an error inside a batch rolls it back, and everything in it fails *definitely* (a full disk is
//! survived that way). An input/output error at the commit means that nobody knows what the disk holds: the store
//! reports it as fatal and the process ends, to find out by opening the directory again.

mod checkpoint;
mod deletion;
mod directory;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod migrations;
mod readers;
mod rows;
mod trim;
mod work;
mod writer;

pub use error::OpenError;

use super::{Appender, CreateError, RoomPage, Store, StoreError, StoreFuture};
use crate::telemetry::metrics::Metrics;
use chat_engine::room::roster::Seat;
use chat_engine::stored::{
    Append, Appended, BeginDeletion, BeginOutcome, ClaimedRoom, DecideDeletion, DecideOutcome, RoomProfile,
    StoredDeletion, StoredSeat, Trim, TrimOutcome,
};
use chat_protocol::ids::{Incarnation, NodeId, RoomId, Seq};
use chat_protocol::message_frame::Message;
use checkpoint::Checkpointer;
use directory::Directory;
use readers::Readers;
use rusqlite::Connection;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use tokio::sync::{mpsc as async_mpsc, oneshot, watch};
use work::{Command, Work};
use writer::Writer;

/// Bounds of the store.
#[derive(Debug, Clone, Copy)]
pub struct LocalLimits {
    /// Most commands of one transaction.
    pub batch_commands: usize,
    /// Most rooms whose position the writer remembers.
    pub warm_rooms: usize,
    /// Threads that read.
    pub readers: usize,
    /// Most pages of 4 KiB that the database may have; 0 for the disk's own limit.
    pub max_pages: u32,
}

impl Default for LocalLimits {
    fn default() -> Self {
        Self {
            batch_commands: 4_096,
            warm_rooms: 65_536,
            readers: 2,
            max_pages: 0,
        }
    }
}

/// An open data directory. Clones share it; it is released when the last one is closed or dropped.
#[derive(Debug, Clone)]
pub struct LocalStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    incarnation: Incarnation,
    commands: mpsc::Sender<Command>,
    readers: Readers,
    room_count: Arc<AtomicUsize>,
    fatal: watch::Receiver<Option<String>>,
    /// The writer, until somebody waits for its end.
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl LocalStore {
    /// Opens the directory, or makes it if it is new, and begins a new life of `node_id` in it.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with the directory. It is left as it is: never is anything started anew where
    /// something was.
    pub fn open(
        dir: &Path,
        node_id: &NodeId,
        now_unix_ms: u64,
        limits: LocalLimits,
        metrics: Metrics,
    ) -> Result<Self, OpenError> {
        let directory = Directory::open(dir, node_id)?;
        let mut database = open_for_writing(&directory, limits)?;
        migrations::migrate(&mut database)?;
        let incarnation = rows::begin_life(&mut database, node_id, now_unix_ms)?;
        let count = rows::count_rooms(&database).map_err(OpenError::database)?;
        let room_count = Arc::new(AtomicUsize::new(count));
        metrics.store.count_rooms(count);
        let readers = Readers::start(&directory.database(), limits.readers)?;
        let checkpointer = Checkpointer::start(&directory.database())?;
        // One append per room and one creation or claim per request are under way: that bounds it.
        #[allow(clippy::disallowed_methods)]
        let (commands, receiver) = mpsc::channel();
        let (fatal_sender, fatal) = watch::channel(None);
        let writer = Writer {
            database,
            limits,
            warm: std::collections::HashMap::new(),
            room_count: Arc::clone(&room_count),
            checkpointer,
            fatal: fatal_sender,
            metrics,
            uncommitted: 0,
            _directory: directory,
        };
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run(&receiver))
            .map_err(OpenError::Io)?;
        let writer = Mutex::new(Some(thread));
        Ok(Self(Arc::new(Inner {
            incarnation,
            commands,
            readers,
            room_count,
            fatal,
            writer,
        })))
    }

    fn read_with<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> StoreFuture<Result<T, StoreError>> {
        let answer = self.0.readers.submit(read);
        Box::pin(async move { answer.await.unwrap_or_else(|_| Err(closed())) })
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".into())
}

fn open_for_writing(directory: &Directory, limits: LocalLimits) -> Result<Connection, OpenError> {
    let database = Connection::open_with_flags(
        directory.database(),
        rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(OpenError::database)?;
    migrations::configure(&database)?;
    if limits.max_pages > 0 {
        database
            .pragma_update(None, "max_page_count", limits.max_pages)
            .map_err(OpenError::database)?;
    }
    Ok(database)
}

struct LocalAppender {
    commands: mpsc::Sender<Command>,
    outcomes: async_mpsc::UnboundedSender<Vec<Appended>>,
}

impl Appender for LocalAppender {
    fn append(&mut self, appends: Vec<Append>) {
        let outcomes = self.outcomes.clone();
        // A writer that is gone has told everybody through `fatal`.
        drop(self.commands.send(Command::Do(Work::Append { appends, outcomes })));
    }
}

impl Store for LocalStore {
    fn incarnation(&self) -> Incarnation {
        self.0.incarnation
    }

    fn create_room(&self, profile: RoomProfile) -> StoreFuture<Result<(), CreateError>> {
        let (answer, answered) = oneshot::channel();
        drop(self.0.commands.send(Command::Do(Work::Create { profile, answer })));
        Box::pin(async move { answered.await.unwrap_or_else(|_| Err(CreateError::Store(closed()))) })
    }

    fn claim(&self, room_id: RoomId) -> StoreFuture<Result<Option<ClaimedRoom>, StoreError>> {
        let (answer, answered) = oneshot::channel();
        drop(self.0.commands.send(Command::Do(Work::Claim { room_id, answer })));
        Box::pin(async move { answered.await.unwrap_or_else(|_| Err(closed())) })
    }

    fn appender(&self, outcomes: async_mpsc::UnboundedSender<Vec<Appended>>) -> Box<dyn Appender> {
        Box::new(LocalAppender {
            commands: self.0.commands.clone(),
            outcomes,
        })
    }

    fn keep_seat(&self, room_id: RoomId, seat: StoredSeat) {
        drop(self.0.commands.send(Command::Do(Work::KeepSeat { room_id, seat })));
    }

    fn drop_seat(&self, room_id: RoomId, seat: Seat) {
        drop(self.0.commands.send(Command::Do(Work::DropSeat { room_id, seat })));
    }

    fn seated_rooms(&self) -> StoreFuture<Result<Vec<RoomId>, StoreError>> {
        self.read_with(rows::seated_rooms)
    }

    fn trim(&self, room_id: RoomId, trim: Trim) -> StoreFuture<Result<TrimOutcome, StoreError>> {
        let (answer, answered) = oneshot::channel();
        drop(self.0.commands.send(Command::Do(Work::Trim { room_id, trim, answer })));
        Box::pin(async move { answered.await.unwrap_or_else(|_| Err(closed())) })
    }

    fn begin_deletion(&self, room_id: RoomId, begin: BeginDeletion) -> StoreFuture<BeginOutcome> {
        let (answer, answered) = oneshot::channel();
        let work = Work::Begin { room_id, begin, answer };
        drop(self.0.commands.send(Command::Do(work)));
        Box::pin(async move {
            answered
                .await
                .unwrap_or_else(|_| BeginOutcome::Refused(closed().to_string()))
        })
    }

    fn decide_deletion(&self, room_id: RoomId, decide: DecideDeletion) -> StoreFuture<DecideOutcome> {
        let (answer, answered) = oneshot::channel();
        let work = Work::Decide {
            room_id,
            decide,
            answer,
        };
        drop(self.0.commands.send(Command::Do(work)));
        Box::pin(async move {
            answered
                .await
                .unwrap_or_else(|_| DecideOutcome::Refused(closed().to_string()))
        })
    }

    fn purge(&self, room_id: RoomId) -> StoreFuture<Result<bool, StoreError>> {
        let (answer, answered) = oneshot::channel();
        drop(self.0.commands.send(Command::Do(Work::Purge { room_id, answer })));
        Box::pin(async move { answered.await.unwrap_or_else(|_| Err(closed())) })
    }

    fn deletion(&self, room_id: RoomId) -> StoreFuture<Result<Option<StoredDeletion>, StoreError>> {
        self.read_with(move |database| deletion::find(database, &room_id))
    }

    fn unfinished_deletions(&self) -> StoreFuture<Result<Vec<RoomId>, StoreError>> {
        self.read_with(deletion::unfinished)
    }

    fn read(
        &self,
        room_id: RoomId,
        from: Seq,
        limit: usize,
        max_bytes: usize,
    ) -> StoreFuture<Result<Vec<Message>, StoreError>> {
        self.read_with(move |database| rows::messages(database, &room_id, from, limit, max_bytes))
    }

    fn heads(&self, rooms: Vec<RoomId>) -> StoreFuture<Result<Vec<(RoomId, Seq)>, StoreError>> {
        self.read_with(move |database| rows::heads(database, rooms))
    }

    fn rooms(&self, after: Option<u64>, limit: usize) -> StoreFuture<Result<RoomPage, StoreError>> {
        let count = Arc::clone(&self.0.room_count);
        self.read_with(move |database| {
            let (rooms, next) = rows::rooms(database, after.unwrap_or(0), limit)?;
            Ok(RoomPage {
                rooms,
                total: count.load(Ordering::Acquire),
                next,
            })
        })
    }

    fn has_room(&self, room_id: RoomId) -> StoreFuture<Result<bool, StoreError>> {
        self.read_with(move |database| rows::has_room(database, &room_id))
    }

    fn profile(&self, room_id: RoomId) -> StoreFuture<Result<Option<RoomProfile>, StoreError>> {
        self.read_with(move |database| Ok(rows::living_room(database, &room_id)?.map(|row| row.profile)))
    }

    fn remember_location(&self, room_id: RoomId, node: NodeId) {
        drop(self.0.commands.send(Command::Do(Work::Location { room_id, node })));
    }

    fn location(&self, room_id: RoomId) -> StoreFuture<Result<Option<NodeId>, StoreError>> {
        self.read_with(move |database| rows::location(database, &room_id))
    }

    fn fatal(&self) -> StoreFuture<String> {
        let mut fatal = self.0.fatal.clone();
        Box::pin(async move {
            loop {
                if let Some(why) = fatal.borrow_and_update().clone() {
                    return why;
                }
                if fatal.changed().await.is_err() {
                    // The writer ended without a complaint: it was closed.
                    return std::future::pending().await;
                }
            }
        })
    }

    fn close(&self) -> StoreFuture<()> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            drop(inner.commands.send(Command::Close));
            let writer = inner.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(writer) = writer {
                drop(tokio::task::spawn_blocking(move || writer.join()).await);
            }
        })
    }
}

#[cfg(test)]
mod tests;
