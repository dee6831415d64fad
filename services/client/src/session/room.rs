//! One room as the session sees it: whether it is in, up to which message it has everything, what it has yet to say.

use super::{Output, SessionEvent};
use crate::answer::Joined;
use crate::event::NewMessage;
use crate::frame::Refusal;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::VecDeque;

/// Milliseconds before something that failed for now is tried again, if the node does not say.
const RETRY_MS: u64 = 250;

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
pub(super) struct Room {
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
pub(super) struct Unsent {
    pub(super) ticket: u64,
    pub(super) client_msg_id: String,
    pub(super) content: String,
}

/// What a room asks for next.
pub(super) enum Wish {
    Join(Value),
    Send(Value),
}

impl Room {
    pub(super) fn new(history: u64) -> Self {
        Self {
            position: None,
            membership: Membership::Out { retry_at: 0 },
            outbox: VecDeque::new(),
            send_at: 0,
            sending: false,
            history,
        }
    }

    /// The connection is gone: what was asked is asked again.
    pub(super) fn disconnected(&mut self) {
        self.membership = Membership::Out { retry_at: 0 };
        (self.sending, self.send_at) = (false, 0);
    }

    pub(super) fn push(&mut self, unsent: Unsent) {
        self.outbox.push_back(unsent);
    }

    pub(super) fn unsent(&self) -> usize {
        self.outbox.len()
    }

    /// When [`Self::wish`] has something to say; `None` if that depends on an answer.
    pub(super) fn due(&self) -> Option<u64> {
        match self.membership {
            Membership::Out { retry_at } => Some(retry_at),
            Membership::In if !self.sending && !self.outbox.is_empty() => Some(self.send_at),
            Membership::In | Membership::Asked => None,
        }
    }

    /// The next request, if it is due; it is under way then.
    pub(super) fn wish(&mut self, room_id: &str) -> Option<Wish> {
        if self.membership == Membership::In {
            let first = self.outbox.front()?;
            self.sending = true;
            return Some(Wish::Send(json!({
                "room_id": room_id, "content": first.content, "client_msg_id": first.client_msg_id,
            })));
        }
        self.membership = Membership::Asked;
        let from = self.position.map(|p| json!({"gen": p.generation, "seq": p.seq}));
        Some(Wish::Join(
            json!({"room_id": room_id, "from": from, "history": self.history}),
        ))
    }

    pub(super) fn on_message(&mut self, message: NewMessage, out: &mut Vec<Output>) {
        let Some(position) = self.position.as_mut() else { return };
        if message.seq == position.seq + 1 {
            position.seq = message.seq;
            out.push(Output::Event(SessionEvent::Message(message)));
            return;
        }
        out.push(Output::Event(SessionEvent::Irregular {
            room_id: message.room_id,
            due: position.seq + 1,
            came: message.seq,
        }));
        if message.seq > position.seq {
            // Whatever happened, the log has what is missing.
            out.push(Output::Reconnect("a message was left out".into()));
        }
    }

    pub(super) fn on_joined(&mut self, data: &Value, out: &mut Vec<Output>) {
        let Ok(room) = Joined::deserialize(data) else {
            out.push(Output::Reconnect("the answer to a join made no sense".into()));
            return;
        };
        self.membership = Membership::In;
        let number = |name: &str| data[name].as_u64().unwrap_or_default();
        if self.position.is_none() {
            self.position = Some(Position {
                generation: number("gen"),
                seq: number("first_seq").saturating_sub(1),
            });
        }
        let resumed = data["resumed"] == true;
        out.push(Output::Event(SessionEvent::Joined { room, resumed }));
    }

    /// A join failed. False if it always will.
    pub(super) fn on_join_refused(&mut self, now: u64, refusal: &Refusal) -> bool {
        let retry_at = now + RETRY_MS;
        self.membership = Membership::Out { retry_at };
        may_pass(&refusal.code)
    }

    /// The user is no longer a member.
    pub(super) fn on_removed(&mut self, now: u64) {
        if self.membership == Membership::In {
            self.membership = Membership::Out { retry_at: now };
        }
    }

    pub(super) fn on_sent(&mut self, data: &Value, out: &mut Vec<Output>) {
        self.sending = false;
        if let Some(unsent) = self.outbox.pop_front() {
            out.push(Output::Event(SessionEvent::Sent {
                ticket: unsent.ticket,
                seq: data["sequence_number"].as_u64().unwrap_or_default(),
                message_id: data["message_id"].as_str().unwrap_or_default().into(),
                duplicate: data["duplicate"] == true,
            }));
        }
    }

    pub(super) fn on_send_refused(&mut self, now: u64, refusal: Refusal, data: &Value, out: &mut Vec<Output>) {
        self.sending = false;
        if refusal.code == "NOT_MEMBER" {
            // The seat is gone: in again, then on.
            self.on_removed(now);
        } else if data["outcome"] == "unknown" || may_pass(&refusal.code) {
            self.send_at = now + data["retry_after_ms"].as_u64().unwrap_or(RETRY_MS);
        } else if let Some(Unsent { ticket, .. }) = self.outbox.pop_front() {
            out.push(Output::Event(SessionEvent::SendRefused { ticket, refusal }));
        }
    }

    /// The position is void; `data` says which one counts.
    pub(super) fn on_resync(&mut self, data: &Value) {
        let number = |name: &str| data[name].as_u64();
        self.position = Some(Position {
            generation: number("gen").unwrap_or_default(),
            seq: number("from_seq").unwrap_or(1).saturating_sub(1),
        });
    }

    /// Nothing more will be sent to the room.
    pub(super) fn give_up(self, refusal: &Refusal, out: &mut Vec<Output>) {
        out.extend(self.outbox.into_iter().map(|unsent| {
            Output::Event(SessionEvent::SendRefused {
                ticket: unsent.ticket,
                refusal: refusal.clone(),
            })
        }));
    }
}

/// True if the same request may succeed later.
fn may_pass(code: &str) -> bool {
    matches!(code, "ADMIN_NODE_UNAVAILABLE" | "INTERNAL_ERROR")
}
