//! The line client on real clusters: whatever happens to nodes, each line arrives once and nobody hears of it.

use super::extended::room;
use chat_client::request;
use chat_tests::{PATIENCE, TestCluster, TestNode};
use chat_tui::chat::{End, chat};
use chat_tui::input::{Input, WAITING_LINES};
use chat_tui::settings::{Args, Dialect, Settings};
use std::io::{self, Write};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// What a client writes, for a test to wait for.
#[derive(Clone, Default)]
struct Paper(Arc<watch::Sender<String>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).expect("text");
        self.0.send_modify(|all| all.push_str(text));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    /// Waits until `text` was written.
    async fn shows(&self, text: &str) {
        let mut paper = self.0.subscribe();
        let shown = timeout(PATIENCE, paper.wait_for(|all| all.contains(text))).await;
        assert!(shown.is_ok(), "{text:?} in {:?}", self.0.borrow());
    }

    /// The lines, without the times of messages.
    fn lines(&self) -> Vec<String> {
        let all = self.0.borrow();
        let timeless = |line: &str| match line.split_once("] ") {
            Some((time, rest)) if time.starts_with('[') => rest.to_owned(),
            _ => line.to_owned(),
        };
        all.lines().map(timeless).collect()
    }
}

/// A client in the room `hall`, in line mode.
struct Line {
    input: mpsc::Sender<Input>,
    out: Paper,
    notices: Paper,
    running: JoinHandle<io::Result<End>>,
}

impl Line {
    fn start(name: &str, addresses: &[String]) -> Self {
        let args = Args {
            plain: true,
            addresses: addresses.to_vec(),
            name: name.into(),
            room: "hall".into(),
            dialect: Dialect::Extended,
        };
        let settings = Settings {
            jitter: || 0.0,
            ..Settings::new(args).expect("good arguments")
        };
        let (input, lines) = mpsc::channel(WAITING_LINES);
        let (out, notices) = (Paper::default(), Paper::default());
        let (mut to, mut told) = (out.clone(), notices.clone());
        let running = tokio::spawn(async move { chat(&settings, lines, &mut to, &mut told).await });
        Self {
            input,
            out,
            notices,
            running,
        }
    }

    /// Pipes `line 1` and so on in, and ends the input.
    fn pipe(&mut self, count: usize) {
        let input = self.end_input();
        tokio::spawn(async move {
            for n in 1..=count {
                let line = Input::Line(format!("line {n}"));
                if input.send(line).await.is_err() {
                    return;
                }
            }
        });
    }

    /// Nothing more comes from the test; gives what could still send.
    fn end_input(&mut self) -> mpsc::Sender<Input> {
        std::mem::replace(&mut self.input, mpsc::channel(1).0)
    }

    async fn ended(self) -> End {
        drop(self.input);
        let ended = timeout(PATIENCE, self.running).await.expect("it ends in time");
        ended.expect("it does not panic").expect("the paper takes everything")
    }
}

const LINES: usize = 80;

/// What everybody shows of the pipe.
fn piped() -> Vec<String> {
    (1..=LINES).map(|n| format!("ines: line {n}")).collect()
}

fn urls<const N: usize>(cluster: &TestCluster, nodes: [usize; N]) -> Vec<String> {
    nodes.iter().map(|&n| cluster.node(n).url()).collect()
}

/// No seat is given up during a test.
async fn patient_cluster(count: usize) -> TestCluster {
    TestCluster::start_with(count, |config| config.limits.seat_grace = PATIENCE).await
}

/// Waits until a client of this node finds the room.
async fn listed(node: &TestNode) {
    let mut client = node.client().await;
    let found = async {
        while client.ask(&request::discover_rooms()).await["data"]["total_count"] == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, found).await.expect("the room is listed in time");
}

/// Otto, at the admin node, creates the room; ines, on node 2, pipes into it.
async fn two_clients(cluster: &TestCluster) -> (Line, Line) {
    let otto = Line::start("otto", &urls(cluster, [1]));
    otto.out.shows("-- joined hall (1 member: otto)\n").await;
    listed(cluster.node(2)).await;
    let ines = Line::start("ines", &urls(cluster, [2, 3]));
    otto.out.shows("-- ines joined\n").await;
    (otto, ines)
}

