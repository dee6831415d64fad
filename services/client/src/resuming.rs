//! [`Session`](crate::Session) over real connections: several addresses, reconnects, and requests as calls.

use crate::answer::{Created, GlobalRooms};
use crate::frame::{Frame, Refusal};
use crate::session::SessionEvent;
use crate::unique_id::unique_id;
use crate::{ConnectOptions, policy};
use driver::{Command, Driver};
use serde_json::{Value, json};
use std::fmt;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

mod driver;

/// Commands that wait for the task; a sender waits for its own one anyway.
const COMMANDS: usize = 64;

/// Rounds of looking for a room and creating it: somebody else may create it in between.
const ROUNDS: usize = 3;

/// How to stay connected.
#[derive(Debug, Clone)]
pub struct ResumingOptions {
    /// Where nodes are, as `ws://host:port`; at least one. They are tried in turn.
    pub addresses: Vec<String>,
    /// Under which name.
    pub user: String,
    /// What the client calls itself.
    pub client: String,
    /// Of each connection. `ping_every` is how long the node may be silent before it is asked, and the longest wait for
    /// its answer.
    pub connect: ConnectOptions,
    /// True: never stop trying. False: as the policy says, for about three minutes.
    pub persistent: bool,
    /// The random part of waits, from 0 to 1.
    pub jitter: fn() -> f64,
}

impl ResumingOptions {
    /// Default deadlines; stops trying after about three minutes.
    #[must_use]
    pub fn new(addresses: Vec<String>, user: &str) -> Self {
        Self {
            addresses,
            user: user.into(),
            client: "chat-client".into(),
            connect: ConnectOptions::default(),
            persistent: false,
            jitter: policy::random_jitter,
        }
    }
}

/// A message that is in its room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentOnce {
    /// Its number.
    pub seq: u64,
    /// Its id.
    pub message_id: String,
    /// True if an earlier attempt had put it there.
    pub duplicate: bool,
}

/// Why a send was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendError {
    /// It was refused and is not in the room.
    Refused(Refusal),
    /// The session ended. Whether the message is in the room is not known.
    Ended,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Ended => f.write_str("the session ended"),
        }
    }
}

impl std::error::Error for SendError {}

/// Why a question has no good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskError {
    /// The node said no.
    Refused(Refusal),
    /// The connection ended before the answer. Whether the node did what was asked is not known; ask again.
    Lost,
    /// The session ended.
    Ended,
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Lost => f.write_str("the connection ended before the answer"),
            Self::Ended => f.write_str("the session ended"),
        }
    }
}

impl std::error::Error for AskError {}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The last client, or the receiver of the events, was dropped.
    Dropped,
    /// No node would have it, often enough; this is what the last one said, or why there was none.
    GaveUp(String),
    /// The first node that answered does not speak the extended dialect, or refused the greeting, with this text.
    Refused(String),
}

/// A session that stays. Clones share it; it ends when the last one, or the receiver of its events, is dropped.
#[derive(Debug, Clone)]
pub struct ResumingClient {
    commands: mpsc::Sender<Command>,
}

impl ResumingClient {
    /// Starts to connect. Events wait, at most `connect.event_capacity` of them, until they are taken: whoever does not
    /// take them is not read for, and is not answered either. After the last event the task says how it ended. Must be
    /// called within a tokio runtime.
    #[must_use]
    pub fn start(options: ResumingOptions) -> (Self, mpsc::Receiver<SessionEvent>, JoinHandle<Ended>) {
        let (commands, queue) = mpsc::channel(COMMANDS);
        let (events, taken) = mpsc::channel(options.connect.event_capacity.max(1));
        let driver = Driver::new(options, events, queue);
        (Self { commands }, taken, tokio::spawn(driver.run()))
    }

    /// Be in a room from now on; [`SessionEvent::Joined`] says when.
    pub async fn join(&self, room_id: &str, history: u64) {
        let room_id = room_id.to_owned();
        // A session that ended says so through its events.
        drop(self.commands.send(Command::Join { room_id, history }).await);
    }

