//! The state: the cluster as watches, reports and outcomes describe it. Pure: time is an argument, every map is ordered.
//!
//! It records and never decides. Pods about which something changed that may matter for a write are put into `dirty`; a report
//! touches only the pods of its node.
//!
//! ```text
//! pods  by name      <- by_cgroup: the uid in a report
//! nodes by name      -> their pods
//! namespaces by name -> ignore, class
//! ```

mod ignore;
mod ingest;
mod node;
mod pod;
mod roster;

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_contract::status::{AgentState, LeftAlone};
use plimsoll_contract::{Moment, NodeName, PodName, PodUid, keys};

use crate::facts::{Ignore, NamespaceFacts, NodeFacts, PodFacts};
use crate::input::{PodKey, WatchEvent};
use crate::labels;
use crate::settings::{Output, Settings};
pub(crate) use ignore::{InvalidIgnores, Labeled};
pub(crate) use node::Node;
pub(crate) use pod::{LoadHistory, Pod, WITH_CAUSES};
pub(crate) use roster::{bands_on, not_bands_on};

/// The cluster.
#[derive(Debug)]
pub(crate) struct State {
    /// Pods, finished ones included. Boxed: half of a map's room is empty.
    pub(crate) pods: BTreeMap<PodName, Box<Pod>>,
    /// Pods by the uid in their cgroup's name.
    pub(crate) by_cgroup: BTreeMap<PodUid, PodName>,
    /// Nodes, those known only from pods bound to them included.
    pub(crate) nodes: BTreeMap<NodeName, Node>,
    pub(crate) namespaces: BTreeMap<String, NamespaceFacts>,
    /// Pods to plan for: something changed that may matter for a write.
    pub(crate) dirty: BTreeSet<PodName>,
    /// Nodes whose agent fell silent or reports again, until that is announced.
    pub(crate) agents_changed: BTreeSet<NodeName>,
    pub(crate) invalid_ignores: InvalidIgnores,
    /// Nodes that the API server lists.
    pub(crate) listed_nodes: usize,
    /// Rises whenever the status of a pod may have changed.
    pub(crate) revision: u64,
    output: Output,
    left_alone: BTreeSet<String>,
    roster_base: u64,
    roster_version: u64,
    /// Whether pods, nodes and namespaces were listed.
    listed: [bool; 3],
}

impl State {
    pub(crate) fn new(settings: &Settings) -> State {
        State {
            pods: BTreeMap::new(),
            by_cgroup: BTreeMap::new(),
            nodes: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            dirty: BTreeSet::new(),
            agents_changed: BTreeSet::new(),
            invalid_ignores: InvalidIgnores::default(),
            listed_nodes: 0,
            revision: 0,
            output: settings.output,
            left_alone: settings.left_alone.clone(),
            roster_base: settings.roster_base.max(1),
            roster_version: settings.roster_base.max(1),
            listed: [false; 3],
        }
    }

