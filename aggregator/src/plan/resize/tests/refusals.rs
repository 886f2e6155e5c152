//! Every reason why something is not resized.

use super::*;
use crate::facts::{Range, Ranges};

/// A pod in need, changed in one way.
fn pod(change: impl FnOnce(&mut TestPod)) -> TestPod {
    let mut pod = burner("web", "gold", 500);
    change(&mut pod);
    pod
}

fn node() -> TestNode {
    TestNode::new(8000, 16 * GI)
}

fn refused(outcome: Outcome) -> Refusal {
    match outcome {
        Outcome::Refused(reason) => reason,
        other => panic!("it should be refused: {other:?}"),
    }
}

/// Why this pod is not resized, as a word.
fn word(change: impl FnOnce(&mut TestPod)) -> &'static str {
    let node = node().with([pod(change)]);
    let verdict = node.verdict("web");
    let reason = refused(verdict.outcome);
    assert!(!reason.words(NOW).is_empty());
    // What it needs is said nevertheless, where its class can be used.
    for said in &verdict.sizing {
        let needed = matches!(said.verdict, plimsoll_sizing::verdict::Verdict::Grow(_));
        assert_eq!(said.refused, needed.then(|| reason.clone()), "{}", said.line);
    }
    reason.as_str()
}

#[test]
fn a_pod_that_needs_more_gets_it_unless_something_is_against_it() {
    assert_eq!(node().with([pod(|_| ())]).wanted("web").purpose, Purpose::Grow);
}

#[test]
fn a_pod_without_a_class_is_not_planned_for() {
    assert!(node().with([pod(|pod| pod.class = None)]).plan(Division::Tiered).is_empty());
    let view = pod(|pod| pod.class = None);
    assert_eq!(super::super::eligible::class(&view.view()).unwrap_err(), Refusal::NoClass);
    assert!(Refusal::NoClass.words(NOW).contains("plimsoll.dev/sla"));
}

#[test]
fn a_class_that_is_not_there_or_not_valid_or_not_known_yet_is_named() {
    let problem = |problem| node().with([pod(|pod| pod.class = Some(Err(problem)))]).outcome("web");
    let unknown = refused(problem(PolicyProblem::Unknown("platinum")));
    assert_eq!(unknown.as_str(), "unknown_class");
    assert!(unknown.words(NOW).contains("platinum"));
    let broken = refused(problem(PolicyProblem::Broken { class: "gold", problem: "rank: not a number" }));
    assert_eq!(broken.as_str(), "broken_class");
    assert!(broken.words(NOW).contains("rank: not a number"));
    assert_eq!(refused(problem(PolicyProblem::NotListed)), Refusal::BoundsUnknown);
}

#[test]
fn ignored_pods_and_system_namespaces_are_left_alone() {
    assert_eq!(word(|pod| pod.left_alone = Some(LeftAlone::PodIgnored)), "ignored");
    assert_eq!(word(|pod| pod.left_alone = Some(LeftAlone::NamespaceIgnored)), "ignored");
    assert_eq!(word(|pod| pod.left_alone = Some(LeftAlone::SystemNamespace)), "system_namespace");
}

#[test]
fn a_pod_that_has_finished_ends_or_does_not_run_yet_is_not_resized() {
    assert_eq!(word(|pod| pod.facts.finished = true), "finished");
    assert_eq!(word(|pod| pod.facts.terminating = true), "terminating");
    assert_eq!(word(|pod| pod.facts.node = None), "not_running");
    let node = node().with([pod(|pod| pod.facts.containers[0].running = false)]);
    assert_eq!(node.outcome("web"), Outcome::Refused(Refusal::NotRunning));
}

