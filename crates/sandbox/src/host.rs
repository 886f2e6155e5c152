//! Hosts: where the containers of the sandbox live, and what makes their counters move.
//!
//! | host | what it is |
//! |---|---|
//! | [`real::RealHost`] | processes of our own in real cgroups |
//! | [`simulated::SimulatedHost`] | a directory tree whose counters advance by the load scripts |
//!
//! Both lay out pods as a kubelet does ([`layout`]) and tell on a channel when a workload changes what it does: the ground
//! truth that measurements are held against. The kubelet of the sandbox drives either through [`Host`].
//!
//! Proof: `simulated/tests.rs`, `real/tests.rs`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plimsoll_contract::{Bytes, ContainerId, Cores, Limit, PodName, PodUid, Resource};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::load::Load;

pub mod layout;
pub mod real;
pub mod simulated;

/// Length of a quota period: the kernel's default, which the kubelet keeps.
pub const PERIOD: Duration = Duration::from_millis(100);

/// Something with CPUs, memory and cgroups that containers can be put on.
pub trait Host: Send + Sync {
    /// What it has, and where a reader finds it.
    fn facts(&self) -> HostFacts;

    /// Creates a pod's cgroup with its limits, and the cgroup of its sandbox (pause) container.
    ///
    /// # Errors
    /// When it exists already or cannot be created.
    fn create_pod(&self, pod: &PodSlot, limits: &Limits) -> Result<(), HostError>;

    /// Ends all containers of a pod and removes its cgroups. A pod that is not there is no error.
    ///
    /// # Errors
    /// When a cgroup cannot be removed.
    fn remove_pod(&self, pod: &PodUid) -> Result<(), HostError>;

    /// Creates a container's cgroup, limits it, and starts its load.
    ///
    /// # Errors
    /// When the pod is unknown, the id is taken, or something cannot be created.
    fn start_container(&self, pod: &PodUid, container: &ContainerStart) -> Result<(), HostError>;

    /// Ends a container and removes its cgroup. One that is not there is no error.
    ///
    /// # Errors
    /// When the cgroup cannot be removed.
    fn stop_container(&self, pod: &PodUid, id: &ContainerId) -> Result<(), HostError>;

    /// Ends `old` and starts `new` in its place, with a cgroup of its own whose counters start at zero.
    ///
    /// # Errors
    /// As [`Host::stop_container`] and [`Host::start_container`].
    fn restart_container(
        &self,
        pod: &PodUid,
        old: &ContainerId,
        new: &ContainerStart,
    ) -> Result<(), HostError> {
        self.stop_container(pod, old)?;
        self.start_container(pod, new)
    }

    /// Changes what is enforced.
    ///
    /// # Errors
    /// When there is no such cgroup, or the kernel refuses.
    fn set_limits(&self, place: &Place, limits: &Limits) -> Result<(), HostError>;

    /// Reads back what is enforced.
    ///
    /// # Errors
    /// When there is no such cgroup, or it cannot be read.
    fn limits(&self, place: &Place) -> Result<Limits, HostError>;

    /// Containers that ended by themselves (killed by the kernel, say) since the last call.
    fn ended(&self) -> Vec<(PodUid, ContainerId)>;

    /// Changes of load from now on.
    fn changes(&self) -> broadcast::Receiver<LoadChange>;

    /// Time since the host started: the clock of [`LoadChange::at`].
    fn elapsed(&self) -> Duration;

    /// Ends everything and removes every trace. Called again, it does nothing.
    fn stop(&self);
}

/// What a host has, and where a reader finds it.
#[derive(Debug, Clone, PartialEq)]
pub struct HostFacts {
    /// CPUs and memory.
    pub size: NodeSize,
    /// Its boot id.
    pub boot: String,
    /// What to give the agent as `--host-root`.
    pub root: PathBuf,
    /// What to give the agent as `--kubepods`, where probing does not find it.
    pub kubepods: Option<String>,
    /// Whether the cgroups are real.
    pub real: bool,
}

/// CPUs and memory of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeSize {
    /// Number of CPUs.
    pub cpus: u32,
    /// Memory.
    pub memory: Bytes,
}

/// A pod as its cgroup needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodSlot {
    /// The uid that the cgroup carries.
    pub uid: PodUid,
    /// For the ground truth.
    pub name: PodName,
    /// Decides under which directory it lives.
    pub qos: Qos,
}

/// A container to start.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerStart {
    /// Its id; a restart has a new one.
    pub id: ContainerId,
    /// Its name in the pod.
    pub name: String,
    /// What is enforced.
    pub limits: Limits,
    /// What it wants.
    pub load: Load,
}

