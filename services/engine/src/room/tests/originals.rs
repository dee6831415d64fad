//! Members behind nodes of the original system: `p` and `q` are such nodes, `a` is the admin node, `b` a node of ours.

mod lives;

use crate::effect::{Answer, Effect, Effects, Joined, Origin, Recalled};
use crate::room::original::{self, is_original};
use crate::room::roster::Seat;
use crate::room::{Input, RoomLimits};
use crate::stored::{AppendOutcome, ClaimedRoom, RoomState, StoredSeat};
use crate::testing::*;
use crate::time::Millis;
use chat_protocol::ids::{ClientMsgId, Epoch, Generation, Seq, SessionId};
use chat_protocol::message_frame::MessageFrame;
use chat_protocol::reject::Reject;
use chat_protocol::server_frame::LeaveReason::{self, Disconnected, Inactivity, Left, NodeUnreachable};
use chat_protocol::server_frame::MemberEvent;

/// The number of the `n`th seat behind original nodes, when the numbers of its node are lowered by `shift`.
fn place(shift: u64, n: u64) -> u64 {
    (1 << 62) | (shift << 31) | n
}

const NOWHERE: u64 = 1 << 62;

fn original(input: original::Input) -> Input {
    Input::Original(input)
}

fn enters(node_id: &str, name: &str, request: u64) -> Input {
    original(original::Input::Join {
        request,
        node: node(node_id),
        user: user(name),
    })
}

fn goes(node_id: &str, name: &str, request: u64, reason: LeaveReason) -> Input {
    original(original::Input::Leave {
        request,
        node: node(node_id),
        user: user(name),
        reason,
    })
}

/// `name` behind `node_id` says `text`; the sending has the id `id` unless it is recognised. Its node looked for the room.
fn says(node_id: &str, name: &str, text: &str, request: u64, id: &str) -> Input {
    says_after(request, node_id, name, text, request, id)
}

/// The same after so many looks for rooms.
fn says_after(looks: u64, node_id: &str, name: &str, text: &str, request: u64, id: &str) -> Input {
    original(original::Input::Forward {
        looks,
        request,
        node: node(node_id),
        user: user(name),
        content: text.into(),
        message_id: message_id(text),
        client_msg_id: ClientMsgId::parse(id).unwrap(),
    })
}

fn replied(node_id: &str, head: u64) -> Input {
    original(original::Input::Replied {
        node: node(node_id),
        head: Seq(head),
    })
}

fn passed(node_id: &str, from: u64, next: u64) -> Input {
    original(original::Input::Passed {
        node: node(node_id),
        from: Seq(from),
        next: Seq(next),
    })
}

fn broadcast(node_id: &str, shift: u64, frames: Vec<MessageFrame>) -> Effect {
    Effect::Broadcast {
        node: node(node_id),
        shift,
        frames,
    }
}

fn broadcast_page(node_id: &str, shift: u64, from: u64, to: u64) -> Effect {
    Effect::BroadcastPage {
        node: node(node_id),
        shift,
        from: Seq(from),
        to: Seq(to),
    }
}

fn broadcast_event(nodes: &[&str], event: MemberEvent) -> Effect {
    Effect::BroadcastEvent {
        nodes: nodes.iter().map(|id| node(id)).collect(),
        event,
    }
}

fn recall_departure(node_id: &str, name: &str) -> Effect {
    Effect::Recall {
        node: node(node_id),
        what: Recalled::Departure(user(name)),
    }
}

fn recall_messages(node_id: &str) -> Effect {
    Effect::Recall {
        node: node(node_id),
        what: Recalled::Messages,
    }
}

/// The answer to a join behind an original node.
fn in_it(to: Origin, members: &[&str], head: u64, again: bool, first: u64) -> Effect {
    answer(
        to,
        Answer::Joined(Joined {
            resumed: again,
            first: Seq(first),
            ..joined(members, 1, head)
        }),
    )
}

/// Effects without notes of seats and without versions, which nobody behind an original node is told.
fn view(effects: Effects) -> Effects {
    let plain = |mut effect: Effect| {
        match &mut effect {
            Effect::KeepSeat { .. } | Effect::DropSeat(_) => return None,
            Effect::Announce { event, .. } | Effect::BroadcastEvent { event, .. } => event.version = 0,
            Effect::Answer {
                answer: Answer::Joined(joined),
                ..
            } => joined.version = 0,
            _ => {}
        }
        Some(effect)
    };
    effects.into_iter().filter_map(plain).collect()
}

