//! The book as a document: what the agent says of its node.
//!
//! Pure. What it writes always passes `Report::check` of the contract: a number above what the node has *now* (a CPU was taken offline
//! since) is written as that much. Proof: `report/tests.rs`.

use std::collections::BTreeSet;

use plimsoll_contract::report::{
    CAPACITY_SLACK, Capacity, ContainerCpu, ContainerMemory, ContainerReport, CpuLoad, MAX_CONTAINERS,
    MAX_PODS, MemoryLoad, PodReport, UnknownReason, VERSION,
};
use plimsoll_contract::{Bytes, ContainerId, Cores, NodeName, PodUid, Report};

use crate::book::{Book, Container, PodEntry};
use crate::sample::Moment;

/// What a report says beside the pods.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportHead {
    /// The node's name.
    pub node: NodeName,
    /// The node's boot id.
    pub boot: String,
    /// Rises with each report.
    pub seq: u64,
    /// The newest roster version taken in; 0 for none.
    pub roster_version: u64,
    /// What the node has.
    pub capacity: Capacity,
}

impl Book {
    /// Every pod. On a node with more than a report may name, the first ones, and it does not call itself full.
    pub fn full_report(&self, head: &ReportHead, now: Moment) -> Report {
        let full = self.pods().count() <= MAX_PODS;
        report(self.pods(), full, head, now)
    }

    /// These pods, as far as they are known.
    pub fn partial_report(&self, head: &ReportHead, pods: &BTreeSet<PodUid>, now: Moment) -> Report {
        report(pods.iter().filter_map(|uid| self.get(uid)), false, head, now)
    }
}

fn report<'a>(
    pods: impl Iterator<Item = &'a PodEntry>,
    full: bool,
    head: &ReportHead,
    now: Moment,
) -> Report {
    let most = Most {
        cores: head.capacity.cores.0 * CAPACITY_SLACK,
        bytes: head.capacity.bytes.as_f64() * CAPACITY_SLACK,
    };
    Report {
        version: VERSION,
        node: head.node.clone(),
        boot: head.boot.clone(),
        seq: head.seq,
        full,
        roster_version: head.roster_version,
        capacity: head.capacity,
        pods: pods.take(MAX_PODS).map(|pod| most.pod(pod, now)).collect(),
    }
}

/// The most that can be used.
struct Most {
    cores: f64,
    bytes: f64,
}

