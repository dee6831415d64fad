//! A room at a member node: state, input, and the exact list of effects.

mod deletion;
mod numbers;

use super::*;
use crate::testing::*;
use chat_protocol::ids::MessageId;
use chat_protocol::peer_item::AnnouncedSeat;
use chat_protocol::server_frame::ResyncReason;

struct MemberRoom(Follower);

impl MemberRoom {
    fn new() -> Self {
        Self(Follower::new(room_id(), node("a"), RoomLimits::default()))
    }

    /// `name` at session `session` is in the room, which has `head` messages; history was taken.
    fn with(session: u64, name: &str, head: u64) -> Self {
        let mut this = Self::new();
        this.on(
            0,
            Input::Join {
                origin: from("b", session, 1),
                user: user(name),
                terms: Terms::Classic,
            },
        );
        this.on(
            0,
            Input::Answered {
                request: 1,
                answer: Answer::Joined(joined(&[name], 1, head)),
            },
        );
        this.on(
            0,
            Input::PageSent {
                session: SessionId(session),
                from: Seq(1),
                next: Seq(head + 1),
            },
        );
        this
    }

    /// What classic sessions see; see [`classic_view`].
    fn on(&mut self, ms: u64, input: Input) -> Effects {
        classic_view(self.all(ms, input))
    }

    fn all(&mut self, ms: u64, input: Input) -> Effects {
        let mut effects = Vec::new();
        self.0.handle(at(ms), input, &mut effects);
        effects
    }

    fn timeout(&mut self, ms: u64) -> Effects {
        let mut effects = Vec::new();
        self.0.handle_timeout(at(ms), &mut effects);
        classic_view(effects)
    }
}

fn tell(item: PeerBody) -> Effect {
    Effect::Tell { node: node("a"), item }
}

fn say(request: u64, text: &str) -> Input {
    Input::Send {
        origin: from("b", 1, request),
        user: user("otto"),
        content: text.into(),
        client_msg_id: ClientMsgId::parse(text).unwrap(),
    }
}

fn forward(request: u64, text: &str) -> Effect {
    tell(PeerBody::Forward {
        request,
        session: SessionId(1),
        user: user("otto"),
        content: text.into(),
        client_msg_id: ClientMsgId::parse(text).unwrap(),
    })
}

fn delivered(epoch: u64, frames: Vec<MessageFrame>) -> Input {
    Input::Delivered {
        generation: Generation(1),
        epoch: Epoch(epoch),
        frames,
    }
}

fn numbers(range: std::ops::RangeInclusive<u64>) -> Vec<MessageFrame> {
    range.map(|seq| frame(seq, "ines", &format!("t{seq}"), seq)).collect()
}

fn untrimmed(frames: Vec<MessageFrame>) -> Range {
    Range { frames, floor: None }
}

fn read_from(seq: u64) -> Effect {
    Effect::ReadRange {
        node: node("a"),
        from: Seq(seq),
    }
}

fn refused(request: u64) -> Effect {
    answer(from("b", 1, request), Answer::SendRefused(Reject::AdminUnavailable))
}

fn unknown(request: u64) -> Effect {
    answer(from("b", 1, request), Answer::SendUnknown)
}

#[test]
fn a_join_is_asked_of_the_admin_and_followed_by_history() {
    let mut room = MemberRoom::new();
    assert_eq!(
        room.on(
            0,
            Input::Join {
                origin: from("b", 1, 5),
                user: user("otto"),
                terms: Terms::Classic
            }
        ),
        [tell(PeerBody::Join {
            request: 1,
            session: SessionId(1),
            user: user("otto"),
            key: None
        })]
    );
    let there = joined(&["ines", "otto"], 1, 3);
    assert_eq!(
        room.on(
            1,
            Input::Answered {
                request: 1,
                answer: Answer::Joined(there.clone())
            }
        ),
        [
            answer(from("b", 1, 5), Answer::Joined(there)),
            subscribe(1, 0),
            page(1, 1, 3)
        ]
    );
    assert_eq!(
        room.on(2, delivered(1, numbers(4..=4))),
        [Effect::Deliver(numbers(4..=4))]
    );
    let taken = |from, next| Input::PageSent {
        session: SessionId(1),
        from: Seq(from),
        next: Seq(next),
    };
    assert_eq!(room.on(3, taken(1, 4)), [page(1, 4, 4)]);
    assert_eq!(room.on(4, taken(4, 5)), [go_live(1)]);
}

#[test]
fn a_refused_join_leaves_nothing_behind() {
    let mut room = MemberRoom::new();
    room.on(
        0,
        Input::Join {
            origin: from("b", 1, 5),
            user: user("otto"),
            terms: Terms::Classic,
        },
    );
    assert_eq!(
        room.on(
            1,
            Input::Answered {
                request: 1,
                answer: Answer::JoinRefused(Reject::RoomNotFound)
            }
        ),
        [
            answer(from("b", 1, 5), Answer::JoinRefused(Reject::RoomNotFound)),
            Effect::Idle
        ]
    );
}

