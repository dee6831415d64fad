//! Networks that are cut: between two machines, between one and the API, between one and all others before it dies.

use super::discovery::client;
use super::hooks::{Done, Machines};
use super::load::{Load, Plan};
use super::release::{NODES, Namespace, QUICK, Release};
use super::{LONG, SHORT, Suite, seconds};
use crate::tools::{Beside, throughout, until};
use std::time::{Duration, Instant};

/// Seconds of load around a cut between two machines.
const CUT_LOAD: u32 = 75;

/// How long the API stays away.
const API_AWAY: Duration = Duration::from_secs(120);

/// Seconds of load around that.
const API_LOAD: u32 = 150;

/// Seconds of load around a machine that is lost.
const LOST_LOAD: u32 = 90;

/// Longest wait for the end of a send across a cut: the node of the room is not there, and the client is told.
const DEADLINE: Duration = Duration::from_secs(15);

/// Longest time without an acknowledgement in rooms that a fault is not about.
pub(super) const UNAFFECTED: f64 = 5.0;

pub(super) fn between_two(suite: &mut Suite<'_>) -> Result<(), String> {
    let machines = Machines::find()?;
    let release = Release::install("chat", Namespace::restricted("chat-kube-cut")?, &QUICK)?;
    release.found_each_other()?;
    let places = release.places()?;
    let [(near, near_at), (far, far_at), (third, third_at)] = places.as_slice() else {
        return Err(format!("three nodes are needed, not {places:?}"));
    };
    let load = Load::start(
        &release,
        Plan {
            seconds: CUT_LOAD,
            resumes: 0,
            rejoins: true,
            machine: Some(third_at),
            ..Plan::default()
        },
    )?;
    let mut people = People::meet(&release, near, far, third)?;

    let cut = Done::cut(machines.number(near_at)?, &machines.number(far_at)?.to_string())?;
    let since = Instant::now();
    people.otto.say("at once")?;
    let (at_once, at_once_after) = fate(&mut people.otto, "at once")?;
    until("both say that the other one is gone", SHORT, || {
        for (pod, peer) in [(near, far), (far, near)] {
            if release.health(pod, peer)? != 0 {
                return Err(format!("{pod} does not say that {peer} has failed"));
            }
        }
        Ok(())
    })?;
    let noticed = since.elapsed();
    people.emil.say("later")?;
    let (later, later_after) = fate(&mut people.emil, "later")?;
    // The third one speaks with both, and is heard.
    people.kurt.say("third")?;
    people.ines.hear("kurt: third", SHORT)?;
    people.ines.say("meanwhile")?;
    people.kurt.hear("ines: meanwhile", SHORT)?;
    for peer in [near, far] {
        if release.health(third, peer)? != 2 {
            return Err(format!("{third} lost {peer} although nothing is between them"));
        }
    }
    let lasted = since.elapsed();
    cut.undo()?;

    let since = Instant::now();
    for missed in ["kurt: third", "ines: meanwhile"] {
        people.vera.hear(missed, SHORT)?;
    }
    let closed = since.elapsed();
    release.found_each_other()?;
    let whole = since.elapsed();
    drop(people);
    load.lasts(Duration::from_secs(10))?;
    let kept = load.verdict(&release)?;
    release.remove()?;
    suite.figure("the cut lasted", seconds(lasted));
    suite.figure("cut to both saying that the other one has failed", seconds(noticed));
    suite.figure(
        "a send across it at once",
        format!("{} after {}", at_once, seconds(at_once_after)),
    );
    suite.figure(
        "a send across it later",
        format!("{} after {}", later, seconds(later_after)),
    );
    suite.figure("healed to the gap closed", seconds(closed));
    suite.figure("healed to healthy peers", seconds(whole));
    kept.tell(suite);
    let third = kept.pauses.last().copied().unwrap_or_default();
    if third > UNAFFECTED || at_once_after.max(later_after) > DEADLINE {
        return Err(format!(
            "the room of the third node had a gap of {third:.1} s, or a send had no end in time"
        ));
    }
    Ok(())
}

/// Who talks in a room of the far node: `ines` there, `kurt` at the third one, `vera`, `otto` and `emil` at the near one. The last two
/// speak the classic dialect, in which every line is answered or given up.
struct People {
    ines: Beside,
    kurt: Beside,
    vera: Beside,
    otto: Beside,
    emil: Beside,
    _forwards: Vec<Beside>,
}

impl People {
    fn meet(release: &Release, near: &str, far: &str, third: &str) -> Result<Self, String> {
        let mut forwards = Vec::new();
        let mut come = |pod: &str, name: &str, dialect: &str| {
            let (forward, client) = client(release, pod, name, dialect)?;
            forwards.push(forward);
            Ok::<_, String>(client)
        };
        let mut ines = come(far, "ines", "extended")?;
        ines.hear("-- joined shed (1 member: ines)", SHORT)?;
        // Nodes tell each other of their rooms every few seconds, and who hears this has found the same room.
        ines.say("first")?;
        ines.hear("ines: first", SHORT)?;
        let mut others = Vec::new();
        for (pod, name, dialect) in [
            (third, "kurt", "extended"),
            (near, "vera", "extended"),
            (near, "otto", "classic"),
            (near, "emil", "classic"),
        ] {
            let mut other = come(pod, name, dialect)?;
            other.hear("ines: first", SHORT)?;
            others.push(other);
        }
        let [kurt, vera, otto, emil] = others.try_into().map_err(|_| "four others")?;
        Ok(Self {
            ines,
            kurt,
            vera,
            otto,
            emil,
            _forwards: forwards,
        })
    }
}

