use jiff::Timestamp;
use ring::hmac;
use serde_json::{Value, json};

use super::*;
use crate::auth::claims;
use crate::auth::tests::{NOW, Signer, claims_of, part, sign_with};
use crate::config::Agents;

/// `{"jwk": ..., "token": ..., "small": ...}`, made once: `ring` cannot make RSA keys.
fn rsa() -> Value {
    serde_json::from_str(include_str!("rs256.json")).unwrap()
}

fn key(jwk: &Value) -> Result<Key, String> {
    Key::new(&serde_json::from_value(jwk.clone()).unwrap())
}

fn verified(jwk: &Value, token: &str) -> Result<(), &'static str> {
    let token = claims::read(token, &Agents::default(), Timestamp::from_second(NOW).unwrap()).unwrap();
    key(jwk).unwrap().verify(&token).map_err(|rejection| rejection.as_str())
}

/// The same token with another header.
fn with_header(token: &str, header: &Value) -> String {
    let (_, rest) = token.split_once('.').unwrap();
    format!("{}.{rest}", part(header))
}

#[test]
fn a_token_of_an_rsa_key_and_of_both_curves_is_verified() {
    let fixture = rsa();
    assert_eq!(verified(&fixture["jwk"], fixture["token"].as_str().unwrap()), Ok(()));
    for signer in [Signer::p256("a"), Signer::p384("a")] {
        assert_eq!(verified(&signer.jwk(), &signer.sign(&claims_of(1, NOW))), Ok(()));
    }
}

#[test]
fn a_changed_token_an_empty_signature_and_another_key_are_refused() {
    let (ours, theirs) = (Signer::p256("a"), Signer::p256("a"));
    let token = ours.sign(&claims_of(1, NOW));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = signed.split_once('.').unwrap();
    let payload = part(&claims_of(2, NOW));
    let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    for forged in [
        theirs.sign(&claims_of(1, NOW)),
        Signer::p384("a").sign(&claims_of(1, NOW)),
        format!("{header}.{payload}.{signature}"),
        format!("{signed}."),
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(&bytes[..60])),
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode([0; 64])),
    ] {
        assert_eq!(verified(&ours.jwk(), &forged), Err("bad_signature"), "{forged}");
    }
    let fixture = rsa();
    let mut token = fixture["token"].as_str().unwrap().to_owned();
    token.replace_range(token.len() - 6..token.len() - 4, "AA");
    assert_eq!(verified(&fixture["jwk"], &token), Err("bad_signature"));
}

#[test]
fn a_token_cannot_choose_its_algorithm_not_even_none_or_an_hmac_with_the_public_key() {
    let (signer, fixture) = (Signer::p256("a"), rsa());
    let (ec, rsa) = (signer.sign(&claims_of(1, NOW)), fixture["token"].as_str().unwrap());
    for algorithm in
        ["none", "None", "", "HS256", "HS512", "RS256", "PS256", "RS512", "ES384", "EdDSA", "es256"]
    {
        let header = json!({"alg": algorithm, "kid": "a"});
        assert_eq!(verified(&signer.jwk(), &with_header(&ec, &header)), Err("bad_signature"), "{algorithm}");
        if algorithm != "RS256" {
            assert_eq!(
                verified(&fixture["jwk"], &with_header(rsa, &header)),
                Err("bad_signature"),
                "{algorithm}"
            );
        }
    }
    // Every form in which the public key is public.
    let jwk = &fixture["jwk"];
    let modulus = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    for secret in [jwk["n"].as_str().unwrap().as_bytes(), &modulus, jwk.to_string().as_bytes(), b""] {
        let sign = |signed: &str| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes()).as_ref().to_vec()
        };
        let token = sign_with(&json!({"alg": "HS256", "kid": "rsa"}), &claims_of(1, NOW), sign);
        assert_eq!(verified(jwk, &token), Err("bad_signature"));
        let unsigned = sign_with(&json!({"alg": "none", "kid": "rsa"}), &claims_of(1, NOW), |_| Vec::new());
        assert_eq!(verified(jwk, &unsigned), Err("bad_signature"));
    }
}

#[test]
fn a_key_that_cannot_be_used_says_why() {
    let fixture = rsa();
    let ec = Signer::p256("a").jwk();
    let with = |jwk: &Value, field: &str, value: Value| {
        let mut jwk = jwk.clone();
        jwk[field] = value;
        key(&jwk).unwrap_err()
    };
    let table = [
        (key(&fixture["small"]).unwrap_err(), "type RSA, 1024 bits"),
        (with(&fixture["jwk"], "e", json!("")), "type RSA, 2048 bits"),
        (with(&fixture["jwk"], "n", json!("%")), "a number of it is not base64"),
        (with(&fixture["jwk"], "alg", json!("PS256")), "algorithm PS256"),
        (with(&fixture["jwk"], "use", json!("enc")), "for enc"),
        (with(&ec, "crv", json!("P-521")), "type EC P-521"),
        (with(&ec, "crv", json!("P-384")), "its coordinates are not as long as its curve"),
        (with(&ec, "x", json!("AA")), "its coordinates are not as long as its curve"),
        (with(&ec, "kty", json!("oct")), "type oct P-256"),
        (key(&json!({"kid": "a", "kty": "OKP", "crv": "Ed25519"})).unwrap_err(), "type OKP Ed25519"),
        (key(&json!({})).unwrap_err(), "type"),
    ];
    for (why, expected) in table {
        assert_eq!(why, expected);
    }
    // A point that is not on the curve is found when it is to verify.
    let mut off = ec.clone();
    off["y"] = off["x"].clone();
    assert_eq!(verified(&off, &Signer::p256("a").sign(&claims_of(1, NOW))), Err("bad_signature"));
}
