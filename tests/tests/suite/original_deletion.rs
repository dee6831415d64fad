//! Deletion across both kinds of nodes, in the three calls of the original: against a peer that plays it from a script.

use super::deletion::{delete, is_gone, without_transaction};
use super::original_calls::{ask, in_a_room, node_beside, node_with};
use super::original_rooms::{host, otto_joins};
use chat_client::request;
use chat_tests::scripted_peer::{Says, ScriptedPeer, as_struct, members, text};
use chat_tests::{Client, PATIENCE, TestNode};
use dxr::Value;
use serde_json::json;
use tokio::time::Instant;

fn votes(word: &str) -> Says {
    Says::Value(members([("vote", text(word)), ("node_id", text("node3"))]))
}

fn finished() -> Says {
    Says::Value(members([("success", Value::Boolean(true)), ("node_id", text("node3"))]))
}

/// The peer votes like this, and obeys.
fn votes_with(peer: &ScriptedPeer, says: Says) {
    peer.says("prepare_delete_room", [says]);
    peer.says("commit_delete_room", [finished()]);
    peer.says("rollback_delete_room", [finished()]);
}

/// `ines` in a room of node 1, in which `otto` is behind the peer.
async fn with_otto_there(peer: &ScriptedPeer, node: &TestNode) -> (Client, String) {
    let (mut ines, room) = in_a_room(node).await;
    ask(node, "join_room", &[&room, "otto", "node3"]).await;
    assert_eq!(ines.next().await["data"]["username"], "otto");
    assert!(peer.is_quiet());
    (ines, room)
}

/// The last answer to a deletion, and the id of the attempt.
async fn answer(client: &mut Client) -> (serde_json::Value, Option<String>) {
    loop {
        let frame = client.next().await;
        if ["delete_room_success", "delete_room_failed"].contains(&frame["type"].as_str().unwrap()) {
            return without_transaction(frame);
        }
    }
}

