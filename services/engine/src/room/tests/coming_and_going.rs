//! Joins and leaves: who is told what, and in which order.

use crate::effect::{Answer, Effect};
use crate::room::{Input, RoomLimits};
use crate::testing::*;
use chat_protocol::ids::SessionId;
use chat_protocol::reject::Reject;
use chat_protocol::server_frame::LeaveReason::{Disconnected, Inactivity, NodeUnreachable};

#[test]
fn requests_wait_for_the_claim_and_are_served_in_order() {
    let (mut room, opening) = AdminRoom::opening(RoomLimits::default());
    assert_eq!(opening, [Effect::Claim]);
    assert_eq!(room.on(1, join(from("a", 1, 1), "ines")), []);
    assert_eq!(room.on(1, join(from("a", 2, 1), "otto")), []);
    assert_eq!(
        room.on(2, claimed(7, 0)),
        [
            announce(event("ines", 1, 2, None), Some(1), &[]),
            answer(from("a", 1, 1), Answer::Joined(joined(&["ines"], 7, 0))),
            subscribe(1, 0),
            go_live(1),
            announce(event("otto", 2, 2, None), Some(2), &[]),
            answer(from("a", 2, 1), Answer::Joined(joined(&["ines", "otto"], 7, 0))),
            subscribe(2, 0),
            go_live(2),
        ]
    );
}

#[test]
fn a_room_that_does_not_exist_refuses_everybody() {
    let (mut room, _) = AdminRoom::opening(RoomLimits::default());
    room.on(1, join(from("a", 1, 1), "ines"));
    assert_eq!(
        room.on(2, Input::Claimed(Ok(None))),
        [
            answer(from("a", 1, 1), Answer::JoinRefused(Reject::RoomNotFound)),
            Effect::Idle
        ]
    );
    assert_eq!(
        room.on(3, join(from("a", 1, 2), "ines")),
        [
            answer(from("a", 1, 2), Answer::JoinRefused(Reject::RoomNotFound)),
            Effect::Idle
        ]
    );
}

#[test]
fn a_claim_that_fails_is_tried_three_times() {
    let (mut room, _) = AdminRoom::opening(RoomLimits::default());
    room.on(0, join(from("a", 1, 1), "ines"));
    let failure = || Input::Claimed(Err("store down".into()));
    assert_eq!(room.on(1, failure()), []);
    assert_eq!(room.timeout(100), []);
    assert_eq!(room.timeout(201), [Effect::Claim]);
    assert_eq!(room.on(202, failure()), []);
    assert_eq!(room.timeout(402), [Effect::Claim]);
    assert_eq!(
        room.on(403, failure()),
        [
            answer(
                from("a", 1, 1),
                Answer::JoinRefused(Reject::Internal("store down".into()))
            ),
            Effect::Idle
        ]
    );
}

#[test]
fn a_joiner_gets_the_history_first_and_at_most_a_thousand_messages_of_it() {
    let mut room = AdminRoom::with_head(1_500);
    assert_eq!(
        room.on(1, join(from("a", 1, 1), "ines")),
        [
            announce(event("ines", 1, 1, None), Some(1), &[]),
            answer(from("a", 1, 1), Answer::Joined(joined(&["ines"], 1, 1_500))),
            subscribe(1, 500),
            page(1, 501, 1_500),
        ]
    );
}

#[test]
fn joining_again_repeats_the_history_keeps_the_shift_and_tells_nobody() {
    let mut room = AdminRoom::with_head(1_500).with_local(1, "ines");
    assert_eq!(
        room.on(1, join(from("a", 1, 2), "ines")),
        [
            answer(from("a", 1, 2), Answer::Joined(joined(&["ines"], 1, 1_500))),
            subscribe(1, 500),
            page(1, 501, 1_500),
        ]
    );
}

#[test]
fn a_join_from_another_node_is_announced_to_everybody_with_members_and_then_answered() {
    let mut room = AdminRoom::with_head(3).with_local(1, "ines");
    assert_eq!(
        room.on(1, join(from("b", 1, 8), "otto")),
        [
            announce(event("otto", 2, 1, None), None, &["b"]),
            answer(from("b", 1, 8), Answer::Joined(joined(&["ines", "otto"], 1, 3))),
        ]
    );
}

#[test]
fn a_second_connection_of_a_name_is_no_second_member_and_the_last_one_to_go_leaves() {
    let mut room = AdminRoom::with_head(0).with_local(1, "ines").with_local(2, "otto");
    assert_eq!(
        room.on(1, join(from("b", 1, 8), "otto")),
        [answer(from("b", 1, 8), Answer::Joined(joined(&["ines", "otto"], 1, 0)))]
    );
    assert_eq!(room.on(2, Input::Closed(seat("a", 2))), [unsubscribe(2)]);
    assert_eq!(
        room.on(3, Input::Closed(seat("b", 1))),
        [announce(event("otto", 1, 3, Some(Disconnected)), None, &[])]
    );
}

