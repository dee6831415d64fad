//! What waits to be written to one client: shared bytes, bounded, written with one call for all that waits.
//!
//! Whoever has something to say pushes and marks; whoever finishes a turn flushes. A flush is one non-blocking vectored
//! write from the pushing thread, so a delivery costs no task wake-up. Only a socket that would block hands the rest to
//! the connection's own task, which waits until it is writable.

use bytes::Bytes;
use prometheus::IntCounter;
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
    sent: Sent,
    state: Mutex<State>,
}

/// What the node counts of everything that it writes to clients.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Frames that were written to the end.
    pub frames: IntCounter,
    /// Bytes.
    pub bytes: IntCounter,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Bytes>,
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
    pub fn new(socket: Arc<TcpStream>, limit: usize, sent: Sent) -> Self {
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
        state.queue.push_back(bytes);
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
    pub fn push(&self, bytes: Bytes) -> bool {
        Self::add(&mut self.state(), self.limit, bytes)
    }

    /// As [`Self::push`], for the answer to a request. It counts from the moment at which it is queued, and so before the
    /// client can have seen it and asked the next thing.
    pub fn push_answer(&self, bytes: Bytes) -> bool {
        let mut state = self.state();
        state.answers += 1;
        Self::add(&mut state, self.limit, bytes)
    }

    /// How many answers were queued since the last call.
    pub fn take_answers(&self) -> usize {
        std::mem::take(&mut self.state().answers)
    }

    fn add(state: &mut State, limit: usize, bytes: Bytes) -> bool {
        if state.dead || state.closing.is_some() {
            return false;
        }
        if state.bytes > 0 && state.weight() + bytes.len() > limit + MAX_OUTBOUND_FRAME {
            state.closing = Some(CloseReason::SlowReader);
            return true;
        }
        state.bytes += bytes.len();
        state.queue.push_back(bytes);
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
                    self.sent.bytes.inc_by(written as u64);
                    self.sent.frames.inc_by(state.consume(written));
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
        if let (1, Some(only)) = (state.queue.len(), state.queue.front()) {
            return self.socket.try_write(&only[state.written..]);
        }
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let mut count = 0;
        for (slice, chunk) in slices.iter_mut().zip(&state.queue) {
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
        state.queue.push_back(frame);
        state.bytes = state.queue.iter().map(Bytes::len).sum::<usize>() - state.written;
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

    /// Drops what was written; says how many frames that ended.
    fn consume(&mut self, mut written: usize) -> u64 {
        let mut frames = 0;
        self.bytes -= written;
        if self.progress.is_some() {
            self.progress = Some(Instant::now());
        }
        while let Some(first) = self.queue.front() {
            let left = first.len() - self.written;
            if written < left {
                self.written += written;
                return frames;
            }
            written -= left;
            self.written = 0;
            self.queue.pop_front();
            frames += 1;
        }
        frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_frame_counts_with_the_place_that_it_takes_however_small_it_is() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (ours, _theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        let counter = || IntCounter::new("a", "b").expect("a counter");
        let sent = Sent {
            frames: counter(),
            bytes: counter(),
        };
        let outbound = Outbound::new(Arc::new(ours.expect("accepted")), 10 * PLACE, sent);
        for _ in 0..9 {
            outbound.push(Bytes::from_static(b"\x8a\x00"));
        }
        assert!(outbound.has_room(PLACE - 18));
        assert!(!outbound.has_room(PLACE));
        assert_eq!(outbound.flush(), Flushed::Empty);
        assert!(outbound.has_room(10 * PLACE));
    }
}
