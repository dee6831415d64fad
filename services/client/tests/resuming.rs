//! The resuming client against servers whose every word a test decides.

use chat_client::{AskError, Ended, ResumingClient, ResumingOptions, SendError, SessionEvent};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::future::Future;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

/// Longest wait for anything. Reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it happens in time")
}

struct Host {
    listener: TcpListener,
    url: String,
}

impl Host {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("ws://{}", listener.local_addr().expect("a bound socket"));
        Self { listener, url }
    }

    /// The next connection, before it said anything.
    async fn stranger(&self) -> Guest {
        let (stream, _) = soon(self.listener.accept()).await.expect("a client");
        Guest(accept_async(stream).await.expect("a handshake"))
    }

    /// The next connection, welcomed.
    async fn guest(&self) -> Guest {
        let mut guest = self.stranger().await;
        let hello = guest.hear().await;
        assert_eq!(hello["type"], "hello", "{hello}");
        guest
            .say(json!({"type": "welcome", "data": {"protocol": 2, "resume": "token"}}))
            .await;
        guest
    }
}

/// An address at which nobody listens, and nobody else can as long as the socket is there.
fn nowhere() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind("127.0.0.1:0".parse().expect("an address"))
        .expect("a free port");
    let url = format!("ws://{}", socket.local_addr().expect("a bound socket"));
    (socket, url)
}

struct Guest(WebSocketStream<TcpStream>);

impl Guest {
    async fn hear(&mut self) -> Value {
        loop {
            match soon(self.0.next())
                .await
                .expect("an open connection")
                .expect("a good frame")
            {
                Message::Text(text) => return serde_json::from_str(&text).expect("a request is JSON"),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("a request, not {other:?}"),
            }
        }
    }

    async fn say(&mut self, frame: Value) {
        let text = frame.to_string();
        self.0
            .send(Message::Text(text.into()))
            .await
            .expect("an open connection");
    }

    /// Hears a request of this kind, answers it, and gives what it said.
    async fn answer(&mut self, kind: &str, answer: &str, data: Value) -> Value {
        let request = self.hear().await;
        assert_eq!(request["type"], kind, "{request}");
        self.say(json!({"type": answer, "re": request["id"], "data": data}))
            .await;
        request["data"].clone()
    }

    async fn list(&mut self, rooms: &[(&str, &str)], next: Option<&str>) -> Value {
        let rooms: Vec<Value> = rooms
            .iter()
            .map(|(id, name)| {
                json!({"room_id": id, "room_name": name, "description": null, "member_count": 0,
                    "admin_node": "n", "creator_id": "c"})
            })
            .collect();
        let data = json!({"rooms": rooms, "total_count": 9, "next": next});
        self.answer("discover_rooms", "global_rooms_list", data).await
    }

    /// The code with which the client closes.
    async fn farewell(&mut self) -> u16 {
        match soon(self.0.next()).await {
            Some(Ok(Message::Close(Some(frame)))) => frame.code.into(),
            other => panic!("a close, not {other:?}"),
        }
    }
}

type Started = (ResumingClient, mpsc::Receiver<SessionEvent>, JoinHandle<Ended>);

fn start(addresses: &[&str]) -> Started {
    let addresses = addresses.iter().map(|&url| url.to_owned()).collect();
    ResumingClient::start(ResumingOptions {
        jitter: || 0.0,
        ..ResumingOptions::new(addresses, "ines")
    })
}

#[tokio::test]
async fn a_room_is_looked_for_page_by_page_and_not_made_again() {
    let host = Host::open().await;
    let (client, _events, _task) = start(&[&host.url]);
    let script = async {
        let mut guest = host.guest().await;
        let first = guest.list(&[("r1", "hallway")], Some("r1")).await;
        assert_eq!(first, json!({"name": "hall", "after": null}));
        let second = guest.list(&[("r2", "hall"), ("r3", "hall")], Some("r3")).await;
        assert_eq!(second, json!({"name": "hall", "after": "r1"}));
        guest
    };
    let (room, _guest) = tokio::join!(client.room_named("hall"), script);
    assert_eq!(room.as_deref(), Ok("r2"), "the lowest id of the right name");
}

#[tokio::test]
async fn a_room_whose_creation_was_not_answered_is_looked_for_first_and_made_with_the_same_id() {
    let host = Host::open().await;
    let (client, _events, _task) = start(&[&host.url]);
    let script = async {
        let mut guest = host.guest().await;
        guest.list(&[], None).await;
        let creation = guest.hear().await;
        assert_eq!(creation["data"]["room_name"], "hall", "{creation}");
        drop(guest);
        let mut guest = host.guest().await;
        guest.list(&[], None).await;
        let room = json!({"room_id": "r9", "room_name": "hall", "admin_node": "n", "members": [], "created_at": "t"});
        let again = guest.answer("create_room", "room_created", room).await;
        assert_eq!(again, creation["data"], "the same id gives the same room");
        guest
    };
    let (room, _guest) = tokio::join!(client.room_named("hall"), script);
    assert_eq!(room.as_deref(), Ok("r9"));
}

