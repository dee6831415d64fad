//! *Chat node*: why a node is not well.

use super::{Dashboard, Panel, Row};

/// What one node does, or a few.
#[must_use]
pub fn node() -> Dashboard {
    Dashboard {
        uid: "chat-node",
        title: "Chat node",
        description: "What a node does, part by part: choose one above, or compare all.",
        beside: ("chat-overview", "Chat overview"),
        rows: vec![
            health(),
            path(),
            sequences(),
            sessions(),
            links(),
            calls(),
            deletions(),
            store(),
            rollout(),
            resources(),
        ],
    }
}

/// Lines per second by labels.
fn rate(panel: Panel, metric: &str, by: &str, legend: &'static str) -> Panel {
    panel.query(
        &format!("sum by ({by}) (rate({metric}{{SEL}}[$__rate_interval]))"),
        legend,
    )
}

fn health() -> Row {
    Row {
        title: "Health",
        panels: vec![
            Panel::health(
                "How this node takes its peers",
                "By its own heartbeats: healthy, degraded when one is missed, failed after three seconds of silence.",
            )
            .query("max by (node, peer) (chat_peer_health{SEL})", "{{node}} → {{peer}}"),
            Panel::lines(
                "Heartbeat round trip",
                "s",
                "How long the last heartbeat that a peer answered took. Milliseconds on one network; more means that the peer is busy or far.",
            )
            .query("max by (node, peer) (chat_heartbeat_round_trip_seconds{SEL})", "{{node}} → {{peer}}"),
            rate(
                Panel::lines("Heartbeats", "cps", "By result. Failed ones without a failed peer: a network that loses some."),
                "chat_heartbeats_total",
                "node, result",
                "{{node}} {{result}}",
            ),
            Panel::lines(
                "Missed in a row, and silent for",
                "none",
                "Heartbeats that a peer has not answered up to now, and seconds since it last did.",
            )
            .query("max by (node, peer) (chat_heartbeats_missed{SEL})", "{{node}} → {{peer}} missed")
            .query(
                "time() - max by (node, peer) (chat_heartbeat_last_success_timestamp_seconds{SEL})",
                "{{node}} → {{peer}} seconds",
            ),
        ],
    }
}

fn path() -> Row {
    Row {
        title: "The path of a message",
        panels: vec![
            rate(
                Panel::lines("Received", "cps", "Texts of clients, by what they ask for."),
                "chat_frames_received_total",
                "type",
                "{{type}}",
            ),
            Panel::lines(
                "Accepted, numbered, delivered",
                "cps",
                "Committed for clients of this node; numbered by it for its rooms; handed to its sessions.",
            )
            .query(
                "sum by (node) (rate(chat_messages_accepted_total{SEL}[$__rate_interval]))",
                "{{node}} accepted",
            )
            .query(
                "sum by (node) (rate(chat_sequence_numbers_assigned_total{SEL}[$__rate_interval]))",
                "{{node}} numbered",
            )
            .query(
                "sum by (node) (rate(chat_messages_delivered_total{SEL}[$__rate_interval]))",
                "{{node}} delivered",
            ),
            Panel::lines("Fan-out", "none", "How many sessions of a node a message went to.").quantiles(
                "chat_fan_out_sessions",
                "node",
                ["{{node}} p50", "{{node}} p99"],
            ),
            Panel::lines(
                "Time to the acknowledgement",
                "s",
                "At the node of the sender, by where the room is.",
            )
            .quantiles(
                "chat_acknowledgement_seconds",
                "node, room",
                ["{{node}} {{room}} p50", "{{node}} {{room}} p99"],
            ),
            Panel::lines(
                "Time to delivery",
                "s",
                "At the node of the reader, by where the room is; as good as the clocks agree.",
            )
            .quantiles(
                "chat_delivery_seconds",
                "node, room",
                ["{{node}} {{room}} p50", "{{node}} {{room}} p99"],
            ),
            rate(
                Panel::lines("Written to clients", "Bps", "Bytes, by node and by what they are of."),
                "chat_bytes_sent_total",
                "node, type",
                "{{node}} {{type}}",
            ),
            rate(
                Panel::lines(
                    "Frames written",
                    "cps",
                    "By what they are: messages, answers, events that nobody asked for, and pings, pongs and closes.",
                ),
                "chat_frames_sent_total",
                "node, type",
                "{{node}} {{type}}",
            ),
            rate(
                Panel::lines("Read from clients", "Bps", "Bytes of texts, by what they ask for."),
                "chat_bytes_received_total",
                "type",
                "{{type}}",
            ),
            rate(
                Panel::lines(
                    "Unknown to their senders",
                    "cps",
                    "Messages of which a client was told that nobody knows whether they are in the room: their way was cut. With an id they are sent again and written once.",
                ),
                "chat_messages_unknown_total",
                "node",
                "{{node}}",
            ),
            rate(
                Panel::lines("Refused requests", "cps", "By code."),
                "chat_requests_refused_total",
                "node, code",
                "{{node}} {{code}}",
            )
            .wide(24),
        ],
    }
}

