//! The verbs of resources: each turns a call into one use of the store, and the result into an answer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::answer::{Answer, View};
use super::events;
use super::http::{Call, Shared};
use super::kinds::{Kind, Resource};
use super::options;
use super::page::{List, ListOptions};
use super::patch::Patch;
use super::route::Verb;
use super::selector::Selector;
use super::status::ApiError;
use super::stream::Watch;
use super::table::Shape;
use super::write::{Subresource, Write};

/// Types whose deletion is answered with the object; those of other types with a Status.
const RETURNED: [Resource; 3] = [Resource::PODS, Resource::SERVICE_ACCOUNTS, Resource::DEFINITIONS];

/// Performs a call.
pub(super) fn run(shared: &Shared, call: &Call) -> Result<Answer, ApiError> {
    if let Some(answer) = review(shared, call) {
        return answer;
    }
    let kind = shared.store.kind(&call.target.resource)?;
    let has_namespace = call.target.namespace.is_some();
    if (kind.namespaced && !has_namespace && call.target.name.is_some())
        || (!kind.namespaced && has_namespace)
    {
        return Err(ApiError::no_such_path());
    }
    if !is_allowed(call, &kind) {
        return Err(ApiError::method_not_allowed());
    }
    match call.verb {
        Verb::Get => {}
        Verb::List | Verb::Watch => options::check_list(call.verb, &call.query)?,
        verb => options::check_write(verb, &call.query)?,
    }
    let new_event = kind.resource == Resource::NEW_EVENTS;
    let stored = if new_event { Resource::EVENTS } else { kind.resource.clone() };
    let view = View {
        kind,
        shape: Shape::of(&call.accept).ok_or_else(ApiError::not_acceptable)?,
        include: call.query.get("includeObject").unwrap_or("Metadata").to_owned(),
    };
    let body = || {
        if new_event { events::to_core((*call.body).clone()) } else { (*call.body).clone() }
    };
    let request = ResourceRequest { shared, call, view, stored };
    let answer = match call.verb {
        Verb::Get => request.get(),
        Verb::List => request.list(),
        Verb::Watch => request.watch(),
        Verb::Create => request.create(body()),
        Verb::Update => request.update(body()),
        Verb::Patch | Verb::Apply => request.patch(body()),
        Verb::Delete => request.delete(),
        Verb::DeleteCollection => request.delete_collection(),
    };
    answer.map_err(|mut error| {
        if let Some(details) = error.details.as_mut().filter(|it| new_event && it["kind"] == "events") {
            details["group"] = json!("events.k8s.io");
        }
        error
    })
}

/// Whether the path supports the method.
fn is_allowed(call: &Call, kind: &Kind) -> bool {
    let target = &call.target;
    let in_namespace = !kind.namespaced || target.namespace.is_some();
    match call.verb {
        Verb::Get | Verb::List | Verb::Watch => true,
        Verb::Create => target.name.is_none() && in_namespace,
        Verb::Update | Verb::Patch | Verb::Apply => target.name.is_some(),
        Verb::Delete => !matches!(target.subresource.as_deref(), Some("status" | "resize")),
        Verb::DeleteCollection => in_namespace && kind.resource != Resource::NAMESPACES,
    }
}

/// Answers a request for a type that is not stored: reviews, and tokens.
fn review(shared: &Shared, call: &Call) -> Option<Result<Answer, ApiError>> {
    let target = &call.target;
    let (namespace, name) = (target.namespace.as_deref(), target.name.as_deref());
    let reviews = ["tokenreviews", "selfsubjectaccessreviews", "selfsubjectreviews"];
    let is_review =
        reviews.contains(&&*target.resource.plural) || target.subresource.as_deref() == Some("token");
    if is_review && call.verb != Verb::Create {
        return Some(Err(ApiError::method_not_allowed()));
    }
    if is_review && !call.body.is_object() {
        return Some(Err(ApiError::bad_request("the body of the request is not an object")));
    }
    let answer = match (&*target.resource.plural, target.subresource.as_deref()) {
        ("tokenreviews", None) => shared.tokens.review(&shared.store, (*call.body).clone()),
        ("selfsubjectreviews", None) => {
            let mut review = (*call.body).clone();
            review["status"] = json!({"userInfo": {"username": call.user}});
            Ok(review)
        }
        ("selfsubjectaccessreviews", None) => {
            let mut review = (*call.body).clone();
            review["status"] = json!({"allowed": true, "reason": "the sandbox allows everything"});
            Ok(review)
        }
        ("serviceaccounts", Some("token")) => {
            let (namespace, name) = (namespace.unwrap_or_default(), name.unwrap_or_default());
            shared.tokens.request(&shared.store, namespace, name, (*call.body).clone())
        }
        _ => return None,
    };
    Some(answer.and_then(|value| Answer::value(201, &value)))
}

