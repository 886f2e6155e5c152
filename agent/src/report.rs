//! The state as a document: the agent's report about its node.
//!
//! Pure. Every report passes `Report::check` of the contract: a number above what the node has *now* (a CPU may have been
//! taken offline since) is reduced to that. Proof: `report/tests.rs`.

use std::collections::BTreeSet;

use plimsoll_contract::load::{Cause, ResourceLoad, UnknownReason};
use plimsoll_contract::report::{
    ContainerCpu, ContainerMemory, ContainerReport, MAX_CONTAINERS, MAX_PODS, PodReport, VERSION,
};
use plimsoll_contract::{Bytes, ContainerId, Cores, Moment, NodeName, PodUid, Report, Resource};

use crate::host::NodeInfo;
use crate::state::{AcceptedEvents, Container, NodeState, PodState, ReportedEvents, ResourceState};

/// A report without pods: what [`NodeState::full_report`] and [`NodeState::partial_report`] add them to.
pub(crate) fn empty(node: &NodeName, info: &NodeInfo, seq: u64, roster_version: u64) -> Report {
    Report {
        version: VERSION,
        node: node.clone(),
        boot: info.boot.clone(),
        seq,
        full: false,
        roster_version,
        roster_process: None,
        capacity: info.capacity,
        pods: Vec::new(),
    }
}

impl NodeState {
    /// Adds every pod. If there are more than a report may name, it gets the first ones and is not marked full.
    pub(crate) fn full_report(&self, empty: Report, now: Moment) -> Report {
        let full = self.pods().count() <= MAX_PODS;
        Report { full, ..with_pods(empty, self.pods(), now) }
    }

    /// A report to a replica of these pods, or of every pod; with the memory events that it has not `accepted` yet.
    pub(crate) fn report_to(
        &self,
        empty: Report,
        pods: Option<&BTreeSet<PodUid>>,
        accepted: &AcceptedEvents,
        now: Moment,
    ) -> (Report, Vec<ReportedEvents>) {
        let mut report = match pods {
            Some(pods) => self.partial_report(empty, pods, now),
            None => self.full_report(empty, now),
        };
        let reported = self.add_events(&mut report, accepted);
        (report, reported)
    }

    /// Adds those of these pods that are known.
    pub(crate) fn partial_report(&self, empty: Report, pods: &BTreeSet<PodUid>, now: Moment) -> Report {
        with_pods(empty, pods.iter().filter_map(|uid| self.pod(uid)), now)
    }
}

fn with_pods<'a>(empty: Report, pods: impl Iterator<Item = &'a PodState>, now: Moment) -> Report {
    let (cores, bytes) = empty.capacity.upper_bounds();
    let bounds = UpperBounds { cores, bytes };
    Report { pods: pods.take(MAX_PODS).map(|pod| bounds.pod(pod, now)).collect(), ..empty }
}

/// The largest usages that a report may contain.
struct UpperBounds {
    cores: f64,
    bytes: f64,
}

