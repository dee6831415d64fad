//! Writing frames, in wire order, into one buffer.

use super::*;
use crate::limits::{MAX_HISTORY_PAGE, MAX_INBOUND_FRAME, MAX_PIPELINE};

/// Encodes `frame` as a complete WebSocket frame whose payload has at most [`MAX_OUTBOUND_FRAME`] bytes.
///
/// Lists that would be longer are cut and say so (`"truncated":true`); their counts keep the full number.
#[must_use]
pub fn encode(frame: &ServerFrame) -> Bytes {
    let mut out = String::with_capacity(256);
    write_frame(&mut out, frame, None, &Extra::None);
    debug_assert!(out.len() <= MAX_OUTBOUND_FRAME, "a frame grew beyond its bound");
    ws_frame::text(&[out.as_bytes()])
}

/// Encodes `frame` for an extended session. As [`encode`] otherwise.
#[must_use]
pub fn encode_extended(frame: ExtendedFrame<'_>) -> Bytes {
    let mut out = String::with_capacity(256);
    write_frame(&mut out, frame.frame, frame.re, frame.extra);
    debug_assert!(out.len() <= MAX_OUTBOUND_FRAME, "a frame grew beyond its bound");
    ws_frame::text(&[out.as_bytes()])
}

/// Appends `text` as a JSON string with its quotes; non-ASCII stays as it is.
pub fn push_json_string(out: &mut String, text: &str) {
    out.push('"');
    let mut copied = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\t' => "\\t",
            b'\r' => "\\r",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[copied..at]);
        if escape.is_empty() {
            let _infallible = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(escape);
        }
        copied = at + 1;
    }
    out.push_str(&text[copied..]);
    out.push('"');
}

/// Writes the members of one JSON object.
struct Object<'a> {
    out: &'a mut String,
    first: bool,
}

impl<'a> Object<'a> {
    fn open(out: &'a mut String) -> Self {
        out.push('{');
        Self { out, first: true }
    }

    fn key(&mut self, key: &str) -> &mut String {
        if !self.first {
            self.out.push(',');
        }
        self.first = false;
        push_json_string(self.out, key);
        self.out.push(':');
        self.out
    }

    fn text(&mut self, key: &str, value: &str) -> &mut Self {
        push_json_string(self.key(key), value);
        self
    }

    fn optional(&mut self, key: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(text) => self.text(key, text),
            None => self.raw(key, "null"),
        }
    }

    fn number(&mut self, key: &str, value: u64) -> &mut Self {
        let _infallible = write!(self.key(key), "{value}");
        self
    }

    fn raw(&mut self, key: &str, json: &str) -> &mut Self {
        self.key(key).push_str(json);
        self
    }

    fn time(&mut self, key: &str, value: crate::timestamp::Timestamp) -> &mut Self {
        let _infallible = write!(self.key(key), "\"{value}\"");
        self
    }

    fn list<T>(&mut self, key: &str, items: &[T], mut item: impl FnMut(&mut String, &T)) -> &mut Self {
        let out = self.key(key);
        out.push('[');
        for (at, value) in items.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            item(out, value);
        }
        out.push(']');
        self
    }

    /// As [`Self::list`], but stops before the buffer exceeds `limit` bytes. True if all items fitted.
    fn list_within<T>(&mut self, key: &str, items: &[T], limit: usize, mut item: impl FnMut(&mut String, &T)) -> bool {
        let out = self.key(key);
        out.push('[');
        for (at, value) in items.iter().enumerate() {
            let before = out.len();
            if at > 0 {
                out.push(',');
            }
            item(out, value);
            if out.len() > limit {
                out.truncate(before);
                out.push(']');
                return false;
            }
        }
        out.push(']');
        true
    }

    fn close(&mut self) {
        self.out.push('}');
    }
}

/// Bytes kept free behind a cut list for the counts, the node lists and the closing brackets.
const TAIL_ROOM: usize = 64 << 10;

