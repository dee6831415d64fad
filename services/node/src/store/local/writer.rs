//! The one thread that writes.

use super::checkpoint::{self, Checkpointer};
use super::directory::Directory;
use super::work::{Command, Reply, Work};
use super::{LocalLimits, deletion, rows, trim};
use crate::bugs;
use crate::store::CreateError;
use crate::telemetry::metrics::Metrics;
use chat_engine::stored::{
    Append, AppendOutcome, Appended, BeginOutcome, ClaimedRoom, DecideOutcome, Decision, RoomProfile, RoomState, Trim,
    TrimOutcome,
};
use chat_protocol::ids::{Epoch, RoomId, Seq};
use rusqlite::{Connection, ErrorCode};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Instant;
use tokio::sync::watch;

/// Why a batch was not committed.
enum Failure {
    /// Nothing of it is on disk.
    RolledBack(String),
    /// Nobody knows.
    InDoubt(String),
}

/// Where a room stands; kept so that an append reads nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Warm {
    key: i64,
    epoch: Epoch,
    head: Seq,
    /// A deletion is under way.
    deleting: bool,
}

/// What a batch wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Written {
    rows: u64,
    /// Of the contents of messages.
    bytes: u64,
}

/// How many rooms a batch made and took away.
#[derive(Debug, Clone, Copy, Default)]
struct Born {
    created: usize,
    deleted: usize,
}

pub(super) struct Writer {
    pub(super) database: Connection,
    pub(super) limits: LocalLimits,
    pub(super) warm: HashMap<RoomId, Warm>,
    pub(super) room_count: Arc<AtomicUsize>,
    pub(super) checkpointer: Checkpointer,
    pub(super) fatal: watch::Sender<Option<String>>,
    pub(super) metrics: Metrics,
    /// Batches that were answered without a commit: always 0 but for a deliberate bug.
    pub(super) uncommitted: u32,
    /// Released last.
    pub(super) _directory: Directory,
}

