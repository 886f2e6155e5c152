//! The floods, and what must hold in each: every report is accepted, 99 of 100 within a second, every probe is answered within a
//! second, and the memory grows by at most 8 MiB.

mod agents;
mod attackers;
mod probes;
mod process;

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use self::agents::{Delivered, report_until};
use self::attackers::Attack;
use self::probes::{Probed, probe_until};
use self::process::Process;

/// One flood at a time.
static ALONE: Mutex<()> = Mutex::const_new(());
/// Reports without a flood, before the memory is measured.
const WARM_UP: Duration = Duration::from_secs(2);
const MAX_GROWTH_KIB: i64 = 8 << 10;

fn duration() -> Duration {
    let seconds = std::env::var("PLIMSOLL_FLOOD_SECONDS").ok();
    Duration::from_secs(seconds.map_or(10, |seconds| seconds.parse().expect("a number of seconds")))
}

#[derive(Debug)]
struct Observed {
    reports: Delivered,
    probes: Probed,
    growth_kib: i64,
}

/// Agents, probes and the memory while the attackers are at work.
async fn observe(process: &Process, attack: impl FnOnce() -> Vec<Attack>) -> Observed {
    let harness = &process.harness;
    report_until(harness, Instant::now() + WARM_UP).await;
    let before = process.resident();
    let attackers = attack();
    let end = Instant::now() + duration();
    let highest = async {
        let mut highest = before;
        while Instant::now() < end {
            highest = highest.max(process.resident());
            sleep(Duration::from_millis(100)).await;
        }
        highest
    };
    let (reports, probes, highest) =
        tokio::join!(report_until(harness, end), probe_until(harness.probes, end), highest);
    let rates: Vec<_> = attackers.iter().map(|attack| attack.rate().round()).collect();
    let mut observed = Observed { reports, probes, growth_kib: highest - before };
    println!(
        "per second {rates:?}: {} reports, p99 {:?}, {} lost; {} probes, slowest {:?}, {} failed; {before} KiB, +{} KiB",
        observed.reports.count(),
        observed.reports.p99(),
        observed.reports.lost.len(),
        observed.probes.count,
        observed.probes.slowest,
        observed.probes.failed.len(),
        observed.growth_kib,
    );
    observed
}

fn assert_served(mut observed: Observed) {
    assert!(observed.reports.count() >= 8, "{observed:?}");
    assert!(observed.reports.lost.is_empty(), "{:?}", observed.reports.lost);
    assert!(observed.reports.p99() <= Duration::from_secs(1), "{:?}", observed.reports);
    assert!(observed.probes.failed.is_empty() && observed.probes.count >= 8, "{:?}", observed.probes);
    assert!(observed.growth_kib <= MAX_GROWTH_KIB, "+{} KiB", observed.growth_kib);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_to_every_port_delay_no_report_and_no_probe() {
    let _alone = ALONE.lock().await;
    let process = Process::start().await;
    let harness = &process.harness;
    let ports = [harness.agents, harness.plain, harness.probes];
    let observed = observe(&process, || ports.map(Attack::silent).into()).await;
    assert_served(observed);
    assert_eq!(harness.get("/v1/nodes").await.code, 200, "people are served too");
    process.harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_tokens_and_silent_connections_delay_no_report_and_no_probe() {
    let _alone = ALONE.lock().await;
    let process = Process::start().await;
    let harness = &process.harness;
    let (bundle, token) = (harness.bundle(), harness.token("n1"));
    let attack = || vec![Attack::forged(harness.agents, &bundle, &token), Attack::silent(harness.agents)];
    assert_served(observe(&process, attack).await);
    process.harness.stop().await;
}
