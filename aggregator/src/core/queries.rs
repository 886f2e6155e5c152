//! Questions to the core: from the agents' port, the people's port and metrics. Nothing here changes anything.

use std::ops::Bound;

use plimsoll_contract::load::{BoundBy, Cause};
use plimsoll_contract::status::{
    AgentState, AggregatorStatus, Decision, NodeCounts, NodeStatus, PodStatus, ResourceStatus,
};
use plimsoll_contract::{NodeName, PodName, PodUid, Resource};

use super::{Core, Gauges, Withheld};
use crate::facts::PodFacts;
use crate::input::Now;
use crate::state::{LoadHistory, Node, ObjectName, Pod, Problem, bands_on, not_bands_on};

/// Unreadable objects that the status names.
const MAX_UNREADABLE: usize = 20;

impl Core {
    /// The pod with this API uid, in any namespace; static pods are not found.
    pub(crate) fn find_agent_pod(&self, uid: &str) -> Option<&PodFacts> {
        let name = self.state.by_uid.get(&PodUid::new(uid).ok()?)?;
        self.state.pods.get(name).map(|pod| &pod.facts)
    }

    /// Whether pods, nodes and namespaces were listed.
    pub(crate) fn synced(&self) -> bool {
        self.state.synced()
    }

    /// Why nothing is written, if nothing is.
    pub(crate) fn withheld(&self) -> Option<Withheld> {
        self.gate.withheld(self.state.synced())
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

    /// At most `most` pods after `after`, by namespace and name: all of them at once would keep the core locked for too long.
    pub(crate) fn pods_after(&self, after: Option<&PodName>, most: usize) -> Vec<PodStatus> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let pods = self.state.pods.range::<PodName, _>((from, Bound::Unbounded));
        pods.take(most).map(|(_, pod)| self.pod_status(pod)).collect()
    }

    /// Another text whenever the list of pods may be another one, also after a restart.
    pub(crate) fn pods_tag(&self) -> String {
        format!("{}-{}", self.settings.process_text(), self.state.revision + self.decisions.revision())
    }

    /// All nodes that the API server lists, by name.
    pub(crate) fn nodes(&self, now: Now) -> Vec<NodeStatus> {
        let listed = self.state.nodes.iter().filter(|(_, node)| node.facts.is_some());
        listed.map(|(name, node)| self.node_status(name, node, now)).collect()
    }

    /// The last thousand decisions, newest first.
    pub(crate) fn decisions(&self) -> Vec<Decision> {
        self.decisions.newest_first().cloned().collect()
    }

    /// Another text whenever [`Core::decisions`] is another list, also after a restart.
    pub(crate) fn decisions_tag(&self) -> String {
        format!("{}-{}", self.settings.process_text(), self.decisions.revision())
    }

    /// Numbers for metrics. Looks at every pod: for a scrape, not for a step.
    pub(crate) fn gauges(&self, now: Now) -> Gauges {
        let mut gauges = Gauges {
            pods: self.state.pods.len() as u64,
            pending: self.queue.waiting(),
            backing_off: [&self.refused, &self.undone].map(|owners| owners.len() as u64),
            slow_namespaces: self.queue.slow_namespaces() as u64,
            in_flight: self.in_flight.len() as u64,
            rate: self.budget.rate_milli(self.now, self.state.listed_nodes) as f64 / 1000.0,
            unknown_withheld: self.silence.withheld_until().is_some(),
            withheld: self.withheld(),
            nodes: self.node_counts(now),
            ..Gauges::default()
        };
        for pod in self.state.pods.values() {
            gauges.conflicts += u64::from(!pod.writes.conflicts.is_empty());
            for resource in Resource::ALL {
                *gauges.bands.entry((resource, pod.load(resource).load.band)).or_default() += 1;
            }
        }
        gauges
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
