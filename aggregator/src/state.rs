//! The state: the cluster as watches, reports and outcomes describe it. Pure: time is an argument, every map is ordered.
//!
//! It records and never decides. Pods about which something changed that may matter for a write are put into `dirty`; a report
//! touches only the pods of its node.
//!
//! ```text
//! pods  by name      <- by_uid: the uid in a report
//! nodes by name      -> their pods <- static_pods: the config hash in a report of that node
//! namespaces by name -> ignore, class
//! with --resize: classes, autoscalers, quotas, limit ranges -> how a pod may be sized
//! ```

mod autoscalers;
mod by_namespace;
mod classes;
mod ignore;
mod ingest;
mod last_plan;
mod machines;
mod memory_shrinks;
mod node;
mod pod;
mod quotas;
mod roster;
mod sequence;
mod static_pods;
mod turns;
mod unreadable;

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_contract::status::LeftAlone;
use plimsoll_contract::{Moment, NodeName, PodName, PodUid, keys};

use crate::facts::{
    AutoscalerFacts, Ignore, LimitRangeFacts, NamespaceFacts, NodeFacts, PodFacts, QuotaFacts,
};
use crate::input::{PodKey, WatchEvent};
use crate::labels;
use crate::settings::{Output, Settings};
use by_namespace::ByNamespace;
pub(crate) use classes::{Class, Classes, PolicyProblem};
pub(crate) use ignore::InvalidIgnores;
pub(crate) use last_plan::{LastPlan, Room};
pub(crate) use machines::Machines;
pub(crate) use memory_shrinks::{STOPPED_FOR as SHRINKS_STOPPED_FOR, WITHIN as SHRINK_HARMS_WITHIN};
pub(crate) use node::Node;
pub(crate) use pod::{LoadHistory, Pod};
pub(crate) use quotas::{Counted, LimitRanges, QuotaRoom};
pub(crate) use roster::{bands_on, not_bands_on};
pub(crate) use sequence::Sender;
pub(crate) use turns::ObjectName;
pub(crate) use unreadable::{Problem, UnreadableObjects};

/// The cluster.
#[derive(Debug)]
pub(crate) struct State {
    /// Pods, finished ones included. Boxed: half of a map's room is empty.
    pub(crate) pods: BTreeMap<PodName, Box<Pod>>,
    /// Pods by the API's uid, which is also in the name of their cgroup; not the mirror pods ([`Node::static_pods`]).
    pub(crate) by_uid: BTreeMap<PodUid, PodName>,
    /// Nodes, those known only from pods bound to them included.
    pub(crate) nodes: BTreeMap<NodeName, Node>,
    pub(crate) namespaces: BTreeMap<String, NamespaceFacts>,
    /// Pods to plan for: something changed that may matter for a write.
    pub(crate) dirty: BTreeSet<PodName>,
    /// Nodes whose agent fell silent or reports again, until that is announced.
    pub(crate) agents_changed: BTreeSet<NodeName>,
    /// Nodes where memory is not decreased any more, or is again, until that is announced.
    pub(crate) memory_shrinks_changed: BTreeSet<NodeName>,
    /// Nodes whose pods' sizes are to be planned anew: a class, a pod that names one, or what bounds its size changed.
    pub(crate) resize_dirty: BTreeSet<NodeName>,
    pub(crate) machines: Machines,
    pub(crate) classes: Classes,
    autoscalers: ByNamespace<AutoscalerFacts>,
    quotas: ByNamespace<QuotaFacts>,
    limit_ranges: ByNamespace<LimitRangeFacts>,
    /// Whether anything is resized.
    resizes: bool,
    pub(crate) invalid_ignores: InvalidIgnores,
    pub(crate) unreadable: UnreadableObjects,
    /// Nodes that the API server lists.
    pub(crate) listed_nodes: usize,
    /// Rises whenever the status of a pod may have changed.
    pub(crate) revision: u64,
    output: Output,
    left_alone: BTreeSet<String>,
    /// Config hashes, with their node, whose claims changed.
    unsettled: BTreeSet<(NodeName, PodUid)>,
    roster_process: String,
    roster_base: u64,
    roster_version: u64,
    /// Whether pods, nodes and namespaces were listed.
    listed: [bool; 3],
}

