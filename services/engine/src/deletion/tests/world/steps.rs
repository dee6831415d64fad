//! What may happen next, within the budget.

use super::*;

impl World {
    pub(in crate::deletion::tests) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let idle = self.admin.as_ref().is_some_and(|admin| admin.machine.is_none());
        if self.budget.attempts > 0 && idle && !matches!(self.state, RoomState::Deleted(_)) {
            steps.push(Step::Delete);
        }
        steps.extend(self.post.keys().cloned().map(Step::Deliver));
        if self.admin.is_none() {
            steps.push(Step::Restart);
        }
        let down = (0..NODES).filter(|n| !self.members[*n].up);
        steps.extend(down.map(Step::RestartMember));
        if self.budget.timers.0 > 0 && self.admin_deadline().is_some() {
            steps.push(Step::Timer);
        }
        let due = |n: &usize| self.members[*n].timers > 0 && self.member_deadline(*n).is_some();
        steps.extend((0..NODES).filter(due).map(Step::MemberTimer));
        if self.budget.losses > 0 {
            self.losses(&mut steps);
        }
        if self.budget.crashes > 0 {
            self.crashes(&mut steps);
        }
        if self.budget.forged > 0 {
            self.forgeries(&mut steps);
        }
        steps
    }

    fn losses(&self, steps: &mut Vec<Step>) {
        for letter in self.post.keys() {
            match letter {
                // What a node notices by itself is neither lost nor doubled.
                Letter::Lost(_) => continue,
                // Each answer belongs to one question.
                Letter::Asked(..) | Letter::Answered(..) => {}
                Letter::Begin(..) | Letter::Decide(..) => {
                    steps.push(Step::Double(letter.clone()));
                    steps.push(Step::Silence(letter.clone()));
                }
                _ => steps.push(Step::Double(letter.clone())),
            }
            steps.push(Step::Lose(letter.clone()));
        }
    }

    fn crashes(&self, steps: &mut Vec<Step>) {
        if self.admin.is_some() {
            steps.push(Step::Crash);
            steps.extend((0..NODES).map(Step::Suspect));
        }
        let up = (0..NODES).filter(|n| self.members[*n].up);
        steps.extend(up.map(Step::CrashMember));
    }

    /// A forger knows neither what is under way between two nodes nor, therefore, the attempt that a node is prepared for.
    fn forgeries(&self, steps: &mut Vec<Step>) {
        let forged = transaction("forged");
        for n in 0..NODES {
            for word in [Word::Prepare, Word::Commit, Word::Rollback] {
                steps.push(Step::Forge(Letter::Said(n, word, forged.clone())));
            }
            for vote in [Vote::Ready, Vote::Abort(None)] {
                steps.push(Step::Forge(Letter::Voted(n, forged.clone(), vote)));
            }
            steps.push(Step::Forge(Letter::Done(n, forged.clone())));
            // The attempt was shown to a client.
            if !self.members[n].machine.is_prepared() {
                for attempt in 1..=self.attempts {
                    let known = transaction(&format!("t{attempt}"));
                    steps.push(Step::Forge(Letter::Said(n, Word::Commit, known)));
                }
            }
        }
    }
}
