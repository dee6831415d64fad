//! The commands of the README, run as somebody does who copies them.

use super::notes::{forward, talk};
use super::release::Namespace;
use super::{LONG, SHORT, Suite};
use crate::repository;
use crate::tools;
use std::io::Write as _;

const README: &str = include_str!("../../../../README.md");

/// The part that is about Kubernetes.
const HEADING: &str = "## On Kubernetes\n";

/// What prepares a cluster, which is up to whoever has one.
const BEFORE: [&str; 2] = ["docker", "kind"];

pub(super) fn as_it_stands(suite: &mut Suite<'_>) -> Result<(), String> {
    let namespace = Namespace::restricted("chat-kube-readme")?;
    // The commands name no namespace: they work in the one that the user is in.
    let mut config = tempfile::NamedTempFile::new().map_err(|why| why.to_string())?;
    let own = tools::output("kubectl", &["config", "view", "--raw", "--flatten"], SHORT)?;
    config.write_all(own.as_bytes()).map_err(|why| why.to_string())?;
    let path = config.path().to_string_lossy().into_owned();
    let option = format!("--kubeconfig={path}");
    let here = format!("--namespace={}", namespace.name);
    tools::output(
        "kubectl",
        &["config", "set-context", "--current", &here, &option],
        SHORT,
    )?;

    let (mut left_out, mut forwards, mut clients, mut run) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for command in commands(README)? {
        let program = command.split(' ').next().unwrap_or_default();
        if BEFORE.contains(&program) {
            left_out.push(command);
            continue;
        }
        run += 1;
        let mine = format!("env KUBECONFIG={path} {command}");
        match program {
            "helm" => drop(tools::output(
                "sh",
                &["-c", &format!("cd '{}' && {mine}", repository("").display())],
                LONG,
            )?),
            "kubectl" if command.contains(" port-forward ") => forwards.push(forward(&mine)?),
            "chat-tui" => clients.push(command),
            _ => return Err(format!("nobody has said how to run: {command}")),
        }
    }
    if run != 6 || forwards.len() != 2 || clients.len() != 2 {
        return Err(format!(
            "{run} commands of the README were run, {} of them port-forwards and {} clients",
            forwards.len(),
            clients.len()
        ));
    }
    talk(&mut clients)?;
    drop(forwards);
    namespace.remove()?;
    suite.figure("commands run as they stand", run);
    suite.figure("not run, because they make or load a cluster", left_out.join("; "));
    Ok(())
}

/// The commands in the blocks of the part about Kubernetes.
fn commands(readme: &str) -> Result<Vec<&str>, String> {
    let part = readme
        .split_once(HEADING)
        .ok_or("the README says nothing of Kubernetes")?
        .1;
    let part = part.split("\n## ").next().unwrap_or(part);
    let blocks = part.split("```").skip(1).step_by(2);
    let lines = blocks.flat_map(str::lines).map(str::trim);
    Ok(lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_the_lines_of_the_blocks_of_one_part() {
        let readme = "```\nnot this\n```\n## On Kubernetes\ntext\n```\none\n\n# or: two\nthree 3\n```\n`no`\n```\nfour\n```\n## Next\n```\nfive\n```\n";
        assert_eq!(commands(readme), Ok(vec!["one", "three 3", "four"]));
        assert!(commands("## Something else\n").is_err());
    }
}
