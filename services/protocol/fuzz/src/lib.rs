//! What must hold for every input, whoever made it up.
//!
//! Each function takes the bytes of one input and panics if something does not hold. The fuzz targets call them with
//! inputs that libFuzzer makes up; `tests/corpus.rs` of `chat-protocol` calls them with those that are kept.
//!
//! Beyond "no panic": what was understood is within its limits and is understood the same when it is written again, and
//! what was refused is refused in few words.

mod client;
mod link;
mod xml;

use chat_protocol::limits::MAX_OUTBOUND_FRAME;
use chat_protocol::server_frame::ServerFrame;
use chat_protocol::{codec, ws_frame};

pub use client::{classic_frame, extended_frame};
pub use link::link_item;
pub use xml::{xml_request, xml_response};

/// What a client is told can be told.
fn fits(frame: &ServerFrame) {
    let frame = codec::encode(frame);
    let payload = ws_frame::payload(&frame);
    assert!(payload.len() <= MAX_OUTBOUND_FRAME, "{} bytes", payload.len());
    assert!(serde_json::from_slice::<serde_json::Value>(payload).is_ok());
}
