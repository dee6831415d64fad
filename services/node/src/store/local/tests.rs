//! What only a store on disk must do: survive, and refuse what it cannot serve.

use super::*;
use crate::store::conformance::{append, contents, outcomes, profile, suite};
use chat_engine::stored::AppendOutcome;
use chat_protocol::ids::Epoch;
use chat_protocol::limits::MAX_INCARNATION;
use chat_protocol::timestamp::Timestamp;
use std::fs;

fn node(id: &str) -> NodeId {
    NodeId::parse(id).unwrap()
}

fn open(dir: &Path) -> Result<LocalStore, OpenError> {
    open_with(dir, LocalLimits::default())
}

fn open_with(dir: &Path, limits: LocalLimits) -> Result<LocalStore, OpenError> {
    LocalStore::open(dir, &node("n1"), 1_000, limits, Metrics::new(&node("n1")))
}

fn refusal(dir: &Path) -> String {
    match open(dir) {
        Ok(_) => panic!("a directory that cannot be used was opened"),
        Err(why) => why.to_string(),
    }
}

/// A directory with one room of three messages, closed.
async fn used() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.create_room(profile("r1", "hall")).await.unwrap();
    store.claim(RoomId::parse("r1").unwrap()).await.unwrap().unwrap();
    assert_eq!(
        outcomes(&store, vec![append("r1", 1, 1, 1..=3)]).await,
        [AppendOutcome::Committed]
    );
    store.close().await;
    dir
}

#[tokio::test]
async fn it_behaves_as_every_store() {
    let dir = tempfile::tempdir().unwrap();
    suite(&open(dir.path()).unwrap()).await;
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart_and_numbers_go_on() {
    let dir = used().await;
    let store = open(dir.path()).unwrap();
    assert_eq!(contents(&store, "r1", 1, 10).await.len(), 3);
    assert_eq!(store.rooms(None, 10).await.unwrap().total, 1);
    let claimed = store.claim(RoomId::parse("r1").unwrap()).await.unwrap().unwrap();
    assert_eq!((claimed.epoch.0, claimed.head), (2, Seq(3)));
    let got = outcomes(&store, vec![append("r1", 1, 2, 3..=3), append("r1", 2, 2, 4..=4)]).await;
    assert_eq!(got, [AppendOutcome::Duplicate, AppendOutcome::Committed]);
}

#[tokio::test]
async fn a_deletion_is_where_it_was_after_a_restart() {
    use crate::store::conformance::deletion::{begin, decide};
    use chat_engine::stored::{BeginOutcome, DecideOutcome, Decision, RoomState};
    let dir = used().await;
    let room = || RoomId::parse("r1").unwrap();
    let store = open(dir.path()).unwrap();
    assert_eq!(begin(&store, "r1", 1, "t1").await, BeginOutcome::Begun);
    store.close().await;
    let store = open(dir.path()).unwrap();
    assert_eq!(store.unfinished_deletions().await, Ok(vec![room()]));
    // The old tenure is not fenced yet, and appends nothing.
    assert_eq!(
        outcomes(&store, vec![append("r1", 1, 1, 4..=4)]).await,
        [AppendOutcome::BeingDeleted]
    );
    let claimed = store.claim(room()).await.unwrap().unwrap();
    assert!(matches!(claimed.state, RoomState::Deleting(_)));
    let decided = decide(&store, "r1", 2, "t1", Decision::Commit).await;
    assert_eq!(decided, DecideOutcome::Decided);
    store.close().await;
    let store = open(dir.path()).unwrap();
    assert_eq!(store.rooms(None, 10).await.unwrap().total, 0);
    assert_eq!(contents(&store, "r1", 1, 10).await, []);
    assert_eq!(store.unfinished_deletions().await, Ok(vec![room()]));
    // A release that would show the room, empty, must not open this.
    let database = Connection::open(dir.path().join("chat.db")).unwrap();
    let needed: String = database
        .query_row("SELECT value FROM meta WHERE name = 'readable_by'", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(needed, "5");
}

#[tokio::test]
async fn what_a_long_room_leaves_is_removed_step_by_step() {
    use crate::store::conformance::deletion::{begin, decide};
    use chat_engine::stored::Decision;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let room = || RoomId::parse("r1").unwrap();
    store.create_room(profile("r1", "hall")).await.unwrap();
    store.claim(room()).await.unwrap();
    for n in 0..5 {
        let got = outcomes(&store, vec![append("r1", n, 1, n * 500 + 1..=(n + 1) * 500)]).await;
        assert_eq!(got, [AppendOutcome::Committed]);
    }
    begin(&store, "r1", 1, "t1").await;
    decide(&store, "r1", 1, "t1", Decision::Commit).await;
    let mut steps = 0;
    while store.purge(room()).await.unwrap() {
        steps += 1;
    }
    assert_eq!(steps, 3, "a thousand messages a step");
    let database = Connection::open(dir.path().join("chat.db")).unwrap();
    let left: i64 = database
        .query_row("SELECT count(*) FROM messages", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn every_life_has_a_higher_incarnation_even_if_the_clock_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    for (clock, expected) in [(1_000, 1_000), (5_000, 5_000), (2_000, 5_001), (5_001, 5_002)] {
        let store = LocalStore::open(
            dir.path(),
            &node("n1"),
            clock,
            LocalLimits::default(),
            Metrics::new(&node("n1")),
        )
        .unwrap();
        assert_eq!(store.incarnation(), Incarnation(expected));
        store.close().await;
    }
}

/// What fuzzing found: the life after this one had no number, and the process ended with a panic.
#[tokio::test]
async fn a_life_that_no_clock_can_give_is_no_database_of_ours() {
    let dir = used().await;
    for life in [
        MAX_INCARNATION.to_string(),
        u64::MAX.to_string(),
        "-1".into(),
        "soon".into(),
    ] {
        let database = Connection::open(dir.path().join("chat.db")).unwrap();
        let sql = "UPDATE meta SET value = ?1 WHERE name = 'incarnation'";
        assert_eq!(database.execute(sql, [&life]), Ok(1));
        drop(database);
        let refusal = refusal(dir.path());
        assert!(
            refusal.contains("cannot be used") && !refusal.contains(&life),
            "{refusal}"
        );
    }
}

/// Whatever the fuzzer has ever found worth keeping is tried again.
#[test]
fn no_row_that_was_ever_tried_breaks_anything() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/stored_row");
    let mut tried = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        fuzzing::read_back(&fs::read(entry.unwrap().path()).unwrap());
        tried += 1;
    }
    assert!(tried > 50, "the corpus is missing: {tried} rows");
}

#[tokio::test]
async fn a_directory_in_use_is_not_shared() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    assert!(refusal(dir.path()).contains("in use by another process"));
    store.close().await;
    open(dir.path()).unwrap();
}

