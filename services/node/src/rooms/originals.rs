//! Nodes of the original system and the rooms of a shard: what they ask, what they show, and what they are asked and told.

use super::Call;
use super::entry::{Completion, Entry, Machine};
use super::perform::{PAGE_BYTES, PAGE_MESSAGES, PAGE_PAUSE};
use super::shard::{Outside, Shard, new_client_msg_id, new_message_id};
use crate::peers::original::queue::NoAnswer;
use chat_engine::effect::{Answer, Ask, Recalled};
use chat_engine::membership::Health;
use chat_engine::room::original::{self, shift_of};
use chat_engine::room::{self, follower, guest};
use chat_engine::time::Now;
use chat_protocol::ids::{NodeId, RoomId, Seq, SessionId};
use chat_protocol::message_frame::MessageFrame;
use chat_protocol::original_call::{Asked, Disconnected, ForwardAnswer, Forwarded, JoinAnswer, method};
use chat_protocol::reject::Reject;
use chat_protocol::server_frame::{LeaveReason, MemberEvent};
use dxr::Value;
use std::collections::VecDeque;
use tokio::sync::oneshot;

/// A page of messages for the clients behind an original node.
#[derive(Debug)]
pub(super) struct BroadcastPage {
    node: NodeId,
    shift: u64,
    from: Seq,
    to: Seq,
    /// What was read; nothing if it was not read yet.
    frames: Option<Result<Vec<MessageFrame>, String>>,
}

impl Shard {
    /// An original node asks something of a room of this node.
    pub(super) fn on_call(&mut self, now: Now, room: &RoomId, call: Call, answer: oneshot::Sender<Answer>) {
        self.open(now, room);
        let request = self.next_request();
        let Some(entry) = self.rooms.get_mut(room) else { return };
        if !matches!(entry.machine, Machine::Admin(_)) {
            // It is another node's room.
            drop(answer.send(Answer::JoinRefused(Reject::RoomNotFound)));
            return;
        }
        entry.calls.insert(request, answer);
        let input = match call {
            Call::Join { node, user } => original::Input::Join { request, node, user },
            Call::Leave { node, user, reason } => original::Input::Leave {
                request,
                node,
                user,
                reason,
            },
            Call::Forward {
                node,
                user,
                content,
                looks,
            } => original::Input::Forward {
                request,
                node,
                user,
                content,
                message_id: new_message_id(),
                client_msg_id: new_client_msg_id(),
                looks,
            },
        };
        self.feed(now, room, Completion::Admin(room::Input::Original(input)));
    }

    /// The node at an address speaks another dialect than before: it is another program.
    pub(super) fn on_peer_replaced(&mut self, now: Now, node: &NodeId) {
        let all: Vec<RoomId> = self.rooms.keys().cloned().collect();
        for room in all {
            let input = match self.rooms.get(&room).map(|entry| &entry.machine) {
                Some(Machine::Admin(_)) => Completion::Admin(room::Input::NodeLost(node.clone())),
                Some(Machine::Member(machine)) if machine.admin() == node => {
                    Completion::Member(follower::Input::AdminFailed)
                }
                Some(Machine::Guest(machine)) if machine.admin() == node => Completion::Guest(guest::Input::Gone),
                _ => continue,
            };
            self.feed(now, &room, input);
        }
    }

    /// Seats behind original nodes that were noted in an earlier life stand if their node answers.
    pub(super) fn adopt_originals(&mut self, now: Now, room: &RoomId) {
        let Some(Machine::Admin(machine)) = self.rooms.get(room).map(|entry| &entry.machine) else {
            return;
        };
        for node in machine.original_nodes() {
            if self.outside.peers.health(&node) == Health::Healthy {
                self.feed(now, room, Completion::Admin(room::Input::NodeBack(node)));
            }
        }
    }
}

impl Outside {
    // === rooms of this node

    pub(super) fn answer_original(&self, entry: &mut Entry, session: SessionId, request: u64, mut answer: Answer) {
        if let Answer::Sent { seq, duplicate, .. } = &mut answer {
            if !*duplicate {
                self.shared.metrics.messages.accepted.inc();
            }
            *seq = Seq(seq.0.saturating_sub(shift_of(session)));
        }
        // Whoever asked may not wait any more.
        if let Some(waiting) = entry.calls.remove(&request) {
            drop(waiting.send(answer));
        }
    }

    /// What the queue does not take is read from the log later.
    pub(super) fn broadcast(
        &mut self,
        room: &RoomId,
        node: &NodeId,
        shift: u64,
        frames: Vec<MessageFrame>,
        follow_ups: &mut VecDeque<Completion>,
    ) {
        let Some(outbound) = self.peers.original(node) else {
            return;
        };
        for frame in frames {
            let next = frame.seq();
            if !outbound.say(room, frame, shift) {
                let lagged = original::Input::Lagged {
                    node: node.clone(),
                    next,
                };
                follow_ups.push_back(Completion::Admin(room::Input::Original(lagged)));
                return;
            }
        }
    }

    pub(super) fn broadcast_event(&mut self, room: &RoomId, nodes: &[NodeId], event: &MemberEvent) {
        for outbound in nodes.iter().filter_map(|node| self.peers.original(node)) {
            outbound.tell(room, event.clone());
        }
    }

    pub(super) fn recall(&mut self, room: &RoomId, node: &NodeId, what: &Recalled) {
        if let Some(outbound) = self.peers.original(node) {
            outbound.recall(room, what);
        }
    }

