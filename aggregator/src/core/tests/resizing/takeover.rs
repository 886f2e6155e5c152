//! A leader that ends in any state of a resize: the next one goes on from what is on the pod, and the pod is resized once.

use super::*;

/// Another replica takes over, which knows only what the API server shows.
fn take_over(before: &Harness, epoch: u64) -> Harness {
    let pods: Vec<PodFacts> = before.pods.values().cloned().collect();
    let mut harness = Harness::unsynced(settings(), pods.clone());
    (harness.at, harness.seq) = (before.at, before.seq);
    let inputs = [
        Input::Pods(WatchEvent::Listed(pods)),
        nodes_listed((0..2).map(node)),
        Input::Namespaces(WatchEvent::Listed(vec![namespace("shop")])),
        Input::Paused(false),
    ];
    for input in inputs.into_iter().chain(surroundings()).chain([Input::Leading(Some(epoch))]) {
        assert_eq!(resizes(&harness.step(input)).len(), 0, "nothing is resized before it was seen");
    }
    harness
}

/// Throttled until it is resized, then calm, for two minutes; the resizes that were sent.
fn finish(harness: &mut Harness, old: Sizes) -> Vec<Write> {
    let mut sent = Vec::new();
    for _ in 0..120 {
        let mut actions = harness.wait(1);
        actions.extend(if harness.size(1) == old { harness.throttled(1) } else { harness.calm(1, 0.4) });
        let all = harness.land_all(actions);
        if !resizes(&all).is_empty() {
            harness.kubelet(1);
        }
        sent.extend(resizes(&all));
    }
    sent
}

#[test]
fn a_leader_killed_before_the_record_or_between_the_halves_leaves_one_resize_to_the_next() {
    for is_recorded in [false, true] {
        let mut harness = Harness::resizing(vec![sized(1)]);
        let old = harness.size(1);
        let record = only(&harness.throttled(1));
        if is_recorded {
            harness.apply(&record);
        }
        let text = harness.pods[&name(1)].annotations.get(keys::ORIGINAL_RESOURCES).cloned();
        let mut harness = take_over(&harness, 8);
        let sent = finish(&mut harness, old);
        assert_eq!(sent.len(), 1, "{sent:#?}");
        assert_eq!(sent[0].epoch, 8);
        let pod = &harness.pods[&name(1)];
        assert_eq!(pod.annotations[keys::EPOCH], "8");
        let original: PodResources =
            serde_json::from_str(&pod.annotations[keys::ORIGINAL_RESOURCES]).unwrap();
        assert_eq!(original["app"].limits["cpu"], "500m");
        assert!(
            text.is_none_or(|text| pod.annotations[keys::ORIGINAL_RESOURCES] == text),
            "never overwritten"
        );
        assert_eq!(harness.resize_state(1), "verified");
    }
}

#[test]
fn a_leader_killed_after_the_resize_was_accepted_leaves_nothing_to_send_and_the_next_verifies_it() {
    for kubelet_is_done in [false, true] {
        let mut harness = Harness::resizing(vec![sized(1)]);
        let record = only(&harness.throttled(1));
        let resize = only(&harness.land(&record));
        harness.apply(&resize);
        if kubelet_is_done {
            harness.kubelet(1);
        }
        let new = harness.size(1);
        let mut harness = take_over(&harness, 8);
        // Before the kubelet acts the report shows the old limit, and the pod at it.
        let actions = harness.throttled(1);
        assert_eq!(resizes(&harness.land_all(actions)).len(), if kubelet_is_done { 1 } else { 0 });
        if kubelet_is_done {
            continue;
        }
        harness.kubelet(1);
        harness.at += Duration::from_secs(1);
        let told: Vec<_> = events(&harness.calm(1, 0.4)).into_iter().map(|event| event.reason).collect();
        assert_eq!(told, ["ResizeVerified"]);
        assert_eq!((harness.size(1), harness.resize_state(1).as_str()), (new, "verified"));
    }
}

/// Pod 1 of the class bronze, shrunk, throttled by that, and back at its original size.
fn undone() -> Harness {
    let mut pod = sized(1);
    pod.labels.insert(keys::SLA.into(), "bronze".into());
    let mut harness = Harness::resizing(vec![pod]);
    let original = harness.size(1);
    while harness.size(1) == original {
        assert!(harness.at < Duration::from_secs(1000));
        let mut actions = harness.wait(5);
        actions.extend(harness.calm(1, 0.02));
        harness.land_all(actions);
    }
    harness.kubelet(1);
    harness.wait(1);
    let actions = harness.calm(1, 0.02);
    harness.land_all(actions);
    harness.wait(2);
    let actions = harness.throttled(1);
    harness.land_all(actions);
    harness.kubelet(1);
    let actions = harness.calm(1, 0.02);
    harness.land_all(actions);
    assert_eq!(harness.size(1), original);
    harness
}

/// Its CPU is in another band for some seconds, which is written.
fn changes_its_band(harness: &mut Harness) {
    let before = harness.pods[&name(1)].labels[keys::CPU_BAND].clone();
    let cores = if before == "high" { 0.02 } else { 0.4 };
    for _ in 0..30 {
        let mut actions = harness.wait(1);
        actions.extend(harness.calm(1, cores));
        harness.land_all(actions);
    }
    assert_ne!(harness.pods[&name(1)].labels[keys::CPU_BAND], before);
}

