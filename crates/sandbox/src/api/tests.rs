//! Tests of the API server by subject: rules of the store in-process, and the wire behavior over HTTPS.

mod apply;
mod client;
mod compared;
mod faults;
mod kube_client;
mod lists;
mod patches;
mod resize;
mod tokens;
mod wire;
mod writes;

use serde_json::{Value, json};

use super::{ApiOptions, ApiServer, Resource, Store};

/// A pod with one container `app` on node `n1`.
fn pod(name: &str, resources: &Value) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "app", "image": "app:1", "resources": resources}]},
    })
}

/// A store that holds that node.
fn store() -> Store {
    let store = Store::default();
    store.create(&Resource::NODES, json!({"metadata": {"name": "n1"}})).unwrap();
    store
}

/// A store that holds that pod, Burstable.
fn store_with(name: &str) -> Store {
    let store = store();
    let resources =
        json!({"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "128Mi"}});
    store.create(&Resource::PODS, pod(name, &resources)).unwrap();
    store
}

fn labels_of(store: &Store, name: &str) -> Value {
    store.get(&Resource::PODS, "default", name).unwrap()["metadata"]["labels"].clone()
}

async fn server() -> ApiServer {
    ApiServer::start(ApiOptions::default()).await.unwrap()
}
