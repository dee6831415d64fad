//! Names under every release.

use super::{helm, only, pod_specs, texts};
use chat_kube::helm::Render;
use serde_json::Value as Json;

fn under(release: &str, args: &[&str]) -> Vec<Json> {
    let render = Render {
        release: release.into(),
        ..Render::with(args)
    };
    render.objects().unwrap_or_else(|why| panic!("{release}: {why}"))
}

#[test]
fn a_release_that_is_called_like_the_chart_does_not_say_it_twice() {
    if !helm() {
        return;
    }
    let name = |release: &str, args: &[&str]| {
        only(&under(release, args), "StatefulSet")["metadata"]["name"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(name("chat", &[]), "chat");
    assert_eq!(name("my-chat", &[]), "my-chat");
    assert_eq!(name("prod", &[]), "prod-chat");
    assert_eq!(name("v1.0", &[]), "v1-0-chat");
    assert_eq!(name("prod", &["--set", "nameOverride=talk"]), "prod-talk");
    assert_eq!(name("prod", &["--set", "fullnameOverride=speech"]), "speech");
}

#[test]
fn the_longest_release_name_gives_names_that_kubernetes_takes() {
    if !helm() {
        return;
    }
    let release = "r".repeat(53);
    let objects = under(&release, &[]);
    let set = only(&objects, "StatefulSet")["metadata"]["name"].as_str().unwrap();
    // A revision of it is a label of at most 63 characters: its name, a dash and ten more.
    assert_eq!(set.len(), 52);
    for object in &objects {
        let name = object["metadata"]["name"].as_str().unwrap();
        assert!(name.len() <= 63, "{name}");
        for (label, value) in object["metadata"]["labels"].as_object().unwrap() {
            assert!(value.as_str().unwrap().len() <= 63, "{label}: {value}");
        }
    }
    let last_kept_dash = under(&format!("{}-{}", "r".repeat(51), "s"), &[]);
    assert_eq!(only(&last_kept_dash, "StatefulSet")["metadata"]["name"], "r".repeat(51));
}

#[test]
fn an_image_is_named_by_the_version_a_tag_or_a_digest() {
    if !helm() {
        return;
    }
    let image = |args: &[&str]| {
        let objects = under("chat", args);
        let images: Vec<String> = pod_specs(&objects)
            .iter()
            .map(|pod| pod["containers"][0]["image"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(images[0], images[1], "the test runs the image of the nodes");
        images[0].clone()
    };
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(image(&[]), format!("docker.io/library/chat-node:{version}"));
    assert_eq!(
        image(&["--set", "image.repository=localhost/chat-node,image.tag=dev"]),
        "localhost/chat-node:dev"
    );
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    assert_eq!(
        image(&["--set", &format!("image.tag=dev,image.digest={digest}")]),
        format!("docker.io/library/chat-node@{digest}")
    );
}

#[test]
fn every_node_is_a_target_of_the_test() {
    if !helm() {
        return;
    }
    let objects = under("prod", &["--set", "replicas=2"]);
    let test = &only(&objects, "Pod")["spec"]["containers"][0];
    assert_eq!(texts(&test["env"], "name"), ["TARGETS", "METRICS", "PATIENCE_MS"]);
    assert_eq!(
        test["env"][0]["value"],
        "ws://prod-chat-0.prod-chat-headless.talk.svc:8080,ws://prod-chat-1.prod-chat-headless.talk.svc:8080"
    );
}
