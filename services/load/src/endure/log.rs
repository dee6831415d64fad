//! What a room holds, read by a session of its own.

use super::checker::Seen;
use super::crowd::{AGAIN, connect_options};
use chat_client::{Connection, RawConnection, RawFrame, request};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Longest wait for what one target holds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Creates a room and gives its id.
///
/// # Errors
/// The target did not.
pub async fn create_room(target: &str, name: &str, creator: &str) -> Result<String, String> {
    let (connection, _events) = Connection::connect(target, &connect_options())
        .await
        .map_err(|why| why.to_string())?;
    let created = connection.create_room(name, creator, None).await;
    created.map(|created| created.room_id).map_err(|why| why.to_string())
}

/// The messages of a room after a number, asked of the targets in turn until one answers. Cancel safe.
///
/// # Errors
/// None did; this is what the last one said.
pub(super) async fn read(targets: &[String], room: &str, after: u64) -> Result<Vec<Seen>, String> {
    let mut last = String::new();
    for target in targets {
        match timeout(PATIENCE, read_at(target, room, after)).await {
            Ok(Ok(log)) => return Ok(log),
            Ok(Err(why)) => last = format!("{target}: {why}"),
            Err(_) => last = format!("{target} does not answer"),
        }
    }
    Err(last)
}

/// The same, tried again for a while.
///
/// # Errors
/// As [`read`], after `within`.
pub(super) async fn read_within(
    targets: &[String],
    room: &str,
    after: u64,
    within: Duration,
) -> Result<Vec<Seen>, String> {
    let deadline = Instant::now() + within;
    loop {
        match read(targets, room, after).await {
            Ok(log) => return Ok(log),
            Err(why) if Instant::now() > deadline => {
                return Err(format!("the log of {room} cannot be read within {within:?}: {why}"));
            }
            Err(_) => sleep(AGAIN).await,
        }
    }
}

async fn read_at(target: &str, room: &str, mut after: u64) -> Result<Vec<Seen>, String> {
    let mut raw = RawConnection::connect(target, &connect_options())
        .await
        .map_err(|why| why.to_string())?;
    let welcome = raw.request_text(&request::hello("checker"), PATIENCE).await;
    if request::type_of(&welcome.map_err(|why| why.to_string())?) != "welcome" {
        return Err("it does not speak the extended dialect, in which a log is read".into());
    }
    ask(&mut raw, "join_room", json!({"room_id": room, "history": 0})).await?;
    let mut log = Vec::new();
    loop {
        let page = ask(&mut raw, "read_history", json!({"room_id": room, "after_seq": after})).await?;
        let data = &page["data"];
        if data["stale"] != false {
            return Err(format!("no fresh history: {page}"));
        }
        for message in data["messages"].as_array().ok_or("no messages")? {
            let text = |field: &str| message[field].as_str().unwrap_or_default().to_owned();
            let seq = message["sequence_number"].as_u64().unwrap_or_default();
            after = seq;
            log.push(Seen {
                seq,
                message_id: text("message_id"),
                content: text("content"),
            });
        }
        if data["more"] != true {
            ask(&mut raw, "leave_room", json!({"room_id": room})).await?;
            return Ok(log);
        }
    }
}

/// Sends a request and gives its answer; whatever else comes is dropped.
async fn ask(raw: &mut RawConnection, kind: &str, data: Value) -> Result<Value, String> {
    raw.queue_text(json!({"type": kind, "id": kind, "data": data}).to_string())
        .map_err(|_| "closed")?;
    loop {
        match raw.next().await {
            RawFrame::Text(text) if request::type_of(&text) != "new_message" => {
                let frame: Value = serde_json::from_str(&text).map_err(|why| why.to_string())?;
                if frame["re"] == kind {
                    let answer = &frame["data"];
                    return match frame["type"].as_str() {
                        Some("join_room_error" | "error") => {
                            let words = answer.get("error").or(answer.get("message")).unwrap_or(&Value::Null);
                            Err(format!("{kind} is refused: {} {words}", answer["error_code"]))
                        }
                        _ => Ok(frame),
                    };
                }
            }
            RawFrame::Closed(closed) => return Err(closed.to_string()),
            _ => {}
        }
    }
}
