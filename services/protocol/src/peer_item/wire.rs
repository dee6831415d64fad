//! The fields of an item as JSON, and back within limits.

use super::{AnnouncedSeat, DeletionItem, NotAnItem, PeerBody, join_frames, split_frames};
use crate::ids::{
    ClientMsgId, Epoch, Generation, MessageId, NodeId, RoomId, RoomName, SeatKey, Seq, SessionId, UserName,
};
use crate::limits::{MAX_CONTENT_CHARS, MAX_DESCRIPTION_CHARS, MAX_SEQ};
use crate::reject::Reject;
use crate::server_frame::{LeaveReason, MemberEvent, RoomInfo};
use crate::text;
use crate::timestamp::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Fields as they are written, but for the kind: it is put between them by [`with_kind`] and [`read_fields`]. Serde can do so
/// too, but then it keeps everything that it reads until it knows the kind, also what no kind has. Times are microseconds.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Wire {
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
    Delete {
        request: u64,
        session: u64,
        user: String,
    },
    DeleteVote {
        transaction: String,
        ready: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    DeleteDone {
        transaction: String,
        obeyed: bool,
    },
    DeletePrepare {
        transaction: String,
        initiator: String,
        name: String,
    },
    DeleteCommit {
        transaction: String,
        name: String,
    },
    DeleteRollback {
        transaction: String,
    },
    DeleteInitiated {
        request: u64,
        transaction: String,
        initiator: String,
    },
    DeleteProgress {
        request: u64,
        phase: String,
        ready: Vec<String>,
        waiting_for: Vec<String>,
    },
    Deleted {
        request: u64,
        transaction: String,
    },
    DeleteRefused {
        request: u64,
        code: String,
        text: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        transaction: Option<String>,
    },
    Inquiry {
        question: u64,
        user: String,
    },
    Holds {
        question: u64,
        holds: bool,
    },
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireInfo {
    name: String,
    description: Option<String>,
    members: Vec<String>,
    admin: String,
}

/// `{"kind":"join","request":…}` of what serde writes as `{"join":{"request":…}}`.
pub(super) fn with_kind(wire: &Wire) -> String {
    // A struct of strings and numbers is always JSON.
    let json = serde_json::to_string(wire).unwrap_or_default();
    let fields = json
        .strip_prefix('{')
        .and_then(|json| json.strip_suffix('}'))
        .and_then(|json| json.split_once(":{"));
    let (kind, fields) = fields.unwrap_or_default();
    format!("{{\"kind\":{kind},{fields}")
}

/// The reverse of [`with_kind`], whatever the order of the fields.
pub(super) fn read_fields(fields: &str) -> Result<Wire, NotAnItem> {
    #[derive(Deserialize)]
    struct Kind<'a> {
        kind: &'a str,
    }
    let Kind { kind } = serde_json::from_str(fields).map_err(|_| NotAnItem)?;
    if !kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
        return Err(NotAnItem);
    }
    serde_json::from_str(&format!("{{\"{kind}\":{fields}}}")).map_err(|_| NotAnItem)
}

impl PeerBody {
    pub(super) fn to_wire(&self) -> (Wire, Option<String>) {
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
            Self::Deletion(item) => item.to_wire(),
            Self::Inquiry { question, user } => Wire::Inquiry {
                question: *question,
                user: user.to_string(),
            },
            Self::Holds { question, holds } => Wire::Holds {
                question: *question,
                holds: *holds,
            },
        };
        (wire, None)
    }

    /// Checks what the wire says as far as others are shown it or count on it: a node that went mad does not make this one
    /// say to clients what they cannot read.
    pub(super) fn from_wire(room: &RoomId, wire: Wire, frames: Option<&str>) -> Result<Self, NotAnItem> {
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
                content: said(content, MAX_CONTENT_CHARS)
                    .filter(|text| !text.is_empty())
                    .ok_or(NotAnItem)?,
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
                    description: match info.description {
                        Some(text) => Some(said(text, MAX_DESCRIPTION_CHARS).ok_or(NotAnItem)?),
                        None => None,
                    },
                    members: info.members.iter().map(|name| user(name)).collect::<Result<_, _>>()?,
                    admin_node: NodeId::parse(&info.admin).map_err(|_| NotAnItem)?,
                },
                generation: Generation(generation),
                epoch: Epoch(epoch),
                head: seq_from(0, head)?,
                floor: seq_from(0, floor)?,
                version,
                resumed,
            },
            Wire::JoinRefused { request, code, text } => Self::JoinRefused {
                request,
                reject: reject(&code, &text),
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
                seq: seq_from(1, seq)?,
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
                reject: reject(&code, &text),
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
                head: seq_from(0, head)?,
            },
            Wire::Inquiry { question, user: name } => Self::Inquiry {
                question,
                user: user(&name)?,
            },
            Wire::Holds { question, holds } => Self::Holds { question, holds },
            other => Self::Deletion(DeletionItem::from_wire(other)?),
        })
    }
}

/// A text that every path can carry, of at most `most` characters, line ends as we keep them.
fn said(text: String, most: usize) -> Option<Arc<str>> {
    let plain = text::first_forbidden(&text).is_none() && !text.contains('\r');
    (plain && text.chars().nth(most).is_none()).then(|| Arc::from(text))
}

/// A number that a message may have, or one before the first.
fn seq_from(least: u64, number: u64) -> Result<Seq, NotAnItem> {
    if (least..=MAX_SEQ).contains(&number) {
        Ok(Seq(number))
    } else {
        Err(NotAnItem)
    }
}

/// The refusal that another node meant. Its text is kept where the code has more than one, as far as a client can be shown.
pub(super) fn reject(code: &str, text: &str) -> Reject {
    let text = text::explanation(text);
    let known = [
        Reject::RoomNotFound,
        Reject::NotMember,
        Reject::AdminUnavailable,
        Reject::OtherUser,
        Reject::NotAdded,
        Reject::IdConflict,
        Reject::Busy,
        Reject::Unauthorized,
        Reject::DeletionNotStarted,
    ];
    let find = |code: &str| known.iter().find(|r| r.code() == code && r.text() == text).cloned();
    match code {
        "INVALID_STATE" => Reject::InvalidState(text),
        "DELETION_FAILED" => Reject::DeletionFailed(text),
        _ => {
            let internal = Reject::Internal(text.clone());
            find(code).or_else(|| find(internal.code())).unwrap_or(internal)
        }
    }
}
