//! Rooms in clusters of our nodes and original ones: who is told what, whoever administers the room and wherever the members
//! are.

use chat_client::request;
use chat_tests::mixed::{Event, Member, MixedCluster, Place};
use serde_json::json;
use std::time::Duration;

/// `ines` at the admin node of a room, `otto` and `vera` at two others.
struct Three {
    ines: Member,
    otto: Member,
    vera: Member,
}

impl Three {
    async fn in_a_room(cluster: &MixedCluster, admin: Place, otto: Place, vera: Place) -> Self {
        let room = cluster.room(admin).await;
        let ines = Member::join(cluster, admin, &room, "ines").await;
        let otto = Member::join(cluster, otto, &room, "otto").await;
        let vera = Member::join(cluster, vera, &room, "vera").await;
        let mut three = Self { ines, otto, vera };
        assert_eq!(three.ines.event().await, Event::came("otto", 2));
        assert_eq!(three.ines.event().await, Event::came("vera", 3));
        assert_eq!(three.otto.event().await, Event::came("vera", 3));
        three
    }

    fn all(&mut self) -> [&mut Member; 3] {
        [&mut self.ines, &mut self.otto, &mut self.vera]
    }

    async fn all_see_event(&mut self, expected: Event) {
        for member in self.all() {
            assert_eq!(member.event().await, expected, "{} at {:?}", member.name, member.place);
        }
    }
}

/// All the ways in which three nodes can share the room, for a cluster of one node of ours and two others.
const ONE_OF_OURS: [[Place; 3]; 4] = [
    [Place::Ours(1), Place::Original(1), Place::Original(2)],
    [Place::Original(1), Place::Ours(1), Place::Original(2)],
    [Place::Original(1), Place::Original(2), Place::Ours(1)],
    [Place::Ours(1), Place::Original(1), Place::Original(1)],
];

/// And for two of ours and one other.
const TWO_OF_OURS: [[Place; 3]; 4] = [
    [Place::Ours(1), Place::Original(1), Place::Ours(2)],
    [Place::Ours(1), Place::Ours(2), Place::Original(1)],
    [Place::Original(1), Place::Ours(1), Place::Ours(2)],
    [Place::Original(1), Place::Ours(1), Place::Ours(1)],
];

/// The admin node of a room, and where others join it.
const BOTH_SIDES: [(Place, Place); 2] = [
    (Place::Ours(1), Place::Original(1)),
    (Place::Original(1), Place::Ours(1)),
];

/// Each row of who is told what, except those about failed nodes, inactivity and deletion.
async fn everybody_is_told(cluster: &MixedCluster, [admin, there, elsewhere]: [Place; 3]) {
    let mut three = Three::in_a_room(cluster, admin, there, elsewhere).await;
    let room = three.ines.room().to_owned();

    // Somebody joins at the admin node, and somebody else through a member node.
    let mut dora = Member::join(cluster, admin, &room, "dora").await;
    three.all_see_event(Event::came("dora", 4)).await;
    let mut emil = Member::join(cluster, there, &room, "emil").await;
    three.all_see_event(Event::came("emil", 5)).await;
    assert_eq!(dora.event().await, Event::came("emil", 5));

    // Nobody hears of a new room, of a member that joins again, and of a leave by somebody who is not in: the next thing that
    // anybody sees is the message behind them.
    cluster.room(there).await;
    let again = dora.client.ask(&request::join_room(&room, "dora")).await;
    let mut members: Vec<_> = again["data"]["members"].as_array().unwrap().clone();
    members.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    assert_eq!(
        json!(members),
        json!(["dora", "emil", "ines", "otto", "vera"]),
        "{again}"
    );
    emil.client.say(&request::join_room(&room, "emil")).await;
    assert_eq!(emil.next().await["type"], "join_room_success");
    let mut stranger = cluster.client(there).await;
    let answer = stranger.ask(&request::leave_room(&room, "nobody")).await;
    assert_eq!(answer["type"], "leave_room_success", "{answer}");

    // A message from each side.
    three.ines.say("from the admin").await;
    assert_eq!(three.ines.confirmed().await, 1);
    three.otto.say("from there").await;
    assert_eq!(three.otto.confirmed().await, 2);
    three.vera.say("from elsewhere").await;
    assert_eq!(three.vera.confirmed().await, 3);
    for member in three.all().into_iter().chain([&mut dora, &mut emil]) {
        member.messages_up_to(3).await;
        assert_eq!(member.shown(), ["from the admin", "from there", "from elsewhere"]);
    }
    leaving_and_vanishing(cluster, there, three, dora, emil).await;
}

