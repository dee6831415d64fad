//! Which rooms are busy: asked of a node, and not a metric, because a metric for each room would be one without bound.

use super::entry::{Entry, Machine};
use super::shard::Shard;
use super::{RoomsHandle, ShardInput};
use chat_engine::time::Now;
use chat_protocol::ids::RoomId;
use serde_json::{Value, json};
use std::cmp::Reverse;
use tokio::sync::oneshot;

/// How many rooms an answer has at most.
pub const MOST: usize = 20;

/// Milliseconds over which rates are estimated.
const WINDOW: u64 = 60_000;

/// How often something happened in the last minute: counted in windows of the clock, the one before weighed by how much of it still
/// belongs to that minute. Exact as long as what happens is even over the window before.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rate {
    window: u64,
    before: u64,
    here: u64,
}

impl Rate {
    /// It happened so many times.
    pub(super) const fn add(&mut self, now: u64, count: u64) {
        self.turn(now);
        self.here += count;
    }

    const fn turn(&mut self, now: u64) {
        let window = now / WINDOW;
        if window != self.window {
            self.before = if window == self.window + 1 { self.here } else { 0 };
            self.here = 0;
            self.window = window;
        }
    }

    /// Times per minute.
    pub(super) const fn per_minute(mut self, now: u64) -> u64 {
        self.turn(now);
        self.here + self.before * (WINDOW - now % WINDOW) / WINDOW
    }
}

/// What passes through a room here.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Traffic {
    pub(super) messages: Rate,
    pub(super) deliveries: Rate,
}

/// A room with its traffic on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busy {
    /// Which.
    pub room: RoomId,
    /// True if the node that says it administers the room.
    pub here: bool,
    /// Sessions of this node that listen.
    pub sessions: usize,
    /// Messages in the last minute.
    pub messages: u64,
    /// Times that one was handed to a session of this node in the last minute.
    pub deliveries: u64,
}

impl Busy {
    /// As the operations port says it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "room_id": self.room.as_str(),
            "administered_here": self.here,
            "sessions": self.sessions,
            "messages_per_minute": self.messages,
            "deliveries_per_minute": self.deliveries,
        })
    }
}

/// The busiest first: by deliveries, then by messages, then by name, so that the order is certain.
fn sort(rooms: &mut Vec<Busy>, most: usize) {
    rooms.sort_by(|a, b| {
        let key = |room: &Busy| (Reverse(room.deliveries), Reverse(room.messages));
        key(a).cmp(&key(b)).then_with(|| a.room.cmp(&b.room))
    });
    rooms.truncate(most);
}

impl Entry {
    fn busy(&self, now: u64) -> Busy {
        Busy {
            room: self.room_id.clone(),
            here: matches!(self.machine, Machine::Admin(_)),
            sessions: self.subscribers.len(),
            messages: self.traffic.messages.per_minute(now),
            deliveries: self.traffic.deliveries.per_minute(now),
        }
    }
}

impl Shard {
    /// The busiest rooms of this shard; those without traffic are left out.
    pub(super) fn busiest(&self, now: Now) -> Vec<Busy> {
        let all = self.rooms.values().map(|entry| entry.busy(now.mono.0));
        let mut rooms: Vec<Busy> = all.filter(|room| room.messages + room.deliveries > 0).collect();
        sort(&mut rooms, MOST);
        rooms
    }
}

impl RoomsHandle {
    /// The busiest rooms of this node in the last minute, [`MOST`] of them. It waits for a turn of each shard. Cancel safe.
    pub async fn busiest(&self) -> Vec<Busy> {
        let mut found = Vec::new();
        for shard in 0..self.shards() {
            let (answer, answered) = oneshot::channel();
            self.send(shard, ShardInput::Busiest(answer)).await;
            // A shard that is gone has no rooms.
            found.extend(answered.await.unwrap_or_default());
        }
        sort(&mut found, MOST);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_minute() {
        let mut rate = Rate::default();
        rate.add(10_000, 60);
        assert_eq!(rate.per_minute(59_999), 60);
        // Half of the window before still counts.
        assert_eq!(rate.per_minute(90_000), 30);
        rate.add(90_000, 5);
        assert_eq!(rate.per_minute(90_000), 35);
        assert_eq!(rate.per_minute(120_000), 5);
        assert_eq!(rate.per_minute(240_000), 0, "long ago is nothing");
    }

    #[test]
    fn the_busiest_come_first_and_no_more_than_asked_for() {
        let busy = |room: &str, messages, deliveries| Busy {
            room: RoomId::parse(room).unwrap(),
            here: true,
            sessions: 1,
            messages,
            deliveries,
        };
        let mut rooms = vec![busy("a", 1, 5), busy("d", 2, 7), busy("b", 2, 5), busy("c", 2, 5)];
        sort(&mut rooms, 3);
        let names: Vec<&str> = rooms.iter().map(|room| room.room.as_str()).collect();
        assert_eq!(names, ["d", "b", "c"]);
    }
}