impl Writer {
    /// Works until the store is closed or dropped, or a commit leaves the disk in doubt.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        let mut open = true;
        while open {
            let Ok(first) = commands.recv() else { break };
            let mut batch = Vec::new();
            let mut next = Some(first);
            while let Some(command) = next {
                let Command::Do(work) = command else {
                    open = false;
                    break;
                };
                batch.push(work);
                next = if batch.len() < self.limits.batch_commands {
                    commands.try_recv().ok()
                } else {
                    None
                };
            }
            if !batch.is_empty() && !self.commit(batch) {
                return;
            }
        }
        if let Err(why) = checkpoint::run(&self.database, "TRUNCATE") {
            // The log stays, and is read at the next start.
            tracing::warn!(%why, "the last checkpoint failed");
        }
    }

    /// Executes a batch as one transaction and answers everybody in it. False if the store cannot go on.
    fn commit(&mut self, batch: Vec<Work>) -> bool {
        let start = Instant::now();
        // At most some hundreds.
        #[allow(clippy::cast_precision_loss)]
        let commands = batch.len() as f64;
        let (replies, committed) = self.transact(batch);
        match committed {
            Ok(Written { rows, bytes }) => {
                self.metrics.store.commits.inc();
                self.metrics.store.batch.observe(commands);
                self.metrics.store.rows.inc_by(rows);
                // Below 2^53.
                #[allow(clippy::cast_precision_loss)]
                self.metrics.store.bytes.observe(bytes as f64);
                self.metrics.store.seconds.observe(start.elapsed().as_secs_f64());
                replies.into_iter().for_each(Reply::send);
                self.checkpointer.committed(rows + 1, &self.database);
                true
            }
            Err(Failure::RolledBack(why)) => {
                self.metrics.store.failures.inc();
                tracing::error!(%why, "a commit failed and was rolled back");
                replies.into_iter().for_each(|reply| reply.fail(&why, false));
                true
            }
            Err(Failure::InDoubt(why)) => {
                self.metrics.store.failures.inc();
                replies.into_iter().for_each(|reply| reply.fail(&why, true));
                self.fatal.send_replace(Some(why));
                false
            }
        }
    }

    fn transact(&mut self, batch: Vec<Work>) -> (Vec<Reply>, Result<Written, Failure>) {
        let mut replies = Vec::with_capacity(batch.len());
        let mut written = Written::default();
        let mut born = Born::default();
        let mut executed = if self.uncommitted > 0 {
            Ok(())
        } else {
            rows::run(&self.database, "BEGIN IMMEDIATE")
        };
        for work in batch {
            // After an error the rest is not executed, but everybody in the batch is answered.
            let ok = executed.is_ok();
            let (reply, result) = self.execute(work, ok, &mut written, &mut born);
            replies.push(reply);
            if ok {
                executed = result;
            }
        }
        if bugs::has("early-acknowledgement") && executed.is_ok() {
            // Messages are answered at once; one commit in twenty makes them durable, and whatever else is asked.
            let messages_only = replies.iter().all(|reply| matches!(reply, Reply::Appended { .. }));
            self.uncommitted = if messages_only { (self.uncommitted + 1) % 20 } else { 0 };
        }
        let committed = match executed {
            Ok(()) if self.uncommitted > 0 => Ok(()),
            Ok(()) => rows::run(&self.database, "COMMIT").map_err(|why| (why, true)),
            Err(why) => Err((why, false)),
        };
        match committed {
            Ok(()) => {
                self.room_count.fetch_add(born.created, Ordering::AcqRel);
                self.room_count.fetch_sub(born.deleted, Ordering::AcqRel);
                self.metrics.store.count_rooms(self.room_count.load(Ordering::Acquire));
                if self.warm.len() > self.limits.warm_rooms {
                    self.warm.clear();
                }
                (replies, Ok(written))
            }
            Err((why, at_commit)) => {
                // What was remembered during the batch is void.
                self.warm.clear();
                let rolled_back = self.database.is_autocommit() || self.database.execute_batch("ROLLBACK").is_ok();
                let doubt = at_commit && leaves_doubt(&why);
                let why = why.to_string();
                let failure = if rolled_back && !doubt {
                    Failure::RolledBack(why)
                } else {
                    Failure::InDoubt(why)
                };
                (replies, Err(failure))
            }
        }
    }

    fn execute(
        &mut self,
        work: Work,
        go: bool,
        written: &mut Written,
        born: &mut Born,
    ) -> (Reply, rusqlite::Result<()>) {
        let Written { rows, .. } = written;
        match work {
            Work::Append { appends, outcomes } => {
                let mut appended = Vec::with_capacity(appends.len());
                let mut result = Ok(());
                for append in appends {
                    let outcome = match if go && result.is_ok() {
                        self.append(&append, written)
                    } else {
                        Ok(None)
                    } {
                        Ok(outcome) => outcome.unwrap_or(AppendOutcome::Unknown),
                        Err(why) => {
                            result = Err(why);
                            AppendOutcome::Unknown
                        }
                    };
                    appended.push(Appended {
                        room_id: append.room_id,
                        token: append.token,
                        outcome,
                    });
                }
                (Reply::Appended { appended, outcomes }, result)
            }
            Work::Create { profile, answer } => {
                let made = if go {
                    self.create(&profile, rows, &mut born.created)
                } else {
                    Ok(Ok(()))
                };
                let (result, status) = made.map_or_else(|why| (Ok(()), Err(why)), |result| (result, Ok(())));
                (Reply::Created { result, answer }, status)
            }
            Work::Claim { room_id, answer } => {
                let claimed = if go { self.claim(&room_id, rows) } else { Ok(None) };
                let (result, status) = claimed.map_or_else(|why| (None, Err(why)), |result| (result, Ok(())));
                (Reply::Claimed { result, answer }, status)
            }
            Work::Trim { room_id, trim, answer } => {
                let trimmed = if go {
                    self.trim(&room_id, trim, rows)
                } else {
                    Ok(TrimOutcome::NoRoom)
                };
                let (result, status) =
                    trimmed.map_or_else(|why| (TrimOutcome::NoRoom, Err(why)), |result| (result, Ok(())));
                (Reply::Trimmed { result, answer }, status)
            }
            Work::Begin { .. } | Work::Decide { .. } | Work::Purge { .. } => {
                self.execute_deletion(work, go, rows, born)
            }
            note => {
                *rows += 1;
                let status = if go { self.note(note) } else { Ok(()) };
                (Reply::Nobody, status)
            }
        }
    }

    /// A step of a deletion. What the batch was not to execute any more is answered by [`Reply::fail`].
    fn execute_deletion(
        &mut self,
        work: Work,
        go: bool,
        rows: &mut u64,
        born: &mut Born,
    ) -> (Reply, rusqlite::Result<()>) {
        let mut written = 0;
        let (reply, status) = match work {
            Work::Begin { room_id, begin, answer } if go => {
                let begun = deletion::begin(&self.database, &room_id, &begin);
                if let (Ok((BeginOutcome::Begun, _)), Some(warm)) = (&begun, self.warm.get_mut(&room_id)) {
                    warm.deleting = true;
                }
                let (outcome, status) = split(begun, &mut written, BeginOutcome::Unknown);
                (Reply::Begun { outcome, answer }, status)
            }
            Work::Decide {
                room_id,
                decide,
                answer,
            } if go => {
                let decided = deletion::decide(&self.database, &room_id, &decide);
                if let Ok((DecideOutcome::Decided, changed)) = &decided {
                    // What is appended next reads the room anew.
                    self.warm.remove(&room_id);
                    if decide.decision == Decision::Commit && *changed > 0 {
                        born.deleted += 1;
                    }
                }
                let (outcome, status) = split(decided, &mut written, DecideOutcome::Unknown);
                (Reply::Decided { outcome, answer }, status)
            }
            Work::Purge { room_id, answer } if go => {
                let purged = deletion::purge(&self.database, &room_id).map(|(removed, more)| (more, removed));
                let (more, status) = split(purged, &mut written, true);
                (Reply::Purged { more, answer }, status)
            }
            Work::Begin { answer, .. } => {
                let outcome = BeginOutcome::Unknown;
                (Reply::Begun { outcome, answer }, Ok(()))
            }
            Work::Decide { answer, .. } => {
                let outcome = DecideOutcome::Unknown;
                (Reply::Decided { outcome, answer }, Ok(()))
            }
            Work::Purge { answer, .. } => (Reply::Purged { more: true, answer }, Ok(())),
            _ => (Reply::Nobody, Ok(())),
        };
        *rows += written;
        (reply, status)
    }

    /// What nobody waits for.
    fn note(&mut self, work: Work) -> rusqlite::Result<()> {
        match work {
            Work::Location { room_id, node } => rows::remember_location(&self.database, &room_id, &node),
            Work::KeepSeat { room_id, seat } => match self.warm_room(&room_id)? {
                Some(warm) => rows::keep_seat(&self.database, warm.key, &seat),
                None => Ok(()),
            },
            Work::DropSeat { room_id, seat } => match self.warm_room(&room_id)? {
                Some(warm) => rows::drop_seat(&self.database, warm.key, &seat),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn create(
        &self,
        profile: &RoomProfile,
        rows: &mut u64,
        created: &mut usize,
    ) -> rusqlite::Result<Result<(), CreateError>> {
        match rows::room(&self.database, &profile.room_id)?.map(|row| row.state) {
            Some(RoomState::Deleted(_)) => return Ok(Err(CreateError::Deleted)),
            Some(_) => return Ok(Ok(())),
            None => {}
        }
        if rows::has_name(&self.database, &profile.room_name)? {
            return Ok(Err(CreateError::NameTaken));
        }
        rows::insert_room(&self.database, profile)?;
        *rows += 1;
        *created += 1;
        Ok(Ok(()))
    }

    fn claim(&mut self, room_id: &RoomId, rows: &mut u64) -> rusqlite::Result<Option<ClaimedRoom>> {
        let Some(row) = rows::room(&self.database, room_id)? else {
            return Ok(None);
        };
        if matches!(row.state, RoomState::Deleted(_)) {
            return Ok(Some(ClaimedRoom {
                profile: row.profile,
                generation: row.generation,
                epoch: row.epoch,
                head: Seq::ZERO,
                floor: row.floor,
                seats: rows::seats(&self.database, row.key)?,
                state: row.state,
            }));
        }
        rows::raise_epoch(&self.database, row.key)?;
        *rows += 1;
        let (epoch, mut head) = (Epoch(row.epoch.0 + 1), rows::head(&self.database, row.key)?);
        if bugs::has("cached-head") {
            head = Seq(head.0.saturating_sub(3));
        }
        self.warm.insert(
            room_id.clone(),
            Warm {
                key: row.key,
                epoch,
                head,
                deleting: row.state != RoomState::Active,
            },
        );
        Ok(Some(ClaimedRoom {
            profile: row.profile,
            generation: row.generation,
            epoch,
            head,
            floor: row.floor,
            seats: rows::seats(&self.database, row.key)?,
            state: row.state,
        }))
    }

    fn trim(&mut self, room_id: &RoomId, trim: Trim, rows: &mut u64) -> rusqlite::Result<TrimOutcome> {
        let Some(warm) = self.warm_room(room_id)? else {
            return Ok(TrimOutcome::NoRoom);
        };
        if trim.epoch != warm.epoch {
            return Ok(TrimOutcome::Fenced(warm.epoch));
        }
        let (floor, changed, more) = trim::trim(&self.database, warm.key, warm.head, trim)?;
        *rows += changed;
        Ok(TrimOutcome::Trimmed { floor, more })
    }

    fn append(&mut self, append: &Append, written: &mut Written) -> rusqlite::Result<Option<AppendOutcome>> {
        let Some(warm) = self.warm_room(&append.room_id)? else {
            return Ok(Some(AppendOutcome::NoRoom));
        };
        if append.epoch != warm.epoch {
            return Ok(Some(AppendOutcome::Fenced(warm.epoch)));
        }
        if warm.deleting {
            return Ok(Some(AppendOutcome::BeingDeleted));
        }
        let (Some(first), next) = (append.items.first(), warm.head.next()) else {
            return Ok(Some(AppendOutcome::Refused("an append without items".into())));
        };
        if first.message.seq != next {
            for item in append.items.iter() {
                if !rows::holds(&self.database, warm.key, &item.message)? {
                    return Ok(Some(AppendOutcome::SeqMismatch(next)));
                }
            }
            return Ok(Some(AppendOutcome::Duplicate));
        }
        let repeats = rows::repeats(&self.database, warm.key, &append.items)?;
        if !repeats.is_empty() {
            return Ok(Some(AppendOutcome::Repeats(repeats)));
        }
        let mut head = warm.head;
        for item in append.items.iter() {
            debug_assert_eq!(item.message.seq, head.next(), "an append has no hole");
            rows::insert_message(&self.database, warm.key, item)?;
            head = item.message.seq;
            written.bytes += item.message.content.len() as u64;
        }
        written.rows += append.items.len() as u64;
        self.warm.insert(append.room_id.clone(), Warm { head, ..warm });
        Ok(Some(AppendOutcome::Committed))
    }

    fn warm_room(&mut self, room_id: &RoomId) -> rusqlite::Result<Option<Warm>> {
        if let Some(warm) = self.warm.get(room_id) {
            return Ok(Some(*warm));
        }
        let Some(row) = rows::living_room(&self.database, room_id)? else {
            return Ok(None);
        };
        let warm = Warm {
            key: row.key,
            epoch: row.epoch,
            head: rows::head(&self.database, row.key)?,
            deleting: row.state != RoomState::Active,
        };
        self.warm.insert(room_id.clone(), warm);
        Ok(Some(warm))
    }
}

/// What a step of a deletion gave, and how it went.
fn split<T>(result: rusqlite::Result<(T, u64)>, written: &mut u64, failed: T) -> (T, rusqlite::Result<()>) {
    match result {
        Ok((outcome, rows)) => {
            *written = rows;
            (outcome, Ok(()))
        }
        Err(why) => (failed, Err(why)),
    }
}

/// True if an error of COMMIT does not say whether the transaction is on disk. A full disk or a busy lock does say.
fn leaves_doubt(why: &rusqlite::Error) -> bool {
    !matches!(
        why.sqlite_error_code(),
        Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy)
    )
}
