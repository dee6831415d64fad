//! Numbering: the one place that gives a message its place.
//!
//! One append per room is in flight. What arrives meanwhile waits and becomes the next batch, so that the batch grows
//! with the load and no message waits for a timer. A number belongs to a message from its first append on: an append
//! whose outcome nobody knows is repeated unchanged, and nothing passes it.

use super::sendings::{Key, Placed, Sendings};
use crate::effect::{Effect, Effects, Origin, Submission};
use crate::stored::{Append, NewMessage, Repeat};
use crate::time::{Millis, Now};
use chat_protocol::ids::{Epoch, RoomId, Seq};
use chat_protocol::message_frame::Message;
use chat_protocol::timestamp::Timestamp;
use std::collections::VecDeque;

/// Bounds of a sequencer.
#[derive(Debug, Clone, Copy)]
pub struct SequencerLimits {
    /// Most submissions that wait.
    pub waiting: usize,
    /// Most bytes of content that wait.
    pub waiting_bytes: usize,
    /// Bytes of content after which a batch is full; it always takes one message.
    pub batch_bytes: usize,
    /// Most messages of a batch.
    pub batch_items: usize,
    /// Most sendings that are remembered to recognise repeats.
    pub remembered: usize,
}

impl Default for SequencerLimits {
    fn default() -> Self {
        Self {
            waiting: 1_024,
            waiting_bytes: 1 << 20,
            batch_bytes: 64 << 10,
            batch_items: 256,
            remembered: 1_024,
        }
    }
}

/// What to do with a submission.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    /// It waits for its number, or joined an earlier sending that does.
    Queued,
    /// It is a repeat of this committed message.
    Repeat(Placed),
    /// Its id was used before for another content.
    Conflict,
    /// The queue is full.
    Full,
}

/// A batch whose append is in flight.
#[derive(Debug)]
pub struct Batch {
    /// What is written.
    pub append: Append,
    /// Whom to answer, per item; several if a sending was repeated meanwhile.
    pub origins: Vec<Vec<Origin>>,
    /// Since when nobody knows its outcome.
    pub unknown_since: Option<Millis>,
    /// When to try again.
    pub retry_at: Option<Millis>,
    retries: u32,
}

#[derive(Debug)]
struct Waiting {
    origins: Vec<Origin>,
    submission: Submission,
    accepted: Timestamp,
}

/// Numbers of one room.
#[derive(Debug)]
pub struct Sequencer {
    room_id: RoomId,
    limits: SequencerLimits,
    epoch: Epoch,
    head: Seq,
    next_token: u64,
    in_flight: Option<Batch>,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// No further batch begins.
    frozen: bool,
    sendings: Sendings,
}

impl Sequencer {
    /// A sequencer that has not been told yet where the room stands.
    #[must_use]
    pub fn new(room_id: RoomId, limits: SequencerLimits) -> Self {
        Self {
            room_id,
            limits,
            epoch: Epoch(0),
            head: Seq::ZERO,
            next_token: 1,
            in_flight: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            frozen: false,
            sendings: Sendings::default(),
        }
    }

    /// The last committed number.
    #[must_use]
    pub const fn head(&self) -> Seq {
        self.head
    }

    /// The tenure under which this sequencer appends.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The batch in flight.
    #[must_use]
    pub const fn in_flight(&self) -> Option<&Batch> {
        self.in_flight.as_ref()
    }

