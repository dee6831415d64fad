//! The one place that turns effects into bytes, appends and calls; the words of answers are in `answers`.

use super::entry::{Completion, Entry, Machine};
use super::shard::Outside;
use crate::bugs;
use crate::session::Session;
use crate::session::outbound::{Kind, Offered};
use bytes::Bytes;
use chat_engine::effect::Effect;
use chat_engine::room::{self, follower, guest};
use chat_engine::stored::StoredSeat;
use chat_protocol::close::CloseReason;
use chat_protocol::codec;
use chat_protocol::ids::{NodeId, RoomId, Seq, SessionId};
use chat_protocol::message_frame::MessageFrame;
use chat_protocol::peer_call::Range;
use chat_protocol::peer_item::PeerBody;
use chat_protocol::server_frame::{Extra, MemberEvent, ServerFrame};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Most messages of a page.
pub(super) const PAGE_MESSAGES: usize = 500;
/// Most bytes of a page, about.
pub(super) const PAGE_BYTES: usize = 64 << 10;
/// Wait before a page that could not be read is asked for again.
pub(super) const PAGE_PAUSE: Duration = Duration::from_millis(200);

impl Outside {
    /// Does one thing that a machine asked for. What comes back at once is added to `follow_ups`.
    pub(super) fn perform(
        &mut self,
        room: &RoomId,
        entry: &mut Entry,
        effect: Effect,
        follow_ups: &mut VecDeque<Completion>,
    ) {
        match effect {
            Effect::Append(append) => {
                self.shared.metrics.messages.numbered.inc_by(append.items.len() as u64);
                if !entry.traced.is_empty() {
                    entry.traced.appended(&append);
                }
                self.appends.push(append);
            }
            Effect::Deliver(frames) => self.deliver(entry, &frames, follow_ups),
            Effect::Relay {
                nodes,
                generation,
                epoch,
                frames,
            } => {
                for node in nodes {
                    let spans = entry.traced.relayed(&self.shared.traces, &node, &frames);
                    self.peers
                        .relay(&node, room, (generation, epoch), frames.clone(), spans);
                }
            }
            Effect::Answer { to, answer } => {
                entry.traced.answered(&to, &answer, &mut self.ending);
                self.answer(room, entry, to, answer);
            }
            Effect::Announce { event, except, nodes } => self.announce(room, entry, &event, except, &nodes),
            // The answer to the join, which stands before, made the entry.
            Effect::Subscribe { session, shift, first } => {
                if let Some(subscriber) = entry.subscribers.get_mut(&session) {
                    (subscriber.shift, subscriber.first, subscriber.live) = (shift, first, false);
                    subscriber.page = 0;
                }
            }
            Effect::Resync {
                session,
                generation,
                from,
                reason,
            } => {
                if let Some(subscriber) = entry.subscribers.get(&session) {
                    let frame = ServerFrame::Resync {
                        room_id: room.clone(),
                        generation,
                        from,
                        reason,
                    };
                    let session = Arc::clone(&subscriber.session);
                    self.push(&session, codec::encode(&frame));
                }
            }
            Effect::Replaced { session } => {
                // Out of the audience it is already; what else it sits in follows when it ends.
                if let Some(replaced) = self.replaced.remove(&session) {
                    replaced.outbound.close(CloseReason::Replaced);
                    self.dirty.push(replaced);
                }
            }
            Effect::Overtaken { session } => {
                // It leaves the room when it ends, like any other that is closed.
                if let Some(subscriber) = entry.subscribers.get_mut(&session) {
                    subscriber.live = false;
                    subscriber.session.outbound.close(CloseReason::SlowReader);
                    self.dirty.push(Arc::clone(&subscriber.session));
                }
            }
            Effect::Trouble { degraded } => {
                let frame = ServerFrame::Trouble {
                    room_id: room.clone(),
                    degraded,
                };
                let bytes = codec::encode(&frame);
                for subscriber in entry.subscribers.values().filter(|s| s.session.is_extended()) {
                    if subscriber.session.outbound.push(Kind::Event, bytes.clone()) {
                        self.dirty.push(Arc::clone(&subscriber.session));
                    }
                }
            }
            Effect::KeepSeat { seat, user, key } => self.store.keep_seat(room.clone(), StoredSeat { seat, user, key }),
            Effect::DropSeat(seat) => self.store.drop_seat(room.clone(), seat),
            Effect::GoLive { session } => {
                if let Some(subscriber) = entry.subscribers.get_mut(&session) {
                    subscriber.live = true;
                    if std::mem::take(&mut subscriber.lagged) {
                        self.shared.metrics.clients.slow_recovered.inc();
                    }
                }
            }
            Effect::Unsubscribe { session } => {
                if let Some(subscriber) = entry.subscribers.remove(&session) {
                    subscriber.session.stand(room);
                    if subscriber.session.is_extended() {
                        self.replaced.insert(session, subscriber.session);
                    }
                }
            }
            Effect::SendPage { session, from, to } => self.page(room, entry, session, from, to, follow_ups),
            Effect::Claim => {
                let claim = self.store.claim(room.clone());
                self.complete(room, async move {
                    Completion::Admin(room::Input::Claimed(claim.await.map_err(|why| why.to_string())))
                });
            }
            Effect::Trim(trim) => {
                let trimmed = self.store.trim(room.clone(), trim);
                self.complete(room, async move {
                    Completion::Admin(room::Input::Trimmed(trimmed.await.map_err(|why| why.to_string())))
                });
            }
            Effect::Reread { from, limit } => {
                let read = self.store.read(room.clone(), from, limit, usize::MAX);
                self.complete(room, async move {
                    Completion::Admin(room::Input::Reread(read.await.map_err(|why| why.to_string())))
                });
            }
            Effect::TellHead {
                nodes,
                generation,
                epoch,
                head,
            } => {
                for node in nodes {
                    self.peers.tell_head(&node, room, generation, epoch, head);
                }
            }
            Effect::Tell { node, item } => {
                let spans = entry.traced.told(&self.shared.traces, &node, &item);
                self.peers.tell_traced(&node, room, item, spans);
            }
            Effect::Inquire { question, user } => {
                let nodes = self.peers.tell_ours(room, &PeerBody::Inquiry { question, user });
                follow_ups.push_back(Completion::Guest(guest::Input::Inquired { question, nodes }));
            }
            Effect::ReadRange { node, from } => {
                let (peers, of) = (self.peers.clone(), room.clone());
                self.complete(room, async move {
                    let range = if bugs::has("no-gap-repair") {
                        Ok(Range::of(from, Vec::new()))
                    } else {
                        peers.read_range(&node, &of, from, PAGE_MESSAGES).await
                    };
                    Completion::Member(follower::Input::RangeRead(range))
                });
            }
            Effect::Broadcast { node, shift, frames } => self.broadcast(room, &node, shift, frames, follow_ups),
            Effect::BroadcastPage { node, shift, from, to } => {
                self.start_broadcast_page(room, entry, (node, shift), (from, to));
            }
            Effect::BroadcastEvent { nodes, event } => self.broadcast_event(room, &nodes, &event),
            Effect::Recall { node, what } => self.recall(room, &node, &what),
            Effect::Ask { node, ask } => self.ask_original(room, &node, ask),
            Effect::BeginDeletion(begin) => self.begin_deletion(room, begin),
            Effect::DecideDeletion(decide) => self.decide_deletion(room, decide),
            Effect::Purge => self.purge(room),
            Effect::AskFate {
                node,
                transaction,
                question,
            } => self.ask_fate(room, node, transaction, question),
            Effect::TellOriginal {
                node,
                word,
                transaction,
                room_name,
            } => self.tell_original(room, &node, word, (transaction, room_name)),
            Effect::Notify { notice, except } => self.notify(room, entry, &notice, except),
            Effect::DeletionEnded { end, took } => self.count_deletion(room, &end, took),
            Effect::Idle => entry.idle = true,
        }
    }

