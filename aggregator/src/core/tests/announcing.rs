//! Events: each transition once, by the leader, and never one for each of many.

use plimsoll_sizing::policy::Policy;

use super::*;
use crate::core::Note;
use crate::facts::ClassFacts;
use crate::settings::ResizeSettings;

/// Nodes n0 and up, each with a pod that is labeled and reports.
fn cluster(nodes: usize) -> Harness {
    let pods = (0..nodes).map(|n| labeled(n, n, "low", "low")).collect();
    let mut harness = Harness::with(Settings::default(), pods, nodes);
    for n in 0..nodes {
        harness.see(n, load(n, Band::Low, Band::Low));
    }
    assert_eq!(harness.live(20), []);
    harness
}

fn told(actions: &[Action]) -> Vec<(Subject, String)> {
    events(actions).into_iter().map(|event| (event.about, event.reason)).collect()
}

fn about_node(n: usize, reason: &str) -> (Subject, String) {
    (Subject::Node { node: node(n), uid: None }, reason.to_owned())
}

fn about_us(reason: &str) -> (Subject, String) {
    (Subject::Aggregator, reason.to_owned())
}

#[test]
fn a_node_that_falls_silent_and_reports_again_is_announced_once_each() {
    let mut harness = cluster(4);
    harness.loads.remove(&node(3));
    let actions = harness.live(300);
    assert_eq!(told(&actions), [about_node(3, "AgentSilent")]);
    let event = &events(&actions)[0];
    let note = "No report of this node was accepted for 120 s: the bands of its pods are unknown. Check its agent: kubectl get pods -n \
                plimsoll-agents -o wide --field-selector spec.nodeName=n3";
    assert_eq!((event.note.as_str(), event.warning), (note, true));
    harness.see(3, load(3, Band::Low, Band::Low));
    let actions = harness.live(100);
    assert_eq!(told(&actions), [about_node(3, "AgentReports")]);
    assert!(!events(&actions)[0].warning);
}

#[test]
fn the_hint_of_a_silent_node_names_the_namespace_of_the_agents() {
    let settings = Settings { agent_namespace: "nodes".into(), ..Settings::default() };
    let mut harness = Harness::with(settings, vec![labeled(1, 0, "low", "low")], 1);
    let said = events(&harness.wait(120)).remove(0).note;
    assert!(said.contains("kubectl get pods -n nodes -o wide"), "{said}");
}

#[test]
fn a_node_that_stays_silent_when_the_others_report_again_is_announced_then() {
    let mut harness = cluster(10);
    for n in 5..10 {
        harness.loads.remove(&node(n));
    }
    assert_eq!(told(&harness.live(300)), [about_us("ManyNodesSilent")]);
    for n in 5..9 {
        harness.see(n, load(n, Band::Low, Band::Low));
    }
    assert_eq!(told(&harness.live(100)), [about_node(9, "AgentSilent"), about_us("NodesReport")]);
    harness.see(9, load(9, Band::Low, Band::Low));
    assert_eq!(told(&harness.live(100)), [about_node(9, "AgentReports")]);
}

#[test]
fn a_node_that_falls_silent_while_many_remain_silent_is_announced() {
    let mut harness = cluster(10);
    for n in 5..9 {
        harness.loads.remove(&node(n));
    }
    let lasting = [about_us("ManyNodesSilent"), about_us("ManyNodesSilent")];
    assert_eq!(told(&harness.live(800)), lasting);
    harness.loads.remove(&node(9));
    assert_eq!(told(&harness.live(200)), [about_node(9, "AgentSilent")]);
}

#[test]
fn nodes_beyond_ten_a_minute_wait_for_their_announcement() {
    let mut harness = cluster(100);
    for n in 80..92 {
        harness.loads.remove(&node(n));
    }
    let mut actions = Vec::new();
    while events(&actions).is_empty() {
        actions = harness.live(1);
    }
    actions.extend(harness.live(30));
    assert_eq!(events(&actions).len(), 10);
    let rest: Vec<_> = told(&harness.live(60));
    assert_eq!(rest, [about_node(90, "AgentSilent"), about_node(91, "AgentSilent")]);
    assert_eq!(told(&harness.live(120)), []);
}

