//! Questions that are no part of being in a room, and leaving.

use super::*;
use crate::answer::Left;

fn list(re: u64) -> Value {
    json!({"type": "global_rooms_list", "re": re, "data": {"rooms": [], "total_count": 0, "next": "r7"}})
}

fn left(re: u64) -> Value {
    json!({"type": "leave_room_success", "re": re, "data": {"room_id": "r", "username": "ines"}})
}

#[test]
fn a_question_waits_for_the_welcome_and_gets_its_answer() {
    let mut session = Driven::online();
    assert_eq!(session.ask(7), []);
    assert_eq!(
        request(&session.welcome()),
        json!({"type": "discover_rooms", "id": 1, "data": {"name": "hall"}})
    );
    let out = session.take(0, list(1));
    let [Output::Event(SessionEvent::Answered { ticket: 7, answer })] = &out[..] else {
        panic!("the answer: {out:?}");
    };
    assert!(
        matches!(answer, crate::Frame::GlobalRooms(rooms) if rooms.next.as_deref() == Some("r7")),
        "{answer:?}"
    );
}

#[test]
fn a_question_that_is_refused_is_answered_with_that() {
    let mut session = Driven::online();
    session.welcome();
    session.ask(7);
    let error = json!({"type": "error", "re": 1, "data":
        {"success": false, "message": "no", "error_code": "INVALID_REQUEST"}});
    let refusal = Refusal {
        code: "INVALID_REQUEST".into(),
        text: "no".into(),
    };
    let answer = SessionEvent::Answered {
        ticket: 7,
        answer: crate::Frame::Error(refusal),
    };
    assert_eq!(session.take(0, error), [Output::Event(answer)]);
}

#[test]
fn a_question_that_lost_its_connection_is_unanswered_and_not_asked_again() {
    let mut session = Driven::online();
    session.welcome();
    session.ask(7);
    assert_eq!(session.lose(), [Output::Event(SessionEvent::Unanswered { ticket: 7 })]);
    // Asked between two connections, it waits for the next one.
    session.ask(8);
    session.connect();
    assert_eq!(request(&session.welcome())["id"], 2);
    assert_eq!(session.lose(), [Output::Event(SessionEvent::Unanswered { ticket: 8 })]);
}

#[test]
fn questions_wait_while_the_pipeline_is_full() {
    let mut session = Driven::online();
    session.welcome();
    for ticket in 1..=PIPELINE as u64 {
        assert_eq!(session.ask(ticket).len(), 1, "{ticket}");
    }
    assert_eq!(session.ask(100), []);
    assert_eq!(session.ask(101), []);
    let out = session.take(0, list(1));
    assert_eq!(request(&out[1..])["id"], PIPELINE + 1, "one came back, one goes");
}

#[test]
fn who_leaves_a_room_sends_nothing_more_there() {
    let mut session = in_the_room();
    session.send(0, 7, "a");
    let out = session.leave(8);
    let [
        Output::Event(SessionEvent::SendRefused { ticket: 7, .. }),
        Output::Send(leave),
    ] = &out[..]
    else {
        panic!("the send is given up, the room is left: {out:?}");
    };
    assert!(leave.contains("leave_room"), "{leave}");
    assert_eq!(session.message(5), [], "not of a joined room");
    let answer = Left {
        room_id: "r".into(),
        username: "ines".into(),
    };
    let answered = SessionEvent::Answered {
        ticket: 8,
        answer: crate::Frame::Left(answer),
    };
    assert_eq!(session.take(0, left(3)), [Output::Event(answered)]);
}

#[test]
fn a_room_that_is_left_without_a_connection_is_not_entered_again() {
    let mut session = in_the_room();
    session.lose();
    let unanswered = SessionEvent::Unanswered { ticket: 8 };
    assert_eq!(session.leave(8), [Output::Event(unanswered)]);
    session.connect();
    assert_eq!(session.welcome(), []);
}

#[test]
fn an_answer_about_a_stay_that_is_over_says_nothing_about_the_next() {
    let mut session = Driven::online();
    session.welcome();
    assert_eq!(request(&session.join("r"))["id"], 1);
    assert_eq!(request(&session.leave(8))["id"], 2);
    assert_eq!(request(&session.join("r"))["id"], 3);
    assert!(matches!(
        &session.take(0, joined(1, 5, false))[..],
        [Output::Event(SessionEvent::Other(_))]
    ));
    assert_eq!(session.message(5), [], "of the first stay");
    session.take(0, left(2));
    session.take(0, joined(3, 6, false));
    assert_eq!(seqs(&session.message(6)), [6]);
}