    /// Runs `work` on a task of its own; its result comes back to the room.
    pub(super) fn complete(&self, room: &RoomId, work: impl Future<Output = Completion> + Send + 'static) {
        let (room, completions) = (room.clone(), self.completions.clone());
        tokio::spawn(async move {
            let completion = work.await;
            drop(completions.send((room, completion)));
        });
    }

    /// Queues what a connection did not ask for; it is flushed at the end of the turn.
    pub(super) fn push(&mut self, session: &Arc<Session>, bytes: Bytes) {
        if session.outbound.push(Kind::Event, bytes) {
            self.dirty.push(Arc::clone(session));
        }
    }

    // === deliveries

    /// A delivery that does not fit makes its connection a reader of history; nobody else notices.
    fn deliver(&mut self, entry: &mut Entry, frames: &[MessageFrame], follow_ups: &mut VecDeque<Completion>) {
        let mut lagging = Vec::new();
        let (mut delivered, mut sessions) = (0, 0);
        for (id, subscriber) in entry.subscribers.iter_mut().filter(|(_, s)| s.live) {
            for frame in frames.iter().filter(|frame| frame.seq() >= subscriber.first) {
                match subscriber.session.outbound.offer(frame.bytes(subscriber.shift)) {
                    Offered::MustFlush => self.dirty.push(Arc::clone(&subscriber.session)),
                    Offered::Queued => {}
                    Offered::Full => {
                        subscriber.live = false;
                        subscriber.lagged = true;
                        lagging.push((*id, frame.seq()));
                        break;
                    }
                }
                delivered += 1;
            }
            sessions += 1;
        }
        let (messages, now) = (&self.shared.metrics.messages, self.shared.clock.now());
        messages.delivered.inc_by(delivered);
        messages.fanned_out(entry.is_here(), frames, sessions, now.wall);
        entry.traffic.messages.add(now.mono.0, frames.len() as u64);
        entry.traffic.deliveries.add(now.mono.0, delivered);
        if !entry.traced.is_empty() {
            entry
                .traced
                .delivered(&self.shared.traces, frames, sessions, &mut self.ending);
        }
        follow_ups.extend(lagging.into_iter().map(|(session, next)| entry.lagged(session, next)));
    }

