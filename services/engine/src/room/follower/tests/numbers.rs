//! Holes, heads, tails and floors.

use super::*;

#[test]
fn what_was_delivered_before_is_dropped_and_only_the_rest_is_shown() {
    let mut room = MemberRoom::with(1, "otto", 3);
    assert_eq!(
        room.on(1, delivered(1, numbers(2..=5))),
        [Effect::Deliver(numbers(4..=5))]
    );
    assert_eq!(room.on(2, delivered(1, numbers(2..=5))), []);
}

#[test]
fn a_hole_is_read_from_the_admin_once_while_more_arrives() {
    let mut room = MemberRoom::with(1, "otto", 3);
    assert_eq!(room.on(1, delivered(1, numbers(6..=6))), [read_from(4)]);
    assert_eq!(room.on(2, delivered(1, numbers(7..=8))), []);
    assert_eq!(
        room.on(3, Input::RangeRead(Ok(untrimmed(numbers(4..=6))))),
        [Effect::Deliver(numbers(4..=6)), read_from(7)]
    );
    assert_eq!(
        room.on(4, Input::RangeRead(Ok(untrimmed(numbers(7..=8))))),
        [Effect::Deliver(numbers(7..=8))]
    );
    assert_eq!(
        room.on(5, delivered(1, numbers(9..=9))),
        [Effect::Deliver(numbers(9..=9))]
    );
}

#[test]
fn a_repair_that_fails_or_brings_nothing_is_tried_again() {
    let mut room = MemberRoom::with(1, "otto", 3);
    room.on(1, delivered(1, numbers(6..=6)));
    assert_eq!(room.on(10, Input::RangeRead(Err("timeout".into()))), []);
    assert_eq!(room.0.next_deadline(), Some(Millis(210)));
    assert_eq!(room.timeout(210), [read_from(4)]);
    assert_eq!(room.on(220, Input::RangeRead(Ok(untrimmed(numbers(8..=9))))), []);
    assert_eq!(room.timeout(420), [read_from(4)]);
    assert_eq!(
        room.on(430, Input::RangeRead(Ok(untrimmed(numbers(4..=6))))),
        [Effect::Deliver(numbers(4..=6))]
    );
}

#[test]
fn a_head_that_is_ahead_shows_that_the_last_message_was_lost() {
    let mut room = MemberRoom::with(1, "otto", 3);
    let head = |head| Input::Head {
        generation: Generation(1),
        epoch: Epoch(1),
        head: Seq(head),
    };
    assert_eq!(room.on(1, head(3)), []);
    assert_eq!(room.on(2, head(4)), [read_from(4)]);
}

#[test]
fn a_former_tenure_is_not_listened_to() {
    let mut room = MemberRoom::with(1, "otto", 3);
    assert_eq!(
        room.on(1, delivered(2, numbers(4..=4))),
        [Effect::Deliver(numbers(4..=4))]
    );
    assert_eq!(room.on(2, delivered(1, numbers(5..=5))), []);
    assert_eq!(room.on(2, delivered(1, numbers(9..=9))), []);
}

#[test]
fn a_tail_that_is_still_missing_at_the_next_check_is_read() {
    let mut room = MemberRoom::with(1, "otto", 3);
    assert_eq!(room.on(1, Input::Tail(Seq(3))), [], "nothing is missing");
    assert_eq!(room.on(2, Input::Tail(Seq(5))), [], "5 may be on its way");
    assert_eq!(room.on(3, Input::Tail(Seq(7))), [read_from(4)], "5 was not");
    assert_eq!(
        room.on(4, Input::RangeRead(Ok(untrimmed(numbers(4..=7))))),
        [Effect::Deliver(numbers(4..=7))]
    );
}

#[test]
fn a_tail_that_arrives_meanwhile_is_no_hole() {
    let mut room = MemberRoom::with(1, "otto", 3);
    room.on(1, Input::Tail(Seq(4)));
    room.on(2, delivered(1, numbers(4..=4)));
    assert_eq!(room.on(3, Input::Tail(Seq(5))), [], "4 came; 5 gets its own chance");
    assert_eq!(room.on(4, Input::Tail(Seq(5))), [read_from(5)]);
}

