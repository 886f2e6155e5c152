//! What is kept for a growth that waits, and what is not.

use plimsoll_sizing::policy::Mode;

use super::*;
use crate::facts::{Range, Ranges};
use crate::plan::resize::view::ValueQuotas;
use crate::state::QuotaRoom;

/// Two burners, of which the gold one grew so many seconds ago.
fn gold_waits(name: &str, since_growth: u64) -> TestPod {
    let mut pod = burner(name, "gold", 500);
    pod.seen_mut(name).cpu.since_growth = Some(Duration::from_secs(since_growth));
    pod
}

#[test]
fn what_a_gold_pod_is_about_to_ask_for_is_kept_from_bronze_and_both_say_so() {
    let plan = |headroom: u64, gold: TestPod| {
        let pods = [gold, burner("bronze", "bronze", 200)];
        TestNode::new(20_000, 16 * GI).with_headroom(headroom, pods).plan(Division::Tiered)
    };
    let short = plan(550, gold_waits("gold", 4));
    assert_eq!(granted(&short["bronze"], &burner("bronze", "bronze", 200)), 50, "what is over");
    let none = plan(500, gold_waits("gold", 4));
    let until = NOW + Duration::from_secs(6);
    assert_eq!(none["gold"].outcome, Outcome::Waiting(Refusal::Cooldown(until)));
    assert_eq!(none["bronze"].outcome, Outcome::Waiting(Refusal::RoomKept));
    let lines = ["gold", "bronze"].map(|name| none[name].sizing[0].line.as_str());
    assert_eq!(
        lines,
        [
            "gold cpu: would be +500m (500->1000) (throttled in 50 % of the periods), but it grew too recently: may grow again in 6 s",
            "bronze cpu: would be +100m (200->300) (throttled in 50 % of the periods), but what is left is kept for pods that grew a moment ago and may need more within 30 s",
        ]
    );
    let served = plan(500, gold_waits("gold", 10));
    assert_eq!(granted(&served["gold"], &burner("gold", "gold", 500)), 450);
    assert_eq!(granted(&served["bronze"], &burner("bronze", "bronze", 200)), 50, "its tenth");
}

#[test]
fn nothing_is_kept_for_a_longer_wait_for_what_is_refused_or_from_pods_of_the_same_class() {
    let bronze = |gold: TestPod, other: &str| {
        let other = burner("other", other, 500);
        let node = TestNode::new(20_000, 16 * GI).with_headroom(500, [gold, other.clone()]);
        granted(&node.verdict("other"), &other)
    };
    assert_eq!(bronze(gold_waits("gold", 4), "bronze"), 0);
    assert_eq!(bronze(gold_waits("gold", 4), "gold"), 500, "it has not grown just now");
    let patient = |cooldown: u64| {
        let mut gold = gold_waits("gold", 0);
        let Some(Ok(policy)) = &mut gold.class else { unreachable!("it has a class") };
        policy.up_cooldown = Duration::from_secs(cooldown);
        bronze(gold, "bronze")
    };
    assert_eq!([30, 31].map(patient), [0, 250], "room is not left unused for long");
    let mut late = gold_waits("gold", 4);
    late.report_age = Some(Duration::from_secs(4));
    assert_eq!(bronze(late, "bronze"), 250, "nobody knows that it needs it still");
    let mut yields = gold_waits("gold", 4);
    yields.blocked = Some(Blocked::Yielding { owner: "operator".into(), until: NOW });
    assert_eq!(bronze(yields, "bronze"), 250);
    let mut fits = gold_waits("gold", 4);
    fits = fits.uses(100, 16 * MI);
    assert_eq!(bronze(fits, "bronze"), 250);
}

#[test]
fn right_after_a_growth_a_step_is_kept_until_it_is_measured_whether_it_is_needed() {
    let bronze = |throttled: Option<f64>, since_growth: u64| {
        let mut gold = gold_waits("gold", since_growth).uses(250, 16 * MI);
        let cpu = &mut gold.reports[0].cpu;
        (cpu.throttled2, cpu.throttled3) = (throttled, throttled);
        let other = burner("other", "bronze", 500);
        let node = TestNode::new(20_000, 16 * GI).with_headroom(500, [gold, other.clone()]);
        granted(&node.verdict("other"), &other)
    };
    assert_eq!(bronze(None, 1), 0);
    assert_eq!([9, 10].map(|since| bronze(None, since)), [0, 250], "after its cooldown it has had its turn");
    assert_eq!(bronze(Some(0.0), 3), 250, "it is enough");
    assert_eq!(bronze(Some(0.3), 3), 200, "it needs 300m");
}

