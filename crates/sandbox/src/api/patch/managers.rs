//! The `managedFields` of an object: the owners of its fields, and how ownership changes with each write.
//!
//! The algorithm is that of the updater of structured-merge-diff. Pure: the time of an entry is an argument.

use serde_json::{Value, json};

use super::fields::{FieldSet, compare};
use super::schema::Schema;
use crate::api::status::ApiError;

/// The identity of one `managedFields` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) struct Manager {
    pub(in crate::api) name: String,
    /// `Apply`, or `Update` for everything else.
    pub(in crate::api) apply: bool,
    pub(in crate::api) api_version: String,
    pub(in crate::api) subresource: Option<String>,
}

impl Manager {
    /// Whether an entry belongs to this manager; the entry of an apply may have another version.
    fn is(&self, other: &Self) -> bool {
        let version = self.apply || self.api_version == other.api_version;
        self.name == other.name
            && self.apply == other.apply
            && self.subresource == other.subresource
            && version
    }

    /// The name in conflict messages.
    fn printed(&self) -> String {
        let mut text = format!("{:?}", self.name);
        if let Some(subresource) = &self.subresource {
            text = format!("{text} with subresource {subresource:?}");
        }
        if self.apply { text } else { format!("{text} using {}", self.api_version) }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    manager: Manager,
    time: String,
    set: FieldSet,
}

/// All entries of one object.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::api) struct Managers(Vec<Entry>);

impl Managers {
    pub(in crate::api) fn of(object: &Value) -> Self {
        let entries = object["metadata"]["managedFields"].as_array().map(Vec::as_slice).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let read = |entry: &Value| Entry {
            manager: Manager {
                name: text(&entry["manager"]),
                apply: entry["operation"] == "Apply",
                api_version: text(&entry["apiVersion"]),
                subresource: entry["subresource"].as_str().filter(|sub| !sub.is_empty()).map(str::to_owned),
            },
            time: text(&entry["time"]),
            set: FieldSet::from_v1(&entry["fieldsV1"]),
        };
        Self(entries.iter().map(read).collect())
    }

    /// Writes `metadata.managedFields`, or removes it if it is empty.
    pub(in crate::api) fn store_in(&self, object: &mut Value) {
        let write = |entry: &Entry| {
            let mut value = json!({
                "manager": entry.manager.name,
                "operation": if entry.manager.apply { "Apply" } else { "Update" },
                "apiVersion": entry.manager.api_version,
                "time": entry.time,
                "fieldsType": "FieldsV1",
                "fieldsV1": entry.set.to_v1(),
            });
            if let Some(subresource) = &entry.manager.subresource {
                value["subresource"] = json!(subresource);
            }
            value
        };
        let entries: Vec<Value> = self.0.iter().filter(|entry| !entry.set.is_empty()).map(write).collect();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.shift_remove("managedFields");
            if !entries.is_empty() {
                metadata.insert("managedFields".to_owned(), Value::Array(entries));
            }
        }
    }

    /// The fields of a manager.
    pub(in crate::api) fn set_of(&self, manager: &Manager) -> FieldSet {
        let entry = self.0.iter().find(|entry| manager.is(&entry.manager));
        entry.map(|entry| entry.set.clone()).unwrap_or_default()
    }

    /// All fields that have an owner, with their parents.
    pub(in crate::api) fn union(&self) -> FieldSet {
        let mut all = FieldSet::default();
        self.0.iter().for_each(|entry| all.union(&entry.set));
        all.with_parents()
    }

    /// Replaces the fields of a manager.
    pub(in crate::api) fn replace(&mut self, manager: &Manager, set: FieldSet, now: &str) {
        match self.0.iter_mut().find(|entry| manager.is(&entry.manager)) {
            Some(entry) if entry.set == set => {}
            Some(entry) => {
                entry.set = set;
                entry.manager = manager.clone();
                now.clone_into(&mut entry.time);
            }
            None => self.0.push(Entry { manager: manager.clone(), time: now.to_owned(), set }),
        }
    }

    /// Removes the fields that a write of `manager` changed from the other managers. If another manager owned one of them and
    /// `force` is false: 409 with one cause per field.
    pub(in crate::api) fn transfer_to(
        &mut self,
        manager: &Manager,
        schema: Schema,
        versions: (&Value, &Value),
        force: bool,
    ) -> Result<(), ApiError> {
        let difference = compare(schema, versions.0, versions.1);
        let mut conflicts = Vec::new();
        for entry in self.0.iter_mut().filter(|entry| !manager.is(&entry.manager)) {
            let contested = entry.set.intersection(&difference.changed);
            conflicts.extend(contested.paths().into_iter().map(|path| (entry.manager.printed(), path)));
            entry.set.subtract(&contested);
            entry.set.subtract(&difference.removed);
        }
        if !force && !conflicts.is_empty() {
            return Err(conflict(&conflicts));
        }
        self.0.retain(|entry| !entry.set.is_empty());
        Ok(())
    }

    /// Records a write that is not an apply: the writer owns the fields that it changed.
    pub(in crate::api) fn record_update(
        &mut self,
        manager: &Manager,
        schema: Schema,
        old: &Value,
        new: &Value,
        now: &str,
    ) {
        let (old, new) = (comparable(old), comparable(new));
        // An update never conflicts.
        let _ = self.transfer_to(manager, schema, (&old, &new), true);
        let difference = compare(schema, &old, &new);
        let mut set = self.set_of(manager);
        set.subtract(&difference.removed);
        set.union(&difference.changed);
        if set.is_empty() {
            self.0.retain(|entry| !manager.is(&entry.manager));
        } else {
            self.replace(manager, set, now);
        }
    }
}

/// The object without the fields that have no owner.
pub(in crate::api) fn comparable(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.shift_remove("apiVersion");
        map.shift_remove("kind");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in [
            "name",
            "namespace",
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "managedFields",
            "selfLink",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        ] {
            metadata.shift_remove(field);
        }
        if metadata.is_empty()
            && let Some(map) = object.as_object_mut()
        {
            map.shift_remove("metadata");
        }
    }
    object
}

fn conflict(conflicts: &[(String, String)]) -> ApiError {
    let message = match conflicts {
        [(manager, path)] => format!("Apply failed with 1 conflict: conflict with {manager}: {path}"),
        _ => {
            let mut managers: Vec<&String> = conflicts.iter().map(|(manager, _)| manager).collect();
            managers.sort();
            managers.dedup();
            let mut lines = Vec::new();
            for manager in managers {
                lines.push(format!("conflicts with {manager}:"));
                let own = conflicts.iter().filter(|(owner, _)| owner == manager);
                lines.extend(own.map(|(_, path)| format!("- {path}")));
            }
            format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
        }
    };
    let cause = |(manager, path): &(String, String)| json!({"reason": "FieldManagerConflict", "message": format!("conflict with {manager}"), "field": path});
    let causes: Vec<Value> = conflicts.iter().map(cause).collect();
    let mut error = ApiError::new(409, "Conflict", message);
    error.details = Some(Box::new(json!({"causes": causes})));
    error
}