fn on(room: &mut AdminRoom, ms: u64, input: Input) -> Effects {
    view(room.all(ms, input))
}

fn timeout(room: &mut AdminRoom, ms: u64) -> Effects {
    let mut effects = Vec::new();
    room.room.handle_timeout(at(ms), &mut effects);
    view(effects)
}

/// A message of `ines` at session 1 of node `a` is committed; what that causes.
fn ines_says(room: &mut AdminRoom, ms: u64, token: u64, text: &str) -> Effects {
    on(room, ms, say(from("a", 1, 9), "ines", text));
    let effects = on(room, ms, appended(token, AppendOutcome::Committed));
    let own = |effect: &Effect| {
        matches!(effect, Effect::Answer { to, .. } if to.node == node("a")) || matches!(effect, Effect::Deliver(_))
    };
    effects.into_iter().filter(|effect| !own(effect)).collect()
}

#[test]
fn a_join_is_told_to_all_but_its_own_node_and_gets_at_most_a_hundred_messages() {
    let mut room = AdminRoom::with_head(500)
        .with_local(1, "ines")
        .with_remote("b", 1, "vera");
    assert_eq!(
        on(&mut room, 1, enters("p", "otto", 7)),
        [
            announce(event("otto", 3, 1, None), None, &["b"]),
            recall_departure("p", "otto"),
            in_it(from("p", place(400, 1), 7), &["ines", "otto", "vera"], 500, false, 401),
        ]
    );
    // A second name behind the node counts from the same message on, and the first one hears of it.
    ines_says(&mut room, 2, 1, "more");
    assert_eq!(
        on(&mut room, 3, enters("p", "emil", 8)),
        [
            broadcast_event(&["p"], event("emil", 4, 3, None)),
            announce(event("emil", 4, 3, None), None, &["b"]),
            recall_departure("p", "emil"),
            in_it(
                from("p", place(400, 2), 8),
                &["emil", "ines", "otto", "vera"],
                501,
                false,
                401
            ),
        ]
    );
}

#[test]
fn joining_again_is_answered_and_told_to_nobody() {
    let mut room = AdminRoom::with_head(2).with_local(1, "ines");
    on(&mut room, 1, enters("p", "otto", 7));
    assert_eq!(
        on(&mut room, 2, enters("p", "otto", 8)),
        [
            recall_departure("p", "otto"),
            in_it(from("p", place(0, 1), 8), &["ines", "otto"], 2, true, 1),
        ]
    );
    // Behind another node it is another seat of the same member.
    assert_eq!(
        on(&mut room, 3, enters("q", "otto", 9)),
        [
            recall_departure("q", "otto"),
            in_it(from("q", place(0, 2), 9), &["ines", "otto"], 2, true, 1),
        ]
    );
    assert_eq!(
        on(&mut room, 4, goes("q", "otto", 10, Left)),
        [recall_messages("q"), answer(from("q", place(0, 2), 10), Answer::Left)]
    );
    assert_eq!(room.room.member_count(), 2);
}

#[test]
fn each_node_has_its_own_shift_which_ends_with_its_last_seat() {
    let mut room = AdminRoom::with_head(0).with_local(1, "ines");
    on(&mut room, 1, enters("p", "otto", 7));
    assert_eq!(
        ines_says(&mut room, 2, 1, "one"),
        [broadcast("p", 0, vec![frame(1, "ines", "one", 2)])]
    );
    let mut room = AdminRoom::with_head(300).with_local(1, "ines");
    on(&mut room, 1, enters("p", "otto", 7));
    ines_says(&mut room, 2, 1, "one");
    on(&mut room, 3, enters("q", "vera", 8));
    assert_eq!(
        ines_says(&mut room, 4, 2, "two"),
        [
            broadcast("p", 200, vec![frame(302, "ines", "two", 4)]),
            broadcast("q", 201, vec![frame(302, "ines", "two", 4)]),
        ]
    );
    assert_eq!(
        on(&mut room, 5, goes("p", "otto", 9, Left)),
        [
            recall_messages("p"),
            broadcast_event(&["q"], event("otto", 2, 5, Some(Left))),
            announce(event("otto", 2, 5, Some(Left)), None, &[]),
            answer(from("p", place(200, 1), 9), Answer::Left),
        ]
    );
    assert_eq!(
        on(&mut room, 6, enters("p", "otto", 10)).last(),
        Some(&in_it(
            from("p", place(202, 3), 10),
            &["ines", "otto", "vera"],
            302,
            false,
            203
        ))
    );
}

