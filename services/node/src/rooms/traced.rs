//! Which messages of a room are traced, and how far each is on its way through this node.
//!
//! The machines know nothing of traces. What they say of a message names it: by the id under which it was asked for, by its own
//! id, by its number, by whom to answer; so what is traced stands beside the machine and is found by what an effect says. Of
//! nearly all messages nothing stands here, and then nothing is looked for.

use super::entry::Completion;
use crate::telemetry::traces::{Active, SpanKind, Traces};
use chat_engine::effect::{Answer, Origin};
use chat_engine::room::{self, follower};
use chat_engine::stored::Append;
use chat_protocol::ids::{ClientMsgId, MessageId, NodeId, RoomId, Seq, SessionId};
use chat_protocol::message_frame::MessageFrame;
use chat_protocol::peer_item::{PeerBody, Traced as Item};
use chat_protocol::trace_context::TraceContext;
use opentelemetry::KeyValue;
use std::time::{Duration, Instant};

/// Most messages of a room that are followed at once: as many as a batch has. Traces of others end where they are.
const MOST: usize = 256;

/// What is not answered and not delivered after so long will not be; every patience of a room is shorter.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// The traced messages of a room.
#[derive(Debug, Default)]
pub(super) struct Traced(Vec<Message>);

/// How effects name a message before it has a number.
#[derive(Debug, PartialEq, Eq)]
enum Name {
    /// Forwarded by this node under this id.
    Forwarded(ClientMsgId),
    /// To be numbered by this node.
    New(MessageId),
    /// Numbered by another one.
    Numbered,
}

#[derive(Debug)]
struct Message {
    name: Name,
    /// Who is answered.
    to: Option<Origin>,
    seq: Option<Seq>,
    /// The request of a client of this node.
    request: Option<Active>,
    /// What happens to the message now.
    step: Option<Active>,
    /// Of what the next step is a part.
    context: TraceContext,
    since: Instant,
}

impl Traced {
    /// Nothing is traced: nothing of the below does anything.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A client of this node says something that is traced, which is about to be given to the room as `input`.
    pub(super) fn asked(&mut self, traces: &Traces, room: &RoomId, mut request: Active, input: &Completion) {
        request.set("chat.room", room.to_string());
        let (name, to, step) = match input {
            Completion::Admin(room::Input::Send(submission)) => {
                let mut step = traces.part_of([request.context()], "commit", SpanKind::Internal);
                if let Some(step) = &mut step {
                    step.set("chat.room", room.to_string());
                }
                (
                    Name::New(submission.message_id.clone()),
                    submission.origin.clone(),
                    step,
                )
            }
            Completion::Member(follower::Input::Send {
                origin, client_msg_id, ..
            }) => (Name::Forwarded(client_msg_id.clone()), origin.clone(), None),
            _ => return,
        };
        let context = step.as_ref().unwrap_or(&request).context();
        self.follow(Message {
            name,
            to: Some(to),
            seq: None,
            request: Some(request),
            step,
            context,
            since: Instant::now(),
        });
    }

    /// Another node forwards a message, which is about to be given to the room as `input`. Its span, if the message is traced.
    pub(super) fn forwarded(&mut self, traces: &Traces, room: &RoomId, items: &[Item], input: &room::Input) {
        let room::Input::Send(submission) = input else { return };
        let parents = items.iter().map(|(_, context)| *context);
        let Some(mut step) = traces.part_of(parents, "commit", SpanKind::Consumer) else {
            return;
        };
        step.set("chat.room", room.to_string());
        self.follow(Message {
            name: Name::New(submission.message_id.clone()),
            to: Some(submission.origin.clone()),
            seq: None,
            request: None,
            context: step.context(),
            step: Some(step),
            since: Instant::now(),
        });
    }

    /// The admin node sends messages, of which some are traced.
    pub(super) fn arrived(&mut self, traces: &Traces, room: &RoomId, items: &[Item]) {
        for (seq, context) in items {
            let Some(mut step) = traces.part_of([*context], "deliver", SpanKind::Consumer) else {
                continue;
            };
            step.set("chat.room", room.to_string());
            step.set("chat.sequence_number", number(*seq));
            self.follow(Message {
                name: Name::Numbered,
                to: None,
                seq: Some(*seq),
                request: None,
                context: step.context(),
                step: Some(step),
                since: Instant::now(),
            });
        }
    }

    fn follow(&mut self, message: Message) {
        let now = message.since;
        self.0.retain_mut(|old| {
            let keep = now.duration_since(old.since) < FORGOTTEN_AFTER;
            if !keep {
                old.give_up("forgotten");
            }
            keep
        });
        if self.0.len() < MOST {
            self.0.push(message);
        }
    }

    /// The log context of the message that was followed last: what happens now happens to it.
    pub(super) fn log(&self) -> tracing::Span {
        self.0.last().map_or_else(tracing::Span::none, |message| {
            let span = message.step.as_ref().or(message.request.as_ref());
            span.map_or_else(tracing::Span::none, |span| span.log().clone())
        })
    }

