//! The promises about one room, checked while messages come.
//!
//! Every confirmed message reaches every member exactly once; all members see one order with consecutive numbers from
//! the first one on; a confirmation names the message that was delivered and follows the sender's own copy.
//!
//! Memory does not grow with the run: a member is its next number, and a message is remembered only until all members
//! had it.

use crate::stamp::Stamp;
use crate::violations::{Kind, Violations};
use chat_client::new_message::NewMessageRef;
use std::collections::VecDeque;

/// Most messages of one room that wait for their last member. More means that some member stands still.
const WINDOW: usize = 1 << 17;

/// Most skipped numbers that a member remembers, to tell late ones from repeated ones.
const SKIPPED: usize = 256;

/// The check of one room that was empty at the start. The first members are its senders.
#[derive(Debug)]
pub struct RoomCheck {
    room: u64,
    room_id: String,
    members: Vec<Member>,
    senders: Vec<Sender>,
    live: u32,
    /// Messages that some member still waits for; the first has the number `base`.
    window: VecDeque<Entry>,
    base: u64,
    /// Highest number that anybody saw or that was confirmed.
    head: u64,
    confirmed: u64,
}

#[derive(Debug)]
struct Member {
    next: u64,
    live: bool,
    skipped: Vec<u64>,
}

#[derive(Debug, Default)]
struct Sender {
    sent: u64,
    answered: u64,
    /// The lowest counter that may come next in the order of the room.
    due: u64,
    /// Own messages that came and are not confirmed yet: number, hash of the id, counter.
    own: VecDeque<(u64, u64, u64)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    /// Hash of message id, sender and counter; `None` while only known by a gap.
    identity: Option<u64>,
    passed: u32,
}

impl RoomCheck {
    /// A room of the run.
    #[must_use]
    pub fn new(room: u64, room_id: String, members: usize, senders: usize) -> Self {
        let member = || Member {
            next: 1,
            live: true,
            skipped: Vec::new(),
        };
        Self {
            room,
            room_id,
            members: std::iter::repeat_with(member).take(members).collect(),
            senders: std::iter::repeat_with(Sender::default).take(senders).collect(),
            live: u32::try_from(members).unwrap_or(u32::MAX),
            window: VecDeque::new(),
            base: 1,
            head: 0,
            confirmed: 0,
        }
    }

    /// The room's id.
    #[must_use]
    pub fn room_id(&self) -> &str {
        &self.room_id
    }

    /// `sender` sent its next message.
    pub fn sent(&mut self, sender: usize) {
        self.senders[sender].sent += 1;
    }

    /// `member` received a message; `stamp` is what its content says.
    pub fn delivered(
        &mut self,
        member: usize,
        message: &NewMessageRef<'_>,
        stamp: Option<Stamp>,
        out: &mut Violations,
    ) {
        let (room, seq) = (self.room, message.seq);
        let known = stamp.filter(|s| {
            let sender = usize::try_from(s.sender).ok().and_then(|at| self.senders.get(at));
            s.room == room && sender.is_some_and(|sender| s.counter < sender.sent) && message.room_id == self.room_id
        });
        let Some(stamp) = known else {
            out.add(Kind::Foreign, 1, || {
                format!("room {room} member {member}: number {seq} is no message of this run")
            });
            return;
        };
        let id = hash(message.message_id.as_bytes());
        if self.advance(member, seq, out) {
            self.compare(member, seq, id, stamp, out);
        }
        self.release();
    }

    /// Moves the member on to the number after `seq`. False if that number was behind it already.
    fn advance(&mut self, at: usize, seq: u64, out: &mut Violations) -> bool {
        let room = self.room;
        let member = &mut self.members[at];
        let due = member.next;
        if seq < due {
            if let Some(late) = member.skipped.iter().position(|&s| s == seq) {
                member.skipped.swap_remove(late);
                out.add(Kind::OutOfOrder, 1, || {
                    format!("room {room} member {at}: number {seq} came after {}", due - 1)
                });
            } else {
                out.add(Kind::Repeated, 1, || {
                    format!("room {room} member {at}: number {seq} came again")
                });
            }
            return false;
        }
        member.next = seq.saturating_add(1);
        self.head = self.head.max(seq);
        out.add(Kind::Hole, seq - due, || {
            format!("room {room} member {at}: number {seq} came, {due} was due")
        });
        let room_left = SKIPPED.saturating_sub(member.skipped.len());
        member.skipped.extend((due..seq).take(room_left));
        // So that the window can move past what this member will not see.
        for skipped in (due..seq).take(WINDOW) {
            if let Some(entry) = self.entry(skipped) {
                entry.passed += 1;
            }
        }
        true
    }

