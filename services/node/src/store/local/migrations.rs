//! The schema, one numbered step after the other.
//!
//! A release only adds to the schema, so that the release before can still open it: `readable_by` says which schema a
//! release must know to serve this one. A database that needs more than a release knows is refused.

use super::error::OpenError;
use rusqlite::{Connection, OptionalExtension};
use std::path::Path;

/// Tells a database of ours from others: "chat" in ASCII.
const APPLICATION_ID: i64 = 0x6368_6174;

/// The steps. The position of a step, from 1, is the number of the schema after it.
///
/// Room keys are integers because every message repeats them. `kind` and `extended` are for items that are no plain
/// text; `client_msg_id` recognises a repeated sending. Names are not unique in the schema: that is a rule of this
/// store, not of every store with this schema. The second step notes where the rooms of other nodes are, and who sits
/// in the rooms of this one. The third finds sendings by their ids alone: ids that begin with a time or a count, as most do,
/// are then written side by side, whoever sends, and not on a page per sender. The fourth says below which number messages
/// are not read any more. The fifth names the last attempt to delete a room, and finds those that are not active.
const STEPS: &[&str] = &[
    "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE rooms (
        key INTEGER PRIMARY KEY,
        room_id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        creator_id TEXT NOT NULL,
        description TEXT,
        created_at INTEGER NOT NULL,
        generation INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        state INTEGER NOT NULL
    );
    CREATE INDEX rooms_by_name ON rooms (name);
    CREATE TABLE messages (
        room INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        message_id TEXT NOT NULL,
        sender TEXT NOT NULL,
        content TEXT NOT NULL,
        client_msg_id TEXT,
        timestamp INTEGER NOT NULL,
        extended BLOB,
        PRIMARY KEY (room, seq)
    ) WITHOUT ROWID;
    CREATE INDEX messages_by_client_msg_id ON messages (room, sender, client_msg_id)
        WHERE client_msg_id IS NOT NULL;
",
    "
    CREATE TABLE locations (room_id TEXT PRIMARY KEY, node TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE seats (
        room INTEGER NOT NULL,
        node TEXT NOT NULL,
        session INTEGER NOT NULL,
        user TEXT NOT NULL,
        resume_key TEXT,
        PRIMARY KEY (room, node, session)
    ) WITHOUT ROWID;
    INSERT INTO meta (name, value) VALUES ('readable_by', '1');
",
    "
    DROP INDEX messages_by_client_msg_id;
    CREATE INDEX messages_by_sending ON messages (room, client_msg_id) WHERE client_msg_id IS NOT NULL;
",
    "
    ALTER TABLE rooms ADD COLUMN floor INTEGER NOT NULL DEFAULT 1;
",
    "
    ALTER TABLE rooms ADD COLUMN txid TEXT;
    CREATE INDEX rooms_not_active ON rooms (state, key) WHERE state > 0;
",
];

pub(super) const NEWEST: i64 = STEPS.len() as i64;

/// Settings of a connection that writes.
pub(super) fn configure(database: &Connection) -> Result<(), OpenError> {
    let set = || -> rusqlite::Result<()> {
        database.pragma_update(None, "journal_mode", "WAL")?;
        database.pragma_update(None, "synchronous", "FULL")?;
        database.pragma_update(None, "wal_autocheckpoint", 0)?;
        // 16 MiB of pages, so that the leaves of a thousand busy rooms stay in memory.
        database.pragma_update(None, "cache_size", -16_384)?;
        database.pragma_update(None, "foreign_keys", "ON")
    };
    database.set_prepared_statement_cache_capacity(32);
    set().map_err(OpenError::database)
}

/// Makes a new database with the newest schema and closes it.
pub(super) fn create(path: &Path) -> Result<(), OpenError> {
    let mut database = Connection::open(path).map_err(OpenError::database)?;
    configure(&database)?;
    database
        .pragma_update(None, "application_id", APPLICATION_ID)
        .map_err(OpenError::database)?;
    run_steps(&mut database, 0)?;
    database.close().map_err(|(_, why)| OpenError::database(why))
}

/// The newest schema in an empty database, without the settings of a file.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn steps(database: &mut Connection) -> Result<(), OpenError> {
    run_steps(database, 0)
}

/// Brings a database of ours up to date.
pub(super) fn migrate(database: &mut Connection) -> Result<(), OpenError> {
    let application: i64 = database
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(OpenError::database)?;
    if application != APPLICATION_ID {
        return Err(OpenError::Corrupt("it was made by another program".into()));
    }
    let found: i64 = database
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(OpenError::database)?;
    if found > NEWEST {
        let needed = readable_by(database).map_err(OpenError::database)?.unwrap_or(found);
        if needed > NEWEST {
            return Err(OpenError::Newer { found, known: NEWEST });
        }
        tracing::info!(
            schema = found,
            known = NEWEST,
            "the database is of a later release that this one can serve"
        );
        return Ok(());
    }
    run_steps(database, found)
}

pub(super) fn readable_by(database: &Connection) -> rusqlite::Result<Option<i64>> {
    let value: Option<String> = database
        .query_row("SELECT value FROM meta WHERE name = 'readable_by'", [], |row| {
            row.get(0)
        })
        .optional()?;
    Ok(value.and_then(|text| text.parse().ok()))
}

fn run_steps(database: &mut Connection, done: i64) -> Result<(), OpenError> {
    for (number, step) in (1_i64..).zip(STEPS).skip_while(|(number, _)| *number <= done) {
        let mut run = || -> rusqlite::Result<()> {
            let transaction = database.transaction()?;
            transaction.execute_batch(step)?;
            transaction.pragma_update(None, "user_version", number)?;
            transaction.commit()
        };
        run().map_err(OpenError::database)?;
    }
    Ok(())
}
