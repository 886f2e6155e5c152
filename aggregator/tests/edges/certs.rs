//! Who the aggregator is to the agents: its certificate in the Secret, its CA in the ConfigMap.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use plimsoll_aggregator::certs::certificate::Certificate;
use plimsoll_aggregator::certs::stored::{Next, Stored};
use plimsoll_sandbox::api::{ApiServer, Patch, Resource, Write};
use serde_json::{Value, json};

use super::harness::{AGENTS, Harness, SERVICE, SYSTEM, cluster};
use super::wire;

fn secret(harness: &Harness) -> Value {
    harness.api.store().get(&Resource::SECRETS, SYSTEM, "plimsoll-aggregator").unwrap()["data"].clone()
}

#[tokio::test]
async fn a_leaf_is_made_and_kept_and_its_ca_published_but_the_cas_key_is_nowhere() {
    let harness = Harness::start().await;
    let data = secret(&harness);
    let keys: Vec<_> = data.as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["ca.crt", "tls.crt", "tls.key"]);
    let text = |key: &str| String::from_utf8(STANDARD.decode(data[key].as_str().unwrap()).unwrap()).unwrap();
    assert_eq!(text("ca.crt").trim(), harness.bundle().trim());
    assert_eq!(text("tls.key").matches("PRIVATE KEY").count(), 2, "one key, its begin and its end");
    let (_, certificate) =
        wire::shake(harness.agents, SERVICE, &harness.bundle()).await.unwrap().into_inner();
    assert_eq!(certificate.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(certificate.alpn_protocol(), Some(b"http/1.1".as_slice()));
    let cluster_local = format!("{SERVICE}.cluster.local");
    wire::shake(harness.agents, &cluster_local, &harness.bundle()).await.unwrap();
    wire::shake(harness.agents, "other.svc", &harness.bundle()).await.unwrap_err();
    let left = harness.metric("plimsoll_aggregator_tls_cert_not_after_seconds").await;
    let now = Timestamp::now().as_second() as f64;
    assert!((left - now - 90.0 * 86_400.0).abs() < 60.0, "ninety days");
    harness.stop().await;
}

#[tokio::test]
async fn a_second_replica_shows_the_same_certificate() {
    let first = Harness::start().await;
    let before = secret(&first);
    let second = Harness::around(first.api.clone(), |_| {}).await;
    second.ready().await;
    assert_eq!(secret(&first), before);
    wire::shake(second.agents, SERVICE, &first.bundle()).await.unwrap();
    second.stop().await;
    first.stop().await;
}

