//! Resizes, from the report that calls for one to the kernel that holds it: two writes, the record and the resize, among those of labels. The
//! kubelet acts when a test says so ([`Harness::kubelet`]); the numbers of a report are those of the kernel then.

pub(super) mod cost;
mod down;
mod field;
mod modes;
mod order;
mod probes;
mod properties;
mod recording;
mod sharing;
mod takeover;
mod trouble;

use plimsoll_contract::Limit;
use plimsoll_contract::report::{ContainerMemory, MemoryEvents};
use plimsoll_contract::resize::{PodResources, ResizeDecision};
use plimsoll_sizing::policy::{Mode, Policy};
use plimsoll_sizing::size::Sizes;

use super::*;
use crate::action::ResizePatch;
use crate::core::Note;
use crate::facts::{ClassFacts, ConditionFacts};
use crate::ledger::ClassRow;
use crate::resize::sizes_of;
use crate::settings::ResizeSettings;

const MI: u64 = 1 << 20;

fn settings() -> Settings {
    let resize = ResizeSettings { enabled: true, ..ResizeSettings::default() };
    Settings { process: 1000 << 12, resize, ..Settings::default() }
}

fn classes(policies: impl IntoIterator<Item = Policy>) -> Input {
    let class = |policy: Policy| ClassFacts {
        name: policy.class.clone(),
        uid: None,
        generation: Some(1),
        policy: Ok(policy),
    };
    Input::Classes(WatchEvent::Listed(policies.into_iter().map(class).collect()))
}

fn gold() -> Policy {
    Policy::builtin("gold").unwrap()
}

/// Node `n`, ready, with 64 cores and 64 GiB.
fn ready(n: usize) -> NodeFacts {
    let ready = ConditionFacts {
        kind: "Ready".into(),
        status: "True".into(),
        reason: None,
        message: None,
        observed_generation: None,
    };
    NodeFacts {
        allocatable_cpu: Some(Cores(64.0)),
        allocatable_memory: Some(Bytes(64 << 30)),
        conditions: vec![ready],
        ..NodeFacts::bare(node(n).as_str())
    }
}

/// What a leader hears first.
fn beginning(pods: Vec<PodFacts>) -> impl Iterator<Item = Input> {
    let inputs = [
        Input::Pods(WatchEvent::Listed(pods)),
        nodes_listed((0..2).map(node)),
        Input::Namespaces(WatchEvent::Listed(vec![namespace("shop")])),
        Input::Paused(false),
        Input::Leading(Some(7)),
    ];
    inputs.into_iter().chain(surroundings())
}

/// What a synced leader that resizes is told beside the pods.
fn surroundings() -> Vec<Input> {
    vec![
        Input::Nodes(WatchEvent::Changed(Box::new(ready(0)))),
        Input::Nodes(WatchEvent::Changed(Box::new(ready(1)))),
        Input::Autoscalers(WatchEvent::Listed(Vec::new())),
        Input::Quotas(WatchEvent::Listed(Vec::new())),
        Input::LimitRanges(WatchEvent::Listed(Vec::new())),
        classes(["gold", "silver", "bronze"].map(|name| Policy::builtin(name).unwrap())),
    ]
}

/// Pod `n` on node 0, of the class gold: 250m and 500m of CPU, 128Mi and 256Mi of memory, and the kubelet has given that.
fn sized(n: usize) -> PodFacts {
    let mut pod = facts(n, 0);
    pod.labels.insert(keys::SLA.into(), "gold".into());
    pod.qos = Some("Burstable".into());
    (pod.generation, pod.observed_generation) = (Some(1), Some(1));
    let spec = Resources {
        cpu_request: Some(Cores(0.25)),
        cpu_limit: Some(Cores(0.5)),
        memory_request: Some(Bytes(128 * MI)),
        memory_limit: Some(Bytes(256 * MI)),
    };
    let app = &mut pod.containers[0];
    (app.spec, app.actual) = (spec, Some(spec));
    app.allocated = Some(Resources { cpu_limit: None, memory_limit: None, ..spec });
    pod
}