fn write_frame(out: &mut String, frame: &ServerFrame, re: Option<&RequestId>, extra: &Extra) {
    let mut envelope = Object::open(out);
    envelope.text("type", type_name(frame));
    match re {
        Some(RequestId::Text(id)) => drop(envelope.text("re", id)),
        Some(RequestId::Number(id)) => drop(envelope.raw("re", &id.to_string())),
        None => {}
    }
    let mut data = Object::open(envelope.key("data"));
    write_data(&mut data, frame);
    write_extra(&mut data, extra);
    data.close();
    envelope.close();
}

const fn type_name(frame: &ServerFrame) -> &'static str {
    match frame {
        ServerFrame::Error(_) | ServerFrame::Refused { .. } | ServerFrame::RequestRefused { .. } => "error",
        ServerFrame::Welcome(_) => "welcome",
        ServerFrame::Resync { .. } => "resync_required",
        ServerFrame::History(_) => "history",
        ServerFrame::Trouble { degraded: true, .. } => "degraded",
        ServerFrame::Trouble { degraded: false, .. } => "recovered",
        ServerFrame::Reconnect { .. } => "reconnect",
        ServerFrame::RoomsList { .. } => "rooms_list",
        ServerFrame::GlobalRoomsList { .. } => "global_rooms_list",
        ServerFrame::RoomCreated { .. } | ServerFrame::RoomNotCreated(_) => "room_created",
        ServerFrame::JoinRoomSuccess(_) => "join_room_success",
        ServerFrame::JoinRoomError { .. } => "join_room_error",
        ServerFrame::LeaveRoomSuccess { .. } => "leave_room_success",
        ServerFrame::MessageSent { .. } => "message_sent",
        ServerFrame::MessageError { .. } => "message_error",
        ServerFrame::DeleteRoomInitiated { .. } => "delete_room_initiated",
        ServerFrame::DeleteRoomProgress { .. } => "delete_room_progress",
        ServerFrame::DeleteRoomSuccess { .. } => "delete_room_success",
        ServerFrame::DeleteRoomFailed { .. } => "delete_room_failed",
        ServerFrame::RoomDeleted { .. } => "room_deleted",
        ServerFrame::DeleteRoomCancelled { .. } => "delete_room_cancelled",
        ServerFrame::Member(MemberEvent { left: None, .. }) => "member_joined",
        ServerFrame::Member(_) => "member_left",
    }
}

