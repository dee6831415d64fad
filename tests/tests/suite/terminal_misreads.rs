//! What confuses the terminal client of the original system, said by a server that follows a script: whoever tests a node
//! with it must know that it notices.

use chat_tests::terminal::TerminalClient;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

fn rooms(ids: &[&str]) -> Value {
    let room = |id: &&str| {
        json!({"room_id": id, "room_name": "hall", "description": null, "member_count": 1,
        "admin_node": "n", "creator_id": "ines"})
    };
    json!({"type": "global_rooms_list", "data": {"rooms": ids.iter().map(room).collect::<Vec<_>>(),
        "total_count": ids.len(), "nodes_queried": [], "nodes_available": [], "nodes_unavailable": []}})
}

fn joined() -> Value {
    json!({"type": "join_room_success", "data": {"room_id": "R1", "room_name": "hall", "description": null,
        "members": ["ines", "otto"], "member_count": 2, "admin_node": "n"}})
}

fn message(number: u64) -> Value {
    json!({"type": "new_message", "data": {"message_id": format!("m{number}"), "room_id": "R1", "username": "otto",
        "content": format!("t{number}"), "sequence_number": number, "timestamp": "2030-01-01T10:20:30.5+00:00"}})
}

fn left(room: &str, user: &str) -> Value {
    json!({"type": "member_left", "data": {"room_id": room, "username": user, "member_count": 1, "timestamp": "x",
        "reason": "Inactivity"}})
}

/// A client of a server that says this behind each request, in this order. It has asked for rooms, and there is one.
async fn client(script: Vec<Vec<Value>>) -> TerminalClient {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut socket = accept_async(listener.accept().await.unwrap().0).await.unwrap();
        for frames in std::iter::once(vec![rooms(&["R1"])]).chain(script) {
            let request = socket.next().await.unwrap().unwrap();
            assert!(request.is_text(), "{request}");
            for frame in frames {
                socket.send(Message::text(frame.to_string())).await.unwrap();
            }
        }
        // What else is asked is not answered, and nothing is closed.
        while let Some(Ok(_)) = socket.next().await {}
    });
    TerminalClient::connect_to(&url, "ines").await
}

/// With what words the client gives up.
async fn confusion(user: impl Future<Output = ()> + Send + 'static) -> String {
    let panicked = tokio::spawn(user).await.expect_err("the client did not notice");
    let words = panicked.into_panic();
    words.downcast_ref::<String>().expect("words and a frame").clone()
}

#[tokio::test]
async fn whatever_comes_first_is_the_local_list() {
    let said = confusion(async {
        let stray = json!({"type": "leave_room_success", "data": {"room_id": "R1", "username": "ines"}});
        let mut ines = client(vec![vec![stray, rooms(&[])]]).await;
        ines.local_only().await;
    });
    assert!(
        said.await
            .contains("misread as the local list: {\"data\":{\"room_id\":\"R1\"")
    );
}

#[tokio::test]
async fn nine_frames_may_come_before_an_answer_and_ten_may_not() {
    let before = |count: u64| async move {
        let list: Vec<Value> = (1..=count).map(message).chain([rooms(&["R1", "R2"])]).collect();
        let mut ines = client(vec![list]).await;
        ines.refresh().await;
        assert_eq!(ines.rooms.len(), 2);
    };
    before(9).await;
    let said = confusion(before(10)).await;
    assert!(said.contains("for the answer [\"global_rooms_list\"]"), "{said}");
    assert!(said.contains("\"t10\""), "{said}");
}

#[tokio::test]
async fn a_room_that_is_listed_twice_and_a_created_one_with_one_key_too_many_are_errors() {
    let said = confusion(async {
        client(vec![vec![rooms(&["R1", "R1"])]]).await.refresh().await;
    });
    assert!(said.await.starts_with("Some(\"R1\") twice"));
    let said = confusion(async {
        let created = json!({"type": "room_created", "data": {"room_id": "R2", "room_name": "x", "admin_node": "n",
            "members": [], "created_at": "t", "creator_id": "ines"}});
        let mut ines = client(vec![vec![created], vec![rooms(&[])]]).await;
        let _room = ines.create("x", None).await;
    });
    assert!(said.await.contains("\"creator_id\":\"ines\""));
}

