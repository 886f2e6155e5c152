//! Hosts: where the containers of the sandbox run, and what advances their counters.
//!
//! | host | what it is |
//! |---|---|
//! | [`real::RealHost`] | child processes in real cgroups |
//! | [`simulated::SimulatedHost`] | a directory tree whose counters follow the load scripts |
//!
//! Both lay out pods as a kubelet with the cgroupfs driver does (`layout`) and publish every change of a workload's demand:
//! the ground truth of measurements. The sandbox's kubelet uses either through [`Host`].
//!
//! Tests: `simulated/tests.rs`, `real/tests.rs`.

use std::path::PathBuf;
use std::time::Duration;

use plimsoll_contract::{Bytes, ContainerId, Cores, Limit, PodName, PodUid, Resource};
use serde::Serialize;
use tokio::sync::broadcast;

use crate::load::Load;

mod layout;
pub mod real;
pub mod simulated;

/// Length of a CPU quota period: the kernel's default, which the kubelet uses too.
pub const PERIOD: Duration = Duration::from_millis(100);

/// A machine with CPUs, memory and cgroups that containers run on.
pub trait Host: Send + Sync {
    /// Its size, and where a reader finds its files.
    fn info(&self) -> HostInfo;

    /// Creates the cgroup of a pod with its limits, and the cgroup of its pause container.
    ///
    /// # Errors
    /// When it exists already or cannot be created.
    fn create_pod(&self, pod: &PodCgroup, limits: &Limits) -> anyhow::Result<()>;

    /// Stops all containers of a pod and removes its cgroups. An unknown pod is not an error.
    ///
    /// # Errors
    /// When a cgroup cannot be removed.
    fn remove_pod(&self, pod: &PodUid) -> anyhow::Result<()>;

    /// Creates the cgroup of a container, sets its limits, and starts its load.
    ///
    /// # Errors
    /// When the pod is unknown, the id exists already, or something cannot be created.
    fn start_container(&self, pod: &PodUid, container: &ContainerStart) -> anyhow::Result<()>;

    /// Stops a container and removes its cgroup. An unknown container is not an error.
    ///
    /// # Errors
    /// When the cgroup cannot be removed.
    fn stop_container(&self, pod: &PodUid, id: &ContainerId) -> anyhow::Result<()>;

    /// Changes the enforced limits.
    ///
    /// # Errors
    /// When there is no such cgroup, or the kernel rejects the limits.
    fn set_limits(&self, cgroup: &CgroupId, limits: &Limits) -> anyhow::Result<()>;

    /// Reads the enforced limits back.
    ///
    /// # Errors
    /// When there is no such cgroup, or it cannot be read.
    fn limits(&self, cgroup: &CgroupId) -> anyhow::Result<Limits>;

    /// Containers that have ended by themselves, killed by the kernel for instance, and were not stopped yet.
    fn ended(&self) -> Vec<(PodUid, ContainerId)>;

    /// Subscribes to changes of load.
    fn changes(&self) -> broadcast::Receiver<LoadChange>;

    /// Stops everything and removes every file, process and cgroup. A second call does nothing.
    fn stop(&self);
}

/// The size of a host, and where a reader finds its files.
#[derive(Debug, Clone, PartialEq)]
pub struct HostInfo {
    /// CPUs and memory.
    pub size: NodeSize,
    /// The boot id.
    pub boot: String,
    /// Value of the agent's flag `--host-root`.
    pub root: PathBuf,
    /// Value of the agent's flag `--kubepods`; absent where the agent finds the directory by itself.
    pub kubepods: Option<String>,
}

/// CPUs and memory of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeSize {
    /// Number of CPUs.
    pub cpus: u32,
    /// Memory.
    pub memory: Bytes,
}

/// What determines the cgroup of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodCgroup {
    /// The uid in the name of the cgroup.
    pub uid: PodUid,
    /// Named in the load changes.
    pub name: PodName,
    /// Determines the parent directory.
    pub qos: Qos,
}

/// A container to start.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerStart {
    /// Its id; a restarted container has a new one.
    pub id: ContainerId,
    /// Its name in the pod.
    pub name: String,
    /// The limits to enforce.
    pub limits: Limits,
    /// The resources that it tries to use.
    pub load: Load,
}

/// A cgroup with limits: that of a pod, or of a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CgroupId {
    /// The pod.
    pub pod: PodUid,
    /// The container; absent for the cgroup of the pod.
    pub container: Option<ContainerId>,
}

/// Kubernetes quality-of-service classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Qos {
    /// Every limit is set and equals its request.
    Guaranteed,
    /// Some request or limit is set.
    Burstable,
    /// No request or limit is set.
    BestEffort,
}

/// The limits of a cgroup.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// CPU limit.
    pub cpu: Limit<Cores>,
    /// Memory limit.
    pub memory: Limit<Bytes>,
    /// Determines the CPU weight; the smallest weight if absent.
    pub cpu_request: Option<Cores>,
}

/// A change of the demand of a workload.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadChange {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Name of the container.
    pub container: String,
    /// Which resource.
    pub resource: Resource,
    /// The new demand in cores or bytes. The usage is lower where a limit restricts it.
    pub value: f64,
    /// Time since the start of the host.
    pub at: Duration,
}

impl CgroupId {
    /// The cgroup of a pod.
    pub fn pod(pod: &PodUid) -> CgroupId {
        CgroupId { pod: pod.clone(), container: None }
    }

    /// The cgroup of a container.
    pub fn container(pod: &PodUid, id: &ContainerId) -> CgroupId {
        CgroupId { pod: pod.clone(), container: Some(id.clone()) }
    }
}

impl Limits {
    /// No limits, and the smallest weight.
    pub const NONE: Limits = Limits { cpu: Limit::Unlimited, memory: Limit::Unlimited, cpu_request: None };

    /// The quota per [`PERIOD`] in microseconds, rounded as the kubelet does; at least its minimum, 1 ms.
    pub fn quota(&self) -> Limit<u64> {
        match self.cpu {
            Limit::Unlimited => Limit::Unlimited,
            Limit::Of(cores) => {
                let micros = (cores.0 * 1000.0).round() * PERIOD.as_micros() as f64 / 1000.0;
                Limit::Of((micros as u64).max(1000))
            }
        }
    }

    /// `cpu.shares` of cgroup v1, as the kubelet computes it.
    pub fn shares(&self) -> u64 {
        let milli = self.cpu_request.map_or(0.0, |cores| (cores.0 * 1000.0).round());
        ((milli * 1024.0 / 1000.0) as u64).clamp(2, 262_144)
    }

    /// `cpu.weight` of cgroup v2, converted from the shares as container runtimes did up to 2025.
    pub fn weight(&self) -> u64 {
        1 + (self.shares() - 2) * 9999 / 262_142
    }
}

/// A random container id, as a container runtime generates it.
pub fn new_container_id() -> ContainerId {
    let hex = format!("{:032x}{:032x}", fastrand::u128(..), fastrand::u128(..));
    ContainerId::new(&hex).expect("twice thirty-two hex digits are sixty-four")
}
