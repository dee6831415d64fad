//! The conversation in the extended dialect: one session over as many connections as it takes.
//!
//! The session sees to it that each line arrives once and that nothing is shown twice or missed. Lines are sent one after
//! the other, each when the one before is confirmed, so that at most one is ever in doubt.

use crate::chat::End;
use crate::format;
use crate::input::Input;
use crate::screen::Screen;
use crate::settings::Settings;
use chat_client::{AskError, Ended, ResumingClient, ResumingOptions, SendError, SessionEvent, unique_id};
use chat_protocol::limits::EXTENDED_HISTORY;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// What people take time for has no deadline.
const NEVER: Duration = Duration::MAX;

/// What came of it.
pub(crate) enum Outcome {
    /// The conversation ended.
    End(End),
    /// It did not begin: the server does not speak the dialect, and said this.
    NotSpoken(String),
}

/// Talks until the input ends.
///
/// # Errors
/// If the output cannot be written.
pub(crate) async fn chat(
    settings: &Settings,
    lines: &mut mpsc::Receiver<Input>,
    screen: &mut Screen<'_>,
) -> io::Result<Outcome> {
    let (client, events, session) = ResumingClient::start(ResumingOptions {
        client: concat!("chat-tui ", env!("CARGO_PKG_VERSION")).into(),
        connect: settings.connect.clone(),
        jitter: settings.jitter,
        ..ResumingOptions::new(settings.addresses.clone(), &settings.name)
    });
    let mut talk = Talk {
        settings,
        events,
        screen,
        joined: false,
        all_sent: true,
    };
    let stop = talk.run(&client, lines).await;
    // Without a client and a listener the session says goodbye and ends.
    let Talk {
        screen,
        all_sent,
        events,
        ..
    } = talk;
    drop((client, events));
    let ended = session.await;
    let why = match stop {
        Ok(()) if all_sent => return Ok(Outcome::End(End::AllSent)),
        Ok(()) | Err(Stop::Unconfirmed) => return Ok(Outcome::End(End::NotAllSent)),
        Err(Stop::Output(error)) => return Err(error),
        Err(Stop::NoPlace(why)) => why,
        Err(Stop::Ended) => match ended {
            Ok(Ended::Refused(why)) => return Ok(Outcome::NotSpoken(why)),
            Ok(Ended::GaveUp(why)) => why,
            Ok(Ended::Dropped) | Err(_) => "the session ended".into(),
        },
    };
    screen.notice(&format::trouble(&why));
    Ok(Outcome::End(End::NoServer))
}

/// Why the conversation is over before the input is.
enum Stop {
    /// The output cannot be written.
    Output(io::Error),
    /// There is no place in the room for us.
    NoPlace(String),
    /// A line was not confirmed in time.
    Unconfirmed,
    /// The session ended; its task says how.
    Ended,
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

struct Talk<'a, 's> {
    settings: &'a Settings,
    events: mpsc::Receiver<SessionEvent>,
    screen: &'a mut Screen<'s>,
    /// True once we were in the room.
    joined: bool,
    /// False once a line was not.
    all_sent: bool,
}

impl Talk<'_, '_> {
    async fn run(&mut self, client: &ResumingClient, lines: &mut mpsc::Receiver<Input>) -> Result<(), Stop> {
        let room = self.enter(client).await?;
        // The id of a line is its number, behind something with which no other process begins.
        let (process, mut number) = (unique_id(), 0_u64);
        while let Some(input) = self.meanwhile(NEVER, lines.recv()).await?.flatten() {
            number += 1;
            match input {
                Input::Line(text) => self.send(client, &room, &format!("{process}-{number}"), &text).await?,
                Input::TooLong(start) => {
                    self.not_sent("the line is too long", &format!("{start}…"))?;
                }
            }
        }
        // Every line has its answer. If this request gets none, the seat goes by itself.
        let patience = self.settings.connect.answer_deadline;
        if let Err(Stop::Output(error)) = self.meanwhile(patience, client.leave(&room)).await {
            return Err(error.into());
        }
        while let Ok(event) = self.events.try_recv() {
            self.show(event)?;
        }
        Ok(())
    }

