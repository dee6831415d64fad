//! The table of settings: everything that can be set, in the order of the help.

use super::Fallback::{Derived, Text};
use super::{Group, Kind, Setting};
use chat_protocol::limits::{MAX_MESSAGE_FRAME, MAX_REQUEST_BODY, MAX_SEQ};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const DAY_MS: u64 = 86_400_000;
const YEAR_SECONDS: u64 = 31_536_000;
const PORTS: Kind = Kind::Number(0, 65_535, "port, 0 for a free one");

/// Bytes that one message may need in the body of a peer call, where XML turns one byte into at most five.
const MESSAGE_IN_XML: u64 = 5 * MAX_MESSAGE_FRAME as u64;

/// Bytes of a peer call around the items that it carries.
const CALL_OVERHEAD: u64 = 64 << 10;

macro_rules! settings {
    ($($env:ident: $group:ident, $kind:expr, $default:expr, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub(in crate::config) static $env: Setting =
                Setting { env: stringify!($env), group: Group::$group, kind: $kind, default: $default, help: $help };
        )*

        /// All of them.
        pub(in crate::config) static SETTINGS: &[&Setting] = &[$(&$env),*];
    };
}

settings! {
    NODE_ID: Addresses, Kind::Text, Derived("the host name"), "Who this node is, over all its lives.";
    WEBSOCKET_HOST: ClientPort, Kind::Text, Text("0.0.0.0"), "Where clients are accepted; empty means everywhere.";
    WEBSOCKET_PORT: ClientPort, PORTS, Text("8080"), "Port for clients.";
    XMLRPC_HOST: Addresses, Kind::Text, Text("0.0.0.0"), "Where peers are accepted; empty means everywhere.";
    XMLRPC_PORT: Addresses, PORTS, Text("9090"), "Port for peers.";
    XMLRPC_ADDRESS: Addresses, Kind::Text, Derived("http://<NODE_ID>:<XMLRPC_PORT>"),
        "URL under which all peers reach this node; empty tells them to use their own entry.";
    PEER_NODES: Addresses, Kind::Text, Text(""),
        "The other nodes: id:http://host:port[/path] or id:host:port, separated by commas.";
    PEER_AUTH: Addresses, Kind::Choice(&["key", "none"]), Derived("key if PEER_KEY_FILE is set"),
        "By what nodes believe each other: a key that all have, or nothing.";
    PEER_KEY_FILE: Addresses, Kind::Text, Text(""),
        "File with the key between nodes, or two of them while it is changed, a line each; read again when it changes.";
    CLUSTER_ID: Addresses, Kind::Text, Text("chat"),
        "Which cluster the node is of; with a key, nodes of another one are refused even if they have the key.";
    PEER_UNSIGNED: Addresses, Kind::Text, Text(""),
        "Ids of the peers that cannot sign because they are nodes of the original system, separated by commas.";
    DISCOVERY: Addresses, Kind::Choice(&["fixed", "dns", "kubernetes"]), Text("fixed"),
        "How nodes that are not in PEER_NODES are found: not at all, by DNS, or by the Kubernetes API.";
    DISCOVERY_NAME: Addresses, Kind::Text, Text(""),
        "dns: a name whose SRV records are the peer ports of all nodes; the first label of a target is the node's id.";
    DISCOVERY_SERVICE: Addresses, Kind::Text, Text(""),
        "kubernetes: the headless Service of all nodes, whose port for peers is called peer.";
    DISCOVERY_NAMESPACE: Addresses, Kind::Text, Text(""), "kubernetes: the namespace of that Service.";
    OPERATIONS_HOST: OperationsPort, Kind::Text, Text("0.0.0.0"),
        "Where metrics and probes are served; empty means everywhere.";
    OPERATIONS_PORT: OperationsPort, PORTS, Text("9100"), "Port for metrics and probes.";

    NODES: Dev, Kind::Number(1, 10, "nodes"), Text("3"), "How many nodes the cluster has.";
    BASE_PORT: Dev, Kind::Number(1, 64_505, "port"), Text("8080"),
        "P: node i accepts clients on P+i, peers on P+1010+i, and serves metrics on P+1020+i.";

    PROBE: Health, Kind::Choice(&["ready", "live", "startup"]), Text("ready"), "What is asked.";
    ANSWER_TIMEOUT_MS: Health, Kind::Number(1, DAY_MS, "ms"), Text("2000"), "Longest wait for the answer.";

    TARGETS: Selftest, Kind::Text, Derived("ws://127.0.0.1:<WEBSOCKET_PORT>"),
        "Where to chat: ws://host:port, separated by commas; one gets two connections, several get one each.";
    METRICS: Selftest, Kind::Text, Text(""),
        "Metrics to read afterwards: http://host:port/metrics, separated by commas.";
    PATIENCE_MS: Selftest, Kind::Number(1, DAY_MS, "ms"), Text("60000"), "Longest time for all of it.";

    NEW_LEVEL: LogLevel, Kind::Choice(&["ask", "off", "error", "warn", "info", "debug", "trace"]), Text("ask"),
        "What is logged from now on, until the next change or restart; ask changes nothing.";

    STORE: Storage, Kind::Choice(&["local", "memory"]), Text("local"),
        "Where messages are kept: on disk, or nowhere.";
    DATA_DIR: Storage, Kind::Text, Derived("data; for dev a temporary directory"),
        "Directory of the local store; dev makes one in it for each node.";
    DATA_DIR_WAIT_MS: Storage, Kind::Number(0, DAY_MS, "ms"), Text("0"),
        "How long DATA_DIR may still be used by another process, which is about to end, before the node gives up.";

    LOG_LEVEL: Logging, Kind::Choice(&["off", "error", "warn", "info", "debug", "trace"]), Text("info"),
        "How much is logged.";
    LOG_FORMAT: Logging, Kind::Choice(&["text", "json"]), Text("text"), "For people or for programs.";

    OTEL_EXPORTER_OTLP_ENDPOINT: Traces, Kind::Text, Text(""),
        "Where traces are sent: http://host:port of a collector (OTLP over HTTP); empty switches traces off.";
    OTEL_EXPORTER_OTLP_PROTOCOL: Traces, Kind::Choice(&["http/protobuf"]), Text("http/protobuf"),
        "The only way in which they are sent.";
    OTEL_EXPORTER_OTLP_HEADERS: Traces, Kind::Text, Text(""),
        "What is said with every request to the collector: key=value, separated by commas.";
    OTEL_EXPORTER_OTLP_TIMEOUT: Traces, Kind::Number(1, DAY_MS, "ms"), Text("10000"),
        "Longest time for a request to the collector and its repetitions.";
    OTEL_TRACES_SAMPLER: Traces, Kind::Choice(&[
        "parentbased_traceidratio", "parentbased_always_on", "parentbased_always_off",
        "traceidratio", "always_on", "always_off",
    ]), Text("parentbased_traceidratio"),
        "Which messages are traced; parentbased_ lets a client that sends traceparent decide for its own.";
    OTEL_TRACES_SAMPLER_ARG: Traces, Kind::Text, Text("0"), "The share of messages that traceidratio traces, from 0 to 1.";
    OTEL_RESOURCE_ATTRIBUTES: Traces, Kind::Text, Text(""),
        "What is said of this process with every span: key=value, separated by commas.";
    OTEL_SERVICE_NAME: Traces, Kind::Text, Text("chat-node"), "What the service is called in traces.";
    OTEL_BSP_MAX_QUEUE_SIZE: Traces, Kind::Number(1, 1 << 20, "spans"), Text("2048"),
        "Most spans that wait for the collector; further ones are dropped.";
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE: Traces, Kind::Number(1, 1 << 20, "spans"), Text("512"), "Most spans of one request.";
    OTEL_BSP_SCHEDULE_DELAY: Traces, Kind::Number(1, DAY_MS, "ms"), Text("5000"),
        "Longest wait of a span for others to be sent with.";

    MAX_CONNECTIONS: Clients, Kind::Number(1, 1_000_000, "connections"), Text("10000"), "Most clients at once.";
    MAX_CONNECTIONS_PER_ADDRESS: Clients, Kind::Number(0, 1_000_000, "connections, 0 for no bound"), Text("0"),
        "Most clients at once of one address, or of one /64 of IPv6; not behind a proxy.";
    CONNECTIONS_PER_SECOND: Clients, Kind::Number(0, 1_000_000, "connections, 0 for no bound"), Text("0"),
        "Most clients that are taken in one second; the others wait.";
    REQUESTS_PER_SECOND: Clients, Kind::Number(0, 1_000_000, "frames, 0 for no bound"), Text("0"),
        "Most requests and pings of one client that are read in one second; the others wait.";
    MAX_HANDSHAKES: Clients, Kind::Number(1, 100_000, "connections"), Text("64"),
        "Most clients that are still opening; slow ones make way.";
    HEADER_TIMEOUT_MS: Clients, Kind::Number(1, DAY_MS, "ms"), Text("10000"),
        "Longest wait for the head of an HTTP request.";
    HANDSHAKE_TIMEOUT_MS: Clients, Kind::Number(1, DAY_MS, "ms"), Text("10000"),
        "Longest time from accept to WebSocket.";
    OUTBOUND_BYTES: Clients, Kind::Number(1, GIB, "bytes"), Text("262144"),
        "Most that waits to be sent to one client; an empty queue takes a frame of any size.";
    INBOUND_FRAMES: Clients, Kind::Number(1, 65_536, "frames"), Text("16"), "Most requests of one client that wait.";
    INBOUND_BYTES: Clients, Kind::Number(1, GIB, "bytes"), Text("262144"),
        "Most bytes of requests of one client that wait; an empty queue takes a frame of any size.";
    INBOUND_TOTAL_BYTES: Clients, Kind::Number(0, 64 * GIB, "bytes"), Text("134217728"),
        "Most of all clients' requests that are unfinished or wait, beyond 64 KiB of each.";
    MESSAGE_TIMEOUT_MS: Clients, Kind::Number(1, DAY_MS, "ms"), Text("30000"),
        "Longest time from the first byte of a request to its last.";
    SLOW_READER_MS: Clients, Kind::Number(1, DAY_MS, "ms"), Text("30000"),
        "How long a client may read too slowly before it is closed.";
    PING_INTERVAL_MS: Clients, Kind::Number(1, DAY_MS, "ms"), Text("20000"),
        "Silence after which a client is pinged.";
    PONG_TIMEOUT_MS: Clients, Kind::Number(1, DAY_MS, "ms"), Text("20000"), "Longest wait for the pong.";
    INACTIVITY_SECONDS: Clients, Kind::Number(0, YEAR_SECONDS, "s, 0 for never"), Text("900"),
        "Idle time after which a member leaves.";
    MAX_ROOMS_PER_CONNECTION: Clients, Kind::Number(1, 1_000_000, "rooms"), Text("512"),
        "Most rooms that one client is in.";

    SHARDS: Rooms, Kind::Number(1, 256, "tasks"), Text("2"), "Tasks that share the rooms.";
    SHARD_QUEUE: Rooms, Kind::Number(1, 1 << 20, "inputs"), Text("4096"), "Most inputs that wait for one of them.";
    ROOM_PENDING_SENDS: Rooms, Kind::Number(1, 1 << 20, "messages"), Text("1024"),
        "Most messages of a room that wait for the store.";
    ROOM_PENDING_BYTES: Rooms, Kind::Number(MAX_MESSAGE_FRAME as u64, GIB, "bytes"), Text("1048576"),
        "Most bytes of them.";
    BATCH_BYTES: Rooms, Kind::Number(MAX_MESSAGE_FRAME as u64, GIB, "bytes"), Text("65536"),
        "Most of a room that is stored at once.";
    BACKLOG_BYTES: Rooms, Kind::Number(MAX_MESSAGE_FRAME as u64, GIB, "bytes"), Text("1048576"),
        "Newest frames of a room that stay in memory.";
    HISTORY_MESSAGES: Rooms, Kind::Number(0, MAX_SEQ, "messages, 0 for all"), Text("0"),
        "Newest messages of a room that are kept; at most a tenth more.";
    REPEAT_WINDOW_MESSAGES: Rooms, Kind::Number(0, MAX_SEQ, "messages"), Text("10000"),
        "Newest messages of a room that recognise a repeated send, kept or not.";
    REPEAT_WINDOW_SECONDS: Rooms, Kind::Number(0, YEAR_SECONDS, "s"), Text("86400"),
        "Messages not older than this do so, too.";
    MAX_ROOM_MACHINES: Rooms, Kind::Number(1, 100_000_000, "rooms"), Text("100000"),
        "Most rooms in memory; idle ones make way.";

    LINK_QUEUE_BYTES: Peers, Kind::Number(MIB, 64 * GIB, "bytes"), Text("8388608"), "Most that waits for one peer.";
    EXCHANGE_BYTES: Peers, Kind::Number(MESSAGE_IN_XML, MAX_REQUEST_BODY as u64 - CALL_OVERHEAD,
        "bytes"), Text("524288"),
        "Most items of one call to a peer, as they stand in its body.";
    PEER_CONNECTIONS: Peers, Kind::Number(1, 1_000_000, "connections"), Text("256"),
        "Most connections of peers at once; silent ones make way.";
    PEER_CONNECTIONS_PER_ADDRESS: Peers, Kind::Number(0, 1_000_000, "connections, 0 for no bound"), Text("64"),
        "Most of them of one address, or of one /64 of IPv6, so that nobody takes all.";
    PEER_CONNECT_TIMEOUT_MS: Peers, Kind::Number(1, DAY_MS, "ms"), Text("1000"),
        "Longest wait for a connection to a peer.";
    PEER_CALL_TIMEOUT_MS: Peers, Kind::Number(1, DAY_MS, "ms"), Text("3000"),
        "Longest wait for the answer of a peer.";
    HEARTBEAT_INTERVAL_MS: Peers, Kind::Number(1, DAY_MS, "ms"), Text("1000"),
        "How often a peer is asked whether it lives.";
    PEER_FORGOTTEN_MS: Peers, Kind::Number(1, DAY_MS, "ms"), Text("120000"),
        "A failed peer that discovery leaves out for so long is forgotten.";
    PEER_KEY_POLL_MS: Peers, Kind::Number(1, DAY_MS, "ms"), Text("2000"), "How often PEER_KEY_FILE is looked at.";
    CANARY_INTERVAL_MS: Peers, Kind::Number(0, DAY_MS, "ms"), Text("20000"),
        "How often a node sends itself and each peer a message through a hidden room, and measures its way; 0 is never.";
    HEARTBEAT_FAILED_MS: Peers, Kind::Number(1, DAY_MS, "ms"), Text("3000"), "Silence after which a peer has failed.";
    TAIL_CHECK_MS: Peers, Kind::Number(1, DAY_MS, "ms"), Text("5000"),
        "How often a peer is asked where the rooms with traffic stand.";
    UNKNOWN_AFTER_MS: Peers, Kind::Number(1, DAY_MS, "ms"), Text("10000"),
        "When a sender is told that the fate of a message is unknown.";
    SEAT_GRACE_MS: Peers, Kind::Number(0, DAY_MS, "ms"), Text("10000"),
        "How long a lost member's seat is kept for its return.";
    CLASSIC_UNREACHABLE_MS: Peers, Kind::Number(0, DAY_MS, "ms"), Text("60000"),
        "When classic clients are told that the node of their room is gone.";

    ORIGINAL_QUEUE_BYTES: Peers, Kind::Number(MAX_MESSAGE_FRAME as u64, GIB, "bytes"), Text("1048576"),
        "Most messages that wait for one peer of the original system; more are read from the log later.";
    ORIGINAL_CALL_TIMEOUT_MS: Peers, Kind::Number(1, DAY_MS, "ms"), Text("4000"),
        "Longest wait for the answer of such a peer.";
    ORIGINAL_WAIT_MS: Peers, Kind::Number(1, DAY_MS, "ms"), Text("5000"),
        "Longest wait of a request of a client until such a peer is called for it.";
    ORIGINAL_COMMIT_MS: Peers, Kind::Number(1, DAY_MS, "ms"), Text("2500"),
        "How long such a peer waits for this node to do what it asks.";
    ORIGINAL_HEARTBEAT_MS: Peers, Kind::Number(1, DAY_MS, "ms"), Text("30000"),
        "How often such a peer is asked whether it lives.";
    ORIGINAL_FAILED_MS: Peers, Kind::Number(1, DAY_MS, "ms"), Text("30000"),
        "Silence after its first miss with which such a peer has failed.";

    DRAIN_ACCEPT_MS: Stopping, Kind::Number(0, DAY_MS, "ms"), Text("0"),
        "How long a stopping node still accepts clients.";
    DRAIN_WINDOW_MS: Stopping, Kind::Number(0, DAY_MS, "ms"), Text("5000"), "Over how long it then closes them.";
    GRACE_MS: Stopping, Kind::Number(1, DAY_MS, "ms"), Text("30000"), "When it ends, finished or not.";
}
