//! Claims and tenures: how a room comes to this node, and what is done about a batch whose fate nobody knows.

use super::*;

impl Room {
    pub(super) fn on_claimed(&mut self, now: Now, result: Result<Option<ClaimedRoom>, String>, effects: &mut Effects) {
        let Stage::Claiming {
            waiting,
            retry_at,
            attempts,
        } = &mut self.stage
        else {
            return;
        };
        match result {
            Ok(Some(claimed)) => {
                let waiting = std::mem::take(waiting);
                self.begin_tenure(now, claimed, effects);
                for input in waiting {
                    if matches!(self.stage, Stage::Deleted { .. }) {
                        self.on_request_of_deleted(now, input, effects);
                    } else {
                        self.on_request(now, input, effects);
                    }
                }
            }
            Ok(None) => {
                let waiting = std::mem::take(waiting);
                self.stage = Stage::Gone;
                for input in waiting {
                    refuse(input, &Reject::RoomNotFound, effects);
                }
                self.lose_deletion(effects);
                self.refuse_senders(&Reject::RoomNotFound, effects);
            }
            Err(_) if *attempts + 1 < CLAIM_ATTEMPTS || self.profile.is_some() => {
                *attempts += 1;
                *retry_at = Some(now.mono.plus(RETRY_PAUSE));
            }
            Err(why) => {
                for input in std::mem::take(waiting) {
                    refuse(input, &Reject::Internal(why.clone()), effects);
                }
                *attempts = 0;
                self.stage = Stage::Gone;
            }
        }
    }

    pub(super) fn begin_tenure(&mut self, now: Now, claimed: ClaimedRoom, effects: &mut Effects) {
        let first_tenure = self.profile.is_none();
        self.history.begin_tenure(claimed.floor);
        self.version = self.version.max(claimed.epoch.0 << 32);
        self.generation = claimed.generation;
        self.profile = Some(claimed.profile);
        if first_tenure {
            self.delivered = claimed.head;
            for StoredSeat { seat, user, key } in claimed.seats {
                if !self.restore_original(now, &seat, user.clone()) {
                    self.roster.restore(seat, user, key, now.mono);
                }
            }
            self.serve_restored(now, effects);
        }
        if matches!(claimed.state, RoomState::Deleted(_)) {
            // There is nothing to be written to any more.
            self.refuse_senders(&Reject::RoomNotFound, effects);
            self.resume_deletion(now, claimed.epoch, claimed.state, effects);
            return;
        }
        if self.sequencer.begin_tenure(claimed.epoch, claimed.head, effects) || claimed.head > self.delivered {
            self.stage = Stage::Settling {
                target: claimed.head,
                retry_at: None,
            };
            self.ask_for_fate(effects);
        } else {
            self.stage = Stage::Active;
            self.sequencer.start_batch(effects);
        }
        self.resume_deletion(now, claimed.epoch, claimed.state, effects);
    }

    pub(super) fn ask_for_fate(&self, effects: &mut Effects) {
        let limit = self.limits.sequencer.batch_items;
        effects.push(Effect::Reread {
            from: self.delivered.next(),
            limit,
        });
    }

    /// What the log holds beyond what was delivered: ours if the ids are ours, somebody else's otherwise.
    pub(super) fn on_reread(&mut self, now: Now, result: Result<Vec<Message>, String>, effects: &mut Effects) {
        let Stage::Settling { target, retry_at } = &mut self.stage else {
            return;
        };
        let target = *target;
        let messages = match result {
            Ok(messages) if !messages.is_empty() => messages,
            // An answer without what the claim has seen is as good as none.
            _ => {
                *retry_at = Some(now.mono.plus(RETRY_PAUSE));
                return;
            }
        };
        let batch = self
            .sequencer
            .in_flight()
            .map(|b| b.append.token)
            .and_then(|token| self.sequencer.settle(token));
        // An append is atomic: either all of its items are in the log or none is.
        let ours = batch.as_ref().is_some_and(|batch| {
            let in_log = |id| messages.iter().any(|m| m.message_id == id);
            batch
                .append
                .items
                .iter()
                .all(|item| in_log(item.message.message_id.clone()))
        });
        self.deliver(messages.iter().map(MessageFrame::encode).collect(), effects);
        let mut undecided = batch;
        if ours && let Some(batch) = undecided.take() {
            self.sequencer.commit(&batch.append.items);
            self.acknowledge(&batch, effects);
        }
        self.sequencer.advance_to(self.delivered);
        if self.delivered < target {
            if let Some(batch) = undecided {
                self.sequencer.unsettle(batch);
            }
            self.ask_for_fate(effects);
            return;
        }
        self.stage = Stage::Active;
        match undecided {
            Some(batch) => self.sequencer.relaunch(batch, effects),
            None => self.sequencer.start_batch(effects),
        }
    }

    pub(super) fn reclaim(&mut self, effects: &mut Effects) {
        self.stage = Stage::Claiming {
            waiting: VecDeque::new(),
            retry_at: None,
            attempts: 0,
        };
        effects.push(Effect::Claim);
    }
}