#[test]
fn a_message_from_an_original_node_goes_to_everybody_before_its_answer() {
    let mut room = AdminRoom::with_head(0)
        .with_local(1, "ines")
        .with_remote("b", 1, "vera");
    on(&mut room, 1, enters("p", "otto", 7));
    on(&mut room, 2, says("p", "otto", "ahoy", 8, "id-1"));
    let said = vec![frame(1, "otto", "ahoy", 2)];
    assert_eq!(
        on(&mut room, 3, appended(1, AppendOutcome::Committed)),
        [
            relay(&["b"], 1, said.clone()),
            broadcast("p", 0, said.clone()),
            Effect::Deliver(said),
            sent(from("p", place(0, 1), 8), 1, "ahoy", 2),
        ]
    );
}

#[test]
fn whoever_is_not_in_the_room_behind_a_node_neither_speaks_nor_leaves_there() {
    let mut room = AdminRoom::with_head(0).with_local(1, "ines");
    on(&mut room, 1, enters("p", "otto", 7));
    for name in ["ines", "zed"] {
        assert_eq!(
            on(&mut room, 2, says("p", name, "forged", 8, "id-1")),
            [answer(from("p", NOWHERE, 8), Answer::SendRefused(Reject::NotMember))]
        );
        assert_eq!(
            on(&mut room, 3, goes("p", name, 9, Left)),
            [answer(from("p", NOWHERE, 9), Answer::NotIn)]
        );
    }
    assert_eq!(room.room.member_count(), 2);
}

#[test]
fn a_member_whose_connection_is_gone_is_gone_with_the_reason() {
    let mut room = AdminRoom::with_head(0).with_local(1, "ines");
    on(&mut room, 1, enters("p", "otto", 7));
    on(&mut room, 1, enters("p", "vera", 8));
    assert_eq!(
        on(&mut room, 2, goes("p", "otto", 9, Disconnected)),
        [
            broadcast_event(&["p"], event("otto", 2, 2, Some(Disconnected))),
            announce(event("otto", 2, 2, Some(Disconnected)), None, &[]),
            answer(from("p", place(0, 1), 9), Answer::Left),
        ]
    );
}

#[test]
fn what_was_said_around_an_answer_is_said_again_a_second_later() {
    let mut room = AdminRoom::with_head(4).with_local(1, "ines");
    on(&mut room, 0, enters("p", "otto", 7));
    on(&mut room, 100, replied("p", 4));
    ines_says(&mut room, 500, 1, "five");
    ines_says(&mut room, 1_099, 2, "six");
    assert_eq!(room.room.next_deadline(), Some(Millis(1_100)));
    assert_eq!(timeout(&mut room, 1_100), [broadcast_page("p", 0, 5, 6)]);
    // Deliveries meanwhile only move the end.
    assert_eq!(ines_says(&mut room, 1_101, 3, "seven"), []);
    assert_eq!(on(&mut room, 1_102, passed("p", 5, 7)), [broadcast_page("p", 0, 7, 7)]);
    assert_eq!(on(&mut room, 1_103, passed("p", 7, 8)), []);
    assert_eq!(
        ines_says(&mut room, 1_104, 4, "eight"),
        [broadcast("p", 0, vec![frame(8, "ines", "eight", 1_104)])]
    );
    // Where nothing was said there is nothing to say again.
    on(&mut room, 2_000, replied("p", 8));
    assert_eq!(timeout(&mut room, 3_000), []);
}

#[test]
fn joins_in_a_row_are_each_waited_for() {
    let mut room = AdminRoom::with_head(0).with_local(1, "ines");
    on(&mut room, 0, enters("p", "otto", 7));
    on(&mut room, 0, replied("p", 0));
    ines_says(&mut room, 400, 1, "one");
    on(&mut room, 500, enters("p", "vera", 8));
    on(&mut room, 500, replied("p", 1));
    ines_says(&mut room, 600, 2, "two");
    assert_eq!(timeout(&mut room, 1_000), [broadcast_page("p", 0, 1, 2)]);
    on(&mut room, 1_001, passed("p", 1, 3));
    assert_eq!(timeout(&mut room, 1_500), [broadcast_page("p", 0, 2, 2)]);
}

