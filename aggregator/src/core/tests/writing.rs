//! What is written: the complete set, once, with its evidence.

use super::*;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn the_first_write_carries_the_complete_set_and_the_numbers() {
    let mut harness = Harness::new(vec![facts(1, 0)]);
    let write = only(&harness.report(0, true, vec![load(1, Band::High, Band::Low)]));
    let labels = [
        (keys::CPU_BAND, "high"),
        (keys::CPU_BASIS, "limit"),
        (keys::MEMORY_BAND, "low"),
        (keys::MEMORY_BASIS, "limit"),
    ];
    let evidence = "cpu high at 10:00:05Z: 1-minute mean 412m of limit 500m (app), bound by limit; memory low: 1-minute mean 120Mi of \
                    limit 512Mi (app)";
    assert_eq!(
        write,
        Write {
            id: 1,
            pod: name(1),
            uid: uid(1).as_str().into(),
            node: Some(node(0)),
            epoch: 7,
            change: Change::Labels {
                labels: map(&labels),
                annotations: map(&[(keys::EVIDENCE, evidence), (keys::EPOCH, "7")]),
            },
            from: "cpu=- memory=-".into(),
            to: "cpu=high memory=low".into(),
            reason: Reason::First,
        }
    );
    assert_eq!(harness.land(&write), []);
    assert_eq!(harness.wait(20), []);
}

#[test]
fn other_numbers_in_the_same_bands_write_nothing() {
    let mut harness = labeled_low();
    let mut pod = load(1, Band::Low, Band::Low);
    pod.cpu.utilization = Some(0.1);
    pod.cpu.usage = Some(Cores(0.05));
    harness.see(0, pod);
    assert_eq!(harness.live(600), []);
}

#[test]
fn a_band_that_changes_is_written_at_once_and_once() {
    let mut harness = labeled_low();
    let write = only(&harness.report(0, false, vec![load(1, Band::High, Band::Low)]));
    assert_eq!(short(&write), "transition cpu=low memory=low -> cpu=high memory=low");
    assert_eq!(harness.report(0, true, vec![load(1, Band::High, Band::Low)]), [], "in flight");
    assert_eq!(harness.land(&write), []);
    assert_eq!(harness.report(0, true, vec![load(1, Band::High, Band::Low)]), []);
}

#[test]
fn the_newest_band_wins_when_the_write_is_sent() {
    let mut harness = labeled_low();
    harness.step(Input::Paused(true));
    assert_eq!(harness.report(0, false, vec![load(1, Band::Moderate, Band::Low)]), []);
    assert_eq!(harness.report(0, false, vec![load(1, Band::High, Band::Low)]), []);
    let write = only_write(&harness.step(Input::Paused(false)));
    assert_eq!(short(&write), "transition cpu=low memory=low -> cpu=high memory=low");
    let write = only(&{
        harness.report(0, false, vec![load(1, Band::Moderate, Band::Low)]);
        harness.land(&write)
    });
    assert_eq!(short(&write), "transition cpu=high memory=low -> cpu=moderate memory=low");
}

#[test]
fn a_change_taken_back_while_withheld_writes_nothing() {
    let mut harness = labeled_low();
    harness.step(Input::Paused(true));
    harness.report(0, false, vec![load(1, Band::High, Band::Low)]);
    harness.report(0, false, vec![load(1, Band::Low, Band::Low)]);
    assert_eq!(writes(&harness.step(Input::Paused(false))), []);
    assert_eq!(harness.wait(30), []);
}

#[test]
fn the_first_write_waits_for_the_second_resource() {
    let mut harness = Harness::new(vec![facts(1, 0)]);
    let mut pod = load(1, Band::Low, Band::Low);
    pod.memory = no_memory(UnknownReason::WarmingUp);
    assert_eq!(harness.report(0, true, vec![pod]), []);
    assert_eq!(harness.wait(9), []);
    let write = only(&harness.report(0, true, vec![load(1, Band::Low, Band::Moderate)]));
    assert_eq!(short(&write), "first cpu=- memory=- -> cpu=low memory=moderate");
}