impl State {
    pub(crate) fn new(settings: &Settings) -> State {
        State {
            pods: BTreeMap::new(),
            by_uid: BTreeMap::new(),
            nodes: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            dirty: BTreeSet::new(),
            agents_changed: BTreeSet::new(),
            memory_shrinks_changed: BTreeSet::new(),
            resize_dirty: BTreeSet::new(),
            machines: Machines::default(),
            classes: Classes::default(),
            autoscalers: ByNamespace::default(),
            quotas: ByNamespace::default(),
            limit_ranges: ByNamespace::default(),
            resizes: settings.resize.enabled,
            invalid_ignores: InvalidIgnores::default(),
            unreadable: UnreadableObjects::default(),
            listed_nodes: 0,
            revision: 0,
            output: settings.output,
            left_alone: settings.left_alone.clone(),
            unsettled: BTreeSet::new(),
            roster_process: settings.process_text(),
            roster_base: settings.roster_base(),
            roster_version: settings.roster_base(),
            listed: [false; 3],
        }
    }

    /// Whether pods, nodes and namespaces were listed.
    pub(crate) fn synced(&self) -> bool {
        self.listed == [true; 3]
    }

    /// Whether the pod's namespace was seen. Until then nobody knows whether its pods are to be ignored: nothing is written to them.
    pub(crate) fn knows_namespace(&self, pod: &PodName) -> bool {
        self.namespaces.contains_key(pod.namespace.as_ref())
    }

    /// Why a pod gets no labels, if it gets none.
    pub(crate) fn left_alone(&self, facts: &PodFacts) -> Option<LeftAlone> {
        let namespace = facts.pod.namespace.as_ref();
        if self.left_alone.contains(namespace) {
            Some(LeftAlone::SystemNamespace)
        } else if facts.ignore() == Ignore::Yes {
            Some(LeftAlone::PodIgnored)
        } else if self.namespaces.get(namespace).is_some_and(|n| n.ignore == Ignore::Yes) {
            Some(LeftAlone::NamespaceIgnored)
        } else {
            facts.finished.then_some(LeftAlone::Finished)
        }
    }

    /// The node that a pod is bound to.
    pub(crate) fn node_of(&self, facts: &PodFacts) -> Option<&Node> {
        self.nodes.get(facts.node.as_ref()?)
    }

    // pods

    /// The watch of pods.
    pub(crate) fn observe_pods(&mut self, now: Moment, event: WatchEvent<PodFacts, PodKey>) {
        match event {
            WatchEvent::Listed(pods) => {
                self.listed[0] = true;
                let listed: BTreeSet<PodName> = pods.iter().map(|facts| facts.pod.clone()).collect();
                for name in missing(self.pods.keys(), &listed) {
                    self.drop_pod(&name);
                }
                for facts in pods {
                    self.put_pod(now, facts, true);
                }
            }
            WatchEvent::Changed(facts) => self.put_pod(now, *facts, false),
            WatchEvent::Unreadable(PodKey { pod, uid }, problem) => {
                self.drop_pod(&pod);
                self.unreadable.add(ObjectName::Pod(pod), Some(uid), problem);
            }
            WatchEvent::Deleted(PodKey { pod, uid }) => {
                self.unreadable.remove(&ObjectName::Pod(pod.clone()));
                if self.pods.get(&pod).is_some_and(|known| known.facts.uid == uid) {
                    self.drop_pod(&pod);
                }
            }
        }
        self.settle_claims();
    }

    fn put_pod(&mut self, now: Moment, facts: PodFacts, relisted: bool) {
        let facts = self.compact(facts);
        let name = facts.pod.clone();
        self.unreadable.remove(&ObjectName::Pod(name.clone()));
        self.dirty.insert(name.clone());
        self.revision += 1;
        let ignore = facts.ignore();
        match self.pods.get_mut(&name) {
            Some(pod) if pod.facts.uid == facts.uid => {
                pod.writes.observe(&facts, self.output, relisted);
                if pod.facts == facts {
                    return;
                }
                self.change_pod(now, &name, facts);
            }
            Some(_) => {
                self.drop_pod(&name);
                self.insert_pod(now, facts, relisted);
            }
            None => self.insert_pod(now, facts, relisted),
        }
        self.invalid_ignores.observe(ObjectName::Pod(name), ignore);
    }