fn sequences() -> Row {
    Row {
        title: "Sequence numbers",
        panels: vec![
            rate(
                Panel::lines(
                    "Holes in rooms of other nodes",
                    "cps",
                    "Seen, and closed by reading what was missing. Seen without repaired: the room's node does not answer.",
                ),
                "chat_gaps_total",
                "node, state",
                "{{node}} {{state}}",
            ),
            Panel::lines(
                "Behind",
                "none",
                "Messages that rooms of other nodes have and that were not delivered here yet. Above 0 for longer than a second: see the links.",
            )
            .query("sum by (node) (chat_follower_lag_messages{SEL})", "{{node}}"),
            Panel::lines(
                "Doubles",
                "cps",
                "Messages that came over a link though delivered, and sends that had been committed before. Both are what retries do, and nobody sees them twice.",
            )
            .query("sum by (node) (rate(chat_messages_doubled_total{SEL}[$__rate_interval]))", "{{node}} dropped")
            .query("sum by (node) (rate(chat_messages_repeated_total{SEL}[$__rate_interval]))", "{{node}} repeated"),
            Panel::lines("Missing for the canary", "cps", "Numbers that were missing between two messages of a hidden room. Always 0.")
                .query("sum by (node, to) (rate(chat_canary_missed_total{SEL}[$__rate_interval]))", "{{node}} → {{to}}")
                .wide(24),
        ],
    }
}

fn sessions() -> Row {
    Row {
        title: "Connections and sessions",
        panels: vec![
            Panel::lines("Open", "none", "Connections of clients.")
                .query("sum by (node) (chat_connections{SEL})", "{{node}}"),
            rate(
                Panel::lines(
                    "Opened",
                    "cps",
                    "A peak on the other nodes after one is gone is what clients are for.",
                ),
                "chat_connections_total",
                "node",
                "{{node}}",
            ),
            rate(
                Panel::lines(
                    "Closed",
                    "cps",
                    "By the code with which the node closed: 1011 no pong, 1012 it stops, 1013 too slow or too much, 4409 the session came back elsewhere; client if the client closed, lost if it broke.",
                ),
                "chat_connections_closed_total",
                "node, code",
                "{{node}} {{code}}",
            ),
            rate(
                Panel::lines("Refused", "cps", "Before they were open, by reason."),
                "chat_connections_refused_total",
                "node, reason",
                "{{node}} {{reason}}",
            ),
            Panel::lines("Handshake", "s", "From an accepted connection to an open WebSocket.").quantiles(
                "chat_handshake_seconds",
                "node",
                ["{{node}} p50", "{{node}} p99"],
            ),
            rate(
                Panel::lines(
                    "Sessions",
                    "cps",
                    "Begun, resumed with their token, or refused the token of somebody else.",
                ),
                "chat_sessions_total",
                "node, outcome",
                "{{node}} {{outcome}}",
            ),
            Panel::lines(
                "Waiting for clients",
                "bytes",
                "Of all of them, and of the one for which most waits.",
            )
            .query("sum by (node) (chat_outbound_queue_bytes{SEL})", "{{node}} all")
            .query(
                "max by (node) (chat_outbound_queue_longest_bytes{SEL})",
                "{{node}} longest",
            ),
            rate(
                Panel::lines(
                    "Slow readers",
                    "cps",
                    "Those that caught up, and those that were closed.",
                ),
                "chat_slow_readers_total",
                "node, outcome",
                "{{node}} {{outcome}}",
            ),
            Panel::lines("Rooms", "none", "Administered by the node, and in its memory.")
                .query("sum by (node) (chat_rooms_owned{SEL})", "{{node}} owned")
                .query("sum by (node) (chat_rooms_active{SEL})", "{{node}} active"),
        ],
    }
}

