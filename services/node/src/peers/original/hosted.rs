//! Which rooms an original node has: its own list, kept for a moment, asked for by one at a time.

use super::super::{Peers, lock};
use super::Outbound;
use chat_protocol::ids::RoomId;
use chat_protocol::peer_call::{self, method};
use chat_protocol::server_frame::RoomSummary;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a list is given out again. Nobody looks at a list for less.
const LIST_AGE: Duration = Duration::from_secs(1);

type Rooms = Arc<Vec<RoomSummary>>;

/// The last list, with when it was asked for.
#[derive(Debug, Default)]
pub(in crate::peers) struct Listing {
    last: Mutex<Option<(Instant, Rooms)>>,
    /// Held by whoever asks.
    asking: tokio::sync::Mutex<()>,
}

impl Listing {
    fn since(&self, earliest: Instant) -> Option<Rooms> {
        let last = lock(&self.last);
        let (asked, rooms) = last.as_ref()?;
        (*asked >= earliest).then(|| Arc::clone(rooms))
    }
}

impl Peers {
    /// The rooms of an original node, at most a second old; `None` if it does not answer.
    pub(in crate::peers) async fn rooms_of_original(&self, outbound: &Outbound) -> Option<Rooms> {
        let now = Instant::now();
        self.rooms_since(outbound, now.checked_sub(LIST_AGE).unwrap_or(now))
            .await
    }

    /// Whether an original node has a room, now; `None` if it does not answer.
    pub(in crate::peers) async fn original_has(&self, outbound: &Outbound, room: &RoomId) -> Option<bool> {
        let has = |rooms: &Rooms| rooms.iter().any(|summary| summary.room_id == *room);
        let now = Instant::now();
        // A room that was there a moment ago is there. One that was not may have been created since.
        let known = now
            .checked_sub(LIST_AGE)
            .and_then(|earliest| outbound.listing.since(earliest));
        if known.as_ref().is_some_and(has) {
            return Some(true);
        }
        self.rooms_since(outbound, now).await.as_ref().map(has)
    }

    /// A list that was asked for at `earliest` or later. Whoever comes while somebody asks waits, and asks again only if
    /// that was too early for it.
    async fn rooms_since(&self, outbound: &Outbound, earliest: Instant) -> Option<Rooms> {
        let _asking = outbound.listing.asking.lock().await;
        if let Some(rooms) = outbound.listing.since(earliest) {
            return Some(rooms);
        }
        let asked = Instant::now();
        let answer = self.call_original(outbound, method::GET_HOSTED_ROOMS, &[]).await;
        let Ok(rooms) = answer.as_ref().map(peer_call::read_hosted_rooms) else {
            self.doubt(&outbound.node);
            return None;
        };
        let rooms = Arc::new(rooms.ok()?);
        *lock(&outbound.listing.last) = Some((asked, Arc::clone(&rooms)));
        Some(rooms)
    }
}
