//! A room of an original node that is deleted there.

use super::*;
use crate::effect::Notice;
use crate::room::guest::deletion::DeletionInput;
use chat_protocol::ids::{RoomName, TransactionId};

fn t(name: &str) -> TransactionId {
    TransactionId::parse(name).unwrap()
}

fn prepare(attempt: &str, coordinator: Option<&str>) -> Input {
    Input::Deletion(DeletionInput::Prepare {
        transaction: t(attempt),
        coordinator: coordinator.map(node),
    })
}

fn commit(attempt: &str) -> Input {
    Input::Deletion(DeletionInput::Commit {
        transaction: t(attempt),
        room_name: None,
    })
}

fn deleted(attempt: &str) -> Effect {
    Effect::Notify {
        notice: Notice::Deleted {
            room_name: RoomName::parse("hall").unwrap(),
            transaction: Some(t(attempt)),
        },
        except: None,
    }
}

#[test]
fn a_commit_that_the_admin_node_announced_is_obeyed() {
    let mut room = GuestRoom::with_otto(1, 3);
    assert_eq!(room.on(100, prepare("t1", Some("o"))), []);
    assert_eq!(
        room.on(110, commit("t1")),
        [deleted("t1"), unsubscribe(1), Effect::Idle]
    );
}

#[test]
fn a_commit_that_it_did_not_announce_is_looked_into() {
    for announced in [None, Some("p")] {
        let mut room = GuestRoom::with_otto(1, 3);
        room.on(100, prepare("t1", announced));
        assert_eq!(room.on(110, commit("t1")), [ask_join(2, "otto")]);
        assert_eq!(room.on(115, commit("t1")), [], "one look at a time");
        let still_there = |look| answered(look, still_in_it(&["otto"], numbers(1..=3)));
        assert_eq!(room.on(120, still_there(2)), [ask_join(3, "otto")], "which is older");
        // The room is there, and whoever said otherwise had no right to.
        assert_eq!(room.on(125, still_there(3)), []);
        assert_eq!(room.on(130, commit("t2")), [ask_join(4, "otto")]);
        let gone = answered(4, Reply::Refused(Reject::RoomNotFound));
        assert_eq!(room.on(140, gone), [deleted("t2"), unsubscribe(1), Effect::Idle]);
    }
}

#[test]
fn a_commit_of_another_attempt_is_looked_into() {
    let mut room = GuestRoom::with_otto(1, 3);
    room.on(100, prepare("t1", Some("o")));
    assert_eq!(room.on(110, commit("t2")), [ask_join(2, "otto")]);
    assert_eq!(room.on(120, answered(2, still_in_it(&["otto"], numbers(1..=3)))), []);
    assert_eq!(
        room.on(130, commit("t1")),
        [deleted("t1"), unsubscribe(1), Effect::Idle]
    );
}

#[test]
fn a_rollback_is_told_if_there_is_something_to_roll_back() {
    let mut room = GuestRoom::with_otto(1, 3);
    let rollback = |attempt| Input::Deletion(DeletionInput::Rollback(t(attempt)));
    assert_eq!(room.on(100, rollback("t1")), []);
    room.on(110, prepare("t1", Some("o")));
    assert_eq!(room.on(120, rollback("t2")), []);
    let notice = Notice::Cancelled { transaction: t("t1") };
    assert_eq!(room.on(130, rollback("t1")), [Effect::Notify { notice, except: None }]);
    assert_eq!(room.on(140, commit("t1")), [ask_join(2, "otto")], "crossed");
}

#[test]
fn whoever_hears_nothing_for_half_a_minute_looks() {
    let mut room = GuestRoom::with_otto(1, 3);
    room.on(29_000, prepare("t1", Some("o")));
    // The look that is due anyway changes nothing.
    assert_eq!(room.timeout(30_000), [ask_join(2, "otto")]);
    room.on(30_100, answered(2, still_in_it(&["otto"], numbers(1..=3))));
    assert_eq!(room.timeout(59_000), [ask_join(3, "otto")]);
    let gone = answered(3, Reply::Refused(Reject::RoomNotFound));
    assert_eq!(room.on(59_100, gone), [deleted("t1"), unsubscribe(1), Effect::Idle]);
}

#[test]
fn a_deletion_is_not_asked_of_a_node_that_offers_no_way_to() {
    let mut room = GuestRoom::with_otto(1, 3);
    let asked = Input::Asked(follower::Input::Delete {
        origin: from("b", 1, 9),
        user: user("otto"),
    });
    let refused = Answer::DeleteRefused {
        reject: Reject::RoomNotFound,
        transaction: None,
    };
    assert_eq!(room.on(100, asked), [answer(from("b", 1, 9), refused)]);
}
