//! Whatever a client sends: it is parsed or answered, and the answer can be written.
#![no_main]

use chat_protocol::{codec, limits, ws_frame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(refusal) = codec::parse(text) {
        let frame = codec::encode(&refusal);
        assert!(ws_frame::payload(&frame).len() <= limits::MAX_OUTBOUND_FRAME);
    }
});
