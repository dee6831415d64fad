//! The dashboards, from a list of rows, panels and queries to Grafana's JSON.
//!
//! It is the classic schema, which every Grafana since 8 reads: a fixed `uid`, no `id`, no inputs, one variable for the data source
//! and one per label that tells nodes apart. A query is written with [`SELECTOR`] for all of them.

mod node;
mod overview;

use serde_json::{Value as Json, json};

pub use node::node;
pub use overview::overview;

/// What a query is written with: the labels by which a dashboard's user chooses nodes.
pub const SELECTOR: &str = r#"job=~"$job",namespace=~"$namespace",instance=~"$instance",node=~"$node""#;

/// Columns of Grafana's grid.
const COLUMNS: u32 = 24;

/// A dashboard.
#[derive(Debug)]
pub struct Dashboard {
    /// What links name it by.
    pub uid: &'static str,
    /// For people.
    pub title: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// The other one: its uid and title.
    pub beside: (&'static str, &'static str),
    /// From top to bottom.
    pub rows: Vec<Row>,
}

/// Panels under a heading.
#[derive(Debug)]
pub struct Row {
    /// The heading.
    pub title: &'static str,
    /// From left to right.
    pub panels: Vec<Panel>,
}

/// How values look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Lines over time.
    Lines,
    /// One number.
    Number,
    /// Coloured bars over time, one per series: 0 red, 1 yellow, 2 green.
    Health,
}

/// One panel.
#[derive(Debug)]
pub struct Panel {
    /// What it shows.
    pub title: &'static str,
    /// What is good, what is not, and what to look at next.
    pub description: &'static str,
    /// How.
    pub kind: Kind,
    /// Grafana's name of the unit.
    pub unit: &'static str,
    /// Columns of the grid.
    pub width: u32,
    /// Queries with their legends.
    pub queries: Vec<(String, &'static str)>,
    /// Its series exist only while something is wrong, or for a feature that may be off.
    pub may_be_empty: bool,
}

impl Panel {
    /// Lines of one unit, eight columns wide.
    #[must_use]
    pub fn lines(title: &'static str, unit: &'static str, description: &'static str) -> Self {
        Self {
            title,
            description,
            kind: Kind::Lines,
            unit,
            width: 8,
            queries: Vec::new(),
            may_be_empty: false,
        }
    }

    /// One number, four columns wide.
    #[must_use]
    pub fn number(title: &'static str, unit: &'static str, description: &'static str) -> Self {
        Self {
            kind: Kind::Number,
            width: 4,
            ..Self::lines(title, unit, description)
        }
    }

    /// States from 0, bad, to 2, good, over the whole width.
    #[must_use]
    pub fn health(title: &'static str, description: &'static str) -> Self {
        Self {
            kind: Kind::Health,
            width: COLUMNS,
            ..Self::lines(title, "none", description)
        }
    }

    /// With another query. `SEL` in it stands for [`SELECTOR`].
    #[must_use]
    pub fn query(mut self, expression: &str, legend: &'static str) -> Self {
        self.queries.push((expression.replace("SEL", SELECTOR), legend));
        self
    }

