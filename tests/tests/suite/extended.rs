//! The extended dialect: who says `hello` can come back, and send as if nothing could go wrong.

use super::odd_peers::{Habit, peer};
use chat_client::request;
use chat_protocol::ids::NodeId;
use chat_tests::extended::Extended;
use chat_tests::{Client, PATIENCE, TestCluster, TestNode};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// A room of node `n`, created by somebody who is gone again.
pub(crate) async fn room(cluster: &TestCluster, n: usize) -> String {
    cluster.node(n).client().await.create("hall").await
}

pub(crate) fn texts(range: std::ops::RangeInclusive<u64>) -> Vec<(u64, String)> {
    range.map(|n| (n, format!("m{n}"))).collect()
}

/// Sends `m1`, `m2` and so on.
pub(crate) async fn talk(session: &mut Extended, room: &str, range: std::ops::RangeInclusive<u64>) {
    for n in range {
        let sent = session.send(room, &format!("m{n}"), &format!("id-{n}")).await;
        assert_eq!(sent["data"]["sequence_number"], n, "{sent}");
    }
}

/// Whatever comes until `done`; fails if that does not happen.
pub(crate) async fn until(client: &mut Client, done: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut seen = Vec::new();
    loop {
        let frame = client.next().await;
        let end = done(&frame);
        seen.push(frame);
        if end {
            return seen;
        }
    }
}

pub(crate) fn kinds(frames: &[Value]) -> Vec<&str> {
    frames.iter().filter_map(|frame| frame["type"].as_str()).collect()
}

