//! How long a plan takes: in a release build at most a millisecond, in every build no more than in proportion to the pods.

use super::of_state::{name, now, pod, report, sized, state, throttled};
use super::*;
use crate::cpu_time::least;
use crate::plan::resize::of_state::node_view;

fn crowded(pods: usize) -> TestNode {
    let classes = ["gold", "silver", "bronze"];
    TestNode::new(64_000, 256 * GI)
        .with_headroom(1000, (0..pods).map(|n| burner(&format!("web-{n:03}"), classes[n % 3], 100)))
}

/// The fastest of several plans.
fn fastest(node: &TestNode, division: Division) -> Duration {
    let view = node.view();
    let settings = PlanSettings { division, ..PlanSettings::default() };
    least(|| assert_eq!(plan_node(&view, NOW, &settings).len(), node.pods.len() - 1))
}

/// Five times the pods may take so many times as long: quadratic work would take 25 times.
const MOST: f64 = 15.0;

fn check(what: &str, few: Duration, all: Duration) {
    println!("{what}: {all:?}, of a fifth of the pods {few:?}");
    let ratio = all.as_secs_f64() / few.as_secs_f64();
    assert!(ratio <= MOST, "{what}: {ratio:.1} times {few:?}");
    assert!(cfg!(debug_assertions) || all <= Duration::from_millis(1), "{what}: {all:?}");
}

#[test]
fn a_plan_for_110_managed_pods_that_all_want_more_takes_at_most_a_millisecond_in_release() {
    for division in [Division::Tiered, Division::Weighted] {
        let [few, all] = [22, 110].map(|pods| fastest(&crowded(pods), division));
        check(&format!("{division:?}"), few, all);
    }
}

#[test]
fn so_does_one_from_the_state_with_pods_that_were_resized_before() {
    let fastest = |count: usize| {
        let pods: Vec<PodFacts> =
            (0..count).map(|n| sized(pod(&format!("web-{n:03}"), "n1", n as u64, 500))).collect();
        let mut state = state(pods.clone());
        report(&mut state, 100, "n1", pods.iter().map(throttled).collect());
        let n1 = name("n1");
        least(|| {
            let view = node_view(&state, &n1, now(101), None).unwrap();
            assert_eq!(plan_node(&view, now(101).at, &PlanSettings::default()).len(), count);
        })
    };
    check("from the state", fastest(22), fastest(110));
}
