//! The store that forgets: for tests and demonstrations. It keeps every promise of the contract but durability.

use super::{Appender, CreateError, RoomPage, Store, StoreError, StoreFuture};
use chat_engine::room::roster::Seat;
use chat_engine::stored::{
    Append, AppendOutcome, Appended, ClaimedRoom, NewMessage, Repeat, RoomProfile, StoredSeat, Trim, TrimOutcome,
};
use chat_protocol::ids::{ClientMsgId, Epoch, Generation, Incarnation, NodeId, RoomId, Seq, UserName};
use chat_protocol::message_frame::Message;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// Rooms and messages in memory. Clones share them.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    incarnation: Incarnation,
    rooms: Arc<Mutex<Rooms>>,
}

#[derive(Debug, Default)]
struct Rooms {
    in_order: Vec<StoredRoom>,
    by_id: HashMap<RoomId, usize>,
    locations: HashMap<RoomId, NodeId>,
}

#[derive(Debug)]
struct StoredRoom {
    profile: RoomProfile,
    epoch: Epoch,
    /// Without a hole. Those below `floor` are not read; they only recognise repeats.
    messages: VecDeque<Message>,
    floor: Seq,
    /// Where sendings are that may be repeated.
    sendings: HashMap<(UserName, ClientMsgId), Seq>,
    seats: BTreeMap<Seat, StoredSeat>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(incarnation: Incarnation) -> Self {
        Self {
            incarnation,
            rooms: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Rooms> {
        // Every change is one step on one room; a panic cannot leave half of it.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rooms {
    fn get(&self, id: &RoomId) -> Option<&StoredRoom> {
        self.in_order.get(*self.by_id.get(id)?)
    }

    fn get_mut(&mut self, id: &RoomId) -> Option<&mut StoredRoom> {
        self.in_order.get_mut(*self.by_id.get(id)?)
    }
}

impl StoredRoom {
    fn head(&self) -> Seq {
        self.messages.back().map_or(Seq::ZERO, |m| m.seq)
    }

    fn trim(&mut self, trim: Trim) -> TrimOutcome {
        if trim.epoch != self.epoch {
            return TrimOutcome::Fenced(self.epoch);
        }
        self.floor = self.floor.max(trim.below.min(self.head()));
        let forgotten = self.head().0.saturating_sub(trim.recognised);
        while self
            .messages
            .front()
            .is_some_and(|m| m.seq < self.floor && m.seq.0 <= forgotten && m.timestamp < trim.recognised_since)
        {
            self.messages.pop_front();
        }
        let kept = self.messages.front().map_or(Seq::ZERO, |m| m.seq);
        self.sendings.retain(|_, seq| *seq >= kept);
        TrimOutcome::Trimmed {
            floor: self.floor,
            more: false,
        }
    }

    fn append(&mut self, append: &Append) -> AppendOutcome {
        if append.epoch != self.epoch {
            return AppendOutcome::Fenced(self.epoch);
        }
        let (Some(first), next) = (append.items.first(), self.head().next()) else {
            return AppendOutcome::Refused("an append without items".into());
        };
        if first.message.seq == next {
            let repeats = self.repeats(append);
            if !repeats.is_empty() {
                return AppendOutcome::Repeats(repeats);
            }
            for item in append.items.iter() {
                if let Some(id) = &item.client_msg_id {
                    let sending = (item.message.username.clone(), id.clone());
                    self.sendings.insert(sending, item.message.seq);
                }
                self.messages.push_back(item.message.clone());
            }
            return AppendOutcome::Committed;
        }
        let known = |item: &NewMessage| {
            self.read_one(item.message.seq)
                .is_some_and(|m| m.message_id == item.message.message_id)
        };
        if append.items.iter().all(known) {
            AppendOutcome::Duplicate
        } else {
            AppendOutcome::SeqMismatch(next)
        }
    }

    fn repeats(&self, append: &Append) -> Vec<Repeat> {
        let known = |(index, item): (usize, &NewMessage)| {
            let sending = (item.message.username.clone(), item.client_msg_id.clone()?);
            let first = self.read_one(*self.sendings.get(&sending)?)?;
            Some(Repeat {
                index,
                message_id: first.message_id.clone(),
                seq: first.seq,
                timestamp: first.timestamp,
                same_content: first.content == item.message.content,
            })
        };
        append.items.iter().enumerate().filter_map(known).collect()
    }

    fn read_one(&self, seq: Seq) -> Option<&Message> {
        let kept = self.messages.front()?.seq.0;
        self.messages.get(usize::try_from(seq.0.checked_sub(kept)?).ok()?)
    }
}

struct MemoryAppender {
    store: MemoryStore,
    outcomes: mpsc::UnboundedSender<Vec<Appended>>,
}

impl Appender for MemoryAppender {
    fn append(&mut self, appends: Vec<Append>) {
        let outcomes = {
            let mut rooms = self.store.lock();
            let outcome = |append: &Append| match rooms.get_mut(&append.room_id) {
                Some(room) => room.append(append),
                None => AppendOutcome::NoRoom,
            };
            let outcomes: Vec<_> = appends.iter().map(outcome).collect();
            outcomes
        };
        let appended = appends.into_iter().zip(outcomes);
        let appended = appended
            .map(|(append, outcome)| Appended {
                room_id: append.room_id,
                token: append.token,
                outcome,
            })
            .collect();
        // Whoever closed the channel does not want to know.
        drop(self.outcomes.send(appended));
    }
}

fn ready<T: Send + 'static>(value: T) -> StoreFuture<T> {
    Box::pin(std::future::ready(value))
}

impl Store for MemoryStore {
    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn create_room(&self, profile: RoomProfile) -> StoreFuture<Result<(), CreateError>> {
        let mut rooms = self.lock();
        if rooms.get(&profile.room_id).is_some() {
            return ready(Ok(()));
        }
        if rooms
            .in_order
            .iter()
            .any(|room| room.profile.room_name == profile.room_name)
        {
            return ready(Err(CreateError::NameTaken));
        }
        let place = rooms.in_order.len();
        rooms.by_id.insert(profile.room_id.clone(), place);
        rooms.in_order.push(StoredRoom {
            profile,
            epoch: Epoch(0),
            messages: VecDeque::new(),
            floor: Seq(1),
            sendings: HashMap::new(),
            seats: BTreeMap::new(),
        });
        ready(Ok(()))
    }

    fn claim(&self, room_id: RoomId) -> StoreFuture<Result<Option<ClaimedRoom>, StoreError>> {
        let claimed = self.lock().get_mut(&room_id).map(|room| {
            room.epoch.0 += 1;
            let (profile, epoch, head) = (room.profile.clone(), room.epoch, room.head());
            ClaimedRoom {
                profile,
                generation: Generation(1),
                epoch,
                head,
                floor: room.floor,
                seats: room.seats.values().cloned().collect(),
            }
        });
        ready(Ok(claimed))
    }

    fn appender(&self, outcomes: mpsc::UnboundedSender<Vec<Appended>>) -> Box<dyn Appender> {
        Box::new(MemoryAppender {
            store: self.clone(),
            outcomes,
        })
    }

    fn keep_seat(&self, room_id: RoomId, seat: StoredSeat) {
        if let Some(room) = self.lock().get_mut(&room_id) {
            room.seats.insert(seat.seat.clone(), seat);
        }
    }

    fn drop_seat(&self, room_id: RoomId, seat: Seat) {
        if let Some(room) = self.lock().get_mut(&room_id) {
            room.seats.remove(&seat);
        }
    }

    fn seated_rooms(&self) -> StoreFuture<Result<Vec<RoomId>, StoreError>> {
        let rooms = self.lock();
        let seated = rooms.in_order.iter().filter(|room| !room.seats.is_empty());
        ready(Ok(seated.map(|room| room.profile.room_id.clone()).collect()))
    }

    fn trim(&self, room_id: RoomId, trim: Trim) -> StoreFuture<Result<TrimOutcome, StoreError>> {
        let outcome = self.lock().get_mut(&room_id).map(|room| room.trim(trim));
        ready(Ok(outcome.unwrap_or(TrimOutcome::NoRoom)))
    }

    fn read(
        &self,
        room_id: RoomId,
        from: Seq,
        limit: usize,
        max_bytes: usize,
    ) -> StoreFuture<Result<Vec<Message>, StoreError>> {
        let rooms = self.lock();
        let mut bytes = 0_usize;
        let messages = rooms.get(&room_id).map(|room| {
            let fits = |m: &&Message| {
                let first = bytes == 0;
                bytes = bytes.saturating_add(m.content.len());
                first || bytes <= max_bytes
            };
            let kept = room.messages.front().map_or(0, |m| m.seq.0);
            let skip = from.max(room.floor).0.saturating_sub(kept);
            room.messages
                .iter()
                .skip(usize::try_from(skip).unwrap_or(usize::MAX))
                .take(limit)
                .take_while(fits)
                .cloned()
                .collect()
        });
        ready(Ok(messages.unwrap_or_default()))
    }

    fn heads(&self, ids: Vec<RoomId>) -> StoreFuture<Result<Vec<(RoomId, Seq)>, StoreError>> {
        let rooms = self.lock();
        let heads = ids
            .into_iter()
            .filter_map(|id| rooms.get(&id).map(StoredRoom::head).map(|head| (id, head)));
        ready(Ok(heads.collect()))
    }

    fn rooms(&self, after: Option<u64>, limit: usize) -> StoreFuture<Result<RoomPage, StoreError>> {
        let rooms = self.lock();
        let skip = usize::try_from(after.unwrap_or(0)).unwrap_or(usize::MAX);
        let page: Vec<_> = rooms
            .in_order
            .iter()
            .skip(skip)
            .take(limit)
            .map(|room| room.profile.clone())
            .collect();
        let end = skip.saturating_add(page.len());
        let next = (end < rooms.in_order.len()).then_some(end as u64);
        ready(Ok(RoomPage {
            rooms: page,
            total: rooms.in_order.len(),
            next,
        }))
    }

    fn has_room(&self, room_id: RoomId) -> StoreFuture<Result<bool, StoreError>> {
        ready(Ok(self.lock().get(&room_id).is_some()))
    }

    fn profile(&self, room_id: RoomId) -> StoreFuture<Result<Option<RoomProfile>, StoreError>> {
        ready(Ok(self.lock().get(&room_id).map(|room| room.profile.clone())))
    }

    fn remember_location(&self, room_id: RoomId, node: NodeId) {
        self.lock().locations.insert(room_id, node);
    }

    fn location(&self, room_id: RoomId) -> StoreFuture<Result<Option<NodeId>, StoreError>> {
        ready(Ok(self.lock().locations.get(&room_id).cloned()))
    }

    fn fatal(&self) -> StoreFuture<String> {
        Box::pin(std::future::pending())
    }

    fn close(&self) -> StoreFuture<()> {
        ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_behaves_as_every_store() {
        crate::store::conformance::suite(&MemoryStore::new(Incarnation(1))).await;
    }
}
