//! What it costs that a send happens once: ids that a long room has seen before, and new ones.
//!
//! The room was filled beforehand with `stored` messages of the user `load` that say `hello`; the id of number `n` is
//! [`id`]`(n)`. Ids that follow each other are far apart in the order of an index, so that no look-up helps the next one.

use crate::args::OnceArgs;
use crate::{CannotRun, tally};
use chat_client::{ResumingClient, ResumingOptions, SentOnce, SessionEvent};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The id of message `n`: a different one for each up to 2^32 (Knuth's multiplicative hash, which is a permutation).
#[must_use]
pub fn id(n: u64) -> String {
    format!("{:08x}", n.wrapping_mul(2_654_435_761) & 0xffff_ffff)
}

/// The result; times in microseconds.
#[derive(Debug, Clone, Serialize)]
pub struct OnceReport {
    /// Messages in the room before.
    pub stored: u64,
    /// Sends of each kind.
    pub sends: u64,
    /// From sending to confirmation, of sends that are stored already: median.
    pub repeat_median: u64,
    /// The same: 99 %.
    pub repeat_p99: u64,
    /// Of new sends: median.
    pub new_median: u64,
    /// The same: 99 %.
    pub new_p99: u64,
    /// Answers that were wrong: a repeat that was stored again or got another number, a new send that was none.
    pub wrong: u64,
}

struct Times {
    repeats: Histogram<u64>,
    fresh: Histogram<u64>,
    wrong: u64,
}

/// Sends, in turn, a message that the room has and one that it has not, from each sender as soon as the last one is
/// answered.
///
/// # Errors
/// If the room is not there, or a send is not answered.
pub async fn measure(args: &OnceArgs) -> Result<OnceReport, CannotRun> {
    let mut senders = JoinSet::new();
    for nth in 0..args.senders {
        senders.spawn(send(args.clone(), nth));
    }
    let mut total = times()?;
    while let Some(done) = senders.join_next().await {
        let one = done.map_err(|why| CannotRun(why.to_string()))??;
        total.repeats += one.repeats;
        total.fresh += one.fresh;
        total.wrong += one.wrong;
    }
    Ok(OnceReport {
        stored: args.stored,
        sends: total.fresh.len(),
        repeat_median: total.repeats.value_at_quantile(0.5),
        repeat_p99: total.repeats.value_at_quantile(0.99),
        new_median: total.fresh.value_at_quantile(0.5),
        new_p99: total.fresh.value_at_quantile(0.99),
        wrong: total.wrong,
    })
}

fn times() -> Result<Times, CannotRun> {
    let empty = || Histogram::new(3).map_err(|why| CannotRun(why.to_string()));
    Ok(Times {
        repeats: empty()?,
        fresh: empty()?,
        wrong: 0,
    })
}

fn note(times: &mut Histogram<u64>, micros: u64) -> Result<(), CannotRun> {
    times.record(micros).map_err(|why| CannotRun(why.to_string()))
}

async fn send(args: OnceArgs, nth: u64) -> Result<Times, CannotRun> {
    let (client, events, _driver) = ResumingClient::start(ResumingOptions {
        client: "chat-load".into(),
        ..ResumingOptions::new(vec![args.target.clone()], "load")
    });
    client.join(&args.room, 0).await;
    let _reader = tokio::spawn(read(events));
    let mut times = times()?;
    for turn in 0..args.sends.div_ceil(args.senders) {
        let step = turn * args.senders + nth;
        // Far from the one before, also by number.
        let old = 1 + (step * 7_919_333) % args.stored;
        let (sent, took) = say(&client, &args.room, old).await?;
        note(&mut times.repeats, took)?;
        times.wrong += u64::from(!sent.duplicate || sent.seq != old);
        let (sent, took) = say(&client, &args.room, args.stored + 1 + step).await?;
        note(&mut times.fresh, took)?;
        times.wrong += u64::from(sent.duplicate || sent.seq <= args.stored);
    }
    Ok(times)
}

async fn say(client: &ResumingClient, room: &str, n: u64) -> Result<(SentOnce, u64), CannotRun> {
    let start = Instant::now();
    let sent = timeout(PATIENCE, client.send(room, &id(n), "hello")).await;
    let sent = sent.map_err(|_| CannotRun(format!("message {n} was not answered in {PATIENCE:?}")))?;
    let sent = sent.map_err(|why| CannotRun(format!("message {n}: {why}")))?;
    Ok((sent, tally::micros(start.elapsed())))
}

/// Whoever does not take events is not read for.
async fn read(mut events: mpsc::Receiver<SessionEvent>) {
    while events.recv().await.is_some() {}
}

impl OnceReport {
    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let ms = |micros: u64| micros as f64 / 1e3;
        format!(
            "stored messages  {}\nrepeated sends   {} answered, median {:.2} ms, p99 {:.2} ms\nnew sends        {} answered, median {:.2} ms, p99 {:.2} ms\nwrong answers    {}",
            self.stored,
            self.sends,
            ms(self.repeat_median),
            ms(self.repeat_p99),
            self.sends,
            ms(self.new_median),
            ms(self.new_p99),
            self.wrong
        )
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_differ_and_do_not_follow_each_other() {
        let ids: Vec<String> = (1..=10_000).map(id).collect();
        assert_eq!(ids[0], "9e3779b1");
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
        let neighbours = ids.windows(2).filter(|pair| pair[0][..2] == pair[1][..2]).count();
        assert_eq!(neighbours, 0);
    }
}
