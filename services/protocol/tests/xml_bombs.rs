//! What a hostile document may cost: memory in the order of its own size, whatever it holds.
#![cfg(target_os = "linux")]
// A value that a test makes is valid, or the test is wrong.
#![allow(clippy::unwrap_used)]

use chat_protocol::limits::MAX_REQUEST_BODY;
use chat_protocol::peer_item::PeerItem;
use chat_protocol::peer_xml::{XmlError, XmlLimits, read_call};
use dxr::Value;
use peak::{MOST, full, peak};
use std::collections::BTreeMap;

mod peak;

#[test]
fn a_document_full_of_values_costs_no_more_than_its_own_size_and_a_little() {
    let value = |inner: &str, part: &str, end: &str| {
        let head = format!("<methodCall><methodName>m</methodName><params><param><value>{inner}");
        let tail = format!("{end}</value></param></params></methodCall>");
        full(MAX_REQUEST_BODY, &head, part, &tail)
    };
    let structs = "<value><struct><member><name/><value/></member></struct></value>";
    let bombs = [
        (
            "structs",
            value("<array><data>", structs, "</data></array>"),
            XmlError::TooMany,
        ),
        (
            "members",
            value("<struct>", "<member><name/><value/></member>", "</struct>"),
            XmlError::NotRpc,
        ),
        (
            "empty values",
            value("<array><data>", "<value/>", "</data></array>"),
            XmlError::TooMany,
        ),
        ("depth", value("", "<array><data><value>", ""), XmlError::TooDeep),
        ("attributes", value("<int ", "a='' ", ">7</int>"), XmlError::NotAllowed),
        (
            "references",
            value("<string>", "&amp;", "&lol;</string>"),
            XmlError::NotAllowed,
        ),
        (
            "comments",
            value("<string>", "<!---->", "&lol;</string>"),
            XmlError::NotAllowed,
        ),
    ];
    let before = peak();
    for (name, bomb, refusal) in &bombs {
        assert_eq!(read_call(bomb.as_bytes(), XmlLimits::REQUEST), Err(*refusal), "{name}");
        let grown = peak() - before;
        assert!(grown <= MOST, "{name}: {grown} bytes");
    }
    // As many as are taken.
    let most = value("<array><data>", &structs.repeat(9_000), "</data></array>");
    assert!(read_call(most.as_bytes(), XmlLimits::REQUEST).is_ok());
    let grown = peak() - before;
    assert!(grown <= MOST, "structs that are taken: {grown} bytes");
    // Inside of the text of an item there is JSON again.
    let fields = full(
        MAX_REQUEST_BODY,
        r#"{"kind":"unseat","session":1,"x":["#,
        r#"{"":0},"#,
        "0]}",
    );
    let item = Value::Struct(BTreeMap::from([
        ("room".to_owned(), Value::String("r".to_owned())),
        ("fields".to_owned(), Value::String(fields)),
    ]));
    drop(PeerItem::from_value(&item));
    let grown = peak() - before;
    assert!(grown <= MOST, "an item: {grown} bytes");
}