    /// With quantiles of a histogram, by these labels beside `le`.
    #[must_use]
    pub fn quantiles(mut self, histogram: &str, by: &str, legends: [&'static str; 2]) -> Self {
        let by = if by.is_empty() {
            String::new()
        } else {
            format!(", {by}")
        };
        for (quantile, legend) in ["0.5", "0.99"].into_iter().zip(legends) {
            let rate = format!("sum by (le{by}) (rate({histogram}_bucket{{SEL}}[$__rate_interval]))");
            self = self.query(&format!("histogram_quantile({quantile}, {rate})"), legend);
        }
        self
    }

    /// With other columns.
    #[must_use]
    pub const fn wide(mut self, columns: u32) -> Self {
        self.width = columns;
        self
    }

    /// It may have nothing to show.
    #[must_use]
    pub const fn may_be_empty(mut self) -> Self {
        self.may_be_empty = true;
        self
    }

    const fn height(&self) -> u32 {
        match self.kind {
            Kind::Number => 4,
            Kind::Lines => 8,
            Kind::Health => 9,
        }
    }
}

impl Dashboard {
    /// As Grafana reads it.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut panels = Vec::new();
        let (mut y, mut id) = (0, 0);
        let mut next = || {
            id += 1;
            id
        };
        for row in &self.rows {
            panels.push(json!({
                "id": next(), "type": "row", "title": row.title, "collapsed": false, "panels": [],
                "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
            }));
            y += 1;
            let (mut x, mut height) = (0, 0);
            for panel in &row.panels {
                if x + panel.width > COLUMNS {
                    (x, y) = (0, y + height);
                    height = 0;
                }
                let place = json!({"x": x, "y": y, "w": panel.width, "h": panel.height()});
                panels.push(panel.to_json(next(), &place));
                x += panel.width;
                height = height.max(panel.height());
            }
            y += height;
        }
        json!({
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["chat-node"],
            "editable": false,
            "graphTooltip": 1,
            "refresh": "30s",
            "schemaVersion": 39,
            "timezone": "browser",
            "time": {"from": "now-1h", "to": "now"},
            "links": [{
                "type": "link", "title": self.beside.1, "url": format!("/d/{}", self.beside.0), "icon": "dashboard",
                "includeVars": true, "keepTime": true, "targetBlank": false, "asDropdown": false, "tags": [], "tooltip": "",
            }],
            "annotations": {"list": [{
                "name": "Another version", "enable": true, "iconColor": "blue", "datasource": datasource(),
                "expr": format!("changes(process_start_time_seconds{{{SELECTOR}}}[1m]) > 0"),
                "titleFormat": "{{node}} was started", "type": "dashboard",
            }]},
            "templating": {"list": variables()},
            "panels": panels,
        })
    }
}

impl Panel {
    fn to_json(&self, id: u32, place: &Json) -> Json {
        let targets: Vec<Json> = self
            .queries
            .iter()
            .zip('A'..)
            .map(|((expression, legend), name)| {
                json!({
                    "refId": name.to_string(), "datasource": datasource(), "expr": expression, "legendFormat": legend,
                    "range": self.kind != Kind::Number, "instant": self.kind == Kind::Number,
                })
            })
            .collect();
        let (kind, options, custom) = match self.kind {
            Kind::Lines => (
                "timeseries",
                json!({
                    "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []},
                    "tooltip": {"mode": "multi", "sort": "desc"},
                }),
                json!({"fillOpacity": 0, "lineWidth": 1, "showPoints": "never", "spanNulls": false}),
            ),
            Kind::Number => (
                "stat",
                json!({
                    "colorMode": "none", "graphMode": "area", "justifyMode": "auto", "textMode": "auto", "orientation": "auto",
                    "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false},
                    "wideLayout": true, "showPercentChange": false, "percentChangeColorMode": "standard",
                }),
                json!({}),
            ),
            Kind::Health => (
                "state-timeline",
                json!({
                    "mergeValues": true, "rowHeight": 0.8, "showValue": "never", "alignValue": "left",
                    "legend": {"displayMode": "list", "placement": "bottom", "showLegend": false, "calcs": []},
                    "tooltip": {"mode": "single", "sort": "none"},
                }),
                json!({"fillOpacity": 80, "lineWidth": 0, "spanNulls": false}),
            ),
        };
        let mut defaults = json!({"unit": self.unit, "custom": custom, "mappings": []});
        if self.kind == Kind::Health {
            defaults["thresholds"] = json!({"mode": "absolute", "steps": [
                {"color": "red", "value": null}, {"color": "yellow", "value": 1}, {"color": "green", "value": 2},
            ]});
            defaults["color"] = json!({"mode": "thresholds"});
            defaults["mappings"] = json!([{"type": "value", "options": {
                "0": {"text": "failed", "index": 0}, "1": {"text": "degraded", "index": 1}, "2": {"text": "healthy", "index": 2},
            }}]);
        }
        json!({
            "id": id, "type": kind, "title": self.title, "description": self.description, "datasource": datasource(),
            "gridPos": place, "targets": targets, "options": options,
            "fieldConfig": {"defaults": defaults, "overrides": []},
        })
    }
}

fn datasource() -> Json {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

/// The source, then what tells nodes apart, from the outside in. Outside of Kubernetes there is no namespace, so that one may be empty.
fn variables() -> Vec<Json> {
    let mut all = vec![json!({
        "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0, "refresh": 1,
        "regex": "", "multi": false, "includeAll": false, "options": [],
    })];
    let mut chosen = String::new();
    for (name, label, every) in [
        ("job", "Job", ".+"),
        ("namespace", "Namespace", ".*"),
        ("instance", "Instance", ".+"),
        ("node", "Node", ".+"),
    ] {
        let query = format!(
            "label_values(chat_build_info{{{}}}, {name})",
            chosen.trim_end_matches(',')
        );
        all.push(json!({
            "name": name, "label": label, "type": "query", "datasource": datasource(), "query": {"query": query, "refId": name},
            "definition": query, "refresh": 2, "sort": 1, "regex": "", "hide": 0,
            "multi": true, "includeAll": true, "allValue": every, "options": [],
            "current": {"selected": true, "text": ["All"], "value": ["$__all"]},
        }));
        chosen.push_str(&format!("{name}=~\"${name}\","));
    }
    all
}

/// Every dashboard, with the name of its file.
#[must_use]
pub fn all() -> Vec<(&'static str, Dashboard)> {
    vec![("chat-overview.json", overview()), ("chat-node.json", node())]
}
