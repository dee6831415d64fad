//! One thread with its rooms. Everything of a room happens on one thread, so nothing is locked.

use crate::CannotRun;
use crate::check::RoomCheck;
use crate::scenario::{Pace, Scenario};
use crate::tally::{Clock, Pulse, Tally};
use crate::timer::Timer;
use crate::violations::Violations;
use member::{Schedule, Signal};
use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};

mod member;
mod prepare;

/// How often the end of the drain is looked for.
const LOOK: Duration = Duration::from_millis(2);

/// Longest time to say goodbye to all servers.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a thread is told.
pub(crate) struct Part {
    pub(crate) scenario: Arc<Scenario>,
    /// Which of the scenario's threads; it has every room whose number leaves this remainder.
    pub(crate) index: usize,
    pub(crate) ready: mpsc::SyncSender<Result<(), CannotRun>>,
    pub(crate) start: oneshot::Receiver<Go>,
}

/// The starting signal.
pub(crate) struct Go {
    pub(crate) clock: Clock,
    pub(crate) pulse: Arc<Pulse>,
}

/// What a thread found.
pub(crate) struct Found {
    pub(crate) tally: Tally,
    pub(crate) violations: Violations,
}

/// What all members of a thread share.
pub(crate) struct Shared {
    scenario: Arc<Scenario>,
    go: OnceCell<Go>,
    tally: RefCell<Tally>,
    violations: RefCell<Violations>,
}

/// A room with its members.
struct Room {
    check: Rc<RefCell<RoomCheck>>,
    /// One per member; the first are the senders.
    signals: Vec<Rc<Signal>>,
}

/// Does the part of one thread.
pub(crate) fn work(part: Part) -> Result<Found, CannotRun> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| CannotRun(format!("no runtime: {e}")))?;
    LocalSet::new().block_on(&runtime, drive(part))
}

async fn drive(part: Part) -> Result<Found, CannotRun> {
    let Part {
        scenario,
        index,
        ready,
        start,
    } = part;
    let shared = Rc::new(Shared {
        scenario: Arc::clone(&scenario),
        go: OnceCell::new(),
        tally: RefCell::new(Tally::new()),
        violations: RefCell::default(),
    });
    let mut tasks = JoinSet::new();
    let prepared = prepare::rooms(&shared, index, &mut tasks).await;
    let (rooms, told) = match prepared {
        Ok(rooms) => (rooms, Ok(())),
        Err(error) => (Vec::new(), Err(error)),
    };
    // If nobody listens or nobody starts us, another thread failed and the run is off.
    if ready.send(told.clone()).is_err() {
        return Err(CannotRun("the run was given up".into()));
    }
    told?;
    let go = start
        .await
        .map_err(|_| CannotRun("another thread could not prepare".into()))?;
    let clock = go.clock.clone();
    if shared.go.set(go).is_err() {
        return Err(CannotRun("started twice".into()));
    }

    send(&shared, index, &rooms, &clock).await?;
    drain(&shared, &rooms, &clock).await;
    for signal in rooms.iter().flat_map(|room| &room.signals) {
        signal.stop();
    }
    let farewell = async { while tasks.join_next().await.is_some() {} };
    // What does not close in time is dropped with the tasks.
    let _in_time = timeout(FAREWELL, farewell).await;

    let mut violations = shared.violations.take();
    rooms
        .iter()
        .for_each(|room| room.check.borrow().finish(&mut violations));
    Ok(Found {
        tally: shared.tally.replace(Tally::new()),
        violations,
    })
}

/// Tells the senders when to send, until the end of the window.
async fn send(shared: &Shared, index: usize, rooms: &[Room], clock: &Clock) -> Result<(), CannotRun> {
    let scenario = &shared.scenario;
    // Rooms first, so that neighbours in time are not neighbours in a room.
    let senders: Vec<&Rc<Signal>> = (0..scenario.senders)
        .flat_map(|nth| rooms.iter().map(move |room| &room.signals[nth]))
        .collect();
    let timer = Timer::new().map_err(|e| CannotRun(format!("no timer: {e}")))?;
    let sleep_until = async |at: Instant| {
        let left = at.saturating_duration_since(Instant::now());
        timer
            .sleep(left)
            .await
            .map_err(|e| CannotRun(format!("the timer failed: {e}")))
    };
    match scenario.pace {
        Pace::Closed => {
            sleep_until(clock.start).await?;
            senders.iter().for_each(|signal| signal.release());
        }
        Pace::Open(rate) => {
            let share = senders.len() as f64 / (scenario.senders * scenario.rooms) as f64;
            // Threads take turns: the first message of thread 1 is due one interval after that of thread 0.
            let all = Schedule {
                first: index as f64 / rate,
                step: 1.0 / (rate * share),
            };
            for (turn, sender) in senders.iter().enumerate() {
                let first = all.first + all.step * turn as f64;
                sender.follow(Schedule {
                    first,
                    step: all.step * senders.len() as f64,
                });
            }
            for (nth, sender) in (0_u64..).zip(senders.iter().cycle()) {
                let due = all.micros(nth);
                if due >= clock.window.end {
                    break;
                }
                if clock.at(due) > Instant::now() {
                    sleep_until(clock.at(due)).await?;
                } else if nth % 64 == 63 {
                    // Behind: let the members work, too.
                    tokio::task::yield_now().await;
                }
                sender.release();
            }
        }
    }
    sleep_until(clock.at(clock.window.end)).await
}

/// Waits until all answers and deliveries came, at most the scenario's drain time.
async fn drain(shared: &Shared, rooms: &[Room], clock: &Clock) {
    let deadline = clock.at(clock.window.end) + shared.scenario.drain;
    let idle = |signal: &Rc<Signal>| signal.is_idle();
    while Instant::now() < deadline
        && !rooms
            .iter()
            .all(|room| room.check.borrow().settled() && room.signals.iter().all(idle))
    {
        sleep(LOOK).await;
    }
}
