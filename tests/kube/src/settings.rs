//! The settings of a node as its own help describes them.

use chat_node::config::{Command, Config};

/// A setting that has a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its variable.
    pub name: String,
    /// One sentence.
    pub help: String,
    /// The value if none is given.
    pub default: String,
    /// What the number counts.
    pub unit: String,
    /// The smallest value.
    pub min: u64,
    /// The largest value.
    pub max: u64,
}

/// The headings of the help under which the settings are that a user of the chart may give in `config`. Everything else
/// follows from other values of the chart.
const OPEN: [&str; 3] = ["Limits: clients:", "Limits: rooms:", "Limits: other nodes:"];

/// The settings that `config` of the chart takes.
///
/// # Errors
/// The help has another form than expected.
pub fn bounds() -> Result<Vec<Setting>, String> {
    let Ok(Command::Help(help)) = Config::load(["--help".to_owned()].into_iter(), |_| None) else {
        return Err("the node has no help".into());
    };
    let mut found = Vec::new();
    let mut open = false;
    let mut name = None;
    for line in help.lines() {
        if !line.starts_with(' ') {
            open = OPEN.contains(&line);
        } else if !open {
        } else if let Some(words) = line.strip_prefix("  --") {
            name = words.split_whitespace().nth(1).map(str::to_owned);
        } else if let Some(name) = name.take() {
            found.push(setting(name, line.trim()).ok_or_else(|| format!("not understood: {line}"))?);
        }
    }
    if found.is_empty() {
        return Err("the help lists no bounds".into());
    }
    Ok(found)
}

/// Reads `Most clients at once. (default: 10000; connections; 1 to 1000000)`.
fn setting(name: String, line: &str) -> Option<Setting> {
    let (help, rest) = line.split_once(" (default: ")?;
    let mut parts = rest.strip_suffix(')')?.split("; ");
    let (default, unit, range) = (parts.next()?, parts.next()?, parts.next()?);
    let (min, max) = range.split_once(" to ")?;
    Some(Setting {
        name,
        help: help.to_owned(),
        default: default.to_owned(),
        unit: unit.to_owned(),
        min: min.parse().ok()?,
        max: max.parse().ok()?,
    })
}