    /// Finds the room, or creates it, and takes a place in it.
    async fn enter(&mut self, client: &ResumingClient) -> Result<String, Stop> {
        let patience = self.settings.patience;
        let late = || Stop::NoPlace("no place in the room in time".into());
        let found = self.meanwhile(patience, client.room_named(&self.settings.room)).await?;
        let room = match found.ok_or_else(late)? {
            Ok(room) => room,
            Err(AskError::Refused(refusal)) => return Err(Stop::NoPlace(refusal.to_string())),
            Err(AskError::Lost | AskError::Ended) => return Err(Stop::Ended),
        };
        let joined = async {
            client.join(&room, EXTENDED_HISTORY).await;
            while !self.joined {
                let event = self.events.recv().await.ok_or(Stop::Ended)?;
                self.show(event)?;
            }
            Ok(())
        };
        timeout(patience, joined).await.unwrap_or_else(|_| Err(late()))?;
        Ok(room)
    }

    async fn send(&mut self, client: &ResumingClient, room: &str, id: &str, text: &str) -> Result<(), Stop> {
        let patience = self.settings.patience;
        let stop = match self.meanwhile(patience, client.send(room, id, text)).await {
            Ok(Some(Ok(_))) => return Ok(()),
            Ok(Some(Err(SendError::Refused(refusal)))) => return Ok(self.not_sent(&refusal.text, text)?),
            Ok(Some(Err(SendError::Ended))) => Stop::Ended,
            Ok(None) => Stop::Unconfirmed,
            Err(Stop::Output(error)) => return Err(error.into()),
            Err(stop) => stop,
        };
        self.screen.say(&format::outcome_unknown(text))?;
        Err(stop)
    }

    fn not_sent(&mut self, reason: &str, text: &str) -> io::Result<()> {
        self.all_sent = false;
        self.screen.say(&format::not_sent(reason, text))
    }

    /// Shows what happens until `work` is done; `None` if it takes longer than `patience`. It is cancelled then, and if
    /// the conversation is over.
    async fn meanwhile<T>(&mut self, patience: Duration, work: impl Future<Output = T>) -> Result<Option<T>, Stop> {
        let (mut work, mut late) = (pin!(work), pin!(sleep(patience)));
        loop {
            tokio::select! {
                // Events first: an own message comes before its confirmation, and everything before the end.
                biased;
                event = self.events.recv() => self.show(event.ok_or(Stop::Ended)?)?,
                done = &mut work => return Ok(Some(done)),
                () = &mut late => return Ok(None),
            }
        }
    }

    fn show(&mut self, event: SessionEvent) -> Result<(), Stop> {
        match event {
            SessionEvent::Message(message) => self.screen.say(&format::message(&message))?,
            SessionEvent::MemberJoined(change) => self.screen.say(&format::came(&change))?,
            SessionEvent::MemberLeft(change) if change.username == self.settings.name => {
                self.screen.say(&format::removed(&change))?;
            }
            SessionEvent::MemberLeft(change) => self.screen.say(&format::went(&change))?,
            SessionEvent::Joined { resumed: true, .. } if self.joined => self.screen.notice(&format::connected_again()),
            SessionEvent::Joined { room, .. } => {
                self.joined = true;
                self.screen.say(&format::joined(&room.room_name, &room.members))?;
            }
            SessionEvent::JoinRefused { refusal, .. } => return Err(Stop::NoPlace(refusal.text)),
            SessionEvent::Resynced { from, reason, .. } => self.screen.notice(&format::resynced(from, &reason)),
            SessionEvent::Degraded { degraded, .. } => self.screen.notice(&format::degraded(degraded)),
            SessionEvent::Reconnecting { why } => self.screen.notice(&format::reconnecting(&why)),
            // The session deals with the first; the last is of a later version; the rest is told by the calls.
            SessionEvent::Irregular { .. }
            | SessionEvent::Other(_)
            | SessionEvent::Sent { .. }
            | SessionEvent::SendRefused { .. }
            | SessionEvent::Answered { .. }
            | SessionEvent::Unanswered { .. } => {}
        }
        Ok(())
    }
}