/// Six decimal places: the counters do not resolve less than a millionth of a core.
fn micro(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// The load of one resource. `usage` and `of` convert the amounts.
fn load<A>(state: &ResourceState, usage: impl Fn(f64) -> A, of: impl Fn(f64) -> A) -> ResourceLoad<A> {
    let (classifier, hottest) = (&state.classifier, state.hottest.as_ref());
    // a band may hold although the utilization is unknown at the moment
    let unknown = || state.missing.unwrap_or(UnknownReason::WarmingUp);
    ResourceLoad {
        band: classifier.band(),
        basis: state.basis,
        utilization: hottest.map(|hottest| micro(hottest.utilization())),
        usage: hottest.map(|hottest| usage(hottest.usage)),
        of: hottest.map(|hottest| of(hottest.of.amount)),
        request: hottest.and_then(|hottest| hottest.of.request).map(&of),
        container: hottest.and_then(|hottest| hottest.container.clone()),
        bound_by: None,
        since: classifier.since(),
        reason: classifier.reason().or_else(|| hottest.is_none().then(unknown)),
        cause: state.cause.clone().map(|cause| {
            let used = cause.usage;
            Cause { usage: usage(used), ..cause.map(&of, |id| id) }
        }),
    }
}

impl UpperBounds {
    fn cores(&self, cores: f64) -> Cores {
        Cores(micro(cores).min(self.cores))
    }

    fn bytes(&self, bytes: f64) -> Bytes {
        // never negative; rounding up must not exceed the bound
        Bytes(bytes.round().min(self.bytes.floor()) as u64)
    }

    fn pod(&self, pod: &PodState, now: Moment) -> PodReport {
        PodReport {
            uid: pod.uid().clone(),
            cpu: load(pod.resource(Resource::Cpu), |cores| self.cores(cores), Cores),
            memory: load(
                pod.resource(Resource::Memory),
                |bytes| self.bytes(bytes),
                |bytes| Bytes(bytes as u64),
            ),
            containers: pod
                .reported()
                .take(MAX_CONTAINERS)
                .map(|(id, container)| self.container(id, container, pod, now))
                .collect(),
            cgroup: pod.own_cgroup(),
        }
    }

    fn container(
        &self,
        id: &ContainerId,
        container: &Container,
        pod: &PodState,
        now: Moment,
    ) -> ContainerReport {
        let utilization3 = container.utilization3(pod.own_limits().0, pod.cpu_request(id), now);
        ContainerReport {
            id: id.clone(),
            cpu: ContainerCpu {
                cores: container.sample.map(|sample| self.cores(sample.cores.0)),
                limit_cores: container.cpu_limit.value(),
                throttled: container.throttled(),
                throttled2: container.throttled_over(2.0, now).map(micro),
                throttled3: container.throttled_over(3.0, now).map(micro),
                mean3: container.mean3(now).map(|cores| self.cores(cores)),
                utilization3: utilization3.map(micro),
                pressure: container.cpu_pressure.value(),
                p95: container.usage.cpu_p95(now).map(|cores| self.cores(cores)),
                peak: container.usage.cpu_peak(now).map(|cores| self.cores(cores)),
                bound_by: pod.bound_by(container),
            },
            memory: ContainerMemory {
                working_set: container.working_set().map(|bytes| self.bytes(bytes.as_f64())),
                unreclaimable: container.unreclaimable(),
                unreclaimable2: container.unreclaimable2(now).map(|bytes| self.bytes(bytes.as_f64())),
                // a change by more than there is was not measured
                growth: container.growth(now).map(f64::round).filter(|growth| growth.abs() <= self.bytes),
                limit: container.memory_limit.value(),
                pressure: container.memory_pressure.value(),
                events: container.events.value(),
                // of what a replica has accepted, which a report does not know: see `NodeState::add_events`
                events_delta: None,
                peak: container.usage.memory_peak(now).map(|bytes| self.bytes(bytes)),
            },
            limits_age: container.limits_read.map(|at| now.since(at).as_secs_f64()),
            window: container.usage.window(now).map(|window| window.as_secs_f64()),
        }
    }
}

/// A report as it is sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Encoded {
    /// JSON.
    pub(crate) body: Vec<u8>,
    /// What it says.
    pub(crate) report: Report,
    /// How many containers were left out to make it fit.
    pub(crate) left_out: usize,
}

/// The report as JSON, of at most `max_bytes` bytes if leaving out containers achieves that: of pods that are not `managed` first
/// those that do not determine the CPU band, then all; last those of managed pods. Pods and bands are never left out.
pub(crate) fn encode(
    mut report: Report,
    managed: impl FnOnce() -> BTreeSet<PodUid>,
    max_bytes: usize,
) -> serde_json::Result<Encoded> {
    let count = |report: &Report| report.pods.iter().map(|pod| pod.containers.len()).sum::<usize>();
    let (mut body, all) = (serde_json::to_vec(&report)?, count(&report));
    if body.len() > max_bytes {
        let managed = managed();
        // which containers remain: by whether their pod is managed, and whether they determine its CPU band
        let remains: [fn(bool, bool) -> bool; 3] =
            [|managed, hottest| managed || hottest, |managed, _| managed, |_, _| false];
        for remains in remains {
            for pod in &mut report.pods {
                let (managed, hottest) = (managed.contains(&pod.uid), pod.cpu.container.as_ref());
                pod.containers.retain(|container| remains(managed, hottest == Some(&container.id)));
            }
            body = serde_json::to_vec(&report)?;
            if body.len() <= max_bytes {
                break;
            }
        }
    }
    let left_out = all - count(&report);
    Ok(Encoded { body, report, left_out })
}

#[cfg(test)]
mod tests;
