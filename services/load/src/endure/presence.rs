//! Whether an extended session had to join again: what it was told itself, and what others heard about it.
//!
//! Extended sessions of a run never leave. So whoever hears that one left, or that one joined who is known to be in, has
//! heard of a session that had to rejoin.

/// What one session was told about members of one room, itself included.
#[derive(Debug, Default)]
pub(super) struct Presence {
    /// Members that this session knows to be in, by index.
    known: Vec<bool>,
    joined: bool,
    /// How often the session came back and nobody heard that it was gone.
    pub(super) resumes: u64,
    /// How often it came back and joined anew.
    pub(super) rejoins: u64,
    /// How often it heard that an extended session left, or joined again.
    pub(super) heard: u64,
}

impl Presence {
    /// The session itself is in, for the first time or again. True if it had to join anew.
    pub(super) fn entered(&mut self, resumed: bool) -> bool {
        let again = std::mem::replace(&mut self.joined, true) && !resumed;
        self.resumes += u64::from(resumed);
        self.rejoins += u64::from(again);
        again
    }

    /// `member` said something, so it is in: events and messages of a room come in one order.
    pub(super) fn spoke(&mut self, member: usize) {
        if self.known.len() <= member {
            self.known.resize(member + 1, false);
        }
        self.known[member] = true;
    }

    /// `member`, an extended session, joined. True if it must have joined before.
    pub(super) fn came(&mut self, member: usize) -> bool {
        let again = self.known.get(member).copied().unwrap_or(false);
        self.heard += u64::from(again);
        self.spoke(member);
        again
    }

    /// `member`, an extended session, left.
    pub(super) fn went(&mut self) {
        self.heard += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_arrival_of_each_is_no_rejoin() {
        let mut presence = Presence::default();
        assert!(!presence.came(3));
        presence.spoke(1);
        assert!(!presence.came(0));
        assert_eq!(presence.heard, 0);
        // Of the second one only what it said was heard before.
        assert!(presence.came(3) && presence.came(1));
        assert_eq!(presence.heard, 2);
        presence.went();
        assert_eq!(presence.heard, 3);
    }

    #[test]
    fn a_session_counts_its_own_returns() {
        let mut presence = Presence::default();
        assert!(!presence.entered(false) && !presence.entered(true) && !presence.entered(true));
        assert_eq!((presence.resumes, presence.rejoins), (2, 0));
        assert!(presence.entered(false));
        assert_eq!((presence.resumes, presence.rejoins), (2, 1));
        // The answer to the first join was lost with its connection.
        let mut presence = Presence::default();
        assert!(!presence.entered(true));
        assert_eq!((presence.resumes, presence.rejoins), (1, 0));
    }
}
