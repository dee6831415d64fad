//! Whole runs of `endure` against a server that speaks the extended dialect and lies: each lie is found out.

// A test says enough by failing at the line.
#![allow(clippy::unwrap_used)]

use chat_load::CannotRun;
use chat_load::args::{Cli, Command, Dialect};
use chat_load::endure::Endurance;
use chat_load::endure::checker::Room;
use chat_load::endure::crowd::{Crowd, Member};
use chat_load::endure::plan::Plan;
use chat_load::endure::report::{Report, Verdict};
use clap::Parser;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

/// Longest wait for anything. Reaching it is a failure, so it is generous.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the server does with every tenth message, or on some other occasion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    None,
    /// It is acknowledged and shown to nobody.
    Lost,
    /// It is in the room twice.
    Doubled,
    /// Its sender is told the number of the message before it.
    Misnumbered,
    /// It is shown with another content.
    Changed,
    /// It is not shown to one member.
    Hidden,
    /// It makes the server say that its sender had left.
    Gone,
    /// Logs are not shown any more.
    Silent,
    /// It is not answered.
    Unanswered,
    /// The dialect is not spoken.
    Classic,
}

type Outbox = mpsc::Sender<Value>;

struct Server {
    lie: Lie,
    url: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sends: u64,
    /// What the only room holds, as data of `new_message`.
    log: Vec<Value>,
    members: Vec<(String, Outbox)>,
}

impl Server {
    async fn start(lie: Lie) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Arc::new(Self {
            lie,
            url: format!("ws://{}", listener.local_addr().unwrap()),
            state: Mutex::default(),
        });
        let serving = Arc::clone(&server);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                tokio::spawn(Arc::clone(&serving).attend(stream));
            }
        });
        server
    }

    /// Waits until it was sent so many messages.
    async fn was_sent(&self, count: u64) {
        let enough = async {
            while self.state.lock().unwrap().sends < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, enough).await.expect("the sessions send");
    }

    async fn attend(self: Arc<Self>, stream: TcpStream) {
        let (mut write, mut read) = accept_async(stream).await.unwrap().split();
        let (outbox, mut waiting) = mpsc::channel::<Value>(10_000);
        tokio::spawn(async move {
            while let Some(frame) = waiting.recv().await {
                if write.send(Message::text(text(&frame))).await.is_err() {
                    return;
                }
            }
        });
        let mut user = String::new();
        while let Some(Ok(message)) = read.next().await {
            let Message::Text(text) = message else { continue };
            let frame: Value = serde_json::from_str(&text).unwrap();
            if frame["type"] == "hello" {
                user = frame["data"]["user"].as_str().unwrap().to_owned();
            }
            if let Some(mut answer) = self.answer(&user, &outbox, &frame) {
                answer["re"] = frame["id"].clone();
                outbox.try_send(answer).unwrap();
            }
        }
        self.state
            .lock()
            .unwrap()
            .members
            .retain(|(_, other)| !other.same_channel(&outbox));
    }

    fn answer(&self, user: &str, outbox: &Outbox, frame: &Value) -> Option<Value> {
        let mut state = self.state.lock().unwrap();
        let head = state.log.len();
        Some(match frame["type"].as_str().unwrap() {
            "create_room" => json!({"type": "room_created", "data":
                {"room_id": "r", "room_name": "n", "admin_node": "a", "members": [], "created_at": "t"}}),
            "hello" if self.lie == Lie::Classic => {
                json!({"type": "error", "data": {"success": false, "message": "Unknown message type: hello"}})
            }
            "hello" => json!({"type": "welcome", "data": {"protocol": 2, "resume": user}}),
            "leave_room" => json!({"type": "leave_room_success", "data": {}}),
            "read_history" if self.lie == Lie::Silent && head >= 10 => {
                json!({"type": "error", "data": {"error_code": "ADMIN_NODE_UNAVAILABLE"}})
            }
            "read_history" => {
                let after = usize::try_from(frame["data"]["after_seq"].as_u64().unwrap()).unwrap();
                let messages = state.log.get(after..).unwrap_or_default();
                json!({"type": "history", "data": {"messages": messages, "more": false, "stale": false}})
            }
            "join_room" => {
                let known = frame["data"]["from"]["seq"].as_u64();
                let answer = json!({"type": "join_room_success", "re": frame["id"], "data":
                    {"room_id": "r", "room_name": "r", "members": [user], "member_count": 1, "admin_node": "n",
                     "gen": 1, "first_seq": known.unwrap_or(0) + 1, "resumed": known.is_some()}});
                outbox.try_send(answer).unwrap();
                if user != "checker" {
                    let missed = state.log.iter().skip(usize::try_from(known.unwrap_or(0)).unwrap());
                    missed.for_each(|data| show(outbox, data));
                    state.members.push((user.to_owned(), outbox.clone()));
                    return None;
                }
                return None;
            }
            "send_message" => return self.send(&mut state, user, &frame["data"]["content"]),
            other => panic!("{other}"),
        })
    }

    fn send(&self, state: &mut State, user: &str, content: &Value) -> Option<Value> {
        state.sends += 1;
        let lie = if state.sends.is_multiple_of(10) {
            self.lie
        } else {
            Lie::None
        };
        let copies = match lie {
            Lie::Lost => 0,
            Lie::Doubled => 2,
            _ => 1,
        };
        let message_id = format!("m{}", state.sends);
        for _ in 0..copies {
            let seq = state.log.len() + 1;
            let data = json!({"message_id": message_id, "room_id": "r", "username": user,
                "content": content, "sequence_number": seq, "timestamp": "t"});
            state.log.push(data.clone());
            let mut shown = data;
            if lie == Lie::Changed {
                shown["content"] = "nonsense".into();
            }
            let left_out = usize::from(lie == Lie::Hidden);
            state
                .members
                .iter()
                .skip(left_out)
                .for_each(|(_, member)| show(member, &shown));
            if lie == Lie::Gone {
                let left = json!({"type": "member_left", "data": {"room_id": "r", "username": user, "member_count": 1,
                    "timestamp": "t", "reason": "User disconnected"}});
                state
                    .members
                    .iter()
                    .for_each(|(_, member)| drop(member.try_send(left.clone())));
            }
        }
        let seq = state.log.len() - usize::from(lie == Lie::Misnumbered) + usize::from(lie == Lie::Lost);
        let sent = json!({"type": "message_sent", "data":
            {"sequence_number": seq, "message_id": message_id, "duplicate": false}});
        (lie != Lie::Unanswered).then_some(sent)
    }
}

