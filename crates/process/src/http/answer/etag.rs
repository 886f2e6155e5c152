//! `ETag` and `If-None-Match` (RFC 9110, 8.8.3 and 13.1.2): a client that has the current state gets a short 304.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

/// Adds the strong tag `etag` to a response to GET or HEAD, and replaces the response by an empty 304 if `request` (the
/// request's headers) names that tag in `If-None-Match`. `etag` is written without quotes, and must change with every
/// byte of the body.
///
/// Only a 200 gets a tag. A tag that HTTP cannot carry (a quote, a space, a control character) is left out.
pub fn with_etag<B: Default>(request: &HeaderMap, etag: &str, response: Response<B>) -> Response<B> {
    tagged(request, etag, "", response)
}

/// As [`with_etag`] with a weak tag: `etag` changes when the body means something else, not with every byte of it.
pub fn with_weak_etag<B: Default>(request: &HeaderMap, etag: &str, response: Response<B>) -> Response<B> {
    tagged(request, etag, "W/", response)
}

/// Whether the client has the state with this tag: `If-None-Match` names it, as a strong or weak tag, or is `*`. For
/// handlers that need not build a body then; they pass an empty 200 to [`with_etag`] or [`with_weak_etag`].
pub fn matches(request: &HeaderMap, etag: &str) -> bool {
    request.get_all(IF_NONE_MATCH).iter().any(|header| names(header.as_bytes(), etag.as_bytes()))
}

fn tagged<B: Default>(request: &HeaderMap, etag: &str, weak: &str, mut response: Response<B>) -> Response<B> {
    let is_tag = !etag.is_empty() && etag.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
    let Ok(value) = HeaderValue::try_from(format!("{weak}\"{etag}\"")) else {
        return response;
    };
    if response.status() != StatusCode::OK || !is_tag {
        return response;
    }
    response.headers_mut().insert(ETAG, value);
    if matches(request, etag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = B::default();
        response.headers_mut().remove(CONTENT_TYPE);
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    response
}

/// Whether a list such as `W/"a", "b"` names the tag. Tags are what is between two quotes; a quote cannot be part of one,
/// and the comparison ignores `W/`, as the RFC requires here.
fn names(list: &[u8], etag: &[u8]) -> bool {
    let parts: Vec<_> = list.split(|byte| *byte == b'"').collect();
    let balanced = parts.len() % 2 == 1;
    list.trim_ascii() == b"*" || (balanced && parts.iter().skip(1).step_by(2).any(|tag| *tag == etag))
}

#[cfg(test)]
mod tests;
