//! Writes that do not go as asked.

use super::*;
use crate::core::Note;

fn owned(key: &str) -> KeyConflict {
    KeyConflict { key: key.to_owned(), manager: Some("kubectl-edit".to_owned()) }
}

fn conflict(keys: &[&str]) -> WriteResult {
    WriteResult::Conflict(keys.iter().map(|key| owned(key)).collect())
}

#[test]
fn a_key_of_somebody_else_leaves_the_set_and_the_rest_is_applied_at_once() {
    let mut harness = Harness::new(vec![facts(1, 0)]);
    let pod = vec![load(1, Band::High, Band::Low)];
    let write = only(&harness.report(0, true, pod.clone()));
    let actions = harness.outcome(&write, conflict(&[keys::CPU_BAND]));
    let said = events(&actions);
    assert_eq!((said.len(), said[0].reason.as_str(), said[0].warning), (1, "LabelConflict", true));
    assert_eq!(said[0].about, Subject::Pod { pod: name(1), uid: uid(1).as_str().into() });
    let note = "Another field manager owns plimsoll.dev/cpu-band (kubectl-edit): Plimsoll does not change it. To give it back, \
                remove it there, or run: kubectl label pod p1 -n shop plimsoll.dev/cpu-band-";
    assert_eq!(said[0].note, note);
    let logged = harness.core.take_notes().into_iter().find(|note| matches!(note, Note::Conflict { .. }));
    let cure = "remove it there, or run: kubectl label pod p1 -n shop plimsoll.dev/cpu-band-".to_owned();
    assert_eq!(logged, Some(Note::Conflict { pod: name(1), conflicts: vec![owned(keys::CPU_BAND)], cure }));
    assert_eq!(harness.core.decisions()[1].to, note);
    let rest = writes(&actions);
    assert_eq!((rest.len(), rest[0].to.as_str()), (1, "cpu=- memory=low"));
    assert_eq!(rest[0].labels().keys().collect::<Vec<_>>(), [keys::MEMORY_BAND, keys::MEMORY_BASIS]);
    assert_eq!(harness.land(&rest[0]), []);
    assert_eq!(harness.core.pod(&name(1)).unwrap().conflicts, [owned(keys::CPU_BAND)]);
    assert_eq!(harness.core.decisions()[2].outcome, "conflict");

    assert_eq!(harness.report(0, true, vec![load(1, Band::Low, Band::Low)]), [], "not ours to change");
    let write = only(&harness.report(0, true, vec![load(1, Band::Low, Band::High)]));
    assert!(!write.labels().contains_key(keys::CPU_BAND));
}

#[test]
fn a_conflict_ends_when_the_key_is_gone_from_the_pod() {
    let mut harness = Harness::new(vec![facts(1, 0)]);
    let write = only(&harness.report(0, true, vec![load(1, Band::High, Band::Low)]));
    let rest = writes(&harness.outcome(&write, conflict(&[keys::CPU_BAND]))).remove(0);
    harness.land(&rest);
    assert_eq!(harness.edit(1, |pod| drop(pod.labels.insert(keys::CPU_BAND.into(), "mine".into()))), []);
    let again = only(&harness.edit(1, |pod| drop(pod.labels.remove(keys::CPU_BAND))));
    assert_eq!(again.to, "cpu=high memory=low");
    let actions = harness.outcome(&again, conflict(&[keys::CPU_BAND]));
    assert_eq!(actions, [], "told already, and what is on the pod says it");
    harness.see(0, load(1, Band::High, Band::Low));
    assert_eq!(harness.edit(1, |pod| drop(pod.labels.insert(keys::CPU_BAND.into(), "mine".into()))), []);
    assert_eq!(harness.live(300), []);
}

