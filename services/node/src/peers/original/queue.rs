//! What waits for one node of the original system: its order, bounds, and what may be taken back. No I/O.
//!
//! There are two lanes, which take turns: what rooms of this node say, and what is asked about rooms of the other. No room is
//! in both, so the order of each room is kept, and whoever asks does not wait until a busy room is done.
//!
//! The job at the front of a lane stays there while its call is in flight, so that nothing passes it. What a room says is
//! repeated until the node has it or has failed; what a client asks is asked once.

use chat_engine::effect::Recalled;
use chat_protocol::ids::RoomId;
use chat_protocol::message_frame::MessageFrame;
use chat_protocol::original_call::{self, method};
use chat_protocol::peer_call::method as deletion;
use chat_protocol::server_frame::MemberEvent;
use dxr::Value;
use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;

/// Calls that fail although the node answers heartbeats are given up after so many tries, so that one does not stop the rest.
const MAX_TRIES: u32 = 5;
/// Jobs beside messages: member events and requests. They are small, but not nothing.
const MAX_JOBS: usize = 16_384;
/// The lanes.
const SAID: usize = 0;
const ASKED: usize = 1;
/// What a job weighs beside its content.
const JOB_BYTES: usize = 400;

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// It was not made: no connection, no time, no room.
    Undone,
    /// Nobody knows whether it was executed.
    Unknown,
    /// The node answered with a fault.
    Fault,
}

/// What becomes of a request.
pub(crate) type Done = Box<dyn FnOnce(Result<Value, NoAnswer>) + Send>;
/// Whoever waits for room in the queue.
pub(crate) type Waiter = Box<dyn FnOnce() + Send>;

/// How often a request is made.
pub(crate) enum Often {
    /// Once, before this moment, and somebody waits for its outcome.
    Once(Instant, Done),
    /// Until it is answered, whatever the answer. It outlives a failure of the node. Somebody may wait for its outcome.
    UntilAnswered(Option<Done>),
}

/// What is to be called.
pub(crate) enum What {
    /// `receive_message_broadcast`, the number lowered by a shift.
    Message(MessageFrame, u64),
    /// `receive_member_event_broadcast`.
    Event(MemberEvent),
    /// Anything else.
    Request(&'static str, Vec<Value>, Often),
}

/// One call about one room.
pub(crate) struct Job {
    pub(crate) room: RoomId,
    pub(crate) what: What,
    tries: u32,
}

impl Job {
    pub(crate) fn new(room: RoomId, what: What) -> Self {
        Self { room, what, tries: 0 }
    }

    fn size(&self) -> usize {
        let content = match &self.what {
            What::Message(frame, _) => frame.len(),
            What::Event(_) => 0,
            What::Request(_, params, _) => params.iter().map(text_len).sum(),
        };
        content + JOB_BYTES
    }

    /// What is said, or what is asked.
    fn lane(&self) -> usize {
        match self.what {
            // The deletion of a room of this node must not pass what the room said before.
            What::Request(
                deletion::PREPARE_DELETE_ROOM | deletion::COMMIT_DELETE_ROOM | deletion::ROLLBACK_DELETE_ROOM,
                ..,
            ) => SAID,
            What::Request(..) => ASKED,
            What::Message(..) | What::Event(_) => SAID,
        }
    }

    fn is_message(&self) -> bool {
        matches!(self.what, What::Message(..))
    }

    fn is(&self, room: &RoomId, what: &Recalled) -> bool {
        self.room == *room
            && match (&self.what, what) {
                (What::Message(..), Recalled::Messages) => true,
                (What::Event(event), Recalled::Departure(user)) => event.left.is_some() && event.username == *user,
                _ => false,
            }
    }

    /// Method and parameters. `None` for a frame that is no message: it came over a link and only looked like one.
    fn call(&self) -> Option<(&'static str, Vec<Value>)> {
        Some(match &self.what {
            What::Message(frame, shift) => (
                method::RECEIVE_MESSAGE_BROADCAST,
                original_call::message_params(&frame.message().ok()?, *shift),
            ),
            What::Event(event) => (
                method::RECEIVE_MEMBER_EVENT_BROADCAST,
                original_call::event_params(event),
            ),
            What::Request(method, params, _) => (*method, params.clone()),
        })
    }
}

fn text_len(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        _ => 8,
    }
}