/// As Kubernetes 1.37 does: the defaults of a LimitRange that came after the pod are set on all of its containers.
#[test]
fn a_pod_on_which_a_resize_would_set_the_defaults_of_a_limit_range_is_not_resized() {
    let outcome = |[default_request, default_limit]: [bool; 2], sidecar: [Size; 2], kind: ContainerKind| {
        let mut pod = pod(|_| ());
        pod = pod.container("proxy", sidecar[0], sidecar[1]);
        pod.facts.containers[1].kind = kind;
        let mut node = node().with([pod]);
        let range = Range { default_request, default_limit, ..Range::default() };
        node.limit_ranges.container = Ranges { cpu: Range::default(), memory: range };
        node.outcome("web")
    };
    let refused = |value: &str| {
        Outcome::Refused(Refusal::LimitRangeDefault(format!("memory {value} of container proxy")))
    };
    let (cpu, app) = (size(10, 20), ContainerKind::App);
    let [none, limit, request] = [Size::default(), size(None, 64 * MI), size(64 * MI, None)];
    for kind in [ContainerKind::App, ContainerKind::Sidecar, ContainerKind::Init] {
        assert_eq!(outcome([false, true], [cpu, request], kind), refused("limit"));
    }
    assert_eq!(outcome([true, true], [cpu, none], app), refused("limit"));
    assert_eq!(outcome([true, false], [cpu, none], app), refused("request"));
    for (defaults, memory) in [([true, false], request), ([true, true], limit), ([false, false], none)] {
        assert_eq!(wanted(outcome(defaults, [cpu, memory], app)).purpose, Purpose::Grow);
    }
    assert_eq!(wanted(outcome([true, true], [cpu, none], ContainerKind::Ephemeral)).purpose, Purpose::Grow);
    // What is only recommended is for the template.
    let mut only = pod(|_| ()).container("proxy", cpu, none);
    let Some(Ok(policy)) = &mut only.class else { unreachable!("it has a class") };
    policy.mode = plimsoll_sizing::policy::Mode::Recommend;
    let mut node = node().with([only]);
    node.limit_ranges.container.memory = Range { default_limit: true, ..Range::default() };
    assert!(matches!(node.outcome("web"), Outcome::Recommended(_)));
}

#[test]
fn a_best_effort_pod_is_not_resizable_and_is_told_what_to_do() {
    assert_eq!(word(|pod| pod.facts.qos = Some("BestEffort".into())), "best_effort");
    assert_eq!(Refusal::BestEffort.words(NOW), "not resizable: BestEffort; set initial requests");
    let bare = TestPod::new("web", Some("gold")).container("app", Size::default(), Size::default());
    assert_eq!(
        node().with([bare]).outcome("web"),
        Outcome::Refused(Refusal::BestEffort),
        "also before its status says so"
    );
}

#[test]
fn static_pods_and_pods_of_critical_classes_are_classified_and_not_resized() {
    assert_eq!(word(|pod| pod.facts.mirror_of = Some("uid".into())), "static_pod");
    for class in ["system-node-critical", "system-cluster-critical"] {
        let reason =
            refused(node().with([pod(|pod| pod.facts.priority_class = Some(class.into()))]).outcome("web"));
        assert_eq!(reason.as_str(), "critical_pod");
        assert!(reason.words(NOW).contains(class));
    }
    let ordinary = node().with([pod(|pod| pod.facts.priority_class = Some("high".into()))]);
    assert_eq!(ordinary.wanted("web").purpose, Purpose::Grow);
}

#[test]
fn pods_with_pod_level_resources_are_not_resized() {
    assert_eq!(word(|pod| pod.facts.pod_resources = Some(Resources::default())), "pod_level_resources");
}

#[test]
fn one_resize_of_a_pod_at_a_time() {
    assert_eq!(word(|pod| pod.in_flight = true), "in_flight");
}

