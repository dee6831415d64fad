//! What waits to be written to one client: shared bytes, bounded, written with one call for all that waits.
//!
//! Whoever has something to say pushes and marks; whoever finishes a turn flushes. A flush is one non-blocking vectored
//! write from the pushing thread, so a delivery costs no task wake-up. Only a socket that would block hands the rest to
//! the connection's own task, which waits until it is writable.

use bytes::Bytes;
use prometheus::{IntCounter, IntCounterVec};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::net::TcpStream;

use chat_protocol::close::CloseReason;
use chat_protocol::limits::MAX_OUTBOUND_FRAME;

/// Slices per write; the kernel takes 1,024.
const MAX_SLICES: usize = 64;

/// Bytes that a frame in a queue takes beside its own: the handle, the header of its allocation, the slack of both.
const PLACE: usize = 64;

/// Somebody who wants to push a page when there is room again.
pub type Waiter = Box<dyn FnOnce() + Send>;

/// The writing side of one connection.
pub struct Outbound {
    socket: Arc<TcpStream>,
    limit: usize,
    sent: Arc<Sent>,
    state: Mutex<State>,
}

/// What a frame is to whoever counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A message of a room.
    Message,
    /// The answer to a request.
    Answer,
    /// What nobody asked for: who came and went, and what became of a room or of the node.
    Event,
    /// What belongs to the WebSocket: pings, pongs, closes.
    Control,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Message, Self::Answer, Self::Event, Self::Control];

    const fn label(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Answer => "answer",
            Self::Event => "event",
            Self::Control => "control",
        }
    }
}

/// What the node counts of everything that it writes to clients, by [`Kind`].
#[derive(Debug)]
pub struct Sent([Counters; Kind::ALL.len()]);

#[derive(Debug)]
struct Counters {
    /// Frames that were written to the end.
    frames: IntCounter,
    bytes: IntCounter,
}

impl Sent {
    /// The series of two families, whose one label is the kind.
    #[must_use]
    pub fn of(frames: &IntCounterVec, bytes: &IntCounterVec) -> Self {
        Self(Kind::ALL.map(|kind| Counters {
            frames: frames.with_label_values(&[kind.label()]),
            bytes: bytes.with_label_values(&[kind.label()]),
        }))
    }

    /// Nearly every write is of one kind.
    fn count(&self, tally: &Tally) {
        for (counters, (frames, bytes)) in self.0.iter().zip(tally) {
            if *frames > 0 {
                counters.frames.inc_by(*frames);
            }
            if *bytes > 0 {
                counters.bytes.inc_by(*bytes);
            }
        }
    }
}

/// Frames that ended and bytes, by kind.
type Tally = [(u64, u64); Kind::ALL.len()];

#[derive(Default)]
struct State {
    queue: VecDeque<(Kind, Bytes)>,
    bytes: usize,
    /// Answers to requests that were queued and not counted yet.
    answers: usize,
    /// How much of the first chunk is written.
    written: usize,
    dirty: bool,
    blocked: bool,
    dead: bool,
    closing: Option<CloseReason>,
    progress: Option<Instant>,
    waiters: Vec<Waiter>,
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbound")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// It is in the queue, and the caller must flush.
    MustFlush,
    /// It is in the queue, and somebody else is going to flush; or nobody is there to get it.
    Queued,
    /// It does not fit.
    Full,
}

/// What became of a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// Nothing waits.
    Empty,
    /// The socket takes no more now; the connection's task must wait for it.
    Blocked,
    /// The connection is gone.
    Dead,
}

impl Outbound {
    /// A queue of at most `limit` bytes for deliveries; answers and events may exceed it by one frame of full size.
    #[must_use]
    pub fn new(socket: Arc<TcpStream>, limit: usize, sent: Arc<Sent>) -> Self {
        Self {
            socket,
            limit,
            sent,
            state: Mutex::default(),
        }
    }

    /// True if a delivery of `len` bytes fits. An empty queue takes anything.
    #[must_use]
    pub fn has_room(&self, len: usize) -> bool {
        let state = self.state();
        state.bytes == 0 || state.weight() + len <= self.limit
    }

    /// Adds a delivery if it fits; an empty queue takes anything.
    pub fn offer(&self, bytes: Bytes) -> Offered {
        let mut state = self.state();
        if state.dead || state.closing.is_some() {
            return Offered::Queued;
        }
        if state.bytes > 0 && state.weight() + bytes.len() > self.limit {
            return Offered::Full;
        }
        state.bytes += bytes.len();
        state.queue.push_back((Kind::Message, bytes));
        if std::mem::replace(&mut state.dirty, true) {
            Offered::Queued
        } else {
            Offered::MustFlush
        }
    }

