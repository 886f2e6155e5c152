//! 5,000 nodes and 150,000 pods: what a step costs in CPU time, without resizing and with a tenth of the pods under a class.
//! `cargo test --release -p plimsoll-aggregator scale -- --ignored --nocapture`

use std::time::Duration;

use super::resizing::cost::Crowd;
use crate::cpu_time::measured;

const NODES: usize = 5_000;

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
#[ignore = "takes seconds; prints numbers"]
fn scale_of_five_thousand_nodes() {
    // The first stays in memory, so that what the second takes can be told apart.
    let _both = [false, true].map(measure);
}

fn measure(resizes: bool) -> Crowd {
    println!("{} resizing:", if resizes { "with" } else { "without" });
    let mut crowd = Crowd::new(NODES, resizes);
    let pods = Crowd::pods(NODES);
    let count = pods.len();
    let before = resident();
    let (_, time) = measured(|| crowd.list(pods));
    println!("  list of {count} pods: {time:?}");
    crowd.lead();
    for round in 0..3 {
        let (took, _) = crowd.report_all(0.2, 0.0);
        println!("  report {round}: {}", summary(took));
    }
    let (_, time) = measured(|| crowd.harness.wait(20));
    println!("  tick: {:?}", time / 20);
    let bytes = resident().saturating_sub(before);
    println!("  memory: {} MiB, {} bytes a pod", bytes >> 20, bytes / count as u64);
    assert!(bytes / (count as u64) < 4096);
    let (took, _) = crowd.report_all(0.5, 0.8);
    println!("  report while every pod with a class is throttled: {}", summary(took));
    let pods = Crowd::pods(NODES);
    let (_, time) = measured(|| crowd.list(pods));
    println!("  relist: {time:?}");
    crowd
}

fn summary(mut took: Vec<Duration>) -> String {
    took.sort();
    let (mean, of) =
        (took.iter().sum::<Duration>() / NODES as u32, |share: usize| took[(took.len() - 1) * share / 100]);
    format!("mean {mean:?}, median {:?}, p99 {:?}, longest {:?}", of(50), of(99), of(100))
}
