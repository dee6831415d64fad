//! The classic dialect.

use super::host::{self, Guest, Host, Talk, nowhere, whole};
use chat_tui::chat::{End, chat};
use chat_tui::input::Input;
use chat_tui::settings::Dialect;
use futures_util::StreamExt;
use std::io::{self, Write};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

async fn talk(addresses: Vec<String>, lines: mpsc::Receiver<Input>) -> Talk {
    host::talk(&host::settings(Dialect::Classic, &addresses), lines).await
}

impl Guest {
    pub(super) async fn discover(&mut self, rooms: &[&str]) {
        self.expect(&["discover_rooms"]).await;
        let rooms: Vec<String> = rooms.iter().map(|id| format!(
            r#"{{"room_id":"{id}","room_name":"hall","description":null,"member_count":0,"admin_node":"n","creator_id":"c"}}"#
        )).collect();
        let total = rooms.len();
        let rooms = rooms.join(",");
        self.say(&format!(r#"{{"type":"global_rooms_list","data":{{"rooms":[{rooms}],"total_count":{total},"nodes_queried":[],"nodes_available":[],"nodes_unavailable":[]}}}}"#)).await;
    }

    pub(super) async fn seat(&mut self, room: &str) {
        self.expect(&["join_room", room, "ines"]).await;
        self.say(&format!(r#"{{"type":"join_room_success","data":{{"room_id":"{room}","room_name":"hall","description":null,"members":["otto","ines"],"member_count":2,"admin_node":"n"}}}}"#)).await;
    }

    pub(super) async fn message(&mut self, room: &str, seq: u64, username: &str, content: &str) {
        self.say(&format!(r#"{{"type":"new_message","data":{{"message_id":"m{seq}","room_id":"{room}","username":"{username}","content":"{content}","sequence_number":{seq},"timestamp":"2031-04-05T06:07:{seq:02}.000000+00:00"}}}}"#)).await;
    }

    pub(super) async fn confirmed(&mut self, room: &str, seq: u64) {
        self.say(&format!(r#"{{"type":"message_sent","data":{{"room_id":"{room}","message_id":"m{seq}","sequence_number":{seq},"timestamp":"t"}}}}"#)).await;
    }

    pub(super) async fn see_off_classic(&mut self, room: &str) {
        self.expect(&["leave_room", room, "ines"]).await;
        self.say(&format!(
            r#"{{"type":"leave_room_success","data":{{"room_id":"{room}","username":"ines"}}}}"#
        ))
        .await;
        let last = self
            .socket
            .next()
            .await
            .expect("an open connection")
            .expect("a good frame");
        assert!(
            matches!(&last, Message::Close(Some(frame)) if u16::from(frame.code) == 1000),
            "{last:?}"
        );
    }
}

#[tokio::test]
async fn a_line_is_sent_shown_and_confirmed_before_the_client_leaves() {
    let (host, url) = Host::open().await;
    let script = async {
        let mut guest = host.guest().await;
        guest.discover(&["r2", "r1"]).await;
        guest.seat("r1").await;
        guest.message("r1", 1, "otto", "earlier").await;
        guest.expect(&["send_message", "r1", "ahoy"]).await;
        guest.say(r#"{"type":"member_left","data":{"room_id":"r1","username":"otto","member_count":1,"timestamp":"t","reason":"User disconnected"}}"#).await;
        guest.message("r1", 2, "ines", "ahoy").await;
        guest.confirmed("r1", 2).await;
        guest.expect(&["send_message", "more"]).await;
        guest
            .say(r#"{"type":"message_error","data":{"room_id":"r1","error":"No more","error_code":"NOT_MEMBER"}}"#)
            .await;
        guest.see_off_classic("r1").await;
    };
    let (Talk { end, out, .. }, ()) = tokio::join!(talk(vec![url], whole(&["ahoy", "more"])), script);
    assert_eq!(end, End::NotAllSent);
    let expected = [
        "-- joined hall (2 members: ines, otto)",
        "[06:07:01] otto: earlier",
        "-- otto left (User disconnected)",
        "[06:07:02] ines: ahoy",
        "!! No more; not sent: more",
        "",
    ];
    assert_eq!(out, expected.join("\n"));
}

#[tokio::test]
async fn a_room_that_nobody_has_is_created() {
    let (host, url) = Host::open().await;
    let script = async {
        let mut guest = host.guest().await;
        guest.discover(&[]).await;
        guest.expect(&["create_room", "hall", "ines"]).await;
        guest
            .say(r#"{"type":"room_created","data":{"success":false,"message":"Room with name 'hall' already exists"}}"#)
            .await;
        guest.discover(&[]).await;
        guest.expect(&["create_room", "hall", "ines"]).await;
        guest.say(r#"{"type":"room_created","data":{"room_id":"r9","room_name":"hall","admin_node":"n","members":[],"created_at":"t"}}"#).await;
        guest.seat("r9").await;
        guest.see_off_classic("r9").await;
    };
    let (Talk { end, out, .. }, ()) = tokio::join!(talk(vec![url], whole(&[])), script);
    assert_eq!(
        (end, out.as_str()),
        (End::AllSent, "-- joined hall (2 members: ines, otto)\n")
    );
}

#[tokio::test]
async fn after_a_loss_the_next_server_is_used_and_a_line_in_doubt_is_not_sent_again() {
    let (first, first_url) = Host::open().await;
    let (second, second_url) = Host::open().await;
    let script = async {
        let mut guest = first.guest().await;
        guest.discover(&["r1"]).await;
        guest.seat("r1").await;
        guest.message("r1", 1, "otto", "earlier").await;
        guest.expect(&["send_message", "in doubt"]).await;
        let frame = CloseFrame {
            code: 1012.into(),
            reason: "node is restarting".into(),
        };
        guest.socket.close(Some(frame)).await.expect("an open connection");

        let mut guest = second.guest().await;
        guest.seat("r1").await;
        guest.message("r1", 1, "otto", "earlier").await;
        guest.message("r1", 2, "ines", "in doubt").await;
        guest.expect(&["send_message", "next"]).await;
        guest.message("r1", 3, "ines", "next").await;
        guest.confirmed("r1", 3).await;
        guest.see_off_classic("r1").await;
    };
    let (Talk { end, out, notices }, ()) =
        tokio::join!(talk(vec![first_url, second_url], whole(&["in doubt", "next"])), script);
    assert_eq!(end, End::NotAllSent);
    let expected = [
        "-- joined hall (2 members: ines, otto)",
        "[06:07:01] otto: earlier",
        "!! outcome unknown: in doubt",
        "-- joined hall (2 members: ines, otto)",
        "[06:07:02] ines: in doubt",
        "[06:07:03] ines: next",
        "",
    ];
    assert_eq!(out, expected.join("\n"));
    assert_eq!(notices, "-- connection lost: closed with 1012: node is restarting\n");
}

#[tokio::test]
async fn a_loss_at_the_end_of_the_input_ends_it() {
    let (host, url) = Host::open().await;
    let script = async {
        let mut guest = host.guest().await;
        guest.discover(&["r1"]).await;
        guest.seat("r1").await;
        guest.expect(&["send_message", "in doubt"]).await;
        drop(guest);
        let mut guest = host.guest().await;
        guest.discover(&["r1"]).await;
        guest.seat("r1").await;
        guest.expect(&["leave_room"]).await;
    };
    let both = async {
        let Talk { end, out, notices } = talk(vec![url.clone()], whole(&["in doubt"])).await;
        assert_eq!(end, End::NotAllSent);
        assert!(out.ends_with("!! outcome unknown: in doubt\n"), "{out}");
        assert!(notices.starts_with("-- connection lost: "), "{notices}");
        let Talk { end, out, .. } = talk(vec![url], whole(&[])).await;
        assert_eq!((end, out.lines().count()), (End::AllSent, 1), "{out}");
    };
    tokio::join!(both, script);
}

#[tokio::test]
async fn a_deleted_room_is_not_made_again() {
    let (host, url) = Host::open().await;
    let (input, queue) = mpsc::channel::<Input>(1);
    let script = async {
        let mut guest = host.guest().await;
        guest.discover(&["r1"]).await;
        guest.seat("r1").await;
        guest
            .say(r#"{"type":"room_deleted","data":{"room_id":"r1","room_name":"hall","message":"gone"}}"#)
            .await;
        input.closed().await;
    };
    let (Talk { end, out, notices }, ()) = tokio::join!(talk(vec![url], queue), script);
    assert_eq!(end, End::NoServer);
    assert!(out.ends_with("!! the room was deleted\n"), "{out}");
    assert_eq!(notices, "!! giving up\n");
}

#[tokio::test]
async fn a_removed_member_comes_back() {
    let (host, url) = Host::open().await;
    let (input, queue) = mpsc::channel::<Input>(1);
    let script = async {
        let mut guest = host.guest().await;
        guest.discover(&["r1"]).await;
        guest.seat("r1").await;
        guest.say(r#"{"type":"member_left","data":{"room_id":"r1","username":"ines","member_count":1,"timestamp":"t","reason":"Inactivity"}}"#).await;
        let mut guest = host.guest().await;
        guest.seat("r1").await;
        drop(input);
        guest.see_off_classic("r1").await;
    };
    let (Talk { end, out, .. }, ()) = tokio::join!(talk(vec![url], queue), script);
    assert_eq!(end, End::AllSent);
    assert!(out.contains("-- you were removed (Inactivity)\n"), "{out}");
}

#[tokio::test]
async fn the_first_address_that_answers_is_used() {
    let (_socket, gone_url) = nowhere();
    let (host, url) = Host::open().await;
    let script = async {
        let mut guest = host.guest().await;
        guest.discover(&["r1"]).await;
        guest.seat("r1").await;
        guest.see_off_classic("r1").await;
    };
    let (Talk { end, .. }, ()) = tokio::join!(talk(vec![gone_url, url], whole(&[])), script);
    assert_eq!(end, End::AllSent);
}

#[tokio::test]
async fn a_refusal_for_good_ends_it_and_shows_what_was_not_sent() {
    let (host, url) = Host::open().await;
    let script = async {
        let mut guest = host.guest().await;
        guest.discover(&["r1"]).await;
        guest.expect(&["join_room"]).await;
        guest.say(r#"{"type":"join_room_error","data":{"room_id":"r1","error":"Bad name","error_code":"INVALID_REQUEST"}}"#).await;
    };
    let (Talk { end, out, notices }, ()) = tokio::join!(talk(vec![url], whole(&["hello"])), script);
    assert_eq!(end, End::NoServer);
    assert_eq!(out, "!! no place in the room; not sent: hello\n");
    assert!(
        notices.contains("Bad name") && notices.ends_with("!! giving up\n"),
        "{notices}"
    );
}

#[tokio::test]
async fn a_server_that_is_nowhere_is_given_up_after_a_bounded_number_of_attempts() {
    let (_socket, url) = nowhere();
    let Talk { end, out, notices } = talk(vec![url], whole(&[])).await;
    assert_eq!((end, out.as_str()), (End::NoServer, ""));
    assert!(
        notices.ends_with("!! giving up\n") && notices.lines().count() < 30,
        "{notices}"
    );
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
        guest.discover(&["r1"]).await;
        guest.seat("r1").await;
    };
    let settings = host::settings(Dialect::Classic, &[url]);
    let (mut out, mut notices) = (Closed, io::sink());
    let (result, ()) = tokio::join!(chat(&settings, whole(&[]), &mut out, &mut notices), script);
    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}
