//! What the room has, and what it has forgotten.

use super::*;

#[test]
fn a_hole_is_waited_for_and_then_read_from_the_room() {
    let mut room = GuestRoom::with_otto(1, 2);
    assert_eq!(room.on(100, said(4)), []);
    assert_eq!(room.on(200, said(5)), []);
    assert_eq!(room.0.next_deadline(), Some(Millis(1_100)));
    assert_eq!(room.timeout(1_100), [ask_join(2, "otto")]);
    assert_eq!(room.on(1_150, said(7)), []);
    assert_eq!(
        room.on(1_200, answered(2, still_in_it(&["otto"], numbers(1..=6)))),
        [delivers(3..=7)]
    );
    // One that closes by itself is nobody's business.
    room.on(2_000, said(9));
    assert_eq!(room.on(2_100, said(8)), [delivers(8..=9)]);
    assert_eq!(room.timeout(3_100), []);
}

#[test]
fn a_look_that_failed_is_repeated_a_second_later() {
    let mut room = GuestRoom::with_otto(1, 2);
    room.on(0, said(4));
    assert_eq!(room.timeout(1_000), [ask_join(2, "otto")]);
    assert_eq!(room.on(1_500, answered(2, Reply::Unknown)), []);
    assert_eq!(room.0.next_deadline(), Some(Millis(2_500)));
    assert_eq!(room.timeout(2_500), [ask_join(3, "otto")]);
    assert_eq!(
        room.on(2_600, answered(3, still_in_it(&["otto"], numbers(3..=4)))),
        [delivers(3..=4)]
    );
}

#[test]
fn what_the_room_has_forgotten_is_passed_over_without_a_hole_in_the_numbers() {
    let mut room = GuestRoom::with_otto(1, 2);
    room.on(0, enter_on(2, 1, "vera", extended("k", Some((1, 2)))));
    room.on(0, answered(2, in_it(&["otto", "vera"], numbers(1..=2))));
    room.on(0, say_at(1, 3, "otto", "lost", "c"));
    assert_eq!(room.on(10, said(205)), []);
    assert_eq!(room.on(10, answered(3, placed(50, "lost", 10))), []);
    assert_eq!(room.timeout(1_010), [ask_join(4, "otto")]);
    let effects = room.on(1_020, answered(4, still_in_it(&["otto", "vera"], numbers(106..=205))));
    let lost = message(50, "otto", "lost", 10);
    assert_eq!(
        effects,
        [
            // What is known from the answer to its sender is shown.
            skip(1, 47, 50),
            go_live(1),
            skip(2, 0, 50),
            Effect::Resync {
                session: SessionId(2),
                generation: Generation(1),
                from: Seq(50),
                reason: ResyncReason::Trimmed
            },
            go_live(2),
            Effect::Deliver(vec![MessageFrame::encode(&lost)]),
            sent(from("b", 1, 3), 50, "lost", 10),
            skip(1, 102, 106),
            go_live(1),
            skip(2, 0, 106),
            Effect::Resync {
                session: SessionId(2),
                generation: Generation(1),
                from: Seq(106),
                reason: ResyncReason::Trimmed
            },
            go_live(2),
            delivers(106..=205),
        ]
    );
}

#[test]
fn a_slow_reader_that_has_fallen_behind_what_is_kept_goes_on_where_something_is() {
    let mut room = GuestRoom::new();
    room.on(0, enter(1, 1, "otto"));
    room.on(0, answered(1, in_it(&["otto"], numbers(1..=3))));
    let failed = |first| {
        Input::Asked(follower::Input::PageFailed {
            session: SessionId(1),
            from: Seq(first),
        })
    };
    // Something passing is tried again.
    assert_eq!(room.on(1, failed(1)), [page(1, 1, 3)]);
    room.0.backlog.clear();
    room.on(2, said(4));
    assert_eq!(room.on(3, failed(1)), [skip(1, 3, 4), page(1, 4, 4)]);
}