#[test]
fn it_is_kept_beside_the_resize_in_flight_that_began_the_cooldown_and_nothing_is_booked_twice() {
    let given = |headroom: u64, spec: u64, since_growth: Option<u64>| {
        let mut gold = burner("gold", "gold", spec);
        gold.seen_mut("gold").cpu.since_growth = since_growth.map(Duration::from_secs);
        gold.in_flight = true;
        gold.in_flight(Resource::Cpu, size(400, 400), size(800, 800));
        let other = burner("other", "bronze", 500);
        let node = TestNode::new(20_000, 16 * GI).with_headroom(headroom, [gold, other.clone()]);
        let plan = node.plan(Division::Tiered);
        assert_eq!(plan["gold"].outcome, Outcome::Refused(Refusal::InFlight));
        granted(&plan["other"], &other)
    };
    // The headroom is what is left beside the larger of both sizes.
    assert_eq!(given(100, 800, Some(1)), 0, "it is accepted, and the pod is still throttled");
    assert_eq!(given(100, 400, Some(1)), 100, "accepted, and not seen yet: one step more is what is booked");
    assert_eq!(given(800 + 250, 800, Some(1)), 250);
    assert_eq!(given(100, 800, Some(10)), 100, "a kubelet that does not act keeps nothing from others");
    assert_eq!(given(100, 400, None), 100, "nor does a way back that is not accepted");
}

#[test]
fn memory_is_kept_only_for_what_is_about_to_reach_its_limit() {
    let pod = |name: &str, class: &str| {
        let mut pod = TestPod::new(name, Some(class));
        let Some(Ok(policy)) = &mut pod.class else { unreachable!("it has a class") };
        policy.cpu.allow_decrease = false;
        let pod = pod.container(name, size(100, 200), size(200 * MI, 200 * MI));
        pod.uses(50, 190 * MI)
    };
    let given = |change: fn(&mut TestPod)| {
        let mut gold = pod("gold", "gold");
        gold.seen_mut("gold").memory.since_growth = Some(Duration::from_secs(2));
        change(&mut gold);
        let mut node = TestNode::new(8000, 16 * GI).with([gold, pod("bronze", "bronze")]);
        node.capacity.as_mut().unwrap().available_bytes = Some(Bytes(16 * GI / 100 * 5 + 60 * MI));
        node.outcome("bronze")
    };
    assert_eq!(given(|_| ()), Outcome::Waiting(Refusal::RoomKept));
    // It hit its new limit already.
    assert_eq!(given(|gold| gold.seen_mut("gold").events.max = Some(1)), Outcome::Waiting(Refusal::RoomKept));
    let changes: [fn(&mut TestPod); 3] = [
        |gold| gold.seen_mut("gold").memory.since_growth = Some(Duration::from_secs(6)),
        // It was killed before it grew: that is known until the growth is verified.
        |gold| {
            *gold = gold.clone().uses(50, 120 * MI);
            gold.seen_mut("gold").events.oom_kill = Some(1);
        },
        |gold| {
            *gold = gold.clone().uses(50, 120 * MI);
            gold.reports[0].memory.pressure = Some(50.0);
        },
    ];
    let [now, killed, waits] = changes.map(given);
    assert_eq!(now, Outcome::Waiting(Refusal::NoRoom), "gold takes it");
    for given in [killed, waits] {
        assert_eq!(wanted(given).sizes["bronze"].memory.limit, Some(224 * MI), "all that it needs");
    }
}

