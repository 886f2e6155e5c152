//! Band, basis and evidence belong together, whatever the current numbers are.

use super::*;

fn text(write: &Write) -> &str {
    &write.annotations()[keys::EVIDENCE]
}

/// A report in which the pod idles now, after a burst.
fn idle_after_a_burst() -> PodReport {
    let mut pod = load(1, Band::High, Band::Low);
    pod.cpu.usage = Some(Cores(0.003));
    pod.cpu.utilization = Some(0.006);
    pod.cpu.since = Some("2026-01-01T10:00:02Z".parse().unwrap());
    pod.cpu.cause = Some(Cause {
        rule: Rule::Burst,
        seconds: 8.0,
        bound_by: Some(BoundBy::Limit),
        ..minute(1, Cores(0.498), Cores(0.5))
    });
    pod
}

#[test]
fn the_evidence_says_what_made_the_band_and_not_what_the_load_is_now() {
    let mut harness = Harness::new(vec![facts(1, 0)]);
    let write = only(&harness.report(0, true, vec![idle_after_a_burst()]));
    let expected = "cpu high at 10:00:02Z: burst, 498m of limit 500m for 8 s (app), bound by limit; memory low: 1-minute mean 120Mi of \
                    limit 512Mi (app)";
    assert_eq!(text(&write), expected);
}

#[test]
fn people_see_the_container_of_a_cause_by_its_name() {
    let mut harness = Harness::new(vec![facts(1, 0)]);
    harness.report(0, true, vec![idle_after_a_burst()]);
    let status = harness.core.pod(&name(1)).unwrap();
    let cause = status.cpu.cause.unwrap();
    assert_eq!((cause.container.as_deref(), cause.rule, cause.usage), (Some("app"), Rule::Burst, 0.498));
}

#[test]
fn the_basis_is_that_of_the_cause() {
    let mut harness = Harness::new(vec![facts(1, 0)]);
    let mut pod = load(1, Band::High, Band::Low);
    pod.cpu.basis = Some(Basis::Request);
    let write = only(&harness.report(0, true, vec![pod]));
    assert_eq!(write.labels()[keys::CPU_BASIS], "limit");
    assert!(text(&write).contains("412m of limit 500m"), "{write:?}");
}

#[test]
fn a_new_basis_goes_with_a_write_that_is_sent_anyway() {
    let mut harness = labeled_low();
    let mut pod = load(1, Band::Low, Band::Low);
    pod.cpu.cause.as_mut().unwrap().basis = Basis::Request;
    assert_eq!(harness.report(0, false, vec![pod.clone()]), [], "alone it must last");
    pod.memory.band = Band::High;
    let write = only(&harness.report(0, false, vec![pod]));
    assert_eq!(write.labels()[keys::CPU_BASIS], "request");
    assert!(
        text(&write).starts_with("cpu low at 10:00:05Z: 1-minute mean 412m of request 500m"),
        "{write:?}"
    );
}

#[test]
fn a_band_taken_over_from_the_labels_is_not_explained_by_the_current_load() {
    let mut harness = Harness::new(vec![labeled(1, 0, "high", "low")]);
    let mut pod = load(1, Band::High, Band::High);
    (pod.cpu.cause, pod.cpu.usage) = (None, Some(Cores(0.003)));
    let write = only(&harness.report(0, true, vec![pod]));
    let expected =
        "cpu high at 10:00:05Z: since before the agent restarted, now 3m of limit 500m (app); memory high: ";
    assert!(text(&write).starts_with(expected), "{write:?}");
}

#[test]
fn a_held_band_says_what_made_it_while_the_hottest_candidate_is_not_shown() {
    let mut harness = labeled_low();
    let mut pod = load(1, Band::Low, Band::Low);
    let cause = pod.cpu.cause.clone();
    pod.cpu = CpuLoad { band: Band::Low, cause, ..CpuLoad::default() };
    harness.see(0, pod);
    assert_eq!(harness.live(300), []);
    let status = harness.core.pod(&name(1)).unwrap();
    assert_eq!((status.cpu.band, status.cpu.reason), (Band::Low, None));
}

/// After an agent restarted: the bands of the labels, without causes, and relative to what the load is relative to now.
fn taken_over(memory: Band) -> PodReport {
    let mut pod = load(1, Band::High, memory);
    (pod.cpu.cause, pod.cpu.basis) = (None, Some(Basis::Request));
    pod
}

