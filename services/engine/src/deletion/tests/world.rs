//! A room's admin node, two member nodes, a store and everything under way between them, as one value that can be copied,
//! compared and driven step by step. The machines are the real ones.

mod ending;
mod steps;
mod store;

use crate::deletion::coordinator::{Act as Coordinated, Coordinator, Word};
use crate::deletion::participant::{Act as Taken, Participant};
use crate::deletion::{DeletionLimits, fate};
use crate::stored::{BeginDeletion, BeginOutcome, DecideDeletion, DecideOutcome, Decision, RoomState, StoredDeletion};
use crate::testing::node;
use crate::time::Millis;
use chat_protocol::deletion::{Fate, Vote};
use chat_protocol::ids::{Epoch, NodeId, RoomName, TransactionId};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const NODES: usize = 2;

pub(super) fn transaction(name: &str) -> TransactionId {
    TransactionId::parse(name).unwrap()
}

fn name_of(n: usize) -> NodeId {
    node(["b", "c"][n])
}

/// What is under way. Nothing here keeps an order: a letter may arrive before one that was sent earlier, which is more than a
/// link allows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Letter {
    Said(usize, Word, TransactionId),
    Voted(usize, TransactionId, Vote),
    Done(usize, TransactionId),
    /// A member node announces its seats.
    Seats(usize),
    /// The admin node notices that a node is gone.
    Lost(usize),
    /// The store is asked, in this life of the admin node. It answers at once, to that life only.
    Begin(u8, BeginDeletion),
    Decide(u8, DecideDeletion),
    Asked(usize, TransactionId, u64),
    Answered(usize, u64, Result<Fate, String>),
}

/// How much may go wrong from here on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Budget {
    /// Crashes of any node, and false suspicions.
    pub(super) crashes: u8,
    /// Letters that are lost or doubled, and answers of the store that do not come.
    pub(super) losses: u8,
    /// Words that nobody who may say them said.
    pub(super) forged: u8,
    /// Timers of the admin node, of each member node.
    pub(super) timers: (u8, u8),
    /// Attempts that a user may still begin.
    pub(super) attempts: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Admin {
    machine: Option<Coordinator>,
    epoch: Epoch,
    clock: Millis,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Member {
    up: bool,
    /// It has members in the room, and so a machine.
    seated: bool,
    machine: Participant,
    clock: Millis,
    timers: u8,
}

/// What is wrong with a deliberately broken world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) enum Flaw {
    /// Nothing.
    #[default]
    None,
    /// The admin node says COMMIT when it asks the store to decide, not when that has.
    Hasty,
    /// A new tenure leaves undecided what it finds undecided.
    Forgetful,
    /// A node believes every COMMIT.
    Gullible,
    /// A node that is in doubt does not ask.
    Patient,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct World {
    flaw: Flaw,
    pub(super) budget: Budget,
    life: u8,
    epoch: Epoch,
    state: RoomState,
    /// What the store remembers of the last attempt that was given up.
    given_up: Option<TransactionId>,
    admin: Option<Admin>,
    members: [Member; NODES],
    post: BTreeMap<Letter, u8>,
    said: BTreeSet<(TransactionId, Word)>,
    attempts: u8,
}

/// One thing that may happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Delete,
    Deliver(Letter),
    Lose(Letter),
    /// The letter stays under way.
    Double(Letter),
    /// The store does what it is asked, and its answer is lost.
    Silence(Letter),
    Crash,
    Restart,
    CrashMember(usize),
    RestartMember(usize),
    Suspect(usize),
    Timer,
    MemberTimer(usize),
    Forge(Letter),
}

