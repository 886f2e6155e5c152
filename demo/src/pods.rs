//! The pods of the demo, and what each demonstrates.

use std::collections::BTreeMap;

use plimsoll_contract::{Quantity, keys};
use plimsoll_sandbox::host::NodeSize;
use plimsoll_sandbox::load;
use serde_json::{Value, json};

use crate::args::ProfileName;

/// Namespace of the demo's pods.
pub const NAMESPACE: &str = "demo";

/// The container of each pod.
const CONTAINER: &str = "app";
/// What the node has left for growth of CPU requests at first, in millicores: about what `gold-burner` needs.
const HEADROOM: u64 = 260;
/// The share of a node that the aggregator leaves free, in percent.
const RESERVE: u64 = 5;

struct DemoPod {
    name: &'static str,
    class: Option<&'static str>,
    resources: Value,
    load: Value,
}

/// The Pod objects, bound to `node`.
pub fn objects(profile: ProfileName, node: &str, size: NodeSize) -> Vec<Value> {
    let mut pods = labeled(profile);
    pods.extend(resized(profile));
    pods.extend(neighbor(&pods, size));
    pods.iter().map(|pod| object(pod, node)).collect()
}

/// Requests and limits that are the same.
fn limited(cpu: &str, memory: &str) -> Value {
    json!({"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}})
}

/// The pods without a class.
fn labeled(profile: ProfileName) -> Vec<DemoPod> {
    let pod = |name, resources, load| DemoPod { name, class: None, resources, load };
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

/// The pods that are resized.
///
/// Both burners want more than their limit, and the node has room for one of them. Gold gets what it needs in a few steps; bronze, which starts
/// six seconds later, gets what is left, and more when `generous` has given back.
fn resized(profile: ProfileName) -> Vec<DemoPod> {
    let burning = |after: u32| {
        let after = format!("{after}s");
        json!({"cpu": {"trace": {"points": [["0s", 0.002], [after, 0.17]]}}})
    };
    let gold = gold_burns_after(profile);
    let pod = |name, class, resources, load| DemoPod { name, class: Some(class), resources, load };
    vec![
        pod("gold-burner", "gold", limited("50m", "64Mi"), burning(gold)),
        pod("bronze-burner", "bronze", limited("50m", "64Mi"), burning(gold + 6)),
        // Idle, with a large request: its class takes a tenth of it.
        pod("generous", "demo", limited("500m", "64Mi"), json!({"cpu": {"constant": 0.01}})),
        // Its memory grows far beyond its limit, which grows before it: once the agent knows how fast it grows, which takes ten seconds.
        pod(
            "grower",
            "gold",
            json!({"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "64Mi"}}),
            json!({"memory": {"ramp": {"from": "16Mi", "to": "160Mi", "start": "15s", "over": "40s"}}}),
        ),
    ]
}

/// The rest of a larger node: an idle pod that requests it, so that [`HEADROOM`] is left on every node of two CPUs or more.
fn neighbor(pods: &[DemoPod], size: NodeSize) -> Option<DemoPod> {
    let request = |pod: &DemoPod| pod.resources["requests"]["cpu"].as_str()?.parse::<Quantity>().ok();
    let requested: i128 = pods.iter().filter_map(request).map(Quantity::milli_value).sum();
    let usable = u64::from(size.cpus) * 10 * (100 - RESERVE);
    let rest = usable.checked_sub(u64::try_from(requested).ok()? + HEADROOM).filter(|rest| *rest > 0)?;
    let resources = json!({"requests": {"cpu": format!("{rest}m")}});
    Some(DemoPod { name: "neighbor", class: None, resources, load: json!({}) })
}

/// The seconds after its start at which `gold-burner` becomes busy.
pub fn gold_burns_after(profile: ProfileName) -> u32 {
    match profile {
        ProfileName::Default => 6,
        ProfileName::Lab => 4,
    }
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
    let mut labels = BTreeMap::from([("app", pod.name)]);
    labels.extend(pod.class.map(|class| (keys::SLA, class)));
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": NAMESPACE,
            "name": pod.name,
            "labels": labels,
            "annotations": {load::ANNOTATION: pod.load.to_string()},
        },
        "spec": {
            "nodeName": node,
            "containers": [{"name": CONTAINER, "image": "sandbox", "resources": pod.resources}],
        },
    })
}

#[cfg(test)]
mod tests {
    use plimsoll_contract::Bytes;

    use super::*;

    fn node(cpus: u32) -> Vec<Value> {
        objects(ProfileName::Default, "n1", NodeSize { cpus, memory: Bytes(4 << 30) })
    }

    #[test]
    fn on_every_node_of_two_cpus_or_more_the_same_is_left_for_growth() {
        for cpus in [2, 3, 8, 64] {
            let requests = node(cpus).into_iter().filter_map(|pod| {
                let cpu = &pod["spec"]["containers"][0]["resources"]["requests"]["cpu"];
                cpu.as_str().map(|cpu| cpu.parse::<Quantity>().unwrap().milli_value())
            });
            let requested: i128 = requests.sum();
            assert_eq!(i128::from(cpus) * 950 - requested, i128::from(HEADROOM), "{cpus} CPUs");
        }
    }

    #[test]
    fn the_load_of_every_pod_is_valid() {
        for profile in [ProfileName::Default, ProfileName::Lab] {
            for pod in objects(profile, "n1", NodeSize { cpus: 2, memory: Bytes(4 << 30) }) {
                let text = pod["metadata"]["annotations"][load::ANNOTATION].as_str().unwrap();
                load::Load::parse(text)
                    .unwrap_or_else(|error| panic!("{}: {error:#}", pod["metadata"]["name"]));
            }
        }
    }
}
