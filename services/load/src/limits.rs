//! Limits of the system: open files and local ports.

use crate::CannotRun;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::{IpAddr, Ipv4Addr};

/// Files that a process has open besides its connections.
const OTHER_FILES: u64 = 64;

/// Connections from one local address to one server: below the 28,000 ports that Linux hands out by default.
const PER_ADDRESS: usize = 25_000;

/// Raises the limit of open files as far as the system allows.
///
/// # Errors
/// If that is not enough for `connections`.
pub fn raise_open_files(connections: usize) -> Result<(), CannotRun> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = (connections as u64).saturating_add(OTHER_FILES);
    let reached = if setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )
    .is_ok()
    {
        maximum
    } else {
        current
    };
    match reached {
        Some(files) if files < needed => Err(CannotRun(format!(
            "{needed} open files are needed and {files} allowed (see ulimit -Hn)"
        ))),
        _ => Ok(()),
    }
}

/// From where connection `index` of `total` to a server on this machine connects; `None` leaves it to the system.
#[must_use]
pub(crate) fn local_address(url: &str, total: usize, index: usize) -> Option<IpAddr> {
    let here = url.contains("//127.") || url.contains("//localhost");
    let nth = u8::try_from(index / PER_ADDRESS).ok()?.checked_add(1)?;
    (here && total > PER_ADDRESS).then_some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, nth)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_connections_come_from_several_addresses() {
        assert_eq!(local_address("ws://127.0.0.1:1", 25_000, 24_999), None);
        assert_eq!(
            local_address("ws://127.0.0.1:1", 25_001, 0),
            Some("127.0.0.1".parse().unwrap())
        );
        assert_eq!(
            local_address("ws://127.0.0.1:1", 60_000, 59_999),
            Some("127.0.0.3".parse().unwrap())
        );
        assert_eq!(local_address("ws://example.org", 60_000, 0), None);
    }

    #[test]
    fn more_files_than_the_system_has_are_refused() {
        assert!(raise_open_files(1).is_ok());
        if getrlimit(Resource::Nofile).maximum.is_some() {
            assert!(raise_open_files(usize::MAX).is_err());
        }
    }
}
