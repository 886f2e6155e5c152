//! SLA classes, and which one a pod has. A class that becomes broken stays as it was when it was last whole, and its problem is told.
//!
//! The label of a pod names a class by the name of its object or, where there is no such object, by an alias of a class that ships.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use plimsoll_contract::PodName;
use plimsoll_sizing::policy::Policy;

use super::State;
use crate::facts::{ClassFacts, PodFacts};
use crate::input::WatchEvent;

/// Other names of the classes that ship.
const ALIASES: [(&str, &str); 3] = [("premium", "gold"), ("advanced", "silver"), ("besteffort", "bronze")];

/// A class.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Class {
    /// The API's uid, for Events about it.
    pub(crate) uid: Option<String>,
    /// The generation that was read last.
    pub(crate) generation: Option<i64>,
    /// As it applies: what it said when it could be read last.
    pub(crate) policy: Option<Policy>,
    /// Why what it says now does not apply.
    pub(crate) problem: Option<String>,
}

/// All classes.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    by_name: BTreeMap<String, Class>,
    /// Classes with a problem that nobody was told.
    untold: BTreeSet<String>,
    /// Whether a complete list arrived.
    pub(super) listed: bool,
}

/// Why a pod that names a class is not sized by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PolicyProblem<'a> {
    /// The classes are not listed yet.
    NotListed,
    /// There is no class of this name.
    Unknown(&'a str),
    /// It could never be read.
    Broken { class: &'a str, problem: &'a str },
}

impl fmt::Display for PolicyProblem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PolicyProblem::NotListed => f.write_str("the SLA classes are not known yet"),
            PolicyProblem::Unknown(class) => {
                write!(
                    f,
                    "there is no SLAClass {class:?}: create it, or name one of `kubectl get slaclasses`"
                )
            }
            PolicyProblem::Broken { class, problem } => {
                write!(f, "the SLAClass {class:?} is invalid: {problem}")
            }
        }
    }
}

impl Classes {
    /// The classes by name, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Class)> {
        self.by_name.iter().map(|(name, class)| (name.as_str(), class))
    }

    /// The name of the class that a label means.
    pub(crate) fn resolve<'a>(&self, label: &'a str) -> &'a str {
        let alias = || ALIASES.iter().find(|(alias, _)| *alias == label).map(|(_, class)| *class);
        if self.by_name.contains_key(label) { label } else { alias().unwrap_or(label) }
    }

    fn policy<'a>(&'a self, label: &'a str) -> Result<&'a Policy, PolicyProblem<'a>> {
        let name = self.resolve(label);
        match self.by_name.get(name) {
            None if !self.listed => Err(PolicyProblem::NotListed),
            None => Err(PolicyProblem::Unknown(name)),
            Some(Class { policy: Some(policy), .. }) => Ok(policy),
            Some(Class { problem, .. }) => Err(PolicyProblem::Broken {
                class: name,
                problem: problem.as_deref().unwrap_or("it cannot be read"),
            }),
        }
    }

    /// Whether there is a class with a problem that nobody was told.
    pub(crate) fn is_any_untold(&self) -> bool {
        !self.untold.is_empty()
    }

    /// The next class with a problem that nobody was told; it counts as told.
    pub(crate) fn next_untold(&mut self) -> Option<(String, Class)> {
        let name = self.untold.pop_first()?;
        let class = self.by_name.get(&name)?.clone();
        Some((name, class))
    }

    /// What the watch says. The names for which another policy applies now, or another reason why none does.
    fn observe(&mut self, event: WatchEvent<ClassFacts, String>) -> BTreeSet<String> {
        let mut changed = BTreeSet::new();
        match event {
            WatchEvent::Listed(all) => {
                self.listed = true;
                let listed: BTreeSet<&str> = all.iter().map(|facts| facts.name.as_str()).collect();
                let gone: Vec<String> =
                    self.by_name.keys().filter(|name| !listed.contains(name.as_str())).cloned().collect();
                for name in gone {
                    self.remove(&name, &mut changed);
                }
                for facts in all {
                    self.put(facts, &mut changed);
                }
            }
            WatchEvent::Changed(facts) => self.put(*facts, &mut changed),
            WatchEvent::Deleted(name) => self.remove(&name, &mut changed),
            WatchEvent::Unreadable(name, problem) => {
                let known = self.by_name.get(&name).cloned().unwrap_or_default();
                let facts =
                    ClassFacts { name, uid: known.uid, generation: known.generation, policy: Err(problem) };
                self.put(facts, &mut changed);
            }
        }
        changed
    }

    fn put(&mut self, facts: ClassFacts, changed: &mut BTreeSet<String>) {
        let ClassFacts { name, uid, generation, policy } = facts;
        let is_new = !self.by_name.contains_key(&name);
        let class = self.by_name.entry(name.clone()).or_default();
        // One that was deleted and created again is another: what the one before said does not hold.
        let before = if class.uid == uid { std::mem::take(class) } else { Class::default() };
        let (policy, problem) = match policy {
            Ok(policy) => (Some(policy), None),
            Err(problem) => (before.policy.clone(), Some(problem)),
        };
        let applies = is_new || before.policy != policy || (policy.is_none() && before.problem != problem);
        if problem.is_none() {
            self.untold.remove(&name);
        } else if before.problem != problem {
            self.untold.insert(name.clone());
        }
        *class = Class { uid, generation, policy, problem };
        if applies {
            changed.insert(name);
        }
    }

    fn remove(&mut self, name: &str, changed: &mut BTreeSet<String>) {
        self.untold.remove(name);
        if self.by_name.remove(name).is_some() {
            changed.insert(name.to_owned());
        }
    }
}

