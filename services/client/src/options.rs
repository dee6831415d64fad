//! How to connect, and why it did not work.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// Deadlines and bounds of one connection.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// Longest time for name resolution, TCP and the WebSocket handshake together.
    pub connect_deadline: Duration,
    /// Longest time from asking to the answer.
    pub answer_deadline: Duration,
    /// Most events that wait for the application. When they are full, the socket is not read until one is taken, so
    /// answers wait too: whoever only asks and never takes events drops [`crate::Events`] instead.
    pub event_capacity: usize,
    /// How often to ping. A connection on which nothing at all came between two pings counts as broken. `None`: never.
    pub ping_every: Option<Duration>,
    /// Connect from this address; `None` lets the system choose.
    pub local_address: Option<IpAddr>,
}

impl Default for ConnectOptions {
    /// Ten seconds to connect and to be answered, 4,096 events, a ping every 20 s.
    fn default() -> Self {
        Self {
            connect_deadline: Duration::from_secs(10),
            answer_deadline: Duration::from_secs(10),
            event_capacity: 4_096,
            ping_every: Some(Duration::from_secs(20)),
            local_address: None,
        }
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub enum ConnectError {
    /// The address is no `ws://host[:port][/path]`.
    BadAddress(String),
    /// Nobody answered at the address, or its name is unknown.
    Unreachable(std::io::Error),
    /// Somebody answered, but did not agree to speak WebSocket.
    Refused(String),
    /// [`ConnectOptions::connect_deadline`] passed.
    TimedOut,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadAddress(why) => write!(f, "not an address of the form ws://host:port: {why}"),
            Self::Unreachable(error) => write!(f, "unreachable: {error}"),
            Self::Refused(why) => write!(f, "no WebSocket there: {why}"),
            Self::TimedOut => f.write_str("no connection in time"),
        }
    }
}

impl std::error::Error for ConnectError {}
