//! What the core decides, tested through [`Core::step`]. [`Harness`] is a small cluster: it keeps the pods, reports their loads, and
//! responds to the core's actions as an API server would.

mod alone;
mod announcing;
mod evidence;
mod fairness;
mod freshness;
mod identity;
mod joining;
mod order;
mod pace;
mod properties;
mod resizing;
mod scale;
mod silence;
mod trouble;
mod unreadable;
mod writing;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use plimsoll_contract::load::{BoundBy, Cause, CpuLoad, MemoryLoad, Rule, UnknownReason};
use plimsoll_contract::report::{Capacity, ContainerCpu, ContainerReport, PodReport, VERSION};
use plimsoll_contract::roster::ContainerKind;
use plimsoll_contract::status::KeyConflict;
use plimsoll_contract::{
    Band, Basis, Bytes, ContainerId, Cores, Moment, NodeName, PodName, PodUid, Report, keys,
};

use super::{Core, Settings};
use crate::action::{Action, Change, KubeEvent, Reason, Subject, Write};
use crate::facts::{ContainerFacts, Ignore, NamespaceFacts, NodeFacts, PodFacts, Resources};
use crate::input::{Input, Now, Outcome, PodKey, PodVersion, WatchEvent, WriteResult};
use crate::settings::Output;

/// A small cluster.
pub(super) struct Harness {
    pub(super) core: Core,
    pub(super) at: Duration,
    pub(super) seq: u64,
    /// What the API server holds.
    pub(super) pods: BTreeMap<PodName, PodFacts>,
    /// What the nodes' agents see.
    pub(super) loads: BTreeMap<NodeName, BTreeMap<PodUid, PodReport>>,
    /// Everything that went in and came out, as a recording has it: input and actions, in JSON.
    pub(super) recorded: Option<Vec<(String, String)>>,
}

pub(super) fn node(n: usize) -> NodeName {
    NodeName::new(&format!("n{n}")).unwrap()
}

pub(super) fn name(n: usize) -> PodName {
    PodName::new("shop", &format!("p{n}"))
}

pub(super) fn uid(n: usize) -> PodUid {
    PodUid::new(&format!("{n:08x}-0000-4000-8000-000000000000")).unwrap()
}

pub(super) fn container(n: usize) -> ContainerId {
    ContainerId::new(&format!("{n:064x}")).unwrap()
}

/// Pod `n` on node `on`, with one container, `app`.
pub(super) fn facts(n: usize, on: usize) -> PodFacts {
    PodFacts {
        cgroup_uid: Some(uid(n)),
        node: Some(node(on)),
        containers: vec![ContainerFacts {
            name: "app".into(),
            kind: ContainerKind::App,
            id: Some(container(n)),
            running: true,
            terminated: false,
            restarts: 0,
            spec: Resources { cpu_request: Some(Cores(0.25)), ..Resources::default() },
            allocated: None,
            actual: None,
            cpu_resize_policy: None,
            memory_resize_policy: None,
            extended: false,
            oom_killed_at: None,
        }],
        controller: Some("ReplicaSet/p".into()),
        ..PodFacts::bare("shop", &format!("p{n}"), uid(n).as_str())
    }
}

/// Pod `n` as it is after these bands were written.
pub(super) fn labeled(n: usize, on: usize, cpu: &str, memory: &str) -> PodFacts {
    let mut facts = facts(n, on);
    for (band, basis, value) in
        [(keys::CPU_BAND, keys::CPU_BASIS, cpu), (keys::MEMORY_BAND, keys::MEMORY_BASIS, memory)]
    {
        facts.labels.insert(band.into(), value.into());
        if value != "unknown" {
            facts.labels.insert(basis.into(), "limit".into());
        }
    }
    facts
}

pub(super) fn cpu(band: Band) -> CpuLoad {
    CpuLoad {
        band,
        basis: Some(Basis::Limit),
        utilization: Some(0.82),
        usage: Some(Cores(0.412)),
        of: Some(Cores(0.5)),
        ..CpuLoad::default()
    }
}

