//! How bands follow a load in time.

use plimsoll_contract::Band::{High, Low, Moderate, Unknown};
use plimsoll_contract::Resource;

use super::sim::{Cgroup, Seen, Sim, came_to, container};
use crate::profile::Profile;

const MINUTE: f64 = 60.0;

fn profiles() -> [(Profile, f64); 2] {
    [(Profile::standard(), 1.0), (Profile::lab(), 0.25)]
}

fn square(low: f64, high: f64, half: f64) -> impl Fn(f64) -> f64 {
    move |t| {
        if ((t / half) as u64).is_multiple_of(2) { low } else { high }
    }
}

/// Gaussian noise with a new value every tenth of a second, reproducible by its seed.
fn noise(mean: f64, sd: f64, seed: u64) -> impl Fn(f64) -> f64 {
    move |t| {
        let mut rng = fastrand::Rng::with_seed(seed.wrapping_mul(1_000_003).wrapping_add((t * 10.0) as u64));
        let sum: f64 = (0..12).map(|_| rng.f64()).sum();
        (mean + sd * (sum - 6.0)).max(0.0)
    }
}

#[test]
fn a_new_pod_is_unknown_during_the_warm_up_and_then_has_the_band_of_its_load() {
    for (load, band) in [(0.1, Low), (0.5, Moderate), (0.9, High), (1.0, High)] {
        for (profile, _) in profiles() {
            let warm_up = profile.warm_up.as_secs_f64();
            let mut sim = Sim::one(profile, Cgroup::using(move |_| load));
            let seen = sim.run_cpu(30.0);
            assert_eq!(
                seen,
                [Seen { at: warm_up, resource: Resource::Cpu, from: Unknown, to: band }],
                "load {load}"
            );
        }
    }
}

#[test]
fn steady_load_for_ten_minutes_has_no_transition_after_the_first() {
    for load in [0.0, 0.2, 0.33, 0.5, 0.66, 0.8, 1.0] {
        for (profile, _) in profiles() {
            let mut sim = Sim::one(profile, Cgroup::using(move |_| load));
            let seen = sim.run(10.0 * MINUTE);
            let first: Vec<_> = seen.iter().map(|seen| (seen.from, seen.resource)).collect();
            assert_eq!(
                first,
                [(Unknown, Resource::Cpu), (Unknown, Resource::Memory)],
                "load {load}: {seen:?}"
            );
        }
    }
}

#[test]
fn square_wave_across_the_threshold_changes_the_band_at_most_once() {
    for (low, high) in [(0.60, 0.72), (0.0, 1.0), (0.3, 1.0), (0.65, 0.67), (0.2, 0.9)] {
        for share in [24.0, 12.0] {
            for (profile, _) in profiles() {
                let half = profile.window.as_secs_f64() / share;
                let mut sim = Sim::one(profile.clone(), Cgroup::using(square(low, high, half)));
                let seen = sim.run_cpu(10.0 * MINUTE);
                assert!(seen.len() <= 2, "{low}/{high} every {half} s at {:?}: {seen:?}", profile.period);
                assert_eq!(seen[0].from, Unknown);
            }
        }
    }
}

#[test]
fn an_hour_of_noise_around_the_threshold_changes_the_band_at_most_once() {
    for sd in [0.02, 0.05, 0.1, 0.2, 0.3] {
        for seed in 0..4 {
            let mut sim = Sim::one(Profile::standard(), Cgroup::using(noise(0.66, sd, seed)));
            let seen = sim.run_cpu(60.0 * MINUTE);
            assert!(seen.len() <= 2, "sd {sd}, seed {seed}: {seen:?}");
            assert_eq!(seen[0].from, Unknown);
        }
    }
}

#[test]
fn from_high_a_load_alternating_between_low_and_moderate_leaves_high_after_a_minute() {
    let wave = square(0.15, 0.50, 30.0);
    let load = move |t: f64| if t < 60.0 { 0.9 } else { wave(t - 60.0) };
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(load));
    let seen = sim.run_cpu(5.0 * MINUTE);
    let left = seen.iter().find(|seen| seen.from == High).map(|seen| seen.at);
    assert!(left.is_some_and(|at| (110.0..=121.0).contains(&at)), "{seen:?}");
    assert_eq!(sim.cpu(), Moderate);
}

