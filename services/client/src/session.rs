//! A session of the extended dialect that outlives its connections, without any I/O.
//!
//! Whoever drives it tells it when a connection is there, what came, and what time it is; it says what to send and what
//! happened. What it promises: each message of a joined room is given out once, in order, without a hole, over any number
//! of connections to any nodes; each send is done once, whatever is lost on the way. Sends of one room are done one after
//! the other, so that they stay in the order in which they were asked for.

use crate::event::NewMessage;
use crate::new_message;
use crate::request::type_of;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};

/// Requests under way at once: what a node allows, less some for joins that come in between.
const PIPELINE: usize = 12;
/// Milliseconds before something that failed for now is tried again, if the node does not say.
const RETRY_MS: u64 = 250;

/// Something that happened, for the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionEvent {
    /// The next message of a room.
    Message(NewMessage),
    /// The session is in a room: for the first time, or again on a new connection.
    Joined {
        /// Which room.
        room_id: String,
        /// True if nobody heard that it was gone.
        resumed: bool,
    },
    /// The session is not in the room, and trying again is useless.
    JoinRefused {
        /// Which room.
        room_id: String,
        /// The `error_code`.
        code: String,
    },
    /// Messages of the room are missing for good: the next one has the number `from`.
    Resynced {
        /// Which room.
        room_id: String,
        /// The next number.
        from: u64,
        /// Why.
        reason: String,
    },
    /// The node sent a message that this session has, or left some out. The application is spared both: what is known is
    /// not given out again, and for what is missing the session comes back. A node that keeps its promises does neither.
    Irregular {
        /// Which room.
        room_id: String,
        /// The number that was due.
        due: u64,
        /// The number that came.
        came: u64,
    },
    /// A send is done.
    Sent {
        /// As given to [`Session::send`].
        ticket: u64,
        /// Its number.
        seq: u64,
        /// Its id.
        message_id: String,
        /// True if an earlier attempt had put it there.
        duplicate: bool,
    },
    /// A send will never be done.
    SendRefused {
        /// As given to [`Session::send`].
        ticket: u64,
        /// The `error_code`.
        code: String,
    },
    /// The admin node of a room does not answer (true), or does again.
    Degraded {
        /// Which room.
        room_id: String,
        /// True while it lasts.
        degraded: bool,
    },
    /// Anything else that came, as it came.
    Other(String),
}

/// What the driver has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this text.
    Send(String),
    /// Tell the application.
    Event(SessionEvent),
    /// Leave this connection and come back on another one.
    Reconnect,
    /// The node does not speak this dialect, or refused the greeting: coming back is useless.
    Refused(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    generation: u64,
    seq: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Membership {
    /// Not asked on this connection yet, or refused for now until this time.
    Out {
        retry_at: u64,
    },
    Asked,
    In,
}

#[derive(Debug)]
struct Room {
    position: Option<Position>,
    membership: Membership,
    /// Sends that wait, the first of which may be under way.
    outbox: VecDeque<Unsent>,
    /// When the first of them may be tried.
    send_at: u64,
    sending: bool,
    /// How many messages the first join asks for.
    history: u64,
}

#[derive(Debug)]
struct Unsent {
    ticket: u64,
    client_msg_id: String,
    content: String,
}

#[derive(Debug)]
enum Asked {
    Join(String),
    Send(String),
    Leave,
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    user: String,
    client: String,
    token: Option<String>,
    online: bool,
    rooms: BTreeMap<String, Room>,
    asked: BTreeMap<u64, Asked>,
    next_request: u64,
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(default)]
    re: Option<u64>,
    #[serde(default)]
    data: Value,
}

impl Session {
    /// A session of `user` that has not been anywhere. `client` is free text.
    #[must_use]
    pub fn new(user: &str, client: &str) -> Self {
        Self {
            user: user.into(),
            client: client.into(),
            token: None,
            online: false,
            rooms: BTreeMap::new(),
            asked: BTreeMap::new(),
            next_request: 1,
        }
    }

    /// A connection is there: the greeting goes out.
    pub fn connected(&mut self, out: &mut Vec<Output>) {
        self.disconnected();
        let hello = json!({"type": "hello", "data": {
            "protocol": 2, "user": self.user, "client": self.client, "resume": self.token,
        }});
        out.push(Output::Send(hello.to_string()));
    }

    /// The connection is gone. What was under way is asked again on the next one.
    pub fn disconnected(&mut self) {
        self.online = false;
        self.asked.clear();
        for room in self.rooms.values_mut() {
            room.membership = Membership::Out { retry_at: 0 };
            (room.sending, room.send_at) = (false, 0);
        }
    }

    /// Be in a room from now on, with its newest `history` messages.
    pub fn join(&mut self, now: u64, room_id: &str, history: u64, out: &mut Vec<Output>) {
        let room = || Room {
            position: None,
            membership: Membership::Out { retry_at: 0 },
            outbox: VecDeque::new(),
            send_at: 0,
            sending: false,
            history,
        };
        self.rooms.entry(room_id.to_owned()).or_insert_with(room);
        self.pump(now, out);
    }

