//! Who a report is about, which reports are refused, and what agents are told in return.

use plimsoll_contract::roster::{Refused, RefusedReason};

use super::*;
use crate::core::{Note, Refusal};

fn refused(n: usize, reason: RefusedReason) -> Refused {
    Refused { uid: uid(n), reason }
}

#[test]
fn foreign_unknown_and_impossible_pods_are_refused_and_the_others_taken() {
    let mut rig = Rig::new(vec![facts(1, 0), facts(2, 1), facts(3, 0)]);
    let mut impossible = load(3, Band::High, Band::High);
    impossible.cpu.cores = Some(Cores(400.0));
    let pods = vec![
        load(2, Band::High, Band::High),
        load(9, Band::High, Band::High),
        impossible,
        load(1, Band::Low, Band::Low),
    ];
    let write = only(&rig.report(0, true, pods));
    assert_eq!(write.pod, name(1));
    let expected = [
        refused(2, RefusedReason::ForeignPod),
        refused(9, RefusedReason::UnknownPod),
        refused(3, RefusedReason::BadValue),
    ];
    assert_eq!(rig.core.answer(&node(0), 0).refused, expected);
    let told = rig.core.take_notes();
    let count = |reason| Note::Refused { node: node(0), reason, count: 1 };
    for reason in [RefusedReason::ForeignPod, RefusedReason::UnknownPod, RefusedReason::BadValue] {
        assert!(told.contains(&count(reason)), "{told:?}");
    }
    assert_eq!(rig.core.pod(&name(2)).unwrap().cpu.band, Band::Unknown);
    rig.report(0, true, vec![load(1, Band::Low, Band::Low)]);
    assert_eq!(rig.core.answer(&node(0), 0).refused, []);
}

#[test]
fn a_pod_that_stays_unknown_is_said_once_and_not_after_every_partial_report() {
    let mut rig = settled();
    let full = || vec![load(1, Band::Low, Band::Low), load(9, Band::High, Band::High)];
    rig.report(0, true, full());
    let said = |notes: Vec<Note>| notes.iter().filter(|note| matches!(note, Note::Refused { .. })).count();
    assert_eq!(said(rig.core.take_notes()), 1);
    for _ in 0..3 {
        rig.report(0, false, vec![load(1, Band::Low, Band::Low)]);
        assert_eq!(said(rig.core.take_notes()), 0);
        rig.report(0, true, full());
        assert_eq!(said(rig.core.take_notes()), 0);
    }
}

#[test]
fn the_first_report_of_a_node_is_said_once_with_its_pods() {
    let mut rig = Rig::new(vec![facts(1, 0)]);
    rig.report(0, true, vec![load(1, Band::Low, Band::Low)]);
    let heard = Note::NodeHeard { node: node(0), pods: 1 };
    assert!(rig.core.take_notes().contains(&heard));
    rig.report(0, true, vec![load(1, Band::Low, Band::Low)]);
    assert!(!rig.core.take_notes().contains(&heard));
}

#[test]
fn a_pod_whose_numbers_became_impossible_is_unknown_and_not_what_it_was() {
    let mut rig = settled();
    let mut pod = load(1, Band::Low, Band::Low);
    pod.memory.utilization = Some(-1.0);
    rig.see(0, pod);
    let write = only(&rig.live(140));
    assert_eq!(short(&write), "silence cpu=low memory=low -> cpu=unknown memory=unknown");
}

#[test]
fn static_pods_are_joined_by_the_uid_of_their_cgroup() {
    let mut pod = facts(1, 0);
    let hash = PodUid::new("0b8c3d1e5f2a4c3b9d8e7f6a5b4c3d2e").unwrap();
    pod.cgroup_uid = Some(hash.clone());
    let mut rig = Rig::new(vec![pod]);
    let mut report = load(1, Band::Low, Band::Low);
    report.uid = hash;
    let write = only(&rig.report(0, true, vec![report]));
    assert_eq!((write.pod, write.uid.as_str()), (name(1), uid(1).as_str()));
}

#[test]
fn reports_that_are_not_newer_are_refused_also_after_a_reboot() {
    let mut rig = settled();
    let mut report = rig.next_report(0, true, vec![load(1, Band::High, Band::High)]);
    assert_eq!(rig.core.admit(&report), Ok(()));
    report.seq = 1;
    assert_eq!(rig.core.admit(&report), Err(Refusal::OldSequence { got: 1, have: 1 }));
    report.boot = "another".into();
    assert_eq!(rig.core.admit(&report), Err(Refusal::OldSequence { got: 1, have: 1 }));
    assert_eq!(rig.step(Input::Reported(Box::new(report.clone()))), [], "nor does a step take it");
    assert_eq!(rig.core.pod(&name(1)).unwrap().cpu.band, Band::Low);
    report.seq = 900;
    assert_eq!(rig.step(Input::Reported(Box::new(report))).len(), 1);
}

#[test]
fn reports_of_unknown_nodes_and_wrong_frames_are_refused() {
    let mut rig = Rig::new(vec![facts(1, 8)]);
    let report = rig.next_report(8, true, vec![load(1, Band::Low, Band::Low)]);
    assert_eq!(rig.core.admit(&report), Err(Refusal::UnknownNode(node(8))));
    assert_eq!(rig.step(Input::Reported(Box::new(report))), []);
    let mut report = rig.next_report(0, true, vec![]);
    report.version = 99;
    assert!(matches!(rig.core.admit(&report), Err(Refusal::BadReport(_))));
    let mut rig = Rig::unsynced(Settings::default(), vec![]);
    let report = rig.next_report(0, true, vec![]);
    assert_eq!(rig.core.admit(&report), Err(Refusal::NotSynced));
}