#[test]
fn the_room_is_looked_at_now_and_then_under_each_name_in_turn() {
    let mut room = GuestRoom::with_otto(1, 1);
    room.on(0, enter(2, 1, "vera"));
    room.on(0, answered(2, in_it(&["otto", "vera"], numbers(1..=1))));
    assert_eq!(room.0.next_deadline(), Some(Millis(30_000)));
    assert_eq!(room.timeout(30_000), [ask_join(3, "otto")]);
    // A last message that no later one made missed.
    assert_eq!(
        room.on(30_001, answered(3, still_in_it(&["otto", "vera"], numbers(1..=2)))),
        [delivers(2..=2)]
    );
    assert_eq!(room.timeout(60_000), [ask_join(4, "vera")]);
    // She had been removed without our knowing, and is a member again.
    assert_eq!(
        room.on(60_001, answered(4, in_it(&["otto", "vera"], numbers(1..=2)))),
        []
    );
    assert_eq!(room.timeout(90_001), [ask_join(5, "otto")]);
    // He leaves while he is looked after: he must not stay because of that.
    assert_eq!(
        room.on(90_002, exit(1, 9, "otto")),
        [unsubscribe(1), ask_leave("otto"), answer(from("b", 1, 9), Answer::Left)]
    );
    assert_eq!(
        room.on(90_003, answered(5, in_it(&["otto", "vera"], Vec::new()))),
        [ask_leave("otto")]
    );
}

#[test]
fn a_position_that_is_not_kept_any_more_is_void() {
    let mut room = GuestRoom::new();
    room.on(0, enter_on(1, 1, "vera", extended("k", Some((1, 200)))));
    assert_eq!(
        room.on(1, answered(1, in_it(&["vera"], numbers(301..=400)))),
        [
            welcome(from("b", 1, 1), &["vera"], 301, 400, 391, false),
            subscribe_from(1, 391),
            Effect::Resync {
                session: SessionId(1),
                generation: Generation(1),
                from: Seq(391),
                reason: ResyncReason::Trimmed
            },
            page(1, 391, 400),
        ]
    );
}

#[test]
fn what_waits_behind_a_hole_is_bounded_and_read_again() {
    let mut room = GuestRoom::with_otto(1, 1);
    for seq in 3..=2_000 {
        assert_eq!(room.on(0, said(seq)), []);
    }
    assert_eq!(room.0.ahead.len(), MAX_AHEAD);
    assert_eq!(room.timeout(1_000), [ask_join(2, "otto")]);
    assert_eq!(
        room.on(1_001, answered(2, still_in_it(&["otto"], numbers(1_901..=2_000)))),
        [
            skip(1, 1, 3),
            go_live(1),
            delivers(3..=1_002),
            skip(1, 899, 1_901),
            go_live(1),
            delivers(1_901..=2_000),
        ]
    );
}

#[test]
fn a_repeat_of_an_extended_sending_is_recognised_as_far_as_it_is_known() {
    let mut room = GuestRoom::new();
    room.on(0, enter_on(1, 1, "vera", extended("k", None)));
    room.on(0, answered(1, in_it(&["vera"], Vec::new())));
    let send = |request, text, id| say_at(1, request, "vera", text, id);
    let to = |request| from("b", 1, request);
    // While it is under way, and after.
    assert_eq!(room.on(1, send(2, "hi", "c-1")), [ask_forward(2, "vera", "hi")]);
    assert_eq!(room.on(2, send(3, "hi", "c-1")), []);
    assert_eq!(
        room.on(2, send(4, "ho", "c-1")),
        [answer(to(4), Answer::SendRefused(Reject::IdConflict))]
    );
    assert_eq!(
        room.on(3, answered(2, placed(1, "hi", 1)))[1..],
        [sent(to(2), 1, "hi", 1), sent(to(3), 1, "hi", 1)]
    );
    assert_eq!(room.on(4, send(5, "hi", "c-1")), [sent_before(to(5), 1, "hi", 1)]);
    // Its call broke, but it was executed: the message turns up.
    room.on(5, send(6, "hey", "c-2"));
    room.on(6, answered(3, Reply::Unknown));
    room.on(7, Input::Said(message(2, "vera", "hey", 6)));
    assert_eq!(room.on(8, send(7, "hey", "c-2")), [sent_before(to(7), 2, "hey", 6)]);
    assert_eq!(
        room.on(8, send(8, "hoy", "c-2")),
        [answer(to(8), Answer::SendRefused(Reject::IdConflict))]
    );
    // It did not turn up: whoever repeats it wants it said.
    room.on(9, send(9, "huhu", "c-3"));
    room.on(10, answered(4, Reply::Unknown));
    assert_eq!(room.on(11, send(10, "huhu", "c-3")), [ask_forward(5, "vera", "huhu")]);
}
