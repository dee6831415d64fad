//! What must hold whatever is in the database: somebody wrote into it, or a disk returned something else than it took.
//!
//! Only for the fuzz target `stored_row` and for the test that repeats what it found. The tables are those of the schema
//! without its types and bounds, so that any value can stand in any column; what reads them is what always does. What was
//! read is written to a database of the schema and read again, and must be the same.

mod deletions;

use super::{deletion, migrations, rows, trim};
use chat_engine::stored::{NewMessage, RoomProfile, StoredSeat, Trim};
use chat_protocol::ids::{ClientMsgId, Epoch, MessageId, NodeId, RoomId, RoomName, Seq, UserName};
use chat_protocol::limits::{MAX_CONTENT_CHARS, MAX_SEQ};
use chat_protocol::message_frame::{Message, MessageFrame};
use chat_protocol::text;
use chat_protocol::timestamp::Timestamp;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};
use std::cell::RefCell;

/// The tables as they are read, open to any value.
const OPEN_TABLES: &str = "
    CREATE TABLE meta (name, value);
    CREATE TABLE rooms (
        key INTEGER PRIMARY KEY, room_id, name, creator_id, description, created_at, generation, epoch, state, floor, txid
    );
    CREATE INDEX rooms_not_active ON rooms (state, key) WHERE state > 0;
    CREATE TABLE messages (room, seq, kind, message_id, sender, content, client_msg_id, timestamp, extended);
    CREATE INDEX messages_by_sending ON messages (room, client_msg_id) WHERE client_msg_id IS NOT NULL;
    CREATE TABLE locations (room_id, node);
    CREATE TABLE seats (room, node, session, user, resume_key);
";

const TABLES: [&str; 5] = ["meta", "rooms", "messages", "locations", "seats"];

/// The key and the id of the room that is looked for.
const KEY: i64 = 1;
const ROOM: &str = "r";

/// A text of a cell that is in an error only if the error repeats it: no error of ours has such characters. (The fuzzer knows
/// what its texts are compared with, and has written whole errors into cells.)
fn telling(text: &str) -> bool {
    text.contains(|char: char| char != ' ' && !char.is_ascii_graphic())
}

/// What stands in one column of one row.
#[derive(Debug, Clone, PartialEq)]
enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    /// Of type text, which need not be UTF-8.
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Text(bytes) => ValueRef::Text(bytes),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// Cells made of bytes, as many as are asked for.
struct Cells<'a>(&'a [u8]);

impl Cells<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().map_or((0, self.0), |(first, rest)| (*first, rest));
        self.0 = rest;
        first
    }

    fn eight(&mut self) -> [u8; 8] {
        std::array::from_fn(|_| self.byte())
    }

    fn bytes(&mut self) -> Vec<u8> {
        let count = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(count);
        self.0 = rest;
        bytes.to_vec()
    }

    fn next(&mut self) -> Cell {
        match self.byte() % 8 {
            0 => Cell::Null,
            1 => Cell::Integer(i64::from_le_bytes(self.eight())),
            2 => Cell::Integer(self.byte().into()),
            3 => Cell::Real(f64::from_le_bytes(self.eight())),
            4 => Cell::Blob(self.bytes()),
            5 => {
                // Long enough for any limit.
                let part = self.bytes();
                Cell::Text(part.repeat(usize::from(self.byte()) * 32))
            }
            _ => Cell::Text(self.bytes()),
        }
    }

    fn take<const N: usize>(&mut self) -> [Cell; N] {
        std::array::from_fn(|_| self.next())
    }
}

struct Databases {
    /// Holds what the input says.
    open: Connection,
    /// Holds what was read from it.
    sound: Connection,
}

impl Databases {
    fn new() -> Self {
        let database = || {
            let database = Connection::open_in_memory().expect("memory");
            database.set_prepared_statement_cache_capacity(64);
            database
        };
        let (open, mut sound) = (database(), database());
        open.execute_batch(OPEN_TABLES).expect("the tables");
        migrations::steps(&mut sound).expect("the schema");
        Self { open, sound }
    }

    fn clear(&self) {
        for database in [&self.open, &self.sound] {
            for table in TABLES {
                rows::run(database, &format!("DELETE FROM {table}")).expect("cleared");
            }
        }
    }
}

thread_local! {
    static DATABASES: RefCell<Databases> = RefCell::new(Databases::new());
}

