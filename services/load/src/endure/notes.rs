//! What the sessions note while they run, room by room: what was acknowledged and shown, how long each acknowledgement took,
//! and how long there was none.

use super::checker::{Acknowledged, Seen};
use super::crowd::Member;
use super::presence::Presence;
use super::shown::Shown;
use crate::args::Dialect;
use crate::tally::micros;
use chat_client::{MemberChange, NewMessage};
use hdrhistogram::Histogram;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How many returns of sessions that somebody heard of are kept in words.
const TOLD: usize = 10;

/// No panic leaves anything half noted.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everything that is noted.
#[derive(Debug)]
pub(super) struct Notes {
    pub(super) members: Vec<Member>,
    pub(super) rooms: Vec<RoomNotes>,
    by_name: HashMap<String, usize>,
    by_room: HashMap<String, usize>,
    /// The first rejoins, in words.
    rejoins: Mutex<Vec<String>>,
    paused: watch::Sender<bool>,
}

/// What is noted about one room.
#[derive(Debug)]
pub(super) struct RoomNotes {
    pub(super) id: String,
    /// By member.
    pub(super) places: Vec<Place>,
    pub(super) pause: Mutex<Pause>,
    /// How long acknowledgements took, in µs, of members by their home.
    waits: Vec<Mutex<Histogram<u64>>>,
    pub(super) irregular: Mutex<Vec<String>>,
    /// Sends under way.
    pub(super) in_flight: AtomicUsize,
    /// The head of the room when it was last compared.
    pub(super) compared: AtomicU64,
}

/// What is noted about one member in one room.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) acknowledged: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) sends: Mutex<Sends>,
    pub(super) shown: Mutex<Shown>,
    pub(super) presence: Mutex<Presence>,
}

/// A member's sends in one room, which are done one after the other.
#[derive(Debug, Default)]
pub(super) struct Sends {
    /// The head that was compared when the send under way began: its message will be behind it.
    under_way: Option<u64>,
    /// What was not compared yet, each with the head that was compared when it began.
    fresh: Vec<(u64, Acknowledged)>,
    /// So many of them may be compared now.
    marked: usize,
}

impl Sends {
    /// What was acknowledged so far may be compared with a log that is read from now on.
    pub(super) fn mark(&mut self) {
        self.marked = self.fresh.len();
    }

    /// What was marked.
    pub(super) fn take(&mut self) -> Vec<Acknowledged> {
        let marked = std::mem::take(&mut self.marked);
        self.fresh.drain(..marked).map(|(_, ack)| ack).collect()
    }

    /// All acknowledgements that are still to be compared are of messages behind this number.
    pub(super) fn done(&self) -> u64 {
        let fresh = self.fresh.iter().map(|(after, _)| *after);
        fresh.chain(self.under_way).min().unwrap_or(u64::MAX)
    }
}

/// The longest time without an acknowledgement.
#[derive(Debug, Default)]
pub(super) struct Pause {
    last: Option<Instant>,
    longest: Duration,
    ended: bool,
}

impl Pause {
    /// From here on it is measured anew.
    pub(super) fn begin(&mut self, now: Instant) {
        *self = Self {
            last: Some(now),
            ..Self::default()
        };
    }

    /// An acknowledgement came.
    pub(super) fn beat(&mut self, now: Instant) {
        if let Some(last) = self.last.replace(now) {
            self.longest = self.longest.max(now - last);
        }
    }

    /// Nobody begins to send any more: what is under way may end it, but it does not last on without that.
    pub(super) fn end(&mut self, now: Instant) {
        self.longest = self.longest(now);
        self.ended = true;
    }

    /// How long it is now, one that still lasts included.
    pub(super) fn longest(&self, now: Instant) -> Duration {
        let current = self.last.filter(|_| !self.ended).map(|last| now - last);
        self.longest.max(current.unwrap_or_default())
    }
}

impl RoomNotes {
    /// How long the longest but one in a hundred acknowledgements took, of members by their home; `None` of those who had none.
    pub(super) fn p99(&self) -> Vec<Option<Duration>> {
        let p99 = |waits: &Mutex<Histogram<u64>>| {
            let waits = lock(waits);
            (!waits.is_empty()).then(|| Duration::from_micros(waits.value_at_quantile(0.99)))
        };
        self.waits.iter().map(p99).collect()
    }
}