    /// True if nothing waits and nothing is in flight.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.in_flight.is_none() && self.waiting.is_empty()
    }

    /// True if something waits for a number.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// From here on no batch begins until [`Self::thaw`]; the one in flight goes on.
    pub const fn freeze(&mut self) {
        self.frozen = true;
    }

    /// Batches begin again.
    pub const fn thaw(&mut self) {
        self.frozen = false;
    }

    /// Accepts a submission, or recognises it.
    pub fn submit(&mut self, now: Now, submission: Submission) -> Admission {
        let key = submission.client_msg_id.as_ref();
        let key = key.map(|id| Key::new(&submission.user, id));
        if let Some(key) = &key {
            if let Some(placed) = self.sendings.placed(key) {
                return if placed.said(&submission.content) {
                    Admission::Repeat(placed.clone())
                } else {
                    Admission::Conflict
                };
            }
            if self.sendings.is_under_way(key)
                && let Some(admission) = self.join_pending(key, &submission)
            {
                return admission;
            }
        }
        let bytes = submission.content.len();
        if self.waiting.len() >= self.limits.waiting
            || (self.waiting_bytes + bytes > self.limits.waiting_bytes && !self.waiting.is_empty())
            || self.head.0 + self.waiting.len() as u64 + self.in_flight_len() >= chat_protocol::limits::MAX_SEQ
        {
            return Admission::Full;
        }
        if let Some(key) = key {
            self.sendings.begin(key);
        }
        self.waiting_bytes += bytes;
        self.waiting.push_back(Waiting {
            origins: vec![submission.origin.clone()],
            submission,
            accepted: now.wall,
        });
        Admission::Queued
    }

    fn in_flight_len(&self) -> u64 {
        self.in_flight
            .as_ref()
            .map_or(0, |batch| batch.append.items.len() as u64)
    }

    /// A repeat of something that is not committed yet waits for the same outcome.
    fn join_pending(&mut self, key: &Key, submission: &Submission) -> Option<Admission> {
        let in_flight = self.in_flight.iter_mut().flat_map(|batch| {
            let Batch { append, origins, .. } = batch;
            append
                .items
                .iter()
                .map(|i| (&i.message.username, i.client_msg_id.as_ref(), &i.message.content))
                .zip(origins)
        });
        let waiting = self.waiting.iter_mut().map(|w| {
            (
                (
                    &w.submission.user,
                    w.submission.client_msg_id.as_ref(),
                    &w.submission.content,
                ),
                &mut w.origins,
            )
        });
        for ((user, id, content), origins) in in_flight.chain(waiting) {
            if key.is(user, id) {
                if *content != submission.content {
                    return Some(Admission::Conflict);
                }
                if !origins.contains(&submission.origin) {
                    origins.push(submission.origin.clone());
                }
                return Some(Admission::Queued);
            }
        }
        None
    }

    /// Starts the next batch if none is in flight and something waits.
    pub fn start_batch(&mut self, effects: &mut Effects) {
        if self.in_flight.is_some() || self.waiting.is_empty() || self.frozen {
            return;
        }
        let (mut items, mut origins, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut seq = self.head;
        while let Some(next) = self.waiting.front() {
            let size = next.submission.content.len();
            if items.len() == self.limits.batch_items || (!items.is_empty() && bytes + size > self.limits.batch_bytes) {
                break;
            }
            let Some(next) = self.waiting.pop_front() else { break };
            bytes += size;
            seq = seq.next();
            origins.push(next.origins);
            items.push(NewMessage {
                message: Message {
                    message_id: next.submission.message_id,
                    room_id: self.room_id.clone(),
                    username: next.submission.user,
                    content: next.submission.content,
                    seq,
                    timestamp: next.accepted,
                },
                client_msg_id: next.submission.client_msg_id,
            });
        }
        self.waiting_bytes -= bytes;
        self.launch(items, origins, effects);
    }

    fn launch(&mut self, items: Vec<NewMessage>, origins: Vec<Vec<Origin>>, effects: &mut Effects) {
        let token = self.next_token;
        self.next_token += 1;
        let append = Append {
            room_id: self.room_id.clone(),
            token,
            epoch: self.epoch,
            items: items.into(),
        };
        self.sendings.begin_all(&append.items);
        effects.push(Effect::Append(append.clone()));
        self.in_flight = Some(Batch {
            append,
            origins,
            unknown_since: None,
            retry_at: None,
            retries: 0,
        });
    }

    /// Takes the batch out if `token` is the one in flight: its outcome is known.
    pub fn settle(&mut self, token: u64) -> Option<Batch> {
        let batch = self.in_flight.take_if(|batch| batch.append.token == token)?;
        self.sendings.end_all(&batch.append.items);
        Some(batch)
    }

    /// Puts a batch back whose outcome must be found out some other way.
    pub fn unsettle(&mut self, batch: Batch) {
        self.sendings.begin_all(&batch.append.items);
        self.in_flight = Some(batch);
    }

    /// The items of a settled batch are committed: the head moves, repeats will be recognised.
    pub fn commit(&mut self, items: &[NewMessage]) {
        for item in items {
            self.head = item.message.seq;
            self.sendings.place(item, self.limits.remembered);
        }
    }

    /// The outcome of the batch in flight is not known. It will be tried again, with growing pauses up to a second.
    pub fn doubt(&mut self, token: u64, now: Millis) -> bool {
        let Some(batch) = self.in_flight.as_mut().filter(|b| b.append.token == token) else {
            return false;
        };
        batch.unknown_since.get_or_insert(now);
        batch.retry_at = Some(now.plus((50 << batch.retries.min(4)).min(1_000)));
        batch.retries += 1;
        true
    }

    /// Repeats the batch in flight if its pause is over. The token stays: any of its outcomes settles it.
    pub fn retry(&mut self, now: Millis, effects: &mut Effects) {
        if let Some(batch) = &mut self.in_flight
            && batch.retry_at.is_some_and(|at| at <= now)
        {
            batch.retry_at = None;
            effects.push(Effect::Append(batch.append.clone()));
        }
    }

    /// Whom the batch in flight would answer, if its outcome has been unknown for `patience` milliseconds. They are
    /// forgotten: the batch stays.
    pub fn give_up_waiting(&mut self, now: Millis, patience: u64) -> Vec<Origin> {
        match &mut self.in_flight {
            Some(batch) if batch.unknown_since.is_some_and(|since| now.since(since) >= patience) => {
                batch.origins.iter_mut().flat_map(std::mem::take).collect()
            }
            _ => Vec::new(),
        }
    }

    /// A new tenure began at `head`. A batch in flight whose place is still free is written again under it. True if its
    /// place is taken: then it stays in flight until its fate is read back.
    pub fn begin_tenure(&mut self, epoch: Epoch, head: Seq, effects: &mut Effects) -> bool {
        self.epoch = epoch;
        let Some(batch) = self.in_flight.take() else {
            self.head = head;
            return false;
        };
        if head >= batch.append.items[0].message.seq {
            self.in_flight = Some(batch);
            return true;
        }
        self.head = head;
        self.relaunch(batch, effects);
        false
    }

    /// Writes a batch again that is known not to be committed, renumbered from the head on.
    pub fn relaunch(&mut self, batch: Batch, effects: &mut Effects) {
        let mut seq = self.head;
        let items = batch
            .append
            .items
            .iter()
            .cloned()
            .map(|mut item| {
                seq = seq.next();
                item.message.seq = seq;
                item
            })
            .collect();
        self.launch(items, batch.origins, effects);
    }

    /// Writes a batch again without the items that were committed before. Gives those back, each with whom to answer.
    pub fn without(&mut self, batch: Batch, repeats: Vec<Repeat>, effects: &mut Effects) -> Vec<(Repeat, Vec<Origin>)> {
        let mut repeats = repeats.into_iter().peekable();
        let (mut known, mut seq) = (Vec::new(), self.head);
        let (mut items, mut origins) = (Vec::new(), Vec::new());
        for (index, (item, asked)) in batch.append.items.iter().zip(batch.origins).enumerate() {
            match repeats.next_if(|repeat| repeat.index == index) {
                Some(repeat) => known.push((repeat, asked)),
                None => {
                    seq = seq.next();
                    let mut item = item.clone();
                    item.message.seq = seq;
                    items.push(item);
                    origins.push(asked);
                }
            }
        }
        if items.is_empty() {
            self.start_batch(effects);
        } else {
            self.launch(items, origins, effects);
        }
        known
    }

    /// Moves the head to where the store says it is.
    pub fn advance_to(&mut self, head: Seq) {
        self.head = self.head.max(head);
    }

    /// Everybody who waits for a number or an outcome; nothing waits any more.
    pub fn abandon(&mut self) -> Vec<Origin> {
        let waiting = self.abandon_waiting();
        self.sendings.end_everything();
        let in_flight = self.in_flight.take().into_iter().flat_map(|b| b.origins).flatten();
        in_flight.chain(waiting).collect()
    }

    /// Everybody who waits for a number; nothing waits any more. The batch in flight stays.
    pub fn abandon_waiting(&mut self) -> Vec<Origin> {
        self.waiting_bytes = 0;
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        waiting
            .flat_map(|waiting| {
                let Submission {
                    user, client_msg_id, ..
                } = &waiting.submission;
                if let Some(id) = client_msg_id {
                    self.sendings.end(&Key::new(user, id));
                }
                waiting.origins
            })
            .collect()
    }

    /// When something is due although nothing arrives.
    #[must_use]
    pub fn next_deadline(&self, patience: u64) -> Option<Millis> {
        let batch = self.in_flight.as_ref()?;
        let answered = batch.origins.iter().all(Vec::is_empty);
        let give_up = batch
            .unknown_since
            .filter(|_| !answered)
            .map(|since| since.plus(patience));
        [batch.retry_at, give_up].into_iter().flatten().min()
    }

    /// What must hold between head, batch and queue.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) fn check(&self) {
        if let Some(batch) = &self.in_flight {
            assert_eq!(
                batch.append.items.len(),
                batch.origins.len(),
                "each item has its origins"
            );
            for pair in batch.append.items.windows(2) {
                assert_eq!(pair[0].message.seq.next(), pair[1].message.seq, "a batch has no hole");
            }
        }
        let bytes: usize = self.waiting.iter().map(|w| w.submission.content.len()).sum();
        assert_eq!(bytes, self.waiting_bytes, "waiting bytes are counted");
        assert!(self.waiting.len() <= self.limits.waiting, "the queue is bounded");
        let items = self.in_flight.iter().flat_map(|batch| batch.append.items.iter());
        let in_flight = items.map(|item| (&item.message.username, &item.client_msg_id));
        let waiting = self.waiting.iter().map(|w| &w.submission);
        let waiting = waiting.map(|submission| (&submission.user, &submission.client_msg_id));
        let keys = in_flight.chain(waiting);
        self.sendings
            .check(keys.filter_map(|(user, id)| Some(Key::new(user, id.as_ref()?))));
    }
}
