//! What a hostile frame may cost: memory in the order of its own size, whatever it holds.
#![cfg(target_os = "linux")]
// A value that a test makes is valid, or the test is wrong.
#![allow(clippy::unwrap_used)]

use chat_protocol::codec;
use chat_protocol::ids::UserName;
use chat_protocol::limits::MAX_INBOUND_FRAME;
use peak::{MOST, full, peak};

mod peak;

#[test]
fn a_frame_full_of_values_costs_no_more_than_its_own_size_and_a_little() {
    let frame = |head: &str, part: &str, tail: &str| full(MAX_INBOUND_FRAME, head, part, tail);
    let bombs = [
        (
            "maps nobody asks for",
            frame(r#"{"type":"list_rooms","x":["#, r#"{"":0},"#, "0]}"),
        ),
        (
            "maps as a content",
            frame(
                r#"{"type":"send_message","data":{"room_id":"r","username":"u","content":["#,
                r#"{"":0},"#,
                "0]}}",
            ),
        ),
        ("numbers as a type", frame(r#"{"type":["#, "0,", "0]}")),
        ("arrays", frame("[", "[],", "0]")),
        ("one map of many keys", {
            let keys: String = (0..80_000).map(|n| format!(r#""{n:05}":0,"#)).collect();
            format!(r#"{{"type":"list_rooms","data":{{{keys}"x":0}}}}"#)
        }),
        (
            "lone surrogates",
            frame(r#"{"type":"list_rooms","x":""#, r"\ud800", "\"}"),
        ),
    ];
    let user = UserName::parse("ines").unwrap();
    let before = peak();
    for (name, bomb) in &bombs {
        drop(codec::parse(bomb));
        drop(codec::hello(bomb));
        drop(codec::parse_extended(bomb, &user));
        let grown = peak() - before;
        assert!(grown <= MOST, "{name}: {grown} bytes");
    }
}
