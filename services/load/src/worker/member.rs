//! One member: one connection, one task, one loop that sends what is due and takes what comes.

use super::Shared;
use crate::args::Dialect;
use crate::check::RoomCheck;
use crate::scenario::Pace;
use crate::stamp::Stamp;
use crate::tally::micros;
use crate::violations::Kind;
use chat_client::{Frame, RawConnection, RawFrame, decode, new_message, request};
use chat_protocol::limits::MAX_PIPELINE;
use serde::Deserialize;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Most messages of one sender that wait for their answers. More stay unsent, and their latency counts all the same.
const IN_FLIGHT: usize = 4_096;

/// Longest wait for a server's part of a close.
const CLOSE: Duration = Duration::from_secs(1);

/// The intended times of one sender's messages, in seconds since the start of the run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    pub(super) first: f64,
    pub(super) step: f64,
}

impl Schedule {
    /// The intended time of message `nth` (from 0), in µs.
    pub(super) fn micros(self, nth: u64) -> u64 {
        micros(Duration::from_secs_f64(self.first + self.step * nth as f64))
    }
}

/// How the thread talks to a member's task: how many messages are to be sent so far, and when to stop.
#[derive(Default)]
pub(super) struct Signal {
    /// Without one, each message is due when it is sent.
    schedule: Cell<Option<Schedule>>,
    released: Cell<u64>,
    sent: Cell<u64>,
    stopped: Cell<bool>,
    ended: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Signal {
    pub(super) fn follow(&self, schedule: Schedule) {
        self.schedule.set(Some(schedule));
    }

    /// One more message is due.
    pub(super) fn release(&self) {
        self.released.set(self.released.get() + 1);
        self.wake();
    }

    pub(super) fn stop(&self) {
        self.stopped.set(true);
        self.wake();
    }

    /// Nothing is left to send.
    pub(super) fn is_idle(&self) -> bool {
        self.ended.get() || self.sent.get() == self.released.get()
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    fn register(&self, waker: &Waker) {
        let mut slot = self.waker.borrow_mut();
        if !slot.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }
}

/// The user name of a seat.
pub(super) fn name(seat: usize) -> String {
    format!("member-{seat}")
}

/// One member in its room.
pub(super) struct Member {
    shared: Rc<Shared>,
    check: Rc<RefCell<RoomCheck>>,
    signal: Rc<Signal>,
    raw: RawConnection,
    room: usize,
    seat: usize,
    /// `send_message` up to the content.
    head: String,
    /// Whether messages carry an id.
    extended: bool,
    /// Intended times of messages that wait for their answers.
    in_flight: VecDeque<u64>,
}

/// Serves a member until it is told to stop, then closes its connection.
pub(super) async fn attend(mut member: Member) {
    if poll_fn(|cx| member.poll(cx)).await {
        member.raw.close(CLOSE).await;
    }
}

impl Member {
    pub(super) fn new(
        shared: Rc<Shared>,
        check: Rc<RefCell<RoomCheck>>,
        signal: Rc<Signal>,
        raw: RawConnection,
        room: usize,
        seat: usize,
    ) -> Self {
        let whole = request::send_message(check.borrow().room_id(), &name(seat), "");
        let head = whole.strip_suffix(TAIL).unwrap_or(&whole).to_owned();
        let extended = shared.scenario.dialect == Dialect::Extended;
        Self {
            shared,
            check,
            signal,
            raw,
            room,
            seat,
            head,
            extended,
            in_flight: VecDeque::new(),
        }
    }

    /// Ready when told to stop (true) or when the connection ended by itself (false).
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.signal.register(cx.waker());
        loop {
            if self.signal.stopped.get() {
                return Poll::Ready(true);
            }
            self.send_what_is_due();
            match self.raw.poll_frame(cx) {
                Poll::Ready(RawFrame::Text(text)) => self.take(&text),
                Poll::Ready(RawFrame::Binary(_)) => self.stranger("a binary frame"),
                Poll::Ready(RawFrame::Closed(closed)) => {
                    self.signal.ended.set(true);
                    self.check.borrow_mut().lost(self.seat);
                    let words = || format!("room {} member {}: {closed}", self.room, self.seat);
                    self.shared.violations.borrow_mut().add(Kind::ConnectionLost, 1, words);
                    return Poll::Ready(false);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn send_what_is_due(&mut self) {
        let Some(go) = self.shared.go.get() else { return };
        let most = if self.extended { MAX_PIPELINE } else { IN_FLIGHT };
        while self.in_flight.len() < most && !self.signal.is_idle() {
            let (counter, now, scenario) = (self.signal.sent.get(), go.clock.now(), &self.shared.scenario);
            let intended = self
                .signal
                .schedule
                .get()
                .map_or(now, |schedule| schedule.micros(counter));
            let stamp = Stamp {
                room: self.room as u64,
                sender: self.seat as u64,
                counter,
                micros: intended,
            };
            let mut text = String::with_capacity(self.head.len() + scenario.size + TAIL.len());
            text.push_str(&self.head);
            stamp.write(&mut text, scenario.size);
            if self.extended {
                // Unique in its room, which was created for this run; in order of time, as ids of good clients are.
                let _infallible = write!(text, r#"","client_msg_id":"{counter:08x}-{}"#, self.seat);
            }
            text.push_str(TAIL);
            if self.raw.queue_text(text).is_err() {
                // Full: it stays due. Closed: the next read says so.
                return;
            }
            self.signal.sent.set(counter + 1);
            self.in_flight.push_back(intended);
            self.check.borrow_mut().sent(self.seat);
            self.shared.tally.borrow_mut().sent(&go.clock, intended, now);
        }
    }

    fn take(&mut self, text: &str) {
        match request::type_of(text) {
            "new_message" => self.delivered(text),
            "message_sent" => self.confirmed(text),
            // Of many members each arrival is told to all others; they are not even parsed.
            "member_joined" | "member_left" => {}
            _ => match decode(text) {
                Frame::SendRefused { refusal, .. } => self.refused(&refusal.code),
                Frame::Error(refusal) => self.refused(&refusal.text),
                _ => self.stranger(chat_protocol::text::prefix(text, 200)),
            },
        }
    }

    fn delivered(&mut self, text: &str) {
        let (Some(message), Some(go)) = (new_message::parse(text), self.shared.go.get()) else {
            return self.stranger(chat_protocol::text::prefix(text, 200));
        };
        let stamp = Stamp::parse(&message.content);
        if let Some(stamp) = stamp {
            self.shared
                .tally
                .borrow_mut()
                .delivered(&go.clock, stamp.micros, go.clock.now());
        }
        let mut violations = self.shared.violations.borrow_mut();
        self.check
            .borrow_mut()
            .delivered(self.seat, &message, stamp, &mut violations);
    }

    fn confirmed(&mut self, text: &str) {
        let (Ok(sent), Some(go)) = (serde_json::from_str::<SentFrame<'_>>(text), self.shared.go.get()) else {
            return self.stranger(chat_protocol::text::prefix(text, 200));
        };
        if self.seat >= self.shared.scenario.senders {
            return self.stranger("a confirmation although it sends nothing");
        }
        let now = go.clock.now();
        if let Some(intended) = self.in_flight.pop_front() {
            self.shared.tally.borrow_mut().acked(&go.clock, intended, now);
            go.pulse.beat(now);
        }
        let mut violations = self.shared.violations.borrow_mut();
        self.check
            .borrow_mut()
            .confirmed(self.seat, sent.data.seq, &sent.data.message_id, &mut violations);
        drop(violations);
        self.after_answer();
    }

    fn refused(&mut self, code: &str) {
        self.shared.tally.borrow_mut().refused(code);
        if self.in_flight.pop_front().is_some() {
            self.check.borrow_mut().refused(self.seat);
            self.after_answer();
        }
    }

    /// Without a rate, an answer makes the next message due.
    fn after_answer(&self) {
        if let (Pace::Closed, Some(go)) = (self.shared.scenario.pace, self.shared.go.get())
            && go.clock.now() < go.clock.window.end
        {
            self.signal.release();
        }
    }

    fn stranger(&self, what: &str) {
        let words = || format!("room {} member {}: unexpected: {what}", self.room, self.seat);
        self.shared.violations.borrow_mut().add(Kind::Foreign, 1, words);
    }
}

const TAIL: &str = r#""}}"#;

#[derive(Deserialize)]
struct SentFrame<'a> {
    #[serde(borrow)]
    data: SentData<'a>,
}

#[derive(Deserialize)]
struct SentData<'a> {
    #[serde(borrow)]
    message_id: Cow<'a, str>,
    #[serde(rename = "sequence_number")]
    seq: u64,
}
