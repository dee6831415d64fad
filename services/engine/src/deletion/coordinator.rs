//! The admin node's side of a deletion.
//!
//! The machine asks for one durable step at a time and says nothing to anybody before the step is durable. It lives as
//! long as the attempt: when it is `over`, whatever it forgot is in the store.

use super::{AbortReason, DeletionLimits};
use crate::stored::{BeginDeletion, BeginOutcome, DecideDeletion, DecideOutcome, Decision, RoomState};
use crate::time::Millis;
use chat_protocol::deletion::{Phase, Progress, Vote};
use chat_protocol::ids::{Epoch, NodeId, TransactionId};
use std::collections::BTreeMap;

/// What the coordinator says to a participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Word {
    /// May the room go?
    Prepare,
    /// It is gone.
    Commit,
    /// It stays.
    Rollback,
}

/// What the coordinator wants, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Write down that the attempt begins; comes back as [`Coordinator::begun`].
    Begin(BeginDeletion),
    /// Write down how it ends; comes back as [`Coordinator::decided`].
    Decide(DecideDeletion),
    /// Say something to a participant.
    Tell(NodeId, Word),
    /// It has begun: whoever asked and the members are told.
    Initiated,
    /// Whoever asked is told how far it is.
    Progress(Progress),
    /// The room is deleted. What was held is refused, the members are told.
    Committed,
    /// Everybody who could confirm has, or the time is over: whoever asked is told.
    Finished,
    /// The room stays. What was held goes on, the members and whoever asked are told.
    RolledBack(AbortReason),
    /// It has not begun, and nobody but whoever asked knows of it.
    NotBegun,
    /// The store does not say what it did: whoever asked is told that.
    Unsure,
    /// A later tenure began: the room must be claimed again; comes back as [`Coordinator::tenure`].
    Reclaim,
}

/// What a participant has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Standing {
    /// Nothing yet.
    Waiting,
    /// What was to be said in this phase.
    Answered,
    /// It cannot be waited for: it learns the end when it is there again.
    Absent,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Stage {
    /// An append is in flight.
    Quieting,
    Beginning {
        epoch: Epoch,
        /// An attempt to write it may have succeeded.
        doubt: bool,
        retry_at: Option<Millis>,
    },
    Preparing {
        epoch: Epoch,
        deadline: Millis,
    },
    Deciding {
        want: DecideDeletion,
        why: AbortReason,
        doubt: bool,
        retry_at: Option<Millis>,
        /// When whoever asked has waited long enough.
        unsure_at: Option<Millis>,
    },
    /// Waiting for another claim.
    Fenced,
    Committing {
        deadline: Millis,
    },
    Over,
}

/// Milliseconds before a durable step that failed is tried again.
const RETRY_PAUSE: u64 = 200;

/// One attempt to delete a room.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Coordinator {
    limits: DeletionLimits,
    transaction: TransactionId,
    asked: Millis,
    participants: BTreeMap<NodeId, Standing>,
    /// Somebody besides whoever asked may know of it.
    announced: bool,
    stage: Stage,
}

impl Coordinator {
    /// An attempt that was asked for. It begins when nothing is in flight: see [`Self::quiet`].
    #[must_use]
    pub const fn new(now: Millis, transaction: TransactionId, limits: DeletionLimits) -> Self {
        Self {
            limits,
            transaction,
            asked: now,
            participants: BTreeMap::new(),
            announced: false,
            stage: Stage::Quieting,
        }
    }

    /// An attempt that a former tenure left undecided: it is given up.
    #[must_use]
    pub fn recover(
        now: Millis,
        transaction: TransactionId,
        limits: DeletionLimits,
        epoch: Epoch,
        participants: impl IntoIterator<Item = NodeId>,
        acts: &mut Vec<Act>,
    ) -> Self {
        let mut this = Self::new(now, transaction, limits);
        this.participants = participants.into_iter().map(|node| (node, Standing::Absent)).collect();
        this.announced = true;
        this.decide(now, epoch, Decision::Abort, AbortReason::Recovered, acts);
        this
    }

    /// Which attempt.
    #[must_use]
    pub const fn transaction(&self) -> &TransactionId {
        &self.transaction
    }

    /// True if it waits for the log to come to rest.
    #[must_use]
    pub fn is_quieting(&self) -> bool {
        self.stage == Stage::Quieting
    }

