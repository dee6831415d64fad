//! Typed requests with typed answers. One task owns the socket; handles are cheap to clone.
//!
//! The wire has no request ids. Answers of one connection come in request order, so each answer belongs to the oldest
//! waiting request of its kind (and room). Requests may be pipelined by asking from several clones, or by joining the
//! futures; they leave in the order in which the futures are first polled.

use crate::answer::{Created, GlobalRooms, Joined, Left, RoomsList, Sent};
use crate::event::{Closed, Event};
use crate::frame::{Frame, Refusal};
use crate::options::{ConnectError, ConnectOptions};
use crate::raw::RawConnection;
use crate::request;
use actor::{Actor, Command};
use pending::Expect;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

mod actor;
mod pending;

/// Requests that wait for the task. The task itself waits for at most [`pending::MAX_WAITING`] answers.
const COMMANDS: usize = 64;

/// Why there is no answer, or no good one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestError {
    /// The node said no. It did nothing, unless the code is `ADMIN_NODE_UNAVAILABLE` or `INTERNAL_ERROR`, after which
    /// nobody knows.
    Refused {
        /// The `error_code`; `""` in frames that carry none.
        code: String,
        /// The text for people.
        text: String,
    },
    /// The connection ended, with this close code. Whether the node did what was asked is unknown.
    Closed(Option<u16>),
    /// [`ConnectOptions::answer_deadline`] passed. Whether the node did, or will do, what was asked is unknown.
    Timeout,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { code, text } if code.is_empty() => f.write_str(text),
            Self::Refused { code, text } => write!(f, "{text} ({code})"),
            Self::Closed(Some(code)) => write!(f, "connection closed with {code}"),
            Self::Closed(None) => f.write_str("connection broken"),
            Self::Timeout => f.write_str("no answer in time"),
        }
    }
}

impl std::error::Error for RequestError {}

impl From<Refusal> for RequestError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused {
            code: refusal.code,
            text: refusal.text,
        }
    }
}

/// A handle to one connection. When the last one is dropped, the connection says 1000 and ends.
#[derive(Debug, Clone)]
pub struct Connection {
    commands: mpsc::Sender<Command>,
    end: Arc<OnceLock<Closed>>,
    answer_deadline: Duration,
}

/// What the node says without being asked, in order. An own message comes before the answer to its `send`.
#[derive(Debug)]
pub struct Events {
    events: mpsc::Receiver<Event>,
    end: Arc<OnceLock<Closed>>,
    ended: bool,
}

impl Connection {
    /// Connects to `ws://host[:port][/path]` and starts the task. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`ConnectError`], at the latest after `options.connect_deadline`.
    pub async fn connect(url: &str, options: &ConnectOptions) -> Result<(Self, Events), ConnectError> {
        let raw = RawConnection::connect(url, options).await?;
        let (commands, command_queue) = mpsc::channel(COMMANDS);
        let (event_queue, events) = mpsc::channel(options.event_capacity.max(1));
        let end = Arc::new(OnceLock::new());
        let actor = Actor::new(raw, command_queue, event_queue, Arc::clone(&end));
        tokio::spawn(actor.run(options.ping_every));
        let connection = Self {
            commands,
            end: Arc::clone(&end),
            answer_deadline: options.answer_deadline,
        };
        Ok((
            connection,
            Events {
                events,
                end,
                ended: false,
            },
        ))
    }

    /// The rooms that the node administers.
    ///
    /// # Errors
    /// [`RequestError`], as all requests.
    pub async fn list_rooms(&self) -> Result<RoomsList, RequestError> {
        match self.ask(request::list_rooms(), Expect::RoomsList).await? {
            Frame::RoomsList(rooms) => Ok(rooms),
            other => Err(unexpected(other)),
        }
    }

    /// The rooms of all nodes.
    ///
    /// # Errors
    /// [`RequestError`], as all requests.
    pub async fn discover_rooms(&self) -> Result<GlobalRooms, RequestError> {
        match self.ask(request::discover_rooms(), Expect::GlobalRooms).await? {
            Frame::GlobalRooms(rooms) => Ok(rooms),
            other => Err(unexpected(other)),
        }
    }

