//! A room of an original node `o`, as node `b` sees it: state, input, and the exact list of effects.

mod deletion;
mod history;
mod waiting;

use super::*;
use crate::testing::*;
use chat_protocol::server_frame::LeaveReason::{Disconnected, Inactivity, Left, NodeUnreachable};
use chat_protocol::server_frame::ResyncReason;

struct GuestRoom(Guest);

impl GuestRoom {
    fn new() -> Self {
        Self(Guest::new(at(0), room_id(), node("o"), RoomLimits::default()))
    }

    /// `otto` is in the room at session 1; the room has the messages `first` to `last`, and he has them.
    fn with_otto(first: u64, last: u64) -> Self {
        let mut this = Self::new();
        this.on(0, enter(1, 1, "otto"));
        this.on(0, answered(1, in_it(&["otto"], numbers(first..=last))));
        this.on(0, page_sent(1, first, last + 1));
        this
    }

    /// Effects without versions, which only extended sessions are told.
    fn on(&mut self, ms: u64, input: Input) -> Effects {
        let mut effects = Vec::new();
        self.0.handle(at(ms), input, &mut effects);
        unversioned(effects)
    }

    fn timeout(&mut self, ms: u64) -> Effects {
        let mut effects = Vec::new();
        self.0.handle_timeout(at(ms), &mut effects);
        unversioned(effects)
    }
}

fn unversioned(mut effects: Effects) -> Effects {
    for effect in &mut effects {
        match effect {
            Effect::Announce { event, .. } => event.version = 0,
            Effect::Answer {
                answer: Answer::Joined(joined),
                ..
            } => joined.version = 0,
            _ => {}
        }
    }
    effects
}

fn ask(ask: Ask) -> Effect {
    Effect::Ask { node: node("o"), ask }
}

fn ask_join(request: u64, name: &str) -> Effect {
    let user = user(name);
    ask(Ask::Join { request, user })
}

fn ask_leave(name: &str) -> Effect {
    ask(Ask::Leave { user: user(name) })
}

fn ask_goodbye(name: &str) -> Effect {
    ask(Ask::Disconnect { user: user(name) })
}

fn ask_forward(request: u64, name: &str, text: &str) -> Effect {
    ask(Ask::Forward {
        request,
        user: user(name),
        content: text.into(),
    })
}

fn inquire(question: u64, name: &str) -> Effect {
    Effect::Inquire {
        question,
        user: user(name),
    }
}

fn inquired(question: u64, nodes: usize) -> Input {
    Input::Inquired { question, nodes }
}

fn enter(session: u64, request: u64, name: &str) -> Input {
    enter_on(session, request, name, Terms::Classic)
}

fn enter_on(session: u64, request: u64, name: &str, terms: Terms) -> Input {
    Input::Asked(follower::Input::Join {
        origin: from("b", session, request),
        user: user(name),
        terms,
    })
}

fn exit(session: u64, request: u64, name: &str) -> Input {
    Input::Asked(follower::Input::Leave {
        origin: from("b", session, request),
        user: user(name),
    })
}

fn closed(session: u64) -> Input {
    Input::Asked(follower::Input::Closed(SessionId(session)))
}

fn say_at(session: u64, request: u64, name: &str, text: &str, id: &str) -> Input {
    Input::Asked(follower::Input::Send {
        origin: from("b", session, request),
        user: user(name),
        content: text.into(),
        client_msg_id: ClientMsgId::parse(id).unwrap(),
    })
}

fn page_sent(session: u64, first: u64, next: u64) -> Input {
    Input::Asked(follower::Input::PageSent {
        session: SessionId(session),
        from: Seq(first),
        next: Seq(next),
    })
}

fn answered(request: u64, reply: Reply) -> Input {
    Input::Answered { request, reply }
}

fn in_it(members: &[&str], messages: Vec<Message>) -> Reply {
    let info = joined(members, 0, 0).info;
    Reply::Joined {
        again: false,
        info,
        messages,
    }
}

fn still_in_it(members: &[&str], messages: Vec<Message>) -> Reply {
    let info = joined(members, 0, 0).info;
    Reply::Joined {
        again: true,
        info,
        messages,
    }
}

