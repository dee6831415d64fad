//! The process and its event loops: what `prometheus` collects of the one, and samples of the others.

use super::Declare;
use prometheus::{Counter, IntGauge};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::{Handle, RuntimeMetrics};

/// The runtime that serves clients, peers and rooms, sampled when somebody looks.
#[derive(Debug, Clone)]
pub(super) struct Runtime {
    workers: IntGauge,
    tasks: IntGauge,
    queue: IntGauge,
    busy: Counter,
    memory_limit: IntGauge,
    /// Held while a sample is taken, so that two of them do not add the same time twice.
    of: Arc<Mutex<RuntimeMetrics>>,
}

impl Runtime {
    pub(super) fn declare(declare: &Declare<'_>, of: &Handle) -> Self {
        Self {
            workers: declare.gauge("chat_runtime_workers", "Threads of the main runtime."),
            tasks: declare.gauge("chat_runtime_tasks", "Tasks of the main runtime that have not ended."),
            queue: declare.gauge(
                "chat_runtime_queue_tasks",
                "Tasks that wait for any thread of the main runtime.",
            ),
            busy: declare.seconds_counter(
                "chat_runtime_busy_seconds_total",
                "Time that the threads of the main runtime spent on tasks, together.",
            ),
            memory_limit: declare.gauge(
                "chat_memory_limit_bytes",
                "Memory at which the kernel ends the process, by its control group; 0 if there is no limit.",
            ),
            of: Arc::new(Mutex::new(of.metrics())),
        }
    }

    pub(super) fn sample(&self) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        // A sample leaves nothing half done.
        let of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        self.workers.set(gauge(of.num_workers()));
        self.tasks.set(gauge(of.num_alive_tasks()));
        self.queue.set(gauge(of.global_queue_depth()));
        let busy: f64 = (0..of.num_workers())
            .map(|worker| of.worker_total_busy_duration(worker).as_secs_f64())
            .sum();
        // The clock of a thread may be read a moment later than that of another, but never goes back.
        self.busy.inc_by((busy - self.busy.get()).max(0.0));
        drop(of);
        // It may be changed while the process runs, and reading it is no disk access.
        self.memory_limit.set(memory_limit(Path::new("/sys/fs/cgroup")));
    }
}

/// The limit of the control group whose files are here, in bytes, of whichever version it is; 0 if there is none.
///
/// A container sees its own group at this place; outside of one it is the group of the whole machine, which has no limit.
fn memory_limit(group: &Path) -> i64 {
    // Version 1 says a number of whole pages near the largest one, version 2 says "max".
    const NONE: i64 = 1 << 60;
    ["memory.max", "memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|file| std::fs::read_to_string(group.join(file)).ok())
        .and_then(|text| text.trim().parse().ok())
        .filter(|limit| *limit < NONE)
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use crate::telemetry::metrics::Metrics;
    use chat_protocol::ids::NodeId;

    #[cfg(target_os = "linux")]
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_process_is_reported_by_the_node_that_was_asked_to() {
        let node = NodeId::parse("n1").unwrap();
        let names = ["process_open_fds{node=\"n1\"} ", "chat_runtime_workers{node=\"n1\"} 2"];
        let other = Metrics::new(&node).text().unwrap();
        assert!(names.iter().all(|name| !other.contains(name)), "{other}");
        let metrics = Metrics::new(&node).with_process(&tokio::runtime::Handle::current());
        let text = metrics.text().unwrap();
        assert!(names.iter().all(|name| text.contains(name)), "{text}");
    }

    #[test]
    fn the_limit_of_memory_is_what_the_control_group_says_in_either_version() {
        let dir = tempfile::tempdir().unwrap();
        let limit = || super::memory_limit(dir.path());
        assert_eq!(limit(), 0);
        std::fs::create_dir(dir.path().join("memory")).unwrap();
        let old = dir.path().join("memory/memory.limit_in_bytes");
        std::fs::write(&old, "9223372036854771712\n").unwrap();
        assert_eq!(limit(), 0);
        std::fs::write(&old, "33554432\n").unwrap();
        assert_eq!(limit(), 32 << 20);
        let new = dir.path().join("memory.max");
        std::fs::write(&new, "max\n").unwrap();
        assert_eq!(limit(), 0);
        std::fs::write(&new, "67108864\n").unwrap();
        assert_eq!(limit(), 64 << 20);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn time_spent_on_tasks_is_counted_once() {
        let metrics = Metrics::new(&NodeId::parse("n1").unwrap()).with_process(&tokio::runtime::Handle::current());
        let busy = || {
            let text = metrics.text().unwrap();
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("chat_runtime_busy_seconds_total{node=\"n1\"} "));
            line.unwrap().parse::<f64>().unwrap()
        };
        let before = std::time::Instant::now();
        while busy() == 0.0 {
            // The time of a task is added when the thread has nothing to do.
            tokio::spawn(async { std::hint::black_box((0..10_000_u64).sum::<u64>()) })
                .await
                .unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        assert!(busy() <= before.elapsed().as_secs_f64());
    }
}