pub(super) fn memory(band: Band) -> MemoryLoad {
    MemoryLoad {
        band,
        basis: Some(Basis::Limit),
        utilization: Some(0.23),
        usage: Some(Bytes(120 << 20)),
        of: Some(Bytes(512 << 20)),
        ..MemoryLoad::default()
    }
}

/// The mean of a minute in the container of pod `n`, relative to its limit.
pub(super) fn minute<A>(n: usize, usage: A, of: A) -> Cause<A> {
    Cause {
        rule: Rule::Mean,
        seconds: 60.0,
        usage,
        basis: Basis::Limit,
        of,
        container: Some(container(n)),
        bound_by: None,
        request: None,
        working_set: None,
    }
}

/// What an agent says of pod `n`: known bands, of its limits, of its container, and what made them.
pub(super) fn load(n: usize, cpu_band: Band, memory_band: Band) -> PodReport {
    let cpu_cause = Cause { bound_by: Some(BoundBy::Limit), ..minute(n, Cores(0.412), Cores(0.5)) };
    let cpu = CpuLoad { container: Some(container(n)), cause: Some(cpu_cause), ..cpu(cpu_band) };
    let memory_cause = minute(n, Bytes(120 << 20), Bytes(512 << 20));
    let memory =
        MemoryLoad { container: Some(container(n)), cause: Some(memory_cause), ..memory(memory_band) };
    let watched = ContainerCpu { bound_by: Some(BoundBy::Limit), ..ContainerCpu::default() };
    let containers = vec![ContainerReport {
        id: container(n),
        cpu: watched,
        memory: Default::default(),
        limits_age: None,
        window: None,
    }];
    PodReport { uid: uid(n), cpu, memory, containers, cgroup: None }
}

pub(super) fn no_cpu(reason: UnknownReason) -> CpuLoad {
    CpuLoad { reason: Some(reason), ..CpuLoad::default() }
}

pub(super) fn no_memory(reason: UnknownReason) -> MemoryLoad {
    MemoryLoad { reason: Some(reason), ..MemoryLoad::default() }
}

pub(super) fn namespace(name: &str) -> NamespaceFacts {
    NamespaceFacts::bare(name)
}

pub(super) fn nodes_listed(nodes: impl IntoIterator<Item = NodeName>) -> Input {
    let facts = nodes.into_iter().map(|node| NodeFacts::bare(node.as_str()));
    Input::Nodes(WatchEvent::Listed(facts.collect()))
}

pub(super) fn node_changed(node: &NodeName) -> Input {
    Input::Nodes(WatchEvent::Changed(Box::new(NodeFacts::bare(node.as_str()))))
}

/// A report as it arrives from the agent of its node.
pub(super) fn reported(report: Report) -> Input {
    reported_by(&agent(&report.node), report)
}

/// A report from the agent's pod with this uid.
pub(super) fn reported_by(agent: &str, report: Report) -> Input {
    Input::Reported { agent: agent.to_owned(), report: Box::new(report) }
}

/// The uid of the agent's pod on a node.
pub(super) fn agent(node: &NodeName) -> String {
    format!("agent-{node}")
}

impl Write {
    pub(crate) fn labels(&self) -> &BTreeMap<String, String> {
        let Change::Labels { labels, .. } = &self.change else { panic!("{self:?}") };
        labels
    }

    pub(crate) fn annotations(&self) -> &BTreeMap<String, String> {
        let Change::Labels { annotations, .. } = &self.change else { panic!("{self:?}") };
        annotations
    }
}

pub(super) fn writes(actions: &[Action]) -> Vec<Write> {
    let write = |action: &Action| match action {
        Action::Write(write) => Some(write.clone()),
        Action::Publish(_) => None,
    };
    actions.iter().filter_map(write).collect()
}

pub(super) fn events(actions: &[Action]) -> Vec<KubeEvent> {
    let event = |action: &Action| match action {
        Action::Write(_) => None,
        Action::Publish(event) => Some(event.clone()),
    };
    actions.iter().filter_map(event).collect()
}

/// The only write among Events.
pub(super) fn only_write(actions: &[Action]) -> Write {
    let writes = writes(actions);
    assert_eq!(writes.len(), 1, "{actions:#?}");
    writes.into_iter().next().unwrap()
}

