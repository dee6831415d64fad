//! What every store must do when a room is deleted.

use super::{append, contents, outcomes, profile};
use crate::store::{CreateError, Store};
use chat_engine::room::roster::Seat;
use chat_engine::stored::{
    AppendOutcome, BeginDeletion, BeginOutcome, DecideDeletion, DecideOutcome, Decision, RoomState, StoredDeletion,
    StoredSeat,
};
use chat_protocol::ids::{Epoch, NodeId, RoomId, RoomName, Seq, SessionId, TransactionId, UserName};

fn id(text: &str) -> RoomId {
    RoomId::parse(text).unwrap()
}

fn attempt(text: &str) -> TransactionId {
    TransactionId::parse(text).unwrap()
}

pub(in crate::store) async fn begin(store: &dyn Store, room: &str, epoch: u64, name: &str) -> BeginOutcome {
    let asked = BeginDeletion {
        epoch: Epoch(epoch),
        transaction: attempt(name),
    };
    store.begin_deletion(id(room), asked).await
}

pub(in crate::store) async fn decide(
    store: &dyn Store,
    room: &str,
    epoch: u64,
    name: &str,
    decision: Decision,
) -> DecideOutcome {
    let asked = DecideDeletion {
        epoch: Epoch(epoch),
        transaction: attempt(name),
        decision,
    };
    store.decide_deletion(id(room), asked).await
}

async fn state(store: &dyn Store, room: &str) -> Option<RoomState> {
    let stored = store.deletion(id(room)).await.unwrap();
    stored.map(|StoredDeletion { state, room_name }| {
        assert_eq!(room_name, RoomName::parse("doomed").unwrap());
        state
    })
}

/// A room under its first tenure, with three messages and a seat.
async fn room(store: &dyn Store, name: &str) {
    store.create_room(profile(name, "doomed")).await.unwrap();
    assert_eq!(store.claim(id(name)).await.unwrap().unwrap().epoch, Epoch(1));
    let seat = StoredSeat {
        seat: Seat {
            node: NodeId::parse("b").unwrap(),
            session: SessionId(7),
        },
        user: UserName::parse("otto").unwrap(),
        key: None,
    };
    store.keep_seat(id(name), seat);
    let got = outcomes(store, vec![append(name, 1, 1, 1..=3)]).await;
    assert_eq!(got, [AppendOutcome::Committed]);
}

pub(super) async fn suite(store: &dyn Store) {
    an_attempt_begins_once_and_stops_the_log_until_it_is_given_up(store).await;
    what_is_committed_is_gone_for_ever_and_frees_its_name(store).await;
    a_later_tenure_fences_what_an_earlier_one_decides(store).await;
}

async fn an_attempt_begins_once_and_stops_the_log_until_it_is_given_up(store: &dyn Store) {
    use AppendOutcome::{BeingDeleted, Committed};
    assert_eq!(begin(store, "nowhere", 1, "t1").await, BeginOutcome::NoRoom);
    assert_eq!(
        decide(store, "nowhere", 1, "t1", Decision::Abort).await,
        DecideOutcome::NoRoom
    );
    assert_eq!(store.deletion(id("nowhere")).await, Ok(None));
    room(store, "d1").await;
    assert_eq!(state(store, "d1").await, Some(RoomState::Active));
    assert_eq!(
        decide(store, "d1", 1, "t1", Decision::Commit).await,
        DecideOutcome::BadState(RoomState::Active),
        "what was never begun is not committed"
    );
    for _ in 0..2 {
        assert_eq!(begin(store, "d1", 1, "t1").await, BeginOutcome::Begun);
    }
    let deleting = RoomState::Deleting(attempt("t1"));
    assert_eq!(state(store, "d1").await, Some(deleting.clone()));
    assert_eq!(
        begin(store, "d1", 1, "t2").await,
        BeginOutcome::BadState(deleting.clone())
    );
    for decision in [Decision::Commit, Decision::Abort] {
        assert_eq!(
            decide(store, "d1", 1, "t2", decision).await,
            DecideOutcome::BadState(deleting.clone())
        );
    }
    assert_eq!(outcomes(store, vec![append("d1", 2, 1, 4..=4)]).await, [BeingDeleted]);
    // It is a room like any other until it is decided.
    assert_eq!(store.has_room(id("d1")).await, Ok(true));
    assert_eq!(contents(store, "d1", 1, 9).await.len(), 3);
    assert_eq!(store.unfinished_deletions().await, Ok(vec![id("d1")]));
    for _ in 0..2 {
        assert_eq!(
            decide(store, "d1", 1, "t1", Decision::Abort).await,
            DecideOutcome::Decided
        );
    }
    assert_eq!(
        begin(store, "d1", 1, "t1").await,
        BeginOutcome::BadState(RoomState::Active),
        "what was given up does not begin again"
    );
    assert_eq!(outcomes(store, vec![append("d1", 3, 1, 4..=4)]).await, [Committed]);
    assert_eq!(store.unfinished_deletions().await, Ok(vec![]));
    assert_eq!(store.purge(id("d1")).await, Ok(false));
    assert_eq!(
        contents(store, "d1", 1, 9).await.len(),
        4,
        "nothing of a living room is removed"
    );
    // The end of this room is the beginning of the next test.
    assert_eq!(begin(store, "d1", 1, "t3").await, BeginOutcome::Begun);
    assert_eq!(
        decide(store, "d1", 1, "t3", Decision::Commit).await,
        DecideOutcome::Decided
    );
}

