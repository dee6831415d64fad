//! The chat server `chat-node`.
//!
//! Modules in the order in which a frame meets them: [`http`] accepts, [`session`] reads and writes one connection,
//! [`rooms`] runs the machines of `chat-engine`, [`store`] makes durable, [`peers`] are the other nodes. [`app`] puts
//! them together, [`lifecycle`] takes them down. [`health`] and [`selftest`] look at nodes that run elsewhere.

pub mod app;
pub mod aside;
pub mod bugs;
pub mod canary;
pub mod config;
pub mod dev;
pub mod discovery;
pub mod health;
pub mod http;
pub mod lifecycle;
pub mod peers;
pub mod rooms;
pub mod selftest;
pub mod session;
pub mod store;
pub mod telemetry;

pub use app::{Addresses, Listeners, RunError, run};
pub use lifecycle::Shutdown;

/// The version of this program: that of the package, unless whoever builds it names another one (`CHAT_VERSION`).
pub const VERSION: &str = match option_env!("CHAT_VERSION") {
    Some(version) if !version.is_empty() => version,
    _ => env!("CARGO_PKG_VERSION"),
};
