//! Pods that get no labels, and pods that lose them.

use super::*;

fn high() -> Vec<PodReport> {
    vec![load(1, Band::High, Band::High)]
}

#[test]
fn system_namespaces_are_left_alone_even_with_labels_on_their_pods() {
    for space in ["kube-system", keys::SYSTEM_NAMESPACE, keys::AGENT_NAMESPACE] {
        let mut pod = labeled(1, 0, "low", "low");
        pod.pod = PodName::new(space, "p1");
        let mut rig = Rig::new(vec![pod]);
        assert_eq!(rig.report(0, true, high()), []);
        assert_eq!(rig.wait(300), [], "{space}");
    }
}

#[test]
fn an_ignored_pod_gets_nothing() {
    let mut pod = facts(1, 0);
    pod.labels.insert(keys::IGNORE.into(), "true".into());
    let mut rig = Rig::new(vec![pod]);
    assert_eq!(rig.report(0, true, high()), []);
    let write = only(&rig.edit(1, |pod| {
        drop(pod.labels.insert(keys::IGNORE.into(), "false".into()));
    }));
    assert_eq!(write.reason, Reason::First);
}

#[test]
fn a_pod_ignored_later_loses_our_keys_once() {
    let mut rig = settled();
    let write = only(&rig.edit(1, |pod| {
        drop(pod.labels.insert(keys::IGNORE.into(), "true".into()));
    }));
    assert_eq!(short(&write), "withdrawn cpu=low memory=low -> cpu=- memory=-");
    assert_eq!((write.labels.len(), write.annotations.len()), (0, 0));
    assert_eq!(rig.outcome(&write, WriteResult::Written), []);
    assert_eq!(rig.show(&name(1)), [], "the watch is behind, or the keys are somebody else's");
    rig.apply(&write);
    assert_eq!(rig.show(&name(1)), []);
    assert_eq!(rig.report(0, true, high()), []);
    let write = only(&rig.edit(1, |pod| drop(pod.labels.remove(keys::IGNORE))));
    assert_eq!(short(&write), "first cpu=- memory=- -> cpu=high memory=high");
}

#[test]
fn a_namespace_ignored_later_frees_all_its_pods() {
    let mut rig = Rig::new(vec![labeled(1, 0, "low", "low"), labeled(2, 1, "low", "low"), facts(3, 0)]);
    let ignored = |ignored| Input::NamespaceChanged(NamespaceFacts { ignored, ..namespace("shop") });
    let actions = rig.step(ignored(true));
    assert_eq!(writes(&actions).iter().map(|w| w.reason).collect::<Vec<_>>(), [Reason::Withdrawn; 2]);
    assert_eq!(rig.land_all(actions).len(), 2);
    assert_eq!(rig.step(ignored(true)), []);
    assert_eq!(rig.report(0, true, high()), []);
    assert_eq!(rig.step(ignored(false)).len(), 1);
}

#[test]
fn a_finished_pod_loses_our_keys_once() {
    let mut rig = settled();
    let write = only(&rig.edit(1, |pod| pod.finished = true));
    assert_eq!(write.reason, Reason::Withdrawn);
    assert_eq!(rig.land(&write), []);
    assert_eq!(rig.wait(300), []);
    assert_eq!(rig.pods[&name(1)].labels.len(), 0);
}

#[test]
fn a_finished_pod_that_carries_nothing_of_ours_is_not_touched() {
    let mut pod = facts(1, 0);
    pod.finished = true;
    pod.labels.insert(keys::SLA.into(), "gold".into());
    let mut rig = Rig::new(vec![pod]);
    assert_eq!(rig.report(0, true, high()), []);
    assert_eq!(rig.wait(300), []);
    assert_eq!(rig.core.answer(&node(0), 0).roster, [], "nor is any agent told of it");
}

#[test]
fn a_pod_being_deleted_is_not_written_to() {
    let mut rig = settled();
    assert_eq!(rig.edit(1, |pod| pod.terminating = true), []);
    assert_eq!(rig.report(0, true, high()), []);
    assert_eq!(rig.edit(1, |pod| pod.finished = true), []);
    assert_eq!(rig.wait(300), []);
}

#[test]
fn a_pod_that_is_gone_leaves_nothing_behind() {
    let mut rig = settled();
    rig.step(Input::Paused(true));
    rig.report(0, false, high());
    assert_eq!(rig.core.gauges(rig.now()).pending, 1);
    rig.step(Input::PodGone { pod: name(1), uid: uid(1).as_str().into() });
    assert_eq!(rig.step(Input::Paused(false)), []);
    assert_eq!(rig.core.gauges(rig.now()).pending, 0);
    assert_eq!(rig.core.pod(&name(1)), None);
}
