//! Every bound of a running node. Bounds of the wire are constants of `chat_protocol::limits`.

use super::raw::{self, Mode, Setting, Written};
use super::reading::Reading;
use std::time::Duration;

/// Bounds on queues, waits and maps. Each is a setting; see `chat-node --help` for its variable and default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most clients at once.
    pub max_connections: usize,
    /// Most clients at once of one address; 0 for no bound.
    pub max_connections_per_address: usize,
    /// Most clients that are taken in one second; 0 for no bound.
    pub connections_per_second: u32,
    /// Most frames of one client that are read in one second; 0 for no bound.
    pub requests_per_second: u32,
    /// Most clients that are between accept and WebSocket.
    pub max_handshakes: usize,
    /// Longest wait for the head of an HTTP request.
    pub header_timeout: Duration,
    /// Longest time from accept to WebSocket.
    pub handshake_timeout: Duration,
    /// Most bytes that wait to be sent to one client; an empty queue takes a frame of any size.
    pub outbound_bytes: usize,
    /// Most requests of one client that wait.
    pub inbound_frames: usize,
    /// Most bytes of requests of one client that wait; an empty queue takes a frame of any size.
    pub inbound_bytes: usize,
    /// Most bytes of all clients' requests that are unfinished or wait, beyond what each may have anyway.
    pub inbound_total_bytes: usize,
    /// Longest time from the first byte of a request to its last; that it was longer is found out at most as much later.
    pub message_timeout: Duration,
    /// How long a client may read too slowly before it is closed.
    pub slow_reader: Duration,
    /// Silence after which a client is pinged.
    pub ping_interval: Duration,
    /// Longest wait for the pong.
    pub pong_timeout: Duration,
    /// Idle time after which a member leaves; zero for never.
    pub inactivity: Duration,
    /// Most rooms that one client is in.
    pub max_rooms_per_connection: usize,
    /// Tasks that share the rooms.
    pub shards: usize,
    /// Most inputs that wait for one of them.
    pub shard_queue: usize,
    /// Most messages of a room that wait for the store.
    pub room_pending_sends: usize,
    /// Most bytes of them.
    pub room_pending_bytes: usize,
    /// Most bytes of a room that are stored at once.
    pub batch_bytes: usize,
    /// Bytes of the newest frames of a room that stay in memory.
    pub backlog_bytes: usize,
    /// Newest messages of a room that are kept, and at most a tenth more; 0 for all.
    pub history_messages: usize,
    /// Newest messages of a room that recognise a repeated send, kept or not.
    pub repeat_window_messages: usize,
    /// How old a message may be that does so, too.
    pub repeat_window: Duration,
    /// Most rooms in memory; idle ones make way.
    pub max_room_machines: usize,
    /// Most bytes that wait for one peer.
    pub link_queue_bytes: usize,
    /// Most bytes of items in one call to a peer, as they stand in its body.
    pub exchange_bytes: usize,
    /// Most connections of peers at once.
    pub peer_connections: usize,
    /// Most of them of one address; 0 for no bound.
    pub peer_connections_per_address: usize,
    /// Longest wait for a connection to a peer.
    pub peer_connect_timeout: Duration,
    /// Longest wait for the answer of a peer, the connection included.
    pub peer_call_timeout: Duration,
    /// How often a peer is asked whether it lives.
    pub heartbeat_interval: Duration,
    /// Silence after which a peer has failed.
    pub heartbeat_failed: Duration,
    /// How often the key file is looked at.
    pub peer_key_poll: Duration,
    /// How long another process may still have the data directory.
    pub data_dir_wait: Duration,
    /// How often a node sends itself and each peer a message; zero is never.
    pub canary_interval: Duration,
    /// A failed peer that discovery leaves out for so long is forgotten.
    pub peer_forgotten: Duration,
    /// How often a peer is asked where the rooms with traffic stand.
    pub tail_check: Duration,
    /// When a sender is told that the fate of a message is unknown.
    pub unknown_after: Duration,
    /// How long a lost member's seat is kept for its return.
    pub seat_grace: Duration,
    /// When classic clients are told that the node of their room is gone.
    pub classic_unreachable: Duration,
    /// Most bytes of messages that wait for one peer of the original system.
    pub original_queue_bytes: usize,
    /// Longest wait for the answer of such a peer, the connection included.
    pub original_call_timeout: Duration,
    /// Longest wait of a request of a client until such a peer is called for it.
    pub original_wait: Duration,
    /// How long such a peer waits for what it asks.
    pub original_commit: Duration,
    /// How often such a peer is asked whether it lives.
    pub original_heartbeat: Duration,
    /// Silence after its first miss with which such a peer has failed.
    pub original_failed: Duration,
    /// How long a stopping node still accepts clients.
    pub drain_accept: Duration,
    /// Over how long a stopping node then closes them.
    pub drain_window: Duration,
    /// When a stopping node ends, finished or not.
    pub grace: Duration,
}

