//! What agents saw, run through a class: the bands, and the CPU sizes that the class would have given.
//!
//! ```text
//! snapshots of a node -> seconds -> as recorded: reserved, used, throttled, resizes
//!                                -> as a class: model::Container <-> model::Controller -> who goes first -> the same, and decisions
//! ```
//!
//! | module | idea |
//! |---|---|
//! | `snapshot` | what was seen of a node at one time |
//! | `bands` | the bands of each pod, and how long it had them |
//! | `container` | one container: as it was, and as a class |
//! | `sizing` | what came of each |
//! | `order` | who goes first among those of a node that grow in the same second |
//!
//! Modeled is what another size does, not what another size makes people do. What was used is demanded again, whatever the size: where the
//! recorded limit throttled a container, nobody knows what it would have used, so a larger limit shows no more use, and throttling that
//! was recorded remains under limits up to the recorded one. A lower limit withholds, and what it withholds waits. Bands are those that were
//! recorded, relative to the recorded limits. Every size fits its node, up to half of its CPUs, and is in force [`ACTUATION`](super::ACTUATION)
//! seconds after it was decided. Memory is not sized.
//!
//! A value holds until the next one, for at most [`HELD`] seconds: then nothing is known, no time is counted, and a class begins anew with
//! what it remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plimsoll_contract::{Band, Resource};
use serde::Serialize;

use crate::policy::Policy;
use crate::size::Size;
use crate::urgency::Weights;

mod bands;
mod container;
mod order;
mod sizing;
mod snapshot;
#[cfg(test)]
mod tests;

use bands::Bands;
pub use bands::PodBands;
use container::{ContainerRun, Growth};
pub use order::{Order, Ranker};
pub use sizing::Sizing;
pub use snapshot::{ContainerSnapshot, PodSnapshot, Snapshot};

/// Seconds for which a value holds: an aggregator counts a node as late after as long.
pub const HELD: u64 = 30;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "camelCase")]
pub enum Event {
    /// A band changed.
    Band {
        /// Seconds from the start.
        at: u64,
        /// The pod.
        pod: String,
        /// The resource.
        resource: Resource,
        /// The band before; absent at the first sight of the pod.
        from: Option<Band>,
        /// The band now.
        to: Band,
    },
    /// Several containers of a node grow in the same second.
    Contention(Order),
    /// A class changes a size.
    Decision {
        /// Seconds from the start.
        at: u64,
        /// The pod.
        pod: String,
        /// The container.
        container: String,
        /// The size before, millicores.
        from: Size,
        /// The size after, millicores.
        to: Size,
        /// The arithmetic: `app +390m (500->890): U 0.45 [...], gold`.
        why: String,
    },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Seconds from the start to the end.
    pub seconds: u64,
    /// Of each pod and resource.
    pub bands: Vec<PodBands>,
    /// Of each container: as it was recorded, then under the class, if it had one.
    pub sizes: Vec<Sizing>,
    /// How often several containers of a node grew in the same second.
    pub contentions: u64,
    /// In how many of these moments the two rankings differ.
    pub different_orders: u64,
    /// Containers without a CPU request or limit: no class sets what is not set.
    pub not_sized: u64,
}

/// A recording that is run, snapshot by snapshot.
#[derive(Debug)]
pub struct Run {
    class: Option<Policy>,
    ranker: Ranker,
    weights: Weights,
    /// The first and the last second.
    time: Option<(u64, u64)>,
    nodes: BTreeMap<String, Node>,
    bands: BTreeMap<String, Bands>,
    events: Vec<Event>,
    contentions: u64,
    different_orders: u64,
    not_sized: BTreeSet<Key>,
}

/// A container: the uid of its pod, and its name.
type Key = (String, String);

/// What is kept of a node.
#[derive(Debug, Default)]
struct Node {
    /// The second that is being collected.
    second: u64,
    pods: BTreeSet<String>,
    containers: BTreeMap<Key, ContainerRun>,
}

impl Run {
    /// Every container under this class, or under the one that its pod had. Those that grow in the same second are ranked so.
    pub fn new(class: Option<Policy>, ranker: Ranker) -> Self {
        Self {
            class,
            ranker,
            weights: Weights::default(),
            time: None,
            nodes: BTreeMap::new(),
            bands: BTreeMap::new(),
            events: Vec::new(),
            contentions: 0,
            different_orders: 0,
            not_sized: BTreeSet::new(),
        }
    }

    /// Time passed to this, on the clock of the recording; what is said of times is counted from the first.
    pub fn pass(&mut self, at: Duration) {
        let (_, end) = self.time.get_or_insert((at.as_secs(), at.as_secs()));
        *end = at.as_secs().max(*end);
    }

