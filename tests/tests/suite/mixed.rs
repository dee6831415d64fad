//! Nodes of ours in one cluster with original ones.

use chat_client::request;
use chat_tests::mixed::{MixedCluster, Place};
use chat_tests::{Client, PATIENCE};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn text(text: &str) -> dxr::Value {
    dxr::Value::String(text.to_owned())
}

/// `alice` is in a room of original1, which believes that `otto` of node1 is in it, too.
async fn a_member_of_ours_at_an_original(cluster: &MixedCluster) -> (Client, String) {
    let mut alice = cluster.client(Place::Original(1)).await;
    let room = alice.create("hall").await;
    alice.join(&room, "alice").await;
    let params = [text(&room), text("otto"), text("node1")];
    cluster.original(1).call("join_room", &params).await.unwrap();
    assert_eq!(alice.next().await["data"]["username"], "otto");
    (alice, room)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_pass_both_ways() {
    let cluster = MixedCluster::start(1, 1).await;
    let (_alice, _) = a_member_of_ours_at_an_original(&cluster).await;
    let original = cluster.original(1);
    let enough = |count: &Value| count.as_u64() >= Some(3);
    let report = original
        .report_until(|report| enough(&report["received"]["heartbeat"]) && enough(&report["made"]["heartbeat"]["ok"]))
        .await;
    assert_eq!(report["health"], json!({"node1": "healthy"}), "{report}");
    assert_eq!(report["made"]["heartbeat"]["failed"], 0, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_original_removes_the_members_of_a_node_of_ours_that_is_gone() {
    let mut cluster = MixedCluster::start(1, 1).await;
    let (mut alice, room) = a_member_of_ours_at_an_original(&cluster).await;
    cluster.kill(Place::Ours(1)).await;
    let left = alice.next().await;
    assert_eq!(left["type"], "member_left", "{left}");
    assert_eq!(left["data"]["reason"], "Node unreachable", "{left}");
    let report = cluster.original(1).report().await;
    assert_eq!(report["health"], json!({"node1": "failed"}), "{report}");
    assert_eq!(
        report["rooms"][&room]["members"],
        json!({"alice": "original1"}),
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_original_that_dies_or_stands_still_is_noticed_and_so_is_its_return() {
    let mut cluster = MixedCluster::start(2, 2).await;
    let original = Place::Original(1);
    let everybody: Vec<_> = cluster.places().map(Place::id).collect();
    let others: Vec<_> = everybody.iter().filter(|id| **id != original.id()).cloned().collect();
    for dies in [true, false] {
        if dies {
            cluster.kill(original).await;
        } else {
            cluster.original(1).freeze().await;
        }
        for n in [1, 2] {
            cluster.wait_until_reached(Place::Ours(n), &others).await;
        }
        if dies {
            cluster.restart(original).await;
        } else {
            cluster.original(1).thaw();
        }
        for n in [1, 2] {
            cluster.wait_until_reached(Place::Ours(n), &everybody).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_of_both_kinds_of_nodes_are_in_the_lists_of_both() {
    let cluster = MixedCluster::start(2, 2).await;
    let mut rooms = BTreeSet::new();
    for place in cluster.places() {
        let mut client = cluster.client(place).await;
        rooms.insert((client.create("hall").await, place.id()));
    }
    for place in cluster.places() {
        let mut client = cluster.client(place).await;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let list = client.ask(&request::discover_rooms()).await;
            let entries = list["data"]["rooms"].as_array().unwrap();
            let text = |entry: &Value, key: &str| entry[key].as_str().unwrap().to_owned();
            let found: BTreeSet<_> = entries
                .iter()
                .map(|e| (text(e, "room_id"), text(e, "admin_node")))
                .collect();
            assert_eq!(found.len(), entries.len(), "no room twice: {list}");
            if found == rooms {
                break;
            }
            // A node of ours may answer from a list that it made a moment ago.
            assert!(tokio::time::Instant::now() < deadline, "{place:?}: {list}");
        }
    }
}
