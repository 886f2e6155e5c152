//! What a failing list or watch means, for `/readyz` and the log: what was attempted, what was said, what to do.

use kube::runtime::watcher::Error;
use plimsoll_objects::describe;

use crate::readiness::Part;

/// One line.
pub(super) fn explain(error: &Error, part: Part) -> String {
    let what = part.as_str();
    match error {
        Error::InitialListFailed(kube::Error::Api(status)) if status.code == 404 && part == Part::Classes => {
            "cannot list sla_classes: there is no such kind; apply manifests/components/resizing, which holds its \
             CustomResourceDefinition"
                .to_owned()
        }
        Error::InitialListFailed(error) => format!("cannot list {what}: {}", describe(error)),
        Error::WatchStartFailed(error) => format!("cannot start to watch {what}: {}", describe(error)),
        Error::WatchFailed(error) => format!("the watch of {what} failed: {}", describe(error)),
        Error::WatchError(status) => {
            format!("the watch of {what} was ended: {}", describe(&kube::Error::Api(status.clone())))
        }
        Error::NoResourceVersion => format!(
            "the API server lists {what} without a resourceVersion, so that they cannot be watched; check what is between it and us"
        ),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_kind_that_is_not_installed_is_named_with_what_installs_it() {
        let status = Status::failure("404 page not found", "NotFound").with_code(404).boxed();
        let line = explain(&Error::InitialListFailed(kube::Error::Api(status)), Part::Classes);
        assert!(line.contains("no such kind; apply manifests/components/resizing"), "{line}");
    }

    #[test]
    fn every_failure_says_what_was_attempted_what_was_said_and_what_to_do() {
        let status =
            |code, reason: &str, message: &str| Status::failure(message, reason).with_code(code).boxed();
        let api = |code, reason, message| kube::Error::Api(status(code, reason, message));
        let garbled = || kube::Error::SerdeError(serde_json::from_str::<u8>("\"s3cr3t\"").unwrap_err());
        let table = [
            (
                Error::InitialListFailed(api(403, "Forbidden", "pods is forbidden")),
                "cannot list pods: 403 Forbidden: pods is forbidden; our account may not: apply the manifests' RBAC, or ask for the right",
            ),
            (
                Error::WatchStartFailed(api(503, "ServiceUnavailable", "apiserver is shutting down")),
                "cannot start to watch pods: 503 ServiceUnavailable: apiserver is shutting down; the API server or what it needs is not \
                 well: it is tried again",
            ),
            (
                Error::WatchError(status(410, "Expired", "too old resource version: 1 (2)")),
                "the watch of pods was ended: 410 Expired: too old resource version: 1 (2); the state that was asked for is too old: it \
                 is read again",
            ),
            (
                Error::WatchFailed(api(0, "", "")),
                "the watch of pods failed: an error without a status: the API server gave no reason; see the log of the API server",
            ),
            (
                Error::WatchFailed(garbled()),
                "the watch of pods failed: the response is not what the Kubernetes API defines (line 1, column 8); check that the address \
                 is that of an API server, and what is between it and us",
            ),
            (
                Error::NoResourceVersion,
                "the API server lists pods without a resourceVersion, so that they cannot be watched; check what is between it and us",
            ),
        ];
        for (error, expected) in table {
            assert_eq!(explain(&error, Part::Pods), expected);
        }
    }
}