fn links() -> Row {
    Row {
        title: "Links to peers",
        panels: vec![
            Panel::lines(
                "Waiting",
                "bytes",
                "Bytes that wait for a peer. Given up when the peer fails or the queue is full.",
            )
            .query(
                "max by (node, peer) (chat_link_queue_bytes{SEL})",
                "{{node}} → {{peer}}",
            ),
            Panel::lines(
                "Waiting for",
                "s",
                "How long what waits has waited without any of it being taken.",
            )
            .query(
                "max by (node, peer) (chat_link_lag_seconds{SEL})",
                "{{node}} → {{peer}}",
            ),
            Panel::lines(
                "Not believed",
                "none",
                "1 while a peer refuses what this node signs, or does not sign: see the key between nodes.",
            )
            .query("max by (node, peer) (chat_peer_unbelieved{SEL})", "{{node}} → {{peer}}"),
            Panel::lines(
                "Original nodes",
                "bytes",
                "Bytes that wait for a peer of the original system.",
            )
            .query(
                "max by (node, peer) (chat_original_queue_bytes{SEL})",
                "{{node}} → {{peer}}",
            ),
            Panel::lines("Not told", "cps", "What a peer of the original system was not told.").query(
                "sum by (node, peer) (rate(chat_original_given_up_total{SEL}[$__rate_interval]))",
                "{{node}} → {{peer}}",
            ),
            Panel::lines(
                "Keys",
                "none",
                "Keys in use: 1, or 2 during a change; 0 if nothing is signed. And changes of the file.",
            )
            .query("max by (node) (chat_peer_keys{SEL})", "{{node}} keys")
            .query(
                "sum by (node, result) (increase(chat_peer_key_reloads_total{SEL}[$__rate_interval]))",
                "{{node}} {{result}}",
            ),
        ],
    }
}

fn calls() -> Row {
    Row {
        title: "Calls between nodes",
        panels: vec![
            rate(
                Panel::lines("Calls to peers", "cps", "By method and result."),
                "chat_peer_calls_total",
                "method, result",
                "{{method}} {{result}}",
            ),
            Panel::lines("Calls to peers took", "s", "99 of 100, by method, also those without an answer.").query(
                "histogram_quantile(0.99, sum by (le, method) (rate(chat_peer_call_seconds_bucket{SEL}[$__rate_interval])))",
                "{{method}}",
            ),
            rate(
                Panel::lines("Calls served", "cps", "By method and result."),
                "chat_peer_calls_served_total",
                "method, result",
                "{{method}} {{result}}",
            ),
            Panel::lines("Serving took", "s", "99 of 100, by method.").query(
                "histogram_quantile(0.99, sum by (le, method) (rate(chat_peer_calls_served_seconds_bucket{SEL}[$__rate_interval])))",
                "{{method}}",
            ),
            rate(
                Panel::lines("Not believed", "cps", "Calls of others that were refused, by reason."),
                "chat_peer_calls_refused_total",
                "node, reason",
                "{{node}} {{reason}}",
            )
            .wide(16),
        ],
    }
}

fn deletions() -> Row {
    Row {
        title: "Deletions of rooms (two-phase commit)",
        panels: vec![
            Panel::lines("Begun and committed", "cps", "By the node that administers the room.")
                .query("sum by (node) (rate(chat_deletions_started_total{SEL}[$__rate_interval]))", "{{node}} begun")
                .query("sum by (node) (rate(chat_deletions_committed_total{SEL}[$__rate_interval]))", "{{node}} committed")
                .query("sum by (node) (rate(chat_deletions_recovered_total{SEL}[$__rate_interval]))", "{{node}} recovered"),
            rate(
                Panel::lines("Given up", "cps", "By reason. The rooms are whole."),
                "chat_deletions_aborted_total",
                "node, reason",
                "{{node}} {{reason}}",
            ),
            Panel::lines("In doubt, forged", "none", "Rooms whose deletion was promised and of whose end nothing is heard; and calls to delete by nodes that have no right to.")
                .query("sum by (node) (chat_deletions_in_doubt{SEL})", "{{node}} in doubt")
                .query("sum by (node) (increase(chat_deletions_forged_total{SEL}[$__rate_interval]))", "{{node}} forged"),
            Panel::lines("Time to the decision", "s", "From the request.")
                .quantiles("chat_deletion_seconds", "node", ["{{node}} p50", "{{node}} p99"])
                .wide(24),
        ],
    }
}

