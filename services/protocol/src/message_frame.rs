//! `new_message`, the frame that everything else exists for: encoded once per cluster and shared by every recipient.
//!
//! A frame is kept as the complete WebSocket frame. The place of the sequence number is remembered, so that the shift of
//! a classic session (its numbers must start at 1) patches digits instead of encoding the message again.

use crate::codec;
use crate::ids::{MessageId, RoomId, Seq, UserName};
use crate::limits::{MAX_MESSAGE_FRAME, MAX_SEQ};
use crate::timestamp::Timestamp;
use crate::{text, ws_frame};
use bytes::Bytes;
use std::ops::Range;
use std::time::Duration;

/// The fields of a numbered message, as `new_message` carries them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Which message.
    pub message_id: MessageId,
    /// Where.
    pub room_id: RoomId,
    /// Who said it.
    pub username: UserName,
    /// What: 1 to 5,000 code points.
    pub content: std::sync::Arc<str>,
    /// Its place in the order of the room.
    pub seq: Seq,
    /// When the admin node accepted it.
    pub timestamp: Timestamp,
}

/// One encoded `new_message`. Cloning shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageFrame {
    seq: Seq,
    frame: Bytes,
    digits: Range<usize>,
}

/// The text was no `new_message` frame of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAMessage;

const BEFORE_DIGITS: &str = r#","sequence_number":"#;
const PREFIX: &str = r#"{"type":"new_message","data":{"message_id":"#;

/// What ends a payload, behind the time.
const AFTER_TIME: &str = r#""}}"#;

/// Where the data begins in a payload.
const DATA_AT: usize = r#"{"type":"new_message","data":"#.len();

/// What follows a JSON string as [`codec::push_json_string`] writes them; `None` if `json` does not begin with one.
fn past_json_string(json: &str) -> Option<&str> {
    let inside = json.strip_prefix('"')?;
    let bytes = inside.as_bytes();
    let mut at = 0;
    loop {
        match bytes.get(at)? {
            b'"' => return inside.get(at + 1..),
            b'\\' => match bytes.get(at + 1)? {
                b'"' | b'\\' | b'n' | b't' | b'r' => at += 2,
                b'u' if bytes.get(at + 2..at + 6).is_some_and(is_escaped_control) => at += 6,
                _ => return None,
            },
            0..0x20 => return None,
            _ => at += 1,
        }
    }
}

fn is_escaped_control(hex: &[u8]) -> bool {
    matches!(hex, [b'0', b'0', b'0' | b'1', b'0'..=b'9' | b'a'..=b'f'])
}

