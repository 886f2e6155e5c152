//! A cluster of several tenants whose API server takes time: each write is answered a moment after it is sent, as its fate says.

use super::*;

/// What becomes of a write.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    Done,
    /// Done, and another client removes the labels at once.
    Stripped,
    /// A policy refuses it.
    Refused,
    /// No response before the deadline, and not done.
    Hangs,
    /// Done just before the deadline.
    Late,
}

const STEP: Duration = Duration::from_millis(100);
/// Seconds between two reports of a node that has nothing new to say.
const REPORT_EVERY: u64 = 50;

pub(super) struct Cluster {
    pub(super) harness: Harness,
    pub(super) fate: fn(&Write) -> Fate,
    nodes: usize,
    /// By number.
    names: Vec<PodName>,
    /// CPU bands that a pod does not carry yet, and since when.
    wanted: BTreeMap<PodName, (Band, Duration)>,
    /// How long a change took: when it was seen on the pod, and the delay.
    delays: Vec<(PodName, Duration, Duration)>,
    /// Writes in flight, by when they are answered.
    open: BTreeMap<(Duration, u64), Write>,
    sent: Vec<Duration>,
    start: Duration,
}

pub(super) fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

impl Cluster {
    /// With as many pods in each namespace, all labeled low.
    pub(super) fn new(namespaces: &[(&str, usize)], nodes: usize) -> Cluster {
        let of = namespaces.iter().flat_map(|(namespace, pods)| std::iter::repeat_n(*namespace, *pods));
        let pods: Vec<PodFacts> = of
            .enumerate()
            .map(|(n, namespace)| PodFacts {
                pod: PodName::new(namespace, &format!("p{n}")),
                ..labeled(n, n % nodes, "low", "low")
            })
            .collect();
        let names: Vec<PodName> = pods.iter().map(|facts| facts.pod.clone()).collect();
        let mut harness = Harness::with(Settings::default(), pods, nodes);
        namespaces.iter().for_each(|(namespace, _)| harness.show_namespace(namespace));
        (0..names.len()).for_each(|n| harness.see(n % nodes, load(n, Band::Low, Band::Low)));
        let mut cluster = Cluster {
            harness,
            fate: |_| Fate::Done,
            nodes,
            names,
            wanted: BTreeMap::new(),
            delays: Vec::new(),
            open: BTreeMap::new(),
            sent: Vec::new(),
            start: Duration::ZERO,
        };
        cluster.pass(REPORT_EVERY as f64);
        cluster.start = cluster.harness.at;
        assert!(cluster.sent.is_empty());
        cluster
    }

    /// A new pod, with this load; its number.
    pub(super) fn add(&mut self, namespace: &str, band: Band) -> usize {
        self.create(namespace, Some("ReplicaSet/web-5d4f8c7b9".into()));
        let n = self.names.len() - 1;
        self.set(n, band);
        n
    }

    /// Idle new pods of one owner.
    pub(super) fn add_many(&mut self, namespace: &str, count: usize) {
        self.add_many_of(namespace, count, |_| Some("ReplicaSet/web-5d4f8c7b9".into()));
    }

    /// Idle new pods with these controllers.
    pub(super) fn add_many_of(
        &mut self,
        namespace: &str,
        count: usize,
        controller: impl Fn(usize) -> Option<String>,
    ) {
        let from = self.names.len();
        (0..count).for_each(|n| self.create(namespace, controller(n)));
        self.set_all(from..from + count, Band::Low);
    }

    fn create(&mut self, namespace: &str, controller: Option<String>) {
        let n = self.names.len();
        let pod = PodName::new(namespace, &format!("p{n}"));
        self.names.push(pod.clone());
        let facts = PodFacts { pod: pod.clone(), controller, ..facts(n, n % self.nodes) };
        self.harness.pods.insert(pod.clone(), facts);
        self.harness.show_namespace(namespace);
        let actions = self.harness.show(&pod);
        self.perform(&actions);
    }

    /// The CPU band of a pod is this from now on, and its agent says so.
    pub(super) fn set(&mut self, n: usize, band: Band) {
        self.set_all([n], band);
    }

    /// As [`Cluster::set`], for several pods at once.
    pub(super) fn set_all(&mut self, numbers: impl IntoIterator<Item = usize>, band: Band) {
        let mut reports: BTreeMap<usize, Vec<PodReport>> = BTreeMap::new();
        for n in numbers {
            let on = n % self.nodes;
            self.harness.see(on, load(n, band, Band::Low));
            reports.entry(on).or_default().push(load(n, band, Band::Low));
            if self.band(n) == Some(band.as_str()) {
                self.wanted.remove(&self.names[n]);
            } else {
                self.wanted.insert(self.names[n].clone(), (band, self.harness.at));
            }
        }
        for (on, pods) in reports {
            let actions = self.harness.report(on, false, pods);
            self.perform(&actions);
        }
    }

