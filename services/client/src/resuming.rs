//! [`Session`] over real connections: several addresses, reconnects, and sends as one call.

use crate::policy::{self, NextStep};
use crate::session::{Output, Session, SessionEvent};
use crate::{Closed, ConnectOptions, RawConnection, RawFrame};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until};

/// Commands that wait for the task; a sender waits for its own one anyway.
const COMMANDS: usize = 64;

/// How to stay connected.
#[derive(Debug, Clone)]
pub struct ResumingOptions {
    /// Where nodes are, as `ws://host:port`. They are tried in turn.
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
    /// It was refused and is not in the room; this is the `error_code`.
    Refused(String),
    /// The session ended. Whether the message is in the room is not known.
    Ended,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(code) => write!(f, "refused: {code}"),
            Self::Ended => f.write_str("the session ended"),
        }
    }
}

impl std::error::Error for SendError {}

enum Command {
    Join {
        room_id: String,
        history: u64,
    },
    Leave(String),
    Send {
        room_id: String,
        client_msg_id: String,
        content: String,
        done: oneshot::Sender<Result<SentOnce, SendError>>,
    },
}

/// A session that stays. Clones share it; it ends when the last one, or the receiver of its events, is dropped.
#[derive(Debug, Clone)]
pub struct ResumingClient {
    commands: mpsc::Sender<Command>,
}

impl ResumingClient {
    /// Starts to connect. Events wait, at most `connect.event_capacity` of them, until they are taken: whoever does not
    /// take them is not read for.
    #[must_use]
    pub fn start(options: ResumingOptions) -> (Self, mpsc::Receiver<SessionEvent>, JoinHandle<()>) {
        let (commands, queue) = mpsc::channel(COMMANDS);
        let (events, taken) = mpsc::channel(options.connect.event_capacity);
        let driver = Driver {
            session: Session::new(&options.user, &options.client),
            options,
            events,
            commands: queue,
            origin: Instant::now(),
            tickets: HashMap::new(),
            next_ticket: 0,
        };
        (Self { commands }, taken, tokio::spawn(driver.run()))
    }

    /// Be in a room from now on; [`SessionEvent::Joined`] says when.
    pub async fn join(&self, room_id: &str, history: u64) {
        let room_id = room_id.to_owned();
        // A session that ended says so through its events.
        drop(self.commands.send(Command::Join { room_id, history }).await);
    }

    /// Be in a room no more.
    pub async fn leave(&self, room_id: &str) {
        drop(self.commands.send(Command::Leave(room_id.to_owned())).await);
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
}

struct Driver {
    session: Session,
    options: ResumingOptions,
    events: mpsc::Sender<SessionEvent>,
    commands: mpsc::Receiver<Command>,
    origin: Instant,
    tickets: HashMap<u64, oneshot::Sender<Result<SentOnce, SendError>>>,
    next_ticket: u64,
}

/// Why a connection was left.
enum Left {
    /// It ended, or the node asked to come back elsewhere.
    ComeBack(Option<u16>),
    /// Nobody wants the session any more, or the node refused it.
    End,
}

impl Driver {
    async fn run(mut self) {
        let (mut address, mut failures) = (0, 0_u32);
        loop {
            let url = self.options.addresses[address % self.options.addresses.len()].clone();
            address += 1;
            let (connect, options) = (url.clone(), self.options.connect.clone());
            let connecting = async move { RawConnection::connect(&connect, &options).await };
            let code = match self.or_ended(connecting).await {
                None => return,
                Some(Err(_)) => None,
                Some(Ok(raw)) => {
                    let began = Instant::now();
                    match self.serve(raw).await {
                        Left::End => return,
                        Left::ComeBack(code) => {
                            if began.elapsed() > policy::BASE {
                                failures = 0;
                            }
                            code
                        }
                    }
                }
            };
            let rounds = failures / u32::try_from(self.options.addresses.len()).unwrap_or(1).max(1);
            failures += 1;
            match policy::next_step(code, rounds, policy::random_jitter()) {
                NextStep::Wait(pause) => {
                    if self.or_ended(sleep(pause)).await.is_none() {
                        return;
                    }
                }
                NextStep::GiveUp if self.options.persistent => failures = 0,
                NextStep::GiveUp => return,
            }
        }
    }

