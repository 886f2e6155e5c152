//! What a token says about itself, before it is verified: most junk is rejected here, at the cost of parsing it. Pure.
//!
//! A pod-bound token is a JWT (RFC 7515, 7519) whose signed claims name account, pod and node: all that a TokenReview would answer.
//! Whether that pod still exists is what the watch says.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use plimsoll_contract::{NodeName, keys};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Caller;
use crate::config::Agents;
use crate::rejection::Rejection;

/// How far our clock may differ from the API server's. Wide, because an agent cannot do anything about a clock of ours that runs ahead,
/// and because a token that is accepted for longer is worth little: it ends with its pod, whatever it says itself.
const LEEWAY: Duration = Duration::from_secs(5 * 60);

const PARTS: &str = "it does not have three parts";

/// A token that says it is of an agent of ours. Nothing of it is verified.
#[derive(Debug)]
pub(crate) struct Token<'a> {
    /// The algorithm that its header names.
    pub(crate) algorithm: String,
    /// The id of the key that signed it.
    pub(crate) key: String,
    pub(crate) issuer: String,
    pub(crate) caller: Caller,
    /// What the signature is of: the first two parts, as they came.
    pub(crate) signed: &'a [u8],
    pub(crate) signature: Vec<u8>,
    /// All of it, for a TokenReview.
    pub(crate) text: &'a str,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    /// Extensions that must be understood; we know none.
    #[serde(default)]
    crit: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    aud: Audiences,
    iss: String,
    exp: i64,
    #[serde(default)]
    nbf: Option<i64>,
    sub: String,
    #[serde(rename = "kubernetes.io", default)]
    bound: Bound,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Many(Vec<String>),
}

impl Audiences {
    fn contain(&self, audience: &str) -> bool {
        match self {
            Audiences::One(one) => one == audience,
            Audiences::Many(many) => many.iter().any(|one| one == audience),
        }
    }
}

/// What the token is bound to.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Bound {
    namespace: String,
    serviceaccount: Option<Named>,
    pod: Option<Object>,
    node: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Object {
    name: String,
    uid: String,
}

/// What `text` says, if it says that it is for us, of one of `agents`, in one pod on one node, and valid at `now`.
///
/// # Errors
/// The first thing that is wrong.
pub(crate) fn read<'a>(text: &'a str, agents: &Agents, now: Timestamp) -> Result<Token<'a>, Rejection> {
    let (signed, signature) = text.rsplit_once('.').ok_or(Rejection::BadToken(PARTS))?;
    let (header, payload) = signed.split_once('.').ok_or(Rejection::BadToken(PARTS))?;
    // A dot in the payload would be a fourth part: it is no base64.
    let decode = |part: &str| {
        URL_SAFE_NO_PAD.decode(part).map_err(|_| Rejection::BadToken("a part of it is not base64"))
    };
    let (header, payload, signature) = (decode(header)?, decode(payload)?, decode(signature)?);
    let header: Header =
        serde_json::from_slice(&header).map_err(|_| Rejection::BadToken("its header lacks alg or kid"))?;
    if header.crit.is_some() {
        return Err(Rejection::BadToken("its header has extensions that are not known"));
    }
    let claims: Claims = serde_json::from_slice(&payload)
        .map_err(|_| Rejection::BadToken("its payload lacks aud, iss, exp or sub"))?;
    if !claims.aud.contain(keys::TOKEN_AUDIENCE) {
        return Err(Rejection::Audience);
    }
    let time = |seconds| {
        Timestamp::from_second(seconds).map_err(|_| Rejection::BadToken("a time of it is not a time"))
    };
    if time(claims.exp)?.saturating_add(LEEWAY).is_ok_and(|end| end < now) {
        return Err(Rejection::Expired);
    }
    if let Some(start) = claims.nbf
        && time(start)?.saturating_sub(LEEWAY).is_ok_and(|start| start > now)
    {
        return Err(Rejection::NotYetValid);
    }
    let account = agents.user_name();
    let is_account = claims.bound.serviceaccount.as_ref().is_none_or(|named| named.name == agents.account);
    if claims.sub != account || !is_account {
        return Err(Rejection::Account { got: claims.sub.chars().take(200).collect(), want: account });
    }
    let caller = caller(claims.bound, agents).ok_or(Rejection::NotBound)?;
    Ok(Token {
        algorithm: header.alg,
        key: header.kid,
        issuer: claims.iss,
        caller,
        signed: signed.as_bytes(),
        signature,
        text,
    })
}

