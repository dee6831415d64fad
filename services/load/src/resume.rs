//! How long it takes until everybody is back: sessions on one node, the node killed, the sessions resumed on the others.

use crate::args::ResumeArgs;
use crate::{CannotRun, proc_stat, tally};
use chat_client::{ConnectOptions, Connection, ResumingClient, ResumingOptions, SessionEvent};
use futures_util::{StreamExt, TryStreamExt};
use hdrhistogram::Histogram;
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Sessions that are opened at the same time.
const AT_ONCE: usize = 64;
/// Who speaks while the others are away.
const SPEAKER: &str = "speaker";

/// The result.
#[derive(Debug, Clone, Serialize)]
pub struct ResumeReport {
    /// Sessions whose node was killed.
    pub sessions: usize,
    /// Of these, how many were in their room again without anybody hearing that they were gone.
    pub resumed: usize,
    /// Messages that each of them missed and got.
    pub missed: u64,
    /// From the kill until half of them were back and had all, in seconds.
    pub median_seconds: f64,
    /// Until the slowest but one in a hundred was.
    pub p99_seconds: f64,
    /// Until all were.
    pub all_seconds: f64,
    /// Memory of the other servers before the kill, in bytes.
    pub rss_before_bytes: u64,
    /// The most that they ever used, in bytes.
    pub rss_peak_bytes: u64,
}

/// One session, in its room.
struct Seated {
    client: ResumingClient,
    events: mpsc::Receiver<SessionEvent>,
}

/// Opens the sessions, kills their node, and waits until all are back and have what was said meanwhile.
///
/// # Errors
/// If they cannot be opened, or are not back in time.
pub async fn measure(args: &ResumeArgs) -> Result<ResumeReport, CannotRun> {
    let (Some(doomed), [first, ..]) = (args.targets.first(), args.targets.get(1..).unwrap_or_default()) else {
        return Err(CannotRun("at least two targets are needed".into()));
    };
    let pid = i32::try_from(args.kill).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| CannotRun(format!("{} is no process id", args.kill)))?;
    let (speaker, _events) = Connection::connect(first, &ConnectOptions::default())
        .await
        .map_err(cannot(first))?;
    let mut rooms = Vec::new();
    for n in 0..args.rooms {
        let name = format!("resume-{n}-{}", std::process::id());
        let created = speaker.create_room(&name, SPEAKER, None).await.map_err(cannot(first))?;
        rooms.push(created.room_id.to_string());
    }
    for room in &rooms {
        speaker.join(room, SPEAKER).await.map_err(cannot(first))?;
    }
    let patience = Duration::from_secs_f64(args.patience);
    let seated: Vec<Seated> = futures_util::stream::iter(0..args.sessions)
        .map(|n| seat(args, n, &rooms[n % rooms.len()], patience))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let before = proc_stat::of_all(&args.server_pids)?;
    kill_process(pid, Signal::KILL).map_err(|why| CannotRun(format!("{doomed} cannot be killed: {why}")))?;
    let killed = Instant::now();
    let back = seated
        .into_iter()
        .map(|session| tokio::spawn(come_back(session, args.missed, killed)));
    let back: Vec<_> = back.collect();
    for n in 1..=args.missed {
        for room in &rooms {
            let text = format!("while you were away, {n}");
            speaker.send(room, SPEAKER, &text).await.map_err(cannot(first))?;
        }
    }
    let mut times = Histogram::<u64>::new(3).map_err(|why| CannotRun(why.to_string()))?;
    let mut resumed = 0;
    for session in back {
        let left = patience.saturating_sub(killed.elapsed());
        let joined = timeout(left, session).await;
        let joined = joined.map_err(|_| CannotRun(format!("not all sessions are back {patience:?} after the kill")))?;
        let (took, kept) = joined.map_err(|why| CannotRun(why.to_string()))??;
        times
            .record(tally::micros(took))
            .map_err(|why| CannotRun(why.to_string()))?;
        resumed += usize::from(kept);
    }
    let seconds = |micros: u64| micros as f64 / 1e6;
    Ok(ResumeReport {
        sessions: args.sessions,
        resumed,
        missed: args.missed,
        median_seconds: seconds(times.value_at_quantile(0.5)),
        p99_seconds: seconds(times.value_at_quantile(0.99)),
        all_seconds: seconds(times.max()),
        rss_before_bytes: before.rss_bytes,
        rss_peak_bytes: proc_stat::peak_of_all(&args.server_pids)?,
    })
}

fn cannot<E: std::fmt::Display>(at: &str) -> impl Fn(E) -> CannotRun {
    move |why| CannotRun(format!("{at}: {why}"))
}

async fn seat(args: &ResumeArgs, n: usize, room: &str, patience: Duration) -> Result<Seated, CannotRun> {
    // Behind the first address, which all share, half of them begin with another one of the rest.
    let mut addresses = args.targets.clone();
    let others = addresses.len() - 1;
    addresses[1..].rotate_left(n % others);
    let (client, mut events, _driver) = ResumingClient::start(ResumingOptions {
        client: "chat-load".into(),
        persistent: true,
        ..ResumingOptions::new(addresses, &format!("session-{n}"))
    });
    client.join(room, 0).await;
    let joined = async {
        while let Some(event) = events.recv().await {
            match event {
                SessionEvent::Joined { .. } => return Ok(()),
                SessionEvent::JoinRefused { refusal, .. } => {
                    return Err(CannotRun(format!("session {n}: {refusal}")));
                }
                _ => {}
            }
        }
        Err(CannotRun(format!("session {n} ended")))
    };
    let late = |_| CannotRun(format!("session {n} is not in its room after {patience:?}"));
    timeout(patience, joined).await.map_err(late)??;
    Ok(Seated { client, events })
}

/// When the session was in its room again and had everything, and whether its seat was kept.
async fn come_back(session: Seated, missed: u64, killed: Instant) -> Result<(Duration, bool), CannotRun> {
    let Seated { client, mut events } = session;
    let (mut kept, mut seen) = (None, 0);
    while let Some(event) = events.recv().await {
        match event {
            SessionEvent::Joined { resumed, .. } => kept = Some(resumed),
            SessionEvent::Message(_) => seen += 1,
            SessionEvent::Resynced { reason, .. } => {
                return Err(CannotRun(format!("a session lost its place: {reason}")));
            }
            _ => {}
        }
        if let Some(kept) = kept.filter(|_| seen >= missed) {
            drop(client);
            return Ok((killed.elapsed(), kept));
        }
    }
    Err(CannotRun("a session ended".into()))
}

impl ResumeReport {
    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
        format!(
            "sessions         {}, {} of them kept their seats\nback after       {:.2} s (half), {:.2} s (99 %), {:.2} s (all), each with {} missed messages\nother servers    {:.1} MiB before, {:.1} MiB at most",
            self.sessions,
            self.resumed,
            self.median_seconds,
            self.p99_seconds,
            self.all_seconds,
            self.missed,
            mib(self.rss_before_bytes),
            mib(self.rss_peak_bytes),
        )
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
