use proptest::collection;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_assert, prop_oneof, proptest};

use super::*;

const GIB: u64 = 1 << 30;

fn at(seconds: f64) -> Moment {
    Moment(Duration::from_secs_f64(seconds))
}

fn node() -> Option<Capacity> {
    Some(Capacity { cores: Cores(4.0), bytes: Bytes(8 * GIB), cpus: None, available_bytes: None })
}

#[test]
fn cpu_is_relative_to_the_quota_else_to_the_request_else_to_the_node() {
    use Basis::{Limit as ByLimit, Node, Request as ByRequest};
    let (free, half) = (Limit::Unlimited, Limit::Of(Cores(0.5)));
    let quarter = Request::Of(Cores(0.25));
    let table = [
        ("a quota wins over a request", half, quarter, Ok((ByLimit, 0.5))),
        ("a quota needs no roster", half, Request::Unknown, Ok((ByLimit, 0.5))),
        ("a quota above the node is clipped to it", Limit::Of(Cores(8.0)), quarter, Ok((ByLimit, 4.0))),
        ("no quota: the request", free, quarter, Ok((ByRequest, 0.25))),
        ("a tiny request is floored", free, Request::Of(Cores(0.01)), Ok((ByRequest, 0.05))),
        ("a request of nothing is none", free, Request::Of(Cores(0.0)), Ok((Node, 4.0))),
        ("neither: the node", free, Request::None, Ok((Node, 4.0))),
        ("a request that is not known yet", free, Request::Unknown, Err(UnknownReason::RequestUnknown)),
        ("a quota of nothing", Limit::Of(Cores(0.0)), quarter, Ok((ByLimit, 0.001))),
        ("a quota that is no number", Limit::Of(Cores(f64::NAN)), quarter, Err(UnknownReason::Malformed)),
    ];
    for (case, limit, request, expected) in table {
        let of = cpu_basis(limit, request, node(), 0.05);
        assert_eq!(of.map(|of| (of.basis, of.amount)), expected, "{case}");
        let floored = of.ok().and_then(|of| of.request);
        assert_eq!(floored.is_some(), case == "a tiny request is floored", "{case}");
    }
    assert_eq!(
        cpu_basis(free, Request::None, None, 0.05),
        Err(UnknownReason::WarmingUp),
        "a node not known yet"
    );
}

#[test]
fn memory_is_relative_to_the_limit_else_to_the_node_never_to_the_request() {
    let table = [
        (Limit::Of(Bytes(GIB)), Basis::Limit, GIB),
        (Limit::Of(Bytes(9 * GIB)), Basis::Limit, 8 * GIB),
        (Limit::Unlimited, Basis::Node, 8 * GIB),
        (Limit::Of(Bytes(0)), Basis::Limit, 1),
    ];
    for (limit, basis, amount) in table {
        assert_eq!(
            memory_basis(limit, node()),
            Ok(Denominator { basis, amount: amount as f64, request: None }),
            "{limit:?}"
        );
    }
}

#[test]
fn after_one_half_life_half_of_the_change_is_applied_however_it_is_sampled() {
    for samples in [1_u32, 5, 20] {
        let profile = Profile::standard();
        let mut smoothed = Smoothed::new(at(0.0), at(10.0), 1.0);
        let length = 5.0 / f64::from(samples);
        for i in 0..samples {
            let start = 10.0 + f64::from(i) * length;
            smoothed.add(at(start), at(start + length), 0.0, &profile);
        }
        assert!((smoothed.value() - 0.5).abs() < 1e-9, "{samples} samples: {}", smoothed.value());
    }
}

#[test]
fn a_reading_after_hours_has_no_more_weight_than_the_longest_gap() {
    let profile = Profile::standard();
    let mut smoothed = Smoothed::new(at(0.0), at(10.0), 1.0);
    smoothed.add(at(10.0), at(9000.0), 0.0, &profile);
    let half_lives = profile.longest_gap().as_secs_f64() / profile.half_life.as_secs_f64();
    assert!((smoothed.value() - (-half_lives).exp2()).abs() < 1e-9, "{}", smoothed.value());
}

