//! The conversation in the classic dialect: lines out, events in, over as many connections as it takes.
//!
//! Lines are sent one after the other, each when the one before is answered, so that at most one line is ever in doubt
//! and none overtakes another. A line in doubt is shown and never sent again. After a reconnect the others see a join.

use crate::chat::End;
use crate::format;
use crate::input::Input;
use crate::screen::Screen;
use crate::settings::Settings;
use chat_client::policy::{NextStep, next_step};
use chat_client::{Closed, Event, RequestError, RoomView, Seen};
use seat::{NoSeat, Seat, take_seat};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

mod seat;

/// A place that was kept this long was a good one: attempts are counted from zero again.
const GOOD_SEAT: Duration = Duration::from_secs(10);

/// Talks until the input ends.
///
/// # Errors
/// If the output cannot be written.
pub(crate) async fn chat(
    settings: &Settings,
    lines: &mut mpsc::Receiver<Input>,
    screen: &mut Screen<'_>,
) -> io::Result<End> {
    let chat = Chat {
        settings,
        lines,
        screen,
        view: RoomView::new(),
        room: None,
        address: 0,
        attempt: 0,
        all_sent: true,
    };
    chat.run().await
}

struct Chat<'a, 's> {
    settings: &'a Settings,
    lines: &'a mut mpsc::Receiver<Input>,
    screen: &'a mut Screen<'s>,
    view: RoomView,
    /// The id of the room, once it is known.
    room: Option<String>,
    /// Which address is next; counts on beyond the last.
    address: usize,
    attempt: u32,
    all_sent: bool,
}

/// What is asked and not answered yet.
enum Doing {
    Nothing,
    Sending(String, Answer),
    Leaving(Answer),
}

type Answer = Pin<Box<dyn Future<Output = Result<(), RequestError>> + Send>>;

/// How a place in the room was given up.
enum Parted {
    /// The input ended.
    Left,
    /// The connection did, or the membership; there may be another.
    Lost(Closed),
    /// The room was deleted.
    Gone,
}

impl Chat<'_, '_> {
    async fn run(mut self) -> io::Result<End> {
        loop {
            let mut code = None;
            match self.find_seat().await {
                Ok(seat) => {
                    let since = Instant::now();
                    match self.talk(seat).await? {
                        Parted::Left => return Ok(self.end()),
                        Parted::Gone => return Ok(End::NoServer),
                        Parted::Lost(closed) => {
                            self.screen.notice(&format::lost(&closed));
                            code = closed.code;
                        }
                    }
                    if self.lines.is_closed() && self.lines.is_empty() {
                        // Nothing is left to say, so nothing to come back for.
                        return Ok(self.end());
                    }
                    if since.elapsed() >= GOOD_SEAT {
                        self.attempt = 0;
                    }
                    self.address += 1;
                }
                Err(no_seat) => {
                    self.screen.notice(&format::trouble(&no_seat.reason));
                    if !no_seat.again {
                        return Ok(End::NoServer);
                    }
                    // A server that closes before we are in may think so elsewhere, too.
                    code = no_seat.code.or(code);
                }
            }
            match next_step(code, self.attempt, (self.settings.jitter)()) {
                NextStep::GiveUp => return Ok(End::NoServer),
                NextStep::Wait(time) => sleep(time).await,
            }
            self.attempt += 1;
        }
    }

    /// Tries each address once.
    async fn find_seat(&mut self) -> Result<Seat, NoSeat> {
        let addresses = &self.settings.addresses;
        let mut reasons: Vec<String> = Vec::new();
        let (mut again, mut code) = (false, None);
        for _ in addresses {
            let address = &addresses[self.address % addresses.len()];
            match take_seat(self.settings, address, self.room.as_deref()).await {
                Ok(seat) => return Ok(seat),
                Err(no_seat) => {
                    again |= no_seat.again;
                    code = code.or(no_seat.code);
                    reasons.push(no_seat.reason);
                    self.address += 1;
                }
            }
        }
        Err(NoSeat {
            reason: reasons.join("; "),
            code,
            again,
        })
    }

    async fn talk(&mut self, seat: Seat) -> io::Result<Parted> {
        let Seat {
            connection,
            mut events,
            joined,
        } = seat;
        self.screen.say(&format::joined(&joined.room_name, &joined.members))?;
        if self.room.as_ref() != Some(&joined.room_id) {
            self.view = RoomView::new();
        }
        self.view.seat();
        let room = joined.room_id;
        self.room = Some(room.clone());
        let ask = |text: Option<String>| -> Answer {
            let (connection, room, name) = (connection.clone(), room.clone(), self.settings.name.clone());
            Box::pin(async move {
                match text {
                    Some(text) => connection.send(&room, &name, &text).await.map(drop),
                    None => connection.leave(&room, &name).await.map(drop),
                }
            })
        };
        let mut doing = Doing::Nothing;
        loop {
            tokio::select! {
                // Events first: an own message comes before its confirmation, and everything before the end.
                biased;
                event = events.next() => {
                    let Some(parted) = self.show(event, &room)? else { continue };
                    let leaving = matches!(doing, Doing::Leaving(_));
                    self.settle(doing).await?;
                    connection.abort().await;
                    return Ok(if leaving { Parted::Left } else { parted });
                }
                answer = next_answer(&mut doing) => match std::mem::replace(&mut doing, Doing::Nothing) {
                    Doing::Sending(text, _) => {
                        if answer == Err(RequestError::Timeout) {
                            // Whatever is wrong there, another connection is the better chance.
                            connection.abort().await;
                        }
                        self.answered(&text, answer)?;
                    }
                    Doing::Leaving(_) | Doing::Nothing => {
                        connection.close(1000, "").await;
                        return Ok(Parted::Left);
                    }
                },
                input = self.lines.recv(), if matches!(doing, Doing::Nothing) => doing = match input {
                    Some(Input::Line(text)) => Doing::Sending(text.clone(), ask(Some(text))),
                    Some(Input::TooLong(start)) => {
                        self.all_sent = false;
                        self.screen.say(&format::not_sent("the line is too long", &format!("{start}…")))?;
                        Doing::Nothing
                    }
                    None => Doing::Leaving(ask(None)),
                },
            }
        }
    }

