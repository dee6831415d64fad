//! One trace from a client's message to its delivery on another node, and what the others cost: nothing.

use chat_client::request;
use chat_node::config::{Config, Share, TraceSettings};
use chat_tests::collector::{Collector, Span};
use chat_tests::extended::Extended;
use chat_tests::{Client, TestCluster, TestNode};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

pub(crate) fn traced(url: &str, share: Share) -> impl Fn(&mut Config) {
    let mut settings = TraceSettings::test(url.parse().unwrap());
    settings.sampling.share = share;
    settings.attributes = vec![("deployment.environment.name".into(), "test".into())];
    move |config| config.traces = settings.clone()
}

/// The one span of this name that a node made in a trace.
fn one<'a>(spans: &'a [Span], trace: &str, node: &str, name: &str) -> &'a Span {
    let mut found = spans
        .iter()
        .filter(|span| (span.trace.as_str(), span.node.as_str(), span.name.as_str()) == (trace, node, name));
    let one = found
        .next()
        .unwrap_or_else(|| panic!("no {name} at {node} in {spans:?}"));
    assert_eq!(found.next(), None, "more than one {name} at {node} in {spans:?}");
    one
}

/// True if spans like these came: enough of each, whatever else came.
fn has(spans: &[Span], wanted: &[(&str, &str, usize)]) -> bool {
    wanted.iter().all(|(node, name, count)| {
        let found = spans.iter().filter(|span| span.node == *node && span.name == *name);
        found.count() >= *count
    })
}