impl Letter {
    fn swapped(&self) -> Self {
        match self.clone() {
            Self::Said(n, word, attempt) => Self::Said(1 - n, word, attempt),
            Self::Voted(n, attempt, vote) => Self::Voted(1 - n, attempt, vote),
            Self::Done(n, attempt) => Self::Done(1 - n, attempt),
            Self::Seats(n) => Self::Seats(1 - n),
            Self::Lost(n) => Self::Lost(1 - n),
            Self::Asked(n, attempt, question) => Self::Asked(1 - n, attempt, question),
            Self::Answered(n, question, fate) => Self::Answered(1 - n, question, fate),
            asked @ (Self::Begin(..) | Self::Decide(..)) => asked,
        }
    }
}

impl World {
    pub(super) fn new(budget: Budget, flaw: Flaw) -> Self {
        let member = Member {
            up: true,
            seated: true,
            machine: Participant::new(DeletionLimits::default()),
            clock: Millis(0),
            timers: budget.timers.1,
        };
        Self {
            flaw,
            budget,
            life: 1,
            epoch: Epoch(1),
            state: RoomState::Active,
            given_up: None,
            admin: Some(Admin {
                machine: None,
                epoch: Epoch(1),
                clock: Millis(0),
            }),
            members: [member.clone(), member],
            post: BTreeMap::new(),
            said: BTreeSet::new(),
            attempts: 0,
        }
    }

    fn send(&mut self, letter: Letter) {
        *self.post.entry(letter).or_default() += 1;
    }

    fn take(&mut self, letter: &Letter) {
        if let Some(count) = self.post.get_mut(letter) {
            *count -= 1;
            if *count == 0 {
                self.post.remove(letter);
            }
        }
    }

    fn admin_deadline(&self) -> Option<Millis> {
        self.admin.as_ref()?.machine.as_ref()?.next_deadline()
    }

    fn member_deadline(&self, n: usize) -> Option<Millis> {
        let member = &self.members[n];
        let looks = member.up && member.seated && self.flaw != Flaw::Patient;
        member.machine.next_deadline().filter(|_| looks)
    }

    // === making it happen

    pub(super) fn go(&mut self, step: Step) {
        match step {
            Step::Delete => self.delete(),
            Step::Deliver(letter) => {
                self.take(&letter);
                self.deliver(letter);
            }
            Step::Double(letter) => {
                self.budget.losses -= 1;
                self.deliver(letter);
            }
            Step::Lose(letter) => {
                self.budget.losses -= 1;
                self.take(&letter);
                self.lose(letter);
            }
            Step::Silence(letter) => {
                self.budget.losses -= 1;
                self.take(&letter);
                match &letter {
                    Letter::Begin(_, asked) => drop(self.begin(asked)),
                    Letter::Decide(_, asked) => drop(self.decide(asked)),
                    _ => {}
                }
                self.lose(letter);
            }
            Step::Crash => {
                self.budget.crashes -= 1;
                self.admin = None;
            }
            Step::Restart => self.restart(),
            Step::CrashMember(n) => {
                self.budget.crashes -= 1;
                let member = &mut self.members[n];
                (member.up, member.seated) = (false, false);
                member.machine = Participant::new(DeletionLimits::default());
                self.send(Letter::Lost(n));
            }
            Step::RestartMember(n) => self.members[n].up = true,
            Step::Suspect(n) => {
                self.budget.crashes -= 1;
                self.deliver(Letter::Lost(n));
            }
            Step::Timer => {
                self.budget.timers.0 -= 1;
                self.admin_timer();
            }
            Step::MemberTimer(n) => {
                self.members[n].timers -= 1;
                self.member_timer(n);
            }
            Step::Forge(letter) => {
                self.budget.forged -= 1;
                self.deliver(letter);
            }
        }
    }

    fn delete(&mut self) {
        self.budget.attempts -= 1;
        self.attempts += 1;
        let attempt = transaction(&format!("t{}", self.attempts));
        let seated = |n: usize| self.members[n].seated;
        let participants: Vec<_> = (0..NODES).filter(|n| seated(*n)).map(|n| (name_of(n), true)).collect();
        if let Some(admin) = &mut self.admin {
            let mut machine = Coordinator::new(admin.clock, attempt, DeletionLimits::default());
            let mut acts = Vec::new();
            machine.quiet(admin.epoch, participants, &mut acts);
            admin.machine = Some(machine);
            self.coordinate(acts);
        }
    }

