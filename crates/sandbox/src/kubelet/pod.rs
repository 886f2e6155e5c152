//! One pod on the node: its cgroups, its containers, and the phase of its resize.
//!
//! Uses a [`Host`]; reads no clock: the time is an argument.

use std::time::Duration;

use jiff::Timestamp;
use plimsoll_contract::{ContainerId, Limit};

use super::ResizeBehavior;
use super::resources::{ContainerSpec, Kind, PodSpec, Resources, pod_limits};
use crate::host::{CgroupId, ContainerStart, Host, Limits, PodCgroup, new_container_id};

/// Pause before a container that ended by itself is restarted.
const BACK_OFF: Duration = Duration::from_secs(1);

/// A pod whose cgroup exists.
#[derive(Debug)]
pub(super) struct Pod {
    pub spec: PodSpec,
    pub cgroup: PodCgroup,
    pub started: Timestamp,
    pub ip: String,
    pub containers: Vec<Container>,
    /// `observedGeneration` of the status.
    pub observed: i64,
    pub resize: Option<Resize>,
}

#[derive(Debug)]
pub(super) struct Container {
    pub spec: ContainerSpec,
    /// The accepted resources.
    pub allocated: Resources,
    /// The enforced resources.
    pub actual: Resources,
    pub restarts: u32,
    pub state: State,
    /// The previous instance: its id, start and end.
    pub last: Option<(ContainerId, Timestamp, Timestamp)>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum State {
    Running {
        id: ContainerId,
        since: Timestamp,
    },
    /// Ended; it is restarted at this time, or never.
    Down {
        until: Option<Duration>,
    },
    /// An init container that completed.
    Completed {
        id: ContainerId,
        since: Timestamp,
    },
}

/// A resize that is not finished.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Resize {
    pub generation: i64,
    pub since: Duration,
    pub phase: Phase,
}

/// Phase of a resize.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Phase {
    /// Not looked at yet.
    Unseen,
    /// Does not fit at the moment.
    Deferred(String),
    /// Will never fit.
    Infeasible(String),
    /// Accepted, not enforced yet.
    Accepted,
    /// Accepted, and something went wrong.
    Failed(String),
}

/// Whether a resize fits the node.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fit {
    Fits,
    NotNow(String),
    Never(String),
}

impl Pod {
    /// Creates the cgroups and starts the containers. After an error nothing remains.
    pub(super) fn start(host: &dyn Host, spec: PodSpec, ip: String, wall: Timestamp) -> anyhow::Result<Pod> {
        let cgroup = PodCgroup { uid: spec.uid.clone(), name: spec.name.clone(), qos: spec.qos() };
        let containers = spec.containers.iter().map(|spec| Container {
            spec: spec.clone(),
            allocated: spec.resources,
            actual: spec.resources,
            restarts: 0,
            state: State::Down { until: Some(Duration::ZERO) },
            last: None,
        });
        let observed = spec.generation;
        let mut pod =
            Pod { cgroup, started: wall, ip, containers: containers.collect(), observed, resize: None, spec };
        host.create_pod(&pod.cgroup, &pod.limits(|container| container.actual))?;
        for index in 0..pod.containers.len() {
            if let Err(error) = pod.start_container(host, index, wall) {
                // Only the first error is of interest; the pod is retried as a whole.
                let _ = host.remove_pod(&pod.cgroup.uid);
                return Err(error);
            }
        }
        Ok(pod)
    }

    /// The limits of the pod's cgroup if its containers have these resources.
    fn limits(&self, of: impl FnMut(&Container) -> Resources) -> Limits {
        let kinds = self.containers.iter().map(|container| container.spec.kind);
        let containers: Vec<_> = kinds.zip(self.containers.iter().map(of)).collect();
        pod_limits(self.spec.own, &containers)
    }