#[test]
fn a_message_goes_to_the_admin_and_its_result_to_the_sender() {
    let mut room = MemberRoom::with(1, "otto", 0);
    assert_eq!(room.on(1, say(9, "hi")), [forward(2, "hi")]);
    room.on(2, delivered(1, vec![frame(1, "otto", "hi", 2)]));
    let sent_answer = Answer::Sent {
        message_id: MessageId::parse("m-hi").unwrap(),
        seq: Seq(1),
        timestamp: at(2).wall,
        duplicate: false,
    };
    assert_eq!(
        room.on(
            3,
            Input::Answered {
                request: 2,
                answer: sent_answer.clone()
            }
        ),
        [sent(from("b", 1, 9), 1, "hi", 2)]
    );
    // A result that comes twice is no second answer.
    assert_eq!(
        room.on(
            4,
            Input::Answered {
                request: 2,
                answer: sent_answer
            }
        ),
        []
    );
}

#[test]
fn when_the_admin_is_another_life_forwards_are_unknown_and_seats_are_announced_again() {
    let mut room = MemberRoom::with(1, "otto", 3);
    room.on(1, say(9, "hi"));
    assert_eq!(
        room.on(2, Input::AdminReset),
        [unknown(9), tell(PeerBody::Seats(vec![announced(1, "otto")]))]
    );
    // The message was committed after all, by the former life: it is shown, and the sender is not told twice.
    assert_eq!(
        room.on(
            3,
            Input::Answered {
                request: 0,
                answer: Answer::Joined(joined(&["otto"], 2, 4))
            }
        ),
        [read_from(4)]
    );
    assert_eq!(room.on(4, say(10, "ho")), [forward(3, "ho")]);
}

#[test]
fn a_join_under_way_when_the_admin_becomes_another_life_is_asked_for_again_and_answered_once() {
    let mut room = MemberRoom::with(1, "otto", 3);
    let asked = PeerBody::Join {
        request: 2,
        session: SessionId(2),
        user: user("vera"),
        key: None,
    };
    let wants_in = |session, name| Input::Join {
        origin: from("b", session, 1),
        user: user(name),
        terms: Terms::Classic,
    };
    assert_eq!(room.on(1, wants_in(2, "vera")), [tell(asked.clone())]);
    room.on(1, wants_in(3, "gone"));
    room.on(
        1,
        Input::Leave {
            origin: from("b", 3, 2),
            user: user("gone"),
        },
    );
    // Whoever left meanwhile does not come in by it.
    let refused = answer(from("b", 3, 1), Answer::JoinRefused(Reject::AdminUnavailable));
    assert_eq!(
        room.on(2, Input::AdminReset),
        [refused, tell(PeerBody::Seats(vec![announced(1, "otto")])), tell(asked)]
    );
    let there = joined(&["otto", "vera"], 2, 3);
    let answered = || Input::Answered {
        request: 2,
        answer: Answer::Joined(there.clone()),
    };
    assert_eq!(
        room.on(3, answered()),
        [
            answer(from("b", 2, 1), Answer::Joined(there.clone())),
            subscribe(2, 0),
            page(2, 1, 3)
        ]
    );
    assert_eq!(room.on(4, answered()), []);
}

#[test]
fn a_forward_without_an_answer_is_reported_after_ten_seconds() {
    let mut room = MemberRoom::with(1, "otto", 0);
    room.on(1_000, say(9, "hi"));
    assert_eq!(room.0.next_deadline(), Some(Millis(11_000)));
    assert_eq!(room.timeout(10_999), []);
    assert_eq!(room.timeout(11_000), [unknown(9)]);
}

#[test]
fn while_the_admin_is_down_sends_and_joins_are_refused_and_members_stay() {
    let mut room = MemberRoom::with(1, "otto", 0);
    room.on(1, say(9, "hi"));
    assert_eq!(room.on(2, Input::AdminFailed), [unknown(9)]);
    assert_eq!(room.on(3, say(10, "ho")), [refused(10)]);
    assert_eq!(
        room.on(
            4,
            Input::Join {
                origin: from("b", 2, 1),
                user: user("vera"),
                terms: Terms::Classic
            }
        ),
        [answer(from("b", 2, 1), Answer::JoinRefused(Reject::AdminUnavailable))]
    );
    assert_eq!(room.timeout(60_001), []);
    assert_eq!(room.on(60_001, Input::AdminBack), []);
    assert_eq!(room.0.next_deadline(), None);
    assert_eq!(room.on(60_002, say(11, "hu")), [forward(3, "hu")]);
}

#[test]
fn after_a_minute_without_the_admin_members_are_told_that_they_are_out() {
    let mut room = MemberRoom::with(1, "otto", 0);
    room.on(2, Input::AdminFailed);
    assert_eq!(
        room.timeout(60_002),
        [
            announce(event("otto", 0, 60_002, Some(LeaveReason::NodeUnreachable)), None, &[]),
            unsubscribe(1),
            Effect::Idle,
        ]
    );
}