/// What follows while somebody takes the CPU band of every pod whenever it is written, under another name each time, and gives it back a
/// second later.
fn take_and_give_back(harness: &mut Harness, seconds: u64) -> Vec<Action> {
    let mut all = Vec::new();
    let mut taken: Vec<PodName> = Vec::new();
    for second in 0..seconds {
        let mut actions = harness.wait(1);
        for pod in taken.drain(..) {
            harness.pods.get_mut(&pod).unwrap().labels.remove(keys::CPU_BAND);
            actions.extend(harness.show(&pod));
        }
        if second.is_multiple_of(10) {
            actions.extend(harness.report_all(&node(0)));
        }
        let mut open = writes(&actions);
        all.extend(actions);
        while let Some(write) = open.pop() {
            let next = if write.labels().contains_key(keys::CPU_BAND) {
                let other =
                    KeyConflict { key: keys::CPU_BAND.into(), manager: Some(format!("m{}", write.id)) };
                taken.push(write.pod.clone());
                harness.outcome(&write, WriteResult::Conflict(vec![other]))
            } else {
                harness.land(&write)
            };
            open.extend(writes(&next));
            all.extend(next);
        }
        for pod in &taken {
            harness.pods.get_mut(pod).unwrap().labels.insert(keys::CPU_BAND.into(), "mine".into());
            assert_eq!(harness.show(pod), []);
        }
    }
    for pod in taken {
        harness.pods.get_mut(&pod).unwrap().labels.remove(keys::CPU_BAND);
        let actions = harness.show(&pod);
        all.extend(harness.land_all(actions));
    }
    all
}

#[test]
fn whoever_takes_and_gives_back_a_key_under_ever_other_names_causes_two_writes_in_five_minutes_and_eight_events()
 {
    let mut harness = Harness::new(vec![facts(1, 0)]);
    harness.see(0, load(1, Band::High, Band::Low));
    let mut told = events(&take_and_give_back(&mut harness, 1800)).len();
    let later = take_and_give_back(&mut harness, 1800);
    let tries = writes(&later).len();
    assert!((6..=14).contains(&tries), "{tries} writes in half an hour");
    told += events(&later).len();
    told += events(&take_and_give_back(&mut harness, 3600)).len();
    assert_eq!(told, 8);

    assert_eq!(harness.pods[&name(1)].labels[keys::MEMORY_BAND], "low", "the others are written meanwhile");
    harness.see(0, load(1, Band::High, Band::High));
    harness.live(10);
    assert_eq!(harness.pods[&name(1)].labels[keys::MEMORY_BAND], "high", "and at once");
    harness.live(300);
    assert_eq!(harness.pods[&name(1)].labels[keys::CPU_BAND], "high", "it stopped");
    assert_eq!(harness.core.pod(&name(1)).unwrap().conflicts, []);
}

#[test]
fn an_owner_that_takes_and_gives_back_keys_of_fifty_pods_costs_little_and_delays_no_first_label() {
    let mut harness = Harness::new((0..50).map(|n| facts(n, 0)).collect());
    (0..50).for_each(|n| harness.see(0, load(n, Band::High, Band::Low)));
    take_and_give_back(&mut harness, 1800);
    assert_eq!(harness.core.counts(harness.now()).backing_off, [0, 0, 1]);
    let tries = writes(&take_and_give_back(&mut harness, 600)).len();
    assert!((2..=10).contains(&tries), "{tries} writes in ten minutes");

    let other = PodFacts { pod: PodName::new("bank", "p99"), ..facts(99, 1) };
    harness.show_namespace("bank");
    harness.step(Input::Pods(WatchEvent::Changed(Box::new(other))));
    let write = only(&harness.report(1, true, vec![load(99, Band::Low, Band::Low)]));
    assert_eq!(harness.outcome(&write, WriteResult::written()), []);

    harness.live(600 + 50 / 5);
    let lacking = (0..50).filter(|n| !harness.pods[&name(*n)].labels.contains_key(keys::CPU_BAND)).count();
    assert_eq!(lacking, 0, "it stopped: all are written again within ten minutes");
    harness.live(600);
    assert_eq!(harness.core.counts(harness.now()).backing_off, [0, 0, 0]);
}

#[test]
fn conflicts_on_many_pods_at_once_cause_ten_events_in_a_minute() {
    let mut harness = Harness::new((0..15).map(|n| facts(n, 0)).collect());
    let loads = (0..15).map(|n| load(n, Band::High, Band::Low)).collect();
    let mut open = writes(&harness.report(0, true, loads));
    let mut told = 0;
    for _ in 0..30 {
        while let Some(write) = open.pop() {
            let result = match write.labels().contains_key(keys::CPU_BAND) {
                true => conflict(&[keys::CPU_BAND]),
                false => WriteResult::written(),
            };
            let actions = harness.outcome(&write, result);
            told += events(&actions).len();
            open.extend(writes(&actions));
        }
        open = writes(&harness.wait(1));
    }
    assert_eq!(harness.core.decisions().iter().filter(|decision| decision.outcome == "conflict").count(), 15);
    assert_eq!(told, 10);
}

