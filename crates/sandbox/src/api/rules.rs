//! The rules of all writes: identity checks, fields that only the server sets, and the part of an object that a write may change.
//!
//! Pure, except for the clock and the random uid of a new object.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::kinds::{Kind, Resource};
use super::status::ApiError;
use super::write::{Subresource, Write};
use super::{events, lease, pod, secret};

/// The current time in the format of `metadata`: whole seconds, UTC.
pub(super) fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A random uid in the usual form.
pub(super) fn fresh_uid() -> String {
    let bits = fastrand::u128(..);
    let hex = format!("{bits:032x}");
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Sets the server's fields of a new object and checks the others.
pub(super) fn prepare_create(kind: &Kind, object: &mut Value) -> Result<(), ApiError> {
    let Value::Object(map) = object else {
        return Err(ApiError::bad_request("the body is not an object"));
    };
    check_type(kind, map)?;
    if !map.get("metadata").is_some_and(Value::is_object) {
        map.insert("metadata".to_owned(), json!({}));
    }
    let metadata = &mut object["metadata"];
    if let (None, Some(prefix)) = (metadata["name"].as_str(), metadata["generateName"].as_str()) {
        metadata["name"] = json!(format!("{prefix}{}", suffix()));
    }
    let name = metadata["name"].as_str().unwrap_or_default().to_owned();
    if name.is_empty() {
        let why = "name or generateName is required";
        return Err(ApiError::invalid(&kind.qualified(), "", "metadata.name", "Required value", why));
    }
    if !is_name(&name) {
        let rule = format!("Invalid value: {name:?}");
        let why = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
        return Err(ApiError::invalid(&kind.qualified(), &name, "metadata.name", &rule, why));
    }
    if kind.namespaced && metadata["namespace"].as_str().unwrap_or_default().is_empty() {
        metadata["namespace"] = json!("default");
    }
    let Value::Object(members) = metadata else {
        return Err(ApiError::bad_request("metadata is not an object"));
    };
    if !kind.namespaced {
        members.shift_remove("namespace");
    }
    for own_field in ["selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"] {
        members.shift_remove(own_field);
    }
    members.insert("uid".to_owned(), json!(fresh_uid()));
    members.insert("creationTimestamp".to_owned(), json!(now()));
    if kind.generation {
        members.insert("generation".to_owned(), json!(1));
    }
    drop_empty_metadata(object);
    match &*kind.resource.plural {
        _ if kind.custom => drop_status_of(kind, object),
        // a kubelet registers its node with a status
        "nodes" => {}
        "pods" => pod::prepare_create(object)?,
        "namespaces" => object["status"] = json!({"phase": "Active"}),
        "secrets" => secret::prepare(object)?,
        "leases" => lease::prepare(object)?,
        "events" => events::prepare(object)?,
        _ => drop_status_of(kind, object),
    }
    Ok(())
}

/// Whether it is a DNS subdomain.
fn is_name(name: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        let legal = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(legal)
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// Sets the fields of a new object that have no owner.
pub(super) fn complete(kind: &Kind, object: &mut Value) {
    if kind.resource == Resource::PODS {
        pod::complete(object);
    }
    if kind.resource == Resource::DEFINITIONS {
        let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now(), "reason": "Accepted", "message": ""});
        object["status"] = json!({
            "acceptedNames": object["spec"]["names"],
            "conditions": [condition("NamesAccepted"), condition("Established")],
            "storedVersions": [object["spec"]["versions"][0]["name"]],
        });
    }
}

