//! Whatever a client sends before it says hello.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chat_protocol_fuzz::classic_frame(bytes));