/// The type first, as every server writes it.
fn text(frame: &Value) -> String {
    let (kind, re, data) = (&frame["type"], &frame["re"], &frame["data"]);
    format!(r#"{{"type":{kind},"re":{re},"data":{data}}}"#)
}

fn show(member: &Outbox, data: &Value) {
    // Whoever is gone is not shown anything.
    drop(member.try_send(json!({"type": "new_message", "data": data})));
}

async fn endure(lie: Lie) -> Result<Report, CannotRun> {
    let server = Server::start(lie).await;
    // What never comes is not waited for.
    let patience = if matches!(lie, Lie::Silent | Lie::Unanswered) {
        0.2
    } else {
        20.0
    };
    let line = format!(
        "chat-load endure --target {} --rooms 1 --members 2 --dialect extended --pace 1 --patience {patience}",
        server.url
    );
    let Command::Endure(args) = Cli::parse_from(line.split_whitespace()).command else {
        panic!("not endure")
    };
    let mut run = Endurance::start(Plan::new(&args).unwrap()).await?;
    // With two senders, of which each waits for its answers, no more are certain to come.
    run.hold(server.was_sent(20), |_| {}).await;
    Ok(run.finish().await)
}

async fn found(lie: Lie) -> Report {
    endure(lie).await.unwrap()
}

#[tokio::test]
async fn an_honest_server_keeps_all_promises() {
    let report = found(Lie::None).await;
    assert_eq!(report.verdict, Verdict::Kept, "{}", report.to_text());
    assert_eq!(report.acknowledged, report.rooms[0].messages);
    assert_eq!(report.delivered, 2 * report.acknowledged);
}

#[tokio::test]
async fn each_lie_is_found_out() {
    for (lie, words) in [
        (Lie::Lost, "lost: "),
        (Lie::Doubled, "doubled: "),
        (Lie::Misnumbered, "lost: "),
        (Lie::Changed, "was shown nonsense as number"),
        (Lie::Hidden, "was sent"),
        (Lie::Gone, "is out of room 0: User disconnected"),
        (Lie::Unanswered, "sends are not answered"),
    ] {
        let report = found(lie).await;
        assert_eq!(report.verdict, Verdict::Broken, "{lie:?}: {}", report.to_text());
        let told = report.broken.first.iter().any(|what| what.contains(words));
        assert!(told, "{lie:?} told as {words}: {}", report.to_text());
    }
}

#[tokio::test]
async fn a_log_that_cannot_be_read_leaves_the_promises_undecided() {
    let report = found(Lie::Silent).await;
    assert_eq!(report.verdict, Verdict::Undecided, "{}", report.to_text());
    assert!(
        report.undecided[0].contains("ADMIN_NODE_UNAVAILABLE"),
        "{:?}",
        report.undecided
    );
}

#[tokio::test]
async fn a_run_that_cannot_be_compared_does_not_begin() {
    let why = endure(Lie::Classic).await.unwrap_err();
    assert!(why.0.contains("does not speak the extended dialect"), "{why}");
}

#[tokio::test]
async fn what_everybody_has_is_forgotten_while_the_load_goes_on() {
    let server = Server::start(Lie::None).await;
    let member = |name: &str| Member {
        name: name.into(),
        dialect: Dialect::Extended,
        home: 0,
        sends: true,
    };
    let members = vec![member("ines"), member("otto")];
    let crowd = Crowd::start(
        std::slice::from_ref(&server.url),
        &["r".into()],
        members,
        Duration::ZERO,
    );
    let mut room = Room::new("r");
    crowd.resume();
    // A classic session that joins may begin a thousand messages back.
    server.was_sent(1_100).await;
    while room.at(1).is_some() || room.head() < 1_001 {
        assert_eq!(crowd.compare(0, &mut room).await.unwrap(), []);
    }
    assert!(room.at(room.head() - 900).is_some());
    crowd.pause();
    timeout(PATIENCE, crowd.settled()).await.unwrap();
    assert_eq!(crowd.compare_all(0, &mut room, PATIENCE).await.unwrap(), []);
    let sent = server.state.lock().unwrap().sends;
    assert_eq!((crowd.totals(), room.head()), ((sent, 2 * sent), sent));
}
