//! Whatever arrives at the peer port.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chat_protocol_fuzz::xml_request(bytes));
