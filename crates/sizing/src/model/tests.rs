use super::*;

fn limit(millicores: u64) -> Size {
    Size { request: Some(100), limit: Some(millicores) }
}

#[test]
fn demand_above_the_limit_is_throttled_in_every_period_and_waits() {
    let mut container = Container::new(limit(500), 8.0, Excess::Queued);
    container.step(0.8, 10);
    let usage = container.usage();
    assert_eq!((usage.throttled3, usage.throttled2), (Some(1.0), Some(1.0)));
    assert!((usage.mean3.unwrap().0 - 0.5).abs() < 1e-9 && (usage.utilization3.unwrap() - 1.0).abs() < 1e-9);
    assert!((container.backlog() - 3.0).abs() < 1e-6);
    // 3 core-seconds are done in 6 s without new demand
    container.step(0.0, 6);
    assert!(container.backlog() < 1e-6);
    container.step(0.0, 3);
    assert_eq!(container.usage().throttled3, Some(0.0));
    assert!((container.used() - 8.0).abs() < 1e-6);
}

#[test]
fn lost_demand_does_not_wait_and_a_runtime_with_few_threads_is_not_throttled() {
    let mut lost = Container::new(limit(500), 8.0, Excess::Lost);
    lost.step(0.8, 10);
    assert_eq!((lost.backlog(), lost.throttled_seconds()), (0.0, 10.0));
    let mut threads = Container::new(limit(500), 8.0, Excess::Unscheduled);
    threads.step(0.8, 10);
    assert_eq!((threads.throttled_seconds(), threads.usage().bound_by), (0.0, None));
    assert!(threads.usage().utilization3.unwrap() > 0.999 && threads.backlog() > 2.9);
}

#[test]
fn without_a_limit_the_node_bounds_it_and_the_request_is_the_basis() {
    let mut container = Container::new(Size { request: Some(500), limit: None }, 2.0, Excess::Lost);
    container.step(3.0, 5);
    let usage = container.usage();
    assert_eq!((usage.throttled3, usage.limit_cores), (None, Some(Limit::Unlimited)));
    assert!((usage.utilization3.unwrap() - 4.0).abs() < 1e-9);
}

#[test]
fn numbers_are_absent_until_there_are_enough_seconds_for_them() {
    let mut container = Container::new(limit(500), 8.0, Excess::Lost);
    assert_eq!(container.usage().p95, None);
    container.step(0.2, 2);
    let usage = container.usage();
    assert!(usage.throttled2.is_some() && usage.throttled3.is_none() && usage.mean3.is_none());
    assert_eq!(usage.peak, None);
    container.step(0.2, 58);
    assert!((container.usage().peak.unwrap().0 - 0.2).abs() < 1e-9);
}

#[test]
fn p95_is_of_30_s_and_the_peak_a_mean_of_a_minute_that_is_forgotten_after_a_day() {
    let mut container = Container::new(limit(4000), 8.0, Excess::Lost);
    container.step(1.0, 60);
    container.step(0.1, 30);
    let usage = container.usage();
    assert!((usage.p95.unwrap().0 - 0.1).abs() < 1e-9 && (usage.peak.unwrap().0 - 1.0).abs() < 1e-9);
    container.step(0.1, 24 * 3600);
    assert!((container.usage().peak.unwrap().0 - 0.1).abs() < 1e-9);
}