/// From a µs to ten minutes, two digits; what is longer counts as ten minutes.
fn waits() -> Mutex<Histogram<u64>> {
    Mutex::new(Histogram::new_with_bounds(1, 600_000_000, 2).expect("the bounds are valid"))
}

impl Notes {
    pub(super) fn new(rooms: &[String], members: Vec<Member>) -> Self {
        let place = |member: &Member| Place {
            acknowledged: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            sends: Mutex::default(),
            shown: Mutex::new(Shown::new(member.dialect == Dialect::Classic)),
            presence: Mutex::default(),
        };
        let homes = members.iter().map(|member| member.home + 1).max().unwrap_or_default();
        let room = |id: &String| RoomNotes {
            id: id.clone(),
            places: members.iter().map(place).collect(),
            pause: Mutex::default(),
            waits: (0..homes).map(|_| waits()).collect(),
            irregular: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            compared: AtomicU64::new(0),
        };
        Self {
            rooms: rooms.iter().map(room).collect(),
            by_name: (members
                .iter()
                .enumerate()
                .map(|(nth, member)| (member.name.clone(), nth)))
            .collect(),
            by_room: rooms.iter().enumerate().map(|(nth, id)| (id.clone(), nth)).collect(),
            members,
            rejoins: Mutex::default(),
            paused: watch::Sender::new(true),
        }
    }

    pub(super) fn set_paused(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    /// Waits until sends may begin. Cancel safe.
    pub(super) async fn may_send(&self) {
        // The sender of the flag lives in here.
        drop(self.paused.subscribe().wait_for(|paused| !*paused).await);
    }

    pub(super) fn who(&self, member: usize) -> &str {
        &self.members[member].name
    }

    /// The number of a room in the run.
    pub(super) fn room(&self, id: &str) -> Option<usize> {
        self.by_room.get(id).copied()
    }

    pub(super) fn irregular(&self, room: usize, what: String) {
        lock(&self.rooms[room].irregular).push(what);
    }

    /// A member was shown a message.
    pub(super) fn shown(&self, member: usize, message: NewMessage) {
        let Some(room) = self.room(&message.room_id) else {
            return;
        };
        let place = &self.rooms[room].places[member];
        place.delivered.fetch_add(1, Ordering::AcqRel);
        if let Some(&speaker) = self.by_name.get(&message.username) {
            lock(&place.presence).spoke(speaker);
        }
        lock(&place.shown).add(Seen {
            seq: message.seq,
            message_id: message.message_id,
            content: message.content,
        });
    }

    /// A member is in a room, for the first time or again.
    pub(super) fn entered(&self, room: usize, member: usize, resumed: bool) {
        let place = &self.rooms[room].places[member];
        let again = lock(&place.presence).entered(resumed);
        lock(&place.shown).entered();
        if again && self.members[member].dialect == Dialect::Extended {
            self.tell_rejoin(format!("{} had to join room {room} anew", self.who(member)));
        }
    }

    /// A member heard that somebody came (true) or went. Only extended sessions of the run are looked at: they never
    /// leave, and a classic one leaves with each of its connections.
    pub(super) fn heard(&self, member: usize, change: &MemberChange, came: bool) {
        let (Some(room), Some(&about)) = (self.room(&change.room_id), self.by_name.get(&change.username)) else {
            return;
        };
        if self.members[about].dialect == Dialect::Classic {
            return;
        }
        let mut presence = lock(&self.rooms[room].places[member].presence);
        let listener = self.who(member);
        if !came {
            presence.went();
            let reason = change.reason.as_deref().unwrap_or("it left");
            let about = &change.username;
            self.tell_rejoin(format!("{listener} heard that {about} is out of room {room}: {reason}"));
        } else if presence.came(about) {
            self.tell_rejoin(format!(
                "{listener} heard that {} joined room {room} again",
                change.username
            ));
        }
    }

    fn tell_rejoin(&self, words: String) {
        let mut told = lock(&self.rejoins);
        if told.len() < TOLD {
            told.push(words);
        }
    }

    /// The first rejoins, in words.
    pub(super) fn rejoins(&self) -> Vec<String> {
        lock(&self.rejoins).clone()
    }
}

/// One send under way, until it is dropped.
pub(super) struct UnderWay {
    notes: Arc<Notes>,
    room: usize,
    member: usize,
    since: Instant,
}

impl UnderWay {
    pub(super) fn begin(notes: &Arc<Notes>, room: usize, member: usize) -> Self {
        let of = &notes.rooms[room];
        of.in_flight.fetch_add(1, Ordering::AcqRel);
        lock(&of.places[member].sends).under_way = Some(of.compared.load(Ordering::Acquire));
        Self {
            notes: Arc::clone(notes),
            room,
            member,
            since: Instant::now(),
        }
    }

