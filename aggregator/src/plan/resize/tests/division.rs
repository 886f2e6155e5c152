//! Who gets what.

use super::*;
use crate::facts::{Range, Ranges};
use crate::plan::resize::view::ValueQuotas;
use crate::state::QuotaRoom;
use plimsoll_sizing::policy::Mode;

/// The pods of `reference/seed-systems.md` 2.3; `db` fits.
fn api() -> TestPod {
    let pod = TestPod::new("api", Some("gold"));
    pod.container("api", size(500, 500), size(64 * MI, 64 * MI)).burning(0.20, 0.82, 12.0, 120)
}

fn web() -> TestPod {
    let pod = TestPod::new("web", Some("silver")).container("web", size(500, 500), size(64 * MI, 64 * MI));
    let mut pod = pod.burning(0.45, 0.99, 40.0, 300);
    pod.reports[0].cpu.p95 = Some(cores(500));
    pod
}

fn batch() -> TestPod {
    let pod = TestPod::new("batch", Some("bronze"));
    pod.container("batch", size(2000, 2000), size(64 * MI, 64 * MI)).burning(0.50, 1.0, 50.0, 300)
}

fn db() -> TestPod {
    let pod = TestPod::new("db", Some("gold"));
    pod.container("db", size(500, 500), size(64 * MI, 64 * MI)).burning(0.0, 0.60, 2.0, 0)
}

/// What api, web and batch get.
fn shares(headroom: u64, division: Division) -> [u64; 3] {
    let node = TestNode::new(20_000, 16 * GI).with_headroom(headroom, [api(), web(), batch(), db()]);
    let plan = node.plan(division);
    [api(), web(), batch()].map(|pod| granted(&plan[pod.facts.pod.name.as_ref()], &pod))
}

#[test]
fn weighted_division_gives_each_by_urgency_and_weight_as_the_golden_vectors_say() {
    assert_eq!(shares(600, Division::Weighted), [240, 230, 130]);
    assert_eq!(shares(1000, Division::Weighted), [390, 390, 220]);
    assert_eq!(shares(2500, Division::Weighted), [500, 500, 1000]);
}

#[test]
fn tiered_division_serves_one_class_after_the_other_as_the_golden_vectors_say() {
    assert_eq!(
        shares(600, Division::Tiered),
        [500, 100, 0],
        "10m, a tenth of what silver finds, are of no use to bronze"
    );
    assert_eq!(shares(1000, Division::Tiered), [500, 500, 0]);
    assert_eq!(shares(2500, Division::Tiered), [500, 500, 1000]);
}

#[test]
fn tiered_division_leaves_a_tenth_to_the_lower_classes_where_it_is_of_use() {
    let node = TestNode::new(8000, 16 * GI)
        .with_headroom(1000, [burner("gold", "gold", 1000), burner("bronze", "bronze", 1000)]);
    let plan = node.plan(Division::Tiered);
    assert_eq!(granted(&plan["gold"], &burner("gold", "gold", 1000)), 900);
    assert_eq!(granted(&plan["bronze"], &burner("bronze", "bronze", 1000)), 100);
}

#[test]
fn the_arithmetic_of_a_share_is_said() {
    let node = TestNode::new(20_000, 16 * GI).with_headroom(1000, [api(), web(), batch(), db()]);
    let verdict = node.plan(Division::Weighted).remove("api").unwrap();
    let line = &verdict.sizing[0].line;
    let said = "api +390m (500->890): U 0.45 [throttle .40x.42, util .82x.23, psi .24x.23, high .40x.12], gold, headroom 1000m shared with 2";
    assert_eq!(line.strip_suffix(", not more: the node has no room"), Some(said), "{line}");
    assert_eq!(wanted(verdict.outcome.clone()).why.first(), Some(line));
}

