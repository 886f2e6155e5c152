//! Names that must be the same in all manifests and in the code.

use std::collections::BTreeSet;

use plimsoll_contract::keys;
use serde_json::{Value, json};

use super::files::{Image, find, kustomizations, list, objects, text};

#[test]
fn the_names_are_those_the_code_uses() {
    let base = objects("base");
    let named = [
        ("DaemonSet", keys::AGENT_DAEMON_SET, keys::AGENT_NAMESPACE),
        ("ServiceAccount", keys::AGENT_ACCOUNT, keys::AGENT_NAMESPACE),
        ("ConfigMap", keys::CA_CONFIG_MAP, keys::AGENT_NAMESPACE),
        ("Deployment", keys::AGGREGATOR, keys::SYSTEM_NAMESPACE),
        ("ServiceAccount", keys::AGGREGATOR, keys::SYSTEM_NAMESPACE),
        ("Service", keys::AGGREGATOR, keys::SYSTEM_NAMESPACE),
        ("Service", keys::AGGREGATOR_HTTP, keys::SYSTEM_NAMESPACE),
        ("Secret", keys::AGGREGATOR, keys::SYSTEM_NAMESPACE),
        ("Lease", keys::AGGREGATOR, keys::SYSTEM_NAMESPACE),
        ("ConfigMap", keys::CONTROL_CONFIG_MAP, keys::SYSTEM_NAMESPACE),
    ];
    for (kind, name, namespace) in named {
        assert_eq!(text(find(&base, kind, name), "/metadata/namespace"), namespace, "{kind} {name}");
    }
    let agent = find(&base, "DaemonSet", keys::AGENT_DAEMON_SET);
    assert_eq!(text(agent, "/spec/template/spec/serviceAccountName"), keys::AGENT_ACCOUNT);
    let volumes = list(agent, "/spec/template/spec/volumes");
    let audience = "/projected/sources/0/serviceAccountToken/audience";
    assert!(volumes.iter().any(|volume| text(volume, audience) == keys::TOKEN_AUDIENCE));
    let ca = json!({"name": keys::CA_CONFIG_MAP, "optional": true});
    assert!(volumes.iter().any(|volume| volume.get("configMap") == Some(&ca)));
    let aggregator = find(&base, "Deployment", keys::AGGREGATOR);
    assert_eq!(text(aggregator, "/spec/template/spec/serviceAccountName"), keys::AGGREGATOR);
}

#[test]
fn objects_that_the_aggregator_fills_are_empty() {
    let base = objects("base");
    for (kind, name) in
        [("Secret", keys::AGGREGATOR), ("ConfigMap", keys::CA_CONFIG_MAP), ("Lease", keys::AGGREGATOR)]
    {
        let object = find(&base, kind, name);
        for content in ["data", "stringData", "binaryData", "spec"] {
            assert_eq!(object.get(content), None, "applying {kind} {name} again would undo what is in it");
        }
    }
}

#[test]
fn every_namespace_that_is_used_is_declared() {
    let base = objects("base");
    let mut everything = base.clone();
    for folder in [
        "components/labels",
        "components/resizing",
        "components/prometheus",
        "components/network-policy",
        "examples",
    ] {
        everything.extend(objects(folder));
    }
    let declared: BTreeSet<_> =
        everything.iter().filter(|o| o["kind"] == "Namespace").map(|o| text(o, "/metadata/name")).collect();
    let cluster_wide = [
        "Namespace",
        "PriorityClass",
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "SLAClass",
    ];
    for object in &everything {
        let (kind, namespace) = (text(object, "/kind"), text(object, "/metadata/namespace"));
        assert_eq!(
            namespace.is_empty(),
            cluster_wide.contains(&kind),
            "{kind} {}",
            text(object, "/metadata/name")
        );
        assert!(namespace.is_empty() || declared.contains(namespace), "{namespace}");
    }
}

#[test]
fn services_and_selectors_match_their_pods_and_ports() {
    let base = objects("base");
    let aggregator = find(&base, "Deployment", keys::AGGREGATOR);
    let labels = &aggregator["spec"]["template"]["metadata"]["labels"];
    let ports = list(aggregator, "/spec/template/spec/containers/0/ports");
    for (service, port, headless) in [(keys::AGGREGATOR, 9618, true), (keys::AGGREGATOR_HTTP, 9619, false)] {
        let service = find(&base, "Service", service);
        assert!(is_part_of(&service["spec"]["selector"], labels));
        let entry = &list(service, "/spec/ports")[0];
        assert_eq!(entry["port"], port);
        let target = ports.iter().find(|p| p["name"] == entry["targetPort"]).unwrap();
        assert_eq!(target["containerPort"], port);
        assert_eq!(text(service, "/spec/clusterIP") == "None", headless);
        assert_eq!(service["spec"]["publishNotReadyAddresses"] == true, headless);
    }
    let budget = find(&base, "PodDisruptionBudget", keys::AGGREGATOR);
    assert!(is_part_of(&budget["spec"]["selector"]["matchLabels"], labels));
    for workload in [aggregator, find(&base, "DaemonSet", keys::AGENT_DAEMON_SET)] {
        assert!(is_part_of(
            &workload["spec"]["selector"]["matchLabels"],
            &workload["spec"]["template"]["metadata"]["labels"]
        ));
    }
}

fn is_part_of(selector: &Value, labels: &Value) -> bool {
    let selector = selector.as_object().unwrap();
    !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

#[test]
fn every_overlay_uses_the_images_that_make_images_builds() {
    let overlays: Vec<_> = kustomizations()
        .into_iter()
        .filter(|(folder, _)| folder.parent().is_some_and(|p| p.ends_with("overlays")))
        .collect();
    for name in ["minikube", "kind", "k3s"] {
        assert!(overlays.iter().any(|(folder, _)| folder.ends_with(name)), "there is no overlay {name}");
    }
    let base = objects("base");
    let images = [("DaemonSet", "plimsoll-agent"), ("Deployment", "plimsoll-aggregator")];
    for (folder, overlay) in overlays {
        let expected = images.map(|(_, name)| Image { name: name.into(), new_tag: "dev".into() });
        assert_eq!(overlay.images, expected, "{}", folder.display());
        let components =
            ["../../components/labels", "../../components/resizing", "../../components/network-policy"];
        assert_eq!(overlay.components, components, "{}", folder.display());
    }
    for (kind, name) in images {
        let image = text(find(&base, kind, name), "/spec/template/spec/containers/0/image").to_owned();
        assert_eq!(image, format!("{name}:{}", env!("CARGO_PKG_VERSION")));
    }
}
