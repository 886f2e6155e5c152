//! 5,000 nodes and 150,000 pods: what a step costs. `cargo test -p plimsoll-aggregator scale -- --ignored --nocapture`

use std::time::Instant;

use super::*;

const NODES: usize = 5_000;
const PER_NODE: usize = 30;

fn pods() -> Vec<PodFacts> {
    (0..NODES * PER_NODE).map(|n| labeled(n, n / PER_NODE, "low", "low")).collect()
}

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn node_report(harness: &mut Harness, on: usize, band: Band) -> Report {
    let pods = (on * PER_NODE..(on + 1) * PER_NODE).map(|n| load(n, band, Band::Low)).collect();
    harness.next_report(on, true, pods)
}

#[test]
#[ignore = "takes seconds; prints numbers"]
fn scale_of_five_thousand_nodes() {
    let before = resident();
    let mut harness = Harness::unsynced(Settings::default(), vec![]);
    let list = pods();
    let clock = Instant::now();
    harness.step(Input::Pods(WatchEvent::Listed(list)));
    println!("list of {} pods: {:?}", NODES * PER_NODE, clock.elapsed());
    harness.step(nodes_listed((0..NODES).map(node)));
    harness.step(Input::Namespaces(WatchEvent::Listed(vec![namespace("shop")])));
    harness.step(Input::Leading(Some(1)));
    for round in 0..3 {
        let mut spent = Duration::ZERO;
        for on in 0..NODES {
            let input = reported(node_report(&mut harness, on, Band::Low));
            let clock = Instant::now();
            assert_eq!(harness.step(input), []);
            spent += clock.elapsed();
        }
        println!("report {round}: {:?} each", spent / NODES as u32);
    }
    let clock = Instant::now();
    assert_eq!(harness.wait(20), []);
    println!("tick: {:?}", clock.elapsed() / 20);
    let bytes = resident().saturating_sub(before);
    println!("memory: {} MiB, {} bytes a pod", bytes >> 20, bytes / (NODES * PER_NODE) as u64);
    assert!(bytes / ((NODES * PER_NODE) as u64) < 4096);
    let clock = Instant::now();
    assert_eq!(harness.step(Input::Pods(WatchEvent::Listed(pods()))), []);
    println!("relist, with making the list: {:?}", clock.elapsed());
}
