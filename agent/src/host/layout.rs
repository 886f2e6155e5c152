//! How the kubelet and the container runtimes name pod and container cgroups.
//!
//! Pure: parses directory names into pod uids and container ids. A name must match completely, and only at the depth where the
//! kubelet or the runtime creates it, so directories that a tenant creates below its own container are never read, whatever
//! their names. Nothing is guessed. Proof: `layout/tests.rs` (a table of every format, and a property: formatting the parsed
//! value gives the same name).
//!
//! | level | cgroupfs driver | systemd driver |
//! |---|---|---|
//! | root | `kubepods` | `kubepods.slice`, under kind `kubelet.slice/kubelet-kubepods.slice` |
//! | QoS class | `burstable`, `besteffort`; Guaranteed pods have none | `<root>-burstable.slice`, `<root>-besteffort.slice` |
//! | pod | `pod<uid>` | `<root>[-<class>]-pod<uid with _>.slice` |
//! | container | `<id>`, `crio-<id>` | `cri-containerd-<id>.scope`, also `crio-`, `docker-`, `pouch-`; `<id>` by dockerd with cgroupfs |
//! | orphan | | `<pod slice>:cri-containerd:<id>`, outside kubepods: see `ORPHAN_SLICES` |
//!
//! `crio-conmon-<id>` fits none of these, as its middle is not an id; nor does `kata_<id>`, the cgroup of a whole pod: the pod's own
//! says the same.

use plimsoll_contract::{ContainerId, PodUid};

/// Where the kubepods directory may be below each hierarchy. While a node changes its driver, there are two.
pub(super) const KUBEPODS_PATHS: [&str; 4] =
    ["kubepods.slice", "kubepods", "kubelet.slice/kubelet-kubepods.slice", "kubelet/kubepods"];

/// Where a runtime with the cgroupfs driver puts the containers of a kubelet with the systemd driver: it takes
/// `<pod slice>:cri-containerd:<id>` for a path relative to its own cgroup (v1: in each hierarchy; in some, that is the root), or to the
/// cgroup that contains its own (v2), or to the root (Kata, WASM). Its own is in the system's slice, in one dedicated to runtimes, or
/// where the kubelet moves it.
pub(super) const ORPHAN_SLICES: [&str; 9] = [
    "",
    "system.slice",
    "systemd/system.slice",
    "runtime.slice",
    "podruntime.slice",
    "podruntime",
    "podruntime/runtime",
    "kube.slice",
    "kubereserved.slice",
];

/// The services of runtimes and of distributions that start one, in any of [`ORPHAN_SLICES`].
const ORPHAN_SERVICES: [&str; 15] = [
    "containerd.service",
    "crio.service",
    "docker.service",
    "cri-docker.service",
    "kubelet.service",
    "k3s.service",
    "k3s-agent.service",
    "rke2-server.service",
    "rke2-agent.service",
    "k0scontroller.service",
    "k0sworker.service",
    "snap.microk8s.daemon-containerd.service",
    "snap.microk8s.daemon-kubelite.service",
    "snap.microk8s.daemon-kubelet.service",
    "snap.k8s.containerd.service",
];

const RUNTIMES: [&str; 4] = ["cri-containerd", "crio", "docker", "pouch"];

/// The kubelet's cgroup driver, which determines the names of the pod directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Driver {
    /// `kubepods/burstable/pod<uid>`.
    Cgroupfs,
    /// `kubepods.slice/kubepods-burstable.slice/...`.
    Systemd,
}

/// A QoS class that has a directory of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum QosClass {
    /// Some request or limit is set.
    Burstable,
    /// Nothing is set.
    BestEffort,
}

/// A directory directly below the kubepods directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootChild {
    /// The directory of a QoS class.
    QosClass(QosClass),
    /// A Guaranteed pod.
    Pod(PodUid),
}

/// The naming scheme below one kubepods directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    driver: Driver,
    /// The kubepods directory's name without `.slice`: each slice's name begins with its parent's.
    stem: String,
}

