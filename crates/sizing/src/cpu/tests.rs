use super::*;
use crate::policy::{ControlledValues, Policy, ResourcePolicy};
use crate::size::{QosClass, Sizes, qos};
use plimsoll_contract::Cores;

mod field;
mod page;
mod properties;

const HOUR: Duration = Duration::from_secs(3600);

fn size(request: impl Into<Option<u64>>, limit: impl Into<Option<u64>>) -> Size {
    Size { request: request.into(), limit: limit.into() }
}

/// A container that has been watched for a day, in which nothing happened.
fn input<'a>(class: &'a Policy, size: Size, usage: &'a ContainerCpu) -> CpuInput<'a> {
    CpuInput {
        policy: &class.cpu,
        up_cooldown: class.up_cooldown,
        down_hold: class.down_hold,
        size,
        bounds: class.cpu.bounds(size, size, Some(16_000)),
        request_kept: false,
        usage,
        window: Some(24 * HOUR),
        since_growth: None,
        since_shrink: None,
        grown_for: None,
        throttled_to: None,
        since_pressure: None,
    }
}

/// Steady use of this much, relative to this basis, cores.
fn steady(cores: f64, basis: f64) -> ContainerCpu {
    ContainerCpu {
        throttled2: Some(0.0),
        throttled3: Some(0.0),
        mean3: Some(Cores(cores)),
        utilization3: Some(cores / basis),
        p95: Some(Cores(cores)),
        peak: Some(Cores(cores)),
        pressure: Some(0.0),
        bound_by: Some(BoundBy::None),
        ..ContainerCpu::default()
    }
}

fn throttled(cores: f64, limit: f64, share: f64) -> ContainerCpu {
    ContainerCpu { throttled2: Some(share), throttled3: Some(share), ..steady(cores, limit) }
}

fn class(name: &str) -> Policy {
    Policy::builtin(name).unwrap()
}

fn grown(verdict: Verdict) -> Size {
    match verdict {
        Verdict::Grow(change) => change.to,
        other => panic!("it should grow: {other:?}"),
    }
}

fn shrunk(verdict: Verdict) -> Size {
    match verdict {
        Verdict::Shrink(change) => change.to,
        other => panic!("it should shrink: {other:?}"),
    }
}

#[test]
fn throttling_of_5_percent_over_3_s_or_25_over_2_s_calls_for_growth() {
    let gold = class("gold");
    let with = |of2, of3| {
        let usage = ContainerCpu { throttled2: of2, throttled3: of3, ..steady(0.2, 0.5) };
        calls_for_growth(&input(&gold, size(400, 500), &usage))
    };
    assert_eq!(with(Some(0.08), Some(0.051)), Some(Trigger::Throttled(0.08)));
    assert_eq!(with(Some(0.26), None), Some(Trigger::Throttled(0.26)));
    assert_eq!(with(Some(0.25), Some(0.05)), None);
    assert_eq!(with(None, None), None);
}

#[test]
fn throttled_usage_is_censored_and_the_limit_grows_by_the_share_of_throttled_periods() {
    let mut gold = class("gold");
    let usage = throttled(0.15, 0.5, 0.25);
    // 0.15 / 0.4 is less than the limit
    assert_eq!(grown(decide(&input(&gold, size(400, 500), &usage))), size(400, 750));
    gold.cpu.max_step = 0.5;
    assert_eq!(grown(decide(&input(&gold, size(400, 500), &usage))), size(400, 630), "rounded up to 10m");
}

#[test]
fn a_growth_is_at_most_one_step_and_the_request_stays_below_the_limit() {
    let gold = class("gold");
    let usage = throttled(0.5, 0.5, 1.0);
    // 0.5 / 0.6 for the request, which may only double; 0.5 / 0.4 for the limit
    assert_eq!(grown(decide(&input(&gold, size(100, 500), &usage))), size(200, 1000));
    assert_eq!(grown(decide(&input(&class("bronze"), size(400, 500), &usage))), size(560, 750));
}