    /// Saves memory: the node's name is shared, and of the evidence only what it says of other managers is read again.
    fn compact(&self, mut facts: PodFacts) -> PodFacts {
        if let Some((name, _)) = facts.node.as_ref().and_then(|node| self.nodes.get_key_value(node)) {
            facts.node = Some(name.clone());
        }
        if let Some(text) = facts.annotations.get_mut(keys::EVIDENCE) {
            *text = labels::foreign_part(text);
        }
        facts
    }

    fn insert_pod(&mut self, now: Moment, facts: PodFacts, relisted: bool) {
        let name = facts.pod.clone();
        self.index(now, &facts);
        let has_entry = self.roster_entry(&facts).is_some();
        self.pods.insert(
            name.clone(),
            Box::new(Pod { appeared: (!relisted).then_some(now), ..Pod::new(now, facts) }),
        );
        self.dirty_resize(&name);
        if has_entry {
            self.renew_roster_entry(&name);
        }
    }

    fn change_pod(&mut self, now: Moment, name: &PodName, facts: PodFacts) {
        let Some(old) = self.pods.get(name).map(|pod| pod.facts.clone()) else {
            return;
        };
        let moved = old.node != facts.node;
        let renewed = moved || self.roster_entry(&old) != self.roster_entry(&facts);
        if moved || old.cgroup_uid != facts.cgroup_uid || old.mirror_of != facts.mirror_of {
            self.unindex(&old);
        }
        self.index(now, &facts);
        self.prune(old.node.as_ref());
        // Before and after: it may lose its class, or its node.
        self.dirty_resize(name);
        if let Some(pod) = self.pods.get_mut(name) {
            pod.observe(facts);
        }
        self.dirty_resize(name);
        if moved {
            self.lose_load(now, now, name, None);
        }
        if renewed {
            self.renew_roster_entry(name);
        }
    }

    fn drop_pod(&mut self, name: &PodName) {
        self.dirty_resize(name);
        let Some(pod) = self.pods.remove(name) else { return };
        self.unindex(&pod.facts);
        self.prune(pod.facts.node.as_ref());
        self.invalid_ignores.observe(ObjectName::Pod(name.clone()), Ignore::No);
        self.dirty.insert(name.clone());
        self.revision += 1;
    }

    fn index(&mut self, now: Moment, facts: &PodFacts) {
        if let Some(node) = &facts.node {
            self.nodes.entry(node.clone()).or_insert_with(|| Node::new(now)).pods.insert(facts.pod.clone());
        }
        if facts.mirror_of.is_some() {
            self.put_claim(facts);
        } else if let Some(uid) = &facts.cgroup_uid {
            self.by_uid.insert(uid.clone(), facts.pod.clone());
        }
    }

    fn unindex(&mut self, facts: &PodFacts) {
        if facts.mirror_of.is_some() {
            self.drop_claim(facts);
        } else if let Some(uid) = &facts.cgroup_uid {
            self.by_uid.remove(uid);
        }
        if let Some(name) = &facts.node
            && let Some(node) = self.nodes.get_mut(name)
        {
            node.pods.remove(&facts.pod);
        }
    }

    /// Forgets a node that is not listed and has no pods.
    fn prune(&mut self, name: Option<&NodeName>) {
        if let Some(name) = name
            && self.nodes.get(name).is_some_and(|node| node.pods.is_empty() && node.facts.is_none())
        {
            self.nodes.remove(name);
            self.machines.forget(name);
        }
    }

    // nodes

    /// The watch of nodes.
    pub(crate) fn observe_nodes(&mut self, now: Moment, event: WatchEvent<NodeFacts, NodeName>) {
        match event {
            WatchEvent::Listed(nodes) => {
                self.listed[1] = true;
                let listed: BTreeSet<NodeName> = nodes.iter().map(|facts| facts.name.clone()).collect();
                for name in missing(self.nodes.keys(), &listed) {
                    self.delist_node(&name);
                }
                for facts in nodes {
                    self.put_node(now, facts);
                }
            }
            WatchEvent::Changed(facts) => self.put_node(now, *facts),
            WatchEvent::Unreadable(name, problem) => {
                self.delist_node(&name);
                self.unreadable.add(ObjectName::Node(name), None, problem);
            }
            WatchEvent::Deleted(name) => {
                self.unreadable.remove(&ObjectName::Node(name.clone()));
                self.delist_node(&name);
            }
        }
        self.settle_claims();
    }

