//! The extended dialect, and what is done about servers that do not speak it.

use super::host::{Guest, Host, Talk, nowhere, settings, talk, whole};
use chat_tui::chat::{End, chat};
use chat_tui::input::Input;
use chat_tui::settings::{Dialect, Settings};
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

impl Guest {
    async fn hear(&mut self) -> Value {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).expect("a request is JSON"),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("a request, not {other:?}"),
            }
        }
    }

    /// Hears a request of this kind, answers it, and gives what it said.
    async fn answer(&mut self, kind: &str, answer: &str, data: Value) -> Value {
        let request = self.hear().await;
        assert_eq!(request["type"], kind, "{request}");
        let frame = json!({"type": answer, "re": request["id"], "data": data});
        self.say(&frame.to_string()).await;
        request["data"].clone()
    }

    async fn push(&mut self, kind: &str, data: Value) {
        self.say(&json!({"type": kind, "data": data}).to_string()).await;
    }

    /// Welcomes and gives the token with which the client came.
    async fn welcome(&mut self) -> Value {
        let hello = self.hear().await;
        assert_eq!(
            (&hello["type"], &hello["data"]["user"]),
            (&json!("hello"), &json!("ines")),
            "{hello}"
        );
        self.push("welcome", json!({"protocol": 2, "resume": "token"})).await;
        hello["data"]["resume"].clone()
    }

    async fn found(&mut self) {
        let room = json!({"room_id": "r1", "room_name": "hall", "description": null, "member_count": 1,
            "admin_node": "n", "creator_id": "c"});
        let data = json!({"rooms": [room], "total_count": 1});
        self.answer("discover_rooms", "global_rooms_list", data).await;
    }

    /// Lets the client in, and gives the position with which it came.
    async fn let_in(&mut self, first: u64, resumed: bool) -> Value {
        let data = json!({"room_id": "r1", "room_name": "hall", "members": ["otto", "ines"], "member_count": 2,
            "admin_node": "n", "gen": 1, "first_seq": first, "resumed": resumed});
        self.answer("join_room", "join_room_success", data).await["from"].clone()
    }

    async fn shown(&mut self, seq: u64, username: &str, content: &str) {
        let time = format!("2031-04-05T06:07:{seq:02}.000000+00:00");
        let data = json!({"message_id": format!("m{seq}"), "room_id": "r1", "username": username,
            "content": content, "sequence_number": seq, "timestamp": time});
        self.push("new_message", data).await;
    }

    /// Hears a line and gives its id.
    async fn line(&mut self, content: &str) -> (Value, Value) {
        let request = self.hear().await;
        assert_eq!(
            (&request["type"], &request["data"]["content"]),
            (&json!("send_message"), &json!(content)),
            "{request}"
        );
        (request["id"].clone(), request["data"]["client_msg_id"].clone())
    }

    async fn confirm(&mut self, re: &Value, seq: u64) {
        let data =
            json!({"room_id": "r1", "message_id": format!("m{seq}"), "sequence_number": seq, "duplicate": false});
        let frame = json!({"type": "message_sent", "re": re, "data": data});
        self.say(&frame.to_string()).await;
    }

    async fn see_off(&mut self) {
        let data = json!({"room_id": "r1", "username": "ines"});
        self.answer("leave_room", "leave_room_success", data).await;
        let last = self.socket.next().await;
        assert!(
            matches!(&last, Some(Ok(Message::Close(Some(frame)))) if u16::from(frame.code) == 1000),
            "{last:?}"
        );
    }
}

fn extended(addresses: &[String]) -> Settings {
    settings(Dialect::Extended, addresses)
}

