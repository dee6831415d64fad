//! A run from the outside: start the threads, let them begin together, measure, put the results together.

use crate::proc_stat::{self, Usage};
use crate::report::{Measured, Report};
use crate::scenario::Scenario;
use crate::tally::{Clock, Pulse, Tally};
use crate::violations::Violations;
use crate::worker::{self, Go, Part};
use std::fmt;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Longest preparation: creating rooms, connecting and joining all members.
const PREPARATION: Duration = Duration::from_secs(300);

/// From "all are ready" to the first message.
const HEAD_START: Duration = Duration::from_millis(20);

/// The run itself failed, so nothing is known about the promises; the text says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CannotRun(pub String);

impl fmt::Display for CannotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CannotRun {}

/// Does what the scenario says. Blocks; has its own threads and runtimes.
///
/// # Errors
/// [`CannotRun`] if the members could not be brought into their rooms, or a server process does not exist.
pub fn run(scenario: &Scenario) -> Result<Report, CannotRun> {
    proc_stat::of_all(&scenario.server_pids)?;
    let scenario = Arc::new(scenario.clone());
    let (ready, ready_queue) = mpsc::sync_channel(scenario.threads);
    let mut threads = Vec::new();
    for index in 0..scenario.threads {
        let (go, start) = tokio::sync::oneshot::channel();
        let part = Part {
            scenario: Arc::clone(&scenario),
            index,
            ready: ready.clone(),
            start,
        };
        let spawned = thread::Builder::new()
            .name(format!("load-{index}"))
            .spawn(move || worker::work(part));
        threads.push((go, spawned.map_err(|e| CannotRun(format!("no thread: {e}")))?));
    }
    drop(ready);
    let deadline = Instant::now() + PREPARATION;
    for _ in 0..scenario.threads {
        // An early return drops the other threads' starting signals, which ends them.
        let left = deadline.saturating_duration_since(Instant::now());
        ready_queue
            .recv_timeout(left)
            .map_err(|_| CannotRun("the members were not ready in time".into()))??;
    }
    let clock = Clock::new(Instant::now() + HEAD_START, scenario.warmup, scenario.measured);
    let pulse = Arc::new(Pulse::new(clock.window.clone()));
    let mut handles = Vec::new();
    for (go, handle) in threads {
        // A thread that ended meanwhile says why when it is joined.
        let _ended = go.send(Go {
            clock: clock.clone(),
            pulse: Arc::clone(&pulse),
        });
        handles.push(handle);
    }
    let (server, own) = measure(&scenario, &clock);
    let (mut tally, mut violations) = (Tally::new(), Violations::default());
    for handle in handles {
        let part = handle.join().map_err(|_| CannotRun("a thread panicked".into()))??;
        tally.merge(&part.tally);
        violations.merge(part.violations);
    }
    Ok(Report::new(
        &scenario,
        Measured {
            tally,
            violations,
            longest_pause_micros: pulse.longest(),
            server: (!scenario.server_pids.is_empty()).then_some((server.cpu_seconds, server.rss_bytes)),
            own_cpu_seconds: own.cpu_seconds,
        },
    ))
}

/// What servers and this process used within the window. A server that died meanwhile counts as nothing: the check
/// tells the rest.
// This thread does nothing but wait for the ends of the window.
#[allow(clippy::disallowed_methods)]
fn measure(scenario: &Scenario, clock: &Clock) -> (Usage, Usage) {
    let sample = |micros: u64| {
        thread::sleep(clock.at(micros).saturating_duration_since(Instant::now()));
        let server = proc_stat::of_all(&scenario.server_pids).unwrap_or_default();
        (server, proc_stat::of_self().unwrap_or_default())
    };
    let (before, after) = (sample(clock.window.start), sample(clock.window.end));
    let used = |before: Usage, after: Usage| Usage {
        cpu_seconds: (after.cpu_seconds - before.cpu_seconds).max(0.0),
        rss_bytes: after.rss_bytes,
    };
    (used(before.0, after.0), used(before.1, after.1))
}
