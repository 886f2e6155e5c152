use jiff::Timestamp;

use super::*;
use crate::auth::claims;
use crate::auth::tests::{ISSUER, NOW, Signer, claims_of};
use crate::config::Agents;

fn jwks(signers: &[&Signer]) -> Vec<Jwk> {
    signers.iter().map(|signer| serde_json::from_value(signer.jwk()).unwrap()).collect()
}

fn verified(keys: &SigningKeys, token: &str) -> Result<Verdict, &'static str> {
    let token = claims::read(token, &Agents::default(), Timestamp::from_second(NOW).unwrap()).unwrap();
    keys.verify(&token).map_err(|rejection| rejection.as_str())
}

fn token(signer: &Signer) -> String {
    signer.sign(&claims_of(1, NOW))
}

fn issuer() -> Option<String> {
    Some(ISSUER.to_owned())
}

#[test]
fn each_of_several_keys_verifies_its_own_tokens_and_no_others() {
    let (a, b, other_a) = (Signer::p256("a"), Signer::p384("b"), Signer::p256("a"));
    let keys = SigningKeys::default();
    keys.learn(&jwks(&[&a, &b]), issuer(), Instant::now());
    assert_eq!(verified(&keys, &token(&a)), Ok(Verdict::Verified));
    assert_eq!(verified(&keys, &token(&b)), Ok(Verdict::Verified));
    assert_eq!(verified(&keys, &token(&other_a)), Err("bad_signature"));
    assert_eq!(verified(&keys, &token(&Signer::p256("c"))), Err("unknown_signing_key"));
}

#[test]
fn before_the_first_read_nothing_is_known_and_while_reads_fail_only_unknown_keys_are_reviewed() {
    let (a, b) = (Signer::p256("a"), Signer::p256("b"));
    let keys = SigningKeys::default();
    assert_eq!(verified(&keys, &token(&a)), Err("no_signing_keys"));
    keys.read_failed();
    assert_eq!(verified(&keys, &token(&a)), Ok(Verdict::Review));
    keys.learn(&jwks(&[&a]), issuer(), Instant::now());
    keys.read_failed();
    assert_eq!(verified(&keys, &token(&a)), Ok(Verdict::Verified), "known for as long as reads fail");
    assert_eq!(verified(&keys, &token(&b)), Ok(Verdict::Review));
    assert_eq!(verified(&keys, &token(&Signer::p256("a"))), Err("bad_signature"), "no second opinion");
}

#[test]
fn a_key_that_is_no_longer_listed_is_used_for_fifteen_minutes() {
    let (old, new) = (Signer::p256("old"), Signer::p256("new"));
    let (keys, start) = (SigningKeys::default(), Instant::now());
    let at = |minutes: u64| start + Duration::from_secs(60 * minutes);
    assert_eq!(keys.learn(&jwks(&[&old]), issuer(), at(0)).as_deref(), Some("old"));
    assert_eq!(keys.learn(&jwks(&[&new, &old]), None, at(10)).as_deref(), Some("new, old"));
    assert_eq!(keys.learn(&jwks(&[&new]), None, at(20)), None, "nothing changed");
    assert_eq!(verified(&keys, &token(&old)), Ok(Verdict::Verified));
    assert_eq!(keys.learn(&jwks(&[&new]), None, at(30)).as_deref(), Some("new"));
    assert_eq!(verified(&keys, &token(&old)), Err("unknown_signing_key"));
    assert_eq!(verified(&keys, &token(&new)), Ok(Verdict::Verified));
}

#[test]
fn tokens_of_a_key_that_cannot_be_used_are_reviewed_and_the_key_is_named() {
    let mut odd = Signer::p256("odd").jwk();
    odd["crv"] = "P-521".into();
    let keys = SigningKeys::default();
    let text = keys.learn(&[serde_json::from_value(odd).unwrap()], issuer(), Instant::now());
    assert_eq!(text.as_deref(), Some("odd (not used: type EC P-521; its tokens are reviewed)"));
    assert_eq!(verified(&keys, &token(&Signer::p256("odd"))), Ok(Verdict::Review));
}

#[test]
fn the_last_two_issuers_that_were_read_are_accepted_and_others_are_reviewed() {
    let signer = Signer::p256("a");
    let keys = SigningKeys::default();
    let of = |issuer: &str| {
        let mut claims = claims_of(1, NOW);
        claims["iss"] = issuer.into();
        verified(&keys, &signer.sign(&claims))
    };
    for (read, accepted, other) in [("x", "x", "w"), ("y", "x", "w"), ("z", "y", "x"), ("y", "z", "x")] {
        keys.learn(&jwks(&[&signer]), Some(read.to_owned()), Instant::now());
        assert_eq!(of(read), Ok(Verdict::Verified));
        assert_eq!(of(accepted), Ok(Verdict::Verified));
        assert_eq!(of(other), Ok(Verdict::Review));
    }
}

#[test]
fn of_a_list_without_end_no_more_than_a_bound_is_kept() {
    let signer = Signer::p256("a");
    let keys = SigningKeys::default();
    let many: Vec<Jwk> = (0..1000)
        .map(|number| {
            let mut jwk = signer.jwk();
            jwk["kid"] = format!("{number}").into();
            serde_json::from_value(jwk).unwrap()
        })
        .collect();
    keys.learn(&many, issuer(), Instant::now());
    assert_eq!(keys.lock().keys.len(), MAX_KEYS);
}
