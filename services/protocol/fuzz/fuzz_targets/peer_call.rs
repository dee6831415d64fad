//! Whatever arrives at the peer port: it is read or refused, and what is read can be understood or refused.
#![no_main]

use chat_protocol::original_call::{self, Disconnected, Forwarded};
use chat_protocol::peer_call::{self, Exchange};
use chat_protocol::peer_xml::{XmlLimits, read_call, write_call};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(call) = read_call(bytes, XmlLimits::REQUEST) {
        let _any_result = Exchange::from_params(&call.params).is_ok();
        let _any_result = peer_call::range_from_params(&call.params).is_ok();
        let _any_result = Forwarded::from_params(&call.params).is_ok();
        let _any_result = Disconnected::from_params(&call.params).is_ok();
        let _any_result = original_call::message_from_params(&call.params).is_ok();
        let _any_result = original_call::event_from_params(&call.params).is_ok();
        let _any_result = read_call(write_call(&call.method, &call.params).as_bytes(), XmlLimits::RESPONSE).is_ok();
    }
});