fn check_type(kind: &Kind, map: &mut Map<String, Value>) -> Result<(), ApiError> {
    let expected = [("apiVersion", kind.resource.api_version()), ("kind", kind.kind.to_string())];
    for (field, want) in &expected {
        match map.get(*field).and_then(Value::as_str) {
            None | Some("") => {}
            Some(got) if got == want => {}
            Some(got) => {
                let what = if *field == "kind" { "Kind" } else { "API version" };
                let message = format!(
                    "the {what} in the data ({got}) does not match the expected {what} ({want}) for {}",
                    kind.resource.qualified()
                );
                return Err(ApiError::bad_request(message));
            }
        }
    }
    // kind and apiVersion first, for people who read the JSON
    let mut ordered = Map::new();
    let [(_, api_version), (_, name)] = expected;
    ordered.insert("kind".to_owned(), json!(name));
    ordered.insert("apiVersion".to_owned(), json!(api_version));
    map.shift_remove("kind");
    map.shift_remove("apiVersion");
    ordered.append(map);
    *map = ordered;
    Ok(())
}

fn suffix() -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    (0..5).map(|_| char::from(LETTERS[fastrand::usize(..LETTERS.len())])).collect()
}

/// Go's `omitempty`: the metadata has no empty maps and lists.
fn drop_empty_metadata(object: &mut Value) {
    let Some(metadata) = object["metadata"].as_object_mut() else {
        return;
    };
    metadata.retain(|_, value| match value {
        Value::Null => false,
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    });
}

fn drop_status_of(kind: &Kind, object: &mut Value) {
    if let Some(map) = object.as_object_mut().filter(|_| kind.status) {
        map.shift_remove("status");
    }
}

fn restore(old: &Value, new: &mut Value, field: &str) {
    let Some(map) = new.as_object_mut() else { return };
    match old.get(field) {
        Some(value) => {
            map.insert(field.to_owned(), value.clone());
        }
        None => {
            map.shift_remove(field);
        }
    }
}

/// Checks the preconditions of a PUT: uid and version.
pub(super) fn check_replacement(kind: &Kind, old: &Value, new: &Value) -> Result<(), ApiError> {
    let (resource, name) = (kind.resource.qualified(), name_of(old));
    let (had, wants) = (old["metadata"]["uid"].as_str(), new["metadata"]["uid"].as_str());
    if let (Some(had), Some(wants)) = (had, wants)
        && had != wants
    {
        let why = format!("Precondition failed: UID in precondition: {wants}, UID in object meta: {had}");
        return Err(ApiError::conflict(&resource, name, &why));
    }
    let unconditional = new["metadata"]["resourceVersion"].as_str().unwrap_or_default().is_empty();
    if unconditional && (kind.custom || kind.resource == Resource::LEASES) {
        let why = "must be specified for an update";
        let field = "metadata.resourceVersion";
        return Err(ApiError::invalid(&resource, name, field, "Invalid value: 0", why));
    }
    Ok(())
}

/// A PUT that creates an object must not have a uid.
pub(super) fn check_creating_replacement(kind: &Kind, new: &Value) -> Result<(), ApiError> {
    let (resource, name) = (kind.resource.qualified(), name_of(new));
    match new["metadata"]["uid"].as_str() {
        None | Some("") => Ok(()),
        Some(uid) => {
            let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: ");
            Err(ApiError::conflict(&resource, name, &why))
        }
    }
}

/// Checks that a change is of the same object: name, namespace, version, uid.
pub(super) fn check_identity(kind: &Kind, old: &Value, new: &Value) -> Result<(), ApiError> {
    let name = name_of(old);
    let text =
        |object: &Value, field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    let new_name = text(new, "name");
    if new_name != name && !new_name.is_empty() {
        let message =
            format!("the name of the object ({new_name}) does not match the name on the URL ({name})");
        return Err(ApiError::bad_request(message));
    }
    let new_namespace = text(new, "namespace");
    if new_namespace != text(old, "namespace") && !new_namespace.is_empty() {
        let message = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(ApiError::bad_request(message));
    }
    let version = text(new, "resourceVersion");
    if !version.is_empty() && version != text(old, "resourceVersion") {
        return Err(ApiError::modified(&kind.resource.qualified(), name));
    }
    let uid = text(new, "uid");
    if !uid.is_empty() && uid != text(old, "uid") {
        let rule = format!("Invalid value: {uid:?}");
        return Err(ApiError::invalid(&kind.qualified(), name, "metadata.uid", &rule, "field is immutable"));
    }
    Ok(())
}

