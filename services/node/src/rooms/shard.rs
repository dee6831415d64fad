//! One shard: the machines of its rooms, and the loop that feeds them.
//!
//! A turn takes what waits, up to a bound; feeds the machines; and ends by handing all appends to the store at once and
//! flushing every connection that got something, each with one write.

use super::originals::BroadcastPage;
use super::traced::Traced;
use super::traffic::Traffic;
use super::{Request, ShardInput, Shared, room_limits};
use crate::canary;
use crate::http::ops::BEAT;
use crate::peers::{Located, Peers};
use crate::session::Session;
use crate::session::outbound::Flushed;
use crate::store::{Appender, Store};
use crate::telemetry::traces::Active;
use bytes::Bytes;
use chat_engine::effect::{Answer, Effects, Origin, Submission};
use chat_engine::membership::Health;
use chat_engine::room::backlog::Backlog;
use chat_engine::room::follower::{self, Follower};
use chat_engine::room::guest::{self, Guest};
use chat_engine::room::roster::Seat;
use chat_engine::room::{self, Room, RoomLimits};
use chat_engine::stored::{Append, Appended};
use chat_engine::time::{Millis, Now};
use chat_protocol::client_frame::RequestId;
use chat_protocol::ids::{ClientMsgId, Generation, MessageId, NodeId, RoomId, Seq, SessionId, TransactionId, UserName};
use chat_protocol::peer_call::Range;
use chat_protocol::reject::Reject;
use chat_protocol::server_frame::History;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc::{self, error::TryRecvError};
use tokio::sync::oneshot;

/// Inputs per turn: enough to share the cost of a turn, few enough that nobody waits long for its flush.
const TURN: usize = 256;

/// What comes back from something that a shard started.
#[derive(Debug)]
pub(super) enum Completion {
    /// For the machine of an administered room.
    Admin(room::Input),
    /// For the machine of a followed room, whoever administers it.
    Member(follower::Input),
    /// For the machine of a room of an original node.
    Guest(guest::Input),
    /// A page for an original node, read or to be read.
    Broadcast(BroadcastPage),
    /// Frames of a page for a connection.
    Page {
        session: SessionId,
        page: u64,
        from: Seq,
        range: Result<Range, String>,
    },
    /// A connection that had no room for a page has room again.
    Drained {
        session: SessionId,
        page: u64,
        from: Seq,
        to: Seq,
    },
    /// Messages that a connection asked for.
    History {
        session: SessionId,
        request: u64,
        page: Result<History, Reject>,
    },
    /// Where a room is.
    Located(Located),
}

/// A room's machine.
#[derive(Debug)]
pub(super) enum Machine {
    /// This node administers the room.
    Admin(Box<Room>),
    /// Another node does.
    Member(Box<Follower>),
    /// A node of the original does.
    Guest(Box<Guest>),
}

impl Machine {
    /// The life of the numbering and the last message, if they are known.
    pub(super) fn head(&self) -> Option<(Generation, Seq)> {
        match self {
            Self::Admin(machine) => machine.head(),
            Self::Member(machine) => machine.head(),
            Self::Guest(machine) => machine.head(),
        }
    }

    /// The newest frames.
    pub(super) const fn backlog(&self) -> &Backlog {
        match self {
            Self::Admin(machine) => machine.backlog(),
            Self::Member(machine) => machine.backlog(),
            Self::Guest(machine) => machine.backlog(),
        }
    }

    /// True if the admin node is another one and does not answer.
    pub(super) const fn is_degraded(&self) -> bool {
        match self {
            Self::Admin(_) => false,
            Self::Member(machine) => machine.is_degraded(),
            Self::Guest(machine) => machine.is_degraded(),
        }
    }
}

