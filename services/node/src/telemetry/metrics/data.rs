//! The data directory and the file system that it is on.

use super::Declare;
use prometheus::IntGauge;
use std::io;
use std::path::Path;

/// How much is stored, and how much more there is room for.
#[derive(Debug, Clone)]
pub struct DataMetrics {
    directory: IntGauge,
    journal: IntGauge,
    free: IntGauge,
    size: IntGauge,
}

impl DataMetrics {
    pub(super) fn declare(declare: &Declare<'_>) -> Self {
        Self {
            directory: declare.gauge("chat_data_directory_bytes", "Bytes of the files in the data directory."),
            journal: declare.gauge(
                "chat_store_journal_bytes",
                "Bytes of the store's journal, which checkpoints write back into its database; its file is kept and used again.",
            ),
            free: declare.gauge(
                "chat_data_free_bytes",
                "Bytes that the node may still write on the file system of the data directory.",
            ),
            size: declare.gauge(
                "chat_data_size_bytes",
                "Bytes of the file system of the data directory.",
            ),
        }
    }

    /// Looks at a directory. It may take as long as the disk does.
    ///
    /// # Errors
    /// It cannot be looked at; the figures of before stay.
    pub fn sample(&self, path: &Path) -> io::Result<()> {
        let (mut bytes, mut journal) = (0, 0);
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            // A file of the journal may go between two looks.
            let len = entry.metadata().map_or(0, |file| file.len());
            bytes += len;
            // As SQLite names it.
            if entry.file_name().as_encoded_bytes().ends_with(b"-wal") {
                journal += len;
            }
        }
        let system = rustix::fs::statvfs(path)?;
        let gauge = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.directory.set(gauge(bytes));
        self.journal.set(gauge(journal));
        self.free.set(gauge(system.f_bavail.saturating_mul(system.f_frsize)));
        self.size.set(gauge(system.f_blocks.saturating_mul(system.f_frsize)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::telemetry::metrics::Metrics;
    use chat_protocol::ids::NodeId;

    #[test]
    fn files_are_summed_up_and_the_file_system_has_a_size() {
        let (metrics, dir) = (
            Metrics::new(&NodeId::parse("n1").unwrap()),
            tempfile::tempdir().unwrap(),
        );
        std::fs::write(dir.path().join("one"), [0; 10]).unwrap();
        std::fs::write(dir.path().join("two-wal"), [0; 32]).unwrap();
        metrics.data.sample(dir.path()).unwrap();
        let data = &metrics.data;
        assert_eq!((data.directory.get(), data.journal.get()), (42, 32));
        assert!(data.size.get() >= data.free.get() && data.free.get() > 0, "{data:?}");
        assert!(metrics.data.sample(&dir.path().join("none")).is_err());
        assert_eq!(data.directory.get(), 42);
    }
}
