//! The shapes an object can be sent in: itself, its metadata alone, or a row of a table for `kubectl get`.
//!
//! Pure: the time that ages are counted to is an argument.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::kinds::{Kind, Resource};

/// The shape a client asks for in its `Accept` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Object,
    Metadata,
    Table,
}

impl Shape {
    /// The first acceptable type that names a shape we know decides.
    pub(super) fn of(accept: &str) -> Self {
        let wanted = |part: &str| {
            let v1 = part.contains("v=v1;") || part.trim_end().ends_with("v=v1");
            if !v1 {
                None
            } else if part.contains("as=Table") {
                Some(Self::Table)
            } else if part.contains("as=PartialObjectMetadata") {
                Some(Self::Metadata)
            } else {
                None
            }
        };
        accept.split(',').find_map(wanted).unwrap_or(Self::Object)
    }
}

/// The metadata of an object, as a PartialObjectMetadata.
pub(super) fn metadata_of(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// A table without rows; `columns` only where they are wanted (the first event of a watch, every list).
pub(super) fn table(kind: &Kind, metadata: &Value, columns: bool) -> Value {
    let column = |(name, format, priority): &(&str, &str, u8)| json!({"name": name, "type": "string", "format": format, "description": name, "priority": priority});
    let definitions: Vec<Value> =
        if columns { layout(kind).iter().map(column).collect() } else { Vec::new() };
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": definitions, "rows": [],
    })
}

type Layout = &'static [(&'static str, &'static str, u8)];

fn layout(kind: &Kind) -> Layout {
    match &kind.resource {
        at if *at == Resource::PODS => &[
            ("Name", "name", 0),
            ("Ready", "", 0),
            ("Status", "", 0),
            ("Restarts", "", 0),
            ("Age", "", 0),
            ("IP", "", 1),
            ("Node", "", 1),
        ],
        at if *at == Resource::NODES => {
            &[("Name", "name", 0), ("Status", "", 0), ("Roles", "", 0), ("Age", "", 0), ("Version", "", 0)]
        }
        at if *at == Resource::NAMESPACES => &[("Name", "name", 0), ("Status", "", 0), ("Age", "", 0)],
        at if *at == Resource::EVENTS || at.group == "events.k8s.io" => {
            &[("Last Seen", "", 0), ("Type", "", 0), ("Reason", "", 0), ("Object", "", 0), ("Message", "", 0)]
        }
        at if *at == Resource::LEASES => &[("Name", "name", 0), ("Holder", "", 0), ("Age", "", 0)],
        _ => &[("Name", "name", 0), ("Age", "", 0)],
    }
}

/// One row: the cells and, so that label columns work, the object's metadata or the object itself.
pub(super) fn row(kind: &Kind, object: &Value, include: &str, now: Timestamp) -> Value {
    let text = |value: &Value| value.as_str().unwrap_or("<none>").to_owned();
    let name = text(&object["metadata"]["name"]);
    let age = age_of(&object["metadata"]["creationTimestamp"], now);
    let cells = match &kind.resource {
        at if *at == Resource::PODS => {
            let (ready, restarts) = pod_counts(object);
            let (ip, node) = (text(&object["status"]["podIP"]), text(&object["spec"]["nodeName"]));
            json!([name, ready, pod_status(object), restarts, age, ip, node])
        }
        at if *at == Resource::NODES => {
            let version = text(&object["status"]["nodeInfo"]["kubeletVersion"]);
            json!([name, node_status(object), node_roles(object), age, version])
        }
        at if *at == Resource::NAMESPACES => json!([name, text(&object["status"]["phase"]), age]),
        at if *at == Resource::EVENTS || at.group == "events.k8s.io" => event_cells(object, now),
        at if *at == Resource::LEASES => json!([name, text(&object["spec"]["holderIdentity"]), age]),
        _ => json!([name, age]),
    };
    match include {
        "None" => json!({"cells": cells}),
        "Object" => json!({"cells": cells, "object": object}),
        _ => json!({"cells": cells, "object": metadata_of(object)}),
    }
}

fn pod_counts(pod: &Value) -> (String, String) {
    let statuses = pod["status"]["containerStatuses"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ready = statuses.iter().filter(|status| status["ready"] == true).count();
    let total = pod["spec"]["containers"].as_array().map_or(0, Vec::len);
    let restarts: i64 = statuses.iter().filter_map(|status| status["restartCount"].as_i64()).sum();
    (format!("{ready}/{total}"), restarts.to_string())
}

fn pod_status(pod: &Value) -> String {
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        return "Terminating".to_owned();
    }
    let statuses = pod["status"]["containerStatuses"].as_array().map(Vec::as_slice).unwrap_or_default();
    let reason = statuses.iter().find_map(|status| {
        let state = &status["state"];
        state["waiting"]["reason"].as_str().or_else(|| state["terminated"]["reason"].as_str())
    });
    let phase = pod["status"]["reason"].as_str().or_else(|| pod["status"]["phase"].as_str());
    reason.or(phase).unwrap_or("Unknown").to_owned()
}

fn node_status(node: &Value) -> String {
    let conditions = node["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
    let status = match ready.and_then(|condition| condition["status"].as_str()) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    if node["spec"]["unschedulable"] == true {
        format!("{status},SchedulingDisabled")
    } else {
        status.to_owned()
    }
}

fn node_roles(node: &Value) -> String {
    let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
    let roles: Vec<&str> =
        labels.filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/")).collect();
    if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") }
}

fn event_cells(event: &Value, now: Timestamp) -> Value {
    let either = |core: &str, new: &str| {
        if event[core].is_null() { event[new].clone() } else { event[core].clone() }
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let seen = [&event["series"]["lastObservedTime"], &event["lastTimestamp"], &event["eventTime"]];
    let seen =
        seen.into_iter().find(|time| !time.is_null()).unwrap_or(&event["metadata"]["creationTimestamp"]);
    let about = either("involvedObject", "regarding");
    let object = format!("{}/{}", text(&about["kind"]).to_lowercase(), text(&about["name"]));
    json!([
        age_of(seen, now),
        text(&event["type"]),
        text(&event["reason"]),
        object,
        text(&either("message", "note"))
    ])
}

/// As `kubectl` prints ages: `42s`, `3m10s`, `5h`, `9d`.
fn age_of(created: &Value, now: Timestamp) -> String {
    let Some(created) = created.as_str().and_then(|text| text.parse::<Timestamp>().ok()) else {
        return "<unknown>".to_owned();
    };
    let seconds = now.as_second().saturating_sub(created.as_second()).max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 if seconds % 60 != 0 => format!("{minutes}m{}s", seconds % 60),
        120..10_800 => format!("{minutes}m"),
        10_800..28_800 if minutes % 60 != 0 => format!("{hours}h{}m", minutes % 60),
        10_800..172_800 => format!("{hours}h"),
        172_800..691_200 if hours % 24 != 0 => format!("{days}d{}h", hours % 24),
        172_800..63_072_000 => format!("{days}d"),
        _ => format!("{}y{}d", days / 365, days % 365),
    }
}
