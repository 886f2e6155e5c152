//! What can be asked of the core: by ingest, by the agents, by people, by metrics. Nothing here changes anything.

use std::ops::Bound;

use plimsoll_contract::report::BoundBy;
use plimsoll_contract::roster::Answer;
use plimsoll_contract::status::{Decision, NodeStatus, PodStatus, ResourceStatus};
use plimsoll_contract::{NodeName, PodName, PodUid, Report, Resource};

use super::{Core, Gauges, Refusal, Withheld};
use crate::input::{Now, PodFacts};
use crate::view::{Node, Pod, Track, announced};

impl Core {
    /// Whether a report would be taken in. Single pods of it may still be refused: [`Core::answer`] names them.
    ///
    /// # Errors
    /// The first thing that is wrong with it as a whole.
    pub fn admit(&self, report: &Report) -> Result<(), Refusal> {
        self.view.admit(self.now, report)
    }

    /// What to answer to the last report of `node`: roster entries newer than `echoed` (all of them when that is no
    /// version of this process), and the pods that were not taken in.
    pub fn answer(&self, node: &NodeName, echoed: u64) -> Answer {
        self.view.answer(node, echoed)
    }

    /// The pod with this API uid, in any namespace, provided its cgroup carries the same: static pods are not found.
    pub fn find_agent_pod(&self, uid: &str) -> Option<&PodFacts> {
        let name = self.view.by_cgroup.get(&PodUid::new(uid).ok()?)?;
        self.view.pods.get(name).map(|pod| &pod.facts).filter(|facts| facts.uid == uid)
    }

    /// Whether pods, nodes and namespaces were listed.
    pub fn synced(&self) -> bool {
        self.view.synced()
    }

    /// Why nothing is written, if so: the first reason that holds. A replica that does not lead says that it is paused
    /// too, so that whoever pauses can see that all of them know.
    pub fn withheld(&self) -> Option<Withheld> {
        let reasons = [
            (!self.view.synced(), Withheld::NotSynced),
            (self.paused, Withheld::Paused),
            (self.epoch.is_none(), Withheld::NotLeading),
            (self.breaker.open().is_some(), Withheld::BreakerOpen),
        ];
        reasons.into_iter().find(|(holds, _)| *holds).map(|(_, why)| why)
    }

    /// One pod.
    pub fn pod(&self, name: &PodName) -> Option<PodStatus> {
        Some(self.pod_status(self.view.pods.get(name)?))
    }

    /// The pods after this one, by namespace and name, at most so many: all of them at once would hold everybody up.
    pub fn pods_after(&self, after: Option<&PodName>, most: usize) -> Vec<PodStatus> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let pods = self.view.pods.range::<PodName, _>((from, Bound::Unbounded));
        pods.take(most).map(|(_, pod)| self.pod_status(pod)).collect()
    }

    /// All nodes that the API server knows, by name.
    pub fn nodes(&self, now: Now) -> Vec<NodeStatus> {
        let listed = self.view.nodes.iter().filter(|(_, node)| node.listed);
        listed.map(|(name, node)| self.node_status(name, node, now)).collect()
    }

    /// The last thousand decisions, newest first.
    pub fn decisions(&self) -> Vec<Decision> {
        self.ledger.newest_first().cloned().collect()
    }

    /// The revision now, and the decisions that are new or got their outcome since `revision`, in that order.
    pub fn decisions_since(&self, revision: u64) -> (u64, Vec<Decision>) {
        self.ledger.since(revision)
    }

    /// The generation now, and the pods whose status changed since `generation`; the one that changed last comes last.
    pub fn changes_since(&self, generation: u64) -> (u64, Vec<PodName>) {
        let changed = self.view.changes.range(generation.saturating_add(1)..);
        (self.view.generation, changed.map(|(_, name)| name.clone()).collect())
    }

    /// Numbers for metrics. Looks at every pod: for a scrape, not for a step.
    pub fn gauges(&self, now: Now) -> Gauges {
        let mut gauges = Gauges {
            pods: self.view.pods.len() as u64,
            pending: self.agenda.pending() as u64,
            in_flight: self.in_flight.len() as u64,
            rate: self.budget.rate_milli(self.now, self.view.listed_nodes) as f64 / 1000.0,
            breaker_open: self.breaker.open().is_some(),
            withheld: self.withheld(),
            ..Gauges::default()
        };
        for pod in self.view.pods.values() {
            gauges.conflicts += u64::from(!pod.pen.conflicts.is_empty());
            for resource in Resource::ALL {
                *gauges.bands.entry((resource, pod.track(resource).load.band)).or_default() += 1;
            }
        }
        for node in self.view.nodes.values().filter(|node| node.listed) {
            *gauges.nodes.entry(node.state_at(now.elapsed, &self.settings)).or_default() += 1;
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
            class: self.view.class(facts).map(Into::into),
            cpu: resource_status(pod, &pod.cpu),
            memory: resource_status(pod, &pod.memory),
            labeled: announced(facts, self.settings.output),
            left_alone: self.view.left_alone(facts),
            conflicts: pod.pen.conflicts.keys().cloned().collect(),
            last: self.ledger.last_on(&facts.pod).cloned(),
        }
    }

    fn node_status(&self, name: &NodeName, node: &Node, now: Now) -> NodeStatus {
        NodeStatus {
            node: name.clone(),
            report_age: node.heard.map(|heard| now.elapsed.saturating_sub(heard).as_secs_f64()),
            state: node.state_at(now.elapsed, &self.settings),
            seq: node.seq,
            capacity: node.capacity,
            boot: node.boot.clone(),
            pods: node.pods.len(),
        }
    }
}

fn resource_status(pod: &Pod, track: &Track) -> ResourceStatus {
    let load = &track.load;
    ResourceStatus {
        band: load.band,
        basis: load.basis,
        utilization: load.utilization,
        usage: load.usage,
        of: load.of,
        container: load.usage.is_some().then(|| pod.container_name(load.container.as_ref())),
        bound_by: load.bound_by.filter(|by| *by != BoundBy::None),
        since: load.since,
        reason: load.reason,
    }
}