    /// A new room, administered by the node. It has no members yet.
    ///
    /// # Errors
    /// [`RequestError`], as all requests.
    pub async fn create_room(
        &self,
        room_name: &str,
        creator_id: &str,
        description: Option<&str>,
    ) -> Result<Created, RequestError> {
        let text = request::create_room(room_name, creator_id, description);
        match self.ask(text, Expect::RoomCreated).await? {
            Frame::RoomCreated(created) => Ok(created?),
            other => Err(unexpected(other)),
        }
    }

    /// Become a member. The history follows as events.
    ///
    /// # Errors
    /// [`RequestError`], as all requests.
    pub async fn join(&self, room_id: &str, username: &str) -> Result<Joined, RequestError> {
        match self
            .ask(request::join_room(room_id, username), Expect::Joined(room_id.into()))
            .await?
        {
            Frame::Joined(joined) => Ok(joined),
            other => Err(unexpected(other)),
        }
    }

    /// Stop being a member.
    ///
    /// # Errors
    /// [`RequestError`], as all requests.
    pub async fn leave(&self, room_id: &str, username: &str) -> Result<Left, RequestError> {
        match self
            .ask(request::leave_room(room_id, username), Expect::Left(room_id.into()))
            .await?
        {
            Frame::Left(left) => Ok(left),
            other => Err(unexpected(other)),
        }
    }

    /// Say something.
    ///
    /// # Errors
    /// [`RequestError`], as all requests.
    pub async fn send(&self, room_id: &str, username: &str, content: &str) -> Result<Sent, RequestError> {
        let text = request::send_message(room_id, username, content);
        match self.ask(text, Expect::Sent(room_id.into())).await? {
            Frame::Sent(sent) => Ok(sent),
            other => Err(unexpected(other)),
        }
    }

    /// Says goodbye with `code` and waits for the end, at most the answer deadline.
    pub async fn close(&self, code: u16, reason: &str) {
        let farewell = async {
            // An error means that the end is there already.
            if self.commands.send(Command::Close(code, reason.into())).await.is_ok() {
                self.commands.closed().await;
            }
        };
        let _in_time = timeout(self.answer_deadline, farewell).await;
    }

    /// Drops the socket without a word, as a crash or a broken network would.
    pub async fn abort(&self) {
        if self.commands.send(Command::Abort).await.is_ok() {
            self.commands.closed().await;
        }
    }

    /// How the connection ended, if it did.
    #[must_use]
    pub fn closed(&self) -> Option<&Closed> {
        self.end.get()
    }

    async fn ask(&self, text: String, expect: Expect) -> Result<Frame, RequestError> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.commands.send(Command::Ask { text, expect, reply }).await.ok()?;
            answer.await.ok()
        };
        match timeout(self.answer_deadline, asked).await {
            Ok(Some(frame)) => Ok(frame),
            Ok(None) => Err(RequestError::Closed(self.end.get().and_then(|closed| closed.code))),
            Err(_) => Err(RequestError::Timeout),
        }
    }
}

impl Events {
    /// The next event; [`Event::Closed`] is the last one, then `None`. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.events.recv().await {
            return Some(event);
        }
        if self.ended {
            return None;
        }
        self.ended = true;
        let broken = || Closed {
            code: None,
            reason: "the runtime stopped".into(),
        };
        Some(Event::Closed(self.end.get().cloned().unwrap_or_else(broken)))
    }
}

/// The refusals that every request may meet; other frames are not handed to it (see [`Expect::fits`]).
fn unexpected(frame: Frame) -> RequestError {
    match frame {
        Frame::Error(refusal) | Frame::JoinRefused { refusal, .. } | Frame::SendRefused { refusal, .. } => {
            refusal.into()
        }
        other => RequestError::Refused {
            code: String::new(),
            text: format!("unexpected answer: {other:?}"),
        },
    }
}
