use plimsoll_contract::report::ContainerCpu;
use plimsoll_contract::{Cores, Limit};

use super::*;

/// A node of 8 CPUs with pods `shop/a`, `shop/b`, each with a container `app` of 500m/1000m.
fn snapshot(second: u64, pods: Vec<PodSnapshot>) -> Snapshot {
    let at = Duration::from_secs(100 + second);
    Snapshot { at, node: "n1".into(), allocatable: Some(8000), full: true, pods }
}

fn pod(name: &str, band: Band, usage: ContainerCpu) -> PodSnapshot {
    let size = Size { request: Some(500), limit: Some(1000) };
    PodSnapshot {
        uid: name.into(),
        name: format!("shop/{name}"),
        cpu: band,
        memory: Band::Low,
        class: None,
        containers: vec![ContainerSnapshot {
            name: "app".into(),
            size,
            original: size,
            hottest: true,
            usage,
        }],
    }
}

fn usage(cores: f64, throttled: f64) -> ContainerCpu {
    ContainerCpu {
        cores: Some(Cores(cores)),
        limit_cores: Some(Limit::Of(Cores(1.0))),
        throttled: Some(throttled),
        pressure: Some(0.0),
        ..ContainerCpu::default()
    }
}

fn class(name: &str) -> Option<Policy> {
    Some(Policy::builtin(name).unwrap())
}

/// Runs a snapshot for each second.
fn run(
    class: Option<Policy>,
    ranker: Ranker,
    seconds: u64,
    pods: impl Fn(u64) -> Vec<PodSnapshot>,
) -> (Vec<Event>, Summary) {
    let mut run = Run::new(class, ranker);
    let mut events: Vec<Event> =
        (0..seconds).flat_map(|second| run.see(snapshot(second, pods(second)))).collect();
    let (last, summary) = run.finish();
    events.extend(last);
    (events, summary)
}

/// Times, containers and sizes after of the decisions.
fn decisions(events: &[Event]) -> Vec<(u64, &str, Option<u64>, Option<u64>)> {
    let decision = |event| match event {
        &Event::Decision { at, ref pod, to, .. } => Some((at, pod.as_str(), to.request, to.limit)),
        _ => None,
    };
    events.iter().filter_map(decision).collect()
}

fn assert_near(actual: f64, expected: f64) {
    assert!((actual - expected).abs() < 1e-9, "{actual}, not {expected}");
}

#[test]
fn bands_are_counted_until_the_last_snapshot_and_their_changes_said() {
    let band = |second| if second < 10 { Band::Low } else { Band::High };
    let (events, summary) =
        run(None, Ranker::Topsis, 20, |second| vec![pod("a", band(second), usage(0.2, 0.0))]);
    let [cpu, memory] = summary.bands.as_slice() else { panic!("{summary:?}") };
    assert_eq!((cpu.resource, cpu.seconds, cpu.changes), (Resource::Cpu, [0, 10, 0, 9], 1));
    assert_eq!((memory.seconds, memory.changes, summary.seconds), ([0, 19, 0, 0], 0, 19));
    let change = Event::Band {
        at: 10,
        pod: "shop/a".into(),
        resource: Resource::Cpu,
        from: Some(Band::Low),
        to: Band::High,
    };
    assert_eq!(events[2..], [change], "the first two are at the first sight");
}

#[test]
fn as_recorded_it_reserves_its_request_and_is_throttled_as_it_was() {
    // 10 s of 0.2 cores; in the last 5 of them throttled in 40 % of the periods; then its size changes
    let (events, summary) = run(None, Ranker::Topsis, 20, |second| {
        let throttled = if (5..10).contains(&second) { 0.4 } else { 0.0 };
        let mut pod = pod("a", Band::Low, usage(0.2, throttled));
        if second >= 10 {
            pod.containers[0].size = Size { request: Some(700), limit: Some(1500) };
        }
        vec![pod]
    });
    let [sizing] = summary.sizes.as_slice() else { panic!("{summary:?}") };
    assert_eq!((sizing.class.as_deref(), sizing.seconds, sizing.resizes), (None, 20, 1));
    assert_near(sizing.reserved_core_seconds.unwrap(), 10.0 * 0.5 + 10.0 * 0.7);
    assert_near(sizing.slack().unwrap(), 0.6 - 0.2);
    assert_near(sizing.throttled_seconds, 2.0);
    assert_eq!(decisions(&events), []);
}