    fn compare(&mut self, member: usize, seq: u64, id: u64, stamp: Stamp, out: &mut Violations) {
        let room = self.room;
        let identity = id ^ hash_numbers(stamp.sender, stamp.counter);
        let first_sight = match self.entry(seq) {
            Some(entry) => {
                entry.passed += 1;
                match entry.identity.replace(identity) {
                    Some(before) if before != identity => {
                        out.add(Kind::Conflict, 1, || {
                            format!("room {room} member {member}: number {seq} is another message than for others")
                        });
                        false
                    }
                    before => before.is_none(),
                }
            }
            None => {
                out.add(Kind::NotCompared, 1, || {
                    format!("room {room} member {member}: number {seq} is far from others")
                });
                false
            }
        };
        let Some(sender) = usize::try_from(stamp.sender)
            .ok()
            .and_then(|at| self.senders.get_mut(at))
        else {
            return;
        };
        if first_sight {
            if stamp.counter < sender.due {
                out.add(Kind::SenderOrder, 1, || {
                    let Stamp { sender, counter, .. } = stamp;
                    format!("room {room}: message {counter} of sender {sender} came again or late, as number {seq}")
                });
            }
            sender.due = sender.due.max(stamp.counter + 1);
        }
        if stamp.sender == member as u64 {
            sender.own.push_back((seq, id, stamp.counter));
        }
    }

    /// The oldest open message of `sender` was confirmed as number `seq` with this id.
    pub fn confirmed(&mut self, at: usize, seq: u64, message_id: &str, out: &mut Violations) {
        let room = self.room;
        let sender = &mut self.senders[at];
        let counter = sender.answered;
        if counter >= sender.sent {
            out.add(Kind::WrongAck, 1, || {
                format!("room {room} sender {at}: number {seq} confirmed, nothing was open")
            });
            return;
        }
        sender.answered += 1;
        // Delivered although refused (its outcome was unknown): no confirmation follows.
        while sender.own.front().is_some_and(|&(_, _, own)| own < counter) {
            sender.own.pop_front();
        }
        let own = sender.own.front().filter(|&&(_, _, own)| own == counter).copied();
        if own.is_some() {
            sender.own.pop_front();
        }
        match own {
            Some((number, id, _)) if number == seq && id == hash(message_id.as_bytes()) => {}
            Some((number, _, _)) => out.add(Kind::WrongAck, 1, || {
                format!("room {room} sender {at}: message {counter} came as {number} and was confirmed as {seq} {message_id}")
            }),
            None => out.add(Kind::WrongAck, 1, || {
                format!("room {room} sender {at}: number {seq} confirmed before message {counter} came")
            }),
        }
        // A wild number must not become a promise that cannot be kept by anybody: it is reported above.
        if own.is_some_and(|(number, _, _)| number == seq) || seq <= self.head.saturating_add(WINDOW as u64) {
            self.confirmed = self.confirmed.max(seq);
            self.head = self.head.max(seq);
        }
    }

    /// The oldest open message of `sender` was refused.
    pub fn refused(&mut self, at: usize) {
        let sender = &mut self.senders[at];
        sender.answered = sender.sent.min(sender.answered + 1);
    }

    /// The connection of `member` ended: nothing is promised to it any more.
    pub fn lost(&mut self, at: usize) {
        let member = &mut self.members[at];
        if std::mem::take(&mut member.live) {
            self.live -= 1;
            self.release();
        }
    }

    /// Whether all answers and all deliveries that are known of came.
    #[must_use]
    pub fn settled(&self) -> bool {
        let answered = |(at, s): (usize, &Sender)| s.answered == s.sent || !self.members[at].live;
        self.senders.iter().enumerate().all(answered) && self.members.iter().all(|m| !m.live || m.next > self.head)
    }

    /// Reports what did not come until the end.
    pub fn finish(&self, out: &mut Violations) {
        let (room, confirmed) = (self.room, self.confirmed);
        for (at, member) in self.members.iter().enumerate().filter(|(_, m)| m.live) {
            let (next, missing) = (member.next, confirmed.saturating_add(1).saturating_sub(member.next));
            out.add(Kind::Missing, missing, || {
                format!("room {room} member {at}: {next} to {confirmed} did not come, {confirmed} is confirmed")
            });
        }
        for (at, sender) in self.senders.iter().enumerate().filter(|(at, _)| self.members[*at].live) {
            let (open, first) = (sender.sent - sender.answered, sender.answered);
            out.add(Kind::Unanswered, open, || {
                format!("room {room} sender {at}: no answer to {open} from {first} on")
            });
        }
    }

    /// The memory of a number; `None` if it left the window or is too far ahead.
    fn entry(&mut self, seq: u64) -> Option<&mut Entry> {
        let at = usize::try_from(seq.checked_sub(self.base)?)
            .ok()
            .filter(|&at| at < WINDOW)?;
        if at >= self.window.len() {
            self.window.resize(at + 1, Entry::default());
        }
        self.window.get_mut(at)
    }

    /// Forgets messages that all members had or skipped.
    fn release(&mut self) {
        while self.window.front().is_some_and(|entry| entry.passed >= self.live) {
            self.window.pop_front();
            self.base += 1;
        }
    }
}

/// Not against malice, only against chance: a server that confuses two messages does not choose their ids.
fn hash(bytes: &[u8]) -> u64 {
    let step = |state: u64, word: u64| (state.rotate_left(23) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut words = bytes.chunks_exact(8);
    let mut state = bytes.len() as u64;
    for word in &mut words {
        state = step(state, u64::from_le_bytes(word.try_into().unwrap_or_default()));
    }
    let tail = words
        .remainder()
        .iter()
        .fold(0, |tail, &byte| tail << 8 | u64::from(byte));
    step(step(state, tail), 0)
}

fn hash_numbers(a: u64, b: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&a.to_le_bytes());
    bytes[8..].copy_from_slice(&b.to_le_bytes());
    hash(&bytes)
}

#[cfg(test)]
mod tests;
