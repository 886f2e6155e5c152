//! Which class applies to a pod, and which nodes a change of what bounds its size concerns.

use plimsoll_contract::roster::ContainerKind;
use plimsoll_contract::{Moment, NodeName, Resource, keys};
use plimsoll_sizing::policy::Policy;

use super::*;
use crate::facts::{
    Autoscaled, AutoscalerFacts, ContainerFacts, LimitRangeFacts, NamespaceFacts, ObjectKey, QuotaFacts,
    QuotaScope, QuotaValue, QuotaValues, Range, Ranges, Resources, WorkloadRef,
};
use crate::settings::{ResizeSettings, Settings};
use crate::state::{Counted, Pod, QuotaRoom};

/// A state that resizes, with these pods: name, node and label.
fn state(pods: &[(&str, &str, Option<&str>)]) -> State {
    let settings = Settings { resize: ResizeSettings::new(true), ..Settings::default() };
    let mut state = State::new(&settings);
    state.observe_namespaces(WatchEvent::Listed(vec![
        NamespaceFacts::bare("shop"),
        NamespaceFacts::bare("other"),
    ]));
    let pods = pods.iter().map(|(name, node, label)| pod("shop", name, node, *label)).collect();
    state.observe_pods(Moment::default(), WatchEvent::Listed(pods));
    state.resize_dirty.clear();
    state
}

fn pod(namespace: &str, name: &str, node: &str, label: Option<&str>) -> PodFacts {
    let mut facts = PodFacts::bare(namespace, name, &format!("uid of {name}"));
    facts.node = NodeName::new(node).ok();
    facts.labels.extend(label.map(|class| (keys::SLA.to_owned(), class.to_owned())));
    facts
}

fn class(name: &str, policy: Result<Policy, String>) -> ClassFacts {
    ClassFacts { name: name.to_owned(), uid: Some(format!("uid of {name}")), generation: Some(1), policy }
}

fn shipped(name: &str) -> ClassFacts {
    class(name, Ok(Policy::builtin(name).unwrap()))
}

/// Gold of another rank.
fn ranked(rank: u32) -> Policy {
    Policy { rank, ..Policy::builtin("gold").unwrap() }
}

fn changed(facts: ClassFacts) -> WatchEvent<ClassFacts, String> {
    WatchEvent::Changed(Box::new(facts))
}

/// The ranks of the pods' classes, or why they have none.
fn ranks(state: &State) -> Vec<String> {
    let policy = |facts| match state.policy(facts) {
        None => "no class".to_owned(),
        Some(Ok(policy)) => policy.rank.to_string(),
        Some(Err(problem)) => problem.to_string(),
    };
    state.pods.values().map(|pod| policy(&pod.facts)).collect()
}

/// The nodes to plan anew; none are afterwards.
fn dirty(state: &mut State) -> Vec<String> {
    std::mem::take(&mut state.resize_dirty).iter().map(ToString::to_string).collect()
}