#[test]
fn the_basis_of_a_band_that_was_taken_over_from_the_label_stays_until_a_cause_is_known() {
    let mut harness = Harness::new(vec![labeled(1, 0, "high", "low")]);
    harness.see(0, taken_over(Band::Low));
    assert_eq!(harness.live(300), []);
    let write = only(&harness.report(0, false, vec![taken_over(Band::High)]));
    assert_eq!(write.labels()[keys::CPU_BASIS], "limit", "also in a write for another reason");
    assert_eq!(harness.land(&write), []);

    let mut pod = taken_over(Band::High);
    pod.cpu.cause = Some(Cause { basis: Basis::Request, ..minute(1, Cores(0.412), Cores(0.25)) });
    harness.see(0, pod);
    let write = only(&harness.live(30));
    assert_eq!(write.labels()[keys::CPU_BASIS], "request");
}

#[test]
fn a_band_that_was_taken_over_has_the_basis_of_its_load_where_the_label_has_none() {
    let mut pod = labeled(1, 0, "high", "low");
    pod.labels.remove(keys::CPU_BASIS);
    let mut harness = Harness::new(vec![pod]);
    let write = only(&harness.report(0, false, vec![taken_over(Band::Low)]));
    assert_eq!(write.labels()[keys::CPU_BASIS], "request");
}

#[test]
fn a_cause_names_its_container_also_after_the_container_restarted() {
    let mut harness = labeled_low();
    harness.edit(1, |pod| pod.containers[0].id = Some(container(77)));
    let mut pod = load(1, Band::Low, Band::High);
    pod.cpu.container = Some(container(77));
    let write = only(&harness.report(0, false, vec![pod.clone()]));
    assert!(text(&write).contains("412m of limit 500m (app)"), "{write:?}");
    harness.report(0, false, vec![pod]);
    let cause = harness.core.pod(&name(1)).unwrap().cpu.cause.unwrap();
    assert_eq!(cause.container.as_deref(), Some("app"));
}

#[test]
fn evidence_does_not_stand_beside_another_managers_basis_as_if_it_were_ours() {
    let mut harness = labeled_low();
    harness.see(0, load(1, Band::Low, Band::Low));
    harness.wait(60);
    let set_basis = |pod: &mut PodFacts| drop(pod.labels.insert(keys::CPU_BASIS.into(), "request".into()));
    let write = only(&harness.edit(1, set_basis));
    let theirs = KeyConflict { key: keys::CPU_BASIS.into(), manager: Some("kubectl-label".into()) };
    let actions = harness.outcome(&write, WriteResult::Conflict(vec![theirs]));
    let rest = only_write(&actions);
    assert_eq!(
        rest.labels().keys().collect::<Vec<_>>(),
        [keys::CPU_BAND, keys::MEMORY_BAND, keys::MEMORY_BASIS]
    );
    let said = "; the label plimsoll.dev/cpu-basis is owned by another manager";
    assert!(text(&rest).ends_with(said), "{rest:?}");
    assert_eq!(harness.outcome(&rest, WriteResult::written()), []);
    harness.apply(&rest);
    assert_eq!(harness.edit(1, set_basis), []);
    assert_eq!(harness.live(300), [], "once, and not again after the shortest time between two repairs");

    let again = only(&harness.edit(1, |pod| drop(pod.labels.remove(keys::CPU_BASIS))));
    assert_eq!(again.labels()[keys::CPU_BASIS], "limit", "given back");
    assert!(!text(&again).contains("another manager"), "{again:?}");
}

/// After a restart of the aggregator, that a key is another manager's is learned anew from the API server. What the pod carries is right.
#[test]
fn evidence_that_already_names_another_managers_key_is_not_written_again() {
    let said = format!(
        "cpu low at 09:00:00Z: no numbers; the label {} is owned by another manager",
        keys::CPU_BASIS
    );
    for (evidence, writes) in [(said, 0), ("cpu low at 09:00:00Z: no numbers".to_owned(), 1)] {
        let mut pod = labeled(1, 0, "low", "low");
        pod.labels.insert(keys::CPU_BASIS.into(), "request".into());
        pod.annotations.insert(keys::EVIDENCE.into(), evidence.clone());
        let mut harness = Harness::new(vec![pod]);
        harness.report(0, true, vec![load(1, Band::Low, Band::Low)]);
        let write = harness.wait(25);
        let theirs = KeyConflict { key: keys::CPU_BASIS.into(), manager: Some("kubectl-label".into()) };
        let refused = only_write(&write);
        let mut actions = harness.outcome(&refused, WriteResult::Conflict(vec![theirs]));
        actions.extend(harness.wait(5));
        let again = actions.iter().filter(|action| matches!(action, Action::Write(_))).count();
        assert_eq!(again, writes, "{evidence}");
    }
}
