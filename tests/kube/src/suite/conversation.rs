//! People who chat through port-forwards with the line client.

use super::{SHORT, Suite, install};
use crate::tools::Beside;
use std::time::Instant;

/// Two people who talk, and what each of them sees.
pub(super) struct Talk {
    ines: Beside,
    otto: Beside,
}

impl Talk {
    /// Both come into a new room, one after the other, by these lines of a shell.
    pub(super) fn begin(room: &str, ines: &str, otto: &str) -> Result<Self, String> {
        let mut ines = Beside::start(ines)?;
        ines.hear(&format!("-- joined {room} (1 member: ines)"), SHORT)?;
        let mut otto = Beside::start(otto)?;
        otto.hear(&format!("-- joined {room} (2 members: ines, otto)"), SHORT)?;
        ines.hear("-- otto joined", SHORT)?;
        Ok(Self { ines, otto })
    }

    /// A few words in turn; each must see what both said, once and in order, and be told that all was confirmed.
    pub(super) fn hold(mut self) -> Result<usize, String> {
        let mut said = Vec::new();
        for word in ["ahoy", "what's new?", "ÿ ✓ 𝄞"] {
            self.ines.say(word)?;
            self.otto.hear(&format!("ines: {word}"), SHORT)?;
            said.push(format!("ines: {word}"));
            self.otto.say(word)?;
            self.ines.hear(&format!("otto: {word}"), SHORT)?;
            said.push(format!("otto: {word}"));
        }
        for (who, beside) in [("otto", self.otto), ("ines", self.ines)] {
            let seen = beside.finish(SHORT)?;
            let seen: Vec<&str> = seen
                .iter()
                .filter_map(|line| line.split_once("] ").map(|(_, text)| text))
                .collect();
            if seen != said {
                return Err(format!("{who} saw {seen:?} instead of {said:?}"));
            }
        }
        Ok(said.len())
    }
}

pub(super) fn over_two_pods(suite: &mut Suite<'_>) -> Result<(), String> {
    let release = install::default(suite)?;
    let mut forwards = Vec::new();
    let mut urls = Vec::new();
    for pod in release.pod_names()?.iter().take(2) {
        let (forward, url) = release.forward(pod)?;
        forwards.push(forward);
        urls.push(url);
    }
    let [first, second] = urls.as_slice() else {
        return Err(format!("two nodes are needed, not {}", urls.len()));
    };
    let since = Instant::now();
    let talk = Talk::begin(
        "yard",
        &format!("chat-tui --plain {first} --name ines --room yard"),
        &format!("chat-tui --plain {second} --name otto --room yard"),
    )?;
    let messages = talk.hold()?;
    let took = since.elapsed();
    suite.figure("messages seen once and in order by both", messages);
    suite.figure(
        "from the first client to the last goodbye",
        format!("{:.1} s", took.as_secs_f64()),
    );
    Ok(())
}
