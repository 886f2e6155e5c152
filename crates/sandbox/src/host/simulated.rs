//! A host that is a directory tree: cgroups as files whose counters advance by the load scripts.
//!
//! [`SimulatedHost::new`] lays the tree out; [`SimulatedHost::advance`] moves the time to where a test wants it;
//! [`SimulatedHost::follow_the_clock`] moves it with the real time, every 50 ms, until the host stops. Usage is the
//! exact integral of the script, cut by quotas per 100 ms period, so a reader must find what the script says to within
//! one tick.
//!
//! Touches only the directory it is given, which it empties when it stops. Proof: `simulated/tests.rs`.

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

use plimsoll_contract::{ContainerId, PodUid, Resource};
use tokio::sync::broadcast;

use super::layout::{Hierarchy, Layout};
use super::{ContainerStart, Host, HostError, HostFacts, Limits, LoadChange, NodeSize, Place, PodSlot, Qos};
use crate::load::Load;
use account::{Container, Meter, Pod};

/// How often a host that follows the clock moves.
const TICK: Duration = Duration::from_millis(50);

/// A host that is a directory tree.
pub struct SimulatedHost {
    shared: Arc<Shared>,
    ticker: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    root: PathBuf,
    layout: Layout,
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
    /// What each file holds, so that only what changed is written.
    written: BTreeMap<PathBuf, String>,
}

impl SimulatedHost {
    /// Lays out a host without pods below `root`, which is created if it is not there.
    ///
    /// # Errors
    /// When the tree cannot be written.
    pub fn new(root: &Path, layout: Layout, size: NodeSize) -> Result<Self, HostError> {
        let boot = machine::new_boot_id();
        machine::write(root, size, &boot)?;
        let shared = Shared {
            root: root.to_owned(),
            layout,
            size,
            boot,
            changes: broadcast::channel(4096).0,
            stopped: AtomicBool::new(false),
            state: Mutex::default(),
        };
        shared.lay_out_hierarchies()?;
        Ok(SimulatedHost { shared: Arc::new(shared), ticker: Mutex::default() })
    }

