//! Objects of one kind, by namespace, as their watch shows them.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::{AutoscalerFacts, LimitRangeFacts, ObjectKey, QuotaFacts};
use crate::input::WatchEvent;

/// Facts of an object of a namespace.
pub(super) trait Namespaced {
    fn key(&self) -> &ObjectKey;
    /// Whether the two say the same about which sizes are possible. Numbers that change all the time do not count: they are read anew
    /// with each plan.
    fn is_like(&self, other: &Self) -> bool;
}

/// The objects.
#[derive(Debug)]
pub(super) struct ByNamespace<F> {
    objects: BTreeMap<ObjectKey, F>,
    /// Those that are there and cannot be read.
    unreadable: BTreeSet<ObjectKey>,
    /// Whether a complete list arrived.
    pub(super) listed: bool,
}

impl<F> Default for ByNamespace<F> {
    fn default() -> Self {
        ByNamespace { objects: BTreeMap::new(), unreadable: BTreeSet::new(), listed: false }
    }
}

impl<F: Namespaced> ByNamespace<F> {
    /// What the watch says. The namespaces in which it makes a difference.
    pub(super) fn observe(&mut self, event: WatchEvent<F, ObjectKey>) -> BTreeSet<String> {
        let mut changed = BTreeSet::new();
        match event {
            WatchEvent::Listed(all) => {
                self.listed = true;
                let listed: BTreeSet<ObjectKey> = all.iter().map(|facts| facts.key().clone()).collect();
                let gone: Vec<ObjectKey> =
                    self.objects.keys().filter(|key| !listed.contains(*key)).cloned().collect();
                for key in gone {
                    self.objects.remove(&key);
                    changed.insert(key.namespace);
                }
                for facts in all {
                    self.put(facts, &mut changed);
                }
            }
            WatchEvent::Changed(facts) => self.put(*facts, &mut changed),
            WatchEvent::Deleted(key) => {
                if self.unreadable.remove(&key) | self.objects.remove(&key).is_some() {
                    changed.insert(key.namespace);
                }
            }
            WatchEvent::Unreadable(key, _) => {
                self.objects.remove(&key);
                changed.insert(key.namespace.clone());
                self.unreadable.insert(key);
            }
        }
        changed
    }

    fn put(&mut self, facts: F, changed: &mut BTreeSet<String>) {
        let key = facts.key().clone();
        let was_unreadable = self.unreadable.remove(&key);
        let is_new = self.objects.get(&key).is_none_or(|known| !known.is_like(&facts));
        if was_unreadable || is_new {
            changed.insert(key.namespace.clone());
        }
        self.objects.insert(key, facts);
    }

    /// Those of one namespace.
    pub(super) fn of(&self, namespace: &str) -> impl Iterator<Item = &F> {
        let from = first(namespace);
        self.objects
            .range(from..)
            .map(|(_, facts)| facts)
            .take_while(move |facts| facts.key().namespace == namespace)
    }

    /// The name of one of the namespace that cannot be read.
    pub(super) fn unreadable(&self, namespace: &str) -> Option<&str> {
        let key = self.unreadable.range(first(namespace)..).next()?;
        (key.namespace == namespace).then_some(key.name.as_str())
    }
}

/// What comes before every object of the namespace.
fn first(namespace: &str) -> ObjectKey {
    ObjectKey { namespace: namespace.to_owned(), name: String::new() }
}

impl Namespaced for AutoscalerFacts {
    fn key(&self) -> &ObjectKey {
        &self.key
    }
    fn is_like(&self, other: &Self) -> bool {
        self == other
    }
}

impl Namespaced for QuotaFacts {
    fn key(&self) -> &ObjectKey {
        &self.key
    }
    fn is_like(&self, other: &Self) -> bool {
        let hard = |facts: &QuotaFacts| {
            [facts.requests, facts.limits]
                .map(|values| (values.cpu.map(|v| v.hard), values.memory.map(|v| v.hard)))
        };
        self.scopes == other.scopes && hard(self) == hard(other)
    }
}

impl Namespaced for LimitRangeFacts {
    fn key(&self) -> &ObjectKey {
        &self.key
    }
    fn is_like(&self, other: &Self) -> bool {
        self == other
    }
}
