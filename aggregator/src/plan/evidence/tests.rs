//! The sentences, word for word.

use plimsoll_contract::load::UnknownReason;

use super::*;
use crate::facts::PodFacts;
use crate::labels::BandLabel;
use crate::writes::Owned;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    at("2026-01-01T10:00:30Z")
}

const MI: f64 = 1024.0 * 1024.0;

/// What an agent says of a band of the pod's own cgroup, which is called `pod`.
fn cause(rule: Rule, seconds: f64, usage: f64, basis: Basis, of: f64) -> Cause<f64> {
    Cause {
        rule,
        seconds,
        usage,
        basis,
        of,
        container: None,
        bound_by: None,
        request: None,
        working_set: None,
    }
}

fn loaded(band: Band, cause: Option<Cause<f64>>) -> ResourceLoad<f64> {
    let since = Some(at("2026-01-01T10:00:05Z"));
    ResourceLoad { band, basis: Some(Basis::Limit), since, cause, ..ResourceLoad::default() }
}

fn pod() -> Pod {
    Pod::new(plimsoll_contract::Moment::default(), PodFacts::bare("shop", "web", "u"))
}

/// The evidence of a pod whose labels say what its loads say.
fn told(pod: &Pod) -> String {
    let label =
        |load: &ResourceLoad<f64>| BandLabel { band: Some(load.band), basis: load.basis, unparsable: false };
    let labels = PodLabels { cpu: label(&pod.cpu.load), memory: label(&pod.memory.load) };
    describe(pod, &labels.without(&pod.writes.conflicts), Output::Labels, now())
}

/// What is said of the CPU alone.
fn cpu(load: ResourceLoad<f64>) -> String {
    let mut pod = pod();
    pod.cpu.load = load;
    told(&pod).split("; ").next().unwrap().to_owned()
}

/// What is said of the memory beside a CPU of which nothing is known.
fn memory(load: ResourceLoad<f64>) -> String {
    let mut pod = pod();
    pod.memory.load = load;
    told(&pod).split("; ").nth(1).unwrap().to_owned()
}

#[test]
fn a_burst_and_a_mean_are_said_with_their_numbers_and_how_long_they_took() {
    let burst = cause(Rule::Burst, 8.2, 0.498, Basis::Limit, 0.5);
    let bound = Cause { bound_by: Some(BoundBy::Limit), ..burst.clone() };
    let expected = "cpu high at 10:00:05Z: burst, 498m of limit 500m for 8 s (pod), bound by limit";
    assert_eq!(cpu(loaded(Band::High, Some(bound))), expected);
    let free = Cause { bound_by: Some(BoundBy::None), ..burst };
    let expected = "cpu high at 10:00:05Z: burst, 498m of limit 500m for 8 s (pod)";
    assert_eq!(cpu(loaded(Band::High, Some(free))), expected);
    for (seconds, words) in
        [(60.0, "1-minute"), (59.98, "1-minute"), (120.3, "2-minute"), (10.0, "10 s"), (90.0, "90 s")]
    {
        let mean = cause(Rule::Mean, seconds, 0.12, Basis::Limit, 0.5);
        let expected = format!("cpu low at 10:00:05Z: {words} mean 120m of limit 500m (pod)");
        assert_eq!(cpu(loaded(Band::Low, Some(mean))), expected);
    }
}

#[test]
fn a_request_that_is_too_small_is_said_beside_what_it_counts_as() {
    let mean = cause(Rule::Mean, 60.0, 0.017, Basis::Request, 0.05);
    let small = Cause { request: Some(0.01), ..mean };
    let expected = "cpu moderate at 10:00:05Z: 1-minute mean 17m of request 10m, counted as 50m (pod)";
    assert_eq!(cpu(loaded(Band::Moderate, Some(small.clone()))), expected);
    let burst = Cause { rule: Rule::Burst, seconds: 8.0, usage: 0.05, ..small };
    let expected = "cpu high at 10:00:05Z: burst, 50m of request 10m, counted as 50m, for 8 s (pod)";
    assert_eq!(cpu(loaded(Band::High, Some(burst))), expected);
}

/// After a restart of the agent there is no cause: the numbers are the current ones.
#[test]
fn a_request_that_is_too_small_is_said_where_only_the_current_numbers_are_known() {
    let load = ResourceLoad {
        basis: Some(Basis::Request),
        usage: Some(0.017),
        of: Some(0.05),
        request: Some(0.01),
        ..loaded(Band::Moderate, None)
    };
    let expected = "cpu moderate at 10:00:05Z: since before the agent restarted, now 17m of request 10m, counted as 50m (pod)";
    assert_eq!(cpu(load), expected);
}

#[test]
fn a_request_is_not_said_where_the_basis_is_another() {
    let mean = cause(Rule::Mean, 60.0, 0.017, Basis::Limit, 0.05);
    let expected = "cpu low at 10:00:05Z: 1-minute mean 17m of limit 50m (pod)";
    assert_eq!(cpu(loaded(Band::Low, Some(Cause { request: Some(0.01), ..mean }))), expected);
}

