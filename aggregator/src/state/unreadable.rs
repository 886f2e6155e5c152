//! Objects that are there but cannot be read, and whether their owner was told. Nothing else is known of them: a pod among them is in no
//! other map, a report of it is rejected as one of an unknown pod, and its labels do not change.

use std::collections::BTreeMap;

use super::turns::{ObjectName, Turns};

/// Why an object cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The API's uid, for Events about it, where it is known.
    pub(crate) uid: Option<String>,
    /// The field and the reason.
    pub(crate) text: String,
}

/// The objects.
#[derive(Debug, Default)]
pub(crate) struct UnreadableObjects {
    problems: BTreeMap<ObjectName, Problem>,
    untold: Turns,
}

impl UnreadableObjects {
    /// An object cannot be read, for a new reason.
    pub(super) fn add(&mut self, object: ObjectName, uid: Option<String>, text: String) {
        self.problems.insert(object.clone(), Problem { uid, text });
        self.untold.add(object);
    }

    /// An object can be read, or is gone.
    pub(super) fn remove(&mut self, object: &ObjectName) {
        if self.problems.remove(object).is_some() {
            self.untold.remove(object);
        }
    }

    /// The objects that cannot be read, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ObjectName, &Problem)> {
        self.problems.iter()
    }

    /// Whether there is one of which nobody was told.
    pub(crate) fn is_any_untold(&self) -> bool {
        !self.untold.is_empty()
    }

    /// The next object of which nobody was told; it counts as told.
    pub(crate) fn next_untold(&mut self) -> Option<(ObjectName, Problem)> {
        let object = self.untold.next()?;
        let problem = self.problems.get(&object)?.clone();
        Some((object, problem))
    }
}
