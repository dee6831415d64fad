//! Connections of clients and what comes and goes on them.

use super::{Declare, RefusedConnections, SLOW};
use crate::session::outbound::Sent;
use chat_protocol::client_frame::ClientFrame;
use chat_protocol::close::CloseReason;
use prometheus::{Histogram, IntCounter, IntGauge};
use std::sync::Arc;

/// What a client said, as its metric calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It opened an extended session.
    Hello,
    /// The request at this place of [`REQUESTS`].
    Request(usize),
    /// What is no request.
    Invalid,
}

/// Names of requests.
const REQUESTS: [&str; 8] = [
    "list_rooms",
    "discover_rooms",
    "create_room",
    "join_room",
    "leave_room",
    "send_message",
    "read_history",
    "delete_room",
];

impl Heard {
    /// What a frame is called.
    #[must_use]
    pub const fn of(frame: &ClientFrame) -> Self {
        Self::Request(match frame {
            ClientFrame::ListRooms(_) => 0,
            ClientFrame::DiscoverRooms(_) => 1,
            ClientFrame::CreateRoom { .. } => 2,
            ClientFrame::JoinRoom { .. } => 3,
            ClientFrame::LeaveRoom { .. } => 4,
            ClientFrame::SendMessage { .. } => 5,
            ClientFrame::ReadHistory { .. } => 6,
            ClientFrame::DeleteRoom { .. } => 7,
        })
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// This node closed it.
    By(CloseReason),
    /// The client closed it.
    Client,
    /// It broke.
    Lost,
}

/// Connections and frames, with all labels resolved.
#[derive(Debug, Clone)]
pub struct ClientMetrics {
    /// Open connections.
    pub open: IntGauge,
    /// Connections that were accepted.
    pub opened: IntCounter,
    /// Connections that were refused, by reason.
    pub refused: RefusedConnections,
    /// From the accepted connection to the upgraded one, in seconds.
    pub handshake_seconds: Histogram,
    /// Frames that were written to the end, and bytes.
    pub sent: Arc<Sent>,
    /// Bytes that wait to be written, of all connections.
    pub queue_bytes: IntGauge,
    /// Bytes that wait to be written on the connection where most do.
    pub longest_queue_bytes: IntGauge,
    /// Slow readers that caught up.
    pub slow_recovered: IntCounter,
    /// Slow readers that were closed.
    pub slow_closed: IntCounter,
    /// Sessions that came back with a token that is theirs.
    pub resumed: IntCounter,
    /// Sessions that began.
    pub begun: IntCounter,
    /// Sessions whose token was another user's, and that began anew.
    pub resume_refused: IntCounter,
    received: [Received; REQUESTS.len()],
    hellos: Received,
    invalid: Received,
    closed: [(CloseReason, IntCounter); CloseReason::ALL.len()],
    closed_by_client: IntCounter,
    lost: IntCounter,
}

/// Texts of one type.
#[derive(Debug, Clone)]
struct Received {
    frames: IntCounter,
    bytes: IntCounter,
}

impl ClientMetrics {
    pub(super) fn declare(declare: &Declare<'_>) -> Self {
        let received = declare.counters(
            "chat_frames_received_total",
            "Texts received from clients, by what they ask for.",
            &["type"],
        );
        let received_bytes = declare.counters(
            "chat_bytes_received_total",
            "Bytes of texts received from clients, by what they ask for.",
            &["type"],
        );
        let received = |name: &str| Received {
            frames: received.with_label_values(&[name]),
            bytes: received_bytes.with_label_values(&[name]),
        };
        let closed = declare.counters(
            "chat_connections_closed_total",
            "Connections of clients that ended, by the code with which this node closed them; client if they closed, lost if they broke.",
            &["code"],
        );
        let slow = declare.counters(
            "chat_slow_readers_total",
            "Clients that read too slowly, by what became of them.",
            &["outcome"],
        );
        let sessions = declare.counters(
            "chat_sessions_total",
            "Extended sessions that were opened: begun, resumed with their token, or refused the token of another user and begun.",
            &["outcome"],
        );
        let of_code = |reason: CloseReason| closed.with_label_values(&[&reason.code().to_string()]);
        Self {
            open: declare.gauge("chat_connections", "Open connections of clients."),
            opened: declare.counter("chat_connections_total", "Connections of clients accepted."),
            refused: RefusedConnections::declare(declare),
            handshake_seconds: declare.histogram(
                "chat_handshake_seconds",
                "From an accepted connection of a client to an open WebSocket.",
                &SLOW,
            ),
            sent: Arc::new(Sent::of(
                &declare.counters(
                    "chat_frames_sent_total",
                    "Frames written to clients: messages, answers to requests, events that nobody asked for, and pings, pongs and closes.",
                    &["type"],
                ),
                &declare.counters(
                    "chat_bytes_sent_total",
                    "Bytes written to clients, as the frames that they are of.",
                    &["type"],
                ),
            )),
            queue_bytes: declare.gauge("chat_outbound_queue_bytes", "Bytes that wait to be written to clients."),
            longest_queue_bytes: declare.gauge(
                "chat_outbound_queue_longest_bytes",
                "Bytes that wait to be written to the client for which most do.",
            ),
            slow_recovered: slow.with_label_values(&["recovered"]),
            slow_closed: slow.with_label_values(&["closed"]),
            resumed: sessions.with_label_values(&["resumed"]),
            begun: sessions.with_label_values(&["begun"]),
            resume_refused: sessions.with_label_values(&["refused"]),
            received: REQUESTS.map(received),
            hellos: received("hello"),
            invalid: received("invalid"),
            closed: CloseReason::ALL.map(|reason| (reason, of_code(reason))),
            closed_by_client: closed.with_label_values(&["client"]),
            lost: closed.with_label_values(&["lost"]),
        }
    }