    fn start_container(&mut self, host: &dyn Host, index: usize, wall: Timestamp) -> anyhow::Result<()> {
        let Some(container) = self.containers.get_mut(index) else {
            return Ok(());
        };
        let id = new_container_id();
        if container.spec.kind == Kind::Init {
            container.state = State::Completed { id, since: wall };
            return Ok(());
        }
        let start = ContainerStart {
            id: id.clone(),
            name: container.spec.name.clone(),
            limits: container.actual.limits(),
            load: container.spec.load.clone(),
        };
        host.start_container(&self.cgroup.uid, &start)?;
        container.state = State::Running { id, since: wall };
        Ok(())
    }

    /// Stops a container and restarts it immediately, and returns its new id; absent when it does not run.
    pub(super) fn kill(
        &mut self,
        host: &dyn Host,
        name: &str,
        wall: Timestamp,
    ) -> anyhow::Result<Option<ContainerId>> {
        let Some(index) = self.containers.iter().position(|container| container.spec.name == name) else {
            return Ok(None);
        };
        if !self.stop(host, index, wall)? {
            return Ok(None);
        }
        self.start_container(host, index, wall)?;
        Ok(self.containers.get(index).and_then(|container| container.id().cloned()))
    }

    /// Removes a container that ended by itself, to restart it later.
    pub(super) fn ended(
        &mut self,
        host: &dyn Host,
        id: &ContainerId,
        now: Duration,
        wall: Timestamp,
    ) -> anyhow::Result<()> {
        let Some(index) = self.containers.iter().position(|container| container.id() == Some(id)) else {
            return Ok(());
        };
        self.stop(host, index, wall)?;
        if let Some(container) = self.containers.get_mut(index) {
            container.state = State::Down { until: self.spec.restarts.then_some(now + BACK_OFF) };
        }
        Ok(())
    }

    fn stop(&mut self, host: &dyn Host, index: usize, wall: Timestamp) -> anyhow::Result<bool> {
        let Some(container) = self.containers.get_mut(index) else {
            return Ok(false);
        };
        let State::Running { id, since } = container.state.clone() else {
            return Ok(false);
        };
        host.stop_container(&self.cgroup.uid, &id)?;
        container.last = Some((id, since, wall));
        container.restarts += 1;
        container.state = State::Down { until: Some(Duration::ZERO) };
        Ok(true)
    }

    /// Starts the containers whose restart is due.
    pub(super) fn restart_due(
        &mut self,
        host: &dyn Host,
        now: Duration,
        wall: Timestamp,
    ) -> anyhow::Result<()> {
        for index in 0..self.containers.len() {
            let due = |container: &Container| matches!(container.state, State::Down { until: Some(until) } if until <= now);
            if self.containers.get(index).is_some_and(due) {
                self.start_container(host, index, wall)?;
            }
        }
        Ok(())
    }

    /// Changes the resources to those of `spec`, as `behavior` says. `fits` is called before a resize is accepted.
    pub(super) fn resize(
        &mut self,
        host: &dyn Host,
        spec: &PodSpec,
        behavior: &ResizeBehavior,
        now: Duration,
        fits: impl FnOnce(&PodSpec) -> Fit,
    ) {
        if self.enforces(spec) {
            if *behavior != ResizeBehavior::Ignored {
                self.accept(spec);
                self.resize = None;
            }
            return;
        }
        let same = self.resize.take().filter(|resize| resize.generation == spec.generation);
        let before = same.unwrap_or(Resize { generation: spec.generation, since: now, phase: Phase::Unseen });
        let accepted = matches!(before.phase, Phase::Accepted | Phase::Failed(_));
        let fit = if accepted { Fit::Fits } else { fits(spec) };
        let phase = match (behavior, fit) {
            (ResizeBehavior::Ignored, _) => Phase::Unseen,
            (ResizeBehavior::Deferred, _) => {
                Phase::Deferred("Node didn't have enough resource: scripted".to_owned())
            }
            (ResizeBehavior::Infeasible, _) => {
                Phase::Infeasible("Node didn't have enough capacity: scripted".to_owned())
            }
            (_, Fit::NotNow(why)) => Phase::Deferred(why),
            (_, Fit::Never(why)) => Phase::Infeasible(why),
            (ResizeBehavior::Delayed(delay), Fit::Fits) if now.saturating_sub(before.since) < *delay => {
                Phase::Accepted
            }
            (ResizeBehavior::Immediate | ResizeBehavior::Delayed(_), Fit::Fits) => {
                self.enforce(host, spec, false)
            }
            (ResizeBehavior::Partial, Fit::Fits) if accepted => before.phase.clone(),
            (ResizeBehavior::Partial, Fit::Fits) => self.enforce(host, spec, true),
        };
        if matches!(phase, Phase::Accepted | Phase::Failed(_)) {
            self.accept(spec);
        }
        if phase != Phase::Unseen {
            self.observed = spec.generation;
        }
        self.resize = (!self.enforces(spec)).then_some(Resize { phase, ..before });
    }

