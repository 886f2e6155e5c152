//! A restart changes nothing.

use std::time::Duration;

use plimsoll_contract::{Band, keys};

use crate::harness::{HIGH, Harness, LOW, options, shorten_times};
use crate::wire;

#[tokio::test]
async fn a_restarted_aggregator_writes_nothing_and_continues() {
    let mut harness = Harness::start().await;
    harness.create_pod("busy", HIGH);
    harness.create_pod("idle", LOW);
    harness.labeled("busy", "high").await;
    harness.labeled("idle", "low").await;
    let epoch: u64 = harness.keys("busy")[keys::EPOCH].parse().unwrap();
    let versions = ["busy", "idle"].map(|name| harness.version(name));

    harness.cluster.restart_aggregator().await.unwrap();
    let reported =
        async || harness.metric("plimsoll_aggregator_reports_total{result=\"accepted\"}").await >= 1.0;
    harness.until("a report", reported).await;
    harness.quiet().await;
    assert_eq!(harness.writes().len(), 2);
    assert_eq!(["busy", "idle"].map(|name| harness.version(name)), versions);

    harness.set_load("idle", HIGH);
    harness.labeled("idle", "high").await;
    assert!(
        harness.keys("idle")[keys::EPOCH].parse::<u64>().unwrap() > epoch,
        "a new writer has a higher epoch"
    );
    harness.shutdown().await;
}

#[tokio::test]
async fn a_restarted_agent_continues_with_the_bands_on_the_pods() {
    let mut options = options();
    options.tune_agent = |config| {
        shorten_times(config);
        // Longer than the test: only an agent that knows the previous band reports `high`.
        config.profile.window = Duration::from_secs(120);
    };
    let mut harness = Harness::with(options).await;
    harness.create_pod("web", HIGH);
    harness.create_pod("idle", LOW);
    harness.labeled("web", "high").await;
    harness.labeled("idle", "low").await;
    harness.set_load("web", LOW);
    harness.cluster.restart_agent().await.unwrap();

    let continued = async || {
        let ready = wire::try_get(harness.cluster.agent_address(), "/readyz")
            .await
            .is_some_and(|reply| reply.code == 200);
        let uid = harness.uid("web");
        let report = harness.report().await;
        let web = report.pods.iter().find(|pod| pod.uid.as_str() == uid);
        ready
            && web.is_some_and(|web| {
                web.cpu.utilization.is_some_and(|share| share < 0.2) && web.cpu.band == Band::High
            })
    };
    harness.until("the new agent to report a low load and the high band", continued).await;
    harness.quiet().await;
    assert_eq!(harness.writes().len(), 2, "no write because of a restart");
    assert_eq!(harness.keys("web")[keys::CPU_BAND], "high");
    harness.shutdown().await;
}
