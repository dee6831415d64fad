//! Extended sessions that go from one node of ours to another, in a room of an original node, which knows names only.

use chat_client::request;
use chat_node::config::Config;
use chat_tests::PATIENCE;
use chat_tests::extended::Extended;
use chat_tests::mixed::{Event, Member, MixedCluster, Place};
use chat_tests::proxy::Proxy;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::time::Duration;

const ORIGINAL: Place = Place::Original(1);

/// Two nodes of ours, which wait half a second for a session, and an original one with a room in which `ines` is.
struct Three {
    cluster: MixedCluster,
    ines: Member,
    room: String,
    /// From the first node to the second.
    wire: Proxy,
    /// From the second node to the original one.
    wire_home: Proxy,
}

impl Three {
    /// Whoever asks waits for the answer, however long it takes.
    async fn start() -> Self {
        Self::start_with_patience(PATIENCE).await
    }

    async fn start_with_patience(patience: Duration) -> Self {
        let wires = RefCell::new(Vec::new());
        let change = |config: &mut Config| {
            config.limits.seat_grace = Duration::from_millis(500);
            config.limits.heartbeat_failed = patience;
            let me = config.node_id.as_str().to_owned();
            for (peer, url) in &mut config.peers {
                if [("node1", "node2"), ("node2", "original1")].contains(&(&me, peer.as_str())) {
                    let proxy = Proxy::to(url.authority().unwrap().as_str().parse().unwrap());
                    *url = format!("http://{}/", proxy.address()).parse().unwrap();
                    wires.borrow_mut().push(proxy);
                }
            }
        };
        let cluster = MixedCluster::start_with(2, 1, &[], change).await;
        let room = cluster.room(ORIGINAL).await;
        let ines = Member::join(&cluster, ORIGINAL, &room, "ines").await;
        // The nodes were configured in their order.
        let [wire, wire_home] = wires.into_inner().try_into().ok().unwrap();
        Self {
            cluster,
            ines,
            room,
            wire,
            wire_home,
        }
    }

    /// `vera` comes to the first node.
    async fn vera(&mut self) -> Extended {
        let mut vera = Extended::new(self.cluster.ours.node(1), "vera").await;
        vera.join(&self.room, None).await;
        assert_eq!(self.ines.event().await, Event::came("vera", 2));
        vera
    }

    /// Her session is lost, and goes on at a node: she has not left the room for anybody.
    async fn goes_on(&self, vera: Extended, node: usize, seen: u64) -> Extended {
        let token = vera.token();
        drop(vera);
        let mut vera = Extended::resume(self.cluster.ours.node(node), "vera", &token).await;
        let joined = vera.join(&self.room, Some((1, seen))).await;
        let mut members: Vec<_> = joined["members"].as_array().unwrap().clone();
        members.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        assert_eq!(json!(members), json!(["ines", "vera"]));
        vera
    }

    /// A session is lost at a node, and gone. Whatever waited there before it has been decided then.
    async fn somebody_comes_and_goes(&mut self, node: usize) {
        let mut emil = Extended::new(self.cluster.ours.node(node), "emil").await;
        emil.join(&self.room, None).await;
        assert_eq!(self.ines.event().await, Event::came("emil", 3));
        drop(emil);
        assert_eq!(self.ines.event().await, disconnected("emil", 2));
    }

    /// She is in the room, says something, and nothing else was seen.
    async fn says(&mut self, vera: &mut Extended, content: &str) {
        let data = json!({"room_id": self.room, "content": content, "client_msg_id": content});
        let sent = vera.ask_with("send_message", data, &mut Vec::new()).await;
        assert_eq!(sent["type"], "message_sent", "{sent}");
        assert_eq!(self.ines.message().await.1, content);
    }
}

fn disconnected(name: &str, count: u64) -> Event {
    Event::left(name, count, Some("User disconnected"))
}