#[test]
fn a_conflict_with_another_manager_is_told_again() {
    let mut harness = Harness::new(vec![facts(1, 0)]);
    let write = only(&harness.report(0, true, vec![load(1, Band::High, Band::Low)]));
    let rest = writes(&harness.outcome(&write, conflict(&[keys::CPU_BAND]))).remove(0);
    harness.land(&rest);
    harness.edit(1, |pod| drop(pod.labels.insert(keys::CPU_BAND.into(), "mine".into())));
    let again = only(&harness.edit(1, |pod| drop(pod.labels.remove(keys::CPU_BAND))));
    let theirs = KeyConflict { key: keys::CPU_BAND.into(), manager: Some("helm".into()) };
    let actions = harness.outcome(&again, WriteResult::Conflict(vec![theirs]));
    assert!(events(&actions)[0].note.contains("plimsoll.dev/cpu-band (helm)"), "{actions:?}");
}

#[test]
fn a_replica_that_lost_the_lease_announces_no_conflict() {
    let mut harness = Harness::new(vec![facts(1, 0)]);
    let write = only(&harness.report(0, true, vec![load(1, Band::High, Band::Low)]));
    harness.step(Input::Leading(None));
    assert_eq!(harness.outcome(&write, conflict(&[keys::CPU_BAND])), []);
    assert_eq!(harness.core.pod(&name(1)).unwrap().conflicts, [owned(keys::CPU_BAND)]);
}

#[test]
fn the_cure_of_a_conflict_removes_labels_and_annotations_as_what_they_are() {
    let cure = |output| {
        let settings = Settings { output, ..Settings::default() };
        let mut harness = Harness::with(settings, vec![facts(1, 0)], 1);
        let write = only(&harness.report(0, true, vec![load(1, Band::High, Band::Low)]));
        let actions = harness.outcome(&write, conflict(&[keys::CPU_BAND, keys::EVIDENCE]));
        events(&actions)[0].note.split_once("or run: ").unwrap().1.to_owned()
    };
    assert_eq!(
        cure(Output::Labels),
        "kubectl label pod p1 -n shop plimsoll.dev/cpu-band- && kubectl annotate pod p1 -n shop plimsoll.dev/evidence-"
    );
    let annotated = "kubectl annotate pod p1 -n shop plimsoll.dev/cpu-band- plimsoll.dev/evidence-";
    assert_eq!(cure(Output::Annotations), annotated);
}

#[test]
fn a_conflict_about_nothing_we_asked_for_is_a_failure_and_no_loop() {
    let mut harness = Harness::new(vec![facts(1, 0)]);
    let write = only(&harness.report(0, true, vec![load(1, Band::High, Band::Low)]));
    assert_eq!(harness.outcome(&write, conflict(&[])), []);
    assert_eq!(harness.wait(1).len(), 1);
}

#[test]
fn failures_are_tried_again_ever_more_slowly_up_to_a_minute() {
    let mut harness = Harness::new(vec![facts(1, 0)]);
    harness.see(0, load(1, Band::High, Band::Low));
    let mut write = only(&harness.report(0, true, vec![load(1, Band::High, Band::Low)]));
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert_eq!(harness.outcome(&write, WriteResult::Failed(500, "no".into())), []);
        assert_eq!(harness.report(0, true, vec![load(1, Band::High, Band::Low)]), []);
        assert_eq!(harness.wait(wait - 1), [], "{wait}");
        write = only(&harness.wait(1));
    }
    assert_eq!(harness.land(&write), []);
    let write = only(&harness.report(0, true, vec![load(1, Band::Low, Band::Low)]));
    harness.outcome(&write, WriteResult::Failed(500, "no".into()));
    assert_eq!(harness.wait(1).len(), 1, "success began anew");
}

