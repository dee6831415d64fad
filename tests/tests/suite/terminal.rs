//! The terminal client of the original system at our nodes: whatever happens, what it shows is the room, in order, once.

use super::extended::room;
use chat_client::{RawFrame, request};
use chat_node::config::Config;
use chat_protocol::limits::MAX_PIPELINE;
use chat_tests::extended::Extended;
use chat_tests::terminal::{Chat, TerminalClient};
use chat_tests::{PATIENCE, TestCluster, TestNode};
use futures_util::future::join_all;
use serde_json::json;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What a client gets of a long room when it joins.
const NEWEST: usize = 1_000;

/// Says `count` different things, each of `size` bytes or a little more. The order is not known.
async fn fill(node: &TestNode, room: &str, count: usize, size: usize) {
    const FILLERS: usize = 4;
    join_all((1..=FILLERS).map(|first| say_every(node, room, (first..=count).step_by(FILLERS), size))).await;
}

/// Says these numbers, sixteen at a time.
async fn say_every(node: &TestNode, room: &str, mut numbers: impl Iterator<Item = usize>, size: usize) {
    let mut filler = Extended::new(node, "filler").await;
    let mut events = Vec::new();
    let join = json!({"room_id": room, "history": 0});
    filler.ask_with("join_room", join, &mut events).await;
    let mut under_way = 0;
    loop {
        while under_way < MAX_PIPELINE
            && let Some(number) = numbers.next()
        {
            let content = format!("m{number}{}", " ".repeat(size));
            let data = json!({"room_id": room, "content": content, "client_msg_id": format!("{number}")});
            filler.say(number, "send_message", data).await;
            under_way += 1;
        }
        if under_way == 0 {
            break;
        }
        let frame = timeout(PATIENCE, filler.client.0.next()).await.unwrap();
        let RawFrame::Text(frame) = frame else {
            panic!("{frame:?}");
        };
        match request::type_of(&frame) {
            "message_sent" => under_way -= 1,
            "new_message" | "member_joined" | "member_left" => {}
            _ => panic!("{frame}"),
        }
    }
    let leave = json!({"room_id": room});
    filler.ask_with("leave_room", leave, &mut events).await;
}

/// Rooms with so many messages.
async fn rooms_of(node: &TestNode, lengths: &[usize]) -> Vec<String> {
    let filled = lengths.iter().map(async |length| {
        let mut vera = TerminalClient::connect(node, "vera").await;
        let room = vera.create(&format!("room of {length}"), None).await.unwrap();
        fill(node, &room, *length, 0).await;
        room
    });
    join_all(filled).await
}

/// A cluster in which nobody is taken for dead because the machine is busy.
pub(crate) async fn calm(count: usize, change: impl Fn(&mut Config)) -> TestCluster {
    TestCluster::start_with(count, |config| {
        config.limits.heartbeat_failed = PATIENCE;
        change(config);
    })
    .await
}

/// A client that has entered a room.
pub(crate) async fn seated(node: &TestNode, name: &str, room: &str) -> TerminalClient {
    let mut client = TerminalClient::connect(node, name).await;
    client.enter(room).await;
    client
}

/// What was said in a room, read by somebody new. Others may come and go meanwhile.
pub(crate) async fn log(node: &TestNode, room: &str) -> Vec<String> {
    let mut reader = Extended::new(node, "reader").await;
    let joined = reader.join(room, Some((1, 0))).await;
    let mut log = Vec::new();
    while log.len() as u64 != joined["head_seq"] {
        let frame = reader.next().await;
        if frame["type"] == "new_message" {
            log.push(frame["data"]["content"].as_str().unwrap().to_owned());
            assert_eq!(frame["data"]["sequence_number"], log.len());
        }
    }
    log
}

/// Where in the room the first shown message stands; from there on, everything was shown as it is there, once.
pub(crate) fn place(chat: &Chat, log: &[String]) -> usize {
    let contents = chat.contents();
    let Some(first) = contents.first() else {
        return log.len();
    };
    let start = log.iter().position(|text| text == first).unwrap();
    // One by one, so that a failure can be read.
    for (n, shown) in contents.iter().enumerate() {
        assert_eq!(log.get(start + n).map(String::as_str), Some(*shown), "at {n}");
    }
    assert_eq!(chat.repeats, 0, "something was sent twice");
    start
}

