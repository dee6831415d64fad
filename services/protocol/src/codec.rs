//! JSON, and nothing but JSON: the only file that knows how frames are written.
//!
//! Reading goes through [`serde_json::Value`], because the classic dialect asks what a field *is* before it asks what it
//! says ("missing" means absent, null, empty, zero or false); of a request only what can mean something becomes one
//! (`codec/read.rs`). Writing is by hand into one buffer, in wire order.

use crate::client_frame::ClientFrame;
use crate::client_frame::RequestId;
use crate::ids::{InvalidText, NodeId, RoomId, RoomName, UserName};
use crate::limits::{MAX_CONTENT_CHARS, MAX_DESCRIPTION_CHARS, MAX_ID_BYTES, MAX_OUTBOUND_FRAME};
use crate::reject::{Code, Reject};
use crate::server_frame::{ExtendedFrame, Extra, History, MemberEvent, RoomInfo, RoomSummary, ServerFrame, Welcome};
use crate::{text, ws_frame};
use bytes::Bytes;
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::sync::Arc;

mod extended;
mod read;
mod write;

pub use extended::{ExtendedRequest, hello, parse_extended};
pub use write::{encode, encode_extended, push_json_string};

/// Parses one request of the classic dialect.
///
/// # Errors
/// The frame that answers the requester. Nobody else learns of it, and the connection lives.
pub fn parse(request: &str) -> Result<ClientFrame, ServerFrame> {
    let value = parse_value(request).ok_or_else(|| error("Invalid JSON format"))?;
    let Value::Object(mut envelope) = value else {
        return Err(error("A request must be a JSON object"));
    };
    let data = envelope.remove("data");
    match envelope.get("type").and_then(Value::as_str) {
        Some("list_rooms") => Ok(ClientFrame::ListRooms(None)),
        Some("discover_rooms") => Ok(ClientFrame::DiscoverRooms(None)),
        Some("create_room") => create_room(data),
        Some("join_room") => join_room(&fields(data)?),
        Some("leave_room") => leave_room(&fields(data)?),
        Some("send_message") => send_message(&fields(data)?),
        Some("delete_room") => delete_room(&fields(data)?),
        _ => Err(error(&format!(
            "Unknown message type: {}",
            unknown_type(envelope.get("type"))
        ))),
    }
}

/// JSON with one kindness: an escaped lone surrogate, which is valid JSON but no text, becomes a character that the
/// checks of names and contents refuse, so that the requester is told which field is wrong.
fn parse_value(request: &str) -> Option<Value> {
    let read = read::request(request);
    if read.is_none() && request.contains("\\u") {
        return read::request(&mark_lone_surrogates(request));
    }
    read
}

/// Replaces each `\uD8xx` without its partner, inside or outside of strings, by the escape of
/// [`text::LONE_SURROGATE_MARK`].
fn mark_lone_surrogates(request: &str) -> String {
    let unit_at = |at: usize| -> Option<u32> {
        let escape = request.as_bytes().get(at..at + 6)?;
        let hex = escape.strip_prefix(b"\\u")?;
        u32::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()
    };
    let mut out = String::with_capacity(request.len());
    let (mut at, mut copied) = (0, 0);
    while let Some(found) = request[at..].find('\\') {
        at += found;
        let lone = match (unit_at(at), unit_at(at + 6)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => {
                at += 12;
                continue;
            }
            (Some(0xD800..=0xDFFF), _) => true,
            _ => false,
        };
        if lone {
            out.push_str(&request[copied..at]);
            let _infallible = write!(out, "\\u{:04x}", u32::from(text::LONE_SURROGATE_MARK));
            at += 6;
            copied = at;
        } else {
            // Skip the escaped character too: the second backslash of `\\` begins nothing.
            at += 1 + request[at + 1..].chars().next().map_or(0, char::len_utf8);
        }
    }
    out.push_str(&request[copied..]);
    out
}

fn error(message: &str) -> ServerFrame {
    ServerFrame::Error(message.into())
}

/// How the answer names a type that does not exist: cut, because it comes from outside.
fn unknown_type(value: Option<&Value>) -> String {
    let shown = match value {
        None | Some(Value::Null) => "None".into(),
        Some(Value::String(s)) => s.clone(),
        Some(other) => other.to_string(),
    };
    text::prefix(&shown, MAX_ID_BYTES).into()
}

fn fields(data: Option<Value>) -> Result<Map<String, Value>, ServerFrame> {
    match data {
        None => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map),
        Some(_) => Err(error("data must be an object")),
    }
}

/// The original tests truthiness: all of these count as not given.
fn is_missing(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => true,
        Some(Value::String(s)) => s.is_empty(),
        Some(Value::Number(n)) => n.as_f64() == Some(0.0),
        Some(Value::Array(a)) => a.is_empty(),
        Some(Value::Object(o)) => o.is_empty(),
        Some(Value::Bool(true)) => false,
    }
}

/// A field as an answer repeats it: a string cut to the length of an id, or nothing.
fn echo(map: &Map<String, Value>, key: &str) -> String {
    let shown = map.get(key).and_then(Value::as_str).unwrap_or_default();
    text::prefix(shown, 4 * MAX_ID_BYTES)
        .chars()
        .filter(|c| !text::is_forbidden(*c))
        .collect()
}

