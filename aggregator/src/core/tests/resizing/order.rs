//! Growth goes before labels, and within the same limits.

use super::*;

#[test]
fn growth_and_its_second_half_go_before_labels_that_wait() {
    let pods = (0..60).map(|n| if n == 7 { sized(n) } else { facts(n, 0) }).collect();
    let mut harness = Harness::resizing(pods);
    let others: Vec<_> = (0..60).filter(|n| *n != 7).map(|n| load(n, Band::Low, Band::Low)).collect();
    let in_flight = writes(&harness.report(0, false, others));
    assert_eq!(in_flight.len(), 2, "of four, one is left to other namespaces and one to growth");
    let record = only_write(&harness.throttled(7));
    assert_eq!((record.pod.clone(), record.reason), (name(7), Reason::Grow));
    let after = writes(&harness.land(&record));
    assert_eq!(
        after.iter().map(|write| (&write.pod, write.is_resize())).collect::<Vec<_>>(),
        [(&name(7), true)]
    );
}

#[test]
fn a_storm_of_labels_leaves_tokens_to_growth() {
    let pods = (0..100).map(|n| if n == 7 { sized(n) } else { facts(n, 0) }).collect();
    let mut harness = Harness::resizing(pods);
    let others: Vec<_> = (0..100).filter(|n| *n != 7).map(|n| load(n, Band::Low, Band::Low)).collect();
    let actions = harness.report(0, false, others);
    let labels = writes(&harness.land_all(actions)).len();
    assert_eq!(labels, 18, "of a burst of 20, two are kept");
    let record = only_write(&harness.throttled(7));
    assert_eq!(record.reason, Reason::Grow);
    assert!(only_write(&harness.land(&record)).is_resize(), "in the same instant");
}

#[test]
fn resizes_keep_within_the_budget_and_leave_a_write_to_other_namespaces() {
    let pods: Vec<_> = (0..40).map(sized).collect();
    let mut harness = Harness::resizing(pods);
    let throttled = (0..40).map(|n| harness.seen(n, 0.5, 0.8)).collect();
    let mut open: std::collections::VecDeque<_> = writes(&harness.report(0, false, throttled)).into();
    assert_eq!(open.len(), 3, "one is left to other namespaces");
    let mut sent = open.len();
    while let Some(write) = open.pop_front() {
        let next = writes(&harness.land(&write));
        sent += next.len();
        open.extend(next);
        assert!(open.len() <= 3);
    }
    assert_eq!(sent, 20, "the burst");
    for second in 1..=10 {
        let next = harness.wait(1);
        let count = writes(&harness.land_all(next)).len();
        assert!(count <= 6, "second {second}: {count}");
    }
}

#[test]
fn a_pod_has_one_write_in_flight_and_none_of_labels_between_the_two_halves() {
    let mut harness = Harness::resizing(vec![sized(1)]);
    let record = only(&harness.throttled(1));
    assert_eq!(harness.calm(1, 0.1), [], "another band, and the record is in flight");
    let next = only(&harness.land(&record));
    assert!(next.is_resize(), "{next:?}");
    let labels = only(&harness.land(&next));
    assert_eq!((labels.reason, labels.labels()[keys::CPU_BAND].as_str()), (Reason::Transition, "low"));
    assert_eq!(recorded(&labels).reason, "grow", "the record stays on the pod");
}

#[test]
fn a_growth_that_waits_is_dropped_when_it_is_not_wanted_any_more() {
    let pods = (0..60).map(|n| if [7, 8, 9].contains(&n) { sized(n) } else { facts(n, 0) }).collect();
    let mut harness = Harness::resizing(pods);
    let others: Vec<_> =
        (0..60).filter(|n| ![7, 8, 9].contains(n)).map(|n| load(n, Band::Low, Band::Low)).collect();
    harness.report(0, false, others);
    let record = only_write(&harness.throttled(7));
    for n in [8, 9] {
        assert_eq!(harness.throttled(n), [], "no write is free");
        assert_eq!(harness.resize_state(n), "planned");
    }
    assert_eq!(harness.calm(8, 0.1), []);
    assert_eq!(harness.resize_state(8), "idle");
    assert_eq!(harness.resize_state(9), "planned", "a plan for the others is a plan for it, too");
    assert_eq!(harness.step(classes([Policy { mode: Mode::Recommend, ..gold() }])), []);
    assert_eq!((harness.resize_state(7), harness.resize_state(9)), ("planned".into(), "idle".into()));
    assert_eq!(resizes(&harness.land(&record)), [], "nor is one sent that was recorded before");
}