/// `dora`, at the admin node, and `emil`, `there`, go in both ways. Whoever leaves is answered and hears nothing more.
async fn leaving_and_vanishing(
    cluster: &MixedCluster,
    there: Place,
    mut three: Three,
    mut dora: Member,
    mut emil: Member,
) {
    let room = three.ines.room().to_owned();
    let answer = dora.client.ask(&request::leave_room(&room, "dora")).await;
    assert_eq!(answer["type"], "leave_room_success", "{answer}");
    three.all_see_event(Event::left("dora", 4, None)).await;
    assert_eq!(emil.event().await, Event::left("dora", 4, None));
    let answer = emil.client.ask(&request::leave_room(&room, "emil")).await;
    assert_eq!(answer["type"], "leave_room_success", "{answer}");
    three.all_see_event(Event::left("emil", 3, None)).await;

    const GONE: Option<&str> = Some("User disconnected");
    for (place, name) in [(dora.place, "dora"), (there, "emil")] {
        let comes_and_goes = Member::join(cluster, place, &room, name).await;
        three.all_see_event(Event::came(name, 4)).await;
        drop(comes_and_goes);
        three.all_see_event(Event::left(name, 3, GONE)).await;
    }

    three.ines.say("the end").await;
    assert_eq!(three.ines.confirmed().await, 4);
    for member in [&mut three.otto, &mut three.vera] {
        assert_eq!(member.message().await, (4, "the end".into()));
    }
    for member in three.all().into_iter().chain([&mut dora, &mut emil]) {
        member.is_quiet().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_is_told_in_a_cluster_with_one_node_of_ours() {
    let cluster = MixedCluster::start(1, 2).await;
    for places in ONE_OF_OURS {
        everybody_is_told(&cluster, places).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_is_told_in_a_cluster_with_two_nodes_of_ours() {
    let cluster = MixedCluster::start(2, 1).await;
    for places in TWO_OF_OURS {
        everybody_is_told(&cluster, places).await;
    }
}

/// Says so many things, each after the one before was shown, and waits until `total` messages were shown.
async fn chatter(mut member: Member, count: usize, total: u64) -> Member {
    for n in 0..count {
        let content = format!("{} {n}", member.name);
        member.say(&content).await;
        while member.shown().last() != Some(&content) {
            member.message().await;
        }
    }
    member.messages_up_to(total).await;
    member
}

async fn one_order(cluster: &MixedCluster, places: [Place; 3]) {
    const EACH: usize = 20;
    let Three { ines, otto, vera } = Three::in_a_room(cluster, places[0], places[1], places[2]).await;
    let talks: Vec<_> = [ines, otto, vera]
        .into_iter()
        .map(|member| tokio::spawn(chatter(member, EACH, 3 * EACH as u64)))
        .collect();
    // Nobody is gone before everybody has seen everything.
    let mut ends = Vec::new();
    for talk in talks {
        ends.push(talk.await.unwrap());
    }
    let shown = ends[0].shown();
    for member in &ends {
        assert_eq!(member.shown(), shown, "{} at {:?}", member.name, member.place);
        let own = shown.iter().filter(|content| content.starts_with(member.name));
        assert!(own.eq(&(0..EACH).map(|n| format!("{} {n}", member.name)).collect::<Vec<_>>()));
    }
    // Whoever comes later sees the same.
    for place in places {
        let mut late = Member::join(cluster, place, ends[0].room(), "late").await;
        late.messages_up_to(3 * EACH as u64).await;
        assert_eq!(late.shown(), shown, "{place:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_from_all_sides_at_once_have_one_order() {
    let cluster = MixedCluster::start(1, 2).await;
    for places in &ONE_OF_OURS[..3] {
        one_order(&cluster, *places).await;
    }
    drop(cluster);
    let cluster = MixedCluster::start(2, 1).await;
    for places in TWO_OF_OURS {
        one_order(&cluster, places).await;
    }
}

/// `ines` says so many things; `otto` sees them when he comes, and all goes on from there.
async fn history(cluster: &MixedCluster, admin: Place, there: Place, messages: u64) {
    let room = cluster.room(admin).await;
    let mut ines = Member::join(cluster, admin, &room, "ines").await;
    for n in 1..=messages {
        ines.say(&format!("t{n}")).await;
        assert_eq!(ines.confirmed().await, n);
    }
    // The newest hundred, and their numbers begin at 1.
    let before = messages.saturating_sub(100);
    let mut otto = Member::join(cluster, there, &room, "otto").await;
    for n in before + 1..=messages {
        assert_eq!(otto.message().await, (n - before, format!("t{n}")), "{admin:?}");
    }
    assert_eq!(ines.event().await, Event::came("otto", 2));
    ines.say("live").await;
    assert_eq!(ines.confirmed().await, messages + 1);
    assert_eq!(otto.message().await, (messages + 1 - before, "live".into()));
    // The number in the confirmation is the one that the member knows.
    otto.say("answer").await;
    assert_eq!(otto.confirmed().await, messages + 2 - before, "{admin:?}");
    assert_eq!(ines.message().await, (messages + 2, "answer".into()));
    // A later member gets that and what came since, under the same numbers.
    let mut vera = Member::join(cluster, there, &room, "vera").await;
    vera.messages_up_to(messages + 2 - before).await;
    let first = format!("t{}", before + 1);
    assert_eq!(vera.shown()[0], if messages == 0 { "live" } else { &first });
    assert_eq!(vera.shown().last().unwrap(), "answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_begins_at_one_on_either_side_however_long_the_room_is() {
    let cluster = MixedCluster::start(1, 1).await;
    for (admin, there) in BOTH_SIDES {
        for messages in [0, 50, 150] {
            history(&cluster, admin, there, messages).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_while_others_speak_misses_nothing_on_either_side() {
    const MESSAGES: u64 = 200;
    let cluster = MixedCluster::start(1, 1).await;
    // The original loses what comes between the answer to its join and its listening.
    cluster.original(1).order("join-window 300").await;
    for (admin, there) in BOTH_SIDES {
        let room = cluster.room(admin).await;
        let mut ines = Member::join(&cluster, admin, &room, "ines").await;
        let speaking = tokio::spawn(async move {
            let mut others = Vec::new();
            for n in 1..=MESSAGES {
                ines.say(&format!("t{n}")).await;
                while ines.seen() < n {
                    let frame = ines.next().await;
                    if frame["type"] != "new_message" {
                        others.push(frame);
                    }
                }
            }
            (ines, others)
        });
        let mut otto = Member::join(&cluster, there, &room, "otto").await;
        for n in 1..=MESSAGES {
            assert_eq!(otto.message().await, (n, format!("t{n}")), "{admin:?}");
        }
        let (mut ines, others) = speaking.await.unwrap();
        if others.is_empty() {
            assert_eq!(ines.event().await, Event::came("otto", 2));
        } else {
            assert_eq!((others.len(), &others[0]["data"]["username"]), (1, &json!("otto")));
        }
    }
}

/// Keeps a node busy: says things in a room of that node without waiting for anything, until the connection is dropped.
async fn babble(cluster: &MixedCluster, place: Place) -> tokio::task::JoinHandle<()> {
    let mut client = cluster.client(place).await;
    let room = cluster.room(place).await;
    client.join(&room, "babbler").await;
    tokio::spawn(async move {
        loop {
            for _ in 0..32 {
                client.say(&request::send_message(&room, "babbler", "blah")).await;
            }
            for _ in 0..64 {
                client.next().await;
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_news_of_going_and_coming_concern_nobody_who_is_back() {
    let cluster = MixedCluster::start_with(1, 1, &[], |config| config.limits.shards = 1).await;
    let mut busy = Vec::new();
    for _ in 0..24 {
        busy.push(babble(&cluster, Place::Ours(1)).await);
    }
    for (admin, there) in BOTH_SIDES {
        let room = cluster.room(admin).await;
        let mut otto = cluster.client(there).await;
        otto.join(&room, "otto").await;
        for n in 1..=20 {
            // What comes in between, about himself, would throw him out or be taken for somebody else's coming.
            let left = otto.ask(&request::leave_room(&room, "otto")).await;
            assert_eq!(left["type"], "leave_room_success", "{admin:?}: {left}");
            otto.join(&room, "otto").await;
            for _ in 1..n {
                assert_eq!(otto.next().await["type"], "new_message");
            }
            otto.say(&request::send_message(&room, "otto", "here")).await;
            let mut kinds = Vec::new();
            while kinds.len() < 2 {
                let frame = otto.next().await;
                // An original node may have subscribed him when it is told that he came.
                if there == Place::Ours(1) || frame["type"] != "member_joined" {
                    kinds.push(frame["type"].as_str().unwrap().to_owned());
                }
            }
            kinds.sort();
            assert_eq!(kinds, ["message_sent", "new_message"], "{admin:?}");
        }
    }
    for task in busy {
        task.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_an_original_node_makes_twice_is_one_message() {
    let cluster = MixedCluster::start(1, 1).await;
    let mut three = Three::in_a_room(&cluster, Place::Ours(1), Place::Original(1), Place::Original(1)).await;
    for order in ["repeat *", "calm"] {
        cluster.original(1).order(order).await;
        // Also of words that were said before.
        for content in ["ahoy", "ahoy", "hello", "ahoy"] {
            let next = three.ines.seen() + 1;
            three.otto.say(content).await;
            assert_eq!(three.otto.confirmed().await, next, "{order}: {content}");
            assert_eq!(three.ines.message().await, (next, content.into()));
        }
    }
    // The other names behind that node saw the same.
    three.vera.messages_up_to(8).await;
    three.ines.say("end").await;
    assert_eq!(three.ines.confirmed().await, 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_members_leave_on_either_side_and_all_are_told() {
    const IDLE: Option<&str> = Some("Inactivity");
    let change = |config: &mut chat_node::config::Config| config.limits.inactivity = Duration::from_secs(2);
    let options = ["--inactivity-seconds", "2", "--cleanup-seconds", "0.2"];
    let cluster = MixedCluster::start_with(1, 1, &options, change).await;
    for (admin, there) in BOTH_SIDES {
        let room = cluster.room(admin).await;
        let mut otto = Member::join(&cluster, there, &room, "otto").await;
        let mut ines = Member::join(&cluster, admin, &room, "ines").await;
        assert_eq!(otto.event().await, Event::came("ines", 2), "{admin:?}");
        // Whoever is removed first need not hear of the other.
        let mut removed = Vec::new();
        for member in [&mut otto, &mut ines] {
            let mut heard = Vec::new();
            while heard.last() != Some(&member.name.to_owned()) {
                let Event { kind, name, reason, .. } = member.event().await;
                assert_eq!((kind.as_str(), reason.as_deref()), ("member_left", IDLE), "{admin:?}");
                heard.push(name);
            }
            removed.push(heard);
        }
        removed.sort_by_key(Vec::len);
        assert!(removed[1].starts_with(&removed[0]), "{removed:?}");
        assert_eq!(removed[1].len(), 2, "{removed:?}");
        if there == Place::Ours(1) {
            // Whoever is out hears nothing more of the room and says nothing there.
            otto.say("hello?").await;
            let refused = otto.client.next().await;
            assert_eq!(refused["data"]["error_code"], "NOT_MEMBER", "{refused}");
        }
        // It may come back.
        Member::join(&cluster, there, &room, "otto").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_is_the_same_on_both_sides() {
    let cluster = MixedCluster::start(1, 1).await;
    for (admin, there) in BOTH_SIDES {
        let room = cluster.client(admin).await.create("R & D <x>").await;
        let mut ines = Member::join(&cluster, admin, &room, "ines & <co>").await;
        let mut otto = Member::join(&cluster, there, &room, "öttö 😀").await;
        assert_eq!(ines.event().await, Event::came("öttö 😀", 2));
        let mut number = 0;
        for content in [
            "a<&>\"'é😀\u{7f}\u{85}\u{2028}",
            "two\nlines\tand a tab",
            "  spaces  ",
            "[red]x[/y]",
            "]]>",
        ] {
            for turn in 0..2 {
                number += 1;
                let (speaker, hearer) = if turn == 0 {
                    (&mut ines, &mut otto)
                } else {
                    (&mut otto, &mut ines)
                };
                speaker.say(content).await;
                assert_eq!(speaker.confirmed().await, number);
                assert_eq!(hearer.message().await, (number, content.to_owned()), "{admin:?}");
            }
        }
        // What XML cannot carry is refused by our node, wherever the room is.
        if there == Place::Ours(1) {
            otto.say("bell \u{7}").await;
            let refused = otto.client.next().await;
            assert_eq!(refused["data"]["error_code"], "INVALID_CONTENT", "{refused}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_that_do_not_exist_are_not_found_anywhere() {
    let cluster = MixedCluster::start(1, 1).await;
    for place in [Place::Ours(1), Place::Original(1)] {
        let mut client = cluster.client(place).await;
        let refused = client.ask(&request::join_room("nowhere", "otto")).await;
        assert_eq!(refused["data"]["error_code"], "ROOM_NOT_FOUND", "{place:?}: {refused}");
        let left = client.ask(&request::leave_room("nowhere", "otto")).await;
        assert_eq!(left["type"], "leave_room_success", "{place:?}: {left}");
    }
}
