//! What becomes of seats behind original nodes when one of the nodes fails or lives again.

use super::*;

#[test]
fn a_node_that_fails_loses_its_seats_at_once_and_is_told_so() {
    let mut room = AdminRoom::with_head(0)
        .with_local(1, "ines")
        .with_remote("b", 1, "vera");
    on(&mut room, 1, enters("p", "otto", 7));
    on(&mut room, 1, enters("p", "emil", 8));
    on(&mut room, 1, enters("q", "emil", 9));
    assert_eq!(
        on(&mut room, 2, Input::NodeLost(node("p"))),
        [
            recall_messages("p"),
            broadcast_event(&["p", "q"], event("otto", 3, 2, Some(NodeUnreachable))),
            announce(event("otto", 3, 2, Some(NodeUnreachable)), None, &["b"]),
        ],
        "emil is still in the room behind q"
    );
    assert_eq!(
        on(&mut room, 3, says("p", "otto", "hi", 10, "id-1")),
        [answer(from("p", NOWHERE, 10), Answer::SendRefused(Reject::NotMember))]
    );
}

#[test]
fn seats_behind_original_nodes_survive_a_restart_with_their_numbers() {
    let (mut room, _) = AdminRoom::opening(RoomLimits::default());
    on(&mut room, 0, enters("p", "emil", 7));
    let stored = |n, name: &str| StoredSeat {
        seat: Seat {
            node: node("p"),
            session: SessionId(place(400, n)),
        },
        user: user(name),
        key: None,
    };
    let claimed = Input::Claimed(Ok(Some(ClaimedRoom {
        profile: profile(),
        generation: Generation(1),
        epoch: Epoch(1),
        head: Seq(450),
        floor: Seq(1),
        seats: vec![stored(4, "otto"), stored(9, "vera")],
        state: RoomState::Active,
    })));
    assert_eq!(
        on(&mut room, 1, claimed),
        [
            // What the earlier life may not have handed over.
            broadcast_page("p", 400, 401, 450),
            broadcast_event(&["p"], event("emil", 3, 1, None)),
            announce(event("emil", 3, 1, None), None, &[]),
            recall_departure("p", "emil"),
            in_it(from("p", place(400, 10), 7), &["emil", "otto", "vera"], 450, false, 401),
        ]
    );
    assert_eq!(room.room.original_nodes(), [node("p")]);
    // It spoke, so it is there: its seats stand.
    assert_eq!(timeout(&mut room, 20_000), []);
    assert_eq!(room.room.member_count(), 3);
}

#[test]
fn seats_behind_an_original_node_that_does_not_answer_after_a_restart_are_gone() {
    let (mut room, _) = AdminRoom::opening(RoomLimits::default());
    let claimed = Input::Claimed(Ok(Some(ClaimedRoom {
        profile: profile(),
        generation: Generation(1),
        epoch: Epoch(1),
        head: Seq(0),
        floor: Seq(1),
        seats: vec![StoredSeat {
            seat: Seat {
                node: node("p"),
                session: SessionId(place(0, 1)),
            },
            user: user("otto"),
            key: None,
        }],
        state: RoomState::Active,
    })));
    assert_eq!(on(&mut room, 1, claimed), []);
    assert_eq!(timeout(&mut room, 10_000), []);
    assert_eq!(
        timeout(&mut room, 10_001),
        [
            recall_messages("p"),
            broadcast_event(&["p"], event("otto", 0, 10_001, Some(NodeUnreachable))),
            announce(event("otto", 0, 10_001, Some(NodeUnreachable)), None, &[]),
            Effect::Idle,
        ]
    );
}
