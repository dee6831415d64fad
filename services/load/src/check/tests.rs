//! Each broken promise, one by one.

use super::*;
use std::collections::BTreeMap;

/// A room of three members; the first two send.
struct Room {
    check: RoomCheck,
    found: Violations,
}

impl Room {
    fn new() -> Self {
        Self {
            check: RoomCheck::new(5, "r".into(), 3, 2),
            found: Violations::default(),
        }
    }

    fn send(mut self, sender: usize) -> Self {
        self.check.sent(sender);
        self
    }

    /// `member` gets number `seq`: message `counter` of `sender`, whose id follows from both.
    fn deliver(mut self, member: usize, seq: u64, sender: u64, counter: u64) -> Self {
        self.deliver_as(member, seq, sender, counter, &id(sender, counter), "r");
        self
    }

    fn deliver_as(&mut self, member: usize, seq: u64, sender: u64, counter: u64, id: &str, room: &str) {
        let message = NewMessageRef {
            message_id: id.into(),
            room_id: room.into(),
            username: "u".into(),
            content: "c".into(),
            seq,
            timestamp: "t".into(),
        };
        let stamp = Stamp {
            room: 5,
            sender,
            counter,
            micros: 0,
        };
        self.check.delivered(member, &message, Some(stamp), &mut self.found);
    }

    fn everywhere(self, seq: u64, sender: u64, counter: u64) -> Self {
        (0..3).fold(self, |room, member| room.deliver(member, seq, sender, counter))
    }

    fn confirm(mut self, sender: usize, seq: u64, id: &str) -> Self {
        self.check.confirmed(sender, seq, id, &mut self.found);
        self
    }

    /// What was found, the end included.
    fn found(mut self) -> BTreeMap<Kind, u64> {
        self.check.finish(&mut self.found);
        assert_eq!(self.found.first.len().min(1), self.found.counts.len().min(1));
        self.found.counts
    }
}

fn id(sender: u64, counter: u64) -> String {
    format!("message-{sender}-{counter}")
}

fn only(kind: Kind, times: u64) -> BTreeMap<Kind, u64> {
    BTreeMap::from([(kind, times)])
}

#[test]
fn a_good_run_is_good_and_leaves_no_memory() {
    let mut room = Room::new();
    for counter in 0..1_000 {
        let seq = 2 * counter + 1;
        room = room
            .send(0)
            .send(1)
            .everywhere(seq, 1, counter)
            .everywhere(seq + 1, 0, counter);
        assert!(!room.check.settled());
        room = room
            .confirm(0, seq + 1, &id(0, counter))
            .confirm(1, seq, &id(1, counter));
    }
    assert!(room.check.settled());
    assert!(room.check.window.is_empty());
    assert!(room.check.senders.iter().all(|s| s.own.is_empty()));
    assert!(room.found().is_empty());
}

#[test]
fn a_message_lost_in_the_middle_is_a_hole() {
    let room = Room::new().send(0).send(0).send(0);
    let room = room
        .everywhere(1, 0, 0)
        .deliver(0, 2, 0, 1)
        .deliver(1, 2, 0, 1)
        .everywhere(3, 0, 2);
    let room = room
        .confirm(0, 1, &id(0, 0))
        .confirm(0, 2, &id(0, 1))
        .confirm(0, 3, &id(0, 2));
    assert!(room.check.window.is_empty());
    assert_eq!(room.found(), only(Kind::Hole, 1));
}

#[test]
fn a_confirmed_message_lost_at_the_end_is_missing() {
    let room = Room::new()
        .send(0)
        .deliver(0, 1, 0, 0)
        .deliver(1, 1, 0, 0)
        .confirm(0, 1, &id(0, 0));
    assert!(!room.check.settled());
    assert_eq!(room.found(), only(Kind::Missing, 1));
}

#[test]
fn a_message_that_comes_twice_is_repeated() {
    let room = Room::new()
        .send(0)
        .everywhere(1, 0, 0)
        .deliver(2, 1, 0, 0)
        .confirm(0, 1, &id(0, 0));
    assert_eq!(room.found(), only(Kind::Repeated, 1));
}

