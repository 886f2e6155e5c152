//! The shapes an object can be sent in: itself, its metadata alone, or a row of a table for `kubectl get`.
//!
//! Pure: the time that ages are counted to is an argument.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::kinds::{Column, Kind, Resource};

/// The shape a client asks for in its `Accept` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Object,
    Metadata,
    Table,
}

impl Shape {
    /// The first acceptable type that names a shape we know decides; `None` when there is none.
    pub(super) fn of(accept: &str) -> Option<Self> {
        let wanted = |part: &str| {
            let mut parameters = part.split(';').map(str::trim);
            let media = parameters.next().unwrap_or_default();
            if !matches!(media, "" | "application/json" | "application/*" | "*/*") {
                return None;
            }
            let form = part.split(';').find_map(|parameter| parameter.trim().strip_prefix("as="));
            match form {
                None => Some(Self::Object),
                Some(_) if !parameters.any(|parameter| parameter == "v=v1") => None,
                Some("Table") => Some(Self::Table),
                Some(form) if form.starts_with("PartialObjectMetadata") => Some(Self::Metadata),
                Some(_) => None,
            }
        };
        accept.split(',').find_map(wanted)
    }
}

/// The metadata of an object, as a PartialObjectMetadata.
pub(super) fn metadata_of(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// A table without rows; `columns` only where they are wanted (the first event of a watch, every list).
pub(super) fn table(kind: &Kind, metadata: &Value, columns: bool) -> Value {
    let column = |(name, format, priority): &(&str, &str, u8)| json!({"name": name, "type": "string", "format": format, "description": name, "priority": priority});
    let definitions = columns.then(|| {
        let own = kind.columns.iter().map(|own| json!({"name": own.name, "type": own.kind, "format": "", "description": "", "priority": own.priority}));
        layout(kind).iter().map(column).chain(own).collect::<Vec<Value>>()
    });
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
            ("Nominated Node", "", 1),
            ("Readiness Gates", "", 1),
        ],
        at if *at == Resource::NODES => &[
            ("Name", "name", 0),
            ("Status", "", 0),
            ("Roles", "", 0),
            ("Age", "", 0),
            ("Version", "", 0),
            ("Internal-IP", "", 1),
            ("External-IP", "", 1),
            ("OS-Image", "", 1),
            ("Kernel-Version", "", 1),
            ("Container-Runtime", "", 1),
        ],
        at if *at == Resource::CONFIG_MAPS => &[("Name", "name", 0), ("Data", "", 0), ("Age", "", 0)],
        at if *at == Resource::SECRETS => {
            &[("Name", "name", 0), ("Type", "", 0), ("Data", "", 0), ("Age", "", 0)]
        }
        at if *at == Resource::NAMESPACES => &[("Name", "name", 0), ("Status", "", 0), ("Age", "", 0)],
        at if *at == Resource::EVENTS || at.group == "events.k8s.io" => &[
            ("Last Seen", "", 0),
            ("Type", "", 0),
            ("Reason", "", 0),
            ("Object", "", 0),
            ("Subobject", "", 1),
            ("Source", "", 1),
            ("Message", "", 0),
            ("First Seen", "", 1),
            ("Count", "", 1),
            ("Name", "name", 1),
        ],
        at if *at == Resource::LEASES => &[("Name", "name", 0), ("Holder", "", 0), ("Age", "", 0)],
        _ if !kind.columns.is_empty() => &[("Name", "name", 0)],
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
            let nominated = text(&object["status"]["nominatedNodeName"]);
            json!([name, ready, pod_status(object), restarts, age, ip, node, nominated, "<none>"])
        }
        at if *at == Resource::NODES => {
            let info = |field: &str| text(&object["status"]["nodeInfo"][field]);
            let (version, status, roles) = (info("kubeletVersion"), node_status(object), node_roles(object));
            let [inner, outer] = ["InternalIP", "ExternalIP"].map(|kind| node_address(object, kind));
            let [image, kernel, runtime] = ["osImage", "kernelVersion", "containerRuntimeVersion"].map(info);
            json!([name, status, roles, age, version, inner, outer, image, kernel, runtime])
        }
        at if *at == Resource::CONFIG_MAPS => json!([name, data_count(object), age]),
        at if *at == Resource::SECRETS => json!([name, text(&object["type"]), data_count(object), age]),
        at if *at == Resource::NAMESPACES => json!([name, text(&object["status"]["phase"]), age]),
        at if *at == Resource::EVENTS || at.group == "events.k8s.io" => event_cells(object, now),
        at if *at == Resource::LEASES => json!([name, text(&object["spec"]["holderIdentity"]), age]),
        _ if !kind.columns.is_empty() => {
            let cell = |column: &Column| match object.pointer(&column.pointer) {
                Some(time) if column.kind == "date" => json!(age_of(time, now)),
                value => value.cloned().unwrap_or_default(),
            };
            let cells = kind.columns.iter().map(cell);
            Value::Array([json!(name)].into_iter().chain(cells).collect())
        }
        _ => json!([name, age]),
    };
    match include {
        "None" => json!({"cells": cells}),
        "Object" => json!({"cells": cells, "object": object}),
        _ => json!({"cells": cells, "object": metadata_of(object)}),
    }
}

fn data_count(object: &Value) -> usize {
    let count = |field: &str| object[field].as_object().map_or(0, Map::len);
    count("data") + count("binaryData")
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

fn node_address(node: &Value, kind: &str) -> String {
    let addresses = node["status"]["addresses"].as_array().map(Vec::as_slice).unwrap_or_default();
    let found = addresses.iter().find(|address| address["type"] == kind);
    found.and_then(|address| address["address"].as_str()).unwrap_or("<none>").to_owned()
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
    let first = either("firstTimestamp", "deprecatedFirstTimestamp");
    let first = if first.is_null() { seen } else { &first };
    json!([
        age_of(seen, now),
        text(&event["type"]),
        text(&event["reason"]),
        object,
        text(&about["fieldPath"]),
        text(&either("reportingComponent", "reportingController")),
        text(&either("message", "note")),
        age_of(first, now),
        event["count"].as_i64().or_else(|| event["series"]["count"].as_i64()).unwrap_or(1),
        text(&event["metadata"]["name"]),
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
