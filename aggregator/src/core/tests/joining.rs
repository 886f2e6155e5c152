//! Which pods a report is about, which reports are rejected, and what agents are told in return.

use plimsoll_contract::rejection::{PodRejection, RejectedPod};
use plimsoll_sizing::policy::Policy;

use super::*;
use crate::core::Note;
use crate::facts::ClassFacts;
use crate::rejection::Rejection;
use crate::settings::ResizeSettings;

fn rejected(n: usize, reason: PodRejection) -> RejectedPod {
    RejectedPod { uid: uid(n), reason }
}

#[test]
fn foreign_unknown_and_impossible_pods_are_rejected_and_the_others_accepted() {
    let mut harness = Harness::new(vec![facts(1, 0), facts(2, 1), facts(3, 0)]);
    let mut impossible = load(3, Band::High, Band::High);
    impossible.cpu.usage = Some(Cores(400.0));
    let pods = vec![
        load(2, Band::High, Band::High),
        load(9, Band::High, Band::High),
        impossible,
        load(1, Band::Low, Band::Low),
    ];
    let write = only(&harness.report(0, true, pods));
    assert_eq!(write.pod, name(1));
    let expected = [
        rejected(2, PodRejection::ForeignPod),
        rejected(9, PodRejection::UnknownPod),
        rejected(3, PodRejection::BadValue),
    ];
    assert_eq!(harness.core.state.answer(&node(0), 0).rejected, expected);
    let told = harness.core.take_notes();
    let count = |reason| Note::PodsRejected { node: node(0), reason, count: 1 };
    for reason in [PodRejection::ForeignPod, PodRejection::UnknownPod, PodRejection::BadValue] {
        assert!(told.contains(&count(reason)), "{told:?}");
    }
    assert_eq!(harness.core.pod(&name(2)).unwrap().cpu.band, Band::Unknown);
    harness.report(0, true, vec![load(1, Band::Low, Band::Low)]);
    assert_eq!(harness.core.state.answer(&node(0), 0).rejected, []);
}

#[test]
fn a_pod_that_stays_unknown_is_said_once_and_not_after_every_partial_report() {
    let mut harness = labeled_low();
    let full = || vec![load(1, Band::Low, Band::Low), load(9, Band::High, Band::High)];
    harness.report(0, true, full());
    let said =
        |notes: Vec<Note>| notes.iter().filter(|note| matches!(note, Note::PodsRejected { .. })).count();
    assert_eq!(said(harness.core.take_notes()), 1);
    for _ in 0..3 {
        harness.report(0, false, vec![load(1, Band::Low, Band::Low)]);
        assert_eq!(said(harness.core.take_notes()), 0);
        harness.report(0, true, full());
        assert_eq!(said(harness.core.take_notes()), 0);
    }
}

#[test]
fn the_first_report_of_a_node_is_said_once_with_its_pods() {
    let mut harness = Harness::new(vec![facts(1, 0)]);
    harness.report(0, true, vec![load(1, Band::Low, Band::Low)]);
    let heard = Note::FirstReport { node: node(0), pods: 1 };
    assert!(harness.core.take_notes().contains(&heard));
    harness.report(0, true, vec![load(1, Band::Low, Band::Low)]);
    assert!(!harness.core.take_notes().contains(&heard));
}

#[test]
fn a_pod_whose_numbers_became_impossible_is_unknown_and_not_what_it_was() {
    let mut harness = labeled_low();
    let mut pod = load(1, Band::Low, Band::Low);
    pod.memory.utilization = Some(-1.0);
    harness.see(0, pod);
    let write = only(&harness.live(140));
    assert_eq!(short(&write), "silence cpu=low memory=low -> cpu=unknown memory=unknown");
}

