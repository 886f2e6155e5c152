//! What was seen of a node at one time.

use std::time::Duration;

use plimsoll_contract::Band;
use plimsoll_contract::report::ContainerCpu;

use crate::policy::Policy;
use crate::size::Size;

/// Pods of one node as they were at one time: all, or those of which something was said then.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// On the clock of the recording, which never steps.
    pub at: Duration,
    /// The node.
    pub node: String,
    /// What it has for pods, millicores. A container of which the first snapshot does not know it never grows.
    pub allocatable: Option<u64>,
    /// Whether all its pods are named: others are gone.
    pub full: bool,
    /// The pods.
    pub pods: Vec<PodSnapshot>,
}

/// One pod.
#[derive(Debug, Clone)]
pub struct PodSnapshot {
    /// No other pod has it.
    pub uid: String,
    /// For people.
    pub name: String,
    /// Its CPU band.
    pub cpu: Band,
    /// Its memory band.
    pub memory: Band,
    /// The class that it had, if that is known.
    pub class: Option<Policy>,
    /// Its containers that count.
    pub containers: Vec<ContainerSnapshot>,
}

/// One container.
#[derive(Debug, Clone)]
pub struct ContainerSnapshot {
    /// Its name, the same after a restart.
    pub name: String,
    /// Its CPU size, millicores.
    pub size: Size,
    /// Its CPU size before the first resize, millicores.
    pub original: Size,
    /// Whether the pod's CPU band is that of this container.
    pub hottest: bool,
    /// What was measured.
    pub usage: ContainerCpu,
}
