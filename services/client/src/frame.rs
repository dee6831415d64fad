//! From the text of a frame to what it says.

use crate::answer::{Created, GlobalRooms, Joined, Left, RoomsList, Sent};
use crate::event::{Event, MemberChange, NewMessage};
use crate::new_message;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::fmt;

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The `error_code`; `""` in frames that carry none.
    pub code: String,
    /// The text for people.
    pub text: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.code.is_empty() {
            f.write_str(&self.text)
        } else {
            write!(f, "{} ({})", self.text, self.code)
        }
    }
}

/// What a node said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Nobody asked for it.
    Event(Event),
    /// Answer to `list_rooms`.
    RoomsList(RoomsList),
    /// Answer to `discover_rooms`.
    GlobalRooms(GlobalRooms),
    /// Answer to `create_room`.
    RoomCreated(Result<Created, Refusal>),
    /// Good answer to `join_room`.
    Joined(Joined),
    /// Bad answer to `join_room`.
    JoinRefused {
        /// As asked, or `""`.
        room_id: String,
        /// Why.
        refusal: Refusal,
    },
    /// Answer to `leave_room`.
    Left(Left),
    /// Good answer to `send_message`.
    Sent(Sent),
    /// Bad answer to `send_message`.
    SendRefused {
        /// As asked, or `""`.
        room_id: String,
        /// Why.
        refusal: Refusal,
    },
    /// The request could not be understood at all.
    Error(Refusal),
}

/// Reads a frame. What is unknown, or known but malformed, becomes [`Event::Other`]; nothing fails.
#[must_use]
pub fn decode(text: &str) -> Frame {
    if let Some(message) = new_message::scan(text) {
        return Frame::Event(Event::NewMessage(message.to_message()));
    }
    let kind = serde_json::from_str::<Envelope<'_>>(text).map_or(Cow::Borrowed(""), |envelope| envelope.kind);
    known(&kind, text).unwrap_or_else(|| {
        Frame::Event(Event::Other {
            kind: kind.into_owned(),
            text: text.to_owned(),
        })
    })
}

fn known(kind: &str, text: &str) -> Option<Frame> {
    Some(match kind {
        "new_message" => Frame::Event(Event::NewMessage(data::<NewMessage>(text)?)),
        "member_joined" => Frame::Event(Event::MemberJoined(data::<MemberChange>(text)?)),
        "member_left" => Frame::Event(Event::MemberLeft(data::<MemberChange>(text)?)),
        "rooms_list" => Frame::RoomsList(data(text)?),
        "global_rooms_list" => Frame::GlobalRooms(data(text)?),
        "room_created" => Frame::RoomCreated(match data::<Created>(text) {
            Some(created) => Ok(created),
            None => Err(data::<Failure>(text)?.into()),
        }),
        "join_room_success" => Frame::Joined(data(text)?),
        "join_room_error" => {
            data::<Refused>(text)?.into_frame(|room_id, refusal| Frame::JoinRefused { room_id, refusal })
        }
        "leave_room_success" => Frame::Left(data(text)?),
        "message_sent" => Frame::Sent(data(text)?),
        "message_error" => {
            data::<Refused>(text)?.into_frame(|room_id, refusal| Frame::SendRefused { room_id, refusal })
        }
        "error" => Frame::Error(data::<Failure>(text)?.into()),
        _ => return None,
    })
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Data<T> {
    data: T,
}

#[derive(Deserialize)]
struct Failure {
    message: String,
    #[serde(default)]
    error_code: String,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self {
            code: failure.error_code,
            text: failure.message,
        }
    }
}

#[derive(Deserialize)]
struct Refused {
    #[serde(default)]
    room_id: String,
    error: String,
    #[serde(default)]
    error_code: String,
}

impl Refused {
    fn into_frame(self, frame: impl FnOnce(String, Refusal) -> Frame) -> Frame {
        frame(
            self.room_id,
            Refusal {
                code: self.error_code,
                text: self.error,
            },
        )
    }
}

fn data<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str::<Data<T>>(text).ok().map(|whole| whole.data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_both_outcomes_are_told_apart() {
        let created = r#"{"type":"room_created","data":{"room_id":"r","room_name":"n","admin_node":"a","members":[],"created_at":"t"}}"#;
        assert!(matches!(decode(created), Frame::RoomCreated(Ok(c)) if c.room_id == "r"));
        let refused = r#"{"type": "room_created", "data": {"success": false, "message": "taken"}}"#;
        assert_eq!(
            decode(refused),
            Frame::RoomCreated(Err(Refusal {
                code: String::new(),
                text: "taken".into()
            }))
        );
        let refused = r#"{"type":"message_error","data":{"room_id":"r","error":"no","error_code":"NOT_MEMBER"}}"#;
        let refusal = Refusal {
            code: "NOT_MEMBER".into(),
            text: "no".into(),
        };
        assert_eq!(
            decode(refused),
            Frame::SendRefused {
                room_id: "r".into(),
                refusal
            }
        );
    }

    #[test]
    fn events_carry_their_reason_if_there_is_one() {
        let left = r#"{"type":"member_left","data":{"room_id":"r","username":"u","member_count":1,"timestamp":"t","reason":"Inactivity"}}"#;
        assert!(
            matches!(decode(left), Frame::Event(Event::MemberLeft(m)) if m.reason.as_deref() == Some("Inactivity"))
        );
        let joined =
            r#"{"type":"member_joined","data":{"room_id":"r","username":"u","member_count":1,"timestamp":"t"}}"#;
        assert!(matches!(decode(joined), Frame::Event(Event::MemberJoined(m)) if m.reason.is_none()));
    }

    #[test]
    fn nothing_that_comes_from_outside_fails() {
        for text in [
            "",
            "[]",
            "{",
            r#"{"type":7}"#,
            r#"{"type":"message_sent","data":null}"#,
            r#"{"type":"error"}"#,
        ] {
            assert!(matches!(decode(text), Frame::Event(Event::Other { text: t, .. }) if t == text));
        }
        let unknown = r#"{"data":{},"type":"room_deleted"}"#;
        assert!(matches!(decode(unknown), Frame::Event(Event::Other { kind, .. }) if kind == "room_deleted"));
    }
}
