//! The pods of a Deployment, and what is said below them.

use std::sync::{Arc, Mutex};

use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;
use crate::args::ReportFormat;

const ORIGINAL: &str = r#"{"app":{"limits":{"cpu":"500m"}}}"#;

fn pod(name: &str, owner: &str, class: Option<&str>, cpu: &str) -> Value {
    let mut labels = json!({"app": "web"});
    if let Some(class) = class {
        labels[keys::SLA] = json!(class);
    }
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "namespace": "shop", "name": name, "uid": format!("uid of {name}"), "resourceVersion": "7", "labels": labels,
            "annotations": {keys::ORIGINAL_RESOURCES: ORIGINAL},
            "managedFields": [{"manager": keys::FIELD_MANAGER, "operation": "Apply",
                "fieldsV1": {"f:metadata": {"f:annotations": {format!("f:{}", keys::ORIGINAL_RESOURCES): {}}}}}],
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": owner, "controller": true}],
        },
        "spec": {"containers": [{"name": "app", "resources": {"limits": {"cpu": cpu}}}]},
    })
}

/// Paths and bodies.
type Patches = Arc<Mutex<Vec<(String, Value)>>>;

/// An API server with one Deployment; `PATCH`es are kept.
fn server(namespace: Value) -> (Client, Patches) {
    let patches = Patches::default();
    let seen = Arc::clone(&patches);
    let service = tower::service_fn(move |request: Request<Body>| {
        let seen = Arc::clone(&seen);
        let namespace = namespace.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
            let path = head.uri.path().to_owned();
            let list =
                |items: Value| json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items});
            let status = |code: u16| json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "code": code});
            let named = |name: &str| match name {
                "web-a" => Some(pod("web-a", "rs of web", Some("gold"), "890m")),
                "web-b" => Some(pod("web-b", "rs of web", None, "0.5")),
                "forged" => {
                    let mut pod = pod("forged", "rs of web", Some("gold"), "890m");
                    pod["metadata"]["managedFields"][0]["manager"] = json!("kubectl-annotate");
                    Some(pod)
                }
                "other" => Some(pod("other", "rs of another", Some("gold"), "2")),
                _ => None,
            };
            let (code, answer) = match (head.method.as_str(), path.as_str()) {
                ("GET", "/apis/apps/v1/namespaces/shop/deployments/web") => (
                    200,
                    json!({
                        "metadata": {"uid": "web"},
                        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {"spec": {"containers": []}}},
                    }),
                ),
                ("GET", "/apis/apps/v1/namespaces/shop/replicasets") => {
                    assert!(head.uri.query().unwrap().contains("app%3Dweb"), "{:?}", head.uri);
                    let set = |uid: &str, owner: &str| {
                        json!({"metadata": {"name": uid, "uid": uid, "ownerReferences": [
                        {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": owner, "controller": true}]}})
                    };
                    (200, list(json!([set("rs of web", "web"), set("rs of another", "another")])))
                }
                ("GET", "/api/v1/namespaces/shop/pods") => {
                    (200, list(json!([named("web-a"), named("web-b"), named("other")])))
                }
                ("GET", "/api/v1/namespaces/shop") if namespace.is_null() => (403, status(403)),
                ("GET", "/api/v1/namespaces/shop") => {
                    (200, json!({"metadata": {"name": "shop", "labels": namespace}}))
                }
                ("GET", "/api/v1/namespaces/plimsoll-system/configmaps/plimsoll-control") => {
                    (404, status(404))
                }
                ("GET", path) => match path.rsplit('/').next().and_then(named) {
                    Some(pod) => (200, pod),
                    None => (404, status(404)),
                },
                ("PATCH", path) => {
                    seen.lock().unwrap().push((path.to_owned(), serde_json::from_slice(&body).unwrap()));
                    (200, json!({"metadata": {}}))
                }
                other => panic!("{other:?} was not expected"),
            };
            Response::builder().status(code).body(Body::from(answer.to_string().into_bytes()))
        }
    });
    (Client::new(service, "shop"), patches)
}