    /// It was acknowledged.
    pub(super) fn acknowledged(self, seq: u64, message_id: String, content: String) {
        let (room, now) = (&self.notes.rooms[self.room], Instant::now());
        let home = self.notes.members[self.member].home;
        lock(&room.waits[home]).saturating_record(micros(now - self.since));
        let place = &room.places[self.member];
        let ack = Acknowledged {
            sender: self.member,
            seq,
            message_id,
            content,
        };
        let mut sends = lock(&place.sends);
        let after = sends.under_way.unwrap_or(0);
        sends.fresh.push((after, ack));
        drop(sends);
        place.acknowledged.fetch_add(1, Ordering::AcqRel);
        lock(&room.pause).beat(now);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let room = &self.notes.rooms[self.room];
        lock(&room.places[self.member].sends).under_way = None;
        room.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes() -> Arc<Notes> {
        let member = Member {
            name: "ines".into(),
            dialect: Dialect::Extended,
            home: 0,
            sends: true,
        };
        Arc::new(Notes::new(&["r".to_owned()], vec![member]))
    }

    #[test]
    fn a_send_holds_what_was_not_compared_when_it_began_until_it_is_compared_itself() {
        let notes = notes();
        let room = &notes.rooms[0];
        let mark = || lock(&room.places[0].sends).mark();
        let take = || lock(&room.places[0].sends).take();
        let done = || lock(&room.places[0].sends).done();
        assert_eq!(done(), u64::MAX);
        room.compared.store(40, Ordering::Release);
        let under_way = UnderWay::begin(&notes, 0, 0);
        room.compared.store(60, Ordering::Release);
        assert_eq!((done(), room.in_flight.load(Ordering::Acquire)), (40, 1));
        mark();
        // Acknowledged while the log is read: it may not be in what was read.
        under_way.acknowledged(50, "m".into(), "ines 0 0".into());
        assert_eq!((take(), done()), (vec![], 40));
        mark();
        assert_eq!((take().len(), done()), (1, u64::MAX));
        drop(UnderWay::begin(&notes, 0, 0));
        assert_eq!(
            (done(), room.in_flight.load(Ordering::Acquire)),
            (u64::MAX, 0),
            "given up"
        );
    }

    #[test]
    fn an_acknowledgement_counts_with_the_time_since_its_send_began_and_a_send_given_up_does_not() {
        let notes = notes();
        let room = &notes.rooms[0];
        drop(UnderWay::begin(&notes, 0, 0));
        assert_eq!(room.p99(), [None]);
        let mut under_way = UnderWay::begin(&notes, 0, 0);
        under_way.since -= Duration::from_secs(80);
        under_way.acknowledged(1, "m".into(), "ines 0 0".into());
        let [Some(p99)] = room.p99()[..] else {
            panic!("one home: {:?}", room.p99());
        };
        // Two digits are kept.
        assert!((80..90).contains(&p99.as_secs()), "{p99:?}");
    }

    #[test]
    fn a_pause_is_the_longest_time_between_two_acknowledgements_or_until_the_end() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let longest = |pause: &Pause, millis| pause.longest(at(millis)).as_millis();
        let mut pause = Pause::default();
        assert_eq!(longest(&pause, 50), 0, "not begun");
        pause.begin(at(100));
        for millis in [130, 200, 220] {
            pause.beat(at(millis));
        }
        assert_eq!((longest(&pause, 230), longest(&pause, 320)), (70, 100), "it lasts");
        pause.end(at(310));
        assert_eq!(longest(&pause, 900), 90, "nobody sends");
        pause.beat(at(410));
        assert_eq!(longest(&pause, 900), 190, "somebody had to wait until then");
        pause.begin(at(1_000));
        assert_eq!(longest(&pause, 1_000), 0, "measured anew");
    }
}
