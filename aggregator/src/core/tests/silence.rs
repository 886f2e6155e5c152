//! Many silent nodes: `unknown` is withheld for a while, and nothing else is.

use super::*;
use crate::core::Note;
use crate::plan::silence::Phase;

/// Pod `i` on node `i % nodes`, all labeled low.
fn cluster(pods: usize, nodes: usize) -> Harness {
    let facts = (0..pods).map(|i| labeled(i, i % nodes, "low", "low")).collect();
    let mut harness = Harness::with(Settings::default(), facts, nodes);
    for i in 0..pods {
        harness.see(i % nodes, load(i, Band::Low, Band::Low));
    }
    assert_eq!(harness.live(20), []);
    harness
}

fn fall_silent(harness: &mut Harness, nodes: std::ops::Range<usize>) {
    for n in nodes {
        harness.loads.remove(&node(n));
    }
}

fn reasons(actions: &[Action]) -> Vec<String> {
    events(actions).into_iter().map(|event| event.reason).collect()
}

#[test]
fn unknown_is_withheld_from_many_silent_nodes_and_one_event_says_so() {
    let mut harness = cluster(20, 10);
    fall_silent(&mut harness, 7..10);
    let actions = harness.live(200);
    assert_eq!((reasons(&actions), actions.len()), (vec!["ManyNodesSilent".to_owned()], 1), "{actions:#?}");
    let event = &events(&actions)[0];
    assert_eq!((&event.about, event.warning), (&Subject::Aggregator, true));
    assert_eq!(harness.core.withheld(), None);
    assert!(harness.core.gauges().unknown_withheld);
}

#[test]
fn transitions_of_reporting_nodes_are_written_at_once_while_unknown_is_withheld() {
    let mut harness = cluster(20, 10);
    fall_silent(&mut harness, 7..10);
    harness.live(200);
    harness.see(0, load(0, Band::High, Band::Low));
    let write = only(&harness.report(0, false, vec![load(0, Band::High, Band::Low)]));
    assert_eq!(short(&write), "transition cpu=low memory=low -> cpu=high memory=low");
}

#[test]
fn silence_that_lasts_ten_minutes_is_labeled() {
    let mut harness = cluster(20, 10);
    fall_silent(&mut harness, 7..10);
    harness.live(200);
    let actions = harness.live(600);
    assert_eq!(reasons(&actions), ["ManyNodesSilent"]);
    let wrote = writes(&actions);
    assert_eq!(wrote.len(), 6, "the pods of the three silent nodes: {wrote:?}");
    assert!(wrote.iter().all(|write| write.reason == Reason::Silence), "{wrote:?}");
    assert!(!harness.core.gauges().unknown_withheld);
    assert_eq!(harness.live(300), []);
}

#[test]
fn nodes_that_report_again_in_time_cost_no_write_and_the_few_that_do_not_are_labeled() {
    let mut harness = cluster(20, 10);
    fall_silent(&mut harness, 7..10);
    harness.live(200);
    for i in (0..20).filter(|i| [7, 8].contains(&(i % 10))) {
        harness.see(i % 10, load(i, Band::Low, Band::Low));
    }
    assert_eq!(harness.live(20), [], "the others may report again too");
    let actions = harness.live(30);
    assert_eq!(reasons(&actions), ["AgentSilent", "NodesReport"], "the node that stays silent");
    let mut pods: Vec<_> = writes(&actions).into_iter().map(|write| write.pod).collect();
    pods.sort();
    assert_eq!(pods, [name(19), name(9)], "those of the node that stays silent");
    assert_eq!(harness.live(100), []);
}

#[test]
fn a_partition_that_ends_node_by_node_costs_no_write() {
    let mut harness = cluster(20, 10);
    fall_silent(&mut harness, 3..10);
    harness.live(200);
    for n in 3..10 {
        for i in (0..20).filter(|i| i % 10 == n) {
            harness.see(n, load(i, Band::Low, Band::Low));
        }
        assert_eq!(harness.live(5), []);
    }
    let actions = harness.live(60);
    assert_eq!((reasons(&actions), actions.len()), (vec!["NodesReport".to_owned()], 1));
}

