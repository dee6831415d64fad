//! What cannot be run says so, and fails where everything must run. The cluster is one of shell scripts.
#![allow(clippy::unwrap_used)]

use std::fs::{Permissions, set_permissions, write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// A cluster of one machine on which nothing can be made.
const KUBECTL: &str = r#"#!/bin/sh
case "$1 $2" in
    "version --output=json") echo '{"serverVersion": {"gitVersion": "v1.2.3"}}' ;;
    "get nodes") echo '{"items": [{"metadata": {"name": "one"}, "spec": {}}]}' ;;
    *) echo "not here: $*" >&2; exit 1 ;;
esac
"#;

/// Runs a scenario; whether its status was 0, what it printed, and what it complained of.
fn run(scenario: &str, environment: &[(&str, &str)]) -> (bool, String, String) {
    let programs = tempfile::tempdir().unwrap();
    for (name, script) in [
        ("kubectl", KUBECTL),
        ("helm", "#!/bin/sh\n"),
        ("chat-tui", "#!/bin/sh\n"),
    ] {
        program(&programs.path().join(name), script);
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-kube"));
    command.args(["run", scenario]).env_clear();
    command.env("PATH", format!("{}:/bin:/usr/bin", programs.path().display()));
    let said = command.envs(environment.iter().copied()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (said.status.success(), text(&said.stdout), text(&said.stderr))
}

fn program(path: &Path, script: &str) {
    write(path, script).unwrap();
    set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

#[track_caller]
fn skipped(scenario: &str, environment: &[(&str, &str)], why: &str) {
    let (ok, out, err) = run(scenario, environment);
    let line = format!("SKIPPED {scenario}: {why}");
    assert!(ok && out.lines().any(|found| found == line), "{line}\n{out}{err}");
    assert!(out.ends_with("0 passed, 0 failed, 1 skipped\n"), "{out}");

    let all: Vec<_> = environment.iter().copied().chain([("CHAT_KUBE_ALL", "1")]).collect();
    let (ok, out, err) = run(scenario, &all);
    assert!(!ok, "it passes although it was not run:\n{out}");
    assert!(out.lines().any(|found| found == line), "{line}\n{out}");
    assert_eq!(err, format!("chat-kube: skipped, but CHAT_KUBE_ALL is 1: {scenario}\n"));
}

#[test]
fn a_hook_that_is_not_there() {
    skipped(
        "crashed",
        &[("CHAT_KUBE_START", "true")],
        "CHAT_KUBE_CRASH names no command",
    );
    skipped(
        "crashed",
        &[("CHAT_KUBE_CRASH", "true"), ("CHAT_KUBE_START", "")],
        "CHAT_KUBE_START names no command",
    );
}

#[test]
fn an_image_that_is_not_there() {
    skipped("upgraded", &[], "CHAT_KUBE_NEXT is not set");
}

#[test]
fn too_few_machines() {
    skipped("drained", &[], "it needs 3 machines, not 1");
}

#[test]
fn what_can_be_run_is_run_and_its_failure_is_one() {
    let (ok, out, err) = run("conversation", &[]);
    assert!(!ok && out.contains("FAILED conversation: "), "{out}");
    assert!(out.ends_with("0 passed, 1 failed, 0 skipped\n"), "{out}");
    assert_eq!(err, "chat-kube: failed: conversation\n");
}

#[test]
fn what_is_no_scenario_is_not_passed_over() {
    let (ok, _, err) = run("conversations", &[]);
    assert!(!ok && err.contains("no scenario is called conversations"), "{err}");
}
