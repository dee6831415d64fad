//! Appends whose outcome is not known, and tenures that end: nothing is lost, doubled or reported wrongly.

use crate::effect::{Answer, Effect};
use crate::room::Input;
use crate::stored::AppendOutcome::{Committed, Duplicate, Fenced, NoRoom, SeqMismatch, Unknown};
use crate::testing::*;
use crate::time::Millis;
use chat_protocol::ids::{Epoch, Seq};
use chat_protocol::reject::Reject;

/// A room with `ines` at session 1 whose first message, "one", is in flight with token 1.
fn with_one_in_flight() -> AdminRoom {
    let mut room = AdminRoom::with_head(0).with_local(1, "ines");
    room.on(1, say(from("a", 1, 2), "ines", "one"));
    room
}

fn one_shown_and_acknowledged() -> [Effect; 2] {
    [
        Effect::Deliver(vec![frame(1, "ines", "one", 1)]),
        sent(from("a", 1, 2), 1, "one", 1),
    ]
}

#[test]
fn an_unknown_append_is_repeated_unchanged_and_nothing_passes_it() {
    let mut room = with_one_in_flight();
    assert_eq!(room.on(10, appended(1, Unknown)), []);
    assert_eq!(room.on(11, say(from("a", 1, 3), "ines", "two")), []);
    assert_eq!(room.room.next_deadline(), Some(Millis(60)));
    assert_eq!(room.timeout(60), [append(1, 1, vec![message(1, "ines", "one", 1)])]);
    let [delivered, acknowledged] = one_shown_and_acknowledged();
    assert_eq!(
        room.on(61, appended(1, Duplicate)),
        [
            delivered,
            acknowledged,
            append(2, 1, vec![message(2, "ines", "two", 11)])
        ]
    );
}

#[test]
fn pauses_between_repeats_grow_to_a_second() {
    let mut room = with_one_in_flight();
    let mut now = 10;
    for pause in [50, 100, 200, 400, 800, 800] {
        room.on(now, appended(1, Unknown));
        assert_eq!(room.timeout(now + pause - 1), []);
        now += pause;
        assert!(matches!(room.timeout(now)[..], [Effect::Append(_)]), "after {pause} ms");
    }
}

#[test]
fn a_sender_is_told_after_ten_seconds_and_not_again_when_the_outcome_is_known() {
    let mut room = with_one_in_flight();
    room.on(10, appended(1, Unknown));
    room.timeout(60);
    assert_eq!(room.timeout(10_009), []);
    assert_eq!(room.timeout(10_010), [answer(from("a", 1, 2), Answer::SendUnknown)]);
    assert_eq!(room.timeout(10_500), []);
    assert_eq!(
        room.on(11_000, appended(1, Committed)),
        [Effect::Deliver(vec![frame(1, "ines", "one", 1)])]
    );
}

#[test]
fn a_fenced_append_whose_place_is_free_is_written_again_under_the_new_tenure() {
    let mut room = with_one_in_flight();
    assert_eq!(room.on(2, appended(1, Fenced(Epoch(4)))), [Effect::Claim]);
    assert_eq!(
        room.on(3, claimed(5, 0)),
        [append(2, 5, vec![message(1, "ines", "one", 1)])]
    );
    assert_eq!(room.on(4, appended(2, Committed)), one_shown_and_acknowledged());
}

#[test]
fn a_fence_after_an_unknown_is_no_failure_if_the_log_has_the_message() {
    let mut room = with_one_in_flight();
    room.on(2, appended(1, Unknown));
    assert_eq!(room.on(3, appended(1, Fenced(Epoch(4)))), [Effect::Claim]);
    assert_eq!(
        room.on(4, claimed(5, 1)),
        [Effect::Reread {
            from: Seq(1),
            limit: 256
        }]
    );
    assert_eq!(
        room.on(5, Input::Reread(Ok(vec![message(1, "ines", "one", 1)]))),
        one_shown_and_acknowledged()
    );
    assert_eq!(
        room.on(6, say(from("a", 1, 3), "ines", "two")),
        [append(2, 5, vec![message(2, "ines", "two", 6)])]
    );
}

#[test]
fn a_place_taken_by_somebody_else_is_shown_and_ours_gets_the_next() {
    let mut room = with_one_in_flight();
    room.on(2, appended(1, SeqMismatch(Seq(3))));
    assert_eq!(
        room.on(4, claimed(5, 2)),
        [Effect::Reread {
            from: Seq(1),
            limit: 256
        }]
    );
    let foreign = vec![message(1, "otto", "theirs", 1), message(2, "otto", "too", 1)];
    assert_eq!(
        room.on(5, Input::Reread(Ok(foreign))),
        [
            Effect::Deliver(vec![frame(1, "otto", "theirs", 1), frame(2, "otto", "too", 1)]),
            append(2, 5, vec![message(3, "ines", "one", 1)]),
        ]
    );
}

#[test]
fn a_fate_that_cannot_be_read_is_asked_for_again() {
    let mut room = with_one_in_flight();
    room.on(2, appended(1, Fenced(Epoch(4))));
    room.on(3, claimed(5, 1));
    assert_eq!(room.on(5, Input::Reread(Err("busy".into()))), []);
    assert_eq!(room.on(6, say(from("a", 1, 3), "ines", "two")), []);
    assert_eq!(
        room.timeout(205),
        [Effect::Reread {
            from: Seq(1),
            limit: 256
        }]
    );
    assert_eq!(room.on(206, Input::Reread(Ok(Vec::new()))), []);
    assert_eq!(
        room.timeout(406),
        [Effect::Reread {
            from: Seq(1),
            limit: 256
        }]
    );
    let [delivered, acknowledged] = one_shown_and_acknowledged();
    assert_eq!(
        room.on(407, Input::Reread(Ok(vec![message(1, "ines", "one", 1)]))),
        [
            delivered,
            acknowledged,
            append(2, 5, vec![message(2, "ines", "two", 6)])
        ]
    );
}

#[test]
fn late_answers_to_claims_and_rereads_do_nothing() {
    let mut room = with_one_in_flight();
    assert_eq!(room.on(2, claimed(9, 7)), []);
    assert_eq!(room.on(2, Input::Reread(Ok(vec![message(7, "otto", "x", 1)]))), []);
    assert_eq!(room.on(3, appended(1, Committed)), one_shown_and_acknowledged());
}

#[test]
fn a_room_that_vanished_refuses_what_waits() {
    let mut room = with_one_in_flight();
    room.on(1, say(from("a", 1, 3), "ines", "two"));
    assert_eq!(
        room.on(2, appended(1, NoRoom)),
        [
            answer(from("a", 1, 2), Answer::SendRefused(Reject::RoomNotFound)),
            answer(from("a", 1, 3), Answer::SendRefused(Reject::RoomNotFound)),
            Effect::Idle,
        ]
    );
}
