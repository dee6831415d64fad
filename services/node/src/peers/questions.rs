//! What rooms ask of other nodes: where a room is, what it has, how its deletion ended.

use super::{Dialect, Link, Peers, lock};
use crate::store::Store;
use chat_engine::membership::Health;
use chat_protocol::deletion::Fate;
use chat_protocol::ids::{NodeId, RoomId, Seq, TransactionId};
use chat_protocol::peer_call::{self, Place, Range, deletion, method};
use chat_protocol::reject::Reject;
use chat_protocol::server_frame::RoomSummary;
use futures_util::stream::{FuturesUnordered, StreamExt};

/// Most rooms whose place is remembered.
const MAX_LOCATIONS: usize = 100_000;

/// Where a room is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Located {
    /// This node has it.
    Here,
    /// That node administers it.
    At(NodeId),
    /// That node of the original administers it.
    AtOriginal(NodeId),
    /// Every known node was asked and none has it.
    Nowhere,
    /// No node that answered has it, but not all answered.
    Unavailable,
    /// The store of this node could not be asked.
    Failed(String),
    /// This node has as many rooms in memory as it may.
    Full,
}

impl Located {
    /// What whoever wanted into the room is told.
    #[must_use]
    pub fn reject(&self) -> Reject {
        match self {
            Self::Nowhere => Reject::RoomNotFound,
            Self::Failed(why) => Reject::Internal(why.clone()),
            Self::Full => Reject::Busy,
            Self::Here | Self::At(_) | Self::AtOriginal(_) | Self::Unavailable => Reject::AdminUnavailable,
        }
    }
}

/// What a peer answered to a request for its rooms.
#[derive(Debug)]
pub struct Hosted {
    /// Which peer.
    pub node: NodeId,
    /// Its rooms, or nothing if it did not answer.
    pub rooms: Option<Vec<RoomSummary>>,
}

impl Peers {
    /// Asks all nodes for a room, at the same time. Takes at most the deadline of one call.
    pub async fn locate(&self, room: &RoomId, store: &dyn Store) -> Located {
        let links = self.links();
        let mut asked: FuturesUnordered<_> = links.iter().map(|link| self.asked_for(link, room)).collect();
        let mut all_answered = true;
        while let Some((node, hosted)) = asked.next().await {
            match hosted {
                Some(Place::Hosted) if self.is_original(&node) => return Located::AtOriginal(node),
                Some(Place::Hosted) => {
                    self.remember(room, &node, store);
                    return Located::At(node);
                }
                // Nobody else can have it, whoever does not answer.
                Some(Place::Deleted) => return Located::Nowhere,
                Some(Place::Elsewhere) => {}
                None => all_answered = false,
            }
        }
        let remembered = lock(&self.0.locations).get(room).cloned();
        let remembered = match remembered {
            // Found in an earlier life. A store that cannot say is as good as one that does not know.
            None => store.location(room.clone()).await.ok().flatten(),
            some => some,
        };
        match remembered {
            // A node that nobody expects back, and that may come back all the same, with the room.
            Some(node) if node != self.0.me && !self.knows(&node) => Located::Unavailable,
            // A node that answered "no" has lost the room, or never had it.
            _ if all_answered => Located::Nowhere,
            Some(node) if self.health(&node) == Health::Failed => Located::At(node),
            _ => Located::Unavailable,
        }
    }

    /// What a node knows of a room; nothing if it does not say.
    async fn asked_for(&self, link: &Link, room: &RoomId) -> (NodeId, Option<Place>) {
        let node = link.node().clone();
        let hosted = match (self.dialect(&node), self.original(&node)) {
            (Dialect::Original, Some(outbound)) => self
                .original_has(&outbound, room)
                .await
                .map(|has| if has { Place::Hosted } else { Place::Elsewhere }),
            _ if self.is_doubted(&node) => None,
            _ => {
                let params = vec![dxr::Value::String(room.to_string())];
                let answer = self.call(link, method::LOCATE, &params).await;
                answer.ok().and_then(|value| peer_call::read_located(&value).ok())
            }
        };
        (node, hosted)
    }

    fn remember(&self, room: &RoomId, node: &NodeId, store: &dyn Store) {
        let mut locations = lock(&self.0.locations);
        if locations.len() >= MAX_LOCATIONS {
            // Rare, and only a better error text is lost.
            locations.clear();
        }
        if locations.insert(room.clone(), node.clone()).as_ref() != Some(node) {
            store.remember_location(room.clone(), node.clone());
        }
    }

    /// Committed messages of a room at its admin node.
    ///
    /// # Errors
    /// Why they could not be read.
    pub async fn read_range(&self, node: &NodeId, room: &RoomId, from: Seq, limit: usize) -> Result<Range, String> {
        let link = self.link(node).ok_or_else(|| format!("{node} is not known"))?;
        let params = peer_call::range_params(room, from, limit);
        let value = self
            .call(&link, method::READ_RANGE, &params)
            .await
            .map_err(|why| why.to_string())?;
        Range::from_value(&value).map_err(|_| format!("{node} answered something else"))
    }

    /// How an attempt to delete a room ended, as its admin node has it.
    ///
    /// # Errors
    /// Why it could not be asked.
    pub async fn fate(&self, node: &NodeId, room: &RoomId, transaction: &TransactionId) -> Result<Fate, String> {
        let link = self.link(node).ok_or_else(|| format!("{node} is not known"))?;
        let params = deletion::status_params(room, transaction);
        let answer = self.call(&link, method::DELETION_STATUS, &params).await;
        let value = answer.map_err(|why| why.to_string())?;
        deletion::read_status(&value).map_err(|_| format!("{node} answered something else"))
    }

    /// The rooms of all peers, in order of their answers.
    pub async fn hosted_rooms(&self) -> Vec<Hosted> {
        let links = self.links();
        let asked: FuturesUnordered<_> = links
            .iter()
            .map(async |link| {
                let node = link.node().clone();
                // Asking a node that has failed would only make everybody wait for its deadline.
                if self.health(&node) == Health::Failed || self.is_doubted(&node) {
                    return Hosted { node, rooms: None };
                }
                let rooms = match (self.dialect(&node), self.original(&node)) {
                    (Dialect::Original, Some(outbound)) => self
                        .rooms_of_original(&outbound)
                        .await
                        .map(|rooms| rooms.as_ref().clone()),
                    _ => {
                        let answer = self.call(link, method::GET_HOSTED_ROOMS, &[]).await;
                        answer.ok().and_then(|value| peer_call::read_hosted_rooms(&value).ok())
                    }
                };
                Hosted { node, rooms }
            })
            .collect();
        asked.collect().await
    }
}
