//! Clusters of our nodes and original ones when something fails.

use chat_client::request;
use chat_node::config::Config;
use chat_protocol::ids::NodeId;
use chat_tests::extended::Extended;
use chat_tests::mixed::{Event, Member, MixedCluster, Place};
use chat_tests::{Client, PATIENCE, TestNode};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

const OURS: Place = Place::Ours(1);
const ORIGINAL: Place = Place::Original(1);

/// `ines` in a room that her node administers, and `otto` in it at another node.
async fn two(cluster: &MixedCluster, admin: Place, there: Place) -> (Member, Member) {
    let room = cluster.room(admin).await;
    let mut ines = Member::join(cluster, admin, &room, "ines").await;
    let otto = Member::join(cluster, there, &room, "otto").await;
    assert_eq!(ines.event().await, Event::came("otto", 2));
    (ines, otto)
}

fn unreachable(name: &str, count: u64) -> Event {
    Event::left(name, count, Some("Node unreachable"))
}

/// Asks until the answer is as wanted.
async fn ask_until(client: &mut Client, text: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let frame = client.ask(text).await;
        if wanted(&frame) {
            return frame;
        }
        assert!(Instant::now() < deadline, "{frame}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_a_node_that_dies_are_gone_on_either_side_and_may_come_back_with_it() {
    for (admin, dies) in [(OURS, ORIGINAL), (ORIGINAL, OURS)] {
        let mut cluster = MixedCluster::start(1, 2).await;
        let (mut ines, otto) = two(&cluster, admin, dies).await;
        let mut vera = Member::join(&cluster, Place::Original(2), ines.room(), "vera").await;
        assert_eq!(ines.event().await, Event::came("vera", 3));
        cluster.kill(dies).await;
        drop(otto);
        assert_eq!(ines.event().await, unreachable("otto", 2), "{dies:?}");
        assert_eq!(vera.event().await, unreachable("otto", 2), "{dies:?}");
        ines.say("still here").await;
        assert_eq!(ines.confirmed().await, 1);
        assert_eq!(vera.message().await, (1, "still here".into()));

        cluster.restart(dies).await;
        cluster.wait_until_connected().await;
        let mut otto = Member::join(&cluster, dies, ines.room(), "otto").await;
        assert_eq!(otto.message().await, (1, "still here".into()));
        assert_eq!(ines.event().await, Event::came("otto", 3), "{dies:?}");
        assert_eq!(vera.event().await, Event::came("otto", 3), "{dies:?}");
        for (n, speaker) in [(2, "otto"), (3, "ines")] {
            let speaks = if speaker == "otto" { &mut otto } else { &mut ines };
            speaks.say(speaker).await;
            assert_eq!(speaks.confirmed().await, n, "{dies:?}");
        }
        for member in [&mut ines, &mut otto, &mut vera] {
            member.messages_up_to(3).await;
            assert_eq!(member.shown(), ["still here", "otto", "ines"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_a_room_whose_original_admin_dies_are_told() {
    let mut cluster = MixedCluster::start(1, 1).await;
    let (ines, mut otto) = two(&cluster, ORIGINAL, OURS).await;
    let room = ines.room().to_owned();
    cluster.kill(ORIGINAL).await;
    assert_eq!(otto.event().await, unreachable("otto", 0));
    let refused = otto.client.ask(&request::join_room(&room, "otto")).await;
    assert_eq!(refused["data"]["error_code"], "ADMIN_NODE_UNAVAILABLE", "{refused}");
    // It comes back with nothing.
    cluster.restart(ORIGINAL).await;
    ask_until(&mut otto.client, &request::join_room(&room, "otto"), |answer| {
        answer["data"]["error_code"] == "ROOM_NOT_FOUND"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_of_ours_comes_back_with_its_members_behind_original_nodes() {
    // How long it takes to come back is not the question here.
    let change = |config: &mut Config| config.limits.seat_grace = PATIENCE;
    let mut cluster = MixedCluster::start_with(1, 1, &[], change).await;
    // Numbers behind the original node are other ones.
    let room = cluster.client(OURS).await.create("long").await;
    let mut ines = Member::join(&cluster, OURS, &room, "ines").await;
    for n in 1..=120 {
        ines.say(&format!("t{n}")).await;
        ines.confirmed().await;
    }
    let mut otto = Member::join(&cluster, ORIGINAL, &room, "otto").await;
    for n in 1..=100 {
        assert_eq!(otto.message().await.0, n);
    }
    drop(ines);
    assert_eq!(otto.event().await, Event::left("ines", 1, Some("User disconnected")));
    cluster.kill(OURS).await;
    otto.say("is anybody there?").await;
    let refused = otto.next().await;
    assert_eq!(refused["type"], "message_error", "{refused}");
    cluster.restart(OURS).await;
    let mut ines = cluster.client(OURS).await;
    let joined = ines.join(&room, "ines").await;
    assert_eq!(joined["data"]["members"], json!(["ines", "otto"]), "{joined}");
    assert_eq!(otto.event().await, Event::came("ines", 2));
    // Otto did nothing, and is where he was.
    otto.say("here again").await;
    assert_eq!(otto.confirmed().await, 101);
    ines.say(&request::send_message(&room, "ines", "welcome back")).await;
    assert_eq!(otto.message().await, (102, "welcome back".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_original_stops_nobody_and_its_members_miss_nothing() {
    let change = |config: &mut Config| config.limits.original_failed = PATIENCE;
    let cluster = MixedCluster::start_with(1, 1, &[], change).await;
    let (mut ines, mut otto) = two(&cluster, OURS, ORIGINAL).await;
    cluster.original(1).freeze().await;
    let began = Instant::now();
    for n in 1..=300 {
        ines.say(&format!("t{n}")).await;
        assert_eq!(ines.confirmed().await, n);
    }
    // Not even one call to the frozen node was waited for.
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    cluster.original(1).thaw();
    for n in 1..=300 {
        assert_eq!(otto.message().await, (n, format!("t{n}")));
    }
    otto.say("I saw it all").await;
    assert_eq!(otto.confirmed().await, 301);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_admin_stops_only_its_own_rooms() {
    let change = |config: &mut Config| {
        config.limits.original_failed = PATIENCE;
        config.limits.original_call_timeout = Duration::from_millis(1_000);
    };
    let cluster = MixedCluster::start_with(1, 1, &[], change).await;
    let (_ines, mut otto) = two(&cluster, ORIGINAL, OURS).await;
    let mut vera = cluster.client(OURS).await;
    let room = vera.create("ours").await;
    vera.join(&room, "vera").await;
    cluster.original(1).freeze().await;
    otto.say("hello?").await;
    for n in 1..=100 {
        assert_eq!(vera.send(&room, "vera", "no matter").await, n);
    }
    let refused = otto.next().await;
    assert_eq!(refused["data"]["error_code"], "ADMIN_NODE_UNAVAILABLE", "{refused}");
    cluster.original(1).thaw();
    // It had taken the call, and does what it was asked: once.
    assert_eq!(otto.message().await, (1, "hello?".into()));
    let said = request::send_message(otto.room(), "otto", "again");
    ask_until(&mut otto.client, &said, |frame| frame["type"] == "new_message").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_original_admin_does_without_an_answer_is_not_done_twice() {
    let cluster = MixedCluster::start(1, 1).await;
    let (mut ines, mut otto) = two(&cluster, ORIGINAL, OURS).await;
    let original = cluster.original(1);
    original.order("drop-after forward_message").await;
    otto.say("one").await;
    // Shown, because it is there; refused, because nobody knew.
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let frame = otto.next().await;
        kinds.push(frame["type"].as_str().unwrap().to_owned());
    }
    kinds.sort();
    assert_eq!(kinds, ["message_error", "new_message"]);
    let said = request::send_message(otto.room(), "otto", "two");
    ask_until(&mut otto.client, &said, |frame| frame["type"] == "new_message").await;
    assert_eq!(ines.message().await, (1, "one".into()));
    assert_eq!(ines.message().await, (2, "two".into()));
    // A join without an answer leaves nobody in the room.
    original.order("drop-after join_room").await;
    let mut emil = cluster.client(OURS).await;
    let refused = emil.ask(&request::join_room(otto.room(), "emil")).await;
    assert_eq!(refused["data"]["error_code"], "ADMIN_NODE_UNAVAILABLE", "{refused}");
    let room = otto.room().to_owned();
    original
        .report_until(|report| report["rooms"][&room]["members"] == json!({"ines": "original1", "otto": "node1"}))
        .await;
    assert_eq!(ines.event().await, Event::came("emil", 3));
    assert_eq!(ines.event().await, Event::left("emil", 2, Some("User disconnected")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_goodbye_that_was_lost_is_said_again() {
    let cluster = MixedCluster::start(1, 1).await;
    let original = cluster.original(1);
    for method in ["leave_room", "notify_member_disconnect"] {
        let (mut ines, mut otto) = two(&cluster, ORIGINAL, OURS).await;
        original.order(&format!("drop {method} 2")).await;
        if method == "leave_room" {
            let left = otto.client.ask(&request::leave_room(otto.room(), "otto")).await;
            assert_eq!(left["type"], "leave_room_success");
        }
        drop(otto);
        let Event { kind, name, .. } = ines.event().await;
        assert_eq!((kind.as_str(), name.as_str()), ("member_left", "otto"), "{method}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_an_original_admin_could_not_deliver_are_fetched() {
    let cluster = MixedCluster::start(1, 1).await;
    let (mut ines, mut otto) = two(&cluster, ORIGINAL, OURS).await;
    // Nobody calls our node for a while: it is not where the original thinks.
    let nobody = vec![("node1".to_owned(), "http://127.0.0.1:1".to_owned())];
    let peers = vec![("node1".to_owned(), cluster.rpc_url(OURS))];
    let told = |peers: &[(String, String)]| {
        let words: Vec<_> = peers.iter().map(|(id, url)| format!("{id}={url}")).collect();
        format!("peers {}", words.join(" "))
    };
    cluster.original(1).order(&told(&nobody)).await;
    for n in 1..=5 {
        ines.say(&format!("t{n}")).await;
        assert_eq!(ines.confirmed().await, n);
    }
    cluster.original(1).order(&told(&peers)).await;
    ines.say("t6").await;
    for n in 1..=6 {
        assert_eq!(otto.message().await, (n, format!("t{n}")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_original_admin_has_forgotten_meanwhile_leaves_no_hole() {
    let cluster = MixedCluster::start(1, 1).await;
    let (mut ines, mut otto) = two(&cluster, ORIGINAL, OURS).await;
    ines.say("t1").await;
    assert_eq!(otto.message().await.0, 1);
    let peers = format!("peers node1={}", cluster.rpc_url(OURS));
    cluster.original(1).order("peers node1=http://127.0.0.1:1").await;
    for n in 1..=150 {
        ines.say(&format!("t{}", n + 1)).await;
        ines.confirmed().await;
    }
    cluster.original(1).order(&peers).await;
    ines.say("t152").await;
    // Of 152 messages the newest 100 are left; they follow the one that was seen.
    for n in 2..=101 {
        assert_eq!(otto.message().await, (n, format!("t{}", n + 51)));
    }
    otto.say("and so on").await;
    assert_eq!(otto.confirmed().await, 102);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_original_that_hangs_over_a_message_keeps_nobody_else_waiting() {
    let cluster = MixedCluster::start(1, 2).await;
    let (mut ines, mut otto) = two(&cluster, OURS, ORIGINAL).await;
    let mut vera = Member::join(&cluster, Place::Original(2), ines.room(), "vera").await;
    assert_eq!(ines.event().await.name, "vera");
    assert_eq!(otto.event().await.name, "vera");
    cluster.original(1).order("hang receive_message_broadcast 60").await;
    for n in 1..=50 {
        ines.say(&format!("t{n}")).await;
        assert_eq!(ines.confirmed().await, n);
    }
    // The other original node has everything while the first one hangs.
    vera.messages_up_to(50).await;
    cluster.original(1).order("calm").await;
    otto.messages_up_to(50).await;
    assert_eq!(otto.shown(), ines.shown());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_an_original_node_sends_late_arrive_in_their_order() {
    let cluster = MixedCluster::start(1, 1).await;
    let (mut ines, mut otto) = two(&cluster, ORIGINAL, OURS).await;
    cluster.original(1).order("late-events 100").await;
    for n in 1..=5 {
        ines.say(&format!("from there {n}")).await;
        otto.say(&format!("from here {n}")).await;
        ines.confirmed().await;
        otto.confirmed().await;
    }
    for member in [&mut ines, &mut otto] {
        member.messages_up_to(10).await;
    }
    assert_eq!(ines.shown(), otto.shown());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_ours_takes_the_place_of_an_original_one() {
    let mut cluster = MixedCluster::start(1, 1).await;
    let (mut ines, _otto) = two(&cluster, OURS, ORIGINAL).await;
    let room = ines.room().to_owned();
    let address = cluster.original(1).rpc_url();
    cluster.kill(ORIGINAL).await;
    let peer = cluster.rpc_url(OURS);
    let node = TestNode::start_with(|config| {
        config.node_id = NodeId::parse("original1").unwrap();
        config.xmlrpc.port = address.rsplit(':').next().unwrap().parse().unwrap();
        let url = format!("{peer}/").parse().unwrap();
        config.peers.insert(NodeId::parse("node1").unwrap(), url);
        config.limits.heartbeat_interval = Duration::from_millis(250);
        config.limits.heartbeat_failed = Duration::from_millis(2_500);
    })
    .await;
    assert_eq!(ines.event().await, unreachable("otto", 1));
    let mut otto = node.client().await;
    ask_until(&mut otto, &request::join_room(&room, "otto"), |answer| {
        answer["type"] == "join_room_success"
    })
    .await;
    assert_eq!(ines.event().await.name, "otto");
    assert_eq!(otto.send(&room, "otto", "new and old").await, 1);
    assert_eq!(ines.message().await, (1, "new and old".into()));
    drop(node);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extended_session_comes_back_to_a_room_of_an_original_node() {
    let cluster = MixedCluster::start(1, 1).await;
    let room = cluster.client(ORIGINAL).await.create("old hall").await;
    let mut ines = Member::join(&cluster, ORIGINAL, &room, "ines").await;
    for n in 1..=120 {
        ines.say(&format!("m{n}")).await;
        ines.confirmed().await;
    }
    let node = cluster.ours.node(1);
    let mut vera = Extended::new(node, "vera").await;
    let joined = vera.join(&room, None).await;
    assert_eq!(
        (
            &joined["gen"],
            &joined["first_seq"],
            &joined["head_seq"],
            &joined["resumed"]
        ),
        (&json!(1), &json!(21), &json!(120), &json!(false)),
        "{joined}"
    );
    assert_eq!(vera.messages(100).await[0], (21, "m21".into()));
    assert_eq!(ines.event().await.name, "vera");
    let token = vera.token();
    drop(vera);
    ines.say("meanwhile").await;
    assert_eq!(ines.confirmed().await, 121);
    let mut vera = Extended::resume(node, "vera", &token).await;
    let joined = vera.join(&room, Some((1, 120))).await;
    assert_eq!((&joined["resumed"], &joined["first_seq"]), (&json!(true), &json!(121)));
    assert_eq!(vera.messages(1).await, [(121, "meanwhile".into())]);
    // Nobody saw her go. What she says again is recognised.
    let sent = vera.send(&room, "back", "id-1").await;
    assert_eq!(sent["data"]["sequence_number"], 122, "{sent}");
    let again = vera.send(&room, "back", "id-1").await;
    assert_eq!(
        (&again["data"]["duplicate"], &again["data"]["sequence_number"]),
        (&json!(true), &json!(122))
    );
    assert_eq!(ines.message().await, (122, "back".into()));
    // The node has what the original still had when she came, and everything since.
    let page = vera
        .ask("read_history", json!({"room_id": room, "before_seq": 25, "limit": 10}))
        .await;
    let numbers: Vec<_> = page["data"]["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["sequence_number"].clone())
        .collect();
    assert_eq!(json!(numbers), json!([21, 22, 23, 24]), "{page}");
    // What lies before that is nowhere.
    let mut emil = Extended::new(node, "emil").await;
    emil.say("j", "join_room", json!({"room_id": room, "from": {"gen": 1, "seq": 3}}))
        .await;
    let mut kinds = Vec::new();
    while kinds.len() < 2 {
        kinds.push(emil.next().await["type"].as_str().unwrap().to_owned());
    }
    assert_eq!(kinds, ["join_room_success", "resync_required"]);
}
