//! The task of a connection: writes requests, reads frames, gives each to whom it belongs.

use super::pending::{Expect, Pending};
use crate::event::{Closed, Event};
use crate::frame::{Frame, Refusal, decode};
use crate::raw::{QueueError, RawConnection, RawFrame};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// Longest wait for the node's part of a close.
const FAREWELL: Duration = Duration::from_secs(2);

/// A year: what "never" means to the timer of pings.
const NEVER: Duration = Duration::from_secs(31_536_000);

/// What handles ask of the task.
#[derive(Debug)]
pub(super) enum Command {
    /// Write `text` and hand over the answer.
    Ask {
        text: String,
        expect: Expect,
        reply: oneshot::Sender<Frame>,
    },
    /// Say goodbye.
    Close(u16, String),
    /// Go without a word.
    Abort,
}

pub(super) struct Actor {
    raw: RawConnection,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    pending: Pending,
    end: Arc<OnceLock<Closed>>,
}

enum Wake {
    Command(Option<Command>),
    Room,
    Frame(RawFrame),
    Ping,
}

impl Actor {
    pub(super) fn new(
        raw: RawConnection,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<Event>,
        end: Arc<OnceLock<Closed>>,
    ) -> Self {
        Self {
            raw,
            commands,
            events,
            pending: Pending::default(),
            end,
        }
    }

    pub(super) async fn run(mut self, ping_every: Option<Duration>) {
        let closed = self.serve(ping_every.unwrap_or(NEVER)).await;
        // Before the queues are dropped: whoever sees them end looks here for the reason.
        self.end.get_or_init(|| closed);
    }

    async fn serve(&mut self, ping_every: Duration) -> Closed {
        let mut pings = interval_at(Instant::now() + ping_every, ping_every.max(Duration::from_millis(1)));
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard_at_ping = None;
        loop {
            let may_read = self.events.capacity() > 0 || self.events.is_closed();
            let wake = tokio::select! {
                biased;
                command = self.commands.recv(), if self.pending.has_room() => Wake::Command(command),
                _ = self.events.reserve(), if !may_read => Wake::Room,
                frame = self.raw.next(), if may_read => Wake::Frame(frame),
                _ = pings.tick() => Wake::Ping,
            };
            let step = match wake {
                Wake::Command(Some(Command::Ask { text, expect, reply })) => self.ask(text, expect, reply).await,
                Wake::Command(Some(Command::Close(code, reason))) => Err(self.farewell(code, &reason).await),
                Wake::Command(Some(Command::Abort)) => Err(Closed {
                    code: None,
                    reason: "aborted".into(),
                }),
                Wake::Command(None) => Err(self.farewell(1000, "").await),
                Wake::Room => Ok(()),
                Wake::Frame(frame) => self.take(frame),
                // While events are full, nothing is read and silence means nothing.
                Wake::Ping if may_read && heard_at_ping == Some(self.raw.heard()) => Err(Closed {
                    code: None,
                    reason: "no answer to a ping".into(),
                }),
                Wake::Ping => {
                    heard_at_ping = may_read.then_some(self.raw.heard());
                    // A full queue or an end shows up elsewhere.
                    let _queued = self.raw.queue_ping();
                    Ok(())
                }
            };
            if let Err(closed) = step {
                return closed;
            }
        }
    }

    async fn ask(&mut self, text: String, expect: Expect, reply: oneshot::Sender<Frame>) -> Result<(), Closed> {
        match self.raw.queue_text(text) {
            Ok(()) => self.pending.push(expect, reply),
            Err(QueueError::Full) => {
                let text = "not sent: too much waits to be written".into();
                // Nobody may be waiting any more.
                let _late = reply.send(Frame::Error(Refusal {
                    code: String::new(),
                    text,
                }));
            }
            Err(QueueError::Closed(closed)) => return Err(closed),
        }
        // Written here and not with the next read, because nothing is read while events are full.
        if self.events.capacity() == 0 {
            tokio::time::timeout(FAREWELL, self.raw.flush())
                .await
                .unwrap_or(Ok(()))?;
        }
        Ok(())
    }

    fn take(&mut self, frame: RawFrame) -> Result<(), Closed> {
        let event = match frame {
            RawFrame::Text(text) => match decode(&text) {
                Frame::Event(event) => event,
                answer => {
                    if self.pending.answer(answer) {
                        return Ok(());
                    }
                    let kind = crate::request::type_of(&text).to_owned();
                    Event::Other {
                        kind,
                        text: text.as_str().to_owned(),
                    }
                }
            },
            RawFrame::Binary(bytes) => Event::Other {
                kind: String::new(),
                text: String::from_utf8_lossy(&bytes).into_owned(),
            },
            RawFrame::Closed(closed) => return Err(closed),
        };
        // There is room, or nobody listens.
        let _unheard = self.events.try_send(event);
        Ok(())
    }

    /// Closes, still handing over what comes before the node's close frame.
    async fn farewell(&mut self, code: u16, reason: &str) -> Closed {
        if let Err(QueueError::Closed(closed)) = self.raw.queue_close(code, reason) {
            return closed;
        }
        let answer = async {
            loop {
                let frame = self.raw.next().await;
                if let Err(closed) = self.take(frame) {
                    return closed;
                }
            }
        };
        let unanswered = || Closed {
            code: Some(code),
            reason: "the node did not answer the close".into(),
        };
        tokio::time::timeout(FAREWELL, answer)
            .await
            .unwrap_or_else(|_| unanswered())
    }
}