#[tokio::test]
async fn a_directory_of_another_node_is_refused() {
    let dir = used().await;
    let why = LocalStore::open(
        dir.path(),
        &node("n2"),
        1,
        LocalLimits::default(),
        Metrics::new(&node("n1")),
    )
    .unwrap_err();
    assert_eq!(
        why.to_string(),
        "the data directory belongs to node n1, this is node n2"
    );
}

#[tokio::test]
async fn a_directory_whose_database_is_gone_is_not_started_anew() {
    let dir = used().await;
    fs::remove_file(dir.path().join("chat.db")).unwrap();
    assert!(refusal(dir.path()).contains("its database is gone"));
    assert!(!dir.path().join("chat.db").exists());
}

#[test]
fn a_directory_of_something_else_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.txt"), "years").unwrap();
    assert!(refusal(dir.path()).contains("holds files of something else"));
}

#[tokio::test]
async fn a_database_of_garbage_is_refused() {
    let dir = used().await;
    fs::write(dir.path().join("chat.db"), vec![0x5a; 20_000]).unwrap();
    assert!(
        refusal(dir.path()).contains("cannot be used"),
        "{}",
        refusal(dir.path())
    );
}

#[tokio::test]
async fn an_empty_database_file_is_refused() {
    let dir = used().await;
    fs::write(dir.path().join("chat.db"), "").unwrap();
    assert!(
        refusal(dir.path()).contains("made by another program"),
        "{}",
        refusal(dir.path())
    );
}

#[tokio::test]
async fn a_database_of_a_later_release_is_refused() {
    let dir = used().await;
    let database = Connection::open(dir.path().join("chat.db")).unwrap();
    database.pragma_update(None, "user_version", 99).unwrap();
    let needs = |schema: &str| {
        let sql = "UPDATE meta SET value = ?1 WHERE name = 'readable_by'";
        database.execute(sql, [schema]).unwrap();
    };
    let known = migrations::NEWEST;
    needs(&(known + 1).to_string());
    assert_eq!(
        refusal(dir.path()),
        format!("the database has schema 99, this release knows {known} at most; use the newer release")
    );
    // What only added to the schema is served.
    needs(&known.to_string());
    let store = open(dir.path()).unwrap();
    assert_eq!(store.rooms(None, 10).await.unwrap().total, 1);
    store.close().await;
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(refusal(&file.join("data")).contains("file/data"));
}

