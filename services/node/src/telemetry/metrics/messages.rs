//! The path of a message: sent, numbered, delivered, and what was wrong on the way.

use super::{Declare, FAST};
use chat_protocol::message_frame::MessageFrame;
use chat_protocol::timestamp::Timestamp;
use prometheus::{Histogram, HistogramVec, IntCounter, IntGauge};

/// Messages of this node's clients and rooms.
#[derive(Debug, Clone)]
pub struct MessageMetrics {
    /// Messages that were committed for a client of this node.
    pub accepted: IntCounter,
    /// Messages handed to sessions of this node, one per session.
    pub delivered: IntCounter,
    /// Sends that had been committed before, and were answered without a second message.
    pub repeats: IntCounter,
    /// Sends whose clients were told that nobody knows what became of them.
    pub unknown: IntCounter,
    /// Sequence numbers given by this node as the admin of a room.
    pub numbered: IntCounter,
    /// Holes that this node saw in rooms of other nodes, and began to read.
    pub gaps: IntCounter,
    /// Holes that were read.
    pub gaps_repaired: IntCounter,
    /// Messages of other nodes that came although they had been delivered here.
    pub doubled: IntCounter,
    /// Messages that rooms of other nodes are known to have and that were not delivered here yet, of all these rooms.
    pub lag: IntGauge,
    acknowledgement: OfRoom,
    delivery: OfRoom,
    fan_out: Histogram,
}

/// Where the room is.
#[derive(Debug, Clone)]
struct OfRoom {
    here: Histogram,
    elsewhere: Histogram,
}

impl OfRoom {
    fn of(family: &HistogramVec) -> Self {
        Self {
            here: family.with_label_values(&["local"]),
            elsewhere: family.with_label_values(&["remote"]),
        }
    }

    const fn of_room(&self, here: bool) -> &Histogram {
        if here { &self.here } else { &self.elsewhere }
    }
}

impl MessageMetrics {
    pub(super) fn declare(declare: &Declare<'_>) -> Self {
        let gaps = declare.counters(
            "chat_gaps_total",
            "Holes in the numbers of rooms of other nodes: seen, and closed by reading what was missing.",
            &["state"],
        );
        let of_room = |name: &str, help: &str| OfRoom::of(&declare.histograms(name, help, &FAST, &["room"]));
        Self {
            accepted: declare.counter(
                "chat_messages_accepted_total",
                "Messages committed for clients of this node.",
            ),
            delivered: declare.counter(
                "chat_messages_delivered_total",
                "Messages handed to sessions of this node, one per session.",
            ),
            unknown: declare.counter(
                "chat_messages_unknown_total",
                "Messages of clients of this node that may or may not have been committed, as their senders were told.",
            ),
            repeats: declare.counter(
                "chat_messages_repeated_total",
                "Messages of clients of this node that had been committed before, and were not committed again.",
            ),
            numbered: declare.counter(
                "chat_sequence_numbers_assigned_total",
                "Sequence numbers given by this node as the admin of a room.",
            ),
            gaps: gaps.with_label_values(&["seen"]),
            gaps_repaired: gaps.with_label_values(&["repaired"]),
            doubled: declare.counter(
                "chat_messages_doubled_total",
                "Messages of other nodes that had been delivered here already, and were dropped.",
            ),
            lag: declare.gauge(
                "chat_follower_lag_messages",
                "Messages that rooms of other nodes have, and that were not delivered here yet.",
            ),
            acknowledgement: of_room(
                "chat_acknowledgement_seconds",
                "From a message of a client to its acknowledgement, by where the room is.",
            ),
            delivery: of_room(
                "chat_delivery_seconds",
                "From the moment at which a room took a message to its way to the sessions of this node, by where the room is. Between machines it is as good as their clocks agree.",
            ),
            fan_out: declare.histogram(
                "chat_fan_out_sessions",
                "How many sessions of this node a message went to.",
                &[0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0],
            ),
        }
    }

    /// A message of a client was acknowledged after so many seconds.
    pub fn acknowledged(&self, room_is_here: bool, seconds: f64) {
        self.acknowledgement.of_room(room_is_here).observe(seconds);
    }

    /// Messages went to so many sessions each.
    pub fn fanned_out(&self, room_is_here: bool, frames: &[MessageFrame], sessions: usize, now: Timestamp) {
        for frame in frames {
            if let Some(age) = frame.age(now) {
                self.delivery.of_room(room_is_here).observe(age.as_secs_f64());
            }
            // No node has more sessions than a double counts.
            #[allow(clippy::cast_precision_loss)]
            self.fan_out.observe(sessions as f64);
        }
    }
}