/// What a client is told about a line that it cannot deliver, and after how long.
pub(super) fn fate(client: &mut Beside, line: &str) -> Result<(String, Duration), String> {
    let since = Instant::now();
    let told = client.hear(&format!(": {line}"), SHORT)?;
    if !told.starts_with("!! ") {
        return Err(format!("a line crossed the cut: {told}"));
    }
    Ok((format!("\"{told}\""), since.elapsed()))
}

pub(super) fn off_the_api(suite: &mut Suite<'_>) -> Result<(), String> {
    let machines = Machines::find()?;
    let release = Release::install("chat", Namespace::restricted("chat-kube-cut-api")?, &QUICK)?;
    release.found_each_other()?;
    let names = release.pod_names()?;
    let places = release.places()?;
    let (pod, machine) = places.last().ok_or("no pods")?;
    let load = Load::start(
        &release,
        Plan {
            seconds: API_LOAD,
            resumes: 0,
            ..Plan::default()
        },
    )?;
    let cut = Done::cut(machines.number(machine)?, "api")?;
    let looks = throughout(API_AWAY, || release.all_healthy(&names))?;
    let sources: Vec<String> = release
        .metrics(pod)?
        .lines()
        .filter(|line| line.starts_with("chat_discovery_source{") && line.ends_with(" 1"))
        .map(str::to_owned)
        .collect();
    cut.undo()?;
    let since = Instant::now();
    until("the API is asked again", LONG, || {
        release.says(pod, "chat_discovery_source{source=\"kubernetes\"} 1")
    })?;
    let back = since.elapsed();
    load.lasts(Duration::ZERO)?;
    let kept = load.verdict(&release)?;
    release.remove()?;
    suite.figure(
        "a node cut off the API",
        format!("{}; {looks} looks, all nodes healthy peers in each", seconds(API_AWAY)),
    );
    suite.figure("its source at the end of that", sources.join(" "));
    suite.figure("healed to the API again", seconds(back));
    kept.tell(suite);
    unaffected(&kept.pauses)
}

pub(super) fn off_all_then_dead(suite: &mut Suite<'_>) -> Result<(), String> {
    let machines = Machines::find()?;
    let release = Release::install("chat", Namespace::restricted("chat-kube-lost")?, &QUICK)?;
    release.found_each_other()?;
    let places = release.places()?;
    let [(first, first_at), others @ .., (lost, lost_at)] = places.as_slice() else {
        return Err(format!("three nodes are needed, not {places:?}"));
    };
    let load = Load::start(
        &release,
        Plan {
            seconds: LOST_LOAD,
            resumes: 0,
            rejoins: true,
            machine: Some(first_at),
            ..Plan::default()
        },
    )?;
    let container = |release: &Release| Ok::<_, String>(release.pod(lost)?["status"]["containerStatuses"][0].clone());
    let before = container(&release)?["containerID"].clone();
    let number = machines.number(lost_at)?;
    let since = Instant::now();
    let cut = Done::cut(number, "all")?;
    let crashed = Done::crashed(&[number])?;
    until("the others say that it has failed", SHORT, || {
        for pod in others.iter().map(|(pod, _)| pod).chain([first]) {
            if release.health(pod, lost)? != 0 {
                return Err(format!("{pod} does not"));
            }
        }
        Ok(())
    })?;
    let noticed = since.elapsed();
    cut.undo()?;
    crashed.undo()?;
    let since = Instant::now();
    until("it runs again", LONG, || {
        let now = container(&release)?;
        if now["containerID"] != before && now["ready"] == true {
            Ok(())
        } else {
            Err(now.to_string())
        }
    })?;
    release.ready(NODES)?;
    release.found_each_other()?;
    let back = since.elapsed();
    load.lasts(Duration::from_secs(10))?;
    let kept = load.verdict(&release)?;
    release.remove()?;
    suite.figure("silent loss to the others saying that it has failed", seconds(noticed));
    suite.figure("machine started to healthy peers", seconds(back));
    kept.tell(suite);
    // Rooms and sessions are on one node after the other; the lost one is the last.
    suite.figure(
        "p99 of acknowledgements to sessions of the others in rooms of the others",
        format!("{:.0} ms", kept.p99_apart_from(others.len() + 1)),
    );
    unaffected(kept.pauses.get(..others.len() + 1).unwrap_or_default())
}

/// Judges the gaps of rooms that a fault is not about.
fn unaffected(pauses: &[f64]) -> Result<(), String> {
    match pauses.iter().find(|pause| **pause > UNAFFECTED) {
        Some(pause) => Err(format!("a room that this is not about had a gap of {pause:.1} s")),
        None => Ok(()),
    }
}
