use super::*;
use crate::policy::Policy;

mod growing;
mod properties;

const MI: u64 = 1 << 20;
const HOUR: Duration = Duration::from_secs(3600);

fn size(request: impl Into<Option<u64>>, limit: impl Into<Option<u64>>) -> Size {
    Size { request: request.into().map(|mi| mi * MI), limit: limit.into().map(|mi| mi * MI) }
}

/// A container that has been watched for two days, in which nothing happened; on a node of 64Gi.
fn input<'a>(class: &'a Policy, size: Size, usage: &'a ContainerMemory) -> MemoryInput<'a> {
    MemoryInput {
        policy: &class.memory,
        down_hold: class.down_hold,
        min_window: class.memory_window,
        size,
        bounds: class.memory.bounds(size, size, Some(64 << 30)),
        request_kept: false,
        usage,
        events: MemoryEvents::default(),
        window: Some(48 * HOUR),
        since_growth: None,
        since_shrink: None,
        since_pressure: None,
    }
}

/// Steady use, MiB.
fn steady(mi: u64) -> ContainerMemory {
    let bytes = Some(Bytes(mi * MI));
    ContainerMemory {
        working_set: bytes,
        unreclaimable: bytes,
        unreclaimable2: bytes,
        peak: bytes,
        growth: Some(0.0),
        pressure: Some(0.0),
        ..ContainerMemory::default()
    }
}

fn class(name: &str) -> Policy {
    Policy::builtin(name).unwrap()
}

/// The same class, with decreases allowed and a low minimum.
fn shrinking(name: &str) -> Policy {
    let mut class = class(name);
    class.memory.allow_decrease = true;
    class.memory.min_allowed = crate::policy::Bound::Amount(16 * MI);
    class
}

fn change(verdict: Verdict) -> Change {
    match verdict {
        Verdict::Grow(change) | Verdict::Shrink(change) => change,
        other => panic!("it should change: {other:?}"),
    }
}

#[test]
fn near_the_limit_for_2_s_calls_for_growth() {
    let gold = class("gold");
    let usage = steady(900);
    let grown = change(decide(&input(&gold, size(800, 1000), &usage)));
    // 900 / 0.7 = 1285.7, 900 / 0.8 = 1125, in steps of 4Mi
    assert_eq!((grown.to, grown.trigger), (size(1128, 1288), Trigger::NearLimit(0.9)));
    // a moment is not 2 s
    let usage = ContainerMemory { unreclaimable2: Some(Bytes(890 * MI)), ..steady(900) };
    assert_eq!(calls_for_growth(&input(&gold, size(920, 1000), &usage)), None);
}

#[test]
fn a_trend_calls_for_growth_to_what_is_needed_in_60_s() {
    let gold = class("gold");
    let usage = ContainerMemory { growth: Some((10 * MI) as f64), ..steady(760) };
    let grown = change(decide(&input(&gold, size(768, 1000), &usage)));
    assert_eq!((grown.to.limit, grown.trigger), (Some(1360 * MI), Trigger::Trend(24.0)));
    let calls = |growth: f64, mi| {
        let usage = ContainerMemory { growth: Some(growth * MI as f64), ..steady(mi) };
        calls_for_growth(&input(&gold, size(768, 1000), &usage))
    };
    assert_eq!(calls(7.9, 760), None, "more than 30 s");
    assert_eq!(calls(10.0, 740), None, "less than 0.75 of the limit");
    assert_eq!(calls(-10.0, 760), None);
}

#[test]
fn an_oom_kill_counts_from_the_events_also_after_a_restart_and_the_size_was_too_small() {
    let silver = class("silver");
    // restarted: next to nothing is used
    let usage = steady(20);
    let mut input = input(&silver, size(400, 400), &usage);
    input.events.oom_kill = Some(1);
    let grown = change(decide(&input));
    assert_eq!((grown.to, grown.trigger), (size(500, 500), Trigger::OomKill(1)));
    // also where nothing else is known
    let nothing = ContainerMemory::default();
    input.usage = &nothing;
    assert_eq!(change(decide(&input)).to, size(500, 500));
}

