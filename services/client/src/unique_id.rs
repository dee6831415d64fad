//! Ids that nobody else has.

use std::hash::{BuildHasher, RandomState};

/// 32 hexadecimal digits that are another text at each call, in every process on every machine: a `request_id`, or the
/// beginning of the `client_msg_id`s of one process.
#[must_use]
pub fn unique_id() -> String {
    // The system gives each process 128 random bits for its hash maps, and each map counts on from there.
    let random = || RandomState::new().hash_one(0_u8);
    format!("{:016x}{:016x}", random(), random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_the_same() {
        let ids: std::collections::BTreeSet<_> = (0..1_000).map(|_| unique_id()).collect();
        assert_eq!(ids.len(), 1_000);
        assert!(ids.iter().all(|id| id.len() == 32));
    }
}