// === the room is ours

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_of_ours_goes_behind_its_last_message_when_the_peer_agrees() {
    let peer = ScriptedPeer::start("node3").await;
    votes_with(&peer, votes("READY"));
    let node = node_beside(&peer).await;
    let (mut ines, room) = with_otto_there(&peer, &node).await;
    ines.send(&room, "ines", "the last one").await;
    ines.say(&delete(&room, "ines")).await;
    let (success, transaction) = answer(&mut ines).await;
    assert_eq!(success["type"], "delete_room_success", "{success}");
    let transaction = transaction.unwrap();
    assert_eq!(peer.next_message().await, (1, "the last one".into()));
    assert_eq!(
        peer.next_of("prepare_delete_room").await,
        [text(&room), text(&transaction), text("node1")]
    );
    assert_eq!(
        peer.next_of("commit_delete_room").await,
        [text(&room), text(&transaction), text("hall")]
    );
    is_gone(&node, &room).await;
    // A client behind the peer hears the same.
    let refused = ask(&node, "forward_message", &[&room, "otto", "anybody?", "node3"]).await;
    assert_eq!(as_struct(&refused)["error_code"], text("ROOM_NOT_FOUND"));
    let refused = ask(&node, "join_room", &[&room, "otto", "node3"]).await;
    assert_eq!(as_struct(&refused)["error_code"], text("ROOM_NOT_FOUND"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_of_ours_stays_when_the_peer_has_something_against_it() {
    let peer = ScriptedPeer::start("node3").await;
    let node = node_beside(&peer).await;
    let (mut ines, room) = with_otto_there(&peer, &node).await;
    for (reason, said) in [
        (Some("Room in COMMITTING state"), "Room in COMMITTING state"),
        (None, "Node node3 voted ABORT"),
    ] {
        let vote = match reason {
            Some(reason) => members([("vote", text("ABORT")), ("reason", text(reason))]),
            None => members([("vote", text("ABORT"))]),
        };
        votes_with(&peer, Says::Value(vote));
        ines.say(&delete(&room, "ines")).await;
        let (failed, transaction) = answer(&mut ines).await;
        assert_eq!(
            failed,
            json!({"type": "delete_room_failed", "data": {"room_id": room, "reason": said, "error_code": "DELETION_FAILED"}})
        );
        let transaction = transaction.unwrap();
        peer.next_of("prepare_delete_room").await;
        assert_eq!(
            peer.next_of("rollback_delete_room").await,
            [text(&room), text(&transaction)]
        );
        assert_eq!(ines.next().await["type"], "delete_room_cancelled");
    }
    let sent = ask(&node, "forward_message", &[&room, "otto", "still here", "node3"]).await;
    assert_eq!(as_struct(&sent)["success"], Value::Boolean(true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_answers_nonsense_or_not_at_all_blocks_no_deletion_and_is_told() {
    let peer = ScriptedPeer::start("node3").await;
    let node = node_with(&peer, |limits| limits.original_failed = PATIENCE).await;
    for says in [
        Says::Fault("<class 'Exception'>:no"),
        Says::Value(Value::Nil),
        Says::Value(members([])),
        Says::HangsUp,
    ] {
        votes_with(&peer, says);
        let (mut ines, room) = with_otto_there(&peer, &node).await;
        ines.say(&delete(&room, "ines")).await;
        assert_eq!(answer(&mut ines).await.0["type"], "delete_room_success");
        peer.next_of("prepare_delete_room").await;
        assert_eq!(peer.next_of("commit_delete_room").await[0], text(&room));
    }
    // It takes the call and says nothing, for longer than it may.
    votes_with(&peer, votes("READY"));
    let (mut ines, room) = with_otto_there(&peer, &node).await;
    peer.hang(true);
    ines.say(&delete(&room, "ines")).await;
    assert_eq!(answer(&mut ines).await.0["type"], "delete_room_success");
    peer.hang(false);
    loop {
        let (method, params) = peer.next_call().await;
        assert_eq!(params[0], text(&room));
        if method == "commit_delete_room" {
            break;
        }
    }
    is_gone(&node, &room).await;
}

// === the room is the peer's

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_a_room_of_the_peer_are_told_what_it_decides() {
    let peer = ScriptedPeer::start("node3").await;
    host(&peer, &["otto"], &[]);
    let node = node_beside(&peer).await;
    let mut otto = otto_joins(&node).await;
    let vote = ask(&node, "prepare_delete_room", &["r-1", "t-1", "node3"]).await;
    assert_eq!(
        vote,
        members([
            ("node_id", text("node1")),
            ("transaction_id", text("t-1")),
            ("vote", text("READY")),
        ])
    );
    let obeyed = members([("node_id", text("node1")), ("success", Value::Boolean(true))]);
    assert_eq!(ask(&node, "rollback_delete_room", &["r-1", "t-1"]).await, obeyed);
    assert_eq!(
        otto.next().await,
        json!({"type": "delete_room_cancelled", "data": {"room_id": "r-1", "transaction_id": "t-1"}})
    );
    // Again; each word may come twice.
    for _ in 0..2 {
        ask(&node, "prepare_delete_room", &["r-1", "t-2", "node3"]).await;
    }
    for _ in 0..2 {
        assert_eq!(
            ask(&node, "commit_delete_room", &["r-1", "t-2", "old hall"]).await,
            obeyed
        );
    }
    assert_eq!(
        otto.next().await,
        json!({"type": "room_deleted", "data": {"room_id": "r-1", "room_name": "old hall", "transaction_id": "t-2"}})
    );
    // Late: nobody is in the room.
    ask(&node, "rollback_delete_room", &["r-1", "t-2"]).await;
    assert_eq!(otto.ask(&request::list_rooms()).await["type"], "rooms_list");
    assert_eq!(
        otto.ask(&request::send_message("r-1", "otto", "hi")).await["data"]["error_code"],
        "NOT_MEMBER"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_the_admin_node_did_not_announce_is_looked_into() {
    let peer = ScriptedPeer::start("node3").await;
    host(&peer, &["otto"], &[]);
    let node = node_beside(&peer).await;
    let mut otto = otto_joins(&node).await;
    peer.next_of("join_room").await;
    // Forged: a PREPARE of somebody else, of nobody, or none; and a COMMIT across a ROLLBACK.
    ask(&node, "prepare_delete_room", &["r-1", "t-1", "node9"]).await;
    for attempt in ["t-1", "t-2"] {
        ask(&node, "commit_delete_room", &["r-1", attempt, "old hall"]).await;
        peer.next_of("join_room").await;
    }
    ask(&node, "prepare_delete_room", &["r-1", "t-3", "node3"]).await;
    ask(&node, "rollback_delete_room", &["r-1", "t-3"]).await;
    assert_eq!(otto.next().await["type"], "delete_room_cancelled");
    ask(&node, "commit_delete_room", &["r-1", "t-3", "old hall"]).await;
    peer.next_of("join_room").await;
    // He is still in the room and hears what is said.
    assert_eq!(otto.ask(&request::list_rooms()).await["type"], "rooms_list");
    // The room is gone indeed: the COMMIT was lost, and somebody says so.
    let gone = members([
        ("success", Value::Boolean(false)),
        ("message", text("Room not found")),
        ("error_code", text("ROOM_NOT_FOUND")),
        ("room_info", Value::Nil),
        ("messages", Value::Array(vec![])),
    ]);
    peer.says("join_room", [Says::Value(gone)]);
    let deadline = Instant::now() + PATIENCE;
    // The look before may be under way.
    let told = loop {
        ask(&node, "commit_delete_room", &["r-1", "t-4", "old hall"]).await;
        let frame = otto.ask(&request::list_rooms()).await;
        if frame["type"] != "rooms_list" {
            break frame;
        }
        assert!(Instant::now() < deadline);
    };
    assert_eq!(told["type"], "room_deleted", "{told}");
    assert_eq!(told["data"]["room_name"], "old hall");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_of_the_peer_is_deleted_there_and_not_here() {
    let peer = ScriptedPeer::start("node3").await;
    host(&peer, &["otto"], &[]);
    let node = node_beside(&peer).await;
    let mut otto = otto_joins(&node).await;
    let refused = otto.ask(&delete("r-1", "otto")).await;
    assert_eq!(
        refused,
        json!({"type": "delete_room_failed", "data": {"room_id": "r-1", "reason": "Room not found",
               "error_code": "ROOM_NOT_FOUND"}})
    );
}
