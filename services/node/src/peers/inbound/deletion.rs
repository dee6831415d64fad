//! What is asked about deletions: by our nodes how one ended, by nodes of the original in three calls that name no caller.

use super::Inbound;
use crate::rooms::OriginalWord;
use chat_engine::deletion::coordinator::Word;
use chat_engine::deletion::{fate, vote_of_the_admin};
use chat_engine::stored::{RoomState, StoredDeletion};
use chat_protocol::deletion::Vote;
use chat_protocol::ids::{NodeId, RoomId, RoomName};
use chat_protocol::peer_call::Place;
use chat_protocol::peer_call::deletion::{self, OriginalDeletion};
use chat_protocol::peer_fault::PeerFault;
use dxr::Value;

impl Inbound {
    async fn stored_deletion(&self, room: RoomId) -> Result<Option<StoredDeletion>, PeerFault> {
        let stored = self.rooms.store().deletion(room).await;
        stored.map_err(|_| PeerFault::Internal)
    }

    pub(super) async fn place_of(&self, room: RoomId) -> Result<Place, PeerFault> {
        Ok(match self.stored_deletion(room).await? {
            None => Place::Elsewhere,
            Some(StoredDeletion {
                state: RoomState::Deleted(_),
                ..
            }) => Place::Deleted,
            Some(_) => Place::Hosted,
        })
    }

    pub(super) async fn deletion_status(&self, params: &[Value]) -> Result<Value, PeerFault> {
        let (room, asked) = deletion::status_from_params(params)?;
        let stored = self.stored_deletion(room).await?;
        Ok(deletion::status(&fate(stored, &asked)))
    }

    /// True if this node administers the room: nobody else has a say in whether it goes.
    async fn is_ours(&self, room: &RoomId) -> Result<bool, PeerFault> {
        Ok(self.place_of(room.clone()).await? != Place::Elsewhere)
    }

    pub(super) async fn prepare_delete_room(&self, params: &[Value]) -> Result<Value, PeerFault> {
        let asked = OriginalDeletion::from_params(params)?;
        let me = &self.rooms.shared().me;
        let vote = if self.is_ours(&asked.room).await? {
            vote_of_the_admin(me)
        } else {
            Vote::Ready
        };
        let answer = deletion::voted(&vote, me, &asked.transaction);
        if vote == Vote::Ready {
            self.say(Word::Prepare, asked).await;
        }
        Ok(answer)
    }

    pub(super) async fn commit_delete_room(&self, params: &[Value]) -> Result<Value, PeerFault> {
        let asked = OriginalDeletion::from_params(params)?;
        let refused = self.is_ours(&asked.room).await?;
        if refused {
            tracing::warn!(room = %asked.room, "a COMMIT for a room of this node is refused");
            self.rooms.metrics().deletions.forged.inc();
        } else {
            self.say(Word::Commit, asked).await;
        }
        Ok(deletion::finished(!refused, &self.rooms.shared().me))
    }

    pub(super) async fn rollback_delete_room(&self, params: &[Value]) -> Result<Value, PeerFault> {
        let asked = OriginalDeletion::from_params(params)?;
        if !self.is_ours(&asked.room).await? {
            self.say(Word::Rollback, asked).await;
        }
        // Whoever does not know the attempt has rolled it back.
        Ok(deletion::finished(true, &self.rooms.shared().me))
    }

    /// Hands a word of the original to the room, if anybody here is in it.
    async fn say(&self, word: Word, asked: OriginalDeletion) {
        let OriginalDeletion {
            room,
            transaction,
            third,
        } = asked;
        let third = third.as_deref();
        let said = OriginalWord {
            word,
            transaction,
            coordinator: third
                .filter(|_| word == Word::Prepare)
                .and_then(|id| NodeId::parse(id).ok())
                .and_then(|id| self.peers.configured(&id)),
            room_name: third
                .filter(|_| word == Word::Commit)
                .and_then(|name| RoomName::parse(name).ok()),
        };
        self.rooms.original_word(&room, said).await;
    }
}
