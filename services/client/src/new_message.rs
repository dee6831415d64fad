//! Reading `new_message` without building anything: load and check tools read millions of them.
//!
//! [`scan`] takes the shape that our nodes write, by position; [`parse`] also any other JSON of the same meaning.

use crate::event::NewMessage;
use serde::Deserialize;
use std::borrow::Cow;

const BEFORE_ID: &str = r#"{"type":"new_message","data":{"message_id":""#;
const BEFORE_ROOM: &str = r#"","room_id":""#;
const BEFORE_USER: &str = r#"","username":""#;
const BEFORE_CONTENT: &str = r#"","content":""#;
const BEFORE_SEQ: &str = r#"","sequence_number":"#;
const BEFORE_TIME: &str = r#","timestamp":""#;
const END: &str = r#""}}"#;

/// A `new_message` whose texts stand in the frame where possible.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct NewMessageRef<'a> {
    /// Which message.
    #[serde(borrow)]
    pub message_id: Cow<'a, str>,
    /// Where.
    #[serde(borrow)]
    pub room_id: Cow<'a, str>,
    /// Who said it.
    #[serde(borrow)]
    pub username: Cow<'a, str>,
    /// What.
    #[serde(borrow)]
    pub content: Cow<'a, str>,
    /// Its place in the order of the room.
    #[serde(rename = "sequence_number")]
    pub seq: u64,
    /// When, as the node wrote it (UTC).
    #[serde(borrow)]
    pub timestamp: Cow<'a, str>,
}

impl NewMessageRef<'_> {
    /// A copy that outlives the frame.
    #[must_use]
    pub fn to_message(&self) -> NewMessage {
        NewMessage {
            message_id: self.message_id.as_ref().into(),
            room_id: self.room_id.as_ref().into(),
            username: self.username.as_ref().into(),
            content: self.content.as_ref().into(),
            seq: self.seq,
            timestamp: self.timestamp.as_ref().into(),
        }
    }
}

/// Reads a frame of exactly the shape that our nodes write and that needs no unescaping. `None` for everything else,
/// which may still be a `new_message`: see [`parse`].
#[must_use]
pub fn scan(frame: &str) -> Option<NewMessageRef<'_>> {
    let rest = frame.strip_prefix(BEFORE_ID)?;
    // With an escape somewhere a quote may be part of a text, so positions mean nothing.
    if rest.contains('\\') {
        return None;
    }
    let (message_id, rest) = until(rest, BEFORE_ROOM)?;
    let (room_id, rest) = until(rest, BEFORE_USER)?;
    let (username, rest) = until(rest, BEFORE_CONTENT)?;
    let (content, rest) = until(rest, BEFORE_SEQ)?;
    let (digits, rest) = rest.split_once(BEFORE_TIME)?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (timestamp, rest) = until(rest, END)?;
    rest.is_empty().then_some(NewMessageRef {
        message_id: message_id.into(),
        room_id: room_id.into(),
        username: username.into(),
        content: content.into(),
        seq: digits.parse().ok()?,
        timestamp: timestamp.into(),
    })
}

/// Reads any frame that means `new_message`; `None` for every other.
#[must_use]
pub fn parse(frame: &str) -> Option<NewMessageRef<'_>> {
    #[derive(Deserialize)]
    struct Whole<'a> {
        #[serde(rename = "type", borrow)]
        kind: Cow<'a, str>,
        #[serde(borrow)]
        data: Option<NewMessageRef<'a>>,
    }
    scan(frame).or_else(|| {
        let whole: Whole<'_> = serde_json::from_str(frame).ok()?;
        whole.data.filter(|_| whole.kind == "new_message")
    })
}

/// Splits before the first quote, where `follows` must stand, and behind it.
fn until<'a>(text: &'a str, follows: &str) -> Option<(&'a str, &'a str)> {
    let end = text.find('"')?;
    Some((&text[..end], text[end..].strip_prefix(follows)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_protocol::ids::{MessageId, RoomId, Seq, UserName};
    use chat_protocol::message_frame::{Message, MessageFrame};
    use chat_protocol::timestamp::Timestamp;

    fn frame(content: &str) -> MessageFrame {
        MessageFrame::encode(&Message {
            message_id: MessageId::parse("m-1").unwrap(),
            room_id: RoomId::parse("r-1").unwrap(),
            username: UserName::parse("inês").unwrap(),
            content: content.into(),
            seq: Seq(42),
            timestamp: Timestamp(1),
        })
    }

    #[test]
    fn a_plain_frame_is_read_by_position_and_borrowed() {
        let frame = frame("low tide, äöü");
        let message = scan(frame.payload()).unwrap();
        assert_eq!(
            (message.message_id.as_ref(), message.room_id.as_ref(), message.seq),
            ("m-1", "r-1", 42)
        );
        assert_eq!(
            (message.username.as_ref(), message.content.as_ref()),
            ("inês", "low tide, äöü")
        );
        assert!(matches!(message.content, Cow::Borrowed(_)));
        assert_eq!(parse(frame.payload()), Some(message));
    }

    #[test]
    fn escapes_are_left_to_the_parser() {
        for content in [
            "say \"hi\"",
            "two\nlines",
            r#"","sequence_number":7,"timestamp":"x"}}"#,
            "\\",
        ] {
            let frame = frame(content);
            assert_eq!(scan(frame.payload()), None);
            let message = parse(frame.payload()).unwrap();
            assert_eq!((message.content.as_ref(), message.seq), (content, 42));
        }
    }

    #[test]
    fn the_style_of_other_servers_is_understood() {
        let text = r#"{"type": "new_message", "data": {"message_id": "m", "room_id": "r", "username": "u", "content": "\u00e9", "sequence_number": 3, "timestamp": "t"}}"#;
        assert_eq!(scan(text), None);
        assert_eq!(
            parse(text).map(|m| (m.content.into_owned(), m.seq)),
            Some(("é".into(), 3))
        );
    }

    #[test]
    fn other_frames_are_none() {
        let whole = frame("x");
        let cut = &whole.payload()[..whole.payload().len() - 1];
        for text in [
            "",
            "{}",
            cut,
            r#"{"type":"message_sent","data":null}"#,
            r#"{"type":"new_message","data":{}}"#,
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(scan(&whole.payload().replace(":42,", ":-2,")), None);
        assert_eq!(scan(&whole.payload().replace(":42,", ":,")), None);
        assert_eq!(scan(&format!("{}x", whole.payload())), None);
    }
}
