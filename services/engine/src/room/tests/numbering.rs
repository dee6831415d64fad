//! Messages: numbered once, shown when committed, acknowledged after they were shown.

use crate::effect::{Answer, Effect};
use crate::stored::AppendOutcome::{Committed, Duplicate, Refused, Repeats};
use crate::stored::Repeat;
use crate::testing::*;
use chat_protocol::ids::{Seq, SessionId};
use chat_protocol::reject::Reject;

#[test]
fn a_message_is_shown_to_all_and_then_acknowledged_but_only_after_its_commit() {
    let mut room = AdminRoom::with_head(0)
        .with_local(1, "ines")
        .with_remote("b", 9, "otto");
    assert_eq!(
        room.on(5, say(from("a", 1, 2), "ines", "ahoy")),
        [append(1, 1, vec![message(1, "ines", "ahoy", 5)])]
    );
    assert_eq!(
        room.on(9, appended(1, Committed)),
        [
            relay(&["b"], 1, vec![frame(1, "ines", "ahoy", 5)]),
            Effect::Deliver(vec![frame(1, "ines", "ahoy", 5)]),
            sent(from("a", 1, 2), 1, "ahoy", 5),
        ]
    );
}

#[test]
fn what_arrives_during_a_commit_becomes_the_next_batch() {
    let mut room = AdminRoom::with_head(0).with_local(1, "ines").with_local(2, "otto");
    assert_eq!(
        room.on(1, say(from("a", 1, 2), "ines", "one")),
        [append(1, 1, vec![message(1, "ines", "one", 1)])]
    );
    assert_eq!(room.on(2, say(from("a", 2, 2), "otto", "two")), []);
    assert_eq!(room.on(3, say(from("a", 1, 3), "ines", "three")), []);
    assert_eq!(
        room.on(4, appended(1, Committed)),
        [
            Effect::Deliver(vec![frame(1, "ines", "one", 1)]),
            sent(from("a", 1, 2), 1, "one", 1),
            append(2, 1, vec![message(2, "otto", "two", 2), message(3, "ines", "three", 3)]),
        ]
    );
}

#[test]
fn an_outcome_that_comes_twice_or_late_does_nothing() {
    let mut room = AdminRoom::with_head(0).with_local(1, "ines");
    room.on(1, say(from("a", 1, 2), "ines", "one"));
    room.on(2, appended(1, Committed));
    assert_eq!(room.on(3, appended(1, Committed)), []);
    assert_eq!(room.on(3, appended(1, Duplicate)), []);
    assert_eq!(room.on(3, appended(1, Refused("late".into()))), []);
    assert_eq!(room.on(3, appended(77, Committed)), []);
}

#[test]
fn a_refused_batch_uses_no_number_and_says_so() {
    let mut room = AdminRoom::with_head(0).with_local(1, "ines");
    room.on(1, say(from("a", 1, 2), "ines", "one"));
    assert_eq!(
        room.on(2, appended(1, Refused("disk full".into()))),
        [answer(from("a", 1, 2), Answer::SendRefused(Reject::NotAdded))]
    );
    assert_eq!(
        room.on(3, say(from("a", 1, 3), "ines", "two")),
        [append(2, 1, vec![message(1, "ines", "two", 3)])]
    );
}

#[test]
fn who_is_not_in_the_room_says_nothing_there() {
    let mut room = AdminRoom::with_head(0).with_local(1, "ines");
    let refused = |origin| [answer(origin, Answer::SendRefused(Reject::NotMember))];
    assert_eq!(room.on(1, say(from("a", 2, 1), "otto", "hi")), refused(from("a", 2, 1)));
    assert_eq!(room.on(1, say(from("a", 1, 2), "otto", "hi")), refused(from("a", 1, 2)));
    assert_eq!(room.on(1, say(from("b", 1, 3), "ines", "hi")), refused(from("b", 1, 3)));
}

#[test]
fn a_repeat_of_a_committed_sending_gets_the_same_place_and_is_not_shown_again() {
    let mut room = AdminRoom::with_head(0).with_remote("b", 9, "otto");
    room.on(1, say_as(from("b", 9, 2), "otto", "hi", "id-1"));
    room.on(2, appended(1, Committed));
    assert_eq!(
        room.on(3, say_as(from("b", 9, 3), "otto", "hi", "id-1")),
        [sent_before(from("b", 9, 3), 1, "hi", 1)]
    );
}

