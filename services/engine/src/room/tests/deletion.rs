//! A room that is being deleted: what it holds, what it says to whom, and what becomes of what it held.

use crate::deletion::AbortReason;
use crate::deletion::coordinator::Word;
use crate::effect::{Answer, DeletionEnd, Effect, Notice, Origin};
use crate::room::deletion::DeletionInput;
use crate::room::{Input, RoomLimits, original};
use crate::stored::{
    AppendOutcome, BeginDeletion, BeginOutcome, ClaimedRoom, DecideDeletion, DecideOutcome, Decision, RoomState,
    StoredSeat,
};
use crate::testing::*;
use crate::time::Millis;
use chat_protocol::deletion::{Phase, Progress, Vote};
use chat_protocol::ids::{Epoch, Generation, RoomName, Seq, SessionId, TransactionId};
use chat_protocol::peer_item::{DeletionItem, PeerBody};
use chat_protocol::reject::Reject;

fn t1() -> TransactionId {
    TransactionId::parse("t1").unwrap()
}

fn hall() -> RoomName {
    RoomName::parse("hall").unwrap()
}

fn delete(origin: Origin, name: &str) -> Input {
    Input::Delete {
        origin,
        user: user(name),
        transaction: t1(),
    }
}

fn begin() -> BeginDeletion {
    BeginDeletion {
        epoch: Epoch(1),
        transaction: t1(),
    }
}

fn begun(outcome: BeginOutcome) -> Input {
    Input::Deletion(DeletionInput::Begun(begin(), outcome))
}

fn decide(decision: Decision) -> DecideDeletion {
    DecideDeletion {
        epoch: Epoch(1),
        transaction: t1(),
        decision,
    }
}

fn decided(decision: Decision) -> Input {
    Input::Deletion(DeletionInput::Decided(decide(decision), DecideOutcome::Decided))
}

fn voted(name: &str, vote: Vote) -> Input {
    Input::Deletion(DeletionInput::Voted {
        node: node(name),
        transaction: t1(),
        vote,
    })
}

fn done(name: &str) -> Input {
    Input::Deletion(DeletionInput::Done {
        node: node(name),
        transaction: t1(),
    })
}

fn tell(name: &str, item: DeletionItem) -> Effect {
    Effect::Tell {
        node: node(name),
        item: PeerBody::Deletion(item),
    }
}

fn prepare(name: &str) -> Effect {
    tell(
        name,
        DeletionItem::Prepare {
            transaction: t1(),
            initiator: user("ines"),
            room_name: hall(),
        },
    )
}

fn commit(name: &str) -> Effect {
    tell(
        name,
        DeletionItem::Commit {
            transaction: t1(),
            room_name: hall(),
        },
    )
}

fn progress(to: Origin, phase: Phase, ready: &[&str], waiting_for: &[&str]) -> Effect {
    let nodes = |names: &[&str]| names.iter().map(|name| node(name)).collect();
    let progress = Progress {
        phase,
        ready: nodes(ready),
        waiting_for: nodes(waiting_for),
    };
    answer(to, Answer::DeletionProgress(progress))
}

fn notify(notice: Notice, except: Option<u64>) -> Effect {
    Effect::Notify {
        notice,
        except: except.map(SessionId),
    }
}

fn gone() -> Notice {
    Notice::Deleted {
        room_name: hall(),
        transaction: None,
    }
}

fn refused_send(to: Origin, reject: Reject) -> Effect {
    answer(to, Answer::SendRefused(reject))
}

fn refused(to: Origin, reject: Reject, transaction: Option<TransactionId>) -> Effect {
    answer(to, Answer::DeleteRefused { reject, transaction })
}

fn ended(end: DeletionEnd, took: u64) -> Effect {
    Effect::DeletionEnded { end, took }
}

/// Who asks: session 9 of node `a`, which is not in the room.
fn asker() -> Origin {
    from("a", 9, 1)
}

/// `ines` at session 1 here, `otto` at session 2 of node `b`; nobody said anything.
fn room() -> AdminRoom {
    AdminRoom::with_head(0)
        .with_local(1, "ines")
        .with_remote("b", 2, "otto")
}