fn node(n: &str) -> Vec<String> {
    n.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_pod_has_the_class_it_names_else_that_of_its_namespace_and_aliases_mean_the_classes_that_ship() {
    let mut state = state(&[
        ("a", "n1", Some("silver")),
        ("b", "n1", Some("premium")),
        ("c", "n1", None),
        ("d", "n1", Some("lead")),
    ]);
    assert!(ranks(&state)[0].contains("not known yet"));
    state.observe_classes(WatchEvent::Listed(vec![shipped("gold"), shipped("silver"), shipped("bronze")]));
    let unknown = "there is no SLAClass \"lead\": create it, or name one of `kubectl get slaclasses`";
    assert_eq!(ranks(&state), ["1", "0", "no class", unknown]);
    let namespace = NamespaceFacts { class: Some("besteffort".into()), ..NamespaceFacts::bare("shop") };
    state.observe_namespaces(WatchEvent::Changed(Box::new(namespace)));
    assert_eq!(ranks(&state)[..3], ["1", "0", "2"]);
    state.observe_classes(changed(class("premium", Ok(ranked(50)))));
    assert_eq!(ranks(&state)[1], "50", "a class of that name is not the alias any more");
    state.observe_classes(WatchEvent::Deleted("premium".into()));
    assert_eq!(ranks(&state)[1], "0");
}

#[test]
fn a_change_of_a_class_concerns_the_nodes_of_its_pods_and_no_other() {
    let mut state = state(&[
        ("a", "n1", Some("gold")),
        ("b", "n2", Some("premium")),
        ("c", "n3", Some("silver")),
        ("d", "n4", None),
    ]);
    state.observe_classes(WatchEvent::Listed(vec![shipped("gold"), shipped("silver")]));
    assert_eq!(dirty(&mut state), node("n1 n2 n3"));
    let renewed = |state: &State| state.pods.values().map(|pod| pod.roster_version).collect::<Vec<_>>();
    let before = renewed(&state);
    state.observe_classes(changed(class("gold", Ok(ranked(3)))));
    assert_eq!(dirty(&mut state), node("n1 n2"));
    assert_eq!(
        renewed(&state).iter().zip(&before).map(|(a, b)| a > b).collect::<Vec<_>>(),
        [true, true, false, false]
    );
    assert_eq!(ranks(&state), ["3", "3", "1", "no class"]);
    let status = ClassFacts { generation: Some(2), ..class("gold", Ok(ranked(3))) };
    state.observe_classes(changed(status));
    state.observe_classes(WatchEvent::Listed(vec![class("gold", Ok(ranked(3))), shipped("silver")]));
    assert_eq!(
        dirty(&mut state),
        node(""),
        "our own status, or a list after a lost watch, changes no policy"
    );
    state.observe_classes(WatchEvent::Deleted("gold".into()));
    assert_eq!(dirty(&mut state), node("n1 n2"));
    assert!(ranks(&state)[1].contains("no SLAClass \"gold\""), "{:?}", ranks(&state));
}

#[test]
fn a_broken_class_stays_as_it_was_and_is_told_once_and_one_that_never_was_whole_sizes_nobody() {
    let mut state = state(&[("a", "n1", Some("gold")), ("b", "n2", Some("new"))]);
    let broken = |problem: &str| class("gold", Err(problem.into()));
    state.observe_classes(WatchEvent::Listed(vec![
        shipped("gold"),
        class("new", Err("spec.rank: below 0".into())),
    ]));
    let told = |state: &mut State| {
        let told = std::iter::from_fn(|| state.classes.next_untold());
        told.map(|(name, class)| (name, class.problem.unwrap(), class.policy.is_some())).collect::<Vec<_>>()
    };
    assert_eq!(told(&mut state), [("new".to_owned(), "spec.rank: below 0".to_owned(), false)]);
    dirty(&mut state);
    for event in [
        changed(broken("spec.cpu")),
        WatchEvent::Listed(vec![broken("spec.cpu"), class("new", Err("spec.rank: below 0".into()))]),
    ] {
        state.observe_classes(event);
        assert_eq!(ranks(&state), ["0", "the SLAClass \"new\" is invalid: spec.rank: below 0"]);
        assert_eq!(dirty(&mut state), node(""), "the same policy applies");
    }
    assert_eq!(told(&mut state), [("gold".to_owned(), "spec.cpu".to_owned(), true)]);
    state.observe_classes(WatchEvent::Unreadable("gold".into(), "metadata".into()));
    assert_eq!((ranks(&state)[0].as_str(), told(&mut state).len()), ("0", 1));
    state.observe_classes(changed(class("gold", Ok(ranked(9)))));
    assert_eq!((ranks(&state)[0].as_str(), told(&mut state), dirty(&mut state)), ("9", vec![], node("n1")));
    // Deleted and created again, broken: what the one before said says nothing about it.
    let other = ClassFacts { uid: Some("another".into()), ..broken("spec.cpu") };
    state.observe_classes(changed(other));
    assert_eq!(ranks(&state)[0], "the SLAClass \"gold\" is invalid: spec.cpu");
}

#[test]
fn a_pod_that_changes_its_class_its_bounds_or_its_node_has_that_node_planned_anew() {
    let mut state = state(&[("a", "n1", None)]);
    state.observe_classes(WatchEvent::Listed(vec![shipped("gold")]));
    let put = |state: &mut State, facts: PodFacts| {
        state.observe_pods(Moment::default(), WatchEvent::Changed(Box::new(facts)));
        dirty(state)
    };
    assert_eq!(put(&mut state, pod("shop", "b", "n2", None)), node(""), "no class");
    assert_eq!(put(&mut state, pod("shop", "a", "n1", Some("gold"))), node("n1"));
    assert_eq!(put(&mut state, pod("shop", "a", "n1", Some("gold"))), node(""), "nothing new");
    let mut bounded = pod("shop", "a", "n1", Some("gold"));
    bounded.annotations.insert(keys::BOUNDS.into(), "{}".into());
    assert_eq!(put(&mut state, bounded), node("n1"));
    assert_eq!(put(&mut state, pod("shop", "a", "n1", None)), node("n1"), "it lost its class");
    let namespace = |class: Option<&str>| NamespaceFacts {
        class: class.map(str::to_owned),
        ..NamespaceFacts::bare("shop")
    };
    for class in [Some("gold"), None] {
        state.observe_namespaces(WatchEvent::Changed(Box::new(namespace(class))));
        assert_eq!(dirty(&mut state), node("n1 n2"), "{class:?}");
    }
}

#[test]
fn without_resizing_no_pod_has_a_class_and_no_node_is_to_be_planned() {
    let mut state = State::new(&Settings::default());
    state.observe_pods(Moment::default(), WatchEvent::Listed(vec![pod("shop", "a", "n1", Some("gold"))]));
    state.observe_classes(WatchEvent::Listed(vec![shipped("gold")]));
    assert_eq!((ranks(&state), dirty(&mut state)), (vec!["no class".to_owned()], node("")));
    assert!(!state.knows_bounds());
}

fn key(namespace: &str, name: &str) -> ObjectKey {
    ObjectKey { namespace: namespace.to_owned(), name: name.to_owned() }
}

fn autoscaler(namespace: &str, kind: &str, name: &str, container: Option<&str>) -> AutoscalerFacts {
    AutoscalerFacts {
        key: key(namespace, "hpa"),
        target: WorkloadRef { kind: kind.to_owned(), name: name.to_owned() },
        uses: vec![Autoscaled { resource: Resource::Cpu, container: container.map(str::to_owned) }],
    }
}

#[test]
fn an_autoscaler_holds_what_it_uses_of_the_pods_of_its_target_and_of_no_other() {
    let mut state = state(&[("a", "n1", Some("gold"))]);
    let held = |state: &mut State, facts: AutoscalerFacts, controller: Option<&str>, container: &str| {
        state.observe_autoscalers(WatchEvent::Listed(vec![facts]));
        let pod = PodFacts { controller: controller.map(str::to_owned), ..pod("shop", "a", "n1", None) };
        let of = |resource| state.autoscaler_on(&pod, container, resource).is_some();
        (of(Resource::Cpu), of(Resource::Memory))
    };
    let web = |container| autoscaler("shop", "Deployment", "web", container);
    assert_eq!(held(&mut state, web(None), Some("ReplicaSet/web-5d4f8c7b9"), "app"), (true, false));
    assert_eq!(held(&mut state, web(Some("app")), Some("ReplicaSet/web-5d4f8c7b9"), "app"), (true, false));
    let others = [
        (web(Some("proxy")), Some("ReplicaSet/web-5d4f8c7b9")),
        (web(None), Some("ReplicaSet/web-api-5d4f8c7b9")),
        (web(None), Some("StatefulSet/web")),
        (web(None), Some("Job/web-5")),
        (web(None), None),
        (autoscaler("other", "Deployment", "web", None), Some("ReplicaSet/web-5d4f8c7b9")),
    ];
    for (facts, controller) in others {
        assert_eq!(
            held(&mut state, facts.clone(), controller, "app"),
            (false, false),
            "{facts:?} {controller:?}"
        );
    }
    assert!(held(&mut state, autoscaler("shop", "StatefulSet", "db", None), Some("StatefulSet/db"), "app").0);
    assert!(
        held(&mut state, autoscaler("shop", "Rollout", "web", None), Some("ReplicaSet/web-5d4f8c7b9"), "app")
            .0
    );
    assert!(held(&mut state, autoscaler("shop", "Kafka", "bus", None), Some("StrimziPodSet/bus"), "app").0);
}

#[test]
fn an_autoscaler_that_cannot_be_read_may_hold_anything_in_its_namespace_until_it_is_gone_or_whole() {
    let mut state = state(&[("a", "n1", Some("gold"))]);
    let web = pod("shop", "a", "n1", None);
    let other = pod("other", "b", "n1", None);
    state.observe_autoscalers(WatchEvent::Unreadable(key("shop", "odd"), "spec: missing".into()));
    assert_eq!(dirty(&mut state), node("n1"));
    assert_eq!(state.autoscaler_on(&web, "app", Resource::Memory), Some("odd"));
    assert_eq!(state.autoscaler_on(&other, "app", Resource::Memory), None);
    state.observe_autoscalers(WatchEvent::Deleted(key("shop", "odd")));
    assert_eq!(state.autoscaler_on(&web, "app", Resource::Memory), None);
    assert_eq!(dirty(&mut state), node("n1"));
}

fn quota(name: &str, hard: u64, used: Option<u64>, scopes: Vec<QuotaScope>) -> QuotaFacts {
    let requests = QuotaValues { cpu: Some(QuotaValue { hard, used }), memory: None };
    QuotaFacts { key: key("shop", name), scopes, requests, limits: QuotaValues::default() }
}

#[test]
fn the_quota_that_leaves_least_bounds_a_pod_and_one_that_was_not_counted_yet_leaves_nothing_known() {
    let mut state = state(&[("a", "n1", Some("gold"))]);
    let facts = pod("shop", "a", "n1", None);
    let put = |state: &mut State, quotas: Vec<QuotaFacts>| state.observe_quotas(WatchEvent::Listed(quotas));
    put(&mut state, vec![quota("wide", 4000, Some(1000), vec![]), quota("tight", 2000, Some(1900), vec![])]);
    let room = |state: &State, counted| {
        state.quota_room(&facts, Resource::Cpu, counted).map(|room| (room.quota.to_owned(), room.left))
    };
    assert_eq!(room(&state, Counted::Requests), Some(("tight".into(), Some(100))));
    assert_eq!(room(&state, Counted::Limits), None, "not bounded");
    assert_eq!(state.quota_room(&facts, Resource::Memory, Counted::Requests), None);
    assert_eq!(state.quota_room(&pod("other", "b", "n1", None), Resource::Cpu, Counted::Requests), None);
    put(&mut state, vec![quota("over", 1000, Some(1500), vec![]), quota("wide", 4000, Some(0), vec![])]);
    assert_eq!(room(&state, Counted::Requests), Some(("over".into(), Some(0))));
    put(&mut state, vec![quota("full", 1000, Some(1000), vec![]), quota("fresh", 4000, None, vec![])]);
    let fresh = state.quota_room(&facts, Resource::Cpu, Counted::Requests);
    assert_eq!(fresh, Some(QuotaRoom { quota: "fresh", left: None }));
}

#[test]
fn a_quota_bounds_only_the_pods_in_its_scopes_and_in_doubt_all() {
    let mut state = state(&[]);
    let class = |operator: &str, values: &[&str]| QuotaScope::PriorityClass {
        operator: operator.to_owned(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    let mut bounded = |scopes: Vec<QuotaScope>, priority: Option<&str>| {
        state.observe_quotas(WatchEvent::Listed(vec![quota("q", 1, Some(0), scopes)]));
        let facts = PodFacts { priority_class: priority.map(str::to_owned), ..pod("shop", "a", "n1", None) };
        state.quota_room(&facts, Resource::Cpu, Counted::Requests).is_some()
    };
    assert!(!bounded(vec![QuotaScope::BestEffort], None), "what can be resized is not BestEffort");
    assert!(
        bounded(vec![class("In", &["high"])], Some("high")) && !bounded(vec![class("In", &["high"])], None)
    );
    assert!(
        bounded(vec![class("NotIn", &["high"])], None)
            && !bounded(vec![class("NotIn", &["high"])], Some("high"))
    );
    assert!(bounded(vec![class("Exists", &[])], Some("x")) && !bounded(vec![class("Exists", &[])], None));
    assert!(
        bounded(vec![class("DoesNotExist", &[])], None)
            && !bounded(vec![class("DoesNotExist", &[])], Some("x"))
    );
    assert!(bounded(vec![QuotaScope::Other("NotTerminating".into()), class("Later", &[])], None));
    assert!(
        !bounded(vec![QuotaScope::Other("NotBestEffort".into()), class("In", &["high"])], None),
        "all must match"
    );
}

#[test]
fn what_a_quota_counts_does_not_dirty_its_namespace_and_what_it_allows_does() {
    let mut state = state(&[("a", "n1", Some("gold")), ("b", "n2", None)]);
    let put = |state: &mut State, facts: QuotaFacts| {
        state.observe_quotas(WatchEvent::Changed(Box::new(facts)));
        dirty(state)
    };
    assert_eq!(put(&mut state, quota("q", 1000, Some(0), vec![])), node("n1"));
    assert_eq!(put(&mut state, quota("q", 1000, Some(900), vec![])), node(""));
    assert_eq!(
        state.quota_room(&pod("shop", "a", "n1", None), Resource::Cpu, Counted::Requests).unwrap().left,
        Some(100)
    );
    assert_eq!(put(&mut state, quota("q", 2000, Some(900), vec![])), node("n1"));
}

#[test]
fn limit_ranges_of_a_namespace_hold_together() {
    let mut state = state(&[]);
    let range = |min, max, ratio| Ranges {
        cpu: Range { min, max, max_ratio: ratio, ..Range::default() },
        memory: Range::default(),
    };
    let facts = |namespace: &str, name: &str, container| LimitRangeFacts {
        key: key(namespace, name),
        container,
        pod: Ranges::default(),
    };
    state.observe_limit_ranges(WatchEvent::Listed(vec![
        facts("shop", "a", range(Some(10), Some(4000), None)),
        facts("shop", "b", range(Some(50), None, Some(4.0))),
        facts("other", "c", range(Some(900), Some(1000), Some(1.0))),
    ]));
    let shop = state.limit_range("shop");
    assert_eq!(
        shop.container.of(Resource::Cpu),
        Range { min: Some(50), max: Some(4000), max_ratio: Some(4.0), ..Range::default() }
    );
    assert_eq!((shop.container.of(Resource::Memory), shop.pod), (Range::default(), Ranges::default()));
    assert_eq!(state.limit_range("nowhere"), Default::default());
}

#[test]
fn nothing_is_resized_before_classes_autoscalers_quotas_and_limit_ranges_are_listed() {
    let mut state = state(&[]);
    assert!(!state.knows_bounds());
    state.observe_classes(WatchEvent::Listed(vec![]));
    state.observe_autoscalers(WatchEvent::Listed(vec![]));
    state.observe_quotas(WatchEvent::Listed(vec![]));
    assert!(!state.knows_bounds());
    state.observe_limit_ranges(WatchEvent::Listed(vec![]));
    assert!(state.knows_bounds());
}

#[test]
fn what_the_pods_of_a_class_freed_is_what_they_request_less_than_at_first() {
    let mut facts = pod("shop", "a", "n1", Some("gold"));
    let spec = Resources {
        cpu_request: Some(plimsoll_contract::Cores(0.1)),
        memory_request: Some(plimsoll_contract::Bytes(96 << 20)),
        ..Resources::default()
    };
    facts.containers = vec![ContainerFacts {
        name: "app".into(),
        kind: ContainerKind::App,
        id: None,
        running: true,
        terminated: false,
        restarts: 0,
        spec,
        allocated: None,
        actual: None,
        cpu_resize_policy: None,
        memory_resize_policy: None,
        extended: false,
        oom_killed_at: None,
    }];
    let mut counts = crate::ledger::ClassCounts::default();
    counts.add_pod(&Pod::new(Moment::default(), facts.clone()));
    assert_eq!((counts.pods, counts.freed_cpu), (1, 0), "it was never resized");
    let original =
        r#"{"app": {"requests": {"cpu": "500m", "memory": "64Mi"}}, "gone": {"requests": {"cpu": "9"}}}"#;
    facts.annotations.insert(keys::ORIGINAL_RESOURCES.into(), original.into());
    counts.add_pod(&Pod::new(Moment::default(), facts.clone()));
    assert_eq!((counts.pods, counts.freed_cpu, counts.freed_memory), (2, 400, -(32 << 20)));
    let forged = PodFacts { original_by: Some("kubectl-annotate".into()), ..facts.clone() };
    counts.add_pod(&Pod::new(Moment::default(), forged));
    assert_eq!((counts.pods, counts.freed_cpu), (3, 400), "what another wrote says nothing");
    assert_eq!(counts.freed(), "400m -32Mi");
    for odd in ["", "5", "{\"app\": 5}", "{\"app\": {\"requests\": {\"cpu\": \"-5\", \"memory\": \"9e99\"}}}"]
    {
        facts.annotations.insert(keys::ORIGINAL_RESOURCES.into(), odd.into());
        counts.add_pod(&Pod::new(Moment::default(), facts.clone()));
    }
    assert_eq!((counts.pods, counts.freed_cpu), (7, 400));
}