struct ResourceRequest<'a> {
    shared: &'a Shared,
    call: &'a Call,
    view: View,
    /// The type under which the objects are stored: another one only for the new form of events.
    stored: Resource,
}

impl ResourceRequest<'_> {
    fn kind(&self) -> &Kind {
        &self.view.kind
    }

    fn at(&self) -> (&str, &str) {
        let target = &self.call.target;
        (target.namespace.as_deref().unwrap_or_default(), target.name.as_deref().unwrap_or_default())
    }

    fn selector(&self) -> Result<Selector, ApiError> {
        let query = &self.call.query;
        let fields = query.get("fieldSelector").map(|fields| {
            if self.kind().resource == Resource::NEW_EVENTS {
                events::selector_to_core(fields)
            } else {
                fields.to_owned()
            }
        });
        Selector::parse(&self.stored, query.get("labelSelector"), fields.as_deref())
    }

    fn version(&self) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.call.query.get("resourceVersion") else {
            return Ok(None);
        };
        let parsed = text.parse::<u64>();
        let error = |_| {
            let message = format!(
                "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
            );
            if self.call.verb == Verb::Watch {
                ApiError::internal(message)
            } else {
                ApiError::bad_request(message)
            }
        };
        parsed.map(Some).map_err(error)
    }

    fn subresource(&self) -> Result<Subresource, ApiError> {
        match self.call.target.subresource.as_deref() {
            None => Ok(Subresource::Main),
            Some("status") if self.kind().status => Ok(Subresource::Status),
            Some("resize") if self.kind().resource == Resource::PODS => Ok(Subresource::Resize),
            Some(_) if self.kind().custom => {
                Err(ApiError::not_found(&self.kind().resource.qualified(), self.at().1))
            }
            Some(_) => Err(ApiError::no_such_path()),
        }
    }

    fn write(&self) -> Result<Write, ApiError> {
        Ok(Write {
            manager: self.call.manager.clone(),
            dry_run: self.call.is_dry_run(),
            force: self.call.query.flag("force"),
            subresource: self.subresource()?,
        })
    }

    fn one(&self, code: u16, object: &Arc<Value>) -> Result<Answer, ApiError> {
        Answer::value(code, &self.view.one(object, true))
    }

    fn get(&self) -> Result<Answer, ApiError> {
        self.subresource()?;
        let (namespace, name) = self.at();
        let object = self.shared.store.get_shared(&self.stored, namespace, name)?;
        self.one(200, &object)
    }

    fn list(&self) -> Result<Answer, ApiError> {
        let query = &self.call.query;
        let options = ListOptions {
            namespace: self.call.target.namespace.as_deref(),
            selector: self.selector()?,
            limit: query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(0),
            token: query.get("continue"),
            version: self.version()?,
            exact: query.get("resourceVersionMatch") == Some("Exact"),
        };
        let list = self.shared.store.page(&self.stored, &options)?;
        Ok(Answer::Document(200, self.view.list(&list)?))
    }

    fn watch(&self) -> Result<Answer, ApiError> {
        let query = &self.call.query;
        let selector = self.selector()?;
        let namespace = self.call.target.namespace.as_deref();
        let version = self.version()?.filter(|version| *version > 0);
        let wants_initial = query.get("sendInitialEvents").map(|value| value == "true");
        let store = &self.shared.store;
        let from = match (version, wants_initial) {
            (Some(version), None | Some(false)) => Some(version),
            (None, Some(false)) => Some(store.version()),
            _ => None,
        };
        let (initial, from, subscription) = match from {
            Some(from) => (Vec::new(), from, store.subscribe_from(&self.stored, namespace, &selector, from)?),
            None => {
                let (list, subscription) = store.subscribe(&self.stored, namespace, &selector)?;
                (list.items, list.version, subscription)
            }
        };
        let bookmarks = query.flag("allowWatchBookmarks");
        let seconds = query.get("timeoutSeconds").and_then(|text| text.parse().ok());
        let watch = Watch {
            view: self.view.clone(),
            target: self.call.target.clone(),
            user: self.call.user.clone(),
            faults: self.shared.faults.clone(),
            subscription,
            initial: VecDeque::from(initial),
            initial_end: (wants_initial == Some(true) && bookmarks).then_some(from),
            bookmark_every: bookmarks.then_some(self.shared.bookmark_every),
            ends: Instant::now() + seconds.map_or(self.shared.watch_timeout, Duration::from_secs),
        };
        Ok(Answer::Stream(watch.into_body()))
    }

    /// The body with the namespace and name of the path, which it must not contradict.
    fn addressed(&self, mut body: Value) -> Result<Value, ApiError> {
        if !body.is_object() {
            return Err(ApiError::bad_request("the body of the request is not an object"));
        }
        if self.kind().custom && !body["kind"].is_string() {
            // of built-in types the path is enough
            return Err(ApiError::bad_request("Object 'Kind' is missing"));
        }
        match &body["metadata"] {
            Value::Null => body["metadata"] = json!({}),
            Value::Object(_) => {}
            _ => return Err(ApiError::bad_request("metadata is not an object")),
        }
        let (namespace, name) = self.at();
        for (field, path) in [("namespace", namespace), ("name", name)] {
            match body["metadata"][field].as_str() {
                _ if path.is_empty() => {}
                None | Some("") => body["metadata"][field] = json!(path),
                Some(own) if own == path => {}
                Some(_) if field == "namespace" => {
                    let message = "the namespace of the provided object does not match the namespace sent on the request";
                    return Err(ApiError::bad_request(message));
                }
                Some(own) => {
                    let message =
                        format!("the name of the object ({own}) does not match the name on the URL ({path})");
                    return Err(ApiError::bad_request(message));
                }
            }
        }
        Ok(body)
    }

    fn create(&self, body: Value) -> Result<Answer, ApiError> {
        let body = self.addressed(body)?;
        let object = self.shared.store.create_as(&self.stored, body, &self.write()?)?;
        self.one(201, &object)
    }

    fn update(&self, body: Value) -> Result<Answer, ApiError> {
        let body = self.addressed(body)?;
        let written = self.shared.store.update(&self.stored, body, &self.write()?)?;
        self.one(if written.created { 201 } else { 200 }, &written.object)
    }

    fn patch(&self, body: Value) -> Result<Answer, ApiError> {
        let patch = Patch::of(&self.call.content_type, body)?;
        let (namespace, name) = self.at();
        let written = self.shared.store.patch(&self.stored, namespace, name, &patch, &self.write()?)?;
        self.one(if written.created { 201 } else { 200 }, &written.object)
    }

    fn options(&self) -> Value {
        let mut options = if self.call.body.is_object() { (*self.call.body).clone() } else { json!({}) };
        let seconds = self.call.query.get("gracePeriodSeconds").and_then(|text| text.parse::<i64>().ok());
        if let (Some(seconds), true) = (seconds, options["gracePeriodSeconds"].is_null()) {
            options["gracePeriodSeconds"] = json!(seconds);
        }
        options
    }

    fn delete(&self) -> Result<Answer, ApiError> {
        let (namespace, name) = self.at();
        let object = self.shared.store.delete_as(
            &self.stored,
            namespace,
            name,
            &self.options(),
            self.call.is_dry_run(),
        )?;
        let is_marked = !object["metadata"]["deletionTimestamp"].is_null();
        if is_marked || RETURNED.contains(&self.stored) {
            return self.one(200, &object);
        }
        let resource = &self.kind().resource;
        let mut details = json!({"name": name, "kind": resource.plural, "uid": object["metadata"]["uid"]});
        if !resource.group.is_empty() {
            details["group"] = json!(resource.group);
        }
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
        });
        Answer::value(200, &status)
    }

    fn delete_collection(&self) -> Result<Answer, ApiError> {
        let store = &self.shared.store;
        let namespace = self.call.target.namespace.as_deref();
        let objects = store.list(&self.stored, namespace, &self.selector()?)?;
        let (options, dry_run) = (self.options(), self.call.is_dry_run());
        for object in &objects {
            let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
            match store.delete_as(&self.stored, &text("namespace"), &text("name"), &options, dry_run) {
                // deleted by another request
                Err(error) if error.code == 404 => {}
                result => drop(result?),
            }
        }
        let list = List { items: objects, version: store.version(), token: None, remaining: None };
        Ok(Answer::Document(200, self.view.list(&list)?))
    }
}
