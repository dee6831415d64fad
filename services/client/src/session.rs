//! A session of the extended dialect that outlives its connections, without any I/O.
//!
//! Whoever drives it tells it when a connection is there, what came, and what time it is; it says what to send and what
//! happened. What it promises: each message of a joined room is given out once, in order, without a hole, over any number
//! of connections to any nodes; each send is done once, whatever is lost on the way. Sends of one room are done one after
//! the other, so that they stay in the order in which they were asked for. Any other question is asked once.

use crate::event::MemberChange;
use crate::frame::{Refusal, decode};
use crate::new_message;
use crate::request::type_of;
use room::{Room, Unsent, Wish};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};

mod event;
mod room;

pub use event::{Output, SessionEvent};

/// Requests under way at once: what a node allows, less some for joins that come in between.
const PIPELINE: usize = 12;
/// Sends and questions that may wait; whoever drives a session takes no more while it [is full](Session::is_full).
pub const MAX_WAITING: usize = 1_024;

/// See the module.
#[derive(Debug)]
pub struct Session {
    user: String,
    client: String,
    token: Option<String>,
    online: bool,
    rooms: BTreeMap<String, Room>,
    /// Questions that nobody was asked yet.
    questions: VecDeque<Question>,
    asked: BTreeMap<u64, Asked>,
    next_request: u64,
}

#[derive(Debug)]
struct Question {
    ticket: u64,
    kind: &'static str,
    data: Value,
}

#[derive(Debug)]
enum Asked {
    Join(String),
    Send(String),
    Question(u64),
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

impl Frame<'_> {
    fn field(&self, name: &str) -> String {
        self.data[name].as_str().unwrap_or_default().to_owned()
    }

