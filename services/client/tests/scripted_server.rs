//! The typed connection against a server whose every word a test decides.

use chat_client::{ConnectError, ConnectOptions, Connection, Event, Events, RawConnection, RawFrame, RequestError};
use futures_util::{SinkExt, StreamExt};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_async};

struct Server {
    socket: WebSocketStream<TcpStream>,
}

impl Server {
    async fn hear(&mut self) -> String {
        loop {
            if let Message::Text(text) = self
                .socket
                .next()
                .await
                .expect("an open connection")
                .expect("a good frame")
            {
                return text.as_str().to_owned();
            }
        }
    }

    async fn say(&mut self, text: &str) {
        self.socket
            .send(Message::Text(text.into()))
            .await
            .expect("an open connection");
    }
}

async fn pair_with(options: &ConnectOptions) -> (Connection, Events, Server) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("ws://{}/any/path", listener.local_addr().expect("a bound socket"));
    let accepted = async {
        accept_async(listener.accept().await.expect("a client").0)
            .await
            .expect("a handshake")
    };
    let (connected, socket) = tokio::join!(Connection::connect(&url, options), accepted);
    let (connection, events) = connected.expect("a connection");
    (connection, events, Server { socket })
}

async fn pair() -> (Connection, Events, Server) {
    pair_with(&ConnectOptions::default()).await
}

fn message(seq: u64) -> String {
    format!(
        r#"{{"type":"new_message","data":{{"message_id":"m{seq}","room_id":"r","username":"u","content":"c","sequence_number":{seq},"timestamp":"t"}}}}"#
    )
}

fn sent(seq: u64) -> String {
    format!(
        r#"{{"type":"message_sent","data":{{"room_id":"r","message_id":"m{seq}","sequence_number":{seq},"timestamp":"t"}}}}"#
    )
}

const REFUSED: &str = r#"{"type":"message_error","data":{"room_id":"r","error":"no","error_code":"NOT_MEMBER"}}"#;

#[tokio::test]
async fn pipelined_sends_get_their_answers_in_order_and_events_come_between() {
    let (connection, mut events, mut server) = pair().await;
    let script = async {
        for word in ["one", "two", "three"] {
            assert!(server.hear().await.contains(word));
        }
        for text in [&message(1), &sent(1), REFUSED, &message(2), &sent(2)] {
            server.say(text).await;
        }
    };
    let sends = async {
        tokio::join!(
            connection.send("r", "u", "one"),
            connection.send("r", "u", "two"),
            connection.send("r", "u", "three")
        )
    };
    let ((first, second, third), ()) = tokio::join!(sends, script);
    assert_eq!(first.map(|s| s.seq), Ok(1));
    assert_eq!(
        second,
        Err(RequestError::Refused {
            code: "NOT_MEMBER".into(),
            text: "no".into()
        })
    );
    assert_eq!(third.map(|s| s.seq), Ok(2));
    for seq in [1, 2] {
        assert!(matches!(events.next().await, Some(Event::NewMessage(m)) if m.seq == seq));
    }
}

#[tokio::test]
async fn the_end_reaches_those_who_ask_and_those_who_listen() {
    let (connection, mut events, mut server) = pair().await;
    let script = async {
        server.hear().await;
        server.say(&message(1)).await;
        let frame = CloseFrame {
            code: 1012.into(),
            reason: "node is restarting".into(),
        };
        server.socket.close(Some(frame)).await.unwrap();
    };
    let (answer, ()) = tokio::join!(connection.list_rooms(), script);
    assert_eq!(answer, Err(RequestError::Closed(Some(1012))));
    assert!(matches!(events.next().await, Some(Event::NewMessage(_))));
    assert!(matches!(events.next().await, Some(Event::Closed(c)) if c.code == Some(1012)));
    assert_eq!(events.next().await, None);
    assert_eq!(
        connection.send("r", "u", "late").await,
        Err(RequestError::Closed(Some(1012)))
    );
}

#[tokio::test]
async fn a_broken_connection_has_no_code() {
    let (connection, mut events, server) = pair().await;
    drop(server);
    assert!(matches!(events.next().await, Some(Event::Closed(c)) if c.code.is_none()));
    assert_eq!(connection.discover_rooms().await, Err(RequestError::Closed(None)));
}

#[tokio::test]
async fn silence_ends_in_a_timeout_and_the_late_answer_is_not_mixed_up() {
    let options = ConnectOptions {
        answer_deadline: Duration::from_millis(500),
        ..ConnectOptions::default()
    };
    let (connection, _events, mut server) = pair_with(&options).await;
    assert_eq!(connection.send("r", "u", "one").await, Err(RequestError::Timeout));
    let script = async {
        server.hear().await;
        server.hear().await;
        server.say(&sent(1)).await;
        server.say(&sent(2)).await;
    };
    let (second, ()) = tokio::join!(connection.send("r", "u", "two"), script);
    assert_eq!(second.map(|s| s.seq), Ok(2));
}