/// What the API server does with a resize.
pub(super) fn apply(pod: &mut PodFacts, patch: &ResizePatch) {
    let cores = |millicores: u64| Cores(millicores as f64 / 1000.0);
    for (name, sizes) in patch.containers.iter().chain(&patch.init_containers) {
        let container = pod.containers.iter_mut().find(|container| container.name == *name).unwrap();
        let Sizes { cpu, memory } = *sizes;
        let spec = &mut container.spec;
        spec.cpu_request = cpu.request.map(cores).or(spec.cpu_request);
        spec.cpu_limit = cpu.limit.map(cores).or(spec.cpu_limit);
        spec.memory_request = memory.request.map(Bytes).or(spec.memory_request);
        spec.memory_limit = memory.limit.map(Bytes).or(spec.memory_limit);
    }
    pod.generation = pod.generation.map(|generation| generation + 1);
}

/// What a kubelet says of a pod once it does what the spec says.
fn obey(pod: &mut PodFacts) {
    for container in &mut pod.containers {
        let spec = container.spec;
        container.actual = Some(spec);
        container.allocated = Some(Resources { cpu_limit: None, memory_limit: None, ..spec });
    }
    pod.observed_generation = pod.generation;
}

impl Harness {
    /// A synced leader that resizes these pods.
    fn resizing(pods: Vec<PodFacts>) -> Harness {
        Harness::resizing_with(settings(), pods)
    }

    fn resizing_with(settings: Settings, pods: Vec<PodFacts>) -> Harness {
        let mut harness = Harness::with(settings, pods, 2);
        for input in surroundings() {
            assert_eq!(harness.step(input), []);
        }
        harness
    }

    /// The ledger, counted in small pages.
    fn ledger(&self) -> Vec<ClassRow> {
        let mut pods = BTreeMap::new();
        let mut last = self.core.count_classes(None, 2, &mut pods);
        while let Some(after) = last {
            last = self.core.count_classes(Some(&after), 2, &mut pods);
        }
        self.core.ledger(&pods)
    }

    /// The kubelet of pod `n` does what its spec says.
    fn kubelet(&mut self, n: usize) -> Vec<Action> {
        self.edit(n, obey)
    }

    /// What the agent sees of pod `n`: this use of CPU, throttled in this share of the periods, of the limit in the kernel.
    fn seen(&self, n: usize, cores: f64, throttled: f64) -> PodReport {
        let kernel = self.pods[&name(n)].containers[0].actual.unwrap();
        let limit = kernel.cpu_limit.unwrap();
        let band = if cores / limit.0 >= 0.66 { Band::High } else { Band::Low };
        let mut pod = load(n, band, Band::Low);
        let app = &mut pod.containers[0];
        app.cpu = ContainerCpu {
            cores: Some(Cores(cores)),
            limit_cores: Some(Limit::Of(limit)),
            throttled: Some(throttled),
            throttled2: Some(throttled),
            throttled3: Some(throttled),
            mean3: Some(Cores(cores)),
            utilization3: Some(cores / limit.0),
            pressure: Some(0.0),
            p95: Some(Cores(cores)),
            peak: Some(Cores(cores)),
            bound_by: Some(if throttled > 0.0 { BoundBy::Limit } else { BoundBy::None }),
        };
        app.memory = ContainerMemory {
            working_set: Some(Bytes(60 * MI)),
            unreclaimable: Some(Bytes(60 * MI)),
            unreclaimable2: Some(Bytes(60 * MI)),
            growth: Some(0.0),
            limit: kernel.memory_limit.map(Limit::Of),
            pressure: Some(0.0),
            events: Some(MemoryEvents { high: Some(0), max: Some(0), oom_kill: Some(0) }),
            events_delta: None,
            peak: Some(Bytes(60 * MI)),
        };
        (app.limits_age, app.window) = (Some(0.0), Some(7200.0));
        pod
    }

