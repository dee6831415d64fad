//! Our nodes and original ones under traffic in both directions at once.
//!
//! Nothing may stall: no confirmation takes longer than [`STALL`]. At the end everybody has seen every message of both rooms,
//! in one order and without a hole; members at nodes of ours saw none twice on the way, and each own message before it was
//! confirmed.

use chat_tests::mixed::{Event, Member, MixedCluster, Place};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// The longest that a sender may wait, on a machine that runs many other tests. It is less than any limit on a call, so that
/// nothing that ran into one is taken for slowness.
const STALL: Duration = Duration::from_secs(2);
/// Between a confirmation and the next message, so that the original nodes can keep up: a node of theirs takes each message of
/// each room as a call of its own.
const PAUSE: Duration = Duration::from_millis(50);

/// Speaks until it is told to stop, each time after the confirmation of the last; the longest wait for one.
async fn speak(mut member: Member, stop: Arc<AtomicBool>) -> (Member, u64, Duration) {
    let (mut said, mut longest) = (0, Duration::ZERO);
    while !stop.load(Ordering::Acquire) {
        let began = Instant::now();
        member.say(&format!("{} {said}", member.name)).await;
        member.acknowledged().await;
        longest = longest.max(began.elapsed());
        said += 1;
        tokio::time::sleep(PAUSE).await;
    }
    (member, said, longest)
}

/// A room with a member at each place.
async fn members(cluster: &MixedCluster, admin: Place, places: &[Place]) -> Vec<Member> {
    let room = cluster.room(admin).await;
    let mut members: Vec<Member> = Vec::new();
    for ((place, name), count) in places.iter().zip(["ines", "otto", "vera"]).zip(1..) {
        let joined = Member::join(cluster, *place, &room, name).await;
        for member in &mut members {
            assert_eq!(member.event().await, Event::came(name, count));
        }
        members.push(joined);
    }
    members
}

/// Two rooms, one of ours and one of an original node; members of each at every node; all of them speak at once.
#[expect(clippy::print_stdout, reason = "the long form is run to see how long anybody waited")]
async fn crossing_traffic(cluster: &MixedCluster, time: Duration) {
    let places: Vec<_> = cluster.places().collect();
    let stop = Arc::new(AtomicBool::new(false));
    let mut speaking = Vec::new();
    for admin in [Place::Ours(1), Place::Original(1)] {
        for member in members(cluster, admin, &places).await {
            speaking.push(tokio::spawn(speak(member, Arc::clone(&stop))));
        }
    }
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Release);
    let mut ends = Vec::new();
    for member in speaking {
        ends.push(member.await.unwrap());
    }
    for room in ends.chunks_mut(places.len()) {
        let all: u64 = room.iter().map(|(_, said, _)| said).sum();
        for (member, said, longest) in room.iter_mut() {
            let who = format!("{} at {:?}", member.name, member.place);
            println!("{who}: {said} of {all}, longest wait {longest:?}");
            assert!(*said > 0 && *longest < STALL, "{who}: {said}, longest wait {longest:?}");
            // Nobody misses anything, and nothing comes that nobody said.
            member.messages_up_to(all).await;
            let distinct: BTreeSet<_> = member.shown().iter().collect();
            assert_eq!(distinct.len() as u64, all, "{who}");
            let own = member.shown().iter().filter(|content| content.starts_with(member.name));
            let expected: Vec<_> = (0..*said).map(|n| format!("{} {n}", member.name)).collect();
            assert!(own.eq(&expected), "{who}: its own in its order");
        }
        for (member, ..) in room.iter() {
            assert_eq!(
                member.shown(),
                room[0].0.shown(),
                "{} at {:?}",
                member.name,
                member.place
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_in_a_room_of_ours_keeps_nobody_waiting_in_one_of_an_original_node() {
    const FLOOD: usize = 300;
    let cluster = MixedCluster::start(1, 1).await;
    let places = [Place::Ours(1), Place::Original(1)];
    let mut flooded = members(&cluster, Place::Ours(1), &places).await;
    let mut quiet = members(&cluster, Place::Original(1), &places).await;
    // It takes the original node six seconds to hear all this.
    cluster.original(1).order("slow receive_message_broadcast 0.02").await;
    for n in 0..FLOOD {
        flooded[0].say(&format!("flood {n}")).await;
        flooded[0].acknowledged().await;
    }
    for n in 1..=10 {
        let began = Instant::now();
        quiet[0].say("quiet").await;
        assert_eq!(quiet[0].acknowledged().await, n);
        assert!(began.elapsed() < STALL, "{:?}", began.elapsed());
    }
    // It was asked before it had heard the end of the flood, which it hears all the same.
    flooded[1].messages_up_to(FLOOD as u64).await;
    quiet[1].messages_up_to(10).await;
}

async fn crossing_traffic_for(time: Duration) {
    for (ours, originals) in [(1, 2), (2, 1)] {
        let cluster = MixedCluster::start(ours, originals).await;
        crossing_traffic(&cluster, time).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crossing_traffic_stalls_nobody() {
    crossing_traffic_for(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes two minutes; `just mixed` runs it, the one above is the short form"]
async fn crossing_traffic_stalls_nobody_for_a_minute() {
    crossing_traffic_for(Duration::from_secs(60)).await;
}
