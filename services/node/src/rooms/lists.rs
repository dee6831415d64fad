//! Requests that are about no single room: lists and creation. Each runs on a task of its own, so that a connection that
//! waits for a list is still read, and answers by itself.

use super::RoomsHandle;
use crate::peers::Hosted;
use crate::session::Session;
use crate::session::outbound::Flushed;
use crate::session::resume;
use crate::store::{CreateError, StoreError};
use chat_engine::stored::RoomProfile;
use chat_protocol::client_frame::{ListPage, RequestId};
use chat_protocol::ids::{ClientMsgId, RoomId, RoomName, UserName};
use chat_protocol::server_frame::{Extra, RoomSummary, ServerFrame};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Rooms per read of the store.
const PAGE: usize = 1_000;
/// Most rooms of a list. A room takes 150 bytes and more, so a frame of 1 MiB cannot hold as many.
const MAX_ROOMS: usize = 8_000;

impl RoomsHandle {
    /// Answers `list_rooms`.
    pub fn list_for(&self, session: Arc<Session>, page: Option<ListPage>, re: Option<RequestId>) {
        let this = self.clone();
        tokio::spawn(async move {
            let (frame, extra) = match &page {
                None => (this.own_rooms().await.map(all_of), Extra::None),
                Some(page) => match this.page_of_own(page).await {
                    Ok((frame, next)) => (Ok(frame), next.map_or(Extra::None, Extra::Next)),
                    Err(why) => (Err(why), Extra::None),
                },
            };
            let frame = frame.unwrap_or_else(|_| ServerFrame::Error("Failed to list rooms".into()));
            finish(&session, re.as_ref(), &frame, &extra);
        });
    }

    /// A page of this node's rooms in order of creation. With a prefix it may hold fewer rooms than asked for, or none,
    /// although there is a next one: it is as much as was looked at.
    async fn page_of_own(&self, page: &ListPage) -> Result<(ServerFrame, Option<Arc<str>>), StoreError> {
        let after = page
            .after
            .as_deref()
            .map(|after| after.parse().unwrap_or(u64::MAX >> 1));
        let found = self.store().rooms(after, page.limit.unwrap_or(PAGE)).await?;
        let next = found.next.map(|next| Arc::from(next.to_string()));
        let wanted = |profile: &RoomProfile| !profile.room_id.is_hidden() && named(profile.room_name.as_str(), page);
        let rooms: Vec<_> = found
            .rooms
            .into_iter()
            .filter(wanted)
            .map(|p| self.summary(p))
            .collect();
        let total = self.shown(found.total).max(rooms.len());
        Ok((ServerFrame::RoomsList { rooms, total }, next))
    }

    /// Answers `discover_rooms`: always with a list, even if this node's own rooms could not be read.
    pub fn discover_for(&self, session: Arc<Session>, page: Option<ListPage>, re: Option<RequestId>) {
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
            let mut extra = Extra::None;
            if let Some(page) = &page {
                extra = cut_to(page, &mut rooms).map_or(Extra::None, Extra::Next);
            }
            let frame = ServerFrame::GlobalRoomsList {
                rooms,
                total,
                available,
                unavailable,
            };
            finish(&session, re.as_ref(), &frame, &extra);
        });
    }

    /// Answers `create_room`.
    pub fn create_for(
        &self,
        session: Arc<Session>,
        (room_name, creator_id, description): (RoomName, UserName, Option<Arc<str>>),
        request_id: Option<ClientMsgId>,
        re: Option<RequestId>,
    ) {
        let this = self.clone();
        tokio::spawn(async move {
            let id = request_id
                .map(|id| resume::repeatable_id([this.shared().me.as_str(), creator_id.as_str(), id.as_str()]));
            let earlier = match &id {
                Some(id) => this.created_before(id).await,
                None => None,
            };
            let frame = match earlier {
                Some(frame) => frame,
                None => this.create(id, room_name, creator_id, description).await,
            };
            finish(&session, re.as_ref(), &frame, &Extra::None);
        });
    }

    /// The answer to the first request with the same id.
    async fn created_before(&self, id: &str) -> Option<ServerFrame> {
        let profile = self.store().profile(RoomId::parse(id).ok()?).await.ok()??;
        Some(ServerFrame::RoomCreated {
            room_id: profile.room_id,
            room_name: profile.room_name,
            admin_node: self.shared().me.clone(),
            created_at: profile.created_at,
        })
    }

    async fn create(
        &self,
        id: Option<String>,
        room_name: RoomName,
        creator_id: UserName,
        description: Option<Arc<str>>,
    ) -> ServerFrame {
        let text = id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
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
            Ok(()) => {
                self.shared().rooms_changed.fetch_add(1, Ordering::AcqRel);
                ServerFrame::RoomCreated {
                    room_id,
                    room_name,
                    admin_node: self.shared().me.clone(),
                    created_at,
                }
            }
            Err(CreateError::NameTaken) => {
                ServerFrame::RoomNotCreated(format!("Room with name '{room_name}' already exists"))
            }
            // Only a repeat of a request whose room is gone by now.
            Err(CreateError::Deleted) => {
                ServerFrame::RoomNotCreated(format!("Room '{room_name}' was created by this request and is deleted"))
            }
            Err(CreateError::Store(_)) => ServerFrame::RoomNotCreated("Internal server error".into()),
        }
    }

    /// How many of so many rooms are shown to anybody.
    fn shown(&self, total: usize) -> usize {
        total - usize::from(self.shared().has_canary.load(Ordering::Acquire)).min(total)
    }

    /// The rooms of this node in order of creation, as many as a list may hold, and how many there are; without the hidden one.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn own_rooms(&self) -> Result<(Vec<RoomSummary>, usize), StoreError> {
        let (mut rooms, mut after) = (Vec::new(), None);
        loop {
            let page = self.store().rooms(after, PAGE).await?;
            let shown = page.rooms.into_iter().filter(|profile| !profile.room_id.is_hidden());
            rooms.extend(shown.map(|profile| self.summary(profile)));
            match page.next {
                Some(next) if rooms.len() < MAX_ROOMS => after = Some(next),
                _ => return Ok((rooms, self.shown(page.total))),
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

fn all_of((rooms, total): (Vec<RoomSummary>, usize)) -> ServerFrame {
    ServerFrame::RoomsList { rooms, total }
}

fn named(name: &str, page: &ListPage) -> bool {
    page.name.as_deref().is_none_or(|prefix| name.starts_with(prefix))
}

/// Cuts a list of rooms of all nodes, in order of their ids, to one page. Says where the next one begins.
fn cut_to(page: &ListPage, rooms: &mut Vec<RoomSummary>) -> Option<Arc<str>> {
    rooms.retain(|room| {
        let after = page.after.as_deref().is_none_or(|after| room.room_id.as_str() > after);
        after && named(room.room_name.as_str(), page)
    });
    rooms.sort_by(|a, b| a.room_id.cmp(&b.room_id));
    let limit = page.limit.unwrap_or(PAGE);
    if rooms.len() <= limit {
        return None;
    }
    rooms.truncate(limit);
    rooms.last().map(|room| Arc::from(room.room_id.as_str()))
}

/// Queues an answer, writes it, and lets the connection go on.
fn finish(session: &Session, re: Option<&RequestId>, frame: &ServerFrame, extra: &Extra) {
    if session.outbound.push_answer(session.encode(re, frame, extra)) {
        // What the socket does not take now is written by the actor, which is woken anyway.
        let _: Flushed = session.outbound.flush();
    }
    session.wake();
}
