//! What an answered TokenReview means. Pure.

use k8s_openapi::api::authentication::v1::{TokenReviewStatus, UserInfo};
use plimsoll_contract::{NodeName, keys};

use super::Caller;
use crate::rejection::Rejection;

const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";

/// The caller that the API server confirms: of `account`, in exactly one pod on one node.
///
/// # Errors
/// The first condition that is not met.
pub(crate) fn caller(status: &TokenReviewStatus, account: &str) -> Result<Caller, Rejection> {
    if status.authenticated != Some(true) || status.error.as_ref().is_some_and(|error| !error.is_empty()) {
        return Err(Rejection::NotAuthenticated);
    }
    // An authenticator that does not know audiences accepts a token for any of them, and does not return ours.
    if !status.audiences.iter().flatten().any(|audience| audience == keys::TOKEN_AUDIENCE) {
        return Err(Rejection::AudienceNotEchoed);
    }
    let user = status.user.as_ref().ok_or(Rejection::NotAuthenticated)?;
    if user.username.as_deref() != Some(account) {
        let got = user.username.clone().unwrap_or_default();
        return Err(Rejection::Account { got, want: account.to_owned() });
    }
    bound_to(user).ok_or(Rejection::NotBound)
}

fn bound_to(user: &UserInfo) -> Option<Caller> {
    let one = |key: &str| match user.extra.as_ref()?.get(key)?.as_slice() {
        [value] if !value.is_empty() => Some(value.clone()),
        _ => None,
    };
    Some(Caller { node: NodeName::new(&one(NODE_NAME)?).ok()?, pod: one(POD_NAME)?, uid: one(POD_UID)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const ACCOUNT: &str = "system:serviceaccount:plimsoll-agents:plimsoll-agent";

    fn good() -> Value {
        json!({
            "authenticated": true, "audiences": ["plimsoll-aggregator"],
            "user": {"username": ACCOUNT, "extra": {POD_NAME: ["agent-x"], POD_UID: ["u"], NODE_NAME: ["n1"]}},
        })
    }

    fn reviewed(status: Value) -> Result<Caller, Rejection> {
        caller(&serde_json::from_value(status).unwrap(), ACCOUNT)
    }

    #[test]
    fn a_token_of_one_pod_on_one_node_is_confirmed() {
        let found = reviewed(good()).unwrap();
        assert_eq!((found.node.as_str(), found.pod.as_str(), found.uid.as_str()), ("n1", "agent-x", "u"));
    }

    #[test]
    fn each_condition_that_is_not_met_has_its_own_reason() {
        let table = [
            ("/authenticated", json!(false), "not_authenticated"),
            ("/authenticated", Value::Null, "not_authenticated"),
            ("/error", json!("token expired"), "not_authenticated"),
            ("/audiences", Value::Null, "audience_not_echoed"),
            ("/audiences", json!(["https://kubernetes.default.svc"]), "audience_not_echoed"),
            ("/user/username", json!("system:serviceaccount:default:default"), "account"),
            ("/user/extra", Value::Null, "not_bound"),
            ("/user/extra/authentication.kubernetes.io~1pod-name", json!([]), "not_bound"),
            ("/user/extra/authentication.kubernetes.io~1pod-uid", json!(["a", "b"]), "not_bound"),
            ("/user/extra/authentication.kubernetes.io~1node-name", json!(["n1", "n2"]), "not_bound"),
            ("/user/extra/authentication.kubernetes.io~1node-name", json!(["../n1"]), "not_bound"),
        ];
        for (path, value, reason) in table {
            let mut status = good();
            status["error"] = json!("");
            *status.pointer_mut(path).unwrap() = value;
            assert_eq!(reviewed(status).unwrap_err().as_str(), reason, "{path}");
        }
    }
}