#[test]
fn after_too_long_without_data_a_smoothed_usage_starts_over() {
    let mut smoothed = Smoothed::new(at(0.0), at(10.0), 1.0);
    smoothed.add(at(71.0), at(72.0), 0.25, &Profile::standard());
    assert!((smoothed.value() - 0.25).abs() < 1e-12);
    assert_eq!(smoothed.since(), at(71.0));
}

#[test]
fn smoothing_continues_from_an_earlier_container_as_if_it_were_one() {
    let profile = Profile::standard();
    let mut whole = Smoothed::new(at(0.0), at(1.0), 0.8);
    let mut before = whole;
    let mut after = Smoothed::new(at(5.0), at(6.0), 0.1);
    for (n, usage) in [(1.0, 0.9), (2.0, 0.7)] {
        whole.add(at(n), at(n + 1.0), usage, &profile);
        before.add(at(n), at(n + 1.0), usage, &profile);
    }
    for (n, usage) in [(6.0, 0.2), (7.0, 0.3)] {
        whole.add(at(n), at(n + 1.0), usage, &profile);
        after.add(at(n), at(n + 1.0), usage, &profile);
    }
    after.continue_from(&before);
    assert!((after.value() - whole.value()).abs() < 1e-9, "{} and {}", after.value(), whole.value());
    assert_eq!(after.since(), at(0.0));
}

fn any_limit() -> impl Strategy<Value = Limit<Cores>> {
    prop_oneof![Just(Limit::Unlimited), any::<f64>().prop_map(|cores| Limit::Of(Cores(cores)))]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_denominator_is_positive_and_finite_whatever_the_files_and_the_roster_say(
        limit in any_limit(), request in any::<f64>(), bytes in any::<u64>(),
    ) {
        for node in [node(), None] {
            for of in [cpu_basis(limit, Request::Of(Cores(request)), node, 0.05), memory_basis(Limit::Of(Bytes(bytes)), node)] {
                prop_assert!(of.is_err() || of.is_ok_and(|of| of.amount > 0.0 && of.amount.is_finite()));
            }
        }
    }

    #[test]
    fn a_mean_lies_between_its_samples_and_covers_no_more_than_asked(
        samples in collection::vec((0_u64..20, 1_u64..20, 0.0..5.0_f64), 1..50), seconds in 1_u64..100,
    ) {
        let mut window = Window::default();
        let mut end = 1000.0;
        for (gap, length, usage) in &samples {
            let start = end + *gap as f64;
            end = start + *length as f64;
            window.add(at(start), at(end), *usage);
        }
        let mean = window.mean(Duration::from_secs(seconds)).unwrap();
        let usages = || samples.iter().map(|(.., usage)| *usage);
        let (least, most) = (usages().fold(f64::MAX, f64::min), usages().fold(0.0, f64::max));
        prop_assert!((least - 1e-6..=most + 1e-6).contains(&mean.usage), "{mean:?}");
        prop_assert!(mean.seconds <= seconds as f64 + 1e-6, "{mean:?}");
        prop_assert!(!mean.complete || mean.seconds >= 0.9 * seconds as f64, "{mean:?}");
    }
}

fn window(samples: &[(f64, f64, f64)]) -> Window {
    let mut window = Window::default();
    samples.iter().for_each(|(start, end, usage)| window.add(at(*start), at(*end), *usage));
    window
}

#[test]
fn a_mean_is_of_the_last_seconds_with_data_and_part_of_a_sample_counts_in_part() {
    let window = window(&[(0.0, 10.0, 1.0), (10.0, 20.0, 0.0), (30.0, 40.0, 4.0)]);
    let mean = |seconds: u64| {
        let mean = window.mean(Duration::from_secs(seconds)).unwrap();
        ((mean.usage * 1000.0).round() / 1000.0, mean.seconds, mean.complete)
    };
    assert_eq!(mean(5), (4.0, 5.0, true));
    assert_eq!(mean(20), (4.0, 10.0, false), "nothing is known of 20 to 30");
    assert_eq!(mean(25), (2.667, 15.0, false));
    assert_eq!(mean(35), (1.8, 25.0, false));
    assert_eq!(mean(1000), (1.667, 30.0, false));
    assert_eq!(Window::default().mean(Duration::from_secs(1)), None);
}

