//! What a link between two of our nodes carries.
//!
//! An item is an XML-RPC struct of three or four strings: its kind, its room, its fields as one JSON text, and, for a
//! delivery, the encoded frames as one text. So XML is parsed once per item and not once per field, and a message is
//! encoded once per cluster. A fifth member, which few items have, says to which traces its messages belong; a node that does not
//! know it leaves it alone.

mod traces;
mod wire;

use crate::ids::{ClientMsgId, Epoch, Generation, MessageId, RoomId, SeatKey, Seq, SessionId, UserName};
use crate::message_frame::MessageFrame;
use crate::peer_xml::written_len;
use crate::reject::Reject;
use crate::server_frame::{MemberEvent, RoomInfo};
use crate::timestamp::Timestamp;
use dxr::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

mod deletion;

pub use deletion::DeletionItem;
pub use traces::Traced;

/// One item, about one room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerItem {
    /// Which room.
    pub room: RoomId,
    /// What about it.
    pub body: PeerBody,
    /// To which traces its messages belong: nearly always none.
    pub traces: Vec<Traced>,
}

/// What an item says. The first four go to the admin node of the room, the others come from it, but for the last three.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerBody {
    /// A connection wants in.
    Join {
        /// Comes back in the answer.
        request: u64,
        /// Which connection of the sending node.
        session: SessionId,
        /// Under which name.
        user: UserName,
        /// By what its seat is recognised if it comes back.
        key: Option<SeatKey>,
    },
    /// A connection is out.
    Leave {
        /// Which connection of the sending node.
        session: SessionId,
        /// Under which name.
        user: UserName,
        /// True if the socket closed, false if the user asked.
        closed: bool,
    },
    /// A message to number.
    Forward {
        /// Comes back in the answer.
        request: u64,
        /// Which connection of the sending node.
        session: SessionId,
        /// Who says it.
        user: UserName,
        /// What.
        content: Arc<str>,
        /// Recognises a repeat.
        client_msg_id: ClientMsgId,
    },
    /// All connections of the sending node in the room.
    Seats(Vec<AnnouncedSeat>),
    /// The answer to a join, or with request 0 to an announcement of seats.
    Joined {
        /// To which request.
        request: u64,
        /// The room at that moment.
        info: RoomInfo,
        /// Which life of the numbering.
        generation: Generation,
        /// Which tenure.
        epoch: Epoch,
        /// The last committed message.
        head: Seq,
        /// The first message that is kept.
        floor: Seq,
        /// Counts the changes of the roster.
        version: u64,
        /// True if the seat of an earlier connection was kept.
        resumed: bool,
    },
    /// A join, or an announcement, was refused.
    JoinRefused {
        /// To which request.
        request: u64,
        /// Why.
        reject: Reject,
    },
    /// A forwarded message is committed.
    Sent {
        /// To which request.
        request: u64,
        /// Which message.
        message_id: MessageId,
        /// Its place.
        seq: Seq,
        /// When it was accepted.
        timestamp: Timestamp,
        /// True if an earlier sending put it there.
        duplicate: bool,
    },
    /// A forwarded message was refused.
    SendRefused {
        /// To which request.
        request: u64,
        /// Why.
        reject: Reject,
        /// True if nobody knows whether it will be in the room.
        unknown: bool,
    },
    /// The seat of a connection went to another one.
    Unseat {
        /// Which connection of the receiving node.
        session: SessionId,
    },
    /// Consecutive messages.
    Deliver {
        /// Which life of the numbering.
        generation: Generation,
        /// Which tenure.
        epoch: Epoch,
        /// The messages.
        frames: Vec<MessageFrame>,
    },
    /// Somebody came or went.
    Member(MemberEvent),
    /// Where the room stands.
    Head {
        /// Which life of the numbering.
        generation: Generation,
        /// Which tenure.
        epoch: Epoch,
        /// The last committed message.
        head: Seq,
    },
    /// Something about the room's deletion, in either direction.
    Deletion(DeletionItem),
    /// In a room of an original node: is this name in it because of a connection of yours? Member nodes ask each other.
    Inquiry {
        /// Comes back in the answer.
        question: u64,
        /// Which name.
        user: UserName,
    },
    /// The answer to an inquiry.
    Holds {
        /// To which question.
        question: u64,
        /// True if so: then it is for the answering node to say when the name is gone.
        holds: bool,
    },
}

/// One connection in an announcement of seats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnouncedSeat {
    /// Which connection of the sending node.
    pub session: SessionId,
    /// Under which name.
    pub user: UserName,
    /// By what its seat is recognised if it comes back.
    pub key: Option<SeatKey>,
}

/// Most bytes of an item without its texts: tags, keys and numbers.
const AROUND: usize = 600;

/// The value is no item, or one of a kind that this release does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnItem;