#[test]
fn a_node_whose_queue_is_full_is_served_from_the_log_until_it_has_caught_up() {
    let mut room = AdminRoom::with_head(0).with_local(1, "ines");
    on(&mut room, 0, enters("p", "otto", 7));
    for n in 1..=3 {
        ines_says(&mut room, n, n, &format!("t{n}"));
    }
    let lagged = |next| {
        original(original::Input::Lagged {
            node: node("p"),
            next: Seq(next),
        })
    };
    assert_eq!(on(&mut room, 4, lagged(2)), [broadcast_page("p", 0, 2, 3)]);
    // The later broadcast did not find room either.
    assert_eq!(on(&mut room, 4, lagged(3)), []);
    assert_eq!(ines_says(&mut room, 5, 4, "t4"), []);
    let failed = original(original::Input::PageFailed {
        node: node("p"),
        from: Seq(2),
    });
    assert_eq!(on(&mut room, 6, failed), [broadcast_page("p", 0, 2, 4)]);
    assert_eq!(
        on(&mut room, 7, passed("p", 1, 2)),
        [],
        "late news about an earlier page"
    );
    assert_eq!(on(&mut room, 8, passed("p", 2, 5)), []);
    assert_eq!(
        ines_says(&mut room, 9, 5, "t5"),
        [broadcast("p", 0, vec![frame(5, "ines", "t5", 9)])]
    );
}

#[test]
fn the_same_words_are_the_same_message_until_the_answer_was_given() {
    let mut room = AdminRoom::with_head(0).with_local(1, "ines");
    on(&mut room, 0, enters("p", "otto", 7));
    let token = |effects: Effects| match effects.as_slice() {
        [Effect::Append(append)] => (append.token, append.items[0].client_msg_id.clone().unwrap()),
        other => panic!("{other:?}"),
    };
    let (first, id) = token(on(&mut room, 10, says("p", "otto", "ahoy", 8, "id-1")));
    assert_eq!(id, ClientMsgId::parse("id-1").unwrap());
    // Its connection broke before an answer came: it calls again, while the first is not committed yet, and after.
    assert_eq!(on(&mut room, 20, says("p", "otto", "ahoy", 9, "id-2")), []);
    let committed = on(&mut room, 30, appended(first, AppendOutcome::Committed));
    assert_eq!(
        committed[2..],
        [
            sent(from("p", place(0, 1), 8), 1, "ahoy", 10),
            sent(from("p", place(0, 1), 9), 1, "ahoy", 10),
        ]
    );
    assert_eq!(
        on(&mut room, 40, says("p", "otto", "ahoy", 10, "id-3")),
        [sent_before(from("p", place(0, 1), 10), 1, "ahoy", 10)]
    );
    // Now it has the answer. Whoever says the same again means it.
    on(
        &mut room,
        50,
        original(original::Input::Told {
            node: node("p"),
            user: user("otto"),
            content: "ahoy".into(),
        }),
    );
    let (second, id) = token(on(&mut room, 60, says("p", "otto", "ahoy", 11, "id-4")));
    assert_eq!(id, ClientMsgId::parse("id-4").unwrap());
    on(&mut room, 61, appended(second, AppendOutcome::Committed));
    // Other words, another name and a much later call are no repeats.
    on(&mut room, 62, enters("p", "vera", 12));
    for (ms, name, text, id) in [
        (63, "otto", "ahoi", "id-5"),
        (64, "vera", "ahoy", "id-6"),
        (5_061, "otto", "ahoy", "id-7"),
    ] {
        let (next, given) = token(on(&mut room, ms, says("p", name, text, 13, id)));
        assert_eq!(given.as_str(), id);
        on(&mut room, ms, appended(next, AppendOutcome::Committed));
    }
}

#[test]
fn whoever_did_not_look_for_the_room_makes_the_same_call_again() {
    let mut room = AdminRoom::with_head(0).with_local(1, "ines");
    on(&mut room, 0, enters("p", "otto", 7));
    let told = || {
        original(original::Input::Told {
            node: node("p"),
            user: user("otto"),
            content: "ahoy".into(),
        })
    };
    for (n, ms) in [(1, 10), (2, 20)] {
        on(
            &mut room,
            ms,
            says_after(n, "p", "otto", "ahoy", 7 + n, &format!("id-{n}")),
        );
        on(&mut room, ms, appended(n, AppendOutcome::Committed));
        on(&mut room, ms, told());
    }
    // The answer arrived, as far as could be seen, but nothing was looked for since.
    assert_eq!(
        on(&mut room, 30, says_after(2, "p", "otto", "ahoy", 10, "id-3")),
        [sent_before(from("p", place(0, 1), 10), 2, "ahoy", 20)]
    );
}

