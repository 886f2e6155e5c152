//! Which hierarchy holds which controller, found out anew for each controller.
//!
//! On a live host the file-system magic decides what a directory is, and the files at a v1 hierarchy's root decide
//! which controllers it holds, since directory names lie. In a captured tree there is no such file system: there
//! `cgroup.controllers` makes a directory v2, and a v1 directory's name says its controllers. Looks only at the cgroup
//! mount point, its children and their roots. Proof: `tests/trees.rs`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, FsType, statfs};

/// Which generation of the interface a hierarchy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// One hierarchy a controller (or a few).
    V1,
    /// The unified hierarchy.
    V2,
}

impl Version {
    /// The word in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V1 => "v1",
            Version::V2 => "v2",
        }
    }
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    path: PathBuf,
    version: Version,
    /// `cpu`, `cpuacct` and `memory`, as far as they live here.
    controllers: Vec<&'static str>,
}

/// Where something is read: an index into [`Mounts::paths`], and how it is spelled there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) mount: usize,
    pub(super) version: Version,
}

/// Where each thing we want is read; `None` where the kernel does not account it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Seats {
    /// CPU time used.
    pub(super) usage: Option<Seat>,
    /// CPU quota and throttling.
    pub(super) quota: Option<Seat>,
    /// Everything about memory but its pressure.
    pub(super) memory: Option<Seat>,
    /// Pressure files: v2 only.
    pub(super) pressure: Option<Seat>,
}

/// The hierarchies that we read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mounts {
    /// Their roots, each once.
    pub(super) paths: Vec<PathBuf>,
    /// What is read where.
    pub(super) seats: Seats,
    /// Whether this is a live cgroup file system, not a captured tree.
    pub(super) real: bool,
}

/// The v1 and v2 controllers that concern us.
const CONTROLLERS: [&str; 3] = ["cpu", "cpuacct", "memory"];

impl Mounts {
    /// Looks below `base`, a `/sys/fs/cgroup`. `None` when nothing there is a hierarchy we can read.
    pub(super) fn detect(base: &Path) -> Option<Mounts> {
        let mounts = found(base);
        let real = mounts.iter().any(|mount| is_cgroup(&mount.path));
        let seat = |controller: &str| {
            let place = |version| {
                mounts
                    .iter()
                    .position(|mount| mount.version == version && mount.controllers.contains(&controller))
            };
            // A controller is on one hierarchy only; a live v1 mount of it says which.
            let v1 = place(Version::V1).map(|mount| Seat { mount, version: Version::V1 });
            v1.or_else(|| place(Version::V2).map(|mount| Seat { mount, version: Version::V2 }))
        };
        let unified = mounts.iter().position(|mount| mount.version == Version::V2);
        let unified = unified.map(|mount| Seat { mount, version: Version::V2 });
        let seats = Seats {
            // `cpu.stat` of v2 has the usage whether or not the controller is on.
            usage: seat("cpuacct").or(unified),
            quota: seat("cpu"),
            memory: seat("memory"),
            pressure: unified,
        };
        if seats.usage.is_none() && seats.memory.is_none() {
            return None;
        }
        Some(Mounts { paths: mounts.into_iter().map(|mount| mount.path).collect(), seats, real })
    }

    /// The hierarchy whose directories say which pods there are.
    pub(super) fn primary(&self) -> usize {
        let seats = &self.seats;
        // In a hybrid the kubelet's directories are on v1, where the quota is; the v2 side may be empty.
        let owner = [seats.usage, seats.quota, seats.memory].into_iter().flatten();
        owner
            .clone()
            .find(|seat| seat.version == Version::V1)
            .or(owner.clone().next())
            .map_or(0, |seat| seat.mount)
    }
}

/// Every hierarchy that holds something of interest, without repetition.
fn found(base: &Path) -> Vec<Mount> {
    if is_unified(base) {
        return vec![unified(base.to_owned())];
    }
    let Ok(listing) = fs::read_dir(base) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> =
        listing.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    paths.sort();
    let mut seen = Vec::new();
    let mut mounts = Vec::new();
    for path in paths {
        // `cpu` is often a link to `cpu,cpuacct`.
        let Ok(identity) = fs::metadata(&path).map(|data| (data.dev(), data.ino())) else {
            continue;
        };
        if seen.contains(&identity) {
            continue;
        }
        let mount = if is_unified(&path) { unified(path) } else { v1(path) };
        if mount.version == Version::V2 || !mount.controllers.is_empty() {
            seen.push(identity);
            mounts.push(mount);
        }
    }
    mounts
}

fn unified(path: PathBuf) -> Mount {
    let text = fs::read_to_string(path.join("cgroup.controllers")).unwrap_or_default();
    let controllers =
        CONTROLLERS.into_iter().filter(|name| text.split_whitespace().any(|word| word == *name));
    Mount { controllers: controllers.collect(), path, version: Version::V2 }
}

fn v1(path: PathBuf) -> Mount {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let holds = |controller: &&str| match magic(&path) {
        Some(CGROUP_SUPER_MAGIC) => path.join(telltale(controller)).exists(),
        _ => name.split(',').any(|word| word == *controller),
    };
    let controllers = CONTROLLERS.into_iter().filter(holds).collect();
    Mount { controllers, path, version: Version::V1 }
}

/// A file that every v1 cgroup with this controller has.
fn telltale(controller: &str) -> &'static str {
    match controller {
        "cpu" => "cpu.shares",
        "cpuacct" => "cpuacct.usage",
        _ => "memory.usage_in_bytes",
    }
}

fn magic(path: &Path) -> Option<FsType> {
    statfs(path).ok().map(|stat| stat.filesystem_type())
}

fn is_unified(path: &Path) -> bool {
    match magic(path) {
        Some(CGROUP2_SUPER_MAGIC) => true,
        Some(CGROUP_SUPER_MAGIC) => false,
        _ => path.join("cgroup.controllers").is_file(),
    }
}

fn is_cgroup(path: &Path) -> bool {
    matches!(magic(path), Some(CGROUP_SUPER_MAGIC | CGROUP2_SUPER_MAGIC))
}
