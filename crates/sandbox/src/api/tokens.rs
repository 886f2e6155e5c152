//! Tokens: issued for service accounts and pods, authenticated, and reviewed.
//!
//! A token is signed as a real one is, so that clients can verify it with the served keys; the server itself looks it up, and does
//! not verify it. A token that is bound to a pod becomes invalid with the pod.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::kinds::Resource;
use super::rules::fresh_uid;
use super::signing::SigningKeys;
use super::status::ApiError;
use super::store::Store;

/// The audience of the API server itself: a token without it is rejected.
const API_AUDIENCE: &str = "https://kubernetes.default.svc.cluster.local";

/// The pod that a token is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundPod {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The node it runs on.
    pub node: String,
}

/// The user of a token.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct User {
    /// `system:serviceaccount:NAMESPACE:NAME`, or the admin's name.
    pub name: String,
    uid: String,
    groups: Vec<String>,
    extra: Map<String, Value>,
}

#[derive(Debug, Clone)]
struct Issued {
    user: User,
    audiences: Vec<String>,
    expires: Option<Instant>,
    namespace: String,
    /// Name and uid of an existing service account. The token becomes invalid with it.
    account: Option<(String, String)>,
    pod: Option<BoundPod>,
}

/// The tokens of one server. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Tokens {
    issued: Arc<Mutex<BTreeMap<String, Issued>>>,
    keys: Arc<Mutex<SigningKeys>>,
    /// Seconds by which the clock of new tokens is ahead.
    ahead: Arc<AtomicI64>,
}

/// The content of a token.
#[derive(Debug, Clone)]
pub(super) struct Claim<'a> {
    pub(super) namespace: &'a str,
    pub(super) account: &'a str,
    pub(super) pod: Option<BoundPod>,
    pub(super) audiences: Vec<String>,
    pub(super) ttl: Duration,
}

impl Tokens {
    /// None is issued yet.
    ///
    /// # Errors
    /// If no key can be made.
    pub(super) fn new() -> anyhow::Result<Self> {
        let keys = Arc::new(Mutex::new(SigningKeys::new()?));
        Ok(Self { issued: Arc::default(), keys, ahead: Arc::default() })
    }

    /// The times in new tokens are this many seconds ahead.
    pub(super) fn set_clock_ahead(&self, seconds: i64) {
        self.ahead.store(seconds, Ordering::Relaxed);
    }

