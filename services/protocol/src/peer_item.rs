//! What a link between two of our nodes carries.
//!
//! An item is an XML-RPC struct of three or four strings: its kind, its room, its fields as one JSON text, and, for a
//! delivery, the encoded frames as one text. So XML is parsed once per item and not once per field, and a message is
//! encoded once per cluster.

use crate::ids::{
    ClientMsgId, Epoch, Generation, MessageId, NodeId, RoomId, RoomName, SeatKey, Seq, SessionId, UserName,
};
use crate::message_frame::MessageFrame;
use crate::reject::Reject;
use crate::server_frame::{LeaveReason, MemberEvent, RoomInfo};
use crate::timestamp::Timestamp;
use dxr::Value;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One item, about one room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerItem {
    /// Which room.
    pub room: RoomId,
    /// What about it.
    pub body: PeerBody,
}

/// What an item says. The first four go to the admin node of the room, the others come from it.
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

/// The value is no item, or one of a kind that this release does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnItem;

/// Fields as they are written. Times are microseconds.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Wire {
    Join {
        request: u64,
        session: u64,
        user: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    Leave {
        session: u64,
        user: String,
        closed: bool,
    },
    Forward {
        request: u64,
        session: u64,
        user: String,
        content: String,
        id: String,
    },
    Seats {
        seats: Vec<(u64, String, Option<String>)>,
    },
    Joined {
        request: u64,
        info: WireInfo,
        generation: u64,
        epoch: u64,
        head: u64,
        floor: u64,
        version: u64,
        resumed: bool,
    },
    JoinRefused {
        request: u64,
        code: String,
        text: String,
    },
    Sent {
        request: u64,
        id: String,
        seq: u64,
        time: i64,
        duplicate: bool,
    },
    SendRefused {
        request: u64,
        code: String,
        text: String,
        unknown: bool,
    },
    Unseat {
        session: u64,
    },
    Deliver {
        generation: u64,
        epoch: u64,
    },
    Member {
        user: String,
        count: u32,
        time: i64,
        came: bool,
        reason: Option<String>,
        version: u64,
    },
    Head {
        generation: u64,
        epoch: u64,
        head: u64,
    },
}

#[derive(Serialize, Deserialize)]
struct WireInfo {
    name: String,
    description: Option<String>,
    members: Vec<String>,
    admin: String,
}

impl PeerItem {
    /// About how many bytes the item takes in a call, escaping left out.
    #[must_use]
    pub fn size(&self) -> usize {
        let body = match &self.body {
            PeerBody::Forward { content, .. } => content.len(),
            PeerBody::Deliver { frames, .. } => frames.iter().map(|f| f.len() + 1).sum(),
            PeerBody::Joined { info, .. } => info.members.iter().map(|m| m.as_str().len() + 3).sum(),
            PeerBody::Seats(seats) => seats.iter().map(|seat| seat.user.as_str().len() + 70).sum(),
            _ => 0,
        };
        body + 400
    }

    /// As an XML-RPC value.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let (wire, frames) = self.body.to_wire();
        // A struct of strings and numbers is always JSON.
        let fields = serde_json::to_string(&wire).unwrap_or_default();
        let mut members = BTreeMap::from([
            ("room".to_owned(), Value::String(self.room.to_string())),
            ("fields".to_owned(), Value::String(fields)),
        ]);
        if let Some(frames) = frames {
            members.insert("frames".to_owned(), Value::String(frames));
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
        let wire: Wire = serde_json::from_str(text("fields")?).map_err(|_| NotAnItem)?;
        let body = PeerBody::from_wire(&room, wire, members.get("frames").map(|_| text("frames")).transpose()?)?;
        Ok(Self { room, body })
    }
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

impl PeerBody {
    fn to_wire(&self) -> (Wire, Option<String>) {
        let wire = match self {
            Self::Join {
                request,
                session,
                user,
                key,
            } => Wire::Join {
                request: *request,
                session: session.0,
                user: user.to_string(),
                key: key.as_ref().map(ToString::to_string),
            },
            Self::Leave { session, user, closed } => Wire::Leave {
                session: session.0,
                user: user.to_string(),
                closed: *closed,
            },
            Self::Forward {
                request,
                session,
                user,
                content,
                client_msg_id,
            } => Wire::Forward {
                request: *request,
                session: session.0,
                user: user.to_string(),
                content: content.to_string(),
                id: client_msg_id.to_string(),
            },
            Self::Seats(seats) => Wire::Seats {
                seats: seats
                    .iter()
                    .map(|seat| {
                        (
                            seat.session.0,
                            seat.user.to_string(),
                            seat.key.as_ref().map(ToString::to_string),
                        )
                    })
                    .collect(),
            },
            Self::Joined {
                request,
                info,
                generation,
                epoch,
                head,
                floor,
                version,
                resumed,
            } => Wire::Joined {
                request: *request,
                info: WireInfo {
                    name: info.room_name.to_string(),
                    description: info.description.as_deref().map(str::to_owned),
                    members: info.members.iter().map(ToString::to_string).collect(),
                    admin: info.admin_node.to_string(),
                },
                generation: generation.0,
                epoch: epoch.0,
                head: head.0,
                floor: floor.0,
                version: *version,
                resumed: *resumed,
            },
            Self::JoinRefused { request, reject } => Wire::JoinRefused {
                request: *request,
                code: reject.code().into(),
                text: reject.text(),
            },
            Self::Sent {
                request,
                message_id,
                seq,
                timestamp,
                duplicate,
            } => Wire::Sent {
                request: *request,
                id: message_id.to_string(),
                seq: seq.0,
                time: timestamp.0,
                duplicate: *duplicate,
            },
            Self::SendRefused {
                request,
                reject,
                unknown,
            } => Wire::SendRefused {
                request: *request,
                code: reject.code().into(),
                text: reject.text(),
                unknown: *unknown,
            },
            Self::Unseat { session } => Wire::Unseat { session: session.0 },
            Self::Deliver {
                generation,
                epoch,
                frames,
            } => {
                let wire = Wire::Deliver {
                    generation: generation.0,
                    epoch: epoch.0,
                };
                return (wire, Some(join_frames(frames)));
            }
            Self::Member(event) => Wire::Member {
                user: event.username.to_string(),
                count: event.member_count,
                time: event.timestamp.0,
                came: event.left.is_none(),
                reason: event.left.and_then(LeaveReason::text).map(str::to_owned),
                version: event.version,
            },
            Self::Head {
                generation,
                epoch,
                head,
            } => Wire::Head {
                generation: generation.0,
                epoch: epoch.0,
                head: head.0,
            },
        };
        (wire, None)
    }

