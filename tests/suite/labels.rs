//! `plimsoll labels` over HTTPS: its requests to an API server, and its output.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser;
use plimsoll::args::Args;
use plimsoll_sandbox::api::{ApiServer, Patch, Resource, Verb, Write as By};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::harness::api_server;

/// The output, shared by the command and the test.
#[derive(Debug, Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn lines(&self) -> Vec<String> {
        let printed = self.0.lock().unwrap().clone();
        String::from_utf8(printed).unwrap().lines().map(str::to_owned).collect()
    }

    /// Waits until this many changes were printed; returns the kind and the pod of each.
    async fn wait_for(&self, count: usize) -> Vec<(String, String)> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.lines().len() < count {
            assert!(Instant::now() < deadline, "{count} changes expected: {:?}", self.lines());
            sleep(Duration::from_millis(20)).await;
        }
        let changes: Vec<Value> =
            self.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let text = |change: &Value, field: &str| change[field].as_str().unwrap().to_owned();
        changes.iter().map(|change| (text(change, "change"), text(change, "name"))).collect()
    }
}

/// A cluster with this many pods, and a directory with its kubeconfig.
async fn cluster(pods: usize) -> (ApiServer, TempDir) {
    let (api, folder) = api_server().await;
    for number in 0..pods {
        api.store().create(&Resource::PODS, pod(&format!("p{number:04}"))).unwrap();
    }
    (api, folder)
}

fn pod(name: &str) -> Value {
    json!({
        "metadata": {"namespace": "default", "name": name, "labels": {"plimsoll.dev/cpu-band": "low"}},
        "spec": {"containers": [{"name": "app", "image": "app:1"}]},
    })
}

fn args(folder: &TempDir, rest: &[&str]) -> Args {
    let kubeconfig = folder.path().join("kubeconfig").display().to_string();
    let typed = ["plimsoll", "--kubeconfig", &kubeconfig, "labels"];
    Args::try_parse_from(typed.iter().chain(rest)).unwrap()
}

#[tokio::test]
async fn a_thousand_pods_are_listed_with_three_requests() {
    let (api, folder) = cluster(1001).await;
    let mut out = Shared::default();
    plimsoll::run(&args(&folder, &["-o", "csv"]), &mut out).await.unwrap();
    let lines = out.lines();
    assert_eq!(lines.last().map(String::as_str), Some("default,p1000,plimsoll.dev/cpu-band,low"));
    assert_eq!(lines.len(), 1 + 1001, "a header and a line a label");
    let requests = api.journal().entries();
    assert_eq!(requests.len(), 3, "{requests:?}");
    assert!(
        requests.iter().all(|request| request.verb == Verb::List && request.name.is_none()),
        "{requests:?}"
    );
    api.stop().await;
}

#[tokio::test]
async fn a_pod_with_a_time_in_the_year_10000_is_listed_with_the_others() {
    let (api, folder) = cluster(2).await;
    let edit = |pod: &mut Value| pod["metadata"]["managedFields"][0]["time"] = json!("10000-01-01T23:58:59Z");
    api.store().edit_unchecked(&Resource::PODS, "default", "p0000", edit).unwrap();
    let mut out = Shared::default();
    plimsoll::run(&args(&folder, &["-o", "csv"]), &mut out).await.unwrap();
    assert_eq!(out.lines().len(), 3, "{:?}", out.lines());
    api.stop().await;
}

#[tokio::test]
async fn a_watch_follows_pods_and_prints_nothing_when_no_label_changed() {
    let (api, folder) = cluster(1).await;
    let out = Shared::default();
    let (args, mut printed) = (args(&folder, &["--watch", "-o", "json"]), out.clone());
    let watching = tokio::spawn(async move { plimsoll::run(&args, &mut printed).await });
    let change = |change: &str, pod: &str| (change.to_owned(), pod.to_owned());
    assert_eq!(out.wait_for(1).await, [change("added", "p0000")]);

    let store = api.store();
    let patch = |change: Value| {
        store.patch(&Resource::PODS, "default", "p0000", &Patch::Merge(change), &By::by("a-user")).unwrap();
    };
    patch(json!({"metadata": {"annotations": {"not": "a label"}}}));
    store.create(&Resource::PODS, pod("new")).unwrap();
    let added = [change("added", "p0000"), change("added", "new")];
    assert_eq!(out.wait_for(2).await, added, "an annotation is not a label");
    patch(json!({"metadata": {"labels": {"plimsoll.dev/cpu-band": "high"}}}));
    assert_eq!(out.wait_for(3).await[2], change("changed", "p0000"));
    store.delete(&Resource::PODS, "default", "new").unwrap();
    assert_eq!(out.wait_for(4).await[3], change("deleted", "new"));
    watching.abort();
    api.stop().await;
}
