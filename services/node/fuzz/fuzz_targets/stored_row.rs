//! Whatever stands in the database.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chat_node::store::local::fuzzing::read_back(bytes));
