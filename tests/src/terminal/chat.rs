//! The screen of one room.

use super::buffer::MessageBuffer;
use serde_json::Value;
use std::collections::BTreeSet;

/// What the room screen shows.
#[derive(Debug)]
pub struct Chat {
    /// Which room.
    pub room_id: String,
    /// Its name.
    pub room_name: String,
    /// The side bar.
    pub members: BTreeSet<String>,
    /// The messages, in the order in which they appeared. The first has number 1, and each the next.
    pub shown: Vec<Shown>,
    /// The other lines.
    pub notes: Vec<String>,
    /// `message_error` frames. The user does not see them, and the text is gone.
    pub refused: Vec<Value>,
    /// Messages that came although they were shown already. The user does not see them either.
    pub repeats: usize,
    buffer: MessageBuffer,
}

/// A message on the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Who said it.
    pub username: String,
    /// What.
    pub content: String,
    id: String,
}

impl Chat {
    pub(super) fn new(room_id: &str, room_name: String, members: BTreeSet<String>) -> Self {
        Self {
            room_id: room_id.to_owned(),
            room_name,
            members,
            shown: Vec::new(),
            notes: Vec::new(),
            refused: Vec::new(),
            repeats: 0,
            buffer: MessageBuffer::default(),
        }
    }

    /// The texts on the screen.
    #[must_use]
    pub fn contents(&self) -> Vec<&str> {
        self.shown.iter().map(|shown| shown.content.as_str()).collect()
    }

    /// True if the newest message is this one.
    #[must_use]
    pub fn ends_with(&self, content: &str) -> bool {
        self.shown.last().is_some_and(|shown| shown.content == content)
    }

    pub(super) fn on_message(&mut self, frame: &Value) {
        let taken = self.buffer.take(frame["data"].clone());
        if taken.dropped {
            let number = frame["data"]["sequence_number"].as_u64().unwrap_or_default();
            let place = usize::try_from(number).unwrap_or_default().wrapping_sub(1);
            let known = self.shown.get(place);
            // What is dropped and is not on the screen will never be.
            assert_eq!(known, Some(&Shown::of(frame)), "lost: {frame}");
            self.repeats += 1;
            return;
        }
        let shown = self.shown.len();
        assert!(!taken.warned, "a hole behind {shown}, nothing more is shown: {frame}");
        self.shown.extend(taken.shown.iter().map(Shown::from_data));
    }

    pub(super) fn on_joined(&mut self, user: &str, me: &str) {
        if user != me {
            self.members.insert(user.to_owned());
            self.notes.push(format!("{user} joined the room"));
        }
    }

    pub(super) fn on_left(&mut self, user: &str, reason: Option<&str>) {
        self.members.remove(user);
        let reason = reason.filter(|reason| *reason != "User disconnected");
        let reason = reason.map_or_else(String::new, |reason| format!(" ({})", reason.to_lowercase()));
        self.notes.push(format!("{user} left the room{reason}"));
    }
}

impl Shown {
    fn of(frame: &Value) -> Self {
        Self::from_data(&frame["data"])
    }

    fn from_data(data: &Value) -> Self {
        let text = |key: &str| {
            let text = data[key].as_str();
            text.unwrap_or_else(|| panic!("no {key} in {data}")).to_owned()
        };
        text("timestamp");
        Self {
            username: text("username"),
            content: text("content"),
            id: text("message_id"),
        }
    }
}
