//! The end of a world in which nothing goes wrong any more.

use super::*;

impl World {
    /// Does the next thing that happens if nothing goes wrong any more; false when nothing is left to happen.
    pub(in crate::deletion::tests) fn close(&mut self) -> bool {
        (self.budget.crashes, self.budget.losses) = (0, 0);
        self.budget.forged = 0;
        self.budget.attempts = 0;
        if self.admin.is_none() {
            self.restart();
        } else if let Some(n) = (0..NODES).find(|n| !self.members[*n].up) {
            self.members[n].up = true;
        } else if let Some(letter) = self.post.keys().next().cloned() {
            self.take(&letter);
            self.deliver(letter);
        } else if self.admin_deadline().is_some() {
            self.admin_timer();
        } else if let Some(n) = (0..NODES).find(|n| self.member_deadline(*n).is_some()) {
            self.member_timer(n);
        } else if matches!(self.state, RoomState::Deleting(_)) {
            // An attempt that was given up before it was written: the next append finds it.
            assert!(self.admin.as_ref().is_some_and(|admin| admin.machine.is_none()));
            self.restart();
        } else if matches!(self.state, RoomState::Deleted(_)) && self.members.iter().any(|member| member.seated) {
            // A link that lost something says so, and seats are announced.
            self.reset();
        } else {
            return false;
        }
        true
    }

    /// What must hold when nothing is left to happen.
    pub(in crate::deletion::tests) fn check_end(&self) {
        assert!(
            !matches!(self.state, RoomState::Deleting(_)),
            "an attempt is never decided"
        );
        let deleted = matches!(self.state, RoomState::Deleted(_));
        for member in &self.members {
            assert!(member.machine.is_idle(), "a node waits for ever");
            assert!(!(deleted && member.seated), "members of a deleted room are never told");
        }
    }
}
