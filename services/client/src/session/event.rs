//! What a session says: to its driver, and to the application.

use crate::answer::Joined;
use crate::event::{MemberChange, NewMessage};
use crate::frame::{Frame, Refusal};

/// Something that happened, for the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionEvent {
    /// The next message of a room.
    Message(NewMessage),
    /// Somebody came into a room.
    MemberJoined(MemberChange),
    /// Somebody went. With the own name: the user was removed, and the session is about to join again.
    MemberLeft(MemberChange),
    /// The session is in a room: for the first time, or again on a new connection.
    Joined {
        /// The room, and who is in it now.
        room: Joined,
        /// True if nobody heard that it was gone.
        resumed: bool,
    },
    /// The session is not in the room, and trying again is useless; the room may have been deleted.
    JoinRefused {
        /// Which room.
        room_id: String,
        /// Why.
        refusal: Refusal,
    },
    /// Messages of the room are missing for good: the next one has the number `from`.
    Resynced {
        /// Which room.
        room_id: String,
        /// The next number.
        from: u64,
        /// Why.
        reason: String,
    },
    /// The node sent a message that this session has, or left some out. The application is spared both: what is known is
    /// not given out again, and for what is missing the session comes back. A node that keeps its promises does neither.
    Irregular {
        /// Which room.
        room_id: String,
        /// The number that was due.
        due: u64,
        /// The number that came.
        came: u64,
    },
    /// A send is done.
    Sent {
        /// As given to [`super::Session::send`].
        ticket: u64,
        /// Its number.
        seq: u64,
        /// Its id.
        message_id: String,
        /// True if an earlier attempt had put it there.
        duplicate: bool,
    },
    /// A send will never be done.
    SendRefused {
        /// As given to [`super::Session::send`].
        ticket: u64,
        /// Why.
        refusal: Refusal,
    },
    /// The answer to a question.
    Answered {
        /// As given to [`super::Session::ask`].
        ticket: u64,
        /// Good or bad.
        answer: Frame,
    },
    /// The connection ended before a question was answered. Whether the node did what was asked is not known.
    Unanswered {
        /// As given to [`super::Session::ask`].
        ticket: u64,
    },
    /// The admin node of a room does not answer (true), or does again.
    Degraded {
        /// Which room.
        room_id: String,
        /// True while it lasts.
        degraded: bool,
    },
    /// There is no connection, and another attempt follows.
    Reconnecting {
        /// Where the last one was, and why it ended or did not come about.
        why: String,
    },
    /// Anything else that came, as it came.
    Other(String),
}

/// What the driver has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this text.
    Send(String),
    /// Tell the application.
    Event(SessionEvent),
    /// Leave this connection, for this reason, and come back on another one.
    Reconnect(String),
    /// The node does not speak this dialect, or refused the greeting, with this text: coming back is useless.
    Refused(String),
}