#[test]
fn traffic_is_asked_for_once() {
    let mut room = MemberRoom::with(1, "otto", 3);
    assert!(room.0.take_traffic(), "it joined at 3");
    assert!(!room.0.take_traffic());
    room.on(1, delivered(1, numbers(4..=4)));
    assert!(room.0.take_traffic());
}

#[test]
fn a_confirmation_waits_for_its_message_while_a_hole_is_read() {
    let mut room = MemberRoom::with(1, "otto", 3);
    room.on(1, say(9, "hi"));
    assert_eq!(
        room.on(2, delivered(1, vec![frame(5, "otto", "hi", 2)])),
        [read_from(4)]
    );
    let confirmation = Answer::Sent {
        message_id: message_id("hi"),
        seq: Seq(5),
        timestamp: at(2).wall,
        duplicate: false,
    };
    let input = Input::Answered {
        request: 2,
        answer: confirmation.clone(),
    };
    assert_eq!(room.on(3, input), [], "5 was not shown yet");
    let range = vec![frame(4, "ines", "t4", 4), frame(5, "otto", "hi", 2)];
    assert_eq!(
        room.on(4, Input::RangeRead(Ok(untrimmed(range.clone())))),
        [Effect::Deliver(range), answer(from("b", 1, 9), confirmation)]
    );
}

#[test]
fn a_hole_closes_without_its_messages_only_if_the_admin_says_that_they_are_gone() {
    let mut room = MemberRoom::with(1, "otto", 3);
    room.on(
        0,
        Input::Join {
            origin: from("b", 2, 1),
            user: user("vera"),
            terms: extended("key", Some((1, 3))),
        },
    );
    room.on(
        0,
        Input::Answered {
            request: 2,
            answer: Answer::Joined(joined(&["otto", "vera"], 1, 3)),
        },
    );
    assert_eq!(room.on(1, delivered(1, numbers(20..=20))), [read_from(4)]);
    let late = Input::RangeRead(Ok(untrimmed(numbers(15..=20))));
    assert_eq!(room.on(2, late), [], "later messages alone say nothing");
    room.timeout(500);
    let (floor, frames) = (Some(Seq(15)), numbers(15..=20));
    let resync = Effect::Resync {
        session: SessionId(2),
        generation: Generation(1),
        from: Seq(15),
        reason: ResyncReason::Trimmed,
    };
    let session = SessionId(1);
    assert_eq!(
        room.on(501, Input::RangeRead(Ok(Range { frames, floor }))),
        [
            Effect::Overtaken { session },
            resync,
            go_live(2),
            Effect::Deliver(numbers(15..=20))
        ]
    );
    assert_eq!(
        room.on(502, delivered(1, numbers(21..=21))),
        [Effect::Deliver(numbers(21..=21))]
    );
}

#[test]
fn a_floor_that_was_passed_long_ago_changes_nothing() {
    let mut room = MemberRoom::with(1, "otto", 3);
    assert_eq!(room.on(1, delivered(1, numbers(6..=6))), [read_from(4)]);
    let (floor, frames) = (Some(Seq(2)), numbers(4..=6));
    assert_eq!(
        room.on(2, Input::RangeRead(Ok(Range { frames, floor }))),
        [Effect::Deliver(numbers(4..=6))]
    );
}

#[test]
fn a_hole_that_is_closed_and_a_double_are_seen_once() {
    let mut room = MemberRoom::with(1, "ines", 1);
    room.on(0, delivered(1, numbers(2..=2)));
    assert_eq!(room.0.take_seen(), Seen::default());
    room.on(1, delivered(1, numbers(5..=6)));
    assert_eq!((room.0.lag(), room.0.take_seen().gaps), (4, 1));
    // The hole is still the same one.
    room.on(2, delivered(1, numbers(7..=7)));
    assert_eq!((room.0.lag(), room.0.take_seen()), (5, Seen::default()));
    room.on(3, Input::RangeRead(Ok(untrimmed(numbers(3..=7)))));
    let closed = Seen {
        repaired: 1,
        ..Seen::default()
    };
    assert_eq!((room.0.lag(), room.0.take_seen()), (0, closed));
    room.on(4, delivered(1, numbers(6..=8)));
    let doubled = Seen {
        doubled: 2,
        ..Seen::default()
    };
    assert_eq!(room.0.take_seen(), doubled);
}