impl PeerItem {
    /// An item that belongs to no trace.
    #[must_use]
    pub const fn new(room: RoomId, body: PeerBody) -> Self {
        Self {
            room,
            body,
            traces: Vec::new(),
        }
    }

    /// Most bytes that the item takes in a call, escapes and all: calls are filled by this, and a call that its receiver
    /// finds too long would be sent for ever.
    #[must_use]
    pub fn size(&self) -> usize {
        let body = match &self.body {
            PeerBody::Join { user, key, .. } => in_fields(user.as_str()) + in_fields_if(key.as_ref()),
            PeerBody::Leave { user, .. } | PeerBody::Inquiry { user, .. } => in_fields(user.as_str()),
            PeerBody::Forward {
                user,
                content,
                client_msg_id,
                ..
            } => in_fields(user.as_str()) + in_fields(content) + in_fields(client_msg_id.as_str()),
            PeerBody::Seats(seats) => seats.iter().map(AnnouncedSeat::size).sum(),
            PeerBody::Joined { info, .. } => {
                let members = info.members.iter().map(|member| in_fields(member.as_str()) + 3);
                let texts = [info.room_name.as_str(), info.admin_node.as_str()];
                let texts = texts.into_iter().chain(info.description.as_deref()).map(in_fields);
                members.chain(texts).sum()
            }
            PeerBody::JoinRefused { reject, .. } | PeerBody::SendRefused { reject, .. } => in_fields(&reject.text()),
            PeerBody::Sent { message_id, .. } => in_fields(message_id.as_str()),
            PeerBody::Deliver { frames, .. } => frames.iter().map(|frame| written_len(frame.payload()) + 1).sum(),
            PeerBody::Member(event) => in_fields(event.username.as_str()),
            PeerBody::Unseat { .. } | PeerBody::Head { .. } | PeerBody::Holds { .. } => 0,
            PeerBody::Deletion(item) => item.size(),
        };
        body + traces::size(&self.traces) + written_len(self.room.as_str()) + AROUND
    }

    /// As an XML-RPC value.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let (wire, frames) = self.body.to_wire();
        let fields = wire::with_kind(&wire);
        let mut members = BTreeMap::from([
            ("room".to_owned(), Value::String(self.room.to_string())),
            ("fields".to_owned(), Value::String(fields)),
        ]);
        if let Some(frames) = frames {
            members.insert("frames".to_owned(), Value::String(frames));
        }
        if let Some(traces) = traces::write(&self.traces) {
            members.insert(traces::MEMBER.to_owned(), Value::String(traces));
        }
        Value::Struct(members)
    }

    /// From an XML-RPC value.
    ///
    /// # Errors
    /// [`NotAnItem`], also for kinds that this release does not know.
    pub fn from_value(value: &Value) -> Result<Self, NotAnItem> {
        let Value::Struct(members) = value else {
            return Err(NotAnItem);
        };
        let text = |name: &str| match members.get(name) {
            Some(Value::String(text)) => Ok(text.as_str()),
            _ => Err(NotAnItem),
        };
        let room = RoomId::parse(text("room")?).map_err(|_| NotAnItem)?;
        let wire = wire::read_fields(text("fields")?)?;
        let body = PeerBody::from_wire(&room, wire, members.get("frames").map(|_| text("frames")).transpose()?)?;
        let traces = text(traces::MEMBER).map_or_else(|_| Vec::new(), |text| traces::read(text, &body));
        Ok(Self { room, body, traces })
    }
}

impl AnnouncedSeat {
    fn size(&self) -> usize {
        // A number of 20 digits, brackets, quotes and commas.
        in_fields(self.user.as_str()) + in_fields_if(self.key.as_ref()) + 40
    }
}

/// Bytes of a text in the fields of an item: as JSON, and that as XML.
fn in_fields(text: &str) -> usize {
    let escapes = |char| matches!(char, '"' | '\\' | '\n' | '\t' | '\r');
    written_len(text) + text.chars().filter(|char| escapes(*char)).count()
}

fn in_fields_if(key: Option<&SeatKey>) -> usize {
    key.map_or(0, |key| in_fields(key.as_str()))
}

/// Payloads of frames as one text. JSON escapes line feeds, so one stands between two frames only.
#[must_use]
pub fn join_frames(frames: &[MessageFrame]) -> String {
    let mut out = String::with_capacity(frames.iter().map(|f| f.len() + 1).sum());
    for (i, frame) in frames.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        out.push_str(frame.payload());
    }
    out
}

/// The reverse of [`join_frames`].
///
/// # Errors
/// [`NotAnItem`] if a line is no frame.
pub fn split_frames(text: &str) -> Result<Vec<MessageFrame>, NotAnItem> {
    text.split('\n')
        .filter(|line| !line.is_empty())
        .map(|line| MessageFrame::from_payload(line).map_err(|_| NotAnItem))
        .collect()
}
