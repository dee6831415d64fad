//! Faults: how a node says that it will not do what another asks.

use crate::peer_xml::RemoteFault;

/// Why a call was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerFault {
    /// There is no such method.
    NoSuchMethod,
    /// The parameters are not what the method takes.
    InvalidParams,
    /// The body is no XML-RPC, or breaks a limit.
    InvalidRequest,
    /// The call speaks to, or from, a life of a node that is over.
    Superseded,
    /// Too much is under way.
    Overloaded,
    /// It was begun and may yet be done, but not within the time that the caller has.
    NotInTime,
    /// The call speaks for another node than the one that made it, or only a signed call may ask this.
    NotYours,
    /// Something broke here.
    Internal,
}

impl PeerFault {
    /// The `faultCode`, from the range that the XML-RPC fault interoperability convention reserves.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::NoSuchMethod => -32_601,
            Self::InvalidParams => -32_602,
            Self::InvalidRequest => -32_600,
            Self::Superseded => -32_000,
            Self::Overloaded => -32_001,
            Self::NotInTime => -32_002,
            Self::NotYours => -32_003,
            Self::Internal => -32_603,
        }
    }

    /// The reverse of [`Self::code`]; any other number is an internal error.
    #[must_use]
    pub fn of_code(code: i32) -> Self {
        [
            Self::NoSuchMethod,
            Self::InvalidParams,
            Self::InvalidRequest,
            Self::Superseded,
            Self::Overloaded,
            Self::NotInTime,
            Self::NotYours,
        ]
        .into_iter()
        .find(|fault| fault.code() == code)
        .unwrap_or(Self::Internal)
    }

    /// The `faultString`. Nothing of the request is repeated.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoSuchMethod => "method is not supported",
            Self::InvalidParams => "invalid parameters",
            Self::InvalidRequest => "invalid request",
            Self::Superseded => "another life of the node",
            Self::Overloaded => "overloaded",
            Self::NotInTime => "not finished in time",
            Self::NotYours => "not for this caller",
            Self::Internal => "internal error",
        }
    }
}

/// True if a fault says that its node does not know the method: ours by its code, an original node's by its text.
#[must_use]
pub fn is_no_such_method(fault: &RemoteFault) -> bool {
    fault.code == PeerFault::NoSuchMethod.code() || (fault.code == 1 && fault.text.contains("is not supported"))
}

/// True if a fault says that the call spoke of a life that is over.
#[must_use]
pub fn is_superseded(fault: &RemoteFault) -> bool {
    fault.code == PeerFault::Superseded.code()
}
