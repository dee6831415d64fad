//! Seats with a key: they outlive their connection, their node and the life of the admin node.

use crate::effect::{Answer, Effect, Effects, Joined, Origin};
use crate::room::roster::Seat;
use crate::room::{Input, RoomLimits};
use crate::stored::{ClaimedRoom, RoomState, StoredSeat};
use crate::testing::*;
use chat_protocol::ids::{Epoch, Generation, Seq, SessionId};
use chat_protocol::peer_item::{AnnouncedSeat, PeerBody};
use chat_protocol::server_frame::LeaveReason::Disconnected;
use chat_protocol::server_frame::ResyncReason;

const VERSION: u64 = 1 << 32;

fn join_as(origin: Origin, name: &str, seat_key: &str, from: Option<(u64, u64)>) -> Input {
    Input::Join {
        origin,
        user: user(name),
        terms: extended(seat_key, from),
    }
}

fn keep(seat: Seat, name: &str, seat_key: Option<&str>) -> Effect {
    Effect::KeepSeat {
        seat,
        user: user(name),
        key: seat_key.map(key),
    }
}

fn in_it(members: &[&str], head: u64, changes: u64, resumed: bool, first: u64) -> Answer {
    Answer::Joined(Joined {
        version: VERSION + changes,
        resumed,
        first: Seq(first),
        ..joined(members, 1, head)
    })
}

/// `otto` behind `k`, session 1 of node `a`, the admin node, with all of 5 messages; `ines` is at node `b`.
fn with_otto() -> AdminRoom {
    let mut room = AdminRoom::with_head(5).with_remote("b", 7, "ines");
    room.on(0, join_as(from("a", 1, 1), "otto", "k", Some((1, 5))));
    room
}

fn closed(node_id: &str, session: u64) -> Input {
    Input::Closed(seat(node_id, session))
}

fn otto_left(ms: u64) -> Effects {
    let mut event = event("otto", 1, ms, Some(Disconnected));
    event.version = VERSION + 3;
    vec![Effect::DropSeat(seat("a", 1)), announce(event, None, &["b"])]
}

fn timeout(room: &mut AdminRoom, ms: u64) -> Effects {
    let mut effects = Vec::new();
    room.room.handle_timeout(at(ms), &mut effects);
    effects
}

#[test]
fn a_new_session_is_announced_noted_and_sent_what_it_lacks() {
    let mut room = AdminRoom::with_head(5).with_remote("b", 7, "ines");
    let mut came = event("otto", 2, 1, None);
    came.version = VERSION + 2;
    assert_eq!(
        room.all(1, join_as(from("a", 1, 1), "otto", "k", Some((1, 3)))),
        [
            keep(seat("a", 1), "otto", Some("k")),
            announce(came, Some(1), &["b"]),
            answer(from("a", 1, 1), in_it(&["ines", "otto"], 5, 2, false, 4)),
            subscribe_from(1, 4),
            page(1, 4, 5),
        ]
    );
}

#[test]
fn a_closed_session_that_comes_back_on_another_node_in_time_was_never_gone() {
    let mut room = with_otto();
    assert_eq!(room.all(1_000, closed("a", 1)), [unsubscribe(1)]);
    assert_eq!(room.room.next_deadline(), Some(crate::time::Millis(11_000)));
    assert_eq!(
        room.all(10_999, join_as(from("c", 4, 9), "otto", "k", Some((1, 5)))),
        [
            Effect::DropSeat(seat("a", 1)),
            keep(seat("c", 4), "otto", Some("k")),
            answer(from("c", 4, 9), in_it(&["ines", "otto"], 5, 2, true, 0)),
        ]
    );
    assert_eq!(timeout(&mut room, 11_000), []);
}

#[test]
fn a_closed_session_that_does_not_come_back_leaves_after_ten_seconds() {
    let mut room = with_otto();
    room.all(1_000, closed("a", 1));
    assert_eq!(timeout(&mut room, 10_999), []);
    assert_eq!(timeout(&mut room, 11_000), otto_left(11_000));
    // Who comes later comes anew.
    let effects = room.on(11_001, join_as(from("c", 4, 9), "otto", "k", Some((1, 5))));
    assert_eq!(effects[0], announce(event("otto", 2, 11_001, None), None, &["b", "c"]));
}

#[test]
fn the_newer_of_two_connections_with_one_token_wins_and_the_older_is_closed() {
    let mut room = with_otto();
    assert_eq!(
        room.on(1, join_as(from("c", 4, 9), "otto", "k", Some((1, 5))))[..2],
        [unsubscribe(1), Effect::Replaced { session: SessionId(1) }]
    );
    // And the other way round: what sits elsewhere is told by its node.
    assert_eq!(
        room.on(2, join_as(from("a", 2, 1), "otto", "k", Some((1, 5))))[0],
        Effect::Tell {
            node: node("c"),
            item: PeerBody::Unseat { session: SessionId(4) }
        }
    );
    // The end of the older connection means nothing any more.
    assert_eq!(room.on(3, closed("c", 4)), []);
    assert_eq!(room.on(3, closed("a", 1)), []);
}