    /// Be in a room no more. Its sends that are not done are given up.
    pub fn leave(&mut self, room_id: &str, out: &mut Vec<Output>) {
        let Some(room) = self.rooms.remove(room_id) else { return };
        for unsent in room.outbox {
            out.push(Output::Event(SessionEvent::SendRefused {
                ticket: unsent.ticket,
                code: "NOT_MEMBER".into(),
            }));
        }
        if self.online && room.membership != (Membership::Out { retry_at: 0 }) {
            let id = self.request(Asked::Leave);
            let leave = json!({"type": "leave_room", "id": id, "data": {"room_id": room_id}});
            out.push(Output::Send(leave.to_string()));
        }
    }

    /// Say something in a room that was joined. `client_msg_id` must be new for this user and room, for ever.
    pub fn send(
        &mut self,
        now: u64,
        ticket: u64,
        room_id: &str,
        client_msg_id: &str,
        content: &str,
        out: &mut Vec<Output>,
    ) {
        match self.rooms.get_mut(room_id) {
            Some(room) => room.outbox.push_back(Unsent {
                ticket,
                client_msg_id: client_msg_id.into(),
                content: content.into(),
            }),
            None => out.push(Output::Event(SessionEvent::SendRefused {
                ticket,
                code: "NOT_MEMBER".into(),
            })),
        }
        self.pump(now, out);
    }

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        if !self.online {
            return None;
        }
        let due = |room: &Room| match room.membership {
            Membership::Out { retry_at } => Some(retry_at),
            Membership::In if !room.sending && !room.outbox.is_empty() => Some(room.send_at),
            Membership::In | Membership::Asked => None,
        };
        self.rooms.values().filter_map(due).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: u64, out: &mut Vec<Output>) {
        self.pump(now, out);
    }

    /// A text frame came.
    pub fn frame(&mut self, now: u64, text: &str, out: &mut Vec<Output>) {
        // A frame that does not begin with its type may be anything.
        if matches!(type_of(text), "new_message" | "")
            && let Some(message) = new_message::parse(text)
        {
            self.on_message(message.to_message(), out);
            return;
        }
        let Ok(frame) = serde_json::from_str::<Frame<'_>>(text) else {
            out.push(Output::Event(SessionEvent::Other(text.into())));
            return;
        };
        let asked = frame.re.and_then(|re| self.asked.remove(&re));
        let field = |name: &str| frame.data[name].as_str().unwrap_or_default().to_owned();
        match (frame.kind, asked) {
            ("welcome", _) => {
                self.online = true;
                self.token = Some(field("resume"));
            }
            ("error", None) if !self.online => out.push(Output::Refused(field("message"))),
            ("join_room_success", Some(Asked::Join(room_id))) => self.on_joined(&room_id, &frame.data, out),
            ("join_room_error", Some(Asked::Join(room_id))) => {
                self.on_join_refused(now, &room_id, field("error_code"), out);
            }
            ("message_sent", Some(Asked::Send(room_id))) => self.on_sent(&room_id, &frame.data, out),
            ("message_error", Some(Asked::Send(room_id))) => self.on_send_refused(now, &room_id, &frame.data, out),
            ("resync_required", _) => {
                let from = frame.data["from_seq"].as_u64().unwrap_or(1);
                if let Some(room) = self.rooms.get_mut(&field("room_id")) {
                    room.position = Some(Position {
                        generation: frame.data["gen"].as_u64().unwrap_or_default(),
                        seq: from.saturating_sub(1),
                    });
                }
                out.push(Output::Event(SessionEvent::Resynced {
                    room_id: field("room_id"),
                    from,
                    reason: field("reason"),
                }));
            }
            ("degraded" | "recovered", _) => out.push(Output::Event(SessionEvent::Degraded {
                room_id: field("room_id"),
                degraded: frame.kind == "degraded",
            })),
            ("reconnect", _) => out.push(Output::Reconnect),
            ("leave_room_success", _) => {}
            // Too many requests, or a request that was not understood: the connection starts over.
            ("error", Some(Asked::Join(_) | Asked::Send(_))) => out.push(Output::Reconnect),
            _ => out.push(Output::Event(SessionEvent::Other(text.into()))),
        }
        self.pump(now, out);
    }

    fn on_message(&mut self, message: NewMessage, out: &mut Vec<Output>) {
        let Some(position) = self
            .rooms
            .get_mut(&*message.room_id)
            .and_then(|room| room.position.as_mut())
        else {
            return;
        };
        if message.seq == position.seq + 1 {
            position.seq = message.seq;
            out.push(Output::Event(SessionEvent::Message(message)));
            return;
        }
        out.push(Output::Event(SessionEvent::Irregular {
            room_id: message.room_id.to_string(),
            due: position.seq + 1,
            came: message.seq,
        }));
        if message.seq > position.seq {
            // Whatever happened, the log has what is missing.
            out.push(Output::Reconnect);
        }
    }

    fn on_joined(&mut self, room_id: &str, data: &Value, out: &mut Vec<Output>) {
        let Some(room) = self.rooms.get_mut(room_id) else {
            return;
        };
        room.membership = Membership::In;
        let number = |name: &str| data[name].as_u64().unwrap_or_default();
        if room.position.is_none() {
            room.position = Some(Position {
                generation: number("gen"),
                seq: number("first_seq").saturating_sub(1),
            });
        }
        out.push(Output::Event(SessionEvent::Joined {
            room_id: room_id.into(),
            resumed: data["resumed"] == true,
        }));
    }

    fn on_join_refused(&mut self, now: u64, room_id: &str, code: String, out: &mut Vec<Output>) {
        let Some(room) = self.rooms.get_mut(room_id) else {
            return;
        };
        if may_pass(&code) {
            room.membership = Membership::Out {
                retry_at: now + RETRY_MS,
            };
            return;
        }
        let unsent = std::mem::take(&mut room.outbox);
        self.rooms.remove(room_id);
        out.extend(unsent.into_iter().map(|unsent| {
            Output::Event(SessionEvent::SendRefused {
                ticket: unsent.ticket,
                code: code.clone(),
            })
        }));
        out.push(Output::Event(SessionEvent::JoinRefused {
            room_id: room_id.into(),
            code,
        }));
    }

    fn on_sent(&mut self, room_id: &str, data: &Value, out: &mut Vec<Output>) {
        let Some(room) = self.rooms.get_mut(room_id) else {
            return;
        };
        room.sending = false;
        if let Some(unsent) = room.outbox.pop_front() {
            out.push(Output::Event(SessionEvent::Sent {
                ticket: unsent.ticket,
                seq: data["sequence_number"].as_u64().unwrap_or_default(),
                message_id: data["message_id"].as_str().unwrap_or_default().into(),
                duplicate: data["duplicate"] == true,
            }));
        }
    }

    fn on_send_refused(&mut self, now: u64, room_id: &str, data: &Value, out: &mut Vec<Output>) {
        let Some(room) = self.rooms.get_mut(room_id) else {
            return;
        };
        room.sending = false;
        let code = data["error_code"].as_str().unwrap_or_default();
        if code == "NOT_MEMBER" {
            // The seat is gone: in again, then on.
            room.membership = Membership::Out { retry_at: now };
        } else if data["outcome"] == "unknown" || may_pass(code) {
            room.send_at = now + data["retry_after_ms"].as_u64().unwrap_or(RETRY_MS);
        } else if let Some(unsent) = room.outbox.pop_front() {
            out.push(Output::Event(SessionEvent::SendRefused {
                ticket: unsent.ticket,
                code: code.into(),
            }));
        }
    }

    fn request(&mut self, asked: Asked) -> u64 {
        let id = self.next_request;
        self.next_request += 1;
        self.asked.insert(id, asked);
        id
    }

    /// Asks for what is due, as far as the pipeline takes it.
    fn pump(&mut self, now: u64, out: &mut Vec<Output>) {
        if !self.online {
            return;
        }
        let due: Vec<String> = self
            .rooms
            .iter()
            .filter(|(_, room)| match room.membership {
                Membership::Out { retry_at } => retry_at <= now,
                Membership::In => !room.sending && !room.outbox.is_empty() && room.send_at <= now,
                Membership::Asked => false,
            })
            .map(|(room_id, _)| room_id.clone())
            .take(PIPELINE.saturating_sub(self.asked.len()))
            .collect();
        for room_id in due {
            let text = self.next_request_of(&room_id);
            out.extend(text.map(Output::Send));
        }
    }

    fn next_request_of(&mut self, room_id: &str) -> Option<String> {
        let id = self.next_request;
        let room = self.rooms.get_mut(room_id)?;
        let request = if room.membership == Membership::In {
            let first = room.outbox.front()?;
            room.sending = true;
            let request = json!({"type": "send_message", "id": id, "data": {
                "room_id": room_id, "content": first.content, "client_msg_id": first.client_msg_id,
            }});
            self.request(Asked::Send(room_id.into()));
            request
        } else {
            room.membership = Membership::Asked;
            let from = room.position.map(|p| json!({"gen": p.generation, "seq": p.seq}));
            let request = json!({"type": "join_room", "id": id, "data": {
                "room_id": room_id, "from": from, "history": room.history,
            }});
            self.request(Asked::Join(room_id.into()));
            request
        };
        Some(request.to_string())
    }
}

/// True if the same request may succeed later.
fn may_pass(code: &str) -> bool {
    matches!(code, "ADMIN_NODE_UNAVAILABLE" | "INTERNAL_ERROR")
}

#[cfg(test)]
mod tests;