#[tokio::test]
async fn a_line_is_sent_shown_and_confirmed_before_the_client_leaves() {
    let (host, url) = Host::open().await;
    let script = async {
        let mut guest = host.guest().await;
        guest.welcome().await;
        guest.found().await;
        assert_eq!(guest.let_in(1, false).await, Value::Null);
        guest.shown(1, "otto", "earlier").await;
        let (line, _) = guest.line("ahoy").await;
        let change = json!({"room_id": "r1", "username": "otto", "member_count": 1, "timestamp": "t"});
        guest.push("member_left", change.clone()).await;
        guest.push("member_joined", change).await;
        guest.shown(2, "ines", "ahoy").await;
        guest.confirm(&line, 2).await;
        let refusal = json!({"room_id": "r1", "error": "No such words", "error_code": "INVALID_CONTENT",
            "outcome": "definite"});
        guest.answer("send_message", "message_error", refusal).await;
        guest.see_off().await;
    };
    let settings = extended(&[url]);
    let (Talk { end, out, notices }, ()) = tokio::join!(talk(&settings, whole(&["ahoy", "more"])), script);
    assert_eq!((end, notices.as_str()), (End::NotAllSent, ""));
    let expected = [
        "-- joined hall (2 members: ines, otto)",
        "[06:07:01] otto: earlier",
        "-- otto left",
        "-- otto joined",
        "[06:07:02] ines: ahoy",
        "!! No such words; not sent: more",
        "",
    ];
    assert_eq!(out, expected.join("\n"));
}

#[tokio::test]
async fn after_a_loss_the_session_goes_on_at_the_next_server_and_a_line_in_doubt_is_repeated_under_its_id() {
    let (first, first_url) = Host::open().await;
    let (second, second_url) = Host::open().await;
    let script = async {
        let mut guest = first.guest().await;
        assert_eq!(guest.welcome().await, Value::Null);
        guest.found().await;
        guest.let_in(1, false).await;
        guest.shown(1, "otto", "earlier").await;
        let (_, id) = guest.line("in doubt").await;
        let frame = CloseFrame {
            code: 1012.into(),
            reason: "node is restarting".into(),
        };
        guest.socket.close(Some(frame)).await.expect("an open connection");

        let mut guest = second.guest().await;
        assert_eq!(guest.welcome().await, "token");
        assert_eq!(guest.let_in(2, true).await, json!({"gen": 1, "seq": 1}));
        guest.push("degraded", json!({"room_id": "r1", "reason": "why"})).await;
        guest.push("recovered", json!({"room_id": "r1", "reason": "why"})).await;
        guest.shown(2, "ines", "in doubt").await;
        let (line, again) = guest.line("in doubt").await;
        assert_eq!(again, id, "the same line");
        guest.confirm(&line, 2).await;
        let (line, next) = guest.line("next").await;
        assert_ne!(next, id, "another line");
        guest.shown(3, "ines", "next").await;
        guest.confirm(&line, 3).await;
        guest.see_off().await;
    };
    let settings = extended(&[first_url.clone(), second_url]);
    let (Talk { end, out, notices }, ()) = tokio::join!(talk(&settings, whole(&["in doubt", "next"])), script);
    assert_eq!(end, End::AllSent);
    let expected = [
        "-- joined hall (2 members: ines, otto)",
        "[06:07:01] otto: earlier",
        "[06:07:02] ines: in doubt",
        "[06:07:03] ines: next",
        "",
    ];
    assert_eq!(out, expected.join("\n"));
    let expected = [
        &format!("-- reconnecting: {first_url}: closed with 1012: node is restarting"),
        "-- connected again",
        "-- the room does not answer for now; lines wait",
        "-- the room answers again",
        "",
    ];
    assert_eq!(notices, expected.join("\n"));
}

#[tokio::test]
async fn a_first_join_whose_answer_was_lost_is_still_a_first_join() {
    let (host, url) = Host::open().await;
    let script = async {
        let mut guest = host.guest().await;
        guest.welcome().await;
        guest.found().await;
        assert_eq!(guest.hear().await["type"], "join_room");
        drop(guest);
        let mut guest = host.guest().await;
        guest.welcome().await;
        guest.let_in(1, true).await;
        guest.see_off().await;
    };
    let settings = extended(&[url]);
    let (Talk { end, out, .. }, ()) = tokio::join!(talk(&settings, whole(&[])), script);
    assert_eq!(
        (end, out.as_str()),
        (End::AllSent, "-- joined hall (2 members: ines, otto)\n")
    );
}

