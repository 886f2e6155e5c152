//! Which hierarchy has which controller, detected for each controller separately.
//!
//! On a live host the file system's magic number determines the version of a hierarchy, and the files at the root of a v1
//! hierarchy determine its controllers, since directory names are not reliable. A captured tree has no such file system:
//! there `cgroup.controllers` identifies v2, and the name of a v1 directory lists its controllers. Only the cgroup mount
//! point, its children and their root files are examined. Proof: `tests/trees.rs`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, FsType, statfs};

/// Version of the cgroup interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// One hierarchy per controller, or for a few of them.
    V1,
    /// The unified hierarchy.
    V2,
}

impl Version {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Version::V1 => "v1",
            Version::V2 => "v2",
        }
    }
}

/// One mounted hierarchy.
struct Hierarchy {
    path: PathBuf,
    version: Version,
    /// Those of [`CONTROLLERS`] that it has.
    controllers: Vec<&'static str>,
}

/// The hierarchy in which a controller's files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ControllerMount {
    /// Index into [`Mounts::paths`].
    pub(super) index: usize,
    pub(super) version: Version,
}

/// Where each value is read; `None` where the kernel does not account it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Controllers {
    /// CPU time used.
    pub(super) usage: Option<ControllerMount>,
    /// CPU quota and throttling.
    pub(super) quota: Option<ControllerMount>,
    /// Everything about memory but its pressure.
    pub(super) memory: Option<ControllerMount>,
    /// Pressure files: v2 only.
    pub(super) pressure: Option<ControllerMount>,
}

/// The hierarchies that are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mounts {
    /// Their roots, each once.
    pub(super) paths: Vec<PathBuf>,
    pub(super) controllers: Controllers,
    /// Whether this is a live cgroup file system, not a captured tree.
    pub(super) live: bool,
}

/// The v1 and v2 controllers that are read.
const CONTROLLERS: [&str; 3] = ["cpu", "cpuacct", "memory"];

impl Mounts {
    /// Examines `base`, a `/sys/fs/cgroup`. `None` when there is no hierarchy with CPU or memory accounting.
    pub(super) fn detect(base: &Path) -> Option<Mounts> {
        let hierarchies = hierarchies(base);
        let live = hierarchies.iter().any(|hierarchy| is_cgroup(&hierarchy.path));
        let find = |version, has: &dyn Fn(&Hierarchy) -> bool| {
            let index = hierarchies.iter().position(|h| h.version == version && has(h))?;
            Some(ControllerMount { index, version })
        };
        let controller = |name: &str| {
            // a controller is on one hierarchy only: if a v1 hierarchy has it, that one
            let has = |hierarchy: &Hierarchy| hierarchy.controllers.contains(&name);
            find(Version::V1, &has).or_else(|| find(Version::V2, &has))
        };
        let unified = find(Version::V2, &|_| true);
        let controllers = Controllers {
            // `cpu.stat` of v2 has the usage whether or not the controller is enabled
            usage: controller("cpuacct").or(unified),
            quota: controller("cpu"),
            memory: controller("memory"),
            pressure: unified,
        };
        if controllers.usage.is_none() && controllers.memory.is_none() {
            return None;
        }
        let paths = hierarchies.into_iter().map(|hierarchy| hierarchy.path).collect();
        Some(Mounts { paths, controllers, live })
    }

    /// Index of the hierarchy whose directories determine which pods exist.
    pub(super) fn primary(&self) -> usize {
        let Controllers { usage, quota, memory, .. } = self.controllers;
        let mounts = [usage, quota, memory].into_iter().flatten();
        // in a hybrid the kubelet's directories are on v1, where the quota is; the v2 side may be empty
        let v1 = mounts.clone().find(|mount| mount.version == Version::V1);
        v1.or(mounts.clone().next()).map_or(0, |mount| mount.index)
    }

    pub(super) fn primary_path(&self) -> &Path {
        &self.paths[self.primary()]
    }
}

/// Every hierarchy with something to read, without duplicates.
fn hierarchies(base: &Path) -> Vec<Hierarchy> {
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
    let mut hierarchies = Vec::new();
    for path in paths {
        // `cpu` is often a link to `cpu,cpuacct`
        let Ok(identity) = fs::metadata(&path).map(|data| (data.dev(), data.ino())) else {
            continue;
        };
        if seen.contains(&identity) {
            continue;
        }
        let hierarchy = if is_unified(&path) { unified(path) } else { v1(path) };
        if hierarchy.version == Version::V2 || !hierarchy.controllers.is_empty() {
            seen.push(identity);
            hierarchies.push(hierarchy);
        }
    }
    hierarchies
}

fn unified(path: PathBuf) -> Hierarchy {
    let text = fs::read_to_string(path.join("cgroup.controllers")).unwrap_or_default();
    let controllers =
        CONTROLLERS.into_iter().filter(|name| text.split_whitespace().any(|word| word == *name));
    Hierarchy { controllers: controllers.collect(), path, version: Version::V2 }
}

fn v1(path: PathBuf) -> Hierarchy {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let has = |controller: &&str| match magic(&path) {
        Some(CGROUP_SUPER_MAGIC) => path.join(typical_file(controller)).exists(),
        _ => name.split(',').any(|word| word == *controller),
    };
    let controllers = CONTROLLERS.into_iter().filter(has).collect();
    Hierarchy { controllers, path, version: Version::V1 }
}

/// A file that every v1 cgroup with this controller has.
fn typical_file(controller: &str) -> &'static str {
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
