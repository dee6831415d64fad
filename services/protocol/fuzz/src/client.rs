//! Frames of clients.

use chat_protocol::client_frame::{ClientFrame, Hello, HistoryFrom, ListPage, RequestId};
use chat_protocol::codec;
use chat_protocol::ids::UserName;
use chat_protocol::limits::{
    EXTENDED_HISTORY, MAX_CLIENT_CHARS, MAX_CLIENT_MSG_ID_BYTES, MAX_CONTENT_CHARS, MAX_DESCRIPTION_CHARS,
    MAX_HISTORY_PAGE, MAX_ID_BYTES, MAX_INBOUND_FRAME, MAX_LIST_PAGE, MAX_NAME_CHARS, MAX_REQUEST_ID_CHARS, MAX_SEQ,
};
use chat_protocol::server_frame::{ExtendedFrame, Extra};
use chat_protocol::{text, ws_frame};
use serde_json::{Map, Value, json};

/// Longest refusal in bytes of JSON: it repeats at most two ids of 512 bytes, each of which may be escaped.
const LONGEST_REFUSAL: usize = 4_096;

/// A frame of a connection that speaks the classic dialect.
pub fn classic_frame(bytes: &[u8]) {
    let Some(request) = readable(bytes) else { return };
    match codec::parse(request) {
        Ok(frame) => {
            within_limits(&frame);
            let again = written(&frame).to_string();
            assert_eq!(codec::parse(&again), Ok(frame), "written as {again}");
        }
        Err(refusal) => {
            brief(ws_frame::payload(&codec::encode(&refusal)));
        }
    }
}

/// The first and the second frame of a connection that may speak the extended dialect.
pub fn extended_frame(bytes: &[u8]) {
    let Some(request) = readable(bytes) else { return };
    match codec::hello(request) {
        None => {}
        Some(Ok(hello)) => {
            named(hello.user.as_str());
            for text in [&hello.client, &hello.resume].into_iter().flatten() {
                sayable(text, MAX_CLIENT_CHARS);
            }
            let again = written_hello(&hello).to_string();
            assert_eq!(codec::hello(&again), Some(Ok(hello)), "written as {again}");
        }
        Some(Err(refusal)) => {
            brief(ws_frame::payload(&codec::encode(&refusal)));
        }
    }
    let user = UserName::parse("ines").expect("a valid name");
    let parsed = codec::parse_extended(request, &user);
    if let Some(RequestId::Text(id)) = &parsed.id {
        sayable(id, MAX_REQUEST_ID_CHARS);
    }
    match &parsed.frame {
        Ok(frame) => {
            within_limits(frame);
            if let Some(name) = speaker(frame) {
                assert_eq!(name, &user, "nobody speaks for another");
            }
            let mut request = written(frame);
            if let Some(id) = &parsed.id {
                request["id"] = id_as_json(id);
            }
            let again = request.to_string();
            assert_eq!(codec::parse_extended(&again, &user), parsed, "written as {again}");
        }
        Err(refusal) => {
            let frame = ExtendedFrame {
                re: parsed.id.as_ref(),
                frame: refusal,
                extra: &Extra::None,
            };
            let answer = brief(ws_frame::payload(&codec::encode_extended(frame)));
            assert_eq!(answer.get("re"), parsed.id.as_ref().map(id_as_json).as_ref());
        }
    }
}

fn readable(bytes: &[u8]) -> Option<&str> {
    // The WebSocket layer lets nothing else pass.
    std::str::from_utf8(bytes.get(..MAX_INBOUND_FRAME).unwrap_or(bytes)).ok()
}

/// A refusal says little, and says it as JSON.
fn brief(payload: &[u8]) -> Map<String, Value> {
    assert!(payload.len() <= LONGEST_REFUSAL, "{} bytes", payload.len());
    match serde_json::from_slice(payload) {
        Ok(Value::Object(answer)) if answer["type"].is_string() && answer["data"].is_object() => answer,
        other => panic!("a refusal is {other:?}"),
    }
}

fn sayable(said: &str, most: usize) {
    assert!(said.chars().count() <= most);
    assert_eq!(text::first_forbidden(said), None);
}

fn normalised(said: &str, most: usize) {
    sayable(said, most);
    assert!(!said.contains('\r'));
}

fn named(name: &str) {
    assert!(!name.is_empty());
    normalised(name, MAX_NAME_CHARS);
}

fn identified(id: &str) {
    assert!(!id.is_empty() && id.len() <= MAX_ID_BYTES);
    normalised(id, MAX_ID_BYTES);
}