#[tokio::test]
async fn a_removed_member_comes_back_and_a_void_position_is_said_to_be() {
    let (host, url) = Host::open().await;
    let (input, lines) = mpsc::channel::<Input>(1);
    let script = async {
        let mut guest = host.guest().await;
        guest.welcome().await;
        guest.found().await;
        guest.let_in(5, false).await;
        let removal = json!({"room_id": "r1", "username": "ines", "member_count": 1, "timestamp": "t",
            "reason": "Inactivity"});
        guest.push("member_left", removal).await;
        assert_eq!(guest.let_in(5, false).await, json!({"gen": 1, "seq": 4}));
        let resync = json!({"room_id": "r1", "gen": 1, "from_seq": 9, "reason": "trimmed"});
        guest.push("resync_required", resync).await;
        guest.shown(9, "otto", "later").await;
        // Whatever came before a confirmation is shown before the client leaves.
        input.send(Input::Line("bye".into())).await.expect("it listens");
        drop(input);
        let (line, _) = guest.line("bye").await;
        guest.confirm(&line, 10).await;
        guest.see_off().await;
    };
    let settings = extended(&[url]);
    let (Talk { end, out, notices }, ()) = tokio::join!(talk(&settings, lines), script);
    assert_eq!(end, End::AllSent);
    let expected = [
        "-- joined hall (2 members: ines, otto)",
        "-- you were removed (Inactivity)",
        "-- joined hall (2 members: ines, otto)",
        "[06:07:09] otto: later",
        "",
    ];
    assert_eq!(out, expected.join("\n"));
    assert_eq!(notices, "-- the room goes on with message 9 (trimmed)\n");
}

#[tokio::test]
async fn a_deleted_room_is_not_made_again() {
    let (host, url) = Host::open().await;
    let (_input, lines) = mpsc::channel::<Input>(1);
    let script = async {
        let mut guest = host.guest().await;
        guest.welcome().await;
        guest.found().await;
        guest.let_in(1, false).await;
        guest
            .push("room_deleted", json!({"room_id": "r1", "room_name": "hall"}))
            .await;
        assert!(matches!(guest.socket.next().await, Some(Ok(Message::Close(_)))));
    };
    let settings = extended(&[url]);
    let (Talk { end, notices, .. }, ()) = tokio::join!(talk(&settings, lines), script);
    assert_eq!(
        (end, notices.as_str()),
        (End::NoServer, "!! the room was deleted\n!! giving up\n")
    );
}