impl Default for Limits {
    /// The defaults of the table of settings.
    fn default() -> Self {
        Self::read(&mut Reading::new(&Written::nothing(Mode::Serve)))
    }
}

impl Limits {
    pub(super) fn read(reading: &mut Reading<'_>) -> Self {
        let limits = Self {
            max_connections: reading.count(&raw::MAX_CONNECTIONS),
            max_connections_per_address: reading.count(&raw::MAX_CONNECTIONS_PER_ADDRESS),
            connections_per_second: reading.rate(&raw::CONNECTIONS_PER_SECOND),
            requests_per_second: reading.rate(&raw::REQUESTS_PER_SECOND),
            max_handshakes: reading.count(&raw::MAX_HANDSHAKES),
            header_timeout: reading.millis(&raw::HEADER_TIMEOUT_MS),
            handshake_timeout: reading.millis(&raw::HANDSHAKE_TIMEOUT_MS),
            outbound_bytes: reading.count(&raw::OUTBOUND_BYTES),
            inbound_frames: reading.count(&raw::INBOUND_FRAMES),
            inbound_bytes: reading.count(&raw::INBOUND_BYTES),
            inbound_total_bytes: reading.count(&raw::INBOUND_TOTAL_BYTES),
            message_timeout: reading.millis(&raw::MESSAGE_TIMEOUT_MS),
            slow_reader: reading.millis(&raw::SLOW_READER_MS),
            ping_interval: reading.millis(&raw::PING_INTERVAL_MS),
            pong_timeout: reading.millis(&raw::PONG_TIMEOUT_MS),
            inactivity: Duration::from_secs(reading.number(&raw::INACTIVITY_SECONDS)),
            max_rooms_per_connection: reading.count(&raw::MAX_ROOMS_PER_CONNECTION),
            shards: reading.count(&raw::SHARDS),
            shard_queue: reading.count(&raw::SHARD_QUEUE),
            room_pending_sends: reading.count(&raw::ROOM_PENDING_SENDS),
            room_pending_bytes: reading.count(&raw::ROOM_PENDING_BYTES),
            batch_bytes: reading.count(&raw::BATCH_BYTES),
            backlog_bytes: reading.count(&raw::BACKLOG_BYTES),
            history_messages: reading.count(&raw::HISTORY_MESSAGES),
            repeat_window_messages: reading.count(&raw::REPEAT_WINDOW_MESSAGES),
            repeat_window: Duration::from_secs(reading.number(&raw::REPEAT_WINDOW_SECONDS)),
            max_room_machines: reading.count(&raw::MAX_ROOM_MACHINES),
            link_queue_bytes: reading.count(&raw::LINK_QUEUE_BYTES),
            exchange_bytes: reading.count(&raw::EXCHANGE_BYTES),
            peer_connections: reading.count(&raw::PEER_CONNECTIONS),
            peer_connections_per_address: reading.count(&raw::PEER_CONNECTIONS_PER_ADDRESS),
            peer_connect_timeout: reading.millis(&raw::PEER_CONNECT_TIMEOUT_MS),
            peer_call_timeout: reading.millis(&raw::PEER_CALL_TIMEOUT_MS),
            heartbeat_interval: reading.millis(&raw::HEARTBEAT_INTERVAL_MS),
            heartbeat_failed: reading.millis(&raw::HEARTBEAT_FAILED_MS),
            peer_forgotten: reading.millis(&raw::PEER_FORGOTTEN_MS),
            peer_key_poll: reading.millis(&raw::PEER_KEY_POLL_MS),
            data_dir_wait: reading.millis(&raw::DATA_DIR_WAIT_MS),
            canary_interval: reading.millis(&raw::CANARY_INTERVAL_MS),
            tail_check: reading.millis(&raw::TAIL_CHECK_MS),
            unknown_after: reading.millis(&raw::UNKNOWN_AFTER_MS),
            seat_grace: reading.millis(&raw::SEAT_GRACE_MS),
            classic_unreachable: reading.millis(&raw::CLASSIC_UNREACHABLE_MS),
            original_queue_bytes: reading.count(&raw::ORIGINAL_QUEUE_BYTES),
            original_call_timeout: reading.millis(&raw::ORIGINAL_CALL_TIMEOUT_MS),
            original_wait: reading.millis(&raw::ORIGINAL_WAIT_MS),
            original_commit: reading.millis(&raw::ORIGINAL_COMMIT_MS),
            original_heartbeat: reading.millis(&raw::ORIGINAL_HEARTBEAT_MS),
            original_failed: reading.millis(&raw::ORIGINAL_FAILED_MS),
            drain_accept: reading.millis(&raw::DRAIN_ACCEPT_MS),
            drain_window: reading.millis(&raw::DRAIN_WINDOW_MS),
            grace: reading.millis(&raw::GRACE_MS),
        };
        limits.check(reading);
        limits
    }

