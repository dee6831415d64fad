//! What became of sendings that may be repeated. The admin node knows no ids, so this is all that recognises one.

use super::*;
use std::collections::VecDeque;

/// Most sendings that are remembered.
const MAX_FATES: usize = 256;

/// What is known of a sending.
#[derive(Debug)]
pub(super) enum Fate {
    /// It is in the room.
    Placed {
        message_id: MessageId,
        seq: Seq,
        timestamp: Timestamp,
        content: Arc<str>,
    },
    /// Its call broke. If it was executed, the message turns up after `after`.
    Unsure { content: Arc<str>, after: Seq },
}

type Key = (UserName, ClientMsgId);

/// The newest fates.
#[derive(Debug, Default)]
pub(super) struct Fates {
    known: BTreeMap<Key, Fate>,
    order: VecDeque<Key>,
    unsure: usize,
}

impl Fates {
    pub(super) fn get(&self, user: &UserName, id: &ClientMsgId) -> Option<&Fate> {
        self.known.get(&(user.clone(), id.clone()))
    }

    pub(super) fn note(&mut self, user: UserName, id: ClientMsgId, fate: Fate) {
        let key = (user, id);
        self.unsure += usize::from(matches!(fate, Fate::Unsure { .. }));
        match self.known.insert(key.clone(), fate) {
            Some(former) => self.unsure -= usize::from(matches!(former, Fate::Unsure { .. })),
            None => self.order.push_back(key),
        }
        if self.order.len() > MAX_FATES
            && let Some(oldest) = self.order.pop_front()
            && let Some(Fate::Unsure { .. }) = self.known.remove(&oldest)
        {
            self.unsure -= 1;
        }
    }

    /// A message turned up: it may be one whose call broke. The same words said twice are two messages, so it is the
    /// fate of one sending only, the oldest.
    pub(super) fn turned_up(&mut self, message: &Message) {
        if self.unsure == 0 {
            return;
        }
        let is_it = |key: &&Key| {
            key.0 == message.username
                && matches!(self.known.get(key), Some(Fate::Unsure { content, after })
                    if *content == message.content && message.seq > *after)
        };
        let Some(key) = self.order.iter().find(is_it).cloned() else {
            return;
        };
        self.unsure -= 1;
        let fate = Fate::Placed {
            message_id: message.message_id.clone(),
            seq: message.seq,
            timestamp: message.timestamp,
            content: Arc::clone(&message.content),
        };
        self.known.insert(key, fate);
    }
}