/// To six digits after the point: millionths of a core are below what the counters can tell.
fn micro(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

impl Most {
    fn cores(&self, cores: f64) -> Cores {
        Cores(micro(cores).min(self.cores))
    }

    fn bytes(&self, bytes: f64) -> Bytes {
        // never negative; rounding up must not exceed the most
        Bytes(bytes.round().min(self.bytes.floor()) as u64)
    }

    fn pod(&self, pod: &PodEntry, now: Moment) -> PodReport {
        PodReport {
            uid: pod.uid().clone(),
            cpu: self.cpu_load(pod),
            memory: self.memory_load(pod),
            containers: pod
                .reported()
                .take(MAX_CONTAINERS)
                .map(|(id, c)| self.container(id, c, now))
                .collect(),
        }
    }

    fn cpu_load(&self, pod: &PodEntry) -> CpuLoad {
        let (track, hottest) = (&pod.cpu, pod.cpu.hottest.as_ref());
        CpuLoad {
            band: track.classifier.band(),
            basis: hottest.map(|hottest| hottest.basis),
            utilization: hottest.map(|hottest| micro(hottest.utilization())),
            cores: hottest.map(|hottest| self.cores(hottest.usage)),
            of: hottest.map(|hottest| Cores(hottest.amount)),
            container: hottest.and_then(|hottest| hottest.container.clone()),
            since: track.classifier.since(),
            reason: track.classifier.reason().or(why_absent(hottest.is_some(), track.missing)),
        }
    }

    fn memory_load(&self, pod: &PodEntry) -> MemoryLoad {
        let (track, hottest) = (&pod.memory, pod.memory.hottest.as_ref());
        MemoryLoad {
            band: track.classifier.band(),
            basis: hottest.map(|hottest| hottest.basis),
            utilization: hottest.map(|hottest| micro(hottest.utilization())),
            bytes: hottest.map(|hottest| self.bytes(hottest.usage)),
            of: hottest.map(|hottest| Bytes(hottest.amount as u64)),
            container: hottest.and_then(|hottest| hottest.container.clone()),
            since: track.classifier.since(),
            reason: track.classifier.reason().or(why_absent(hottest.is_some(), track.missing)),
        }
    }

    fn container(&self, id: &ContainerId, container: &Container, now: Moment) -> ContainerReport {
        ContainerReport {
            id: id.clone(),
            cpu: ContainerCpu {
                cores: container.sample.map(|sample| self.cores(sample.cores.0)),
                limit_cores: container.cpu_limit.known(),
                throttled: container.throttled(),
                pressure: container.cpu_pressure.known(),
                p95: container.usage.cpu_p95(now).map(|cores| self.cores(cores)),
                peak: container.usage.cpu_peak(now).map(|cores| self.cores(cores)),
                bound_by: container.bound_by(),
            },
            memory: ContainerMemory {
                working_set: container.working_set().map(|bytes| self.bytes(bytes.as_f64())),
                unreclaimable: container.detail.known().map(|detail| detail.unreclaimable),
                limit: container.memory_limit.known(),
                pressure: container.memory_pressure.known(),
                events: container.events.known(),
                peak: container.usage.memory_peak(now).map(|bytes| self.bytes(bytes)),
            },
            limits_age: container.limits_read.map(|at| now.since(at).as_secs_f64()),
            window: container.usage.window(now).map(|window| window.as_secs_f64()),
        }
    }
}

/// A report as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// JSON.
    pub body: Vec<u8>,
    /// How many containers were left out to make it fit.
    pub left_out: usize,
}

/// The report as JSON, of at most `most` bytes if leaving containers out can do that: first those that no band stands on,
/// then all, each of pods that are not `managed` before the others. Pods and bands are never left out.
///
/// # Errors
/// None that is known: a report always has a JSON form.
pub fn encode(
    mut report: Report,
    managed: impl FnOnce() -> BTreeSet<PodUid>,
    most: usize,
) -> serde_json::Result<Encoded> {
    let count = |report: &Report| report.pods.iter().map(|pod| pod.containers.len()).sum::<usize>();
    let (mut body, whole) = (serde_json::to_vec(&report)?, count(&report));
    if body.len() > most {
        let managed = managed();
        for cut in [Cut::Cooler, Cut::Unmanaged, Cut::All] {
            report.pods.iter_mut().for_each(|pod| cut.apply(pod, managed.contains(&pod.uid)));
            body = serde_json::to_vec(&report)?;
            if body.len() <= most {
                break;
            }
        }
    }
    Ok(Encoded { body, left_out: whole - count(&report) })
}

/// Which containers are left out.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// Of pods that are not managed, those that the CPU band does not stand on.
    Cooler,
    /// Of pods that are not managed.
    Unmanaged,
    All,
}

impl Cut {
    fn apply(self, pod: &mut PodReport, managed: bool) {
        let hottest = pod.cpu.container.as_ref();
        match self {
            Cut::Cooler if !managed => pod.containers.retain(|c| hottest == Some(&c.id)),
            Cut::Unmanaged if !managed => pod.containers.clear(),
            Cut::All => pod.containers.clear(),
            Cut::Cooler | Cut::Unmanaged => {}
        }
    }
}

/// Why there is no utilization although there is a band.
fn why_absent(present: bool, missing: Option<UnknownReason>) -> Option<UnknownReason> {
    if present { None } else { Some(missing.unwrap_or(UnknownReason::WarmingUp)) }
}

#[cfg(test)]
mod tests;
