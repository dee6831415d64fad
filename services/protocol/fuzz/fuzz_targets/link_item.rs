//! Whatever a peer puts on a link.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chat_protocol_fuzz::link_item(bytes));
