//! The coordinator: state, input, exact acts.

use super::world::transaction;
use crate::deletion::coordinator::{Act, Coordinator, Word};
use crate::deletion::{AbortReason, DeletionLimits};
use crate::stored::{BeginDeletion, BeginOutcome, DecideDeletion, DecideOutcome, Decision, RoomState};
use crate::testing::node;
use crate::time::Millis;
use chat_protocol::deletion::{Phase, Progress, Vote};
use chat_protocol::ids::Epoch;

const LIMITS: DeletionLimits = DeletionLimits {
    prepare: 5_000,
    commit: 5_000,
    doubt: 10_000,
    ask: 1_000,
    hold: 7_500,
    held: 1_024,
    held_bytes: 1 << 20,
};

fn begin() -> BeginDeletion {
    BeginDeletion {
        epoch: Epoch(1),
        transaction: transaction("t1"),
    }
}

fn want(decision: Decision) -> DecideDeletion {
    DecideDeletion {
        epoch: Epoch(1),
        transaction: transaction("t1"),
        decision,
    }
}

fn tell(name: &str, word: Word) -> Act {
    Act::Tell(node(name), word)
}

fn progress(phase: Phase, ready: &[&str], waiting_for: &[&str]) -> Act {
    let nodes = |names: &[&str]| names.iter().map(|name| node(name)).collect();
    Act::Progress(Progress {
        phase,
        ready: nodes(ready),
        waiting_for: nodes(waiting_for),
    })
}

/// An attempt, and what it wanted since the last look.
struct Attempt {
    machine: Coordinator,
    acts: Vec<Act>,
}

impl Attempt {
    /// Asked for at 100, with these nodes in the room.
    fn new(nodes: &[(&str, bool)]) -> Self {
        let mut this = Self {
            machine: Coordinator::new(Millis(100), transaction("t1"), LIMITS),
            acts: Vec::new(),
        };
        let nodes = nodes.iter().map(|(name, there)| (node(name), *there));
        this.machine.quiet(Epoch(1), nodes, &mut this.acts);
        assert_eq!(this.acts(), [Act::Begin(begin())]);
        this
    }

    /// Begun at 110, with `b` and `c`, who have been asked.
    fn preparing() -> Self {
        let mut this = Self::new(&[("b", true), ("c", true)]);
        this.begun(110, BeginOutcome::Begun);
        assert_eq!(
            this.acts(),
            [
                Act::Initiated,
                tell("b", Word::Prepare),
                tell("c", Word::Prepare),
                progress(Phase::Preparing, &[], &["b", "c"]),
            ]
        );
        this
    }

    /// Both voted for it, and the store is asked.
    fn deciding() -> Self {
        let mut this = Self::preparing();
        this.vote(120, "b", "t1", Vote::Ready);
        assert_eq!(this.acts(), [progress(Phase::Preparing, &["b"], &["c"])]);
        this.vote(130, "c", "t1", Vote::Ready);
        assert_eq!(
            this.acts(),
            [
                progress(Phase::Preparing, &["b", "c"], &[]),
                Act::Decide(want(Decision::Commit)),
            ]
        );
        this
    }

    fn committing() -> Self {
        let mut this = Self::deciding();
        this.decided(140, Decision::Commit, DecideOutcome::Decided);
        assert_eq!(
            this.acts(),
            [
                Act::Committed,
                tell("b", Word::Commit),
                tell("c", Word::Commit),
                progress(Phase::Committing, &[], &["b", "c"]),
            ]
        );
        this
    }

    fn acts(&mut self) -> Vec<Act> {
        std::mem::take(&mut self.acts)
    }

    fn begun(&mut self, at: u64, outcome: BeginOutcome) {
        self.machine.begun(Millis(at), &begin(), outcome, &mut self.acts);
    }

    fn decided(&mut self, at: u64, decision: Decision, outcome: DecideOutcome) {
        self.machine
            .decided(Millis(at), &want(decision), outcome, &mut self.acts);
    }

    fn vote(&mut self, at: u64, name: &str, attempt: &str, vote: Vote) {
        self.machine
            .voted(Millis(at), &node(name), &transaction(attempt), vote, &mut self.acts);
    }

