//! Resizes that do not go as asked.

use super::*;
use crate::facts::{ObjectKey, QuotaFacts, QuotaValue, QuotaValues};
use crate::input::RefusalKind;
use plimsoll_sizing::policy::{Bound, ResourcePolicy};

fn refused(kind: RefusalKind) -> WriteResult {
    WriteResult::Refused(kind, "the words of the server".into())
}

/// Throttled for some seconds; everything that is sent is answered by `answer`, else done. All writes.
fn live(harness: &mut Harness, seconds: u64, answer: impl Fn(&Write) -> Option<WriteResult>) -> Vec<Write> {
    let mut all = Vec::new();
    for _ in 0..seconds {
        let mut actions = harness.wait(1);
        actions.extend(harness.throttled(1));
        let mut open: std::collections::VecDeque<_> = writes(&actions).into();
        while let Some(write) = open.pop_front() {
            let next = match answer(&write) {
                Some(result) => harness.outcome(&write, result),
                None => harness.land(&write),
            };
            all.push(write);
            open.extend(writes(&next));
        }
    }
    all
}

#[test]
fn a_record_that_is_refused_means_no_resize() {
    let mut harness = Harness::resizing(vec![sized(1)]);
    let all = live(&mut harness, 300, |_| Some(WriteResult::Failed(403, "denied by policy".into())));
    assert_eq!(all.iter().filter(|write| write.is_resize()).count(), 0);
    assert!((3..=30).contains(&all.len()), "ever more slowly: {}", all.len());
}

#[test]
fn an_annotation_of_ours_that_another_manager_owns_means_no_resize() {
    let mut harness = Harness::resizing(vec![sized(1)]);
    let theirs = KeyConflict { key: keys::DECISION.to_owned(), manager: Some("helm".to_owned()) };
    let all = live(&mut harness, 120, |write| {
        let conflict = write.annotations().contains_key(keys::DECISION);
        conflict.then(|| WriteResult::Conflict(vec![theirs.clone()]))
    });
    assert_eq!(all.iter().filter(|write| write.is_resize()).count(), 0);
    assert_eq!(harness.pods[&name(1)].labels[keys::CPU_BAND], "high", "its labels are written all the same");
}

#[test]
fn a_pod_that_changed_meanwhile_is_recorded_and_resized_again() {
    let mut harness = Harness::resizing(vec![sized(1)]);
    let record = only(&harness.throttled(1));
    let resize = only(&harness.land(&record));
    let actions = harness.outcome(&resize, refused(RefusalKind::Stale));
    assert_eq!(events(&actions).len(), 0);
    let again = only_write(&actions);
    assert_eq!((again.reason, again.is_resize()), (Reason::Grow, false));
    let resize = only(&harness.land(&again));
    assert_eq!(resize.resize().resource_version.as_deref(), Some(&*format!("after-{}", again.id)));
    assert_eq!(harness.land(&resize), []);
    assert_eq!(harness.resize_state(1), "accepted");
}

#[test]
fn a_size_that_somebody_wrote_while_it_was_recorded_is_not_overwritten() {
    let mut harness = Harness::resizing(vec![sized(1)]);
    let record = only(&harness.throttled(1));
    // The watch has not shown it when the record is answered.
    let pod = harness.pods.get_mut(&name(1)).unwrap();
    (pod.containers[0].spec.cpu_limit, pod.generation) = (Some(Cores(0.7)), Some(2));
    harness.apply(&record);
    let version = PodVersion { resource_version: Some("9".into()), generation: Some(2) };
    assert_eq!(harness.outcome(&record, WriteResult::Written(version)), []);
    assert_eq!(harness.wait(3), []);
    let actions = harness.show(&name(1));
    assert_eq!(resizes(&actions), []);
    assert_eq!(harness.size(1).cpu.limit, Some(700));
}

#[test]
fn a_quota_that_refuses_is_asked_once_and_then_left_alone_for_a_minute() {
    let mut harness = Harness::resizing(vec![sized(1)]);
    let all = live(&mut harness, 60, |write| write.is_resize().then(|| refused(RefusalKind::Quota)));
    assert_eq!(all.iter().filter(|write| write.is_resize()).count(), 1);
    let said = harness.core.decisions().iter().filter(|d| d.reason == "resize_over_quota").count();
    assert_eq!(said, 1);
    let all = live(&mut harness, 30, |_| None);
    assert_eq!(all.iter().filter(|write| write.is_resize()).count(), 1, "then again");
}