    /// Whether the resources of `spec` are enforced.
    fn enforces(&self, spec: &PodSpec) -> bool {
        self.containers.iter().zip(&spec.containers).all(|(c, wanted)| c.actual == wanted.resources)
    }

    /// Allocates the resources of `spec`.
    fn accept(&mut self, spec: &PodSpec) {
        for (container, wanted) in self.containers.iter_mut().zip(&spec.containers) {
            container.allocated = wanted.resources;
        }
        self.spec = spec.clone();
        self.observed = spec.generation;
    }

    /// Enforces the resources of `spec`, or the middle between the present ones and them.
    fn enforce(&mut self, host: &dyn Host, spec: &PodSpec, half: bool) -> Phase {
        let wanted = self.containers.iter().zip(&spec.containers).map(|(container, wanted)| {
            if half { container.actual.halfway(wanted.resources) } else { wanted.resources }
        });
        let wanted: Vec<Resources> = wanted.collect();
        match self.apply(host, &wanted) {
            Ok(()) if half => Phase::Failed("only half of the resize could be actuated: scripted".to_owned()),
            Ok(()) => Phase::Accepted,
            Err(error) => Phase::Failed(format!("{error:#}")),
        }
    }

    /// In the order of the kubelet: raise the pod, lower containers, raise containers, lower the pod.
    fn apply(&mut self, host: &dyn Host, wanted: &[Resources]) -> anyhow::Result<()> {
        let cgroup = CgroupId::pod(&self.cgroup.uid);
        let before = self.limits(|container| container.actual);
        let mut target = wanted.iter();
        let after = self.limits(|container| target.next().copied().unwrap_or(container.actual));
        host.set_limits(&cgroup, &larger(&before, &after))?;
        for raises in [false, true] {
            for (container, wanted) in self.containers.iter_mut().zip(wanted) {
                let Some(id) = container.id().cloned() else {
                    continue;
                };
                let (old, new) = (container.actual.limits(), wanted.limits());
                if old != new && (larger(&old, &new) == new) == raises {
                    host.set_limits(&CgroupId::container(&self.cgroup.uid, &id), &new)?;
                    container.actual = *wanted;
                }
            }
        }
        for (container, wanted) in self.containers.iter_mut().zip(wanted) {
            container.actual = *wanted;
        }
        host.set_limits(&cgroup, &after)
    }
}

impl Container {
    /// The id of a running container.
    pub(super) fn id(&self) -> Option<&ContainerId> {
        match &self.state {
            State::Running { id, .. } => Some(id),
            State::Down { .. } | State::Completed { .. } => None,
        }
    }
}

/// The larger of two limits, for each resource.
fn larger(a: &Limits, b: &Limits) -> Limits {
    fn most<T: PartialOrd + Copy>(a: Limit<T>, b: Limit<T>) -> Limit<T> {
        match (a, b) {
            (Limit::Of(a), Limit::Of(b)) => Limit::Of(if a > b { a } else { b }),
            _ => Limit::Unlimited,
        }
    }
    let request =
        [a.cpu_request, b.cpu_request].into_iter().flatten().reduce(|a, b| if a > b { a } else { b });
    Limits { cpu: most(a.cpu, b.cpu), memory: most(a.memory, b.memory), cpu_request: request }
}