    /// What must hold between two or more of them.
    fn check(&self, reading: &mut Reading<'_>) {
        let mut at_most = |small: bool, left: &'static Setting, right: &'static Setting| {
            reading.relation(
                small,
                &[left, right],
                &format!("{} must not be larger than {}", left.env, right.env),
            );
        };
        at_most(
            self.max_handshakes <= self.max_connections,
            &raw::MAX_HANDSHAKES,
            &raw::MAX_CONNECTIONS,
        );
        at_most(
            self.header_timeout <= self.handshake_timeout,
            &raw::HEADER_TIMEOUT_MS,
            &raw::HANDSHAKE_TIMEOUT_MS,
        );
        at_most(
            self.max_rooms_per_connection <= self.max_room_machines,
            &raw::MAX_ROOMS_PER_CONNECTION,
            &raw::MAX_ROOM_MACHINES,
        );
        at_most(
            self.batch_bytes <= self.room_pending_bytes,
            &raw::BATCH_BYTES,
            &raw::ROOM_PENDING_BYTES,
        );
        at_most(
            self.batch_bytes <= self.backlog_bytes,
            &raw::BATCH_BYTES,
            &raw::BACKLOG_BYTES,
        );
        at_most(
            self.exchange_bytes <= self.link_queue_bytes,
            &raw::EXCHANGE_BYTES,
            &raw::LINK_QUEUE_BYTES,
        );
        at_most(
            self.peer_connect_timeout <= self.peer_call_timeout,
            &raw::PEER_CONNECT_TIMEOUT_MS,
            &raw::PEER_CALL_TIMEOUT_MS,
        );
        // A message whose first call ran out of time gets at least that call.
        at_most(
            self.peer_call_timeout <= self.unknown_after,
            &raw::PEER_CALL_TIMEOUT_MS,
            &raw::UNKNOWN_AFTER_MS,
        );
        at_most(
            self.peer_connect_timeout <= self.original_call_timeout,
            &raw::PEER_CONNECT_TIMEOUT_MS,
            &raw::ORIGINAL_CALL_TIMEOUT_MS,
        );
        at_most(
            self.heartbeat_failed <= self.classic_unreachable,
            &raw::HEARTBEAT_FAILED_MS,
            &raw::CLASSIC_UNREACHABLE_MS,
        );
        reading.relation(
            self.heartbeat_failed >= 2 * self.heartbeat_interval,
            &[&raw::HEARTBEAT_FAILED_MS, &raw::HEARTBEAT_INTERVAL_MS],
            "HEARTBEAT_FAILED_MS must be at least twice HEARTBEAT_INTERVAL_MS, or one lost answer fails a peer",
        );
        reading.relation(
            self.original_wait + self.original_call_timeout <= self.unknown_after,
            &[
                &raw::ORIGINAL_WAIT_MS,
                &raw::ORIGINAL_CALL_TIMEOUT_MS,
                &raw::UNKNOWN_AFTER_MS,
            ],
            "ORIGINAL_WAIT_MS and ORIGINAL_CALL_TIMEOUT_MS together must not be longer than UNKNOWN_AFTER_MS",
        );
        reading.relation(
            self.drain_accept + self.drain_window < self.grace,
            &[&raw::DRAIN_ACCEPT_MS, &raw::DRAIN_WINDOW_MS, &raw::GRACE_MS],
            "DRAIN_ACCEPT_MS and DRAIN_WINDOW_MS together must be shorter than GRACE_MS",
        );
    }
}
