//! When a watch of all pods observed what the systems wrote: one watch for all, so that none is observed later than another.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;

use crate::history::watch_pods;
use crate::results::System;
use crate::steps::STEPS;

/// A new value of a key on a pod.
#[derive(Debug, Clone)]
pub(crate) struct Observation {
    pub(crate) at: Timestamp,
    pub(crate) pod: String,
    /// A label's key.
    pub(crate) key: &'static str,
    /// Empty if the key was removed.
    pub(crate) value: String,
}

/// All observations, in order.
#[derive(Debug, Default)]
pub(crate) struct Observations(Mutex<Vec<Observation>>);

impl Observations {
    /// Records until the end of the process.
    pub(crate) fn follow(client: Client) -> Arc<Observations> {
        let observations = Arc::new(Observations::default());
        let writer = Arc::clone(&observations);
        watch_pods(client, move |pod| writer.observe(pod));
        observations
    }

    fn observe(&self, pod: &Pod) {
        let at = Timestamp::now();
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        if pod.metadata.namespace.as_deref() != Some(STEPS) {
            return;
        }
        for key in System::ALL.iter().filter_map(|system| system.label()) {
            let value = pod.metadata.labels.as_ref().and_then(|labels| labels.get(key));
            self.record(at, name, key, value.map_or("", String::as_str));
        }
    }

    fn record(&self, at: Timestamp, pod: &str, key: &'static str, value: &str) {
        let mut observations = self.lock();
        let last = observations.iter().rfind(|observation| observation.pod == pod && observation.key == key);
        if last.map_or("", |last| &last.value) != value {
            observations.push(Observation { at, pod: pod.into(), key, value: value.into() });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Observation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The values of one key of one pod, in order.
    pub(crate) fn of(&self, pod: &str, key: &str) -> Vec<Observation> {
        self.lock()
            .iter()
            .filter(|observation| observation.pod == pod && observation.key == key)
            .cloned()
            .collect()
    }
}