impl MessageFrame {
    /// Encodes `message`.
    #[must_use]
    pub fn encode(message: &Message) -> Self {
        let mut head = String::with_capacity(message.content.len() + 256);
        head.push_str(PREFIX);
        codec::push_json_string(&mut head, message.message_id.as_str());
        head.push_str(r#","room_id":"#);
        codec::push_json_string(&mut head, message.room_id.as_str());
        head.push_str(r#","username":"#);
        codec::push_json_string(&mut head, message.username.as_str());
        head.push_str(r#","content":"#);
        codec::push_json_string(&mut head, &message.content);
        head.push_str(BEFORE_DIGITS);
        let digits = message.seq.to_string();
        let tail = format!(r#","timestamp":"{}"}}}}"#, message.timestamp);
        Self::assemble(message.seq, head.as_bytes(), &digits, tail.as_bytes())
    }

    /// Reads back what [`Self::payload`] gave, as it comes over a link. The shape is checked to the last byte, so that what
    /// reaches a client is JSON with the fields of a message, whoever sent it here; what the fields say is not.
    ///
    /// # Errors
    /// [`NotAMessage`] if `payload` is no frame of ours.
    pub fn from_payload(payload: &str) -> Result<Self, NotAMessage> {
        // The next link could not carry what XML forbids: its reader would get another text, or none.
        if payload.len() > MAX_MESSAGE_FRAME || text::first_forbidden(payload).is_some() {
            return Err(NotAMessage);
        }
        let mut rest = payload.strip_prefix(PREFIX).ok_or(NotAMessage)?;
        for behind in [r#","room_id":"#, r#","username":"#, r#","content":"#, BEFORE_DIGITS] {
            rest = past_json_string(rest)
                .and_then(|rest| rest.strip_prefix(behind))
                .ok_or(NotAMessage)?;
        }
        let head = payload.len() - rest.len();
        let (digits, tail) = rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count());
        let seq = digits.parse().map(Seq).map_err(|_| NotAMessage)?;
        let timestamp = tail.strip_prefix(r#","timestamp":"#).and_then(past_json_string);
        if seq == Seq::ZERO || seq.0 > MAX_SEQ || digits.starts_with('0') || timestamp != Some("}}") {
            return Err(NotAMessage);
        }
        Ok(Self::assemble(
            seq,
            &payload.as_bytes()[..head],
            digits,
            tail.as_bytes(),
        ))
    }

    fn assemble(seq: Seq, head: &[u8], digits: &str, tail: &[u8]) -> Self {
        let frame = ws_frame::text(&[head, digits.as_bytes(), tail]);
        let start = ws_frame::header_len(&frame) + head.len();
        Self {
            seq,
            frame,
            digits: start..start + digits.len(),
        }
    }

    /// The number of the message, unshifted.
    #[must_use]
    pub const fn seq(&self) -> Seq {
        self.seq
    }

    /// The JSON text.
    #[must_use]
    pub fn payload(&self) -> &str {
        // Made from `str`s only; the fallback is unreachable and harmless.
        std::str::from_utf8(ws_frame::payload(&self.frame)).unwrap_or_default()
    }

    /// The JSON object inside of the envelope.
    #[must_use]
    pub fn data(&self) -> &str {
        let payload = self.payload();
        payload
            .get(DATA_AT..payload.len().saturating_sub(1))
            .unwrap_or_default()
    }

    /// The message in the frame.
    ///
    /// # Errors
    /// [`NotAMessage`] if the frame came over a link and only looked like one.
    pub fn message(&self) -> Result<Message, NotAMessage> {
        let data: serde_json::Value = serde_json::from_str(self.data()).map_err(|_| NotAMessage)?;
        let text = |name: &str| data[name].as_str().ok_or(NotAMessage);
        Ok(Message {
            message_id: MessageId::parse(text("message_id")?).map_err(|_| NotAMessage)?,
            room_id: RoomId::parse(text("room_id")?).map_err(|_| NotAMessage)?,
            username: UserName::parse(text("username")?).map_err(|_| NotAMessage)?,
            content: text("content")?.into(),
            seq: self.seq,
            timestamp: Timestamp::parse(text("timestamp")?).ok_or(NotAMessage)?,
        })
    }

    /// How long before `now` the message was taken, by the clock of its room's admin node; zero if that clock is ahead. `None` if
    /// the frame came over a link and does not say.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Option<Duration> {
        let (end, length) = (self.frame.len().checked_sub(AFTER_TIME.len())?, Timestamp::LENGTH);
        let time = self.frame.get(end.checked_sub(length)?..end)?;
        let taken = Timestamp::parse(std::str::from_utf8(time).ok()?)?;
        Some(Duration::from_micros(
            now.0.saturating_sub(taken.0).try_into().unwrap_or(0),
        ))
    }

    /// The complete WebSocket frame, numbers lowered by `shift`: the shared bytes for 0, a patched copy otherwise.
    #[must_use]
    pub fn bytes(&self, shift: u64) -> Bytes {
        if shift == 0 {
            return self.frame.clone();
        }
        let head = &self.frame[ws_frame::header_len(&self.frame)..self.digits.start];
        let digits = self.seq.0.saturating_sub(shift).to_string();
        ws_frame::text(&[head, digits.as_bytes(), &self.frame[self.digits.end..]])
    }

    /// Bytes that the frame takes in a queue.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frame.len()
    }

    /// Never true; here because clippy expects it beside `len`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frame.is_empty()
    }
}
