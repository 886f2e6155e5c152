//! Plimsoll beside what people use today, on the same three nodes, at the same time: `make bench-peers` runs this inside the
//! test cluster.
//!
//! Twelve pods step, one after another, from nothing to their whole CPU limit. Everybody watches the same steps: Plimsoll,
//! two installations of Prometheus, Alertmanager and a webhook that labels (common settings, and the fastest sane ones),
//! metrics-server, and VPA on two pods of its own. Measured is the time from the step until somebody outside can act on it,
//! and what each stack costs meanwhile. It asserts no time: it prints a table and writes `target/peers/results.json`.
//!
//! | module | does |
//! |---|---|
//! | `stacks` | installs what is compared, and knows which containers belong to whom |
//! | `steps` | the pods, and when their load stepped |
//! | `sightings` | when a watcher saw a label or a new request |
//! | `answers` | what metrics-server said, and when |
//! | `costs` | CPU and memory, from the nodes' cgroups |
//! | `findings` | the numbers, as a table and as JSON |
//!
//! The stage and the pods are those of the end-to-end tests. It may change the cluster that `KUBECONFIG` names, and writes
//! one file.
#![allow(clippy::print_stdout, reason = "it reports on stdout")]

mod answers;
mod costs;
mod findings;
mod sightings;
mod stacks;
mod steps;

// What is shared with the end-to-end tests, and more than is needed here.
#[path = "../e2e/audit.rs"]
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
mod audit;
#[path = "../e2e/history.rs"]
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
mod history;
#[path = "../e2e/pods.rs"]
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
mod pods;
#[path = "../spread.rs"]
mod spread;
#[path = "../e2e/world.rs"]
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
mod world;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::time::sleep;

use crate::answers::Answers;
use crate::findings::{Findings, System};
use crate::sightings::Sightings;
use crate::world::World;

/// What the steps are not yet part of: the cost of watching pods that do nothing.
const QUIET: Duration = Duration::from_secs(70);
/// After this long nobody is waited for any more.
const PATIENCE: Duration = Duration::from_secs(250);

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
    let begun = Instant::now();
    let say = |what: &str| println!("{:6.1} s  {what}", begun.elapsed().as_secs_f64());
    let world = World::enter().await?;
    let sightings = Sightings::follow(world.client.clone());
    stacks::install(&world).await?;
    say("everything is installed and Ready");
    steps::begin(&world).await?;
    say("the pods run; what does watching them cost?");
    sleep(Duration::from_secs(10)).await;
    let before = costs::read(&world).await?;
    sleep(QUIET).await;
    let quiet = costs::read(&world).await?;
    let answers = Answers::follow(world.client.clone());
    let steps = steps::done(&world).await?;
    say("every pod has stepped; who acts on it?");
    let last = steps.iter().map(|step| step.at).max().context("no pod has stepped")?;
    let times = |system: System| findings::times(system, &steps, &sightings, &answers);
    loop {
        let all = System::ALL.iter().all(|system| times(*system).iter().all(Option::is_some));
        if all || jiff::Timestamp::now().duration_since(last).unsigned_abs() > PATIENCE {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    let end = costs::read(&world).await?;
    say("all have, or nobody is waited for any more");
    let findings = Findings {
        reached: steps::reached(&world, &quiet, &end, &steps).await?,
        gaps: stacks::cadvisor_gaps(&world).await?,
        scrapes: vec![
            stacks::scrapes(&world, "peers-common").await?,
            stacks::scrapes(&world, "peers-fast").await?,
        ],
        resizes: steps::resizes(&world, &sightings).await?,
        costs: stacks::costs(&world, [&before, &quiet, &end]).await?,
        kubelets: [(&before, &quiet), (&quiet, &end)].map(|(from, to)| to.kubelets_since(from)),
        systems: System::ALL.map(|system| (system, times(system))).into(),
        writes: System::ALL.map(|system| findings::writes(system, &steps, &sightings)).into(),
    };
    println!("\n{findings}");
    findings.write()
}