#[test]
fn a_class_grows_it_once_and_another_class_by_less() {
    // idle for 5 s; then all of its limit, throttled in half of the periods
    let busy = |second| match second {
        0..5 => vec![pod("a", Band::Low, usage(0.0, 0.0))],
        _ => vec![pod("a", Band::High, usage(1.0, 0.5))],
    };
    let (events, summary) = run(class("gold"), Ranker::Topsis, 20, busy);
    // 1000m / 0.40 = 2500m and 1000m / 0.60 = 1667m, at most twice at once; what it would use under 2000m is not known, and 1000m fit there
    assert_eq!(decisions(&events), [(5, "shop/a", Some(1000), Some(2000))]);
    let Some(Event::Decision { why, .. }) = events.last() else { panic!("{events:?}") };
    let expected = "app limit +1000m (1000->2000), request +500m (500->1000): U ";
    assert!(why.starts_with(expected) && why.ends_with("throttled in 25 % of the periods, gold"), "{why}");
    let [recorded, gold] = summary.sizes.as_slice() else { panic!("{summary:?}") };
    assert_near(recorded.throttled_seconds, 15.0 * 0.5);
    assert_eq!((gold.class.as_deref(), gold.resizes, gold.seconds), (Some("gold"), 1, 20));
    // decided at the end of its first busy second, and in force 2 s later
    assert_near(gold.throttled_seconds, 3.0 * 0.5);
    assert_near(gold.reserved_core_seconds.unwrap(), 8.0 * 0.5 + 12.0 * 1.0);
    assert_near(gold.slack().unwrap(), (16.0 - 15.0) / 20.0);
    assert_eq!(gold.last, Size { request: Some(1000), limit: Some(2000) });

    // half as much more at once
    let (events, summary) = run(class("bronze"), Ranker::Topsis, 20, busy);
    assert_eq!(decisions(&events), [(5, "shop/a", Some(750), Some(1500))]);
    assert_near(summary.sizes[1].reserved_core_seconds.unwrap(), 8.0 * 0.5 + 12.0 * 0.75);
}

#[test]
fn the_class_that_a_pod_had_counts_unless_another_one_is_asked_for() {
    let pods = |_| {
        let of_class = PodSnapshot { class: class("bronze"), ..pod("a", Band::High, usage(1.0, 0.5)) };
        vec![of_class, pod("b", Band::High, usage(1.0, 0.5))]
    };
    let sizes = |class| {
        let (_, summary) = run(class, Ranker::Topsis, 10, pods);
        summary.sizes.into_iter().map(|sizing| (sizing.pod, sizing.class)).collect::<Vec<_>>()
    };
    let row = |pod: &str, class: Option<&str>| (pod.to_owned(), class.map(str::to_owned));
    assert_eq!(
        sizes(None),
        [row("shop/a", None), row("shop/a", Some("bronze")), row("shop/b", None)],
        "a pod without a class is shown as it was"
    );
    assert_eq!(
        sizes(class("silver")).iter().filter(|(_, class)| class.as_deref() == Some("silver")).count(),
        2
    );
}

#[test]
fn a_lower_limit_withholds_and_recorded_throttling_remains_under_it() {
    // idle for as long as bronze must wait, then all of the recorded limit
    let hold = Policy::builtin("bronze").unwrap().down_hold.as_secs();
    let (events, summary) = run(class("bronze"), Ranker::Topsis, hold + 200, |second| {
        let busy = second >= hold + 190;
        vec![pod("a", Band::Low, if busy { usage(1.0, 0.2) } else { usage(0.05, 0.0) })]
    });
    let shrunk = decisions(&events);
    assert_eq!(shrunk[0], (hold - 1, "shop/a", Some(400), Some(800)), "a fifth");
    let bronze = &summary.sizes[1];
    // 10 s in which it wanted 1.0 cores
    assert!(bronze.throttled_seconds > summary.sizes[0].throttled_seconds, "{bronze:?}");
    assert!(bronze.used_core_seconds < summary.sizes[0].used_core_seconds, "{bronze:?}");
    assert_near(bronze.used_core_seconds + bronze.backlog_core_seconds, summary.sizes[0].used_core_seconds);
}

#[test]
fn what_was_withheld_is_not_lost_when_the_pod_is_gone() {
    let hold = Policy::builtin("bronze").unwrap().down_hold.as_secs();
    let (_, summary) = run(class("bronze"), Ranker::Topsis, hold + 260, |second| match second {
        _ if second < hold + 190 => vec![pod("a", Band::Low, usage(0.05, 0.0))],
        _ if second < hold + 200 => vec![pod("a", Band::Low, usage(1.0, 0.2))],
        _ => vec![],
    });
    let [recorded, bronze] = summary.sizes.as_slice() else { panic!("{summary:?}") };
    assert!(bronze.backlog_core_seconds > 0.0, "{bronze:?}");
    assert_near(bronze.used_core_seconds + bronze.backlog_core_seconds, recorded.used_core_seconds);
}

#[test]
fn a_pod_that_has_no_class_any_more_is_not_sized_any_more() {
    let (events, summary) = run(None, Ranker::Topsis, 60, |second| {
        let class = (second < 10).then(|| class("gold")).flatten();
        let usage = if second < 10 { usage(0.05, 0.0) } else { usage(1.0, 0.5) };
        vec![PodSnapshot { class, ..pod("a", Band::High, usage) }]
    });
    assert_eq!(decisions(&events).len(), 0);
    assert_eq!((summary.sizes[0].seconds, summary.sizes[1].seconds), (60, 10));
}

