//! The chart on a real cluster: whatever `KUBECONFIG` names.
//!
//! A scenario makes namespaces of its own, each of which enforces the *restricted* standard, and removes them. What is
//! asserted prints its figure. The image of the chart's default values must be on the machines already.

mod accepted;
mod conversation;
mod crashed;
mod cut;
mod discovery;
mod drained;
mod faults;
mod hooks;
mod install;
mod load;
mod neighbours;
mod notes;
mod prepared;
mod readme;
mod reinstalled;
mod release;
mod scraped;
mod starved;
mod stopped;
mod upgraded;
mod wire;
mod writers;

use crate::tools;
use hooks::{Hook, Machines};
use std::fmt::Display;
use std::time::{Duration, Instant};

/// Longest time until an installed release is ready, and for anything else that takes long.
pub(crate) const LONG: Duration = Duration::from_secs(240);

/// Longest time for one request to the cluster, and for what follows within seconds.
pub(crate) const SHORT: Duration = Duration::from_secs(60);

/// A part of the suite that can run by itself.
#[derive(Debug)]
pub struct Scenario {
    /// What to call it.
    pub name: &'static str,
    /// What holds when it passes.
    pub about: &'static str,
    /// Programs besides helm and kubectl that it needs.
    needs: &'static [&'static str],
    /// What it does to the cluster.
    hooks: &'static [Hook],
    /// What it must be told besides.
    settings: &'static [&'static str],
    /// The fewest machines that it makes sense on.
    machines: usize,
    run: fn(&mut Suite<'_>) -> Result<(), String>,
}

impl Scenario {
    /// What it cannot be run without and is not there.
    fn misses(&self) -> Result<Option<String>, String> {
        if let Some(program) = self.needs.iter().find(|program| !tools::exists(program)) {
            return Ok(Some(format!("{program} is not on PATH")));
        }
        if let Some(hook) = self.hooks.iter().find(|hook| hook.command().is_none()) {
            return Ok(Some(format!("{} names no command", hook.variable())));
        }
        if let Some(setting) = self.settings.iter().find(|name| setting(name).is_none()) {
            return Ok(Some(format!("{setting} is not set")));
        }
        let machines = Machines::find()?.count();
        Ok((machines < self.machines).then(|| format!("it needs {} machines, not {machines}", self.machines)))
    }
}

