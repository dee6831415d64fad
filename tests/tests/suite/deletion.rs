//! Rooms are deleted, from any node, for everybody, by whoever created them and nobody else.

use super::extended::room as room_of;
use chat_client::request;
use chat_tests::extended::Extended;
use chat_tests::{Client, PATIENCE, TestCluster, TestNode};
use serde_json::{Value, json};
use tokio::time::Instant;

pub(crate) fn delete(room: &str, user: &str) -> String {
    json!({"type": "delete_room", "data": {"room_id": room, "username": user}}).to_string()
}

/// A frame without the id of the attempt, which is checked to be one; and that id.
pub(crate) fn without_transaction(mut frame: Value) -> (Value, Option<String>) {
    let id = frame["data"].as_object_mut().unwrap().remove("transaction_id");
    let id = id.map(|id| id.as_str().unwrap().to_owned());
    assert!(id.as_ref().is_none_or(|id| id.len() == 36), "{frame}");
    (frame, id)
}

/// The frames of a requester that is in the room, or is not, in their order; gives the id of the attempt.
async fn is_deleted_for_the_requester(client: &mut Client, room: &str, variant: Option<Variant>) -> String {
    let (first, transaction) = without_transaction(client.next().await);
    let transaction = transaction.unwrap();
    assert_eq!(first, initiated(room));
    if variant.is_some() {
        assert_eq!(client.next().await, initiated(room));
    }
    assert_eq!(
        client.next().await,
        json!({"type": "delete_room_success", "data": {"room_id": room, "transaction_id": transaction,
               "message": "Room deleted successfully"}})
    );
    if let Some(variant) = variant {
        assert_eq!(client.next().await, deleted(room, variant, &transaction));
    }
    transaction
}

/// Behind which node a member is.
#[derive(Clone, Copy)]
enum Variant {
    Admin,
    Member,
}

fn initiated(room: &str) -> Value {
    json!({"type": "delete_room_initiated", "data": {"room_id": room, "initiator": "ines", "status": "in_progress"}})
}

fn deleted(room: &str, variant: Variant, transaction: &str) -> Value {
    let data = match variant {
        Variant::Admin => json!({"room_id": room, "room_name": "hall", "message": "Room 'hall' has been deleted"}),
        Variant::Member => json!({"room_id": room, "room_name": "hall", "transaction_id": transaction}),
    };
    json!({"type": "room_deleted", "data": data})
}

/// Asks for a room until nobody knows it.
pub(crate) async fn is_gone(node: &TestNode, room: &str) {
    let mut client = node.client().await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = client.ask(&request::join_room(room, "latecomer")).await;
        if answer["data"]["error_code"] == "ROOM_NOT_FOUND" {
            break;
        }
        assert!(Instant::now() < deadline, "{answer}");
        if answer["type"] == "join_room_success" {
            // The node has not heard of it yet, or there still is one: either way it must be told.
            client = node.client().await;
        }
    }
    let list = client.ask(&request::discover_rooms()).await;
    let rooms = list["data"]["rooms"].as_array().unwrap();
    assert!(rooms.iter().all(|listed| listed["room_id"] != room), "{list}");
}

/// Nothing more comes to a client: the answer to its next request is the next frame.
async fn hears_nothing_more(client: &mut Client) {
    assert_eq!(client.ask(&request::list_rooms()).await["type"], "rooms_list");
}

