//! The node as the agent finds it: which pods and containers there are, and what their cgroups say.
//!
//! ```text
//!   open ---> mounts (which controller where) ---> layout (how pods are named)
//!   discover: watch (hint) ---> walk ---> slots come and go
//!   sweep:    slots ---> files (pread) ---> parse ---> Reading
//!   node:     /proc
//! ```
//!
//! The only modules that touch the file system, and only to read: the cgroup tree below `<root>/sys/fs/cgroup` and
//! three files of `/proc`. Nothing is ever written. What cannot be read is unknown with a reason, never zero; a cgroup
//! that went away is retired, which is no error. Proof: the unit tests beside each module, `host/tests.rs` (whole
//! trees, every file damaged in every way), `agent/tests/differential.rs` (real cgroups, against `cgroups-rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, fs, io};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use plimsoll_contract::PodUid;

pub use files::{File, ReadErrors};
pub use layout::Driver;
pub use mounts::Version;
pub use node::NodeFacts;

use crate::sample::{Moment, Reading, Target};
use files::Reader;
use layout::Layout;
use mounts::Mounts;
use slot::{Slot, Sweep};
use watch::Watch;

mod discover;
mod files;
mod folder;
pub mod layout;
mod mounts;
mod node;
pub mod parse;
mod slot;
mod spelling;
mod walk;
mod watch;

#[cfg(test)]
mod tests;

/// Everything is listed anew this often, whatever inotify said.
const RECONCILE_EVERY: Duration = Duration::from_secs(10);
/// Descriptors left to the rest of the process: connections, logs, what a sweep opens in passing.
const RESERVED_DESCRIPTORS: u64 = 256;

/// Where to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostConfig {
    /// The host's root directory as we see it: `/` on the host itself, a mount point in a container, or a captured
    /// tree. The cgroups are at `sys/fs/cgroup` below it, the node's facts at `proc` (or in `/proc`, if it has none).
    pub root: PathBuf,
    /// The kubepods directory below each hierarchy, where it is not to be searched for.
    pub kubepods: Option<String>,
}

/// Why a host cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// No hierarchy with CPU or memory accounting.
    #[error(
        "no cgroup hierarchy with cpu or memory found at {path}: looked for a cgroup2 mount or cgroup.controllers, and \
         for v1 directories like cpu,cpuacct or memory; mount the host's /sys/fs/cgroup there, or name another \
         --host-root"
    )]
    NoHierarchy {
        /// The directory that was searched.
        path: PathBuf,
    },
    /// The directory of the hierarchies cannot be looked into.
    #[error(
        "cannot look for cgroup hierarchies in {path}: {why}; run as a user who may read it, or name another --host-root"
    )]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The kubepods path leads out of the hierarchy, or nowhere.
    #[error(
        "{given:?} is not a path of a kubepods directory: give it relative to the cgroup root and without '.' or '..', \
         as in --kubepods kubelet.slice/kubelet-kubepods.slice"
    )]
    BadKubepods {
        /// As it was given.
        given: String,
    },
    /// A fact about the node cannot be had.
    #[error(
        "cannot learn about the node from {path}: {why}; the host's /proc must be readable, or in a captured tree be part of it"
    )]
    Node {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// What came or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is read from now on.
    Appeared(Target),
    /// It is no more.
    Gone(Target),
}

/// How the host presents itself, for one line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Where CPU usage is read; `None`: not accounted.
    pub usage: Option<Version>,
    /// Where CPU quotas are read.
    pub quota: Option<Version>,
    /// Where memory is read.
    pub memory: Option<Version>,
    /// Who names the pods' directories; `None` while there are none.
    pub driver: Option<Driver>,
    /// The kubepods directory below each hierarchy; `None` while there is none.
    pub kubepods: Option<String>,
    /// Whether this is a live cgroup file system, not a captured tree.
    pub real: bool,
}

/// The host, opened. See the module's own text.
#[derive(Debug)]
pub struct Host {
    base: PathBuf,
    proc: PathBuf,
    wanted: Option<PathBuf>,
    mounts: Mounts,
    /// The kubepods directory and its naming scheme, once there is one.
    kubepods: Option<(PathBuf, Layout)>,
    slots: Vec<Slot>,
    /// Of every slot that is not gone.
    index: BTreeMap<Target, usize>,
    managed: BTreeSet<PodUid>,
    watch: Watch,
    reader: Reader,
    tick: u64,
    /// The last places given out in the rota, to pods and to containers.
    phases: [u64; 2],
    /// Descriptors that slots may hold together, and hold now.
    budget: usize,
    held: usize,
    listed: Option<Moment>,
    most_entries: usize,
    truncated: u64,
    /// Whether the last full listing was cut short; logged when it changes.
    cut_short: bool,
    slow: u64,
}

