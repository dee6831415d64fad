//! The client side of both dialects, shared by the line client, the load tool and the tests.
//!
//! * [`ResumingClient`] a session of the extended dialect that outlives connections and nodes: nothing is missed, each
//!   send happens once; [`session`] is the same without I/O;
//! * [`Connection`] typed requests with typed answers, and a bounded stream of [`Event`]s; one task per connection;
//! * [`RawConnection`] frames as they are, without a task, for load and for tests of bad input;
//! * [`new_message`] reads the one frame that matters without building anything;
//! * [`policy`] whether and when to come back after a close;
//! * [`RoomView`] shows each message of a room once, also over a reconnect.

mod answer;
mod connection;
mod event;
mod frame;
pub mod new_message;
mod options;
pub mod policy;
mod raw;
pub mod request;
mod resuming;
mod room_view;
pub mod session;
mod unique_id;

pub use answer::{Created, GlobalRooms, Joined, Left, RoomSummary, RoomsList, Sent};
pub use connection::{Connection, Events, RequestError};
pub use event::{Closed, Event, MemberChange, NewMessage};
pub use frame::{Frame, Refusal, decode};
pub use options::{ConnectError, ConnectOptions};
pub use raw::{QueueError, RawConnection, RawFrame, Text, check_address};
pub use resuming::{AskError, Ended, ResumingClient, ResumingOptions, SendError, SentOnce};
pub use room_view::{RoomView, Seen};
pub use session::{Session, SessionEvent};
pub use unique_id::unique_id;
