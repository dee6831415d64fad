//! Many of something: what works for a few must not end at a few hundred.

use crate::terminal::calm;
use chat_tests::PATIENCE;
use chat_tests::extended::Extended;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio::time::{Instant, timeout};

/// Rooms of one session: above what anybody has, below the default bound.
const ROOMS: usize = 300;

/// Asks for the same thing about every room, as many at once as a session may, and gives everything that comes.
async fn about_all(session: &mut Extended, rooms: &[String], kind: &str, data: impl Fn(&str) -> Value) -> Vec<Value> {
    let (mut seen, mut answered, mut asked) = (Vec::new(), 0, 0);
    while answered < rooms.len() {
        while asked < rooms.len() && asked < answered + 16 {
            session.say(asked as u64, kind, data(&rooms[asked])).await;
            asked += 1;
        }
        let frame = timeout(PATIENCE, session.next()).await.unwrap();
        answered += usize::from(frame.get("re").is_some());
        seen.push(frame);
    }
    seen
}

fn count(frames: &[Value], kind: &str) -> usize {
    frames.iter().filter(|frame| frame["type"] == kind).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_session_is_in_three_hundred_rooms_of_three_nodes_and_comes_back_to_all_of_them() {
    let cluster = calm(3, |config| config.limits.seat_grace = PATIENCE).await;
    let mut rooms = Vec::new();
    for n in 0..ROOMS {
        let mut creator = Extended::new(cluster.node(1 + n % 3), "creator").await;
        let made = creator
            .ask("create_room", json!({"room_name": format!("room {n}")}))
            .await;
        rooms.push(made["data"]["room_id"].as_str().unwrap().to_owned());
    }
    let mut ines = Extended::new(cluster.node(1), "ines").await;
    let seen = about_all(&mut ines, &rooms, "join_room", |room| json!({"room_id": room})).await;
    let others: Vec<_> = seen
        .iter()
        .filter(|frame| frame["type"] != "join_room_success")
        .collect();
    assert_eq!((count(&seen, "join_room_success"), others), (ROOMS, Vec::new()));
    let said = |room: &str| json!({"room_id": room, "content": format!("in {room}"), "client_msg_id": "only"});
    let seen = about_all(&mut ines, &rooms, "send_message", said).await;
    let others: Vec<_> = seen
        .iter()
        .filter(|frame| frame["type"] != "message_sent" && frame["type"] != "new_message")
        .collect();
    assert_eq!((count(&seen, "message_sent"), others), (ROOMS, Vec::new()));
    assert_eq!(count(&seen, "new_message"), ROOMS, "each before its confirmation");
    // On another node, and somebody spoke in every room meanwhile.
    let token = ines.token();
    drop(ines);
    let mut otto = Extended::new(cluster.node(3), "otto").await;
    about_all(
        &mut otto,
        &rooms,
        "join_room",
        |room| json!({"room_id": room, "history": 0}),
    )
    .await;
    about_all(&mut otto, &rooms, "send_message", said).await;
    let mut ines = Extended::resume(cluster.node(2), "ines", &token).await;
    let back = |room: &str| json!({"room_id": room, "from": {"gen": 1, "seq": 1}});
    let mut seen = about_all(&mut ines, &rooms, "join_room", back).await;
    let resumed = seen.iter().filter(|frame| frame["data"]["resumed"] == true).count();
    let others: Vec<_> = seen
        .iter()
        .filter(|frame| frame["data"]["resumed"] != true && frame["type"] != "new_message")
        .collect();
    assert_eq!((resumed, others), (ROOMS, Vec::new()));
    let deadline = Instant::now() + PATIENCE;
    while count(&seen, "new_message") < ROOMS {
        assert!(Instant::now() < deadline);
        seen.push(ines.next().await);
    }
    let missed: BTreeMap<&str, (u64, &str)> = seen
        .iter()
        .filter(|frame| frame["type"] == "new_message")
        .map(|frame| &frame["data"])
        .map(|data| {
            let text = |field: &str| data[field].as_str().unwrap();
            (
                text("room_id"),
                (data["sequence_number"].as_u64().unwrap(), text("content")),
            )
        })
        .collect();
    for room in &rooms {
        assert_eq!(missed[room.as_str()], (2, format!("in {room}").as_str()));
    }
}
