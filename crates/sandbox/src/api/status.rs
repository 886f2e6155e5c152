//! Errors with the content of a `metav1.Status`, in the wording of a real server.

use serde_json::{Value, json};

/// An error of the API server.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message} ({reason}, {code})")]
pub struct ApiError {
    /// The HTTP status code, also in the body.
    pub code: u16,
    /// The machine-readable reason, for instance `NotFound`, `Conflict`, `Expired`; empty where a real server has none.
    pub reason: String,
    /// The message for people.
    pub message: String,
    /// `details` of the Status: name, group, kind, causes.
    pub details: Option<Box<Value>>,
    /// Seconds for the `Retry-After` header.
    pub retry_after: Option<u64>,
}

impl ApiError {
    pub(super) fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, reason: reason.to_owned(), message, details: None, retry_after: None }
    }

    /// The body of the answer: a `metav1.Status`.
    pub(super) fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if let Some(map) = status.as_object_mut().filter(|_| self.reason.is_empty()) {
            map.shift_remove("reason");
        }
        if let Some(details) = &self.details {
            status["details"] = (**details).clone();
        }
        if let Some(seconds) = self.retry_after {
            status["details"]["retryAfterSeconds"] = json!(seconds);
        }
        status
    }

    /// 404: no such object.
    pub(super) fn not_found(resource: &str, name: &str) -> Self {
        let error = Self::new(404, "NotFound", format!("{resource} {name:?} not found"));
        error.about(resource, name)
    }

    /// 404: no such path or resource type.
    pub(super) fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    /// 404 for an unknown group or version: plain text. See [`is_plain`](Self::is_plain).
    pub(super) fn page_not_found() -> Self {
        Self::new(404, "", "404 page not found")
    }

    /// Whether the body of the answer is the message alone, as text.
    pub(super) fn is_plain(&self) -> bool {
        self.code == 404 && self.reason.is_empty()
    }

    /// 500: an error that a real server does not classify.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    /// 409: an object of this name exists.
    pub(super) fn already_exists(resource: &str, name: &str) -> Self {
        let error = Self::new(409, "AlreadyExists", format!("{resource} {name:?} already exists"));
        error.about(resource, name)
    }

    /// 409: a precondition of the write does not hold.
    pub(super) fn conflict(resource: &str, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {resource} {name:?}: {why}");
        Self::new(409, "Conflict", message).about(resource, name)
    }

    /// 409: the resourceVersion in the request is not the current one.
    pub(super) fn modified(resource: &str, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    /// 422: one field is wrong. `kind` is `Pod` or `Lease.coordination.k8s.io`; `rule` is `Invalid value: "x"`, `Required value`,
    /// `Forbidden`, `Unsupported value: "x"`, `Duplicate value: "x"`.
    pub(super) fn invalid(kind: &str, name: &str, field: &str, rule: &str, why: &str) -> Self {
        let detail = if why.is_empty() { rule.to_owned() } else { format!("{rule}: {why}") };
        let message = format!("{kind} {name:?} is invalid: {field}: {detail}");
        let cause = match rule.split(':').next().unwrap_or(rule) {
            "Invalid value" => "FieldValueInvalid",
            "Required value" => "FieldValueRequired",
            "Unsupported value" => "FieldValueNotSupported",
            "Duplicate value" => "FieldValueDuplicate",
            _ => "FieldValueForbidden",
        };
        let mut error = Self::new(422, "Invalid", message).about(kind, name);
        if let Some(details) = &mut error.details {
            details["causes"] = json!([{"reason": cause, "message": detail, "field": field}]);
        }
        error
    }

    /// One error with the causes of all, each of which is an [`invalid`](Self::invalid) of the same object; `Ok` without any.
    pub(super) fn all(errors: Vec<Self>) -> Result<(), Self> {
        let mut errors = errors.into_iter();
        let Some(mut first) = errors.next() else { return Ok(()) };
        let mut count = 1;
        for error in errors {
            let causes = error.details.and_then(|details| details["causes"].as_array().cloned());
            let own = first.details.as_mut().and_then(|details| details["causes"].as_array_mut());
            if let (Some(own), Some(causes)) = (own, causes) {
                own.extend(causes);
            }
            let what = error.message.split_once(" is invalid: ").map_or("", |(_, what)| what);
            first.message = format!("{}, {what}", first.message);
            count += 1;
        }
        if count > 1 {
            first.message = format!("{}]", first.message.replacen(" is invalid: ", " is invalid: [", 1));
        }
        Err(first)
    }

    /// 403: rejected by admission.
    pub(super) fn forbidden(resource: &str, name: &str, why: &str) -> Self {
        let message = format!("{resource} {name:?} is forbidden: {why}");
        Self::new(403, "Forbidden", message).about(resource, name)
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401: no valid token.
    pub(super) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    pub(super) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message)
    }

    pub(super) fn not_acceptable() -> Self {
        let message = "406: Not Acceptable\n\nAvailable representations: application/json, application/json;stream=watch";
        Self::new(406, "NotAcceptable", message)
    }

    pub(super) fn unsupported_media_type(got: &str, wanted: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {wanted} (got {got:?})"
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 410: the version is no longer in the log.
    pub(super) fn too_old(asked: u64, oldest: u64) -> Self {
        Self::new(410, "Expired", format!("too old resource version: {asked} ({oldest})"))
    }

    /// 410: the version of a continue token is no longer in the log.
    pub(super) fn continue_expired() -> Self {
        let message = "The provided continue parameter is too old to display a consistent list result. You must start a new list without the continue parameter.";
        Self::new(410, "Expired", message)
    }

    /// 504: a future version.
    pub(super) fn too_large(asked: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let mut error = Self::new(504, "Timeout", message);
        let cause = json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
        error.details = Some(Box::new(json!({"causes": [cause], "retryAfterSeconds": 1})));
        error
    }

    fn about(mut self, resource: &str, name: &str) -> Self {
        let (kind, group) = resource.split_once('.').unwrap_or((resource, ""));
        let mut details = json!({});
        for (field, value) in [("name", name), ("group", group), ("kind", kind)] {
            if !value.is_empty() {
                details[field] = json!(value);
            }
        }
        self.details = Some(Box::new(details));
        self
    }
}
