//! The view: the cluster as reports and watches tell it. Pure: time is an argument, every map is ordered.
//!
//! It keeps, and never decides. What changed in a way that may matter for a write lands in `dirty`; a report touches
//! only the pods of its node.
//!
//! ```text
//! pods  by name      <- by_cgroup: the uid in a report
//! nodes by name      -> their pods
//! namespaces by name -> ignore, class
//! ```

mod intake;
mod node;
mod pod;
mod roster;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plimsoll_contract::status::{LeftAlone, NodeState};
use plimsoll_contract::{NodeName, PodName, PodUid, keys};

use crate::input::{NamespaceFacts, PodFacts};
use crate::settings::{Output, Settings};
pub(crate) use node::Node;
pub(crate) use pod::{Load, Pod, Track};
pub(crate) use roster::announced;

/// The cluster.
#[derive(Debug)]
pub(crate) struct View {
    /// Pods, also those that finished. Boxed: half of a map's room is empty.
    pub(crate) pods: BTreeMap<PodName, Box<Pod>>,
    /// Pods by what their cgroup is called.
    pub(crate) by_cgroup: BTreeMap<PodUid, PodName>,
    /// Nodes, also those only named by pods.
    pub(crate) nodes: BTreeMap<NodeName, Node>,
    /// Namespaces.
    pub(crate) namespaces: BTreeMap<String, NamespaceFacts>,
    /// Pods about which something changed that may matter for a write.
    pub(crate) dirty: BTreeSet<PodName>,
    /// Pods that have not finished.
    pub(crate) living: usize,
    /// Nodes the API server knows.
    pub(crate) listed_nodes: usize,
    /// The newest generation of any status.
    pub(crate) generation: u64,
    /// Pods by the generation of their status.
    pub(crate) changes: BTreeMap<u64, PodName>,
    output: Output,
    left_alone: BTreeSet<String>,
    roster_base: u64,
    roster_version: u64,
    listed: [bool; 3],
}

