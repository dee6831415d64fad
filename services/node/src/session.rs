//! A client's connection: a small shared handle and a private actor.
//!
//! The handle is what rooms know: where to put bytes, and how to say that the request is answered. The actor owns the
//! reading side, the timers and the order of requests. Rooms never wait for it, and it never waits for a peer.

pub mod actor;
pub mod inbound;
pub mod io;
pub mod keepalive;
pub mod outbound;
pub mod registry;

use chat_protocol::ids::{RoomId, SessionId, UserName};
use outbound::Outbound;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// What the rest of the node knows of a connection.
#[derive(Debug)]
pub struct Session {
    /// Which connection.
    pub id: SessionId,
    /// Where its bytes go.
    pub outbound: Outbound,
    /// Rooms in which it is seated, and under which name. Written by the room when it subscribes the connection, read
    /// by the actor; the room is the authority.
    seats: Mutex<BTreeMap<RoomId, UserName>>,
    answered: AtomicBool,
    wake: Notify,
}

impl Session {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(id: SessionId, outbound: Outbound) -> Self {
        Self {
            id,
            outbound,
            seats: Mutex::default(),
            answered: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    /// The request under way is answered: its answer is in the queue.
    pub fn answer_given(&self) {
        self.answered.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// True once after each [`Self::answer_given`].
    fn take_answered(&self) -> bool {
        self.answered.swap(false, Ordering::AcqRel)
    }

    /// Wakes the actor so that it looks at the queue.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// The connection is in a room now.
    pub fn sit(&self, room: RoomId, user: UserName) {
        self.seats().insert(room, user);
    }

    /// The connection is out of a room.
    pub fn stand(&self, room: &RoomId) {
        self.seats().remove(room);
    }

    /// The name under which the connection is in a room.
    #[must_use]
    pub fn user_in(&self, room: &RoomId) -> Option<UserName> {
        self.seats().get(room).cloned()
    }

    /// In how many rooms the connection is.
    #[must_use]
    pub fn room_count(&self) -> usize {
        self.seats().len()
    }

    fn take_seats(&self) -> BTreeMap<RoomId, UserName> {
        std::mem::take(&mut *self.seats())
    }

    fn seats(&self) -> std::sync::MutexGuard<'_, BTreeMap<RoomId, UserName>> {
        // A panic elsewhere cannot leave a map half changed.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
