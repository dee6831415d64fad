//! Calls between two nodes that are caught on the wire by what they say: the moment between two steps of a protocol can be
//! held for as long as a test needs it.

use crate::PATIENCE;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// What becomes of a call that is caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Catching {
    /// It waits.
    Keep,
    /// It is executed, its answer is lost, and so it will be repeated; the repeat passes.
    LoseOneAnswer,
    /// It goes on, as if it had taken its time on the way.
    Let,
    /// It never arrives, and its connection is closed.
    Lose,
}

/// What becomes of bytes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Passes,
    IsNotAnswered,
    IsLost,
}

#[derive(Debug)]
struct Shared {
    text: String,
    state: watch::Sender<(Catching, u32)>,
}

/// The snares of one wire.
#[derive(Debug, Clone, Default)]
pub struct Snares(Arc<Mutex<Vec<Arc<Shared>>>>);

/// A place where calls with one text are caught.
#[derive(Debug)]
pub struct Snare(Arc<Shared>);

impl Snares {
    /// From now on calls that carry the text are kept.
    #[must_use]
    pub fn keep(&self, text: &str) -> Snare {
        self.set(text, Catching::Keep)
    }

    /// The next call that carries the text is executed, but its sender does not hear of it.
    #[must_use]
    pub fn lose_one_answer(&self, text: &str) -> Snare {
        self.set(text, Catching::LoseOneAnswer)
    }

    fn set(&self, text: &str, catching: Catching) -> Snare {
        let shared = Arc::new(Shared {
            text: text.to_owned(),
            state: watch::Sender::new((catching, 0)),
        });
        self.all().push(Arc::clone(&shared));
        Snare(shared)
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Shared>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the bytes of a new connection.
    pub(crate) fn scan(&self) -> Scan<'_> {
        Scan {
            snares: self,
            last: Vec::new(),
        }
    }
}

impl Snare {
    /// Waits until calls with the text came so often.
    ///
    /// # Panics
    /// If they do not: the moment was not hit.
    pub async fn caught(&self, times: u32) {
        let mut state = self.0.state.subscribe();
        let caught = tokio::time::timeout(PATIENCE, state.wait_for(|(_, seen)| *seen >= times)).await;
        let what = &self.0.text;
        drop(caught.unwrap_or_else(|_| panic!("{what} was not said {times} times")));
    }

    /// How many calls with the text came.
    #[must_use]
    pub fn seen(&self) -> u32 {
        self.0.state.borrow().1
    }

    /// What is kept arrives now, and what comes later passes.
    pub fn let_go(&self) {
        self.0.state.send_modify(|(catching, _)| *catching = Catching::Let);
    }

    /// What is kept, and what comes until the next word to this snare, never arrives.
    pub fn lose(&self) {
        self.0.state.send_modify(|(catching, _)| *catching = Catching::Lose);
    }
}

/// The bytes of one connection, as far as a text may have begun in them.
pub(crate) struct Scan<'a> {
    snares: &'a Snares,
    last: Vec<u8>,
}

impl Scan<'_> {
    /// Looks at the next bytes. A text of which only the end is kept back has not arrived either, for a call is executed when all
    /// of it is there.
    pub(crate) async fn fate(&mut self, bytes: &[u8]) -> Fate {
        let snares = self.snares.all().clone();
        let longest = snares.iter().map(|snare| snare.text.len()).max().unwrap_or_default();
        let known = self.last.len();
        self.last.extend_from_slice(bytes);
        let mut fate = Fate::Passes;
        for snare in snares {
            // What was in the bytes of before was found then.
            let from = known.saturating_sub(snare.text.len().saturating_sub(1));
            let found = self.last[from..]
                .windows(snare.text.len().max(1))
                .any(|window| window == snare.text.as_bytes());
            if found {
                fate = match caught(&snare).await {
                    Fate::Passes => fate,
                    other => other,
                };
            }
        }
        let keep = longest.saturating_sub(1).min(self.last.len());
        self.last.drain(..self.last.len() - keep);
        fate
    }
}

async fn caught(snare: &Shared) -> Fate {
    let mut state = snare.state.subscribe();
    let mut answered = true;
    snare.state.send_modify(|(catching, seen)| {
        *seen += 1;
        if *catching == Catching::LoseOneAnswer {
            *catching = Catching::Let;
            answered = false;
        }
    });
    let decided = state.wait_for(|(catching, _)| *catching != Catching::Keep).await;
    match decided.map(|state| state.0) {
        Ok(Catching::Let) if answered => Fate::Passes,
        Ok(Catching::Let) => Fate::IsNotAnswered,
        _ => Fate::IsLost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_text_is_caught_in_whatever_pieces_it_comes_and_once() {
        let snares = Snares::default();
        let snare = snares.lose_one_answer("vote");
        let mut scan = snares.scan();
        assert_eq!(scan.fate(b"a vo").await, Fate::Passes);
        assert_eq!(scan.fate(b"te is").await, Fate::IsNotAnswered);
        assert_eq!(scan.fate(b" given").await, Fate::Passes);
        assert_eq!(snare.seen(), 1);
        assert_eq!(snares.scan().fate(b"a vote again").await, Fate::Passes);
        assert_eq!(snare.seen(), 2);
        snare.lose();
        assert_eq!(snares.scan().fate(b"vote").await, Fate::IsLost);
    }

    #[tokio::test]
    async fn what_is_kept_waits_for_a_word() {
        let snares = Snares::default();
        let snare = snares.keep("vote");
        let mut scan = snares.scan();
        let word = async {
            snare.caught(1).await;
            snare.let_go();
        };
        assert_eq!(tokio::join!(scan.fate(b"vote"), word).0, Fate::Passes);
    }
}
