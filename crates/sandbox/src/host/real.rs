//! A host of real cgroups with processes of our own in them, created and limited through `cgroups-rs`.
//!
//! Everything lives under one directory per hierarchy, `<name>-<pid>`, laid out as by a kubelet with the cgroupfs driver.
//! All of it is removed when the host stops, is dropped, or unwinds from a panic; what a killed run left behind is removed
//! by the next one of the same name. The processes end with their parent, however it ends. The times of their changes
//! are exact to what a process takes to start, some milliseconds.
//!
//! Touches cgroups below its own directory and its own children, nothing else. Refuses, with the reason, where it may not
//! create cgroups. Proof: `real/tests.rs`, run as root (without root they say `skipped: needs root`).

mod child;
mod group;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use plimsoll_contract::{Bytes, ContainerId, Cores, Limit, PodUid};
use tokio::sync::broadcast;

use super::layout::Driver;
use super::{ContainerStart, Host, HostError, HostFacts, Limits, LoadChange, NodeSize, Place, PodSlot, Qos};
pub use child::Worker;
use child::{Identity, Nursery, Workload};
use group::{Grove, PROBE};

const DRIVER: Driver = Driver::Cgroupfs;

/// Why there can be no real host here.
#[derive(Debug, thiserror::Error)]
pub enum WhyNot {
    /// A controller's hierarchy is not mounted.
    #[error("the hierarchy of the cgroup controller `{controller}` is not mounted")]
    NoHierarchy {
        /// Its name.
        controller: &'static str,
    },
    /// Neither the hierarchy nor the cgroup above our own is ours to write.
    #[error(
        "neither the cgroup hierarchy nor {cgroup:?} in it may be written: be root, or have the subtree delegated"
    )]
    NotDelegated {
        /// The cgroup above our own.
        cgroup: String,
    },
    /// A cgroup could not be created or limited: not root, no delegated subtree, or processes in the root cgroup of v2.
    #[error("cgroups cannot be created and limited here ({0}): it takes root, or a delegated subtree")]
    Refused(#[from] HostError),
    /// The kernel took a limit and enforces another.
    #[error("the kernel does not enforce what is written: asked for {asked:?}, reads {reads:?}")]
    NotEnforced {
        /// What was written.
        asked: Limits,
        /// What was read back.
        reads: Limits,
    },
}

/// A host of real cgroups.
#[derive(Debug)]
pub struct RealHost {
    grove: Grove,
    worker: Worker,
    started: Instant,
    facts: HostFacts,
    changes: broadcast::Sender<LoadChange>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Absent once the host has stopped.
    nursery: Option<Nursery>,
    pods: BTreeMap<PodUid, Pod>,
}

#[derive(Debug)]
struct Pod {
    slot: PodSlot,
    path: PathBuf,
    containers: BTreeMap<ContainerId, Workload>,
}

impl RealHost {
    /// Whether a real host can be had here: tries it out, with a cgroup of its own that is gone afterwards.
    ///
    /// # Errors
    /// The reason why not.
    pub fn available() -> Result<(), WhyNot> {
        let grove = Grove::find(&format!("{PROBE}{:x}", fastrand::u64(..)), std::process::id())?;
        let asked = Limits {
            cpu: Limit::Of(Cores(0.5)),
            memory: Limit::Of(Bytes(64 << 20)),
            cpu_request: Some(Cores(0.25)),
        };
        let leaf = Path::new("kubepods/probe");
        let reads = grove.create(leaf).and_then(|()| grove.set(leaf, &asked)).and_then(|()| grove.get(leaf));
        grove.remove_all();
        let reads = reads?;
        if (reads.cpu, reads.memory) == (asked.cpu, asked.memory) {
            Ok(())
        } else {
            Err(WhyNot::NotEnforced { asked, reads })
        }
    }

    /// A host under the directory `<name>-<pid of this process>`; removes what dead runs of this name left behind.
    ///
    /// # Errors
    /// When the directory exists, or cgroups cannot be created here.
    pub fn new(name: &str, worker: Worker) -> Result<RealHost, WhyNot> {
        let grove = Grove::find(name, std::process::id())?;
        grove.remove_leftovers(name);
        if grove.exists() {
            return Err(HostError::Taken { what: "directory", id: grove.base().to_owned() }.into());
        }
        let facts = facts(&grove)?;
        let nursery =
            Nursery::open().map_err(HostError::io("start the thread of", Path::new("the workloads")))?;
        let host = RealHost {
            grove,
            worker,
            started: Instant::now(),
            facts,
            changes: broadcast::channel(4096).0,
            state: Mutex::new(State { nursery: Some(nursery), pods: BTreeMap::new() }),
        };
        for qos in [Qos::Burstable, Qos::BestEffort] {
            host.grove.create(&DRIVER.class(qos))?;
        }
        host.grove.favor()?;
        Ok(host)
    }

    /// The process ids of the containers of a pod, by container id.
    pub fn pids(&self, pod: &PodUid) -> BTreeMap<ContainerId, u32> {
        let state = self.state();
        let containers = state.pods.get(pod).map(|pod| &pod.containers);
        containers.into_iter().flatten().map(|(id, workload)| (id.clone(), workload.pid())).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while it was held leaves processes and cgroups that are still listed, and are removed by `stop`.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, place: &Place) -> Result<PathBuf, HostError> {
        let state = self.state();
        let pod = state.pods.get(&place.pod).ok_or_else(|| HostError::no_pod(&place.pod))?;
        match &place.container {
            None => Ok(pod.path.clone()),
            Some(id) if pod.containers.contains_key(id) => Ok(pod.path.join(DRIVER.container(id))),
            Some(id) => Err(HostError::no_container(id)),
        }
    }