#[tokio::test]
async fn a_server_that_does_not_know_hello_is_spoken_to_in_the_classic_dialect() {
    let (host, url) = Host::open().await;
    let script = async {
        let mut guest = host.guest().await;
        guest.expect(&["hello"]).await;
        guest
            .say(r#"{"type": "error", "data": {"success": false, "message": "Unknown message type: hello"}}"#)
            .await;
        assert!(matches!(guest.socket.next().await, Some(Ok(Message::Close(_)))));
        drop(guest);
        let mut guest = host.guest().await;
        guest.discover(&["r1"]).await;
        guest.seat("r1").await;
        guest.expect(&["send_message", "ahoy", r#""username":"ines""#]).await;
        guest.message("r1", 1, "ines", "ahoy").await;
        guest.confirmed("r1", 1).await;
        guest.see_off_classic("r1").await;
    };
    let settings = extended(&[url]);
    let (Talk { end, out, notices }, ()) = tokio::join!(talk(&settings, whole(&["ahoy"])), script);
    assert_eq!(
        (end, notices.as_str()),
        (End::AllSent, "-- classic dialect: Unknown message type: hello\n")
    );
    assert_eq!(out, "-- joined hall (2 members: ines, otto)\n[06:07:01] ines: ahoy\n");
}

#[tokio::test]
async fn servers_that_are_gone_are_given_up_and_what_was_not_sent_is_shown() {
    let (host, url) = Host::open().await;
    let (_socket, gone) = nowhere();
    let script = async {
        let mut guest = host.guest().await;
        guest.welcome().await;
        guest.found().await;
        guest.let_in(1, false).await;
        guest.line("in doubt").await;
        drop(guest);
        host.turn_away().await;
    };
    let settings = extended(&[url, gone]);
    let Talk { end, out, notices } = tokio::select! {
        talk = talk(&settings, whole(&["in doubt", "next"])) => talk,
        () = script => panic!("the host is there until the end"),
    };
    assert_eq!(end, End::NoServer);
    let expected = [
        "-- joined hall (2 members: ines, otto)",
        "!! outcome unknown: in doubt",
        "!! no place in the room; not sent: next",
        "",
    ];
    assert_eq!(out, expected.join("\n"));
    assert!(notices.ends_with("!! giving up\n"), "{notices}");
    assert_eq!(notices.matches("-- reconnecting: ").count(), 32, "{notices}");
}

#[tokio::test]
async fn a_line_that_nobody_confirms_is_waited_for_only_so_long() {
    let (host, url) = Host::open().await;
    let settings = Settings {
        patience: Duration::from_millis(300),
        ..extended(&[url])
    };
    let script = async {
        let mut guest = host.guest().await;
        guest.welcome().await;
        guest.found().await;
        guest.let_in(1, false).await;
        guest.line("in doubt").await;
        assert!(matches!(guest.socket.next().await, Some(Ok(Message::Close(_)))));
    };
    let (Talk { end, out, .. }, ()) = tokio::join!(talk(&settings, whole(&["in doubt", "next"])), script);
    assert_eq!(end, End::NotAllSent);
    assert!(
        out.ends_with("!! outcome unknown: in doubt\n!! no place in the room; not sent: next\n"),
        "{out}"
    );
}

#[tokio::test]
async fn a_room_that_lets_nobody_in_is_waited_for_only_so_long() {
    let (host, url) = Host::open().await;
    let settings = Settings {
        patience: Duration::from_millis(600),
        ..extended(&[url])
    };
    let script = async {
        let mut guest = host.guest().await;
        guest.welcome().await;
        guest.found().await;
        let refusal = json!({"room_id": "r1", "error": "Later", "error_code": "ADMIN_NODE_UNAVAILABLE"});
        let mut asked = 0;
        while let Some(Ok(Message::Text(text))) = guest.socket.next().await {
            let request: Value = serde_json::from_str(&text).expect("a request is JSON");
            assert_eq!(request["type"], "join_room", "{request}");
            guest
                .say(&json!({"type": "join_room_error", "re": request["id"], "data": refusal}).to_string())
                .await;
            asked += 1;
        }
        assert!(asked > 1, "it is tried again");
    };
    let (Talk { end, out, notices }, ()) = tokio::join!(talk(&settings, whole(&["hello"])), script);
    assert_eq!(
        (end, out.as_str()),
        (End::NoServer, "!! no place in the room; not sent: hello\n")
    );
    assert_eq!(notices, "!! no place in the room in time\n!! giving up\n");
}

#[tokio::test]
async fn an_output_that_nobody_reads_ends_the_conversation() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (host, url) = Host::open().await;
    let script = async {
        let mut guest = host.guest().await;
        guest.welcome().await;
        guest.found().await;
        guest.let_in(1, false).await;
        assert!(matches!(guest.socket.next().await, Some(Ok(Message::Close(_)))));
    };
    let settings = extended(&[url]);
    let (mut out, mut notices) = (Closed, io::sink());
    let (result, ()) = tokio::join!(chat(&settings, whole(&[]), &mut out, &mut notices), script);
    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}
