//! Everything that reaches the room as a member node sees it.

use super::deletion::DeletionInput;
use crate::effect::{Answer, Origin, Terms};
use chat_protocol::ids::{ClientMsgId, Epoch, Generation, Seq, SessionId, UserName};
use chat_protocol::message_frame::MessageFrame;
use chat_protocol::peer_call::Range;
use chat_protocol::server_frame::MemberEvent;
use std::sync::Arc;

/// What can happen to a followed room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A connection here wants in.
    Join {
        /// Whom to answer.
        origin: Origin,
        /// Under which name.
        user: UserName,
        /// How.
        terms: Terms,
    },
    /// A connection here wants out.
    Leave {
        /// Whom to answer.
        origin: Origin,
        /// Under which name.
        user: UserName,
    },
    /// A connection here is gone.
    Closed(SessionId),
    /// A connection here has something to say.
    Send {
        /// Whom to answer.
        origin: Origin,
        /// Under which name.
        user: UserName,
        /// What.
        content: Arc<str>,
        /// Recognises a repeat.
        client_msg_id: ClientMsgId,
    },
    /// A page was taken; see [`crate::room::Input::PageSent`].
    PageSent {
        /// Which connection.
        session: SessionId,
        /// Where the page began.
        from: Seq,
        /// Where it ended.
        next: Seq,
    },
    /// A page could not be read.
    PageFailed {
        /// Which connection.
        session: SessionId,
        /// Where it should have begun.
        from: Seq,
    },
    /// A live connection could not take the delivery from `next` on.
    Lagged {
        /// Which connection.
        session: SessionId,
        /// What it has not got.
        next: Seq,
    },
    /// The admin node answered a request; request 0 answers an announcement of seats.
    Answered {
        /// Which request.
        request: u64,
        /// How.
        answer: Answer,
    },
    /// The admin node delivered consecutive messages.
    Delivered {
        /// Which life of the numbering.
        generation: Generation,
        /// Under which tenure.
        epoch: Epoch,
        /// The messages.
        frames: Vec<MessageFrame>,
    },
    /// The admin node says where the room stands.
    Head {
        /// Which life of the numbering.
        generation: Generation,
        /// Under which tenure.
        epoch: Epoch,
        /// The last committed message.
        head: Seq,
    },
    /// The log of the admin node ended here when it was asked. Deliveries may be on their way, so only a tail that is
    /// still missing when the next answer comes is a hole.
    Tail(Seq),
    /// The admin node says that somebody came or went.
    Member(MemberEvent),
    /// The seat of a connection here went to another one.
    Unseated(SessionId),
    /// A page could not be read from where it should have begun; see [`crate::room::Input::PageTrimmed`].
    PageTrimmed {
        /// Which connection.
        session: SessionId,
        /// Where the page should have begun.
        from: Seq,
        /// Where it can begin.
        floor: Seq,
    },
    /// A range came back, or could not be read.
    RangeRead(Result<Range, String>),
    /// The link to the admin node lost something, or the admin node is another life: nothing sent before is certain.
    AdminReset,
    /// The admin node failed: it may be back any moment, but now it does not answer.
    AdminFailed,
    /// The admin node answers again.
    AdminBack,
    /// A connection here wants the room to be deleted.
    Delete {
        /// Whom to answer.
        origin: Origin,
        /// Who wants it.
        user: UserName,
    },
    /// Something about the room's deletion.
    Deletion(DeletionInput),
}