/// All of them, in the order in which they run.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "accepted",
        about: "the API server accepts every object of every set of values; a ServiceMonitor comes by itself where its kind is known",
        needs: &[],
        hooks: &[],
        settings: &[],
        machines: 1,
        run: accepted::every_object,
    },
    Scenario {
        name: "zero-values",
        about: "with zero values three nodes are ready, on machines of their own, and found each other; helm test passes twice",
        needs: &[],
        hooks: &[],
        settings: &[],
        machines: 1,
        run: install::zero_values,
    },
    Scenario {
        name: "conversation",
        about: "the line client chats over two pods through port-forwards",
        needs: &["chat-tui"],
        hooks: &[],
        settings: &[],
        machines: 1,
        run: conversation::over_two_pods,
    },
    Scenario {
        name: "notes",
        about: "the commands of the notes work as they stand, and remove everything",
        needs: &["chat-tui"],
        hooks: &[],
        settings: &[],
        machines: 1,
        run: notes::unedited,
    },
    Scenario {
        name: "readme",
        about: "the commands of the README from helm install on work as they stand",
        needs: &["chat-tui"],
        hooks: &[],
        settings: &[],
        machines: 1,
        run: readme::as_it_stands,
    },
    Scenario {
        name: "long-name",
        about: "the same under a name of 53 characters, beside another release in another namespace",
        needs: &["chat-tui"],
        hooks: &[],
        settings: &[],
        machines: 1,
        run: notes::under_the_longest_name,
    },
    Scenario {
        name: "scale",
        about: "two more nodes are found within 5 s; when they go their rooms are not available, and are whole when they are back",
        needs: &["chat-tui"],
        hooks: &[],
        settings: &[],
        machines: 1,
        run: discovery::three_five_three,
    },
    Scenario {
        name: "forbidden",
        about: "without the right to ask the API nodes find a new one by DNS within 30 s, and with it by the API again",
        needs: &[],
        hooks: &[],
        settings: &[],
        machines: 1,
        run: discovery::without_the_right,
    },
    Scenario {
        name: "killed",
        about: "twenty pods are killed without grace while sessions talk: nothing is lost, doubled or out of order",
        needs: &[],
        hooks: &[],
        settings: &[],
        machines: 1,
        run: faults::killed,
    },
    Scenario {
        name: "two-writers",
        about: "a second pod on the volume of a node gives up, and the first one goes on",
        needs: &[],
        hooks: &[],
        settings: &[],
        machines: 1,
        run: writers::only_one,
    },
    Scenario {
        name: "rolling",
        about: "all nodes are replaced one after the other while sessions talk, with the same result",
        needs: &[],
        hooks: &[],
        settings: &[],
        machines: 1,
        run: faults::rolling,
    },
    Scenario {
        name: "drained",
        about: "machines are drained in turn: a drain waits until the node of the one before is back",
        needs: &[],
        hooks: &[],
        settings: &[],
        machines: 3,
        run: drained::in_turn,
    },
    Scenario {
        name: "crashed",
        about: "all machines with nodes crash at once, again and again: rooms return with all they had",
        needs: &[],
        hooks: &[Hook::Crash, Hook::Start],
        settings: &[],
        machines: 2,
        run: crashed::at_once,
    },
    Scenario {
        name: "cut",
        about: "two machines are cut off each other: sends across fail in time, the third one notices nothing, gaps close",
        needs: &["chat-tui"],
        hooks: &[Hook::Cut, Hook::Heal],
        settings: &[],
        machines: 3,
        run: cut::between_two,
    },
    Scenario {
        name: "prepared",
        about: "two machines are cut off each other between PREPARE and COMMIT of a deletion: whoever has promised waits for the end",
        needs: &["chat-tui"],
        hooks: &[Hook::Cut, Hook::Heal],
        settings: &[prepared::PAUSED],
        machines: 3,
        run: prepared::cut_off,
    },
    Scenario {
        name: "cut-api",
        about: "a node that cannot reach the API for two minutes stays a healthy peer of all",
        needs: &[],
        hooks: &[Hook::Cut, Hook::Heal],
        settings: &[],
        machines: 3,
        run: cut::off_the_api,
    },
    Scenario {
        name: "lost",
        about: "a machine falls silent and crashes: the others notice, and go on",
        needs: &[],
        hooks: &[Hook::Cut, Hook::Heal, Hook::Crash, Hook::Start],
        settings: &[],
        machines: 3,
        run: cut::off_all_then_dead,
    },
    Scenario {
        name: "container-killed",
        about: "each container is killed while the API server is away for two minutes: the nodes are back without it",
        needs: &[],
        hooks: &[Hook::Stop, Hook::Start, Hook::Kill],
        settings: &[],
        machines: 1,
        run: stopped::api,
    },
    Scenario {
        name: "kubelet-stopped",
        about: "a node whose kubelet is gone stays a healthy peer",
        needs: &[],
        hooks: &[Hook::Stop, Hook::Start],
        settings: &[],
        machines: 2,
        run: stopped::kubelet,
    },
    Scenario {
        name: "controllers-stopped",
        about: "a node that is killed while nobody updates the lists has failed for the others all the same",
        needs: &[],
        hooks: &[Hook::Stop, Hook::Start],
        settings: &[],
        machines: 1,
        run: stopped::controllers,
    },
    Scenario {
        name: "dns-stopped",
        about: "a node that starts without names and API server finds the peers that it remembers",
        needs: &[],
        hooks: &[Hook::Stop, Hook::Start, Hook::Kill],
        settings: &[],
        machines: 1,
        run: stopped::names,
    },
    Scenario {
        name: "upgraded",
        about: "an upgrade to another image, a rollback, an image that does not work and a rollback, while sessions talk",
        needs: &[],
        hooks: &[],
        settings: &[upgraded::NEXT],
        machines: 1,
        run: upgraded::and_back,
    },
    Scenario {
        name: "two-releases",
        about: "two releases in one namespace do not know each other",
        needs: &[],
        hooks: &[],
        settings: &[],
        machines: 1,
        run: neighbours::two_releases,
    },
    Scenario {
        name: "impostor",
        about: "nodes of other releases in the list of peers are refused by key and by release, and counted",
        needs: &[],
        hooks: &[],
        settings: &[],
        machines: 1,
        run: neighbours::impostors,
    },
    Scenario {
        name: "reinstalled",
        about: "a release that is installed again has its rooms; a node without its claim comes up empty and clients are told",
        needs: &["chat-tui"],
        hooks: &[],
        settings: &[],
        machines: 1,
        run: reinstalled::keeps_its_data,
    },
    Scenario {
        name: "starved-cpu",
        about: "with a tenth of a CPU nodes are slow, and nothing is lost",
        needs: &[],
        hooks: &[],
        settings: &[],
        machines: 1,
        run: starved::of_cpu,
    },
    Scenario {
        name: "starved-memory",
        about: "a node that reaches its memory limit is started again, and nothing is lost",
        needs: &[],
        hooks: &[],
        settings: &[],
        machines: 1,
        run: starved::of_memory,
    },
    Scenario {
        name: "scraped",
        about: "a Prometheus finds every node, and every query of the dashboards has an answer",
        needs: &["prometheus", "promtool", "curl"],
        hooks: &[],
        settings: &[],
        machines: 1,
        run: scraped::every_query,
    },
    Scenario {
        name: "alerts",
        about: "alerts fire for a node whose machine crashed and resolve, and not for a scale-down or a rolling update",
        needs: &["prometheus", "promtool", "curl"],
        hooks: &[Hook::Crash, Hook::Start],
        settings: &[],
        machines: 3,
        run: scraped::alerts,
    },
    Scenario {
        name: "one-machine",
        about: "three nodes become ready on one machine",
        needs: &[],
        hooks: &[],
        settings: &[],
        machines: 1,
        run: install::on_one_machine,
    },
];

