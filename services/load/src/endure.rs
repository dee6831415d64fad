//! Sessions that stay while nodes do not: a crowd talks for as long as it is let, over whatever happens to the servers,
//! and at the end everything that was acknowledged and shown is compared with what the rooms hold.
//!
//! * [`plan`] what to do, checked once;
//! * [`crowd`] the sessions, each either `classic` or `extended`; what they do is noted in `notes`: what each was `shown`,
//!   and its `presence` as others saw it;
//! * [`checker`] what was promised about one room, compared with its `log`;
//! * [`report`] what came out.
//!
//! Memory does not grow with the run: every few seconds what is there is compared, and what everybody had is forgotten.

pub mod checker;
mod classic;
mod contents;
pub mod crowd;
mod extended;
mod log;
mod notes;
pub mod plan;
mod presence;
pub mod report;
mod shown;

pub use log::create_room;

use crate::CannotRun;
use checker::Room;
use crowd::Crowd;
use futures_util::future::join_all;
use plan::Plan;
use report::{Broken, Found, Report, RoomReport};
use std::future::Future;
use std::pin::pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, sleep_until, timeout};

/// Longest time until all sessions are in all rooms at the start.
const ARRIVAL: Duration = Duration::from_secs(30);
/// Between two comparisons.
const COMPARE: Duration = Duration::from_secs(5);
/// What "never" means to a timer: a year.
const NEVER: Duration = Duration::from_secs(31_536_000);

/// A run under way. Its sessions end with it.
pub struct Endurance {
    plan: Plan,
    crowd: Crowd,
    rooms: Vec<Room>,
    broken: Broken,
    began: Instant,
}

impl Endurance {
    /// Creates the rooms and brings everybody in; then the load begins.
    ///
    /// # Errors
    /// [`CannotRun`] if they are not in within half a minute, or the servers do not show their logs.
    pub async fn start(plan: Plan) -> Result<Self, CannotRun> {
        // Names must be new on the server, also when one process runs twice.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut ids = Vec::new();
        for nth in 0..plan.rooms {
            let target = &plan.targets[nth % plan.targets.len()];
            let name = format!("endure-{:x}-{nth}", since.as_nanos());
            let created = create_room(target, &name, "endure").await;
            ids.push(created.map_err(|why| CannotRun(format!("{target} created no room: {why}")))?);
        }
        // What cannot be compared at the end need not begin.
        for id in &ids {
            let log = log::read(&plan.targets, id, 0).await;
            log.map_err(|why| CannotRun(format!("the log of an empty room cannot be read: {why}")))?;
        }
        let crowd = Crowd::start(&plan.targets, &ids, plan.members.clone(), plan.pace);
        if timeout(ARRIVAL, crowd.all_in()).await.is_err() {
            let told: Vec<String> = (0..ids.len()).flat_map(|nth| crowd.irregular(nth)).collect();
            return Err(CannotRun(format!(
                "after {ARRIVAL:?} not in yet: {}{}{}",
                crowd.missing().join(", "),
                if told.is_empty() { "" } else { "; " },
                told.join(", ")
            )));
        }
        crowd.resume();
        Ok(Self {
            rooms: ids.iter().map(|id| Room::new(id)).collect(),
            broken: Broken::default(),
            began: Instant::now(),
            plan,
            crowd,
        })
    }

    /// The sessions.
    #[must_use]
    pub const fn crowd(&self) -> &Crowd {
        &self.crowd
    }

    /// Adds broken promises that somebody else found.
    pub fn blame(&mut self, found: impl IntoIterator<Item = String>) {
        self.broken.extend(found);
    }

