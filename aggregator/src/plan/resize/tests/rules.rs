//! What holds of every change.

use plimsoll_sizing::policy::Bound;
use plimsoll_sizing::verdict::Trigger;

use super::*;
use crate::facts::{Range, Ranges};

fn node(pod: TestPod) -> TestNode {
    TestNode::new(8000, 16 * GI).with([pod])
}

/// Throttled, with a limit of twice the request.
fn throttled() -> TestPod {
    TestPod::new("web", Some("gold"))
        .container("app", size(500, 1000), size(64 * MI, 128 * MI))
        .burning(0.5, 1.0, 30.0, 60)
}

#[test]
fn the_request_that_an_autoscaler_uses_stays_and_the_limit_may_grow() {
    let mut pod = throttled();
    pod.seen_mut("app").cpu.autoscaler = Some("web-hpa");
    let verdict = node(pod).verdict("web");
    assert_eq!(verdict.sizing[0].refused, Some(Refusal::Autoscaled("web-hpa".into())));
    assert_eq!(wanted(verdict.outcome).sizes["app"].cpu, size(500, 2000));

    let mut guaranteed = burner("web", "gold", 500);
    guaranteed.seen_mut("web").cpu.autoscaler = Some("web-hpa");
    assert_eq!(node(guaranteed).outcome("web"), Outcome::Waiting(Refusal::Autoscaled("web-hpa".into())));

    let mut idle =
        TestPod::new("web", Some("bronze")).container("app", size(500, 600), size(MI, None)).uses(10, MI);
    idle.seen_mut("app").cpu.autoscaler = Some("web-hpa");
    assert_eq!(
        node(idle).wanted("web").sizes["app"].cpu,
        size(500, 510),
        "the limit stays above the request"
    );
}

#[test]
fn the_requests_of_a_pod_that_kueue_admitted_are_not_raised() {
    // kubernetes-sigs/kueue#5257
    let mut pod = throttled();
    pod.facts.queue_managed = true;
    let verdict = node(pod).verdict("web");
    assert_eq!(verdict.sizing[0].refused, Some(Refusal::QueueManaged));
    assert!(
        verdict.sizing[0].line.ends_with("Kueue admitted it with its requests: they are not raised"),
        "{}",
        verdict.sizing[0].line
    );
    assert_eq!(wanted(verdict.outcome).sizes["app"].cpu, size(500, 2000));
    let mut guaranteed = burner("web", "gold", 500);
    guaranteed.facts.queue_managed = true;
    assert_eq!(node(guaranteed).outcome("web"), Outcome::Waiting(Refusal::QueueManaged));
    let mut idle =
        TestPod::new("web", Some("bronze")).container("app", size(500, None), size(MI, None)).uses(10, MI);
    idle.facts.queue_managed = true;
    assert_eq!(node(idle).wanted("web").sizes["app"].cpu, size(400, None), "they may be lowered");
}

#[test]
fn only_the_container_that_needs_it_is_resized_and_only_in_what_it_needs() {
    let pod = throttled().container("proxy", size(100, 200), size(64 * MI, 128 * MI)).uses(60, 32 * MI);
    let wanted = node(pod).wanted("web");
    let spec = Sizes { cpu: size(1000, 2000), memory: size(64 * MI, 128 * MI) };
    assert_eq!(wanted.sizes, BTreeMap::from([("app".to_owned(), spec)]));
}

#[test]
fn a_container_with_a_gpu_is_resized_in_cpu_alone() {
    // attune-io/attune#800: sizes hold CPU and memory, and nothing else can be in them.
    let mut pod = throttled();
    pod.facts.containers[0].extended = true;
    let wanted = node(pod).wanted("web");
    assert_eq!(wanted.sizes["app"], Sizes { cpu: size(1000, 2000), memory: size(64 * MI, 128 * MI) });
}

