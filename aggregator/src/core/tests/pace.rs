//! How fast, in which order, and when not at all.

use super::*;
use crate::core::{Note, Withheld};

/// `n` pods on node 0, labeled low and low.
fn many(n: usize) -> Rig {
    let pods: Vec<PodFacts> = (0..n).map(|i| labeled(i, 0, "low", "low")).collect();
    let mut rig = Rig::new(pods);
    assert_eq!(rig.report(0, true, (0..n).map(|i| load(i, Band::Low, Band::Low)).collect()), []);
    rig
}

fn all_high(n: usize) -> Vec<PodReport> {
    (0..n).map(|i| load(i, Band::High, Band::Low)).collect()
}

#[test]
fn never_more_than_four_writes_without_an_answer() {
    let mut rig = many(40);
    let first = rig.report(0, true, all_high(40));
    assert_eq!(first.len(), 4);
    assert_eq!(rig.wait(5), []);
    assert_eq!(rig.land(&writes(&first)[0]).len(), 1);
}

#[test]
fn a_burst_and_then_the_rate() {
    let mut rig = many(49);
    let actions = rig.report(0, true, all_high(49));
    assert_eq!(rig.land_all(actions).len(), 20);
    let actions = rig.wait(1);
    assert_eq!(rig.land_all(actions).len(), 5);
}

#[test]
fn a_server_that_asks_to_slow_down_is_heard() {
    let mut rig = many(40);
    let first = writes(&rig.report(0, true, all_high(40)));
    for write in &first {
        assert_eq!(rig.outcome(write, WriteResult::Throttled(Some(Duration::from_secs(10)))), []);
    }
    assert_eq!(rig.wait(9), []);
    let actions = rig.wait(1);
    assert!((1..=4).contains(&actions.len()), "{}", actions.len());
    assert!(rig.core.gauges(rig.now()).rate < 3.0, "half, and ten seconds of recovery");
    rig.wait(60);
    assert!((rig.core.gauges(rig.now()).rate - 5.02).abs() < 0.01, "2 nodes add 0.02");
}

#[test]
fn transitions_overtake_first_labels() {
    let mut rig = Rig::new(vec![facts(1, 0), facts(2, 0), labeled(3, 0, "low", "low")]);
    rig.step(Input::Paused(true));
    rig.report(0, false, vec![load(1, Band::Low, Band::Low)]);
    rig.wait(1);
    rig.report(0, false, vec![load(2, Band::Low, Band::Low), load(3, Band::High, Band::Low)]);
    let order: Vec<PodName> = writes(&rig.step(Input::Paused(false))).into_iter().map(|w| w.pod).collect();
    assert_eq!(order, [name(3), name(1), name(2)]);
}

#[test]
fn nothing_is_written_before_everything_is_listed_and_nothing_is_lost_by_it() {
    let mut rig = Rig::unsynced(Settings::default(), vec![]);
    assert_eq!(rig.step(Input::Leading(Some(1))), []);
    assert_eq!(
        rig.step(Input::PodsListed(vec![{
            let mut done = labeled(1, 0, "low", "low");
            done.finished = true;
            done
        }])),
        []
    );
    assert_eq!(rig.core.withheld(), Some(Withheld::NotSynced));
    assert_eq!(rig.step(Input::NodesListed(vec![node(0)])), []);
    assert!(!rig.core.synced());
    let write = only(&rig.step(Input::NamespacesListed(vec![namespace("shop")])));
    assert_eq!(write.reason, Reason::Withdrawn);
    assert!(rig.core.take_notes().contains(&Note::Withheld { why: None }));
}

#[test]
fn a_replica_that_does_not_lead_writes_nothing_and_knows_everything_when_it_does() {
    let mut rig = Rig::new(vec![facts(1, 0)]);
    rig.step(Input::Leading(None));
    assert_eq!(rig.report(0, true, vec![load(1, Band::High, Band::Low)]), []);
    assert_eq!(rig.core.withheld(), Some(Withheld::NotLeading));
    let write = only(&rig.step(Input::Leading(Some(12))));
    assert_eq!(write.annotations[keys::EPOCH], "12");
}

#[test]
fn paused_means_nothing_and_the_end_of_it_everything_that_is_still_so() {
    let mut rig = settled();
    assert_eq!(rig.step(Input::Paused(true)), []);
    assert_eq!(rig.core.withheld(), Some(Withheld::Paused));
    assert_eq!(rig.wait(200), [], "also no unknown");
    let write = only(&rig.step(Input::Paused(false)));
    assert_eq!(short(&write), "silence cpu=low memory=low -> cpu=unknown memory=unknown");
}

#[test]
fn a_paused_replica_says_so_whether_it_leads_or_not() {
    let mut rig = settled();
    rig.step(Input::Paused(true));
    rig.step(Input::Leading(None));
    assert_eq!(rig.core.withheld(), Some(Withheld::Paused));
    rig.step(Input::Paused(false));
    assert_eq!(rig.core.withheld(), Some(Withheld::NotLeading));
}

#[test]
fn the_same_input_twice_has_no_second_effect() {
    let mut rig = settled();
    let report = rig.next_report(0, true, vec![load(1, Band::High, Band::Low)]);
    let input = Input::Reported(Box::new(report));
    let write = only(&rig.step(input.clone()));
    assert_eq!(rig.step(input), []);
    rig.land(&write);
    assert_eq!(rig.outcome(&write, WriteResult::Written), []);
    assert_eq!(rig.show(&name(1)), []);
}