/// A quota of CPU requests in the namespace of the pods, in millicores.
fn quota(hard: u64, used: u64) -> Input {
    let cpu = Some(QuotaValue { hard, used: Some(used) });
    Input::Quotas(WatchEvent::Changed(Box::new(QuotaFacts {
        key: ObjectKey { namespace: "shop".into(), name: "cpu".into() },
        scopes: Vec::new(),
        requests: QuotaValues { cpu, memory: None },
        limits: QuotaValues::default(),
    })))
}

#[test]
fn a_hold_for_a_quota_ends_at_once_when_the_quota_leaves_more_or_is_gone() {
    let freed: [(&str, Input); 3] = [
        ("hard is raised", quota(3000, 2000)),
        ("used falls", quota(2000, 1000)),
        ("it is deleted", Input::Quotas(WatchEvent::Listed(Vec::new()))),
    ];
    for (what, input) in freed {
        let mut harness = Harness::resizing(vec![sized(1)]);
        // The API server has counted more than the quota says yet.
        harness.step(quota(2000, 1000));
        let all = live(&mut harness, 1, |write| write.is_resize().then(|| refused(RefusalKind::Quota)));
        assert_eq!(all.iter().filter(|write| write.is_resize()).count(), 1);
        // Then it is counted, and what is left is not enough for anything.
        harness.step(quota(2000, 2000));
        let all = live(&mut harness, 20, |_| None);
        assert!(!all.iter().any(Write::is_resize), "{what}");
        let mut actions = harness.step(input);
        actions.extend(harness.throttled(1));
        let sent = resizes(&harness.land_all(actions));
        assert_eq!(sent.iter().filter(|write| write.reason == Reason::Grow).count(), 1, "{what}");
    }
}

#[test]
fn of_the_pods_of_a_namespace_one_at_a_time_asks_a_quota_that_refused() {
    let mut harness = Harness::resizing((0..5).map(sized).collect());
    let all = |harness: &mut Harness| {
        let throttled = (0..5).map(|n| harness.seen(n, 0.5, 0.8)).collect();
        harness.report(0, false, throttled)
    };
    let mut asked = Vec::new();
    for second in 1..=240 {
        let mut actions = harness.wait(1);
        actions.extend(all(&mut harness));
        let mut open: std::collections::VecDeque<_> = writes(&actions).into();
        while let Some(write) = open.pop_front() {
            let next = match write.is_resize() {
                true => {
                    asked.push(second);
                    harness.outcome(&write, refused(RefusalKind::Quota))
                }
                false => harness.land(&write),
            };
            open.extend(writes(&next));
        }
    }
    // Those that were on their way together, then one after a minute, and one after two more.
    assert!(asked.iter().filter(|second| **second < 60).count() <= 3, "{asked:?}");
    assert!((1..=3).contains(&asked.iter().filter(|second| **second >= 60).count()), "{asked:?}");
    let waiting = harness.resize_state(4);
    assert!(["planned", "recorded", "idle", "failed"].contains(&waiting.as_str()), "{waiting}");
}

#[test]
fn a_size_that_no_node_has_is_asked_for_once() {
    let mut harness = Harness::resizing(vec![sized(1)]);
    let all = live(&mut harness, 300, |write| write.is_resize().then(|| refused(RefusalKind::NodeCapacity)));
    assert_eq!(all.iter().filter(|write| write.is_resize()).count(), 1);
    assert_eq!(harness.core.pod(&name(1)).unwrap().resize.unwrap().refusal.as_deref(), Some("rejected"));
}

#[test]
fn a_resize_without_an_answer_that_was_done_is_not_sent_again() {
    let mut harness = Harness::resizing(vec![sized(1)]);
    let record = only(&harness.throttled(1));
    let resize = only(&harness.land(&record));
    harness.apply(&resize);
    assert_eq!(harness.outcome(&resize, WriteResult::NoAnswer), []);
    assert_eq!(harness.show(&name(1)), []);
    assert_eq!(harness.resize_state(1), "accepted");
    assert_eq!(harness.throttled(1), []);
}

#[test]
fn a_busy_server_slows_resizes_down_like_every_write() {
    let mut harness = Harness::resizing(vec![sized(1)]);
    let record = only(&harness.throttled(1));
    let resize = only(&harness.land(&record));
    let before = harness.core.gauges().rate;
    harness.outcome(&resize, WriteResult::Throttled(Some(Duration::from_secs(5))));
    assert!(harness.core.gauges().rate < before / 1.9);
    for _ in 0..4 {
        assert_eq!(harness.wait(1), []);
    }
}

