//! Seats of sessions that do not come back here, and what other nodes of ours say of them.

use super::*;
use chat_protocol::peer_item::PeerBody;

/// When the grace of a seat is over that has waited since 1 ms.
const OVER: u64 = 10_001;

/// `vera` was in the room at session 1, which closed at 1 ms.
fn without_vera() -> GuestRoom {
    let mut room = GuestRoom::new();
    room.on(0, enter_on(1, 1, "vera", extended("k", None)));
    room.on(0, answered(1, in_it(&["vera"], numbers(1..=2))));
    assert_eq!(room.on(1, closed(1)), [unsubscribe(1)]);
    room
}

/// Her grace is over, and two other nodes were asked.
fn asked_for_vera() -> GuestRoom {
    let mut room = without_vera();
    assert_eq!(room.timeout(OVER), [inquire(1, "vera")]);
    assert_eq!(room.on(OVER, inquired(1, 2)), []);
    room
}

fn inquiry(node_id: &str, question: u64, name: &str) -> Input {
    Input::Inquiry {
        node: node(node_id),
        question,
        user: user(name),
    }
}

fn holds(question: u64, holds: bool) -> Input {
    Input::Holds { question, holds }
}

fn says(node_id: &str, question: u64, holds: bool) -> Effect {
    Effect::Tell {
        node: node(node_id),
        item: PeerBody::Holds { question, holds },
    }
}

fn expect(room: &mut GuestRoom, name: &str, holds: bool) {
    assert_eq!(room.on(20_000, inquiry("c", 7, name))[..1], [says("c", 7, holds)]);
}

#[test]
fn a_session_that_is_at_another_node_is_not_said_to_be_gone() {
    let mut room = asked_for_vera();
    assert_eq!(room.on(OVER + 1, holds(1, false)), [], "one of two");
    assert_eq!(room.on(OVER + 2, holds(1, true)), [Effect::Idle]);
    assert_eq!(room.on(OVER + 3, holds(1, false)), [Effect::Idle]);
    assert_eq!(room.0.next_deadline(), None);
}

#[test]
fn a_session_that_nobody_has_is_gone_as_soon_as_all_have_said_so() {
    let mut room = asked_for_vera();
    assert_eq!(room.on(OVER + 1, holds(1, false)), []);
    assert_eq!(room.on(OVER + 2, holds(1, false)), [ask_goodbye("vera"), Effect::Idle]);
    // Without other nodes that is at once.
    let mut room = without_vera();
    assert_eq!(room.timeout(OVER), [inquire(1, "vera")]);
    assert_eq!(room.on(OVER, inquired(1, 0)), [ask_goodbye("vera"), Effect::Idle]);
}

#[test]
fn a_node_that_does_not_answer_is_not_waited_for_for_ever() {
    let mut room = asked_for_vera();
    room.on(OVER + 1, holds(1, false));
    let end = OVER + 3_000;
    assert_eq!(room.0.next_deadline(), Some(Millis(end)));
    assert_eq!(room.timeout(end - 1), []);
    assert_eq!(room.timeout(end), [ask_goodbye("vera"), Effect::Idle]);
    assert_eq!(room.on(end + 1, holds(1, true)), [Effect::Idle], "too late");
}

#[test]
fn a_late_yes_does_not_keep_a_name_whose_session_went_on_and_was_lost() {
    // It went to the other node, which says so only when it is back here and lost again.
    let mut room = asked_for_vera();
    room.on(OVER + 1, enter_on(2, 1, "vera", extended("k", Some((1, 2)))));
    let back = room.on(OVER + 2, answered(2, still_in_it(&["vera"], numbers(1..=2))));
    assert_eq!(back[0], welcome(from("b", 2, 1), &["vera"], 1, 2, 3, true));
    assert_eq!(room.on(OVER + 3, holds(1, true)), [], "she sits here");
    assert_eq!(room.on(20_000, closed(2)), [unsubscribe(2)]);
    assert_eq!(room.on(20_001, holds(1, true)), [], "that was another question");
    assert_eq!(room.timeout(30_000), [inquire(2, "vera")]);
    assert_eq!(room.on(30_000, inquired(2, 1)), []);
    assert_eq!(room.on(30_001, holds(1, true)), []);
    assert_eq!(room.on(30_002, holds(2, false)), [ask_goodbye("vera"), Effect::Idle]);
}