    /// Moves every counter forward to `to`, on the host's clock; a time that has passed changes nothing.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn advance(&self, to: Duration) -> Result<(), HostError> {
        self.shared.advance(to)
    }

    /// From now on the containers of a pod want this, in place of what their scripts say; a container that starts later
    /// follows its own script again. Times in the load count from the start of each container.
    ///
    /// # Errors
    /// When there is no such pod, or the host has stopped.
    pub fn set_load(&self, pod: &PodUid, load: &Load) -> Result<(), HostError> {
        let mut state = self.shared.running()?;
        let pod = state.pods.get_mut(pod).ok_or_else(|| HostError::no_pod(pod))?;
        for container in pod.containers.values_mut() {
            container.load = load.clone();
        }
        Ok(())
    }

    /// From now on moves with the real time, on a thread of its own that ends when the host stops.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn follow_the_clock(&self) -> Result<(), HostError> {
        let shared = Arc::clone(&self.shared);
        let begin = shared.state().now;
        let thread =
            std::thread::Builder::new().name("simulated-host".into()).spawn(move || shared.tick(begin));
        let thread = thread.map_err(HostError::io("start the thread of", &self.shared.root))?;
        *self.ticker.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(())
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // The state is plain numbers: a panic while it was held leaves nothing half done that matters.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> Result<MutexGuard<'_, State>, HostError> {
        let state = self.state();
        if self.stopped.load(Ordering::Acquire) { Err(HostError::Stopped) } else { Ok(state) }
    }

    fn cgroups(&self) -> PathBuf {
        self.root.join("sys/fs/cgroup")
    }

    /// The directory of `path` in every tree.
    fn directories(&self, path: &Path) -> impl Iterator<Item = (&'static str, PathBuf)> {
        let (root, path) = (self.cgroups(), path.to_owned());
        files::trees(self.layout.hierarchy).iter().map(move |tree| (*tree, root.join(tree).join(&path)))
    }

    fn lay_out_hierarchies(&self) -> Result<(), HostError> {
        for qos in [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort] {
            for (_, directory) in self.directories(&self.layout.driver.class(qos)) {
                fs::create_dir_all(&directory).map_err(HostError::io("create", &directory))?;
            }
        }
        if self.layout.hierarchy == Hierarchy::V2 {
            let path = self.cgroups().join("cgroup.controllers");
            fs::write(&path, "cpuset cpu io memory pids\n").map_err(HostError::io("write", &path))?;
        }
        Ok(())
    }

    fn tick(&self, begin: Duration) {
        let started = Instant::now();
        while !self.stopped.load(Ordering::Acquire) {
            if let Err(error) = self.advance(begin + started.elapsed()) {
                tracing::error!(%error, "the simulated host cannot write its files and stands still");
                return;
            }
            std::thread::sleep(TICK);
        }
    }

    fn advance(&self, to: Duration) -> Result<(), HostError> {
        let Ok(mut state) = self.running() else {
            return Ok(());
        };
        while state.now < to {
            let from = state.now;
            let end = account::slice_end(from, to);
            account::advance(&mut state.pods, self.size.cpus, from, end);
            state.now = end;
            self.tell_changes(&mut state);
        }
        self.write(&mut state)
    }

    fn tell_changes(&self, state: &mut State) {
        let now = state.now;
        for pod in state.pods.values_mut() {
            for container in pod.containers.values_mut() {
                let t = now.saturating_sub(container.started);
                let (cpu, memory) = (container.load.cpu.at(t), container.load.memory.at(t));
                let cpu = container.told_cpu.tells(cpu).then_some((Resource::Cpu, cpu));
                let memory = container.told_memory.tells(memory).then_some((Resource::Memory, memory));
                for (resource, value) in cpu.into_iter().chain(memory) {
                    // Nobody may listen.
                    let _ = self.changes.send(LoadChange {
                        namespace: pod.slot.name.namespace.to_string(),
                        pod: pod.slot.name.name.to_string(),
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
    fn write(&self, state: &mut State) -> Result<(), HostError> {
        let State { pods, written, .. } = state;
        for pod in pods.values() {
            let path = self.layout.driver.pod(&pod.slot);
            self.write_group(written, &path, &pod.limits, &pod.meter)?;
            let pause = path.join(self.layout.driver.container(&pod.pause));
            self.write_group(written, &pause, &Limits::NONE, &Meter::default())?;
            for (id, container) in &pod.containers {
                let path = path.join(self.layout.driver.container(id));
                self.write_group(written, &path, &container.limits, &container.meter)?;
            }
        }
        Ok(())
    }

    fn write_group(
        &self,
        written: &mut BTreeMap<PathBuf, String>,
        path: &Path,
        limits: &Limits,
        meter: &Meter,
    ) -> Result<(), HostError> {
        for (tree, directory) in self.directories(path) {
            for (name, content) in files::files(tree, limits, meter) {
                let path = directory.join(name);
                if written.get(&path) != Some(&content) {
                    files::write_in_place(&path, content.as_bytes())
                        .map_err(HostError::io("write", &path))?;
                    written.insert(path, content);
                }
            }
        }
        Ok(())
    }

    fn make_directories(&self, path: &Path) -> Result<(), HostError> {
        for (_, directory) in self.directories(path) {
            fs::create_dir(&directory).map_err(HostError::io("create", &directory))?;
        }
        Ok(())
    }

    fn remove_directories(
        &self,
        written: &mut BTreeMap<PathBuf, String>,
        path: &Path,
    ) -> Result<(), HostError> {
        for (_, directory) in self.directories(path) {
            written.retain(|path, _| !path.starts_with(&directory));
            files::remove_directory(&directory).map_err(HostError::io("remove", &directory))?;
        }
        Ok(())
    }
}

impl Host for SimulatedHost {
    fn facts(&self) -> HostFacts {
        let Shared { size, boot, root, .. } = self.shared.as_ref();
        HostFacts { size: *size, boot: boot.clone(), root: root.clone(), kubepods: None, real: false }
    }

    fn create_pod(&self, slot: &PodSlot, limits: &Limits) -> Result<(), HostError> {
        let mut state = self.shared.running()?;
        if state.pods.contains_key(&slot.uid) {
            return Err(HostError::Taken { what: "pod", id: slot.uid.to_string() });
        }
        let (pause, path) = (super::new_container_id(), self.shared.layout.driver.pod(slot));
        self.shared.make_directories(&path)?;
        self.shared.make_directories(&path.join(self.shared.layout.driver.container(&pause)))?;
        let pod = Pod {
            slot: slot.clone(),
            limits: *limits,
            meter: Meter::default(),
            pause,
            containers: BTreeMap::new(),
        };
        state.pods.insert(slot.uid.clone(), pod);
        self.shared.write(&mut state)
    }

    fn remove_pod(&self, uid: &PodUid) -> Result<(), HostError> {
        let mut state = self.shared.running()?;
        let Some(pod) = state.pods.remove(uid) else {
            return Ok(());
        };
        self.shared.remove_directories(&mut state.written, &self.shared.layout.driver.pod(&pod.slot))
    }

    fn start_container(&self, uid: &PodUid, start: &ContainerStart) -> Result<(), HostError> {
        let mut state = self.shared.running()?;
        let now = state.now;
        let pod = state.pods.get_mut(uid).ok_or_else(|| HostError::no_pod(uid))?;
        if pod.containers.contains_key(&start.id) {
            return Err(HostError::Taken { what: "container", id: start.id.to_string() });
        }
        let driver = self.shared.layout.driver;
        self.shared.make_directories(&driver.pod(&pod.slot).join(driver.container(&start.id)))?;
        let container = Container {
            name: start.name.clone(),
            limits: start.limits,
            load: start.load.clone(),
            started: now,
            meter: Meter::default(),
            told_cpu: Default::default(),
            told_memory: Default::default(),
        };
        pod.containers.insert(start.id.clone(), container);
        self.shared.write(&mut state)
    }

    fn stop_container(&self, uid: &PodUid, id: &ContainerId) -> Result<(), HostError> {
        let mut state = self.shared.running()?;
        let driver = self.shared.layout.driver;
        let Some(pod) = state.pods.get_mut(uid) else {
            return Ok(());
        };
        if pod.containers.remove(id).is_none() {
            return Ok(());
        }
        let path = driver.pod(&pod.slot).join(driver.container(id));
        self.shared.remove_directories(&mut state.written, &path)
    }

    fn set_limits(&self, place: &Place, limits: &Limits) -> Result<(), HostError> {
        let mut state = self.shared.running()?;
        let pod = state.pods.get_mut(&place.pod).ok_or_else(|| HostError::no_pod(&place.pod))?;
        let slot = match &place.container {
            None => &mut pod.limits,
            Some(id) => &mut pod.containers.get_mut(id).ok_or_else(|| HostError::no_container(id))?.limits,
        };
        *slot = *limits;
        self.shared.write(&mut state)
    }

    fn limits(&self, place: &Place) -> Result<Limits, HostError> {
        let state = self.shared.running()?;
        let pod = state.pods.get(&place.pod).ok_or_else(|| HostError::no_pod(&place.pod))?;
        match &place.container {
            None => Ok(pod.limits),
            Some(id) => pod.containers.get(id).map(|c| c.limits).ok_or_else(|| HostError::no_container(id)),
        }
    }

    fn ended(&self) -> Vec<(PodUid, ContainerId)> {
        Vec::new()
    }

    fn changes(&self) -> broadcast::Receiver<LoadChange> {
        self.shared.changes.subscribe()
    }

    fn elapsed(&self) -> Duration {
        self.shared.state().now
    }

    fn stop(&self) {
        let first = !self.shared.stopped.swap(true, Ordering::AcqRel);
        let ticker = self.ticker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = ticker {
            // A thread that panicked has nothing left to clean up.
            let _ = thread.join();
        }
        if first {
            let _held = self.shared.state();
            for name in ["sys", "proc"] {
                let path = self.shared.root.join(name);
                if let Err(error) = files::remove_directory(&path) {
                    tracing::warn!(path = %path.display(), %error, "a part of the simulated host could not be removed");
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
