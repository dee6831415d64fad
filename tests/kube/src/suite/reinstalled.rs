//! What stays when a release goes, and what a node does whose claim is gone.

use super::discovery::{WORDS, client, history_at};
use super::load::{Load, Plan};
use super::release::{NODES, Namespace, QUICK, Release};
use super::wire::{first_in_a_new_room, room_called, send_to};
use super::{LONG, SHORT, Suite, seconds};
use crate::tools::{self, until};
use serde_json::Value as Json;
use std::time::{Duration, Instant};

/// Seconds of load before it is removed.
const LOAD: u32 = 30;

pub(super) fn keeps_its_data(suite: &mut Suite<'_>) -> Result<(), String> {
    let release = Release::install("chat", Namespace::restricted("chat-kube-reinstalled")?, &QUICK)?;
    release.found_each_other()?;
    let load = Load::start(
        &release,
        Plan {
            seconds: LOAD,
            resumes: 0,
            ..Plan::default()
        },
    )?;
    let names = release.pod_names()?;
    let (first, last) = names.first().zip(names.last()).ok_or("no pods")?;
    let (forward, mut ines) = client(&release, last, "ines", "extended")?;
    ines.hear("-- joined shed (1 member: ines)", SHORT)?;
    for word in WORDS {
        ines.say(word)?;
        ines.hear(&format!("ines: {word}"), SHORT)?;
    }
    ines.finish(SHORT)?;
    drop(forward);
    let kept = load.verdict(&release)?;

    let claims = claims(&release)?;
    let args = [
        "uninstall",
        &release.name,
        "--namespace",
        &release.namespace.name,
        "--wait",
    ];
    tools::output("helm", &args, LONG)?;
    until("its pods are gone", LONG, || match release.pods()?.len() {
        0 => Ok(()),
        left => Err(format!("{left} are left")),
    })?;
    let Release { name, namespace, .. } = release;
    let release = Release::install(&name, namespace, &QUICK)?;
    if self::claims(&release)? != claims {
        return Err("the claims are not those from before".into());
    }
    release.found_each_other()?;
    let heard = history_at(&release, first)?;

    let lost = without_its_claim(&release, first, last)?;
    release.remove()?;
    kept.tell(suite);
    suite.figure("claims that the next release found again", claims.len());
    suite.figure("messages from before", heard);
    suite.figure(
        "claim deleted to an empty node that is a healthy peer",
        seconds(lost.back),
    );
    suite.figure("a client in a room of it is told", lost.told);
    suite.figure("a message to that room through either node", lost.refused);
    suite.figure("a new room of the same name", lost.anew);
    Ok(())
}

/// What came of a node whose claim was deleted.
struct Lost {
    /// What a client at another node is told that was in a room of it.
    told: String,
    /// How long it took until the node was back.
    back: Duration,
    /// What whoever sends to that room is told, at the other node and at itself.
    refused: String,
    /// The next room of that name, and the number of its first message.
    anew: String,
}

/// Deletes the claim of a node with the node.
fn without_its_claim(release: &Release, stays: &str, loses: &str) -> Result<Lost, String> {
    let (_forward, mut otto) = client(release, stays, "otto", "extended")?;
    otto.hear(&format!("ines: {}", WORDS[WORDS.len() - 1]), SHORT)?;
    let (forward, url) = release.forward(loses)?;
    let old = room_called(&url, "shed")?;
    let number = send_to(&url, &old, "emil")?.seq;
    drop(forward);
    let claim = format!("data-{loses}");
    let uid = |release: &Release| release.kubectl(&["get", "pvc", &claim, "--output=jsonpath={.metadata.uid}"]);
    let before = uid(release)?;
    let since = Instant::now();
    release.kubectl(&["delete", "pvc", &claim, "--wait=false"])?;
    release.kubectl(&["delete", "pod", loses, "--grace-period=1"])?;
    until("the node has another claim", LONG, || match uid(release)? {
        now if now != before && !now.is_empty() => Ok(()),
        _ => Err("it has the same".into()),
    })?;
    release.ready(NODES)?;
    release.found_each_other()?;
    let back = since.elapsed();
    // The room is not there any more, and nobody goes on counting in it.
    let told = otto.hear("!! ", LONG)?;
    let mut refused = Vec::new();
    for pod in [stays, loses] {
        let (_forward, url) = release.forward(pod)?;
        match send_to(&url, &old, "emil") {
            Ok(confirmed) => return Err(format!("{pod} goes on counting after {number}: {confirmed:?}")),
            Err(why) => refused.push(why),
        }
    }
    let (_forward, url) = release.forward(loses)?;
    let anew = first_in_a_new_room(&url, "shed", "vera")?;
    if anew.room_id == old || anew.seq != 1 {
        return Err(format!("after number {number} of {old} comes {anew:?}"));
    }
    Ok(Lost {
        told: format!("\"{told}\""),
        back,
        refused: refused.join("; "),
        anew: format!("another room, whose first message is number {}", anew.seq),
    })
}

/// The claims and the volumes that they have.
fn claims(release: &Release) -> Result<Vec<(String, String)>, String> {
    let text = release.kubectl(&["get", "pvc", "--output=json"])?;
    let claims: Json = serde_json::from_str(&text).map_err(|why| why.to_string())?;
    let claim = |claim: &Json| {
        let volume = claim["spec"]["volumeName"].as_str()?;
        Some((claim["metadata"]["uid"].as_str()?.to_owned(), volume.to_owned()))
    };
    Ok(claims["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(claim)
        .collect())
}
