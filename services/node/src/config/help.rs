//! The text of `--help`, made from the table of settings.

use super::raw::{Fallback, Group, Kind, SETTINGS, Setting};
use std::fmt::Write;

const HEAD: &str = "\
chat-node: a node of a chat cluster

Usage:
  chat-node [--SETTING VALUE]...        serve as one node
  chat-node dev [--SETTING VALUE]...    run a whole cluster in this process
  chat-node health [--SETTING VALUE]... ask the node of this machine; status 0 means yes
  chat-node selftest [--SETTING VALUE]...
                                        hold a conversation on running nodes; status 0 means all was right
  chat-node log-level [--new-level LEVEL]
                                        ask the node of this machine how much it logs, or change it
  chat-node --help | --version

Every setting is an environment variable and a flag; the flag wins. \"--flag value\" and \"--flag=value\" are the same.
";

const GROUPS: [(&[Group], &str); 12] = [
    (
        &[Group::Addresses, Group::ClientPort, Group::OperationsPort],
        "Who and where (not for dev)",
    ),
    (&[Group::Dev], "The cluster of dev (only for dev)"),
    (
        &[Group::Health],
        "The question of health (only for health, with OPERATIONS_HOST and OPERATIONS_PORT)",
    ),
    (
        &[Group::Selftest],
        "The conversation of selftest (only for selftest, with WEBSOCKET_HOST and WEBSOCKET_PORT)",
    ),
    (
        &[Group::LogLevel],
        "The log of a running node (only for log-level, with OPERATIONS_HOST and OPERATIONS_PORT)",
    ),
    (&[Group::Storage], "Storage"),
    (&[Group::Logging], "Log (written to standard error)"),
    (
        &[Group::Traces],
        "Traces (off without a collector; the variables are those of OpenTelemetry)",
    ),
    (&[Group::Clients], "Limits: clients"),
    (&[Group::Rooms], "Limits: rooms"),
    (&[Group::Peers], "Limits: other nodes"),
    (&[Group::Stopping], "Limits: stopping"),
];

pub(super) fn text() -> String {
    let mut text = String::from(HEAD);
    for (groups, title) in GROUPS {
        text.push_str(&format!("\n{title}:\n"));
        for setting in SETTINGS.iter().filter(|setting| groups.contains(&setting.group)) {
            describe(&mut text, setting);
        }
    }
    text
}

fn describe(text: &mut String, setting: &Setting) {
    let values = match setting.kind {
        Kind::Text => String::new(),
        Kind::Number(min, max, unit) => format!("; {unit}; {min} to {max}"),
        Kind::Choice(words) => format!("; one of {}", words.join(", ")),
    };
    let default = match setting.default {
        Fallback::Text("") => "empty",
        Fallback::Text(default) | Fallback::Derived(default) => default,
    };
    let written = writeln!(
        text,
        "  {:<28} {}\n      {} (default: {default}{values})",
        setting.flag(),
        setting.env,
        setting.help
    );
    debug_assert!(written.is_ok(), "writing to a String cannot fail");
}
