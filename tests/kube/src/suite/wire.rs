//! What the line client does not do: list rooms, delete one, and see numbers.

use super::{LONG, SHORT};
use chat_client::{ConnectOptions, Connection, RawConnection, RawFrame};
use serde_json::{Value as Json, json};
use std::thread::JoinHandle;
use tokio::time::timeout;

/// A message that was confirmed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Confirmed {
    /// In which room.
    pub(super) room_id: String,
    /// Its number there.
    pub(super) seq: u64,
}

/// The id of a room that the node at `url` administers, by its name.
pub(super) fn room_called(url: &str, name: &str) -> Result<String, String> {
    with(url, async |connection| {
        let rooms = connection.list_rooms().await.map_err(|why| why.to_string())?;
        let found = rooms.rooms.into_iter().find(|room| room.room_name == name);
        found
            .map(|room| room.room_id)
            .ok_or_else(|| format!("no room is called {name}"))
    })
}

/// Makes a room at the node at `url` and sends a message to it.
pub(super) fn first_in_a_new_room(url: &str, name: &str, user: &str) -> Result<Confirmed, String> {
    with(url, async |connection| {
        let created = connection.create_room(name, user, None).await;
        let room_id = created.map_err(|why| why.to_string())?.room_id;
        join_and_send(connection, room_id, user).await
    })
}

/// Joins a room through the node at `url` and sends a message to it.
pub(super) fn send_to(url: &str, room: &str, user: &str) -> Result<Confirmed, String> {
    with(url, async |connection| {
        join_and_send(connection, room.to_owned(), user).await
    })
}

async fn join_and_send(connection: &Connection, room_id: String, user: &str) -> Result<Confirmed, String> {
    let joined = connection.join(&room_id, user).await;
    joined.map_err(|why| format!("join: {why}"))?;
    let sent = connection.send(&room_id, user, "hello").await;
    let seq = sent.map_err(|why| format!("send: {why}"))?.seq;
    Ok(Confirmed { room_id, seq })
}

/// Does something on a connection of its own.
fn with<T>(url: &str, work: impl AsyncFnOnce(&Connection) -> Result<T, String>) -> Result<T, String> {
    let all = async {
        let connected = Connection::connect(url, &ConnectOptions::default()).await;
        // Events that nobody reads are dropped with their receiver.
        let (connection, _events) = connected.map_err(|why| format!("{url}: {why}"))?;
        work(&connection).await
    };
    runtime()?.block_on(async {
        timeout(SHORT, all)
            .await
            .map_err(|_| format!("{url} does not answer"))?
    })
}

/// Asks a node to delete a room. The kinds of what it answers, in order, until it says how that ended or that it cannot say.
pub(super) fn delete(url: String, room: &str, user: &str) -> JoinHandle<Result<Vec<String>, String>> {
    let request = json!({"type": "delete_room", "data": {"room_id": room, "username": user}}).to_string();
    std::thread::spawn(move || {
        runtime()?.block_on(async {
            let connected = RawConnection::connect(&url, &ConnectOptions::default()).await;
            let mut connection = connected.map_err(|why| why.to_string())?;
            let queued = connection.queue_text(request);
            queued.map_err(|why| format!("not sent: {why:?}"))?;
            timeout(LONG, answers(&mut connection))
                .await
                .map_err(|_| "the deletion has no end".to_owned())?
        })
    })
}

async fn answers(connection: &mut RawConnection) -> Result<Vec<String>, String> {
    let mut kinds = Vec::new();
    loop {
        let frame: Json = match connection.next().await {
            RawFrame::Text(text) => serde_json::from_str(text.as_str()).map_err(|why| why.to_string())?,
            RawFrame::Binary(_) => continue,
            RawFrame::Closed(closed) => return Err(format!("{closed} after {kinds:?}")),
        };
        match frame["type"].as_str() {
            Some("delete_room_success") => {
                kinds.push("delete_room_success".into());
                return Ok(kinds);
            }
            Some("delete_room_failed" | "error") => {
                kinds.push(frame.to_string());
                return Ok(kinds);
            }
            kind => kinds.push(kind.unwrap_or_default().to_owned()),
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|why| why.to_string())
}