#[test]
fn utilization_half_way_from_the_target_to_full_calls_for_growth_without_throttling() {
    let gold = class("gold");
    let verdict = |used: f64| {
        let usage = ContainerCpu { throttled2: None, throttled3: None, pressure: None, ..steady(used, 1.0) };
        decide(&input(&gold, size(950, 1000), &usage))
    };
    assert_eq!(verdict(0.69), Verdict::Keep(Keep::Fits));
    let Verdict::Grow(change) = verdict(0.70) else { panic!("0.70 is half way from 0.40 to 1") };
    assert_eq!((change.to.limit, change.trigger, change.usage), (Some(1750), Trigger::Utilization(0.7), 700));
}

#[test]
fn without_a_limit_only_the_request_changes_and_no_limit_is_added() {
    let gold = class("gold");
    let usage = steady(0.1, 0.1);
    assert_eq!(grown(decide(&input(&gold, size(100, None), &usage))), size(170, None));
    // throttling without a limit of its own is that of another cgroup
    let usage = throttled(0.05, 0.1, 1.0);
    assert_eq!(calls_for_growth(&input(&gold, size(100, None), &usage)), None);
}

#[test]
fn bound_by_the_node_raises_the_request_toward_the_use_and_not_the_limit() {
    let gold = class("gold");
    let usage = ContainerCpu { pressure: Some(30.0), bound_by: Some(BoundBy::Node), ..steady(0.9, 1.0) };
    let Verdict::Grow(change) = decide(&input(&gold, size(600, 1000), &usage)) else { panic!("not grown") };
    // 0.9 / 0.6 is more than the limit
    assert_eq!((change.to, change.trigger), (size(990, 1000), Trigger::NodePressure(30.0)));
}

#[test]
fn a_request_that_equals_its_limit_is_not_raised_alone_on_a_busy_node_and_that_is_said() {
    let mut gold = class("gold");
    let usage = ContainerCpu { pressure: Some(30.0), bound_by: Some(BoundBy::Node), ..steady(0.9, 1.0) };
    let verdict = |class: &Policy| decide(&input(class, size(1000, 1000), &usage));
    assert_eq!(verdict(&gold), Verdict::Keep(Keep::NodeBusy));
    assert_eq!(
        calls_for_growth(&input(&gold, size(1000, 1000), &usage)),
        Some(Trigger::NodePressure(30.0)),
        "nothing shrinks meanwhile"
    );
    gold.cpu.allow_increase = false;
    assert_eq!(verdict(&gold), Verdict::Keep(Keep::NodeBusy));
}

#[test]
fn a_request_below_the_use_is_raised_and_the_limit_stays() {
    let gold = class("gold");
    let usage = steady(0.3, 1.0);
    let Verdict::Grow(change) = decide(&input(&gold, size(200, 1000), &usage)) else { panic!("not grown") };
    assert_eq!((change.to, change.trigger), (size(400, 1000), Trigger::RequestBelowUse), "one step");
    assert_eq!(calls_for_growth(&input(&gold, size(400, 1000), &usage)), None);
    // 0.45 / 0.4: what grows goes to its target at once
    assert_eq!(grown(decide(&input(&gold, size(200, 1000), &steady(0.45, 1.0)))), size(400, 1130));
}

#[test]
fn a_request_that_may_not_be_raised_does_not_keep_the_limit_from_shrinking() {
    let usage = steady(0.2, 4.0);
    for change in [
        |policy: &mut ResourcePolicy| policy.controlled_values = ControlledValues::LimitsOnly,
        |policy: &mut ResourcePolicy| policy.allow_increase = false,
    ] {
        let mut bronze = class("bronze");
        change(&mut bronze.cpu);
        assert_eq!(calls_for_growth(&input(&bronze, size(100, 4000), &usage)), None);
        assert_eq!(shrunk(decide(&input(&bronze, size(100, 4000), &usage))), size(100, 3200));
    }
    let bronze = class("bronze");
    let kept = CpuInput { request_kept: true, ..input(&bronze, size(100, 4000), &usage) };
    assert!(wants_request(&kept), "so that it can be said");
    assert_eq!(calls_for_growth(&kept), None);
    assert_eq!(shrunk(decide(&kept)), size(100, 3200));
}

