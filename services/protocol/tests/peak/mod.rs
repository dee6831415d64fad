//! What a document costs at most, seen from outside: the peak of the process. For one test in a process of its own.

/// Most that one document of at most a mebibyte may add to the peak, in bytes.
pub(crate) const MOST: u64 = 16 << 20;

/// The most memory that this process ever had, in bytes.
pub(crate) fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap() << 10
}

/// As often `part` as fits into `most` bytes, between `head` and `tail`.
pub(crate) fn full(most: usize, head: &str, part: &str, tail: &str) -> String {
    let count = (most - head.len() - tail.len()) / part.len();
    format!("{head}{}{tail}", part.repeat(count))
}
