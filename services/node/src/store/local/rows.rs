//! Statements: what is read from and written to the tables. Each is one short transaction.

use super::deletion;
use super::error::OpenError;
use crate::bugs;
use chat_engine::room::roster::Seat;
use chat_engine::stored::{NewMessage, Repeat, RoomProfile, RoomState, StoredSeat};
use chat_protocol::ids::{
    Epoch, Generation, Incarnation, MessageId, NodeId, RoomId, RoomName, SeatKey, Seq, SessionId, UserName,
};
use chat_protocol::limits::MAX_INCARNATION;
use chat_protocol::message_frame::Message;
use chat_protocol::timestamp::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params, types::Type};
use std::fmt::Display;
use std::sync::Arc;

/// A plain text message.
const KIND_TEXT: i64 = 0;

/// A room as the writer works on it.
#[derive(Debug, Clone)]
pub(super) struct RoomRow {
    pub(super) key: i64,
    pub(super) profile: RoomProfile,
    pub(super) generation: Generation,
    pub(super) epoch: Epoch,
    pub(super) floor: Seq,
    pub(super) state: RoomState,
}

/// A number on its way to a column; ours stay far below the bound.
pub(super) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| invalid(column, "a negative number"))
}

pub(super) fn invalid(column: usize, why: impl Display) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, why.to_string().into())
}

/// Parses a column that was valid when it was written. A failure means that the database was changed behind our back.
pub(super) fn parsed<T, E: Display>(
    row: &Row<'_>,
    column: usize,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str().map_err(|why| invalid(column, why))?;
    parse(text).map_err(|why| invalid(column, why))
}

fn profile(row: &Row<'_>) -> rusqlite::Result<RoomProfile> {
    Ok(RoomProfile {
        room_id: parsed(row, 1, RoomId::parse)?,
        room_name: parsed(row, 2, RoomName::parse)?,
        creator_id: parsed(row, 3, UserName::parse)?,
        description: row.get::<_, Option<String>>(4)?.map(Arc::from),
        created_at: Timestamp(row.get(5)?),
    })
}

const ROOM_COLUMNS: &str =
    "key, room_id, name, creator_id, description, created_at, generation, epoch, floor, state, txid";

/// Begins a new life of the node, durably, and says which.
pub(super) fn begin_life(
    database: &mut Connection,
    node_id: &NodeId,
    now_unix_ms: u64,
) -> Result<Incarnation, OpenError> {
    let meta = |database: &Connection, name: &str| -> rusqlite::Result<Option<String>> {
        database
            .query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0))
            .optional()
    };
    let mut begin = || -> rusqlite::Result<Result<Incarnation, OpenError>> {
        let transaction = database.transaction()?;
        if let Some(found) = meta(&transaction, "node_id")?
            && found != node_id.as_str()
        {
            return Ok(Err(OpenError::OtherNode {
                found,
                wanted: node_id.to_string(),
            }));
        }
        let stored = meta(&transaction, "incarnation")?.map_or(Ok(0), |text| text.parse::<u64>());
        let Some(stored) = stored.ok().filter(|stored| *stored < MAX_INCARNATION) else {
            return Ok(Err(OpenError::Corrupt(
                "the incarnation is no number that can be".into(),
            )));
        };
        let incarnation = Incarnation((stored + 1).max(now_unix_ms.min(MAX_INCARNATION)));
        let write = "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2";
        transaction.execute(write, params!["node_id", node_id.as_str()])?;
        transaction.execute(write, params!["incarnation", incarnation.to_string()])?;
        transaction.commit()?;
        Ok(Ok(incarnation))
    };
    begin().map_err(OpenError::database)?
}

/// Runs a statement that is run so often that it is parsed only once.
pub(super) fn run(database: &Connection, statement: &str) -> rusqlite::Result<()> {
    database.prepare_cached(statement)?.execute([])?;
    Ok(())
}

pub(super) fn count_rooms(database: &Connection) -> rusqlite::Result<usize> {
    let count = |sql| database.query_row(sql, [], |row| row.get::<_, i64>(0));
    let there = count("SELECT count(*) FROM rooms")? - count(deletion::COUNT)?;
    Ok(usize::try_from(there).unwrap_or(0))
}

/// A room, deleted or not.
pub(super) fn room(database: &Connection, room_id: &RoomId) -> rusqlite::Result<Option<RoomRow>> {
    let sql = select(ROOM_COLUMNS, "FROM rooms WHERE room_id = ?1");
    database
        .prepare_cached(&sql)?
        .query_row([room_id.as_str()], |row| {
            Ok(RoomRow {
                key: row.get(0)?,
                profile: profile(row)?,
                generation: Generation(unsigned(row, 6)?),
                epoch: Epoch(unsigned(row, 7)?),
                floor: Seq(unsigned(row, 8)?),
                state: deletion::state(row, 9)?.0,
            })
        })
        .optional()
}

/// A room that is not deleted.
pub(super) fn living_room(database: &Connection, room_id: &RoomId) -> rusqlite::Result<Option<RoomRow>> {
    Ok(room(database, room_id)?.filter(|row| !matches!(row.state, RoomState::Deleted(_))))
}

