//! Work that nobody may have to wait for: a thread of low priority for texts and documents that take milliseconds to read.
//!
//! No request that means anything is that long, so whoever sends one may be hostile, and a thread of the same priority as
//! the runtime's would take its share of the CPU from everybody's messages: the scheduler of Linux lets a running thread
//! finish its slice of some milliseconds. How nice that thread is changes how often it runs, hardly when it gives way; the
//! policy for idle work does: whoever wakes up goes before it at once, and a core that does such work counts as idle
//! (`sched(7)`, `SCHED_IDLE`).

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use thread_priority::ThreadPriority;
use thread_priority::unix::{
    NormalThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};
use tokio::sync::{mpsc, oneshot};

/// By how much a thread of [`Priority::Low`] is nicer than the process.
const NICER: i32 = 10;

/// Before whom a thread goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// It has about a tenth of the weight of others, so that it goes on also where every core is busy: for what honest ones
    /// may send when there is much to do.
    Low,
    /// Before nobody: where every core is busy it has some thousandths of one. For what only hostile ones send.
    Idle,
}

impl Priority {
    /// Gives it to this thread.
    fn apply(self) -> Result<(), String> {
        match self {
            Self::Low => rustix::process::nice(NICER).map(drop).map_err(|why| why.to_string()),
            Self::Idle => {
                let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
                set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy)
                    .map_err(|why| why.to_string())
            }
        }
    }
}

/// Jobs that are in the queue; more wait in front of it, each with its submitter.
const QUEUE: usize = 1;

type Job = Box<dyn FnOnce() + Send>;

/// A thread that does one job after the other, in the order in which they were submitted. It ends when this is dropped.
#[derive(Debug)]
pub struct Aside {
    jobs: mpsc::Sender<Job>,
}

impl Aside {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(name: &str, priority: Priority) -> io::Result<Self> {
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE);
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            if let Err(why) = priority.apply() {
                tracing::debug!(%why, "a thread for long texts has the priority of others");
            }
            while let Some(job) = queue.blocking_recv() {
                job();
            }
        })?;
        Ok(Self { jobs })
    }

    /// The result of a job, or `None` if it panicked. It waits for the jobs before it, which is bounded by those who wait.
    ///
    /// Whoever stops waiting before the job has begun takes it back, or has its result thrown away.
    pub async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (done, result) = oneshot::channel();
        let job = move || {
            if done.is_closed() {
                return;
            }
            // What the job owns is dropped with it: nobody sees it half changed.
            if let Ok(result) = catch_unwind(AssertUnwindSafe(job)) {
                // Nobody may wait any more.
                drop(done.send(result));
            }
        };
        self.jobs.send(Box::new(job)).await.ok()?;
        result.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::getpriority_process;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use thread_priority::unix::thread_schedule_policy;

    #[tokio::test]
    async fn a_job_runs_at_low_priority_and_the_others_keep_theirs() {
        let before = getpriority_process(None).expect("a priority");
        let aside = Aside::start("aside", Priority::Low).expect("a thread");
        let there = aside.run(|| getpriority_process(None).expect("a priority")).await;
        assert_eq!(there, Some((before + NICER).min(19)));
        assert_eq!(getpriority_process(None).expect("a priority"), before);
    }

    #[tokio::test]
    async fn a_job_that_only_hostile_ones_send_runs_when_nobody_else_does() {
        let policy = || thread_schedule_policy().map_err(|why| why.to_string());
        let before = policy();
        let aside = Aside::start("aside", Priority::Idle).expect("a thread");
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        assert_eq!(aside.run(policy).await, Some(Ok(idle)));
        assert_eq!(policy(), before);
    }

    #[tokio::test]
    async fn a_panic_is_one_failed_job() {
        let aside = Aside::start("aside", Priority::Idle).expect("a thread");
        assert_eq!(aside.run(|| -> u8 { panic!("on purpose") }).await, None);
        assert_eq!(aside.run(|| 7).await, Some(7));
    }

    #[tokio::test]
    async fn a_job_that_nobody_waits_for_is_not_done() {
        let aside = Aside::start("aside", Priority::Idle).expect("a thread");
        let (go, wait) = std::sync::mpsc::sync_channel::<()>(1);
        let mut first = std::pin::pin!(aside.run(move || wait.recv()));
        assert!(futures_util::poll!(&mut first).is_pending());
        let done = Arc::new(AtomicBool::new(false));
        {
            let done = Arc::clone(&done);
            let mut second = std::pin::pin!(aside.run(move || done.store(true, Ordering::SeqCst)));
            assert!(futures_util::poll!(&mut second).is_pending());
        }
        go.send(()).expect("the first job waits");
        assert_eq!(first.await, Some(Ok(())));
        // Jobs are done in order.
        assert_eq!(aside.run(|| 3).await, Some(3));
        assert!(!done.load(Ordering::SeqCst));
    }
}
