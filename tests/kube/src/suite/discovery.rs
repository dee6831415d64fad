//! Nodes that come, go, and are found.

use super::release::{NODES, Namespace, QUICK, Release};
use super::{LONG, SHORT, Suite, seconds};
use crate::tools::{Beside, until};
use std::time::{Duration, Instant};

/// Longest time from the address of a node in the EndpointSlices to a heartbeat in both directions between it and every other.
const FOUND: Duration = Duration::from_secs(5);

/// The same where DNS is asked instead.
const FOUND_BY_DNS: Duration = Duration::from_secs(30);

/// What was said in the room of a node that goes.
pub(super) const WORDS: [&str; 3] = ["first", "second", "third"];

pub(super) fn three_five_three(suite: &mut Suite<'_>) -> Result<(), String> {
    let release = Release::install("chat", Namespace::restricted("chat-kube-scale")?, &QUICK)?;
    release.found_each_other()?;
    let starts = starts(&release)?;
    let found = grow(&release, NODES + 2)?;
    release.ready(NODES + 2)?;
    let names = release.pod_names()?;
    let (first, last) = names.first().zip(names.last()).ok_or("no pods")?;
    let mut room = Room::open(&release, last, first)?;

    release.scale(NODES)?;
    release.ready(NODES)?;
    let refused = room.refused()?;
    drop(room);

    let again = grow(&release, NODES + 2)?;
    release.ready(NODES + 2)?;
    let heard = history_at(&release, first)?;
    let after = starts_of(&release, NODES)?;
    if after != starts {
        return Err(format!(
            "scaling restarted nodes: they started at {starts:?}, now {after:?}"
        ));
    }
    release.remove()?;
    suite.figure("address listed to heartbeats in both directions", seconds(found));
    suite.figure("the same for the nodes that came back", seconds(again));
    suite.figure("room of a node that is gone", refused);
    suite.figure("messages of that room when it was back", heard);
    if found.max(again) > FOUND {
        return Err(format!("that is more than {}", seconds(FOUND)));
    }
    Ok(())
}

pub(super) fn without_the_right(suite: &mut Suite<'_>) -> Result<(), String> {
    let release = Release::install("chat", Namespace::restricted("chat-kube-forbidden")?, &QUICK)?;
    release.found_each_other()?;
    everybody_says(&release, "chat_discovery_source{source=\"kubernetes\"} 1")?;
    let binding = release.kubectl(&["get", "rolebinding", "chat", "--output=json"])?;
    release.kubectl(&["delete", "rolebinding", "chat"])?;
    let since = Instant::now();
    everybody_says(&release, "chat_discovery_source{source=\"dns\"} 1")?;
    let noticed = since.elapsed();
    let found = grow(&release, NODES + 1)?;

    let given = super::release::apply(&["--namespace", &release.namespace.name], &without_identity(&binding)?)?;
    if !given.ok {
        return Err(format!("the right cannot be given back: {given:?}"));
    }
    let since = Instant::now();
    everybody_says(&release, "chat_discovery_source{source=\"kubernetes\"} 1")?;
    let back = since.elapsed();
    release.ready(NODES + 1)?;
    release.remove()?;
    suite.figure("right taken to DNS on every node", seconds(noticed));
    suite.figure(
        "address listed to heartbeats in both directions, by DNS",
        seconds(found),
    );
    suite.figure("right given back to the API on every node", seconds(back));
    if found > FOUND_BY_DNS {
        return Err(format!("that is more than {}", seconds(FOUND_BY_DNS)));
    }
    Ok(())
}

/// Asks for more nodes; the time from the moment at which the last new one is listed to that at which it and every other node are
/// healthy peers of each other.
fn grow(release: &Release, replicas: usize) -> Result<Duration, String> {
    release.scale(replicas)?;
    until("the addresses of all nodes are listed", LONG, || {
        let listed = release.kubectl(&[
            "get",
            "endpointslices",
            "--selector=kubernetes.io/service-name=chat-headless",
            "--output=jsonpath={.items[*].endpoints[*].targetRef.name}",
        ])?;
        let count = listed.split_whitespace().count();
        if count == replicas {
            Ok(())
        } else {
            Err(format!("{count} of {replicas}"))
        }
    })?;
    let since = Instant::now();
    release.found_each_other()?;
    Ok(since.elapsed())
}

/// Waits until every node says a line of its metrics.
fn everybody_says(release: &Release, line: &str) -> Result<(), String> {
    let names = release.pod_names()?;
    until(line, LONG, || {
        names.iter().try_for_each(|name| release.says(name, line))
    })
}

/// A room of the node that goes, in which a client of that node and one of another have talked. The other one stays.
struct Room {
    _forward: Beside,
    otto: Beside,
}

impl Room {
    /// `ines` makes the room at the node that goes and says a few words, `otto` comes in at the one that stays.
    fn open(release: &Release, goes: &str, stays: &str) -> Result<Self, String> {
        let (_forward, mut ines) = client(release, goes, "ines", "extended")?;
        ines.hear("-- joined shed (1 member: ines)", SHORT)?;
        // Nodes tell each other of their rooms every few seconds, and two rooms of one name would be made otherwise.
        for word in WORDS {
            ines.say(word)?;
            ines.hear(&format!("ines: {word}"), SHORT)?;
        }
        let (forward, mut otto) = client(release, stays, "otto", "classic")?;
        ines.hear("-- otto joined", SHORT)?;
        otto.hear(&format!("ines: {}", WORDS[WORDS.len() - 1]), SHORT)?;
        ines.finish(SHORT)?;
        Ok(Self {
            _forward: forward,
            otto,
        })
    }

    /// What `otto` is told about a line while the node of the room is away.
    fn refused(&mut self) -> Result<String, String> {
        self.otto.say("anybody?")?;
        // The words of ADMIN_NODE_UNAVAILABLE.
        self.otto.hear("Administrator node unavailable", SHORT)
    }
}

/// A line client that speaks to one pod, in the room `shed`, which it makes if it finds none.
pub(super) fn client(release: &Release, pod: &str, name: &str, dialect: &str) -> Result<(Beside, Beside), String> {
    let (forward, url) = release.forward(pod)?;
    let line = format!("chat-tui --plain {url} --name {name} --room shed --dialect {dialect}");
    Ok((forward, Beside::start(&line)?))
}

/// How many messages of that room a client of another node gets, which must be all, in order.
pub(super) fn history_at(release: &Release, pod: &str) -> Result<usize, String> {
    let (_forward, mut vera) = client(release, pod, "vera", "extended")?;
    for word in WORDS {
        vera.hear(&format!("ines: {word}"), SHORT)?;
    }
    vera.finish(SHORT)?;
    Ok(WORDS.len())
}

/// When the nodes started.
fn starts(release: &Release) -> Result<Vec<String>, String> {
    starts_of(release, NODES)
}

/// When the first so many nodes started.
fn starts_of(release: &Release, nodes: usize) -> Result<Vec<String>, String> {
    let pods = release.pods()?;
    let start =
        |pod: &serde_json::Value| pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"].to_string();
    Ok(pods.iter().take(nodes).map(start).collect())
}

/// An object as it may be made anew.
fn without_identity(object: &str) -> Result<String, String> {
    let mut object: serde_json::Value = serde_json::from_str(object).map_err(|why| why.to_string())?;
    for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
        object["metadata"][field] = serde_json::Value::Null;
    }
    Ok(object.to_string())
}