#[tokio::test]
async fn two_replicas_that_start_at_once_agree() {
    let api = cluster().await;
    let (first, second) = tokio::join!(Harness::around(api.clone(), |_| {}), Harness::around(api, |_| {}));
    tokio::join!(first.ready(), second.ready());
    let bundle = first.bundle();
    wire::shake(first.agents, SERVICE, &bundle).await.unwrap();
    wire::shake(second.agents, SERVICE, &bundle).await.unwrap();
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn what_is_broken_in_the_secret_is_replaced() {
    let api = cluster().await;
    let junk = json!({"data": {"tls.crt": STANDARD.encode("junk"), "tls.key": "", "ca.crt": "anVuaw==", "note": "bWluZQ=="}});
    let patch = Patch::Merge(junk);
    api.store()
        .patch(&Resource::SECRETS, SYSTEM, "plimsoll-aggregator", &patch, &Write::by("kubectl"))
        .unwrap();
    let harness = Harness::around(api, |_| {}).await;
    harness.ready().await;
    assert_eq!(secret(&harness)["note"], "bWluZQ==", "keys of others stay");
    wire::shake(harness.agents, SERVICE, &harness.bundle()).await.unwrap();
    harness.stop().await;
}

#[tokio::test]
async fn what_the_manifests_should_have_made_is_named_until_it_is_there() {
    let api = cluster().await;
    api.store().delete(&Resource::SECRETS, SYSTEM, "plimsoll-aggregator").unwrap();
    api.store().delete(&Resource::CONFIG_MAPS, AGENTS, "plimsoll-ca").unwrap();
    api.store().delete(&Resource::LEASES, SYSTEM, "plimsoll-aggregator").unwrap();
    let harness = Harness::around(api, |_| {}).await;
    let says = async |text: &str| {
        let reply = harness.get("/readyz").await;
        reply.text.contains(text) && reply.code == 503
    };
    harness
        .until("the Secret's name", async || says("create secret generic plimsoll-aggregator").await)
        .await;
    harness.until("the Lease's name", async || says("Lease plimsoll-system/plimsoll-aggregator").await).await;
    let object = |namespace: &str, name: &str| json!({"metadata": {"name": name, "namespace": namespace}});
    let store = harness.api.store();
    store.create(&Resource::SECRETS, object(SYSTEM, "plimsoll-aggregator")).unwrap();
    harness
        .until("the ConfigMap's name", async || {
            harness.get("/readyz").await.text.contains("create configmap plimsoll-ca")
        })
        .await;
    store.create(&Resource::CONFIG_MAPS, object(AGENTS, "plimsoll-ca")).unwrap();
    store.create(&Resource::LEASES, object(SYSTEM, "plimsoll-aggregator")).unwrap();
    harness.ready().await;
    harness.stop().await;
}

fn names() -> Vec<String> {
    vec![SERVICE.to_owned(), format!("{SERVICE}.cluster.local")]
}

fn ago(hours: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_hours(hours)
}

/// As another replica left it.
fn keep(api: &ApiServer, stored: &Stored) {
    let mut data: BTreeMap<String, ByteString> = BTreeMap::new();
    stored.write(&mut data);
    let patch = Patch::Merge(json!({"data": data}));
    api.store()
        .patch(&Resource::SECRETS, SYSTEM, "plimsoll-aggregator", &patch, &Write::by("kubectl"))
        .unwrap();
}

#[tokio::test]
async fn a_certificate_that_ends_soon_stays_while_the_next_ones_ca_is_published_beside_its_own() {
    let api = cluster().await;
    let old = Certificate::make(&names(), ago(65 * 24)).unwrap();
    keep(&api, &Stored { current: Some(old.clone()), ..Stored::default() });
    let harness = Harness::around(api, |_| {}).await;
    harness.ready().await;
    harness.until("both CAs", async || harness.bundle().matches("BEGIN CERTIFICATE").count() == 2).await;
    harness.until("the time of it", async || secret(&harness)["next.published"].is_string()).await;
    wire::shake(harness.agents, SERVICE, &old.ca).await.unwrap();
    harness.stop().await;
}

#[tokio::test]
async fn once_both_cas_were_published_long_enough_the_next_leaf_is_shown() {
    let api = cluster().await;
    let old = Certificate::make(&names(), ago(65 * 24)).unwrap();
    let next = Certificate::make(&names(), ago(1)).unwrap();
    let waiting = Some(Next { certificate: next.clone(), published: Some(ago(1)) });
    keep(&api, &Stored { current: Some(old.clone()), next: waiting, previous_ca: None });
    let harness = Harness::around(api, |_| {}).await;
    harness.ready().await;
    wire::shake(harness.agents, SERVICE, &next.ca).await.unwrap();
    wire::shake(harness.agents, SERVICE, &old.ca).await.unwrap_err();
    assert!(harness.bundle().contains(old.ca.trim()), "a replica that has not switched yet stays trusted");
    assert!(secret(&harness)["next.tls.key"].is_null());
    harness.stop().await;
}

#[tokio::test]
async fn a_certificate_that_is_swapped_is_shown_to_the_next_connection() {
    use http::{Request, Response};
    use http_body_util::Full;
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use plimsoll_aggregator::certs::tls::TlsConfig;
    use plimsoll_process::http::{Limits, serve};
    use plimsoll_process::metrics::HttpMetrics;
    use plimsoll_process::shutdown::Shutdown;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, tls, shutdown) = (listener.local_addr().unwrap(), TlsConfig::new(), Shutdown::new());
    let counts = HttpMetrics::register(&prometheus::Registry::new(), "test").unwrap();
    let service = service_fn(|_: Request<Incoming>| async {
        Ok::<_, std::io::Error>(Response::new(Full::<bytes::Bytes>::default()))
    });
    let port = serve(listener, service, Some(tls.source()), Limits::default(), shutdown.clone(), counts);
    let port = tokio::spawn(port);
    let [first, second] = [(); 2].map(|()| Certificate::make(&names(), Timestamp::now()).unwrap());
    wire::shake(address, SERVICE, &first.ca).await.unwrap_err();
    tls.load(&first).unwrap();
    wire::shake(address, SERVICE, &first.ca).await.unwrap();
    let broken = Certificate { key: second.key.clone(), ..first.clone() };
    tls.load(&broken).unwrap_err();
    wire::shake(address, SERVICE, &first.ca).await.unwrap();
    tls.load(&second).unwrap();
    wire::shake(address, SERVICE, &first.ca).await.unwrap_err();
    wire::shake(address, SERVICE, &second.ca).await.unwrap();
    shutdown.trigger();
    port.await.unwrap().unwrap();
}
