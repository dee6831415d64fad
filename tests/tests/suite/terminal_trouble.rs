//! The terminal client of the original system when nodes restart or it is removed: what it shows is the room all the same.

use super::extended::room;
use super::terminal::{assert_is_the_room, calm, log, names, notes_with, place, seated, speak_on};
use chat_tests::TestCluster;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_its_own_node_throws_nobody_out_who_comes_back_and_leaves_no_ghosts() {
    let mut cluster = calm(2, |_| {}).await;
    let room = room(&cluster, 1).await;
    let mut ines = seated(cluster.node(1), "ines", &room).await;
    let mut otto = seated(cluster.node(2), "otto", &room).await;
    let vera = seated(cluster.node(2), "vera", &room).await;
    otto.say_and_see("before").await;
    ines.read_until(|chat| chat.members == names(&["ines", "otto", "vera"]))
        .await;
    cluster.crash(2).await;
    ines.say_and_see("meanwhile").await;
    assert_eq!(otto.read_until_lost().await.unwrap().contents(), ["before"]);
    drop(vera.read_until_lost().await);
    cluster.restart(2).await;
    let mut otto = seated(cluster.node(2), "otto", &room).await;
    otto.say_and_see("back").await;
    ines.read_until_shown("back").await;
    let before = notes_with(ines.here(), "otto");
    // Vera does not come back. When her time is over, so is that of the seat that Otto had before.
    for client in [&mut ines, &mut otto] {
        client.read_until(|chat| chat.members == names(&["ines", "otto"])).await;
    }
    otto.say_and_see("still here").await;
    ines.read_until_shown("still here").await;
    assert_eq!(notes_with(ines.here(), "otto"), before, "he did not leave");
    let chat = otto.leave().await;
    ines.read_until(|chat| chat.members == names(&["ines"])).await;
    assert_eq!(notes_with(ines.here(), "otto"), before + 1);
    let log = log(cluster.node(1), &room).await;
    for chat in [&chat, ines.here()] {
        assert_is_the_room(chat, &log, 0..=0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_admin_node_is_an_interruption() {
    let mut cluster = TestCluster::start(3).await;
    let room = room(&cluster, 1).await;
    let mut vera = seated(cluster.node(3), "vera", &room).await;
    let otto = seated(cluster.node(2), "otto", &room).await;
    let done = Arc::new(AtomicBool::new(false));
    let speaker = tokio::spawn(speak_on(otto, Arc::clone(&done)));
    let mut visits = Vec::new();
    for life in 1..=3 {
        let mut ines = seated(cluster.node(1), "ines", &room).await;
        ines.say_and_see(&format!("life {life}")).await;
        vera.read_until_shown(&format!("life {life}")).await;
        cluster.crash(1).await;
        visits.extend(ines.read_until_lost().await);
        cluster.restart(1).await;
    }
    done.store(true, Ordering::Relaxed);
    let mut otto = speaker.await.unwrap();
    let mut ines = seated(cluster.node(1), "ines", &room).await;
    ines.say_and_see("end").await;
    for client in [&mut otto, &mut vera] {
        client.read_until_shown("end").await;
        assert_eq!(client.here().members, names(&["ines", "otto", "vera"]));
        for stayed in ["otto", "vera"] {
            let gone = notes_with(client.here(), &format!("{stayed} left"));
            assert_eq!(gone, 0, "{:?}", client.here().notes);
        }
    }
    let log = log(cluster.node(1), &room).await;
    let texts: BTreeSet<&str> = log.iter().map(String::as_str).collect();
    assert_eq!(texts.len(), log.len(), "nothing was said twice");
    assert_is_the_room(vera.here(), &log, 0..=0);
    assert_is_the_room(ines.here(), &log, 0..=0);
    // What was refused may be in the room all the same: nobody knew.
    assert_eq!((place(otto.here(), &log), otto.here().shown.len()), (0, log.len()));
    for visit in visits {
        assert_eq!(place(&visit, &log), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_removed_as_inactive_is_told_hears_nothing_more_and_may_come_back() {
    let cluster = calm(2, |config| {
        config.limits.inactivity = Duration::from_millis(1_500);
    })
    .await;
    let room = room(&cluster, 1).await;
    let mut ines = seated(cluster.node(2), "ines", &room).await;
    let mut idle = Vec::new();
    for n in [1, 2] {
        idle.push(seated(cluster.node(n), &format!("idle{n}"), &room).await);
    }
    let mut said = 0;
    while notes_with(ines.here(), "left the room (inactivity)") < 2 {
        said += 1;
        ines.say_and_see(&format!("{said}")).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for client in &mut idle {
        let (chat, status) = client.read_until_thrown_out().await;
        assert_eq!(status, "You were removed from 'hall' due to inactivity.");
        assert!(!chat.shown.is_empty());
        assert!(client.sees(&room));
    }
    ines.say_and_see("end").await;
    let log = log(cluster.node(1), &room).await;
    for client in &mut idle {
        // The very next frame is the answer: nothing that was said meanwhile came.
        client.local_only().await;
        client.enter(&room).await;
        client.read_until_shown("end").await;
        assert_is_the_room(client.here(), &log, 0..=0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_too_long_for_the_admin_node_is_told_and_finds_the_room_when_it_is_back() {
    let mut cluster = TestCluster::start_with(2, |config| {
        config.limits.classic_unreachable = Duration::from_millis(600);
    })
    .await;
    let room = room(&cluster, 1).await;
    let mut otto = seated(cluster.node(2), "otto", &room).await;
    otto.say_and_see("before").await;
    cluster.crash(1).await;
    let (_, status) = otto.read_until_thrown_out().await;
    assert_eq!(status, "You were removed from 'hall' due to node unreachable.");
    assert!(!otto.sees(&room));
    let (code, _) = otto.join(&room).await.unwrap_err();
    assert_eq!(code, "ADMIN_NODE_UNAVAILABLE");
    cluster.restart(1).await;
    otto.enter(&room).await;
    otto.say_and_see("after").await;
    assert_eq!(otto.here().contents(), ["before", "after"]);
}
