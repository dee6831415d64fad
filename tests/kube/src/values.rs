//! The annotated `values.yaml`: which values there are, what each means, and what it may be.
//!
//! Above a value, a comment that begins with `--` describes it; lines after it continue it, up to `@type`, which is JSON
//! that refines what the default says about its type. `@section` begins a group. A key without a description holds
//! others. Only what this file needs of YAML is understood.

use serde_json::{Map, Value as Json};

/// One value of the chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Its keys.
    pub path: Vec<String>,
    /// Under which heading it is shown.
    pub section: String,
    /// What it means.
    pub description: String,
    /// The default as it is written; `None` if it takes several lines.
    pub default: Option<String>,
    /// What it may be, as a JSON schema.
    pub schema: Json,
}

impl Value {
    /// Its keys, with dots.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.join(".")
    }
}

/// What stands above a key.
#[derive(Default)]
struct Comment {
    description: Option<String>,
    schema: Option<Json>,
}

/// Reads all values.
///
/// # Errors
/// What is not understood, with its line.
pub fn parse(text: &str) -> Result<Vec<Value>, String> {
    let mut values = Vec::new();
    let mut section = String::new();
    let mut comment = Comment::default();
    let mut path: Vec<(usize, String)> = Vec::new();
    let mut lines = (1..).zip(text.lines()).peekable();
    while let Some((number, line)) = lines.next() {
        let wrong = |what: &str| format!("line {number}: {what}: {line}");
        let trimmed = line.trim();
        if trimmed.is_empty() {
            comment = Comment::default();
        } else if let Some(name) = trimmed.strip_prefix("# @section ") {
            section = name.to_owned();
        } else if let Some(schema) = trimmed.strip_prefix("# @type ") {
            comment.schema = Some(serde_json::from_str(schema).map_err(|why| wrong(&why.to_string()))?);
        } else if let Some(description) = trimmed.strip_prefix("# -- ") {
            comment.description = Some(description.to_owned());
        } else if let Some(more) = trimmed.strip_prefix("# ") {
            if let Some(description) = &mut comment.description {
                description.push(' ');
                description.push_str(more);
            }
        } else {
            let indent = line.len() - line.trim_start().len();
            let (key, default) = trimmed.split_once(':').ok_or_else(|| wrong("no key"))?;
            path.retain(|(outer, _)| *outer < indent);
            path.push((indent, key.to_owned()));
            let Comment { description, schema } = std::mem::take(&mut comment);
            let Some(description) = description else {
                if default.is_empty() && schema.is_none() {
                    continue;
                }
                return Err(wrong("a value without a description"));
            };
            let default = default.trim();
            let mut deeper = false;
            while let Some((_, next)) = lines.peek() {
                if next.trim().is_empty() || next.len() - next.trim_start().len() <= indent {
                    break;
                }
                deeper = true;
                lines.next();
            }
            values.push(Value {
                path: path.iter().map(|(_, key)| key.clone()).collect(),
                section: section.clone(),
                description,
                default: (!deeper).then(|| default.to_owned()),
                schema: refine(default, schema).map_err(|what| wrong(&what))?,
            });
        }
    }
    Ok(values)
}

/// The type that the default shows, and what the annotation says besides.
fn refine(default: &str, annotation: Option<Json>) -> Result<Json, String> {
    let kind = match default {
        "true" | "false" => Some("boolean"),
        "{}" => Some("object"),
        "[]" => Some("array"),
        "" => None,
        number if number.parse::<i64>().is_ok() => Some("integer"),
        _ => Some("string"),
    };
    let mut schema = Map::new();
    if let Some(kind) = kind {
        schema.insert("type".into(), kind.into());
    }
    match annotation {
        None => {}
        Some(Json::Object(more)) => schema.extend(more),
        // A name for what is known elsewhere.
        Some(name @ Json::String(_)) => return Ok(name),
        Some(_) => return Err("the type is no object".into()),
    }
    if schema.contains_key("type") {
        Ok(Json::Object(schema))
    } else {
        Err("the default does not show the type".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_read_with_what_stands_above_them() {
        let text = "\
# What this file is.

# @section Names

# -- How many,
# all in all.
# @type {\"minimum\": 1}
replicas: 3
image:
  # -- Where it is.
  repository: docker.io/x
  # -- What it asks for.
  # @type {\"type\": \"object\"}
  resources:
    requests:
      cpu: 1
  # -- More.
  more: []
";
        let values = parse(text).unwrap();
        let shown: Vec<_> = values
            .iter()
            .map(|value| (value.name(), value.description.as_str(), value.default.as_deref()))
            .collect();
        assert_eq!(
            shown,
            [
                ("replicas".to_owned(), "How many, all in all.", Some("3")),
                ("image.repository".to_owned(), "Where it is.", Some("docker.io/x")),
                ("image.resources".to_owned(), "What it asks for.", None),
                ("image.more".to_owned(), "More.", Some("[]")),
            ]
        );
        assert_eq!(values[0].schema, json!({"type": "integer", "minimum": 1}));
        assert_eq!(values[1].schema, json!({"type": "string"}));
        assert_eq!(values[2].schema, json!({"type": "object"}));
        assert!(values.iter().all(|value| value.section == "Names"));
    }

    #[test]
    fn a_value_without_a_description_is_refused_with_its_line() {
        let why = parse("# -- One.\none: 1\ntwo: 2\n").unwrap_err();
        assert_eq!(why, "line 3: a value without a description: two: 2");
    }
}
