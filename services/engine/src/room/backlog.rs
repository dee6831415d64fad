//! The newest committed frames of a room, bounded in bytes: what joins, slow readers and repairs are served from before
//! anybody asks the store.

use chat_protocol::ids::Seq;
use chat_protocol::message_frame::MessageFrame;
use std::collections::VecDeque;

/// Consecutive frames up to the last committed one.
#[derive(Debug)]
pub struct Backlog {
    frames: VecDeque<MessageFrame>,
    bytes: usize,
    max_bytes: usize,
}

impl Backlog {
    /// An empty backlog that keeps at most `max_bytes` of frames, but always the newest one.
    #[must_use]
    pub const fn new(max_bytes: usize) -> Self {
        Self {
            frames: VecDeque::new(),
            bytes: 0,
            max_bytes,
        }
    }

    /// Adds the next frame. A frame that does not continue the last one makes all earlier ones useless: they are dropped.
    pub fn push(&mut self, frame: MessageFrame) {
        if self.frames.back().is_some_and(|last| last.seq().next() != frame.seq()) {
            self.clear();
        }
        self.bytes += frame.len();
        self.frames.push_back(frame);
        while self.bytes > self.max_bytes && self.frames.len() > 1 {
            if let Some(oldest) = self.frames.pop_front() {
                self.bytes -= oldest.len();
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }

    /// The first number that is here, if any is.
    #[must_use]
    pub fn first(&self) -> Option<Seq> {
        self.frames.front().map(MessageFrame::seq)
    }

    /// Frames from `from` to `to`, at most about `max_bytes` but at least one; `None` if `from` is not here.
    #[must_use]
    pub fn page(&self, from: Seq, to: Seq, max_bytes: usize) -> Option<Vec<MessageFrame>> {
        let skip = usize::try_from(from.0.checked_sub(self.first()?.0)?).ok()?;
        let mut bytes = 0;
        let page: Vec<_> = self
            .frames
            .iter()
            .skip(skip)
            .take_while(|frame| {
                let fits = bytes == 0 || bytes + frame.len() <= max_bytes;
                bytes += frame.len();
                fits && frame.seq() <= to
            })
            .cloned()
            .collect();
        (!page.is_empty()).then_some(page)
    }
}
