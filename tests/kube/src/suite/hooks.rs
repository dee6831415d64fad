//! What is done to machines and to the cluster itself: commands that the environment names, because every cluster has its own.

use super::LONG;
use super::release::kubectl;
use crate::tools;
use serde_json::Value as Json;

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

/// The machines of the cluster by name, in order: the first one has the number 1.
#[derive(Debug)]
pub(super) struct Machines(Vec<String>);

impl Machines {
    /// Those that take pods of anybody.
    pub(super) fn find() -> Result<Self, String> {
        let nodes = kubectl(&["get", "nodes", "--output=json"])?;
        let nodes: Json = serde_json::from_str(&nodes).map_err(|why| why.to_string())?;
        let nodes = nodes["items"].as_array().into_iter().flatten();
        let free = nodes.filter(|node| node["spec"]["taints"].is_null() && node["spec"]["unschedulable"].is_null());
        let mut names: Vec<String> = free
            .filter_map(|node| node["metadata"]["name"].as_str().map(str::to_owned))
            .collect();
        names.sort();
        Ok(Self(names))
    }

    /// How many.
    pub(super) const fn count(&self) -> usize {
        self.0.len()
    }
}