    /// Counts a text of so many bytes.
    pub fn received(&self, heard: Heard, bytes: u64) {
        let counters = match heard {
            Heard::Hello => &self.hellos,
            Heard::Invalid => &self.invalid,
            Heard::Request(place) => &self.received[place],
        };
        counters.frames.inc();
        counters.bytes.inc_by(bytes);
    }

    /// Counts the end of a connection.
    pub fn closed(&self, how: Closed) {
        match how {
            Closed::By(reason) => {
                let counter = self.closed.iter().find(|(other, _)| *other == reason);
                counter.into_iter().for_each(|(_, counter)| counter.inc());
            }
            Closed::Client => self.closed_by_client.inc(),
            Closed::Lost => self.lost.inc(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::{Metrics, without_node};
    use chat_protocol::ids::NodeId;

    #[test]
    fn each_end_of_a_connection_counts_under_its_code() {
        let metrics = Metrics::new(&NodeId::parse("n1").unwrap());
        for reason in CloseReason::ALL {
            metrics.clients.closed(Closed::By(reason));
        }
        metrics.clients.closed(Closed::Client);
        metrics.clients.closed(Closed::Lost);
        let text = without_node(&metrics.text().unwrap());
        // Three reasons share a code.
        let counts = [("1000", 1), ("1013", 3), ("4409", 1), ("client", 1), ("lost", 1)];
        for (code, count) in counts {
            let line = format!("chat_connections_closed_total{{code=\"{code}\"}} {count}");
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn each_request_counts_under_its_name() {
        let metrics = Metrics::new(&NodeId::parse("n1").unwrap());
        let data = r#"{"room_id":"r","username":"u","room_name":"n","creator_id":"u","content":"c","after_seq":0}"#;
        for (name, times) in REQUESTS.into_iter().zip(1..) {
            let text = format!("{{\"type\":\"{name}\",\"data\":{data}}}");
            // Only extended sessions may say some of them.
            let user = chat_protocol::ids::UserName::parse("u").unwrap();
            let frame = chat_protocol::codec::parse_extended(&text, &user).frame;
            let frame = frame.unwrap_or_else(|why| panic!("{text}: {why:?}"));
            (0..times).for_each(|_| metrics.clients.received(Heard::of(&frame), 10));
        }
        metrics.clients.received(Heard::Hello, 10);
        metrics.clients.received(Heard::Invalid, 10);
        let text = without_node(&metrics.text().unwrap());
        let counts = REQUESTS.into_iter().zip(1..).chain([("hello", 1), ("invalid", 1)]);
        for (name, count) in counts {
            for (family, count) in [("frames", count), ("bytes", 10 * count)] {
                let line = format!("chat_{family}_received_total{{type=\"{name}\"}} {count}");
                assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
            }
        }
    }
}