#[test]
fn a_resource_that_will_never_be_known_is_called_unknown_beside_a_known_one() {
    let mut harness = Harness::new(vec![facts(1, 0)]);
    let mut pod = load(1, Band::Low, Band::Low);
    pod.memory = no_memory(UnknownReason::NoController);
    harness.report(0, true, vec![pod.clone()]);
    assert_eq!(harness.wait(14), []);
    let write = only(&harness.wait(1));
    assert_eq!(short(&write), "first cpu=- memory=- -> cpu=low memory=unknown");
    let labels = [(keys::CPU_BAND, "low"), (keys::CPU_BASIS, "limit"), (keys::MEMORY_BAND, "unknown")];
    assert_eq!(*write.labels(), map(&labels));
    assert!(
        write.annotations()[keys::EVIDENCE].ends_with("; memory unknown: the node does not account for it"),
        "{write:?}"
    );
    assert_eq!(harness.land(&write), []);
    harness.see(0, pod);
    assert_eq!(harness.live(300), []);
}

#[test]
fn a_pod_of_which_nothing_was_ever_known_gets_no_label() {
    let mut harness = Harness::new(vec![facts(1, 0), facts(2, 0)]);
    let mut pod = load(1, Band::Low, Band::Low);
    (pod.cpu, pod.memory) = (no_cpu(UnknownReason::NoController), no_memory(UnknownReason::Denied));
    harness.see(0, pod);
    assert_eq!(harness.live(400), []);
    harness.loads.clear();
    assert_eq!(writes(&harness.live(400)), []);
}

#[test]
fn another_basis_under_the_same_band_is_written_once_it_lasted() {
    let mut harness = labeled_low();
    let relative_to = |basis| {
        let mut pod = load(1, Band::Low, Band::Low);
        pod.cpu.basis = Some(basis);
        pod.cpu.cause.as_mut().unwrap().basis = basis;
        vec![pod]
    };
    assert_eq!(harness.report(0, false, relative_to(Basis::Request)), []);
    assert_eq!(harness.wait(9), []);
    let write = only(&harness.wait(1));
    assert_eq!(
        short(&write),
        "transition cpu=low/limit memory=low/limit -> cpu=low/request memory=low/limit"
    );
    assert_eq!(harness.land(&write), []);

    harness.report(0, false, relative_to(Basis::Limit));
    harness.wait(5);
    harness.report(0, false, relative_to(Basis::Request));
    assert_eq!(harness.wait(30), [], "it did not last");
}

#[test]
fn a_band_without_its_basis_claims_nothing() {
    let mut harness = Harness::new(vec![facts(1, 0)]);
    let mut pod = load(1, Band::Low, Band::Low);
    (pod.cpu.basis, pod.cpu.cause) = (None, None);
    harness.report(0, true, vec![pod]);
    let write = only(&harness.wait(15));
    assert_eq!(short(&write), "first cpu=- memory=- -> cpu=unknown memory=low");
}

#[test]
fn a_restart_and_a_relist_write_nothing_where_labels_agree() {
    let pods: Vec<PodFacts> = (1..200).map(|n| labeled(n, n % 2, "low", "moderate")).collect();
    let mut harness = Harness::new(pods.clone());
    for n in 1..200 {
        harness.see(n % 2, load(n, Band::Low, Band::Moderate));
    }
    assert_eq!(harness.live(60), []);
    assert_eq!(harness.step(Input::Pods(WatchEvent::Listed(pods))), []);
    assert_eq!(harness.step(Input::Leading(Some(8))), []);
    assert_eq!(harness.live(300), []);
}

#[test]
fn a_label_taken_off_comes_back_after_a_minute_and_ever_more_slowly_if_it_is_taken_off_again() {
    let mut harness = labeled_low();
    harness.see(0, load(1, Band::Low, Band::Low));
    let remove = |facts: &mut PodFacts| drop(facts.labels.remove(keys::CPU_BAND));
    for wait in [60, 120, 240, 300, 300] {
        assert_eq!(harness.edit(1, remove), []);
        assert_eq!(harness.live(wait - 1), []);
        let write = only(&harness.live(1));
        assert_eq!(short(&write), "repair cpu=- memory=low -> cpu=low memory=low", "{wait}");
    }
    assert_eq!(harness.live(4 * 300), []);
    assert_eq!(harness.edit(1, remove).len(), 1, "calm for long: at once");
    let write = harness.core.decisions().remove(0);
    assert_eq!((write.reason.as_str(), write.outcome.as_str()), ("repair", "sent"));
}

