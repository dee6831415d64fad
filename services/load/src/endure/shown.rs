//! What one session was shown in one room, and how far it was compared.

use super::checker::{Room, Seen, Violation};

/// What one session was shown in one room.
#[derive(Debug)]
pub(super) struct Shown {
    /// One of an extended session, one per connection of a classic one. The last is the current one.
    segments: Vec<Segment>,
    /// False for a classic session without a connection: nothing more comes in its last segment.
    connected: bool,
    /// True while the session is in the room, as far as it knows.
    live: bool,
}

/// Messages that must have consecutive numbers.
#[derive(Debug)]
struct Segment {
    /// The number of the first message that was not compared yet, as the session counts.
    due: u64,
    /// What to add to the session's numbers; `None` until the first message was compared.
    shift: Option<u64>,
    /// What was not compared yet, with numbers as the session counts them.
    fresh: Vec<Seen>,
    /// So many of them may be compared now.
    marked: usize,
}

impl Segment {
    const fn new(shift: Option<u64>) -> Self {
        Self {
            due: 1,
            shift,
            fresh: Vec::new(),
            marked: 0,
        }
    }

    /// The last number of the room that the session has, if that is known.
    fn last(&self) -> Option<u64> {
        Some(
            (self.due - 1)
                .saturating_add(self.fresh.len() as u64)
                .saturating_add(self.shift?),
        )
    }

    fn compare(&mut self, who: &str, room: &Room) -> Vec<Violation> {
        let mut fresh: Vec<Seen> = self.fresh.drain(..self.marked).collect();
        self.marked = 0;
        let (Some(first), Some(last)) = (fresh.first(), fresh.last()) else {
            return Vec::new();
        };
        let shift = match self.shift {
            Some(shift) => shift,
            // Only the ids of a classic session's messages mean something; what is nowhere is shown uncommitted.
            None => room
                .find(&first.message_id)
                .unwrap_or(first.seq)
                .saturating_sub(first.seq),
        };
        self.shift = Some(shift);
        // Behind the last one, whatever came before it: one skipped number is said once.
        let due = std::mem::replace(&mut self.due, last.seq.saturating_add(1));
        for seen in &mut fresh {
            seen.seq = seen.seq.saturating_add(shift);
        }
        room.check_shown(who, due.saturating_add(shift), &fresh)
    }

    /// The number up to which nothing is left to compare.
    fn done(&self) -> u64 {
        // Where a classic connection begins that was not compared yet is not known.
        self.shift.map_or(0, |shift| (self.due - 1).saturating_add(shift))
    }
}

impl Shown {
    /// A classic session begins a segment with each connection; an extended one has one, from number 1 on.
    pub(super) fn new(classic: bool) -> Self {
        Self {
            segments: if classic {
                Vec::new()
            } else {
                vec![Segment::new(Some(0))]
            },
            connected: !classic,
            live: false,
        }
    }

    /// A classic session has a new connection.
    pub(super) fn connected(&mut self) {
        self.segments.push(Segment::new(None));
        self.connected = true;
    }

    /// A classic session has none any more.
    pub(super) fn disconnected(&mut self) {
        (self.connected, self.live) = (false, false);
    }

    /// The session is in the room.
    pub(super) fn entered(&mut self) {
        self.live = true;
    }

    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    pub(super) fn add(&mut self, seen: Seen) {
        if let Some(segment) = self.segments.last_mut() {
            segment.fresh.push(seen);
        }
    }

    /// True if the session is there and lacks something up to `head`. A classic connection that was not compared yet has
    /// nothing to count from, and counts as complete.
    pub(super) fn is_behind(&self, head: u64) -> bool {
        let last = self.segments.last().and_then(Segment::last);
        self.live && last.is_some_and(|last| last < head)
    }

