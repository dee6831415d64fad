//! Whatever a client sends that says hello, or has.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chat_protocol_fuzz::extended_frame(bytes));