impl Host {
    /// Finds out what is where. A kubepods directory that is not there yet is none of the errors: a node may have no
    /// pods. Raises the process's limit of open files as far as it may.
    ///
    /// # Errors
    /// No hierarchy we can read, or a kubepods path that cannot be one.
    pub fn open(config: &HostConfig) -> Result<Host, HostError> {
        let wanted = config.kubepods.as_deref().map(kubepods_path).transpose()?;
        let base = config.root.join("sys/fs/cgroup");
        let mounts = Mounts::detect(&base).ok_or_else(|| no_hierarchy(&base))?;
        Ok(Host {
            proc: node::proc_below(&config.root),
            reader: Reader::new(mounts.real),
            base,
            wanted,
            mounts,
            kubepods: None,
            slots: Vec::new(),
            index: BTreeMap::new(),
            managed: BTreeSet::new(),
            watch: Watch::new(),
            tick: 0,
            phases: [0; 2],
            budget: usize::try_from(raise_open_files().saturating_sub(RESERVED_DESCRIPTORS))
                .unwrap_or(usize::MAX),
            held: 0,
            listed: None,
            most_entries: walk::MOST_ENTRIES,
            truncated: 0,
            cut_short: false,
            slow: 0,
        })
    }

    /// How the host presents itself now.
    pub fn describe(&self) -> Description {
        let seats = &self.mounts.seats;
        Description {
            usage: seats.usage.map(|seat| seat.version),
            quota: seats.quota.map(|seat| seat.version),
            memory: seats.memory.map(|seat| seat.version),
            driver: self.kubepods.as_ref().map(|(_, layout)| layout.driver()),
            kubepods: self.kubepods.as_ref().map(|(path, _)| path.display().to_string()),
            real: self.mounts.real,
        }
    }

    /// Reads these pods' limits in every sweep, those of others in every tenth.
    pub fn set_managed(&mut self, pods: BTreeSet<PodUid>) {
        for slot in &mut self.slots {
            slot.managed = pods.contains(&slot.target.pod);
        }
        self.managed = pods;
    }

    /// Reads what is due of every known cgroup, and hands it to `sink`: each container, and each pod that has a limit
    /// of its own (once more when it has lost it). A cgroup found gone is left out; [`Host::discover`] tells of it.
    ///
    /// `clock` is asked around reads, so that each reading carries its own time.
    pub fn sweep(&mut self, clock: impl Fn() -> Moment, mut sink: impl FnMut(&Target, &Reading)) {
        self.tick += 1;
        let mut sweep = Sweep { mounts: &self.mounts, clock, tick: self.tick, slow: &mut self.slow };
        for slot in &mut self.slots {
            if slot.gone {
                continue;
            }
            if let Some(reading) = slot.read(&mut self.reader, &mut sweep) {
                sink(&slot.target, &reading);
            }
        }
    }

    /// What could not be read so far, by file and reason.
    pub fn read_errors(&self) -> &ReadErrors {
        &self.reader.errors
    }

    /// `memory.stat` reads so far that took more than 50 ms; each makes that cgroup's next one rarer.
    pub fn slow_reads(&self) -> u64 {
        self.slow
    }

    /// Directory listings so far that were cut short, for holding too much or for an error.
    pub fn truncated_listings(&self) -> u64 {
        self.truncated
    }

    /// What the node itself has, read now.
    ///
    /// # Errors
    /// A file of `/proc` that is missing or makes no sense, by name.
    pub fn node(&self) -> Result<NodeFacts, HostError> {
        node::facts(&self.proc)
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = |version: Option<Version>| version.map_or("none", Version::as_str);
        let driver = match self.driver {
            Some(Driver::Cgroupfs) => "cgroupfs",
            Some(Driver::Systemd) => "systemd",
            None => "unknown",
        };
        write!(
            f,
            "cpu usage {}, cpu quota {}, memory {}, driver {driver}, kubepods at {}, {}",
            version(self.usage),
            version(self.quota),
            version(self.memory),
            self.kubepods.as_deref().unwrap_or("(not there yet)"),
            if self.real { "live cgroups" } else { "captured tree" },
        )
    }
}

/// Why none was found at `base`: it may be there and closed to us, which has another cure.
fn no_hierarchy(base: &Path) -> HostError {
    let path = base.to_owned();
    match fs::read_dir(base) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            HostError::Unreadable { path, why: error.to_string() }
        }
        _ => HostError::NoHierarchy { path },
    }
}

fn kubepods_path(given: &str) -> Result<PathBuf, HostError> {
    let path = given.trim_matches('/');
    let part = |part: &str| !matches!(part, "" | "." | "..");
    if path.split('/').all(part) {
        Ok(PathBuf::from(path))
    } else {
        Err(HostError::BadKubepods { given: given.into() })
    }
}

/// Raises the soft limit of open files to the hard one, and says what it is.
fn raise_open_files() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return 0;
    };
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft }
}