#[tokio::test]
async fn a_creation_that_somebody_else_was_faster_with_finds_that_room() {
    let host = Host::open().await;
    let (client, _events, _task) = start(&[&host.url]);
    let taken = || json!({"success": false, "message": "Room with name 'hall' already exists"});
    let script = async {
        let mut guest = host.guest().await;
        guest.list(&[], None).await;
        guest.answer("create_room", "room_created", taken()).await;
        guest.list(&[("r1", "hall")], None).await;
        // And if it is never found, that ends, too.
        for _ in 0..3 {
            guest.list(&[], None).await;
            guest.answer("create_room", "room_created", taken()).await;
        }
        guest
    };
    let asked = async { (client.room_named("hall").await, client.room_named("hall").await) };
    let ((found, refused), _guest) = tokio::join!(asked, script);
    assert_eq!(found.as_deref(), Ok("r1"));
    assert!(
        matches!(&refused, Err(AskError::Refused(why)) if why.text.contains("already exists")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_server_without_the_dialect_ends_the_session_and_says_why() {
    let host = Host::open().await;
    let (client, mut events, task) = start(&[&host.url]);
    let script = async {
        let mut guest = host.stranger().await;
        assert_eq!(guest.hear().await["type"], "hello");
        let refusal = json!({"type": "error", "data": {"success": false, "message": "Unknown message type: hello"}});
        guest.say(refusal).await;
        assert_eq!(guest.farewell().await, 1000);
    };
    let (room, ()) = tokio::join!(client.room_named("hall"), script);
    assert_eq!(room, Err(AskError::Ended));
    assert_eq!(events.recv().await, None);
    assert_eq!(
        soon(task).await.ok(),
        Some(Ended::Refused("Unknown message type: hello".into()))
    );
}

#[tokio::test]
async fn servers_that_are_nowhere_are_given_up_after_a_bounded_number_of_attempts() {
    let ((_one, one), (_two, two)) = (nowhere(), nowhere());
    let (client, mut events, task) = start(&[&one, &two]);
    assert_eq!(soon(client.send("r", "id", "hi")).await, Err(not_in_a_room()));
    let mut attempts = 0;
    while let Some(event) = soon(events.recv()).await {
        let SessionEvent::Reconnecting { why } = event else {
            panic!("nothing else happens: {event:?}");
        };
        assert!(why.starts_with([&one, &two][attempts % 2]), "{why}");
        attempts += 1;
    }
    assert_eq!(attempts, 2 * 16);
    let ended = soon(task).await;
    assert!(
        matches!(&ended, Ok(Ended::GaveUp(why)) if why.contains("unreachable")),
        "{ended:?}"
    );
    assert_eq!(client.leave("r").await, Err(AskError::Ended));
    assert_eq!(
        start(&[]).2.await.ok(),
        Some(Ended::GaveUp("there is no address".into()))
    );
}

fn not_in_a_room() -> SendError {
    SendError::Refused(chat_client::Refusal {
        code: "NOT_MEMBER".into(),
        text: "not in the room".into(),
    })
}

#[tokio::test]
async fn who_leaves_is_answered_and_the_last_client_says_goodbye() {
    let host = Host::open().await;
    let (client, mut events, task) = start(&[&host.url]);
    client.join("r", 0).await;
    let script = async {
        let mut guest = host.guest().await;
        let room = json!({"room_id": "r", "room_name": "hall", "members": ["ines"], "member_count": 1,
            "admin_node": "n", "gen": 1, "first_seq": 1, "resumed": false});
        guest.answer("join_room", "join_room_success", room).await;
        let left = json!({"room_id": "r", "username": "ines"});
        guest.answer("leave_room", "leave_room_success", left).await;
        assert_eq!(guest.farewell().await, 1000);
    };
    let leaving = async {
        assert!(matches!(soon(events.recv()).await, Some(SessionEvent::Joined { .. })));
        assert_eq!(client.leave("r").await, Ok(()));
        drop(client);
    };
    tokio::join!(leaving, script);
    assert_eq!(soon(task).await.ok(), Some(Ended::Dropped));
}

#[tokio::test]
async fn who_wants_no_more_events_ends_the_session_also_between_two_connections() {
    let host = Host::open().await;
    let (client, events, task) = start(&[&host.url]);
    let _guest = host.guest().await;
    drop(events);
    assert_eq!(soon(task).await.ok(), Some(Ended::Dropped));
    assert_eq!(client.discover_rooms("", None).await, Err(AskError::Ended));
    let (_socket, url) = nowhere();
    let options = ResumingOptions {
        persistent: true,
        jitter: || 1.0,
        ..ResumingOptions::new(vec![url], "ines")
    };
    let (_client, mut events, task) = ResumingClient::start(options);
    assert!(matches!(
        soon(events.recv()).await,
        Some(SessionEvent::Reconnecting { .. })
    ));
    drop(events);
    assert_eq!(soon(task).await.ok(), Some(Ended::Dropped));
}
