//! Refusals: one counter per reason, all resolved at the start.

use super::Declare;
use prometheus::IntCounter;

/// Connections of clients that were refused, by reason.
#[derive(Debug, Clone)]
pub struct RefusedConnections {
    /// `MAX_CONNECTIONS` are open.
    pub connections: IntCounter,
    /// `MAX_CONNECTIONS_PER_ADDRESS` of one address are open.
    pub address: IntCounter,
    /// `MAX_HANDSHAKES` are opening; counts those that made way.
    pub handshakes: IntCounter,
    /// The handshake took longer than its time.
    pub timeout: IntCounter,
    /// What arrived was no WebSocket handshake.
    pub invalid: IntCounter,
    /// The node is stopping.
    pub stopping: IntCounter,
}

impl RefusedConnections {
    pub(super) fn declare(declare: &Declare<'_>) -> Self {
        let family = declare.counters(
            "chat_connections_refused_total",
            "Connections of clients refused, by reason.",
            &["reason"],
        );
        Self {
            connections: family.with_label_values(&["connections"]),
            address: family.with_label_values(&["address"]),
            handshakes: family.with_label_values(&["handshakes"]),
            timeout: family.with_label_values(&["timeout"]),
            invalid: family.with_label_values(&["invalid"]),
            stopping: family.with_label_values(&["stopping"]),
        }
    }
}

/// Every code that a client may be told; anything else counts as the last.
const CODES: [&str; 12] = [
    "INVALID_REQUEST",
    "INVALID_CONTENT",
    "NOT_MEMBER",
    "ROOM_NOT_FOUND",
    "ADMIN_NODE_UNAVAILABLE",
    "UNAUTHORIZED",
    "INVALID_STATE",
    "DELETION_FAILED",
    "INTERNAL_ERROR",
    "UNSUPPORTED_PROTOCOL",
    "TOO_MANY_REQUESTS",
    "OTHER",
];

/// Requests of clients that were refused, by code.
#[derive(Debug, Clone)]
pub struct RefusedRequests {
    counters: [IntCounter; CODES.len()],
}

impl RefusedRequests {
    pub(super) fn declare(declare: &Declare<'_>) -> Self {
        let family = declare.counters(
            "chat_requests_refused_total",
            "Requests of clients refused, by code.",
            &["code"],
        );
        Self {
            counters: CODES.map(|code| family.with_label_values(&[code])),
        }
    }

    /// Counts one refusal. A code that is not in the fixed set counts as `OTHER`, so that no text from outside becomes
    /// a label.
    pub fn count(&self, code: &str) {
        let index = CODES.iter().position(|known| *known == code).unwrap_or(CODES.len() - 1);
        self.counters[index].inc();
    }
}