#[test]
fn a_guaranteed_pod_on_a_busy_node_is_told_why_it_keeps_its_size() {
    let mut pod = TestPod::new("web", Some("gold")).container("app", size(500, 500), size(64 * MI, 64 * MI));
    pod = pod.uses(450, 16 * MI);
    let cpu = &mut pod.reports[0].cpu;
    (cpu.pressure, cpu.bound_by) = (Some(30.0), Some(BoundBy::Node));
    let verdict = node(pod).verdict("web");
    assert_eq!(
        (&verdict.outcome, verdict.sizing[0].pressure),
        (&Outcome::Fits, Some(Trigger::NodePressure(30.0)))
    );
    let said = "app cpu: the node is busy: a higher limit would give nothing, and a request that equals its limit is not raised alone";
    assert_eq!(verdict.sizing[0].line, said);
}

#[test]
fn what_is_not_set_is_not_set_by_us() {
    let requests_only = TestPod::new("web", Some("gold")).container("app", size(500, None), size(None, None));
    let wanted = node(requests_only.burning(0.0, 1.2, 10.0, 60)).wanted("web");
    assert_eq!(wanted.sizes["app"], Sizes { cpu: size(1000, None), memory: Size::default() });
}

#[test]
fn no_growth_is_more_than_twice_the_size() {
    // Ten millicores are the least step, and three and a half times a request of 3m: the admission policy refuses that.
    let tiny = TestPod::new("web", Some("gold")).container("app", size(3, None), size(MI, None));
    assert_eq!(node(tiny.uses(200, MI)).wanted("web").sizes["app"].cpu, size(6, None));
}

#[test]
fn bounds_of_the_owner_hold_within_those_of_the_class() {
    let with = |min: Option<u64>, max: Option<u64>| {
        let mut pod = throttled();
        pod.seen_mut("app").cpu.bounds = Some(Ok(UserBounds { min, max }));
        node(pod)
    };
    assert_eq!(with(None, Some(1500)).wanted("web").sizes["app"].cpu.limit, Some(1500));
    assert_eq!(with(None, Some(100_000)).wanted("web").sizes["app"].cpu.limit, Some(2000));
    let held = with(None, Some(1000)).wanted("web");
    assert_eq!(held.sizes["app"].cpu.limit, Some(1000), "only the request grows, and below the limit");
    assert!(held.sizes["app"].cpu.request < Some(1000));
    let mut idle =
        TestPod::new("web", Some("bronze")).container("app", size(500, None), size(MI, None)).uses(10, MI);
    idle.seen_mut("app").cpu.bounds = Some(Ok(UserBounds { min: Some(450), max: None }));
    assert_eq!(node(idle).wanted("web").sizes["app"].cpu, size(450, None));
}

fn ranges(cpu: Range) -> Ranges {
    Ranges { cpu, memory: Range::default() }
}