/// `ines` at node 1, which administers the room, `otto` at node 2, `vera` at node 3.
async fn three_in_a_room(cluster: &TestCluster) -> (Client, Client, Client, String) {
    let mut ines = cluster.node(1).client().await;
    let mut otto = cluster.node(2).client().await;
    let mut vera = cluster.node(3).client().await;
    let room = ines.create("hall").await;
    ines.join(&room, "ines").await;
    otto.join(&room, "otto").await;
    ines.next().await;
    vera.join(&room, "vera").await;
    ines.next().await;
    otto.next().await;
    (ines, otto, vera, room)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_is_deleted_on_its_admin_node_with_the_frames_of_the_original_and_its_name_is_free() {
    let cluster = TestCluster::start(3).await;
    let (mut ines, mut otto, mut vera, room) = three_in_a_room(&cluster).await;
    otto.send(&room, "otto", "ahoy").await;
    for client in [&mut ines, &mut vera] {
        assert_eq!(client.next().await["data"]["content"], "ahoy");
    }
    ines.say(&delete(&room, "ines")).await;
    let transaction = is_deleted_for_the_requester(&mut ines, &room, Some(Variant::Admin)).await;
    for client in [&mut otto, &mut vera] {
        assert_eq!(client.next().await, initiated(&room));
        assert_eq!(client.next().await, deleted(&room, Variant::Member, &transaction));
        hears_nothing_more(client).await;
    }
    hears_nothing_more(&mut ines).await;
    for n in 1..=3 {
        is_gone(cluster.node(n), &room).await;
    }
    // Whoever was in it is in no room: what it sends is refused without asking anybody.
    let refused = otto.ask(&request::send_message(&room, "otto", "anybody?")).await;
    assert_eq!(refused["data"]["error_code"], "NOT_MEMBER");
    let again = ines.create("hall").await;
    assert_ne!(again, room);
    otto.join(&again, "otto").await;
    assert_eq!(otto.send(&again, "otto", "a new one").await, 1);
    let metrics = cluster.node(1).metrics().await;
    for line in [
        "chat_deletions_started_total 1",
        "chat_deletions_committed_total 1",
        "chat_deletions_aborted_total{reason=\"timed_out\"} 0",
        "chat_deletion_seconds_count 1",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line} is missing in\n{metrics}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_is_deleted_from_another_node_by_a_member_there() {
    let cluster = TestCluster::start(3).await;
    let mut otto = cluster.node(1).client().await;
    let room = otto.create("hall").await;
    otto.join(&room, "otto").await;
    let mut ines = cluster.node(2).client().await;
    ines.join(&room, "ines").await;
    otto.next().await;
    let mut vera = cluster.node(3).client().await;
    vera.join(&room, "vera").await;
    otto.next().await;
    ines.next().await;
    ines.say(&delete(&room, "ines")).await;
    let transaction = is_deleted_for_the_requester(&mut ines, &room, Some(Variant::Member)).await;
    hears_nothing_more(&mut ines).await;
    for (client, variant) in [(&mut otto, Variant::Admin), (&mut vera, Variant::Member)] {
        assert_eq!(client.next().await, initiated(&room));
        assert_eq!(client.next().await, deleted(&room, variant, &transaction));
        hears_nothing_more(client).await;
    }
    for n in 1..=3 {
        is_gone(cluster.node(n), &room).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_created_a_room_deletes_it_from_any_node_without_being_in_it() {
    let cluster = TestCluster::start(2).await;
    for n in [1, 2] {
        let room = cluster.node(1).client().await.create("hall").await;
        let mut ines = cluster.node(n).client().await;
        ines.say(&delete(&room, "ines")).await;
        is_deleted_for_the_requester(&mut ines, &room, None).await;
        hears_nothing_more(&mut ines).await;
        is_gone(cluster.node(1), &room).await;
        is_gone(cluster.node(2), &room).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_but_its_creator_deletes_a_room_and_everybody_is_told_why() {
    let cluster = TestCluster::start(2).await;
    let mut ines = cluster.node(1).client().await;
    let room = ines.create("hall").await;
    let refusal = |room: &str, reason: &str, code: &str| json!({"type": "delete_room_failed", "data": {"room_id": room, "reason": reason, "error_code": code}});
    for n in [1, 2] {
        let mut otto = cluster.node(n).client().await;
        let only = "Only the room creator can delete the room";
        assert_eq!(
            otto.ask(&delete(&room, "otto")).await,
            refusal(&room, only, "UNAUTHORIZED")
        );
        assert_eq!(
            otto.ask(&delete("nowhere", "otto")).await,
            refusal("nowhere", "Room not found", "ROOM_NOT_FOUND")
        );
        assert_eq!(
            otto.ask(&delete(&room, "")).await,
            refusal(&room, "Missing room_id or username", "INVALID_REQUEST")
        );
        // A name is the connection's own as soon as it is in the room under one.
        otto.join(&room, "otto").await;
        assert_eq!(
            otto.ask(&delete(&room, "ines")).await,
            refusal(&room, only, "UNAUTHORIZED")
        );
        let mut pretender = Extended::new(cluster.node(n), "otto").await;
        let data = json!({"room_id": room, "username": "ines"});
        let refused = pretender.ask("delete_room", data).await;
        assert_eq!(refused["data"]["error_code"], "INVALID_REQUEST", "{refused}");
    }
    ines.join(&room, "ines").await;
    ines.say(&request::send_message(&room, "ines", "still here")).await;
    // Those who were refused come and go meanwhile.
    while ines.next().await["type"] != "message_sent" {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extended_session_sees_who_is_waited_for_wherever_it_is() {
    let cluster = TestCluster::start(2).await;
    for n in [1, 2] {
        let room = room_of(&cluster, 1).await;
        let mut otto = Extended::new(cluster.node(2), "otto").await;
        otto.join(&room, None).await;
        let mut ines = Extended::new(cluster.node(n), "ines").await;
        ines.say("d", "delete_room", json!({"room_id": room})).await;
        let mut phases = Vec::new();
        let success = loop {
            let frame = ines.next().await;
            assert_eq!(frame["re"], "d", "{frame}");
            match frame["type"].as_str().unwrap() {
                "delete_room_initiated" => assert_eq!(frame["data"]["initiator"], "ines"),
                "delete_room_progress" => {
                    assert_eq!(frame["data"]["room_id"], room);
                    let names = |key: &str| frame["data"][key].as_array().unwrap().len();
                    phases.push((frame["data"]["phase"].clone(), names("ready"), names("waiting_for")));
                }
                _ => break frame,
            }
        };
        assert_eq!(success["type"], "delete_room_success", "{success}");
        let expected = [
            (json!("preparing"), 0, 1),
            (json!("preparing"), 1, 0),
            (json!("committing"), 0, 1),
            (json!("committing"), 1, 0),
        ];
        assert_eq!(phases, expected);
        assert_eq!(otto.next().await, initiated(&room));
        assert_eq!(otto.next().await["type"], "room_deleted");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_whose_requester_is_gone_at_once_ends_all_the_same() {
    let cluster = TestCluster::start(2).await;
    for n in [1, 2] {
        let mut ines = cluster.node(n).client().await;
        let room = cluster.node(1).client().await.create("hall").await;
        let mut otto = cluster.node(2).client().await;
        otto.join(&room, "otto").await;
        ines.say(&delete(&room, "ines")).await;
        drop(ines);
        assert_eq!(otto.next().await, initiated(&room));
        assert_eq!(otto.next().await["type"], "room_deleted");
        is_gone(cluster.node(2), &room).await;
        is_gone(cluster.node(1), &room).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_deletions_at_once_one_succeeds_and_the_others_say_why_they_do_not() {
    let cluster = TestCluster::start(3).await;
    let (_ines, _otto, _vera, room) = three_in_a_room(&cluster).await;
    let mut askers = Vec::new();
    for n in [1, 2, 3, 1, 2, 3] {
        askers.push(cluster.node(n).client().await);
    }
    for asker in &mut askers {
        asker.say(&delete(&room, "ines")).await;
    }
    let mut succeeded = 0;
    for asker in &mut askers {
        let last = loop {
            let frame = asker.next().await;
            if frame["type"] != "delete_room_initiated" {
                break frame;
            }
        };
        match last["type"].as_str().unwrap() {
            "delete_room_success" => succeeded += 1,
            _ => {
                let code = last["data"]["error_code"].as_str().unwrap();
                assert!(["INVALID_STATE", "ROOM_NOT_FOUND"].contains(&code), "{last}");
            }
        }
    }
    assert_eq!(succeeded, 1);
    for n in 1..=3 {
        is_gone(cluster.node(n), &room).await;
    }
}

/// Says things until the room is gone. What was confirmed came back before; nothing is confirmed afterwards.
async fn speak_until_deleted(mut client: Client, room: String, user: &'static str) -> Result<u64, Value> {
    let (mut confirmed, mut gone) = (0, false);
    for count in 0.. {
        client
            .say(&request::send_message(&room, user, &format!("{user} {count}")))
            .await;
        loop {
            let frame = client.next().await;
            match frame["type"].as_str().unwrap() {
                "message_sent" if gone => return Err(frame),
                "message_sent" => {
                    confirmed += 1;
                    break;
                }
                "message_error" => {
                    let code = frame["data"]["error_code"].as_str().unwrap();
                    if !["ROOM_NOT_FOUND", "NOT_MEMBER", "INVALID_STATE"].contains(&code) {
                        return Err(frame);
                    }
                    if code == "NOT_MEMBER" && !gone {
                        return Err(frame);
                    }
                    if gone {
                        return Ok(confirmed);
                    }
                    break;
                }
                "room_deleted" => gone = true,
                _ => {}
            }
        }
    }
    Ok(confirmed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_races_with_sends_joins_and_leaves_and_nothing_is_confirmed_afterwards() {
    let cluster = TestCluster::start(3).await;
    for round in 0..8_usize {
        let mut ines = cluster.node(1).client().await;
        let room = ines.create("hall").await;
        let mut speakers = Vec::new();
        for (n, user) in [(1, "anna"), (2, "otto"), (3, "vera")] {
            let mut client = cluster.node(n).client().await;
            client.join(&room, user).await;
            speakers.push(tokio::spawn(speak_until_deleted(client, room.clone(), user)));
        }
        let mut restless = Vec::new();
        for n in 1..=3 {
            let mut client = cluster.node(n).client().await;
            let room = room.clone();
            restless.push(tokio::spawn(async move {
                let user = format!("restless{n}");
                loop {
                    client.say(&request::join_room(&room, &user)).await;
                    let answer = loop {
                        let frame = client.next().await;
                        if ["join_room_success", "join_room_error"].contains(&frame["type"].as_str().unwrap()) {
                            break frame;
                        }
                    };
                    match answer["data"]["error_code"].as_str() {
                        Some("ROOM_NOT_FOUND") => return,
                        Some(_) => continue,
                        None => {}
                    }
                    client.say(&request::leave_room(&room, &user)).await;
                    while client.next().await["type"] != "leave_room_success" {}
                }
            }));
        }
        let mut deleter = cluster.node(round % 3 + 1).client().await;
        deleter.say(&delete(&room, "ines")).await;
        is_deleted_for_the_requester(&mut deleter, &room, None).await;
        for speaker in speakers {
            let ended = tokio::time::timeout(PATIENCE, speaker).await;
            ended.unwrap().unwrap().unwrap();
        }
        for client in restless {
            tokio::time::timeout(PATIENCE, client).await.unwrap().unwrap();
        }
        is_gone(cluster.node(1), &room).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_room_stays_deleted_over_restarts_and_its_id_is_not_used_again() {
    let mut cluster = TestCluster::start(2).await;
    let mut ines = Extended::new(cluster.node(1), "ines").await;
    let create = json!({"room_name": "hall", "request_id": "once"});
    let created = ines.ask("create_room", create.clone()).await;
    let room = created["data"]["room_id"].as_str().unwrap().to_owned();
    ines.join(&room, None).await;
    ines.send(&room, "ahoy", "1").await;
    let mut before = Vec::new();
    let mut answer = ines
        .ask_with("delete_room", json!({"room_id": room}), &mut before)
        .await;
    while answer["type"] != "delete_room_success" {
        answer = ines.next().await;
        assert_ne!(answer["type"], "delete_room_failed", "{answer}");
    }
    assert_eq!(ines.next().await["type"], "room_deleted");
    let refused = ines.ask("create_room", create).await;
    assert_eq!(refused["data"]["success"], false, "{refused}");
    for _ in 0..2 {
        is_gone(cluster.node(1), &room).await;
        is_gone(cluster.node(2), &room).await;
        cluster.crash(1).await;
        cluster.restart(1).await;
    }
}