async fn undone(client: &Client, target: &str, output: ReportFormat) -> (String, Option<String>) {
    let args = UndoArgs { target: Some(target.parse().unwrap()), yes: true, output, ..UndoArgs::default() };
    let mut out = Vec::new();
    let error = run(client, None, &args, &mut out).await.err().map(|error| format!("{error:#}"));
    (String::from_utf8(out).unwrap(), error)
}

#[tokio::test]
async fn only_the_pods_of_the_deployment_are_restored_and_what_resizes_them_again_is_said() {
    let (client, patches) = server(json!({keys::SLA: "bronze"}));
    let (text, error) = undone(&client, "deployment/web", ReportFormat::Text).await;
    assert_eq!(error, None);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "shop/web-a  restored: app cpu limit 890m -> 500m");
    assert_eq!(lines[1], "shop/web-b  has its original resources");
    assert!(
        lines[2].starts_with("class gold still applies to 1 pod")
            && lines[2].contains("pod -n shop web-a plimsoll.dev/sla-"),
        "{text}"
    );
    assert!(lines[2].contains("mode: Recommend") && lines[2].contains("`plimsoll pause`"), "{text}");
    assert!(lines[3].contains("namespace shop gives class bronze") && lines.len() == 4, "{text}");
    let patches = patches.lock().unwrap();
    let [(path, body)] = &patches[..] else { panic!("{patches:?}") };
    assert_eq!(path, "/api/v1/namespaces/shop/pods/web-a/resize");
    let metadata = json!({"uid": "uid of web-a", "resourceVersion": "7"});
    let spec = json!({"containers": [{"name": "app", "resources": {"limits": {"cpu": "500m"}}}]});
    assert_eq!(*body, json!({"metadata": metadata, "spec": spec}));
}

#[tokio::test]
async fn a_class_that_is_not_known_is_not_taken_for_none() {
    let (client, _) = server(Value::Null);
    let (text, error) = undone(&client, "pod/web-b", ReportFormat::Text).await;
    assert_eq!(error, None);
    assert!(text.contains("whether namespace shop gives its pods a class is not known"), "{text}");
}

#[tokio::test]
async fn a_record_that_somebody_else_wrote_is_not_followed() {
    let (client, patches) = server(json!({}));
    let (text, error) = undone(&client, "pod/forged", ReportFormat::Text).await;
    assert!(error.is_some(), "{text}");
    let key = keys::ORIGINAL_RESOURCES;
    let said = format!("annotation {key} was not written by Plimsoll but by kubectl-annotate");
    assert!(text.contains(&said) && text.contains("resize the pod by hand"), "{text}");
    assert!(patches.lock().unwrap().is_empty(), "nothing is done with a person's rights");
}

#[tokio::test]
async fn a_pod_that_does_not_exist_is_named_with_the_cure() {
    let (client, patches) = server(json!({}));
    let (_, error) = undone(&client, "nothing", ReportFormat::Text).await;
    let error = error.unwrap();
    assert!(error.contains("there is no pod/nothing in namespace shop") && error.contains("-n"), "{error}");
    assert!(patches.lock().unwrap().is_empty());
}

#[tokio::test]
async fn json_has_every_pod_with_its_changes() {
    let (client, _) = server(json!({}));
    let (text, _) = undone(&client, "deploy/web", ReportFormat::Json).await;
    let json: Value = serde_json::from_str(&text).unwrap();
    let change =
        json!({"container": "app", "resource": "cpu", "part": "limit", "from": "890m", "to": "500m"});
    assert_eq!(json["pods"][0]["changes"], json!([change]));
    assert_eq!(
        (&json["dryRun"], &json["pods"][0]["result"], &json["pods"][1]["result"]),
        (&json!(false), &json!("restored"), &json!("already"))
    );
}
