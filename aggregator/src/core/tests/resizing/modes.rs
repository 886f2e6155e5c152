//! What is written of a resize in each output mode and each mode of a class, and what stays when our keys are withdrawn.

use super::*;
use crate::input::RefusalKind;

#[test]
fn a_class_that_recommends_is_asked_about_and_nothing_is_written() {
    let mut harness = Harness::resizing(vec![sized(1)]);
    harness.step(classes([Policy { mode: Mode::Recommend, ..gold() }]));
    let actions = harness.throttled(1);
    let probe = writes(&actions).into_iter().find(|write| matches!(write.change, Change::Probe(_)));
    // The labels of a pod go first.
    let label = only_write(&actions);
    assert_eq!((label.reason, probe), (Reason::First, None));
    assert!(!label.annotations().contains_key(keys::DECISION));
    let probe = only(&harness.land(&label));
    let Change::Probe(patch) = &probe.change else { panic!("{probe:?}") };
    assert!(patch.containers["app"].cpu.limit > Some(500) && patch.resource_version.is_none(), "{patch:?}");
    assert_eq!((probe.reason, probe.action()), (Reason::Recommend, "probe"));
    let refused = WriteResult::Refused(RefusalKind::Quota, "exceeded quota: compute".into());
    assert_eq!(harness.outcome(&probe, refused), []);
    let status = harness.core.pod(&name(1)).unwrap().resize.unwrap();
    assert_eq!(status.mode, "Recommend");
    assert_eq!(status.verdict.as_deref(), Some("refused: quota: exceeded quota: compute"));
    for _ in 0..30 {
        assert_eq!(harness.wait(5), []);
        assert_eq!(harness.throttled(1), [], "the same size is not asked about again");
    }
    // Less used: another size.
    let pod = harness.seen(1, 0.35, 0.1);
    let again = only(&harness.report(0, false, vec![pod]));
    assert_eq!(again.action(), "probe");
    assert_eq!(harness.land(&again), []);
    let accepted = harness.core.pod(&name(1)).unwrap().resize.unwrap();
    assert_eq!(accepted.verdict.as_deref(), Some("accepted"));
    assert_eq!(harness.throttled(1), [], "and not within a minute");
    assert_eq!(harness.size(1), sizes_of(&sized(1).containers[0].spec));
}

#[test]
fn with_metrics_as_the_only_output_the_record_is_written_and_no_band() {
    let mut harness =
        Harness::resizing_with(Settings { output: Output::Metrics, ..settings() }, vec![sized(1)]);
    let record = only(&harness.throttled(1));
    assert_eq!(record.labels().len(), 0);
    let annotations: Vec<_> = record.annotations().keys().map(String::as_str).collect();
    assert_eq!(annotations, [keys::DECISION, keys::EPOCH, keys::ORIGINAL_RESOURCES]);
    assert!(only(&harness.land(&record)).is_resize());
}

#[test]
fn with_annotations_as_the_output_the_bands_go_with_the_record() {
    let mut harness =
        Harness::resizing_with(Settings { output: Output::Annotations, ..settings() }, vec![sized(1)]);
    let record = only(&harness.throttled(1));
    assert_eq!(record.labels().len(), 0);
    assert_eq!(record.annotations()[keys::CPU_BAND], "high");
    assert!(record.annotations().contains_key(keys::ORIGINAL_RESOURCES));
}

#[test]
fn a_pod_that_is_ignored_after_a_resize_keeps_the_record_of_it() {
    let mut harness = Harness::resizing(vec![sized(1)]);
    let actions = harness.throttled(1);
    harness.land_all(actions);
    harness.kubelet(1);
    let actions = harness.calm(1, 0.4);
    harness.land_all(actions);
    let withdrawn =
        only_write(&harness.edit(1, |pod| drop(pod.labels.insert(keys::IGNORE.into(), "true".into()))));
    assert_eq!((withdrawn.reason, withdrawn.labels().len()), (Reason::Withdrawn, 0));
    let annotations: Vec<_> = withdrawn.annotations().keys().map(String::as_str).collect();
    assert_eq!(annotations, [keys::DECISION, keys::EPOCH, keys::ORIGINAL_RESOURCES]);
    assert_eq!(harness.land(&withdrawn), []);
    harness.step(Input::Leading(None));
    assert_eq!(harness.step(Input::Leading(Some(9))), [], "nor by the next leader");
    assert_eq!(writes(&harness.throttled(1)), [], "and it is not resized any more");
}

#[test]
fn the_record_goes_with_the_next_write_once_the_pod_has_its_original_size_again() {
    let mut harness = Harness::resizing(vec![sized(1)]);
    let actions = harness.throttled(1);
    harness.land_all(actions);
    harness.kubelet(1);
    harness.calm(1, 0.68);
    let original = sized(1).containers[0].spec;
    harness.edit(1, |pod| {
        pod.containers[0].spec = original;
        pod.generation = pod.generation.map(|generation| generation + 1);
    });
    harness.kubelet(1);
    harness.wait(60);
    let write = only_write(&harness.calm(1, 0.05));
    assert_eq!((write.reason, write.to.as_str()), (Reason::Transition, "cpu=low memory=low"));
    let annotations: Vec<_> = write.annotations().keys().map(String::as_str).collect();
    assert_eq!(annotations, [keys::EPOCH, keys::EVIDENCE]);
}
