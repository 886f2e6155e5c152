//! What holds for every node, whatever its pods are and need.

use plimsoll_sizing::policy::{Bound, Mode};
use plimsoll_sizing::size::{qos, qos_changes};
use proptest::prelude::*;

use super::*;
use crate::facts::{Range, Ranges};
use crate::plan::resize::bounds::bounds;
use crate::plan::resize::headroom::headroom;
use crate::plan::resize::view::ValueQuotas;
use crate::state::QuotaRoom;

/// Sizes of a container, its use, throttling, pressure, memory over limit and growth, seconds in the high band, OOM kills, and seconds since
/// CPU and memory grew.
type Made = (Size, Size, [f64; 5], u64, u64, [Option<u64>; 2]);

fn amounts(step: u64, most: u64) -> impl Strategy<Value = Size> {
    let amount = move || (1..=most).prop_map(move |n| n * step);
    prop_oneof![
        Just(Size::default()),
        amount().prop_map(|both| size(both, both)),
        amount().prop_map(|request| size(request, None)),
        (amount(), 1..4_u64).prop_map(move |(request, more)| size(request, request + more * step)),
    ]
}

prop_compose! {
    fn containers()(
        cpu in amounts(35, 40),
        memory in amounts(10 * MI + 1, 40),
        used in 0.0..1.5_f64,
        throttled in prop_oneof![Just(0.0), Just(f64::NAN), 0.0..1.0_f64],
        pressure in 0.0..100.0_f64,
        high in 0..600_u64,
        filled in 0.0..1.0_f64,
        growth in -1e6..1e7_f64,
        kills in 0..2_u64,
        grew in prop::array::uniform2(prop::option::of(0..60_u64)),
    ) -> Made {
        (cpu, memory, [used, throttled, pressure, filled, growth], high, kills, grew)
    }
}

prop_compose! {
    fn pods()(
        class in prop::sample::select(vec![None, Some("gold"), Some("silver"), Some("bronze")]),
        decrease in any::<bool>(),
        of in prop::collection::vec(containers(), 1..3),
    ) -> (Option<&'static str>, bool, Vec<Made>) {
        (class, decrease, of)
    }
}

prop_compose! {
    /// Of large containers that use little.
    fn idle_containers()(
        cpu in amounts(35, 400),
        memory in amounts(10 * MI + 1, 400),
        used in 0.0..0.5_f64,
        filled in 0.0..0.5_f64,
    ) -> Made {
        (cpu, memory, [used, 0.0, 0.0, filled, 0.0], 0, 0, [None; 2])
    }
}

prop_compose! {
    /// Of containers and of the pod.
    fn limit_ranges()(
        ratios in prop::array::uniform2(prop::option::of(1.5..6.0_f64)),
        least in prop::array::uniform2(prop::option::of(10..2000_u64)),
        most in prop::array::uniform2(prop::option::of(500..4000_u64)),
    ) -> LimitRanges {
        let cpu = |n: usize| Ranges {
            cpu: Range { max_ratio: ratios[n], min: least[n], max: most[n], ..Range::default() },
            ..Ranges::default()
        };
        LimitRanges { container: cpu(0), pod: cpu(1) }
    }
}

fn build(number: usize, (class, decrease, containers): (Option<&str>, bool, Vec<Made>)) -> TestPod {
    let mut pod = TestPod::new(&format!("pod-{number}"), class);
    if let Some(Ok(policy)) = &mut pod.class {
        policy.memory.allow_decrease = decrease;
    }
    for (n, (cpu, memory, [used, throttled, pressure, filled, growth], high, kills, grew)) in
        containers.into_iter().enumerate()
    {
        let name = format!("c{n}");
        pod = pod.container(&name, cpu, memory);
        let basis = cpu.limit.or(cpu.request).unwrap_or(100);
        let bytes = (memory.limit.or(memory.request).unwrap_or(GI) as f64 * filled) as u64;
        pod = pod.uses((basis as f64 * used) as u64, bytes);
        let report = pod.reports.last_mut().unwrap();
        // As right after a growth, it may not be measured yet.
        let throttled = cpu.limit.map(|_| throttled).filter(|share| !share.is_nan());
        (report.cpu.throttled2, report.cpu.throttled3) = (throttled, throttled);
        report.cpu.pressure = Some(pressure);
        report.memory.growth = Some(growth);
        let seen = pod.seen_mut(&name);
        seen.cpu.high = Duration::from_secs(high);
        seen.events.oom_kill = Some(kills);
        (seen.cpu.since_growth, seen.memory.since_growth) = grew.map(|s| s.map(Duration::from_secs)).into();
    }
    let sizes: Vec<Sizes> = pod.facts.containers.iter().map(|container| sizes_of(&container.spec)).collect();
    pod.facts.qos = Some(format!("{:?}", qos(&sizes)));
    pod
}

