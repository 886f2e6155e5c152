//! A host that is a directory tree: files of cgroup v2 whose counters follow the load scripts.
//!
//! [`SimulatedHost::new`] creates the tree; [`SimulatedHost::advance`] sets the time;
//! [`SimulatedHost::follow_the_clock`] advances it with the real time, every 50 ms, until the host stops. Usage is the
//! exact integral of the script, limited by the quota of each 100 ms period, so a reader finds the values of the script
//! to within one tick.
//!
//! Writes only to the directory it is given, which it empties when it stops. Tests: `simulated/tests.rs`.

mod account;
mod files;
mod machine;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use plimsoll_contract::{ContainerId, PodUid, Resource};
use tokio::sync::broadcast;

use super::layout::{class_directory, pod_directory};
use super::{CgroupId, ContainerStart, Host, HostInfo, Limits, LoadChange, NodeSize, PodCgroup, Qos};
use crate::load::Load;
use account::{Container, Meter, Pod};

/// How often a host that follows the clock advances.
const TICK: Duration = Duration::from_millis(50);

/// A host that is a directory tree.
pub struct SimulatedHost {
    shared: Arc<Shared>,
    ticker: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    root: PathBuf,
    size: NodeSize,
    boot: String,
    changes: broadcast::Sender<LoadChange>,
    stopped: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    now: Duration,
    pods: BTreeMap<PodUid, Pod>,
    /// Content of each file, so that only changed files are written.
    written: BTreeMap<PathBuf, String>,
}

impl SimulatedHost {
    /// Creates a host without pods below `root`, which is created if it does not exist.
    ///
    /// # Errors
    /// When the tree cannot be written.
    pub fn new(root: &Path, size: NodeSize) -> anyhow::Result<Self> {
        let boot = machine::new_boot_id();
        machine::write(root, size, &boot)?;
        let shared = Shared {
            root: root.to_owned(),
            size,
            boot,
            changes: broadcast::channel(4096).0,
            stopped: AtomicBool::new(false),
            state: Mutex::default(),
        };
        for qos in [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort] {
            let directory = shared.cgroup(&class_directory(qos));
            fs::create_dir_all(&directory)
                .with_context(|| format!("cannot create {}", directory.display()))?;
        }
        let path = shared.cgroup(Path::new("cgroup.controllers"));
        fs::write(&path, "cpuset cpu io memory pids\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(SimulatedHost { shared: Arc::new(shared), ticker: Mutex::default() })
    }

    /// Advances every counter to the time `to`, counted from the start of the host; a past time changes nothing.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn advance(&self, to: Duration) -> anyhow::Result<()> {
        self.shared.advance(to)
    }

    /// Replaces the load of the containers of a pod; containers that start later follow their own scripts again. Times
    /// in the load count from the start of each container.
    ///
    /// # Errors
    /// When there is no such pod, or the host has been stopped.
    pub fn set_load(&self, pod: &PodUid, load: &Load) -> anyhow::Result<()> {
        let mut state = self.shared.running()?;
        for container in state.pod_mut(pod)?.containers.values_mut() {
            container.load = load.clone();
        }
        Ok(())
    }

    /// Advances with the real time from now on, on a thread of its own that ends when the host stops.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn follow_the_clock(&self) -> anyhow::Result<()> {
        let shared = Arc::clone(&self.shared);
        let begin = shared.state().now;
        let thread =
            std::thread::Builder::new().name("simulated-host".into()).spawn(move || shared.tick(begin));
        let thread = thread.context("cannot start the thread of the simulated host")?;
        *self.ticker.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(())
    }
}

impl State {
    fn pod_mut(&mut self, uid: &PodUid) -> anyhow::Result<&mut Pod> {
        self.pods.get_mut(uid).with_context(|| format!("there is no pod {uid} on this host"))
    }

