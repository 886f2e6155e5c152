//! The observer of sizes: resizes in a watch on pods, with the arithmetic of the decision annotation; and the limits that the host enforces,
//! with the times since the resize and since the change of load that led to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use plimsoll_contract::resize::{ContainerResources, ResizeDecision};
use plimsoll_contract::{ContainerId, Limit, PodUid, Quantity, Resource, keys};
use plimsoll_sandbox::host::{CgroupId, Host, Limits, LoadChange};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{MissedTickBehavior, interval};

use super::Timeline;
use crate::pods;
use crate::timeline::{Size, What, seconds};

#[cfg(test)]
mod tests;

/// How often the limits of the host are read: a `kernel` event is late by this at most.
const POLL: Duration = Duration::from_millis(100);
/// How long a limit of the host waits for the watch to show the resize that it comes from.
const WATCH_AT_MOST: Duration = Duration::from_secs(1);

/// Sends resizes, and changes of the limits that the host enforces.
///
/// # Errors
/// If the watch ends, or the host publishes its load no longer.
pub async fn sizes(kube: kube::Config, host: Arc<dyn Host>, timeline: Timeline) -> anyhow::Result<()> {
    let pods: Api<Pod> = Api::namespaced(Client::try_from(kube)?, pods::NAMESPACE);
    let watched = watcher(pods, watcher::Config::default()).default_backoff().applied_objects();
    pin_mut!(watched);
    let mut loads = host.changes();
    let mut polls = interval(POLL);
    polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sizes = Sizes::default();
    loop {
        let events = tokio::select! {
            biased;
            pod = watched.next() => match pod {
                Some(Ok(pod)) => sizes.watched(&pod, timeline.elapsed()),
                // The watch starts again.
                Some(Err(_)) => Vec::new(),
                None => anyhow::bail!("the watch on pods ended"),
            },
            load = loads.recv() => {
                match load {
                    Ok(load) => sizes.loaded(&load, timeline.elapsed()),
                    // The observer of workloads logs it.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => anyhow::bail!("the host publishes no load any more"),
                }
                continue;
            }
            _ = polls.tick() => {
                // A container that has just ended has none. Reading all of them takes its time: the events are of the end of it.
                let cgroups = sizes.containers.values().filter_map(|seen| seen.cgroup.clone());
                let read = cgroups.filter_map(|cgroup| Some((host.limits(&cgroup).ok()?, cgroup)));
                let limits: BTreeMap<CgroupId, Limits> = read.map(|(limits, cgroup)| (cgroup, limits)).collect();
                sizes.enforced(|cgroup| limits.get(cgroup).copied(), timeline.elapsed())
            }
        };
        events.into_iter().for_each(|what| timeline.send(what));
    }
}

/// Pod and container.
type Name = (String, String);

/// What is known of all containers.
#[derive(Debug, Default)]
struct Sizes {
    containers: BTreeMap<Name, Seen>,
    /// When the CPU demand of a container changed last.
    loads: BTreeMap<Name, Duration>,
}

/// What is known of one container.
#[derive(Debug)]
struct Seen {
    /// Absent while it does not run.
    cgroup: Option<CgroupId>,
    cpu: Known,
    memory: Known,
}

/// What is known of one resource of a container.
#[derive(Debug, Default)]
struct Known {
    spec: Size,
    /// When a resize was seen.
    resized: Option<Duration>,
    /// The limit of the last event, or the one that was read first.
    enforced: Option<Limit<Quantity>>,
    /// Since when the host enforces another one.
    differs: Option<Duration>,
}

impl Sizes {
    fn loaded(&mut self, change: &LoadChange, now: Duration) {
        if change.namespace == pods::NAMESPACE && change.resource == Resource::Cpu {
            self.loads.insert((change.pod.clone(), change.container.clone()), now);
        }
    }

    /// The resizes that this state of a pod shows.
    fn watched(&mut self, pod: &Pod, now: Duration) -> Vec<What> {
        let decision = pod.annotations().get(keys::DECISION);
        let decision = decision.and_then(|text| serde_json::from_str::<ResizeDecision>(text).ok());
        let mut events = Vec::new();
        for container in pod.spec.iter().flat_map(|spec| &spec.containers) {
            let cgroup = cgroup(pod, &container.name);
            let name = (pod.name_any(), container.name.clone());
            let Some(seen) = self.containers.get_mut(&name) else {
                let known = |resource| Known { spec: size(container, resource), ..Known::default() };
                let (cpu, memory) = (known(Resource::Cpu), known(Resource::Memory));
                self.containers.insert(name, Seen { cgroup, cpu, memory });
                continue;
            };
            seen.cgroup = cgroup;
            for resource in Resource::ALL {
                let (known, to) = (seen.known(resource), size(container, resource));
                if known.spec == to {
                    continue;
                }
                let asks = |asked: &ContainerResources| asks(asked, resource, &to);
                let why = decision.as_ref().filter(|decision| decision.to.get(&name.1).is_some_and(asks));
                known.resized = Some(now);
                events.push(What::Resize {
                    namespace: pods::NAMESPACE.into(),
                    pod: name.0.clone(),
                    container: name.1.clone(),
                    resource,
                    from: std::mem::replace(&mut known.spec, to.clone()),
                    to,
                    why: why.map(|decision| decision.why.clone()),
                });
            }
        }
        events
    }

