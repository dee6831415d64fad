//! What the session says to each thing that can happen to it.

use super::*;

mod members;
mod questions;

struct Driven(Session);

impl Driven {
    /// A session that was welcomed.
    fn online() -> Self {
        let mut this = Self(Session::new("ines", "test"));
        let hello = this.connect();
        assert!(hello.contains(r#""resume":null"#), "{hello}");
        this
    }

    /// A new connection; gives the greeting. The welcome is taken, what it leads to is not looked at.
    fn connect(&mut self) -> String {
        let mut out = Vec::new();
        self.0.connected(&mut out);
        let [Output::Send(hello)] = &out[..] else {
            panic!("a greeting and nothing else: {out:?}");
        };
        hello.clone()
    }

    fn lose(&mut self) -> Vec<Output> {
        let mut out = Vec::new();
        self.0.disconnected(&mut out);
        out
    }

    fn welcome(&mut self) -> Vec<Output> {
        self.take(
            0,
            json!({"type": "welcome", "data": {"protocol": 2, "resume": "token"}}),
        )
    }

    fn take(&mut self, now: u64, frame: Value) -> Vec<Output> {
        let mut out = Vec::new();
        self.0.frame(now, &frame.to_string(), &mut out);
        out
    }

    fn join(&mut self, room: &str) -> Vec<Output> {
        let mut out = Vec::new();
        self.0.join(0, room, 10, &mut out);
        out
    }

    fn send(&mut self, now: u64, ticket: u64, id: &str) -> Vec<Output> {
        let mut out = Vec::new();
        self.0.send(now, ticket, "r", id, "hi", &mut out);
        out
    }

    fn ask(&mut self, ticket: u64) -> Vec<Output> {
        let mut out = Vec::new();
        self.0
            .ask(0, ticket, "discover_rooms", json!({"name": "hall"}), &mut out);
        out
    }

    fn leave(&mut self, ticket: u64) -> Vec<Output> {
        let mut out = Vec::new();
        self.0.leave(ticket, "r", &mut out);
        out
    }

    fn timeout(&mut self, now: u64) -> Vec<Output> {
        let mut out = Vec::new();
        self.0.handle_timeout(now, &mut out);
        out
    }

    fn message(&mut self, seq: u64) -> Vec<Output> {
        self.take(0, message(seq))
    }
}

fn message(seq: u64) -> Value {
    json!({"type": "new_message", "data": {"message_id": format!("m{seq}"), "room_id": "r", "username": "otto",
        "content": "hi", "sequence_number": seq, "timestamp": "2031-04-07T06:07:08.123456+00:00"}})
}

fn joined(re: u64, first: u64, resumed: bool) -> Value {
    json!({"type": "join_room_success", "re": re, "data":
        {"room_id": "r", "room_name": "hall", "description": null, "members": ["ines"], "member_count": 1,
        "admin_node": "n", "gen": 1, "first_seq": first, "head_seq": 9, "resumed": resumed}})
}

/// The one request that was sent, as JSON.
fn request(out: &[Output]) -> Value {
    match out {
        [Output::Send(text)] => serde_json::from_str(text).unwrap(),
        other => panic!("one request: {other:?}"),
    }
}

fn seqs(out: &[Output]) -> Vec<u64> {
    out.iter()
        .filter_map(|output| match output {
            Output::Event(SessionEvent::Message(message)) => Some(message.seq),
            _ => None,
        })
        .collect()
}

/// In room `r`, whose messages up to 4 are not wanted.
fn in_the_room() -> Driven {
    let mut session = Driven::online();
    session.welcome();
    assert_eq!(
        request(&session.join("r")),
        json!({"type": "join_room", "id": 1, "data": {"room_id": "r", "from": null, "history": 10}})
    );
    let out = session.take(0, joined(1, 5, false));
    assert!(matches!(
        &out[..],
        [Output::Event(SessionEvent::Joined { resumed: false, .. })]
    ));
    session
}

#[test]
fn nothing_is_asked_before_the_welcome() {
    let mut session = Driven::online();
    assert_eq!(session.join("r"), []);
    assert_eq!(session.0.next_deadline(), None);
    assert_eq!(request(&session.welcome())["type"], "join_room");
}

#[test]
fn a_node_that_does_not_speak_the_dialect_is_given_up() {
    let mut session = Driven::online();
    let refusal = json!({"type": "error", "data": {"success": false, "message": "Unknown message type: hello"}});
    let refused = Output::Refused("Unknown message type: hello".into());
    assert_eq!(session.take(0, refusal), [refused]);
}

#[test]
fn a_later_node_that_does_not_speak_the_dialect_is_left_for_another() {
    let mut session = in_the_room();
    session.connect();
    let refusal = json!({"type": "error", "data": {"success": false, "message": "Unknown message type: hello"}});
    let left = Output::Reconnect("Unknown message type: hello".into());
    assert_eq!(session.take(0, refusal), [left]);
}

#[test]
fn an_answer_to_a_join_that_makes_no_sense_ends_the_connection() {
    let mut session = Driven::online();
    session.welcome();
    session.join("r");
    let nonsense = json!({"type": "join_room_success", "re": 1, "data": {"room_id": "r"}});
    let left = Output::Reconnect("the answer to a join made no sense".into());
    assert_eq!(session.take(0, nonsense), [left]);
    session.connect();
    assert_eq!(request(&session.welcome())["type"], "join_room");
}

#[test]
fn each_message_is_given_out_once_and_a_hole_makes_the_session_come_back() {
    let mut session = in_the_room();
    assert_eq!(seqs(&session.message(5)), [5]);
    let irregular = |due, came| {
        Output::Event(SessionEvent::Irregular {
            room_id: "r".into(),
            due,
            came,
        })
    };
    assert_eq!(session.message(5), [irregular(6, 5)], "again");
    assert_eq!(session.message(3), [irregular(6, 3)], "from before");
    assert_eq!(seqs(&session.message(6)), [6]);
    let back = Output::Reconnect("a message was left out".into());
    assert_eq!(session.message(8), [irregular(7, 8), back]);
}

#[test]
fn a_new_connection_goes_on_where_the_last_one_stood() {
    let mut session = in_the_room();
    session.message(5);
    let hello = session.connect();
    assert!(hello.contains(r#""resume":"token""#), "{hello}");
    let rejoin = request(&session.welcome());
    assert_eq!(rejoin["data"]["from"], json!({"gen": 1, "seq": 5}));
    let out = session.take(0, joined(2, 6, true));
    assert!(matches!(
        &out[..],
        [Output::Event(SessionEvent::Joined { resumed: true, .. })]
    ));
    assert_eq!(seqs(&session.message(6)), [6]);
}

#[test]
fn an_answer_to_a_request_of_an_earlier_connection_is_nothing() {
    let mut session = in_the_room();
    assert_eq!(request(&session.send(0, 7, "a"))["id"], 2);
    session.connect();
    session.welcome();
    let late = json!({"type": "message_sent", "re": 2, "data": {"sequence_number": 5, "message_id": "m"}});
    assert!(matches!(
        &session.take(0, late)[..],
        [Output::Event(SessionEvent::Other(_))]
    ));
}

#[test]
fn sends_of_a_room_go_one_after_the_other_and_each_under_its_id_until_it_is_done() {
    let mut session = in_the_room();
    let first = request(&session.send(0, 7, "a"));
    assert_eq!(
        (&first["id"], &first["data"]["client_msg_id"]),
        (&json!(2), &json!("a"))
    );
    assert_eq!(session.send(0, 8, "b"), [], "a is under way");
    // The connection breaks: nobody knows. The same id goes again, and before the next one.
    session.connect();
    session.welcome();
    let again = request(&session.take(0, joined(3, 5, true))[1..]);
    assert_eq!(
        (&again["id"], &again["data"]["client_msg_id"]),
        (&json!(4), &json!("a"))
    );
    let unknown = json!({"type": "message_error", "re": 4, "data":
        {"error_code": "ADMIN_NODE_UNAVAILABLE", "outcome": "unknown", "retry_after_ms": 1000}});
    assert_eq!(session.take(10, unknown), []);
    assert_eq!(session.0.next_deadline(), Some(1_010));
    assert_eq!(session.timeout(1_009), []);
    assert_eq!(request(&session.timeout(1_010))["data"]["client_msg_id"], "a");
    let sent = json!({"type": "message_sent", "re": 5, "data":
        {"sequence_number": 5, "message_id": "m5", "duplicate": true}});
    let out = session.take(1_011, sent);
    let done = SessionEvent::Sent {
        ticket: 7,
        seq: 5,
        message_id: "m5".into(),
        duplicate: true,
    };
    assert_eq!(out[0], Output::Event(done));
    assert_eq!(request(&out[1..])["data"]["client_msg_id"], "b");
}

#[test]
fn a_definite_refusal_ends_a_send_and_only_that() {
    let mut session = in_the_room();
    session.send(0, 7, "a");
    session.send(0, 8, "b");
    let refusal = json!({"type": "message_error", "re": 2, "data":
        {"error": "used", "error_code": "CLIENT_MSG_ID_CONFLICT", "outcome": "definite"}});
    let out = session.take(0, refusal);
    let refused = SessionEvent::SendRefused {
        ticket: 7,
        refusal: Refusal {
            code: "CLIENT_MSG_ID_CONFLICT".into(),
            text: "used".into(),
        },
    };
    assert_eq!(out[0], Output::Event(refused));
    assert_eq!(request(&out[1..])["data"]["client_msg_id"], "b");
}

#[test]
fn a_seat_that_is_gone_is_taken_again_before_the_send_goes_on() {
    let mut session = in_the_room();
    session.message(5);
    session.send(0, 7, "a");
    let refusal =
        json!({"type": "message_error", "re": 2, "data": {"error_code": "NOT_MEMBER", "outcome": "definite"}});
    let join = request(&session.take(0, refusal));
    assert_eq!(
        (&join["type"], &join["data"]["from"]["seq"]),
        (&json!("join_room"), &json!(5))
    );
    let again = request(&session.take(0, joined(3, 6, false))[1..]);
    assert_eq!(again["data"]["client_msg_id"], "a");
}

#[test]
fn a_join_that_fails_for_now_is_tried_again_and_one_that_is_refused_is_not() {
    let mut session = Driven::online();
    session.welcome();
    session.join("r");
    let refusal = |re: u64, code: &str| json!({"type": "join_room_error", "re": re, "data": {"room_id": "r", "error_code": code}});
    assert_eq!(session.take(5, refusal(1, "ADMIN_NODE_UNAVAILABLE")), []);
    assert_eq!(session.0.next_deadline(), Some(255));
    assert_eq!(request(&session.timeout(255))["type"], "join_room");
    session.send(256, 7, "a");
    let out = session.take(260, refusal(2, "ROOM_NOT_FOUND"));
    let [
        Output::Event(SessionEvent::SendRefused { ticket: 7, .. }),
        Output::Event(SessionEvent::JoinRefused { .. }),
    ] = &out[..]
    else {
        panic!("the send and the join are refused: {out:?}");
    };
    assert_eq!(session.0.next_deadline(), None);
}

#[test]
fn a_void_position_is_replaced_and_said_to_be() {
    let mut session = in_the_room();
    let resync =
        json!({"type": "resync_required", "data": {"room_id": "r", "gen": 2, "from_seq": 1, "reason": "generation"}});
    let event = SessionEvent::Resynced {
        room_id: "r".into(),
        from: 1,
        reason: "generation".into(),
    };
    assert_eq!(session.take(0, resync), [Output::Event(event)]);
    assert_eq!(seqs(&session.message(1)), [1]);
    session.connect();
    assert_eq!(request(&session.welcome())["data"]["from"], json!({"gen": 2, "seq": 1}));
}

#[test]
fn it_is_told_whether_the_node_of_a_room_answers() {
    let mut session = in_the_room();
    for (kind, degraded) in [("degraded", true), ("recovered", false)] {
        let event = SessionEvent::Degraded {
            room_id: "r".into(),
            degraded,
        };
        let frame = json!({"type": kind, "data": {"room_id": "r", "reason": "why"}});
        assert_eq!(session.take(0, frame), [Output::Event(event)]);
    }
}

#[test]
fn no_more_than_a_bounded_number_of_sends_and_questions_waits() {
    let mut session = in_the_room();
    session.lose();
    for ticket in 1..MAX_WAITING as u64 {
        session.send(0, ticket, "a");
    }
    assert!(!session.0.is_full());
    session.ask(0);
    assert!(session.0.is_full());
    session.connect();
    // The question is under way, and waits for nothing but its answer.
    session.welcome();
    assert!(!session.0.is_full());
}

#[test]
fn a_node_that_stops_is_left() {
    let mut session = in_the_room();
    let reconnect = json!({"type": "reconnect", "data": {"after_ms": 5, "reason": "node is restarting"}});
    let left = Output::Reconnect("node is restarting".into());
    assert_eq!(session.take(0, reconnect), [left]);
}