    fn limits_mut(&mut self, cgroup: &CgroupId) -> anyhow::Result<&mut Limits> {
        let pod = self.pod_mut(&cgroup.pod)?;
        match &cgroup.container {
            None => Ok(&mut pod.limits),
            Some(id) => {
                let container = pod.containers.get_mut(id);
                Ok(&mut container.with_context(|| format!("there is no container {id} on this host"))?.limits)
            }
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // The state is plain numbers: a panic while it was locked leaves nothing inconsistent that matters.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> anyhow::Result<MutexGuard<'_, State>> {
        let state = self.state();
        ensure!(!self.stopped.load(Ordering::Acquire), "the host has been stopped: it accepts no more pods");
        Ok(state)
    }

    /// A path below the hierarchy.
    fn cgroup(&self, path: &Path) -> PathBuf {
        self.root.join("sys/fs/cgroup").join(path)
    }

    fn tick(&self, begin: Duration) {
        let started = Instant::now();
        while !self.stopped.load(Ordering::Acquire) {
            if let Err(error) = self.advance(begin + started.elapsed()) {
                let error = format!("{error:#}");
                tracing::error!(
                    error,
                    "the simulated host cannot write its files; its counters no longer advance"
                );
                return;
            }
            std::thread::sleep(TICK);
        }
    }

    fn advance(&self, to: Duration) -> anyhow::Result<()> {
        let Ok(mut state) = self.running() else {
            return Ok(());
        };
        while state.now < to {
            let from = state.now;
            let end = account::slice_end(from, to);
            account::advance(&mut state.pods, self.size.cpus, from, end);
            state.now = end;
            self.publish_changes(&mut state);
        }
        self.write(&mut state)
    }

    fn publish_changes(&self, state: &mut State) {
        let now = state.now;
        for pod in state.pods.values_mut() {
            for container in pod.containers.values_mut() {
                let t = now.saturating_sub(container.started);
                let (cpu, memory) = (container.load.cpu.at(t), container.load.memory.at(t));
                let cpu = container.published_cpu.accepts(cpu).then_some((Resource::Cpu, cpu));
                let memory = container.published_memory.accepts(memory).then_some((Resource::Memory, memory));
                for (resource, value) in cpu.into_iter().chain(memory) {
                    // There may be no receiver.
                    let _ = self.changes.send(LoadChange {
                        namespace: pod.cgroup.name.namespace.to_string(),
                        pod: pod.cgroup.name.name.to_string(),
                        container: container.name.clone(),
                        resource,
                        value,
                        at: now,
                    });
                }
            }
        }
    }

    /// Writes every file whose content changed.
    fn write(&self, state: &mut State) -> anyhow::Result<()> {
        let State { pods, written, .. } = state;
        for pod in pods.values() {
            let directory = self.cgroup(&pod_directory(&pod.cgroup));
            write_cgroup(written, &directory, &pod.limits, &pod.meter)?;
            let pause = directory.join(pod.pause.as_str());
            write_cgroup(written, &pause, &Limits::NONE, &Meter::default())?;
            for (id, container) in &pod.containers {
                write_cgroup(written, &directory.join(id.as_str()), &container.limits, &container.meter)?;
            }
        }
        Ok(())
    }
}

fn write_cgroup(
    written: &mut BTreeMap<PathBuf, String>,
    directory: &Path,
    limits: &Limits,
    meter: &Meter,
) -> anyhow::Result<()> {
    for (name, content) in files::files(limits, meter) {
        let path = directory.join(name);
        if written.get(&path) != Some(&content) {
            files::write_in_place(&path, content.as_bytes())
                .with_context(|| format!("cannot write {}", path.display()))?;
            written.insert(path, content);
        }
    }
    Ok(())
}

fn create_directory(directory: &Path) -> anyhow::Result<()> {
    fs::create_dir(directory).with_context(|| format!("cannot create {}", directory.display()))
}

fn remove_directory(written: &mut BTreeMap<PathBuf, String>, directory: &Path) -> anyhow::Result<()> {
    written.retain(|path, _| !path.starts_with(directory));
    files::remove_directory(directory).with_context(|| format!("cannot remove {}", directory.display()))
}

impl Host for SimulatedHost {
    fn info(&self) -> HostInfo {
        let Shared { size, boot, root, .. } = self.shared.as_ref();
        HostInfo { size: *size, boot: boot.clone(), root: root.clone(), kubepods: None }
    }

