//! Whatever a peer answers.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chat_protocol_fuzz::xml_response(bytes));
