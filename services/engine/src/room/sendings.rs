//! The sendings that a room remembers by their ids: those under way, and the newest of those that are committed. It is a
//! shortcut; the store judges.

use crate::stored::NewMessage;
use chat_protocol::ids::{ClientMsgId, MessageId, Seq, UserName};
use chat_protocol::message_frame::Message;
use chat_protocol::timestamp::Timestamp;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

/// What became of a sending earlier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Which message.
    pub message_id: MessageId,
    /// Its place.
    pub seq: Seq,
    /// When it was accepted.
    pub timestamp: Timestamp,
    /// Tells its content from another one.
    digest: u64,
}

impl Placed {
    fn new(message: &Message) -> Self {
        Self {
            message_id: message.message_id.clone(),
            seq: message.seq,
            timestamp: message.timestamp,
            digest: digest(&*message.content),
        }
    }

    /// Whether this was its content.
    #[must_use]
    pub fn said(&self, content: &str) -> bool {
        self.digest == digest(content)
    }
}

fn digest(of: impl Hash) -> u64 {
    // Without random keys, so the same in every life; a sender that makes two contents collide fools only itself.
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// By what a repeat is recognised. The digest comes first because ids of one sender begin alike: nearly every comparison
/// ends there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    digest: u64,
    user: UserName,
    id: ClientMsgId,
}

impl Key {
    /// The key of what `user` sends under `id`.
    #[must_use]
    pub fn new(user: &UserName, id: &ClientMsgId) -> Self {
        Self {
            digest: digest((user.as_str(), id.as_str())),
            user: user.clone(),
            id: id.clone(),
        }
    }

    fn of(item: &NewMessage) -> Option<Self> {
        let id = item.client_msg_id.as_ref()?;
        Some(Self::new(&item.message.username, id))
    }

    /// Whether this is the key of what `user` sends under `id`.
    #[must_use]
    pub fn is(&self, user: &UserName, id: Option<&ClientMsgId>) -> bool {
        id == Some(&self.id) && *user == self.user
    }
}

/// Sendings of one room.
#[derive(Debug, Default)]
pub struct Sendings {
    under_way: BTreeSet<Key>,
    placed: BTreeMap<Key, Placed>,
    /// The keys of `placed`, oldest first.
    order: VecDeque<Key>,
}

impl Sendings {
    /// Where a committed sending is, if it is remembered.
    #[must_use]
    pub fn placed(&self, key: &Key) -> Option<&Placed> {
        self.placed.get(key)
    }

    /// True if a sending with this key waits or is being written.
    #[must_use]
    pub fn is_under_way(&self, key: &Key) -> bool {
        self.under_way.contains(key)
    }

    /// A sending waits for its number.
    pub fn begin(&mut self, key: Key) {
        self.under_way.insert(key);
    }

    /// Items are being written, perhaps once more.
    pub fn begin_all(&mut self, items: &[NewMessage]) {
        self.under_way.extend(items.iter().filter_map(Key::of));
    }

    /// Items are not being written any more, whatever became of them.
    pub fn end_all(&mut self, items: &[NewMessage]) {
        for key in items.iter().filter_map(Key::of) {
            self.under_way.remove(&key);
        }
    }

    /// A sending does not wait any more.
    pub fn end(&mut self, key: &Key) {
        self.under_way.remove(key);
    }

    /// Nothing is under way any more.
    pub fn end_everything(&mut self) {
        self.under_way.clear();
    }

    /// An item is committed. At most `bound` are remembered.
    pub fn place(&mut self, item: &NewMessage, bound: usize) {
        let Some(key) = Key::of(item) else { return };
        if self.placed.insert(key.clone(), Placed::new(&item.message)).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > bound
            && let Some(oldest) = self.order.pop_front()
        {
            self.placed.remove(&oldest);
        }
    }

    /// What must hold about the memory, if `under_way` are the keys that wait or are being written.
    ///
    /// # Panics
    /// If it does not.
    pub(super) fn check(&self, under_way: impl Iterator<Item = Key>) {
        assert_eq!(
            self.placed.len(),
            self.order.len(),
            "the memory of repeats is bounded by its order"
        );
        let under_way: BTreeSet<Key> = under_way.collect();
        assert_eq!(self.under_way, under_way, "what is under way is known by its key");
    }
}