    /// Be in a room no more. Sends there that are not done are refused.
    ///
    /// # Errors
    /// [`AskError`]. The room is left all the same: the seat goes when it has waited for long enough.
    pub async fn leave(&self, room_id: &str) -> Result<(), AskError> {
        let room_id = room_id.to_owned();
        self.answer_to(|done| Command::Leave { room_id, done }).await.map(drop)
    }

    /// Says `content` once, over as many connections as it takes. `client_msg_id` must be new for this user and room.
    /// Dropping the future stops the waiting, not the sending.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(&self, room_id: &str, client_msg_id: &str, content: &str) -> Result<SentOnce, SendError> {
        let (done, answered) = oneshot::channel();
        let command = Command::Send {
            room_id: room_id.to_owned(),
            client_msg_id: client_msg_id.to_owned(),
            content: content.to_owned(),
            done,
        };
        self.commands.send(command).await.map_err(|_| SendError::Ended)?;
        answered.await.unwrap_or(Err(SendError::Ended))
    }

    /// One page of the rooms of all nodes whose names begin with `name`, in order of their ids, behind the room `after`.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn discover_rooms(&self, name: &str, after: Option<&str>) -> Result<GlobalRooms, AskError> {
        match self
            .ask("discover_rooms", json!({"name": name, "after": after}))
            .await?
        {
            Frame::GlobalRooms(rooms) => Ok(rooms),
            other => Err(unexpected(&other)),
        }
    }

    /// A new room on the node that the session is connected to. It has no members yet. The same `request_id` gives the
    /// same room there.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn create_room(
        &self,
        name: &str,
        description: Option<&str>,
        request_id: &str,
    ) -> Result<Created, AskError> {
        let data = json!({"room_name": name, "description": description, "request_id": request_id});
        match self.ask("create_room", data).await? {
            Frame::RoomCreated(created) => created.map_err(AskError::Refused),
            other => Err(unexpected(&other)),
        }
    }

    /// The id of the room with this name: of several the lowest, so that all who look at the same list find the same one.
    /// If no node that answers has one, it is created. Takes as many connections as it needs.
    ///
    /// # Errors
    /// [`AskError`], but never that an answer was lost.
    pub async fn room_named(&self, name: &str) -> Result<String, AskError> {
        // Whatever is lost on the way, the same node makes only one.
        let request_id = unique_id();
        let mut refused = 0;
        loop {
            match self.find_or_create(name, &request_id).await {
                Err(AskError::Lost) => {}
                Err(AskError::Refused(_)) if refused + 1 < ROUNDS => refused += 1,
                result => return result,
            }
        }
    }

    async fn find_or_create(&self, name: &str, request_id: &str) -> Result<String, AskError> {
        let mut after = None;
        loop {
            let page = self.discover_rooms(name, after.as_deref()).await?;
            // In order of ids, so the first one is the lowest.
            if let Some(room) = page.rooms.into_iter().find(|room| room.room_name == name) {
                return Ok(room.room_id);
            }
            // A list that does not go on ends, even if it says otherwise.
            if page.next.is_none() || page.next <= after {
                return Ok(self.create_room(name, None, request_id).await?.room_id);
            }
            after = page.next;
        }
    }

    async fn ask(&self, kind: &'static str, data: Value) -> Result<Frame, AskError> {
        match self.answer_to(|done| Command::Ask { kind, data, done }).await? {
            Frame::Error(refusal) => Err(AskError::Refused(refusal)),
            other => Ok(other),
        }
    }

    async fn answer_to(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<Frame, AskError>>) -> Command,
    ) -> Result<Frame, AskError> {
        let (done, answered) = oneshot::channel();
        self.commands.send(command(done)).await.map_err(|_| AskError::Ended)?;
        answered.await.unwrap_or(Err(AskError::Ended))
    }
}

fn unexpected(frame: &Frame) -> AskError {
    AskError::Refused(Refusal {
        code: String::new(),
        text: format!("unexpected answer: {frame:?}"),
    })
}
