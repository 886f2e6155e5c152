//! The end-to-end suite: the product on a real Kubernetes, installed as a user would install it, under load and failures.
//!
//! `make e2e` starts the cluster (`tests/cluster`), runs this inside its network, and stops it. By hand:
//!
//! ```text
//! make cluster ARGS=--audit && make images && tests/cluster/cluster load target/images/*.tar
//! cargo test -p plimsoll-tests --test e2e --no-run
//! tests/cluster/cluster exec cargo test -p plimsoll-tests --test e2e -- [PART OF A NAME]...
//! ```
//!
//! | module | shows |
//! |---|---|
//! | `install` | `kubectl apply -k` installs it; the agents have no rights |
//! | `bands` | each kind of pod gets the right bands, bases and evidence, on every node |
//! | `steps` | how long it takes from load to label |
//! | `respect` | keys and pods of users are not touched |
//! | `identity` | restarted containers, recreated pods, in-place resize; verified tokens |
//! | `impostors` | pods that claim to be a static pod take nothing from it |
//! | `resize` | `make e2e-resize`, one of them here too: pods of a class are resized in place, within seconds, and put back |
//! | `scrape` | a real Prometheus scrapes the series |
//! | `hostile` | pods that somebody made odd keep nobody from being served |
//! | `restarts` | killed agents and aggregators restart and write nothing |
//! | `outages` | API server, etcd and nodes fail and return |
//! | `fairness` | pods whose labels are refused or removed do not keep others from theirs |
//! | `churn` | many short-lived pods leave nothing behind |
//! | `removal` | every write of the run was right and made once; cleanup and uninstallation leave nothing |
//! | `soak` | `make soak`, and never with the others: half an hour of pods that are resized |
//! | `conformance` | the API server responds as the recorded script, which the sandbox is tested against |
//!
//! The tests of a phase run concurrently, the phases one after another, so that a wait costs once. All use one
//! installation. `harness` is the cluster and its clients, `pods` defines the pods, `example` is the original project's example, `history` is what a watch observed,
//! `audit` the write requests that the API server received.
#![allow(clippy::print_stdout, reason = "a test runner reports on stdout")]

mod audit;
mod bands;
mod churn;
mod conformance;
mod example;
mod fairness;
mod harness;
mod history;
mod hostile;
mod identity;
mod impostors;
mod install;
mod outages;
mod pods;
mod removal;
mod resize;
mod respect;
mod restarts;
mod scrape;
mod soak;
mod steps;
#[path = "../summary.rs"]
mod summary;

use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use crate::harness::Harness;

/// What a test measured, as text; or why it failed.
pub(crate) type TestResult = anyhow::Result<String>;
type Running = Pin<Box<dyn Future<Output = TestResult>>>;

struct Test {
    name: &'static str,
    run: fn(Arc<Harness>) -> Running,
}

macro_rules! tests {
    ($($module:ident $(:: $path:ident)+),* $(,)?) => {
        vec![$(Test {
            name: concat!(stringify!($module), $("::", stringify!($path)),+),
            run: |harness| Box::pin(async move { $module $(:: $path)+ (&harness).await }),
        }),*]
    };
}

/// Names the suite that runs: `resize` or `soak`; without it, the labels'.
const SUITE: &str = "E2E_SUITE";