#[test]
fn an_idle_member_behind_an_original_node_sees_that_it_is_out() {
    let mut room = AdminRoom::with_head(0).with_local(1, "ines");
    on(&mut room, 0, enters("p", "otto", 7));
    ines_says(&mut room, 500_000, 1, "still here");
    assert_eq!(
        timeout(&mut room, 900_000),
        [
            recall_messages("p"),
            broadcast_event(&["p"], event("otto", 1, 900_000, Some(Inactivity))),
            announce(event("otto", 1, 900_000, Some(Inactivity)), None, &[]),
        ]
    );
}

#[test]
fn a_node_that_speaks_as_we_do_is_none_of_the_original_any_more() {
    let mut room = AdminRoom::with_head(0).with_local(1, "ines");
    on(&mut room, 1, enters("p", "otto", 7));
    assert_eq!(
        on(&mut room, 2, join(from("p", 3, 1), "vera")),
        [
            recall_messages("p"),
            broadcast_event(&["p"], event("otto", 1, 2, Some(NodeUnreachable))),
            announce(event("otto", 1, 2, Some(NodeUnreachable)), None, &[]),
            announce(event("vera", 2, 2, None), None, &["p"]),
            answer(from("p", 3, 1), Answer::Joined(joined(&["ines", "vera"], 1, 0))),
        ]
    );
}

#[test]
fn a_room_that_has_run_too_far_ahead_of_a_node_takes_nobody_else_in_through_it() {
    let mut room = AdminRoom::with_head(0).with_local(1, "ines");
    on(&mut room, 0, enters("p", "otto", 7));
    for n in 1..=1_000 {
        ines_says(&mut room, n, n, &format!("t{n}"));
    }
    let first_of = |effects: Effects| match effects.last() {
        Some(Effect::Answer {
            answer: Answer::Joined(joined),
            ..
        }) => Some((joined.first, joined.head)),
        Some(Effect::Answer {
            answer: Answer::JoinRefused(Reject::Internal(_)),
            ..
        }) => None,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        first_of(on(&mut room, 2_000, enters("p", "vera", 8))),
        Some((Seq(1), Seq(1_000)))
    );
    ines_says(&mut room, 2_001, 1_001, "one more");
    assert_eq!(first_of(on(&mut room, 2_002, enters("p", "emil", 9))), None);
    assert_eq!(room.room.member_count(), 3);
    // Through another node, which nobody came through yet, it is open.
    assert_eq!(
        first_of(on(&mut room, 2_003, enters("q", "emil", 10))),
        Some((Seq(902), Seq(1_001)))
    );
}

#[test]
fn a_link_that_lost_something_is_no_business_of_an_original_node() {
    let mut room = AdminRoom::with_head(0).with_local(1, "ines");
    on(&mut room, 1, enters("p", "otto", 7));
    assert_eq!(on(&mut room, 2, Input::NodeReset(node("p"))), []);
    assert_eq!(on(&mut room, 3, Input::NodeBack(node("p"))), []);
}

#[test]
fn a_room_that_is_not_there_says_so_to_original_callers() {
    let (mut room, _) = AdminRoom::opening(RoomLimits::default());
    on(&mut room, 1, enters("p", "otto", 1));
    on(&mut room, 1, says("p", "otto", "hi", 2, "id-1"));
    on(&mut room, 1, goes("p", "otto", 3, Left));
    let refused = |request| answer(from("p", NOWHERE, request), Answer::JoinRefused(Reject::RoomNotFound));
    assert_eq!(
        on(&mut room, 2, Input::Claimed(Ok(None))),
        [
            refused(1),
            answer(from("p", NOWHERE, 2), Answer::SendRefused(Reject::RoomNotFound)),
            refused(3),
            Effect::Idle,
        ]
    );
}

#[test]
fn the_seat_of_an_original_node_is_never_taken_for_a_connection() {
    let mut room = AdminRoom::with_head(300).with_local(1, "ines");
    let all = room.all(1, enters("p", "otto", 7));
    let kept = all.iter().find_map(|effect| match effect {
        Effect::KeepSeat { seat, user, key: None } => Some((seat.clone(), user.clone())),
        _ => None,
    });
    let (seat, name) = kept.unwrap();
    assert_eq!((seat.session, name), (SessionId(place(200, 1)), user("otto")));
    assert!(is_original(seat.session) && !is_original(SessionId(u64::from(u32::MAX) << 20)));
}