#[test]
fn a_window_is_trimmed_scaled_and_continued() {
    let mut window = window(&[(0.0, 10.0, 1.0), (10.0, 20.0, 0.0), (20.0, 30.0, 4.0)]);
    window.trim(Duration::from_secs(20));
    assert_eq!(
        window.mean(Duration::from_secs(100)).unwrap().seconds,
        20.0,
        "what ended 20 s ago is dropped"
    );
    window.scale(0.5);
    let mut later = Window::default();
    later.add(at(40.0), at(50.0), 3.0);
    later.continue_from(&window);
    let mean = later.mean(Duration::from_secs(100)).unwrap();
    assert_eq!((mean.usage.round(), mean.seconds), (2.0, 30.0), "(0 + 2 + 3) / 3 is 1.67");
}

#[test]
fn an_excess_leaks_and_starts_over_at_each_burst() {
    let mut burst = Burst::default();
    let mut add = |end: f64, utilization: f64| burst.add(at(end), 1.0, utilization, 0.5, 1.0);
    assert_eq!([add(1.0, 1.0), add(2.0, 0.2), add(3.0, 0.9)], [None; 3], "0.5, 0.2, 0.6");
    let excess = add(4.0, 2.0).unwrap();
    assert!((excess.utilization - 1.025).abs() < 1e-9 && excess.seconds == 4.0, "{excess:?}");
    assert_eq!(add(5.0, 1.0), None, "0.5 again: more than the whole basis counts as the whole");
    assert!(add(6.0, 1.0).is_some());
    assert_eq!(burst.last().map(|(at, _)| at), Some(at(6.0)));
    assert_eq!(burst.add(at(7.0), 1.0, 0.0, 0.5, 1.0), None);
    assert_eq!(burst.last().map(|(at, _)| at), Some(at(6.0)), "a leak forgets no burst");
}

#[test]
fn a_pod_without_a_limit_has_the_sum_of_what_its_containers_have() {
    let of = |basis, amount| Ok(Denominator { basis, amount, request: None });
    let node = Denominator { basis: Basis::Node, amount: 4.0, request: None };
    let sum = |bases: Vec<Result<Denominator, UnknownReason>>| {
        sum_of_bases(bases.into_iter(), node).map(|of| (of.basis, of.amount))
    };
    assert_eq!(sum(vec![of(Basis::Request, 0.5), of(Basis::Request, 0.25)]), Ok((Basis::Request, 0.75)));
    assert_eq!(sum(vec![of(Basis::Limit, 2.0), of(Basis::Request, 0.25)]), Ok((Basis::Request, 2.25)));
    assert_eq!(sum(vec![of(Basis::Request, 0.5), of(Basis::Node, 4.0)]), Ok((Basis::Node, 4.0)));
    assert_eq!(sum(vec![of(Basis::Request, 3.0), of(Basis::Request, 3.0)]), Ok((Basis::Node, 4.0)));
    assert_eq!(sum(vec![]), Ok((Basis::Node, 4.0)));
    // requests of 10m and 20m that count as 50m each, beside a limit
    let small = |request| Ok(Denominator { basis: Basis::Request, amount: 0.05, request: Some(request) });
    let limit = of(Basis::Limit, 0.5);
    for (bases, expected) in [
        (vec![small(0.01)], Some(0.01)),
        (vec![small(0.01), small(0.02)], Some(0.03)),
        (vec![limit, small(0.01), limit], Some(1.01)),
        (vec![limit, limit], None),
        (vec![of(Basis::Node, 4.0), small(0.01)], None),
    ] {
        let request = sum_of_bases(bases.into_iter(), node).unwrap().request;
        assert!(request.is_some() == expected.is_some());
        assert!((request.unwrap_or_default() - expected.unwrap_or_default()).abs() < 1e-9, "{request:?}");
    }
    assert_eq!(sum(vec![of(Basis::Limit, 1.0), Err(UnknownReason::Denied)]), Err(UnknownReason::Denied));
}
