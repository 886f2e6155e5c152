//! Requests and limits of containers as people read them, and what differs between two sizes. Pure.

use std::fmt;

use plimsoll_contract::quantity::Format;
use plimsoll_contract::resize::{ContainerResources, PodResources};
use plimsoll_contract::{Bytes, Quantity, Resource};

use crate::connect::escaped;

/// What a resource of a container has: what it reserves, and what caps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Request,
    Limit,
}

impl Part {
    pub(crate) const ALL: [Part; 2] = [Part::Request, Part::Limit];

    /// The field of `resources`.
    pub(crate) fn field(self) -> &'static str {
        match self {
            Part::Request => "requests",
            Part::Limit => "limits",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Part::Request => "request",
            Part::Limit => "limit",
        })
    }
}

/// Every amount of a container that a resize may change, CPU first, requests before limits.
pub(crate) fn amounts() -> impl Iterator<Item = (Resource, Part)> {
    Resource::ALL.into_iter().flat_map(|resource| Part::ALL.map(|part| (resource, part)))
}

/// One amount, as it is written; absent where it is not set.
pub(crate) fn amount(resources: &ContainerResources, resource: Resource, part: Part) -> Option<&str> {
    let amounts = match part {
        Part::Request => &resources.requests,
        Part::Limit => &resources.limits,
    };
    amounts.get(resource.as_str()).map(String::as_str)
}

/// Sets one amount.
pub(crate) fn set(resources: &mut ContainerResources, resource: Resource, part: Part, amount: String) {
    let amounts = match part {
        Part::Request => &mut resources.requests,
        Part::Limit => &mut resources.limits,
    };
    amounts.insert(resource.as_str().to_owned(), amount);
}

/// An amount for people, exact, in the notation that is usual for its resource: `500m`, `256Mi`. What is no quantity is shown as it is.
pub(crate) fn shown(resource: Resource, amount: &str) -> String {
    let Ok(quantity) = amount.parse::<Quantity>() else { return escaped(amount) };
    match resource {
        Resource::Cpu => quantity.with_format(Format::Decimal).to_string(),
        Resource::Memory => Quantity::from_bytes(Bytes::from(quantity)).to_string(),
    }
}

/// Whether two amounts are the same. What is no quantity equals nothing but itself.
pub(crate) fn same(a: &str, b: &str) -> bool {
    match (a.parse::<Quantity>(), b.parse::<Quantity>()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

/// One amount that differs between two sizes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Change {
    pub(crate) container: String,
    #[serde(serialize_with = "word")]
    pub(crate) resource: Resource,
    #[serde(serialize_with = "word")]
    pub(crate) part: Part,
    /// Absent where it was not set or is not known.
    pub(crate) from: Option<String>,
    pub(crate) to: String,
}

pub(crate) fn word<T: fmt::Display, S: serde::Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// `app cpu limit 500m -> 890m`. Safe for a terminal.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { container, resource, part, from, to } = self;
        let from = from.as_deref().map_or_else(|| "-".to_owned(), |from| shown(*resource, from));
        write!(f, "{} {resource} {part} {from} -> {}", escaped(container), shown(*resource, to))
    }
}

/// What of `to` differs from `from`. Resources other than CPU and memory, and what `to` does not name, are no difference.
pub(crate) fn differences(from: &PodResources, to: &PodResources) -> Vec<Change> {
    let mut changes = Vec::new();
    for (container, wanted) in to {
        for (resource, part) in amounts() {
            let before = from.get(container).and_then(|before| amount(before, resource, part));
            let Some(after) = amount(wanted, resource, part) else { continue };
            if before.is_none_or(|before| !same(before, after)) {
                let (from, to) = (before.map(str::to_owned), after.to_owned());
                changes.push(Change { container: container.clone(), resource, part, from, to });
            }
        }
    }
    changes
}

/// The changes in one line.
pub(crate) fn listed(changes: &[Change]) -> String {
    changes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn sizes(value: serde_json::Value) -> PodResources {
        from_value(value).unwrap()
    }

    #[test]
    fn only_amounts_that_differ_are_changes_and_the_notation_does_not_matter() {
        let from = sizes(json!({
            "app": {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"cpu": "0.5", "memory": "268435456"}},
            "proxy": {"requests": {"cpu": "50m"}},
        }));
        let to = sizes(json!({
            "app": {"requests": {"cpu": "0.25", "nvidia.com/gpu": "2"}, "limits": {"cpu": "890m", "memory": "256Mi"}},
            "new": {"limits": {"memory": "1Gi"}},
        }));
        let changes: Vec<_> = differences(&from, &to).iter().map(ToString::to_string).collect();
        assert_eq!(changes, ["app cpu limit 500m -> 890m", "new memory limit - -> 1Gi"]);
    }

    #[test]
    fn amounts_are_exact_and_what_is_none_is_shown_safely() {
        assert_eq!(shown(Resource::Memory, "268435456"), "256Mi");
        assert_eq!(shown(Resource::Memory, "268435457"), "268435457");
        assert_eq!(shown(Resource::Cpu, "1.5"), "1500m");
        assert_eq!(shown(Resource::Cpu, "much\u{1b}"), "much\\u{1b}");
        assert!(same("1Gi", "1024Mi") && !same("1", "2") && same("x", "x") && !same("x", "1"));
    }
}
