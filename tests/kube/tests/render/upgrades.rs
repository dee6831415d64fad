//! What an upgrade must not change, because Kubernetes refuses to.

use super::{helm, only};
use chat_kube::helm::{Render, chart};
use serde_json::Value as Json;
use std::fs;
use std::path::Path;

/// The parts of a StatefulSet that cannot be changed.
fn fixed(objects: &[Json]) -> Json {
    let spec = &only(objects, "StatefulSet")["spec"];
    let fields = ["selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates"];
    fields.iter().map(|field| spec[field].clone()).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn another_version_changes_nothing_that_a_stateful_set_cannot_change() {
    if !helm() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let next = directory.path().join("chat");
    copy(&chart(), &next);
    let file = next.join("Chart.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let newer = text
        .replace("\nversion: ", "\nversion: 9")
        .replace("appVersion: \"", "appVersion: \"9");
    assert_ne!(text, newer);
    fs::write(&file, newer).unwrap();
    let next = Render {
        chart: next,
        ..Render::default()
    };
    let (now, next) = (Render::default().objects().unwrap(), next.objects().unwrap());
    assert_ne!(now, next, "the version is somewhere");
    assert_eq!(fixed(&now), fixed(&next));
}

#[test]
fn other_values_change_nothing_that_a_stateful_set_cannot_change() {
    if !helm() {
        return;
    }
    let now = fixed(&Render::default().objects().unwrap());
    for set in [
        "image.tag=next",
        "replicas=5",
        "discovery=dns",
        "config.MAX_CONNECTIONS=5",
        "podLabels.team=chat",
        "drain.windowSeconds=60",
        "networkPolicy.enabled=true",
        "serviceAccount.name=other",
        "persistence.retention.whenScaled=Delete",
    ] {
        assert_eq!(fixed(&Render::with(&["--set", set]).objects().unwrap()), now, "{set}");
    }
}