/// The LimitRange came after the pod.
#[test]
fn what_is_outside_a_limit_range_changes_only_to_what_is_within() {
    let outcome = |pod: TestPod, range: Range| {
        let mut node = node(pod);
        node.limit_ranges.container = ranges(range);
        node.outcome("web")
    };
    let waits = Outcome::Waiting(Refusal::LimitRange);
    let most = Range { max: Some(1000), ..Range::default() };
    let idle = |limit: u64| {
        TestPod::new("web", Some("bronze")).container("app", size(500, limit), size(MI, None)).uses(10, MI)
    };
    assert_eq!(outcome(idle(4000), most), waits, "3200m are above it, too");
    assert_eq!(wanted(outcome(idle(1200), most)).sizes["app"].cpu, size(400, 960));

    let small = || {
        let pod = TestPod::new("web", Some("gold")).container("app", size(100, 200), size(64 * MI, None));
        pod.burning(0.5, 1.0, 30.0, 60)
    };
    let least = |min| Range { min: Some(min), ..Range::default() };
    assert_eq!(outcome(small(), least(1000)), waits, "twice the size is below it, too");
    assert_eq!(wanted(outcome(small(), least(200))).sizes["app"].cpu, size(200, 400));

    let of_pod = |max: u64| {
        let pod = ["a", "b"].into_iter().fold(TestPod::new("web", Some("bronze")), |pod, name| {
            pod.container(name, size(1000, 1000), size(64 * MI, 64 * MI)).uses(10, MI)
        });
        let mut node = node(pod);
        node.limit_ranges.pod = ranges(Range { max: Some(max), ..Range::default() });
        node.outcome("web")
    };
    assert_eq!(of_pod(1500), waits, "two of 800m are above it");
    assert_eq!(wanted(of_pod(1600)).sizes["b"].cpu, size(800, 800), "both together are within");

    // As Kubernetes 1.37 answers: what does not change is held against the range, too.
    let beside = |outside: ContainerKind| {
        let mut pod = throttled().container("other", size(500, 4000), size(MI, None)).uses(3000, MI);
        pod.facts.containers[1].kind = outside;
        let mut node = node(pod);
        node.limit_ranges.container = ranges(Range { max: Some(3000), ..Range::default() });
        node.outcome("web")
    };
    assert_eq!([ContainerKind::App, ContainerKind::Init].map(beside), [waits.clone(), waits]);
    assert_eq!(wanted(beside(ContainerKind::Ephemeral)).sizes["app"].cpu, size(1000, 2000));
}