/// How a call ended.
pub(crate) enum Ended {
    /// With an answer.
    Answered(Value),
    /// With a fault.
    Fault,
    /// No connection: it was not executed.
    Undone,
    /// Broken: nobody knows.
    Unknown,
}

/// What to tell whom after a change of the queue; to be called without holding it.
#[derive(Default)]
pub(crate) struct Follow {
    pub(crate) done: Vec<(Done, Result<Value, NoAnswer>)>,
    pub(crate) waiters: Vec<Waiter>,
    /// Something that a room said was given up.
    pub(crate) given_up: u64,
}

impl Follow {
    /// Tells them.
    pub(crate) fn tell(self) {
        for (done, result) in self.done {
            done(result);
        }
        for waiter in self.waiters {
            waiter();
        }
    }

    pub(crate) fn drop_job(&mut self, job: Job, result: Result<Value, NoAnswer>) {
        match job.what {
            What::Request(_, _, Often::Once(_, done)) => self.done.push((done, result)),
            What::Request(_, _, Often::UntilAnswered(Some(done))) => {
                self.given_up += u64::from(result.is_err());
                self.done.push((done, result));
            }
            _ => self.given_up += u64::from(result.is_err()),
        }
    }
}

/// The queue of one node.
pub(crate) struct Queue {
    lanes: [VecDeque<Job>; 2],
    /// Whose turn was last.
    last: usize,
    bytes: usize,
    messages: usize,
    max_bytes: usize,
    /// The lane whose front is being called.
    in_flight: Option<usize>,
    /// What is in flight is not to be repeated.
    recalled: bool,
    waiters: Vec<Waiter>,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("jobs", &self.jobs().count())
            .field("bytes", &self.bytes)
            .field("in_flight", &self.in_flight)
            .finish_non_exhaustive()
    }
}

