//! One pod on the node: its cgroups and containers, and how far its resize has got.
//!
//! Drives a [`Host`]; reads no clock: the time is an argument.

use std::time::Duration;

use jiff::Timestamp;
use plimsoll_contract::{ContainerId, Limit};

use super::Manner;
use super::resources::{ContainerSpec, Kind, PodSpec, Resources, pod_limits};
use crate::host::{ContainerStart, Host, HostError, Limits, Place, PodSlot, new_container_id};

/// How long a container that ended by itself stays down.
const BACK_OFF: Duration = Duration::from_secs(1);

/// A pod whose cgroup exists.
#[derive(Debug)]
pub(super) struct Pod {
    pub spec: PodSpec,
    pub slot: PodSlot,
    pub started: Timestamp,
    pub ip: String,
    pub containers: Vec<Container>,
    /// The generation that the status speaks of.
    pub observed: i64,
    pub resize: Option<Resize>,
}

/// A container that runs, or will again.
#[derive(Debug)]
pub(super) struct Container {
    pub spec: ContainerSpec,
    /// Accepted.
    pub allocated: Resources,
    /// Enforced.
    pub actual: Resources,
    pub restarts: u32,
    pub state: State,
    /// The one before: its id, when it started and ended.
    pub last: Option<(ContainerId, Timestamp, Timestamp)>,
}

/// What a container does.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum State {
    Running {
        id: ContainerId,
        since: Timestamp,
    },
    /// Ended; starts again at this time, or never.
    Down {
        until: Option<Duration>,
    },
    /// An init container that did its work.
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

/// How far a resize has got.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Phase {
    /// Not looked at.
    Unseen,
    /// Does not fit now.
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
pub(super) enum Verdict {
    Fits,
    NotNow(String),
    Never(String),
}

impl Pod {
    /// Creates the cgroups and starts the containers. After an error nothing is left.
    pub(super) fn start(
        host: &dyn Host,
        spec: PodSpec,
        ip: String,
        wall: Timestamp,
    ) -> Result<Pod, HostError> {
        let slot = PodSlot { uid: spec.uid.clone(), name: spec.name.clone(), qos: spec.qos() };
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
            Pod { slot, started: wall, ip, containers: containers.collect(), observed, resize: None, spec };
        host.create_pod(&pod.slot, &pod.limits(|container| container.actual))?;
        for index in 0..pod.containers.len() {
            if let Err(error) = pod.start_container(host, index, wall) {
                // The first error tells; the pod is tried again as a whole.
                let _ = host.remove_pod(&pod.slot.uid);
                return Err(error);
            }
        }
        Ok(pod)
    }

    /// What the pod's cgroup enforces when its containers have these resources.
    fn limits(&self, of: impl FnMut(&Container) -> Resources) -> Limits {
        let kinds = self.containers.iter().map(|container| container.spec.kind);
        let containers: Vec<_> = kinds.zip(self.containers.iter().map(of)).collect();
        pod_limits(self.spec.own, &containers)
    }

    fn start_container(&mut self, host: &dyn Host, index: usize, wall: Timestamp) -> Result<(), HostError> {
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
        host.start_container(&self.slot.uid, &start)?;
        container.state = State::Running { id, since: wall };
        Ok(())
    }

    /// Ends a container and starts it again at once; absent when it does not run.
    pub(super) fn kill(
        &mut self,
        host: &dyn Host,
        name: &str,
        wall: Timestamp,
    ) -> Result<Option<ContainerId>, HostError> {
        let Some(index) = self.containers.iter().position(|container| container.spec.name == name) else {
            return Ok(None);
        };
        if !self.end(host, index, wall)? {
            return Ok(None);
        }
        self.start_container(host, index, wall)?;
        Ok(self.containers.get(index).and_then(|container| container.id().cloned()))
    }

    /// A container ended by itself: removes what is left of it, to start it again later.
    pub(super) fn ended(
        &mut self,
        host: &dyn Host,
        id: &ContainerId,
        now: Duration,
        wall: Timestamp,
    ) -> Result<(), HostError> {
        let Some(index) = self.containers.iter().position(|container| container.id() == Some(id)) else {
            return Ok(());
        };
        self.end(host, index, wall)?;
        if let Some(container) = self.containers.get_mut(index) {
            container.state = State::Down { until: self.spec.restarts.then_some(now + BACK_OFF) };
        }
        Ok(())
    }

    fn end(&mut self, host: &dyn Host, index: usize, wall: Timestamp) -> Result<bool, HostError> {
        let Some(container) = self.containers.get_mut(index) else {
            return Ok(false);
        };
        let State::Running { id, since } = container.state.clone() else {
            return Ok(false);
        };
        host.stop_container(&self.slot.uid, &id)?;
        container.last = Some((id, since, wall));
        container.restarts += 1;
        container.state = State::Down { until: Some(Duration::ZERO) };
        Ok(true)
    }

