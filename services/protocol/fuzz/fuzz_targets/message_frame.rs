//! Whatever a node sends as a message: what is taken is given back unchanged.
#![no_main]

use chat_protocol::message_frame::MessageFrame;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(frame) = MessageFrame::from_payload(text) {
        assert_eq!(MessageFrame::from_payload(frame.payload()), Ok(frame.clone()));
        let _patched = frame.bytes(1);
    }
});