#[test]
fn small_containers_shrink_step_by_step_to_the_minimum() {
    let bronze = shrinking("bronze");
    let usage = steady(1);
    let (mut at, mut sizes) = (size(24, 24), Vec::new());
    while let Verdict::Shrink(change) = decide(&input(&bronze, at, &usage)) {
        at = change.to;
        sizes.push(at.limit.unwrap() / MI);
        assert!(sizes.len() < 10, "{sizes:?}");
    }
    assert_eq!(sizes, [20, 16]);
}

#[test]
fn an_event_that_is_answered_hides_no_other_need() {
    let gold = class("gold");
    let usage = ContainerMemory { pressure: Some(30.0), working_set: Some(Bytes(900 * MI)), ..steady(100) };
    let mut input = input(&gold, size(500, 1000), &usage);
    let alone = change(decide(&input));
    assert_eq!((alone.to.limit, alone.trigger), (Some(1288 * MI), Trigger::MemoryPressure(30.0)));
    input.events.max = Some(1);
    assert_eq!(change(decide(&input)), alone, "what cannot be reclaimed fits, the page cache does not");
    assert_eq!(calls_for_growth(&input), Some(Trigger::MemoryMax(1)), "the plainest is said");
}

#[test]
fn hits_of_the_limit_count_with_what_cannot_be_reclaimed_not_with_a_page_cache() {
    let gold = class("gold");
    let usage = ContainerMemory { working_set: Some(Bytes(990 * MI)), ..steady(100) };
    let mut input = input(&gold, size(500, 1000), &usage);
    input.events.max = Some(7);
    assert_eq!(decide(&input), Verdict::Keep(Keep::Fits));
    let usage = steady(800);
    input.usage = &usage;
    let grown = change(decide(&input));
    assert_eq!((grown.to.limit, grown.trigger), (Some(1144 * MI), Trigger::MemoryMax(7)));
    let in_use = ContainerMemory { working_set: Some(Bytes(990 * MI)), ..ContainerMemory::default() };
    input.usage = &in_use;
    assert_eq!(change(decide(&input)).to.limit, Some(1416 * MI), "how much is page cache is not known");
    let unknown = ContainerMemory::default();
    input.usage = &unknown;
    assert_eq!(decide(&input), Verdict::Keep(Keep::NoData));
}

#[test]
fn pressure_above_10_percent_counts_the_page_cache_that_the_container_waits_for() {
    let gold = class("gold");
    let usage = ContainerMemory { pressure: Some(10.1), working_set: Some(Bytes(980 * MI)), ..steady(300) };
    let grown = change(decide(&input(&gold, size(500, 1000), &usage)));
    assert_eq!((grown.to.limit, grown.trigger), (Some(1400 * MI), Trigger::MemoryPressure(10.1)));
    let usage = ContainerMemory { pressure: Some(10.0), ..usage };
    assert_eq!(calls_for_growth(&input(&gold, size(500, 1000), &usage)), None);
}

#[test]
fn without_a_limit_only_the_request_follows_and_no_limit_is_added() {
    let gold = class("gold");
    let grown = change(decide(&input(&gold, size(100, None), &steady(120))));
    assert_eq!((grown.to, grown.trigger), (size(152, None), Trigger::RequestBelowUse));
}

#[test]
fn a_request_that_may_not_be_raised_does_not_keep_the_limit_from_shrinking() {
    let (bronze, usage) = (shrinking("bronze"), steady(200));
    let mut input = input(&bronze, size(100, 1000), &usage);
    assert_eq!(calls_for_growth(&input), Some(Trigger::RequestBelowUse));
    input.request_kept = true;
    assert!(wants_request(&input));
    assert_eq!(calls_for_growth(&input), None);
    assert_eq!(change(decide(&input)).to, size(100, 800), "at most 20 % at once");
}

#[test]
fn its_cooldown_is_5_s_in_every_class_and_a_growth_at_most_one_step() {
    for (name, limit) in [("gold", 200), ("bronze", 148)] {
        let class = class(name);
        let usage = ContainerMemory { growth: Some((50 * MI) as f64), ..steady(95) };
        let mut input = input(&class, size(96, 100), &usage);
        assert_eq!(change(decide(&input)).to.limit, Some(limit * MI), "{name}");
        input.since_growth = Some(Duration::from_secs(4));
        let Verdict::Cooldown { growth, left } = decide(&input) else { panic!("{:?}", decide(&input)) };
        assert_eq!(left, Duration::from_secs(1));
        input.since_growth = Some(Duration::from_secs(5));
        assert_eq!(decide(&input), Verdict::Grow(growth));
    }
}

