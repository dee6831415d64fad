//! The end of a room: two durable steps, and removing what it leaves behind.
//!
//! The room's own row is the log of the transaction and, in the end, the tombstone: its id is never used again, and
//! whoever comes late learns what happened. Messages and seats are removed afterwards, in steps that do not stop the writer
//! for long.

use super::rows::{self, number};
use chat_engine::stored::{
    BeginDeletion, BeginOutcome, DecideDeletion, DecideOutcome, Decision, RoomState, StoredDeletion,
};
use chat_protocol::ids::{Epoch, RoomId, RoomName, TransactionId};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// A room that can be written to.
pub(super) const ACTIVE: i64 = 0;
/// A deletion has begun.
pub(super) const DELETING: i64 = 1;
/// The room is gone, but not all of it.
pub(super) const DELETED: i64 = 2;
/// Nothing is left but the row itself.
pub(super) const PURGED: i64 = 3;

/// Most messages, and most seats, that one call removes: about 5 ms of the writer's time.
const STEP: u64 = 1_000;

/// The state of a row whose columns at `column` are `state` and `txid`. The attempt of an active room is one that was given
/// up.
pub(super) fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<(RoomState, Option<TransactionId>)> {
    let transaction = || rows::parsed(row, column + 1, TransactionId::parse);
    Ok(match row.get::<_, i64>(column)? {
        ACTIVE => {
            let given_up = row.get_ref(column + 1)? != rusqlite::types::ValueRef::Null;
            (RoomState::Active, given_up.then(transaction).transpose()?)
        }
        DELETING => (RoomState::Deleting(transaction()?), None),
        // What a later release may add behind these is no room for this one, either.
        DELETED.. => (RoomState::Deleted(transaction()?), None),
        _ => return Err(rows::invalid(column, "a state that no room has")),
    })
}

/// A room as far as its deletion is concerned.
struct Standing {
    key: i64,
    epoch: Epoch,
    state: RoomState,
    given_up: Option<TransactionId>,
}

fn standing(database: &Connection, room_id: &RoomId) -> rusqlite::Result<Option<Standing>> {
    database
        .prepare_cached("SELECT key, epoch, state, txid FROM rooms WHERE room_id = ?1")?
        .query_row([room_id.as_str()], |row| {
            let (state, given_up) = state(row, 2)?;
            Ok(Standing {
                key: row.get(0)?,
                epoch: Epoch(rows::unsigned(row, 1)?),
                state,
                given_up,
            })
        })
        .optional()
}

fn set(database: &Connection, key: i64, state: i64, transaction: &TransactionId) -> rusqlite::Result<()> {
    database
        .prepare_cached("UPDATE rooms SET state = ?2, txid = ?3 WHERE key = ?1")?
        .execute(params![key, state, transaction.as_str()])?;
    Ok(())
}

/// Begins an attempt. Says how many rows were written.
pub(super) fn begin(
    database: &Connection,
    room_id: &RoomId,
    asked: &BeginDeletion,
) -> rusqlite::Result<(BeginOutcome, u64)> {
    let Some(room) = standing(database, room_id)? else {
        return Ok((BeginOutcome::NoRoom, 0));
    };
    if room.epoch != asked.epoch {
        return Ok((BeginOutcome::Fenced(room.epoch), 0));
    }
    match room.state {
        RoomState::Active if room.given_up.as_ref() != Some(&asked.transaction) => {
            set(database, room.key, DELETING, &asked.transaction)?;
            Ok((BeginOutcome::Begun, 1))
        }
        RoomState::Deleting(under_way) if under_way == asked.transaction => Ok((BeginOutcome::Begun, 0)),
        other => Ok((BeginOutcome::BadState(other), 0)),
    }
}