#[test]
fn a_watch_far_behind_causes_no_second_write() {
    let mut harness = Harness::new(vec![facts(1, 0)]);
    let pod = load(1, Band::Low, Band::Low);
    let write = only(&harness.report(0, true, vec![pod.clone()]));
    assert_eq!(harness.outcome(&write, WriteResult::written()), []);
    for _ in 0..6 {
        assert_eq!(harness.wait(10), []);
        assert_eq!(harness.show(&name(1)), [], "the watch still shows the pod without labels");
        assert_eq!(harness.report(0, true, vec![pod.clone()]), []);
    }
    harness.apply(&write);
    assert_eq!(harness.show(&name(1)), []);
    assert_eq!(harness.edit(1, |f| f.labels.clear()).len(), 1, "shown once, then taken off");
}

#[test]
fn what_was_recorded_before_a_resize_is_kept_by_every_write() {
    let mut pod = facts(1, 0);
    pod.annotations =
        map(&[(keys::ORIGINAL_RESOURCES, "{}"), (keys::DECISION, "{\"a\":1}"), (keys::BOUNDS, "{}")]);
    let mut harness = Harness::new(vec![pod]);
    let write = only(&harness.report(0, true, vec![load(1, Band::Low, Band::Low)]));
    let mut annotations = write.annotations().clone();
    annotations.remove(keys::EVIDENCE);
    let kept = [(keys::EPOCH, "7"), (keys::ORIGINAL_RESOURCES, "{}"), (keys::DECISION, "{\"a\":1}")];
    assert_eq!(annotations, map(&kept), "the user's bounds are not ours to write");
}

#[test]
fn bands_may_go_into_annotations_instead() {
    let settings = Settings { output: Output::Annotations, ..Settings::default() };
    let mut harness = Harness::with(settings, vec![facts(1, 0)], 1);
    let write = only(&harness.report(0, true, vec![load(1, Band::High, Band::Low)]));
    assert_eq!(*write.labels(), BTreeMap::new());
    assert_eq!(write.annotations()[keys::CPU_BAND], "high");
    assert_eq!(write.annotations().len(), 6);
    assert_eq!(harness.land(&write), []);
    assert_eq!(harness.report(0, true, vec![load(1, Band::High, Band::Low)]), []);
    assert_eq!(harness.core.pod(&name(1)).unwrap().labeled.cpu, Some(Band::High));
}

#[test]
fn with_metrics_as_the_only_output_nothing_is_written() {
    let settings = Settings { output: Output::Metrics, ..Settings::default() };
    let mut gone = labeled(2, 0, "low", "low");
    gone.finished = true;
    let mut harness = Harness::with(settings, vec![facts(1, 0), gone], 1);
    harness.see(0, load(1, Band::High, Band::Low));
    assert_eq!(harness.live(300), []);
}

#[test]
fn the_epoch_alone_writes_nothing_and_goes_with_the_next_write() {
    let mut harness = labeled_low();
    assert_eq!(harness.step(Input::Leading(None)), []);
    assert_eq!(harness.step(Input::Leading(Some(9))), []);
    let write = only(&harness.report(0, false, vec![load(1, Band::High, Band::Low)]));
    assert_eq!(write.annotations()[keys::EPOCH], "9");
}

#[test]
fn a_decision_tells_its_outcome() {
    let mut harness = labeled_low();
    let decisions = harness.core.decisions();
    let decision = &decisions[0];
    assert_eq!((decision.outcome.as_str(), decision.took_ms, decisions.len()), ("written", Some(12), 1));
    assert_eq!((decision.reason.as_str(), decision.to.as_str()), ("first", "cpu=low memory=low"));
    assert_eq!(harness.core.pod(&name(1)).unwrap().last.as_ref(), Some(&**decision));
    harness.report(0, false, vec![load(1, Band::High, Band::Low)]);
    assert_eq!(harness.core.decisions()[0].outcome, "sent");
}