#[test]
fn any_step_that_a_class_may_choose_grows_a_container_by_the_smallest_change_at_least() {
    let mut gold = class("gold");
    for (max_step, limit, to) in [(0.04, 1000, 1050), (0.09, 220, 240), (0.001, 10, 20), (0.5, 1000, 1500)] {
        gold.cpu.max_step = max_step;
        let cores = limit as f64 / 1000.0;
        let usage = throttled(cores, cores, 1.0);
        let grown = grown(decide(&input(&gold, size(limit, limit), &usage)));
        assert_eq!(grown, size(to, to), "{max_step} of {limit}");
    }
}

#[test]
fn guaranteed_stays_guaranteed_vpa_scenario_6() {
    let silver = class("silver");
    // 0.1667 / 0.5 = 333.4m
    let usage = ContainerCpu { utilization3: Some(0.9), ..steady(0.1667, 0.2) };
    assert_eq!(grown(decide(&input(&silver, size(200, 200), &usage))), size(340, 340));
    let usage = steady(0.01, 0.2);
    assert_eq!(shrunk(decide(&input(&silver, size(200, 200), &usage))), size(160, 160));
}

#[test]
fn burstable_does_not_become_guaranteed_vpa_scenario_7() {
    let fixed = size(256 << 20, 256 << 20);
    let class_of = |cpu: Size| qos(&[Sizes { cpu, memory: fixed }]);
    assert_eq!(class_of(size(400, 400)), QosClass::Guaranteed, "what must not come about");
    // 0.39 / 0.6 is more than the limit, which stays
    let busy = ContainerCpu { pressure: Some(30.0), bound_by: Some(BoundBy::Node), ..steady(0.39, 0.4) };
    let to = grown(decide(&input(&class("gold"), size(200, 400), &busy)));
    assert_eq!((to, class_of(to)), (size(390, 400), QosClass::Burstable));
    // nor does a limit fall to the request
    let mut bronze = class("bronze");
    bronze.cpu.controlled_values = ControlledValues::LimitsOnly;
    let to = shrunk(decide(&input(&bronze, size(155, 190), &steady(0.01, 0.19))));
    assert_eq!((to, class_of(to)), (size(155, 165), QosClass::Burstable));
}

#[test]
fn only_the_controlled_values_change() {
    use crate::policy::ControlledValues::{LimitsOnly, RequestsOnly};
    let mut gold = class("gold");
    let usage = throttled(0.5, 0.5, 1.0);
    gold.cpu.controlled_values = RequestsOnly;
    assert_eq!(grown(decide(&input(&gold, size(100, 500), &usage))), size(200, 500));
    assert_eq!(decide(&input(&gold, size(490, 500), &usage)), Verdict::Keep(Keep::NotAllowed));
    gold.cpu.controlled_values = LimitsOnly;
    assert_eq!(grown(decide(&input(&gold, size(100, 500), &usage))), size(100, 1000));
    // one alone would make Guaranteed Burstable
    assert_eq!(decide(&input(&gold, size(500, 500), &usage)), Verdict::Keep(Keep::NotAllowed));
    assert_eq!(decide(&input(&gold, size(100, None), &steady(0.1, 0.1))), Verdict::Keep(Keep::NotAllowed));
}

#[test]
fn a_direction_that_is_not_allowed_is_said_only_where_it_would_be_taken() {
    let mut gold = class("gold");
    (gold.cpu.allow_increase, gold.cpu.allow_decrease) = (false, false);
    let busy = throttled(0.5, 0.5, 1.0);
    assert_eq!(decide(&input(&gold, size(100, 500), &busy)), Verdict::Keep(Keep::NotAllowed));
    gold.cpu.min_allowed = crate::policy::Bound::Amount(10);
    assert_eq!(decide(&input(&gold, size(400, 500), &steady(0.01, 0.5))), Verdict::Keep(Keep::NotAllowed));
    assert_eq!(decide(&input(&gold, size(340, 500), &steady(0.2, 0.5))), Verdict::Keep(Keep::Fits));
}

#[test]
fn a_growth_waits_for_the_cooldown_and_says_so_but_a_full_size_is_at_its_maximum() {
    let gold = class("gold");
    let usage = throttled(0.5, 0.5, 1.0);
    let mut input = input(&gold, size(100, 500), &usage);
    input.since_growth = Some(Duration::from_secs(4));
    let Verdict::Cooldown { growth, left } = decide(&input) else { panic!("{:?}", decide(&input)) };
    assert_eq!(left, Duration::from_secs(6));
    input.since_growth = Some(Duration::from_secs(10));
    assert_eq!(decide(&input), Verdict::Grow(growth), "it is the growth as it will be made");
    assert_eq!(growth.to.limit, Some(1000));
    input.bounds.limit.max = 510;
    input.bounds.request.max = 100;
    assert_eq!(decide(&input), Verdict::Keep(Keep::AtMaximum), "10m of 500m is less than 5 %");
}

