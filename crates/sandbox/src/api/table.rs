//! The shapes of an object in an answer: the object itself, its metadata alone, or a row of a table for `kubectl get`.
//!
//! Pure: the current time, which ages are relative to, is an argument.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::kinds::{Kind, Resource};

/// The shape that a client asks for in its `Accept` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Object,
    Metadata,
    Table,
}

impl Shape {
    /// The shape of the first acceptable media type; `None` when there is none.
    pub(super) fn of(accept: &str) -> Option<Self> {
        let shape = |part: &str| {
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
        accept.split(',').find_map(shape)
    }
}

/// The metadata of an object, as a PartialObjectMetadata.
pub(super) fn metadata_of(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// A table without rows, with the column definitions if `columns` (in lists, and in the first event of a watch).
pub(super) fn table(kind: &Kind, metadata: &Value, columns: bool) -> Value {
    let definition = |name: &str, format: &str, kind: &str, priority: i64| json!({"name": name, "type": kind, "format": format, "description": name, "priority": priority});
    let definitions = columns.then(|| {
        let built_in = built_in_columns(kind).iter().map(|(name, priority, _)| {
            definition(name, if *name == "Name" { "name" } else { "" }, "string", *priority)
        });
        let custom = kind.columns.iter().map(|own| definition(&own.name, "", &own.kind, own.priority));
        built_in.chain(custom).collect::<Vec<Value>>()
    });
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": definitions, "rows": [],
    })
}

/// One row: the cells and, so that label columns work, the object's metadata or the object itself.
pub(super) fn row(kind: &Kind, object: &Value, include: &str, now: Timestamp) -> Value {
    let built_in = built_in_columns(kind).iter().map(|(_, _, cell)| match cell {
        Cell::At(pointer) => json!(object.pointer(pointer).and_then(Value::as_str).unwrap_or("<none>")),
        Cell::Age(pointer) => json!(age_of(object.pointer(pointer).unwrap_or(&Value::Null), now)),
        Cell::Of(compute) => compute(object),
    });
    let custom = kind.columns.iter().map(|column| match object.pointer(&column.pointer) {
        Some(time) if column.kind == "date" => json!(age_of(time, now)),
        value => value.cloned().unwrap_or_default(),
    });
    let cells: Vec<Value> = built_in.chain(custom).collect();
    match include {
        "None" => json!({"cells": cells}),
        "Object" => json!({"cells": cells, "object": object}),
        _ => json!({"cells": cells, "object": metadata_of(object)}),
    }
}

/// Content of a cell: the text at a JSON pointer, the age of the time at a JSON pointer, or a function of the object.
enum Cell {
    At(&'static str),
    Age(&'static str),
    Of(fn(&Value) -> Value),
}

const NAME: (&str, i64, Cell) = ("Name", 0, Cell::At("/metadata/name"));
const AGE: (&str, i64, Cell) = ("Age", 0, Cell::Age("/metadata/creationTimestamp"));
/// A column whose cells no client of ours reads.
const NONE: Cell = Cell::At("");

/// Name, priority (1 for columns that only `-o wide` shows) and cells of the columns of a kind.
fn built_in_columns(kind: &Kind) -> &'static [(&'static str, i64, Cell)] {
    match &kind.resource {
        at if *at == Resource::PODS => &[
            NAME,
            ("Ready", 0, Cell::Of(pod_ready)),
            ("Status", 0, Cell::Of(pod_status)),
            ("Restarts", 0, Cell::Of(pod_restarts)),
            AGE,
            ("IP", 1, Cell::At("/status/podIP")),
            ("Node", 1, Cell::At("/spec/nodeName")),
            ("Nominated Node", 1, Cell::At("/status/nominatedNodeName")),
            ("Readiness Gates", 1, NONE),
        ],
        at if *at == Resource::NODES => &[
            NAME,
            ("Status", 0, NONE),
            ("Roles", 0, NONE),
            AGE,
            ("Version", 0, Cell::At("/status/nodeInfo/kubeletVersion")),
            ("Internal-IP", 1, NONE),
            ("External-IP", 1, NONE),
            ("OS-Image", 1, NONE),
            ("Kernel-Version", 1, NONE),
            ("Container-Runtime", 1, NONE),
        ],
        at if *at == Resource::CONFIG_MAPS => &[NAME, ("Data", 0, Cell::Of(data_count)), AGE],
        at if *at == Resource::SECRETS => {
            &[NAME, ("Type", 0, Cell::At("/type")), ("Data", 0, Cell::Of(data_count)), AGE]
        }
        at if *at == Resource::LEASES => &[NAME, ("Holder", 0, Cell::At("/spec/holderIdentity")), AGE],
        at if *at == Resource::NAMESPACES => &[NAME, ("Status", 0, Cell::At("/status/phase")), AGE],
        at if *at == Resource::EVENTS || *at == Resource::NEW_EVENTS => &[
            ("Last Seen", 0, Cell::Age("/metadata/creationTimestamp")),
            ("Type", 0, Cell::At("/type")),
            ("Reason", 0, Cell::At("/reason")),
            ("Object", 0, NONE),
            ("Subobject", 1, NONE),
            ("Source", 1, NONE),
            ("Message", 0, Cell::At("/message")),
            ("First Seen", 1, NONE),
            ("Count", 1, NONE),
            ("Name", 1, Cell::At("/metadata/name")),
        ],
        _ if !kind.columns.is_empty() => &[NAME],
        _ => &[NAME, AGE],
    }
}

fn data_count(object: &Value) -> Value {
    json!(object["data"].as_object().map_or(0, Map::len))
}

fn container_statuses(pod: &Value) -> &[Value] {
    pod["status"]["containerStatuses"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn pod_ready(pod: &Value) -> Value {
    let ready = container_statuses(pod).iter().filter(|status| status["ready"] == true).count();
    let total = pod["spec"]["containers"].as_array().map_or(0, Vec::len);
    json!(format!("{ready}/{total}"))
}

fn pod_restarts(pod: &Value) -> Value {
    let restarts = container_statuses(pod).iter().filter_map(|status| status["restartCount"].as_i64());
    json!(restarts.sum::<i64>().to_string())
}

fn pod_status(pod: &Value) -> Value {
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        return json!("Terminating");
    }
    let reason = container_statuses(pod).iter().find_map(|status| {
        let state = &status["state"];
        state["waiting"]["reason"].as_str().or_else(|| state["terminated"]["reason"].as_str())
    });
    json!(reason.or_else(|| pod["status"]["phase"].as_str()).unwrap_or("Unknown"))
}

/// An age in the format of `kubectl`: `42s`, `3m10s`, `5h`, `9d`.
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
        10_800..172_800 => format!("{hours}h"),
        _ => format!("{days}d"),
    }
}
