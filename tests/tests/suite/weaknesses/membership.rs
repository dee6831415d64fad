//! Who is a member, and who hears what.

use super::*;
use crate::extended::kinds;
use crate::peer_port::call;
use chat_tests::proxy::Wire;
use dxr::Value as Param;
use serde_json::json;
use std::time::Duration;

/// Everything that a client was sent before the answer to a request that changes nothing.
async fn pushed(client: &mut Client) -> Vec<Value> {
    client.say(&request::list_rooms()).await;
    let mut seen = Vec::new();
    loop {
        let frame = client.next().await;
        if frame["type"] == "rooms_list" {
            return seen;
        }
        seen.push(frame);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w24_whoever_is_out_of_a_room_hears_nothing_of_it_any_more() {
    for n in [1, 2] {
        let cluster = TestCluster::start_with(2, |config| {
            config.limits.inactivity = Duration::from_millis(400);
        })
        .await;
        let mut ines = cluster.node(1).client().await;
        let room = ines.create("hall").await;
        ines.join(&room, "ines").await;
        let mut idle = cluster.node(n).client().await;
        idle.join(&room, "idle").await;
        let mut left = false;
        while !left {
            ines.say(&request::send_message(&room, "ines", "hi")).await;
            loop {
                let frame = ines.next().await;
                left |= frame["type"] == "member_left";
                if frame["type"] == "message_sent" {
                    break;
                }
            }
        }
        let out = next_of(&mut idle, "member_left").await;
        assert_eq!(out["data"]["username"], "idle", "it sees its own removal");
        for _ in 0..5 {
            ines.send(&room, "ines", "not for idle").await;
        }
        assert_eq!(pushed(&mut idle).await, Vec::<Value>::new(), "node {n}");
        let refused = idle.ask(&request::send_message(&room, "idle", "x")).await;
        assert_eq!(refused["data"]["error_code"], "NOT_MEMBER");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w25_a_name_leaves_with_its_last_connection_and_not_with_its_first() {
    for n in [1, 2] {
        let cluster = TestCluster::start(2).await;
        let (mut ines, mut otto, room) = two_in_a_room(&cluster).await;
        let mut second = cluster.node(n).client().await;
        let joined = second.join(&room, "otto").await;
        assert_eq!(joined["data"]["member_count"], 2, "{joined}");
        drop(second);
        // What comes behind the close on the same way proves that it was seen.
        assert_eq!(otto.send(&room, "otto", "still here").await, 1);
        assert_eq!(ines.next().await["type"], "new_message", "nobody left");
        drop(otto);
        assert_eq!(ines.next().await["type"], "member_left", "now he did");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w26_a_member_that_moved_to_another_node_is_there_and_not_where_it_was() {
    let mut cluster = TestCluster::start(3).await;
    let (mut ines, otto, room) = two_in_a_room(&cluster).await;
    let mut moved = cluster.node(3).client().await;
    moved.join(&room, "otto").await;
    drop(otto);
    cluster.crash(2).await;
    cluster.wait_until_connected(1, 2).await;
    assert_eq!(moved.send(&room, "otto", "over here").await, 1);
    assert_eq!(ines.next().await["type"], "new_message", "he did not leave");
    cluster.crash(3).await;
    let left = ines.next().await;
    assert_eq!(
        (&left["type"], &left["data"]["username"]),
        (&json!("member_left"), &json!("otto")),
        "now he did"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w27_members_elsewhere_are_told_that_the_admin_node_is_gone() {
    let mut cluster = TestCluster::start_with(2, |config| {
        config.limits.classic_unreachable = Duration::from_millis(500);
    })
    .await;
    let (_ines, mut otto, _room) = two_in_a_room(&cluster).await;
    cluster.crash(1).await;
    let out = otto.next().await;
    assert_eq!(
        (&out["type"], &out["data"]["username"], &out["data"]["reason"]),
        (&json!("member_left"), &json!("otto"), &json!("Node unreachable")),
        "{out}"
    );
    assert_eq!(pushed(&mut otto).await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w28_members_of_a_node_that_restarted_quickly_are_no_ghosts() {
    let mut cluster = TestCluster::start_with(2, |config| config.limits.heartbeat_failed = PATIENCE).await;
    let (mut ines, _otto, _room) = two_in_a_room(&cluster).await;
    cluster.crash(2).await;
    cluster.restart(2).await;
    let left = ines.next().await;
    assert_eq!(
        (&left["type"], &left["data"]["username"]),
        (&json!("member_left"), &json!("otto")),
        "{left}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w29_a_leave_that_could_not_be_told_is_told_later() {
    let (cluster, wire) = two_with_a_wire("node2").await;
    let (mut ines, mut otto, room) = two_in_a_room(&cluster).await;
    let mut vera = cluster.node(2).client().await;
    vera.join(&room, "vera").await;
    assert_eq!(ines.next().await["data"]["username"], "vera");
    wire.set(Wire::Reset);
    otto.say(&request::leave_room(&room, "otto")).await;
    drop(vera);
    wire.set(Wire::Open);
    let mut gone = [ines.next().await, ines.next().await].map(|frame| {
        assert_eq!(frame["type"], "member_left", "{frame}");
        frame["data"]["username"].as_str().unwrap().to_owned()
    });
    gone.sort();
    assert_eq!(gone, ["otto", "vera"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w30_a_join_whose_answer_was_lost_leaves_no_ghost() {
    // Node 1 hears of the join; its answer is not heard.
    let (cluster, wire) = two_with_a_wire("node1").await;
    let (mut ines, _otto, room) = two_in_a_room(&cluster).await;
    wire.set(Wire::Silent);
    let mut vera = cluster.node(2).client().await;
    vera.say(&request::join_room(&room, "vera")).await;
    let came = ines.next().await;
    assert_eq!(
        (&came["type"], &came["data"]["username"]),
        (&json!("member_joined"), &json!("vera"))
    );
    drop(vera);
    wire.set(Wire::Open);
    let went = ines.next().await;
    assert_eq!(
        (&went["type"], &went["data"]["username"]),
        (&json!("member_left"), &json!("vera"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w31_a_leave_of_nobody_and_a_leave_for_another_change_nothing() {
    let cluster = TestCluster::start(2).await;
    let (mut ines, mut otto, room) = two_in_a_room(&cluster).await;
    for name in ["nobody", "ines"] {
        let answer = otto.ask(&request::leave_room(&room, name)).await;
        assert_eq!(answer["type"], "leave_room_success", "{answer}");
    }
    let mut outside = cluster.node(1).client().await;
    outside.ask(&request::leave_room(&room, "ines")).await;
    assert_eq!(otto.send(&room, "otto", "still here").await, 1);
    assert_eq!(kinds(&pushed(&mut ines).await), ["new_message"]);
    assert_eq!(ines.send(&room, "ines", "me too").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w32_one_connection_has_one_name_per_room() {
    let cluster = TestCluster::start(2).await;
    let (mut ines, mut otto, room) = two_in_a_room(&cluster).await;
    for client in [&mut ines, &mut otto] {
        let refused = client.ask(&request::join_room(&room, "second")).await;
        assert_eq!(refused["data"]["error_code"], "INVALID_REQUEST", "{refused}");
    }
    assert_eq!(otto.send(&room, "otto", "once").await, 1, "and hears everything once");
    assert_eq!(pushed(&mut otto).await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w34_a_room_that_everybody_left_takes_no_memory() {
    let cluster = TestCluster::start(2).await;
    let (mut ines, mut otto, room) = two_in_a_room(&cluster).await;
    otto.ask(&request::leave_room(&room, "otto")).await;
    assert_eq!(ines.next().await["type"], "member_left");
    ines.ask(&request::leave_room(&room, "ines")).await;
    for n in [1, 2] {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let metrics = cluster.node(n).metrics().await;
            if metrics.lines().any(|line| line == "chat_rooms_active 0") {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "node {n}: {metrics}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w36_a_node_that_is_not_known_has_no_members() {
    let cluster = TestCluster::start(2).await;
    let (mut ines, _otto, room) = two_in_a_room(&cluster).await;
    let text = |text: &str| Param::String(text.to_owned());
    let stranger = call(
        cluster.node(1),
        "join_room",
        &[text(&room), text("ghost"), text("node9")],
    )
    .await;
    assert!(
        !matches!(&stranger, Ok(Param::Struct(answer)) if answer.get("success") == Some(&Param::Boolean(true))),
        "{stranger:?}"
    );
    assert_eq!(pushed(&mut ines).await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w37_news_of_an_earlier_leave_do_not_throw_out_who_came_back() {
    let cluster = TestCluster::start(2).await;
    let (mut ines, mut otto, room) = two_in_a_room(&cluster).await;
    for n in 1..=50 {
        otto.say(&request::leave_room(&room, "otto")).await;
        otto.say(&request::join_room(&room, "otto")).await;
        next_of(&mut otto, "join_room_success").await;
        ines.say(&request::send_message(&room, "ines", &format!("{n}"))).await;
        loop {
            let shown = next_of(&mut otto, "new_message").await;
            if shown["data"]["content"] == format!("{n}") {
                break;
            }
        }
    }
}