impl State {
    /// The watch of classes. A change reaches the pods of the class at once: their nodes are planned anew.
    pub(crate) fn observe_classes(&mut self, event: WatchEvent<ClassFacts, String>) {
        // Before the first list no class is known to be missing; afterwards all that are named and not in it are.
        let first = !self.classes.listed;
        let changed = self.classes.observe(event);
        let everything = first && self.classes.listed;
        if changed.is_empty() && !everything {
            return;
        }
        let named = |label: &str| changed.contains(label) || changed.contains(self.classes.resolve(label));
        let pods = self
            .pods
            .values()
            .filter(|pod| self.class(&pod.facts).is_some_and(|label| everything || named(label)));
        let pods: Vec<PodName> = pods.map(|pod| pod.facts.pod.clone()).collect();
        for pod in pods {
            self.renew_roster_entry(&pod);
            self.dirty_resize(&pod);
            self.revision += 1;
        }
    }

    /// How a pod is to be sized: by the class that it or its namespace names. None where no class was chosen, or nothing is resized.
    pub(crate) fn policy<'a>(&'a self, facts: &'a PodFacts) -> Option<Result<&'a Policy, PolicyProblem<'a>>> {
        self.resizes.then(|| self.class(facts)).flatten().map(|label| self.classes.policy(label))
    }

    /// Whether a pod is sized by a class that is there.
    pub(crate) fn is_managed(&self, facts: &PodFacts) -> bool {
        matches!(self.policy(facts), Some(Ok(_)))
    }

    /// Whether everything that bounds sizes is listed: classes, autoscalers, quotas and limit ranges. Nothing is resized before.
    pub(crate) fn knows_bounds(&self) -> bool {
        self.classes.listed && self.autoscalers.listed && self.quotas.listed && self.limit_ranges.listed
    }

    /// The node of a pod that names a class is to be planned anew.
    pub(super) fn dirty_resize(&mut self, pod: &PodName) {
        let facts = self.pods.get(pod).map(|pod| &pod.facts);
        let facts = facts.filter(|facts| self.resizes && self.class(facts).is_some());
        if let Some(node) = facts.and_then(|facts| facts.node.clone()) {
            self.resize_dirty.insert(node);
        }
    }

    /// What bounds the pods of a namespace changed.
    pub(super) fn dirty_namespace(&mut self, namespace: &str) {
        for pod in self.pods_in(namespace) {
            self.dirty_resize(&pod);
        }
    }
}

#[cfg(test)]
mod tests;