#[test]
fn until_throttling_under_a_new_limit_is_measured_it_may_need_one_more_step_and_nothing_is_resized_for_that()
{
    let bronze = class("bronze");
    // As an agent reports it right after a change of the quota: what was throttled before does not count.
    let usage = ContainerCpu { throttled2: None, throttled3: None, ..steady(0.2, 0.5) };
    let decided = |since_growth: Option<f64>, size: Size, usage: &ContainerCpu, cooldown: u64| {
        let mut input = input(&bronze, size, usage);
        input.since_growth = since_growth.map(Duration::from_secs_f64);
        input.up_cooldown = Duration::from_secs(cooldown);
        assert_eq!(
            calls_for_growth(&input),
            None,
            "it calls for nothing: a shrink does not wait longer for it"
        );
        decide(&input)
    };
    for (cooldown, seconds) in [(60, 58), (5, 3), (0, 3)] {
        let verdict = decided(Some(2.0), size(200, 500), &usage, cooldown);
        let Verdict::Cooldown { growth, left } = verdict else { panic!("{cooldown} s: {verdict:?}") };
        let step = (size(300, 750), Trigger::NotMeasuredYet);
        assert_eq!((growth.to, growth.trigger), step, "a whole step of 50 %");
        assert_eq!(left, Duration::from_secs(seconds));
    }
    for (why, verdict) in [
        ("it never grew", decided(None, size(200, 500), &usage, 60)),
        ("it should be measured by now", decided(Some(5.0), size(200, 500), &usage, 2)),
        ("it is", decided(Some(2.0), size(200, 500), &steady(0.2, 0.5), 60)),
        ("without a limit nothing is throttled", decided(Some(2.0), size(400, None), &usage, 60)),
        ("and where its cooldown is longer", decided(Some(60.0), size(200, 500), &usage, 60)),
    ] {
        assert!(matches!(verdict, Verdict::Keep(_) | Verdict::Shrink(_)), "{why}: {verdict:?}");
    }
}

#[test]
fn changes_below_5_percent_are_not_made() {
    let gold = class("gold");
    let usage = ContainerCpu { utilization3: Some(0.8), ..steady(0.411, 1.0) };
    assert_eq!(decide(&input(&gold, size(700, 1000), &usage)), Verdict::Keep(Keep::TooSmall));
    let usage = ContainerCpu { utilization3: Some(0.8), ..steady(0.418, 1.0) };
    assert_eq!(grown(decide(&input(&gold, size(700, 1000), &usage))), size(700, 1050));
}

#[test]
fn missing_numbers_never_count_as_zero() {
    let gold = class("gold");
    let full = steady(0.01, 0.5);
    let bronze = class("bronze");
    assert_eq!(shrunk(decide(&input(&bronze, size(400, 500), &full))), size(320, 400));
    let without = [
        ContainerCpu { p95: None, ..full.clone() },
        ContainerCpu { mean3: None, ..full.clone() },
        ContainerCpu { peak: None, ..full.clone() },
        ContainerCpu::default(),
    ];
    for usage in &without {
        assert_eq!(decide(&input(&bronze, size(400, 500), usage)), Verdict::Keep(Keep::NoData), "{usage:?}");
    }
    let unwatched = CpuInput { window: None, ..input(&bronze, size(400, 500), &full) };
    assert_eq!(decide(&unwatched), Verdict::Keep(Keep::NoData));
    // growth rests on whichever number is known
    let only_throttled = ContainerCpu { throttled3: Some(0.5), ..ContainerCpu::default() };
    assert_eq!(grown(decide(&input(&gold, size(400, 500), &only_throttled))), size(400, 1000));
    let only_utilization = ContainerCpu { utilization3: Some(0.8), ..ContainerCpu::default() };
    assert_eq!(grown(decide(&input(&gold, size(400, 500), &only_utilization))), size(670, 1000));
}

