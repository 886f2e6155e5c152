//! Views that are built from the state.

use plimsoll_contract::load::ResourceLoad;
use plimsoll_contract::report::{PodReport, Report, VERSION};
use plimsoll_contract::{Band, Basis, PodUid, keys};

use super::*;
use crate::facts::{ClassFacts, NamespaceFacts};
use crate::input::{Now, WatchEvent};
use crate::plan::resize::of_state::node_view;
use crate::settings::{ResizeSettings, Settings};
use crate::state::State;

fn settings() -> Settings {
    Settings { resize: ResizeSettings::new(true), ..Settings::default() }
}

pub(super) fn now(seconds: u64) -> Now {
    Now { at: Moment(Duration::from_secs(seconds)), wall: "2026-01-01T10:30:00Z".parse().unwrap() }
}

pub(super) fn name(node: &str) -> NodeName {
    NodeName::new(node).unwrap()
}

/// A pod of the class gold on a node.
pub(super) fn pod(name_of_it: &str, node: &str, number: u64, millicores: u64) -> PodFacts {
    let made = TestPod::new(name_of_it, None).container(
        "app",
        size(millicores, 2 * millicores),
        size(64 * MI, 64 * MI),
    );
    let uid = format!("0b8c3d1e-5f2a-4c3b-9d8e-{number:012x}");
    PodFacts {
        uid: uid.clone(),
        cgroup_uid: Some(PodUid::new(&uid).unwrap()),
        node: Some(name(node)),
        labels: BTreeMap::from([(keys::SLA.to_owned(), "gold".to_owned())]),
        controller: Some("ReplicaSet/web-7d9c".to_owned()),
        ..made.facts
    }
}

pub(super) fn sized(mut facts: PodFacts) -> PodFacts {
    let original =
        r#"{"app":{"requests":{"cpu":"500m","memory":"64Mi"},"limits":{"cpu":"1","memory":"64Mi"}}}"#;
    facts.annotations.insert(keys::ORIGINAL_RESOURCES.to_owned(), original.to_owned());
    facts
}

/// Two nodes of one machine, with these pods.
pub(super) fn state(pods: Vec<PodFacts>) -> State {
    let mut state = State::new(&settings());
    let gold = ClassFacts {
        name: "gold".into(),
        uid: None,
        generation: None,
        policy: Ok(Policy::builtin("gold").unwrap()),
    };
    let node = |node: &str| NodeFacts { name: name(node), ..TestNode::new(4000, 8 * GI).facts.unwrap() };
    state.observe_namespaces(WatchEvent::Listed(vec![NamespaceFacts::bare("shop")]));
    state.observe_classes(WatchEvent::Listed(vec![gold]));
    state.observe_autoscalers(WatchEvent::Listed(Vec::new()));
    state.observe_quotas(WatchEvent::Listed(Vec::new()));
    state.observe_limit_ranges(WatchEvent::Listed(Vec::new()));
    state.observe_nodes(now(10).at, WatchEvent::Listed(vec![node("n1"), node("n2")]));
    state.observe_pods(now(10).at, WatchEvent::Listed(pods));
    state
}

pub(super) fn report(state: &mut State, at: u64, node: &str, pods: Vec<PodReport>) {
    let report = Report {
        version: VERSION,
        node: name(node),
        boot: "one-machine".into(),
        seq: at,
        full: true,
        roster_version: 0,
        roster_process: None,
        capacity: TestNode::new(4000, 8 * GI).capacity.unwrap(),
        pods,
    };
    state.ingest(now(at).at, "agent", &report, &settings());
}

/// What the agent says of a pod that is throttled.
pub(super) fn throttled(facts: &PodFacts) -> PodReport {
    let made = TestPod::new("any", Some("gold")).container("app", size(500, 1000), size(64 * MI, 64 * MI));
    let containers = made.burning(0.5, 1.0, 30.0, 0).reports;
    let cpu = ResourceLoad {
        band: Band::High,
        basis: Some(Basis::Limit),
        container: Some(containers[0].id.clone()),
        ..ResourceLoad::default()
    };
    let uid = facts.cgroup_uid.clone().unwrap();
    PodReport { uid, cpu, memory: ResourceLoad::default(), containers, cgroup: None }
}

