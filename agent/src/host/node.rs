//! What the node itself has: CPUs online, memory, and the id of this boot.
//!
//! Reads three files of a `/proc` through the `procfs` crate, at each call anew, since CPUs come and go.
//! Proof: `tests/trees.rs`.

use std::fs;
use std::path::{Path, PathBuf};

use plimsoll_contract::{Bytes, Cores};
use procfs::{FromRead, FromReadSI, KernelStats, Meminfo, current_system_info};

use super::HostError;
use crate::sample::NodeCapacity;

/// What the node itself has.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeFacts {
    /// CPUs online.
    pub cpus: Cores,
    /// Memory in total.
    pub memory: Bytes,
    /// The id of this boot.
    pub boot: String,
}

impl NodeFacts {
    /// What the node has to give.
    pub fn capacity(&self) -> NodeCapacity {
        NodeCapacity { cpus: self.cpus, memory: self.memory }
    }
}

/// The `/proc` to ask: that below `root` where there is one.
pub(super) fn proc_below(root: &Path) -> PathBuf {
    let below = root.join("proc");
    if below.join("stat").is_file() { below } else { PathBuf::from("/proc") }
}

/// Reads the node's facts from `proc`.
pub(super) fn facts(proc: &Path) -> Result<NodeFacts, HostError> {
    let (stat, meminfo, boot) =
        (proc.join("stat"), proc.join("meminfo"), proc.join("sys/kernel/random/boot_id"));
    let stats = KernelStats::from_file(&stat, current_system_info()).map_err(|error| bad(&stat, &error))?;
    if stats.cpu_time.is_empty() {
        return Err(bad(&stat, &"it lists no CPU"));
    }
    let memory = Meminfo::from_file(&meminfo).map_err(|error| bad(&meminfo, &error))?.mem_total;
    if memory == 0 {
        return Err(bad(&meminfo, &"it says that there is no memory"));
    }
    let id = fs::read_to_string(&boot).map_err(|error| bad(&boot, &error))?;
    let id = id.trim();
    if id.is_empty() || id.len() > 64 {
        return Err(bad(&boot, &"it does not hold a boot id"));
    }
    Ok(NodeFacts { cpus: Cores(stats.cpu_time.len() as f64), memory: Bytes(memory), boot: id.to_owned() })
}

fn bad(path: &Path, why: &impl ToString) -> HostError {
    HostError::Node { path: path.to_owned(), why: why.to_string() }
}