#[test]
fn an_id_that_was_used_for_another_content_is_refused() {
    let mut room = AdminRoom::with_head(0).with_remote("b", 9, "otto");
    let conflict = |request| [answer(from("b", 9, request), Answer::SendRefused(Reject::IdConflict))];
    room.on(1, say_as(from("b", 9, 2), "otto", "hi", "id-1"));
    assert_eq!(
        room.on(2, say_as(from("b", 9, 3), "otto", "ho", "id-1")),
        conflict(3),
        "in flight"
    );
    room.on(2, say_as(from("b", 9, 4), "otto", "hu", "id-2"));
    assert_eq!(
        room.on(2, say_as(from("b", 9, 5), "otto", "ho", "id-2")),
        conflict(5),
        "waiting"
    );
    room.on(3, appended(1, Committed));
    assert_eq!(
        room.on(4, say_as(from("b", 9, 6), "otto", "ho", "id-1")),
        conflict(6),
        "committed"
    );
}

#[test]
fn what_the_store_knows_from_before_is_answered_and_the_rest_is_written_without_it() {
    let mut room = AdminRoom::with_head(7).with_remote("b", 9, "otto");
    room.on(1, say_as(from("b", 9, 2), "otto", "first", "id-0"));
    for (request, text, id) in [(3, "old", "id-1"), (4, "new", "id-2"), (5, "other", "id-3")] {
        room.on(1, say_as(from("b", 9, request), "otto", text, id));
    }
    room.on(2, appended(1, Committed));
    // The memory of this room is young: only the store knows id-1, and id-3 said something else then.
    let repeat = |index, text: &str, seq, same_content| Repeat {
        index,
        message_id: message_id(text),
        seq: Seq(seq),
        timestamp: at(0).wall,
        same_content,
    };
    let effects = room.on(
        3,
        appended(2, Repeats(vec![repeat(0, "old", 4, true), repeat(2, "odd", 5, false)])),
    );
    let [Effect::Append(again), rest @ ..] = &effects[..] else {
        panic!("the rest is written again: {effects:?}");
    };
    assert_eq!((again.token, again.items.len()), (3, 1));
    assert_eq!(again.items[0].message, message(9, "otto", "new", 1));
    assert_eq!(
        rest,
        [
            sent_before(from("b", 9, 3), 4, "old", 0),
            answer(from("b", 9, 5), Answer::SendRefused(Reject::IdConflict)),
        ]
    );
    assert_eq!(
        room.on(4, appended(3, Committed)),
        [
            relay(&["b"], 1, vec![frame(9, "otto", "new", 1)]),
            Effect::Deliver(vec![frame(9, "otto", "new", 1)]),
            sent(from("b", 9, 4), 9, "new", 1),
        ]
    );
}

#[test]
fn a_batch_of_nothing_but_repeats_makes_way_for_the_next() {
    let mut room = AdminRoom::with_head(7).with_remote("b", 9, "otto");
    room.on(1, say_as(from("b", 9, 2), "otto", "old", "id-1"));
    room.on(1, say_as(from("b", 9, 3), "otto", "new", "id-2"));
    let repeat = Repeat {
        index: 0,
        message_id: message_id("old"),
        seq: Seq(4),
        timestamp: at(0).wall,
        same_content: true,
    };
    let effects = room.on(2, appended(1, Repeats(vec![repeat])));
    let [Effect::Append(next), answered] = &effects[..] else {
        panic!("the next batch begins: {effects:?}");
    };
    assert_eq!(next.items[0].message, message(8, "otto", "new", 1));
    assert_eq!(*answered, sent_before(from("b", 9, 2), 4, "old", 0));
}