#[test]
fn a_load_that_stays_unknown_after_its_node_reports_again_is_labeled_without_waiting() {
    let mut harness = cluster(20, 10);
    fall_silent(&mut harness, 7..10);
    harness.live(200);
    let unknown = |i| PodReport {
        cpu: no_cpu(UnknownReason::WarmingUp),
        memory: no_memory(UnknownReason::WarmingUp),
        ..load(i, Band::Low, Band::Low)
    };
    let actions = harness.report(7, true, vec![unknown(7), unknown(17)]);
    let pods: Vec<_> = writes(&actions).into_iter().map(|write| (write.pod, write.reason)).collect();
    assert_eq!(pods, [(name(17), Reason::Silence), (name(7), Reason::Silence)]);
}

#[test]
fn nodes_that_fall_silent_one_by_one_are_counted_before_the_first_is_labeled() {
    let mut harness = cluster(30, 3);
    for n in 0..3 {
        fall_silent(&mut harness, n..n + 1);
        let pods = (0..30).filter(|i| i % 3 == n).map(|i| load(i, Band::Low, Band::Low));
        harness.report(n, true, pods.collect());
        harness.wait(4);
    }
    let actions = harness.wait(300);
    assert_eq!((events(&actions).len(), actions.len()), (1, 1), "{actions:#?}");
}

#[test]
fn a_few_silent_nodes_are_labeled_at_once() {
    let mut harness = cluster(20, 10);
    fall_silent(&mut harness, 8..10);
    let actions = harness.live(200);
    assert_eq!(writes(&actions).len(), 4);
    assert!(writes(&actions).iter().all(|write| write.reason == Reason::Silence), "{actions:#?}");
    assert_eq!(reasons(&actions), ["AgentSilent", "AgentSilent"]);
}

#[test]
fn a_load_step_of_hundreds_of_pods_is_written_at_the_budgets_rate() {
    let mut harness = cluster(600, 3);
    let mut actions = Vec::new();
    for i in 0..60 {
        harness.see(i % 3, load(i, Band::High, Band::Low));
        let fresh = harness.report(i % 3, false, vec![load(i, Band::High, Band::Low)]);
        actions.extend(harness.land_all(fresh));
    }
    actions.extend(harness.live(10));
    assert_eq!((writes(&actions).len(), events(&actions).len()), (60, 0));
}

#[test]
fn a_standby_publishes_nothing_and_the_new_leader_publishes_once() {
    let mut harness = cluster(20, 10);
    harness.step(Input::Leading(None));
    fall_silent(&mut harness, 7..10);
    assert_eq!(harness.live(200), []);
    let actions = harness.step(Input::Leading(Some(9)));
    assert_eq!((reasons(&actions), actions.len()), (vec!["ManyNodesSilent".to_owned()], 1));
    assert_eq!(harness.live(30), []);
}

#[test]
fn nodes_that_never_ran_an_agent_do_not_count() {
    let mut harness = Harness::with(Settings::default(), vec![labeled(1, 0, "low", "low"), facts(2, 1)], 10);
    harness.see(0, load(1, Band::Low, Band::Low));
    assert_eq!(harness.live(300), []);
    assert!(!harness.core.gauges().unknown_withheld);
}

#[test]
fn nodes_that_never_reported_to_this_replica_count_if_their_pods_have_bands() {
    let pods = (0..3).map(|i| labeled(i, i, "low", "low")).collect();
    let mut harness = Harness::with(Settings::default(), pods, 10);
    let mut notes = Vec::new();
    let mut actions = Vec::new();
    for _ in 0..300 {
        actions.extend(harness.wait(1));
        notes.extend(harness.core.take_notes());
    }
    assert_eq!((events(&actions).len(), actions.len()), (1, 1), "{actions:#?}");
    let withheld = |note: &&Note| matches!(note, Note::Silence { phase: Phase::Withholding(_), .. });
    assert_eq!(notes.iter().filter(withheld).count(), 1);
}
