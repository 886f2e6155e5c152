//! The target of a request: verb, resource, namespace, name, subresource, query; parsed from method, path and headers. Pure.

use std::collections::BTreeMap;

use super::kinds::Resource;

/// The verb of a request, as in the audit log of an API server; here an apply is a verb of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// One object, or a path that is not a resource.
    Get,
    /// A collection.
    List,
    /// A stream of changes.
    Watch,
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH: merge, strategic merge, JSON patch.
    Patch,
    /// PATCH: server-side apply.
    Apply,
    /// DELETE of one object.
    Delete,
    /// DELETE of a collection.
    DeleteCollection,
}

impl Verb {
    /// Whether it changes anything.
    pub fn writes(self) -> bool {
        !matches!(self, Self::Get | Self::List | Self::Watch)
    }
}

/// The resource in a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// The resource type, which may be unknown to the server.
    pub(super) resource: Resource,
    /// Absent for cluster-scoped objects and for lists of all namespaces.
    pub(super) namespace: Option<String>,
    /// Absent for collections.
    pub(super) name: Option<String>,
    /// `status`, `resize`, `token`.
    pub(super) subresource: Option<String>,
}

impl Target {
    /// Parses `/api/v1/...` and `/apis/GROUP/VERSION/...`; every other path is not a resource.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            ["api", version, rest @ ..] => Self::below("", version, rest),
            ["apis", group, version, rest @ ..] => Self::below(group, version, rest),
            _ => None,
        }
    }

    fn below(group: &str, version: &str, rest: &[&str]) -> Option<Self> {
        let is_subresource_of_namespace = |part: &str| matches!(part, "status" | "finalize");
        let (namespace, rest) = match rest {
            ["namespaces", _, sub] if is_subresource_of_namespace(sub) => (None, rest),
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(*namespace), rest),
            _ => (None, rest),
        };
        let (plural, name, subresource) = match rest {
            [plural] => (*plural, None, None),
            [plural, name] => (*plural, Some(*name), None),
            [plural, name, sub] => (*plural, Some(*name), Some(*sub)),
            _ => return None,
        };
        Some(Self {
            resource: Resource::new(group, version, plural),
            namespace: namespace.map(str::to_owned),
            name: name.map(str::to_owned),
            subresource: subresource.map(str::to_owned),
        })
    }
}

/// The verb of a method on a path, or `None` for a method that no resource supports.
pub(super) fn verb(method: &str, named: bool, query: &Query, content_type: &str) -> Option<Verb> {
    Some(match method {
        "GET" | "HEAD" if named => Verb::Get,
        "GET" | "HEAD" if query.flag("watch") => Verb::Watch,
        "GET" | "HEAD" => Verb::List,
        "POST" => Verb::Create,
        "PUT" => Verb::Update,
        "PATCH" if content_type.starts_with("application/apply-patch") => Verb::Apply,
        "PATCH" => Verb::Patch,
        "DELETE" if named => Verb::Delete,
        "DELETE" => Verb::DeleteCollection,
        _ => return None,
    })
}

/// The decoded query of a request; of equal keys the last one counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let split = |pair: &str| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(&key.replace('+', " ")), decode(&value.replace('+', " ")))
        };
        Self(pairs.map(split).collect())
    }

    /// The value, if it is not empty.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|value| !matches!(value.as_str(), "false" | "0"))
    }
}

/// Percent-decoding; invalid sequences remain unchanged.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match hex {
            Some(byte) if bytes[at] == b'%' => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
