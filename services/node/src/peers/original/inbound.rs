//! What nodes of the original ask of this one, and what they show it.
//!
//! The caller stands still until it is answered, so nothing here waits for another node: a request is answered from the
//! room and the store, a push as soon as the room has taken it. Not before, because the caller goes on to answer whoever
//! asked it, which may be this node: the answer to a join must not overtake the news of an earlier leave.

use super::super::inbound::Inbound;
use crate::rooms::Call;
use chat_engine::effect::{Answer, Joined};
use chat_engine::room::guest;
use chat_engine::room::original;
use chat_protocol::ids::{NodeId, RoomId, Seq, UserName};
use chat_protocol::limits::{CLASSIC_HISTORY, MAX_CONTENT_CHARS, MAX_RESPONSE_BODY};
use chat_protocol::message_frame::Message;
use chat_protocol::original_call::{
    self, Asked, DisconnectAnswer, Disconnected, ForwardAnswer, Forwarded, JoinAnswer, LeaveAnswer, method,
};
use chat_protocol::peer_fault::PeerFault;
use chat_protocol::reject::Reject;
use chat_protocol::server_frame::LeaveReason;
use chat_protocol::text;
use dxr::Value;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a join waits for an earlier departure of the same user that is on its way to the same node.
const DEPARTURE_PATIENCE: Duration = Duration::from_secs(1);
/// Bytes of content of one read of history.
const READ_BYTES: usize = 256 << 10;

/// A request whose names are names.
struct Known {
    room: RoomId,
    user: UserName,
    /// As it is configured here.
    node: NodeId,
}

impl Inbound {
    /// Answers a call of a node of the original; `None` if the method is none of theirs.
    pub(in crate::peers) async fn original(&self, name: &str, params: &[Value]) -> Option<Result<Value, PeerFault>> {
        Some(match name {
            method::JOIN_ROOM => self.join_room(params).await,
            method::LEAVE_ROOM => self.leave_room(params).await,
            method::NOTIFY_MEMBER_DISCONNECT => self.notify_member_disconnect(params).await,
            method::FORWARD_MESSAGE => self.forward_message(params).await,
            method::RECEIVE_MESSAGE_BROADCAST => self.receive_message(params).await,
            method::RECEIVE_MEMBER_EVENT_BROADCAST => self.receive_event(params).await,
            _ => return None,
        })
    }

    /// Reads the names of a request.
    fn names(&self, asked: &Asked) -> Result<Known, Reject> {
        let room = RoomId::parse(&asked.room_id).map_err(|_| Reject::RoomNotFound)?;
        let user = UserName::parse(&asked.username).map_err(|why| Reject::InvalidField(format!("username {why}")))?;
        // What cannot be called cannot be told what happens in the room.
        let configured = NodeId::parse(&asked.node_id)
            .ok()
            .and_then(|id| self.peers.configured(&id));
        let me = &self.rooms.shared().me;
        let node = configured.ok_or_else(|| Reject::Internal(format!("The node of this user is no peer of {me}")))?;
        Ok(Known { room, user, node })
    }

    /// Reads the names of a request about a room of this node.
    async fn known(&self, asked: &Asked) -> Result<Known, Reject> {
        let room = RoomId::parse(&asked.room_id).map_err(|_| Reject::RoomNotFound)?;
        match self.rooms.store().has_room(room).await {
            Ok(true) => self.names(asked),
            Ok(false) => Err(Reject::RoomNotFound),
            Err(why) => Err(Reject::Internal(why.to_string())),
        }
    }

    /// Asks the room, and waits as long as the caller may.
    async fn ask(&self, room: &RoomId, call: Call) -> Result<Answer, PeerFault> {
        let answer = self.rooms.call(room, call).await;
        self.within_limit(answer).await
    }

    async fn within_limit(&self, answer: oneshot::Receiver<Answer>) -> Result<Answer, PeerFault> {
        match tokio::time::timeout(self.rooms.limits().original_commit, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            // The room is gone with its shard: this node is stopping.
            Ok(Err(_)) => Err(PeerFault::Internal),
            Err(_) => Err(PeerFault::NotInTime),
        }
    }

