//! The load: sessions of both dialects in every room, which send, and note what they are told and shown.

use super::checker::{Room, Violation};
use super::log;
use super::notes::{Notes, Place, RoomNotes, lock};
use super::{classic, extended};
use crate::args::Dialect;
use chat_client::ConnectOptions;
use chat_protocol::limits::CLASSIC_HISTORY;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(10);
/// Before a classic session tries again.
pub(super) const AGAIN: Duration = Duration::from_millis(100);
/// How many old messages an extended session asks for when it first joins.
pub(super) const PATIENT: u64 = 1_000;

/// How each session connects.
pub(super) fn connect_options() -> ConnectOptions {
    ConnectOptions {
        connect_deadline: Duration::from_secs(2),
        answer_deadline: Duration::from_secs(15),
        // A node that stands still is left after three to four seconds.
        ping_every: Some(Duration::from_secs(2)),
        ..ConnectOptions::default()
    }
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its user name, unique in the crowd.
    pub name: String,
    /// How it speaks.
    pub dialect: Dialect,
    /// The target to which it connects. An extended session begins there and goes on to the next whenever it is lost.
    pub home: usize,
    /// Whether it sends into each room.
    pub sends: bool,
}

/// What the crowd is told about its extended sessions' places in the rooms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Returns {
    /// How many extended sessions there are.
    pub sessions: usize,
    /// How often the session that came back least often came back, in the room where it did least often, so that nobody
    /// heard of it.
    pub fewest: u64,
    /// The same of the session that came back most often.
    pub most: u64,
    /// How often one had to join anew, over all rooms.
    pub rejoins: u64,
    /// How often a member heard that an extended session left a room or joined it again: in each room what the member
    /// heard that heard most, over all rooms.
    pub heard: u64,
    /// The first of both, in words.
    pub words: Vec<String>,
}

/// All sessions. They end with it.
pub struct Crowd {
    notes: Arc<Notes>,
    targets: Vec<String>,
    _tasks: JoinSet<()>,
}

impl Crowd {
    /// Starts the sessions, which join all rooms. Nobody sends before [`Self::resume`]; then each sender waits for `pace`
    /// after each acknowledgement, an extended one in each room for itself, a classic one in all of them in turn.
    #[must_use]
    pub fn start(targets: &[String], rooms: &[String], members: Vec<Member>, pace: Duration) -> Self {
        let notes = Arc::new(Notes::new(rooms, members));
        let mut tasks = JoinSet::new();
        for (nth, member) in notes.members.iter().enumerate() {
            match member.dialect {
                Dialect::Extended => extended::start(&notes, nth, targets, pace, &mut tasks),
                Dialect::Classic => {
                    let target = targets[member.home].clone();
                    tasks.spawn(classic::session(Arc::clone(&notes), nth, target, pace));
                }
            }
        }
        Self {
            notes,
            targets: targets.to_vec(),
            _tasks: tasks,
        }
    }

    /// Nobody begins a send any more.
    pub fn pause(&self) {
        self.notes.set_paused(true);
        for room in &self.notes.rooms {
            lock(&room.pause).end(Instant::now());
        }
    }

    /// Everybody sends again. From here on the time without acknowledgements is measured anew.
    pub fn resume(&self) {
        for room in &self.notes.rooms {
            lock(&room.pause).begin(Instant::now());
        }
        self.notes.set_paused(false);
    }

    /// Waits until every session is in every room.
    pub async fn all_in(&self) {
        while !self.missing().is_empty() {
            sleep(LOOK).await;
        }
    }