#[test]
fn a_resize_that_is_none_of_ours_is_left_to_whoever_asked_for_it() {
    let condition = |kind: &str, status: &str| ConditionFacts {
        kind: kind.into(),
        status: status.into(),
        reason: Some("Deferred".into()),
        message: Some("Node didn't have enough resource: cpu".into()),
        observed_generation: None,
    };
    for kind in ["PodResizePending", "PodResizeInProgress"] {
        let pending = || pod(|pod| pod.facts.conditions = vec![condition(kind, "True")]);
        assert_eq!(word(|pod| pod.facts.conditions = vec![condition(kind, "True")]), "pending_resize");
        let words = refused(node().with([pending()]).outcome("web")).words(NOW).into_owned();
        assert!(words.ends_with("(Deferred: Node didn't have enough resource: cpu)"), "{words}");
        let done = node().with([pod(|pod| pod.facts.conditions = vec![condition(kind, "False")])]);
        assert_eq!(done.wanted("web").purpose, Purpose::Grow);
    }
    let own = |pod: &mut TestPod| {
        pod.facts.conditions = vec![condition("PodResizePending", "True")];
        pod.in_flight = true;
    };
    assert_eq!(word(own), "in_flight");
}

#[test]
fn what_its_last_resizes_have_shown_keeps_a_pod_from_the_next() {
    let until = NOW + Duration::from_secs(1800);
    let text = || "the words".to_owned();
    let table = [
        (
            Blocked::Yielding { owner: "cloudnative-pg".into(), until },
            "yielding",
            "cloudnative-pg set its own sizes back; left to it for 30 min",
        ),
        (
            Blocked::Failed { message: text(), until },
            "failed",
            "the last resize failed, next try in 30 min: the words",
        ),
        (Blocked::Unsupported { message: text() }, "unsupported", "the words"),
        (Blocked::Original { message: text() }, "original_unreadable", "the words"),
    ];
    for (blocked, expected, words) in table {
        assert_eq!(word(|pod| pod.blocked = Some(blocked.clone())), expected);
        let reason = refused(node().with([pod(|pod| pod.blocked = Some(blocked))]).outcome("web"));
        assert_eq!(reason.words(NOW), words);
    }
}

#[test]
fn a_resource_that_its_node_enforces_otherwise_stays_and_the_others_are_resized() {
    let drifts = |pod: &mut TestPod| pod.seen_mut("web").cpu.drift = Some("the kernel has 600m");
    assert_eq!(of_cpu(&node().with([pod(drifts)])), "drift");
    let both = pod(drifts).uses_up_memory().container("proxy", size(100, 200), size(64 * MI, 128 * MI));
    let mut both = both.burning(0.5, 1.0, 50.0, 300);
    let memory = node().with([both.clone()]).wanted("web");
    assert_eq!(memory.sizes.keys().collect::<Vec<_>>(), ["web"]);
    assert!(memory.sizes["web"].memory.limit > Some(64 * MI));
    assert_eq!(memory.sizes["web"].cpu, size(500, 500));
    both.seen_mut("web").memory.drift = Some("the kernel has 1Gi");
    let proxy = node().with([both]).wanted("web");
    assert_eq!(proxy.sizes.keys().collect::<Vec<_>>(), ["proxy"], "nor is another container held");
}

#[test]
fn a_pod_whose_own_cgroup_is_behind_does_not_grow_and_may_shrink() {
    // kubernetes/kubernetes#138760
    let stale = || Some(Blocked::PodCgroupStale { text: "the pod's own limit is lower".into() });
    let node = node().with([
        pod(|pod| pod.blocked = stale()),
        TestPod {
            blocked: stale(),
            ..TestPod::new("idle", Some("bronze"))
                .container("app", size(500, None), size(MI, None))
                .uses(10, MI)
        },
    ]);
    let Outcome::Waiting(reason) = node.outcome("web") else { panic!("it should wait") };
    assert_eq!(
        (reason.as_str(), reason.words(NOW).as_ref()),
        ("pod_cgroup_stale", "the pod's own limit is lower")
    );
    assert_eq!(node.wanted("idle").purpose, Purpose::Shrink);
}