    fn page(
        &mut self,
        room: &RoomId,
        entry: &mut Entry,
        session: SessionId,
        from: Seq,
        to: Seq,
        follow_ups: &mut VecDeque<Completion>,
    ) {
        let Some(subscriber) = entry.subscribers.get_mut(&session) else {
            return;
        };
        self.pages += 1;
        let page = self.pages;
        subscriber.page = page;
        if !subscriber.session.outbound.has_room(1) {
            // One write may make room; otherwise the page waits until the client has taken half of what waits.
            subscriber.session.outbound.flush();
            let (completions, room) = (self.completions.clone(), room.clone());
            subscriber.session.outbound.when_drained(Box::new(move || {
                let drained = Completion::Drained {
                    session,
                    page,
                    from,
                    to,
                };
                drop(completions.send((room, drained)));
            }));
            subscriber.session.wake();
            return;
        }
        if let Some(frames) = entry.machine.backlog().page(from, to, PAGE_BYTES) {
            follow_ups.push_back(self.send_page(entry, session, from, Ok(Range::of(from, frames))));
            return;
        }
        let limit = usize::try_from(to.0 - from.0 + 1)
            .unwrap_or(PAGE_MESSAGES)
            .min(PAGE_MESSAGES);
        match &entry.machine {
            Machine::Admin(_) => {
                let read = self.store.read(room.clone(), from, limit, PAGE_BYTES);
                self.complete(room, async move {
                    let range = match read.await {
                        Ok(messages) => Ok(Range::of(from, messages.iter().map(MessageFrame::encode).collect())),
                        Err(why) => Err(why.to_string()),
                    };
                    page_of(session, page, from, range).await
                });
            }
            // What is not here is nowhere: the machine decides where the connection goes on.
            Machine::Guest(_) => {
                let nothing = Err("not kept".to_owned());
                self.complete(room, page_of(session, page, from, nothing));
            }
            Machine::Member(machine) => {
                let (peers, node, of) = (self.peers.clone(), machine.admin().clone(), room.clone());
                self.complete(room, async move {
                    page_of(session, page, from, peers.read_range(&node, &of, from, limit).await).await
                });
            }
        }
    }

    /// Queues a page for its connection and says how far it went. Frames beyond what is committed never come here: the
    /// store and the admin node give out committed messages only.
    pub(super) fn send_page(
        &mut self,
        entry: &Entry,
        session: SessionId,
        from: Seq,
        range: Result<Range, String>,
    ) -> Completion {
        let (Some(subscriber), Ok(Range { frames, floor })) = (entry.subscribers.get(&session), range) else {
            return entry.page_failed(session, from);
        };
        if let Some(floor) = floor.filter(|floor| *floor > from) {
            return entry.page_trimmed(session, from, floor);
        }
        let mut next = from;
        for frame in frames.iter().skip_while(|f| f.seq() < from) {
            if frame.seq() != next {
                break;
            }
            next = next.next();
            let bytes = frame.bytes(subscriber.shift);
            if subscriber.session.outbound.push(Kind::Message, bytes) {
                self.dirty.push(Arc::clone(&subscriber.session));
            }
        }
        self.shared.metrics.messages.delivered.inc_by(next.0 - from.0);
        entry.page_sent(session, from, next)
    }

    fn announce(
        &mut self,
        room: &RoomId,
        entry: &Entry,
        event: &MemberEvent,
        except: Option<SessionId>,
        nodes: &[NodeId],
    ) {
        for node in nodes {
            self.peers.announce(node, room, event.clone());
        }
        let frame = ServerFrame::Member(event.clone());
        // Encoded once for each dialect that is there.
        let (mut classic, mut extended) = (None, None);
        for subscriber in entry
            .subscribers
            .iter()
            .filter(|(id, _)| Some(**id) != except)
            .map(|(_, s)| s)
        {
            let bytes = if subscriber.session.is_extended() {
                &mut extended
            } else {
                &mut classic
            };
            let extra = Extra::Member { version: event.version };
            let bytes = bytes.get_or_insert_with(|| subscriber.session.encode(None, &frame, &extra));
            if subscriber.session.outbound.push(Kind::Event, bytes.clone()) {
                self.dirty.push(Arc::clone(&subscriber.session));
            }
        }
    }
}

/// A page that came from elsewhere; one that failed or is empty comes late, so that a broken source is not asked in a loop.
async fn page_of(session: SessionId, page: u64, from: Seq, range: Result<Range, String>) -> Completion {
    let range = match range {
        Ok(range) if range.frames.is_empty() => Err("no messages there".to_owned()),
        other => other,
    };
    if range.is_err() {
        tokio::time::sleep(PAGE_PAUSE).await;
    }
    Completion::Page {
        session,
        page,
        from,
        range,
    }
}