#[test]
fn a_shrink_goes_to_the_peak_of_the_day_20_percent_at_once_and_not_below_the_minimum() {
    let bronze = class("bronze");
    let usage = ContainerCpu { peak: Some(Cores(0.24)), ..steady(0.02, 0.5) };
    // 0.24 / 0.6 = 400m, 0.24 / 0.9 = 270m
    assert_eq!(shrunk(decide(&input(&bronze, size(300, 1000), &usage))), size(270, 800));
    assert_eq!(shrunk(decide(&input(&bronze, size(270, 480), &usage))), size(270, 400));
    assert_eq!(decide(&input(&bronze, size(270, 400), &usage)), Verdict::Keep(Keep::Fits));
    let silver = class("silver");
    let usage = steady(0.1, 0.5);
    let half = CpuInput {
        bounds: silver.cpu.bounds(size(400, 1000), size(400, 1000), Some(16_000)),
        ..input(&silver, size(200, 500), &usage)
    };
    assert_eq!(decide(&half), Verdict::Keep(Keep::AtMinimum));
}

#[test]
fn small_containers_shrink_step_by_step_to_the_minimum() {
    let bronze = class("bronze");
    let usage = steady(0.001, 0.1);
    let (mut at, mut sizes) = (size(45, 45), Vec::new());
    while let Verdict::Shrink(change) = decide(&input(&bronze, at, &usage)) {
        at = change.to;
        sizes.push(at.limit.unwrap());
        assert!(sizes.len() < 10, "{sizes:?}");
    }
    assert_eq!(sizes, [40, 30, 20, 10]);
}

#[test]
fn what_it_grew_for_counts_as_the_peak_does_and_a_throttled_limit_does_not_return() {
    let bronze = class("bronze");
    let usage = steady(0.02, 0.5);
    // a spike of 3 s: no peak of a minute
    let spike = CpuInput { grown_for: Some(540), ..input(&bronze, size(700, 1000), &usage) };
    assert_eq!(shrunk(decide(&spike)), size(600, 900), "540 / 0.9 and 540 / 0.6");
    let throttled = CpuInput { throttled_to: Some(950), ..input(&bronze, size(700, 1000), &usage) };
    assert_eq!(shrunk(decide(&throttled)), size(560, 950));
}

#[test]
fn a_shrink_waits_for_the_hold_after_pressure_and_growth_for_the_window_and_between_shrinks() {
    let bronze = class("bronze");
    let usage = steady(0.02, 0.5);
    let idle = input(&bronze, size(300, 1000), &usage);
    let secs = Duration::from_secs;
    let after = |change: fn(&mut CpuInput)| {
        let mut input = idle.clone();
        change(&mut input);
        decide(&input)
    };
    assert!(matches!(decide(&idle), Verdict::Shrink(_)));
    let wait = |keep| Verdict::Keep(keep);
    assert_eq!(after(|i| i.since_pressure = Some(Duration::from_secs(299))), wait(Keep::Hold(secs(1))));
    assert_eq!(after(|i| i.since_growth = Some(Duration::from_secs(240))), wait(Keep::Hold(secs(60))));
    assert_eq!(after(|i| i.since_shrink = Some(Duration::from_secs(50))), wait(Keep::Hold(secs(10))));
    assert_eq!(after(|i| i.window = Some(Duration::from_secs(200))), wait(Keep::Window(secs(100))));
}

#[test]
fn rounding_and_minimum_vpa_scenario_24() {
    let gold = class("gold");
    let usage = throttled(0.004, 0.004, 1.0);
    assert_eq!(grown(decide(&input(&gold, size(None, 4), &usage))), size(None, 10));
    let usage = ContainerCpu { utilization3: Some(0.8), ..steady(0.1668, 0.2) };
    assert_eq!(grown(decide(&input(&gold, size(None, 300), &usage))), size(None, 420), "417m becomes 420m");
}

#[test]
fn nothing_is_set_that_was_not_vpa_scenario_5() {
    let usage = throttled(1.0, 1.0, 1.0);
    assert_eq!(decide(&input(&class("gold"), Size::default(), &usage)), Verdict::Keep(Keep::NotSet));
}