    async fn join_room(&self, params: &[Value]) -> Result<Value, PeerFault> {
        let asked = Asked::from_params(params)?;
        let Known { room, user, node } = match self.known(&asked).await {
            Ok(known) => known,
            Err(reject) => return Ok(JoinAnswer::Refused(reject).to_value(0)),
        };
        let call = Call::Join {
            node: node.clone(),
            user: user.clone(),
        };
        let leave = || Call::Leave {
            node: node.clone(),
            user: user.clone(),
            reason: LeaveReason::Left,
        };
        let joined = match self.ask(&room, call).await {
            Ok(Answer::Joined(joined)) => joined,
            Ok(Answer::JoinRefused(reject)) => return Ok(JoinAnswer::Refused(reject).to_value(0)),
            Ok(_) => return Err(PeerFault::Internal),
            Err(fault) => {
                // Behind the join in the same queue: nobody stays in the room whose node was told that it is not.
                drop(self.rooms.call(&room, leave()).await);
                return Err(fault);
            }
        };
        let Joined {
            info,
            head,
            first,
            resumed: again,
            ..
        } = joined;
        let messages = match self.history(&room, first, head).await {
            Ok(messages) => messages,
            Err(fault) => {
                if !again {
                    drop(self.rooms.call(&room, leave()).await);
                }
                return Err(fault);
            }
        };
        if let Some(outbound) = self.peers.original(&node) {
            outbound.departure_landed(&room, &user, DEPARTURE_PATIENCE).await;
        }
        self.rooms.note(&room, original::Input::Replied { node, head }).await;
        let answer = JoinAnswer::Joined { again, info, messages };
        Ok(answer.to_value(first.0.saturating_sub(1)))
    }

    /// Messages from `first` to `head`.
    async fn history(&self, room: &RoomId, first: Seq, head: Seq) -> Result<Vec<Message>, PeerFault> {
        let mut messages: Vec<Message> = Vec::new();
        let (mut next, mut bytes) = (first, 0);
        while next <= head {
            let limit = usize::try_from((head.0 + 1 - next.0).min(CLASSIC_HISTORY)).unwrap_or(usize::MAX);
            let read = self.rooms.store().read(room.clone(), next, limit, READ_BYTES);
            let page = read.await.map_err(|_| PeerFault::Internal)?;
            // What was trimmed away since the room answered is missing; the caller may ask again.
            let (Some(next_seq), Some(last)) = (page.first().map(|m| m.seq), page.last().map(|m| m.seq)) else {
                return Err(PeerFault::Internal);
            };
            if next_seq != next {
                return Err(PeerFault::Internal);
            }
            bytes += page.iter().map(|message| message.content.len()).sum::<usize>();
            if bytes > MAX_RESPONSE_BODY {
                return Err(PeerFault::Overloaded);
            }
            messages.extend(page);
            next = last.next();
        }
        messages.retain(|message| message.seq <= head);
        Ok(messages)
    }

    async fn leave_room(&self, params: &[Value]) -> Result<Value, PeerFault> {
        let asked = Asked::from_params(params)?;
        let answer = match self.depart(&asked, LeaveReason::Left).await? {
            Some(true) => LeaveAnswer::Left,
            Some(false) => LeaveAnswer::NotInRoom,
            None => LeaveAnswer::NoRoom,
        };
        Ok(answer.to_value())
    }

    async fn notify_member_disconnect(&self, params: &[Value]) -> Result<Value, PeerFault> {
        let Disconnected { asked, reason } = Disconnected::from_params(params)?;
        let answer = match self.depart(&asked, reason).await? {
            Some(true) => DisconnectAnswer::Removed,
            Some(false) => DisconnectAnswer::NotInRoom,
            None => DisconnectAnswer::NoRoom,
        };
        Ok(answer.to_value())
    }

