//! The client library of Plimsoll with this server: apply with conflicts, a watcher that lists in pages and resumes.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Config};
use serde_json::json;

use super::{pod, server};
use crate::api::{ApiServer, Fault, Matching, Resource};

async fn client(server: &ApiServer) -> Client {
    let kubeconfig = kube::config::Kubeconfig::from_yaml(&server.kubeconfig()).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default())
        .await
        .unwrap();
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

fn labels(value: &str) -> Patch<serde_json::Value> {
    Patch::Apply(
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"plimsoll.dev/cpu-band": value}}}),
    )
}

#[tokio::test]
async fn an_apply_and_its_conflict() {
    let server = server().await;
    server.store().create(&Resource::PODS, pod("web", &json!({}))).unwrap();
    let pods: Api<Pod> = Api::namespaced(client(&server).await, "default");
    let written = pods.patch("web", &PatchParams::apply("plimsoll"), &labels("high")).await.unwrap();
    assert_eq!(written.metadata.labels.unwrap()["plimsoll.dev/cpu-band"], "high");
    let error = pods.patch("web", &PatchParams::apply("other"), &labels("low")).await.unwrap_err();
    let kube::Error::Api(status) = error else { panic!("{error}") };
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    let expected =
        "Apply failed with 1 conflict: conflict with \"plimsoll\": .metadata.labels.plimsoll.dev/cpu-band";
    assert_eq!(status.message, expected);
    assert_eq!(
        pods.list(&ListParams::default().labels("plimsoll.dev/cpu-band=high")).await.unwrap().items.len(),
        1
    );
}

#[tokio::test]
async fn a_lease_update_is_a_compare_and_swap() {
    let server = server().await;
    let leases: Api<Lease> = Api::namespaced(client(&server).await, "default");
    let lease =
        serde_json::from_value(json!({"metadata": {"name": "lock"}, "spec": {"holderIdentity": "a"}}))
            .unwrap();
    let mut first = leases.create(&PostParams::default(), &lease).await.unwrap();
    let mut second = first.clone();
    first.spec.as_mut().unwrap().holder_identity = Some("b".to_owned());
    second.spec.as_mut().unwrap().holder_identity = Some("c".to_owned());
    leases.replace("lock", &PostParams::default(), &first).await.unwrap();
    let error = leases.replace("lock", &PostParams::default(), &second).await.unwrap_err();
    assert!(matches!(error, kube::Error::Api(status) if status.code == 409));
}

#[tokio::test]
async fn a_watcher_lists_in_pages_follows_changes_and_starts_again_after_a_410() {
    let server = server().await;
    for index in 0..5 {
        server.store().create(&Resource::PODS, pod(&format!("p{index}"), &json!({}))).unwrap();
    }
    let pods: Api<Pod> = Api::all(client(&server).await);
    let config = watcher::Config::default().page_size(2);
    let mut events = Box::pin(watcher(pods, config).default_backoff());
    let mut initial = 0;
    while let Some(event) = events.try_next().await.unwrap() {
        match event {
            Event::InitApply(_) => initial += 1,
            Event::InitDone => break,
            _ => {}
        }
    }
    assert_eq!(initial, 5);
    server.store().delete(&Resource::PODS, "default", "p0").unwrap();
    let event = events.try_next().await.unwrap().unwrap();
    assert!(matches!(&event, Event::Delete(pod) if pod.metadata.name.as_deref() == Some("p0")), "{event:?}");
    server.faults().next(1, Matching::any().resource("pods"), Fault::Expire);
    let again = async {
        loop {
            if let Some(Ok(Event::InitDone)) = events.next().await {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.unwrap();
}

#[tokio::test]
async fn streaming_lists_and_metadata_watches_work() {
    let server = server().await;
    server.store().create(&Resource::PODS, pod("web", &json!({}))).unwrap();
    let pods: Api<PartialObjectMeta<Pod>> = Api::all(client(&server).await);
    let config = watcher::Config::default().streaming_lists();
    let mut events = Box::pin(watcher(pods, config));
    let mut seen = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_secs(5), events.try_next()).await.unwrap().unwrap().unwrap()
        {
            Event::InitApply(meta) => seen.push(meta.metadata.name.unwrap()),
            Event::InitDone => break,
            _ => {}
        }
    }
    assert_eq!(seen, ["web"]);
}
