//! A real Prometheus with the scrape configuration that we ship.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::{ContainerPort, Pod};
use serde_json::{Map, Value, json};

use crate::TestResult;
use crate::harness::{Harness, percent_encoded};
use crate::pods::{KINDS, NODES, SHOP};

/// Several scrapes at 5 s, and the start of Prometheus.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(60);
const ADDRESS: &str = "127.0.0.1:19090";
const SHIPPED: &str = include_str!("../../manifests/components/prometheus/scrape.yaml");

/// Prometheus, killed when dropped.
struct Server(Child);

impl Server {
    /// Whether it still runs, and its last log line.
    fn state(&mut self, folder: &Path) -> String {
        let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        let state = match self.0.try_wait() {
            Ok(Some(status)) => format!("Prometheus ended ({status})"),
            _ => "Prometheus runs".to_owned(),
        };
        format!("{state}; its last log line: {}", log.lines().last().unwrap_or_default())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _killed = self.0.kill();
        let _reaped = self.0.wait();
    }
}

pub(crate) async fn a_real_prometheus_scrapes_the_series(harness: &Harness) -> TestResult {
    let program = std::env::var_os("PROMETHEUS").map_or_else(|| PathBuf::from("prometheus"), PathBuf::from);
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("prometheus.yml"), configuration(harness).await?.to_string())?;
    let mut server = start(&program, folder.path())?;
    let mut utilizations = Vec::new();
    for kind in &KINDS {
        let band = match kind.cpu[0] {
            "low" => "1",
            "moderate" => "2",
            _ => "3",
        };
        let name = kind.on(NODES[0]);
        let labels = format!("{{namespace=\"{SHOP}\",pod=\"{name}\",resource=\"cpu\"}}");
        let right = async || Ok(query(&format!("plimsoll_pod_band{labels}")).await?.as_deref() == Some(band));
        let shown = harness.until(&format!("{name}'s band in Prometheus"), SCRAPE_TIMEOUT, right).await;
        shown.with_context(|| server.state(folder.path()))?;
        let utilization = format!(
            "plimsoll_pod_utilization_ratio{{namespace=\"{SHOP}\",pod=\"{name}\",resource=\"cpu\",basis=\"{}\"}}",
            kind.cpu[1]
        );
        utilizations.push(query(&utilization).await?.with_context(|| format!("no {utilization}"))?);
    }
    let agents = "count(count by (node) (plimsoll_agent_sweep_seconds_count))";
    let all = async || Ok(query(agents).await?.as_deref() == Some("3"));
    harness.until("a scrape of each agent", SCRAPE_TIMEOUT, all).await?;
    let aggregator = async || Ok(query("count(plimsoll_aggregator_reports_total)").await?.is_some());
    harness.until("a scrape of the aggregator", SCRAPE_TIMEOUT, aggregator).await?;
    Ok(format!("{} bands and utilizations, 3 agents, the aggregator", utilizations.len()))
}

/// The shipped jobs with a shorter interval. Debian's Prometheus has no Kubernetes discovery: each job gets the targets that
/// discovery would find, and its own relabeling rules select from them.
async fn configuration(harness: &Harness) -> anyhow::Result<Value> {
    let shipped: Value = serde_saphyr::from_str(SHIPPED)?;
    let jobs = shipped["data"]["plimsoll.yaml"].as_str().context("the component has no plimsoll.yaml")?;
    let mut configuration: Value = serde_saphyr::from_str(jobs)?;
    for job in configuration["scrape_configs"].as_array_mut().into_iter().flatten() {
        let discovery = job["kubernetes_sd_configs"].take();
        ensure!(discovery[0]["role"] == "pod", "a discovery that this test does not support: {discovery}");
        let mut targets = Vec::new();
        for namespace in discovery[0]["namespaces"]["names"].as_array().into_iter().flatten() {
            let pods = harness.pods(namespace.as_str().context("a name")?, "").await?;
            targets.extend(pods.iter().flat_map(discovered));
        }
        let job = job.as_object_mut().context("a job is an object")?;
        job.remove("kubernetes_sd_configs");
        job.insert("static_configs".into(), targets.into());
        job.insert("scrape_interval".into(), "5s".into());
    }
    Ok(configuration)
}

/// The targets of a pod: one for each port of its containers, with the labels that discovery adds.
fn discovered(pod: &Pod) -> Vec<Value> {
    let spec = pod.spec.clone().unwrap_or_default();
    let address = pod.status.as_ref().and_then(|status| status.pod_ip.clone()).unwrap_or_default();
    let labels = pod.metadata.labels.iter().flatten().map(|(key, value)| {
        let name = key.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        (format!("__meta_kubernetes_pod_label_{name}"), json!(value))
    });
    let mut labels: Map<String, Value> = labels.collect();
    labels.insert("__meta_kubernetes_pod_node_name".into(), json!(spec.node_name));
    let ports = spec.containers.iter().flat_map(|container| container.ports.iter().flatten());
    let target = |port: &ContainerPort| {
        let mut labels = labels.clone();
        labels.insert("__meta_kubernetes_pod_container_port_name".into(), json!(port.name));
        json!({"targets": [format!("{address}:{}", port.container_port)], "labels": labels})
    };
    ports.map(target).collect()
}

fn start(program: &Path, folder: &Path) -> anyhow::Result<Server> {
    let mut command = Command::new(program);
    command.arg(format!("--config.file={}", folder.join("prometheus.yml").display()));
    command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
    command.arg(format!("--web.listen-address={ADDRESS}"));
    let log = std::fs::File::create(folder.join("log"))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    Ok(Server(
        command
            .spawn()
            .with_context(|| format!("cannot start {}; `make e2e` downloads it", program.display()))?,
    ))
}

/// The value of the only series that a query returns.
async fn query(query: &str) -> anyhow::Result<Option<String>> {
    use http_body_util::{BodyExt, Full};
    use hyper_util::rt::TokioIo;

    let stream = tokio::net::TcpStream::connect(ADDRESS).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = http::Request::post("/api/v1/query")
        .header("host", ADDRESS)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::new(bytes::Bytes::from(format!("query={}", percent_encoded(query)))))?;
    let body = sender.send_request(request).await?.into_body().collect().await?.to_bytes();
    let response: Value = serde_json::from_slice(&body)?;
    let result = response["data"]["result"].as_array().with_context(|| format!("{query}: {response}"))?;
    ensure!(result.len() <= 1, "{query}: {} series", result.len());
    Ok(result.first().and_then(|one| one["value"][1].as_str()).map(str::to_owned))
}
