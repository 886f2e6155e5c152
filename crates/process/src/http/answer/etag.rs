//! `ETag` and `If-None-Match` (RFC 9110, 8.8.3 and 13.1.2): who has the current state already is told so in a few bytes.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::Full;

/// Marks a response to GET or HEAD with the tag `etag` (without quotes; what it names must change with every byte of the
/// body), and replaces it by an empty 304 if the request says that its sender has that one.
///
/// Only a 200 is marked. A tag that HTTP cannot carry (a quote, a space, a control character) is left out.
pub fn with_etag(
    request: &HeaderMap,
    etag: &str,
    mut response: Response<Full<Bytes>>,
) -> Response<Full<Bytes>> {
    if response.status() != StatusCode::OK || !is_tag(etag) {
        return response;
    }
    let Ok(value) = HeaderValue::try_from(format!("\"{etag}\"")) else {
        return response;
    };
    response.headers_mut().insert(ETAG, value);
    if request.get_all(IF_NONE_MATCH).iter().any(|header| names(header.as_bytes(), etag.as_bytes())) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Full::default();
        response.headers_mut().remove(CONTENT_TYPE);
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    response
}

/// The characters of `etagc`, ASCII ones only.
fn is_tag(etag: &str) -> bool {
    !etag.is_empty() && etag.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"')
}

/// Whether a list such as `W/"a", "b"` names the tag. The comparison is the weak one, as the RFC asks for here. A list
/// that is malformed names what stands before the error.
fn names(list: &[u8], etag: &[u8]) -> bool {
    let mut rest = list.trim_ascii();
    if rest == b"*" {
        return true;
    }
    loop {
        rest = rest.strip_prefix(b"W/").unwrap_or(rest);
        let Some(open) = rest.strip_prefix(b"\"") else {
            return false;
        };
        let Some(end) = open.iter().position(|byte| *byte == b'"') else {
            return false;
        };
        if &open[..end] == etag {
            return true;
        }
        let Some(next) = open[end + 1..].trim_ascii_start().strip_prefix(b",") else {
            return false;
        };
        rest = next.trim_ascii_start();
    }
}

#[cfg(test)]
mod tests;
