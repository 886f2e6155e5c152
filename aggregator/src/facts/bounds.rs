//! The annotation `plimsoll.dev/bounds`: what the owner of a pod allows, within what its class allows.
//!
//! ```json
//! {"app": {"cpu": {"min": "100m", "max": "2"}, "memory": {"max": "1Gi"}}}
//! ```
//!
//! A bound that cannot be read is not a bound that is not there: that resource of that container is not resized, and the reason is said.
//! Everything else that the annotation says holds.

use std::collections::BTreeMap;

use plimsoll_contract::{Quantity, Resource};
use plimsoll_objects::field::shortened;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Containers that are read; a pod with more has its bounds elsewhere.
const MAX_CONTAINERS: usize = 64;
/// Bytes that are shown of a text that the owner chose.
const MAX_SHOWN: usize = 63;

/// The bounds of a pod's containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PodBounds {
    /// By container.
    Of(BTreeMap<String, ContainerBounds>),
    /// The annotation cannot be read, for this reason.
    Invalid(String),
}

/// The bounds of one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContainerBounds {
    cpu: Result<UserBounds, String>,
    memory: Result<UserBounds, String>,
}

/// The bounds of one resource, of its request as of its limit, in millicores or bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct UserBounds {
    pub(crate) min: Option<u64>,
    pub(crate) max: Option<u64>,
}

impl PodBounds {
    /// From the value of the annotation.
    pub(crate) fn parse(text: &str) -> PodBounds {
        match serde_json::from_str(text) {
            Ok(Value::Object(containers)) if containers.len() > MAX_CONTAINERS => {
                PodBounds::Invalid(format!("more than {MAX_CONTAINERS} containers"))
            }
            Ok(Value::Object(containers)) => {
                let bounds =
                    containers.iter().map(|(name, said)| (shown(name), ContainerBounds::parse(name, said)));
                PodBounds::Of(bounds.collect())
            }
            Ok(_) | Err(_) => PodBounds::Invalid(
                "not a JSON object such as {\"app\": {\"cpu\": {\"min\": \"100m\", \"max\": \"2\"}}}"
                    .to_owned(),
            ),
        }
    }

    /// The bounds of one resource of a container; none where the annotation does not name it.
    ///
    /// # Errors
    /// What of it cannot be read: the resource is not to be resized.
    pub(crate) fn of(&self, container: &str, resource: Resource) -> Result<UserBounds, &str> {
        match self {
            PodBounds::Invalid(problem) => Err(problem),
            PodBounds::Of(all) => match all.get(container) {
                None => Ok(UserBounds::default()),
                Some(bounds) => bounds.of(resource).as_ref().copied().map_err(String::as_str),
            },
        }
    }
}

impl ContainerBounds {
    fn parse(name: &str, said: &Value) -> ContainerBounds {
        let both = |problem: String| ContainerBounds { cpu: Err(problem.clone()), memory: Err(problem) };
        let Some(said) = said.as_object() else {
            return both(format!("{}: not an object with cpu and memory", shown(name)));
        };
        // A resource that was mistyped may have been meant for either.
        if let Some(other) = said.keys().find(|key| !["cpu", "memory"].contains(&key.as_str())) {
            return both(format!("{}.{}: neither cpu nor memory", shown(name), shown(other)));
        }
        let of = |resource: Resource| {
            let path = format!("{}.{}", shown(name), resource.as_str());
            said.get(resource.as_str())
                .map_or(Ok(UserBounds::default()), |said| UserBounds::parse(&path, resource, said))
        };
        ContainerBounds { cpu: of(Resource::Cpu), memory: of(Resource::Memory) }
    }

    fn of(&self, resource: Resource) -> &Result<UserBounds, String> {
        match resource {
            Resource::Cpu => &self.cpu,
            Resource::Memory => &self.memory,
        }
    }
}

impl UserBounds {
    fn parse(path: &str, resource: Resource, said: &Value) -> Result<UserBounds, String> {
        let said = said.as_object().ok_or_else(|| format!("{path}: not an object with min and max"))?;
        if let Some(other) = said.keys().find(|key| !["min", "max"].contains(&key.as_str())) {
            return Err(format!("{path}.{}: neither min nor max", shown(other)));
        }
        let (min, max) = (amount(path, "min", resource, said)?, amount(path, "max", resource, said)?);
        match (min, max) {
            (Some(min), Some(max)) if min > max => Err(format!("{path}: min is above max")),
            _ => Ok(UserBounds { min, max }),
        }
    }
}

