//! The rule against loads: it settles in 1 to 7 growths, and then changes nothing, or one thing in half an hour.

use super::*;
use crate::policy::Policy;
use crate::verdict::Verdict;

/// Each class and each kind of excess at least once.
const CASES: [(&str, Excess); 4] = [
    ("gold", Excess::Queued),
    ("silver", Excess::Lost),
    ("silver", Excess::Unscheduled),
    ("bronze", Excess::Queued),
];
/// From the decision to the kernel.
const ACTUATION: u32 = 2;
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// What happened.
#[derive(Debug)]
struct Run {
    /// When, and whether it grew.
    resizes: Vec<(u64, bool)>,
    container: Container,
}

impl Run {
    /// Growths before it gives back for the first time, and the most changes in half an hour after it gave back: then it has converged.
    fn growths_and_later(&self) -> (usize, usize) {
        let growths = self.resizes.iter().take_while(|(_, grew)| *grew).count();
        let later: Vec<u64> =
            self.resizes[growths..].iter().skip_while(|(_, grew)| !*grew).map(|(at, _)| *at).collect();
        let in_half_hour =
            |from: &u64| later.iter().filter(|at| (*from..*from + 30 * MINUTE).contains(*at)).count();
        (growths, later.iter().map(in_half_hour).max().unwrap_or(0))
    }
}

fn run(class: &str, excess: Excess, size: Size, seconds: u64, demand: impl Fn(u64) -> f64) -> Run {
    run_on(16_000, class, excess, size, seconds, demand)
}

/// On a node of that many millicores.
fn run_on(
    node: u32,
    class: &str,
    excess: Excess,
    size: Size,
    seconds: u64,
    demand: impl Fn(u64) -> f64,
) -> Run {
    let class = Policy::builtin(class).unwrap();
    let mut container = Container::new(size, f64::from(node) / 1000.0, excess);
    let mut controller = Controller::new(&class, class.cpu.bounds(size, size, Some(u64::from(node))));
    let (mut resizes, mut under_way) = (Vec::new(), None);
    for now in 0..seconds {
        container.step(demand(now), 1);
        if let Some((at, to)) = under_way {
            if now < at {
                continue;
            }
            container.resize(to);
            under_way = None;
        }
        let (change, grew) = match controller.decide(&container) {
            Verdict::Grow(change) => (change, true),
            Verdict::Shrink(change) => (change, false),
            Verdict::Keep(_) | Verdict::Cooldown { .. } => continue,
        };
        let before = container.size();
        assert_moderate(before, change.to, class.cpu.max_step);
        resizes.push((now, grew));
        under_way = Some((now + u64::from(ACTUATION), change.to));
    }
    Run { resizes, container }
}

fn assert_moderate(from: Size, to: Size, max_step: f64) {
    for (from, to) in [(from.request, to.request), (from.limit, to.limit)] {
        let (Some(from), Some(to)) = (from, to) else { panic!("set or removed: {from:?} {to:?}") };
        assert!(to as f64 <= (from as f64 * (1.0 + max_step)).max(from as f64 + 10.0), "{from} -> {to}");
        assert!(to as f64 >= (from as f64 * 0.8).min(from as f64 - 10.0), "{from} -> {to}");
    }
}

fn small() -> Size {
    Size { request: Some(200), limit: Some(400) }
}

/// Twice the hold of the class, in which it may not shrink, and 75 min at least.
fn length(class: &str) -> u64 {
    if class == "gold" { 2 * HOUR + 5 * MINUTE } else { 75 * MINUTE }
}

/// Runs all cases.
fn each(demand: impl Fn(u64) -> f64, check: impl Fn(&str, Excess, Run)) {
    for (class, excess) in CASES {
        check(class, excess, run(class, excess, small(), length(class), &demand));
    }
}

fn assert_settles(what: &str, demand: impl Fn(u64) -> f64) {
    each(demand, |class, excess, run| {
        let (growths, later) = run.growths_and_later();
        assert!(
            (1..=7).contains(&growths),
            "{what}, {class}, {excess:?}: {growths} growths: {:?}",
            run.resizes
        );
        assert!(later <= 1, "{what}, {class}, {excess:?}: {later} changes in 30 min: {:?}", run.resizes);
    });
}