/// The same, asked to go at 100 and begun: node `b` was asked.
fn preparing(by: Origin) -> AdminRoom {
    let mut room = room();
    assert_eq!(
        room.on(100, delete(by.clone(), "ines")),
        [Effect::BeginDeletion(begin())]
    );
    let initiated = Answer::DeletionInitiated {
        transaction: t1(),
        initiator: user("ines"),
    };
    assert_eq!(
        room.on(110, begun(BeginOutcome::Begun)),
        [
            answer(by.clone(), initiated),
            notify(
                Notice::Initiated {
                    initiator: user("ines")
                },
                None
            ),
            prepare("b"),
            progress(by, Phase::Preparing, &[], &["b"]),
        ]
    );
    room
}

/// Node `b` agreed, and the store is asked.
fn deciding(by: Origin) -> AdminRoom {
    let mut room = preparing(by.clone());
    assert_eq!(
        room.on(120, voted("b", Vote::Ready)),
        [
            progress(by, Phase::Preparing, &["b"], &[]),
            Effect::DecideDeletion(decide(Decision::Commit)),
        ]
    );
    room
}

#[test]
fn a_room_is_deleted_and_whoever_asked_hears_it_first() {
    // In the room, or not.
    for (by, farewell, except) in [(asker(), None, None), (from("a", 1, 7), Some(gone()), Some(1))] {
        let mut room = deciding(by.clone());
        assert_eq!(
            room.all(150, decided(Decision::Commit)),
            [
                ended(DeletionEnd::Committed, 50),
                notify(gone(), except),
                unsubscribe(1),
                Effect::Purge,
                commit("b"),
                progress(by.clone(), Phase::Committing, &[], &["b"]),
            ]
        );
        assert_eq!(room.room.member_count(), 0);
        assert_eq!(
            room.all(160, done("b")),
            [
                progress(by.clone(), Phase::Committing, &["b"], &[]),
                answer(
                    by,
                    Answer::Deleted {
                        transaction: t1(),
                        farewell
                    }
                ),
            ]
        );
        assert_eq!(
            room.all(170, Input::Deletion(DeletionInput::Purged(Ok(true)))),
            [Effect::Purge]
        );
        assert_eq!(
            room.all(180, Input::Deletion(DeletionInput::Purged(Ok(false)))),
            [Effect::Idle]
        );
    }
}

#[test]
fn only_who_created_a_room_may_delete_it_and_only_once_at_a_time() {
    let mut room = room();
    let stranger = refused(asker(), Reject::Unauthorized, None);
    assert_eq!(room.on(100, delete(asker(), "otto")), [stranger]);
    let mut room = preparing(asker());
    let again = refused(from("b", 2, 3), Reject::deleted_already(Phase::Preparing), None);
    assert_eq!(room.on(120, delete(from("b", 2, 3), "ines")), [again]);
    let stranger = refused(from("b", 2, 4), Reject::Unauthorized, None);
    assert_eq!(room.on(130, delete(from("b", 2, 4), "otto")), [stranger]);
}

#[test]
fn it_begins_when_the_append_in_flight_is_settled_and_what_is_said_meanwhile_waits() {
    let mut room = room();
    room.on(90, say(from("a", 1, 2), "ines", "one"));
    assert_eq!(room.on(100, delete(asker(), "ines")), []);
    assert_eq!(room.on(101, say(from("b", 2, 3), "otto", "two")), []);
    assert_eq!(room.on(102, join(from("b", 5, 4), "late")), []);
    assert_eq!(
        room.on(103, appended(1, AppendOutcome::Committed)),
        [
            relay(&["b"], 1, vec![frame(1, "ines", "one", 90)]),
            Effect::Deliver(vec![frame(1, "ines", "one", 90)]),
            sent(from("a", 1, 2), 1, "one", 90),
            Effect::BeginDeletion(begin()),
        ]
    );
    // It was not to be: what waited goes on, in its order.
    let not_begun = refused(asker(), Reject::DeletionNotStarted, None);
    let mut late = joined(&["ines", "late", "otto"], 1, 1);
    late.floor = Seq(1);
    assert_eq!(
        room.on(110, begun(BeginOutcome::Refused("full".into()))),
        [
            not_begun,
            ended(DeletionEnd::NotBegun, 10),
            append(2, 1, vec![message(2, "otto", "two", 110)]),
            announce(event("late", 3, 110, None), None, &["b"]),
            answer(from("b", 5, 4), Answer::Joined(late)),
        ]
    );
}

