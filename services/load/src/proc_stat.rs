//! CPU time and memory of a process, from /proc.

use crate::CannotRun;
use std::fs::read_to_string;

/// What a process used so far.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// User and system time of all threads, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory, in bytes.
    pub rss_bytes: u64,
}

/// The sum over several processes.
///
/// # Errors
/// If one of them does not exist.
pub fn of_all(pids: &[u32]) -> Result<Usage, CannotRun> {
    pids.iter().try_fold(Usage::default(), |sum, &pid| {
        let one = of(&pid.to_string())?;
        Ok(Usage {
            cpu_seconds: sum.cpu_seconds + one.cpu_seconds,
            rss_bytes: sum.rss_bytes + one.rss_bytes,
        })
    })
}

/// The most memory that the processes ever used, in bytes, each at its own time.
///
/// # Errors
/// If one of them does not exist.
pub fn peak_of_all(pids: &[u32]) -> Result<u64, CannotRun> {
    pids.iter().try_fold(0, |sum, pid| {
        let status = read(&pid.to_string(), "status")?;
        Ok(sum + kib(&status, "VmHWM:").unwrap_or_default())
    })
}

/// This process.
///
/// # Errors
/// If there is no /proc.
pub fn of_self() -> Result<Usage, CannotRun> {
    of("self")
}

fn of(pid: &str) -> Result<Usage, CannotRun> {
    let ticks = cpu_ticks(&read(pid, "stat")?).ok_or_else(|| CannotRun(format!("/proc/{pid}/stat is strange")))?;
    let rss_bytes = kib(&read(pid, "status")?, "VmRSS:").unwrap_or_default();
    Ok(Usage {
        cpu_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
        rss_bytes,
    })
}

fn read(pid: &str, file: &str) -> Result<String, CannotRun> {
    let path = format!("/proc/{pid}/{file}");
    read_to_string(&path).map_err(|e| CannotRun(format!("cannot read {path}: {e}")))
}

/// Fields 14 and 15. The second field is the name in parentheses and may hold anything, so counting starts behind it.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// A line of `status` that gives kibibytes, in bytes.
fn kib(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_the_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 3 4 20 0 1 0 1 1 1";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(cpu_ticks("7 (x) S 1"), None);
        let status = "Name:\tx\nVmHWM:\t    4096 kB\nVmRSS:\t    2048 kB\nThreads:\t1\n";
        assert_eq!(kib(status, "VmRSS:"), Some(2 << 20));
        assert_eq!(kib(status, "VmHWM:"), Some(4 << 20));
        assert_eq!(kib("Name:\tkthreadd\n", "VmRSS:"), None);
    }

    #[test]
    fn this_process_has_memory_and_an_absent_one_is_an_error() {
        assert!(of_self().unwrap().rss_bytes > 0);
        assert!(of_all(&[std::process::id(), u32::MAX]).is_err());
    }
}
