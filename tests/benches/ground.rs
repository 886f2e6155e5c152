//! The cgroups that are measured on: pods as a kubelet's cgroupfs driver would lay them out, under a directory of our own.
//!
//! Real ones where this process may make them (v1 or v2, below `plimsoll-bench-<pid>`), else a tree of plain files, and
//! [`Ground::describe`] says which. Every pod has two containers, like a real one with its pause container; every other
//! pod has a limit of its own, and so has its first container. Nothing runs in them. Touches nothing but that directory,
//! and what a dead run of ours left beside it.

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
    /// Plain files spelled like v2.
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

/// Cgroups that exist as long as this value does in the process that made them; told to another, it just names them.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ground {
    pub(crate) kind: Kind,
    /// As `--host-root` has it.
    pub(crate) host_root: PathBuf,
    /// As `--kubepods` has it.
    pub(crate) kubepods: String,
    pub(crate) cgroups: Vec<Cgroup>,
    /// Why they are not real.
    pub(crate) because: Option<String>,
    base: PathBuf,
    #[serde(skip)]
    _tree: Option<TempDir>,
}

impl Ground {
    /// `pods` pods with two containers each.
    pub(crate) fn make(pods: usize) -> anyhow::Result<Ground> {
        remove_leftovers();
        let kubepods = format!("{PREFIX}{}/kubepods", process::id());
        let real = |kind| Ground {
            kind,
            host_root: PathBuf::from("/"),
            kubepods: kubepods.clone(),
            cgroups: Vec::new(),
            because: None,
            base: PathBuf::from(CGROUPS),
            _tree: None,
        };
        let kind = if Path::new(CGROUPS).join("cgroup.controllers").exists() { Kind::V2 } else { Kind::V1 };
        let mut ground = real(kind);
        let because = match ground.fill(pods) {
            Ok(()) => return Ok(ground),
            Err(error) => format!("{error:#}"),
        };
        drop(ground);
        let tree = scratch(true).context("cannot make a directory for simulated cgroups")?;
        let base = tree.path().join(&CGROUPS[1..]);
        fs::create_dir_all(&base)?;
        fs::write(base.join("cgroup.controllers"), "cpu memory\n")?;
        let mut ground = Ground {
            kind: Kind::Simulated,
            host_root: tree.path().to_owned(),
            kubepods: "kubepods".into(),
            cgroups: Vec::new(),
            because: Some(because),
            base,
            _tree: Some(tree),
        };
        ground.fill(pods).context("cannot make simulated cgroups")?;
        Ok(ground)
    }

    /// Where the files of a controller of `cgroup` are.
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

    /// A memory cgroup for a process that is measured, where cgroups are real.
    pub(crate) fn cell(&self, name: &str) -> Option<PathBuf> {
        let path = Path::new(&self.kubepods).with_file_name(name);
        let directory = self.hierarchy("memory").join(path);
        (self.kind != Kind::Simulated && fs::create_dir_all(&directory).is_ok()).then_some(directory)
    }

    pub(crate) fn containers(&self) -> usize {
        self.cgroups.iter().filter(|cgroup| cgroup.container).count()
    }

    /// In words.
    pub(crate) fn describe(&self) -> String {
        let what = match self.kind {
            Kind::V1 => "real cgroups (v1)",
            Kind::V2 => "real cgroups (v2)",
            Kind::Simulated => "SIMULATED cgroups (plain files in memory: the kernel's own cost is missing)",
        };
        let pods = self.cgroups.len() - self.containers();
        format!("{} {what} of containers, in {pods} pods, every other one with limits", self.containers())
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
            fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
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

    /// v2 hands controllers down one level at a time.
    fn delegate(&self, path: &str) -> anyhow::Result<()> {
        if self.kind != Kind::V2 {
            return Ok(());
        }
        let mut directory = self.base.clone();
        for part in [""].into_iter().chain(path.split('/')) {
            directory.push(part);
            fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
            write(&directory.join("cgroup.subtree_control"), "+cpu +memory")?;
        }
        Ok(())
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if self.kind != Kind::Simulated {
            remove_of(process::id());
        }
    }
}

/// A directory that is removed with this value, and by [`remove_of`]; in memory if it can be and should be.
pub(crate) fn scratch(in_memory: bool) -> io::Result<TempDir> {
    let place = scratches().into_iter().filter(|_| in_memory).find(|place| place.is_dir());
    let prefix = format!("{PREFIX}{}-", process::id());
    TempDir::with_prefix_in(prefix, place.unwrap_or_else(tempfile::env::temp_dir))
}

fn scratches() -> [PathBuf; 2] {
    ["/dev/shm".into(), tempfile::env::temp_dir()]
}

/// Removes every cgroup and directory that the run with this process id made.
pub(crate) fn remove_of(pid: u32) {
    for root in roots() {
        remove_tree(&root.join(format!("{PREFIX}{pid}")));
    }
    let prefix = format!("{PREFIX}{pid}-");
    for (name, path) in listed(&scratches()).filter(|(name, _)| name.starts_with(&prefix)) {
        if let Err(error) = fs::remove_dir_all(&path) {
            println!("{name} is left behind: {error}");
        }
    }
}

/// Runs that were killed could not clean up; nobody else has directories of this name.
fn remove_leftovers() {
    let places: Vec<PathBuf> = roots().into_iter().chain(scratches()).collect();
    let pids = listed(&places).filter_map(|(name, _)| {
        let rest = name.strip_prefix(PREFIX)?;
        rest.split('-').next()?.parse::<u32>().ok()
    });
    let dead = |pid: &u32| !Path::new(&format!("/proc/{pid}")).exists();
    pids.filter(dead).collect::<BTreeSet<u32>>().into_iter().for_each(remove_of);
}

fn listed(places: &[PathBuf]) -> impl Iterator<Item = (String, PathBuf)> {
    let entries = places.iter().filter_map(|place| fs::read_dir(place).ok()).flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
}

fn roots() -> Vec<PathBuf> {
    let base = Path::new(CGROUPS);
    V1.iter().map(|controller| base.join(controller)).chain([base.to_owned()]).collect()
}

/// A cgroup's files cannot be removed, but go with its directory.
fn remove_tree(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    // What is left shows in the next run, which tries again.
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
    ];
    files.iter().try_for_each(|(name, text)| fs::write(directory.join(name), text))
}
