//! The cgroups to measure with: pods as a kubelet's cgroupfs driver creates them, below a directory of our own.
//!
//! Real ones if this process may create them (v1 or v2, below `plimsoll-bench-<pid>`), else a tree of plain files;
//! [`CgroupTree::describe`] says which. Every pod has two containers, like a real one with its pause container; every other
//! pod has a limit of its own, and so has its first container. No processes run in them. Writes only to that directory, and
//! removes those that a killed run left.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

const CGROUPS: &str = "/sys/fs/cgroup";
const V1: [&str; 3] = ["cpu", "cpuacct", "memory"];
const PREFIX: &str = "plimsoll-bench-";
const CONTAINERS_PER_POD: usize = 2;

/// What the cgroups are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    V1,
    V2,
    /// Plain files with the names of v2.
    Simulated,
}

/// A pod's or container's cgroup.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Cgroup {
    /// Below each hierarchy's root.
    path: PathBuf,
    pub(crate) container: bool,
    pub(crate) limited: bool,
}

/// Cgroups that exist as long as this value does in the process that created them. Deserialized in another process it only
/// names them.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CgroupTree {
    pub(crate) kind: Kind,
    /// For `--host-root`.
    pub(crate) host_root: PathBuf,
    /// For `--kubepods`.
    pub(crate) kubepods: String,
    pub(crate) cgroups: Vec<Cgroup>,
    /// Why they are simulated.
    pub(crate) because: Option<String>,
    base: PathBuf,
    #[serde(skip)]
    _directory: Option<TempDir>,
}

impl CgroupTree {
    /// Creates `pods` pods with two containers each.
    pub(crate) fn create(pods: usize) -> anyhow::Result<CgroupTree> {
        remove_leftovers();
        let kubepods = format!("{PREFIX}{}/kubepods", process::id());
        let real = |kind| CgroupTree {
            kind,
            host_root: PathBuf::from("/"),
            kubepods: kubepods.clone(),
            cgroups: Vec::new(),
            because: None,
            base: PathBuf::from(CGROUPS),
            _directory: None,
        };
        let kind = if Path::new(CGROUPS).join("cgroup.controllers").exists() { Kind::V2 } else { Kind::V1 };
        let mut tree = real(kind);
        let because = match tree.fill(pods) {
            Ok(()) => return Ok(tree),
            Err(error) => format!("{error:#}"),
        };
        drop(tree);
        let directory =
            temporary_directory(true).context("cannot create a directory for simulated cgroups")?;
        let base = directory.path().join(&CGROUPS[1..]);
        fs::create_dir_all(&base)?;
        fs::write(base.join("cgroup.controllers"), "cpu memory\n")?;
        let mut tree = CgroupTree {
            kind: Kind::Simulated,
            host_root: directory.path().to_owned(),
            kubepods: "kubepods".into(),
            cgroups: Vec::new(),
            because: Some(because),
            base,
            _directory: Some(directory),
        };
        tree.fill(pods).context("cannot create simulated cgroups")?;
        Ok(tree)
    }

    /// The directory of a controller's files of `cgroup`.
    pub(crate) fn directory(&self, cgroup: &Cgroup, controller: &str) -> PathBuf {
        match self.kind {
            Kind::V1 => self.base.join(controller).join(&cgroup.path),
            Kind::V2 | Kind::Simulated => self.base.join(&cgroup.path),
        }
    }

    /// The root of a controller's hierarchy.
    pub(crate) fn hierarchy(&self, controller: &str) -> PathBuf {
        if self.kind == Kind::V1 { self.base.join(controller) } else { self.base.clone() }
    }

    /// A memory cgroup for a process to measure, if cgroups are real.
    pub(crate) fn memory_cgroup(&self, name: &str) -> Option<PathBuf> {
        let path = Path::new(&self.kubepods).with_file_name(name);
        let directory = self.hierarchy("memory").join(path);
        (self.kind != Kind::Simulated && fs::create_dir_all(&directory).is_ok()).then_some(directory)
    }

    pub(crate) fn containers(&self) -> usize {
        self.cgroups.iter().filter(|cgroup| cgroup.container).count()
    }

    /// For the report.
    pub(crate) fn describe(&self) -> String {
        let kind = match self.kind {
            Kind::V1 => "real cgroups (v1)",
            Kind::V2 => "real cgroups (v2)",
            Kind::Simulated => "SIMULATED cgroups (plain files in memory: the kernel's own cost is missing)",
        };
        let pods = self.cgroups.len() - self.containers();
        format!("{} {kind} of containers, in {pods} pods, every other one with limits", self.containers())
    }