fn write_data(data: &mut Object<'_>, frame: &ServerFrame) {
    match frame {
        ServerFrame::Error(message) | ServerFrame::RoomNotCreated(message) => {
            data.raw("success", "false").text("message", message);
        }
        ServerFrame::RoomsList { rooms, total } => rooms_list(data, rooms, *total),
        ServerFrame::GlobalRoomsList {
            rooms,
            total,
            available,
            unavailable,
        } => {
            rooms_list(data, rooms, *total);
            let queried: Vec<&NodeId> = available.iter().chain(unavailable).collect();
            data.list("nodes_queried", &queried, |out, id| push_json_string(out, id.as_str()))
                .list("nodes_available", available, |out, id| {
                    push_json_string(out, id.as_str())
                })
                .list("nodes_unavailable", unavailable, |out, id| {
                    push_json_string(out, id.as_str())
                });
        }
        ServerFrame::RoomCreated {
            room_id,
            room_name,
            admin_node,
            created_at,
        } => {
            data.text("room_id", room_id.as_str())
                .text("room_name", room_name.as_str())
                .text("admin_node", admin_node.as_str())
                .raw("members", "[]")
                .time("created_at", *created_at);
        }
        ServerFrame::JoinRoomSuccess(info) => room_info(data, info),
        ServerFrame::JoinRoomError { room_id, reject } | ServerFrame::MessageError { room_id, reject } => {
            data.text("room_id", room_id)
                .text("error", &reject.text())
                .text("error_code", reject.code());
        }
        ServerFrame::DeleteRoomInitiated { .. }
        | ServerFrame::DeleteRoomProgress { .. }
        | ServerFrame::DeleteRoomSuccess { .. }
        | ServerFrame::DeleteRoomFailed { .. }
        | ServerFrame::RoomDeleted { .. }
        | ServerFrame::DeleteRoomCancelled { .. } => write_deletion(data, frame),
        ServerFrame::LeaveRoomSuccess { room_id, username } => {
            data.text("room_id", room_id).text("username", username);
        }
        ServerFrame::MessageSent {
            room_id,
            message_id,
            seq,
            timestamp,
        } => {
            data.text("room_id", room_id.as_str())
                .text("message_id", message_id.as_str())
                .number("sequence_number", seq.0)
                .time("timestamp", *timestamp);
        }
        ServerFrame::Member(event) => {
            data.text("room_id", event.room_id.as_str())
                .text("username", event.username.as_str())
                .number("member_count", event.member_count.into())
                .time("timestamp", event.timestamp);
            if let Some(reason) = event.left.and_then(crate::server_frame::LeaveReason::text) {
                data.text("reason", reason);
            }
        }
        ServerFrame::Refused { code, message } => {
            data.raw("success", "false")
                .text("message", message)
                .text("error_code", code.text());
            if *code == Code::UnsupportedProtocol {
                data.raw("supported", "[2]");
            }
        }
        ServerFrame::RequestRefused { room_id, reject } => {
            data.raw("success", "false")
                .text("message", &reject.text())
                .text("room_id", room_id)
                .text("error_code", reject.code());
        }
        ServerFrame::Welcome(welcome) => write_welcome(data, welcome),
        ServerFrame::Resync {
            room_id,
            generation,
            from,
            reason,
        } => {
            data.text("room_id", room_id.as_str())
                .number("gen", generation.0)
                .number("from_seq", from.0)
                .text("reason", reason.text());
        }
        ServerFrame::History(history) => write_history(data, history),
        ServerFrame::Trouble { room_id, degraded } => {
            let reason = if *degraded {
                "admin node unavailable"
            } else {
                "admin node is back"
            };
            data.text("room_id", room_id.as_str()).text("reason", reason);
        }
        ServerFrame::Reconnect { after_ms } => {
            data.number("after_ms", *after_ms).text("reason", "node is restarting");
        }
    }
}

fn write_deletion(data: &mut Object<'_>, frame: &ServerFrame) {
    match frame {
        ServerFrame::DeleteRoomInitiated {
            room_id,
            initiator,
            transaction,
        } => {
            data.text("room_id", room_id.as_str());
            if let Some(transaction) = transaction {
                data.text("transaction_id", transaction.as_str());
            }
            data.text("initiator", initiator.as_str()).text("status", "in_progress");
        }
        ServerFrame::DeleteRoomProgress { room_id, progress } => {
            let node = |out: &mut String, id: &NodeId| push_json_string(out, id.as_str());
            data.text("room_id", room_id.as_str())
                .text("phase", progress.phase.text())
                .list("ready", &progress.ready, node)
                .list("waiting_for", &progress.waiting_for, node);
        }
        ServerFrame::DeleteRoomSuccess { room_id, transaction } => {
            data.text("room_id", room_id.as_str())
                .text("transaction_id", transaction.as_str())
                .text("message", "Room deleted successfully");
        }
        ServerFrame::DeleteRoomFailed {
            room_id,
            reject,
            transaction,
        } => {
            data.text("room_id", room_id)
                .text("reason", &reject.text())
                .text("error_code", reject.code());
            if let Some(transaction) = transaction {
                data.text("transaction_id", transaction.as_str());
            }
        }
        ServerFrame::RoomDeleted {
            room_id,
            room_name,
            transaction,
        } => {
            data.text("room_id", room_id.as_str())
                .text("room_name", room_name.as_str());
            match transaction {
                Some(transaction) => data.text("transaction_id", transaction.as_str()),
                None => data.text("message", &format!("Room '{room_name}' has been deleted")),
            };
        }
        ServerFrame::DeleteRoomCancelled { room_id, transaction } => {
            data.text("room_id", room_id.as_str())
                .text("transaction_id", transaction.as_str());
        }
        _ => {}
    }
}

