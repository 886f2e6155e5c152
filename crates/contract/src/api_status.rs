//! How the API server says that the pod of a write no longer exists.
//!
//! The messages are those of a real Kubernetes 1.37 server. They differ between a pod that was deleted and one that was
//! recreated under the same name, and between an apply and a patch.

/// Whether the pod that a write named by its uid is gone, or another pod has its name: status 404, or 409 or 422 about the
/// uid. `fields` are those of the status' `details.causes`.
pub fn is_pod_gone<'a>(status: u16, message: &str, fields: impl IntoIterator<Item = &'a str>) -> bool {
    let is_about_uid = || {
        ["uid mismatch", "UID in precondition", "metadata.uid: Invalid value"]
            .iter()
            .any(|text| message.contains(text))
    };
    match status {
        404 => true,
        409 | 422 => fields.into_iter().any(|field| field == "metadata.uid") || is_about_uid(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_pod_gone;

    #[test]
    fn only_a_status_about_the_uid_means_that_the_pod_is_gone() {
        let table = [
            (404, "pods \"web\" not found", true),
            (
                409,
                "uid mismatch: the provided object specified uid a, and no existing object was found",
                true,
            ),
            (409, "Precondition failed: UID in precondition: a, UID in object meta: b", true),
            (422, "Pod \"web\" is invalid: metadata.uid: Invalid value: \"a\": field is immutable", true),
            (409, "the object has been modified", false),
            (422, "Pod \"web\" is invalid: metadata.labels: Invalid value", false),
            (403, "metadata.uid: Invalid value", false),
        ];
        for (status, message, gone) in table {
            assert_eq!(is_pod_gone(status, message, []), gone, "{status} {message}");
        }
        assert!(is_pod_gone(422, "invalid", ["metadata.uid"]), "the cause alone is enough");
        assert!(!is_pod_gone(422, "invalid", ["metadata.labels"]));
    }
}