impl Queue {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            lanes: Default::default(),
            last: ASKED,
            bytes: 0,
            messages: 0,
            max_bytes,
            in_flight: None,
            recalled: false,
            waiters: Vec::new(),
        }
    }

    fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.lanes.iter().flatten()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// True if a message may be queued: an empty queue takes one of any size.
    pub(crate) fn has_room(&self) -> bool {
        self.messages == 0 || self.bytes < self.max_bytes
    }

    /// Queues a job. A message that has no room, or anything beyond the bound on jobs, is given back.
    pub(crate) fn push(&mut self, job: Job) -> Result<(), Job> {
        let fits = if job.is_message() {
            self.has_room()
        } else {
            self.lanes.iter().map(VecDeque::len).sum::<usize>() - self.messages < MAX_JOBS
        };
        if !fits {
            return Err(job);
        }
        self.bytes += job.size();
        self.messages += usize::from(job.is_message());
        self.lanes[job.lane()].push_back(job);
        Ok(())
    }

    /// Calls `waiter` when half of the room is free again.
    pub(crate) fn when_drained(&mut self, waiter: Waiter) -> Option<Waiter> {
        if self.is_half_empty() {
            return Some(waiter);
        }
        self.waiters.push(waiter);
        None
    }

    fn is_half_empty(&self) -> bool {
        self.messages == 0 || self.bytes <= self.max_bytes / 2
    }

    /// The call to be made next; its job stays at the front of its lane until [`Self::end`].
    pub(crate) fn begin(&mut self, now: Instant, follow: &mut Follow) -> Option<(&'static str, Vec<Value>)> {
        self.expire(now, follow);
        loop {
            let mut turns = [1 - self.last, self.last].into_iter();
            let lane = turns.find(|lane| !self.lanes[*lane].is_empty())?;
            let job = self.lanes[lane].front_mut()?;
            job.tries += 1;
            let call = job.call();
            if call.is_some() {
                (self.last, self.in_flight) = (lane, Some(lane));
                return call;
            }
            self.take_front(lane, follow, Err(NoAnswer::Undone));
        }
    }

    /// The call in flight ended. True if its job is to be tried again.
    pub(crate) fn end(&mut self, ended: Ended, follow: &mut Follow) -> bool {
        let recalled = std::mem::take(&mut self.recalled);
        let Some(lane) = self.in_flight.take() else {
            return false;
        };
        let Some(job) = self.lanes[lane].front() else {
            return false;
        };
        let result = match ended {
            Ended::Answered(value) => Ok(value),
            Ended::Fault => Err(NoAnswer::Fault),
            Ended::Undone => Err(NoAnswer::Undone),
            Ended::Unknown => Err(NoAnswer::Unknown),
        };
        let again = match (&job.what, &result) {
            (_, Ok(_)) => false,
            (What::Request(_, _, Often::Once(..)), Err(_)) => false,
            // A refusal is an answer.
            (What::Request(_, _, Often::UntilAnswered(_)), Err(why)) => *why != NoAnswer::Fault,
            (What::Message(..) | What::Event(_), Err(_)) => true,
        };
        if again && !recalled && job.tries < MAX_TRIES {
            return true;
        }
        self.take_front(lane, follow, result);
        false
    }

    fn take_front(&mut self, lane: usize, follow: &mut Follow, result: Result<Value, NoAnswer>) {
        if let Some(job) = self.lanes[lane].pop_front() {
            self.account_for(&job);
            follow.drop_job(job, result);
        }
        if self.is_half_empty() {
            follow.waiters.append(&mut self.waiters);
        }
    }

    fn account_for(&mut self, gone: &Job) {
        self.bytes -= gone.size();
        self.messages -= usize::from(gone.is_message());
    }

    /// Takes out what `which` picks, except what is in flight; that is not repeated.
    fn remove(&mut self, which: impl Fn(&Job) -> bool) -> Vec<Job> {
        let in_flight = self.in_flight;
        let mut gone = Vec::new();
        for (n, lane) in self.lanes.iter_mut().enumerate() {
            let kept_front = if in_flight == Some(n) { lane.pop_front() } else { None };
            if kept_front.as_ref().is_some_and(&which) {
                self.recalled = true;
            }
            let (out, kept): (VecDeque<_>, VecDeque<_>) = std::mem::take(lane).into_iter().partition(&which);
            *lane = kept_front.into_iter().chain(kept).collect();
            gone.extend(out);
        }
        for job in &gone {
            self.account_for(job);
        }
        gone
    }

    /// Takes back what would do harm now.
    pub(crate) fn recall(&mut self, room: &RoomId, what: &Recalled, follow: &mut Follow) {
        if self.jobs().any(|job| job.is(room, what)) {
            // Nobody misses it.
            drop(self.remove(|job| job.is(room, what)));
            if self.is_half_empty() {
                follow.waiters.append(&mut self.waiters);
            }
        }
    }

    /// True if what would be recalled is on its way and cannot be.
    pub(crate) fn is_in_flight(&self, room: &RoomId, what: &Recalled) -> bool {
        let front = self.in_flight.and_then(|lane| self.lanes[lane].front());
        front.is_some_and(|job| job.is(room, what))
    }

    /// Requests whose time is over are not made.
    pub(crate) fn expire(&mut self, now: Instant, follow: &mut Follow) {
        let is_over = |job: &Job| matches!(&job.what, What::Request(_, _, Often::Once(until, _)) if *until <= now);
        if self.jobs().any(is_over) {
            // What is in flight is being made; it is no repeat that would have to be prevented.
            for job in self.remove(is_over) {
                follow.drop_job(job, Err(NoAnswer::Undone));
            }
        }
    }

    /// When the next request expires.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        let until = |job: &Job| match &job.what {
            What::Request(_, _, Often::Once(until, _)) => Some(*until),
            _ => None,
        };
        self.jobs().filter_map(until).min()
    }

    /// The node failed: nothing is kept for it but that somebody left, which it must learn if it ever comes back.
    pub(crate) fn fail(&mut self, follow: &mut Follow) {
        let stays = |job: &Job| matches!(job.what, What::Request(_, _, Often::UntilAnswered(_)));
        for job in self.remove(|job| !stays(job)) {
            follow.drop_job(job, Err(NoAnswer::Undone));
        }
        follow.waiters.append(&mut self.waiters);
    }

    /// Another program answers at the node's address: nothing here is for it.
    pub(crate) fn clear(&mut self, follow: &mut Follow) {
        for job in self.remove(|_| true) {
            follow.drop_job(job, Err(NoAnswer::Undone));
        }
        follow.waiters.append(&mut self.waiters);
    }
}

#[cfg(test)]
mod tests;