fn repeatable(id: &str) {
    assert!((1..=MAX_CLIENT_MSG_ID_BYTES).contains(&id.len()));
    assert!(id.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
}

fn listed(page: &ListPage) {
    assert!(page.limit.is_none_or(|limit| (1..=MAX_LIST_PAGE).contains(&limit)));
    for text in [&page.after, &page.name].into_iter().flatten() {
        sayable(text, MAX_ID_BYTES);
    }
}

fn speaker(frame: &ClientFrame) -> Option<&UserName> {
    match frame {
        ClientFrame::CreateRoom { creator_id, .. } => Some(creator_id),
        ClientFrame::JoinRoom { username, .. } | ClientFrame::SendMessage { username, .. } => Some(username),
        // These are refused by the room: the connection is not in it under another name.
        ClientFrame::LeaveRoom { .. } | ClientFrame::DeleteRoom { .. } => None,
        ClientFrame::ListRooms(_) | ClientFrame::DiscoverRooms(_) | ClientFrame::ReadHistory { .. } => None,
    }
}

fn within_limits(frame: &ClientFrame) {
    match frame {
        ClientFrame::ListRooms(page) | ClientFrame::DiscoverRooms(page) => page.iter().for_each(listed),
        ClientFrame::CreateRoom {
            room_name,
            creator_id,
            description,
            request_id,
        } => {
            named(room_name.as_str());
            named(creator_id.as_str());
            description
                .iter()
                .for_each(|text| normalised(text, MAX_DESCRIPTION_CHARS));
            request_id.iter().for_each(|id| repeatable(id.as_str()));
        }
        ClientFrame::JoinRoom {
            room_id,
            username,
            from,
            history,
        } => {
            identified(room_id.as_str());
            named(username.as_str());
            assert!(from.is_none_or(|from| from.seq.0 <= MAX_SEQ + 1));
            assert!(history.is_none_or(|history| history <= EXTENDED_HISTORY));
        }
        ClientFrame::LeaveRoom { room_id, username } | ClientFrame::DeleteRoom { room_id, username } => {
            identified(room_id.as_str());
            named(username.as_str());
        }
        ClientFrame::SendMessage {
            room_id,
            username,
            content,
            client_msg_id,
            // Any is as good as another.
            trace: _,
        } => {
            identified(room_id.as_str());
            named(username.as_str());
            assert!(!content.is_empty());
            normalised(content, MAX_CONTENT_CHARS);
            client_msg_id.iter().for_each(|id| repeatable(id.as_str()));
        }
        ClientFrame::ReadHistory { room_id, from, limit } => {
            identified(room_id.as_str());
            let (HistoryFrom::After(seq) | HistoryFrom::Before(seq)) = from;
            assert!(seq.0 <= MAX_SEQ + 1);
            assert!((1..=MAX_HISTORY_PAGE).contains(&(*limit as u64)));
        }
    }
}

fn id_as_json(id: &RequestId) -> Value {
    match id {
        RequestId::Text(text) => json!(&**text),
        RequestId::Number(number) => json!(number),
    }
}

fn written_hello(hello: &Hello) -> Value {
    let (client, resume) = (hello.client.as_deref(), hello.resume.as_deref());
    json!({"type": "hello", "data": {"protocol": 2, "user": hello.user.as_str(), "client": client, "resume": resume}})
}

/// The request as a client would write it.
fn written(frame: &ClientFrame) -> Value {
    let page = |page: &Option<ListPage>| match page {
        None => json!({}),
        Some(page) => json!({"after": page.after.as_deref(), "limit": page.limit, "name": page.name.as_deref()}),
    };
    let (kind, data) = match frame {
        ClientFrame::ListRooms(wanted) => ("list_rooms", page(wanted)),
        ClientFrame::DiscoverRooms(wanted) => ("discover_rooms", page(wanted)),
        ClientFrame::CreateRoom {
            room_name,
            creator_id,
            description,
            request_id,
        } => (
            "create_room",
            json!({
                "room_name": room_name.as_str(),
                "creator_id": creator_id.as_str(),
                "description": description.as_deref(),
                "request_id": request_id.as_ref().map(|id| id.as_str()),
            }),
        ),
        ClientFrame::JoinRoom {
            room_id,
            username,
            from,
            history,
        } => (
            "join_room",
            json!({
                "room_id": room_id.as_str(),
                "username": username.as_str(),
                "from": from.map(|from| json!({"gen": from.generation.0, "seq": from.seq.0})),
                "history": history,
            }),
        ),
        ClientFrame::LeaveRoom { room_id, username } => (
            "leave_room",
            json!({"room_id": room_id.as_str(), "username": username.as_str()}),
        ),
        ClientFrame::DeleteRoom { room_id, username } => (
            "delete_room",
            json!({"room_id": room_id.as_str(), "username": username.as_str()}),
        ),
        ClientFrame::SendMessage {
            room_id,
            username,
            content,
            client_msg_id,
            trace,
        } => (
            "send_message",
            json!({
                "room_id": room_id.as_str(),
                "username": username.as_str(),
                "content": &**content,
                "client_msg_id": client_msg_id.as_ref().map(|id| id.as_str()),
                "traceparent": trace.map(|trace| trace.to_string()),
            }),
        ),
        ClientFrame::ReadHistory { room_id, from, limit } => {
            let (direction, seq) = match from {
                HistoryFrom::After(seq) => ("after_seq", seq.0),
                HistoryFrom::Before(seq) => ("before_seq", seq.0),
            };
            let mut data = json!({"room_id": room_id.as_str(), "limit": limit});
            data[direction] = json!(seq);
            ("read_history", data)
        }
    };
    json!({"type": kind, "data": data})
}
