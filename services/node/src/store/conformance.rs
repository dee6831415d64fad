//! What every store must do. An engine that passes may be put in the place of any other.

pub(super) mod deletion;

use super::{CreateError, Store};
use chat_engine::room::roster::Seat;
use chat_engine::stored::{
    Append, AppendOutcome, Appended, ClaimedRoom, NewMessage, Repeat, RoomProfile, RoomState, StoredSeat, Trim,
    TrimOutcome,
};
use chat_protocol::ids::{
    ClientMsgId, Epoch, Generation, MessageId, NodeId, RoomId, RoomName, SeatKey, Seq, SessionId, UserName,
};
use chat_protocol::message_frame::Message;
use chat_protocol::timestamp::Timestamp;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Text with everything that may go wrong on its way to a disk and back.
const ODD: &str = "tab\t line\n quote\" back\\slash 'single' ; -- \u{7f}\u{85}\u{2028}\u{fffd} ☃ 👩‍👩‍👧 \u{10ffff}";

pub(super) fn profile(id: &str, name: &str) -> RoomProfile {
    RoomProfile {
        room_id: RoomId::parse(id).unwrap(),
        room_name: RoomName::parse(name).unwrap(),
        creator_id: UserName::parse("ines").unwrap(),
        description: Some(Arc::from(ODD)),
        created_at: Timestamp(1_933_308_428_123_456),
    }
}

pub(super) fn message(room: &str, seq: u64, content: &str) -> Message {
    Message {
        message_id: MessageId::parse(&format!("{room}-{seq}")).unwrap(),
        room_id: RoomId::parse(room).unwrap(),
        username: UserName::parse("ines").unwrap(),
        content: content.into(),
        seq: Seq(seq),
        timestamp: Timestamp(1_933_308_428_000_000 + i64::try_from(seq).unwrap()),
    }
}

pub(super) fn append(room: &str, token: u64, epoch: u64, seqs: std::ops::RangeInclusive<u64>) -> Append {
    let item = |seq| NewMessage {
        message: message(room, seq, &format!("{ODD} {seq}")),
        client_msg_id: (seq % 2 == 0).then(|| ClientMsgId::parse(&format!("c-{seq}")).unwrap()),
    };
    Append {
        room_id: RoomId::parse(room).unwrap(),
        token,
        epoch: Epoch(epoch),
        items: seqs.map(item).collect(),
    }
}

/// Appends one after another and gives the outcomes in order.
pub(super) async fn outcomes(store: &dyn Store, appends: Vec<Append>) -> Vec<AppendOutcome> {
    let (sender, mut receiver) = channel();
    let mut appender = store.appender(sender);
    let mut outcomes = Vec::new();
    for append in appends {
        let expected = (append.room_id.clone(), append.token);
        appender.append(vec![append]);
        let [
            Appended {
                room_id,
                token,
                outcome,
            },
        ] = &receiver.recv().await.unwrap()[..]
        else {
            panic!("one append has one outcome");
        };
        assert_eq!((room_id, *token), (&expected.0, expected.1));
        outcomes.push(outcome.clone());
    }
    outcomes
}

/// The channel that the contract asks for; what a test appends bounds it.
#[allow(clippy::disallowed_methods)]
fn channel() -> (
    mpsc::UnboundedSender<Vec<Appended>>,
    mpsc::UnboundedReceiver<Vec<Appended>>,
) {
    mpsc::unbounded_channel()
}

pub(super) async fn contents(store: &dyn Store, room: &str, from: u64, limit: usize) -> Vec<Message> {
    store
        .read(RoomId::parse(room).unwrap(), Seq(from), limit, usize::MAX)
        .await
        .unwrap()
}

