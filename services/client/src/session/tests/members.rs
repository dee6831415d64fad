//! Who comes and goes, the session's own user among them.

use super::*;

fn change(kind: &str, room_id: &str, username: &str) -> Value {
    json!({"type": kind, "data": {"room_id": room_id, "username": username, "member_count": 1, "timestamp": "t",
        "member_version": 7}})
}

fn event(username: &str) -> MemberChange {
    MemberChange {
        room_id: "r".into(),
        username: username.into(),
        member_count: 1,
        timestamp: "t".into(),
        reason: None,
    }
}

#[test]
fn comings_and_goings_are_told_for_joined_rooms_only() {
    let mut session = in_the_room();
    let came = SessionEvent::MemberJoined(event("otto"));
    let went = SessionEvent::MemberLeft(event("otto"));
    assert_eq!(
        session.take(0, change("member_joined", "r", "otto")),
        [Output::Event(came)]
    );
    assert_eq!(
        session.take(0, change("member_left", "r", "otto")),
        [Output::Event(went)]
    );
    assert_eq!(session.take(0, change("member_left", "other", "otto")), []);
    assert!(matches!(
        &session.take(0, json!({"type": "member_left", "data": {"room_id": "r"}}))[..],
        [Output::Event(SessionEvent::Other(_))]
    ));
}

#[test]
fn who_was_removed_joins_again_where_it_stood() {
    let mut session = in_the_room();
    session.message(5);
    let out = session.take(3, change("member_left", "r", "ines"));
    assert_eq!(out[0], Output::Event(SessionEvent::MemberLeft(event("ines"))));
    let join = request(&out[1..]);
    assert_eq!(
        (&join["type"], &join["data"]["from"]["seq"]),
        (&json!("join_room"), &json!(5))
    );
}

#[test]
fn a_send_that_was_under_way_at_the_removal_follows_one_new_join() {
    let mut session = in_the_room();
    session.send(0, 7, "a");
    let out = session.take(0, change("member_left", "r", "ines"));
    assert_eq!(request(&out[1..])["type"], "join_room");
    let refusal =
        json!({"type": "message_error", "re": 2, "data": {"error_code": "NOT_MEMBER", "outcome": "definite"}});
    assert_eq!(session.take(0, refusal), [], "the join is under way");
    let again = request(&session.take(0, joined(3, 5, false))[1..]);
    assert_eq!(again["data"]["client_msg_id"], "a");
}

#[test]
fn a_deleted_room_is_given_up_with_what_waits_for_it() {
    let mut session = in_the_room();
    session.send(0, 7, "a");
    let refusal = Refusal {
        code: "ROOM_NOT_FOUND".into(),
        text: "the room was deleted".into(),
    };
    let unsent = SessionEvent::SendRefused {
        ticket: 7,
        refusal: refusal.clone(),
    };
    let gone = SessionEvent::JoinRefused {
        room_id: "r".into(),
        refusal,
    };
    let deleted = json!({"type": "room_deleted", "data": {"room_id": "r", "room_name": "hall", "message": "gone"}});
    assert_eq!(
        session.take(0, deleted.clone()),
        [Output::Event(unsent), Output::Event(gone)]
    );
    assert_eq!(session.take(0, deleted), [], "not of a joined room");
}