    fn timeout(&mut self, at: u64) {
        self.machine.timeout(Millis(at), &mut self.acts);
    }

    fn gives_up(&mut self, why: AbortReason) {
        self.decided(9_000, Decision::Abort, DecideOutcome::Decided);
        assert_eq!(
            self.acts(),
            [
                tell("b", Word::Rollback),
                tell("c", Word::Rollback),
                Act::RolledBack(why)
            ]
        );
        assert!(self.machine.is_over());
    }
}

#[test]
fn everybody_agrees_and_the_end_follows_the_last_confirmation() {
    let mut attempt = Attempt::committing();
    attempt.machine.done(&node("b"), &transaction("t1"), &mut attempt.acts);
    attempt.machine.done(&node("b"), &transaction("t1"), &mut attempt.acts);
    assert_eq!(attempt.acts(), [progress(Phase::Committing, &["b"], &["c"])]);
    attempt.machine.done(&node("c"), &transaction("t0"), &mut attempt.acts);
    assert_eq!(attempt.acts(), [], "of another attempt");
    attempt.machine.done(&node("c"), &transaction("t1"), &mut attempt.acts);
    assert_eq!(
        attempt.acts(),
        [progress(Phase::Committing, &["b", "c"], &[]), Act::Finished]
    );
    assert_eq!(
        (attempt.machine.is_over(), attempt.machine.next_deadline()),
        (true, None)
    );
}

#[test]
fn a_room_of_one_node_needs_nobody() {
    let mut attempt = Attempt::new(&[]);
    attempt.begun(110, BeginOutcome::Begun);
    assert_eq!(
        attempt.acts(),
        [
            Act::Initiated,
            progress(Phase::Preparing, &[], &[]),
            Act::Decide(want(Decision::Commit)),
        ]
    );
    attempt.decided(120, Decision::Commit, DecideOutcome::Decided);
    assert_eq!(
        attempt.acts(),
        [Act::Committed, progress(Phase::Committing, &[], &[]), Act::Finished]
    );
}

#[test]
fn a_node_that_is_not_there_is_told_and_not_waited_for() {
    let mut attempt = Attempt::new(&[("b", false)]);
    attempt.begun(110, BeginOutcome::Begun);
    assert_eq!(
        attempt.acts(),
        [
            Act::Initiated,
            tell("b", Word::Prepare),
            progress(Phase::Preparing, &[], &[]),
            Act::Decide(want(Decision::Commit)),
        ]
    );
    attempt.decided(120, Decision::Commit, DecideOutcome::Decided);
    assert_eq!(
        attempt.acts(),
        [
            Act::Committed,
            tell("b", Word::Commit),
            progress(Phase::Committing, &[], &[]),
            Act::Finished,
        ]
    );
}

#[test]
fn a_node_that_fails_is_waited_for_no_more_in_either_phase() {
    let mut attempt = Attempt::preparing();
    attempt.vote(120, "b", "t1", Vote::Ready);
    attempt.acts();
    attempt.machine.lost(Millis(130), &node("c"), &mut attempt.acts);
    assert_eq!(
        attempt.acts(),
        [
            progress(Phase::Preparing, &["b"], &[]),
            Act::Decide(want(Decision::Commit))
        ]
    );
    let mut attempt = Attempt::committing();
    for name in ["b", "c", "c"] {
        attempt.machine.lost(Millis(150), &node(name), &mut attempt.acts);
    }
    assert_eq!(
        attempt.acts(),
        [
            progress(Phase::Committing, &[], &["c"]),
            progress(Phase::Committing, &[], &[]),
            Act::Finished,
        ]
    );
}

#[test]
fn one_vote_against_it_is_enough() {
    let mut attempt = Attempt::preparing();
    attempt.vote(120, "b", "t1", Vote::Abort(Some("no".into())));
    assert_eq!(
        attempt.acts(),
        [
            Act::Decide(want(Decision::Abort)),
            progress(Phase::RollingBack, &[], &["b", "c"]),
        ]
    );
    // What comes now changes nothing.
    attempt.vote(130, "c", "t1", Vote::Ready);
    assert_eq!(attempt.acts(), []);
    attempt.gives_up(AbortReason::Refused(node("b"), Some("no".into())));
}