    /// The changes of the limits that the host enforces.
    fn enforced(&mut self, read: impl Fn(&CgroupId) -> Option<Limits>, now: Duration) -> Vec<What> {
        let mut events = Vec::new();
        for (name, seen) in &mut self.containers {
            let Some(limits) = seen.cgroup.as_ref().and_then(&read) else { continue };
            for resource in Resource::ALL {
                let (known, to) = (seen.known(resource), limit(&limits, resource));
                let Some(from) = to.and_then(|to| known.changed(to, now)) else { continue };
                let since = |at: Option<Duration>| at.map(|at| seconds(now.saturating_sub(at)));
                let load = self.loads.get(name).filter(|_| resource == Resource::Cpu);
                events.push(What::Kernel {
                    namespace: pods::NAMESPACE.into(),
                    pod: name.0.clone(),
                    container: name.1.clone(),
                    resource,
                    from: words(from),
                    to: to.map_or_else(String::new, words),
                    since_resize: since(known.resized),
                    since_load: since(load.copied()),
                });
            }
        }
        events
    }
}

impl Seen {
    fn known(&mut self, resource: Resource) -> &mut Known {
        match resource {
            Resource::Cpu => &mut self.cpu,
            Resource::Memory => &mut self.memory,
        }
    }
}

impl Known {
    /// What was enforced before, if a change to `to` is to be told now. The kubelet may be faster than our watch: a limit waits until the watch
    /// shows the resize that it comes from.
    fn changed(&mut self, to: Limit<Quantity>, now: Duration) -> Option<Limit<Quantity>> {
        let before = *self.enforced.get_or_insert(to);
        if before == to {
            self.differs = None;
            return None;
        }
        let since = *self.differs.get_or_insert(now);
        let asked = self.spec.limit.as_deref().and_then(|limit| limit.parse().ok());
        if to.bound() != asked && now.saturating_sub(since) < WATCH_AT_MOST {
            return None;
        }
        (self.differs, self.enforced) = (None, Some(to));
        Some(before)
    }
}

/// The size in a container's spec.
fn size(container: &Container, resource: Resource) -> Size {
    let Some(resources) = &container.resources else { return Size::default() };
    let [request, limit] = [&resources.requests, &resources.limits]
        .map(|amounts| amounts.as_ref()?.get(resource.as_str()).map(|amount| amount.0.clone()));
    Size { request, limit }
}

/// The cgroup of a container that runs.
fn cgroup(pod: &Pod, container: &str) -> Option<CgroupId> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let status = statuses.iter().find(|status| status.name == container)?;
    let id = status.container_id.as_ref()?.rsplit("//").next()?;
    Some(CgroupId::container(&PodUid::new(pod.metadata.uid.as_ref()?).ok()?, &ContainerId::new(id).ok()?))
}

/// Whether a decision asks for this size.
fn asks(asked: &ContainerResources, resource: Resource, size: &Size) -> bool {
    let quantity = |text: &String| text.parse::<Quantity>().ok();
    let is_same = |asked: Option<&String>, now: &Option<String>| {
        asked.is_none() || asked.and_then(quantity) == now.as_ref().and_then(quantity)
    };
    let (request, limit) = (asked.requests.get(resource.as_str()), asked.limits.get(resource.as_str()));
    (request.is_some() || limit.is_some()) && is_same(request, &size.request) && is_same(limit, &size.limit)
}

/// The limit of one resource; absent if it is no number.
fn limit(limits: &Limits, resource: Resource) -> Option<Limit<Quantity>> {
    let quantity = match resource {
        Resource::Cpu => limits.cpu.bound().map(Quantity::from_cores),
        Resource::Memory => limits.memory.bound().map(|bytes| Some(Quantity::from_bytes(bytes))),
    };
    quantity.map_or(Some(Limit::Unlimited), |quantity| quantity.map(Limit::Of))
}

/// As a Kubernetes quantity, or the kernel's word.
fn words(limit: Limit<Quantity>) -> String {
    limit.bound().map_or_else(|| "max".into(), |quantity| quantity.to_string())
}
