//! The store of the admin node: one room.

use super::*;

impl World {
    pub(super) fn begin(&mut self, asked: &BeginDeletion) -> BeginOutcome {
        if asked.epoch != self.epoch {
            return BeginOutcome::Fenced(self.epoch);
        }
        match &self.state {
            RoomState::Active if self.given_up.as_ref() == Some(&asked.transaction) => {
                BeginOutcome::BadState(RoomState::Active)
            }
            RoomState::Active => {
                self.state = RoomState::Deleting(asked.transaction.clone());
                BeginOutcome::Begun
            }
            RoomState::Deleting(attempt) if *attempt == asked.transaction => BeginOutcome::Begun,
            other => BeginOutcome::BadState(other.clone()),
        }
    }

    pub(super) fn decide(&mut self, asked: &DecideDeletion) -> DecideOutcome {
        let attempt = &asked.transaction;
        if asked.epoch != self.epoch {
            return DecideOutcome::Fenced(self.epoch);
        }
        match (&self.state, asked.decision) {
            (RoomState::Deleting(under_way), _) if under_way != attempt => {}
            (RoomState::Deleting(_), Decision::Commit) => {
                self.state = RoomState::Deleted(attempt.clone());
                return DecideOutcome::Decided;
            }
            (RoomState::Deleting(_) | RoomState::Active, Decision::Abort) => {
                self.state = RoomState::Active;
                self.given_up = Some(attempt.clone());
                return DecideOutcome::Decided;
            }
            (RoomState::Deleted(done), Decision::Commit) if done == attempt => return DecideOutcome::Decided,
            _ => {}
        }
        DecideOutcome::BadState(self.state.clone())
    }
}