#[test]
fn votes_of_strangers_and_of_other_attempts_do_not_count() {
    let mut attempt = Attempt::preparing();
    for (name, of) in [("d", "t1"), ("b", "t0"), ("c", "t2")] {
        attempt.vote(120, name, of, Vote::Ready);
        attempt.vote(120, name, of, Vote::Abort(None));
    }
    assert_eq!(attempt.acts(), []);
}

#[test]
fn a_vote_that_does_not_come_within_five_seconds_of_the_question_ends_it_and_names_the_node() {
    let mut attempt = Attempt::preparing();
    attempt.vote(120, "b", "t1", Vote::Ready);
    attempt.acts();
    assert_eq!(attempt.machine.next_deadline(), Some(Millis(5_110)));
    attempt.timeout(5_109);
    assert_eq!(attempt.acts(), []);
    attempt.timeout(5_110);
    assert_eq!(
        attempt.acts(),
        [
            Act::Decide(want(Decision::Abort)),
            progress(Phase::RollingBack, &["b"], &["c"]),
        ]
    );
    attempt.gives_up(AbortReason::TimedOut(node("c")));
}

#[test]
fn a_node_that_nobody_insists_on_is_excused_when_the_time_is_over() {
    let mut attempt = Attempt::preparing();
    attempt.vote(120, "b", "t1", Vote::Ready);
    attempt.acts();
    attempt.machine.excuse(Millis(5_109), &node("c"), &mut attempt.acts);
    assert_eq!(attempt.acts(), []);
    attempt.machine.excuse(Millis(5_110), &node("c"), &mut attempt.acts);
    assert_eq!(
        attempt.acts(),
        [
            progress(Phase::Preparing, &["b"], &[]),
            Act::Decide(want(Decision::Commit))
        ]
    );
}

#[test]
fn a_commit_that_is_not_confirmed_is_waited_for_five_seconds() {
    let mut attempt = Attempt::committing();
    assert_eq!(attempt.machine.next_deadline(), Some(Millis(5_140)));
    attempt.timeout(5_139);
    assert_eq!(attempt.acts(), []);
    attempt.timeout(5_140);
    assert_eq!(attempt.acts(), [Act::Finished]);
}

#[test]
fn what_a_link_lost_is_said_again_and_a_node_that_comes_in_between_is_asked() {
    let mut attempt = Attempt::preparing();
    attempt.machine.repeat(&node("b"), &mut attempt.acts);
    attempt.machine.repeat(&node("d"), &mut attempt.acts);
    attempt.machine.present(&node("d"), &mut attempt.acts);
    assert_eq!(attempt.acts(), [tell("b", Word::Prepare), tell("d", Word::Prepare)]);
    for (name, ready, waiting) in [
        ("b", &["b"][..], &["c", "d"][..]),
        ("c", &["b", "c"], &["d"]),
        ("d", &["b", "c", "d"], &[]),
    ] {
        attempt.vote(120, name, "t1", Vote::Ready);
        assert_eq!(attempt.acts()[0], progress(Phase::Preparing, ready, waiting));
    }
    let mut attempt = Attempt::committing();
    attempt.machine.repeat(&node("b"), &mut attempt.acts);
    assert_eq!(attempt.acts(), [tell("b", Word::Commit)]);
}

#[test]
fn what_is_not_begun_is_known_to_nobody() {
    for outcome in [
        BeginOutcome::Refused("full".into()),
        BeginOutcome::BadState(RoomState::Active),
    ] {
        let mut attempt = Attempt::new(&[("b", true)]);
        attempt.begun(110, outcome);
        assert_eq!(attempt.acts(), [Act::NotBegun]);
        assert!(attempt.machine.is_over());
    }
    let mut attempt = Coordinator::new(Millis(100), transaction("t1"), LIMITS);
    let mut acts = Vec::new();
    attempt.timeout(Millis(5_099), &mut acts);
    assert_eq!(acts, []);
    attempt.timeout(Millis(5_100), &mut acts);
    assert_eq!(acts, [Act::NotBegun], "the log did not come to rest");
}

