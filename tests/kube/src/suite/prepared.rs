//! A network that is cut between PREPARE and COMMIT of a deletion: whoever has promised waits, and decides nothing alone.

use super::cut::{UNAFFECTED, fate};
use super::discovery::client;
use super::hooks::{Done, Machines};
use super::load::{Load, Plan};
use super::release::{Namespace, QUICK, Release};
use super::wire::{delete, room_called};
use super::{LONG, SHORT, Suite, seconds, setting};
use crate::tools::{throughout, until};
use std::time::{Duration, Instant};

/// The variable that names the tag of a build with the feature `pause-points`.
pub(super) const PAUSED: &str = "CHAT_KUBE_PAUSED";

/// For how long nodes of that build wait with their decision. A prepared node says after ten seconds that it is in doubt, and it
/// takes a few more to cut the network.
const PAUSE: &str = "decision=25000";

/// For how long a node stays in doubt across the cut after everybody else knows the end.
const IN_DOUBT: Duration = Duration::from_secs(5);

/// Longest wait for the end of a send into a room that is being deleted.
const DEADLINE: Duration = Duration::from_secs(15);

/// Seconds of load around it.
const LOAD: u32 = 90;

pub(super) fn cut_off(suite: &mut Suite<'_>) -> Result<(), String> {
    let tag = setting(PAUSED).ok_or_else(|| format!("{PAUSED} names no tag"))?;
    let machines = Machines::find()?;
    let image = format!("image.tag={tag}");
    let variable = format!("extraEnv[0].value={PAUSE}");
    let mut args = QUICK.to_vec();
    args.extend([
        "--set",
        &image,
        "--set",
        "extraEnv[0].name=CHAT_PAUSE",
        "--set",
        &variable,
    ]);
    let release = Release::install("chat", Namespace::restricted("chat-kube-prepared")?, &args)?;
    release.found_each_other()?;
    let places = release.places()?;
    let [(near, near_at), (far, far_at), (third, third_at)] = places.as_slice() else {
        return Err(format!("three nodes are needed, not {places:?}"));
    };
    let load = Load::start(
        &release,
        Plan {
            seconds: LOAD,
            resumes: 0,
            rejoins: true,
            machine: Some(third_at),
            ..Plan::default()
        },
    )?;
    // The room is on the far node, its members on all three.
    let (_forward, mut ines) = client(&release, far, "ines", "extended")?;
    ines.hear("-- joined shed (1 member: ines)", SHORT)?;
    ines.say("first")?;
    ines.hear("ines: first", SHORT)?;
    let (_near, mut vera) = client(&release, near, "vera", "classic")?;
    let (_third, mut kurt) = client(&release, third, "kurt", "classic")?;
    for member in [&mut vera, &mut kurt] {
        member.hear("ines: first", SHORT)?;
    }

    let (_asking, url) = release.forward(far)?;
    let room = room_called(&url, "shed")?;
    let asked = Instant::now();
    let deletion = delete(url, &room, "ines");
    until("both have promised and do not know the end", SHORT, || {
        in_doubt(&release, near, 1).and_then(|()| in_doubt(&release, third, 1))
    })?;
    let prepared = asked.elapsed();
    let cut = Done::cut(machines.number(near_at)?, &machines.number(far_at)?.to_string())?;
    let cut_after = asked.elapsed();
    // No decision has been made: the pause outlasts the cut's coming.
    release.says(far, "chat_deletions_committed_total 0")?;
    vera.say("is anybody there?")?;
    let (told, after) = fate(&mut vera, "is anybody there?")?;
    until("the decision reaches the node that is not cut off", LONG, || {
        release.says(far, "chat_deletions_committed_total 1")?;
        in_doubt(&release, third, 0)
    })?;
    kurt.hear("the room was deleted", SHORT)?;
    let decided = asked.elapsed();
    let looks = throughout(IN_DOUBT, || in_doubt(&release, near, 1))?;
    let frames = deletion.join().map_err(|_| "the deletion panicked")??;
    cut.undo()?;

    let since = Instant::now();
    until("the node that was cut off knows the end", SHORT, || {
        in_doubt(&release, near, 0)
    })?;
    vera.hear("the room was deleted", SHORT)?;
    let known = since.elapsed();
    release.found_each_other()?;
    for pod in [near, far, third] {
        let (_forward, url) = release.forward(pod)?;
        if let Ok(id) = room_called(&url, "shed") {
            return Err(format!("{pod} still lists the room that was deleted, as {id}"));
        }
    }
    load.lasts(Duration::ZERO)?;
    let kept = load.verdict(&release)?;
    release.remove()?;
    suite.figure("asked to both nodes in doubt", seconds(prepared));
    suite.figure("asked to the network cut, with no decision yet", seconds(cut_after));
    suite.figure(
        "a send into that room across the cut",
        format!("{told} after {}", seconds(after)),
    );
    suite.figure(
        "asked to the decision, known to the third node and its member",
        seconds(decided),
    );
    suite.figure("looks at the node that was cut off, in doubt in each", looks);
    suite.figure("healed to that node and its member knowing the end", seconds(known));
    suite.figure("whoever asked was told", frames.join(", "));
    kept.tell(suite);
    let third = kept.pauses.last().copied().unwrap_or_default();
    if third > UNAFFECTED || after > DEADLINE {
        return Err(format!(
            "the room of the third node had a gap of {third:.1} s, or the send no end in time"
        ));
    }
    Ok(())
}

/// Whether a node says that it waits for the end of so many deletions.
fn in_doubt(release: &Release, pod: &str, count: u32) -> Result<(), String> {
    release.says(pod, &format!("chat_deletions_in_doubt {count}"))
}
