//! The participant: state, input, exact acts.

use super::world::transaction;
use crate::deletion::DeletionLimits;
use crate::deletion::participant::{Act, Participant};
use crate::time::Millis;
use chat_protocol::deletion::{Fate, Vote};
use chat_protocol::ids::{RoomName, TransactionId};

fn hall() -> RoomName {
    RoomName::parse("hall").unwrap()
}

fn ready(attempt: &str) -> Act {
    Act::Vote(transaction(attempt), Vote::Ready)
}

fn against(attempt: &str, why: &str) -> Act {
    Act::Vote(transaction(attempt), Vote::Abort(Some(why.into())))
}

fn deleted(attempt: &str) -> [Act; 2] {
    let gone = Act::Deleted {
        transaction: transaction(attempt),
        room_name: hall(),
    };
    [gone, Act::Done(transaction(attempt))]
}

fn ask(attempt: &str, question: u64) -> Act {
    Act::Ask {
        transaction: transaction(attempt),
        question,
    }
}

fn committed(attempt: &str) -> Fate {
    Fate::Committed {
        transaction: transaction(attempt),
        room_name: hall(),
    }
}

/// A machine, and what each input makes it want.
struct Member(Participant);

impl Member {
    fn new() -> Self {
        Self(Participant::new(DeletionLimits::default()))
    }

    /// Prepared at 100.
    fn prepared() -> Self {
        let mut this = Self::new();
        assert_eq!(this.prepare(100, "t1"), [Act::Initiated, ready("t1")]);
        this
    }

    /// In doubt since 10,100, when it asked its first question.
    fn in_doubt() -> Self {
        let mut this = Self::prepared();
        assert_eq!(this.timeout(10_099), []);
        assert!(!this.0.is_in_doubt());
        assert_eq!(this.timeout(10_100), [ask("t1", 1)]);
        assert!(this.0.is_in_doubt());
        this
    }

    fn with(&mut self, feed: impl FnOnce(&mut Participant, &mut Vec<Act>)) -> Vec<Act> {
        let mut acts = Vec::new();
        feed(&mut self.0, &mut acts);
        acts
    }

    fn prepare(&mut self, at: u64, attempt: &str) -> Vec<Act> {
        self.with(|machine, acts| machine.prepare(Millis(at), transaction(attempt), acts))
    }

    fn commit(&mut self, attempt: &str) -> Vec<Act> {
        self.with(|machine, acts| machine.commit(transaction(attempt), hall(), acts))
    }

    fn claim(&mut self, attempt: &str) -> Vec<Act> {
        self.with(|machine, acts| machine.claim(transaction(attempt), acts))
    }

    fn rollback(&mut self, at: u64, attempt: &str) -> Vec<Act> {
        self.with(|machine, acts| machine.rollback(Millis(at), transaction(attempt), acts))
    }

    fn fate(&mut self, at: u64, question: u64, fate: Result<Fate, String>) -> Vec<Act> {
        self.with(|machine, acts| machine.fate(Millis(at), question, fate, acts))
    }

    fn timeout(&mut self, at: u64) -> Vec<Act> {
        self.with(|machine, acts| machine.timeout(Millis(at), acts))
    }
}

#[test]
fn a_prepared_node_holds_and_obeys() {
    let mut member = Member::prepared();
    assert!(member.0.is_prepared());
    assert_eq!(member.prepare(200, "t1"), [ready("t1")], "a repeat changes nothing");
    assert_eq!(member.commit("t1"), deleted("t1"));
    assert!(member.0.is_idle());
    // Whatever is late is answered, and changes nothing.
    assert_eq!(member.commit("t1"), [Act::Done(transaction("t1"))]);
    assert_eq!(member.rollback(300, "t1"), []);
    assert_eq!(member.prepare(300, "t1"), [against("t1", "Room in DELETED state")]);
    assert_eq!(member.claim("t1"), []);
    assert_eq!(member.fate(300, 1, Ok(Fate::Aborted)), []);
}

#[test]
fn a_rollback_lets_go_and_what_is_late_of_the_attempt_is_not_believed() {
    let mut member = Member::prepared();
    assert_eq!(member.rollback(200, "t2"), [], "of another attempt");
    assert_eq!(member.rollback(200, "t1"), [Act::Cancelled(transaction("t1"))]);
    assert!(member.0.is_idle());
    assert_eq!(member.rollback(200, "t1"), []);
    assert_eq!(member.prepare(300, "t1"), [against("t1", "Room in ACTIVE state")]);
    assert_eq!(member.prepare(400, "t2"), [Act::Initiated, ready("t2")]);
}

