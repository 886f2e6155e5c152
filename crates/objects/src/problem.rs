//! What an error of kube means, in one line: what the API server said or what went wrong on the way to it, and what to do.
//!
//! kube's own texts repeat the whole Status, and are empty where the server sent an empty one.

use std::error::Error as _;

use kube::Error;
use kube::core::Status;

use crate::response::{MAX_RESPONSE, is_too_large};

/// Bytes of a server's message that are repeated: a proxy may answer with a whole page.
const MAX_MESSAGE: usize = 300;

/// The line. It holds no object and at most 300 bytes of what a server said.
pub fn describe(error: &Error) -> String {
    if is_too_large(error) {
        return format!(
            "the response is larger than {} MiB and was not read; look for a very large object, with `kubectl get -o json`",
            MAX_RESPONSE >> 20
        );
    }
    match error {
        Error::Api(status) => said(status),
        Error::SerdeError(error) => format!(
            "the response is not what the Kubernetes API defines (line {}, column {}); check that the address is that of an API server, \
             and what is between it and us",
            error.line(),
            error.column()
        ),
        Error::FromUtf8(_) => {
            "the response is not UTF-8; check that the address is that of an API server, and what is between it and us".to_owned()
        }
        Error::HyperError(_) | Error::Service(_) | Error::ReadEvents(_) => format!(
            "the connection to the API server failed: {}; check that it is running, and the network policies and proxies in between",
            causes(error)
        ),
        Error::LinesCodecMaxLineLengthExceeded => {
            "the API server sent an event of unlimited length; check what is between it and us".to_owned()
        }
        Error::HttpError(_) | Error::BuildRequest(_) => {
            format!("the request could not be made: {}; this is a fault of ours, please report it", causes(error))
        }
        Error::Auth(_) => format!("our credentials cannot be used: {}; check the kubeconfig or the token's file", causes(error)),
        Error::InferConfig(_) | Error::InferKubeconfig(_) => {
            format!("there is no usable configuration of a cluster: {}; give a kubeconfig, or run in a cluster", causes(error))
        }
        Error::ProxyProtocolUnsupported { .. } | Error::ProxyProtocolDisabled { .. } => {
            format!("{}; remove the proxy from the kubeconfig and the environment", causes(error))
        }
        Error::RustlsTls(_) | Error::TlsRequired => {
            format!("TLS is not possible: {}; check the certificates of the kubeconfig", causes(error))
        }
        Error::Discovery(_) => format!("{}; check the version of the API server", causes(error)),
    }
}

/// `403 Forbidden: pods is forbidden ...; ask for the right`.
fn said(status: &Status) -> String {
    let Status { code, reason, message, .. } = status;
    let head = match (code, reason.as_str()) {
        (0, "") => "an error without a status".to_owned(),
        (0, reason) => reason.to_owned(),
        (code, "") => code.to_string(),
        (code, reason) => format!("{code} {reason}"),
    };
    let message = match message.trim() {
        "" => "the API server gave no reason",
        message => &message[..message.floor_char_boundary(MAX_MESSAGE)],
    };
    let cure = match code {
        401 => "the API server does not accept our credentials: check the account and the clocks",
        403 => "our account may not: apply the manifests' RBAC, or ask for the right",
        404 => "what was asked for does not exist: check that it is installed",
        410 => "the state that was asked for is too old: it is read again",
        429 => "the API server asks to slow down: it is tried again, later",
        500..=599 => "the API server or what it needs is not well: it is tried again",
        _ => "see the log of the API server",
    };
    format!("{head}: {message}; {cure}")
}

/// The texts of an error and its causes, the innermost last, each once.
fn causes(error: &Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        next = cause.source();
    }
    line.truncate(line.floor_char_boundary(MAX_MESSAGE));
    line
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn status(code: u16, reason: &str, message: &str) -> Error {
        Error::Api(Status::failure(message, reason).with_code(code).boxed())
    }

    fn not_json() -> serde_json::Error {
        serde_json::from_str::<u8>("\"s3cr3t\"").unwrap_err()
    }

    #[test]
    fn every_error_says_what_happened_and_what_to_do() {
        let bad_uri = http::Request::get("not a uri").body(()).unwrap_err();
        let table = [
            (
                status(403, "Forbidden", "pods is forbidden: User \"u\""),
                ["403 Forbidden: pods is forbidden", "RBAC"],
            ),
            (status(401, "Unauthorized", "Unauthorized"), ["401 Unauthorized", "credentials"]),
            (status(410, "Expired", "too old resource version"), ["410 Expired: too old", "read again"]),
            (status(429, "TooManyRequests", "slow down"), ["429 TooManyRequests: slow down", "later"]),
            (status(503, "", "etcdserver: request timed out"), ["503: etcdserver", "tried again"]),
            (
                status(502, "Failed to parse error data", "<html>bad gateway"),
                ["502 Failed", "<html>bad gateway"],
            ),
            (
                status(0, "", ""),
                ["an error without a status: the API server gave no reason", "log of the API server"],
            ),
            (Error::SerdeError(not_json()), ["not what the Kubernetes API defines (line 1", "check"]),
            (Error::FromUtf8(String::from_utf8(vec![0xff]).unwrap_err()), ["not UTF-8", "check"]),
            (Error::Service("connection refused".into()), ["connection refused", "network policies"]),
            (Error::ReadEvents(io::Error::other("reset")), ["reset", "check that it is running"]),
            (Error::LinesCodecMaxLineLengthExceeded, ["unlimited length", "check"]),
            (Error::HttpError(bad_uri), ["could not be made: HttpError: invalid uri", "report it"]),
            (Error::TlsRequired, ["TLS", "certificates"]),
        ];
        for (error, texts) in table {
            let line = describe(&error);
            assert!(texts.iter().all(|text| line.contains(text)), "{line}");
            assert!(!line.contains("s3cr3t") && !line.contains("ApiError"), "{line}");
        }
    }

    #[test]
    fn a_whole_page_of_a_proxy_is_cut() {
        let line = describe(&status(500, "", &"\u{e4}".repeat(5000)));
        assert!(line.len() < 400, "{line}");
    }
}
