//! Which hierarchy has which controller, detected for each controller separately.
//!
//! On a live host the file system's magic number determines the version of a hierarchy, and the files at the root of a v1
//! hierarchy determine its controllers, since directory names are not reliable; what is beside it and on another file system is no
//! hierarchy, whatever its name. A captured tree has no such file system: there `cgroup.controllers` identifies v2, and the names of a
//! v1 directory (its own, and those of links to it) and the files in it tell its controllers. Only the cgroup mount point, its children
//! and their root files are examined. Proof: `tests/mounts.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, FsType, statfs};

use crate::regular;

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
    /// The root and the version of the hierarchy that tells which CPUs the node may use. Not one of `paths`: no cgroup below it is read.
    pub(super) cpuset: Option<(PathBuf, Version)>,
    /// Whether this is a live cgroup file system, not a captured tree.
    pub(super) live: bool,
}

/// The v1 and v2 controllers that are read.
const CONTROLLERS: [&str; 4] = ["cpu", "cpuacct", "memory", "cpuset"];

impl Mounts {
    /// Examines `base`, a `/sys/fs/cgroup`. `None` when there is no hierarchy with CPU or memory accounting.
    pub(super) fn detect(base: &Path) -> Option<Mounts> {
        let (mut hierarchies, live) = hierarchies(base);
        let has_cpuset = |hierarchy: &&Hierarchy| hierarchy.controllers.contains(&"cpuset");
        // a captured v2 tree may have the file and not list the controller
        let cpuset = hierarchies.iter().find(has_cpuset);
        let cpuset = cpuset.or(hierarchies.iter().find(|hierarchy| hierarchy.version == Version::V2));
        let cpuset = cpuset.map(|hierarchy| (hierarchy.path.clone(), hierarchy.version));
        hierarchies
            .retain(|hierarchy| hierarchy.controllers != ["cpuset"] || hierarchy.version == Version::V2);
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
        Some(Mounts { paths, controllers, cpuset, live })
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

/// Every hierarchy with something to read, without duplicates, and whether they are live.
fn hierarchies(base: &Path) -> (Vec<Hierarchy>, bool) {
    let children = children(base);
    let is_live = |path: &PathBuf| matches!(magic(path), Some(CGROUP_SUPER_MAGIC | CGROUP2_SUPER_MAGIC));
    let live = is_live(&base.to_owned()) || children.keys().any(is_live);
    let hierarchy = |path: &Path, names: &[String]| match magic(path) {
        Some(CGROUP2_SUPER_MAGIC) => Some(unified(path)),
        Some(CGROUP_SUPER_MAGIC) => Some(v1(path, &[])),
        _ if live => None,
        _ if is_file(&path.join("cgroup.controllers")) => Some(unified(path)),
        _ => Some(v1(path, names)),
    };
    let is_used =
        |hierarchy: &Hierarchy| hierarchy.version == Version::V2 || !hierarchy.controllers.is_empty();
    // all controllers in one hierarchy: then its children are cgroups
    if let Some(only) = hierarchy(base, &[]).filter(is_used) {
        return (vec![only], live);
    }
    let hierarchies = children.iter().filter_map(|(path, names)| hierarchy(path, names)).filter(is_used);
    (hierarchies.collect(), live)
}

/// The directories in `base`, each once, with their names: `cpu` and `cpuacct` are often links to `cpu,cpuacct`.
fn children(base: &Path) -> BTreeMap<PathBuf, Vec<String>> {
    let listing = fs::read_dir(base).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = listing.map(|entry| entry.path()).collect();
    // directories before the links to them
    paths.sort_by_cached_key(|path| (path.is_symlink(), path.clone()));
    let mut by_identity = BTreeMap::new();
    let mut children: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    for path in paths {
        let target = sibling(base, &path).unwrap_or_else(|| path.clone());
        let Some(data) = fs::metadata(&target).ok().filter(fs::Metadata::is_dir) else {
            continue;
        };
        let first = by_identity.entry((data.dev(), data.ino())).or_insert(target);
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        children.entry(first.clone()).or_default().push(name.to_owned());
    }
    children
}

/// The directory beside the link at `path` that it means. An absolute one in a captured tree, or in another root, would lead out of it.
fn sibling(base: &Path, path: &Path) -> Option<PathBuf> {
    let target = base.join(fs::read_link(path).ok()?.file_name()?);
    (target != path && target.is_dir()).then_some(target)
}

/// Whether there is a regular file, not a link to one.
fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|data| data.is_file())
}

fn unified(path: &Path) -> Hierarchy {
    let text = regular::read(&path.join("cgroup.controllers")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let controllers =
        CONTROLLERS.into_iter().filter(|name| text.split_whitespace().any(|word| word == *name));
    Hierarchy { controllers: controllers.collect(), path: path.to_owned(), version: Version::V2 }
}

fn v1(path: &Path, names: &[String]) -> Hierarchy {
    let is_named = |controller: &str| names.iter().any(|name| name.split(',').any(|word| word == controller));
    let has = |controller: &&str| is_named(controller) || path.join(typical_file(controller)).exists();
    let controllers = CONTROLLERS.into_iter().filter(has).collect();
    Hierarchy { controllers, path: path.to_owned(), version: Version::V1 }
}

/// A file that every v1 cgroup with this controller has.
fn typical_file(controller: &str) -> &'static str {
    match controller {
        "cpu" => "cpu.shares",
        "cpuacct" => "cpuacct.usage",
        "cpuset" => "cpuset.cpus",
        _ => "memory.usage_in_bytes",
    }
}

fn magic(path: &Path) -> Option<FsType> {
    statfs(path).ok().map(|stat| stat.filesystem_type())
}
