//! What is recommended and not done: the whole way down, one step up.

use plimsoll_sizing::policy::{Bound, Mode};

use super::*;
use crate::facts::{Range, Ranges};

/// A pod of a class that only recommends, with one idle container.
fn recommends(class: &str, cpu: Size, uses: u64) -> TestPod {
    let pod = TestPod::new("web", Some(class)).container("app", cpu, size(64 * MI, 64 * MI));
    let mut pod = pod.uses(uses, 16 * MI);
    policy(&mut pod).mode = Mode::Recommend;
    pod
}

fn policy(pod: &mut TestPod) -> &mut Policy {
    let Some(Ok(policy)) = &mut pod.class else { panic!("it has a class") };
    policy
}

fn node(pod: TestPod) -> TestNode {
    TestNode::new(16_000, 16 * GI).with([pod])
}

fn recommended(node: &TestNode) -> Wanted {
    match node.outcome("web") {
        Outcome::Recommended(wanted) => wanted,
        other => panic!("it should be recommended: {other:?}"),
    }
}

#[test]
fn a_decrease_is_recommended_to_where_it_ends_and_the_line_says_of_how_many_steps() {
    let mut pod = recommends("silver", size(4000, 4000), 100);
    // 100 / 0.5 = 200m, but at least half of the original; from 2050m to 2000m is less than 5 %
    let floor = recommended(&node(pod.clone()));
    assert_eq!(floor.sizes["app"], Sizes { cpu: size(2050, 2050), memory: size(64 * MI, 64 * MI) });
    assert_eq!(floor.purpose, Purpose::Shrink);
    let idle = "nothing called for growth for the hold of the class";
    assert_eq!(floor.why, [format!("app -1950m (4000->2050): {idle}, silver, the result of 3 steps")]);

    policy(&mut pod).cpu.min_allowed = Bound::Amount(10);
    let needed = recommended(&node(pod.clone()));
    assert_eq!(needed.sizes["app"].cpu, size(200, 200));
    assert_eq!(needed.why, [format!("app -3800m (4000->200): {idle}, silver, the result of 14 steps")]);

    pod.seen_mut("app").cpu.bounds = Some(Ok(UserBounds { min: Some(500), max: None }));
    assert_eq!(recommended(&node(pod)).sizes["app"].cpu, size(500, 500), "what the owner allows");
}

#[test]
fn what_begins_outside_a_limit_range_is_recommended_to_where_it_ends_within() {
    let mut pod = recommends("silver", size(4000, 4000), 100);
    policy(&mut pod).cpu.min_allowed = Bound::Amount(10);
    let mut of_container = node(pod);
    of_container.limit_ranges.container.cpu = Range { max: Some(1000), ..Range::default() };
    assert_eq!(recommended(&of_container).sizes["app"].cpu, size(200, 200));
    // Only memory begins outside: the CPU stays within all the way.
    let mut pod = TestPod::new("web", Some("silver")).container("app", size(500, None), size(GI, GI));
    pod = pod.uses(10, 100 * MI);
    let policy = policy(&mut pod);
    (policy.mode, policy.cpu.min_allowed) = (Mode::Recommend, Bound::Amount(10));
    (policy.memory.allow_decrease, policy.memory.min_allowed) = (true, Bound::Amount(MI));
    let mut of_pod = node(pod);
    let (cpu, memory) = (Some(300), Some(512 * MI));
    of_pod.limit_ranges.pod = Ranges {
        cpu: Range { min: cpu, ..Range::default() },
        memory: Range { max: memory, ..Range::default() },
    };
    let expected = Sizes { cpu: size(320, None), memory: size(128 * MI, 128 * MI) };
    assert_eq!(recommended(&of_pod).sizes["app"], expected);
}