#[test]
fn whoever_comes_while_others_are_asked_stays() {
    // Under the same name, on any connection.
    let mut room = asked_for_vera();
    room.on(OVER + 1, enter(2, 1, "vera"));
    assert_eq!(room.on(OVER + 1, holds(1, false)), []);
    assert_eq!(room.on(OVER + 1, holds(1, false)), []);
    room.on(OVER + 2, answered(2, still_in_it(&["vera"], numbers(1..=2))));
    // The admin node says itself that she is gone: there is nothing to add.
    let mut room = asked_for_vera();
    let gone = room.on(OVER + 1, left("vera", 0, Disconnected));
    assert_eq!(
        gone,
        [
            announce(event("vera", 0, 0, Some(Disconnected)), None, &[]),
            Effect::Idle
        ]
    );
    assert_eq!(room.on(OVER + 2, holds(1, false)), [Effect::Idle]);
}

#[test]
fn a_node_vouches_for_whoever_sits_or_waits_here() {
    let mut room = GuestRoom::with_otto(1, 2);
    expect(&mut room, "otto", true);
    expect(&mut room, "vera", false);
    expect(&mut without_vera(), "vera", true);
    // It asks itself: two nodes that ask each other must not keep the name for ever.
    expect(&mut asked_for_vera(), "vera", false);
    // And nobody is here.
    assert_eq!(
        GuestRoom::new().on(0, inquiry("c", 7, "otto")),
        [says("c", 7, false), Effect::Idle]
    );
}

#[test]
fn a_join_that_another_node_relied_on_and_that_fails_leaves_a_goodbye_to_say() {
    // An extended session may try again.
    let mut room = GuestRoom::new();
    room.on(0, enter_on(1, 1, "vera", extended("k", None)));
    expect(&mut room, "vera", true);
    assert_eq!(
        room.on(20_001, answered(1, Reply::Undone)),
        [answer(from("b", 1, 1), Answer::JoinRefused(Reject::AdminUnavailable))]
    );
    expect(&mut room, "vera", true);
    assert_eq!(room.timeout(30_001), [inquire(1, "vera")]);
    // A classic one is gone.
    let mut room = GuestRoom::new();
    room.on(0, enter(1, 1, "vera"));
    expect(&mut room, "vera", true);
    assert_eq!(
        room.on(20_001, answered(1, Reply::Undone)),
        [
            answer(from("b", 1, 1), Answer::JoinRefused(Reject::AdminUnavailable)),
            ask_goodbye("vera"),
            Effect::Idle
        ]
    );
    // It is the same if the admin node fails meanwhile.
    let mut room = GuestRoom::new();
    room.on(0, enter_on(1, 1, "vera", extended("k", None)));
    expect(&mut room, "vera", true);
    assert_eq!(
        room.on(20_001, Input::Asked(follower::Input::AdminFailed)),
        [answer(from("b", 1, 1), Answer::JoinRefused(Reject::AdminUnavailable))]
    );
    assert_eq!(room.timeout(30_001), [inquire(1, "vera")]);
    // Nobody relied on it: the name may be somebody else's, and nothing is said of it.
    let mut room = GuestRoom::new();
    room.on(0, enter_on(1, 1, "vera", extended("k", None)));
    assert_eq!(
        room.on(1, answered(1, Reply::Undone)),
        [
            answer(from("b", 1, 1), Answer::JoinRefused(Reject::AdminUnavailable)),
            Effect::Idle
        ]
    );
}

#[test]
fn an_extended_session_that_is_lost_while_it_joins_has_its_grace() {
    // Its seat elsewhere may still wait: a goodbye at once would end it.
    let mut room = GuestRoom::new();
    room.on(0, enter_on(1, 1, "vera", extended("k", None)));
    assert_eq!(room.on(1, closed(1)), []);
    assert_eq!(room.on(2, answered(1, still_in_it(&["vera"], numbers(1..=2)))), []);
    assert_eq!(room.timeout(OVER), [inquire(1, "vera")]);
    // Nobody knows whether it was let in.
    let mut room = GuestRoom::new();
    room.on(0, enter_on(1, 1, "vera", extended("k", None)));
    assert_eq!(
        room.on(1, answered(1, Reply::Unknown)),
        [answer(from("b", 1, 1), Answer::JoinRefused(Reject::AdminUnavailable))]
    );
    room.on(2, enter_on(1, 2, "vera", extended("k", None)));
    let joined = room.on(3, answered(2, in_it(&["vera"], numbers(1..=2))));
    assert_eq!(
        joined[0],
        welcome(from("b", 1, 2), &["vera"], 1, 2, 1, false),
        "others were told"
    );
    assert_eq!(room.timeout(OVER), [], "she sits here");
    // Who has asked to leave does not come back.
    let mut room = GuestRoom::new();
    room.on(0, enter_on(1, 1, "vera", extended("k", None)));
    assert_eq!(
        room.on(1, exit(1, 2, "vera")),
        [ask_leave("vera"), answer(from("b", 1, 2), Answer::Left)]
    );
    assert_eq!(room.on(2, closed(1)), [ask_goodbye("vera"), Effect::Idle]);
}
