//! The node's cgroups: which pods and containers there are, and their readings.
//!
//! ```text
//!   open:      mounts (which controller where)
//!   discover:  watch (hints) ---> walk (layout: how pods are named) ---> places ---> cgroups appear and are removed
//!   sweep:     cgroup (descriptors: how many stay open) ---> files (v1, v2) ---> reader (pread) ---> parse ---> Reading
//!   node_info: node (/proc, and the limits of the root cgroup)
//! ```
//!
//! The only modules that read cgroup files (below `<root>/sys/fs/cgroup`) and `/proc` (three files of it). They write nothing.
//! What cannot be read is unknown with a reason, never zero; a removed cgroup is no error. Proof: the unit tests beside each
//! module, `host/tests.rs` (whole trees, every file damaged in every way), `agent/tests/differential.rs` (real cgroups,
//! against `cgroups-rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use std::{fmt, fs, io};

use plimsoll_contract::{Bytes, Moment, PodUid};

pub use layout::Driver;
pub use mounts::Version;
pub(crate) use node::NodeInfo;
pub use reader::ReadErrors;

use crate::regular;
use crate::sample::{Interest, Reading, Target};
use cgroup::{Cgroup, Sweep};
use descriptors::DescriptorBound;
use layout::Layout;
use mounts::Mounts;
use reader::Reader;
use watch::Watch;

mod cgroup;
mod descriptors;
mod discover;
mod files;
mod folder;
pub mod layout;
mod mounts;
mod node;
pub mod parse;
mod places;
mod reader;
mod walk;
mod watch;

#[cfg(test)]
mod tests;

/// Interval at which everything is listed, whatever inotify reported.
const RECONCILE_EVERY: Duration = Duration::from_secs(10);

/// Where the cgroups are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostConfig {
    /// The host's root directory: `/` on the host itself, a mount point in a container, or a captured
    /// tree. The cgroups are at `sys/fs/cgroup` below it, CPUs and memory at `proc` (or in `/proc`, if it has none).
    pub root: PathBuf,
    /// The kubepods directory below each hierarchy; by default, all that are found.
    pub kubepods: Option<String>,
}

/// Why a host cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// No hierarchy with CPU or memory accounting in this directory.
    #[error(
        "no cgroup hierarchy with cpu or memory found at {0}: looked for a cgroup2 mount or cgroup.controllers, and \
         for v1 directories like cpu,cpuacct or memory; mount the host's /sys/fs/cgroup there, or use another \
         --host-root"
    )]
    NoHierarchy(PathBuf),
    /// What would identify a hierarchy is a pipe, a device or a link.
    #[error("cannot read {0}: {1}; it must be the file of a cgroup, or that of a captured tree")]
    Irregular(PathBuf, io::Error),
    /// The directory of the hierarchies cannot be listed.
    #[error(
        "cannot list the cgroup hierarchies in {0}: {1}; run as a user who may read it, or use another --host-root"
    )]
    Unreadable(PathBuf, io::Error),
    /// The configured kubepods path is not below the hierarchy's root.
    #[error(
        "{0:?} is not the path of a kubepods directory: use one relative to the cgroup root and without '.' or '..', \
         as in --kubepods kubelet.slice/kubelet-kubepods.slice"
    )]
    InvalidKubepods(String),
    /// The node's capacity or boot id cannot be read from this file, and why.
    #[error(
        "cannot read the node's capacity from {0}: {1}; the host's /proc must be readable, or be part of a captured tree"
    )]
    Node(PathBuf, String),
}

/// A cgroup was created or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupEvent {
    /// Created; it is read from now on.
    Appeared(Target),
    /// Removed.
    Gone(Target),
}