    /// A node that was deleted and added again, with another uid, is another machine: what was known of the agent of the one before says
    /// nothing about it.
    fn put_node(&mut self, now: Moment, facts: NodeFacts) {
        self.unreadable.remove(&ObjectName::Node(facts.name.clone()));
        let name = facts.name.clone();
        let node = self.nodes.entry(name.clone()).or_insert_with(|| Node::new(now));
        let uid = facts.uid.clone();
        let ready = facts.is_ready();
        let before = node.facts.replace(facts);
        self.listed_nodes += usize::from(before.is_none());
        if !ready && before.as_ref().is_some_and(NodeFacts::is_ready) {
            node.memory_shrinks.became_unready(now);
            if node.memory_shrinks.is_news(now) {
                self.memory_shrinks_changed.insert(name.clone());
            }
        }
        if before.is_none_or(|before| before.uid != uid) {
            node.forget_agent(now);
            self.machines.forget(&name);
            self.unsettle_node(&name);
        }
    }

    /// A node was deleted; its pods stay until their watch says otherwise.
    fn delist_node(&mut self, name: &NodeName) {
        if let Some(node) = self.nodes.get_mut(name)
            && node.facts.take().is_some()
        {
            self.listed_nodes -= 1;
            self.unsettle_node(name);
            self.prune(Some(name));
        }
    }

    // namespaces

    /// The watch of namespaces.
    pub(crate) fn observe_namespaces(&mut self, event: WatchEvent<NamespaceFacts, String>) {
        match event {
            WatchEvent::Listed(namespaces) => {
                self.listed[2] = true;
                let listed: BTreeSet<String> = namespaces.iter().map(|facts| facts.name.clone()).collect();
                for name in missing(self.namespaces.keys(), &listed) {
                    self.set_namespace(&name, None);
                }
                for facts in namespaces {
                    self.set_namespace(&facts.name.clone(), Some(facts));
                }
            }
            WatchEvent::Changed(facts) => self.set_namespace(&facts.name.clone(), Some(*facts)),
            WatchEvent::Unreadable(name, problem) => {
                self.set_namespace(&name, None);
                self.unreadable.add(ObjectName::Namespace(name), None, problem);
            }
            WatchEvent::Deleted(name) => self.set_namespace(&name, None),
        }
    }

    /// A namespace that changes what it says about its pods changes each of them.
    fn set_namespace(&mut self, name: &str, facts: Option<NamespaceFacts>) {
        self.unreadable.remove(&ObjectName::Namespace(name.to_owned()));
        let ignore = facts.as_ref().map(|facts| facts.ignore.clone()).unwrap_or_default();
        self.invalid_ignores.observe(ObjectName::Namespace(name.to_owned()), ignore);
        // One that is not known says something else than one that says nothing.
        let says = |facts: Option<&NamespaceFacts>| facts.map(|f| (f.ignore == Ignore::Yes, f.class.clone()));
        let changed = says(self.namespaces.get(name)) != says(facts.as_ref());
        let pods: Vec<PodName> = if changed { self.pods_in(name) } else { Vec::new() };
        let managed = |state: &State, pod: &PodName| {
            state.pods.get(pod).is_some_and(|pod| state.is_managed(&pod.facts))
        };
        let before: Vec<bool> = pods.iter().map(|pod| managed(self, pod)).collect();
        pods.iter().for_each(|pod| self.dirty_resize(pod));
        match facts {
            Some(facts) => drop(self.namespaces.insert(name.into(), facts)),
            None => drop(self.namespaces.remove(name)),
        }
        for (pod, before) in pods.into_iter().zip(before) {
            if managed(self, &pod) != before {
                self.renew_roster_entry(&pod);
            }
            self.revision += 1;
            self.dirty_resize(&pod);
            self.dirty.insert(pod);
        }
    }

    pub(crate) fn pods_in(&self, namespace: &str) -> Vec<PodName> {
        let pods = self.pods.range(PodName::new(namespace, "")..).map(|(name, _)| name);
        pods.take_while(|name| name.namespace.as_ref() == namespace).cloned().collect()
    }
}

/// The known keys that a complete list does not name.
fn missing<'a, K: Ord + Clone + 'a>(known: impl Iterator<Item = &'a K>, listed: &BTreeSet<K>) -> Vec<K> {
    known.filter(|key| !listed.contains(*key)).cloned().collect()
}
