//! The systems compared: how each is installed, and which containers belong to it.

use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::Pod;
use plimsoll_contract::keys;
use serde::Serialize;
use serde_json::{Value, json};

use crate::harness::{DEFINITION, Harness, OVERLAY, container_ids, percent_encoded};
use crate::resources::Reading;

/// The manifests of the other systems.
pub(crate) const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/manifests");
/// The namespace of the pods that VPA may resize.
pub(crate) const SIZED: &str = "sized";
/// A large program takes seconds to start on these nodes.
const START: Duration = Duration::from_secs(240);

/// A system whose costs are counted together.
#[derive(Debug)]
struct Stack {
    name: &'static str,
    /// Namespace, label selector and number of its pods.
    pods: &'static [(&'static str, &'static str, usize)],
}

const STACKS: [Stack; 5] = [
    Stack { name: "Plimsoll", pods: &[(keys::AGENT_NAMESPACE, "", 3), (keys::SYSTEM_NAMESPACE, "", 1)] },
    Stack { name: "Prometheus, common settings", pods: &[("peers-common", "", 1)] },
    Stack { name: "Prometheus, fastest", pods: &[("peers-fast", "", 1)] },
    Stack { name: "metrics-server", pods: &[("peers-metrics-server", "", 1)] },
    Stack { name: "VPA", pods: &[("kube-system", "peers=vpa", 3)] },
];

/// The cost of all containers of one name in one stack.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Cost {
    pub(crate) stack: &'static str,
    pub(crate) container: String,
    pub(crate) count: usize,
    /// Cores while all pods were idle.
    #[serde(rename = "quiet")]
    pub(crate) idle: f64,
    /// Cores during and after the steps.
    pub(crate) busy: f64,
    /// Working set of its cgroups in bytes, at the end.
    pub(crate) working_set: u64,
    /// Resident bytes, the program itself included, at the end.
    pub(crate) resident: u64,
    /// More than 0 makes the numbers doubtful.
    pub(crate) restarts: i32,
}

/// Installs everything and waits until it is Ready.
pub(crate) async fn install(harness: &Harness) -> anyhow::Result<()> {
    let vpa = std::env::var("PEERS_VPA").context("no PEERS_VPA: run it with `make bench-peers`")?;
    let vpa_files = ["vpa-v1-crd-gen.yaml", "vpa-rbac.yaml"].map(|file| format!("{vpa}/{file}"));
    let ours = ["metrics-server", "vpa"].map(|name| format!("{MANIFESTS}/{name}.yaml"));
    harness.create(vpa_keys()?).await?;
    harness.kubectl(&["apply", "-f", DEFINITION]).await?;
    harness
        .kubectl(&["wait", "--for=condition=Established", "crd/slaclasses.plimsoll.dev", "--timeout=30s"])
        .await?;
    harness.kubectl(&["apply", "-k", OVERLAY]).await?;
    harness.kubectl(&["apply", "-k", &format!("{MANIFESTS}/common")]).await?;
    harness.kubectl(&["apply", "-k", &format!("{MANIFESTS}/fast")]).await?;
    harness.kubectl(&["apply", "-f", &ours[0]]).await?;
    harness.kubectl(&["apply", "-f", &vpa_files[0], "-f", &vpa_files[1], "-f", &ours[1]]).await?;
    for stack in &STACKS {
        for (namespace, selector, count) in stack.pods {
            let ready = async || {
                Ok(harness.pods(namespace, selector).await?.iter().filter(is_ready).count() == *count)
            };
            harness.until(&format!("{} to be Ready in {namespace}", stack.name), START, ready).await?;
        }
    }
    Ok(())
}

/// What VPA's own script creates with openssl: a self-signed certificate for the webhook.
fn vpa_keys() -> anyhow::Result<Value> {
    let key = rcgen::generate_simple_self_signed(["vpa-webhook.kube-system.svc".to_owned()])?;
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "vpa-tls-certs", "namespace": "kube-system"},
        "stringData": {
            "caCert.pem": key.cert.pem(),
            "serverCert.pem": key.cert.pem(),
            "serverKey.pem": key.signing_key.serialize_pem(),
        },
    }))
}

fn is_ready(pod: &&Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

/// The cost of the containers of each stack between three readings.
pub(crate) async fn costs(harness: &Harness, readings: [&Reading; 3]) -> anyhow::Result<Vec<Cost>> {
    let mut costs: Vec<Cost> = Vec::new();
    for stack in &STACKS {
        for (namespace, selector, _) in stack.pods {
            let pods = harness.pods(namespace, selector).await?;
            for (container, id, restarts) in pods.iter().flat_map(container_ids) {
                let known =
                    costs.iter().position(|one| one.stack == stack.name && one.container == container);
                let at = known.unwrap_or(costs.len());
                if known.is_none() {
                    costs.push(Cost { stack: stack.name, container, ..Cost::default() });
                }
                costs[at].add(readings, &id, restarts);
            }
        }
    }
    Ok(costs)
}

impl Cost {
    fn add(&mut self, [before, idle, end]: [&Reading; 3], id: &str, restarts: i32) {
        let cores = |from: &Reading, to: &Reading| {
            to.cpu_since(from, id).unwrap_or_default() / to.seconds_since(from)
        };
        let usage = end.containers.get(id).copied().unwrap_or_default();
        self.count += 1;
        self.idle += cores(before, idle);
        self.busy += cores(idle, end);
        self.working_set += usage.working_set();
        self.resident += usage.resident;
        self.restarts += restarts;
    }
}

/// Seconds between two values of cAdvisor for one container, as the fast Prometheus scraped them in the last four minutes.
pub(crate) async fn cadvisor_gaps(harness: &Harness) -> anyhow::Result<Vec<f64>> {
    let series = r#"container_cpu_usage_seconds_total{namespace="steps",container="app"}"#;
    let counts = query(harness, "peers-fast", &format!("count_over_time({series}[4m])")).await?;
    Ok(counts.into_iter().map(|count| 240.0 / count).collect())
}

/// How many scrapes failed in the last six minutes, and how long the slowest took, in seconds.
pub(crate) async fn scrapes(harness: &Harness, namespace: &str) -> anyhow::Result<[Option<f64>; 2]> {
    let failed = query(harness, namespace, "sum(count_over_time(up[6m]) - sum_over_time(up[6m]))").await?;
    let slowest = query(harness, namespace, "max(max_over_time(scrape_duration_seconds[6m]))").await?;
    Ok([failed.first().copied(), slowest.first().copied()])
}

/// The values that a query returns.
async fn query(harness: &Harness, namespace: &str, query: &str) -> anyhow::Result<Vec<f64>> {
    let pods = harness.pods(namespace, "").await?;
    let pod = pods.first().and_then(|pod| pod.metadata.name.as_deref()).context("no Prometheus")?;
    let query = percent_encoded(query);
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:9090/proxy/api/v1/query?query={query}");
    let response: Value = serde_json::from_str(&harness.get(&path).await?)?;
    let series = response["data"]["result"].as_array().cloned().unwrap_or_default();
    Ok(series.iter().filter_map(|one| one["value"][1].as_str()?.parse().ok()).collect())
}