impl View {
    /// Nothing is known.
    pub(crate) fn new(settings: &Settings) -> View {
        View {
            pods: BTreeMap::new(),
            by_cgroup: BTreeMap::new(),
            nodes: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            dirty: BTreeSet::new(),
            living: 0,
            listed_nodes: 0,
            generation: 0,
            changes: BTreeMap::new(),
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

    /// Why a pod gets no labels, if so.
    pub(crate) fn left_alone(&self, facts: &PodFacts) -> Option<LeftAlone> {
        let namespace = facts.pod.namespace.as_ref();
        if self.left_alone.contains(namespace) {
            Some(LeftAlone::SystemNamespace)
        } else if facts.labels.get(keys::IGNORE).is_some_and(|value| value == "true") {
            Some(LeftAlone::PodIgnored)
        } else if self.namespaces.get(namespace).is_some_and(|n| n.ignored) {
            Some(LeftAlone::NamespaceIgnored)
        } else {
            facts.finished.then_some(LeftAlone::Finished)
        }
    }

    /// Whether a pod's node was never heard by this replica, and not long enough to call it silent.
    pub(crate) fn unheard(&self, facts: &PodFacts) -> bool {
        let node = facts.node.as_ref().and_then(|node| self.nodes.get(node));
        node.is_some_and(|node| node.heard.is_none() && node.state != NodeState::Silent)
    }

    /// Marks the status of a pod as changed.
    pub(crate) fn touch(&mut self, name: &PodName) {
        let Some(pod) = self.pods.get_mut(name) else {
            return;
        };
        self.generation += 1;
        self.changes.remove(&pod.generation);
        pod.generation = self.generation;
        self.changes.insert(self.generation, name.clone());
    }

    // pods

    /// The complete list of pods.
    pub(crate) fn list_pods(&mut self, now: Duration, pods: Vec<PodFacts>) {
        self.listed[0] = true;
        let names: BTreeSet<PodName> = pods.iter().map(|p| p.pod.clone()).collect();
        let gone: Vec<PodName> = self.pods.keys().filter(|name| !names.contains(*name)).cloned().collect();
        for name in gone {
            self.drop_pod(&name);
        }
        for facts in pods {
            self.put_pod(now, facts, true);
        }
    }

    /// A pod as the watch says it now; `relisted`: what happened in between was not seen.
    pub(crate) fn put_pod(&mut self, now: Duration, facts: PodFacts, relisted: bool) {
        let facts = self.slim(facts);
        let name = facts.pod.clone();
        match self.pods.get_mut(&name) {
            Some(pod) if pod.facts.uid == facts.uid => {
                pod.pen.saw(&facts, self.output, relisted);
                if pod.facts == facts {
                    self.dirty.insert(name);
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
        self.dirty.insert(name.clone());
        self.touch(&name);
    }

    /// Without what is not needed twice: the node's name is shared, the text of the evidence is only for others to read.
    fn slim(&self, mut facts: PodFacts) -> PodFacts {
        if let Some((name, _)) = facts.node.as_ref().and_then(|node| self.nodes.get_key_value(node)) {
            facts.node = Some(name.clone());
        }
        if let Some(text) = facts.annotations.get_mut(keys::EVIDENCE) {
            *text = String::new();
        }
        facts
    }

    /// A pod is gone; another one of the same name is not.
    pub(crate) fn remove_pod(&mut self, name: &PodName, uid: &str) {
        if self.pods.get(name).is_some_and(|pod| pod.facts.uid == uid) {
            self.drop_pod(name);
        }
    }

    fn insert_pod(&mut self, now: Duration, facts: PodFacts) {
        let name = facts.pod.clone();
        self.index(now, &facts);
        let entry = self.entry(&facts).is_some();
        self.pods.insert(name.clone(), Box::new(Pod::new(now, facts)));
        if entry {
            self.renew(&name);
        }
    }

    fn change_pod(&mut self, now: Duration, name: &PodName, facts: PodFacts) {
        let Some(old) = self.pods.get(name).map(|pod| pod.facts.clone()) else {
            return;
        };
        let moved = old.node != facts.node;
        let renewed = moved || self.entry(&old) != self.entry(&facts);
        self.unindex(&old);
        self.index(now, &facts);
        self.prune(old.node.as_ref());
        if let Some(pod) = self.pods.get_mut(name) {
            pod.facts = facts;
        }
        if moved {
            self.lose(now, now, name, None);
        }
        if renewed {
            self.renew(name);
        }
    }

    fn drop_pod(&mut self, name: &PodName) {
        let Some(pod) = self.pods.remove(name) else { return };
        self.unindex(&pod.facts);
        self.prune(pod.facts.node.as_ref());
        self.changes.remove(&pod.generation);
        self.dirty.insert(name.clone());
    }

    fn index(&mut self, now: Duration, facts: &PodFacts) {
        self.living += usize::from(!facts.finished);
        if let Some(uid) = &facts.cgroup_uid {
            self.by_cgroup.insert(uid.clone(), facts.pod.clone());
        }
        if let Some(node) = &facts.node {
            let node = self.nodes.entry(node.clone()).or_insert_with(|| Node::new(now, false));
            node.pods.insert(facts.pod.clone());
        }
    }

    fn unindex(&mut self, facts: &PodFacts) {
        self.living -= usize::from(!facts.finished);
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

    /// Forgets a node that nobody names any more.
    fn prune(&mut self, name: Option<&NodeName>) {
        if let Some(name) = name
            && self.nodes.get(name).is_some_and(|node| node.pods.is_empty() && !node.listed)
        {
            self.nodes.remove(name);
        }
    }

    /// Gives a pod's roster entry a new version.
    fn renew(&mut self, name: &PodName) {
        let Some(pod) = self.pods.get_mut(name) else {
            return;
        };
        self.roster_version += 1;
        pod.roster_version = self.roster_version;
        if let Some(node) = pod.facts.node.as_ref().and_then(|node| self.nodes.get_mut(node)) {
            node.roster_newest = self.roster_version;
        }
    }

    // nodes

    /// The complete list of nodes.
    pub(crate) fn list_nodes(&mut self, now: Duration, nodes: Vec<NodeName>) {
        self.listed[1] = true;
        let nodes: BTreeSet<NodeName> = nodes.into_iter().collect();
        let gone = self.nodes.iter().filter(|(name, node)| node.listed && !nodes.contains(*name));
        let gone: Vec<NodeName> = gone.map(|(name, _)| name.clone()).collect();
        for name in gone {
            self.remove_node(&name);
        }
        for name in nodes {
            self.put_node(now, name);
        }
    }

    /// A node is there.
    pub(crate) fn put_node(&mut self, now: Duration, name: NodeName) {
        let node = self.nodes.entry(name).or_insert_with(|| Node::new(now, false));
        if !node.listed {
            node.listed = true;
            node.first_seen = now;
            node.state = NodeState::Reporting;
            self.listed_nodes += 1;
        }
    }

    /// A node is gone; its pods stay until the watch says otherwise.
    pub(crate) fn remove_node(&mut self, name: &NodeName) {
        let Some(node) = self.nodes.get_mut(name).filter(|node| node.listed) else {
            return;
        };
        node.listed = false;
        self.listed_nodes -= 1;
        if node.pods.is_empty() {
            self.nodes.remove(name);
        }
    }

    // namespaces

    /// The complete list of namespaces.
    pub(crate) fn list_namespaces(&mut self, namespaces: Vec<NamespaceFacts>) {
        self.listed[2] = true;
        let names: BTreeSet<&String> = namespaces.iter().map(|n| &n.name).collect();
        let gone: Vec<String> =
            self.namespaces.keys().filter(|name| !names.contains(name)).cloned().collect();
        for name in gone {
            self.set_namespace(&name, None);
        }
        for facts in namespaces {
            self.put_namespace(facts);
        }
    }

    /// A namespace as the watch says it now.
    pub(crate) fn put_namespace(&mut self, facts: NamespaceFacts) {
        self.set_namespace(&facts.name.clone(), Some(facts));
    }

    /// A namespace is gone, or another.
    pub(crate) fn set_namespace(&mut self, name: &str, facts: Option<NamespaceFacts>) {
        let said =
            |facts: Option<&NamespaceFacts>| facts.map(|f| (f.ignored, f.class.clone())).unwrap_or_default();
        let unchanged = said(self.namespaces.get(name)) == said(facts.as_ref());
        let pods: Vec<PodName> = if unchanged { Vec::new() } else { self.in_namespace(name) };
        let managed: Vec<bool> = pods.iter().map(|p| self.managed(p)).collect();
        match facts {
            Some(facts) => drop(self.namespaces.insert(name.into(), facts)),
            None => drop(self.namespaces.remove(name)),
        }
        for (pod, managed) in pods.iter().zip(managed) {
            if self.managed(pod) != managed {
                self.renew(pod);
            }
            self.dirty.insert(pod.clone());
            self.touch(pod);
        }
    }

    fn managed(&self, name: &PodName) -> bool {
        self.pods.get(name).is_some_and(|pod| self.class(&pod.facts).is_some())
    }

    fn in_namespace(&self, namespace: &str) -> Vec<PodName> {
        let from = PodName::new(namespace, "");
        let pods = self.pods.range(from..).map(|(name, _)| name);
        pods.take_while(|name| name.namespace.as_ref() == namespace).cloned().collect()
    }
}