#[test]
fn one_container_or_resource_at_the_bound_of_a_limit_range_of_pods_does_not_keep_the_others() {
    let idle = |containers: &[(&'static str, Size, Size)], min: u64| {
        let mut pod = TestPod::new("web", Some("bronze"));
        for (name, cpu, memory) in containers {
            pod = pod.container(name, *cpu, *memory).uses(10, 32 * MI);
        }
        let Some(Ok(policy)) = &mut pod.class else { unreachable!("it has a class") };
        policy.memory.allow_decrease = true;
        let mut node = node(pod);
        node.limit_ranges.pod = ranges(Range { min: Some(min), ..Range::default() });
        wanted(node.outcome("web")).sizes
    };
    let shrinks = idle(&[("app", size(110, None), size(GI, GI))], 100);
    assert_eq!((shrinks["app"].cpu, shrinks["app"].memory), (size(110, None), size(820 * MI, 820 * MI)));
    let (large, small) =
        (("a", size(500, None), size(32 * MI, None)), ("b", size(100, None), size(32 * MI, None)));
    for order in [[large, small], [small, large]] {
        let shrinks = idle(&order, 550);
        assert_eq!(shrinks.get("b").map(|sizes| sizes.cpu), Some(size(80, None)), "{shrinks:?}");
        assert!(!shrinks.contains_key("a"), "{shrinks:?}");
    }
}

/// The API server counts what runs at once, as the scheduler does.
#[test]
fn a_limit_range_of_pods_counts_an_init_container_beside_the_sidecars_before_it() {
    let outcome = |max: u64| {
        let pod =
            TestPod::new("web", Some("gold")).container("proxy", size(300, 300), size(64 * MI, 64 * MI));
        let pod = pod.burning(0.5, 1.0, 30.0, 60);
        let pod = pod.container("setup", size(800, 800), size(64 * MI, 64 * MI));
        let mut pod = pod.container("app", size(200, 200), size(64 * MI, 64 * MI)).uses(100, 16 * MI);
        pod.facts.containers[0].kind = ContainerKind::Sidecar;
        pod.facts.containers[1].kind = ContainerKind::Init;
        let mut node = node(pod);
        node.limit_ranges.pod = ranges(Range { max: Some(max), ..Range::default() });
        node.outcome("web")
    };
    assert_eq!(wanted(outcome(1400)).sizes["proxy"].cpu, size(600, 600));
    // all of it or nothing: it is trimmed to what containers and sidecars are together, and that is less
    assert_eq!(outcome(1390), Outcome::Waiting(Refusal::LimitRange));
}

#[test]
fn containers_come_within_a_limit_range_of_pods_together() {
    let outcome = |cpu: Range| {
        let pod = ["a", "b"].into_iter().fold(TestPod::new("web", Some("gold")), |pod, name| {
            let pod = pod.container(name, size(100, 1000), size(64 * MI, 64 * MI));
            pod.uses(10, MI)
        });
        let mut node = node(pod);
        node.limit_ranges.pod = ranges(cpu);
        let Some(Ok(policy)) = &mut node.pods[0].class else { unreachable!("it has a class") };
        policy.cpu.min_allowed = Bound::Amount(100);
        node.outcome("web")
    };
    let ratio = Range { max_ratio: Some(8.0), ..Range::default() };
    assert_eq!(wanted(outcome(ratio)).sizes["b"].cpu, size(100, 800), "1800m to 200m would be outside");
    let unset = Range { max: Some(8000), ..Range::default() };
    assert_eq!(wanted(outcome(unset)).sizes["b"].cpu, size(100, 800));
    let requests_only = TestPod::new("web", Some("gold"))
        .container("app", size(100, None), size(64 * MI, None))
        .burning(0.0, 1.0, 0.0, 60);
    let mut node = node(requests_only);
    assert_eq!(node.wanted("web").sizes["app"].cpu, size(170, None));
    node.limit_ranges.pod = ranges(unset);
    assert_eq!(node.outcome("web"), Outcome::Waiting(Refusal::LimitRange), "it demands a limit");
}

#[test]
fn a_request_that_may_not_be_raised_does_not_keep_the_limit_from_shrinking_and_that_is_said() {
    let verdict = |limit: u64, change: fn(&mut TestPod)| {
        let pod = TestPod::new("web", Some("bronze")).container("app", size(100, limit), size(MI, None));
        let mut pod = pod.uses(200, MI);
        change(&mut pod);
        node(pod).verdict("web")
    };
    assert_eq!(wanted(verdict(4000, |_| ()).outcome).sizes["app"].cpu, size(150, 4000));
    type Change = fn(&mut TestPod);
    let kept: [(Change, Refusal); 2] = [
        (|pod| pod.seen_mut("app").cpu.autoscaler = Some("web-hpa"), Refusal::Autoscaled("web-hpa".into())),
        (|pod| pod.facts.queue_managed = true, Refusal::QueueManaged),
    ];
    for (change, reason) in kept {
        let large = verdict(4000, change);
        assert_eq!((large.sizing[0].pressure, &large.sizing[0].refused), (None, &Some(reason.clone())));
        assert_eq!(wanted(large.outcome).sizes["app"].cpu, size(100, 3200));
        let shrink =
            "app limit -800m (4000->3200): nothing called for growth for the hold of the class, bronze";
        assert_eq!(large.sizing[0].line, shrink, "the request is not what ends it");
        // There is nothing to shrink, and no hold begins anew.
        let fits = verdict(340, change);
        assert_eq!(fits.sizing[0].pressure, None);
        let said = format!("app cpu: the request is less than what is used, but {}", reason.words(NOW));
        let waits = Outcome::Waiting(reason);
        assert_eq!((fits.sizing[0].line.as_str(), &fits.outcome), (said.as_str(), &waits));
        // Right after a growth, too.
        let grown = TestPod::new("web", Some("gold")).container("app", size(100, 500), size(MI, None));
        let mut grown = grown.uses(200, MI);
        change(&mut grown);
        grown.seen_mut("app").cpu.since_growth = Some(Duration::from_secs(1));
        (grown.reports[0].cpu.throttled2, grown.reports[0].cpu.throttled3) = (None, None);
        assert_eq!(node(grown).outcome("web"), waits);
    }
}

#[test]
fn a_limit_range_bounds_containers_their_ratio_and_pods() {
    let mut of_container = node(throttled());
    of_container.limit_ranges.container = ranges(Range { max: Some(1200), ..Range::default() });
    assert_eq!(of_container.wanted("web").sizes["app"].cpu.limit, Some(1200));
    let mut at_maximum = node(burner("web", "gold", 1200));
    at_maximum.limit_ranges.container = of_container.limit_ranges.container;
    assert_eq!(at_maximum.verdict("web").sizing[0].refused, Some(Refusal::LimitRange));

    let mut pod = throttled();
    pod.seen_mut("app").cpu.autoscaler = Some("web-hpa");
    let mut ratio = node(pod);
    ratio.limit_ranges.container = ranges(Range { max_ratio: Some(3.0), ..Range::default() });
    assert_eq!(ratio.wanted("web").sizes["app"].cpu, size(500, 1500), "at most three times the request");

    let two = throttled().container("second", size(400, 500), size(MI, None)).uses(200, MI);
    let mut of_pod = node(two);
    of_pod.limit_ranges.pod = ranges(Range { max: Some(2000), ..Range::default() });
    let verdict = of_pod.verdict("web");
    assert_eq!(verdict.sizing[0].refused, Some(Refusal::LimitRange));
    assert_eq!(wanted(verdict.outcome).sizes["app"].cpu.limit, Some(1500), "the other has 500m of the 2000m");

    let idle =
        TestPod::new("web", Some("bronze")).container("app", size(500, None), size(MI, None)).uses(10, MI);
    let mut least = node(idle);
    least.limit_ranges.pod = ranges(Range { min: Some(480), ..Range::default() });
    assert_eq!(least.outcome("web"), Outcome::Waiting(Refusal::LimitRange));
}

/// Two containers, in this order: `idle` could shrink, and `busy` is throttled.
fn idle_and_busy(order: [&str; 2]) -> TestPod {
    order.into_iter().fold(TestPod::new("web", Some("bronze")), |pod, name| {
        let pod = pod.container(name, size(500, 500), size(64 * MI, 64 * MI));
        if name == "busy" { pod.burning(0.5, 1.0, 20.0, 60) } else { pod.uses(20, 32 * MI) }
    })
}

/// Why a resource of a container gets less, or nothing.
fn refused(verdict: &PodVerdict, container: &str, resource: Resource) -> Option<Refusal> {
    let mut all = verdict.sizing.iter();
    all.find(|sized| sized.container == container && sized.resource == resource).unwrap().refused.clone()
}

/// What a resize is for, and of which containers.
fn purpose(wanted: &Wanted) -> (Purpose, Vec<&str>) {
    (wanted.purpose, wanted.sizes.keys().map(String::as_str).collect())
}

#[test]
fn a_shrink_leaves_room_in_a_limit_range_of_pods_once_the_pod_has_shrunk() {
    for order in [["idle", "busy"], ["busy", "idle"]] {
        let mut node = node(idle_and_busy(order));
        node.limit_ranges.pod = ranges(Range { max: Some(1000), ..Range::default() });
        let verdict = node.verdict("web");
        assert_eq!(refused(&verdict, "busy", Resource::Cpu), Some(Refusal::LimitRange));
        let shrink = wanted(verdict.outcome);
        assert_eq!(purpose(&shrink), (Purpose::Shrink, vec!["idle"]), "{order:?}");

        let idle =
            node.pods[0].facts.containers.iter_mut().find(|container| container.name == "idle").unwrap();
        idle.spec = resources(shrink.sizes["idle"]);
        let growth = node.wanted("web");
        assert_eq!(purpose(&growth), (Purpose::Grow, vec!["busy"]));
        assert_eq!(growth.sizes["busy"].cpu, size(600, 600), "the other has 400m of the 1000m");
    }

    // The ratio of a pod, whose requests an autoscaler uses: both limits would be 2300m for 1000m, the larger one alone makes it 2500m.
    let mut pod = TestPod::new("web", Some("bronze"))
        .container("idle", size(500, 1000), size(64 * MI, 64 * MI))
        .uses(20, 32 * MI)
        .container("busy", size(500, 1000), size(64 * MI, 64 * MI))
        .burning(0.5, 1.0, 20.0, 60);
    for name in ["idle", "busy"] {
        pod.seen_mut(name).cpu.autoscaler = Some("web-hpa");
    }
    let mut node = node(pod);
    node.limit_ranges.pod = ranges(Range { max_ratio: Some(2.4), ..Range::default() });
    let growth = node.wanted("web");
    assert_eq!(purpose(&growth), (Purpose::Grow, vec!["busy"]));
    assert_eq!(growth.sizes["busy"].cpu, size(500, 1400));
}

#[test]
fn memory_that_grows_alone_and_a_new_replica_do_not_count_on_a_shrink_either() {
    let mut pod = TestPod::new("web", Some("bronze"))
        .container("cache", size(100, None), size(GI, GI))
        .uses(90, 64 * MI)
        .container("app", size(100, None), size(256 * MI, 256 * MI))
        .uses(90, 250 * MI);
    let Some(Ok(policy)) = &mut pod.class else { panic!("it has a class") };
    policy.memory.allow_decrease = true;
    let mut memory = node(pod);
    assert_eq!(purpose(&memory.wanted("web")), (Purpose::Grow, vec!["app"]));
    let most = Range { max: Some(GI + 256 * MI), ..Range::default() };
    memory.limit_ranges.pod = Ranges { cpu: Range::default(), memory: most };
    assert_eq!(purpose(&memory.wanted("web")), (Purpose::Shrink, vec!["cache"]));
    assert_eq!(refused(&memory.verdict("web"), "app", Resource::Memory), Some(Refusal::LimitRange));

    let mut pod = idle_and_busy(["idle", "busy"]);
    let larger = TestPod::new("sibling", None).container("busy", size(700, 700), size(64 * MI, 64 * MI));
    (pod.newborn, pod.siblings) = (true, vec![larger.facts]);
    pod.reports.pop();
    let mut newborn = node(pod);
    assert_eq!(purpose(&newborn.wanted("web")), (Purpose::Birth, vec!["busy"]));
    newborn.limit_ranges.pod = ranges(Range { max: Some(1000), ..Range::default() });
    assert_eq!(purpose(&newborn.wanted("web")), (Purpose::Shrink, vec!["idle"]));
}

#[test]
fn a_shrink_does_not_count_on_a_growth_for_the_least_of_a_limit_range_of_pods() {
    for order in [["busy", "idle"], ["idle", "busy"]] {
        let mut node = TestNode::new(8000, 16 * GI).with_headroom(0, [idle_and_busy(order)]);
        node.limit_ranges.pod = ranges(Range { min: Some(950), ..Range::default() });
        let verdict = node.verdict("web");
        assert!(matches!(verdict.outcome, Outcome::Waiting(_)), "{order:?}: {:?}", verdict.outcome);
        assert_eq!(refused(&verdict, "idle", Resource::Cpu), Some(Refusal::LimitRange));
        assert_eq!(refused(&verdict, "busy", Resource::Cpu), Some(Refusal::NoRoom));
    }
}

#[test]
fn a_ratio_makes_no_request_its_limit() {
    // A request that is its limit may change the QoS class, and the API server refuses that.
    let outcome = |cpu: Size, memory: Size, ratio: f64| {
        let mut pod = TestPod::new("web", Some("bronze")).container("app", cpu, memory).uses(1, 1);
        let Some(Ok(policy)) = &mut pod.class else { panic!("it has a class") };
        policy.memory.allow_decrease = true;
        policy.memory.min_allowed = Bound::Amount(4 * MI);
        let mut node = node(pod);
        let range = Range { max_ratio: Some(ratio), ..Range::default() };
        node.limit_ranges.container = Ranges { cpu: range, memory: range };
        node.outcome("web")
    };
    let waits = Outcome::Waiting(Refusal::LimitRange);
    assert_eq!(outcome(size(20, 30), size(4 * MI, 4 * MI), 1.5), waits);
    assert_eq!(outcome(size(50, 60), size(4 * MI, 4 * MI), 1.2), waits);
    assert_eq!(outcome(size(10, 10), size(8 * MI, 12 * MI), 1.5), waits);
    let between = wanted(outcome(size(110, 120), size(4 * MI, 4 * MI), 1.1));
    assert_eq!(between.sizes["app"].cpu, size(100, 110), "a step above the request");
}

#[test]
fn what_the_kubelet_deferred_is_not_asked_for_again() {
    let mut pod = burner("web", "gold", 500);
    let deferred = Sizes { cpu: size(800, 800), memory: size(64 * MI, 64 * MI) };
    pod.deferred = Some(BTreeMap::from([("web".to_owned(), deferred)]));
    assert_eq!(
        node(pod.clone()).wanted("web").sizes["web"].cpu,
        size(650, 650),
        "half of that growth may fit"
    );
    let mut asked = Vec::new();
    loop {
        let verdict = node(pod.clone()).verdict("web");
        let Outcome::Wanted(wanted) = &verdict.outcome else {
            assert_eq!(verdict.outcome, Outcome::Waiting(Refusal::NoRoom));
            break;
        };
        asked.push(wanted.sizes["web"].cpu.request.unwrap());
        pod.deferred = Some(wanted.sizes.clone());
    }
    assert_eq!(asked, [650, 570, 530], "and then there is no room");
}

#[test]
fn a_failure_of_one_resource_holds_only_that_one() {
    let mut pod = throttled().uses_up_memory();
    pod.seen_mut("app").cpu.held = Some(("exceeded quota: team", NOW + Duration::from_secs(60)));
    let verdict = node(pod.clone()).verdict("web");
    let until = NOW + Duration::from_secs(60);
    assert_eq!(
        verdict.sizing[0].refused,
        Some(Refusal::Failed { message: "exceeded quota: team".into(), until })
    );
    let wanted = wanted(verdict.outcome);
    assert_eq!(wanted.sizes["app"].cpu, size(500, 1000));
    assert!(wanted.sizes["app"].memory.limit > Some(128 * MI));
    pod.seen_mut("app").memory.held = Some(("infeasible", until));
    assert!(matches!(node(pod).outcome("web"), Outcome::Waiting(Refusal::Failed { .. })));
}

#[test]
fn memory_that_runs_out_grows_alone() {
    let both = throttled().uses_up_memory();
    let wanted = node(both).wanted("web");
    assert_eq!(wanted.sizes["app"].cpu, size(500, 1000), "a refusal of CPU would refuse memory, too");
    assert!(wanted.sizes["app"].memory.limit > Some(128 * MI));
    assert_eq!(wanted.why.len(), 1);
    let mut pressed = throttled();
    pressed.reports[0].memory.pressure = Some(20.0);
    pressed.reports[0].memory.working_set = Some(Bytes(120 * MI));
    let wanted = node(pressed).wanted("web");
    assert_eq!(wanted.sizes["app"].cpu, size(1000, 2000), "where nothing is killed, both at once");
    assert!(wanted.sizes["app"].memory.limit > Some(128 * MI));
}

#[test]
fn memory_events_make_memory_grow_although_decreases_are_forbidden() {
    // kubernetes/autoscaler#10181; the container restarted since, and its own counts say nothing any more.
    let mut pod = TestPod::new("web", Some("silver"))
        .container("app", size(100, None), size(128 * MI, 256 * MI))
        .uses(80, 100 * MI);
    pod.seen_mut("app").events = MemoryEvents { high: None, max: Some(3), oom_kill: Some(1) };
    let memory = node(pod).wanted("web").sizes["app"].memory;
    assert!(memory.limit > Some(300 * MI), "{memory:?}");
}