#[test]
fn a_pod_of_a_node_that_is_late_is_not_resized_before_its_agent_reports_again() {
    let mut harness = Harness::resizing(vec![sized(1)]);
    harness.step(Input::Paused(true));
    assert_eq!(writes(&harness.throttled(1)), []);
    harness.wait(31);
    let actions = harness.step(Input::Paused(false));
    assert!(writes(&actions).iter().all(|write| write.reason == Reason::First), "{actions:?}");
    harness.land_all(actions);
    assert_eq!(harness.wait(5), []);
    assert_eq!(only_write(&harness.throttled(1)).reason, Reason::Grow);
}

#[test]
fn a_pod_that_loses_its_class_between_the_halves_is_not_resized() {
    let mut harness = Harness::resizing(vec![sized(1)]);
    let record = only(&harness.throttled(1));
    harness.apply(&record);
    assert_eq!(harness.edit(1, |pod| drop(pod.labels.remove(keys::SLA))), []);
    let version = PodVersion { resource_version: Some("9".into()), generation: Some(1) };
    assert_eq!(harness.outcome(&record, WriteResult::Written(version)), []);
    assert_eq!(harness.throttled(1), []);
    assert_eq!(harness.wait(25), []);
}

#[test]
fn another_pod_under_the_same_name_is_not_touched_by_the_resize_of_the_one_before() {
    let mut harness = Harness::resizing(vec![sized(1)]);
    let record = only(&harness.throttled(1));
    let resize = only(&harness.land(&record));
    let again = PodFacts { pod: name(1), ..sized(2) };
    harness.pods.insert(name(1), again);
    assert_eq!(harness.show(&name(1)), []);
    assert_eq!(harness.outcome(&resize, WriteResult::Gone), []);
    assert_eq!(harness.resize_state(1), "idle");
    assert_eq!(harness.wait(60), []);
}

#[test]
fn many_decreases_at_once_are_paused_after_nine_and_said() {
    let of = |class: &'static str| {
        move |n| {
            let mut pod = sized(n);
            pod.labels.insert(keys::SLA.into(), class.into());
            pod
        }
    };
    // Those of a class that does not exist do not count.
    let pods = (0..30).map(of("bronze")).chain((30..330).map(of("bronse")));
    let mut harness = Harness::resizing(pods.collect());
    let mut shrunk = Vec::new();
    for second in 0..420 {
        let mut actions = harness.wait(1);
        if second % 5 == 0 {
            let idle = (0..30).map(|n| harness.seen(n, 0.02, 0.0)).collect();
            actions.extend(harness.report(0, true, idle));
        }
        let all = harness.land_all(actions);
        for write in resizes(&all) {
            assert_eq!(write.reason, Reason::Shrink);
            let n = write.pod.name[1..].parse().unwrap();
            harness.kubelet(n);
            shrunk.push(second);
        }
    }
    assert_eq!(shrunk.len(), 9, "more than a tenth and at least ten: {shrunk:?}");
    let waiting = (0..30).filter(|n| {
        let status = harness.core.pod(&name(*n)).unwrap().resize.unwrap();
        status.refusal.as_deref() == Some("decreases_paused")
    });
    assert!(waiting.count() >= 20);
}

#[test]
fn a_shrink_that_does_harm_is_undone_at_once_and_told() {
    let bronze = |n| {
        let mut pod = sized(n);
        pod.labels.insert(keys::SLA.into(), "bronze".into());
        pod
    };
    let mut harness = Harness::resizing(vec![bronze(1)]);
    let mut shrinks = 0;
    while shrinks == 0 {
        assert!(harness.at < Duration::from_secs(1000));
        let mut actions = harness.wait(5);
        actions.extend(harness.calm(1, 0.02));
        let all = harness.land_all(actions);
        shrinks += resizes(&all).len();
    }
    harness.kubelet(1);
    harness.wait(1);
    assert_eq!(events(&harness.calm(1, 0.02)).len(), 1, "verified");
    let small = harness.size(1);
    harness.wait(2);
    let actions = harness.throttled(1);
    assert!(
        events(&actions).iter().any(|event| event.reason == "ResizeUndone" && event.warning),
        "{actions:?}"
    );
    let undo = only_write(&actions);
    assert_eq!(undo.reason, Reason::Undo);
    let all = harness.land(&undo);
    let resize = only_write(&all);
    assert_eq!(resize.reason, Reason::Undo);
    harness.land(&resize);
    assert_ne!(harness.size(1), small);
    assert_eq!(harness.size(1), sizes_of(&sized(1).containers[0].spec));
    let row = harness.ledger().into_iter().find(|row| row.name == "bronze").unwrap();
    assert_eq!((row.counts.shrunk, row.counts.undone), (1, 1));

    // It is not shrunk into the same harm again when its hold is over, and that is said.
    harness.kubelet(1);
    let mut sent = Vec::new();
    for _ in 0..200 {
        let mut actions = harness.wait(5);
        actions.extend(harness.calm(1, 0.02));
        sent.extend(resizes(&harness.land_all(actions)));
    }
    assert_eq!(sent, []);
    assert_eq!(harness.core.pod(&name(1)).unwrap().resize.unwrap().refusal.as_deref(), Some("harmful"));
}