fn goodbyes(report: &Value) -> u64 {
    let said = &report["received"]["notify_member_disconnect"];
    said.as_u64().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_moves_is_not_said_to_be_gone_until_it_is() {
    let mut three = Three::start().await;
    let mut vera = three.vera().await;
    // There, and back again: each time the node that it left asks the one where it is.
    for (n, (left, at)) in [(1, 2), (2, 1)].into_iter().enumerate() {
        vera = three.goes_on(vera, at, n as u64).await;
        three.somebody_comes_and_goes(left).await;
        three.says(&mut vera, &format!("at node {at}")).await;
        let report = three.cluster.original(1).report().await;
        assert_eq!(goodbyes(&report), n as u64 + 1, "only Emil's");
    }
    drop(vera);
    assert_eq!(three.ines.event().await, disconnected("vera", 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_has_moved_back_is_not_hurt_by_what_is_late_on_the_wire() {
    let mut three = Three::start().await;
    let vera = three.vera().await;
    let late = three.wire.snares().keep("inquiry");
    let vera = three.goes_on(vera, 2, 0).await;
    late.caught(1).await;
    // The question arrives when she is where it came from.
    let mut vera = three.goes_on(vera, 1, 0).await;
    late.let_go();
    three.somebody_comes_and_goes(1).await;
    three.somebody_comes_and_goes(2).await;
    three.says(&mut vera, "here I am").await;
    drop(vera);
    assert_eq!(three.ines.event().await, disconnected("vera", 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_still_getting_in_elsewhere_is_not_said_to_be_gone() {
    let mut three = Three::start().await;
    let mut otto = three.cluster.client(Place::Ours(1)).await;
    let mut anna = three.cluster.client(Place::Ours(2)).await;
    let ours = otto.create("of ours").await;
    otto.join(&ours, "otto").await;
    anna.join(&ours, "anna").await;
    // A room that the second node has not heard of, whatever it asked for until now.
    three.room = three.cluster.room(ORIGINAL).await;
    three.ines = Member::join(&three.cluster, ORIGINAL, &three.room, "ines").await;
    let vera = three.vera().await;
    let token = vera.token();
    let question = three.wire.snares().keep("inquiry");
    let looked_for = three.wire_home.snares().keep("get_hosted_rooms");
    drop(vera);
    // The second node does not know yet where the room is when it is asked who is in it.
    let mut vera = Extended::resume(three.cluster.ours.node(2), "vera", &token).await;
    let join = json!({"room_id": three.room, "from": {"gen": 1, "seq": 0}});
    vera.say("join", "join_room", join).await;
    looked_for.caught(1).await;
    question.caught(1).await;
    question.let_go();
    // Behind the question on the same link.
    otto.say(&request::send_message(&ours, "otto", "behind it")).await;
    while anna.next().await["type"] != "new_message" {}
    looked_for.let_go();
    let joined = vera.next().await;
    assert_eq!(joined["type"], "join_room_success", "{joined}");
    three.says(&mut vera, "here I am").await;
    drop(vera);
    assert_eq!(three.ines.event().await, disconnected("vera", 1));
}

/// Which of two nodes that do not hear each other is cut off, none of them knows. A name that nobody vouches for is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_cannot_ask_where_a_session_is_throws_it_out_and_it_may_join_again() {
    let mut three = Three::start_with_patience(Duration::from_secs(1)).await;
    let vera = three.vera().await;
    let lost = three.wire.snares().keep("inquiry");
    let mut vera = three.goes_on(vera, 2, 0).await;
    lost.caught(1).await;
    lost.lose();
    assert_eq!(three.ines.event().await, disconnected("vera", 1));
    let told = vera.next().await;
    assert_eq!(
        (&told["type"], &told["data"]["username"], &told["data"]["reason"]),
        (&json!("member_left"), &json!("vera"), &json!("User disconnected"))
    );
    vera.join(&three.room, Some((1, 0))).await;
    assert_eq!(three.ines.event().await, Event::came("vera", 2));
    three.says(&mut vera, "me again").await;
}

/// The original does not note that a member has moved: it looks for it at the node through which it came. What that means is
/// not ours to change, but to know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_has_moved_is_lost_with_the_node_that_it_left_and_not_with_its_own() {
    let mut three = Three::start().await;
    let vera = three.vera().await;
    let vera = three.goes_on(vera, 2, 0).await;
    three.somebody_comes_and_goes(1).await;
    // Its node dies, and it stays: the one that it left has nothing to say any more.
    three.cluster.kill(Place::Ours(2)).await;
    let mut vera = three.goes_on(vera, 1, 0).await;
    three.says(&mut vera, "here I am").await;
    // It moves once more, and the node at which the original looks for it dies.
    three.cluster.restart(Place::Ours(2)).await;
    three.cluster.wait_until_connected().await;
    let mut vera = three.goes_on(vera, 2, 1).await;
    three.cluster.kill(Place::Ours(1)).await;
    assert_eq!(
        three.ines.event().await,
        Event::left("vera", 1, Some("Node unreachable"))
    );
    let told = vera.next().await;
    assert_eq!(
        (&told["type"], &told["data"]["username"], &told["data"]["reason"]),
        (&json!("member_left"), &json!("vera"), &json!("Node unreachable"))
    );
    // She may join again, and is seen to.
    vera.join(&three.room, Some((1, 1))).await;
    assert_eq!(three.ines.event().await, Event::came("vera", 2));
    three.says(&mut vera, "me again").await;
}