    fn start(&self, state: &mut State, uid: &PodUid, start: &ContainerStart) -> Result<(), HostError> {
        let State { nursery, pods } = state;
        let nursery = nursery.as_ref().ok_or(HostError::Stopped)?;
        let pod = pods.get_mut(uid).ok_or_else(|| HostError::no_pod(uid))?;
        if pod.containers.contains_key(&start.id) {
            return Err(HostError::Taken { what: "container", id: start.id.to_string() });
        }
        let path = pod.path.join(DRIVER.container(&start.id));
        self.grove.create(&path)?;
        self.grove.set(&path, &start.limits)?;
        let mut workload = nursery.start(&self.worker, &start.name)?;
        self.grove.add(&path, workload.pid())?;
        let identity = Identity {
            namespace: pod.slot.name.namespace.to_string(),
            pod: pod.slot.name.name.to_string(),
            container: start.name.clone(),
        };
        workload
            .play(&start.load, identity, self.started, self.changes.clone())
            .map_err(|source| HostError::Workload { container: start.name.clone(), source })?;
        pod.containers.insert(start.id.clone(), workload);
        Ok(())
    }
}

impl Host for RealHost {
    fn facts(&self) -> HostFacts {
        self.facts.clone()
    }

    fn create_pod(&self, slot: &PodSlot, limits: &Limits) -> Result<(), HostError> {
        let mut state = self.state();
        if state.nursery.is_none() {
            return Err(HostError::Stopped);
        }
        if state.pods.contains_key(&slot.uid) {
            return Err(HostError::Taken { what: "pod", id: slot.uid.to_string() });
        }
        let path = DRIVER.pod(slot);
        let pause = path.join(DRIVER.container(&super::new_container_id()));
        let created = self.grove.create(&path).and_then(|()| self.grove.set(&path, limits));
        if let Err(error) = created.and_then(|()| self.grove.create(&pause)) {
            // What is half there must not stay; the first error is the one that tells.
            let _ = self.grove.remove(&path);
            return Err(error);
        }
        state.pods.insert(slot.uid.clone(), Pod { slot: slot.clone(), path, containers: BTreeMap::new() });
        Ok(())
    }

    fn remove_pod(&self, uid: &PodUid) -> Result<(), HostError> {
        let Some(pod) = self.state().pods.remove(uid) else {
            return Ok(());
        };
        let Pod { path, containers, .. } = pod;
        drop(containers);
        self.grove.remove(&path)
    }

    fn start_container(&self, uid: &PodUid, start: &ContainerStart) -> Result<(), HostError> {
        let mut state = self.state();
        let result = self.start(&mut state, uid, start);
        if result.is_err()
            && let Some(pod) = state.pods.get(uid)
            && !pod.containers.contains_key(&start.id)
        {
            // What is half there must not stay; the first error is the one that tells.
            let _ = self.grove.remove(&pod.path.join(DRIVER.container(&start.id)));
        }
        result
    }

    fn stop_container(&self, uid: &PodUid, id: &ContainerId) -> Result<(), HostError> {
        let mut state = self.state();
        let Some(pod) = state.pods.get_mut(uid) else {
            return Ok(());
        };
        let Some(workload) = pod.containers.remove(id) else {
            return Ok(());
        };
        drop(workload);
        self.grove.remove(&pod.path.join(DRIVER.container(id)))
    }

    fn set_limits(&self, place: &Place, limits: &Limits) -> Result<(), HostError> {
        self.grove.set(&self.path(place)?, limits)
    }

    fn limits(&self, place: &Place) -> Result<Limits, HostError> {
        self.grove.get(&self.path(place)?)
    }

    fn ended(&self) -> Vec<(PodUid, ContainerId)> {
        let mut state = self.state();
        let mut ended = Vec::new();
        for (uid, pod) in &mut state.pods {
            let gone = pod.containers.iter_mut().filter_map(|(id, child)| child.has_ended().then_some(id));
            ended.extend(gone.map(|id| (uid.clone(), id.clone())));
        }
        ended
    }

    fn changes(&self) -> broadcast::Receiver<LoadChange> {
        self.changes.subscribe()
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn stop(&self) {
        let mut state = self.state();
        let pods = std::mem::take(&mut state.pods);
        drop(pods);
        if let Some(mut nursery) = state.nursery.take() {
            nursery.close();
            self.grove.remove_all();
        }
    }
}

impl Drop for RealHost {
    fn drop(&mut self) {
        self.stop();
    }
}

fn facts(grove: &Grove) -> Result<HostFacts, HostError> {
    let read = |path: &str| fs::read_to_string(path).map_err(HostError::io("read", Path::new(path)));
    let is_cpu = |line: &&str| {
        line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let cpus = read("/proc/stat")?.lines().filter(is_cpu).count();
    let meminfo = read("/proc/meminfo")?;
    let total = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(HostFacts {
        size: NodeSize {
            cpus: u32::try_from(cpus).unwrap_or(u32::MAX).max(1),
            memory: Bytes(total.unwrap_or_default() * 1024),
        },
        boot: read("/proc/sys/kernel/random/boot_id")?.trim().to_owned(),
        root: PathBuf::from("/"),
        kubepods: Some(format!("{}/{}", grove.base(), DRIVER.kubepods())),
        real: true,
    })
}

#[cfg(test)]
pub(crate) mod tests;
