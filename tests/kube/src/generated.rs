//! The files that are made: `README.md`, `values.schema.json` and the dashboards of the chart, and the same
//! dashboards in `deploy/`; its alerts are those of `deploy/`.

use crate::settings::{self, Setting};
use crate::values::{self, Value};
use crate::{dashboards, repository};
use serde_json::{Map, Value as Json, json};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

/// Where the table of values goes in the text of the README.
const MARK: &str = "<!-- values -->\n";

/// Every made file: where it is, and what it should hold.
///
/// # Errors
/// A source that cannot be read or understood.
pub fn files() -> Result<Vec<(PathBuf, String)>, String> {
    let read = |name: &str| {
        let path = repository("helm/chat").join(name);
        fs::read_to_string(&path).map_err(|why| format!("{}: {why}", path.display()))
    };
    let values = values::parse(&read("values.yaml")?).map_err(|why| format!("values.yaml, {why}"))?;
    let bounds = settings::bounds()?;
    let text = read("README.in.md")?;
    let (before, after) = text
        .split_once(MARK)
        .ok_or("README.in.md has no place for the values")?;
    let readme = format!(
        "<!-- Made from README.in.md and values.yaml by `just generate`. -->\n{before}{}{after}",
        table(&values)
    );
    let mut schema = serde_json::to_string_pretty(&schema(&values, &bounds)?).map_err(|why| why.to_string())?;
    schema.push('\n');
    let mut files = vec![
        (repository("helm/chat/README.md"), readme),
        (repository("helm/chat/values.schema.json"), schema),
    ];
    for (name, dashboard) in dashboards::all() {
        let text = serde_json::to_string_pretty(&dashboard.to_json()).map_err(|why| why.to_string())? + "\n";
        for directory in ["deploy/dashboards", "helm/chat/files/dashboards"] {
            files.push((repository(directory).join(name), text.clone()));
        }
    }
    let rules = repository("deploy/alerts/chat.rules.yaml");
    let text = fs::read_to_string(&rules).map_err(|why| format!("{}: {why}", rules.display()))?;
    files.push((repository("helm/chat/files/alerts/chat.rules.yaml"), text));
    Ok(files)
}

/// Writes them.
///
/// # Errors
/// As [`files`], or a file that cannot be written.
pub fn write() -> Result<(), String> {
    for (path, text) in files()? {
        fs::write(&path, text).map_err(|why| format!("{}: {why}", path.display()))?;
    }
    Ok(())
}

/// Which of them hold something else than they should.
///
/// # Errors
/// As [`files`].
pub fn outdated() -> Result<Vec<PathBuf>, String> {
    let stale = |(path, text): (PathBuf, String)| {
        let found = fs::read_to_string(&path).unwrap_or_default();
        (found != text).then_some(path)
    };
    Ok(files()?.into_iter().filter_map(stale).collect())
}

fn table(values: &[Value]) -> String {
    let mut text = String::new();
    let mut section = "";
    for value in values {
        if value.section != section {
            section = &value.section;
            let written = write!(
                text,
                "\n### {section}\n\n| value | default | meaning |\n|---|---|---|\n"
            );
            debug_assert!(written.is_ok(), "writing to a String cannot fail");
        }
        let default = value.default.as_deref().unwrap_or("see values.yaml");
        let default = if value.default.is_some() {
            format!("`{default}`")
        } else {
            default.to_owned()
        };
        let meaning = value.description.replace('|', "\\|");
        let written = writeln!(text, "| `{}` | {default} | {meaning} |", value.name());
        debug_assert!(written.is_ok(), "writing to a String cannot fail");
    }
    text.trim_start().to_owned()
}

/// Strict: a key that is not a value of the chart is refused, at every level that is the chart's own.
fn schema(values: &[Value], bounds: &[Setting]) -> Result<Json, String> {
    let mut top = Map::new();
    for value in values {
        let mut own = match &value.schema {
            Json::String(name) if name == "settings" => settings_schema(bounds),
            Json::Object(own) => own.clone(),
            other => return Err(format!("{}: {other} is unknown", value.name())),
        };
        own.insert("description".into(), value.description.clone().into());
        insert(&mut top, &value.path, Json::Object(own))?;
    }
    // Helm gives it to every chart inside of another one.
    top.insert(
        "global".into(),
        json!({"type": "object", "description": "Not used; charts around this one may have it."}),
    );
    let mut schema = closed(top);
    schema.insert("$schema".into(), "http://json-schema.org/draft-07/schema#".into());
    schema.insert("title".into(), "Values of the chart chat".into());
    Ok(Json::Object(schema))
}

fn closed(properties: Map<String, Json>) -> Map<String, Json> {
    let mut schema = Map::new();
    schema.insert("type".into(), "object".into());
    schema.insert("additionalProperties".into(), false.into());
    schema.insert("properties".into(), Json::Object(properties));
    schema
}

fn insert(properties: &mut Map<String, Json>, path: &[String], schema: Json) -> Result<(), String> {
    match path {
        [] => Err("a value without a name".into()),
        [last] => {
            properties.insert(last.clone(), schema);
            Ok(())
        }
        [first, rest @ ..] => {
            let inner = properties
                .entry(first)
                .or_insert_with(|| Json::Object(closed(Map::new())));
            let inner = inner.get_mut("properties").and_then(Json::as_object_mut);
            insert(
                inner.ok_or_else(|| format!("{first} is a value and holds others"))?,
                rest,
                schema,
            )
        }
    }
}

fn settings_schema(bounds: &[Setting]) -> Map<String, Json> {
    let describe = |setting: &Setting| {
        let text = format!("{} Default {}, in {}.", setting.help, setting.default, setting.unit);
        let schema = json!({"type": "integer", "minimum": setting.min, "maximum": setting.max, "description": text});
        (setting.name.clone(), schema)
    };
    closed(bounds.iter().map(describe).collect())
}
