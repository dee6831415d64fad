//! Deletion in clusters of our nodes and original ones.

use super::deletion::delete;
use chat_client::request;
use chat_tests::Client;
use chat_tests::mixed::{MixedCluster, Place};

/// The types of the frames up to one of this type.
async fn until(client: &mut Client, kind: &str) -> Vec<String> {
    let mut kinds = Vec::new();
    loop {
        let frame = client.next().await;
        kinds.push(frame["type"].as_str().unwrap().to_owned());
        if frame["type"] == kind {
            return kinds;
        }
        assert!(kinds.len() < 20, "{frame}");
    }
}

/// Somebody is in the room at every node; its creator, who is not, deletes it.
async fn everybody_hears_of_the_end(cluster: &MixedCluster, admin: Place) {
    let room = cluster.room(admin).await;
    let mut members = Vec::new();
    for (n, place) in cluster.places().enumerate() {
        let mut client = cluster.client(place).await;
        client.say(&request::join_room(&room, &format!("user{n}"))).await;
        until(&mut client, "join_room_success").await;
        members.push((place, client));
    }
    let mut creator = cluster.client(admin).await;
    creator.say(&delete(&room, "ines")).await;
    let seen = until(&mut creator, "delete_room_success").await;
    assert_eq!(seen, ["delete_room_initiated", "delete_room_success"]);
    for (place, client) in &mut members {
        // Only ours say everywhere that it begins; a node of the original says so where it administers the room.
        let mut seen = until(client, "room_deleted").await;
        seen.retain(|kind| kind != "member_joined");
        let begins = *place == admin || matches!((admin, *place), (Place::Ours(_), Place::Ours(_)));
        let wanted: &[&str] = if begins {
            &["delete_room_initiated", "room_deleted"]
        } else {
            &["room_deleted"]
        };
        assert_eq!(seen, wanted, "at {place:?}, administered by {admin:?}");
        let answer = client.ask(&request::send_message(&room, "somebody", "hi")).await;
        assert_eq!(answer["type"], "message_error", "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_goes_on_all_nodes_of_both_kinds_whoever_administers_it() {
    for (ours, originals) in [(1, 2), (2, 1)] {
        let cluster = MixedCluster::start(ours, originals).await;
        let places: Vec<Place> = cluster.places().collect();
        for admin in places {
            everybody_hears_of_the_end(&cluster, admin).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_original_node_that_is_dead_keeps_no_room_of_ours() {
    let mut cluster = MixedCluster::start(1, 1).await;
    let room = cluster.room(Place::Ours(1)).await;
    let mut otto = cluster.client(Place::Original(1)).await;
    otto.say(&request::join_room(&room, "otto")).await;
    until(&mut otto, "join_room_success").await;
    let mut vera = cluster.client(Place::Ours(1)).await;
    vera.say(&request::join_room(&room, "vera")).await;
    until(&mut vera, "join_room_success").await;
    cluster.kill(Place::Original(1)).await;
    let mut creator = cluster.client(Place::Ours(1)).await;
    creator.say(&delete(&room, "ines")).await;
    until(&mut creator, "delete_room_success").await;
    until(&mut vera, "room_deleted").await;
}
