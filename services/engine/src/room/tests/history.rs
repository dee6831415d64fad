//! What a room gives up, and who is told.

use crate::effect::Effect;
use crate::room::history::HistoryLimits;
use crate::room::{Input, RoomLimits};
use crate::stored::{AppendOutcome, ClaimedRoom, RoomState, Trim, TrimOutcome};
use crate::testing::*;
use chat_protocol::ids::{Epoch, Generation, Seq, SessionId};
use chat_protocol::server_frame::ResyncReason;
use chat_protocol::timestamp::Timestamp;

/// A room with `head` messages that keeps 10, and in it the classic session 1.
fn short(head: u64) -> AdminRoom {
    let history = HistoryLimits {
        messages: 10,
        recognised: 50,
        recognised_for: 1_000,
    };
    let limits = RoomLimits {
        history,
        ..RoomLimits::default()
    };
    let (mut room, _) = AdminRoom::opening(limits);
    room.on(0, claimed(1, head));
    room.with_local(1, "ines")
}

fn trim(below: u64, since_ms: i64) -> Effect {
    Effect::Trim(Trim {
        epoch: Epoch(1),
        below: Seq(below),
        recognised: 50,
        recognised_since: Timestamp(since_ms * 1_000),
    })
}

fn trimmed(floor: u64, more: bool) -> Input {
    let floor = Seq(floor);
    Input::Trimmed(Ok(TrimOutcome::Trimmed { floor, more }))
}

/// Session 1 says something at `ms`, and it is committed; the trims that follow.
fn committed(room: &mut AdminRoom, token: u64, ms: u64) -> Vec<Effect> {
    room.on(ms, say(from("a", 1, token), "ines", &format!("t{token}")));
    let mut effects = room.on(ms, appended(token, AppendOutcome::Committed));
    effects.retain(|effect| matches!(effect, Effect::Trim(_)));
    effects
}

fn resync(session: u64, from: u64) -> Effect {
    Effect::Resync {
        session: SessionId(session),
        generation: Generation(1),
        from: Seq(from),
        reason: ResyncReason::Trimmed,
    }
}

#[test]
fn a_room_gives_up_its_oldest_messages_when_a_tenth_too_many_are_there() {
    let mut room = short(10);
    assert_eq!(committed(&mut room, 1, 5_000), [], "11 of 10");
    assert_eq!(committed(&mut room, 2, 5_000), [trim(3, 4_000)], "12 of 10");
    assert_eq!(committed(&mut room, 3, 5_000), [], "one trim is under way");
    assert_eq!(room.on(5_001, trimmed(3, false)), []);
    assert_eq!(committed(&mut room, 4, 5_000), [trim(5, 4_000)], "12 again");
}

#[test]
fn a_store_that_has_more_to_remove_is_asked_again() {
    let mut room = short(100);
    assert_eq!(committed(&mut room, 1, 5_000), [trim(92, 4_000)]);
    assert_eq!(room.on(6_000, trimmed(92, true)), [trim(92, 5_000)]);
    assert_eq!(room.on(6_000, trimmed(92, false)), []);
}

#[test]
fn a_trim_that_failed_is_tried_again_behind_a_later_message() {
    let mut room = short(100);
    for (token, failure) in [
        (1, Err("disk".to_owned())),
        (2, Ok(TrimOutcome::NoRoom)),
        (3, Ok(TrimOutcome::Fenced(Epoch(2)))),
    ] {
        assert_eq!(committed(&mut room, token, 5_000), [trim(91 + token, 4_000)]);
        assert_eq!(room.on(5_000, Input::Trimmed(failure)), []);
    }
}

#[test]
fn a_room_without_a_limit_keeps_everything() {
    let mut room = AdminRoom::with_head(1_000_000).with_local(1, "ines");
    assert_eq!(committed(&mut room, 1, 5_000), []);
}

#[test]
fn whoever_joins_behind_the_first_kept_message_is_told_so_and_begins_there() {
    let claimed = |floor, head| {
        Input::Claimed(Ok(Some(ClaimedRoom {
            profile: profile(),
            generation: Generation(1),
            epoch: Epoch(1),
            head: Seq(head),
            floor: Seq(floor),
            seats: Vec::new(),
            state: RoomState::Active,
        })))
    };
    let (mut room, _) = AdminRoom::opening(RoomLimits::default());
    room.on(0, claimed(95, 100));
    let mut join = |session, from_seq| {
        let terms = extended(&format!("key{session}"), Some((1, from_seq)));
        let input = Input::Join {
            origin: from("a", session, 1),
            user: user(&format!("user{session}")),
            terms,
        };
        let mut effects = room.on(1, input);
        effects.retain(|e| {
            matches!(
                e,
                Effect::Resync { .. } | Effect::SendPage { .. } | Effect::Subscribe { .. }
            )
        });
        effects
    };
    assert_eq!(
        join(1, 94),
        [subscribe_from(1, 95), page(1, 95, 100)],
        "nothing is missing"
    );
    assert_eq!(
        join(2, 93),
        [subscribe_from(2, 95), resync(2, 95), page(2, 95, 100)],
        "number 94 is"
    );
}

#[test]
fn a_cursor_whose_page_was_trimmed_away_goes_on_behind_the_hole() {
    let mut room = AdminRoom::with_head(100);
    room.on(
        0,
        Input::Join {
            origin: from("a", 1, 1),
            user: user("ines"),
            terms: extended("key", Some((1, 10))),
        },
    );
    room.on(0, join(from("a", 2, 1), "otto"));
    let gone = |session, from, floor| Input::PageTrimmed {
        session: SessionId(session),
        from: Seq(from),
        floor: Seq(floor),
    };
    assert_eq!(room.on(1, gone(1, 9, 60)), [], "of an earlier cursor");
    assert_eq!(room.on(1, gone(1, 11, 60)), [resync(1, 60), page(1, 60, 100)]);
    let session = SessionId(2);
    assert_eq!(
        room.on(1, gone(2, 1, 60)),
        [Effect::Overtaken { session }],
        "a classic session cannot be told"
    );
    assert_eq!(
        room.on(2, Input::Closed(seat("a", 2))),
        [
            unsubscribe(2),
            announce(
                event(
                    "otto",
                    1,
                    2,
                    Some(chat_protocol::server_frame::LeaveReason::Disconnected)
                ),
                None,
                &[]
            )
        ]
    );
}