    pub(super) fn start_broadcast_page(
        &mut self,
        room: &RoomId,
        entry: &Entry,
        (node, shift): (NodeId, u64),
        (from, to): (Seq, Seq),
    ) {
        let page = BroadcastPage {
            node,
            shift,
            from,
            to,
            frames: None,
        };
        self.broadcast_page(room, entry, page);
    }

    /// A page waits for room in the queue, is read, and is queued. What comes back comes as a completion.
    pub(super) fn broadcast_page(&mut self, room: &RoomId, entry: &Entry, mut page: BroadcastPage) {
        let completions = self.completions.clone();
        let come_back = {
            let room = room.clone();
            move |completion| drop(completions.send((room, completion)))
        };
        let Some(outbound) = self.peers.original(&page.node) else {
            // A node that is configured no more: its seats go when their grace is over.
            return;
        };
        let Some(frames) = page.frames.take() else {
            if !outbound.has_room() {
                outbound.when_drained(Box::new(move || come_back(Completion::Broadcast(page))));
                return;
            }
            if let Some(frames) = entry.machine.backlog().page(page.from, page.to, PAGE_BYTES) {
                page.frames = Some(Ok(frames));
                come_back(Completion::Broadcast(page));
                return;
            }
            let limit = usize::try_from(page.to.0 + 1 - page.from.0).map_or(PAGE_MESSAGES, |n| n.min(PAGE_MESSAGES));
            let read = self.store.read(room.clone(), page.from, limit, PAGE_BYTES);
            self.complete(room, async move {
                let frames = match read.await {
                    // Nothing, or what follows a trimmed beginning: the room knows what to do about that.
                    Ok(messages) if messages.first().is_none_or(|first| first.seq != page.from) => {
                        Err("no messages there".to_owned())
                    }
                    Ok(messages) => Ok(messages.iter().map(MessageFrame::encode).collect()),
                    Err(why) => Err(why.to_string()),
                };
                if frames.is_err() {
                    tokio::time::sleep(PAGE_PAUSE).await;
                }
                page.frames = Some(frames);
                Completion::Broadcast(page)
            });
            return;
        };
        let (node, from) = (page.node.clone(), page.from);
        let input = match frames {
            Ok(frames) => {
                let mut next = from;
                for frame in frames.into_iter().skip_while(|frame| frame.seq() < from) {
                    if frame.seq() != next || !outbound.say(room, frame, page.shift) {
                        break;
                    }
                    next = next.next();
                }
                original::Input::Passed { node, from, next }
            }
            Err(_) => original::Input::PageFailed { node, from },
        };
        come_back(Completion::Admin(room::Input::Original(input)));
    }

    // === rooms of original nodes

    pub(super) fn ask_original(&self, room: &RoomId, node: &NodeId, ask: Ask) {
        let asked = |user: &dyn ToString| Asked {
            room_id: room.to_string(),
            username: user.to_string(),
            node_id: self.shared.me.to_string(),
        };
        let Some(outbound) = self.peers.original(node) else {
            return;
        };
        match ask {
            Ask::Join { request, user } => {
                let of = room.clone();
                let read = move |value: &Value| match JoinAnswer::from_value(value, &of) {
                    Ok(JoinAnswer::Joined { again, info, messages }) => guest::Reply::Joined { again, info, messages },
                    Ok(JoinAnswer::Refused(reject)) => guest::Reply::Refused(reject),
                    Err(_) => guest::Reply::Unknown,
                };
                outbound.ask(
                    room,
                    method::JOIN_ROOM,
                    asked(&user).to_params(),
                    self.reply_to(room, request, read),
                );
            }
            Ask::Forward { request, user, content } => {
                let forwarded = Forwarded {
                    asked: asked(&user),
                    content: content.to_string(),
                };
                let read = |value: &Value| match ForwardAnswer::from_value(value) {
                    Ok(ForwardAnswer::Sent {
                        message_id,
                        seq,
                        timestamp,
                    }) => guest::Reply::Sent {
                        message_id,
                        seq,
                        timestamp,
                    },
                    Ok(ForwardAnswer::Refused(reject)) => guest::Reply::Refused(reject),
                    Err(_) => guest::Reply::Unknown,
                };
                outbound.ask(
                    room,
                    method::FORWARD_MESSAGE,
                    forwarded.to_params(),
                    self.reply_to(room, request, read),
                );
            }
            Ask::Leave { user } => outbound.insist(room, method::LEAVE_ROOM, asked(&user).to_params()),
            Ask::Disconnect { user } => {
                let gone = Disconnected {
                    asked: asked(&user),
                    reason: LeaveReason::Disconnected,
                };
                outbound.insist(room, method::NOTIFY_MEMBER_DISCONNECT, gone.to_params());
            }
        }
    }

    /// Brings the answer to a call back to the room.
    fn reply_to(
        &self,
        room: &RoomId,
        request: u64,
        read: impl FnOnce(&Value) -> guest::Reply + Send + 'static,
    ) -> crate::peers::original::queue::Done {
        let (completions, room) = (self.completions.clone(), room.clone());
        Box::new(move |result| {
            let reply = match &result {
                Ok(value) => read(value),
                Err(NoAnswer::Undone) => guest::Reply::Undone,
                // A fault may have come after everything was done.
                Err(NoAnswer::Unknown | NoAnswer::Fault) => guest::Reply::Unknown,
            };
            let answered = guest::Input::Answered { request, reply };
            drop(completions.send((room, Completion::Guest(answered))));
        })
    }
}
