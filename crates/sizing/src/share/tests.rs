mod again;

use super::*;
use crate::urgency::{Criteria, Weights, score};
use proptest::prelude::*;

/// Places of the golden claims.
const API: usize = 0;
const DB: usize = 1;
const WEB: usize = 2;
const BATCH: usize = 3;

fn golden() -> Vec<Claim> {
    let claim = |place, rank, weight, [a, b, c, d]: [f64; 4], amount| {
        let criteria = Criteria::cpu(Some(a), Some(b), Some(c), Some(d));
        let urgency = score(&criteria, &Weights::default());
        Claim { place, rank, weight, urgency, amount, least: 10, waits: false }
    };
    vec![
        claim(API, 0, 4.0, [0.20, 0.82, 12.0, 120.0], 500),
        claim(DB, 0, 4.0, [0.0, 0.60, 2.0, 0.0], 0),
        claim(WEB, 1, 2.0, [0.45, 0.99, 40.0, 300.0], 500),
        claim(BATCH, 2, 1.0, [0.50, 1.0, 50.0, 300.0], 1000),
    ]
}

#[test]
fn golden_division_by_weight() {
    let claims = golden();
    let exact = |room| {
        let order = weighted::filling_order(&claims, &[0, 2, 3], |claim| claim.urgency * claim.weight);
        let mut grants: Vec<_> = weighted::exact(room, &claims, &order).collect();
        grants.sort_by_key(|(i, _)| *i);
        grants.iter().map(|(_, grant)| format!("{grant:.2}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(exact(600), "236.52 232.56 130.92");
    assert_eq!(exact(1000), "394.21 387.60 218.20");
    assert_eq!(exact(2500), "500.00 500.00 1000.00");
    assert_eq!(weighted(600, 10, &claims), [240, 0, 230, 130]);
    assert_eq!(weighted(1000, 10, &claims), [390, 0, 390, 220]);
    assert_eq!(weighted(2500, 10, &claims), [500, 0, 500, 1000]);
}

#[test]
fn golden_division_by_class() {
    let claims = golden();
    assert_eq!(tiered(600, 10, 0.0, &claims), [500, 0, 100, 0]);
    assert_eq!(tiered(1000, 10, 0.0, &claims), [500, 0, 500, 0]);
    assert_eq!(tiered(2500, 10, 0.0, &claims), [500, 0, 500, 1000]);
}

#[test]
fn a_tenth_of_what_a_class_finds_is_left_to_those_below() {
    let mut claims = golden();
    claims[0].amount = 5000;
    // gold leaves 100, silver 10 of these
    assert_eq!(tiered(1000, 10, KEPT_FOR_LOWER, &claims), [900, 0, 90, 10]);
    // nobody below claims it
    assert_eq!(tiered(1000, 10, KEPT_FOR_LOWER, &claims[..2]), [1000, 0]);
    // they claim less than a tenth
    claims[2].amount = 20;
    claims[3].amount = 0;
    assert_eq!(tiered(1000, 10, KEPT_FOR_LOWER, &claims), [980, 0, 20, 0]);
    // what is of no use to them goes back
    (claims[2].amount, claims[2].least) = (500, 200);
    assert_eq!(tiered(1000, 10, KEPT_FOR_LOWER, &claims), [1000, 0, 0, 0]);
}

#[test]
fn two_burners_and_headroom_for_one_gold_is_served_first() {
    let mut claims = golden();
    claims.retain(|claim| [API, BATCH].contains(&claim.place));
    claims[1].amount = 500;
    assert_eq!(tiered(500, 10, 0.0, &claims), [500, 0]);
    assert_eq!(tiered(500, 10, KEPT_FOR_LOWER, &claims), [450, 50]);
}

#[test]
fn ties_are_broken_by_class_and_then_by_place_and_nan_is_served_last() {
    let claim = |place, rank, urgency| Claim {
        place,
        rank,
        weight: 1.0,
        urgency,
        amount: 100,
        least: 10,
        waits: false,
    };
    let claims = [claim(3, 0, 0.5), claim(0, 1, 0.5), claim(2, 0, 0.5), claim(1, 0, f64::NAN)];
    assert_eq!(tiered(100, 10, 0.0, &claims), [0, 0, 100, 0]);
    assert_eq!(tiered(300, 10, 0.0, &claims), [100, 0, 100, 100]);
    assert_eq!(weighted(10, 10, &claims[..3]), [0, 10, 0], "one step for three alike: by place");
    assert_eq!(weighted(300, 10, &claims), [100, 100, 100, 0]);
}

#[test]
fn what_is_of_no_use_is_not_granted_and_goes_to_the_others() {
    let claim = |place, amount, least| Claim {
        place,
        rank: 0,
        weight: 1.0,
        urgency: 0.5,
        amount,
        least,
        waits: false,
    };
    let claims = [claim(0, 1000, 400), claim(1, 1000, 400)];
    assert_eq!(weighted(600, 10, &claims), [600, 0]);
    assert_eq!(tiered(300, 10, 0.0, &claims), [0, 0]);
    assert_eq!(weighted(0, 10, &claims), [0, 0]);
    assert!(weighted(100, 10, &[]).is_empty() && tiered(100, 10, 0.1, &[]).is_empty());
}

#[test]
fn a_tenth_that_makes_a_growth_useless_is_not_left_and_more_room_never_gives_the_first_less() {
    let mut claims = golden();
    claims.retain(|claim| [API, BATCH].contains(&claim.place));
    (claims[0].amount, claims[0].least, claims[1].amount) = (1000, 500, 500);
    let share = |room| tiered(room, 10, KEPT_FOR_LOWER, &claims);
    assert_eq!([490, 500, 540, 560].map(share), [[0, 490], [500, 0], [500, 40], [500, 60]]);
    let grants: Vec<u64> = (0..1200).map(|room| share(room)[0]).collect();
    assert!(grants.is_sorted(), "{grants:?}");
}

#[test]
fn what_waits_is_kept_from_the_classes_below_and_not_from_those_of_its_own_that_may_grow() {
    let mut claims = golden();
    claims[API].waits = true;
    assert_eq!(tiered(500, 10, 0.0, &claims), [500, 0, 0, 0]);
    assert_eq!(tiered(600, 10, KEPT_FOR_LOWER, &claims), [500, 0, 90, 10], "no tenth of what is only kept");
    // a tenth of what its class takes now, in whole steps
    claims[DB] = Claim { amount: 100, ..claims[DB] };
    assert_eq!(tiered(500, 10, KEPT_FOR_LOWER, &claims), [390, 100, 10, 0]);
    claims[DB].amount = 0;
    // of one class, less urgent
    claims[WEB] = Claim { rank: 0, urgency: 0.1, ..claims[WEB] };
    assert_eq!(tiered(500, 10, 0.0, &claims), [0, 0, 500, 0]);
    assert_eq!(tiered(600, 10, 0.0, &claims), [100, 0, 500, 0]);
    // all alike
    let mut claims = golden();
    let before = weighted(600, 10, &claims);
    claims[API].waits = true;
    assert_eq!(weighted(600, 10, &claims), before);
}

fn claims() -> impl Strategy<Value = Vec<Claim>> {
    let urgency = prop_oneof![4 => 0.0..1.0, 1 => Just(0.0), 1 => Just(f64::NAN)];
    let claim = (0u32..4, 0.0..5.0, urgency, 0u64..3000, 0u64..200, any::<bool>());
    prop::collection::vec(claim, 0..12).prop_map(|claims| {
        let claim = |(i, (rank, weight, urgency, amount, least, waits))| Claim {
            place: i,
            rank,
            weight,
            urgency,
            amount,
            least,
            waits,
        };
        claims.into_iter().enumerate().map(claim).collect()
    })
}

/// Many that differ little, in whole steps: most are about to be of no use, and remainders are equal or nearly so.
fn alike() -> impl Strategy<Value = Vec<Claim>> {
    let urgency = prop_oneof![3 => (1u32..4).prop_map(|n| f64::from(n) / 3.0), 1 => Just(0.0)];
    let claim = (1u32..4, urgency, 0u64..20, 0u64..5);
    prop::collection::vec(claim, 0..60).prop_map(|claims| {
        let claim = |(i, (class, urgency, amount, least))| Claim {
            place: i,
            rank: class,
            weight: f64::from(4 / class),
            urgency,
            amount: amount * 10,
            least: least * 10,
            waits: false,
        };
        claims.into_iter().enumerate().map(claim).collect()
    })
}

proptest! {
    #[test]
    fn no_more_is_granted_than_there_is_or_than_is_claimed_and_nothing_useless(
        claims in claims(),
        room in 0u64..10_000,
        kept in 0.0..0.5,
    ) {
        for granted in [tiered(room, 10, kept, &claims), weighted(room, 10, &claims)] {
            prop_assert!(granted.iter().sum::<u64>() <= room);
            for (claim, part) in claims.iter().zip(&granted) {
                prop_assert!(*part <= claim.amount);
                prop_assert!(*part == 0 || *part >= claim.least.min(claim.amount));
            }
        }
    }

    /// What makes it max-min fair: nobody could get more but from one who has less for each unit of share.
    #[test]
    fn before_rounding_those_who_get_less_than_they_claim_get_the_same_for_each_unit_of_share_and_nobody_gets_more(
        claims in claims(),
        room in 0u64..10_000,
    ) {
        let share = |claim: &Claim| finite(claim.urgency) * finite(claim.weight);
        let served: Vec<_> = (0..claims.len()).filter(|i| share(&claims[*i]) > 0.0).collect();
        let order = weighted::filling_order(&claims, &served, share);
        let grants: Vec<_> = weighted::exact(room, &claims, &order).collect();
        let is_filled = |(i, grant): &&(usize, f64)| *grant >= claims[*i].amount as f64 - 1e-6;
        let of_share = |(i, grant): &(usize, f64)| grant / share(&claims[*i]);
        let all: f64 = grants.iter().map(|(_, grant)| grant).sum();
        let claimed: u64 = served.iter().map(|i| claims[*i].amount).sum();
        prop_assert!((all - claimed.min(room) as f64).abs() < 1e-6, "{all} of {room} for {claimed}");
        let level = grants.iter().filter(|one| !is_filled(one)).map(of_share).reduce(f64::max);
        for one in &grants {
            let (mine, level) = (of_share(one), level.unwrap_or(f64::INFINITY));
            prop_assert!(mine <= level * (1.0 + 1e-9), "{mine} above {level}");
            prop_assert!(is_filled(&one) || mine >= level * (1.0 - 1e-9), "{mine} below {level}");
        }
    }

    /// Nobody of a lower class is given what one that waits could use.
    #[test]
    fn what_those_who_wait_get_less_than_they_claim_no_lower_class_gets(claims in claims(), room in 0u64..5_000) {
        let granted = tiered(room, 10, KEPT_FOR_LOWER, &claims);
        let sum = |of: &dyn Fn(&Claim) -> bool| -> u64 {
            claims.iter().zip(&granted).filter(|(claim, _)| of(claim)).map(|(_, part)| part).sum()
        };
        for (claim, part) in claims.iter().zip(&granted).filter(|(claim, _)| claim.waits) {
            let below = sum(&|other| other.rank > claim.rank);
            // a tenth of what is taken now, and no more
            let tenths = sum(&|other| other.rank == claim.rank && !other.waits).div_ceil(9);
            prop_assert_eq!(claim.take(*part, below.saturating_sub(tenths), 10), 0, "{:?} has {}, those below {}", claim, part, below);
        }
    }

    #[test]
    fn all_get_what_they_claim_where_there_is_enough(claims in claims()) {
        let amounts: Vec<_> = claims.iter().map(|claim| claim.amount).collect();
        let room = amounts.iter().sum();
        prop_assert_eq!(&tiered(room, 10, KEPT_FOR_LOWER, &claims), &amounts);
        prop_assert_eq!(&weighted(room, 10, &claims), &amounts);
    }

    #[test]
    fn the_order_of_the_claims_does_not_matter(claims in claims(), room in 0u64..10_000) {
        let reversed: Vec<_> = claims.iter().rev().copied().collect();
        for divide in [|room, claims: &[Claim]| tiered(room, 10, KEPT_FOR_LOWER, claims), |room, claims: &[Claim]| weighted(room, 10, claims)] {
            let mut other = divide(room, &reversed);
            other.reverse();
            prop_assert_eq!(divide(room, &claims), other);
        }
    }

    #[test]
    fn nothing_but_the_time_it_takes_tells_it_from_sorting_and_dividing_everything_again(
        claims in prop_oneof![claims(), alike()],
        step in prop_oneof![Just(1), Just(7), Just(10)],
        room in 0u64..4_000,
    ) {
        prop_assert_eq!(weighted(room, step, &claims), again::weighted(room, step, &claims));
    }
}
