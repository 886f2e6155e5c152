//! Random histories of a cluster that fails in every way we can think of, against what must always hold: writes only where
//! they may be and only what is known, no effect of repetition, never above the budget, everything right in the end, and
//! the same again from a recording.

use std::collections::BTreeSet;

use plimsoll_contract::{Resource, rejection::PodRejection};
use proptest::prelude::*;

use super::*;
use event::{Edit, Event, Fate, event};

mod event;

const NODES: usize = 3;
const PODS: usize = 7;
/// The pod in `kube-system`.
const SYSTEM: usize = 6;

struct Model {
    harness: Harness,
    /// What the watch showed last.
    shown: BTreeMap<PodName, PodFacts>,
    lag: bool,
    behind: BTreeSet<PodName>,
    fate: Fate,
    /// Pods whose `cpu-band` is somebody else's.
    owned: BTreeSet<PodName>,
    ignored: bool,
    /// What was last truthfully said of a pod's CPU and memory, and when.
    said: BTreeMap<String, [Option<(Band, Duration)>; 2]>,
    /// The labels of the last write to a pod that was answered, and when: believed until the watch shows them.
    answered: BTreeMap<String, (BTreeMap<String, String>, Duration)>,
    sent: Vec<Duration>,
    unanswered: BTreeMap<u64, Duration>,
    born: usize,
}

fn pod_name(n: usize) -> PodName {
    if n == SYSTEM { PodName::new("kube-system", "p6") } else { name(n) }
}

/// Pod `n` with the identity `id`.
fn born(n: usize, id: usize) -> PodFacts {
    PodFacts { pod: pod_name(n), ..facts(id, n % NODES) }
}

/// One pod's load: 0 warming up, 1 to 3 bands, 4 no controller, 5 impossible, 6 without basis and cause, 7 held: a cause, and no load now.
fn said(id: usize, cpu_kind: u8, memory_kind: u8) -> PodReport {
    let band = |kind: u8| Band::ALL[usize::from(kind.min(3))];
    let mut pod = load(id, band(cpu_kind), band(memory_kind));
    match cpu_kind {
        0 => pod.cpu = no_cpu(UnknownReason::WarmingUp),
        4 => pod.cpu = no_cpu(UnknownReason::NoController),
        5 => pod.cpu.usage = Some(Cores(1e308)),
        6 => (pod.cpu.basis, pod.cpu.cause) = (None, None),
        7 => pod.cpu = CpuLoad { band: pod.cpu.band, cause: pod.cpu.cause, ..CpuLoad::default() },
        _ => {}
    }
    match memory_kind {
        0 => pod.memory = no_memory(UnknownReason::Failed),
        4 => pod.memory = no_memory(UnknownReason::NoController),
        5 => pod.memory.utilization = Some(-1.0),
        6 => (pod.memory.basis, pod.memory.cause) = (None, None),
        7 => {
            pod.memory =
                MemoryLoad { band: pod.memory.band, cause: pod.memory.cause, ..MemoryLoad::default() }
        }
        _ => {}
    }
    pod
}

impl Model {
    fn new() -> Model {
        let pods: Vec<PodFacts> = (0..PODS).map(|n| born(n, n)).collect();
        let mut harness = Harness::unsynced(Settings::default(), pods.clone());
        harness.recorded = Some(Vec::new());
        let mut model = Model {
            harness,
            shown: pods.iter().map(|p| (p.pod.clone(), p.clone())).collect(),
            lag: false,
            behind: BTreeSet::new(),
            fate: Fate::Done,
            owned: BTreeSet::new(),
            ignored: false,
            said: BTreeMap::new(),
            answered: BTreeMap::new(),
            sent: Vec::new(),
            unanswered: BTreeMap::new(),
            born: 100,
        };
        model.feed(Input::Pods(WatchEvent::Listed(pods)));
        model.feed(nodes_listed((0..NODES).map(node)));
        model.feed(Input::Namespaces(WatchEvent::Listed(vec![namespace("shop")])));
        model.feed(Input::Paused(false));
        model.feed(Input::Leading(Some(3)));
        model
    }

