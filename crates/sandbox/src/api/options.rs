//! The options in the query of a request, which are checked before any object is read. Pure.

use super::route::{Query, Verb};
use super::status::ApiError;

/// Rejects contradictory options of a write with a 422 that names the option.
pub(super) fn check_write(verb: Verb, query: &Query) -> Result<(), ApiError> {
    let kind = match verb {
        Verb::Create => "CreateOptions.meta.k8s.io",
        Verb::Update => "UpdateOptions.meta.k8s.io",
        Verb::Patch | Verb::Apply => "PatchOptions.meta.k8s.io",
        _ => "DeleteOptions.meta.k8s.io",
    };
    let invalid = |field: &str, rule: &str, why: &str| Err(ApiError::invalid(kind, "", field, rule, why));
    if let Some(dry_run) = query.get("dryRun").filter(|dry_run| *dry_run != "All") {
        let rule = format!("Unsupported value: [{dry_run:?}]");
        return invalid("dryRun", &rule, "supported values: \"All\"");
    }
    if query.flag("force") && verb == Verb::Patch {
        return invalid("force", "Forbidden", "may not be specified for non-apply patch");
    }
    let manager = query.get("fieldManager");
    if verb == Verb::Apply && manager.is_none() {
        return invalid("fieldManager", "Required value", "is required for apply patch");
    }
    let unprintable = |manager: &&str| manager.chars().any(char::is_control);
    if let Some(manager) = manager.filter(unprintable) {
        return invalid("fieldManager", &format!("Invalid value: {manager:?}"), "invalid character");
    }
    Ok(())
}

/// Rejects malformed or contradictory options of a list or a watch: 400 for an invalid number, 422 for the rest.
pub(super) fn check_list(verb: Verb, query: &Query) -> Result<(), ApiError> {
    for option in ["limit", "timeoutSeconds"] {
        if let Some(text) = query.get(option).filter(|text| text.parse::<i64>().is_err()) {
            let message = format!("strconv.ParseInt: parsing {text:?}: invalid syntax");
            return Err(ApiError::bad_request(message));
        }
    }
    let forbidden = |why: &str| {
        let (kind, field) = ("ListOptions.meta.k8s.io", "resourceVersionMatch");
        Err(ApiError::invalid(kind, "", field, "Forbidden", why))
    };
    let (matching, initial) = (query.get("resourceVersionMatch"), query.get("sendInitialEvents"));
    if verb == Verb::Watch {
        return match (matching, initial) {
            (Some(_), None) => {
                forbidden("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
            }
            (matching, Some(_)) if matching != Some("NotOlderThan") => {
                forbidden("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
            }
            _ => Ok(()),
        };
    }
    let version = query.get("resourceVersion");
    if matching.is_some() && version.is_none() {
        return forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided");
    }
    if query.get("continue").is_some() && version.is_some_and(|version| version != "0") {
        return Err(ApiError::bad_request("specifying resource version is not allowed when using continue"));
    }
    Ok(())
}
