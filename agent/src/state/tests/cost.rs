//! Cost of a sweep without reading. Run with `cargo test --release -p plimsoll-agent --lib cost -- --ignored --nocapture`.

use std::time::Instant;

use plimsoll_contract::roster::Answer;

use super::sim::{Cgroup, Sim, at, entry, id, listed, uid, wall};
use crate::profile::Profile;
use crate::sample::Target;
use crate::state::WithoutRoster;

#[test]
#[ignore = "a measurement"]
fn a_sweep_of_110_pods_uses_less_than_a_thousandth_of_a_core() {
    let mut sim = Sim::new(Profile::standard(), WithoutRoster::Unknown);
    let mut roster = Vec::new();
    for pod in 0..110 {
        for number in [2 * pod, 2 * pod + 1] {
            let target = Target { pod: uid(pod), container: Some(id(number)) };
            sim.add(target, Cgroup::using(|t| 0.5 + 0.3 * (t / 20.0).sin()));
        }
        let containers = [listed(2 * pod, "app"), listed(2 * pod + 1, "proxy")];
        roster.push(plimsoll_contract::roster::RosterPod { uid: uid(pod), ..entry(&containers) });
    }
    sim.state.apply_roster(&Answer { roster_version: 1, roster, ..Answer::default() }, at(0.0));
    let (mut spent, sweeps) = (std::time::Duration::ZERO, 300);
    for _ in 0..sweeps {
        let readings = sim.readings();
        let began = Instant::now();
        for (target, reading) in &readings {
            sim.state.observe(target, reading);
        }
        sim.state.classify(at(sim.now), wall(sim.now));
        sim.state.urgent_pods(at(sim.now));
        spent += began.elapsed();
        sim.sleep(1.0);
    }
    let each = spent / sweeps;
    println!("{each:?} a sweep of 110 pods, 220 containers");
    assert!(each.as_micros() < 1000, "{each:?}");
}
