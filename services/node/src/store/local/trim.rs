//! Giving up the oldest messages of a room.
//!
//! Two numbers go up: below the floor nothing is read any more, and what no repeated sending can need is removed from the
//! disk, from the oldest on. The floor moves in one step; removing is done in steps that do not stop the writer for long.

use super::rows::{self, number};
use chat_engine::stored::Trim;
use chat_protocol::ids::Seq;
use rusqlite::{Connection, OptionalExtension, params};

/// Most messages that one call removes: about 5 ms of the writer's time.
const STEP: u64 = 1_000;

/// Raises the floor of a room whose last message is `head`, and removes what is not needed. Gives the floor, how many
/// rows were changed, and whether more could be removed.
pub(super) fn trim(database: &Connection, key: i64, head: Seq, trim: Trim) -> rusqlite::Result<(Seq, u64, bool)> {
    let below = trim.below.min(head);
    let raised = database
        .prepare_cached("UPDATE rooms SET floor = ?2 WHERE key = ?1 AND floor < ?2")?
        .execute(params![key, number(below.0)])?;
    let floor = rows::floor(database, key)?;
    let end = floor.0.min((head.0 + 1).saturating_sub(trim.recognised));
    let Some(oldest) = oldest(database, key)?.filter(|oldest| *oldest < end) else {
        return Ok((floor, raised as u64, false));
    };
    let step = end.min(oldest + STEP);
    // Up to the first one that is young: a clock that was wrong keeps messages for longer, and leaves no hole.
    let young = database
        .prepare_cached(
            "SELECT seq FROM messages WHERE room = ?1 AND seq >= ?2 AND seq < ?3 AND timestamp >= ?4
             ORDER BY seq LIMIT 1",
        )?
        .query_row(
            params![key, number(oldest), number(step), trim.recognised_since.0],
            |row| rows::unsigned(row, 0),
        )
        .optional()?;
    let removed = database
        .prepare_cached("DELETE FROM messages WHERE room = ?1 AND seq < ?2")?
        .execute(params![key, number(young.unwrap_or(step))])?;
    Ok((floor, (raised + removed) as u64, young.is_none() && step < end))
}

fn oldest(database: &Connection, key: i64) -> rusqlite::Result<Option<u64>> {
    database
        .prepare_cached("SELECT seq FROM messages WHERE room = ?1 ORDER BY seq LIMIT 1")?
        .query_row([key], |row| rows::unsigned(row, 0))
        .optional()
}
