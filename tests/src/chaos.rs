//! The kill test: three real processes under load, one random fault after the other, and a check of everything that was
//! promised after each of them.
//!
//! A round: the load runs, a fault happens and ends, every room must take sends of everybody again within
//! [`RECOVERY`], then the load pauses, what was acknowledged and what was shown is compared with what the rooms hold.
//! Guests go in the middle of the fault, and must be forgotten some time after it. Doomed rooms are deleted in the middle of it, and
//! must be gone everywhere or whole everywhere some time after it.
//!
//! The load and the comparison are those of [`chat_load::endure`], which operators have, too.

pub mod doomed;
pub mod fault;
pub mod guests;
pub mod nodes;
pub mod rolling;

use crate::chaos::doomed::{Ends, Rooms};
use crate::chaos::fault::{Fault, Random};
use crate::chaos::guests::Guests;
use crate::chaos::nodes::Nodes;
use chat_load::args::Dialect;
use chat_load::endure::checker::Room;
use chat_load::endure::create_room;
use chat_load::endure::crowd::{Crowd, Member};
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Longest time from the end of a fault until every sender got a message into every room.
pub const RECOVERY: Duration = Duration::from_secs(10);
/// How long the load runs before a fault.
const CALM: Duration = Duration::from_millis(700);
/// From the beginning of a fault until the guests go.
const FAREWELL: Duration = Duration::from_millis(300);
/// Milliseconds, at most, from the wish that a room be deleted until the fault; a deletion without faults takes about as long.
const BEFORE: u64 = 15;
/// Longest time until what is under way is done when the load pauses.
const SETTLE: Duration = Duration::from_secs(20);
/// Extended sessions whose first address is the same node.
const EXTENDED_PER_NODE: usize = 2;
/// Between two sends of one sender into one room.
const PACE: Duration = Duration::from_millis(20);
/// Most memory of a node after a round.
const MEMORY: u64 = 256 << 20;
/// Longest time from the end of the last round until each node has given back the memory that the faults took.
const RETURN: Duration = Duration::from_secs(30);
/// Broken promises that are said in words; the others are counted.
const SAID: usize = 50;

/// What to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server.
    pub program: PathBuf,
    /// How many faults.
    pub rounds: u32,
    /// The same seed plans the same faults.
    pub seed: u64,
    /// A directory on a small file system, which is filled to make the disk of the third node full.
    pub small_disk: Option<PathBuf>,
    /// Only faults of this one of [`Fault::KINDS`].
    pub only: Option<String>,
    /// Stop at the first violation.
    pub first_only: bool,
}

/// What came out.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Promises that were broken.
    pub violations: Vec<String>,
    /// Messages that were acknowledged.
    pub acknowledged: u64,
    /// Messages that were shown to members.
    pub delivered: u64,
    /// The longest time without an acknowledgement in any room, per round.
    pub pauses: Vec<Duration>,
    /// How the rooms ended that were deleted during the faults.
    pub doomed: Ends,
    /// Where logs and data of the nodes are, if a promise was broken.
    pub kept: Option<PathBuf>,
}

/// Runs the plan. `say` gets one line per round, and one per broken promise when it is found.
///
/// # Errors
/// The cluster could not be started, or not be asked although no promise was broken before. The logs and the data are kept then,
/// too.
pub async fn run(plan: &Plan, mut say: impl FnMut(String)) -> Result<Outcome, String> {
    let mut nodes = Nodes::start(&plan.program, plan.small_disk.as_deref()).await?;
    let mut outcome = Outcome::default();
    let done = rounds(plan, &mut nodes, &mut outcome, &mut say).await;
    if done.is_err() || !outcome.violations.is_empty() {
        outcome.kept = nodes.keep_logs();
    }
    let Err(why) = done else { return Ok(outcome) };
    if outcome.violations.is_empty() {
        let kept = outcome.kept.map(|kept| kept.display().to_string());
        return Err(format!(
            "{why}; logs and data of the nodes are in {}",
            kept.unwrap_or_default()
        ));
    }
    // Whatever was broken may be why.
    outcome.broke(vec![format!("the test could not go on: {why}")], &mut say);
    Ok(outcome)
}