/// Hierarchies and naming scheme of a host, for one line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Hierarchy of the CPU usage; `None` if it is not accounted.
    pub usage: Option<Version>,
    /// Hierarchy of the CPU quotas.
    pub quota: Option<Version>,
    /// Hierarchy of memory.
    pub memory: Option<Version>,
    /// The kubelet's cgroup driver, by the name of the kubepods directory. Two after it was changed, as there are two directories then.
    pub drivers: BTreeSet<Driver>,
    /// The kubepods directories below each hierarchy.
    pub kubepods: Vec<String>,
    /// Whether this is a live cgroup file system, not a captured tree.
    pub live: bool,
}

/// An opened host: its hierarchies, and the cgroups of its pods and containers.
#[derive(Debug)]
pub struct Host {
    base: PathBuf,
    proc: PathBuf,
    configured_kubepods: Option<PathBuf>,
    mounts: Mounts,
    /// The kubepods directories and their naming schemes.
    kubepods: Vec<(PathBuf, Layout)>,
    /// Whether it was logged that there is none.
    is_missing_logged: bool,
    cgroups: Vec<Cgroup>,
    /// Index into `cgroups` of each that is not gone.
    index: BTreeMap<Target, usize>,
    managed: BTreeSet<PodUid>,
    watch: Watch,
    reader: Reader,
    sweeps: u64,
    /// The last sweep offsets assigned, to pods and to containers.
    sweep_offsets: [u64; 2],
    bound: DescriptorBound,
    /// Descriptors that all cgroups together may keep open, and those reserved now.
    max_descriptors: usize,
    descriptors: usize,
    /// Whether the files of a cgroup are opened for every read because of the bound; logged when it changes.
    is_bounded: bool,
    last_reconcile: Option<Moment>,
    /// Whether a file of the root cgroup was malformed when last read; logged when it changes.
    is_root_malformed: AtomicBool,
    max_entries: usize,
    truncated_listings: u64,
    /// Whether the last listing of everything was truncated; logged when it changes.
    is_truncated: bool,
    slow_reads: u64,
}

impl Host {
    /// Detects the hierarchies. A missing kubepods directory is not an error: a node may have no
    /// pods. Raises the process's limit of open files to the hard limit.
    ///
    /// # Errors
    /// No hierarchy that can be read, or an invalid kubepods path.
    pub fn open(config: &HostConfig) -> Result<Host, HostError> {
        let configured_kubepods = config.kubepods.as_deref().map(kubepods_path).transpose()?;
        let base = config.root.join("sys/fs/cgroup");
        let mounts = Mounts::detect(&base).ok_or_else(|| no_hierarchy(&base))?;
        let bound = DescriptorBound::detect();
        Ok(Host {
            proc: node::proc_below(&config.root),
            reader: Reader::new(mounts.live),
            base,
            configured_kubepods,
            mounts,
            kubepods: Vec::new(),
            is_missing_logged: false,
            cgroups: Vec::new(),
            index: BTreeMap::new(),
            managed: BTreeSet::new(),
            watch: Watch::new(),
            sweeps: 0,
            sweep_offsets: [0; 2],
            max_descriptors: bound.max(),
            bound,
            descriptors: 0,
            is_bounded: false,
            last_reconcile: None,
            is_root_malformed: AtomicBool::new(false),
            max_entries: walk::MAX_ENTRIES,
            truncated_listings: 0,
            is_truncated: false,
            slow_reads: 0,
        })
    }

    /// The hierarchies and naming scheme in use now.
    pub fn describe(&self) -> Description {
        let controllers = &self.mounts.controllers;
        Description {
            usage: controllers.usage.map(|mount| mount.version),
            quota: controllers.quota.map(|mount| mount.version),
            memory: controllers.memory.map(|mount| mount.version),
            drivers: self.kubepods.iter().map(|(_, layout)| layout.driver()).collect(),
            kubepods: self.kubepods.iter().map(|(path, _)| path.display().to_string()).collect(),
            live: self.mounts.live,
        }
    }

    /// Makes sweeps read the limits and memory events of the managed pods every time, the limits of others every tenth time, and unlisted
    /// containers only every tenth time.
    pub fn set_interest(&mut self, interest: Interest) {
        for cgroup in &mut self.cgroups {
            cgroup.managed = interest.managed.contains(&cgroup.target.pod);
            cgroup.unlisted =
                cgroup.target.container.as_ref().is_some_and(|id| interest.unlisted.contains(id));
        }
        self.managed = interest.managed;
    }

