//! A thread with a small runtime of its own, for what must be answered whatever the main runtime does.

use std::io;
use std::thread::JoinHandle;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// One thread that runs tasks until it is stopped or dropped. Its tasks must never block.
#[derive(Debug)]
pub struct OpsRuntime {
    handle: Handle,
    /// Ends the thread when it is sent to or dropped.
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl OpsRuntime {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system gives no thread, or no event queue.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("operations".into()).spawn(move || {
            // Both a message and a dropped sender mean: stop.
            runtime.block_on(async { stopped.await.unwrap_or_default() });
        })?;
        Ok(Self { handle, stop, thread })
    }

    /// For spawning further tasks on the thread. They end, at their next wait, when it stops.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Ends all tasks and the thread, and waits for it. Not to be called from one of its own tasks.
    pub fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the operations thread panicked");
        }
    }
}