#[test]
fn at_a_limit_range_of_pods_the_same_containers_are_recommended_to_shrink_as_would_be_applied() {
    let outcome = |mode: Mode| {
        let mut pod = TestPod::new("web", Some("bronze"));
        for (name, request) in [("a", 525), ("b", 105)] {
            pod = pod.container(name, size(request, None), size(64 * MI, None)).uses(0, 16 * MI);
        }
        let policy = policy(&mut pod);
        (policy.mode, policy.memory.allow_decrease) = (mode, false);
        let mut node = node(pod);
        node.limit_ranges.pod.cpu = Range { min: Some(560), ..Range::default() };
        node.outcome("web")
    };
    assert_eq!(
        wanted(outcome(Mode::Apply)).sizes["b"].cpu,
        size(90, None),
        "a is at the bound: 420m and 105m are less than 560m"
    );
    let Outcome::Recommended(recommended) = outcome(Mode::Recommend) else { panic!() };
    assert_eq!(
        recommended.sizes.iter().map(|(name, sizes)| (name.as_str(), sizes.cpu)).collect::<Vec<_>>(),
        [("b", size(40, None))]
    );
}

#[test]
fn request_and_limit_each_come_to_their_own_target() {
    let mut pod = recommends("bronze", size(2000, 4000), 90);
    assert_eq!(recommended(&node(pod.clone())).sizes["app"].cpu, size(100, 150), "90 / 0.9 and 90 / 0.6");
    policy(&mut pod).mode = Mode::Apply;
    let wanted = node(pod).wanted("web");
    assert_eq!(wanted.sizes["app"].cpu, size(1600, 3200), "what is applied is applied step by step");
    let step = "app limit -800m (4000->3200), request -400m (2000->1600)";
    let why = format!("{step}: nothing called for growth for the hold of the class, bronze");
    assert_eq!(wanted.why, [why]);
}

#[test]
fn a_growth_is_recommended_by_one_step() {
    let mut pod = burner("web", "gold", 500);
    policy(&mut pod).mode = Mode::Recommend;
    assert_eq!(recommended(&node(pod)).sizes["web"].cpu, size(1000, 1000));
}

#[test]
fn memory_that_may_decrease_is_recommended_with_its_margin() {
    let mut pod = recommends("silver", size(100, None), 75);
    pod = pod.container("cache", size(100, None), size(GI, GI)).uses(75, 100 * MI);
    let memory = &mut policy(&mut pod).memory;
    (memory.allow_decrease, memory.min_allowed) = (true, Bound::Amount(16 * MI));
    let wanted = recommended(&node(pod));
    assert_eq!(wanted.sizes["cache"].memory, size(128 * MI, 128 * MI), "1.25 x 100Mi, as 100Mi / 0.8");
}

#[test]
fn the_rules_hold_at_every_step() {
    let mut autoscaled = recommends("bronze", size(500, 2000), 10);
    autoscaled.seen_mut("app").cpu.autoscaler = Some("web-hpa");
    let wanted = recommended(&node(autoscaled));
    assert_eq!(wanted.sizes["app"].cpu, size(500, 510), "the limit stays above the request");
    assert!(
        wanted.why[0].ends_with("not more: HorizontalPodAutoscaler web-hpa uses its request"),
        "{wanted:?}"
    );

    let mut of_pod = node(recommends("bronze", size(500, None), 10));
    let least = Range { min: Some(300), ..Range::default() };
    of_pod.limit_ranges.pod = Ranges { cpu: least, memory: Range::default() };
    let wanted = recommended(&of_pod);
    assert_eq!(wanted.sizes["app"].cpu, size(320, None), "the next step would leave the pod 260m");
    let end = "the result of 2 steps, not more: a LimitRange of the namespace does not allow it";
    assert!(wanted.why[0].ends_with(end), "{wanted:?}");

    let mut paused = node(recommends("bronze", size(500, None), 10));
    paused.decreases_paused = Some(NOW + Duration::from_secs(60));
    let until = NOW + Duration::from_secs(60);
    assert_eq!(paused.outcome("web"), Outcome::Waiting(Refusal::DecreasesPaused(until)));
}
