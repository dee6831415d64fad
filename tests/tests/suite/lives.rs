//! One node, several lives: nothing of a former one counts, and no number is given twice.

use super::extended::{room, talk, texts};
use super::peer_port::call;
use chat_client::request;
use chat_protocol::ids::{ClientMsgId, Incarnation, NodeId, RoomId, SessionId, UserName};
use chat_protocol::peer_call::{Capabilities, Exchange, method};
use chat_protocol::peer_item::{PeerBody, PeerItem};
use chat_tests::extended::Extended;
use chat_tests::{PATIENCE, TestCluster, TestNode};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

async fn incarnation(node: &TestNode) -> Incarnation {
    let answer = call(node, method::CAPABILITIES, &[]).await.unwrap();
    Capabilities::from_value(&answer).unwrap().incarnation
}

/// Numbers and contents of a room, read by somebody new.
async fn log(node: &TestNode, room: &str) -> Vec<(u64, String)> {
    let mut reader = Extended::new(node, "reader").await;
    let joined = reader.join(room, Some((1, 0))).await;
    let count = usize::try_from(joined["head_seq"].as_u64().unwrap()).unwrap();
    reader.messages(count).await
}

/// Sends under an id, again and again until it is confirmed; what else comes is passed over.
async fn send_for_sure(session: &mut Extended, room: &str, content: &str, id: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let data = json!({"room_id": room, "content": content, "client_msg_id": id});
        let answer = session.ask_with("send_message", data, &mut Vec::new()).await;
        if answer["type"] == "message_sent" {
            return answer["data"].clone();
        }
        assert!(Instant::now() < deadline, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_that_no_heartbeat_notices_gives_no_number_twice_and_loses_nothing() {
    let mut cluster = TestCluster::start_with(2, |config| {
        config.limits.heartbeat_interval = Duration::from_millis(500);
        config.limits.heartbeat_failed = Duration::from_secs(5);
    })
    .await;
    let room = room(&cluster, 1).await;
    let mut ines = Extended::new(cluster.node(2), "ines").await;
    ines.join(&room, None).await;
    talk(&mut ines, &room, 1..=3).await;
    for life in 2..=4 {
        // Of the admin node, and of the node of the sender.
        for n in [1, 2] {
            let before = incarnation(cluster.node(n)).await;
            let token = ines.token();
            cluster.crash(n).await;
            cluster.restart(n).await;
            assert!(incarnation(cluster.node(n)).await > before);
            if n == 2 {
                ines = Extended::resume(cluster.node(2), "ines", &token).await;
                let at = json!({"gen": 1, "seq": 0});
                let join = json!({"room_id": room, "from": at});
                let deadline = Instant::now() + PATIENCE;
                while ines.ask("join_room", join.clone()).await["type"] != "join_room_success" {
                    assert!(Instant::now() < deadline);
                }
            }
            let content = format!("life {life} of {n}");
            let sent = send_for_sure(&mut ines, &room, &content, &content).await;
            let again = send_for_sure(&mut ines, &room, &content, &content).await;
            assert_eq!(sent["sequence_number"], again["sequence_number"]);
        }
    }
    let log = log(cluster.node(1), &room).await;
    let mut wanted = texts(1..=3);
    let spoken = (2..=4).flat_map(|life| [1, 2].map(|n| format!("life {life} of {n}")));
    wanted.extend((4..).zip(spoken));
    assert_eq!(log, wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_former_life_of_a_member_node_sends_is_refused_and_what_was_taken_is_not_taken_again() {
    let mut cluster = TestCluster::start(2).await;
    let room = room(&cluster, 1).await;
    let former = incarnation(cluster.node(2)).await;
    cluster.crash(2).await;
    cluster.restart(2).await;
    let mut ines = Extended::new(cluster.node(2), "ines").await;
    ines.join(&room, None).await;
    talk(&mut ines, &room, 1..=2).await;
    let (here, there) = (incarnation(cluster.node(1)).await, incarnation(cluster.node(2)).await);
    let forged = |sender_incarnation, receiver_incarnation, first_index| {
        let join = PeerBody::Join {
            request: 1,
            session: SessionId(77),
            user: UserName::parse("ghost").unwrap(),
            key: None,
        };
        let say = PeerBody::Forward {
            request: 2,
            session: SessionId(77),
            user: UserName::parse("ghost").unwrap(),
            content: "boo".into(),
            client_msg_id: ClientMsgId::parse("boo").unwrap(),
        };
        let item = |body| {
            let room = RoomId::parse(&room).unwrap();
            Some(PeerItem::new(room, body))
        };
        Exchange {
            sender: NodeId::parse("node2").unwrap(),
            sender_incarnation,
            receiver_incarnation,
            first_index,
            items: vec![item(join), item(say)],
        }
        .to_params()
    };
    for (sender, receiver, first) in [
        (former, here, 0),
        (former, here, 1_000),
        (there, Incarnation(here.0 - 1), 0),
    ] {
        let fault = call(cluster.node(1), method::EXCHANGE, &forged(sender, receiver, first)).await;
        assert_eq!(fault.unwrap_err().text, "another life of the node");
    }
    // The life is right, but these indexes were taken: the items are dropped.
    call(cluster.node(1), method::EXCHANGE, &forged(there, here, 0))
        .await
        .unwrap();
    talk(&mut ines, &room, 3..=3).await;
    assert_eq!(log(cluster.node(1), &room).await, texts(1..=3));
    let mut otto = cluster.node(1).client().await;
    let joined = otto.join(&room, "otto").await;
    assert_eq!(joined["data"]["members"], json!(["ines", "otto", "reader"]), "no ghost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admin_node_that_lost_its_disk_says_so_and_its_rooms_are_gone_for_everybody() {
    let mut cluster = TestCluster::start(2).await;
    let room = room(&cluster, 1).await;
    let mut ines = Extended::new(cluster.node(2), "ines").await;
    ines.join(&room, None).await;
    let mut otto = cluster.node(2).client().await;
    otto.join(&room, "otto").await;
    assert_eq!(ines.next().await["type"], "member_joined");
    talk(&mut ines, &room, 1..=3).await;
    for n in 1..=3 {
        assert_eq!(otto.next().await["data"]["sequence_number"], n);
    }
    let before = incarnation(cluster.node(1)).await;
    cluster.crash(1).await;
    cluster.lose_disk(1);
    cluster.restart(1).await;
    assert!(
        incarnation(cluster.node(1)).await > before,
        "an empty disk does not go back"
    );
    // Both dialects hear that they are out.
    for (client, name) in [(&mut otto, "otto"), (&mut ines.client, "ines")] {
        loop {
            let frame = client.next().await;
            match frame["type"].as_str().unwrap() {
                "member_left" if frame["data"]["username"] == name => {
                    assert_eq!(frame["data"]["reason"], "Node unreachable", "{frame}");
                    break;
                }
                "degraded" | "recovered" | "member_left" => {}
                _ => panic!("{frame}"),
            }
        }
    }
    let refused = ines
        .ask(
            "send_message",
            json!({"room_id": room, "content": "x", "client_msg_id": "x"}),
        )
        .await;
    assert_eq!(
        (&refused["data"]["error_code"], &refused["data"]["outcome"]),
        (&json!("NOT_MEMBER"), &json!("definite")),
        "{refused}"
    );
    let refused = otto.ask(&request::join_room(&room, "otto")).await;
    assert_eq!(refused["data"]["error_code"], "ROOM_NOT_FOUND", "{refused}");
    // The same name is another room, with numbers of its own.
    let another = super::extended::room(&cluster, 1).await;
    assert_ne!(another, room);
    ines.join(&another, None).await;
    talk(&mut ines, &another, 1..=1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_node_that_lost_its_disk_gets_every_message_from_the_admin() {
    let mut cluster = TestCluster::start(2).await;
    let room = room(&cluster, 1).await;
    let mut ines = Extended::new(cluster.node(2), "ines").await;
    ines.join(&room, None).await;
    talk(&mut ines, &room, 1..=5).await;
    let token = ines.token();
    cluster.crash(2).await;
    cluster.lose_disk(2);
    cluster.restart(2).await;
    let mut ines = Extended::resume(cluster.node(2), "ines", &token).await;
    assert_eq!(ines.join(&room, Some((1, 2))).await["resumed"], true);
    assert_eq!(ines.messages(3).await, texts(3..=5));
    talk(&mut ines, &room, 6..=7).await;
    let again = ines.send(&room, "m5", "id-5").await;
    assert_eq!(again["data"]["duplicate"], true, "{again}");
    assert_eq!(log(cluster.node(1), &room).await, texts(1..=7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_clock_went_back_is_a_later_life_all_the_same() {
    let mut cluster = TestCluster::start(2).await;
    let room = room(&cluster, 1).await;
    let mut ines = Extended::new(cluster.node(2), "ines").await;
    ines.join(&room, None).await;
    talk(&mut ines, &room, 1..=1).await;
    // In its former life the clock of node 1 was a hundred years ahead.
    let ahead = incarnation(cluster.node(1)).await.0 + 100 * 365 * 86_400_000;
    cluster.crash(1).await;
    cluster.pretend_former_life(1, Incarnation(ahead));
    for life in 1..=3 {
        cluster.restart(1).await;
        assert_eq!(incarnation(cluster.node(1)).await, Incarnation(ahead + life));
        let content = format!("life {life}");
        let sent = send_for_sure(&mut ines, &room, &content, &content).await;
        assert_eq!(sent["sequence_number"], 1 + life);
        cluster.crash(1).await;
    }
}
