//! One binary for all tests of whole nodes: each further one would be linked on its own.

// A test says enough by failing at the line.
#![allow(clippy::unwrap_used)]

#[path = "suite/bad_input.rs"]
mod bad_input;
#[path = "suite/canary.rs"]
mod canary;
#[path = "suite/classic.rs"]
mod classic;
#[path = "suite/cluster.rs"]
mod cluster;
#[path = "suite/deletion.rs"]
mod deletion;
#[path = "suite/deletion_faults.rs"]
mod deletion_faults;
#[path = "suite/discovery.rs"]
mod discovery;
#[path = "suite/endure.rs"]
mod endure;
#[path = "suite/extended.rs"]
mod extended;
#[path = "suite/extended_returns.rs"]
mod extended_returns;
#[path = "suite/hostile.rs"]
mod hostile;
#[path = "suite/line_client.rs"]
mod line_client;
#[path = "suite/lives.rs"]
mod lives;
#[path = "suite/malformed_heads.rs"]
mod malformed_heads;
#[path = "suite/mixed.rs"]
mod mixed;
#[path = "suite/mixed_deletion.rs"]
mod mixed_deletion;
#[path = "suite/mixed_failures.rs"]
mod mixed_failures;
#[path = "suite/mixed_moves.rs"]
mod mixed_moves;
#[path = "suite/mixed_rooms.rs"]
mod mixed_rooms;
#[path = "suite/mixed_traffic.rs"]
mod mixed_traffic;
#[path = "suite/odd_peers.rs"]
mod odd_peers;
#[path = "suite/original_calls.rs"]
mod original_calls;
#[path = "suite/original_deletion.rs"]
mod original_deletion;
#[path = "suite/original_rooms.rs"]
mod original_rooms;
#[path = "suite/peer_key.rs"]
mod peer_key;
#[path = "suite/peer_port.rs"]
mod peer_port;
#[path = "suite/protocol_page.rs"]
mod protocol_page;
#[path = "suite/real_collector.rs"]
mod real_collector;
#[path = "suite/scale.rs"]
mod scale;
#[path = "suite/sessions.rs"]
mod sessions;
#[path = "suite/terminal.rs"]
mod terminal;
#[path = "suite/terminal_misreads.rs"]
mod terminal_misreads;
#[path = "suite/terminal_trouble.rs"]
mod terminal_trouble;
#[path = "suite/traces.rs"]
mod traces;
#[path = "suite/trimming.rs"]
mod trimming;
#[path = "suite/weaknesses.rs"]
mod weaknesses;
