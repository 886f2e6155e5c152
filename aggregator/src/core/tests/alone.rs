//! Pods that get no labels, and pods that lose them.

use super::*;
use crate::plan::queue::Order;

fn high() -> Vec<PodReport> {
    vec![load(1, Band::High, Band::High)]
}

#[test]
fn system_namespaces_are_left_alone_even_with_labels_on_their_pods() {
    for space in ["kube-system", keys::SYSTEM_NAMESPACE, keys::AGENT_NAMESPACE] {
        let mut pod = labeled(1, 0, "low", "low");
        pod.pod = PodName::new(space, "p1");
        let mut harness = Harness::new(vec![pod]);
        assert_eq!(harness.report(0, true, high()), []);
        assert_eq!(writes(&harness.wait(300)), [], "{space}");
    }
}

#[test]
fn an_ignored_pod_gets_nothing() {
    let mut pod = facts(1, 0);
    pod.labels.insert(keys::IGNORE.into(), "true".into());
    let mut harness = Harness::new(vec![pod]);
    assert_eq!(harness.report(0, true, high()), []);
    let write = only(&harness.edit(1, |pod| {
        drop(pod.labels.insert(keys::IGNORE.into(), "false".into()));
    }));
    assert_eq!(write.reason, Reason::First);
}

#[test]
fn a_pod_ignored_later_loses_our_keys_once() {
    let mut harness = labeled_low();
    let write = only(&harness.edit(1, |pod| {
        drop(pod.labels.insert(keys::IGNORE.into(), "true".into()));
    }));
    assert_eq!(short(&write), "withdrawn cpu=low memory=low -> cpu=- memory=-");
    assert_eq!((write.labels().len(), write.annotations().len()), (0, 0));
    assert_eq!(harness.outcome(&write, WriteResult::written()), []);
    assert_eq!(harness.show(&name(1)), [], "the watch is behind, or the keys are somebody else's");
    harness.apply(&write);
    assert_eq!(harness.show(&name(1)), []);
    assert_eq!(harness.report(0, true, high()), []);
    let write = only(&harness.edit(1, |pod| drop(pod.labels.remove(keys::IGNORE))));
    assert_eq!(short(&write), "first cpu=- memory=- -> cpu=high memory=high");
}

#[test]
fn a_namespace_ignored_later_frees_all_its_pods() {
    let mut harness =
        Harness::new(vec![labeled(1, 0, "low", "low"), labeled(2, 1, "low", "low"), facts(3, 0)]);
    let ignored = |ignore| {
        Input::Namespaces(WatchEvent::Changed(Box::new(NamespaceFacts { ignore, ..namespace("shop") })))
    };
    let actions = harness.step(ignored(Ignore::Yes));
    assert_eq!(writes(&actions).iter().map(|w| w.reason).collect::<Vec<_>>(), [Reason::Withdrawn; 2]);
    assert_eq!(harness.land_all(actions).len(), 2);
    assert_eq!(harness.step(ignored(Ignore::Yes)), []);
    assert_eq!(harness.report(0, true, high()), []);
    assert_eq!(harness.step(ignored(Ignore::No)).len(), 1);
}

#[test]
fn a_finished_pod_loses_our_keys_once() {
    let mut harness = labeled_low();
    let write = only(&harness.edit(1, |pod| pod.finished = true));
    assert_eq!(write.reason, Reason::Withdrawn);
    assert_eq!(harness.land(&write), []);
    assert_eq!(writes(&harness.wait(300)), []);
    assert_eq!(harness.pods[&name(1)].labels.len(), 0);
}

#[test]
fn a_finished_pod_that_carries_nothing_of_ours_is_not_touched() {
    let mut pod = facts(1, 0);
    pod.finished = true;
    pod.labels.insert(keys::SLA.into(), "gold".into());
    let mut harness = Harness::new(vec![pod]);
    assert_eq!(harness.report(0, true, high()), []);
    assert_eq!(writes(&harness.wait(300)), []);
    assert_eq!(harness.core.state.answer(&node(0), 0).roster, [], "nor is any agent told of it");
}

#[test]
fn a_pod_being_deleted_is_not_written_to() {
    let mut harness = labeled_low();
    assert_eq!(harness.edit(1, |pod| pod.terminating = true), []);
    assert_eq!(harness.report(0, true, high()), []);
    assert_eq!(harness.edit(1, |pod| pod.finished = true), []);
    assert_eq!(writes(&harness.wait(300)), []);
}

#[test]
fn a_pod_that_is_gone_leaves_nothing_behind() {
    let mut harness = labeled_low();
    harness.step(Input::Paused(true));
    harness.report(0, false, high());
    assert_eq!(harness.core.counts(harness.now()).pending, BTreeMap::from([(Order::Transition, 1)]));
    harness.step(Input::Pods(WatchEvent::Deleted(PodKey { pod: name(1), uid: uid(1).as_str().into() })));
    assert_eq!(writes(&harness.step(Input::Paused(false))), []);
    assert_eq!(harness.core.counts(harness.now()).pending, BTreeMap::new());
    assert_eq!(harness.core.pod(&name(1)), None);
}

fn namespace_changed(name: &str, ignore: Ignore) -> Input {
    Input::Namespaces(WatchEvent::Changed(Box::new(NamespaceFacts { ignore, ..namespace(name) })))
}

#[test]
fn a_pod_whose_namespace_was_not_seen_yet_waits_for_what_it_says() {
    for (ignore, expected) in [(Ignore::Yes, 0), (Ignore::No, 1)] {
        let mut harness = Harness::new(vec![]);
        harness.pods.insert(name(1), PodFacts { pod: PodName::new("new", "p1"), ..facts(1, 0) });
        let facts = harness.pods[&name(1)].clone();
        assert_eq!(harness.step(Input::Pods(WatchEvent::Changed(Box::new(facts)))), []);
        assert_eq!(harness.report(0, true, high()), [], "it may have to be ignored");
        assert_eq!(writes(&harness.wait(100)), []);
        harness.report(0, true, high());
        let actions = harness.step(namespace_changed("new", ignore));
        assert_eq!(writes(&actions).len(), expected, "{actions:?}");
    }
}

#[test]
fn while_a_namespace_is_not_known_nothing_is_withdrawn_from_its_pods() {
    let mut finished = labeled(1, 0, "low", "low");
    finished.finished = true;
    let mut ignored = labeled(2, 0, "low", "low");
    ignored.labels.insert(keys::IGNORE.into(), "true".into());
    let silent = labeled(3, 0, "low", "low");
    let pods =
        [finished, ignored, silent].map(|pod| PodFacts { pod: PodName::new("new", &pod.pod.name), ..pod });
    let mut harness = Harness::new(pods.to_vec());
    assert_eq!(writes(&harness.wait(300)), []);
    let actions = harness.step(namespace_changed("new", Ignore::No));
    let reasons: Vec<Reason> = writes(&harness.land_all(actions)).iter().map(|write| write.reason).collect();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    harness.step(Input::Namespaces(WatchEvent::Deleted("new".into())));
    harness.loads.clear();
    assert_eq!(writes(&harness.report(0, true, high())), [], "it was deleted, and its pods will be");
}