/// A connection that gets deliveries.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) session: Arc<Session>,
    pub(super) shift: u64,
    /// Earlier messages are not for it.
    pub(super) first: Seq,
    pub(super) live: bool,
    /// The page that it waits for; 0 for none. Any other is one of a cursor that it had before.
    pub(super) page: u64,
    /// It was live once and could not take a delivery.
    pub(super) lagged: bool,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) session: Arc<Session>,
    pub(super) user: UserName,
    pub(super) re: Option<RequestId>,
    pub(super) client_msg_id: Option<ClientMsgId>,
    /// When it was asked.
    pub(super) since: Instant,
    /// The answer, while an earlier request of the connection has none yet.
    pub(super) ready: Option<Bytes>,
    /// What the connection is told behind the answer.
    pub(super) farewell: Option<Bytes>,
}

/// A room with what belongs to it here.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) room_id: RoomId,
    pub(super) machine: Machine,
    pub(super) subscribers: BTreeMap<SessionId, Subscriber>,
    /// Requests under way, those of one connection in their order: one of a classic one, up to 16 of an extended one.
    pub(super) asking: BTreeMap<(SessionId, u64), Asking>,
    /// Calls of original nodes under way.
    pub(super) calls: BTreeMap<u64, oneshot::Sender<Answer>>,
    pub(super) idle: bool,
    members: u32,
    /// Messages that the room is known to have and that were not delivered here.
    pub(super) lag: i64,
    pub(super) traffic: Traffic,
    /// Messages that are traced, of which there are nearly always none.
    pub(super) traced: Traced,
    /// It is prepared for a deletion of whose end it hears nothing.
    in_doubt: bool,
    deadline: Option<Millis>,
}

/// What the performer of effects may touch besides the entry itself.
pub(super) struct Outside {
    pub(super) shared: Arc<Shared>,
    pub(super) store: Arc<dyn Store>,
    pub(super) peers: Peers,
    pub(super) completions: mpsc::UnboundedSender<(RoomId, Completion)>,
    /// Numbers the pages that were asked for.
    pub(super) pages: u64,
    pub(super) appends: Vec<Append>,
    pub(super) dirty: Vec<Arc<Session>>,
    pub(super) answered: Vec<Arc<Session>>,
    /// Extended connections that were unsubscribed in this turn: one of them may be told that it was replaced.
    pub(super) replaced: HashMap<SessionId, Arc<Session>>,
    /// Spans that end when what this turn said is written.
    pub(super) ending: Vec<Active>,
}

pub(super) struct Shard {
    pub(super) outside: Outside,
    limits: RoomLimits,
    pub(super) rooms: HashMap<RoomId, Entry>,
    /// Rooms whose place is being looked for, and what waits for it.
    pub(super) locating: HashMap<RoomId, VecDeque<ShardInput>>,
    deadlines: BTreeSet<(Millis, RoomId)>,
    appender: Box<dyn Appender>,
    outcomes: mpsc::UnboundedReceiver<Vec<Appended>>,
    completed: mpsc::UnboundedReceiver<(RoomId, Completion)>,
    next_request: u64,
    effects: Effects,
}

impl Shard {
    pub(super) fn new(shared: Arc<Shared>, store: Arc<dyn Store>, peers: Peers) -> Self {
        let (outcome_sender, outcomes) = bounded_by_the_machines();
        let (completions, completed) = bounded_by_the_machines();
        let appender = store.appender(outcome_sender);
        let limits = room_limits(&shared.limits);
        Self {
            outside: Outside {
                shared,
                store,
                peers,
                completions,
                pages: 0,
                appends: Vec::new(),
                dirty: Vec::new(),
                answered: Vec::new(),
                replaced: HashMap::new(),
                ending: Vec::new(),
            },
            limits,
            rooms: HashMap::new(),
            locating: HashMap::new(),
            deadlines: BTreeSet::new(),
            appender,
            outcomes,
            completed,
            next_request: 1,
            effects: Vec::new(),
        }
    }

