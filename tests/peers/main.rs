//! Plimsoll compared with what people use today, on the same three nodes, at the same time: `make bench-peers` runs this
//! inside the test cluster.
//!
//! The load of twelve pods steps, one after another, from zero to the whole CPU limit. All systems see the same steps:
//! Plimsoll, two installations of Prometheus, Alertmanager and a webhook that labels (common settings, and the fastest sane
//! ones), metrics-server, and VPA on two pods of its own. Measured are the time from the step until a client can act on it,
//! and the resources that each stack uses. Then the original project's example runs as gold, and under VPA, and it is measured when
//! it is resized. It asserts no times: it prints a table and writes `target/peers/results.json`.
//!
//! | module | does |
//! |---|---|
//! | `stacks` | installs the systems, and knows which containers belong to which |
//! | `steps` | creates the pods, and finds when their load stepped |
//! | `observations` | records when a watch observed a label or a new request |
//! | `usage` | polls metrics-server |
//! | `resources` | reads CPU and memory from the nodes' cgroups |
//! | `results` | prints the numbers as a table and writes them as JSON |
//!
//! The harness and the pods are those of the end-to-end tests. It changes the cluster of `KUBECONFIG`, and writes one file.
#![allow(clippy::print_stdout, reason = "it reports on stdout")]

mod observations;
mod resources;
mod results;
mod stacks;
mod steps;
mod usage;

// Shared with the end-to-end tests.
#[path = "../e2e/audit.rs"]
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
mod audit;
#[path = "../e2e/example.rs"]
mod example;
#[path = "../e2e/harness.rs"]
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
mod harness;
#[path = "../e2e/history.rs"]
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
mod history;
#[path = "../e2e/pods.rs"]
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
mod pods;
#[path = "../summary.rs"]
mod summary;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use plimsoll_contract::keys;
use serde_json::json;
use tokio::time::sleep;

use crate::example::Outcome;
use crate::harness::Harness;
use crate::observations::Observations;
use crate::results::{Results, System};
use crate::usage::UsageSamples;

/// Before the steps: the cost of watching idle pods.
const IDLE: Duration = Duration::from_secs(70);
/// How long after the last step the systems may take.
const TIMEOUT: Duration = Duration::from_secs(250);
/// How long the sizes of the original project's example are observed.
const GOLD: Duration = Duration::from_secs(120);
const VPA: Duration = Duration::from_secs(480);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match measure().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("bench-peers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure() -> anyhow::Result<()> {
    let start = Instant::now();
    let log = |what: &str| println!("{:6.1} s  {what}", start.elapsed().as_secs_f64());
    let harness = Harness::connect().await?;
    let observations = Observations::follow(harness.client.clone());
    stacks::install(&harness).await?;
    log("everything is installed and Ready");
    steps::create_pods(&harness).await?;
    log("the pods run; measuring the cost of watching them");
    sleep(Duration::from_secs(10)).await;
    let before = resources::read(&harness).await?;
    sleep(IDLE).await;
    let idle = resources::read(&harness).await?;
    let usage = UsageSamples::follow(harness.client.clone());
    let steps = steps::wait_for_steps(&harness).await?;
    log("every pod has stepped; waiting for the systems");
    let last = steps.iter().map(|step| step.at).max().context("no pod has stepped")?;
    let times = |system: System| results::times(system, &steps, &observations, &usage);
    loop {
        let all = System::ALL.iter().all(|system| times(*system).iter().all(Option::is_some));
        if all || jiff::Timestamp::now().duration_since(last).unsigned_abs() > TIMEOUT {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    let end = resources::read(&harness).await?;
    log("all systems have acted, or the timeout has passed");
    let results = Results {
        utilizations: steps::utilizations(&harness, &idle, &end, &steps).await?,
        gaps: stacks::cadvisor_gaps(&harness).await?,
        scrapes: vec![
            stacks::scrapes(&harness, "peers-common").await?,
            stacks::scrapes(&harness, "peers-fast").await?,
        ],
        costs: stacks::costs(&harness, [&before, &idle, &end]).await?,
        kubelets: [(&before, &idle), (&idle, &end)].map(|(from, to)| to.kubelets_since(from)),
        systems: System::ALL.map(|system| (system, times(system))).into(),
        writes: System::ALL.map(|system| results::writes(system, &steps, &observations)).into(),
        // Last: it deletes the pods that the rest is about.
        examples: example_sizes(&harness, log).await?,
    };
    println!("\n{results}");
    results.write()
}

/// Runs the original project's example as gold, then under VPA: all its replicas at once would need more than the two cores.
async fn example_sizes(harness: &Harness, log: impl Fn(&str)) -> anyhow::Result<[Vec<Outcome>; 2]> {
    harness.kubectl(&["delete", "namespace", steps::STEPS, stacks::SIZED]).await?;
    log("the example of the original project, as gold");
    let gold = example::run(harness, "example-gold", json!({keys::SLA: "gold"}), GOLD).await?;
    harness.kubectl(&["delete", "namespace", "example-gold"]).await?;
    log("the same under VPA");
    harness.kubectl(&["apply", "-f", &format!("{}/example.yaml", stacks::MANIFESTS)]).await?;
    let vpa = example::run(harness, "example-vpa", json!({}), VPA).await?;
    Ok([gold, vpa])
}