#[test]
fn the_view_joins_facts_reports_and_classes_and_a_plan_follows() {
    let web = pod("web", "n1", 1, 500);
    let mut state = state(vec![web.clone(), pod("other", "n2", 2, 300)]);
    report(&mut state, 100, "n1", vec![throttled(&web)]);
    report(&mut state, 130, "n1", vec![throttled(&web)]);
    let n1 = name("n1");
    let view = node_view(&state, &n1, now(131), None).unwrap();
    assert_eq!((view.report_age, view.week_time), (Some(Duration::from_secs(1)), (4, 630)));
    assert!(view.bounds_known && view.machine.is_none(), "the other node has not reported");
    let [web] = view.pods.as_slice() else { panic!("{:?}", view.pods) };
    assert_eq!(web.policy().map(|policy| policy.class.as_str()), Some("gold"));
    assert!(!web.newborn, "it was there when pods were listed");
    let container = &web.containers[0];
    assert_eq!(container.cpu.high, Duration::from_secs(31));
    assert_eq!((container.original.cpu, container.report.is_some()), (size(500, 1000), true));
    let plan = plan_node(&view, now(131).at, &PlanSettings::default());
    assert_eq!(
        wanted(plan[0].1.outcome.clone()).sizes["app"].cpu,
        size(1000, 2000),
        "the limit is half of the node's 4 cores at most"
    );
}

#[test]
fn nodes_that_report_one_boot_id_share_the_machine() {
    let web = pod("web", "n1", 1, 500);
    let mut state = state(vec![web.clone(), pod("other", "n2", 2, 3300)]);
    report(&mut state, 100, "n2", Vec::new());
    report(&mut state, 100, "n1", vec![throttled(&web)]);
    let n1 = name("n1");
    let view = node_view(&state, &n1, now(101), None).unwrap();
    let machine = view.machine.unwrap();
    assert_eq!((machine.cpu, machine.memory, machine.others.cpu), (4000, Some(8 * GI), 3300));
    let plan = plan_node(&view, now(101).at, &PlanSettings::default());
    let wanted = wanted(plan[0].1.outcome.clone());
    assert_eq!(
        wanted.sizes["app"].cpu.request,
        Some(500),
        "500m and 3300m of 4000m are booked, and 200m stay free"
    );
}

#[test]
fn a_pod_that_a_watch_shows_later_is_new_and_is_sized_as_its_siblings_are() {
    let old = |number: u64, millicores| sized(pod(&format!("web-7d9c-{number}"), "n2", number, millicores));
    let mut stranger = sized(pod("web-7d9c-x", "n2", 9, 5000));
    stranger.controller = Some("ReplicaSet/web-7d9c-x".into());
    let mut state =
        state(vec![old(1, 600), old(2, 800), old(3, 900), stranger, pod("web-7d9c-4", "n2", 4, 5000)]);
    report(&mut state, 100, "n1", Vec::new());
    let born = pod("web-7d9c-new", "n1", 7, 500);
    state.observe_pods(now(100).at, WatchEvent::Changed(Box::new(born)));
    let n1 = name("n1");
    let view = node_view(&state, &n1, now(110), None).unwrap();
    assert!(view.pods[0].newborn);
    let siblings: Vec<&str> = view.pods[0].siblings.iter().map(|facts| facts.pod.name.as_ref()).collect();
    assert_eq!(siblings, ["web-7d9c-1", "web-7d9c-2", "web-7d9c-3"], "those of its template that were sized");
    let plan = plan_node(&view, now(110).at, &PlanSettings::default());
    let wanted = wanted(plan[0].1.outcome.clone());
    assert_eq!((wanted.purpose, wanted.sizes["app"].cpu), (Purpose::Birth, size(800, 1600)));
    assert!(
        !node_view(&state, &n1, now(161), None).unwrap().pods[0].newborn,
        "a minute later it is not new any more"
    );
}

