//! The Secret's content, and the next step of its rotation. Pure: time is an argument.
//!
//! ```text
//!   nothing, broken, expired, ──────> current            (at once: nobody can rely on what was there)
//!   or for other names
//!
//!   current ── 30 days before ──> current + next ── CA of both ──> + published ── 10 min ──> next is current,
//!              its end                              published                               the old CA stays trusted
//! ```
//!
//! The old CA stays in the ConfigMap until it expires: its key was dropped, so trusting it longer risks nothing, and
//! a replica that still serves the old leaf remains trusted.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::ByteString;

use super::certificate::{Certificate, CertificateInfo};

/// Renew this long before expiry.
pub const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long both CAs are published before the leaf switches: the kubelet brings a ConfigMap to a mounted directory
/// within about two minutes.
pub const OVERLAP: Duration = Duration::from_secs(600);
/// This close to expiry the leaf is replaced even if the next CA could not be published.
const URGENT: Duration = Duration::from_secs(24 * 3600);

const LEAF: &str = "tls.crt";
const KEY: &str = "tls.key";
const CA: &str = "ca.crt";
const NEXT: &str = "next.";
const NEXT_PUBLISHED: &str = "next.published";
const PREVIOUS_CA: &str = "previous.ca.crt";

/// The Secret's content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stored {
    /// What is served.
    pub current: Option<Certificate>,
    /// What will be served.
    pub next: Option<Next>,
    /// The CA before this one.
    pub previous_ca: Option<String>,
}

/// The certificate that will replace the current one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// The certificate.
    pub certificate: Certificate,
    /// Since when its CA has been in the ConfigMap.
    pub published: Option<Timestamp>,
}

/// A step of the rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    /// Nothing is to be done.
    Keep,
    /// Make a certificate for these names and replace the current one at once, for this reason.
    Replace(Vec<String>, String),
    /// Make the next certificate.
    Prepare(Vec<String>),
    /// The next certificate becomes the current one.
    Switch,
}

impl Stored {
    /// Reads the Secret's data. A missing part makes its certificate absent.
    pub fn read(data: &BTreeMap<String, ByteString>) -> Stored {
        let text = |key: &str| data.get(key).and_then(|value| String::from_utf8(value.0.clone()).ok());
        let certificate = |prefix: &str| {
            let part = |name: &str| text(&format!("{prefix}{name}"));
            Some(Certificate { leaf: part(LEAF)?, key: part(KEY)?, ca: part(CA)? })
        };
        let published = text(NEXT_PUBLISHED).and_then(|time| time.trim().parse().ok());
        Stored {
            current: certificate(""),
            next: certificate(NEXT).map(|certificate| Next { certificate, published }),
            previous_ca: text(PREVIOUS_CA),
        }
    }

    /// Writes our keys into the Secret's data; keys of others stay.
    pub fn write(&self, data: &mut BTreeMap<String, ByteString>) {
        data.retain(|key, _| ![LEAF, KEY, CA, PREVIOUS_CA].contains(&key.as_str()) && !key.starts_with(NEXT));
        let mut put = |key: String, text: &str| data.insert(key, ByteString(text.as_bytes().to_vec()));
        let both = [("", self.current.as_ref()), (NEXT, self.next.as_ref().map(|next| &next.certificate))];
        for (prefix, certificate) in both {
            let Some(certificate) = certificate else { continue };
            put(format!("{prefix}{LEAF}"), &certificate.leaf);
            put(format!("{prefix}{KEY}"), &certificate.key);
            put(format!("{prefix}{CA}"), &certificate.ca);
        }
        if let Some(published) = self.next.as_ref().and_then(|next| next.published) {
            put(NEXT_PUBLISHED.to_owned(), &published.to_string());
        }
        if let Some(ca) = &self.previous_ca {
            put(PREVIOUS_CA.to_owned(), ca);
        }
    }

    /// The CAs that agents are to trust, in PEM, the current one first.
    pub fn bundle(&self) -> String {
        let next = self.next.as_ref().map(|next| next.certificate.ca.as_str());
        let all =
            [self.current.as_ref().map(|current| current.ca.as_str()), next, self.previous_ca.as_deref()];
        all.into_iter().flatten().map(|pem| format!("{}\n", pem.trim())).collect()
    }

    /// The step that is due at `now` if the certificate is to be valid for `names`.
    pub fn next_rotation(&self, names: &[String], now: Timestamp) -> Rotation {
        let Some(current) = &self.current else {
            return Rotation::Replace(names.to_vec(), "there is none yet".to_owned());
        };
        let info = match current.check(now) {
            Ok(info) => info,
            Err(problem) => return Rotation::Replace(names.to_vec(), format!("{problem:#}")),
        };
        if let Some(missing) = names.iter().find(|name| !info.names.contains(name)) {
            // The old names stay: during a roll-out, two replicas with different flags must not replace each other's certificate.
            return Rotation::Replace(union(names, &info), format!("it is not valid for {missing}"));
        }
        let left = duration_until(info.not_after, now);
        match &self.next {
            Some(next) if next.certificate.check(now).is_err() => Rotation::Prepare(names.to_vec()),
            Some(Next { published: Some(since), .. }) if duration_until(now, *since) >= OVERLAP => {
                Rotation::Switch
            }
            Some(_) if left < URGENT => Rotation::Switch,
            Some(_) => Rotation::Keep,
            None if left < RENEW_BEFORE => Rotation::Prepare(names.to_vec()),
            None => Rotation::Keep,
        }
    }

    /// Makes the next certificate the current one.
    #[must_use]
    pub fn switched(self) -> Stored {
        match self.next {
            Some(next) => Stored {
                previous_ca: self.current.map(|current| current.ca),
                current: Some(next.certificate),
                next: None,
            },
            None => self,
        }
    }
}

fn union(names: &[String], info: &CertificateInfo) -> Vec<String> {
    let mut all = names.to_vec();
    all.extend(info.names.iter().filter(|name| !names.contains(name)).cloned());
    // The wanted names are never cut: the certificate would be replaced each time.
    all.truncate(names.len().max(16));
    all
}

fn duration_until(later: Timestamp, earlier: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests;