#[test]
fn what_is_not_known_is_no_low_value_and_after_30_s_no_time_is_counted() {
    // a value each 10 s, then nothing for long, and numbers that are not known
    let mut run = Run::new(class("gold"), Ranker::Topsis);
    let seen = |second, cores: Option<f64>| {
        let usage = ContainerCpu { cores: cores.map(Cores), ..usage(0.0, 0.0) };
        Snapshot { full: false, ..snapshot(second, vec![pod("a", Band::Low, usage)]) }
    };
    for snapshot in [seen(0, Some(0.4)), seen(10, None), seen(20, Some(0.4)), seen(200, Some(0.4))] {
        run.see(snapshot);
    }
    let (_, summary) = run.finish();
    let recorded = &summary.sizes[0];
    // 0 to 20, the 30 s after it, and the last second
    assert_eq!(recorded.seconds, 20 + 30 + 1);
    assert_near(recorded.used_core_seconds, 0.4 * 51.0);
    assert_eq!(summary.sizes[1].seconds, 51);
    let cpu = &summary.bands[0];
    assert_eq!((cpu.seconds, cpu.unseen), ([0, 50, 0, 0], 150));
}

#[test]
fn a_pod_that_a_full_snapshot_does_not_name_is_gone() {
    let (_, summary) = run(None, Ranker::Topsis, 20, |second| match second {
        0..5 => vec![pod("a", Band::Low, usage(0.1, 0.0))],
        _ => vec![],
    });
    assert_eq!(summary.sizes[0].seconds, 5);
    assert_eq!((summary.bands[0].seconds, summary.bands[0].unseen), ([0, 5, 0, 0], 0));
}

#[test]
fn a_container_without_request_and_limit_has_no_class() {
    let (events, summary) = run(class("gold"), Ranker::Topsis, 10, |_| {
        let mut pod = pod("a", Band::High, usage(1.0, 0.0));
        pod.containers[0].size = Size::default();
        vec![pod]
    });
    assert_eq!((summary.not_sized, summary.sizes.len(), decisions(&events).len()), (1, 1, 0));
    assert_eq!(summary.sizes[0].slack(), None, "nothing is reserved, which is not 0");
}

/// Idle for 300 s; then `a` is throttled in all periods, and `b` in less, but has waited for long, beside others who want its CPU.
fn contention(second: u64) -> Vec<PodSnapshot> {
    let idle = || usage(0.0, 0.0);
    let is_busy = second == 300;
    let a = if is_busy { usage(0.6, 1.0) } else { idle() };
    let b = if is_busy { ContainerCpu { pressure: Some(30.0), ..usage(1.0, 0.4) } } else { idle() };
    vec![pod("a", Band::Low, a), pod("b", Band::High, b)]
}

#[test]
fn promethee_puts_another_one_first_than_topsis_does() {
    let order = |ranker| {
        let (events, summary) = run(class("gold"), ranker, 301, contention);
        let orders: Vec<Order> = events
            .iter()
            .filter_map(|event| match event {
                Event::Contention(order) => Some(order.clone()),
                _ => None,
            })
            .collect();
        let [order] = orders.as_slice() else { panic!("{orders:?}") };
        let decided: Vec<String> = decisions(&events).iter().map(|(_, pod, ..)| (*pod).to_owned()).collect();
        (order.clone(), decided, summary)
    };
    let rounded = |order: &[(String, f64)]| -> Vec<(String, i64)> {
        order.iter().map(|(name, score)| (name.clone(), (score * 100.0).round() as i64)).collect()
    };
    let named = |order: [(&str, i64); 2]| order.map(|(name, score)| (name.to_owned(), score)).to_vec();
    // z of a: throttled .67, utilization .20; of b: .27, .33, pressure .60, high 1.00; weights .42, .23, .23, .12
    let by_topsis = named([("shop/a app", 45), ("shop/b app", 39)]);
    let (topsis, decided, summary) = order(Ranker::Topsis);
    assert_eq!((topsis.at, topsis.differs(), rounded(&topsis.first)), (300, false, by_topsis.clone()));
    assert_eq!(
        (decided, summary.contentions, summary.different_orders),
        (vec!["shop/a".into(), "shop/b".into()], 1, 0)
    );
    let (promethee, decided, summary) = order(Ranker::Promethee);
    assert_eq!(rounded(&promethee.first), named([("shop/b app", 6), ("shop/a app", -6)]));
    assert_eq!(rounded(promethee.topsis.as_ref().unwrap()), by_topsis);
    assert_eq!(
        (decided, summary.contentions, summary.different_orders),
        (vec!["shop/b".into(), "shop/a".into()], 1, 1)
    );
}

#[test]
fn a_class_of_a_lower_rank_goes_first_whatever_its_urgency() {
    let (events, _) = run(None, Ranker::Promethee, 301, |second| {
        let classes = [class("gold"), class("silver")];
        contention(second).into_iter().zip(classes).map(|(pod, class)| PodSnapshot { class, ..pod }).collect()
    });
    let pods: Vec<&str> = decisions(&events).into_iter().map(|(_, pod, ..)| pod).collect();
    assert_eq!(pods, ["shop/a", "shop/b"]);
}
