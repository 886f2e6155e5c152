use super::*;
use proptest::prelude::*;

fn cpu(values: [f64; COUNT]) -> Criteria {
    let [throttled, utilization, psi, high] = values.map(Some);
    Criteria::cpu(throttled, utilization, psi, high)
}

fn score_of(values: [f64; COUNT]) -> f64 {
    score(&cpu(values), &Weights::default())
}

fn assert_close(left: f64, right: f64, digits: i32) {
    assert!((left - right).abs() < 0.5 * 10f64.powi(-digits), "{left} is not {right} to {digits} digits");
}

#[test]
fn golden_scores() {
    assert_close(score_of([0.20, 0.82, 12.0, 120.0]), 0.451659, 6);
    assert_close(score_of([0.0, 0.60, 2.0, 0.0]), 0.214757, 6);
    assert_close(score_of([0.45, 0.99, 40.0, 300.0]), 0.888172, 6);
    assert_close(score_of([0.50, 1.0, 50.0, 300.0]), 1.0, 6);
    assert_eq!(score_of([0.0; COUNT]), 0.0);
}

#[test]
fn golden_weights_and_consistency() {
    let weights = Weights::default().values();
    for (weight, golden) in weights.into_iter().zip([0.423147, 0.227351, 0.227351, 0.122152]) {
        assert_close(weight, golden, 6);
    }
    let comparisons =
        [[1.0, 2.0, 2.0, 3.0], [0.5, 1.0, 1.0, 2.0], [0.5, 1.0, 1.0, 2.0], [1.0 / 3.0, 0.5, 0.5, 1.0]];
    let consistency = Consistency::of(&comparisons);
    assert_close(consistency.lambda, 4.010356, 6);
    assert_close(consistency.index, 0.003452, 6);
    assert_close(consistency.ratio, 0.003836, 6);
    assert_eq!(Weights::from_comparisons(&comparisons), Ok(Weights::default()));
}

#[test]
fn contradicting_comparisons_are_refused_and_the_one_to_revisit_is_named() {
    // throttle over util over psi, and psi over throttle
    let comparisons =
        [[1.0, 5.0, 1.0 / 7.0, 1.0], [0.2, 1.0, 5.0, 1.0], [7.0, 0.2, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]];
    let refused = Weights::from_comparisons(&comparisons).unwrap_err();
    assert!(matches!(refused, Inconsistent::Ratio { row: "throttle", column: "psi", .. }), "{refused:?}");
    let words = refused.to_string();
    assert!(words.contains("revisit throttle compared with psi, which is 0.14 but"), "{words}");
}

#[test]
fn what_is_no_comparison_is_refused_by_its_place() {
    let good = [[1.0; COUNT]; COUNT];
    for (i, j, value) in [(0, 1, 0.0), (0, 1, -2.0), (1, 0, f64::NAN), (2, 3, 10.0), (2, 2, 2.0), (0, 3, 3.0)]
    {
        let mut bad = good;
        bad[i][j] = value;
        let refused = Weights::from_comparisons(&bad).unwrap_err();
        assert!(matches!(refused, Inconsistent::Value { .. }), "{refused:?}");
    }
}

#[test]
fn comparisons_are_written_as_ratios_and_those_that_are_not_are_the_default() {
    let parsed = |text: &str| text.parse::<Weights>().map_err(|error| error.to_string());
    let all = "throttle/util=2, throttle/psi=2, throttle/high=3, util/psi=1, util/high=2, psi/high=2";
    assert_eq!(parsed(all), Ok(Weights::default()));
    assert_eq!(parsed("throttle/util=2"), Ok(Weights::default()));
    // psi over all others: 1/4, 1/3 and 1/2 the other way round
    let comparisons =
        [[1.0, 2.0, 0.5, 3.0], [0.5, 1.0, 1.0 / 3.0, 2.0], [2.0, 3.0, 1.0, 4.0], [1.0 / 3.0, 0.5, 0.25, 1.0]];
    let psi_first = Weights::from_comparisons(&comparisons).unwrap();
    assert_eq!(parsed("psi/throttle=2,psi/util=3,psi/high=4"), Ok(psi_first));
    assert!(psi_first.values()[2] > psi_first.values()[0]);
}

