//! What a restart changes: nothing.

use std::time::Duration;

use plimsoll_contract::{Band, keys};

use crate::wire;
use crate::world::{HIGH, LOW, World, hurry, options};

#[tokio::test]
async fn a_restarted_aggregator_writes_nothing_and_goes_on() {
    let mut world = World::start().await;
    world.run("busy", HIGH);
    world.run("idle", LOW);
    world.labeled("busy", "high").await;
    world.labeled("idle", "low").await;
    let epoch: u64 = world.keys("busy")[keys::EPOCH].parse().unwrap();
    let versions = ["busy", "idle"].map(|name| world.version(name));

    world.stage.restart_aggregator().await.unwrap();
    let reported =
        async || world.counted("plimsoll_aggregator_reports_total{result=\"accepted\"}").await >= 1.0;
    world.until("a report", reported).await;
    world.quiet().await;
    assert_eq!(world.writes().len(), 2);
    assert_eq!(["busy", "idle"].map(|name| world.version(name)), versions);

    world.load("idle", HIGH);
    world.labeled("idle", "high").await;
    assert!(
        world.keys("idle")[keys::EPOCH].parse::<u64>().unwrap() > epoch,
        "a new writer has a higher epoch"
    );
    world.end().await;
}

#[tokio::test]
async fn a_restarted_agent_goes_on_from_the_announced_bands() {
    let mut options = options();
    options.tune_agent = |config| {
        hurry(config);
        // Far longer than this test looks: only who remembers `high` still says so.
        config.profile.dwell_off = Duration::from_secs(120);
    };
    let mut world = World::with(options).await;
    world.run("web", HIGH);
    world.run("idle", LOW);
    world.labeled("web", "high").await;
    world.labeled("idle", "low").await;
    world.load("web", LOW);
    world.stage.restart_agent().await.unwrap();

    let settled = async || {
        let ready = wire::try_get(world.stage.agent_address(), "/readyz")
            .await
            .is_some_and(|reply| reply.code == 200);
        let uid = world.uid("web");
        let report = world.report().await;
        let web = report.pods.iter().find(|pod| pod.uid.as_str() == uid);
        ready
            && web.is_some_and(|web| {
                web.cpu.utilization.is_some_and(|share| share < 0.2) && web.cpu.band == Band::High
            })
    };
    world.until("the new agent to see a low load under the high band", settled).await;
    world.quiet().await;
    assert_eq!(world.writes().len(), 2, "no write because of a restart");
    assert_eq!(world.keys("web")[keys::CPU_BAND], "high");
    world.end().await;
}
