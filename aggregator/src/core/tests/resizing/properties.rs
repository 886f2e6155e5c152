//! Random histories of pods that are resized: what is asked for was recorded before, by whoever leads, on the version of the pod that it
//! was recorded on, only where pods may be resized, within the budget; all comes to rest; and the same again from a recording.

use proptest::prelude::*;

use super::*;
use crate::input::RefusalKind;

const PODS: usize = 3;

/// What becomes of the next writes.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Done,
    DoneUnanswered,
    Lost,
    NeverAnswered,
    Failed,
    Throttled,
    /// Of resizes only.
    Refused(RefusalKind),
}

#[derive(Debug, Clone, Copy)]
enum Event {
    /// A report: throttled, calm or idle.
    Report(usize, u8),
    Wait(u64),
    Fate(Fate),
    /// The kubelet does what the spec says.
    Kubelet(usize),
    /// The kubelet says that it cannot.
    Pending(usize, bool),
    /// Somebody sets the original size.
    Reset(usize),
    /// The status of the pod changes: another version.
    Touch(usize),
    Class(usize, bool),
    Ignore(usize, bool),
    Recreate(usize),
    Pause(bool),
    Lead(bool),
}

fn event() -> impl Strategy<Value = Event> {
    let pod = || 0..PODS;
    let refusal = prop_oneof![
        Just(RefusalKind::NodeCapacity),
        Just(RefusalKind::Quota),
        Just(RefusalKind::Policy),
        Just(RefusalKind::QosClass),
        Just(RefusalKind::MemoryLimit),
    ];
    let fate = prop_oneof![
        6 => Just(Fate::Done),
        1 => Just(Fate::DoneUnanswered),
        1 => Just(Fate::Lost),
        1 => Just(Fate::NeverAnswered),
        1 => Just(Fate::Failed),
        1 => Just(Fate::Throttled),
        2 => refusal.prop_map(Fate::Refused),
    ];
    prop_oneof![
        8 => (pod(), 0..3_u8).prop_map(|(n, kind)| Event::Report(n, kind)),
        4 => (1..40_u64).prop_map(Event::Wait),
        3 => fate.prop_map(Event::Fate),
        6 => pod().prop_map(Event::Kubelet),
        2 => (pod(), any::<bool>()).prop_map(|(n, never)| Event::Pending(n, never)),
        1 => pod().prop_map(Event::Reset),
        1 => pod().prop_map(Event::Touch),
        1 => (pod(), any::<bool>()).prop_map(|(n, on)| Event::Class(n, on)),
        1 => (pod(), any::<bool>()).prop_map(|(n, on)| Event::Ignore(n, on)),
        1 => pod().prop_map(Event::Recreate),
        1 => any::<bool>().prop_map(Event::Pause),
        1 => any::<bool>().prop_map(Event::Lead),
    ]
}

struct Model {
    harness: Harness,
    versions: BTreeMap<PodName, u64>,
    fate: Fate,
    epoch: u64,
    /// Writes without an outcome, and when they were sent.
    open: BTreeMap<u64, (PodName, String, Duration)>,
    sent: Vec<Duration>,
    born: usize,
}

impl Model {
    fn new() -> Model {
        let pods: Vec<PodFacts> = (0..PODS).map(sized).collect();
        let mut harness = Harness::unsynced(settings(), pods.clone());
        harness.recorded = Some(Vec::new());
        let versions = pods.iter().map(|pod| (pod.pod.clone(), 1)).collect();
        let (open, sent) = (BTreeMap::new(), Vec::new());
        let mut model = Model { harness, versions, fate: Fate::Done, epoch: 7, open, sent, born: 10 };
        beginning(pods).for_each(|input| model.feed(input));
        model
    }

    fn feed(&mut self, input: Input) {
        let actions = self.harness.step(input);
        for write in writes(&actions) {
            self.check(&write);
            let (pod, uid) = (write.pod.clone(), write.uid.clone());
            self.open.insert(write.id, (pod, uid, self.harness.at));
        }
        for write in writes(&actions) {
            self.answer(&write);
        }
    }

