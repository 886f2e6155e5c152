//! How fast, in which order, and when not at all.

use super::*;
use crate::core::{Note, Withheld};

/// `n` pods on node 0, labeled low and low.
fn many(n: usize) -> Harness {
    let pods: Vec<PodFacts> = (0..n).map(|i| labeled(i, 0, "low", "low")).collect();
    let mut harness = Harness::new(pods);
    assert_eq!(harness.report(0, true, (0..n).map(|i| load(i, Band::Low, Band::Low)).collect()), []);
    harness
}

fn all_high(n: usize) -> Vec<PodReport> {
    (0..n).map(|i| load(i, Band::High, Band::Low)).collect()
}

#[test]
fn never_more_than_four_writes_without_an_answer_and_three_in_one_namespace() {
    let mut pods: Vec<PodFacts> = (0..40).map(|i| labeled(i, 0, "low", "low")).collect();
    pods[39].pod = PodName::new("bank", "p39");
    pods[38].pod = PodName::new("bank", "p38");
    let mut harness = Harness::new(pods);
    harness.show_namespace("bank");
    let first = harness.report(0, false, all_high(38));
    assert_eq!(first.len(), 3);
    let of_bank = harness.report(0, false, all_high(40));
    assert_eq!(only(&of_bank).pod, PodName::new("bank", "p38"));
    assert_eq!(harness.wait(5), []);
    let next = only(&harness.outcome(&writes(&first)[0], WriteResult::written()));
    assert_eq!(&*next.pod.namespace, "shop", "it has waited longer");
    assert_eq!(only(&harness.outcome(&next, WriteResult::written())).pod, PodName::new("bank", "p39"));
}

#[test]
fn a_burst_and_then_the_rate() {
    let mut harness = many(49);
    let actions = harness.report(0, true, all_high(49));
    assert_eq!(harness.land_all(actions).len(), 20);
    let actions = harness.wait(1);
    assert_eq!(harness.land_all(actions).len(), 5);
}

#[test]
fn a_server_that_asks_to_slow_down_is_heard() {
    let mut harness = many(40);
    let first = writes(&harness.report(0, true, all_high(40)));
    for write in &first {
        assert_eq!(harness.outcome(write, WriteResult::Throttled(Some(Duration::from_secs(10)))), []);
    }
    assert_eq!(harness.wait(9), []);
    let actions = harness.wait(1);
    assert!((1..=4).contains(&actions.len()), "{}", actions.len());
    assert!(harness.core.gauges().rate < 3.0, "half, and ten seconds of recovery");
    harness.wait(60);
    assert!((harness.core.gauges().rate - 5.02).abs() < 0.01, "2 nodes add 0.02");
}

#[test]
fn transitions_overtake_first_labels() {
    let mut harness = Harness::new(vec![facts(1, 0), facts(2, 0), labeled(3, 0, "low", "low")]);
    harness.step(Input::Paused(true));
    harness.report(0, false, vec![load(1, Band::Low, Band::Low)]);
    harness.wait(1);
    harness.report(0, false, vec![load(2, Band::Low, Band::Low), load(3, Band::High, Band::Low)]);
    let order: Vec<PodName> =
        writes(&harness.step(Input::Paused(false))).into_iter().map(|w| w.pod).collect();
    assert_eq!(order, [name(3), name(1), name(2)]);
}

#[test]
fn nothing_is_written_before_everything_is_listed_and_nothing_is_lost_by_it() {
    let mut harness = Harness::unsynced(Settings::default(), vec![]);
    assert_eq!(harness.step(Input::Leading(Some(1))), []);
    assert_eq!(writes(&harness.step(Input::Paused(false))), []);
    assert_eq!(
        harness.step(Input::Pods(WatchEvent::Listed(vec![{
            let mut done = labeled(1, 0, "low", "low");
            done.finished = true;
            done
        }]))),
        []
    );
    assert_eq!(harness.core.withheld(), Some(Withheld::NotSynced));
    assert_eq!(harness.step(nodes_listed(vec![node(0)])), []);
    assert!(!harness.core.synced());
    let write = only(&harness.step(Input::Namespaces(WatchEvent::Listed(vec![namespace("shop")]))));
    assert_eq!(write.reason, Reason::Withdrawn);
    assert!(harness.core.take_notes().contains(&Note::Withheld { why: None }));
}

#[test]
fn nothing_is_written_before_the_position_of_the_pause_switch_is_known() {
    let mut harness = Harness::unsynced(Settings::default(), vec![]);
    let pods = Input::Pods(WatchEvent::Listed(vec![facts(1, 0)]));
    let namespaces = Input::Namespaces(WatchEvent::Listed(vec![namespace("shop")]));
    for input in [pods, nodes_listed(vec![node(0)]), namespaces, Input::Leading(Some(1))] {
        assert_eq!(harness.step(input), []);
    }
    assert_eq!(harness.report(0, true, vec![load(1, Band::High, Band::Low)]), []);
    assert_eq!(harness.core.withheld(), Some(Withheld::NotLeading));
    assert_eq!(only_write(&harness.step(Input::Paused(false))).reason, Reason::First);
}

#[test]
fn a_replica_that_does_not_lead_writes_nothing_and_knows_everything_when_it_does() {
    let mut harness = Harness::new(vec![facts(1, 0)]);
    harness.step(Input::Leading(None));
    assert_eq!(harness.report(0, true, vec![load(1, Band::High, Band::Low)]), []);
    assert_eq!(harness.core.withheld(), Some(Withheld::NotLeading));
    let write = only(&harness.step(Input::Leading(Some(12))));
    assert_eq!(write.annotations()[keys::EPOCH], "12");
}

#[test]
fn paused_means_nothing_and_the_end_of_it_everything_that_is_still_so() {
    let mut harness = labeled_low();
    assert_eq!(writes(&harness.step(Input::Paused(true))), []);
    assert_eq!(harness.core.withheld(), Some(Withheld::Paused));
    assert_eq!(writes(&harness.wait(200)), [], "also no unknown");
    let write = only_write(&harness.step(Input::Paused(false)));
    assert_eq!(short(&write), "silence cpu=low memory=low -> cpu=unknown memory=unknown");
}

#[test]
fn a_paused_replica_says_so_whether_it_leads_or_not() {
    let mut harness = labeled_low();
    harness.step(Input::Paused(true));
    harness.step(Input::Leading(None));
    assert_eq!(harness.core.withheld(), Some(Withheld::Paused));
    harness.step(Input::Paused(false));
    assert_eq!(harness.core.withheld(), Some(Withheld::NotLeading));
}

#[test]
fn the_same_input_twice_has_no_second_effect() {
    let mut harness = labeled_low();
    let report = harness.next_report(0, true, vec![load(1, Band::High, Band::Low)]);
    let input = reported(report);
    let write = only(&harness.step(input.clone()));
    assert_eq!(harness.step(input), []);
    harness.land(&write);
    assert_eq!(harness.outcome(&write, WriteResult::written()), []);
    assert_eq!(harness.show(&name(1)), []);
}
