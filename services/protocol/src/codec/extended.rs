//! Requests of the extended dialect: the classic ones with more fields, an id, and the name left out.

use super::*;
use crate::client_frame::{Hello, HistoryFrom, ListPage, Position, RequestId};
use crate::ids::{ClientMsgId, Generation, Seq};
use crate::limits::{
    EXTENDED_HISTORY, MAX_CLIENT_CHARS, MAX_HISTORY_PAGE, MAX_LIST_PAGE, MAX_REQUEST_ID_CHARS, MAX_SEQ,
};
use crate::trace_context::{TRACEPARENT, TraceContext};

/// One request of an extended session.
#[derive(Debug, Clone, PartialEq)]
pub struct ExtendedRequest {
    /// What the answer repeats.
    pub id: Option<RequestId>,
    /// What is asked, or the answer that refuses it.
    pub frame: Result<ClientFrame, ServerFrame>,
}

/// Reads the first frame of a connection. `None`: it is no `hello`, and the session is classic.
///
/// # Errors
/// The frame that answers a `hello` that this node does not take; the session is classic then, too.
pub fn hello(request: &str) -> Option<Result<Hello, ServerFrame>> {
    // Cheaper than parsing twice what is a classic request nearly always.
    if !request.contains("\"hello\"") {
        return None;
    }
    let Some(Value::Object(mut envelope)) = parse_value(request) else {
        return None;
    };
    if envelope.get("type").and_then(Value::as_str) != Some("hello") {
        return None;
    }
    let data = match envelope.remove("data") {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    };
    Some(read_hello(&data))
}

fn read_hello(data: &Map<String, Value>) -> Result<Hello, ServerFrame> {
    if data.get("protocol").and_then(Value::as_u64) != Some(2) {
        return Err(ServerFrame::Refused {
            code: Code::UnsupportedProtocol,
            message: "This node speaks protocol 2".into(),
        });
    }
    let invalid = |why: String| ServerFrame::Refused {
        code: Code::InvalidRequest,
        message: why.into(),
    };
    let user = data.get("user").and_then(Value::as_str).unwrap_or_default();
    let user = UserName::parse(user).map_err(|why| invalid(format!("user {why}")))?;
    let client = free_text(data.get("client"), "client", MAX_CLIENT_CHARS).map_err(invalid)?;
    // A token is checked where it is used; here only its size.
    let resume = free_text(data.get("resume"), "resume", MAX_CLIENT_CHARS).map_err(invalid)?;
    Ok(Hello { user, client, resume })
}

fn free_text(value: Option<&Value>, field: &str, max: usize) -> Result<Option<Arc<str>>, String> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(s)) if s.chars().nth(max).is_none() && text::first_forbidden(s).is_none() => {
            Ok(Some(Arc::from(s.as_str())))
        }
        Some(_) => Err(format!("{field} must be a text of at most {max} characters")),
    }
}

/// Parses one request of a session that said `hello` as `user`.
#[must_use]
pub fn parse_extended(request: &str, user: &UserName) -> ExtendedRequest {
    let refused = |code, message: &str| ExtendedRequest {
        id: None,
        frame: Err(ServerFrame::Refused {
            code,
            message: message.into(),
        }),
    };
    let Some(value) = parse_value(request) else {
        return refused(Code::InvalidRequest, "Invalid JSON format");
    };
    let Value::Object(mut envelope) = value else {
        return refused(Code::InvalidRequest, "A request must be a JSON object");
    };
    let Ok(id) = request_id(envelope.get("id")) else {
        return refused(
            Code::InvalidRequest,
            "id must be an integer or a text of at most 64 characters",
        );
    };
    let data = envelope.remove("data");
    let frame = parse_body(envelope.get("type"), data, user);
    ExtendedRequest { id, frame }
}

fn request_id(value: Option<&Value>) -> Result<Option<RequestId>, ()> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(n)) => n.as_i64().map(RequestId::Number).map(Some).ok_or(()),
        Some(Value::String(s))
            if s.chars().nth(MAX_REQUEST_ID_CHARS).is_none() && text::first_forbidden(s).is_none() =>
        {
            Ok(Some(RequestId::Text(Arc::from(s.as_str()))))
        }
        Some(_) => Err(()),
    }
}

fn invalid(message: impl Into<Arc<str>>) -> ServerFrame {
    ServerFrame::Refused {
        code: Code::InvalidRequest,
        message: message.into(),
    }
}

fn parse_body(kind: Option<&Value>, data: Option<Value>, user: &UserName) -> Result<ClientFrame, ServerFrame> {
    let mut map = match data {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(map)) => map,
        Some(_) => return Err(invalid("data must be an object")),
    };
    let kind = match kind.and_then(Value::as_str) {
        Some("hello") => return Err(invalid("hello was said already")),
        Some(kind) => kind,
        None => "",
    };
    let name = if kind == "create_room" {
        "creator_id"
    } else {
        "username"
    };
    // Left out, it is the name of hello; another name is refused by the frame that refuses the request.
    let given = map.entry(name).or_insert_with(|| Value::String(user.to_string()));
    let other_user = given.as_str() != Some(user.as_str());
    match kind {
        "list_rooms" => Ok(ClientFrame::ListRooms(Some(list_page(&map)?))),
        "discover_rooms" => Ok(ClientFrame::DiscoverRooms(Some(list_page(&map)?))),
        "create_room" if other_user => Err(ServerFrame::RoomNotCreated(Reject::OtherName.text())),
        "create_room" => {
            let id = client_msg_id(&map, "request_id").map_err(|reject| ServerFrame::RoomNotCreated(reject.text()))?;
            let mut frame = create_room(Some(Value::Object(map)))?;
            if let ClientFrame::CreateRoom { request_id, .. } = &mut frame {
                *request_id = id;
            }
            Ok(frame)
        }
        "join_room" => join(&map, other_user),
        "leave_room" => leave_room(&map),
        "send_message" => send(&map, other_user),
        "read_history" => read_history(&map),
        "delete_room" if other_user => Err(ServerFrame::DeleteRoomFailed {
            room_id: echo(&map, "room_id"),
            reject: Reject::OtherName,
            transaction: None,
        }),
        "delete_room" => delete_room(&map),
        _ => Err(invalid(format!(
            "Unknown message type: {}",
            text::prefix(kind, MAX_ID_BYTES)
        ))),
    }
}