    fn from_wire(room: &RoomId, wire: Wire, frames: Option<&str>) -> Result<Self, NotAnItem> {
        let user = |text: &str| UserName::parse(text).map_err(|_| NotAnItem);
        let seat_key = |key: Option<String>| key.map(|key| SeatKey::parse(&key).map_err(|_| NotAnItem)).transpose();
        Ok(match wire {
            Wire::Join {
                request,
                session,
                user: name,
                key,
            } => Self::Join {
                request,
                session: SessionId(session),
                user: user(&name)?,
                key: seat_key(key)?,
            },
            Wire::Leave {
                session,
                user: name,
                closed,
            } => Self::Leave {
                session: SessionId(session),
                user: user(&name)?,
                closed,
            },
            Wire::Forward {
                request,
                session,
                user: name,
                content,
                id,
            } => Self::Forward {
                request,
                session: SessionId(session),
                user: user(&name)?,
                content: content.into(),
                client_msg_id: ClientMsgId::parse(&id).map_err(|_| NotAnItem)?,
            },
            Wire::Seats { seats } => Self::Seats(
                seats
                    .into_iter()
                    .map(|(session, name, key)| {
                        Ok(AnnouncedSeat {
                            session: SessionId(session),
                            user: user(&name)?,
                            key: seat_key(key)?,
                        })
                    })
                    .collect::<Result<_, _>>()?,
            ),
            Wire::Joined {
                request,
                info,
                generation,
                epoch,
                head,
                floor,
                version,
                resumed,
            } => Self::Joined {
                request,
                info: RoomInfo {
                    room_id: room.clone(),
                    room_name: RoomName::parse(&info.name).map_err(|_| NotAnItem)?,
                    description: info.description.map(Arc::from),
                    members: info.members.iter().map(|name| user(name)).collect::<Result<_, _>>()?,
                    admin_node: NodeId::parse(&info.admin).map_err(|_| NotAnItem)?,
                },
                generation: Generation(generation),
                epoch: Epoch(epoch),
                head: Seq(head),
                floor: Seq(floor),
                version,
                resumed,
            },
            Wire::JoinRefused { request, code, text } => Self::JoinRefused {
                request,
                reject: reject(&code, text),
            },
            Wire::Sent {
                request,
                id,
                seq,
                time,
                duplicate,
            } => Self::Sent {
                request,
                message_id: MessageId::parse(&id).map_err(|_| NotAnItem)?,
                seq: Seq(seq),
                timestamp: Timestamp(time),
                duplicate,
            },
            Wire::SendRefused {
                request,
                code,
                text,
                unknown,
            } => Self::SendRefused {
                request,
                reject: reject(&code, text),
                unknown,
            },
            Wire::Unseat { session } => Self::Unseat {
                session: SessionId(session),
            },
            Wire::Deliver { generation, epoch } => Self::Deliver {
                generation: Generation(generation),
                epoch: Epoch(epoch),
                frames: split_frames(frames.ok_or(NotAnItem)?)?,
            },
            Wire::Member {
                user: name,
                count,
                time,
                came,
                reason,
                version,
            } => Self::Member(MemberEvent {
                room_id: room.clone(),
                username: user(&name)?,
                member_count: count,
                timestamp: Timestamp(time),
                left: if came {
                    None
                } else {
                    Some(LeaveReason::from_text(reason.as_deref()).ok_or(NotAnItem)?)
                },
                version,
            }),
            Wire::Head {
                generation,
                epoch,
                head,
            } => Self::Head {
                generation: Generation(generation),
                epoch: Epoch(epoch),
                head: Seq(head),
            },
        })
    }
}

/// The refusal that another node meant. Its text is kept where the code has more than one.
fn reject(code: &str, text: String) -> Reject {
    let known = [
        Reject::RoomNotFound,
        Reject::NotMember,
        Reject::AdminUnavailable,
        Reject::OtherUser,
        Reject::NotAdded,
        Reject::IdConflict,
        Reject::Busy,
    ];
    known
        .into_iter()
        .find(|r| r.code() == code && r.text() == text)
        .unwrap_or(Reject::Internal(text))
}
