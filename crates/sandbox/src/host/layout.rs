//! Where the cgroups of pods and containers are below a hierarchy, as a kubelet with the cgroupfs driver names them.
//!
//! Plimsoll's readers of other layouts (cgroup v1, systemd) are tested with captured trees: `tests/fixtures`.

use std::path::PathBuf;

use super::{PodCgroup, Qos};

/// The directory of all pods.
pub(super) const KUBEPODS: &str = "kubepods";

/// The directory of the pods of a class.
pub(super) fn class_directory(qos: Qos) -> PathBuf {
    match qos {
        Qos::Guaranteed => KUBEPODS.into(),
        Qos::Burstable => [KUBEPODS, "burstable"].iter().collect(),
        Qos::BestEffort => [KUBEPODS, "besteffort"].iter().collect(),
    }
}

/// The directory of a pod; those of its containers are in it, named by the id.
pub(super) fn pod_directory(pod: &PodCgroup) -> PathBuf {
    class_directory(pod.qos).join(format!("pod{}", pod.uid))
}