    /// A report in which pod `n` is throttled at its limit.
    fn throttled(&mut self, n: usize) -> Vec<Action> {
        let limit = self.pods[&name(n)].containers[0].actual.unwrap().cpu_limit.unwrap();
        let pod = self.seen(n, limit.0, 0.8);
        self.report(0, false, vec![pod])
    }

    /// A report in which pod `n` uses this much and nothing holds it back.
    fn calm(&mut self, n: usize, cores: f64) -> Vec<Action> {
        let pod = self.seen(n, cores, 0.0);
        self.report(0, false, vec![pod])
    }

    fn size(&self, n: usize) -> Sizes {
        sizes_of(&self.pods[&name(n)].containers[0].spec)
    }

    fn resize_state(&self, n: usize) -> String {
        self.core.pod(&name(n)).unwrap().resize.unwrap().state
    }

    /// The notes about resizes of the last step: purpose and outcome.
    fn noted(&mut self) -> Vec<String> {
        let notes = self.core.take_notes();
        let resizes = notes.iter().filter_map(|note| match note {
            Note::Resize { purpose, outcome, .. } => Some(format!("{purpose} {outcome}")),
            _ => None,
        });
        resizes.collect()
    }
}

impl Write {
    fn resize(&self) -> &ResizePatch {
        let Change::Resize(patch) = &self.change else { panic!("{self:?}") };
        patch
    }

    fn is_resize(&self) -> bool {
        matches!(self.change, Change::Resize(_))
    }
}

fn resizes(actions: &[Action]) -> Vec<Write> {
    writes(actions).into_iter().filter(Write::is_resize).collect()
}

/// What a label write records of a resize.
fn recorded(write: &Write) -> ResizeDecision {
    serde_json::from_str(&write.annotations()[keys::DECISION]).unwrap()
}

#[test]
fn a_throttled_pod_is_recorded_resized_and_verified_in_the_kernel() {
    let mut harness = Harness::resizing(vec![sized(1)]);
    let record = only(&harness.throttled(1));
    assert_eq!((record.reason, record.from.as_str()), (Reason::Grow, "app cpu=250m/500m"));
    assert_eq!(record.labels()[keys::CPU_BAND], "high", "the labels that are due go with it");
    let original: PodResources =
        serde_json::from_str(&record.annotations()[keys::ORIGINAL_RESOURCES]).unwrap();
    assert_eq!(original["app"].limits["cpu"], "500m");
    assert_eq!(original["app"].requests["memory"], "128Mi");
    let decision = recorded(&record);
    assert_eq!((decision.reason.as_str(), decision.class.as_str()), ("grow", "gold"));
    assert!(decision.why.contains("throttle") && decision.why.contains("gold"), "{}", decision.why);

    let resize = only(&harness.land(&record));
    assert_eq!(resize.reason, Reason::Grow);
    let patch = resize.resize();
    assert_eq!(patch.resource_version.as_deref(), Some(&*format!("after-{}", record.id)));
    let asked = patch.containers["app"];
    assert!(asked.cpu.limit > Some(500) && asked.cpu.request > Some(250), "{asked:?}");
    assert_eq!((asked.memory, patch.containers.len()), (Default::default(), 1), "nothing else is asked for");
    assert_eq!(harness.land(&resize), []);
    assert_eq!(harness.resize_state(1), "accepted");

    assert_eq!(harness.throttled(1), [], "the kernel has the old limit: that calls for nothing more");
    harness.at += Duration::from_millis(400);
    assert_eq!(harness.kubelet(1), []);
    harness.at += Duration::from_millis(200);
    let told = events(&harness.calm(1, 0.68));
    assert_eq!((told.len(), told[0].reason.as_str(), told[0].warning), (1, "ResizeVerified", false));
    assert!(
        told[0].note.starts_with("Resized in place (grow), as its node says, 0.6 s after"),
        "{}",
        told[0].note
    );
    let notes = harness.core.take_notes();
    let took = notes.iter().find_map(|note| match note {
        Note::Resize { class, purpose: "grow", outcome: "verified", took } => Some((class.as_str(), *took)),
        _ => None,
    });
    assert_eq!(took, Some(("gold", Some(Duration::from_millis(600)))), "{notes:?}");
    assert_eq!(harness.resize_state(1), "verified");
    let decisions = harness.core.decisions();
    let shown: Vec<_> =
        decisions.iter().map(|d| (d.action.as_str(), d.reason.as_str(), d.outcome.as_str())).collect();
    let expected = [
        ("resize", "resize_verified", "verified"),
        ("resize", "grow", "written"),
        ("record", "grow", "written"),
    ];
    assert_eq!(shown, expected);
    assert_eq!(decisions[0].to, told[0].note, "one text for the Event and the decision");
    let ledger = harness.ledger();
    let row = ledger.iter().find(|row| row.name == "gold").unwrap();
    assert_eq!((row.counts.pods, row.counts.grown, row.counts.shrunk), (1, 1, 0));
}