fn store() -> Row {
    Row {
        title: "Store",
        panels: vec![
            Panel::lines("A commit takes", "s", "With its sync. Nothing is acknowledged before.").quantiles(
                "chat_store_commit_seconds",
                "node",
                ["{{node}} p50", "{{node}} p99"],
            ),
            Panel::lines(
                "Commits and rows",
                "cps",
                "Rows per commit grow under load: that is the batching.",
            )
            .query(
                "sum by (node) (rate(chat_store_commits_total{SEL}[$__rate_interval]))",
                "{{node}} commits",
            )
            .query(
                "sum by (node) (rate(chat_store_rows_total{SEL}[$__rate_interval]))",
                "{{node}} rows",
            ),
            Panel::lines(
                "Commands per commit",
                "none",
                "How much waited while the last commit was under way.",
            )
            .quantiles("chat_store_batch_commands", "node", ["{{node}} p50", "{{node}} p99"]),
            Panel::lines(
                "Bytes per commit",
                "bytes",
                "Of messages, without what the store adds to them.",
            )
            .quantiles("chat_store_batch_bytes", "node", ["{{node}} p50", "{{node}} p99"]),
            rate(
                Panel::lines(
                    "Failed commits",
                    "cps",
                    "Their senders were refused. Usually a full disk.",
                ),
                "chat_store_failures_total",
                "node",
                "{{node}}",
            ),
            Panel::lines(
                "Data",
                "bytes",
                "Files in the data directory, and the store's journal among them.",
            )
            .query("max by (node) (chat_data_directory_bytes{SEL})", "{{node}}")
            .query("max by (node) (chat_store_journal_bytes{SEL})", "{{node}} journal"),
            Panel::lines("Free", "percentunit", "Of the file system of the data directory.")
                .query(
                    "min by (node) (chat_data_free_bytes{SEL} / chat_data_size_bytes{SEL})",
                    "{{node}}",
                )
                .wide(24),
        ],
    }
}

fn rollout() -> Row {
    Row {
        title: "Rollout, drain and discovery",
        panels: vec![
            Panel::lines("Stage", "none", "1 for the stage that a node is in.")
                .query("max by (node, stage) (chat_stage{SEL}) == 1", "{{node}} {{stage}}"),
            Panel::lines("Version", "none", "Which program each node runs.")
                .query("max by (node, version) (chat_build_info{SEL})", "{{node}} {{version}}"),
            Panel::lines("Peers are found by", "none", "1 for the source in use, and for the one that should be. DNS where the API is configured: the right to ask it is missing.")
                .query("max by (node, source) (chat_discovery_source{SEL}) == 1", "{{node}} {{source}}")
                .query("max by (node, source) (chat_discovery_configured{SEL}) == 1", "{{node}} should: {{source}}"),
            Panel::lines("Time left to stop", "s", "Until a node that stops must have ended; below 0 it hangs.").query(
                "(max by (node) (chat_stop_deadline_timestamp_seconds{SEL}) - time()) * (max by (node) (chat_stop_deadline_timestamp_seconds{SEL}) > bool 0)",
                "{{node}}",
            ),
            Panel::lines("Since the last complete list", "s", "0 if the source never had one, or needs none.").query(
                "(time() - max by (node) (chat_discovery_last_sync_timestamp_seconds{SEL})) * (max by (node) (chat_discovery_last_sync_timestamp_seconds{SEL}) > bool 0)",
                "{{node}}",
            ),
            rate(
                Panel::lines("Discovery errors", "cps", "By source and reason."),
                "chat_discovery_errors_total",
                "node, source, reason",
                "{{node}} {{source}} {{reason}}",
            ),
            Panel::lines("Peers", "none", "By how this node takes them.")
                .query("sum by (node, state) (chat_peers{SEL})", "{{node}} {{state}}")
                .wide(24),
        ],
    }
}

fn resources() -> Row {
    Row {
        title: "Resources",
        panels: vec![
            rate(
                Panel::lines("CPU", "none", "Cores."),
                "process_cpu_seconds_total",
                "node",
                "{{node}}",
            ),
            Panel::lines("Memory", "bytes", "Resident, and all that is mapped.")
                .query("max by (node) (process_resident_memory_bytes{SEL})", "{{node}}")
                .query("max by (node) (process_virtual_memory_bytes{SEL})", "{{node}} mapped")
                .query("max by (node) (chat_memory_limit_bytes{SEL})", "{{node}} limit"),
            Panel::lines("File descriptors", "percentunit", "Of those that the process may open. Each connection is one.")
                .query("max by (node) (process_open_fds{SEL} / process_max_fds{SEL})", "{{node}}"),
            Panel::lines("Busy threads", "percentunit", "Share of the time that the threads of the main runtime work.").query(
                "sum by (node) (rate(chat_runtime_busy_seconds_total{SEL}[$__rate_interval])) / max by (node) (chat_runtime_workers{SEL})",
                "{{node}}",
            ),
            Panel::lines("Tasks", "none", "That have not ended, and that wait for a thread.")
                .query("max by (node) (chat_runtime_tasks{SEL})", "{{node}} alive")
                .query("max by (node) (chat_runtime_queue_tasks{SEL})", "{{node}} waiting"),
            Panel::lines("Threads", "none", "Of the process.")
                .query("max by (node) (process_threads{SEL})", "{{node}}"),
            rate(
                Panel::lines(
                    "Spans of traces",
                    "cps",
                    "By what became of them. Failed: no collector took them. Dropped: too many waited. Neither costs a message.",
                ),
                "chat_spans_total",
                "node, outcome",
                "{{node}} {{outcome}}",
            )
            .wide(24),
        ],
    }
}
