//! All connections of a node: a bound, numbers, and the list that a stopping node walks.

use super::Session;
use chat_protocol::ids::{Incarnation, SessionId};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The connections of one node.
#[derive(Debug)]
pub struct Registry {
    next: AtomicU64,
    max: usize,
    sessions: Mutex<HashMap<SessionId, Arc<Session>>>,
    emptied: Notify,
}

impl Registry {
    /// A registry that takes at most `max` connections. Numbers begin at the node's life, so that no connection of a life
    /// has the number of one before: seats outlive their nodes.
    #[must_use]
    pub fn new(max: usize, life: Incarnation) -> Self {
        Self {
            next: AtomicU64::new(SessionId::first_of(life).0),
            max,
            sessions: Mutex::default(),
            emptied: Notify::new(),
        }
    }

    /// A number that no other connection of this node has, in any life.
    pub fn next_id(&self) -> SessionId {
        SessionId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Adds a connection; false if the bound is reached.
    pub fn add(&self, session: &Arc<Session>) -> bool {
        let mut sessions = self.lock();
        if sessions.len() >= self.max {
            return false;
        }
        sessions.insert(session.id, Arc::clone(session));
        true
    }

    /// Removes a connection.
    pub fn remove(&self, id: SessionId) {
        let mut sessions = self.lock();
        sessions.remove(&id);
        if sessions.is_empty() {
            self.emptied.notify_waiters();
        }
    }

    /// How many connections there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Bytes that wait to be written: of all connections together, and of the one where most do.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        let sessions: Vec<_> = self.lock().values().cloned().collect();
        let waiting = sessions.iter().map(|session| session.outbound.waiting());
        waiting.fold((0, 0), |(all, most), bytes| (all + bytes, most.max(bytes)))
    }

    /// All connections at this moment, oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Session>> {
        let mut all: Vec<_> = self.lock().values().cloned().collect();
        all.sort_by_key(|s| s.id);
        all
    }

    /// Waits until there is no connection. Cancel safe.
    pub async fn emptied(&self) {
        loop {
            let notified = self.emptied.notified();
            if self.is_empty() {
                return;
            }
            notified.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Session>>> {
        // A map is whole between two of its calls.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
