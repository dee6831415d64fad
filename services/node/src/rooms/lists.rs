//! Requests that are about no single room: lists and creation. Each runs on a task of its own, so that a connection that
//! waits for a list is still read, and answers by itself.

use super::RoomsHandle;
use crate::peers::Hosted;
use crate::session::Session;
use crate::session::outbound::Flushed;
use crate::store::{CreateError, StoreError};
use chat_engine::stored::RoomProfile;
use chat_protocol::codec;
use chat_protocol::ids::{RoomId, RoomName, UserName};
use chat_protocol::server_frame::{RoomSummary, ServerFrame};
use std::collections::HashSet;
use std::sync::Arc;

/// Rooms per read of the store.
const PAGE: usize = 1_000;
/// Most rooms of a list. A room takes 150 bytes and more, so a frame of 1 MiB cannot hold as many.
const MAX_ROOMS: usize = 8_000;

impl RoomsHandle {
    /// Answers `list_rooms`.
    pub fn list_for(&self, session: Arc<Session>) {
        let this = self.clone();
        tokio::spawn(async move {
            let frame = match this.own_rooms().await {
                Ok((rooms, total)) => ServerFrame::RoomsList { rooms, total },
                Err(_) => ServerFrame::Error("Failed to list rooms".into()),
            };
            finish(&session, &frame);
        });
    }

    /// Answers `discover_rooms`: always with a list, even if this node's own rooms could not be read.
    pub fn discover_for(&self, session: Arc<Session>) {
        let this = self.clone();
        tokio::spawn(async move {
            let (own, hosted) = tokio::join!(this.own_rooms(), this.peers().hosted_rooms());
            let me = this.shared().me.clone();
            let (mut available, mut unavailable) = (Vec::new(), Vec::new());
            let (mut rooms, mut total) = match own {
                Ok(own) => {
                    available.push(me);
                    own
                }
                Err(_) => {
                    unavailable.push(me);
                    (Vec::new(), 0)
                }
            };
            // A room that two nodes report would make the original client drop the rest of the list.
            let mut known: HashSet<RoomId> = rooms.iter().map(|room| room.room_id.clone()).collect();
            for Hosted { node, rooms: theirs } in hosted {
                match theirs {
                    Some(theirs) => {
                        available.push(node);
                        let new: Vec<_> = theirs.into_iter().filter(|r| known.insert(r.room_id.clone())).collect();
                        total += new.len();
                        rooms.extend(new);
                    }
                    None => unavailable.push(node),
                }
            }
            finish(
                &session,
                &ServerFrame::GlobalRoomsList {
                    rooms,
                    total,
                    available,
                    unavailable,
                },
            );
        });
    }

    /// Answers `create_room`.
    pub fn create_for(
        &self,
        session: Arc<Session>,
        room_name: RoomName,
        creator_id: UserName,
        description: Option<Arc<str>>,
    ) {
        let this = self.clone();
        tokio::spawn(async move {
            let frame = this.create(room_name, creator_id, description).await;
            finish(&session, &frame);
        });
    }

    async fn create(&self, room_name: RoomName, creator_id: UserName, description: Option<Arc<str>>) -> ServerFrame {
        let text = uuid::Uuid::new_v4().to_string();
        let room_id = RoomId::parse(&text).expect("a UUID is a valid id");
        let created_at = self.shared().clock.now().wall;
        let profile = RoomProfile {
            room_id: room_id.clone(),
            room_name: room_name.clone(),
            creator_id,
            description,
            created_at,
        };
        match self.store().create_room(profile).await {
            Ok(()) => ServerFrame::RoomCreated {
                room_id,
                room_name,
                admin_node: self.shared().me.clone(),
                created_at,
            },
            Err(CreateError::NameTaken) => {
                ServerFrame::RoomNotCreated(format!("Room with name '{room_name}' already exists"))
            }
            Err(CreateError::Store(_)) => ServerFrame::RoomNotCreated("Internal server error".into()),
        }
    }

    /// The rooms of this node in order of creation, as many as a list may hold, and how many there are.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn own_rooms(&self) -> Result<(Vec<RoomSummary>, usize), StoreError> {
        let (mut rooms, mut after) = (Vec::new(), None);
        loop {
            let page = self.store().rooms(after, PAGE).await?;
            rooms.extend(page.rooms.into_iter().map(|profile| self.summary(profile)));
            match page.next {
                Some(next) if rooms.len() < MAX_ROOMS => after = Some(next),
                _ => return Ok((rooms, page.total)),
            }
        }
    }

    fn summary(&self, profile: RoomProfile) -> RoomSummary {
        RoomSummary {
            member_count: self.shared().counts.get(&profile.room_id),
            room_id: profile.room_id,
            room_name: profile.room_name,
            description: profile.description,
            admin_node: self.shared().me.clone(),
            creator_id: profile.creator_id,
            node_address: None,
        }
    }
}

/// Queues an answer, writes it, and lets the connection go on.
fn finish(session: &Session, frame: &ServerFrame) {
    if session.outbound.push(codec::encode(frame)) && session.outbound.flush() != Flushed::Empty {
        session.wake();
    }
    session.answer_given();
}