/// A cgroup with limits: a pod's, or a container's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The pod.
    pub pod: PodUid,
    /// The container; the pod itself, if absent.
    pub container: Option<ContainerId>,
}

/// Kubernetes' quality-of-service classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Qos {
    /// Every limit set and equal to its request.
    Guaranteed,
    /// Something set.
    Burstable,
    /// Nothing set.
    BestEffort,
}

/// What is enforced on a cgroup.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// CPU time per time.
    pub cpu: Limit<Cores>,
    /// Memory.
    pub memory: Limit<Bytes>,
    /// What the weight is made of; the least weight, if absent.
    pub cpu_request: Option<Cores>,
}

/// A workload changed what it does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadChange {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Name of the container.
    pub container: String,
    /// Which resource.
    pub resource: Resource,
    /// What it wants from now on: cores or bytes. What it gets is less where a limit holds it back.
    pub value: f64,
    /// When, since the start of the host.
    pub at: Duration,
}

/// What a host could not do.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Nothing of that name.
    #[error("there is no {what} {id} on this host")]
    Absent {
        /// `pod` or `container`.
        what: &'static str,
        /// Uid or id.
        id: String,
    },
    /// It is there already.
    #[error("the {what} {id} exists already on this host")]
    Taken {
        /// `pod` or `container`.
        what: &'static str,
        /// Uid or id.
        id: String,
    },
    /// A file or directory.
    #[error("cannot {attempt} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A cgroup.
    #[error("cannot {attempt} cgroup {path}: {source}")]
    Cgroup {
        /// What was attempted.
        attempt: &'static str,
        /// Path below the hierarchy.
        path: String,
        /// Why not.
        source: cgroups_rs::fs::error::Error,
    },
    /// A hierarchy without the controllers for CPU and memory.
    #[error("cgroup {path} has no controllers for cpu and memory: enable them in the hierarchy")]
    NoController {
        /// Path below the hierarchy.
        path: String,
    },
    /// A process.
    #[error("cannot start the workload of container {container}: {source}")]
    Workload {
        /// Its name.
        container: String,
        /// Why not.
        source: io::Error,
    },
    /// The host has been stopped.
    #[error("the host has been stopped: it takes no more pods")]
    Stopped,
}

impl HostError {
    fn io(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> HostError {
        let path = path.to_owned();
        move |source| HostError::Io { attempt, path, source }
    }

    fn no_pod(pod: &PodUid) -> HostError {
        HostError::Absent { what: "pod", id: pod.to_string() }
    }

    fn no_container(id: &ContainerId) -> HostError {
        HostError::Absent { what: "container", id: id.to_string() }
    }
}

impl Place {
    /// The pod's own cgroup.
    pub fn pod(pod: &PodUid) -> Place {
        Place { pod: pod.clone(), container: None }
    }

    /// A container's cgroup.
    pub fn container(pod: &PodUid, id: &ContainerId) -> Place {
        Place { pod: pod.clone(), container: Some(id.clone()) }
    }
}

impl Limits {
    /// Nothing enforced, the least weight.
    pub const NONE: Limits = Limits { cpu: Limit::Unlimited, memory: Limit::Unlimited, cpu_request: None };
    /// The kubelet's smallest quota in a period of 100 ms, in microseconds.
    pub const LEAST_QUOTA: u64 = 1000;

    /// The quota for one [`PERIOD`] in microseconds, as the kubelet rounds it.
    pub fn quota(&self) -> Limit<u64> {
        match self.cpu {
            Limit::Unlimited => Limit::Unlimited,
            Limit::Of(cores) => {
                let micros = (cores.0 * 1000.0).round() * PERIOD.as_micros() as f64 / 1000.0;
                Limit::Of((micros as u64).max(Self::LEAST_QUOTA))
            }
        }
    }

    /// `cpu.shares` of cgroup v1, as the kubelet computes it.
    pub fn shares(&self) -> u64 {
        let milli = self.cpu_request.map_or(0.0, |cores| (cores.0 * 1000.0).round());
        ((milli * 1024.0 / 1000.0) as u64).clamp(2, 262_144)
    }

    /// `cpu.weight` of cgroup v2, as runtimes of 2025 and before convert it from the shares.
    pub fn weight(&self) -> u64 {
        1 + (self.shares() - 2) * 9999 / 262_142
    }
}

impl fmt::Display for Qos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Qos::Guaranteed => "Guaranteed",
            Qos::Burstable => "Burstable",
            Qos::BestEffort => "BestEffort",
        })
    }
}

/// A new container id, as a runtime draws it.
pub fn new_container_id() -> ContainerId {
    let hex = format!("{:032x}{:032x}", fastrand::u128(..), fastrand::u128(..));
    ContainerId::new(&hex).expect("twice thirty-two hex digits are sixty-four")
}