    /// One input, twice: the second time it must do nothing.
    fn feed(&mut self, input: Input) {
        let actions = self.harness.step(input.clone());
        assert_eq!(self.harness.step(input), [], "a repetition has an effect");
        for write in writes(&actions) {
            self.check(&write);
        }
        for write in writes(&actions) {
            self.answer(&write);
        }
    }

    /// A write only where it may be, and only what is known or already there.
    fn check(&mut self, write: &Write) {
        assert_eq!(self.harness.core.withheld(), None);
        let shown = &self.shown[&write.pod];
        assert_eq!(shown.uid, write.uid);
        assert!(!shown.terminating, "{write:?}");
        assert_eq!(write.pod.namespace.as_ref(), "shop", "{write:?}");
        let alone = self.ignored || shown.finished || shown.labels.contains_key(keys::IGNORE);
        assert_eq!(write.reason == Reason::Withdrawn, alone, "{write:?}");
        let truth = self.said.get(&write.uid).copied().unwrap_or_default();
        for (resource, truth) in Resource::ALL.into_iter().zip(truth) {
            let key = keys::band_label(resource);
            let Some(band) = write.labels().get(key).map(|word| word.parse::<Band>().unwrap()) else {
                continue;
            };
            let there = [Some(shown), self.harness.pods.get(&write.pod)].into_iter().flatten();
            // after a write without an answer, neither the watch nor the API server shows what is believed
            let believed = self.answered.get(&write.uid);
            let believed = believed.filter(|(_, at)| self.harness.at - *at <= Duration::from_secs(90));
            let there = there.map(|pod| &pod.labels).chain(believed.map(|(labels, _)| labels));
            let carried = there.filter_map(|labels| labels.get(key)).any(|value| value == band.as_str());
            let fresh = truth
                .is_some_and(|(said, at)| said == band && self.harness.at - at <= Duration::from_secs(150));
            assert!(!band.is_known() || fresh || carried, "{write:?} but {truth:?}");
            assert!(
                band.is_known()
                    || truth.is_none_or(
                        |(said, at)| !said.is_known() || self.harness.at - at >= Duration::from_secs(119)
                    ),
                "{write:?} but {truth:?}"
            );
        }
        self.sent.push(self.harness.at);
        self.unanswered.insert(write.id, self.harness.at);
        let end = self.harness.at;
        self.unanswered.retain(|_, at| *at + Duration::from_secs(30) > end);
        assert!(self.unanswered.len() <= 4, "more than four in flight");
    }

    fn answer(&mut self, write: &Write) {
        let conflict = self.owned.contains(&write.pod) && write.labels().contains_key(keys::CPU_BAND);
        let gone = self.harness.pods.get(&write.pod).is_none_or(|pod| pod.uid != write.uid);
        let done = matches!(self.fate, Fate::Done | Fate::DoneUnanswered) && !conflict && !gone;
        if done {
            self.apply(write);
        }
        let result = match self.fate {
            Fate::Done | Fate::DoneUnanswered if gone => WriteResult::Gone,
            Fate::Done | Fate::DoneUnanswered if conflict => {
                WriteResult::Conflict(vec![KeyConflict { key: keys::CPU_BAND.into(), manager: None }])
            }
            Fate::Done => WriteResult::written(),
            Fate::DoneUnanswered | Fate::Lost => WriteResult::NoAnswer,
            Fate::Failed => WriteResult::Failed(500, "no".into()),
            Fate::Throttled => WriteResult::Throttled(Some(Duration::from_secs(3))),
            Fate::NeverAnswered => return,
        };
        self.unanswered.remove(&write.id);
        if result == WriteResult::written() {
            self.answered.insert(write.uid.clone(), (write.labels().clone(), self.harness.at));
        }
        let took = Duration::from_millis(5);
        self.feed(Input::Outcome(Outcome { write: write.id, result, took }));
        if done {
            self.show(&write.pod);
        }
    }

