//! Pages of history on request, beside the cursor: from the log of the admin node, or, while that does not answer, from
//! what this node still holds.

use super::entry::{Completion, Entry, Machine};
use super::perform::{PAGE_BYTES, PAGE_MESSAGES};
use super::shard::Outside;
use chat_engine::effect::Origin;
use chat_protocol::client_frame::HistoryFrom;
use chat_protocol::ids::{Generation, RoomId, Seq, SessionId};
use chat_protocol::message_frame::MessageFrame;
use chat_protocol::peer_call::Range;
use chat_protocol::reject::Reject;
use chat_protocol::server_frame::{Extra, History, ServerFrame};
use std::sync::Arc;

/// Most bytes of messages in one answer: it must fit into a frame.
const ANSWER_BYTES: usize = 800 << 10;

impl Outside {
    /// Starts to answer a request for messages. Only who is in the room may read it.
    pub(super) fn history(
        &mut self,
        room: &RoomId,
        entry: &mut Entry,
        origin: &Origin,
        from: HistoryFrom,
        limit: usize,
    ) {
        let to = (origin.session, origin.request);
        let (Some((generation, head)), true) = (entry.machine.head(), entry.subscribers.contains_key(&origin.session))
        else {
            self.answer_history(entry, to.0, to.1, Err(Reject::NotMember));
            return;
        };
        let wanted = Wanted::new(from, limit, head);
        let answer = |messages, stale| wanted.answer(room.clone(), generation, head, messages, stale);
        if wanted.first > wanted.last {
            self.answer_history(entry, to.0, to.1, Ok(answer(Vec::new(), entry.machine.is_degraded())));
            return;
        }
        if let Machine::Guest(machine) = &entry.machine {
            // Nobody has more than what is here.
            let from = machine.backlog().first().unwrap_or(head.next()).max(wanted.first);
            let held = machine.backlog().page(from, wanted.last, usize::MAX);
            let page = answer(held.unwrap_or_default(), machine.is_degraded());
            self.answer_history(entry, to.0, to.1, Ok(page));
            return;
        }
        if entry.machine.is_degraded() {
            let held = entry.machine.backlog().page(wanted.first, wanted.last, usize::MAX);
            let page = held
                .map(|messages| answer(messages, true))
                .ok_or(Reject::AdminUnavailable);
            self.answer_history(entry, to.0, to.1, page);
            return;
        }
        let (store, peers, of) = (Arc::clone(&self.store), self.peers.clone(), room.clone());
        let admin = match &entry.machine {
            Machine::Member(machine) => Some(machine.admin().clone()),
            Machine::Admin(_) | Machine::Guest(_) => None,
        };
        self.complete(room, async move {
            let (mut messages, mut wanted) = (Vec::new(), wanted);
            let mut next = wanted.first;
            let page = loop {
                let limit = wanted.missing(next).min(PAGE_MESSAGES);
                let some = match &admin {
                    Some(node) => peers
                        .read_range(node, &of, next, limit)
                        .await
                        .map_err(|_| Reject::AdminUnavailable),
                    None => match store.read(of.clone(), next, limit, PAGE_BYTES).await {
                        Ok(some) => Ok(Range::of(next, some.iter().map(MessageFrame::encode).collect())),
                        Err(why) => Err(Reject::Internal(why.to_string())),
                    },
                };
                match some {
                    Err(reject) => break Err(reject),
                    Ok(Range { frames, floor }) => {
                        let before = messages.len();
                        if let Some(floor) = floor {
                            wanted.trimmed(floor, head);
                            next = next.max(wanted.first);
                        }
                        messages.extend(
                            frames
                                .into_iter()
                                .filter(|frame| (next..=wanted.last).contains(&frame.seq())),
                        );
                        let end = messages.last().map_or(next, |frame: &MessageFrame| frame.seq().next());
                        if messages.len() == before || end > wanted.last {
                            break Ok(wanted.answer(of, generation, head, messages, false));
                        }
                        next = end;
                    }
                }
            };
            Completion::History {
                session: to.0,
                request: to.1,
                page,
            }
        });
    }

    pub(super) fn answer_history(
        &mut self,
        entry: &mut Entry,
        session: SessionId,
        request: u64,
        page: Result<History, Reject>,
    ) {
        let frame = match page {
            Ok(history) => ServerFrame::History(history),
            Err(reject) => ServerFrame::RequestRefused {
                room_id: entry.room_id().to_string(),
                reject,
            },
        };
        self.finish(entry, (session, request), &frame, &Extra::None);
    }
}

/// A request in numbers.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    first: Seq,
    last: Seq,
    limit: u64,
    /// The first message that is kept, as far as that is known.
    floor: Seq,
    backwards: bool,
}

impl Wanted {
    fn new(from: HistoryFrom, limit: usize, head: Seq) -> Self {
        let limit = limit as u64;
        match from {
            HistoryFrom::After(after) => Self {
                first: after.next(),
                last: Seq(after.0.saturating_add(limit).min(head.0)),
                limit,
                floor: Seq(1),
                backwards: false,
            },
            HistoryFrom::Before(before) => {
                let last = before.0.saturating_sub(1).min(head.0);
                Self {
                    first: Seq((last + 1).saturating_sub(limit).max(1)),
                    last: Seq(last),
                    limit,
                    floor: Seq(1),
                    backwards: true,
                }
            }
        }
    }

    /// Nothing is kept below `floor`. Forwards, the page begins there; backwards, it ends there.
    fn trimmed(&mut self, floor: Seq, head: Seq) {
        self.floor = floor;
        self.first = self.first.max(floor);
        if !self.backwards {
            self.last = Seq((self.first.0 + self.limit - 1).min(head.0));
        }
    }

    fn missing(&self, next: Seq) -> usize {
        usize::try_from((self.last.0 + 1).saturating_sub(next.0)).unwrap_or(usize::MAX)
    }

    /// Cut to what fits, at the end that is farther from where the client stands.
    fn answer(
        self,
        room_id: RoomId,
        generation: Generation,
        head: Seq,
        mut messages: Vec<MessageFrame>,
        stale: bool,
    ) -> History {
        let mut bytes: usize = messages.iter().map(MessageFrame::len).sum();
        while bytes > ANSWER_BYTES && messages.len() > 1 {
            let dropped = if self.backwards {
                Some(messages.remove(0))
            } else {
                messages.pop()
            };
            bytes -= dropped.map_or(0, |frame| frame.len());
        }
        let more = match (messages.first(), messages.last()) {
            (Some(first), _) if self.backwards => first.seq() > self.floor,
            (_, Some(last)) => last.seq() < head,
            _ => false,
        };
        History {
            room_id,
            generation,
            messages,
            head,
            more,
            stale,
        }
    }
}
