//! What is not known: it becomes `unknown` late, over bands of ours only, and never anything else.

use plimsoll_contract::status::AgentState;

use super::*;
use crate::core::Note;

#[test]
fn a_load_the_agent_calls_unknown_is_written_only_after_it_lasted() {
    let mut harness = labeled_low();
    let mut pod = load(1, Band::Low, Band::Low);
    pod.memory = no_memory(UnknownReason::Failed);
    harness.see(0, pod.clone());
    harness.report(0, true, vec![pod]);
    assert_eq!(harness.live(119), []);
    let actions = harness.live(1);
    let write = only(&actions);
    assert_eq!(short(&write), "silence cpu=low memory=low -> cpu=low memory=unknown");
    assert!(!write.labels().contains_key(keys::MEMORY_BASIS), "nothing is claimed: {write:?}");
    assert_eq!(harness.live(300), []);
}

#[test]
fn a_load_that_comes_back_in_time_writes_nothing() {
    let mut harness = labeled_low();
    let mut pod = load(1, Band::Low, Band::Low);
    pod.cpu = no_cpu(UnknownReason::CounterReset);
    for _ in 0..5 {
        assert_eq!(harness.report(0, true, vec![pod.clone()]), []);
        assert_eq!(harness.wait(100), []);
        assert_eq!(harness.report(0, true, vec![load(1, Band::Low, Band::Low)]), []);
        assert_eq!(harness.wait(50), []);
    }
}

#[test]
fn a_pod_that_a_full_report_leaves_out_loses_its_load_and_later_its_band() {
    let mut harness = labeled_low();
    harness.loads.insert(node(0), BTreeMap::new());
    assert_eq!(harness.report(0, true, vec![]), []);
    let status = harness.core.pod(&name(1)).unwrap();
    assert_eq!((status.cpu.band, status.cpu.reason), (Band::Unknown, Some(UnknownReason::Absent)));
    assert_eq!(harness.live(119), []);
    let write = only(&harness.live(1));
    assert_eq!(short(&write), "silence cpu=low memory=low -> cpu=unknown memory=unknown");
    assert_eq!(harness.live(300), []);
}

#[test]
fn a_partial_report_never_means_absence() {
    let mut harness = labeled_low();
    for _ in 0..10 {
        assert_eq!(harness.report(0, false, vec![]), []);
        assert_eq!(harness.core.pod(&name(1)).unwrap().cpu.band, Band::Low);
        assert_eq!(harness.wait(10), []);
    }
}

#[test]
fn partial_reports_alone_do_not_keep_an_old_load_alive_for_ever() {
    let mut harness = labeled_low();
    let mut actions = Vec::new();
    for _ in 0..30 {
        assert_eq!(harness.report(0, false, vec![]), []);
        let fresh = harness.wait(10);
        actions.extend(harness.land_all(fresh));
    }
    assert_eq!(short(&only(&actions)), "silence cpu=low memory=low -> cpu=unknown memory=unknown");
}

#[test]
fn a_silent_node_makes_its_pods_bands_unknown_and_says_so_once() {
    let mut harness = labeled_low();
    harness.wait(119);
    assert_eq!(harness.core.nodes_after(harness.now(), None, 1)[0].state, AgentState::Late);
    let write = only_write(&harness.wait(1));
    assert_eq!(short(&write), "silence cpu=low memory=low -> cpu=unknown memory=unknown");
    let evidence = &write.annotations()[keys::EVIDENCE];
    assert_eq!(evidence, "cpu unknown at 10:02:05Z: no report; memory unknown: no report");
    let notes = harness.core.take_notes();
    assert!(notes.contains(&Note::NodeSilent { node: node(0) }), "{notes:?}");
    assert_eq!(harness.land(&write), []);
    assert_eq!(harness.wait(300), []);

    let write = only_write(&harness.report(0, true, vec![load(1, Band::Low, Band::Low)]));
    assert_eq!(short(&write), "transition cpu=unknown memory=unknown -> cpu=low memory=low");
    assert!(harness.core.take_notes().contains(&Note::ReportsAgain { node: node(0) }));
}

#[test]
fn after_silence_only_the_pods_that_are_named_again_are_known_again() {
    let mut harness = Harness::new(vec![facts(1, 0), facts(2, 0)]);
    let both = || vec![load(1, Band::Low, Band::Low), load(2, Band::Low, Band::Low)];
    let actions = harness.report(0, true, both());
    harness.land_all(actions);
    let actions = harness.wait(120);
    assert_eq!(writes(&actions).len(), 2);
    harness.land_all(actions);
    let write = only_write(&harness.report(0, false, vec![load(2, Band::Low, Band::Low)]));
    assert_eq!(write.pod, name(2));
    assert_eq!(harness.core.pod(&name(1)).unwrap().cpu.band, Band::Unknown);
}

#[test]
fn silence_counts_from_this_replicas_start_where_nothing_was_heard() {
    let mut harness = Harness::new(vec![labeled(1, 0, "high", "low"), facts(2, 0)]);
    assert_eq!(harness.wait(119), []);
    let write = only_write(&harness.wait(1));
    assert_eq!(short(&write), "silence cpu=high memory=low -> cpu=unknown memory=unknown");
    assert_eq!(harness.land(&write), []);
    assert_eq!(harness.wait(300), []);
}

#[test]
fn bands_already_unknown_stay_as_they_are() {
    let mut harness = Harness::new(vec![labeled(1, 0, "unknown", "unknown")]);
    assert_eq!(harness.wait(400), []);
}

#[test]
fn a_label_that_is_no_band_is_not_ours_to_call_unknown() {
    let mut harness = Harness::new(vec![labeled(1, 0, "lots", "low")]);
    let write = only_write(&harness.wait(130));
    assert_eq!(short(&write), "silence cpu=- memory=low -> cpu=- memory=unknown");
}

#[test]
fn late_nodes_are_told_and_written_to_as_before() {
    let mut harness = labeled_low();
    harness.wait(29);
    assert_eq!(harness.core.nodes_after(harness.now(), None, 1)[0].state, AgentState::Reporting);
    assert_eq!(harness.wait(1), []);
    assert_eq!(harness.core.nodes_after(harness.now(), None, 1)[0].state, AgentState::Late);
    assert_eq!(harness.core.take_notes().iter().filter(|n| matches!(n, Note::NodeLate { .. })).count(), 2);
    assert_eq!(harness.report(0, false, vec![load(1, Band::High, Band::Low)]).len(), 1);
}
