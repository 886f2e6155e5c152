//! The pods of the demo, and what each demonstrates.

use plimsoll_sandbox::load;
use serde_json::{Value, json};

use crate::args::ProfileName;

/// Namespace of the demo's pods.
pub const NAMESPACE: &str = "demo";

struct DemoPod {
    name: &'static str,
    resources: Value,
    load: Value,
}

/// The Pod objects, bound to `node`.
pub fn objects(profile: ProfileName, node: &str) -> Vec<Value> {
    demo_pods(profile).iter().map(|pod| object(pod, node)).collect()
}

fn demo_pods(profile: ProfileName) -> Vec<DemoPod> {
    let limited = |cpu: &str, memory: &str| json!({"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}});
    let pod = |name, resources, load| DemoPod { name, resources, load };
    vec![
        // From idle to its limit and back. Its demand exceeds the limit, so that its usage is exactly the limit.
        pod("web", limited("200m", "64Mi"), json!({"cpu": {"trace": web(profile)}})),
        // Always at its limit.
        pod("batch", limited("100m", "64Mi"), json!({"cpu": {"constant": 0.2}})),
        pod("idle-1", limited("100m", "64Mi"), json!({})),
        pod("idle-2", limited("100m", "64Mi"), json!({})),
        // Without a limit: uses half of its request.
        pod(
            "requests-only",
            json!({"requests": {"cpu": "100m", "memory": "32Mi"}}),
            json!({"cpu": {"constant": 0.05}}),
        ),
        // Without limit and request: uses a share of the node.
        pod("bare", json!({}), json!({"cpu": {"constant": 0.06}})),
        // Alternates around a threshold: its label must not flap.
        pod(
            "flapper",
            limited("200m", "64Mi"),
            json!({"cpu": {"square": {"low": 0.096, "high": 0.168, "period": "5s"}}}),
        ),
        // Its memory grows slowly to most of its limit.
        pod(
            "cache",
            limited("100m", "128Mi"),
            json!({"memory": {"ramp": {"from": "16Mi", "to": "108Mi", "start": "20s", "over": "60s"}}}),
        ),
    ]
}

/// The time after its start at which `web` becomes busy.
pub fn web_is_busy_after(profile: ProfileName) -> &'static str {
    match profile {
        ProfileName::Default => "14s",
        ProfileName::Lab => "8s",
    }
}

/// Idle until the first label is written, then busy until the label is `high`, then idle: once in half an hour, because six changes
/// of a band within that time double the time constants.
fn web(profile: ProfileName) -> Value {
    let busy = web_is_busy_after(profile);
    let idle = match profile {
        ProfileName::Default => "40s",
        ProfileName::Lab => "20s",
    };
    json!({"points": [["0s", 0.004], [busy, 0.4], [idle, 0.004]], "repeat": "31m"})
}

fn object(pod: &DemoPod, node: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": NAMESPACE,
            "name": pod.name,
            "labels": {"app": pod.name},
            "annotations": {load::ANNOTATION: pod.load.to_string()},
        },
        "spec": {
            "nodeName": node,
            "containers": [{"name": "app", "image": "sandbox", "resources": pod.resources}],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_of_every_pod_is_valid() {
        for profile in [ProfileName::Default, ProfileName::Lab] {
            for pod in objects(profile, "n1") {
                let text = pod["metadata"]["annotations"][load::ANNOTATION].as_str().unwrap();
                load::Load::parse(text)
                    .unwrap_or_else(|error| panic!("{}: {error:#}", pod["metadata"]["name"]));
            }
        }
    }
}
