//! A host of real cgroups with child processes in them, created and limited through `cgroups-rs`.
//!
//! Everything is below one directory per hierarchy, `<name>-<pid>`, with the layout of a kubelet with the cgroupfs driver.
//! All of it is removed when the host stops, is dropped, or unwinds from a panic; what a killed run left behind is removed
//! by the next run with the same name. The child processes end with their parent, however it ends. The times of load
//! changes are accurate to the start time of a process, some milliseconds.
//!
//! Changes only cgroups below its own directory and its own child processes. Where it may not create cgroups, the error says
//! why. Tests: `real/tests.rs`; they need root and print `skipped: needs root` without it.

mod cgroups;
mod process;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use plimsoll_contract::{Bytes, ContainerId, Cores, Limit, PodUid};
use tokio::sync::broadcast;

use super::layout::{KUBEPODS, class_directory, pod_directory};
use super::{CgroupId, ContainerStart, Host, HostInfo, Limits, LoadChange, NodeSize, PodCgroup, Qos};
use cgroups::{CgroupTree, PROBE};
use process::{Source, Spawner, Workload};

pub use process::WorkloadCommand;

/// A host of real cgroups.
#[derive(Debug)]
pub struct RealHost {
    tree: CgroupTree,
    command: WorkloadCommand,
    started: Instant,
    info: HostInfo,
    changes: broadcast::Sender<LoadChange>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Absent once the host has been stopped.
    spawner: Option<Spawner>,
    pods: BTreeMap<PodUid, Pod>,
}

#[derive(Debug)]
struct Pod {
    cgroup: PodCgroup,
    path: PathBuf,
    containers: BTreeMap<ContainerId, Workload>,
}

impl RealHost {
    /// Whether real cgroups are available here: creates and limits one, and removes it again.
    ///
    /// # Errors
    /// The reason why not.
    pub fn available() -> anyhow::Result<()> {
        let tree = CgroupTree::find(&format!("{PROBE}{:x}", fastrand::u64(..)), std::process::id())?;
        let written = Limits {
            cpu: Limit::Of(Cores(0.5)),
            memory: Limit::Of(Bytes(64 << 20)),
            cpu_request: Some(Cores(0.25)),
        };
        let leaf = Path::new("kubepods/probe");
        let read = tree.create(leaf).and_then(|()| tree.set(leaf, &written)).and_then(|()| tree.get(leaf));
        tree.remove_all();
        let read = read.context("cgroups cannot be created here without root or a delegated subtree")?;
        ensure!(
            (read.cpu, read.memory) == (written.cpu, written.memory),
            "the kernel does not enforce the limits that are written: wrote {written:?}, read {read:?}"
        );
        Ok(())
    }

    /// A host below the directory `<name>-<pid of this process>`; removes what dead runs with this name left behind.
    ///
    /// # Errors
    /// When the directory exists, or cgroups cannot be created here.
    pub fn new(name: &str, command: WorkloadCommand) -> anyhow::Result<RealHost> {
        let tree = CgroupTree::find(name, std::process::id())?;
        tree.remove_leftovers(name);
        ensure!(!tree.exists(), "the cgroup {} exists already", tree.base());
        let host = RealHost {
            info: info(&tree)?,
            tree,
            command,
            started: Instant::now(),
            changes: broadcast::channel(4096).0,
            state: Mutex::new(State { spawner: Some(Spawner::start()?), pods: BTreeMap::new() }),
        };
        for qos in [Qos::Burstable, Qos::BestEffort] {
            host.tree.create(&class_directory(qos))?;
        }
        host.tree.maximize_weight()?;
        Ok(host)
    }

    /// The process ids of the containers of a pod, by container id.
    pub fn pids(&self, pod: &PodUid) -> BTreeMap<ContainerId, u32> {
        let state = self.state();
        let containers = state.pods.get(pod).map(|pod| &pod.containers);
        containers.into_iter().flatten().map(|(id, workload)| (id.clone(), workload.pid())).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while it was locked leaves processes and cgroups that are still listed; `stop` removes them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, cgroup: &CgroupId) -> anyhow::Result<PathBuf> {
        let state = self.state();
        let pod = state.pods.get(&cgroup.pod);
        let pod = pod.with_context(|| format!("there is no pod {} on this host", cgroup.pod))?;
        match &cgroup.container {
            None => Ok(pod.path.clone()),
            Some(id) if pod.containers.contains_key(id) => Ok(pod.path.join(id.as_str())),
            Some(id) => bail!("there is no container {id} on this host"),
        }
    }

