//! Deletion: who decides, who hears of it, and what becomes of it when somebody is silent.

use super::*;
use crate::deletion::{delete, is_gone};
use crate::peer_port::call;
use chat_protocol::peer_call::method;
use chat_tests::proxy::Wire;
use dxr::Value as Param;
use serde_json::json;

fn text(text: &str) -> Param {
    Param::String(text.into())
}

/// Deletes the room and reads up to the last answer.
async fn deletes(client: &mut Client, room: &str) -> Value {
    client.say(&delete(room, "ines")).await;
    answer(client).await
}

async fn answer(client: &mut Client) -> Value {
    loop {
        let frame = client.next().await;
        if ["delete_room_success", "delete_room_failed"].contains(&frame["type"].as_str().unwrap()) {
            return frame;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w33_whoever_was_in_a_deleted_room_is_in_no_room_and_may_be_in_the_next() {
    let cluster = TestCluster::start(2).await;
    let (mut ines, mut otto, room) = two_in_a_room(&cluster).await;
    assert_eq!(deletes(&mut ines, &room).await["type"], "delete_room_success");
    for (client, user) in [(&mut ines, "ines"), (&mut otto, "otto")] {
        next_of(client, "room_deleted").await;
        let refused = client.ask(&request::send_message(&room, user, "anybody?")).await;
        assert_eq!(refused["data"]["error_code"], "NOT_MEMBER", "{refused}");
        // It is in no room: it hears nothing, and joins under another name.
        let next = client.create(&format!("of {user}")).await;
        client.join(&next, "another name").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w38_a_dead_node_makes_no_deletion_impossible_and_hears_of_it_later() {
    let mut cluster = TestCluster::start(3).await;
    let (mut ines, _otto, room) = two_in_a_room(&cluster).await;
    cluster.crash(2).await;
    cluster.crash(3).await;
    assert_eq!(deletes(&mut ines, &room).await["type"], "delete_room_success");
    cluster.restart(2).await;
    is_gone(cluster.node(2), &room).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w39_a_requester_that_hangs_up_leaves_no_room_half_deleted() {
    let cluster = TestCluster::start(2).await;
    let (ines, mut otto, room) = two_in_a_room(&cluster).await;
    let mut ines = ines;
    ines.say(&delete(&room, "ines")).await;
    drop(ines);
    next_of(&mut otto, "room_deleted").await;
    is_gone(cluster.node(1), &room).await;
}

const HEARD: &str = "chat_frames_received_total";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w40_nobody_joins_or_speaks_while_a_room_is_being_deleted() {
    let (cluster, wire) = two_with_a_wire("node2").await;
    let (mut ines, mut otto, room) = two_in_a_room(&cluster).await;
    // The vote of node 2 is on its way for a while.
    wire.set(Wire::Silent);
    let mut creator = cluster.node(1).client().await;
    creator.say(&delete(&room, "ines")).await;
    next_of(&mut otto, "delete_room_initiated").await;
    let heard = [cluster.node(1).metric(HEARD).await, cluster.node(2).metric(HEARD).await];
    let mut late = cluster.node(1).client().await;
    late.say(&request::join_room(&room, "late")).await;
    ines.say(&request::send_message(&room, "ines", "too late")).await;
    otto.say(&request::send_message(&room, "otto", "too late")).await;
    // Whoever is heard after the end is in no room and is told that.
    cluster.node(1).wait_for_metric(HEARD, heard[0] + 2).await;
    cluster.node(2).wait_for_metric(HEARD, heard[1] + 1).await;
    wire.set(Wire::Open);
    assert_eq!(answer(&mut creator).await["type"], "delete_room_success");
    assert_eq!(
        next_of(&mut late, "join_room_error").await["data"]["error_code"],
        "ROOM_NOT_FOUND"
    );
    for client in [&mut ines, &mut otto] {
        assert_eq!(
            next_of(client, "message_error").await["data"]["error_code"],
            "ROOM_NOT_FOUND"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w41_members_behind_a_node_that_could_not_be_told_are_told_later() {
    let mut cluster = TestCluster::start(2).await;
    let (_ines, mut otto, room) = two_in_a_room(&cluster).await;
    cluster.crash(1).await;
    // Nobody but node 1 can know; its next life has heard of nobody yet.
    cluster.restart(1).await;
    let mut ines = cluster.node(1).client().await;
    assert_eq!(deletes(&mut ines, &room).await["type"], "delete_room_success");
    next_of(&mut otto, "room_deleted").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w42_a_coordinator_that_dies_leaves_nobody_prepared() {
    let (mut cluster, wire) = two_with_a_wire("node2").await;
    let (_ines, mut otto, room) = two_in_a_room(&cluster).await;
    wire.set(Wire::Silent);
    let mut creator = cluster.node(1).client().await;
    creator.say(&delete(&room, "ines")).await;
    next_of(&mut otto, "delete_room_initiated").await;
    cluster.crash(1).await;
    wire.set(Wire::Open);
    cluster.restart(1).await;
    next_of(&mut otto, "delete_room_cancelled").await;
    otto.say(&request::send_message(&room, "otto", "still here")).await;
    let answered = loop {
        let frame = otto.next().await;
        if ["message_sent", "message_error"].contains(&frame["type"].as_str().unwrap()) {
            break frame;
        }
    };
    assert_eq!(answered["type"], "message_sent", "{answered}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w43_w45_w46_w47_a_vote_that_is_missing_keeps_the_room_and_everybody_hears_whose_it_was() {
    let (cluster, wire) = two_with_a_wire("node2").await;
    let (mut ines, mut otto, room) = two_in_a_room(&cluster).await;
    wire.set(Wire::Silent);
    let mut creator = cluster.node(1).client().await;
    creator.say(&delete(&room, "ines")).await;
    // Members on both nodes hear that it begins, and that it does not happen.
    for client in [&mut ines, &mut otto] {
        assert_eq!(
            next_of(client, "delete_room_initiated").await["data"]["initiator"],
            "ines"
        );
    }
    let failed = answer(&mut creator).await;
    assert_eq!(
        (&failed["data"]["error_code"], &failed["data"]["reason"]),
        (&json!("DELETION_FAILED"), &json!("Node node2 timed out"))
    );
    for client in [&mut ines, &mut otto] {
        assert_eq!(next_of(client, "delete_room_cancelled").await["data"]["room_id"], room);
    }
    wire.set(Wire::Open);
    ines.say(&request::send_message(&room, "ines", "still here")).await;
    next_of(&mut ines, "message_sent").await;
    assert_eq!(next_of(&mut otto, "new_message").await["data"]["content"], "still here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w44_no_call_from_outside_deletes_a_room_or_cancels_a_deletion() {
    let cluster = TestCluster::start(2).await;
    let (mut ines, mut otto, room) = two_in_a_room(&cluster).await;
    for n in [1, 2] {
        for third in [text("node1"), text("node2"), text("hall"), Param::Nil] {
            let params = [text(&room), text("forged"), third];
            let prepared = call(cluster.node(n), method::PREPARE_DELETE_ROOM, &params)
                .await
                .unwrap();
            let Param::Struct(vote) = prepared else {
                panic!("{prepared:?}")
            };
            // Whoever administers the room has something against it; nobody else has a say.
            assert_eq!(vote["vote"], text(if n == 1 { "ABORT" } else { "READY" }));
            let committed = call(cluster.node(n), method::COMMIT_DELETE_ROOM, &params)
                .await
                .unwrap();
            let Param::Struct(answer) = committed else {
                panic!("{committed:?}")
            };
            assert_eq!(answer["success"], Param::Boolean(n == 2));
            let params = [text(&room), text("forged")];
            call(cluster.node(n), method::ROLLBACK_DELETE_ROOM, &params)
                .await
                .unwrap();
        }
    }
    assert_eq!(ines.send(&room, "ines", "still here").await, 1);
    assert_eq!(otto.next().await["data"]["content"], "still here");
    let metrics = cluster.node(1).metrics().await;
    assert!(metrics.contains("chat_deletions_forged_total 4"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w48_a_room_is_deleted_from_whatever_node_its_creator_is_at() {
    let cluster = TestCluster::start(2).await;
    let (_ines, mut otto, room) = two_in_a_room(&cluster).await;
    let mut creator = cluster.node(2).client().await;
    assert_eq!(deletes(&mut creator, &room).await["type"], "delete_room_success");
    next_of(&mut otto, "room_deleted").await;
    is_gone(cluster.node(1), &room).await;
}