#[test]
fn a_node_that_becomes_unready_after_memory_was_taken_twice_keeps_its_memory_from_then_on() {
    let mut pod = sized(1);
    pod.labels.insert(keys::SLA.into(), "bronze".into());
    let mut harness = Harness::resizing(vec![pod]);
    let mut bronze = Policy::builtin("bronze").unwrap();
    bronze.memory.allow_decrease = true;
    harness.step(classes([bronze]));
    let node_is = |harness: &mut Harness, status: &str| {
        let ready = ConditionFacts {
            kind: "Ready".into(),
            status: status.into(),
            reason: None,
            message: None,
            observed_generation: None,
        };
        let facts = NodeFacts {
            allocatable_cpu: Some(Cores(64.0)),
            allocatable_memory: Some(Bytes(64 << 30)),
            conditions: vec![ready],
            ..NodeFacts::bare(node(0).as_str())
        };
        harness.step(Input::Nodes(WatchEvent::Changed(Box::new(facts))))
    };
    let (mut times, mut told) = (0, Vec::new());
    for _ in 0..1000 {
        let mut actions = harness.wait(5);
        let mut seen = harness.seen(1, 0.1, 0.0);
        seen.containers[0].window = Some(86_400.0);
        actions.extend(harness.report(0, false, vec![seen]));
        let before = harness.size(1).memory.limit;
        let mut open: std::collections::VecDeque<_> = writes(&actions).into();
        while let Some(write) = open.pop_front() {
            // The watch is faster than the response.
            harness.apply(&write);
            let mut next = harness.show(&write.pod);
            let generation = harness.pods[&name(1)].generation;
            let version = PodVersion { resource_version: Some(format!("after-{}", write.id)), generation };
            next.extend(harness.outcome(&write, WriteResult::Written(version)));
            open.extend(writes(&next));
        }
        harness.kubelet(1);
        if harness.size(1).memory.limit < before {
            times += 1;
            harness.wait(1);
            told.extend(events(&node_is(&mut harness, "False")));
            told.extend(events(&node_is(&mut harness, "True")));
        }
    }
    assert_eq!(times, 2);
    let [event] = told.as_slice() else { panic!("said once: {told:?}") };
    assert_eq!((event.about.clone(), event.warning), (Subject::Node { node: node(0), uid: None }, true));
    assert_eq!(event.reason, "MemoryShrinksStopped");
    assert!(
        event.note.contains("kubernetes/kubernetes#141100") && event.note.contains("for 24 h"),
        "{}",
        event.note
    );
    // A day later it is said that it may be tried again.
    harness.at += Duration::from_secs(24 * 3600);
    let told = events(&harness.wait(1));
    let ended: Vec<_> = told.iter().filter(|event| event.reason == "MemoryShrinksResumed").collect();
    assert_eq!(ended.len(), 1, "{told:?}");
}

#[test]
fn kills_for_memory_are_counted_for_the_class_also_with_the_verification_of_the_growth_for_them() {
    let mut harness = Harness::resizing(vec![sized(1)]);
    let actions = harness.calm(1, 0.1);
    harness.land_all(actions);
    let killed = |harness: &mut Harness, kills| {
        let mut pod = harness.seen(1, 0.1, 0.0);
        pod.containers[0].memory.events_delta =
            Some(MemoryEvents { high: Some(0), max: Some(3), oom_kill: Some(kills) });
        let mut report = harness.next_report(0, false, vec![pod]);
        report.capacity.available_bytes = Some(Bytes(4 << 30));
        harness.step(reported(report))
    };
    let oom =
        |harness: &Harness| harness.ledger().into_iter().find(|row| row.name == "gold").unwrap().counts.oom;
    let actions = killed(&mut harness, 2);
    assert_eq!(oom(&harness), 2);
    harness.land_all(actions);
    assert!(harness.size(1).memory.limit > Some(256 * MI));
    harness.wait(1);
    harness.kubelet(1);
    let told = events(&killed(&mut harness, 1));
    assert_eq!(told[0].reason, "ResizeVerified");
    assert_eq!(oom(&harness), 3);
}