#[test]
fn a_node_that_is_not_listed_not_ready_or_silent_gets_no_resize() {
    let outcome = |change: fn(&mut TestNode)| {
        let mut node = node().with([pod(|_| ())]);
        change(&mut node);
        refused(node.outcome("web")).as_str()
    };
    assert_eq!(outcome(|node| node.facts = None), "node_unknown");
    assert_eq!(
        outcome(|node| node.facts.as_mut().unwrap().conditions[0].status = "Unknown".into()),
        "node_not_ready"
    );
    assert_eq!(outcome(|node| node.facts.as_mut().unwrap().conditions.clear()), "node_not_ready");
    assert_eq!(outcome(|node| node.report_age = None), "node_silent");
    assert_eq!(outcome(|node| node.report_age = Some(Duration::from_secs(30))), "node_silent");
    assert_eq!(outcome(|node| node.bounds_known = false), "bounds_unknown");
    let mut late = node().with([pod(|_| ())]);
    late.report_age = Some(Duration::from_secs(29));
    assert_eq!(late.wanted("web").purpose, Purpose::Grow);
}

/// Why the CPU of the container of this pod is not resized.
fn of_cpu(node: &TestNode) -> &'static str {
    let verdict = node.verdict("web");
    assert!(matches!(verdict.outcome, Outcome::Waiting(_)), "{:?}", verdict.outcome);
    verdict.sizing[0].refused.as_ref().map_or("", Refusal::as_str)
}

#[test]
fn a_container_that_does_not_run_or_is_not_reported_is_not_resized() {
    let mut two = pod(|_| ()).container("other", size(100, None), size(MI, None));
    two.facts.containers[0].running = false;
    let verdict = node().with([two]).verdict("web");
    assert_eq!(verdict.sizing[0].refused, Some(Refusal::ContainerNotRunning));
    let unreported = node().with([pod(|pod| pod.reports.clear())]);
    assert_eq!(of_cpu(&unreported), "no_report");
    let of_another = node().with([pod(|pod| pod.reports[0].id = ContainerId::new(&"f".repeat(64)).unwrap())]);
    assert_eq!(of_cpu(&of_another), "no_report", "the numbers of the container before its restart");
}

#[test]
fn a_load_of_some_seconds_ago_makes_nothing_grow_and_one_of_half_a_minute_ago_nothing_shrink() {
    let aged = |pod: TestPod, seconds| {
        node().with([TestPod { report_age: Some(Duration::from_secs(seconds)), ..pod }])
    };
    assert_eq!(aged(pod(|_| ()), 3).wanted("web").purpose, Purpose::Grow);
    assert_eq!(of_cpu(&aged(pod(|_| ()), 4)), "stale_report");
    assert_eq!(aged(idle("bronze"), 12).wanted("web").purpose, Purpose::Shrink);
    assert_eq!(of_cpu(&aged(idle("bronze"), 31)), "stale_report");
}

#[test]
fn a_resize_that_restarts_the_container_needs_a_class_that_allows_it() {
    let restarts =
        |pod: &mut TestPod| pod.facts.containers[0].cpu_resize_policy = Some("RestartContainer".into());
    assert_eq!(of_cpu(&node().with([pod(restarts)])), "restart_container");
    let allowed = pod(|pod| {
        restarts(pod);
        let Some(Ok(policy)) = &mut pod.class else { panic!("it has a class") };
        policy.allow_restart = true;
    });
    assert_eq!(node().with([allowed]).wanted("web").purpose, Purpose::Grow);
    let memory_only =
        pod(|pod| pod.facts.containers[0].memory_resize_policy = Some("RestartContainer".into()));
    let wanted = node().with([memory_only]).wanted("web");
    assert_eq!(wanted.sizes["web"].cpu, size(1000, 1000), "CPU is resized alone");
}

