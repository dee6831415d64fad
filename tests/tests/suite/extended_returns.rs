//! Extended sessions that come back: to their node, to another one, after a restart of this or of the room's.

use super::extended::{kinds, room, talk, texts, until};
use chat_tests::extended::Extended;
use chat_tests::{PATIENCE, TestCluster};
use serde_json::json;
use std::collections::BTreeSet;
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_comes_back_misses_nothing_and_was_never_gone() {
    let cluster = TestCluster::start_with(3, |config| config.limits.seat_grace = PATIENCE).await;
    let room = room(&cluster, 1).await;
    let mut witness = cluster.node(1).client().await;
    witness.join(&room, "witness").await;
    let mut speaker = Extended::new(cluster.node(2), "speaker").await;
    speaker.join(&room, None).await;
    assert_eq!(witness.next().await["data"]["username"], "speaker");
    let mut ines = Extended::new(cluster.node(1), "ines").await;
    let joined = ines.join(&room, None).await;
    assert_eq!(
        (&joined["gen"], &joined["first_seq"], &joined["head_seq"]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!(joined["resumed"], false);
    assert_eq!(witness.next().await["data"]["username"], "ines");
    assert_eq!(speaker.next().await["data"]["username"], "ines");
    let token = ines.token();
    let mut sent = 0;
    // On the admin node, on a node that follows the room already, and on one that has never seen it.
    for n in [1, 2, 3] {
        drop(ines);
        talk(&mut speaker, &room, sent + 1..=sent + 30).await;
        ines = Extended::resume(cluster.node(n), "ines", &token).await;
        assert_eq!(ines.welcome["data"]["resumed"], true);
        assert_eq!(ines.token(), token);
        let joined = ines.join(&room, Some((1, sent))).await;
        assert_eq!(
            (&joined["resumed"], &joined["first_seq"]),
            (&json!(true), &json!(sent + 1)),
            "{joined}"
        );
        let messages = ines.messages(30).await;
        assert_eq!(messages, texts(sent + 1..=sent + 30));
        sent += 30;
        // Live again.
        talk(&mut speaker, &room, sent + 1..=sent + 1).await;
        sent += 1;
        assert_eq!(ines.messages(1).await, texts(sent..=sent));
    }
    for n in 1..=sent {
        let frame = witness.next().await;
        assert_eq!(
            (&frame["type"], &frame["data"]["sequence_number"]),
            (&json!("new_message"), &json!(n)),
            "{frame}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_that_is_void_is_said_to_be() {
    let cluster = TestCluster::start(2).await;
    let room = room(&cluster, 1).await;
    for n in [1, 2] {
        let mut ines = Extended::new(cluster.node(n), &format!("ines{n}")).await;
        for (position, reason) in [((1, 99), "ahead"), ((7, 0), "generation")] {
            ines.join(&room, Some(position)).await;
            let resync = ines.next().await;
            assert_eq!(
                resync,
                json!({"type": "resync_required", "data":
                    {"room_id": room, "gen": 1, "from_seq": 1, "reason": reason}})
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_opens_only_the_seats_of_its_user_and_only_while_they_wait() {
    let cluster = TestCluster::start(2).await;
    let room = room(&cluster, 1).await;
    let mut witness = cluster.node(2).client().await;
    witness.join(&room, "witness").await;
    let mut ines = Extended::new(cluster.node(1), "ines").await;
    ines.join(&room, None).await;
    assert_eq!(witness.next().await["data"]["username"], "ines");
    let token = ines.token();
    let mut wrong: Vec<String> = vec!["nonsense".into(), String::new(), token[1..].into()];
    wrong.push(format!("{}.{}", "0".repeat(32), "0".repeat(32)));
    for token in &wrong {
        let session = Extended::resume(cluster.node(2), "ines", token).await;
        assert_eq!(session.welcome["data"]["resumed"], false, "{token}");
        assert_ne!(&session.token(), token);
    }
    let eve = Extended::resume(cluster.node(2), "eve", &token).await;
    assert_eq!(eve.welcome["data"]["resumed"], false, "another user's token");
    // A forged secret of the right user has the right form; the room knows better.
    let forged = format!("{}.{}", &token[..32], "0".repeat(32));
    let mut forger = Extended::resume(cluster.node(2), "ines", &forged).await;
    assert_eq!(forger.join(&room, None).await["resumed"], false);
    drop(forger);
    drop(ines);
    // Nobody comes back: it leaves after the grace, and then the token is worth nothing.
    let left = until(&mut witness, |frame| frame["type"] == "member_left").await;
    assert_eq!(kinds(&left), ["member_left"], "{left:?}");
    assert_eq!(left[0]["data"]["reason"], "User disconnected");
    let mut late = Extended::resume(cluster.node(1), "ines", &token).await;
    assert_eq!(late.join(&room, None).await["resumed"], false);
    assert_eq!(witness.next().await["type"], "member_joined");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newer_connection_with_a_token_wins_and_the_older_is_told_why_it_is_closed() {
    let cluster = TestCluster::start(2).await;
    let room = room(&cluster, 1).await;
    let mut older = Extended::new(cluster.node(1), "ines").await;
    older.join(&room, None).await;
    let token = older.token();
    for n in [1, 2, 1] {
        let mut newer = Extended::resume(cluster.node(n), "ines", &token).await;
        assert_eq!(newer.join(&room, Some((1, 0))).await["resumed"], true);
        assert_eq!(older.client.close_code().await, Some(4409), "taken over on node {n}");
        older = newer;
    }
    assert_eq!(older.send(&room, "still here", "id").await["type"], "message_sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarting_admin_node_gets_its_members_back_and_nobody_hears_of_it() {
    let mut cluster = TestCluster::start_with(3, |config| config.limits.seat_grace = PATIENCE).await;
    let room = room(&cluster, 1).await;
    let mut classic = cluster.node(2).client().await;
    classic.join(&room, "classic").await;
    let mut remote = Extended::new(cluster.node(3), "remote").await;
    remote.join(&room, None).await;
    let mut local = Extended::new(cluster.node(1), "local").await;
    local.join(&room, None).await;
    until(&mut classic, |frame| frame["data"]["username"] == "local").await;
    until(&mut remote.client, |frame| frame["data"]["username"] == "local").await;
    let token = local.token();
    cluster.crash(1).await;
    cluster.restart(1).await;
    let mut local = Extended::resume(cluster.node(1), "local", &token).await;
    let joined = local.join(&room, Some((1, 0))).await;
    assert_eq!(joined["resumed"], true, "{joined}");
    assert_eq!(joined["members"], json!(["classic", "local", "remote"]), "{joined}");
    assert_eq!(local.send(&room, "back", "id-1").await["data"]["sequence_number"], 1);
    assert_eq!(
        kinds(&until(&mut classic, |frame| frame["type"] == "new_message").await),
        ["new_message"]
    );
    let seen = until(&mut remote.client, |frame| frame["type"] == "new_message").await;
    let seen: BTreeSet<_> = kinds(&seen).into_iter().collect();
    assert!(
        seen.is_subset(&BTreeSet::from(["new_message", "degraded", "recovered"])),
        "{seen:?}"
    );
    assert_eq!(remote.send(&room, "too", "id-2").await["data"]["sequence_number"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_admin_is_down_extended_sessions_are_told_and_may_read_what_is_held() {
    let mut cluster = TestCluster::start(2).await;
    let room = room(&cluster, 1).await;
    let mut ines = Extended::new(cluster.node(2), "ines").await;
    ines.join(&room, None).await;
    talk(&mut ines, &room, 1..=5).await;
    cluster.crash(1).await;
    let degraded = ines.next().await;
    assert_eq!(
        (&degraded["type"], &degraded["data"]["room_id"]),
        (&json!("degraded"), &json!(room))
    );
    let refused = ines.send(&room, "lost?", "id-6").await;
    assert_eq!(refused["data"]["error_code"], "ADMIN_NODE_UNAVAILABLE", "{refused}");
    assert_eq!(
        refused["data"]["outcome"], "definite",
        "it was not even forwarded: {refused}"
    );
    let held = ines.ask("read_history", json!({"room_id": room, "after_seq": 2})).await;
    assert_eq!(held["data"]["stale"], true, "{held}");
    assert_eq!(held["data"]["messages"].as_array().unwrap().len(), 3, "{held}");
    // Who was not in the room here cannot come in now.
    let mut otto = Extended::new(cluster.node(2), "otto").await;
    let refused = otto
        .ask("join_room", json!({"room_id": room, "from": {"gen": 1, "seq": 2}}))
        .await;
    assert_eq!(refused["data"]["error_code"], "ADMIN_NODE_UNAVAILABLE", "{refused}");
    cluster.restart(1).await;
    assert_eq!(ines.next().await["type"], "recovered");
    assert_eq!(ines.send(&room, "lost?", "id-6").await["data"]["sequence_number"], 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_node_sends_its_sessions_away_and_they_go_on_elsewhere() {
    let cluster = TestCluster::start_with(2, |config| config.limits.seat_grace = PATIENCE).await;
    let room = room(&cluster, 2).await;
    let mut witness = cluster.node(2).client().await;
    witness.join(&room, "witness").await;
    let mut ines = Extended::new(cluster.node(1), "ines").await;
    ines.join(&room, None).await;
    assert_eq!(witness.next().await["type"], "member_joined");
    cluster.node(1).shutdown.request();
    let told = ines.next().await;
    assert_eq!(
        (&told["type"], &told["data"]["reason"]),
        (&json!("reconnect"), &json!("node is restarting"))
    );
    let token = ines.token();
    let mut moved = Extended::resume(cluster.node(2), "ines", &token).await;
    assert_eq!(moved.join(&room, Some((1, 0))).await["resumed"], true);
    assert_eq!(moved.send(&room, "moved", "id").await["data"]["sequence_number"], 1);
    assert_eq!(
        kinds(&until(&mut witness, |frame| frame["type"] == "new_message").await),
        ["new_message"]
    );
    let deadline = Instant::now() + PATIENCE;
    let code = ines.client.close_code().await;
    assert!([Some(1012), Some(4409)].contains(&code), "{code:?}");
    assert!(Instant::now() < deadline);
}
