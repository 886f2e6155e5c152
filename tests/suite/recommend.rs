//! `plimsoll recommend` and `explain` over HTTPS: the patch changes the template to the size that the replicas have, and nothing else.

use plimsoll_contract::keys;
use plimsoll_sandbox::api::{Patch, Resource, Subresource, Write};
use serde_json::{Value, json};

use crate::cleanup::cluster::plimsoll;
use crate::harness::{HIGH, Harness, NAMESPACE, pod};

/// A DaemonSet, and its pods with the resources of its template.
fn create(harness: &Harness, pods: &[&str]) -> Value {
    let store = harness.cluster.api().store();
    let container = pod("web", HIGH)["spec"]["containers"][0].clone();
    let labels = json!({"app": "web"});
    let sidecar = json!({"name": "other", "image": "other:1"});
    let set = json!({
        "metadata": {"namespace": NAMESPACE, "name": "web"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container, sidecar]}},
        },
    });
    let set = store.create(&Resource::DAEMON_SETS, set).unwrap();
    for name in pods {
        let mut pod = pod(name, HIGH);
        pod["metadata"]["labels"] = labels.clone();
        pod["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "web", "uid": set["metadata"]["uid"], "controller": true,
        }]);
        harness.create(pod);
    }
    set
}

#[tokio::test]
async fn the_patch_gives_the_template_the_size_of_its_replicas_and_changes_nothing_else() {
    let harness = Harness::start().await;
    let before = create(&harness, &["web-a", "web-b"]);
    // Of nobody, with the same labels: its size does not matter.
    let mut foreign = pod("foreign", HIGH);
    foreign["metadata"]["labels"] = json!({"app": "web"});
    foreign["spec"]["containers"][0]["resources"] =
        json!({"requests": {"cpu": "400m"}, "limits": {"cpu": "400m"}});
    harness.create(foreign);
    let store = harness.cluster.api().store();
    let bigger = json!({"cpu": "260m"});
    let body = json!({"spec": {"containers": [{"name": "app", "resources": {"requests": bigger, "limits": bigger}}]}});
    let write = Write::by("test").through(Subresource::Resize);
    store.patch(&Resource::PODS, NAMESPACE, "web-b", &Patch::Strategic(body), &write).unwrap();
    let kubeconfig = harness.cluster.kubeconfig().display().to_string();
    let url = format!("http://{}", harness.cluster.aggregator_address());
    let run = async |words: &[&str]| {
        let all = [words, &["-n", NAMESPACE, "--url", &url]].concat();
        plimsoll(&kubeconfig, &all).await
    };
    let table = run(&["recommend", "daemonset/web"]).await;
    assert_eq!(table.failure, None);
    let drift = table.text.lines().find(|line| line.contains("cpu") && line.contains("limit")).unwrap();
    assert!(drift.contains("200m to 260m") && drift.ends_with("size of web-b"), "{}", table.text);

    let yaml = run(&["recommend", "ds/web", "-o", "patch"]).await.text;
    assert!(yaml.contains("# not known, so its size is taken: web-a, web-b: no SLA class applies"), "{yaml}");
    let patch: Value = serde_saphyr::from_str(&yaml).unwrap();
    store
        .patch(&Resource::DAEMON_SETS, NAMESPACE, "web", &Patch::Strategic(patch), &Write::by("user"))
        .unwrap();
    let after = store.get(&Resource::DAEMON_SETS, NAMESPACE, "web").unwrap();
    let mut expected = before["spec"].clone();
    let resources = &mut expected["template"]["spec"]["containers"][0]["resources"];
    resources["requests"]["cpu"] = json!("260m");
    resources["limits"]["cpu"] = json!("260m");
    assert_eq!(after["spec"], expected);
    let again = run(&["recommend", "ds/web", "-o", "patch"]).await;
    let not_known = "not known, so its size is taken: web-a, web-b: no SLA class applies";
    assert!(again.failure().contains(not_known), "nothing differs, and that is no fit: {}", again.failure());
    harness.shutdown().await;
}

#[tokio::test]
async fn a_pod_is_explained_and_listed_also_where_it_is_not_resized() {
    let harness = Harness::start().await;
    harness.create_pod("web", HIGH);
    harness.labeled("web", "high").await;
    let kubeconfig = harness.cluster.kubeconfig().display().to_string();
    let url = format!("http://{}", harness.cluster.aggregator_address());
    let run = async |words: &[&str]| {
        let all = [words, &["-n", NAMESPACE, "--url", &url]].concat();
        plimsoll(&kubeconfig, &all).await
    };
    let text = run(&["explain", "web"]).await.text;
    assert!(
        text.starts_with(&format!("pod {NAMESPACE}/web, node ")) && text.contains("\ncpu:    high for "),
        "{text}"
    );
    assert!(
        text.contains("of limit 200m (app)") && text.contains(&format!("Set the label {}=gold", keys::SLA)),
        "{text}"
    );
    let missing = run(&["explain", "gone"]).await;
    assert!(missing.failure().contains(&format!("knows no pod {NAMESPACE}/gone")), "{}", missing.failure());
    let list = run(&["candidates"]).await.text;
    let web = list.lines().find(|line| line.starts_with(&format!("{NAMESPACE}/web "))).unwrap();
    assert!(web.contains("eligible") && list.ends_with("0 managed, 1 eligible, 0 refused\n"), "{list}");
    harness.shutdown().await;
}
