//! What is done to the cluster itself: commands that the environment names, because every cluster has its own.

use super::LONG;
use crate::tools;

/// A command that somebody else provides, for clusters on which there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hook {
    /// Makes volumes of removed claims usable again. No arguments.
    Reclaim,
}

impl Hook {
    /// The variable that holds the command, a line of a shell to which the arguments are appended.
    pub(super) const fn variable(self) -> &'static str {
        match self {
            Self::Reclaim => "CHAT_KUBE_RECLAIM",
        }
    }

    /// The command, if there is one.
    pub(super) fn command(self) -> Option<String> {
        super::setting(self.variable())
    }

    /// Runs it.
    pub(super) fn call(self, args: &[&str]) -> Result<(), String> {
        let variable = self.variable();
        let command = self.command().ok_or_else(|| format!("{variable} names no command"))?;
        let line = format!("{command} \"$@\"");
        let mut all = vec!["-c", line.as_str(), variable];
        all.extend(args);
        tools::output("sh", &all, LONG).map(drop)
    }
}
