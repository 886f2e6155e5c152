//! Static pods, and pods that claim to be one: nobody takes anything from anybody, and no honest node is blamed.

use plimsoll_contract::rejection::PodRejection;
use plimsoll_contract::roster::RosterPod;
use proptest::prelude::*;

use super::*;

/// The number of the static pod, of its container, and of the thief's.
const STATIC: usize = 1;
const THIEF: usize = 3;

fn hash() -> PodUid {
    PodUid::new("0b8c3d1e5f2a4c3b9d8e7f6a5b4c3d2e").unwrap()
}

fn node_uid(n: usize) -> String {
    format!("uid-of-n{n}")
}

/// The mirror pod `n` of a static pod on node `on`.
fn mirror(n: usize, on: usize) -> PodFacts {
    PodFacts {
        cgroup_uid: Some(hash()),
        mirror_of: Some(node_uid(on)),
        controller: Some(format!("Node/n{on}")),
        ..facts(n, on)
    }
}

/// A tenant's pod that claims the hash: annotations and owner reference are as it likes, its status is not.
fn thief(bound_to: usize, owner_uid: &str) -> PodFacts {
    let mut thief = mirror(THIEF, bound_to);
    thief.pod = PodName::new("tenant", "thief");
    thief.mirror_of = Some(owner_uid.to_owned());
    thief.containers[0].id = None;
    thief
}

/// Every kind of thief: on a node that does not exist, and on the real one, with a wrong and with the right uid of it.
fn thieves() -> [PodFacts; 3] {
    [thief(77, "made-up"), thief(0, "made-up"), thief(0, &node_uid(0))]
}

fn registered(n: usize, uid: &str) -> Input {
    let facts = NodeFacts { uid: Some(uid.to_owned()), ..NodeFacts::bare(&format!("n{n}")) };
    Input::Nodes(WatchEvent::Changed(Box::new(facts)))
}

fn changed(facts: &PodFacts) -> Input {
    Input::Pods(WatchEvent::Changed(Box::new(facts.clone())))
}

fn gone(facts: &PodFacts) -> Input {
    Input::Pods(WatchEvent::Deleted(PodKey { pod: facts.pod.clone(), uid: facts.uid.clone() }))
}

/// The load of the static pod, whose containers are those of pod `n`.
fn load_of_static(n: usize, cpu: Band) -> PodReport {
    PodReport { uid: hash(), ..load(n, cpu, Band::Low) }
}

/// What the honest agent of node 0 says.
fn honest(cpu: Band) -> Vec<PodReport> {
    vec![load_of_static(STATIC, cpu), load(2, Band::Low, Band::Low)]
}

/// The nodes with their uids, both namespaces, and pod 2 on node 0.
fn cluster(pods: Vec<PodFacts>) -> Harness {
    let mut harness = Harness::new([pods, vec![facts(2, 0)]].concat());
    for n in 0..2 {
        harness.step(registered(n, &node_uid(n)));
    }
    harness.show_namespace("tenant");
    harness
}

fn band(harness: &Harness, pod: &PodName) -> Band {
    harness.core.pod(pod).map_or(Band::Unknown, |pod| pod.cpu.band)
}

fn rejections(harness: &Harness, n: usize) -> Vec<PodRejection> {
    harness.core.state.answer(&node(n), 0).rejected.into_iter().map(|pod| pod.reason).collect()
}

fn listed(harness: &Harness, n: usize) -> Vec<RosterPod> {
    harness.core.state.answer(&node(n), 0).roster.into_iter().filter(|pod| pod.uid == hash()).collect()
}

/// The honest node reports for longer than three reports with foreign pods would be forgiven: it is heard, the static pod has its load and
/// its entry, and the thief has nothing.
fn assert_untouched(harness: &mut Harness, thief: &PodFacts) {
    for cpu in [Band::High, Band::Low, Band::High, Band::Low] {
        let report = harness.next_report(0, true, honest(cpu));
        assert_eq!(harness.admits(&report), Ok(()), "{thief:?}");
        let actions = harness.step(reported(report));
        harness.land_all(actions);
        assert_eq!(band(harness, &name(STATIC)), cpu, "{thief:?}");
        assert_eq!(band(harness, &thief.pod), Band::Unknown, "{thief:?}");
        assert_eq!(rejections(harness, 0), [], "{thief:?}");
        let names: Vec<String> = listed(harness, 0).into_iter().map(|pod| pod.name).collect();
        assert_eq!(names, ["p1"], "{thief:?}");
        harness.wait(10);
    }
}

