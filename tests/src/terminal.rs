//! The terminal client of the original system, seen from the node: which frame it takes for which answer, what it shows,
//! and what confuses it.
//!
//! It reads as the original does. After a request it takes the next frame, or one of the next ten, for the answer, whatever
//! else comes is thrown away. It reads events only while it is in a room, and shows the messages of that room only as long
//! as they follow each other from 1 on. It has no session to resume and asks for nothing that it missed. Unlike the
//! original it does not bear with what goes wrong: whenever its user would have seen less, more or something else than the
//! room, it panics and shows the frame.

mod buffer;
mod chat;
mod wire;

pub use buffer::{MAX_KNOWN_IDS, MAX_WAITING, MessageBuffer, Taken};
pub use chat::{Chat, Shown};

use crate::TestNode;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
use wire::{Field, Got, Wire};

/// So many frames are looked at for an answer, if it is not the very next one that counts.
pub const ANSWER_WITHIN: usize = 10;

/// One user at one terminal.
pub struct TerminalClient {
    /// Under which name everything happens.
    pub name: String,
    /// The list screen: what the last list said.
    pub rooms: Vec<Value>,
    /// The room that the user is in.
    pub chat: Option<Chat>,
    /// The room that the user was thrown out of last, and what the list screen says about it.
    pub thrown_out: Option<(Chat, String)>,
    wire: Wire,
}

impl TerminalClient {
    /// Connects and looks for rooms.
    pub async fn connect(node: &TestNode, name: &str) -> Self {
        Self::connect_to(&node.url(), name).await
    }

    /// As [`Self::connect`], to a `ws://` URL.
    pub async fn connect_to(url: &str, name: &str) -> Self {
        let mut this = Self {
            name: name.to_owned(),
            rooms: Vec::new(),
            chat: None,
            thrown_out: None,
            wire: Wire::connect(url).await,
        };
        this.refresh().await;
        this
    }

    // === the list screen

    /// "Local Only". The very next frame counts.
    ///
    /// # Panics
    /// If that is not the list.
    pub async fn local_only(&mut self) {
        self.assert_on_list("list_rooms");
        self.wire.send("list_rooms", &[]).await;
        let frame = self.frame("rooms_list").await;
        assert_eq!(frame["type"], "rooms_list", "misread as the local list: {frame}");
        self.show_list(&frame);
    }

    /// "Refresh": the rooms of all nodes.
    ///
    /// # Panics
    /// If the list does not come within ten frames.
    pub async fn refresh(&mut self) {
        self.wire.send("discover_rooms", &[]).await;
        let frame = self.answer(&["global_rooms_list"], |_| {}).await;
        self.show_list(&frame);
    }

    fn show_list(&mut self, frame: &Value) {
        let rooms = frame["data"]["rooms"].as_array();
        let rooms = rooms.unwrap_or_else(|| panic!("a list without rooms: {frame}"));
        let mut ids = BTreeSet::new();
        for room in rooms {
            for key in ["room_id", "room_name", "admin_node"] {
                assert!(room[key].is_string(), "no {key} in {frame}");
            }
            assert!(room["member_count"].is_u64(), "no member_count in {frame}");
            let id = room["room_id"].as_str();
            assert!(ids.insert(id), "{id:?} twice, the rest is not shown: {frame}");
        }
        self.rooms = rooms.clone();
    }

    /// True if the list screen shows the room.
    #[must_use]
    pub fn sees(&self, room_id: &str) -> bool {
        self.rooms.iter().any(|room| room["room_id"] == room_id)
    }

    /// Creates a room and gives its id. A success is followed by a refresh.
    ///
    /// # Errors
    /// Why the room was not created. The original client shows a text of its own instead.
    ///
    /// # Panics
    /// If the answer does not come within ten frames, or has other keys than it must have.
    pub async fn create(&mut self, room_name: &str, description: Option<&str>) -> Result<String, String> {
        self.assert_on_list("create_room");
        let name = self.name.clone();
        let fields = [
            ("room_name", Some(room_name)),
            ("creator_id", Some(name.as_str())),
            ("description", description),
        ];
        self.wire.send("create_room", &fields).await;
        let frame = self.answer(&["room_created"], |_| {}).await;
        if frame["data"]["success"] == false {
            return Err(text(&frame, "message"));
        }
        let keys: Vec<&str> = frame["data"]
            .as_object()
            .map(|data| data.keys().map(String::as_str).collect())
            .unwrap_or_default();
        // Every other set of keys is an error on the screen.
        assert_eq!(
            keys.into_iter().collect::<BTreeSet<_>>(),
            BTreeSet::from(["room_id", "room_name", "admin_node", "members", "created_at"]),
            "{frame}"
        );
        let room_id = text(&frame, "room_id");
        self.refresh().await;
        Ok(room_id)
    }

