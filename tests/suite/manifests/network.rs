//! Who may connect where, if the network plugin enforces policies.

use serde_json::{Value, json};

use super::files::{find, kustomizations, list, objects, sources, text};

const PROBES: u64 = 9616;

/// The peers of each rule of a policy for a port; an empty list is everybody.
fn allowed(policy: &Value, port: u64) -> Vec<&[Value]> {
    let rules = list(policy, "/spec/ingress").iter();
    let about = rules.filter(|rule| list(rule, "/ports").iter().any(|entry| entry["port"] == port));
    about.map(|rule| list(rule, "/from")).collect()
}

#[test]
fn policies_let_in_probes_from_anywhere_prometheus_by_label_and_reports_from_agents() {
    let policies = objects("components/network-policy");
    let label = json!({"matchLabels": {"app.kubernetes.io/name": "prometheus"}});
    let prometheus =
        [json!({"namespaceSelector": {}, "podSelector": label}), json!({"namespaceSelector": label})];
    for (name, plain) in [("plimsoll-agent", 9617), ("plimsoll-aggregator", 9619)] {
        let policy = find(&policies, "NetworkPolicy", name);
        assert_eq!(policy["spec"]["podSelector"], json!({}), "{name}: every pod of its namespace");
        assert_eq!(allowed(policy, PROBES), [&[] as &[Value]], "{name}");
        assert_eq!(allowed(policy, plain), [&prometheus], "{name}");
    }
    let agents = json!([{
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "plimsoll-agents"}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "plimsoll-agent"}},
    }]);
    let aggregator = find(&policies, "NetworkPolicy", "plimsoll-aggregator");
    assert_eq!(json!(allowed(aggregator, 9618)), json!([agents]));
}

#[test]
fn policies_name_exactly_the_ports_of_the_containers() {
    let (base, policies) = (objects("base"), objects("components/network-policy"));
    for (kind, name) in [("DaemonSet", "plimsoll-agent"), ("Deployment", "plimsoll-aggregator")] {
        let ports = list(find(&base, kind, name), "/spec/template/spec/containers/0/ports");
        let mut opened: Vec<_> = ports.iter().map(|port| port["containerPort"].as_u64()).collect();
        let rules = list(find(&policies, "NetworkPolicy", name), "/spec/ingress").iter();
        let mut named: Vec<_> =
            rules.flat_map(|rule| list(rule, "/ports")).map(|entry| entry["port"].as_u64()).collect();
        opened.sort_unstable();
        named.sort_unstable();
        assert_eq!(opened, named, "{name}");
        let probes = ports.iter().find(|port| port["name"] == "probes").unwrap();
        assert_eq!(probes["containerPort"], PROBES, "{name}");
    }
}

#[test]
fn overlays_for_enforcing_plugins_let_the_api_server_reach_the_aggregator_and_no_pod() {
    for (folder, overlay) in kustomizations().into_iter().filter(|(folder, _)| {
        ["minikube", "kind", "k3s"].iter().any(|name| folder.ends_with(format!("overlays/{name}")))
    }) {
        let patch = overlay.patches.iter().find(|patch| patch.path == "api-server.yaml").unwrap();
        let target = patch.target.as_ref().unwrap();
        assert_eq!((target.kind.as_str(), target.name.as_str()), ("NetworkPolicy", "plimsoll-aggregator"));
        let document = &sources(&folder.join(&patch.path))[0];
        let rule = &document[0]["value"];
        assert_eq!(rule["ports"], json!([{"port": 9619}]), "{}", folder.display());
        let block = &rule["from"][0]["ipBlock"];
        assert_eq!(text(block, "/cidr"), "0.0.0.0/0");
        assert_eq!(list(block, "/except").len(), 1, "the pods are left out: {}", folder.display());
    }
}