fn spec(pod: &TestPod) -> BTreeMap<String, Sizes> {
    pod.facts.containers.iter().map(|container| (container.name.clone(), sizes_of(&container.spec))).collect()
}

/// The pod as it is once it has these sizes, with the same measurements.
fn resized(mut pod: TestPod, sizes: &BTreeMap<String, Sizes>) -> TestPod {
    for container in &mut pod.facts.containers {
        let Some(sizes) = sizes.get(&container.name) else { continue };
        container.spec = resources(*sizes);
        container.allocated = Some(requests(container.spec));
        container.actual = Some(container.spec);
    }
    pod
}

/// Whether the API server would refuse this: by the rules of its plugin LimitRanger.
fn breaks(range: Range, Size { request, limit }: Size) -> bool {
    let ratio = request.zip(limit).map(|(request, limit)| limit as f64 / request as f64);
    // What is bounded must be set.
    let too_small =
        |min| request.is_none() || [request, limit].into_iter().flatten().any(|value| value < min);
    let too_large = |max| limit.is_none() || request.max(limit) > Some(max);
    range.min.is_some_and(too_small)
        || range.max.is_some_and(too_large)
        || range.max_ratio.is_some_and(|most| ratio.is_none_or(|ratio| ratio > most))
}

/// The CPU of a pod's containers together.
fn sums(sizes: &BTreeMap<String, Sizes>) -> Size {
    let sum = |of: fn(&Sizes) -> Option<u64>| sizes.values().filter_map(of).reduce(|a, b| a + b);
    Size { request: sum(|sizes| sizes.cpu.request), limit: sum(|sizes| sizes.cpu.limit) }
}

