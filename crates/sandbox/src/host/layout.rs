//! How a kubelet names the cgroups of pods and containers: the one place that knows.
//!
//! Pure: paths below a hierarchy, without touching it.

use std::path::{Path, PathBuf};

use plimsoll_contract::{ContainerId, PodUid};

use super::{PodSlot, Qos};

/// Version of the cgroup hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hierarchy {
    /// One tree with all controllers.
    #[default]
    V2,
    /// A tree for `cpu,cpuacct` and one for `memory`.
    V1,
}

/// Who names the cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Driver {
    /// The kubelet, by plain directories.
    #[default]
    Cgroupfs,
    /// systemd, by slices and scopes.
    Systemd,
}

/// The shape of a host's tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Layout {
    /// Version of the hierarchy.
    pub hierarchy: Hierarchy,
    /// Who names the cgroups.
    pub driver: Driver,
}

impl Driver {
    /// The directory of all pods.
    pub fn kubepods(self) -> &'static str {
        match self {
            Driver::Cgroupfs => "kubepods",
            Driver::Systemd => "kubepods.slice",
        }
    }

    /// The directory of the pods of a class, below the hierarchy.
    pub fn class(self, qos: Qos) -> PathBuf {
        let root = Path::new(self.kubepods());
        match (self, qos) {
            (_, Qos::Guaranteed) => root.into(),
            (Driver::Cgroupfs, Qos::Burstable) => root.join("burstable"),
            (Driver::Cgroupfs, Qos::BestEffort) => root.join("besteffort"),
            (Driver::Systemd, Qos::Burstable) => root.join("kubepods-burstable.slice"),
            (Driver::Systemd, Qos::BestEffort) => root.join("kubepods-besteffort.slice"),
        }
    }

    /// The directory of a pod, below the hierarchy.
    pub fn pod(self, pod: &PodSlot) -> PathBuf {
        self.class(pod.qos).join(match self {
            Driver::Cgroupfs => format!("pod{}", pod.uid),
            Driver::Systemd => systemd_pod(pod.qos, &pod.uid),
        })
    }

    /// The directory of a container within its pod's.
    pub fn container(self, id: &ContainerId) -> String {
        match self {
            Driver::Cgroupfs => id.to_string(),
            Driver::Systemd => format!("cri-containerd-{id}.scope"),
        }
    }
}

fn systemd_pod(qos: Qos, uid: &PodUid) -> String {
    let class = match qos {
        Qos::Guaranteed => "",
        Qos::Burstable => "-burstable",
        Qos::BestEffort => "-besteffort",
    };
    format!("kubepods{class}-pod{}.slice", uid.as_str().replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use plimsoll_contract::PodName;

    use super::*;

    #[test]
    fn both_drivers_name_pods_as_a_kubelet_does() {
        let uid = PodUid::new("0b8c3d1e-5f2a-4c3b-9d8e-7f6a5b4c3d2e").unwrap();
        let slot = |qos| PodSlot { uid: uid.clone(), name: PodName::new("a", "b"), qos };
        let path = |driver: Driver, qos| driver.pod(&slot(qos)).display().to_string();
        assert_eq!(
            path(Driver::Cgroupfs, Qos::Guaranteed),
            "kubepods/pod0b8c3d1e-5f2a-4c3b-9d8e-7f6a5b4c3d2e"
        );
        assert_eq!(
            path(Driver::Cgroupfs, Qos::BestEffort),
            "kubepods/besteffort/pod0b8c3d1e-5f2a-4c3b-9d8e-7f6a5b4c3d2e"
        );
        assert_eq!(
            path(Driver::Systemd, Qos::Burstable),
            "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0b8c3d1e_5f2a_4c3b_9d8e_7f6a5b4c3d2e.slice"
        );
    }
}
