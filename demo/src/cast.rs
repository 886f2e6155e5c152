//! The pods of the demo, and what each is there to show.

use plimsoll_sandbox::load;
use serde_json::{Value, json};

use crate::args::ProfileName;

/// Namespace of the demo's pods.
pub const NAMESPACE: &str = "demo";

/// A pod of the demo.
struct Part {
    name: &'static str,
    resources: Value,
    load: Value,
}

/// The pods, as objects for the API server; bound to `node`.
pub fn pods(profile: ProfileName, node: &str) -> Vec<Value> {
    parts(profile).iter().map(|part| pod(part, node)).collect()
}

fn parts(profile: ProfileName) -> Vec<Part> {
    let limited = |cpu: &str, memory: &str| json!({"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}});
    let part = |name, resources, load| Part { name, resources, load };
    vec![
        // From idle to its whole limit and back: wants more than the limit, so that it gets exactly that.
        part("web", limited("200m", "64Mi"), json!({"cpu": {"trace": web(profile)}})),
        // At its limit all the time.
        part("batch", limited("100m", "64Mi"), json!({"cpu": {"constant": 0.2}})),
        part("idle-1", limited("100m", "64Mi"), json!({})),
        part("idle-2", limited("100m", "64Mi"), json!({})),
        // Nothing is enforced: half of what it asked for.
        part(
            "requests-only",
            json!({"requests": {"cpu": "100m", "memory": "32Mi"}}),
            json!({"cpu": {"constant": 0.05}}),
        ),
        // Nothing is asked for either: a share of the node.
        part("bare", json!({}), json!({"cpu": {"constant": 0.06}})),
        // Now above, now below a threshold: its label must not flap.
        part(
            "flapper",
            limited("200m", "64Mi"),
            json!({"cpu": {"square": {"low": 0.096, "high": 0.168, "period": "5s"}}}),
        ),
        // Grows in memory, slowly, to most of its limit.
        part(
            "cache",
            limited("100m", "128Mi"),
            json!({"memory": {"ramp": {"from": "16Mi", "to": "108Mi", "start": "20s", "over": "60s"}}}),
        ),
    ]
}

/// When `web` gets busy, counted from its start.
pub fn web_is_busy_after(profile: ProfileName) -> &'static str {
    match profile {
        ProfileName::Default => "14s",
        ProfileName::Lab => "8s",
    }
}

/// Idle until the first label is there, then busy until `high` has been seen, then idle: once in half an hour, since six
/// changes of a band within that time double the dwell.
fn web(profile: ProfileName) -> Value {
    let busy = web_is_busy_after(profile);
    let idle = match profile {
        ProfileName::Default => "40s",
        ProfileName::Lab => "20s",
    };
    json!({"points": [["0s", 0.004], [busy, 0.4], [idle, 0.004]], "repeat": "31m"})
}

fn pod(part: &Part, node: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": NAMESPACE,
            "name": part.name,
            "labels": {"app": part.name},
            "annotations": {load::ANNOTATION: part.load.to_string()},
        },
        "spec": {
            "nodeName": node,
            "containers": [{"name": "app", "image": "sandbox", "resources": part.resources}],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pods_load_is_one_that_the_sandbox_can_play() {
        for profile in [ProfileName::Default, ProfileName::Lab] {
            for pod in pods(profile, "n1") {
                let text = pod["metadata"]["annotations"][load::ANNOTATION].as_str().unwrap();
                load::Load::parse(text)
                    .unwrap_or_else(|problem| panic!("{}: {problem}", pod["metadata"]["name"]));
            }
        }
    }
}
