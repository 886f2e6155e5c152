//! What the server does to an object on its way into the store: identity checks, fields that only it sets, defaults of pods,
//! and which part of an object a write may change.
//!
//! Pure but for the clock and the random uid of a new object.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::kinds::{Kind, Resource};
use super::status::ApiError;
use super::terms::{Subresource, Write};
use super::{event, lease, pod, secret};

/// Now, as `metadata` writes times: whole seconds, UTC.
pub(super) fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A random uid in the usual form.
pub(super) fn fresh_uid() -> String {
    let bits = fastrand::u128(..);
    let hex = format!("{bits:032x}");
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}

impl Kind {
    /// As validation errors name it: `Pod`, `Lease.coordination.k8s.io`.
    pub(super) fn qualified(&self) -> String {
        let group = &self.resource.group;
        if group.is_empty() { self.kind.to_string() } else { format!("{}.{group}", self.kind) }
    }

    fn name_of(object: &Value) -> &str {
        object["metadata"]["name"].as_str().unwrap_or_default()
    }
}

/// Fills in what the server sets on a new object and checks the rest.
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
    if !is_name(kind, &name) {
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
    for server_side in ["selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"] {
        members.shift_remove(server_side);
    }
    members.insert("uid".to_owned(), json!(fresh_uid()));
    members.insert("creationTimestamp".to_owned(), json!(now()));
    if kind.generation {
        members.insert("generation".to_owned(), json!(1));
    }
    tidy(object);
    match &*kind.resource.plural {
        _ if kind.custom && kind.status => drop_status(object),
        _ if kind.custom => {}
        // a kubelet registers its node with its status
        "nodes" => {}
        "pods" => pod::prepare_create(object)?,
        "namespaces" => object["status"] = json!({"phase": "Active"}),
        "secrets" => secret::prepare(object)?,
        "leases" => lease::prepare(object)?,
        "events" => event::prepare(object)?,
        _ if kind.status => drop_status(object),
        _ => {}
    }
    Ok(())
}

/// Names of roles and bindings are free; all others are subdomains.
fn is_name(kind: &Kind, name: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        let legal = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(legal)
    };
    kind.resource.group == "rbac.authorization.k8s.io" || (name.len() <= 253 && name.split('.').all(is_label))
}

/// What the server adds to a new object in nobody's name.
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
    // kind and apiVersion first, for whoever reads the JSON
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

/// Go's `omitempty`: empty maps and lists of the metadata do not exist.
fn tidy(object: &mut Value) {
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

fn drop_status(object: &mut Value) {
    if let Some(map) = object.as_object_mut() {
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

/// The checks that a PUT must pass before anything else: uid and version as preconditions.
pub(super) fn check_replacement(kind: &Kind, old: &Value, new: &Value) -> Result<(), ApiError> {
    let (resource, name) = (kind.resource.qualified(), Kind::name_of(old));
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

/// A PUT that is to create must not say which object it means.
pub(super) fn check_creating_replacement(kind: &Kind, new: &Value) -> Result<(), ApiError> {
    let (resource, name) = (kind.resource.qualified(), Kind::name_of(new));
    match new["metadata"]["uid"].as_str() {
        None | Some("") => Ok(()),
        Some(uid) => {
            let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: ");
            Err(ApiError::conflict(&resource, name, &why))
        }
    }
}

/// The checks that every change must pass: names, version, uid.
pub(super) fn check_identity(kind: &Kind, old: &Value, new: &Value) -> Result<(), ApiError> {
    let name = Kind::name_of(old);
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

/// Puts back what only the server writes.
pub(super) fn keep_server_fields(kind: &Kind, old: &Value, new: &mut Value) {
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
    tidy(new);
}

/// A write of the object itself: the status stays, a pod's spec (nearly) too.
pub(super) fn prepare_update(kind: &Kind, old: &Value, new: &mut Value) -> Result<(), ApiError> {
    if kind.status {
        restore(old, new, "status");
    }
    match &*kind.resource.plural {
        _ if kind.custom => Ok(()),
        "pods" => pod::prepare_update(old, new),
        "secrets" => secret::prepare_update(old, new),
        "leases" => lease::prepare(new),
        "events" => event::check_update(old, new),
        _ => Ok(()),
    }
}

/// A write of `status`: everything else stays, except who manages what; and a pod's metadata, which may change here too.
pub(super) fn keep_all_but_status(kind: &Kind, old: &Value, new: &mut Value) {
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
    tidy(new);
}

/// `generation` rises when the spec changed: anything but metadata and status.
pub(super) fn count_generation(kind: &Kind, old: &Value, new: &mut Value) {
    let differs = |field: &str| old.get(field) != new.get(field);
    if kind.generation && differs("spec") {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        new["metadata"]["generation"] = json!(generation);
    }
}

/// Checks an applied configuration and takes out what its subresource does not write.
pub(super) fn prepare_apply(
    kind: &Kind,
    write: &Write,
    (namespace, name): (&str, &str),
    config: &Value,
    exists: bool,
) -> Result<Value, ApiError> {
    let mut config = config.clone();
    if write.manager.is_empty() {
        let why = "is required for apply patch";
        return Err(ApiError::invalid("PatchOptions.meta.k8s.io", "", "fieldManager", "Required value", why));
    }
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
    let kept = match write.subresource {
        Subresource::Main if kind.status => &["status"][..],
        Subresource::Main => &[],
        Subresource::Status => &["spec", "data"],
        Subresource::Resize => &["status"],
    };
    kept.iter().for_each(|field| {
        map.shift_remove(*field);
    });
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