#[test]
fn a_static_pod_is_joined_by_its_config_hash() {
    let mut harness = cluster(vec![mirror(STATIC, 0)]);
    let write = only(&harness.report(0, true, vec![load_of_static(STATIC, Band::High)]));
    assert_eq!((write.pod, write.uid.as_str()), (name(STATIC), uid(STATIC).as_str()));
    assert_eq!(listed(&harness, 0).len(), 1);
}

#[test]
fn a_pod_that_claims_the_hash_of_a_static_pod_takes_nothing_from_it() {
    for thief in thieves() {
        let mut last = cluster(vec![mirror(STATIC, 0)]);
        assert_untouched(&mut last, &thief);
        last.step(changed(&thief));
        assert_untouched(&mut last, &thief);
        last.step(gone(&thief));
        assert_untouched(&mut last, &thief);

        let mut first = cluster(vec![]);
        first.step(changed(&thief));
        let report = first.next_report(0, true, honest(Band::High));
        first.step(reported(report));
        assert_eq!(band(&first, &thief.pod), Band::Unknown, "{thief:?}");
        assert_eq!(rejections(&first, 0), [PodRejection::UnknownPod], "{thief:?}");
        assert_eq!(listed(&first, 0), [], "{thief:?}");
        first.pods.insert(name(STATIC), mirror(STATIC, 0));
        first.show(&name(STATIC));
        assert_untouched(&mut first, &thief);

        let mut together = cluster(vec![thief.clone(), mirror(STATIC, 0)]);
        assert_untouched(&mut together, &thief);
    }
}

#[test]
fn a_mirror_pod_is_joined_once_its_status_names_a_container() {
    let mut starting = mirror(STATIC, 0);
    starting.containers[0].id = None;
    let mut harness = cluster(vec![starting]);
    harness.report(0, true, honest(Band::High));
    assert_eq!(rejections(&harness, 0), [PodRejection::UnknownPod]);
    harness.edit(STATIC, |pod| pod.containers[0].id = Some(container(STATIC)));
    harness.report(0, true, honest(Band::High));
    assert_eq!((band(&harness, &name(STATIC)), rejections(&harness, 0)), (Band::High, vec![]));

    // All its containers wait to be started again.
    harness.edit(STATIC, |pod| pod.containers[0].id = None);
    harness.step(changed(&thief(0, &node_uid(0))));
    harness.report(0, true, honest(Band::Low));
    assert_eq!((band(&harness, &name(STATIC)), rejections(&harness, 0)), (Band::Low, vec![]));
    // Another pod of that name has not run yet.
    let again = PodFacts { uid: uid(7).as_str().into(), ..harness.pods[&name(STATIC)].clone() };
    harness.step(changed(&again));
    harness.report(0, true, honest(Band::Low));
    assert_eq!(rejections(&harness, 0), [PodRejection::UnknownPod]);
}

#[test]
fn of_two_claims_that_count_the_one_with_the_reported_container_wins_and_keeps_it() {
    // As only somebody who may write statuses can make it.
    let mut other = thief(0, &node_uid(0));
    other.containers[0].id = Some(container(THIEF));
    let mut harness = cluster(vec![mirror(STATIC, 0), other.clone()]);
    let nameless = || PodReport { containers: vec![], ..load_of_static(STATIC, Band::High) };
    harness.report(0, false, vec![nameless()]);
    assert_eq!(rejections(&harness, 0), [PodRejection::AmbiguousPod], "both were listed at once");
    assert_eq!(listed(&harness, 0), []);
    assert_untouched(&mut harness, &thief(0, &node_uid(0)));
    harness.report(0, false, vec![nameless()]);
    assert_eq!(band(&harness, &name(STATIC)), Band::High, "it is still the same pod");

    let mut harness = cluster(vec![mirror(STATIC, 0)]);
    harness.step(changed(&other));
    harness.report(0, false, vec![nameless()]);
    assert_eq!(band(&harness, &name(STATIC)), Band::High, "it was there first");
}