#[test]
fn bounds_of_the_owner_that_cannot_be_read_keep_that_resource_as_it_is() {
    let unreadable =
        node().with([pod(|pod| pod.seen_mut("web").cpu.bounds = Some(Err("web.cpu.max: not an amount")))]);
    assert_eq!(of_cpu(&unreadable), "bad_bounds");
    let line = &unreadable.verdict("web").sizing[0].line;
    assert!(line.contains("plimsoll.dev/bounds") && line.contains("web.cpu.max"), "{line}");
}

fn idle(class: &str) -> TestPod {
    TestPod::new("web", Some(class))
        .container("app", size(500, 1000), size(64 * MI, 64 * MI))
        .uses(20, 32 * MI)
}

#[test]
fn nothing_shrinks_while_decreases_are_paused_outside_the_schedule_or_on_a_node_that_memory_shrinks_harm() {
    use plimsoll_sizing::policy::Window;
    let mut paused = node().with([idle("bronze")]);
    paused.decreases_paused = Some(NOW + Duration::from_secs(500));
    assert_eq!(of_cpu(&paused), "decreases_paused");

    let mut scheduled = idle("bronze");
    let Some(Ok(policy)) = &mut scheduled.class else { panic!("it has a class") };
    policy.schedule = vec![Window { days: vec![3], from: 700, to: 730 }];
    let mut node = node().with([scheduled]);
    assert_eq!(node.wanted("web").purpose, Purpose::Shrink);
    node.week_time = (4, 720);
    assert_eq!(of_cpu(&node), "outside_schedule");

    let mut memory =
        TestPod::new("web", Some("bronze")).container("app", size(100, None), size(GI, GI)).uses(90, 64 * MI);
    let Some(Ok(policy)) = &mut memory.class else { panic!("it has a class") };
    policy.memory.allow_decrease = true;
    let mut node = TestNode::new(8000, 16 * GI)
        .with([memory, TestPod { facts: renamed(idle("bronze").facts, "idle"), ..idle("bronze") }]);
    assert!(node.wanted("web").sizes["app"].memory.limit < Some(GI));
    node.memory_shrinks_stopped = true;
    assert_eq!(node.outcome("web"), Outcome::Waiting(Refusal::MemoryShrinksStopped));
    assert_eq!(node.wanted("idle").purpose, Purpose::Shrink, "CPU still shrinks there");
}

fn renamed(facts: PodFacts, name: &str) -> PodFacts {
    PodFacts { pod: PodName::new("shop", name), ..facts }
}

#[test]
fn reasons_have_different_words() {
    let reasons = [
        Refusal::NoClass,
        Refusal::UnknownClass(String::new()),
        Refusal::BrokenClass(String::new()),
        Refusal::BoundsUnknown,
        Refusal::Ignored,
        Refusal::SystemNamespace,
        Refusal::Finished,
        Refusal::Terminating,
        Refusal::NotRunning,
        Refusal::BestEffort,
        Refusal::StaticPod,
        Refusal::CriticalPod(String::new()),
        Refusal::PodLevelResources,
        Refusal::InFlight,
        Refusal::NodeUnknown,
        Refusal::NodeNotReady,
        Refusal::NodeSilent,
        Refusal::ContainerNotRunning,
        Refusal::NoReport,
        Refusal::StaleReport,
        Refusal::RestartContainer,
        Refusal::Autoscaled(String::new()),
        Refusal::QueueManaged,
        Refusal::Quota,
        Refusal::LimitRange,
        Refusal::NoRoom,
        Refusal::RoomUnknown,
        Refusal::OutsideSchedule,
        Refusal::MemoryShrinksStopped,
        Refusal::DecreasesPaused(NOW),
    ];
    let words: std::collections::BTreeSet<&str> = reasons.iter().map(Refusal::as_str).collect();
    assert_eq!(words.len(), reasons.len());
    assert!(words.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
}