impl Outcome {
    fn broke(&mut self, broken: Vec<String>, say: &mut impl FnMut(String)) {
        for what in broken {
            if self.violations.len() < SAID {
                say(format!("BROKEN {what}"));
            }
            self.violations.push(what);
        }
    }
}

async fn rounds(
    plan: &Plan,
    nodes: &mut Nodes,
    outcome: &mut Outcome,
    say: &mut impl FnMut(String),
) -> Result<(), String> {
    let mut rooms = Vec::new();
    for n in 0..nodes.len() {
        rooms.push(create_room(&nodes.url(n), &format!("room {n}"), "chaos").await?);
    }
    let crowd = Crowd::start(&nodes.urls(), &rooms, members(nodes.len()), PACE);
    crowd.resume();
    let mut guests = Guests::default();
    let mut random = Random::new(plan.seed);
    // Of its own, so that a seed plans the faults that it always planned.
    let mut doom = Random::new(!plan.seed);
    let mut log: Vec<Room> = rooms.iter().map(|id| Room::new(id)).collect();
    crowd
        .everybody_sends(RECOVERY.saturating_mul(3))
        .await
        .map_err(|why| format!("at the start: {why}"))?;
    let baseline: Vec<u64> = (0..nodes.len()).map(|n| nodes.memory(n)).collect();
    for round in 1..=plan.rounds {
        let fault = loop {
            let fault = Fault::random(&mut random, nodes.len(), plan.small_disk.is_some());
            if plan.only.as_ref().is_none_or(|only| fault.kind() == only) {
                break fault;
            }
        };
        crowd.resume();
        guests.enter(&nodes.urls(), &rooms).await;
        let urls = nodes.urls();
        let mut doomed = Rooms::open(&urls, &mut doom)
            .await
            .map_err(|why| format!("round {round}: {why}"))?;
        sleep(CALM).await;
        // The first room is deleted about when the fault begins, the others in the middle of it.
        doomed.delete(0, &urls, &mut doom);
        sleep(Duration::from_millis(doom.below(BEFORE))).await;
        let began = Instant::now();
        let going = async {
            sleep(FAREWELL).await;
            for nth in 1..doomed.len() {
                doomed.delete(nth, &urls, &mut doom);
            }
            guests.go(&rooms).await;
        };
        let (happened, ()) = tokio::join!(fault.happen(nodes), going);
        happened?;
        let lasted = began.elapsed();
        let ended = Instant::now();
        // The rooms are in the order of their nodes.
        fault.restarted().iter().for_each(|node| guests.returned(*node));
        let mut broken: Vec<String> = Vec::new();
        if let Err(why) = crowd.everybody_sends(RECOVERY).await {
            broken.push(format!(
                "not everybody could send within {RECOVERY:?} after the fault: {why}"
            ));
            // Later is better than never: the check goes on with what is there.
            drop(crowd.everybody_sends(SETTLE).await);
        }
        let recovered = ended.elapsed();
        let pause = crowd.pauses().into_iter().max().unwrap_or_default();
        crowd.pause();
        if timeout(SETTLE, crowd.settled()).await.is_err() {
            for (room, open) in crowd.open() {
                broken.push(format!(
                    "{open} sends into room {room} are not done {SETTLE:?} after the load paused"
                ));
            }
        }
        for (n, room) in log.iter_mut().enumerate() {
            let found = crowd.compare_all(n, room, SETTLE).await?;
            broken.extend(found.into_iter().map(|violation| format!("room {n}: {violation}")));
        }
        for n in 0..nodes.len() {
            let memory = nodes.memory(n);
            if memory > MEMORY {
                broken.push(format!("node {} uses {} MiB", n + 1, memory >> 20));
            }
        }
        broken.extend(guests.ghosts(&nodes.urls(), &rooms).await);
        let (half, ends) = doomed.judge(&urls).await;
        broken.extend(half);
        outcome.doomed.add(ends);
        outcome.pauses.push(pause);
        say(format!(
            "round {round}: {fault} ({:.1} s), everybody sends {:.2} s later, longest write pause of a room {:.2} s, {} messages, of {} doomed rooms {} gone ({} confirmed), {} whole{}",
            lasted.as_secs_f64(),
            recovered.as_secs_f64(),
            pause.as_secs_f64(),
            log.iter().map(Room::head).sum::<u64>(),
            ends.gone + ends.whole,
            ends.gone,
            ends.confirmed,
            ends.whole,
            if broken.is_empty() { "" } else { ": PROMISES BROKEN" },
        ));
        let broken = broken.into_iter().map(|what| format!("round {round}, {fault}: {what}"));
        outcome.broke(broken.collect(), say);
        (outcome.acknowledged, outcome.delivered) = crowd.totals();
        if plan.first_only && !outcome.violations.is_empty() {
            break;
        }
    }
    let deadline = Instant::now() + guests::FORGOTTEN + RETURN;
    while !guests.all_forgotten() && (!plan.first_only || outcome.violations.is_empty()) {
        if Instant::now() > deadline {
            return Err("the rooms do not say who is in them".into());
        }
        outcome.broke(guests.ghosts(&nodes.urls(), &rooms).await, say);
        sleep(CALM).await;
    }
    if outcome.violations.is_empty() || !plan.first_only {
        let (memory, too_much) = returned_memory(nodes, &baseline).await;
        say(memory);
        outcome.broke(too_much, say);
    }
    (outcome.acknowledged, outcome.delivered) = crowd.totals();
    Ok(())
}