/// Reads rows that `bytes` describes, in all ways in which the store reads rows.
///
/// # Panics
/// If anything does not hold that must.
pub fn read_back(bytes: &[u8]) {
    DATABASES.with_borrow_mut(|databases| {
        databases.clear();
        let mut cells = Cells(bytes);
        let secrets = fill(&databases.open, &mut cells);
        let check = Check {
            databases,
            secrets: &secrets,
        };
        check.rooms();
        check.messages();
        check.seats();
        check.numbers();
        check.changes();
        check.deletions();
        let life = rows::begin_life(&mut databases.open, &node(), 1_000);
        if let Ok(life) = life {
            assert!(life.0 >= 1_000, "a life before its own clock");
        }
    });
}

/// Puts a row or two into each table. Gives the texts that no error may repeat.
fn fill(database: &Connection, cells: &mut Cells<'_>) -> Vec<String> {
    let mut secrets = Vec::new();
    let mut insert = |table: &str, row: Vec<Cell>| {
        for cell in &row {
            if let Cell::Text(bytes) | Cell::Blob(bytes) = cell {
                secrets.extend(String::from_utf8(bytes.clone()).ok().filter(|text| telling(text)));
            }
        }
        let places = vec!["?"; row.len()].join(", ");
        let mut statement = database
            .prepare_cached(&format!("INSERT INTO {table} VALUES ({places})"))
            .expect("a statement");
        statement
            .execute(params_from_iter(row))
            .expect("any value can be written");
    };
    let text = |text: &str| Cell::Text(text.as_bytes().to_vec());
    let row = |fixed: &[Cell], rest: [Cell; 9], take: usize| -> Vec<Cell> {
        fixed.iter().cloned().chain(rest.into_iter().take(take)).collect()
    };
    insert("rooms", row(&[Cell::Integer(KEY), text(ROOM)], cells.take(), 9));
    insert("messages", row(&[Cell::Integer(KEY)], cells.take(), 8));
    insert("messages", row(&[Cell::Integer(KEY)], cells.take(), 8));
    insert("seats", row(&[Cell::Integer(KEY)], cells.take(), 4));
    insert("locations", row(&[text(ROOM)], cells.take(), 1));
    insert("meta", row(&[text("incarnation")], cells.take(), 1));
    insert("meta", row(&[text("node_id"), text("n1")], cells.take(), 0));
    let mut other = row(&[Cell::Integer(KEY + 1)], cells.take(), 9);
    other.push(cells.next());
    insert("rooms", other);
    insert("meta", row(&[text("readable_by")], cells.take(), 1));
    secrets
}

fn node() -> NodeId {
    NodeId::parse("n1").expect("valid")
}

fn room_id() -> RoomId {
    RoomId::parse(ROOM).expect("valid")
}

fn new_message(seq: Seq) -> NewMessage {
    NewMessage {
        message: Message {
            message_id: MessageId::parse("m").expect("valid"),
            room_id: room_id(),
            username: UserName::parse("u").expect("valid"),
            content: "c".into(),
            seq,
            timestamp: Timestamp(0),
        },
        client_msg_id: Some(ClientMsgId::parse("i").expect("valid")),
    }
}

struct Check<'a> {
    databases: &'a Databases,
    secrets: &'a [String],
}

