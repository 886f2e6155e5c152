//! What holds for every input.

use super::*;
use crate::size::Bounds;
use proptest::prelude::*;

/// Any number that a broken reading may give.
fn any_number() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![Just(None), prop::num::f64::ANY.prop_map(Some), (0.0..4.0).prop_map(Some)]
}

fn any_usage() -> impl Strategy<Value = ContainerCpu> {
    let bound_by = prop_oneof![Just(None), Just(Some(BoundBy::Node)), Just(Some(BoundBy::Limit))];
    (prop::array::uniform7(any_number()), bound_by).prop_map(|(numbers, bound_by)| {
        let [throttled2, throttled3, mean3, utilization3, p95, peak, pressure] = numbers;
        ContainerCpu {
            throttled2,
            throttled3,
            mean3: mean3.map(Cores),
            utilization3,
            p95: p95.map(Cores),
            peak: peak.map(Cores),
            pressure,
            bound_by,
            ..ContainerCpu::default()
        }
    })
}

fn any_size() -> impl Strategy<Value = Size> {
    let both = (1u64..4000, 0u64..4000).prop_map(|(request, more)| size(request, request + more));
    prop_oneof![
        4 => both,
        1 => (1u64..4000).prop_map(|same| size(same, same)),
        1 => (1u64..4000).prop_map(|request| size(request, None)),
        1 => (1u64..4000).prop_map(|limit| size(None, limit)),
        1 => Just(Size::default()),
    ]
}

fn any_class() -> impl Strategy<Value = Policy> {
    prop_oneof![Just("gold"), Just("silver"), Just("bronze")].prop_map(class)
}

fn after(verdict: Verdict, size: Size) -> Size {
    match verdict {
        Verdict::Keep(_) => size,
        Verdict::Grow(change) | Verdict::Cooldown { growth: change, .. } | Verdict::Shrink(change) => {
            change.to
        }
    }
}

fn is_within(from: Option<u64>, to: Option<u64>, bounds: Bounds) -> bool {
    from == to || to.is_some_and(|to| (bounds.min..=bounds.max).contains(&to)) || {
        // what was outside may come nearer
        let outside =
            |v: Option<u64>| v.map_or(0, |v| bounds.min.saturating_sub(v) + v.saturating_sub(bounds.max));
        outside(to) < outside(from)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_change_is_within_bounds_and_step_and_sets_removes_and_equates_nothing(
        class in any_class(),
        size in any_size(),
        original in any_size(),
        usage in any_usage(),
        since_growth in prop::option::of(0u64..70),
    ) {
        let bounds = class.cpu.bounds(original, size, Some(8000));
        let since_growth = since_growth.map(Duration::from_secs);
        let input = CpuInput { bounds, since_growth, ..input(&class, size, &usage) };
        let verdict = decide(&input);
        let to = after(verdict, size);
        prop_assert_eq!(to.request.is_some(), size.request.is_some());
        prop_assert_eq!(to.limit.is_some(), size.limit.is_some());
        if let (Some(request), Some(limit)) = (size.request, size.limit) {
            prop_assert_eq!(request == limit, to.request == to.limit, "the QoS class");
            prop_assert!(to.request <= to.limit);
        }
        prop_assert!(is_within(size.request, to.request, bounds.request), "{:?} {:?} {:?}", size, to, bounds);
        prop_assert!(is_within(size.limit, to.limit, bounds.limit), "{:?} {:?} {:?}", size, to, bounds);
        for (from, to) in [(size.request, to.request), (size.limit, to.limit)] {
            let (Some(from), Some(to)) = (from, to) else { continue };
            match verdict {
                Verdict::Grow(_) | Verdict::Cooldown { .. } => {
                    prop_assert!(to >= from);
                    let step = (from as f64 * class.cpu.max_step).max(10.0);
                    prop_assert!(to as f64 <= from as f64 + step, "{} -> {}", from, to);
                }
                Verdict::Shrink(_) => {
                    let step = (from as f64 * 0.2).max(10.0);
                    prop_assert!(to <= from && to as f64 >= from as f64 - step, "{} -> {}", from, to);
                }
                Verdict::Keep(_) => {}
            }
            prop_assert!(from == to || from.abs_diff(to) * 20 >= from, "less than 5 %: {} -> {}", from, to);
        }
    }

    #[test]
    fn what_is_no_number_never_grows_and_never_shrinks(
        class in any_class(),
        size in any_size(),
        bad in prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(-1.0)],
        bound_by in prop_oneof![Just(None), Just(Some(BoundBy::Node))],
    ) {
        let cores = Some(Cores(bad));
        let bad = Some(bad);
        let usage = ContainerCpu {
            throttled2: bad, throttled3: bad, utilization3: bad, pressure: bad,
            mean3: cores, p95: cores, peak: cores, bound_by,
            ..ContainerCpu::default()
        };
        prop_assert!(matches!(decide(&input(&class, size, &usage)), Verdict::Keep(_)));
    }

    #[test]
    fn more_usage_is_never_a_smaller_size(
        class in any_class(),
        size in any_size(),
        used in 0.0..4.0,
        more in 0.0..2.0,
    ) {
        let basis = size.limit.or(size.request).unwrap_or(1000) as f64 / 1000.0;
        let to = |used: f64| after(decide(&input(&class, size, &steady(used, basis))), size);
        let (less, more) = (to(used), to(used + more));
        prop_assert!(more.limit >= less.limit && more.request >= less.request, "{:?} {:?}", less, more);
    }

    #[test]
    fn more_throttling_is_never_a_smaller_limit(
        class in any_class(),
        limit in 100u64..4000,
        used in 0.0..1.0,
        share in 0.0..1.0,
        more in 0.0..1.0f64,
    ) {
        let cores = limit as f64 / 1000.0;
        let to = |share: f64| {
            let usage = throttled(cores * used, cores, share.min(1.0));
            after(decide(&input(&class, size(limit / 2, limit), &usage)), size(limit / 2, limit))
        };
        prop_assert!(to(share + more).limit >= to(share).limit);
    }
}
