//! Questions to the core: from the agents' port, the people's port and metrics. Nothing here changes anything.
//!
//! The core is locked while it answers, so no answer takes a look at every pod: lists and counts are made page by page.

use std::collections::{BTreeMap, btree_map};
use std::ops::Bound;
use std::sync::Arc;

use plimsoll_contract::load::{BoundBy, Cause};
use plimsoll_contract::status::{
    AgentState, AggregatorStatus, Decision, NodeCounts, NodeStatus, PodStatus, ResourceStatus,
};
use plimsoll_contract::{NodeName, PodName, PodUid, Resource};

use super::{Core, Counts, Gauges, Standing, Withheld};
use crate::facts::PodFacts;
use crate::input::Now;
use crate::ledger::{ClassCounts, ClassRow};
use crate::state::{LoadHistory, Node, ObjectName, Pod, Problem, bands_on, not_bands_on};

/// Unreadable objects that the status names.
const MAX_UNREADABLE: usize = 20;

impl Core {
    /// The pod with this API uid, in any namespace; static pods are not found.
    pub(crate) fn find_agent_pod(&self, uid: &str) -> Option<&PodFacts> {
        let name = self.state.by_uid.get(&PodUid::new(uid).ok()?)?;
        self.state.pods.get(name).map(|pod| &pod.facts)
    }

    /// What became of the pods of each class, for its status; `pods` is what [`Core::count_classes`] found.
    pub(crate) fn ledger(&self, pods: &BTreeMap<String, ClassCounts>) -> Vec<ClassRow> {
        let counts =
            |all: &BTreeMap<String, ClassCounts>, name: &str| all.get(name).copied().unwrap_or_default();
        let rows = self.state.classes.iter().map(|(name, class)| ClassRow {
            name: name.to_owned(),
            class: class.clone(),
            counts: counts(&self.class_counts, name).with_pods_of(counts(pods, name)),
        });
        rows.collect()
    }

    /// Adds at most `most` pods after `after` to the counts of their classes; returns the last of them, if there is any.
    pub(crate) fn count_classes(
        &self,
        after: Option<&PodName>,
        most: usize,
        counts: &mut BTreeMap<String, ClassCounts>,
    ) -> Option<PodName> {
        let mut last = None;
        for (name, pod) in after_key(&self.state.pods, after).take(most) {
            if let Some(Ok(policy)) = self.state.policy(&pod.facts).filter(|_| !pod.facts.finished) {
                match counts.get_mut(&policy.class) {
                    Some(counts) => counts.add_pod(pod),
                    None => counts.entry(policy.class.clone()).or_default().add_pod(pod),
                }
            }
            last = Some(name);
        }
        last.cloned()
    }

    /// Whether pods, nodes and namespaces were listed.
    pub(crate) fn synced(&self) -> bool {
        self.state.synced()
    }

    /// Why nothing is written, if nothing is.
    pub(crate) fn withheld(&self) -> Option<Withheld> {
        self.gate.withheld(self.state.synced())
    }

    /// What the probes say.
    pub(crate) fn standing(&self) -> Standing {
        Standing { synced: self.synced(), withheld: self.withheld() }
    }

