//! The hottest candidate of a resource: the one that a pod's evidence names.

use plimsoll_contract::{Basis, ContainerId};

/// A pod's own cgroup holds its sandbox (pause) container too: with a limit that is the sum of its containers' it is a hair
/// hotter than its only container. It is named the hottest only where it says something that no container says.
const OWN_HANDICAP: f64 = 0.02;

/// What a candidate at this utilization counts for among the others; `container` is absent for the pod's own cgroup.
pub(super) fn heat(container: Option<&ContainerId>, utilization: f64) -> f64 {
    utilization - if container.is_some() { 0.0 } else { OWN_HANDICAP }
}

/// The hottest candidate of a resource, at the last sweep.
#[derive(Debug, Clone)]
pub(crate) struct Hottest {
    /// Absent for the pod's own cgroup.
    pub(crate) container: Option<ContainerId>,
    pub(crate) basis: Basis,
    pub(crate) amount: f64,
    pub(crate) usage: f64,
}

impl Hottest {
    /// Smoothed usage over basis.
    pub(crate) fn utilization(&self) -> f64 {
        self.usage / self.amount
    }

    pub(super) fn heat(&self) -> f64 {
        heat(self.container.as_ref(), self.utilization())
    }
}