#[test]
fn a_commit_that_nobody_announced_is_asked_about_before_it_is_obeyed() {
    let mut member = Member::new();
    assert_eq!(member.commit("t1"), [ask("t1", 1)]);
    assert!(!member.0.is_prepared(), "nothing is held for it");
    assert_eq!(member.commit("t1"), [], "one question at a time");
    assert_eq!(member.fate(200, 1, Ok(Fate::Aborted)), [ask("t1", 2)]);
    assert_eq!(member.fate(300, 2, Ok(Fate::Aborted)), []);
    assert!(member.0.is_idle(), "whoever said so had no right to");
    assert_eq!(member.claim("t9"), [ask("t9", 3)]);
    assert_eq!(member.fate(400, 3, Ok(committed("t1"))), deleted("t1"));
}

#[test]
fn a_prepared_node_is_not_confused_by_a_forged_commit() {
    let mut member = Member::prepared();
    assert_eq!(member.commit("forged"), [ask("forged", 1)]);
    assert_eq!(member.fate(200, 1, Ok(Fate::Aborted)), []);
    assert!(member.0.is_prepared());
    assert_eq!(member.commit("t1"), deleted("t1"));
}

#[test]
fn whoever_hears_nothing_for_ten_seconds_asks_and_keeps_asking() {
    let mut member = Member::in_doubt();
    assert_eq!(member.0.next_deadline(), None, "an answer is awaited");
    assert_eq!(member.fate(10_200, 1, Err("down".into())), []);
    assert_eq!(member.timeout(11_199), []);
    assert_eq!(member.timeout(11_200), [ask("t1", 2)]);
    assert_eq!(member.fate(11_300, 2, Ok(Fate::Pending)), []);
    assert_eq!(member.timeout(12_300), [ask("t1", 3)]);
    assert_eq!(
        member.fate(12_400, 3, Ok(Fate::Aborted)),
        [Act::Cancelled(transaction("t1"))]
    );
    assert!(member.0.is_idle());
}

#[test]
fn the_answer_to_a_doubt_ends_it() {
    assert_eq!(Member::in_doubt().fate(10_200, 1, Ok(committed("t1"))), deleted("t1"));
    let mut member = Member::in_doubt();
    assert_eq!(member.fate(10_200, 1, Ok(Fate::NoRoom)), [Act::Dismissed]);
    assert!(member.0.is_idle());
}

#[test]
fn an_answer_that_is_older_than_what_happened_since_is_not_believed_unless_the_room_is_gone() {
    let mut member = Member::in_doubt();
    assert_eq!(member.rollback(10_150, "t1"), [Act::Cancelled(transaction("t1"))]);
    assert_eq!(member.prepare(10_160, "t2"), [Act::Initiated, ready("t2")]);
    assert_eq!(member.fate(10_200, 1, Ok(Fate::Aborted)), [], "of the first attempt");
    assert!(member.0.is_prepared());
    assert_eq!(member.fate(10_300, 1, Ok(committed("t2"))), deleted("t2"));
}

#[test]
fn a_new_attempt_takes_the_place_of_one_whose_end_was_lost() {
    let mut member = Member::in_doubt();
    assert_eq!(member.prepare(10_150, "t2"), [Act::Initiated, ready("t2")]);
    assert!(!member.0.is_in_doubt());
    assert_eq!(member.rollback(10_200, "t1"), [], "late");
    assert_eq!(member.commit("t2"), deleted("t2"));
}

#[test]
fn whoever_waits_asks_at_once_when_the_admin_node_is_back() {
    let mut member = Member::prepared();
    assert_eq!(member.with(|machine, acts| machine.recheck(acts)), [ask("t1", 1)]);
    assert_eq!(member.with(|machine, acts| machine.recheck(acts)), [], "it has asked");
    let mut member = Member::new();
    assert_eq!(member.with(|machine, acts| machine.recheck(acts)), []);
}

#[test]
fn ids_of_attempts_are_compared_as_they_are() {
    let other = TransactionId::parse("T1").unwrap();
    let mut member = Member::prepared();
    assert_eq!(
        member.with(|machine, acts| machine.rollback(Millis(200), other, acts)),
        []
    );
}
