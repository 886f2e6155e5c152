//! What holds for every input.

use super::*;
use proptest::prelude::*;

fn any_usage() -> impl Strategy<Value = ContainerMemory> {
    let bytes = || prop::option::of((0u64..8000).prop_map(|mi| Bytes(mi * MI)));
    let number = || prop::option::of(prop_oneof![prop::num::f64::ANY, -1e9..1e9, 0.0..30.0]);
    (bytes(), bytes(), bytes(), bytes(), number(), number()).prop_map(|(a, b, c, d, growth, pressure)| {
        ContainerMemory {
            working_set: a,
            unreclaimable: b,
            unreclaimable2: c,
            peak: d,
            growth,
            pressure,
            ..ContainerMemory::default()
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_change_is_within_bounds_and_step_and_keeps_the_qos_class(
        name in prop_oneof![Just("gold"), Just("silver"), Just("bronze")],
        request in 8u64..4000,
        above in prop_oneof![Just(0u64), 4u64..4000],
        usage in any_usage(),
        kills in prop::option::of(0u64..2),
    ) {
        let class = shrinking(name);
        let from = size(request, request + above);
        let mut input = input(&class, from, &usage);
        input.events.oom_kill = kills;
        let verdict = decide(&input);
        let (Verdict::Grow(Change { to, .. }) | Verdict::Shrink(Change { to, .. })) = verdict else { return Ok(()) };
        prop_assert_eq!(from.request == from.limit, to.request == to.limit);
        for (from, to, bounds) in
            [(from.request, to.request, input.bounds.request), (from.limit, to.limit, input.bounds.limit)]
        {
            let (from, to) = (from.unwrap(), to.unwrap());
            prop_assert!(from == to || (bounds.min..=bounds.max).contains(&to) || from < to && to < bounds.min);
            let (from, to) = (from as f64, to as f64);
            let most = (from * (1.0 + class.memory.max_step)).max(from + STEP as f64);
            prop_assert!(to <= most && to >= (from * 0.8).min(from - STEP as f64), "{} -> {}", from, to);
        }
        if let Verdict::Shrink(_) = verdict {
            let used = usage.working_set.max(usage.unreclaimable).unwrap().as_f64();
            prop_assert!(to.limit.unwrap() as f64 >= SHRINK_MARGIN * used || to.limit == from.limit);
            prop_assert!(to.limit.unwrap() as f64 >= usage.peak.unwrap().as_f64() || to.limit == from.limit);
        }
    }

    #[test]
    fn more_use_is_never_a_smaller_size(limit in 100u64..4000, used in 0u64..4000, more in 0u64..4000) {
        let gold = shrinking("gold");
        let from = size(limit * 3 / 4, limit);
        let to = |used| match decide(&input(&gold, from, &steady(used))) {
            Verdict::Keep(_) | Verdict::Cooldown { .. } => from,
            Verdict::Grow(change) | Verdict::Shrink(change) => change.to,
        };
        let (less, more) = (to(used), to(used + more));
        prop_assert!(more.limit >= less.limit && more.request >= less.request, "{:?} {:?}", less, more);
    }
}