#[test]
fn a_member_that_was_removed_sees_it_and_hears_nothing_more() {
    let mut room = MemberRoom::with(1, "otto", 0);
    let gone = event("otto", 1, 5, Some(LeaveReason::Inactivity));
    assert_eq!(
        room.on(5, Input::Member(gone.clone())),
        [announce(gone, None, &[]), unsubscribe(1), Effect::Idle]
    );
    assert_eq!(
        room.on(6, say(9, "hi")),
        [
            answer(from("b", 1, 9), Answer::SendRefused(Reject::NotMember)),
            Effect::Idle
        ]
    );
}

#[test]
fn a_connection_that_closes_during_its_join_is_taken_back() {
    let mut room = MemberRoom::new();
    room.on(
        0,
        Input::Join {
            origin: from("b", 1, 5),
            user: user("otto"),
            terms: Terms::Classic,
        },
    );
    assert_eq!(
        room.on(1, Input::Closed(SessionId(1))),
        [
            tell(PeerBody::Leave {
                session: SessionId(1),
                user: user("otto"),
                closed: true
            }),
            Effect::Idle
        ]
    );
    assert_eq!(
        room.on(
            2,
            Input::Answered {
                request: 1,
                answer: Answer::Joined(joined(&["otto"], 1, 0))
            }
        ),
        [Effect::Idle]
    );
}

/// An extended connection `session` of `name` at the end of a room with `head` messages.
fn with_extended(session: u64, name: &str, head: u64) -> MemberRoom {
    let mut room = MemberRoom::new();
    room.on(
        0,
        Input::Join {
            origin: from("b", session, 1),
            user: user(name),
            terms: extended("key", Some((1, head))),
        },
    );
    room.on(
        0,
        Input::Answered {
            request: 1,
            answer: Answer::Joined(joined(&[name], 1, head)),
        },
    );
    room
}

#[test]
fn an_extended_connection_is_told_of_trouble_and_stays_for_as_long_as_it_lasts() {
    let mut room = with_extended(1, "otto", 3);
    let trouble = |degraded| [Effect::Trouble { degraded }];
    assert_eq!(room.all(2, Input::AdminFailed), trouble(true));
    assert_eq!(room.all(3, Input::AdminFailed), [], "once");
    assert_eq!(
        room.timeout(60_002),
        [],
        "only classic connections are out after a minute"
    );
    assert_eq!(room.all(70_000, Input::AdminBack), trouble(false));
    assert_eq!(room.all(70_001, Input::AdminBack), []);
}

#[test]
fn a_seat_is_announced_with_its_key_and_given_up_when_it_went_elsewhere() {
    let mut room = with_extended(1, "otto", 3);
    let seat = AnnouncedSeat {
        key: Some(key("key")),
        ..announced(1, "otto")
    };
    assert_eq!(room.all(2, Input::AdminReset), [tell(PeerBody::Seats(vec![seat]))]);
    assert_eq!(
        room.all(3, Input::Unseated(SessionId(1))),
        [unsubscribe(1), Effect::Replaced { session: SessionId(1) }, Effect::Idle]
    );
    assert_eq!(
        room.all(4, Input::Unseated(SessionId(1))),
        [Effect::Idle],
        "it is gone already"
    );
}

#[test]
fn a_connection_that_is_ahead_of_this_node_gets_nothing_twice() {
    // Another connection of this node stands at 3; the newcomer got 5 elsewhere.
    let mut room = MemberRoom::with(1, "otto", 3);
    room.on(
        1,
        Input::Join {
            origin: from("b", 2, 5),
            user: user("vera"),
            terms: extended("key", Some((1, 5))),
        },
    );
    let there = joined(&["otto", "vera"], 1, 6);
    let effects = room.all(
        2,
        Input::Answered {
            request: 2,
            answer: Answer::Joined(there.clone()),
        },
    );
    let first = Joined { first: Seq(6), ..there };
    assert_eq!(
        effects,
        [
            read_from(4),
            answer(from("b", 2, 5), Answer::Joined(first)),
            subscribe_from(2, 6),
            go_live(2)
        ],
        "live, but from 6 on only"
    );
}

#[test]
fn what_follows_a_join_is_sent_behind_it_and_a_leave_undoes_it() {
    let mut room = MemberRoom::new();
    let join = Input::Join {
        origin: from("b", 1, 5),
        user: user("otto"),
        terms: extended("key", None),
    };
    room.on(0, join);
    assert_eq!(room.on(1, say(6, "hi")), [forward(2, "hi")]);
    let leave = Input::Leave {
        origin: from("b", 1, 7),
        user: user("otto"),
    };
    let left = PeerBody::Leave {
        session: SessionId(1),
        user: user("otto"),
        closed: false,
    };
    assert_eq!(room.on(2, leave), [tell(left), answer(from("b", 1, 7), Answer::Left)]);
    assert_eq!(
        room.on(3, say(8, "ho")),
        [answer(from("b", 1, 8), Answer::SendRefused(Reject::NotMember))],
        "it has left"
    );
    let effects = room.on(
        4,
        Input::Answered {
            request: 1,
            answer: Answer::Joined(joined(&["otto"], 1, 0)),
        },
    );
    assert_eq!(effects[1..], [subscribe_from(1, 1), go_live(1), unsubscribe(1)]);
}
