//! The load: sessions of both dialects at every node, in every room, which send, and note what they are told and shown.

use super::history::{Acknowledged, Room, Seen, Violation};
use chat_client::{
    ConnectOptions, Connection, Event, RawConnection, RawFrame, ResumingClient, ResumingOptions, SendError,
    SessionEvent, request,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// Extended sessions whose first address is the same node.
const EXTENDED_PER_NODE: usize = 2;
/// Between two sends of one sender into one room.
const PACE: Duration = Duration::from_millis(20);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(10);
/// Before a classic session tries again.
const AGAIN: Duration = Duration::from_millis(100);
/// Longest wait for one page of a log.
const PAGE_PATIENCE: Duration = Duration::from_secs(10);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn options() -> ConnectOptions {
    ConnectOptions {
        connect_deadline: Duration::from_secs(2),
        answer_deadline: Duration::from_secs(15),
        // A node that stands still is left after three to four seconds.
        ping_every: Some(Duration::from_secs(2)),
        ..ConnectOptions::default()
    }
}

/// What one session was shown in one room.
#[derive(Debug)]
struct Shown {
    who: String,
    /// One of an extended session, one per connection of a classic one. The last is the current one.
    segments: Vec<Segment>,
    /// False for a classic session between two connections.
    live: bool,
}

/// Messages that must have consecutive numbers.
#[derive(Debug)]
struct Segment {
    /// The number of the first message that was not compared yet, as the session counts.
    due: u64,
    /// What to add to the session's numbers; `None` until the first message was compared.
    shift: Option<u64>,
    /// What was not compared yet, with numbers as the session counts them.
    fresh: Vec<Seen>,
}

impl Segment {
    const fn new(shift: Option<u64>) -> Self {
        Self {
            due: 1,
            shift,
            fresh: Vec::new(),
        }
    }

    /// The last number of the room that the session has, if that is known.
    fn last(&self) -> Option<u64> {
        Some(self.due + self.fresh.len() as u64 - 1 + self.shift?)
    }

    fn check(&mut self, who: &str, room: &Room) -> Vec<Violation> {
        let mut fresh = std::mem::take(&mut self.fresh);
        let Some(first) = fresh.first() else { return Vec::new() };
        let shift = match self.shift {
            Some(shift) => shift,
            // Only the ids of a classic session's messages mean something; what is nowhere is shown uncommitted.
            None => room
                .find(&first.message_id)
                .unwrap_or(first.seq)
                .saturating_sub(first.seq),
        };
        self.shift = Some(shift);
        for seen in &mut fresh {
            seen.seq += shift;
        }
        let found = room.check_shown(who, self.due + shift, &fresh);
        self.due += fresh.len() as u64;
        found
    }
}

/// One sender in one room.
#[derive(Debug)]
struct Sender {
    who: String,
    acknowledged: AtomicU64,
    fresh: Mutex<Vec<Acknowledged>>,
    /// A classic session's numbers may be shifted: only the ids of its messages mean something.
    by_id: bool,
}

#[derive(Debug, Default)]
struct Pause {
    last: Option<Instant>,
    longest: Duration,
}

#[derive(Debug)]
struct Shared {
    paused: watch::Sender<bool>,
    in_flight: AtomicUsize,
    delivered: AtomicU64,
    /// By room.
    senders: Vec<Vec<Arc<Sender>>>,
    shown: Vec<Vec<Arc<Mutex<Shown>>>>,
    pauses: Vec<Mutex<Pause>>,
    irregular: Vec<Mutex<Vec<String>>>,
}

/// All sessions. They end with it.
pub struct Crowd {
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

/// Creates a room.
///
/// # Errors
/// The node did not.
pub async fn create_room(url: &str, name: &str) -> Result<String, String> {
    let (connection, _events) = Connection::connect(url, &options())
        .await
        .map_err(|why| why.to_string())?;
    let created = connection.create_room(name, "chaos", None).await;
    created
        .map(|created| created.room_id.to_string())
        .map_err(|why| why.to_string())
}

impl Crowd {
    /// Starts the sessions. Room `n` is administered by the node of address `n`.
    #[must_use]
    pub fn start(urls: &[String], rooms: &[String]) -> Self {
        let mut names = Vec::new();
        for n in 0..urls.len() {
            names.extend((0..EXTENDED_PER_NODE).map(|i| (n, format!("extended-{}-{i}", n + 1), false)));
            names.push((n, format!("classic-{}", n + 1), true));
        }
        let sender = |who: &String, by_id| {
            Arc::new(Sender {
                who: who.clone(),
                acknowledged: AtomicU64::new(0),
                fresh: Mutex::default(),
                by_id,
            })
        };
        let shown = |who: &String| {
            Arc::new(Mutex::new(Shown {
                who: who.clone(),
                segments: vec![Segment::new(Some(0))],
                live: false,
            }))
        };
        let shared = Arc::new(Shared {
            paused: watch::Sender::new(false),
            in_flight: AtomicUsize::new(0),
            delivered: AtomicU64::new(0),
            senders: rooms
                .iter()
                .map(|_| names.iter().map(|(_, who, by_id)| sender(who, *by_id)).collect())
                .collect(),
            shown: rooms
                .iter()
                .map(|_| names.iter().map(|(_, who, _)| shown(who)).collect())
                .collect(),
            pauses: rooms.iter().map(|_| Mutex::default()).collect(),
            irregular: rooms.iter().map(|_| Mutex::default()).collect(),
        });
        let mut tasks = JoinSet::new();
        for (index, (node, who, classic)) in names.into_iter().enumerate() {
            if classic {
                let task = classic_session(Arc::clone(&shared), index, who, urls[node].clone(), rooms.to_vec());
                tasks.spawn(task);
                continue;
            }
            let addresses = (0..urls.len()).map(|i| urls[(node + i) % urls.len()].clone()).collect();
            let (client, events, driver) = ResumingClient::start(ResumingOptions {
                addresses,
                user: who.clone(),
                client: "chat-chaos".into(),
                connect: options(),
                persistent: true,
            });
            tasks.spawn(async move { drop(driver.await) });
            tasks.spawn(take_events(Arc::clone(&shared), index, rooms.to_vec(), events));
            for (nth, room) in rooms.iter().enumerate() {
                tasks.spawn(extended_sender(
                    Arc::clone(&shared),
                    index,
                    who.clone(),
                    client.clone(),
                    nth,
                    room.clone(),
                ));
            }
        }
        Self { shared, _tasks: tasks }
    }

    /// Nobody begins a send any more.
    pub fn pause(&self) {
        self.shared.paused.send_replace(true);
    }

    /// Everybody sends again.
    pub fn resume(&self) {
        self.shared.paused.send_replace(false);
    }

    /// Waits until nothing is under way.
    pub async fn settled(&self) {
        while self.shared.in_flight.load(Ordering::Acquire) > 0 {
            sleep(LOOK).await;
        }
    }

    /// How much is under way.
    #[must_use]
    pub fn open(&self) -> String {
        format!("{} sends", self.shared.in_flight.load(Ordering::Acquire))
    }

    /// Waits until every sender got a message into every room that it began to send after this call.
    ///
    /// # Errors
    /// Who did not, in which room, within the time.
    pub async fn everybody_sends(&self, within: Duration) -> Result<(), String> {
        let all = || {
            self.shared
                .senders
                .iter()
                .enumerate()
                .flat_map(|(room, senders)| senders.iter().map(move |s| (room, s)))
        };
        let count = |sender: &Sender| sender.acknowledged.load(Ordering::Acquire);
        // One may be under way now; the second one begins later.
        let wanted: Vec<u64> = all().map(|(_, sender)| count(sender) + 2).collect();
        let deadline = Instant::now() + within;
        loop {
            let missing: Vec<String> = all()
                .zip(&wanted)
                .filter(|((_, sender), wanted)| count(sender) < **wanted)
                .map(|((room, sender), _)| format!("{} in room {room}", sender.who))
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

    /// From here on the time without acknowledgements is measured anew.
    pub fn begin_pauses(&self) {
        for pause in &self.shared.pauses {
            *lock(pause) = Pause {
                last: Some(Instant::now()),
                longest: Duration::ZERO,
            };
        }
    }

    /// The longest time without an acknowledgement in one room.
    #[must_use]
    pub fn longest_pause(&self) -> Duration {
        self.shared
            .pauses
            .iter()
            .map(|pause| lock(pause).longest)
            .max()
            .unwrap_or_default()
    }

    /// Waits until every session that is there has everything up to `head` of a room.
    pub async fn caught_up(&self, room: usize, head: u64) {
        let behind = |shown: &Arc<Mutex<Shown>>| {
            let shown = lock(shown);
            // A classic connection that was not compared yet has nothing to count from.
            let last = shown.segments.last().and_then(Segment::last);
            shown.live && last.is_some_and(|last| last < head)
        };
        while self.shared.shown[room].iter().any(behind) {
            sleep(LOOK).await;
        }
    }

    /// Compares what was acknowledged and shown since the last call with what the room holds.
    pub fn check(&self, nth: usize, room: &mut Room) -> Vec<Violation> {
        let mut found = room.check_log();
        for (index, sender) in self.shared.senders[nth].iter().enumerate() {
            let mut acknowledged = std::mem::take(&mut *lock(&sender.fresh));
            for ack in &mut acknowledged {
                ack.sender = index;
                if sender.by_id {
                    // What is nowhere keeps a number that is nowhere.
                    ack.seq = room.find(&ack.message_id).unwrap_or(u64::MAX);
                }
            }
            found.extend(room.check_acknowledged(&acknowledged));
        }
        for shown in &self.shared.shown[nth] {
            let mut shown = lock(shown);
            let Shown { who, segments, .. } = &mut *shown;
            found.extend(segments.iter_mut().flat_map(|segment| segment.check(who, room)));
            let past = segments.len().saturating_sub(1);
            segments.drain(..past);
        }
        let irregular = std::mem::take(&mut *lock(&self.shared.irregular[nth]));
        found.extend(irregular.into_iter().map(Violation::Irregular));
        found
    }

    /// All acknowledgements and all messages shown so far.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        let acknowledged = self
            .shared
            .senders
            .iter()
            .flatten()
            .map(|s| s.acknowledged.load(Ordering::Acquire))
            .sum();
        (acknowledged, self.shared.delivered.load(Ordering::Acquire))
    }
}

/// One send under way, until it is dropped.
struct UnderWay(Arc<Shared>);

impl UnderWay {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.in_flight.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(shared))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Shared {
    async fn may_send(&self) {
        // The sender of the flag lives as long as the crowd.
        drop(self.paused.subscribe().wait_for(|paused| !*paused).await);
    }

    fn acknowledged(&self, room: usize, sender: usize, ack: Acknowledged) {
        let sender = &self.senders[room][sender];
        lock(&sender.fresh).push(ack);
        sender.acknowledged.fetch_add(1, Ordering::AcqRel);
        let mut pause = lock(&self.pauses[room]);
        let now = Instant::now();
        if let Some(last) = pause.last.replace(now) {
            pause.longest = pause.longest.max(now - last);
        }
    }

    fn irregular(&self, room: usize, what: String) {
        lock(&self.irregular[room]).push(what);
    }

    fn shown(&self, room: usize, who: usize, seen: Seen) {
        self.delivered.fetch_add(1, Ordering::AcqRel);
        let mut shown = lock(&self.shown[room][who]);
        if let Some(segment) = shown.segments.last_mut() {
            segment.fresh.push(seen);
        }
    }
}

async fn take_events(
    shared: Arc<Shared>,
    index: usize,
    rooms: Vec<String>,
    mut events: tokio::sync::mpsc::Receiver<SessionEvent>,
) {
    let number: BTreeMap<&str, usize> = rooms.iter().enumerate().map(|(n, room)| (room.as_str(), n)).collect();
    let of = |room: &str| number.get(room).copied().unwrap_or(0);
    while let Some(event) = events.recv().await {
        let who = |room: usize| lock(&shared.shown[room][index]).who.clone();
        match event {
            SessionEvent::Message(message) => {
                let seen = Seen {
                    seq: message.seq,
                    message_id: message.message_id.to_string(),
                    content: message.content.to_string(),
                };
                shared.shown(of(&message.room_id), index, seen);
            }
            SessionEvent::Joined { room_id, .. } => {
                lock(&shared.shown[of(&room_id)][index]).live = true;
            }
            SessionEvent::Irregular { room_id, due, came } => {
                let room = of(&room_id);
                shared.irregular(room, format!("{} was sent {came} where {due} was due", who(room)));
            }
            SessionEvent::Resynced { room_id, from, reason } => {
                let room = of(&room_id);
                shared.irregular(room, format!("{} had to begin again at {from}: {reason}", who(room)));
            }
            SessionEvent::JoinRefused { room_id, code } => {
                let room = of(&room_id);
                shared.irregular(room, format!("{} was refused: {code}", who(room)));
            }
            SessionEvent::Sent { .. }
            | SessionEvent::SendRefused { .. }
            | SessionEvent::Degraded { .. }
            | SessionEvent::Other(_) => {}
        }
    }
    for room in 0..rooms.len() {
        shared.irregular(room, format!("session {index} ended"));
    }
}

async fn extended_sender(
    shared: Arc<Shared>,
    index: usize,
    who: String,
    client: ResumingClient,
    nth: usize,
    room: String,
) {
    client.join(&room, 1_000).await;
    for counter in 0_u64.. {
        shared.may_send().await;
        let content = format!("{who} {nth} {counter}");
        let under_way = UnderWay::new(&shared);
        let sent = client.send(&room, &content, &content).await;
        match sent {
            Ok(sent) => shared.acknowledged(
                nth,
                index,
                Acknowledged {
                    sender: index,
                    seq: sent.seq,
                    message_id: sent.message_id,
                    content,
                },
            ),
            Err(SendError::Refused(code)) => shared.irregular(nth, format!("{content} was refused: {code}")),
            Err(SendError::Ended) => return,
        }
        drop(under_way);
        sleep(PACE).await;
    }
}

/// A client of the classic dialect: what it did not hear the end of is lost to it, and it begins anew.
async fn classic_session(shared: Arc<Shared>, index: usize, who: String, url: String, rooms: Vec<String>) {
    let mut counter = 0_u64;
    loop {
        classic_connection(&shared, index, &who, &url, &rooms, &mut counter).await;
        for shown in &shared.shown {
            lock(&shown[index]).live = false;
        }
        sleep(AGAIN).await;
    }
}

async fn classic_connection(
    shared: &Arc<Shared>,
    index: usize,
    who: &str,
    url: &str,
    rooms: &[String],
    counter: &mut u64,
) {
    let Ok((connection, mut events)) = Connection::connect(url, &options()).await else {
        return;
    };
    for shown in &shared.shown {
        lock(&shown[index]).segments.push(Segment::new(None));
    }
    for (nth, room) in rooms.iter().enumerate() {
        if connection.join(room, who).await.is_err() {
            return;
        }
        lock(&shared.shown[nth][index]).live = true;
    }
    let reading = async {
        while let Some(event) = events.next().await {
            if let Event::NewMessage(message) = event
                && let Some(nth) = rooms.iter().position(|room| **room == *message.room_id)
            {
                let seen = Seen {
                    seq: message.seq,
                    message_id: message.message_id.to_string(),
                    content: message.content.to_string(),
                };
                shared.shown(nth, index, seen);
            }
        }
    };
    let sending = async {
        loop {
            for (nth, room) in rooms.iter().enumerate() {
                shared.may_send().await;
                let content = format!("{who} {nth} {counter}");
                *counter += 1;
                let under_way = UnderWay::new(shared);
                let sent = connection.send(room, who, &content).await;
                if let Ok(sent) = &sent {
                    let ack = Acknowledged {
                        sender: index,
                        seq: sent.seq,
                        message_id: sent.message_id.to_string(),
                        content,
                    };
                    shared.acknowledged(nth, index, ack);
                }
                drop(under_way);
                match sent {
                    Ok(_) => sleep(PACE).await,
                    // The room may be back soon; without a connection nothing is.
                    Err(chat_client::RequestError::Refused { code, .. }) if code != "NOT_MEMBER" => {
                        sleep(AGAIN).await;
                    }
                    Err(_) => return,
                }
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = sending => {}
    }
}

/// The messages of a room after a number, asked of the nodes in turn until one answers.
///
/// # Errors
/// None did.
pub async fn read_log(urls: &[String], room: &str, after: u64) -> Result<Vec<Seen>, String> {
    let mut last = String::new();
    for _ in 0..5 {
        for url in urls {
            match timeout(PAGE_PATIENCE, read_log_at(url, room, after)).await {
                Ok(Ok(log)) => return Ok(log),
                Ok(Err(why)) => last = why,
                Err(_) => last = format!("{url} does not answer"),
            }
        }
        sleep(AGAIN).await;
    }
    Err(format!("the log of {room} cannot be read: {last}"))
}

async fn read_log_at(url: &str, room: &str, mut after: u64) -> Result<Vec<Seen>, String> {
    let mut raw = RawConnection::connect(url, &options())
        .await
        .map_err(|why| why.to_string())?;
    let hello = json!({"type": "hello", "data": {"protocol": 2, "user": "checker"}});
    raw.queue_text(hello.to_string()).map_err(|_| "closed")?;
    ask(&mut raw, "join_room", json!({"room_id": room, "history": 0})).await?;
    let mut log = Vec::new();
    loop {
        let page = ask(&mut raw, "read_history", json!({"room_id": room, "after_seq": after})).await?;
        let data = &page["data"];
        if data["stale"] != false {
            return Err(format!("no fresh history at {url}: {page}"));
        }
        for message in data["messages"].as_array().ok_or("no messages")? {
            let text = |field: &str| message[field].as_str().unwrap_or_default().to_owned();
            let seq = message["sequence_number"].as_u64().unwrap_or_default();
            after = seq;
            log.push(Seen {
                seq,
                message_id: text("message_id"),
                content: text("content"),
            });
        }
        if data["more"] != true {
            ask(&mut raw, "leave_room", json!({"room_id": room})).await?;
            return Ok(log);
        }
    }
}

/// Sends a request and gives its answer; whatever else comes is dropped.
async fn ask(raw: &mut RawConnection, kind: &str, data: Value) -> Result<Value, String> {
    raw.queue_text(json!({"type": kind, "id": kind, "data": data}).to_string())
        .map_err(|_| "closed")?;
    loop {
        match raw.next().await {
            RawFrame::Text(text) if request::type_of(&text) != "new_message" => {
                let frame: Value = serde_json::from_str(&text).map_err(|why| why.to_string())?;
                if frame["re"] == kind {
                    return match frame["type"].as_str() {
                        Some("join_room_error" | "error") => Err(frame.to_string()),
                        _ => Ok(frame),
                    };
                }
            }
            RawFrame::Closed(closed) => return Err(closed.to_string()),
            _ => {}
        }
    }
}