#[test]
fn of_two_burners_with_headroom_for_one_gold_is_served_and_bronze_waits_and_says_so() {
    let pods = [burner("a-bronze", "bronze", 3000), burner("z-gold", "gold", 1000)];
    let node = TestNode::new(20_000, 16 * GI).with_headroom(1000, pods);
    let plan = node.plan(Division::Tiered);
    let gold = wanted(plan["z-gold"].outcome.clone());
    let said = "z-gold +1000m (1000->2000): U 1.00 [throttle 1.00x.42, util 1.00x.23, psi 1.00x.23, high 1.00x.12], gold, headroom 1000m shared with 1";
    assert_eq!(gold.why, [said]);
    assert_eq!(plan["a-bronze"].outcome, Outcome::Waiting(Refusal::NoRoom));
    let line = &plan["a-bronze"].sizing[0].line;
    let said = "a-bronze cpu: would be +1500m (3000->4500) (throttled in 50 % of the periods), but the node has no room";
    assert_eq!(line, said);
}

#[test]
fn three_pods_that_each_want_a_core_share_the_one_that_is_free() {
    let node = TestNode::new(8000, 16 * GI)
        .with_headroom(1000, ["a", "b", "c"].map(|name| burner(name, "gold", 1000)));
    for division in [Division::Tiered, Division::Weighted] {
        let plan = node.plan(division);
        let sum: u64 =
            node.pods.iter().filter_map(|pod| Some(granted(plan.get(&*pod.facts.pod.name)?, pod))).sum();
        assert!((900..=1000).contains(&sum), "{division:?}: {sum}");
    }
}

#[test]
fn a_limit_of_cpu_grows_without_headroom_and_a_limit_of_memory_only_into_free_memory() {
    let cpu = TestPod::new("cpu", Some("gold")).container("app", size(600, 700), size(64 * MI, 64 * MI));
    let node = TestNode::new(8000, 16 * GI).with_headroom(0, [cpu.burning(0.4, 0.9, 10.0, 60)]);
    assert_eq!(node.wanted("cpu").sizes["app"].cpu, size(600, 1400), "the request waits for room");

    let memory = |free: u64| {
        let pod =
            TestPod::new("memory", Some("gold")).container("app", size(100, 200), size(200 * MI, 256 * MI));
        let mut node = TestNode::new(8000, 16 * GI).with([pod.uses(50, 240 * MI)]);
        node.capacity.as_mut().unwrap().available_bytes = Some(Bytes(16 * GI / 100 * 5 + free));
        node
    };
    let grown = memory(GI).wanted("memory").sizes["app"].memory;
    assert_eq!(grown, size(300 * MI, 344 * MI));
    let grown = memory(40 * MI).wanted("memory").sizes["app"].memory;
    assert_eq!(grown.limit, Some(296 * MI), "as much as is free");
    assert_eq!(memory(0).wanted("memory").sizes["app"].memory.limit, Some(256 * MI));
    let mut unknown = memory(GI);
    unknown.capacity.as_mut().unwrap().available_bytes = None;
    let verdict = unknown.verdict("memory");
    assert_eq!(verdict.sizing[1].refused, Some(Refusal::RoomUnknown), "what is not said is not free");
}

#[test]
fn memory_whose_request_is_its_limit_needs_headroom_and_free_memory() {
    let pod = || {
        TestPod::new("web", Some("gold"))
            .container("app", size(100, 100), size(256 * MI, 256 * MI))
            .uses(30, 240 * MI)
    };
    let node = TestNode::new(8000, 16 * GI).with([pod()]);
    assert_eq!(node.wanted("web").sizes["app"].memory, size(344 * MI, 344 * MI));
    let mut full = node.clone();
    let filler = TestPod::new("filler", None).container("app", Size::default(), size(16 * GI - GI, None));
    full = full.with([filler]);
    assert_eq!(full.outcome("web"), Outcome::Waiting(Refusal::NoRoom));
    let mut used = node;
    used.capacity.as_mut().unwrap().available_bytes = Some(Bytes(GI / 2));
    assert_eq!(used.outcome("web"), Outcome::Waiting(Refusal::NoRoom), "pods that request little use it");
}