fn caller(bound: Bound, agents: &Agents) -> Option<Caller> {
    let (pod, node) = (bound.pod?, bound.node?);
    let complete = bound.namespace == agents.namespace && !pod.name.is_empty() && !pod.uid.is_empty();
    complete.then_some(Caller { node: NodeName::new(&node.name).ok()?, pod: pod.name, uid: pod.uid })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NOW: i64 = 1_000_000;

    fn good() -> Value {
        json!({
            "aud": ["plimsoll-aggregator"], "iss": "https://issuer", "exp": NOW + 600, "nbf": NOW,
            "sub": "system:serviceaccount:plimsoll-agents:plimsoll-agent",
            "kubernetes.io": {
                "namespace": "plimsoll-agents", "serviceaccount": {"name": "plimsoll-agent", "uid": "s"},
                "pod": {"name": "agent-x", "uid": "u"}, "node": {"name": "n1", "uid": "n"},
            },
        })
    }

    fn token(header: &Value, payload: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2ln", part(header), part(payload))
    }

    fn read_at(token: &str, now: i64) -> Result<Caller, &'static str> {
        let read = read(token, &Agents::default(), Timestamp::from_second(now).unwrap());
        read.map(|token| token.caller).map_err(|rejection| rejection.as_str())
    }

    fn header() -> Value {
        json!({"alg": "RS256", "kid": "k"})
    }

    #[test]
    fn a_token_for_us_names_its_pod_and_node_whether_its_audience_is_one_or_a_list() {
        for aud in [json!("plimsoll-aggregator"), json!(["other", "plimsoll-aggregator"])] {
            let mut payload = good();
            payload["aud"] = aud;
            let caller = read_at(&token(&header(), &payload), NOW).unwrap();
            assert_eq!(
                (caller.node.as_str(), caller.pod.as_str(), caller.uid.as_str()),
                ("n1", "agent-x", "u")
            );
        }
    }

    #[test]
    fn each_wrong_claim_has_its_own_reason() {
        let table = [
            ("/aud", json!(["https://kubernetes.default.svc"]), "audience"),
            ("/aud", json!([]), "audience"),
            ("/aud", json!(7), "bad_token"),
            ("/iss", Value::Null, "bad_token"),
            ("/exp", json!("soon"), "bad_token"),
            ("/exp", json!(i64::MAX), "bad_token"),
            ("/exp", Value::Null, "bad_token"),
            ("/nbf", json!(i64::MIN), "bad_token"),
            ("/sub", json!("system:serviceaccount:default:default"), "account"),
            ("/kubernetes.io/serviceaccount/name", json!("default"), "account"),
            ("/kubernetes.io/namespace", json!("default"), "not_bound"),
            ("/kubernetes.io/pod", Value::Null, "not_bound"),
            ("/kubernetes.io/pod/uid", json!(""), "not_bound"),
            ("/kubernetes.io/pod/name", json!(""), "not_bound"),
            ("/kubernetes.io/pod/uid", json!(["a", "b"]), "bad_token"),
            ("/kubernetes.io/node", Value::Null, "not_bound"),
            ("/kubernetes.io/node/name", json!("../n1"), "not_bound"),
        ];
        for (path, value, reason) in table {
            let mut payload = good();
            *payload.pointer_mut(path).unwrap() = value;
            assert_eq!(read_at(&token(&header(), &payload), NOW).unwrap_err(), reason, "{path}");
        }
        let mut unbound = good();
        unbound.as_object_mut().unwrap().remove("kubernetes.io");
        assert_eq!(read_at(&token(&header(), &unbound), NOW), Err("not_bound"));
    }

    #[test]
    fn a_claim_that_is_there_twice_makes_a_bad_token() {
        let payload = good().to_string().replacen('{', r#"{"sub":"x","#, 1);
        let token = format!(
            "{}.{}.c2ln",
            URL_SAFE_NO_PAD.encode(header().to_string()),
            URL_SAFE_NO_PAD.encode(payload)
        );
        assert_eq!(read_at(&token, NOW), Err("bad_token"));
    }

    #[test]
    fn clocks_may_differ_by_five_minutes_both_ways_and_not_more() {
        let token = token(&header(), &good());
        for (ours, expected) in [
            (NOW + 600 + 299, Ok(())),
            (NOW + 600 + 300, Ok(())),
            (NOW + 600 + 301, Err("expired")),
            (NOW - 299, Ok(())),
            (NOW - 300, Ok(())),
            (NOW - 301, Err("not_yet_valid")),
        ] {
            assert_eq!(read_at(&token, ours).map(drop), expected, "{}", ours - NOW);
        }
    }

    #[test]
    fn a_header_without_a_key_or_with_unknown_extensions_is_refused() {
        for header in [
            json!({"alg": "RS256"}),
            json!({"kid": "k"}),
            json!({"alg": "RS256", "kid": "k", "crit": ["b64"]}),
        ] {
            assert_eq!(read_at(&token(&header, &good()), NOW), Err("bad_token"), "{header}");
        }
    }

    #[test]
    fn junk_is_not_a_token() {
        let deep = format!(
            "{}.{}.c2ln",
            URL_SAFE_NO_PAD.encode("[".repeat(4000)),
            URL_SAFE_NO_PAD.encode("[".repeat(1000))
        );
        for junk in ["", "a", "a.b", "..", "a.%.c", "a.e30.c", "a.b.c.d", "e30.e30.", &deep] {
            assert_eq!(read_at(junk, NOW), Err("bad_token"), "{junk:?}");
        }
    }
}