/// The suite. `store` is empty.
pub(super) async fn suite(store: &dyn Store) {
    rooms_are_created_once_and_names_are_unique(store).await;
    a_claim_raises_the_epoch(store).await;
    appends_are_accepted_at_the_next_number_of_the_current_epoch_only(store).await;
    reads_are_bounded_and_ordered(store).await;
    many_rooms_share_commits(store).await;
    places_of_foreign_rooms_are_remembered(store).await;
    a_sending_is_written_once(store).await;
    seats_come_back_with_the_claim(store).await;
    what_is_trimmed_is_not_read_and_repeats_are_recognised_as_long_as_asked(store).await;
    deletion::suite(store).await;
}

async fn rooms_are_created_once_and_names_are_unique(store: &dyn Store) {
    assert_eq!(store.create_room(profile("r1", "hall")).await, Ok(()));
    assert_eq!(
        store.create_room(profile("r1", "hall")).await,
        Ok(()),
        "the same room again"
    );
    assert_eq!(
        store.create_room(profile("r2", "hall")).await,
        Err(CreateError::NameTaken)
    );
    for n in 3..=5 {
        assert_eq!(
            store.create_room(profile(&format!("r{n}"), &format!("{ODD}{n}"))).await,
            Ok(())
        );
    }
    let first = store.rooms(None, 3).await.unwrap();
    assert_eq!(first.rooms[0], profile("r1", "hall"));
    let ids = |rooms: &[RoomProfile]| rooms.iter().map(|r| r.room_id.to_string()).collect::<Vec<_>>();
    assert_eq!(
        (ids(&first.rooms), first.total),
        (vec!["r1".into(), "r3".into(), "r4".into()], 4)
    );
    let second = store.rooms(first.next, 3).await.unwrap();
    assert_eq!(
        (ids(&second.rooms), second.total, second.next),
        (vec!["r5".into()], 4, None)
    );
    assert_eq!(store.has_room(RoomId::parse("r1").unwrap()).await, Ok(true));
    assert_eq!(store.has_room(RoomId::parse("r2").unwrap()).await, Ok(false));
}

async fn a_claim_raises_the_epoch(store: &dyn Store) {
    assert_eq!(store.claim(RoomId::parse("nowhere").unwrap()).await, Ok(None));
    for epoch in 1..=2 {
        let claimed = ClaimedRoom {
            profile: profile("r1", "hall"),
            generation: Generation(1),
            epoch: Epoch(epoch),
            head: Seq::ZERO,
            floor: Seq(1),
            seats: Vec::new(),
            state: RoomState::Active,
        };
        assert_eq!(store.claim(RoomId::parse("r1").unwrap()).await, Ok(Some(claimed)));
    }
}

async fn appends_are_accepted_at_the_next_number_of_the_current_epoch_only(store: &dyn Store) {
    use AppendOutcome::{Committed, Duplicate, Fenced, NoRoom, SeqMismatch};
    let got = outcomes(
        store,
        vec![
            append("r1", 1, 2, 1..=2),
            append("r1", 2, 2, 3..=3),
            // The same again, whole and in part: the answer to an attempt whose answer was lost.
            append("r1", 3, 2, 3..=3),
            append("r1", 4, 2, 2..=3),
            // A hole, a place that is taken by something else, a mixture.
            append("r1", 5, 2, 5..=5),
            Append {
                items: [NewMessage {
                    message: message("other", 3, "x"),
                    client_msg_id: None,
                }]
                .into(),
                ..append("r1", 6, 2, 3..=3)
            },
            append("r1", 7, 2, 3..=4),
            append("r1", 8, 1, 4..=4),
            append("nowhere", 9, 1, 1..=1),
        ],
    )
    .await;
    assert_eq!(
        got,
        [
            Committed,
            Committed,
            Duplicate,
            Duplicate,
            SeqMismatch(Seq(4)),
            SeqMismatch(Seq(4)),
            SeqMismatch(Seq(4)),
            Fenced(Epoch(2)),
            NoRoom
        ]
    );
    let claimed = store.claim(RoomId::parse("r1").unwrap()).await.unwrap().unwrap();
    assert_eq!((claimed.epoch, claimed.head), (Epoch(3), Seq(3)));
    let got = outcomes(store, vec![append("r1", 10, 2, 4..=4), append("r1", 11, 3, 4..=4)]).await;
    assert_eq!(got, [Fenced(Epoch(3)), Committed]);
    let expected: Vec<_> = append("r1", 0, 0, 1..=4)
        .items
        .iter()
        .map(|item| item.message.clone())
        .collect();
    assert_eq!(contents(store, "r1", 1, 100).await, expected);
}

