//! A followed room that is being deleted.

use super::*;
use crate::effect::Notice;
use crate::room::follower::deletion::DeletionInput;
use chat_protocol::deletion::{Fate, Phase, Progress, Vote};
use chat_protocol::ids::{RoomName, TransactionId};
use chat_protocol::peer_item::DeletionItem;

fn t1() -> TransactionId {
    TransactionId::parse("t1").unwrap()
}

fn hall() -> RoomName {
    RoomName::parse("hall").unwrap()
}

fn prepare() -> Input {
    Input::Deletion(DeletionInput::Prepare {
        transaction: t1(),
        initiator: user("ines"),
    })
}

fn commit() -> Input {
    Input::Deletion(DeletionInput::Commit {
        transaction: t1(),
        room_name: hall(),
    })
}

fn item(item: DeletionItem) -> Effect {
    tell(PeerBody::Deletion(item))
}

fn done() -> Effect {
    item(DeletionItem::Done {
        transaction: t1(),
        obeyed: true,
    })
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
        transaction: Some(t1()),
    }
}

fn enter(session: u64, name: &str) -> Input {
    Input::Join {
        origin: from("b", session, 1),
        user: user(name),
        terms: Terms::Classic,
    }
}

/// `otto` at session 1, and the room prepared at 100.
fn prepared() -> MemberRoom {
    let mut room = MemberRoom::with(1, "otto", 0);
    let vote = DeletionItem::Vote {
        transaction: t1(),
        vote: Vote::Ready,
    };
    assert_eq!(
        room.on(100, prepare()),
        [
            notify(
                Notice::Initiated {
                    initiator: user("ines")
                },
                None
            ),
            item(vote)
        ]
    );
    room
}

#[test]
fn what_is_wanted_of_a_prepared_room_waits_and_is_refused_when_the_room_goes() {
    let mut room = prepared();
    assert_eq!(room.on(110, say(2, "one")), []);
    assert_eq!(room.on(120, enter(5, "late")), []);
    assert_eq!(
        room.on(130, commit()),
        [
            answer(from("b", 1, 2), Answer::SendRefused(Reject::RoomNotFound)),
            answer(from("b", 5, 1), Answer::JoinRefused(Reject::RoomNotFound)),
            notify(gone(), None),
            unsubscribe(1),
            done(),
            Effect::Idle,
        ]
    );
}

#[test]
fn what_waited_goes_on_in_its_order_when_the_room_stays() {
    let mut room = prepared();
    room.on(110, say(2, "one"));
    room.on(120, say(3, "two"));
    assert_eq!(
        room.on(130, Input::Deletion(DeletionInput::Rollback(t1()))),
        [
            notify(Notice::Cancelled { transaction: t1() }, None),
            forward(2, "one"),
            forward(3, "two"),
        ]
    );
}

#[test]
fn what_waits_too_long_was_never_sent_and_is_refused_definitely() {
    let mut room = prepared();
    room.on(110, say(2, "one"));
    assert_eq!(room.0.next_deadline(), Some(Millis(7_610)));
    assert_eq!(
        room.timeout(7_610),
        [answer(from("b", 1, 2), Answer::SendRefused(Reject::being_deleted()))]
    );
}

#[test]
fn what_was_sent_before_is_not_in_the_room_that_went() {
    let mut room = MemberRoom::with(1, "otto", 0);
    room.on(90, say(2, "one"));
    room.on(100, prepare());
    assert_eq!(
        room.on(130, commit()),
        [
            answer(from("b", 1, 2), Answer::SendRefused(Reject::RoomNotFound)),
            notify(gone(), None),
            unsubscribe(1),
            done(),
            Effect::Idle,
        ]
    );
}

#[test]
fn a_node_in_doubt_asks_the_admin_node_and_does_not_let_go_before() {
    let mut room = prepared();
    let ask = |question| Effect::AskFate {
        node: node("a"),
        transaction: t1(),
        question,
    };
    assert_eq!(room.timeout(10_100), [ask(1)]);
    assert!(room.0.is_in_doubt());
    let fate = |question, fate| Input::Deletion(DeletionInput::Fate { question, fate });
    assert_eq!(room.on(10_200, fate(1, Err("down".into()))), []);
    assert_eq!(room.timeout(11_200), [ask(2)]);
    let aborted = fate(2, Ok(Fate::Aborted));
    assert_eq!(
        room.on(11_300, aborted),
        [notify(Notice::Cancelled { transaction: t1() }, None)]
    );
}

#[test]
fn a_commit_that_nobody_announced_is_asked_about() {
    let mut room = MemberRoom::with(1, "otto", 0);
    for claim in [commit(), Input::Deletion(DeletionInput::Claimed(t1()))] {
        let effects = room.on(100, claim);
        assert!(matches!(effects[..], [Effect::AskFate { .. }]), "{effects:?}");
        let Effect::AskFate { question, .. } = effects[0] else {
            return;
        };
        let fate = Ok(Fate::Aborted);
        assert_eq!(
            room.on(110, Input::Deletion(DeletionInput::Fate { question, fate })),
            []
        );
    }
}

#[test]
fn a_request_travels_to_the_admin_node_and_its_answers_come_back_in_order() {
    let mut room = MemberRoom::with(1, "ines", 0);
    let asker = from("b", 1, 9);
    let asked = Input::Delete {
        origin: asker.clone(),
        user: user("ines"),
    };
    let wanted = DeletionItem::Delete {
        request: 2,
        session: SessionId(1),
        user: user("ines"),
    };
    assert_eq!(room.on(90, asked), [item(wanted)]);
    let comes = |answer| Input::Answered { request: 2, answer };
    let initiated = Answer::DeletionInitiated {
        transaction: t1(),
        initiator: user("ines"),
    };
    assert_eq!(
        room.on(95, comes(initiated.clone())),
        [answer(asker.clone(), initiated)]
    );
    room.on(100, prepare());
    let progress = Answer::DeletionProgress(Progress {
        phase: Phase::Preparing,
        ready: vec![],
        waiting_for: vec![node("b")],
    });
    assert_eq!(room.on(105, comes(progress.clone())), [answer(asker.clone(), progress)]);
    assert_eq!(
        room.on(110, commit()),
        [notify(gone(), Some(1)), unsubscribe(1), done()],
        "whoever asked hears of its success first"
    );
    let success = |farewell| Answer::Deleted {
        transaction: t1(),
        farewell,
    };
    assert_eq!(
        room.on(120, comes(success(None))),
        [answer(asker, success(Some(gone()))), Effect::Idle]
    );
}

#[test]
fn a_request_whose_admin_node_fails_is_answered_by_what_is_known() {
    for told in [false, true] {
        let mut room = MemberRoom::with(1, "ines", 0);
        let asker = from("b", 1, 9);
        room.on(
            90,
            Input::Delete {
                origin: asker.clone(),
                user: user("ines"),
            },
        );
        if told {
            let initiated = Answer::DeletionInitiated {
                transaction: t1(),
                initiator: user("ines"),
            };
            room.on(
                95,
                Input::Answered {
                    request: 2,
                    answer: initiated,
                },
            );
        }
        let effects = room.on(100, Input::AdminFailed);
        let unsure = Answer::DeleteRefused {
            reject: Reject::AdminUnavailable,
            transaction: told.then(t1),
        };
        assert!(effects.contains(&answer(asker, unsure)), "{effects:?}");
    }
}