    /// Adds `bytes`. True if the caller must flush, false if somebody else is going to.
    ///
    /// A connection whose queue exceeds its bound by more than a frame does not read at all: it is closed as a slow
    /// reader instead of being queued for.
    pub fn push(&self, kind: Kind, bytes: Bytes) -> bool {
        Self::add(&mut self.state(), self.limit, kind, bytes)
    }

    /// As [`Self::push`], for the answer to a request. It counts from the moment at which it is queued, and so before the
    /// client can have seen it and asked the next thing.
    pub fn push_answer(&self, bytes: Bytes) -> bool {
        let mut state = self.state();
        state.answers += 1;
        Self::add(&mut state, self.limit, Kind::Answer, bytes)
    }

    /// How many answers were queued since the last call.
    pub fn take_answers(&self) -> usize {
        std::mem::take(&mut self.state().answers)
    }

    fn add(state: &mut State, limit: usize, kind: Kind, bytes: Bytes) -> bool {
        if state.dead || state.closing.is_some() {
            return false;
        }
        if state.bytes > 0 && state.weight() + bytes.len() > limit + MAX_OUTBOUND_FRAME {
            state.closing = Some(CloseReason::SlowReader);
            return true;
        }
        state.bytes += bytes.len();
        state.queue.push_back((kind, bytes));
        !std::mem::replace(&mut state.dirty, true)
    }

    /// Writes what waits, as far as the socket takes it without blocking.
    pub fn flush(&self) -> Flushed {
        let mut state = self.state();
        state.dirty = false;
        if state.blocked {
            return Flushed::Blocked;
        }
        self.write(&mut state)
    }

    /// As [`Self::flush`], after the socket became writable again. Runs what waited for room.
    pub fn resume(&self) -> Flushed {
        let (flushed, waiters) = {
            let mut state = self.state();
            state.blocked = false;
            let flushed = self.write(&mut state);
            let drained = flushed == Flushed::Dead || state.weight() <= self.limit / 2;
            (
                flushed,
                if drained {
                    std::mem::take(&mut state.waiters)
                } else {
                    Vec::new()
                },
            )
        };
        for waiter in waiters {
            waiter();
        }
        flushed
    }

    fn write(&self, state: &mut State) -> Flushed {
        while !state.queue.is_empty() && !state.dead {
            match self.write_once(state) {
                Ok(0) => state.dead = true,
                Ok(written) => {
                    self.sent.count(&state.consume(written));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    state.blocked = true;
                    state.progress.get_or_insert_with(Instant::now);
                    return Flushed::Blocked;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => state.dead = true,
            }
        }
        if state.dead {
            state.queue = VecDeque::new();
            state.bytes = 0;
            return Flushed::Dead;
        }
        state.progress = None;
        if state.queue.capacity() > 64 {
            // An idle connection should not keep what a burst needed.
            state.queue.shrink_to(8);
        }
        Flushed::Empty
    }

    /// One system call. The usual case is one chunk, which needs no list of slices.
    fn write_once(&self, state: &State) -> io::Result<usize> {
        if let (1, Some((_, only))) = (state.queue.len(), state.queue.front()) {
            return self.socket.try_write(&only[state.written..]);
        }
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let mut count = 0;
        for (slice, (_, chunk)) in slices.iter_mut().zip(&state.queue) {
            *slice = IoSlice::new(if count == 0 { &chunk[state.written..] } else { chunk });
            count += 1;
        }
        self.socket.try_write_vectored(&slices[..count])
    }

    /// Runs `waiter` when the queue has drained to half of its bound; at once, on the caller's thread, if it has
    /// already. Dropped unused when the connection ends.
    pub fn when_drained(&self, waiter: Waiter) {
        let mut state = self.state();
        if !state.dead && state.weight() > self.limit / 2 {
            state.waiters.push(waiter);
        } else {
            drop(state);
            waiter();
        }
    }

    /// Bytes that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.state().bytes
    }