    /// Shows an event, and says so if it ends the place in the room.
    fn show(&mut self, event: Option<Event>, room: &str) -> io::Result<Option<Parted>> {
        let lost = |reason: &str| {
            Some(Parted::Lost(Closed {
                code: None,
                reason: reason.into(),
            }))
        };
        match event {
            Some(Event::NewMessage(message)) if message.room_id == room => {
                if self.view.accept(&message) == Seen::New {
                    self.screen.say(&format::message(&message))?;
                }
            }
            Some(Event::MemberJoined(change)) if change.room_id == room => self.screen.say(&format::came(&change))?,
            Some(Event::MemberLeft(change)) if change.room_id == room => {
                if change.username == self.settings.name {
                    self.screen.say(&format::removed(&change))?;
                    return Ok(lost("no longer a member"));
                }
                self.screen.say(&format::went(&change))?;
            }
            // Sent to subscribers only, and this connection is subscribed to nothing else.
            Some(Event::Other { kind, .. }) if kind == "room_deleted" => {
                self.screen.say(&format::trouble("the room was deleted"))?;
                return Ok(Some(Parted::Gone));
            }
            Some(Event::Closed(closed)) => return Ok(Some(Parted::Lost(closed))),
            Some(_) => {}
            None => return Ok(lost("the connection ended")),
        }
        Ok(None)
    }

    /// The place is lost: what became of the line that is on its way?
    async fn settle(&mut self, doing: Doing) -> io::Result<()> {
        match doing {
            // At the end of a connection this is immediate: the answer came before, or never will. A removed member's
            // answer may still be under way; the answer deadline bounds the wait.
            Doing::Sending(text, answer) => {
                let answer = answer.await;
                self.answered(&text, answer)
            }
            Doing::Leaving(_) | Doing::Nothing => Ok(()),
        }
    }

    fn answered(&mut self, text: &str, answer: Result<(), RequestError>) -> io::Result<()> {
        let Err(error) = answer else { return Ok(()) };
        self.all_sent = false;
        match fate(&error) {
            Fate::NotSent(reason) => self.screen.say(&format::not_sent(reason, text)),
            Fate::Unknown(reason) => {
                self.screen.say(&format::trouble(reason))?;
                self.screen.say(&format::outcome_unknown(text))
            }
            Fate::Lost => self.screen.say(&format::outcome_unknown(text)),
        }
    }

    fn end(&self) -> End {
        if self.all_sent { End::AllSent } else { End::NotAllSent }
    }
}

async fn next_answer(doing: &mut Doing) -> Result<(), RequestError> {
    match doing {
        Doing::Sending(_, answer) | Doing::Leaving(answer) => answer.await,
        Doing::Nothing => std::future::pending().await,
    }
}

/// What an error says about a line.
#[derive(Debug, PartialEq, Eq)]
enum Fate<'a> {
    NotSent(&'a str),
    /// The node tried and does not know, or may still succeed.
    Unknown(&'a str),
    /// The connection says no more.
    Lost,
}

fn fate(error: &RequestError) -> Fate<'_> {
    match error {
        RequestError::Refused { code, text } => match code.as_str() {
            "ADMIN_NODE_UNAVAILABLE" | "INTERNAL_ERROR" | "UNKNOWN_ERROR" => Fate::Unknown(text),
            _ => Fate::NotSent(text),
        },
        RequestError::Timeout => Fate::Unknown("no answer in time"),
        RequestError::Closed(_) => Fate::Lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_definite_refusal_says_that_a_line_was_not_sent() {
        let refused = |code: &str| RequestError::Refused {
            code: code.into(),
            text: "why".into(),
        };
        assert_eq!(fate(&refused("NOT_MEMBER")), Fate::NotSent("why"));
        assert_eq!(fate(&refused("INVALID_CONTENT")), Fate::NotSent("why"));
        assert_eq!(fate(&refused("ADMIN_NODE_UNAVAILABLE")), Fate::Unknown("why"));
        assert_eq!(fate(&refused("INTERNAL_ERROR")), Fate::Unknown("why"));
        assert_eq!(fate(&RequestError::Timeout), Fate::Unknown("no answer in time"));
        assert_eq!(fate(&RequestError::Closed(Some(1012))), Fate::Lost);
    }
}