    fn fill(&mut self, pods: usize) -> anyhow::Result<()> {
        let class = format!("{}/burstable", self.kubepods);
        self.delegate(&class)?;
        for pod in 0..pods {
            let limited = pod % 2 == 0;
            let path = format!("{class}/pod00000000-5f2a-4c3b-9d8e-{pod:012x}");
            self.add(&path, limited, false)?;
            self.delegate(&path)?;
            for container in 0..CONTAINERS_PER_POD {
                let id = pod * CONTAINERS_PER_POD + container;
                self.add(&format!("{path}/{id:064x}"), limited && container == 0, true)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &str, limited: bool, container: bool) -> anyhow::Result<()> {
        let cgroup = Cgroup { path: path.into(), container, limited };
        for controller in V1 {
            let directory = self.directory(&cgroup, controller);
            fs::create_dir_all(&directory)
                .with_context(|| format!("cannot create {}", directory.display()))?;
        }
        let cpu = self.directory(&cgroup, "cpu");
        let memory = self.directory(&cgroup, "memory");
        match self.kind {
            Kind::V1 if limited => {
                write(&cpu.join("cpu.cfs_quota_us"), "50000")?;
                write(&memory.join("memory.limit_in_bytes"), "268435456")?;
            }
            Kind::V2 if limited => {
                write(&cpu.join("cpu.max"), "50000 100000")?;
                write(&memory.join("memory.max"), "268435456")?;
            }
            Kind::V1 | Kind::V2 => {}
            Kind::Simulated => simulate(&cpu, limited)?,
        }
        self.cgroups.push(cgroup);
        Ok(())
    }

    /// In v2 controllers are enabled one level at a time.
    fn delegate(&self, path: &str) -> anyhow::Result<()> {
        if self.kind != Kind::V2 {
            return Ok(());
        }
        let mut directory = self.base.clone();
        for part in [""].into_iter().chain(path.split('/')) {
            directory.push(part);
            fs::create_dir_all(&directory)
                .with_context(|| format!("cannot create {}", directory.display()))?;
            write(&directory.join("cgroup.subtree_control"), "+cpu +memory")?;
        }
        Ok(())
    }
}

impl Drop for CgroupTree {
    fn drop(&mut self) {
        if self.kind != Kind::Simulated {
            remove_of(process::id());
        }
    }
}

/// A directory that is removed with this value, and by [`remove_of`]; if `in_memory`, then in memory where possible.
pub(crate) fn temporary_directory(in_memory: bool) -> io::Result<TempDir> {
    let root = temporary_roots().into_iter().filter(|_| in_memory).find(|root| root.is_dir());
    let prefix = format!("{PREFIX}{}-", process::id());
    TempDir::with_prefix_in(prefix, root.unwrap_or_else(tempfile::env::temp_dir))
}

fn temporary_roots() -> [PathBuf; 2] {
    ["/dev/shm".into(), tempfile::env::temp_dir()]
}

/// Removes every cgroup and directory that the run with this process id created.
pub(crate) fn remove_of(pid: u32) {
    for root in hierarchy_roots() {
        remove_tree(&root.join(format!("{PREFIX}{pid}")));
    }
    let prefix = format!("{PREFIX}{pid}-");
    for (name, path) in list(&temporary_roots()).filter(|(name, _)| name.starts_with(&prefix)) {
        if let Err(error) = fs::remove_dir_all(&path) {
            println!("cannot remove {name}: {error}");
        }
    }
}

/// Removes the directories of killed runs; nothing else uses such names.
fn remove_leftovers() {
    let roots: Vec<PathBuf> = hierarchy_roots().into_iter().chain(temporary_roots()).collect();
    let pids = list(&roots).filter_map(|(name, _)| {
        let rest = name.strip_prefix(PREFIX)?;
        rest.split('-').next()?.parse::<u32>().ok()
    });
    let dead = |pid: &u32| !Path::new(&format!("/proc/{pid}")).exists();
    pids.filter(dead).collect::<BTreeSet<u32>>().into_iter().for_each(remove_of);
}

fn list(roots: &[PathBuf]) -> impl Iterator<Item = (String, PathBuf)> {
    let entries = roots.iter().filter_map(|root| fs::read_dir(root).ok()).flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
}

fn hierarchy_roots() -> Vec<PathBuf> {
    let base = Path::new(CGROUPS);
    V1.iter().map(|controller| base.join(controller)).chain([base.to_owned()]).collect()
}

/// The files of a cgroup cannot be removed, only its directory.
fn remove_tree(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    // If it fails, the next run tries again.
    let _ = fs::remove_dir(directory);
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn simulate(directory: &Path, limited: bool) -> io::Result<()> {
    let pressure =
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
    let mut stat = String::from(
        "anon 1048576\nfile 4096\nkernel 65536\nshmem 0\ninactive_file 4096\nslab_unreclaimable 512\n",
    );
    for line in 0..40 {
        let _ = writeln!(stat, "workingset_something_{line} 0");
    }
    let (quota, memory) = if limited { ("50000 100000\n", "268435456\n") } else { ("max 100000\n", "max\n") };
    let files = [
        (
            "cpu.stat",
            "usage_usec 1000\nuser_usec 500\nsystem_usec 500\nnr_periods 0\nnr_throttled 0\nthrottled_usec 0\n",
        ),
        ("cpu.max", quota),
        ("cpu.pressure", pressure),
        ("memory.current", "1118208\n"),
        ("memory.max", memory),
        ("memory.stat", &stat),
        ("memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n"),
        ("memory.pressure", pressure),
        ("cgroup.events", "populated 1\nfrozen 0\n"),
    ];
    files.iter().try_for_each(|(name, text)| fs::write(directory.join(name), text))
}
