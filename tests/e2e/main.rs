//! The end-to-end suite: the product on a real Kubernetes, installed as a user would, and then everything that can happen to it.
//!
//! `make e2e` brings the cluster (`tests/cluster`) up, runs this inside its network, and takes it down. By hand:
//!
//! ```text
//! make cluster ARGS=--audit && make images && tests/cluster/cluster load target/images/*.tar
//! cargo test -p plimsoll-tests --test e2e --no-run
//! tests/cluster/cluster exec cargo test -p plimsoll-tests --test e2e -- [PART OF A NAME]...
//! ```
//!
//! | module | shows |
//! |---|---|
//! | `install` | `kubectl apply -k` is all it takes; the agents have no rights |
//! | `bands` | each kind of pod gets the right bands, bases and evidence, on every node |
//! | `steps` | how long it takes from load to label |
//! | `respect` | what belongs to users is left alone |
//! | `identity` | restarted containers, pods of the same name, in-place resize |
//! | `scrape` | a real Prometheus gets the series |
//! | `restarts` | killed agents and aggregators come back and write nothing |
//! | `outages` | API server, etcd and nodes go away and come back |
//! | `churn` | many short lives leave nothing behind |
//! | `removal` | what was written and what was installed goes away; what was written was right, and once |
//! | `conformance` | the API server answers what the sandbox is held to |
//!
//! The tests of a phase run at the same time, the phases one after another: a wait costs once. All stand on one
//! installation. `world` is the stage, `pods` makes the pods, `history` is what a watcher saw, `audit` what the API
//! server was asked to write.
#![allow(clippy::print_stdout, reason = "a test runner reports on stdout")]

mod audit;
mod bands;
mod churn;
mod conformance;
mod history;
mod identity;
mod install;
mod outages;
mod pods;
mod removal;
mod respect;
mod restarts;
mod scrape;
#[path = "../spread.rs"]
mod spread;
mod steps;
mod world;

use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use crate::world::World;

/// What a test measured, in words; or why it failed.
pub(crate) type Verdict = anyhow::Result<String>;
type Running = Pin<Box<dyn Future<Output = Verdict>>>;

struct Test {
    name: &'static str,
    run: fn(Arc<World>) -> Running,
}

macro_rules! tests {
    ($($module:ident::$name:ident),* $(,)?) => {
        vec![$(Test {
            name: concat!(stringify!($module), "::", stringify!($name)),
            run: |world| Box::pin(async move { $module::$name(&world).await }),
        }),*]
    };
}

/// The first phase always runs: the others stand on it.
fn phases() -> Vec<Vec<Test>> {
    vec![
        tests![install::one_command_installs_it_and_the_first_report_comes_within_two_minutes],
        // Alone: a pod steps to its whole limit only where nothing else wants the node.
        tests![steps::a_step_in_load_is_a_label_in_time],
        tests![
            install::an_agent_on_each_node_has_no_rights,
            bands::each_kind_of_pod_gets_its_bands_and_bases_on_every_node,
            bands::kubectl_shows_them_as_columns,
            respect::a_key_that_a_user_set_is_left_alone_and_reported,
            respect::an_ignored_pod_has_no_keys_of_ours,
            respect::an_ignored_namespace_has_no_keys_of_ours,
            identity::a_restarted_container_keeps_its_band,
            identity::a_new_pod_of_the_same_name_starts_afresh,
            identity::an_in_place_resize_moves_the_basis_and_not_the_band,
            scrape::a_real_prometheus_gets_the_series,
        ],
        tests![restarts::a_killed_agent_comes_back_and_writes_nothing],
        tests![restarts::a_killed_aggregator_comes_back_and_writes_nothing],
        tests![outages::a_restart_of_the_api_server_writes_nothing_and_work_goes_on],
        tests![outages::etcd_may_stand_still_for_half_a_minute],
        tests![churn::sixty_short_lives_leave_nothing_behind],
        tests![outages::the_pods_of_a_lost_node_are_unknown_and_right_again_when_it_returns],
        tests![removal::nothing_was_written_wrongly_or_twice],
        tests![removal::nothing_of_ours_stays],
        tests![conformance::the_api_server_answers_as_recorded],
    ]
}

async fn run(test: &Test, world: Arc<World>) -> bool {
    let begun = Instant::now();
    // A task of its own, so that a panic is one failed test.
    let verdict = tokio::task::spawn_local((test.run)(world)).await.unwrap_or_else(|panic| Err(panic.into()));
    let took = begun.elapsed().as_secs_f64();
    match &verdict {
        Ok(words) => println!("ok      {took:6.1} s  {}  {words}", test.name),
        Err(error) => println!("FAILED  {took:6.1} s  {}  {error:#}", test.name),
    }
    verdict.is_ok()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tokio::task::LocalSet::new().run_until(all()).await
}

async fn all() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let world = match World::enter().await {
        Ok(world) => Arc::new(world),
        Err(error) => {
            println!("e2e: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let begun = Instant::now();
    let (mut passed, mut failed) = (0, Vec::new());
    for (number, phase) in phases().into_iter().enumerate() {
        let chosen =
            |test: &Test| number == 0 || wanted.is_empty() || wanted.iter().any(|w| test.name.contains(w));
        let running = phase.iter().filter(|test| chosen(test)).map(|test| {
            let world = Arc::clone(&world);
            async move { (test.name, run(test, world).await) }
        });
        let before = failed.len();
        for (name, fine) in futures_util::future::join_all(running).await {
            if fine { passed += 1 } else { failed.push(name) }
        }
        if failed.len() > before {
            world.keep_logs().await;
        }
        if number == 0 && !failed.is_empty() {
            break;
        }
    }
    println!("e2e: {passed} passed, {} failed, {:.0} s", failed.len(), begun.elapsed().as_secs_f64());
    for name in &failed {
        println!("  failed: {name}");
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