    /// Turns until every sender of `inputs` is gone, at least once per beat. `number` tells which pulse is its.
    pub(super) async fn run(mut self, number: usize, mut inputs: mpsc::Receiver<ShardInput>) {
        let pulses = Arc::clone(&self.outside.shared.pulses);
        let beat = || {
            if let Some(pulse) = pulses.shards.get(number) {
                pulse.beat();
            }
        };
        beat();
        loop {
            let deadline = self
                .deadlines
                .first()
                .map(|(at, _)| self.outside.shared.clock.instant(*at));
            let next_beat = Instant::now() + BEAT;
            let deadline = deadline.map_or(next_beat, |deadline| deadline.min(next_beat));
            tokio::select! {
                biased;
                Some(outcomes) = self.outcomes.recv() => self.on_outcomes(outcomes),
                Some((room, completion)) = self.completed.recv() => self.on_completion(room, completion),
                input = inputs.recv() => match input {
                    Some(input) => self.on_input(input),
                    None => break,
                },
                () = tokio::time::sleep_until(deadline.into()) => {}
            }
            for _ in 0..TURN {
                if let Ok(outcomes) = self.outcomes.try_recv() {
                    self.on_outcomes(outcomes);
                } else if let Ok((room, completion)) = self.completed.try_recv() {
                    self.on_completion(room, completion);
                } else {
                    match inputs.try_recv() {
                        Ok(input) => self.on_input(input),
                        Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                    }
                }
            }
            self.on_time();
            self.end_turn();
            beat();
        }
    }

    fn end_turn(&mut self) {
        self.outside.replaced.clear();
        if !self.outside.appends.is_empty() {
            self.appender.append(std::mem::take(&mut self.outside.appends));
        }
        for session in self.outside.dirty.drain(..) {
            // A connection that is blocked, dead or to be closed is the business of its own task.
            if session.outbound.flush() != Flushed::Empty || session.outbound.closing().is_some() {
                session.wake();
            }
        }
        self.outside.ending.clear();
        // After the flush, so that an answer is written together with what was delivered before it.
        for session in self.outside.answered.drain(..) {
            session.wake();
        }
    }

    fn on_outcomes(&mut self, outcomes: Vec<Appended>) {
        let now = self.outside.shared.clock.now();
        for Appended {
            room_id,
            token,
            outcome,
        } in outcomes
        {
            self.feed(
                now,
                &room_id,
                Completion::Admin(room::Input::Appended { token, outcome }),
            );
        }
    }

    fn on_completion(&mut self, room: RoomId, completion: Completion) {
        let now = self.outside.shared.clock.now();
        match completion {
            Completion::Located(located) => self.on_located(now, room, located),
            claimed @ Completion::Admin(room::Input::Claimed(_)) => {
                self.feed(now, &room, claimed);
                self.adopt_originals(now, &room);
            }
            other => self.feed(now, &room, other),
        }
    }

    fn on_time(&mut self) {
        let now = self.outside.shared.clock.now();
        while let Some((at, _)) = self.deadlines.first()
            && *at <= now.mono
        {
            let Some((_, room)) = self.deadlines.pop_first() else {
                break;
            };
            let Some(entry) = self.rooms.get_mut(&room) else {
                continue;
            };
            entry.deadline = None;
            match &mut entry.machine {
                Machine::Admin(machine) => machine.handle_timeout(now, &mut self.effects),
                Machine::Member(machine) => machine.handle_timeout(now, &mut self.effects),
                Machine::Guest(machine) => machine.handle_timeout(now, &mut self.effects),
            }
            self.settle(now, &room);
        }
    }

    // === inputs from outside