#[test]
fn what_did_harm_is_still_known_after_a_change_of_labels_and_a_takeover_and_the_record_goes_a_day_later() {
    let mut harness = undone();
    changes_its_band(&mut harness);
    let decision: ResizeDecision =
        serde_json::from_str(&harness.pods[&name(1)].annotations[keys::DECISION]).unwrap();
    assert_eq!(decision.reason, "undo");
    let mut next = take_over(&harness, 8);
    let mut sent = Vec::new();
    for _ in 0..200 {
        let mut actions = next.wait(5);
        actions.extend(next.calm(1, 0.02));
        sent.extend(resizes(&next.land_all(actions)));
    }
    assert_eq!(sent, [], "it is not shrunk into the same harm");

    // Without its class nothing shrinks it then.
    let actions = harness.edit(1, |pod| drop(pod.labels.remove(keys::SLA)));
    harness.land_all(actions);
    changes_its_band(&mut harness);
    assert!(harness.pods[&name(1)].annotations.contains_key(keys::DECISION));
    harness.at += Duration::from_secs(24 * 3600);
    changes_its_band(&mut harness);
    assert!(!harness.pods[&name(1)].annotations.contains_key(keys::DECISION));
}

#[test]
fn a_replica_that_lost_the_lease_sends_no_second_half_and_tells_nothing() {
    let mut harness = Harness::resizing(vec![sized(1)]);
    let record = only(&harness.throttled(1));
    harness.step(Input::Leading(None));
    assert_eq!(harness.land(&record), []);
    assert_eq!(harness.throttled(1), []);
    assert_eq!(harness.core.pod(&name(1)).unwrap().resize, None, "it does not resize");
    let again = only(&harness.step(Input::Leading(Some(9))));
    assert_eq!(
        (again.epoch, again.annotations()[keys::EPOCH].as_str()),
        (9, "9"),
        "recorded anew by its new self"
    );
    assert!(only(&harness.land(&again)).is_resize());
}

#[test]
fn while_paused_nothing_is_recorded_or_sent_and_then_it_goes_on() {
    let mut harness = Harness::resizing(vec![sized(1)]);
    let record = only(&harness.throttled(1));
    assert_eq!(writes(&harness.step(Input::Paused(true))), []);
    assert_eq!(harness.land(&record), []);
    assert_eq!(writes(&harness.throttled(1)), []);
    let actions = harness.step(Input::Paused(false));
    assert!(only_write(&actions).is_resize());
}

/// Pod 1 with the record of an undo to this CPU limit, as a leader writes it or as anybody else does.
fn with_recorded_undo(limit: &str) -> PodFacts {
    let mut pod = sized(1);
    let size = |limit: &str| -> PodResources {
        let text = format!(
            r#"{{"app":{{"requests":{{"cpu":"250m","memory":"128Mi"}},"limits":{{"cpu":"{limit}","memory":"256Mi"}}}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    };
    let decision = ResizeDecision {
        at: "2026-01-01T10:00:00Z".parse().unwrap(),
        reason: "undo".into(),
        class: "gold".into(),
        from: size("500m"),
        to: size(limit),
        why: String::new(),
    };
    pod.annotations.insert(keys::DECISION.into(), serde_json::to_string(&decision).unwrap());
    pod.annotations.insert(keys::ORIGINAL_RESOURCES.into(), serde_json::to_string(&size("500m")).unwrap());
    pod
}

#[test]
fn a_recorded_way_back_waits_without_being_looked_at_until_its_node_reports() {
    let mut harness = Harness::resizing(vec![with_recorded_undo("800m")]);
    let waits = |harness: &mut Harness| {
        let woken = (0..200).filter(|_| {
            harness.wait(1);
            !harness.core.queue.due(Moment(harness.at)).is_empty()
        });
        woken.count()
    };
    assert_eq!((waits(&mut harness), harness.resize_state(1).as_str()), (0, "planned"));
    let actions = harness.calm(1, 0.1);
    let sent = resizes(&harness.land_all(actions));
    assert_eq!(sent.iter().map(|write| write.reason).collect::<Vec<_>>(), [Reason::Undo]);
}

#[test]
fn a_recorded_way_back_is_not_followed_beyond_the_class_or_where_the_class_only_recommends() {
    let recommends = classes([Policy { mode: Mode::Recommend, ..gold() }]);
    for (limit, input) in [("40", Input::Tick), ("800m", recommends)] {
        let mut harness = Harness::resizing(vec![sized(1)]);
        harness.step(input);
        harness.edit(1, |pod| *pod = with_recorded_undo(limit));
        harness.step(Input::Leading(None));
        harness.step(Input::Leading(Some(8)));
        let actions = harness.calm(1, 0.1);
        assert_eq!(resizes(&harness.land_all(actions)), [], "{limit}");
    }
}

#[test]
fn an_oom_kill_that_only_a_replica_that_did_not_lead_was_told_of_makes_memory_grow_when_it_leads() {
    for is_grown_meanwhile in [false, true] {
        let mut harness = Harness::resizing(vec![sized(1)]);
        harness.step(Input::Leading(None));
        let mut pod = harness.seen(1, 0.1, 0.0);
        let killed = MemoryEvents { high: Some(0), max: Some(3), oom_kill: Some(1) };
        pod.containers[0].memory.events_delta = Some(killed);
        assert_eq!(harness.report(0, false, vec![pod]), []);
        if is_grown_meanwhile {
            harness.edit(1, |pod| {
                pod.containers[0].spec.memory_limit = Some(Bytes(512 * MI));
                pod.generation = Some(2);
            });
            harness.kubelet(1);
        }
        let mut actions = harness.step(Input::Leading(Some(9)));
        actions.extend(harness.calm(1, 0.1));
        let sent = resizes(&harness.land_all(actions));
        let grown =
            sent.iter().filter(|write| write.resize().containers["app"].memory.request > Some(128 * MI));
        assert_eq!((grown.count(), sent.len()), if is_grown_meanwhile { (0, 0) } else { (1, 1) });
    }
}