#[test]
fn reports_of_unknown_nodes_and_invalid_reports_are_rejected() {
    let mut harness = Harness::new(vec![facts(1, 8)]);
    let report = harness.next_report(8, true, vec![load(1, Band::Low, Band::Low)]);
    assert_eq!(harness.admits(&report), Err(Rejection::UnknownNode(node(8))));
    assert_eq!(harness.step(reported(report)), []);
    let mut report = harness.next_report(0, true, vec![]);
    report.version = 99;
    assert!(matches!(harness.admits(&report), Err(Rejection::Invalid(_))));
    let mut harness = Harness::unsynced(Settings::default(), vec![]);
    let report = harness.next_report(0, true, vec![]);
    assert_eq!(harness.admits(&report), Err(Rejection::NotSynced));
}

#[test]
fn three_reports_of_other_nodes_pods_quarantine_a_node_for_ten_minutes() {
    let mut harness = Harness::new(vec![facts(1, 0), facts(2, 1)]);
    for _ in 0..3 {
        harness.report(0, false, vec![load(2, Band::High, Band::High)]);
        harness.wait(1);
    }
    let report = harness.next_report(0, true, vec![load(1, Band::Low, Band::Low)]);
    assert_eq!(harness.admits(&report), Err(Rejection::Quarantined(node(0))));
    assert_eq!(harness.step(reported(report.clone())), []);
    harness.wait(600);
    assert_eq!(harness.admits(&report), Ok(()));
}

#[test]
fn pods_that_are_just_gone_never_quarantine_a_node() {
    let mut harness = labeled_low();
    for _ in 0..20 {
        harness.report(0, true, vec![load(1, Band::Low, Band::Low), load(7, Band::High, Band::High)]);
    }
    let report = harness.next_report(0, true, vec![]);
    assert_eq!(harness.admits(&report), Ok(()));
}

#[test]
fn a_pod_that_the_watch_has_not_shown_on_its_node_yet_never_quarantines_the_node() {
    let unbound = PodFacts { node: None, ..facts(1, 0) };
    let mut harness = Harness::new(vec![unbound]);
    for _ in 0..20 {
        harness.report(0, true, vec![load(1, Band::Low, Band::Low)]);
    }
    let report = harness.next_report(0, true, vec![load(1, Band::Low, Band::Low)]);
    assert_eq!(harness.admits(&report), Ok(()));
}

#[test]
fn a_pod_made_again_under_its_name_starts_from_nothing() {
    let mut harness = labeled_low();
    let mut again = facts(2, 0);
    again.pod = name(1);
    assert_eq!(harness.step(Input::Pods(WatchEvent::Changed(Box::new(again)))), []);
    assert_eq!(harness.core.pod(&name(1)).unwrap().cpu.band, Band::Unknown);
    let gone = Input::Pods(WatchEvent::Deleted(PodKey { pod: name(1), uid: uid(1).as_str().into() }));
    assert_eq!(harness.step(gone), [], "the old one's end is not the new one's");
    assert_eq!(harness.report(0, true, vec![load(1, Band::High, Band::High)]), [], "the old uid is unknown");
    let write = only(&harness.report(0, true, vec![load(2, Band::High, Band::Low)]));
    assert_eq!((write.uid.as_str(), write.reason), (uid(2).as_str(), Reason::First));
}