    /// Signs with a new key from now on; the former ones stay served, or not.
    ///
    /// # Errors
    /// If no key can be made.
    pub(super) fn rotate_keys(&self, old_stay: bool) -> anyhow::Result<()> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).rotate(old_stay)
    }

    /// The document about the keys that is served at a path, if there is one.
    pub(super) fn document(&self, path: &str) -> Option<Value> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).document(path, API_AUDIENCE)
    }

    /// A token of the administrator, which does not expire.
    pub(super) fn issue_admin(&self) -> String {
        let token = format!("admin.{}", secret());
        let user = User {
            name: "kubernetes-admin".to_owned(),
            uid: String::new(),
            groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()],
            extra: Map::new(),
        };
        let audiences = vec![API_AUDIENCE.to_owned()];
        self.insert(
            &token,
            Issued { user, audiences, expires: None, namespace: String::new(), account: None, pod: None },
        );
        token
    }

    fn insert(&self, token: &str, issued: Issued) {
        let mut known = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        known.retain(|_, issued| issued.expires.is_none_or(|expires| expires > now));
        known.insert(token.to_owned(), issued);
    }

    /// A token of a service account; no audience means the API server's.
    pub(super) fn issue(&self, store: &Store, claim: Claim<'_>) -> String {
        let (namespace, account) = (claim.namespace, claim.account);
        let uid_of = |resource: &Resource, namespace: &str, name: &str| {
            let object = store.get_shared(resource, namespace, name).ok();
            object.and_then(|object| object["metadata"]["uid"].as_str().map(str::to_owned))
        };
        let id = fresh_uid();
        let known = uid_of(&Resource::SERVICE_ACCOUNTS, namespace, account);
        let uid = known.clone().unwrap_or_else(fresh_uid);
        let account_uid = known.map(|uid| (account.to_owned(), uid));
        let mut extra = Map::new();
        let mut about = json!({"namespace": namespace, "serviceaccount": {"name": account, "uid": uid}});
        extra.insert("authentication.kubernetes.io/credential-id".to_owned(), json!([format!("JTI={id}")]));
        if let Some(pod) = &claim.pod {
            let mut add = |key: &str, value: &str| {
                extra.insert(format!("authentication.kubernetes.io/{key}"), json!([value]))
            };
            add("pod-name", &pod.name);
            add("pod-uid", &pod.uid);
            about["pod"] = json!({"name": pod.name, "uid": pod.uid});
            if !pod.node.is_empty() {
                add("node-name", &pod.node);
                about["node"] = json!({"name": pod.node});
            }
            if let Some(uid) = uid_of(&Resource::NODES, "", &pod.node) {
                add("node-uid", &uid);
                about["node"]["uid"] = json!(uid);
            }
        }
        let audiences =
            if claim.audiences.is_empty() { vec![API_AUDIENCE.to_owned()] } else { claim.audiences };
        let name = format!("system:serviceaccount:{namespace}:{account}");
        let now = Timestamp::now().as_second() + self.ahead.load(Ordering::Relaxed);
        let claims = json!({
            "aud": audiences, "iss": API_AUDIENCE, "sub": name, "jti": id, "iat": now, "nbf": now,
            "exp": now.saturating_add_unsigned(claim.ttl.as_secs()), "kubernetes.io": about,
        });
        let token = self.keys.lock().unwrap_or_else(PoisonError::into_inner).sign(&claims);
        let groups = [
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".to_owned(),
        ];
        let user = User { name, uid, groups: groups.to_vec(), extra };
        let expires = Some(Instant::now() + claim.ttl);
        self.insert(
            &token,
            Issued {
                user,
                audiences,
                expires,
                namespace: namespace.to_owned(),
                account: account_uid,
                pod: claim.pod,
            },
        );
        token
    }

    /// The user of a token that is meant for the API server.
    pub(super) fn authenticate(&self, store: &Store, token: &str) -> Option<User> {
        self.verify(store, token, &[API_AUDIENCE.to_owned()]).ok().map(|(user, _)| user)
    }

    /// The user and the common audiences of the token and `wanted`, or why the token is invalid.
    fn verify(&self, store: &Store, token: &str, wanted: &[String]) -> Result<(User, Vec<String>), String> {
        let issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned();
        let issued = issued.ok_or("invalid bearer token")?;
        if issued.expires.is_some_and(|expires| expires <= Instant::now()) {
            return Err("[invalid bearer token, service account token has expired]".to_owned());
        }
        let exists = |resource: &Resource, name: &str, uid: &str| {
            let object = store.get_shared(resource, &issued.namespace, name).ok();
            object.is_some_and(|object| object["metadata"]["uid"] == uid)
        };
        let pod_exists = issued.pod.as_ref().is_none_or(|pod| exists(&Resource::PODS, &pod.name, &pod.uid));
        let account = issued.account.as_ref();
        if !pod_exists || !account.is_none_or(|(name, uid)| exists(&Resource::SERVICE_ACCOUNTS, name, uid)) {
            return Err("[invalid bearer token, service account token has been invalidated]".to_owned());
        }
        let common: Vec<String> =
            wanted.iter().filter(|audience| issued.audiences.contains(audience)).cloned().collect();
        if common.is_empty() {
            return Err(format!(
                "[invalid bearer token, token audiences {:?} is invalid for the target audiences {wanted:?}]",
                issued.audiences
            ));
        }
        Ok((issued.user, common))
    }

    /// Answers a TokenReview: the body with its `status`.
    pub(super) fn review(&self, store: &Store, mut review: Value) -> Result<Value, ApiError> {
        if review["spec"]["token"].as_str().unwrap_or_default().is_empty() {
            return Err(ApiError::bad_request("token is required for TokenReview in authentication"));
        }
        let spec = &review["spec"];
        let named = audiences(spec);
        let wanted = if named.is_empty() { vec![API_AUDIENCE.to_owned()] } else { named };
        let status = match self.verify(store, spec["token"].as_str().unwrap_or_default(), &wanted) {
            Ok((user, audiences)) => json!({
                "authenticated": true,
                "user": {"username": user.name, "uid": user.uid, "groups": user.groups, "extra": user.extra},
                "audiences": audiences,
            }),
            Err(why) => json!({"user": {}, "error": why}),
        };
        review["kind"] = json!("TokenReview");
        review["apiVersion"] = json!("authentication.k8s.io/v1");
        review["status"] = status;
        Ok(review)
    }

    /// Answers a TokenRequest for a service account: the body with its `status`.
    pub(super) fn request(
        &self,
        store: &Store,
        namespace: &str,
        account: &str,
        mut request: Value,
    ) -> Result<Value, ApiError> {
        store.get_shared(&Resource::SERVICE_ACCOUNTS, namespace, account)?;
        if audiences(&request["spec"]).is_empty() {
            request["spec"]["audiences"] = json!([API_AUDIENCE]);
        }
        let spec = &request["spec"];
        let audiences = audiences(spec);
        let seconds = spec["expirationSeconds"].as_u64().unwrap_or(3600);
        if seconds < 600 {
            let rule = format!("Invalid value: {seconds}");
            let why = "may not specify a duration less than 10 minutes";
            return Err(ApiError::invalid(
                "TokenRequest.authentication.k8s.io",
                "",
                "spec.expirationSeconds",
                &rule,
                why,
            ));
        }
        let pod = match spec["boundObjectRef"]["name"].as_str() {
            Some(name) => Some(bound_pod(store, namespace, name, spec["boundObjectRef"]["uid"].as_str())?),
            None => None,
        };
        let claim = Claim { namespace, account, pod, audiences, ttl: Duration::from_secs(seconds) };
        let token = self.issue(store, claim);
        let expires =
            Timestamp::now() + SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX / 2));
        request["kind"] = json!("TokenRequest");
        request["apiVersion"] = json!("authentication.k8s.io/v1");
        request["status"] = json!({"token": token, "expirationTimestamp": expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()});
        Ok(request)
    }
}

/// The audiences of a review or a request.
fn audiences(spec: &Value) -> Vec<String> {
    spec["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn bound_pod(store: &Store, namespace: &str, name: &str, uid: Option<&str>) -> Result<BoundPod, ApiError> {
    let pod = store.get_shared(&Resource::PODS, namespace, name)?;
    let had = pod["metadata"]["uid"].as_str().unwrap_or_default();
    if let Some(uid) = uid.filter(|uid| *uid != had) {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record ({had}). The object might have been deleted and then recreated"
        );
        return Err(ApiError::conflict("Pod", name, &why));
    }
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    Ok(BoundPod { name: name.to_owned(), uid: had.to_owned(), node: node.to_owned() })
}

/// 256 random bits; the provider's generator fails only where the system has none.
fn secret() -> String {
    let mut bytes = [0_u8; 32];
    if rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes).is_err() {
        fastrand::fill(&mut bytes);
    }
    URL_SAFE_NO_PAD.encode(bytes)
}