#[test]
fn a_key_of_another_user_opens_nothing() {
    let mut room = with_otto();
    let effects = room.on(1, join_as(from("c", 4, 9), "eve", "k", None));
    assert_eq!(
        effects[0],
        announce(event("eve", 3, 1, None), None, &["b", "c"]),
        "eve is a newcomer"
    );
    assert_eq!(
        room.on(2, say(from("a", 1, 2), "otto", "hi")).len(),
        1,
        "otto sits where he sat"
    );
}

#[test]
fn a_position_that_means_nothing_any_more_is_said_to() {
    for (from_position, reason) in [((9, 3), ResyncReason::Generation), ((1, 6), ResyncReason::Ahead)] {
        let mut room = AdminRoom::with_head(5);
        let effects = room.on(1, join_as(from("a", 1, 1), "otto", "k", Some(from_position)));
        assert_eq!(
            effects[2..],
            [
                subscribe_from(1, 1),
                Effect::Resync {
                    session: SessionId(1),
                    generation: Generation(1),
                    from: Seq(1),
                    reason
                },
                page(1, 1, 5)
            ]
        );
    }
}

/// The room of a node that restarted: `otto` and `ines` sat at `a` itself, `vera` at `b`.
fn restarted() -> AdminRoom {
    let (mut room, _) = AdminRoom::opening(RoomLimits::default());
    let stored = |seat, name: &str, seat_key: Option<&str>| StoredSeat {
        seat,
        user: user(name),
        key: seat_key.map(key),
    };
    room.all(
        0,
        Input::Claimed(Ok(Some(ClaimedRoom {
            profile: profile(),
            generation: Generation(1),
            epoch: Epoch(1),
            head: Seq(5),
            floor: Seq(1),
            seats: vec![
                stored(seat("a", 1), "otto", Some("k")),
                stored(seat("a", 2), "ines", None),
                stored(seat("b", 3), "vera", None),
            ],
            state: RoomState::Active,
        }))),
    );
    room
}

#[test]
fn after_a_restart_members_are_back_silently_and_who_does_not_come_leaves() {
    let mut room = restarted();
    assert_eq!(room.room.member_count(), 3);
    let seats = Input::Seats {
        node: node("b"),
        seats: vec![announced(3, "vera")],
    };
    let effects = room.on(1_000, seats);
    assert_eq!(effects.len(), 1, "vera was never gone: {effects:?}");
    let effects = room.on(2_000, join_as(from("a", 900, 1), "otto", "k", Some((1, 5))));
    assert!(
        matches!(&effects[0], Effect::Answer { answer: Answer::Joined(joined), .. } if joined.resumed),
        "otto was never gone: {effects:?}"
    );
    assert_eq!(
        room.timeout(10_000),
        [announce(event("ines", 2, 10_000, Some(Disconnected)), None, &["b"])],
        "ines had a classic session on the node that restarted"
    );
}

#[test]
fn who_comes_back_after_a_restart_on_a_classic_connection_is_announced() {
    // That the old connection closed may have been told to the others, and then forgotten with the former life.
    let mut room = restarted();
    let vera = || Input::Seats {
        node: node("b"),
        seats: vec![announced(3, "vera")],
    };
    room.on(1_000, vera());
    let joined_event = announce(event("ines", 3, 2_000, None), Some(900), &["b"]);
    assert_eq!(room.on(2_000, join(from("a", 900, 1), "ines"))[0], joined_event);
    assert_eq!(room.on(3_000, vera()).len(), 1, "vera never went");
    assert_eq!(room.on(4_000, join(from("a", 900, 2), "ines")).len(), 3, "only once");
    assert_eq!(
        room.timeout(10_000),
        [announce(event("otto", 2, 10_000, Some(Disconnected)), None, &["b"])],
        "nobody hears that the old seat of ines is gone"
    );
}

#[test]
fn a_classic_seat_that_its_node_does_not_announce_again_is_gone_at_once() {
    let mut room = restarted();
    let seats = Input::Seats {
        node: node("b"),
        seats: Vec::new(),
    };
    let effects = room.on(1_000, seats);
    assert_eq!(
        effects[0],
        announce(event("vera", 2, 1_000, Some(Disconnected)), None, &[])
    );
}

#[test]
fn a_dead_connection_that_is_announced_late_does_not_take_the_seat_back() {
    let mut room = restarted();
    room.on(1, join_as(from("c", 8, 1), "otto", "k", Some((1, 5))));
    let stale = AnnouncedSeat {
        key: Some(key("k")),
        ..announced(4, "otto")
    };
    let seats = Input::Seats {
        node: node("b"),
        seats: vec![announced(3, "vera"), stale],
    };
    let unseat = Effect::Tell {
        node: node("b"),
        item: PeerBody::Unseat { session: SessionId(4) },
    };
    assert_eq!(room.on(2, seats)[0], unseat);
    assert_eq!(
        room.on(3, say(from("c", 8, 2), "otto", "hi")).len(),
        1,
        "otto sits at c"
    );
}