    fn on_input(&mut self, input: ShardInput) {
        let now = self.outside.shared.clock.now();
        match input {
            ShardInput::Request {
                session,
                room,
                request,
                re,
                trace,
            } => self.on_request(now, (session, room), request, re, trace),
            ShardInput::Open(room) => self.open(now, &room),
            ShardInput::Closed { session, room } => self.on_closed(now, session, room),
            ShardInput::Items { from, items } => self.on_items(now, &from, items),
            ShardInput::Followed { node, all, answer } => drop(answer.send(self.followed(&node, all))),
            ShardInput::Busiest(answer) => drop(answer.send(self.busiest(now))),
            ShardInput::Tails { from, tails } => self.on_tails(now, &from, tails),
            ShardInput::PeerRestarted(node, life) => self.on_peer_restarted(now, &node, life),
            ShardInput::PeerReset(node) => self.on_peer_reset(now, &node),
            ShardInput::PeerHealth { node, health } => self.on_peer_health(now, &node, health),
            ShardInput::Call { room, call, answer } => self.on_call(now, &room, call, answer),
            ShardInput::PeerReplaced(node) => self.on_peer_replaced(now, &node),
            ShardInput::OriginalWord { room, said } => self.on_original_word(now, &room, said),
            ShardInput::Note { room, input } => {
                self.feed(now, &room, Completion::Admin(room::Input::Original(input)));
            }
            ShardInput::Show { room, input, taken } => {
                self.feed(now, &room, Completion::Guest(input));
                // Whoever called may not wait any more.
                taken.send(()).ok();
            }
        }
    }

    /// A number for a request, unlike any other of this shard.
    pub(super) fn next_request(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request - 1
    }

    fn on_request(
        &mut self,
        now: Now,
        (session, room): (Arc<Session>, RoomId),
        request: Request,
        re: Option<RequestId>,
        trace: Option<Active>,
    ) {
        if !self.rooms.contains_key(&room) {
            let input = ShardInput::Request {
                session,
                room: room.clone(),
                request,
                re,
                trace,
            };
            self.locate(room, input);
            return;
        }
        let Some(entry) = self.rooms.get_mut(&room) else { return };
        let origin = Origin {
            node: self.outside.shared.me.clone(),
            session: session.id,
            request: self.next_request,
        };
        self.next_request += 1;
        let client_msg_id = match &request {
            Request::Send { client_msg_id, .. } => client_msg_id.clone(),
            _ => None,
        };
        let asking = Asking {
            session,
            user: request.user().clone(),
            re,
            client_msg_id,
            since: Instant::now(),
            ready: None,
            farewell: None,
        };
        entry.asking.insert((origin.session, origin.request), asking);
        let input = match (&entry.machine, request) {
            (_, Request::History { from, limit, .. }) => {
                self.outside.history(&room, entry, &origin, from, limit);
                return;
            }
            (Machine::Admin(_), Request::Join { user, terms }) => {
                Completion::Admin(room::Input::Join { origin, user, terms })
            }
            (Machine::Admin(_), Request::Leave { user }) => Completion::Admin(room::Input::Leave { origin, user }),
            (
                Machine::Admin(_),
                Request::Send {
                    user,
                    content,
                    client_msg_id,
                },
            ) => {
                let submission = Submission {
                    origin,
                    user,
                    content,
                    client_msg_id,
                    message_id: new_message_id(),
                };
                Completion::Admin(room::Input::Send(submission))
            }
            (Machine::Admin(_), Request::Delete { user }) => Completion::Admin(room::Input::Delete {
                origin,
                user,
                transaction: new_transaction_id(),
            }),
            (Machine::Member(_) | Machine::Guest(_), Request::Delete { user }) => {
                Completion::Member(follower::Input::Delete { origin, user })
            }
            (Machine::Member(_) | Machine::Guest(_), Request::Join { user, terms }) => {
                Completion::Member(follower::Input::Join { origin, user, terms })
            }
            (Machine::Member(_) | Machine::Guest(_), Request::Leave { user }) => {
                Completion::Member(follower::Input::Leave { origin, user })
            }
            (
                Machine::Member(_) | Machine::Guest(_),
                Request::Send {
                    user,
                    content,
                    client_msg_id,
                },
            ) => Completion::Member(follower::Input::Send {
                origin,
                user,
                content,
                client_msg_id: client_msg_id.unwrap_or_else(new_client_msg_id),
            }),
        };
        if let Some(trace) = trace {
            entry.traced.asked(&self.outside.shared.traces, &room, trace, &input);
            let log = entry.traced.log();
            return log.in_scope(|| {
                tracing::debug!(%room, "a message of a client is traced");
                self.feed(now, &room, input);
            });
        }
        self.feed(now, &room, input);
    }