#[test]
fn pods_that_cannot_be_told_apart_are_nobodys_fault() {
    let mut other = thief(0, &node_uid(0));
    other.containers[0].id = Some(container(THIEF));
    let mut harness = cluster(vec![mirror(STATIC, 0), other]);
    for _ in 0..10 {
        harness.report(0, true, vec![load_of_static(9, Band::High)]);
        harness.wait(1);
    }
    assert_eq!(rejections(&harness, 0), [PodRejection::AmbiguousPod]);
    let report = harness.next_report(0, true, vec![]);
    assert_eq!(harness.admits(&report), Ok(()));
    let unaware = harness.core.step(harness.now(), reported(report)).answer.unwrap().unwrap();
    assert_eq!(unaware.rejected, [], "a report without the pod");
    let mut report = harness.next_report(0, true, vec![load_of_static(9, Band::High)]);
    let told = |harness: &mut Harness, report: Report| {
        harness.core.step(harness.now(), reported(report)).answer.unwrap().unwrap().rejected[0].reason
    };
    assert_eq!(
        told(&mut harness, report.clone()),
        PodRejection::UnknownPod,
        "an agent that may not know the word"
    );
    report.seq = harness.next_report(0, true, vec![]).seq;
    report.roster_process = unaware.roster_process;
    assert_eq!(told(&mut harness, report), PodRejection::AmbiguousPod);
}

#[test]
fn static_pods_of_one_manifest_url_on_two_nodes_are_told_apart() {
    // The kubelet hashes the name of the node with a manifest that is a file, but not with one from a URL.
    let mut harness = cluster(vec![mirror(11, 0), mirror(12, 1)]);
    for (a, b) in [(Band::High, Band::Low), (Band::Low, Band::High), (Band::Low, Band::Low)] {
        for (n, cpu) in [(0, a), (1, b)] {
            let report = harness.next_report(n, true, vec![load_of_static(11 + n, cpu)]);
            assert_eq!(harness.admits(&report), Ok(()));
            harness.step(reported(report));
            assert_eq!(rejections(&harness, n), []);
        }
        assert_eq!([band(&harness, &name(11)), band(&harness, &name(12))], [a, b]);
    }
    let names = |n| listed(&harness, n).into_iter().map(|pod| pod.name).collect::<Vec<_>>();
    assert_eq!((names(0), names(1)), (vec!["p11".to_owned()], vec!["p12".to_owned()]));
}

#[test]
fn a_hash_of_another_nodes_static_pod_is_unknown_and_never_held_against_a_node() {
    let mut harness = cluster(vec![mirror(STATIC, 1)]);
    for _ in 0..10 {
        harness.report(0, true, honest(Band::High));
        harness.wait(1);
    }
    assert_eq!(rejections(&harness, 0), [PodRejection::UnknownPod]);
    let report = harness.next_report(0, true, vec![]);
    assert_eq!(harness.admits(&report), Ok(()));
}

#[test]
fn a_deleted_and_re_added_node_is_followed_by_its_new_uid() {
    let mut harness = cluster(vec![mirror(STATIC, 0)]);
    harness.report(0, true, honest(Band::High));
    // The watch may show only the result.
    for deleted in [true, false] {
        let new = format!("new-{deleted}");
        if deleted {
            harness.step(Input::Nodes(WatchEvent::Deleted(node(0))));
        }
        harness.step(registered(0, &new));
        harness.report(0, true, honest(Band::High));
        assert_eq!(rejections(&harness, 0), [PodRejection::UnknownPod], "its owner is the node before");
        // The garbage collector deletes the mirror pod, and the kubelet creates it again.
        let old = harness.pods[&name(STATIC)].clone();
        harness.step(gone(&old));
        harness.pods.insert(name(STATIC), PodFacts { mirror_of: Some(new), ..mirror(STATIC, 0) });
        harness.show(&name(STATIC));
        harness.report(0, true, honest(Band::High));
        assert_eq!((band(&harness, &name(STATIC)), rejections(&harness, 0)), (Band::High, vec![]));
    }
}

