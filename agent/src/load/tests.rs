use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_assert, prop_oneof, proptest};

use super::*;

const GIB: u64 = 1 << 30;

fn at(seconds: f64) -> Moment {
    Moment(Duration::from_secs_f64(seconds))
}

fn node() -> Option<Capacity> {
    Some(Capacity { cores: Cores(4.0), bytes: Bytes(8 * GIB) })
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
        let basis = cpu_basis(limit, request, node(), 0.05).map(|of| (of.basis, of.amount));
        assert_eq!(basis, expected, "{case}");
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
            Ok(Denominator { basis, amount: amount as f64 }),
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
fn the_time_of_a_crossing_between_two_sweeps_is_exact() {
    // from 0 toward 1 with a half-life of 5 s: at 0.66 after 5 * log2(1 / 0.34)
    let crossed = 5.0 * (1.0_f64 / 0.34).log2();
    let value = |t: f64| 1.0 - (-t / 5.0).exp2();
    let path = Path { from: value(7.0), toward: 1.0, to: value(8.0), start: at(7.0), end: at(8.0) };
    let found = path.crossing(0.66).unwrap();
    assert!((found.0.as_secs_f64() - crossed).abs() < 1e-6, "{found:?}, not {crossed}");
    assert_eq!(path.crossing(0.7), None);
    assert_eq!(Path::jump(0.9, at(8.0)).crossing(0.66), None);
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
    fn a_crossing_lies_within_its_step(from in 0.0..2.0_f64, toward in 0.0..2.0_f64, threshold in 0.0..2.0_f64, ms in 1_u64..3000) {
        let end = Moment(Duration::from_secs(10) + Duration::from_millis(ms));
        let mut smoothed = Smoothed::new(at(9.0), at(10.0), from);
        smoothed.add(at(10.0), end, toward, &Profile::standard());
        let path = smoothed.path(1.0, false);
        let crossing = path.crossing(threshold);
        prop_assert!(crossing.is_none_or(|crossing| (at(10.0)..=end).contains(&crossing)));
        prop_assert!(crossing.is_some() == ((from < threshold) != (path.to < threshold)));
    }
}

#[test]
fn a_change_of_basis_is_no_crossing() {
    let mut smoothed = Smoothed::new(at(9.0), at(10.0), 0.1);
    smoothed.add(at(10.0), at(13.0), 1.0, &Profile::standard());
    let threshold = f64::midpoint(0.1, smoothed.value());
    assert!(smoothed.path(1.0, false).crossing(threshold).is_some());
    assert_eq!(smoothed.path(1.0, true).crossing(threshold), None);
    assert_eq!(smoothed.path(0.5, true), Path::jump(smoothed.value() / 0.5, at(13.0)));
}
