//! The process and its event loops: what `prometheus` collects of the one, and samples of the others.

use super::Declare;
use prometheus::{Counter, IntGauge};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::{Handle, RuntimeMetrics};

/// The runtime that serves clients, peers and rooms, sampled when somebody looks.
#[derive(Debug, Clone)]
pub(super) struct Runtime {
    workers: IntGauge,
    tasks: IntGauge,
    queue: IntGauge,
    busy: Counter,
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
    }
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
