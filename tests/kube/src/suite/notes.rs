//! The commands of the chart's notes, run as a user would who copies them.

use super::conversation::Talk;
use super::release::{Namespace, Release};
use super::{LONG, SHORT, Suite, install};
use crate::tools::{self, Beside};
use std::net::TcpListener;

/// As long as the name of a release may be.
const LONGEST_NAME: &str = "a-release-whose-name-is-as-long-as-helm-lets-it-be-53";

pub(super) fn unedited(suite: &mut Suite<'_>) -> Result<(), String> {
    install::default(suite)?;
    let release = suite.default.take().ok_or("not installed")?;
    follow(suite, release)
}

pub(super) fn under_the_longest_name(suite: &mut Suite<'_>) -> Result<(), String> {
    assert_eq!(LONGEST_NAME.len(), 53, "it is as long as it says");
    // In another namespace than the other release, if that is still there.
    let namespace = Namespace::restricted("chat-kube-long-name")?;
    let release = Release::install(LONGEST_NAME, namespace, &[])?;
    release.found_each_other()?;
    suite.figure(
        "install to ready",
        format!("{:.1} s", release.ready_after.as_secs_f64()),
    );
    let pods = release.pod_names()?;
    suite.figure("longest name of a pod", pods.iter().map(String::len).max().unwrap_or(0));
    follow(suite, release)
}

/// Runs everything that the notes of a release tell, the end included.
fn follow(suite: &mut Suite<'_>, release: Release) -> Result<(), String> {
    let Release { name, namespace, .. } = release;
    let args = ["get", "notes", name.as_str(), "--namespace", namespace.name.as_str()];
    let notes = tools::output("helm", &args, SHORT)?;
    let commands: Vec<&str> = notes
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| {
            ["kubectl ", "helm ", "chat-tui "]
                .iter()
                .any(|program| line.starts_with(program))
        })
        .collect();
    let (mut forwards, mut clients, mut count) = (Vec::new(), Vec::new(), 0);
    for command in commands {
        count += 1;
        if command.contains(" port-forward ") {
            forwards.push(forward(command)?);
        } else if command.starts_with("chat-tui ") {
            clients.push(command);
        } else {
            talk(&mut clients)?;
            tools::output("sh", &["-c", command], LONG)?;
        }
    }
    // A wait, a test, two port-forwards, two clients, two that remove it.
    if count != 8 || forwards.len() != 2 {
        return Err(format!(
            "the notes have {count} commands, {} of them port-forwards:\n{notes}",
            forwards.len()
        ));
    }
    let left = tools::output(
        "kubectl",
        &[
            "get",
            "all,pvc,configmap,role,rolebinding,pdb",
            "--output=name",
            "--namespace",
            &namespace.name,
        ],
        SHORT,
    )?;
    let left: Vec<&str> = left.lines().filter(|line| !line.contains("kube-root-ca.crt")).collect();
    if !left.is_empty() {
        return Err(format!("what the notes call removing leaves {left:?}"));
    }
    suite.figure("commands run as they stand", count);
    namespace.remove()
}

/// Begins a port-forward to a port of this machine that the command names.
pub(super) fn forward(command: &str) -> Result<Beside, String> {
    let port = command
        .rsplit(' ')
        .next()
        .and_then(|ports| ports.split(':').next())
        .and_then(|port| port.parse::<u16>().ok())
        .ok_or_else(|| format!("no port in: {command}"))?;
    TcpListener::bind(("127.0.0.1", port))
        .map_err(|why| format!("the notes use port {port} of this machine: {why}"))?;
    let mut forward = Beside::start(command)?;
    forward.hear("Forwarding from 127.0.0.1:", SHORT)?;
    Ok(forward)
}

/// If there are clients, they talk before the next command.
pub(super) fn talk(clients: &mut Vec<&str>) -> Result<(), String> {
    match clients.as_slice() {
        [] => return Ok(()),
        [ines, otto] => {
            Talk::begin("hall", ines, otto)?.hold()?;
        }
        other => return Err(format!("two clients are needed, not {other:?}")),
    }
    clients.clear();
    Ok(())
}