#[test]
fn a_repeat_of_a_sending_under_way_waits_for_the_same_outcome() {
    let mut room = AdminRoom::with_head(0)
        .with_remote("b", 9, "otto")
        .with_remote("c", 4, "otto");
    room.on(1, say_as(from("b", 9, 2), "otto", "hi", "id-1"));
    assert_eq!(room.on(2, say_as(from("c", 4, 5), "otto", "hi", "id-1")), []);
    assert_eq!(
        room.on(3, appended(1, Committed)),
        [
            relay(&["b", "c"], 1, vec![frame(1, "otto", "hi", 1)]),
            Effect::Deliver(vec![frame(1, "otto", "hi", 1)]),
            sent(from("b", 9, 2), 1, "hi", 1),
            sent(from("c", 4, 5), 1, "hi", 1),
        ]
    );
}

#[test]
fn the_same_id_of_another_user_is_another_sending() {
    let mut room = AdminRoom::with_head(0)
        .with_remote("b", 9, "otto")
        .with_remote("b", 8, "ines");
    room.on(1, say_as(from("b", 9, 2), "otto", "hi", "id-1"));
    room.on(2, appended(1, Committed));
    assert!(matches!(
        &room.on(3, say_as(from("b", 8, 3), "ines", "ho", "id-1"))[..],
        [Effect::Append(_)]
    ));
}

#[test]
fn a_full_queue_refuses_and_keeps_what_it_has() {
    let mut limits = crate::room::RoomLimits::default();
    limits.sequencer.waiting = 1;
    let (mut room, _) = AdminRoom::opening(limits);
    room.on(0, claimed(1, 0));
    room.on(0, join(from("a", 1, 1), "ines"));
    room.on(1, say(from("a", 1, 2), "ines", "one"));
    assert_eq!(room.on(1, say(from("a", 1, 3), "ines", "two")), []);
    assert_eq!(
        room.on(1, say(from("a", 1, 4), "ines", "three")),
        [answer(from("a", 1, 4), Answer::SendRefused(Reject::Busy))]
    );
    assert_eq!(
        room.on(2, appended(1, Committed)),
        [
            Effect::Deliver(vec![frame(1, "ines", "one", 1)]),
            sent(from("a", 1, 2), 1, "one", 1),
            append(2, 1, vec![message(2, "ines", "two", 1)]),
        ]
    );
}

#[test]
fn a_reader_that_lags_is_served_pages_until_it_has_caught_up() {
    let mut room = AdminRoom::with_head(0).with_local(1, "ines").with_local(2, "otto");
    for (token, text) in [(1, "one"), (2, "two"), (3, "three")] {
        room.on(1, say(from("a", 1, token + 1), "ines", text));
        room.on(1, appended(token, Committed));
    }
    let lagged = crate::room::Input::Lagged {
        session: SessionId(2),
        next: Seq(2),
    };
    let taken = |from, next| crate::room::Input::PageSent {
        session: SessionId(2),
        from: Seq(from),
        next: Seq(next),
    };
    assert_eq!(room.on(2, lagged.clone()), [page(2, 2, 3)]);
    assert_eq!(room.on(3, lagged), []);
    assert_eq!(room.on(3, taken(2, 3)), [page(2, 3, 3)]);
    // A page of an earlier cursor is no news.
    assert_eq!(room.on(3, taken(2, 3)), []);
    assert_eq!(
        room.on(
            4,
            crate::room::Input::PageFailed {
                session: SessionId(2),
                from: Seq(3)
            }
        ),
        [page(2, 3, 3)]
    );
    assert_eq!(room.on(5, taken(3, 4)), [go_live(2)]);
}

#[test]
fn an_acknowledgement_never_overtakes_its_message_for_a_reader_that_lags() {
    let mut room = AdminRoom::with_head(5).with_local(1, "ines");
    // The join's history (1 to 5) is still on its way when the message is committed.
    room.on(1, say(from("a", 1, 2), "ines", "six"));
    assert_eq!(
        room.on(2, appended(1, Committed)),
        [Effect::Deliver(vec![frame(6, "ines", "six", 1)])]
    );
    let taken = |from, next| crate::room::Input::PageSent {
        session: SessionId(1),
        from: Seq(from),
        next: Seq(next),
    };
    assert_eq!(room.on(3, taken(1, 6)), [page(1, 6, 6)]);
    assert_eq!(
        room.on(4, taken(6, 7)),
        [go_live(1), sent(from("a", 1, 2), 6, "six", 1)]
    );
}