#[test]
fn of_five_pods_that_each_want_100m_a_quota_of_200m_lets_two_grow() {
    let quota = |left| ValueQuotas { requests: Some(QuotaRoom { quota: "team", left }), limits: None };
    let pods = |left| {
        (0..5).map(move |n| {
            let mut pod =
                burner(&format!("web-{n}"), "gold", 100).burning(0.1 * f64::from(n + 1), 1.0, 20.0, 60);
            pod.quotas = PodQuotas { cpu: quota(left), ..PodQuotas::default() };
            pod
        })
    };
    let node = TestNode::new(8000, 16 * GI).with(pods(Some(200)));
    for division in [Division::Tiered, Division::Weighted] {
        let plan = node.plan(division);
        let grown: Vec<&str> = node
            .pods
            .iter()
            .filter(|pod| granted(&plan[&*pod.facts.pod.name], pod) > 0)
            .map(|pod| &*pod.facts.pod.name)
            .collect();
        assert_eq!(grown, ["web-3", "web-4"], "the most urgent");
        assert_eq!(plan["web-0"].outcome, Outcome::Waiting(Refusal::Quota));
    }
    let uncounted = TestNode::new(8000, 16 * GI).with(pods(None));
    assert_eq!(
        uncounted.outcome("web-4"),
        Outcome::Waiting(Refusal::Quota),
        "what is not counted may be used up"
    );
}

#[test]
fn a_request_that_gets_less_keeps_its_ratio_to_the_limit() {
    let outcome = |of_pod: bool, headroom: u64, quota: u64| {
        let mut pod = TestPod::new("web", Some("gold"))
            .container("app", size(500, 1000), size(64 * MI, 64 * MI))
            .burning(0.5, 1.0, 30.0, 60);
        let requests = Some(QuotaRoom { quota: "team", left: Some(quota) });
        pod.quotas = PodQuotas { cpu: ValueQuotas { requests, limits: None }, ..PodQuotas::default() };
        let mut node = TestNode::new(8000, 16 * GI).with_headroom(headroom, [pod]);
        let cpu = Range { max_ratio: Some(2.0), ..Range::default() };
        let ranges = Ranges { cpu, memory: Range::default() };
        match of_pod {
            true => node.limit_ranges.pod = ranges,
            false => node.limit_ranges.container = ranges,
        }
        node.outcome("web")
    };
    for of_pod in [false, true] {
        let cpu = |headroom, quota| wanted(outcome(of_pod, headroom, quota)).sizes["app"].cpu;
        assert_eq!(cpu(1000, 1000), size(1000, 2000));
        assert_eq!(cpu(100, 1000), size(600, 1200));
        assert_eq!(cpu(1000, 100), size(600, 1200));
        for (headroom, quota) in [(0, 1000), (1000, 0)] {
            assert_eq!(outcome(of_pod, headroom, quota), Outcome::Waiting(Refusal::LimitRange));
        }
    }
}

#[test]
fn only_recommended_pods_take_nothing_from_the_others_and_are_told_what_is_left() {
    let mut only = burner("a-only", "gold", 1000);
    let Some(Ok(policy)) = &mut only.class else { panic!("it has a class") };
    policy.mode = Mode::Recommend;
    let node = TestNode::new(8000, 16 * GI).with_headroom(1600, [only, burner("b-applied", "bronze", 2000)]);
    let plan = node.plan(Division::Tiered);
    assert_eq!(granted(&plan["b-applied"], &burner("b-applied", "bronze", 2000)), 1000);
    let Outcome::Recommended(wanted) = &plan["a-only"].outcome else { panic!("{:?}", plan["a-only"]) };
    assert_eq!(wanted.sizes["a-only"].cpu, size(1600, 1600));
}

#[test]
fn a_pod_that_must_grow_and_could_shrink_grows_first() {
    let pod = TestPod::new("web", Some("bronze"))
        .container("idle", size(500, 500), size(64 * MI, 64 * MI))
        .uses(20, 32 * MI);
    let pod = pod.container("busy", size(500, 500), size(64 * MI, 64 * MI)).burning(0.5, 1.0, 20.0, 60);
    let room = TestNode::new(8000, 16 * GI).with([pod.clone()]).wanted("web");
    assert_eq!(
        (room.purpose, room.sizes.keys().map(String::as_str).collect::<Vec<_>>()),
        (Purpose::Grow, vec!["busy"])
    );
    let full = TestNode::new(8000, 16 * GI).with_headroom(0, [pod]).wanted("web");
    assert_eq!(
        (full.purpose, full.sizes.keys().map(String::as_str).collect::<Vec<_>>()),
        (Purpose::Shrink, vec!["idle"])
    );
}

