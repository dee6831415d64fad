//! How much of a room is kept: the newest messages, if there is a limit.
//!
//! Trimming follows the commits. It waits until some messages are too many, so that not every commit has a trim behind
//! it; one trim is under way at a time, and one that failed is tried again behind a later commit.

use crate::effect::{Effect, Effects};
use crate::stored::{Trim, TrimOutcome};
use crate::time::Now;
use chat_protocol::ids::{Epoch, Seq};
use chat_protocol::timestamp::Timestamp;

/// Bounds of a room's history.
#[derive(Debug, Clone, Copy)]
pub struct HistoryLimits {
    /// So many of the newest messages are kept, and at most a tenth more; 0 keeps all.
    pub messages: u64,
    /// So many of the newest messages recognise a repeated sending.
    pub recognised: u64,
    /// So do messages that are not older than this, in milliseconds.
    pub recognised_for: u64,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self {
            messages: 0,
            recognised: 10_000,
            recognised_for: 86_400_000,
        }
    }
}

/// The oldest messages of one room.
#[derive(Debug)]
pub(super) struct History {
    limits: HistoryLimits,
    /// The first message that is kept.
    floor: Seq,
    under_way: bool,
}

impl History {
    pub(super) const fn new(limits: HistoryLimits) -> Self {
        Self {
            limits,
            floor: Seq(1),
            under_way: false,
        }
    }

    /// The first message that is kept.
    pub(super) const fn floor(&self) -> Seq {
        self.floor
    }

    /// A new tenure began: the store says what is kept. A trim of the former one is fenced, if it is still under way.
    pub(super) const fn begin_tenure(&mut self, floor: Seq) {
        self.floor = floor;
    }

    /// Asks for a trim if the room, whose last message is `head`, has too many messages.
    pub(super) fn trim(&mut self, now: Now, epoch: Epoch, head: Seq, effects: &mut Effects) {
        let HistoryLimits { messages, .. } = self.limits;
        let kept = (head.0 + 1).saturating_sub(self.floor.0);
        if messages > 0 && !self.under_way && kept > messages + messages / 10 {
            self.ask(now, epoch, head, effects);
        }
    }

    fn ask(&mut self, now: Now, epoch: Epoch, head: Seq, effects: &mut Effects) {
        let age = i64::try_from(self.limits.recognised_for.saturating_mul(1_000)).unwrap_or(i64::MAX);
        self.under_way = true;
        effects.push(Effect::Trim(Trim {
            epoch,
            below: Seq((head.0 + 1).saturating_sub(self.limits.messages)),
            recognised: self.limits.recognised,
            recognised_since: Timestamp(now.wall.0.saturating_sub(age)),
        }));
    }

    /// A trim came back. If the store has more to remove, it is asked again.
    pub(super) fn on_trimmed(
        &mut self,
        now: Now,
        result: Result<TrimOutcome, String>,
        epoch: Epoch,
        head: Seq,
        effects: &mut Effects,
    ) {
        self.under_way = false;
        if let Ok(TrimOutcome::Trimmed { floor, more }) = result {
            self.floor = self.floor.max(floor);
            if more {
                self.ask(now, epoch, head, effects);
            }
        }
    }
}