    /// A write only where it may be, and a resize only as it was recorded.
    fn check(&mut self, write: &Write) {
        assert_eq!(self.harness.core.withheld(), None);
        assert_eq!(write.epoch, self.epoch);
        let at = self.harness.at;
        self.open.retain(|_, (.., sent)| *sent + Duration::from_secs(30) > at);
        let twice = self.open.values().any(|(pod, uid, _)| (pod, uid) == (&write.pod, &write.uid));
        assert!(!twice, "a second write in flight to {}: {write:?}", write.pod);
        assert!(self.open.len() < 4, "more than four in flight");
        self.sent.push(at);
        let pod = &self.harness.pods[&write.pod];
        assert_eq!(pod.uid, write.uid);
        let Change::Resize(patch) = &write.change else { return };
        assert!(!pod.labels.contains_key(keys::IGNORE), "{write:?}");
        let way_back = matches!(write.reason, Reason::Undo | Reason::Revert);
        assert!(way_back || pod.labels.contains_key(keys::SLA), "{write:?}");
        let decision: ResizeDecision = serde_json::from_str(&pod.annotations[keys::DECISION]).unwrap();
        assert_eq!(decision.reason, write.reason.as_str(), "{write:?}");
        assert_eq!(pod.annotations[keys::EPOCH], write.epoch.to_string());
        assert!(pod.annotations.contains_key(keys::ORIGINAL_RESOURCES));
        let mut after = pod.clone();
        apply(&mut after, patch);
        let size = sizes_of(&after.containers[0].spec);
        let asked = crate::resize::in_quantities(&BTreeMap::from([("app".to_owned(), size)]));
        assert_eq!(decision.to, asked, "what is asked for is what was recorded");
        assert!(size.cpu.request <= size.cpu.limit && size.memory.request <= size.memory.limit, "{size:?}");
        assert!(size.cpu.limit <= Some(32_000), "half of the node: {size:?}");
        assert_ne!(size, sizes_of(&pod.containers[0].spec), "it changes something");
    }

    fn answer(&mut self, write: &Write) {
        let gone = self.harness.pods.get(&write.pod).is_none_or(|pod| pod.uid != write.uid);
        let version = self.versions[&write.pod];
        let stale = match &write.change {
            Change::Resize(patch) => {
                patch.resource_version.as_ref().is_some_and(|asked| *asked != version.to_string())
            }
            Change::Labels { .. } | Change::Probe(_) => false,
        };
        let refused = match self.fate {
            Fate::Refused(kind) if write.is_resize() => Some(kind),
            _ => stale.then_some(RefusalKind::Stale),
        };
        let acts = matches!(self.fate, Fate::Done | Fate::DoneUnanswered | Fate::Refused(_));
        let done = acts && !gone && refused.is_none();
        if done {
            self.harness.apply(write);
            *self.versions.get_mut(&write.pod).unwrap() += 1;
        }
        let result = match (self.fate, refused) {
            (Fate::NeverAnswered, _) => return,
            (Fate::Lost | Fate::DoneUnanswered, _) => WriteResult::NoAnswer,
            (Fate::Failed, _) => WriteResult::Failed(500, "no".into()),
            (Fate::Throttled, _) => WriteResult::Throttled(Some(Duration::from_secs(2))),
            _ if gone => WriteResult::Gone,
            (_, Some(kind)) => WriteResult::Refused(kind, "the server's words".into()),
            _ => WriteResult::Written(PodVersion {
                resource_version: Some(self.versions[&write.pod].to_string()),
                generation: self.harness.pods[&write.pod].generation,
            }),
        };
        self.open.remove(&write.id);
        let took = Duration::from_millis(5);
        self.feed(Input::Outcome(Outcome { write: write.id, result, took }));
        if done {
            self.show(&write.pod);
        }
    }

    fn show(&mut self, pod: &PodName) {
        let facts = self.harness.pods[pod].clone();
        self.feed(Input::Pods(WatchEvent::Changed(Box::new(facts))));
    }

    fn edit(&mut self, n: usize, edit: impl FnOnce(&mut PodFacts)) {
        edit(self.harness.pods.get_mut(&name(n)).unwrap());
        *self.versions.get_mut(&name(n)).unwrap() += 1;
        self.show(&name(n));
    }

    fn kubelet(&mut self, n: usize) {
        self.edit(n, |pod| {
            obey(pod);
            pod.conditions.clear();
        });
    }