fn write_welcome(data: &mut Object<'_>, welcome: &Welcome) {
    data.number("protocol", 2)
        .text("session", &welcome.session)
        .text("resume", &welcome.resume)
        .raw("resumed", if welcome.resumed { "true" } else { "false" })
        .text("node", welcome.node.as_str())
        // Where else to connect is known to whoever runs the cluster, not to its nodes.
        .raw("addresses", "[]");
    let mut limits = Object::open(data.key("limits"));
    limits
        .number("content_chars", MAX_CONTENT_CHARS as u64)
        .number("frame_bytes", MAX_INBOUND_FRAME as u64)
        .number("requests", MAX_PIPELINE as u64)
        .number("history", MAX_HISTORY_PAGE);
    limits.close();
    data.number("ping_seconds", welcome.ping_seconds);
}

/// The data of the messages as they stand in their frames, as many as fit.
fn write_history(data: &mut Object<'_>, history: &History) {
    data.text("room_id", history.room_id.as_str())
        .number("gen", history.generation.0);
    let all = data.list_within(
        "messages",
        &history.messages,
        MAX_OUTBOUND_FRAME - TAIL_ROOM,
        |out, frame| {
            out.push_str(frame.data());
        },
    );
    data.number("head_seq", history.head.0)
        .raw("more", if history.more || !all { "true" } else { "false" })
        .raw("stale", if history.stale { "true" } else { "false" });
}

fn write_extra(data: &mut Object<'_>, extra: &Extra) {
    let truth = |value: bool| if value { "true" } else { "false" };
    match extra {
        Extra::None => {}
        Extra::Joined {
            generation,
            first,
            head,
            member_version,
            resumed,
        } => {
            data.number("gen", generation.0)
                .number("first_seq", first.0)
                .number("head_seq", head.0)
                .number("member_version", *member_version)
                .raw("resumed", truth(*resumed));
        }
        Extra::Sent {
            client_msg_id,
            generation,
            duplicate,
        } => {
            if let Some(id) = client_msg_id {
                data.text("client_msg_id", id.as_str());
            }
            data.number("gen", generation.0).raw("duplicate", truth(*duplicate));
        }
        Extra::SendRefused {
            client_msg_id,
            unknown,
            retry_after_ms,
        } => {
            if let Some(id) = client_msg_id {
                data.text("client_msg_id", id.as_str());
            }
            data.text("outcome", if *unknown { "unknown" } else { "definite" });
            if let Some(after) = retry_after_ms {
                data.number("retry_after_ms", *after);
            }
        }
        Extra::Member { version } => {
            data.number("member_version", *version);
        }
        Extra::Next(next) => {
            data.text("next", next);
        }
    }
}

fn rooms_list(data: &mut Object<'_>, rooms: &[RoomSummary], total: usize) {
    let all = data.list_within("rooms", rooms, MAX_OUTBOUND_FRAME - TAIL_ROOM, |out, room| {
        let mut entry = Object::open(out);
        entry
            .text("room_id", room.room_id.as_str())
            .text("room_name", room.room_name.as_str())
            .optional("description", room.description.as_deref())
            .number("member_count", room.member_count.into())
            .text("admin_node", room.admin_node.as_str())
            .text("creator_id", room.creator_id.as_str());
        if let Some(address) = &room.node_address {
            entry.text("node_address", address);
        }
        entry.close();
    });
    data.number("total_count", total as u64);
    if !all || total > rooms.len() {
        data.raw("truncated", "true");
    }
}

fn room_info(data: &mut Object<'_>, info: &RoomInfo) {
    data.text("room_id", info.room_id.as_str())
        .text("room_name", info.room_name.as_str())
        .optional("description", info.description.as_deref());
    let all = data.list_within("members", &info.members, MAX_OUTBOUND_FRAME - TAIL_ROOM, |out, name| {
        push_json_string(out, name.as_str());
    });
    data.number("member_count", info.members.len() as u64)
        .text("admin_node", info.admin_node.as_str());
    if !all {
        data.raw("truncated", "true");
    }
}