/// The whole room was shown, but for its first `skipped` messages, and nothing was refused.
pub(crate) fn assert_is_the_room(chat: &Chat, log: &[String], skipped: RangeInclusive<usize>) {
    let start = place(chat, log);
    assert!(
        skipped.contains(&start),
        "{start} of {} messages are missing, not {skipped:?}",
        log.len()
    );
    assert_eq!(start + chat.shown.len(), log.len(), "the end is missing");
    assert_eq!(chat.refused, [json!(null); 0]);
}

pub(crate) fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

pub(crate) fn notes_with(chat: &Chat, text: &str) -> usize {
    chat.notes.iter().filter(|note| note.contains(text)).count()
}

/// Somebody else asks for a room to be deleted, and is told why not; then its creator does, and everybody is out.
async fn delete(creator: &mut TerminalClient, others: &mut [TerminalClient], room: &str, name: &str) {
    creator.enter(room).await;
    for other in others.iter_mut() {
        other.enter(room).await;
        other.delete().await;
        let refused = "Room deletion failed: Only the room creator can delete the room";
        other.read_until(|chat| notes_with(chat, refused) == 1).await;
    }
    creator.say_and_see("not deleted").await;
    creator.delete().await;
    for client in others.iter_mut().chain([creator]) {
        let (chat, why) = client.read_until_thrown_out().await;
        assert_eq!(why, format!("Room '{name}' has been deleted."));
        assert!(chat.ends_with("not deleted"));
        // Whoever asked is not told what it did.
        let told = usize::from(client.name != "ines");
        assert_eq!(
            notes_with(&chat, "Room deletion initiated by ines"),
            told,
            "{:?}",
            chat.notes
        );
        assert!(!client.sees(room));
    }
}

