//! The end of a room in memory.

use super::StoredRoom;
use chat_engine::stored::{BeginDeletion, BeginOutcome, DecideDeletion, DecideOutcome, Decision, RoomState};

impl StoredRoom {
    pub(super) fn is_deleted(&self) -> bool {
        matches!(self.state, RoomState::Deleted(_))
    }

    pub(super) fn is_unfinished(&self) -> bool {
        match self.state {
            RoomState::Active => false,
            RoomState::Deleting(_) => true,
            RoomState::Deleted(_) => !self.purged,
        }
    }

    pub(super) fn begin_deletion(&mut self, asked: BeginDeletion) -> BeginOutcome {
        if asked.epoch != self.epoch {
            return BeginOutcome::Fenced(self.epoch);
        }
        match &self.state {
            RoomState::Active if self.given_up.as_ref() != Some(&asked.transaction) => {
                self.state = RoomState::Deleting(asked.transaction);
                BeginOutcome::Begun
            }
            RoomState::Deleting(under_way) if *under_way == asked.transaction => BeginOutcome::Begun,
            other => BeginOutcome::BadState(other.clone()),
        }
    }

    pub(super) fn decide_deletion(&mut self, asked: DecideDeletion) -> DecideOutcome {
        if asked.epoch != self.epoch {
            return DecideOutcome::Fenced(self.epoch);
        }
        let attempt = &asked.transaction;
        match (&self.state, asked.decision) {
            (RoomState::Deleting(under_way), Decision::Commit) if under_way == attempt => {
                self.state = RoomState::Deleted(asked.transaction);
            }
            (RoomState::Deleting(under_way), Decision::Abort) if under_way == attempt => self.give_up(asked),
            (RoomState::Active, Decision::Abort) => self.give_up(asked),
            (RoomState::Deleted(done), Decision::Commit) if done == attempt => {}
            (other, _) => return DecideOutcome::BadState(other.clone()),
        }
        DecideOutcome::Decided
    }

    fn give_up(&mut self, asked: DecideDeletion) {
        self.state = RoomState::Active;
        self.given_up = Some(asked.transaction);
    }

    pub(super) fn purge(&mut self) {
        if self.is_deleted() {
            self.messages.clear();
            self.sendings.clear();
            self.seats.clear();
            self.purged = true;
        }
    }
}