    /// What this replica does. The core does not know its own name, nor which replica holds the Lease (`leader`) or held it before it
    /// expired (`last_leader`).
    pub(crate) fn status(
        &self,
        now: Now,
        replica: &str,
        leader: Option<String>,
        last_leader: Option<String>,
    ) -> AggregatorStatus {
        let epoch = self.gate.epoch;
        AggregatorStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            replica: replica.to_owned(),
            leading: epoch.is_some(),
            leader: epoch.map(|_| replica.to_owned()).or(leader),
            last_leader: last_leader.filter(|_| epoch.is_none()),
            epoch,
            output: self.settings.output.as_str().to_owned(),
            withheld: self.withheld(),
            unknown_withheld: self.silence.withheld_until().is_some(),
            paused: self.gate.paused,
            nodes: self.node_counts(now),
            unreadable: self.state.unreadable.iter().take(MAX_UNREADABLE).map(named).collect(),
        }
    }

    fn node_counts(&self, now: Now) -> NodeCounts {
        let mut counts = NodeCounts::default();
        for node in self.state.nodes.values().filter(|node| node.facts.is_some()) {
            *match node.agent_at(now.at, &self.settings) {
                AgentState::Reporting => &mut counts.reporting,
                AgentState::Late => &mut counts.late,
                AgentState::Silent => &mut counts.silent,
            } += 1;
        }
        counts
    }

    /// One pod.
    pub(crate) fn pod(&self, name: &PodName) -> Option<PodStatus> {
        Some(self.pod_status(self.state.pods.get(name)?))
    }

    /// At most `most` pods after `after`, by namespace and name.
    pub(crate) fn pods_after(&self, after: Option<&PodName>, most: usize) -> Vec<PodStatus> {
        after_key(&self.state.pods, after).take(most).map(|(_, pod)| self.pod_status(pod)).collect()
    }

    /// Another text whenever the list of pods may be another one, also after a restart.
    pub(crate) fn pods_tag(&self) -> String {
        format!("{}-{}", self.settings.process_text(), self.state.revision + self.decisions.revision())
    }

    /// At most `most` of the nodes that the API server lists after `after`, by name.
    pub(crate) fn nodes_after(&self, now: Now, after: Option<&NodeName>, most: usize) -> Vec<NodeStatus> {
        let listed = after_key(&self.state.nodes, after).filter(|(_, node)| node.facts.is_some());
        listed.take(most).map(|(name, node)| self.node_status(name, node, now)).collect()
    }

    /// The last thousand decisions, newest first.
    pub(crate) fn decisions(&self) -> Vec<Arc<Decision>> {
        self.decisions.newest_first().cloned().collect()
    }

    /// Another text whenever [`Core::decisions`] is another list, also after a restart.
    pub(crate) fn decisions_tag(&self) -> String {
        format!("{}-{}", self.settings.process_text(), self.decisions.revision())
    }

    /// What is known without a look at every object.
    pub(crate) fn gauges(&self) -> Gauges {
        Gauges {
            pods: self.state.pods.len() as u64,
            slow_namespaces: self.queue.slow_namespaces() as u64,
            in_flight: self.in_flight.len() as u64,
            rate: self.budget.rate_milli(self.now, self.state.listed_nodes) as f64 / 1000.0,
            unknown_withheld: self.silence.withheld_until().is_some(),
            withheld: self.withheld(),
        }
    }

    /// What must be counted, without what only [`Core::count_pods`] knows.
    pub(crate) fn counts(&self, now: Now) -> Counts {
        Counts {
            nodes: self.node_counts(now),
            pending: self.queue.waiting(),
            backing_off: [&self.refused, &self.undone, &self.taken].map(|owners| owners.len() as u64),
            ..Counts::default()
        }
    }

    /// Adds at most `most` pods after `after` to the counts; returns the last of them, if there is any.
    pub(crate) fn count_pods(
        &self,
        after: Option<&PodName>,
        most: usize,
        counts: &mut Counts,
    ) -> Option<PodName> {
        let mut last = None;
        for (name, pod) in after_key(&self.state.pods, after).take(most) {
            counts.conflicts += u64::from(!pod.writes.conflicts.is_empty());
            self.count_sizing(pod, counts);
            for resource in Resource::ALL {
                *counts.bands.entry((resource, pod.load(resource).load.band)).or_default() += 1;
            }
            last = Some(name);
        }
        last.cloned()
    }

    fn pod_status(&self, pod: &Pod) -> PodStatus {
        let facts = &pod.facts;
        PodStatus {
            namespace: facts.pod.namespace.as_ref().into(),
            name: facts.pod.name.as_ref().into(),
            uid: facts.uid.clone(),
            node: facts.node.clone(),
            class: self.state.class(facts).map(Into::into),
            cpu: resource_status(pod, &pod.cpu),
            memory: resource_status(pod, &pod.memory),
            labeled: bands_on(facts, self.settings.output),
            not_bands: not_bands_on(facts, self.settings.output),
            terminating: facts.terminating,
            left_alone: self.state.left_alone(facts),
            conflicts: pod.writes.conflicts().collect(),
            last: self.decisions.last_on(&facts.pod).cloned(),
            resize: self.resize_status(pod),
        }
    }

    fn node_status(&self, name: &NodeName, node: &Node, now: Now) -> NodeStatus {
        NodeStatus {
            node: name.clone(),
            report_age: node.reported.map(|at| now.at.since(at).as_secs_f64()),
            state: node.agent_at(now.at, &self.settings),
            seq: node.sequence.newest(),
            capacity: node.capacity,
            boot: node.sequence.boot().map(str::to_owned),
            pods: node.pods.len(),
        }
    }
}

/// What comes after a key, in order.
fn after_key<'a, K: Ord, V>(map: &'a BTreeMap<K, V>, key: Option<&K>) -> btree_map::Range<'a, K, V> {
    map.range((key.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))
}

/// An unreadable object and its problem.
fn named((object, problem): (&ObjectName, &Problem)) -> String {
    match object {
        ObjectName::Namespace(name) => format!("namespace {name}: {}", problem.text),
        ObjectName::Node(name) => format!("node {name}: {}", problem.text),
        ObjectName::Pod(name) => format!("pod {name}: {}", problem.text),
    }
}

fn resource_status(pod: &Pod, history: &LoadHistory) -> ResourceStatus {
    let load = &history.load;
    let status = load.clone().map(|amount| amount, |id| pod.container_name(Some(&id)));
    let made_by = load.cause.as_ref().filter(|cause| cause.container.is_some());
    let made_by = made_by.map(|cause| pod.cause_container(history, cause));
    ResourceStatus {
        container: load.usage.is_some().then(|| pod.container_name(load.container.as_ref())),
        bound_by: load.bound_by.filter(|by| *by != BoundBy::None),
        cause: status.cause.map(|cause| Cause { container: made_by, ..cause }),
        ..status
    }
}
