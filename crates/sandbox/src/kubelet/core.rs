//! The kubelet's state and one round of its work: from the pods that the API server has to cgroups and statuses.
//!
//! Level-triggered: a round looks at everything and does what is missing, so a lost event costs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use plimsoll_contract::{Bytes, ContainerId, Cores, PodUid};
use serde_json::{Value, json};

use super::pod::{Pod, Verdict};
use super::project::{ConfigMapFiles, KeptToken};
use super::resources::{PodSpec, request};
use super::{KubeletError, Manner, node, status};
use crate::api::{ApiServer, Resource, Selector, Store};
use crate::host::{Host, HostFacts};

/// How long after a failed start the next one is tried.
const RETRY: Duration = Duration::from_secs(1);

/// Everything that a kubelet knows.
pub(super) struct Core {
    pub node: String,
    pub host: Arc<dyn Host>,
    pub api: ApiServer,
    pub manner: Manner,
    /// By `namespace/name`.
    pub manners: BTreeMap<String, Manner>,
    pub config_maps: Vec<ConfigMapFiles>,
    pub tokens: Vec<KeptToken>,
    pods: BTreeMap<PodUid, Pod>,
    /// Pods that could not be started: when to try again.
    failed: BTreeMap<PodUid, Duration>,
    /// The last status written of each pod.
    written: BTreeMap<PodUid, Value>,
    addresses: u8,
}