fn placed(seq: u64, text: &str, ms: u64) -> Reply {
    Reply::Sent {
        message_id: message_id(text),
        seq: Seq(seq),
        timestamp: at(ms).wall,
    }
}

fn numbers(range: std::ops::RangeInclusive<u64>) -> Vec<Message> {
    range.map(number).collect()
}

fn number(seq: u64) -> Message {
    message(seq, "ines", &format!("t{seq}"), seq)
}

fn said(seq: u64) -> Input {
    Input::Said(number(seq))
}

fn delivers(range: std::ops::RangeInclusive<u64>) -> Effect {
    Effect::Deliver(range.map(|seq| MessageFrame::encode(&number(seq))).collect())
}

fn came(name: &str, count: u32) -> Input {
    Input::Member(event(name, count, 0, None))
}

fn left(name: &str, count: u32, reason: LeaveReason) -> Input {
    Input::Member(event(name, count, 0, Some(reason)))
}

/// The answer to a join: messages from `first` to `head` follow.
fn welcome(to: Origin, members: &[&str], floor: u64, head: u64, first: u64, resumed: bool) -> Effect {
    answer(
        to,
        Answer::Joined(Joined {
            epoch: Epoch(0),
            floor: Seq(floor),
            first: Seq(first),
            resumed,
            ..joined(members, 0, head)
        }),
    )
}

fn skip(session: u64, shift: u64, first: u64) -> Effect {
    Effect::Subscribe {
        session: SessionId(session),
        shift,
        first: Seq(first),
    }
}

fn refused(request: u64, reject: Reject) -> Effect {
    answer(from("b", 1, request), Answer::SendRefused(reject))
}

#[test]
fn a_join_is_asked_and_what_comes_before_its_answer_is_held() {
    let mut room = GuestRoom::new();
    assert_eq!(room.on(0, enter(1, 5, "otto")), [ask_join(1, "otto")]);
    assert_eq!(room.on(1, said(4)), []);
    assert_eq!(room.on(2, said(3)), []);
    assert_eq!(
        room.on(3, answered(1, in_it(&["ines", "otto"], numbers(1..=3)))),
        [
            welcome(from("b", 1, 5), &["ines", "otto"], 1, 4, 1, false),
            subscribe(1, 0),
            page(1, 1, 4),
        ]
    );
    assert_eq!(room.on(4, page_sent(1, 1, 5)), [go_live(1)]);
    assert_eq!(room.on(5, said(5)), [delivers(5..=5)]);
    assert_eq!(room.on(6, said(5)), [], "said twice");
}

#[test]
fn a_room_that_has_forgotten_its_beginning_is_shown_from_number_one() {
    let mut room = GuestRoom::new();
    room.on(0, enter(1, 5, "otto"));
    assert_eq!(
        room.on(1, answered(1, in_it(&["otto"], numbers(401..=500)))),
        [
            welcome(from("b", 1, 5), &["otto"], 401, 500, 401, false),
            skip(1, 400, 401),
            page(1, 401, 500),
        ]
    );
}

#[test]
fn a_refused_or_broken_join_leaves_nothing_behind() {
    for (reply, reject) in [
        (Reply::Refused(Reject::RoomNotFound), Reject::RoomNotFound),
        (Reply::Undone, Reject::AdminUnavailable),
    ] {
        let mut room = GuestRoom::new();
        room.on(0, enter(1, 5, "otto"));
        assert_eq!(
            room.on(1, answered(1, reply)),
            [answer(from("b", 1, 5), Answer::JoinRefused(reject)), Effect::Idle]
        );
    }
    // Nobody knows whether it was let in: it is not to stay there as a ghost.
    let mut room = GuestRoom::new();
    room.on(0, enter(1, 5, "otto"));
    assert_eq!(
        room.on(1, answered(1, Reply::Unknown)),
        [
            answer(from("b", 1, 5), Answer::JoinRefused(Reject::AdminUnavailable)),
            ask_goodbye("otto"),
            Effect::Idle
        ]
    );
}

