//! Whatever a peer answers: it is read or refused.
#![no_main]

use chat_protocol::peer_call::{self, Capabilities, Heartbeat, Range};
use chat_protocol::peer_xml::{XmlLimits, read_response};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Ok(value)) = read_response(bytes, XmlLimits::RESPONSE) {
        let _any_result = Heartbeat::from_value(&value).is_ok();
        let _any_result = Capabilities::from_value(&value).is_ok();
        let _any_result = Range::from_value(&value).is_ok();
        let _any_result = peer_call::read_hosted_rooms(&value).is_ok();
    }
});