#[test]
fn full_load_becomes_high_in_time_wherever_within_a_sweep_it_begins() {
    for ((profile, period), least) in profiles().into_iter().zip([7.06, 3.53]) {
        for offset in 0..20 {
            let begin = 40.0 + period * f64::from(offset) / 20.0;
            let mut sim =
                Sim::one(profile.clone(), Cgroup::using(move |t| if t < begin { 0.0 } else { 1.0 }));
            let seen = sim.run_cpu(begin + 30.0);
            let after = came_to(&seen, High) - begin;
            assert!(after <= least + 2.0 * period, "offset {offset}: {after} s of {least}");
            assert!(after >= least - 0.01, "offset {offset}: a burst takes {least} s, not {after}");
        }
    }
}

#[test]
fn a_load_that_ends_becomes_low_in_time_wherever_within_a_sweep_it_ends() {
    for (profile, period) in profiles() {
        let max = profile.window.as_secs_f64() + period;
        for offset in 0..20 {
            let fall = 40.0 + period * f64::from(offset) / 20.0;
            let mut sim = Sim::one(profile.clone(), Cgroup::using(move |t| if t < fall { 1.0 } else { 0.0 }));
            let seen = sim.run_cpu(fall + 100.0);
            let after = came_to(&seen, Low) - fall;
            assert!(after <= max, "offset {offset}: {after} s of {max}");
            let falls: Vec<_> = seen.iter().filter(|seen| seen.at > fall + max / 2.0).collect();
            assert_eq!(falls.len(), 1, "offset {offset}: {seen:?}");
        }
    }
}

#[test]
fn flapping_lengthens_bursts_and_the_window_and_calm_shortens_them_again() {
    // the worst case: 30 s full, 70 s idle
    let wave = |t: f64| if t < 3600.0 && t % 100.0 < 30.0 { 1.0 } else { 0.0 };
    let end = 3600.0 + 3.0 * 5400.0;
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(move |t| if t > end { 1.0 } else { wave(t) }));
    let seen = sim.run_cpu(3600.0);
    let late = seen.iter().filter(|seen| seen.at > 600.0).count();
    assert!(seen.len() >= 7, "it flapped at first: {seen:?}");
    assert!(late <= 12, "{late} transitions in 50 minutes: {seen:?}");
    // after three times 90 minutes without a change a burst is the initial one
    sim.run_cpu(end);
    let seen = sim.run_cpu(end + 100.0);
    assert!(came_to(&seen, High) - end <= 9.0, "{seen:?}");
}

#[test]
fn a_resize_rescales_the_utilization_at_once_and_the_past_keeps_its_own() {
    // 0.4 cores of 1 core is moderate; of 0.5 cores it is high: a burst of 0.14 above the threshold takes 17.1 s
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|_| 0.4));
    sim.run(60.0);
    let changed = sim.now;
    sim.get(&container(1)).cpu_limit = plimsoll_contract::Limit::Of(plimsoll_contract::Cores(0.5));
    let seen = sim.run_cpu(changed + 9.0);
    assert_eq!(seen, []);
    assert!((sim.utilization() - 0.8).abs() < 1e-6, "rescaled at once: {}", sim.utilization());
    let seen = sim.run_cpu(changed + 30.0);
    let after = came_to(&seen, High) - changed;
    assert!((17.0..=18.0).contains(&after), "{after}");
}

#[test]
fn a_resize_that_is_reverted_does_not_change_the_band() {
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|_| 0.4));
    sim.run(60.0);
    for (until, limit) in [(74.0, 0.5), (140.0, 1.0)] {
        sim.get(&container(1)).cpu_limit = plimsoll_contract::Limit::Of(plimsoll_contract::Cores(limit));
        assert_eq!(sim.run_cpu(until), [], "limit {limit}");
    }
    assert_eq!(sim.cpu(), Moderate);
}

#[test]
fn a_small_change_of_the_limit_does_not_delay_a_burst() {
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|t| if t < 40.0 { 0.1 } else { 1.0 }));
    let mut seen = sim.run_cpu(44.0);
    sim.get(&container(1)).cpu_limit = plimsoll_contract::Limit::Of(plimsoll_contract::Cores(1.01));
    seen.extend(sim.run_cpu(70.0));
    assert!(came_to(&seen, High) - 40.0 <= 9.0, "{seen:?}");
}

#[test]
fn utilization_above_one_is_high_and_reported_as_it_is() {
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|_| 3.0).cpu_limit(0.5));
    sim.run(20.0);
    assert_eq!(sim.cpu(), High);
    assert!((sim.utilization() - 6.0).abs() < 1e-6, "{}", sim.utilization());
}