fn describe(field: &str, why: InvalidText) -> Reject {
    Reject::InvalidField(format!("{field} {why}"))
}

fn string<'a>(map: &'a Map<String, Value>, field: &str) -> Result<&'a str, Reject> {
    map.get(field)
        .and_then(Value::as_str)
        .ok_or_else(|| Reject::InvalidField(format!("{field} must be a string")))
}

fn room_and_user(map: &Map<String, Value>) -> Result<(RoomId, UserName), Reject> {
    if is_missing(map.get("room_id")) || is_missing(map.get("username")) {
        return Err(Reject::MissingIds);
    }
    let (room_id, username) = (string(map, "room_id")?, string(map, "username")?);
    let username = UserName::parse(username).map_err(|why| describe("username", why))?;
    // Ids are made by nodes: a text that no node makes names no room.
    let room_id = RoomId::parse(room_id).map_err(|_| Reject::RoomNotFound)?;
    Ok((room_id, username))
}

fn create_room(data: Option<Value>) -> Result<ClientFrame, ServerFrame> {
    let map = match data {
        None => Map::new(),
        Some(Value::Object(map)) => map,
        Some(_) => return Err(ServerFrame::RoomNotCreated("Internal server error".into())),
    };
    if is_missing(map.get("room_name")) || is_missing(map.get("creator_id")) {
        return Err(ServerFrame::RoomNotCreated("Missing room_name or creator_id".into()));
    }
    let parsed = || -> Result<ClientFrame, Reject> {
        Ok(ClientFrame::CreateRoom {
            room_name: RoomName::parse(string(&map, "room_name")?).map_err(|why| describe("room_name", why))?,
            creator_id: UserName::parse(string(&map, "creator_id")?).map_err(|why| describe("creator_id", why))?,
            description: description(map.get("description"))?,
            request_id: None,
        })
    };
    parsed().map_err(|reject| ServerFrame::RoomNotCreated(reject.text()))
}

fn description(value: Option<&Value>) -> Result<Option<Arc<str>>, Reject> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(s)) if s.chars().nth(MAX_DESCRIPTION_CHARS).is_some() => {
            Err(describe("description", InvalidText::TooLong(MAX_DESCRIPTION_CHARS)))
        }
        Some(Value::String(s)) if text::first_forbidden(s).is_some() => {
            Err(describe("description", InvalidText::Forbidden))
        }
        Some(Value::String(s)) => Ok(Some(Arc::from(&*text::normalise_newlines(s)))),
        Some(_) => Err(Reject::InvalidField("description must be a string".into())),
    }
}

fn join_room(map: &Map<String, Value>) -> Result<ClientFrame, ServerFrame> {
    room_and_user(map)
        .map(|(room_id, username)| ClientFrame::JoinRoom {
            room_id,
            username,
            from: None,
            history: None,
        })
        .map_err(|reject| ServerFrame::JoinRoomError {
            room_id: echo(map, "room_id"),
            reject,
        })
}

fn leave_room(map: &Map<String, Value>) -> Result<ClientFrame, ServerFrame> {
    match room_and_user(map) {
        Ok((room_id, username)) => Ok(ClientFrame::LeaveRoom { room_id, username }),
        Err(Reject::MissingIds) => Err(error(&Reject::MissingIds.text())),
        // Whoever cannot be in the room has left it.
        Err(_) => Err(ServerFrame::LeaveRoomSuccess {
            room_id: echo(map, "room_id"),
            username: echo(map, "username"),
        }),
    }
}

fn send_message(map: &Map<String, Value>) -> Result<ClientFrame, ServerFrame> {
    // The order of the checks is part of the protocol: ids given, then content, then membership (which the room knows).
    let parsed = || -> Result<ClientFrame, Reject> {
        if is_missing(map.get("room_id")) || is_missing(map.get("username")) {
            return Err(Reject::MissingIds);
        }
        let content = content(map.get("content"))?;
        let (room_id, username) = room_and_user(map).map_err(|reject| match reject {
            // A text that names no room names none that this connection is in.
            Reject::RoomNotFound => Reject::NotMember,
            other => other,
        })?;
        Ok(ClientFrame::SendMessage {
            room_id,
            username,
            content,
            client_msg_id: None,
            trace: None,
        })
    };
    parsed().map_err(|reject| ServerFrame::MessageError {
        room_id: echo(map, "room_id"),
        reject,
    })
}

fn content(value: Option<&Value>) -> Result<Arc<str>, Reject> {
    if is_missing(value) {
        return Err(Reject::EmptyContent);
    }
    let Some(Value::String(content)) = value else {
        return Err(Reject::InvalidContent("Message content must be a string".into()));
    };
    if content.chars().nth(MAX_CONTENT_CHARS).is_some() {
        return Err(Reject::ContentTooLong);
    }
    if text::first_forbidden(content).is_some() {
        return Err(Reject::InvalidContent(
            "Message content contains forbidden characters".into(),
        ));
    }
    Ok(Arc::from(&*text::normalise_newlines(content)))
}

fn delete_room(map: &Map<String, Value>) -> Result<ClientFrame, ServerFrame> {
    room_and_user(map)
        .map(|(room_id, username)| ClientFrame::DeleteRoom { room_id, username })
        .map_err(|reject| ServerFrame::DeleteRoomFailed {
            room_id: echo(map, "room_id"),
            reject,
            transaction: None,
        })
}