#[test]
fn a_wait_hides_no_refusal_and_what_is_not_measured_yet_is_none() {
    let pod = TestPod::new("web", Some("gold")).container("app", size(500, 500), size(200 * MI, 200 * MI));
    let mut pod = pod.burning(0.5, 1.0, 30.0, 60);
    pod.seen_mut("app").cpu.since_growth = Some(Duration::from_secs(4));
    let node = TestNode::new(8000, 16 * GI).with([pod.clone()]);
    assert_eq!(node.outcome("web"), Outcome::Waiting(Refusal::Cooldown(NOW + Duration::from_secs(6))));
    let memory = &mut pod.reports[0].memory;
    memory.unreclaimable2 = Some(Bytes(195 * MI));
    memory.unreclaimable = memory.unreclaimable2;
    let mut node = TestNode::new(8000, 16 * GI).with([pod.clone()]);
    node.capacity.as_mut().unwrap().available_bytes = Some(Bytes(0));
    assert_eq!(node.outcome("web"), Outcome::Waiting(Refusal::NoRoom));

    let mut pod = gold_waits("web", 2).uses(250, 16 * MI);
    (pod.reports[0].cpu.throttled2, pod.reports[0].cpu.throttled3) = (None, None);
    for age in [0, 5] {
        pod.report_age = Some(Duration::from_secs(age));
        let verdict = TestNode::new(8000, 16 * GI).with([pod.clone()]).verdict("web");
        assert_eq!((verdict.outcome, &verdict.sizing[0].refused), (Outcome::Fits, &None));
        let said = "web cpu: may need +500m (500->1000) more: it grew, and is not measured yet since";
        assert_eq!(verdict.sizing[0].line, said);
    }
}

#[test]
fn what_is_kept_is_named_only_where_it_would_help_and_recommendations_are_for_longer() {
    let outcome = |kept: u64, division: Division| {
        let mut gold = gold_waits("gold", 4);
        gold.reports[0].cpu.throttled2 = Some(0.0);
        gold.reports[0].cpu.throttled3 = Some(0.0);
        // It needs so much more.
        gold.reports[0].cpu.p95 = Some(cores((500 + kept) * 6 / 10));
        let node =
            TestNode::new(20_000, 16 * GI).with_headroom(kept, [gold, burner("other", "bronze", 1000)]);
        node.plan(division).remove("other").unwrap().outcome
    };
    assert_eq!(outcome(100, Division::Tiered), Outcome::Waiting(Refusal::RoomKept));
    assert_eq!(outcome(40, Division::Tiered), Outcome::Waiting(Refusal::NoRoom), "less than 5 % of its size");
    assert_eq!(outcome(100, Division::Weighted), Outcome::Waiting(Refusal::RoomKept));

    let mut only = burner("only", "bronze", 1000);
    let Some(Ok(policy)) = &mut only.class else { panic!("it has a class") };
    policy.mode = Mode::Recommend;
    let node = TestNode::new(20_000, 16 * GI).with_headroom(500, [gold_waits("gold", 4), only]);
    let Outcome::Recommended(wanted) = node.outcome("only") else { panic!("{:?}", node.outcome("only")) };
    assert_eq!(wanted.sizes["only"].cpu, size(1500, 1500));
}

#[test]
fn a_quota_is_kept_too_and_what_waits_is_not_counted_in_the_resize_of_another_container() {
    let quota = Some(QuotaRoom { quota: "team", left: Some(500) });
    let bounded = |mut pod: TestPod| {
        pod.quotas = PodQuotas { cpu: ValueQuotas { requests: quota, limits: None }, ..PodQuotas::default() };
        pod
    };
    let node = TestNode::new(20_000, 16 * GI)
        .with([bounded(gold_waits("gold", 4)), bounded(burner("bronze", "bronze", 200))]);
    assert_eq!(node.outcome("bronze"), Outcome::Waiting(Refusal::RoomKept));

    // In a LimitRange of pods there is room for one of two containers.
    let pod = TestPod::new("web", Some("gold"))
        .container("waits", size(500, 500), size(64 * MI, 64 * MI))
        .burning(0.5, 1.0, 30.0, 60);
    let mut pod = pod.container("app", size(500, 500), size(64 * MI, 64 * MI)).burning(0.5, 1.0, 30.0, 60);
    pod.seen_mut("waits").cpu.since_growth = Some(Duration::from_secs(4));
    let mut node = TestNode::new(8000, 16 * GI).with([pod]);
    let cpu = Range { max: Some(1500), ..Range::default() };
    node.limit_ranges.pod = Ranges { cpu, memory: Range::default() };
    let sizes = node.wanted("web").sizes;
    assert_eq!((sizes["app"].cpu, sizes.len()), (size(1000, 1000), 1));
}