    /// Enters a room of the list.
    ///
    /// # Errors
    /// The code and the text of a refusal.
    ///
    /// # Panics
    /// If the answer does not come within ten frames, or a message of the room comes before it.
    pub async fn join(&mut self, room_id: &str) -> Result<(), (String, String)> {
        self.assert_on_list("join_room");
        self.request("join_room", room_id, None).await;
        let lost = |frame: &Value| {
            assert_ne!(
                frame["type"], "new_message",
                "thrown away before the room is open: {frame}"
            );
        };
        let frame = self.answer(&["join_room_success", "join_room_error"], lost).await;
        assert_eq!(frame["data"]["room_id"], room_id, "the answer to another join: {frame}");
        if frame["type"] == "join_room_error" {
            return Err((text(&frame, "error_code"), text(&frame, "error")));
        }
        assert!(frame["data"]["member_count"].is_u64(), "{frame}");
        text(&frame, "admin_node");
        let members = frame["data"]["members"].as_array();
        let members = members.unwrap_or_else(|| panic!("no members in {frame}"));
        let members = members.iter().filter_map(Value::as_str).map(str::to_owned);
        self.chat = Some(Chat::new(room_id, text(&frame, "room_name"), members.collect()));
        Ok(())
    }

    /// As [`Self::join`], tried until it succeeds and the list shows the room.
    ///
    /// # Panics
    /// If that does not happen.
    pub async fn enter(&mut self, room_id: &str) {
        let deadline = tokio::time::Instant::now() + crate::PATIENCE;
        loop {
            self.refresh().await;
            let refused = if self.sees(room_id) {
                match self.join(room_id).await {
                    Ok(()) => return,
                    Err(refused) => Some(refused),
                }
            } else {
                None
            };
            assert!(
                tokio::time::Instant::now() < deadline,
                "{room_id}: {refused:?}, {:?}",
                self.rooms
            );
            // A list may be a second old, and a user does not press the key all the time.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    // === the room screen

    /// Says something. Nothing is waited for.
    pub async fn say(&mut self, content: &str) {
        let room_id = self.here().room_id.clone();
        self.request("send_message", &room_id, Some(content)).await;
    }

    /// Says something and reads until it is shown.
    pub async fn say_and_see(&mut self, content: &str) {
        self.say(content).await;
        self.read_until(|chat| chat.ends_with(content)).await;
    }

    /// Asks for the room to be deleted. What comes of it is read as events.
    pub async fn delete(&mut self) {
        let room_id = self.here().room_id.clone();
        self.request("delete_room", &room_id, None).await;
    }

    /// Reads what has come, leaves the room and looks for rooms; gives the room as it was last seen.
    ///
    /// # Panics
    /// If the list does not come within ten frames: the messages of the room may be among them.
    pub async fn leave(&mut self) -> Chat {
        while let Some(got) = self.wire.ready() {
            self.take(got).await;
        }
        self.leave_unread().await
    }

    /// As [`Self::leave`], by somebody who does not wait for what has come.
    ///
    /// # Panics
    /// As [`Self::leave`].
    pub async fn leave_unread(&mut self) -> Chat {
        let chat = self.chat.take().expect("the user is in a room");
        self.request("leave_room", &chat.room_id, None).await;
        self.refresh().await;
        chat
    }

    /// Reads one frame and reacts to it.
    ///
    /// # Panics
    /// If there is none, or the connection is at its end.
    pub async fn read(&mut self) {
        let Some(got) = self.wire.next().await else {
            panic!("{} sees nothing new: {:?}", self.name, self.chat);
        };
        self.take(got).await;
    }

    /// Reads until the room looks as wanted.
    ///
    /// # Panics
    /// If it does not, or the user is thrown out.
    pub async fn read_until(&mut self, done: impl Fn(&Chat) -> bool) {
        while !done(self.here()) {
            self.read().await;
        }
    }

    /// Reads until the newest message is this one.
    pub async fn read_until_shown(&mut self, content: &str) {
        self.read_until(|chat| chat.ends_with(content)).await;
    }

    /// Reads until the user is back at the list, and gives the room and what the list screen says.
    ///
    /// # Panics
    /// If that does not happen.
    pub async fn read_until_thrown_out(&mut self) -> (Chat, String) {
        while self.thrown_out.is_none() {
            self.read().await;
        }
        self.thrown_out.take().expect("just seen")
    }

    /// Reads until the connection ends, and gives the room that the user was in.
    ///
    /// # Panics
    /// If it does not end.
    pub async fn read_until_lost(mut self) -> Option<Chat> {
        loop {
            match self.wire.next().await {
                Some(Got::End(_)) => return self.chat,
                Some(Got::Frame(frame)) => self.react(frame).await,
                None => panic!("{}: the connection does not end", self.name),
            }
        }
    }

    /// The room that the user is in.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn here(&self) -> &Chat {
        let outside = || panic!("{} is in no room; {:?}", self.name, self.thrown_out);
        self.chat.as_ref().unwrap_or_else(outside)
    }

    async fn take(&mut self, got: Got) {
        match got {
            Got::Frame(frame) => self.react(frame).await,
            Got::End(why) => panic!("{} lost the connection: {why}", self.name),
        }
    }

    async fn react(&mut self, frame: Value) {
        let Some(chat) = &mut self.chat else {
            panic!("nobody reads this at the list screen, and the next request takes it for its answer: {frame}");
        };
        let data = &frame["data"];
        let kind = frame["type"].as_str().unwrap_or_default();
        // A client of one room at a time is told of that room only.
        let about = data["room_id"].as_str();
        assert!(
            about == Some(chat.room_id.as_str()),
            "about another room than {}: {frame}",
            chat.room_id
        );
        match kind {
            "new_message" => chat.on_message(&frame),
            "member_joined" => chat.on_joined(&text(&frame, "username"), &self.name),
            "member_left" => {
                let (user, reason) = (text(&frame, "username"), data["reason"].as_str());
                if user == self.name {
                    let why = reason.unwrap_or("unknown reason").to_lowercase();
                    let room = chat.room_name.clone();
                    self.close_room(format!("You were removed from '{room}' due to {why}."))
                        .await;
                } else {
                    chat.on_left(&user, reason);
                }
            }
            "message_sent" | "delete_room_success" | "delete_room_cancelled" => {}
            "message_error" => {
                text(&frame, "error_code");
                chat.refused.push(frame);
            }
            "delete_room_initiated" => {
                let by = data["initiator"].as_str().unwrap_or("Unknown");
                if by != self.name {
                    chat.notes.push(format!("Room deletion initiated by {by}"));
                }
            }
            "delete_room_failed" => chat
                .notes
                .push(format!("Room deletion failed: {}", text(&frame, "reason"))),
            "room_deleted" => {
                let room = text(&frame, "room_name");
                self.close_room(format!("Room '{room}' has been deleted.")).await;
            }
            _ => panic!("an answer that nobody waits for, or an event that this client does not know: {frame}"),
        }
    }

    /// Back to the list, without a word to the node.
    async fn close_room(&mut self, status: String) {
        self.thrown_out = self.chat.take().map(|chat| (chat, status));
        self.refresh().await;
    }

    // === requests and answers

    fn assert_on_list(&self, request: &str) {
        assert!(self.chat.is_none(), "{request} is asked at the list screen only");
    }

    async fn request(&mut self, kind: &str, room_id: &str, content: Option<&str>) {
        let mut fields: Vec<Field<'_>> = vec![("room_id", Some(room_id)), ("username", Some(&self.name))];
        if content.is_some() {
            fields.push(("content", content));
        }
        self.wire.send(kind, &fields).await;
    }

    /// The first of the next frames that is of a wanted type. The others are thrown away.
    async fn answer(&mut self, wanted: &[&str], look: impl Fn(&Value)) -> Value {
        let mut thrown_away = Vec::new();
        while thrown_away.len() < ANSWER_WITHIN {
            let frame = self.frame(wanted[0]).await;
            if wanted.iter().any(|kind| frame["type"] == **kind) {
                return frame;
            }
            // Every request waits for its answer, so none can be left over; and nothing that it asks is refused this way.
            let stray = ["rooms_list", "global_rooms_list", "room_created", "error"];
            assert!(
                !stray.iter().any(|kind| frame["type"] == *kind),
                "a stray answer: {frame}"
            );
            look(&frame);
            thrown_away.push(frame);
        }
        panic!("{} takes {thrown_away:#?} for the answer {wanted:?}", self.name);
    }

    async fn frame(&mut self, wanted: &str) -> Value {
        match self.wire.next().await {
            Some(Got::Frame(frame)) => frame,
            Some(Got::End(why)) => panic!("{} lost the connection instead of {wanted}: {why}", self.name),
            None => panic!("{}: the screen hangs, {wanted} does not come", self.name),
        }
    }
}

fn text(frame: &Value, key: &str) -> String {
    let text = frame["data"][key].as_str();
    text.unwrap_or_else(|| panic!("no {key} in {frame}")).to_owned()
}
