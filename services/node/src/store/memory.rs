//! The store that forgets: for tests and demonstrations. It keeps every promise of the contract but durability.

use super::{Appender, CreateError, RoomPage, Store, StoreError, StoreFuture};
use chat_engine::room::roster::Seat;
use chat_engine::stored::{
    Append, AppendOutcome, Appended, BeginDeletion, BeginOutcome, ClaimedRoom, DecideDeletion, DecideOutcome,
    NewMessage, Repeat, RoomProfile, RoomState, StoredDeletion, StoredSeat, Trim, TrimOutcome,
};
use chat_protocol::ids::{ClientMsgId, Epoch, Generation, Incarnation, NodeId, RoomId, Seq, TransactionId, UserName};
use chat_protocol::message_frame::Message;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

mod deletion;

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
    state: RoomState,
    /// The last attempt to delete it that was given up.
    given_up: Option<TransactionId>,
    purged: bool,
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
    /// A room that is not deleted.
    fn get(&self, id: &RoomId) -> Option<&StoredRoom> {
        self.any(id).filter(|room| !room.is_deleted())
    }

    fn get_mut(&mut self, id: &RoomId) -> Option<&mut StoredRoom> {
        self.any_mut(id).filter(|room| !room.is_deleted())
    }

    fn any(&self, id: &RoomId) -> Option<&StoredRoom> {
        self.in_order.get(*self.by_id.get(id)?)
    }

    fn any_mut(&mut self, id: &RoomId) -> Option<&mut StoredRoom> {
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
        if self.state != RoomState::Active {
            return AppendOutcome::BeingDeleted;
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
        match rooms.any(&profile.room_id) {
            Some(room) if room.is_deleted() => return ready(Err(CreateError::Deleted)),
            Some(_) => return ready(Ok(())),
            None => {}
        }
        if rooms
            .in_order
            .iter()
            .any(|room| room.profile.room_name == profile.room_name && !room.is_deleted())
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
            state: RoomState::Active,
            given_up: None,
            purged: false,
        });
        ready(Ok(()))
    }

    fn claim(&self, room_id: RoomId) -> StoreFuture<Result<Option<ClaimedRoom>, StoreError>> {
        let claimed = self.lock().any_mut(&room_id).map(|room| {
            if !room.is_deleted() {
                room.epoch.0 += 1;
            }
            let head = if room.is_deleted() { Seq::ZERO } else { room.head() };
            let (profile, epoch) = (room.profile.clone(), room.epoch);
            ClaimedRoom {
                profile,
                generation: Generation(1),
                epoch,
                head,
                floor: room.floor,
                seats: room.seats.values().cloned().collect(),
                state: room.state.clone(),
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
        let seated = rooms
            .in_order
            .iter()
            .filter(|room| !room.seats.is_empty() && !room.is_deleted());
        ready(Ok(seated.map(|room| room.profile.room_id.clone()).collect()))
    }

    fn trim(&self, room_id: RoomId, trim: Trim) -> StoreFuture<Result<TrimOutcome, StoreError>> {
        let outcome = self.lock().get_mut(&room_id).map(|room| room.trim(trim));
        ready(Ok(outcome.unwrap_or(TrimOutcome::NoRoom)))
    }

    fn begin_deletion(&self, room_id: RoomId, begin: BeginDeletion) -> StoreFuture<BeginOutcome> {
        let outcome = self.lock().any_mut(&room_id).map(|room| room.begin_deletion(begin));
        ready(outcome.unwrap_or(BeginOutcome::NoRoom))
    }

    fn decide_deletion(&self, room_id: RoomId, decide: DecideDeletion) -> StoreFuture<DecideOutcome> {
        let outcome = self.lock().any_mut(&room_id).map(|room| room.decide_deletion(decide));
        ready(outcome.unwrap_or(DecideOutcome::NoRoom))
    }

    fn purge(&self, room_id: RoomId) -> StoreFuture<Result<bool, StoreError>> {
        if let Some(room) = self.lock().any_mut(&room_id) {
            room.purge();
        }
        ready(Ok(false))
    }

    fn deletion(&self, room_id: RoomId) -> StoreFuture<Result<Option<StoredDeletion>, StoreError>> {
        let stored = self.lock().any(&room_id).map(|room| StoredDeletion {
            state: room.state.clone(),
            room_name: room.profile.room_name.clone(),
        });
        ready(Ok(stored))
    }

    fn unfinished_deletions(&self) -> StoreFuture<Result<Vec<RoomId>, StoreError>> {
        let rooms = self.lock();
        let unfinished = rooms.in_order.iter().filter(|room| room.is_unfinished());
        ready(Ok(unfinished.map(|room| room.profile.room_id.clone()).collect()))
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
        let there = |(_, room): &(usize, &StoredRoom)| !room.is_deleted();
        let mut rest = rooms.in_order.iter().enumerate().skip(skip).filter(there).peekable();
        let (mut page, mut end) = (Vec::new(), skip);
        while page.len() < limit
            && let Some((place, room)) = rest.next()
        {
            page.push(room.profile.clone());
            end = place + 1;
        }
        let next = rest.peek().map(|_| end as u64);
        let total = rooms.in_order.iter().filter(|room| !room.is_deleted()).count();
        ready(Ok(RoomPage {
            rooms: page,
            total,
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