/// Decides an attempt. Says how many rows were written; with a decision to commit, 0 means that it was committed before.
pub(super) fn decide(
    database: &Connection,
    room_id: &RoomId,
    asked: &DecideDeletion,
) -> rusqlite::Result<(DecideOutcome, u64)> {
    let Some(room) = standing(database, room_id)? else {
        return Ok((DecideOutcome::NoRoom, 0));
    };
    if room.epoch != asked.epoch {
        return Ok((DecideOutcome::Fenced(room.epoch), 0));
    }
    match (room.state, asked.decision) {
        (RoomState::Deleting(under_way), Decision::Commit) if under_way == asked.transaction => {
            set(database, room.key, DELETED, &asked.transaction)?;
            needs_this_release(database)?;
            Ok((DecideOutcome::Decided, 1))
        }
        (RoomState::Deleting(under_way), Decision::Abort) if under_way == asked.transaction => {
            set(database, room.key, ACTIVE, &asked.transaction)?;
            Ok((DecideOutcome::Decided, 1))
        }
        (RoomState::Active, Decision::Abort) => {
            set(database, room.key, ACTIVE, &asked.transaction)?;
            Ok((DecideOutcome::Decided, 1))
        }
        (RoomState::Deleted(done), Decision::Commit) if done == asked.transaction => Ok((DecideOutcome::Decided, 0)),
        (other, _) => Ok((DecideOutcome::BadState(other), 0)),
    }
}

/// A release that does not look at the state of a room would show a deleted one, empty: from the first one on, it must not
/// open the database any more.
fn needs_this_release(database: &Connection) -> rusqlite::Result<()> {
    database
        .prepare_cached("UPDATE meta SET value = '5' WHERE name = 'readable_by' AND value + 0 < 5")?
        .execute([])?;
    Ok(())
}

/// What is known of a room's deletion; `None` if the room was never here.
pub(super) fn find(database: &Connection, room_id: &RoomId) -> rusqlite::Result<Option<StoredDeletion>> {
    database
        .prepare_cached("SELECT name, state, txid FROM rooms WHERE room_id = ?1")?
        .query_row([room_id.as_str()], |row| {
            let (state, _) = state(row, 1)?;
            let room_name = rows::parsed(row, 0, RoomName::parse)?;
            Ok(StoredDeletion { state, room_name })
        })
        .optional()
}

/// Found through an index that holds nothing but rooms that are being or were deleted.
pub(super) const UNFINISHED: &str =
    "SELECT room_id FROM rooms INDEXED BY rooms_not_active WHERE state > 0 AND state < 3 ORDER BY state, key";

/// Rooms whose deletion is not decided, or not finished.
pub(super) fn unfinished(database: &Connection) -> rusqlite::Result<Vec<RoomId>> {
    database
        .prepare_cached(UNFINISHED)?
        .query_map([], |row| rows::parsed(row, 0, RoomId::parse))?
        .collect()
}

/// How many rooms are deleted.
pub(super) const COUNT: &str = "SELECT count(*) FROM rooms INDEXED BY rooms_not_active WHERE state > 0 AND state >= 2";

/// Removes some of what a deleted room left behind. Says how many rows were removed, and whether there are more.
pub(super) fn purge(database: &Connection, room_id: &RoomId) -> rusqlite::Result<(u64, bool)> {
    let key: Option<i64> = database
        .prepare_cached("SELECT key FROM rooms WHERE room_id = ?1 AND state = 2")?
        .query_row([room_id.as_str()], |row| row.get(0))
        .optional()?;
    let Some(key) = key else { return Ok((0, false)) };
    let messages = database
        .prepare_cached(
            "DELETE FROM messages WHERE room = ?1 AND seq <=
                 (SELECT seq FROM messages WHERE room = ?1 ORDER BY seq LIMIT 1) + ?2",
        )?
        .execute(params![key, number(STEP - 1)])?;
    let seats = database
        .prepare_cached(
            "DELETE FROM seats WHERE room = ?1 AND (node, session) IN
                 (SELECT node, session FROM seats WHERE room = ?1 LIMIT ?2)",
        )?
        .execute(params![key, number(STEP)])?;
    if messages + seats > 0 {
        return Ok(((messages + seats) as u64, true));
    }
    database
        .prepare_cached("UPDATE rooms SET state = ?2 WHERE key = ?1")?
        .execute([key, PURGED])?;
    Ok((1, false))
}