async fn what_is_committed_is_gone_for_ever_and_frees_its_name(store: &dyn Store) {
    let deleted = RoomState::Deleted(attempt("t3"));
    assert_eq!(
        decide(store, "d1", 1, "t3", Decision::Commit).await,
        DecideOutcome::Decided
    );
    assert_eq!(
        decide(store, "d1", 1, "t3", Decision::Abort).await,
        DecideOutcome::BadState(deleted.clone())
    );
    assert_eq!(
        begin(store, "d1", 1, "t4").await,
        BeginOutcome::BadState(deleted.clone())
    );
    let total = store.rooms(None, 100).await.unwrap().total;
    room(store, "d2").await;
    assert_eq!(store.rooms(None, 100).await.unwrap().total, total + 1);
    assert_eq!(
        store.create_room(profile("d1", "other")).await,
        Err(CreateError::Deleted)
    );
    assert_eq!(
        outcomes(store, vec![append("d1", 9, 1, 5..=5)]).await,
        [AppendOutcome::NoRoom]
    );
    assert_eq!(contents(store, "d1", 1, 9).await, []);
    assert_eq!(store.has_room(id("d1")).await, Ok(false));
    assert_eq!(store.profile(id("d1")).await, Ok(None));
    assert_eq!(store.heads(vec![id("d1")]).await, Ok(vec![]));
    let listed = store.rooms(None, 100).await.unwrap().rooms;
    assert!(listed.iter().all(|profile| profile.room_id != id("d1")));
    assert!(!store.seated_rooms().await.unwrap().contains(&id("d1")));
    // Whoever sat there is known until it is removed, so that it can be told.
    let claimed = store.claim(id("d1")).await.unwrap().unwrap();
    assert_eq!(
        (claimed.epoch, claimed.state, claimed.head, claimed.seats.len()),
        (Epoch(1), deleted.clone(), Seq::ZERO, 1)
    );
    assert_eq!(store.unfinished_deletions().await, Ok(vec![id("d1")]));
    while store.purge(id("d1")).await.unwrap() {}
    assert_eq!(store.unfinished_deletions().await, Ok(vec![]));
    assert_eq!(store.claim(id("d1")).await.unwrap().unwrap().seats, []);
    assert_eq!(state(store, "d1").await, Some(deleted));
}

async fn a_later_tenure_fences_what_an_earlier_one_decides(store: &dyn Store) {
    assert_eq!(begin(store, "d2", 1, "t5").await, BeginOutcome::Begun);
    let claimed = store.claim(id("d2")).await.unwrap().unwrap();
    assert_eq!(
        (claimed.epoch, claimed.state),
        (Epoch(2), RoomState::Deleting(attempt("t5")))
    );
    assert_eq!(begin(store, "d2", 1, "t5").await, BeginOutcome::Fenced(Epoch(2)));
    assert_eq!(
        decide(store, "d2", 1, "t5", Decision::Commit).await,
        DecideOutcome::Fenced(Epoch(2))
    );
    assert_eq!(
        decide(store, "d2", 2, "t5", Decision::Abort).await,
        DecideOutcome::Decided
    );
    assert_eq!(
        outcomes(store, vec![append("d2", 4, 2, 4..=4)]).await,
        [AppendOutcome::Committed]
    );
    // An attempt that nobody has heard of can be given up, and cannot begin any more.
    assert_eq!(
        decide(store, "d2", 2, "t6", Decision::Abort).await,
        DecideOutcome::Decided
    );
    assert_eq!(
        begin(store, "d2", 2, "t6").await,
        BeginOutcome::BadState(RoomState::Active)
    );
}
