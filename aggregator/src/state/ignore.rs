//! Values of `plimsoll.dev/ignore` that are neither `true` nor `false`, until their owner was told.

use std::collections::BTreeMap;

use super::turns::{ObjectName, Turns};
use crate::facts::Ignore;

/// The objects whose label is invalid.
#[derive(Debug, Default)]
pub(crate) struct InvalidIgnores {
    values: BTreeMap<ObjectName, String>,
    untold: Turns,
}

impl InvalidIgnores {
    /// Records what the label of an object says now.
    pub(super) fn observe(&mut self, object: ObjectName, ignore: Ignore) {
        let Ignore::Invalid(value) = ignore else {
            if self.values.remove(&object).is_some() {
                self.untold.remove(&object);
            }
            return;
        };
        if self.values.get(&object) != Some(&value) {
            self.values.insert(object.clone(), value);
            self.untold.add(object);
        }
    }

    /// Whether there is a value of which nobody was told.
    pub(crate) fn is_any_untold(&self) -> bool {
        !self.untold.is_empty()
    }

    /// The next object of whose value nobody was told; it counts as told.
    pub(crate) fn next_untold(&mut self) -> Option<(ObjectName, String)> {
        let object = self.untold.next()?;
        let value = self.values.get(&object)?.clone();
        Some((object, value))
    }
}
