//! Time as an argument.

use chat_protocol::timestamp::Timestamp;

/// Milliseconds on a clock that never goes back. Its origin means nothing; only differences do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub u64);

impl Millis {
    /// This instant and `later` milliseconds.
    #[must_use]
    pub const fn plus(self, later: u64) -> Self {
        Self(self.0.saturating_add(later))
    }

    /// Milliseconds from `earlier` to this instant; 0 if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The two clocks at the moment of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// For everything that waits.
    pub mono: Millis,
    /// For what people read.
    pub wall: Timestamp,
}