#[test]
fn the_status_of_a_pod_says_its_sizes_the_arithmetic_and_the_last_resize() {
    let mut harness = Harness::resizing(vec![sized(1)]);
    let record = only(&harness.throttled(1));
    let status = harness.core.pod(&name(1)).unwrap().resize.unwrap();
    assert_eq!((status.mode.as_str(), status.state.as_str(), status.refusal), ("Apply", "planned", None));
    assert_eq!(status.wanted["app"].limits.keys().collect::<Vec<_>>(), ["cpu"], "only what differs");
    assert!(
        status.why.iter().any(|line| line.starts_with("app limit +500m (500->1000)")),
        "{:?}",
        status.why
    );
    let app = &status.containers[0];
    assert_eq!(
        (app.spec.limits["cpu"].as_str(), app.kernel_cpu, app.cpu_use),
        ("500m", Some(0.5), Some(0.5))
    );
    assert_eq!((app.kernel_memory, app.memory_use), (Some(256 * MI), Some(60 * MI)));
    assert_eq!((status.original, status.last), (None, None));
    let resize = only(&harness.land(&record));
    harness.land(&resize);
    harness.throttled(1);
    let status = harness.core.pod(&name(1)).unwrap().resize.unwrap();
    assert_eq!(
        (status.state.as_str(), status.refusal),
        ("accepted", None),
        "a resize that is under way refuses nothing"
    );
    assert_eq!(status.original.unwrap()["app"].limits["cpu"], "500m");
    assert_eq!(status.last.unwrap().reason, "grow");
}

#[test]
fn a_pod_that_was_never_planned_says_why() {
    let (mut pending, mut typo) = (sized(1), sized(2));
    pending.node = None;
    typo.labels.insert(keys::SLA.to_owned(), "glod".to_owned());
    typo.node = None;
    let harness = Harness::resizing(vec![pending, typo, sized(3)]);
    let refusal = |n| harness.core.pod(&name(n)).unwrap().resize.unwrap().refusal;
    assert_eq!([1, 2].map(refusal), ["not_running", "unknown_class"].map(|word| Some(word.to_owned())));
    let third = harness.core.pod(&name(3)).unwrap().resize.unwrap();
    assert!(third.refused.is_some() && third.wanted.is_empty(), "no report has named it: {third:?}");
}