#[test]
fn a_name_is_in_the_room_once_however_many_connections_it_has() {
    let mut room = GuestRoom::with_otto(1, 2);
    assert_eq!(room.on(1, enter(2, 2, "otto")), [ask_join(2, "otto")]);
    assert_eq!(
        room.on(2, answered(2, still_in_it(&["otto"], numbers(1..=2)))),
        [
            welcome(from("b", 2, 2), &["otto"], 1, 2, 1, false),
            subscribe(2, 0),
            page(2, 1, 2),
        ]
    );
    assert_eq!(room.on(3, closed(1)), [unsubscribe(1)]);
    assert_eq!(
        room.on(4, exit(2, 3, "otto")),
        [
            unsubscribe(2),
            ask_leave("otto"),
            answer(from("b", 2, 3), Answer::Left),
            Effect::Idle
        ]
    );
}

#[test]
fn a_connection_that_closes_is_said_to_be_gone() {
    let mut room = GuestRoom::with_otto(1, 2);
    assert_eq!(
        room.on(3, closed(1)),
        [unsubscribe(1), ask_goodbye("otto"), Effect::Idle]
    );
    // Also if it never got its answer.
    let mut room = GuestRoom::new();
    room.on(0, enter(1, 5, "otto"));
    assert_eq!(room.on(1, closed(1)), [ask_goodbye("otto"), Effect::Idle]);
    assert_eq!(
        room.on(2, answered(1, in_it(&["otto"], numbers(1..=2)))),
        [Effect::Idle]
    );
}

#[test]
fn whoever_leaves_before_its_answer_is_out_after_it() {
    let mut room = GuestRoom::new();
    room.on(0, enter(1, 5, "otto"));
    assert_eq!(
        room.on(1, exit(1, 6, "otto")),
        [ask_leave("otto"), answer(from("b", 1, 6), Answer::Left)]
    );
    assert_eq!(
        room.on(2, answered(1, in_it(&["otto"], Vec::new()))),
        [
            welcome(from("b", 1, 5), &["otto"], 1, 0, 1, false),
            subscribe(1, 0),
            go_live(1),
            unsubscribe(1),
            Effect::Idle,
        ]
    );
}

#[test]
fn leaving_under_another_name_has_no_effect() {
    let mut room = GuestRoom::with_otto(1, 1);
    assert_eq!(room.on(1, exit(1, 2, "ines")), [answer(from("b", 1, 2), Answer::Left)]);
    assert_eq!(
        room.on(1, enter(1, 3, "ines")),
        [answer(from("b", 1, 3), Answer::JoinRefused(Reject::OtherUser))]
    );
}

#[test]
fn a_message_is_confirmed_after_it_was_shown_whichever_word_comes_first() {
    let own = |seq, ms| message(seq, "otto", "ahoy", ms);
    // The broadcast comes first, as it does from an admin node in good order.
    let mut room = GuestRoom::with_otto(1, 2);
    assert_eq!(
        room.on(5, say_at(1, 9, "otto", "ahoy", "c")),
        [ask_forward(2, "otto", "ahoy")]
    );
    assert_eq!(
        room.on(6, Input::Said(own(3, 5))),
        [Effect::Deliver(vec![MessageFrame::encode(&own(3, 5))])]
    );
    assert_eq!(
        room.on(7, answered(2, placed(3, "ahoy", 5))),
        [sent(from("b", 1, 9), 3, "ahoy", 5)]
    );
    // The broadcast was lost: the answer says enough to show the message.
    let mut room = GuestRoom::with_otto(1, 2);
    room.on(5, say_at(1, 9, "otto", "ahoy", "c"));
    assert_eq!(
        room.on(7, answered(2, placed(3, "ahoy", 5))),
        [
            Effect::Deliver(vec![MessageFrame::encode(&own(3, 5))]),
            sent(from("b", 1, 9), 3, "ahoy", 5)
        ]
    );
    // Another one is missing before it: the confirmation waits for that.
    let mut room = GuestRoom::with_otto(1, 2);
    room.on(5, say_at(1, 9, "otto", "ahoy", "c"));
    assert_eq!(room.on(7, answered(2, placed(4, "ahoy", 5))), []);
    assert_eq!(
        room.on(8, said(3)),
        [
            Effect::Deliver(vec![MessageFrame::encode(&number(3)), MessageFrame::encode(&own(4, 5))]),
            sent(from("b", 1, 9), 4, "ahoy", 5)
        ]
    );
}