    fn on_closed(&mut self, now: Now, session: SessionId, room: RoomId) {
        if let Some(waiting) = self.locating.get_mut(&room) {
            waiting.push_back(ShardInput::Closed { session, room });
            return;
        }
        let Some(entry) = self.rooms.get_mut(&room) else { return };
        entry.asking.retain(|(asker, _), _| *asker != session);
        entry.traced.closed(&self.outside.shared.me, session);
        let input = match entry.machine {
            Machine::Admin(_) => {
                let node = self.outside.shared.me.clone();
                Completion::Admin(room::Input::Closed(Seat { node, session }))
            }
            Machine::Member(_) | Machine::Guest(_) => Completion::Member(follower::Input::Closed(session)),
        };
        self.feed(now, &room, input);
    }

    /// Looks for a room that has no machine here; `input` waits.
    fn locate(&mut self, room: RoomId, input: ShardInput) {
        let waiting = self.locating.entry(room.clone()).or_default();
        waiting.push_back(input);
        if waiting.len() > 1 {
            return;
        }
        let (store, peers) = (Arc::clone(&self.outside.store), self.outside.peers.clone());
        let completions = self.outside.completions.clone();
        tokio::spawn(async move {
            let located = match store.has_room(room.clone()).await {
                Ok(true) => Located::Here,
                // What was deleted here is nowhere.
                Ok(false) => match store.deletion(room.clone()).await {
                    Ok(None) => peers.locate(&room, &*store).await,
                    Ok(Some(_)) => Located::Nowhere,
                    Err(why) => Located::Failed(why.to_string()),
                },
                Err(why) => Located::Failed(why.to_string()),
            };
            drop(completions.send((room, Completion::Located(located))));
        });
    }

    fn on_located(&mut self, now: Now, room: RoomId, located: Located) {
        let full = self.rooms.len()
            >= self
                .outside
                .shared
                .limits
                .max_room_machines
                .div_ceil(self.outside.shared.limits.shards);
        let located = if full { Located::Full } else { located };
        let Some(waiting) = self.locating.remove(&room) else {
            return;
        };
        match located {
            Located::Here => self.open(now, &room),
            Located::At(node) => {
                let machine = Follower::new(room.clone(), node.clone(), canary::limits_of(&room, self.limits));
                self.follow(now, &room, &node, Machine::Member(Box::new(machine)));
            }
            Located::AtOriginal(node) => {
                let machine = Guest::new(now, room.clone(), node.clone(), self.limits);
                self.follow(now, &room, &node, Machine::Guest(Box::new(machine)));
            }
            Located::Nowhere | Located::Unavailable | Located::Failed(_) | Located::Full => {
                let reject = located.reject();
                for input in waiting {
                    match input {
                        ShardInput::Request {
                            session, request, re, ..
                        } => self
                            .outside
                            .refuse(&session, &room, &request, re.as_ref(), reject.clone()),
                        // Another node asks who is here, and nobody is.
                        ShardInput::Items { from, items } => self.on_items(now, &from, items),
                        _ => {}
                    }
                }
                return;
            }
        }
        for input in waiting {
            self.on_input(input);
        }
    }

    /// Begins to administer a room: its machine asks the store for it.
    pub(super) fn open(&mut self, now: Now, room: &RoomId) {
        if self.rooms.contains_key(room) {
            return;
        }
        let limits = canary::limits_of(room, self.limits);
        let machine = Room::open(room.clone(), self.outside.shared.me.clone(), limits, &mut self.effects);
        self.rooms.insert(
            room.clone(),
            Entry::new(room.clone(), Machine::Admin(Box::new(machine))),
        );
        self.outside.shared.metrics.rooms_active.inc();
        self.settle(now, room);
    }

