//! The deletion of a room of an original node.
//!
//! Its words name no caller but the coordinator of a PREPARE. So a COMMIT that no PREPARE of the room's admin node announced
//! is no more than a reason to look whether the room is still there, and whoever was asked to prepare and hears nothing
//! looks, too.

use super::*;
use crate::effect::Notice;
use chat_protocol::ids::{RoomName, TransactionId};

/// Milliseconds until a room that was to be deleted is looked for, if no word comes.
const DOUBT: u64 = 30_000;

/// What is said about the deletion of a room of an original node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeletionInput {
    /// May the room go?
    Prepare {
        /// Which attempt.
        transaction: TransactionId,
        /// Who says that it coordinates; nobody known if it is no peer.
        coordinator: Option<NodeId>,
    },
    /// The room is gone.
    Commit {
        /// By which attempt.
        transaction: TransactionId,
        /// What it was called, if that is said.
        room_name: Option<RoomName>,
    },
    /// The room stays.
    Rollback(TransactionId),
}

/// What was said and is not ended.
#[derive(Debug, Default)]
pub(super) struct Ending {
    prepared: Option<TransactionId>,
    /// When to look for the room if no word comes.
    look_at: Option<Millis>,
    /// A COMMIT that is not believed yet.
    claimed: Option<TransactionId>,
    /// It came while the room was looked for already: what that finds is older.
    look_again: bool,
    /// What the room is called.
    room_name: Option<RoomName>,
}

impl Ending {
    pub(super) const fn next_deadline(&self) -> Option<Millis> {
        self.look_at
    }

    pub(super) fn name(&mut self, room_name: &RoomName) {
        self.room_name = Some(room_name.clone());
    }
}

impl Guest {
    pub(super) fn on_deletion(&mut self, now: Now, input: DeletionInput, effects: &mut Effects) {
        match input {
            DeletionInput::Prepare {
                transaction,
                coordinator,
            } => {
                if coordinator.as_ref() == Some(&self.admin) && !self.audience.is_empty() {
                    self.ending.prepared = Some(transaction);
                    self.ending.look_at = Some(now.mono.plus(DOUBT));
                }
            }
            DeletionInput::Commit { transaction, room_name } => {
                if self.ending.prepared.as_ref() == Some(&transaction) {
                    if room_name.is_some() {
                        self.ending.room_name = room_name;
                    }
                    self.end_by_deletion(effects);
                } else if !self.audience.is_empty() {
                    self.ending.claimed = Some(transaction);
                    self.ending.look_again = self.is_looking();
                    self.look(effects);
                }
            }
            DeletionInput::Rollback(transaction) => {
                if self.ending.prepared.as_ref() == Some(&transaction) {
                    (self.ending.prepared, self.ending.look_at) = (None, None);
                    let notice = Notice::Cancelled { transaction };
                    effects.push(Effect::Notify { notice, except: None });
                }
            }
        }
    }

    pub(super) fn time_deletion(&mut self, now: Millis, effects: &mut Effects) {
        if self.ending.look_at.is_some_and(|at| at <= now) {
            self.ending.look_at = None;
            self.look(effects);
        }
    }

    /// The room was looked for, and that did not find it gone.
    pub(super) fn look_once_more(&mut self, effects: &mut Effects) {
        if std::mem::take(&mut self.ending.look_again) {
            self.look(effects);
        }
    }

    /// The room was looked for and is there.
    pub(super) fn is_still_there(&mut self) {
        if self.ending.look_again {
            return;
        }
        self.ending.claimed = None;
        if self.ending.look_at.is_none() {
            // Whoever was to say how it ended has had its time.
            self.ending.prepared = None;
        }
    }

    /// The room is gone. True if that was announced as a deletion, and everybody has been told.
    pub(super) fn end_by_deletion(&mut self, effects: &mut Effects) -> bool {
        let ending = std::mem::take(&mut self.ending);
        let Some(transaction) = ending.prepared.or(ending.claimed) else {
            self.ending.room_name = ending.room_name;
            return false;
        };
        self.refuse_pending(effects);
        self.detached.clear();
        self.ahead.clear();
        (self.ahead_bytes, self.hole_since) = (0, None);
        if let Some(room_name) = ending.room_name {
            let notice = Notice::Deleted {
                room_name,
                transaction: Some(transaction),
            };
            effects.push(Effect::Notify { notice, except: None });
        }
        self.audience.leave_all(effects);
        true
    }
}