    fn admin_timer(&mut self) {
        let due = self.admin_deadline();
        self.with_coordinator(|machine, now, acts| machine.timeout(now, acts), due);
    }

    fn member_timer(&mut self, n: usize) {
        let due = self.member_deadline(n);
        self.with_participant(n, |machine, now, acts| machine.timeout(now, acts), due);
    }

    fn lose(&mut self, letter: Letter) {
        // A store that does not answer is noticed, whatever it did; so is an admin node.
        match letter {
            Letter::Begin(life, asked) => self.begun(life, &asked, BeginOutcome::Unknown),
            Letter::Decide(life, asked) => self.decided(life, &asked, DecideOutcome::Unknown),
            Letter::Asked(n, _, question) | Letter::Answered(n, question, _) => {
                self.send(Letter::Answered(n, question, Err("no answer".into())));
            }
            _ => {}
        }
    }

    /// The admin node comes back: it claims the room and goes on from what it finds.
    fn restart(&mut self) {
        self.life += 1;
        let mut acts = Vec::new();
        let machine = match self.state.clone() {
            RoomState::Deleted(attempt) => {
                let told = (0..NODES).map(|n| Coordinated::Tell(name_of(n), Word::Commit));
                acts.extend(told);
                self.admin = Some(self.new_admin(None));
                return self.tell_all(&attempt, acts);
            }
            RoomState::Active => None,
            RoomState::Deleting(_) if self.flaw == Flaw::Forgetful => None,
            RoomState::Deleting(attempt) => {
                self.epoch.0 += 1;
                let nodes: Vec<NodeId> = (0..NODES).map(name_of).collect();
                let limits = DeletionLimits::default();
                let machine = Coordinator::recover(Millis(0), attempt, limits, self.epoch, nodes, &mut acts);
                Some(machine)
            }
        };
        if machine.is_none() {
            self.epoch.0 += 1;
        }
        self.admin = Some(self.new_admin(machine));
        self.reset();
        self.coordinate(acts);
    }

    fn tell_all(&mut self, attempt: &TransactionId, acts: Vec<Coordinated>) {
        self.reset();
        for act in acts {
            if let Coordinated::Tell(to, word) = act {
                self.say(&to, word, attempt);
            }
        }
    }

    /// The member nodes notice that the admin node lives another life, or that a link lost something.
    fn reset(&mut self) {
        for n in 0..NODES {
            if self.flaw != Flaw::Patient {
                self.with_participant(n, |machine, _, acts| machine.recheck(acts), None);
            }
            if self.members[n].seated {
                self.send(Letter::Seats(n));
            }
        }
    }

    fn new_admin(&self, machine: Option<Coordinator>) -> Admin {
        Admin {
            machine,
            epoch: self.epoch,
            clock: Millis(0),
        }
    }