fn any_wanted(outcome: &Outcome) -> Option<&Wanted> {
    match outcome {
        Outcome::Wanted(wanted) => Some(wanted),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn grants_never_exceed_the_headroom_and_no_size_breaks_a_rule(
        made in prop::collection::vec(pods(), 0..12),
        allocatable in 500..30_000_u64,
        gib in 1..32_u64,
        free in 0.0..1.0_f64,
        weighted in any::<bool>(),
        ranges in limit_ranges(),
        quota in prop::option::of(0..1000_u64),
    ) {
        let mut node = TestNode::new(allocatable, gib * GI).with(made.into_iter().enumerate().map(|(n, pod)| build(n, pod)));
        node.limit_ranges = ranges;
        for pod in &mut node.pods {
            let requests = quota.map(|left| QuotaRoom { quota: "team", left: Some(left) });
            pod.quotas.cpu = ValueQuotas { requests, limits: None };
        }
        node.capacity.as_mut().unwrap().available_bytes = Some(Bytes((gib as f64 * GI as f64 * free) as u64));
        let left = headroom(&node.view(), [0, 0]);
        let plan = node.plan(if weighted { Division::Weighted } else { Division::Tiered });
        let (mut cpu, mut memory, mut memory_limits) = (0, 0, 0);
        for pod in &node.pods {
            let Some(wanted) = plan.get(&*pod.facts.pod.name).and_then(|verdict| any_wanted(&verdict.outcome)) else { continue };
            let (old, mut new) = (spec(pod), spec(pod));
            new.extend(wanted.sizes.clone());
            let (before, after): (Vec<_>, Vec<_>) = (old.values().copied().collect(), new.values().copied().collect());
            prop_assert!(!qos_changes(&before, &after), "{before:?} {after:?}");
            // All of the pod, also what does not change.
            prop_assert!(!breaks(ranges.pod.cpu, sums(&new)), "{old:?} {new:?} {ranges:?}");
            prop_assert!(!after.iter().any(|sizes| breaks(ranges.container.cpu, sizes.cpu)), "{old:?} {new:?} {ranges:?}");
            let Some(Ok(policy)) = &pod.class else { unreachable!("it has a class") };
            for (name, to) in &wanted.sizes {
                let from = old[name];
                prop_assert_ne!(from, *to);
                let grew = pod.seen.get(name).map(|seen| [seen.cpu.since_growth, seen.memory.since_growth]).unwrap_or_default();
                let cooldowns = [policy.up_cooldown, Duration::from_secs(5)];
                for (n, (from, to)) in [(from.cpu, to.cpu), (from.memory, to.memory)].into_iter().enumerate() {
                    let waits = grew[n].is_some_and(|grew| grew < cooldowns[n]);
                    prop_assert!(!waits || (to.request <= from.request && to.limit <= from.limit), "{from:?} -> {to:?} after {grew:?}");
                }
                for (from, to, of_class, all, step, range) in [
                    (from.cpu, to.cpu, &policy.cpu, allocatable, 10, ranges.container.cpu),
                    (from.memory, to.memory, &policy.memory, gib * GI, 4 * MI, ranges.container.memory),
                ] {
                    prop_assert_eq!(from.request.is_some(), to.request.is_some());
                    prop_assert_eq!(from.limit.is_some(), to.limit.is_some());
                    prop_assert!(to.limit.is_none_or(|limit| to.request.unwrap_or(0) <= limit));
                    prop_assert_eq!(from.request == from.limit, to.request == to.limit);
                    let bounds = bounds(of_class, from, from, Some(all), UserBounds::default(), range);
                    for (from, to, bounds) in [(from.request, to.request, bounds.request), (from.limit, to.limit, bounds.limit)] {
                        let Some((from, to)) = from.zip(to).filter(|(from, to)| from != to) else { continue };
                        // What starts outside comes nearer.
                        let within = if to > from { to <= bounds.max } else { to >= bounds.min };
                        prop_assert!(within, "{from} -> {to}, {bounds:?}");
                        prop_assert!(to <= 2 * from && from <= 2 * to, "{from} -> {to}");
                        prop_assert!(from.abs_diff(to) >= (from / 20).min(step), "{from} -> {to}");
                    }
                }
                let grown = |from: Option<u64>, to: Option<u64>| to.unwrap_or(0).saturating_sub(from.unwrap_or(0));
                cpu += grown(from.cpu.request, to.cpu.request);
                memory += grown(from.memory.request, to.memory.request);
                memory_limits += grown(from.memory.limit, to.memory.limit);
            }
        }
        prop_assert!(cpu <= left.cpu.unwrap(), "{cpu} of {left:?}");
        prop_assert!(cpu <= quota.unwrap_or(u64::MAX), "{cpu} of {quota:?}");
        prop_assert!(memory <= left.memory.unwrap(), "{memory} of {left:?}");
        prop_assert!(memory_limits <= left.free_memory.unwrap(), "{memory_limits} of {left:?}");
    }

    #[test]
    fn another_pod_changes_no_score_and_no_need(made in prop::collection::vec(pods(), 2..8)) {
        let pods: Vec<TestPod> = made.into_iter().enumerate().map(|(n, pod)| build(n, pod)).collect();
        let node = |pods: &[TestPod]| TestNode::new(1_000_000, 1024 * GI).with(pods.iter().cloned());
        let (with, without) = (node(&pods).plan(Division::Tiered), node(&pods[1..]).plan(Division::Tiered));
        let score = |line: &str| line.split_once('[').map(|(_, rest)| rest.split(']').next().unwrap_or_default().to_owned());
        for (name, verdict) in without {
            let other = &with[&name];
            prop_assert_eq!(
                verdict.sizing.iter().map(|said| (said.verdict, score(&said.line))).collect::<Vec<_>>(),
                other.sizing.iter().map(|said| (said.verdict, score(&said.line))).collect::<Vec<_>>()
            );
        }
    }

    /// Of one need, for which the node has no room. Throttling is measured 2 s after a growth.
    #[test]
    fn between_two_growths_of_a_gold_pod_bronze_gets_only_what_its_next_step_leaves(
        starts in prop::array::uniform2(5..40_u64),
        need in 50..400_u64,
        headroom in 0..400_u64,
        bronze_begins in 0..90_u64,
    ) {
        let ([gold, bronze], need, headroom) = (starts.map(|start| start * 10), need * 10, headroom * 10);
        let pods = [burner("gold", "gold", gold), burner("bronze", "bronze", bronze)];
        let mut node = TestNode::new(20_000, 16 * GI).with_headroom(headroom, pods);
        let request = |pod: &TestPod| sizes_of(&pod.facts.containers[0].spec).cpu.request.unwrap();
        let sizes = |node: &TestNode| {
            ["gold", "bronze"].map(|name| request(node.pods.iter().find(|pod| &*pod.facts.pod.name == name).unwrap()))
        };
        // When, and from which size.
        let mut grew: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for second in 0..200 {
            for pod in node.pods.iter_mut().filter(|pod| pod.class.is_some()) {
                let name = pod.facts.pod.name.to_string();
                let (limit, since) = (request(pod), grew.get(&name).map(|(at, _)| second - at));
                let need = if name == "bronze" && second < bronze_begins { bronze / 2 } else { need };
                let (recent, from) = grew.get(&name).map_or((3, limit), |(at, from)| ((second - at).min(3), *from));
                let mean3 = (need.min(from) * (3 - recent) + need.min(limit) * recent) / 3;
                *pod = pod.clone().uses(mean3, 16 * MI);
                let report = &mut pod.reports[0];
                report.window = Some(1.0);
                let throttled = if need > limit { 0.9 } else { 0.0 };
                report.cpu.throttled2 = Some(throttled).filter(|_| since.is_none_or(|since| since >= 2));
                report.cpu.throttled3 = Some(throttled).filter(|_| since.is_none_or(|since| since >= 3));
                pod.seen_mut(&name).cpu.since_growth = since.map(Duration::from_secs);
            }
            let before = sizes(&node);
            let plan = node.plan(Division::Tiered);
            for pod in &mut node.pods {
                let name = pod.facts.pod.name.to_string();
                if let Some(wanted) = plan.get(&name).and_then(|verdict| any_wanted(&verdict.outcome)) {
                    grew.insert(name, (second, request(pod)));
                    *pod = resized(pod.clone(), &wanted.sizes);
                }
            }
            let after = sizes(&node);
            prop_assert!(after.iter().sum::<u64>() <= gold + bronze + headroom, "{after:?}");
            let since = grew.get("gold").map(|(at, _)| second - at);
            let may_need_more = since.is_some_and(|since| (1..10).contains(&since) && (since < 2 || need > before[0]));
            let left = gold + bronze + headroom - before.iter().sum::<u64>();
            // It doubles, unless what is left is less than a change of 5 %.
            if may_need_more && left >= before[0].div_ceil(20).next_multiple_of(10) {
                let given = after[1].saturating_sub(before[1]);
                prop_assert!(given <= left.saturating_sub(before[0]), "{before:?} -> {after:?} of {left}, {since:?} s after");
            }
        }
    }

    #[test]
    fn the_same_node_has_the_same_plan(made in prop::collection::vec(pods(), 0..8)) {
        let node = TestNode::new(4000, 8 * GI).with(made.into_iter().enumerate().map(|(n, pod)| build(n, pod)));
        prop_assert_eq!(node.plan(Division::Weighted), node.plan(Division::Weighted));
    }

    #[test]
    fn a_recommended_decrease_is_where_apply_mode_ends_step_by_step_and_from_there_nothing_decreases(
        made in prop::collection::vec(idle_containers(), 1..4),
        class in prop::sample::select(vec!["silver", "bronze"]),
        decrease in any::<bool>(),
        least in 0..100_u32,
        autoscaled in any::<bool>(),
        owner in prop::option::of(10..2000_u64),
        ranges in limit_ranges(),
    ) {
        let mut pod = build(0, (Some(class), decrease, made));
        for (name, original) in spec(&pod) {
            let seen = pod.seen_mut(&name);
            seen.original = Some(original);
            seen.cpu.autoscaler = autoscaled.then_some("web-hpa");
            seen.cpu.bounds = Some(Ok(UserBounds { min: owner, max: None }));
        }
        let outcome = |pod: &TestPod, mode: Mode| {
            let mut pod = pod.clone();
            let Some(Ok(policy)) = &mut pod.class else { unreachable!("it has a class") };
            (policy.mode, policy.cpu.min_allowed) = (mode, Bound::OfOriginal(least));
            let mut node = TestNode::new(1_000_000, 1024 * GI).with([pod]);
            node.limit_ranges = ranges;
            node.outcome("pod-0")
        };
        // What begins outside a range is applied only where one step leads within, and recommended where all of them do.
        let sizes = spec(&pod);
        let begins_within = !breaks(ranges.pod.cpu, sums(&sizes))
            && sizes.values().all(|sizes| !breaks(ranges.container.cpu, sizes.cpu));
        let (mut applied, mut steps) = (pod.clone(), 0);
        while let Outcome::Wanted(wanted) = outcome(&applied, Mode::Apply) {
            prop_assume!(wanted.purpose == Purpose::Shrink);
            (applied, steps) = (resized(applied, &wanted.sizes), steps + 1);
            prop_assert!(steps < 200, "it never ends: {wanted:?}");
        }
        let recommended = match outcome(&pod, Mode::Recommend) {
            Outcome::Recommended(wanted) => resized(pod, &wanted.sizes),
            _ => pod,
        };
        if begins_within {
            prop_assert_eq!(spec(&recommended), spec(&applied), "after {} steps", steps);
            let next = outcome(&recommended, Mode::Recommend);
            prop_assert!(!matches!(next, Outcome::Recommended(_)), "{next:?}");
        }
    }
}
