//! Names and numbers, each of its own type: parsed once at the edge, trusted afterwards.
//!
//! Texts are reference counted (`Arc<str>`), because one room id stands in a frame, a map key, an effect and a store
//! call at the same time. Numbers are plain `u64`s with a name.

use crate::limits::{MAX_CLIENT_MSG_ID_BYTES, MAX_ID_BYTES, MAX_INCARNATION, MAX_NAME_CHARS};
use crate::text;
use std::fmt;
use std::sync::Arc;

/// Why a text is no valid name or id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidText {
    /// It has no character.
    Empty,
    /// It has more than this many units (code points of names, bytes of ids).
    TooLong(usize),
    /// It holds a character that XML 1.0 cannot carry, or, in an id that must be ASCII, anything else.
    Forbidden,
}

impl fmt::Display for InvalidText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::TooLong(max) => write!(f, "is too long (max {max} characters)"),
            Self::Forbidden => f.write_str("contains forbidden characters"),
        }
    }
}

impl std::error::Error for InvalidText {}

fn checked_name(text: &str) -> Result<Arc<str>, InvalidText> {
    if text.is_empty() {
        Err(InvalidText::Empty)
    } else if text.chars().nth(MAX_NAME_CHARS).is_some() {
        Err(InvalidText::TooLong(MAX_NAME_CHARS))
    } else if text::first_forbidden(text).is_some() {
        Err(InvalidText::Forbidden)
    } else {
        Ok(Arc::from(&*text::normalise_newlines(text)))
    }
}

fn checked_id(text: &str) -> Result<Arc<str>, InvalidText> {
    if text.is_empty() {
        Err(InvalidText::Empty)
    } else if text.len() > MAX_ID_BYTES {
        Err(InvalidText::TooLong(MAX_ID_BYTES))
    } else if text::first_forbidden(text).is_some() || text.contains('\r') {
        Err(InvalidText::Forbidden)
    } else {
        Ok(Arc::from(text))
    }
}

fn checked_client_msg_id(text: &str) -> Result<Arc<str>, InvalidText> {
    if text.is_empty() {
        Err(InvalidText::Empty)
    } else if text.len() > MAX_CLIENT_MSG_ID_BYTES {
        Err(InvalidText::TooLong(MAX_CLIENT_MSG_ID_BYTES))
    } else if !text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        Err(InvalidText::Forbidden)
    } else {
        Ok(Arc::from(text))
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and keeps it.
            ///
            /// # Errors
            /// [`InvalidText`] says what is wrong with it.
            pub fn parse(text: &str) -> Result<Self, InvalidText> {
                $check(text).map(Self)
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// Who speaks, as the client states it: 1 to [`MAX_NAME_CHARS`] code points. A member of a room is a user name.
    UserName, checked_name
}
text_id! {
    /// What people call a room: 1 to [`MAX_NAME_CHARS`] code points, unique among the rooms that one node created.
    RoomName, checked_name
}
text_id! {
    /// Which room, for ever: 1 to [`MAX_ID_BYTES`] bytes. A random UUID if one of our nodes made it; opaque otherwise.
    RoomId, checked_id
}
text_id! {
    /// Which node, over all its lives: 1 to [`MAX_ID_BYTES`] bytes, the pod name on Kubernetes.
    NodeId, checked_id
}
text_id! {
    /// Which cluster: 1 to [`MAX_ID_BYTES`] bytes. Nodes of two clusters have nothing to say to each other.
    ClusterId, checked_id
}
text_id! {
    /// Which message, for ever: 1 to [`MAX_ID_BYTES`] bytes.
    MessageId, checked_id
}
text_id! {
    /// Which sending, chosen by whoever might repeat it: 1 to [`MAX_CLIENT_MSG_ID_BYTES`] bytes of printable ASCII.
    ClientMsgId, checked_client_msg_id
}

text_id! {
    /// Which attempt to delete a room: 1 to [`MAX_ID_BYTES`] bytes. Each attempt has its own, whatever becomes of it.
    TransactionId, checked_id
}

text_id! {
    /// What a seat is recognised by when its session comes back on another connection: made from the resume token, which
    /// it does not reveal.
    SeatKey, checked_id
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number_id! {
    /// The number of a message in its room: 1, 2, 3, … without a hole, given by the admin node alone.
    Seq
}
impl Seq {
    /// The number before the first message.
    pub const ZERO: Self = Self(0);

    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

number_id! {
    /// Which tenure of a room's ownership. It rises with every claim; the store refuses appends of a lower one.
    Epoch
}
number_id! {
    /// Which life of a room's numbering. A changed generation makes every remembered position void.
    Generation
}
number_id! {
    /// Which life of a node: max(stored + 1, Unix milliseconds at start), so that it rises even on an empty disk.
    Incarnation
}
number_id! {
    /// Which connection of a client, unique over all lives of one node: the numbers of a life begin at
    /// [`SessionId::first_of`] it.
    SessionId
}

const _: () = assert!(MAX_INCARNATION <= i64::MAX as u64 >> SessionId::PER_MILLISECOND);

impl SessionId {
    /// Bits for the connections of one millisecond of a life, which is far more than there can be. A number stays below 63.
    const PER_MILLISECOND: u32 = 20;

    /// The first number of a connection in a life of a node. No connection of an earlier life has it or a later one.
    #[must_use]
    pub const fn first_of(life: Incarnation) -> Self {
        Self(life.0 << Self::PER_MILLISECOND)
    }
}

/// How the ids of rooms begin that belong to a node and not to its users.
const CANARY: &str = "canary-";

impl RoomId {
    /// The hidden room in which a node's messages to itself, and those of others to it, show that it works. `None` if the id of the
    /// node is too long for one.
    #[must_use]
    pub fn canary_of(node: &NodeId) -> Option<Self> {
        Self::parse(&format!("{CANARY}{node}")).ok()
    }

    /// True for a room that is in no list. No room that a user creates is: their ids are UUIDs.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.as_str().starts_with(CANARY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_count_code_points_and_ids_count_bytes() {
        assert!(UserName::parse(&"ä".repeat(MAX_NAME_CHARS)).is_ok());
        assert_eq!(
            UserName::parse(&"ä".repeat(MAX_NAME_CHARS + 1)),
            Err(InvalidText::TooLong(MAX_NAME_CHARS))
        );
        assert_eq!(
            RoomId::parse(&"ä".repeat(MAX_ID_BYTES)),
            Err(InvalidText::TooLong(MAX_ID_BYTES))
        );
        assert_eq!(RoomId::parse(""), Err(InvalidText::Empty));
        assert_eq!(NodeId::parse("a\u{1}"), Err(InvalidText::Forbidden));
        assert_eq!(ClientMsgId::parse("naïve"), Err(InvalidText::Forbidden));
    }

    #[test]
    fn a_name_is_normalised_like_every_text() {
        assert_eq!(RoomName::parse("a\r\nb").expect("valid").as_str(), "a\nb");
    }
}
