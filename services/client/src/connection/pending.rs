//! Which answer belongs to which request.

use crate::frame::Frame;
use std::collections::VecDeque;
use tokio::sync::oneshot;

/// Most requests that wait for their answers; more are not written.
pub(super) const MAX_WAITING: usize = 1_024;

/// What kind of answer a request waits for; the text is the room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expect {
    RoomsList,
    GlobalRooms,
    RoomCreated,
    Joined(String),
    Left(String),
    Sent(String),
}

impl Expect {
    /// Whether `frame` answers such a request. A refusal may leave out the room that it could not read.
    pub(super) fn fits(&self, frame: &Frame) -> bool {
        match (self, frame) {
            (_, Frame::Error(_))
            | (Self::RoomsList, Frame::RoomsList(_))
            | (Self::GlobalRooms, Frame::GlobalRooms(_))
            | (Self::RoomCreated, Frame::RoomCreated(_)) => true,
            (Self::Joined(room), Frame::Joined(joined)) => *room == joined.room_id,
            (Self::Left(room), Frame::Left(left)) => *room == left.room_id,
            (Self::Sent(room), Frame::Sent(sent)) => *room == sent.room_id,
            (Self::Joined(room), Frame::JoinRefused { room_id, .. })
            | (Self::Sent(room), Frame::SendRefused { room_id, .. }) => room == room_id || room_id.is_empty(),
            _ => false,
        }
    }
}

/// The requests that wait, oldest first.
#[derive(Debug, Default)]
pub(super) struct Pending {
    waiting: VecDeque<(Expect, oneshot::Sender<Frame>)>,
}

impl Pending {
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < MAX_WAITING
    }

    pub(super) fn push(&mut self, expect: Expect, reply: oneshot::Sender<Frame>) {
        self.waiting.push_back((expect, reply));
    }

    /// Hands `frame` to the oldest request that it fits. A request that nobody waits for any more keeps its place, or
    /// its late answer would be taken for that of the next one. False if no request waits for such a frame.
    pub(super) fn answer(&mut self, frame: Frame) -> bool {
        let Some(at) = self.waiting.iter().position(|(expect, _)| expect.fits(&frame)) else {
            return false;
        };
        if let Some((_, reply)) = self.waiting.remove(at) {
            // It may have waited long enough; then the answer is for nobody.
            let _late = reply.send(frame);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Sent;
    use crate::frame::Refusal;

    fn sent(room: &str, seq: u64) -> Frame {
        Frame::Sent(Sent {
            room_id: room.into(),
            message_id: "m".into(),
            seq,
            timestamp: "t".into(),
        })
    }

    fn refused(room: &str) -> Frame {
        let refusal = Refusal {
            code: "C".into(),
            text: "t".into(),
        };
        Frame::SendRefused {
            room_id: room.into(),
            refusal,
        }
    }

    fn ask(pending: &mut Pending, expect: Expect) -> oneshot::Receiver<Frame> {
        let (reply, answer) = oneshot::channel();
        pending.push(expect, reply);
        answer
    }

    #[test]
    fn answers_go_to_the_oldest_request_of_their_room() {
        let mut pending = Pending::default();
        let mut first = ask(&mut pending, Expect::Sent("a".into()));
        let mut second = ask(&mut pending, Expect::Sent("a".into()));
        let mut other = ask(&mut pending, Expect::Sent("b".into()));
        for frame in [sent("b", 9), sent("a", 1), refused("")] {
            assert!(pending.answer(frame));
        }
        assert_eq!(first.try_recv(), Ok(sent("a", 1)));
        assert_eq!(second.try_recv(), Ok(refused("")));
        assert_eq!(other.try_recv(), Ok(sent("b", 9)));
        assert!(!pending.answer(sent("a", 3)));
    }

    #[test]
    fn a_late_answer_is_not_taken_for_that_of_the_next_request() {
        let mut pending = Pending::default();
        drop(ask(&mut pending, Expect::Sent("a".into())));
        let mut next = ask(&mut pending, Expect::Sent("a".into()));
        assert!(pending.answer(sent("a", 1)));
        assert!(next.try_recv().is_err());
        assert!(pending.answer(sent("a", 2)));
        assert_eq!(next.try_recv(), Ok(sent("a", 2)));
    }

    #[test]
    fn a_general_error_answers_the_oldest_request_of_any_kind() {
        let mut pending = Pending::default();
        let mut list = ask(&mut pending, Expect::RoomsList);
        let error = Frame::Error(Refusal {
            code: String::new(),
            text: "no".into(),
        });
        assert!(pending.answer(error.clone()));
        assert_eq!(list.try_recv(), Ok(error));
    }
}