#[test]
fn it_shrinks_only_if_that_is_allowed_and_not_below_a_quarter_more_than_it_uses() {
    let usage = ContainerMemory { unreclaimable: Some(Bytes(400 * MI)), ..steady(500) };
    assert_eq!(decide(&input(&class("bronze"), size(900, 1000), &usage)), Verdict::Keep(Keep::NotAllowed));
    let bronze = shrinking("bronze");
    // 20 % at once; then 1.25 x 500, more than 500 / 0.85 and 500 / 0.95
    assert_eq!(change(decide(&input(&bronze, size(900, 1000), &usage))).to, size(720, 800));
    assert_eq!(change(decide(&input(&bronze, size(700, 720), &usage))).to, size(628, 632));
    assert_eq!(decide(&input(&bronze, size(628, 632), &usage)), Verdict::Keep(Keep::TooSmall));
}

#[test]
fn a_shrink_under_rising_usage_is_not_made_vpa_scenario_10() {
    let bronze = shrinking("bronze");
    let idle = steady(400);
    assert!(matches!(decide(&input(&bronze, size(600, 620), &idle)), Verdict::Shrink(_)));
    let rising = ContainerMemory { growth: Some((50 * MI) as f64), ..steady(400) };
    assert_eq!(calls_for_growth(&input(&bronze, size(1500, 2000), &rising)), None);
    assert_eq!(decide(&input(&bronze, size(1500, 2000), &rising)), Verdict::Keep(Keep::Fits));
}

#[test]
fn missing_numbers_never_count_as_zero() {
    let bronze = shrinking("bronze");
    let full = steady(100);
    assert!(matches!(decide(&input(&bronze, size(400, 500), &full)), Verdict::Shrink(_)));
    for usage in [
        ContainerMemory { working_set: None, ..full.clone() },
        ContainerMemory { unreclaimable: None, ..full.clone() },
        ContainerMemory { unreclaimable2: None, ..full.clone() },
        ContainerMemory { peak: None, ..full.clone() },
        ContainerMemory { growth: None, ..full.clone() },
        ContainerMemory::default(),
    ] {
        assert_eq!(decide(&input(&bronze, size(400, 500), &usage)), Verdict::Keep(Keep::NoData), "{usage:?}");
    }
}

#[test]
fn no_shrink_below_the_peak_of_the_day_nor_within_a_short_window_median_1978_peak_2774() {
    for name in ["gold", "silver", "bronze"] {
        let class = shrinking(name);
        let usage = ContainerMemory { peak: Some(Bytes(2774 * MI)), ..steady(1978) };
        assert_eq!(decide(&input(&class, size(3200, 3200), &usage)), Verdict::Keep(Keep::Fits), "{name}");
        // were it not for the peak, it would shrink, but not before the window of the class
        let usage = steady(1978);
        let mut input = input(&class, size(3200, 3200), &usage);
        assert!(matches!(decide(&input), Verdict::Shrink(_)), "{name}");
        input.window = Some(class.memory_window - HOUR);
        assert_eq!(decide(&input), Verdict::Keep(Keep::Window(HOUR)), "{name}");
    }
}

#[test]
fn decrease_forbidden_and_a_near_miss_grows_autoscaler_10181() {
    let gold = class("gold");
    assert!(!gold.memory.allow_decrease);
    let usage = steady(480);
    assert_eq!(change(decide(&input(&gold, size(500, 512), &usage))).to.limit, Some(688 * MI));
}

#[test]
fn a_hot_replica_grows_from_its_own_numbers_vpa_scenario_25() {
    let silver = class("silver");
    let usage = steady(486);
    assert!(matches!(decide(&input(&silver, size(512, 512), &usage)), Verdict::Grow(_)), "95 % of its limit");
    let usage = steady(200);
    assert!(!matches!(decide(&input(&silver, size(512, 512), &usage)), Verdict::Grow(_)));
}
