//! What a token says about itself, before it is verified: most junk is rejected without a call. Pure.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use plimsoll_contract::keys;
use serde::Deserialize;

use crate::rejection::Rejection;

/// How far clocks may differ. The API server, which signs tokens, decides in the end.
const LEEWAY: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Claims {
    aud: Audiences,
    exp: i64,
    sub: String,
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

/// Whether a token claims to be one of `account` (`system:serviceaccount:...`) for us, still valid at `now`. Returns
/// when it says to expire. Nothing is verified.
///
/// # Errors
/// The first claim that is wrong.
pub(crate) fn check(token: &str, account: &str, now: Timestamp) -> Result<Timestamp, Rejection> {
    let mut parts = token.split('.');
    let (Some(_header), Some(payload), Some(_signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Rejection::BadToken("it does not have three parts"));
    };
    let payload =
        URL_SAFE_NO_PAD.decode(payload).map_err(|_| Rejection::BadToken("its payload is not base64"))?;
    let claims: Claims = serde_json::from_slice(&payload)
        .map_err(|_| Rejection::BadToken("its payload lacks aud, exp or sub"))?;
    let expires =
        Timestamp::from_second(claims.exp).map_err(|_| Rejection::BadToken("its exp is not a time"))?;
    if !claims.aud.contain(keys::TOKEN_AUDIENCE) {
        return Err(Rejection::Audience);
    }
    if expires.saturating_add(LEEWAY).is_ok_and(|end| end < now) {
        return Err(Rejection::Expired);
    }
    if claims.sub != account {
        return Err(Rejection::Account {
            got: claims.sub.chars().take(200).collect(),
            want: account.to_owned(),
        });
    }
    Ok(expires)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const ACCOUNT: &str = "system:serviceaccount:plimsoll-agents:plimsoll-agent";

    fn token(payload: &Value) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload.to_string()))
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_000_000).unwrap()
    }

    #[test]
    fn a_token_for_us_passes_whether_its_audience_is_one_or_a_list() {
        for aud in [json!("plimsoll-aggregator"), json!(["other", "plimsoll-aggregator"])] {
            let token = token(&json!({"aud": aud, "exp": 1_000_600, "sub": ACCOUNT}));
            assert_eq!(check(&token, ACCOUNT, now()).unwrap().as_second(), 1_000_600);
        }
    }

    #[test]
    fn each_wrong_claim_has_its_own_reason() {
        let good = json!({"aud": ["plimsoll-aggregator"], "exp": 1_000_600, "sub": ACCOUNT});
        let table = [
            ("aud", json!(["https://kubernetes.default.svc"]), "audience"),
            ("aud", json!([]), "audience"),
            ("exp", json!(999_000), "expired"),
            ("exp", json!("soon"), "bad_token"),
            ("exp", json!(i64::MAX), "bad_token"),
            ("sub", json!("system:serviceaccount:default:default"), "account"),
        ];
        for (claim, value, reason) in table {
            let mut payload = good.clone();
            payload[claim] = value;
            assert_eq!(check(&token(&payload), ACCOUNT, now()).unwrap_err().as_str(), reason, "{claim}");
        }
    }

    #[test]
    fn junk_is_not_a_token() {
        for junk in ["", "a", "a.b", "..", "a.%.c", "a.e30.c", "a.b.c.d"] {
            assert_eq!(check(junk, ACCOUNT, now()).unwrap_err().as_str(), "bad_token", "{junk:?}");
        }
    }
}