    /// Starts what has been down long enough.
    pub(super) fn start_again(
        &mut self,
        host: &dyn Host,
        now: Duration,
        wall: Timestamp,
    ) -> Result<(), HostError> {
        for index in 0..self.containers.len() {
            let due = |container: &Container| matches!(container.state, State::Down { until: Some(until) } if until <= now);
            if self.containers.get(index).is_some_and(due) {
                self.start_container(host, index, wall)?;
            }
        }
        Ok(())
    }

    /// Brings the resources towards what `spec` wants, in this manner. `fits` is asked before anything is accepted.
    pub(super) fn resize(
        &mut self,
        host: &dyn Host,
        spec: &PodSpec,
        manner: &Manner,
        now: Duration,
        fits: impl FnOnce(&PodSpec) -> Verdict,
    ) {
        let enforced =
            self.containers.iter().zip(&spec.containers).all(|(c, wanted)| c.actual == wanted.resources);
        if enforced && *manner != Manner::Never {
            self.accept(spec);
            self.resize = None;
            return;
        }
        if enforced {
            return;
        }
        let same = self.resize.take().filter(|resize| resize.generation == spec.generation);
        let before = same.unwrap_or(Resize { generation: spec.generation, since: now, phase: Phase::Unseen });
        let accepted = matches!(before.phase, Phase::Accepted | Phase::Failed(_));
        let verdict = if accepted { Verdict::Fits } else { fits(spec) };
        let phase = match (manner, verdict) {
            (Manner::Never, _) => Phase::Unseen,
            (Manner::Deferred, _) => Phase::Deferred("Node didn't have enough resource: scripted".to_owned()),
            (Manner::Infeasible, _) => {
                Phase::Infeasible("Node didn't have enough capacity: scripted".to_owned())
            }
            (_, Verdict::NotNow(why)) => Phase::Deferred(why),
            (_, Verdict::Never(why)) => Phase::Infeasible(why),
            (Manner::Late(delay), Verdict::Fits) if now.saturating_sub(before.since) < *delay => {
                Phase::Accepted
            }
            (Manner::AtOnce | Manner::Late(_), Verdict::Fits) => self.enforce(host, spec),
            (Manner::Partially, Verdict::Fits) if accepted => before.phase.clone(),
            (Manner::Partially, Verdict::Fits) => self.enforce_half(host, spec),
        };
        if matches!(phase, Phase::Accepted | Phase::Failed(_)) {
            self.accept(spec);
        }
        if phase != Phase::Unseen {
            self.observed = spec.generation;
        }
        let finished =
            self.containers.iter().zip(&spec.containers).all(|(c, wanted)| c.actual == wanted.resources);
        self.resize = (!finished).then_some(Resize { phase, ..before });
    }

    /// The resources of `spec` are allocated from now on.
    fn accept(&mut self, spec: &PodSpec) {
        for (container, wanted) in self.containers.iter_mut().zip(&spec.containers) {
            container.allocated = wanted.resources;
        }
        self.spec = spec.clone();
        self.observed = spec.generation;
    }

    fn enforce(&mut self, host: &dyn Host, spec: &PodSpec) -> Phase {
        let wanted: Vec<Resources> = spec.containers.iter().map(|container| container.resources).collect();
        self.apply(host, &wanted).map_or_else(|error| Phase::Failed(error.to_string()), |()| Phase::Accepted)
    }

    fn enforce_half(&mut self, host: &dyn Host, spec: &PodSpec) -> Phase {
        let wanted = self.containers.iter().zip(&spec.containers);
        let wanted: Vec<Resources> = wanted.map(|(c, wanted)| c.actual.halfway(wanted.resources)).collect();
        match self.apply(host, &wanted) {
            Ok(()) => Phase::Failed("only half of the resize could be actuated: scripted".to_owned()),
            Err(error) => Phase::Failed(error.to_string()),
        }
    }

    /// The kubelet's order: raise the pod, lower containers, raise containers, lower the pod.
    fn apply(&mut self, host: &dyn Host, wanted: &[Resources]) -> Result<(), HostError> {
        let place = Place::pod(&self.slot.uid);
        let before = self.limits(|container| container.actual);
        let mut target = wanted.iter();
        let after = self.limits(|container| target.next().copied().unwrap_or(container.actual));
        host.set_limits(&place, &larger(&before, &after))?;
        for raises in [false, true] {
            for (container, wanted) in self.containers.iter_mut().zip(wanted) {
                let Some(id) = container.id().cloned() else {
                    continue;
                };
                let (old, new) = (container.actual.limits(), wanted.limits());
                if old != new && (larger(&old, &new) == new) == raises {
                    host.set_limits(&Place::container(&self.slot.uid, &id), &new)?;
                    container.actual = *wanted;
                }
            }
        }
        for (container, wanted) in self.containers.iter_mut().zip(wanted) {
            container.actual = *wanted;
        }
        host.set_limits(&place, &after)
    }
}

impl Container {
    /// The id of the process that runs.
    pub(super) fn id(&self) -> Option<&ContainerId> {
        match &self.state {
            State::Running { id, .. } => Some(id),
            State::Down { .. } | State::Completed { .. } => None,
        }
    }
}

/// Limits that hold neither back.
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
