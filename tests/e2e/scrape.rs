//! A real Prometheus, with the scrape configuration that we ship.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::Verdict;
use crate::pods::{KINDS, NODES, SHOP, START};
use crate::world::World;

const ADDRESS: &str = "127.0.0.1:19090";
const SHIPPED: &str = include_str!("../../manifests/components/prometheus/scrape.yaml");

/// Ends with its owner.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

pub(crate) async fn a_real_prometheus_gets_the_series(world: &World) -> Verdict {
    let program = std::env::var_os("PROMETHEUS").map_or_else(|| PathBuf::from("prometheus"), PathBuf::from);
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("prometheus.yml"), configuration(&world.kubeconfig)?)?;
    let _server = start(&program, folder.path())?;
    let mut said = Vec::new();
    for kind in &KINDS {
        let band = match kind.cpu[0] {
            "low" => "1",
            "moderate" => "2",
            _ => "3",
        };
        let name = kind.on(NODES[0]);
        let labels = format!("{{namespace=\"{SHOP}\",pod=\"{name}\",resource=\"cpu\"}}");
        let right = async || Ok(query(&format!("plimsoll_pod_band{labels}")).await?.as_deref() == Some(band));
        world.until(&format!("{name}'s band in Prometheus"), START, right).await?;
        let share = format!(
            "plimsoll_pod_utilization_ratio{{namespace=\"{SHOP}\",pod=\"{name}\",resource=\"cpu\",basis=\"{}\"}}",
            kind.cpu[1]
        );
        said.push(query(&share).await?.with_context(|| format!("no {share}"))?);
    }
    let count = query("count(count by (node) (plimsoll_agent_sweep_seconds_count))").await?;
    ensure!(count.as_deref() == Some("3"), "agents scraped: {count:?}");
    ensure!(
        query("count(plimsoll_aggregator_reports_total)").await?.is_some(),
        "the aggregator is not scraped"
    );
    Ok(format!("{} bands and shares, 3 agents, the aggregator", said.len()))
}

/// The shipped jobs, scraped more often, found with our kubeconfig.
fn configuration(kubeconfig: &Path) -> anyhow::Result<String> {
    let (_, jobs) = SHIPPED.split_once("plimsoll.yaml: |\n").context("the component has no plimsoll.yaml")?;
    let jobs: Vec<_> = jobs.lines().map(|line| line.strip_prefix("    ").unwrap_or(line)).collect();
    let found = format!("- role: pod\n        kubeconfig_file: {}", kubeconfig.display());
    Ok(jobs.join("\n").replace("- role: pod", &found).replace("scrape_interval: 15s", "scrape_interval: 5s")
        + "\n")
}

fn start(program: &Path, folder: &Path) -> anyhow::Result<Server> {
    let mut command = Command::new(program);
    command.arg(format!("--config.file={}", folder.join("prometheus.yml").display()));
    command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
    command.arg(format!("--web.listen-address={ADDRESS}"));
    let log = std::fs::File::create(folder.join("log"))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    Ok(Server(
        command.spawn().with_context(|| format!("cannot start {}; `make e2e` gets it", program.display()))?,
    ))
}

/// The value of the one series that a query gives.
async fn query(query: &str) -> anyhow::Result<Option<String>> {
    use http_body_util::{BodyExt, Full};
    use hyper_util::rt::TokioIo;

    let stream = tokio::net::TcpStream::connect(ADDRESS).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let body: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let request = http::Request::post("/api/v1/query")
        .header("host", ADDRESS)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::new(bytes::Bytes::from(format!("query={body}"))))?;
    let answer = sender.send_request(request).await?.into_body().collect().await?.to_bytes();
    let answer: Value = serde_json::from_slice(&answer)?;
    let result = answer["data"]["result"].as_array().with_context(|| format!("{query}: {answer}"))?;
    ensure!(result.len() <= 1, "{query}: {} series", result.len());
    Ok(result.first().and_then(|one| one["value"][1].as_str()).map(str::to_owned))
}
