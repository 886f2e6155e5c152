//! Plain responses: text, JSON, 404 and 405, and `ETag`.
//!
//! Every response declares its content type and forbids sniffing, so that the name of a pod cannot become a script in a
//! browser.

mod etag;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

pub use self::etag::{matches, with_etag, with_weak_etag};

/// Characters of an unknown path that a 404 repeats.
const MAX_SHOWN_PATH: usize = 200;

/// Text in UTF-8.
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    with_type(status, "text/plain; charset=utf-8", body)
}

/// A value as JSON. A value without a JSON form (a map whose keys are not strings) is logged and becomes a 500.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_vec(value) {
        Ok(body) => with_type(status, "application/json", body),
        Err(error) => {
            tracing::error!(%error, "a response has no JSON form");
            text(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n")
        }
    }
}

/// A body of any content type, for example [`crate::metrics::CONTENT_TYPE`].
pub fn with_type(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// 405; `allow` lists the allowed methods, such as `"GET, HEAD"`.
pub fn method_not_allowed(allow: &'static str) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("use {allow}\n"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// 404, naming the path.
pub fn not_found(path: &str) -> Response<Full<Bytes>> {
    let shown: String = path.chars().take(MAX_SHOWN_PATH).collect();
    text(StatusCode::NOT_FOUND, format!("nothing at {shown}\n"))
}

#[cfg(test)]
mod tests;
