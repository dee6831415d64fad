//! What one member of a room sees.

use super::{MixedCluster, Place};
use crate::Client;
use chat_client::request;
use serde_json::Value;
use std::collections::BTreeMap;

/// Somebody came or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `member_joined` or `member_left`.
    pub kind: String,
    /// Who.
    pub name: String,
    /// How many are in the room afterwards.
    pub count: u64,
    /// Why, if that was said.
    pub reason: Option<String>,
}

impl Event {
    /// Somebody came, with whom there are so many.
    #[must_use]
    pub fn came(name: &str, count: u64) -> Self {
        Self {
            kind: "member_joined".into(),
            name: name.into(),
            count,
            reason: None,
        }
    }

    /// Somebody went; so many are left.
    #[must_use]
    pub fn left(name: &str, count: u64, reason: Option<&str>) -> Self {
        Self {
            kind: "member_left".into(),
            name: name.into(),
            count,
            reason: reason.map(str::to_owned),
        }
    }
}

/// A member of a room.
///
/// At an original node it sees what the original client shows: messages in order, each once, whatever comes twice, late or
/// early, and not its own coming. At a node of ours nothing may come twice, late or early, and a sender must see its message
/// before that is confirmed.
pub struct Member {
    /// Its connection.
    pub client: Client,
    /// Its name.
    pub name: &'static str,
    /// Where it is connected.
    pub place: Place,
    room: String,
    /// What was shown: message `n` is at place `n - 1`.
    shown: Vec<String>,
    /// Messages that wait to be shown, for a hole before them or for somebody to ask.
    waiting: BTreeMap<u64, Value>,
    /// The number of the last own message that was confirmed.
    confirmed: Option<u64>,
}

impl Member {
    /// Joins a room. The frames of history are not taken.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn join(cluster: &MixedCluster, place: Place, room: &str, name: &'static str) -> Self {
        let mut client = cluster.client(place).await;
        let joined = client.ask(&request::join_room(room, name)).await;
        assert_eq!(joined["type"], "join_room_success", "{name} at {place:?}: {joined}");
        Self {
            client,
            name,
            place,
            room: room.to_owned(),
            shown: Vec::new(),
            waiting: BTreeMap::new(),
            confirmed: None,
        }
    }

    /// The next thing that is shown.
    ///
    /// # Panics
    /// If there is none in time: a hole that does not close is silence.
    pub async fn next(&mut self) -> Value {
        loop {
            if let Some(message) = self.show() {
                return message;
            }
            if let Some(other) = self.take().await {
                return other;
            }
        }
    }

    /// The next thing is a message; its number and its content.
    ///
    /// # Panics
    /// If it is something else.
    pub async fn message(&mut self) -> (u64, String) {
        let frame = self.next().await;
        assert_eq!(frame["type"], "new_message", "{}: {frame}", self.who());
        (self.seen(), self.shown.last().cloned().unwrap_or_default())
    }

    /// Messages are shown, and nothing else, until there are so many.
    ///
    /// # Panics
    /// If that does not happen, or there are more already.
    pub async fn messages_up_to(&mut self, number: u64) {
        while self.seen() < number {
            self.message().await;
        }
        assert_eq!(self.seen(), number, "{}", self.who());
    }

    /// The next thing says that somebody came or went.
    ///
    /// # Panics
    /// If it is something else.
    pub async fn event(&mut self) -> Event {
        let frame = self.next().await;
        let context = format!("{}: {frame}", self.who());
        let data = &frame["data"];
        assert_eq!(data["room_id"], self.room.as_str(), "{context}");
        assert!(data["timestamp"].is_string(), "{context}");
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{context}")).to_owned();
        Event {
            kind: text(&frame["type"]),
            name: text(&data["username"]),
            count: data["member_count"].as_u64().unwrap_or_else(|| panic!("{context}")),
            reason: data.get("reason").map(text),
        }
    }

    /// Says something, without waiting.
    pub async fn say(&mut self, content: &str) {
        let text = request::send_message(&self.room, self.name, content);
        self.client.say(&text).await;
    }

    /// Waits until the last own message was confirmed and shown, with all before it. Its number.
    ///
    /// # Panics
    /// If it is refused, or something else but messages comes.
    pub async fn confirmed(&mut self) -> u64 {
        loop {
            if let Some(number) = self.confirmed.take_if(|number| *number <= self.shown.len() as u64) {
                return number;
            }
            if self.show().is_none()
                && let Some(other) = self.take().await
            {
                panic!("{}: {other}", self.who());
            }
        }
    }

    /// Waits until the last own message was confirmed, whether or not it can be shown already. Its number.
    ///
    /// # Panics
    /// If it is refused, or something else but messages comes.
    pub async fn acknowledged(&mut self) -> u64 {
        loop {
            while self.show().is_some() {}
            if let Some(number) = self.confirmed.take() {
                return number;
            }
            if let Some(other) = self.take().await {
                panic!("{}: {other}", self.who());
            }
        }
    }

    /// Nothing came that was not shown yet: the next frame is the answer to a question.
    ///
    /// # Panics
    /// If something came.
    pub async fn is_quiet(&mut self) {
        assert!(self.waiting.is_empty(), "{}: {:?}", self.who(), self.waiting);
        let list = self.client.ask(&request::list_rooms()).await;
        assert_eq!(list["type"], "rooms_list", "{}: {list}", self.who());
    }

    /// The number of the last message that was shown.
    #[must_use]
    pub const fn seen(&self) -> u64 {
        self.shown.len() as u64
    }

    /// What was shown: message `n` is at place `n - 1`.
    #[must_use]
    pub fn shown(&self) -> &[String] {
        &self.shown
    }

    /// The room.
    #[must_use]
    pub fn room(&self) -> &str {
        &self.room
    }

    fn who(&self) -> String {
        format!("{} at {:?}", self.name, self.place)
    }

    /// The message that continues what was shown, if it is there.
    fn show(&mut self) -> Option<Value> {
        let message = self.waiting.remove(&(self.seen() + 1))?;
        let content = message["data"]["content"].as_str().expect("a message has a content");
        self.shown.push(content.to_owned());
        Some(message)
    }

    /// Takes a frame; gives it if it is neither a message nor the confirmation of one.
    async fn take(&mut self) -> Option<Value> {
        let frame = self.client.next().await;
        let strict = matches!(self.place, Place::Ours(_));
        let number = frame["data"]["sequence_number"].as_u64().unwrap_or_default();
        match frame["type"].as_str() {
            Some("new_message") => {
                let next = self.seen() + self.waiting.len() as u64 + 1;
                assert!(!strict || number == next, "{} waits for {next}: {frame}", self.who());
                if number > self.seen()
                    && let Some(known) = self.waiting.insert(number, frame.clone())
                {
                    assert_eq!(known, frame, "{}: one number, one message", self.who());
                }
                None
            }
            // A sender behind an original node may be told before it sees its message.
            Some("message_sent") => {
                let there = self.seen() + self.waiting.len() as u64;
                assert!(!strict || number <= there, "{} has {there}: {frame}", self.who());
                self.confirmed = Some(number);
                None
            }
            // It may listen already when its node is told that it came.
            Some("member_joined") if !strict && frame["data"]["username"] == self.name => None,
            _ => Some(frame),
        }
    }
}