    fn start(&self, state: &mut State, uid: &PodUid, start: &ContainerStart) -> anyhow::Result<()> {
        let State { spawner, pods } = state;
        let spawner = spawner.as_ref().context("the host has been stopped: it accepts no more pods")?;
        let pod = pods.get_mut(uid).with_context(|| format!("there is no pod {uid} on this host"))?;
        ensure!(!pod.containers.contains_key(&start.id), "the container {} exists already", start.id);
        let path = pod.path.join(start.id.as_str());
        self.tree.create(&path)?;
        self.tree.set(&path, &start.limits)?;
        let failed = || format!("cannot start the workload of container {}", start.name);
        let mut workload = spawner.spawn(&self.command).with_context(failed)?;
        self.tree.add(&path, workload.pid())?;
        let source = Source {
            namespace: pod.cgroup.name.namespace.to_string(),
            pod: pod.cgroup.name.name.to_string(),
            container: start.name.clone(),
        };
        workload.play(&start.load, source, self.started, self.changes.clone()).with_context(failed)?;
        pod.containers.insert(start.id.clone(), workload);
        Ok(())
    }
}

impl Host for RealHost {
    fn info(&self) -> HostInfo {
        self.info.clone()
    }

    fn create_pod(&self, cgroup: &PodCgroup, limits: &Limits) -> anyhow::Result<()> {
        let mut state = self.state();
        ensure!(state.spawner.is_some(), "the host has been stopped: it accepts no more pods");
        ensure!(!state.pods.contains_key(&cgroup.uid), "the pod {} exists already on this host", cgroup.uid);
        let path = pod_directory(cgroup);
        let pause = path.join(super::new_container_id().as_str());
        let created = self.tree.create(&path).and_then(|()| self.tree.set(&path, limits));
        if let Err(error) = created.and_then(|()| self.tree.create(&pause)) {
            // Nothing incomplete may remain; only the first error is of interest.
            let _ = self.tree.remove(&path);
            return Err(error);
        }
        let pod = Pod { cgroup: cgroup.clone(), path, containers: BTreeMap::new() };
        state.pods.insert(cgroup.uid.clone(), pod);
        Ok(())
    }

    fn remove_pod(&self, uid: &PodUid) -> anyhow::Result<()> {
        let Some(pod) = self.state().pods.remove(uid) else {
            return Ok(());
        };
        let Pod { path, containers, .. } = pod;
        drop(containers);
        self.tree.remove(&path)
    }

    fn start_container(&self, uid: &PodUid, start: &ContainerStart) -> anyhow::Result<()> {
        let mut state = self.state();
        let result = self.start(&mut state, uid, start);
        if result.is_err()
            && let Some(pod) = state.pods.get(uid)
            && !pod.containers.contains_key(&start.id)
        {
            // Nothing incomplete may remain; only the first error is of interest.
            let _ = self.tree.remove(&pod.path.join(start.id.as_str()));
        }
        result
    }

    fn stop_container(&self, uid: &PodUid, id: &ContainerId) -> anyhow::Result<()> {
        let mut state = self.state();
        let Some(pod) = state.pods.get_mut(uid) else {
            return Ok(());
        };
        let Some(workload) = pod.containers.remove(id) else {
            return Ok(());
        };
        drop(workload);
        self.tree.remove(&pod.path.join(id.as_str()))
    }

    fn set_limits(&self, cgroup: &CgroupId, limits: &Limits) -> anyhow::Result<()> {
        self.tree.set(&self.path(cgroup)?, limits)
    }

    fn limits(&self, cgroup: &CgroupId) -> anyhow::Result<Limits> {
        self.tree.get(&self.path(cgroup)?)
    }

    fn ended(&self) -> Vec<(PodUid, ContainerId)> {
        let mut state = self.state();
        let mut ended = Vec::new();
        for (uid, pod) in &mut state.pods {
            let containers =
                pod.containers.iter_mut().filter_map(|(id, child)| child.has_ended().then_some(id));
            ended.extend(containers.map(|id| (uid.clone(), id.clone())));
        }
        ended
    }

    fn changes(&self) -> broadcast::Receiver<LoadChange> {
        self.changes.subscribe()
    }

    fn stop(&self) {
        let mut state = self.state();
        let pods = std::mem::take(&mut state.pods);
        drop(pods);
        if let Some(spawner) = state.spawner.take() {
            drop(spawner);
            self.tree.remove_all();
        }
    }
}

impl Drop for RealHost {
    fn drop(&mut self) {
        self.stop();
    }
}

fn info(tree: &CgroupTree) -> anyhow::Result<HostInfo> {
    let read = |path: &str| fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
    let is_cpu = |line: &&str| {
        line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let cpus = read("/proc/stat")?.lines().filter(is_cpu).count();
    let meminfo = read("/proc/meminfo")?;
    let total = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(HostInfo {
        size: NodeSize {
            cpus: u32::try_from(cpus).unwrap_or(u32::MAX).max(1),
            memory: Bytes(total.unwrap_or_default() * 1024),
        },
        boot: read("/proc/sys/kernel/random/boot_id")?.trim().to_owned(),
        root: PathBuf::from("/"),
        kubepods: Some(format!("{}/{KUBEPODS}", tree.base())),
    })
}

#[cfg(test)]
pub(crate) mod tests;
