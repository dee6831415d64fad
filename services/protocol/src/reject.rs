//! Refusal codes: what a client or a peer is told when a request fails, with the exact texts of the classic dialect.

use crate::deletion::Phase;
use crate::limits::MAX_CONTENT_CHARS;

/// Declares the codes with their list, so that there is no code that is not in it.
macro_rules! codes {
    ($($(#[$meaning:meta])* $name:ident = $text:literal,)*) => {
        /// The `error_code` of a refusal. A text that is here once is never changed: clients look for it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[$meaning])* $name,)*
        }

        impl Code {
            /// All of them, in the order of their declaration.
            pub const ALL: [Self; [$($text),*].len()] = [$(Self::$name),*];

            /// The `error_code` on the wire.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

codes! {
    /// The request is malformed, or not for this connection to make.
    InvalidRequest = "INVALID_REQUEST",
    /// The content cannot be said.
    InvalidContent = "INVALID_CONTENT",
    /// The connection is not in the room.
    NotMember = "NOT_MEMBER",
    /// A `client_msg_id` was used before for another content.
    ClientMsgIdConflict = "CLIENT_MSG_ID_CONFLICT",
    /// No node has the room.
    RoomNotFound = "ROOM_NOT_FOUND",
    /// The node of the room does not answer.
    AdminNodeUnavailable = "ADMIN_NODE_UNAVAILABLE",
    /// Somebody else may ask for this.
    Unauthorized = "UNAUTHORIZED",
    /// The room is being deleted.
    InvalidState = "INVALID_STATE",
    /// A deletion was given up.
    DeletionFailed = "DELETION_FAILED",
    /// This node cannot, for now.
    InternalError = "INTERNAL_ERROR",
    /// `hello` asks for a protocol that this node does not speak.
    UnsupportedProtocol = "UNSUPPORTED_PROTOCOL",
    /// Too many requests of the session are under way.
    TooManyRequests = "TOO_MANY_REQUESTS",
}

/// Why a join, a send, a leave or a deletion was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reject {
    /// `room_id` or `username` is absent or empty.
    MissingIds,
    /// A field is of the wrong type, too long or holds a forbidden character; the text names it.
    InvalidField(String),
    /// The connection already speaks for another user in this room.
    OtherUser,
    /// The request names another user than `hello` did.
    OtherName,
    /// The content is absent or empty.
    EmptyContent,
    /// The content has more than [`MAX_CONTENT_CHARS`] code points.
    ContentTooLong,
    /// The content is no string or holds a character that not every path can carry; the text says which.
    InvalidContent(String),
    /// The connection is not in the room.
    NotMember,
    /// The admin node does not know the user as a member although the connection is subscribed.
    NotAdded,
    /// No node has the room, and every known node was asked.
    RoomNotFound,
    /// The admin node of the room is down, unknown or did not answer.
    AdminUnavailable,
    /// The admin node was asked and failed; the text says how.
    AdminFailed(String),
    /// The `client_msg_id` was used before for another content.
    IdConflict,
    /// Only who created the room may delete it.
    Unauthorized,
    /// The room is being deleted; the text says what that forbids.
    InvalidState(String),
    /// A deletion could not begin.
    DeletionNotStarted,
    /// A deletion was begun and given up; the text says why. The room stays.
    DeletionFailed(String),
    /// A bound of this node is reached; the same request may succeed later.
    Busy,
    /// Something else; the text is for people.
    Internal(String),
}

impl Reject {
    /// A second deletion of a room, of which the first is in `phase`.
    #[must_use]
    pub fn deleted_already(phase: Phase) -> Self {
        Self::InvalidState(format!("Room is in {} state, cannot delete", phase.room_state()))
    }

    /// A join or a send that has waited too long for the end of a deletion.
    #[must_use]
    pub fn being_deleted() -> Self {
        Self::InvalidState("Room is being deleted, try again".into())
    }

    /// What it counts as.
    #[must_use]
    pub const fn kind(&self) -> Code {
        match self {
            Self::MissingIds | Self::InvalidField(_) | Self::OtherUser | Self::OtherName => Code::InvalidRequest,
            Self::EmptyContent | Self::ContentTooLong | Self::InvalidContent(_) => Code::InvalidContent,
            Self::NotMember => Code::NotMember,
            Self::IdConflict => Code::ClientMsgIdConflict,
            Self::RoomNotFound => Code::RoomNotFound,
            Self::AdminUnavailable | Self::AdminFailed(_) => Code::AdminNodeUnavailable,
            Self::Unauthorized => Code::Unauthorized,
            Self::InvalidState(_) => Code::InvalidState,
            Self::DeletionFailed(_) => Code::DeletionFailed,
            Self::NotAdded | Self::DeletionNotStarted | Self::Busy | Self::Internal(_) => Code::InternalError,
        }
    }

    /// The `error_code` on the wire.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.kind().text()
    }

    /// The `error` text on the wire.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::MissingIds => "Missing room_id or username".into(),
            Self::OtherUser => "This connection is in the room under another name".into(),
            Self::OtherName => "This session speaks for another user".into(),
            Self::EmptyContent => "Message content cannot be empty".into(),
            Self::ContentTooLong => format!("Message content too long (max {MAX_CONTENT_CHARS} characters)"),
            Self::NotMember => "You are not a member of this room".into(),
            Self::IdConflict => "This client_msg_id was used for another content".into(),
            Self::NotAdded => "Failed to add message".into(),
            Self::RoomNotFound => "Room not found".into(),
            Self::AdminUnavailable => "Administrator node unavailable".into(),
            Self::AdminFailed(detail) => format!("Failed to contact administrator node: {detail}"),
            Self::Unauthorized => "Only the room creator can delete the room".into(),
            Self::DeletionNotStarted => "Failed to start deletion transaction".into(),
            Self::Busy => "Too many requests are waiting, try again".into(),
            Self::InvalidField(text)
            | Self::InvalidContent(text)
            | Self::InvalidState(text)
            | Self::DeletionFailed(text)
            | Self::Internal(text) => text.clone(),
        }
    }
}
