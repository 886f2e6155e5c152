//! Cases from public threads that concern the CPU of one container.

use super::*;

#[test]
fn a_runtime_that_takes_its_threads_from_the_limit_grows_on_utilization_golang_go_73193() {
    let gold = class("gold");
    // 2.0 of 2.0, neither throttled nor under pressure
    let usage = steady(2.0, 2.0);
    assert_eq!(grown(decide(&input(&gold, size(1000, 2000), &usage))), size(2000, 4000));
}

#[test]
fn lower_usage_right_after_a_shrink_is_not_lower_need_golang_go_73193() {
    let bronze = class("bronze");
    // with the limit the runtime took half of its threads away; the peak of the day is from before
    let usage = ContainerCpu { peak: Some(Cores(0.48)), ..steady(0.2, 0.8) };
    assert_eq!(decide(&input(&bronze, size(530, 800), &usage)), Verdict::Keep(Keep::Fits));
    // where it uses all that the limit leaves, it grows
    let usage = ContainerCpu { peak: Some(Cores(0.48)), ..steady(0.8, 0.8) };
    assert!(matches!(decide(&input(&bronze, size(530, 800), &usage)), Verdict::Grow(_)));
}

#[test]
fn a_single_replica_or_bare_pod_grows_like_any_other_autoscaler_8720() {
    // the decision knows no owner and no number of replicas: there is nothing to evict for
    let usage = throttled(0.5, 0.5, 0.6);
    assert_eq!(grown(decide(&input(&class("silver"), size(250, 500), &usage))), size(500, 1000));
}

#[test]
fn it_is_decided_without_psi_and_without_throttling_data() {
    let silver = class("silver");
    let usage = ContainerCpu {
        throttled2: None,
        throttled3: None,
        pressure: None,
        bound_by: None,
        ..steady(0.45, 0.5)
    };
    assert_eq!(grown(decide(&input(&silver, size(300, 500), &usage))), size(600, 900));
}
