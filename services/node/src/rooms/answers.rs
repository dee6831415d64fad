//! What a request is answered: after the earlier ones of its connection, in the words of its dialect.

use super::Request;
use super::deletion;
use super::entry::{Asking, Entry, Subscriber};
use super::shard::Outside;
use crate::session::Session;
use bytes::Bytes;
use chat_engine::effect::{Answer, Origin};
use chat_engine::room::original::is_original;
use chat_protocol::client_frame::RequestId;
use chat_protocol::codec;
use chat_protocol::ids::{Generation, RoomId, Seq, SessionId};
use chat_protocol::reject::Reject;
use chat_protocol::server_frame::{Extra, ServerFrame};
use std::sync::Arc;

/// When a sender whose message may or may not be in the room had better ask again, in milliseconds.
const RETRY_AFTER_MS: u64 = 1_000;

impl Outside {
    /// Answers a request of a connection, of another node, or of an original one.
    pub(super) fn answer(&mut self, room: &RoomId, entry: &mut Entry, to: Origin, answer: Answer) {
        if is_original(to.session) {
            self.answer_original(entry, to.session, to.request, answer);
            return;
        }
        if to.node != self.shared.me {
            self.peers.answer(&to.node, room, to.request, answer);
            return;
        }
        // A connection that is gone needs no answer.
        let Some(asking) = entry.asking.get(&(to.session, to.request)) else {
            return;
        };
        let (session, user) = (Arc::clone(&asking.session), asking.user.clone());
        let client_msg_id = asking.client_msg_id.clone();
        let refused = |reject, unknown| {
            let frame = ServerFrame::MessageError {
                room_id: room.to_string(),
                reject,
            };
            let extra = Extra::SendRefused {
                client_msg_id: asking.client_msg_id.clone(),
                unknown,
                retry_after_ms: unknown.then_some(RETRY_AFTER_MS),
            };
            (frame, extra)
        };
        let (frame, extra) = match answer {
            Answer::Joined(joined) => {
                session.sit(room.clone(), user);
                let subscriber = Subscriber {
                    session: Arc::clone(&session),
                    shift: 0,
                    first: Seq::ZERO,
                    live: false,
                    page: 0,
                    lagged: false,
                };
                entry.subscribers.entry(session.id).or_insert(subscriber);
                let extra = Extra::Joined {
                    generation: joined.generation,
                    first: joined.first,
                    head: joined.head,
                    member_version: joined.version,
                    resumed: joined.resumed,
                };
                (ServerFrame::JoinRoomSuccess(joined.info), extra)
            }
            Answer::JoinRefused(reject) => {
                let room_id = room.to_string();
                (ServerFrame::JoinRoomError { room_id, reject }, Extra::None)
            }
            Answer::Left | Answer::NotIn => {
                let (room_id, username) = (room.to_string(), user.to_string());
                (ServerFrame::LeaveRoomSuccess { room_id, username }, Extra::None)
            }
            Answer::Sent {
                message_id,
                seq,
                timestamp,
                duplicate,
            } => {
                let messages = &self.shared.metrics.messages;
                if duplicate {
                    messages.repeats.inc();
                } else {
                    messages.accepted.inc();
                }
                messages.acknowledged(entry.is_here(), asking.since.elapsed().as_secs_f64());
                let shift = entry.subscribers.get(&to.session).map_or(0, |s| s.shift);
                let seq = Seq(seq.0.saturating_sub(shift));
                let frame = ServerFrame::MessageSent {
                    room_id: room.clone(),
                    message_id,
                    seq,
                    timestamp,
                };
                let generation = entry.machine.head().map_or(Generation(0), |(generation, _)| generation);
                let extra = Extra::Sent {
                    client_msg_id,
                    generation,
                    duplicate,
                };
                (frame, extra)
            }
            Answer::SendRefused(reject) => refused(reject, false),
            Answer::SendUnknown => {
                self.shared.metrics.messages.unknown.inc();
                refused(Reject::AdminUnavailable, true)
            }
            answer @ (Answer::DeletionInitiated { .. } | Answer::DeletionProgress(_)) => {
                self.report_deletion(room, entry, (to.session, to.request), answer);
                return;
            }
            Answer::Deleted { transaction, farewell } => {
                let bytes = farewell.map(|notice| codec::encode(&deletion::frame(room, &notice)));
                if let Some(asking) = entry.asking.get_mut(&(to.session, to.request)) {
                    asking.farewell = bytes;
                }
                let room_id = room.clone();
                (ServerFrame::DeleteRoomSuccess { room_id, transaction }, Extra::None)
            }
            Answer::DeleteRefused { reject, transaction } => {
                let frame = ServerFrame::DeleteRoomFailed {
                    room_id: room.to_string(),
                    reject,
                    transaction,
                };
                (frame, Extra::None)
            }
        };
        self.finish(entry, (to.session, to.request), &frame, &extra);
    }

    /// Answers a request under way, after the earlier ones of its connection, and lets the next one begin.
    pub(super) fn finish(&mut self, entry: &mut Entry, request: (SessionId, u64), frame: &ServerFrame, extra: &Extra) {
        self.count_refusal(frame);
        let Some(asking) = entry.asking.get_mut(&request) else {
            return;
        };
        asking.ready = Some(asking.session.encode(asking.re.as_ref(), frame, extra));
        let (session, _) = request;
        while let Some(first) = entry.asking.range((session, 0)..=(session, u64::MAX)).next()
            && first.1.ready.is_some()
        {
            let key = *first.0;
            let Some(Asking {
                session,
                ready: Some(bytes),
                farewell,
                ..
            }) = entry.asking.remove(&key)
            else {
                return;
            };
            self.push_answer(Arc::clone(&session), bytes);
            if let Some(farewell) = farewell {
                self.push(&session, farewell);
            }
        }
    }

    fn push_answer(&mut self, session: Arc<Session>, bytes: Bytes) {
        if session.outbound.push_answer(bytes) {
            self.dirty.push(Arc::clone(&session));
        }
        self.answered.push(session);
    }

    fn count_refusal(&self, frame: &ServerFrame) {
        if let Some(code) = frame.refusal() {
            self.shared.metrics.requests_refused.count(code);
        }
    }

    /// Refuses a request for a room that has no machine here.
    pub(super) fn refuse(
        &mut self,
        session: &Arc<Session>,
        room: &RoomId,
        request: &Request,
        re: Option<&RequestId>,
        reject: Reject,
    ) {
        let room_id = room.to_string();
        let mut extra = Extra::None;
        let frame = match request {
            Request::Join { .. } => ServerFrame::JoinRoomError { room_id, reject },
            Request::Send { client_msg_id, .. } => {
                extra = Extra::SendRefused {
                    client_msg_id: client_msg_id.clone(),
                    unknown: false,
                    retry_after_ms: None,
                };
                ServerFrame::MessageError { room_id, reject }
            }
            Request::Leave { user } => ServerFrame::LeaveRoomSuccess {
                room_id,
                username: user.to_string(),
            },
            Request::History { .. } => ServerFrame::RequestRefused { room_id, reject },
            Request::Delete { .. } => ServerFrame::DeleteRoomFailed {
                room_id,
                reject,
                transaction: None,
            },
        };
        self.count_refusal(&frame);
        self.push_answer(Arc::clone(session), session.encode(re, &frame, &extra));
    }
}
