//! Values of `plimsoll.dev/ignore` that are neither `true` nor `false`, until their owner was told.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use plimsoll_contract::PodName;

use crate::facts::Ignore;

/// An object that people label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Labeled {
    Namespace(String),
    Pod(PodName),
}

impl Labeled {
    /// The namespace whose owner set the label.
    fn namespace(&self) -> &str {
        match self {
            Labeled::Namespace(name) => name,
            Labeled::Pod(pod) => &pod.namespace,
        }
    }
}

/// The objects whose label is invalid.
#[derive(Debug, Default)]
pub(crate) struct InvalidIgnores {
    values: BTreeMap<Labeled, String>,
    /// By namespace; none is empty.
    untold: BTreeMap<String, BTreeSet<Labeled>>,
    /// The namespace whose turn it was last: many mistakes in one do not delay those of the others.
    last_turn: String,
}

impl InvalidIgnores {
    /// Records what the label of an object says now.
    pub(super) fn observe(&mut self, object: Labeled, ignore: Ignore) {
        let Ignore::Invalid(value) = ignore else {
            if self.values.remove(&object).is_some() {
                self.count_as_told(&object);
            }
            return;
        };
        if self.values.get(&object) != Some(&value) {
            self.values.insert(object.clone(), value);
            self.untold.entry(object.namespace().to_owned()).or_default().insert(object);
        }
    }

    fn count_as_told(&mut self, object: &Labeled) {
        let Some(objects) = self.untold.get_mut(object.namespace()) else { return };
        objects.remove(object);
        if objects.is_empty() {
            self.untold.remove(object.namespace());
        }
    }

    /// Whether there is a value of which nobody was told.
    pub(crate) fn is_any_untold(&self) -> bool {
        !self.untold.is_empty()
    }

    /// The next object of whose value nobody was told; it counts as told. Namespaces take turns.
    pub(crate) fn next_untold(&mut self) -> Option<(Labeled, String)> {
        let after = (Bound::Excluded(self.last_turn.as_str()), Bound::Unbounded);
        let (namespace, objects) =
            self.untold.range::<str, _>(after).next().or_else(|| self.untold.first_key_value())?;
        let object = objects.first()?.clone();
        self.last_turn = namespace.clone();
        self.count_as_told(&object);
        let value = self.values.get(&object)?.clone();
        Some((object, value))
    }
}
