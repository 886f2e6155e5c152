//! Names and identifiers, one type each, so that they cannot be confused with one another.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a text cannot be an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {what}: {rule}")]
pub struct InvalidName {
    text: String,
    what: &'static str,
    rule: &'static str,
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text, checked.
            ///
            /// # Errors
            /// When the text cannot be one; the error says the rule.
            pub fn new(text: &str) -> Result<Self, InvalidName> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidName { text: text.chars().take(80).collect(), what: $what, rule: $rule })
                }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().into()
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name_type!(
    /// A pod's uid as its cgroup carries it: the API's uid, or for a static pod the kubelet's config hash.
    PodUid, "pod uid", "a uuid (8-4-4-4-12 hex digits) or, for a static pod, 32 hex digits", is_pod_uid
);
name_type!(
    /// A container's id without its runtime prefix: exactly 64 lower-case hex digits.
    ContainerId, "container id", "exactly 64 lower-case hex digits", |t| t.len() == 64 && is_hex(t)
);
name_type!(
    /// A node's name.
    NodeName, "node name", "1 to 253 of a-z, 0-9, '-' and '.'", is_dns_subdomain
);

name_type!(
    /// A namespace, or another name without dots.
    Namespace, "namespace", "1 to 63 of a-z, 0-9 and '-', such as plimsoll-system", is_dns_label
);
name_type!(
    /// A DNS name, or the name of an object.
    DnsName, "DNS name", "1 to 253 of a-z, 0-9, '-' and '.', such as plimsoll-aggregator.plimsoll-system.svc",
    is_dns_subdomain
);

/// A pod's namespace and name; `shop/web-7d9c`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PodName {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name within the namespace.
    pub name: Arc<str>,
}

impl PodName {
    /// From its two parts.
    pub fn new(namespace: &str, name: &str) -> Self {
        PodName { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.namespace, self.name))
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_pod_uid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    match parts.as_slice() {
        [hash] => hash.len() == 32 && is_hex(hash),
        [_, _, _, _, _] => {
            parts.iter().zip([8, 4, 4, 4, 12]).all(|(part, len)| part.len() == len && is_hex(part))
        }
        _ => false,
    }
}

fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && is_dns_part(text)
}

fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_part)
}

/// a-z, 0-9 and '-', with a letter or digit at both ends.
fn is_dns_part(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.bytes().all(allowed) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pod_uids_are_uuids_or_config_hashes() {
        assert!(PodUid::new("0b8c3d1e-5f2a-4c3b-9d8e-7f6a5b4c3d2e").is_ok());
        assert!(PodUid::new("0b8c3d1e5f2a4c3b9d8e7f6a5b4c3d2e").is_ok());
        for bad in [
            "",
            "0b8c3d1e",
            "0B8C3D1E-5F2A-4C3B-9D8E-7F6A5B4C3D2E",
            "0b8c3d1e-5f2a-4c3b-9d8e-7f6a5b4c3d2e/..",
        ] {
            assert!(PodUid::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_container_id_is_exactly_64_hex_digits() {
        assert!(ContainerId::new(&"a1".repeat(32)).is_ok());
        for bad in ["a1".repeat(31), "a1".repeat(33), "g0".repeat(32), "A1".repeat(32)] {
            assert!(ContainerId::new(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn json_refuses_what_the_constructor_refuses() {
        assert!(serde_json::from_str::<NodeName>("\"n1.example\"").is_ok());
        let refusal = serde_json::from_str::<NodeName>("\"../etc\"").unwrap_err().to_string();
        assert!(refusal.contains("node name"), "{refusal}");
    }
}