#[test]
fn three_reports_of_other_nodes_pods_quarantine_a_node_for_ten_minutes() {
    let mut rig = Rig::new(vec![facts(1, 0), facts(2, 1)]);
    for _ in 0..3 {
        rig.report(0, false, vec![load(2, Band::High, Band::High)]);
        rig.wait(1);
    }
    let report = rig.next_report(0, true, vec![load(1, Band::Low, Band::Low)]);
    assert_eq!(rig.core.admit(&report), Err(Refusal::Quarantined(node(0))));
    assert_eq!(rig.step(Input::Reported(Box::new(report.clone()))), []);
    rig.wait(600);
    assert_eq!(rig.core.admit(&report), Ok(()));
}

#[test]
fn pods_that_are_just_gone_never_quarantine_a_node() {
    let mut rig = settled();
    for _ in 0..20 {
        rig.report(0, true, vec![load(1, Band::Low, Band::Low), load(7, Band::High, Band::High)]);
    }
    let report = rig.next_report(0, true, vec![]);
    assert_eq!(rig.core.admit(&report), Ok(()));
}

#[test]
fn a_pod_made_again_under_its_name_starts_from_nothing() {
    let mut rig = settled();
    let mut again = facts(2, 0);
    again.pod = name(1);
    assert_eq!(rig.step(Input::PodChanged(Box::new(again))), []);
    assert_eq!(rig.core.pod(&name(1)).unwrap().cpu.band, Band::Unknown);
    let gone = Input::PodGone { pod: name(1), uid: uid(1).as_str().into() };
    assert_eq!(rig.step(gone), [], "the old one's end is not the new one's");
    assert_eq!(rig.report(0, true, vec![load(1, Band::High, Band::High)]), [], "the old uid is unknown");
    let write = only(&rig.report(0, true, vec![load(2, Band::High, Band::Low)]));
    assert_eq!((write.uid.as_str(), write.reason), (uid(2).as_str(), Reason::First));
}

#[test]
fn the_roster_tells_each_pod_once_and_again_when_it_changed() {
    let mut rig = Rig::new(vec![facts(1, 0), facts(2, 1)]);
    let first = rig.core.answer(&node(0), 0);
    assert!(first.roster_version > 1000);
    assert_eq!(first.roster.len(), 1);
    let entry = &first.roster[0];
    assert_eq!((&entry.uid, entry.managed, entry.bands.cpu), (&uid(1), false, None));
    assert_eq!((entry.containers[0].name.as_str(), entry.containers[0].generation), ("app", 0));
    assert_eq!(rig.core.answer(&node(0), first.roster_version).roster, []);

    rig.edit(1, |pod| {
        drop(pod.annotations.insert("plimsoll.dev/bounds".into(), "{}".into()));
    });
    assert_eq!(
        rig.core.answer(&node(0), first.roster_version).roster,
        [],
        "nothing an agent is told changed"
    );
    let write = only(&rig.report(0, true, vec![load(1, Band::High, Band::Low)]));
    rig.land(&write);
    let second = rig.core.answer(&node(0), first.roster_version);
    assert_eq!(second.roster[0].bands.cpu, Some(Band::High));
    assert!(second.roster_version > first.roster_version);
    assert_eq!(rig.core.answer(&node(0), second.roster_version).roster, []);
    for odd in [0, 999, 1_000_000] {
        assert_eq!(rig.core.answer(&node(0), odd).roster.len(), 1, "{odd} is no version of this process");
    }
}

#[test]
fn a_class_on_pod_or_namespace_makes_a_pod_managed() {
    let mut rig = Rig::new(vec![facts(1, 0)]);
    let managed = |rig: &Rig| rig.core.answer(&node(0), 0).roster[0].managed;
    let version = |rig: &Rig| rig.core.answer(&node(0), 0).roster_version;
    let before = version(&rig);
    rig.step(Input::NamespaceChanged(NamespaceFacts { class: Some("gold".into()), ..namespace("shop") }));
    assert!(managed(&rig) && version(&rig) > before);
    let before = version(&rig);
    rig.step(Input::NamespaceChanged(NamespaceFacts { class: Some("bronze".into()), ..namespace("shop") }));
    assert_eq!(version(&rig), before, "managed as before");
    assert_eq!(rig.core.pod(&name(1)).unwrap().class.as_deref(), Some("bronze"));
    rig.step(Input::NamespaceGone("shop".into()));
    assert!(!managed(&rig));
    rig.edit(1, |pod| {
        drop(pod.labels.insert(keys::SLA.into(), "silver".into()));
    });
    assert!(managed(&rig));
}

#[test]
fn an_agents_pod_is_found_by_its_uid() {
    let rig = Rig::new(vec![facts(1, 0)]);
    assert_eq!(rig.core.find_agent_pod(uid(1).as_str()).map(|p| &p.pod), Some(&name(1)));
    assert_eq!(rig.core.find_agent_pod(uid(2).as_str()), None);
    assert_eq!(rig.core.find_agent_pod("no uid"), None);
}

#[test]
fn the_stream_hears_of_each_change_and_of_nothing_else() {
    let mut rig = settled();
    let (generation, all) = rig.core.changes_since(0);
    assert_eq!(all, [name(1)]);
    rig.wait(5);
    assert_eq!(rig.core.changes_since(generation), (generation, vec![]));
    rig.report(0, false, vec![load(1, Band::Low, Band::Low)]);
    let (next, changed) = rig.core.changes_since(generation);
    assert!(next > generation);
    assert_eq!(changed, [name(1)]);
}