async fn reads_are_bounded_and_ordered(store: &dyn Store) {
    let numbers = |messages: Vec<Message>| messages.into_iter().map(|m| m.seq.0).collect::<Vec<_>>();
    assert_eq!(numbers(contents(store, "r1", 2, 2).await), [2, 3]);
    assert_eq!(numbers(contents(store, "r1", 5, 10).await), [0_u64; 0]);
    assert_eq!(numbers(contents(store, "nowhere", 1, 10).await), [0_u64; 0]);
    let room = RoomId::parse("r1").unwrap();
    let one = ODD.len() + 2;
    assert_eq!(
        numbers(store.read(room.clone(), Seq(1), 10, 2 * one).await.unwrap()),
        [1, 2]
    );
    assert_eq!(
        numbers(store.read(room.clone(), Seq(1), 10, 1).await.unwrap()),
        [1],
        "at least one"
    );
    let heads = store
        .heads(vec![
            room.clone(),
            RoomId::parse("r2").unwrap(),
            RoomId::parse("r3").unwrap(),
        ])
        .await;
    assert_eq!(
        heads,
        Ok(vec![(room, Seq(4)), (RoomId::parse("r3").unwrap(), Seq::ZERO)])
    );
}

async fn many_rooms_share_commits(store: &dyn Store) {
    const ROOMS: usize = 50;
    const ROUNDS: u64 = 20;
    let (sender, mut receiver) = channel();
    let mut appender = store.appender(sender);
    let room = |n: usize| format!("many-{n}");
    for n in 0..ROOMS {
        assert_eq!(store.create_room(profile(&room(n), &room(n))).await, Ok(()));
        assert!(store.claim(RoomId::parse(&room(n)).unwrap()).await.unwrap().is_some());
    }
    appender.append((0..ROOMS).map(|n| append(&room(n), 1, 1, 1..=1)).collect());
    let mut committed = 0;
    while committed < ROOMS * usize::try_from(ROUNDS).unwrap() {
        let mut next = Vec::new();
        for Appended {
            room_id,
            token,
            outcome,
        } in receiver.recv().await.unwrap()
        {
            assert_eq!(outcome, AppendOutcome::Committed);
            committed += 1;
            if token < ROUNDS {
                next.push(append(room_id.as_str(), token + 1, 1, token + 1..=token + 1));
            }
        }
        appender.append(next);
    }
    for n in 0..ROOMS {
        let seqs: Vec<_> = contents(store, &room(n), 1, 1_000)
            .await
            .into_iter()
            .map(|m| m.seq.0)
            .collect();
        assert_eq!(seqs, (1..=ROUNDS).collect::<Vec<_>>());
    }
}

async fn places_of_foreign_rooms_are_remembered(store: &dyn Store) {
    let (room, node) = (RoomId::parse("elsewhere").unwrap(), |id| NodeId::parse(id).unwrap());
    assert_eq!(store.location(room.clone()).await, Ok(None));
    for id in ["node2", "node3"] {
        store.remember_location(room.clone(), node(id));
        // Whatever is answered later was written later.
        assert_eq!(store.create_room(profile("r1", "hall")).await, Ok(()));
        assert_eq!(store.location(room.clone()).await, Ok(Some(node(id))));
    }
}

async fn claim(store: &dyn Store, id: &str) -> ClaimedRoom {
    store.claim(RoomId::parse(id).unwrap()).await.unwrap().unwrap()
}

