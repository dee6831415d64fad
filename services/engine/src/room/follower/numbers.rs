//! Contiguous numbers: what is delivered, what is missing, and how a hole is closed.

use super::*;

impl Follower {
    pub(super) fn on_head(&mut self, generation: Generation, epoch: Epoch, head: Seq, effects: &mut Effects) {
        let Some(position) = &mut self.position else { return };
        if epoch < position.epoch {
            return;
        }
        position.epoch = epoch;
        if generation != position.generation {
            // Another life of the numbering: nothing remembered means anything. Go on from where it stands.
            *position = Position {
                generation,
                epoch,
                delivered: head,
                head,
            };
            self.backlog.clear();
            self.confirm_up_to(Seq(u64::MAX), effects);
            return;
        }
        position.head = position.head.max(head);
        if position.head > position.delivered {
            self.repair(effects);
        }
    }

    pub(super) fn on_tail(&mut self, tail: Seq, effects: &mut Effects) {
        let Some(position) = &mut self.position else { return };
        let suspected = self.missing.take();
        if tail <= position.delivered {
            return;
        }
        match suspected {
            Some(suspected) if suspected > position.delivered => {
                position.head = position.head.max(suspected);
                self.repair(effects);
            }
            _ => self.missing = Some(tail),
        }
    }

    /// The room of this machine, for a tail check: whether anything was delivered since the last call.
    pub fn take_traffic(&mut self) -> bool {
        let delivered = self.delivered();
        std::mem::replace(&mut self.checked, delivered) != delivered || self.missing.is_some()
    }

    pub(super) fn on_delivered(
        &mut self,
        generation: Generation,
        epoch: Epoch,
        frames: Vec<MessageFrame>,
        effects: &mut Effects,
    ) {
        let (Some(first), Some(last), Some(position)) = (
            frames.first().map(MessageFrame::seq),
            frames.last().map(MessageFrame::seq),
            &mut self.position,
        ) else {
            return;
        };
        let continues = generation == position.generation
            && epoch >= position.epoch
            && !self.repairing
            && first <= position.delivered.next();
        if continues {
            position.epoch = epoch;
            self.accept(frames, effects);
        } else {
            self.on_head(generation, epoch, last, effects);
        }
        self.repair(effects);
    }

    /// Delivers what continues the last delivered message; what is known already is dropped.
    pub(super) fn accept(&mut self, frames: Vec<MessageFrame>, effects: &mut Effects) {
        let Some(position) = &mut self.position else { return };
        let mut fresh = Vec::with_capacity(frames.len());
        for frame in frames {
            if frame.seq() == position.delivered.next() {
                position.delivered = frame.seq();
                self.backlog.push(frame.clone());
                fresh.push(frame);
            } else if frame.seq() <= position.delivered {
                self.seen.doubled += 1;
            }
        }
        position.head = position.head.max(position.delivered);
        if !fresh.is_empty() {
            effects.push(Effect::Deliver(fresh));
        }
        let delivered = self.delivered();
        self.confirm_up_to(delivered, effects);
    }

    pub(super) fn confirm_up_to(&mut self, delivered: Seq, effects: &mut Effects) {
        let (due, early) = std::mem::take(&mut self.early)
            .into_iter()
            .partition(|(seq, ..)| *seq <= delivered);
        self.early = early;
        let due: Vec<(Seq, Origin, Answer)> = due;
        for (seq, origin, answer) in due {
            self.audience.acknowledge(seq, origin, answer, effects);
        }
    }

    pub(super) fn repair(&mut self, effects: &mut Effects) {
        if self.repairing || self.repair_at.is_some() {
            return;
        }
        if let Some(position) = &self.position
            && position.head > position.delivered
        {
            self.repairing = true;
            effects.push(Effect::ReadRange {
                node: self.admin.clone(),
                from: position.delivered.next(),
            });
        }
    }

    pub(super) fn on_range(&mut self, now: Now, result: Result<Range, String>, effects: &mut Effects) {
        self.repairing = false;
        let before = self.delivered();
        if let Ok(Range { frames, floor }) = result {
            if let Some(floor) = floor {
                self.skip_to(floor, effects);
            }
            self.accept(frames, effects);
        }
        if self.delivered() > before {
            self.repair(effects);
        } else if self.position.as_ref().is_some_and(|p| p.head > p.delivered) {
            self.repair_at = Some(now.mono.plus(RETRY_PAUSE));
        }
    }

    /// The admin node says that it has nothing below `floor` any more: only this closes a hole without its messages.
    pub(super) fn skip_to(&mut self, floor: Seq, effects: &mut Effects) {
        let Some(position) = &mut self.position else { return };
        let had = position.delivered;
        if floor <= had.next() {
            return;
        }
        position.delivered = Seq(floor.0 - 1);
        position.head = position.head.max(position.delivered);
        self.backlog.clear();
        let offer = self.offer(floor);
        self.audience.trimmed(had, floor, offer, effects);
    }

    /// What this room has for connections whose messages below `floor` are gone.
    pub(super) fn offer(&self, floor: Seq) -> Offer {
        let position = self.position.as_ref();
        Offer {
            generation: position.map_or(Generation(0), |p| p.generation),
            floor,
            head: position.map_or(Seq::ZERO, |p| p.head),
            delivered: self.delivered(),
        }
    }
}