#[test]
fn messages_that_change_places_are_a_hole_and_out_of_order() {
    let room = Room::new().send(0).send(0);
    let room = room
        .deliver(0, 1, 0, 0)
        .deliver(0, 2, 0, 1)
        .deliver(1, 1, 0, 0)
        .deliver(1, 2, 0, 1);
    let room = room.deliver(2, 2, 0, 1).deliver(2, 1, 0, 0);
    let room = room.confirm(0, 1, &id(0, 0)).confirm(0, 2, &id(0, 1));
    assert_eq!(room.found(), BTreeMap::from([(Kind::Hole, 1), (Kind::OutOfOrder, 1)]));
}

#[test]
fn two_messages_under_one_number_are_a_conflict() {
    let room = Room::new().send(0).send(1);
    let room = room.deliver(0, 1, 0, 0).deliver(1, 1, 1, 0).deliver(2, 1, 0, 0);
    // The third member agrees with the first, but the last word was the second's.
    assert_eq!(room.found.counts, only(Kind::Conflict, 2));
    let mut room = Room::new().send(0).deliver(0, 1, 0, 0);
    room.deliver_as(1, 1, 0, 0, "another id", "r");
    assert_eq!(room.found.counts, only(Kind::Conflict, 1));
}

#[test]
fn one_message_under_two_numbers_is_found() {
    let room = Room::new()
        .send(0)
        .everywhere(1, 0, 0)
        .everywhere(2, 0, 0)
        .confirm(0, 1, &id(0, 0));
    assert_eq!(room.found.counts, only(Kind::SenderOrder, 1));
}

#[test]
fn a_confirmation_must_name_what_came() {
    let room = Room::new().send(0).everywhere(1, 0, 0);
    assert_eq!(room.confirm(0, 1, "another id").found(), only(Kind::WrongAck, 1));
    let room = Room::new().send(0).everywhere(1, 0, 0);
    assert_eq!(room.confirm(0, u64::MAX, &id(0, 0)).found(), only(Kind::WrongAck, 1));
}

#[test]
fn a_confirmation_must_follow_the_own_message() {
    let room = Room::new()
        .send(0)
        .deliver(1, 1, 0, 0)
        .confirm(0, 1, &id(0, 0))
        .deliver(0, 1, 0, 0)
        .deliver(2, 1, 0, 0);
    assert_eq!(room.found(), only(Kind::WrongAck, 1));
    assert_eq!(Room::new().confirm(0, 1, "m").found(), only(Kind::WrongAck, 1));
}

#[test]
fn silence_is_reported_and_a_refusal_is_an_answer() {
    assert_eq!(Room::new().send(0).send(0).found(), only(Kind::Unanswered, 2));
    let mut room = Room::new().send(0).send(0);
    room.check.refused(0);
    let room = room.everywhere(1, 0, 1).confirm(0, 1, &id(0, 1));
    assert!(room.check.settled());
    assert!(room.found().is_empty());
}

#[test]
fn a_refused_message_may_still_come_because_its_outcome_was_unknown() {
    let mut room = Room::new().send(0).send(0).everywhere(1, 0, 0);
    room.check.refused(0);
    let room = room.everywhere(2, 0, 1).confirm(0, 2, &id(0, 1));
    assert!(room.found().is_empty());
}

#[test]
fn nothing_is_promised_to_a_lost_connection() {
    let mut room = Room::new()
        .send(0)
        .deliver(0, 1, 0, 0)
        .deliver(1, 1, 0, 0)
        .confirm(0, 1, &id(0, 0));
    room.check.lost(2);
    room.check.lost(2);
    assert!(room.check.settled());
    assert!(room.check.window.is_empty());
    assert!(room.found().is_empty());
}

#[test]
fn strangers_are_noticed() {
    let mut room = Room::new().send(0);
    room.deliver_as(0, 1, 0, 0, "m", "another room");
    room.deliver_as(0, 1, 9, 0, "m", "r");
    room.deliver_as(0, 1, 0, 1, "never sent", "r");
    assert_eq!(room.found.counts, only(Kind::Foreign, 3));
}

#[test]
fn wild_numbers_cost_no_memory() {
    let room = Room::new()
        .send(0)
        .deliver(0, u64::MAX, 0, 0)
        .deliver(1, u64::MAX, 0, 0);
    assert!(room.check.window.len() <= WINDOW);
    assert_eq!(
        room.found.counts,
        BTreeMap::from([(Kind::NotCompared, 2), (Kind::Hole, u64::MAX)])
    );
    let room = room.confirm(0, u64::MAX, &id(0, 0));
    assert_eq!(room.found()[&Kind::Missing], u64::MAX - 1);
}
