//! The keys that sign tokens, and the two documents about them that an API server serves.

use anyhow::{Context, anyhow};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use super::rules::fresh_uid;

/// The keys of one server: the last one signs, all are served.
#[derive(Debug)]
pub(super) struct SigningKeys {
    keys: Vec<SigningKey>,
    random: SystemRandom,
}

#[derive(Debug)]
struct SigningKey {
    id: String,
    pair: EcdsaKeyPair,
}

impl SigningKeys {
    /// One key.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub(super) fn new() -> anyhow::Result<Self> {
        let mut keys = Self { keys: Vec::new(), random: SystemRandom::new() };
        keys.rotate(false)?;
        Ok(keys)
    }

    /// Signs with a new key from now on; the former ones stay served, or not.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub(super) fn rotate(&mut self, old_stay: bool) -> anyhow::Result<()> {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &self.random)
            .map_err(|_| anyhow!("no random numbers"))
            .context("making the sandbox's key for tokens")?;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &self.random)
            .map_err(|error| anyhow!("{error}"))
            .context("loading the sandbox's key for tokens")?;
        if !old_stay {
            self.keys.clear();
        }
        self.keys.push(SigningKey { id: fresh_uid(), pair });
        Ok(())
    }

    /// A token with these claims. Without random numbers it has no signature, and is accepted nowhere.
    pub(super) fn sign(&self, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let key = self.keys.last();
        let id = key.map(|key| key.id.as_str());
        let signed = format!("{}.{}", part(&json!({"alg": "ES256", "kid": id})), part(claims));
        let signature = key.and_then(|key| key.pair.sign(&self.random, signed.as_bytes()).ok());
        let signature = signature.map(|signature| URL_SAFE_NO_PAD.encode(signature.as_ref()));
        format!("{signed}.{}", signature.unwrap_or_default())
    }

    /// What is served at a path, if it is one of theirs.
    pub(super) fn document(&self, path: &str, issuer: &str) -> Option<Value> {
        match path {
            "/openid/v1/jwks" => {
                Some(json!({"keys": self.keys.iter().map(SigningKey::jwk).collect::<Vec<_>>()}))
            }
            "/.well-known/openid-configuration" => Some(json!({
                "issuer": issuer, "jwks_uri": format!("{issuer}/openid/v1/jwks"),
                "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
            })),
            _ => None,
        }
    }
}

impl SigningKey {
    fn jwk(&self) -> Value {
        // An uncompressed point: 4, and two coordinates of 32 bytes.
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        json!({
            "use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        })
    }
}