#[test]
fn a_text_that_holds_no_comparisons_is_refused_with_the_part_that_is_wrong_and_what_would_be_right() {
    let refused = |text: &str| text.parse::<Weights>().unwrap_err().to_string();
    for (text, words) in [
        ("", r#""" is no comparison: write A/B=N"#),
        ("throttle/util=2,", r#""" is no comparison"#),
        ("throttle>util=2", r#""throttle>util=2" is no comparison"#),
        ("throttle/util", "such as throttle/util=2"),
        ("cpu/util=2", r#""cpu/util=2" names "cpu": the criteria are throttle, util, psi, high"#),
        ("util/throttle=0.5", r#"says "0.5": write a number from 1 (as much) to 9 (far more)"#),
        ("util/throttle=0.5", "write throttle/util"),
        ("util/psi=10", r#"says "10""#),
        ("util/psi=NaN", r#"says "NaN""#),
        ("util/psi=", r#"says """#),
        ("psi/psi=1", "compares a criterion with itself"),
        ("util/psi=2,psi/util=2", r#""psi/util=2" compares two that were compared before"#),
    ] {
        assert!(refused(text).contains(words), "{text}: {}", refused(text));
    }
    // throttle over util over psi, and psi over throttle
    let contradiction = refused("throttle/util=5,util/psi=5,psi/throttle=7");
    assert!(contradiction.contains("revisit throttle compared with psi"), "{contradiction}");
}

#[test]
fn a_score_is_explained_by_its_terms() {
    let weights = Weights::default();
    let criteria = cpu([0.20, 0.82, 12.0, 120.0]);
    assert_eq!(
        Terms(&criteria, &weights).to_string(),
        "[throttle .40x.42, util .82x.23, psi .24x.23, high .40x.12]"
    );
    let criteria = Criteria::cpu(Some(0.7), Some(0.0), None, Some(f64::NAN));
    assert_eq!(
        Terms(&criteria, &weights).to_string(),
        "[throttle 1.00x.42, util .00x.23, psi unknown, high unknown]"
    );
}

#[test]
fn what_is_not_known_is_left_out_with_its_weight_and_nothing_known_is_served_last() {
    let weights = Weights::default();
    let without_psi = |utilization| Criteria::cpu(Some(0.5), Some(utilization), None, Some(300.0));
    assert_eq!(score(&without_psi(1.0), &weights), 1.0, "a node without PSI is not less urgent");
    assert!(score(&without_psi(0.5), &weights) > score_of([0.5, 0.5, 0.0, 300.0]));
    assert_eq!(score(&Criteria::cpu(None, None, None, None), &weights), 0.0);
    let bad = Some(f64::NAN);
    assert_eq!(score(&Criteria::cpu(bad, Some(f64::INFINITY), Some(-1.0), bad), &weights), 0.0);
}

#[test]
fn memory_is_more_urgent_the_sooner_the_limit_is_reached() {
    let weights = Weights::default();
    let at = |left| score(&Criteria::memory(Some(0.0), Some(0.8), Some(0.0), Some(left)), &weights);
    assert!(at(f64::INFINITY) == at(1e12) || at(f64::INFINITY) <= at(1e12));
    assert!(at(600.0) > at(3000.0) && at(300.0) > at(600.0));
    assert_eq!(at(300.0), at(0.0), "within 300 s: as urgent as can be");
}

#[test]
fn promethee_prefers_where_the_difference_counts_and_sums_to_zero() {
    let weights = Weights::default();
    assert_eq!(net_flows(&[], &weights), Vec::<f64>::new());
    assert_eq!(net_flows(&[cpu([0.1, 0.2, 3.0, 4.0])], &weights), vec![0.0]);
    let near = [cpu([0.20, 0.80, 10.0, 100.0]), cpu([0.21, 0.82, 11.0, 110.0])];
    assert_eq!(net_flows(&near, &weights), vec![0.0, 0.0], "below the threshold of indifference");
    let all = [
        cpu([0.20, 0.82, 12.0, 120.0]),
        cpu([0.0, 0.60, 2.0, 0.0]),
        cpu([0.45, 0.99, 40.0, 300.0]),
        cpu([0.50, 1.0, 50.0, 300.0]),
    ];
    let flows = net_flows(&all, &weights);
    assert!(flows[3] > flows[2] && flows[2] > flows[0] && flows[0] > flows[1], "{flows:?}");
    assert!(flows.iter().sum::<f64>().abs() < 1e-12);
    // all of the criterion's range in one criterion is its weight
    let pair = net_flows(&[cpu([0.5, 0.0, 0.0, 0.0]), cpu([0.0; COUNT])], &weights);
    assert_close(pair[0], 0.423147, 6);
}

fn raw() -> impl Strategy<Value = [f64; COUNT]> {
    (0.0..1.0, 0.0..2.0, 0.0..100.0, 0.0..1000.0).prop_map(|(a, b, c, d)| [a, b, c, d])
}

proptest! {
    #[test]
    fn more_need_is_never_less_urgent(values in raw(), which in 0..COUNT, more in 0.0..100.0) {
        let mut raised = values;
        raised[which] += more;
        prop_assert!(score_of(raised) >= score_of(values) - 1e-12);
    }

    #[test]
    fn a_score_is_between_0_and_1_for_any_input(values in prop::array::uniform4(prop::option::of(prop::num::f64::ANY))) {
        let [a, b, c, d] = values;
        for criteria in [Criteria::cpu(a, b, c, d), Criteria::memory(a, b, c, d)] {
            let score = score(&criteria, &Weights::default());
            prop_assert!((0.0..=1.0).contains(&score), "{}", score);
        }
    }

    #[test]
    fn a_score_does_not_depend_on_the_neighbors(mut pods in prop::collection::vec(raw(), 2..8), other in raw()) {
        // textbook TOPSIS puts A before B, and B before A once C is there
        let order = |pods: &[[f64; COUNT]]| score_of(pods[0]).total_cmp(&score_of(pods[1]));
        let before = order(&pods);
        pods.push(other);
        prop_assert_eq!(order(&pods), before);
    }
}
