//! Two pods on one volume: whoever comes second must not write.

use super::faults::IN_USE;
use super::load::{Load, Plan};
use super::release::{Namespace, QUICK, Release, apply};
use super::{LONG, Suite, seconds};
use crate::tools::until;
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};

/// Seconds of load around the second pod.
const LOAD: u32 = 40;

/// A claim that only one machine may use lets two pods of this machine use it at once. Here one more node is started by hand on the
/// volume of a node that talks, under the same id.
pub(super) fn only_one(suite: &mut Suite<'_>) -> Result<(), String> {
    let release = Release::install("chat", Namespace::restricted("chat-kube-two-writers")?, &QUICK)?;
    release.found_each_other()?;
    let name = release.pod_names()?.into_iter().next().ok_or("no pods")?;
    let first = release.pod(&name)?;
    let plan = Plan {
        seconds: LOAD,
        resumes: 0,
        ..Plan::default()
    };
    let load = Load::start(&release, plan)?;
    let since = Instant::now();
    let made = apply(&["--namespace", &release.namespace.name], &double(&first).to_string())?;
    if !made.ok {
        return Err(format!("no second pod: {made:?}"));
    }
    let (status, said) = until("the second pod gives up", LONG, || {
        // It has no label, and so is no pod of the release.
        let pod = release.kubectl(&["get", "pod", DOUBLE, "--output=json"])?;
        let pod: Json = serde_json::from_str(&pod).map_err(|why| why.to_string())?;
        let status = &pod["status"]["containerStatuses"][0];
        if status["ready"] == true {
            // Not to be waited for: it must not be.
            return Ok((0, "it is ready".to_owned()));
        }
        let ended = &status["state"]["terminated"];
        match ended["exitCode"].as_i64() {
            Some(code) => Ok((code, ended["message"].as_str().unwrap_or_default().to_owned())),
            None => Err(status.to_string()),
        }
    })?;
    let gave_up = since.elapsed();
    // Kubelets that share a disk clean up each other's logs, and the message comes from there.
    let gone = said.starts_with("Error on reading termination message");
    if status != IN_USE || !gone && !said.contains("is in use by another process") {
        return Err(format!("the second pod ended with {status}, and said: {said}"));
    }
    load.lasts(Duration::from_secs(5))?;
    let kept = load.verdict(&release)?;
    let now = release.pod(&name)?;
    let life = |pod: &Json| {
        (
            pod["metadata"]["uid"].clone(),
            pod["status"]["containerStatuses"][0].clone(),
        )
    };
    if life(&now) != life(&first) {
        return Err(format!("{name} did not stay as it was: {}", now["status"]));
    }
    release.all_healthy(&release.pod_names()?)?;
    release.remove()?;
    suite.figure(
        "a second node on the volume of a running one gave up",
        format!("after {} with status {status}", seconds(gave_up)),
    );
    kept.tell(suite);
    Ok(())
}

/// The name of the second pod.
const DOUBLE: &str = "double";

/// The same node again, on the same machine and volume.
fn double(first: &Json) -> Json {
    let (mut spec, id) = (first["spec"].clone(), first["metadata"]["name"].clone());
    // It takes no part in what the first one is for: no name of its own, and nobody starts it again.
    for field in ["hostname", "subdomain"] {
        if let Some(fields) = spec.as_object_mut() {
            fields.remove(field);
        }
    }
    spec["restartPolicy"] = json!("Never");
    let container = &mut spec["containers"][0];
    container["terminationMessagePolicy"] = json!("FallbackToLogsOnError");
    for variable in container["env"].as_array_mut().into_iter().flatten() {
        if variable["name"] == "NODE_ID" {
            *variable = json!({"name": "NODE_ID", "value": id});
        }
    }
    if let Some(variables) = container["env"].as_array_mut() {
        // The first one does not go.
        variables.push(json!({"name": "DATA_DIR_WAIT_MS", "value": "0"}));
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": DOUBLE}, "spec": spec})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_double_has_the_id_and_the_machine_but_not_the_name_of_a_pod() {
        let first = json!({
            "metadata": {"name": "chat-0", "labels": {"app": "chat"}},
            "spec": {
                "nodeName": "one", "hostname": "chat-0", "subdomain": "chat-headless", "restartPolicy": "Always",
                "containers": [{"name": "node", "env": [
                    {"name": "NODE_ID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}, {"name": "X", "value": "y"},
                ]}],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-chat-0"}}],
            },
        });
        let expected = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "double"},
            "spec": {
                "nodeName": "one", "restartPolicy": "Never",
                "containers": [{
                    "name": "node", "terminationMessagePolicy": "FallbackToLogsOnError",
                    "env": [{"name": "NODE_ID", "value": "chat-0"}, {"name": "X", "value": "y"},
                        {"name": "DATA_DIR_WAIT_MS", "value": "0"}],
                }],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-chat-0"}}],
            },
        });
        assert_eq!(double(&first), expected);
    }
}