#[test]
fn invalid_labels_do_not_delay_the_announcement_of_a_silent_node() {
    let mut harness = cluster(4);
    harness.loads.remove(&node(3));
    harness.live(100);
    let mistakes = (100..125).map(|n| {
        let mut pod = facts(n, 0);
        pod.labels.insert(keys::IGNORE.into(), "yes".into());
        pod
    });
    let all: Vec<_> = harness.pods.values().cloned().chain(mistakes).collect();
    assert_eq!(events(&harness.step(Input::Pods(WatchEvent::Listed(all)))).len(), 10);
    let said = told(&harness.live(21));
    assert_eq!(said, [about_node(3, "AgentSilent")]);
}

#[test]
fn invalid_labels_take_turns_by_namespace() {
    let mut harness = Harness::new(Vec::new());
    let mistake = |space: &str, n: usize| {
        let mut pod = facts(n, 0);
        pod.pod = PodName::new(space, &format!("p{n}"));
        pod.labels.insert(keys::IGNORE.into(), "yes".into());
        pod
    };
    let mut pods: Vec<_> = (1..=25).map(|n| mistake("careless", n)).collect();
    pods.push(mistake("shop", 50));
    let said = told(&harness.step(Input::Pods(WatchEvent::Listed(pods))));
    let namespaces: Vec<_> = said
        .iter()
        .map(|(about, _)| match about {
            Subject::Pod { pod, .. } => pod.namespace.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(namespaces[..3], ["careless", "shop", "careless"], "{namespaces:?}");
    assert_eq!(events(&harness.wait(120)).len(), 16);
}

#[test]
fn while_many_nodes_are_silent_one_event_says_it_instead_of_one_for_each() {
    let mut harness = cluster(10);
    for n in 5..10 {
        harness.loads.remove(&node(n));
    }
    assert_eq!(told(&harness.live(300)), [about_us("ManyNodesSilent")]);
    for n in 5..10 {
        harness.see(n, load(n, Band::Low, Band::Low));
    }
    assert_eq!(told(&harness.live(100)), [about_us("NodesReport")]);
}

#[test]
fn a_node_that_never_ran_an_agent_is_not_announced() {
    let mut harness = Harness::new(vec![facts(1, 0)]);
    harness.see(0, load(1, Band::Low, Band::Low));
    assert_eq!(told(&harness.live(300)), []);
}

#[test]
fn a_new_leader_does_not_repeat_what_happened_before_and_announces_what_follows() {
    let mut harness = cluster(4);
    harness.step(Input::Leading(None));
    harness.loads.remove(&node(3));
    assert_eq!(harness.live(150), []);
    assert_eq!(told(&harness.step(Input::Leading(Some(9)))), []);
    harness.see(3, load(3, Band::Low, Band::Low));
    assert_eq!(told(&harness.live(100)), [about_node(3, "AgentReports")]);
}

#[test]
fn a_pause_and_its_end_are_announced_by_the_leader() {
    let mut harness = labeled_low();
    let actions = harness.step(Input::Paused(true));
    assert_eq!(told(&actions), [about_us("Paused")]);
    let note =
        "ConfigMap plimsoll-control pauses Plimsoll: no label is written. `plimsoll pause --off` ends it.";
    assert_eq!(events(&actions)[0].note, note);
    assert_eq!(harness.wait(20), []);
    assert_eq!(told(&harness.step(Input::Paused(false))), [about_us("Resumed")]);

    harness.step(Input::Leading(None));
    assert_eq!(harness.step(Input::Paused(true)), []);
    assert_eq!(told(&harness.step(Input::Leading(Some(9)))), [about_us("Paused")], "the new leader says it");
}

#[test]
fn the_end_of_a_pause_promises_no_labels_where_none_are_written() {
    for (output, expected) in [
        (Output::Labels, "No longer paused: labels are written again."),
        (Output::Metrics, "No longer paused: bands are only in metrics (--output metrics)."),
    ] {
        let settings = Settings { output, ..Settings::default() };
        let mut harness = Harness::with(settings, Vec::new(), 1);
        harness.step(Input::Paused(true));
        assert_eq!(events(&harness.step(Input::Paused(false)))[0].note, expected);
    }
}

#[test]
fn an_invalid_ignore_on_a_pod_is_said_once_for_each_value() {
    let mut harness = labeled_low();
    let set = |harness: &mut Harness, value: &str| {
        harness.edit(1, |pod| drop(pod.labels.insert(keys::IGNORE.into(), value.into())))
    };
    let actions = set(&mut harness, "yes");
    let event = &events(&actions)[0];
    assert_eq!(
        told(&actions),
        [(Subject::Pod { pod: name(1), uid: uid(1).as_str().into() }, "InvalidIgnore".into())]
    );
    let note = "The label plimsoll.dev/ignore is \"yes\", which is neither \"true\" nor \"false\": nothing is ignored because of it.";
    assert_eq!(
        (event.note.as_str(), event.warning, actions.len()),
        (note, true, 1),
        "and nothing is withdrawn"
    );
    let logged = Note::InvalidIgnore { object: "shop/p1".into(), value: "yes".into() };
    assert!(harness.core.take_notes().contains(&logged));
    assert_eq!(set(&mut harness, "yes"), []);
    let all = harness.pods.values().cloned().collect();
    assert_eq!(harness.step(Input::Pods(WatchEvent::Listed(all))), []);
    assert_eq!(told(&set(&mut harness, "True")).len(), 1);
    assert_eq!(only(&set(&mut harness, "true")).reason, Reason::Withdrawn);
}

#[test]
fn an_invalid_ignore_on_a_namespace_is_said_by_the_leader_and_ignores_nothing() {
    let mut harness = labeled_low();
    harness.step(Input::Leading(None));
    let invalid =
        NamespaceFacts { uid: Some("u".into()), ignore: Ignore::Invalid("1".into()), ..namespace("shop") };
    assert_eq!(harness.step(Input::Namespaces(WatchEvent::Changed(Box::new(invalid.clone())))), []);
    let actions = harness.step(Input::Leading(Some(9)));
    let about = Subject::Namespace { name: "shop".into(), uid: Some("u".into()) };
    assert_eq!((told(&actions), actions.len()), (vec![(about, "InvalidIgnore".into())], 1));
    assert_eq!(harness.step(Input::Namespaces(WatchEvent::Listed(vec![invalid]))), []);
    assert_eq!(harness.core.pod(&name(1)).unwrap().left_alone, None);
}

#[test]
fn a_mistake_on_many_pods_is_announced_ten_at_a_time() {
    let mut harness = Harness::new(Vec::new());
    let pods = (1..=25).map(|n| {
        let mut pod = facts(n, 0);
        pod.labels.insert(keys::IGNORE.into(), "yes".into());
        pod
    });
    assert_eq!(harness.step(Input::Pods(WatchEvent::Listed(pods.collect()))).len(), 10);
    assert_eq!(harness.wait(59), []);
    assert_eq!(events(&harness.wait(1)).len(), 10);
    assert_eq!(events(&harness.wait(120)).len(), 5);
}

#[test]
fn a_broken_class_is_announced_once_on_the_class_with_what_stays_in_force() {
    let resize = ResizeSettings::new(true);
    let mut harness = Harness::with(Settings { resize, ..Settings::default() }, vec![facts(1, 0)], 2);
    let class = |policy: Result<Policy, &str>| {
        let policy = policy.map_err(str::to_owned);
        let facts = ClassFacts { name: "gold".into(), uid: Some("u".into()), generation: Some(1), policy };
        Input::Classes(WatchEvent::Changed(Box::new(facts)))
    };
    let about = || Subject::Class { name: "gold".into(), uid: Some("u".into()) };
    let said = |effect: &str| {
        let note = format!("spec.rank: below 0. Until that field is corrected, {effect}.");
        [Action::Publish(KubeEvent::warning(about(), "InvalidClass", note))]
    };
    assert_eq!(harness.step(class(Err("spec.rank: below 0"))), said("no pod is sized by it"));
    assert_eq!(harness.step(class(Ok(Policy::builtin("gold").unwrap()))), []);
    assert_eq!(harness.step(class(Err("spec.rank: below 0"))), said("what it said before stays in force"));
    let note = Note::InvalidClass { class: "gold".into(), problem: "spec.rank: below 0".into(), held: true };
    assert_eq!(harness.core.take_notes(), [note]);
    assert_eq!(harness.step(class(Err("spec.rank: below 0"))), [], "nothing new");
    assert_eq!(harness.wait(120), []);
}