#[test]
fn a_leaver_hears_nothing_of_its_own_leave() {
    let mut room = AdminRoom::with_head(0).with_local(1, "ines").with_local(2, "otto");
    assert_eq!(
        room.on(1, leave(from("a", 2, 2), "otto")),
        [
            unsubscribe(2),
            announce(
                event("otto", 1, 1, Some(chat_protocol::server_frame::LeaveReason::Left)),
                None,
                &[]
            ),
            answer(from("a", 2, 2), Answer::Left),
        ]
    );
}

#[test]
fn whoever_is_not_in_the_room_leaves_it_without_effect() {
    let mut room = AdminRoom::with_head(0).with_local(1, "ines");
    assert_eq!(
        room.on(1, leave(from("a", 2, 1), "otto")),
        [answer(from("a", 2, 1), Answer::Left)]
    );
    assert_eq!(
        room.on(1, leave(from("a", 1, 2), "otto")),
        [answer(from("a", 1, 2), Answer::Left)]
    );
    assert_eq!(room.on(1, Input::Closed(seat("b", 5))), []);
}

#[test]
fn one_connection_has_one_name_per_room() {
    let mut room = AdminRoom::with_head(0).with_local(1, "ines");
    assert_eq!(
        room.on(1, join(from("a", 1, 2), "otto")),
        [answer(from("a", 1, 2), Answer::JoinRefused(Reject::OtherUser))]
    );
}

#[test]
fn seats_behind_a_lost_node_leave_after_ten_seconds() {
    let mut room = AdminRoom::with_head(0)
        .with_local(1, "ines")
        .with_remote("b", 1, "otto")
        .with_remote("b", 2, "vera");
    assert_eq!(room.on(20_000, Input::NodeLost(node("b"))), []);
    assert_eq!(room.on(25_000, Input::NodeLost(node("b"))), []);
    assert_eq!(room.room.next_deadline(), Some(crate::time::Millis(30_000)));
    assert_eq!(room.timeout(29_999), []);
    assert_eq!(
        room.timeout(30_000),
        [
            announce(event("otto", 2, 30_000, Some(NodeUnreachable)), None, &["b"]),
            announce(event("vera", 1, 30_000, Some(NodeUnreachable)), None, &[]),
        ]
    );
}

#[test]
fn a_lost_node_that_announces_its_seats_in_time_loses_nobody() {
    let mut room = AdminRoom::with_head(4)
        .with_local(1, "ines")
        .with_remote("b", 1, "otto");
    room.on(20_000, Input::NodeLost(node("b")));
    let seats = Input::Seats {
        node: node("b"),
        seats: vec![announced(1, "otto")],
    };
    assert_eq!(
        room.on(29_000, seats),
        [answer(from("b", 0, 0), Answer::Joined(joined(&["ines", "otto"], 1, 4)))]
    );
    assert_eq!(room.timeout(60_000), []);
}

#[test]
fn a_lost_node_that_answers_again_in_the_same_life_loses_nobody() {
    let mut room = AdminRoom::with_head(0)
        .with_local(1, "ines")
        .with_remote("b", 1, "otto");
    room.on(20_000, Input::NodeLost(node("b")));
    assert_eq!(room.on(25_000, Input::NodeBack(node("b"))), []);
    assert_eq!(room.timeout(60_000), []);
}

/// Node b lives another life, whose connections have numbers from 10 on.
fn restarted() -> Input {
    Input::NodeRestarted {
        node: node("b"),
        first: SessionId(10),
    }
}

#[test]
fn whoever_joins_behind_a_restarted_node_does_not_keep_the_seats_of_its_former_life() {
    let mut room = AdminRoom::with_head(0)
        .with_local(1, "ines")
        .with_remote("b", 1, "otto")
        .with_remote("b", 2, "vera");
    assert_eq!(room.on(20_000, restarted()), []);
    room.on(21_000, join(from("b", 11, 1), "otto"));
    assert_eq!(room.on(22_000, Input::NodeBack(node("b"))), []);
    assert_eq!(room.room.next_deadline(), Some(crate::time::Millis(30_000)));
    assert_eq!(
        room.timeout(30_000),
        [announce(event("vera", 2, 30_000, Some(NodeUnreachable)), None, &["b"])],
        "nobody hears that one of two seats of otto is gone"
    );
    assert_eq!(
        room.on(31_000, Input::Closed(seat("b", 11))),
        [announce(event("otto", 1, 31_000, Some(Disconnected)), None, &[])],
        "and it was"
    );
}