/// An amount above zero; absent where there is none.
fn amount(
    path: &str,
    key: &str,
    resource: Resource,
    said: &Map<String, Value>,
) -> Result<Option<u64>, String> {
    let Some(value) = said.get(key) else { return Ok(None) };
    let quantity: Option<Quantity> = match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    };
    let units = quantity.map(|quantity| match resource {
        Resource::Cpu => quantity.milli_value(),
        Resource::Memory => quantity.value(),
    });
    let units = units.filter(|units| *units > 0).and_then(|units| u64::try_from(units).ok());
    let example = match resource {
        Resource::Cpu => "100m or 2",
        Resource::Memory => "64Mi or 1Gi",
    };
    units.map(Some).ok_or_else(|| format!("{path}.{key}: not an amount above zero, such as {example}"))
}

fn shown(text: &str) -> String {
    shortened(text.to_owned(), MAX_SHOWN)
}

#[cfg(test)]
mod tests {
    use Resource::{Cpu, Memory};

    use super::*;

    fn bounds(min: Option<u64>, max: Option<u64>) -> UserBounds {
        UserBounds { min, max }
    }

    #[test]
    fn bounds_are_read_for_each_container_and_resource_and_what_is_not_named_is_unbounded() {
        let said = PodBounds::parse(
            r#"{"app": {"cpu": {"min": "100m", "max": 2}, "memory": {"max": "1.5Gi"}}, "proxy": {}}"#,
        );
        assert_eq!(said.of("app", Cpu), Ok(bounds(Some(100), Some(2000))));
        assert_eq!(said.of("app", Memory), Ok(bounds(None, Some(3 << 29))));
        for (container, resource) in [("proxy", Cpu), ("proxy", Memory), ("other", Cpu)] {
            assert_eq!(said.of(container, resource), Ok(UserBounds::default()));
        }
    }

    #[test]
    fn a_bad_bound_is_named_and_everything_else_holds() {
        let table = [
            (r#"{"min": "a lot"}"#, "app.cpu.min: not an amount above zero, such as 100m or 2"),
            (r#"{"max": "-1"}"#, "app.cpu.max: not an amount above zero, such as 100m or 2"),
            (r#"{"max": 0}"#, "app.cpu.max: not an amount above zero, such as 100m or 2"),
            (r#"{"max": 1e300}"#, "app.cpu.max: not an amount above zero, such as 100m or 2"),
            (r#"{"max": null}"#, "app.cpu.max: not an amount above zero, such as 100m or 2"),
            (r#"{"min": "2", "max": "100m"}"#, "app.cpu: min is above max"),
            (r#"{"maximum": "2"}"#, "app.cpu.maximum: neither min nor max"),
            (r#""2""#, "app.cpu: not an object with min and max"),
        ];
        for (cpu, problem) in table {
            let text = format!(
                r#"{{"app": {{"cpu": {cpu}, "memory": {{"min": "64Mi"}}}}, "proxy": {{"cpu": {{"max": "1"}}}}}}"#
            );
            let said = PodBounds::parse(&text);
            assert_eq!(said.of("app", Cpu), Err(problem), "{cpu}");
            assert_eq!(said.of("app", Memory), Ok(bounds(Some(64 << 20), None)), "{cpu}");
            assert_eq!(said.of("proxy", Cpu), Ok(bounds(None, Some(1000))), "{cpu}");
        }
    }

    #[test]
    fn a_mistyped_resource_may_have_been_meant_for_either_and_a_mistyped_annotation_for_any_container() {
        let said = PodBounds::parse(r#"{"app": {"cpus": {"max": "1"}}, "proxy": {"cpu": {"max": "1"}}}"#);
        for resource in Resource::ALL {
            assert_eq!(said.of("app", resource), Err("app.cpus: neither cpu nor memory"));
            assert!(said.of("proxy", resource).is_ok());
        }
        for text in ["", "app", "[]", "5", "{\"app\": ", &"[".repeat(4000)] {
            let said = PodBounds::parse(text);
            let problem = said.of("any", Cpu).unwrap_err();
            assert!(problem.starts_with("not a JSON object such as"), "{problem}");
        }
        let many: BTreeMap<String, BTreeMap<(), ()>> =
            (0..65).map(|n| (format!("c{n}"), BTreeMap::new())).collect();
        let many = PodBounds::parse(&serde_json::to_string(&many).unwrap());
        assert_eq!(many.of("c1", Cpu), Err("more than 64 containers"));
    }
}