/// The only action there is, a write.
pub(super) fn only(actions: &[Action]) -> Write {
    assert_eq!(actions.len(), 1, "{actions:#?}");
    writes(actions).remove(0)
}

/// A write in short: `transition cpu=low memory=low -> cpu=high memory=low`.
pub(super) fn short(write: &Write) -> String {
    let reason = serde_json::to_value(write.reason).unwrap();
    format!("{} {} -> {}", reason.as_str().unwrap(), write.from, write.to)
}

/// In no window more writes than the burst and the rate.
fn check_budget(sent: &[Duration]) {
    for (i, from) in sent.iter().enumerate() {
        for (count, to) in sent[i..].iter().enumerate() {
            let most = 20.0 + 5.03 * (*to - *from).as_secs_f64();
            assert!((count + 1) as f64 <= most, "{} writes in {:?}", count + 1, *to - *from);
        }
    }
}

impl Harness {
    /// A synced leader that knows these pods and the nodes n0 and n1: too few for the silence guard.
    pub(super) fn new(pods: Vec<PodFacts>) -> Harness {
        Harness::with(Settings { process: 1000 << 12, ..Settings::default() }, pods, 2)
    }

    pub(super) fn with(settings: Settings, pods: Vec<PodFacts>, nodes: usize) -> Harness {
        let mut harness = Harness::unsynced(settings, pods.clone());
        let inputs = [
            Input::Pods(WatchEvent::Listed(pods)),
            nodes_listed((0..nodes).map(node)),
            Input::Namespaces(WatchEvent::Listed(vec![namespace("shop")])),
            Input::Paused(false),
            Input::Leading(Some(7)),
        ];
        for input in inputs {
            assert_eq!(harness.step(input), []);
        }
        harness
    }

    /// The watch shows a namespace.
    pub(super) fn show_namespace(&mut self, name: &str) {
        self.step(Input::Namespaces(WatchEvent::Changed(Box::new(namespace(name)))));
    }

    pub(super) fn unsynced(settings: Settings, pods: Vec<PodFacts>) -> Harness {
        Harness {
            core: Core::new(settings),
            at: Duration::from_secs(5),
            seq: 0,
            pods: pods.into_iter().map(|p| (p.pod.clone(), p)).collect(),
            loads: BTreeMap::new(),
            recorded: None,
        }
    }

    pub(super) fn now(&self) -> Now {
        let start: Timestamp = "2026-01-01T10:00:00Z".parse().unwrap();
        Now { at: Moment(self.at), wall: start + self.at }
    }

    pub(super) fn step(&mut self, input: Input) -> Vec<Action> {
        let line = self.recorded.is_some().then(|| serde_json::to_string(&(self.now(), &input)).unwrap());
        let actions = self.core.step(self.now(), input).actions;
        if let (Some(recorded), Some(line)) = (&mut self.recorded, line) {
            recorded.push((line, serde_json::to_string(&actions).unwrap()));
        }
        actions
    }

    /// What was recorded gives the same actions again, byte for byte.
    pub(super) fn check_replay(&self, settings: Settings) {
        let mut core = Core::new(settings);
        for (line, actions) in self.recorded.as_ref().unwrap() {
            let (now, input): (Now, Input) = serde_json::from_str(line).unwrap();
            assert_eq!(&serde_json::to_string(&core.step(now, input).actions).unwrap(), actions);
        }
    }

    /// Whether a report would be accepted.
    pub(super) fn admits(&self, report: &Report) -> Result<(), crate::rejection::Rejection> {
        let now = Now { at: self.core.now, ..self.now() };
        self.core.state.admit(now, &agent(&report.node), report, &self.core.settings)
    }

    /// Lets time pass with nothing but ticks.
    pub(super) fn wait(&mut self, seconds: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        for _ in 0..seconds {
            self.at += Duration::from_secs(1);
            actions.extend(self.step(Input::Tick));
        }
        actions
    }

    /// Lets time pass while the agents report every ten seconds, and every write is answered.
    pub(super) fn live(&mut self, seconds: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        for _ in 0..seconds {
            let mut fresh = self.wait(1);
            if self.at.as_secs().is_multiple_of(10) {
                let nodes: Vec<NodeName> = self.loads.keys().cloned().collect();
                for node in nodes {
                    fresh.extend(self.report_all(&node));
                }
            }
            actions.extend(self.land_all(fresh));
        }
        actions
    }