    fn follow(&mut self, now: Now, room: &RoomId, admin: &NodeId, machine: Machine) {
        if self.rooms.contains_key(room) {
            return;
        }
        let failed = self.outside.peers.health(admin) == Health::Failed;
        self.rooms.insert(room.clone(), Entry::new(room.clone(), machine));
        self.outside.shared.metrics.rooms_active.inc();
        if failed && let Some(entry) = self.rooms.get_mut(room) {
            entry.take(
                now,
                Completion::Member(follower::Input::AdminFailed),
                &mut self.effects,
                &mut self.outside,
            );
            // It is not needed by anybody yet, but it will be before this turn ends.
            self.effects.clear();
        }
    }

    // === feeding machines

    /// Gives one input to a room's machine and performs what it asks for, and what that leads to at once.
    pub(super) fn feed(&mut self, now: Now, room: &RoomId, first: Completion) {
        let Some(entry) = self.rooms.get_mut(room) else { return };
        entry.take(now, first, &mut self.effects, &mut self.outside);
        self.settle(now, room);
    }

    /// Performs the effects that wait, feeds back what they led to, and keeps the deadline of the room.
    fn settle(&mut self, now: Now, room: &RoomId) {
        let Some(entry) = self.rooms.get_mut(room) else { return };
        let mut follow_ups = VecDeque::new();
        loop {
            for effect in std::mem::take(&mut self.effects) {
                self.outside.perform(room, entry, effect, &mut follow_ups);
            }
            match follow_ups.pop_front() {
                Some(next) => entry.take(now, next, &mut self.effects, &mut self.outside),
                None => break,
            }
        }
        entry.count(&self.outside.shared.metrics.messages);
        let (deadline, members) = match &entry.machine {
            Machine::Admin(machine) => (machine.next_deadline(), Some(machine.member_count())),
            Machine::Member(machine) => (machine.next_deadline(), None),
            Machine::Guest(machine) => (machine.next_deadline(), None),
        };
        let drop_it = std::mem::take(&mut entry.idle) && entry.asking.is_empty() && entry.calls.is_empty();
        let deadline = deadline.filter(|_| !drop_it);
        if entry.deadline != deadline {
            if let Some(old) = entry.deadline {
                self.deadlines.remove(&(old, room.clone()));
            }
            if let Some(new) = deadline {
                self.deadlines.insert((new, room.clone()));
            }
            entry.deadline = deadline;
        }
        if let Some(members) = members {
            let members = u32::try_from(members).unwrap_or(u32::MAX);
            if std::mem::replace(&mut entry.members, members) != members {
                self.outside.shared.counts.set(room, members);
            }
        }
        let in_doubt = matches!(&entry.machine, Machine::Member(machine) if machine.is_in_doubt());
        if std::mem::replace(&mut entry.in_doubt, in_doubt) != in_doubt {
            let gauge = &self.outside.shared.metrics.deletions.in_doubt;
            gauge.add(if in_doubt { 1 } else { -1 });
        }
        if drop_it {
            let lag = self.rooms.remove(room).map_or(0, |entry| entry.lag);
            self.outside.shared.metrics.messages.lag.sub(lag);
            self.outside.shared.metrics.rooms_active.dec();
        }
    }
}

impl Entry {
    fn new(room_id: RoomId, machine: Machine) -> Self {
        Self {
            room_id,
            machine,
            subscribers: BTreeMap::new(),
            asking: BTreeMap::new(),
            calls: BTreeMap::new(),
            idle: false,
            members: 0,
            in_doubt: false,
            deadline: None,
            lag: 0,
            traffic: Traffic::default(),
            traced: Traced::default(),
        }
    }