    /// What the agent sees of a pod: its container has the id of the pod that was created last.
    fn report(&mut self, n: usize, kind: u8) {
        let limit = self.harness.pods[&name(n)].containers[0].actual.unwrap().cpu_limit.unwrap().0;
        let (cores, throttled) = [(limit, 0.8), (limit * 0.4, 0.0), (0.01, 0.0)][usize::from(kind)];
        let mut seen = self.harness.seen(n, cores, throttled);
        let facts = &self.harness.pods[&name(n)];
        seen.uid = PodUid::new(&facts.uid).unwrap();
        let id = facts.containers[0].id.clone().unwrap();
        (seen.cpu.container, seen.memory.container) = (Some(id.clone()), Some(id.clone()));
        for cause in [
            seen.cpu.cause.as_mut().map(|c| &mut c.container),
            seen.memory.cause.as_mut().map(|c| &mut c.container),
        ] {
            cause.into_iter().for_each(|container| *container = Some(id.clone()));
        }
        seen.containers[0].id = id;
        let report = self.harness.next_report(0, false, vec![seen]);
        self.feed(reported(report));
    }

    fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.harness.at += Duration::from_secs(1);
            self.feed(Input::Tick);
        }
    }

    fn happen(&mut self, event: Event) {
        let original = sized(0).containers[0].spec;
        match event {
            Event::Report(n, kind) => self.report(n, kind),
            Event::Wait(seconds) => self.wait(seconds),
            Event::Fate(fate) => self.fate = fate,
            Event::Kubelet(n) => self.kubelet(n),
            Event::Pending(n, never) => self.edit(n, |pod| {
                let spec = Some(pod.containers[0].spec);
                if spec == pod.containers[0].actual {
                    return;
                }
                pod.observed_generation = pod.generation;
                pod.conditions = vec![ConditionFacts {
                    kind: "PodResizePending".into(),
                    status: "True".into(),
                    reason: Some(if never { "Infeasible" } else { "Deferred" }.into()),
                    message: Some("no room".into()),
                    observed_generation: pod.generation,
                }];
            }),
            Event::Reset(n) => self.edit(n, |pod| {
                pod.containers[0].spec = original;
                pod.generation = pod.generation.map(|generation| generation + 1);
            }),
            Event::Touch(n) => self.edit(n, |pod| pod.containers[0].restarts += 1),
            Event::Class(n, true) => {
                self.edit(n, |pod| drop(pod.labels.insert(keys::SLA.into(), "gold".into())));
            }
            Event::Class(n, false) => self.edit(n, |pod| drop(pod.labels.remove(keys::SLA))),
            Event::Ignore(n, true) => {
                self.edit(n, |pod| drop(pod.labels.insert(keys::IGNORE.into(), "true".into())));
            }
            Event::Ignore(n, false) => self.edit(n, |pod| drop(pod.labels.remove(keys::IGNORE))),
            Event::Recreate(n) => {
                self.born += 1;
                let again = PodFacts { pod: name(n), ..sized(self.born) };
                self.harness.pods.insert(name(n), again);
                self.edit(n, |_| ());
            }
            Event::Pause(paused) => self.feed(Input::Paused(paused)),
            Event::Lead(true) => {
                self.epoch += 1;
                self.feed(Input::Leading(Some(self.epoch)));
            }
            Event::Lead(false) => self.feed(Input::Leading(None)),
        }
    }

    /// Everything works again, for long enough: nothing is under way any more.
    fn heal(&mut self) {
        self.fate = Fate::Done;
        self.happen(Event::Lead(true));
        self.happen(Event::Pause(false));
        for n in 0..PODS {
            self.happen(Event::Ignore(n, false));
            self.happen(Event::Class(n, true));
        }
        for _ in 0..24 {
            self.wait(5);
            for n in 0..PODS {
                self.kubelet(n);
                self.report(n, 1);
            }
        }
        for n in 0..PODS {
            let state = self.harness.resize_state(n);
            assert!(["idle", "verified", "failed"].contains(&state.as_str()), "pod {n}: {state}");
            assert!(self.harness.pods[&name(n)].labels.contains_key(keys::CPU_BAND));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_a_resize_is_one_that_was_recorded_and_all_comes_to_rest(
        events in prop::collection::vec(event(), 1..60)
    ) {
        let mut model = Model::new();
        for event in events {
            model.happen(event);
        }
        model.heal();
        check_budget(&model.sent);
        model.harness.check_replay(settings());
    }
}