impl Core {
    pub(super) fn new(node: &str, host: Arc<dyn Host>, api: ApiServer, manner: Manner) -> Core {
        Core {
            node: node.to_owned(),
            host,
            api,
            manner,
            manners: BTreeMap::new(),
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
        let facts = self.host.facts();
        let renewed = self.store().update_status(&Resource::NODES, "", &self.node, |status| {
            *status = node::status(&self.node, &facts, wall, Some(status));
        });
        if renewed.is_err()
            && let Err(error) = self.store().create(&Resource::NODES, node::object(&self.node, &facts, wall))
        {
            tracing::warn!(node = self.node, %error, "the node could not be registered");
        }
    }

    /// One round.
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
            self.finish_deletion(pod);
        }
        self.notice_ends(now, wall);
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
        let kept: BTreeSet<&PodUid> = specs.iter().map(|spec| &spec.uid).collect();
        let gone: Vec<PodUid> = self.pods.keys().filter(|uid| !kept.contains(uid)).cloned().collect();
        for uid in gone {
            match self.host.remove_pod(&uid) {
                Ok(()) => tracing::debug!(%uid, "removed a pod"),
                Err(error) => tracing::warn!(%uid, %error, "a pod's cgroups could not be removed"),
            }
            self.pods.remove(&uid);
        }
        self.written.retain(|uid, _| kept.contains(uid));
        self.failed.retain(|uid, _| kept.contains(uid));
    }

    /// Its cgroups are gone: the object may go too, unless it is another one by now.
    fn finish_deletion(&self, pod: &Value) {
        let metadata = &pod["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default();
        if metadata["finalizers"].as_array().is_some_and(|list| !list.is_empty()) {
            return;
        }
        let options = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": text("uid")}});
        if let Err(error) =
            self.store().delete_as(&Resource::PODS, text("namespace"), text("name"), &options, false)
        {
            tracing::debug!(pod = text("name"), %error, "a pod was gone before its deletion was finished");
        }
    }

    fn notice_ends(&mut self, now: Duration, wall: Timestamp) {
        for (uid, id) in self.host.ended() {
            let Some(pod) = self.pods.get_mut(&uid) else {
                continue;
            };
            tracing::info!(pod = %pod.spec.name, container = %id, "a container ended by itself");
            if let Err(error) = pod.ended(self.host.as_ref(), &id, now, wall) {
                tracing::warn!(pod = %pod.spec.name, %error, "an ended container could not be removed");
            }
        }
    }

    fn sync_pod(&mut self, spec: &PodSpec, now: Duration, wall: Timestamp) {
        if !self.pods.contains_key(&spec.uid) {
            self.start(spec, now, wall);
        }
        let allocated = self.allocated_to_others(&spec.uid);
        let manner = self.manners.get(&spec.name.to_string()).unwrap_or(&self.manner).clone();
        let facts = self.host.facts();
        let Some(pod) = self.pods.get_mut(&spec.uid) else {
            return;
        };
        if let Err(error) = pod.start_again(self.host.as_ref(), now, wall) {
            tracing::warn!(pod = %spec.name, %error, "a container could not be started again");
        }
        pod.resize(self.host.as_ref(), spec, &manner, now, |spec| verdict(spec, allocated, &facts));
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
                tracing::warn!(pod = %spec.name, %error, "a pod could not be started");
                self.failed.insert(spec.uid.clone(), now + RETRY);
                self.write(spec, status::of_failed_start(spec.generation, &error.to_string()), wall);
            }
        }
    }

    /// Writes a status that differs from the last one.
    fn write(&mut self, spec: &PodSpec, status: Value, wall: Timestamp) {
        if self.written.get(&spec.uid) == Some(&status) {
            return;
        }
        let (namespace, name) = (&spec.name.namespace, &spec.name.name);
        let edit = |held: &mut Value| status::merge(held, &status, wall);
        match self.store().update_status(&Resource::PODS, namespace, name, edit) {
            Ok(_) => {
                self.written.insert(spec.uid.clone(), status);
            }
            Err(error) => {
                tracing::debug!(pod = %spec.name, %error, "a pod was gone before its status was written");
            }
        }
    }

    fn allocated_to_others(&self, uid: &PodUid) -> (Cores, Bytes) {
        let others = self.pods.values().filter(|pod| pod.slot.uid != *uid);
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

    /// Kills a container, which starts again at once under a new id.
    pub(super) fn kill(
        &mut self,
        namespace: &str,
        name: &str,
        container: &str,
        wall: Timestamp,
    ) -> Result<ContainerId, KubeletError> {
        let named = |pod: &&mut Pod| {
            pod.spec.name.namespace.as_ref() == namespace && pod.spec.name.name.as_ref() == name
        };
        let absent =
            || KubeletError::Absent { pod: format!("{namespace}/{name}"), container: container.to_owned() };
        let pod = self.pods.values_mut().find(named).ok_or_else(absent)?;
        let id = pod.kill(self.host.as_ref(), container, wall)?.ok_or_else(absent)?;
        let (spec, status) = (pod.spec.clone(), status::of(pod));
        self.write(&spec, status, wall);
        Ok(id)
    }
}

/// Being deleted, or done: its cgroups go.
fn is_leaving(pod: &Value) -> bool {
    let finished = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    finished || !pod["metadata"]["deletionTimestamp"].is_null()
}

/// The kubelet's fit test: the requests of the other pods and of this one within what the node can give.
fn verdict(spec: &PodSpec, others: (Cores, Bytes), facts: &HostFacts) -> Verdict {
    let containers: Vec<_> = spec.containers.iter().map(|c| (c.kind, c.resources)).collect();
    let (cpu, memory) = request(spec.own.unwrap_or_default(), &containers);
    let (cpus, bytes) = (f64::from(facts.size.cpus), facts.size.memory.0);
    // Sums of decimal fractions: a millionth of a core is no core.
    let slack = 1e-6;
    if cpu.0 > cpus + slack || memory.0 > bytes {
        return Verdict::Never(format!("Node didn't have enough capacity: requested {cpu} and {memory}"));
    }
    if cpu.0 + others.0.0 > cpus + slack || memory.0 + others.1.0 > bytes {
        return Verdict::NotNow(format!("Node didn't have enough resource: requested {cpu} and {memory}"));
    }
    Verdict::Fits
}
