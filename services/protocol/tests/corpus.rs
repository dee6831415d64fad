//! Whatever the fuzzer has ever found worth keeping is tried again, with the same assertions. See `fuzz/README.md`.
// The assertions are in the crate of the fuzz targets, for which `pub` means something.
#![allow(unreachable_pub)]
// A value that a test makes is valid, or the test is wrong.
#![allow(clippy::unwrap_used)]

#[path = "../fuzz/src/lib.rs"]
mod hold;

use std::fs;
use std::path::Path;

/// Tries all inputs of a target.
fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut tried = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        check(&fs::read(entry.unwrap().path()).unwrap());
        tried += 1;
    }
    assert!(tried > 100, "the corpus is missing: {tried} inputs");
}

#[test]
fn no_frame_of_a_classic_client_that_was_ever_tried_breaks_anything() {
    replay("classic_frame", hold::classic_frame);
}

#[test]
fn no_frame_of_an_extended_client_that_was_ever_tried_breaks_anything() {
    replay("extended_frame", hold::extended_frame);
}

#[test]
fn no_call_that_was_ever_tried_breaks_anything() {
    replay("xml_request", hold::xml_request);
}

#[test]
fn no_answer_that_was_ever_tried_breaks_anything() {
    replay("xml_response", hold::xml_response);
}

#[test]
fn no_item_of_a_link_that_was_ever_tried_breaks_anything() {
    replay("link_item", hold::link_item);
}