#[test]
fn events_about_resizes_are_bounded_and_the_decision_log_has_them_all() {
    let mut harness = Harness::resizing((0..15).map(sized).collect());
    let throttled = (0..15).map(|n| harness.seen(n, 0.5, 0.8)).collect();
    let mut actions = harness.report(0, false, throttled);
    let mut told = 0;
    for _ in 0..20 {
        let mut open: std::collections::VecDeque<_> = writes(&actions).into();
        while let Some(write) = open.pop_front() {
            let next = match write.is_resize() {
                true => harness.outcome(&write, refused(RefusalKind::LimitRange)),
                false => harness.land(&write),
            };
            told += events(&next).len();
            open.extend(writes(&next));
        }
        actions = harness.wait(1);
    }
    assert_eq!(told, 10);
    let said = harness.core.decisions().iter().filter(|d| d.reason == "resize_over_quota").count();
    assert_eq!(said, 15);
}

#[test]
fn the_noted_outcomes_are_those_of_the_writes_and_of_the_node() {
    let mut harness = Harness::resizing(vec![sized(1)]);
    let record = only(&harness.throttled(1));
    let resize = only(&harness.land(&record));
    harness.apply(&resize);
    let version = PodVersion { resource_version: None, generation: Some(2) };
    harness.outcome(&resize, WriteResult::Written(version));
    assert_eq!(harness.noted(), ["grow accepted"]);
    let pending = ConditionFacts {
        kind: "PodResizePending".into(),
        status: "True".into(),
        reason: Some("Deferred".into()),
        message: Some("Node didn't have enough resource: cpu".into()),
        observed_generation: Some(2),
    };
    let actions = harness.edit(1, |pod| {
        pod.observed_generation = Some(2);
        pod.conditions = vec![pending];
    });
    assert_eq!(events(&actions)[0].reason, "ResizeDeferred");
    assert_eq!(harness.noted(), ["grow deferred"]);
    assert_eq!(harness.resize_state(1), "deferred");
    let mut sent = Vec::new();
    for _ in 0..40 {
        let mut actions = harness.wait(1);
        actions.extend(harness.throttled(1));
        sent.extend(resizes(&harness.land_all(actions)));
    }
    assert_eq!(
        sent.iter().map(|write| write.reason).collect::<Vec<_>>(),
        [Reason::Revert],
        "withdrawn after 30 s"
    );
}

#[test]
fn a_leak_that_has_come_to_the_maximum_of_its_class_is_said_once() {
    let mut harness = Harness::resizing(vec![sized(1)]);
    let memory = ResourcePolicy { max_allowed: Some(Bound::Amount(256 * MI)), ..gold().memory };
    harness.step(classes([Policy { memory, ..gold() }]));
    let mut told = Vec::new();
    for _ in 0..10 {
        let mut pod = harness.seen(1, 0.1, 0.0);
        let used = Some(Bytes(250 * MI));
        let memory = &mut pod.containers[0].memory;
        (memory.working_set, memory.unreclaimable, memory.unreclaimable2) = (used, used, used);
        let actions = harness.report(0, false, vec![pod]);
        let mut all = harness.land_all(actions);
        // The request grows up to the limit.
        all.extend(harness.kubelet(1));
        all.extend(harness.wait(1));
        assert!(resizes(&all).iter().all(|write| write.resize().containers["app"].memory.limit.is_none()));
        told.extend(events(&all).into_iter().filter(|event| event.reason == "ResizeAtMaximum"));
    }
    let [event] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((event.reason.as_str(), event.warning), ("ResizeAtMaximum", true));
    assert_eq!(
        event.note,
        "app memory: needs more, but is at its maximum (memory at 98 % of the limit for 2 s). Look for a leak, or raise what bounds it: maxAllowed of its class, its annotation plimsoll.dev/bounds, or a LimitRange"
    );
}