fn select(columns: &str, rest: &str) -> String {
    format!("SELECT {columns} {rest}")
}

pub(super) fn has_room(database: &Connection, room_id: &RoomId) -> rusqlite::Result<bool> {
    database
        .prepare_cached("SELECT 1 FROM rooms WHERE room_id = ?1 AND state < 2")?
        .exists([room_id.as_str()])
}

pub(super) fn has_name(database: &Connection, name: &RoomName) -> rusqlite::Result<bool> {
    database
        .prepare_cached("SELECT 1 FROM rooms WHERE name = ?1 AND state < 2")?
        .exists([name.as_str()])
}

pub(super) fn insert_room(database: &Connection, profile: &RoomProfile) -> rusqlite::Result<()> {
    database
        .prepare_cached(
            "INSERT INTO rooms (room_id, name, creator_id, description, created_at, generation, epoch, state)
             VALUES (?1, ?2, ?3, ?4, ?5, 1, 0, ?6)",
        )?
        .execute(params![
            profile.room_id.as_str(),
            profile.room_name.as_str(),
            profile.creator_id.as_str(),
            profile.description.as_deref(),
            profile.created_at.0,
            deletion::ACTIVE,
        ])?;
    Ok(())
}

pub(super) fn raise_epoch(database: &Connection, key: i64) -> rusqlite::Result<()> {
    database
        .prepare_cached("UPDATE rooms SET epoch = epoch + 1 WHERE key = ?1")?
        .execute([key])?;
    Ok(())
}

/// The number of a room's last message.
pub(super) fn head(database: &Connection, key: i64) -> rusqlite::Result<Seq> {
    database
        .prepare_cached("SELECT seq FROM messages WHERE room = ?1 ORDER BY seq DESC LIMIT 1")?
        .query_row([key], |row| unsigned(row, 0))
        .optional()
        .map(|seq| Seq(seq.unwrap_or(0)))
}

pub(super) fn insert_message(database: &Connection, key: i64, item: &NewMessage) -> rusqlite::Result<()> {
    let message = &item.message;
    let mut insert = database.prepare_cached(if bugs::has("cached-head") {
        "INSERT OR REPLACE INTO messages (room, seq, kind, message_id, sender, content, client_msg_id, timestamp)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
    } else {
        "INSERT INTO messages (room, seq, kind, message_id, sender, content, client_msg_id, timestamp)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
    })?;
    let client_msg_id = item.client_msg_id.as_ref().map(chat_protocol::ids::ClientMsgId::as_str);
    let values: [&dyn ToSql; 8] = [
        &key,
        &number(message.seq.0),
        &KIND_TEXT,
        &message.message_id.as_str(),
        &message.username.as_str(),
        &&*message.content,
        &client_msg_id,
        &message.timestamp.0,
    ];
    insert.execute(values)?;
    Ok(())
}

/// The number of the first message that is read.
pub(super) fn floor(database: &Connection, key: i64) -> rusqlite::Result<Seq> {
    database
        .prepare_cached("SELECT floor FROM rooms WHERE key = ?1")?
        .query_row([key], |row| unsigned(row, 0))
        .map(Seq)
}

/// Left to itself, SQLite reads the whole room: it takes the primary key for the better way in.
pub(super) const REPEAT: &str = "SELECT message_id, seq, timestamp, content = ?4
     FROM messages INDEXED BY messages_by_sending WHERE room = ?1 AND client_msg_id = ?3 AND sender = ?2";

/// The items that their sender has sent to the room before. It reads the leaf of the index that the insertion needs.
pub(super) fn repeats(database: &Connection, key: i64, items: &[NewMessage]) -> rusqlite::Result<Vec<Repeat>> {
    let mut found = Vec::new();
    if bugs::has("forgotten-sendings") {
        return Ok(found);
    }
    for (index, item) in items.iter().enumerate() {
        let Some(id) = &item.client_msg_id else { continue };
        let first = database
            .prepare_cached(REPEAT)?
            .query_row(
                params![key, item.message.username.as_str(), id.as_str(), &*item.message.content],
                |row| {
                    Ok(Repeat {
                        index,
                        message_id: parsed(row, 0, MessageId::parse)?,
                        seq: Seq(unsigned(row, 1)?),
                        timestamp: Timestamp(row.get(2)?),
                        same_content: row.get(3)?,
                    })
                },
            )
            .optional()?;
        found.extend(first);
    }
    Ok(found)
}

pub(super) fn keep_seat(database: &Connection, key: i64, kept: &StoredSeat) -> rusqlite::Result<()> {
    database
        .prepare_cached(
            "INSERT INTO seats (room, node, session, user, resume_key) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (room, node, session) DO UPDATE SET user = ?4, resume_key = ?5",
        )?
        .execute(params![
            key,
            kept.seat.node.as_str(),
            number(kept.seat.session.0),
            kept.user.as_str(),
            kept.key.as_ref().map(SeatKey::as_str),
        ])?;
    Ok(())
}

