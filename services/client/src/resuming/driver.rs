//! The task of a [`super::ResumingClient`]: it does what its [`Session`] says.

use super::{AskError, Ended, ResumingOptions, SendError, SentOnce};
use crate::frame::Frame;
use crate::policy::{self, NextStep};
use crate::session::{Output, Session, SessionEvent};
use crate::{RawConnection, RawFrame};
use serde_json::Value;
use std::collections::HashMap;
use std::future::Future;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, sleep_until};

/// Longest wait for the node's part of a close.
const FAREWELL: Duration = Duration::from_secs(2);

/// What handles ask of the task.
#[derive(Debug)]
pub(super) enum Command {
    Join {
        room_id: String,
        history: u64,
    },
    Leave {
        room_id: String,
        done: oneshot::Sender<Result<Frame, AskError>>,
    },
    Send {
        room_id: String,
        client_msg_id: String,
        content: String,
        done: oneshot::Sender<Result<SentOnce, SendError>>,
    },
    Ask {
        kind: &'static str,
        data: Value,
        done: oneshot::Sender<Result<Frame, AskError>>,
    },
}

pub(super) struct Driver {
    session: Session,
    options: ResumingOptions,
    events: mpsc::Sender<SessionEvent>,
    commands: mpsc::Receiver<Command>,
    origin: Instant,
    /// Who waits for a send, by ticket. At most as many as the session takes.
    sends: HashMap<u64, oneshot::Sender<Result<SentOnce, SendError>>>,
    /// Who waits for an answer, by ticket.
    questions: HashMap<u64, oneshot::Sender<Result<Frame, AskError>>>,
    next_ticket: u64,
}

/// Why a connection was left.
enum Left {
    /// It ended, or the node asked to come back elsewhere.
    ComeBack { code: Option<u16>, why: String },
    /// The session ends with it.
    End(Ended),
}

impl Driver {
    pub(super) fn new(
        options: ResumingOptions,
        events: mpsc::Sender<SessionEvent>,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        Self {
            session: Session::new(&options.user, &options.client),
            options,
            events,
            commands,
            origin: Instant::now(),
            sends: HashMap::new(),
            questions: HashMap::new(),
            next_ticket: 0,
        }
    }

    pub(super) async fn run(mut self) -> Ended {
        if self.options.addresses.is_empty() {
            return Ended::GaveUp("there is no address".into());
        }
        let (mut address, mut failures) = (0, 0_u32);
        loop {
            let url = self.options.addresses[address % self.options.addresses.len()].clone();
            address += 1;
            let (connect, options) = (url.clone(), self.options.connect.clone());
            let connecting = async move { RawConnection::connect(&connect, &options).await };
            let (code, why) = match self.or_dropped(connecting).await {
                None => return Ended::Dropped,
                Some(Err(error)) => (None, error.to_string()),
                Some(Ok(mut raw)) => {
                    let began = Instant::now();
                    match self.serve(&mut raw).await {
                        Left::End(ended) => {
                            raw.close(FAREWELL).await;
                            return ended;
                        }
                        Left::ComeBack { code, why } => {
                            if began.elapsed() > policy::BASE {
                                failures = 0;
                            }
                            (code, why)
                        }
                    }
                }
            };
            let why = format!("{url}: {why}");
            let rounds = failures / u32::try_from(self.options.addresses.len()).unwrap_or(1).max(1);
            failures = failures.saturating_add(1);
            let pause = match policy::next_step(code, rounds, (self.options.jitter)()) {
                NextStep::Wait(pause) => pause,
                NextStep::GiveUp if self.options.persistent => policy::CAP,
                NextStep::GiveUp => return Ended::GaveUp(why),
            };
            // What was asked on the connection is lost, and it is another attempt for the rest.
            let mut out = Vec::new();
            self.session.disconnected(&mut out);
            out.push(Output::Event(SessionEvent::Reconnecting { why }));
            if self.tell(out).await.is_none() || self.or_dropped(sleep(pause)).await.is_none() {
                return Ended::Dropped;
            }
        }
    }

    /// What `work` gives; `None` if nobody wants the session meanwhile. Commands are taken.
    async fn or_dropped<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Some(done),
                () = self.events.closed() => return None,
                command = self.commands.recv(), if !self.session.is_full() => {
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

    async fn serve(&mut self, raw: &mut RawConnection) -> Left {
        let mut out = Vec::new();
        self.session.connected(&mut out);
        let patience = self.options.connect.ping_every.unwrap_or(Duration::from_secs(3_600));
        let mut heard = (raw.heard(), Instant::now());
        let mut pinged = false;
        loop {
            if let Err(left) = self.act(raw, std::mem::take(&mut out)).await {
                return left;
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
                    RawFrame::Closed(closed) => {
                        return Left::ComeBack { code: closed.code, why: closed.to_string() };
                    }
                },
                () = self.events.closed() => return Left::End(Ended::Dropped),
                command = self.commands.recv(), if !self.session.is_full() => match command {
                    Some(command) => self.command(command, &mut out),
                    None => return Left::End(Ended::Dropped),
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
                    let why = "the node is silent".into();
                    return Left::ComeBack { code: None, why };
                }
                (heard.1, pinged) = (Instant::now(), true);
            }
        }
    }

    fn command(&mut self, command: Command, out: &mut Vec<Output>) {
        let now = self.now();
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        match command {
            Command::Join { room_id, history } => self.session.join(now, &room_id, history, out),
            Command::Leave { room_id, done } => {
                self.questions.insert(ticket, done);
                self.session.leave(ticket, &room_id, out);
            }
            Command::Send {
                room_id,
                client_msg_id,
                content,
                done,
            } => {
                self.sends.insert(ticket, done);
                self.session.send(now, ticket, &room_id, &client_msg_id, &content, out);
            }
            Command::Ask { kind, data, done } => {
                self.questions.insert(ticket, done);
                self.session.ask(now, ticket, kind, data, out);
            }
        }
    }

    /// Does what the session says. Events are told also if the connection has to be left.
    async fn act(&mut self, raw: &mut RawConnection, out: Vec<Output>) -> Result<(), Left> {
        let mut events = Vec::new();
        let mut result = Ok(());
        for output in out {
            let left = match output {
                Output::Send(text) => match raw.queue_text(text) {
                    Ok(()) => continue,
                    Err(_) => Left::ComeBack {
                        code: None,
                        why: "the node does not read".into(),
                    },
                },
                Output::Reconnect(why) => Left::ComeBack { code: Some(1012), why },
                Output::Refused(why) => Left::End(Ended::Refused(why)),
                event @ Output::Event(_) => {
                    events.push(event);
                    continue;
                }
            };
            result = result.and(Err(left));
        }
        self.tell(events).await.ok_or(Left::End(Ended::Dropped))?;
        result
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
                    answer(&mut self.sends, ticket, Ok(sent));
                }
                SessionEvent::SendRefused { ticket, refusal } => {
                    answer(&mut self.sends, ticket, Err(SendError::Refused(refusal)));
                }
                SessionEvent::Answered { ticket, answer: frame } => answer(&mut self.questions, ticket, Ok(frame)),
                SessionEvent::Unanswered { ticket } => answer(&mut self.questions, ticket, Err(AskError::Lost)),
                other => self.events.send(other).await.ok()?,
            }
        }
        Some(())
    }
}

fn answer<T>(waiting: &mut HashMap<u64, oneshot::Sender<T>>, ticket: u64, result: T) {
    if let Some(done) = waiting.remove(&ticket) {
        // Whoever asked may have stopped waiting.
        drop(done.send(result));
    }
}
