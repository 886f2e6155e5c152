//! Containers that are down: after a kill for memory they get more of it, and nothing else changes of them.

use plimsoll_sizing::policy::Bound;

use super::*;
use crate::plan::resize::at_maximum;

/// A container that waits to be started again, after as many kills for memory.
fn down(mut pod: TestPod, kills: u64) -> TestPod {
    pod.facts.containers[0].running = false;
    pod.reports.remove(0);
    let name = pod.facts.containers[0].name.clone();
    pod.seen_mut(&name).events = MemoryEvents { high: None, max: Some(0), oom_kill: Some(kills) };
    // A pod of which nothing runs is not in a report, or without containers.
    if pod.reports.is_empty() {
        pod.report_age = None;
    }
    pod
}

fn web() -> TestPod {
    TestPod::new("web", Some("gold")).container("app", size(200, 500), size(128 * MI, 256 * MI))
}

fn node(pod: TestPod) -> TestNode {
    TestNode::new(8000, 16 * GI).with([pod])
}

#[test]
fn a_container_in_back_off_after_a_kill_gets_more_memory_while_it_is_down() {
    let node = node(down(web(), 1));
    let wanted = node.wanted("web");
    assert_eq!(wanted.purpose, Purpose::Grow);
    // It had used its limit: 256 / 0.70, and 256 / 0.80 at most twice.
    assert_eq!(wanted.sizes["app"].memory, size(256 * MI, 368 * MI));
    assert_eq!(wanted.sizes["app"].cpu, size(200, 500), "nothing is known of its CPU");
    assert_eq!(node.verdict("web").sizing[0].refused, Some(Refusal::ContainerNotRunning));
    assert!(
        wanted.why[0].contains("events .10x") && wanted.why[0].contains("util 1.00x"),
        "it is as urgent as can be known: {:?}",
        wanted.why
    );
}

#[test]
fn a_container_in_back_off_after_another_crash_gets_nothing() {
    assert_eq!(node(down(web(), 0)).outcome("web"), Outcome::Refused(Refusal::NotRunning));
    let two = down(web().container("proxy", size(100, None), size(MI, None)), 0);
    let verdict = node(two).verdict("web");
    let refused: Vec<_> = verdict.sizing[..2].iter().map(|sized| sized.refused.clone()).collect();
    assert_eq!(refused, [Some(Refusal::ContainerNotRunning), Some(Refusal::ContainerNotRunning)]);
}

#[test]
fn a_killed_container_at_the_maximum_of_its_class_stays_and_that_is_said() {
    let pod = TestPod::new("web", Some("gold"));
    let mut pod = down(pod.container("app", size(200, 500), size(252 * MI, 256 * MI)), 3);
    let Some(Ok(policy)) = &mut pod.class else { panic!("it has a class") };
    policy.memory.max_allowed = Some(Bound::Amount(256 * MI));
    let verdict = node(pod).verdict("web");
    let said = at_maximum(&verdict);
    assert!(matches!(said[..], [("app", Resource::Memory, _)]), "{said:?} {verdict:?}");
    assert!(said[0].2.contains("killed"), "{}", said[0].2);
}

#[test]
fn a_killed_container_shares_what_is_free_and_does_not_grow_where_nothing_is_known_of_it() {
    let mut full = node(down(web(), 1));
    full.capacity = full.capacity.map(|capacity| Capacity { available_bytes: Some(Bytes(0)), ..capacity });
    let verdict = full.verdict("web");
    assert_eq!(verdict.sizing[1].refused, Some(Refusal::NoRoom));
    full.report_age = Some(Duration::from_secs(30));
    assert_eq!(full.outcome("web"), Outcome::Refused(Refusal::NodeSilent));
}

#[test]
fn a_sibling_of_a_container_that_is_down_is_resized() {
    let sibling = |kills| {
        down(
            web().container("proxy", size(100, 200), size(64 * MI, 128 * MI)).burning(0.5, 1.0, 50.0, 300),
            kills,
        )
    };
    let wanted = node(sibling(0)).wanted("web");
    assert_eq!(wanted.sizes.keys().collect::<Vec<_>>(), ["proxy"]);
    assert!(wanted.sizes["proxy"].cpu.limit > Some(200));
    let first = node(sibling(1)).wanted("web");
    assert_eq!(first.sizes.keys().collect::<Vec<_>>(), ["app"], "what cannot start goes first, and alone");
}

#[test]
fn a_pod_that_never_started_is_not_resized_whatever_its_status_says() {
    let mut pod = down(web(), 1);
    pod.facts.node = None;
    assert_eq!(node(pod).outcome("web"), Outcome::Refused(Refusal::NotRunning));
    let mut restarts = down(web(), 1);
    restarts.facts.containers[0].memory_resize_policy = Some("RestartContainer".into());
    assert_eq!(node(restarts).verdict("web").sizing[1].refused, Some(Refusal::RestartContainer));
}
