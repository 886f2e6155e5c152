//! What is compared: how each is installed, and which containers are its own.

use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::Pod;
use plimsoll_contract::keys;
use serde::Serialize;
use serde_json::{Value, json};

use crate::costs::Reading;
use crate::world::{World, container_ids};

/// Where the manifests of the others are.
pub(crate) const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/manifests");
/// The namespace of the pods that VPA may size.
pub(crate) const SIZED: &str = "sized";
const PLIMSOLL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/overlays/e2e");
/// A large program takes seconds to start on these nodes.
const START: Duration = Duration::from_secs(240);

/// What is installed and counted as one.
#[derive(Debug)]
struct Stack {
    name: &'static str,
    /// Namespace and label selector of its pods, and how many they are.
    pods: &'static [(&'static str, &'static str, usize)],
}

const STACKS: [Stack; 5] = [
    Stack { name: "Plimsoll", pods: &[(keys::AGENT_NAMESPACE, "", 3), (keys::SYSTEM_NAMESPACE, "", 1)] },
    Stack { name: "Prometheus, common settings", pods: &[("peers-common", "", 1)] },
    Stack { name: "Prometheus, fastest", pods: &[("peers-fast", "", 1)] },
    Stack { name: "metrics-server", pods: &[("peers-metrics-server", "", 1)] },
    Stack { name: "VPA", pods: &[("kube-system", "peers=vpa", 3)] },
];

/// What the containers of one name of one stack cost together.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Cost {
    pub(crate) stack: &'static str,
    pub(crate) container: String,
    pub(crate) count: usize,
    /// Cores while all pods were idle.
    pub(crate) quiet: f64,
    /// Cores while they stepped and burned.
    pub(crate) busy: f64,
    /// Bytes that its cgroups are charged for and that cannot simply be dropped, at the end.
    pub(crate) working_set: u64,
    /// Bytes resident, with the program itself, at the end.
    pub(crate) resident: u64,
    /// Since its beginning; more than 0 makes the numbers doubtful.
    pub(crate) restarts: i32,
}

/// Installs everything and waits until it is Ready.
pub(crate) async fn install(world: &World) -> anyhow::Result<()> {
    let vpa = std::env::var("PEERS_VPA").context("no PEERS_VPA: run it with `make bench-peers`")?;
    let of_vpa = ["vpa-v1-crd-gen.yaml", "vpa-rbac.yaml"].map(|file| format!("{vpa}/{file}"));
    let ours = ["metrics-server", "vpa"].map(|name| format!("{MANIFESTS}/{name}.yaml"));
    world.create(vpa_keys()?).await?;
    world.kubectl(&["apply", "-k", PLIMSOLL]).await?;
    world.kubectl(&["apply", "-k", &format!("{MANIFESTS}/common")]).await?;
    world.kubectl(&["apply", "-k", &format!("{MANIFESTS}/fast")]).await?;
    world.kubectl(&["apply", "-f", &ours[0]]).await?;
    world.kubectl(&["apply", "-f", &of_vpa[0], "-f", &of_vpa[1], "-f", &ours[1]]).await?;
    for stack in &STACKS {
        for (namespace, selector, count) in stack.pods {
            let ready =
                async || Ok(world.pods(namespace, selector).await?.iter().filter(is_ready).count() == *count);
            world.until(&format!("{} to be Ready in {namespace}", stack.name), START, ready).await?;
        }
    }
    Ok(())
}

/// What VPA's own script makes with openssl: the webhook's certificate, its own authority.
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

/// What the containers of each stack cost between three readings.
pub(crate) async fn costs(world: &World, readings: [&Reading; 3]) -> anyhow::Result<Vec<Cost>> {
    let mut costs: Vec<Cost> = Vec::new();
    for stack in &STACKS {
        for (namespace, selector, _) in stack.pods {
            let pods = world.pods(namespace, selector).await?;
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
    fn add(&mut self, [before, quiet, end]: [&Reading; 3], id: &str, restarts: i32) {
        let cores = |from: &Reading, to: &Reading| {
            to.cpu_since(from, id).unwrap_or_default() / to.seconds_since(from)
        };
        let held = end.containers.get(id).copied().unwrap_or_default();
        self.count += 1;
        self.quiet += cores(before, quiet);
        self.busy += cores(quiet, end);
        self.working_set += held.working_set();
        self.resident += held.resident;
        self.restarts += restarts;
    }
}

/// Seconds between two new values of cAdvisor for one container, as the fast Prometheus got them in the last four minutes.
pub(crate) async fn cadvisor_gaps(world: &World) -> anyhow::Result<Vec<f64>> {
    let series = r#"container_cpu_usage_seconds_total{namespace="steps",container="app"}"#;
    let counts = query(world, "peers-fast", &format!("count_over_time({series}[4m])")).await?;
    Ok(counts.into_iter().map(|count| 240.0 / count).collect())
}

/// How many scrapes failed in the last six minutes, and how long the slowest took, in seconds.
pub(crate) async fn scrapes(world: &World, namespace: &str) -> anyhow::Result<[Option<f64>; 2]> {
    let failed = query(world, namespace, "sum(count_over_time(up[6m]) - sum_over_time(up[6m]))").await?;
    let slowest = query(world, namespace, "max(max_over_time(scrape_duration_seconds[6m]))").await?;
    Ok([failed.first().copied(), slowest.first().copied()])
}

/// The values that a Prometheus answers.
async fn query(world: &World, namespace: &str, query: &str) -> anyhow::Result<Vec<f64>> {
    let pods = world.pods(namespace, "").await?;
    let pod = pods.first().and_then(|pod| pod.metadata.name.as_deref()).context("no Prometheus")?;
    let query: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:9090/proxy/api/v1/query?query={query}");
    let answer: Value = serde_json::from_str(&world.get(&path).await?)?;
    let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
    Ok(series.iter().filter_map(|one| one["value"][1].as_str()?.parse().ok()).collect())
}