#[test]
fn what_waited_is_refused_when_the_room_goes() {
    let mut room = deciding(asker());
    room.on(130, say(from("a", 1, 2), "ines", "one"));
    room.on(131, join(from("b", 5, 4), "late"));
    let effects = room.on(150, decided(Decision::Commit));
    assert_eq!(
        effects[1..3],
        [
            refused_send(from("a", 1, 2), Reject::RoomNotFound),
            answer(from("b", 5, 4), Answer::JoinRefused(Reject::RoomNotFound)),
        ]
    );
    for (input, effect) in [
        (
            join(from("b", 6, 5), "later"),
            answer(from("b", 6, 5), Answer::JoinRefused(Reject::RoomNotFound)),
        ),
        (
            say(from("b", 2, 6), "otto", "two"),
            refused_send(from("b", 2, 6), Reject::RoomNotFound),
        ),
        (leave(from("b", 2, 7), "otto"), answer(from("b", 2, 7), Answer::Left)),
        (
            delete(from("b", 2, 8), "ines"),
            refused(from("b", 2, 8), Reject::RoomNotFound, None),
        ),
    ] {
        assert_eq!(room.on(200, input), [effect]);
    }
}

#[test]
fn a_vote_against_it_keeps_the_room_and_what_waited_goes_on() {
    let mut room = preparing(asker());
    room.on(120, say(from("a", 1, 2), "ines", "one"));
    assert_eq!(
        room.on(130, voted("b", Vote::Abort(Some("no".into())))),
        [
            Effect::DecideDeletion(decide(Decision::Abort)),
            progress(asker(), Phase::RollingBack, &[], &["b"]),
        ]
    );
    let why = AbortReason::Refused(node("b"), Some("no".into()));
    assert_eq!(
        room.on(140, decided(Decision::Abort)),
        [
            tell("b", DeletionItem::Rollback { transaction: t1() }),
            refused(asker(), Reject::DeletionFailed("no".into()), Some(t1())),
            notify(Notice::Cancelled { transaction: t1() }, None),
            ended(DeletionEnd::Aborted(why), 40),
            append(1, 1, vec![message(1, "ines", "one", 140)]),
        ]
    );
}

#[test]
fn what_waits_too_long_is_refused_definitely_and_whoever_goes_does_not_wait() {
    let mut room = preparing(asker());
    room.on(120, say(from("a", 1, 2), "ines", "one"));
    room.on(130, join(from("b", 5, 4), "late"));
    room.on(140, join(from("b", 6, 4), "later"));
    assert_eq!(
        room.on(150, leave(from("b", 5, 5), "late")),
        [
            answer(from("b", 5, 4), Answer::JoinRefused(Reject::being_deleted())),
            answer(from("b", 5, 5), Answer::Left),
        ]
    );
    // A node that is lost loses what it asked for, and its vote.
    let effects = room.on(160, Input::NodeLost(node("b")));
    assert_eq!(
        effects,
        [
            answer(from("b", 6, 4), Answer::JoinRefused(Reject::AdminUnavailable)),
            progress(asker(), Phase::Preparing, &[], &[]),
            Effect::DecideDeletion(decide(Decision::Commit)),
        ]
    );
    let effects = room.timeout(7_620);
    assert!(
        effects.contains(&refused_send(from("a", 1, 2), Reject::being_deleted())),
        "{effects:?}"
    );
}

#[test]
fn what_a_former_life_of_a_node_asked_for_is_forgotten_and_its_vote_is_not_waited_for() {
    let mut room = preparing(asker());
    room.on(120, join(from("b", 5, 4), "late"));
    let restarted = Input::NodeRestarted {
        node: node("b"),
        first: SessionId(100),
    };
    assert_eq!(
        room.on(130, restarted),
        [
            answer(from("b", 5, 4), Answer::JoinRefused(Reject::AdminUnavailable)),
            progress(asker(), Phase::Preparing, &[], &[]),
            Effect::DecideDeletion(decide(Decision::Commit)),
        ]
    );
}

#[test]
fn whoever_waits_behind_a_node_that_announces_itself_without_it_is_not_seated_afterwards() {
    let mut room = preparing(asker());
    room.on(120, join(from("b", 5, 4), "late"));
    room.on(121, join(from("c", 6, 4), "vera"));
    let announces = Input::Seats {
        node: node("b"),
        seats: vec![announced(2, "otto")],
    };
    assert_eq!(
        room.on(130, announces),
        [
            answer(from("b", 5, 4), Answer::JoinRefused(Reject::AdminUnavailable)),
            prepare("b"),
            answer(from("b", 0, 0), Answer::Joined(joined(&["ines", "otto"], 1, 0))),
        ]
    );
    room.on(140, voted("b", Vote::Abort(None)));
    let effects = room.on(150, decided(Decision::Abort));
    let vera = answer(from("c", 6, 4), Answer::Joined(joined(&["ines", "otto", "vera"], 1, 0)));
    assert_eq!(effects.last(), Some(&vera));
}