    fn create_pod(&self, cgroup: &PodCgroup, limits: &Limits) -> anyhow::Result<()> {
        let mut state = self.shared.running()?;
        if state.pods.contains_key(&cgroup.uid) {
            bail!("the pod {} exists already on this host", cgroup.uid);
        }
        let (pause, directory) = (super::new_container_id(), self.shared.cgroup(&pod_directory(cgroup)));
        create_directory(&directory)?;
        create_directory(&directory.join(pause.as_str()))?;
        let pod = Pod {
            cgroup: cgroup.clone(),
            limits: *limits,
            meter: Meter::default(),
            pause,
            containers: BTreeMap::new(),
        };
        state.pods.insert(cgroup.uid.clone(), pod);
        self.shared.write(&mut state)
    }

    fn remove_pod(&self, uid: &PodUid) -> anyhow::Result<()> {
        let mut state = self.shared.running()?;
        let Some(pod) = state.pods.remove(uid) else {
            return Ok(());
        };
        remove_directory(&mut state.written, &self.shared.cgroup(&pod_directory(&pod.cgroup)))
    }

    fn start_container(&self, uid: &PodUid, start: &ContainerStart) -> anyhow::Result<()> {
        let mut state = self.shared.running()?;
        let now = state.now;
        let pod = state.pod_mut(uid)?;
        if pod.containers.contains_key(&start.id) {
            bail!("the container {} exists already on this host", start.id);
        }
        create_directory(&self.shared.cgroup(&pod_directory(&pod.cgroup)).join(start.id.as_str()))?;
        let container = Container {
            name: start.name.clone(),
            limits: start.limits,
            load: start.load.clone(),
            started: now,
            meter: Meter::default(),
            published_cpu: Default::default(),
            published_memory: Default::default(),
        };
        pod.containers.insert(start.id.clone(), container);
        self.shared.write(&mut state)
    }

    fn stop_container(&self, uid: &PodUid, id: &ContainerId) -> anyhow::Result<()> {
        let mut state = self.shared.running()?;
        let Some(pod) = state.pods.get_mut(uid) else {
            return Ok(());
        };
        if pod.containers.remove(id).is_none() {
            return Ok(());
        }
        let directory = self.shared.cgroup(&pod_directory(&pod.cgroup)).join(id.as_str());
        remove_directory(&mut state.written, &directory)
    }

    fn set_limits(&self, cgroup: &CgroupId, limits: &Limits) -> anyhow::Result<()> {
        let mut state = self.shared.running()?;
        *state.limits_mut(cgroup)? = *limits;
        self.shared.write(&mut state)
    }

    fn limits(&self, cgroup: &CgroupId) -> anyhow::Result<Limits> {
        self.shared.running()?.limits_mut(cgroup).copied()
    }

    fn ended(&self) -> Vec<(PodUid, ContainerId)> {
        Vec::new()
    }

    fn changes(&self) -> broadcast::Receiver<LoadChange> {
        self.shared.changes.subscribe()
    }

    fn stop(&self) {
        let first = !self.shared.stopped.swap(true, Ordering::AcqRel);
        let ticker = self.ticker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = ticker {
            // A thread that panicked has nothing left to clean up.
            let _ = thread.join();
        }
        if first {
            let _locked = self.shared.state();
            for name in ["sys", "proc"] {
                let path = self.shared.root.join(name);
                if let Err(error) = files::remove_directory(&path) {
                    tracing::warn!(path = %path.display(), %error, "a directory of the simulated host could not be removed");
                }
            }
        }
    }
}

impl Drop for SimulatedHost {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests;
