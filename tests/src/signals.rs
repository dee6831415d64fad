//! Signals to processes, and what becomes of them.

use std::process::Command;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Sends a signal, named as for `kill -s`. False if the process is gone.
///
/// # Panics
/// If there is no shell.
pub fn send(pid: u32, name: &str) -> bool {
    // The shell has a `kill` of its own; not every machine has the program.
    let kill = format!("kill -s {name} {pid}");
    let status = Command::new("sh").args(["-c", &kill]).status();
    status.expect("there is a shell").success()
}

/// Stops a process, and waits until none of its threads runs any more: the signal may be sent long before it is heard.
///
/// # Panics
/// If the process is gone, or goes on.
pub async fn freeze(pid: u32) {
    assert!(send(pid, "STOP"), "{pid} is gone");
    let deadline = Instant::now() + crate::PATIENCE;
    while !stands_still(pid) {
        assert!(Instant::now() < deadline, "{pid} does not stand still");
        sleep(Duration::from_millis(1)).await;
    }
}

/// True if all its threads are stopped, or this system does not show how they are.
fn stands_still(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return true;
    };
    let mut states = threads.flatten().map(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The name before it is in parentheses and may be anything.
        stat.rsplit(')').next().map(|rest| rest.trim_start().starts_with('T'))
    });
    states.all(|stopped| stopped == Some(true))
}