#[test]
fn a_beginning_whose_fate_is_unknown_is_tried_again_and_given_up_durably() {
    let mut attempt = Attempt::new(&[("b", true)]);
    attempt.begun(110, BeginOutcome::Unknown);
    assert_eq!(
        (attempt.acts(), attempt.machine.next_deadline()),
        (vec![], Some(Millis(310)))
    );
    attempt.timeout(310);
    assert_eq!(attempt.acts(), [Act::Begin(begin())]);
    attempt.begun(320, BeginOutcome::Refused("full".into()));
    assert_eq!(
        attempt.acts(),
        [
            Act::Decide(want(Decision::Abort)),
            progress(Phase::RollingBack, &[], &["b"]),
        ],
        "the first try may have begun it"
    );
    attempt.decided(330, Decision::Abort, DecideOutcome::Decided);
    assert_eq!(attempt.acts(), [Act::NotBegun], "and nobody has heard of it");
}

#[test]
fn a_decision_that_the_store_refuses_definitely_becomes_the_other_one() {
    let mut attempt = Attempt::deciding();
    attempt.decided(140, Decision::Commit, DecideOutcome::Refused("full".into()));
    assert_eq!(
        attempt.acts(),
        [
            Act::Decide(want(Decision::Abort)),
            progress(Phase::RollingBack, &["b", "c"], &[]),
        ]
    );
    attempt.gives_up(AbortReason::Store);
}

#[test]
fn a_decision_whose_fate_is_unknown_is_repeated_unchanged_and_whoever_asked_is_told_after_ten_seconds() {
    let mut attempt = Attempt::deciding();
    attempt.decided(140, Decision::Commit, DecideOutcome::Unknown);
    attempt.timeout(340);
    assert_eq!(attempt.acts(), [Act::Decide(want(Decision::Commit))]);
    // It may have been made before: the other decision is not open any more.
    attempt.decided(350, Decision::Commit, DecideOutcome::Refused("full".into()));
    assert_eq!(attempt.acts(), []);
    attempt.timeout(10_130);
    assert_eq!(attempt.acts(), [Act::Decide(want(Decision::Commit)), Act::Unsure]);
    attempt.decided(10_140, Decision::Commit, DecideOutcome::Decided);
    assert_eq!(attempt.acts()[0], Act::Committed);
}

#[test]
fn another_tenure_gives_up_what_it_finds_undecided_and_says_what_it_finds_decided() {
    for outcome in [DecideOutcome::Fenced(Epoch(2)), DecideOutcome::NoRoom] {
        let mut attempt = Attempt::deciding();
        attempt.decided(140, Decision::Commit, outcome);
        assert_eq!(attempt.acts(), [Act::Reclaim]);
        let abort = DecideDeletion {
            epoch: Epoch(3),
            ..want(Decision::Abort)
        };
        let found = RoomState::Deleting(transaction("t1"));
        attempt.machine.tenure(Millis(150), Epoch(3), found, &mut attempt.acts);
        assert_eq!(
            attempt.acts(),
            [Act::Decide(abort), progress(Phase::RollingBack, &["b", "c"], &[])]
        );
    }
    let mut attempt = Attempt::deciding();
    attempt.decided(140, Decision::Commit, DecideOutcome::Fenced(Epoch(2)));
    attempt.acts();
    let found = RoomState::Deleted(transaction("t1"));
    attempt.machine.tenure(Millis(150), Epoch(2), found, &mut attempt.acts);
    assert_eq!(
        attempt.acts(),
        [
            Act::Committed,
            tell("b", Word::Commit),
            tell("c", Word::Commit),
            progress(Phase::Committing, &[], &["b", "c"]),
        ]
    );
}

#[test]
fn what_a_former_life_left_undecided_is_given_up() {
    let mut acts = Vec::new();
    let nodes = [node("b")];
    let mut machine = Coordinator::recover(Millis(7), transaction("t1"), LIMITS, Epoch(1), nodes, &mut acts);
    assert_eq!(
        std::mem::take(&mut acts),
        [
            Act::Decide(want(Decision::Abort)),
            progress(Phase::RollingBack, &[], &[])
        ]
    );
    machine.decided(Millis(9), &want(Decision::Abort), DecideOutcome::Decided, &mut acts);
    assert_eq!(
        acts,
        [tell("b", Word::Rollback), Act::RolledBack(AbortReason::Recovered)]
    );
}
