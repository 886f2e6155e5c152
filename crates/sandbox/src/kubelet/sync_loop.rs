//! The state of the kubelet and its synchronization: from the pods in the API to cgroups and statuses.
//!
//! Level-triggered: each round compares everything and makes the missing changes, so a lost event does no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use plimsoll_contract::{Bytes, ContainerId, Cores, PodUid};
use serde_json::{Value, json};

use super::pod::{Fit, Pod};
use super::project::{ConfigMapFiles, ProjectedToken};
use super::resources::{PodSpec, request};
use super::{ResizeBehavior, node, status};
use crate::api::{ApiServer, Resource, Selector, Store};
use crate::host::{Host, NodeSize};

/// Pause between two attempts to start a pod.
const RETRY: Duration = Duration::from_secs(1);

pub(super) struct SyncLoop {
    pub node: String,
    pub host: Arc<dyn Host>,
    pub api: ApiServer,
    pub resize_behavior: ResizeBehavior,
    /// Exceptions by `namespace/name`.
    pub resize_behaviors: BTreeMap<String, ResizeBehavior>,
    pub config_maps: Vec<ConfigMapFiles>,
    pub tokens: Vec<ProjectedToken>,
    pods: BTreeMap<PodUid, Pod>,
    /// Pods that could not be started: time of the next attempt.
    failed: BTreeMap<PodUid, Duration>,
    /// The last written status of each pod.
    written: BTreeMap<PodUid, Value>,
    addresses: u8,
}

impl SyncLoop {
    pub(super) fn new(
        node: &str,
        host: Arc<dyn Host>,
        api: ApiServer,
        resize_behavior: ResizeBehavior,
    ) -> SyncLoop {
        SyncLoop {
            node: node.to_owned(),
            host,
            api,
            resize_behavior,
            resize_behaviors: BTreeMap::new(),
            config_maps: Vec::new(),
            tokens: Vec::new(),
            pods: BTreeMap::new(),
            failed: BTreeMap::new(),
            written: BTreeMap::new(),
            addresses: 1,
        }
    }

    fn store(&self) -> &Store {
        self.api.store()
    }

    /// Registers the node, or renews its status.
    pub(super) fn report_node(&self, wall: Timestamp) {
        let host = self.host.info();
        let renewed = self.store().update_status(&Resource::NODES, "", &self.node, |status| {
            *status = node::status(&self.node, &host, wall, Some(status));
        });
        if renewed.is_err()
            && let Err(error) = self.store().create(&Resource::NODES, node::object(&self.node, &host, wall))
        {
            tracing::warn!(node = self.node, %error, "the node could not be registered");
        }
    }

    /// One round: makes the host and the statuses match the pods in the API.
    pub(super) fn sync(&mut self, now: Duration, wall: Timestamp) {
        let selector = Selector::default();
        let Ok(objects) = self.store().list(&Resource::PODS, None, &selector) else {
            return;
        };
        let ours = objects.iter().filter(|pod| pod["spec"]["nodeName"] == self.node.as_str());
        let (leaving, staying): (Vec<_>, Vec<_>) = ours.partition(|pod| is_leaving(pod));
        let specs: Vec<PodSpec> = staying.iter().filter_map(|pod| PodSpec::read(pod)).collect();
        self.remove_all_but(&specs);
        for pod in leaving.iter().filter(|pod| !pod["metadata"]["deletionTimestamp"].is_null()) {
            self.complete_deletion(pod);
        }
        self.remove_ended(now, wall);
        for spec in &specs {
            self.sync_pod(spec, now, wall);
        }
        self.project(now);
    }

    /// Removes everything from the host.
    pub(super) fn remove_all(&mut self) {
        self.remove_all_but(&[]);
    }

    fn remove_all_but(&mut self, specs: &[PodSpec]) {
        let remaining: BTreeSet<&PodUid> = specs.iter().map(|spec| &spec.uid).collect();
        let gone: Vec<PodUid> = self.pods.keys().filter(|uid| !remaining.contains(uid)).cloned().collect();
        for uid in gone {
            match self.host.remove_pod(&uid) {
                Ok(()) => tracing::debug!(%uid, "removed a pod"),
                Err(error) => log_failure(&uid, &error, "the cgroups of a pod could not be removed"),
            }
            self.pods.remove(&uid);
        }
        self.written.retain(|uid, _| remaining.contains(uid));
        self.failed.retain(|uid, _| remaining.contains(uid));
    }