#[test]
fn memory_is_said_with_its_working_set_where_that_is_another_number() {
    let mean = cause(Rule::Mean, 60.0, 50.0 * MI, Basis::Limit, 64.0 * MI);
    let without_since = |cause| ResourceLoad { since: None, ..loaded(Band::High, Some(cause)) };
    assert_eq!(memory(without_since(mean.clone())), "memory high: 1-minute mean 50Mi of limit 64Mi (pod)");
    let more = Cause { working_set: Some(61.0 * MI), ..mean };
    let expected = "memory high: 1-minute mean 50Mi of limit 64Mi (pod), working set 61Mi";
    assert_eq!(memory(without_since(more)), expected);
}

#[test]
fn a_second_band_has_a_time_where_it_is_another_and_a_date_on_another_day() {
    let mut pod = pod();
    pod.cpu.load = loaded(Band::Low, Some(cause(Rule::Mean, 60.0, 0.1, Basis::Limit, 0.5)));
    pod.memory.load = loaded(Band::Low, Some(cause(Rule::Mean, 60.0, MI, Basis::Node, 64.0 * MI)));
    let (cpu, memory) = ("1-minute mean 100m of limit 500m (pod)", "1-minute mean 1Mi of node 64Mi (pod)");
    assert_eq!(told(&pod), format!("cpu low at 10:00:05Z: {cpu}; memory low: {memory}"));
    pod.memory.load.since = Some(at("2026-01-01T09:12:00Z"));
    assert_eq!(told(&pod), format!("cpu low at 10:00:05Z: {cpu}; memory low at 09:12:00Z: {memory}"));
    pod.memory.load.since = Some(at("2025-12-30T09:12:00Z"));
    let expected = format!("cpu low at 10:00:05Z: {cpu}; memory low at 2025-12-30T09:12:00Z: {memory}");
    assert_eq!(told(&pod), expected);
    pod.memory.load = ResourceLoad::unknown(Some(UnknownReason::NotRunning));
    let unknown = "memory unknown at 10:00:30Z: no container is running";
    assert_eq!(told(&pod), format!("cpu low at 10:00:05Z: {cpu}; {unknown}"), "written later than the first");
}

#[test]
fn a_first_reading_has_no_duration() {
    let first = cause(Rule::Mean, 0.0, 8.0 * MI, Basis::Limit, 64.0 * MI);
    let load = ResourceLoad { since: None, ..loaded(Band::Low, Some(first)) };
    assert_eq!(memory(load), "memory low: 8Mi of limit 64Mi (pod)");
}

#[test]
fn a_band_without_a_cause_claims_none() {
    let taken_over = ResourceLoad {
        since: None,
        usage: Some(0.003),
        of: Some(0.05),
        bound_by: Some(BoundBy::Limit),
        ..loaded(Band::High, None)
    };
    let expected = "cpu high at 10:00:30Z: since before the agent restarted, now 3m of limit 50m (pod)";
    assert_eq!(cpu(taken_over), expected);
    let expected = "cpu high at 10:00:05Z: since before the agent restarted";
    assert_eq!(cpu(loaded(Band::High, None)), expected);
}

#[test]
fn an_unknown_band_has_the_words_of_the_command_line_and_the_time_at_which_it_is_written() {
    let unknown = |reason| ResourceLoad {
        since: Some(at("2026-01-01T10:00:05Z")),
        ..ResourceLoad::unknown(Some(reason))
    };
    let expected = "cpu unknown at 10:00:30Z: no container is running";
    assert_eq!(cpu(unknown(UnknownReason::NotRunning)), expected);
    for reason in UnknownReason::ALL {
        assert_eq!(memory(unknown(reason)), format!("memory unknown: {}", reason.words()));
    }
    let mut pod = pod();
    pod.cpu.load = unknown(UnknownReason::NotRunning);
    let stays = BandLabel { band: Some(Band::High), basis: Some(Basis::Limit), unparsable: false };
    let labels = PodLabels { cpu: stays, ..PodLabels::default() };
    let expected = "cpu high at 10:00:30Z: last known, now no container is running";
    assert_eq!(describe(&pod, &labels, Output::Labels, now()), expected);
}

#[test]
fn a_label_of_another_manager_is_called_that() {
    let mut pod = pod();
    pod.cpu.load = loaded(Band::Low, Some(cause(Rule::Mean, 60.0, 0.1, Basis::Limit, 0.5)));
    let owned = Owned { manager: Some("helm".into()), shown: true };
    pod.writes.conflicts.insert(keys::CPU_BASIS.to_owned(), owned.clone());
    let cpu = "cpu low at 10:00:05Z: 1-minute mean 100m of limit 500m (pod)";
    let foreign = "the label plimsoll.dev/cpu-basis is owned by another manager";
    assert_eq!(told(&pod), format!("{cpu}; memory unknown at 10:00:30Z: no report; {foreign}"));
    pod.writes.conflicts = [(keys::CPU_BAND.to_owned(), owned)].into();
    let foreign = "the label plimsoll.dev/cpu-band is owned by another manager";
    assert_eq!(told(&pod), format!("memory unknown at 10:00:30Z: no report; {foreign}"));
}
