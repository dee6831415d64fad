//! The task of one connection: select, then apply.
//!
//! Requests of a classic connection are handled strictly one after another: the next one is looked at when the answer to
//! the last is in the queue. Meanwhile the socket is read on, up to a bound, so that pings are answered and a close is
//! seen. An extended connection may have a number of requests under way.

use super::Session;
use super::inbound::{self, Inbound, Progress, Said};
use super::intake;
use super::io::SessionIo;
use super::keepalive::{Due, Keepalive};
use super::outbound::{Flushed, Kind};
use super::pace::Pace;
use crate::config::Limits;
use crate::rooms::RoomsHandle;
use crate::telemetry::metrics::Closed;
use chat_protocol::close::CloseReason;
use chat_protocol::codec::ExtendedRequest;
use chat_protocol::ids::RoomId;
use chat_protocol::limits::MAX_PIPELINE;
use chat_protocol::server_frame::ServerFrame;
use futures_util::StreamExt;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error};
use tokio_tungstenite::tungstenite::protocol::frame::Utf8Bytes;
use tokio_tungstenite::tungstenite::{self, Message};

/// How long the last bytes may take when a connection is closed.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Why the reading side ended.
enum End {
    /// The client closed: nothing more can be said.
    Left,
    /// The connection broke.
    Lost,
    /// We close.
    Close(CloseReason),
}

struct Actor {
    session: Arc<Session>,
    rooms: RoomsHandle,
    limits: Arc<Limits>,
    socket: WebSocketStream<SessionIo>,
    keepalive: Keepalive,
    /// Frames that were read.
    pace: Pace,
    /// Texts that wait for the answer to the request under way.
    waiting: VecDeque<Utf8Bytes>,
    waiting_bytes: usize,
    /// Whether the first frame came, which decides the dialect.
    greeted: bool,
    /// Requests under way.
    in_flight: usize,
    /// Rooms that were asked something since nothing was under way: they may seat the connection any moment.
    asked: BTreeSet<RoomId>,
}

/// Serves a connection until it ends. Whatever it was seated in is told.
pub async fn run(session: Arc<Session>, rooms: RoomsHandle, limits: Arc<Limits>, socket: WebSocketStream<SessionIo>) {
    let pace = Pace::new(limits.requests_per_second, Instant::now());
    let keepalive = Keepalive::new(Instant::now(), limits.ping_interval, limits.pong_timeout);
    let mut actor = Actor {
        session,
        rooms,
        limits,
        socket,
        keepalive,
        pace,
        waiting: VecDeque::new(),
        waiting_bytes: 0,
        greeted: false,
        in_flight: 0,
        asked: BTreeSet::new(),
    };
    let end = actor.serve().await;
    actor.end(end).await;
}

impl Actor {
    async fn serve(&mut self) -> End {
        loop {
            if let Some(reason) = self.session.outbound.closing() {
                return End::Close(reason);
            }
            if self.session.outbound.is_dead() {
                return End::Lost;
            }
            let blocked = self.session.outbound.is_blocked();
            let now = Instant::now();
            let paced = self.pace.wait(now);
            let may_read = paced.is_none() && (self.waiting.is_empty() || self.has_room());
            let deadline = self.next_deadline(now, paced);
            tokio::select! {
                biased;
                () = self.session.wake.notified() => self.on_wake().await,
                _ = self.session.outbound.socket().writable(), if blocked => {
                    self.session.outbound.resume();
                }
                frame = self.socket.next(), if may_read => {
                    if let Err(end) = self.on_frame(frame).await {
                        return end;
                    }
                }
                () = tokio::time::sleep_until(deadline) => {
                    if let Err(end) = self.on_time() {
                        return end;
                    }
                }
            }
        }
    }

    fn has_room(&self) -> bool {
        self.waiting.len() < self.limits.inbound_frames && self.waiting_bytes < self.limits.inbound_bytes
    }

    fn stall_deadline(&self) -> Option<Instant> {
        let since = self.session.outbound.stalled_since()?;
        Some(Instant::from_std(since) + self.limits.slow_reader)
    }

    /// When a message must be finished.
    fn message_deadline(&self) -> Option<Instant> {
        Some(self.session.intake.unfinished_since()? + self.limits.message_timeout)
    }

    fn next_deadline(&self, now: Instant, paced: Option<Instant>) -> Instant {
        // Bytes that are no whole frame do not wake this task, so a message that begins while it waits is seen then.
        let unfinished = self.message_deadline().unwrap_or(now + self.limits.message_timeout);
        let others = [self.stall_deadline(), paced];
        let first = self.keepalive.deadline().min(unfinished);
        others.into_iter().flatten().fold(first, Instant::min)
    }

    async fn on_wake(&mut self) {
        self.count_answers();
        while self.in_flight == 0
            && let Some(text) = self.waiting.pop_front()
        {
            self.waiting_bytes -= text.len();
            // Less than before always fits.
            let _fits = self.session.intake.waiting(self.waiting_bytes);
            self.start(text).await;
        }
        self.flush();
    }

    fn count_answers(&mut self) {
        let answered = self.session.outbound.take_answers();
        self.in_flight = self.in_flight.saturating_sub(answered);
        if answered > 0 && self.in_flight == 0 {
            self.asked.clear();
        }
    }

    fn flush(&self) {
        if self.session.outbound.flush() == Flushed::Dead {
            self.session.outbound.kill();
        }
    }

