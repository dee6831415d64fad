//! Refusals: one counter per reason, all resolved at the start.

use super::Declare;
use chat_protocol::reject::Code;
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

/// Requests of clients that were refused, by code: all that there are from the start, and no text from outside.
#[derive(Debug, Clone)]
pub struct RefusedRequests {
    /// In the order of [`Code::ALL`].
    counters: [IntCounter; Code::ALL.len()],
}

impl RefusedRequests {
    pub(super) fn declare(declare: &Declare<'_>) -> Self {
        let family = declare.counters(
            "chat_requests_refused_total",
            "Requests of clients refused, by code.",
            &["code"],
        );
        Self {
            counters: Code::ALL.map(|code| family.with_label_values(&[code.text()])),
        }
    }

    /// Counts one refusal.
    pub fn count(&self, code: Code) {
        // The list is in the order of the declaration.
        self.counters[code as usize].inc();
    }
}
