//! The node's own capacity, CPUs online and memory, and its boot id.
//!
//! Reads three files of `/proc`, two of them with the `procfs` crate, again on each call, because CPUs may be added or taken
//! offline.
//! Proof: `tests/trees.rs`.

use std::fs;
use std::path::{Path, PathBuf};

use plimsoll_contract::report::Capacity;
use plimsoll_contract::{Bytes, Cores};
use procfs::{FromRead, FromReadSI, KernelStats, Meminfo, current_system_info};

use super::HostError;

/// The node's capacity and its boot id.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NodeInfo {
    pub(crate) capacity: Capacity,
    /// Boot id.
    pub(crate) boot: String,
}

/// The `/proc` to read: that below `root` where there is one.
pub(super) fn proc_below(root: &Path) -> PathBuf {
    let below = root.join("proc");
    if below.join("stat").is_file() { below } else { PathBuf::from("/proc") }
}

pub(super) fn read(proc: &Path) -> Result<NodeInfo, HostError> {
    let (stat, meminfo, boot_id) =
        (proc.join("stat"), proc.join("meminfo"), proc.join("sys/kernel/random/boot_id"));
    let cpus = KernelStats::from_file(&stat, current_system_info())
        .map_err(|error| unreadable(&stat, &error))?
        .cpu_time
        .len();
    if cpus == 0 {
        return Err(unreadable(&stat, &"it lists no CPU"));
    }
    let memory = Meminfo::from_file(&meminfo).map_err(|error| unreadable(&meminfo, &error))?.mem_total;
    if memory == 0 {
        return Err(unreadable(&meminfo, &"it reports no memory"));
    }
    let boot = fs::read_to_string(&boot_id).map_err(|error| unreadable(&boot_id, &error))?;
    let boot = boot.trim().to_owned();
    if boot.is_empty() || boot.len() > 64 {
        return Err(unreadable(&boot_id, &"it does not contain a boot id"));
    }
    Ok(NodeInfo { capacity: Capacity { cores: Cores(cpus as f64), bytes: Bytes(memory) }, boot })
}

fn unreadable(path: &Path, why: &impl ToString) -> HostError {
    HostError::Node(path.to_owned(), why.to_string())
}