    /// Who is not in which room.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        self.places()
            .filter(|(_, _, place)| !lock(&place.shown).is_live())
            .map(|(room, who, _)| format!("{who} in room {room}"))
            .collect()
    }

    /// Waits until nothing is under way.
    pub async fn settled(&self) {
        while !self.open().is_empty() {
            sleep(LOOK).await;
        }
    }

    /// In which rooms sends are under way, and how many.
    #[must_use]
    pub fn open(&self) -> Vec<(usize, usize)> {
        let rooms = self.notes.rooms.iter().map(in_flight).enumerate();
        rooms.filter(|(_, open)| *open > 0).collect()
    }

    /// Waits until every sender got a message into every room that it began to send after this call.
    ///
    /// # Errors
    /// Who did not, in which room, within the time.
    pub async fn everybody_sends(&self, within: Duration) -> Result<(), String> {
        let all = || {
            let senders = self.notes.members.iter().map(|member| member.sends).cycle();
            self.places()
                .zip(senders)
                .filter(|(_, sends)| *sends)
                .map(|(place, _)| place)
        };
        let count = |place: &Place| place.acknowledged.load(Ordering::Acquire);
        // One may be under way now; the second one begins later.
        let wanted: Vec<u64> = all().map(|(_, _, place)| count(place) + 2).collect();
        let deadline = Instant::now() + within;
        loop {
            let missing: Vec<String> = all()
                .zip(&wanted)
                .filter(|((_, _, place), wanted)| count(place) < **wanted)
                .map(|((room, who, _), _)| format!("{who} in room {room}"))
                .collect();
            if missing.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(missing.join(", "));
            }
            sleep(LOOK).await;
        }
    }

    /// The longest time without an acknowledgement, by room; one that still lasts counts.
    #[must_use]
    pub fn pauses(&self) -> Vec<Duration> {
        let now = Instant::now();
        let longest = |room: &RoomNotes| lock(&room.pause).longest(now);
        self.notes.rooms.iter().map(longest).collect()
    }

    /// By room, how long the longest but one in a hundred acknowledgements took of members by their home; `None` of those who had
    /// none.
    #[must_use]
    pub fn p99(&self) -> Vec<Vec<Option<Duration>>> {
        self.notes.rooms.iter().map(RoomNotes::p99).collect()
    }

    /// Compares what was acknowledged and shown so far with what the room holds, while the load goes on. What everybody
    /// has is forgotten. Dropping the future loses nothing.
    ///
    /// # Errors
    /// No target gave the log; the next call compares all the more.
    pub async fn compare(&self, nth: usize, room: &mut Room) -> Result<Vec<Violation>, String> {
        self.mark(nth);
        room.extend(log::read(&self.targets, &room.id, room.head()).await?);
        let found = self.compare_marked(nth, room);
        self.forget(nth, room);
        Ok(found)
    }

    /// The same when nobody sends: waits, for each step at most `within`, until the log can be read and every session
    /// that is there has all of it.
    ///
    /// # Errors
    /// No target gave the log.
    pub async fn compare_all(&self, nth: usize, room: &mut Room, within: Duration) -> Result<Vec<Violation>, String> {
        let fresh = log::read_within(&self.targets, &room.id, room.head(), within).await?;
        room.extend(fresh);
        let head = room.head();
        let deadline = Instant::now() + within;
        let mut found = Vec::new();
        loop {
            let behind = timeout_at(deadline, self.caught_up(nth, head)).await.is_err();
            self.mark(nth);
            // A classic message that nobody waits for any more may have come in since, and been shown.
            let fresh = log::read_within(&self.targets, &room.id, room.head(), within).await?;
            room.extend(fresh);
            found.extend(self.compare_marked(nth, room));
            // Only now it is known what a classic session lacks whose connection is new.
            let lacking = self.behind(nth, head);
            if lacking.is_empty() || behind {
                found.extend(lacking.into_iter().map(|who| {
                    Violation::Irregular(format!(
                        "{who} has not got everything up to number {head} within {within:?}"
                    ))
                }));
                return Ok(found);
            }
        }
    }

    /// All acknowledgements and all messages shown so far.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        let sum = |of: fn(&Place) -> &AtomicU64| {
            self.places()
                .map(|(_, _, place)| of(place).load(Ordering::Acquire))
                .sum()
        };
        (sum(|place| &place.acknowledged), sum(|place| &place.delivered))
    }

    /// What the extended sessions had to do to stay.
    #[must_use]
    pub fn returns(&self) -> Returns {
        let mut returns = Returns::default();
        let mut resumes = Vec::new();
        for (nth, _) in (self.notes.members.iter().enumerate()).filter(|(_, who)| who.dialect == Dialect::Extended) {
            let places = self.notes.rooms.iter().map(|room| lock(&room.places[nth].presence));
            let mut fewest = u64::MAX;
            for presence in places {
                fewest = fewest.min(presence.resumes);
                returns.rejoins += presence.rejoins;
            }
            resumes.push(fewest);
        }
        returns.sessions = resumes.len();
        returns.fewest = resumes.iter().min().copied().unwrap_or(0);
        returns.most = resumes.iter().max().copied().unwrap_or(0);
        let heard = |room: &RoomNotes| room.places.iter().map(|place| lock(&place.presence).heard).max();
        returns.words = self.notes.rejoins();
        returns.heard = self.notes.rooms.iter().filter_map(heard).sum();
        returns
    }

    /// What was wrong with the treatment of sessions in a room, without any comparison, since the last call.
    pub fn irregular(&self, nth: usize) -> Vec<String> {
        std::mem::take(&mut *lock(&self.notes.rooms[nth].irregular))
    }

    /// All places in all rooms, room by room: the room, the name of the member, the place.
    fn places(&self) -> impl Iterator<Item = (usize, &str, &Place)> {
        self.notes.rooms.iter().enumerate().flat_map(move |(room, notes)| {
            let places = notes.places.iter().enumerate();
            places.map(move |(member, place)| (room, self.notes.who(member), place))
        })
    }

    fn behind(&self, nth: usize, head: u64) -> Vec<String> {
        let places = self.notes.rooms[nth].places.iter().enumerate();
        places
            .filter(|(_, place)| lock(&place.shown).is_behind(head))
            .map(|(member, _)| self.notes.who(member).to_owned())
            .collect()
    }

    async fn caught_up(&self, nth: usize, head: u64) {
        while !self.behind(nth, head).is_empty() {
            sleep(LOOK).await;
        }
    }

    /// What was acknowledged and shown so far is in every log that is read from now on, or it is lost.
    fn mark(&self, nth: usize) {
        for place in &self.notes.rooms[nth].places {
            lock(&place.sends).mark();
            lock(&place.shown).mark();
        }
    }

    fn compare_marked(&self, nth: usize, room: &mut Room) -> Vec<Violation> {
        let mut found = room.check_log();
        let notes = &self.notes.rooms[nth];
        for (place, member) in notes.places.iter().zip(&self.notes.members) {
            let mut acknowledged = lock(&place.sends).take();
            if member.dialect == Dialect::Classic {
                for ack in &mut acknowledged {
                    // Its numbers may be shifted: only the ids mean something. What is nowhere keeps a number that is nowhere.
                    ack.seq = room.find(&ack.message_id).unwrap_or(u64::MAX);
                }
            }
            found.extend(room.check_acknowledged(&acknowledged));
        }
        for (place, member) in notes.places.iter().zip(&self.notes.members) {
            found.extend(lock(&place.shown).compare(&member.name, room));
        }
        found.extend(self.irregular(nth).into_iter().map(Violation::Irregular));
        found
    }

    /// Lets go of what nothing will be compared with any more.
    fn forget(&self, nth: usize, room: &mut Room) {
        let notes = &self.notes.rooms[nth];
        let done = |place: &Place| lock(&place.sends).done().min(lock(&place.shown).done());
        let done = notes.places.iter().map(done).min().unwrap_or(u64::MAX);
        // A classic session that joins from now on begins at most so far back.
        let kept = room.head().saturating_sub(CLASSIC_HISTORY);
        room.forget(done.min(kept));
        notes.compared.store(room.head(), Ordering::Release);
    }
}

fn in_flight(room: &RoomNotes) -> usize {
    room.in_flight.load(Ordering::Acquire)
}