    /// A node's agent is heard of no more.
    pub(super) fn kill(&mut self, n: usize) {
        self.harness.loads.remove(&node(n));
    }

    /// Another client removes our labels from a pod.
    pub(super) fn strip(&mut self, n: usize) {
        let pod = self.names[n].clone();
        self.harness.pods.get_mut(&pod).unwrap().labels.clear();
        let actions = self.harness.show(&pod);
        self.perform(&actions);
    }

    /// The CPU band on a pod.
    pub(super) fn band(&self, n: usize) -> Option<&str> {
        self.harness.pods[&self.names[n]].labels.get(keys::CPU_BAND).map(String::as_str)
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, time: f64) {
        let end = self.harness.at + seconds(time);
        while self.harness.at < end {
            self.harness.at += STEP;
            while let Some(entry) = self.open.first_entry().filter(|entry| entry.key().0 <= self.harness.at) {
                let write = entry.remove();
                self.answer(&write);
            }
            let at = self.harness.at;
            if at.subsec_millis() == 0 {
                let actions = self.harness.step(Input::Tick);
                self.perform(&actions);
                let reporting: Vec<NodeName> = self.harness.loads.keys().cloned().collect();
                let due = |name: &NodeName| {
                    (0..self.nodes).any(|n| node(n) == *name && at.as_secs() % REPORT_EVERY == 5 * n as u64)
                };
                for name in reporting.into_iter().filter(due).collect::<Vec<_>>() {
                    let actions = self.harness.report_all(&name);
                    self.perform(&actions);
                }
            }
        }
    }

    fn perform(&mut self, actions: &[Action]) {
        for write in writes(actions) {
            self.sent.push(self.harness.at);
            let took = match (self.fate)(&write) {
                Fate::Done | Fate::Stripped | Fate::Refused => STEP,
                Fate::Hangs => seconds(3.0),
                Fate::Late => seconds(2.9),
            };
            self.open.insert((self.harness.at + took, write.id), write);
        }
        assert!(self.open.len() <= 4, "more than four in flight");
    }

    fn answer(&mut self, write: &Write) {
        let fate = (self.fate)(write);
        let (result, took) = match fate {
            Fate::Done | Fate::Stripped => (WriteResult::written(), 0.1),
            Fate::Late => (WriteResult::written(), 2.9),
            Fate::Refused => (WriteResult::Failed(403, "denied by policy".into()), 0.1),
            Fate::Hangs => (WriteResult::NoAnswer, 3.0),
        };
        if result == WriteResult::written() {
            self.harness.apply(write);
            self.note_delay(&write.pod);
        }
        let written = result == WriteResult::written();
        let outcome = Outcome { write: write.id, result, took: seconds(took) };
        let actions = self.harness.step(Input::Outcome(outcome));
        self.perform(&actions);
        if written {
            let actions = self.harness.show(&write.pod);
            self.perform(&actions);
        }
        if matches!(fate, Fate::Stripped) {
            self.harness.pods.get_mut(&write.pod).unwrap().labels.clear();
            let actions = self.harness.show(&write.pod);
            self.perform(&actions);
        }
    }

    fn note_delay(&mut self, pod: &PodName) {
        let at = self.harness.at;
        let shown = self.harness.pods[pod].labels.get(keys::CPU_BAND).cloned();
        if let Some((band, since)) = self.wanted.get(pod).copied()
            && shown.as_deref() == Some(band.as_str())
        {
            self.wanted.remove(pod);
            self.delays.push((pod.clone(), at, at - since));
        }
    }

    /// Changes that are not on their pods yet.
    pub(super) fn open_changes(&self) -> usize {
        self.wanted.len()
    }

    /// How many changes of these pods reached them, and the longest delay; also of those that have not.
    pub(super) fn delays(&self, which: impl Fn(&PodName) -> bool) -> (usize, Duration) {
        self.delays_after(0.0, which)
    }

    /// As [`Cluster::delays`], without the first seconds after the start.
    pub(super) fn delays_after(&self, after: f64, which: impl Fn(&PodName) -> bool) -> (usize, Duration) {
        let from = self.start + seconds(after);
        let done = self.delays.iter().filter(|(pod, at, _)| which(pod) && *at >= from);
        let delays: Vec<Duration> = done.map(|(_, _, delay)| *delay).collect();
        let open =
            self.wanted.iter().filter(|(pod, _)| which(pod)).map(|(_, (_, since))| self.harness.at - *since);
        (delays.len(), delays.into_iter().chain(open).max().unwrap_or_default())
    }

    pub(super) fn longest_delay(&self, which: impl Fn(&PodName) -> bool) -> Duration {
        self.delays(which).1
    }

    /// Writes that were sent in the last seconds.
    pub(super) fn writes_since(&self, ago: f64) -> usize {
        self.sent.iter().filter(|at| **at + seconds(ago) >= self.harness.at).count()
    }
}