#[tokio::test]
async fn the_first_frame_decides_the_dialect() {
    let node = TestNode::start().await;
    let mut ines = Extended::new(&node, "ines").await;
    assert_eq!(ines.welcome["type"], "welcome", "{}", ines.welcome);
    assert_eq!(ines.welcome["data"]["node"], "node1");
    assert_eq!(ines.welcome["data"]["resumed"], false);
    let twice = ines.ask("hello", json!({"protocol": 2, "user": "ines"})).await;
    assert_eq!(twice["data"]["message"], "hello was said already", "{twice}");
    assert_eq!(ines.ask("list_rooms", json!({})).await["type"], "rooms_list");

    for refused in [json!({"protocol": 3, "user": "ines"}), json!({"protocol": 2})] {
        let mut client = node.client().await;
        let answer = client.ask(&json!({"type": "hello", "data": refused}).to_string()).await;
        assert_eq!(answer["type"], "error", "{answer}");
        let list = client.ask(r#"{"type":"list_rooms","id":1}"#).await;
        assert_eq!(
            (&list["type"], list.get("re")),
            (&json!("rooms_list"), None),
            "classic for ever"
        );
        let again = client.ask(r#"{"type":"hello","data":{"protocol":2,"user":"x"}}"#).await;
        assert_eq!(again["data"]["message"], "Unknown message type: hello", "{again}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_requests_may_be_under_way_and_answers_keep_their_order() {
    // Node 3 never answers, so nobody can say quickly that a room does not exist.
    let silent = peer(Habit::Silent).await;
    let node = TestNode::start_with(|config| {
        let url = format!("http://{silent}/").parse().unwrap();
        config.peers.insert(NodeId::parse("node3").unwrap(), url);
        config.limits.peer_call_timeout = Duration::from_millis(300);
        config.limits.peer_connect_timeout = Duration::from_millis(300);
    })
    .await;
    let mut ines = Extended::new(&node, "ines").await;
    for n in 0..16 {
        ines.say(n, "join_room", json!({"room_id": "nowhere"})).await;
    }
    let excess = ines.ask("list_rooms", json!({})).await;
    assert_eq!(excess["data"]["error_code"], "TOO_MANY_REQUESTS", "{excess}");
    let counted = "chat_requests_refused_total{code=\"TOO_MANY_REQUESTS\"} 1";
    assert!(node.metrics().await.lines().any(|line| line == counted));
    for n in 0..16 {
        let answer = ines.next().await;
        assert_eq!(
            (&answer["type"], &answer["re"]),
            (&json!("join_room_error"), &json!(n)),
            "{answer}"
        );
    }
    assert_eq!(ines.ask("list_rooms", json!({})).await["type"], "rooms_list");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_behind_a_join_are_part_of_it() {
    let cluster = TestCluster::start(2).await;
    let room = room(&cluster, 1).await;
    for n in [1, 2] {
        let mut ines = Extended::new(cluster.node(n), &format!("ines{n}")).await;
        ines.say("join", "join_room", json!({"room_id": room, "history": 0}))
            .await;
        for id in 0..10 {
            let data = json!({"room_id": room, "content": "hi", "client_msg_id": format!("{id}")});
            ines.say(id, "send_message", data).await;
        }
        ines.say(
            "bad",
            "send_message",
            json!({"room_id": room, "content": "ho", "client_msg_id": "0"}),
        )
        .await;
        ines.say("leave", "leave_room", json!({"room_id": room})).await;
        let seen = until(&mut ines.client, |frame| frame["re"] == "leave").await;
        let answers: Vec<_> = seen.iter().filter_map(|frame| frame.get("re")).cloned().collect();
        let mut wanted = vec![json!("join")];
        wanted.extend((0..10).map(|id| json!(id)));
        wanted.extend([json!("bad"), json!("leave")]);
        assert_eq!(answers, wanted, "node {n}: {seen:?}");
        assert_eq!(
            kinds(&seen).iter().filter(|kind| **kind == "message_sent").count(),
            10,
            "{seen:?}"
        );
        let bad = seen.iter().find(|frame| frame["re"] == "bad").unwrap();
        assert_eq!(bad["data"]["error_code"], "CLIENT_MSG_ID_CONFLICT", "{bad}");
        assert_eq!(bad["data"]["outcome"], "definite", "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sending_happens_once_on_whatever_node_and_in_whatever_life_it_is_repeated() {
    let mut cluster = TestCluster::start(3).await;
    let room = room(&cluster, 1).await;
    let mut ines = Extended::new(cluster.node(2), "ines").await;
    ines.join(&room, None).await;
    let first = ines.send(&room, "once", "id-1").await;
    assert_eq!(first["data"]["duplicate"], false, "{first}");
    let same = |again: &Value| {
        assert_eq!(again["type"], "message_sent", "{again}");
        assert_eq!(again["data"]["duplicate"], true, "{again}");
        for field in ["message_id", "sequence_number", "timestamp", "client_msg_id", "gen"] {
            assert_eq!(again["data"][field], first["data"][field], "{field} of {again}");
        }
    };
    same(&ines.send(&room, "once", "id-1").await);
    let token = ines.token();
    for n in [1, 3] {
        let mut again = Extended::resume(cluster.node(n), "ines", &token).await;
        again.join(&room, Some((1, 1))).await;
        same(&again.send(&room, "once", "id-1").await);
    }
    // The memory of the room is gone with its node; the store knows.
    cluster.crash(1).await;
    cluster.restart(1).await;
    let mut again = Extended::resume(cluster.node(1), "ines", &token).await;
    again.join(&room, Some((1, 1))).await;
    same(&again.send(&room, "once", "id-1").await);
    let conflict = again.send(&room, "twice", "id-1").await;
    assert_eq!(conflict["data"]["error_code"], "CLIENT_MSG_ID_CONFLICT", "{conflict}");
    // Another user's id is another id.
    let mut otto = Extended::new(cluster.node(1), "otto").await;
    let joined = otto.join(&room, Some((1, 1))).await;
    assert_eq!(joined["head_seq"], 1);
    assert_eq!(otto.send(&room, "once", "id-1").await["data"]["sequence_number"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sending_whose_fate_nobody_knows_is_said_to_be_unknown_and_may_be_repeated() {
    let mut cluster = TestCluster::start_with(2, |config| {
        // The failure is noticed late, so that the forward is under way when it happens.
        config.limits.heartbeat_interval = Duration::from_millis(200);
        config.limits.heartbeat_failed = Duration::from_millis(600);
    })
    .await;
    let room = room(&cluster, 1).await;
    let mut ines = Extended::new(cluster.node(2), "ines").await;
    ines.join(&room, None).await;
    cluster.crash(1).await;
    let mut before = Vec::new();
    let data = json!({"room_id": room, "content": "perhaps", "client_msg_id": "id-1"});
    let unknown = ines.ask_with("send_message", data, &mut before).await;
    assert_eq!(unknown["type"], "message_error", "{unknown}");
    assert_eq!(unknown["data"]["outcome"], "unknown", "{unknown}");
    assert_eq!(unknown["data"]["client_msg_id"], "id-1", "{unknown}");
    assert_eq!(cluster.node(2).metric("chat_messages_unknown_total").await, 1);
    cluster.restart(1).await;
    until(&mut ines.client, |frame| frame["type"] == "recovered").await;
    let sent = ines.send(&room, "perhaps", "id-1").await;
    assert_eq!(sent["data"]["sequence_number"], 1, "{sent}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_read_in_pages_both_ways() {
    let cluster = TestCluster::start(2).await;
    let room = room(&cluster, 1).await;
    let mut speaker = Extended::new(cluster.node(1), "speaker").await;
    speaker.join(&room, None).await;
    talk(&mut speaker, &room, 1..=25).await;
    for n in [1, 2] {
        let mut ines = Extended::new(cluster.node(n), &format!("ines{n}")).await;
        let outside = ines.ask("read_history", json!({"room_id": room, "after_seq": 0})).await;
        assert_eq!(outside["data"]["error_code"], "NOT_MEMBER", "{outside}");
        let data = json!({"room_id": room, "history": 0});
        let joined = ines.ask("join_room", data).await;
        assert_eq!(joined["data"]["first_seq"], 26, "{joined}");
        let page = |frame: Value| {
            let numbers: Vec<u64> = frame["data"]["messages"]
                .as_array()
                .unwrap_or_else(|| panic!("{frame}"))
                .iter()
                .map(|message| message["sequence_number"].as_u64().unwrap())
                .collect();
            assert_eq!(
                (&frame["data"]["head_seq"], &frame["data"]["gen"]),
                (&json!(25), &json!(1))
            );
            assert_eq!(frame["data"]["stale"], false);
            (numbers, frame["data"]["more"].as_bool().unwrap())
        };
        let read = |range: &str, seq: u64| json!({"room_id": room, range: seq, "limit": 10});
        let after = page(ines.ask("read_history", read("after_seq", 0)).await);
        assert_eq!(after, ((1..=10).collect(), true));
        let after = page(ines.ask("read_history", read("after_seq", 20)).await);
        assert_eq!(after, ((21..=25).collect(), false));
        let before = page(ines.ask("read_history", read("before_seq", 1_000)).await);
        assert_eq!(before, ((16..=25).collect(), true));
        let before = page(ines.ask("read_history", read("before_seq", 6)).await);
        assert_eq!(before, ((1..=5).collect(), false));
        for (range, seq) in [
            ("after_seq", 25),
            ("after_seq", u64::MAX),
            ("before_seq", 1),
            ("before_seq", 0),
        ] {
            assert_eq!(
                page(ines.ask("read_history", read(range, seq)).await),
                (vec![], false),
                "{range} {seq}"
            );
        }
    }
}

/// The fields of a frame, one level down as well.
fn fields(frame: &Value) -> BTreeSet<String> {
    let top = frame.as_object().unwrap().keys().cloned();
    top.chain(
        frame["data"]
            .as_object()
            .unwrap()
            .keys()
            .map(|key| format!("data.{key}")),
    )
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn classic_and_extended_sessions_side_by_side_see_what_is_theirs() {
    let cluster = TestCluster::start(2).await;
    for n in [1, 2] {
        let mut classic = cluster.node(n).client().await;
        let mut extended = Extended::new(cluster.node(n), &format!("extended{n}")).await;
        let name = format!("classic{n}");
        // Every request of the classic dialect, asked on both, and what is pushed to both meanwhile.
        let mut seen: Vec<(&str, Value, Value)> = Vec::new();
        let created = (
            classic.ask(&request::create_room(&format!("a{n}"), &name, None)).await,
            extended.ask("create_room", json!({"room_name": format!("b{n}")})).await,
        );
        let room = created.0["data"]["room_id"].as_str().unwrap().to_owned();
        seen.push(("room_created", created.0, created.1));
        for (kind, text) in [("rooms_list", "list_rooms"), ("global_rooms_list", "discover_rooms")] {
            let plain = classic.ask(&json!({"type": text}).to_string()).await;
            seen.push((kind, plain, extended.ask(text, json!({})).await));
        }
        let missing = (
            classic.ask(&request::join_room("nowhere", &name)).await,
            extended.ask("join_room", json!({"room_id": "nowhere"})).await,
        );
        seen.push(("join_room_error", missing.0, missing.1));
        let outside = (
            classic.ask(&request::send_message(&room, &name, "x")).await,
            extended
                .ask("send_message", json!({"room_id": room, "content": "x"}))
                .await,
        );
        seen.push(("message_error", outside.0, outside.1));
        let joined = (
            classic.ask(&request::join_room(&room, &name)).await,
            extended.ask("join_room", json!({"room_id": room})).await,
        );
        seen.push(("join_room_success", joined.0, joined.1));
        assert_eq!(classic.next().await["type"], "member_joined", "the extended one came");
        let mut third = cluster.node(n).client().await;
        third.join(&room, "third").await;
        seen.push(("member_joined", classic.next().await, extended.next().await));
        third.ask(&request::leave_room(&room, "third")).await;
        seen.push(("member_left", classic.next().await, extended.next().await));
        let shown = classic.ask(&request::send_message(&room, &name, "hi")).await;
        let same = extended.next().await;
        assert_eq!(shown, same, "a message has the same bytes in both dialects");
        let confirmed = classic.next().await;
        let mut before = Vec::new();
        let data = json!({"room_id": room, "content": "ho"});
        let sent = extended.ask_with("send_message", data, &mut before).await;
        assert_eq!(classic.next().await, before[0]);
        seen.push(("message_sent", confirmed, sent));
        let left = (classic.ask(&request::leave_room(&room, &name)).await, {
            assert_eq!(extended.next().await["type"], "member_left");
            extended.ask("leave_room", json!({"room_id": room})).await
        });
        seen.push(("leave_room_success", left.0, left.1));
        for (kind, classic, extended) in seen {
            assert_eq!((&classic["type"], &extended["type"]), (&json!(kind), &json!(kind)));
            let more: Vec<String> = match kind {
                "member_joined" | "member_left" => vec!["data.member_version"],
                "join_room_success" => vec![
                    "re",
                    "data.gen",
                    "data.first_seq",
                    "data.head_seq",
                    "data.member_version",
                    "data.resumed",
                ],
                "message_sent" => vec!["re", "data.gen", "data.duplicate"],
                "message_error" => vec!["re", "data.outcome"],
                _ => vec!["re"],
            }
            .into_iter()
            .map(str::to_owned)
            .collect();
            let mut wanted = fields(&classic);
            wanted.extend(more);
            assert_eq!(fields(&extended), wanted, "{kind}: {classic} {extended}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_come_in_pages_and_by_the_beginning_of_names() {
    let cluster = TestCluster::start(2).await;
    let mut ines = Extended::new(cluster.node(1), "ines").await;
    for n in 0..7 {
        ines.ask("create_room", json!({"room_name": format!("even {}", 2 * n)}))
            .await;
        ines.ask("create_room", json!({"room_name": format!("odd {n}")})).await;
    }
    for kind in ["list_rooms", "discover_rooms"] {
        for (name, count) in [("", 14), ("even", 7), ("odd 3", 1), ("none", 0)] {
            let (mut found, mut after, mut pages) = (BTreeSet::new(), Value::Null, 0);
            loop {
                let data = json!({"limit": 4, "name": name, "after": after});
                let page = ines.ask(kind, data).await;
                let rooms = page["data"]["rooms"].as_array().unwrap();
                assert!(rooms.len() <= 4);
                found.extend(rooms.iter().map(|room| room["room_name"].as_str().unwrap().to_owned()));
                pages += 1;
                match page["data"].get("next") {
                    Some(next) => after = next.clone(),
                    None => break,
                }
            }
            assert_eq!(found.len(), count, "{kind} {name}");
            assert!(
                found.iter().all(|found| found.starts_with(name)) && pages <= 4,
                "{kind} {name} {pages}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_is_created_once_per_request_id() {
    let cluster = TestCluster::start(1).await;
    let mut ines = Extended::new(cluster.node(1), "ines").await;
    let first = ines
        .ask("create_room", json!({"room_name": "hall", "request_id": "r"}))
        .await;
    let again = ines
        .ask("create_room", json!({"room_name": "hall", "request_id": "r"}))
        .await;
    assert_eq!(first["data"], again["data"]);
    let other = ines
        .ask("create_room", json!({"room_name": "hall", "request_id": "s"}))
        .await;
    assert_eq!(
        other["data"]["success"], false,
        "another request, and the name is taken: {other}"
    );
}

fn with_id(kind: &str, data: &Value) -> String {
    json!({"type": kind, "id": 7, "data": data}).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_classic_session_that_asks_like_an_extended_one_is_answered_like_a_classic_one() {
    let cluster = TestCluster::start(2).await;
    let room = room(&cluster, 1).await;
    for n in [1, 2] {
        let mut classic = cluster.node(n).client().await;
        let name = format!("classic{n}");
        let terms = json!({"room_id": room, "username": name, "from": {"gen": 1, "seq": 99}, "history": 0});
        let joined = classic.ask(&with_id("join_room", &terms)).await;
        let plain = ["type", "data"].map(str::to_owned);
        let details = [
            "room_id",
            "room_name",
            "description",
            "members",
            "member_count",
            "admin_node",
        ];
        let mut wanted: BTreeSet<String> = plain.clone().into();
        wanted.extend(details.map(|key| format!("data.{key}")));
        assert_eq!(fields(&joined), wanted, "{joined}");
        if n == 2 {
            let history = classic.next().await;
            assert_eq!(
                history["type"], "new_message",
                "no position, the whole history: {history}"
            );
        }
        let message = json!({"room_id": room, "username": name, "content": "hi", "client_msg_id": "same"});
        let shown = classic.ask(&with_id("send_message", &message)).await;
        assert_eq!(shown["type"], "new_message", "{shown}");
        let sent = classic.next().await;
        let mut wanted: BTreeSet<String> = plain.into();
        wanted.extend(["room_id", "message_id", "sequence_number", "timestamp"].map(|key| format!("data.{key}")));
        assert_eq!(fields(&sent), wanted, "{sent}");
        let mut ask = async |kind: &str, data: Value| classic.ask(&with_id(kind, &data)).await;
        for kind in ["read_history", "hello"] {
            let unknown = ask(
                kind,
                json!({"room_id": room, "after_seq": 0, "protocol": 2, "user": name}),
            )
            .await;
            assert_eq!(
                unknown,
                json!({"type": "error", "data": {"success": false, "message": format!("Unknown message type: {kind}")}})
            );
        }
        for kind in ["list_rooms", "discover_rooms"] {
            let list = ask(kind, json!({"limit": 0, "after": "x", "name": 5})).await;
            assert!(list["data"]["rooms"].is_array(), "paging is not for it: {list}");
            assert!(list["data"].get("next").is_none() && list.get("re").is_none(), "{list}");
        }
        assert_eq!(
            ask("leave_room", json!({"room_id": room, "username": name})).await["type"],
            "leave_room_success"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_extended_sessions_are_pushed_never_reaches_a_classic_one() {
    let mut cluster = TestCluster::start_with(2, |config| {
        config.limits.history_messages = 1;
        config.limits.seat_grace = PATIENCE;
    })
    .await;
    let room = room(&cluster, 1).await;
    let mut classic = cluster.node(2).client().await;
    classic.join(&room, "classic").await;
    let mut extended = Extended::new(cluster.node(2), "extended").await;
    extended.join(&room, None).await;
    // degraded and recovered ...
    cluster.crash(1).await;
    until(&mut extended.client, |frame| frame["type"] == "degraded").await;
    cluster.restart(1).await;
    until(&mut extended.client, |frame| frame["type"] == "recovered").await;
    // ... resync_required ...
    extended.join(&room, Some((9, 9))).await;
    assert_eq!(extended.next().await["type"], "resync_required");
    // ... and reconnect: the classic one sees who came, and that the node is stopping.
    cluster.node(2).shutdown.request();
    until(&mut extended.client, |frame| frame["type"] == "reconnect").await;
    let mut seen = Vec::new();
    let code = loop {
        match tokio::time::timeout(PATIENCE, classic.0.next()).await.unwrap() {
            chat_client::RawFrame::Text(text) => seen.push(request::type_of(&text).to_owned()),
            chat_client::RawFrame::Closed(closed) => break closed.code,
            chat_client::RawFrame::Binary(_) => panic!("no frame is binary"),
        }
    };
    assert_eq!((seen, code), (vec!["member_joined".to_owned()], Some(1012)));
}