    fn deliver(&mut self, letter: Letter) {
        match letter {
            Letter::Begin(life, asked) => {
                let outcome = self.begin(&asked);
                self.begun(life, &asked, outcome);
            }
            Letter::Decide(life, asked) => {
                let outcome = self.decide(&asked);
                self.decided(life, &asked, outcome);
            }
            Letter::Voted(n, attempt, vote) => {
                self.with_coordinator(
                    |machine, now, acts| machine.voted(now, &name_of(n), &attempt, vote, acts),
                    None,
                );
            }
            Letter::Done(n, attempt) => {
                self.with_coordinator(|machine, _, acts| machine.done(&name_of(n), &attempt, acts), None);
            }
            Letter::Lost(n) => {
                self.with_coordinator(|machine, now, acts| machine.lost(now, &name_of(n), acts), None);
            }
            Letter::Seats(n) => {
                self.with_coordinator(|machine, _, acts| machine.present(&name_of(n), acts), None);
                if let (RoomState::Deleted(attempt), Some(_)) = (self.state.clone(), &self.admin) {
                    self.say(&name_of(n), Word::Commit, &attempt);
                }
            }
            Letter::Asked(n, asked, question) => {
                let answer = match &self.admin {
                    Some(_) => Ok(fate(Some(self.stored()), &asked)),
                    None => Err("it is down".into()),
                };
                self.send(Letter::Answered(n, question, answer));
            }
            Letter::Answered(n, question, answer) => {
                self.with_participant(n, |machine, now, acts| machine.fate(now, question, answer, acts), None);
            }
            Letter::Said(n, word, attempt) => self.hear(n, word, attempt),
        }
    }

    fn begun(&mut self, life: u8, asked: &BeginDeletion, outcome: BeginOutcome) {
        if life == self.life {
            self.with_coordinator(|machine, now, acts| machine.begun(now, asked, outcome, acts), None);
        }
    }

    fn decided(&mut self, life: u8, asked: &DecideDeletion, outcome: DecideOutcome) {
        if life == self.life {
            self.with_coordinator(|machine, now, acts| machine.decided(now, asked, outcome, acts), None);
        }
    }

    fn stored(&self) -> StoredDeletion {
        StoredDeletion {
            state: self.state.clone(),
            room_name: RoomName::parse("hall").unwrap(),
        }
    }

    fn hear(&mut self, n: usize, word: Word, attempt: TransactionId) {
        let Member { up, seated, .. } = self.members[n];
        if !up {
            return;
        }
        if !seated {
            // Nobody is there who could notice anything.
            match word {
                Word::Prepare => self.send(Letter::Voted(n, attempt, Vote::Ready)),
                Word::Commit => self.send(Letter::Done(n, attempt)),
                Word::Rollback => {}
            }
            return;
        }
        let gullible = self.flaw == Flaw::Gullible;
        self.with_participant(
            n,
            |machine, now, acts| match word {
                Word::Prepare => machine.prepare(now, attempt, acts),
                Word::Rollback => machine.rollback(now, attempt, acts),
                Word::Commit => {
                    if gullible {
                        machine.prepare(now, attempt.clone(), acts);
                    }
                    machine.commit(attempt, RoomName::parse("hall").unwrap(), acts);
                }
            },
            None,
        );
    }

    // === what the machines want, and what must hold

    fn with_coordinator(
        &mut self,
        feed: impl FnOnce(&mut Coordinator, Millis, &mut Vec<Coordinated>),
        due: Option<Millis>,
    ) {
        let Some(Admin {
            machine: Some(machine),
            clock,
            ..
        }) = &mut self.admin
        else {
            return;
        };
        *clock = due.unwrap_or(*clock).max(*clock);
        let mut acts = Vec::new();
        feed(machine, *clock, &mut acts);
        self.coordinate(acts);
    }

    fn coordinate(&mut self, acts: Vec<Coordinated>) {
        let life = self.life;
        for act in acts {
            let Some(attempt) = self.attempt() else { return };
            match act {
                Coordinated::Begin(begin) => {
                    assert!(!matches!(self.state, RoomState::Deleted(_)), "DELETED is terminal");
                    self.send(Letter::Begin(life, begin));
                }
                Coordinated::Decide(decide) => {
                    if self.flaw == Flaw::Hasty && decide.decision == Decision::Commit {
                        self.say(&name_of(0), Word::Commit, &attempt);
                    }
                    self.send(Letter::Decide(life, decide));
                }
                Coordinated::Tell(to, word) => self.say(&to, word, &attempt),
                Coordinated::Committed | Coordinated::Finished => {
                    assert_eq!(
                        self.state,
                        RoomState::Deleted(attempt),
                        "what is reported deleted is deleted"
                    );
                }
                Coordinated::RolledBack(_) | Coordinated::NotBegun => {
                    assert_ne!(self.state, RoomState::Deleted(attempt), "what is reported kept is kept");
                }
                Coordinated::Reclaim => self.reclaim(),
                Coordinated::Initiated | Coordinated::Progress(_) | Coordinated::Unsure => {}
            }
        }
        if let Some(admin) = &mut self.admin
            && admin.machine.as_ref().is_some_and(Coordinator::is_over)
        {
            admin.machine = None;
        }
    }

