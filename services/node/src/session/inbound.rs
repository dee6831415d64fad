//! From a frame of the client to a request of a room, and the answers that need no room.

use super::outbound::Kind;
use super::{Extended, Session, resume};
use crate::rooms::{Request, RoomsHandle};
use crate::telemetry::metrics::Heard;
use crate::telemetry::traces::Active;
use chat_engine::effect::Terms;
use chat_protocol::client_frame::{ClientFrame, Hello, RequestId};
use chat_protocol::codec::{self, ExtendedRequest};
use chat_protocol::ids::{RoomId, UserName};
use chat_protocol::limits::DEFAULT_HISTORY;
use chat_protocol::reject::{Code, Reject};
use chat_protocol::server_frame::{Extra, ServerFrame, Welcome};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Whether the request is answered already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The answer is in the queue.
    Answered,
    /// Somebody answers later; if it is a room, this one.
    Pending(Option<RoomId>),
}

/// One request on its way.
pub struct Inbound<'a> {
    /// Whose.
    pub session: &'a Arc<Session>,
    /// Where it may go.
    pub rooms: &'a RoomsHandle,
    /// Rooms that may seat the connection before this request reaches them.
    pub asked: &'a BTreeSet<RoomId>,
}

/// What one text of a client says, by itself.
#[derive(Debug, PartialEq)]
pub enum Said {
    /// It opens an extended session, or tries to. Only the first text of a connection can.
    Hello(Result<Hello, ServerFrame>),
    /// Anything else.
    Request(ExtendedRequest),
}

impl Said {
    /// What it is in metrics.
    #[must_use]
    pub fn heard(&self) -> Heard {
        match self {
            Self::Hello(_) => Heard::Hello,
            Self::Request(request) => request.frame.as_ref().map_or(Heard::Invalid, Heard::of),
        }
    }
}

/// Understands a text: the first of its connection or a later one, which speaks for `user` if it has said so.
#[must_use]
pub fn understand(text: &str, first: bool, user: Option<&UserName>) -> Said {
    let hello = if first { codec::hello(text) } else { None };
    match (hello, user) {
        (Some(hello), _) => Said::Hello(hello),
        (None, Some(user)) => Said::Request(codec::parse_extended(text, user)),
        (None, None) => Said::Request(ExtendedRequest {
            id: None,
            frame: codec::parse(text),
        }),
    }
}

/// Answers `hello`.
pub fn greet(session: &Session, rooms: &RoomsHandle, hello: Result<Hello, ServerFrame>) {
    let frame = match hello {
        Err(refusal) => {
            count_refusal(rooms, &refusal);
            refusal
        }
        Ok(hello) => ServerFrame::Welcome(welcome(session, rooms, hello)),
    };
    session.outbound.push(Kind::Answer, codec::encode(&frame));
}

fn welcome(session: &Session, rooms: &RoomsHandle, hello: Hello) -> Welcome {
    let Hello { user, client, resume } = hello;
    let asked = resume.is_some();
    let known = resume.filter(|token| resume::belongs_to(token, &user));
    let resumed = known.is_some();
    let clients = &rooms.metrics().clients;
    match (asked, resumed) {
        (_, true) => clients.resumed.inc(),
        (true, false) => clients.resume_refused.inc(),
        (false, false) => clients.begun.inc(),
    }
    let token = known.unwrap_or_else(|| resume::new_token(&user));
    tracing::debug!(session = %session.id, %user, client = client.as_deref(), resumed, "extended session");
    let node = rooms.shared().me.clone();
    session.greet(Extended {
        key: resume::seat_key(&token),
        user,
    });
    Welcome {
        session: format!("{node}-{}", session.id),
        resume: token,
        resumed,
        node,
        ping_seconds: rooms.limits().ping_interval.as_secs(),
    }
}

/// Counts a request that no room hears of. Whoever is told no code has sent what cannot be understood.
fn count_refusal(rooms: &RoomsHandle, frame: &ServerFrame) {
    let code = frame.refusal().unwrap_or(Code::InvalidRequest);
    rooms.metrics().requests_refused.count(code);
}

/// The answer to one request more than may be under way.
pub fn refuse_excess(session: &Session, rooms: &RoomsHandle, re: Option<&RequestId>) {
    let frame = ServerFrame::Refused {
        code: Code::TooManyRequests,
        message: "Too many requests are under way".into(),
    };
    count_refusal(rooms, &frame);
    session
        .outbound
        .push(Kind::Answer, session.encode(re, &frame, &Extra::None));
}