/// What the scenarios of a run share.
pub(crate) struct Suite<'a> {
    say: &'a mut dyn FnMut(&str),
    /// A release with zero values, installed by the first scenario that needs one.
    default: Option<release::Release>,
}

impl Suite<'_> {
    /// Prints a figure of the running scenario.
    pub(crate) fn figure(&mut self, what: &str, figure: impl Display) {
        (self.say)(&format!("    {what}: {figure}"));
    }
}

/// Runs the named scenarios, or all.
///
/// # Errors
/// Which failed, or were skipped although `CHAT_KUBE_ALL` is 1.
pub fn run(names: &[String], say: &mut dyn FnMut(&str)) -> Result<(), String> {
    if let Some(name) = names
        .iter()
        .find(|name| SCENARIOS.iter().all(|scenario| scenario.name != name.as_str()))
    {
        return Err(format!("no scenario is called {name} (see `chat-kube list`)"));
    }
    let version = tools::output("kubectl", &["version", "--output=json"], SHORT)?;
    let version: serde_json::Value = serde_json::from_str(&version).map_err(|why| why.to_string())?;
    say(&format!(
        "Kubernetes {}",
        version["serverVersion"]["gitVersion"]
            .as_str()
            .unwrap_or("of no version")
    ));
    let mut suite = Suite { say, default: None };
    let (mut failed, mut skipped, mut passed) = (Vec::new(), Vec::new(), 0_u32);
    for scenario in SCENARIOS {
        if !names.is_empty() && names.iter().all(|name| name != scenario.name) {
            continue;
        }
        (suite.say)(&format!("{}: {}", scenario.name, scenario.about));
        if let Some(missing) = scenario.misses()? {
            (suite.say)(&format!("SKIPPED {}: {missing}", scenario.name));
            skipped.push(scenario.name);
            continue;
        }
        let since = Instant::now();
        match (scenario.run)(&mut suite) {
            Ok(()) => {
                passed += 1;
                (suite.say)(&format!(
                    "passed {} in {:.1} s",
                    scenario.name,
                    since.elapsed().as_secs_f64()
                ));
            }
            Err(why) => {
                (suite.say)(&format!("FAILED {}: {why}", scenario.name));
                failed.push(scenario.name);
            }
        }
    }
    if let Some(release) = suite.default.take()
        && let Err(why) = release.remove()
    {
        (suite.say)(&format!("FAILED to remove the namespace of the suite: {why}"));
        failed.push("remove");
    }
    say(&format!(
        "{passed} passed, {} failed, {} skipped",
        failed.len(),
        skipped.len()
    ));
    if !failed.is_empty() {
        Err(format!("failed: {}", failed.join(", ")))
    } else if !skipped.is_empty() && must_run_all() {
        Err(format!("skipped, but CHAT_KUBE_ALL is 1: {}", skipped.join(", ")))
    } else {
        Ok(())
    }
}

/// A duration as figures say it.
fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// Whether what cannot be run counts as failed.
#[must_use]
pub fn must_run_all() -> bool {
    setting("CHAT_KUBE_ALL").is_some_and(|value| value == "1")
}

/// What a variable of the environment says, unless that is nothing.
// Switches of the tests, not settings of a program.
#[allow(clippy::disallowed_methods)]
fn setting(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}