impl Check<'_> {
    /// What was read; nothing if it was refused, which says nothing of what stood there.
    fn read<T>(&self, result: rusqlite::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(why) => {
                let why = why.to_string();
                for secret in self.secrets {
                    assert!(
                        !why.contains(secret.as_str()),
                        "an error repeats what it refuses: {why}"
                    );
                }
                None
            }
        }
    }

    fn rooms(&self) {
        let open = &self.databases.open;
        let found = self.read(rows::room(open, &room_id())).flatten();
        let listed = self.read(rows::rooms(open, 0, 10)).map(|(rooms, next)| {
            assert!(rooms.len() <= 2 && next.is_none());
            rooms
        });
        for profile in found.map(|row| row.profile).iter().chain(listed.iter().flatten()) {
            self.profile_survives(profile);
        }
    }

    fn profile_survives(&self, profile: &RoomProfile) {
        assert_eq!(RoomId::parse(profile.room_id.as_str()).as_ref(), Ok(&profile.room_id));
        assert_eq!(
            RoomName::parse(profile.room_name.as_str()).as_ref(),
            Ok(&profile.room_name)
        );
        assert_eq!(
            UserName::parse(profile.creator_id.as_str()).as_ref(),
            Ok(&profile.creator_id)
        );
        let sound = &self.databases.sound;
        rows::run(sound, "DELETE FROM rooms").expect("cleared");
        rows::insert_room(sound, profile).expect("written");
        let again = rows::room(sound, &profile.room_id).expect("read").expect("there");
        assert_eq!(&again.profile, profile);
    }

    fn messages(&self) {
        let open = &self.databases.open;
        let all = self.read(rows::messages(open, &room_id(), Seq(0), 10, usize::MAX));
        let bounded = self.read(rows::messages(open, &room_id(), Seq(0), 10, 0));
        if let (Some(all), Some(bounded)) = (&all, &bounded) {
            assert!(bounded.len() <= 1 || all[1..].iter().all(|message| message.content.is_empty()));
            assert_eq!(bounded.is_empty(), all.is_empty());
        }
        for message in all.iter().flatten() {
            let frame = MessageFrame::encode(message);
            let sayable = message.content.chars().count() <= MAX_CONTENT_CHARS
                && text::first_forbidden(&message.content).is_none();
            if sayable && (1..=MAX_SEQ).contains(&message.seq.0) {
                assert_eq!(MessageFrame::from_payload(frame.payload()), Ok(frame));
            }
            self.message_survives(message);
        }
    }

    fn message_survives(&self, message: &Message) {
        let sound = &self.databases.sound;
        rows::run(sound, "DELETE FROM rooms").expect("cleared");
        rows::run(sound, "DELETE FROM messages").expect("cleared");
        let profile = RoomProfile {
            room_id: room_id(),
            room_name: RoomName::parse("n").expect("valid"),
            creator_id: UserName::parse("u").expect("valid"),
            description: None,
            created_at: Timestamp(0),
        };
        rows::insert_room(sound, &profile).expect("written");
        let key = rows::room(sound, &profile.room_id).expect("read").expect("there").key;
        let new = NewMessage {
            message: message.clone(),
            client_msg_id: None,
        };
        rows::insert_message(sound, key, &new).expect("written");
        let again = rows::messages(sound, &room_id(), Seq(0), 10, usize::MAX).expect("read");
        // Below the first number that a room keeps, nothing is read.
        let expected = if message.seq >= Seq(1) {
            vec![message.clone()]
        } else {
            Vec::new()
        };
        assert_eq!(again, expected);
        assert!(rows::holds(sound, key, message).expect("read"));
    }

    fn seats(&self) {
        let open = &self.databases.open;
        for seat in self.read(rows::seats(open, KEY)).iter().flatten() {
            self.seat_survives(seat);
        }
        for room in self.read(rows::seated_rooms(open)).iter().flatten() {
            assert_eq!(RoomId::parse(room.as_str()).as_ref(), Ok(room));
        }
    }

    fn seat_survives(&self, seat: &StoredSeat) {
        let sound = &self.databases.sound;
        rows::keep_seat(sound, KEY, seat).expect("written");
        assert_eq!(rows::seats(sound, KEY).expect("read"), std::slice::from_ref(seat));
        rows::drop_seat(sound, KEY, &seat.seat).expect("removed");
        assert_eq!(rows::seats(sound, KEY).expect("read"), []);
    }

    fn numbers(&self) {
        let open = &self.databases.open;
        if let Some(head) = self.read(rows::head(open, KEY)) {
            let heads = self.read(rows::heads(open, vec![room_id()])).unwrap_or_default();
            assert!(heads.iter().all(|(_, again)| *again == head));
        }
        let _any_floor = self.read(rows::floor(open, KEY));
        if let Some(Some(node)) = self.read(rows::location(open, &room_id())) {
            assert_eq!(NodeId::parse(node.as_str()), Ok(node));
        }
        for repeat in self
            .read(rows::repeats(open, KEY, &[new_message(Seq(1))]))
            .iter()
            .flatten()
        {
            assert_eq!(repeat.index, 0);
        }
        assert!(rows::count_rooms(open).is_ok_and(|count| count <= 2));
        if let Some(Some(known)) = self.read(deletion::find(open, &room_id())) {
            assert_eq!(RoomName::parse(known.room_name.as_str()).as_ref(), Ok(&known.room_name));
        }
        for room in self.read(deletion::unfinished(open)).iter().flatten() {
            assert_eq!(RoomId::parse(room.as_str()).as_ref(), Ok(room));
        }
    }

    /// Changes of rows that are not sound are made or refused; none goes on from a number that it made up.
    fn changes(&self) {
        let open = &self.databases.open;
        let before = self.read(rows::room(open, &room_id())).flatten();
        let raised = self.read(rows::raise_epoch(open, KEY));
        if let (Some(before), Some(())) = (before, raised)
            && let Some(after) = self.read(rows::room(open, &room_id())).flatten()
        {
            assert_eq!(after.epoch, Epoch(before.epoch.0 + 1));
        }
        if let Some(head) = self.read(rows::head(open, KEY)) {
            let wanted = Trim {
                epoch: Epoch(1),
                below: Seq(5),
                recognised: 2,
                recognised_since: Timestamp(0),
            };
            if let Some((floor, _, _)) = self.read(trim::trim(open, KEY, head, wanted)) {
                assert_eq!(self.read(rows::floor(open, KEY)), Some(floor));
            }
        }
    }
}