impl Driver {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Driver::Cgroupfs => "cgroupfs",
            Driver::Systemd => "systemd",
        }
    }
}

impl QosClass {
    const ALL: [QosClass; 2] = [QosClass::Burstable, QosClass::BestEffort];

    fn as_str(self) -> &'static str {
        match self {
            QosClass::Burstable => "burstable",
            QosClass::BestEffort => "besteffort",
        }
    }
}

impl Layout {
    /// The scheme, derived from the kubepods directory's own name.
    pub fn of(kubepods: &str) -> Layout {
        let name = kubepods.rsplit('/').next().unwrap_or(kubepods);
        match name.strip_suffix(".slice") {
            Some(stem) => Layout { driver: Driver::Systemd, stem: stem.to_owned() },
            None => Layout { driver: Driver::Cgroupfs, stem: name.to_owned() },
        }
    }

    pub(super) fn driver(&self) -> Driver {
        self.driver
    }

    /// The meaning of a directory directly below the kubepods directory.
    pub fn root_child(&self, name: &str) -> Option<RootChild> {
        let class = QosClass::ALL.into_iter().find(|class| self.is_class(*class, name));
        class.map(RootChild::QosClass).or_else(|| self.pod(None, name).map(RootChild::Pod))
    }

    /// The pod whose directory has this name, in the directory of `class` or, for `None`, directly below kubepods.
    pub fn pod(&self, class: Option<QosClass>, name: &str) -> Option<PodUid> {
        if self.driver == Driver::Cgroupfs {
            return pod_uid(name.strip_prefix("pod")?, '-');
        }
        let mut rest = name.strip_suffix(".slice")?.strip_prefix(self.stem.as_str())?;
        if let Some(class) = class {
            rest = rest.strip_prefix('-')?.strip_prefix(class.as_str())?;
        }
        pod_uid(rest.strip_prefix("-pod")?, '_')
    }

    /// The container whose directory in a pod's directory has this name.
    pub fn container(&self, name: &str) -> Option<ContainerId> {
        match self.driver {
            Driver::Cgroupfs => ContainerId::new(name.strip_prefix("crio-").unwrap_or(name)).ok(),
            Driver::Systemd => {
                let Some(scope) = name.strip_suffix(".scope") else {
                    return ContainerId::new(name).ok();
                };
                let id = |runtime: &&str| scope.strip_prefix(*runtime)?.strip_prefix('-');
                ContainerId::new(RUNTIMES.iter().find_map(id)?).ok()
            }
        }
    }

    /// The container whose directory outside kubepods has this name, and its pod.
    pub fn orphan(&self, name: &str) -> Option<(PodUid, ContainerId)> {
        if self.driver == Driver::Cgroupfs {
            return None;
        }
        let (slice, rest) = name.split_once(':')?;
        let (runtime, id) = rest.split_once(':')?;
        if !RUNTIMES.contains(&runtime) {
            return None;
        }
        let classes = [None, Some(QosClass::Burstable), Some(QosClass::BestEffort)];
        let pod = classes.into_iter().find_map(|class| self.pod(class, slice))?;
        Some((pod, ContainerId::new(id).ok()?))
    }

    fn is_class(&self, class: QosClass, name: &str) -> bool {
        match self.driver {
            Driver::Cgroupfs => name == class.as_str(),
            Driver::Systemd => name
                .strip_suffix(".slice")
                .and_then(|name| name.strip_prefix(self.stem.as_str()))
                .and_then(|name| name.strip_prefix('-'))
                .is_some_and(|name| name == class.as_str()),
        }
    }
}

/// Whether there may be orphans in the service of this name.
pub(super) fn may_have_orphans(service: &str) -> bool {
    ORPHAN_SERVICES.contains(&service)
}

/// A uid whose parts are joined by `separator`; a static pod's has only one part.
fn pod_uid(text: &str, separator: char) -> Option<PodUid> {
    match separator {
        '-' => PodUid::new(text).ok(),
        _ if text.contains('-') => None,
        _ => PodUid::new(&text.replace(separator, "-")).ok(),
    }
}

#[cfg(test)]
mod tests;