/// Restores the fields that only the server writes.
pub(super) fn restore_server_fields(kind: &Kind, old: &Value, new: &mut Value) {
    if !new["metadata"].is_object() {
        new["metadata"] = json!({});
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        restore(&old["metadata"], &mut new["metadata"], field);
    }
    new["kind"] = json!(kind.kind);
    new["apiVersion"] = json!(kind.resource.api_version());
    drop_empty_metadata(new);
}

/// A write of the object itself: the status does not change, nor do most fields of a pod's spec.
pub(super) fn prepare_update(kind: &Kind, old: &Value, new: &mut Value) -> Result<(), ApiError> {
    if kind.status {
        restore(old, new, "status");
    }
    match &*kind.resource.plural {
        _ if kind.custom => Ok(()),
        "pods" => pod::prepare_update(old, new),
        "secrets" => secret::prepare_update(old, new),
        "leases" => lease::prepare(new),
        "events" => events::check_update(old, new),
        _ => Ok(()),
    }
}

/// A write of `status`: nothing else changes, except the field managers, and the metadata of a pod, as in a real server.
pub(super) fn restore_all_but_status(kind: &Kind, old: &Value, new: &mut Value) {
    let status = new["status"].take();
    let mut metadata = new["metadata"].take();
    let managed = metadata["managedFields"].take();
    *new = old.clone();
    if kind.resource == Resource::PODS {
        restore(&old["metadata"], &mut metadata, "ownerReferences");
        new["metadata"] = metadata;
    }
    if let Some(map) = new.as_object_mut() {
        map.shift_remove("status");
        if !status.is_null() {
            map.insert("status".to_owned(), status);
        }
    }
    new["metadata"]["managedFields"] = managed;
    drop_empty_metadata(new);
}

/// `generation` increases when the spec changed.
pub(super) fn count_generation(kind: &Kind, old: &Value, new: &mut Value) {
    if kind.generation && old.get("spec") != new.get("spec") {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        new["metadata"]["generation"] = json!(generation);
    }
}

/// Checks an applied configuration and removes the fields that its subresource does not write.
pub(super) fn prepare_apply(
    kind: &Kind,
    write: &Write,
    (namespace, name): (&str, &str),
    config: &Value,
    exists: bool,
) -> Result<Value, ApiError> {
    let mut config = config.clone();
    let Value::Object(map) = &mut config else {
        return Err(ApiError::bad_request("the body is not an object"));
    };
    for field in ["apiVersion", "kind"] {
        if !map.get(field).is_some_and(Value::is_string) {
            return Err(ApiError::bad_request(format!(
                "Object '{field}' is missing in the applied configuration"
            )));
        }
    }
    check_type(kind, map)?;
    if map.get("metadata").is_some_and(|metadata| !metadata["managedFields"].is_null()) {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let dropped = match write.subresource {
        Subresource::Main if kind.status => &["status"][..],
        Subresource::Main => &[],
        Subresource::Status => &["spec", "data"],
        Subresource::Resize => &["status"],
    };
    for field in dropped {
        map.shift_remove(*field);
    }
    let metadata = map.entry("metadata").or_insert_with(|| json!({}));
    if !exists {
        if write.subresource != Subresource::Main {
            return Err(ApiError::not_found(&kind.resource.qualified(), name));
        }
        if let Some(uid) = metadata["uid"].as_str().filter(|uid| !uid.is_empty()) {
            let why = format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            );
            return Err(ApiError::conflict(&kind.resource.qualified(), name, &why));
        }
        if metadata["name"].as_str().unwrap_or_default().is_empty() {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({name} based on URL) was undeterminable: name must be provided"
            )));
        }
        if kind.namespaced {
            metadata["namespace"] = json!(namespace);
        }
    }
    if write.subresource != Subresource::Main
        && let Some(metadata) = metadata.as_object_mut()
    {
        metadata
            .retain(|field, _| matches!(field.as_str(), "name" | "namespace" | "uid" | "resourceVersion"));
    }
    Ok(config)
}