/// Speaks until it is told to stop, in its own time: the next text when the last one was shown, or was refused.
pub(crate) async fn speak_on(mut client: TerminalClient, done: Arc<AtomicBool>) -> TerminalClient {
    for n in 1.. {
        if done.load(Ordering::Relaxed) {
            break;
        }
        let (text, refused) = (format!("{} {n}", client.name), client.here().refused.len());
        client.say(&text).await;
        client
            .read_until(|chat| chat.ends_with(&text) || chat.refused.len() > refused)
            .await;
        if client.here().refused.len() > refused {
            // Its admin node is away. Asking it without a pause would not bring it back.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_and_joins_while_its_history_is_on_its_way_gets_it_once() {
    let cluster = calm(2, |config| {
        // Every page comes from the store, and so from another task.
        config.limits.backlog_bytes = 1;
    })
    .await;
    let room = room(&cluster, 1).await;
    fill(cluster.node(1), &room, 1_200, 0).await;
    for n in [1, 2] {
        let mut otto = cluster.node(n).client().await;
        for text in [
            request::join_room(&room, "otto"),
            request::leave_room(&room, "otto"),
            request::join_room(&room, "otto"),
        ] {
            otto.0.queue_text(text).unwrap();
        }
        while otto.next().await["type"] != "leave_room_success" {}
        assert_eq!(otto.next().await["type"], "join_room_success");
        for number in 1..=NEWEST {
            let frame = otto.next().await;
            assert_eq!(frame["data"]["sequence_number"], number, "node {n}: {frame}");
        }
        assert_eq!(otto.send(&room, "otto", "hi").await, 1_001);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_answered_as_it_expects_on_every_node() {
    let cluster = calm(2, |_| {}).await;
    for n in [1, 2] {
        let mut ines = TerminalClient::connect(cluster.node(n), "ines").await;
        let name = format!("hall {n}");
        let room = ines.create(&name, Some("caf\u{e9} \u{1f6a2}")).await.unwrap();
        assert!(ines.sees(&room), "{:?}", ines.rooms);
        let taken = ines.create(&name, None).await;
        assert_eq!(taken, Err(format!("Room with name '{name}' already exists")));
        ines.local_only().await;
        let entry = &ines.rooms[0];
        assert_eq!(ines.rooms.len(), 1, "rooms of this node only");
        assert_eq!(
            [&entry["room_id"], &entry["description"], &entry["creator_id"]],
            [&json!(room), &json!("caf\u{e9} \u{1f6a2}"), &json!("ines")]
        );
        assert_eq!(ines.join("nowhere").await.unwrap_err().0, "ROOM_NOT_FOUND");
        ines.join(&room).await.unwrap();
        ines.say_and_see("caf\u{e9} \u{1f6a2}\n[b]").await;
        let mut others = Vec::new();
        for at in [1, 2] {
            let mut otto = seated(cluster.node(at), &format!("otto{at}"), &room).await;
            otto.read_until_shown(&ines.here().shown.last().unwrap().content).await;
            otto.say_and_see(&format!("from {at}")).await;
            ines.read_until_shown(&format!("from {at}")).await;
            others.push(otto);
        }
        let log = log(cluster.node(n), &room).await;
        for client in others.iter_mut().chain([&mut ines]) {
            client.read_until_shown(log.last().unwrap()).await;
            assert_is_the_room(&client.leave().await, &log, 0..=0);
            assert!(client.sees(&room));
        }
        delete(&mut ines, &mut others, &room, &name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_of_any_length_is_shown_up_to_its_end_and_goes_on() {
    let cluster = calm(2, |_| {}).await;
    let lengths = [0, 100, 1_000, 5_000];
    let rooms = rooms_of(cluster.node(1), &lengths).await;
    for (length, room) in lengths.into_iter().zip(rooms) {
        let mut visits = Vec::new();
        for n in [1, 2] {
            let mut otto = TerminalClient::connect(cluster.node(n), "otto").await;
            for visit in [1, 2] {
                otto.enter(&room).await;
                let there = length + visits.len();
                let wanted = there.min(NEWEST);
                otto.read_until(|chat| chat.shown.len() == wanted).await;
                otto.say_and_see(&format!("visit {visit} of {n}")).await;
                visits.push((there, otto.leave().await));
            }
        }
        let log = log(cluster.node(1), &room).await;
        for (there, chat) in visits {
            let skipped = there.saturating_sub(NEWEST);
            assert_is_the_room(&chat, &log[..=there], skipped..=skipped);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_who_join_at_once_while_others_speak_see_the_room() {
    let cluster = Arc::new(calm(3, |_| {}).await);
    let lengths = [300, 1_500];
    let rooms = rooms_of(cluster.node(1), &lengths).await;
    let mut ines = TerminalClient::connect(cluster.node(1), "ines").await;
    for (length, room) in lengths.into_iter().zip(rooms) {
        let done = Arc::new(AtomicBool::new(false));
        let mut speakers = JoinSet::new();
        for n in 1..=3 {
            let mut speaker = seated(cluster.node(n), &format!("speaker{n}"), &room).await;
            speaker.say_and_see(&format!("{n} begins")).await;
            speakers.spawn(speak_on(speaker, Arc::clone(&done)));
        }
        let mut joiners = JoinSet::new();
        for n in 1..=20 {
            let (cluster, room) = (Arc::clone(&cluster), room.clone());
            joiners.spawn(async move { seated(cluster.node(1 + n % 3), &format!("joiner{n}"), &room).await });
        }
        let joiners = joiners.join_all().await;
        done.store(true, Ordering::Relaxed);
        let mut clients = speakers.join_all().await;
        clients.extend(joiners);
        ines.enter(&room).await;
        ines.say_and_see("end").await;
        assert_eq!(ines.here().members.len(), 24);
        for client in &mut clients {
            client.read_until_shown("end").await;
            assert_eq!(client.here().members, ines.here().members);
        }
        let log = log(cluster.node(1), &room).await;
        let skipped = length.saturating_sub(NEWEST)..=log.len().saturating_sub(NEWEST);
        for client in &clients {
            assert_is_the_room(client.here(), &log, skipped.clone());
        }
        ines.leave().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_stay_see_the_room_while_others_come_and_go() {
    let cluster = Arc::new(calm(3, |_| {}).await);
    let room = room(&cluster, 1).await;
    let mut stayers = Vec::new();
    for (n, name) in [(1, "ines"), (2, "otto"), (3, "vera")] {
        stayers.push(seated(cluster.node(n), name, &room).await);
    }
    let mut guests = JoinSet::new();
    for n in 1..=3 {
        let (cluster, room) = (Arc::clone(&cluster), room.clone());
        guests.spawn(async move {
            let mut visits = Vec::new();
            let mut guest = TerminalClient::connect(cluster.node(n), &format!("guest{n}")).await;
            for visit in 1..=12 {
                guest.enter(&room).await;
                guest.say_and_see(&format!("guest{n} {visit}")).await;
                if visit % 3 == 0 {
                    // The window is closed.
                    visits.extend(guest.chat.take());
                    guest = TerminalClient::connect(cluster.node(n), &format!("guest{n}")).await;
                } else {
                    visits.push(guest.leave().await);
                }
            }
            visits
        });
    }
    for round in 1..=30 {
        for stayer in &mut stayers {
            let text = format!("{} {round}", stayer.name);
            stayer.say_and_see(&text).await;
        }
    }
    let visits: Vec<Chat> = guests.join_all().await.into_iter().flatten().collect();
    stayers[0].say_and_see("end").await;
    for stayer in &mut stayers {
        let only_us = names(&["ines", "otto", "vera"]);
        stayer
            .read_until(|chat| chat.ends_with("end") && chat.members == only_us)
            .await;
    }
    let log = log(cluster.node(1), &room).await;
    for stayer in &stayers {
        assert_is_the_room(stayer.here(), &log, 0..=0);
    }
    assert_eq!(visits.len(), 36);
    for visit in &visits {
        assert_eq!(place(visit, &log), 0);
        assert_eq!(visit.refused, [json!(null); 0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_slowly_misses_nothing_and_holds_up_nobody() {
    /// Enough to fill the buffers of both kernels and the queue of the node.
    const FLOOD: usize = 1_100;
    let cluster = calm(3, |config| {
        config.limits.outbound_bytes = 16 << 10;
        config.limits.backlog_bytes = 32 << 10;
    })
    .await;
    let room = room(&cluster, 1).await;
    let mut slow = Vec::new();
    for n in [1, 2] {
        slow.push(seated(cluster.node(n), &format!("slow{n}"), &room).await);
    }
    let mut quick = seated(cluster.node(3), "quick", &room).await;
    let read = tokio::spawn(async move {
        quick.read_until_shown("end").await;
        quick
    });
    fill(cluster.node(1), &room, FLOOD, 2_000).await;
    slow[0].say("end").await;
    let quick = read.await.unwrap();
    for client in &mut slow {
        client.read_until_shown("end").await;
    }
    for n in [1, 2] {
        let metrics = cluster.node(n).metrics().await;
        let recovered = "chat_slow_readers_total{outcome=\"recovered\"} ";
        let count = metrics.lines().find_map(|line| line.strip_prefix(recovered));
        assert!(count.is_some_and(|count| count != "0"), "nobody was slow at node {n}");
    }
    let log = log(cluster.node(1), &room).await;
    assert_is_the_room(quick.here(), &log, 0..=0);
    for mut client in slow {
        assert_is_the_room(&client.leave().await, &log, 0..=0);
        client.enter(&room).await;
        client.read_until_shown("end").await;
        let skipped = log.len() - NEWEST;
        assert_is_the_room(client.here(), &log, skipped..=skipped);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_clients_under_one_name_are_one_member_until_the_last_has_left() {
    let cluster = calm(2, |_| {}).await;
    let room = room(&cluster, 1).await;
    let mut ines = seated(cluster.node(2), "ines", &room).await;
    let mut clients = Vec::new();
    for n in [1, 1, 2, 2] {
        clients.push(seated(cluster.node(n), "otto", &room).await);
    }
    for (n, client) in clients.iter_mut().enumerate() {
        client.say_and_see(&format!("from {n}")).await;
    }
    let mut closed = Vec::new();
    // By turns, one leaves and one closes its window, on the one node and on the other.
    while let Some(mut gone) = clients.pop() {
        gone.read_until_shown("from 3").await;
        let last = clients.is_empty();
        if clients.len() % 2 == 0 {
            closed.push(gone.leave().await);
        } else {
            closed.extend(gone.chat.take());
            drop(gone);
        }
        if last {
            ines.read_until(|chat| notes_with(chat, "otto left the room") == 1)
                .await;
            assert_eq!(ines.here().members, names(&["ines"]));
        } else {
            // Whoever is left is in the room, and hears what is said.
            ines.say_and_see(&format!("{} left", clients.len())).await;
            assert_eq!(notes_with(ines.here(), "otto left the room"), 0);
        }
    }
    assert_eq!(notes_with(ines.here(), "otto joined the room"), 1);
    let log = log(cluster.node(1), &room).await;
    assert_is_the_room(ines.here(), &log, 0..=0);
    for chat in &closed {
        assert_eq!((place(chat, &log), chat.refused.len()), (0, 0));
        assert_eq!(chat.members, names(&["ines", "otto"]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_a_room_of_eight_unread_messages_finds_the_list_behind_them() {
    let cluster = calm(2, |_| {}).await;
    let room = room(&cluster, 1).await;
    // With the answer to the leave and the list, that is ten frames; the client looks at no more.
    fill(cluster.node(1), &room, 8, 0).await;
    for n in [1, 2] {
        let mut otto = TerminalClient::connect(cluster.node(n), "otto").await;
        for _ in 1..=5 {
            otto.enter(&room).await;
            otto.leave_unread().await;
            otto.local_only().await;
        }
    }
}
