//! The QoS class of a pod, which a resize must not change.

use super::{Size, Sizes};

#[cfg(test)]
mod tests;

/// As Kubernetes derives it from the CPU and memory of all containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QosClass {
    /// Every container has limits of both, and its requests are the limits.
    Guaranteed,
    /// Something is set.
    Burstable,
    /// Nothing is.
    BestEffort,
}

/// The QoS class of a pod with these containers, init containers included.
pub fn qos(containers: &[Sizes]) -> QosClass {
    let values = || containers.iter().flat_map(|sizes| [sizes.cpu, sizes.memory]);
    // zero counts as not set
    let set = |value: Option<u64>| value.filter(|value| *value > 0);
    if values().all(|size| set(size.request).is_none() && set(size.limit).is_none()) {
        return QosClass::BestEffort;
    }
    let is_fixed = |size: Size| set(size.limit).is_some_and(|limit| size.request.unwrap_or(limit) == limit);
    if values().all(is_fixed) { QosClass::Guaranteed } else { QosClass::Burstable }
}

/// Whether these new sizes, in the order of the old ones, would change the QoS class: the API server refuses that.
pub fn qos_changes(old: &[Sizes], new: &[Sizes]) -> bool {
    qos(old) != qos(new)
}