#[test]
fn whoever_is_not_in_the_room_sends_nothing_there() {
    let mut room = GuestRoom::with_otto(1, 1);
    for (session, name) in [(1, "ines"), (2, "otto")] {
        assert_eq!(
            room.on(1, say_at(session, 9, name, "forged", "c")),
            [answer(from("b", session, 9), Answer::SendRefused(Reject::NotMember))]
        );
    }
}

#[test]
fn a_call_that_was_not_made_is_a_refusal_and_one_that_broke_is_not_repeated() {
    let mut room = GuestRoom::with_otto(1, 1);
    room.on(1, say_at(1, 8, "otto", "ahoy", "c"));
    assert_eq!(
        room.on(2, answered(2, Reply::Undone)),
        [refused(8, Reject::AdminUnavailable)]
    );
    room.on(3, say_at(1, 9, "otto", "ahoy", "d"));
    assert_eq!(
        room.on(4, answered(3, Reply::Unknown)),
        [answer(from("b", 1, 9), Answer::SendUnknown)]
    );
    assert_eq!(room.timeout(20_000), []);
}

#[test]
fn a_sender_is_not_kept_waiting_for_a_call_that_hangs() {
    let mut room = GuestRoom::with_otto(1, 1);
    room.on(1, say_at(1, 8, "otto", "ahoy", "c"));
    assert_eq!(room.0.next_deadline(), Some(Millis(10_001)));
    assert_eq!(room.timeout(10_001), [answer(from("b", 1, 8), Answer::SendUnknown)]);
    // Its message is shown like any other.
    assert_eq!(
        room.on(11_000, answered(2, placed(2, "ahoy", 5))),
        [Effect::Deliver(vec![MessageFrame::encode(&message(
            2, "otto", "ahoy", 5
        ))])]
    );
}

#[test]
fn who_comes_and_goes_is_told_and_who_is_out_hears_nothing_more() {
    let mut room = GuestRoom::with_otto(1, 1);
    assert_eq!(
        room.on(1, came("vera", 2)),
        [announce(event("vera", 2, 0, None), None, &[])]
    );
    assert_eq!(
        room.on(2, left("vera", 1, Left)),
        [announce(event("vera", 1, 0, Some(Left)), None, &[])]
    );
    assert_eq!(
        room.on(3, left("otto", 0, Inactivity)),
        [
            announce(event("otto", 0, 0, Some(Inactivity)), None, &[]),
            unsubscribe(1),
            Effect::Idle
        ]
    );
}

#[test]
fn versions_go_up_with_every_change_over_all_machines() {
    let mut room = GuestRoom::with_otto(1, 1);
    let mut effects = Vec::new();
    room.0.handle(at(5), came("vera", 2), &mut effects);
    room.0.handle(at(6), came("emil", 3), &mut effects);
    let versions: Vec<u64> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Announce { event, .. } => Some(event.version),
            _ => None,
        })
        .collect();
    assert_eq!(versions, [1, 2]);
    let later = Guest::new(at(7), room_id(), node("o"), RoomLimits::default());
    assert!(later.version > 2);
}

#[test]
fn a_room_that_is_gone_throws_everybody_out() {
    let gone = [
        announce(event("otto", 0, 9, Some(NodeUnreachable)), None, &[]),
        unsubscribe(1),
        Effect::Idle,
    ];
    let mut room = GuestRoom::with_otto(1, 1);
    room.on(1, say_at(1, 8, "otto", "ahoy", "c"));
    let effects = room.on(9, answered(2, Reply::Refused(Reject::RoomNotFound)));
    assert_eq!(effects[0], refused(8, Reject::RoomNotFound));
    assert_eq!(effects[1..], gone);
    let mut room = GuestRoom::with_otto(1, 1);
    room.timeout(30_000);
    assert_eq!(room.on(9, answered(2, Reply::Refused(Reject::RoomNotFound))), gone);
    let mut room = GuestRoom::with_otto(1, 1);
    assert_eq!(room.on(9, Input::Gone), gone);
}

