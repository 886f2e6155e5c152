//! A public key of the API server, and whether a signature was made with it. Pure.
//!
//! A key is used with the one algorithm of its type and curve. What the token's header says is only compared with it: a token cannot
//! choose `none`, or have a public key taken for the secret of an HMAC.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, EcdsaVerificationAlgorithm, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;

use super::claims::Token;
use crate::rejection::Rejection;

/// Bytes of an RSA modulus: 2048 to 8192 bits.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// A key as `/openid/v1/jwks` lists it (RFC 7517); what is not ours to use stays unread.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Jwk {
    pub(crate) kid: String,
    kty: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: String,
    n: String,
    e: String,
    x: String,
    y: String,
}

/// A key that can verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    /// RS256.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// ES256 or ES384: the uncompressed point.
    Ec(Curve, Vec<u8>),
}

/// The curve of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
}

impl Curve {
    fn bytes(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
        }
    }

    fn verification(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Curve::P256 => &ECDSA_P256_SHA256_FIXED,
            Curve::P384 => &ECDSA_P384_SHA384_FIXED,
        }
    }
}

impl Key {
    /// The key of a listed one.
    ///
    /// # Errors
    /// Why it cannot be used: `a key of type RSA, 1024 bits`.
    pub(crate) fn new(jwk: &Jwk) -> Result<Key, String> {
        let key = Key::of_type(jwk)?;
        let is_other =
            |given: &Option<String>, ours: &str| given.as_deref().is_some_and(|given| given != ours);
        if is_other(&jwk.alg, key.algorithm()) {
            return Err(format!("algorithm {}", jwk.alg.as_deref().unwrap_or_default()));
        }
        if is_other(&jwk.purpose, "sig") {
            return Err(format!("for {}", jwk.purpose.as_deref().unwrap_or_default()));
        }
        Ok(key)
    }

    fn of_type(jwk: &Jwk) -> Result<Key, String> {
        let number =
            |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| "a number of it is not base64".to_owned());
        match (jwk.kty.as_str(), jwk.crv.as_str()) {
            ("RSA", _) => {
                let (n, e) = (without_zeros(number(&jwk.n)?), without_zeros(number(&jwk.e)?));
                if !RSA_BYTES.contains(&n.len()) || e.is_empty() {
                    return Err(format!("type RSA, {} bits", n.len() * 8));
                }
                Ok(Key::Rsa { n, e })
            }
            ("EC", "P-256") => Self::point(Curve::P256, &number(&jwk.x)?, &number(&jwk.y)?),
            ("EC", "P-384") => Self::point(Curve::P384, &number(&jwk.x)?, &number(&jwk.y)?),
            (kty, crv) => Err(format!("type {kty} {crv}").trim_end().to_owned()),
        }
    }

    fn point(curve: Curve, x: &[u8], y: &[u8]) -> Result<Key, String> {
        if x.len() != curve.bytes() || y.len() != curve.bytes() {
            return Err("its coordinates are not as long as its curve".to_owned());
        }
        // 4: both coordinates follow (SEC 1, 2.3.3).
        Ok(Key::Ec(curve, [&[4], x, y].concat()))
    }

    /// The only algorithm that it is used with.
    fn algorithm(&self) -> &'static str {
        match self {
            Key::Rsa { .. } => "RS256",
            Key::Ec(Curve::P256, _) => "ES256",
            Key::Ec(Curve::P384, _) => "ES384",
        }
    }

    /// Whether it signed the token.
    ///
    /// # Errors
    /// If not, or if the token names another algorithm.
    pub(crate) fn verify(&self, token: &Token<'_>) -> Result<(), Rejection> {
        if token.algorithm != self.algorithm() {
            return Err(Rejection::BadSignature);
        }
        let verified = match self {
            Key::Rsa { n, e } => {
                let key = RsaPublicKeyComponents { n, e };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, token.signed, &token.signature)
            }
            Key::Ec(curve, point) => {
                UnparsedPublicKey::new(curve.verification(), point).verify(token.signed, &token.signature)
            }
        };
        verified.map_err(|_| Rejection::BadSignature)
    }
}

fn without_zeros(mut number: Vec<u8>) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.drain(..zeros);
    number
}

#[cfg(test)]
mod tests;