/// A room at node 2 in which `ines` of node 1 talks and `otto` of node 3 listens.
pub(crate) async fn room(cluster: &TestCluster) -> (String, Client, Client) {
    let mut admin = cluster.node(2).client().await;
    let room = admin.create("hall").await;
    let (mut ines, mut otto) = (cluster.node(1).client().await, cluster.node(3).client().await);
    ines.join(&room, "ines").await;
    otto.join(&room, "otto").await;
    // She hears that he came.
    ines.next().await;
    (room, ines, otto)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_from_the_sender_over_the_admin_node_to_the_reader() {
    let collector = Collector::start().await;
    let cluster = TestCluster::start_with(3, traced(&collector.url, Share::ALL)).await;
    let (room, mut ines, mut otto) = room(&cluster).await;
    ines.send(&room, "ines", "hello").await;
    assert_eq!(otto.next().await["data"]["content"], "hello");
    let spans = collector
        .wait_until(|spans| {
            has(
                spans,
                &[
                    ("node1", "send_message", 1),
                    ("node1", "forward", 1),
                    ("node2", "commit", 1),
                    ("node2", "relay", 2),
                    ("node1", "deliver", 1),
                    ("node3", "deliver", 1),
                    ("node1", "chat.exchange", 2),
                    ("node2", "chat.exchange", 3),
                    ("node3", "chat.exchange", 1),
                ],
            )
        })
        .await;

    let asked = spans.iter().find(|span| span.name == "send_message").unwrap();
    let trace = asked.trace.as_str();
    assert!(spans.iter().all(|span| span.trace == trace), "{spans:?}");
    assert_eq!(asked.parent, "", "the client says nothing of a trace");
    let forward = one(&spans, trace, "node1", "forward");
    assert_eq!(forward.parent, asked.id);
    let commit = one(&spans, trace, "node2", "commit");
    assert_eq!(commit.parent, forward.id);
    for (node, other) in [("node1", "node3"), ("node3", "node1")] {
        let deliver = one(&spans, trace, node, "deliver");
        let relay = spans.iter().find(|span| span.id == deliver.parent).unwrap();
        assert_eq!(
            (relay.node.as_str(), relay.name.as_str()),
            ("node2", "relay"),
            "{other} has another"
        );
        assert_eq!(relay.parent, commit.id);
        assert_eq!(relay.attributes["chat.peer"], node);
        assert_eq!(deliver.attributes["chat.sessions"], "1");
        assert!(
            commit.time.1 <= deliver.time.1,
            "nothing is delivered before its commit"
        );
    }
    // Each call is part of what it carries, and what serves it is part of the call.
    for (client, server, of) in [("node1", "node2", forward), ("node2", "node3", commit)] {
        let calls: Vec<&Span> = spans
            .iter()
            .filter(|span| span.node == client && span.kind == 3)
            .collect();
        let call = calls
            .into_iter()
            .find(|call| {
                let parent = spans.iter().find(|span| span.id == call.parent).unwrap();
                let carried = parent.id == of.id || parent.parent == of.id;
                carried
                    && spans
                        .iter()
                        .any(|span| span.parent == call.id && span.node == server && span.kind == 2)
            })
            .unwrap_or_else(|| panic!("no call from {client} to {server} in {spans:?}"));
        assert_eq!(call.name, "chat.exchange");
        assert_eq!(call.attributes["rpc.system.name"], "xmlrpc");
        assert_eq!(call.attributes["rpc.method"], "chat.exchange");
        assert_eq!(call.attributes["server.address"], "127.0.0.1");
    }
    for span in &spans {
        assert!(!span.failed, "{span:?}");
        assert!(span.time.0 <= span.time.1, "{span:?}");
        assert_eq!(span.resource["service.name"], "chat-node");
        assert_eq!(span.resource["deployment.environment.name"], "test");
        assert_eq!(span.resource["service.version"], chat_node::VERSION);
    }
    let head = &collector.heads()[0];
    assert_eq!(head["content-type"], "application/x-protobuf");
    assert_eq!(head[":path"], "/v1/traces");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_a_client_of_the_admin_node_has_a_commit_and_a_delivery_there() {
    let collector = Collector::start().await;
    let node = TestNode::start_with(traced(&collector.url, Share::ALL)).await;
    let mut ines = node.client().await;
    let room = ines.create("hall").await;
    ines.join(&room, "ines").await;
    let number = ines.send(&room, "ines", "hello").await;
    let wanted = [
        ("node1", "send_message", 1),
        ("node1", "commit", 1),
        ("node1", "deliver", 1),
    ];
    let spans = collector.wait_until(|spans| has(spans, &wanted)).await;
    let trace = spans[0].trace.clone();
    let (asked, commit) = (
        one(&spans, &trace, "node1", "send_message"),
        one(&spans, &trace, "node1", "commit"),
    );
    assert_eq!(commit.parent, asked.id);
    assert_eq!(one(&spans, &trace, "node1", "deliver").parent, commit.id);
    for span in [asked, commit] {
        assert_eq!(span.attributes["chat.sequence_number"], number.to_string());
        assert_eq!(span.attributes["chat.room"], room);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_refused_has_a_failed_span() {
    let collector = Collector::start().await;
    let node = TestNode::start_with(traced(&collector.url, Share::ALL)).await;
    let mut ines = Extended::new(&node, "ines").await;
    let mut otto = node.client().await;
    let room = otto.create("hall").await;
    ines.join(&room, None).await;
    ines.send(&room, "hello", "one").await;
    let answer = ines.send(&room, "something else", "one").await;
    assert_eq!(answer["type"], "message_error", "{answer}");
    let wanted = [("node1", "send_message", 2), ("node1", "commit", 2)];
    let spans = collector.wait_until(|spans| has(spans, &wanted)).await;
    let failed = spans.iter().filter(|span| span.failed);
    let failed: Vec<_> = failed
        .map(|span| (span.name.as_str(), span.attributes["error.type"].as_str()))
        .collect();
    let code = answer["data"]["error_code"].as_str().unwrap();
    let mut names: Vec<_> = failed
        .iter()
        .map(|(name, kind)| {
            assert_eq!(*kind, code);
            *name
        })
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["commit", "send_message"], "{spans:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_the_extended_dialect_decides_and_nothing_else_is_exported() {
    let collector = Collector::start().await;
    let cluster = TestCluster::start_with(3, traced(&collector.url, Share::NONE)).await;
    let mut admin = cluster.node(2).client().await;
    let room = admin.create("hall").await;
    let mut ines = Extended::new(cluster.node(1), "ines").await;
    let mut otto = cluster.node(3).client().await;
    otto.join(&room, "otto").await;
    ines.join(&room, None).await;
    // He hears that she came.
    otto.next().await;
    let say = async |ines: &mut Extended, content: String, traceparent: String| {
        let data = json!({"room_id": room, "content": content, "traceparent": traceparent});
        let mut before = Vec::new();
        let sent = ines.ask_with("send_message", data, &mut before).await;
        assert_eq!(sent["type"], "message_sent", "{sent}");
    };
    let odd = [
        String::new(),
        "00".into(),
        format!("00-{TRACE}-{SPAN}-00"),
        format!("00-{}-{SPAN}-01", "0".repeat(32)),
        format!("ff-{TRACE}-{SPAN}-01"),
        format!("00-{TRACE}-{SPAN}-01-more"),
    ];
    for i in 0..3 {
        for traceparent in &odd {
            say(&mut ines, format!("unsampled {i}"), traceparent.clone()).await;
        }
    }
    say(&mut ines, "sampled".into(), format!("00-{TRACE}-{SPAN}-01")).await;
    say(&mut ines, "unsampled again".into(), format!("00-{TRACE}-{SPAN}-00")).await;
    for _ in 0..3 * odd.len() + 2 {
        assert_eq!(otto.next().await["type"], "new_message");
    }
    let wanted = [
        ("node1", "send_message", 1),
        ("node1", "deliver", 1),
        ("node3", "deliver", 1),
    ];
    let spans = collector.wait_until(|spans| has(spans, &wanted)).await;
    assert_eq!(one(&spans, TRACE, "node1", "send_message").parent, SPAN);
    // Whatever else there were would be there soon.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let spans = collector.spans();
    let count = |name: &str| spans.iter().filter(|span| span.name == name).count();
    assert!(spans.iter().all(|span| span.trace == TRACE), "{spans:?}");
    assert_eq!(
        [
            count("send_message"),
            count("forward"),
            count("commit"),
            count("deliver")
        ],
        [1, 1, 1, 2]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_sampled_message_nothing_is_exported_and_a_node_without_traces_passes_nothing_on() {
    let collector = Collector::start().await;
    let of_all = traced(&collector.url, Share::NONE);
    // Node 2, which has the room, has no collector.
    let cluster = TestCluster::start_with(3, |config| {
        if config.node_id.as_str() != "node2" {
            of_all(config);
        }
    })
    .await;
    let (room, mut ines, mut otto) = room(&cluster).await;
    for _ in 0..20 {
        ines.send(&room, "ines", "hello").await;
        otto.next().await;
    }
    let mut fritz = Extended::new(cluster.node(1), "fritz").await;
    fritz.join(&room, None).await;
    let data = json!({"room_id": room, "content": "x", "traceparent": format!("00-{TRACE}-{SPAN}-01")});
    fritz.ask_with("send_message", data, &mut Vec::new()).await;
    let wanted = [("node1", "send_message", 1), ("node1", "forward", 1)];
    collector.wait_until(|spans| has(spans, &wanted)).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let spans = collector.spans();
    assert!(
        spans.iter().all(|span| span.trace == TRACE && span.node == "node1"),
        "{spans:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_link_gives_up_and_a_message_of_unknown_fate_are_spans_that_failed() {
    let collector = Collector::start().await;
    let of_all = traced(&collector.url, Share::ALL);
    let mut cluster = TestCluster::start_with(3, |config| {
        of_all(config);
        // Long enough for her to say something before anybody knows.
        config.limits.heartbeat_failed = Duration::from_secs(3);
    })
    .await;
    let (room, mut ines, _otto) = room(&cluster).await;
    cluster.crash(2).await;
    let data = json!({"room_id": room, "username": "ines", "content": "hello?"});
    ines.say(&json!({"type": "send_message", "data": data}).to_string())
        .await;
    while ines.next().await["type"] != "message_error" {}
    let wanted = [("node1", "send_message", 1), ("node1", "forward", 1)];
    let spans = collector.wait_until(|spans| has(spans, &wanted)).await;
    for (name, why) in [("send_message", "unknown_outcome"), ("forward", "given_up")] {
        let span = spans
            .iter()
            .find(|span| span.node == "node1" && span.name == name)
            .unwrap();
        assert!(span.failed, "{span:?}");
        assert_eq!(span.attributes["error.type"], why, "{span:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_costs_the_spans_and_nothing_else() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{free}/v1/traces");
    let cluster = TestCluster::start_with(3, traced(&url, Share::ALL)).await;
    let (room, mut ines, mut otto) = room(&cluster).await;
    for _ in 0..50 {
        ines.send(&room, "ines", "hello").await;
        assert_eq!(otto.next().await["type"], "new_message");
    }
    let deadline = Instant::now() + chat_tests::PATIENCE;
    while !cluster
        .node(1)
        .metrics()
        .await
        .lines()
        .any(|line| line.starts_with("chat_spans_total{outcome=\"failed\"}") && !line.ends_with(" 0"))
    {
        assert!(Instant::now() < deadline, "no span failed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ines.send(&room, "ines", "still").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_takes_everything_and_says_nothing_fills_a_bounded_queue_and_stops_no_node() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/traces", silent.local_addr().unwrap());
    let node = TestNode::start_with(|config| {
        traced(&url, Share::ALL)(config);
        let collector = config.traces.collector.as_mut().unwrap();
        (collector.queue, collector.batch) = (8, 4);
        collector.timeout = Duration::from_secs(60);
    })
    .await;
    let mut ines = node.client().await;
    let room = ines.create("hall").await;
    ines.join(&room, "ines").await;
    for _ in 0..50 {
        ines.send(&room, "ines", "hello").await;
    }
    // Three spans for each message, of which a batch is under way and a queue waits.
    let metrics = node.metrics().await;
    let dropped = metrics
        .lines()
        .find_map(|line| line.strip_prefix("chat_spans_total{outcome=\"dropped\"} "));
    let dropped: u64 = dropped.unwrap().parse().unwrap();
    assert!((130..=142).contains(&dropped), "{dropped}");
    drop(ines);
    let since = Instant::now();
    node.stop().await.unwrap();
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_sends_what_it_has() {
    let collector = Collector::start().await;
    let node = TestNode::start_with(|config| {
        traced(&collector.url, Share::ALL)(config);
        // Nobody waits so long.
        config.traces.collector.as_mut().unwrap().delay = Duration::from_secs(600);
    })
    .await;
    let mut ines = node.client().await;
    let room = ines.create("hall").await;
    ines.join(&room, "ines").await;
    ines.send(&room, "ines", "hello").await;
    assert_eq!(collector.spans(), []);
    drop(ines);
    node.stop().await.unwrap();
    assert!(
        has(
            &collector.spans(),
            &[("node1", "send_message", 1), ("node1", "commit", 1)]
        ),
        "{:?}",
        collector.spans()
    );
}

/// The classic dialect has no field for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_classic_client_cannot_ask_for_a_trace() {
    let collector = Collector::start().await;
    let node = TestNode::start_with(traced(&collector.url, Share::NONE)).await;
    let mut ines = node.client().await;
    let room = ines.create("hall").await;
    ines.join(&room, "ines").await;
    let text = request::send_message(&room, "ines", "hello").replacen(
        "\"content\"",
        &format!("\"traceparent\":\"00-{TRACE}-{SPAN}-01\",\"content\""),
        1,
    );
    assert!(text.contains(TRACE));
    assert_eq!(ines.ask(&text).await["type"], "new_message");
    assert_eq!(ines.next().await["type"], "message_sent");
    node.stop().await.unwrap();
    assert_eq!(collector.spans(), []);
}