fn join(map: &Map<String, Value>, other_user: bool) -> Result<ClientFrame, ServerFrame> {
    let fields = || -> Result<(Option<Position>, Option<u64>), Reject> {
        if other_user {
            return Err(Reject::OtherName);
        }
        let history = match number(map, "history")? {
            Some(history) if history > EXTENDED_HISTORY => return Err(not_a("history", "at most 1000")),
            history => history,
        };
        Ok((position(map.get("from"))?, history))
    };
    let (from, history) = fields().map_err(|reject| ServerFrame::JoinRoomError {
        room_id: echo(map, "room_id"),
        reject,
    })?;
    join_room(map).map(|frame| match frame {
        ClientFrame::JoinRoom { room_id, username, .. } => ClientFrame::JoinRoom {
            room_id,
            username,
            from,
            history,
        },
        other => other,
    })
}

fn send(map: &Map<String, Value>, other_user: bool) -> Result<ClientFrame, ServerFrame> {
    let id = if other_user {
        Err(Reject::OtherName)
    } else {
        client_msg_id(map, "client_msg_id")
    };
    let id = id.map_err(|reject| ServerFrame::MessageError {
        room_id: echo(map, "room_id"),
        reject,
    })?;
    send_message(map).map(|frame| match frame {
        ClientFrame::SendMessage {
            room_id,
            username,
            content,
            ..
        } => ClientFrame::SendMessage {
            room_id,
            username,
            content,
            client_msg_id: id,
            trace: trace(map),
        },
        other => other,
    })
}

/// What is no `traceparent` counts as none: a message is not refused because of a trace.
fn trace(map: &Map<String, Value>) -> Option<TraceContext> {
    map.get(TRACEPARENT)?.as_str()?.parse().ok()
}

fn read_history(map: &Map<String, Value>) -> Result<ClientFrame, ServerFrame> {
    let fields = || -> Result<ClientFrame, Reject> {
        let room_id = RoomId::parse(string(map, "room_id")?).map_err(|_| Reject::RoomNotFound)?;
        let from = match (number(map, "after_seq")?, number(map, "before_seq")?) {
            (Some(after), None) => HistoryFrom::After(Seq(after)),
            (None, Some(before)) => HistoryFrom::Before(Seq(before)),
            _ => return Err(not_a("after_seq or before_seq", "given, one of the two")),
        };
        let limit = match number(map, "limit")? {
            None => MAX_HISTORY_PAGE,
            Some(limit @ 1..=MAX_HISTORY_PAGE) => limit,
            Some(_) => return Err(not_a("limit", "1 to 500")),
        };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(ClientFrame::ReadHistory { room_id, from, limit })
    };
    fields().map_err(|reject| ServerFrame::RequestRefused {
        room_id: echo(map, "room_id"),
        reject,
    })
}

fn list_page(map: &Map<String, Value>) -> Result<ListPage, ServerFrame> {
    let limit = match number(map, "limit").map_err(|reject| invalid(reject.text()))? {
        Some(0) => return Err(invalid("limit must be 1 to 1000")),
        limit => limit.map(|limit| usize::try_from(limit).unwrap_or(MAX_LIST_PAGE).min(MAX_LIST_PAGE)),
    };
    Ok(ListPage {
        after: free_text(map.get("after"), "after", MAX_ID_BYTES).map_err(invalid)?,
        limit,
        name: free_text(map.get("name"), "name", crate::limits::MAX_NAME_CHARS).map_err(invalid)?,
    })
}

fn not_a(field: &str, what: &str) -> Reject {
    Reject::InvalidField(format!("{field} must be {what}"))
}

fn number(map: &Map<String, Value>, field: &str) -> Result<Option<u64>, Reject> {
    match map.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64() {
            // A number beyond the last possible one is as far away as that one.
            Some(number) => Ok(Some(number.min(MAX_SEQ + 1))),
            None => Err(not_a(field, "a number that is not negative")),
        },
    }
}

fn position(value: Option<&Value>) -> Result<Option<Position>, Reject> {
    let wrong = || not_a("from", "an object with the numbers gen and seq");
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(map)) => {
            let generation = map.get("gen").and_then(Value::as_u64).ok_or_else(wrong)?;
            let seq = map.get("seq").and_then(Value::as_u64).ok_or_else(wrong)?;
            Ok(Some(Position {
                generation: Generation(generation),
                seq: Seq(seq.min(MAX_SEQ + 1)),
            }))
        }
        Some(_) => Err(wrong()),
    }
}

fn client_msg_id(map: &Map<String, Value>, field: &str) -> Result<Option<ClientMsgId>, Reject> {
    match map.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) => ClientMsgId::parse(id).map(Some).map_err(|why| describe(field, why)),
        Some(_) => Err(Reject::InvalidField(format!("{field} must be a string"))),
    }
}
