//! The examples of `docs/protocol.md`, played against a real node.

use chat_tests::{Client, TestNode};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const PAGE: &str = include_str!("../../../docs/protocol.md");

/// What `$name` stands for.
type Names = BTreeMap<String, String>;

/// True if `found` is what the page says; names that are new are learnt.
fn matches(wanted: &Value, found: &Value, names: &mut Names) -> bool {
    match (wanted, found) {
        (Value::String(name), Value::String(text)) if name.starts_with('$') => {
            names.entry(name.clone()).or_insert_with(|| text.clone()) == text
        }
        (Value::Array(wanted), Value::Array(found)) => {
            wanted.len() == found.len() && wanted.iter().zip(found).all(|(w, f)| matches(w, f, names))
        }
        (Value::Object(wanted), Value::Object(found)) => {
            wanted.len() == found.len()
                && wanted
                    .iter()
                    .all(|(key, w)| found.get(key).is_some_and(|f| matches(w, f, names)))
        }
        (wanted, found) => wanted == found,
    }
}

fn fill_in(text: &str, names: &Names) -> String {
    // Longer names first: `$session2` begins with `$session`.
    names
        .iter()
        .rev()
        .fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// The blocks of the page: the word behind the fence, and the lines.
fn blocks() -> Vec<(String, Vec<&'static str>)> {
    let mut found = Vec::new();
    let mut lines = PAGE.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            found.push((
                info.to_owned(),
                lines.by_ref().take_while(|line| *line != "```").collect(),
            ));
        }
    }
    found
}

#[tokio::test]
async fn every_example_of_the_page_happens_as_it_is_written() {
    let node = TestNode::start().await;
    let mut clients: BTreeMap<String, Client> = BTreeMap::new();
    let mut names = Names::new();
    let mut shown = BTreeSet::new();
    for (info, lines) in blocks() {
        let Some(who) = info.strip_prefix("chat ") else {
            assert_eq!(info, "json", "a block is played or shown");
            for line in lines {
                let frame: Value = serde_json::from_str(line).unwrap();
                shown.insert(frame["type"].as_str().unwrap().to_owned());
            }
            continue;
        };
        if !clients.contains_key(who) {
            clients.insert(who.to_owned(), node.client().await);
        }
        let client = clients.get_mut(who).unwrap();
        for line in lines {
            if let Some(request) = line.strip_prefix("> ") {
                client.say(&fill_in(request, &names)).await;
            } else {
                let wanted: Value = serde_json::from_str(line.strip_prefix("< ").unwrap()).unwrap();
                let found = client.next().await;
                assert!(
                    matches(&wanted, &found, &mut names),
                    "{who}\nwanted {wanted}\nfound  {found}\n{names:?}"
                );
                shown.insert(found["type"].as_str().unwrap().to_owned());
            }
        }
    }
    let all = [
        "degraded",
        "delete_room_cancelled",
        "delete_room_failed",
        "delete_room_initiated",
        "delete_room_progress",
        "delete_room_success",
        "error",
        "global_rooms_list",
        "history",
        "join_room_error",
        "join_room_success",
        "leave_room_success",
        "member_joined",
        "member_left",
        "message_error",
        "message_sent",
        "new_message",
        "reconnect",
        "recovered",
        "resync_required",
        "room_created",
        "room_deleted",
        "rooms_list",
        "welcome",
    ];
    assert_eq!(shown, all.map(str::to_owned).into(), "every frame has an example");
}
