//! A client's connection: a small shared handle and a private actor.
//!
//! The handle is what rooms know: where to put bytes, and how to say that the request is answered. The actor owns the
//! reading side, the timers and the order of requests. Rooms never wait for it, and it never waits for a peer.

pub mod actor;
pub mod inbound;
pub mod intake;
pub mod io;
pub mod keepalive;
pub mod outbound;
pub mod pace;
pub mod registry;
pub mod resume;

use bytes::Bytes;
use chat_protocol::client_frame::RequestId;
use chat_protocol::codec;
use chat_protocol::ids::{RoomId, SeatKey, SessionId, UserName};
use chat_protocol::server_frame::{ExtendedFrame, Extra, ServerFrame};
use intake::Intake;
use outbound::Outbound;
use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use tokio::sync::Notify;

/// What the rest of the node knows of a connection.
#[derive(Debug)]
pub struct Session {
    /// Which connection.
    pub id: SessionId,
    /// Where its bytes go.
    pub outbound: Outbound,
    /// What it has sent and is not handled yet.
    pub intake: Intake,
    /// Rooms in which it is seated, and under which name. Written by the room when it subscribes the connection, read
    /// by the actor; the room is the authority.
    seats: Mutex<BTreeMap<RoomId, UserName>>,
    /// Set once, by `hello`, before anything else is asked.
    extended: OnceLock<Extended>,
    wake: Notify,
}

/// What `hello` said.
#[derive(Debug)]
pub struct Extended {
    /// Under which name everything on this connection happens.
    pub user: UserName,
    /// By what its seats are recognised.
    pub key: SeatKey,
}

impl Session {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(id: SessionId, outbound: Outbound, intake: Intake) -> Self {
        Self {
            id,
            outbound,
            intake,
            seats: Mutex::default(),
            extended: OnceLock::new(),
            wake: Notify::new(),
        }
    }

    /// What `hello` said; `None` for a classic connection.
    #[must_use]
    pub fn extended(&self) -> Option<&Extended> {
        self.extended.get()
    }

    /// For whom the connection speaks; `None` for a classic one.
    #[must_use]
    pub fn user(&self) -> Option<&UserName> {
        self.extended().map(|extended| &extended.user)
    }

    /// True if the connection speaks the extended dialect.
    #[must_use]
    pub fn is_extended(&self) -> bool {
        self.extended.get().is_some()
    }

    /// The connection said `hello`. It can do so once.
    fn greet(&self, extended: Extended) {
        // The actor asks first, and is alone.
        drop(self.extended.set(extended));
    }

    /// `frame` as this connection understands it: what a classic one must not see is left out.
    #[must_use]
    pub fn encode(&self, re: Option<&RequestId>, frame: &ServerFrame, extra: &Extra) -> Bytes {
        if !self.is_extended() {
            return codec::encode(frame);
        }
        codec::encode_extended(ExtendedFrame { re, frame, extra })
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