#[test]
fn a_second_growth_waits_for_the_cooldown_and_is_planned_when_it_is_over() {
    let mut harness = Harness::resizing(vec![sized(1)]);
    let actions = harness.throttled(1);
    harness.land_all(actions);
    harness.kubelet(1);
    // Still throttled; it reports every 4 s.
    let mut grown = Vec::new();
    for second in 1..=14 {
        let mut actions = harness.wait(1);
        if second % 4 == 0 {
            actions.extend(harness.throttled(1));
        }
        let all = harness.land_all(actions);
        grown.extend(resizes(&all).iter().map(|_| second));
        if second == 8 {
            let status = harness.core.pod(&name(1)).unwrap().resize.unwrap();
            assert_eq!((status.refusal, status.refused), (None, None), "to wait is not to be refused");
            assert!(
                status.why[0].ends_with("it grew too recently: may grow again in 2 s"),
                "{:?}",
                status.why
            );
            let mut counts = harness.core.counts(harness.now());
            harness.core.count_pods(None, 10, &mut counts);
            assert_eq!(counts.resize_refusals.get("cooldown"), Some(&1));
        }
    }
    assert_eq!(grown, [10], "10 s after the first, from a report of two seconds before");
}

#[test]
fn a_sidecar_is_resized_among_the_init_containers() {
    let mut pod = sized(1);
    let mut proxy = pod.containers[0].clone();
    (proxy.name, proxy.kind, proxy.id) = ("proxy".into(), ContainerKind::Sidecar, Some(container(99)));
    pod.containers.push(proxy);
    let mut harness = Harness::resizing(vec![pod]);
    let mut report = harness.seen(1, 0.1, 0.0);
    let mut busy = harness.seen(1, 0.5, 0.8).containers.remove(0);
    busy.id = container(99);
    report.containers.push(busy);
    let record = only(&harness.report(0, false, vec![report]));
    let patch = only(&harness.land(&record)).resize().clone();
    assert_eq!(patch.init_containers.keys().collect::<Vec<_>>(), ["proxy"]);
    assert_eq!(patch.containers.len(), 0);
}

#[test]
fn without_the_flag_nothing_is_resized() {
    let mut harness = Harness::new(vec![sized(1)]);
    for input in surroundings() {
        harness.step(input);
    }
    let write = only(&harness.throttled(1));
    assert_eq!((write.reason, write.annotations().contains_key(keys::DECISION)), (Reason::First, false));
    assert_eq!(harness.land(&write), []);
    assert_eq!(harness.throttled(1), []);
    assert_eq!(harness.core.pod(&name(1)).unwrap().resize, None);
}

#[test]
fn a_run_with_resizes_is_replayed_byte_for_byte_from_its_inputs() {
    let mut harness = Harness::unsynced(settings(), vec![sized(1), sized(2)]);
    harness.recorded = Some(Vec::new());
    for input in beginning(harness.pods.values().cloned().collect()) {
        harness.step(input);
    }
    for round in 0..40 {
        for n in [1, 2] {
            let actions = if round % 3 == 0 { harness.throttled(n) } else { harness.calm(n, 0.3) };
            let mut open: std::collections::VecDeque<_> = writes(&actions).into();
            while let Some(write) = open.pop_front() {
                let next = match round % 7 {
                    3 => harness.outcome(&write, WriteResult::NoAnswer),
                    5 if write.is_resize() => {
                        let stale = crate::input::RefusalKind::Stale;
                        harness.outcome(&write, WriteResult::Refused(stale, "modified".into()))
                    }
                    _ => harness.land(&write),
                };
                open.extend(writes(&next));
            }
            harness.kubelet(n);
        }
        let actions = harness.wait(4);
        harness.land_all(actions);
    }
    let recorded = harness.recorded.take().unwrap();
    assert!(recorded.iter().filter(|(_, actions)| actions.contains("\"Resize\"")).count() >= 3);
    let mut core = Core::new(settings());
    for (line, actions) in &recorded {
        let (now, input): (Now, Input) = serde_json::from_str(line).unwrap();
        assert_eq!(&serde_json::to_string(&core.step(now, input).actions).unwrap(), actions);
    }
}
