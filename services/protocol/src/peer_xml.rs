//! XML-RPC as text, read within limits.
//!
//! Our own reader and writer over dxr's [`Value`]: the limits hold *while* the text is read (a deep, long or odd document
//! costs no more than its refusal), nothing of the input is ever repeated in an error, and it costs a third of reading
//! through serde. No document type, no processing instruction, no attribute, no entity but the five of XML and numbers.

mod reader;
mod writer;

pub use reader::{read_call, read_call_in_pieces, read_response};
pub use writer::{write_call, write_fault, write_response, written_len};

use crate::limits::{MAX_REQUEST_BODY, MAX_REQUEST_ELEMENTS, MAX_RESPONSE_BODY, MAX_RESPONSE_ELEMENTS};
use dxr::Value;
use std::fmt;

/// Bounds of one document.
#[derive(Debug, Clone, Copy)]
pub struct XmlLimits {
    /// Most bytes.
    pub bytes: usize,
    /// Most elements.
    pub elements: usize,
}

impl XmlLimits {
    /// For what others ask of us.
    pub const REQUEST: Self = Self {
        bytes: MAX_REQUEST_BODY,
        elements: MAX_REQUEST_ELEMENTS,
    };
    /// For what others answer, which may be a long list.
    pub const RESPONSE: Self = Self {
        bytes: MAX_RESPONSE_BODY,
        elements: MAX_RESPONSE_ELEMENTS,
    };
}

/// A method call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Which method.
    pub method: String,
    /// Its parameters.
    pub params: Vec<Value>,
}

/// Why a document was refused. Says nothing of what it held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XmlError {
    /// More bytes than allowed.
    TooLarge,
    /// More elements, or members of a structure, than allowed.
    TooMany,
    /// Nested deeper than allowed.
    TooDeep,
    /// Not UTF-8.
    NotUtf8,
    /// Not well-formed, or cut off.
    NotXml,
    /// A document type, a processing instruction, an attribute or an entity of its own.
    NotAllowed,
    /// Well-formed, but no XML-RPC.
    NotRpc,
    /// A number, boolean or base64 that is none.
    BadValue,
}

impl fmt::Display for XmlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the document is too large",
            Self::TooMany => "the document has too many elements",
            Self::TooDeep => "the document is nested too deep",
            Self::NotUtf8 => "the document is not UTF-8",
            Self::NotXml => "the document is not well-formed",
            Self::NotAllowed => "document types, processing instructions, attributes and entities are not allowed",
            Self::NotRpc => "the document is no XML-RPC",
            Self::BadValue => "a value is not of its type",
        })
    }
}

impl std::error::Error for XmlError {}

/// An answer that says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFault {
    /// For programs.
    pub code: i32,
    /// For people; cut to a thousand bytes.
    pub text: String,
}