    /// Has every write done and seen, and those that follow from it; all of them.
    pub(super) fn land_all(&mut self, actions: Vec<Action>) -> Vec<Action> {
        let mut open: std::collections::VecDeque<_> = writes(&actions).into();
        let mut all = actions;
        while let Some(write) = open.pop_front() {
            let next = self.land(&write);
            open.extend(writes(&next));
            all.extend(next);
        }
        all
    }

    /// One report of these pods of node `on`.
    pub(super) fn report(&mut self, on: usize, full: bool, pods: Vec<PodReport>) -> Vec<Action> {
        let report = self.next_report(on, full, pods);
        self.step(reported(report))
    }

    pub(super) fn next_report(&mut self, on: usize, full: bool, pods: Vec<PodReport>) -> Report {
        self.seq += 1;
        Report {
            version: VERSION,
            node: node(on),
            boot: format!("boot-{on}"),
            seq: self.seq,
            full,
            roster_version: 0,
            roster_process: None,
            capacity: Capacity {
                cores: Cores(4.0),
                bytes: Bytes(8 << 30),
                cpus: None,
                available_bytes: None,
            },
            pods,
        }
    }

    fn report_all(&mut self, on: &NodeName) -> Vec<Action> {
        let pods = self.loads[on].values().cloned().collect();
        let on = on.as_str()[1..].parse().unwrap();
        self.report(on, true, pods)
    }

    /// What the agent of node `on` sees from now on; nothing is reported yet.
    pub(super) fn see(&mut self, on: usize, pod: PodReport) {
        self.loads.entry(node(on)).or_default().insert(pod.uid.clone(), pod);
    }

    pub(super) fn outcome(&mut self, write: &Write, result: WriteResult) -> Vec<Action> {
        let took = Duration::from_millis(12);
        self.step(Input::Outcome(Outcome { write: write.id, result, took }))
    }

    /// The write is done, answered, and shown by the watch.
    pub(super) fn land(&mut self, write: &Write) -> Vec<Action> {
        self.apply(write);
        let generation = self.pods.get(&write.pod).and_then(|pod| pod.generation);
        let version = PodVersion { resource_version: Some(format!("after-{}", write.id)), generation };
        let mut actions = self.outcome(write, WriteResult::Written(version));
        actions.extend(self.show(&write.pod));
        actions
    }

    /// What the API server does with a write.
    pub(super) fn apply(&mut self, write: &Write) {
        let Some(pod) = self.pods.get_mut(&write.pod).filter(|pod| pod.uid == write.uid) else {
            return;
        };
        match &write.change {
            Change::Labels { labels, annotations } => {
                pod.labels.retain(|key, _| !keys::WRITTEN_LABELS.contains(&key.as_str()));
                pod.labels.extend(labels.clone());
                pod.annotations.clear();
                pod.annotations.extend(annotations.clone());
            }
            Change::Resize(patch) => resizing::apply(pod, patch),
            Change::Probe(_) => {}
        }
    }

    /// The watch shows a pod as it is.
    pub(super) fn show(&mut self, pod: &PodName) -> Vec<Action> {
        match self.pods.get(pod).cloned() {
            Some(facts) => self.step(Input::Pods(WatchEvent::Changed(Box::new(facts)))),
            None => Vec::new(),
        }
    }

    /// Somebody changes a pod, and the watch shows it.
    pub(super) fn edit(&mut self, n: usize, edit: impl FnOnce(&mut PodFacts)) -> Vec<Action> {
        edit(self.pods.get_mut(&name(n)).unwrap());
        self.show(&name(n))
    }
}

/// Pod 1 on node 0, labeled low and low by reports of ours.
pub(super) fn labeled_low() -> Harness {
    let mut harness = Harness::new(vec![facts(1, 0)]);
    let write = only(&harness.report(0, true, vec![load(1, Band::Low, Band::Low)]));
    assert_eq!(write.reason, Reason::First);
    assert_eq!(harness.land(&write), []);
    harness
}
