//! Extended sessions that go from one node of ours to another, in a room of an original node, which knows names only.

use chat_node::config::Config;
use chat_tests::extended::Extended;
use chat_tests::mixed::{Event, Member, MixedCluster, Place};
use serde_json::{Value, json};
use std::time::Duration;

const ORIGINAL: Place = Place::Original(1);

/// Two nodes of ours, which wait half a second for a session, and an original one with a room in which `ines` is.
async fn start() -> (MixedCluster, Member) {
    let change = |config: &mut Config| config.limits.seat_grace = Duration::from_millis(500);
    let cluster = MixedCluster::start_with(2, 1, &[], change).await;
    let room = cluster.room(ORIGINAL).await;
    let ines = Member::join(&cluster, ORIGINAL, &room, "ines").await;
    (cluster, ines)
}

fn disconnected(name: &str, count: u64) -> Event {
    Event::left(name, count, Some("User disconnected"))
}

/// A session is lost at a node of ours, and gone. Whatever waited there before it has been decided then.
async fn somebody_comes_and_goes(cluster: &MixedCluster, node: usize, ines: &mut Member) {
    let mut emil = Extended::new(cluster.ours.node(node), "emil").await;
    emil.join(ines.room(), None).await;
    assert_eq!(ines.event().await, Event::came("emil", 3));
    drop(emil);
    assert_eq!(ines.event().await, disconnected("emil", 2));
}

/// The session goes on at a node, and has not left the room for anybody.
async fn resume(cluster: &MixedCluster, node: usize, room: &str, token: &str, seen: u64) -> Extended {
    let mut vera = Extended::resume(cluster.ours.node(node), "vera", token).await;
    let joined = vera.join(room, Some((1, seen))).await;
    let mut members: Vec<_> = joined["members"].as_array().unwrap().clone();
    members.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    assert_eq!(json!(members), json!(["ines", "vera"]));
    vera
}

async fn says(vera: &mut Extended, ines: &mut Member, content: &str) {
    let room = ines.room().to_owned();
    let sent = vera.send(&room, content, content).await;
    assert_eq!(sent["type"], "message_sent", "{sent}");
    assert_eq!(ines.message().await.1, content);
}

fn goodbyes(report: &Value) -> u64 {
    let said = &report["received"]["notify_member_disconnect"];
    said.as_u64().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_moves_is_not_said_to_be_gone_until_it_is() {
    let (cluster, mut ines) = start().await;
    let room = ines.room().to_owned();
    let mut vera = Extended::new(cluster.ours.node(1), "vera").await;
    vera.join(&room, None).await;
    assert_eq!(ines.event().await, Event::came("vera", 2));
    let token = vera.token();
    // There, and back again: each time the node that it left asks the one where it is.
    for (n, (left, at)) in [(1, 2), (2, 1)].into_iter().enumerate() {
        drop(vera);
        vera = resume(&cluster, at, &room, &token, n as u64).await;
        somebody_comes_and_goes(&cluster, left, &mut ines).await;
        while vera.next().await["type"] != "member_left" {}
        says(&mut vera, &mut ines, &format!("at node {at}")).await;
        assert_eq!(goodbyes(&cluster.original(1).report().await), n as u64 + 1, "Emil's");
    }
    drop(vera);
    assert_eq!(ines.event().await, disconnected("vera", 1));
}

/// The original does not note that a member has moved: it looks for it at the node through which it came. What that means is
/// not ours to change, but to know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_has_moved_is_lost_with_the_node_that_it_left_and_not_with_its_own() {
    let (mut cluster, mut ines) = start().await;
    let room = ines.room().to_owned();
    let mut vera = Extended::new(cluster.ours.node(1), "vera").await;
    vera.join(&room, None).await;
    assert_eq!(ines.event().await, Event::came("vera", 2));
    let token = vera.token();
    drop(vera);
    let vera = resume(&cluster, 2, &room, &token, 0).await;
    somebody_comes_and_goes(&cluster, 1, &mut ines).await;
    // Its node dies, and it stays: the one that it left has nothing to say any more.
    cluster.kill(Place::Ours(2)).await;
    drop(vera);
    let mut vera = resume(&cluster, 1, &room, &token, 0).await;
    says(&mut vera, &mut ines, "here I am").await;
    // It moves once more, and the node at which the original looks for it dies.
    cluster.restart(Place::Ours(2)).await;
    cluster.wait_until_connected().await;
    drop(vera);
    let mut vera = resume(&cluster, 2, &room, &token, 1).await;
    cluster.kill(Place::Ours(1)).await;
    assert_eq!(ines.event().await, Event::left("vera", 1, Some("Node unreachable")));
    let told = vera.next().await;
    assert_eq!(
        (&told["type"], &told["data"]["username"], &told["data"]["reason"]),
        (&json!("member_left"), &json!("vera"), &json!("Node unreachable"))
    );
    // She may join again, and is seen to.
    vera.join(&room, Some((1, 1))).await;
    assert_eq!(ines.event().await, Event::came("vera", 2));
    says(&mut vera, &mut ines, "me again").await;
}