async fn a_sending_is_written_once(store: &dyn Store) {
    assert_eq!(store.create_room(profile("once", "once")).await, Ok(()));
    let epoch = claim(store, "once").await.epoch.0;
    let item = |seq, sender: &str, id: Option<&str>, content: &str| NewMessage {
        message: Message {
            username: UserName::parse(sender).unwrap(),
            message_id: MessageId::parse(&format!("once-{sender}-{seq}-{content}")).unwrap(),
            ..message("once", seq, content)
        },
        client_msg_id: id.map(|id| ClientMsgId::parse(id).unwrap()),
    };
    let append = |token, items: Vec<NewMessage>| Append {
        room_id: RoomId::parse("once").unwrap(),
        token,
        epoch: Epoch(epoch),
        items: items.into(),
    };
    let first = [item(1, "ines", Some("a"), "hi"), item(2, "ines", None, "hi")];
    // The id is the sender's own: another one may use it, and without an id everything may be said again.
    let second = [
        item(3, "otto", Some("a"), "hi"),
        item(4, "ines", None, "hi"),
        item(5, "ines", Some("A"), "hi"),
    ];
    let repeat = |index, seq, same_content| Repeat {
        index,
        message_id: MessageId::parse("once-ines-1-hi").unwrap(),
        seq: Seq(seq),
        timestamp: message("once", seq, "").timestamp,
        same_content,
    };
    let third = vec![
        item(6, "vera", Some("a"), "ho"),
        item(7, "ines", Some("a"), "hi"),
        item(8, "ines", Some("b"), "ho"),
    ];
    let other_content = vec![item(6, "ines", Some("a"), "hu")];
    assert_eq!(
        outcomes(
            store,
            vec![
                append(1, first.to_vec()),
                append(2, second.to_vec()),
                append(3, third),
                append(4, other_content),
                append(5, vec![item(6, "vera", Some("a"), "ho")]),
            ]
        )
        .await,
        [
            AppendOutcome::Committed,
            AppendOutcome::Committed,
            AppendOutcome::Repeats(vec![repeat(1, 1, true)]),
            AppendOutcome::Repeats(vec![repeat(0, 1, false)]),
            AppendOutcome::Committed,
        ]
    );
    let log = contents(store, "once", 1, 100).await;
    assert_eq!(log.iter().map(|m| m.seq.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(
        log[5].username.as_str(),
        "vera",
        "nothing of a refused append was written"
    );
}

async fn seats_come_back_with_the_claim(store: &dyn Store) {
    assert_eq!(store.create_room(profile("seated", "seated")).await, Ok(()));
    let room = RoomId::parse("seated").unwrap();
    let seat = |node: &str, session, user: &str, key: Option<&str>| StoredSeat {
        seat: Seat {
            node: NodeId::parse(node).unwrap(),
            session: SessionId(session),
        },
        user: UserName::parse(user).unwrap(),
        key: key.map(|key| SeatKey::parse(key).unwrap()),
    };
    let ines = seat("node1", 1 << 61, "ines", Some("k"));
    let otto = seat("node2", 7, ODD.split('\n').next().unwrap(), None);
    for kept in [&ines, &otto, &seat("node2", 8, "gone", None), &otto] {
        store.keep_seat(room.clone(), kept.clone());
    }
    store.drop_seat(room.clone(), seat("node2", 8, "gone", None).seat);
    store.drop_seat(room.clone(), seat("node9", 9, "never", None).seat);
    store.keep_seat(RoomId::parse("no-such-room").unwrap(), ines.clone());
    assert_eq!(claim(store, "seated").await.seats, [ines.clone(), otto.clone()]);
    assert_eq!(store.seated_rooms().await, Ok(vec![room.clone()]));
    store.drop_seat(room.clone(), ines.seat);
    store.drop_seat(room, otto.seat);
    assert_eq!(claim(store, "seated").await.seats, []);
    assert_eq!(store.seated_rooms().await, Ok(vec![]));
    let known = store.profile(RoomId::parse("seated").unwrap()).await.unwrap();
    assert_eq!(known, Some(profile("seated", "seated")));
    assert_eq!(store.profile(RoomId::parse("none").unwrap()).await, Ok(None));
}

async fn what_is_trimmed_is_not_read_and_repeats_are_recognised_as_long_as_asked(store: &dyn Store) {
    assert_eq!(store.create_room(profile("long", "long")).await, Ok(()));
    let room = RoomId::parse("long").unwrap();
    let trim = |epoch, below, recognised, since| Trim {
        epoch: Epoch(epoch),
        below: Seq(below),
        recognised,
        recognised_since: message("long", since, "").timestamp,
    };
    let kept = async |trim: Trim| match store.trim(room.clone(), trim).await {
        Ok(TrimOutcome::Trimmed { floor, .. }) => floor.0,
        other => panic!("{other:?}"),
    };
    let nowhere = RoomId::parse("nowhere").unwrap();
    assert_eq!(store.trim(nowhere, trim(1, 5, 0, 0)).await, Ok(TrimOutcome::NoRoom));
    assert_eq!(claim(store, "long").await.epoch, Epoch(1));
    assert_eq!(kept(trim(1, 5, 0, 99)).await, 1, "there is nothing to give up");
    assert_eq!(
        outcomes(store, vec![append("long", 1, 1, 1..=20)]).await,
        [AppendOutcome::Committed]
    );
    assert_eq!(
        store.trim(room.clone(), trim(0, 5, 0, 99)).await,
        Ok(TrimOutcome::Fenced(Epoch(1)))
    );
    let numbers = async |from, limit| {
        let read = contents(store, "long", from, limit).await;
        read.into_iter().map(|m| m.seq.0).collect::<Vec<_>>()
    };
    // Everything is recognised: because it is among the last 20, or because it is young enough.
    for trim in [trim(1, 8, 20, 99), trim(1, 3, 0, 0), trim(1, 8, 0, 1)] {
        assert_eq!(kept(trim).await, 8, "a floor does not go down");
        assert_eq!(numbers(1, 3).await, [8, 9, 10], "the first is the first that is kept");
        assert_eq!(numbers(10, 2).await, [10, 11]);
        let repeat = Append {
            items: [NewMessage {
                message: message("long", 21, &format!("{ODD} 2")),
                ..append("long", 0, 1, 2..=2).items[0].clone()
            }]
            .into(),
            ..append("long", 2, 1, 2..=2)
        };
        let found = outcomes(store, vec![repeat]).await;
        let [AppendOutcome::Repeats(repeats)] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!((repeats[0].seq, repeats[0].same_content), (Seq(2), true));
    }
    // Now 2 is forgotten, and 8 is kept because it can be read, whoever would recognise it.
    assert_eq!(kept(trim(1, 8, 5, 99)).await, 8);
    let again = |seq, of: u64| Append {
        items: [NewMessage {
            message: message("long", seq, &format!("{ODD} {of}")),
            ..append("long", 0, 1, of..=of).items[0].clone()
        }]
        .into(),
        ..append("long", 3, 1, seq..=seq)
    };
    let found = outcomes(store, vec![again(21, 8), again(21, 2)]).await;
    assert!(
        matches!(&found[..], [AppendOutcome::Repeats(_), AppendOutcome::Committed]),
        "{found:?}"
    );
    assert_eq!(kept(trim(1, 99, 0, 99)).await, 21, "the last message stays");
    assert_eq!(numbers(1, 9).await, [21]);
    let claimed = claim(store, "long").await;
    assert_eq!((claimed.floor, claimed.head), (Seq(21), Seq(21)));
    assert_eq!(store.heads(vec![room]).await.unwrap()[0].1, Seq(21));
}
