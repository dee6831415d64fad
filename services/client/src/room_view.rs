//! One room as its reader sees it: every message once, also when a join brings the history again.
//!
//! Numbers alone do not tell what is known: a classic session that joins a long room gets numbers that are shifted by a
//! constant, and the next session may get another constant. So a seat whose first message is not the first message of
//! the previous seat is read by message id, and a seat with the same first message by number and id.

use crate::event::NewMessage;
use chat_protocol::limits::CLASSIC_HISTORY;
use std::collections::{HashSet, VecDeque};

/// Ids that are remembered: more than any shifted join hands out.
const REMEMBERED: usize = 4_096;

const _: () = assert!(REMEMBERED as u64 > 2 * CLASSIC_HISTORY);

/// Whether a message was seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Show it.
    New,
    /// Known from before, or from this seat.
    Before,
}

/// What was seen of a room.
#[derive(Debug, Default)]
pub struct RoomView {
    first: Option<(u64, String)>,
    at_start: bool,
    last_seq: u64,
    known: HashSet<String>,
    order: VecDeque<String>,
}

impl RoomView {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            at_start: true,
            ..Self::default()
        }
    }

    /// To be called at each join, before its messages.
    pub fn seat(&mut self) {
        self.at_start = true;
    }

    /// Takes note of a message.
    pub fn accept(&mut self, message: &NewMessage) -> Seen {
        if self.at_start {
            self.at_start = false;
            let first = Some((message.seq, message.message_id.clone()));
            if self.first != first {
                self.first = first;
                self.last_seq = 0;
            }
        }
        let known = self.known.contains(&message.message_id);
        let seen = if known || message.seq <= self.last_seq {
            Seen::Before
        } else {
            Seen::New
        };
        self.last_seq = self.last_seq.max(message.seq);
        if !known {
            self.remember(&message.message_id);
        }
        seen
    }

    fn remember(&mut self, message_id: &str) {
        if self.order.len() == REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(message_id.to_owned());
        self.known.insert(message_id.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(seq: u64, id: u64) -> NewMessage {
        NewMessage {
            message_id: format!("m{id}"),
            room_id: "r".into(),
            username: "u".into(),
            content: "c".into(),
            seq,
            timestamp: "t".into(),
        }
    }

    /// Ids of the messages that are shown; `shift` is what the numbers are lowered by.
    fn shown(view: &mut RoomView, ids: std::ops::RangeInclusive<u64>, shift: u64) -> Vec<u64> {
        ids.filter(|&id| view.accept(&message(id - shift, id)) == Seen::New)
            .collect()
    }

    #[test]
    fn history_after_a_rejoin_is_not_shown_again() {
        let mut view = RoomView::new();
        assert_eq!(shown(&mut view, 1..=3, 0), [1, 2, 3]);
        view.seat();
        assert_eq!(shown(&mut view, 1..=5, 0), [4, 5]);
        assert_eq!(shown(&mut view, 5..=6, 0), [6]);
    }

    #[test]
    fn a_seat_with_another_shift_hides_nothing_new() {
        let mut view = RoomView::new();
        assert_eq!(shown(&mut view, 501..=1500, 500).len(), 1000);
        view.seat();
        assert_eq!(shown(&mut view, 511..=1510, 510), (1501..=1510).collect::<Vec<_>>());
        assert_eq!(shown(&mut view, 1511..=1511, 510), [1511]);
    }

    #[test]
    fn a_history_longer_than_the_memory_is_known_by_its_numbers() {
        let mut view = RoomView::new();
        assert_eq!(shown(&mut view, 1..=9_000, 0).len(), 9_000);
        assert_eq!(view.known.len(), REMEMBERED);
        view.seat();
        assert_eq!(shown(&mut view, 1..=9_001, 0), [9_001]);
    }

    #[test]
    fn a_seat_in_a_silent_room_changes_nothing() {
        let mut view = RoomView::new();
        view.seat();
        view.seat();
        assert_eq!(shown(&mut view, 1..=1, 0), [1]);
        view.seat();
        assert_eq!(shown(&mut view, 1..=1, 0), Vec::<u64>::new());
    }
}