#[test]
fn a_sender_that_is_no_member_any_more_is_told_and_is_out() {
    let mut room = GuestRoom::with_otto(1, 1);
    room.on(1, enter(2, 1, "vera"));
    room.on(1, answered(2, in_it(&["otto", "vera"], numbers(1..=1))));
    room.on(2, say_at(1, 8, "otto", "ahoy", "c"));
    assert_eq!(
        room.on(3, answered(3, Reply::Refused(Reject::NotMember))),
        [
            refused(8, Reject::NotMember),
            announce(event("otto", 1, 3, Some(Disconnected)), None, &[]),
            unsubscribe(1),
        ]
    );
}

#[test]
fn when_the_admin_node_fails_classic_members_are_out_and_extended_ones_wait() {
    let mut room = GuestRoom::with_otto(1, 2);
    room.on(0, enter_on(2, 1, "vera", extended("k", None)));
    room.on(0, answered(2, in_it(&["otto", "vera"], numbers(1..=2))));
    room.on(0, page_sent(2, 1, 3));
    room.on(1, say_at(1, 8, "otto", "ahoy", "c"));
    room.on(1, enter(3, 1, "emil"));
    assert_eq!(
        room.on(2, Input::Asked(follower::Input::AdminFailed)),
        [
            Effect::Trouble { degraded: true },
            answer(from("b", 1, 8), Answer::SendUnknown),
            answer(from("b", 3, 1), Answer::JoinRefused(Reject::AdminUnavailable)),
            announce(event("otto", 0, 2, Some(NodeUnreachable)), None, &[]),
            unsubscribe(1),
            ask_goodbye("otto"),
        ]
    );
    assert_eq!(
        room.on(3, say_at(2, 8, "vera", "hello?", "d")),
        [answer(from("b", 2, 8), Answer::SendRefused(Reject::AdminUnavailable))]
    );
    assert_eq!(
        room.on(4, enter(3, 2, "emil")),
        [answer(from("b", 3, 2), Answer::JoinRefused(Reject::AdminUnavailable))]
    );
    assert_eq!(room.timeout(60_000), []);
    // It is the same life, and was only far away.
    assert_eq!(
        room.on(70_000, Input::Asked(follower::Input::AdminBack)),
        [Effect::Trouble { degraded: false }, ask_join(5, "vera")]
    );
    assert_eq!(
        room.on(70_001, answered(5, still_in_it(&["vera"], numbers(1..=4)))),
        [delivers(3..=4)]
    );
}

#[test]
fn an_extended_session_that_comes_back_here_finds_its_seat() {
    let mut room = GuestRoom::new();
    room.on(0, enter_on(1, 1, "vera", extended("k", None)));
    room.on(0, answered(1, in_it(&["vera"], numbers(1..=2))));
    assert_eq!(room.on(1, closed(1)), [unsubscribe(1)]);
    assert_eq!(room.0.next_deadline(), Some(Millis(10_001)));
    assert_eq!(room.on(2, said(3)), []);
    assert_eq!(
        room.on(3, enter_on(2, 1, "vera", extended("k", Some((1, 2))))),
        [ask_join(2, "vera")]
    );
    assert_eq!(
        room.on(4, answered(2, still_in_it(&["vera"], numbers(1..=3)))),
        [
            welcome(from("b", 2, 1), &["vera"], 1, 3, 3, true),
            subscribe_from(2, 3),
            page(2, 3, 3),
        ]
    );
    // A connection that does not know yet that it is dead makes way.
    room.on(5, enter_on(3, 1, "vera", extended("k", Some((1, 3)))));
    assert_eq!(
        room.on(6, answered(3, still_in_it(&["vera"], numbers(1..=3)))),
        [
            unsubscribe(2),
            Effect::Replaced { session: SessionId(2) },
            welcome(from("b", 3, 1), &["vera"], 1, 3, 4, true),
            subscribe_from(3, 4),
            go_live(3),
        ]
    );
    assert_eq!(room.on(7, closed(3)), [unsubscribe(3)]);
    assert_eq!(room.timeout(10_007), [inquire(1, "vera")]);
    assert_eq!(room.on(10_007, inquired(1, 0)), [ask_goodbye("vera"), Effect::Idle]);
}
