//! The conformance tests: of the sandbox in every `cargo test`, of a real cluster on request (see `conformance.rs`).

#![cfg(test)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use plimsoll_contract::Bytes;
use plimsoll_process::crypto::install_crypto_provider;
use plimsoll_sandbox::api::{ApiOptions, ApiServer};
use plimsoll_sandbox::host::NodeSize;
use plimsoll_sandbox::host::simulated::SimulatedHost;
use plimsoll_sandbox::kubelet::{Kubelet, KubeletOptions};
use plimsoll_tests::conformance::check_cluster;
use plimsoll_tests::conformance::differences::LISTED;
use plimsoll_tests::conformance::recorded::{Answers, compare};
use plimsoll_tests::conformance::script::Script;
use plimsoll_tests::conformance::session::play;

/// An API server with one node of the size of those in the test cluster.
async fn sandbox(folder: &Path) -> (ApiServer, Kubelet) {
    let options = ApiOptions {
        bookmark_every: Duration::from_millis(500),
        graceful_deletion: true,
        ..ApiOptions::default()
    };
    let server = ApiServer::start(options).await.unwrap();
    let size = NodeSize { cpus: 1, memory: Bytes(2 << 30) };
    let host = SimulatedHost::new(&folder.join("host"), size).unwrap();
    let kubelet = Kubelet::start(&server, Arc::new(host), KubeletOptions::new("node-1")).unwrap();
    (server, kubelet)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_answers_like_kubernetes() {
    install_crypto_provider();
    let folder = tempfile::tempdir().unwrap();
    let (server, _kubelet) = sandbox(folder.path()).await;
    let kubeconfig = Kubeconfig::from_yaml(&server.kubeconfig()).unwrap();
    let config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let script = Script::load().unwrap();
    let answers = play(config, &script).await.unwrap();
    assert_eq!(answers.count(), script.count());
    let problems = compare(&Answers::load().unwrap(), &answers, LISTED);
    assert!(problems.is_empty(), "{} answers differ:\n{}", problems.len(), problems.join("\n"));
}

/// With `PLIMSOLL_BLESS=1` in the environment the answers are recorded; review the difference before you commit it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the cluster that KUBECONFIG names"]
async fn a_real_cluster_answers_as_recorded() {
    install_crypto_provider();
    let config = kube::Config::infer().await.unwrap();
    if std::env::var_os("PLIMSOLL_BLESS").is_some() {
        let script = Script::load().unwrap();
        return play(config, &script).await.unwrap().bless(&script).unwrap();
    }
    let (sent, all) = check_cluster(config).await.unwrap();
    println!("{sent} of {all} requests; those to a kubelet need a node");
}