    /// True if nothing can become of it any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// How far it is, for whoever asks in between.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        match &self.stage {
            Stage::Quieting | Stage::Beginning { .. } | Stage::Preparing { .. } | Stage::Fenced => Phase::Preparing,
            Stage::Deciding { want, .. } if matches!(want.decision, Decision::Abort) => Phase::RollingBack,
            Stage::Deciding { .. } | Stage::Committing { .. } | Stage::Over => Phase::Committing,
        }
    }

    /// When it was asked for.
    #[must_use]
    pub const fn asked(&self) -> Millis {
        self.asked
    }

    /// Nothing is in flight: the attempt can begin. Participants are the nodes with seats; true for those that are there.
    pub fn quiet(&mut self, epoch: Epoch, participants: impl IntoIterator<Item = (NodeId, bool)>, acts: &mut Vec<Act>) {
        if !self.is_quieting() {
            return;
        }
        let standing = |there| if there { Standing::Waiting } else { Standing::Absent };
        self.participants = participants
            .into_iter()
            .map(|(node, there)| (node, standing(there)))
            .collect();
        self.begin(epoch, false, acts);
    }

    fn begin(&mut self, epoch: Epoch, doubt: bool, acts: &mut Vec<Act>) {
        self.stage = Stage::Beginning {
            epoch,
            doubt,
            retry_at: None,
        };
        acts.push(Act::Begin(BeginDeletion {
            epoch,
            transaction: self.transaction.clone(),
        }));
    }

    /// The store answered to `Begin`.
    pub fn begun(&mut self, now: Millis, asked: &BeginDeletion, outcome: BeginOutcome, acts: &mut Vec<Act>) {
        let Stage::Beginning { epoch, doubt, retry_at } = &mut self.stage else {
            return;
        };
        if *epoch != asked.epoch || self.transaction != asked.transaction {
            return;
        }
        let (epoch, doubted) = (*epoch, *doubt);
        match outcome {
            BeginOutcome::Begun => self.prepare(now, epoch, acts),
            BeginOutcome::Unknown => {
                *doubt = true;
                *retry_at = Some(now.plus(RETRY_PAUSE));
            }
            BeginOutcome::Refused(_) if doubted => {
                self.decide(now, epoch, Decision::Abort, AbortReason::Store, acts);
            }
            // Given up before it was known to have begun, or never written.
            BeginOutcome::Refused(_) | BeginOutcome::BadState(RoomState::Active) => {
                self.stage = Stage::Over;
                acts.push(Act::NotBegun);
            }
            BeginOutcome::Fenced(_) | BeginOutcome::BadState(_) | BeginOutcome::NoRoom => self.reclaim(acts),
        }
    }

    fn prepare(&mut self, now: Millis, epoch: Epoch, acts: &mut Vec<Act>) {
        let deadline = now.plus(self.limits.prepare);
        self.stage = Stage::Preparing { epoch, deadline };
        self.announced = true;
        acts.push(Act::Initiated);
        for node in self.participants.keys() {
            // The link keeps it for one that is not there.
            acts.push(Act::Tell(node.clone(), Word::Prepare));
        }
        self.report(acts);
        self.decide_if_complete(now, acts);
    }

    fn reclaim(&mut self, acts: &mut Vec<Act>) {
        self.stage = Stage::Fenced;
        acts.push(Act::Reclaim);
    }

    // === what participants say

    /// A participant voted.
    pub fn voted(&mut self, now: Millis, node: &NodeId, transaction: &TransactionId, vote: Vote, acts: &mut Vec<Act>) {
        let Stage::Preparing { epoch, .. } = self.stage else {
            return;
        };
        let Some(standing) = self
            .participants
            .get_mut(node)
            .filter(|_| *transaction == self.transaction)
        else {
            return;
        };
        match vote {
            Vote::Ready if *standing == Standing::Answered => {}
            Vote::Ready => {
                *standing = Standing::Answered;
                self.report(acts);
                self.decide_if_complete(now, acts);
            }
            Vote::Abort(reason) => {
                let why = AbortReason::Refused(node.clone(), reason);
                self.decide(now, epoch, Decision::Abort, why, acts);
            }
        }
    }

    /// A participant has told its members that the room is gone, or has none to tell.
    pub fn done(&mut self, node: &NodeId, transaction: &TransactionId, acts: &mut Vec<Act>) {
        if matches!(self.stage, Stage::Committing { .. })
            && *transaction == self.transaction
            && let Some(standing) = self.participants.get_mut(node)
            && *standing != Standing::Answered
        {
            *standing = Standing::Answered;
            self.report(acts);
            self.finish_if_complete(acts);
        }
    }

    /// A node failed, or lives another life: it is not waited for.
    pub fn lost(&mut self, now: Millis, node: &NodeId, acts: &mut Vec<Act>) {
        let Some(standing) = self.participants.get_mut(node) else {
            return;
        };
        if std::mem::replace(standing, Standing::Absent) != Standing::Waiting {
            return;
        }
        match self.stage {
            Stage::Preparing { .. } => {
                self.report(acts);
                self.decide_if_complete(now, acts);
            }
            Stage::Committing { .. } => {
                self.report(acts);
                self.finish_if_complete(acts);
            }
            _ => {}
        }
    }

    /// The votes have taken too long: a node that nobody insists on is not waited for any more.
    pub fn excuse(&mut self, now: Millis, node: &NodeId, acts: &mut Vec<Act>) {
        if matches!(self.stage, Stage::Preparing { deadline, .. } if deadline <= now) {
            self.lost(now, node, acts);
        }
    }

    /// The link with a node lost something: what was last said is said again.
    pub fn repeat(&self, node: &NodeId, acts: &mut Vec<Act>) {
        let word = match self.stage {
            Stage::Preparing { .. } => Word::Prepare,
            Stage::Committing { .. } => Word::Commit,
            _ => return,
        };
        if self.participants.contains_key(node) {
            acts.push(Act::Tell(node.clone(), word));
        }
    }

    /// A node has announced seats in the room: it takes part from here on.
    pub fn present(&mut self, node: &NodeId, acts: &mut Vec<Act>) {
        match self.stage {
            Stage::Preparing { .. } => {
                let standing = self.participants.entry(node.clone()).or_insert(Standing::Waiting);
                if *standing == Standing::Absent {
                    *standing = Standing::Waiting;
                }
                acts.push(Act::Tell(node.clone(), Word::Prepare));
            }
            // Too late to be asked, but it is to hear the end.
            Stage::Deciding { .. } | Stage::Fenced => {
                self.participants.entry(node.clone()).or_insert(Standing::Absent);
            }
            _ => {}
        }
    }

    fn is_waited_for(&self) -> Option<&NodeId> {
        self.participants
            .iter()
            .find(|(_, standing)| **standing == Standing::Waiting)
            .map(|(node, _)| node)
    }

    fn report(&self, acts: &mut Vec<Act>) {
        let those = |wanted: Standing| {
            self.participants
                .iter()
                .filter(|(_, standing)| **standing == wanted)
                .map(|(node, _)| node.clone())
                .collect()
        };
        acts.push(Act::Progress(Progress {
            phase: self.phase(),
            ready: those(Standing::Answered),
            waiting_for: those(Standing::Waiting),
        }));
    }

    // === decisions

    fn decide_if_complete(&mut self, now: Millis, acts: &mut Vec<Act>) {
        if let Stage::Preparing { epoch, .. } = self.stage
            && self.is_waited_for().is_none()
        {
            self.decide(now, epoch, Decision::Commit, AbortReason::Store, acts);
        }
    }

    /// `why` is what is said if it ends without the room being deleted.
    fn decide(&mut self, now: Millis, epoch: Epoch, decision: Decision, why: AbortReason, acts: &mut Vec<Act>) {
        let want = DecideDeletion {
            epoch,
            transaction: self.transaction.clone(),
            decision,
        };
        acts.push(Act::Decide(want.clone()));
        self.stage = Stage::Deciding {
            want,
            why,
            doubt: false,
            retry_at: None,
            unsure_at: Some(now.plus(self.limits.doubt)),
        };
        if decision == Decision::Abort {
            self.report(acts);
        }
    }

    /// The store answered to `Decide`.
    pub fn decided(&mut self, now: Millis, asked: &DecideDeletion, outcome: DecideOutcome, acts: &mut Vec<Act>) {
        let Stage::Deciding {
            want,
            why,
            doubt,
            retry_at,
            ..
        } = &mut self.stage
        else {
            return;
        };
        if want != asked {
            return;
        }
        match outcome {
            DecideOutcome::Decided if want.decision == Decision::Commit => self.commit(now, acts),
            DecideOutcome::Decided | DecideOutcome::BadState(RoomState::Active) => {
                let why = why.clone();
                self.roll_back(why, acts);
            }
            DecideOutcome::BadState(RoomState::Deleted(transaction)) => {
                self.transaction = transaction;
                self.commit(now, acts);
            }
            DecideOutcome::Unknown => {
                *doubt = true;
                *retry_at = Some(now.plus(RETRY_PAUSE));
            }
            // Definite, so the other decision is still open.
            DecideOutcome::Refused(_) if want.decision == Decision::Commit && !*doubt => {
                let epoch = want.epoch;
                self.decide(now, epoch, Decision::Abort, AbortReason::Store, acts);
            }
            DecideOutcome::Refused(_) => *retry_at = Some(now.plus(RETRY_PAUSE)),
            DecideOutcome::Fenced(_) | DecideOutcome::BadState(RoomState::Deleting(_)) | DecideOutcome::NoRoom => {
                self.reclaim(acts)
            }
        }
    }

    fn commit(&mut self, now: Millis, acts: &mut Vec<Act>) {
        let deadline = now.plus(self.limits.commit);
        self.stage = Stage::Committing { deadline };
        for standing in self.participants.values_mut().filter(|s| **s == Standing::Answered) {
            *standing = Standing::Waiting;
        }
        // First the refusals of what was held: on a link they are to stand before the end.
        acts.push(Act::Committed);
        for node in self.participants.keys() {
            acts.push(Act::Tell(node.clone(), Word::Commit));
        }
        self.report(acts);
        self.finish_if_complete(acts);
    }

    fn finish_if_complete(&mut self, acts: &mut Vec<Act>) {
        if self.is_waited_for().is_none() {
            self.stage = Stage::Over;
            acts.push(Act::Finished);
        }
    }

    fn roll_back(&mut self, why: AbortReason, acts: &mut Vec<Act>) {
        self.stage = Stage::Over;
        if !self.announced {
            acts.push(Act::NotBegun);
            return;
        }
        for node in self.participants.keys() {
            acts.push(Act::Tell(node.clone(), Word::Rollback));
        }
        acts.push(Act::RolledBack(why));
    }

    /// The room was claimed again, because a tenure ended: the store says where it stands.
    pub fn tenure(&mut self, now: Millis, epoch: Epoch, state: RoomState, acts: &mut Vec<Act>) {
        match (&self.stage, state) {
            (Stage::Over | Stage::Committing { .. }, _) => {}
            (_, RoomState::Deleted(transaction)) => {
                self.transaction = transaction;
                self.commit(now, acts);
            }
            // A new tenure gives up what it finds, also if it is its own.
            (_, RoomState::Deleting(transaction)) => {
                self.announced |= self.transaction != transaction;
                self.transaction = transaction;
                self.decide(now, epoch, Decision::Abort, AbortReason::Recovered, acts);
            }
            (Stage::Quieting, RoomState::Active) => {}
            (Stage::Beginning { .. }, RoomState::Active) => self.begin(epoch, true, acts),
            (_, RoomState::Active) => self.roll_back(AbortReason::Recovered, acts),
        }
    }

    // === time

    /// Does what is due at `now`.
    pub fn timeout(&mut self, now: Millis, acts: &mut Vec<Act>) {
        let due = |at: Option<Millis>| at.is_some_and(|at| at <= now);
        let late = self.asked.plus(self.limits.prepare) <= now;
        match &mut self.stage {
            Stage::Quieting if late => {
                self.stage = Stage::Over;
                acts.push(Act::NotBegun);
            }
            Stage::Beginning { epoch, .. } if late => {
                let epoch = *epoch;
                self.decide(now, epoch, Decision::Abort, AbortReason::Store, acts);
            }
            Stage::Beginning { epoch, doubt, retry_at } if due(*retry_at) => {
                let (epoch, doubt) = (*epoch, *doubt);
                self.begin(epoch, doubt, acts);
            }
            Stage::Preparing { epoch, deadline } if *deadline <= now => {
                let epoch = *epoch;
                if let Some(node) = self.is_waited_for().cloned() {
                    self.decide(now, epoch, Decision::Abort, AbortReason::TimedOut(node), acts);
                }
            }
            Stage::Deciding {
                want,
                retry_at,
                unsure_at,
                ..
            } => {
                if due(*retry_at) {
                    *retry_at = None;
                    acts.push(Act::Decide(want.clone()));
                }
                if due(*unsure_at) {
                    *unsure_at = None;
                    acts.push(Act::Unsure);
                }
            }
            Stage::Committing { deadline } if *deadline <= now => {
                self.stage = Stage::Over;
                acts.push(Act::Finished);
            }
            _ => {}
        }
    }

    /// The same attempt with two participants in each other's place, for a search that does not tell them apart.
    #[cfg(test)]
    pub(crate) fn swap(&mut self, one: &NodeId, other: &NodeId) {
        let (first, second) = (self.participants.remove(one), self.participants.remove(other));
        self.participants
            .extend(first.map(|standing| (other.clone(), standing)));
        self.participants.extend(second.map(|standing| (one.clone(), standing)));
        if let Stage::Deciding { why, .. } = &mut self.stage {
            let named = match why {
                AbortReason::TimedOut(node) | AbortReason::Refused(node, _) => node,
                AbortReason::Store | AbortReason::Recovered => return,
            };
            *named = if named == one { other.clone() } else { one.clone() };
        }
    }

    /// When [`Self::timeout`] is due, if nothing arrives before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        let late = self.asked.plus(self.limits.prepare);
        match &self.stage {
            Stage::Quieting => Some(late),
            Stage::Beginning { retry_at, .. } => Some(retry_at.map_or(late, |at| at.min(late))),
            Stage::Preparing { deadline, .. } | Stage::Committing { deadline } => Some(*deadline),
            Stage::Deciding {
                retry_at, unsure_at, ..
            } => [*retry_at, *unsure_at].into_iter().flatten().min(),
            Stage::Fenced | Stage::Over => None,
        }
    }
}