async fn all_arrived(otto: Line, ines: Line) {
    let (ines_out, ines_notices) = (ines.out.clone(), ines.notices.clone());
    assert_eq!(ines.ended().await, End::AllSent, "{:?}", ines_out.lines());
    otto.out.shows("-- ines left\n").await;
    let otto_out = otto.out.clone();
    assert_eq!(otto.ended().await, End::AllSent);
    let mut seen = vec![
        "-- joined hall (1 member: otto)".to_owned(),
        "-- ines joined".to_owned(),
    ];
    seen.extend(piped());
    seen.push("-- ines left".to_owned());
    assert_eq!(otto_out.lines(), seen);
    let mut own = vec!["-- joined hall (2 members: ines, otto)".to_owned()];
    own.extend(piped());
    assert_eq!(ines_out.lines(), own);
    let notices = ines_notices.lines();
    assert!(
        notices[0].starts_with("-- reconnecting: ") && notices.last().is_some_and(|last| last == "-- connected again"),
        "{notices:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_under_a_pipe_costs_no_line_and_nobody_hears_of_it() {
    let mut cluster = patient_cluster(3).await;
    let (otto, mut ines) = two_clients(&cluster).await;
    ines.pipe(LINES);
    otto.out.shows("ines: line 20\n").await;
    cluster.crash(2).await;
    all_arrived(otto, ines).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_under_a_pipe_costs_no_line_and_nobody_hears_of_it() {
    let cluster = patient_cluster(3).await;
    let (otto, mut ines) = two_clients(&cluster).await;
    ines.pipe(LINES);
    otto.out.shows("ines: line 20\n").await;
    cluster.node(2).shutdown.request();
    all_arrived(otto, ines).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_wait_for_an_admin_node_that_restarts_also_at_the_end_of_the_input() {
    let mut cluster = patient_cluster(3).await;
    room(&cluster, 1).await;
    for n in [2, 3] {
        listed(cluster.node(n)).await;
    }
    let otto = Line::start("otto", &urls(&cluster, [3]));
    otto.out.shows("-- joined hall (1 member: otto)\n").await;
    let mut ines = Line::start("ines", &urls(&cluster, [2]));
    // Otto may hear of her before she does; the node is lost to those who know that they are in.
    ines.out.shows("-- joined hall (2 members: ines, otto)\n").await;
    otto.out.shows("-- ines joined\n").await;
    cluster.crash(1).await;
    ines.notices
        .shows("-- the room does not answer for now; lines wait\n")
        .await;
    ines.input.send(Input::Line("is anybody there?".into())).await.unwrap();
    drop(ines.end_input());
    let (out, notices) = (ines.out.clone(), ines.notices.clone());
    cluster.restart(1).await;
    assert_eq!(ines.ended().await, End::AllSent, "{:?}", out.lines());
    otto.out.shows("-- ines left\n").await;
    let seen = [
        "-- joined hall (1 member: otto)",
        "-- ines joined",
        "ines: is anybody there?",
        "-- ines left",
    ];
    assert_eq!(otto.out.lines(), seen);
    assert_eq!(
        notices.lines(),
        [
            "-- the room does not answer for now; lines wait",
            "-- the room answers again"
        ]
    );
    assert_eq!(otto.ended().await, End::AllSent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_server_any_more_gives_up() {
    let node = TestNode::start().await;
    let ines = Line::start("ines", &[node.url()]);
    ines.out.shows("-- joined hall (1 member: ines)\n").await;
    node.stop().await.unwrap();
    let (running, notices) = (ines.running, ines.notices);
    let ended = timeout(PATIENCE, running).await.expect("it ends in time").unwrap();
    assert_eq!(ended.unwrap(), End::NoServer);
    assert_eq!(notices.lines().last().map(String::as_str), Some("!! giving up"));
    drop(ines.input);
}