    /// Whether pods, nodes and namespaces were listed.
    pub(crate) fn synced(&self) -> bool {
        self.listed == [true; 3]
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
            WatchEvent::Deleted(PodKey { pod, uid }) => {
                if self.pods.get(&pod).is_some_and(|known| known.facts.uid == uid) {
                    self.drop_pod(&pod);
                }
            }
        }
    }

    fn put_pod(&mut self, now: Moment, facts: PodFacts, relisted: bool) {
        let facts = self.compact(facts);
        let name = facts.pod.clone();
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
                self.insert_pod(now, facts);
            }
            None => self.insert_pod(now, facts),
        }
        self.invalid_ignores.observe(Labeled::Pod(name), ignore);
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

    fn insert_pod(&mut self, now: Moment, facts: PodFacts) {
        let name = facts.pod.clone();
        self.index(now, &facts);
        let has_entry = self.roster_entry(&facts).is_some();
        self.pods.insert(name.clone(), Box::new(Pod::new(now, facts)));
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
        self.unindex(&old);
        self.index(now, &facts);
        self.prune(old.node.as_ref());
        if let Some(pod) = self.pods.get_mut(name) {
            pod.facts = facts;
        }
        if moved {
            self.lose_load(now, now, name, None);
        }
        if renewed {
            self.renew_roster_entry(name);
        }
    }

    fn drop_pod(&mut self, name: &PodName) {
        let Some(pod) = self.pods.remove(name) else { return };
        self.unindex(&pod.facts);
        self.prune(pod.facts.node.as_ref());
        self.invalid_ignores.observe(Labeled::Pod(name.clone()), Ignore::No);
        self.dirty.insert(name.clone());
        self.revision += 1;
    }

    fn index(&mut self, now: Moment, facts: &PodFacts) {
        if let Some(uid) = &facts.cgroup_uid {
            self.by_cgroup.insert(uid.clone(), facts.pod.clone());
        }
        if let Some(node) = &facts.node {
            self.nodes.entry(node.clone()).or_insert_with(|| Node::new(now)).pods.insert(facts.pod.clone());
        }
    }

    fn unindex(&mut self, facts: &PodFacts) {
        if let Some(uid) = &facts.cgroup_uid
            && self.by_cgroup.get(uid) == Some(&facts.pod)
        {
            self.by_cgroup.remove(uid);
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
            WatchEvent::Deleted(name) => self.delist_node(&name),
        }
    }

    fn put_node(&mut self, now: Moment, facts: NodeFacts) {
        let node = self.nodes.entry(facts.name.clone()).or_insert_with(|| Node::new(now));
        if node.facts.replace(facts).is_none() {
            node.first_seen = now;
            node.agent = AgentState::Reporting;
            node.announced_silent = false;
            self.listed_nodes += 1;
        }
    }

    /// A node was deleted; its pods stay until their watch says otherwise.
    fn delist_node(&mut self, name: &NodeName) {
        if let Some(node) = self.nodes.get_mut(name)
            && node.facts.take().is_some()
        {
            self.listed_nodes -= 1;
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
            WatchEvent::Deleted(name) => self.set_namespace(&name, None),
        }
    }

    /// A namespace that changes what it says about its pods changes each of them.
    fn set_namespace(&mut self, name: &str, facts: Option<NamespaceFacts>) {
        let ignore = facts.as_ref().map(|facts| facts.ignore.clone()).unwrap_or_default();
        self.invalid_ignores.observe(Labeled::Namespace(name.to_owned()), ignore);
        let says = |facts: Option<&NamespaceFacts>| {
            facts.map(|f| (f.ignore == Ignore::Yes, f.class.clone())).unwrap_or_default()
        };
        let changed = says(self.namespaces.get(name)) != says(facts.as_ref());
        let pods: Vec<PodName> = if changed { self.pods_in(name) } else { Vec::new() };
        let managed = |state: &State, pod: &PodName| {
            state.pods.get(pod).is_some_and(|pod| state.class(&pod.facts).is_some())
        };
        let before: Vec<bool> = pods.iter().map(|pod| managed(self, pod)).collect();
        match facts {
            Some(facts) => drop(self.namespaces.insert(name.into(), facts)),
            None => drop(self.namespaces.remove(name)),
        }
        for (pod, before) in pods.into_iter().zip(before) {
            if managed(self, &pod) != before {
                self.renew_roster_entry(&pod);
            }
            self.revision += 1;
            self.dirty.insert(pod);
        }
    }

    fn pods_in(&self, namespace: &str) -> Vec<PodName> {
        let pods = self.pods.range(PodName::new(namespace, "")..).map(|(name, _)| name);
        pods.take_while(|name| name.namespace.as_ref() == namespace).cloned().collect()
    }
}

/// The known keys that a complete list does not name.
fn missing<'a, K: Ord + Clone + 'a>(known: impl Iterator<Item = &'a K>, listed: &BTreeSet<K>) -> Vec<K> {
    known.filter(|key| !listed.contains(*key)).cloned().collect()
}