#[test]
fn the_roster_tells_each_pod_once_and_again_when_it_changed() {
    let mut harness = Harness::new(vec![facts(1, 0), facts(2, 1)]);
    let first = harness.core.state.answer(&node(0), 0);
    assert!(first.roster_version > 1000);
    assert_eq!(first.roster.len(), 1);
    let entry = &first.roster[0];
    assert_eq!((&entry.uid, entry.managed, entry.bands.cpu), (&uid(1), false, None));
    assert_eq!((entry.containers[0].name.as_str(), entry.containers[0].generation), ("app", 0));
    assert_eq!(harness.core.state.answer(&node(0), first.roster_version).roster, []);

    harness.edit(1, |pod| {
        drop(pod.annotations.insert("plimsoll.dev/bounds".into(), "{}".into()));
    });
    assert_eq!(
        harness.core.state.answer(&node(0), first.roster_version).roster,
        [],
        "nothing an agent is told changed"
    );
    let write = only(&harness.report(0, true, vec![load(1, Band::High, Band::Low)]));
    harness.land(&write);
    let second = harness.core.state.answer(&node(0), first.roster_version);
    assert_eq!(second.roster[0].bands.cpu, Some(Band::High));
    assert!(second.roster_version > first.roster_version);
    assert_eq!(harness.core.state.answer(&node(0), second.roster_version).roster, []);
    for odd in [0, 999, 1_000_000] {
        assert_eq!(
            harness.core.state.answer(&node(0), odd).roster.len(),
            1,
            "{odd} is no version of this process"
        );
    }
}

#[test]
fn a_class_on_pod_or_namespace_makes_a_pod_managed_if_there_is_such_a_class() {
    let resize = ResizeSettings::new(true);
    let settings = Settings { process: 1000 << 12, resize, ..Settings::default() };
    let mut harness = Harness::with(settings, vec![facts(1, 0)], 2);
    let class = |name: &str| ClassFacts {
        name: name.into(),
        uid: None,
        generation: None,
        policy: Ok(Policy::builtin(name).unwrap()),
    };
    harness.step(Input::Classes(WatchEvent::Listed(vec![class("gold"), class("bronze")])));
    let managed = |harness: &Harness| harness.core.state.answer(&node(0), 0).roster[0].managed;
    let version = |harness: &Harness| harness.core.state.answer(&node(0), 0).roster_version;
    let before = version(&harness);
    harness.step(Input::Namespaces(WatchEvent::Changed(Box::new(NamespaceFacts {
        class: Some("gold".into()),
        ..namespace("shop")
    }))));
    assert!(managed(&harness) && version(&harness) > before);
    let before = version(&harness);
    harness.step(Input::Namespaces(WatchEvent::Changed(Box::new(NamespaceFacts {
        class: Some("bronze".into()),
        ..namespace("shop")
    }))));
    assert_eq!(version(&harness), before, "managed as before");
    assert_eq!(harness.core.pod(&name(1)).unwrap().class.as_deref(), Some("bronze"));
    harness.step(Input::Namespaces(WatchEvent::Deleted("shop".into())));
    assert!(!managed(&harness));
    harness.edit(1, |pod| {
        drop(pod.labels.insert(keys::SLA.into(), "silver".into()));
    });
    assert!(!managed(&harness), "there is no such class");
    let before = version(&harness);
    harness.step(Input::Classes(WatchEvent::Changed(Box::new(class("silver")))));
    assert!(managed(&harness) && version(&harness) > before);
}

#[test]
fn an_agents_pod_is_found_by_its_uid() {
    let harness = Harness::new(vec![facts(1, 0)]);
    assert_eq!(harness.core.find_agent_pod(uid(1).as_str()).map(|p| &p.pod), Some(&name(1)));
    assert_eq!(harness.core.find_agent_pod(uid(2).as_str()), None);
    assert_eq!(harness.core.find_agent_pod("no uid"), None);
}

#[test]
fn the_tag_of_the_pods_changes_with_each_change_and_with_nothing_else() {
    let mut harness = labeled_low();
    let before = harness.core.pods_tag();
    harness.wait(5);
    assert_eq!(harness.core.pods_tag(), before);
    harness.report(0, false, vec![load(1, Band::Low, Band::Low)]);
    assert_ne!(harness.core.pods_tag(), before);
}

#[test]
fn the_numbers_of_every_container_are_kept_until_the_load_is_lost() {
    let mut harness = labeled_low();
    let containers = |harness: &Harness| harness.core.state.pods[&name(1)].containers.len();
    assert_eq!(containers(&harness), 1);
    harness.report(0, true, vec![]);
    assert_eq!(containers(&harness), 0);
}
