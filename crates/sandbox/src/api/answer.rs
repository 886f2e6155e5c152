//! Answers: a JSON document, a text, or a stream of watch events; and the shape of the objects in them.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::events;
use super::kinds::{Kind, Resource};
use super::page::List;
use super::status::ApiError;
use super::table::{Shape, metadata_of, row, table};

/// The body of every answer.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The form in which a client wants the objects of one resource type.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) kind: Kind,
    pub(super) shape: Shape,
    /// `includeObject` of a table.
    pub(super) include: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Items<'a> {
    kind: String,
    api_version: String,
    metadata: Value,
    items: Vec<Item<'a>>,
}

/// An item of a list; those of built-in types have no `kind`, as the list has one.
struct Item<'a> {
    object: &'a Value,
    bare: bool,
}

impl Serialize for Item<'_> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Some(members) = self.object.as_object().filter(|_| self.bare) else {
            return self.object.serialize(to);
        };
        to.collect_map(members.iter().filter(|(key, _)| !matches!(key.as_str(), "kind" | "apiVersion")))
    }
}

impl View {
    /// The object in the form of its resource type, without a copy if it is stored in that form.
    fn in_own_form(&self, object: &Arc<Value>) -> Arc<Value> {
        if self.kind.resource == Resource::NEW_EVENTS {
            return Arc::new(events::to_new(object));
        }
        object.clone()
    }

    /// One object; a table has its column definitions if `columns`.
    pub(super) fn one(&self, object: &Arc<Value>, columns: bool) -> Arc<Value> {
        let object = self.in_own_form(object);
        match self.shape {
            Shape::Object => object,
            Shape::Metadata => Arc::new(metadata_of(&object)),
            Shape::Table => {
                let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                let mut table = table(&self.kind, &metadata, columns);
                table["rows"] = json!([row(&self.kind, &object, &self.include, Timestamp::now())]);
                Arc::new(table)
            }
        }
    }

    /// A page of a list.
    pub(super) fn list(&self, list: &List) -> Result<Bytes, ApiError> {
        let mut metadata = json!({"resourceVersion": list.version.to_string()});
        if let Some(token) = &list.token {
            metadata["continue"] = json!(token);
        }
        if let Some(remaining) = list.remaining {
            metadata["remainingItemCount"] = json!(remaining);
        }
        let items: Vec<Arc<Value>> = list.items.iter().map(|object| self.in_own_form(object)).collect();
        if self.shape == Shape::Table {
            let now = Timestamp::now();
            let mut table = table(&self.kind, &metadata, true);
            let rows = items.iter().map(|object| row(&self.kind, object, &self.include, now));
            table["rows"] = Value::Array(rows.collect());
            return to_bytes(&table);
        }
        let partial = self.shape == Shape::Metadata;
        let (kind, api_version) = if partial {
            ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned())
        } else {
            (format!("{}List", self.kind.kind), self.kind.resource.api_version())
        };
        let items =
            if partial { items.iter().map(|object| Arc::new(metadata_of(object))).collect() } else { items };
        let bare = !partial && !self.kind.custom;
        let items = items.iter().map(|object| Item { object, bare }).collect();
        to_bytes(&Items { kind, api_version, metadata, items })
    }

    /// The object of a bookmark event.
    pub(super) fn bookmark(&self, version: u64, initial_end: bool) -> Value {
        let (kind, api_version) = match self.shape {
            Shape::Object => (self.kind.kind.to_string(), self.kind.resource.api_version()),
            Shape::Metadata => ("PartialObjectMetadata".to_owned(), "meta.k8s.io/v1".to_owned()),
            Shape::Table => ("Table".to_owned(), "meta.k8s.io/v1".to_owned()),
        };
        let mut metadata = json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        json!({"kind": kind, "apiVersion": api_version, "metadata": metadata})
    }
}

fn to_bytes(value: &impl Serialize) -> Result<Bytes, ApiError> {
    let bytes = serde_json::to_vec(value);
    bytes.map(Bytes::from).map_err(|error| ApiError::new(500, "InternalError", error.to_string()))
}

/// An answer before it is HTTP.
pub(super) enum Answer {
    /// A serialized JSON document.
    Document(u16, Bytes),
    /// Plain text.
    Text(&'static str),
    /// A watch.
    Stream(Body),
}

impl Answer {
    /// A value as a JSON document.
    pub(super) fn value(code: u16, value: &Value) -> Result<Self, ApiError> {
        to_bytes(value).map(|bytes| Self::Document(code, bytes))
    }

    pub(super) fn code(&self) -> u16 {
        if let Self::Document(code, _) = self { *code } else { 200 }
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let code = self.code();
        let (kind, body) = match self {
            Self::Document(_, bytes) => ("application/json", Full::new(bytes).boxed_unsync()),
            Self::Text(text) => ("text/plain", Full::new(Bytes::from_static(text.as_bytes())).boxed_unsync()),
            Self::Stream(body) => ("application/json", body),
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
        response
    }
}

/// The response to an error.
pub(super) fn error_response(error: &ApiError) -> Response<Body> {
    if error.is_plain() {
        let mut response = Answer::Text("404 page not found\n").into_response();
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    }
    let bytes = serde_json::to_vec(&error.to_status()).unwrap_or_default();
    let mut response = Answer::Document(error.code, Bytes::from(bytes)).into_response();
    if let Some(seconds) = error.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from(seconds));
    }
    response
}