    fn attempt(&self) -> Option<TransactionId> {
        let machine = self.admin.as_ref()?.machine.as_ref()?;
        Some(machine.transaction().clone())
    }

    fn say(&mut self, to: &NodeId, word: Word, attempt: &TransactionId) {
        let said = |word| self.said.contains(&(attempt.clone(), word));
        match word {
            Word::Prepare => {}
            Word::Commit => {
                assert_eq!(
                    self.state,
                    RoomState::Deleted(attempt.clone()),
                    "COMMIT follows the decision"
                );
                assert!(!said(Word::Rollback), "COMMIT after ROLLBACK of the same attempt");
            }
            Word::Rollback => {
                assert_ne!(
                    self.state,
                    RoomState::Deleted(attempt.clone()),
                    "ROLLBACK of what is deleted"
                );
                assert!(!said(Word::Commit), "ROLLBACK after COMMIT of the same attempt");
            }
        }
        if word != Word::Prepare {
            self.said.insert((attempt.clone(), word));
        }
        let n = (0..NODES).find(|n| name_of(*n) == *to).unwrap();
        self.send(Letter::Said(n, word, attempt.clone()));
    }

    fn reclaim(&mut self) {
        if !matches!(self.state, RoomState::Deleted(_)) {
            self.epoch.0 += 1;
        }
        let (epoch, state) = (self.epoch, self.state.clone());
        if let Some(admin) = &mut self.admin {
            admin.epoch = epoch;
        }
        self.with_coordinator(|machine, now, acts| machine.tenure(now, epoch, state, acts), None);
    }

    fn with_participant(
        &mut self,
        n: usize,
        feed: impl FnOnce(&mut Participant, Millis, &mut Vec<Taken>),
        due: Option<Millis>,
    ) {
        let member = &mut self.members[n];
        if !member.up || !member.seated {
            return;
        }
        member.clock = due.unwrap_or(member.clock).max(member.clock);
        let mut acts = Vec::new();
        feed(&mut member.machine, member.clock, &mut acts);
        for act in acts {
            match act {
                Taken::Vote(attempt, vote) => self.send(Letter::Voted(n, attempt, vote)),
                Taken::Done(attempt) => self.send(Letter::Done(n, attempt)),
                Taken::Ask { transaction, question } => self.send(Letter::Asked(n, transaction, question)),
                Taken::Deleted { transaction, .. } => {
                    assert_eq!(
                        self.state,
                        RoomState::Deleted(transaction),
                        "a node deletes what is deleted"
                    );
                    self.members[n].seated = false;
                }
                Taken::Cancelled(attempt) => {
                    assert_ne!(self.state, RoomState::Deleted(attempt), "a node keeps what is kept");
                }
                Taken::Dismissed => panic!("the room never was unknown"),
                Taken::Initiated => {}
            }
        }
    }

    /// The same world, with the member nodes in an order of their own: which of them is which makes no difference.
    pub(super) fn canonical(self) -> Self {
        let mut other = self.clone();
        other.members.swap(0, 1);
        other.post = self
            .post
            .iter()
            .map(|(letter, count)| (letter.swapped(), *count))
            .collect();
        if let Some(Admin {
            machine: Some(machine), ..
        }) = &mut other.admin
        {
            machine.swap(&name_of(0), &name_of(1));
        }
        self.min(other)
    }
}