#[test]
fn a_failed_write_says_why_in_its_one_line() {
    let mut harness = Harness::new(vec![facts(1, 0)]);
    let write = only(&harness.report(0, true, vec![load(1, Band::High, Band::Low)]));
    harness.outcome(&write, WriteResult::Failed(422, "the label is not allowed".into()));
    let notes = harness.core.take_notes();
    let told = notes.iter().find_map(|note| match note {
        Note::Decided { decision, problem } => Some((decision.outcome.as_str(), problem.as_deref())),
        _ => None,
    });
    assert_eq!(told, Some(("failed", Some("422: the label is not allowed"))), "{notes:?}");
}

#[test]
fn an_answer_that_never_came_is_checked_against_the_watch() {
    let mut harness = Harness::new(vec![facts(1, 0)]);
    let write = only(&harness.report(0, true, vec![load(1, Band::High, Band::Low)]));
    harness.apply(&write);
    assert_eq!(harness.outcome(&write, WriteResult::NoAnswer), []);
    assert_eq!(harness.show(&name(1)), []);
    assert_eq!(harness.wait(90), [], "it was done after all");
    assert_eq!(harness.core.decisions()[0].outcome, "timeout");
}

#[test]
fn a_write_without_outcome_is_forgotten_after_half_a_minute() {
    let mut harness = Harness::new(vec![facts(1, 0)]);
    let write = only(&harness.report(0, true, vec![load(1, Band::High, Band::Low)]));
    assert_eq!(harness.wait(29), []);
    assert_eq!(harness.core.gauges().in_flight, 1);
    assert_eq!(harness.wait(1), []);
    assert_eq!(harness.core.gauges().in_flight, 0);
    assert_eq!(harness.core.decisions()[0].outcome, "timeout");
    let again = only(&harness.wait(1));
    assert_eq!((again.id, again.reason), (2, Reason::First));
    assert_eq!(harness.outcome(&write, WriteResult::written()), [], "too late to count");
    assert_eq!(harness.core.gauges().in_flight, 1);
}

#[test]
fn a_pod_the_server_does_not_have_is_not_asked_about_again_and_again() {
    let mut harness = Harness::new(vec![facts(1, 0)]);
    let write = only(&harness.report(0, true, vec![load(1, Band::High, Band::Low)]));
    assert_eq!(harness.outcome(&write, WriteResult::Gone), []);
    assert_eq!(harness.wait(59), []);
    assert_eq!(harness.step(Input::Pods(WatchEvent::Deleted(PodKey { pod: name(1), uid: write.uid }))), []);
    assert_eq!(harness.wait(60), []);
}

#[test]
fn an_outcome_for_the_pods_predecessor_does_not_touch_the_pod() {
    let mut harness = Harness::new(vec![facts(1, 0)]);
    let old = only(&harness.report(0, true, vec![load(1, Band::High, Band::Low)]));
    let mut again = facts(2, 0);
    again.pod = name(1);
    harness.step(Input::Pods(WatchEvent::Changed(Box::new(again))));
    let new = only(&harness.report(0, true, vec![load(2, Band::High, Band::Low)]));
    assert_eq!(harness.outcome(&old, WriteResult::written()), []);
    assert_eq!(
        harness.report(0, true, vec![load(2, Band::Low, Band::Low)]),
        [],
        "the new one is still in flight"
    );
    assert_eq!(harness.outcome(&new, WriteResult::written()).len(), 1);
}

#[test]
fn a_basis_of_ours_does_not_stay_under_somebody_elses_band() {
    let mut harness = labeled_low();
    harness.see(0, load(1, Band::Low, Band::Low));
    harness.wait(60);
    let mine = |pod: &mut PodFacts| drop(pod.labels.insert(keys::CPU_BAND.into(), "mine".into()));
    let write = only(&harness.edit(1, mine));
    assert_eq!(write.reason, Reason::Repair);
    let actions = harness.outcome(&write, conflict(&[keys::CPU_BAND]));
    let rest = writes(&actions);
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].labels().keys().collect::<Vec<_>>(), [keys::MEMORY_BAND, keys::MEMORY_BASIS]);
    assert_eq!(harness.outcome(&rest[0], WriteResult::written()), []);
    assert_eq!(harness.wait(50), [], "once, whatever the watch shows");
    harness.apply(&rest[0]);
    assert_eq!(harness.edit(1, mine), []);
    assert_eq!(harness.live(300), [], "and not again after the shortest time between two repairs");
}
