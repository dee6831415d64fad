//! Corruption and loss in normal use.

use super::*;
use crate::extended::talk;
use chat_tests::extended::Extended;
use chat_tests::proxy::Wire;
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w1_no_frame_is_altered_while_two_nodes_talk_to_each_other() {
    let cluster = TestCluster::start(2).await;
    let (mut ines, mut otto, room) = two_in_a_room(&cluster).await;
    let (seen, too) = tokio::join!(
        converse(&mut ines, &room, "ines", 200, 400),
        converse(&mut otto, &room, "otto", 200, 400)
    );
    assert_eq!(seen, too);
    let said: BTreeSet<String> = seen.into_iter().collect();
    let wanted = (0..200).flat_map(|n| [text("ines", n), text("otto", n)]);
    assert_eq!(said, wanted.collect());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w2_traffic_that_crosses_between_two_nodes_never_blocks() {
    let cluster = TestCluster::start(2).await;
    // A room of each node, with a member on the other one.
    let (mut here, mut there, one) = two_in_a_room(&cluster).await;
    let (mut ada, mut bob) = (cluster.node(2).client().await, cluster.node(1).client().await);
    let two = ada.create("cellar").await;
    ada.join(&two, "ada").await;
    bob.join(&two, "bob").await;
    let (a, b, c, d) = tokio::join!(
        converse(&mut here, &one, "ines", 200, 400),
        converse(&mut there, &one, "otto", 200, 400),
        converse(&mut ada, &two, "ada", 200, 400),
        converse(&mut bob, &two, "bob", 200, 400),
    );
    assert_eq!((a, c), (b, d));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w3_a_late_joiner_of_a_long_room_sees_numbers_from_one_and_goes_on() {
    let cluster = TestCluster::start(2).await;
    let mut speaker = Extended::new(cluster.node(1), "speaker").await;
    let made = speaker
        .ask("create_room", serde_json::json!({"room_name": "long"}))
        .await;
    let room = made["data"]["room_id"].as_str().unwrap().to_owned();
    speaker.join(&room, None).await;
    talk(&mut speaker, &room, 1..=1_200).await;
    for n in [1, 2] {
        let mut late = cluster.node(n).client().await;
        late.join(&room, &format!("late{n}")).await;
        for number in 1..=1_000 {
            let frame = late.next().await;
            assert_eq!(frame["data"]["sequence_number"], number, "node {n}: {frame}");
            // The newest 1,000; two more were said before the second one came.
            let nth = 200 + number + 2 * (n - 1);
            assert!(nth > 1_200 || frame["data"]["content"] == format!("m{nth}"), "{frame}");
        }
        let said = late.send(&room, &format!("late{n}"), "now").await;
        assert_eq!(said, 1_001, "its own message is the next");
        talk(&mut speaker, &room, 1_200 + 2 * n as u64..=1_200 + 2 * n as u64).await;
        assert_eq!(late.next().await["data"]["sequence_number"], 1_002);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w4_whoever_speaks_is_not_thrown_out_for_being_idle() {
    let cluster = TestCluster::start_with(2, |config| {
        config.limits.inactivity = std::time::Duration::from_millis(500);
    })
    .await;
    let (mut ines, mut otto, room) = two_in_a_room(&cluster).await;
    let mut said = 0;
    // Ines goes on until Otto, who says nothing, is gone; three times over.
    for _ in 0..3 {
        loop {
            ines.say(&request::send_message(&room, "ines", "still here")).await;
            said += 1;
            let mut left = false;
            loop {
                let frame = ines.next().await;
                left |= frame["type"] == "member_left";
                assert_ne!(
                    (&frame["type"], &frame["data"]["username"]),
                    (&"member_left".into(), &"ines".into())
                );
                if frame["type"] == "message_sent" {
                    assert_eq!(frame["data"]["sequence_number"], said);
                    break;
                }
            }
            if left {
                break;
            }
        }
        let left = next_of(&mut otto, "member_left").await;
        assert_eq!(
            (&left["data"]["username"], &left["data"]["reason"]),
            (&"otto".into(), &"Inactivity".into())
        );
        otto.join(&room, "otto").await;
    }
}

/// Joiners come one after the other while somebody speaks on another node: none may have a hole.
async fn joins_under_load(joiners_at: usize) {
    let cluster = TestCluster::start(2).await;
    let (mut ines, mut otto, room) = two_in_a_room(&cluster).await;
    let joins = async {
        for n in 0..40 {
            let name = format!("joiner{n}");
            let mut joiner = cluster.node(joiners_at).client().await;
            joiner.join(&room, &name).await;
            // Its history and at least one live message, without a hole from 1 on.
            let shown = converse(&mut joiner, &room, &name, 1, 1).await;
            assert!(!shown.is_empty());
            joiner.say(&request::leave_room(&room, &name)).await;
            next_of(&mut joiner, "leave_room_success").await;
        }
    };
    let (said, heard, ()) = tokio::join!(
        converse(&mut ines, &room, "ines", 150, 340),
        converse(&mut otto, &room, "otto", 150, 340),
        joins
    );
    assert_eq!(said, heard);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w5_no_join_on_another_node_falls_between_history_and_live_messages() {
    joins_under_load(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w8_joins_and_leaves_during_a_broadcast_lose_nothing_for_anybody() {
    joins_under_load(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w6_members_of_a_node_that_could_not_be_reached_get_everything_when_it_can() {
    let (cluster, wire) = two_with_a_wire("node1").await;
    let (mut ines, mut otto, room) = two_in_a_room(&cluster).await;
    ines.send(&room, "ines", "before").await;
    wire.set(Wire::Reset);
    for n in 2..=50 {
        assert_eq!(ines.send(&room, "ines", &format!("number {n}")).await, n);
    }
    wire.set(Wire::Open);
    for n in 1..=50 {
        let frame = otto.next().await;
        assert_eq!(frame["data"]["sequence_number"], n, "{frame}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w7_poison_text_is_refused_at_the_edge_and_harms_nobody() {
    let cluster = TestCluster::start(2).await;
    let (mut ines, mut otto, room) = two_in_a_room(&cluster).await;
    for poison in ["\\u0001", "\\u000b", "\\ud800", "\\uffff"] {
        let data = format!(r#"{{"room_id":"{room}","username":"ines","content":"a{poison}b"}}"#);
        let refused = ines.ask(&format!(r#"{{"type":"send_message","data":{data}}}"#)).await;
        assert_eq!(refused["data"]["error_code"], "INVALID_CONTENT", "{poison}: {refused}");
        for field in ["room_name", "description", "creator_id"] {
            let mut data = serde_json::json!({"room_name": "poisoned", "creator_id": "ines", "description": "x"});
            data[field] = "a!b".into();
            let text = serde_json::json!({"type": "create_room", "data": data}).to_string();
            let refused = ines.ask(&text.replace('!', poison)).await;
            assert_eq!(refused["data"]["success"], false, "{field} with {poison}: {refused}");
        }
    }
    assert_eq!(ines.send(&room, "ines", "after").await, 1);
    assert_eq!(otto.next().await["data"]["sequence_number"], 1, "there is no hole");
    let mut late = cluster.node(2).client().await;
    late.join(&room, "late").await;
    assert_eq!(late.next().await["data"]["content"], "after");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w9_a_connection_that_closes_during_a_broadcast_costs_others_nothing() {
    let cluster = TestCluster::start(2).await;
    let (mut ines, mut otto, room) = two_in_a_room(&cluster).await;
    let closing = async {
        for n in 0..40 {
            let mut guest = cluster.node(1 + n % 2).client().await;
            guest.join(&room, &format!("guest{n}")).await;
            // Dropped without a word, with deliveries under way.
        }
    };
    let (said, heard, ()) = tokio::join!(
        converse(&mut ines, &room, "ines", 150, 300),
        converse(&mut otto, &room, "otto", 150, 300),
        closing
    );
    assert_eq!(said, heard);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w10_history_and_live_messages_of_one_room_never_mix() {
    let cluster = TestCluster::start(1).await;
    let mut ines = cluster.node(1).client().await;
    let room = ines.create("hall").await;
    ines.join(&room, "ines").await;
    let joins = async {
        for n in 0..30 {
            let mut late = cluster.node(1).client().await;
            let joined = late.join(&room, &format!("late{n}")).await;
            assert_eq!(joined["type"], "join_room_success", "before all history");
            converse(&mut late, &room, "", 0, 3).await;
        }
    };
    tokio::join!(converse(&mut ines, &room, "ines", 300, 300), joins);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w11_a_forwarded_message_whose_answer_was_lost_is_not_doubled_by_a_repeat() {
    let (cluster, wire) = two_with_a_wire("node1").await;
    let room = cluster.node(1).client().await.create("hall").await;
    let mut otto = Extended::new(cluster.node(2), "otto").await;
    otto.join(&room, None).await;
    // The forward arrives; its answer does not.
    wire.set(Wire::Silent);
    let data = serde_json::json!({"room_id": room, "content": "once", "client_msg_id": "id"});
    otto.say("first", "send_message", data).await;
    let token = otto.token();
    let mut witness = Extended::new(cluster.node(1), "witness").await;
    let mut seen = Vec::new();
    witness
        .ask_with("join_room", serde_json::json!({"room_id": room}), &mut seen)
        .await;
    next_of(&mut witness.client, "new_message").await;
    let mut again = Extended::resume(cluster.node(1), "otto", &token).await;
    again.join(&room, Some((1, 1))).await;
    let repeated = again.send(&room, "once", "id").await;
    assert_eq!(repeated["data"]["duplicate"], true, "{repeated}");
    assert_eq!(repeated["data"]["sequence_number"], 1);
    wire.set(Wire::Open);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w12_line_ends_are_the_same_on_every_node() {
    let cluster = TestCluster::start(2).await;
    let (mut ines, mut otto, room) = two_in_a_room(&cluster).await;
    for client in [true, false] {
        let (sender, name) = if client {
            (&mut ines, "ines")
        } else {
            (&mut otto, "otto")
        };
        sender.say(&request::send_message(&room, name, "a\r\nb\rc\nd")).await;
        for reader in [&mut ines, &mut otto] {
            let shown = next_of(reader, "new_message").await;
            assert_eq!(shown["data"]["content"], "a\nb\nc\nd");
        }
    }
}