    /// True if the connection's task must wait for the socket.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.state().blocked
    }

    /// Since when the client has taken nothing although something waits.
    #[must_use]
    pub fn stalled_since(&self) -> Option<Instant> {
        self.state().progress
    }

    /// Asks for the connection to be closed; the first reason counts. The caller wakes the actor.
    pub fn close(&self, reason: CloseReason) {
        self.state().closing.get_or_insert(reason);
    }

    /// Why the connection is to be closed, if it is.
    #[must_use]
    pub fn closing(&self) -> Option<CloseReason> {
        self.state().closing
    }

    /// True if the connection is gone.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Queues the close frame behind what waits. Nothing can be pushed any more.
    pub fn finish(&self, reason: CloseReason) {
        let mut state = self.state();
        state.closing.get_or_insert(reason);
        let frame = chat_protocol::ws_frame::close(reason.code(), reason.text());
        if reason == CloseReason::SlowReader {
            // What a slow reader did not take, it will not take: only the rest of the frame under way stays.
            let keep = usize::from(state.written > 0);
            state.queue.truncate(keep);
        }
        state.queue.push_back((Kind::Control, frame));
        state.bytes = state.queue.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() - state.written;
    }

    /// Marks the connection as gone; what waits is dropped.
    pub fn kill(&self) {
        let mut state = self.state();
        state.dead = true;
        state.queue = VecDeque::new();
        state.bytes = 0;
        let waiters = std::mem::take(&mut state.waiters);
        drop(state);
        // They find a dead connection and give up.
        for waiter in waiters {
            waiter();
        }
    }

    /// The socket, for waiting on it.
    #[must_use]
    pub const fn socket(&self) -> &Arc<TcpStream> {
        &self.socket
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What waits costs memory: its bytes, and a place in the queue for each frame, which may be a pong of two bytes.
    fn weight(&self) -> usize {
        self.bytes + self.queue.len() * PLACE
    }

    /// Drops what was written; says what it was.
    fn consume(&mut self, mut written: usize) -> Tally {
        let mut tally = Tally::default();
        self.bytes -= written;
        if self.progress.is_some() {
            self.progress = Some(Instant::now());
        }
        while let Some((kind, first)) = self.queue.front() {
            let left = first.len() - self.written;
            let (frames, bytes) = &mut tally[*kind as usize];
            *bytes += written.min(left) as u64;
            if written < left {
                self.written += written;
                return tally;
            }
            *frames += 1;
            written -= left;
            self.written = 0;
            self.queue.pop_front();
        }
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::Opts;

    fn families() -> (IntCounterVec, IntCounterVec) {
        let family = |name| IntCounterVec::new(Opts::new(name, name), &["type"]).expect("a counter");
        (family("frames"), family("bytes"))
    }

    /// A connection, with what the other end of it is.
    async fn outbound(limit: usize, (frames, bytes): &(IntCounterVec, IntCounterVec)) -> (Outbound, TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        let sent = Arc::new(Sent::of(frames, bytes));
        let outbound = Outbound::new(Arc::new(ours.expect("accepted")), limit, sent);
        (outbound, theirs.expect("connected").0)
    }

    #[tokio::test]
    async fn a_frame_counts_with_the_place_that_it_takes_however_small_it_is() {
        let (outbound, _theirs) = outbound(10 * PLACE, &families()).await;
        for _ in 0..9 {
            outbound.push(Kind::Control, Bytes::from_static(b"\x8a\x00"));
        }
        assert!(outbound.has_room(PLACE - 18));
        assert!(!outbound.has_room(PLACE));
        assert_eq!(outbound.flush(), Flushed::Empty);
        assert!(outbound.has_room(10 * PLACE));
    }

    #[tokio::test]
    async fn what_is_written_counts_under_what_it_is() {
        let families = families();
        let (outbound, _theirs) = outbound(10 * PLACE, &families).await;
        outbound.offer(Bytes::from_static(b"message"));
        outbound.push_answer(Bytes::from_static(b"an answer"));
        outbound.offer(Bytes::from_static(b"another"));
        outbound.push(Kind::Event, Bytes::from_static(b"event"));
        assert_eq!(outbound.flush(), Flushed::Empty);
        let count = |family: &IntCounterVec| Kind::ALL.map(|kind| family.with_label_values(&[kind.label()]).get());
        assert_eq!((count(&families.0), count(&families.1)), ([2, 1, 1, 0], [14, 9, 5, 0]));
    }

    #[test]
    fn half_a_frame_is_bytes_and_no_frame() {
        let mut state = State::default();
        for (kind, text) in [(Kind::Event, "event"), (Kind::Message, "message")] {
            state.bytes += text.len();
            state.queue.push_back((kind, Bytes::from_static(text.as_bytes())));
        }
        assert_eq!(state.consume(8), [(0, 3), (0, 0), (1, 5), (0, 0)]);
        assert_eq!(state.consume(4), [(1, 4), (0, 0), (0, 0), (0, 0)]);
        assert_eq!((state.bytes, state.written, state.queue.len()), (0, 0, 0));
    }
}