    /// What `work` gives; `None` if nobody wants the session meanwhile. Commands are taken.
    async fn or_ended<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Some(done),
                command = self.commands.recv() => {
                    let mut out = Vec::new();
                    self.command(command?, &mut out);
                    // Nothing goes out without a connection, but refusals are told.
                    self.tell(out).await?;
                }
            }
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn serve(&mut self, mut raw: RawConnection) -> Left {
        let mut out = Vec::new();
        self.session.connected(&mut out);
        let patience = self.options.connect.ping_every.unwrap_or(Duration::from_secs(3_600));
        let mut heard = (raw.heard(), Instant::now());
        let mut pinged = false;
        loop {
            match self.act(&mut raw, std::mem::take(&mut out)).await {
                Ok(()) => {}
                Err(left) => {
                    self.session.disconnected();
                    return left;
                }
            }
            let silence = heard.1 + patience;
            let due = self.session.next_deadline();
            let due = due.map_or(silence, |at| silence.min(self.origin + Duration::from_millis(at)));
            tokio::select! {
                biased;
                frame = raw.next() => match frame {
                    RawFrame::Text(text) => {
                        let now = self.now();
                        self.session.frame(now, &text, &mut out);
                    }
                    RawFrame::Binary(_) => {}
                    RawFrame::Closed(Closed { code, .. }) => {
                        self.session.disconnected();
                        return Left::ComeBack(code);
                    }
                },
                command = self.commands.recv() => match command {
                    Some(command) => self.command(command, &mut out),
                    None => return Left::End,
                },
                () = sleep_until(due.into()) => {
                    let now = self.now();
                    self.session.handle_timeout(now, &mut out);
                }
            }
            if raw.heard() != heard.0 {
                heard = (raw.heard(), Instant::now());
                pinged = false;
            } else if heard.1.elapsed() >= patience {
                if pinged || raw.queue_ping().is_err() {
                    // Whoever is silent for so long is as good as gone.
                    self.session.disconnected();
                    return Left::ComeBack(None);
                }
                (heard.1, pinged) = (Instant::now(), true);
            }
        }
    }

    fn command(&mut self, command: Command, out: &mut Vec<Output>) {
        let now = self.now();
        match command {
            Command::Join { room_id, history } => self.session.join(now, &room_id, history, out),
            Command::Leave(room_id) => self.session.leave(&room_id, out),
            Command::Send {
                room_id,
                client_msg_id,
                content,
                done,
            } => {
                let ticket = self.next_ticket;
                self.next_ticket += 1;
                self.tickets.insert(ticket, done);
                self.session.send(now, ticket, &room_id, &client_msg_id, &content, out);
            }
        }
    }

    async fn act(&mut self, raw: &mut RawConnection, out: Vec<Output>) -> Result<(), Left> {
        let mut rest = Vec::new();
        for output in out {
            match output {
                Output::Send(text) => {
                    if raw.queue_text(text).is_err() {
                        return Err(Left::ComeBack(None));
                    }
                }
                Output::Reconnect => {
                    self.tell(rest).await.ok_or(Left::End)?;
                    return Err(Left::ComeBack(Some(1012)));
                }
                Output::Refused(_) => return Err(Left::End),
                event @ Output::Event(_) => rest.push(event),
            }
        }
        self.tell(rest).await.ok_or(Left::End)
    }

    /// Gives out events; `None` if nobody takes them any more.
    async fn tell(&mut self, out: Vec<Output>) -> Option<()> {
        for output in out {
            let Output::Event(event) = output else { continue };
            match event {
                SessionEvent::Sent {
                    ticket,
                    seq,
                    message_id,
                    duplicate,
                } => {
                    let sent = SentOnce {
                        seq,
                        message_id,
                        duplicate,
                    };
                    self.answer(ticket, Ok(sent));
                }
                SessionEvent::SendRefused { ticket, code } => self.answer(ticket, Err(SendError::Refused(code))),
                other => self.events.send(other).await.ok()?,
            }
        }
        Some(())
    }

    fn answer(&mut self, ticket: u64, result: Result<SentOnce, SendError>) {
        if let Some(done) = self.tickets.remove(&ticket) {
            // Whoever asked may have stopped waiting.
            drop(done.send(result));
        }
    }
}
