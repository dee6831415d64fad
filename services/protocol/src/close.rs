//! WebSocket close codes: the number, the reason, and whether the client should come back.

/// Why a node closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The client asked to close.
    Normal,
    /// The bytes are not WebSocket.
    ProtocolError,
    /// A text message is not UTF-8.
    InvalidUtf8,
    /// A message is larger than [`crate::limits::MAX_INBOUND_FRAME`].
    TooBig,
    /// No pong came in time.
    PingTimeout,
    /// The node is stopping.
    Restart,
    /// The client did not read what waited for it.
    SlowReader,
    /// The client did not finish what it began to send.
    SlowSender,
    /// The node has no room for what the client sends.
    Overloaded,
    /// Another connection came with the resume token of this one.
    Replaced,
}

/// Whether a client should connect again after a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComeBack {
    /// The same would happen again: the client is at fault.
    No,
    /// At once, on any node, with the usual jitter.
    Now,
    /// After a pause: the node or the client is overloaded.
    Later,
}

impl CloseReason {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Normal,
        Self::ProtocolError,
        Self::InvalidUtf8,
        Self::TooBig,
        Self::PingTimeout,
        Self::Restart,
        Self::SlowReader,
        Self::SlowSender,
        Self::Overloaded,
        Self::Replaced,
    ];

    /// The number on the wire (RFC 6455 section 7.4 and the IANA registry).
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::ProtocolError => 1002,
            Self::InvalidUtf8 => 1007,
            Self::TooBig => 1009,
            Self::PingTimeout => 1011,
            Self::Restart => 1012,
            Self::SlowReader | Self::SlowSender | Self::Overloaded => 1013,
            Self::Replaced => 4409,
        }
    }

    /// The text on the wire: at most 123 bytes.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Normal => "",
            Self::ProtocolError => "protocol error",
            Self::InvalidUtf8 => "text is not UTF-8",
            Self::TooBig => "message too big",
            Self::PingTimeout => "ping timeout",
            Self::Restart => "node is restarting",
            Self::SlowReader => "reader too slow",
            Self::SlowSender => "message took too long",
            Self::Overloaded => "node is overloaded",
            Self::Replaced => "session resumed elsewhere",
        }
    }
}

/// What a client should do after a close with `code`; `None` means that the connection broke without a close frame.
#[must_use]
pub const fn come_back(code: Option<u16>) -> ComeBack {
    match code {
        // 1000: we asked for it. 1002, 1003, 1007, 1008, 1009, 1010: what we send is not accepted.
        // 4409: somebody came back already.
        Some(1000 | 1002 | 1003 | 1007..=1010 | 4409) => ComeBack::No,
        Some(1013) => ComeBack::Later,
        _ => ComeBack::Now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_fits_into_a_close_frame_and_has_a_policy() {
        use CloseReason as R;
        for (reason, policy) in [
            (R::Normal, ComeBack::No),
            (R::ProtocolError, ComeBack::No),
            (R::InvalidUtf8, ComeBack::No),
            (R::TooBig, ComeBack::No),
            (R::PingTimeout, ComeBack::Now),
            (R::Restart, ComeBack::Now),
            (R::SlowReader, ComeBack::Later),
            (R::SlowSender, ComeBack::Later),
            (R::Overloaded, ComeBack::Later),
            (R::Replaced, ComeBack::No),
        ] {
            assert!(reason.text().len() <= 123);
            assert_eq!(come_back(Some(reason.code())), policy, "{reason:?}");
        }
        assert_eq!(come_back(None), ComeBack::Now);
    }
}