    /// An item goes to another node: the span of its way, with what the item says of it, if it is a message that is traced.
    pub(super) fn told(&self, traces: &Traces, node: &NodeId, item: &PeerBody) -> Vec<(Seq, Active)> {
        let PeerBody::Forward { client_msg_id, .. } = item else {
            return Vec::new();
        };
        let is_it = |message: &&Message| matches!(&message.name, Name::Forwarded(id) if id == client_msg_id);
        let span = self.0.iter().find(is_it).and_then(|message| {
            let mut span = traces.part_of([message.context], "forward", SpanKind::Producer)?;
            span.set("chat.peer", node.to_string());
            Some((Seq::ZERO, span))
        });
        span.into_iter().collect()
    }

    /// Messages are on their way to the store.
    pub(super) fn appended(&mut self, append: &Append) {
        for item in append.items.iter() {
            let id = &item.message.message_id;
            let is_it = |message: &&mut Message| matches!(&message.name, Name::New(of) if of == id);
            let Some(message) = self.0.iter_mut().find(is_it) else {
                continue;
            };
            message.seq = Some(item.message.seq);
            if let Some(step) = &mut message.step {
                step.set("chat.sequence_number", number(item.message.seq));
                let size = i64::try_from(append.items.len()).unwrap_or(i64::MAX);
                step.event("append", vec![KeyValue::new("chat.batch_size", size)]);
            }
        }
    }

    /// These messages are committed, and on their way to another node: the spans of their ways.
    pub(super) fn relayed(&mut self, traces: &Traces, node: &NodeId, frames: &[MessageFrame]) -> Vec<(Seq, Active)> {
        let messages = self.0.iter_mut().filter(|message| message.is_new_among(frames));
        let spans = messages.filter_map(|message| {
            message.step = None;
            let mut span = traces.part_of([message.context], "relay", SpanKind::Producer)?;
            span.set("chat.peer", node.to_string());
            Some((message.seq?, span))
        });
        spans.collect()
    }

    /// These messages went to so many sessions of this node. What ends when they are written is added to `ending`.
    pub(super) fn delivered(
        &mut self,
        traces: &Traces,
        frames: &[MessageFrame],
        sessions: usize,
        ending: &mut Vec<Active>,
    ) {
        for message in &mut self.0 {
            let span = if message.is_new_among(frames) {
                message.step = None;
                let here = sessions > 0;
                here.then(|| traces.part_of([message.context], "deliver", SpanKind::Consumer))
                    .flatten()
            } else if message.is_numbered_among(frames) {
                message.step.take()
            } else {
                None
            };
            if let Some(mut span) = span {
                span.set("chat.sessions", i64::try_from(sessions).unwrap_or(i64::MAX));
                ending.push(span);
            }
        }
        self.0
            .retain(|message| message.name != Name::Numbered || message.step.is_some());
    }

    /// Somebody is answered. What ends when the answer is written is added to `ending`.
    pub(super) fn answered(&mut self, to: &Origin, answer: &Answer, ending: &mut Vec<Active>) {
        let Some(at) = self.0.iter().position(|message| message.to.as_ref() == Some(to)) else {
            return;
        };
        let message = self.0.swap_remove(at);
        for mut span in message.step.into_iter().chain(message.request) {
            match answer {
                Answer::Sent { seq, duplicate, .. } => {
                    span.set("chat.sequence_number", number(*seq));
                    if *duplicate {
                        span.set("chat.duplicate", true);
                    }
                }
                Answer::SendRefused(reject) => span.fail(reject.code()),
                _ => span.fail("unknown_outcome"),
            }
            ending.push(span);
        }
    }

    /// A connection of this node is gone: nobody is answered.
    pub(super) fn closed(&mut self, node: &NodeId, session: SessionId) {
        for message in &mut self.0 {
            let theirs = |to: &Origin| to.session == session && to.node == *node;
            if message.to.as_ref().is_some_and(theirs)
                && let Some(mut request) = message.request.take()
            {
                request.fail("connection_closed");
            }
        }
    }
}

impl Message {
    fn is_among(&self, frames: &[MessageFrame]) -> bool {
        self.seq
            .is_some_and(|seq| frames.iter().any(|frame| frame.seq() == seq))
    }

    fn is_new_among(&self, frames: &[MessageFrame]) -> bool {
        matches!(self.name, Name::New(_)) && self.is_among(frames)
    }

    fn is_numbered_among(&self, frames: &[MessageFrame]) -> bool {
        self.name == Name::Numbered && self.is_among(frames)
    }

    fn give_up(&mut self, why: &'static str) {
        for mut span in self.step.take().into_iter().chain(self.request.take()) {
            span.fail(why);
        }
    }
}

fn number(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}