    /// What was shown so far may be compared with a log that is read from now on: it was committed before it was shown.
    pub(super) fn mark(&mut self) {
        for segment in &mut self.segments {
            segment.marked = segment.fresh.len();
        }
    }

    /// Compares what was marked.
    pub(super) fn compare(&mut self, who: &str, room: &Room) -> Vec<Violation> {
        let found = self.segments.iter_mut().flat_map(|segment| segment.compare(who, room));
        let found = found.collect();
        let current = self.segments.len().saturating_sub(1);
        let mut nth = 0;
        self.segments.retain(|segment| {
            nth += 1;
            nth > current || !segment.fresh.is_empty()
        });
        found
    }

    /// The number up to which nothing is left to compare; the highest there is if nothing more can come.
    pub(super) fn done(&self) -> u64 {
        let over = |nth: usize| nth + 1 < self.segments.len() || !self.connected;
        let open = self.segments.iter().enumerate();
        let open = open.filter(|(nth, segment)| !(over(*nth) && segment.fresh.is_empty()));
        open.map(|(_, segment)| segment.done()).min().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(seq: u64, id: u64) -> Seen {
        Seen {
            seq,
            message_id: format!("m{id}"),
            content: format!("c {id}"),
        }
    }

    fn room(head: u64) -> Room {
        let mut room = Room::new("r");
        room.extend((1..=head).map(|n| seen(n, n)).collect());
        room
    }

    #[test]
    fn what_is_not_marked_waits_for_the_next_comparison() {
        let mut shown = Shown::new(false);
        shown.entered();
        shown.add(seen(1, 1));
        shown.add(seen(2, 2));
        shown.mark();
        // Shown after the log was read, and not in it.
        shown.add(seen(3, 3));
        assert_eq!(shown.compare("ines", &room(2)), []);
        assert_eq!((shown.done(), shown.is_behind(3), shown.is_behind(4)), (2, false, true));
        shown.mark();
        assert_eq!(shown.compare("ines", &room(3)), []);
        assert_eq!(shown.done(), 3);
    }

    #[test]
    fn a_classic_connection_is_found_by_the_id_of_its_first_message() {
        let mut shown = Shown::new(true);
        assert_eq!(shown.done(), u64::MAX, "nothing can come without a connection");
        shown.connected();
        shown.entered();
        assert!(!shown.is_behind(9), "it has nothing to count from");
        assert_eq!(shown.done(), 0, "where it begins is not known");
        shown.add(seen(1, 5));
        shown.add(seen(2, 6));
        shown.mark();
        assert_eq!(shown.compare("otto", &room(7)), []);
        assert_eq!((shown.done(), shown.is_behind(6), shown.is_behind(7)), (6, false, true));
        shown.disconnected();
        assert!(!shown.is_behind(7), "it is not there");
        assert_eq!(shown.done(), u64::MAX);
    }

    #[test]
    fn what_an_earlier_connection_got_is_compared_too() {
        let mut shown = Shown::new(true);
        shown.connected();
        shown.add(seen(1, 1));
        shown.disconnected();
        shown.connected();
        shown.add(seen(1, 9));
        shown.mark();
        let found = shown.compare("otto", &room(3));
        assert_eq!(found, [Violation::ShownUncommitted("otto".into(), seen(1, 9))]);
        assert_eq!(shown.segments.len(), 1);
    }

    #[test]
    fn a_message_that_came_twice_or_not_at_all_is_found() {
        let mut shown = Shown::new(false);
        for n in [1, 2, 2, 4] {
            shown.add(seen(n, n));
        }
        shown.mark();
        assert_eq!(
            shown.compare("ines", &room(4)),
            [
                Violation::Skipped("ines".into(), 3, 2),
                Violation::Skipped("ines".into(), 3, 4)
            ]
        );
        assert!(!shown.is_behind(4));
        shown.add(seen(5, 5));
        shown.mark();
        assert_eq!(shown.compare("ines", &room(5)), [], "it is said once");
    }
}