impl Inbound<'_> {
    /// Handles one request of a client. Waits only for room in a queue of this node.
    pub async fn handle(&self, request: ExtendedRequest) -> Progress {
        match request.frame {
            Ok(frame) => self.dispatch(frame, request.id).await,
            Err(refusal) => self.refuse(request.id.as_ref(), &refusal),
        }
    }

    /// Answers a request that is refused before any room hears of it.
    fn refuse(&self, re: Option<&RequestId>, frame: &ServerFrame) -> Progress {
        let extra = match frame {
            ServerFrame::MessageError { .. } => Extra::SendRefused {
                client_msg_id: None,
                unknown: false,
                retry_after_ms: None,
            },
            _ => Extra::None,
        };
        count_refusal(self.rooms, frame);
        self.answer(re, frame, &extra)
    }

    fn answer(&self, re: Option<&RequestId>, frame: &ServerFrame, extra: &Extra) -> Progress {
        let bytes = self.session.encode(re, frame, extra);
        self.session.outbound.push(Kind::Answer, bytes);
        Progress::Answered
    }

    async fn ask(&self, room: RoomId, request: Request, re: Option<RequestId>) -> Progress {
        self.ask_traced(room, request, re, None).await
    }

    async fn ask_traced(
        &self,
        room: RoomId,
        request: Request,
        re: Option<RequestId>,
        trace: Option<Active>,
    ) -> Progress {
        let asked = self.rooms.request(self.session, room.clone(), request, re, trace);
        asked.await;
        Progress::Pending(Some(room))
    }

    /// True if the connection is in the room under this name, or may be by the time the request gets there.
    fn may_be_in(&self, room: &RoomId, user: &UserName) -> bool {
        self.session.user_in(room).as_ref() == Some(user) || self.asked.contains(room)
    }

    fn terms(&self, frame: &ClientFrame) -> Terms {
        match (self.session.extended(), frame) {
            (Some(extended), ClientFrame::JoinRoom { from, history, .. }) => Terms::Extended {
                key: extended.key.clone(),
                from: *from,
                history: history.unwrap_or(DEFAULT_HISTORY),
            },
            _ => Terms::Classic,
        }
    }

    async fn dispatch(&self, frame: ClientFrame, re: Option<RequestId>) -> Progress {
        let (session, rooms) = (self.session, self.rooms);
        let terms = self.terms(&frame);
        match frame {
            ClientFrame::ListRooms(page) => {
                rooms.list_for(Arc::clone(session), page, re);
                Progress::Pending(None)
            }
            ClientFrame::DiscoverRooms(page) => {
                rooms.discover_for(Arc::clone(session), page, re);
                Progress::Pending(None)
            }
            ClientFrame::CreateRoom {
                room_name,
                creator_id,
                description,
                request_id,
            } => {
                rooms.create_for(
                    Arc::clone(session),
                    (room_name, creator_id, description),
                    request_id,
                    re,
                );
                Progress::Pending(None)
            }
            ClientFrame::JoinRoom { room_id, username, .. } => {
                let reject = match session.user_in(&room_id) {
                    Some(known) if known != username => Reject::OtherUser,
                    None if session.room_count() >= rooms.limits().max_rooms_per_connection => Reject::Busy,
                    _ => return self.ask(room_id, Request::Join { user: username, terms }, re).await,
                };
                let room_id = room_id.to_string();
                self.refuse(re.as_ref(), &ServerFrame::JoinRoomError { room_id, reject })
            }
            ClientFrame::LeaveRoom { room_id, username } => {
                if self.may_be_in(&room_id, &username) {
                    return self.ask(room_id, Request::Leave { user: username }, re).await;
                }
                let (room_id, username) = (room_id.to_string(), username.to_string());
                let frame = ServerFrame::LeaveRoomSuccess { room_id, username };
                self.answer(re.as_ref(), &frame, &Extra::None)
            }
            ClientFrame::SendMessage {
                room_id,
                username,
                content,
                client_msg_id,
                trace,
            } => {
                if self.may_be_in(&room_id, &username) {
                    let request = Request::Send {
                        user: username,
                        content,
                        client_msg_id,
                    };
                    let trace = rooms.shared().traces.root("send_message", trace);
                    return self.ask_traced(room_id, request, re, trace).await;
                }
                let reject = Reject::NotMember;
                self.rooms.metrics().requests_refused.count(reject.kind());
                let room_id = room_id.to_string();
                let extra = Extra::SendRefused {
                    client_msg_id,
                    unknown: false,
                    retry_after_ms: None,
                };
                self.answer(re.as_ref(), &ServerFrame::MessageError { room_id, reject }, &extra)
            }
            ClientFrame::ReadHistory { room_id, from, limit } => {
                let user = session.extended().map(|extended| extended.user.clone());
                if let Some(user) = user.filter(|user| self.may_be_in(&room_id, user)) {
                    return self.ask(room_id, Request::History { user, from, limit }, re).await;
                }
                let (room_id, reject) = (room_id.to_string(), Reject::NotMember);
                self.refuse(re.as_ref(), &ServerFrame::RequestRefused { room_id, reject })
            }
            // Whoever created a room need not be in it.
            ClientFrame::DeleteRoom { room_id, username } => {
                // The connection speaks for somebody else there; a hidden room is the node's, whatever somebody calls himself.
                if room_id.is_hidden() || session.user_in(&room_id).is_some_and(|known| known != username) {
                    let frame = ServerFrame::DeleteRoomFailed {
                        room_id: room_id.to_string(),
                        reject: Reject::Unauthorized,
                        transaction: None,
                    };
                    return self.refuse(re.as_ref(), &frame);
                }
                self.ask(room_id, Request::Delete { user: username }, re).await
            }
        }
    }
}
