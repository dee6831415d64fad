//! Whole conversations against servers whose every word a test decides.

use chat_tui::chat::{End, chat};
use chat_tui::input::Input;
use chat_tui::settings::{Args, Settings};
use futures_util::{SinkExt, StreamExt};
use std::io::{self, Write};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_async};

struct Host {
    listener: TcpListener,
}

impl Host {
    async fn open() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("ws://{}", listener.local_addr().expect("a bound socket"));
        (Self { listener }, url)
    }

    async fn guest(&self) -> Guest {
        let (stream, _) = self.listener.accept().await.expect("a client");
        Guest {
            socket: accept_async(stream).await.expect("a handshake"),
        }
    }
}

struct Guest {
    socket: WebSocketStream<TcpStream>,
}

impl Guest {
    /// Waits for a request that contains all of `words`.
    async fn expect(&mut self, words: &[&str]) {
        loop {
            match self
                .socket
                .next()
                .await
                .expect("an open connection")
                .expect("a good frame")
            {
                Message::Text(text) => {
                    let missing: Vec<_> = words.iter().filter(|word| !text.contains(**word)).collect();
                    assert!(missing.is_empty(), "{text} lacks {missing:?}");
                    return;
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{words:?} expected, {other:?} came"),
            }
        }
    }

    async fn say(&mut self, text: &str) {
        self.socket
            .send(Message::Text(text.into()))
            .await
            .expect("an open connection");
    }

    async fn discover(&mut self, rooms: &[&str]) {
        self.expect(&["discover_rooms"]).await;
        let rooms: Vec<String> = rooms.iter().map(|id| format!(
            r#"{{"room_id":"{id}","room_name":"hall","description":null,"member_count":0,"admin_node":"n","creator_id":"c"}}"#
        )).collect();
        let total = rooms.len();
        let rooms = rooms.join(",");
        self.say(&format!(r#"{{"type":"global_rooms_list","data":{{"rooms":[{rooms}],"total_count":{total},"nodes_queried":[],"nodes_available":[],"nodes_unavailable":[]}}}}"#)).await;
    }

    async fn seat(&mut self, room: &str) {
        self.expect(&["join_room", room, "ines"]).await;
        self.say(&format!(r#"{{"type":"join_room_success","data":{{"room_id":"{room}","room_name":"hall","description":null,"members":["otto","ines"],"member_count":2,"admin_node":"n"}}}}"#)).await;
    }

    async fn message(&mut self, room: &str, seq: u64, username: &str, content: &str) {
        self.say(&format!(r#"{{"type":"new_message","data":{{"message_id":"m{seq}","room_id":"{room}","username":"{username}","content":"{content}","sequence_number":{seq},"timestamp":"2031-04-05T06:07:{seq:02}.000000+00:00"}}}}"#)).await;
    }

    async fn confirm(&mut self, room: &str, seq: u64) {
        self.say(&format!(r#"{{"type":"message_sent","data":{{"room_id":"{room}","message_id":"m{seq}","sequence_number":{seq},"timestamp":"t"}}}}"#)).await;
    }

    async fn see_off(&mut self, room: &str) {
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

fn settings(addresses: &[String]) -> Settings {
    let args = Args {
        plain: true,
        addresses: addresses.to_vec(),
        name: "ines".into(),
        room: "hall".into(),
    };
    let settings = Settings::new(args).expect("good arguments");
    Settings {
        jitter: || 0.0,
        ..settings
    }
}

async fn talk(addresses: Vec<String>, lines: mpsc::Receiver<Input>) -> (End, String) {
    let mut out = Vec::new();
    let end = chat(&settings(&addresses), lines, &mut out)
        .await
        .expect("memory can be written");
    (end, String::from_utf8(out).expect("text"))
}

/// An input that has these lines and then ends.
fn whole(lines: &[&str]) -> mpsc::Receiver<Input> {
    let (input, queue) = mpsc::channel(lines.len().max(1));
    lines
        .iter()
        .for_each(|line| input.try_send(Input::Line((*line).into())).expect("room for all"));
    queue
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
        guest.confirm("r1", 2).await;
        guest.expect(&["send_message", "more"]).await;
        guest
            .say(r#"{"type":"message_error","data":{"room_id":"r1","error":"No more","error_code":"NOT_MEMBER"}}"#)
            .await;
        guest.see_off("r1").await;
    };
    let ((end, out), ()) = tokio::join!(talk(vec![url], whole(&["ahoy", "more"])), script);
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
        guest.see_off("r9").await;
    };
    let ((end, out), ()) = tokio::join!(talk(vec![url], whole(&[])), script);
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
        guest.confirm("r1", 3).await;
        guest.see_off("r1").await;
    };
    let ((end, out), ()) = tokio::join!(talk(vec![first_url, second_url], whole(&["in doubt", "next"])), script);
    assert_eq!(end, End::NotAllSent);
    let expected = [
        "-- joined hall (2 members: ines, otto)",
        "[06:07:01] otto: earlier",
        "!! outcome unknown: in doubt",
        "-- connection lost: closed with 1012: node is restarting",
        "-- joined hall (2 members: ines, otto)",
        "[06:07:02] ines: in doubt",
        "[06:07:03] ines: next",
        "",
    ];
    assert_eq!(out, expected.join("\n"));
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
        let (end, out) = talk(vec![url.clone()], whole(&["in doubt"])).await;
        assert_eq!(end, End::NotAllSent);
        assert!(
            out.contains("!! outcome unknown: in doubt\n-- connection lost: "),
            "{out}"
        );
        let (end, out) = talk(vec![url], whole(&[])).await;
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
    let ((end, out), ()) = tokio::join!(talk(vec![url], queue), script);
    assert_eq!(end, End::NoServer);
    assert!(out.ends_with("!! the room was deleted\n!! giving up\n"), "{out}");
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
        guest.see_off("r1").await;
    };
    let ((end, out), ()) = tokio::join!(talk(vec![url], queue), script);
    assert_eq!(end, End::AllSent);
    assert!(out.contains("-- you were removed (Inactivity)\n"), "{out}");
}

#[tokio::test]
async fn the_first_address_that_answers_is_used() {
    let (gone, gone_url) = Host::open().await;
    drop(gone);
    let (host, url) = Host::open().await;
    let script = async {
        let mut guest = host.guest().await;
        guest.discover(&["r1"]).await;
        guest.seat("r1").await;
        guest.see_off("r1").await;
    };
    let ((end, _), ()) = tokio::join!(talk(vec![gone_url, url], whole(&[])), script);
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
    let ((end, out), ()) = tokio::join!(talk(vec![url], whole(&["hello"])), script);
    assert_eq!(end, End::NoServer);
    assert!(
        out.contains("Bad name") && out.contains("!! no place in the room; not sent: hello\n"),
        "{out}"
    );
}

#[tokio::test]
async fn a_server_that_is_nowhere_is_given_up_after_a_bounded_number_of_attempts() {
    let (gone, url) = Host::open().await;
    drop(gone);
    let (end, out) = talk(vec![url], whole(&[])).await;
    assert_eq!(end, End::NoServer);
    assert!(out.ends_with("!! giving up\n") && out.lines().count() < 30, "{out}");
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
    let settings = settings(&[url]);
    let (result, ()) = tokio::join!(chat(&settings, whole(&[]), Closed), script);
    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}