/// Even in 0 to 1, the same for the same second.
fn noise(second: u64) -> f64 {
    let mut x = second.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((x ^ (x >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

#[test]
fn a_step_settles_and_the_backlog_is_done() {
    let step = |now| if now < MINUTE { 0.05 } else { 2.0 };
    assert_settles("step", step);
    for (class, within) in [("gold", 60), ("silver", 90), ("bronze", 400)] {
        let run = run(class, Excess::Queued, small(), 20 * MINUTE, step);
        let last_growth = run.resizes.iter().filter(|(_, grew)| *grew).map(|(at, _)| at - MINUTE).next_back();
        assert!(last_growth <= Some(within), "{class}: {:?}", run.resizes);
        assert!(run.resizes[0].0 - MINUTE <= 3, "the first growth is decided within 3 s");
        assert!(run.container.backlog() < 1e-6);
    }
}

#[test]
fn a_large_backlog_settles() {
    // 10 min of three times the limit, then half of it
    assert_settles("backlog", |now| if now < 10 * MINUTE { 1.2 } else { 0.2 });
}

#[test]
fn square_waves_of_5_s_to_10_min_settle() {
    for period in [5, 20, 120, 600] {
        let wave = |now: u64| if now % period < period.div_ceil(2) { 1.5 } else { 0.05 };
        assert_settles(&format!("square wave of {period} s"), wave);
    }
}

#[test]
fn noise_settles() {
    assert_settles("noise", |now| 0.3 + 0.8 * noise(now));
    // a sum of four is nearly normal: mean 0.8, deviation 0.23
    let normal = |now| 0.4 * (0..4).map(|i| noise(now * 4 + i)).sum::<f64>();
    assert_settles("normal noise", normal);
}

#[test]
fn a_ramp_is_followed_in_steps_and_settles() {
    let ramp = |now: u64| 0.3 + 0.9 * (now as f64 / (20 * MINUTE) as f64).min(1.0);
    // a request at 0.90 of what is used, as in bronze, follows in more steps
    for ((class, excess), most) in CASES.into_iter().zip([7, 7, 7, 14]) {
        let run = run(class, excess, small(), length(class), ramp);
        let (growths, later) = run.growths_and_later();
        assert!((1..=most).contains(&growths) && later <= 1, "{class}: {:?}", run.resizes);
        assert!(
            run.resizes.iter().all(|(at, grew)| !grew || *at <= 21 * MINUTE),
            "{class}: {:?}",
            run.resizes
        );
    }
}

#[test]
fn spikes_settle_also_where_they_are_rarer_than_the_hold() {
    for period in [60, 600, 1800] {
        let spikes = |now: u64| if now % period < 4 { 1.2 } else { 0.15 };
        assert_settles(&format!("spikes each {period} s"), spikes);
    }
}

#[test]
fn a_load_of_day_and_night_settles_at_the_day() {
    // four times as fast as the real one
    const DAY: u64 = 6 * HOUR;
    let day = |now: u64| 1.05 - 0.95 * (now as f64 / DAY as f64 * std::f64::consts::TAU).cos();
    let run = run("silver", Excess::Queued, small(), 9 * HOUR, day);
    // a request close to what is used follows a load that rises for hours; after the peak of the first day nothing changes
    assert!(run.resizes.iter().all(|(at, _)| *at < DAY / 2), "{:?}", run.resizes);
    assert_eq!(run.container.throttled_seconds(), 0.0);
}

#[test]
fn an_idle_container_gives_back_to_its_floor_and_stays_there() {
    let size = Size { request: Some(1000), limit: Some(2000) };
    for (class, floor) in [("gold", 2000), ("silver", 1000), ("bronze", 30)] {
        let run = run(class, Excess::Queued, size, 6 * HOUR, |_| 0.01);
        let limit = run.container.size().limit.unwrap();
        assert!(run.resizes.iter().all(|(_, grew)| !grew), "{class}");
        assert!(limit >= floor && limit <= floor + floor / 16 + 20, "{class}: {limit}");
    }
}

/// Three or four pods on three nodes, each pod created with four fifths of a node as request and limit: there the original optimizer changed
/// sizes each minute for ever, or settled by luck, because it counted limits and read no usage. A pod's size does not depend on its neighbors here, so
/// each is run by itself, on what the others' limits leave of its node.
#[test]
fn on_the_clusters_where_the_original_optimizer_oscillates_every_pod_settles() {
    // millicores of a node, and of other limits on it; of the last, another demo pod's too
    for (node, others) in [(2000, 100), (4000, 100), (6000, 100), (8000, 100), (8000, 600), (8000, 6500)] {
        let cores = f64::from(node - others) / 1000.0;
        let loads: [(&str, &dyn Fn(u64) -> f64); 3] = [
            ("idle", &|_| 0.001),
            ("half of each second", &|_| 0.5),
            ("four threads", &|second| if second < MINUTE { 0.0 } else { 4.0_f64.min(cores) }),
        ];
        let made = Some(u64::from(node) * 4 / 5);
        let size = Size { request: made, limit: made };
        for ((name, demand), (class, excess)) in
            loads.into_iter().flat_map(|load| CASES.map(move |case| (load, case)))
        {
            let run = run_on(node - others, class, excess, size, length(class), demand);
            let gives_back = name == "idle" && class != "gold";
            assert!(!gives_back || !run.resizes.is_empty(), "{class}, {node}m: an idle pod gives back");
            let is_late = |at: u64| at + 30 * MINUTE > length(class);
            let late = run.resizes.iter().filter(|(at, _)| is_late(*at)).count();
            assert!(late <= 1, "{name}, {class}, {node}m: {late} in the last 30 min: {:?}", run.resizes);
            let turns = run.resizes.windows(2).filter(|two| two[0].1 != two[1].1).count();
            assert!(turns <= 1, "{name}, {class}, {node}m: up and down again: {:?}", run.resizes);
        }
    }
}
