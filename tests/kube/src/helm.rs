//! The chart as Helm renders it.

use crate::repository;
use crate::tools::{Said, output, run};
use serde_json::Value as Json;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

/// Longest time of one call of Helm that talks to nobody.
const LIMIT: Duration = Duration::from_secs(60);

/// The oldest Kubernetes that the chart is for.
pub const OLDEST: &str = "1.31.0";

/// Where the chart is.
#[must_use]
pub fn chart() -> PathBuf {
    repository("helm/chat")
}

/// How to render: release, namespace, and further arguments.
#[derive(Debug, Clone)]
pub struct Render {
    /// Which chart.
    pub chart: PathBuf,
    /// The release.
    pub release: String,
    /// The namespace.
    pub namespace: String,
    /// Arguments such as `--set` and `--values` with theirs.
    pub args: Vec<String>,
}

impl Default for Render {
    fn default() -> Self {
        Self {
            chart: chart(),
            release: "chat".into(),
            namespace: "talk".into(),
            args: Vec::new(),
        }
    }
}

impl Render {
    /// With further arguments.
    #[must_use]
    pub fn with(args: &[&str]) -> Self {
        Self::default().and(args)
    }

    /// With a file of values of the chart's directory.
    #[must_use]
    pub fn values(file: &str) -> Self {
        let path = chart().join(file);
        Self::default().and(&["--values", &path.to_string_lossy()])
    }

    /// And with further arguments.
    #[must_use]
    pub fn and(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|&arg| arg.to_owned()));
        self
    }

    /// What Helm says, as it says it.
    ///
    /// # Errors
    /// Helm cannot be run.
    pub fn say(&self) -> Result<Said, String> {
        let chart = self.chart.to_string_lossy();
        let mut args = vec!["template", &self.release, &chart, "--namespace", &self.namespace];
        args.extend(["--kube-version", OLDEST]);
        args.extend(self.args.iter().map(String::as_str));
        run("helm", &args, "", LIMIT)
    }

    /// The rendered YAML.
    ///
    /// # Errors
    /// Helm refuses.
    pub fn yaml(&self) -> Result<String, String> {
        let said = self.say()?;
        if said.ok { Ok(said.out) } else { Err(said.err) }
    }

    /// The rendered objects.
    ///
    /// # Errors
    /// Helm refuses, or the result is no YAML.
    pub fn objects(&self) -> Result<Vec<Json>, String> {
        objects(&self.yaml()?)
    }

    /// Why Helm refuses.
    ///
    /// # Errors
    /// It does not.
    pub fn refusal(&self) -> Result<String, String> {
        let said = self.say()?;
        if said.ok {
            Err(format!("accepted: {}", self.args.join(" ")))
        } else {
            Ok(said.err)
        }
    }
}

/// The documents of a YAML text. Helm itself reads it, so that both see the same.
///
/// # Errors
/// It is no YAML.
pub fn objects(yaml: &str) -> Result<Vec<Json>, String> {
    let mut file = tempfile::NamedTempFile::new().map_err(|why| why.to_string())?;
    file.write_all(yaml.as_bytes()).map_err(|why| why.to_string())?;
    let translator = repository("tests/kube/json");
    let set = format!("documents={}", file.path().display());
    let text = output(
        "helm",
        &["template", "json", &translator.to_string_lossy(), "--set-file", &set],
        LIMIT,
    )?;
    let lines = text.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).map_err(|why| format!("{why}: {line}")))
        .collect()
}