/// What a node may still use when the load has paused, of what it used when the load had just begun.
///
/// At both moments the same sessions are in the same rooms. What may be there in addition is bounded: the store's cache of
/// pages fills with the database (16 MiB of the writer, 2 MiB of each of two readers), each room fills a ring of 1 MiB of
/// frames and a memory of 1,024 sendings, and of what the faults made wait, the allocator keeps pieces. That is 32 MiB at
/// most; half of the start is for what is proportional to it. Measured over 60 rounds: 11 MiB at the start, 16 MiB at the
/// end, and never more than 30.
const fn may_keep(baseline: u64) -> u64 {
    baseline + baseline / 2 + (32 << 20)
}

/// Waits until each node uses no more than it may; in words what they use, and who uses too much.
async fn returned_memory(nodes: &Nodes, baseline: &[u64]) -> (String, Vec<String>) {
    let deadline = Instant::now() + RETURN;
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    loop {
        let used: Vec<u64> = (0..nodes.len()).map(|n| nodes.memory(n)).collect();
        let both = || used.iter().zip(baseline).enumerate();
        let too_much: Vec<String> = both()
            .filter(|(_, (used, before))| **used > may_keep(**before))
            .map(|(n, (used, before))| {
                format!(
                    "node {} uses {} MiB {RETURN:?} after the last round, and used {} MiB at the start",
                    n + 1,
                    mib(*used),
                    mib(*before)
                )
            })
            .collect();
        if too_much.is_empty() || Instant::now() > deadline {
            let each =
                both().map(|(n, (used, before))| format!("node {} {} of {} MiB", n + 1, mib(*used), mib(*before)));
            let each: Vec<String> = each.collect();
            return (format!("memory, and at the start: {}", each.join(", ")), too_much);
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// The sessions: two extended ones and a classic one begin at each node. All of them send.
fn members(nodes: usize) -> Vec<Member> {
    let member = |name, dialect, home| Member {
        name,
        dialect,
        home,
        sends: true,
    };
    let mut members = Vec::new();
    for n in 0..nodes {
        let extended = (0..EXTENDED_PER_NODE).map(|i| format!("extended-{}-{i}", n + 1));
        members.extend(extended.map(|name| member(name, Dialect::Extended, n)));
        members.push(member(format!("classic-{}", n + 1), Dialect::Classic, n));
    }
    members
}
