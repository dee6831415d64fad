//! From a frame of the client to a request of a room, and the answers that need no room.

use super::Session;
use crate::rooms::{Request, RoomsHandle};
use chat_protocol::client_frame::ClientFrame;
use chat_protocol::codec;
use chat_protocol::reject::Reject;
use chat_protocol::server_frame::ServerFrame;
use std::sync::Arc;

/// Whether the request is answered already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The answer is in the queue.
    Answered,
    /// Somebody answers later; if it is a room, this one.
    Pending(Option<chat_protocol::ids::RoomId>),
}

/// Handles one text of a client. Waits only for room in a queue of this node.
pub async fn handle(session: &Arc<Session>, rooms: &RoomsHandle, text: &str) -> Progress {
    match codec::parse(text) {
        Ok(frame) => dispatch(session, rooms, frame).await,
        Err(refusal) => refuse(session, rooms, &refusal),
    }
}

/// Answers a request that is refused before any room hears of it.
fn refuse(session: &Session, rooms: &RoomsHandle, frame: &ServerFrame) -> Progress {
    let code = match frame {
        ServerFrame::JoinRoomError { reject, .. }
        | ServerFrame::MessageError { reject, .. }
        | ServerFrame::DeleteRoomFailed { reject, .. } => reject.code(),
        _ => "INVALID_REQUEST",
    };
    rooms.metrics().requests_refused.count(code);
    answer(session, frame)
}

fn answer(session: &Session, frame: &ServerFrame) -> Progress {
    session.outbound.push(codec::encode(frame));
    Progress::Answered
}

async fn dispatch(session: &Arc<Session>, rooms: &RoomsHandle, frame: ClientFrame) -> Progress {
    match frame {
        ClientFrame::ListRooms => {
            rooms.list_for(Arc::clone(session));
            Progress::Pending(None)
        }
        ClientFrame::DiscoverRooms => {
            rooms.discover_for(Arc::clone(session));
            Progress::Pending(None)
        }
        ClientFrame::CreateRoom {
            room_name,
            creator_id,
            description,
        } => {
            rooms.create_for(Arc::clone(session), room_name, creator_id, description);
            Progress::Pending(None)
        }
        ClientFrame::JoinRoom { room_id, username } => match session.user_in(&room_id) {
            Some(known) if known != username => {
                let frame = ServerFrame::JoinRoomError {
                    room_id: room_id.to_string(),
                    reject: Reject::OtherUser,
                };
                refuse(session, rooms, &frame)
            }
            None if session.room_count() >= rooms.limits().max_rooms_per_connection => {
                let frame = ServerFrame::JoinRoomError {
                    room_id: room_id.to_string(),
                    reject: Reject::Busy,
                };
                refuse(session, rooms, &frame)
            }
            _ => {
                rooms
                    .request(session, room_id.clone(), Request::Join { user: username })
                    .await;
                Progress::Pending(Some(room_id))
            }
        },
        ClientFrame::LeaveRoom { room_id, username } => {
            if session.user_in(&room_id).as_ref() == Some(&username) {
                rooms
                    .request(session, room_id.clone(), Request::Leave { user: username })
                    .await;
                return Progress::Pending(Some(room_id));
            }
            let (room_id, username) = (room_id.to_string(), username.to_string());
            answer(session, &ServerFrame::LeaveRoomSuccess { room_id, username })
        }
        ClientFrame::SendMessage {
            room_id,
            username,
            content,
        } => {
            if session.user_in(&room_id).as_ref() == Some(&username) {
                rooms
                    .request(
                        session,
                        room_id.clone(),
                        Request::Send {
                            user: username,
                            content,
                        },
                    )
                    .await;
                return Progress::Pending(Some(room_id));
            }
            let frame = ServerFrame::MessageError {
                room_id: room_id.to_string(),
                reject: Reject::NotMember,
            };
            refuse(session, rooms, &frame)
        }
        ClientFrame::DeleteRoom { room_id, .. } => {
            let reject = Reject::Internal("Rooms cannot be deleted yet".into());
            refuse(
                session,
                rooms,
                &ServerFrame::DeleteRoomFailed {
                    room_id: room_id.to_string(),
                    reject,
                },
            )
        }
    }
}