    async fn start(&mut self, text: Utf8Bytes) {
        let first = !std::mem::replace(&mut self.greeted, true);
        let bytes = text.len() as u64;
        let said = if text.len() > intake::FREE {
            self.understand_aside(text, first).await
        } else {
            inbound::understand(&text, first, self.session.user())
        };
        self.rooms.metrics().clients.received(said.heard(), bytes);
        let request = match said {
            Said::Hello(hello) => return inbound::greet(&self.session, &self.rooms, hello),
            Said::Request(request) => request,
        };
        self.count_answers();
        if self.in_flight >= MAX_PIPELINE {
            return inbound::refuse_excess(&self.session, &self.rooms, request.id.as_ref());
        }
        let inbound = Inbound {
            session: &self.session,
            rooms: &self.rooms,
            asked: &self.asked,
        };
        if let Progress::Pending(room) = inbound.handle(request).await {
            self.in_flight += 1;
            self.asked.extend(room);
        }
    }

    /// A text that is longer than any that means something takes milliseconds, which are not taken from others: it waits for
    /// its turn among its like, on a thread that everybody else goes before.
    async fn understand_aside(&self, text: Utf8Bytes, first: bool) -> Said {
        let user = self.session.user().cloned();
        let understand = move || inbound::understand(&text, first, user.as_ref());
        self.session.intake.aside().run(understand).await.unwrap_or_else(|| {
            Said::Request(ExtendedRequest {
                id: None,
                frame: Err(ServerFrame::Error("Internal server error".into())),
            })
        })
    }

    async fn on_frame(&mut self, frame: Option<Result<Message, Error>>) -> Result<(), End> {
        let now = Instant::now();
        self.keepalive.heard(now);
        self.pace.count(now);
        let text = match frame {
            Some(Ok(Message::Text(text))) => text,
            // The original accepts JSON in binary messages; what is no UTF-8 is no JSON.
            Some(Ok(Message::Binary(bytes))) => {
                Utf8Bytes::try_from(bytes).unwrap_or_else(|_| Utf8Bytes::from_static("\u{FFFD}"))
            }
            Some(Ok(Message::Ping(payload) | Message::Pong(payload))) => {
                self.session.intake.control(payload.len());
                self.flush();
                return Ok(());
            }
            // A raw frame is never read.
            Some(Ok(Message::Close(_) | Message::Frame(_))) => return Err(End::Left),
            None => return Err(End::Lost),
            Some(Err(e)) => return Err(self.session.outbound.closing().map_or_else(|| end_of(&e), End::Close)),
        };
        self.session.intake.finished();
        if !self.session.is_extended() && (self.in_flight > 0 || !self.waiting.is_empty()) {
            self.waiting_bytes += text.len();
            self.waiting.push_back(text);
            if !self.session.intake.waiting(self.waiting_bytes) {
                return Err(End::Close(CloseReason::Overloaded));
            }
            return Ok(());
        }
        self.start(text).await;
        if self.in_flight == 0 || self.session.is_extended() {
            self.flush();
        }
        Ok(())
    }

    fn on_time(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if self.stall_deadline().is_some_and(|at| at <= now) {
            return Err(End::Close(CloseReason::SlowReader));
        }
        if self.message_deadline().is_some_and(|at| at <= now) {
            return Err(End::Close(CloseReason::SlowSender));
        }
        match self.keepalive.due(now) {
            Some(Due::Ping) => {
                self.session
                    .outbound
                    .push(Kind::Control, chat_protocol::ws_frame::ping());
                self.flush();
                Ok(())
            }
            Some(Due::GiveUp) => Err(End::Close(CloseReason::PingTimeout)),
            None => Ok(()),
        }
    }

    /// Tells the rooms, then says good-bye as far as the client still listens.
    async fn end(mut self, end: End) {
        self.rooms.metrics().clients.closed(match end {
            End::Close(reason) => Closed::By(reason),
            End::Left => Closed::Client,
            End::Lost => Closed::Lost,
        });
        let mut rooms = std::mem::take(&mut self.asked);
        rooms.extend(self.session.take_seats().into_keys());
        for room in rooms {
            self.rooms.closed(&self.session, room).await;
        }
        if let End::Close(reason) = end {
            if reason == CloseReason::SlowReader {
                self.rooms.metrics().clients.slow_closed.inc();
            }
            let outbound = &self.session.outbound;
            outbound.finish(reason);
            let written = async {
                while outbound.resume() == Flushed::Blocked {
                    if outbound.socket().writable().await.is_err() {
                        break;
                    }
                }
            };
            // A client that does not take its close frame in time is left alone.
            drop(tokio::time::timeout(CLOSE_PATIENCE, written).await);
            // Reading until the client closes too keeps the kernel from resetting what it has not read yet.
            let closing = async { while let Some(Ok(_)) = self.socket.next().await {} };
            drop(tokio::time::timeout(CLOSE_PATIENCE, closing).await);
        } else {
            self.flush();
        }
        self.session.outbound.kill();
    }
}

/// What an error of the WebSocket layer means for the connection (RFC 6455 section 7.4.1).
fn end_of(error: &Error) -> End {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => End::Close(CloseReason::TooBig),
        Error::Utf8(_) => End::Close(CloseReason::InvalidUtf8),
        Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => End::Lost,
        Error::Protocol(_) => End::Close(CloseReason::ProtocolError),
        _ => End::Lost,
    }
}