    fn refusal(&self) -> Refusal {
        Refusal {
            code: self.field("error_code"),
            text: self.field("error"),
        }
    }
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
            questions: VecDeque::new(),
            asked: BTreeMap::new(),
            next_request: 1,
        }
    }

    /// A connection is there: the greeting goes out.
    pub fn connected(&mut self, out: &mut Vec<Output>) {
        self.disconnected(out);
        let hello = json!({"type": "hello", "data": {
            "protocol": 2, "user": self.user, "client": self.client, "resume": self.token,
        }});
        out.push(Output::Send(hello.to_string()));
    }

    /// The connection is gone. Joins and sends that were under way are asked for again on the next one.
    pub fn disconnected(&mut self, out: &mut Vec<Output>) {
        self.online = false;
        for asked in std::mem::take(&mut self.asked).into_values() {
            if let Asked::Question(ticket) = asked {
                out.push(Output::Event(SessionEvent::Unanswered { ticket }));
            }
        }
        self.rooms.values_mut().for_each(Room::disconnected);
    }

    /// True if [`MAX_WAITING`] sends and questions wait.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let unsent: usize = self.rooms.values().map(Room::unsent).sum();
        unsent + self.questions.len() >= MAX_WAITING
    }

    /// Be in a room from now on, with its newest `history` messages.
    pub fn join(&mut self, now: u64, room_id: &str, history: u64, out: &mut Vec<Output>) {
        let room = || Room::new(history);
        self.rooms.entry(room_id.to_owned()).or_insert_with(room);
        self.pump(now, out);
    }

    /// Be in a room no more. Its sends that are not done are given up. The node is asked as by [`Self::ask`], but now or
    /// never: without a connection there is no answer, and the seat goes when it has waited for long enough.
    pub fn leave(&mut self, ticket: u64, room_id: &str, out: &mut Vec<Output>) {
        if let Some(room) = self.rooms.remove(room_id) {
            room.give_up(&not_in_the_room(), out);
        }
        // An answer about this stay in the room must not be taken for one about the next.
        self.asked.retain(|_, asked| match asked {
            Asked::Join(room) | Asked::Send(room) => room != room_id,
            Asked::Question(_) => true,
        });
        if self.online {
            // At once, or a later join would overtake it.
            let data = json!({"room_id": room_id});
            self.request(Asked::Question(ticket), "leave_room", &data, out);
        } else {
            out.push(Output::Event(SessionEvent::Unanswered { ticket }));
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
            Some(room) => room.push(Unsent {
                ticket,
                client_msg_id: client_msg_id.into(),
                content: content.into(),
            }),
            None => out.push(Output::Event(SessionEvent::SendRefused {
                ticket,
                refusal: not_in_the_room(),
            })),
        }
        self.pump(now, out);
    }

    /// Asks a question, such as `discover_rooms`, on this connection or the next one, and not again if that one ends.
    pub fn ask(&mut self, now: u64, ticket: u64, kind: &'static str, data: Value, out: &mut Vec<Output>) {
        self.questions.push_back(Question { ticket, kind, data });
        self.pump(now, out);
    }

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        if !self.online {
            return None;
        }
        self.rooms.values().filter_map(Room::due).min()
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
            if let Some(room) = self.rooms.get_mut(&*message.room_id) {
                room.on_message(message.to_message(), out);
            }
            return;
        }
        let Ok(frame) = serde_json::from_str::<Frame<'_>>(text) else {
            out.push(Output::Event(SessionEvent::Other(text.into())));
            return;
        };
        match frame.re.and_then(|re| self.asked.remove(&re)) {
            Some(asked) => self.on_answer(now, asked, &frame, text, out),
            None => self.on_push(now, &frame, text, out),
        }
        self.pump(now, out);
    }

    fn on_answer(&mut self, now: u64, asked: Asked, frame: &Frame<'_>, text: &str, out: &mut Vec<Output>) {
        let (room_id, sent) = match asked {
            Asked::Question(ticket) => {
                let answer = decode(text);
                out.push(Output::Event(SessionEvent::Answered { ticket, answer }));
                return;
            }
            Asked::Join(room_id) => (room_id, false),
            Asked::Send(room_id) => (room_id, true),
        };
        let Some(room) = self.rooms.get_mut(&room_id) else {
            return;
        };
        match (frame.kind, sent) {
            ("join_room_success", false) => room.on_joined(&frame.data, out),
            ("join_room_error", false) if room.on_join_refused(now, &frame.refusal()) => {}
            ("join_room_error", false) => self.give_up(room_id, frame.refusal(), out),
            ("message_sent", true) => room.on_sent(&frame.data, out),
            ("message_error", true) => room.on_send_refused(now, frame.refusal(), &frame.data, out),
            // Too many requests, or a request that was not understood: the connection starts over.
            _ => out.push(Output::Reconnect(frame.field("message"))),
        }
    }

    /// Something that this session did not ask for on this connection.
    fn on_push(&mut self, now: u64, frame: &Frame<'_>, text: &str, out: &mut Vec<Output>) {
        let room_id = frame.field("room_id");
        match frame.kind {
            "welcome" => {
                self.online = true;
                self.token = Some(frame.field("resume"));
            }
            // Another node spoke the dialect, and others may.
            "error" if !self.online && self.token.is_some() => out.push(Output::Reconnect(frame.field("message"))),
            "error" if !self.online => out.push(Output::Refused(frame.field("message"))),
            "member_joined" | "member_left" => self.on_member(now, frame, text, out),
            "resync_required" => {
                if let Some(room) = self.rooms.get_mut(&room_id) {
                    room.on_resync(&frame.data);
                }
                out.push(Output::Event(SessionEvent::Resynced {
                    room_id,
                    from: frame.data["from_seq"].as_u64().unwrap_or(1),
                    reason: frame.field("reason"),
                }));
            }
            "degraded" | "recovered" => out.push(Output::Event(SessionEvent::Degraded {
                room_id,
                degraded: frame.kind == "degraded",
            })),
            "room_deleted" => {
                let refusal = Refusal {
                    code: "ROOM_NOT_FOUND".into(),
                    text: "the room was deleted".into(),
                };
                self.give_up(room_id, refusal, out);
            }
            "reconnect" => out.push(Output::Reconnect(frame.field("reason"))),
            _ => out.push(Output::Event(SessionEvent::Other(text.into()))),
        }
    }

    fn on_member(&mut self, now: u64, frame: &Frame<'_>, text: &str, out: &mut Vec<Output>) {
        let Ok(change) = MemberChange::deserialize(&frame.data) else {
            out.push(Output::Event(SessionEvent::Other(text.into())));
            return;
        };
        let Some(room) = self.rooms.get_mut(&change.room_id) else {
            return;
        };
        if frame.kind == "member_joined" {
            out.push(Output::Event(SessionEvent::MemberJoined(change)));
            return;
        }
        if change.username == self.user {
            room.on_removed(now);
        }
        out.push(Output::Event(SessionEvent::MemberLeft(change)));
    }

    /// The session is not in the room and will not be.
    fn give_up(&mut self, room_id: String, refusal: Refusal, out: &mut Vec<Output>) {
        if let Some(room) = self.rooms.remove(&room_id) {
            room.give_up(&refusal, out);
            out.push(Output::Event(SessionEvent::JoinRefused { room_id, refusal }));
        }
    }

    /// Asks for what is due, as far as the pipeline takes it.
    fn pump(&mut self, now: u64, out: &mut Vec<Output>) {
        if !self.online {
            return;
        }
        let due: Vec<String> = self
            .rooms
            .iter()
            .filter(|(_, room)| room.due().is_some_and(|at| at <= now))
            .map(|(room_id, _)| room_id.clone())
            .take(PIPELINE.saturating_sub(self.asked.len()))
            .collect();
        for room_id in due {
            match self.rooms.get_mut(&room_id).and_then(|room| room.wish(&room_id)) {
                Some(Wish::Join(data)) => self.request(Asked::Join(room_id), "join_room", &data, out),
                Some(Wish::Send(data)) => self.request(Asked::Send(room_id), "send_message", &data, out),
                None => {}
            }
        }
        while self.asked.len() < PIPELINE
            && let Some(Question { ticket, kind, data }) = self.questions.pop_front()
        {
            self.request(Asked::Question(ticket), kind, &data, out);
        }
    }

    fn request(&mut self, asked: Asked, kind: &str, data: &Value, out: &mut Vec<Output>) {
        let id = self.next_request;
        self.next_request += 1;
        self.asked.insert(id, asked);
        out.push(Output::Send(json!({"type": kind, "id": id, "data": data}).to_string()));
    }
}

fn not_in_the_room() -> Refusal {
    Refusal {
        code: "NOT_MEMBER".into(),
        text: "not in the room".into(),
    }
}

#[cfg(test)]
mod tests;