#[test]
fn messages_that_were_accepted_before_are_refused_as_late_as_those_that_wait() {
    let mut room = room();
    room.on(90, say(from("a", 1, 2), "ines", "one"));
    room.on(91, say(from("b", 2, 3), "otto", "two"));
    room.on(100, delete(asker(), "ines"));
    room.on(103, appended(1, AppendOutcome::Committed));
    room.on(110, begun(BeginOutcome::Begun));
    room.on(120, voted("b", Vote::Ready));
    let unknown = DecideOutcome::Unknown;
    room.on(
        7_500,
        Input::Deletion(DeletionInput::Decided(decide(Decision::Commit), unknown)),
    );
    assert_eq!(room.room.next_deadline(), Some(Millis(7_600)));
    assert_eq!(
        room.timeout(7_600),
        [refused_send(from("b", 2, 3), Reject::being_deleted())]
    );
    assert_eq!(
        room.room.next_deadline(),
        Some(Millis(7_700)),
        "the store is asked again"
    );
}

#[test]
fn a_node_of_the_original_does_not_wait() {
    let mut room = preparing(asker());
    let asked = Input::Original(original::Input::Join {
        request: 8,
        node: node("o"),
        user: user("vera"),
    });
    let effects = room.on(120, asked);
    assert!(
        matches!(&effects[..], [Effect::Answer { to, answer: Answer::JoinRefused(reject) }]
            if to.request == 8 && *reject == Reject::being_deleted()),
        "{effects:?}"
    );
}

#[test]
fn a_node_of_the_original_is_told_in_calls_and_excused_when_it_does_not_answer() {
    let mut room = AdminRoom::with_head(0);
    room.on(
        0,
        Input::Original(original::Input::Join {
            request: 8,
            node: node("o"),
            user: user("vera"),
        }),
    );
    let call = |word| Effect::TellOriginal {
        node: node("o"),
        word,
        transaction: t1(),
        room_name: hall(),
    };
    room.on(100, delete(asker(), "ines"));
    let effects = room.on(110, begun(BeginOutcome::Begun));
    assert_eq!(
        effects[2..],
        [call(Word::Prepare), progress(asker(), Phase::Preparing, &[], &["o"])]
    );
    let silent = Input::Deletion(DeletionInput::Silent {
        node: node("o"),
        transaction: t1(),
    });
    assert_eq!(
        room.on(120, silent),
        [
            progress(asker(), Phase::Preparing, &[], &[]),
            Effect::DecideDeletion(decide(Decision::Commit)),
        ]
    );
    let effects = room.on(130, decided(Decision::Commit));
    assert!(effects.contains(&call(Word::Commit)), "{effects:?}");
}

/// What a later life finds.
fn found(state: RoomState) -> Input {
    Input::Claimed(Ok(Some(ClaimedRoom {
        profile: profile(),
        generation: Generation(1),
        epoch: Epoch(1),
        head: Seq(0),
        floor: Seq(1),
        seats: vec![StoredSeat {
            seat: seat("b", 2),
            user: user("otto"),
            key: None,
        }],
        state,
    })))
}

#[test]
fn a_later_life_gives_up_what_it_finds_undecided() {
    let (mut room, _) = AdminRoom::opening(RoomLimits::default());
    assert_eq!(
        room.on(0, found(RoomState::Deleting(t1()))),
        [Effect::DecideDeletion(decide(Decision::Abort))]
    );
    assert_eq!(
        room.on(10, decided(Decision::Abort)),
        [
            tell("b", DeletionItem::Rollback { transaction: t1() }),
            notify(Notice::Cancelled { transaction: t1() }, None),
            ended(DeletionEnd::Aborted(AbortReason::Recovered), 10),
        ]
    );
}

#[test]
fn a_later_life_says_again_what_it_finds_decided_and_tells_whoever_announces_itself() {
    let (mut room, _) = AdminRoom::opening(RoomLimits::default());
    assert_eq!(
        room.on(0, found(RoomState::Deleted(t1()))),
        [ended(DeletionEnd::Retold, 0), commit("b"), Effect::Purge]
    );
    let seats = Input::Seats {
        node: node("c"),
        seats: vec![announced(3, "vera")],
    };
    assert_eq!(room.on(10, seats), [commit("c")]);
}