pub(super) fn drop_seat(database: &Connection, key: i64, seat: &Seat) -> rusqlite::Result<()> {
    database
        .prepare_cached("DELETE FROM seats WHERE room = ?1 AND node = ?2 AND session = ?3")?
        .execute(params![key, seat.node.as_str(), number(seat.session.0)])?;
    Ok(())
}

pub(super) fn seats(database: &Connection, key: i64) -> rusqlite::Result<Vec<StoredSeat>> {
    database
        .prepare_cached("SELECT node, session, user, resume_key FROM seats WHERE room = ?1")?
        .query_map([key], |row| {
            let resume_key: Option<String> = row.get(3)?;
            let resume_key = resume_key.map(|text| SeatKey::parse(&text).map_err(|why| invalid(3, why)));
            Ok(StoredSeat {
                seat: Seat {
                    node: parsed(row, 0, NodeId::parse)?,
                    session: SessionId(unsigned(row, 1)?),
                },
                user: parsed(row, 2, UserName::parse)?,
                key: resume_key.transpose()?,
            })
        })?
        .collect()
}

pub(super) fn seated_rooms(database: &Connection) -> rusqlite::Result<Vec<RoomId>> {
    database
        .prepare_cached(
            "SELECT room_id FROM rooms WHERE key IN (SELECT DISTINCT room FROM seats) AND state < 2 ORDER BY key",
        )?
        .query_map([], |row| parsed(row, 0, RoomId::parse))?
        .collect()
}

/// True if this very message stands at its place.
pub(super) fn holds(database: &Connection, key: i64, message: &Message) -> rusqlite::Result<bool> {
    database
        .prepare_cached("SELECT 1 FROM messages WHERE room = ?1 AND seq = ?2 AND message_id = ?3")?
        .exists(params![key, number(message.seq.0), message.message_id.as_str()])
}

/// Messages from a number on, or from the first that is kept.
pub(super) const PAGE: &str = "SELECT seq, message_id, sender, content, messages.timestamp
     FROM rooms JOIN messages ON room = key WHERE room_id = ?1 AND state < 2 AND seq >= max(?2, floor) ORDER BY seq
     LIMIT ?3";

pub(super) fn messages(
    database: &Connection,
    room_id: &RoomId,
    from: Seq,
    limit: usize,
    max_bytes: usize,
) -> rusqlite::Result<Vec<Message>> {
    let mut select = database.prepare_cached(PAGE)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = select.query(params![room_id.as_str(), number(from.0), limit])?;
    let (mut found, mut bytes) = (Vec::new(), 0_usize);
    while let Some(row) = rows.next()? {
        let message = Message {
            seq: Seq(unsigned(row, 0)?),
            message_id: parsed(row, 1, MessageId::parse)?,
            room_id: room_id.clone(),
            username: parsed(row, 2, UserName::parse)?,
            content: parsed(row, 3, |text| Ok::<_, std::convert::Infallible>(Arc::from(text)))?,
            timestamp: Timestamp(row.get(4)?),
        };
        bytes = bytes.saturating_add(message.content.len());
        if bytes > max_bytes && !found.is_empty() {
            break;
        }
        found.push(message);
    }
    Ok(found)
}

pub(super) fn heads(database: &Connection, rooms: Vec<RoomId>) -> rusqlite::Result<Vec<(RoomId, Seq)>> {
    let mut found = Vec::with_capacity(rooms.len());
    for room_id in rooms {
        if let Some(row) = living_room(database, &room_id)? {
            found.push((room_id, head(database, row.key)?));
        }
    }
    Ok(found)
}

pub(super) fn remember_location(database: &Connection, room_id: &RoomId, node: &NodeId) -> rusqlite::Result<()> {
    database
        .prepare_cached(
            "INSERT INTO locations (room_id, node) VALUES (?1, ?2) ON CONFLICT (room_id) DO UPDATE SET node = ?2",
        )?
        .execute([room_id.as_str(), node.as_str()])?;
    Ok(())
}

pub(super) fn location(database: &Connection, room_id: &RoomId) -> rusqlite::Result<Option<NodeId>> {
    database
        .prepare_cached("SELECT node FROM locations WHERE room_id = ?1")?
        .query_row([room_id.as_str()], |row| parsed(row, 0, NodeId::parse))
        .optional()
}

/// A page of rooms after a key, and the key to go on from.
pub(super) fn rooms(
    database: &Connection,
    after: u64,
    limit: usize,
) -> rusqlite::Result<(Vec<RoomProfile>, Option<u64>)> {
    let sql = select(
        ROOM_COLUMNS,
        "FROM rooms WHERE key > ?1 AND state < 2 ORDER BY key LIMIT ?2",
    );
    let mut select = database.prepare_cached(&sql)?;
    let mut rows = select.query(params![number(after), i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let (mut found, mut last) = (Vec::new(), after);
    while let Some(row) = rows.next()? {
        last = unsigned(row, 0)?;
        found.push(profile(row)?);
    }
    let next = (found.len() == limit).then_some(last);
    Ok((found, next))
}
