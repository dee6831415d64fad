//! What the chart renders, for every set of values that it has. Needs Helm; without it the tests say SKIPPED, and fail
//! if `CHAT_KUBE_ALL` is 1.

// A test says enough by failing at the line.
#![allow(clippy::unwrap_used)]

#[path = "render/flows.rs"]
mod flows;
#[path = "render/generated.rs"]
mod generated;
#[path = "render/names.rs"]
mod names;
#[path = "render/node.rs"]
mod node;
#[path = "render/objects.rs"]
mod objects;
#[path = "render/pods.rs"]
mod pods;
#[path = "render/refusals.rs"]
mod refusals;
#[path = "render/seen.rs"]
mod seen;
#[path = "render/switches.rs"]
mod switches;
#[path = "render/upgrades.rs"]
mod upgrades;

use chat_kube::helm::{Render, chart};
use chat_kube::{suite, tools};
use serde_json::Value as Json;

/// Whether Helm is there. A test that needs it does nothing else without it.
fn helm() -> bool {
    let there = tools::exists("helm");
    assert!(
        there || !suite::must_run_all(),
        "helm is not on PATH, and CHAT_KUBE_ALL is 1"
    );
    if !there {
        skip();
    }
    there
}

// Whoever looks at the output of the tests shall see it.
#[allow(clippy::print_stderr)]
fn skip() {
    eprintln!("SKIPPED: helm is not on PATH");
}

/// Every file of values of the chart.
fn value_files() -> Vec<String> {
    let mut files: Vec<String> = std::fs::read_dir(chart().join("ci"))
        .unwrap()
        .map(|entry| format!("ci/{}", entry.unwrap().file_name().to_string_lossy()))
        .collect();
    files.extend(["values-ha.yaml".to_owned(), "values-kind.yaml".to_owned()]);
    files.sort();
    assert!(files.len() >= 6, "{files:?}");
    files
}

/// The objects of every set of values, with the name of its file. Kinds of others are known.
fn all_sets() -> Vec<(String, Vec<Json>)> {
    value_files()
        .into_iter()
        .map(|file| {
            let render = Render::values(&file).and(&[
                "--api-versions",
                "monitoring.coreos.com/v1/ServiceMonitor,monitoring.coreos.com/v1/PrometheusRule",
            ]);
            let objects = render.objects().unwrap_or_else(|why| panic!("{file}: {why}"));
            (file, objects)
        })
        .collect()
}

/// The objects with a kind.
fn of_kind<'a>(objects: &'a [Json], kind: &str) -> Vec<&'a Json> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// The only object of a kind.
fn only<'a>(objects: &'a [Json], kind: &str) -> &'a Json {
    match of_kind(objects, kind).as_slice() {
        [object] => object,
        others => panic!("{} objects are a {kind}", others.len()),
    }
}

/// The pods that the objects make: of the StatefulSet, and of the test.
fn pod_specs(objects: &[Json]) -> Vec<&Json> {
    let nodes = &only(objects, "StatefulSet")["spec"]["template"]["spec"];
    let tests = of_kind(objects, "Pod").into_iter().map(|pod| &pod["spec"]);
    std::iter::once(nodes).chain(tests).collect()
}

/// The containers of a pod, those before it included.
fn containers(pod: &Json) -> impl Iterator<Item = &Json> {
    let lists = ["initContainers", "containers"].map(|list| pod[list].as_array());
    lists.into_iter().flatten().flatten()
}

/// The container of the node.
fn node(objects: &[Json]) -> &Json {
    let pod = &only(objects, "StatefulSet")["spec"]["template"]["spec"];
    containers(pod).find(|container| container["name"] == "node").unwrap()
}

/// The items of a list; none if it is absent.
fn items(list: &Json) -> &[Json] {
    list.as_array().map_or(&[], Vec::as_slice)
}

/// The texts of a field in the items of a list.
fn texts<'a>(list: &'a Json, field: &str) -> Vec<&'a str> {
    items(list).iter().filter_map(|item| item[field].as_str()).collect()
}
