//! The labels and annotations on pods. One prefix, one list: nothing else is ever written.

use crate::Resource;

/// Prefix of every key of ours.
pub const PREFIX: &str = "plimsoll.dev/";
/// The field manager of our server-side applies.
pub const FIELD_MANAGER: &str = "plimsoll";

/// Label, set by the user on a namespace, pod or pod template: the SLA class, the opt-in to resizing.
pub const SLA: &str = "plimsoll.dev/sla";
/// Label, set by the user on a pod or namespace to `true`: no labels, no resizing.
pub const IGNORE: &str = "plimsoll.dev/ignore";
/// Annotation, set by the user: bounds for resizing, per container.
pub const BOUNDS: &str = "plimsoll.dev/bounds";

/// Label: the CPU band.
pub const CPU_BAND: &str = "plimsoll.dev/cpu-band";
/// Label: the memory band.
pub const MEMORY_BAND: &str = "plimsoll.dev/memory-band";
/// Label: what the CPU band is relative to.
pub const CPU_BASIS: &str = "plimsoll.dev/cpu-basis";
/// Label: what the memory band is relative to.
pub const MEMORY_BASIS: &str = "plimsoll.dev/memory-basis";
/// Annotation: the numbers behind the bands, for a person.
pub const EVIDENCE: &str = "plimsoll.dev/evidence";
/// Annotation: the writer's epoch; writes of a former leader carry a lower one.
pub const EPOCH: &str = "plimsoll.dev/epoch";
/// Annotation: the resources before our first resize.
pub const ORIGINAL_RESOURCES: &str = "plimsoll.dev/original-resources";
/// Annotation: the last resize and why.
pub const DECISION: &str = "plimsoll.dev/decision";

/// The labels that the aggregator writes.
pub const WRITTEN_LABELS: [&str; 4] = [CPU_BAND, CPU_BASIS, MEMORY_BAND, MEMORY_BASIS];
/// The annotations that the aggregator writes.
pub const WRITTEN_ANNOTATIONS: [&str; 4] = [EVIDENCE, EPOCH, ORIGINAL_RESOURCES, DECISION];

/// The keys that users set.
pub const USER_KEYS: [&str; 3] = [SLA, IGNORE, BOUNDS];

/// Whether a key is one that users set or the aggregator writes.
pub fn is_ours(key: &str) -> bool {
    let mut all = USER_KEYS.iter().chain(&WRITTEN_LABELS).chain(&WRITTEN_ANNOTATIONS);
    all.any(|ours| *ours == key)
}

/// Name of the agents' DaemonSet.
pub const AGENT_DAEMON_SET: &str = "plimsoll-agent";
/// Namespace of the agents.
pub const AGENT_NAMESPACE: &str = "plimsoll-agents";
/// Service account of the agents.
pub const AGENT_ACCOUNT: &str = "plimsoll-agent";
/// Namespace of the aggregator.
pub const SYSTEM_NAMESPACE: &str = "plimsoll-system";
/// Name of the aggregator: its account, Service, Lease and Secret.
pub const AGGREGATOR: &str = "plimsoll-aggregator";
/// Service of the aggregator's plain port 9619, in the aggregator's namespace.
pub const AGGREGATOR_HTTP: &str = "plimsoll-aggregator-http";
/// ConfigMap in which the aggregator publishes its CA, in the agents' namespace (the agents mount it).
pub const CA_CONFIG_MAP: &str = "plimsoll-ca";
/// ConfigMap that pauses all writes, in the aggregator's namespace: key `paused`, value `true`.
pub const CONTROL_CONFIG_MAP: &str = "plimsoll-control";
/// The key in [`CONTROL_CONFIG_MAP`] that pauses.
pub const CONTROL_PAUSED: &str = "paused";
/// Audience of the agents' tokens.
pub const TOKEN_AUDIENCE: &str = "plimsoll-aggregator";
/// Annotation of the kubelet on a static pod's mirror: the uid its cgroup carries.
pub const CONFIG_HASH: &str = "kubernetes.io/config.hash";

/// The band label of a resource.
pub fn band_label(resource: Resource) -> &'static str {
    match resource {
        Resource::Cpu => CPU_BAND,
        Resource::Memory => MEMORY_BAND,
    }
}

/// The basis label of a resource.
pub fn basis_label(resource: Resource) -> &'static str {
    match resource {
        Resource::Cpu => CPU_BASIS,
        Resource::Memory => MEMORY_BASIS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_ours_has_the_prefix_and_the_users_keys_are_not_written() {
        for key in WRITTEN_LABELS.iter().chain(&WRITTEN_ANNOTATIONS) {
            assert!(key.starts_with(PREFIX), "{key}");
            assert!(!USER_KEYS.contains(key), "{key}");
            assert!(is_ours(key), "{key}");
        }
        assert!(USER_KEYS.iter().all(|key| is_ours(key)));
        assert!(!is_ours("plimsoll.dev/of-a-later-version") && !is_ours("app"));
    }

    #[test]
    fn every_key_is_one_that_kubernetes_takes_and_there_is_no_second_of_it() {
        let all = [WRITTEN_LABELS.as_slice(), &WRITTEN_ANNOTATIONS, &USER_KEYS].concat();
        for key in &all {
            let name = key.strip_prefix(PREFIX).unwrap_or_default();
            let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
            assert!((1..=63).contains(&name.len()) && plain, "{key}");
            assert_eq!(all.iter().filter(|other| *other == key).count(), 1, "{key}");
        }
    }
}