    /// Whether any pod has an SLA class.
    pub(crate) fn has_managed(&self) -> bool {
        !self.managed.is_empty()
    }

    /// Reads what is due of every known cgroup and passes it to `sink`: each container's and each pod's own. A cgroup found gone is
    /// skipped; [`Host::discover`] returns it.
    ///
    /// `clock` is called around reads, so that each reading has its own time.
    pub fn sweep(&mut self, clock: impl Fn() -> Moment, mut sink: impl FnMut(&Target, &Reading)) {
        self.sweeps += 1;
        let mut sweep = Sweep {
            mounts: &self.mounts,
            clock,
            number: self.sweeps,
            reader: &mut self.reader,
            slow_reads: &mut self.slow_reads,
        };
        for cgroup in self.cgroups.iter_mut().filter(|cgroup| !cgroup.gone) {
            if let Some(reading) = cgroup.read(&mut sweep) {
                sink(&cgroup.target, &reading);
            }
        }
        self.reader.log_irregular();
    }

    /// Read errors so far, by file and reason.
    pub fn read_errors(&self) -> &ReadErrors {
        &self.reader.errors
    }

    /// Reads of `memory.stat` so far that took more than 50 ms; such a cgroup is read less often.
    pub(crate) fn slow_reads(&self) -> u64 {
        self.slow_reads
    }

    /// Directory listings so far that were truncated, because of their size or an error.
    pub(crate) fn truncated_listings(&self) -> u64 {
        self.truncated_listings
    }

    /// Reads the memory that could be allocated now, on a node with this `capacity`; absent where it cannot be read.
    pub(crate) fn available_memory(&self, capacity: Bytes) -> Option<Bytes> {
        node::read_available(&self.proc, &self.mounts, capacity)
    }

    /// Reads the node's capacity and boot id.
    ///
    /// # Errors
    /// A file of `/proc` that is missing or invalid, by name.
    pub(crate) fn node_info(&self) -> Result<NodeInfo, HostError> {
        node::read(&self.proc, &self.mounts, &self.is_root_malformed)
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = |version: Option<Version>| version.map_or("none", Version::as_str);
        let drivers: Vec<&str> = self.drivers.iter().map(|driver| driver.as_str()).collect();
        let all = |names: String, none: &str| if names.is_empty() { none.to_owned() } else { names };
        write!(
            f,
            "cpu usage {}, cpu quota {}, memory {}, driver {}, kubepods at {}, {}",
            version(self.usage),
            version(self.quota),
            version(self.memory),
            all(drivers.join(" and "), "unknown"),
            all(self.kubepods.join(" and "), "(not there yet)"),
            if self.live { "live cgroups" } else { "captured tree" },
        )
    }
}

/// Why no hierarchy was found at `base`. A directory that may not be listed, and what is no file, need another remedy than one without
/// hierarchies.
fn no_hierarchy(base: &Path) -> HostError {
    match fs::read_dir(base) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            HostError::Unreadable(base.to_owned(), error)
        }
        _ => irregular(base).unwrap_or_else(|| HostError::NoHierarchy(base.to_owned())),
    }
}

fn irregular(base: &Path) -> Option<HostError> {
    let identifying = base.join("cgroup.controllers");
    let error = regular::open(&identifying).err()?;
    (error.kind() == io::ErrorKind::InvalidInput).then_some(HostError::Irregular(identifying, error))
}

fn kubepods_path(configured: &str) -> Result<PathBuf, HostError> {
    let path = configured.trim_matches('/');
    let part = |part: &str| !matches!(part, "" | "." | "..");
    if path.split('/').all(part) {
        Ok(PathBuf::from(path))
    } else {
        Err(HostError::InvalidKubepods(configured.into()))
    }
}