    /// Goes on until the planned time is over or `stop` is done, and compares meanwhile. `say` gets lines of progress if
    /// the plan wants them.
    pub async fn hold(&mut self, stop: impl Future<Output = ()>, mut say: impl FnMut(String)) {
        let end = self.began + self.plan.length.unwrap_or(NEVER);
        let mut over = pin!(async {
            tokio::select! {
                () = stop => {}
                () = sleep_until(end) => {}
            }
        });
        let mut compare_at = Instant::now() + COMPARE;
        let mut progress_at = Instant::now() + self.plan.progress.unwrap_or(NEVER);
        loop {
            tokio::select! {
                () = &mut over => return,
                () = sleep_until(compare_at.min(progress_at)) => {}
            }
            let mut unread = Vec::new();
            tokio::select! {
                () = &mut over => return,
                () = self.compare(&mut unread) => {}
            }
            let now = Instant::now();
            compare_at = now + COMPARE;
            if let Some(every) = self.plan.progress.filter(|_| progress_at <= now) {
                progress_at = now + every;
                say(self.progress(&unread));
            }
        }
    }

    /// Compares what is there. Cancel safe.
    async fn compare(&mut self, unread: &mut Vec<String>) {
        for (nth, room) in self.rooms.iter_mut().enumerate() {
            match self.crowd.compare(nth, room).await {
                Ok(found) => self.broken.extend(in_room(nth, found)),
                Err(why) => unread.push(format!("room {nth} cannot be read: {why}")),
            }
        }
    }

    fn progress(&self, unread: &[String]) -> String {
        let (acknowledged, delivered) = self.crowd.totals();
        let returns = self.crowd.returns();
        let mut line = format!(
            "{:.0} s: {acknowledged} acknowledged, {delivered} delivered, longest write pause {:.2} s, {} to {} resumes, {} rejoins, {} promises broken",
            self.began.elapsed().as_secs_f64(),
            self.crowd.pauses().into_iter().max().unwrap_or_default().as_secs_f64(),
            returns.fewest,
            returns.most,
            returns.rejoins,
            self.broken.count,
        );
        for why in unread {
            line.push_str("; ");
            line.push_str(why);
        }
        line
    }

    /// Ends the load, waits until everything that was sent is answered and everybody has everything, and compares. Waits
    /// at most three times the patience of the plan.
    pub async fn finish(mut self) -> Report {
        let (lasted, patience) = (self.began.elapsed(), self.plan.patience);
        self.crowd.pause();
        let open = match timeout(patience, self.crowd.settled()).await {
            Ok(()) => Vec::new(),
            Err(_) => self.crowd.open(),
        };
        let crowd = &self.crowd;
        let rooms = self.rooms.iter_mut().enumerate();
        let compared = join_all(rooms.map(|(nth, room)| crowd.compare_all(nth, room, patience))).await;
        let mut undecided = Vec::new();
        for (nth, compared) in compared.into_iter().enumerate() {
            match compared {
                Ok(found) => {
                    self.broken.extend(in_room(nth, found));
                    let open = open.iter().filter(|(room, _)| *room == nth);
                    self.broken.extend(open.map(|(_, count)| {
                        format!("room {nth}: {count} sends are not answered after {patience:?}, although the room can be read")
                    }));
                }
                Err(why) => undecided.push(format!("room {nth}: {why}")),
            }
        }
        let (acknowledged, delivered) = crowd.totals();
        let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
        let figures = crowd.pauses().into_iter().zip(crowd.p99());
        let rooms = self.rooms.iter().zip(figures).map(|(room, (pause, p99))| RoomReport {
            room_id: room.id.clone(),
            messages: room.head(),
            longest_pause_ms: ms(pause),
            p99_ms: p99.into_iter().map(|home| home.map(ms)).collect(),
        });
        let found = Found {
            lasted,
            acknowledged,
            delivered,
            rooms: rooms.collect(),
            returns: crowd.returns(),
            broken: self.broken,
            undecided,
        };
        Report::new(&self.plan, found)
    }
}

fn in_room(nth: usize, found: Vec<checker::Violation>) -> impl Iterator<Item = String> {
    found
        .into_iter()
        .map(move |violation| format!("room {nth}: {violation}"))
}
