//! One shard: the machines of its rooms, and the loop that feeds them.
//!
//! A turn takes what waits, up to a bound; feeds the machines; and ends by handing all appends to the store at once and
//! flushing every connection that got something, each with one write.

use super::entry::{Asking, Completion, Entry, Machine};
use super::{Request, ShardInput, Shared, room_limits};
use crate::canary;
use crate::http::ops::BEAT;
use crate::peers::{Located, Peers};
use crate::session::Session;
use crate::session::outbound::Flushed;
use crate::store::{Appender, Store};
use crate::telemetry::traces::Active;
use chat_engine::effect::{Effects, Origin, Submission};
use chat_engine::membership::Health;
use chat_engine::room::follower::{self, Follower};
use chat_engine::room::guest::Guest;
use chat_engine::room::roster::Seat;
use chat_engine::room::{self, Room, RoomLimits};
use chat_engine::stored::{Append, Appended};
use chat_engine::time::{Millis, Now};
use chat_protocol::client_frame::RequestId;
use chat_protocol::ids::{ClientMsgId, MessageId, NodeId, RoomId, SessionId, TransactionId};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc::{self, error::TryRecvError};

/// Inputs per turn: enough to share the cost of a turn, few enough that nobody waits long for its flush.
const TURN: usize = 256;

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
