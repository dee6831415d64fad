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
    /// Drops every packet between the pods of two machines. The number of a machine, and that of another one, `all`, or `api`.
    Cut,
    /// Undoes every cut. No arguments.
    Heal,
    /// Ends everything on a machine at once: kubelet, runtime, containers. Its number.
    Crash,
    /// Stops a part of the cluster: `apiserver`, `controllers`, `dns`, or `kubelet-` with the number of a machine.
    Stop,
    /// Starts it again; also `containerd-` with the number of a machine that crashed.
    Start,
    /// Kills the containers of a pod at the runtime. A namespace, and a pod.
    Kill,
}

impl Hook {
    /// The variable that holds the command, a line of a shell to which the arguments are appended.
    pub(super) const fn variable(self) -> &'static str {
        match self {
            Self::Reclaim => "CHAT_KUBE_RECLAIM",
            Self::Cut => "CHAT_KUBE_CUT",
            Self::Heal => "CHAT_KUBE_HEAL",
            Self::Crash => "CHAT_KUBE_CRASH",
            Self::Stop => "CHAT_KUBE_STOP",
            Self::Start => "CHAT_KUBE_START",
            Self::Kill => "CHAT_KUBE_KILL",
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

/// Something that was done to the cluster. It is undone when this is dropped; [`Self::undo`] also says whether that worked.
#[derive(Debug)]
pub(super) struct Done(Vec<(Hook, Vec<String>)>);

impl Done {
    /// Cuts the pods of a machine off another one, `all`, or the `api`.
    pub(super) fn cut(machine: usize, from: &str) -> Result<Self, String> {
        let done = Self(vec![(Hook::Heal, Vec::new())]);
        Hook::Cut.call(&[&machine.to_string(), from])?;
        Ok(done)
    }

    /// Stops a part.
    pub(super) fn stopped(part: &str) -> Result<Self, String> {
        let done = Self(vec![(Hook::Start, vec![part.to_owned()])]);
        Hook::Stop.call(&[part])?;
        Ok(done)
    }

    /// Crashes machines, all at once.
    pub(super) fn crashed(machines: &[usize]) -> Result<Self, String> {
        let mut calls = Vec::new();
        for part in ["containerd", "kubelet"] {
            calls.extend(
                machines
                    .iter()
                    .map(|machine| (Hook::Start, vec![format!("{part}-{machine}")])),
            );
        }
        let done = Self(calls);
        at_once(machines, |machine| Hook::Crash.call(&[&machine.to_string()]))?;
        Ok(done)
    }

    /// Undoes it.
    pub(super) fn undo(mut self) -> Result<(), String> {
        self.undo_all()
    }

    /// All of it, also what comes after something that failed; the first failure.
    fn undo_all(&mut self) -> Result<(), String> {
        let mut result = Ok(());
        for (hook, args) in self.0.drain(..) {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            result = result.and(hook.call(&args));
        }
        result
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        // What failed has been said; the next scenario finds the cluster as whole as it can be.
        let _tried = self.undo_all();
    }
}

/// Does the same to all machines at the same time.
fn at_once(machines: &[usize], what: impl Fn(usize) -> Result<(), String> + Sync) -> Result<(), String> {
    std::thread::scope(|scope| {
        let running: Vec<_> = machines
            .iter()
            .map(|&machine| {
                let what = &what;
                scope.spawn(move || what(machine))
            })
            .collect();
        running
            .into_iter()
            .try_for_each(|one| one.join().unwrap_or_else(|_| Err("a hook panicked".into())))
    })
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

    /// The last one, where the load goes if there is one machine more than nodes.
    pub(super) fn last(&self) -> Result<&str, String> {
        self.0.last().map(String::as_str).ok_or_else(|| "no machines".into())
    }

    /// The number of a machine.
    pub(super) fn number(&self, name: &str) -> Result<usize, String> {
        let nth = self.0.iter().position(|machine| machine == name);
        nth.map(|nth| nth + 1)
            .ok_or_else(|| format!("no machine is called {name}"))
    }
}