/// The first phase always runs: the others need its installation.
fn phases() -> Vec<Vec<Test>> {
    let install = tests![install::one_command_installs_it_and_the_first_report_comes_within_two_minutes];
    match std::env::var(SUITE).as_deref() {
        Ok("soak") => return vec![install, tests![soak::mixed_loads_for_half_an_hour_harm_nobody]],
        Ok("resize") => return resizing(install),
        _ => {}
    }
    vec![
        install,
        // Alone: a pod can use its whole limit only if nothing else uses the node.
        tests![steps::a_step_in_load_is_a_label_in_time],
        tests![
            install::an_agent_on_each_node_has_no_rights,
            bands::each_kind_of_pod_gets_its_bands_and_bases_on_every_node,
            bands::kubectl_shows_them_as_columns,
            respect::a_key_that_a_user_set_is_left_alone_and_reported,
            respect::an_ignored_pod_has_no_keys_of_ours,
            respect::an_ignored_namespace_has_no_keys_of_ours,
            identity::a_restarted_container_keeps_its_band,
            identity::a_recreated_pod_has_no_band_of_the_old_one,
            identity::an_in_place_resize_moves_the_basis_and_not_the_band,
            impostors::a_pod_that_claims_to_be_a_static_pod_takes_nothing_from_it,
            scrape::a_real_prometheus_scrapes_the_series,
            resize::undone::undo_restores_the_original_size_in_place,
        ],
        tests![restarts::a_killed_agent_restarts_and_causes_no_write],
        tests![restarts::a_killed_aggregator_restarts_and_writes_nothing],
        tests![hostile::odd_pods_keep_nobody_from_being_served],
        tests![outages::a_restart_of_the_api_server_causes_no_write],
        tests![outages::a_pause_of_etcd_for_half_a_minute_causes_no_write],
        // Before `fairness`, whose pods keep the nodes busy for a while after they are gone.
        tests![churn::sixty_short_lived_pods_leave_nothing_behind],
        tests![fairness::refused_and_undone_writes_delay_no_first_label_elsewhere],
        tests![outages::the_pods_of_a_lost_node_are_unknown_until_it_returns],
        tests![removal::every_write_was_right_and_made_once, identity::tokens_are_verified_without_asking],
        tests![removal::cleanup_and_uninstallation_leave_nothing],
        tests![conformance::the_api_server_responds_as_recorded],
    ]
}

/// Resizes: `make e2e-resize`.
fn resizing(install: Vec<Test>) -> Vec<Vec<Test>> {
    vec![
        install,
        // Alone: a pod can use its whole limit, or half of each second, only if nothing else uses the node.
        tests![resize::throttled::a_throttled_gold_pod_has_more_cpu_in_the_kernel_within_seconds],
        tests![resize::settles::the_original_example_is_resized_in_place_and_settles],
        tests![
            resize::memory::a_growing_container_gets_more_memory_before_it_is_killed,
            resize::idle::idle_pods_give_back_and_never_go_below_their_floor,
            resize::undone::undo_restores_the_original_size_in_place,
            resize::undone::a_pod_grows_and_stays_for_cleanup,
            resize::refused::quality_of_service_and_resize_policies_are_kept,
            resize::refused::autoscalers_quotas_and_limit_ranges_hold,
            resize::refused::another_writer_keeps_his_size_after_two_rounds,
        ],
        // Alone: what is left on a node must not change meanwhile.
        tests![resize::shared::of_two_burners_with_headroom_for_one_gold_comes_first],
        tests![resize::interrupted::a_pod_deleted_in_mid_flight_leaves_the_next_of_its_name_alone],
        tests![resize::interrupted::a_killed_aggregator_leaves_no_resize_half_done],
        tests![removal::cleanup_and_uninstallation_leave_nothing],
    ]
}

async fn run(test: &Test, harness: Arc<Harness>) -> bool {
    let start = Instant::now();
    // A task of its own, so that a panic is one failed test.
    let result =
        tokio::task::spawn_local((test.run)(harness)).await.unwrap_or_else(|panic| Err(panic.into()));
    let took = start.elapsed().as_secs_f64();
    match &result {
        Ok(measured) => println!("ok      {took:6.1} s  {}  {measured}", test.name),
        Err(error) => println!("FAILED  {took:6.1} s  {}  {error:#}", test.name),
    }
    result.is_ok()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tokio::task::LocalSet::new().run_until(all()).await
}

async fn all() -> ExitCode {
    let filters: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let harness = match Harness::connect().await {
        Ok(harness) => Arc::new(harness),
        Err(error) => {
            println!("e2e: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let start = Instant::now();
    let (mut passed, mut failed) = (0, Vec::new());
    for (number, phase) in phases().into_iter().enumerate() {
        let selected = |test: &Test| {
            number == 0 || filters.is_empty() || filters.iter().any(|filter| test.name.contains(filter))
        };
        let running = phase.iter().filter(|test| selected(test)).map(|test| {
            let harness = Arc::clone(&harness);
            async move { (test.name, run(test, harness).await) }
        });
        let before = failed.len();
        for (name, ok) in futures_util::future::join_all(running).await {
            if ok { passed += 1 } else { failed.push(name) }
        }
        if failed.len() > before {
            harness.save_logs().await;
        }
        if number == 0 && !failed.is_empty() {
            break;
        }
    }
    println!("e2e: {passed} passed, {} failed, {:.0} s", failed.len(), start.elapsed().as_secs_f64());
    for name in &failed {
        println!("  failed: {name}");
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