#[test]
fn what_a_shrink_frees_counts_once_the_node_has_it_back() {
    let idle = || {
        TestPod::new("idle", Some("bronze"))
            .container("app", size(500, 500), size(64 * MI, 64 * MI))
            .uses(20, 32 * MI)
    };
    let node = TestNode::new(8000, 16 * GI).with_headroom(0, [idle(), burner("web", "gold", 100)]);
    assert_eq!(node.outcome("web"), Outcome::Waiting(Refusal::NoRoom), "planned is not freed");
    let mut asked = node.clone();
    let pod = asked.pods.iter_mut().find(|pod| &*pod.facts.pod.name == "idle").unwrap();
    pod.facts.containers[0].spec.cpu_request = Some(cores(400));
    pod.in_flight = true;
    assert_eq!(asked.outcome("web"), Outcome::Waiting(Refusal::NoRoom), "the kubelet has it allocated");
    let pod = asked.pods.iter_mut().find(|pod| &*pod.facts.pod.name == "idle").unwrap();
    let container = &mut pod.facts.containers[0];
    container.allocated = Some(container.spec);
    container.actual = Some(container.spec);
    assert_eq!(granted(&asked.verdict("web"), &burner("web", "gold", 100)), 100);
}

#[test]
fn what_is_to_come_within_a_limit_range_takes_no_part_of_the_way() {
    let plan = |headroom: u64| {
        let pods = [burner("gold", "gold", 100), burner("bronze", "bronze", 200)];
        let mut node = TestNode::new(8000, 16 * GI).with_headroom(headroom, pods);
        // It is newer than the gold pod.
        node.limit_ranges.container.cpu = Range { min: Some(200), ..Range::default() };
        node.plan(Division::Tiered)
    };
    let given = |plan: &BTreeMap<String, PodVerdict>| {
        ["gold", "bronze"]
            .map(|name| granted(&plan[name], &burner(name, "gold", if name == "gold" { 100 } else { 200 })))
    };
    assert_eq!(given(&plan(200)), [100, 100]);
    assert_eq!(given(&plan(105)), [100, 0], "a tenth less would be of no use");
    let short = plan(60);
    assert_eq!(given(&short), [0, 60]);
    assert_eq!(short["gold"].outcome, Outcome::Waiting(Refusal::NoRoom));

    let alone = |headroom: u64| {
        let mut node = TestNode::new(8000, 16 * GI).with_headroom(headroom, [burner("web", "gold", 150)]);
        node.limit_ranges.container.cpu = Range { min: Some(200), ..Range::default() };
        granted(&node.verdict("web"), &burner("web", "gold", 150))
    };
    assert_eq!([40, 100].map(alone), [0, 100], "part of what it wants is within");

    // Of a pod: two burners, of which the gold one comes within its range only with all that it wants.
    let pods = || [burner("gold", "gold", 200), burner("bronze", "bronze", 400)];
    let mut of_pod = TestNode::new(8000, 16 * GI).with_headroom(100, pods());
    of_pod.limit_ranges.pod.cpu = Range { min: Some(400), ..Range::default() };
    let plan = of_pod.plan(Division::Tiered);
    assert_eq!(pods().map(|pod| granted(&plan[&*pod.facts.pod.name], &pod)), [0, 100]);
    // A quota leaves less than the way to the range.
    let mut gold = burner("gold", "gold", 100);
    let requests = Some(QuotaRoom { quota: "team", left: Some(60) });
    gold.quotas = PodQuotas { cpu: ValueQuotas { requests, limits: None }, ..PodQuotas::default() };
    let bronze = burner("bronze", "bronze", 200);
    let mut limited = TestNode::new(8000, 16 * GI).with_headroom(60, [gold, bronze.clone()]);
    limited.limit_ranges.container.cpu = Range { min: Some(200), ..Range::default() };
    let plan = limited.plan(Division::Tiered);
    assert_eq!(plan["gold"].outcome, Outcome::Waiting(Refusal::LimitRange));
    assert_eq!(granted(&plan["bronze"], &bronze), 60);
}