#[test]
fn a_start_that_was_interrupted_anywhere_is_completed_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("chat.db.new"), "half").unwrap();
    fs::write(dir.path().join("chat.db.new-wal"), "half").unwrap();
    drop(open(dir.path()).unwrap());
    // The mark was written, the database has not got its name yet.
    let other = tempfile::tempdir().unwrap();
    drop(open(other.path()).unwrap());
    let lock = fs::File::open(other.path().join("LOCK")).unwrap();
    // The dropped store's writer releases the directory when it has ended.
    lock.lock().unwrap();
    lock.unlock().unwrap();
    fs::rename(other.path().join("chat.db"), other.path().join("chat.db.new")).unwrap();
    drop(open(other.path()).unwrap());
}

#[tokio::test]
async fn a_full_disk_refuses_and_the_store_lives_on() {
    let dir = used().await;
    let full = LocalLimits {
        max_pages: 1,
        ..LocalLimits::default()
    };
    let store = open_with(dir.path(), full).unwrap();
    store.claim(RoomId::parse("r1").unwrap()).await.unwrap().unwrap();
    let mut seq = 4;
    // A page or two may still have room.
    let refused = loop {
        match &outcomes(&store, vec![append("r1", seq, 2, seq..=seq)]).await[..] {
            [AppendOutcome::Committed] => seq += 1,
            other => break other.to_vec(),
        }
    };
    assert!(
        matches!(&refused[..], [AppendOutcome::Refused(why)] if why.contains("full")),
        "{refused:?}"
    );
    assert_eq!(contents(&store, "r1", 1, 1_000).await.len() as u64, seq - 1);
    store.close().await;
    // There is room again: the refused message never was, and its number is free.
    let store = open(dir.path()).unwrap();
    store.claim(RoomId::parse("r1").unwrap()).await.unwrap().unwrap();
    assert_eq!(
        outcomes(&store, vec![append("r1", 1, 3, seq..=seq)]).await,
        [AppendOutcome::Committed]
    );
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let dir = used().await;
    let store = open(dir.path()).unwrap();
    store.close().await;
    assert!(matches!(
        store.create_room(profile("r9", "x")).await,
        Err(CreateError::Store(StoreError::Unavailable(_)))
    ));
}

#[tokio::test]
async fn a_repeat_and_a_page_are_looked_for_in_an_index_and_not_in_the_whole_room() {
    let dir = used().await;
    let database = Connection::open(dir.path().join("chat.db")).unwrap();
    let plan = |sql: &str, values: &[&dyn rusqlite::ToSql]| -> Vec<String> {
        let mut explain = database.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps = explain.query_map(values, |row| row.get(3)).unwrap();
        steps.collect::<Result<_, _>>().unwrap()
    };
    assert_eq!(
        plan(rows::REPEAT, &[&1, &"ines", &"id", &"content"]),
        ["SEARCH messages USING INDEX messages_by_sending (room=? AND client_msg_id=?)"]
    );
    assert_eq!(
        plan(rows::PAGE, &[&"r1", &1, &10]),
        [
            "SEARCH rooms USING INDEX sqlite_autoindex_rooms_1 (room_id=?)",
            "SEARCH messages USING PRIMARY KEY (room=? AND seq>?)"
        ]
    );
}

#[tokio::test]
async fn a_long_history_is_given_up_at_once_and_removed_step_by_step() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.create_room(profile("r1", "hall")).await.unwrap();
    store.claim(RoomId::parse("r1").unwrap()).await.unwrap().unwrap();
    for n in 0..5 {
        let range = n * 500 + 1..=n * 500 + 500;
        assert_eq!(
            outcomes(&store, vec![append("r1", n, 1, range)]).await,
            [AppendOutcome::Committed]
        );
    }
    let trim = Trim {
        epoch: Epoch(1),
        below: Seq(2_401),
        recognised: 0,
        recognised_since: Timestamp(i64::MAX),
    };
    for (rows, more) in [(1_500, true), (500, true), (100, false), (100, false)] {
        let outcome = store.trim(RoomId::parse("r1").unwrap(), trim).await;
        let floor = Seq(2_401);
        assert_eq!(outcome, Ok(TrimOutcome::Trimmed { floor, more }));
        let database = Connection::open(dir.path().join("chat.db")).unwrap();
        let left: i64 = database
            .query_row("SELECT count(*) FROM messages", [], |row| row.get(0))
            .unwrap();
        assert_eq!(left, rows);
        assert_eq!(contents(&store, "r1", 1, 1_000).await.len(), 100);
    }
}