    fn start(&self) -> u64 {
        self.time.map_or(0, |(start, _)| start)
    }

    /// Goes on to a snapshot; each node's are in the order of time. Says what happened before it.
    pub fn see(&mut self, snapshot: Snapshot) -> Vec<Event> {
        let second = snapshot.at.as_secs();
        self.pass(snapshot.at);
        self.close(&snapshot.node, second);
        let start = self.start();
        if snapshot.full {
            self.end_others(&snapshot, second);
        }
        for pod in snapshot.pods {
            let bands = self.bands.entry(pod.uid.clone()).or_insert_with(|| Bands::new(&pod.name));
            let at = second.saturating_sub(start);
            bands.see(second, at, &pod, &mut self.events);
            let high = bands.high_for(second);
            let class = self.class.as_ref().or(pod.class.as_ref());
            let node = self.nodes.entry(snapshot.node.clone()).or_default();
            node.second = node.second.max(second);
            node.pods.insert(pod.uid.clone());
            for container in pod.containers {
                let key = (pod.uid.clone(), container.name.clone());
                if class.is_some() && container.size == Size::default() {
                    self.not_sized.insert(key.clone());
                }
                let run =
                    node.containers.entry(key).or_insert_with(|| ContainerRun::new(&pod.name, &container));
                run.see(&container, class, snapshot.allocatable, high.filter(|_| container.hottest));
            }
        }
        std::mem::take(&mut self.events)
    }

    /// Ends it: what happened after the last snapshot, and what came of it all.
    pub fn finish(mut self) -> (Vec<Event>, Summary) {
        let (start, end) = self.time.unwrap_or_default();
        let names: Vec<String> = self.nodes.keys().cloned().collect();
        names.iter().for_each(|name| self.close(name, end.saturating_add(1)));
        let mut sizes: Vec<Sizing> = Vec::new();
        for run in self.nodes.into_values().flat_map(|node| node.containers.into_values()) {
            sizes.extend(run.sizings());
        }
        // a stable sort: as recorded before as a class
        sizes.sort_by(|a, b| (&a.pod, &a.container).cmp(&(&b.pod, &b.container)));
        let mut bands: Vec<PodBands> = self.bands.into_values().flat_map(|bands| bands.finish(end)).collect();
        bands.sort_by(|a, b| (&a.pod, a.resource).cmp(&(&b.pod, b.resource)));
        let summary = Summary {
            seconds: end - start,
            bands,
            sizes,
            contentions: self.contentions,
            different_orders: self.different_orders,
            not_sized: self.not_sized.len() as u64,
        };
        (self.events, summary)
    }

    /// What is not in a full snapshot of its node is not there any more.
    fn end_others(&mut self, snapshot: &Snapshot, second: u64) {
        let Some(node) = self.nodes.get_mut(&snapshot.node) else { return };
        let pods = &snapshot.pods;
        for ended in node.pods.extract_if(.., |uid| pods.iter().all(|pod| pod.uid != *uid)) {
            self.bands.get_mut(&ended).into_iter().for_each(|bands| bands.end(second));
        }
        let is_named = |(uid, name): &Key| {
            let of_pod = pods.iter().find(|pod| pod.uid == *uid);
            of_pod.is_some_and(|pod| pod.containers.iter().any(|container| container.name == *name))
        };
        node.containers.iter_mut().filter(|(key, _)| !is_named(key)).for_each(|(_, run)| run.end());
    }

    /// Lets the containers of a node run until this second begins.
    fn close(&mut self, name: &str, until: u64) {
        let start = self.start();
        let Some(node) = self.nodes.get_mut(name) else { return };
        // after that nothing is known of any
        let known = until.min(node.second.saturating_add(HELD + 2));
        for second in node.second..known {
            let at = second.saturating_sub(start);
            let mut growths: Vec<Growth> = Vec::new();
            for run in node.containers.values_mut() {
                let Some(decided) = run.step(second) else { continue };
                match decided.rank() {
                    Some(_) => growths.push(decided),
                    None => self.events.push(decided.event(at, &self.weights)),
                }
            }
            let order = Order::of(at, name, &mut growths, self.ranker, &self.weights);
            if let Some(order) = order {
                self.contentions += 1;
                self.different_orders += u64::from(order.differs());
                self.events.push(Event::Contention(order));
            }
            self.events.extend(growths.iter().map(|growth| growth.event(at, &self.weights)));
        }
        node.second = node.second.max(until);
    }
}
