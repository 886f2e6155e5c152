//! Objects whose owners are to be told something. Namespaces take turns: many objects in one do not delay those of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use plimsoll_contract::{NodeName, PodName};

/// An object of the API server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ObjectName {
    Namespace(String),
    Node(NodeName),
    Pod(PodName),
}

impl ObjectName {
    /// The namespace whose owner it belongs to; empty for a node.
    fn namespace(&self) -> &str {
        match self {
            ObjectName::Namespace(name) => name,
            ObjectName::Node(_) => "",
            ObjectName::Pod(pod) => &pod.namespace,
        }
    }
}

/// The objects of which nobody was told yet.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// By namespace; none is empty.
    waiting: BTreeMap<String, BTreeSet<ObjectName>>,
    /// The namespace whose turn it was last.
    last: String,
}

impl Turns {
    pub(super) fn add(&mut self, object: ObjectName) {
        self.waiting.entry(object.namespace().to_owned()).or_default().insert(object);
    }

    pub(super) fn remove(&mut self, object: &ObjectName) {
        let Some(objects) = self.waiting.get_mut(object.namespace()) else { return };
        objects.remove(object);
        if objects.is_empty() {
            self.waiting.remove(object.namespace());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The next object; it waits no longer.
    pub(super) fn next(&mut self) -> Option<ObjectName> {
        let after = (Bound::Excluded(self.last.as_str()), Bound::Unbounded);
        let (namespace, objects) =
            self.waiting.range::<str, _>(after).next().or_else(|| self.waiting.first_key_value())?;
        let object = objects.first()?.clone();
        self.last.clone_from(namespace);
        self.remove(&object);
        Some(object)
    }
}
