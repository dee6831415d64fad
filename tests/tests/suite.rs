//! One binary for all tests of whole nodes: each further one would be linked on its own.

#[path = "suite/bad_input.rs"]
mod bad_input;
#[path = "suite/classic.rs"]
mod classic;
#[path = "suite/cluster.rs"]
mod cluster;
#[path = "suite/peer_port.rs"]
mod peer_port;
#[path = "suite/sessions.rs"]
mod sessions;