#[tokio::test]
async fn a_message_before_the_room_is_open_is_lost() {
    let said = confusion(async {
        let mut ines = client(vec![vec![message(1), joined()]]).await;
        let _joined = ines.join("R1").await;
    });
    assert!(
        said.await
            .contains("thrown away before the room is open: {\"data\":{\"content\":\"t1\"")
    );
}

#[tokio::test]
async fn a_hole_and_a_history_that_begins_late_silence_the_room() {
    for numbers in [vec![6, 7], vec![1, 2, 4]] {
        let last = *numbers.last().unwrap();
        let said = confusion(async move {
            let room = std::iter::once(joined()).chain(numbers.into_iter().map(message));
            let mut ines = client(vec![room.collect()]).await;
            ines.join("R1").await.unwrap();
            ines.read_until_shown(&format!("t{last}")).await;
        });
        let said = said.await;
        assert!(said.starts_with("a hole behind "), "{said}");
    }
}

#[tokio::test]
async fn a_repeat_is_counted_and_another_message_with_its_number_is_lost() {
    let mut again = message(2);
    again["data"]["message_id"] = json!("another");
    let room = vec![joined(), message(1), message(2), message(1), message(3)];
    let mut ines = client(vec![room.clone()]).await;
    ines.join("R1").await.unwrap();
    ines.read_until_shown("t3").await;
    assert_eq!(ines.here().contents(), ["t1", "t2", "t3"]);
    assert_eq!(ines.here().repeats, 1);

    let said = confusion(async move {
        let mut ines = client(vec![[room, vec![again]].concat()]).await;
        ines.join("R1").await.unwrap();
        ines.read_until_shown("t4").await;
    });
    let said = said.await;
    assert!(said.contains("lost: ") && said.contains("another"), "{said}");
}

#[tokio::test]
async fn events_of_the_room_change_the_screen_and_its_own_leave_closes_it() {
    let carol = json!({"type": "member_joined", "data": {"room_id": "R1", "username": "carol", "member_count": 3,
        "timestamp": "x"}});
    let failed = json!({"type": "delete_room_failed", "data": {"room_id": "R1", "reason": "why", "error_code": "X"}});
    let room = vec![joined(), carol, left("R1", "otto"), failed, left("R1", "ines")];
    let mut ines = client(vec![room, vec![rooms(&[])]]).await;
    ines.join("R1").await.unwrap();
    let (chat, status) = ines.read_until_thrown_out().await;
    assert_eq!(status, "You were removed from 'hall' due to inactivity.");
    assert_eq!(
        chat.members.iter().map(String::as_str).collect::<Vec<_>>(),
        ["carol", "ines"]
    );
    assert_eq!(
        chat.notes,
        [
            "carol joined the room",
            "otto left the room (inactivity)",
            "Room deletion failed: why"
        ]
    );
    assert_eq!(ines.rooms, Vec::<Value>::new(), "it looked for rooms again");
}

#[tokio::test]
async fn what_is_about_another_room_and_what_the_dialect_does_not_know_is_noticed() {
    let deleted = |room| json!({"type": "room_deleted", "data": {"room_id": room, "room_name": "hall"}});
    let mut ines = client(vec![vec![joined(), deleted("R1")], vec![rooms(&[])]]).await;
    ines.join("R1").await.unwrap();
    assert_eq!(ines.read_until_thrown_out().await.1, "Room 'hall' has been deleted.");

    // The original leaves its room at the first of these, and takes the others for nothing.
    for frame in [
        deleted("R2"),
        left("R2", "ines"),
        json!({"type": "degraded", "data": {"room_id": "R1", "reason": "x"}}),
        json!({"type": "error", "data": {"success": false, "message": "x"}}),
    ] {
        let shown = frame.to_string();
        let said = confusion(async move {
            let mut ines = client(vec![vec![joined(), frame], vec![rooms(&[])]]).await;
            ines.join("R1").await.unwrap();
            ines.read().await;
        });
        let said = said.await;
        assert!(said.contains(&shown), "{said}");
    }
}