#[tokio::test]
async fn full_events_stop_the_reading_until_one_is_taken() {
    let options = ConnectOptions {
        event_capacity: 2,
        ..ConnectOptions::default()
    };
    let (connection, mut events, mut server) = pair_with(&options).await;
    for seq in 1..=4 {
        server.say(&message(seq)).await;
    }
    let script = async {
        server.hear().await;
        server.say(&sent(5)).await;
        for seq in 1..=4 {
            assert!(matches!(events.next().await, Some(Event::NewMessage(m)) if m.seq == seq));
        }
    };
    let (answer, ()) = tokio::join!(connection.send("r", "u", "five"), script);
    assert_eq!(answer.map(|s| s.seq), Ok(5));
}

#[tokio::test]
async fn who_does_not_listen_is_still_answered() {
    let options = ConnectOptions {
        event_capacity: 1,
        ..ConnectOptions::default()
    };
    let (connection, events, mut server) = pair_with(&options).await;
    drop(events);
    let script = async {
        server.hear().await;
        for seq in 1..=3 {
            server.say(&message(seq)).await;
        }
        server.say(&sent(3)).await;
    };
    let (answer, ()) = tokio::join!(connection.send("r", "u", "c"), script);
    assert_eq!(answer.map(|s| s.seq), Ok(3));
}

#[tokio::test]
async fn a_server_that_ignores_pings_counts_as_gone() {
    let options = ConnectOptions {
        ping_every: Some(Duration::from_millis(10)),
        ..ConnectOptions::default()
    };
    let (_connection, mut events, _server_that_never_reads) = pair_with(&options).await;
    assert!(matches!(events.next().await, Some(Event::Closed(c)) if c.reason.contains("ping")));
}

#[tokio::test]
async fn dropping_the_last_handle_says_goodbye() {
    let (connection, _events, mut server) = pair().await;
    drop(connection);
    let last = server.socket.next().await.unwrap().unwrap();
    assert!(matches!(last, Message::Close(Some(frame)) if u16::from(frame.code) == 1000));
}

#[tokio::test]
async fn an_abort_says_nothing() {
    let (connection, mut events, mut server) = pair().await;
    connection.abort().await;
    assert!(matches!(events.next().await, Some(Event::Closed(_))));
    assert!(!matches!(server.socket.next().await, Some(Ok(_))));
}

#[tokio::test]
async fn raw_frames_of_any_kind_can_be_said() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let script = async {
        let mut server = Server {
            socket: accept_async(listener.accept().await.unwrap().0).await.unwrap(),
        };
        assert_eq!(server.hear().await, "{not json");
        server.say("what?").await;
        assert_eq!(
            server.socket.next().await.unwrap().unwrap(),
            Message::Binary(vec![1, 2].into())
        );
        let close = server.socket.next().await.unwrap().unwrap();
        assert!(matches!(&close, Message::Close(Some(frame)) if u16::from(frame.code) == 3999));
        while server.socket.next().await.is_some() {}
    };
    let client = async {
        let mut raw = RawConnection::connect(&url, &ConnectOptions::default()).await.unwrap();
        assert_eq!(
            raw.request_text("{not json", Duration::from_secs(5)).await,
            Ok("what?".into())
        );
        raw.queue_binary(vec![1, 2]).unwrap();
        raw.queue_close(3999, "bye").unwrap();
        assert!(matches!(raw.next().await, RawFrame::Closed(c) if c.code == Some(3999)));
    };
    tokio::join!(script, client);
}

#[tokio::test]
async fn an_address_that_cannot_work_is_refused_with_a_reason() {
    let options = ConnectOptions {
        connect_deadline: Duration::from_millis(100),
        ..ConnectOptions::default()
    };
    for url in ["", "nonsense", "http://127.0.0.1:1", "wss://127.0.0.1:1"] {
        let result = RawConnection::connect(url, &options).await;
        assert!(matches!(result, Err(ConnectError::BadAddress(_))), "{url}: {result:?}");
    }
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", silent.local_addr().unwrap());
    assert!(matches!(
        RawConnection::connect(&url, &options).await,
        Err(ConnectError::TimedOut)
    ));
    drop(silent);
    assert!(matches!(
        RawConnection::connect(&url, &options).await,
        Err(ConnectError::Unreachable(_))
    ));
}