#[test]
fn a_quarantine_ends_with_the_node_that_earned_it() {
    let mut harness = cluster(vec![facts(5, 1)]);
    for _ in 0..3 {
        harness.report(0, false, vec![load(5, Band::High, Band::High)]);
    }
    let report = harness.next_report(0, true, vec![]);
    assert!(harness.admits(&report).is_err());
    harness.step(registered(0, &node_uid(0)));
    assert!(harness.admits(&report).is_err(), "the same node");
    harness.step(registered(0, "another"));
    assert_eq!(harness.admits(&report), Ok(()));
}

#[test]
fn the_roster_version_of_a_static_pod_rises_only_when_its_entry_changes() {
    let mut harness = cluster(vec![mirror(STATIC, 0)]);
    let version = |harness: &Harness| harness.core.state.answer(&node(0), 0).roster_version;
    let before = version(&harness);
    harness.edit(STATIC, |pod| drop(pod.annotations.insert("plimsoll.dev/bounds".into(), "{}".into())));
    for thief in thieves() {
        harness.step(changed(&thief));
        harness.step(gone(&thief));
    }
    harness.step(registered(0, &node_uid(0)));
    assert_eq!(version(&harness), before);
    harness.edit(STATIC, |pod| pod.containers[0].running = false);
    assert!(version(&harness) > before);
}

/// What may happen around a static pod.
#[derive(Debug, Clone)]
enum Event {
    /// One of [`thieves`] is created, or deleted.
    Thief(usize, bool),
    /// The mirror pod is shown, or deleted; it is created again.
    Mirror(bool),
    /// The container restarts: the report names the new one at once, the status later.
    Restart,
    /// The status names no container for a while.
    Waiting,
    Relist,
    /// The Node has this uid now.
    Node(usize),
    Report,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..3_usize, any::<bool>()).prop_map(|(n, there)| Event::Thief(n, there)),
        any::<bool>().prop_map(Event::Mirror),
        Just(Event::Restart),
        Just(Event::Waiting),
        Just(Event::Relist),
        (0..2_usize).prop_map(Event::Node),
        Just(Event::Report),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_thieves_do_the_static_pod_is_itself_and_its_node_is_heard(events in prop::collection::vec(event(), 1..40)) {
        let mut harness = cluster(vec![mirror(STATIC, 0)]);
        let mut there: BTreeMap<PodName, PodFacts> = BTreeMap::new();
        let mut running = STATIC;
        for event in events {
            match event {
                Event::Thief(n, is_there) => {
                    let mut thief = thieves()[n].clone();
                    thief.pod = PodName::new("tenant", &format!("thief-{n}"));
                    match is_there {
                        true => drop(there.insert(thief.pod.clone(), thief.clone())),
                        false => drop(there.remove(&thief.pod)),
                    }
                    harness.step(if is_there { changed(&thief) } else { gone(&thief) });
                }
                Event::Mirror(true) => drop(harness.edit(STATIC, |pod| pod.containers[0].id = Some(container(running)))),
                Event::Mirror(false) => {
                    let mirror = harness.pods[&name(STATIC)].clone();
                    harness.step(gone(&mirror));
                    harness.show(&name(STATIC));
                }
                Event::Restart => running += 100,
                Event::Waiting => drop(harness.edit(STATIC, |pod| pod.containers[0].id = None)),
                Event::Relist => {
                    let pods = harness.pods.values().chain(there.values()).cloned().collect();
                    harness.step(Input::Pods(WatchEvent::Listed(pods)));
                }
                Event::Node(n) => drop(harness.step(registered(0, &node_uid(n)))),
                Event::Report => {
                    let pods = vec![load_of_static(running, Band::High), load(2, Band::Low, Band::Low)];
                    let report = harness.next_report(0, true, pods);
                    prop_assert_eq!(harness.admits(&report), Ok(()));
                    harness.step(reported(report));
                }
            }
            for thief in there.keys() {
                prop_assert_eq!(band(&harness, thief), Band::Unknown);
                prop_assert!(listed(&harness, 0).iter().all(|pod| pod.namespace == "shop"));
            }
        }
        harness.step(registered(0, &node_uid(0)));
        harness.edit(STATIC, |pod| pod.containers[0].id = Some(container(running)));
        harness.report(0, true, vec![load_of_static(running, Band::High), load(2, Band::Low, Band::Low)]);
        prop_assert_eq!(band(&harness, &name(STATIC)), Band::High);
        prop_assert_eq!(rejections(&harness, 0), vec![]);
    }
}