#[test]
fn whoever_joined_behind_a_restarted_node_before_that_was_known_stays() {
    let mut room = AdminRoom::with_head(0)
        .with_local(1, "ines")
        .with_remote("b", 1, "otto")
        .with_remote("b", 11, "vera");
    room.on(20_000, restarted());
    assert_eq!(
        room.timeout(30_000),
        [announce(event("otto", 2, 30_000, Some(NodeUnreachable)), None, &["b"])]
    );
    assert_eq!(room.timeout(60_000), []);
}

#[test]
fn a_silent_node_that_turns_out_to_be_another_life_gets_no_longer_grace() {
    let mut room = AdminRoom::with_head(0)
        .with_local(1, "ines")
        .with_remote("b", 1, "otto");
    room.on(20_000, Input::NodeLost(node("b")));
    room.on(25_000, restarted());
    room.on(25_000, Input::NodeBack(node("b")));
    assert_eq!(
        room.timeout(30_000),
        [announce(event("otto", 1, 30_000, Some(NodeUnreachable)), None, &[])]
    );
}

#[test]
fn a_node_whose_link_lost_something_is_told_the_head_and_must_announce_its_seats() {
    let mut room = AdminRoom::with_head(7)
        .with_local(1, "ines")
        .with_remote("b", 1, "otto");
    let head = Effect::TellHead {
        nodes: vec![node("b")],
        generation: chat_protocol::ids::Generation(1),
        epoch: chat_protocol::ids::Epoch(1),
        head: chat_protocol::ids::Seq(7),
    };
    assert_eq!(room.on(20_000, Input::NodeReset(node("b"))), [head]);
    assert_eq!(room.on(20_000, Input::NodeReset(node("c"))), []);
    assert_eq!(
        room.timeout(30_000),
        [announce(event("otto", 1, 30_000, Some(NodeUnreachable)), None, &[])]
    );
}

#[test]
fn announced_seats_replace_what_was_known_of_the_node() {
    let mut room = AdminRoom::with_head(0)
        .with_local(1, "ines")
        .with_remote("b", 1, "otto");
    let seats = Input::Seats {
        node: node("b"),
        seats: vec![announced(7, "vera")],
    };
    assert_eq!(
        room.on(1, seats),
        [
            announce(event("vera", 3, 1, None), None, &["b"]),
            announce(event("otto", 2, 1, Some(Disconnected)), None, &["b"]),
            answer(from("b", 0, 0), Answer::Joined(joined(&["ines", "vera"], 1, 0))),
        ]
    );
}

#[test]
fn a_restarted_admin_node_hears_of_seats_it_never_knew() {
    let (mut room, _) = AdminRoom::opening(RoomLimits::default());
    room.on(
        0,
        Input::Seats {
            node: node("b"),
            seats: vec![announced(1, "otto")],
        },
    );
    assert_eq!(
        room.on(1, claimed(2, 9)),
        [
            announce(event("otto", 1, 1, None), None, &["b"]),
            answer(from("b", 0, 0), Answer::Joined(joined(&["otto"], 2, 9))),
        ]
    );
}

#[test]
fn only_whoever_neither_joins_nor_sends_is_removed_and_sees_it() {
    let mut room = AdminRoom::with_head(0)
        .with_local(1, "ines")
        .with_local(2, "otto")
        .with_remote("b", 1, "vera");
    room.on(500_000, say(from("a", 1, 2), "ines", "still here"));
    room.on(500_001, appended(1, crate::stored::AppendOutcome::Committed));
    room.on(600_000, join(from("b", 1, 2), "vera"));
    assert_eq!(room.room.next_deadline(), Some(crate::time::Millis(900_000)));
    assert_eq!(
        room.timeout(900_000),
        [
            announce(event("otto", 2, 900_000, Some(Inactivity)), None, &["b"]),
            unsubscribe(2)
        ]
    );
    // The node of the removed member is told although it has no other.
    room.on(1_400_000, say(from("a", 1, 3), "ines", "again"));
    room.on(1_400_001, appended(2, crate::stored::AppendOutcome::Committed));
    assert_eq!(
        room.timeout(1_500_000),
        [announce(event("vera", 1, 1_500_000, Some(Inactivity)), None, &["b"])]
    );
}

#[test]
fn an_empty_room_says_that_it_is_not_needed() {
    let mut room = AdminRoom::with_head(0).with_local(1, "ines");
    assert_eq!(
        room.on(1, Input::Closed(seat("a", 1))),
        [
            unsubscribe(1),
            announce(event("ines", 0, 1, Some(Disconnected)), None, &[]),
            Effect::Idle
        ]
    );
}
