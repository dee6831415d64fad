//! Builders in the words of the domain, for the tests of this crate.

use crate::effect::{Answer, Effect, Effects, Joined, Origin, Submission, Terms};
use crate::room::roster::Seat;
use crate::room::{Input, Room, RoomLimits};
use crate::stored::{Append, AppendOutcome, ClaimedRoom, NewMessage, RoomProfile, RoomState};
use crate::time::{Millis, Now};
use chat_protocol::client_frame::Position;
use chat_protocol::ids::{
    ClientMsgId, Epoch, Generation, MessageId, NodeId, RoomId, RoomName, SeatKey, Seq, SessionId, UserName,
};
use chat_protocol::message_frame::{Message, MessageFrame};
use chat_protocol::peer_item::AnnouncedSeat;
use chat_protocol::server_frame::{LeaveReason, MemberEvent, RoomInfo};
use chat_protocol::timestamp::Timestamp;

pub(crate) fn node(id: &str) -> NodeId {
    NodeId::parse(id).unwrap()
}

pub(crate) fn user(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

pub(crate) fn room_id() -> RoomId {
    RoomId::parse("hall-1").unwrap()
}

/// `ms` on both clocks.
pub(crate) fn at(ms: u64) -> Now {
    Now {
        mono: Millis(ms),
        wall: Timestamp(i64::try_from(ms).unwrap() * 1_000),
    }
}

/// Session `session` of node `node_id`, request `request`.
pub(crate) fn from(node_id: &str, session: u64, request: u64) -> Origin {
    Origin {
        node: node(node_id),
        session: SessionId(session),
        request,
    }
}

pub(crate) fn seat(node_id: &str, session: u64) -> Seat {
    Seat {
        node: node(node_id),
        session: SessionId(session),
    }
}

/// A classic connection in an announcement of seats.
pub(crate) fn announced(session: u64, name: &str) -> AnnouncedSeat {
    AnnouncedSeat {
        session: SessionId(session),
        user: user(name),
        key: None,
    }
}

pub(crate) fn key(text: &str) -> SeatKey {
    SeatKey::parse(text).unwrap()
}

/// A join of a session with this key that has the messages up to (generation, number), or wants the newest 10.
pub(crate) fn extended(seat_key: &str, from: Option<(u64, u64)>) -> Terms {
    Terms::Extended {
        key: key(seat_key),
        from: from.map(|(generation, seq)| Position {
            generation: Generation(generation),
            seq: Seq(seq),
        }),
        history: 10,
    }
}

/// An unshifted subscription from `first` on.
pub(crate) fn subscribe_from(session: u64, first: u64) -> Effect {
    Effect::Subscribe {
        session: SessionId(session),
        shift: 0,
        first: Seq(first),
    }
}

pub(crate) fn profile() -> RoomProfile {
    RoomProfile {
        room_id: room_id(),
        room_name: RoomName::parse("hall").unwrap(),
        creator_id: user("ines"),
        description: None,
        created_at: Timestamp(0),
    }
}

pub(crate) fn claimed(epoch: u64, head: u64) -> Input {
    Input::Claimed(Ok(Some(ClaimedRoom {
        profile: profile(),
        generation: Generation(1),
        epoch: Epoch(epoch),
        head: Seq(head),
        floor: Seq(1),
        seats: Vec::new(),
        state: RoomState::Active,
    })))
}

pub(crate) fn join(origin: Origin, name: &str) -> Input {
    Input::Join {
        origin,
        user: user(name),
        terms: Terms::Classic,
    }
}

pub(crate) fn leave(origin: Origin, name: &str) -> Input {
    Input::Leave {
        origin,
        user: user(name),
    }
}

/// `name` says `text`; the message will have the id `m-text`.
pub(crate) fn say(origin: Origin, name: &str, text: &str) -> Input {
    Input::Send(submission(origin, name, text, None))
}

/// The same with an id by which a repeat is recognised.
pub(crate) fn say_as(origin: Origin, name: &str, text: &str, id: &str) -> Input {
    Input::Send(submission(origin, name, text, Some(id)))
}

fn submission(origin: Origin, name: &str, text: &str, id: Option<&str>) -> Submission {
    Submission {
        origin,
        user: user(name),
        content: text.into(),
        client_msg_id: id.map(|id| ClientMsgId::parse(id).unwrap()),
        message_id: message_id(text),
    }
}

pub(crate) fn message_id(text: &str) -> MessageId {
    MessageId::parse(&format!("m-{text}")).unwrap()
}

pub(crate) fn appended(token: u64, outcome: AppendOutcome) -> Input {
    Input::Appended { token, outcome }
}

pub(crate) fn message(seq: u64, name: &str, text: &str, ms: u64) -> Message {
    Message {
        message_id: message_id(text),
        room_id: room_id(),
        username: user(name),
        content: text.into(),
        seq: Seq(seq),
        timestamp: at(ms).wall,
    }
}

pub(crate) fn frame(seq: u64, name: &str, text: &str, ms: u64) -> MessageFrame {
    MessageFrame::encode(&message(seq, name, text, ms))
}

pub(crate) fn append(token: u64, epoch: u64, messages: Vec<Message>) -> Effect {
    let items: Vec<_> = messages
        .into_iter()
        .map(|message| NewMessage {
            message,
            client_msg_id: None,
        })
        .collect();
    Effect::Append(Append {
        room_id: room_id(),
        token,
        epoch: Epoch(epoch),
        items: items.into(),
    })
}

pub(crate) fn joined(members: &[&str], epoch: u64, head: u64) -> Joined {
    Joined {
        info: RoomInfo {
            room_id: room_id(),
            room_name: RoomName::parse("hall").unwrap(),
            description: None,
            members: members.iter().map(|name| user(name)).collect(),
            admin_node: node("a"),
        },
        generation: Generation(1),
        epoch: Epoch(epoch),
        head: Seq(head),
        floor: Seq(1),
        version: 0,
        resumed: false,
        first: Seq::ZERO,
    }
}

pub(crate) fn answer(to: Origin, answer: Answer) -> Effect {
    Effect::Answer { to, answer }
}

pub(crate) fn sent(to: Origin, seq: u64, text: &str, ms: u64) -> Effect {
    answer(
        to,
        Answer::Sent {
            message_id: message_id(text),
            seq: Seq(seq),
            timestamp: at(ms).wall,
            duplicate: false,
        },
    )
}

/// As [`sent`], for a repeat.
pub(crate) fn sent_before(to: Origin, seq: u64, text: &str, ms: u64) -> Effect {
    let mut effect = sent(to, seq, text, ms);
    if let Effect::Answer {
        answer: Answer::Sent { duplicate, .. },
        ..
    } = &mut effect
    {
        *duplicate = true;
    }
    effect
}

pub(crate) fn event(name: &str, count: u32, ms: u64, left: Option<LeaveReason>) -> MemberEvent {
    MemberEvent {
        room_id: room_id(),
        username: user(name),
        member_count: count,
        timestamp: at(ms).wall,
        left,
        version: 0,
    }
}

pub(crate) fn announce(event: MemberEvent, except: Option<u64>, nodes: &[&str]) -> Effect {
    Effect::Announce {
        event,
        except: except.map(SessionId),
        nodes: nodes.iter().map(|id| node(id)).collect(),
    }
}

pub(crate) fn relay(nodes: &[&str], epoch: u64, frames: Vec<MessageFrame>) -> Effect {
    Effect::Relay {
        nodes: nodes.iter().map(|id| node(id)).collect(),
        generation: Generation(1),
        epoch: Epoch(epoch),
        frames,
    }
}

pub(crate) fn subscribe(session: u64, shift: u64) -> Effect {
    Effect::Subscribe {
        session: SessionId(session),
        shift,
        first: Seq(shift + 1),
    }
}

pub(crate) fn go_live(session: u64) -> Effect {
    Effect::GoLive {
        session: SessionId(session),
    }
}

pub(crate) fn unsubscribe(session: u64) -> Effect {
    Effect::Unsubscribe {
        session: SessionId(session),
    }
}

pub(crate) fn page(session: u64, first: u64, last: u64) -> Effect {
    Effect::SendPage {
        session: SessionId(session),
        from: Seq(first),
        to: Seq(last),
    }
}

/// Effects without what only extended sessions and the store are told: notes of seats, versions, first numbers. Tests of
/// those look at the effects as they are.
pub(crate) fn classic_view(effects: Effects) -> Effects {
    let plain = |mut effect: Effect| {
        match &mut effect {
            Effect::KeepSeat { .. } | Effect::DropSeat(_) | Effect::Trouble { .. } => return None,
            Effect::Announce { event, .. } => event.version = 0,
            Effect::Answer {
                answer: Answer::Joined(joined),
                ..
            } => (joined.version, joined.first) = (0, Seq::ZERO),
            _ => {}
        }
        Some(effect)
    };
    effects.into_iter().filter_map(plain).collect()
}

/// A room at node `a`, and what it did with each input.
pub(crate) struct AdminRoom {
    pub(crate) room: Room,
}

impl AdminRoom {
    /// A room that was just claimed at epoch 1 and has `head` messages and nobody in it.
    pub(crate) fn with_head(head: u64) -> Self {
        let (mut this, first) = Self::opening(RoomLimits::default());
        assert_eq!(first, [Effect::Claim]);
        assert_eq!(this.on(0, claimed(1, head)), [Effect::Idle]);
        this
    }

    /// A room that has asked to be claimed.
    pub(crate) fn opening(limits: RoomLimits) -> (Self, Effects) {
        let mut effects = Vec::new();
        let room = Room::open(room_id(), node("a"), limits, &mut effects);
        (Self { room }, effects)
    }

    /// What classic sessions see; see [`classic_view`].
    pub(crate) fn on(&mut self, ms: u64, input: Input) -> Effects {
        classic_view(self.all(ms, input))
    }

    /// Every effect as it is.
    pub(crate) fn all(&mut self, ms: u64, input: Input) -> Effects {
        let mut effects = Vec::new();
        self.room.handle(at(ms), input, &mut effects);
        effects
    }

    pub(crate) fn timeout(&mut self, ms: u64) -> Effects {
        let mut effects = Vec::new();
        self.room.handle_timeout(at(ms), &mut effects);
        classic_view(effects)
    }

    /// Session `session` of node `a` is in the room as `name`; what that caused is not looked at.
    pub(crate) fn with_local(mut self, session: u64, name: &str) -> Self {
        self.on(0, join(from("a", session, 1), name));
        self
    }

    /// Session `session` of node `node_id` is in the room as `name`.
    pub(crate) fn with_remote(mut self, node_id: &str, session: u64, name: &str) -> Self {
        self.on(0, join(from(node_id, session, 1), name));
        self
    }
}