    /// Whether somebody who is to be out was in; `None` if there is no such room.
    async fn depart(&self, asked: &Asked, reason: LeaveReason) -> Result<Option<bool>, PeerFault> {
        let Known { room, user, node } = match self.known(asked).await {
            Ok(known) => known,
            Err(Reject::RoomNotFound) => return Ok(None),
            Err(_) => return Ok(Some(false)),
        };
        match self.ask(&room, Call::Leave { node, user, reason }).await? {
            Answer::Left => Ok(Some(true)),
            Answer::NotIn => Ok(Some(false)),
            Answer::JoinRefused(Reject::RoomNotFound) => Ok(None),
            _ => Err(PeerFault::Internal),
        }
    }

    async fn forward_message(&self, params: &[Value]) -> Result<Value, PeerFault> {
        let forwarded = Forwarded::from_params(params)?;
        let refused = |reject| Ok(ForwardAnswer::Refused(reject).to_value(0));
        if !self.replies.settled(&forwarded).await {
            self.forward_arrived(&forwarded).await;
        }
        let Forwarded { asked, content } = forwarded;
        let content = match content_of(&content) {
            Ok(content) => content,
            Err(reject) => return refused(reject),
        };
        let forwarding = self.forwarding.lock().await;
        let Known { room, user, node } = match self.known(&asked).await {
            Ok(known) => known,
            // Whoever is behind no peer or has no name is in no room.
            Err(Reject::RoomNotFound) => return refused(Reject::RoomNotFound),
            Err(_) => return refused(Reject::NotMember),
        };
        let call = Call::Forward {
            node,
            user,
            content: content.into(),
            looks: self.looks.load(Ordering::Acquire),
        };
        let answer = self.rooms.call(&room, call).await;
        drop(forwarding);
        match self.within_limit(answer).await? {
            Answer::Sent {
                message_id,
                seq,
                timestamp,
                ..
            } => {
                // The number is the one that the node sees.
                let sent = ForwardAnswer::Sent {
                    message_id,
                    seq,
                    timestamp,
                };
                Ok(sent.to_value(0))
            }
            Answer::SendRefused(reject) => refused(reject),
            _ => Err(PeerFault::NotInTime),
        }
    }

    /// The answer to a forwarded message arrived: the same words are another message from here on.
    pub(in crate::peers) async fn forward_arrived(&self, Forwarded { asked, content }: &Forwarded) {
        if let (Ok(Known { room, user, node }), Ok(content)) = (self.names(asked), content_of(content)) {
            let told = original::Input::Told {
                node,
                user,
                content: content.into(),
            };
            self.rooms.note(&room, told).await;
        }
    }

    async fn receive_message(&self, params: &[Value]) -> Result<Value, PeerFault> {
        let [Value::String(_), Value::Struct(_)] = params else {
            return Err(PeerFault::InvalidParams);
        };
        // What has no place is shown to nobody, as if nobody were in the room.
        if let Ok(message) = original_call::message_from_params(params) {
            let room = message.room_id.clone();
            self.show(&room, guest::Input::Said(message)).await;
        }
        Ok(Value::Boolean(true))
    }

    async fn receive_event(&self, params: &[Value]) -> Result<Value, PeerFault> {
        if let Some(event) = original_call::event_from_params(params)? {
            let room = event.room_id.clone();
            self.show(&room, guest::Input::Member(event)).await;
        }
        Ok(Value::Boolean(true))
    }

    /// Shows something to a room and waits until it has taken it, at most as long as the caller may wait.
    async fn show(&self, room: &RoomId, input: guest::Input) {
        let taken = self.rooms.show(room, input).await;
        drop(tokio::time::timeout(self.rooms.limits().original_commit, taken).await);
    }
}

/// The content as it will be numbered.
fn content_of(content: &str) -> Result<String, Reject> {
    if content.is_empty() {
        Err(Reject::EmptyContent)
    } else if content.chars().nth(MAX_CONTENT_CHARS).is_some() {
        Err(Reject::ContentTooLong)
    } else if text::first_forbidden(content).is_some() {
        Err(Reject::InvalidContent(
            "Message content contains forbidden characters".into(),
        ))
    } else {
        Ok(text::normalise_newlines(content).into_owned())
    }
}