    fn apply(&mut self, write: &Write) {
        let others = self.owned.contains(&write.pod);
        let pod = self.harness.pods.get_mut(&write.pod).unwrap();
        pod.labels.retain(|key, _| match key.as_str() {
            keys::CPU_BAND => others,
            key => !keys::WRITTEN_LABELS.contains(&key),
        });
        pod.labels.extend(write.labels().clone());
        pod.annotations = write.annotations().clone();
    }

    fn show(&mut self, pod: &PodName) {
        if self.lag {
            self.behind.insert(pod.clone());
            return;
        }
        match self.harness.pods.get(pod).cloned() {
            Some(facts) => {
                self.shown.insert(pod.clone(), facts.clone());
                self.feed(Input::Pods(WatchEvent::Changed(Box::new(facts))));
            }
            None => {
                if let Some(old) = self.shown.remove(pod) {
                    self.feed(Input::Pods(WatchEvent::Deleted(PodKey { pod: pod.clone(), uid: old.uid })));
                }
            }
        }
    }

    fn catch_up(&mut self) {
        self.lag = false;
        for pod in std::mem::take(&mut self.behind) {
            self.show(&pod);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Report { on, full, loads } => self.report(on, full, &loads),
            Event::Wait(seconds) => self.wait(seconds),
            Event::Edit(n, edit) => self.edit(n, edit),
            Event::Relist => self.relist(),
            Event::Lag(true) => self.lag = true,
            Event::Lag(false) => self.catch_up(),
            Event::Pause(paused) => self.feed(Input::Paused(paused)),
            Event::Lead(lead) => self.feed(Input::Leading(lead.then_some(4))),
            Event::IgnoreNamespace(ignored) => {
                self.ignored = ignored;
                let ignore = if ignored { Ignore::Yes } else { Ignore::Invalid("no".into()) };
                self.feed(Input::Namespaces(WatchEvent::Changed(Box::new(NamespaceFacts {
                    ignore,
                    ..namespace("shop")
                }))));
            }
            Event::Node(n, true) => self.feed(node_changed(&node(n))),
            Event::Node(n, false) => self.feed(Input::Nodes(WatchEvent::Deleted(node(n)))),
            Event::Fate(fate) => self.fate = fate,
        }
    }

    fn relist(&mut self) {
        (self.shown, self.behind) = (self.harness.pods.clone(), BTreeSet::new());
        self.feed(Input::Pods(WatchEvent::Listed(self.harness.pods.values().cloned().collect())));
    }

    fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.harness.at += Duration::from_secs(1);
            self.feed(Input::Tick);
        }
    }

    fn report(&mut self, on: usize, full: bool, loads: &[(usize, u8, u8)]) {
        let shown: Vec<_> =
            loads.iter().filter_map(|l| Some((self.shown.get(&pod_name(l.0))?.clone(), l.1, l.2))).collect();
        let id = |facts: &PodFacts| usize::from_str_radix(&facts.uid[..8], 16).unwrap();
        let mut named = BTreeSet::new();
        let pods =
            shown.iter().filter(|(f, ..)| named.insert(f.uid.clone())).map(|(f, c, m)| said(id(f), *c, *m));
        let report = self.harness.next_report(on, full, pods.collect());
        let admitted = self.harness.admits(&report).is_ok();
        if admitted {
            self.learn(&report);
        }
        self.feed(reported(report.clone()));
        let refused = self.harness.core.state.answer(&node(on), 0).rejected;
        let foreign = refused.iter().filter(|r| r.reason == PodRejection::ForeignPod).count();
        let expected = shown
            .iter()
            .filter(|(f, ..)| f.node != Some(node(on)))
            .map(|(f, ..)| &f.uid)
            .collect::<BTreeSet<_>>();
        assert!(!admitted || foreign == expected.len());
    }

    /// What the report may make us believe.
    fn learn(&mut self, report: &Report) {
        let here = self.shown.values().filter(|f| f.node.as_ref() == Some(&report.node));
        for facts in here {
            let pod = report.pods.iter().find(|p| p.uid.as_str() == facts.uid);
            let known = pod.filter(|pod| pod.check(&report.capacity).is_ok());
            if known.is_none() && !report.full && pod.is_none() {
                continue;
            }
            let claim = |band: Band, has_basis: bool| has_basis.then_some((band, self.harness.at));
            let truth = known.map(|PodReport { cpu, memory, .. }| {
                [
                    claim(cpu.band, cpu.basis.is_some() || cpu.cause.is_some()),
                    claim(memory.band, memory.basis.is_some() || memory.cause.is_some()),
                ]
            });
            self.said.insert(facts.uid.clone(), truth.unwrap_or_default());
        }
    }

    fn edit(&mut self, n: usize, edit: Edit) {
        let pod = pod_name(n);
        if matches!(edit, Edit::Create) && !self.harness.pods.contains_key(&pod) {
            self.born += 1;
            self.harness.pods.insert(pod.clone(), born(n, self.born));
        }
        let Some(facts) = self.harness.pods.get_mut(&pod) else {
            return;
        };
        match edit {
            Edit::Ignore(true) => drop(facts.labels.insert(keys::IGNORE.into(), "true".into())),
            Edit::Ignore(false) => drop(facts.labels.remove(keys::IGNORE)),
            Edit::Finish => facts.finished = true,
            Edit::Terminate => facts.terminating = true,
            Edit::Strip => {
                facts.labels.retain(|key, _| !keys::WRITTEN_LABELS.contains(&key.as_str()));
                self.owned.remove(&pod);
            }
            Edit::Own => {
                facts.labels.insert(keys::CPU_BAND.into(), "mine".into());
                self.owned.insert(pod.clone());
            }
            Edit::Delete => {
                self.harness.pods.remove(&pod);
                self.owned.remove(&pod);
            }
            Edit::Create => {}
        }
        self.show(&pod);
    }

    /// Everything works again, for long enough.
    fn heal(&mut self) {
        self.fate = Fate::Done;
        self.catch_up();
        self.relist();
        self.feed(nodes_listed((0..NODES).map(node)));
        self.feed(Input::Leading(Some(5)));
        self.feed(Input::Paused(false));
        for second in 0..1000 {
            self.wait(1);
            for on in (0..NODES).filter(|_| second % 10 == 0) {
                let here = (0..PODS).filter(|n| n % NODES == on);
                let loads: Vec<_> = here.map(|n| (n, 1 + (n % 3) as u8, 1 + (n % 2) as u8)).collect();
                self.report(on, true, &loads);
            }
        }
    }

    /// Every pod carries what it shall.
    fn check_end(&self) {
        for n in 0..PODS {
            let Some(pod) = self.harness.pods.get(&pod_name(n)).filter(|pod| !pod.terminating) else {
                continue;
            };
            let alone = n == SYSTEM || self.ignored || pod.finished || pod.labels.contains_key(keys::IGNORE);
            let owned = self.owned.contains(&pod.pod);
            let has = |key: &str| pod.labels.get(key).map(String::as_str);
            let cpu = Band::ALL[1 + n % 3].as_str();
            let memory = Band::ALL[1 + n % 2].as_str();
            let ours = |word| (!alone).then_some(word);
            let expected_cpu = if owned { Some("mine") } else { ours(cpu) };
            assert_eq!(has(keys::CPU_BAND), expected_cpu, "{pod:?}");
            assert_eq!(has(keys::CPU_BASIS), ours("limit").filter(|_| !owned), "{pod:?}");
            assert_eq!(has(keys::MEMORY_BAND), ours(memory), "{pod:?}");
            assert_eq!(has(keys::MEMORY_BASIS), ours("limit"), "{pod:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_writes_are_lawful_and_everything_is_right_in_the_end(
        events in prop::collection::vec(event(), 1..60)
    ) {
        let mut model = Model::new();
        for event in events {
            model.happen(event);
        }
        model.heal();
        model.check_end();
        check_budget(&model.sent);
        model.harness.check_replay(Settings::default());
    }
}