#[test]
fn of_many_pods_of_a_controller_only_some_are_looked_at_those_after_its_own_name_first() {
    let named = |number: u64| format!("web-7d9c-{number:05}");
    let unsized_pod = |number: u64| pod(&named(number), "n2", number, 500);
    let mut pods: Vec<PodFacts> = (1..2000).map(unsized_pod).collect();
    pods[9] = sized(pod(&named(10), "n2", 10, 800));
    pods[1501] = sized(pod(&named(1502), "n2", 1502, 900));
    let mut state = state(pods);
    report(&mut state, 100, "n1", Vec::new());
    let mut siblings_of = |number: u64, name_of_it: &str| {
        state.observe_pods(now(100).at, WatchEvent::Changed(Box::new(pod(name_of_it, "n1", number, 500))));
        let n1 = name("n1");
        let view = node_view(&state, &n1, now(110), None).unwrap();
        let born = view.pods.iter().find(|view| view.facts.pod.name.as_ref() == name_of_it).unwrap();
        born.siblings.iter().map(|facts| facts.pod.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(siblings_of(3001, "web-7d9c-01500-new"), [named(1502)]);
    assert_eq!(siblings_of(3002, "web-7d9c-01990-new"), [named(10)], "and from the first on");
    assert_eq!(siblings_of(3003, "web-7d9c-00700-new"), Vec::<String>::new(), "not all of them");
}

#[test]
fn pods_of_another_revision_are_no_siblings() {
    let of = |number: u64, name_of_it: &str, node: &str, revision: &str| PodFacts {
        controller: Some("StatefulSet/db".into()),
        revision: Some(revision.into()),
        ..pod(name_of_it, node, number, 500)
    };
    let mut state = state(vec![sized(of(1, "db-1", "n2", "db-old")), sized(of(2, "db-2", "n2", "db-new"))]);
    report(&mut state, 100, "n1", Vec::new());
    state.observe_pods(now(100).at, WatchEvent::Changed(Box::new(of(3, "db-3", "n1", "db-new"))));
    let n1 = name("n1");
    let view = node_view(&state, &n1, now(110), None).unwrap();
    let siblings: Vec<_> = view.pods[0].siblings.iter().map(|facts| facts.pod.name.to_string()).collect();
    assert_eq!(siblings, ["db-2"]);
}

#[test]
fn the_size_before_our_first_resize_is_read_from_the_pod() {
    let mut broken = sized(pod("broken", "n1", 2, 800));
    broken.annotations.insert(keys::ORIGINAL_RESOURCES.to_owned(), "none of ours".to_owned());
    let mut forged = sized(pod("forged", "n1", 3, 800));
    forged.original_by = Some("kubectl-annotate".to_owned());
    let state = state(vec![sized(pod("web", "n1", 1, 800)), broken, forged]);
    let n1 = name("n1");
    let view = node_view(&state, &n1, now(110), None).unwrap();
    assert_eq!(view.pods[2].containers[0].original.cpu, size(500, 1000));
    assert_eq!(
        view.pods[1].containers[0].original.cpu,
        size(800, 1600),
        "its bounds are not what anybody writes"
    );
    let plan = plan_node(&view, now(110).at, &PlanSettings::default());
    for refused in &plan[..2] {
        let Outcome::Refused(reason) = &refused.1.outcome else { panic!("{refused:?}") };
        assert_eq!(reason.as_str(), "original_unreadable");
    }
}

#[test]
fn a_node_that_became_unready_twice_after_memory_shrinks_gets_no_more_of_them() {
    // kubernetes/kubernetes#141100
    let mut state = state(vec![pod("web", "n1", 1, 500)]);
    let n1 = name("n1");
    let ready = state.nodes[&n1].facts.clone().unwrap();
    let mut unready = ready.clone();
    unready.conditions[0].status = "False".into();
    for (at, stopped) in [(100, false), (200, true)] {
        state.nodes.get_mut(&n1).unwrap().memory_shrinks.shrunk(now(at).at);
        for facts in [&unready, &ready] {
            state.observe_nodes(now(at + 20).at, WatchEvent::Changed(Box::new(facts.clone())));
        }
        assert_eq!(node_view(&state, &n1, now(at + 30), None).unwrap().memory_shrinks_stopped, stopped);
    }
}