    /// Deletes the object of a pod whose cgroups are removed, unless it has been replaced.
    fn complete_deletion(&self, pod: &Value) {
        let metadata = &pod["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default();
        if metadata["finalizers"].as_array().is_some_and(|list| !list.is_empty()) {
            return;
        }
        let options = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": text("uid")}});
        if let Err(error) =
            self.store().delete_as(&Resource::PODS, text("namespace"), text("name"), &options, false)
        {
            tracing::debug!(pod = text("name"), %error, "a pod was deleted before its deletion was completed");
        }
    }

    fn remove_ended(&mut self, now: Duration, wall: Timestamp) {
        for (uid, id) in self.host.ended() {
            let Some(pod) = self.pods.get_mut(&uid) else {
                continue;
            };
            tracing::info!(pod = %pod.spec.name, container = %id, "a container ended by itself");
            if let Err(error) = pod.ended(self.host.as_ref(), &id, now, wall) {
                log_failure(&pod.spec.name, &error, "an ended container could not be removed");
            }
        }
    }

    fn sync_pod(&mut self, spec: &PodSpec, now: Duration, wall: Timestamp) {
        if !self.pods.contains_key(&spec.uid) {
            self.start(spec, now, wall);
        }
        let allocated = self.allocated_to_others(&spec.uid);
        let behavior =
            self.resize_behaviors.get(&spec.name.to_string()).unwrap_or(&self.resize_behavior).clone();
        let size = self.host.info().size;
        let Some(pod) = self.pods.get_mut(&spec.uid) else {
            return;
        };
        if let Err(error) = pod.restart_due(self.host.as_ref(), now, wall) {
            log_failure(&spec.name, &error, "a container could not be restarted");
        }
        pod.resize(self.host.as_ref(), spec, &behavior, now, |spec| fit(spec, allocated, size));
        let status = status::of(pod);
        self.write(spec, status, wall);
    }

    fn start(&mut self, spec: &PodSpec, now: Duration, wall: Timestamp) {
        if self.failed.get(&spec.uid).is_some_and(|until| now < *until) {
            return;
        }
        self.addresses = self.addresses.checked_add(1).unwrap_or(2);
        let ip = format!("10.244.0.{}", self.addresses);
        match Pod::start(self.host.as_ref(), spec.clone(), ip, wall) {
            Ok(pod) => {
                self.failed.remove(&spec.uid);
                self.pods.insert(spec.uid.clone(), pod);
            }
            Err(error) => {
                log_failure(&spec.name, &error, "a pod could not be started");
                self.failed.insert(spec.uid.clone(), now + RETRY);
                self.write(spec, status::of_failed_start(spec.generation, &format!("{error:#}")), wall);
            }
        }
    }

    /// Writes a status that differs from the last one.
    fn write(&mut self, spec: &PodSpec, status: Value, wall: Timestamp) {
        if self.written.get(&spec.uid) == Some(&status) {
            return;
        }
        let (namespace, name) = (&spec.name.namespace, &spec.name.name);
        let edit = |current: &mut Value| status::merge(current, &status, wall);
        match self.store().update_status(&Resource::PODS, namespace, name, edit) {
            Ok(_) => {
                self.written.insert(spec.uid.clone(), status);
            }
            Err(error) => {
                tracing::debug!(pod = %spec.name, %error, "a pod was deleted before its status was written");
            }
        }
    }

    fn allocated_to_others(&self, uid: &PodUid) -> (Cores, Bytes) {
        let others = self.pods.values().filter(|pod| pod.cgroup.uid != *uid);
        let requests = others.map(|pod| {
            let containers: Vec<_> = pod.containers.iter().map(|c| (c.spec.kind, c.allocated)).collect();
            request(pod.spec.own.unwrap_or_default(), &containers)
        });
        requests.fold((Cores(0.0), Bytes(0)), |all, one| (Cores(all.0.0 + one.0.0), Bytes(all.1.0 + one.1.0)))
    }

    fn project(&mut self, now: Duration) {
        for files in &mut self.config_maps {
            if let Err(error) = files.sync(self.api.store()) {
                tracing::warn!(directory = %files.directory.display(), %error, "a ConfigMap could not be projected");
            }
        }
        for token in &mut self.tokens {
            if let Err(error) = token.sync(&self.api, now) {
                tracing::warn!(path = %token.file.path.display(), %error, "a token could not be projected");
            }
        }
    }

    pub(super) fn kill(
        &mut self,
        namespace: &str,
        name: &str,
        container: &str,
        wall: Timestamp,
    ) -> anyhow::Result<ContainerId> {
        let named = |pod: &&mut Pod| {
            pod.spec.name.namespace.as_ref() == namespace && pod.spec.name.name.as_ref() == name
        };
        let absent = || format!("no container {container} of pod {namespace}/{name} runs on this node");
        let pod = self.pods.values_mut().find(named).with_context(absent)?;
        let id = pod.kill(self.host.as_ref(), container, wall)?.with_context(absent)?;
        let (spec, status) = (pod.spec.clone(), status::of(pod));
        self.write(&spec, status, wall);
        Ok(id)
    }
}

/// Whether a pod is being deleted or has finished: its cgroups are removed.
fn is_leaving(pod: &Value) -> bool {
    let finished = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    finished || !pod["metadata"]["deletionTimestamp"].is_null()
}

/// Whether the requests of this pod and of the others fit the node.
fn fit(spec: &PodSpec, others: (Cores, Bytes), size: NodeSize) -> Fit {
    let containers: Vec<_> = spec.containers.iter().map(|c| (c.kind, c.resources)).collect();
    let (cpu, memory) = request(spec.own.unwrap_or_default(), &containers);
    let (cpus, bytes) = (f64::from(size.cpus), size.memory.0);
    // Sums of decimal fractions are not exact.
    let slack = 1e-6;
    if cpu.0 > cpus + slack || memory.0 > bytes {
        return Fit::Never(format!("Node didn't have enough capacity: requested {cpu} and {memory}"));
    }
    if cpu.0 + others.0.0 > cpus + slack || memory.0 + others.1.0 > bytes {
        return Fit::NotNow(format!("Node didn't have enough resource: requested {cpu} and {memory}"));
    }
    Fit::Fits
}

fn log_failure(subject: &impl Display, error: &anyhow::Error, what: &str) {
    tracing::warn!(%subject, error = format!("{error:#}"), "{what}");
}