    fn take(&mut self, now: Now, input: Completion, effects: &mut Effects, outside: &mut Outside) {
        if let Completion::Page { session, page, .. } | Completion::Drained { session, page, .. } = &input
            && self.subscribers.get(session).is_none_or(|s| s.page != *page)
        {
            // It belongs to a connection that left, or that left and came back and gets everything anew.
            return;
        }
        match (&mut self.machine, input) {
            (Machine::Admin(machine), Completion::Admin(input)) => machine.handle(now, input, effects),
            (Machine::Member(machine), Completion::Member(input)) => machine.handle(now, input, effects),
            (Machine::Guest(machine), Completion::Member(input)) => {
                machine.handle(now, guest::Input::Asked(input), effects);
            }
            (Machine::Guest(machine), Completion::Guest(input)) => machine.handle(now, input, effects),
            (Machine::Admin(_), Completion::Broadcast(page)) => {
                let room = self.room_id.clone();
                outside.broadcast_page(&room, self, page);
            }
            (
                _,
                Completion::Page {
                    session, from, range, ..
                },
            ) => {
                let input = outside.send_page(self, session, from, range);
                self.take(now, input, effects, outside);
            }
            (_, Completion::History { session, request, page }) => outside.answer_history(self, session, request, page),
            (_, Completion::Drained { session, from, to, .. }) => {
                effects.push(chat_engine::effect::Effect::SendPage { session, from, to });
            }
            // What belonged to a machine that is gone means nothing to its successor.
            _ => {}
        }
    }

    pub(super) const fn room_id(&self) -> &RoomId {
        &self.room_id
    }

    /// A page input for whichever machine this is.
    pub(super) fn page_sent(&self, session: SessionId, from: Seq, next: Seq) -> Completion {
        match self.machine {
            Machine::Admin(_) => Completion::Admin(room::Input::PageSent { session, from, next }),
            Machine::Member(_) | Machine::Guest(_) => {
                Completion::Member(follower::Input::PageSent { session, from, next })
            }
        }
    }

    pub(super) fn page_failed(&self, session: SessionId, from: Seq) -> Completion {
        match self.machine {
            Machine::Admin(_) => Completion::Admin(room::Input::PageFailed { session, from }),
            Machine::Member(_) | Machine::Guest(_) => Completion::Member(follower::Input::PageFailed { session, from }),
        }
    }

    pub(super) fn page_trimmed(&self, session: SessionId, from: Seq, floor: Seq) -> Completion {
        match self.machine {
            Machine::Admin(_) => Completion::Admin(room::Input::PageTrimmed { session, from, floor }),
            Machine::Member(_) | Machine::Guest(_) => {
                Completion::Member(follower::Input::PageTrimmed { session, from, floor })
            }
        }
    }

    pub(super) fn lagged(&self, session: SessionId, next: Seq) -> Completion {
        match self.machine {
            Machine::Admin(_) => Completion::Admin(room::Input::Lagged { session, next }),
            Machine::Member(_) | Machine::Guest(_) => Completion::Member(follower::Input::Lagged { session, next }),
        }
    }
}

/// A channel without a bound of its own: the machines allow one append per room, one read per room or connection and one
/// location per room to be under way, and that bounds it.
#[allow(clippy::disallowed_methods)]
fn bounded_by_the_machines<T>() -> (mpsc::UnboundedSender<T>, mpsc::UnboundedReceiver<T>) {
    mpsc::unbounded_channel()
}

pub(super) fn new_transaction_id() -> TransactionId {
    TransactionId::parse(
        uuid::Uuid::new_v4()
            .hyphenated()
            .encode_lower(&mut uuid::Uuid::encode_buffer()),
    )
    .expect("a UUID is a valid id")
}

/// A message id: a UUID of version 7, so that ids of one time lie together on disk.
pub(super) fn new_message_id() -> MessageId {
    MessageId::parse(
        uuid::Uuid::now_v7()
            .hyphenated()
            .encode_lower(&mut uuid::Uuid::encode_buffer()),
    )
    .expect("a UUID is a valid id")
}

pub(super) fn new_client_msg_id() -> ClientMsgId {
    ClientMsgId::parse(
        uuid::Uuid::now_v7()
            .hyphenated()
            .encode_lower(&mut uuid::Uuid::encode_buffer()),
    )
    .expect("a UUID is a valid id")
}
